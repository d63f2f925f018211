use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use serde_json::json;

use super::super::facts::Objects;
use super::*;
use crate::api::crds::crds;
use crate::api::names::ANNOTATION_SCHEMA_HASH;
use crate::api::{ManagedKey, ManagedSecret, RotationSchedule};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn worst(found: &Found) -> Level {
    found.iter().map(|(level, ..)| *level).max().unwrap()
}

#[test]
fn what_may_not_be_seen_is_skipped_and_says_which_right_is_missing() {
    let look: Look<usize> = Look::NotAllowed("list on leases in y".to_owned());
    let found = seen(&look, |_| fine("never asked"));
    assert_eq!(found[0].0, Level::Skipped);
    assert_eq!(found[0].1, "skipped: needs list on leases in y");
}

#[test]
fn clocks_may_differ_by_seconds_and_not_by_minutes() {
    let now = at("2026-01-01T00:00:00Z");
    for (server, level) in [
        ("2026-01-01T00:00:10Z", Level::Ok),
        ("2026-01-01T00:05:00Z", Level::Warning),
        ("2025-12-31T23:00:00Z", Level::Warning),
    ] {
        assert_eq!(worst(&clock(now, at(server))), level, "{server}");
    }
}

#[test]
fn definitions_are_there_and_of_this_version() {
    let ours: Vec<_> = crds()
        .iter()
        .map(|crd| {
            let hash = crd.annotations().get(ANNOTATION_SCHEMA_HASH).cloned();
            (crd.name_any(), hash)
        })
        .collect();
    assert_eq!(worst(&definitions(&ours)), Level::Ok);
    assert_eq!(worst(&definitions(&ours[1..])), Level::Problem);
    let mut other = ours;
    other[0].1 = Some("another".to_owned());
    let found = definitions(&other);
    assert_eq!(worst(&found), Level::Warning);
    assert!(found[0].1.contains(&other[0].0), "{}", found[0].1);
}

#[test]
fn a_lease_is_alive_a_minute_after_its_renewal() {
    let now = at("2026-01-01T00:10:00Z");
    let lease = |holder: &str, renewed: &str| -> Lease {
        let spec = json!({"holderIdentity": holder, "renewTime": renewed});
        serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap()
    };
    for (holder, renewed, level) in [
        ("one", "2026-01-01T00:09:55.000000Z", Level::Ok),
        ("one", "2026-01-01T00:05:00.000000Z", Level::Problem),
        ("", "2026-01-01T00:09:55.000000Z", Level::Problem),
    ] {
        assert_eq!(worst(&leader(Some(&lease(holder, renewed)), now)), level);
    }
    assert_eq!(worst(&leader(None, now)), Level::Problem);
}

#[test]
fn a_deployment_without_pods_is_a_problem_and_another_version_a_warning() {
    let deployment = |ready: i32, version: &str| -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "x", "labels": {"app.kubernetes.io/version": version}},
            "spec": {"replicas": 2, "selector": {}, "template": {}}, "status": {"readyReplicas": ready},
        }))
        .unwrap()
    };
    let ours = env!("CARGO_PKG_VERSION");
    for (found, level) in [
        (vec![], Level::Problem),
        (vec![deployment(0, ours)], Level::Problem),
        (vec![deployment(1, ours)], Level::Warning),
        (vec![deployment(2, ours)], Level::Ok),
        (vec![deployment(2, "9.9.9")], Level::Warning),
    ] {
        assert_eq!(worst(&deployments(&found, "y")), level);
    }
}

#[test]
fn a_webhook_needs_an_authority() {
    let configuration = |ca: serde_json::Value| -> ValidatingWebhookConfiguration {
        let webhook = json!({"name": "w", "admissionReviewVersions": ["v1"], "sideEffects": "None", "clientConfig": ca});
        serde_json::from_value(json!({"metadata": {}, "webhooks": [webhook]})).unwrap()
    };
    assert_eq!(worst(&webhooks(None)), Level::Problem);
    let without = configuration(json!({}));
    assert_eq!(worst(&webhooks(Some(&without))), Level::Problem);
    let with = configuration(json!({"caBundle": "YQ=="}));
    assert_eq!(worst(&webhooks(Some(&with))), Level::Ok);
    let injecting = |ca: serde_json::Value| -> MutatingWebhookConfiguration {
        let webhook = json!({"name": "w", "admissionReviewVersions": ["v1"], "sideEffects": "None", "clientConfig": ca});
        serde_json::from_value(json!({"metadata": {}, "webhooks": [webhook]})).unwrap()
    };
    assert_eq!(worst(&injection(None)), Level::Ok, "it may be off");
    let without = injecting(json!({}));
    assert_eq!(worst(&injection(Some(&without))), Level::Problem);
    let with = injecting(json!({"caBundle": "YQ=="}));
    assert_eq!(worst(&injection(Some(&with))), Level::Ok);
}

fn key(name: &str, conditions: serde_json::Value) -> ManagedKey {
    let mut key = ManagedKey::new(name, serde_json::from_value(json!({})).unwrap());
    key.metadata.namespace = Some("shop".to_owned());
    let mut status = json!({});
    status["conditions"] = conditions;
    key.status = Some(serde_json::from_value(status).unwrap());
    key
}

fn condition(type_: &str, status: &str, reason: &str) -> serde_json::Value {
    json!({"type": type_, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

#[test]
fn what_is_not_ready_is_counted_by_reason_and_named() {
    let not_ready = |reason: &str| json!([condition("Ready", "False", reason)]);
    let items: Vec<_> = (0..7)
        .map(|n| key(&format!("k{n}"), not_ready("MaterialMissing")))
        .chain([key("off", not_ready("Disabled"))])
        .chain([key("good", json!([condition("Ready", "True", "Enabled")]))])
        .collect();
    let objects = Objects { items, only: None };
    let found = ready("ManagedKey", &objects);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].0, Level::Warning);
    assert!(found[0].1.contains("Disabled: shop/off"), "{}", found[0].1);
    assert_eq!(found[1].0, Level::Problem);
    assert!(found[1].1.starts_with("7 ManagedKeys"), "{}", found[1].1);
    assert!(found[1].1.ends_with("and 2 more"), "{}", found[1].1);
}

#[test]
fn a_key_that_is_used_while_it_waits_for_its_end_is_a_problem() {
    let quiet = key("a", json!([]));
    let used = key(
        "b",
        json!([condition(
            "UsedWhilePendingDeletion",
            "True",
            "UsedWhilePendingDeletion"
        )]),
    );
    let blocked = key("c", json!([condition("Ready", "False", "DeletionBlocked")]));
    assert_eq!(worst(&pending(std::slice::from_ref(&quiet))), Level::Ok);
    assert_eq!(worst(&pending(&[quiet.clone(), blocked])), Level::Warning);
    assert_eq!(worst(&pending(&[quiet, used])), Level::Problem);
}

#[test]
fn a_sealed_secret_that_nothing_opens_is_told_by_namespace() {
    let mut secret = ManagedSecret::new("db", serde_json::from_value(json!({})).unwrap());
    secret.metadata.namespace = Some("shop".to_owned());
    let sealed = Look::Seen(Objects {
        items: vec![secret],
        only: None,
    });
    let opted_in = |names: &[&str]| Look::Seen(names.iter().map(|&n| n.to_owned()).collect());
    let none_did = opted_in(&[]);
    let found = delivery(&sealed, &Look::Seen(false), &none_did);
    assert_eq!(worst(&found), Level::Warning);
    assert!(found[0].1.ends_with("in: shop"), "{}", found[0].1);
    let there = Look::Seen(true);
    let found = delivery(&sealed, &there, &none_did);
    assert_eq!(worst(&found), Level::Warning);
    assert!(found[0].1.ends_with("in: shop"), "{}", found[0].1);
    assert_eq!(
        worst(&delivery(&sealed, &there, &opted_in(&["shop"]))),
        Level::Ok
    );
    let none = Look::Seen(Objects {
        items: vec![],
        only: None,
    });
    let found = delivery(&none, &Look::Seen(false), &none_did);
    assert_eq!(worst(&found), Level::Ok);
}

#[test]
fn a_pending_value_without_a_schedule_is_told() {
    let secret = |name: &str, stage: &str| {
        let mut secret = ManagedSecret::new(name, serde_json::from_value(json!({})).unwrap());
        secret.metadata.namespace = Some("shop".to_owned());
        let version =
            json!({"id": "1", "stages": [stage], "created": "2026-01-01T00:00:00Z", "keyId": "k"});
        secret.status = Some(serde_json::from_value(json!({"versions": [version]})).unwrap());
        secret
    };
    let secrets = Objects {
        items: vec![secret("db", "Pending"), secret("api", "Current")],
        only: None,
    };
    let schedules = |names: &[&str], only: Option<&str>| {
        let schedule = |&name: &&str| {
            let spec = json!({"secretRef": {"name": name}, "every": "720h", "strategy": {"regenerate": {}}});
            let mut schedule = RotationSchedule::new("s", serde_json::from_value(spec).unwrap());
            schedule.metadata.namespace = Some("shop".to_owned());
            schedule
        };
        Objects {
            items: names.iter().map(schedule).collect(),
            only: only.map(str::to_owned),
        }
    };
    let found = abandoned(&secrets, &schedules(&["api"], None));
    assert_eq!(worst(&found), Level::Warning);
    assert!(found[0].1.ends_with(": shop/db"), "{}", found[0].1);
    for known in [
        schedules(&["db"], None),
        // There may be one where none is seen.
        schedules(&[], Some("stock")),
    ] {
        assert_eq!(worst(&abandoned(&secrets, &known)), Level::Ok);
    }
    let found = abandoned(&secrets, &schedules(&[], Some("shop")));
    assert_eq!(worst(&found), Level::Warning);
}

#[test]
fn the_exit_code_is_that_of_the_worst_finding() {
    use super::super::{Exit, exit};
    let finding = |level| Finding {
        check: "x",
        level,
        message: String::new(),
        remedy: "",
    };
    for (levels, code) in [
        (vec![Level::Ok, Level::Skipped], Exit::Ok),
        (vec![Level::Warning, Level::Ok], Exit::No),
        (vec![Level::Warning, Level::Problem], Exit::Error),
        (vec![], Exit::Ok),
    ] {
        let findings: Vec<_> = levels.into_iter().map(finding).collect();
        assert_eq!(exit(&findings), code);
    }
}
