use proptest::prelude::*;

use super::*;
use crate::crypto::{InstallationId, RootKey, SecretArray};
use crate::installation::Objection;

fn root(byte: u8) -> Fingerprint {
    RootKey::from_secret(SecretArray::from_slice(&[byte; 32]).unwrap()).fingerprint()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

/// From root key 1 to root key 2.
fn record(phase: Phase, forget_old: bool) -> Record {
    let id = InstallationId::from_bytes([1; 16]);
    let switched = matches!(
        phase,
        Phase::Rewrapping | Phase::Forgetting | Phase::Removing
    );
    let current = if switched { 2 } else { 1 };
    let mut record = Record::new(id, "ks-local-1".parse().unwrap(), root(current));
    record.rotation = Some(RootRotation {
        to: None,
        phase,
        since: at(0),
        from: root(1),
        next: (phase != Phase::Requested).then(|| root(2)),
        forget_old,
        problem: None,
    });
    record
}

fn seen(record: &Record, second: i64) -> Seen<'_> {
    Seen {
        record,
        now: at(second),
        next_found: true,
        next_problem: None,
        others: Some(0),
        held: false,
    }
}

#[test]
fn without_a_rotation_only_what_was_put_back_is_wrapped_anew() {
    let mut record = record(Phase::Requested, false);
    record.rotation = None;
    let mut seen = seen(&record, 0);
    assert_eq!(step(&seen), Step::Rest);
    seen.others = None;
    assert_eq!(step(&seen), Step::Rest);
    seen.others = Some(3);
    assert_eq!(step(&seen), Step::Rewrap);
}

#[test]
fn a_root_key_that_was_chosen_and_not_kept_is_chosen_again() {
    assert_eq!(
        step(&seen(&record(Phase::Requested, false), 0)),
        Step::Choose
    );
    let record = record(Phase::Preparing, false);
    let mut seen = seen(&record, 0);
    assert_eq!(step(&seen), Step::Distribute);
    seen.next_found = false;
    assert_eq!(step(&seen), Step::Choose);
}

#[test]
fn the_switch_waits_until_every_replica_could_object_and_none_does() {
    let mut record = record(Phase::Distributing, false);
    let end = at(OBJECT_WITHIN.as_secs());
    assert_eq!(step(&seen(&record, 1)), Step::Wait(end));
    assert_eq!(
        step(&seen(&record, OBJECT_WITHIN.as_secs())),
        Step::Switch(root(2))
    );
    let objection = |byte, second| Objection {
        root: root(byte),
        at: at(second),
    };
    record.objections.insert("one".into(), objection(2, 50));
    assert!(matches!(step(&seen(&record, 60)), Step::Stuck(problem) if problem.contains("one")));
    // One that is not repeated is of a replica that is gone; one of another root key was about another rotation.
    assert_eq!(step(&seen(&record, 200)), Step::Switch(root(2)));
    record.objections.insert("one".into(), objection(3, 50));
    assert_eq!(step(&seen(&record, 60)), Step::Switch(root(2)));
    let mut seen = seen(&record, 60);
    seen.next_problem = Some("no such file".into());
    assert_eq!(step(&seen), Step::Stuck("no such file".into()));
}

#[test]
fn the_end_needs_a_count_that_found_nothing() {
    let record = record(Phase::Rewrapping, false);
    let mut seen = seen(&record, 1);
    assert_eq!(step(&seen), Step::Finish);
    for others in [None, Some(1)] {
        seen.others = others;
        assert_eq!(step(&seen), Step::Rewrap);
    }
}

#[test]
fn the_old_root_key_is_removed_after_a_day_on_a_fresh_count_and_not_while_a_restore_is_suspected() {
    let forgetting = record(Phase::Forgetting, true);
    let day = FORGET_AFTER.as_secs();
    assert_eq!(step(&seen(&forgetting, day - 1)), Step::Wait(at(day)));
    let removing = record(Phase::Removing, true);
    let due = [
        (seen(&forgetting, day), Step::Condemn(root(1))),
        (seen(&removing, 0), Step::Forget(root(1))),
    ];
    for (mut seen, wanted) in due {
        assert_eq!(step(&seen), wanted);
        seen.held = true;
        assert!(matches!(step(&seen), Step::Stuck(_)));
        seen.held = false;
        seen.others = Some(1);
        assert_eq!(step(&seen), Step::Rewrap);
        seen.others = None;
        assert_eq!(step(&seen), Step::Rest);
    }
}

#[test]
fn nothing_is_removed_before_the_record_says_that_there_is_no_way_back() {
    let mut record = record(Phase::Forgetting, true);
    let day = FORGET_AFTER.as_secs();
    // Whoever takes the forgetting back now still finds the root key whole.
    assert_eq!(step(&seen(&record, day)), Step::Condemn(root(1)));
    record.rotation.as_mut().unwrap().phase = Phase::Removing;
    assert_eq!(step(&seen(&record, day)), Step::Forget(root(1)));
}

fn any_phase() -> impl Strategy<Value = Phase> {
    prop_oneof![
        Just(Phase::Requested),
        Just(Phase::Preparing),
        Just(Phase::Distributing),
        Just(Phase::Rewrapping),
        Just(Phase::Forgetting),
        Just(Phase::Removing),
    ]
}

proptest! {
    #[test]
    fn nothing_is_removed_that_anything_needs_or_before_its_time(
        phase in any_phase(),
        forget in any::<bool>(),
        second in -100_000_i64..200_000,
        others in proptest::option::of(0_usize..3),
        held in any::<bool>(),
        next_found in any::<bool>(),
    ) {
        let record = record(phase, forget);
        let seen = Seen { next_found, others, held, ..seen(&record, second) };
        match step(&seen) {
            Step::Condemn(old) => {
                prop_assert!(phase == Phase::Forgetting && others == Some(0) && !held);
                prop_assert!(second >= FORGET_AFTER.as_secs());
                prop_assert_ne!(old, record.root);
            }
            Step::Forget(old) => {
                prop_assert!(phase == Phase::Removing && others == Some(0) && !held);
                prop_assert_ne!(old, record.root);
            }
            Step::Finish => prop_assert!(others == Some(0)),
            Step::Switch(next) => {
                prop_assert!(phase == Phase::Distributing && second >= OBJECT_WITHIN.as_secs());
                prop_assert_eq!(next, root(2));
            }
            _ => {}
        }
    }
}
