//! The status of a key, and when the next look is. Pure.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::import::{self, Found};
use super::observe::{Material, Observed};
use super::plan::{Plan, Step, enabled, held};
use super::policy;
use super::rotation;
use super::usage;
use crate::api::condition::{self, NewCondition};
use crate::api::managed_key::KeyVersionStatus;
use crate::api::{
    ConditionType, KeyDependents, KeyMaterial, KeyState, ManagedKeyStatus, MaterialGeneration,
    Reason,
};
use crate::controllers::restore;
use crate::crypto::{SecretKey, public_key_pem};
use crate::keys::{self, Algorithms};

/// How soon envelopes under old material are counted again while they get fewer.
const COUNT_SOON: Duration = Duration::from_secs(5);
/// And otherwise.
const COUNT_SELDOM: Duration = Duration::from_secs(60);

/// How soon a key whose rotation or destruction waits is looked at again.
const HELD_LOOK: SignedDuration = SignedDuration::from_secs(30);
/// How often a namespace is looked for that a policy speaks of and that is not there.
const LOOK_FOR_NAMESPACES: SignedDuration = SignedDuration::from_secs(60);
/// How soon the Secret of an import that is missing or refused is looked at again.
const SOURCE_LOOK: SignedDuration = SignedDuration::from_secs(15);

/// When a namespace that the policy in force speaks of is looked for again: nobody tells when it is made.
fn next_namespace(seen: &Observed, truth: &KeyMaterial, now: Timestamp) -> Option<Timestamp> {
    let missing = policy::missing(seen, &truth.spec.policy);
    (!missing.is_empty()).then(|| now + LOOK_FOR_NAMESPACES)
}

/// The plan with its status.
pub(super) fn say(
    seen: &Observed,
    steps: Vec<Step>,
    material: Option<&Material>,
    ready: NewCondition,
    now: Timestamp,
) -> Plan {
    let old = seen.key.status.clone().unwrap_or_default();
    let generation = seen.key.metadata.generation.unwrap_or_default();
    let mut conditions: Vec<Condition> = old.conditions.clone();
    condition::set(&mut conditions, ready.clone(), generation, now);
    let hold = held(seen, material, now);
    match hold {
        Some(hold) => {
            let told = NewCondition {
                condition: ConditionType::RestoreSuspected,
                status: true,
                reason: Reason::RestoreSuspected,
                message: restore::describe(hold),
            };
            condition::set(&mut conditions, told, generation, now);
        }
        None => condition::remove(&mut conditions, ConditionType::RestoreSuspected),
    }
    if let Some(material) = material {
        usage::alarm(&mut conditions, seen, material, generation, now);
    }
    // A key that cannot be used is not rotated, however long ago that was due, and nothing is encrypted anew under it.
    let usable = material.filter(|_| ready.status);
    let next = usable.and_then(|material| next_rotation(seen, &material.truth));
    let counted = usable.and_then(|_| progress(seen, &old));
    let shown = old.dependents.as_ref().map(|shown| shown.secrets);
    // While it waits, an administrator may end that at any time.
    let held = hold.map(|_| now + HELD_LOOK);
    // What is due already and waits is no instant to look at.
    let due = next.filter(|next| hold.is_none() || *next > now);
    let look = [
        due,
        counted.map(|wait| now + wait),
        held,
        usable.and_then(|material| next_namespace(seen, &material.truth, now)),
        // What is due and waits, for a trusted time or the end of a hold, is not looked at without a pause.
        material
            .and_then(|material| import::next(&material.truth.spec))
            .map(|next| if next > now { next } else { now + SOURCE_LOOK }),
        source_look(seen, &ready, now),
    ];
    let status = match material {
        // What was known stays shown: an id that disappears from a status looks like a new key.
        None => ManagedKeyStatus {
            observed_generation: Some(generation),
            state: Some(match ready.reason {
                Reason::Creating => KeyState::Creating,
                _ => KeyState::Unavailable,
            }),
            conditions,
            ..old
        },
        Some(material) => ManagedKeyStatus {
            observed_generation: Some(generation),
            key_id: Some(material.truth.name_any()),
            arn: Some(material.truth.spec.arn.clone()),
            state: Some(state_of(&ready, seen)),
            current_version: material.truth.spec.generations.last().map(|g| g.version),
            deletion_time: material
                .truth
                .spec
                .deletion
                .as_ref()
                .map(|d| d.date.clone()),
            last_used: usage::last_used(old.last_used, &seen.uses),
            // What was shown last, if it is not known now.
            dependents: seen
                .dependents
                .or(shown)
                .map(|secrets| dependents(secrets, &material.truth)),
            next_rotation_time: next.map(Time),
            versions: versions(seen, &old.versions, &material.truth),
            ..described(material, conditions)
        },
    };
    Plan {
        steps,
        status: Some(status),
        ready: Some(ready),
        next: look.into_iter().flatten().min(),
    }
}

/// When to look again for material to import: nobody tells of a Secret that comes or changes.
fn source_look(seen: &Observed, ready: &NewCondition, now: Timestamp) -> Option<Timestamp> {
    let source = matches!(seen.import, Some(Found::Missing(_) | Found::Refused(_)));
    let waits = matches!(
        ready.reason,
        Reason::ImportSourceMissing | Reason::ImportRefused
    );
    (source && waits).then(|| now + SOURCE_LOOK)
}

/// What the key can be used with. What was known of one that is not loaded yet is seen again soon.
fn described(material: &Material, conditions: Vec<Condition>) -> ManagedKeyStatus {
    let spec = &material.truth.spec;
    let kind = keys::kind(spec.key_spec, spec.key_usage);
    let algorithms = kind.map(Algorithms::of).unwrap_or_default();
    let texts = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    let current = material.loaded.as_ref().and_then(|key| key.current());
    let secret = current.and_then(|generation| generation.material.as_ref().ok());
    ManagedKeyStatus {
        public_key: secret.and_then(SecretKey::public_key).map(public_key_pem),
        encryption_algorithms: texts(algorithms.encryption),
        signing_algorithms: texts(algorithms.signing),
        mac_algorithms: texts(algorithms.mac),
        import: material
            .truth
            .name_any()
            .parse()
            .ok()
            .and_then(|id| import::status(id, spec)),
        valid_to: spec.import.as_ref().and_then(|i| i.valid_to.clone()),
        conditions,
        ..ManagedKeyStatus::default()
    }
}

/// When the key is rotated next by itself.
fn next_rotation(seen: &Observed, truth: &KeyMaterial) -> Option<Timestamp> {
    let id = truth.name_any().parse().ok()?;
    rotation::next(&seen.key, id, &truth.spec.rotation).filter(|_| !rotation::is_full(&truth.spec))
}

/// How long until what still needs old material is counted again: soon while it gets less, otherwise now and then. Truth that
/// waits to be adopted is not encrypted anew, and may need old material for weeks.
fn progress(seen: &Observed, old: &ManagedKeyStatus) -> Option<Duration> {
    let counted = seen.references.as_ref()?;
    let truth = &seen.material.as_ref()?.truth;
    let (_, former) = truth.spec.generations.split_last()?;
    let needed = |id: &String| counted.get(id).copied().unwrap_or_default();
    if former.iter().all(|g| needed(&g.material_id) == 0) {
        return None;
    }
    let told = |g: &MaterialGeneration| shown(&old.versions, g) == Some(needed(&g.material_id));
    Some(if former.iter().all(told) {
        COUNT_SELDOM
    } else {
        COUNT_SOON
    })
}

/// How many secrets need that generation, as it was shown.
fn shown(versions: &[KeyVersionStatus], generation: &MaterialGeneration) -> Option<u32> {
    let mut versions = versions.iter();
    let shown = versions.find(|v| v.material_id == generation.material_id);
    shown?.references
}

fn dependents(secrets: u32, truth: &KeyMaterial) -> KeyDependents {
    let grants = truth.spec.grants.iter().filter(|grant| !grant.expired);
    KeyDependents {
        secrets,
        grants: u32::try_from(grants.count()).unwrap_or(u32::MAX),
    }
}

fn state_of(ready: &NewCondition, seen: &Observed) -> KeyState {
    match ready.reason {
        // The key goes on as it was.
        Reason::InvalidSpec if enabled(seen) => KeyState::Enabled,
        Reason::Enabled => KeyState::Enabled,
        Reason::InvalidSpec | Reason::Disabled => KeyState::Disabled,
        Reason::Creating => KeyState::Creating,
        Reason::PendingImport | Reason::ImportRefused | Reason::ImportSourceMissing => {
            KeyState::PendingImport
        }
        Reason::PendingDeletion => KeyState::PendingDeletion,
        Reason::DestructionDue | Reason::DeletionBlocked => KeyState::DestructionDue,
        _ => KeyState::Unavailable,
    }
}

fn versions(
    seen: &Observed,
    old: &[KeyVersionStatus],
    truth: &KeyMaterial,
) -> Vec<KeyVersionStatus> {
    let current = truth.spec.generations.last().map(|g| g.version);
    let references = |g: &MaterialGeneration| match &seen.references {
        _ if current == Some(g.version) => None,
        Some(counted) => Some(counted.get(&g.material_id).copied().unwrap_or_default()),
        None => shown(old, g),
    };
    let version = |g: &MaterialGeneration| KeyVersionStatus {
        version: g.version,
        material_id: g.material_id.clone(),
        created: Time(g.created.0),
        references: references(g),
    };
    truth.spec.generations.iter().map(version).collect()
}
