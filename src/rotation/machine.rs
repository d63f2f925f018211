//! What comes next in the rotation of a secret. Pure, and total: whatever is found is gone on from.
//!
//! ```text
//!            CreateSecret            SetSecret, TestSecret           FinishSecret
//! idle ─▶ pending version stored ─▶ told to the other side, tried ─▶ current ─▶ consumers have it, grace period ─▶ idle
//!                   ▲                        │            │                       (the value before is retired)
//!                   └── another value ◀── value refused   └─ cancelled ─▶ told to go back ─▶ idle
//! ```
//!
//! Few things are written down: that a version is pending, that it is cancelled or became current, and that the rotation ended. What is done
//! outside finds out what is true already, so that it may be done any number of times, and nobody has to remember that it was.
//!
//! Where the value is made by somebody's own code, a rotation begins with the id of a version that is not there yet. The code is called
//! with that id, and stores the value under it, or leaves that to the generators of the secret.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::timing::Due;
use crate::secrets::{Running, SecretRotation, VersionId};

/// How long pods are waited for, where nothing is said.
const TIMEOUT: SignedDuration = SignedDuration::from_hours(1);
/// How often the pods are looked at that are waited for.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(5);
/// How often it is looked whether the new value is delivered, which takes moments.
const DELIVERY: SignedDuration = SignedDuration::from_secs(1);
/// How many values in a row may be refused for what they are before somebody has to look.
pub(crate) const MOST_REFUSED: u64 = 10;

/// What is waited for after the new value is current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Finish {
    /// Whether every pod that gets the secret must have it.
    pub(crate) waits: bool,
    /// How long the value before goes on to work after that.
    pub(crate) grace: SignedDuration,
    /// How long pods are waited for.
    pub(crate) timeout: SignedDuration,
    /// Whether the value before works until the next rotation, which therefore must not begin before nobody needs it any more.
    pub(crate) overlaps: bool,
    /// Whether the other side is told at the end that nobody needs the value before any more.
    pub(crate) retires: bool,
}

impl Default for Finish {
    fn default() -> Self {
        Self {
            waits: true,
            grace: SignedDuration::ZERO,
            timeout: TIMEOUT,
            overlaps: false,
            retires: false,
        }
    }
}

/// What is known of the pods that get the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Consumers {
    /// Nobody can have the current version yet: it is not delivered.
    Undelivered,
    /// It is delivered now, and was not before, as far as is written down.
    Delivered,
    /// All of them have the current version.
    UpToDate,
    /// These have not, in order.
    Behind(Vec<String>),
}

/// Everything that is looked at.
pub(crate) struct Seen<'a> {
    /// What is remembered.
    pub(crate) record: Option<&'a SecretRotation>,
    /// What the schedule says; `None` while none begins by it.
    pub(crate) due: Option<Due>,
    /// The token that asks for one now.
    pub(crate) asked: Option<&'a str>,
    /// The version whose rotation shall not come to its end.
    pub(crate) cancelled: Option<&'a str>,
    /// Why none may begin now, also when asked.
    pub(crate) held: bool,
    /// The pods; looked at only while they are waited for.
    pub(crate) consumers: Option<&'a Consumers>,
    /// What is waited for.
    pub(crate) finish: Finish,
    /// Whether somebody's own code makes the value.
    pub(crate) own_code: bool,
    /// Now.
    pub(crate) now: Timestamp,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Write down since when the schedule counts.
    Adopt,
    /// Make a pending version: `CreateSecret`.
    Begin {
        /// What asked for it, if it was not the schedule.
        token: Option<String>,
        /// How many times of the schedule passed before.
        missed: u64,
    },
    /// Have the code whose matter it is make the value of that version: `CreateSecret`.
    Create(VersionId),
    /// Tell the other side of the pending version and try it there, `SetSecret` and `TestSecret`; then make it current.
    Carry(VersionId),
    /// Write down that it is cancelled: from then on nothing that was decided before can make the pending version current.
    Cancel,
    /// Have the other side take what it took before, and let the pending version go.
    Revert(VersionId),
    /// Write down that it is delivered: whoever begins from now on has it.
    Delivered,
    /// Write down that nobody is without it: the grace period begins.
    Loaded,
    /// Tell the other side that only that version, which is current, is needed any more: `FinishSecret`. Then end it.
    Retire(VersionId),
    /// End it.
    End {
        /// Whether pods are still without the new value.
        stalled: bool,
    },
    /// Pods are waited for, longer than they should take.
    Stalled {
        /// When to look again.
        until: Timestamp,
        /// Those that are behind; none is named where the value is not delivered at all.
        behind: Vec<String>,
    },
    /// Nothing, until then or until something changes.
    Wait {
        /// When to look again.
        until: Option<Timestamp>,
        /// What for.
        why: Why,
    },
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The next time of the schedule, or a token.
    Idle,
    /// A hold, such as after a restore.
    Held,
    /// Somebody, since so many values were refused for what they are.
    Refused,
    /// These pods, which are without the new value; none of them is named where it is not delivered at all.
    Consumers(Vec<String>),
    /// The grace period.
    Grace,
}

/// Decides.
pub(crate) fn next(seen: &Seen<'_>) -> Next {
    let Some(record) = seen.record else {
        return Next::Adopt;
    };
    match &record.running {
        None => begin(seen, record),
        Some(running) => match (running.promoted, running.loaded) {
            (None, _) => carry(seen, record, running),
            (Some(promoted), None) => consumers(seen, promoted),
            (Some(_), Some(loaded)) => grace(seen, running, loaded),
        },
    }
}

fn carry(seen: &Seen<'_>, record: &SecretRotation, running: &Running) -> Next {
    let wait = |why| Next::Wait { until: None, why };
    if seen.held {
        // What is stored may be older than what the other side knows.
        return wait(Why::Held);
    }
    if running.cancelled.is_some() {
        return Next::Revert(running.version.clone());
    }
    if seen.cancelled == Some(running.version.as_str()) {
        return Next::Cancel;
    }
    if running.refused < MOST_REFUSED {
        let version = running.version.clone();
        return if seen.own_code && running.created.is_none() {
            Next::Create(version)
        } else {
            Next::Carry(version)
        };
    }
    match seen.asked.filter(|token| !record.has_obeyed(token)) {
        None => wait(Why::Refused),
        Some(token) => Next::Begin {
            token: Some(token.to_owned()),
            missed: 0,
        },
    }
}

fn begin(seen: &Seen<'_>, record: &SecretRotation) -> Next {
    let asked = seen.asked.filter(|token| !record.has_obeyed(token));
    let due = seen.due.filter(|due| due.is_now(seen.now));
    if asked.is_none() && due.is_none() {
        return Next::Wait {
            until: seen.due.and_then(|due| due.begins),
            why: Why::Idle,
        };
    }
    if seen.held {
        return Next::Wait {
            until: None,
            why: Why::Held,
        };
    }
    Next::Begin {
        token: asked.map(str::to_owned),
        missed: seen.due.map_or(0, |due| due.missed),
    }
}

fn consumers(seen: &Seen<'_>, promoted: Timestamp) -> Next {
    let (finish, now) = (&seen.finish, seen.now);
    let (behind, again) = match seen.consumers.filter(|_| finish.waits) {
        Some(Consumers::Delivered) => return Next::Delivered,
        Some(Consumers::Undelivered) => (Vec::new(), DELIVERY),
        Some(Consumers::Behind(behind)) => (behind.clone(), LOOK_AGAIN),
        Some(Consumers::UpToDate) | None if finish.grace.is_zero() && !finish.retires => {
            return Next::End { stalled: false };
        }
        Some(Consumers::UpToDate) | None => return Next::Loaded,
    };
    let until = later(now, again);
    match (now < later(promoted, finish.timeout), finish.overlaps) {
        (true, _) => Next::Wait {
            until: Some(until),
            why: Why::Consumers(behind),
        },
        // The value before works until the next rotation: that must not begin as long as somebody needs it.
        (false, true) => Next::Stalled { until, behind },
        // There is nothing to be protected any more.
        (false, false) => Next::End { stalled: true },
    }
}

fn grace(seen: &Seen<'_>, running: &Running, loaded: Timestamp) -> Next {
    let over = later(loaded, seen.finish.grace);
    if seen.now < over {
        return Next::Wait {
            until: Some(over),
            why: Why::Grace,
        };
    }
    match (seen.finish.retires, seen.held) {
        (false, _) => Next::End { stalled: false },
        (true, false) => Next::Retire(running.version.clone()),
        // What is stored may be older than what the other side knows, and what would be retired the only value that works.
        (true, true) => Next::Wait {
            until: None,
            why: Why::Held,
        },
    }
}

fn later(time: Timestamp, length: SignedDuration) -> Timestamp {
    time.checked_add(length).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
