//! Which replicas of the server are there, and how far each is with the truth about keys.
//!
//! A key counts as disabled only when no replica uses it any more: each live one has applied that it is. A replica that
//! cannot say so is waited for as long as it could still take an older state for the newest; after that it refuses by
//! itself (see [`crate::keys::Freshness`]). Times are those of a monotonic clock here: no other clock is trusted.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::context::Context;
use super::error::{Error, call};
use crate::api::names::{ANNOTATION_APPLIED, COMPONENT_SERVER, LABEL_COMPONENT};
use crate::keys::Freshness;

/// How long after its last sign of life a replica may still use keys: as long as its proof is good, and a little for the
/// sign to be seen.
const ALIVE: Duration = Freshness::MAX_AGE.saturating_add(Duration::from_secs(5));

/// What a Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sign {
    /// The Lease's own resourceVersion: it changes with each sign of life.
    version: String,
    /// The state that the replica has applied.
    applied: u64,
    /// Whether the replica has stopped using keys.
    left: bool,
}

/// The last sign of each replica, and when it was first seen here.
#[derive(Debug, Default)]
struct Sightings(HashMap<String, (Sign, Instant)>);

impl Sightings {
    /// Takes note of all signs that there are. A replica whose sign is gone may be there all the same.
    fn note(&mut self, signs: impl IntoIterator<Item = (String, Sign)>, now: Instant) {
        self.0
            .retain(|_, (_, since)| now.saturating_duration_since(*since) < ALIVE * 100);
        for (name, sign) in signs {
            match self.0.get(&name) {
                Some((known, _)) if *known == sign => {}
                _ => {
                    self.0.insert(name, (sign, now));
                }
            }
        }
    }

    /// The replicas that may still use keys as they were before that state, in order.
    fn behind(&self, revision: u64, now: Instant) -> Vec<String> {
        let is_behind = |(sign, since): &(Sign, Instant)| {
            !sign.left && sign.applied < revision && now.saturating_duration_since(*since) < ALIVE
        };
        let behind = self.0.iter().filter(|(_, seen)| is_behind(seen));
        let mut names: Vec<_> = behind.map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }
}

/// The replicas as this process has seen them. It looks only when it is asked.
#[derive(Debug, Default)]
pub struct Replicas(Mutex<Sightings>);

impl Replicas {
    /// Looks, and names the replicas that may still use keys as they were before that state of the truth.
    pub(super) async fn behind(&self, revision: u64, ctx: &Context) -> Result<Vec<String>, Error> {
        let leases: Api<Lease> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
        let selector = format!("{LABEL_COMPONENT}={COMPONENT_SERVER}");
        let params = ListParams::default().labels(&selector);
        let found = call("list", "the server's Leases", leases.list(&params)).await?;
        let signs = found
            .items
            .into_iter()
            .map(|lease| (lease.name_any(), sign(&lease)));
        let now = Instant::now();
        let mut sightings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sightings.note(signs, now);
        Ok(sightings.behind(revision, now))
    }
}

fn sign(lease: &Lease) -> Sign {
    let applied = lease.annotations().get(ANNOTATION_APPLIED);
    let holder = lease
        .spec
        .as_ref()
        .and_then(|spec| spec.holder_identity.as_deref());
    Sign {
        version: lease.resource_version().unwrap_or_default(),
        applied: applied
            .and_then(|applied| applied.parse().ok())
            .unwrap_or_default(),
        left: holder.unwrap_or_default().is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(version: &str, applied: u64) -> Sign {
        Sign {
            version: version.to_owned(),
            applied,
            left: false,
        }
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn everybody_who_is_there_is_waited_for_until_he_has_applied_the_state() {
        let (mut seen, start) = (Sightings::default(), Instant::now());
        assert_eq!(seen.behind(10, start), [""; 0], "nobody is there");
        seen.note(
            [("a".into(), sign("1", 9)), ("b".into(), sign("2", 10))],
            start,
        );
        assert_eq!(seen.behind(10, start), ["a"]);
        seen.note(
            [("a".into(), sign("3", 12)), ("b".into(), sign("2", 10))],
            start,
        );
        assert_eq!(seen.behind(10, start), [""; 0]);
        assert_eq!(seen.behind(11, start), ["b"]);
    }

    #[test]
    fn who_gives_no_sign_is_waited_for_as_long_as_his_proof_may_be_good() {
        let (mut seen, start) = (Sightings::default(), Instant::now());
        for second in 0..40 {
            // Always the same sign: the replica hangs.
            seen.note([("a".into(), sign("1", 9))], after(start, second));
            let waits = second < ALIVE.as_secs();
            assert_eq!(
                !seen.behind(10, after(start, second)).is_empty(),
                waits,
                "second {second}"
            );
        }
        // It is back, and still behind.
        seen.note([("a".into(), sign("2", 9))], after(start, 41));
        assert_eq!(seen.behind(10, after(start, 41)), ["a"]);
    }

    #[test]
    fn a_lease_that_somebody_deleted_does_not_make_its_replica_harmless_at_once() {
        let (mut seen, start) = (Sightings::default(), Instant::now());
        seen.note([("a".into(), sign("1", 9))], start);
        seen.note([], after(start, 1));
        assert_eq!(seen.behind(10, after(start, 1)), ["a"]);
        assert_eq!(seen.behind(10, after(start, 21)), [""; 0]);
    }

    #[test]
    fn who_has_left_is_not_waited_for() {
        let (mut seen, start) = (Sightings::default(), Instant::now());
        let left = Sign {
            left: true,
            ..sign("2", 9)
        };
        seen.note([("a".into(), sign("1", 9))], start);
        seen.note([("a".into(), left)], after(start, 1));
        assert_eq!(seen.behind(10, after(start, 1)), [""; 0]);
    }

    #[test]
    fn replicas_of_long_ago_are_forgotten() {
        let (mut seen, start) = (Sightings::default(), Instant::now());
        seen.note([("a".into(), sign("1", 9))], start);
        seen.note([], after(start, 100_000));
        assert!(seen.0.is_empty());
    }
}
