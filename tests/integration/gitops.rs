//! What Argo CD, Flux and `kubectl diff` see: nothing, unless a person changed something.

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use serde_json::Value;

use crate::support::{Bed, SYSTEM, eventually};

/// The least that a person writes, as tools of continuous delivery dress it.
const MINIMAL: &str = "
apiVersion: keystead.dev/v1alpha1
kind: ManagedKey
metadata:
  name: orders
  namespace: shop
  labels: {app.kubernetes.io/instance: shop-app}
  annotations: {argocd.argoproj.io/tracking-id: 'shop:keystead.dev/ManagedKey:shop/orders'}
spec: {}
---
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata:
  name: sealed
  namespace: shop
  labels: {app.kubernetes.io/instance: shop-app, helm.sh/chart: shop-1.2.3, app.kubernetes.io/managed-by: Helm}
  annotations:
    argocd.argoproj.io/tracking-id: 'shop:keystead.dev/ManagedSecret:shop/sealed'
    meta.helm.sh/release-name: shop
    kustomize.toolkit.fluxcd.io/name: shop
spec:
  generate: [{key: password, password: {}}]
---
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata:
  name: plain
  namespace: shop
  labels: {app.kubernetes.io/instance: shop-app, kustomize.toolkit.fluxcd.io/name: shop}
  annotations: {argocd.argoproj.io/tracking-id: 'shop:keystead.dev/ManagedSecret:shop/plain'}
spec:
  literals: {a: b}
  target: {form: Plain}
";

const MINIMAL_OBJECTS: [(&str, &str); 3] = [
    ("managedkey", "orders"),
    ("managedsecret", "sealed"),
    ("managedsecret", "plain"),
];

/// Case B11.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_keystead_does_looks_like_drift() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    for way in [
        &["apply", "-f", "-"][..],
        &["apply", "--server-side", "-f", "-"],
    ] {
        bed.kubectl_with(&["delete", "--ignore-not-found", "-f", "-"], MINIMAL)
            .await
            .expect_ok();
        bed.kubectl_with(way, MINIMAL).await.expect_ok();
        bed.wait_ready("shop", "sealed").await;
        bed.wait_ready("shop", "plain").await;
        bed.kubectl(&[
            "wait",
            "--for=condition=Ready",
            "-n",
            "shop",
            "managedkey/orders",
        ])
        .await
        .expect_ok();
        nothing_differs(&bed, way.contains(&"--server-side")).await;
        nothing_is_written_into_specs(&bed).await;
        targets_are_nobody_elses(&bed).await;
    }
    operator.stop().await;
    the_chart_renders_the_same_bytes(&bed).await;
    an_upgrade_without_a_change_changes_nothing(&bed).await;
}

async fn nothing_differs(bed: &Bed, server_side: bool) {
    let mut args = vec!["diff", "-f", "-"];
    if server_side {
        args.push("--server-side");
    }
    let differs = bed.kubectl_with(&args, MINIMAL).await;
    assert!(differs.ok, "{}{}", differs.out, differs.err);
    assert_eq!(differs.out, "");
}

/// Not even a default: the spec is what was written.
async fn nothing_is_written_into_specs(bed: &Bed) {
    let specs = [
        "{}",
        r#"{"generate":[{"key":"password","password":{}}]}"#,
        r#"{"literals":{"a":"b"},"target":{"form":"Plain"}}"#,
    ];
    for ((kind, name), spec) in MINIMAL_OBJECTS.into_iter().zip(specs) {
        let found = object(bed, "shop", kind, name).await;
        assert_eq!(found["spec"].to_string(), spec);
        assert_eq!(found["metadata"]["generation"], 1);
        assert!(
            found["metadata"]["finalizers"].is_null(),
            "nothing of ours holds up a deletion"
        );
    }
}

/// Case B11 (4) and, of B45, the copied annotations: a tool that prunes or tracks by labels and annotations must not
/// take a delivered Secret for one of its own.
async fn targets_are_nobody_elses(bed: &Bed) {
    let secrets: Api<Secret> = Api::namespaced(bed.client.clone(), "shop");
    for name in ["sealed", "plain"] {
        let target = secrets.get(name).await.unwrap();
        let labels: Vec<_> = target.labels().iter().collect();
        assert_eq!(labels.len(), 1, "{labels:?}");
        assert_eq!(target.labels()["app.kubernetes.io/managed-by"], "keystead");
        let annotations: Vec<_> = target.annotations().keys().map(String::as_str).collect();
        assert_eq!(
            annotations,
            [
                "keystead.dev/deletion-policy",
                "keystead.dev/managed-by",
                "keystead.dev/target"
            ]
        );
        let owner = &target.owner_references()[0];
        assert_eq!(
            (owner.kind.as_str(), owner.name.as_str()),
            ("ManagedSecret", name)
        );
    }
}

async fn object(bed: &Bed, namespace: &str, kind: &str, name: &str) -> Value {
    let shown = bed
        .kubectl(&["get", kind, name, "-n", namespace, "-o", "json"])
        .await
        .expect_ok();
    serde_json::from_str(&shown).unwrap()
}

fn chart() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("charts/keystead")
        .to_string_lossy()
        .into_owned()
}

/// Case B11 (2).
async fn the_chart_renders_the_same_bytes(bed: &Bed) {
    let chart = chart();
    for values in [
        &[][..],
        &[
            "--set",
            "watchNamespaces={a,b}",
            "--set",
            "serviceMonitor.enabled=true",
            "--set",
            "networkPolicy.enabled=true",
        ],
    ] {
        let mut args = vec![
            "template",
            "keystead",
            &chart,
            "-n",
            SYSTEM,
            "--include-crds",
        ];
        args.extend(values);
        let first = bed.helm(&args).await.expect_ok();
        let second = bed.helm(&args).await.expect_ok();
        assert!(
            first.contains("kind: Deployment") && first.contains("kind: CustomResourceDefinition")
        );
        assert!(first == second, "two renderings differ");
    }
}

/// Case B11 (3): an upgrade writes only Helm's own record, and what its hooks make anew.
async fn an_upgrade_without_a_change_changes_nothing(bed: &Bed) {
    let chart = chart();
    eventually("the Deployment's controller has seen it", || async {
        let deployment = object(bed, SYSTEM, "deployment", "keystead-controller").await;
        deployment["status"]["observedGeneration"] == deployment["metadata"]["generation"]
            && deployment["status"]["unavailableReplicas"] == 2
    })
    .await;
    let before = versions(bed).await;
    assert!(
        before.keys().any(|name| name.starts_with("Deployment ")),
        "{before:?}"
    );
    assert!(
        before
            .keys()
            .any(|name| name == "ValidatingAdmissionPolicy keystead-import-author"),
        "{before:?}"
    );
    for how in [&[][..], &["--reuse-values"]] {
        let mut args = vec!["upgrade", "keystead", &chart, "-n", SYSTEM];
        args.extend(how);
        bed.helm(&args).await.expect_ok();
        assert_eq!(versions(bed).await, before, "{how:?}");
    }
    let history = bed
        .helm(&["history", "keystead", "-n", SYSTEM])
        .await
        .expect_ok();
    assert!(history.contains("Upgrade complete"), "{history}");
}

/// The resource version of everything that the chart made, except of the guard: its policies are hooks, so that they
/// outlive the release, and Helm makes hooks anew.
async fn versions(bed: &Bed) -> BTreeMap<String, String> {
    let kinds = "deployments,replicasets,pods,serviceaccounts,services,poddisruptionbudgets,roles,rolebindings,configmaps,\
                 clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,\
                 customresourcedefinitions";
    let shown = bed
        .kubectl(&["get", kinds, "-n", SYSTEM, "-o", "json"])
        .await
        .expect_ok();
    let list: Value = serde_json::from_str(&shown).unwrap();
    let ours = |item: &&Value| {
        let name = item["metadata"]["name"].as_str().unwrap();
        name.contains("keystead") && !name.starts_with("keystead-guard")
    };
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(ours)
        .map(|item| {
            let name = format!(
                "{} {}",
                item["kind"].as_str().unwrap(),
                item["metadata"]["name"].as_str().unwrap()
            );
            (
                name,
                item["metadata"]["resourceVersion"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
            )
        })
        .collect()
}
