use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::super::delivery::target::Owner;
use super::super::super::step::Step;
use super::super::super::testing::{World, target};
use crate::api::Reason;

fn import(more: &Value) -> Value {
    let mut import = json!({"secretRef": {"name": "legacy"}});
    import
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    json!({"import": [import], "target": {"form": "Plain"}})
}

fn with_source(spec: &Value, data: &[(&str, &str)]) -> World {
    let mut world = World::new(spec);
    put(&mut world, "uid-1", data);
    world
}

fn put(world: &mut World, uid: &str, data: &[(&str, &str)]) {
    let data: BTreeMap<_, _> = data
        .iter()
        .map(|(key, text)| ((*key).to_owned(), text.as_bytes().to_vec()))
        .collect();
    world.imports.insert("legacy".into(), (uid.into(), data));
}

fn some(keys: &[&str]) -> Value {
    json!({"import": [{"secretRef": {"name": "legacy", "keys": keys}}], "target": {"form": "Plain"}})
}

#[test]
fn specs_that_cannot_be_are_refused_with_their_reason() {
    let duplicate = json!({"import": [{"secretRef": {"name": "legacy"}}], "literals": {"a": "x"}});
    let cases = [
        (json!({"literals": {}}), Reason::InvalidSpec),
        (json!({"generate": [{"key": "a"}]}), Reason::InvalidSpec),
        (
            json!({"literals": {"a": "b"}, "encryptionContext": {"keystead:x": "y"}}),
            Reason::InvalidSpec,
        ),
        (
            json!({"literals": {"a": "x".repeat(300 * 1024)}}),
            Reason::ValueTooLarge,
        ),
        (duplicate, Reason::DuplicateKey),
        (some(&["missing"]), Reason::ImportSourceMissing),
    ];
    for (spec, reason) in cases {
        let mut world = with_source(&spec, &[("a", "1")]);
        world.refused(reason);
    }
    let mut world = World::new(&import(&json!({})));
    assert!(
        world
            .refused(Reason::ImportSourceMissing)
            .contains("legacy")
    );
}

#[test]
fn a_source_is_read_once_unless_its_uid_is_asked_for() {
    let mut world = with_source(&import(&json!({})), &[("a", "1")]);
    world.settle();
    put(&mut world, "uid-2", &[("a", "2")]);
    world.settle();
    assert_eq!(world.stored("a").unwrap(), b"1");
    let secret = std::sync::Arc::make_mut(&mut world.seen.secret);
    secret.metadata.annotations = Some([("keystead.dev/import".into(), "uid-2".into())].into());
    let plan = world.plan();
    let repairs = plan
        .steps
        .iter()
        .any(|s| matches!(s, Step::ApplyTarget(write) if write.repair));
    assert!(!repairs, "what was asked for is no drift");
    world.settle();
    assert_eq!(world.stored("a").unwrap(), b"2");
    assert_eq!(world.versions(), 2);
}

#[test]
fn all_keys_are_taken_when_some_were_before_and_what_came_before_stays() {
    let mut world = with_source(&some(&["a"]), &[("a", "1"), ("b", "2")]);
    world.settle();
    put(&mut world, "uid-1", &[("a", "changed"), ("b", "2")]);
    world.edit(import(&json!({})));
    world.settle();
    assert_eq!(world.stored("a").unwrap(), b"1");
    assert_eq!(world.stored("b").unwrap(), b"2");
    // All were taken: what the source gets later is not.
    put(&mut world, "uid-1", &[("a", "1"), ("b", "2"), ("c", "3")]);
    world.settle();
    assert_eq!(world.stored("c"), None);
}

#[test]
fn a_key_that_was_given_up_is_imported_again_and_others_are_not() {
    let mut world = with_source(&some(&["a", "b"]), &[("a", "1"), ("b", "2")]);
    world.settle();
    world.edit(some(&["a"]));
    world.settle();
    assert_eq!(world.stored("b"), None);
    put(&mut world, "uid-1", &[("a", "changed"), ("b", "3")]);
    world.edit(some(&["a", "b"]));
    world.settle();
    assert_eq!(world.stored("a").unwrap(), b"1");
    assert_eq!(world.stored("b").unwrap(), b"3");
    // From another Secret of the same name nothing is added to what came from the first.
    world.edit(some(&["a"]));
    world.settle();
    put(&mut world, "uid-2", &[("a", "x"), ("b", "y")]);
    world.edit(some(&["a", "b"]));
    assert!(
        world
            .refused(Reason::ImportSourceMissing)
            .contains("keystead.dev/import")
    );
}

#[test]
fn a_source_is_deleted_only_when_all_it_holds_is_stored() {
    let delete = json!({"deleteAfterImport": true});
    let mut world = with_source(&import(&delete), &[("a", "1")]);
    let first = world.plan();
    assert!(first.soon, "the deletion follows at once");
    assert!(
        !first
            .steps
            .iter()
            .any(|step| matches!(step, Step::DeleteSource(_))),
        "after it is stored"
    );
    world.settle();
    assert!(world.imports.is_empty());

    let partly = json!({"import": [{"secretRef": {"name": "legacy", "keys": ["a"]}, "deleteAfterImport": true}]});
    let mut world = with_source(&partly, &[("a", "1"), ("b", "2")]);
    world.settle();
    assert!(
        world.imports.contains_key("legacy"),
        "b is stored nowhere else"
    );
    let message = world.plan().ready.unwrap().message;
    assert!(message.contains("not deleted"), "{message}");

    let mut world = with_source(&import(&json!({})), &[("a", "1")]);
    world.settle();
    put(&mut world, "uid-2", &[("a", "1")]);
    world.edit(import(&delete));
    world.settle();
    assert!(
        world.imports.contains_key("legacy"),
        "another of the same name"
    );
}

#[test]
fn what_is_taken_over_keeps_its_generated_values_and_its_past() {
    for existing in ["Adopt", "Merge"] {
        let spec = json!({"generate": [{"key": "password", "password": {}}], "literals": {"b": "mine"},
            "target": {"form": "Plain", "existing": existing}});
        let mut world = World::new(&spec);
        let found = [("a", "1"), ("b", "2"), ("password", "in-use")];
        world.seen.target = Some(target("app", Owner::Nobody, &found));
        let plan = world.plan();
        let Step::WriteTruth(write) = &plan.steps[0] else {
            panic!("the truth comes first");
        };
        let past: Vec<_> = write.fresh[0]
            .1
            .iter()
            .map(|(k, v)| (k, v.to_vec()))
            .collect();
        let found: Vec<_> = found
            .iter()
            .map(|(k, v)| (*k, v.as_bytes().to_vec()))
            .collect();
        assert_eq!(past, found, "what was there is the previous version");
        world.settle();
        assert_eq!(world.stored("password").unwrap(), b"in-use");
        assert_eq!(world.delivered("b").unwrap(), b"mine");
        assert_eq!(world.delivered("a").unwrap(), b"1");
    }
}
