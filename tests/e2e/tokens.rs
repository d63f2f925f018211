//! Tokens run out while everything runs.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bed::{Bed, RELEASE, SYSTEM, Turn};
use crate::workloads::{
    Ways, assert_follows, change, checker, deployment, job, name, opted_in, reader, restarts,
    sealed, wait_rolled_out, wait_succeeded, web,
};

/// What every token is good for, in seconds: the least that the API server gives.
const LIFE: u64 = 600;
/// Long enough for each of them to run out several times.
const RUN: Duration = Duration::from_secs(40 * 60);
const MINUTE: Duration = Duration::from_secs(60);
/// What only those say who have shown a token that is none any more.
const REFUSED: [&str; 3] = ["Unauthorized", "Unauthenticated", "\"code\":401"];

/// Short tokens as long as the test runs.
struct Short<'a>(&'a Bed);

impl<'a> Short<'a> {
    fn give(bed: &'a Bed) -> Self {
        let patch = |what: &str, patch: &Value| {
            let patch = patch.to_string();
            bed.tools
                .kubectl(["-n", SYSTEM, "patch", what, "-p", &patch]);
        };
        let requests = json!([{"audience": "keystead.dev", "expirationSeconds": LIFE}]);
        patch(
            "csidriver/secrets.keystead.dev",
            &json!({"spec": {"tokenRequests": requests}}),
        );
        let token = json!({"serviceAccountToken": {"audience": "keystead.dev", "expirationSeconds": LIFE, "path": "token"}});
        let volume = json!({"name": "token", "projected": {"sources": [token]}});
        patch(
            "daemonset/keystead-node",
            &json!({"spec": {"template": {"spec": {"volumes": [volume]}}}}),
        );
        for (deployment, container) in [
            ("keystead-controller", "controller"),
            ("keystead-server", "server"),
        ] {
            // Where one is mounted already, the API server mounts none of its own.
            let sources = json!([
                {"serviceAccountToken": {"expirationSeconds": LIFE, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}}]);
            let mount = json!({"name": "short", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"});
            patch(
                &format!("deployment/{deployment}"),
                &json!({"spec": {"template": {"spec": {
                    "volumes": [{"name": "short", "projected": {"sources": sources}}],
                    "containers": [{"name": container, "volumeMounts": [mount]}]}}}}),
            );
        }
        bed.rolled_out();
        Self(bed)
    }
}

impl Drop for Short<'_> {
    fn drop(&mut self) {
        for deployment in ["keystead-controller", "keystead-server"] {
            let undo = ["rollout", "undo", "deployment", deployment];
            let undone = self
                .0
                .tools
                .try_kubectl([&["-n", SYSTEM], &undo[..]].concat());
            if let Err(error) = undone {
                eprintln!("{error}");
            }
        }
        self.0.helm_with_chart("upgrade", RELEASE);
        self.0.rolled_out();
    }
}

/// The pods of all parts.
fn parts(bed: &Bed) -> Vec<Value> {
    let pods = bed.get(SYSTEM, "pods");
    pods["items"].as_array().expect("a list").clone()
}

#[test]
#[ignore = "takes 40 minutes"]
fn everything_goes_on_while_tokens_of_ten_minutes_run_out_again_and_again() {
    let bed = Turn::take();
    let short = Short::give(&bed);
    let namespace = "e2e-tokens";
    let _namespace = opted_in(&bed, namespace);
    let value = sealed(&bed, namespace, "db");
    bed.apply(&deployment(namespace, "web", 2, &reader(&bed, "db", false)));
    wait_rolled_out(&bed, namespace, "web");
    let pod = checker(&bed, "db", &value, Ways::VolumeAndVariable);
    let begun = Instant::now();
    let mut minutes = 0;
    while begun.elapsed() < RUN {
        minutes += 1;
        let next = MINUTE * minutes;
        // Values arrive in the pods that run, and others start, whosever token has just run out.
        let username = format!("minute-{minutes}");
        change(&bed, namespace, &username);
        assert_follows(&bed, namespace, &username);
        let start = format!("start-{minutes}");
        bed.apply(&job(namespace, &start, &pod).to_string());
        wait_succeeded(&bed, namespace, &start, 1);
        println!("minute {minutes}: all is well after {:?}", begun.elapsed());
        sleep(next.saturating_sub(begun.elapsed()));
    }
    let pods = web(&bed, namespace);
    assert_eq!(pods.iter().map(restarts).sum::<u64>(), 0, "{pods:#?}");
    for part in parts(&bed) {
        let pod = name(&part);
        assert_eq!(restarts(&part), 0, "{pod}");
        let log = bed
            .tools
            .kubectl(["-n", SYSTEM, "logs", &pod, "--all-containers"]);
        let refused = log
            .lines()
            .find(|line| REFUSED.iter().any(|word| line.contains(word)));
        assert_eq!(refused, None, "{pod}");
    }
    drop(short);
}
