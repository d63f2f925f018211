//! The metrics of the node plugin, and the only way to move them.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::volumes::Volumes;
use crate::telemetry::{AskedAge, Process};

/// What the names begin with.
const PREFIX: &str = "keystead_node";

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// A volume was to be published for the first time.
    Publish,
    /// The files of a running pod were to follow.
    Update,
    /// The server was asked for news.
    Watch,
    /// The server was told what pods have.
    Report,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Update => "update",
            Self::Watch => "watch",
            Self::Report => "report",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    operation: &'static str,
    code: &'static str,
}

/// The metrics of this process. Clones are handles of the same metrics.
#[derive(Clone)]
pub(super) struct Metrics {
    registry: Arc<Registry>,
    updates: Counter,
    failures: Family<FailureLabels, Counter>,
    last_poll: LastPoll,
}

impl Metrics {
    /// Metrics of these volumes in which nothing has happened yet.
    pub(super) fn new(volumes: &Arc<Volumes>) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process));
        let last_poll = LastPoll::default();
        registry.register_collector(Box::new(Shown {
            volumes: Arc::clone(volumes),
        }));
        registry.register_collector(Box::new(poll_age(&last_poll)));
        let node = registry.sub_registry_with_prefix(PREFIX);
        let (updates, failures) = (Counter::default(), Family::default());
        node.register(
            "updates",
            "Volumes of running pods whose files were replaced since this process started",
            updates.clone(),
        );
        node.register(
            "failures",
            "What failed since this process started, by operation and code",
            failures.clone(),
        );
        Self {
            registry: Arc::new(registry),
            updates,
            failures,
            last_poll,
        }
    }

    /// The text that is shown to who asks for metrics.
    pub(super) fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// The files of a running pod were replaced.
    pub(super) fn updated(&self) {
        self.updates.inc();
    }

    /// Something failed.
    pub(super) fn failed(&self, operation: Operation, code: &'static str) {
        let operation = operation.as_str();
        let labels = FailureLabels { operation, code };
        self.failures.get_or_create(&labels).inc();
    }

    /// The server is asked for news.
    pub(super) fn polling(&self, now: Instant) {
        last(&self.last_poll).get_or_insert(now);
    }

    /// The server answered.
    pub(super) fn polled(&self, now: Instant) {
        *last(&self.last_poll) = Some(now);
    }

    /// There is nothing to ask for.
    pub(super) fn nothing_to_poll(&self) {
        *last(&self.last_poll) = None;
    }
}

/// When the server last answered or, if it has not yet, since when it is asked. `None`: it is not asked.
type LastPoll = Arc<Mutex<Option<Instant>>>;

fn last(poll: &LastPoll) -> MutexGuard<'_, Option<Instant>> {
    poll.lock().unwrap_or_else(PoisonError::into_inner)
}

fn poll_age(poll: &LastPoll) -> AskedAge {
    let age = AskedAge::new(
        "keystead_node_last_poll_age",
        "How long ago the server last answered the question for changes, or since when it is asked in vain; it answers within half a minute. Absent where no files follow",
    );
    let poll = Arc::clone(poll);
    age.ask(move || Some(last(&poll).as_ref()?.elapsed()));
    age
}

/// What is found out when somebody asks.
struct Shown {
    volumes: Arc<Volumes>,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").finish_non_exhaustive()
    }
}

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, count) in [
            (
                "volumes",
                "Volumes that are published on this node, as far as this process was told",
                self.volumes.count(),
            ),
            (
                "volumes_behind",
                "Volumes of running pods that have other files than they should, although it was tried to replace them",
                self.volumes.behind(),
            ),
        ] {
            let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(
                &format!("{PREFIX}_{name}"),
                help,
                None,
                gauge.metric_type(),
            )?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::named::assert_known;

    /// Metrics all of which are there.
    fn all() -> String {
        let metrics = Metrics::new(&Arc::default());
        metrics.updated();
        metrics.failed(Operation::Update, "away");
        metrics.polled(Instant::now());
        metrics.encode().unwrap()
    }

    #[test]
    fn a_poll_has_an_age_only_while_there_is_something_to_ask() {
        let metrics = Metrics::new(&Arc::default());
        let shown = || metrics.encode().unwrap().contains("last_poll_age_seconds");
        assert!(!shown());
        let begun = Instant::now();
        metrics.polling(begun);
        assert!(shown(), "a server that never answers is noticed too");
        metrics.polling(begun + Duration::from_secs(9));
        assert_eq!(
            *last(&metrics.last_poll),
            Some(begun),
            "asked again in vain"
        );
        metrics.polled(begun + Duration::from_secs(9));
        assert_ne!(*last(&metrics.last_poll), Some(begun));
        metrics.nothing_to_poll();
        assert!(!shown());
    }

    #[test]
    fn everything_that_moves_is_shown() {
        let text = all();
        for line in [
            "keystead_node_updates_total 1",
            "keystead_node_failures_total{operation=\"update\",code=\"away\"} 1",
            "keystead_node_volumes 0",
            "keystead_node_volumes_behind 0",
            "keystead_node_last_poll_age_seconds ",
            "process_resident_memory_bytes ",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn the_dashboard_the_alerts_and_the_documentation_name_only_metrics_that_there_are() {
        assert_known(&all(), |word| word.starts_with("keystead_node_"));
    }
}
