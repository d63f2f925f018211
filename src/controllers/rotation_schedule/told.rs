//! What metrics are told of rotations.

use std::time::Duration;

use super::observe::Observed;
use super::outside::Errand;
use crate::api::RotationStep;
use crate::controllers::context::Context;
use crate::controllers::rotations::Asked;
use crate::rotation::rotator::Outcome;
use crate::telemetry::StepResult;

/// A step was tried outside.
pub(super) fn tried(errand: &Errand, outcome: &Outcome, seen: &Observed, ctx: &Context) {
    let strategy = seen.schedule.spec.strategy.chosen();
    if !strategy.has_other_side() {
        return;
    }
    // One that only tries what is stored is the test alone.
    let step = errand.step().unwrap_or(RotationStep::TestSecret);
    let result = match outcome {
        Outcome::Done => StepResult::Done,
        Outcome::ValueRefused(_) => StepResult::ValueRefused,
        Outcome::OwnershipConflict(_) => StepResult::OwnershipConflict,
        Outcome::Rejected(_) => StepResult::Rejected,
        Outcome::Retry(_) => StepResult::Retry,
    };
    ctx.metrics
        .rotation_step(strategy.name(), step.as_str(), result);
}

/// Something is asked of the secret's controller: perhaps it is the end.
pub(super) fn asked(asked: &Asked, seen: &Observed, ctx: &Context) {
    let last = asked.record.history.last();
    let ended = last.filter(|last| asked.record.running.is_none() && last.promoted.is_some());
    let truth = seen.truth.as_ref();
    let before = truth.and_then(|truth| truth.manifest.rotation());
    let is_end = before.is_some_and(|before| before.running.is_some());
    if let Some(ended) = ended.filter(|_| is_end) {
        let took = Duration::try_from(ended.ended.duration_since(ended.begun)).unwrap_or_default();
        let strategy = seen.schedule.spec.strategy.chosen().name();
        ctx.metrics.rotation_ended(strategy, took);
    }
}
