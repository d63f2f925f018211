use std::sync::Arc;

use serde_json::{Value, json};

use super::super::answer::{after, underway};
use super::*;
use crate::api::names::ANNOTATION_TEST_ROTATION;
use crate::api::{ConditionType, ManagedSecret};
use crate::controllers::uses::Uses;
use crate::crypto::OsRandom;
use crate::rotation::machine::{Consumers, MOST_REFUSED};
use crate::rotation::rotator::Outcome;
use crate::rotation::timing::Crontabs;
use crate::secrets::testing::{IDS, with_versions};
use crate::secrets::{Manifest, Substitutes};
use crate::truth::testing::stored;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const NOW: &str = "2026-05-02T12:00:00Z";

fn schedule(spec: &Value) -> RotationSchedule {
    let mut whole =
        json!({"secretRef": {"name": "db"}, "strategy": {"regenerate": {}}, "jitter": "0s"});
    for (field, value) in spec.as_object().unwrap() {
        whole[field] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "keystead.dev/v1alpha1", "kind": "RotationSchedule",
        "metadata": {"namespace": "shop", "name": "db", "uid": "s1", "generation": 1}, "spec": whole,
    }))
    .unwrap()
}

fn secret(spec: &Value) -> ManagedSecret {
    serde_json::from_value(json!({
        "apiVersion": "keystead.dev/v1alpha1", "kind": "ManagedSecret",
        "metadata": {"namespace": "shop", "name": "db", "uid": "u1"}, "spec": spec,
    }))
    .unwrap()
}

/// A schedule, and what is remembered of its secret's rotations.
fn seen(spec: &Value, record: Option<SecretRotation>) -> Observed {
    let mut manifest = with_versions(&IDS[..1]);
    if let Some(record) = record {
        manifest.record_rotation(record).unwrap();
    }
    let schedule = schedule(spec);
    Observed {
        seed: 0,
        timing: Timing::read(&schedule.spec, &Crontabs::default()),
        elder: None,
        secret: Some(Arc::new(secret(
            &json!({"generate": [{"key": "password", "password": {}}]}),
        ))),
        truth: Some(truth(manifest)),
        user: None,
        consumers: None,
        held: false,
        uses: Uses::default(),
        schedule: Arc::new(schedule),
    }
}

fn truth(manifest: Manifest) -> Truth {
    Truth {
        manifest,
        stored: stored("shop", "db"),
    }
}

fn planned(seen: &Observed) -> Plan {
    plan(seen, at(NOW), &mut OsRandom)
}

fn asked(plan: Plan) -> Asked {
    match plan.doing {
        Doing::Ask(asked) => *asked,
        other => panic!("{other:?}"),
    }
}

fn idle(since: &str) -> SecretRotation {
    SecretRotation::new(at(since))
}

#[test]
fn a_new_schedule_is_written_down_and_rotates_nothing() {
    let seen = seen(&json!({"schedule": {"every": "24h"}}), None);
    let asked = asked(planned(&seen));
    assert_eq!(asked.change, Change::Record);
    assert_eq!(asked.record, idle(NOW));
    assert_eq!(asked.sequence, seen.truth.unwrap().manifest.sequence());
}

#[test]
fn what_is_due_makes_a_pending_version_and_says_so() {
    let spec = json!({"schedule": {"every": "24h"}});
    let plan = planned(&seen(&spec, Some(idle("2026-05-01T12:00:00Z"))));
    assert_eq!(plan.step, Some(RotationStep::CreateSecret));
    assert_eq!(plan.ready.reason, Reason::Rotating);
    let asked = asked(plan);
    let running = asked.record.running.unwrap();
    assert_eq!(asked.record.since, at(NOW));
    let Change::Create {
        version,
        substitutes,
    } = asked.change
    else {
        panic!("nothing is made");
    };
    assert_eq!((running.version, running.promoted), (version, None));
    assert_eq!(substitutes, Substitutes::new());
}

#[test]
fn what_is_not_due_says_when_it_is_and_a_token_counts_also_when_suspended() {
    let spec = json!({"schedule": {"every": "24h"}});
    let waits = planned(&seen(&spec, Some(idle("2026-05-02T11:00:00Z"))));
    assert!(matches!(waits.doing, Doing::Nothing));
    assert_eq!(waits.next, Some(at("2026-05-03T11:00:00Z")));
    assert_eq!(waits.ready.message, "rotates next at 2026-05-03T11:00:00Z");
    let spec = json!({"schedule": {"every": "1h"}, "suspend": true});
    let mut suspended = seen(&spec, Some(idle("2026-05-01T00:00:00Z")));
    assert!(matches!(planned(&suspended).doing, Doing::Nothing));
    let resource = Arc::make_mut(&mut suspended.schedule);
    let annotations = resource.metadata.annotations.get_or_insert_default();
    annotations.insert(ANNOTATION_ROTATE.to_owned(), "now".to_owned());
    let asked = asked(planned(&suspended));
    assert!(asked.record.has_obeyed("now"));
}

#[test]
fn what_cannot_be_rotated_is_refused_with_the_remedy() {
    let refused = |seen: &Observed, reason: Reason, word: &str| {
        let plan = planned(seen);
        assert!(matches!(plan.doing, Doing::Nothing), "{word}");
        assert_eq!(plan.ready.reason, reason, "{word}");
        assert!(plan.ready.message.contains(word), "{}", plan.ready.message);
    };
    let new = || seen(&json!({}), Some(idle(NOW)));
    let mut younger = new();
    younger.elder = Some("first".to_owned());
    refused(&younger, Reason::Conflict, "first");
    let mut absent = new();
    absent.secret = None;
    refused(&absent, Reason::SecretNotFound, "db");
    let mut nothing = new();
    nothing.secret = Some(Arc::new(secret(&json!({"literals": {"a": "b"}}))));
    refused(&nothing, Reason::InvalidSpec, "spec.generate");
    let mut replica = new();
    let source = json!({"replicaOf": {"namespace": "bank", "name": "db"}});
    replica.secret = Some(Arc::new(secret(&source)));
    refused(&replica, Reason::InvalidSpec, "source");
    let mut unopened = new();
    unopened.truth = None;
    refused(&unopened, Reason::Waiting, "condition");
    let postgres = json!({"strategy": {"postgres": {"users": "Single"}}});
    let mut database = seen(&postgres, Some(idle(NOW)));
    let token = json!({"generate": [{"key": "token", "password": {}}]});
    database.secret = Some(Arc::new(secret(&token)));
    refused(&database, Reason::InvalidSpec, "password");
    let never = seen(
        &json!({"schedule": {"cron": "0 0 31 2 *"}}),
        Some(idle(NOW)),
    );
    refused(&never, Reason::InvalidSpec, "never comes");
}

/// A rotation of the first version whose pending one is the second.
fn running() -> SecretRotation {
    let mut record = idle("2026-05-01T12:00:00Z");
    record.running = Some(Running {
        version: IDS[1].parse().unwrap(),
        strategy: "regenerate".to_owned(),
        begun: at("2026-05-02T11:00:00Z"),
        created: None,
        cancelled: None,
        promoted: None,
        delivered: None,
        loaded: None,
        refused: 0,
    });
    record
}

fn answered(seen: &Observed, answer: &Outcome) -> Plan {
    let errand = Errand::Carry(IDS[1].parse().unwrap());
    let plan = planned(seen);
    after(plan, seen, errand, answer, (at(NOW), &mut OsRandom))
}

#[test]
fn what_the_other_side_takes_becomes_current() {
    let seen = seen(&json!({}), Some(running()));
    assert!(matches!(
        planned(&seen).doing,
        Doing::Errand(Errand::Carry(_))
    ));
    let plan = answered(&seen, &Outcome::Done);
    assert_eq!(plan.step, Some(RotationStep::FinishSecret));
    let asked = asked(plan);
    assert_eq!(asked.change, Change::Promote(IDS[1].parse().unwrap()));
    assert_eq!(asked.record.running.unwrap().promoted, Some(at(NOW)));
}

#[test]
fn a_value_that_is_refused_for_what_it_is_has_another_in_its_place_and_not_for_ever() {
    let refused = Outcome::ValueRefused("too simple".to_owned());
    let first = asked(answered(&seen(&json!({}), Some(running())), &refused));
    let after = first.record.running.unwrap();
    assert_ne!(after.version.as_str(), IDS[1]);
    assert_eq!(after.refused, 1);
    assert!(matches!(first.change, Change::Create { .. }));
    let mut last = running();
    last.running.as_mut().unwrap().refused = MOST_REFUSED - 1;
    let plan = answered(&seen(&json!({}), Some(last)), &refused);
    assert_eq!(plan.ready.reason, Reason::ValueRefused);
    let asked = asked(plan);
    assert_eq!(asked.change, Change::Record);
    let stays = asked.record.running.as_ref().unwrap();
    assert_eq!(stays.version.as_str(), IDS[1], "it can be cancelled");
    let seen = seen(&json!({}), Some(asked.record));
    let plan = planned(&seen);
    assert!(matches!(plan.doing, Doing::Nothing));
    assert!(plan.ready.message.contains(ANNOTATION_ROTATE));
}

#[test]
fn what_does_not_succeed_is_tried_again_and_says_why() {
    let seen = seen(&json!({}), Some(running()));
    for (answer, reason, beside) in [
        (
            Outcome::Retry("away".to_owned()),
            Reason::RotationFailed,
            None,
        ),
        (
            Outcome::Rejected("away".to_owned()),
            Reason::RotationRejected,
            None,
        ),
        (
            Outcome::OwnershipConflict("away".to_owned()),
            Reason::OwnershipConflict,
            Some(ConditionType::OwnershipConflict),
        ),
    ] {
        let plan = answered(&seen, &answer);
        assert!(matches!(plan.doing, Doing::Retry));
        assert_eq!((plan.ready.status, plan.ready.reason), (false, reason));
        assert_eq!(plan.ready.message, "away");
        assert_eq!(plan.beside.map(|it| it.condition), beside);
    }
}

#[test]
fn pods_that_are_waited_for_are_named() {
    let mut record = running();
    record.running.as_mut().unwrap().promoted = Some(at("2026-05-02T10:59:59Z"));
    let pods: Vec<_> = (0..7).map(|number| format!("web-{number}")).collect();
    record.running.as_mut().unwrap().strategy = "postgres".to_owned();
    let strategy = json!({"postgres": {"users": "Alternating", "adminSecretRef": {"name": "pg"}}});
    let mut late = seen(&json!({"strategy": strategy}), Some(record));
    late.consumers = Some(Consumers::Behind(pods));
    let plan = planned(&late);
    assert_eq!(
        plan.beside.unwrap().condition,
        ConditionType::FinishStalled,
        "an hour is over"
    );
    assert!(
        plan.ready.message.contains("web-4 and 2 more"),
        "{}",
        plan.ready.message
    );
    late.consumers = Some(Consumers::UpToDate);
    let asked = asked(planned(&late));
    assert!(asked.record.running.is_none());
    assert_eq!(asked.record.history.len(), 1);
}

#[test]
fn what_was_begun_by_one_strategy_is_ended_by_no_other() {
    let mut record = running();
    record.running.as_mut().unwrap().strategy = "postgres".to_owned();
    let plan = planned(&seen(&json!({}), Some(record)));
    assert!(matches!(plan.doing, Doing::Nothing), "it is not promoted");
    assert_eq!(plan.ready.reason, Reason::RotationRejected);
    assert!(
        plan.ready.message.contains("spec.strategy back"),
        "{}",
        plan.ready.message
    );
}

#[test]
fn pods_are_waited_for_only_once_it_is_written_down_that_the_value_is_delivered() {
    let mut record = running();
    record.running.as_mut().unwrap().promoted = Some(at("2026-05-02T11:59:59Z"));
    let mut waits = seen(&json!({}), Some(record));
    waits.consumers = Some(Consumers::Undelivered);
    let plan = planned(&waits);
    assert!(matches!(plan.doing, Doing::Nothing));
    assert!(
        plan.ready.message.contains("not delivered"),
        "{}",
        plan.ready.message
    );
    waits.consumers = Some(Consumers::Delivered);
    let asked = asked(planned(&waits));
    assert_eq!(asked.record.running.unwrap().delivered, Some(at(NOW)));
}

#[test]
fn nothing_begins_while_a_restore_is_suspected() {
    let spec = json!({"schedule": {"every": "1h"}});
    let mut held = seen(&spec, Some(idle("2026-05-01T00:00:00Z")));
    held.held = true;
    let plan = planned(&held);
    assert!(matches!(plan.doing, Doing::Nothing));
    assert_eq!(plan.ready.reason, Reason::RestoreSuspected);
}

fn annotate(seen: &mut Observed, annotation: &str, value: &str) {
    let resource = Arc::make_mut(&mut seen.schedule);
    let annotations = resource.metadata.annotations.get_or_insert_default();
    annotations.insert(annotation.to_owned(), value.to_owned());
}

#[test]
fn what_is_cancelled_is_written_down_told_to_the_other_side_and_let_go() {
    let mut cancelled = seen(&json!({}), Some(running()));
    annotate(&mut cancelled, ANNOTATION_CANCEL_ROTATION, IDS[1]);
    let first = asked(planned(&cancelled));
    assert_eq!(first.change, Change::Record);
    assert_eq!(
        first.record.running.as_ref().unwrap().cancelled,
        Some(at(NOW))
    );
    // Also without the annotation from then on.
    let seen = seen(&json!({}), Some(first.record));
    let plan = planned(&seen);
    let Doing::Errand(errand @ Errand::Revert(_)) = plan.doing else {
        panic!("{plan:?}");
    };
    let plan = planned(&seen);
    let plan = after(
        plan,
        &seen,
        errand,
        &Outcome::Done,
        (at(NOW), &mut OsRandom),
    );
    let last = asked(plan);
    assert_eq!(last.change, Change::Cancel(IDS[1].parse().unwrap()));
    assert!(last.record.running.is_none());
    assert_eq!(last.record.history.last().unwrap().promoted, None);
}

#[test]
fn what_is_stored_is_tried_on_the_other_side_every_hour_and_when_asked() {
    let spec = json!({"strategy": {"postgres": {"users": "Single"}}});
    let mut idle = seen(&spec, Some(idle(NOW)));
    assert!(matches!(
        planned(&idle).doing,
        Doing::Errand(Errand::Check(None))
    ));
    let check = |result: &str, time: &str| json!({"check": {"result": result, "time": time, "version": IDS[0], "message": "theirs", "token": "first"}});
    let with = |status: &Value, seen: &mut Observed| {
        let resource = Arc::make_mut(&mut seen.schedule);
        resource.status = serde_json::from_value(status.clone()).unwrap();
    };
    with(&check("Passed", "2026-05-02T11:30:00Z"), &mut idle);
    let plan = planned(&idle);
    assert!(matches!(plan.doing, Doing::Nothing));
    assert_eq!(plan.next, Some(at("2026-05-02T12:30:00Z")));
    assert_eq!(plan.ready.reason, Reason::Scheduled);
    annotate(&mut idle, ANNOTATION_TEST_ROTATION, "first");
    assert!(matches!(planned(&idle).doing, Doing::Nothing));
    annotate(&mut idle, ANNOTATION_TEST_ROTATION, "second");
    let Doing::Errand(errand) = planned(&idle).doing else {
        panic!("the token is not obeyed");
    };
    let plan = after(
        planned(&idle),
        &idle,
        errand,
        &Outcome::OwnershipConflict("theirs".to_owned()),
        (at(NOW), &mut OsRandom),
    );
    assert!(matches!(plan.doing, Doing::Nothing));
    assert_eq!(plan.ready.reason, Reason::OwnershipConflict);
    assert_eq!(plan.check.unwrap().token.as_deref(), Some("second"));
    // It is said until it was tried again.
    with(
        &check("OwnershipConflict", "2026-05-02T11:58:00Z"),
        &mut idle,
    );
    annotate(&mut idle, ANNOTATION_TEST_ROTATION, "first");
    let plan = planned(&idle);
    assert_eq!(plan.ready.reason, Reason::OwnershipConflict);
    assert_eq!(plan.next, Some(at("2026-05-02T12:03:00Z")));
    // A server that is away is no matter of a schedule at rest.
    with(&check("Unreachable", "2026-05-02T11:58:00Z"), &mut idle);
    assert!(planned(&idle).ready.status);
}

#[test]
fn what_a_rotation_made_current_was_tried_by_it() {
    let spec = json!({"strategy": {"postgres": {"users": "Single"}}});
    let mut record = idle("2026-05-01T12:00:00Z");
    record.running = Some(Running {
        version: IDS[0].parse().unwrap(),
        promoted: Some(at("2026-05-02T11:20:00Z")),
        ..running().running.unwrap()
    });
    record.end(at("2026-05-02T11:21:00Z"), false);
    let plan = planned(&seen(&spec, Some(record)));
    assert!(matches!(plan.doing, Doing::Nothing));
    assert_eq!(plan.next, Some(at("2026-05-02T12:20:00Z")));
}

#[test]
fn what_nobody_else_knows_is_tried_only_when_asked() {
    let mut idle = seen(&json!({}), Some(idle(NOW)));
    // What was found under another strategy says nothing of this one.
    let check = json!({"check": {"result": "OwnershipConflict", "time": NOW, "version": IDS[0]}});
    Arc::make_mut(&mut idle.schedule).status = serde_json::from_value(check).unwrap();
    let plan = planned(&idle);
    assert!(matches!(plan.doing, Doing::Nothing));
    assert_eq!(plan.ready.reason, Reason::Scheduled);
    annotate(&mut idle, ANNOTATION_TEST_ROTATION, "now");
    assert!(matches!(
        planned(&idle).doing,
        Doing::Errand(Errand::Check(Some(_)))
    ));
}

/// A rotation by somebody's own code, of a secret that generates these keys.
fn by_code(generate: &Value, record: SecretRotation) -> Observed {
    let job = json!({"strategy": {"job": {"templateFrom": {"cronJob": {"name": "rotate"}}}}});
    let mut seen = seen(&job, Some(record));
    let spec = json!({"generate": generate, "stored": {}});
    seen.secret = Some(Arc::new(secret(&spec)));
    seen
}

fn by_regeneration(record: SecretRotation) -> Observed {
    seen(&json!({}), Some(record))
}

fn running_by_code() -> SecretRotation {
    let mut record = running();
    record.running.as_mut().unwrap().strategy = "job".to_owned();
    record
}

#[test]
fn where_code_makes_the_value_a_rotation_begins_with_nothing_but_an_id() {
    let mut seen = by_code(&json!([]), idle("2026-05-01T12:00:00Z"));
    let resource = Arc::make_mut(&mut seen.schedule);
    let annotations = resource.metadata.annotations.get_or_insert_default();
    annotations.insert(ANNOTATION_ROTATE.to_owned(), "now".to_owned());
    let plan = planned(&seen);
    assert_eq!(plan.step, Some(RotationStep::CreateSecret));
    let asked = asked(plan);
    assert_eq!(asked.change, Change::Record);
    let running = asked.record.running.unwrap();
    assert_eq!((running.strategy.as_str(), running.created), ("job", None));
    let seen = by_code(&json!([]), running_by_code());
    assert!(matches!(
        planned(&seen).doing,
        Doing::Errand(Errand::Create(_))
    ));
}

fn created(seen: &Observed, answer: &Outcome) -> Plan {
    let errand = Errand::Create(IDS[1].parse().unwrap());
    after(
        planned(seen),
        seen,
        errand,
        answer,
        (at(NOW), &mut OsRandom),
    )
}

#[test]
fn what_the_code_stored_is_taken_and_otherwise_a_value_is_generated_if_that_can_be() {
    // Stored by the code.
    let mut stored = by_code(&json!([]), running_by_code());
    let mut manifest = with_versions(&IDS[..2]);
    manifest.record_rotation(running_by_code()).unwrap();
    stored.truth = Some(truth(manifest));
    let taken = asked(created(&stored, &Outcome::Done));
    assert_eq!(taken.change, Change::Record);
    assert_eq!(taken.record.running.unwrap().created, Some(at(NOW)));
    // Left to the generators.
    let generates = json!([{"key": "token", "password": {}}]);
    let left = by_code(&generates, running_by_code());
    let left = asked(created(&left, &Outcome::Done));
    assert!(matches!(left.change, Change::Create { .. }));
    assert_eq!(left.record.running.unwrap().created, Some(at(NOW)));
    // Neither.
    let plan = created(&by_code(&json!([]), running_by_code()), &Outcome::Done);
    assert!(matches!(plan.doing, Doing::Retry));
    assert!(
        plan.ready.message.contains("PutSecretValue"),
        "{}",
        plan.ready.message
    );
}

#[test]
fn a_value_of_the_codes_own_that_is_refused_is_let_go_and_the_code_called_for_another() {
    let mut record = running_by_code();
    record.running.as_mut().unwrap().created = Some(at(NOW));
    let seen = by_code(&json!([]), record);
    let refused = answered(&seen, &Outcome::ValueRefused("too weak".to_owned()));
    let asked = asked(refused);
    assert_eq!(asked.change, Change::Cancel(IDS[1].parse().unwrap()));
    let running = asked.record.running.unwrap();
    assert_eq!((running.refused, running.created), (1, None));
    assert_ne!(running.version.as_str(), IDS[1]);
}

#[test]
fn the_value_before_is_retired_before_the_end_and_only_by_the_strategy_that_began_it() {
    let mut record = running_by_code();
    let running = record.running.as_mut().unwrap();
    running.promoted = Some(at("2026-05-02T11:10:00Z"));
    running.loaded = Some(at("2026-05-02T11:20:00Z"));
    let seen = by_code(&json!([]), record.clone());
    let plan = planned(&seen);
    assert_eq!(plan.step, Some(RotationStep::FinishSecret));
    let Doing::Errand(errand @ Errand::Retire(_)) = &plan.doing else {
        panic!("{:?}", plan.doing);
    };
    let errand = errand.clone();
    let ended = after(
        planned(&seen),
        &seen,
        errand.clone(),
        &Outcome::Done,
        (at(NOW), &mut OsRandom),
    );
    let ended = asked(ended);
    assert_eq!(ended.change, Change::Record);
    assert!(ended.record.running.is_none() && !ended.record.history[0].stalled);
    // No other value can take the place of one that is current.
    let refused = Outcome::ValueRefused("no".to_owned());
    let refused = after(
        planned(&seen),
        &seen,
        errand,
        &refused,
        (at(NOW), &mut OsRandom),
    );
    assert_eq!(refused.ready.reason, Reason::RotationRejected);
    assert_eq!(refused.step, Some(RotationStep::FinishSecret));
    // Neither another code nor a strategy that has nothing to retire.
    for changed in [
        by_code(&json!([]), {
            let mut record = record.clone();
            record.running.as_mut().unwrap().strategy = "webhook".to_owned();
            record
        }),
        by_regeneration(record.clone()),
    ] {
        let changed = planned(&changed);
        assert!(matches!(changed.doing, Doing::Nothing));
        assert_eq!(changed.ready.reason, Reason::RotationRejected);
        let message = changed.ready.message;
        assert!(message.contains("set spec.strategy back"), "{message}");
    }
}

#[test]
fn a_call_that_takes_its_time_says_so_and_a_check_says_nothing() {
    let seen = by_code(&json!([]), running_by_code());
    let plan = underway(planned(&seen), "Job x runs".to_owned(), "x".to_owned());
    assert!(matches!(plan.doing, Doing::Wait));
    assert_eq!(
        (&*plan.ready.message, plan.job.as_deref()),
        ("Job x runs", Some("x"))
    );
    let mut seen = by_code(&json!([]), idle(NOW));
    let resource = Arc::make_mut(&mut seen.schedule);
    let annotations = resource.metadata.annotations.get_or_insert_default();
    annotations.insert(ANNOTATION_TEST_ROTATION.to_owned(), "now".to_owned());
    let plan = planned(&seen);
    assert!(matches!(plan.doing, Doing::Errand(Errand::Check(_))));
    let plan = underway(plan, "Job x runs".to_owned(), "x".to_owned());
    assert_eq!(plan.ready.reason, Reason::Scheduled);
    // Nobody's code runs unasked.
    let idle = by_code(&json!([]), idle(NOW));
    assert!(matches!(planned(&idle).doing, Doing::Nothing));
}

#[test]
fn what_was_refused_for_the_last_time_goes_before_the_code_makes_another() {
    let mut record = running_by_code();
    record.running.as_mut().unwrap().refused = MOST_REFUSED;
    let mut seen = by_code(&json!([]), record);
    let resource = Arc::make_mut(&mut seen.schedule);
    let annotations = resource.metadata.annotations.get_or_insert_default();
    annotations.insert(ANNOTATION_ROTATE.to_owned(), "again".to_owned());
    let asked = asked(planned(&seen));
    assert_eq!(asked.change, Change::Cancel(IDS[1].parse().unwrap()));
    let running = asked.record.running.unwrap();
    assert_ne!(running.version.as_str(), IDS[1]);
    assert_eq!((running.refused, running.created), (0, None));
}
