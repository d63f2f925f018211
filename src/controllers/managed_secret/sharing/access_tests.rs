use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::controllers::managed_secret::testing::World;

fn spec(policy: Value) -> Value {
    let mut spec = json!({"generate": [{"key": "password", "password": {}}]});
    if !policy.is_null() {
        spec["policy"] = policy;
    }
    spec
}

fn allowing(namespace: &str) -> Value {
    let who = json!({"namespaces": [namespace]});
    json!({"statements": [{"effect": "Allow", "principals": who, "actions": ["GetSecretValue"]}]})
}

fn there(world: &mut World, name: &str, uid: &str) {
    let facts = NamespaceFacts {
        uid: uid.to_owned(),
        created: None,
        approved_before: None,
    };
    world.seen.readers.insert(name.to_owned(), Some(facts));
}

fn record(world: &World) -> AccessRecord {
    world.seen.truth.manifest().unwrap().access().clone()
}

/// Somebody else's resource of the same name, in the same namespace.
fn made_anew(world: &mut World, policy: Value) {
    let secret = Arc::make_mut(&mut world.seen.secret);
    secret.metadata.uid = Some("object-2".to_owned());
    secret.spec = serde_json::from_value(spec(policy)).unwrap();
}

#[test]
fn a_policy_is_written_down_once_with_the_namespaces_it_speaks_of_and_changes_no_version() {
    let mut world = World::new(&spec(Value::Null));
    world.settle();
    let versions = world.versions();
    world.edit(spec(allowing("farm")));
    assert_eq!(to_look_at(&world.seen), ["farm"]);
    there(&mut world, "farm", "farm-1");
    world.settle();
    let uids: Vec<_> = record(&world)
        .namespaces
        .into_iter()
        .map(|n| n.uid)
        .collect();
    assert_eq!(
        (uids, world.versions()),
        (vec!["farm-1".to_owned()], versions)
    );
    assert_eq!(world.step(), 0, "planning again gives nothing");
    // A namespace that is made anew afterwards is not the one that was named.
    there(&mut world, "farm", "farm-2");
    world.settle();
    assert_eq!(record(&world).namespace_uid("farm"), Some("farm-1"));
    world.edit(spec(Value::Null));
    world.settle();
    assert!(record(&world).is_empty());
}

#[test]
fn a_namespace_that_is_not_there_is_said_and_gets_nothing() {
    let mut world = World::new(&spec(allowing("farm")));
    world.seen.readers.insert("farm".to_owned(), None);
    world.settle();
    assert!(record(&world).namespaces.is_empty());
    assert_eq!(to_look_at(&world.seen), ["farm"], "it may come");
    let ready = world.plan().ready.unwrap();
    assert!(
        ready.status && ready.message.contains("farm"),
        "{}",
        ready.message
    );
}

#[test]
fn a_policy_that_cannot_be_leaves_the_one_before_in_force() {
    let mut world = World::new(&spec(allowing("shop")));
    world.settle();
    let before = record(&world);
    let mut wrong = allowing("shop");
    wrong["statements"][0]["actions"] = json!(["Decrypt"]);
    world.edit(spec(wrong));
    let message = world.refused(Reason::InvalidSpec);
    assert!(message.contains("actions"), "{message}");
    assert_eq!(record(&world), before);
}

#[test]
fn a_resource_that_takes_the_secret_over_without_a_policy_takes_none_away() {
    let mut world = World::new(&spec(allowing("shop")));
    world.settle();
    let before = record(&world);
    made_anew(&mut world, Value::Null);
    world.settle();
    let kept = record(&world);
    assert_eq!((&kept.policy, kept.ignored), (&before.policy, true));
    assert_eq!(world.step(), 0);
    let ready = world.plan().ready.unwrap();
    assert!(ready.message.contains("still are"), "{}", ready.message);
    // Whoever wrote one had the right to.
    world.edit(spec(allowing("farm")));
    world.settle();
    assert_ne!(record(&world).policy, before.policy);
    assert!(!record(&world).ignored);
    made_anew(&mut world, allowing("shop"));
    world.settle();
    assert_eq!(record(&world), before);
}
