//! What the API and the webhooks were asked, and how it ended.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds of the durations: from a call that needed nobody else to one that met a stuck API server.
const SECONDS: [f64; 10] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0,
];

/// A call of the API or of a webhook that metrics tell apart: never what a caller wrote, but one of the names that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ApiCall(&'static str);

impl ApiCall {
    /// What is no call.
    pub const UNKNOWN: Self = Self("Unknown");

    /// A call that there is.
    pub const fn named(name: &'static str) -> Self {
        Self(name)
    }
}

impl EncodeLabelValue for ApiCall {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        self.0.encode(encoder)
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApiResult {
    /// It was answered.
    Success,
    /// The caller may not, or is not known.
    Denied,
    /// What was asked cannot be answered, or is not there.
    Refused,
    /// The caller asks too much.
    Throttled,
    /// The replica could not answer: that is not the caller's doing.
    Failed,
}

impl EncodeLabelValue for ApiResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        let name = match self {
            Self::Success => "success",
            Self::Denied => "denied",
            Self::Refused => "refused",
            Self::Throttled => "throttled",
            Self::Failed => "failed",
        };
        name.encode(encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    call: ApiCall,
    result: ApiResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    call: ApiCall,
}

/// What is counted of calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    /// The name of the counter, and what it counts.
    pub(super) calls: (&'static str, &'static str),
    /// The name of the histogram, and what it measures.
    pub(super) duration: (&'static str, &'static str),
}

/// The calls of the API.
pub(super) const API: Names = Names {
    calls: ("api_calls", "Calls of the API by how they ended"),
    duration: ("api_call_duration", "How long calls of the API took"),
};

/// The questions of the API server of the cluster.
pub(super) const WEBHOOKS: Names = Names {
    calls: (
        "webhook_calls",
        "Questions to the webhooks by how they ended",
    ),
    duration: (
        "webhook_call_duration",
        "How long answers of the webhooks took",
    ),
};

/// The metrics of the API, or of the webhooks.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    calls: Family<Labels, Counter>,
    duration: Family<CallLabels, Histogram>,
}

impl Calls {
    pub(super) fn registered(registry: &mut Registry, names: Names) -> Self {
        let calls = Family::<Labels, Counter>::default();
        let (name, help) = names.calls;
        registry.register(name, help, calls.clone());
        let histogram = (|| Histogram::new(SECONDS)) as fn() -> Histogram;
        let duration = Family::new_with_constructor(histogram);
        let (name, help) = names.duration;
        registry.register_with_unit(name, help, Unit::Seconds, duration.clone());
        Self { calls, duration }
    }

    pub(super) fn answered(&self, call: ApiCall, result: ApiResult, took: Duration) {
        self.calls.get_or_create(&Labels { call, result }).inc();
        let duration = self.duration.get_or_create(&CallLabels { call });
        duration.observe(took.as_secs_f64());
    }
}
