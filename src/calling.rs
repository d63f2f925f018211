//! Calls of the API server that must not wait for ever: the client itself has no limit.

use std::future::Future;
use std::time::Duration;

/// Longest wait for one call where nothing shorter is needed.
pub const LONGEST: Duration = Duration::from_secs(20);

/// The API server did not answer in time. What was asked for may have been done all the same.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", limit.as_secs())]
pub struct NoAnswer {
    limit: Duration,
}

/// The answer to one call, within [`LONGEST`].
///
/// # Errors
/// As [`within`].
pub async fn answered<T>(call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    within(LONGEST, call).await
}

/// The answer to a call, or to several that belong together.
///
/// # Errors
/// Those of the call, and [`NoAnswer`] as the error of a service if there is none in time.
pub fn within<T>(
    limit: Duration,
    call: impl Future<Output = kube::Result<T>>,
) -> impl Future<Output = kube::Result<T>> {
    // On the heap, since what waits for a call would be as large as the request in every caller.
    let call = Box::pin(call);
    async move {
        let answer = tokio::time::timeout(limit, call).await;
        answer.unwrap_or_else(|_| Err(kube::Error::Service(Box::new(NoAnswer { limit }))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telling::describe;

    #[tokio::test]
    async fn a_call_that_is_never_answered_ends_and_says_so() {
        let silent = std::future::pending::<kube::Result<()>>();
        let error = within(Duration::from_millis(1), silent).await.unwrap_err();
        assert_eq!(describe(&error), "no answer within 0 s");
    }
}
