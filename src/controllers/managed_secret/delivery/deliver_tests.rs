use serde_json::{Value, json};

use super::super::super::step::Step;
use super::super::super::testing::{World, target};
use super::super::target::Owner;
use super::*;

fn literal(more: &Value) -> Value {
    json!({"literals": {"k": "v"}, "target": {"form": "Plain"}, "template": more})
}

#[test]
fn a_target_that_is_in_the_way_is_left_alone() {
    let cases = [
        (Owner::Nobody, Reason::TargetExists),
        (
            Owner::Other("shop/first".into()),
            Reason::TargetOwnedByOther,
        ),
        (
            Owner::Controller("ConfigMap c".into()),
            Reason::TargetOwnedByOther,
        ),
    ];
    for (owner, reason) in cases {
        let mut world = World::new(&literal(&Value::Null));
        world.seen.target = Some(target("app", owner, &[("k", "v")]));
        world.refused(reason);
    }
    for existing in ["Adopt", "Merge"] {
        let spec =
            json!({"literals": {"k": "v"}, "target": {"form": "Plain", "existing": existing}});
        let mut world = World::new(&spec);
        let owner = Owner::Controller("ConfigMap c".into());
        world.seen.target = Some(target("app", owner, &[("k", "v")]));
        world.refused(Reason::TargetOwnedByOther);
    }
}

#[test]
fn a_type_is_changed_by_making_the_target_anew_if_nothing_else_is_in_it() {
    let typed = json!({"type": "example.com/x", "data": {"k": "[[ k ]]"}});
    let mut world = World::new(&literal(&Value::Null));
    world.settle();
    world.edit(literal(&typed));
    let steps = world.plan().steps;
    assert!(matches!(
        steps[..],
        [Step::DeleteTarget(_), Step::ApplyTarget(_)]
    ));
    world.settle();
    world.edit(literal(&Value::Null));
    world
        .seen
        .target
        .as_mut()
        .unwrap()
        .keys
        .insert("foreign".into());
    let message = world.refused(Reason::TargetTypeConflict);
    assert!(
        message.contains("example.com/x") && message.contains("Opaque"),
        "{message}"
    );
}

/// Plans, and expects the target to be held; returns the steps and what is said.
#[track_caller]
fn held(world: &mut World) -> (Vec<Step>, String) {
    let plan = world.plan();
    let ready = plan.ready.unwrap();
    assert_eq!((ready.status, ready.reason), (false, Reason::TargetInUse));
    assert_eq!(plan.users_again, Some(in_use::AGAIN));
    (plan.steps, ready.message)
}

#[test]
fn plaintext_that_somebody_refers_to_stays() {
    let plain = json!({"literals": {"k": "v"}, "target": {"form": "Plain"}});
    let sealed = json!({"literals": {"k": "v"}});
    let mut world = World::new(&plain);
    world.settle();
    world.used(&[("app", 6)]);
    assert!(
        world.plan().steps.is_empty(),
        "nobody asks for another form"
    );
    world.edit(sealed.clone());
    let (steps, told) = held(&mut world);
    assert!(steps.is_empty());
    assert!(
        told.contains("Pod p5 and others get it") && !told.contains("p6"),
        "{told}"
    );
    world.seen.users = Err("pods is forbidden".to_owned());
    let (steps, told) = held(&mut world);
    assert!(steps.is_empty());
    assert!(
        told.contains("cannot be found out: pods is forbidden"),
        "{told}"
    );
    world.used(&[]);
    held(&mut world);
    world.used(&[("app", 0)]);
    let steps = world.plan().steps;
    assert!(matches!(
        steps[..],
        [
            Step::WriteTruth(_),
            Step::DeleteTarget(_),
            Step::ApplyTarget(_)
        ]
    ));
    world.settle();
    // What is sealed, or is none of ours, is no plaintext of ours.
    world.used(&[("app", 1)]);
    assert!(world.plan().steps.is_empty());
    let mut world = World::new(&sealed);
    world.used(&[("app", 1)]);
    world.seen.target = Some(target("app", Owner::Nobody, &[("k", "v")]));
    world.refused(Reason::TargetExists);
}

/// A secret that was delivered in plaintext, which is used, and that is to be sealed.
fn held_world(type_: &str) -> World {
    let typed = json!({"type": type_, "data": {"k": "[[ k ]]"}});
    let mut world = World::new(&literal(&typed));
    world.settle();
    world.used(&[("app", 1)]);
    world.edit(json!({"literals": {"k": "v"}, "template": {"data": {"k": "[[ k ]]"}}}));
    world
}

#[test]
fn plaintext_that_stays_has_current_values_and_everything_else_goes_on() {
    let mut world = held_world("example.com/x");
    world.settle();
    world.edit(json!({"literals": {"k": "w", "more": "m"},
        "template": {"data": {"k": "[[ k ]]", "more": "[[ more ]]"}}}));
    let (steps, told) = held(&mut world);
    assert!(
        told.contains("stays in plaintext, with current values, and"),
        "{told}"
    );
    let [Step::WriteTruth(truth), Step::ApplyTarget(write)] = &steps[..] else {
        panic!("{} steps", steps.len());
    };
    assert_eq!(truth.manifest.target("app").unwrap().form, Form::Plain);
    assert!(write.seal_under.is_none() && !write.repair);
    assert_eq!(write.type_, "example.com/x", "a type cannot change");
    world.settle();
    assert_eq!(world.versions(), 2);
    assert_eq!(world.delivered("k").unwrap(), b"w");
    assert_eq!(world.delivered("more").unwrap(), b"m");
    let status = world.seen.secret.status.clone().unwrap();
    assert_eq!(status.target_ref.unwrap().form, Form::Plain);
    assert!(world.plan().is_delivered(), "so that restarts go on, too");
    // What somebody else changes is put right, as ever.
    world.seen.target.as_mut().unwrap().delivered.clear();
    let (steps, _) = held(&mut world);
    assert!(matches!(&steps[..], [Step::ApplyTarget(write)] if write.repair));
    world.settle();
    // Then it goes on to what was asked, which is no repair.
    world.used(&[("app", 0)]);
    let steps = world.plan().steps;
    let [
        Step::WriteTruth(truth),
        Step::DeleteTarget(_),
        Step::ApplyTarget(write),
    ] = &steps[..]
    else {
        panic!("{} steps", steps.len());
    };
    assert_eq!(truth.manifest.target("app").unwrap().form, Form::Sealed);
    assert!(write.seal_under.is_some() && !write.repair);
    world.settle();
}

#[test]
fn no_key_is_taken_out_of_plaintext_that_is_used() {
    let mut world = held_world("Opaque");
    world.edit(json!({"literals": {"k": "w"}, "template": {"data": {"other": "[[ k ]]"}}}));
    let (steps, told) = held(&mut world);
    assert!(
        matches!(steps[..], [Step::WriteTruth(_)]),
        "what is stored goes on"
    );
    assert!(told.contains("since k would be taken out of it"), "{told}");
    world.settle();
    assert!(!world.plan().is_delivered());
    assert_eq!(world.delivered("k").unwrap(), b"v");
    // Nor can data change that somebody made immutable.
    let mut world = held_world("Opaque");
    world.seen.target.as_mut().unwrap().immutable = true;
    world.edit(json!({"literals": {"k": "w"}}));
    let (steps, told) = held(&mut world);
    assert!(matches!(steps[..], [Step::WriteTruth(_)]));
    assert!(told.contains("since it is immutable"), "{told}");
}

#[test]
fn an_adopted_secret_with_plaintext_that_is_used_stays_too() {
    let spec = json!({"literals": {"k": "v"}, "target": {"form": "Plain", "existing": "Merge"}});
    let mut world = World::new(&spec);
    world.seen.target = Some(target("app", Owner::Nobody, &[("theirs", "t")]));
    world.settle();
    world.used(&[("app", 1)]);
    world.edit(json!({"literals": {"k": "w"}}));
    held(&mut world);
    world.settle();
    assert_eq!(world.delivered("k").unwrap(), b"w");
    world.used(&[("app", 0)]);
    world.settle();
    let target = world.seen.target.as_ref().unwrap();
    assert_eq!(target.owned, ["k.sealed".to_owned()].into());
    world.used(&[("app", 1)]);
    assert_eq!(world.step(), 0, "nothing of ours is plaintext any more");
}

#[test]
fn labels_and_annotations_change_without_a_version() {
    let worn =
        |labels: Value| json!({"metadata": {"labels": labels, "annotations": {"team": "orders"}}});
    let mut world = World::new(&literal(&worn(json!({"a": "1"}))));
    world.settle();
    assert_eq!(
        world.delivered("k").unwrap(),
        b"v",
        "without data the keys go out as they are"
    );
    world.edit(literal(&worn(json!({"b": "2"}))));
    let steps = world.plan().steps;
    let [Step::ApplyTarget(write)] = &steps[..] else {
        panic!("only the target is written");
    };
    assert!(!write.repair, "it was asked for");
    world.settle();
    assert_eq!(world.versions(), 1);
    world.seen.target.as_mut().unwrap().dressed = false;
    let steps = world.plan().steps;
    assert!(matches!(&steps[..], [Step::ApplyTarget(write)] if write.repair));
}

#[test]
fn an_immutable_target_is_written_only_if_its_data_stay() {
    let mut world = World::new(&literal(&Value::Null));
    world.settle();
    world.seen.target.as_mut().unwrap().immutable = true;
    assert!(world.plan().steps.is_empty());
    world.seen.target.as_mut().unwrap().dressed = false;
    assert!(matches!(world.plan().steps[..], [Step::ApplyTarget(_)]));
    world.seen.target.as_mut().unwrap().delivered.clear();
    world.refused(Reason::TargetImmutable);
    // What is sealed anew is other data.
    let mut world = World::new(&json!({"literals": {"k": "v"}}));
    world.settle();
    let target = world.seen.target.as_mut().unwrap();
    (target.immutable, target.dressed) = (true, false);
    world.refused(Reason::TargetImmutable);
}

#[test]
fn a_template_that_fails_names_its_key_and_no_value() {
    let mut world = World::new(&literal(&json!({"data": {"url": "\n[[ nosuch ]]"}})));
    let message = world.refused(Reason::TemplateFailed);
    assert!(
        message.contains("url") && message.contains("line 2"),
        "{message}"
    );
}

#[test]
fn what_a_sealed_target_cannot_hold_is_refused_before_anything_is_written() {
    let long = "k".repeat(250);
    let mut world = World::new(&json!({"literals": {long.clone(): "v"}}));
    world.refused(Reason::InvalidSpec);
    let mut world = World::new(&json!({"literals": {long: "v"}, "target": {"form": "Plain"}}));
    world.settle();
    // Many keys with a large context each: small as a value, large as envelopes.
    let keys: std::collections::BTreeMap<_, _> = (0..64).map(|i| (format!("k{i}"), "v")).collect();
    let pairs: std::collections::BTreeMap<_, _> = (0..16)
        .map(|i| (format!("{i:0>200}"), "x".repeat(1024)))
        .collect();
    let mut world = World::new(&json!({"literals": keys, "encryptionContext": pairs}));
    let plan = world.plan();
    let ready = plan.ready.unwrap();
    assert!(!ready.status && plan.steps.is_empty(), "{}", ready.message);
}

#[test]
fn drift_is_what_differs_from_a_value_that_stood() {
    let repairs = |world: &mut World| {
        let steps = world.plan().steps;
        steps
            .iter()
            .any(|step| matches!(step, Step::ApplyTarget(write) if write.repair))
    };
    let mut world = World::new(&literal(&Value::Null));
    assert!(!repairs(&mut world), "a new target");
    world.settle();
    world.seen.target.as_mut().unwrap().delivered.clear();
    assert!(repairs(&mut world), "a changed one");
    world.seen.target = None;
    assert!(repairs(&mut world), "a deleted one");
    world.settle();
    world.edit(json!({"literals": {"k": "w"}, "target": {"form": "Plain"}}));
    assert!(!repairs(&mut world), "a new value");
}

#[test]
fn what_is_left_behind_goes_as_its_policy_says() {
    let named = |name: &str, policy: &str| json!({"literals": {"k": "v"}, "target": {"form": "Plain", "name": name, "deletionPolicy": policy}});
    let mut world = World::new(&named("first", "Delete"));
    world.settle();
    world.edit(named("second", "Delete"));
    let plan = world.plan();
    assert!(
        plan.steps
            .iter()
            .any(|step| matches!(step, Step::DeleteTarget(t) if t.name == "first"))
    );
    assert!(plan.soon);
    world.settle();
    assert!(world.seen.leftovers.is_empty());
    world.edit(named("third", "Retain"));
    let steps = world.plan().steps;
    assert!(
        !steps
            .iter()
            .any(|step| matches!(step, Step::DeleteTarget(_)))
    );
    // Of a Secret that was merged into, only our keys are taken out.
    let mut world = World::new(&named("first", "Delete"));
    world.settle();
    world.seen.target.as_mut().unwrap().existing = Existing::Merge;
    world.edit(named("second", "Delete"));
    let steps = world.plan().steps;
    assert!(
        steps
            .iter()
            .any(|step| matches!(step, Step::ReleaseTarget(t) if t.name == "first"))
    );
}
