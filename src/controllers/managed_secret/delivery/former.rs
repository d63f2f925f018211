//! What becomes of targets that are not wanted any more.
//!
//! One of another name goes at once, or stays for good, as its policy says. Where a Secret has one content for life, now or before,
//! who refers to the former one cannot follow by himself: it goes when nothing refers to it any more. The one before the present one
//! stays in any case, so that a workload that is rolled back finds it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::observe::Observed;
use super::super::spec::is_immutable;
use super::super::step::{Step, TargetState, TargetWrite};
use super::immutable::{Place, is_in_series, name_so_far};
use super::target::{Target, deletion_policy};
use crate::api::managed_secret::{DeletionPolicy, Existing, Form};
use crate::crypto::SecretBytes;
use crate::secrets::{Manifest, ManifestError, SecretValue, TargetRecord};

/// How long until the next look at who uses former targets. Nobody waits for their end, and each look lists what is in the namespace.
const AGAIN: Duration = Duration::from_secs(600);

/// What becomes of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is nobody's business any more.
    Leave,
    /// It stays: it is the one before the present one.
    Stay,
    /// It stays until nothing refers to it.
    Wait,
    /// It goes.
    Go,
}

/// What becomes of all of them.
#[derive(Default)]
pub(crate) struct Former {
    /// What is done.
    pub(crate) steps: Vec<Step>,
    /// Names of those that are kept.
    pub(crate) kept: Vec<String>,
    /// How long until the next look, if one of them goes as soon as nothing refers to it.
    pub(crate) again: Option<Duration>,
}

/// A Secret that was found, and that is ours.
fn found<'a>(seen: &'a Observed, name: &str) -> Option<&'a Target> {
    let mut all = seen.target.iter().chain(&seen.leftovers);
    all.find(|target| target.name == name && target.is_ours())
}

/// Whether there is a Secret of ours of that name.
pub(super) fn is_found(seen: &Observed, name: &str) -> bool {
    found(seen, name).is_some()
}

/// Name of the Secret with the content before the present one.
fn previous<'a>(
    seen: &Observed,
    records: &'a [TargetRecord],
    wanted: Option<&str>,
) -> Option<&'a str> {
    // What is written down and was never made is none.
    let is_it = |record: &&TargetRecord| {
        is_in_series(&seen.secret, record)
            && wanted != Some(&record.name)
            && is_found(seen, &record.name)
    };
    let mut latest = records.iter().rev();
    latest.find(is_it).map(|record| record.name.as_str())
}

/// Whether one goes only when nothing refers to it.
fn is_for_its_users(seen: &Observed, record: &TargetRecord) -> bool {
    record.fixed.is_some() || is_immutable(&seen.secret)
}

/// Whether one stays for good. What a series leaves behind does not: there would be ever more.
fn is_left(seen: &Observed, record: &TargetRecord) -> bool {
    deletion_policy(&seen.secret) == DeletionPolicy::Retain && !is_in_series(&seen.secret, record)
}

fn fate(seen: &Observed, record: &TargetRecord, previous: Option<&str>) -> Fate {
    if is_left(seen, record) {
        return Fate::Leave;
    }
    if !is_for_its_users(seen, record) {
        return Fate::Go;
    }
    if previous == Some(&record.name) {
        return Fate::Stay;
    }
    // Who was not looked for may be there.
    let users = seen
        .users
        .as_ref()
        .ok()
        .and_then(|all| all.get(&record.name));
    if users.is_some_and(Vec::is_empty) {
        Fate::Go
    } else {
        Fate::Wait
    }
}

/// Names of targets whose users have to be known. None for a secret that was left in peace since its last change.
pub(super) fn with_users(seen: &Observed) -> BTreeSet<String> {
    let manifest = seen.truth.manifest();
    let records = manifest.map(Manifest::targets).unwrap_or_default();
    let wanted = name_so_far(&seen.secret, manifest);
    let previous = previous(seen, records, wanted.as_deref());
    let matters = |record: &&TargetRecord| {
        wanted.as_ref() != Some(&record.name)
            && is_found(seen, &record.name)
            && fate(seen, record, previous) == Fate::Wait
    };
    let those = records.iter().filter(matters);
    those.map(|record| record.name.clone()).collect()
}

/// Writes down which targets there are, before they are: so that none is ever forgotten. `form`: in which what is delivered now is.
pub(crate) fn record(
    seen: &Observed,
    place: Option<&Place>,
    form: Form,
    manifest: &mut Manifest,
) -> Result<(), ManifestError> {
    let wanted = place.map(|place| place.name.as_str());
    for record in manifest.targets().to_vec() {
        let is_gone = is_left(seen, &record) || !is_found(seen, &record.name);
        if wanted != Some(&record.name) && is_gone {
            manifest.forget_target(&record.name)?;
        }
    }
    if let Some(place) = place {
        let existing = found(seen, &place.name).map(|target| target.existing);
        manifest.record_target(TargetRecord {
            name: place.name.clone(),
            form,
            existing: existing.unwrap_or_else(|| super::deliver::wanted_existing(seen)),
            deletion_policy: deletion_policy(&seen.secret),
            fixed: place.fixed.clone(),
        })?;
    }
    Ok(())
}

/// What becomes of targets that are not wanted any more. `manifest`: in which they are written down. `stood`: all was as it should be,
/// and nothing was asked since.
pub(crate) fn plan(
    seen: &Observed,
    place: Option<&Place>,
    manifest: &Manifest,
    stood: bool,
) -> Former {
    let wanted = place.map(|place| place.name.as_str());
    let records = manifest.targets();
    let previous = previous(seen, records, wanted);
    let mut former = Former::default();
    for record in records.iter().filter(|record| wanted != Some(&record.name)) {
        let Some(target) = found(seen, &record.name) else {
            continue;
        };
        let fate = fate(seen, record, previous);
        match fate {
            Fate::Leave => {}
            Fate::Go => former.steps.push(step(target)),
            Fate::Stay | Fate::Wait => {
                former.kept.push(record.name.clone());
                former.steps.extend(dress(target, record, stood));
            }
        }
        if fate == Fate::Wait {
            former.again = Some(AGAIN);
        }
    }
    former
}

/// Puts labels, annotations and owner of one right that stays, so that what its policy says now holds for it. Its data stay.
fn dress(target: &Target, record: &TargetRecord, stood: bool) -> Option<Step> {
    record.fixed.as_ref().filter(|_| !target.dressed)?;
    let mut content = SecretValue::new();
    for (key, bytes) in &target.delivered {
        let bytes = SecretBytes::copy_of(bytes.expose());
        // What does not fit was not written by us.
        content.insert(key.clone(), bytes).ok()?;
    }
    Some(Step::ApplyTarget(Box::new(TargetWrite {
        name: target.name.clone(),
        content,
        type_: target.type_.clone(),
        seal_under: None,
        immutable: true,
        existing: target.existing,
        over: Some(TargetState::of(target)),
        repair: stood,
        reencryption: false,
    })))
}

fn step(target: &Target) -> Step {
    match target.existing {
        Existing::Merge => Step::ReleaseTarget(TargetState::of(target)),
        Existing::Fail | Existing::Adopt => Step::DeleteTarget(TargetState::of(target)),
    }
}

/// What is said of those whose users cannot be found out.
pub(crate) fn note(seen: &Observed, former: &Former) -> Option<String> {
    let problem = seen
        .users
        .as_ref()
        .err()
        .filter(|_| former.again.is_some())?;
    Some(format!(
        "former Secrets stay, since who uses them cannot be found out: {problem}"
    ))
}
