//! What follows from the answer of the other side. Pure: time and randomness are arguments.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use super::check;
use super::observe::{Observed, Truth};
use super::outside::Errand;
use super::plan::{Doing, Plan, ask, create, creating, make};
use super::words::rotating;
use crate::api::condition::NewCondition;
use crate::api::{ConditionType, ManagedSecret, Reason, RotationStep};
use crate::controllers::rotations::Change;
use crate::crypto::Random;
use crate::rotation::machine::MOST_REFUSED;
use crate::rotation::rotator::Outcome;
use crate::secrets::{SecretRotation, VersionId};

/// A call outside takes its time. One that only tries what is stored is no matter of a schedule at rest.
pub(super) fn underway(plan: Plan, what: String, job: String) -> Plan {
    let ready = match plan.step {
        Some(_) => rotating(what),
        None => plan.ready.clone(),
    };
    Plan {
        doing: Doing::Wait,
        ready,
        job: Some(job),
        ..plan
    }
}

/// What follows from the answer of the other side.
pub(super) fn after(
    mut plan: Plan,
    seen: &Observed,
    errand: Errand,
    answer: &Outcome,
    (now, random): (Timestamp, &mut dyn Random),
) -> Plan {
    let Some(truth) = &seen.truth else {
        return Plan::refused(Reason::Waiting, "the secret is gone");
    };
    let Some(record) = truth.manifest.rotation() else {
        return Plan::refused(Reason::Waiting, "the rotation is gone");
    };
    let says = |step, doing, ready| Plan {
        step,
        ..Plan::says(doing, ready)
    };
    let step = errand.step();
    let stuck = |reason, why: &str| {
        let ready = NewCondition::not_ready(reason, why);
        says(step, Doing::Retry, ready)
    };
    match (errand, answer) {
        (Errand::Check(token), answer) => {
            let is_tried_often = seen.schedule.spec.strategy.chosen().database().is_some();
            check::after(&mut plan, token, (truth, is_tried_often), answer, now);
            plan
        }
        (errand, Outcome::Done) => done(seen, truth, record, errand, now),
        (Errand::Create(_) | Errand::Carry(_), Outcome::ValueRefused(why)) => {
            refused(seen, truth, record, (why, random))
        }
        (_, Outcome::OwnershipConflict(why)) => Plan {
            beside: Some(NewCondition {
                condition: ConditionType::OwnershipConflict,
                status: true,
                reason: Reason::OwnershipConflict,
                message: why.clone(),
            }),
            ..stuck(Reason::OwnershipConflict, why)
        },
        // Nothing can take the place of a value that is current, or was.
        (_, Outcome::Rejected(why) | Outcome::ValueRefused(why)) => {
            stuck(Reason::RotationRejected, why)
        }
        (_, Outcome::Retry(why)) => stuck(Reason::RotationFailed, why),
    }
}

/// What follows from an errand that succeeded.
fn done(
    seen: &Observed,
    truth: &Truth,
    record: &SecretRotation,
    errand: Errand,
    now: Timestamp,
) -> Plan {
    let mut record = record.clone();
    let finishing = |record, change, says: &str| Plan {
        step: Some(RotationStep::FinishSecret),
        ..Plan::says(ask(truth, record, change), rotating(says))
    };
    match errand {
        Errand::Create(version) => created(seen, truth, record, version, now),
        Errand::Carry(version) => {
            if let Some(running) = &mut record.running {
                running.promoted = Some(now);
            }
            let says = "the new value works and becomes current";
            finishing(record, Change::Promote(version), says)
        }
        Errand::Revert(version) => {
            record.end(now, false);
            let says = "the rotation was cancelled and ends";
            finishing(record, Change::Cancel(version), says)
        }
        Errand::Retire(_) => {
            record.end(now, false);
            finishing(record, Change::Record, "the rotation is ending")
        }
        Errand::Check(_) => Plan::refused(Reason::Waiting, "nothing follows from a check"),
    }
}

/// The code that makes values has done its part: what it stored is taken, and otherwise the secret generates a value itself.
fn created(
    seen: &Observed,
    truth: &Truth,
    mut record: SecretRotation,
    version: VersionId,
    now: Timestamp,
) -> Plan {
    let is_stored = truth.manifest.version(&version).is_some();
    let generates = |secret: &Arc<ManagedSecret>| !secret.spec.generate.is_empty();
    if !is_stored && !seen.secret.as_ref().is_some_and(generates) {
        let why = "CreateSecret succeeded without storing a value (PutSecretValue with the version as ClientRequestToken), and the \
                   secret generates none itself: name keys in its spec.generate, or have the code store one";
        let ready = NewCondition::not_ready(Reason::RotationRejected, why);
        return Plan {
            step: Some(RotationStep::CreateSecret),
            ..Plan::says(Doing::Retry, ready)
        };
    }
    if let Some(running) = &mut record.running {
        running.created = Some(now);
    }
    if is_stored {
        return creating(ask(truth, record, Change::Record));
    }
    create(seen, truth, record, version)
}

/// Another value in place of one that the other side refuses for what it is; not for ever.
fn refused(
    seen: &Observed,
    truth: &Truth,
    record: &SecretRotation,
    (why, random): (&str, &mut dyn Random),
) -> Plan {
    let mut record = record.clone();
    let (Some(running), Ok(version)) = (&mut record.running, VersionId::generate(random)) else {
        return Plan::refused(Reason::Waiting, "another value is made at the next look");
    };
    running.refused += 1;
    running.created = None;
    if running.refused >= MOST_REFUSED {
        // What is pending stays so, until somebody asks for another or cancels it.
        return Plan {
            step: Some(RotationStep::SetSecret),
            ..Plan::says(
                ask(truth, record, Change::Record),
                NewCondition::not_ready(Reason::ValueRefused, why),
            )
        };
    }
    let before = std::mem::replace(&mut running.version, version.clone());
    make(seen, truth, record, version, Some(before))
}
