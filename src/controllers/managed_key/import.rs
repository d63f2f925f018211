//! The life of imported material. Pure.
//!
//! ```text
//! made, or asked ──▶ a wrapping key is offered ──24 h──▶ gone
//!                        │ the Secret holds material wrapped for it
//!                        ▼
//!                    material ──validTo, or deleted──▶ parked ──30 days──▶ destroyed
//!                        ▲                                │                    │
//!                        └──────── the same is imported again, same id ────────┘
//! ```

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::api::condition::NewCondition;
use crate::api::key_import::{
    ImportOffer, ImportRecord, ImportWrappingAlgorithm, KeyImport, KeyImportStatus, ParkedMaterial,
};
use crate::api::names::{ANNOTATION_DELETE_IMPORTED, ANNOTATION_OFFER_IMPORT};
use crate::api::time::as_stored;
use crate::api::{KeyDeletion, KeyMaterialSpec, KeyOrigin, ManagedKey, Reason};
use crate::controllers::token::token;
use crate::crypto::KeyId;
use crate::keys::{Imported, import_token};

/// How long material that expired or was deleted waits. It is its owner's, who can import it again; the window is for the
/// mistake of having lost it.
const WINDOW: SignedDuration =
    SignedDuration::from_hours(24 * KeyDeletion::DEFAULT_WINDOW_DAYS as i64);

/// What was found where the spec says that material is.
#[derive(Debug)]
pub(crate) enum Found {
    /// There is no such Secret, or it lacks an entry.
    Missing(String),
    /// It is not taken.
    Refused(String),
    /// It may be taken.
    Material(Imported),
}

/// Where the material is to be looked for now; `None` if there is nothing to import, or no way to.
pub(crate) fn wanted<'a>(
    key: &'a ManagedKey,
    truth: &'a KeyMaterialSpec,
    now: Timestamp,
) -> Option<(&'a KeyImport, &'a ImportOffer)> {
    let import = key.spec.import.as_ref()?;
    if !waits(truth) || truth.deletion.is_some() || has_expired(import, now) {
        return None;
    }
    let offer = truth.import.as_ref()?.offer.as_ref()?;
    (now < offer.valid_until.0).then_some((import, offer))
}

/// Whether a key waits for its material.
pub(crate) fn waits(truth: &KeyMaterialSpec) -> bool {
    truth.origin == KeyOrigin::External && truth.generations.is_empty() && truth.destroyed.is_none()
}

/// Until when imported material is used, as the spec says.
pub(crate) fn valid_to(key: &ManagedKey) -> Option<Time> {
    let end = key.spec.import.as_ref()?.valid_to.as_ref()?;
    Some(as_stored(end.0))
}

fn has_expired(import: &KeyImport, now: Timestamp) -> bool {
    import.valid_to.as_ref().is_some_and(|end| end.0 <= now)
}

/// The record of a new key: it has an offer without asking, and nothing to delete.
pub(crate) fn of_new(key: &ManagedKey, offer: ImportOffer) -> ImportRecord {
    ImportRecord {
        offer: Some(offer),
        offer_token: token(key, ANNOTATION_OFFER_IMPORT),
        delete_token: token(key, ANNOTATION_DELETE_IMPORTED),
        ..ImportRecord::default()
    }
}

/// The token of an offer that is asked for, and was not made.
pub(crate) fn offer_asked(key: &ManagedKey, truth: &KeyMaterialSpec) -> Option<String> {
    let record = truth.import.as_ref()?;
    let token = token(key, ANNOTATION_OFFER_IMPORT)?;
    let asked =
        waits(truth) && truth.deletion.is_none() && record.offer_token != Some(token.clone());
    asked.then_some(token)
}

/// Brings the truth to what time and the spec say: an offer ends, material expires or is deleted, what was parked is destroyed.
/// `trusted` is a time that no clock alone tells; without it nothing is destroyed.
pub(crate) fn settle(
    key: &ManagedKey,
    truth: &mut KeyMaterialSpec,
    now: Timestamp,
    trusted: Option<Timestamp>,
) {
    let Some(record) = &mut truth.import else {
        return;
    };
    record.offer.take_if(|offer| offer.valid_until.0 <= now);
    record
        .parked
        .take_if(|parked| trusted.is_some_and(|now| parked.date.0 <= now));
    if truth.generations.is_empty() {
        return;
    }
    let deleted = delete_asked(key, record).filter(|_| key.spec.import.is_none());
    if key.spec.import.is_some() {
        record.valid_to = valid_to(key);
    }
    let expired = record.valid_to.as_ref().is_some_and(|end| end.0 <= now);
    if deleted.is_none() && !expired {
        return;
    }
    if deleted.is_some() {
        record.delete_token = deleted;
    }
    record.valid_to = None;
    record.parked = truth.generations.pop().map(|generation| ParkedMaterial {
        generation,
        since: Time(now),
        date: Time(now.checked_add(WINDOW).unwrap_or(Timestamp::MAX)),
    });
}

/// The token of a deletion that is asked for, and was not done.
fn delete_asked(key: &ManagedKey, record: &ImportRecord) -> Option<String> {
    token(key, ANNOTATION_DELETE_IMPORTED).filter(|t| record.delete_token.as_ref() != Some(t))
}

/// The next instant at which [`settle`] does something.
pub(crate) fn next(truth: &KeyMaterialSpec) -> Option<Timestamp> {
    let record = truth.import.as_ref()?;
    let instants = [
        record.offer.as_ref().map(|offer| offer.valid_until.0),
        record.valid_to.as_ref().map(|end| end.0),
        record.parked.as_ref().map(|parked| parked.date.0),
    ];
    instants.into_iter().flatten().min()
}

/// What the status offers.
pub(crate) fn status(id: KeyId, truth: &KeyMaterialSpec) -> Option<KeyImportStatus> {
    let offer = truth.import.as_ref()?.offer.as_ref()?;
    let algorithms = ImportWrappingAlgorithm::ALL.iter();
    Some(KeyImportStatus {
        wrapping_public_key: offer.public_key.clone(),
        wrapping_algorithms: algorithms.map(|a| a.as_str().to_owned()).collect(),
        import_token: import_token(id, offer),
        valid_until: offer.valid_until.clone(),
    })
}

/// What is said of a key that waits for its material.
pub(crate) fn waiting(
    key: &ManagedKey,
    truth: &KeyMaterialSpec,
    found: Option<&Found>,
    now: Timestamp,
) -> NewCondition {
    let (reason, problem) = match (found, &key.spec.import) {
        (Some(Found::Missing(problem)), _) => (Reason::ImportSourceMissing, problem.clone()),
        (Some(Found::Refused(problem)), _) => (Reason::ImportRefused, problem.clone()),
        (_, Some(import)) if has_expired(import, now) => {
            let expired = "spec.import.validTo has passed: set a later one, or take it out, and import the material again";
            (Reason::ImportRefused, expired.to_owned())
        }
        _ => (
            Reason::PendingImport,
            "the key waits for its material; every use is refused".to_owned(),
        ),
    };
    let record = truth.import.as_ref();
    let way = match record.and_then(|record| record.offer.as_ref()) {
        Some(offer) => format!(
            "until {} material is taken that is wrapped with status.import.wrappingPublicKey, in a Secret that \
             spec.import names",
            offer.valid_until.0
        ),
        None => format!(
            "no wrapping key is offered: set the annotation {ANNOTATION_OFFER_IMPORT} to a new value for one, and wrap the \
             material anew"
        ),
    };
    let parked = record.and_then(|record| record.parked.as_ref());
    let parked = parked.map_or_else(String::new, |parked| {
        format!("; the former material is destroyed at {}", parked.date.0)
    });
    NewCondition::not_ready(reason, format!("{problem}; {way}{parked}"))
}

/// What is said of a key whose material somebody wants deleted, and still wants imported.
pub(crate) fn note(key: &ManagedKey, truth: &KeyMaterialSpec) -> &'static str {
    let record = truth.import.as_ref();
    let asked = record.is_some_and(|record| delete_asked(key, record).is_some());
    if asked && key.spec.import.is_some() {
        "; its material is deleted when spec.import is taken out"
    } else {
        ""
    }
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
