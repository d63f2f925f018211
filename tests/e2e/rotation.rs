//! Rotation on a real node: it ends when the pods have the new value, and not before.

use serde_json::{Value, json};

use crate::bed::{Bed, Turn, text};
use crate::tools::eventually;
use crate::workloads::{deployment, hash, opted_in, restricted, wait_rolled_out};

const NAMESPACE: &str = "e2e-rotation";

/// A pod that keeps the variable that it started with, and mounts the same secret.
fn pod(bed: &Bed, variable: bool) -> Value {
    let key = json!({"secretKeyRef": {"name": "db", "key": "password"}});
    let env = if variable {
        json!([{"name": "PASSWORD", "valueFrom": key}])
    } else {
        json!([])
    };
    json!({
        "automountServiceAccountToken": false,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "app", "image": bed.target.busybox(), "securityContext": restricted(),
            "command": ["sleep", "3600"], "env": env,
            "volumeMounts": [{"name": "secret", "mountPath": "/etc/secret"}],
        }],
        "volumes": [{"name": "secret", "secret": {"secretName": "db"}}],
    })
}

/// What each live pod of an application prints.
fn printed(bed: &Bed, app: &str, command: &str) -> Vec<String> {
    let list = bed.get(NAMESPACE, "pods");
    let pods = list["items"].as_array().expect("a list").iter();
    let live = pods.filter(|pod| {
        let metadata = &pod["metadata"];
        metadata["labels"]["app"] == app && metadata["deletionTimestamp"].is_null()
    });
    live.map(|pod| {
        let name = text(&pod["metadata"]["name"]);
        bed.tools
            .kubectl(["-n", NAMESPACE, "exec", &name, "--", "sh", "-c", command])
    })
    .collect()
}

#[test]
fn a_rotation_ends_when_files_have_followed_and_pods_with_variables_are_made_anew() {
    let bed = Turn::take();
    let _namespace = opted_in(&bed, NAMESPACE);
    bed.apply(&format!(
        "
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {{name: db, namespace: {NAMESPACE}}}
spec:
  generate: [{{key: password, password: {{length: 40}}}}]
  rollout: {{targets: [{{kind: Deployment, name: variables}}]}}
---
apiVersion: keystead.dev/v1alpha1
kind: RotationSchedule
metadata: {{name: db, namespace: {NAMESPACE}}}
spec:
  secretRef: {{name: db}}
  strategy: {{regenerate: {{}}}}
  finish: {{timeout: 1h}}
"
    ));
    bed.all_ready(NAMESPACE);
    bed.apply(&deployment(NAMESPACE, "files", 2, &pod(&bed, false)));
    bed.apply(&deployment(NAMESPACE, "variables", 2, &pod(&bed, true)));
    wait_rolled_out(&bed, NAMESPACE, "files");
    wait_rolled_out(&bed, NAMESPACE, "variables");
    let before = printed(&bed, "files", "cat /etc/secret/password");
    assert!(before.len() == 2 && before[0] == before[1]);
    let made = printed(&bed, "files", "hostname");

    let token = "keystead.dev/rotate=now";
    let ask = ["-n", NAMESPACE, "annotate", "rotationschedule/db", token];
    bed.tools.kubectl(ask);
    let ended = eventually("the rotation ends", || {
        let schedule = bed.get(NAMESPACE, "rotationschedule/db");
        let past = schedule["status"]["history"][0].clone();
        (!past.is_null()).then_some(past)
    });
    // At that moment everybody has the new value, and nobody was restarted who did not have to be.
    let files = printed(&bed, "files", "cat /etc/secret/password");
    let variables = printed(&bed, "variables", "printf %s \"$PASSWORD\"");
    assert!(files.len() == 2 && variables.len() >= 2, "{files:?}");
    assert_ne!(files[0], before[0]);
    assert!(
        files
            .iter()
            .chain(&variables)
            .all(|value| hash(value) == hash(&files[0])),
        "somebody has another value"
    );
    assert_eq!(printed(&bed, "files", "hostname"), made);
    assert!(ended["stalled"].is_null(), "{ended}");
    let secret = bed.get(NAMESPACE, "managedsecret/db");
    let current = &secret["status"]["versions"][0];
    assert_eq!(current["stages"], json!(["Current"]));
    assert_eq!(current["id"], ended["version"]);
}
