//! Calls of the API server that must not wait for ever: the client itself has no limit.

use std::future::Future;
use std::time::Duration;

/// Longest wait for one call.
const LONGEST: Duration = Duration::from_secs(20);

/// The API server did not answer in time. What was asked for may have been done all the same.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", LONGEST.as_secs())]
pub struct NoAnswer;

/// The answer to one call.
///
/// # Errors
/// Those of the call, and [`NoAnswer`] as the error of a service if there is none in time.
pub async fn answered<T>(call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    within(LONGEST, call).await
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = kube::Result<T>>,
) -> kube::Result<T> {
    let answer = tokio::time::timeout(limit, call).await;
    answer.unwrap_or_else(|_| Err(kube::Error::Service(Box::new(NoAnswer))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telling::describe;

    #[tokio::test]
    async fn a_call_that_is_never_answered_ends_and_says_so() {
        let silent = std::future::pending::<kube::Result<()>>();
        let error = within(Duration::from_millis(1), silent).await.unwrap_err();
        assert_eq!(describe(&error), "no answer within 20 s");
    }
}
