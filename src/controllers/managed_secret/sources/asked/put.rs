//! A version that a call puts: which keys it has, and whether the spec leaves them as they were put.

use k8s_openapi::jiff::Timestamp;

use super::super::super::observe::Observed;
use super::super::super::step::{internal, with_causes};
use super::super::super::truth::base::Base;
use super::super::generated;
use super::super::rotated::substitutes;
use super::super::value::{Next, Wanted, add, copy_of};
use super::seen::ChangeSeen;
use super::{Decided, NotDone, running};
use crate::api::{ChangeError, ChangedStage, PutVersion};
use crate::crypto::{KeyId, Random};
use crate::secrets::{
    AssembleError, Assembled, Manifest, NewVersion, Running, SecretValue, VersionId,
};

/// Most keys that a refusal names.
const MOST_NAMED: usize = 10;
/// The strategies in which code of the user's own makes the new value.
const BY_OWN_CODE: [&str; 2] = ["job", "webhook"];

/// Adds the version that is put. An id that is there already is done, or refused with another value (AWS API reference, `PutSecretValue`,
/// `ClientRequestToken`).
pub(super) fn put(
    next: &mut Next<'_>,
    seen: &Observed,
    base: &Base<'_>,
    wanted: &Wanted<'_>,
    (put, asked): (&PutVersion, &ChangeSeen),
    (key, now): (KeyId, Timestamp),
    random: &mut dyn Random,
) -> Decided {
    let id: VersionId = put.version_id.parse().map_err(|_| not_well_formed())?;
    let Some(Ok(value)) = &asked.put else {
        return Err(NotDone::unreadable());
    };
    if next.manifest.version(&id).is_some() {
        return match &asked.kept {
            Some(Ok(kept)) if is_same(kept, value, wanted, seen) => Ok(id),
            Some(Ok(_)) => Err(exists(&id)),
            Some(Err(_)) | None => Err(NotDone::unreadable()),
        };
    }
    may_have(&next.manifest, &id, put.stage)?;
    let assembled = assembled(seen, base, wanted, value, now, random)?;
    let version = NewVersion {
        id: id.clone(),
        ..wanted.version(seen, base, (key, now), random)?
    };
    match put.stage {
        ChangedStage::Current => add(&mut next.manifest, &mut next.fresh, version, assembled)?,
        ChangedStage::Pending => {
            let added = next.manifest.add_pending(version);
            added.map_err(|error| internal(&error))?;
            next.pending = Some((id.to_string(), assembled));
        }
    }
    Ok(id)
}

fn not_well_formed() -> NotDone {
    NotDone::request("the change is not well-formed")
}

fn exists(id: &VersionId) -> NotDone {
    let message = format!("version {id} exists with another value: use another ClientRequestToken");
    NotDone::Refused(ChangeError::ResourceExistsException, message)
}

/// Whether a version of that id may get that stage, by the rotation that is under way or is not.
fn may_have(manifest: &Manifest, id: &VersionId, stage: ChangedStage) -> Result<(), NotDone> {
    match (running(manifest), stage) {
        (None, ChangedStage::Current) => Ok(()),
        (None, ChangedStage::Pending) => Err(NotDone::request(
            "no rotation is under way: AWSPENDING is for the version of one",
        )),
        (Some(running), ChangedStage::Pending) if takes(running, id) => Ok(()),
        (Some(_), _) => Err(NotDone::request(
            "a rotation is under way: wait for its end, or cancel it by the annotation keystead.dev/cancel-rotation",
        )),
    }
}

/// Whether a rotation has its version made by the user's own code, waits for it, and this is it.
fn takes(running: &Running, id: &VersionId) -> bool {
    running.version == *id
        && running.created.is_none()
        && running.promoted.is_none()
        && running.cancelled.is_none()
        && BY_OWN_CODE.contains(&running.strategy.as_str())
}

/// What the spec makes of what is put: with the keys that it names and that were not put, as they are.
fn assembled(
    seen: &Observed,
    base: &Base<'_>,
    wanted: &Wanted<'_>,
    put: &SecretValue,
    now: Timestamp,
    random: &mut dyn Random,
) -> Result<SecretValue, NotDone> {
    // What is made from other keys is given by these, whatever was put under it: where it does not come out so, the put is refused.
    let is_given = |key: &str| {
        let generator = wanted.generator(key);
        put.get(key).is_some() && generator.is_none_or(|named| named.takes(key))
    };
    let current = base.truth().map(|truth| &truth.current);
    let is_old_half = |key: &str| {
        let generator = wanted.generator(key);
        let pair = generator.filter(|named| named.is_public_half(key));
        pair.is_some_and(|pair| {
            let before = current.and_then(|current| current.get(&pair.key));
            put.get(&pair.key).is_some_and(|now| before != Some(now))
        })
    };
    let given = put.iter().filter(|(key, _)| is_given(key));
    let left = current.into_iter().flat_map(SecretValue::iter);
    let left = left.filter(|(key, _)| wanted.keeps(key) && !is_given(key) && !is_old_half(key));
    let kept = copy_of(given.chain(left)).map_err(|refusal| NotDone::parameter(refusal.1))?;
    let previous = base.truth().and_then(generated::stored);
    let sources = (Some(&kept), previous);
    let issuers = &seen.issuers.authorities;
    let mut made = match wanted.assemble(sources, substitutes(base), issuers, seen, now, random) {
        Ok(Assembled::Unchanged) => kept,
        Ok(Assembled::Changed(made)) => made,
        Err(AssembleError::StoredMissing { key }) => {
            return Err(NotDone::parameter(format!(
                "key `{key}` is left out, and spec.stored.keys names it: put it too, or change the spec"
            )));
        }
        Err(error) => return Err(NotDone::parameter(with_causes(&error))),
    };
    let conflicts = conflicts(put, &made, seen, wanted);
    if !conflicts.is_empty() {
        return Err(NotDone::parameter(conflicts));
    }
    // Whatever the spec adds is not in the text: then the keys are given back, and not it.
    if made == *put
        && let Some(text) = put.text()
    {
        let kept = made.keep_text(text);
        kept.map_err(|error| NotDone::parameter(error.to_string()))?;
    }
    Ok(made)
}

/// The keys that do not come out as they were put, and why, for people; empty if all do.
fn conflicts(
    put: &SecretValue,
    made: &SecretValue,
    seen: &Observed,
    wanted: &Wanted<'_>,
) -> String {
    let differs = |(key, bytes): &(&str, &[u8])| made.get(key) != Some(*bytes);
    let differing: Vec<_> = put.iter().filter(differs).map(|(key, _)| key).collect();
    let named = differing.iter().take(MOST_NAMED).map(|key| {
        if made.get(key).is_none() {
            return format!("key `{key}`: nothing in the spec names it; name it in spec.stored");
        }
        let source = if seen.secret.spec.literals.contains_key(*key) {
            "spec.literals"
        } else if wanted.generates(key) {
            "spec.generate"
        } else {
            "spec.sealed"
        };
        format!("key `{key}`: {source} says otherwise; change the spec")
    });
    let named = named.collect::<Vec<_>>().join(". ");
    let more = differing.len().saturating_sub(MOST_NAMED);
    if more > 0 {
        return format!("{named}. And {more} more keys");
    }
    named
}

/// Whether a version that is there was put as that: all of it is there, and what else is there comes from the spec.
fn is_same(kept: &SecretValue, put: &SecretValue, wanted: &Wanted<'_>, seen: &Observed) -> bool {
    if let Some(text) = kept.text() {
        return put.text() == Some(text);
    }
    let has = |(key, bytes): (&str, &[u8])| kept.get(key) == Some(bytes);
    let literals = &seen.secret.spec.literals;
    let is_from_spec = |key: &str| wanted.keeps(key) || literals.contains_key(key);
    let is_known = |key: &str| put.get(key).is_some() || is_from_spec(key);
    put.iter().all(has) && kept.keys().all(is_known)
}
