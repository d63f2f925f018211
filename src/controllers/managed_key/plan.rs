//! Decides what a key needs. Pure.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::deletion;
use super::import::{self, Found};
use super::observe::{Material, Observed};
use super::policy;
use super::ready::{DESTROYED, ready};
use super::rotation::{self, Cause};
use super::status::say;
use crate::api::condition::NewCondition;
use crate::api::names::ANNOTATION_APPROVE_ADOPTION;
use crate::api::{KeyMaterial, ManagedKeyStatus, Reason};
use crate::controllers::adoption::{Adoption, Claimant, Waiting, adoption, approval_message};
use crate::controllers::key_changes::first_step;
use crate::installation::RestoreHold;

/// What to do, and what to say.
pub(crate) struct Plan {
    /// Effects, in order.
    pub(crate) steps: Vec<Step>,
    /// The status to publish; `None` for an object that is going away.
    pub(crate) status: Option<ManagedKeyStatus>,
    /// What of it is worth an Event.
    pub(crate) ready: Option<NewCondition>,
    /// The next instant at which the plan may be another.
    pub(crate) next: Option<Timestamp>,
}

/// One effect.
pub(crate) enum Step {
    /// Make the first generation of a new key.
    Create,
    /// Write over the truth, in exactly the state that it was seen in.
    Replace(Box<KeyMaterial>),
    /// Write down that the truth, which was seen in that state, waits: its own resource is gone.
    Park(Box<KeyMaterial>),
    /// Add a generation to that truth, in exactly the state that it was seen in.
    Rotate(Box<KeyMaterial>, Cause),
    /// Offer a wrapping key for material to import, as that token asks.
    OfferImport(Box<KeyMaterial>, String),
    /// Take the material that was found.
    Import(Box<KeyMaterial>),
}

/// Decides.
pub(crate) fn plan(seen: &Observed, now: Timestamp) -> Plan {
    if seen.key.metadata.deletion_timestamp.is_some() {
        return Plan {
            steps: Vec::new(),
            status: None,
            ready: None,
            next: None,
        };
    }
    if seen.in_operator_namespace {
        let message = "keys cannot live in the operator's own namespace; use another";
        return say(
            seen,
            Vec::new(),
            None,
            NewCondition::not_ready(Reason::OperatorNamespace, message),
            now,
        );
    }
    match &seen.material {
        None => plan_new(seen, now),
        Some(material) => plan_existing(seen, material, now),
    }
}

fn plan_new(seen: &Observed, now: Timestamp) -> Plan {
    let had = seen
        .key
        .status
        .as_ref()
        .and_then(|status| status.key_id.as_deref());
    if let Some(id) = had {
        let message = format!(
            "key material {id} is gone from the operator's namespace; restore it from a backup. Nothing is made in \
             its place: what it encrypted would be lost. To give it up, delete this resource and apply it again"
        );
        return say(
            seen,
            Vec::new(),
            None,
            NewCondition::not_ready(Reason::MaterialMissing, message),
            now,
        );
    }
    creating(seen, now)
}

fn creating(seen: &Observed, now: Timestamp) -> Plan {
    if let Some(problem) = policy::problem(seen) {
        let condition = NewCondition::not_ready(Reason::InvalidSpec, problem.to_string());
        return say(seen, Vec::new(), None, condition, now);
    }
    let condition = NewCondition::not_ready(Reason::Creating, "the key is being made");
    say(seen, vec![Step::Create], None, condition, now)
}

fn plan_existing(seen: &Observed, material: &Material, now: Timestamp) -> Plan {
    let truth = &material.truth;
    let uid = seen.key.uid().unwrap_or_default();
    let claimant = Claimant {
        uid: &uid,
        annotations: seen.key.annotations(),
        namespace: seen.namespace.as_ref(),
    };
    let waiting = Waiting {
        object_uid: &truth.spec.object_uid,
        namespace_uid: &truth.spec.namespace_uid,
        approved: truth
            .annotations()
            .get(ANNOTATION_APPROVE_ADOPTION)
            .map(String::as_str),
    };
    match adoption(&claimant, &waiting) {
        Adoption::Fresh if truth.spec.parked_since.is_none() => {
            let condition = NewCondition::not_ready(Reason::Creating, "the key is being made");
            say(seen, vec![park(truth)], None, condition, now)
        }
        Adoption::Fresh => creating(seen, now),
        Adoption::NeedsApproval => {
            let object = format!("KeyMaterial {}", truth.name_any());
            let message = approval_message(&object, seen.namespace.as_ref());
            let condition = NewCondition::not_ready(Reason::AdoptionNeedsApproval, message);
            let is_parked = truth.spec.parked_since.is_some();
            let steps = (!is_parked).then(|| park(truth)).into_iter().collect();
            say(seen, steps, None, condition, now)
        }
        Adoption::Own | Adoption::Adopt if truth.spec.destroyed.is_some() => {
            let condition = NewCondition::not_ready(Reason::Destroyed, DESTROYED);
            say(seen, Vec::new(), Some(material), condition, now)
        }
        Adoption::Own | Adoption::Adopt => {
            let step = claimed(seen, truth, &uid, now)
                .map(|wanted| Step::Replace(Box::new(wanted)))
                .or_else(|| import(seen, truth))
                .or_else(|| rotation(seen, material, now));
            let steps = step.into_iter().collect();
            say(seen, steps, Some(material), ready(seen, material, now), now)
        }
    }
}

/// One of another UID has the name: the resource of the truth is gone, although nobody saw the name free.
fn park(truth: &KeyMaterial) -> Step {
    Step::Park(Box::new(truth.clone()))
}

/// The material that was found, or the offer that is asked for.
fn import(seen: &Observed, truth: &KeyMaterial) -> Option<Step> {
    let truth_as_seen = || Box::new(truth.clone());
    if let Some(Found::Material(_)) = &seen.import {
        return Some(Step::Import(truth_as_seen()));
    }
    let token = import::offer_asked(&seen.key, &truth.spec)?;
    Some(Step::OfferImport(truth_as_seen(), token))
}

/// The rotation that is due. A key whose material cannot be opened is left as it is: there is something to mend first.
fn rotation(seen: &Observed, material: &Material, now: Timestamp) -> Option<Step> {
    let cause = due_rotation(seen, material, now).filter(|_| seen.hold.is_none())?;
    Some(Step::Rotate(Box::new(material.truth.clone()), cause))
}

/// The rotation that is due, be it that it waits.
fn due_rotation(seen: &Observed, material: &Material, now: Timestamp) -> Option<Cause> {
    let loaded = material.loaded.as_ref()?;
    if loaded.generations.iter().any(|g| g.material.is_err()) {
        return None;
    }
    rotation::due(&seen.key, loaded.id, &material.truth.spec, now)
}

/// What is said of a key whose rotation or destruction is due and waits, since a restore is suspected.
pub(super) fn held<'a>(
    seen: &'a Observed,
    material: Option<&Material>,
    now: Timestamp,
) -> Option<&'a RestoreHold> {
    let (hold, material) = (seen.hold.as_ref()?, material?);
    let ends = material.truth.spec.deletion.as_ref();
    let ends = ends.is_some_and(|record| record.date.0 <= now);
    (ends || due_rotation(seen, material, now).is_some()).then_some(hold)
}

/// The truth as it should be, or the first step to it; `None` if it is so.
fn claimed(seen: &Observed, truth: &KeyMaterial, uid: &str, now: Timestamp) -> Option<KeyMaterial> {
    let mut wanted = truth.clone();
    uid.clone_into(&mut wanted.spec.object_uid);
    if let Some(namespace) = &seen.namespace {
        namespace.uid.clone_into(&mut wanted.spec.namespace_uid);
        wanted.annotations_mut().remove(ANNOTATION_APPROVE_ADOPTION);
    }
    wanted.spec.parked_since = None;
    wanted.spec.enabled = enabled(seen);
    let record = truth.spec.deletion.as_ref();
    wanted.spec.deletion = deletion::asked(seen.key.spec.deletion.as_ref(), record, now);
    wanted.spec.rotation = rotation::kept(&seen.key, &truth.spec.rotation, now);
    let adopts = truth.spec.object_uid != uid;
    wanted.spec.policy = policy::kept(seen, &truth.spec.policy, adopts);
    let trusted = seen.trusted_time.filter(|_| seen.hold.is_none());
    import::settle(&seen.key, &mut wanted.spec, now, trusted);
    wanted.spec = first_step(&truth.spec, &wanted.spec);
    (wanted.spec != truth.spec).then_some(wanted)
}

pub(super) fn enabled(seen: &Observed) -> bool {
    seen.key.spec.enabled.unwrap_or(true)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
