//! The delivery of a secret: what its target contains, and what has to be done to make it so.

use kube::ResourceExt;

use super::base::Base;
use super::in_use;
use super::observe::Observed;
use super::spec::{form, target_name, user_context};
use super::step::{Refusal, Step, TargetState, TargetWrite, context_refused, with_causes};
use super::target::{Owner, Target, deletion_policy, sealed_context};
use crate::api::managed_secret::{DeletionPolicy, Existing, Form};
use crate::api::names::{
    ANNOTATION_MANAGED_BY, ANNOTATION_TARGET, SEALED_SUFFIX, SECRET_TYPE_SEALED,
};
use crate::api::{ConditionType, Reason};
use crate::crypto::{KeyId, MaterialId, SecretBytes, max_sealed_length};
use crate::secrets::{Manifest, ManifestError, SecretValue, TargetRecord, Template};

/// Most bytes of a Secret's data, as the API server checks it.
const MAX_SECRET_DATA: usize = 1_048_576;
/// Longest key of a sealed secret: its entry's name must fit.
const MAX_SEALED_KEY: usize = 253 - SEALED_SUFFIX.len();

/// What a consumer shall get: the value, or what the template makes of it.
pub(super) fn render(seen: &Observed, value: &SecretValue) -> Result<SecretValue, Refusal> {
    let template = seen.secret.spec.template.as_ref();
    let Some(template) = template.filter(|template| !template.data.is_empty()) else {
        return copy(value);
    };
    let mut content = SecretValue::new();
    for (key, source) in &template.data {
        let failed = |error: &dyn std::error::Error| {
            Refusal(
                Reason::TemplateFailed,
                format!("spec.template.data: {}", with_causes(error)),
            )
        };
        let compiled = Template::compile(key, source).map_err(|error| failed(&error))?;
        let rendered = compiled.render(value).map_err(|error| failed(&error))?;
        content.insert(key.clone(), rendered).map_err(|error| {
            Refusal(
                Reason::ValueTooLarge,
                format!("spec.template.data: {error}"),
            )
        })?;
    }
    Ok(content)
}

fn copy(value: &SecretValue) -> Result<SecretValue, Refusal> {
    let mut content = SecretValue::new();
    for (key, bytes) in value.iter() {
        content
            .insert(key.to_owned(), SecretBytes::copy_of(bytes))
            .map_err(|error| Refusal(Reason::ValueTooLarge, error.to_string()))?;
    }
    Ok(content)
}

/// What has to be done to the target. `stood`: it was as it should be, and nothing was asked since.
pub(super) fn plan(
    seen: &Observed,
    content: SecretValue,
    (key, material): (KeyId, MaterialId),
    stood: bool,
) -> Result<Vec<Step>, Refusal> {
    let Some(name) = target_name(&seen.secret) else {
        return Ok(Vec::new());
    };
    check_size(seen, &content)?;
    let type_ = wanted_type(seen);
    let existing = wanted_existing(seen);
    let mut write = TargetWrite {
        name,
        content,
        type_,
        seal_under: (form(&seen.secret) == Form::Sealed).then_some(key),
        existing: Existing::Fail,
        over: None,
        repair: false,
        reencryption: false,
    };
    let Some(target) = &seen.target else {
        write.repair = stood;
        return Ok(vec![Step::ApplyTarget(Box::new(write))]);
    };
    check_owner(seen, target, existing)?;
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
        in_use::check(seen)?;
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
    let kept = write.seal_under.is_none()
        && target.owned == entries(&write)
        && same_content(target, &write);
    if target.immutable && !kept {
        let message = format!(
            "Secret {} is immutable and its content would change; delete it, and it is made anew",
            target.name
        );
        return Err(Refusal(Reason::TargetImmutable, message));
    }
    write.repair = stood && target.is_ours() && !(target.dressed && same_content(target, &write));
    write.over = Some(TargetState::of(target));
    Ok(vec![Step::ApplyTarget(Box::new(write))])
}

/// Whether a step only encrypts a target anew that is as it should be.
pub(super) fn is_reencryption(step: &Step) -> bool {
    matches!(step, Step::ApplyTarget(write) if write.reencryption)
}

/// A type cannot be changed, so the Secret is deleted and made anew, if nothing in it is anybody else's.
fn remake(target: &Target, write: TargetWrite) -> Result<Vec<Step>, Refusal> {
    if target.is_only_ours() {
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
    format!(
        "Secret {name} exists and is not ours (its annotations {ANNOTATION_MANAGED_BY} and {ANNOTATION_TARGET} do not name {} and itself); it is left alone. Delete it, \
         name another target, or set spec.target.existing",
        super::target::place_of(&seen.secret)
    )
}

/// Whether the target is as it should be.
fn is_delivered(target: &Target, write: &TargetWrite) -> bool {
    target.dressed && target.owned == entries(write) && same_content(target, write)
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
pub(super) fn was_synced(seen: &Observed, base: &Base<'_>) -> bool {
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
        // A replica that gets nothing more is delivered as before; so are a source that other clusters do not get, and a certificate
        // that nobody signs anew.
        && ready.is_some_and(|ready| {
            let before = [Reason::ReplicationFailed, Reason::SharingFailed, Reason::IssuerNotReady];
            ready.status == "True" || before.iter().any(|reason| reason.as_str() == ready.reason)
        })
}

fn wanted_type(seen: &Observed) -> String {
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

fn wanted_existing(seen: &Observed) -> Existing {
    seen.secret
        .spec
        .target
        .as_ref()
        .and_then(|target| target.existing)
        .unwrap_or_default()
}

/// Refuses what the API server would refuse, before anything is written.
fn check_size(seen: &Observed, content: &SecretValue) -> Result<(), Refusal> {
    if form(&seen.secret) != Form::Sealed {
        return Ok(());
    }
    if let Some(key) = content.keys().find(|key| key.len() > MAX_SEALED_KEY) {
        let message = format!(
            "key {}... is longer than {MAX_SEALED_KEY} characters, which leaves no room for {SEALED_SUFFIX} in a \
             target of form Sealed; shorten it, or use form Plain",
            &key[..32]
        );
        return Err(Refusal(Reason::InvalidSpec, message));
    }
    let user = user_context(&seen.secret).map_err(|error| context_refused(&error))?;
    let size = content.iter().try_fold(0, |size, (key, bytes)| {
        let context = sealed_context(&seen.secret, key, &user);
        let context = context.map_err(|error| context_refused(&error))?;
        Ok(size + max_sealed_length(bytes.len(), &context))
    })?;
    if size > MAX_SECRET_DATA {
        let message = format!(
            "sealed, the secret would have {size} bytes, more than the {MAX_SECRET_DATA} of a native Secret; use fewer \
             keys or a smaller encryption context"
        );
        return Err(Refusal(Reason::ValueTooLarge, message));
    }
    Ok(())
}

/// Writes down which targets there are, before they are: so that none is ever forgotten.
pub(super) fn record(seen: &Observed, manifest: &mut Manifest) -> Result<(), ManifestError> {
    let wanted = target_name(&seen.secret);
    let known: Vec<_> = manifest
        .targets()
        .iter()
        .map(|record| record.name.clone())
        .collect();
    for name in known {
        let left = !keeps(seen) && seen.leftovers.iter().any(|target| target.name == name);
        if Some(&name) != wanted.as_ref() && !left {
            manifest.forget_target(&name)?;
        }
    }
    if let Some(name) = wanted {
        let existing = seen
            .target
            .as_ref()
            .filter(|t| t.is_ours())
            .map(|t| t.existing);
        manifest.record_target(TargetRecord {
            name,
            form: form(&seen.secret),
            existing: existing.unwrap_or_else(|| wanted_existing(seen)),
            deletion_policy: deletion_policy(&seen.secret),
        })?;
    }
    Ok(())
}

/// What happens to targets under names that are not wanted any more.
pub(super) fn clean_up(seen: &Observed) -> Vec<Step> {
    let step = |target: &Target| match target.existing {
        Existing::Merge => Step::ReleaseTarget(TargetState::of(target)),
        Existing::Fail | Existing::Adopt => Step::DeleteTarget(TargetState::of(target)),
    };
    seen.leftovers
        .iter()
        .filter(|_| !keeps(seen))
        .map(step)
        .collect()
}

/// Whether targets outlive their being wanted.
fn keeps(seen: &Observed) -> bool {
    deletion_policy(&seen.secret) == DeletionPolicy::Retain
}

/// What is stored and delivered, in words.
pub(super) fn summary(seen: &Observed, notes: [Option<String>; 2]) -> String {
    let delivered = target_name(&seen.secret).map_or_else(
        || {
            format!(
                "stored; nothing is delivered for {}",
                seen.secret.name_any()
            )
        },
        |name| format!("stored and delivered in Secret {name}"),
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
