use serde_json::{Value, json};

use super::super::super::testing::World;
use crate::api::Reason;
use crate::api::names::{ANNOTATION_REGENERATE, ANNOTATION_ROLLBACK};

fn with_password(literal: &str) -> Value {
    json!({
        "generate": [{"key": "password", "password": {}}],
        "literals": {"user": literal},
        "target": {"form": "Plain"},
    })
}

/// The ids of the kept versions, oldest first, and the stages of each.
fn kept(world: &World) -> Vec<(String, Vec<String>)> {
    let manifest = world.seen.truth.manifest().unwrap();
    let stages = |version: &crate::secrets::VersionRecord| {
        version.stages.iter().map(ToString::to_string).collect()
    };
    manifest
        .versions()
        .iter()
        .map(|version| (version.id.to_string(), stages(version)))
        .collect()
}

fn stages(world: &World) -> Vec<Vec<String>> {
    kept(world).into_iter().map(|(_, stages)| stages).collect()
}

fn sequence(world: &World) -> u64 {
    world.seen.truth.manifest().unwrap().sequence()
}

fn regenerate(world: &mut World, token: &str) {
    world.annotate(ANNOTATION_REGENERATE, token);
    world.settle();
}

fn go_back_to(world: &mut World, version: &str) {
    let request = format!("{version}@{}", sequence(world));
    world.annotate(ANNOTATION_ROLLBACK, &request);
}

fn message(world: &mut World) -> String {
    world.plan().ready.unwrap().message
}

#[test]
fn each_new_token_makes_generated_values_anew_once_and_no_other_value() {
    let mut world = World::new(&with_password("app"));
    world.annotate(ANNOTATION_REGENERATE, "first");
    world.settle();
    let first = world.stored("password");
    assert_eq!(world.versions(), 1, "a new secret is new anyway");
    regenerate(&mut world, "second");
    let second = world.stored("password");
    assert_ne!(second, first);
    assert_eq!(world.stored("user").unwrap(), b"app");
    assert_eq!(world.delivered("password"), second);
    assert_eq!(stages(&world), [["Previous"], ["Current"]]);
    for known in ["second", "first"] {
        regenerate(&mut world, known);
        assert_eq!(world.stored("password"), second);
    }
    assert_eq!(world.versions(), 2);
}

#[test]
fn an_earlier_version_comes_back_and_the_later_one_can_follow_it() {
    let mut world = World::new(&with_password("app"));
    world.settle();
    let first = world.stored("password");
    regenerate(&mut world, "again");
    let second = world.stored("password");
    let versions = kept(&world);
    go_back_to(&mut world, &versions[0].0);
    world.settle();
    assert_eq!(world.stored("password"), first);
    assert_eq!(world.delivered("password"), first);
    assert_eq!(stages(&world), [["Current"], ["Previous"]]);
    assert_eq!(world.plan().steps.len(), 0, "it is done once");
    go_back_to(&mut world, &versions[1].0);
    world.settle();
    assert_eq!(world.delivered("password"), second);
    assert_eq!(stages(&world), [["Previous"], ["Current"]]);
}

#[test]
fn going_back_is_no_repair_of_what_somebody_else_changed() {
    let mut world = World::new(&with_password("app"));
    world.settle();
    regenerate(&mut world, "again");
    let first = kept(&world)[0].0.clone();
    go_back_to(&mut world, &first);
    let repair = |step: &super::super::super::step::Step| match step {
        super::super::super::step::Step::ApplyTarget(write) => write.repair,
        _ => false,
    };
    assert!(!world.plan().steps.iter().any(repair));
}

#[test]
fn a_version_that_the_spec_would_change_at_once_does_not_come_back() {
    let mut world = World::new(&with_password("old"));
    world.settle();
    world.edit(with_password("new"));
    world.settle();
    let first = kept(&world)[0].0.clone();
    go_back_to(&mut world, &first);
    world.settle();
    assert_eq!(world.stored("user").unwrap(), b"new");
    assert_eq!(stages(&world), [["Previous"], ["Current"]]);
    let message = message(&mut world);
    assert!(message.contains("keys user; change the spec"), "{message}");
    // Then it can.
    world.edit(with_password("old"));
    world.settle();
    assert_eq!(world.stored("user").unwrap(), b"old");
}

#[test]
fn a_request_for_another_state_is_told_of_and_not_obeyed() {
    let mut world = World::new(&with_password("app"));
    world.settle();
    let first = kept(&world)[0].0.clone();
    let request = format!("{first}@{}", sequence(&world));
    regenerate(&mut world, "again");
    let second = world.stored("password");
    world.annotate(ANNOTATION_ROLLBACK, &request);
    world.settle();
    assert_eq!(world.stored("password"), second);
    let plan = world.plan();
    let ready = plan.ready.unwrap();
    assert!(ready.status, "nothing is wrong with the secret");
    assert!(ready.message.contains("ask again"), "{}", ready.message);
}

#[test]
fn a_label_holds_a_version_that_would_go_otherwise() {
    let mut world = World::new(&with_password("app"));
    world.settle();
    let first = kept(&world)[0].0.clone();
    let mut spec = world.spec();
    spec["versionStages"] = json!({"blue": first});
    world.edit(spec);
    world.settle();
    for token in 0..30 {
        world.wait(25 * 3600);
        regenerate(&mut world, &token.to_string());
    }
    assert_eq!(world.versions(), 10);
    assert_eq!(kept(&world)[0], (first.clone(), vec!["blue".to_owned()]));
    go_back_to(&mut world, &first);
    world.settle();
    assert_eq!(stages(&world)[0], ["Current", "blue"]);
}

#[test]
fn a_label_on_a_version_that_is_not_kept_is_told_of_and_stops_nothing() {
    let mut world = World::new(&with_password("app"));
    let mut spec = with_password("app");
    spec["versionStages"] = json!({"blue": "00000000-0000-4000-8000-000000000000"});
    world.edit(spec);
    world.settle();
    assert!(world.delivered("password").is_some());
    let ready = world.plan().ready.unwrap();
    assert_eq!(
        (ready.status, ready.reason),
        (false, Reason::VersionNotFound)
    );
    assert!(
        ready.message.contains("versions of blue"),
        "{}",
        ready.message
    );
}

/// Case B10: a thousand changes, be they quick or slow, leave a bounded past.
#[test]
fn a_thousand_changes_leave_a_bounded_past() {
    for (seconds, most) in [(1, 100), (3600, 26), (25 * 3600, 10)] {
        let mut world = World::new(&with_password("app"));
        world.settle();
        for token in 0..1000 {
            world.wait(seconds);
            regenerate(&mut world, &token.to_string());
        }
        let versions = world.versions();
        assert!((10..=most).contains(&versions), "{versions} > {most}");
        let secret = serde_json::to_vec(&*world.seen.secret).unwrap();
        assert!(secret.len() < 64 * 1024, "{} bytes", secret.len());
        let manifest = world.seen.truth.manifest().unwrap().to_json();
        assert!(manifest.len() < 64 * 1024, "{} bytes", manifest.len());
    }
}

#[test]
fn what_has_no_room_is_refused_before_anything_is_written() {
    let large = |index: usize| "x".repeat(65_000 + index);
    let spec = |index: usize, labels: &Value| {
        json!({
            "literals": {"a": large(index), "b": large(index), "c": large(index), "d": large(index)},
            "target": {"form": "None"},
            "versionStages": labels,
        })
    };
    let mut world = World::new(&spec(0, &json!({})));
    world.settle();
    let mut labels = json!({});
    for index in 1..4 {
        let current = kept(&world).pop().unwrap().0;
        labels[format!("label-{index}")] = json!(current);
        world.edit(spec(index - 1, &labels));
        world.settle();
        world.edit(spec(index, &labels));
        if index < 3 {
            world.settle();
        }
    }
    let before = kept(&world);
    let message = world.refused(Reason::ValueTooLarge);
    assert!(message.contains("spec.versionStages"), "{message}");
    assert_eq!(kept(&world), before);
    world.edit(spec(3, &json!({})));
    world.settle();
    assert!(world.versions() < before.len() + 1, "room was made");
}
