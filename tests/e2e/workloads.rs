//! Workloads as people have them, which the tests give sealed secrets.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::bed::{Bed, Namespace, text};
use crate::tools::{TIMEOUT, eventually, eventually_none};

/// What every container of these tests runs as; namespaces enforce the `restricted` level.
pub(crate) fn restricted() -> Value {
    json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}})
}

/// A pod that reads a secret by every way that there is, prints the hash of each, and ends or waits.
pub(crate) fn reader(bed: &Bed, secret: &str, ends: bool) -> Value {
    let key = |key: &str| json!({"secretKeyRef": {"name": secret, "key": key}});
    let script = format!(
        "set -e; hash() {{ echo \"$1 $(sha256sum | cut -c1-64)\"; }}
         printf %s \"$PASSWORD\" | hash env
         printf %s \"$ALL_password\" | hash envfrom
         hash volume </etc/secret/password
         hash item </etc/item/deep/pw
         hash projected </etc/projected/password
         echo \"mode $(stat -L -c %a /etc/secret/password)\"
         ! touch /etc/secret/x 2>/dev/null
         [ ! -e /var/run/secrets/kubernetes.io ]
         {}",
        if ends { "true" } else { "exec sleep 3600" }
    );
    json!({
        "automountServiceAccountToken": false,
        "terminationGracePeriodSeconds": 0,
        "restartPolicy": if ends { "Never" } else { "Always" },
        "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "fsGroup": 2000, "seccompProfile": {"type": "RuntimeDefault"}},
        "initContainers": [{
            "name": "migrate", "image": bed.target.busybox(), "securityContext": restricted(),
            "env": [{"name": "PASSWORD", "valueFrom": key("password")}],
            "command": ["sh", "-c", "[ \"$PASSWORD\" = \"$(cat /etc/secret/password)\" ]"],
            "volumeMounts": [{"name": "secret", "mountPath": "/etc/secret"}],
        }],
        "containers": [{
            "name": "app", "image": bed.target.busybox(), "securityContext": restricted(),
            "command": ["sh", "-c", script],
            "env": [{"name": "PASSWORD", "valueFrom": key("password")}],
            "envFrom": [{"prefix": "ALL_", "secretRef": {"name": secret}}],
            "volumeMounts": [
                {"name": "secret", "mountPath": "/etc/secret"},
                {"name": "item", "mountPath": "/etc/item"},
                {"name": "projected", "mountPath": "/etc/projected"},
            ],
        }],
        "volumes": [
            {"name": "secret", "secret": {"secretName": secret, "defaultMode": 0o400}},
            {"name": "item", "secret": {"secretName": secret, "items": [{"key": "password", "path": "deep/pw"}]}},
            {"name": "projected", "projected": {"sources": [{"secret": {"name": secret}}]}},
        ],
    })
}

pub(crate) fn template(name: &str, pod: &Value) -> Value {
    json!({"metadata": {"labels": {"app": name}}, "spec": pod})
}

pub(crate) fn deployment(namespace: &str, name: &str, replicas: u32, pod: &Value) -> String {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template(name, pod)}})
    .to_string()
}

pub(crate) fn job(namespace: &str, name: &str, pod: &Value) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": namespace},
        "spec": {"backoffLimit": 0, "template": template(name, pod)}})
}

/// A Job of which several pods run at once.
pub(crate) fn many(namespace: &str, name: &str, starts: u64, at_once: u64, pod: &Value) -> Value {
    let mut many = job(namespace, name, pod);
    many["spec"]["completions"] = starts.into();
    many["spec"]["parallelism"] = at_once.into();
    many
}

/// The ways in which [`checker`] gets a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ways {
    Volume,
    VolumeAndVariable,
}

/// A pod that ends well if what it reads is that value, which its manifest does not tell.
pub(crate) fn checker(bed: &Bed, secret: &str, value: &str, ways: Ways) -> Value {
    let check = |read: &str| format!("[ \"$({read} | sha256sum)\" = '{}  -' ]", hash(value));
    let mut script = check("cat /etc/secret/password");
    let mut env = json!([]);
    if ways == Ways::VolumeAndVariable {
        script = format!("{script} && {}", check("printf %s \"$PASSWORD\""));
        let key = json!({"secretKeyRef": {"name": secret, "key": "password"}});
        env = json!([{"name": "PASSWORD", "valueFrom": key}]);
    }
    json!({
        "automountServiceAccountToken": false,
        "terminationGracePeriodSeconds": 0,
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "app", "image": bed.target.busybox(), "securityContext": restricted(),
            "command": ["sh", "-c", script], "env": env,
            "volumeMounts": [{"name": "secret", "mountPath": "/etc/secret"}],
        }],
        "volumes": [{"name": "secret", "secret": {"secretName": secret}}],
    })
}

/// How many pods of a Job ended well, when none failed.
#[track_caller]
pub(crate) fn succeeded(bed: &Bed, namespace: &str, name: &str) -> u64 {
    let job = bed.get(namespace, &format!("job/{name}"));
    let failed = &job["status"]["failed"];
    assert!(failed.is_null(), "a pod failed: {:#}", job["status"]);
    job["status"]["succeeded"].as_u64().unwrap_or_default()
}

/// Waits until so many pods of a Job ended well: as long as it takes while it goes on.
#[track_caller]
pub(crate) fn wait_succeeded(bed: &Bed, namespace: &str, name: &str, wanted: u64) {
    let mut done = 0;
    while done < wanted {
        done = eventually("one more pod ends well", || {
            let now = succeeded(bed, namespace, name);
            (now > done).then_some(now)
        });
    }
}

/// Waits until all pods of a Deployment are there.
#[track_caller]
pub(crate) fn wait_rolled_out(bed: &Bed, namespace: &str, name: &str) {
    let what = format!("deployment/{name}");
    let args = ["-n", namespace, "rollout", "status", &what, TIMEOUT];
    bed.tools.kubectl(args);
}

/// A namespace that opted in and enforces the restricted level.
pub(crate) fn opted_in<'a>(bed: &'a Bed, name: &'static str) -> Namespace<'a> {
    let namespace = Namespace::create(bed, name);
    let labels = [
        "keystead.dev/injection=enabled",
        "pod-security.kubernetes.io/enforce=restricted",
    ];
    let args = ["label", "namespace", name];
    bed.tools.kubectl([&args[..], &labels[..]].concat());
    namespace
}

/// A sealed secret with a value that the test knows, which is nowhere else any more.
pub(crate) fn sealed(bed: &Bed, namespace: &str, name: &str) -> String {
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("randomness");
    let value = format!("canary-{:032x}", u128::from_ne_bytes(random));
    let literal = format!("--from-literal=password={value}");
    let source = format!("{name}-source");
    let args = [
        "-n", namespace, "create", "secret", "generic", &source, &literal,
    ];
    bed.tools.kubectl(args);
    bed.apply(&format!(
        "
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  literals: {{username: orders}}
  import: [{{secretRef: {{name: {source}}}, deleteAfterImport: true}}]
"
    ));
    bed.all_ready(namespace);
    let what = format!("secret/{source}");
    bed.tools
        .kubectl(["-n", namespace, "wait", &what, "--for=delete", TIMEOUT]);
    value
}

pub(crate) fn hash(value: &str) -> String {
    let hash = Sha256::digest(value.as_bytes());
    keystead::hex::Hex(&hash).to_string()
}

/// Every line that a program printed of what it read is the hash of that value.
#[track_caller]
pub(crate) fn assert_read(logs: &str, value: &str) {
    let hash = hash(value);
    for way in ["env", "envfrom", "volume", "item", "projected"] {
        assert!(logs.contains(&format!("{way} {hash}")), "{way}: {logs}");
    }
    // As kubelet gives a Secret to a pod with a group.
    assert!(logs.contains("mode 440"), "{logs}");
}

pub(crate) fn logs(bed: &Bed, namespace: &str, what: &str) -> String {
    let args = ["-n", namespace, "logs", what, "-c", "app"];
    bed.tools.kubectl(args)
}

/// Where the volume `secret` of [`reader`] is in its container, with the part of its secret that [`change`] changes.
const USERNAME: &str = "/etc/secret/username";

/// The running pods of `web`.
pub(crate) fn web(bed: &Bed, namespace: &str) -> Vec<Value> {
    let selector = ["-l", "app=web", "-o", "json"];
    let get = [&["-n", namespace, "get", "pods"], &selector[..]].concat();
    let pods: Value = serde_json::from_str(&bed.tools.kubectl(get)).expect("kubectl prints JSON");
    pods["items"].as_array().expect("a list").clone()
}

pub(crate) fn name(pod: &Value) -> String {
    text(&pod["metadata"]["name"])
}

/// How often the program of a pod was started again.
pub(crate) fn restarts(pod: &Value) -> u64 {
    let statuses = pod["status"]["containerStatuses"].as_array();
    let restarts = |status: &Value| status["restartCount"].as_u64().unwrap_or_default();
    statuses.into_iter().flatten().map(restarts).sum()
}

/// Gives secret `db` another user name.
pub(crate) fn change(bed: &Bed, namespace: &str, username: &str) {
    let patch = json!({"spec": {"literals": {"username": username}}}).to_string();
    let args = ["patch", "managedsecret/db", "--type=merge", "-p", &patch];
    bed.tools.kubectl([&["-n", namespace], &args[..]].concat());
}

/// Waits until each pod of `web` reads that user name.
#[track_caller]
pub(crate) fn assert_follows(bed: &Bed, namespace: &str, username: &str) {
    eventually_none(&format!("all pods read {username:?}"), || {
        let read = |pod: &Value| {
            let exec = ["exec", &name(pod), "-c", "app", "--", "cat", USERNAME];
            let args = [&["-n", namespace], &exec[..]].concat();
            bed.tools.try_kubectl(args).unwrap_or_else(|error| error)
        };
        let pods = web(bed, namespace);
        let read = pods.iter().map(read);
        read.filter(|read| read != username).collect()
    });
}
