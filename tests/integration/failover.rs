//! Two replicas: one leads, and the other one takes over without a value changing.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use keystead_cluster::AuditEvent;
use kube::Api;

use crate::support::{Bed, OPERATOR_USER, SYSTEM, eventually_within, plain, plains};

async fn leader(bed: &Bed) -> String {
    let leases: Api<Lease> = Api::namespaced(bed.client.clone(), SYSTEM);
    let lease = leases.get_opt("keystead-controller").await.unwrap();
    lease
        .and_then(|lease| lease.spec?.holder_identity)
        .unwrap_or_default()
}

async fn wait_leader(bed: &Bed, name: &str, patience: u64) {
    let what = format!("{name} leads");
    eventually_within(Duration::from_secs(patience), &what, || async {
        leader(bed).await == name
    })
    .await;
}

/// Which token a request was made with: each process has one of its own.
fn credential(event: &AuditEvent) -> Option<&str> {
    event.raw["user"]["extra"]["authentication.kubernetes.io/credential-id"][0].as_str()
}

fn is_lease(event: &AuditEvent) -> bool {
    event.resource == "leases"
}

/// The credentials that the operator's writes (but those of the Lease) were made with.
fn writers(events: &[AuditEvent]) -> BTreeSet<String> {
    let of_operator = events
        .iter()
        .filter(|e| e.user == OPERATOR_USER && !is_lease(e));
    of_operator
        .filter_map(|e| credential(e).map(str::to_owned))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_or_stopped_leader_is_succeeded_and_no_value_changes() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let first = bed.operator_named("first", &[]).await;
    wait_leader(&bed, "first", 30).await;
    let second = bed.operator_named("second", &[]).await;
    second.wait_ready().await;
    bed.apply(&plains("shop", 30, None)).await;
    // Somewhere in the middle.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let then = bed.passwords("shop").await;
    first.kill().await;
    wait_leader(&bed, "second", 40).await;
    bed.wait_all_ready("shop", 30).await;
    let values = bed.passwords("shop").await;
    assert!(
        then.iter()
            .all(|(name, value)| values.get(name) == Some(value))
    );
    bed.assert_truth_is_exact(&["shop"]).await;

    // SIGTERM hands over at once: the lease of 15 s is not waited for.
    let third = bed.operator_named("third", &[]).await;
    third.wait_ready().await;
    let asked = Instant::now();
    second.stop().await;
    wait_leader(&bed, "third", 10).await;
    println!("succeeded {:?} after SIGTERM", asked.elapsed());
    bed.apply(&plain("shop", "after", None, "x")).await;
    bed.wait_all_ready("shop", 31).await;
    let now = bed.passwords("shop").await;
    assert!(
        values
            .iter()
            .all(|(name, value)| now.get(name) == Some(value))
    );
}

/// Case B08 (1): a leader that was paused in the middle of its work for longer than its lease writes nothing more.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_paused_longer_than_its_lease_writes_nothing_when_it_runs_again() {
    const COUNT: usize = 200;
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let start = bed.cluster.audit_mark();
    let first = bed.operator_named("first", &[]).await;
    wait_leader(&bed, "first", 30).await;
    let second = bed.operator_named("second", &[]).await;
    second.wait_ready().await;
    let all = plains("shop", COUNT, None);
    let part = || async { bed.passwords("shop").await.len() > 10 };
    let (then, ()) = tokio::join!(
        async {
            eventually_within(Duration::from_secs(30), "a part is done", part).await;
            first.pause().await;
            bed.passwords("shop").await
        },
        bed.apply(&all),
    );
    println!("paused after {} of {COUNT}", then.len());
    assert!(
        then.len() < COUNT,
        "the leader was paused too late to be in the middle"
    );
    let of_first = writers(&bed.cluster.writes_since(start).unwrap());
    assert_eq!(
        of_first.len(),
        1,
        "only the first has written: {of_first:?}"
    );
    wait_leader(&bed, "second", 40).await;
    bed.wait_all_ready("shop", COUNT).await;
    let values = bed.passwords("shop").await;
    assert!(
        then.iter()
            .all(|(name, value)| values.get(name) == Some(value))
    );

    let mark = bed.cluster.audit_mark();
    first.resume().await;
    eventually_within(Duration::from_secs(10), "the first knows", || async {
        first.log().contains("leading no longer")
    })
    .await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let late = bed.cluster.writes_since(mark).unwrap();
    let late: Vec<_> = late
        .iter()
        .filter(|e| credential(e).is_some_and(|c| of_first.contains(c)))
        .map(|e| format!("{} {} {}", e.verb, e.request_uri, e.code))
        .collect();
    assert!(late.is_empty(), "{late:?}");
    assert_eq!(bed.passwords("shop").await, values);
    bed.assert_truth_is_exact(&["shop"]).await;
    for secret in bed.managed_secrets("shop").await {
        assert_eq!(secret.status.unwrap().versions.len(), 1, "one version each");
    }
    assert_eq!(leader(&bed).await, "second");
    // It is a candidate like any other.
    second.kill().await;
    wait_leader(&bed, "first", 40).await;
    bed.apply(&plain("shop", "after", None, "x")).await;
    bed.wait_all_ready("shop", COUNT + 1).await;
}
