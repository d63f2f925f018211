//! What the status of a secret tells of the pods that get it. The reports of nodes are made by calls, as their plugins make them.

use k8s_openapi::api::core::v1::Pod;
use keystead::api::ManagedSecret;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::delivering::{REPORT, World};
use crate::support::{Bed, Calls, OPERATOR_USER, eventually};

const WEB: (&str, &str) = ("shop", "web");

/// Somebody who need not wait for what is looked at after a while.
struct Hurry<'a> {
    bed: &'a Bed,
    seconds: i64,
}

impl Hurry<'_> {
    /// Lets that many seconds pass.
    fn pass(&mut self, seconds: i64) {
        self.seconds += seconds;
        self.bed.set_clock(self.seconds);
    }
}

/// What the status of `shop/db` tells of pods, if it does.
async fn consumers(bed: &Bed) -> Option<Value> {
    let secrets: Api<ManagedSecret> = Api::namespaced(bed.client.clone(), "shop");
    let status = secrets.get("db").await.unwrap().status?;
    Some(serde_json::to_value(status.consumers?).unwrap())
}

/// Waits until it tells that.
async fn told(bed: &Bed, expected: Option<Value>) {
    eventually(&format!("status.consumers is {expected:?}"), || async {
        consumers(bed).await == expected
    })
    .await;
}

async fn report(plugin: &Calls, pod: &Pod, version: &str) {
    let said = json!({"Namespace": "shop", "Name": pod.name_any(), "Uid": pod.uid(), "Secrets": {"db": version}});
    let answer = plugin.call(REPORT, &json!({"Pods": [said]})).await.ok();
    assert_eq!(answer["Failed"], json!([]));
}

async fn current(bed: &Bed) -> String {
    bed.versions("shop", "db").await.remove(0).0
}

/// How often the operator looked at the pods of that namespace.
fn looks(bed: &Bed, since: keystead_cluster::AuditMark) -> usize {
    let events = bed.cluster.audit_since(since).unwrap();
    let looks = events.iter().filter(|event| {
        event.user == OPERATOR_USER
            && event.is_complete()
            && event.resource == "pods"
            && event.verb == "list"
            && event.namespace == "shop"
    });
    looks.count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_tells_how_many_pods_have_which_version_and_writes_nothing_at_rest() {
    let world = World::start().await;
    let bed = &world.bed;
    let plugin = world.plugin("n1").await;
    let mut time = Hurry { bed, seconds: 0 };
    bed.apply_secret("shop", "db", "{literals: {password: a}}")
        .await;
    bed.wait_ready("shop", "db").await;
    let first = current(bed).await;
    let volumes = [json!({"secret": "db"})];
    let web = world.pod(WEB, "web-0", Some("n1"), &volumes).await;
    let job = world.pod(WEB, "job-0", Some("n1"), &volumes).await;
    world
        .pod(WEB, "other", Some("n1"), &[json!({"secret": "cache"})])
        .await;

    time.pass(60);
    let unknown = json!({"pods": 2, "upToDate": 0, "unknown": 2});
    told(bed, Some(unknown)).await;
    report(&plugin, &web, &first).await;
    report(&plugin, &job, &first).await;
    time.pass(60);
    let both =
        json!({"pods": 2, "upToDate": 2, "unknown": 0, "versions": [{"id": first, "pods": 2}]});
    told(bed, Some(both)).await;

    // Another version, which one of them gets; the other one never will.
    bed.apply_secret("shop", "db", "{literals: {password: b}}")
        .await;
    bed.wait_ready("shop", "db").await;
    let second = current(bed).await;
    assert_ne!(second, first);
    report(&plugin, &web, &second).await;
    time.pass(60);
    let versions = json!([{"id": second, "pods": 1}, {"id": first, "pods": 1}]);
    let behind = json!({"pods": 2, "upToDate": 1, "unknown": 0, "versions": versions});
    told(bed, Some(behind)).await;
    let pods: Api<Pod> = Api::namespaced(bed.client.clone(), "shop");
    pods.delete("job-0", &DeleteParams::default())
        .await
        .unwrap();
    time.pass(60);
    let one =
        json!({"pods": 1, "upToDate": 1, "unknown": 0, "versions": [{"id": second, "pods": 1}]});
    told(bed, Some(one.clone())).await;

    // Everybody has it. The next look is ten minutes later, and finds nothing to write.
    let mark = bed.cluster.audit_mark();
    time.pass(601);
    eventually("the pods are looked at", || async { looks(bed, mark) == 1 }).await;
    // What a look finds is written at once: this one is after it, and is no write of the operator's.
    bed.apply_secret("shop", "after", "{literals: {a: b}}")
        .await;
    bed.wait_ready("shop", "after").await;
    let writes = bed.cluster.writes_since(mark).unwrap();
    let of_db: Vec<_> = writes
        .iter()
        .filter(|it| it.user == OPERATOR_USER && it.name == "db")
        .collect();
    assert!(of_db.is_empty(), "{of_db:#?}");
    assert_eq!(consumers(bed).await, Some(one));

    // Whatever else the status tells leaves it alone, and what nobody gets tells nothing.
    bed.apply_secret(
        "shop",
        "db",
        "{literals: {password: b, user: x}, target: {form: Plain}}",
    )
    .await;
    bed.wait_ready("shop", "db").await;
    assert!(consumers(bed).await.is_some());
    pods.delete("web-0", &DeleteParams::default())
        .await
        .unwrap();
    time.pass(60);
    told(bed, None).await;
}
