//! Other people's Secrets cost nothing.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use keystead_cluster::Component;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::sleep;

use crate::idle::{all_ready, mixed};
use crate::support::{Bed, eventually, eventually_within};

const OPERATOR: &str = "system:serviceaccount:keystead-system:keystead-controller";
const SECRETS: usize = 200;
const FOREIGN: usize = 1_000;
const FOREIGN_BYTES: usize = 150 * 1024;

/// Secrets as Helm keeps its releases in.
async fn create_foreign(client: &Client) {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "foreign");
    let create = |index: usize| {
        let secrets = secrets.clone();
        async move {
            let secret = Secret {
                metadata: ObjectMeta {
                    name: Some(format!("sh.helm.release.v1.app{index}.v1")),
                    labels: Some([("owner".to_owned(), "helm".to_owned())].into()),
                    ..ObjectMeta::default()
                },
                type_: Some("helm.sh/release.v1".to_owned()),
                data: Some([("release".to_owned(), ByteString(vec![b'x'; FOREIGN_BYTES]))].into()),
                ..Secret::default()
            };
            secrets
                .create(&PostParams::default(), &secret)
                .await
                .map(drop)
        }
    };
    let all = stream::iter(0..FOREIGN).map(create).buffer_unordered(8);
    all.try_collect::<Vec<()>>().await.unwrap();
}

/// Changes of foreign Secrets, as fast as they go.
async fn churn(client: &Client) {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "foreign");
    let touch = |index: usize| {
        let secrets = secrets.clone();
        async move {
            let name = format!("sh.helm.release.v1.app{}.v1", index % FOREIGN);
            let patch = json!({"metadata": {"labels": {"touched": index.to_string()}}});
            secrets
                .patch_metadata(&name, &PatchParams::default(), &Patch::Merge(patch))
                .await
                .map(drop)
        }
    };
    let all = stream::iter(0..500).map(touch).buffer_unordered(8);
    all.try_collect::<Vec<()>>().await.unwrap();
}

/// Bytes that the API server has answered to cluster-wide lists of Secrets.
async fn listed_bytes(bed: &Bed) -> f64 {
    let metrics = bed.kubectl(&["get", "--raw", "/metrics"]).await.expect_ok();
    let sums = metrics.lines().filter(|line| {
        line.starts_with("apiserver_response_sizes_sum")
            && line.contains("resource=\"secrets\"")
            && line.contains("scope=\"cluster\"")
            && line.contains("verb=\"LIST\"")
    });
    sums.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

/// A life of the operator: start, lists that are forced again, changes. Its peak.
async fn life(bed: &Bed, foreign: bool) -> u64 {
    let operator = bed.operator_named("one", &[]).await;
    operator.wait_ready().await;
    eventually("it leads", || async {
        let metrics = operator.http("/metrics").await;
        metrics.is_some_and(|(_, text)| text.lines().any(|line| line == "keystead_leader 1"))
    })
    .await;
    sleep(Duration::from_secs(5)).await;
    for _ in 0..3 {
        // Watches end, their revision is gone, and everything is listed again.
        let mark = bed.cluster.audit_mark();
        if foreign {
            churn(&bed.client).await;
        }
        let server = bed.cluster.component(Component::ApiServer);
        server.kill().unwrap();
        bed.cluster.etcd().compact().await.unwrap();
        server.start().await.unwrap();
        // How soon is proved elsewhere; here it must happen at all.
        let patience = Duration::from_secs(180);
        eventually_within(patience, "Secrets are listed again", || async {
            let events = bed.cluster.audit_since(mark).unwrap();
            events.iter().any(|event| {
                event.user == OPERATOR
                    && (event.verb.as_str(), event.resource.as_str()) == ("list", "secrets")
                    && event.namespace.is_empty()
                    && event.is_complete()
            })
        })
        .await;
        sleep(Duration::from_secs(2)).await;
    }
    if foreign {
        churn(&bed.client).await;
    }
    let peak = operator.peak_memory();
    operator.stop().await;
    peak
}

/// Case B09.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_foreign_secrets_do_not_cost_memory() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.apply(&mixed(SECRETS)).await;
    all_ready(&bed, SECRETS).await;
    operator.stop().await;
    let without = life(&bed, false).await;

    bed.namespace("foreign").await;
    create_foreign(&bed.client).await;
    // What the API server sends for one start: far less than the bodies.
    let before = listed_bytes(&bed).await;
    let operator = bed.operator().await;
    eventually("the operator has listed", || async {
        listed_bytes(&bed).await > before
    })
    .await;
    sleep(Duration::from_secs(2)).await;
    let sent = listed_bytes(&bed).await - before;
    operator.stop().await;
    let bodies = f64::from(u32::try_from(FOREIGN * FOREIGN_BYTES).unwrap());
    assert!(
        sent < bodies / 20.0,
        "{sent} bytes were listed, the bodies are {bodies}"
    );

    let mark = bed.cluster.audit_mark();
    let with = life(&bed, true).await;
    println!("peak without {without} KiB, with {with} KiB");
    assert!(
        with * 10 <= without * 13,
        "without foreign Secrets {without} KiB, with them {with} KiB"
    );

    let events = bed.cluster.audit_since(mark).unwrap();
    let ours = || {
        events
            .iter()
            .filter(|e| e.user == OPERATOR && e.resource == "secrets" && e.is_complete())
    };
    let lists: Vec<_> = ours().filter(|e| e.verb == "list").collect();
    assert!(lists.iter().any(|list| list.namespace.is_empty()));
    for list in lists {
        assert!(
            list.request_uri.contains("limit="),
            "in pages: {}",
            list.request_uri
        );
    }
    let read: Vec<_> = ours()
        .filter(|e| e.verb == "get" && e.namespace == "foreign")
        .collect();
    assert!(
        read.is_empty(),
        "bodies of foreign Secrets were read: {}",
        read.len()
    );
}
