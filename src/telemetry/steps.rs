//! What rotations did outside, and how long they took.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds of the durations: from a rotation that nobody was waited for to one whose pods took days.
const SECONDS: [f64; 10] = [
    1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0, 604_800.0,
];

/// How a step outside ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StepResult {
    /// It is done, or was found to be.
    Done,
    /// The value was refused for what it is.
    ValueRefused,
    /// Somebody else changed what is there.
    OwnershipConflict,
    /// Somebody has to mend something.
    Rejected,
    /// It is tried again.
    Retry,
}

impl EncodeLabelValue for StepResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        let name = match self {
            Self::Done => "done",
            Self::ValueRefused => "value_refused",
            Self::OwnershipConflict => "ownership_conflict",
            Self::Rejected => "rejected",
            Self::Retry => "retry",
        };
        name.encode(encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    strategy: &'static str,
    step: &'static str,
    result: StepResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StrategyLabels {
    strategy: &'static str,
}

/// The metrics of steps.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    tries: Family<Labels, Counter>,
    duration: Family<StrategyLabels, Histogram>,
}

impl Steps {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let tries = Family::<Labels, Counter>::default();
        registry.register(
            "rotation_steps",
            "Steps of rotations outside by how they ended; SetSecret with TestSecret",
            tries.clone(),
        );
        let histogram = (|| Histogram::new(SECONDS)) as fn() -> Histogram;
        let duration = Family::new_with_constructor(histogram);
        registry.register_with_unit(
            "rotation_duration",
            "How long rotations took that ended, with the wait for pods",
            Unit::Seconds,
            duration.clone(),
        );
        Self { tries, duration }
    }

    pub(super) fn tried(&self, strategy: &'static str, step: &'static str, result: StepResult) {
        let labels = Labels {
            strategy,
            step,
            result,
        };
        self.tries.get_or_create(&labels).inc();
    }

    pub(super) fn ended(&self, strategy: &'static str, took: Duration) {
        let duration = self.duration.get_or_create(&StrategyLabels { strategy });
        duration.observe(took.as_secs_f64());
    }
}
