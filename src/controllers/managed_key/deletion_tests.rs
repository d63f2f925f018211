use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn spec(window: Option<u8>, accept: Option<u32>) -> KeyDeletion {
    KeyDeletion {
        pending_window_days: window,
        accept_data_loss: accept,
    }
}

fn schedule(window: u8) -> DeletionRecord {
    asked(Some(&spec(Some(window), None)), None, at(0)).unwrap()
}

fn facts(second: i64, dependents: u32, accepted: Option<u32>) -> Facts<'static> {
    Facts {
        now: at(second),
        tenure: "one",
        dependents,
        accepted,
        held: None,
    }
}

/// Does what is due until nothing is; returns whether the key was destroyed.
fn look(record: &mut DeletionRecord, facts: &Facts<'_>) -> bool {
    for _ in 0..4 {
        match step(record, facts) {
            Step::Wait(until) => {
                assert!(until > facts.now);
                return false;
            }
            Step::Blocked => return false,
            Step::ForgetPreset => *record = without_preset(record),
            Step::SeeDue => *record = due(record, facts),
            Step::Block(count) => record.blocked_by = Some(count),
            Step::Destroy => return true,
        }
    }
    panic!("deciding never comes to rest");
}

#[test]
fn a_deletion_is_due_after_its_window_which_is_thirty_days_unless_said() {
    assert_eq!(schedule(7).date.0, at(7 * DAY));
    let default = asked(Some(&KeyDeletion::default()), None, at(0)).unwrap();
    assert_eq!(default.date.0, at(30 * DAY));
    assert_eq!(asked(None, Some(&default), at(1)), None, "cancelled");
}

#[test]
fn asking_again_changes_nothing() {
    let record = schedule(10);
    for second in [0, DAY, 9 * DAY, 100 * DAY] {
        assert_eq!(
            asked(Some(&spec(Some(10), None)), Some(&record), at(second)),
            Some(record.clone())
        );
    }
}

#[test]
fn a_shorter_window_brings_the_date_no_nearer_than_seven_days_and_stands_still_then() {
    let record = schedule(30);
    let short = spec(Some(7), None);
    let shortened = asked(Some(&short), Some(&record), at(20 * DAY)).unwrap();
    assert_eq!(shortened.date.0, at(27 * DAY));
    for second in [21 * DAY, 26 * DAY, 40 * DAY] {
        let again = asked(Some(&short), Some(&shortened), at(second)).unwrap();
        assert_eq!(again, shortened);
    }
    // With less than seven days left nothing comes nearer.
    let late = asked(Some(&short), Some(&record), at(28 * DAY)).unwrap();
    assert_eq!(late.date.0, at(30 * DAY));
}

#[test]
fn a_longer_window_moves_the_date_and_what_was_seen_due_is_not_any_more() {
    let mut record = schedule(7);
    assert!(!look(&mut record, &facts(8 * DAY, 0, None)));
    assert!(record.due.is_some());
    let longer = asked(Some(&spec(Some(30), None)), Some(&record), at(8 * DAY)).unwrap();
    assert_eq!((longer.date.0, longer.due), (at(30 * DAY), None));
}

#[test]
fn cancelled_and_scheduled_again_the_window_starts_anew() {
    let again = asked(Some(&spec(Some(7), None)), None, at(6 * DAY)).unwrap();
    assert_eq!(again.date.0, at(13 * DAY));
}

#[test]
fn an_absent_key_waits_thirty_days_or_seven_if_nothing_needs_it_and_an_earlier_date_stays() {
    assert_eq!(absent(None, 3, at(0)).date.0, at(30 * DAY));
    assert_eq!(absent(None, 0, at(0)).date.0, at(7 * DAY));
    assert_eq!(absent(Some(&schedule(10)), 3, at(DAY)), schedule(10));
}

#[test]
fn a_key_is_destroyed_a_day_after_its_date_was_seen_gone_by() {
    let mut record = schedule(7);
    assert!(!look(&mut record, &facts(7 * DAY - 1, 0, None)));
    assert_eq!(record.due, None);
    assert!(!look(&mut record, &facts(7 * DAY + HOUR, 0, None)));
    assert!(!look(&mut record, &facts(8 * DAY, 0, None)));
    assert!(look(&mut record, &facts(8 * DAY + HOUR, 0, None)));
}

#[test]
fn after_a_long_outage_the_day_still_begins_when_a_leader_looks() {
    let mut record = schedule(7);
    assert!(!look(&mut record, &facts(400 * DAY, 0, None)));
    assert!(!look(&mut record, &facts(401 * DAY - 1, 0, None)));
    assert!(look(&mut record, &facts(401 * DAY, 0, None)));
}

#[test]
fn another_leadership_begins_the_day_anew() {
    let mut record = schedule(7);
    assert!(!look(&mut record, &facts(8 * DAY, 0, None)));
    let other = |second| Facts {
        tenure: "two",
        ..facts(second, 0, None)
    };
    assert!(!look(&mut record, &other(10 * DAY)));
    assert!(!look(&mut record, &other(11 * DAY - 1)));
    assert!(look(&mut record, &other(11 * DAY)));
}

#[test]
fn what_needs_the_key_keeps_it_until_exactly_that_loss_is_accepted() {
    let mut record = schedule(7);
    look(&mut record, &facts(8 * DAY, 5, None));
    assert!(!look(&mut record, &facts(10 * DAY, 5, None)));
    assert_eq!(record.blocked_by, Some(5));
    for wrong in [4, 6] {
        assert!(!look(&mut record, &facts(10 * DAY, 5, Some(wrong))));
    }
    assert!(
        !look(&mut record, &facts(10 * DAY, 6, Some(5))),
        "another one came"
    );
    assert!(look(&mut record, &facts(11 * DAY, 5, Some(5))));
}

#[test]
fn a_use_that_was_refused_lately_keeps_a_key_that_nothing_needs() {
    let mut record = schedule(7);
    record.refused = Some(Time(at(3 * DAY)));
    look(&mut record, &facts(8 * DAY, 0, Some(0)));
    assert!(!look(&mut record, &facts(10 * DAY, 0, Some(0))), "preset");
    assert_eq!(record.blocked_by, Some(0));
    assert!(!look(&mut record, &facts(10 * DAY, 0, None)));
    assert!(!look(&mut record, &facts(10 * DAY, 1, Some(0))));
    assert!(look(&mut record.clone(), &facts(10 * DAY, 0, Some(0))));
    // Later changes of the window do not forget it; time does, and whoever cancels.
    let longer = asked(Some(&spec(Some(9), None)), Some(&record), at(10 * DAY)).unwrap();
    assert_eq!(longer.refused, record.refused);
    assert!(!look(&mut record, &facts(33 * DAY - 1, 0, None)));
    assert!(look(&mut record, &facts(33 * DAY, 0, None)));
}

#[test]
fn a_loss_that_was_accepted_before_the_date_does_not_count_also_not_for_the_next_leader() {
    let mut record = schedule(7);
    look(&mut record, &facts(8 * DAY, 5, Some(5)));
    assert!(!look(&mut record, &facts(10 * DAY, 5, Some(5))));
    let other = |second| Facts {
        tenure: "two",
        ..facts(second, 5, Some(5))
    };
    assert!(!look(&mut record, &other(11 * DAY)));
    assert!(!look(&mut record, &other(13 * DAY)));
}

#[test]
fn a_preset_number_counts_once_it_was_taken_back_and_set_again() {
    let mut record = schedule(7);
    look(&mut record, &facts(8 * DAY, 5, Some(5)));
    assert!(!look(&mut record, &facts(10 * DAY, 5, Some(5))));
    assert!(!look(&mut record, &facts(10 * DAY, 5, None)));
    assert!(look(&mut record, &facts(10 * DAY, 5, Some(5))));
}

#[test]
fn a_clock_that_jumps_back_only_makes_it_later() {
    let mut record = schedule(7);
    look(&mut record, &facts(8 * DAY, 0, None));
    assert!(!look(&mut record, &facts(DAY, 0, None)));
    assert!(!look(&mut record, &facts(9 * DAY - 1, 0, None)));
    assert!(look(&mut record, &facts(9 * DAY, 0, None)));
}

#[test]
fn nothing_is_destroyed_while_a_restore_is_suspected() {
    let mut record = schedule(7);
    assert!(!look(&mut record, &facts(7 * DAY, 0, None)));
    let held = Facts {
        held: Some(at(9 * DAY)),
        ..facts(8 * DAY, 0, None)
    };
    assert_eq!(step(&record, &held), Step::Wait(at(9 * DAY)));
    assert!(look(&mut record, &facts(9 * DAY, 0, None)));
}

proptest! {
    /// Whatever windows are asked for and whenever: from each change on, the date is at least seven days away, unless it
    /// was nearer before.
    #[test]
    fn no_sequence_of_changes_brings_the_date_nearer_than_seven_days(
        first in 7_u8..=30, changes in prop::collection::vec((7_u8..=30, 0_i64..10 * DAY), 0..12),
    ) {
        let mut record = schedule(first);
        let mut now = 0;
        for (window, wait) in changes {
            now += wait;
            let before = record.date.0;
            record = asked(Some(&spec(Some(window), None)), Some(&record), at(now)).unwrap();
            prop_assert!(record.date.0 >= before.min(at(now + 7 * DAY)));
            prop_assert_eq!(asked(Some(&spec(Some(window), None)), Some(&record), at(now)), Some(record.clone()));
        }
    }

    /// Whatever is seen, in whatever order: nothing is destroyed before a day after the date.
    #[test]
    fn nothing_is_destroyed_before_a_day_after_the_date(
        window in 7_u8..=30, looks in prop::collection::vec((0_i64..60 * DAY, 0_u32..3, any::<bool>()), 1..20),
    ) {
        let mut record = schedule(window);
        for (second, dependents, other) in looks {
            let facts = Facts {
                tenure: if other { "two" } else { "one" },
                ..facts(second, dependents, Some(1))
            };
            if look(&mut record, &facts) {
                prop_assert!(second >= (i64::from(window) + 1) * DAY);
                return Ok(());
            }
        }
    }
}
