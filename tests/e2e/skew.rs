//! A node whose kubelet is older than variables from files, as nodes are while a cluster is being upgraded: no pod starts there with
//! a variable that is empty, everything else is as ever, and what had to wait starts by itself.

use std::time::Instant;

use serde_json::{Value, json};

use crate::bed::{Bed, Turn, text};
use crate::target::OwnNode;
use crate::tools::{TIMEOUT, eventually};
use crate::workloads::{self, assert_read, deployment, logs, opted_in, reader, restricted, sealed};

const NAMESPACE: &str = "e2e-skew";

/// The node while its kubelet is an older one. The usual one is back when this is dropped, also by a test that fails: the others
/// need it.
struct OlderKubelet<'a>(OwnNode<'a>);

impl<'a> OlderKubelet<'a> {
    fn run(node: OwnNode<'a>) -> Self {
        let older = Self(node);
        node.run_older_kubelet();
        older
    }
}

impl Drop for OlderKubelet<'_> {
    fn drop(&mut self) {
        let running = self.0.run_usual_kubelet();
        if std::thread::panicking() {
            return eprintln!("the usual kubelet again: {running:?}");
        }
        running.expect("the usual kubelet runs again");
    }
}

/// What the node says of its kubelet.
fn kubelet_version(bed: &Bed, node: &str) -> String {
    let node = bed.get("default", &format!("node/{node}"));
    text(&node["status"]["nodeInfo"]["kubeletVersion"])
}

/// A pod of one container that runs a script, with what else is said of it.
fn pod(bed: &Bed, name: &str, script: &str, container: &Value, more: &Value) -> Value {
    let mut app = json!({"name": "app", "image": bed.target.busybox(), "securityContext": restricted(),
        "command": ["sh", "-c", script]});
    let mut spec = json!({
        "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
    });
    extend(&mut app, container);
    extend(&mut spec, more);
    spec["containers"] = json!([app]);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})
}

fn extend(object: &mut Value, more: &Value) {
    let more = more.as_object().expect("an object").clone();
    object.as_object_mut().expect("an object").extend(more);
}

/// A pod that waits with a variable of a sealed secret.
fn with_variable(bed: &Bed, name: &str) -> Value {
    let from = json!({"secretKeyRef": {"name": "db", "key": "password"}});
    let env = json!({"env": [{"name": "PASSWORD", "valueFrom": from}]});
    pod(bed, name, "exec sleep 3600", &env, &json!({}))
}

/// A pod that is written as an injected one is, by hand and so without the check of the kubelets: it prints its variable and ends.
fn by_hand(bed: &Bed, name: &str) -> Value {
    let mounts = json!([{"name": "env", "mountPath": "/env"}]);
    let from = json!({"fileKeyRef": {"volumeName": "env", "path": "file", "key": "WORD"}});
    let env = json!({"env": [{"name": "WORD", "valueFrom": from}]});
    let copier = json!({"name": "copy", "image": bed.target.busybox(), "securityContext": restricted(), "volumeMounts": mounts,
        "command": ["sh", "-c", "echo \"WORD='there'\" >/env/file"]});
    let more = json!({"restartPolicy": "Never", "initContainers": [copier], "volumes": [{"name": "env", "emptyDir": {}}]});
    pod(bed, name, "echo \"<${WORD-unset}>\"", &env, &more)
}

/// A pod with the files of a sealed secret, as its manifest names the Secret and by the driver itself.
fn with_volumes(bed: &Bed) -> Value {
    let mounts = json!([{"name": "secret", "mountPath": "/secret"}, {"name": "driver", "mountPath": "/driver"}]);
    let driver = json!({"driver": "secrets.keystead.dev", "readOnly": true, "volumeAttributes": {"secret": "files"}});
    let volumes = json!([{"name": "secret", "secret": {"secretName": "files"}}, {"name": "driver", "csi": driver}]);
    let (container, more) = (json!({"volumeMounts": mounts}), json!({"volumes": volumes}));
    pod(bed, "files", "exec sleep 3600", &container, &more)
}

/// One file of the pod, by both of its volumes.
fn files(bed: &Bed, file: &str) -> [String; 2] {
    ["secret", "driver"].map(|volume| {
        let path = format!("/{volume}/{file}");
        bed.tools
            .kubectl(["-n", NAMESPACE, "exec", "files", "--", "cat", &path])
    })
}

/// A pod with a variable that is made, but given to a node only when its gate is taken away.
fn make_gated(bed: &Bed, name: &str) {
    let mut gated = with_variable(bed, name);
    gated["spec"]["schedulingGates"] = json!([{"name": "e2e.keystead.dev/later"}]);
    bed.apply(&gated.to_string());
}

/// A pod that comes to the older kubelet although it was made before is held there before any of its containers.
fn assert_held(bed: &Bed, name: &str, node: &str, version: &str) {
    let gates = r#"[{"op": "remove", "path": "/spec/schedulingGates"}]"#;
    let (pod, patch) = (format!("pod/{name}"), ["patch", "--type=json", "-p", gates]);
    bed.tools
        .kubectl([&["-n", NAMESPACE], &patch[..], &[&pod]].concat());
    let why = format!("node {node} runs kubelet {version}");
    eventually("a person is told why the pod does not start", || {
        let object = format!("involvedObject.name={name}");
        let args = [
            "-n",
            NAMESPACE,
            "get",
            "events",
            "--field-selector",
            &object,
        ];
        let events = bed.tools.kubectl(args);
        (events.contains("FailedMount") && events.contains(&why)).then_some(())
    });
    let phase = bed.get(NAMESPACE, &pod)["status"]["phase"].clone();
    assert_eq!(phase, "Pending");
}

/// What the pod that is written by hand prints.
fn word(bed: &Bed, name: &str) -> String {
    bed.apply(&by_hand(bed, name).to_string());
    let pod = format!("pod/{name}");
    let ended = "--for=jsonpath={.status.phase}=Succeeded";
    bed.tools
        .kubectl(["-n", NAMESPACE, "wait", &pod, ended, TIMEOUT]);
    logs(bed, NAMESPACE, &pod)
}

/// Nobody makes a pod with a variable, and is told why and what to do.
fn assert_refused(bed: &Bed, node: &str, version: &str) {
    let pod = with_variable(bed, "late").to_string();
    let refused = eventually("a variable is refused", || {
        let args = ["apply", "--dry-run=server", "-f", "-"];
        bed.tools.try_kubectl_with(args, &pod).err()
    });
    for said in [
        "spec.containers[app].env[PASSWORD]",
        &format!("node {node} runs kubelet {version}"),
        "needs kubelet 1.35 on every node",
        "mount the secret as a volume, update the node, or set spec.target.form: Plain",
    ] {
        assert!(refused.contains(said), "{said}: {refused}");
    }
}

/// A Deployment shows the same to who looks at it, and none of its pods is there.
fn assert_deployment_waits(bed: &Bed, node: &str, version: &str) {
    bed.apply(&deployment(NAMESPACE, "web", 2, &reader(bed, "db", false)));
    let said = eventually("the ReplicaSet says why it makes no pod", || {
        let sets = bed.get(NAMESPACE, "replicasets");
        let conditions = sets["items"][0]["status"]["conditions"].as_array()?;
        let failure = |condition: &&Value| condition["type"] == "ReplicaFailure";
        Some(text(&conditions.iter().find(failure)?["message"]))
    });
    let why = format!("node {node} runs kubelet {version}");
    assert!(said.contains(&why), "{said}");
    let args = [
        "-n", NAMESPACE, "get", "pods", "-l", "app=web", "-o", "name",
    ];
    assert_eq!(bed.tools.kubectl(args), "");
}

/// Volumes start and follow changes, injected or by the driver itself.
fn assert_volumes_work(bed: &Bed, value: &str) {
    bed.apply(&with_volumes(bed).to_string());
    let ready = "--for=condition=Ready";
    bed.tools
        .kubectl(["-n", NAMESPACE, "wait", "pod/files", ready, TIMEOUT]);
    assert_eq!(files(bed, "password"), [value; 2]);
    assert_eq!(files(bed, "username"), ["orders"; 2]);
    let literals = r#"{"spec":{"literals":{"username":"invoices"}}}"#;
    bed.tools.kubectl([
        "-n",
        NAMESPACE,
        "patch",
        "managedsecret/files",
        "--type=merge",
        "-p",
        literals,
    ]);
    eventually("the files follow", || {
        (files(bed, "username") == ["invoices"; 2]).then_some(())
    });
    assert_eq!(files(bed, "password"), [value; 2]);
}

/// How often the containers of a pod were started again.
fn restarts(bed: &Bed, name: &str) -> u64 {
    workloads::restarts(&bed.get(NAMESPACE, &format!("pod/{name}")))
}

#[test]
fn an_older_kubelet_gets_volumes_but_no_variables_which_come_by_themselves_when_it_is_upgraded() {
    let bed = Turn::take();
    let Some(own) = bed.target.own() else { return };
    let _namespace = opted_in(&bed, NAMESPACE);
    let value = sealed(&bed, NAMESPACE, "db");
    let in_files = sealed(&bed, NAMESPACE, "files");
    bed.apply(&with_variable(&bed, "early").to_string());
    let ready = "--for=condition=Ready";
    let early = ["-n", NAMESPACE, "wait", "pod/early", ready, TIMEOUT];
    bed.tools.kubectl(early);
    make_gated(&bed, "gated");

    let older = OlderKubelet::run(own);
    let node = own.name();
    let version = kubelet_version(&bed, node);
    assert!(version.starts_with("v1.34."), "{version}");
    assert_refused(&bed, node, &version);
    // What would become of it: the variable is there, and empty, and nobody is told.
    assert_eq!(word(&bed, "older"), "<>\n");
    assert_held(&bed, "gated", node, &version);
    assert_volumes_work(&bed, &in_files);
    assert_deployment_waits(&bed, node, &version);
    drop(older);

    let upgraded = Instant::now();
    let web = ["rollout", "status", "deployment/web", TIMEOUT];
    bed.tools.kubectl([&["-n", NAMESPACE], &web[..]].concat());
    println!(
        "the Deployment was there {:?} after the upgrade",
        upgraded.elapsed()
    );
    assert_read(&logs(&bed, NAMESPACE, "deployment/web"), &value);
    assert_eq!(word(&bed, "newer"), "<there>\n");
    let gated = ["-n", NAMESPACE, "wait", "pod/gated", ready, TIMEOUT];
    bed.tools.kubectl(gated);
    let echo = [
        "exec",
        "gated",
        "-c",
        "app",
        "--",
        "sh",
        "-c",
        "printf %s \"$PASSWORD\"",
    ];
    let args = [&["-n", NAMESPACE], &echo[..]].concat();
    assert_eq!(bed.tools.kubectl(args), value);
    // What ran all the time was not disturbed, and goes on.
    assert_eq!((restarts(&bed, "early"), restarts(&bed, "files")), (0, 0));
    assert_eq!(files(&bed, "username"), ["invoices"; 2]);
}
