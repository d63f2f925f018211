use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::*;
use crate::api::{KeyGrant, KeyPolicy};

const COW: &str = "system:serviceaccount:farm:cow";

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn key(policy: &Value) -> KeyMaterial {
    let policy: KeyPolicy = serde_json::from_value(policy.clone()).unwrap();
    serde_json::from_value(json!({
        "apiVersion": "keystead.dev/v1alpha1", "kind": "KeyMaterial",
        "metadata": {"name": "11111111-1111-4111-8111-111111111111"},
        "spec": {
            "namespace": "shop", "name": "orders", "namespaceUid": "shop-1", "objectUid": "o", "arn": "a",
            "keySpec": "SymmetricDefault", "keyUsage": "EncryptDecrypt", "origin": "Keystead", "enabled": true,
            "policy": {"accepted": policy}, "generations": [],
        },
    }))
    .unwrap()
}

fn grant(uid: &str, spec: &Value) -> KeyGrant {
    let mut whole = json!({
        "keyRef": {"name": "orders"}, "granteePrincipal": COW, "operations": ["Decrypt"],
    });
    for (field, value) in spec.as_object().unwrap() {
        whole[field] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "keystead.dev/v1alpha1", "kind": "KeyGrant",
        "metadata": {"namespace": "shop", "name": "cow", "uid": uid, "generation": 1}, "spec": whole,
    }))
    .unwrap()
}

fn seen(spec: &Value) -> Observed {
    Observed {
        grant: Arc::new(grant("grant-1", spec)),
        in_operator_namespace: false,
        key: Some(key(&json!({}))),
        strays: Vec::new(),
        namespace_uid: Some("shop-1".into()),
        home: Home::There("farm-1".into()),
    }
}

#[test]
fn a_grant_of_a_namespace_made_anew_is_none_for_the_key_of_the_former_one() {
    let mut seen = seen(&json!({}));
    seen.namespace_uid = Some("shop-2".into());
    assert_eq!(reason(&mut seen), Reason::KeyNotFound);
    assert!(records(&seen).is_empty());
}

fn records(seen: &Observed) -> Vec<GrantRecord> {
    seen.key.as_ref().unwrap().spec.grants.clone()
}

/// Carries plans out until nothing is left to do; returns the summary.
fn settle(seen: &mut Observed, now: Timestamp) -> NewCondition {
    for _ in 0..3 {
        let plan = plan(seen, now);
        let ready = plan.status.map(|(status, ready)| {
            Arc::make_mut(&mut seen.grant).status = Some(status);
            ready
        });
        let Some(truth) = plan.steps.into_iter().next() else {
            return ready.unwrap();
        };
        seen.key = Some(truth);
    }
    panic!("planning never comes to rest");
}

fn reason(seen: &mut Observed) -> Reason {
    settle(seen, now()).reason
}

fn creator(seen: &mut Observed, name: &str) {
    let annotations = Arc::make_mut(&mut seen.grant).annotations_mut();
    annotations.insert(ANNOTATION_CREATED_BY.into(), name.into());
}

#[test]
fn a_grant_is_recorded_once_with_the_namespace_of_its_grantee() {
    let mut seen = seen(&json!({}));
    assert_eq!(reason(&mut seen), Reason::Granted);
    let recorded = records(&seen);
    assert_eq!(recorded[0].namespace_uid.as_deref(), Some("farm-1"));
    assert_eq!(recorded[0].grantee, COW);
    // What was accepted stays, whatever the namespace of that name is later.
    seen.home = Home::There("farm-2".into());
    assert_eq!(reason(&mut seen), Reason::Granted);
    assert_eq!(records(&seen), recorded);
}

#[test]
fn a_grant_ends_at_its_instant_and_stays_as_expired() {
    let end = now() + SignedDuration::from_secs(60);
    let mut seen = seen(&json!({"expiresAt": end.to_string()}));
    assert_eq!(reason(&mut seen), Reason::Granted);
    assert_eq!(plan(&seen, now()).next, Some(end));
    assert_eq!(records(&seen)[0].expires_at, Some(Time(end)));
    let ready = settle(&mut seen, end);
    assert_eq!((ready.status, ready.reason), (false, Reason::Expired));
    assert!(records(&seen)[0].expired);
    assert!(plan(&seen, end).next.is_none());
    // Also by a clock that went back. One that was deleted is forgotten.
    let ready = settle(&mut seen, now());
    assert_eq!((ready.status, ready.reason), (false, Reason::Expired));
    assert!(records(&seen)[0].expired);
    let mut going = (*seen.grant).clone();
    going.metadata.deletion_timestamp = Some(Time(end));
    seen.grant = Arc::new(going);
    let plan = plan(&seen, end);
    assert!(plan.status.is_none() && plan.steps[0].spec.grants.is_empty());
}

#[test]
fn a_grant_that_is_made_anew_under_its_name_replaces_the_one_before() {
    let mut seen = seen(&json!({}));
    settle(&mut seen, now());
    seen.grant = Arc::new(grant("grant-2", &json!({"operations": ["Encrypt"]})));
    settle(&mut seen, now());
    let recorded = records(&seen);
    assert_eq!((recorded.len(), recorded[0].uid.as_str()), (1, "grant-2"));
}

#[test]
fn what_is_missing_is_named_and_nothing_is_recorded() {
    let mut missing = seen(&json!({}));
    missing.home = Home::Missing("farm".into());
    let ready = settle(&mut missing, now());
    assert_eq!(ready.reason, Reason::PrincipalNotFound);
    assert!(ready.message.contains("farm"), "{}", ready.message);
    assert!(plan(&missing, now()).next.is_some());
    assert!(records(&missing).is_empty());
    let mut keyless = seen(&json!({}));
    keyless.key = None;
    assert_eq!(reason(&mut keyless), Reason::KeyNotFound);
}

#[test]
fn a_key_that_waits_keeps_its_grants_as_they_were_accepted() {
    let mut seen = seen(&json!({}));
    settle(&mut seen, now());
    let recorded = records(&seen);
    let key = seen.key.as_mut().unwrap();
    key.spec.parked_since = Some(Time(now()));
    assert_eq!(reason(&mut seen), Reason::KeyNotFound);
    assert_eq!(records(&seen), recorded);
}

#[test]
fn a_deleted_grant_gives_nothing_even_while_a_finalizer_holds_it() {
    let mut seen = seen(&json!({}));
    settle(&mut seen, now());
    Arc::make_mut(&mut seen.grant).metadata.deletion_timestamp = Some(Time(now()));
    let plan = plan(&seen, now());
    assert!(plan.status.is_none());
    assert!(plan.steps[0].spec.grants.is_empty());
}

#[test]
fn a_key_has_no_more_grants_than_it_can_hold() {
    let mut seen = seen(&json!({}));
    settle(&mut seen, now());
    let one = records(&seen)[0].clone();
    let full = (0..KeyMaterialSpec::MAX_GRANTS).map(|i| GrantRecord {
        name: format!("g{i}"),
        uid: format!("u{i}"),
        ..one.clone()
    });
    seen.key.as_mut().unwrap().spec.grants = full.collect();
    assert_eq!(reason(&mut seen), Reason::LimitExceeded);
    seen.key.as_mut().unwrap().spec.grants.pop();
    assert_eq!(reason(&mut seen), Reason::Granted);
    let large = |i| GrantRecord {
        name: format!("g{i}"),
        uid: format!("u{i}"),
        grantee: "x".repeat(KeyMaterialSpec::MAX_GRANT_BYTES / 2),
        ..one.clone()
    };
    seen.key.as_mut().unwrap().spec.grants = (0..2).map(large).collect();
    assert_eq!(reason(&mut seen), Reason::LimitExceeded);
}

#[test]
fn the_default_key_is_granted_to_nobody() {
    let mut seen = seen(&json!({"keyRef": {"name": "keystead-default"}}));
    assert_eq!(reason(&mut seen), Reason::GrantNotAllowed);
}

#[test]
fn nobody_grants_what_the_policy_of_the_key_does_not_let_him_do() {
    let allows = |actions: &[&str]| {
        json!({"delegateToRBAC": false, "statements": [
            {"effect": "Allow", "principals": {"users": ["ann"]}, "actions": actions},
        ]})
    };
    let judged = |policy: &Value, by: Option<&str>| {
        let mut seen = seen(&json!({}));
        seen.key = Some(key(policy));
        if let Some(by) = by {
            creator(&mut seen, by);
        }
        settle(&mut seen, now())
    };
    let may = allows(&["CreateGrant", "Decrypt"]);
    let anonymous = judged(&may, None);
    assert_eq!(anonymous.reason, Reason::GrantNotAllowed);
    assert!(
        anonymous.message.contains("keystead.dev/created-by"),
        "{}",
        anonymous.message
    );
    assert_eq!(judged(&may, Some("ann")).reason, Reason::Granted);
    assert_eq!(judged(&may, Some("bob")).reason, Reason::GrantNotAllowed);
    let less = judged(&allows(&["CreateGrant"]), Some("ann"));
    assert!(
        less.message.contains("ann cannot grant Decrypt"),
        "{}",
        less.message
    );
    let less = judged(&allows(&["Decrypt"]), Some("ann"));
    assert!(less.message.contains("CreateGrant"), "{}", less.message);
    // Where RBAC decides too, a Deny still holds, and so it must be known who grants.
    let denies = json!({"statements": [
        {"effect": "Deny", "principals": {"users": ["bob"]}, "actions": ["CreateGrant"]},
    ]});
    assert_eq!(judged(&denies, None).reason, Reason::GrantNotAllowed);
    assert_eq!(judged(&denies, Some("bob")).reason, Reason::GrantNotAllowed);
    assert_eq!(judged(&denies, Some("ann")).reason, Reason::Granted);
    assert_eq!(judged(&json!({}), None).reason, Reason::Granted);
}
