//! What a candidate or leader may do with the Lease that it sees. Pure.
//!
//! Whether a Lease has expired is judged by how long *this* process has seen it unchanged, on its
//! own monotonic clock. The times in the Lease are those of another machine's clock and are never
//! compared with ours.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::jiff::Timestamp;

use super::Config;

/// A Lease as this process sees it.
#[derive(Clone, Debug)]
pub(super) struct Observed<'a> {
    /// What the Lease says.
    pub(super) spec: &'a LeaseSpec,
    /// When this process first saw it say so, on its monotonic clock.
    pub(super) since: Duration,
    /// Whether it said something else before.
    pub(super) history: History,
}

/// What this process has seen of a Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum History {
    /// The Lease is as it was at the first look.
    Unchanged,
    /// The Lease has changed since, so whoever holds it was alive then.
    Changed,
}

/// Who is asking.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    /// Our name.
    pub(super) identity: &'a str,
    /// The acquire time that this process wrote, or tried to write. It tells our own records from
    /// those of another process of the same name.
    pub(super) tenure: Option<Timestamp>,
}

/// What may be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The Lease is free: take it.
    Acquire,
    /// The Lease is ours, written by this process: renew it.
    Renew,
    /// Another process holds it.
    Wait {
        /// Its name.
        holder: String,
        /// When to look again: after the retry period, or at expiry if that is sooner.
        retry_after: Duration,
    },
}

/// Decides; `now` is of the same monotonic clock as [`Observed::since`].
pub(super) fn evaluate(
    observed: Option<&Observed<'_>>,
    candidate: Candidate<'_>,
    now: Duration,
    config: &Config,
) -> Decision {
    // No Lease: it is whose request to create it comes first.
    let Some(observed) = observed else {
        return Decision::Acquire;
    };
    // An empty holder has released the Lease.
    let holder = observed.spec.holder_identity.as_deref().unwrap_or_default();
    if holder.is_empty() {
        return Decision::Acquire;
    }
    if holder == candidate.identity {
        let acquired = observed.spec.acquire_time.as_ref().map(|time| time.0);
        if acquired.is_some() && acquired == candidate.tenure {
            return Decision::Renew;
        }
        // Our name, but not our writing, and nobody has touched it since we first looked: an
        // earlier life of this process (a restarted container), which is dead. If it does change,
        // a twin of the same name is alive, and it is treated as any other holder.
        if observed.history == History::Unchanged {
            return Decision::Acquire;
        }
    }
    let left = observed
        .since
        .saturating_add(duration(observed.spec, config))
        .saturating_sub(now);
    if left.is_zero() {
        return Decision::Acquire;
    }
    Decision::Wait {
        holder: holder.to_owned(),
        retry_after: left.min(config.retry_period),
    }
}

/// How long the holder asked to be waited for. A Lease that does not say it is given ours.
fn duration(spec: &LeaseSpec, config: &Config) -> Duration {
    spec.lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .filter(|seconds| *seconds > 0)
        .map_or(config.lease_duration, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
    use proptest::prelude::*;

    use super::*;

    const ME: &str = "me";
    const OTHER: &str = "other";
    /// The acquire time of this process.
    const TENURE: i64 = 1_000;
    const SINCE: Duration = Duration::from_secs(100);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn spec(holder: Option<&str>, acquired: i64) -> LeaseSpec {
        LeaseSpec {
            holder_identity: holder.map(ToOwned::to_owned),
            lease_duration_seconds: Some(15),
            acquire_time: Some(MicroTime(at(acquired))),
            renew_time: Some(MicroTime(at(acquired))),
            ..LeaseSpec::default()
        }
    }

    fn config() -> Config {
        Config::new("ns", "lease", ME)
    }

    fn decide(spec: &LeaseSpec, history: History, now: Duration) -> Decision {
        let observed = Observed {
            spec,
            since: SINCE,
            history,
        };
        let candidate = Candidate {
            identity: ME,
            tenure: Some(at(TENURE)),
        };
        evaluate(Some(&observed), candidate, now, &config())
    }

    fn wait(holder: &str, seconds: u64) -> Decision {
        Decision::Wait {
            holder: holder.to_owned(),
            retry_after: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn a_missing_lease_is_acquired() {
        let candidate = Candidate {
            identity: ME,
            tenure: None,
        };
        assert_eq!(
            evaluate(None, candidate, SINCE, &config()),
            Decision::Acquire
        );
    }

    #[test]
    fn decisions_follow_holder_history_and_local_time() {
        use History::{Changed, Unchanged};
        let second = Duration::from_secs;
        let no_duration = LeaseSpec {
            lease_duration_seconds: None,
            ..spec(Some(OTHER), TENURE)
        };
        let negative = LeaseSpec {
            lease_duration_seconds: Some(-1),
            ..spec(Some(OTHER), TENURE)
        };
        let long = LeaseSpec {
            lease_duration_seconds: Some(60),
            ..spec(Some(OTHER), TENURE)
        };
        let cases = [
            (
                "never held",
                spec(None, 1),
                Unchanged,
                second(0),
                Decision::Acquire,
            ),
            (
                "released",
                spec(Some(""), 1),
                Changed,
                second(0),
                Decision::Acquire,
            ),
            (
                "ours",
                spec(Some(ME), TENURE),
                Changed,
                second(1),
                Decision::Renew,
            ),
            (
                "ours, expired",
                spec(Some(ME), TENURE),
                Changed,
                second(99),
                Decision::Renew,
            ),
            (
                "our former life",
                spec(Some(ME), 7),
                Unchanged,
                second(0),
                Decision::Acquire,
            ),
            (
                "our living twin",
                spec(Some(ME), 7),
                Changed,
                second(0),
                wait(ME, 2),
            ),
            (
                "our dead twin",
                spec(Some(ME), 7),
                Changed,
                second(15),
                Decision::Acquire,
            ),
            (
                "other, just seen",
                spec(Some(OTHER), 1),
                Unchanged,
                second(0),
                wait(OTHER, 2),
            ),
            (
                "other, at our tenure",
                spec(Some(OTHER), TENURE),
                Changed,
                second(0),
                wait(OTHER, 2),
            ),
            (
                "other, soon expired",
                spec(Some(OTHER), 1),
                Changed,
                second(14),
                wait(OTHER, 1),
            ),
            (
                "other, expired",
                spec(Some(OTHER), 1),
                Changed,
                second(15),
                Decision::Acquire,
            ),
            (
                "no duration, alive",
                no_duration.clone(),
                Changed,
                second(14),
                wait(OTHER, 1),
            ),
            (
                "no duration, expired",
                no_duration,
                Changed,
                second(15),
                Decision::Acquire,
            ),
            (
                "absurd duration",
                negative,
                Changed,
                second(14),
                wait(OTHER, 1),
            ),
            (
                "the holder's duration counts",
                long,
                Changed,
                second(59),
                wait(OTHER, 1),
            ),
        ];
        for (name, spec, history, unchanged_for, expected) in cases {
            assert_eq!(
                decide(&spec, history, SINCE + unchanged_for),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn a_record_without_acquire_time_is_not_taken_for_ours() {
        let unsigned = LeaseSpec {
            acquire_time: None,
            ..spec(Some(ME), 1)
        };
        let observed = Observed {
            spec: &unsigned,
            since: SINCE,
            history: History::Changed,
        };
        let candidate = Candidate {
            identity: ME,
            tenure: None,
        };
        assert_eq!(
            evaluate(Some(&observed), candidate, SINCE, &config()),
            wait(ME, 2)
        );
    }

    fn any_history() -> impl Strategy<Value = History> {
        prop_oneof![Just(History::Unchanged), Just(History::Changed)]
    }

    proptest! {
        #[test]
        fn a_live_lease_of_another_is_never_taken_and_a_dead_one_always(
            since in 0_u64..1_000_000,
            duration in 1_i32..100_000,
            unchanged_for in 0_u64..200_000,
            written in -1_000_000_000_i64..4_000_000_000,
            history in any_history(),
        ) {
            let mut spec = spec(Some(OTHER), written);
            spec.lease_duration_seconds = Some(duration);
            let since = Duration::from_millis(since);
            let unchanged_for = Duration::from_millis(unchanged_for * 1000 / 999);
            let observed = Observed { spec: &spec, since, history };
            let candidate = Candidate { identity: ME, tenure: Some(at(TENURE)) };
            let decision = evaluate(Some(&observed), candidate, since + unchanged_for, &config());
            let duration = Duration::from_secs(u64::try_from(duration).unwrap());
            if unchanged_for >= duration {
                prop_assert_eq!(decision, Decision::Acquire);
            } else {
                let Decision::Wait { retry_after, .. } = decision else {
                    return Err(TestCaseError::fail("took a live lease"));
                };
                prop_assert!(!retry_after.is_zero());
                prop_assert!(retry_after <= config().retry_period);
                prop_assert!(retry_after <= duration - unchanged_for);
            }
        }

        #[test]
        fn the_clocks_of_other_machines_do_not_matter(
            acquired in -1_000_000_000_i64..4_000_000_000,
            renewed in -1_000_000_000_i64..4_000_000_000,
            unchanged_for in 0_u64..30,
            history in any_history(),
        ) {
            let mut skewed = spec(Some(OTHER), acquired);
            skewed.renew_time = Some(MicroTime(at(renewed)));
            let now = SINCE + Duration::from_secs(unchanged_for);
            prop_assert_eq!(
                decide(&skewed, history, now),
                decide(&spec(Some(OTHER), 0), history, now)
            );
        }
    }
}
