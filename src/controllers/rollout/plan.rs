//! Who is restarted next, and what is waited for. Pure: the record and the time are arguments, and a record that is idle
//! stays so.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::windows::{self, Gate, WindowError};
use crate::api::managed_secret::RolloutSpec;
use crate::api::time::duration;
use crate::secrets::{Consumer, Restarted, Rolling, RolloutRecord, Search};

/// Most consumers that a record holds at once; further ones are looked for when these are done. With names of 253 characters
/// they have 33 KiB, which a manifest has room for.
pub(crate) const PAGE: usize = 100;
/// How long restarted workloads may take, if nothing else is said.
const TIMEOUT: SignedDuration = SignedDuration::from_mins(10);

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing: nobody waits.
    Nothing,
    /// The consumers, or the next of them, have to be found.
    Search,
    /// Those that were restarted have to be looked at.
    Look(Vec<Consumer>),
    /// These have to be restarted.
    Restart(Vec<Consumer>),
    /// Restarts are paused.
    Paused,
    /// No window is open before that.
    Closed(Timestamp),
}

/// Decides what is due.
pub(crate) fn due(
    record: &RolloutRecord,
    spec: &RolloutSpec,
    now: Timestamp,
) -> Result<Due, WindowError> {
    if let Some(rolling) = &record.rolling {
        return Ok(Due::Look(rolling.consumers.clone()));
    }
    if record.pending.is_empty() {
        let search = record.search.is_some();
        return Ok(if search { Due::Search } else { Due::Nothing });
    }
    if spec.paused == Some(true) {
        return Ok(Due::Paused);
    }
    Ok(match windows::gate(&spec.windows, now)? {
        Gate::Opens(time) => Due::Closed(time),
        Gate::Open => Due::Restart(record.pending.iter().take(batch(spec)).cloned().collect()),
    })
}

/// The record after a search: `found` are all consumers in their order.
pub(crate) fn found(record: &RolloutRecord, found: Vec<Consumer>) -> RolloutRecord {
    let after = record.search.as_ref().and_then(|s| s.after.clone());
    let skipped = after.and_then(|after| {
        let known = found.iter().position(|consumer| *consumer == after);
        // It may be gone meanwhile: then what sorts behind it is next.
        known.map(|index| index + 1).or_else(|| {
            found
                .iter()
                .position(|consumer| *consumer > after)
                .or(Some(found.len()))
        })
    });
    let mut pending: Vec<_> = found.into_iter().skip(skipped.unwrap_or(0)).collect();
    let more = pending.len() > PAGE;
    pending.truncate(PAGE);
    let after = pending.last().cloned();
    let mut next = record.clone();
    next.search = more.then_some(Search { after });
    next.pending = pending;
    next
}

/// The record after those that were restarted are rolled out.
pub(crate) fn without_rolling(record: &RolloutRecord) -> RolloutRecord {
    let mut next = record.clone();
    next.rolling = None;
    next
}

/// How far those are that were restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rolled {
    /// All are rolled out, or gone.
    Out,
    /// They have time left.
    Going,
    /// These are late.
    Late(Vec<Consumer>),
}

/// Looks how far the restarted ones are: `out` tells whether one is rolled out, or gone.
pub(crate) fn rolled(
    rolling: &Rolling,
    spec: &RolloutSpec,
    out: impl Fn(&Consumer) -> bool,
    now: Timestamp,
) -> Rolled {
    let open: Vec<_> = rolling
        .consumers
        .iter()
        .filter(|c| !out(c))
        .cloned()
        .collect();
    if open.is_empty() {
        Rolled::Out
    } else if now.duration_since(rolling.since) < timeout(spec) {
        Rolled::Going
    } else {
        Rolled::Late(open)
    }
}

/// What came of one restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// It was restarted, now or by a process that did not come to write it down.
    Restarted,
    /// There is no such workload any more.
    Gone,
    /// It is not known to be restarted, and is tried again.
    Not,
}

/// The record after restarts.
pub(crate) fn after(
    record: &RolloutRecord,
    spec: &RolloutSpec,
    done: &[(Consumer, Done)],
    now: Timestamp,
) -> RolloutRecord {
    let of = |consumer: &Consumer| done.iter().find(|(c, _)| c == consumer).map(|(_, d)| *d);
    let restarted: Vec<_> = record
        .pending
        .iter()
        .filter(|consumer| of(consumer) == Some(Done::Restarted))
        .cloned()
        .collect();
    let stay = |consumer: &Consumer| matches!(of(consumer), None | Some(Done::Not));
    let mut next = record.clone();
    next.pending.retain(stay);
    if !restarted.is_empty() {
        let before = record.restarted.map_or(0, |restarted| restarted.count);
        let count = u32::try_from(restarted.len()).unwrap_or(u32::MAX);
        next.restarted = Some(Restarted {
            count: before.saturating_add(count),
            time: now,
        });
        next.rolling = waits(spec).then_some(Rolling {
            since: now,
            consumers: restarted,
        });
    }
    next
}

fn batch(spec: &RolloutSpec) -> usize {
    let size = spec.batch.as_ref().and_then(|batch| batch.size);
    size.map_or(PAGE, |size| size as usize)
}

/// Whether those that were restarted are waited for.
fn waits(spec: &RolloutSpec) -> bool {
    let batch = spec.batch.as_ref();
    batch.is_some_and(|batch| batch.wait_for_ready != Some(false))
}

fn timeout(spec: &RolloutSpec) -> SignedDuration {
    let said = spec.batch.as_ref().and_then(|batch| batch.timeout.as_ref());
    said.and_then(|text| duration(text)).unwrap_or(TIMEOUT)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
