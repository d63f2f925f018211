//! What the facts mean. Pure: each check is a function from a fact to findings.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingWebhook, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::facts::{Facts, Look, Objects, Right};
use super::{Finding, Level};
use crate::api::condition::find;
use crate::api::crds::crds;
use crate::api::managed_secret::Form;
use crate::api::names::ANNOTATION_SCHEMA_HASH;
use crate::api::{ConditionType, KeyMaterial, ManagedKey, ManagedSecret, Reason};

/// How far two clocks may be apart: certificates and deadlines bear that.
const SKEW: SignedDuration = SignedDuration::from_secs(30);
/// How old a leader's Lease may be.
const LEASE_AGE: SignedDuration = SignedDuration::from_secs(60);
/// How soon an end is told of.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How many objects a finding names.
const NAMED: usize = 5;

/// All findings, in the order in which one looks for a fault: the installation, then what it keeps.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |check, found: Vec<(Level, String, &'static str)>| {
        findings.extend(found.into_iter().map(|(level, message, remedy)| Finding {
            check,
            level,
            message,
            remedy,
        }));
    };
    let now = facts.now;
    add("clock", seen(&facts.server_time, |&time| clock(now, time)));
    add("definitions", seen(&facts.definitions, |d| definitions(d)));
    add(
        "operator",
        seen(&facts.deployments, |d| deployments(d, &facts.operator)),
    );
    add(
        "leader",
        seen(&facts.lease, |lease| {
            leader(lease.as_ref(), server_now(facts))
        }),
    );
    add(
        "webhooks",
        seen(&facts.webhooks, |found| webhooks(found.as_ref())),
    );
    add("server", seen(&facts.endpoints, |&ready| endpoints(ready)));
    add("root key", seen(&facts.root, |names| root(names)));
    add("your rights", seen(&facts.yours, |rights| yours(rights)));
    add(
        "operator's rights",
        seen(&facts.operators, |rights| operators(rights)),
    );
    add(
        "keys",
        seen(&facts.keys, |keys| {
            ready("ManagedKey", keys, |k| {
                k.status.as_ref().map(|s| &s.conditions[..])
            })
        }),
    );
    add(
        "aliases",
        seen(&facts.aliases, |all| {
            ready("KeyAlias", all, |k| {
                k.status.as_ref().map(|s| &s.conditions[..])
            })
        }),
    );
    add(
        "grants",
        seen(&facts.grants, |all| {
            ready("KeyGrant", all, |k| {
                k.status.as_ref().map(|s| &s.conditions[..])
            })
        }),
    );
    add(
        "secrets",
        seen(&facts.secrets, |all| {
            ready("ManagedSecret", all, |k| {
                k.status.as_ref().map(|s| &s.conditions[..])
            })
        }),
    );
    add(
        "pending deletion",
        seen(&facts.keys, |keys| pending(&keys.items)),
    );
    add("delivery", delivery(&facts.secrets, &facts.driver));
    add(
        "waiting truth",
        seen(&facts.materials, |all| waiting(all, server_now(facts))),
    );
    findings
}

type Found = Vec<(Level, String, &'static str)>;

/// The API server's time where it is known: what it stores was written by its clock.
fn server_now(facts: &Facts) -> Timestamp {
    match facts.server_time {
        Look::Seen(time) => time,
        Look::NotAllowed(_) | Look::Failed(_) => facts.now,
    }
}

/// Judges what was seen; what was not is said.
fn seen<T>(look: &Look<T>, judge: impl FnOnce(&T) -> Found) -> Found {
    match look {
        Look::Seen(seen) => judge(seen),
        Look::NotAllowed(right) => vec![(Level::Skipped, format!("skipped: needs {right}"), "")],
        Look::Failed(why) => vec![(Level::Problem, why.clone(), "")],
    }
}

fn fine(message: impl Into<String>) -> Found {
    vec![(Level::Ok, message.into(), "")]
}

fn or_fine(findings: Found, message: impl Into<String>) -> Found {
    if findings.is_empty() {
        return fine(message);
    }
    findings
}

fn clock(now: Timestamp, server: Timestamp) -> Found {
    let skew = now.duration_since(server);
    if skew.abs() <= SKEW {
        return fine("your clock and the API server's agree");
    }
    let (seconds, word) = (
        skew.as_secs().abs(),
        if skew.is_negative() {
            "behind"
        } else {
            "ahead of"
        },
    );
    let message = format!("your clock is {seconds} s {word} the API server's");
    vec![(
        Level::Warning,
        message,
        "synchronise the clocks: deadlines and certificates are judged by them",
    )]
}

fn definitions(found: &[(String, Option<String>)]) -> Found {
    let found: BTreeMap<_, _> = found.iter().cloned().collect();
    let (mut missing, mut other) = (Vec::new(), Vec::new());
    for crd in crds() {
        let hash = crd.annotations().get(ANNOTATION_SCHEMA_HASH).cloned();
        match found.get(&crd.name_any()) {
            None => missing.push(crd.name_any()),
            Some(has) if *has != hash => other.push(crd.name_any()),
            Some(_) => {}
        }
    }
    let mut findings = Vec::new();
    if !missing.is_empty() {
        let message = format!("missing: {}", missing.join(", "));
        findings.push((
            Level::Problem,
            message,
            "install the chart, or apply its crds/",
        ));
    }
    if !other.is_empty() {
        let message = format!("of another version than this program: {}", other.join(", "));
        findings.push((Level::Warning, message, "use the plugin of the operator's version, and see that the operator may patch its definitions"));
    }
    or_fine(findings, "all are of this version")
}

fn deployments(found: &[Deployment], namespace: &str) -> Found {
    if found.is_empty() {
        let message = format!("there is no Deployment of Keystead in {namespace}");
        return vec![(
            Level::Problem,
            message,
            "install the chart, or say where it is with --operator-namespace",
        )];
    }
    let mut findings = Vec::new();
    for deployment in found {
        let name = deployment.name_any();
        let wanted = deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.replicas)
            .unwrap_or(1);
        let status = deployment.status.as_ref();
        let ready = status.and_then(|status| status.ready_replicas).unwrap_or(0);
        if ready < wanted {
            let level = if ready == 0 {
                Level::Problem
            } else {
                Level::Warning
            };
            let message =
                format!("Deployment {namespace}/{name}: {ready} of {wanted} pods are ready");
            findings.push((level, message, "look at its pods and their logs"));
        }
        let version = deployment.labels().get("app.kubernetes.io/version");
        let ours = env!("CARGO_PKG_VERSION");
        if let Some(version) = version.filter(|version| *version != ours) {
            let message =
                format!("Deployment {namespace}/{name} has version {version}, this program {ours}");
            findings.push((
                Level::Warning,
                message,
                "use the plugin of the operator's version",
            ));
        }
    }
    let count = found.len();
    or_fine(
        findings,
        format!("{count} Deployments in {namespace} are ready"),
    )
}

fn leader(lease: Option<&Lease>, now: Timestamp) -> Found {
    let spec = lease.and_then(|lease| lease.spec.as_ref());
    let renewed = spec.and_then(|spec| spec.renew_time.as_ref());
    let holder = spec
        .and_then(|spec| spec.holder_identity.as_deref())
        .unwrap_or_default();
    match renewed.map(|time| now.duration_since(time.0)) {
        Some(age) if age <= LEASE_AGE && !holder.is_empty() => fine(format!("{holder} leads")),
        Some(age) => {
            let message = format!(
                "nobody leads: the Lease was renewed {} s ago",
                age.as_secs()
            );
            vec![(
                Level::Problem,
                message,
                "look at the operator's pods: nothing is stored, rotated or delivered without a leader",
            )]
        }
        None => vec![(
            Level::Problem,
            "nobody has ever led".to_owned(),
            "look at the operator's pods: nothing is stored, rotated or delivered without a leader",
        )],
    }
}

fn webhooks(found: Option<&ValidatingWebhookConfiguration>) -> Found {
    let Some(found) = found else {
        return vec![(
            Level::Problem,
            "the webhook configuration is missing: policies are not checked".to_owned(),
            "install the chart again",
        )];
    };
    let without = |webhook: &&ValidatingWebhook| {
        webhook
            .client_config
            .ca_bundle
            .as_ref()
            .is_none_or(|ca| ca.0.is_empty())
    };
    let webhooks = found.webhooks.iter().flatten();
    let names: Vec<_> = webhooks
        .filter(without)
        .map(|webhook| webhook.name.as_str())
        .collect();
    if names.is_empty() {
        return fine("all webhooks have an authority");
    }
    let message = format!("without an authority: {}", names.join(", "));
    vec![(
        Level::Problem,
        message,
        "the leader writes it: see that one leads, and may patch the webhook configuration",
    )]
}

fn endpoints(ready: usize) -> Found {
    match ready {
        0 => vec![(
            Level::Problem,
            "no replica of the server is ready: key policies cannot be changed".to_owned(),
            "look at the server's pods and their logs",
        )],
        ready => fine(format!("{ready} endpoints are ready")),
    }
}

fn root(names: &[String]) -> Found {
    if names.is_empty() {
        return fine("no root key is kept in the cluster");
    }
    let message = format!(
        "the root key is in the cluster (Secret {}): whoever reads etcd or its backups with it opens everything",
        names.join(", ")
    );
    vec![(
        Level::Warning,
        message,
        "move it out with `keystead root rotate --to-provider file`, and encrypt Secrets at rest",
    )]
}

fn yours(rights: &[Right]) -> Found {
    let missing = missing(rights);
    if missing.is_empty() {
        return fine("you may use secrets in this namespace");
    }
    let message = format!("in this namespace you may not: {}", missing.join(", "));
    vec![(
        Level::Warning,
        message,
        "ask for the ClusterRole keystead-view or keystead-edit, if you need to",
    )]
}

fn operators(rights: &[Right]) -> Found {
    let missing = missing(rights);
    if missing.is_empty() {
        return fine("the operator may serve this namespace");
    }
    let message = format!(
        "in this namespace the operator may not: {}",
        missing.join(", ")
    );
    vec![(
        Level::Problem,
        message,
        "add the namespace to the chart's watchNamespaces, or give the right back",
    )]
}

fn missing(rights: &[Right]) -> Vec<&str> {
    let missing = rights.iter().filter(|right| !right.held);
    missing.map(|right| right.name.as_str()).collect()
}

/// Counts what is not Ready, by reason, and names the first ones.
fn ready<K: ResourceExt>(
    kind: &str,
    objects: &Objects<K>,
    conditions: impl Fn(&K) -> Option<&[Condition]>,
) -> Found {
    let mut by_reason: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for object in &objects.items {
        let ready = conditions(object).and_then(|all| find(all, ConditionType::Ready));
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
fn pending(keys: &[ManagedKey]) -> Found {
    let conditions = |key: &ManagedKey| key.status.clone().unwrap_or_default().conditions;
    let used = |key: &&ManagedKey| {
        let conditions = conditions(key);
        let used = find(&conditions, ConditionType::UsedWhilePendingDeletion);
        used.is_some_and(|used| used.status == "True")
    };
    let blocked = |key: &&ManagedKey| {
        let conditions = conditions(key);
        let ready = find(&conditions, ConditionType::Ready);
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

/// Sealed secrets that nothing can open.
fn delivery(secrets: &Look<Objects<ManagedSecret>>, driver: &Look<bool>) -> Found {
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
                return fine("the driver that opens Sealed secrets is there");
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

fn is_sealed(secret: &ManagedSecret) -> bool {
    let target = secret.spec.target.as_ref();
    target.and_then(|target| target.form).unwrap_or_default() == Form::Sealed
}

/// Key material whose end is near.
fn waiting(materials: &[KeyMaterial], now: Timestamp) -> Found {
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

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
