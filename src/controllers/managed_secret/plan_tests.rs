use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::delivery::guard::Stragglers;
use super::super::delivery::target::Owner;
use super::super::key::KeySeen;
use super::super::testing::{KEYS, World, key, managed, target};
use super::super::truth::opened::TruthSeen;
use super::*;
use crate::api::names::ANNOTATION_ROLLBACK;
use crate::controllers::namespace::NamespaceFacts;
use crate::crypto::MaterialId;

fn simple() -> Value {
    json!({"generate": [{"key": "password", "password": {}}], "target": {"form": "Plain"}})
}

#[test]
fn a_new_secret_is_stored_before_it_is_delivered_and_then_there_is_nothing_to_do() {
    let mut world = World::new(&simple());
    let plan = world.plan();
    assert!(matches!(
        plan.steps[..],
        [Step::WriteTruth(_), Step::ApplyTarget(_)]
    ));
    assert_eq!(plan.ready.unwrap().reason, Reason::Synced);
    world.settle();
    assert_eq!(world.delivered("password"), world.stored("password"));
}

#[test]
fn a_pod_that_was_made_too_early_goes_before_anything_is_delivered() {
    let mut world = World::new(&json!({"generate": [{"key": "password", "password": {}}]}));
    let pod = json!({"metadata": {"name": "web-1", "uid": "u", "resourceVersion": "7", "ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "o", "controller": true}]}});
    world.seen.stragglers = Stragglers::of(&[serde_json::from_value(pod).unwrap()]);
    let plan = world.plan();
    assert!(matches!(
        plan.steps[..],
        [
            Step::DeletePod(_),
            Step::WriteTruth(_),
            Step::ApplyTarget(_)
        ]
    ));
    assert!(plan.users_again.is_some(), "others may follow");
    world.settle();
}

#[test]
fn a_missing_default_key_is_made_first() {
    let mut world = World::new(&simple());
    world.seen.key = KeySeen::DefaultMissing;
    let plan = world.plan();
    assert!(matches!(plan.steps[..], [Step::CreateDefaultKey]));
    assert_eq!(plan.ready.unwrap().reason, Reason::Waiting);
    world.settle();
}

#[test]
fn a_secret_that_is_going_away_is_left_alone() {
    let mut world = World::new(&simple());
    let going = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    std::sync::Arc::make_mut(&mut world.seen.secret)
        .metadata
        .deletion_timestamp = Some(going);
    let plan = world.plan();
    assert!(plan.steps.is_empty() && plan.ready.is_none());
}

#[test]
fn every_trouble_with_the_key_stops_everything() {
    for reason in [
        Reason::KeyNotFound,
        Reason::KeyDisabled,
        Reason::KeyPendingDeletion,
        Reason::MaterialUnreadable,
    ] {
        let mut world = World::new(&simple());
        world.settle();
        world.seen.key = KeySeen::Problem(reason, "why".into());
        world.seen.target = None;
        assert_eq!(world.refused(reason), "why");
    }
    let mut world = World::new(&simple());
    world.seen.in_operator_namespace = true;
    world.refused(Reason::OperatorNamespace);
    let mut world = World::new(&simple());
    world.seen.key = KeySeen::Usable {
        id: KEYS[0].parse().unwrap(),
        material: MaterialId::from_bytes([1; 16]),
        namespace_uid: Some("another".into()),
    };
    world.refused(Reason::KeyNotReady);
}

/// The key has another generation of material.
fn rotate(world: &mut World) {
    let KeySeen::Usable { material, .. } = &mut world.seen.key else {
        panic!("the key can be used");
    };
    *material = MaterialId::from_bytes([2; 16]);
}

#[test]
fn after_a_rotation_what_is_stored_is_encrypted_anew_and_says_the_same() {
    let mut world = World::new(&simple());
    world.settle();
    let before = world.seen.truth.manifest().unwrap().clone();
    let value = world.stored("password");
    rotate(&mut world);
    let plan = world.plan();
    // What was delivered in the clear is not touched.
    assert!(matches!(plan.steps[..], [Step::WriteTruth(_)]));
    assert!(plan.background);
    assert_eq!(plan.ready.unwrap().reason, Reason::Synced);
    world.settle();
    let after = world.seen.truth.manifest().unwrap();
    assert_eq!(after.versions(), before.versions());
    assert!(after.sequence() > before.sequence());
    assert_eq!(world.stored("password"), value);
}

#[test]
fn after_a_rotation_a_sealed_target_is_encrypted_anew_unless_nobody_can() {
    let mut world = World::new(&json!({"generate": [{"key": "password", "password": {}}]}));
    world.settle();
    rotate(&mut world);
    let plan = world.plan();
    let [Step::ApplyTarget(write), Step::WriteTruth(_)] = &plan.steps[..] else {
        panic!("the target, and then the truth, which counts");
    };
    assert!(plan.background && write.reencryption && !write.repair);
    world.seen.target.as_mut().unwrap().immutable = true;
    assert!(matches!(world.plan().steps[..], [Step::WriteTruth(_)]));
    world.seen.target.as_mut().unwrap().immutable = false;
    world.settle();
}

#[test]
fn a_change_of_the_spec_does_not_wait_for_the_turn_of_a_rotation() {
    let mut world = World::new(&simple());
    world.settle();
    rotate(&mut world);
    let mut spec = world.spec();
    spec["literals"] = json!({"user": "u"});
    world.edit(spec);
    assert!(!world.plan().background);
    world.settle();
    assert!(!world.plan().background);
}

#[test]
fn truth_without_a_word_on_what_it_needs_gets_one_once() {
    let mut world = World::new(&simple());
    world.settle();
    let TruthSeen::Present(truth) = &mut world.seen.truth else {
        panic!("it is stored");
    };
    truth.stored.needs = None;
    assert!(matches!(world.plan().steps[..], [Step::WriteTruth(_)]));
    world.settle();
}

#[test]
fn where_a_value_once_was_no_new_one_is_made() {
    // The status knows of versions.
    let mut world = World::new(&simple());
    world.settle();
    let target = world.seen.target.take();
    world.seen.truth = TruthSeen::Absent;
    world.refused(Reason::SourceLost);
    // Only the delivered Secret does.
    std::sync::Arc::make_mut(&mut world.seen.secret).status = None;
    world.seen.target = target;
    world.refused(Reason::SourceLost);
}

#[test]
fn truth_that_does_not_open_is_not_written_over() {
    for stored in [true, false] {
        let mut world = World::new(&simple());
        world.settle();
        let TruthSeen::Present(truth) = std::mem::replace(&mut world.seen.truth, TruthSeen::Absent)
        else {
            panic!("it was stored");
        };
        world.seen.truth = TruthSeen::Unreadable {
            stored: stored.then(|| Box::new(truth.stored)),
            reason: Reason::TruthUnreadable,
            message: "altered".into(),
        };
        assert_eq!(world.refused(Reason::TruthUnreadable), "altered");
    }
}

#[test]
fn older_truth_than_was_seen_is_not_served() {
    let mut world = World::new(&simple());
    world.settle();
    let secret = std::sync::Arc::make_mut(&mut world.seen.secret);
    secret.status.as_mut().unwrap().sequence = Some(1_000);
    let message = world.refused(Reason::RollbackDetected);
    assert!(message.contains("1000"), "{message}");
}

#[test]
fn a_resource_with_another_uid_adopts_only_in_its_own_namespace() {
    let recreate = |namespace: &str, adopt: Option<&str>| {
        let mut world = World::new(&simple());
        world.settle();
        let value = world.stored("password");
        let mut new = managed(&simple());
        new.metadata.uid = Some("object-2".into());
        new.metadata.annotations =
            adopt.map(|value| [("keystead.dev/adopt".to_owned(), value.to_owned())].into());
        world.seen.secret = std::sync::Arc::new(new);
        world.seen.target = None;
        world.seen.namespace = Some(NamespaceFacts {
            uid: namespace.into(),
            created: None,
            approved_before: None,
        });
        (world, value)
    };
    let (mut world, value) = recreate("namespace-1", None);
    world.settle();
    assert_eq!(world.stored("password"), value);
    let TruthSeen::Present(truth) = &world.seen.truth else {
        panic!("it is stored");
    };
    assert_eq!(truth.stored.claim.object_uid, "object-2");
    let (mut world, _) = recreate("namespace-2", None);
    world.seen.key = KeySeen::Usable {
        id: KEYS[0].parse().unwrap(),
        material: MaterialId::from_bytes([1; 16]),
        namespace_uid: Some("namespace-2".into()),
    };
    world.refused(Reason::AdoptionNeedsApproval);
    let (mut world, value) = recreate("namespace-1", Some("Never"));
    let plan = world.plan();
    assert!(matches!(
        plan.steps[..],
        [Step::Archive(_), Step::WriteTruth(_), Step::ApplyTarget(_)]
    ));
    world.step();
    assert_ne!(world.stored("password"), value);
}

/// One edit of a spec, none of which may change a generated value.
#[derive(Clone, Debug)]
enum Edit {
    Literal(Option<String>),
    Import(bool),
    Template(bool),
    Form(&'static str),
    Name(&'static str),
    Policy(&'static str),
    Context(&'static str),
    Key(usize),
    Generate(bool),
    Back(usize),
    Loss,
    Drift,
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        proptest::option::of("[a-z]{0,3}").prop_map(Edit::Literal),
        any::<bool>().prop_map(Edit::Import),
        any::<bool>().prop_map(Edit::Template),
        prop_oneof![Just("Plain"), Just("Sealed"), Just("None")].prop_map(Edit::Form),
        prop_oneof![Just("app"), Just("other")].prop_map(Edit::Name),
        prop_oneof![Just("Delete"), Just("Retain")].prop_map(Edit::Policy),
        prop_oneof![Just("a"), Just("b")].prop_map(Edit::Context),
        (0..2_usize).prop_map(Edit::Key),
        any::<bool>().prop_map(Edit::Generate),
        (0..4_usize).prop_map(Edit::Back),
        Just(Edit::Loss),
        Just(Edit::Drift),
    ]
}

fn perform(world: &mut World, edit: &Edit) {
    let mut spec = world.spec();
    match edit {
        Edit::Literal(text) => {
            let literals = text.iter().map(|text| ("text", text));
            spec["literals"] = json!(literals.collect::<std::collections::BTreeMap<_, _>>());
        }
        Edit::Import(true) => spec["import"] = json!([{"secretRef": {"name": "source"}}]),
        Edit::Import(false) => spec["import"] = json!([]),
        Edit::Template(true) => spec["template"] = json!({"data": {"url": "x[[ password ]]"}}),
        Edit::Template(false) => spec["template"] = Value::Null,
        Edit::Form(form) => spec["target"]["form"] = json!(form),
        Edit::Name(name) => spec["target"]["name"] = json!(name),
        Edit::Policy(policy) => spec["target"]["deletionPolicy"] = json!(policy),
        Edit::Context(value) => spec["encryptionContext"] = json!({"team": value}),
        Edit::Key(index) => world.seen.key = key(KEYS[*index]),
        Edit::Generate(more) => {
            let mut all = vec![json!({"key": "password", "password": {"length": 40}})];
            all.extend(more.then(|| json!({"key": "token", "hex": {}})));
            spec["generate"] = json!(all);
        }
        Edit::Back(index) => {
            let manifest = world.seen.truth.manifest().unwrap();
            let version = &manifest.versions()[index % manifest.versions().len()];
            let request = format!("{}@{}", version.id, manifest.sequence());
            world.annotate(ANNOTATION_ROLLBACK, &request);
        }
        Edit::Loss => world.seen.target = None,
        Edit::Drift => {
            if let Some(target) = &mut world.seen.target {
                target.owned.clear();
                target.delivered.clear();
            }
        }
    }
    world.edit(spec);
}

proptest! {
    #[test]
    fn plans_come_to_rest_and_no_edit_generates_anew(edits in proptest::collection::vec(edit(), 1..12)) {
        let mut world = World::new(&simple());
        let data = [("imported".to_owned(), b"i".to_vec())].into();
        world.imports.insert("source".into(), ("source-1".into(), data));
        world.settle();
        let password = world.stored("password");
        for edit in &edits {
            perform(&mut world, edit);
            world.settle();
            prop_assert_eq!(world.stored("password"), password.clone());
            prop_assert_eq!(world.plan().steps.len(), 0);
            let sealed = world.seen.target.as_ref().map(|t| t.delivered.len());
            prop_assert_ne!(sealed, Some(0), "something is delivered");
        }
    }
}

#[test]
fn a_target_of_nobody_is_named_in_the_refusal_of_a_new_secret() {
    let mut world = World::new(&simple());
    world.seen.target = Some(target("app", Owner::Nobody, &[("password", "x")]));
    assert!(world.refused(Reason::TargetExists).contains("Secret app"));
}
