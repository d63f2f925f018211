//! What the process shows of itself: log lines, metrics, liveness and readiness.

mod http;
mod keys;
mod labels;
mod logging;
mod metrics;
mod process;
mod readiness;
mod secrets;
mod table;
mod truth_age;

pub use http::serve;
pub use keys::KeyFacts;
pub use labels::{Delivery, Kind, Outcome, ReadyStatus, Truth};
pub use logging::{Format, InitError, init};
pub use metrics::{Leading, Metrics};
pub use readiness::{Component, Readiness};
pub use secrets::SecretFacts;
