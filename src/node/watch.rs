//! One question to the server that waits for an answer: which of the secrets that pods on this node use have changed. It is asked
//! with the plugin's own token, and tells of no value.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, sleep_until};
use tracing::{info, warn};

use super::api::{CallError, Watched};
use super::metrics::Operation;
use super::own::OwnToken;
use super::pace::{Pace, chance};
use super::publish::Publisher;

/// How long the server waits for a change.
const WAIT: Duration = Duration::from_secs(30);
/// How long a question is left alone although more secrets are in use by now: pods come in crowds.
const AT_LEAST: Duration = Duration::from_secs(2);
/// An answer that comes so soon without anything new did not wait.
const TOO_SOON: Duration = Duration::from_secs(1);
/// Between questions that bring nothing: the server is away, or does not wait.
const PACE: Pace = Pace {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(10),
};

/// Asks until `stop`.
pub(super) async fn run(
    publisher: Arc<Publisher>,
    token: OwnToken,
    stop: impl Future<Output = ()>,
) {
    tokio::select! {
        () = ask(&publisher, &token) => {}
        () = stop => {}
    }
}

async fn ask(publisher: &Publisher, token: &OwnToken) {
    let mut wanted = publisher.volumes.watch_wanted();
    let (mut in_vain, mut failing) = (0, false);
    loop {
        wanted.mark_unchanged();
        let secrets = publisher.volumes.secrets();
        let asked = publisher.told(|told| told.question(&secrets));
        if asked.is_empty() {
            publisher.metrics.nothing_to_poll();
            // Its sender lives as long as the publisher.
            let _ = wanted.changed().await;
            continue;
        }
        let begun = Instant::now();
        publisher.metrics.polling(begun);
        let answer = tokio::select! {
            answer = poll(publisher, token, &asked) => answer,
            () = more(publisher, &asked, begun) => continue,
        };
        let fruitless = match answer {
            Ok(answer) => {
                if std::mem::take(&mut failing) {
                    info!("the server tells of changes again");
                }
                publisher.metrics.polled(Instant::now());
                let new = publisher.told(|told| told.take(answer, &asked));
                if new {
                    publisher.news.send_modify(|count| *count += 1);
                }
                !new && begun.elapsed() < TOO_SOON
            }
            Err(error) => {
                publisher
                    .metrics
                    .failed(Operation::Watch, error.kind.as_str());
                if !std::mem::replace(&mut failing, true) {
                    warn!(%error, "the server does not tell of changes");
                }
                true
            }
        };
        in_vain = if fruitless { in_vain + 1 } else { 0 };
        if fruitless {
            sleep(PACE.wait(in_vain, chance())).await;
        }
    }
}

async fn poll(
    publisher: &Publisher,
    token: &OwnToken,
    asked: &[Watched],
) -> Result<Vec<Watched>, CallError> {
    let token = token.read().await?;
    publisher.server.changed(&token, asked, WAIT).await
}

/// Ends when there are secrets in use that were not asked for.
async fn more(publisher: &Publisher, asked: &[Watched], begun: Instant) {
    let mut wanted = publisher.volumes.watch_wanted();
    loop {
        wanted.mark_unchanged();
        let secrets = publisher.volumes.secrets();
        // Both are in the same order, and a question has a limit.
        let known = secrets
            .iter()
            .take(super::api::MAX_WATCHED)
            .all(|secret| asked.binary_search_by(|one| one.secret.cmp(secret)).is_ok());
        if !known {
            return sleep_until((begun + AT_LEAST).into()).await;
        }
        let _ = wanted.changed().await;
    }
}
