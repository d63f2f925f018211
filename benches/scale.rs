//! Ten thousand secrets on a real control plane, in one run: until all of them are Ready, a restart over them, the rotation of
//! their keys, and a minute at rest; with as many bare Secrets, made by a minimal client, as the yardstick.
//!
//! `cargo bench --bench scale` prints the table of docs/performance.md. `KEYSTEAD_BENCH_SECRETS` sets another number.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![allow(dead_code, reason = "it stands on a part of what the tests stand on")]
#![allow(
    clippy::cast_precision_loss,
    reason = "counts and seconds are small numbers"
)]

use std::collections::HashSet;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use keystead::api::{ManagedKey, ManagedSecret};
use keystead_cluster::{AuditEvent, AuditMark};
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::time::sleep;

use support::{Bed, OPERATOR_USER, Operator};

#[allow(unused_imports, reason = "it gives more than is used here")]
#[path = "../tests/integration/support/mod.rs"]
mod support;

/// Over so many namespaces, each with a default key of its own.
const NAMESPACES: usize = 10;
/// Requests of the clients that make objects, at once.
const AT_ONCE: usize = 32;

#[tokio::main]
async fn main() {
    let count = std::env::var("KEYSTEAD_BENCH_SECRETS").map_or(10_000, |n| n.parse().unwrap());
    let bed = Bed::start().await;
    for index in 0..NAMESPACES {
        bed.namespace(&namespace(index)).await;
    }
    println!("{count} objects in {NAMESPACES} namespaces");
    println!("| what | seconds | writes of the operator | peak RSS, MiB | CPU, s |");
    println!("|---|---|---|---|---|");

    let yardstick = create_bare(&bed.client, count).await;
    row("bare Secrets, created", yardstick, 0, None);

    let operator = start(&bed).await;
    let (mark, begun, used) = (
        bed.cluster.audit_mark(),
        Instant::now(),
        operator.processor_time(),
    );
    tokio::join!(
        create_secrets(&bed.client, count),
        all_ready(&bed.client, count)
    );
    let first = begun.elapsed();
    let (writes, reads) = (writes(&bed, mark), reads(&bed, mark));
    row(
        "ManagedSecrets, until all are Ready",
        first,
        writes,
        Some((&operator, used)),
    );
    let per_write = first.as_secs_f64() / (writes + count) as f64;
    let bare_write = yardstick.as_secs_f64() / count as f64;
    let ratio = per_write / bare_write;
    let each = [writes, reads].map(|requests| requests as f64 / count as f64);

    settled(&bed).await;
    operator.stop().await;
    let (mark, begun) = (bed.cluster.audit_mark(), Instant::now());
    let operator = start(&bed).await;
    let restart = begun.elapsed();
    settled(&bed).await;
    row(
        "restart over them, until ready",
        restart,
        self::writes(&bed, mark),
        Some((&operator, 0.0)),
    );

    let (mark, begun, used) = (
        bed.cluster.audit_mark(),
        Instant::now(),
        operator.processor_time(),
    );
    rotate(&bed).await;
    let rotation = begun.elapsed();
    row(
        "rotation of their keys, until nothing needs the old ones",
        rotation,
        self::writes(&bed, mark),
        Some((&operator, used)),
    );

    settled(&bed).await;
    let (mark, begun, used) = (
        bed.cluster.audit_mark(),
        Instant::now(),
        operator.processor_time(),
    );
    sleep(Duration::from_secs(60)).await;
    row(
        "a minute at rest",
        begun.elapsed(),
        self::writes(&bed, mark),
        Some((&operator, used)),
    );

    let [written, read] = each;
    println!("\nwrites of the operator for each new secret: {written:.2}; reads: {read:.2}");
    println!(
        "time for each write (those of the author with it), in that of a bare create: {ratio:.2}"
    );
    operator.stop().await;
}

fn namespace(index: usize) -> String {
    format!("bench-{}", index % NAMESPACES)
}

fn row(what: &str, time: Duration, writes: usize, of: Option<(&Operator, f64)>) {
    let seconds = time.as_secs_f64();
    let Some((operator, used)) = of else {
        println!("| {what} | {seconds:.1} | | | |");
        return;
    };
    let peak = operator.peak_memory() / 1024;
    let cpu = operator.processor_time() - used;
    println!("| {what} | {seconds:.1} | {writes} | {peak} | {cpu:.1} |");
}

async fn start(bed: &Bed) -> Operator {
    // The pace of encrypting anew is there to spare an API server that others need too.
    let operator = bed
        .operator_named("one", &["--reencrypt-per-second", "10000"])
        .await;
    operator.wait_ready().await;
    operator
}

async fn create_bare(client: &Client, count: usize) -> Duration {
    let create = |index: usize| {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace(index));
        async move {
            let secret = Secret {
                metadata: named("bare", index),
                data: Some([("password".to_owned(), ByteString(vec![b'x'; 32]))].into()),
                ..Secret::default()
            };
            secrets
                .create(&PostParams::default(), &secret)
                .await
                .map(drop)
        }
    };
    let begun = Instant::now();
    let all = stream::iter(0..count).map(create).buffer_unordered(AT_ONCE);
    all.try_collect::<Vec<()>>().await.unwrap();
    begun.elapsed()
}

async fn create_secrets(client: &Client, count: usize) {
    let create = |index: usize| {
        let secrets: Api<ManagedSecret> = Api::namespaced(client.clone(), &namespace(index));
        async move {
            let spec = json!({"generate": [{"key": "password", "password": {}}]});
            let mut secret = ManagedSecret::new("", serde_json::from_value(spec).unwrap());
            secret.metadata = named("secret", index);
            secrets
                .create(&PostParams::default(), &secret)
                .await
                .map(drop)
        }
    };
    let all = stream::iter(0..count).map(create).buffer_unordered(AT_ONCE);
    all.try_collect::<Vec<()>>().await.unwrap();
}

fn named(prefix: &str, index: usize) -> ObjectMeta {
    ObjectMeta {
        name: Some(format!("{prefix}-{index}")),
        ..ObjectMeta::default()
    }
}

/// Waits until that many secrets are Ready, by a watch.
async fn all_ready(client: &Client, count: usize) {
    let secrets: Api<ManagedSecret> = Api::all(client.clone());
    let mut seen = pin!(watcher(secrets, watcher::Config::default()).applied_objects());
    let mut ready = HashSet::new();
    while ready.len() < count {
        let secret = seen.next().await.expect("watches go on").unwrap();
        let conditions = secret.status.iter().flat_map(|status| &status.conditions);
        if conditions
            .into_iter()
            .any(|c| c.type_ == "Ready" && c.status == "True")
        {
            ready.insert(secret.name_any());
        }
    }
}

/// Rotates every default key, and waits until nothing needs the first version.
async fn rotate(bed: &Bed) {
    let keys: Api<ManagedKey> = Api::all(bed.client.clone());
    let patch = json!({"metadata": {"annotations": {"keystead.dev/rotate": "bench"}}});
    for index in 0..NAMESPACES {
        let keys: Api<ManagedKey> = Api::namespaced(bed.client.clone(), &namespace(index));
        let params = PatchParams::default();
        keys.patch("keystead-default", &params, &Patch::Merge(&patch))
            .await
            .unwrap();
    }
    loop {
        let listed = keys.list(&ListParams::default()).await.unwrap();
        let is_done = |key: &ManagedKey| {
            let versions = key.status.iter().flat_map(|status| &status.versions);
            let mut versions = versions.clone();
            versions.clone().count() == 2
                && versions.all(|v| v.version == 2 || v.references == Some(0))
        };
        if listed.items.iter().all(is_done) {
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// The writes of the operator besides its Lease.
fn writes(bed: &Bed, since: AuditMark) -> usize {
    let writes = bed.cluster.writes_since(since).unwrap();
    writes.iter().filter(|event| is_ours(event)).count()
}

/// What the operator asked for besides its Lease, lists and watches.
fn reads(bed: &Bed, since: AuditMark) -> usize {
    let events = bed.cluster.audit_since(since).unwrap();
    let is_read =
        |event: &&AuditEvent| event.verb == "get" && event.is_complete() && is_ours(event);
    events.iter().filter(is_read).count()
}

fn is_ours(event: &AuditEvent) -> bool {
    event.user == OPERATOR_USER
        && event.resource != "leases"
        && !event.request_uri.contains("dryRun=All")
}

/// Waits until the operator has written nothing for a while.
async fn settled(bed: &Bed) {
    loop {
        let mark = bed.cluster.audit_mark();
        sleep(Duration::from_secs(15)).await;
        if writes(bed, mark) == 0 {
            return;
        }
    }
}
