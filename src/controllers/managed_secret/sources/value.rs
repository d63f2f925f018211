//! The next version of a secret: from what it is, what its spec says, and what is imported.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;

use super::super::key::KeySeen;
use super::super::observe::Observed;
use super::super::requests::regeneration;
use super::super::sharing::replication;
use super::super::spec::user_context;
use super::super::step::{Refusal, context_refused, internal, with_causes};
use super::super::truth::base::{Base, base};
use super::super::truth::history::fit;
use super::asked::{self, ChangeSeen, Verdict};
use super::back::go_back;
use super::generated::{self, generators};
use super::imports::{WantedImport, wanted_imports};
use super::rotated::{self, substituted, substitutes};
use super::sealed;
use super::takeover::{backup, taken_over};
use crate::api::Reason;
use crate::api::managed_secret::StoredKeys;
use crate::crypto::{KeyId, Random, SecretBytes};
use crate::secrets::{
    AssembleError, Assembled, Authorities, IssuerRef, Kept, Manifest, NamedGenerator, NewVersion,
    RecipeError, SealedKey, SecretValue, Sources, StageLabel, Stored, Substitutes, VersionId,
    assemble, derivations,
};

/// What the truth becomes.
pub(crate) struct Next<'a> {
    /// The manifest.
    pub(crate) manifest: Manifest,
    /// The values that are not stored yet, oldest first; the last one is current.
    pub(crate) fresh: Vec<(String, SecretValue)>,
    /// One that is not stored yet, and pending.
    pub(super) pending: Option<(String, SecretValue)>,
    /// The value of the stored version that becomes current: again, or since it is not pending any more.
    pub(super) stored: Option<&'a SecretValue>,
    /// Whether something is imported now.
    pub(crate) imported: bool,
    /// What was asked for and is not done, in words.
    pub(crate) note: Option<String>,
    /// The labels that are wanted on versions which are not kept.
    pub(crate) unmet: Vec<StageLabel>,
    /// What comes of the change that a call of the API asks for.
    pub(crate) verdict: Option<Verdict>,
}

impl<'a> Next<'a> {
    /// What goes on from `manifest` without a change.
    pub(super) fn from(manifest: Manifest) -> Self {
        Self {
            manifest,
            fresh: Vec::new(),
            pending: None,
            stored: None,
            imported: false,
            note: None,
            unmet: Vec::new(),
            verdict: None,
        }
    }

    /// The current value.
    pub(crate) fn value<'b>(&'b self, base: &'b Base<'_>) -> Result<&'b SecretValue, Refusal>
    where
        'a: 'b,
    {
        let fresh = self.fresh.last().map(|(_, value)| value);
        fresh
            .or(self.stored)
            .or_else(|| base.truth().map(|truth| &truth.current))
            .ok_or_else(|| internal(&"neither a new nor a stored value"))
    }

    /// Whether the current value is another one than before.
    pub(crate) fn is_new(&self) -> bool {
        !self.fresh.is_empty() || self.stored.is_some()
    }

    /// Takes all values out that are not stored yet.
    pub(crate) fn take_unstored(&mut self) -> Vec<(String, SecretValue)> {
        let fresh = std::mem::take(&mut self.fresh);
        fresh.into_iter().chain(self.pending.take()).collect()
    }
}

/// Decides on the next version. All or nothing. `asked`: the change that a call of the API asks for, if it is to be made.
pub(crate) fn next<'a>(
    seen: &'a Observed,
    base: &Base<'_>,
    asked: Option<&'a ChangeSeen>,
    key: KeyId,
    now: Timestamp,
    random: &mut dyn Random,
) -> Result<Next<'a>, Refusal> {
    user_context(&seen.secret).map_err(|error| context_refused(&error))?;
    let wanted = Wanted::of(seen, base)?;
    let mut next = go_back(seen, base, &wanted, now, random)?;
    if next.stored.is_none() {
        go_on(&mut next, seen, base, &wanted, (key, now), random)?;
    }
    if !next.is_new() {
        rotated::rotate(&mut next, seen, base, &wanted, (key, now), random)?;
    }
    if let Some(asked) = asked {
        let at = (key, now);
        let verdict = asked::decide(&mut next, seen, base, &wanted, asked, at, random)?;
        next.verdict = Some(verdict);
    }
    let labels = wanted_labels(seen)?;
    let manifest = &mut next.manifest;
    next.unmet = manifest
        .put_labels(&labels)
        .map_err(|error| internal(&error))?;
    let fresh: Vec<_> = next.fresh.iter().chain(&next.pending).collect();
    if rebind(manifest, seen, key)? || !fresh.is_empty() {
        fit(manifest, &fresh, seen, base, now)?;
    }
    Ok(next)
}

/// What the spec names as sources.
pub(super) struct Wanted<'a> {
    imports: Vec<WantedImport<'a>>,
    sealed: Vec<SealedKey<'a>>,
    generators: Vec<NamedGenerator>,
}

impl<'a> Wanted<'a> {
    fn of(seen: &'a Observed, base: &Base<'_>) -> Result<Self, Refusal> {
        Ok(Self {
            imports: wanted_imports(seen, base)?,
            sealed: sealed::keys(seen)?,
            generators: generators(&seen.secret)?,
        })
    }

    /// A version that is made now, as the spec asks for it.
    pub(super) fn version(
        &self,
        seen: &Observed,
        base: &Base<'_>,
        (key, now): (KeyId, Timestamp),
        random: &mut dyn Random,
    ) -> Result<NewVersion, Refusal> {
        Ok(NewVersion {
            id: VersionId::generate(random).map_err(|error| internal(&error))?,
            created: now,
            key_id: key.to_string(),
            context: seen.secret.spec.encryption_context.clone(),
            derivations: derivations(&self.generators),
            substitutes: substitutes(base).clone(),
        })
    }

    /// Whether a key that is not put with others stays as it is, since the spec names it, and does not say its value each time.
    pub(super) fn keeps(&self, key: &str) -> bool {
        let sealed = || self.sealed.iter().any(|sealed| sealed.key == key);
        let imported = || {
            let mut keys = self.imports.iter().flat_map(WantedImport::keys);
            keys.any(|imported| imported.key == key)
        };
        self.generates(key) || sealed() || imported()
    }

    /// Whether a generator fills that key.
    pub(super) fn generates(&self, key: &str) -> bool {
        self.generator(key).is_some()
    }

    /// The generator that fills that key.
    pub(super) fn generator(&self, key: &str) -> Option<&NamedGenerator> {
        let mut generators = self.generators.iter();
        generators.find(|named| named.keys().any(|filled| filled == key))
    }

    /// Assembles from `current` what is to be kept, and from `previous` what derived keys were made from.
    pub(super) fn assemble(
        &self,
        (current, previous): (Option<&SecretValue>, Option<Stored<'_>>),
        substitutes: &Substitutes,
        issuers: &Authorities,
        seen: &Observed,
        now: Timestamp,
        random: &mut dyn Random,
    ) -> Result<Assembled, AssembleError> {
        let imported: Vec<_> = self.imports.iter().flat_map(WantedImport::keys).collect();
        let spec = &seen.secret.spec;
        let stored = match &spec.stored {
            None => Kept::Nothing,
            Some(StoredKeys { keys: None }) => Kept::Rest,
            Some(StoredKeys { keys: Some(keys) }) => Kept::Keys(keys),
        };
        let sources = Sources {
            issuers,
            current,
            previous,
            literals: &substituted(&spec.literals, substitutes),
            imported: &imported,
            sealed: &self.sealed,
            generators: &self.generators,
            stored,
        };
        assemble(&sources, now, random)
    }
}

/// Assembles the next version from the current one and the sources.
fn go_on(
    next: &mut Next<'_>,
    seen: &Observed,
    base: &Base<'_>,
    wanted: &Wanted<'_>,
    (key, now): (KeyId, Timestamp),
    random: &mut dyn Random,
) -> Result<(), Refusal> {
    let manifest = &mut next.manifest;
    let anew = regeneration(&seen.secret, manifest);
    let taken = taken_over(seen, base)?;
    let current = kept(base, wanted, taken.as_ref(), anew.is_some())?;
    let previous = base.truth().and_then(generated::stored);
    let value = if let Some(replication) = &seen.replication {
        replication::value(replication, base)?
    } else {
        let (kept, issuers) = ((current.as_ref(), previous), &seen.issuers.authorities);
        match wanted.assemble(kept, substitutes(base), issuers, seen, now, random) {
            Ok(Assembled::Changed(value)) => Some(value),
            Ok(Assembled::Unchanged) => current.filter(|_| base.truth().is_none()),
            Err(error) => return Err(refused(&error)),
        }
    };
    // An import that brings what was there already changes nothing but the record.
    let value = value.filter(|value| base.truth().is_none_or(|truth| truth.current != *value));
    if let Some(value) = value {
        if let Some(backup) = backup(seen, base, &value)? {
            let version = wanted.version(seen, base, (key, now), random)?;
            add(manifest, &mut next.fresh, version, backup)?;
        }
        let version = wanted.version(seen, base, (key, now), random)?;
        add(manifest, &mut next.fresh, version, value)?;
    }
    if let Some(token) = anew {
        manifest
            .record_regeneration(&token)
            .map_err(|error| internal(&error))?;
    }
    for record in wanted
        .imports
        .iter()
        .filter_map(|import| import.record(now))
    {
        manifest
            .record_import(record)
            .map_err(|error| internal(&error))?;
    }
    manifest
        .record_sealed(sealed::taken(seen))
        .map_err(|error| internal(&error))?;
    next.imported = wanted.imports.iter().any(|import| import.reading.is_some());
    Ok(())
}

/// The authorities of other secrets that have to sign for the next version. None, where there will be no next version.
pub(super) fn needed_authorities(seen: &Observed, now: Timestamp) -> BTreeSet<IssuerRef> {
    let KeySeen::Usable { .. } = &seen.key else {
        return BTreeSet::new();
    };
    let needed = || {
        let base = base(seen)?;
        let wanted = Wanted::of(seen, &base)?;
        let none = Manifest::default();
        let manifest = base.truth().map_or(&none, |truth| &truth.manifest);
        let anew = rotated::makes_anew(seen) || regeneration(&seen.secret, manifest).is_some();
        let current = kept(&base, &wanted, taken_over(seen, &base)?.as_ref(), anew)?;
        let previous = base.truth().and_then(generated::stored);
        let generators = wanted.generators.iter();
        let needed = generators
            .filter_map(|named| named.needs_authority(current.as_ref(), previous, now))
            .cloned();
        Ok(needed.collect())
    };
    // What is refused here is refused by the plan, which says so.
    needed().unwrap_or_else(|_: Refusal| BTreeSet::new())
}

/// The labels that the spec wants, and on which versions.
fn wanted_labels(seen: &Observed) -> Result<BTreeMap<StageLabel, VersionId>, Refusal> {
    let parse = |(label, id): (&String, &String)| Some((label.parse().ok()?, id.parse().ok()?));
    let labels = seen.secret.spec.version_stages.iter().map(parse);
    // The schema refuses it before.
    labels.collect::<Option<_>>().ok_or_else(|| {
        let message = "spec.versionStages: a label or a version id is not well-formed".to_owned();
        Refusal(Reason::InvalidSpec, message)
    })
}

pub(super) fn add(
    manifest: &mut Manifest,
    fresh: &mut Vec<(String, SecretValue)>,
    version: NewVersion,
    value: SecretValue,
) -> Result<(), Refusal> {
    let id = version.id.to_string();
    manifest
        .add_current(version)
        .map_err(|error| internal(&error))?;
    fresh.push((id, value));
    Ok(())
}

/// Says of every kept version that it is sealed under the key and the pairs that the spec names now; what is
/// sealed otherwise is sealed anew when the truth is written. Returns whether anything changed.
fn rebind(manifest: &mut Manifest, seen: &Observed, key: KeyId) -> Result<bool, Refusal> {
    let mut changed = false;
    let ids: Vec<_> = manifest
        .versions()
        .iter()
        .map(|version| version.id.clone())
        .collect();
    for id in ids {
        changed |= manifest
            .bind(&id, &key.to_string(), &seen.secret.spec.encryption_context)
            .map_err(|error| internal(&error))?;
    }
    Ok(changed)
}

/// The current value as the next one is assembled from it: without what is imported anew, nor, if that is asked for, what is
/// generated; and for a secret that takes an existing Secret over, what that one holds.
pub(super) fn kept(
    base: &Base<'_>,
    wanted: &Wanted<'_>,
    taken: Option<&SecretValue>,
    regenerate: bool,
) -> Result<Option<SecretValue>, Refusal> {
    let Some(current) = base.truth().map(|truth| &truth.current).or(taken) else {
        return Ok(None);
    };
    // What is taken over is in use, and new to us.
    let regenerate = regenerate && base.truth().is_some();
    let generated = |key: &str| wanted.generates(key);
    let imported = |key: &str| {
        let mut imports = wanted.imports.iter();
        imports.any(|import| import.again && import.keys.contains(key))
    };
    let anew = |key: &str| imported(key) || regenerate && generated(key);
    let kept = current.iter().filter(|(key, _)| !anew(key));
    copy_of(kept).map(Some)
}

pub(crate) fn copy_of<'a>(
    entries: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Result<SecretValue, Refusal> {
    let mut value = SecretValue::new();
    for (key, bytes) in entries {
        value
            .insert(key.to_owned(), SecretBytes::copy_of(bytes))
            .map_err(|error| Refusal(Reason::ValueTooLarge, error.to_string()))?;
    }
    Ok(value)
}

pub(crate) fn refused(error: &AssembleError) -> Refusal {
    let reason = match error {
        AssembleError::DuplicateKey { .. } => Reason::DuplicateKey,
        AssembleError::ImportMissing { .. } => Reason::ImportSourceMissing,
        AssembleError::SealedMissing { .. } => Reason::SourceLost,
        AssembleError::Value(_) => Reason::ValueTooLarge,
        AssembleError::Generate { source, .. } => match source {
            RecipeError::IssuerNotReady { .. } => Reason::IssuerNotReady,
            RecipeError::SignedAnew { .. } => Reason::Waiting,
            _ => Reason::InvalidSpec,
        },
        AssembleError::Empty
        | AssembleError::KeyName { .. }
        | AssembleError::StoredMissing { .. } => Reason::InvalidSpec,
    };
    Refusal(reason, with_causes(error))
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
