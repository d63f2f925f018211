use std::sync::Arc;

use serde_json::{Value, json};

use super::super::testing::{namespace, new_key, planned, resource, settle};
use super::*;
use crate::api::Reason;

fn allows(namespaces: &[&str]) -> Value {
    json!({"statements": [{"effect": "Allow", "principals": {"namespaces": namespaces}, "actions": ["Decrypt"]}]})
}

fn with_policy(seen: &mut Observed, policy: &Value) {
    let policy = serde_json::from_value(policy.clone()).unwrap();
    Arc::make_mut(&mut seen.key).spec.policy = Some(policy);
}

fn there(seen: &mut Observed, name: &str, uid: &str) {
    seen.namespaces.insert(name.into(), Some(namespace(uid)));
}

fn record(seen: &Observed) -> PolicyRecord {
    seen.material.as_ref().unwrap().truth.spec.policy.clone()
}

/// A settled key whose policy names the namespace `farm`, which was there.
fn settled() -> Observed {
    let mut seen = new_key();
    settle(&mut seen);
    with_policy(&mut seen, &allows(&["farm", "shop"]));
    there(&mut seen, "farm", "farm-1");
    settle(&mut seen);
    seen
}

#[test]
fn the_policy_is_recorded_with_the_namespaces_of_others() {
    let seen = settled();
    let record = record(&seen);
    assert_eq!(record.accepted, seen.key.spec.policy);
    assert_eq!(record.namespaces.len(), 1, "not the key's own");
    assert_eq!(record.namespace_uid("farm"), Some("farm-1"));
}

#[test]
fn a_namespace_that_was_made_anew_does_not_replace_the_recorded_one() {
    let mut seen = settled();
    there(&mut seen, "farm", "farm-2");
    assert!(planned(&seen).steps.is_empty());
    // Not when another statement changes either.
    with_policy(&mut seen, &allows(&["farm", "barn"]));
    there(&mut seen, "barn", "barn-1");
    settle(&mut seen);
    assert_eq!(record(&seen).namespace_uid("farm"), Some("farm-1"));
    assert_eq!(record(&seen).namespace_uid("barn"), Some("barn-1"));
    // Taken out and put in again, it is accepted anew.
    with_policy(&mut seen, &allows(&["barn"]));
    settle(&mut seen);
    with_policy(&mut seen, &allows(&["farm"]));
    settle(&mut seen);
    assert_eq!(record(&seen).namespace_uid("farm"), Some("farm-2"));
}

#[test]
fn a_namespace_that_is_not_there_yet_is_looked_for_again() {
    let mut seen = settled();
    with_policy(&mut seen, &allows(&["barn"]));
    seen.namespaces.insert("barn".into(), None);
    settle(&mut seen);
    let plan = planned(&seen);
    assert!(plan.next.is_some());
    let message = plan.ready.unwrap().message;
    assert!(message.contains("barn"), "{message}");
    there(&mut seen, "barn", "barn-1");
    settle(&mut seen);
    assert_eq!(record(&seen).namespace_uid("barn"), Some("barn-1"));
    assert!(planned(&seen).next.is_none());
}

#[test]
fn a_resource_that_takes_a_key_over_does_not_change_its_policy_until_somebody_does() {
    let mut seen = settled();
    let before = record(&seen);
    seen.key = Arc::new(resource("object-2"));
    seen.namespace = Some(namespace("namespace-1"));
    settle(&mut seen);
    assert_eq!(record(&seen).accepted, before.accepted);
    assert!(is_ignored(&record(&seen)));
    let ready = planned(&seen).ready.unwrap();
    assert!(
        ready.status && ready.message.contains("spec.policy"),
        "{}",
        ready.message
    );
    // Whoever makes a resource is not asked for a right to its policy, and the next change of it is compared with that: so it does
    // not count either.
    with_policy(&mut seen, &allows(&["barn"]));
    settle(&mut seen);
    assert_eq!(record(&seen).accepted, before.accepted);
    assert!(is_ignored(&record(&seen)));
    // Once it has been the policy in force, each later change was checked against that.
    Arc::make_mut(&mut seen.key).spec.policy = before.accepted.clone();
    settle(&mut seen);
    assert_eq!(record(&seen), before);
    with_policy(&mut seen, &allows(&["barn"]));
    settle(&mut seen);
    assert_eq!(record(&seen).accepted, seen.key.spec.policy);
}

#[test]
fn a_resource_that_comes_back_with_the_same_policy_changes_nothing() {
    let mut seen = settled();
    let before = record(&seen);
    let policy = seen.key.spec.policy.clone();
    seen.key = Arc::new(resource("object-2"));
    Arc::make_mut(&mut seen.key).spec.policy = policy;
    there(&mut seen, "farm", "farm-2");
    settle(&mut seen);
    assert_eq!(record(&seen), before);
}

#[test]
fn after_an_approved_restore_the_namespaces_of_others_are_recorded_anew() {
    let mut seen = settled();
    let policy = seen.key.spec.policy.clone();
    seen.key = Arc::new(resource("object-2"));
    Arc::make_mut(&mut seen.key).spec.policy = policy;
    let facts = NamespaceFacts {
        created: Some("2026-01-02T00:00:00Z".parse().unwrap()),
        approved_before: Some("2026-01-03T00:00:00Z".parse().unwrap()),
        ..namespace("farm-2")
    };
    seen.namespaces.insert("farm".into(), Some(facts));
    settle(&mut seen);
    assert_eq!(record(&seen).namespace_uid("farm"), Some("farm-2"));
}

#[test]
fn a_policy_that_cannot_be_leaves_the_one_before_in_force_and_makes_no_key() {
    let broken = json!({"statements": [{"effect": "Deny", "principals": {"users": ["ann"]}, "actions": ["Decypt"]}]});
    let mut seen = settled();
    let before = record(&seen);
    with_policy(&mut seen, &broken);
    settle(&mut seen);
    assert_eq!(record(&seen), before);
    let ready = planned(&seen).ready.unwrap();
    assert_eq!((ready.status, ready.reason), (false, Reason::InvalidSpec));
    assert!(ready.message.contains("Decypt"), "{}", ready.message);
    let mut new = new_key();
    with_policy(&mut new, &broken);
    let plan = planned(&new);
    assert!(plan.steps.is_empty());
    assert_eq!(plan.ready.unwrap().reason, Reason::InvalidSpec);
}
