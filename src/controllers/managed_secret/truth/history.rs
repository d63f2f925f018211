//! How much of a secret's past is kept: by number, by age, and by the room that one native Secret has.

use kube::ResourceExt;

use k8s_openapi::jiff::Timestamp;

use super::super::observe::Observed;
use super::super::step::{Refusal, context_refused, internal};
use super::base::Base;
use crate::api::Reason;
use crate::crypto::{ContextError, max_sealed_length};
use crate::secrets::{Manifest, Retention, SecretValue, VersionRecord, version_context};

/// Most bytes of versions in one Secret: its data may have 1,048,576, of which some are for the rest of the manifest.
const MAX_VERSIONS_SIZE: usize = 960 * 1024;

/// Drops what is not kept any more, and refuses what would not fit.
pub(crate) fn fit(
    manifest: &mut Manifest,
    fresh: &[&(String, SecretValue)],
    seen: &Observed,
    base: &Base<'_>,
    now: Timestamp,
) -> Result<(), Refusal> {
    manifest
        .prune(now, Retention::DEFAULT)
        .map_err(|error| internal(&error))?;
    let mut sizes = std::collections::BTreeMap::new();
    for version in manifest.versions() {
        let size = size(version, fresh, seen, base).map_err(|error| context_refused(&error))?;
        sizes.insert(version.id.clone(), size);
    }
    let size = |version: &VersionRecord| sizes[&version.id];
    manifest.make_room(size, MAX_VERSIONS_SIZE);
    let total: usize = manifest.versions().iter().map(size).sum();
    if total <= MAX_VERSIONS_SIZE {
        return Ok(());
    }
    let message = format!(
        "the versions that have a stage take {total} bytes of ciphertext together, more than the {MAX_VERSIONS_SIZE} that there \
         is room for; take labels out of spec.versionStages, or use smaller values or a smaller encryption context"
    );
    Err(Refusal(Reason::ValueTooLarge, message))
}

/// How much room a version takes at most: its envelope under the pairs that it is bound to now, and its record.
fn size(
    version: &VersionRecord,
    fresh: &[&(String, SecretValue)],
    seen: &Observed,
    base: &Base<'_>,
) -> Result<usize, ContextError> {
    let (namespace, name) = (
        seen.secret.namespace().unwrap_or_default(),
        seen.secret.name_any(),
    );
    let context = version_context(&namespace, &name, version)?;
    let stored = base
        .truth()
        .and_then(|truth| truth.stored.versions.get(version.id.as_str()));
    let value = fresh.iter().find(|(id, _)| id == version.id.as_str());
    // An envelope is longer than its plaintext, so that what is stored bounds what it becomes under other pairs.
    let plaintext = match (value, stored) {
        (Some((_, value)), _) => value.encoded_length(),
        (None, Some(envelope)) => envelope.len(),
        (None, None) => 0,
    };
    Ok(max_sealed_length(plaintext, &context) + version.json_length())
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
