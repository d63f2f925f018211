//! Who can read what: the table of the threat model, row by row.

use std::collections::BTreeMap;

use crate::support::{Bed, Person, SYSTEM};

const SECRETS: &str = "
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {name: sealed, namespace: shop}
spec: {literals: {v: canary-sealed-0815}}
---
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {name: plain, namespace: shop}
spec: {literals: {v: canary-plain-0816}, target: {form: Plain}}
---
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {name: none, namespace: shop}
spec: {generate: [{key: v, password: {}}], target: {form: None}}
";

/// What a person gets who asks for that; `None` if he may not.
async fn read(who: &Person<'_>, args: &[&str]) -> Option<String> {
    let printed = who
        .kubectl(&[&["get"], args, &["-o", "json"]].concat())
        .await;
    assert!(
        printed.ok || printed.err.contains("Forbidden"),
        "{}",
        printed.err
    );
    printed.ok.then_some(printed.out)
}

async fn bed_with_secrets() -> Bed {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    bed
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_editors_and_viewers_read_what_the_table_says() {
    let bed = bed_with_secrets().await;
    let _operator = bed.operator().await;
    bed.apply(SECRETS).await;
    for name in ["sealed", "plain", "none"] {
        bed.wait_ready("shop", name).await;
    }
    let plain = ["secret", "plain", "-n", "shop"];
    let spec = ["managedsecret", "sealed", "-n", "shop"];
    let root_key = ["secret", "keystead-root", "-n", SYSTEM];
    let materials = ["keymaterials", "-n", SYSTEM];

    let viewer = Person::new(&bed, "viewer");
    viewer.bind("shop", "view").await;
    viewer
        .can(&["get", "managedsecrets.keystead.dev", "-n", "shop"])
        .await;
    assert!(read(&viewer, &plain).await.is_none());
    assert!(
        read(&viewer, &spec)
            .await
            .unwrap()
            .contains("canary-sealed-0815"),
        "literals are in the spec"
    );

    for (name, role) in [("editor", "edit"), ("boss", "admin")] {
        let person = Person::new(&bed, name);
        person.bind("shop", role).await;
        person
            .can(&["create", "managedsecrets.keystead.dev", "-n", "shop"])
            .await;
        person.can(&["get", "secrets", "-n", "shop"]).await;
        assert!(
            read(&person, &plain)
                .await
                .unwrap()
                .contains("Y2FuYXJ5LXBsYWluLTA4MTY=")
        );
        let sealed = bed.value("shop", "sealed", "v.sealed").await;
        assert!(
            !sealed.windows(18).any(|part| part == b"canary-sealed-0815"),
            "ciphertext as delivered"
        );
        assert!(read(&person, &root_key).await.is_none());
        assert!(read(&person, &materials).await.is_none());
        assert!(
            read(&person, &["keymaterials", "-n", "shop"])
                .await
                .is_none()
        );
        // He may ask for another form, and read that.
        let plain_now = r#"{"spec":{"target":{"form":"Plain","name":"opened"}}}"#;
        let args = [
            "patch",
            "managedsecret",
            "none",
            "-n",
            "shop",
            "--type=merge",
            "-p",
            plain_now,
        ];
        person.kubectl(&args).await.expect_ok();
        bed.wait_ready("shop", "none").await;
        assert!(
            read(&person, &["secret", "opened", "-n", "shop"])
                .await
                .is_some()
        );
    }

    let root = Person::new(&bed, "root");
    let binding = [
        "create",
        "clusterrolebinding",
        "root",
        "--clusterrole=cluster-admin",
        "--user=root",
    ];
    bed.kubectl(&binding).await.expect_ok();
    root.can(&["*", "*", "-A"]).await;
    assert!(
        read(&root, &root_key).await.is_some(),
        "the key that opens everything is an object"
    );
    assert!(read(&root, &materials).await.is_some());

    // The operator: everything, since any namespace may be served.
    let operator = Person::new(
        &bed,
        "system:serviceaccount:keystead-system:keystead-controller",
    );
    assert!(
        read(&operator, &["secrets", "-n", "kube-system"])
            .await
            .is_some()
    );
    assert!(read(&operator, &root_key).await.is_some());
    // A service account of a pod, and a node on which nothing of it runs: nothing.
    for name in ["system:serviceaccount:shop:default", "system:node:other"] {
        let person = Person::new(&bed, name);
        assert!(read(&person, &plain).await.is_none(), "{name}");
        assert!(read(&person, &root_key).await.is_none(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_root_key_in_a_file_a_backup_of_etcd_opens_nothing() {
    let bed = bed_with_secrets().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let key: Vec<u8> = (0..32u8).map(|i| i.wrapping_mul(37) ^ 0xa5).collect();
    std::fs::write(&file, &key).unwrap();
    let args = [
        "--root-provider",
        "file",
        "--root-file",
        file.to_str().unwrap(),
    ];
    let operator = bed.operator_named("one", &args).await;
    operator.wait_ready().await;
    bed.apply(SECRETS).await;
    for name in ["sealed", "plain", "none"] {
        bed.wait_ready("shop", name).await;
    }
    let etcd = bed.cluster.etcd();
    assert_eq!(etcd.keys_containing(&key).await.unwrap(), [""; 0]);
    assert!(etcd.files_containing(&key).unwrap().is_empty());
    // Literals are in the resource, whatever the form of the target.
    let held = etcd.keys_containing(b"canary-sealed-0815").await.unwrap();
    assert_eq!(held, ["/registry/keystead.dev/managedsecrets/shop/sealed"]);
    let held = etcd.keys_containing(b"canary-plain-0816").await.unwrap();
    let expected = [
        "/registry/keystead.dev/managedsecrets/shop/plain",
        "/registry/secrets/shop/plain",
    ];
    assert_eq!(held, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_watch_namespaces_the_operator_has_no_right_to_secrets_elsewhere() {
    let options = keystead_cluster::Options::default();
    let bed = Bed::start_with(options, &[]).await;
    for namespace in ["shop", "bank"] {
        bed.namespace(namespace).await;
    }
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/keystead");
    let args = [
        "upgrade",
        "keystead",
        chart,
        "-n",
        SYSTEM,
        "--set",
        "watchNamespaces={shop}",
    ];
    bed.helm(&args).await.expect_ok();
    let operator = Person::new(
        &bed,
        "system:serviceaccount:keystead-system:keystead-controller",
    );
    operator.can(&["get", "secrets", "-n", "shop"]).await;
    crate::support::eventually("the cluster-wide right is gone", || async {
        read(&operator, &["secrets", "-n", "bank"]).await.is_none()
    })
    .await;
    let found: BTreeMap<_, _> = [
        ("shop", true),
        ("bank", false),
        ("kube-system", false),
        (SYSTEM, true),
    ]
    .into();
    for (namespace, may) in found {
        assert_eq!(
            read(&operator, &["secrets", "-n", namespace])
                .await
                .is_some(),
            may,
            "{namespace}"
        );
    }
    assert!(read(&operator, &["secrets", "-A"]).await.is_none());
}
