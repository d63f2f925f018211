//! Pods whose manifests stay unchanged, as the API server makes them: what is put into them, what is refused, and whom it never touches.
//! No kubelet runs here; what they read is tested on a node.

mod mesh;

use serde_json::{Value, json};

use self::mesh::Mesh;
use crate::support::{Bed, Operator, Printed, Served, eventually};

const SECRET: &str = "
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {name: db, namespace: NAMESPACE}
spec: {generate: [{key: password, password: {}}, {key: user, password: {}}]}
";

/// A pod that gets a secret by a volume and by variables, as people write it.
fn pod(namespace: &str, name: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  containers:
  - name: app
    image: registry.invalid/none:1
    env:
    - {{name: PASSWORD, valueFrom: {{secretKeyRef: {{name: db, key: password}}}}}}
    volumeMounts: [{{name: db, mountPath: /etc/db}}]
  volumes:
  - {{name: db, secret: {{secretName: db, defaultMode: 0400}}}}
"
    )
}

/// A control plane with a namespace that opted in, one that did not, and the same secret in both and in `default`.
async fn start() -> Served {
    let served = Served::start(&[("shop", "app"), ("other", "app")]).await;
    let bed = &served.bed;
    opt_in(bed, "shop").await;
    for namespace in ["shop", "other", "default"] {
        bed.apply(&SECRET.replace("NAMESPACE", namespace)).await;
        bed.wait_ready(namespace, "db").await;
    }
    eventually("the server knows the secret", || async {
        let made = try_apply(bed, &pod("shop", "probe"), &["--dry-run=server"]).await;
        made.ok
    })
    .await;
    served
}

async fn opt_in(bed: &Bed, namespace: &str) {
    let label = "keystead.dev/injection=enabled";
    bed.kubectl(&["label", "namespace", namespace, label])
        .await
        .expect_ok();
}

async fn try_apply(bed: &Bed, yaml: &str, more: &[&str]) -> Printed {
    let args = [&["apply", "-f", "-"], more].concat();
    bed.kubectl_with(&args, yaml).await
}

async fn object(bed: &Bed, namespace: &str, what: &str) -> Value {
    let args = ["get", "-n", namespace, what, "-o", "json"];
    serde_json::from_str(&bed.kubectl(&args).await.expect_ok()).unwrap()
}

/// How often the webhook was asked to inject.
async fn questions(server: &Operator) -> u64 {
    let (_, metrics) = server.http("/metrics").await.unwrap();
    let counted = metrics
        .lines()
        .filter(|line| line.starts_with("keystead_webhook_calls_total{call=\"InjectPod\""));
    counted
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

/// The secrets that the pod's volumes of our driver name.
fn mounted(pod: &Value) -> Vec<&Value> {
    let volumes = pod["spec"]["volumes"].as_array().unwrap().iter();
    let ours = volumes.filter(|volume| volume["csi"]["driver"] == "secrets.keystead.dev");
    ours.map(|volume| &volume["csi"]["volumeAttributes"])
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_injected_where_its_namespace_opted_in_and_no_other_is_even_asked_about() {
    let served = start().await;
    let bed = &served.bed;
    let before = questions(&served.server).await;
    for namespace in ["other", "default", "kube-system"] {
        bed.apply(&pod(namespace, "app")).await;
        let made = object(bed, namespace, "pod/app").await;
        assert_eq!(mounted(&made), [&Value::Null; 0], "{namespace}");
    }
    // Not even if somebody labels a namespace of Kubernetes.
    opt_in(bed, "kube-system").await;
    bed.apply(&pod("kube-system", "labelled")).await;
    assert_eq!(questions(&served.server).await, before, "nobody asked");

    bed.apply(&pod("shop", "app")).await;
    let made = object(bed, "shop", "pod/app").await;
    assert!(questions(&served.server).await > before);
    assert!(mounted(&made).iter().any(|a| a["secret"] == "db"), "{made}");
    let app = &made["spec"]["containers"][0];
    assert_eq!(app["image"], "registry.invalid/none:1");
    assert!(app["command"].is_null() && app["args"].is_null());
    assert!(
        app["env"][0]["valueFrom"]["fileKeyRef"].is_object(),
        "{app}"
    );
    assert_eq!(made["spec"]["initContainers"].as_array().unwrap().len(), 1);
    let mounts = made["spec"]["initContainers"][0]["volumeMounts"].to_string();
    assert!(!mounts.contains("kube-api-access"), "no token: {mounts}");

    // Applied again, as it is: nothing of it can change, and nothing does.
    let again = try_apply(bed, &pod("shop", "app"), &[]).await.expect_ok();
    assert!(again.contains("app"), "{again}");
    let after = object(bed, "shop", "pod/app").await;
    assert_eq!(made["spec"], after["spec"]);

    // Opted out: as it is, with a warning.
    let out = pod("shop", "out").replace(
        "metadata: {name: out,",
        "metadata: {annotations: {keystead.dev/inject: disabled}, name: out,",
    );
    bed.apply(&out).await;
    let made = object(bed, "shop", "pod/out").await;
    assert_eq!(mounted(&made), [&Value::Null; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_every_controller_are_resolved_in_their_own_namespace() {
    let served = start().await;
    let bed = &served.bed;
    // In `shop` the secret behind the name is another one than in `default`.
    let renamed = SECRET
        .replace("NAMESPACE", "shop")
        .replace("name: db", "name: orders")
        .replace("spec: {", "spec: {target: {name: orders-db}, ");
    bed.apply(&renamed).await;
    bed.wait_ready("shop", "orders").await;
    let stranger = SECRET
        .replace("NAMESPACE", "default")
        .replace("name: db", "name: orders-db");
    bed.apply(&stranger).await;
    bed.wait_ready("default", "orders-db").await;
    let spec = json!({
        "restartPolicy": "Never",
        "containers": [{"name": "app", "image": "none:1", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        "volumes": [{"name": "v", "secret": {"secretName": "orders-db"}}],
    });
    let always = {
        let mut spec = spec.clone();
        spec["restartPolicy"] = json!("Always");
        spec
    };
    let labels = json!({"app": "x"});
    let template = |spec: &Value| json!({"metadata": {"labels": labels}, "spec": spec});
    let of_apps = |kind: &str, name: &str| {
        json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "shop"}, "spec": {
            "selector": {"matchLabels": labels}, "template": template(&always)}})
    };
    let mut stateful = of_apps("StatefulSet", "stateful");
    stateful["spec"]["serviceName"] = json!("none");
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job", "namespace": "shop"},
        "spec": {"template": template(&spec)}});
    let cron = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "cron", "namespace": "shop"},
        "spec": {"schedule": "* * * * *", "suspend": true, "jobTemplate": {"spec": job["spec"]}}});
    for object in [&of_apps("Deployment", "web"), &stateful, &job, &cron] {
        bed.apply(&object.to_string()).await;
    }
    bed.kubectl(&[
        "create",
        "job",
        "-n",
        "shop",
        "from-cron",
        "--from=cronjob/cron",
    ])
    .await
    .expect_ok();
    let bare = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "bare-", "labels": labels}, "spec": spec});
    bed.kubectl_with(&["create", "-n", "shop", "-f", "-"], &bare.to_string())
        .await
        .expect_ok();
    for prefix in ["web-", "stateful-", "job-", "from-cron-", "bare-"] {
        eventually(&format!("a pod {prefix}* is injected"), || async {
            let pods = object(bed, "shop", "pods").await;
            let pods = pods["items"].as_array().unwrap().clone();
            let named = |pod: &&Value| {
                pod["metadata"]["name"]
                    .as_str()
                    .unwrap()
                    .starts_with(prefix)
            };
            let found = pods.iter().find(named);
            found.is_some_and(|pod| {
                mounted(pod).iter().all(|a| a["secret"] == "orders") && mounted(pod).len() == 1
            })
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_delivered_is_refused_with_the_field_and_the_remedy() {
    let served = start().await;
    let bed = &served.bed;
    let spec = |spec: Value| {
        let mut spec = spec;
        spec["containers"] = json!([{"name": "app", "image": "none:1"}]);
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop"}, "spec": spec})
    };
    let token = json!({"serviceAccountToken": {"path": "t"}});
    let mixed = json!({"name": "v", "projected": {"sources": [{"secret": {"name": "db"}}, token]}});
    for (pod, field, remedy) in [
        (
            spec(json!({"imagePullSecrets": [{"name": "db"}]})),
            "spec.imagePullSecrets",
            "form: Plain",
        ),
        (
            spec(json!({"volumes": [mixed]})),
            "spec.volumes[v]",
            "two volumes",
        ),
        (
            spec(
                json!({"os": {"name": "windows"}, "volumes": [{"name": "v", "secret": {"secretName": "db"}}]}),
            ),
            "spec.os.name",
            "form: Plain",
        ),
    ] {
        let refused = try_apply(bed, &pod.to_string(), &[]).await.expect_refused();
        assert!(
            refused.contains(field) && refused.contains(remedy),
            "{refused}"
        );
    }
    // A Secret of a form that pods can read is left to kubelet.
    let plain = SECRET
        .replace("NAMESPACE", "shop")
        .replace("name: db", "name: plain")
        .replace("spec: {", "spec: {target: {form: Plain}, ");
    bed.apply(&plain).await;
    bed.wait_ready("shop", "plain").await;
    let pulls = spec(json!({"imagePullSecrets": [{"name": "plain"}]}));
    try_apply(bed, &pulls.to_string(), &["--dry-run=server"])
        .await
        .expect_ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_no_replica_answers_only_pods_of_namespaces_that_opted_in_wait_and_they_recover_alone()
 {
    let served = start().await;
    let bed = &served.bed;
    let deployment = |namespace: &str| {
        let pod = json!({"containers": [{"name": "app", "image": "none:1"}], "volumes": [{"name": "v", "secret": {"secretName": "db"}}]});
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": namespace}, "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}}, "spec": pod}}})
    };
    let pods = async |namespace: &str| {
        let pods = object(bed, namespace, "pods").await;
        pods["items"].as_array().unwrap().clone()
    };
    served.server.pause().await;
    for namespace in ["shop", "other", "kube-system"] {
        bed.apply(&deployment(namespace).to_string()).await;
    }
    for namespace in ["other", "kube-system"] {
        eventually("pods elsewhere are made", || async {
            pods(namespace).await.len() == 2
        })
        .await;
    }
    eventually("the owner of the refused pods says so", || async {
        let args = ["get", "events", "-n", "shop", "-o", "json"];
        let events = bed.kubectl(&args).await.expect_ok();
        events.contains("FailedCreate") && events.contains("inject.keystead.dev")
    })
    .await;
    assert_eq!(pods("shop").await.len(), 0, "none without its value");
    served.server.resume().await;
    eventually("they are made, with their values", || async {
        let pods = pods("shop").await;
        pods.len() == 2 && pods.iter().all(|pod| mounted(pod).len() == 1)
    })
    .await;
}

/// A pod of a namespace that did not opt in.
fn pod_elsewhere() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app", "namespace": "other"},
        "spec": {"containers": [{"name": "app", "image": "none:1"}]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_came_before_its_secret_comes_back_with_it() {
    let served = start().await;
    let bed = &served.bed;
    let pod = json!({"containers": [{"name": "app", "image": "none:1"}], "volumes": [{"name": "v", "secret": {"secretName": "late"}}]});
    let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": {
        "selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}}, "spec": pod}}});
    bed.apply(&web.to_string()).await;
    let bare = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare", "namespace": "shop"}, "spec": pod});
    bed.apply(&bare.to_string()).await;
    let of_web = async || {
        let args = ["get", "pods", "-n", "shop", "-l", "app=x", "-o", "json"];
        let pods: Value = serde_json::from_str(&bed.kubectl(&args).await.expect_ok()).unwrap();
        pods["items"].as_array().unwrap().clone()
    };
    eventually("a pod is there, without a value", || async {
        let pods = of_web().await;
        pods.len() == 1 && mounted(&pods[0]).is_empty()
    })
    .await;
    let late = SECRET
        .replace("NAMESPACE", "shop")
        .replace("name: db", "name: late");
    bed.apply(&late).await;
    bed.wait_ready("shop", "late").await;
    eventually("its successor is injected", || async {
        let pods = of_web().await;
        let living: Vec<_> = pods
            .iter()
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .collect();
        living.len() == 1 && mounted(living[0]).len() == 1
    })
    .await;
    assert!(bed.events("shop", "late", "PodNotInjected").await >= 1);
    // Nothing else may be deleted by the operator: neither the bare pod, nor one in which something ran.
    let operator = "system:serviceaccount:keystead-system:keystead-controller";
    let delete = async |pod: &str, namespace: &str| {
        let args = [
            "delete",
            "pod",
            pod,
            "-n",
            namespace,
            "--as",
            operator,
            "--wait=false",
        ];
        bed.kubectl(&args).await.expect_refused()
    };
    assert!(delete("bare", "shop").await.contains("never started"));
    let successor = of_web().await[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let running = json!({"status": {"phase": "Running", "containerStatuses": [{"name": "app", "image": "", "imageID": "", "ready": true,
        "restartCount": 0, "state": {"running": {}}}]}});
    let running = running.to_string();
    let args = [
        "patch",
        "pod",
        &successor,
        "-n",
        "shop",
        "--subresource=status",
        "-p",
        &running,
    ];
    bed.kubectl(&args).await.expect_ok();
    assert!(delete(&successor, "shop").await.contains("never started"));
    bed.apply(&pod_elsewhere().to_string()).await;
    assert!(delete("app", "other").await.contains("opted in"));
    let ready = object(bed, "shop", "managedsecret/late").await["status"]["conditions"].to_string();
    assert!(ready.contains("bare"), "the bare pod is told of: {ready}");
    // What is made now is right at once, and the target did not need to wait.
    let target = bed.native("shop", "late").await.unwrap();
    assert_eq!(target.type_.as_deref(), Some("keystead.dev/sealed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_of_others_may_come_before_or_after_and_what_they_add_is_injected_too() {
    let served = start().await;
    let bed = &served.bed;
    for name in ["a-mesh", "z-mesh"] {
        let mesh = Mesh::start(bed, name, "shop").await;
        let manifest = pod("shop", name).replace(
            "spec:\n",
            "spec:\n  initContainers: [{name: migrate, image: none:1, volumeMounts: [{name: db, mountPath: /etc/db}]}]\n",
        );
        eventually("the mesh is asked", || async {
            let made = try_apply(bed, &manifest, &["--dry-run=server", "-o", "json"]).await;
            made.ok && made.out.contains("mesh-init")
        })
        .await;
        bed.apply(&manifest).await;
        let made = object(bed, "shop", &format!("pod/{name}")).await;
        let first: Vec<_> = made["spec"]["initContainers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|container| container["name"].as_str().unwrap())
            .collect();
        assert_eq!(first, ["keystead-env", "mesh-init", "migrate"], "{name}");
        let proxy = &made["spec"]["containers"][0];
        let from = &proxy["env"][0]["valueFrom"];
        assert!(from["fileKeyRef"].is_object(), "{name}: {proxy}");
        assert!(from["secretKeyRef"].is_null(), "{name}: {proxy}");
        let sources = made["spec"]["volumes"].to_string();
        assert!(
            sources.contains("user") && sources.contains("password"),
            "{sources}"
        );
        mesh.stop(bed, name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_the_same_name_that_is_somebody_elses_and_edited_annotations_give_nothing() {
    let served = start().await;
    let bed = &served.bed;
    // Somebody was there first: pods get his, as they would without Keystead, and are told.
    let squatted = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "taken", "namespace": "shop"}, "stringData": {"password": "x"}});
    bed.apply(&squatted.to_string()).await;
    let late = SECRET
        .replace("NAMESPACE", "shop")
        .replace("name: db", "name: taken");
    bed.apply(&late).await;
    bed.wait_not_ready("shop", "taken", "TargetExists").await;
    let names_taken = pod("shop", "squatter").replace("name: db, key", "name: taken, key");
    let names_taken = names_taken.replace("secretName: db", "secretName: taken");
    eventually("its user is told", || async {
        let made = try_apply(bed, &names_taken, &["--dry-run=server"]).await;
        made.ok && made.err.contains("is used as it is")
    })
    .await;
    bed.apply(&names_taken).await;
    let made = object(bed, "shop", "pod/squatter").await;
    assert_eq!(mounted(&made), [&Value::Null; 0]);

    // What a pod may read is in its spec, which cannot change; what is written on it counts for nothing.
    let plain = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "plain", "namespace": "shop"}, "spec": {
        "serviceAccountName": "app", "containers": [{"name": "app", "image": "none:1"}]}});
    bed.apply(&plain.to_string()).await;
    bed.apply(&pod("shop", "app")).await;
    let injected = object(bed, "shop", "pod/app").await["metadata"]["annotations"].clone();
    for (key, value) in injected.as_object().unwrap() {
        if key.starts_with("keystead.dev/") {
            let text = value.as_str().unwrap();
            bed.patch(
                "shop",
                "pod/plain",
                &json!({"metadata": {"annotations": {key: text}}}),
            )
            .await;
        }
    }
    let args = [
        "create",
        "token",
        "app",
        "-n",
        "shop",
        "--audience=keystead.dev",
        "--bound-object-kind=Pod",
        "--bound-object-name=plain",
    ];
    let token = bed.kubectl(&args).await.expect_ok().trim().to_owned();
    let calls = served.calls_with(token).await;
    let refused = calls
        .call("keystead.GetSecretFiles", &json!({"SecretId": "db"}))
        .await;
    assert_eq!(refused.error(), "AccessDeniedException");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_kubelet_that_cannot_take_variables_from_files_has_them_refused_everywhere() {
    let served = start().await;
    let bed = &served.bed;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "old"}});
    bed.apply(&node.to_string()).await;
    let info = json!({
        "kubeletVersion": "v1.34.2", "operatingSystem": "linux", "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "",
        "kernelVersion": "", "kubeProxyVersion": "", "machineID": "", "osImage": "", "systemUUID": "",
    });
    let patch = json!({"status": {"nodeInfo": info}}).to_string();
    let args = ["patch", "node", "old", "--subresource=status", "-p", &patch];
    bed.kubectl(&args).await.expect_ok();
    eventually(
        "a variable is refused, with the node that is too old",
        || async {
            let made = try_apply(bed, &pod("shop", "app"), &["--dry-run=server"]).await;
            !made.ok && made.err.contains("node old runs kubelet v1.34.2")
        },
    )
    .await;
    // A volume needs nothing of the kind.
    let volume = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "v", "namespace": "shop"}, "spec": {
        "containers": [{"name": "app", "image": "none:1"}], "volumes": [{"name": "v", "secret": {"secretName": "db"}}]}});
    bed.apply(&volume.to_string()).await;
    bed.kubectl(&["delete", "node", "old"]).await.expect_ok();
    eventually("it is made once the node is gone", || async {
        try_apply(bed, &pod("shop", "app"), &[]).await.ok
    })
    .await;
}
