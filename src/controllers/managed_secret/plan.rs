//! Decides what a secret needs. Pure: time and randomness are arguments, and planning again after the plan was
//! carried out gives no steps.
//!
//! The order of effects makes every crash between two of them harmless: the truth first, with the names of all
//! targets in it, then the target, then what is deleted.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::observe::{KeySeen, Observed};
use super::target::Target;
use super::truth::{Truth, TruthSeen};
use super::{deliver, value};
use crate::api::Reason;
use crate::api::condition::NewCondition;
use crate::controllers::adoption::{Adoption, Claimant, Waiting, adoption, approval_message};
use crate::controllers::error::Error;
use crate::crypto::{KeyId, Random};
use crate::secrets::{Manifest, SecretValue};
use crate::truth::{Claim, Stored};

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
}

impl Plan {
    /// What is said when a look-up or an effect failed. What the status told of the truth stays told.
    pub(crate) fn failed(error: &Error) -> Self {
        let ready = NewCondition::not_ready(error.reason(), error.to_string());
        Self {
            steps: Vec::new(),
            ready: Some(ready),
            shown: None,
            soon: false,
        }
    }
}

/// What a status tells of the truth.
pub(crate) struct Shown {
    /// The manifest.
    pub(crate) manifest: Manifest,
    /// The keys of the current version.
    pub(crate) keys: Vec<String>,
}

/// One effect.
pub(crate) enum Step {
    /// Make the namespace's default key.
    CreateDefaultKey,
    /// Keep waiting truth under another name, since its place is taken by a fresh start.
    Archive(Box<Stored>),
    /// Write the truth.
    WriteTruth(Box<TruthWrite>),
    /// Delete a target that is only ours, in exactly the state that it was seen in.
    DeleteTarget(TargetState),
    /// Write the target.
    ApplyTarget(Box<TargetWrite>),
    /// Take our keys out of a Secret that is not ours.
    ReleaseTarget(TargetState),
    /// Delete a Secret that was imported.
    DeleteSource(TargetState),
}

/// Truth to be written.
pub(crate) struct TruthWrite {
    /// The manifest to seal.
    pub(crate) manifest: Manifest,
    /// Values of versions that are not stored yet, by version id.
    pub(crate) fresh: Vec<(String, SecretValue)>,
    /// The key to seal under.
    pub(crate) key: KeyId,
    /// Who claims it.
    pub(crate) claim: Claim,
    /// What is stored now, and what its manifest says.
    pub(crate) before: Option<(Stored, Manifest)>,
    /// The state to write over when the place is taken by truth that was put aside.
    pub(crate) over: Option<String>,
}

/// A Secret in the state that it was seen in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetState {
    /// Its name.
    pub(crate) name: String,
    /// Its UID.
    pub(crate) uid: String,
    /// Its resource version.
    pub(crate) resource_version: String,
}

impl TargetState {
    pub(super) fn of(target: &Target) -> Self {
        Self {
            name: target.name.clone(),
            uid: target.uid.clone(),
            resource_version: target.resource_version.clone(),
        }
    }
}

/// A target to be written.
pub(crate) struct TargetWrite {
    /// Its name.
    pub(crate) name: String,
    /// What a consumer shall get.
    pub(crate) content: SecretValue,
    /// Its type.
    pub(crate) type_: String,
    /// The key to seal entries under; `None` for plaintext.
    pub(crate) seal_under: Option<KeyId>,
    /// How it came to us.
    pub(crate) existing: crate::api::managed_secret::Existing,
    /// The state that it was seen in; `None` if there was no such Secret.
    pub(crate) over: Option<TargetState>,
    /// Whether it was as it should be until somebody else changed it.
    pub(crate) repair: bool,
}

/// Why nothing is done.
pub(crate) struct Refusal(pub(crate) Reason, pub(crate) String);

/// Decides.
pub(crate) fn plan(seen: &Observed, now: Timestamp, random: &mut dyn Random) -> Plan {
    if seen.secret.metadata.deletion_timestamp.is_some() {
        return Plan {
            steps: Vec::new(),
            ready: None,
            shown: None,
            soon: false,
        };
    }
    let shown = match &seen.truth {
        TruthSeen::Present(truth) => Some(show(&truth.manifest, &truth.current)),
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
        },
    }
}

fn decide(seen: &Observed, now: Timestamp, random: &mut dyn Random) -> Result<Plan, Refusal> {
    if seen.in_operator_namespace {
        let message = "secrets cannot live in the operator's own namespace; use another".to_owned();
        return Err(Refusal(Reason::OperatorNamespace, message));
    }
    let (key, key_namespace) = match &seen.key {
        KeySeen::Usable { id, namespace_uid } => (*id, namespace_uid),
        KeySeen::DefaultMissing => return Ok(default_key()),
        KeySeen::Problem(reason, message) => return Err(Refusal(*reason, message.clone())),
    };
    let base = base(seen)?;
    if base.claim(seen).namespace_uid != *key_namespace {
        let message =
            "the key of this name belongs to a namespace that was deleted, and waits to be adopted";
        return Err(Refusal(Reason::KeyNotReady, message.to_owned()));
    }
    let next = value::next(seen, &base, key, now, random)?;
    let content = deliver::render(seen, next.value(&base))?;
    // What differs from a value that nobody changed is drift; what differs from a new value is only late.
    let stood = next.fresh.is_empty() && deliver::was_synced(seen, &base);
    let delivery = deliver::plan(seen, content, key, stood)?;
    // A source is deleted by the next plan, which reads the truth that this one writes.
    let sources_go = next.imported && value::removes_sources(seen);
    let mut manifest = next.manifest;
    deliver::record(seen, &mut manifest).map_err(|error| internal(&error))?;
    let mut steps = Vec::new();
    let keys = next.fresh.last().map_or_else(
        || {
            base.truth()
                .map(|truth| names(&truth.current))
                .unwrap_or_default()
        },
        |(_, value)| names(value),
    );
    let shown = Shown {
        manifest: manifest.clone(),
        keys,
    };
    let unchanged = base.truth().is_some_and(|truth| truth.manifest == manifest);
    if !unchanged || base.claim_changes(seen) {
        steps.extend(base.archive());
        steps.push(Step::WriteTruth(Box::new(
            base.write(seen, manifest, next.fresh, key),
        )));
    }
    let clean_up = deliver::clean_up(seen);
    let soon = sources_go || !clean_up.is_empty();
    steps.extend(delivery);
    steps.extend(clean_up);
    let (removals, note) = value::remove_sources(seen, &base);
    steps.extend(removals);
    let ready = NewCondition::ready(Reason::Synced, deliver::summary(seen, note));
    Ok(Plan {
        steps,
        ready: Some(ready),
        shown: Some(shown),
        soon,
    })
}

fn default_key() -> Plan {
    let message = "waiting for the namespace's default key";
    Plan {
        steps: vec![Step::CreateDefaultKey],
        ready: Some(NewCondition::not_ready(Reason::Waiting, message)),
        shown: None,
        soon: false,
    }
}

pub(super) fn internal(error: &dyn std::fmt::Display) -> Refusal {
    Refusal(Reason::TruthUnreadable, error.to_string())
}

fn show(manifest: &Manifest, current: &SecretValue) -> Shown {
    Shown {
        manifest: manifest.clone(),
        keys: names(current),
    }
}

fn names(value: &SecretValue) -> Vec<String> {
    value.keys().map(str::to_owned).collect()
}

/// What the next version builds on.
pub(super) enum Base<'a> {
    /// Nothing: the secret is new.
    New,
    /// Truth that is ours, or becomes ours.
    Truth(&'a Truth),
    /// A fresh start in the place of truth that is put aside.
    Fresh(&'a Stored),
}

impl Base<'_> {
    pub(super) fn truth(&self) -> Option<&Truth> {
        match self {
            Self::Truth(truth) => Some(truth),
            Self::New | Self::Fresh(_) => None,
        }
    }

    /// Whether the truth's claim, or its mark of absence, has to be written anew.
    fn claim_changes(&self, seen: &Observed) -> bool {
        self.truth().is_none_or(|truth| {
            truth.stored.claim != self.claim(seen) || truth.stored.parked_since.is_some()
        })
    }

    fn claim(&self, seen: &Observed) -> Claim {
        let recorded = self
            .truth()
            .map(|truth| truth.stored.claim.namespace_uid.clone());
        let namespace_uid = seen
            .namespace
            .as_ref()
            .map(|facts| facts.uid.clone())
            .or(recorded);
        Claim {
            object_uid: seen.secret.uid().unwrap_or_default(),
            namespace_uid: namespace_uid.unwrap_or_default(),
        }
    }

    fn archive(&self) -> Option<Step> {
        match self {
            Self::Fresh(stored) => Some(Step::Archive(Box::new((*stored).clone()))),
            Self::New | Self::Truth(_) => None,
        }
    }

    fn write(
        &self,
        seen: &Observed,
        manifest: Manifest,
        fresh: Vec<(String, SecretValue)>,
        key: KeyId,
    ) -> TruthWrite {
        let (before, over) = match self {
            Self::New => (None, None),
            Self::Truth(truth) => {
                let over = truth.stored.resource_version.clone();
                (Some((truth.stored.clone(), truth.manifest.clone())), over)
            }
            Self::Fresh(stored) => (None, stored.resource_version.clone()),
        };
        TruthWrite {
            manifest,
            fresh,
            key,
            claim: self.claim(seen),
            before,
            over,
        }
    }
}

/// Finds out what the next version builds on, or why there can be none.
fn base(seen: &Observed) -> Result<Base<'_>, Refusal> {
    let stored = match &seen.truth {
        TruthSeen::Absent => return absent(seen),
        TruthSeen::Present(truth) => &truth.stored,
        TruthSeen::Unreadable {
            stored: Some(stored),
            ..
        } => stored,
        TruthSeen::Unreadable {
            stored: None,
            reason,
            message,
        } => {
            return Err(Refusal(*reason, message.clone()));
        }
    };
    let uid = seen.secret.uid().unwrap_or_default();
    let claimant = Claimant {
        uid: &uid,
        annotations: seen.secret.annotations(),
        namespace: seen.namespace.as_ref(),
    };
    let waiting = Waiting {
        object_uid: &stored.claim.object_uid,
        namespace_uid: &stored.claim.namespace_uid,
        approved: stored.approved.as_deref(),
    };
    match (adoption(&claimant, &waiting), &seen.truth) {
        (Adoption::Fresh, _) => Ok(Base::Fresh(stored)),
        (Adoption::NeedsApproval, _) => {
            let name = crate::truth::truth_name(&stored.namespace, &stored.name);
            let message = approval_message(&format!("Secret {name}"), seen.namespace.as_ref());
            Err(Refusal(Reason::AdoptionNeedsApproval, message))
        }
        (_, TruthSeen::Present(truth)) => not_rolled_back(seen, truth).map(|()| Base::Truth(truth)),
        (
            _,
            TruthSeen::Unreadable {
                reason, message, ..
            },
        ) => Err(Refusal(*reason, message.clone())),
        (_, TruthSeen::Absent) => Ok(Base::New),
    }
}

/// There is no truth. If a value once existed, no new one is made: whoever still uses the old one would be
/// locked out.
fn absent(seen: &Observed) -> Result<Base<'_>, Refusal> {
    let known = seen
        .secret
        .status
        .as_ref()
        .is_some_and(|status| !status.versions.is_empty());
    let delivered = seen.target.as_ref().is_some_and(Target::is_ours);
    if !known && !delivered {
        return Ok(Base::New);
    }
    let message = "the ciphertext of this secret is gone from the operator's namespace; restore it from a backup. No \
                   new value is made in its place. To give the old value up, delete this resource and its target, \
                   and apply it again"
        .to_owned();
    Err(Refusal(Reason::SourceLost, message))
}

/// Truth older than what the status speaks of was put back by somebody.
fn not_rolled_back(seen: &Observed, truth: &Truth) -> Result<(), Refusal> {
    let last = seen
        .secret
        .status
        .as_ref()
        .and_then(|status| status.sequence)
        .unwrap_or(0);
    let stored = i64::try_from(truth.manifest.sequence()).unwrap_or(i64::MAX);
    if stored >= last {
        return Ok(());
    }
    let message = format!(
        "the stored secret has sequence {stored}, but {last} was seen before: somebody put older ciphertext back. What \
         is delivered stays as it is. Restore the newer one; or, to go on from the older, delete this resource and \
         apply it again"
    );
    Err(Refusal(Reason::RollbackDetected, message))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
