use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::super::step::Step;
use super::super::super::testing::{World, target};
use super::super::super::truth::opened::TruthSeen;
use super::super::target::Owner;
use super::*;
use crate::api::Reason;
use crate::crypto::MaterialId;

fn spec(value: &str) -> Value {
    json!({"literals": {"k": value}, "target": {"form": "Plain", "immutable": true}})
}

/// A settled secret with that value.
fn settled(value: &str) -> World {
    let mut world = World::new(&spec(value));
    world.settle();
    world
}

/// Name of the target, as the status tells it.
fn current(world: &World) -> String {
    let status = world.seen.secret.status.clone().unwrap();
    status.target_ref.unwrap().name
}

fn former(world: &World) -> Vec<String> {
    world.seen.secret.status.clone().unwrap().former_targets
}

/// Another value, delivered; the name of its Secret.
fn deliver(world: &mut World, value: &str) -> String {
    let mut new = world.spec();
    new["literals"]["k"] = json!(value);
    world.edit(new);
    world.settle();
    current(world)
}

#[test]
fn each_content_has_an_immutable_secret_of_its_own_that_is_written_down_first() {
    let mut world = World::new(&spec("1"));
    let plan = world.plan();
    let [Step::WriteTruth(truth), Step::ApplyTarget(write)] = &plan.steps[..] else {
        panic!("{} steps", plan.steps.len());
    };
    assert!(write.immutable);
    assert_eq!(truth.manifest.targets().len(), 1);
    assert_eq!(truth.manifest.targets()[0].name, write.name);
    let version = truth.manifest.current().unwrap().id.to_string();
    assert!(write.name.starts_with(&format!("app-{}-", &version[..8])));
    assert_eq!(write.name.len(), "app".len() + SUFFIX);
    world.settle();
    let first = current(&world);
    let second = deliver(&mut world, "2");
    assert_ne!(first, second);
    assert_eq!(world.delivered("k").unwrap(), b"2");
    assert_eq!(former(&world), [first.as_str()]);
    assert_eq!(world.secrets().len(), 2);
    let [one, two] = [(); 2].map(|()| current(&settled("the same")));
    assert_ne!(one, two, "nothing of a name is made of a value");
    let seen = &world.seen;
    assert!(
        seen.target
            .iter()
            .chain(&seen.leftovers)
            .all(|t| t.immutable)
    );
}

#[test]
fn nothing_but_the_content_makes_a_new_name() {
    let mut world = settled("1");
    let name = current(&world);
    // New material of the key.
    let super::super::super::key::KeySeen::Usable { material, .. } = &mut world.seen.key else {
        panic!("the key can be used");
    };
    *material = MaterialId::from_bytes([2; 16]);
    let plan = world.plan();
    assert!(matches!(plan.steps[..], [Step::WriteTruth(_)]) && plan.background);
    world.settle();
    // A template that says the same, another context, labels, a description.
    for (field, value) in [
        ("template", json!({"data": {"k": "[[ k ]]"}})),
        ("encryptionContext", json!({"team": "orders"})),
        ("template", json!({"metadata": {"labels": {"a": "b"}}})),
        ("description", json!("words")),
    ] {
        let mut new = world.spec();
        new[field] = value;
        world.edit(new);
        world.settle();
        assert_eq!(current(&world), name, "{field}");
    }
    assert_eq!(world.secrets(), [name.as_str()]);
    // Another template, and another type, make another content of the same version.
    let versions = world.versions();
    let mut names = vec![name];
    for template in [
        json!({"data": {"k": "[[ k ]]!"}}),
        json!({"data": {"k": "[[ k ]]!"}, "type": "example.com/x"}),
    ] {
        let mut new = world.spec();
        new["template"] = template;
        world.edit(new);
        world.settle();
        names.push(current(&world));
    }
    assert_eq!(world.versions(), versions);
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3);
}

#[test]
fn a_content_that_comes_back_is_delivered_where_it_is_kept() {
    let mut world = settled("1");
    let first = current(&world);
    let second = deliver(&mut world, "2");
    assert_eq!(deliver(&mut world, "1"), first);
    assert_eq!(former(&world), [second.as_str()], "the one before it");
    assert_eq!(world.secrets().len(), 2, "none was made");
    assert_eq!(deliver(&mut world, "2"), second);
}

#[test]
fn a_former_one_stays_while_it_is_used_and_the_last_one_always() {
    let mut world = settled("1");
    let first = current(&world);
    let second = deliver(&mut world, "2");
    assert!(
        world.plan().users_again.is_none(),
        "the last one is not looked at"
    );
    let third = deliver(&mut world, "3");
    // It is not known yet who uses the first.
    assert!(world.plan().users_again.is_some());
    assert_eq!(former(&world), [first.as_str(), &second]);
    world.seen.users = Err("pods is forbidden".to_owned());
    let plan = world.plan();
    assert!(plan.steps.is_empty());
    let ready = plan.ready.unwrap();
    assert!(
        ready.status && ready.message.contains("pods is forbidden"),
        "{}",
        ready.message
    );
    world.used(&[(&first, 1)]);
    let plan = world.plan();
    assert!(plan.steps.is_empty() && plan.users_again.is_some() && plan.ready.unwrap().status);
    world.used(&[(&first, 0)]);
    let plan = world.plan();
    assert!(matches!(&plan.steps[..], [Step::DeleteTarget(gone)] if gone.name == first));
    assert!(plan.soon, "to forget it");
    world.settle();
    assert_eq!(former(&world), [second.as_str()]);
    assert_eq!(current(&world), third);
    let manifest = world.seen.truth.manifest().unwrap();
    assert!(manifest.target(&first).is_none());
    assert!(world.plan().users_again.is_none());
}

#[test]
fn a_name_that_was_written_down_and_never_made_is_not_the_one_before() {
    let mut world = settled("1");
    let first = current(&world);
    let mut new = world.spec();
    new["literals"]["k"] = json!("2");
    world.edit(new);
    assert!(
        world.killed_before(1),
        "the truth is written, the target is not"
    );
    assert_eq!(world.secrets(), [first.as_str()]);
    let third = deliver(&mut world, "3");
    assert_eq!(former(&world), [first.as_str()]);
    assert_eq!(world.seen.truth.manifest().unwrap().targets().len(), 2);
    assert_eq!(world.secrets().len(), 2);
    assert_ne!(third, first);
}

#[test]
fn who_goes_on_after_a_crash_comes_to_the_same_name() {
    for number in 0..3 {
        let mut world = settled("1");
        let mut new = world.spec();
        new["literals"]["k"] = json!("2");
        world.edit(new);
        world.killed_before(number);
        let names = |world: &World| {
            let manifest = world.seen.truth.manifest().unwrap();
            let names = manifest.targets().iter().map(|record| record.name.clone());
            names.collect::<Vec<_>>()
        };
        let written = names(&world);
        world.settle();
        assert_eq!(world.secrets().len(), 2, "killed before {number}");
        assert_eq!(world.delivered("k").unwrap(), b"2");
        if number > 0 {
            assert_eq!(names(&world), written);
        }
    }
}

#[test]
fn what_somebody_deletes_or_replaces_is_made_again_under_the_same_name() {
    let mut world = settled("1");
    let name = current(&world);
    world.seen.target = None;
    let steps = world.plan().steps;
    assert!(matches!(&steps[..], [Step::ApplyTarget(write)] if write.repair && write.name == name));
    world.settle();
    let other = world.seen.target.as_mut().unwrap();
    other.delivered.clear();
    other.keys.clear();
    let steps = world.plan().steps;
    let [Step::DeleteTarget(gone), Step::ApplyTarget(write)] = &steps[..] else {
        panic!("{} steps", steps.len());
    };
    assert!(gone.name == name && write.name == name && write.repair);
    world.settle();
    assert_eq!(world.delivered("k").unwrap(), b"1");
    // Of the right content, and not immutable: it becomes so.
    world.seen.target.as_mut().unwrap().immutable = false;
    assert!(matches!(&world.plan().steps[..], [Step::ApplyTarget(write)] if write.over.is_some()));
    world.settle();
    // With a key more.
    let more = &mut world.seen.target.as_mut().unwrap().keys;
    more.insert("more".into());
    assert!(matches!(
        world.plan().steps[..],
        [Step::DeleteTarget(_), Step::ApplyTarget(_)]
    ));
    world.settle();
    // Somebody's own.
    world.seen.target = Some(target(&name, Owner::Nobody, &[("k", "1")]));
    let told = world.refused(Reason::TargetExists);
    assert!(!told.contains("spec.target.existing"), "{told}");
}

#[test]
fn switching_it_on_and_off_leaves_the_other_ones_to_their_users() {
    let plain = json!({"literals": {"k": "1"}, "target": {"form": "Plain"}});
    let mut world = World::new(&plain);
    world.settle();
    world.edit(spec("1"));
    world.settle();
    let name = current(&world);
    assert_eq!(former(&world), ["app"]);
    assert!(world.plan().users_again.is_some());
    world.used(&[("app", 1)]);
    assert_eq!(world.step(), 0);
    world.used(&[("app", 0)]);
    world.settle();
    assert_eq!(world.secrets(), [name.as_str()]);
    // And off, also to what is sealed or not delivered at all.
    for off in [json!({"form": "Plain"}), json!({}), json!({"form": "None"})] {
        let mut world = settled("1");
        let name = current(&world);
        world.edit(json!({"literals": {"k": "1"}, "target": off}));
        world.settle();
        assert_eq!(former(&world), [name.as_str()]);
        world.used(&[(&name, 0)]);
        world.settle();
        assert!(!world.secrets().contains(&name.as_str()));
        assert_eq!(former(&world), [""; 0]);
    }
}

#[test]
fn another_base_is_another_series() {
    let mut world = settled("1");
    let name = current(&world);
    let mut new = world.spec();
    new["target"]["name"] = json!("other");
    world.edit(new);
    world.settle();
    assert!(current(&world).starts_with("other-"));
    assert_eq!(former(&world), [name.as_str()]);
    world.used(&[(&name, 0)]);
    world.settle();
    assert_eq!(world.secrets(), [current(&world)]);
}

#[test]
fn retained_former_ones_of_the_series_go_when_unused_and_others_stay() {
    let mut retained = spec("1");
    retained["target"]["deletionPolicy"] = json!("Retain");
    let mut world = World::new(&retained);
    world.settle();
    let first = current(&world);
    deliver(&mut world, "2");
    let third = deliver(&mut world, "3");
    world.used(&[(&first, 0)]);
    world.settle();
    assert!(!world.secrets().contains(&first.as_str()));
    let mut new = world.spec();
    new["target"]["name"] = json!("other");
    world.edit(new);
    world.settle();
    assert!(world.secrets().contains(&third.as_str()));
    assert_eq!(former(&world), [""; 0], "it is nobody's business any more");
}

#[test]
fn those_that_stay_are_what_their_policy_says_now() {
    let mut world = settled("1");
    let first = current(&world);
    deliver(&mut world, "2");
    let mut new = world.spec();
    new["target"]["deletionPolicy"] = json!("Retain");
    world.edit(new);
    let steps = world.plan().steps;
    let applied = steps.iter().filter_map(|step| match step {
        Step::ApplyTarget(write) => Some((write.name.clone(), write.repair)),
        _ => None,
    });
    let expected = [(current(&world), false), (first, false)];
    assert_eq!(applied.collect::<Vec<_>>(), expected);
    world.settle();
    let seen = &world.seen;
    assert!(
        seen.leftovers
            .iter()
            .all(|t| t.dressed && t.delivered["k"].expose() == b"1")
    );
}

#[test]
fn too_many_used_ones_hold_the_next_and_nothing_else() {
    let mut world = settled("0");
    for value in 1..=MOST_FORMER + 1 {
        deliver(&mut world, &value.to_string());
    }
    let last = current(&world);
    assert_eq!(world.secrets().len(), MOST_FORMER + 2);
    let mut new = world.spec();
    new["literals"]["k"] = json!("x");
    world.edit(new.clone());
    let plan = world.plan();
    assert!(matches!(plan.steps[..], [Step::WriteTruth(_)]));
    assert!(plan.users_again.is_some() && !plan.is_delivered());
    assert_eq!(plan.ready.unwrap().reason, Reason::TargetInUse);
    world.settle();
    assert_eq!(
        (current(&world), world.secrets().len()),
        (last.clone(), MOST_FORMER + 2)
    );
    assert_eq!(world.stored("k").unwrap(), b"x");
    let unused = former(&world).remove(0);
    world.used(&[(&unused, 0)]);
    world.settle();
    assert_ne!(current(&world), last);
    assert_eq!(world.delivered("k").unwrap(), b"x");
}

#[test]
fn a_secret_of_ours_of_which_no_truth_tells_is_a_value_that_once_was() {
    let mut world = settled("1");
    let target = world.seen.target.take();
    world.seen.truth = TruthSeen::Absent;
    std::sync::Arc::make_mut(&mut world.seen.secret).status = None;
    world.seen.leftovers.extend(target);
    world.refused(Reason::SourceLost);
}

#[test]
fn the_longest_name_and_its_suffix_are_a_name() {
    assert_eq!(SUFFIX, 16);
    let mut long = spec("1");
    long["target"]["name"] = json!("n".repeat(253 - SUFFIX));
    let mut world = World::new(&long);
    world.settle();
    assert_eq!(current(&world).len(), 253);
}

#[derive(Clone, Debug)]
enum Change {
    Value(u8),
    Immutable(bool),
    Name(bool),
    Retain(bool),
    Use(bool),
    Lose,
    Crash(usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => (0..4_u8).prop_map(Change::Value),
        1 => any::<bool>().prop_map(Change::Immutable),
        1 => any::<bool>().prop_map(Change::Name),
        1 => any::<bool>().prop_map(Change::Retain),
        2 => any::<bool>().prop_map(Change::Use),
        1 => Just(Change::Lose),
        2 => (0..3_usize).prop_map(Change::Crash),
    ]
}

fn perform(world: &mut World, change: &Change) {
    let mut new = world.spec();
    let target = &mut new["target"];
    match change {
        Change::Value(value) => new["literals"]["k"] = json!(value.to_string()),
        Change::Immutable(on) => target["immutable"] = json!(on),
        Change::Name(other) => target["name"] = json!(if *other { "other" } else { "app" }),
        Change::Retain(on) => {
            target["deletionPolicy"] = json!(if *on { "Retain" } else { "Delete" });
        }
        Change::Use(used) => {
            let names = world.secrets().into_iter().map(str::to_owned);
            let names: Vec<_> = names.collect();
            let users: Vec<_> = names
                .iter()
                .map(|name| (name.as_str(), usize::from(*used)))
                .collect();
            world.used(&users);
        }
        Change::Lose => world.seen.target = None,
        Change::Crash(number) => {
            world.killed_before(*number);
        }
    }
    world.edit(new);
}

proptest! {
    /// The world itself refuses a change of data that cannot change.
    #[test]
    fn plans_come_to_rest_and_the_target_has_what_is_current(changes in proptest::collection::vec(change(), 1..25)) {
        let mut world = settled("0");
        for change in &changes {
            perform(&mut world, change);
            if !matches!(change, Change::Crash(_)) {
                world.settle();
                prop_assert_eq!(world.plan().steps.len(), 0);
                prop_assert_eq!(world.delivered("k"), world.stored("k"));
                let target = world.seen.target.as_ref().unwrap();
                prop_assert_eq!(&target.name, &current(&world));
                prop_assert_eq!(target.immutable, is_immutable(&world.seen.secret));
            }
        }
    }
}
