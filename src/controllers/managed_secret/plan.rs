//! Decides what a secret needs. Pure: time and randomness are arguments, and planning again after the plan was
//! carried out gives no steps.
//!
//! The order of effects makes every crash between two of them harmless: the truth first, with the names of all
//! targets in it, then the target, then what is deleted.

use k8s_openapi::jiff::Timestamp;

use super::base::base;
use super::key::KeySeen;
use super::observe::Observed;
use super::spec::recovery;
use super::step::{Refusal, Step, internal};
use super::truth::TruthSeen;
use super::{deliver, export, generated, imports, issuers, replication, rollout, sealed, value};
use crate::api::Reason;
use crate::api::condition::NewCondition;
use crate::api::managed_secret::CertificateStatus;
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
    /// Whether the next look should come soon, since this plan prepares another.
    pub(crate) soon: bool,
    /// Whether all of it is encrypting anew what is as it should be otherwise: that can wait.
    pub(crate) background: bool,
}

impl Plan {
    /// Whether consumers have what they should once all steps are done. A label on a version that is not kept changes nothing of
    /// that, nor does what other clusters get.
    pub(crate) fn is_delivered(&self) -> bool {
        let ready = self.ready.as_ref();
        ready.is_some_and(|ready| {
            ready.status
                || matches!(
                    ready.reason,
                    Reason::VersionNotFound | Reason::SharingFailed
                )
        })
    }

    /// What is said when a look-up or an effect failed. What the status told of the truth stays told.
    pub(crate) fn failed(error: &Error) -> Self {
        let ready = NewCondition::not_ready(error.reason(), error.to_string());
        Self {
            steps: Vec::new(),
            ready: Some(ready),
            shown: None,
            soon: false,
            background: false,
        }
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
}

/// Decides.
pub(crate) fn plan(seen: &Observed, now: Timestamp, random: &mut dyn Random) -> Plan {
    if seen.secret.metadata.deletion_timestamp.is_some() {
        return Plan {
            steps: Vec::new(),
            ready: None,
            shown: None,
            soon: false,
            background: false,
        };
    }
    let shown = match &seen.truth {
        TruthSeen::Present(truth) => Some(Shown {
            forced: truth.stored.recovery.forced.is_some(),
            ..show(seen, truth.manifest.clone(), &truth.current)
        }),
        TruthSeen::Absent | TruthSeen::Unreadable { .. } => None,
    };
    match decide(seen, now, random) {
        Ok(plan) => Plan {
            shown: plan.shown.or(shown),
            ..plan
        },
        Err(Refusal(reason, message)) => Plan {
            steps: Vec::new(),
            ready: Some(NewCondition::not_ready(reason, message)),
            shown,
            soon: false,
            background: false,
        },
    }
}

fn decide(seen: &Observed, now: Timestamp, random: &mut dyn Random) -> Result<Plan, Refusal> {
    if seen.in_operator_namespace {
        let message = "secrets cannot live in the operator's own namespace; use another".to_owned();
        return Err(Refusal(Reason::OperatorNamespace, message));
    }
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
    if key_namespace.is_some_and(|uid| base.claim(seen).namespace_uid != *uid) {
        let message =
            "the key of this name belongs to a namespace that was deleted, and waits to be adopted";
        return Err(Refusal(Reason::KeyNotReady, message.to_owned()));
    }
    let mut next = value::next(seen, &base, key, now, random)?;
    let mut manifest = std::mem::take(&mut next.manifest);
    let current = next.value(&base)?;
    let (shown, is_new) = (show(seen, manifest.clone(), current), next.is_new());
    let content = deliver::render(seen, current)?;
    rollout::record(seen, &base, &mut manifest, (&content, is_new), now, random)?;
    // What differs from a value that nobody changed is drift; what differs from a new value is only late.
    let stood = !is_new && deliver::was_synced(seen, &base);
    let delivery = deliver::plan(seen, content, (key, material), stood)?;
    // A source is deleted by the next plan, which reads the truth that this one writes.
    let sources_go = next.imported && imports::removes_sources(seen);
    deliver::record(seen, &mut manifest).map_err(|error| internal(&error))?;
    replication::record(seen, &base, &mut manifest, now).map_err(|error| internal(&error))?;
    let mut exporting = export::plan(seen, current, &mut manifest, stood, random)?;
    let mut steps = Vec::new();
    if exporting.again {
        steps.append(&mut exporting.steps);
    }
    let unchanged = base.truth().is_some_and(|truth| truth.manifest == manifest);
    let stands = unchanged && !base.claim_changes(seen);
    let entries = sealed::needs(seen);
    let stale = base
        .truth()
        .is_some_and(|truth| truth.is_stale(material, &entries));
    if stands && stale {
        // Older ciphertext that is put back is noticed by its sequence, also when all that differs is the material.
        manifest.bump().map_err(|error| internal(&error))?;
    }
    let shown = Shown {
        manifest: manifest.clone(),
        ..shown
    };
    let write = (!stands || stale).then(|| {
        let write = base.write(seen, manifest, next.fresh, (key, material));
        Step::WriteTruth(Box::new(write))
    });
    let clean_up = deliver::clean_up(seen);
    let soon = sources_go || exporting.goes || !clean_up.is_empty();
    let background = stands && !soon && delivery.iter().all(deliver::is_reencryption);
    if stands {
        // Encrypted anew, the target comes first: as long as it needs old material, the truth says so, where it is counted.
        steps.extend(delivery);
        steps.extend(write);
    } else {
        steps.extend(base.archive());
        steps.extend(write);
        steps.extend(delivery);
    }
    let (removals, note) = imports::remove_sources(seen, &base);
    let ready = export::ready(&exporting, ready(seen, [next.note, note], &next.unmet));
    steps.append(&mut exporting.steps);
    steps.extend(clean_up);
    steps.extend(removals);
    let ready = replication::ready(seen, &shown.manifest, ready);
    let ready = issuers::ready(seen, ready);
    Ok(Plan {
        ready: Some(ready),
        shown: Some(shown),
        soon,
        background: background && !steps.is_empty(),
        steps,
    })
}

/// What is said when everything is done.
fn ready(seen: &Observed, notes: [Option<String>; 2], unmet: &[StageLabel]) -> NewCondition {
    let summary = deliver::summary(seen, notes);
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
        ready: Some(NewCondition::not_ready(Reason::Waiting, message)),
        shown: None,
        soon: false,
        background: false,
    }
}

fn show(seen: &Observed, manifest: Manifest, current: &SecretValue) -> Shown {
    Shown {
        manifest,
        keys: current.keys().map(str::to_owned).collect(),
        certificates: generated::certificates(&seen.secret, current),
        forced: recovery(&seen.secret).forced.is_some(),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
