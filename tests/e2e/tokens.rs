//! Tokens run out while everything runs.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bed::{Bed, SYSTEM, Turn};
use crate::workloads::{
    Ways, assert_follows, change, checker, deployment, job, name, opted_in, reader, restarts,
    sealed, wait_rolled_out, wait_succeeded, web,
};

/// What every token is good for, in seconds: the least that the API server gives.
const LIFE: u64 = 600;
/// What the chart asks for.
const USUAL_LIFE: u64 = 3600;
/// Long enough for each of them to run out several times, in minutes.
const RUN: u64 = 40;
/// For another number of minutes.
const SETTING: &str = "KEYSTEAD_E2E_TOKEN_MINUTES";
const MINUTE: Duration = Duration::from_secs(60);
/// What only those say who have shown a token that is none any more.
const REFUSED: [&str; 3] = ["Unauthorized", "Unauthenticated", "\"code\":401"];

/// Short tokens as long as the test runs.
struct Short<'a>(&'a Bed);

impl<'a> Short<'a> {
    fn give(bed: &'a Bed) -> Self {
        for_the_plugin(bed, LIFE);
        for_the_api_server(bed, "keystead-controller", "controller");
        for_the_api_server(bed, "keystead-server", "server");
        bed.rolled_out();
        Self(bed)
    }
}

impl Drop for Short<'_> {
    fn drop(&mut self) {
        // What failed is to be seen as it was.
        if std::thread::panicking() {
            return;
        }
        for deployment in ["keystead-controller", "keystead-server"] {
            let undo = ["-n", SYSTEM, "rollout", "undo", "deployment", deployment];
            self.0.tools.kubectl(undo);
        }
        for_the_plugin(self.0, USUAL_LIFE);
        self.0.rolled_out();
    }
}

/// How long those tokens are good that kubelet gives the plugin, of pods and its own.
fn for_the_plugin(bed: &Bed, seconds: u64) {
    let requests = json!([{"audience": "keystead.dev", "expirationSeconds": seconds}]);
    let driver = json!({"spec": {"tokenRequests": requests}});
    patch(bed, "csidriver/secrets.keystead.dev", &driver);
    let token = json!({"serviceAccountToken":
        {"audience": "keystead.dev", "expirationSeconds": seconds, "path": "token"}});
    let volume = json!({"name": "token", "projected": {"sources": [token]}});
    let plugin = json!({"spec": {"template": {"spec": {"volumes": [volume]}}}});
    patch(bed, "daemonset/keystead-node", &plugin);
}

/// Gives a container a short token for the API server. Where one is mounted already, that one mounts none of its own.
fn for_the_api_server(bed: &Bed, deployment: &str, container: &str) {
    let sources = json!([
        {"serviceAccountToken": {"expirationSeconds": LIFE, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}}]);
    let mount =
        json!({"name": "short", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"});
    let pod = json!({"volumes": [{"name": "short", "projected": {"sources": sources}}],
        "containers": [{"name": container, "volumeMounts": [mount]}]});
    let what = format!("deployment/{deployment}");
    patch(bed, &what, &json!({"spec": {"template": {"spec": pod}}}));
}

fn patch(bed: &Bed, what: &str, patch: &Value) {
    let patch = patch.to_string();
    bed.tools
        .kubectl(["-n", SYSTEM, "patch", what, "-p", &patch]);
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
    let run = std::env::var(SETTING).map_or(RUN, |minutes| minutes.parse().expect("minutes"));
    let begun = Instant::now();
    for minute in 1..=run {
        // Values arrive in the pods that run, and others start, whosever token has just run out.
        let username = format!("minute-{minute}");
        change(&bed, namespace, &username);
        assert_follows(&bed, namespace, &username);
        let start = format!("start-{minute}");
        bed.apply(&job(namespace, &start, &pod).to_string());
        wait_succeeded(&bed, namespace, &start, 1);
        println!("minute {minute}: all is well after {:?}", begun.elapsed());
        let end = MINUTE * u32::try_from(minute).expect("a small number");
        sleep(end.saturating_sub(begun.elapsed()));
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
