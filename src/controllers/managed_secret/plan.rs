//! Decides what a secret needs. Pure: time and randomness are arguments, and planning again after the plan was
//! carried out gives no steps.
//!
//! The order of effects makes every crash between two of them harmless: the truth first, with the names of all
//! targets in it, then the target, then what is deleted.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::delivery::content;
use super::delivery::deliver::{self, Delivery, Held};
use super::delivery::environment;
use super::delivery::former;
use super::delivery::immutable;
use super::delivery::in_use;
use super::delivery::rollout;
use super::key::KeySeen;
use super::observe::Observed;
use super::sharing::access;
use super::sharing::export;
use super::sharing::replication;
use super::sources::asked::{self, ChangeSeen, Verdict};
use super::sources::generated;
use super::sources::imports;
use super::sources::issuers;
use super::sources::sealed;
use super::sources::value;
use super::spec::recovery;
use super::step::{Refusal, Step, internal};
use super::truth::base::{Base, base};
use super::truth::opened::TruthSeen;
use crate::api::Reason;
use crate::api::condition::NewCondition;
use crate::api::managed_secret::{CertificateStatus, TargetStatus, UndeliverableKey};
use crate::controllers::error::Error;
use crate::crypto::Random;
use crate::secrets::{Manifest, SecretValue, StageLabel};

/// What to do, and what to say.
pub(crate) struct Plan {
    /// Effects, in order.
    pub(crate) steps: Vec<Step>,
    /// What is said when all of them are done; `None` for an object that is going away.
    pub(crate) ready: Option<NewCondition>,
    /// The truth that the status speaks of.
    pub(crate) shown: Option<Shown>,
    /// Where it is delivered once all steps are done; `None`: as before.
    pub(crate) targets: Option<Targets>,
    /// Whether the next look should come soon, since this plan prepares another.
    pub(crate) soon: bool,
    /// How long until the next look at pods and workloads, which are not watched, if something waits for them.
    pub(crate) users_again: Option<Duration>,
    /// Whether all of it is encrypting anew what is as it should be otherwise: that can wait.
    pub(crate) background: bool,
}

/// Where a secret is delivered.
#[derive(Default)]
pub(crate) struct Targets {
    /// The target, if there is one.
    pub(crate) current: Option<TargetStatus>,
    /// Former ones that are kept.
    pub(crate) former: Vec<String>,
    /// Whether the target has what is current.
    pub(crate) is_current: bool,
}

impl Plan {
    /// Says that, and does nothing.
    fn idle(ready: Option<NewCondition>, shown: Option<Shown>) -> Self {
        Self {
            steps: Vec::new(),
            ready,
            shown,
            targets: None,
            soon: false,
            users_again: None,
            background: false,
        }
    }

    /// Whether consumers have what they should once all steps are done.
    pub(crate) fn is_delivered(&self) -> bool {
        let ready = self.ready.as_ref();
        ready.is_some_and(|ready| {
            ready.status
                || ready.reason.leaves_delivery()
                || ready.reason == Reason::TargetInUse
                    && self.targets.as_ref().is_some_and(|all| all.is_current)
        })
    }

    /// What is said when a look-up or an effect failed. What the status told of the truth stays told.
    pub(crate) fn failed(error: &Error) -> Self {
        let ready = NewCondition::not_ready(error.reason(), error.to_string());
        Self::idle(Some(ready), None)
    }
}

/// What a status tells of the truth.
pub(crate) struct Shown {
    /// The manifest.
    pub(crate) manifest: Manifest,
    /// The keys of the current version.
    pub(crate) keys: Vec<String>,
    /// Its certificates that are made anew.
    pub(crate) certificates: Vec<CertificateStatus>,
    /// Whether the truth goes without a window when the resource does.
    pub(crate) forced: bool,
    /// What pods cannot get as environment variables; `None`: as before.
    pub(crate) undeliverable: Option<Vec<UndeliverableKey>>,
}

/// Decides.
pub(crate) fn plan(seen: &Observed, now: Timestamp, random: &mut dyn Random) -> Plan {
    if seen.secret.metadata.deletion_timestamp.is_some() {
        let steps = seen.change.as_ref().map(asked::refuse_deleted);
        return Plan {
            steps: steps.into_iter().collect(),
            ..Plan::idle(None, None)
        };
    }
    let shown = match &seen.truth {
        TruthSeen::Present(truth) => Some(Shown {
            forced: truth.stored.recovery.forced.is_some(),
            ..show(seen, truth.manifest.clone(), &truth.current)
        }),
        TruthSeen::Absent | TruthSeen::Unreadable { .. } => None,
    };
    match decide_with_change(seen, now, random) {
        Ok(plan) => Plan {
            shown: plan.shown.or(shown),
            ..plan
        },
        Err(Refusal(reason, message)) => Plan {
            steps: seen.change.iter().map(asked::refuse_now).collect(),
            ..Plan::idle(Some(NewCondition::not_ready(reason, message)), shown)
        },
    }
}

/// Decides with the change that a call of the API asks for; and without it, if it alone stands in the way of a plan: whoever asks for a
/// value that cannot be delivered is refused, and the secret stays as it is.
fn decide_with_change(
    seen: &Observed,
    now: Timestamp,
    random: &mut dyn Random,
) -> Result<Plan, Refusal> {
    let Some(asked) = &seen.change else {
        return decide(seen, None, now, random);
    };
    let why = match decide(seen, Some(asked), now, random) {
        Err(Refusal(_, why)) => why,
        planned => return planned,
    };
    let mut plan = decide(seen, None, now, random)?;
    plan.steps.insert(0, asked::refuse(asked, &why));
    plan.background = false;
    Ok(plan)
}

fn decide(
    seen: &Observed,
    asked: Option<&ChangeSeen>,
    now: Timestamp,
    random: &mut dyn Random,
) -> Result<Plan, Refusal> {
    check_namespace(seen)?;
    let (key, material, key_namespace) = match &seen.key {
        KeySeen::Usable {
            id,
            material,
            namespace_uid,
        } => (*id, *material, namespace_uid.as_ref()),
        KeySeen::DefaultMissing => return Ok(default_key()),
        KeySeen::Problem(reason, message) => return Err(Refusal(*reason, message.clone())),
    };
    let base = base(seen)?;
    check_home(seen, &base, key_namespace)?;
    let mut next = value::next(seen, &base, asked, key, now, random)?;
    let mut manifest = std::mem::take(&mut next.manifest);
    let current = next.value(&base)?;
    let (shown, is_new) = (show(seen, manifest.clone(), current), next.is_new());
    let content = content::render(seen, current)?;
    let undeliverable = environment::undeliverable(seen, &content);
    rollout::record(seen, &base, &mut manifest, (&content, is_new), now, random)?;
    // What differs from a value that nobody changed is drift; what differs from a new value is only late.
    let stood = !is_new && deliver::was_synced(seen, &base);
    let type_ = deliver::wanted_type(seen);
    let place = immutable::place(seen, &manifest, &content, &type_, random)?;
    let place = place.as_ref();
    let Delivery {
        steps: delivery,
        form,
        held,
    } = deliver::plan(seen, place, content, (key, material), stood)?;
    // A source is deleted by the next plan, which reads the truth that this one writes.
    let sources_go = next.imported && imports::removes_sources(seen);
    former::record(seen, place, form, &mut manifest).map_err(|error| internal(&error))?;
    let mut former = former::plan(seen, place, &manifest, stood);
    replication::record(seen, &base, &mut manifest, now).map_err(|error| internal(&error))?;
    access::record(seen, &base, &mut manifest).map_err(|error| internal(&error))?;
    let mut exporting = export::plan(seen, current, &mut manifest, stood, random)?;
    let mut steps: Vec<_> = seen.stragglers.steps().collect();
    let is_early = !steps.is_empty();
    if exporting.again {
        steps.append(&mut exporting.steps);
    }
    let unchanged = base.truth().is_some_and(|truth| truth.manifest == manifest);
    let stands = unchanged && !base.claim_changes(seen);
    let (entries, before) = (sealed::needs(seen), base.truth());
    let stale = before.is_some_and(|truth| truth.is_stale(material, &entries));
    if stands && stale {
        // Older ciphertext that is put back is noticed by its sequence, also when all that differs is the material.
        manifest.bump().map_err(|error| internal(&error))?;
    }
    let shown = Shown {
        manifest: manifest.clone(),
        undeliverable: Some(undeliverable),
        ..shown
    };
    let answer = asked::answer(seen, next.verdict.as_ref(), &manifest);
    let write = (!stands || stale).then(|| {
        let write = base.write(seen, manifest, next.take_unstored(), (key, material));
        Step::WriteTruth(Box::new(write))
    });
    let is_put_off = next.verdict == Some(Verdict::Later);
    let soon = sources_go || exporting.goes || is_put_off || !former.steps.is_empty();
    let is_quiet = stands && !soon && !is_early && answer.is_none();
    let background = is_quiet && delivery.iter().all(deliver::is_reencryption);
    let archive = base.archive().filter(|_| !stands);
    let truth = archive.into_iter().chain(write).collect();
    steps.extend(in_order(stands, truth, answer, delivery));
    let (removals, note) = imports::remove_sources(seen, &base);
    let reading = access::note(seen, shown.manifest.access());
    let notes = [
        next.note,
        note,
        reading,
        former::note(seen, &former),
        seen.stragglers.note(),
    ];
    let summary = deliver::summary(seen, place, notes);
    let ready = export::ready(&exporting, ready(summary, held.as_ref(), &next.unmet));
    steps.append(&mut exporting.steps);
    steps.append(&mut former.steps);
    steps.extend(removals);
    let ready = replication::ready(seen, &shown.manifest, ready);
    let ready = access::ready(seen, issuers::ready(seen, ready));
    let current = place.map(|place| TargetStatus {
        name: place.name.clone(),
        form,
    });
    Ok(Plan {
        ready: Some(ready),
        shown: Some(shown),
        targets: Some(Targets {
            current,
            former: former.kept,
            is_current: held.as_ref().is_none_or(|held| held.is_current),
        }),
        soon,
        users_again: earlier(
            held.map_or(former.again, |_| Some(in_use::AGAIN)),
            seen.stragglers.again(),
        ),
        background: background && !steps.is_empty(),
        steps,
    })
}

/// The effects on the truth and on the target. What was asked for is done when the truth says so, and answered then.
fn in_order(
    stands: bool,
    truth: Vec<Step>,
    answer: Option<Step>,
    delivery: Vec<Step>,
) -> Vec<Step> {
    if stands {
        // Encrypted anew, the target comes first: as long as it needs old material, the truth says so, where it is counted.
        answer.into_iter().chain(delivery).chain(truth).collect()
    } else {
        truth.into_iter().chain(answer).chain(delivery).collect()
    }
}

fn check_namespace(seen: &Observed) -> Result<(), Refusal> {
    if seen.in_operator_namespace {
        let message = "secrets cannot live in the operator's own namespace; use another".to_owned();
        return Err(Refusal(Reason::OperatorNamespace, message));
    }
    Ok(())
}

/// The key of a namespace that was deleted is not that of the one that there is now.
fn check_home(seen: &Observed, base: &Base<'_>, key: Option<&String>) -> Result<(), Refusal> {
    if key.is_some_and(|uid| base.claim(seen).namespace_uid != *uid) {
        let message =
            "the key of this name belongs to a namespace that was deleted, and waits to be adopted";
        return Err(Refusal(Reason::KeyNotReady, message.to_owned()));
    }
    Ok(())
}

/// The shorter of two waits.
fn earlier(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

/// What is said when everything is done.
fn ready(summary: String, held: Option<&Held>, unmet: &[StageLabel]) -> NewCondition {
    if let Some(held) = held {
        return NewCondition::not_ready(Reason::TargetInUse, held.message.clone());
    }
    if unmet.is_empty() {
        return NewCondition::ready(Reason::Synced, summary);
    }
    let labels: Vec<_> = unmet.iter().map(ToString::to_string).collect();
    let message = format!(
        "spec.versionStages: the versions of {} are not kept; name ids of status.versions. {summary}",
        labels.join(", ")
    );
    NewCondition::not_ready(Reason::VersionNotFound, message)
}

fn default_key() -> Plan {
    let message = "waiting for the namespace's default key";
    Plan {
        steps: vec![Step::CreateDefaultKey],
        ..Plan::idle(
            Some(NewCondition::not_ready(Reason::Waiting, message)),
            None,
        )
    }
}

fn show(seen: &Observed, manifest: Manifest, current: &SecretValue) -> Shown {
    Shown {
        manifest,
        keys: current.keys().map(str::to_owned).collect(),
        certificates: generated::certificates(&seen.secret, current),
        forced: recovery(&seen.secret).forced.is_some(),
        undeliverable: None,
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
