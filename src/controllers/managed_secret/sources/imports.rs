//! Imports of a secret: what is to be taken from which Secret, and what becomes of the Secret afterwards.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;

use super::super::observe::Observed;
use super::super::spec::target_name;
use super::super::step::{Refusal, Step, TargetState};
use super::super::truth::base::Base;
use super::native::{Found, Source, asked_again, lacks, record_of, recorded};
use crate::api::Reason;
use crate::api::managed_secret::Import;
use crate::api::names::ANNOTATION_IMPORT;
use crate::crypto::SecretBytes;
use crate::secrets::{ImportRecord, ImportedKey};

/// One entry of `spec.import`, with what is to be taken.
pub(super) struct WantedImport<'a> {
    pub(super) name: &'a str,
    /// The keys that come from it.
    pub(super) keys: BTreeSet<String>,
    /// Whether these are all keys of it, and not some by name.
    all: bool,
    /// What is read now; `None` if it was imported before.
    pub(super) reading: Option<&'a Found>,
    /// Whether the values of the current version give way to those read now.
    pub(super) again: bool,
}

impl WantedImport<'_> {
    pub(crate) fn keys(&self) -> impl Iterator<Item = ImportedKey<'_>> {
        self.keys.iter().map(|key| ImportedKey {
            key,
            secret: self.name,
            bytes: self
                .reading
                .and_then(|found| found.data.get(key))
                .map(SecretBytes::expose),
        })
    }

    pub(crate) fn record(&self, now: Timestamp) -> Option<ImportRecord> {
        self.reading.map(|found| ImportRecord {
            secret: self.name.to_owned(),
            source_uid: found.uid.clone(),
            time: now,
            keys: self.keys.clone(),
            all: self.all,
        })
    }
}

/// What is to be imported. A Secret that was imported is not read again, whatever became of it, unless the user
/// asks for it by its UID or for more of its keys.
pub(super) fn wanted_imports<'a>(
    seen: &'a Observed,
    base: &Base<'_>,
) -> Result<Vec<WantedImport<'a>>, Refusal> {
    let want = |import| want_import(import, seen, base);
    seen.secret.spec.import.iter().map(want).collect()
}

fn want_import<'a>(
    import: &'a Import,
    seen: &'a Observed,
    base: &Base<'_>,
) -> Result<WantedImport<'a>, Refusal> {
    let name = import.secret_ref.name.as_str();
    let source = seen.sources.iter().find(|source| source.name == name);
    let found = source.and_then(|source| source.found.as_ref());
    let recorded = recorded(base.truth(), name);
    let asked = import.secret_ref.keys.as_ref();
    if let Some((truth, record)) = recorded {
        let again = found.filter(|found| {
            found.uid != record.source_uid && asked_again(&seen.secret) == Some(&found.uid)
        });
        if again.is_none() && !lacks(import, record, truth) {
            let keys = asked.map_or_else(
                || record.keys.clone(),
                |keys| keys.iter().cloned().collect(),
            );
            return Ok(WantedImport {
                name,
                keys,
                all: asked.is_none(),
                reading: None,
                again: false,
            });
        }
        if again.is_none() && found.is_some_and(|found| found.uid != record.source_uid) {
            return Err(Refusal(
                Reason::ImportSourceMissing,
                format!(
                    "Secret {name} is not the one that was imported before, so that no further keys are taken from it; the \
                 annotation {ANNOTATION_IMPORT} with its UID imports it anew"
                ),
            ));
        }
    }
    let Some(found) = found else {
        let message = format!("Secret {name}, to be imported, does not exist");
        return Err(Refusal(Reason::ImportSourceMissing, message));
    };
    let keys: BTreeSet<String> = asked.map_or_else(
        || found.data.keys().cloned().collect(),
        |keys| keys.iter().cloned().collect(),
    );
    if let Some(key) = keys.iter().find(|key| !found.data.contains_key(*key)) {
        let message = format!("Secret {name}, to be imported, has no key {key}");
        return Err(Refusal(Reason::ImportSourceMissing, message));
    }
    let again = recorded.is_some_and(|(_, record)| record.source_uid != found.uid);
    Ok(WantedImport {
        name,
        keys,
        all: asked.is_none(),
        reading: Some(found),
        again,
    })
}

/// Whether the spec asks for sources to be deleted.
pub(crate) fn removes_sources(seen: &Observed) -> bool {
    let imports = &seen.secret.spec.import;
    imports
        .iter()
        .any(|import| import.delete_after_import.unwrap_or(false))
}

/// Deletes Secrets that were imported, as asked; says which hold what is stored nowhere else and therefore stay.
pub(crate) fn remove_sources(seen: &Observed, base: &Base<'_>) -> (Vec<Step>, Option<String>) {
    let mut steps = Vec::new();
    let mut note = None;
    let Some(truth) = base.truth() else {
        return (steps, note);
    };
    for import in &seen.secret.spec.import {
        let name = &import.secret_ref.name;
        let source = seen.sources.iter().find(|source| source.name == *name);
        let found = source.and_then(|source: &Source| source.found.as_ref());
        let (Some(found), Some(record)) = (found, record_of(&truth.manifest, name)) else {
            continue;
        };
        let asked = import.delete_after_import.unwrap_or(false);
        let is_target = target_name(&seen.secret).is_some_and(|target| target == *name);
        if !asked || found.uid != record.source_uid || is_target {
            continue;
        }
        let stored = |(key, bytes): (&String, &SecretBytes)| {
            truth
                .current
                .get(key)
                .is_some_and(|stored| stored == bytes.expose())
        };
        if found.data.iter().all(stored) {
            steps.push(Step::DeleteSource(TargetState {
                name: name.clone(),
                uid: found.uid.clone(),
                resource_version: found.resource_version.clone(),
            }));
        } else {
            note = Some(format!(
                "Secret {name} holds what is not stored here, as it was changed after its import or not all of it is \
                 imported; it is not deleted"
            ));
        }
    }
    (steps, note)
}
