//! Proofs where the API server gives little help, and where its history is another than the one that was followed.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use keystead::api::KeyState;
use keystead_cluster::Options;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use tokio::time::sleep;

use super::{age, applied, unready, wait_state, written};
use crate::support::{Bed, Operator, eventually, key};

/// How many keys a replica holds.
async fn keys(server: &Operator) -> Option<u64> {
    let (_, metrics) = server.http("/metrics").await?;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("keystead_keyring_keys "));
    line?.parse().ok()
}

/// Lets the resource versions of the cluster grow by that much.
async fn grow(bed: &Bed, prefix: &str, count: usize) {
    let maps: Api<ConfigMap> = Api::namespaced(bed.client.clone(), "shop");
    for index in 0..count {
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(format!("{prefix}-{index}")),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        };
        maps.create(&PostParams::default(), &map).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_bookmarks_the_truth_is_read_anew_and_stays_proven() {
    let options = Options {
        watch_cache: false,
        ..Options::default()
    };
    let bed = Bed::start_with(options, &[]).await;
    bed.namespace("shop").await;
    let _controller = bed.operator().await;
    let server = bed.server_named("one").await;
    server.wait_ready().await;
    bed.apply(&key("shop", "orders")).await;
    wait_state(&bed, "orders", KeyState::Enabled).await;
    let (started, mut oldest) = (Instant::now(), 0.0_f64);
    while started.elapsed() < Duration::from_secs(40) {
        oldest = oldest.max(age(&server).await);
        assert_eq!(unready(&server).await, "");
        sleep(Duration::from_millis(200)).await;
    }
    println!("the oldest proof without bookmarks was {oldest} s old");
    assert!(oldest < 14.0, "{oldest}");
    assert_eq!(keys(&server).await, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_put_back_is_believed_whatever_the_numbers_say() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let _controller = bed.operator().await;
    let server = bed.server_named("one").await;
    server.wait_ready().await;
    bed.apply(&key("shop", "early")).await;
    wait_state(&bed, "early", KeyState::Enabled).await;
    let backup = bed.cluster.dir().join("backup");
    bed.cluster.etcd().snapshot(&backup).await.unwrap();

    // The numbers went back, under a replica that runs.
    bed.apply(&key("shop", "lost")).await;
    wait_state(&bed, "lost", KeyState::Enabled).await;
    grow(&bed, "a", 300).await;
    eventually("the replica has both", || async {
        keys(&server).await == Some(2)
    })
    .await;
    bed.cluster.etcd().restore(&backup).await.unwrap();
    eventually(
        "the replica has forgotten the key that is no more",
        || async { keys(&server).await == Some(1) },
    )
    .await;
    server.wait_ready().await;
    assert!(
        server
            .log()
            .contains("forgetting everything and starting over"),
        "{}",
        server.log()
    );

    // They went back, and on beyond what the replica knew, while it was stopped.
    grow(&bed, "b", 200).await;
    eventually("the replica has followed", || async {
        applied(&bed, "one").await >= written(&bed, "early").await + 150
    })
    .await;
    let before = applied(&bed, "one").await;
    server.pause().await;
    bed.cluster.etcd().restore(&backup).await.unwrap();
    bed.apply(&key("shop", "late")).await;
    wait_state(&bed, "late", KeyState::Enabled).await;
    assert!(
        written(&bed, "late").await < before,
        "the test needs a lower number"
    );
    grow(&bed, "c", 500).await;
    server.resume().await;
    eventually("the replica has what it could not see", || async {
        keys(&server).await == Some(2)
    })
    .await;
    server.wait_ready().await;
}
