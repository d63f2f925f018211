//! Decides what a key needs. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::deletion;
use super::import::{self, Found};
use super::observe::{Material, Observed};
use super::policy;
use super::rotation::{self, Cause};
use super::usage;
use crate::api::condition::{self, NewCondition};
use crate::api::managed_key::KeyVersionStatus;
use crate::api::names::ANNOTATION_APPROVE_ADOPTION;
use crate::api::{
    ConditionType, DeletionRecord, KeyDependents, KeyMaterial, KeyState, ManagedKeyStatus,
    MaterialGeneration, Reason,
};
use crate::controllers::adoption::{Adoption, Claimant, Waiting, adoption, approval_message};
use crate::controllers::restore;
use crate::crypto::{SecretKey, public_key_pem};
use crate::installation::RestoreHold;
use crate::keys::{self, Algorithms};

/// How soon envelopes under old material are counted again while they get fewer.
const COUNT_SOON: SignedDuration = SignedDuration::from_secs(5);
/// And otherwise.
const COUNT_SELDOM: SignedDuration = SignedDuration::from_secs(60);

/// How soon a key whose rotation or destruction waits is looked at again.
const HELD_LOOK: SignedDuration = SignedDuration::from_secs(30);
/// How often a namespace is looked for that a policy speaks of and that is not there.
const LOOK_FOR_NAMESPACES: SignedDuration = SignedDuration::from_secs(60);
/// How soon the Secret of an import that is missing or refused is looked at again.
const SOURCE_LOOK: SignedDuration = SignedDuration::from_secs(15);

/// What to do, and what to say.
pub(crate) struct Plan {
    /// Effects, in order.
    pub(crate) steps: Vec<Step>,
    /// The status to publish; `None` for an object that is going away.
    pub(crate) status: Option<ManagedKeyStatus>,
    /// What of it is worth an Event.
    pub(crate) ready: Option<NewCondition>,
    /// The next instant at which the plan may be another.
    pub(crate) next: Option<Timestamp>,
}

/// One effect.
pub(crate) enum Step {
    /// Make the first generation of a new key.
    Create,
    /// Write over the truth, in exactly the state that it was seen in.
    Replace(Box<KeyMaterial>),
    /// Add a generation to that truth, in exactly the state that it was seen in.
    Rotate(Box<KeyMaterial>, Cause),
    /// Offer a wrapping key for material to import, as that token asks.
    OfferImport(Box<KeyMaterial>, String),
    /// Take the material that was found.
    Import(Box<KeyMaterial>),
}

/// Decides.
pub(crate) fn plan(seen: &Observed, now: Timestamp) -> Plan {
    if seen.key.metadata.deletion_timestamp.is_some() {
        return Plan {
            steps: Vec::new(),
            status: None,
            ready: None,
            next: None,
        };
    }
    if seen.in_operator_namespace {
        let message = "keys cannot live in the operator's own namespace; use another";
        return say(
            seen,
            Vec::new(),
            None,
            NewCondition::not_ready(Reason::OperatorNamespace, message),
            now,
        );
    }
    match &seen.material {
        None => plan_new(seen, now),
        Some(material) => plan_existing(seen, material, now),
    }
}

fn plan_new(seen: &Observed, now: Timestamp) -> Plan {
    let had = seen
        .key
        .status
        .as_ref()
        .and_then(|status| status.key_id.as_deref());
    if let Some(id) = had {
        let message = format!(
            "key material {id} is gone from the operator's namespace; restore it from a backup. Nothing is made in \
             its place: what it encrypted would be lost. To give it up, delete this resource and apply it again"
        );
        return say(
            seen,
            Vec::new(),
            None,
            NewCondition::not_ready(Reason::MaterialMissing, message),
            now,
        );
    }
    creating(seen, now)
}

fn creating(seen: &Observed, now: Timestamp) -> Plan {
    if let Some(problem) = policy::problem(seen) {
        let condition = NewCondition::not_ready(Reason::InvalidSpec, problem.to_string());
        return say(seen, Vec::new(), None, condition, now);
    }
    let condition = NewCondition::not_ready(Reason::Creating, "the key is being made");
    say(seen, vec![Step::Create], None, condition, now)
}

fn plan_existing(seen: &Observed, material: &Material, now: Timestamp) -> Plan {
    let truth = &material.truth;
    let uid = seen.key.uid().unwrap_or_default();
    let claimant = Claimant {
        uid: &uid,
        annotations: seen.key.annotations(),
        namespace: seen.namespace.as_ref(),
    };
    let waiting = Waiting {
        object_uid: &truth.spec.object_uid,
        namespace_uid: &truth.spec.namespace_uid,
        approved: truth
            .annotations()
            .get(ANNOTATION_APPROVE_ADOPTION)
            .map(String::as_str),
    };
    match adoption(&claimant, &waiting) {
        Adoption::Fresh => creating(seen, now),
        Adoption::NeedsApproval => {
            let object = format!("KeyMaterial {}", truth.name_any());
            let message = approval_message(&object, seen.namespace.as_ref());
            let condition = NewCondition::not_ready(Reason::AdoptionNeedsApproval, message);
            say(seen, Vec::new(), None, condition, now)
        }
        Adoption::Own | Adoption::Adopt if truth.spec.destroyed.is_some() => {
            let condition = NewCondition::not_ready(Reason::Destroyed, DESTROYED);
            say(seen, Vec::new(), Some(material), condition, now)
        }
        Adoption::Own | Adoption::Adopt => {
            let step = claimed(seen, truth, &uid, now)
                .map(|wanted| Step::Replace(Box::new(wanted)))
                .or_else(|| import(seen, truth))
                .or_else(|| rotation(seen, material, now));
            let steps = step.into_iter().collect();
            say(seen, steps, Some(material), ready(seen, material, now), now)
        }
    }
}

/// The material that was found, or the offer that is asked for.
fn import(seen: &Observed, truth: &KeyMaterial) -> Option<Step> {
    let truth_as_seen = || Box::new(truth.clone());
    if let Some(Found::Material(_)) = &seen.import {
        return Some(Step::Import(truth_as_seen()));
    }
    let token = import::offer_asked(&seen.key, &truth.spec)?;
    Some(Step::OfferImport(truth_as_seen(), token))
}

/// The rotation that is due. A key whose material cannot be opened is left as it is: there is something to mend first.
fn rotation(seen: &Observed, material: &Material, now: Timestamp) -> Option<Step> {
    let cause = due_rotation(seen, material, now).filter(|_| seen.hold.is_none())?;
    Some(Step::Rotate(Box::new(material.truth.clone()), cause))
}

/// The rotation that is due, be it that it waits.
fn due_rotation(seen: &Observed, material: &Material, now: Timestamp) -> Option<Cause> {
    let loaded = material.loaded.as_ref()?;
    if loaded.generations.iter().any(|g| g.material.is_err()) {
        return None;
    }
    rotation::due(&seen.key, loaded.id, &material.truth.spec, now)
}

/// What is said of a key whose rotation or destruction is due and waits, since a restore is suspected.
fn held<'a>(
    seen: &'a Observed,
    material: Option<&Material>,
    now: Timestamp,
) -> Option<&'a RestoreHold> {
    let (hold, material) = (seen.hold.as_ref()?, material?);
    let ends = material.truth.spec.deletion.as_ref();
    let ends = ends.is_some_and(|record| record.date.0 <= now);
    (ends || due_rotation(seen, material, now).is_some()).then_some(hold)
}

/// The truth as it should be; `None` if it is so.
fn claimed(seen: &Observed, truth: &KeyMaterial, uid: &str, now: Timestamp) -> Option<KeyMaterial> {
    let mut wanted = truth.clone();
    uid.clone_into(&mut wanted.spec.object_uid);
    if let Some(namespace) = &seen.namespace {
        namespace.uid.clone_into(&mut wanted.spec.namespace_uid);
        wanted.annotations_mut().remove(ANNOTATION_APPROVE_ADOPTION);
    }
    wanted.spec.parked_since = None;
    wanted.spec.enabled = enabled(seen);
    let record = truth.spec.deletion.as_ref();
    wanted.spec.deletion = deletion::asked(seen.key.spec.deletion.as_ref(), record, now);
    wanted.spec.rotation = rotation::kept(&seen.key, &truth.spec.rotation, now);
    let adopts = truth.spec.object_uid != uid;
    wanted.spec.policy = policy::kept(seen, &truth.spec.policy, adopts);
    let trusted = seen.trusted_time.filter(|_| seen.hold.is_none());
    import::settle(&seen.key, &mut wanted.spec, now, trusted);
    (wanted.spec != truth.spec).then_some(wanted)
}

fn enabled(seen: &Observed) -> bool {
    seen.key.spec.enabled.unwrap_or(true)
}

fn ready(seen: &Observed, material: &Material, now: Timestamp) -> NewCondition {
    let Some(loaded) = &material.loaded else {
        return NewCondition::not_ready(Reason::Creating, "the key is being loaded");
    };
    let unreadable = loaded
        .generations
        .iter()
        .find_map(|g| Some((g.version, g.material.as_ref().err()?)));
    if let Some((version, error)) = unreadable {
        let message = format!("version {version} of the material cannot be opened: {error}");
        return NewCondition::not_ready(Reason::MaterialUnreadable, message);
    }
    if let Some(record) = &material.truth.spec.deletion {
        return ending(record, seen.dependents.unwrap_or_default(), now);
    }
    if let Some(problem) = policy::problem(seen) {
        let message = format!("{problem}. The policy before stays in force");
        return NewCondition::not_ready(Reason::InvalidSpec, message);
    }
    if import::waits(&material.truth.spec) {
        return import::waiting(&seen.key, &material.truth.spec, seen.import.as_ref(), now);
    }
    if enabled(seen) {
        let truth = &material.truth.spec;
        let note = if rotation::is_asked_in_vain(&seen.key, truth) {
            NOT_ROTATED
        } else if rotation::is_full(truth) {
            FULL
        } else {
            import::note(&seen.key, truth)
        };
        let policy = policy_note(seen, &material.truth);
        NewCondition::ready(Reason::Enabled, format!("{}{note}{policy}", usable(seen)))
    } else {
        NewCondition::not_ready(
            Reason::Disabled,
            "spec.enabled is false: every use of the key is refused",
        )
    }
}

/// Said of a key that is no more.
const DESTROYED: &str = "the material was destroyed; nothing that it encrypted can be read any more. Delete this resource; applied \
                         again, it is another key";

/// Said of a key that somebody asks to rotate, and that is none that is rotated.
const NOT_ROTATED: &str =
    "; a key of its keySpec or origin is not rotated: make a new key, and point an alias at it";

/// Said of a key that cannot be rotated any more.
const FULL: &str = "; it has 256 generations and is not rotated any more: make a new key, and point an alias at it";

/// Said of a key whose resource was made anew with another policy.
const POLICY_IGNORED: &str = "; spec.policy is not the policy in force: this resource took the key over, and its policy with it. It \
                              counts as soon as somebody who may (update on managedkeys/policy) changes it";

/// What is to be known about the policy in force.
fn policy_note(seen: &Observed, truth: &KeyMaterial) -> String {
    let record = &truth.spec.policy;
    if policy::is_ignored(record) {
        return POLICY_IGNORED.to_owned();
    }
    let missing = policy::missing(seen, record);
    if missing.is_empty() {
        return String::new();
    }
    format!(
        "; spec.policy speaks of namespaces that are not there or not served, and gives them nothing yet: {}",
        missing.join(", ")
    )
}

/// When a namespace that the policy in force speaks of is looked for again: nobody tells when it is made.
fn next_namespace(seen: &Observed, truth: &KeyMaterial, now: Timestamp) -> Option<Timestamp> {
    let missing = policy::missing(seen, &truth.spec.policy);
    (!missing.is_empty()).then(|| now + LOOK_FOR_NAMESPACES)
}

/// What is said of a key that waits for its end.
fn ending(record: &DeletionRecord, dependents: u32, now: Timestamp) -> NewCondition {
    let lately = deletion::refused_lately(record, now);
    let (needed, date) = (
        format!("{dependents} stored secrets need it"),
        record.date.0,
    );
    let (reason, message) = match (&record.due, dependents) {
        (None, _) => (
            Reason::PendingDeletion,
            format!(
                "every use is refused; the deletion is due at {date}, and {needed}. Take spec.deletion out to cancel"
            ),
        ),
        (Some(_), 0) if lately.is_some() => (
            Reason::DeletionBlocked,
            format!(
                "the deletion is due since {date}, and no stored secret needs the key, but somebody wanted to use it on {}: find \
                 out who with `keystead audit who-used`. Take spec.deletion out to cancel; or set \
                 spec.deletion.acceptDataLoss to 0 now (if it was set before the date, take it out first)",
                lately.unwrap_or(date).strftime("%Y-%m-%d")
            ),
        ),
        (Some(due), 0) => (
            Reason::DestructionDue,
            format!(
                "the deletion is due since {date}; the material is destroyed a day after {}, for good. Take spec.deletion \
                 out to cancel",
                due.seen.0
            ),
        ),
        (Some(_), count) => (
            Reason::DeletionBlocked,
            format!(
                "the deletion is due since {date}, and {needed}: what they hold would be lost. Take spec.deletion out to \
                 cancel, and give the secrets another key before it is scheduled again; or set spec.deletion.acceptDataLoss to {count} now (a number that was \
                 set before the date does not count: take it out first)"
            ),
        ),
    };
    NewCondition::not_ready(reason, message)
}

/// The message of `Ready=True`. Nobody shall take the embedded root key for more than it is.
fn usable(seen: &Observed) -> &'static str {
    if seen.root_is_embedded {
        "the key can be used; its root key is embedded: etcd and its backups hold what opens the ciphertext"
    } else {
        "the key can be used"
    }
}

/// The plan with its status.
fn say(
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
            dependents: seen
                .dependents
                .map(|secrets| dependents(secrets, &material.truth)),
            next_rotation_time: next.map(Time),
            versions: versions(seen, &material.truth),
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
fn progress(seen: &Observed, old: &ManagedKeyStatus) -> Option<SignedDuration> {
    let counted = seen.references.as_ref()?;
    let truth = &seen.material.as_ref()?.truth;
    let (_, former) = truth.spec.generations.split_last()?;
    let needed = |id: &String| counted.get(id).copied().unwrap_or_default();
    if former.iter().all(|g| needed(&g.material_id) == 0) {
        return None;
    }
    let told = |g: &MaterialGeneration| {
        let shown = old.versions.iter().find(|v| v.material_id == g.material_id);
        shown.and_then(|v| v.references) == Some(needed(&g.material_id))
    };
    Some(if former.iter().all(told) {
        COUNT_SELDOM
    } else {
        COUNT_SOON
    })
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

fn versions(seen: &Observed, truth: &KeyMaterial) -> Vec<KeyVersionStatus> {
    let current = truth.spec.generations.last().map(|g| g.version);
    let references = |g: &MaterialGeneration| {
        let counted = seen
            .references
            .as_ref()
            .filter(|_| current != Some(g.version))?;
        Some(counted.get(&g.material_id).copied().unwrap_or_default())
    };
    let version = |g: &MaterialGeneration| KeyVersionStatus {
        version: g.version,
        material_id: g.material_id.clone(),
        created: Time(g.created.0),
        references: references(g),
    };
    truth.spec.generations.iter().map(version).collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
