//! Tells the server which versions pods have, when that changes and after a restart.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{debug, warn};

use super::api::{CallError, FailedPod, Kind, LoadedPod, MAX_REPORTED};
use super::metrics::Operation;
use super::own::OwnToken;
use super::pace::{Pace, chance};
use super::publish::Publisher;

/// Changes that come together are told together.
const SETTLE: Duration = Duration::from_millis(500);
/// Between reports that were not taken.
const PACE: Pace = Pace {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(60),
};

/// Reports until `stop`.
pub(super) async fn run(
    publisher: Arc<Publisher>,
    token: OwnToken,
    stop: impl Future<Output = ()>,
) {
    tokio::select! {
        () = tell(&publisher, &token) => {}
        () = stop => {}
    }
}

async fn tell(publisher: &Publisher, token: &OwnToken) {
    let mut loaded = publisher.volumes.watch_loaded();
    let mut reported = Reported::default();
    let mut in_vain = 0;
    loop {
        loaded.mark_unchanged();
        let pods = publisher.volumes.pods();
        let news = reported.news(&pods);
        if news.is_empty() {
            in_vain = 0;
            // Its sender lives as long as the publisher.
            let _ = loaded.changed().await;
            sleep(SETTLE).await;
            continue;
        }
        let failed = match send(publisher, token, &news).await {
            Ok(failed) => failed,
            Err(error) => {
                publisher
                    .metrics
                    .failed(Operation::Report, error.kind.as_str());
                debug!(%error, "a report was not taken");
                in_vain += 1;
                sleep(PACE.wait(in_vain, chance())).await;
                continue;
            }
        };
        for failure in &failed {
            publisher
                .metrics
                .failed(Operation::Report, failure.kind().as_str());
            warn!(
                uid = failure.uid,
                code = failure.code,
                why = failure.message,
                "what a pod has was not written down"
            );
        }
        let again = reported.sent(news, &failed);
        in_vain = if again { in_vain + 1 } else { 0 };
        if again {
            sleep(PACE.wait(in_vain, chance())).await;
        }
    }
}

async fn send(
    publisher: &Publisher,
    token: &OwnToken,
    pods: &[LoadedPod],
) -> Result<Vec<FailedPod>, CallError> {
    let token = token.read().await?;
    publisher.server.report(&token, pods).await
}

/// What the server was told, by the pods' UIDs.
#[derive(Debug, Default)]
struct Reported(BTreeMap<String, BTreeMap<String, String>>);

impl Reported {
    /// What must be told: some of it, if it is much. Pods that are gone are forgotten.
    fn news(&mut self, pods: &BTreeMap<String, LoadedPod>) -> Vec<LoadedPod> {
        self.0.retain(|uid, _| pods.contains_key(uid));
        pods.values()
            .filter(|pod| self.0.get(&pod.uid) != Some(&pod.secrets))
            .take(MAX_REPORTED)
            .cloned()
            .collect()
    }

    /// Those were told. Returns whether some must be told again: the others that failed would fail again.
    fn sent(&mut self, pods: Vec<LoadedPod>, failed: &[FailedPod]) -> bool {
        let mut again = false;
        for pod in pods {
            let failed = failed.iter().find(|failed| failed.uid == pod.uid);
            if failed.is_some_and(|failed| failed.kind() == Kind::Away) {
                again = true;
            } else {
                self.0.insert(pod.uid, pod.secrets);
            }
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, version: &str) -> LoadedPod {
        LoadedPod {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
            uid: uid.to_owned(),
            secrets: BTreeMap::from([("db".to_owned(), version.to_owned())]),
        }
    }

    fn pods(pods: &[LoadedPod]) -> BTreeMap<String, LoadedPod> {
        let pods = pods.iter();
        pods.map(|pod| (pod.uid.clone(), pod.clone())).collect()
    }

    fn failed(uid: &str, code: &str) -> FailedPod {
        FailedPod {
            uid: uid.to_owned(),
            code: code.to_owned(),
            message: String::new(),
        }
    }

    #[test]
    fn only_what_changed_is_told() {
        let mut reported = Reported::default();
        let now = pods(&[pod("a", "1"), pod("b", "1")]);
        let news = reported.news(&now);
        assert_eq!(news.len(), 2);
        assert!(!reported.sent(news, &[]));
        assert_eq!(reported.news(&now), []);
        let now = pods(&[pod("a", "2"), pod("b", "1")]);
        assert_eq!(reported.news(&now), [pod("a", "2")]);
    }

    #[test]
    fn what_may_work_later_is_told_again_and_what_is_refused_is_not() {
        let mut reported = Reported::default();
        let now = pods(&[pod("a", "1"), pod("b", "1")]);
        let news = reported.news(&now);
        let failures = [
            failed("a", "ThrottlingException"),
            failed("b", "AccessDeniedException"),
        ];
        assert!(reported.sent(news, &failures));
        assert_eq!(reported.news(&now), [pod("a", "1")]);
    }

    #[test]
    fn much_is_told_in_parts_and_pods_that_are_gone_are_forgotten() {
        let mut reported = Reported::default();
        let many: Vec<_> = (0..300)
            .map(|number| pod(&number.to_string(), "1"))
            .collect();
        let news = reported.news(&pods(&many));
        assert_eq!(news.len(), 256);
        reported.sent(news, &[]);
        let news = reported.news(&pods(&many));
        assert_eq!(news.len(), 44);
        reported.sent(news, &[]);
        reported.news(&BTreeMap::new());
        assert!(reported.0.is_empty());
    }
}
