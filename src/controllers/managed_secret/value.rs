//! The next version of a secret: from what it is, what its spec says, and what is imported.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;

use super::base::Base;
use super::observe::Observed;
use super::sealed;
use super::source::{Found, Source, asked_again, lacks, record_of, recorded};
use super::spec::{target_name, user_context};
use super::step::{Refusal, Step, TargetState, context_refused, internal, with_causes};
use super::target::Owner;
use crate::api::Reason;
use crate::api::managed_secret::{Existing, Import};
use crate::crypto::{KeyId, Random, SecretBytes};
use crate::secrets::{
    AssembleError, Assembled, ImportRecord, ImportedKey, Manifest, NamedGenerator, NewVersion,
    SecretValue, Sources, VersionId, assemble,
};

/// Versions kept beyond those with a stage, while there is room.
const MAX_VERSIONS: usize = 10;

/// What the truth becomes.
pub(super) struct Next {
    /// The manifest.
    pub(super) manifest: Manifest,
    /// The values that are not stored yet, oldest first; the last one is current.
    pub(super) fresh: Vec<(String, SecretValue)>,
    /// Whether something is imported now.
    pub(super) imported: bool,
}

impl Next {
    /// The current value.
    pub(super) fn value<'a>(&'a self, base: &'a Base<'_>) -> Result<&'a SecretValue, Refusal> {
        let fresh = self.fresh.last().map(|(_, value)| value);
        fresh
            .or_else(|| base.truth().map(|truth| &truth.current))
            .ok_or_else(|| internal(&"neither a new nor a stored value"))
    }
}

/// Assembles the next version. All or nothing.
pub(super) fn next(
    seen: &Observed,
    base: &Base<'_>,
    key: KeyId,
    now: Timestamp,
    random: &mut dyn Random,
) -> Result<Next, Refusal> {
    user_context(&seen.secret).map_err(|error| context_refused(&error))?;
    let mut manifest = base
        .truth()
        .map_or_else(Manifest::new, |truth| truth.manifest.clone());
    let taken = taken_over(seen, base)?;
    let wanted = wanted_imports(seen, base)?;
    let current = current_without_reimports(base, &wanted, taken.as_ref())?;
    let imported: Vec<_> = wanted.iter().flat_map(WantedImport::keys).collect();
    let generators = seen
        .secret
        .spec
        .generate
        .iter()
        .map(NamedGenerator::try_from);
    let generators = generators
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| refused(&error))?;
    let sealed = sealed::keys(seen)?;
    let sources = Sources {
        current: current.as_ref(),
        literals: &seen.secret.spec.literals,
        imported: &imported,
        sealed: &sealed,
        generators: &generators,
    };
    let assembled = assemble(&sources, random).map_err(|error| refused(&error))?;
    let value = match assembled {
        Assembled::Changed(value) => Some(value),
        Assembled::Unchanged => current.filter(|_| base.truth().is_none()),
    };
    // An import that brings what was there already changes nothing but the record.
    let value = value.filter(|value| base.truth().is_none_or(|truth| truth.current != *value));
    let mut fresh = Vec::new();
    if let Some(value) = value {
        if let Some(backup) = backup(seen, base, &value)? {
            add(&mut manifest, &mut fresh, backup, seen, key, now, random)?;
        }
        add(&mut manifest, &mut fresh, value, seen, key, now, random)?;
        manifest
            .prune(now, MAX_VERSIONS)
            .map_err(|error| internal(&error))?;
    }
    for import in &wanted {
        if let Some(record) = import.record(now) {
            manifest
                .record_import(record)
                .map_err(|error| internal(&error))?;
        }
    }
    manifest
        .record_sealed(sealed::taken(seen))
        .map_err(|error| internal(&error))?;
    rebind(&mut manifest, seen, key)?;
    let imported = wanted.iter().any(|import| import.reading.is_some());
    Ok(Next {
        manifest,
        fresh,
        imported,
    })
}

fn add(
    manifest: &mut Manifest,
    fresh: &mut Vec<(String, SecretValue)>,
    value: SecretValue,
    seen: &Observed,
    key: KeyId,
    now: Timestamp,
    random: &mut dyn Random,
) -> Result<(), Refusal> {
    let id = VersionId::generate(random).map_err(|error| internal(&error))?;
    let version = NewVersion {
        id: id.clone(),
        created: now,
        key_id: key.to_string(),
        context: seen.secret.spec.encryption_context.clone(),
    };
    manifest
        .add_current(version)
        .map_err(|error| internal(&error))?;
    fresh.push((id.to_string(), value));
    Ok(())
}

/// Says of every kept version that it is sealed under the key and the pairs that the spec names now; what is
/// sealed otherwise is sealed anew when the truth is written.
fn rebind(manifest: &mut Manifest, seen: &Observed, key: KeyId) -> Result<(), Refusal> {
    let ids: Vec<_> = manifest
        .versions()
        .iter()
        .map(|version| version.id.clone())
        .collect();
    for id in ids {
        manifest
            .bind(&id, &key.to_string(), &seen.secret.spec.encryption_context)
            .map_err(|error| internal(&error))?;
    }
    Ok(())
}

/// One entry of `spec.import`, with what is to be taken.
struct WantedImport<'a> {
    name: &'a str,
    /// The keys that come from it.
    keys: BTreeSet<String>,
    /// Whether these are all keys of it, and not some by name.
    all: bool,
    /// What is read now; `None` if it was imported before.
    reading: Option<&'a Found>,
    /// Whether the values of the current version give way to those read now.
    again: bool,
}

impl WantedImport<'_> {
    fn keys(&self) -> impl Iterator<Item = ImportedKey<'_>> {
        self.keys.iter().map(|key| ImportedKey {
            key,
            secret: self.name,
            bytes: self
                .reading
                .and_then(|found| found.data.get(key))
                .map(SecretBytes::expose),
        })
    }

    fn record(&self, now: Timestamp) -> Option<ImportRecord> {
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
fn wanted_imports<'a>(
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
                 annotation {} with its UID imports it anew",
                    crate::api::names::ANNOTATION_IMPORT
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

/// The current value as the next one is assembled from it: without what is imported anew, and for a secret that
/// takes an existing Secret over, what that one holds.
fn current_without_reimports(
    base: &Base<'_>,
    wanted: &[WantedImport<'_>],
    taken: Option<&SecretValue>,
) -> Result<Option<SecretValue>, Refusal> {
    let Some(current) = base.truth().map(|truth| &truth.current).or(taken) else {
        return Ok(None);
    };
    let anew = |key: &str| {
        wanted
            .iter()
            .any(|import| import.again && import.keys.contains(key))
    };
    let kept = current.iter().filter(|(key, _)| !anew(key));
    copy_of(kept).map(Some)
}

fn copy_of<'a>(entries: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<SecretValue, Refusal> {
    let mut value = SecretValue::new();
    for (key, bytes) in entries {
        value
            .insert(key.to_owned(), SecretBytes::copy_of(bytes))
            .map_err(|error| Refusal(Reason::ValueTooLarge, error.to_string()))?;
    }
    Ok(value)
}

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

/// The values of generated keys in a Secret that is taken over: somebody uses them, so they are kept.
fn taken_over(seen: &Observed, base: &Base<'_>) -> Result<Option<SecretValue>, Refusal> {
    let Some(target) = seen.target.as_ref().filter(|_| takes_over(seen, base)) else {
        return Ok(None);
    };
    let generated = |key: &str| seen.secret.spec.generate.iter().any(|g| g.key == key);
    let kept = target.delivered.iter().filter(|(key, _)| generated(key));
    copy_of(kept.map(|(key, bytes)| (key.as_str(), bytes.expose()))).map(Some)
}

/// What a Secret that is taken over held under keys that get another value: kept as the previous version.
fn backup(
    seen: &Observed,
    base: &Base<'_>,
    next: &SecretValue,
) -> Result<Option<SecretValue>, Refusal> {
    let Some(target) = seen.target.as_ref().filter(|_| takes_over(seen, base)) else {
        return Ok(None);
    };
    let content = super::deliver::render(seen, next)?;
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

/// Whether the spec asks for sources to be deleted.
pub(super) fn removes_sources(seen: &Observed) -> bool {
    let imports = &seen.secret.spec.import;
    imports
        .iter()
        .any(|import| import.delete_after_import.unwrap_or(false))
}

/// Deletes Secrets that were imported, as asked; says which hold what is stored nowhere else and therefore stay.
pub(super) fn remove_sources(seen: &Observed, base: &Base<'_>) -> (Vec<Step>, Option<String>) {
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

fn refused(error: &AssembleError) -> Refusal {
    let reason = match error {
        AssembleError::DuplicateKey { .. } => Reason::DuplicateKey,
        AssembleError::ImportMissing { .. } => Reason::ImportSourceMissing,
        AssembleError::SealedMissing { .. } => Reason::SourceLost,
        AssembleError::Value(_) => Reason::ValueTooLarge,
        AssembleError::Empty | AssembleError::KeyName { .. } | AssembleError::Generate { .. } => {
            Reason::InvalidSpec
        }
    };
    Refusal(reason, with_causes(error))
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
