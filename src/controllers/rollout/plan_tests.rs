use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::managed_secret::WorkloadKind;
use crate::crypto::{OsRandom, SecretBytes};
use crate::secrets::{SecretValue, VersionId};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn spec(spec: Value) -> RolloutSpec {
    serde_json::from_value(spec).unwrap()
}

fn consumer(index: usize) -> Consumer {
    Consumer {
        kind: WorkloadKind::ALL[index % 4],
        name: format!("w{index:03}"),
        uid: format!("uid-{index}"),
    }
}

fn consumers(count: usize) -> Vec<Consumer> {
    let mut all: Vec<_> = (0..count).map(consumer).collect();
    all.sort();
    all
}

fn content(text: &str) -> SecretValue {
    let mut value = SecretValue::new();
    let bytes = SecretBytes::copy_of(text.as_bytes());
    value.insert("a".into(), bytes).unwrap();
    value
}

fn changed(record: &RolloutRecord, text: &str) -> RolloutRecord {
    let version = VersionId::generate(&mut OsRandom).unwrap();
    record
        .changed(&content(text), version, at(0), &mut OsRandom)
        .unwrap()
}

fn new() -> RolloutRecord {
    RolloutRecord::begin(&content(""), &mut OsRandom).unwrap()
}

fn with_pending(count: usize) -> RolloutRecord {
    found(&changed(&new(), "1"), consumers(count))
}

fn restarts(record: &RolloutRecord, rollout: &RolloutSpec, now: Timestamp) -> usize {
    match due(record, rollout, now).unwrap() {
        Due::Restart(batch) => batch.len(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nobody_is_looked_for_or_restarted_without_a_change() {
    let auto = spec(json!({"auto": true}));
    assert_eq!(due(&new(), &auto, at(0)), Ok(Due::Nothing));
    let record = changed(&new(), "1");
    assert_eq!(due(&record, &auto, at(0)), Ok(Due::Search));
    let nobody = found(&record, Vec::new());
    assert!(nobody.is_idle());
    assert_eq!(due(&nobody, &auto, at(0)), Ok(Due::Nothing));
}

#[test]
fn without_a_batch_all_are_restarted_at_once_and_nobody_is_waited_for() {
    let auto = spec(json!({"auto": true}));
    let record = with_pending(5);
    assert_eq!(restarts(&record, &auto, at(0)), 5);
    let done: Vec<_> = consumers(5)
        .into_iter()
        .map(|c| (c, Done::Restarted))
        .collect();
    let record = after(&record, &auto, &done, at(1));
    assert!(record.is_idle());
    assert_eq!(record.restarted.unwrap().count, 5);
}

#[test]
fn who_is_gone_is_dropped_and_who_was_not_restarted_stays() {
    let auto = spec(json!({"auto": true}));
    let all = consumers(3);
    let record = with_pending(3);
    let done = [
        (all[0].clone(), Done::Restarted),
        (all[1].clone(), Done::Gone),
        (all[2].clone(), Done::Not),
    ];
    let record = after(&record, &auto, &done, at(1));
    assert_eq!(record.pending, all[2..]);
    assert_eq!(record.restarted.unwrap().count, 1);
}

#[test]
fn the_next_batch_waits_until_the_one_before_is_rolled_out_and_for_ever_if_it_is_late() {
    let rollout = spec(json!({"auto": true, "batch": {"size": 2, "timeout": "5m"}}));
    let record = with_pending(5);
    assert_eq!(restarts(&record, &rollout, at(0)), 2);
    let first = &record.pending[..2];
    let done: Vec<_> = first.iter().map(|c| (c.clone(), Done::Restarted)).collect();
    let record = after(&record, &rollout, &done, at(0));
    assert_eq!(
        due(&record, &rollout, at(1)),
        Ok(Due::Look(consumers(5)[..2].to_vec()))
    );
    let rolling = record.rolling.clone().unwrap();
    let slow = consumer(0);
    let out = |c: &Consumer| *c != slow;
    for (case, second, expected) in [
        ("in time", 299, Rolled::Going),
        ("late", 300, Rolled::Late(vec![slow.clone()])),
        ("a clock put back", -60, Rolled::Going),
    ] {
        assert_eq!(
            rolled(&rolling, &rollout, out, at(second)),
            expected,
            "{case}"
        );
    }
    assert_eq!(rolled(&rolling, &rollout, |_| true, at(900)), Rolled::Out);
    let record = without_rolling(&record);
    assert_eq!(restarts(&record, &rollout, at(900)), 2);
    let unwaited = spec(json!({"auto": true, "batch": {"size": 2, "waitForReady": false}}));
    assert!(after(&record, &unwaited, &done, at(0)).rolling.is_none());
}

#[test]
fn a_pause_and_closed_windows_keep_restarts_waiting() {
    let record = with_pending(1);
    let paused = spec(json!({"auto": true, "paused": true}));
    assert_eq!(due(&record, &paused, at(0)), Ok(Due::Paused));
    let windows = json!([{"start": "03:00", "duration": "1h"}]);
    let nightly = spec(json!({"auto": true, "windows": windows}));
    let evening = "2026-11-28T20:00:00Z".parse().unwrap();
    let night: Timestamp = "2026-11-29T03:00:00Z".parse().unwrap();
    assert_eq!(due(&record, &nightly, evening), Ok(Due::Closed(night)));
    assert_eq!(restarts(&record, &nightly, night), 1);
}

#[test]
fn a_newer_change_replaces_an_older_one_that_still_waits() {
    let record = with_pending(3);
    let newer = changed(&record, "2");
    assert!(newer.pending.is_empty() && newer.search.is_some());
    assert_ne!(newer.change.unwrap().marker, record.change.unwrap().marker);
}

#[test]
fn more_consumers_than_a_record_holds_are_found_page_by_page_and_each_once() {
    let auto = spec(json!({"auto": true}));
    let mut all = consumers(2 * PAGE + 50);
    let mut record = changed(&new(), "1");
    let mut seen = Vec::new();
    for page in 0.. {
        if due(&record, &auto, at(0)) == Ok(Due::Nothing) {
            assert_eq!(page, 3);
            break;
        }
        record = found(&record, all.clone());
        assert!(record.pending.len() <= PAGE);
        seen.extend(record.pending.clone());
        let done: Vec<_> = record
            .pending
            .iter()
            .map(|c| (c.clone(), Done::Restarted))
            .collect();
        record = after(&record, &auto, &done, at(page));
        // The last one of a page may be gone when the next one is looked for.
        if let Some(last) = record.search.as_ref().and_then(|s| s.after.clone()) {
            all.retain(|consumer| *consumer != last);
        }
    }
    let mut once = seen.clone();
    once.dedup();
    assert_eq!(once, seen);
    assert_eq!(seen.len(), 2 * PAGE + 50);
    assert_eq!(record.restarted.unwrap().count, 250);
}

/// Workloads in memory: how often the pods of each were replaced, and what for.
struct Cluster {
    workloads: BTreeMap<Consumer, (usize, Option<String>)>,
}

impl Cluster {
    /// One pass of a process that may be killed after so many restarts, before it has written down what it did.
    fn pass(
        &mut self,
        record: &RolloutRecord,
        spec: &RolloutSpec,
        killed_after: Option<usize>,
    ) -> RolloutRecord {
        match due(record, spec, at(0)).unwrap() {
            Due::Nothing | Due::Paused | Due::Closed(_) => record.clone(),
            Due::Search => found(record, self.workloads.keys().cloned().collect()),
            Due::Look(_) => without_rolling(record),
            Due::Restart(batch) => {
                let marker = &record.change.as_ref().unwrap().marker;
                let mut done = Vec::new();
                for (index, consumer) in batch.into_iter().enumerate() {
                    if killed_after == Some(index) {
                        return record.clone();
                    }
                    let (restarts, mark) = self.workloads.get_mut(&consumer).unwrap();
                    if mark.as_ref() != Some(marker) {
                        *restarts += 1;
                        *mark = Some(marker.clone());
                    }
                    done.push((consumer, Done::Restarted));
                }
                after(record, spec, &done, at(0))
            }
        }
    }
}

proptest! {
    #[test]
    fn whoever_is_killed_when_each_consumer_is_restarted_once_a_change_and_then_nothing_is_due(
        count in 0_usize..130,
        size in 1_u32..40,
        wait in any::<bool>(),
        kills in prop::collection::vec(prop::option::of(0_usize..40), 0..12),
        changes in 1_usize..4,
    ) {
        let rollout = spec(json!({"auto": true, "batch": {"size": size, "waitForReady": wait}}));
        let workloads = consumers(count).into_iter().map(|c| (c, (0, None))).collect();
        let mut cluster = Cluster { workloads };
        let mut record = new();
        let mut kills = kills.into_iter();
        for change in 1..=changes {
            record = changed(&record, &change.to_string());
            for _ in 0..1_000 {
                let next = cluster.pass(&record, &rollout, kills.next().flatten());
                record = next;
            }
            prop_assert!(record.is_idle());
            prop_assert_eq!(due(&record, &rollout, at(0)), Ok(Due::Nothing));
            prop_assert!(cluster.workloads.values().all(|(restarts, _)| *restarts == change));
        }
    }
}
