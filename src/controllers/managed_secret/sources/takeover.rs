//! A new secret in the place of a native Secret that exists: which of its values are kept, and what is kept of the others.

use super::super::delivery::target::Owner;
use super::super::observe::Observed;
use super::super::step::Refusal;
use super::super::truth::base::Base;
use super::generated::generators;
use super::value::copy_of;
use crate::api::managed_secret::Existing;
use crate::crypto::SecretBytes;
use crate::secrets::SecretValue;

/// Whether this secret, being new, takes over a Secret that exists.
fn takes_over(seen: &Observed, base: &Base<'_>) -> bool {
    let existing = seen
        .secret
        .spec
        .target
        .as_ref()
        .and_then(|target| target.existing);
    base.truth().is_none()
        && matches!(existing, Some(Existing::Adopt | Existing::Merge))
        && seen
            .target
            .as_ref()
            .is_some_and(|target| target.owner == Owner::Nobody)
}

/// The values of generated keys in a Secret that is taken over: somebody uses them, so they are kept. Those of literals
/// say what a derived value there was made from.
pub(super) fn taken_over(seen: &Observed, base: &Base<'_>) -> Result<Option<SecretValue>, Refusal> {
    let Some(target) = seen.target.as_ref().filter(|_| takes_over(seen, base)) else {
        return Ok(None);
    };
    let generators = generators(&seen.secret)?;
    let generated = |key: &str| {
        generators
            .iter()
            .any(|named| named.keys().any(|k| k == key))
    };
    let literal = |key: &str| seen.secret.spec.literals.contains_key(key);
    let kept = target.delivered.iter();
    let kept = kept.filter(|(key, _)| generated(key) || literal(key));
    copy_of(kept.map(|(key, bytes)| (key.as_str(), bytes.expose()))).map(Some)
}

/// What a Secret that is taken over held under keys that get another value: kept as the previous version.
pub(crate) fn backup(
    seen: &Observed,
    base: &Base<'_>,
    next: &SecretValue,
) -> Result<Option<SecretValue>, Refusal> {
    let Some(target) = seen.target.as_ref().filter(|_| takes_over(seen, base)) else {
        return Ok(None);
    };
    let content = super::super::delivery::content::render(seen, next)?;
    let differs =
        |key: &str, bytes: &SecretBytes| content.get(key).is_some_and(|new| new != bytes.expose());
    if !target
        .delivered
        .iter()
        .any(|(key, bytes)| differs(key, bytes))
    {
        return Ok(None);
    }
    copy_of(
        target
            .delivered
            .iter()
            .map(|(key, bytes)| (key.as_str(), bytes.expose())),
    )
    .map(Some)
}
