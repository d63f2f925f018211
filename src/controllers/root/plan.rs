//! What the rotation of the root key does next. Pure.
//!
//! ```text
//! Requested ──chosen──▶ Preparing ──kept──▶ Distributing ──no replica objects──▶ Rewrapping ──none is left──▶ done
//!                                             done ◀─gone── Removing ◀─a day── Forgetting ◀─ forget ─┘
//! ```
//!
//! Removing is in the record before anything is removed. Until then the old root key can be kept; from then on it cannot.
//!
//! Up to Distributing nothing is wrapped under the next root key, and the rotation can be taken back. The change of the
//! current root key and the beginning of Rewrapping are one write of the record. A crash at any point is looked at as if
//! nothing had been begun: every phase finds out what is already true.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::crypto::Fingerprint;
use crate::installation::{Phase, Record, RootRotation};

/// How long a replica has to say that it cannot load the next root key. A replica that has a watch hears of it within a second.
pub(super) const OBJECT_WITHIN: SignedDuration = SignedDuration::from_secs(15);
/// How long nothing may have been wrapped under a root key before it is removed. Everything that is older can be read no more.
pub(super) const FORGET_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// What is known at a look.
#[derive(Clone, Debug)]
pub(super) struct Seen<'a> {
    /// The record.
    pub(super) record: &'a Record,
    /// The time.
    pub(super) now: Timestamp,
    /// Whether the next root key is kept where it can be found.
    pub(super) next_found: bool,
    /// Why the next root key cannot be loaded here.
    pub(super) next_problem: Option<String>,
    /// How many keys have a generation under another root key than the current one; `None` if they were not counted.
    pub(super) others: Option<usize>,
    /// Whether a restore is suspected: nothing is destroyed then.
    pub(super) held: bool,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing, until something changes.
    Rest,
    /// Nothing before that instant.
    Wait(Timestamp),
    /// Write down what holds the rotation up, and look again.
    Stuck(String),
    /// Choose the next root key.
    Choose,
    /// Let the replicas load the next root key.
    Distribute,
    /// Make the next root key the current one.
    Switch(Fingerprint),
    /// Wrap anew what is wrapped under another root key.
    Rewrap,
    /// Nothing is wrapped under another root key any more: end the rotation, or begin to forget.
    Finish,
    /// Write down that the old root key is removed now: from there is no way back.
    Condemn(Fingerprint),
    /// Remove the old root key.
    Forget(Fingerprint),
}

/// Decides.
pub(super) fn step(seen: &Seen<'_>) -> Step {
    match &seen.record.rotation {
        None => idle(seen),
        Some(rotation) => next(rotation, seen),
    }
}

/// Without a rotation, what was restored from before one is brought up to date.
fn idle(seen: &Seen<'_>) -> Step {
    match seen.others {
        Some(others) if others > 0 => Step::Rewrap,
        _ => Step::Rest,
    }
}

fn next(rotation: &RootRotation, seen: &Seen<'_>) -> Step {
    match (rotation.phase, rotation.next) {
        (Phase::Preparing, Some(_)) if seen.next_found => Step::Distribute,
        // Preparing: chosen by a leader that ended before it was kept. Nothing is wrapped under it.
        (Phase::Requested | Phase::Preparing, _) | (Phase::Distributing, None) => Step::Choose,
        (Phase::Distributing, Some(next)) => distributing(rotation, next, seen),
        (Phase::Rewrapping, _) => match seen.others {
            Some(0) => Step::Finish,
            _ => Step::Rewrap,
        },
        (Phase::Forgetting | Phase::Removing, _) => forgetting(rotation, seen),
    }
}

fn distributing(rotation: &RootRotation, next: Fingerprint, seen: &Seen<'_>) -> Step {
    if let Some(problem) = &seen.next_problem {
        return Step::Stuck(problem.clone());
    }
    let objections = seen.record.objections.iter();
    let live: Vec<_> = objections
        .filter(|(_, objection)| objection.is_live(next, seen.now))
        .map(|(name, _)| name.as_str())
        .collect();
    if !live.is_empty() {
        return Step::Stuck(format!(
            "replicas that cannot load root key {next}: {}",
            live.join(", ")
        ));
    }
    let end = after(rotation.since, OBJECT_WITHIN);
    if seen.now < end {
        Step::Wait(end)
    } else {
        Step::Switch(next)
    }
}

fn forgetting(rotation: &RootRotation, seen: &Seen<'_>) -> Step {
    match seen.others {
        // A backup was put back meanwhile.
        Some(others) if others > 0 => return Step::Rewrap,
        None => return Step::Rest,
        Some(_) => {}
    }
    if rotation.from == seen.record.root {
        return Step::Stuck("the old root key is the current one".to_owned());
    }
    if seen.held {
        return Step::Stuck("a restore is suspected: nothing is destroyed".to_owned());
    }
    if rotation.phase == Phase::Removing {
        return Step::Forget(rotation.from);
    }
    let end = after(rotation.since, FORGET_AFTER);
    if seen.now < end {
        Step::Wait(end)
    } else {
        Step::Condemn(rotation.from)
    }
}

fn after(time: Timestamp, wait: SignedDuration) -> Timestamp {
    time.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
