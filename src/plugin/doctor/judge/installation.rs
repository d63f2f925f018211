//! Whether the installation works.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::super::Level;
use super::super::facts::Right;
use super::{Found, fine, or_fine};
use crate::api::crds::crds;
use crate::api::names::ANNOTATION_SCHEMA_HASH;

/// How old a leader's Lease may be.
const LEASE_AGE: SignedDuration = SignedDuration::from_secs(60);
/// How far two clocks may be apart: certificates and deadlines bear that.
const SKEW: SignedDuration = SignedDuration::from_secs(30);

pub(super) fn clock(now: Timestamp, server: Timestamp) -> Found {
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

pub(super) fn definitions(found: &[(String, Option<String>)]) -> Found {
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

pub(super) fn deployments(found: &[Deployment], namespace: &str) -> Found {
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

pub(super) fn leader(lease: Option<&Lease>, now: Timestamp) -> Found {
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

pub(super) fn webhooks(found: Option<&ValidatingWebhookConfiguration>) -> Found {
    let Some(found) = found else {
        return vec![(
            Level::Problem,
            "the webhook configuration is missing: policies are not checked".to_owned(),
            "install the chart again",
        )];
    };
    let webhooks = found.webhooks.iter().flatten();
    let clients = webhooks.map(|webhook| (webhook.name.as_str(), &webhook.client_config));
    authorities(clients, "all webhooks have an authority")
}

pub(super) fn injection(found: Option<&MutatingWebhookConfiguration>) -> Found {
    let Some(found) = found else {
        return fine("it is switched off: pods get sealed values only where they name the driver");
    };
    let webhooks = found.webhooks.iter().flatten();
    let clients = webhooks.map(|webhook| (webhook.name.as_str(), &webhook.client_config));
    authorities(clients, "its webhooks have an authority")
}

/// Whether the API server can tell that who answers it is the server.
fn authorities<'a>(
    clients: impl Iterator<Item = (&'a str, &'a WebhookClientConfig)>,
    well: &str,
) -> Found {
    let without = |client: &WebhookClientConfig| {
        let authority = client.ca_bundle.as_ref();
        authority.is_none_or(|authority| authority.0.is_empty())
    };
    let without = clients.filter(|(_, client)| without(client));
    let names: Vec<_> = without.map(|(name, _)| name).collect();
    if names.is_empty() {
        return fine(well);
    }
    let message = format!("without an authority: {}", names.join(", "));
    vec![(
        Level::Problem,
        message,
        "the leader writes it: see that one leads, and may patch the webhook configuration",
    )]
}

pub(super) fn endpoints(ready: usize) -> Found {
    match ready {
        0 => vec![(
            Level::Problem,
            "no replica of the server is ready: key policies cannot be changed".to_owned(),
            "look at the server's pods and their logs",
        )],
        ready => fine(format!("{ready} endpoints are ready")),
    }
}

pub(super) fn root(names: &[String]) -> Found {
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

pub(super) fn yours(rights: &[Right]) -> Found {
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

pub(super) fn operators(rights: &[Right]) -> Found {
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
