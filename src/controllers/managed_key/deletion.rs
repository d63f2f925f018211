//! The end of a key: when it is due, and what has to be true before the material is destroyed. Pure.
//!
//! ```text
//! scheduled, or absent ──date──▶ due, seen by a leader ──a day, same leader──▶ destroyed (a tombstone stays)
//!        └──────────── cancelled: the resource is there and schedules nothing ────────────┘
//! ```
//!
//! (AWS KMS: `ScheduleKeyDeletion`. There too the window is 7 to 30 days.)

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::api::{DeletionRecord, DueRecord, KeyDeletion};

/// No change brings the date nearer than this.
const SHORTEST: SignedDuration = days(KeyDeletion::SHORTEST_WINDOW_DAYS);
/// How long after a leader saw the date gone by the key is destroyed, at the earliest.
const GRACE: SignedDuration = SignedDuration::from_hours(24);

/// For how long a use that was refused keeps a key.
const RECENT: SignedDuration = days(KeyDeletion::DEFAULT_WINDOW_DAYS);

const fn days(number: u8) -> SignedDuration {
    SignedDuration::from_hours(24 * number as i64)
}

/// The record as the resource's spec wants it. The date is fixed when the deletion is scheduled; later changes of the window
/// count from then, and never bring it nearer than seven days from now.
pub(crate) fn asked(
    spec: Option<&KeyDeletion>,
    record: Option<&DeletionRecord>,
    now: Timestamp,
) -> Option<DeletionRecord> {
    let spec = spec?;
    let window = spec.pending_window_days;
    let window = days(window.unwrap_or(KeyDeletion::DEFAULT_WINDOW_DAYS));
    let Some(record) = record else {
        return Some(DeletionRecord {
            accept_data_loss: spec.accept_data_loss,
            ..scheduled(now, window)
        });
    };
    let wanted = after(record.since.0, window);
    let date = if wanted >= record.date.0 {
        wanted
    } else {
        record.date.0.min(wanted.max(after(now, SHORTEST)))
    };
    let moved = date != record.date.0;
    Some(DeletionRecord {
        date: Time(date),
        accept_data_loss: spec.accept_data_loss,
        due: record.due.clone().filter(|_| !moved),
        blocked_by: record.blocked_by.filter(|_| !moved),
        ..record.clone()
    })
}

/// The record of a key whose resource is gone: an earlier date stays; otherwise the default window, or the shortest one if
/// nothing needs the key.
pub(crate) fn absent(
    record: Option<&DeletionRecord>,
    dependents: u32,
    now: Timestamp,
) -> DeletionRecord {
    if let Some(record) = record {
        return record.clone();
    }
    let window = if dependents == 0 {
        KeyDeletion::SHORTEST_WINDOW_DAYS
    } else {
        KeyDeletion::DEFAULT_WINDOW_DAYS
    };
    scheduled(now, days(window))
}

fn scheduled(now: Timestamp, window: SignedDuration) -> DeletionRecord {
    DeletionRecord {
        since: Time(now),
        date: Time(after(now, window)),
        accept_data_loss: None,
        due: None,
        blocked_by: None,
        refused: None,
    }
}

/// What is known at a look at a key that waits for its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// The time: the earlier one of this process's clock and the API server's, so that no clock alone ends a key.
    pub(crate) now: Timestamp,
    /// This leadership.
    pub(crate) tenure: &'a str,
    /// How many stored secrets need the key.
    pub(crate) dependents: u32,
    /// The loss that is accepted: by the resource, or by an administrator where there is none.
    pub(crate) accepted: Option<u32>,
    /// Until when nothing is destroyed, since a restore is suspected.
    pub(crate) held: Option<Timestamp>,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing before that instant.
    Wait(Timestamp),
    /// Write down that the date has gone by.
    SeeDue,
    /// Write down that what was preset has been taken back: the same number counts from now on.
    ForgetPreset,
    /// Write down how many stored secrets keep the key; 0 if only a recent use does.
    Block(u32),
    /// Nothing: stored secrets, or a recent use, keep the key, which is written down.
    Blocked,
    /// Destroy the material.
    Destroy,
}

/// Decides.
pub(crate) fn step(record: &DeletionRecord, facts: &Facts<'_>) -> Step {
    if facts.now < record.date.0 {
        return Step::Wait(record.date.0);
    }
    let Some(due) = record.due.as_ref().filter(|due| due.tenure == facts.tenure) else {
        return Step::SeeDue;
    };
    if due.preset.is_some() && due.preset != facts.accepted {
        return Step::ForgetPreset;
    }
    let end = after(due.seen.0, GRACE);
    if facts.now < end {
        return Step::Wait(end);
    }
    if let Some(until) = facts.held {
        return Step::Wait(until);
    }
    let is_needed = facts.dependents > 0 || refused_lately(record, facts.now).is_some();
    if !is_needed || is_accepted(due, facts) {
        return Step::Destroy;
    }
    if record.blocked_by == Some(facts.dependents) {
        Step::Blocked
    } else {
        Step::Block(facts.dependents)
    }
}

/// The day on which somebody last wanted to use the key and was refused, if that is not long ago: what tried then may need the
/// key still, though nothing that is known does.
pub(crate) fn refused_lately(record: &DeletionRecord, now: Timestamp) -> Option<Timestamp> {
    let day = record.refused.as_ref()?.0;
    (now < after(day, RECENT)).then_some(day)
}

/// A loss is accepted by its exact number, and by somebody who could know that it was due: a number that was there already
/// when the date came may be a copy left in Git.
fn is_accepted(due: &DueRecord, facts: &Facts<'_>) -> bool {
    facts.accepted == Some(facts.dependents) && due.preset != facts.accepted
}

/// The record without what was preset.
pub(crate) fn without_preset(record: &DeletionRecord) -> DeletionRecord {
    let mut record = record.clone();
    if let Some(due) = &mut record.due {
        due.preset = None;
    }
    record
}

/// The record after a leader saw the date gone by. What was preset when that was first seen stays known.
pub(crate) fn due(record: &DeletionRecord, facts: &Facts<'_>) -> DeletionRecord {
    let preset = match &record.due {
        Some(due) => due.preset,
        None => facts.accepted,
    };
    DeletionRecord {
        due: Some(DueRecord {
            seen: Time(facts.now),
            tenure: facts.tenure.to_owned(),
            preset,
        }),
        ..record.clone()
    }
}

fn after(time: Timestamp, wait: SignedDuration) -> Timestamp {
    time.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
#[path = "deletion_tests.rs"]
mod tests;
