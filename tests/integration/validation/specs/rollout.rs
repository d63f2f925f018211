//! Restarts that are refused, and that are accepted.

use serde_json::{Value, json};

use super::Refused;

fn with(rollout: &Value) -> Value {
    json!({"literals": {"a": ""}, "rollout": rollout})
}

fn target(index: usize) -> Value {
    json!({"kind": "Deployment", "name": format!("w{index}")})
}

fn targets(count: usize) -> Vec<Value> {
    (0..count).map(target).collect()
}

fn window(start: &str, duration: &str) -> Value {
    with(
        &json!({"auto": true, "windows": [{"days": ["Mon", "Sun"], "start": start, "duration": duration}]}),
    )
}

/// What cannot be restarted, or when.
pub(super) fn refused() -> Vec<Refused> {
    vec![
        (with(&json!({})), &["spec.rollout: Invalid value"][..]),
        (
            with(&json!({"auto": false})),
            &["exactly one of auto: true"],
        ),
        (
            with(&json!({"auto": true, "targets": targets(1)})),
            &["exactly one of auto: true"],
        ),
        (
            with(&json!({"targets": []})),
            &["exactly one of auto: true"],
        ),
        (
            with(&json!({"targets": targets(25)})),
            &["spec.rollout.targets: Too many: 25: must have at most 24 items"],
        ),
        (
            with(&json!({"targets": [target(1), target(1)]})),
            &["spec.rollout.targets[1]: Duplicate value"],
        ),
        (
            with(&json!({"targets": [{"kind": "Pod", "name": "x"}]})),
            &["spec.rollout.targets[0].kind: Unsupported value: \"Pod\""],
        ),
        (
            with(&json!({"auto": true, "batch": {"size": 0}})),
            &["spec.rollout.batch.size"],
        ),
        (
            with(&json!({"auto": true, "batch": {"timeout": "25h"}})),
            &["spec.rollout.batch.timeout", "from 1m to 24h"],
        ),
        (window("24:00", "1h"), &["spec.rollout.windows[0].start"]),
        (window("3:00", "1h"), &["spec.rollout.windows[0].start"]),
        (
            window("03:00", "0m"),
            &["spec.rollout.windows[0].duration", "from 1m to 24h"],
        ),
        (window("03:00", "1d"), &["spec.rollout.windows[0].duration"]),
    ]
}

/// At its limits.
pub(super) fn accepted() -> Vec<Value> {
    let windows: Vec<_> = (0..8)
        .map(|_| json!({"start": "23:59", "duration": "24h", "timeZone": "America/Argentina/Buenos_Aires"}))
        .collect();
    vec![
        with(
            &json!({"targets": targets(24), "batch": {"size": 100, "timeout": "1h30m", "waitForReady": false}}),
        ),
        with(&json!({"auto": true, "windows": windows, "paused": true, "batch": {}})),
        with(&json!({"auto": false, "targets": targets(1)})),
        window("00:00", "1m"),
    ]
}
