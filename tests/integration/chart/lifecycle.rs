//! What survives the release, and what survives the definitions.

use std::collections::BTreeMap;
use std::fmt::Write;

use k8s_openapi::api::core::v1::Secret;
use keystead::api::KeyMaterial;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::{folder, has_looked_at, resources};
use crate::support::{Bed, SYSTEM, eventually};

const SECRETS: usize = 30;
const DEFINITION: &str = "managedsecrets.keystead.dev";

/// Thirty secrets: sealed, plain, and plain that are retained, under two keys.
fn manifests() -> String {
    let mut yaml = "
apiVersion: keystead.dev/v1alpha1
kind: ManagedKey
metadata: {name: orders, namespace: shop}
spec: {}
"
    .to_owned();
    for i in 0..SECRETS {
        let target = [
            "{form: Sealed}",
            "{form: Plain}",
            "{form: Plain, deletionPolicy: Retain}",
        ][i % 3];
        let key = if i % 2 == 0 {
            "orders"
        } else {
            "keystead-default"
        };
        let secret = write!(
            yaml,
            "---
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {{name: s{i}, namespace: shop}}
spec:
  keyRef: {{name: {key}}}
  generate: [{{key: password, password: {{}}}}]
  target: {target}
"
        );
        secret.expect("writing to a String cannot fail");
    }
    // The default key is made on first use.
    yaml.replace("  keyRef: {name: keystead-default}\n", "")
}

/// What is stored of Secrets and of key material: by name, the resource version and the data.
type Stored = BTreeMap<String, (String, String)>;

async fn secrets(bed: &Bed, namespace: &str) -> Stored {
    let api: Api<Secret> = Api::namespaced(bed.client.clone(), namespace);
    let all = api.list(&ListParams::default()).await.unwrap();
    let ours = all
        .iter()
        .filter(|secret| secret.type_.as_deref() != Some("helm.sh/release.v1"));
    ours.map(|secret| {
        let data = serde_json::to_string(&secret.data).unwrap();
        (
            secret.name_any(),
            (secret.resource_version().unwrap(), data),
        )
    })
    .collect()
}

async fn materials(bed: &Bed) -> Stored {
    let api: Api<KeyMaterial> = Api::namespaced(bed.client.clone(), SYSTEM);
    let all = api.list(&ListParams::default()).await.unwrap();
    all.iter()
        .map(|material| {
            let spec = serde_json::to_string(&material.spec.generations).unwrap();
            (
                material.name_any(),
                (material.resource_version().unwrap(), spec),
            )
        })
        .collect()
}

/// Without the resource versions: what was stored, whoever wrote it again.
fn data(stored: &Stored) -> BTreeMap<&str, &str> {
    stored
        .iter()
        .map(|(name, (_, data))| (name.as_str(), data.as_str()))
        .collect()
}

async fn all_ready(bed: &Bed) {
    for i in 0..SECRETS {
        bed.wait_ready("shop", &format!("s{i}")).await;
    }
}

/// The version ids of all secrets, by name.
async fn version_ids(bed: &Bed) -> BTreeMap<String, Vec<String>> {
    let api: Api<keystead::api::ManagedSecret> = Api::namespaced(bed.client.clone(), "shop");
    let all = api.list(&ListParams::default()).await.unwrap();
    all.into_iter()
        .map(|secret| {
            let versions = secret.status.clone().unwrap_or_default().versions;
            (
                secret.name_any(),
                versions.into_iter().map(|version| version.id).collect(),
            )
        })
        .collect()
}

/// Case B38.
#[tokio::test(flavor = "multi_thread")]
async fn neither_the_release_nor_the_definitions_take_values_with_them() {
    let bed = Bed::start().await;
    // As the chart's Deployment starts it.
    let operator = bed.operator_named("one", &["--guard-namespace"]).await;
    operator.wait_ready().await;
    bed.namespace("shop").await;
    bed.apply(&manifests()).await;
    all_ready(&bed).await;
    operator.stop().await;

    the_release_goes_and_another_comes(&bed).await;
    the_definition_goes_and_comes_back(&bed).await;
}

async fn the_release_goes_and_another_comes(bed: &Bed) {
    let before = (
        resources(bed, "shop").await,
        secrets(bed, "shop").await,
        secrets(bed, SYSTEM).await,
    );
    let keys = materials(bed).await;
    assert_eq!(before.0.len(), SECRETS + 2);
    assert_eq!(before.1.len(), SECRETS);
    assert_eq!(
        before.2.len(),
        SECRETS + 3,
        "the truth of each, the root key, the server's authority and its certificate"
    );
    assert_eq!(keys.len(), 3, "of two keys, and for sealing");

    bed.helm(&["uninstall", "keystead", "-n", SYSTEM, "--wait"])
        .await
        .expect_ok();
    let account = bed
        .kubectl(&["get", "sa", "keystead-controller", "-n", SYSTEM])
        .await;
    assert!(
        account.expect_refused().contains("not found"),
        "the release is gone"
    );
    let definitions = bed.kubectl(&["get", "crd", "-o", "name"]).await.expect_ok();
    for kind in [
        "managedkeys",
        "keyaliases",
        "keygrants",
        "managedsecrets",
        "rotationschedules",
        "keymaterials",
    ] {
        assert!(
            definitions.contains(&format!("/{kind}.keystead.dev")),
            "{definitions}"
        );
    }
    let refused = bed
        .kubectl(&["delete", "namespace", SYSTEM])
        .await
        .expect_refused();
    assert!(
        refused.contains("keystead.dev/guard-"),
        "the guard stays: {refused}"
    );
    let kept = (
        resources(bed, "shop").await,
        secrets(bed, "shop").await,
        secrets(bed, SYSTEM).await,
    );
    assert_eq!(kept, before);

    bed.install("another", &[]).await;
    let operator = bed.operator().await;
    has_looked_at(&operator, SECRETS as u64).await;
    all_ready(bed).await;
    let now = (
        resources(bed, "shop").await,
        secrets(bed, "shop").await,
        secrets(bed, SYSTEM).await,
    );
    assert_eq!(
        now, before,
        "it goes on where it stopped and writes nothing"
    );
    assert_eq!(materials(bed).await, keys);
    operator.stop().await;
    let releases = bed.helm(&["list", "-n", SYSTEM, "-q"]).await.expect_ok();
    assert_eq!(releases, "another\n");
}

/// Deletes the definition, in the two steps that the guard asks for.
async fn delete_definition(bed: &Bed) {
    let refused = bed
        .kubectl(&["delete", "crd", DEFINITION])
        .await
        .expect_refused();
    let remedy = format!("kubectl label customresourcedefinition {DEFINITION} keystead.dev/guard-");
    assert!(refused.contains(&remedy), "{refused}");
    let lift = [
        "label",
        "customresourcedefinition",
        DEFINITION,
        "keystead.dev/guard-",
    ];
    bed.kubectl(&lift).await.expect_ok();
    bed.kubectl(&["delete", "crd", DEFINITION, "--timeout=60s"])
        .await
        .expect_ok();
}

/// Applies everything again; versions and values must be those of before.
async fn apply_again(bed: &Bed, targets: &Stored, versions: &BTreeMap<String, Vec<String>>) {
    let established = format!("crd/{DEFINITION}");
    bed.kubectl(&["wait", "--for=condition=Established", &established])
        .await
        .expect_ok();
    bed.apply(&manifests()).await;
    all_ready(bed).await;
    assert_eq!(version_ids(bed).await, *versions, "the same versions");
    eventually(
        "every target is there, with the value of before",
        || async {
            let again = secrets(bed, "shop").await;
            let same = |i: &usize| {
                let name = format!("s{i}");
                let found = again.get(&name).map(|(_, data)| data);
                i.is_multiple_of(3) || found == Some(&targets[&name].1)
            };
            again.len() == SECRETS && (0..SECRETS).all(|i| same(&i))
        },
    )
    .await;
}

async fn the_definition_goes_and_comes_back(bed: &Bed) {
    let operator = bed.operator().await;
    let (targets, truths, keys) = (
        secrets(bed, "shop").await,
        secrets(bed, SYSTEM).await,
        materials(bed).await,
    );
    let versions = version_ids(bed).await;
    assert!(versions.values().all(|ids| ids.len() == 1), "{versions:?}");

    delete_definition(bed).await;
    assert_eq!(
        data(&secrets(bed, SYSTEM).await),
        data(&truths),
        "the truth survives"
    );
    assert_eq!(
        data(&materials(bed).await),
        data(&keys),
        "and so does what opens it"
    );
    // The garbage collector takes the other targets, or leaves them if it had not heard of the kind yet.
    let left = secrets(bed, "shop").await;
    assert!(
        left.iter().all(|(name, stored)| targets[name] == *stored),
        "nobody writes what is left"
    );
    for i in (0..SECRETS).filter(|i| i % 3 == 2) {
        assert!(left.contains_key(&format!("s{i}")), "s{i} is retained");
    }

    // An administrator brings the kind back, and the same process goes on.
    let definitions = format!("{}/crds", folder());
    let apply = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "-f",
        &definitions,
    ];
    bed.kubectl(&apply).await.expect_ok();
    apply_again(bed, &targets, &versions).await;
    operator.stop().await;

    // An operator that may do so brings it back itself, with the guard on it.
    delete_definition(bed).await;
    let upgrade = [
        "upgrade",
        "another",
        &folder(),
        "-n",
        SYSTEM,
        "--set",
        "crds.install=true",
    ];
    bed.helm(&upgrade).await.expect_ok();
    let operator = bed.operator().await;
    apply_again(bed, &targets, &versions).await;
    let refused = bed
        .kubectl(&["delete", "crd", DEFINITION])
        .await
        .expect_refused();
    assert!(refused.contains("keystead.dev/guard-"), "{refused}");
    operator.stop().await;
}
