//! Instants as the API server keeps them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{RoundMode, Timestamp, TimestampRound, Unit};

/// The instant in whole seconds, which is all that is kept of a `metav1.Time`. What is compared with something that was
/// read back must not be finer: it would never be equal, and be written again at every look.
pub(crate) fn as_stored(time: Timestamp) -> Time {
    let stored = TimestampRound::new()
        .smallest(Unit::Second)
        .mode(RoundMode::Floor);
    Time(time.round(stored).unwrap_or(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_equals_itself_when_it_is_read_back() {
        for text in ["2026-02-01T08:00:00.999999999Z", "2026-02-01T08:00:00Z"] {
            let time = as_stored(text.parse().unwrap());
            let written = serde_json::to_string(&time).unwrap();
            assert_eq!(written, "\"2026-02-01T08:00:00Z\"");
            assert_eq!(serde_json::from_str::<Time>(&written).unwrap(), time);
        }
    }
}
