//! Decides what a schedule needs. Pure: time and randomness are arguments.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::check;
use super::observe::{Observed, Truth};
use super::outside::{Errand, substitutes};
use super::words::{rotating, stalled, waiting};
use crate::api::condition::NewCondition;
use crate::api::managed_secret::ReplicaOf;
use crate::api::names::{ANNOTATION_CANCEL_ROTATION, ANNOTATION_ROTATE};
use crate::api::rotation_schedule::{RotationCheck, Strategy};
use crate::api::time::duration;
use crate::api::{ManagedSecret, Reason, RotationSchedule, RotationStep};
use crate::controllers::rotations::{Asked, Change};
use crate::controllers::token::token;
use crate::crypto::Random;
use crate::rotation::machine::{self, Finish, Next, Seen};
use crate::rotation::timing::{Due, Timing};
use crate::secrets::{Running, SecretRotation, VersionId};

/// What to do, and what to say.
#[derive(Debug)]
pub(super) struct Plan {
    /// What to do.
    pub(super) doing: Doing,
    /// The summary.
    pub(super) ready: NewCondition,
    /// Conditions beside the summary that are so; the others are not.
    pub(super) beside: Option<NewCondition>,
    /// The step that is next, of a rotation that is under way.
    pub(super) step: Option<RotationStep>,
    /// How often it was tried without success.
    pub(super) attempts: i64,
    /// The Job that does it.
    pub(super) job: Option<String>,
    /// What was found when the current version was tried, if it was just now.
    pub(super) check: Option<RotationCheck>,
    /// When the next rotation begins by the schedule.
    pub(super) begins: Option<Timestamp>,
    /// When to look again.
    pub(super) next: Option<Timestamp>,
    /// Whether it rests on a time being over, for which one clock alone is not enough.
    pub(super) is_timed: bool,
}

/// What to do.
#[derive(Debug)]
pub(super) enum Doing {
    /// Nothing.
    Nothing,
    /// Ask the controller of the secret for that.
    Ask(Box<Asked>),
    /// Tell the other side something, or ask it.
    Errand(Errand),
    /// Nothing, while a call outside takes its time.
    Wait,
    /// The same again, later.
    Retry,
}

impl Plan {
    pub(super) fn says(doing: Doing, ready: NewCondition) -> Self {
        Self {
            doing,
            ready,
            beside: None,
            step: None,
            attempts: 0,
            job: None,
            check: None,
            begins: None,
            next: None,
            is_timed: false,
        }
    }

    pub(super) fn refused(reason: Reason, message: impl Into<String>) -> Self {
        Self::says(Doing::Nothing, NewCondition::not_ready(reason, message))
    }
}

/// Decides.
pub(super) fn plan(seen: &Observed, now: Timestamp, random: &mut dyn Random) -> Plan {
    let (timing, truth) = match find(seen) {
        Ok(found) => found,
        Err((reason, message)) => return Plan::refused(reason, message),
    };
    let record = truth.manifest.rotation();
    let strategy = seen.schedule.spec.strategy.chosen();
    let due = due(seen, timing, record, now);
    let asked = token(&*seen.schedule, ANNOTATION_ROTATE);
    let cancelled = token(&*seen.schedule, ANNOTATION_CANCEL_ROTATION);
    let next = machine::next(&Seen {
        record,
        due,
        asked: asked.as_deref(),
        cancelled: cancelled.as_deref(),
        held: seen.held,
        consumers: seen.consumers.as_ref(),
        finish: finish(&seen.schedule, record),
        own_code: strategy.is_own_code(),
        now,
    });
    let is_timed = matches!(
        next,
        Next::Begin { token: None, .. } | Next::Retire(_) | Next::End { .. } | Next::Stalled { .. }
    );
    let mut plan = of_next(seen, truth, next, (now, random));
    plan.is_timed = is_timed;
    plan.begins = due.and_then(|due| due.begins);
    check::add(&mut plan, seen, truth, now);
    plan
}

/// What is needed to decide anything, or why it is not there.
fn find(seen: &Observed) -> Result<(&Timing, &Truth), (Reason, String)> {
    if let Some(elder) = &seen.elder {
        let message = format!(
            "RotationSchedule {elder} is older and rotates the same secret; delete one of the two"
        );
        return Err((Reason::Conflict, message));
    }
    let timing = seen.timing.as_ref();
    let timing = timing.map_err(|error| (Reason::InvalidSpec, error.to_string()))?;
    let name = &seen.schedule.spec.secret_ref.name;
    let Some(secret) = &seen.secret else {
        let message = format!("ManagedSecret {name} does not exist; apply it");
        return Err((Reason::SecretNotFound, message));
    };
    if let Some(ReplicaOf { .. }) = secret.spec.replica_of {
        let message =
            format!("ManagedSecret {name} is a replica: rotate its source, which it follows");
        return Err((Reason::InvalidSpec, message));
    }
    generated(seen, secret)?;
    let waiting = || {
        let message = format!(
            "nothing that can be opened is stored of ManagedSecret {name}; see its condition"
        );
        (Reason::Waiting, message)
    };
    let truth = seen
        .truth
        .as_ref()
        .filter(|it| it.manifest.current().is_some());
    Ok((timing, truth.ok_or_else(waiting)?))
}

/// What is made anew has to be generated: what a person has to enter cannot be rotated.
fn generated(seen: &Observed, secret: &ManagedSecret) -> Result<(), (Reason, String)> {
    let generates = |key: &str| secret.spec.generate.iter().any(|entry| entry.key == key);
    let strategy = seen.schedule.spec.strategy.chosen();
    let name = &seen.schedule.spec.secret_ref.name;
    if strategy == Strategy::Regenerate && secret.spec.generate.is_empty() {
        let message = format!(
            "ManagedSecret {name} generates nothing, so that there is nothing to be made anew: name keys in its spec.generate"
        );
        return Err((Reason::InvalidSpec, message));
    }
    if strategy.database().is_some() && !generates("password") {
        let message = format!(
            "ManagedSecret {name} does not generate its key password, which a rotation makes anew: name it in its spec.generate"
        );
        return Err((Reason::InvalidSpec, message));
    }
    Ok(())
}

fn due(
    seen: &Observed,
    timing: &Timing,
    record: Option<&SecretRotation>,
    now: Timestamp,
) -> Option<Due> {
    let suspended = seen.schedule.spec.suspend.unwrap_or_default();
    let since = record?.since;
    (!suspended).then(|| timing.due(since, seen.seed, now))
}

/// What is waited for at the end, as the schedule says.
fn finish(schedule: &RotationSchedule, record: Option<&SecretRotation>) -> Finish {
    let strategy = schedule.spec.strategy.chosen();
    let default = Finish {
        overlaps: strategy.overlaps(),
        // What another strategy has left there is not this one's to leave.
        retires: strategy.retires() || begun_by_another(schedule, record).is_some(),
        ..Finish::default()
    };
    let Some(spec) = &schedule.spec.finish else {
        return default;
    };
    let parsed = |text: &Option<String>| text.as_deref().and_then(duration);
    Finish {
        waits: spec.wait_for_consumers.unwrap_or(default.waits),
        grace: parsed(&spec.grace_period).unwrap_or(SignedDuration::ZERO),
        timeout: parsed(&spec.timeout).unwrap_or(default.timeout),
        ..default
    }
}

fn of_next(
    seen: &Observed,
    truth: &Truth,
    next: Next,
    (now, random): (Timestamp, &mut dyn Random),
) -> Plan {
    let record = truth.manifest.rotation();
    let changed = |change: &dyn Fn(&mut SecretRotation)| {
        let mut record = record.cloned().unwrap_or_else(|| SecretRotation::new(now));
        change(&mut record);
        ask(truth, record, Change::Record)
    };
    let finishing = |doing, ready| Plan {
        step: Some(RotationStep::FinishSecret),
        ..Plan::says(doing, ready)
    };
    match next {
        Next::Adopt => Plan::says(
            changed(&|_| {}),
            NewCondition::not_ready(Reason::Waiting, "the schedule is being taken up"),
        ),
        Next::Begin { token, missed } => begin(seen, truth, (token, missed), (now, random)),
        Next::Create(version) => outside(
            seen,
            record,
            Errand::Create(version),
            rotating("a new value is being made"),
        ),
        Next::Carry(version) => outside(
            seen,
            record,
            Errand::Carry(version),
            rotating("the new value is stored and pending"),
        ),
        Next::Retire(version) => outside(
            seen,
            record,
            Errand::Retire(version),
            rotating("every pod has the new value; the value before is retired"),
        ),
        Next::Cancel => Plan {
            step: Some(RotationStep::SetSecret),
            ..Plan::says(
                changed(&|record| {
                    if let Some(running) = &mut record.running {
                        running.cancelled = Some(now);
                    }
                }),
                rotating("the rotation is being cancelled"),
            )
        },
        Next::Revert(version) => outside(
            seen,
            record,
            Errand::Revert(version),
            rotating("the rotation is cancelled; the other side is told to take the value before"),
        ),
        Next::Delivered => finishing(
            changed(&|record| {
                if let Some(running) = &mut record.running {
                    running.delivered = Some(now);
                }
            }),
            rotating("the new value is current and delivered"),
        ),
        Next::Loaded => finishing(
            changed(&|record| {
                if let Some(running) = &mut record.running {
                    running.loaded = Some(now);
                }
            }),
            rotating("every pod has the new value"),
        ),
        Next::End { stalled } => finishing(
            changed(&|record| record.end(now, stalled)),
            rotating("the rotation is ending"),
        ),
        Next::Stalled { until, behind } => stalled(until, &behind),
        Next::Wait { until, why } => Plan {
            next: until,
            ..waiting(&seen.schedule, why, until)
        },
    }
}

/// The strategy that the rotation which is under way was begun by, if that is not the one that the schedule says.
fn begun_by_another<'a>(
    schedule: &RotationSchedule,
    record: Option<&'a SecretRotation>,
) -> Option<&'a str> {
    let begun = record?.running.as_ref()?.strategy.as_str();
    (begun != schedule.spec.strategy.chosen().name()).then_some(begun)
}

/// A rotation is carried on, taken back or ended by the strategy that it was begun by: the other side may know its value already, and
/// whoever does not speak to that must not make it current, or drop it.
fn outside(
    seen: &Observed,
    record: Option<&SecretRotation>,
    errand: Errand,
    ready: NewCondition,
) -> Plan {
    let step = errand.step();
    let plan = match begun_by_another(&seen.schedule, record) {
        None => Plan::says(Doing::Errand(errand), ready),
        Some(by) => Plan::refused(
            Reason::RotationRejected,
            format!(
                "a rotation by strategy {by} is under way, and the other side may know its value: set spec.strategy back until it has ended"
            ),
        ),
    };
    Plan { step, ..plan }
}

/// Asks for a new pending version, or for its id where somebody's own code makes it.
fn begin(
    seen: &Observed,
    truth: &Truth,
    (token, missed): (Option<String>, u64),
    (now, random): (Timestamp, &mut dyn Random),
) -> Plan {
    let Ok(version) = VersionId::generate(random) else {
        let message = "the system has no random numbers to give";
        return Plan::refused(Reason::Waiting, message);
    };
    let record = truth.manifest.rotation().cloned();
    let mut record = record.unwrap_or_else(|| SecretRotation::new(now));
    record.since = now;
    record.missed = record.missed.saturating_add(missed);
    if let Some(token) = token {
        record.obey(&token);
    }
    let strategy = seen.schedule.spec.strategy.chosen();
    // One whose values were refused again and again is given up for this one.
    let before = record.running.take().map(|running| running.version);
    record.running = Some(Running {
        version: version.clone(),
        strategy: strategy.name().to_owned(),
        begun: now,
        created: None,
        cancelled: None,
        promoted: None,
        delivered: None,
        loaded: None,
        refused: 0,
    });
    make(seen, truth, record, version, before)
}

pub(super) fn creating(doing: Doing) -> Plan {
    Plan {
        step: Some(RotationStep::CreateSecret),
        ..Plan::says(doing, rotating("a new value is being made"))
    }
}

pub(super) fn create(
    seen: &Observed,
    truth: &Truth,
    record: SecretRotation,
    version: VersionId,
) -> Plan {
    let substitutes = match substitutes(seen) {
        Ok(substitutes) => substitutes,
        Err(problem) => return Plan::refused(Reason::RotationRejected, problem),
    };
    let change = Change::Create {
        version,
        substitutes,
    };
    creating(ask(truth, record, change))
}

pub(super) fn ask(truth: &Truth, record: SecretRotation, change: Change) -> Doing {
    Doing::Ask(Box::new(Asked {
        sequence: truth.manifest.sequence(),
        record,
        change,
    }))
}

/// Has the value of a version made. By somebody's own code it is made later; what was pending `before` goes first, so that nobody takes
/// it for that.
pub(super) fn make(
    seen: &Observed,
    truth: &Truth,
    record: SecretRotation,
    version: VersionId,
    before: Option<VersionId>,
) -> Plan {
    if seen.schedule.spec.strategy.chosen().is_own_code() {
        let change = before.map_or(Change::Record, Change::Cancel);
        return creating(ask(truth, record, change));
    }
    create(seen, truth, record, version)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
