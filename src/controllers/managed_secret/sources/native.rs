//! Secrets to import.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::super::truth::opened::Truth;
use crate::api::ManagedSecret;
use crate::api::managed_secret::Import;
use crate::api::names::ANNOTATION_IMPORT;
use crate::crypto::SecretBytes;
use crate::secrets::{ImportRecord, Manifest};

/// A Secret to import, as it was found.
pub(crate) struct Source {
    /// Its name.
    pub(crate) name: String,
    /// What it holds; `None` if there is no such Secret.
    pub(crate) found: Option<Found>,
}

/// What a Secret to import holds.
pub(crate) struct Found {
    /// Its UID.
    pub(crate) uid: String,
    /// The state that was read.
    pub(crate) resource_version: String,
    /// Its data.
    pub(crate) data: BTreeMap<String, SecretBytes>,
}

impl Source {
    /// Whether the Secret has to be looked at: it was not imported yet, it shall be imported once more, keys
    /// of it are wanted that were not, or it shall be deleted.
    pub(crate) fn must_be_read(
        import: &Import,
        secret: &ManagedSecret,
        truth: Option<&Truth>,
    ) -> bool {
        let Some((truth, record)) = recorded(truth, &import.secret_ref.name) else {
            return true;
        };
        import.delete_after_import.unwrap_or(false)
            || asked_again(secret).is_some_and(|uid| uid != record.source_uid)
            || lacks(import, record, truth)
    }

    pub(crate) fn new(name: &str, secret: Option<Secret>) -> Self {
        let found = secret.map(|secret| Found {
            uid: secret.uid().unwrap_or_default(),
            resource_version: secret.resource_version().unwrap_or_default(),
            data: plain(secret),
        });
        Self {
            name: name.to_owned(),
            found,
        }
    }
}

/// The record of an import, if it was done.
pub(crate) fn record_of<'a>(manifest: &'a Manifest, name: &str) -> Option<&'a ImportRecord> {
    manifest
        .imports()
        .iter()
        .find(|record| record.secret == name)
}

/// The truth, and its record of an import, if that was done.
pub(crate) fn recorded<'a>(
    truth: Option<&'a Truth>,
    name: &str,
) -> Option<(&'a Truth, &'a ImportRecord)> {
    let truth = truth?;
    Some((truth, record_of(&truth.manifest, name)?))
}

/// Whether keys are wanted that were never imported, or were given up since: neither has an old value to keep.
pub(super) fn lacks(import: &Import, record: &ImportRecord, truth: &Truth) -> bool {
    let absent = |key: &String| !record.keys.contains(key) || truth.current.get(key).is_none();
    match &import.secret_ref.keys {
        Some(keys) => keys.iter().any(absent),
        None => !record.all || record.keys.iter().any(absent),
    }
}

/// UID of a Secret that the user wants to be imported once more.
pub(super) fn asked_again(secret: &ManagedSecret) -> Option<&str> {
    secret
        .annotations()
        .get(ANNOTATION_IMPORT)
        .map(String::as_str)
}

/// The data of a Secret in memory that is wiped.
pub(crate) fn plain(secret: Secret) -> BTreeMap<String, SecretBytes> {
    let data = secret.data.unwrap_or_default();
    data.into_iter()
        .map(|(key, bytes)| (key, SecretBytes::from(bytes.0)))
        .collect()
}
