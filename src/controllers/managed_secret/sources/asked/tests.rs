use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::super::step::Step;
use super::super::super::testing::World;
use crate::api::{ChangeError, Reason, SecretChangeStatus};
use crate::controllers::rotations::{Asked, Change};
use crate::crypto::SecretBytes;
use crate::secrets::testing::IDS;
use crate::secrets::{Running, SecretRotation, SecretValue, Stage, VersionId, from_text};

const OTHER: &str = "00000000-0000-4000-8000-0000000000aa";

fn everything() -> Value {
    json!({
        "generate": [{"key": "token", "hex": {"length": 16}}],
        "literals": {"host": "db"},
        "stored": {},
        "target": {"form": "Plain"},
    })
}

/// A secret that has that spec for its first version; what is in `stored` was put before.
fn world(spec: &Value) -> World {
    let mut world = World::new(spec);
    world.settle();
    world
}

fn put_as(world: &mut World, version: &str, stage: &str, text: &str) -> SecretChangeStatus {
    let put = json!({"put": {"versionId": version, "stage": stage, "value": "AA=="}});
    world.ask(&put, Some(from_text(text).unwrap()));
    world.settle();
    world.answered()
}

fn put(world: &mut World, version: &str, text: &str) -> SecretChangeStatus {
    put_as(world, version, "Current", text)
}

fn moved(
    world: &mut World,
    stage: &str,
    to: Option<&str>,
    from: Option<&str>,
) -> SecretChangeStatus {
    let mut parts = json!({"stage": stage});
    for (part, id) in [("moveToVersionId", to), ("removeFromVersionId", from)] {
        if let Some(id) = id {
            parts[part] = json!(id);
        }
    }
    world.ask(&json!({"moveStage": parts}), None);
    world.settle();
    world.answered()
}

fn current(world: &World) -> String {
    let manifest = world.seen.truth.manifest().unwrap();
    manifest.current().unwrap().id.to_string()
}

fn staged(world: &World, stage: &Stage) -> Option<String> {
    let manifest = world.seen.truth.manifest().unwrap();
    manifest.staged(stage).map(|version| version.id.to_string())
}

/// Where the change is refused, nothing is written for it.
#[track_caller]
fn refused(
    world: &mut World,
    change: impl FnOnce(&mut World) -> SecretChangeStatus,
) -> (ChangeError, String) {
    let (before, versions) = (current(world), world.versions());
    let sequence = world.seen.truth.manifest().unwrap().sequence();
    let status = change(world);
    assert_eq!(status.done, Some(false), "{status:?}");
    assert_eq!((current(world), world.versions()), (before, versions));
    let after = world.seen.truth.manifest().unwrap().sequence();
    assert_eq!(after, sequence, "nothing is written for it");
    let plan = world.plan();
    assert!(plan.steps.is_empty());
    assert_eq!(
        plan.ready.unwrap().reason,
        Reason::Synced,
        "the secret is as it was"
    );
    (status.code.unwrap(), status.message.unwrap())
}

fn running(strategy: &str, version: &str) -> Running {
    Running {
        version: version.parse().unwrap(),
        strategy: strategy.to_owned(),
        begun: Timestamp::UNIX_EPOCH,
        created: None,
        cancelled: None,
        promoted: None,
        delivered: None,
        loaded: None,
        refused: 0,
    }
}

fn rotate(world: &mut World, running: Option<Running>) {
    let mut record = SecretRotation::new(Timestamp::UNIX_EPOCH);
    record.running = running;
    world.manifest_mut().record_rotation(record).unwrap();
}

#[test]
fn what_is_put_becomes_current_before_it_is_answered_and_is_delivered_then() {
    let mut world = world(&everything());
    let first = current(&world);
    let token = world.stored("token");
    let text = "{\"host\":\"db\", \"password\":\"a\"}";
    let request = json!({"put": {"versionId": IDS[0], "stage": "Current", "value": "AA=="}});
    world.ask(&request, Some(from_text(text).unwrap()));
    let steps = world.plan().steps;
    assert!(matches!(
        steps[..],
        [Step::WriteTruth(_), Step::Answer(_), Step::ApplyTarget(_)]
    ));
    world.settle();
    let status = world.answered();
    assert_eq!(
        (status.done, &status.stages[..]),
        (Some(true), &["Current".to_owned()][..])
    );
    assert_eq!(current(&world), IDS[0]);
    assert_eq!(staged(&world, &Stage::Previous), Some(first));
    assert_eq!(world.stored("password").unwrap(), b"a");
    assert_eq!(
        world.stored("token"),
        token,
        "the spec names it, and it was not put"
    );
    assert_eq!(world.delivered("password").unwrap(), b"a");
    assert!(world.plan().steps.is_empty(), "a fixed point");
}

#[test]
fn a_key_that_a_put_leaves_out_is_gone_unless_the_spec_names_it() {
    let mut world = world(&everything());
    put(&mut world, IDS[0], "{\"a\":\"1\",\"b\":\"2\"}");
    assert_eq!(put(&mut world, IDS[1], "{\"b\":\"3\"}").done, Some(true));
    assert_eq!(world.stored("a"), None);
    assert_eq!(world.stored("b").unwrap(), b"3");
    assert_eq!(world.stored("host").unwrap(), b"db");
    let token = b"00000000000000000000000000000000".to_vec();
    let text = format!(
        "{{\"token\":\"{}\"}}",
        String::from_utf8(token.clone()).unwrap()
    );
    assert_eq!(put(&mut world, IDS[2], &text).done, Some(true));
    assert_eq!(
        world.stored("token").unwrap(),
        token,
        "a generated key may be put"
    );
}

#[test]
fn the_same_once_more_is_done_without_effect_and_another_value_of_that_id_is_refused() {
    let mut world = world(&everything());
    let text = "{\"password\": \"a\"}";
    put(&mut world, IDS[0], text);
    let sequence = world.seen.truth.manifest().unwrap().sequence();
    assert_eq!(put(&mut world, IDS[0], text).done, Some(true));
    put(&mut world, IDS[1], "{\"password\": \"b\"}");
    let again = put(&mut world, IDS[0], text);
    assert_eq!(
        (again.done, &again.stages[..]),
        (Some(true), &["Previous".to_owned()][..])
    );
    assert_eq!(current(&world), IDS[1], "what came later stays current");
    assert_eq!(
        world.seen.truth.manifest().unwrap().sequence(),
        sequence + 1
    );
    for other in [
        "{\"password\": \"c\"}",
        "{\"password\":\"a\",\"more\":\"\"}",
        "{}",
        "a",
    ] {
        let (code, message) = refused(&mut world, |world| put(world, IDS[0], other));
        assert_eq!(
            code,
            ChangeError::ResourceExistsException,
            "{other}: {message}"
        );
        assert!(message.contains("ClientRequestToken"), "{message}");
    }
}

#[test]
fn the_text_is_kept_only_where_the_keys_are_exactly_what_it_says() {
    let stored = json!({"stored": {}, "literals": {"host": "db"}, "target": {"form": "None"}});
    let mut world = world(&stored);
    let kept = |world: &World| {
        world
            .seen
            .truth
            .opened()
            .unwrap()
            .current
            .text()
            .map(str::to_owned)
    };
    let whole = "{ \"host\":\"db\",\"n\":1.0 }";
    put(&mut world, IDS[0], whole);
    assert_eq!(kept(&world).as_deref(), Some(whole));
    // Another spelling is another value, as it is to whoever reads it.
    let (code, _) = refused(&mut world, |world| {
        put(world, IDS[0], "{\"host\":\"db\",\"n\":1.0}")
    });
    assert_eq!(code, ChangeError::ResourceExistsException);
    put(&mut world, IDS[1], "{\"n\":1.0}");
    assert_eq!(kept(&world), None, "the spec adds the host");
    // The spec changes a key of what was put: the text says something else now.
    put(&mut world, IDS[2], whole);
    let mut spec = world.spec();
    spec["literals"]["host"] = json!("db-2");
    world.edit(spec);
    world.settle();
    assert_eq!(world.stored("host").unwrap(), b"db-2");
    assert_eq!(world.stored("n").unwrap(), b"1.0");
    assert_eq!(kept(&world), None);
}

#[test]
fn what_the_spec_says_otherwise_or_does_not_name_is_refused_by_the_names_of_keys() {
    let spec = json!({
        "generate": [{"key": "password", "password": {}},
                     {"key": "hash", "bcrypt": {"from": "password"}}],
        "literals": {"host": "C4N4RY"},
    });
    let mut world = world(&spec);
    for (text, said) in [
        (
            "{\"host\":\"other\"}",
            "key `host`: spec.literals says otherwise; change the spec",
        ),
        (
            "{\"user\":\"ann\"}",
            "key `user`: nothing in the spec names it; name it in spec.stored",
        ),
        ("plain text", "key `value`: nothing in the spec names it"),
        (
            "{\"hash\":\"x\"}",
            "key `hash`: spec.generate says otherwise",
        ),
    ] {
        let (code, message) = refused(&mut world, |world| put(world, IDS[0], text));
        assert_eq!(code, ChangeError::InvalidParameterException);
        assert!(message.contains(said), "{message}");
        assert!(!message.contains("C4N4RY"), "{message}");
    }
    let many: serde_json::Map<_, _> = (0..30).map(|n| (format!("k{n:02}"), json!(""))).collect();
    let many = Value::Object(many).to_string();
    let (_, message) = refused(&mut world, |world| put(world, IDS[0], &many));
    assert!(
        message.contains("k09") && !message.contains("k10"),
        "{message}"
    );
    assert!(message.ends_with("And 20 more keys"), "{message}");
}

#[test]
fn what_is_derived_follows_what_is_put_and_may_be_put_only_as_it_is() {
    let spec = json!({
        "generate": [{"key": "password", "password": {}}, {"key": "hash", "bcrypt": {"from": "password"}},
                     {"key": "id", "sshKey": {}}],
        "target": {"form": "None"},
    });
    let mut world = world(&spec);
    let text = |world: &World, key: &str| String::from_utf8(world.stored(key).unwrap()).unwrap();
    let all = json!({"password": text(&world, "password"), "hash": text(&world, "hash"), "id": text(&world, "id"), "id.pub": text(&world, "id.pub")});
    // What was read is put back.
    assert_eq!(put(&mut world, IDS[0], &all.to_string()).done, Some(true));
    let (hash, public) = (text(&world, "hash"), text(&world, "id.pub"));
    assert_eq!(
        put(&mut world, IDS[1], "{\"password\":\"other\"}").done,
        Some(true)
    );
    assert!(bcrypt::verify("other", &text(&world, "hash")).unwrap());
    let old = json!({"password": "third", "hash": hash}).to_string();
    let (_, message) = refused(&mut world, |world| put(world, IDS[2], &old));
    assert!(
        message.contains("key `hash`: spec.generate says otherwise"),
        "{message}"
    );
    // Another private half has another public one.
    let mut donor = self::world(&spec);
    let private = text(&donor, "id");
    let both = json!({"id": private, "id.pub": public}).to_string();
    let (_, message) = refused(&mut world, |world| put(world, IDS[2], &both));
    assert!(message.contains("key `id.pub`"), "{message}");
    let only = json!({"id": private}).to_string();
    assert_eq!(put(&mut world, IDS[2], &only).done, Some(true));
    donor.settle();
    let key = |text: &str| {
        text.split(' ')
            .take(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(key(&text(&world, "id.pub")), key(&text(&donor, "id.pub")));
}

#[test]
fn keys_that_the_spec_stores_by_name_are_put_all_and_no_others() {
    let spec = json!({"literals": {"host": "db"}, "stored": {}, "target": {"form": "None"}});
    let mut world = world(&spec);
    put(&mut world, IDS[0], "{\"a\":\"1\",\"b\":\"2\"}");
    let mut named = spec.clone();
    named["stored"] = json!({"keys": ["a", "b"]});
    world.edit(named);
    world.settle();
    assert_eq!(
        put(&mut world, IDS[1], "{\"a\":\"3\",\"b\":\"4\"}").done,
        Some(true)
    );
    let (code, message) = refused(&mut world, |world| put(world, IDS[2], "{\"a\":\"5\"}"));
    assert_eq!(code, ChangeError::InvalidParameterException);
    assert!(message.contains("key `b` is left out"), "{message}");
    let three = "{\"a\":\"5\",\"b\":\"6\",\"c\":\"7\"}";
    let (_, message) = refused(&mut world, |world| put(world, IDS[2], three));
    assert!(message.contains("key `c`"), "{message}");
}

#[test]
fn a_value_that_cannot_be_delivered_is_refused_and_the_secret_stays_as_it_is() {
    let spec = json!({
        "literals": {"host": "db"}, "generate": [{"key": "pin", "password": {}}],
        "template": {"data": {"url": "[[ host ]]:[[ pin ]]"}},
        "target": {"form": "Plain"},
    });
    let mut world = world(&spec);
    // The template takes no bytes that are no text.
    let request = json!({"put": {"versionId": IDS[0], "stage": "Current", "value": "AA=="}});
    let binary = |world: &mut World| {
        let pin = ("pin".to_owned(), SecretBytes::copy_of(&[0xff]));
        world.ask(&request, Some(SecretValue::from_entries([pin]).unwrap()));
        world.settle();
        world.answered()
    };
    let (code, message) = refused(&mut world, binary);
    assert_eq!(code, ChangeError::InvalidParameterException);
    assert!(message.contains("template `url`"), "{message}");

    let mut world = self::world(&everything());
    let large = |world: &mut World| {
        let bytes = SecretBytes::zeroed(crate::secrets::MAX_PLAINTEXT - 8);
        let value = SecretValue::from_entries([("a".to_owned(), bytes)]);
        world.ask(&request, Some(value.unwrap()));
        world.settle();
        world.answered()
    };
    let (code, message) = refused(&mut world, large);
    assert_eq!(code, ChangeError::InvalidParameterException);
    assert!(message.contains("limit"), "{message}");
}

#[test]
fn outside_of_a_rotation_nothing_is_put_as_pending_and_in_one_nothing_else() {
    let mut world = world(&everything());
    let pending = |world: &mut World| put_as(world, OTHER, "Pending", "{\"a\":\"1\"}");
    let (code, message) = refused(&mut world, pending);
    assert_eq!(code, ChangeError::InvalidRequestException);
    assert!(message.contains("no rotation is under way"), "{message}");
    for strategy in ["regenerate", "postgres"] {
        rotate(&mut world, Some(running(strategy, OTHER)));
        let (code, _) = refused(&mut world, pending);
        assert_eq!(code, ChangeError::InvalidRequestException, "{strategy}");
    }
    let time = Some(Timestamp::UNIX_EPOCH);
    let job = || running("job", OTHER);
    for not_now in [
        Running {
            created: time,
            ..job()
        },
        Running {
            cancelled: time,
            ..job()
        },
        Running {
            promoted: time,
            ..job()
        },
        running("job", IDS[2]),
    ] {
        rotate(&mut world, Some(not_now));
        refused(&mut world, pending);
    }
    rotate(&mut world, Some(job()));
    let (_, message) = refused(&mut world, |world| put(world, IDS[0], "{\"a\":\"1\"}"));
    assert!(message.contains("a rotation is under way"), "{message}");
    let before = current(&world);
    let status = pending(&mut world);
    assert_eq!(
        (status.done, &status.stages[..]),
        (Some(true), &["Pending".to_owned()][..])
    );
    assert_eq!(current(&world), before);
    assert_eq!(staged(&world, &Stage::Pending).as_deref(), Some(OTHER));
    assert_eq!(pending(&mut world).done, Some(true), "once more");
    let other = |world: &mut World| put_as(world, OTHER, "Pending", "{\"a\":\"2\"}");
    let (code, _) = refused(&mut world, other);
    assert_eq!(code, ChangeError::ResourceExistsException);
}

#[test]
fn a_kept_version_is_made_current_and_the_one_before_again() {
    let mut world = world(&everything());
    let first = current(&world);
    put(&mut world, IDS[0], "{\"password\":\"a\"}");
    let back = moved(&mut world, "Current", Some(&first), Some(IDS[0]));
    assert_eq!(back.done, Some(true), "{back:?}");
    assert_eq!(current(&world), first);
    assert_eq!(world.delivered("password"), None);
    let again = moved(&mut world, "Current", Some(&first), Some(IDS[0]));
    assert_eq!(again.done, Some(true), "it is there already");
    let forth = moved(&mut world, "Current", Some(IDS[0]), Some(&first));
    assert_eq!(forth.done, Some(true));
    assert_eq!(world.delivered("password").unwrap(), b"a");
    for from in [None, Some(IDS[1]), Some(&*first)] {
        let change = |world: &mut World| moved(world, "Current", Some(&first), from);
        let (code, message) = refused(&mut world, change);
        assert_eq!(code, ChangeError::InvalidParameterException);
        assert!(message.contains(IDS[0]), "{message}");
    }
    let (code, _) = refused(&mut world, |world| {
        moved(world, "Current", Some(OTHER), Some(IDS[0]))
    });
    assert_eq!(code, ChangeError::ResourceNotFoundException);
    // The spec decides, as for a roll back.
    let mut spec = world.spec();
    spec["literals"]["host"] = json!("db-2");
    world.edit(spec);
    world.settle();
    let now = current(&world);
    let (code, message) = refused(&mut world, |world| {
        moved(world, "Current", Some(&first), Some(&now))
    });
    assert_eq!(code, ChangeError::InvalidRequestException);
    assert!(message.contains("keys host"), "{message}");
}

#[test]
fn a_rotation_makes_its_version_current_itself_and_is_cancelled_by_its_schedule() {
    let mut world = world(&everything());
    rotate(&mut world, Some(running("job", OTHER)));
    put_as(&mut world, OTHER, "Pending", "{\"a\":\"1\"}");
    let first = current(&world);
    let (_, message) = refused(&mut world, |world| {
        moved(world, "Current", Some(OTHER), Some(&first))
    });
    assert!(message.contains("after TestSecret"), "{message}");
    let stays = moved(&mut world, "Current", Some(&first), None);
    assert_eq!(stays.done, Some(true), "it is current already");
    let (_, message) = refused(&mut world, |world| {
        moved(world, "Pending", None, Some(OTHER))
    });
    assert!(message.contains("cancel-rotation"), "{message}");
    rotate(&mut world, None);
    let (code, _) = refused(&mut world, |world| {
        moved(world, "Pending", None, Some(&first))
    });
    assert_eq!(code, ChangeError::InvalidParameterException);
    assert_eq!(
        moved(&mut world, "Pending", None, Some(OTHER)).done,
        Some(true)
    );
    assert_eq!(staged(&world, &Stage::Pending), None);
    assert_eq!(
        moved(&mut world, "Pending", None, Some(OTHER)).done,
        Some(true),
        "once more"
    );
}

#[test]
fn what_was_asked_too_long_ago_or_of_another_resource_is_not_obeyed() {
    let mut world = world(&everything());
    let request =
        |version: &str| json!({"put": {"versionId": version, "stage": "Current", "value": "AA=="}});
    let value = || Some(from_text("{\"a\":\"1\"}").unwrap());
    let late = |world: &mut World| {
        world.ask(&request(IDS[0]), value());
        world.wait(61);
        world.settle();
        world.answered()
    };
    let (code, message) = refused(&mut world, late);
    assert_eq!(code, ChangeError::ServiceUnavailableException);
    assert!(message.contains("try again"), "{message}");
    // A clock that was put back does no harm.
    world.ask(&request(IDS[0]), value());
    world.wait(-10_000);
    world.settle();
    assert_eq!(world.answered().done, Some(true));
    for (part, uid) in [("objectUid", "object-0"), ("namespaceUid", "namespace-0")] {
        let other = |world: &mut World| {
            let mut request = request(IDS[1]);
            request[part] = json!(uid);
            world.ask(&request, value());
            world.settle();
            world.answered()
        };
        let (code, message) = refused(&mut world, other);
        assert_eq!(code, ChangeError::InvalidRequestException);
        assert!(message.contains("made anew"), "{message}");
    }
}

#[test]
fn a_secret_that_cannot_be_written_or_is_about_to_go_refuses_every_change() {
    let mut world = world(&everything());
    let mut spec = world.spec();
    spec["generate"] = json!([{"key": "token"}]);
    world.edit(spec);
    let status = put(&mut world, IDS[0], "{\"a\":\"1\"}");
    assert_eq!(status.code, Some(ChangeError::InvalidRequestException));
    assert!(status.message.unwrap().contains("condition Ready"));
    let secret = std::sync::Arc::make_mut(&mut world.seen.secret);
    secret.metadata.deletion_timestamp =
        Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    let status = put(&mut world, IDS[0], "{\"a\":\"1\"}");
    assert!(status.message.unwrap().contains("being deleted"));
}

#[test]
fn a_change_waits_for_a_new_version_and_for_what_a_rotation_asks() {
    let mut world = world(&everything());
    let request = json!({"put": {"versionId": IDS[0], "stage": "Current", "value": "AA=="}});
    world.ask(
        &request,
        Some(from_text("{\"host\":\"db-2\",\"a\":\"1\"}").unwrap()),
    );
    let mut spec = world.spec();
    spec["literals"]["host"] = json!("db-2");
    world.edit(spec);
    let plan = world.plan();
    assert!(plan.soon, "it is looked at again at once");
    assert!(
        !plan
            .steps
            .iter()
            .any(|step| matches!(step, Step::Answer(_)))
    );
    world.settle();
    assert_eq!(world.answered().done, Some(true));
    assert_eq!((current(&world), world.versions()), (IDS[0].to_owned(), 3));

    world.seen.rotation = Some(Asked {
        sequence: world.seen.truth.manifest().unwrap().sequence(),
        record: SecretRotation::new(world.at()),
        change: Change::Record,
    });
    world.ask(
        &request,
        Some(from_text("{\"host\":\"db-2\",\"a\":\"1\"}").unwrap()),
    );
    let plan = world.plan();
    assert!(plan.soon);
    assert!(
        !plan
            .steps
            .iter()
            .any(|step| matches!(step, Step::Answer(_)))
    );
    world.seen.rotation = None;
    world.settle();
    assert_eq!(world.answered().done, Some(true), "it was there before");
}

#[test]
fn killed_between_any_two_steps_it_is_done_once_and_answered() {
    for kill in 0..4 {
        let mut world = world(&everything());
        let request = json!({"put": {"versionId": IDS[0], "stage": "Current", "value": "AA=="}});
        let value = || Some(from_text("{\"password\":\"a\"}").unwrap());
        world.ask(&request, value());
        world.killed_before(kill);
        // The next leader finds the change, unless it was answered.
        if world.answers.is_empty() {
            world.ask(&request, value());
        }
        world.settle();
        assert_eq!(world.answers.len(), 1);
        assert_eq!(world.answered().done, Some(true));
        assert_eq!((current(&world), world.versions()), (IDS[0].to_owned(), 2));
        assert_eq!(world.delivered("password").unwrap(), b"a");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_put_the_secret_comes_to_rest_with_that_or_with_what_it_had(
        texts in prop::collection::vec("\\{(\"[ab]\":\"[xy]{0,2}\")?\\}|[a-z]{0,3}|\\{\"host\":\"(db|no)\"\\}", 1..5),
    ) {
        let mut world = world(&everything());
        for (number, text) in texts.iter().enumerate() {
            let id = format!("00000000-0000-4000-8000-{number:012}");
            let before = current(&world);
            let status = put(&mut world, &id, text);
            prop_assert!(world.plan().steps.is_empty());
            let done = status.done == Some(true);
            prop_assert_eq!(current(&world), if done { id } else { before });
            let put: SecretValue = from_text(text).unwrap();
            for (key, bytes) in put.iter() {
                prop_assert!(!done || world.stored(key).as_deref() == Some(bytes));
            }
        }
    }
}

#[test]
fn ids_are_parsed_as_versions_are() {
    assert!(OTHER.parse::<VersionId>().is_ok());
}
