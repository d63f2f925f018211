//! The delivery of a secret: what has to be done so that its target contains what it should.

use kube::ResourceExt;

use super::super::observe::Observed;
use super::super::spec::{form, is_immutable};
use super::super::step::{Refusal, Step, TargetState, TargetWrite};
use super::super::truth::base::Base;
use super::content;
use super::immutable::{self, Place};
use super::in_use;
use super::target::{Owner, Target};
use crate::api::managed_secret::{Existing, Form};
use crate::api::names::{
    ANNOTATION_MANAGED_BY, ANNOTATION_TARGET, SEALED_SUFFIX, SECRET_TYPE_SEALED,
};
use crate::api::{ConditionType, Reason};
use crate::crypto::{KeyId, MaterialId, SecretBytes};
use crate::secrets::SecretValue;

/// What is done to the target.
pub(crate) struct Delivery {
    /// Effects, in order.
    pub(crate) steps: Vec<Step>,
    /// The form that consumers get it in.
    pub(crate) form: Form,
    /// Why that is not all that the spec asks for.
    pub(crate) held: Option<Held>,
}

/// Something that waits for those who use the target.
pub(crate) struct Held {
    /// Who keeps it, and how to go on.
    pub(crate) message: String,
    /// Whether consumers get what is current nevertheless.
    pub(crate) is_current: bool,
}

/// What has to be done to the target. `stood`: it was as it should be, and nothing was asked since.
pub(crate) fn plan(
    seen: &Observed,
    place: Option<&Place>,
    content: SecretValue,
    (key, material): (KeyId, MaterialId),
    stood: bool,
) -> Result<Delivery, Refusal> {
    let mut delivery = Delivery {
        steps: Vec::new(),
        form: form(&seen.secret),
        held: None,
    };
    let Some(place) = place else {
        return Ok(delivery);
    };
    if place.is_full {
        delivery.held = Some(Held {
            message: immutable::full(&place.name),
            is_current: false,
        });
        return Ok(delivery);
    }
    content::check_size(seen, &content)?;
    let write = TargetWrite {
        name: place.name.clone(),
        content,
        type_: wanted_type(seen),
        seal_under: (delivery.form == Form::Sealed).then_some(key),
        immutable: place.fixed.is_some(),
        existing: Existing::Fail,
        over: None,
        repair: stood,
        reencryption: false,
    };
    let mut known = seen.target.iter().chain(&seen.leftovers);
    let Some(target) = known.find(|target| target.name == place.name) else {
        delivery.steps = vec![Step::ApplyTarget(Box::new(write))];
        return Ok(delivery);
    };
    let existing = wanted_existing(seen);
    check_owner(seen, target, existing)?;
    if write.immutable {
        delivery.steps = keep(target, write);
        return Ok(delivery);
    }
    if let Some(why) = in_use::held(seen) {
        return Ok(hold(target, write, &why));
    }
    delivery.steps = change(seen, target, write, (existing, material))?;
    Ok(delivery)
}

/// What has to be done to a target whose content may change.
fn change(
    seen: &Observed,
    target: &Target,
    mut write: TargetWrite,
    (existing, material): (Existing, MaterialId),
) -> Result<Vec<Step>, Refusal> {
    // How it came to us is a fact about the past; the policy only decides at the first encounter.
    write.existing = if target.is_ours() {
        target.existing
    } else {
        existing
    };
    if write.existing != Existing::Fail && names_no_type(seen) {
        write.type_.clone_from(&target.type_);
    }
    if target.type_ != write.type_ {
        return remake(target, write);
    }
    if is_delivered(target, &write) {
        // An immutable one cannot be encrypted anew, and still opens.
        let old = |needed: &MaterialId| *needed != material;
        if write.seal_under.is_none() || target.immutable || !target.materials.iter().any(old) {
            return Ok(Vec::new());
        }
        write.reencryption = true;
    }
    // Labels and annotations may change still; but what is sealed anew is other data.
    let kept = write.seal_under.is_none() && is_data_kept(target, &write);
    if target.immutable && !kept {
        let message = format!(
            "Secret {} is immutable and its content would change; delete it, and it is made anew",
            target.name
        );
        return Err(Refusal(Reason::TargetImmutable, message));
    }
    Ok(vec![over(target, write)])
}

/// Writes over the target. It is a repair only where consumers got something else.
fn over(target: &Target, mut write: TargetWrite) -> Step {
    write.repair &= target.is_ours() && !(target.dressed && same_content(target, &write));
    write.over = Some(TargetState::of(target));
    Step::ApplyTarget(Box::new(write))
}

/// What has to be done to a target with a content for life. Its name is its content's, so that anything else under it is no loss, and
/// what cannot be changed is made anew.
fn keep(target: &Target, mut write: TargetWrite) -> Vec<Step> {
    if target.type_ != write.type_
        || target.keys != entries(&write)
        || !same_content(target, &write)
    {
        return vec![
            Step::DeleteTarget(TargetState::of(target)),
            Step::ApplyTarget(Box::new(write)),
        ];
    }
    if target.immutable && target.dressed && target.owned == target.keys {
        return Vec::new();
    }
    // As it is written on it: what is asked for now says nothing of how it came to us.
    write.existing = target.existing;
    vec![over(target, write)]
}

/// Keeps plaintext that is used as it is, with current values. No key is taken from whoever uses it, and a type cannot change.
fn hold(target: &Target, mut write: TargetWrite, why: &str) -> Delivery {
    write.seal_under = None;
    write.existing = target.existing;
    write.type_.clone_from(&target.type_);
    let lost: Vec<_> = target.owned.difference(&entries(&write)).cloned().collect();
    let (steps, state) = if is_delivered(target, &write) {
        (Vec::new(), Ok(()))
    } else if !lost.is_empty() {
        let keys = lost.join(", ");
        let problem = format!("with the values that it has, since {keys} would be taken out of it");
        (Vec::new(), Err(problem))
    } else if target.immutable && !is_data_kept(target, &write) {
        let problem = "with the values that it has, since it is immutable".to_owned();
        (Vec::new(), Err(problem))
    } else {
        (vec![over(target, write)], Ok(()))
    };
    let is_current = state.is_ok();
    let what = state.map_or_else(|problem| problem, |()| "with current values".to_owned());
    Delivery {
        steps,
        form: Form::Plain,
        held: Some(Held {
            message: in_use::message(&target.name, &what, why),
            is_current,
        }),
    }
}

/// Whether a write leaves the data of the target as they are.
fn is_data_kept(target: &Target, write: &TargetWrite) -> bool {
    target.owned == entries(write) && same_content(target, write)
}

/// Whether a step only encrypts a target anew that is as it should be.
pub(crate) fn is_reencryption(step: &Step) -> bool {
    matches!(step, Step::ApplyTarget(write) if write.reencryption)
}

/// A type cannot be changed, so the Secret is deleted and made anew, if nothing in it is anybody else's.
fn remake(target: &Target, mut write: TargetWrite) -> Result<Vec<Step>, Refusal> {
    if target.is_only_ours() {
        // The other type was asked for.
        write.repair = false;
        return Ok(vec![
            Step::DeleteTarget(TargetState::of(target)),
            Step::ApplyTarget(Box::new(write)),
        ]);
    }
    let message = format!(
        "Secret {} has type {}, wanted is {}; a type cannot be changed, and what others keep in it is not thrown \
         away. Delete it, or name another target",
        target.name, target.type_, write.type_
    );
    Err(Refusal(Reason::TargetTypeConflict, message))
}

fn check_owner(seen: &Observed, target: &Target, existing: Existing) -> Result<(), Refusal> {
    let name = &target.name;
    let (reason, message) = match &target.owner {
        Owner::Other(owner) => {
            let owned = format!("Secret {name} is the target of ManagedSecret {owner}");
            (
                Reason::TargetOwnedByOther,
                format!("{owned}; name another target"),
            )
        }
        Owner::Controller(owner) => {
            let owned = format!("Secret {name} is controlled by {owner}");
            (
                Reason::TargetOwnedByOther,
                format!("{owned}; name another target"),
            )
        }
        Owner::Nobody if existing == Existing::Fail => (Reason::TargetExists, exists(seen, name)),
        Owner::Us | Owner::Nobody => return Ok(()),
    };
    Err(Refusal(reason, message))
}

fn exists(seen: &Observed, name: &str) -> String {
    let remedy = if is_immutable(&seen.secret) {
        "Delete it, or name another target"
    } else {
        "Delete it, name another target, or set spec.target.existing"
    };
    format!(
        "Secret {name} exists and is not ours (its annotations {ANNOTATION_MANAGED_BY} and {ANNOTATION_TARGET} do not name {} and itself); it is left alone. {remedy}",
        super::target::place_of(&seen.secret)
    )
}

/// Whether the target is as it should be.
fn is_delivered(target: &Target, write: &TargetWrite) -> bool {
    target.dressed && is_data_kept(target, write)
}

/// Whether a consumer gets from the target what he should.
fn same_content(target: &Target, write: &TargetWrite) -> bool {
    write.content.iter().all(|(key, bytes)| {
        target
            .delivered
            .get(key)
            .is_some_and(|found| *found == SecretBytes::copy_of(bytes))
    })
}

/// The names of the entries that the target shall have from us.
fn entries(write: &TargetWrite) -> std::collections::BTreeSet<String> {
    let suffix = if write.seal_under.is_some() {
        SEALED_SUFFIX
    } else {
        ""
    };
    write
        .content
        .keys()
        .map(|key| format!("{key}{suffix}"))
        .collect()
}

/// Whether the last status said that everything is delivered and nothing was asked since.
pub(crate) fn was_synced(seen: &Observed, base: &Base<'_>) -> bool {
    let Some(status) = seen
        .secret
        .status
        .as_ref()
        .filter(|_| base.truth().is_some())
    else {
        return false;
    };
    let ready = crate::api::condition::find(&status.conditions, ConditionType::Ready);
    status.observed_generation == seen.secret.metadata.generation
        // A replica that gets nothing more is delivered as before; so are a source that other clusters do not get, a certificate
        // that nobody signs anew, and plaintext that is used.
        && ready.is_some_and(|ready| {
            let before = [
                Reason::ReplicationFailed,
                Reason::SharingFailed,
                Reason::IssuerNotReady,
                Reason::TargetInUse,
            ];
            ready.status == "True" || before.iter().any(|reason| reason.as_str() == ready.reason)
        })
}

pub(crate) fn wanted_type(seen: &Observed) -> String {
    if form(&seen.secret) == Form::Sealed {
        return SECRET_TYPE_SEALED.to_owned();
    }
    let template = seen.secret.spec.template.as_ref();
    template
        .and_then(|template| template.type_.clone())
        .unwrap_or_else(|| "Opaque".to_owned())
}

/// Whether the spec leaves the type open; a Secret that was there before then keeps the one it has.
fn names_no_type(seen: &Observed) -> bool {
    seen.secret
        .spec
        .template
        .as_ref()
        .is_none_or(|template| template.type_.is_none())
}

pub(super) fn wanted_existing(seen: &Observed) -> Existing {
    seen.secret
        .spec
        .target
        .as_ref()
        .and_then(|target| target.existing)
        .unwrap_or_default()
}

/// What is stored and delivered, in words.
pub(crate) fn summary(
    seen: &Observed,
    place: Option<&Place>,
    notes: [Option<String>; 5],
) -> String {
    let delivered = place.map_or_else(
        || {
            format!(
                "stored; nothing is delivered for {}",
                seen.secret.name_any()
            )
        },
        |place| format!("stored and delivered in Secret {}", place.name),
    );
    let said = notes.into_iter().flatten();
    std::iter::once(delivered)
        .chain(said)
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
#[path = "deliver_tests.rs"]
mod tests;
