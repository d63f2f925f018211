//! Waiting for what must come true.

use std::future::Future;
use std::time::Duration;

use keystead::api::ManagedSecret;
use kube::{Api, Client};

/// How long something may take that normally takes a moment. Machines that run tests are slow.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pause between two looks. What a look itself takes is not counted: where it takes long, so does what is waited for, since both
/// wait for the same processors.
const PAUSE: Duration = Duration::from_millis(100);

/// Waits until the condition holds.
pub(crate) async fn eventually<F, Fut>(what: &str, condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    eventually_within(PATIENCE, what, condition).await;
}

/// Waits until the condition holds, for that long.
pub(crate) async fn eventually_within<F, Fut>(patience: Duration, what: &str, mut condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let mut waited = Duration::ZERO;
    while !condition().await {
        assert!(waited < patience, "not within {patience:?}: {what}");
        tokio::time::sleep(PAUSE).await;
        waited += PAUSE;
    }
}

/// Waits until the condition `Ready` of a secret has that status (and reason) for its current generation; returns
/// its message.
pub(super) async fn secret_ready(
    client: &Client,
    namespace: &str,
    name: &str,
    status: &str,
    reason: Option<&str>,
) -> String {
    let secrets: Api<ManagedSecret> = Api::namespaced(client.clone(), namespace);
    let mut waited = Duration::ZERO;
    loop {
        let secret = secrets.get_opt(name).await.ok().flatten();
        let generation = secret
            .as_ref()
            .and_then(|secret| secret.metadata.generation);
        let seen = secret.and_then(|secret| secret.status);
        let conditions = seen.map(|status| status.conditions).unwrap_or_default();
        let ready = conditions
            .into_iter()
            .find(|condition| condition.type_ == "Ready");
        if let Some(ready) = &ready
            && ready.status == status
            && ready.observed_generation == generation
            && reason.is_none_or(|reason| ready.reason == reason)
        {
            return ready.message.clone();
        }
        assert!(
            waited < PATIENCE,
            "ManagedSecret {namespace}/{name} should be Ready={status} {reason:?}, but is {ready:?}"
        );
        tokio::time::sleep(PAUSE).await;
        waited += PAUSE;
    }
}
