//! When a key is rotated. Pure.
//!
//! Automatic rotation counts from when it was enabled, or last happened, as the truth remembers it; so neither a restart nor a
//! restore of the resource without its status rotates early or twice, and periods that were missed are caught up once.
//! A rotation on demand does not move the automatic one (AWS KMS: `RotateKeyOnDemand`).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::api::names::ANNOTATION_ROTATE;
use crate::api::{KeyMaterialSpec, KeyOrigin, KeyRotation, KeySpec, ManagedKey, RotationRecord};
use crate::controllers::token::token;
use crate::crypto::KeyId;

/// Why a key is rotated now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The period is over.
    Period,
    /// Somebody asked, with this token.
    Token(String),
}

/// The rotation that is due, if one is. A request comes first, and the period's turn comes at the next look.
pub(crate) fn due(
    key: &ManagedKey,
    id: KeyId,
    truth: &KeyMaterialSpec,
    now: Timestamp,
) -> Option<Cause> {
    if !truth.enabled || truth.deletion.is_some() || is_full(truth) || !is_rotatable(truth) {
        return None;
    }
    if let Some(token) = token(key, ANNOTATION_ROTATE)
        && !truth.rotation.tokens.contains(&token)
    {
        return Some(Cause::Token(token));
    }
    next(key, id, &truth.rotation)
        .is_some_and(|next| next <= now)
        .then_some(Cause::Period)
}

/// When the key is rotated next by itself; `None` if it is not, or if nobody has written down yet since when.
pub(crate) fn next(key: &ManagedKey, id: KeyId, record: &RotationRecord) -> Option<Timestamp> {
    let period = period(key)?;
    let since = record.automatic_since.as_ref()?.0;
    let wait = period.checked_sub(early(id, period))?;
    since.checked_add(wait).ok()
}

/// The record as it should be when nothing is rotated: since when rotation is enabled.
pub(crate) fn kept(key: &ManagedKey, record: &RotationRecord, now: Timestamp) -> RotationRecord {
    let automatic_since = period(key).map(|_| {
        let since = record.automatic_since.clone();
        since.unwrap_or(Time(now))
    });
    RotationRecord {
        automatic_since,
        ..record.clone()
    }
}

/// The record of a new key: it is as fresh as a key can be, so that a token on its manifest has nothing to ask for.
pub(crate) fn of_new(key: &ManagedKey, now: Timestamp) -> RotationRecord {
    let mut record = kept(key, &RotationRecord::default(), now);
    if let Some(token) = token(key, ANNOTATION_ROTATE) {
        record.consume(&token);
    }
    record
}

/// Writes down that the key was rotated.
pub(crate) fn record(cause: &Cause, record: &mut RotationRecord, now: Timestamp) {
    match cause {
        Cause::Period => record.automatic_since = Some(Time(now)),
        Cause::Token(token) => record.consume(token),
    }
}

/// Whether a key of its kind is rotated at all: what others hold a public key or a code of, or made themselves, has one
/// material for life.
pub(crate) fn is_rotatable(truth: &KeyMaterialSpec) -> bool {
    truth.key_spec == KeySpec::SymmetricDefault && truth.origin == KeyOrigin::Keystead
}

/// Whether somebody asks for a rotation that a key of its kind does not get.
pub(crate) fn is_asked_in_vain(key: &ManagedKey, truth: &KeyMaterialSpec) -> bool {
    !is_rotatable(truth)
        && token(key, ANNOTATION_ROTATE)
            .is_some_and(|token| !truth.rotation.tokens.contains(&token))
}

/// Whether there is no room for another generation.
pub(crate) fn is_full(truth: &KeyMaterialSpec) -> bool {
    truth.generations.len() >= KeyMaterialSpec::MAX_GENERATIONS
}

/// The period of automatic rotation, if that is enabled.
fn period(key: &ManagedKey) -> Option<SignedDuration> {
    let rotation = key.spec.rotation.as_ref()?;
    if !rotation.enabled.unwrap_or(true) {
        return None;
    }
    let days = rotation
        .period_days
        .unwrap_or(KeyRotation::DEFAULT_PERIOD_DAYS);
    Some(SignedDuration::from_hours(24 * i64::from(days)))
}

/// How much earlier than the period says a key is rotated: up to a tenth of it, the same for ever, and spread evenly, since
/// key ids are hashes. Ten thousand keys that were made on one day do not rotate on one day.
fn early(id: KeyId, period: SignedDuration) -> SignedDuration {
    let bytes = id.as_bytes();
    // The bytes before the version bits of the UUID: all of them are the hash's.
    let fraction = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let seconds = i128::from(period.as_secs() / 10) * i128::from(fraction) / (1 << 32);
    SignedDuration::from_secs(i64::try_from(seconds).unwrap_or_default())
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
