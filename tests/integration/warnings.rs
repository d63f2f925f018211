//! What is told at apply, and refuses nothing: sealed secrets that nobody would read, and objects that read one from the API.

mod readers;

use crate::support::{Bed, Printed, SYSTEM, eventually, managed_secret};

/// What the API server warned of, if it did not refuse.
#[track_caller]
fn warnings(printed: &Printed) -> Vec<String> {
    assert!(printed.ok, "refused: {}{}", printed.out, printed.err);
    let lines = printed.err.lines();
    let ours = lines.filter(|line| line.starts_with("Warning: ") && line.contains("keystead-"));
    ours.map(str::to_owned).collect()
}

/// The warnings about what would be applied.
async fn would_be_told(bed: &Bed, yaml: &str) -> Vec<String> {
    let args = ["apply", "--dry-run=server", "-f", "-"];
    warnings(&bed.kubectl_with(&args, yaml).await)
}

/// The warnings about what is applied.
async fn told(bed: &Bed, yaml: &str) -> Vec<String> {
    warnings(&bed.kubectl_with(&["apply", "-f", "-"], yaml).await)
}

/// Installs the chart anew with other values.
async fn upgrade(bed: &Bed, values: &[&str]) {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/keystead");
    let mut args = vec!["upgrade", "keystead", chart, "-n", SYSTEM];
    for value in values {
        args.extend(["--set", value]);
    }
    bed.helm(&args).await.expect_ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_secret_that_nobody_would_read_is_told_of_once_with_the_remedies() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    bed.namespace("open").await;
    let label = [
        "label",
        "namespace",
        "open",
        "keystead.dev/injection=enabled",
    ];
    bed.kubectl(&label).await.expect_ok();
    let sealed = managed_secret("shop", "db", "{literals: {a: b}}");
    eventually("the policy is in force", || async {
        !would_be_told(&bed, &sealed).await.is_empty()
    })
    .await;
    made_or_sealed_later(&bed, &sealed).await;
    what_needs_no_word(&bed).await;
    a_secret_that_is_going_is_left_alone(&bed).await;
    the_remedies_are_those_of_the_installation(&bed).await;
}

async fn made_or_sealed_later(bed: &Bed, sealed: &str) {
    let told_of = told(bed, sealed).await;
    assert_eq!(told_of.len(), 1, "{told_of:?}");
    for part in [
        "ManagedSecret shop/db is accepted",
        "keystead.dev/injection=enabled",
        "csi.driver: secrets.keystead.dev, csi.volumeAttributes.secret: db",
        "spec.target.form: Plain",
    ] {
        assert!(told_of[0].contains(part), "{part}: {}", told_of[0]);
    }
    assert_eq!(told(bed, sealed).await, [""; 0], "applied again");
    let changed = managed_secret("shop", "db", "{literals: {a: c}, target: {form: Sealed}}");
    assert_eq!(told(bed, &changed).await, [""; 0], "it was sealed before");
    for (form, warned) in [("Plain", 0), ("Sealed", 1), ("None", 0)] {
        let spec = format!("{{literals: {{a: b}}, target: {{form: {form}}}}}");
        let told_of = told(bed, &managed_secret("shop", "db", &spec)).await;
        assert_eq!(told_of.len(), warned, "{form}: {told_of:?}");
    }
}

async fn what_needs_no_word(bed: &Bed) {
    for (namespace, name, spec) in [
        ("open", "db", "{literals: {a: b}}"),
        ("shop", "plain", "{literals: {a: b}, target: {form: Plain}}"),
        ("shop", "none", "{literals: {a: b}, target: {form: None}}"),
        // Whoever names consumers has pods that mount it.
        (
            "shop",
            "mounted",
            "{literals: {a: b}, consumers: {serviceAccounts: [orders]}}",
        ),
    ] {
        let told_of = told(bed, &managed_secret(namespace, name, spec)).await;
        assert_eq!(told_of, [""; 0], "{namespace}/{name}");
    }
}

async fn a_secret_that_is_going_is_left_alone(bed: &Bed) {
    let held = |form: &str| {
        let spec = format!("{{literals: {{a: b}}, target: {{form: {form}}}}}");
        managed_secret("shop", "held", &spec).replace(
            "name: held,",
            "name: held, finalizers: [test.example/hold],",
        )
    };
    assert_eq!(told(bed, &held("Plain")).await, [""; 0]);
    bed.begin_to_delete("shop", "managedsecret/held").await;
    assert_eq!(told(bed, &held("Sealed")).await, [""; 0]);
}

async fn the_remedies_are_those_of_the_installation(bed: &Bed) {
    let sealed = managed_secret("open", "another", "{literals: {a: b}}");
    upgrade(bed, &["injection.enabled=false"]).await;
    eventually("a label helps no more", || async {
        let told_of = would_be_told(bed, &sealed).await.concat();
        told_of.contains("csi.driver") && !told_of.contains("injection=enabled")
    })
    .await;
    let nothing = ["injection.enabled=false", "node.enabled=false"];
    upgrade(bed, &nothing).await;
    eventually("only plaintext is left", || async {
        let told_of = would_be_told(bed, &sealed).await.concat();
        told_of.contains("set spec.target.form: Plain") && !told_of.contains("csi.driver")
    })
    .await;
    let mounted = managed_secret(
        "open",
        "mounted",
        "{literals: {a: b}, consumers: {serviceAccounts: [orders]}}",
    );
    let told_of = would_be_told(bed, &mounted).await;
    assert_eq!(told_of.len(), 1, "nothing can mount it: {told_of:?}");
}
