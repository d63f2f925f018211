//! The restarts of a secret's consumers: what of them belongs into the truth, and one step of them at a time, each written
//! down before the next.
//!
//! A change of what consumers get is written down together with the change itself. Only when the target has it, the consumers
//! are looked for and written down; then they are restarted, and taken out. So a crash between any two of these steps repeats
//! one at most, and each can be repeated.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::runtime::events::EventType;
use kube::{Resource, ResourceExt};

use super::super::RESYNC;
use super::super::SOON;
use super::super::key::KeySeen;
use super::super::observe::Observed;
use super::super::plan::Plan;
use super::super::spec::target_name;
use super::super::step::{Refusal, internal};
use super::super::truth::base::{Base, base};
use super::super::truth::write::write_truth;
use crate::api::managed_secret::{ManagedSecretStatus, RolloutSpec};
use crate::api::{ConditionType, Reason, condition};
use crate::controllers::context::Context;
use crate::controllers::error::Error;
use crate::controllers::rollout::Delivered;
use crate::controllers::rollout::cluster::{Restart, Workloads, concerns_one, refusal};
use crate::controllers::rollout::plan::{self, Done, Due, Rolled};
use crate::controllers::rollout::report::{Report, Stall, Standing};
use crate::crypto::Random;
use crate::secrets::{Consumer, Manifest, RolloutRecord, SecretValue};

/// How long until the next look at workloads that are being rolled out.
const ROLLING: Duration = Duration::from_secs(5);
/// How long until the next try when somebody has to act first.
const STALLED: Duration = Duration::from_secs(60);

/// What is said of a workload that does not keep the annotation that restarts it.
const UNDONE: &str = "something that all changes pass took the annotation out that restarts it";

/// Writes down whether consumers get anything else from now on. `fresh`: the value itself is new.
pub(crate) fn record(
    seen: &Observed,
    base: &Base<'_>,
    manifest: &mut Manifest,
    (content, fresh): (&SecretValue, bool),
    now: Timestamp,
    random: &mut dyn Random,
) -> Result<(), Refusal> {
    let record = match (&seen.secret.spec.rollout, manifest.current()) {
        (Some(_), Some(current)) => {
            let known = manifest.rollout().cloned();
            // Without a record it is not known what consumers had; a new value is something else in any case.
            let changed = known.as_ref().map_or_else(
                || base.truth().is_some() && fresh,
                |record| record.differs(content),
            );
            let record = known.map_or_else(|| RolloutRecord::begin(content, random), Ok);
            let record = record.map_err(|error| internal(&error))?;
            let next = if changed {
                record.changed(content, current.id.clone(), now, random)
            } else {
                Ok(record)
            };
            Some(next.map_err(|error| internal(&error))?)
        }
        _ => None,
    };
    manifest
        .set_rollout(record)
        .map_err(|error| internal(&error))?;
    Ok(())
}

/// What one step of the restarts leads to.
#[derive(Default)]
pub(crate) struct Advance {
    /// What the status tells of them; `None`: what it told before.
    report: Option<Report>,
    /// The sequence of the truth that was written.
    sequence: Option<u64>,
    /// When to look again.
    wait: Option<Duration>,
    /// What failed.
    pub(crate) error: Option<Error>,
}

impl Advance {
    /// Writes into a status what it tells of the restarts.
    pub(crate) fn tell(&self, status: &mut ManagedSecretStatus, generation: i64, now: Timestamp) {
        if let Some(report) = &self.report {
            report.clone().write(status, generation, now);
        }
        let written = self.sequence.map(|s| i64::try_from(s).unwrap_or(i64::MAX));
        status.sequence = status.sequence.max(written);
    }

    /// When to look again, if nothing else is to be done before `other`.
    pub(crate) fn wait(&self, other: Duration) -> Duration {
        self.wait.map_or(other, |wait| wait.min(other))
    }
}

/// Does the next step of the restarts, once what consumers get is delivered.
pub(crate) async fn advance(seen: &Observed, plan: &Plan, ctx: &Context) -> Advance {
    if !plan.is_delivered() {
        return Advance::default();
    }
    let Some(spec) = &seen.secret.spec.rollout else {
        return Advance {
            report: Some(Report::default()),
            ..Advance::default()
        };
    };
    if !plan.steps.is_empty() {
        let shown = plan
            .shown
            .as_ref()
            .and_then(|shown| shown.manifest.rollout());
        return Advance {
            wait: shown
                .is_some_and(|record| !record.is_idle())
                .then_some(SOON),
            ..Advance::default()
        };
    }
    let Some(record) = seen.truth.manifest().and_then(Manifest::rollout) else {
        return Advance::default();
    };
    let step = step(seen, record, spec, ctx).await;
    let advance = carry_on(seen, record, step, ctx).await;
    announce_stall(seen, &advance, ctx).await;
    advance
}

/// What a step made of the record, and where the restarts stand then.
struct Step {
    record: RolloutRecord,
    standing: Standing,
    wait: Option<Duration>,
    error: Option<Error>,
}

impl Step {
    fn to(record: RolloutRecord) -> Self {
        let wait = (!record.is_idle()).then_some(SOON);
        Self {
            record,
            standing: Standing::Going,
            wait,
            error: None,
        }
    }

    fn waiting(record: &RolloutRecord, standing: Standing, wait: Option<Duration>) -> Self {
        Self {
            record: record.clone(),
            standing,
            wait,
            error: None,
        }
    }

    fn stalled(record: &RolloutRecord, stall: Stall, ctx: &Context) -> Self {
        let wait = ctx.clock.timer(STALLED);
        Self::waiting(record, Standing::Stalled(stall), Some(wait))
    }

    /// What cannot be done without a right is said and tried again slowly; anything else is an error like any other.
    fn failed(record: &RolloutRecord, error: Error, ctx: &Context) -> Self {
        if let Some(reason) = refusal(&error) {
            let stall = Stall {
                reason,
                message: error.to_string(),
                failed: Vec::new(),
            };
            return Self::stalled(record, stall, ctx);
        }
        Self {
            error: Some(error),
            ..Self::to(record.clone())
        }
    }
}

async fn step(seen: &Observed, record: &RolloutRecord, spec: &RolloutSpec, ctx: &Context) -> Step {
    let namespace = seen.secret.namespace().unwrap_or_default();
    let workloads = Workloads {
        namespace: &namespace,
        ctx,
    };
    let due = match plan::due(record, spec, ctx.now()) {
        Ok(due) => due,
        Err(error) => {
            let stall = Stall {
                reason: Reason::InvalidSpec,
                message: error.to_string(),
                failed: Vec::new(),
            };
            return Step::stalled(record, stall, ctx);
        }
    };
    match due {
        Due::Nothing => Step::to(record.clone()),
        Due::Paused => Step::waiting(record, Standing::Paused, None),
        Due::Closed(opens) => {
            let left = opens.duration_since(ctx.now());
            let left = Duration::try_from(left).unwrap_or_default().min(RESYNC);
            let wait = ctx.clock.timer(left.max(SOON));
            Step::waiting(record, Standing::Closed(opens), Some(wait))
        }
        Due::Search => match search(seen, record, spec, &workloads).await {
            Ok(found) => Step::to(plan::found(record, found)),
            Err(error) => Step::failed(record, error, ctx),
        },
        Due::Look(rolling) => look(record, spec, &rolling, &workloads).await,
        Due::Restart(batch) => restart(seen, record, spec, &batch, &workloads).await,
    }
}

/// The consumers that may have loaded what was delivered before.
async fn search(
    seen: &Observed,
    record: &RolloutRecord,
    spec: &RolloutSpec,
    workloads: &Workloads<'_>,
) -> Result<Vec<Consumer>, Error> {
    let changed = record.change.as_ref().map(|change| change.time);
    let delivered = seen.target.as_ref().and_then(|target| target.applied);
    // Where nothing is delivered, readers get the new value as soon as it is stored.
    let since = delivered.or(changed).unwrap_or(Timestamp::MAX);
    if !spec.targets.is_empty() {
        return workloads.named(&spec.targets, since).await;
    }
    let delivered = Delivered {
        target: target_name(&seen.secret),
        secret: Some(seen.secret.name_any()),
    };
    workloads.using(&delivered, since).await
}

async fn look(
    record: &RolloutRecord,
    spec: &RolloutSpec,
    consumers: &[Consumer],
    workloads: &Workloads<'_>,
) -> Step {
    let ctx = workloads.ctx;
    let out = match workloads.rolled_out(consumers).await {
        Ok(out) => out,
        Err(error) => return Step::failed(record, error, ctx),
    };
    let Some(rolling) = &record.rolling else {
        return Step::to(record.clone());
    };
    match plan::rolled(rolling, spec, |c| out.contains(c), ctx.now()) {
        Rolled::Out => Step::to(plan::without_rolling(record)),
        Rolled::Going => {
            let wait = ctx.clock.timer(ROLLING);
            Step::waiting(record, Standing::Going, Some(wait))
        }
        Rolled::Late(late) => Step::stalled(record, Stall::late(late), ctx),
    }
}

async fn restart(
    seen: &Observed,
    record: &RolloutRecord,
    spec: &RolloutSpec,
    batch: &[Consumer],
    workloads: &Workloads<'_>,
) -> Step {
    let ctx = workloads.ctx;
    let Some(change) = &record.change else {
        return Step::to(record.clone());
    };
    let restart = Restart {
        secret: &seen.secret.object_ref(&()),
        marker: &change.marker,
    };
    let mut done = Vec::new();
    let mut refused: Option<Stall> = None;
    let mut failed = None;
    for consumer in batch {
        match workloads.restart(consumer, &restart).await {
            Ok(Done::Not) => {
                let why = || format!("{} {}: {UNDONE}", consumer.kind, consumer.name);
                refuse(&mut refused, consumer, Reason::RestartRefused, why);
            }
            Ok(what) => done.push((consumer.clone(), what)),
            Err(error) => {
                if let Some(reason) = refusal(&error) {
                    refuse(&mut refused, consumer, reason, || error.to_string());
                    continue;
                }
                let go_on = concerns_one(&error);
                failed.get_or_insert(error);
                if !go_on {
                    break;
                }
            }
        }
    }
    let next = plan::after(record, spec, &done, ctx.now());
    match refused {
        Some(stall) => Step {
            error: failed,
            ..Step::stalled(&next, stall, ctx)
        },
        None => Step {
            error: failed,
            ..Step::to(next)
        },
    }
}

/// Adds a workload that cannot be restarted; the first one says why.
fn refuse(
    refused: &mut Option<Stall>,
    consumer: &Consumer,
    reason: Reason,
    message: impl FnOnce() -> String,
) {
    let stall = refused.get_or_insert_with(|| Stall {
        reason,
        message: message(),
        failed: Vec::new(),
    });
    stall.failed.push(consumer.clone());
}

/// Writes down what a step did.
async fn carry_on(seen: &Observed, before: &RolloutRecord, step: Step, ctx: &Context) -> Advance {
    let mut advance = Advance {
        report: Some(Report::of(&step.record, &step.standing)),
        sequence: None,
        wait: step.wait,
        error: step.error,
    };
    if step.record == *before {
        return advance;
    }
    match store(seen, &step.record, ctx).await {
        Ok(sequence) => advance.sequence = sequence,
        // The status tells what is written down.
        Err(error) => {
            advance.report = None;
            advance.error = Some(error);
        }
    }
    advance
}

/// Writes the truth with another record; its sequence.
async fn store(
    seen: &Observed,
    record: &RolloutRecord,
    ctx: &Context,
) -> Result<Option<u64>, Error> {
    let (Ok(base), KeySeen::Usable { id, material, .. }) = (base(seen), &seen.key) else {
        return Ok(None);
    };
    let Some(mut manifest) = base.truth().map(|truth| truth.manifest.clone()) else {
        return Ok(None);
    };
    // The sequence may be at its end: then the next look at the secret says so.
    if manifest.set_rollout(Some(record.clone())).is_err() {
        return Ok(None);
    }
    let sequence = manifest.sequence();
    let write = base.write(seen, manifest, Vec::new(), (*id, *material));
    ctx.check_leadership()?;
    write_truth(&write, seen, ctx).await?;
    Ok(Some(sequence))
}

/// An Event when the restarts have stalled, or for another reason than before.
async fn announce_stall(seen: &Observed, advance: &Advance, ctx: &Context) {
    let stalled = advance.report.as_ref().and_then(|r| r.stalled.as_ref());
    let Some(stalled) = stalled else { return };
    let told = seen
        .secret
        .status
        .as_ref()
        .and_then(|status| condition::find(&status.conditions, ConditionType::RolloutStalled));
    if told.is_none_or(|told| told.reason != stalled.reason.as_str()) {
        let secret = seen.secret.object_ref(&());
        let note = stalled.message.clone();
        ctx.event(&secret, EventType::Warning, stalled.reason, note)
            .await;
    }
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
