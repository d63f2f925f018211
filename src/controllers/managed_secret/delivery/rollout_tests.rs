use serde_json::{Value, json};

use super::super::super::key::KeySeen;
use super::super::super::step::Step as Effect;
use super::super::super::testing::{KEYS, World, key};
use crate::crypto::MaterialId;
use crate::secrets::RolloutRecord;

fn watched() -> Value {
    json!({
        "generate": [{"key": "password", "password": {}}],
        "literals": {"user": "x"},
        "rollout": {"auto": true},
        "target": {"form": "Plain"},
    })
}

fn record(world: &World) -> Option<RolloutRecord> {
    world.seen.truth.manifest()?.rollout().cloned()
}

fn marker(world: &World) -> Option<String> {
    Some(record(world)?.change?.marker)
}

#[test]
fn a_secret_that_restarts_nobody_remembers_nothing_of_restarts() {
    let mut spec = watched();
    spec.as_object_mut().unwrap().remove("rollout");
    let mut world = World::new(&spec);
    world.settle();
    assert_eq!(record(&world), None);
    world.edit(watched());
    world.settle();
    assert!(record(&world).unwrap().is_idle(), "from then on");
    world.edit(spec);
    world.settle();
    assert_eq!(record(&world), None);
}

#[test]
fn a_new_secret_restarts_nobody() {
    let mut world = World::new(&watched());
    world.settle();
    assert_eq!(marker(&world), None);
    assert!(record(&world).unwrap().is_idle());
}

#[test]
fn a_change_is_written_down_with_the_value_and_before_the_target() {
    let mut world = World::new(&watched());
    world.settle();
    let mut spec = world.spec();
    spec["literals"]["user"] = json!("y");
    world.edit(spec);
    let plan = world.plan();
    let [Effect::WriteTruth(write), Effect::ApplyTarget(_)] = &plan.steps[..] else {
        panic!("{} steps", plan.steps.len());
    };
    let change = write.manifest.rollout().unwrap().change.clone().unwrap();
    assert_eq!(change.version, write.manifest.current().unwrap().id);
    world.settle();
    let first = marker(&world);
    assert!(first.is_some());
    world.settle();
    assert_eq!(marker(&world), first, "one change, one marker");
}

#[test]
fn another_template_is_a_change_and_a_neutral_one_is_none() {
    let mut world = World::new(&watched());
    world.settle();
    let mut spec = world.spec();
    spec["template"] = json!({"data": {"password": "[[ password ]]", "user": "[[ user ]]"}});
    world.edit(spec.clone());
    world.settle();
    assert_eq!(marker(&world), None, "consumers get the same");
    let versions = world.versions();
    spec["template"]["data"]["user"] = json!("user [[ user ]]");
    world.edit(spec);
    world.settle();
    assert!(marker(&world).is_some());
    assert_eq!(
        world.versions(),
        versions,
        "although the version is the same"
    );
}

/// A change of the world that consumers see nothing of.
type Neutral = fn(&mut World);

#[test]
fn what_does_not_change_the_content_is_no_change() {
    let cases: [(&str, Neutral); 6] = [
        ("new key material", |world| {
            let KeySeen::Usable { material, .. } = &mut world.seen.key else {
                panic!("the key can be used");
            };
            *material = MaterialId::from_bytes([2; 16]);
        }),
        ("another key", |world| world.seen.key = key(KEYS[1])),
        ("another encryption context", |world| {
            let mut spec = world.spec();
            spec["encryptionContext"] = json!({"team": "orders"});
            world.edit(spec);
        }),
        ("another form", |world| {
            let mut spec = world.spec();
            spec["target"] = json!({"form": "Sealed"});
            world.edit(spec);
        }),
        ("a description", |world| {
            let mut spec = world.spec();
            spec["description"] = json!("words");
            world.edit(spec);
        }),
        ("a target that somebody deleted", |world| {
            world.seen.target = None;
        }),
    ];
    for (case, change) in cases {
        let mut world = World::new(&watched());
        world.settle();
        change(&mut world);
        world.settle();
        assert_eq!(marker(&world), None, "{case}");
    }
}

#[test]
fn what_is_delivered_nowhere_changes_too() {
    let mut spec = watched();
    spec["target"] = json!({"form": "None"});
    let mut world = World::new(&spec);
    world.settle();
    spec["literals"]["user"] = json!("y");
    world.edit(spec);
    world.settle();
    assert!(marker(&world).is_some());
}
