use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn timing(spec: &Value) -> Result<Timing, TimingError> {
    let mut whole =
        json!({"secretRef": {"name": "db"}, "strategy": {"regenerate": {}}, "jitter": "0s"});
    for (field, value) in spec.as_object().unwrap() {
        whole[field] = value.clone();
    }
    Timing::read(
        &serde_json::from_value(whole).unwrap(),
        &Crontabs::default(),
    )
}

fn cron(line: &str, zone: &str) -> Timing {
    timing(&json!({"schedule": {"cron": line, "timeZone": zone}})).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn runs(timing: &Timing, after: &str, count: usize) -> Vec<String> {
    let runs = timing.runs(at(after)).take(count);
    runs.map(|run| run.to_string()).collect()
}

#[test]
fn a_daily_time_comes_once_on_each_day_that_a_clock_changes() {
    let berlin = cron("30 2 * * *", "Europe/Berlin");
    // The clock goes from 2:00 to 3:00 on the 29th: 2:30 counts as 3:30.
    assert_eq!(
        runs(&berlin, "2026-03-27T12:00:00Z", 3),
        [
            "2026-03-28T01:30:00Z",
            "2026-03-29T01:30:00Z",
            "2026-03-30T00:30:00Z"
        ]
    );
    // And from 3:00 to 2:00 on the 25th: 2:30 comes twice, and counts as the first.
    assert_eq!(
        runs(&berlin, "2026-10-23T12:00:00Z", 3),
        [
            "2026-10-24T00:30:00Z",
            "2026-10-25T00:30:00Z",
            "2026-10-26T01:30:00Z"
        ]
    );
    // Also for who asks between the two.
    assert_eq!(
        runs(&berlin, "2026-10-25T00:45:00Z", 1),
        ["2026-10-26T01:30:00Z"]
    );
    assert_eq!(
        runs(&berlin, "2026-10-25T01:15:00Z", 1),
        ["2026-10-26T01:30:00Z"]
    );
    // A zone that has given up changing its clocks.
    let paulo = cron("0 0 * * *", "America/Sao_Paulo");
    assert_eq!(
        runs(&paulo, "2026-10-17T12:00:00Z", 2),
        ["2026-10-18T03:00:00Z", "2026-10-19T03:00:00Z"]
    );
}

#[test]
fn a_line_that_never_comes_or_comes_too_often_is_refused() {
    let refused = |line: &str| timing(&json!({"schedule": {"cron": line}})).unwrap_err();
    assert!(matches!(refused("0 0 31 2 *"), TimingError::Never(_)));
    assert!(matches!(
        refused("*/30 * * * *"),
        TimingError::TooOften(_, _, _)
    ));
    assert!(matches!(
        refused("0,59 3 * * *"),
        TimingError::TooOften(_, _, _)
    ));
    assert!(matches!(refused("61 0 * * *"), TimingError::Cron(_)));
    assert!(matches!(refused("0 0 * * * *"), TimingError::Cron(_)));
    let nowhere = timing(&json!({"schedule": {"cron": "0 0 * * *", "timeZone": "Mars/Olympus"}}));
    assert_eq!(
        nowhere.unwrap_err(),
        TimingError::TimeZone("Mars/Olympus".to_owned())
    );
    assert!(timing(&json!({"schedule": {"cron": "0 * * * *"}})).is_ok());
    assert!(timing(&json!({"schedule": {"cron": "0 3 29 2 *"}})).is_ok());
}

#[test]
fn what_was_missed_within_the_window_is_made_up_for_once_and_what_is_over_waits() {
    let nightly = json!({"schedule": {"cron": "0 2 * * *"}, "window": "1h"});
    let nightly = timing(&nightly).unwrap();
    let due = |now: &str| nightly.due(at("2026-05-01T02:00:10Z"), 0, at(now));
    assert!(!due("2026-05-02T01:59:59Z").is_now(at("2026-05-02T01:59:59Z")));
    for now in ["2026-05-02T02:00:00Z", "2026-05-02T02:59:59Z"] {
        assert!(due(now).is_now(at(now)), "{now}");
        assert_eq!(due(now).missed, 0);
    }
    let late = due("2026-05-02T03:00:00Z");
    assert_eq!(late.begins, Some(at("2026-05-03T02:00:00Z")));
    assert_eq!(late.missed, 1);
    assert_eq!(due("2026-05-05T12:00:00Z").missed, 4);
    // Without a window three days away are one rotation.
    let always = timing(&json!({"schedule": {"cron": "0 2 * * *"}})).unwrap();
    let now = at("2026-05-05T12:00:00Z");
    assert!(always.due(at("2026-05-01T02:00:10Z"), 0, now).is_now(now));
    let next = always.due(now, 0, now);
    assert_eq!(next.begins, Some(at("2026-05-06T02:00:00Z")));
}

#[test]
fn a_clock_that_jumps_back_rotates_nothing_again() {
    let timing = timing(&json!({"schedule": {"every": "24h"}})).unwrap();
    let last = at("2026-05-02T02:00:00Z");
    for now in [
        "2026-05-02T00:00:00Z",
        "2026-05-02T02:00:00Z",
        "2026-05-03T01:59:59Z",
    ] {
        assert!(!timing.due(last, 0, at(now)).is_now(at(now)), "{now}");
    }
}

#[test]
fn schedules_of_the_same_time_are_spread_by_their_own_numbers_and_stay_within_half_of_the_window() {
    let spread = json!({"schedule": {"cron": "0 2 * * *"}, "window": "1h", "jitter": "2h"});
    let spread = timing(&spread).unwrap();
    let (last, now) = (at("2026-05-01T12:00:00Z"), at("2026-05-01T12:00:00Z"));
    let begins = |seed: u64| spread.due(last, seed, now).begins.unwrap();
    let (first, end) = (at("2026-05-02T02:00:00Z"), at("2026-05-02T02:30:00Z"));
    let seeds = (0..500_u64).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let all: std::collections::BTreeSet<_> = seeds.map(begins).collect();
    assert!(all.len() > 350, "{} of 500 differ", all.len());
    assert!(all.iter().all(|begins| (first..=end).contains(begins)));
    assert_eq!(begins(42), begins(42));
}

#[test]
fn without_a_schedule_nothing_is_ever_due() {
    let timing = timing(&json!({})).unwrap();
    let due = timing.due(Timestamp::UNIX_EPOCH, 0, Timestamp::MAX);
    assert_eq!((due.tick, due.begins, due.missed), (None, None, 0));
}

proptest! {
    #[test]
    fn each_local_time_of_a_year_comes_once_in_any_zone(zone in prop::sample::select(vec![
        "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu", "UTC",
    ]), hour in 0..24_u32, minute in 0..60_u32) {
        let timing = cron(&format!("{minute} {hour} * * *"), zone);
        let runs: Vec<_> = timing.runs(at("2026-01-01T12:00:00Z")).take(365).collect();
        for pair in runs.windows(2) {
            let hours = pair[0].duration_until(pair[1]).as_hours();
            prop_assert!((22..=26).contains(&hours), "{pair:?}");
        }
        let zone = super::zone(zone).unwrap();
        let days: std::collections::BTreeSet<_> =
            runs.iter().map(|run| zone.to_datetime(*run).date()).collect();
        prop_assert_eq!(days.len(), 365);
    }

    #[test]
    fn what_is_due_is_after_the_last_rotation_and_within_its_window(
        last in 1_700_000_000_i64..1_800_000_000, away in 0_i64..40_000_000, seed: u64,
    ) {
        let timing = timing(&json!({"schedule": {"cron": "15 3 * * 1,4"}, "window": "2h", "jitter": "30m"})).unwrap();
        let last = Timestamp::from_second(last).unwrap();
        let now = Timestamp::from_second(last.as_second() + away).unwrap();
        let due = timing.due(last, seed, now);
        let (tick, begins) = (due.tick.unwrap(), due.begins.unwrap());
        prop_assert!(tick > last && begins >= tick);
        prop_assert!(tick.checked_add(SignedDuration::from_hours(2)).unwrap() > now);
        // Rotated then, it is not due again at once.
        prop_assert!(!timing.due(now.max(begins), seed, now.max(begins)).is_now(now.max(begins)));
    }
}
