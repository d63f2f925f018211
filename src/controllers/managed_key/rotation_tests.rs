use kube::ResourceExt as _;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::crypto::InstallationId;
use crate::keys::derive_key_id;

const DAY: i64 = 86_400;

fn at(day: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + day * DAY).unwrap()
}

fn key(rotation: &serde_json::Value, token: Option<&str>) -> ManagedKey {
    let mut key = super::super::testing::resource("object-1");
    key.spec.rotation = serde_json::from_value(rotation.clone()).unwrap();
    if let Some(token) = token {
        key.annotations_mut()
            .insert(ANNOTATION_ROTATE.to_owned(), token.to_owned());
    }
    key
}

fn id(number: u32) -> KeyId {
    derive_key_id(InstallationId::from_bytes([7; 16]), &number.to_string())
}

fn truth(record: RotationRecord, generations: usize) -> KeyMaterialSpec {
    let generation = json!({"version": 1, "materialId": "0".repeat(32), "wrapped": "AA==", "rootFingerprint": "f",
                            "created": "2026-01-01T00:00:00Z"});
    let mut spec: KeyMaterialSpec = serde_json::from_value(json!({
        "namespace": "shop", "name": "orders", "namespaceUid": "n", "objectUid": "o", "arn": "a",
        "keySpec": "SymmetricDefault", "keyUsage": "EncryptDecrypt", "origin": "Keystead", "enabled": true,
        "generations": vec![generation; generations],
    }))
    .unwrap();
    spec.rotation = record;
    spec
}

/// Looks at the key at that time and does what is due; returns how often it was rotated.
fn look(key: &ManagedKey, truth: &mut KeyMaterialSpec, now: Timestamp) -> usize {
    truth.rotation = kept(key, &truth.rotation, now);
    let mut rotations = 0;
    while let Some(cause) = due(key, id(1), truth, now) {
        record(&cause, &mut truth.rotation, now);
        rotations += 1;
        assert!(rotations < 3, "rotation comes to rest");
    }
    rotations
}

#[test]
fn a_key_without_rotation_is_never_rotated_by_itself() {
    for rotation in [json!(null), json!({"enabled": false, "periodDays": 90})] {
        let mut truth = truth(RotationRecord::default(), 1);
        assert_eq!(look(&key(&rotation, None), &mut truth, at(0)), 0);
        assert_eq!(look(&key(&rotation, None), &mut truth, at(100_000)), 0);
        assert_eq!(truth.rotation.automatic_since, None);
    }
}

#[test]
fn a_period_counts_from_when_rotation_was_enabled_and_not_from_when_the_key_was_made() {
    let key = key(&json!({"periodDays": 100}), None);
    let mut truth = truth(RotationRecord::default(), 1);
    assert_eq!(look(&key, &mut truth, at(5000)), 0);
    assert_eq!(look(&key, &mut truth, at(5089)), 0);
    assert_eq!(look(&key, &mut truth, at(5100)), 1);
    assert_eq!(look(&key, &mut truth, at(5101)), 0);
}

#[test]
fn three_missed_periods_are_caught_up_by_one_rotation() {
    let key = key(&json!({"periodDays": 90}), None);
    let mut truth = truth(RotationRecord::default(), 1);
    assert_eq!(look(&key, &mut truth, at(0)), 0);
    assert_eq!(look(&key, &mut truth, at(300)), 1);
    assert_eq!(look(&key, &mut truth, at(300)), 0);
}

#[test]
fn a_clock_that_goes_back_rotates_nothing_twice() {
    let key = key(&json!({"periodDays": 90}), None);
    let mut truth = truth(RotationRecord::default(), 1);
    assert_eq!(look(&key, &mut truth, at(0)), 0);
    assert_eq!(look(&key, &mut truth, at(90)), 1);
    assert_eq!(look(&key, &mut truth, at(89)), 0);
    assert_eq!(look(&key, &mut truth, at(0)), 0);
    assert_eq!(look(&key, &mut truth, at(91)), 0);
}

#[test]
fn another_period_counts_at_once_from_the_same_beginning() {
    let mut truth = truth(RotationRecord::default(), 1);
    let long = key(&json!({"periodDays": 2560}), None);
    assert_eq!(look(&long, &mut truth, at(0)), 0);
    assert_eq!(look(&long, &mut truth, at(200)), 0);
    let short = key(&json!({"periodDays": 90}), None);
    assert_eq!(look(&short, &mut truth, at(200)), 1);
}

#[test]
fn disabling_rotation_forgets_the_beginning_and_enabling_starts_anew() {
    let on = key(&json!({"periodDays": 90}), None);
    let off = key(&json!({"enabled": false}), None);
    let mut truth = truth(RotationRecord::default(), 1);
    assert_eq!(look(&on, &mut truth, at(0)), 0);
    assert_eq!(look(&off, &mut truth, at(80)), 0);
    assert_eq!(look(&on, &mut truth, at(95)), 0);
    assert_eq!(look(&on, &mut truth, at(185)), 1);
}

#[test]
fn each_new_token_rotates_once_also_when_it_comes_back() {
    let mut truth = truth(RotationRecord::default(), 1);
    let with = |token| key(&json!(null), Some(token));
    assert_eq!(look(&with("one"), &mut truth, at(0)), 1);
    assert_eq!(look(&with("one"), &mut truth, at(1)), 0);
    assert_eq!(look(&with("two"), &mut truth, at(2)), 1);
    assert_eq!(
        look(&with("one"), &mut truth, at(3)),
        0,
        "applied again from Git"
    );
    assert_eq!(look(&with(""), &mut truth, at(4)), 0);
    assert_eq!(look(&key(&json!(null), None), &mut truth, at(5)), 0);
}

#[test]
fn a_rotation_on_demand_does_not_move_the_automatic_one() {
    let mut truth = truth(RotationRecord::default(), 1);
    assert_eq!(
        look(&key(&json!({"periodDays": 90}), None), &mut truth, at(0)),
        0
    );
    let asked = key(&json!({"periodDays": 90}), Some("now"));
    assert_eq!(look(&asked, &mut truth, at(60)), 1);
    assert_eq!(look(&asked, &mut truth, at(90)), 1);
}

#[test]
fn the_token_on_the_manifest_of_a_new_key_has_nothing_to_ask_for() {
    let key = key(&json!({"periodDays": 90}), Some("old"));
    let mut truth = truth(of_new(&key, at(0)), 1);
    assert_eq!(look(&key, &mut truth, at(1)), 0);
    assert_eq!(look(&key, &mut truth, at(90)), 1);
}

#[test]
fn a_disabled_key_waits_and_catches_up_once() {
    let key = key(&json!({"periodDays": 90}), Some("asked"));
    let mut truth = truth(RotationRecord::default(), 1);
    truth.enabled = false;
    assert_eq!(look(&key, &mut truth, at(0)), 0);
    assert_eq!(look(&key, &mut truth, at(400)), 0);
    truth.enabled = true;
    assert_eq!(
        look(&key, &mut truth, at(401)),
        2,
        "the request, and the period"
    );
    assert_eq!(look(&key, &mut truth, at(402)), 0);
}

#[test]
fn a_key_without_room_for_another_generation_is_not_rotated() {
    let key = key(&json!({"periodDays": 90}), Some("asked"));
    let mut truth = truth(RotationRecord::default(), KeyMaterialSpec::MAX_GENERATIONS);
    assert_eq!(look(&key, &mut truth, at(0)), 0);
    assert_eq!(look(&key, &mut truth, at(400)), 0);
}

#[test]
fn tokens_are_bounded_in_number_and_length() {
    let mut truth = truth(RotationRecord::default(), 1);
    for number in 0..200 {
        let token = format!("{number:->300}é");
        look(&key(&json!(null), Some(&token)), &mut truth, at(number));
    }
    assert!(truth.rotation.tokens.len() <= 64);
    assert!(truth.rotation.tokens.iter().all(|token| token.len() <= 256));
}

#[test]
fn ten_thousand_keys_of_one_day_are_spread_evenly_over_the_tenth_before_the_period() {
    let key = key(&json!({}), None);
    let record = kept(&key, &RotationRecord::default(), at(0));
    let mut days = std::collections::BTreeMap::<i64, u32>::new();
    for number in 0..10_000 {
        let next = next(&key, id(number), &record).unwrap();
        *days
            .entry((next.as_second() - at(0).as_second()) / DAY)
            .or_default() += 1;
    }
    assert!(*days.keys().next().unwrap() >= 328 && *days.keys().last().unwrap() <= 365);
    // 36.5 days: 274 keys a day on average.
    assert!(
        days.len() >= 36 && days.values().all(|&count| count < 400),
        "{days:?}"
    );
}

proptest! {
    #[test]
    fn no_rotation_is_later_than_the_period_nor_more_than_a_tenth_early(
        days in 90_u16..=2560, number: u32, since in 0_i64..20_000,
    ) {
        let key = key(&json!({"periodDays": days}), None);
        let record = kept(&key, &RotationRecord::default(), at(since));
        let next = next(&key, id(number), &record).unwrap();
        let wait = next.as_second() - at(since).as_second();
        let period = i64::from(days) * DAY;
        prop_assert!(wait <= period && wait >= period - period / 10, "{wait} of {period}");
    }
}
