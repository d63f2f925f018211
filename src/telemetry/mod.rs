//! What the process shows of itself: log lines, metrics, liveness and readiness.

mod asked_age;
mod calls;
mod http;
mod keys;
mod labels;
mod logging;
mod metrics;
#[cfg(test)]
pub(crate) mod named;
mod process;
mod readiness;
mod rotations;
mod secrets;
mod steps;
mod table;

pub(crate) use asked_age::AskedAge;
pub use calls::{ApiCall, ApiResult};
pub use http::serve;
pub(crate) use http::{LIMITS, OPEN_METRICS};
pub use keys::KeyFacts;
pub use labels::{Delivery, Kind, Outcome, ReadyStatus, Truth};
pub(crate) use logging::init_small;
pub use logging::{Format, InitError, init};
pub use metrics::{Leading, Metrics};
pub(crate) use process::Process;
pub use readiness::{Component, Readiness};
pub use rotations::RotationFacts;
pub use secrets::SecretFacts;
pub use steps::StepResult;
