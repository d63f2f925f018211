use serde_json::{Value, json};

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A Job of a step of a version, as an attempt; `ended`: with that condition.
fn job(version: &str, step: &str, attempt: u32, ended: Option<&str>) -> Job {
    let conditions = ended.map(|type_| {
        json!([
            {"type": "SuccessCriteriaMet", "status": "True"},
            {"type": type_, "status": "True", "reason": "BackoffLimitExceeded",
             "lastTransitionTime": "2026-05-01T12:00:00Z"},
        ])
    });
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("rotate-{version}-{step}-{attempt}"),
            "creationTimestamp": format!("2026-05-01T11:0{}:00Z", version.len()),
            "labels": {LABEL_ROTATION_VERSION: version, LABEL_ROTATION_STEP: step},
            "annotations": {ANNOTATION_ROTATION_ATTEMPT: attempt.to_string()},
        },
        "status": {"conditions": conditions.unwrap_or_default()},
    }))
    .unwrap()
}

fn pod(init: &Value, containers: &Value) -> Pod {
    let status = |code: &Value| match code {
        Value::Null => {
            json!({"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}})
        }
        code => json!({"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                       "state": {"terminated": {"exitCode": code}}}),
    };
    let all = |codes: &Value| {
        codes
            .as_array()
            .unwrap()
            .iter()
            .map(status)
            .collect::<Vec<_>>()
    };
    serde_json::from_value(json!({
        "metadata": {"name": "p"},
        "status": {"initContainerStatuses": all(init), "containerStatuses": all(containers)},
    }))
    .unwrap()
}

#[test]
fn a_step_is_done_once_and_tried_again_ever_more_slowly() {
    let now = at("2026-05-01T12:00:00Z");
    assert!(matches!(turn(&[], now), Turn::Make(1)));
    let runs = [job("v", "set", 1, None)];
    assert!(matches!(turn(&runs, now), Turn::Wait(_)));
    let done = [
        job("v", "set", 1, Some("Failed")),
        job("v", "set", 2, Some("Complete")),
    ];
    assert!(matches!(turn(&done, now), Turn::Done));
    for (attempt, seconds) in [(1, 10), (2, 20), (3, 40), (6, 300), (40, 300)] {
        let failed = [job("v", "set", attempt, Some("Failed"))];
        let again = |after: i64| {
            let now = now.checked_add(SignedDuration::from_secs(after)).unwrap();
            let Turn::Failed { again, .. } = turn(&failed, now) else {
                panic!("it has failed");
            };
            again
        };
        assert!(!again(seconds - 1), "{attempt}");
        assert!(again(seconds), "{attempt}");
    }
    // The last attempt counts, in whatever order they are listed.
    let retried = [job("v", "set", 2, None), job("v", "set", 1, Some("Failed"))];
    assert!(matches!(turn(&retried, now), Turn::Wait(_)));
}

#[test]
fn a_refusal_of_any_container_counts_and_otherwise_the_first_failure() {
    let code = |init: Value, all: Value| exit_code(&[pod(&init, &all)]);
    assert_eq!(code(json!([0]), json!([0])), None);
    assert_eq!(code(json!([0]), json!([1, 10])), Some(REFUSED));
    assert_eq!(code(json!([10]), json!([])), Some(REFUSED));
    assert_eq!(code(json!([]), json!([0, 3, 4])), Some(3));
    assert_eq!(code(json!([]), json!([null])), None);
    assert_eq!(exit_code(&[]), None);
}

#[test]
fn a_failure_says_what_to_look_at() {
    let failed = job("v", "set", 1, Some("Failed"));
    let why = |pods: &[Pod]| why_failed(&failed, pods);
    assert_eq!(
        why(&[pod(&json!([]), &json!([7]))]),
        "it ended with exit code 7"
    );
    assert!(why(&[]).contains("BackoffLimitExceeded, and it has no pod: kubectl describe job"));
    assert!(why(&[pod(&json!([]), &json!([null]))]).contains("kubectl describe pod"));
}

fn cron(spec: &Value) -> CronJob {
    let mut whole = json!({"schedule": "@yearly", "jobTemplate": {}});
    for (field, value) in spec.as_object().unwrap() {
        whole[field] = value.clone();
    }
    serde_json::from_value(json!({"metadata": {"name": "rotate"}, "spec": whole})).unwrap()
}

#[test]
fn jobs_of_former_rotations_go_when_a_new_one_begins_but_for_the_last_ones() {
    let all: Vec<_> = ["a", "bb", "ccc", "dddd", "eeeee"]
        .into_iter()
        .flat_map(|version| ["create", "set"].map(|step| job(version, step, 1, Some("Complete"))))
        .collect();
    let running = HashSet::from(["eeeee".to_owned()]);
    let gone = |spec: Value, begins| superfluous(&all, &cron(&spec), begins, &running);
    assert_eq!(
        gone(json!({}), true),
        ["rotate-a-create-1", "rotate-a-set-1"]
    );
    assert!(gone(json!({}), false).is_empty());
    let one = gone(json!({"successfulJobsHistoryLimit": 1}), true);
    assert_eq!(one.len(), 6);
    assert!(
        one.iter()
            .all(|name| !name.contains("dddd") && !name.contains("eeeee"))
    );
    let none = gone(json!({"successfulJobsHistoryLimit": 0}), true);
    assert_eq!(none.len(), 8, "never those of the one that is under way");
}

#[test]
fn of_failed_attempts_at_a_step_the_last_ones_stay_whatever_is_said() {
    let all = [
        job("v", "set", 1, Some("Failed")),
        job("v", "set", 3, Some("Failed")),
        job("v", "set", 2, Some("Failed")),
        job("v", "create", 1, Some("Failed")),
        job("v", "create", 2, Some("Complete")),
    ];
    let running = HashSet::from(["v".to_owned()]);
    let gone = |limit: i32| {
        let cron = cron(&json!({"failedJobsHistoryLimit": limit}));
        superfluous(&all, &cron, false, &running)
    };
    assert_eq!(gone(1), ["rotate-v-set-1", "rotate-v-set-2"]);
    assert_eq!(gone(0), ["rotate-v-set-1", "rotate-v-set-2"]);
    assert_eq!(gone(2), ["rotate-v-set-1"]);
}
