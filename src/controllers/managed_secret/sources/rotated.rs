//! What a rotation makes of the versions of a secret: a pending one is made, and becomes current. When, is decided elsewhere.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

use super::super::observe::Observed;
use super::super::step::{Refusal, internal};
use super::super::truth::base::Base;
use super::generated;
use super::value::{Next, Wanted, copy_of, kept, refused};
use crate::controllers::rotations::Change;
use crate::crypto::{KeyId, Random};
use crate::secrets::{Assembled, NewVersion, SecretValue, Substitutes};

/// Whether a version is to be made in which everything generated is anew.
pub(super) fn makes_anew(seen: &Observed) -> bool {
    let asked = seen.rotation.as_ref();
    asked.is_some_and(|asked| matches!(asked.change, Change::Create { .. }))
}

/// Does what a rotation asks of the versions, on the state of the truth that it was decided on.
pub(super) fn rotate<'a>(
    next: &mut Next<'a>,
    seen: &'a Observed,
    base: &Base<'_>,
    wanted: &Wanted<'_>,
    (key, now): (KeyId, Timestamp),
    random: &mut dyn Random,
) -> Result<(), Refusal> {
    let (Some(asked), Some(_)) = (&seen.rotation, base.truth()) else {
        return Ok(());
    };
    let manifest = &mut next.manifest;
    match &asked.change {
        Change::Record => {}
        // What somebody's own code has stored meanwhile is taken.
        Change::Create { version, .. } if manifest.version(version).is_some() => {}
        Change::Create {
            version,
            substitutes,
        } => {
            let value = replaced(seen, base, wanted, substitutes, now, random)?;
            let version = NewVersion {
                id: version.clone(),
                substitutes: substitutes.clone(),
                ..wanted.version(seen, base, (key, now), random)?
            };
            let id = version.id.to_string();
            let added = manifest.add_pending(version);
            added.map_err(|error| internal(&error))?;
            next.pending = Some((id, value));
        }
        Change::Cancel(version) => {
            let cancelled = manifest.cancel_pending(version);
            cancelled.map_err(|error| internal(&error))?;
        }
        Change::Promote(version) => {
            let pending = match &seen.pending {
                Some(Ok(pending)) => pending,
                Some(Err(Refusal(reason, message))) => {
                    return Err(Refusal(*reason, message.clone()));
                }
                None => return Err(internal(&"the version to promote was not read")),
            };
            let promoted = manifest.promote(version);
            promoted.map_err(|error| internal(&error))?;
            next.stored = Some(pending);
        }
    }
    let recorded = manifest.record_rotation(asked.record.clone());
    recorded.map_err(|error| internal(&error))?;
    Ok(())
}

/// The value of a rotation's new version: what is generated is made anew, and the substitutes stand where they belong.
fn replaced(
    seen: &Observed,
    base: &Base<'_>,
    wanted: &Wanted<'_>,
    substitutes: &Substitutes,
    now: Timestamp,
    random: &mut dyn Random,
) -> Result<SecretValue, Refusal> {
    let current = kept(base, wanted, None, true)?.unwrap_or_else(SecretValue::new);
    let entries = current.iter().map(|(key, bytes)| {
        let substitute = substitutes.get(key);
        let bytes = substitute.map_or(bytes, |substitute| substitute.is.as_bytes());
        (key, bytes)
    });
    let current = copy_of(entries)?;
    let previous = base.truth().and_then(generated::stored);
    let (kept, issuers) = ((Some(&current), previous), &seen.issuers.authorities);
    match wanted.assemble(kept, substitutes, issuers, seen, now, random) {
        Ok(Assembled::Changed(value)) => Ok(value),
        Ok(Assembled::Unchanged) => Ok(current),
        Err(error) => Err(refused(&error)),
    }
}

/// What stands in the place of literals in the current version.
pub(super) fn substitutes<'a>(base: &'a Base<'_>) -> &'a Substitutes {
    static NOTHING: Substitutes = Substitutes::new();
    let current = base.truth().and_then(|truth| truth.manifest.current());
    current.map_or(&NOTHING, |version| &version.substitutes)
}

/// The literals of a spec, with the substitutes of those that are as they were when these were put in their place.
pub(super) fn substituted<'a>(
    literals: &'a BTreeMap<String, String>,
    substitutes: &Substitutes,
) -> Cow<'a, BTreeMap<String, String>> {
    let mut literals = Cow::Borrowed(literals);
    for (key, substitute) in substitutes {
        if literals.get(key) == Some(&substitute.of) {
            literals.to_mut().insert(key.clone(), substitute.is.clone());
        }
    }
    literals
}
