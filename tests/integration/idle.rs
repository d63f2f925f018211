//! Nothing is written when nothing changed.

use std::fmt::Write;
use std::time::Duration;

use keystead::api::ManagedSecret;
use keystead_cluster::{AuditEvent, AuditMark};
use kube::{Api, api::ListParams};
use tokio::time::sleep;

use crate::support::{Bed, SYSTEM, eventually, eventually_within};

const OPERATOR: &str = "system:serviceaccount:keystead-system:keystead-controller";
const NAMESPACES: [&str; 3] = ["shop", "bank", "post"];
const SECRETS: usize = 200;

/// Secrets of every form and source, over all namespaces.
pub(crate) fn mixed(count: usize) -> String {
    let forms = [
        "{generate: [{key: password, password: {}}]}",
        "{generate: [{key: a, hex: {}}, {key: b, uuid: {}}], literals: {user: x}, target: {form: Plain}}",
        "{generate: [{key: bytes, bytes: {length: 64}}], target: {form: None}}",
        "{literals: {user: x}, generate: [{key: p, password: {length: 24}}], template: {data: {URL: \"db://[[ user ]]:[[ p ]]\"}}, target: {form: Plain}}",
        "{import: [{secretRef: {name: source}}], keyRef: {name: own}}",
    ];
    let mut yaml = NAMESPACES.iter().fold(String::new(), |mut yaml, namespace| {
        write!(
            yaml,
            "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n\
             ---\napiVersion: keystead.dev/v1alpha1\nkind: ManagedKey\nmetadata: {{name: own, namespace: {namespace}}}\nspec: {{}}\n\
             ---\napiVersion: v1\nkind: Secret\nmetadata: {{name: source, namespace: {namespace}}}\nstringData: {{old: value}}\n"
        )
        .unwrap();
        yaml
    });
    for index in 0..count {
        let (namespace, spec) = (
            NAMESPACES[index % NAMESPACES.len()],
            forms[index % forms.len()],
        );
        write!(
            yaml,
            "---\napiVersion: keystead.dev/v1alpha1\nkind: ManagedSecret\nmetadata: {{name: s{index}, namespace: {namespace}}}\nspec: {spec}\n"
        )
        .unwrap();
    }
    yaml
}

/// Waits until that many secrets are Ready.
pub(crate) async fn all_ready(bed: &Bed, count: usize) {
    let secrets: Api<ManagedSecret> = Api::all(bed.client.clone());
    let patience = Duration::from_secs(180);
    eventually_within(patience, "all secrets are Ready", || async {
        let listed = secrets.list(&ListParams::default()).await.unwrap();
        let ready = |secret: &&ManagedSecret| {
            let conditions = secret.status.iter().flat_map(|status| &status.conditions);
            let mut ready = conditions.filter(|c| c.type_ == "Ready");
            ready.any(|c| c.status == "True" && c.observed_generation == secret.metadata.generation)
        };
        listed.items.iter().filter(ready).count() == count
    })
    .await;
}

/// What the operator wrote or tried to write besides its lease, refused and futile attempts included.
fn written(bed: &Bed, since: AuditMark) -> Vec<String> {
    let mut events = bed.cluster.audit_since(since).unwrap();
    let describe = |e: &AuditEvent| {
        format!(
            "{} {} {}/{} {}",
            e.verb, e.resource, e.namespace, e.name, e.code
        )
    };
    events.retain(|event| {
        event.user == OPERATOR
            && event.is_complete()
            && event.is_write()
            && event.resource != "leases"
            // A new leader asks the API server what time it is, by an object that is not made.
            && !event.request_uri.contains("dryRun=All")
    });
    events.iter().map(describe).collect()
}

fn lease_writes(bed: &Bed, since: AuditMark) -> usize {
    let writes = bed.cluster.writes_since(since).unwrap();
    writes
        .iter()
        .filter(|event| event.user == OPERATOR && event.resource == "leases")
        .count()
}

/// Waits until the audit log is still: the last reconciliations of a start are through, and keys have shown what needs them, which
/// they do ten seconds later.
async fn settled(bed: &Bed) {
    loop {
        let mark = bed.cluster.audit_mark();
        sleep(Duration::from_secs(15)).await;
        let events = bed.cluster.audit_since(mark).unwrap();
        if !events
            .iter()
            .any(|event| event.user == OPERATOR && event.resource != "leases")
        {
            return;
        }
    }
}

/// Promise: an idle cluster sees no write but the renewal of the lease.
#[tokio::test(flavor = "multi_thread")]
async fn with_200_secrets_only_the_lease_is_written() {
    let bed = Bed::start().await;
    let one = bed.operator_named("one", &[]).await;
    one.wait_ready().await;
    let two = bed.operator_named("two", &[]).await;
    two.wait_ready().await;
    bed.apply(&mixed(SECRETS)).await;
    all_ready(&bed, SECRETS).await;
    settled(&bed).await;

    // An idle minute.
    let mark = bed.cluster.audit_mark();
    sleep(Duration::from_secs(60)).await;
    assert!(
        lease_writes(&bed, mark) > 0,
        "the audit log sees the operator"
    );
    assert_eq!(written(&bed, mark), [""; 0], "in an idle minute");

    // Another leader, and a new process.
    let mark = bed.cluster.audit_mark();
    one.stop().await;
    eventually("the other replica leads", || async { leads(&two).await }).await;
    settled(&bed).await;
    let three = bed.operator_named("three", &[]).await;
    three.wait_ready().await;
    two.stop().await;
    eventually("the new process leads", || async { leads(&three).await }).await;
    settled(&bed).await;
    let reads = bed.cluster.audit_since(mark).unwrap();
    let looked = reads
        .iter()
        .filter(|e| e.user == OPERATOR && e.verb == "get" && e.resource == "secrets");
    assert!(
        looked.count() >= SECRETS,
        "each leader looked at everything"
    );
    assert_eq!(
        written(&bed, mark),
        [""; 0],
        "after two changes of the leader"
    );

    // An upgrade that changes nothing.
    let generation = [
        "get",
        "deployment",
        "keystead-controller",
        "-n",
        SYSTEM,
        "-o",
        "jsonpath={.metadata.generation}",
    ];
    let before = bed.kubectl(&generation).await.expect_ok();
    let mark = bed.cluster.audit_mark();
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/keystead");
    bed.helm(&["upgrade", "keystead", chart, "-n", SYSTEM])
        .await
        .expect_ok();
    settled(&bed).await;
    assert_eq!(written(&bed, mark), [""; 0], "after helm upgrade");
    assert_eq!(
        bed.kubectl(&generation).await.expect_ok(),
        before,
        "the pods are not rolled"
    );

    // Other people's labels on a target are theirs.
    let mark = bed.cluster.audit_mark();
    for target in ["s0", "s6"] {
        let args = ["label", "secret", target, "-n", "shop", "team=orders"];
        bed.kubectl(&args).await.expect_ok();
    }
    settled(&bed).await;
    let reads = bed.cluster.audit_since(mark).unwrap();
    let looked = |name: &str| {
        reads
            .iter()
            .any(|e| e.user == OPERATOR && e.verb == "get" && e.name == name)
    };
    assert!(looked("s0") && looked("s6"), "the operator noticed");
    assert_eq!(written(&bed, mark), [""; 0], "after a label on a target");
}

/// What the operator asked of the API server about secrets, besides lists and watches.
fn asked(bed: &Bed, since: AuditMark, is_counted: impl Fn(&AuditEvent) -> bool) -> Vec<String> {
    let events = bed.cluster.audit_since(since).unwrap();
    let of_secrets = events.iter().filter(|event| {
        event.user == OPERATOR
            && event.is_complete()
            && ["secrets", "managedsecrets", "namespaces", "configmaps"]
                .contains(&event.resource.as_str())
            && !["list", "watch"].contains(&event.verb.as_str())
            && is_counted(event)
    });
    let describe = |event: &AuditEvent| {
        format!(
            "{} {}/{} {}/{} {}",
            event.verb, event.resource, event.subresource, event.namespace, event.name, event.code
        )
    };
    of_secrets.map(describe).collect()
}

/// What a new secret costs the API server: its truth, its target and its status are written once; whether there is a target is asked
/// once, and so is for the namespace, by one secret for all that were there before. Ten thousand secrets pay for every request that is
/// added here.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_secret_costs_a_bounded_number_of_requests() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    let yaml = |names: std::ops::Range<usize>| {
        names.fold(String::new(), |mut yaml, index| {
            write!(
                yaml,
                "---\napiVersion: keystead.dev/v1alpha1\nkind: ManagedSecret\nmetadata: {{name: s{index}, namespace: shop}}\n\
                 spec: {{generate: [{{key: password, password: {{}}}}]}}\n"
            )
            .unwrap();
            yaml
        })
    };
    bed.namespace("shop").await;
    // The namespace's key is made with the first secret.
    bed.apply(&yaml(0..1)).await;
    all_ready(&bed, 1).await;
    settled(&bed).await;

    let mark = bed.cluster.audit_mark();
    let count = 100;
    bed.apply(&yaml(1..count + 1)).await;
    all_ready(&bed, count + 1).await;
    settled(&bed).await;
    let writes = asked(&bed, mark, AuditEvent::is_write);
    assert_eq!(writes.len(), 3 * count, "{writes:#?}");
    // A few more, for whoever is looked at twice.
    let reads = asked(&bed, mark, |event| !event.is_write());
    assert!(reads.len() <= 2 * count + count / 10, "{reads:#?}");
}

async fn leads(operator: &crate::support::Operator) -> bool {
    let metrics = operator.http("/metrics").await;
    metrics.is_some_and(|(_, metrics)| metrics.lines().any(|line| line == "keystead_leader 1"))
}
