//! The server: replicas agree on what may be used, and one that cannot know refuses.

mod certificates;
mod history;
mod webhooks;

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use keystead::api::{KeyState, ManagedKey, ManagedKeyStatus};
use kube::{Api, ResourceExt};
use tokio::time::sleep;

use crate::support::{Bed, Operator, SYSTEM, eventually, eventually_within, key};

const SERVER_USER: &str = "system:serviceaccount:keystead-system:keystead-server";
/// How old a proof may be.
const FRESH: Duration = Duration::from_secs(15);

async fn status(bed: &Bed, name: &str) -> ManagedKeyStatus {
    let keys: Api<ManagedKey> = Api::namespaced(bed.client.clone(), "shop");
    keys.get(name).await.unwrap().status.unwrap_or_default()
}

async fn wait_state(bed: &Bed, name: &str, state: KeyState) {
    eventually(&format!("{name} is {state:?}"), || async {
        status(bed, name).await.state == Some(state)
    })
    .await;
}

fn enabled(name: &str, enabled: bool) -> String {
    key("shop", name).replace("spec: {}", &format!("spec: {{enabled: {enabled}}}"))
}

/// The state of the truth that a replica says it has applied.
async fn applied(bed: &Bed, replica: &str) -> u64 {
    let leases: Api<Lease> = Api::namespaced(bed.client.clone(), SYSTEM);
    let lease = leases
        .get(&format!("keystead-server-{replica}"))
        .await
        .unwrap();
    let applied = &lease.annotations()["keystead.dev/applied-resource-version"];
    applied.parse().unwrap()
}

/// The state in which the truth about a key was last written.
async fn written(bed: &Bed, name: &str) -> u64 {
    let truth = bed.material("shop", name).await;
    truth.resource_version().unwrap().parse().unwrap()
}

/// What /readyz says; "" if it is ready.
async fn unready(server: &Operator) -> String {
    match server.http("/readyz").await {
        Some((200, _)) => String::new(),
        Some((503, reasons)) => reasons,
        other => panic!("/readyz: {other:?}"),
    }
}

/// How old the replica's newest proof is, in seconds.
async fn age(server: &Operator) -> f64 {
    let (_, metrics) = server.http("/metrics").await.expect("metrics");
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("keystead_key_state_age_seconds "));
    line.expect("the metric").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_said_to_be_disabled_only_when_every_live_replica_refuses_it() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let one = bed.server_named("one").await;
    eventually("the server says what is missing", || async {
        let (_, reasons) = one.http("/readyz").await.unwrap_or_default();
        reasons.contains("installation: ConfigMap keystead-installation is not there")
    })
    .await;
    let _controller = bed.operator().await;
    let two = bed.server_named("two").await;
    one.wait_ready().await;
    two.wait_ready().await;
    for name in ["first", "second"] {
        bed.apply(&key("shop", name)).await;
        wait_state(&bed, name, KeyState::Enabled).await;
    }

    // Both are well: they agree within the bound.
    let asked = Instant::now();
    bed.apply(&enabled("first", false)).await;
    eventually_within(FRESH, "all agree", || async {
        status(&bed, "first").await.state == Some(KeyState::Disabled)
    })
    .await;
    println!(
        "disabled on both replicas {:?} after it was asked",
        asked.elapsed()
    );
    let disabled = written(&bed, "first").await;
    for replica in ["one", "two"] {
        assert!(applied(&bed, replica).await >= disabled, "{replica}");
    }

    // One hangs: its word is waited for, as long as it could still believe itself fresh.
    two.pause().await;
    let paused = Instant::now();
    bed.apply(&enabled("second", false)).await;
    eventually("the wait for the replica is said", || async {
        let ready = status(&bed, "second").await.conditions;
        ready
            .iter()
            .any(|c| c.reason == "Waiting" && c.message.contains("keystead-server-two"))
    })
    .await;
    assert_eq!(status(&bed, "second").await.state, Some(KeyState::Enabled));
    eventually_within(
        Duration::from_secs(40),
        "nobody waits for it for ever",
        || async { status(&bed, "second").await.state == Some(KeyState::Disabled) },
    )
    .await;
    assert!(paused.elapsed() > FRESH, "{:?}", paused.elapsed());
    assert!(applied(&bed, "two").await < written(&bed, "second").await);

    // It runs again, and the first thing that it does is refuse; then it catches up.
    two.resume().await;
    let refusal = unready(&two).await;
    assert!(
        refusal.contains("freshness: the state that this replica knows was last confirmed"),
        "{refusal}"
    );
    two.wait_ready().await;
    eventually("it has caught up", || async {
        applied(&bed, "two").await >= written(&bed, "second").await
    })
    .await;

    // Who leaves is not waited for.
    two.stop().await;
    bed.apply(&enabled("second", true)).await;
    wait_state(&bed, "second", KeyState::Enabled).await;
    bed.apply(&enabled("second", false)).await;
    eventually_within(FRESH, "the other one agrees", || async {
        status(&bed, "second").await.state == Some(KeyState::Disabled)
    })
    .await;
}

/// The age in seconds of the oldest proof that is seen during half a minute in which the replica is ready all the time.
async fn oldest_at_rest(server: &Operator) -> f64 {
    for _ in 0..4 {
        let (mut oldest, mut ready) = (0.0_f64, true);
        for _ in 0..150 {
            oldest = oldest.max(age(server).await);
            ready &= unready(server).await.is_empty();
            sleep(Duration::from_millis(200)).await;
        }
        if ready && oldest < 10.0 {
            return oldest;
        }
        println!("not at rest: a proof was {oldest} s old, ready: {ready}");
    }
    panic!("the proofs get too old");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_connections_go_silent_refuses_in_time_and_comes_back() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let _controller = bed.operator().await;
    let proxy = bed.proxy().await;
    let server = bed.server_by_way_of("one", &proxy).await;
    server.wait_ready().await;
    bed.apply(&key("shop", "orders")).await;
    wait_state(&bed, "orders", KeyState::Enabled).await;

    // At rest the proof never gets old, and nothing but the Lease is written. A machine that stalls is not at rest.
    let mark = bed.cluster.audit_mark();
    let oldest = oldest_at_rest(&server).await;
    println!("the oldest proof at rest was {oldest} s old");
    let writes = bed.cluster.writes_since(mark).unwrap();
    let ours: Vec<_> = writes
        .iter()
        .filter(|event| event.user == SERVER_USER)
        .collect();
    assert!(!ours.is_empty());
    assert!(
        ours.iter().all(|event| event.resource == "leases"),
        "{ours:?}"
    );

    // Open connections, and silence.
    proxy.set_silent(true);
    let cut = Instant::now();
    loop {
        // What was asked after the bound must be refused, however long the answer takes.
        let asked = cut.elapsed();
        if unready(&server).await.contains("freshness") {
            break;
        }
        assert!(asked < FRESH, "ready {asked:?} after the last proof");
        sleep(Duration::from_millis(100)).await;
    }
    println!(
        "refused {:?} after the connections went silent",
        cut.elapsed()
    );
    // Its last proof or its last Lease is too old by now, whichever was the older one when the silence began.
    let refusal = unready(&server).await;
    let proof = refusal.contains("was last confirmed") && age(&server).await > FRESH.as_secs_f64();
    let lease = refusal.contains("this replica's Lease was not written lately");
    assert!(proof || lease, "{refusal}");
    bed.apply(&enabled("orders", false)).await;
    sleep(Duration::from_secs(5)).await;
    assert!(unready(&server).await.contains("freshness"));

    proxy.set_silent(false);
    let back = Instant::now();
    eventually("it is back", || async { unready(&server).await.is_empty() }).await;
    println!("ready {:?} after the connections were back", back.elapsed());
    eventually("it knows what it missed", || async {
        applied(&bed, "one").await >= written(&bed, "orders").await
    })
    .await;
    wait_state(&bed, "orders", KeyState::Disabled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_has_the_rights_that_it_needs_and_no_others() {
    let bed = Bed::start().await;
    let controller = bed.operator().await;
    let may = async |question: &str| {
        let mut args = vec!["auth", "can-i", "--as", SERVER_USER, "-n", SYSTEM];
        args.extend(question.split(' '));
        bed.kubectl(&args).await.out.trim() == "yes"
    };
    for question in [
        "watch keymaterials.keystead.dev",
        "get configmaps/keystead-installation",
        "get secrets/keystead-root",
        "get secrets/keystead-root-0123456789abcdef",
        "watch secrets",
        "watch namespaces",
        "create subjectaccessreviews.authorization.k8s.io",
        "watch managedsecrets.keystead.dev -A",
        "get pods -A",
        "patch pods --subresource=status -A",
    ] {
        assert!(may(question).await, "{question}");
    }
    for question in [
        "create keymaterials.keystead.dev",
        "update keymaterials.keystead.dev",
        "delete keymaterials.keystead.dev",
        "list secrets -A",
        "create secrets",
        "update secrets/keystead-server-tls",
        "update secrets/keystead-root",
        "get configmaps/other",
        "list leases",
        "delete leases",
        "list managedkeys.keystead.dev -A",
        "patch managedsecrets.keystead.dev -A",
        "patch managedsecrets.keystead.dev --subresource=status -A",
        "patch pods -A",
        "delete pods -A",
        "list pods -A",
        "get configmaps/keystead-ca",
        "get secrets -A",
        "patch validatingwebhookconfigurations/keystead-server",
        "patch mutatingwebhookconfigurations/keystead-server",
    ] {
        assert!(!may(question).await, "{question}");
    }
    // The leader's Lease is out of its reach, though it may update Leases. Meanwhile the leader renews it not.
    controller.pause().await;
    let args = [
        "get",
        "lease",
        "keystead-controller",
        "-n",
        SYSTEM,
        "-o",
        "json",
    ];
    let lease = bed.kubectl(&args).await.expect_ok();
    let stolen = bed
        .kubectl_with(&["replace", "--as", SERVER_USER, "-f", "-"], &lease)
        .await;
    let refused = stolen.expect_refused();
    assert!(
        refused.contains("writes only the Lease of its own name"),
        "{refused}"
    );
}
