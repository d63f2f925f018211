use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;

const DAY: i64 = 86_400;
const WAIT: SignedDuration = SignedDuration::from_hours(30 * 24);

fn at(day: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + day * DAY).unwrap()
}

fn key(name: &str, generations: u32) -> KeyMaterialSpec {
    let generation = |version: u32| {
        json!({"version": version, "materialId": format!("{version:032}"), "wrapped": "AA==", "rootFingerprint": "f",
               "created": "2026-01-01T00:00:00Z"})
    };
    serde_json::from_value(json!({
        "namespace": "shop", "name": name, "namespaceUid": "n", "objectUid": "o", "arn": "a",
        "keySpec": "SymmetricDefault", "keyUsage": "EncryptDecrypt", "origin": "Keystead", "enabled": true,
        "generations": (1..=generations).map(generation).collect::<Vec<_>>(),
    }))
    .unwrap()
}

/// Looks on that day, when those versions are needed; returns what was removed.
fn look(spec: &mut KeyMaterialSpec, day: i64, needed: &[u32], held: bool) -> Vec<u32> {
    let facts = Facts {
        now: at(day),
        wait: WAIT,
        is_needed: &|g| needed.contains(&g.version),
        held,
    };
    let Trimmed { spec: new, removed } = trim(spec, &facts);
    *spec = new;
    assert_eq!(
        trim(spec, &facts).spec,
        *spec,
        "a second look changes nothing"
    );
    removed
}

fn versions(spec: &KeyMaterialSpec) -> Vec<u32> {
    spec.generations.iter().map(|g| g.version).collect()
}

#[test]
fn what_nothing_needs_is_marked_and_removed_after_the_wait() {
    let mut spec = key(DEFAULT_KEY, 3);
    assert!(look(&mut spec, 0, &[2, 3], false).is_empty());
    assert_eq!(spec.generations[0].unused_since, Some(Time(at(0))));
    assert!(look(&mut spec, 29, &[2, 3], false).is_empty());
    assert_eq!(look(&mut spec, 30, &[2, 3], false), [1]);
    assert_eq!(versions(&spec), [2, 3]);
    // The current one stays although nothing needs it, for ever.
    look(&mut spec, 31, &[], false);
    assert_eq!(look(&mut spec, 1000, &[], false), [2]);
    look(&mut spec, 2000, &[], false);
    assert_eq!(versions(&spec), [3]);
}

#[test]
fn what_is_needed_again_waits_anew() {
    let mut spec = key(DEFAULT_KEY, 2);
    look(&mut spec, 0, &[], false);
    look(&mut spec, 20, &[1], false);
    assert_eq!(spec.generations[0].unused_since, None);
    look(&mut spec, 21, &[], false);
    assert!(look(&mut spec, 50, &[], false).is_empty());
    assert_eq!(look(&mut spec, 51, &[], false), [1]);
}

#[test]
fn other_keys_are_never_trimmed_since_their_ciphertext_may_be_anywhere() {
    let mut spec = key("orders", 3);
    for day in [0, 100, 1000] {
        assert!(look(&mut spec, day, &[], false).is_empty());
    }
    assert_eq!(spec, key("orders", 3));
}

#[test]
fn a_key_that_waits_for_its_end_or_after_a_restore_stays_whole() {
    let mut spec = key(DEFAULT_KEY, 2);
    look(&mut spec, 0, &[], false);
    assert!(look(&mut spec, 100, &[], true).is_empty());
    spec.parked_since = Some(Time(at(100)));
    assert!(look(&mut spec, 100, &[], false).is_empty());
    spec.parked_since = None;
    assert!(look(&mut spec, 101, &[], false).is_empty(), "it waits anew");
}

proptest! {
    #[test]
    fn nothing_is_removed_that_was_needed_within_the_wait(
        looks in prop::collection::vec((0_i64..20, prop::collection::btree_set(1_u32..6, 0..4), any::<bool>()), 1..40),
    ) {
        let mut spec = key(DEFAULT_KEY, 5);
        let (mut day, mut last) = (0, [0_i64; 6]);
        for (pause, needed, held) in looks {
            day += pause;
            let needed: BTreeSet<u32> = needed;
            let list: Vec<_> = needed.iter().copied().collect();
            for version in &needed {
                last[*version as usize] = day;
            }
            for removed in look(&mut spec, day, &list, held) {
                prop_assert!(!held && !needed.contains(&removed) && removed != 5);
                prop_assert!(day - last[removed as usize] >= 30);
            }
            prop_assert_eq!(versions(&spec).last().copied(), Some(5));
        }
    }
}
