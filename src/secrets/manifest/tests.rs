use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::api::managed_secret::{DeletionPolicy, Existing, Form};
use crate::crypto::RandomError;
use crate::secrets::testing::{Dry, all};

const DAY: i64 = 24 * 3600;

/// That many may grow old, and any number may be young.
fn at_most(kept: usize) -> Retention {
    let most = usize::MAX;
    Retention { kept, most }
}

fn id(number: u8) -> VersionId {
    format!("00000000-0000-4000-8000-0000000000{number:02x}")
        .parse()
        .unwrap()
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_770_000_000 + second).unwrap()
}

fn new_version(number: u8, second: i64) -> NewVersion {
    NewVersion {
        id: id(number),
        created: time(second),
        key_id: "11111111-2222-4333-8444-555555555555".to_owned(),
        context: BTreeMap::from([("team".to_owned(), "orders".to_owned())]),
        derivations: BTreeMap::new(),
        substitutes: BTreeMap::new(),
    }
}

fn with_versions(count: u8) -> Manifest {
    let mut manifest = Manifest::new();
    for number in 0..count {
        manifest
            .add_current(new_version(number, i64::from(number)))
            .unwrap();
    }
    manifest
}

fn stages(manifest: &Manifest) -> Vec<Vec<&str>> {
    manifest
        .versions()
        .iter()
        .map(|version| version.stages.iter().map(Stage::as_str).collect())
        .collect()
}

fn full() -> Manifest {
    let mut manifest = with_versions(3);
    manifest
        .record_import(ImportRecord {
            secret: "legacy".to_owned(),
            source_uid: "uid-1".to_owned(),
            time: Timestamp::from_nanosecond(1_770_000_000_123_456_789).unwrap(),
            keys: BTreeSet::from(["password".to_owned()]),
            all: true,
        })
        .unwrap();
    manifest
        .record_target(target("orders-db", Form::Sealed))
        .unwrap();
    manifest
}

fn target(name: &str, form: Form) -> TargetRecord {
    TargetRecord {
        name: name.to_owned(),
        form,
        existing: Existing::Fail,
        deletion_policy: DeletionPolicy::Delete,
        fixed: None,
    }
}

/// The JSON of a manifest after a change by hand.
fn edited(edit: impl FnOnce(&mut serde_json::Value)) -> Result<Manifest, ManifestError> {
    let mut json: serde_json::Value = serde_json::from_slice(&full().to_json()).unwrap();
    edit(&mut json);
    Manifest::from_json(&serde_json::to_vec(&json).unwrap())
}

#[test]
fn the_json_has_the_documented_names_and_comes_back_equal() {
    let manifest = full();
    let json: serde_json::Value = serde_json::from_slice(&manifest.to_json()).unwrap();
    assert_eq!(json["format"], 1);
    assert_eq!(json["sequence"], 6);
    assert_eq!(
        json["versions"][2]["stages"],
        serde_json::json!(["Current"])
    );
    assert_eq!(
        json["versions"][2]["keyId"],
        "11111111-2222-4333-8444-555555555555"
    );
    assert_eq!(
        json["versions"][2]["context"],
        serde_json::json!({"team": "orders"})
    );
    assert_eq!(json["imports"][0]["sourceUid"], "uid-1");
    assert_eq!(json["imports"][0]["time"], "2026-02-02T02:40:00.123456789Z");
    let written = serde_json::json!({
        "name": "orders-db", "form": "Sealed", "existing": "Fail", "deletionPolicy": "Delete",
    });
    assert_eq!(json["targets"][0], written);
    assert_eq!(Manifest::from_json(&manifest.to_json()), Ok(manifest));
}

#[test]
fn shares_and_what_a_replica_has_are_written_only_where_there_is_something_to_say() {
    let mut manifest = full();
    let json: serde_json::Value = serde_json::from_slice(&manifest.to_json()).unwrap();
    assert!(json.get("shares").is_none() && json.get("replica").is_none());
    let before = manifest.sequence();
    let share = ShareRecord {
        namespace: "reports".to_owned(),
        uid: "uid-2".to_owned(),
    };
    let replica = ReplicaRecord {
        source_uid: "uid-3".to_owned(),
        version: id(1),
        sequence: 7,
        time: time(0),
    };
    for changed in [true, false] {
        assert_eq!(manifest.record_shares(vec![share.clone()]), Ok(changed));
        assert_eq!(manifest.record_replica(Some(replica.clone())), Ok(changed));
    }
    assert_eq!(manifest.sequence(), before + 2);
    assert_eq!(manifest.share("reports"), Some("uid-2"));
    assert_eq!(manifest.share("else"), None);
    let json: serde_json::Value = serde_json::from_slice(&manifest.to_json()).unwrap();
    let written = serde_json::json!([{"namespace": "reports", "uid": "uid-2"}]);
    assert_eq!(json["shares"], written);
    assert_eq!(json["replica"]["sourceUid"], "uid-3");
    assert_eq!(
        Manifest::from_json(&manifest.to_json()),
        Ok(manifest.clone())
    );
    assert_eq!(manifest.record_replica(None), Ok(true));
    assert_eq!(manifest.replica(), None);
    let twice = edited(|json| json["shares"] = serde_json::json!([written[0], written[0]]));
    assert!(matches!(
        twice,
        Err(ManifestError::DuplicateRecord { kind: "share", .. })
    ));
}

#[test]
fn a_new_manifest_is_empty_and_valid() {
    let manifest = Manifest::new();
    assert_eq!(manifest, Manifest::default());
    assert_eq!(manifest.sequence(), 1);
    assert_eq!(manifest.current(), None);
    assert_eq!(Manifest::from_json(&manifest.to_json()), Ok(manifest));
}

#[test]
fn fields_of_a_newer_release_survive_a_change() {
    let mut manifest = edited(|json| {
        json["rotationStep"] = "SetSecret".into();
        json["versions"][0]["checksum"] = serde_json::json!([1, 2]);
    })
    .unwrap();
    manifest.add_current(new_version(9, 9)).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&manifest.to_json()).unwrap();
    assert_eq!(json["rotationStep"], "SetSecret");
    assert_eq!(json["versions"][0]["checksum"], serde_json::json!([1, 2]));
}

#[test]
fn another_format_is_refused_whatever_follows() {
    let error = Manifest::from_json(br#"{"format": 2, "versions": "other"}"#).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the manifest has format 2, this release reads only format 1"
    );
}

#[test]
fn a_parse_error_does_not_repeat_the_text() {
    for json in [
        r#"{"format": "C4N4RY"}"#,
        r#"{"format": 1, "sequence": "C4N4RY"}"#,
        r#"{"format": 1, C4N4RY"#,
        "C4N4RY",
    ] {
        let error = Manifest::from_json(json.as_bytes()).unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(
            matches!(error, ManifestError::Malformed { .. }) && !told.contains("C4N4RY"),
            "{told}"
        );
    }
}

#[test]
fn broken_invariants_are_refused_when_read() {
    let current = serde_json::json!(["Current"]);
    assert_eq!(
        edited(|json| json["versions"][2]["stages"] = serde_json::json!([])),
        Err(ManifestError::CurrentCount {
            count: 0,
            versions: 3
        })
    );
    assert_eq!(
        edited(|json| json["versions"][0]["stages"] = current),
        Err(ManifestError::CurrentCount {
            count: 2,
            versions: 3
        })
    );
    assert_eq!(
        edited(|json| json["versions"][0]["stages"] = serde_json::json!(["Previous"])),
        Err(ManifestError::StageTwice {
            stage: Stage::Previous
        })
    );
    assert_eq!(
        edited(|json| json["versions"][0]["id"] = id(1).as_str().into()),
        Err(ManifestError::DuplicateVersion { id: id(1) })
    );
    assert_eq!(
        edited(|json| {
            let first = json["targets"][0].clone();
            json["targets"].as_array_mut().unwrap().push(first);
        }),
        Err(ManifestError::DuplicateRecord {
            kind: "target",
            name: "orders-db".to_owned()
        })
    );
    assert!(matches!(
        edited(|json| json["versions"][0]["id"] = "../x".into()),
        Err(ManifestError::Malformed { .. })
    ));
}

#[test]
fn promotion_moves_current_and_previous_and_nothing_else() {
    let mut manifest = with_versions(1);
    assert_eq!(stages(&manifest), [vec!["Current"]]);
    manifest.add_current(new_version(1, 1)).unwrap();
    assert_eq!(stages(&manifest), [vec!["Previous"], vec!["Current"]]);
    manifest.add_current(new_version(2, 2)).unwrap();
    assert_eq!(
        stages(&manifest),
        [vec![], vec!["Previous"], vec!["Current"]]
    );
    assert_eq!(manifest.promote(&id(0)), Ok(true));
    assert_eq!(
        stages(&manifest),
        [vec!["Current"], vec![], vec!["Previous"]]
    );
}

#[test]
fn promoting_the_previous_version_swaps_the_two() {
    let mut manifest = with_versions(2);
    assert_eq!(manifest.promote(&id(0)), Ok(true));
    assert_eq!(stages(&manifest), [vec!["Current"], vec!["Previous"]]);
}

#[test]
fn labels_stay_on_their_version_and_pending_ends_with_promotion() {
    let mut manifest = edited(|json| {
        json["versions"][0]["stages"] = serde_json::json!(["Pending", "blue"]);
    })
    .unwrap();
    manifest.promote(&id(0)).unwrap();
    assert_eq!(
        stages(&manifest),
        [vec!["Current", "blue"], vec![], vec!["Previous"]]
    );
}

#[test]
fn promoting_the_current_version_changes_nothing() {
    let mut manifest = with_versions(2);
    let before = manifest.clone();
    assert_eq!(manifest.promote(&id(1)), Ok(false));
    assert_eq!(manifest, before);
}

#[test]
fn unknown_and_duplicate_versions_are_refused_without_a_change() {
    let mut manifest = with_versions(2);
    let before = manifest.clone();
    assert_eq!(
        manifest.promote(&id(7)),
        Err(ManifestError::NoSuchVersion { id: id(7) })
    );
    assert_eq!(
        manifest.add_current(new_version(0, 5)),
        Err(ManifestError::DuplicateVersion { id: id(0) })
    );
    assert_eq!(manifest, before);
}

#[test]
fn pruning_takes_the_oldest_that_nothing_holds() {
    let mut manifest = with_versions(5);
    let removed = manifest.prune(time(10 * DAY), at_most(3)).unwrap();
    assert_eq!(removed, [id(0), id(1)]);
    assert_eq!(
        stages(&manifest),
        [vec![], vec!["Previous"], vec!["Current"]]
    );
    assert_eq!(manifest.prune(time(10 * DAY), at_most(0)).unwrap(), [id(2)]);
    assert_eq!(manifest.prune(time(10 * DAY), at_most(0)).unwrap(), []);
}

#[test]
fn a_version_is_kept_until_it_is_a_day_old() {
    let mut manifest = with_versions(3);
    assert_eq!(manifest.prune(time(DAY - 1), at_most(0)).unwrap(), []);
    assert_eq!(manifest.prune(time(-DAY * 9), at_most(0)).unwrap(), []);
    assert_eq!(manifest.prune(time(DAY), at_most(0)).unwrap(), [id(0)]);
}

#[test]
fn there_is_a_number_of_versions_that_not_even_young_ones_pass() {
    let mut manifest = with_versions(8);
    manifest.versions[0].stages.insert("blue".parse().unwrap());
    let retention = Retention { kept: 2, most: 4 };
    let removed = manifest.prune(time(10), retention).unwrap();
    assert_eq!(removed, [id(1), id(2), id(3), id(4)]);
    // What carries a stage stays, however many there are.
    let retention = Retention { kept: 0, most: 0 };
    assert_eq!(manifest.prune(time(10), retention).unwrap(), [id(5)]);
    assert_eq!(
        stages(&manifest),
        [vec!["blue"], vec!["Previous"], vec!["Current"]]
    );
}

fn labels(wanted: &[(&str, u8)]) -> BTreeMap<StageLabel, VersionId> {
    let label = |(name, number): &(&str, u8)| (name.parse().unwrap(), id(*number));
    wanted.iter().map(label).collect()
}

#[test]
fn labels_are_where_they_are_wanted_and_nowhere_else() {
    let mut manifest = with_versions(3);
    let sequence = manifest.sequence();
    let wanted = labels(&[("blue", 0), ("green", 0), ("live", 2)]);
    assert_eq!(manifest.put_labels(&wanted), Ok(vec![]));
    assert_eq!(
        stages(&manifest),
        [
            vec!["blue", "green"],
            vec!["Previous"],
            vec!["Current", "live"]
        ]
    );
    assert_eq!(manifest.sequence(), sequence + 1, "one change");
    assert_eq!(manifest.put_labels(&wanted), Ok(vec![]));
    assert_eq!(manifest.sequence(), sequence + 1, "nothing to do");
    // A label on a version that is not there stays where it was.
    let wanted = labels(&[("blue", 9), ("live", 0)]);
    assert_eq!(
        manifest.put_labels(&wanted),
        Ok(vec!["blue".parse().unwrap()])
    );
    assert_eq!(
        stages(&manifest),
        [vec!["blue", "live"], vec!["Previous"], vec!["Current"]]
    );
    assert_eq!(manifest.put_labels(&BTreeMap::new()), Ok(vec![]));
    assert_eq!(
        stages(&manifest),
        [vec![], vec!["Previous"], vec!["Current"]]
    );
}

#[test]
fn what_was_asked_for_once_is_remembered() {
    let mut manifest = with_versions(1);
    let old = manifest.to_json();
    assert!(!String::from_utf8(old).unwrap().contains("requests"));
    manifest.record_rollback("x@1").unwrap();
    manifest.record_rollback("y@2").unwrap();
    for token in 0..70 {
        manifest.record_regeneration(&token.to_string()).unwrap();
    }
    let manifest = Manifest::from_json(&manifest.to_json()).unwrap();
    let requests = manifest.requests();
    assert!(requests.has_rolled_back("y@2") && !requests.has_rolled_back("x@1"));
    assert!(requests.has_regenerated("69") && requests.has_regenerated("6"));
    assert!(
        !requests.has_regenerated("5"),
        "64 of them, the oldest goes"
    );
}

#[test]
fn what_changes_nothing_leaves_the_sequence() {
    let mut manifest = full();
    let before = manifest.clone();
    let import = manifest.imports()[0].clone();
    assert_eq!(manifest.record_import(import), Ok(false));
    assert_eq!(
        manifest.record_target(target("orders-db", Form::Sealed)),
        Ok(false)
    );
    assert_eq!(manifest.forget_target("other"), Ok(false));
    let NewVersion {
        key_id, context, ..
    } = new_version(0, 0);
    assert_eq!(manifest.bind(&id(0), &key_id, &context), Ok(false));
    assert_eq!(manifest.make_room(|_| 10, 30), []);
    assert_eq!(manifest.prune(time(0), at_most(100)), Ok(vec![]));
    assert_eq!(manifest, before);
}

#[test]
fn records_are_replaced_by_name() {
    let mut manifest = full();
    manifest
        .record_target(target("orders-db", Form::Plain))
        .unwrap();
    manifest
        .record_target(target("renamed", Form::Plain))
        .unwrap();
    assert_eq!(manifest.forget_target("orders-db"), Ok(true));
    assert_eq!(manifest.targets(), [target("renamed", Form::Plain)]);
    manifest.check().unwrap();
}

#[test]
fn binding_a_version_records_its_key_and_pairs_and_nothing_else() {
    let mut manifest = with_versions(2);
    let mut expected = manifest.versions()[0].clone();
    let key = "99999999-2222-4333-8444-555555555555";
    let pairs = BTreeMap::from([("team".to_owned(), "billing".to_owned())]);

    key.clone_into(&mut expected.key_id);
    let before = expected.context.clone();
    assert_eq!(manifest.bind(&id(0), key, &before), Ok(true));
    assert_eq!(manifest.version(&id(0)), Some(&expected));

    expected.context = pairs.clone();
    assert_eq!(manifest.bind(&id(0), key, &pairs), Ok(true));
    assert_eq!(manifest.version(&id(0)), Some(&expected));

    assert_eq!(manifest.versions()[1], with_versions(2).versions()[1]);
    assert_eq!(manifest.sequence(), with_versions(2).sequence() + 2);
    assert_eq!(
        manifest.bind(&id(7), key, &pairs),
        Err(ManifestError::NoSuchVersion { id: id(7) })
    );
}

/// Six versions; the last two are `Previous` and `Current`, the third carries a label. By their
/// dates, the second is older than the first.
fn to_make_room_in() -> Manifest {
    let mut manifest = with_versions(6);
    manifest.versions[0].created = time(2);
    manifest.versions[2].stages.insert("blue".parse().unwrap());
    manifest
}

#[test]
fn room_is_made_by_dropping_the_oldest_without_a_stage_in_one_change() {
    for (limit, dropped) in [
        (60, vec![]),
        (59, vec![1]),
        (50, vec![1]),
        (49, vec![1, 0]),
        (30, vec![1, 0, 3]),
        (0, vec![1, 0, 3]),
    ] {
        let mut manifest = to_make_room_in();
        let before = manifest.clone();
        let expected: Vec<_> = dropped.into_iter().map(id).collect();
        assert_eq!(manifest.make_room(|_| 10, limit), expected, "{limit}");
        let changed = u64::from(!expected.is_empty());
        assert_eq!(manifest.sequence(), before.sequence() + changed, "{limit}");
        let kept = |version: &&VersionRecord| !expected.contains(&version.id);
        assert!(
            before
                .versions()
                .iter()
                .filter(kept)
                .eq(manifest.versions()),
            "{limit}"
        );
    }
}

#[test]
fn room_is_made_by_the_size_of_each_version() {
    let sizes = |version: &VersionRecord| if version.id == id(1) { 100 } else { 1 };
    assert_eq!(to_make_room_in().make_room(sizes, 5), [id(1)]);
    // Sizes that no sum of the same type holds.
    assert_eq!(
        to_make_room_in().make_room(|_| usize::MAX, usize::MAX),
        [id(1), id(0), id(3)]
    );
}

#[test]
fn of_targets_with_a_content_for_life_the_last_delivered_is_last() {
    let fixed = |name: &str| TargetRecord {
        fixed: Some(FixedContent {
            type_: "Opaque".to_owned(),
            mark: ContentMark::of(&crate::secrets::SecretValue::new(), &mut all(1)).unwrap(),
        }),
        ..target(name, Form::Plain)
    };
    let mut manifest = Manifest::new();
    manifest
        .record_target(target("mutable", Form::Plain))
        .unwrap();
    for name in ["one", "two", "one"] {
        assert_eq!(manifest.record_target(fixed(name)), Ok(true), "{name}");
    }
    assert_eq!(manifest.record_target(fixed("one")), Ok(false));
    // One whose content changes has no order.
    assert_eq!(
        manifest.record_target(target("mutable", Form::Plain)),
        Ok(false)
    );
    let names = manifest.targets().iter().map(|record| record.name.as_str());
    assert_eq!(names.collect::<Vec<_>>(), ["mutable", "two", "one"]);
    let json = String::from_utf8(manifest.to_json()).unwrap();
    assert!(
        json.contains(r#""fixed":{"type":"Opaque","salt":""#),
        "{json}"
    );
    assert_eq!(Manifest::from_json(json.as_bytes()), Ok(manifest));
}

#[test]
fn the_last_sequence_number_is_not_passed() {
    let mut manifest = edited(|json| json["sequence"] = u64::MAX.into()).unwrap();
    let before = manifest.clone();
    assert_eq!(
        manifest.add_current(new_version(9, 9)),
        Err(ManifestError::SequenceExhausted)
    );
    assert_eq!(
        manifest.promote(&id(0)),
        Err(ManifestError::SequenceExhausted)
    );
    assert_eq!(
        manifest.bind(&id(0), "other", &BTreeMap::new()),
        Err(ManifestError::SequenceExhausted)
    );
    assert_eq!(manifest.make_room(|_| 1, 0), []);
    assert_eq!(manifest, before);
}

#[test]
fn version_ids_are_lower_case_uuids() {
    let generated = VersionId::generate(&mut all(0xff)).unwrap();
    assert_eq!(generated.as_str().parse(), Ok(generated));
    assert_eq!(VersionId::generate(&mut Dry), Err(RandomError));
    for text in [
        "",
        "00000000-0000-4000-8000-00000000000",
        "00000000-0000-4000-8000-00000000000G",
        "00000000-0000-4000-8000-00000000000A",
        "0000000000000-4000-8000-000000000000",
    ] {
        assert_eq!(text.parse::<VersionId>(), Err(VersionIdError), "{text}");
    }
}

#[test]
fn stage_names_are_bounded_printable_text() {
    assert_eq!("Current".parse(), Ok(Stage::Current));
    assert_eq!("current".parse::<Stage>().unwrap().as_str(), "current");
    for text in ["", "a b", "é", "a\n", &"x".repeat(257)] {
        assert_eq!(text.parse::<Stage>(), Err(StageError), "{text}");
    }
}

/// Of each version, where room is made.
const SIZE: usize = 10;

#[derive(Debug, Clone)]
enum Change {
    Add(u8, i64),
    Promote(u8),
    Prune(i64, usize),
    MakeRoom(usize),
    Bind(u8, u8),
    Label(u8, u8),
    Target(u8),
    Forget(u8),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (0..12_u8, 0..3 * DAY).prop_map(|(number, second)| Change::Add(number, second)),
        (0..12_u8).prop_map(Change::Promote),
        (0..6 * DAY, 0..6_usize).prop_map(|(second, kept)| Change::Prune(second, kept)),
        (0..60_usize).prop_map(Change::MakeRoom),
        (0..12_u8, 0..2_u8).prop_map(|(number, key)| Change::Bind(number, key)),
        (0..2_u8, 0..12_u8).prop_map(|(label, number)| Change::Label(label, number)),
        (0..4_u8).prop_map(Change::Target),
        (0..4_u8).prop_map(Change::Forget),
    ]
}

fn apply(manifest: &mut Manifest, change: &Change) {
    // Refusals are part of the property: they must change nothing.
    let _ = match change {
        Change::Add(number, second) => manifest
            .add_current(new_version(*number, *second))
            .map(|()| true),
        Change::Promote(number) => manifest.promote(&id(*number)),
        Change::Prune(second, kept) => manifest
            .prune(time(*second), at_most(*kept))
            .map(|removed| !removed.is_empty()),
        Change::MakeRoom(limit) => Ok(!manifest.make_room(|_| SIZE, *limit).is_empty()),
        Change::Bind(number, key) => {
            let context = BTreeMap::from([("key".to_owned(), key.to_string())]);
            manifest.bind(&id(*number), &format!("key-{key}"), &context)
        }
        Change::Label(label, number) => {
            let wanted = labels(&[(["blue", "green"][usize::from(*label)], *number)]);
            let before = manifest.sequence();
            let put = manifest.put_labels(&wanted);
            put.map(|_| manifest.sequence() > before)
        }
        Change::Target(number) => {
            let form = if number % 2 == 0 {
                Form::Plain
            } else {
                Form::Sealed
            };
            manifest.record_target(target(&format!("t{}", number / 2), form))
        }
        Change::Forget(number) => manifest.forget_target(&format!("t{number}")),
    };
}

proptest! {
    #[test]
    fn invariants_hold_and_the_sequence_rises_with_every_change(changes in prop::collection::vec(change(), 0..40)) {
        let mut manifest = Manifest::default();
        for change in &changes {
            let before = manifest.clone();
            apply(&mut manifest, change);
            prop_assert_eq!(manifest.check(), Ok(()));
            let changed = manifest.to_json() != before.to_json();
            prop_assert_eq!(manifest.sequence(), before.sequence() + u64::from(changed), "{:?}", change);
            prop_assert_eq!(&Manifest::from_json(&manifest.to_json()).unwrap(), &manifest);
            if let Change::Prune(second, kept) = change {
                for version in before.versions() {
                    if manifest.version(&version.id).is_none() {
                        prop_assert!(version.stages.is_empty());
                        prop_assert!(version.created <= time(second - DAY));
                    }
                }
                prop_assert!(manifest.versions().len() >= before.versions().len().min(*kept));
            }
            if let Change::MakeRoom(limit) = change {
                let staged = |manifest: &Manifest| {
                    manifest.versions().iter().filter(|version| !version.stages.is_empty()).count()
                };
                prop_assert_eq!(staged(&manifest), staged(&before));
                let fitting = (limit / SIZE).max(staged(&before));
                prop_assert_eq!(manifest.versions().len(), before.versions().len().min(fitting));
            }
        }
    }

    #[test]
    fn reading_never_panics(json in "\\PC{0,60}") {
        let _ = Manifest::from_json(json.as_bytes());
    }
}
