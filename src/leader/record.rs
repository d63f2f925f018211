//! What is written into the Lease, as client-go writes it. Pure.

use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;

use super::Config;

/// Cuts a time to what a Lease can hold, so that it is still equal when it is read back.
pub(super) fn microseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

/// The Lease taken by us. The transitions count changes of the holder's name.
pub(super) fn acquired(
    current: Option<&LeaseSpec>,
    config: &Config,
    tenure: Timestamp,
    now: Timestamp,
) -> LeaseSpec {
    let mut spec = current.cloned().unwrap_or_default();
    let transitions = spec.lease_transitions.unwrap_or_default();
    let same_holder = spec.holder_identity.as_ref() == Some(&config.identity);
    let transitions = if current.is_none() || same_holder {
        transitions
    } else {
        transitions.saturating_add(1)
    };
    spec.lease_transitions = Some(transitions);
    spec.holder_identity = Some(config.identity.clone());
    spec.lease_duration_seconds = Some(config.lease_duration_seconds());
    spec.acquire_time = Some(MicroTime(tenure));
    spec.renew_time = Some(MicroTime(microseconds(now)));
    spec
}

/// The Lease given back: no holder, and nothing to wait for.
pub(super) fn released(current: &LeaseSpec, now: Timestamp) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(1),
        acquire_time: Some(MicroTime(microseconds(now))),
        renew_time: Some(MicroTime(microseconds(now))),
        ..current.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn held_by(holder: &str, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_transitions: Some(transitions),
            strategy: Some("OldestEmulationVersion".to_owned()),
            ..LeaseSpec::default()
        }
    }

    fn transitions_after(current: Option<&LeaseSpec>) -> Option<i32> {
        let config = Config::new("ns", "lease", "me");
        acquired(current, &config, at(1), at(2)).lease_transitions
    }

    #[test]
    fn transitions_count_changes_of_the_holder() {
        assert_eq!(transitions_after(None), Some(0));
        assert_eq!(transitions_after(Some(&held_by("other", 4))), Some(5));
        assert_eq!(transitions_after(Some(&held_by("", 4))), Some(5));
        assert_eq!(transitions_after(Some(&held_by("me", 4))), Some(4));
        assert_eq!(
            transitions_after(Some(&held_by("other", i32::MAX))),
            Some(i32::MAX)
        );
    }

    #[test]
    fn a_renewal_moves_only_the_renew_time() {
        let config = Config::new("ns", "lease", "me");
        let first = acquired(Some(&held_by("other", 4)), &config, at(1), at(1));
        let second = acquired(Some(&first), &config, at(1), at(9));
        assert_eq!(
            second,
            LeaseSpec {
                renew_time: Some(MicroTime(at(9))),
                ..first
            }
        );
    }

    #[test]
    fn a_release_keeps_transitions_and_fields_of_others() {
        let spec = released(&held_by("me", 4), at(9));
        assert_eq!(spec.holder_identity.as_deref(), Some(""));
        assert_eq!(spec.lease_duration_seconds, Some(1));
        assert_eq!(spec.lease_transitions, Some(4));
        assert_eq!(spec.strategy.as_deref(), Some("OldestEmulationVersion"));
    }

    #[test]
    fn a_tenure_is_equal_after_a_round_trip_through_json() {
        let now = microseconds("2026-01-02T03:04:05.123456789Z".parse().unwrap());
        let json = serde_json::to_string(&MicroTime(now)).unwrap();
        assert_eq!(json, "\"2026-01-02T03:04:05.123456Z\"");
        assert_eq!(serde_json::from_str::<MicroTime>(&json).unwrap().0, now);
    }
}
