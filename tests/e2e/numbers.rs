//! How long pods take to start with their secrets, on this machine. No test: `make bench-node` runs it, and docs/performance.md has
//! what it printed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::wait::{Condition, await_condition};
use kube::{Api, Client};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::bed::{Bed, Namespace, SYSTEM, Turn};
use crate::tools::TIMEOUT;

const NAMESPACE: &str = "e2e-numbers";
/// Pods of each kind, one after the other.
const EACH: usize = 30;
/// Pods at once.
const CROWD: usize = 90;

/// The ways in which a pod gets a secret.
const KINDS: [&str; 5] = [
    "no secret",
    "native Secret volume",
    "injected volume",
    "native Secret variable",
    "injected variable",
];

fn pod(bed: &Bed, name: &str, kind: &str) -> Pod {
    let secret = if kind.starts_with("native") {
        "plain"
    } else {
        "sealed"
    };
    let mut container =
        json!({"name": "app", "image": bed.target.busybox(), "command": ["sleep", "3600"]});
    let mut volumes = json!([]);
    if kind.ends_with("volume") {
        container["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
        volumes = json!([{"name": "v", "secret": {"secretName": secret}}]);
    }
    if kind.ends_with("variable") {
        let key = json!({"secretKeyRef": {"name": secret, "key": "password"}});
        container["env"] = json!([{"name": "PASSWORD", "valueFrom": key}]);
    }
    let pod = json!({"metadata": {"name": name}, "spec": {
        "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false, "containers": [container], "volumes": volumes}});
    serde_json::from_value(pod).expect("a pod")
}

fn is_ready() -> impl Condition<Pod> {
    |pod: Option<&Pod>| {
        let status = pod.and_then(|pod| pod.status.as_ref());
        let mut conditions = status
            .and_then(|s| s.conditions.as_ref())
            .into_iter()
            .flatten();
        conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
    }
}

/// Makes a pod and waits until it is Ready.
async fn start(pods: &Api<Pod>, pod: Pod) -> Duration {
    let name = pod.metadata.name.clone().expect("a name");
    let begun = Instant::now();
    pods.create(&PostParams::default(), &pod)
        .await
        .expect("the pod is made");
    await_condition(pods.clone(), &name, is_ready())
        .await
        .expect("it is watched");
    begun.elapsed()
}

async fn delete_all(pods: &Api<Pod>) {
    let (delete, list) = (DeleteParams::default(), ListParams::default());
    pods.delete_collection(&delete, &list)
        .await
        .expect("they go");
    while !pods.list(&list).await.expect("a list").items.is_empty() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn quantile(sorted: &[Duration], part: f64) -> u128 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "few"
    )]
    let index = ((sorted.len() - 1) as f64 * part).round() as usize;
    sorted[index].as_millis()
}

/// The latencies of the webhook, from both replicas' metrics.
fn print_webhook(bed: &Bed) {
    let pods = [
        "get",
        "pods",
        "-l",
        "app.kubernetes.io/component=server",
        "-o",
        "name",
    ];
    let mut buckets = BTreeMap::new();
    for pod in bed
        .tools
        .kubectl([&["-n", SYSTEM], &pods[..]].concat())
        .lines()
    {
        let name = pod.trim_start_matches("pod/");
        let path = format!("/api/v1/namespaces/{SYSTEM}/pods/{name}:8080/proxy/metrics");
        let metrics = bed.tools.kubectl(["get", "--raw", &path]);
        let lines = metrics.lines().filter_map(|line| {
            let rest = line.strip_prefix("keystead_webhook_call_duration_seconds_bucket{le=\"")?;
            let (bound, rest) = rest.split_once('"')?;
            rest.contains("InjectPod").then_some(())?;
            Some((
                bound.to_owned(),
                rest.rsplit(' ').next()?.parse::<u64>().ok()?,
            ))
        });
        for (bound, count) in lines {
            *buckets.entry(bound).or_insert(0) += count;
        }
    }
    println!("injections answered within (seconds, cumulated): {buckets:?}");
}

#[test]
#[ignore = "a measurement: make bench-node"]
fn pods_with_each_kind_of_secret() {
    let bed = Turn::take();
    let _namespace = Namespace::create(&bed, NAMESPACE);
    let label = "keystead.dev/injection=enabled";
    bed.tools.kubectl(["label", "namespace", NAMESPACE, label]);
    for (name, form) in [("sealed", "Sealed"), ("plain", "Plain")] {
        bed.apply(&format!(
            "{{apiVersion: keystead.dev/v1alpha1, kind: ManagedSecret, metadata: {{name: {name}, namespace: {NAMESPACE}}}, \
             spec: {{generate: [{{key: password, password: {{}}}}], target: {{form: {form}}}}}}}"
        ));
    }
    bed.all_ready(NAMESPACE);
    let kubeconfig =
        kube::config::Kubeconfig::read_from(bed.target.kubeconfig()).expect("a kubeconfig");
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let config = kube::Config::from_custom_kubeconfig(
            kubeconfig,
            &kube::config::KubeConfigOptions::default(),
        )
        .await;
        let client = Client::try_from(config.expect("a configuration")).expect("a client");
        let pods: Api<Pod> = Api::namespaced(client, NAMESPACE);
        let mut took: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
        for number in 0..EACH {
            // One of each kind in turn, so that what else the machine does is in all of them.
            for (index, kind) in KINDS.into_iter().enumerate() {
                let made = pod(&bed, &format!("p-{number}-{index}"), kind);
                took.entry(kind).or_default().push(start(&pods, made).await);
            }
            delete_all(&pods).await;
        }
        for (kind, times) in &mut took {
            times.sort();
            println!(
                "{kind}: median {} ms, p90 {} ms",
                quantile(times, 0.5),
                quantile(times, 0.9)
            );
        }
        for kind in ["native Secret volume", "injected volume"] {
            let begun = Instant::now();
            let all =
                (0..CROWD).map(|number| start(&pods, pod(&bed, &format!("c-{number}"), kind)));
            let mut times = futures::future::join_all(all).await;
            times.sort();
            println!(
                "{CROWD} pods at once, {kind}: all Ready after {} ms, median {} ms",
                begun.elapsed().as_millis(),
                quantile(&times, 0.5)
            );
            if kind == "injected volume" {
                print_node_memory(&bed);
            }
            delete_all(&pods).await;
        }
    });
    print_webhook(&bed);
    let args = [
        "-n",
        NAMESPACE,
        "wait",
        "pods",
        "--all",
        "--for=delete",
        TIMEOUT,
    ];
    let _: Result<_, _> = bed.tools.try_kubectl(args);
}

/// The memory of the plugin while all these volumes are mounted, where this machine is the node.
fn print_node_memory(_bed: &Bed) {
    let processes = std::fs::read_dir("/proc").expect("processes");
    for process in processes.flatten() {
        let status = std::fs::read_to_string(process.path().join("status")).unwrap_or_default();
        if status.starts_with("Name:\tkeystead-node\n") {
            let rss = status.lines().find(|line| line.starts_with("VmRSS"));
            println!("keystead-node: {}", rss.unwrap_or_default());
        }
    }
}
