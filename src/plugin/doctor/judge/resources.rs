//! Whether what the installation keeps is as its owners asked for.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::super::Level;
use super::super::facts::{Look, Objects};
use super::{Found, fine, or_fine, seen};
use crate::api::condition::{Conditioned, find};
use crate::api::managed_secret::Form;
use crate::api::{ConditionType, KeyMaterial, ManagedKey, ManagedSecret, Reason, RotationSchedule};
use crate::secrets::Stage;

/// How many objects a finding names.
const NAMED: usize = 5;
/// How soon an end is told of.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Counts what is not Ready, by reason, and names the first ones.
pub(super) fn ready<K: ResourceExt + Conditioned>(kind: &str, objects: &Objects<K>) -> Found {
    let mut by_reason: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for object in &objects.items {
        let ready = find(object.conditions(), ConditionType::Ready);
        let reason = match ready {
            Some(ready) if ready.status == "True" => continue,
            Some(ready) => ready.reason.clone(),
            None => Reason::Pending.as_str().to_owned(),
        };
        by_reason.entry(reason).or_default().push(full_name(object));
    }
    let place = match &objects.only {
        Some(namespace) => format!(" in {namespace} (no more may be seen)"),
        None => String::new(),
    };
    if by_reason.is_empty() {
        return fine(format!("{} {kind}s are ready{place}", objects.items.len()));
    }
    let finding = |(reason, names): (String, Vec<String>)| {
        let message = format!(
            "{} {kind}s{place} are not ready, {reason}: {}",
            names.len(),
            some(&names)
        );
        (
            level(&reason),
            message,
            "see the condition's message with describe, and docs/troubleshooting.md for the reason",
        )
    };
    by_reason.into_iter().map(finding).collect()
}

/// What somebody has decided, or what is on its way, is no fault.
fn level(reason: &str) -> Level {
    let chosen = [
        Reason::Disabled,
        Reason::PendingDeletion,
        Reason::Pending,
        Reason::Creating,
        Reason::PendingImport,
        Reason::Waiting,
        Reason::Expired,
    ];
    if chosen.iter().any(|known| known.as_str() == reason) {
        Level::Warning
    } else {
        Level::Problem
    }
}

fn full_name<K: ResourceExt>(object: &K) -> String {
    format!(
        "{}/{}",
        object.namespace().unwrap_or_default(),
        object.name_any()
    )
}

fn some(names: &[String]) -> String {
    let first = names
        .iter()
        .take(NAMED)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// Keys whose end is scheduled, and that somebody still needs.
pub(super) fn pending(keys: &[ManagedKey]) -> Found {
    let used = |key: &&ManagedKey| {
        let used = find(key.conditions(), ConditionType::UsedWhilePendingDeletion);
        used.is_some_and(|used| used.status == "True")
    };
    let blocked = |key: &&ManagedKey| {
        let ready = find(key.conditions(), ConditionType::Ready);
        ready.is_some_and(|ready| ready.reason == Reason::DeletionBlocked.as_str())
    };
    let names = |found: Vec<&ManagedKey>| found.into_iter().map(full_name).collect::<Vec<_>>();
    let used = names(keys.iter().filter(used).collect());
    let blocked = names(keys.iter().filter(blocked).collect());
    let mut findings = Vec::new();
    if !used.is_empty() {
        let message = format!(
            "used, and refused, while the deletion is pending: {}",
            some(&used)
        );
        findings.push((
            Level::Problem,
            message,
            "keep the key with `kubectl keystead key cancel-deletion`, or stop its users",
        ));
    }
    if !blocked.is_empty() {
        let message = format!(
            "the date has come, and stored secrets still need: {}",
            some(&blocked)
        );
        findings.push((Level::Warning, message, "cancel the deletion, delete the secrets, or accept the loss in spec.deletion.acceptDataLoss"));
    }
    or_fine(findings, "no key that waits for its end is needed")
}

/// Secrets with a version that a rotation made, where no schedule is there any more that would make it current.
pub(super) fn abandoned(
    secrets: &Objects<ManagedSecret>,
    schedules: &Objects<RotationSchedule>,
) -> Found {
    let rotated = |schedule: &RotationSchedule| {
        let namespace = schedule.namespace();
        (namespace, schedule.spec.secret_ref.name.clone())
    };
    let rotated: BTreeSet<_> = schedules.items.iter().map(rotated).collect();
    let has_pending_version = |secret: &&ManagedSecret| {
        let mut versions = secret.status.iter().flat_map(|status| &status.versions);
        versions.any(|version| version.has_stage(Stage::Pending.as_str()))
    };
    // Of other namespaces no schedules are seen.
    let is_seen =
        |secret: &&ManagedSecret| schedules.only.is_none() || schedules.only == secret.namespace();
    let is_alone =
        |secret: &&ManagedSecret| !rotated.contains(&(secret.namespace(), secret.name_any()));
    let pending = secrets.items.iter().filter(has_pending_version);
    let names: Vec<_> = pending
        .filter(is_seen)
        .filter(is_alone)
        .map(full_name)
        .collect();
    if names.is_empty() {
        return fine("every value that is to become current has its schedule");
    }
    let message = format!(
        "a rotation has begun, and its schedule is gone, so that the other side may know a value that is only pending: {}",
        some(&names)
    );
    vec![(
        Level::Warning,
        message,
        "apply the RotationSchedule again: it goes on where the other one was",
    )]
}

/// Sealed secrets that nothing can open.
pub(super) fn delivery(
    secrets: &Look<Objects<ManagedSecret>>,
    driver: &Look<bool>,
    opted_in: &Look<BTreeSet<String>>,
) -> Found {
    seen(secrets, |secrets| {
        let sealed = secrets.items.iter().filter(|secret| is_sealed(secret));
        let mut namespaces: Vec<_> = sealed.filter_map(ResourceExt::namespace).collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        if namespaces.is_empty() {
            return fine("no secret is delivered Sealed");
        }
        seen(driver, |&there| {
            if there {
                return seen(opted_in, |opted_in| reached(&namespaces, opted_in));
            }
            let message = format!(
                "secrets are delivered Sealed, and nothing in this cluster opens them for pods, in: {}",
                some(&namespaces)
            );
            vec![(
                Level::Warning,
                message,
                "set spec.target.form: Plain where pods need the value",
            )]
        })
    })
}

/// Whether unchanged pods get the sealed secrets of these namespaces.
fn reached(namespaces: &[String], opted_in: &BTreeSet<String>) -> Found {
    let others = namespaces.iter().filter(|name| !opted_in.contains(*name));
    let others: Vec<_> = others.cloned().collect();
    if others.is_empty() {
        return fine("pods of all namespaces with Sealed secrets get them");
    }
    let message = format!(
        "secrets are delivered Sealed, and pods get them only where they name the driver, in: {}",
        some(&others)
    );
    vec![(
        Level::Warning,
        message,
        "label the namespaces keystead.dev/injection=enabled, unless all pods there name the driver",
    )]
}

fn is_sealed(secret: &ManagedSecret) -> bool {
    let target = secret.spec.target.as_ref();
    target.and_then(|target| target.form).unwrap_or_default() == Form::Sealed
}

/// Key material whose end is near.
pub(super) fn waiting(materials: &[KeyMaterial], now: Timestamp) -> Found {
    let mut soon = Vec::new();
    let mut parked = 0;
    for material in materials
        .iter()
        .filter(|material| material.spec.destroyed.is_none())
    {
        parked += usize::from(material.spec.parked_since.is_some());
        if let Some(deletion) = &material.spec.deletion {
            let left = deletion.date.0.duration_since(now);
            if left <= SOON {
                let (namespace, name) = (&material.spec.namespace, &material.spec.name);
                soon.push(format!("{namespace}/{name} at {}", deletion.date.0));
            }
        }
    }
    if soon.is_empty() {
        return fine(format!(
            "{parked} keys wait without their resource, none ends within a week"
        ));
    }
    let message = format!("key material ends within a week: {}", some(&soon));
    vec![(
        Level::Warning,
        message,
        "apply the ManagedKey again, or take spec.deletion out, if it is needed",
    )]
}
