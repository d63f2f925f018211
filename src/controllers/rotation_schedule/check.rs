//! Whether the other side still takes what is stored: tried from time to time and when asked, so that somebody hears of a password
//! that was changed there before the next rotation, or an outage, tells him.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::observe::{Observed, Truth};
use super::outside::Errand;
use super::plan::{Doing, Plan};
use crate::api::condition::NewCondition;
use crate::api::names::ANNOTATION_TEST_ROTATION;
use crate::api::rotation_schedule::{CheckResult, RotationCheck};
use crate::api::time::as_stored;
use crate::api::{ConditionType, Reason};
use crate::controllers::token::token;
use crate::rotation::rotator::Outcome;
use crate::secrets::VersionRecord;

/// How often it is tried.
const EVERY: SignedDuration = SignedDuration::from_hours(1);
/// How soon again after it failed.
const AGAIN: SignedDuration = SignedDuration::from_mins(5);

/// Adds the check to a plan that does nothing else, or what the last one found.
pub(super) fn add(plan: &mut Plan, seen: &Observed, truth: &Truth, now: Timestamp) {
    let (Doing::Nothing, Some(current)) = (&plan.doing, truth.manifest.current()) else {
        return;
    };
    let asked = token(&*seen.schedule, ANNOTATION_TEST_ROTATION);
    let status = seen.schedule.status.as_ref();
    let last = status.and_then(|status| status.check.as_ref());
    if asked.is_some() && asked != last.and_then(|last| last.token.clone()) {
        plan.doing = Doing::Errand(Errand::Check(asked));
        return;
    }
    let strategy = seen.schedule.spec.strategy.chosen();
    if !strategy.has_other_side() {
        return;
    }
    // Of another version nothing was found out yet.
    let last = last.filter(|last| last.version == current.id.as_str());
    if let Some(last) = last {
        say(plan, last);
    }
    // Code of somebody's own runs when he asks for it.
    if !seen.held && strategy.database().is_some() {
        let due = due(last, promoted(truth, current), now);
        if due <= now {
            let token = last.and_then(|last| last.token.clone());
            plan.doing = Doing::Errand(Errand::Check(token));
        } else {
            plan.next = Some(plan.next.map_or(due, |next| next.min(due)));
        }
    }
}

/// When the current version is tried next.
fn due(last: Option<&RotationCheck>, promoted: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let after = |time: Timestamp, length| time.checked_add(length).unwrap_or(now);
    let due = match (last, promoted) {
        (Some(last), _) if last.result == CheckResult::Passed => after(last.time.0, EVERY),
        (Some(last), _) => after(last.time.0, AGAIN),
        // A rotation tried it before it became current.
        (None, Some(promoted)) => after(promoted, EVERY),
        (None, None) => now,
    };
    // A clock that was put back.
    if due > after(now, EVERY) { now } else { due }
}

/// Since when the version is current, if a rotation made it so.
fn promoted(truth: &Truth, current: &VersionRecord) -> Option<Timestamp> {
    let record = truth.manifest.rotation()?;
    let running = record.running.as_ref();
    let running = running.filter(|running| running.version == current.id);
    let past = record.history.iter().rev();
    let past = past.filter(|past| past.version == current.id);
    let all = running.map(|running| running.promoted).into_iter();
    all.chain(past.map(|past| past.promoted)).flatten().next()
}

/// What follows from the answer of the other side.
pub(super) fn after(
    plan: &mut Plan,
    token: Option<String>,
    (truth, is_tried_often): (&Truth, bool),
    answer: &Outcome,
    now: Timestamp,
) {
    plan.doing = Doing::Nothing;
    let Some(current) = truth.manifest.current() else {
        return;
    };
    let (result, message) = match answer {
        Outcome::Done => (CheckResult::Passed, None),
        Outcome::OwnershipConflict(why) => (CheckResult::OwnershipConflict, Some(why)),
        Outcome::Rejected(why) | Outcome::ValueRefused(why) => (CheckResult::Rejected, Some(why)),
        Outcome::Retry(why) => (CheckResult::Unreachable, Some(why)),
    };
    let check = RotationCheck {
        time: as_stored(now),
        version: current.id.to_string(),
        token,
        result,
        message: message.cloned(),
    };
    say(plan, &check);
    if is_tried_often {
        let again = due(Some(&check), None, now);
        plan.next = Some(plan.next.map_or(again, |next| next.min(again)));
    }
    plan.check = Some(check);
}

/// Says what was found, if nothing else is the matter. A server that is away for a while is no matter of a schedule at rest.
fn say(plan: &mut Plan, check: &RotationCheck) {
    if !plan.ready.status || plan.step.is_some() {
        return;
    }
    let message = check.message.clone().unwrap_or_default();
    match check.result {
        CheckResult::Passed | CheckResult::Unreachable => {}
        CheckResult::Rejected => {
            plan.ready = NewCondition::not_ready(Reason::RotationRejected, message);
        }
        CheckResult::OwnershipConflict => {
            plan.ready = NewCondition::not_ready(Reason::OwnershipConflict, message.clone());
            plan.beside = Some(NewCondition {
                condition: ConditionType::OwnershipConflict,
                status: true,
                reason: Reason::OwnershipConflict,
                message,
            });
        }
    }
}
