//! The API server is away, hangs, forgets, or refuses; dependencies come late.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use keystead::api::KeyAlias;
use keystead_cluster::{AuditEvent, Component, Options};
use kube::Api;
use kube::api::DeleteParams;

use crate::support::{
    Bed, OPERATOR_USER, Operator, eventually, eventually_within, key, plain, plains,
};

const ALIAS: &str = "---\napiVersion: keystead.dev/v1alpha1\nkind: KeyAlias\n\
    metadata: {name: current, namespace: shop}\nspec: {keyRef: {name: orders}}\n";

fn open_files(operator: &Operator) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", operator.pid()))
        .unwrap()
        .count()
}

/// The Events of the namespace, one in a line, the newest last.
async fn events(bed: &Bed) -> String {
    let by_time = "--sort-by=.metadata.creationTimestamp";
    let get = ["get", "events", "-n", "shop", "--no-headers", by_time];
    bed.kubectl(&get).await.expect_ok()
}

/// Watches a process for that long: alive, and its descriptors few.
async fn stays_alive(operator: &Operator, time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        let alive = operator.http("/livez").await;
        assert_eq!(alive.map(|(code, _)| code), Some(200), "/livez");
        let files = open_files(operator);
        assert!(files < 200, "{files} open descriptors");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Case B07 (2), scaled, and (3): killed five times and hanging once, with work left to do each time.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_process_survives_every_outage_of_the_api_server() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let mut operator = bed.operator().await;
    let pid = operator.pid();
    bed.apply(&plains("shop", 100, None)).await;
    bed.wait_all_ready("shop", 100).await;
    let values = bed.passwords("shop").await;
    let before = events(&bed).await.lines().count();
    let api_server = || bed.cluster.component(Component::ApiServer);
    let outages = [17, 3, 3, 3, 3];
    for (turn, seconds) in outages.into_iter().enumerate() {
        let name = format!("during-{turn}");
        bed.apply(
            &[
                plain("shop", &name, None, "x"),
                plain("shop", &format!("s{turn}"), None, &name),
            ]
            .concat(),
        )
        .await;
        api_server().kill().unwrap();
        stays_alive(&operator, Duration::from_secs(seconds)).await;
        api_server().start().await.unwrap();
        let back = Instant::now();
        converged(&bed, 101 + turn, back).await;
        assert_eq!(
            bed.value("shop", &format!("s{turn}"), "literal").await,
            name.as_bytes()
        );
    }
    // Hanging: connections stay open and nothing is answered.
    bed.apply(&plain("shop", "hanging", None, "x")).await;
    api_server().pause().unwrap();
    stays_alive(&operator, Duration::from_secs(40)).await;
    api_server().resume().unwrap();
    converged(&bed, 106, Instant::now()).await;
    let changed = bed
        .kubectl(&["delete", "secret", "s50", "-n", "shop"])
        .await;
    changed.expect_ok();
    eventually_within(Duration::from_secs(30), "watches work again", || async {
        bed.data("shop", "s50").await.is_some()
    })
    .await;
    assert!(operator.is_running());
    assert_eq!(operator.pid(), pid);
    let now = bed.passwords("shop").await;
    assert!(
        values
            .iter()
            .all(|(name, value)| now.get(name) == Some(value))
    );
    bed.assert_truth_is_exact(&["shop"]).await;
    // One for each new secret, and one for the Secret that was deleted; outages are no news of the secrets.
    let told = events(&bed).await;
    let new = told.lines().count() - before;
    assert!(new <= 6 + 1 + 8, "{new} Events are new:\n{told}");
}

/// At most 30 s after the API server is back.
async fn converged(bed: &Bed, count: usize, back: Instant) {
    eventually_within(Duration::from_secs(30), "all objects converge", || async {
        bed.managed_secrets("shop").await.len() == count && bed.not_ready("shop").await.is_empty()
    })
    .await;
    println!(
        "{count} objects converged {:?} after the API server was back",
        back.elapsed()
    );
}

/// Case B07 (1): without a watch cache every watch is etcd's own, and gets 410 once its revision is compacted.
#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_revision_is_survived_with_and_without_a_watch_cache() {
    for watch_cache in [false, true] {
        let options = Options {
            watch_cache,
            ..Options::default()
        };
        let bed = Bed::start_with(options, &[]).await;
        bed.namespace("shop").await;
        let operator = bed.operator().await;
        bed.apply(&plains("shop", 10, None)).await;
        bed.wait_all_ready("shop", 10).await;
        let values = bed.passwords("shop").await;
        // While the operator sees nothing, its revisions are forgotten and its watches cut.
        operator.pause().await;
        bed.cluster.component(Component::ApiServer).kill().unwrap();
        bed.cluster
            .component(Component::ApiServer)
            .start()
            .await
            .unwrap();
        bed.apply(&plain("shop", "s3", None, "edited")).await;
        bed.apply(&plain("shop", "new", None, "x")).await;
        bed.kubectl(&["delete", "managedsecret", "s4", "-n", "shop"])
            .await
            .expect_ok();
        bed.kubectl(&["delete", "secret", "s5", "-n", "shop"])
            .await
            .expect_ok();
        bed.cluster.etcd().compact().await.unwrap();
        operator.resume().await;
        eventually("s5 is back", || async {
            bed.data("shop", "s5").await.is_some()
        })
        .await;
        bed.wait_all_ready("shop", 10).await;
        bed.wait_parked("shop", "s4", true).await;
        assert_eq!(bed.value("shop", "s3", "literal").await, b"edited");
        let now = bed.passwords("shop").await;
        assert!(
            values
                .iter()
                .all(|(name, value)| name == "s4" || now.get(name) == Some(value))
        );
    }
}

/// Case B07 (1): what was deleted while a watch was cut is in no event of the next one, and the leader is still the same, so that
/// nothing else has everything looked at again.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_while_the_watches_were_cut_is_missed_by_nobody() {
    let options = Options {
        watch_cache: false,
        ..Options::default()
    };
    let bed = Bed::start_with(options, &[]).await;
    bed.namespace("shop").await;
    let proxy = bed.proxy().await;
    let operator = bed.operator_by_way_of(&proxy).await;
    let world = [
        key("shop", "orders"),
        ALIAS.to_owned(),
        plains("shop", 2, None),
        plain("shop", "s2", Some("orders"), "x")
            .replace("{name: orders}", "{kind: KeyAlias, name: current}"),
    ];
    bed.apply(&world.concat()).await;
    bed.wait_all_ready("shop", 3).await;
    let values = bed.passwords("shop").await;
    let secrets: Api<Secret> = Api::namespaced(bed.client.clone(), "shop");
    let aliases: Api<KeyAlias> = Api::namespaced(bed.client.clone(), "shop");
    let now = DeleteParams::default();
    // Late news of what was written, such as the Leases, may come before the next cut.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = operator.log().len();
        operator.pause().await;
        proxy.cut();
        secrets.delete("s1", &now).await.unwrap();
        aliases.delete("current", &now).await.unwrap();
        bed.cluster.etcd().compact().await.unwrap();
        operator.resume().await;
        eventually("s1 is back", || async {
            bed.data("shop", "s1").await.is_some()
        })
        .await;
        bed.wait_not_ready("shop", "s2", "KeyNotFound").await;
        bed.apply(ALIAS).await;
        bed.wait_all_ready("shop", 3).await;
        assert_eq!(bed.passwords("shop").await, values);
        if !operator.log()[before..].contains("leading no longer") {
            return;
        }
    }
    panic!("the leader could never keep its Lease");
}

fn by_operator(events: &[AuditEvent], namespace: &str) -> usize {
    let ours = |e: &&AuditEvent| {
        e.is_complete() && e.user == OPERATOR_USER && e.namespace == namespace && e.verb != "watch"
    };
    events.iter().filter(ours).count()
}

/// Case B05: what is waited for comes late, and is noticed at once; the waiting itself costs next to nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_dependency_is_noticed_at_once_and_waiting_is_cheap() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    bed.namespace("tight").await;
    let _operator = bed.operator().await;
    bed.apply("{apiVersion: v1, kind: ResourceQuota, metadata: {name: q, namespace: tight}, spec: {hard: {secrets: 1}}}").await;
    eventually("the quota counts", || async {
        let shown = bed
            .kubectl(&[
                "get",
                "quota",
                "q",
                "-n",
                "tight",
                "-o",
                "jsonpath={.status.hard}",
            ])
            .await;
        shown.out.contains("secrets")
    })
    .await;
    bed.apply(
        &[
            plains("shop", 5, Some("late")),
            plain("tight", "one", None, "x"),
        ]
        .concat(),
    )
    .await;
    bed.wait_not_ready("shop", "s0", "KeyNotFound").await;
    bed.wait_ready("tight", "one").await;
    bed.apply(&plain("tight", "two", None, "x")).await;
    let said = bed.wait_not_ready("tight", "two", "Forbidden").await;
    assert!(said.contains("quota"), "{said}");
    let mark = bed.cluster.audit_mark();
    tokio::time::sleep(Duration::from_secs(30)).await;
    let waiting = bed.cluster.audit_since(mark).unwrap();
    assert!(
        by_operator(&waiting, "shop") <= 5,
        "{}",
        by_operator(&waiting, "shop")
    );
    assert!(
        by_operator(&waiting, "tight") <= 10,
        "{}",
        by_operator(&waiting, "tight")
    );

    bed.apply(&key("shop", "late")).await;
    let applied = Instant::now();
    eventually_within(
        Duration::from_secs(5),
        "the secrets are there within 5 s of their key",
        || async { bed.not_ready("shop").await.is_empty() },
    )
    .await;
    println!("Ready {:?} after the key was applied", applied.elapsed());
    let raise = r#"{"spec":{"hard":{"secrets":"5"}}}"#;
    bed.kubectl(&[
        "patch",
        "quota",
        "q",
        "-n",
        "tight",
        "--type=merge",
        "-p",
        raise,
    ])
    .await
    .expect_ok();
    // A quota is not watched; the longest wait between two attempts is 75 s.
    eventually_within(
        Duration::from_secs(90),
        "the quota's victim is Ready",
        || async { bed.not_ready("tight").await.is_empty() },
    )
    .await;
    bed.wait_all_ready("tight", 2).await;
}
