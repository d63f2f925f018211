//! What is said of a key: the summary of its state. Pure.

use k8s_openapi::jiff::Timestamp;

use super::deletion;
use super::import;
use super::observe::{Material, Observed};
use super::plan::enabled;
use super::policy;
use super::rotation;
use crate::api::condition::NewCondition;
use crate::api::{DeletionRecord, KeyMaterial, Reason};

pub(super) fn ready(seen: &Observed, material: &Material, now: Timestamp) -> NewCondition {
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
pub(super) const DESTROYED: &str = "the material was destroyed; nothing that it encrypted can be read any more. Delete this resource; applied \
                         again, it is another key";

/// Said of a key that somebody asks to rotate, and that is none that is rotated.
const NOT_ROTATED: &str =
    "; a key of its keySpec or origin is not rotated: make a new key, and point an alias at it";

/// Said of a key that cannot be rotated any more.
const FULL: &str = "; it has 256 generations and is not rotated any more: make a new key, and point an alias at it";

/// Said of a key whose resource was made anew with another policy.
const POLICY_IGNORED: &str = "; spec.policy is not the policy in force: this resource took the key over, and its policy with it. \
                              Make spec.policy the one in force (an administrator finds it in the KeyMaterial; leave it out if there \
                              is none), and change it from there";

/// What is to be known about the policy in force.
pub(super) fn policy_note(seen: &Observed, truth: &KeyMaterial) -> String {
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
pub(super) fn usable(seen: &Observed) -> &'static str {
    if seen.root_is_embedded {
        "the key can be used; its root key is embedded: etcd and its backups hold what opens the ciphertext"
    } else {
        "the key can be used"
    }
}
