//! What the next version of a secret builds on: nothing, its own truth, or truth that it may take over.

use kube::ResourceExt;

use super::super::observe::Observed;
use super::super::spec::recovery;
use super::super::step::{Refusal, Step, TruthWrite};
use super::opened::{Truth, TruthSeen};
use crate::api::Reason;
use crate::controllers::adoption::{Adoption, Claimant, Waiting, adoption, approval_message};
use crate::crypto::{KeyId, MaterialId};
use crate::secrets::{Manifest, SecretValue};
use crate::truth::{Claim, Stored};

/// What the next version builds on.
pub(crate) enum Base<'a> {
    /// Nothing: the secret is new.
    New,
    /// Truth that is ours, or becomes ours.
    Truth(&'a Truth),
    /// A fresh start in the place of truth that is put aside.
    Fresh(&'a Stored),
}

impl Base<'_> {
    pub(crate) fn truth(&self) -> Option<&Truth> {
        match self {
            Self::Truth(truth) => Some(truth),
            Self::New | Self::Fresh(_) => None,
        }
    }

    /// Whether what is written beside the envelopes differs: who claims the truth, whether it waits, and what becomes of it.
    pub(crate) fn claim_changes(&self, seen: &Observed) -> bool {
        self.truth().is_none_or(|truth| {
            truth.stored.claim != self.claim(seen)
                || truth.stored.parked_since.is_some()
                || truth.stored.recovery != recovery(&seen.secret)
        })
    }

    pub(crate) fn claim(&self, seen: &Observed) -> Claim {
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

    pub(crate) fn archive(&self) -> Option<Step> {
        match self {
            Self::Fresh(stored) => Some(Step::Archive(Box::new((*stored).clone()))),
            Self::New | Self::Truth(_) => None,
        }
    }

    pub(crate) fn write(
        &self,
        seen: &Observed,
        manifest: Manifest,
        fresh: Vec<(String, SecretValue)>,
        (key, material): (KeyId, MaterialId),
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
            material,
            claim: self.claim(seen),
            recovery: recovery(&seen.secret),
            before,
            over,
        }
    }
}

/// Finds out what the next version builds on, or why there can be none.
pub(crate) fn base(seen: &Observed) -> Result<Base<'_>, Refusal> {
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
    if !known && !seen.has_delivered() {
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
