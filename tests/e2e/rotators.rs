//! Rotation by code of the user's own, as `examples/rotators` shows it: in Python, in shell, and by a function made for AWS Lambda.

use std::fs;

use serde_json::Value;

use crate::bed::{Bed, Turn, repository, text};
use crate::tools::eventually;
use crate::workloads::{opted_in, wait_rolled_out};

const NAMESPACE: &str = "e2e-rotators";
const SECRETS: [&str; 3] = ["mail-api", "chat-api", "maps-api"];

/// The examples, with images that the cluster has and in a namespace of the test.
fn examples(workshop: &str, busybox: &str) -> String {
    let file = repository().join("examples/rotators/rotators.yaml");
    let yaml = fs::read_to_string(file).expect("the examples are there");
    yaml.replace("namespace: shop", &format!("namespace: {NAMESPACE}"))
        .replace("image: python:3.13-alpine", &format!("image: {workshop}"))
        .replace("image: busybox:1.37", &format!("image: {busybox}"))
}

fn schedule(bed: &Bed, name: &str) -> Value {
    bed.get(NAMESPACE, &format!("rotationschedule/{name}"))
}

fn rotate(bed: &Bed, token: &str) {
    for name in SECRETS {
        let (what, token) = (
            format!("rotationschedule/{name}"),
            format!("keystead.dev/rotate={token}"),
        );
        bed.tools
            .kubectl(["-n", NAMESPACE, "annotate", &what, &token, "--overwrite"]);
    }
}

fn wait_rotated(bed: &Bed, times: usize) {
    for name in SECRETS {
        eventually(&format!("{name} is rotated"), || {
            let status = &schedule(bed, name)["status"];
            let ended = status["history"].as_array().map_or(0, Vec::len);
            (ended == times && status["running"].is_null()).then_some(())
        });
    }
}

/// How many keys the provider takes.
fn valid_keys(bed: &Bed) -> String {
    let ask = "import urllib.request as r; print(r.urlopen('http://localhost:8080/count').read().decode(), end='')";
    let exec = [
        "-n",
        NAMESPACE,
        "exec",
        "deploy/provider",
        "--",
        "python3",
        "-c",
        ask,
    ];
    bed.tools.kubectl(exec)
}

#[test]
fn api_keys_are_rotated_by_code_in_python_in_shell_and_made_for_lambda() {
    let bed = Turn::take();
    let Some(node) = bed.target.own() else {
        return;
    };
    let _namespace = opted_in(&bed, NAMESPACE);
    // What runs in it is bounded, and every Job says what it needs.
    bed.apply(&format!(
        "{{apiVersion: v1, kind: ResourceQuota, metadata: {{name: all, namespace: {NAMESPACE}}}, \
         spec: {{hard: {{requests.cpu: \"1\", limits.memory: 1Gi}}}}}}"
    ));
    let folder = repository().join("examples/rotators");
    let from = format!("--from-file={}", folder.display());
    bed.tools
        .kubectl(["-n", NAMESPACE, "create", "configmap", "rotators", &from]);
    bed.apply(&examples(node.workshop(), bed.target.busybox()));
    bed.all_ready(NAMESPACE);
    wait_rolled_out(&bed, NAMESPACE, "provider");
    assert_eq!(valid_keys(&bed), "0");

    rotate(&bed, "one");
    wait_rotated(&bed, 1);
    assert_eq!(valid_keys(&bed), "3", "one for each secret");
    // The value before was not known to the provider, which takes no offence at being told to revoke it.
    rotate(&bed, "two");
    wait_rotated(&bed, 2);
    // The function made for Lambda leaves the key before, as it would there.
    assert_eq!(
        valid_keys(&bed),
        "4",
        "those before are revoked by the others"
    );

    for name in SECRETS {
        let past = schedule(&bed, name)["status"]["history"][0].clone();
        let secret = bed.get(NAMESPACE, &format!("managedsecret/{name}"));
        assert_eq!(
            secret["status"]["versions"][0]["id"], past["version"],
            "{name}"
        );
    }
    // Each step was one Job, whose log is there.
    let jobs = bed.get(NAMESPACE, "jobs");
    let jobs = jobs["items"].as_array().expect("a list");
    assert_eq!(jobs.len(), 3 * 2 * 4);
    let finished = jobs.iter().find(|job| {
        let name = text(&job["metadata"]["name"]);
        name.starts_with("rotate-maps-api") && name.ends_with("finish-1")
    });
    let name = format!(
        "job/{}",
        text(&finished.expect("it was called")["metadata"]["name"])
    );
    let log = bed.tools.kubectl(["-n", NAMESPACE, "logs", &name]);
    assert!(log.contains("already marked as AWSCURRENT"), "{log}");
    // No value that was used is anywhere in plaintext.
    if let Some(keys) = bed.etcd_keys_containing(&current_key(&bed)) {
        assert_eq!(keys, [""; 0]);
    }
}

/// What the provider takes now of one of them, read as a pod reads it.
fn current_key(bed: &Bed) -> String {
    bed.apply(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: reader, namespace: {NAMESPACE}}}, spec: {{automountServiceAccountToken: false, \
         terminationGracePeriodSeconds: 0, securityContext: {{runAsNonRoot: true, runAsUser: 1000, seccompProfile: {{type: RuntimeDefault}}}}, \
         containers: [{{name: a, image: {}, command: [sleep, \"3600\"], resources: {{requests: {{cpu: 1m}}, limits: {{memory: 16Mi}}}}, \
         securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}, volumeMounts: [{{name: s, mountPath: /s}}]}}], \
         volumes: [{{name: s, secret: {{secretName: mail-api}}}}]}}}}",
        bed.target.busybox()
    ));
    let wait = [
        "-n",
        NAMESPACE,
        "wait",
        "pod/reader",
        "--for=condition=Ready",
        "--timeout=120s",
    ];
    bed.tools.kubectl(wait);
    bed.tools
        .kubectl(["-n", NAMESPACE, "exec", "reader", "--", "cat", "/s/apiKey"])
}
