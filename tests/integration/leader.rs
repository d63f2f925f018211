//! Leader election: real candidates, a real Lease, a real API server.

mod replica;

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use keystead::leader::{self, Config, Leadership, LeadershipLost};
use keystead_cluster::{Component, ControlPlane};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use self::replica::{NAMESPACE, PATIENCE, Replica, config};
use crate::support::{own_control_plane, shared_control_plane};

fn leases(control_plane: &ControlPlane) -> Api<Lease> {
    Api::namespaced(control_plane.client().unwrap(), NAMESPACE)
}

async fn spec(leases: &Api<Lease>, name: &str) -> LeaseSpec {
    leases.get(name).await.unwrap().spec.unwrap()
}

#[tokio::test]
async fn a_killed_leader_is_succeeded_when_its_lease_has_expired() {
    let control_plane = shared_control_plane().await;
    let client = control_plane.client().unwrap();
    let (a, b) = (config("killed", "a"), config("killed", "b"));
    let mut first = Replica::start(a.clone(), client.clone());
    first.leads().await;
    let mut second = Replica::start(b.clone(), client);
    // A leader that renews stays.
    assert!(second.is_quiet_for(a.lease_duration * 2).await);

    let leases = leases(&control_plane);
    let before = spec(&leases, "killed").await;
    assert_eq!(before.holder_identity.as_deref(), Some("a"));
    assert_eq!(before.lease_duration_seconds, Some(4));
    first.kill().await;
    let killed = Instant::now();
    second.leads().await;
    // The last renewal was at most one retry period (and a request) before the kill.
    assert!(
        killed.elapsed() + a.retry_period * 4 > a.lease_duration,
        "{:?}",
        killed.elapsed()
    );

    let after = spec(&leases, "killed").await;
    assert_eq!(after.holder_identity.as_deref(), Some("b"));
    assert_eq!(after.lease_transitions, Some(1));
    assert!(after.acquire_time > before.acquire_time);
    second.stop().await;
}

#[tokio::test]
async fn a_leader_that_stops_in_order_is_succeeded_without_waiting_for_expiry() {
    let control_plane = shared_control_plane().await;
    let client = control_plane.client().unwrap();
    // A Lease that nobody would wait for.
    let long = |identity| Config {
        lease_duration: Duration::from_secs(3600),
        ..config("released", identity)
    };
    let mut first = Replica::start(long("a"), client.clone());
    let leadership = first.leads().await;
    let mut second = Replica::start(long("b"), client);
    assert!(second.is_quiet_for(Duration::from_secs(2)).await);

    // Its work ignores the request to stop, and is dropped after the grace.
    let stopping = tokio::spawn(leadership.stopping());
    first.stop().await;
    timeout(PATIENCE, stopping)
        .await
        .expect("must be told to stop")
        .unwrap();
    assert_eq!(leadership.check(), Err(LeadershipLost));
    second.leads().await;
    second.stop().await;

    let lease = spec(&leases(&control_plane), "released").await;
    assert_eq!(lease.holder_identity.as_deref(), Some(""));
    assert_eq!(lease.lease_duration_seconds, Some(1));
}

#[tokio::test]
async fn work_that_ends_when_it_is_asked_to_returns_its_output() {
    let control_plane = shared_control_plane().await;
    let client = control_plane.client().unwrap();
    let (asked, wait) = oneshot::channel::<()>();
    let mut asked = Some(asked);
    let lead = |leadership: Leadership| {
        let asked = asked.take();
        async move {
            drop(asked);
            leadership.stopping().await;
            // Still the leader: the last writes may be made.
            leadership.check()
        }
    };
    let shutdown = async { drop(wait.await) };
    let run = leader::run(config("asked", "a"), client, shutdown, lead);
    let ended = timeout(PATIENCE, run).await.expect("must end").unwrap();
    assert_eq!(ended, Some(Ok(())));
    let lease = spec(&leases(&control_plane), "asked").await;
    assert_eq!(lease.holder_identity.as_deref(), Some(""));
}

#[tokio::test]
async fn an_outage_of_the_api_server_makes_the_leader_a_candidate_that_leads_again() {
    let control_plane = own_control_plane().await;
    let config = config("outage", "a");
    let mut replica = Replica::start(config.clone(), control_plane.client().unwrap());
    let leases = leases(&control_plane);
    let mut leadership = replica.leads().await;
    for _ in 0..3 {
        control_plane
            .component(Component::ApiServer)
            .kill()
            .unwrap();
        replica.dropped().await;
        assert_eq!(leadership.check(), Err(LeadershipLost));
        sleep(config.lease_duration).await;
        control_plane
            .component(Component::ApiServer)
            .start()
            .await
            .unwrap();
        // The same task, not a new one: `run` has not returned.
        leadership = replica.leads().await;
        assert_eq!(leadership.check(), Ok(()));
    }
    // A hanging API server is an outage, too.
    control_plane
        .component(Component::ApiServer)
        .pause()
        .unwrap();
    replica.dropped().await;
    control_plane
        .component(Component::ApiServer)
        .resume()
        .unwrap();
    leadership = replica.leads().await;
    assert_eq!(leadership.check(), Ok(()));
    // The holder's name has never changed.
    assert_eq!(spec(&leases, "outage").await.lease_transitions, Some(0));
    replica.stop().await;
}

#[tokio::test]
async fn a_short_outage_leaves_the_leader_in_office() {
    let control_plane = own_control_plane().await;
    // The real durations: 10 s to renew.
    let config = Config::new(NAMESPACE, "short-outage", "a");
    let mut replica = Replica::start(config, control_plane.client().unwrap());
    let leadership = replica.leads().await;
    control_plane
        .component(Component::ApiServer)
        .pause()
        .unwrap();
    assert!(replica.is_quiet_for(Duration::from_secs(4)).await);
    control_plane
        .component(Component::ApiServer)
        .resume()
        .unwrap();
    assert!(replica.is_quiet_for(Duration::from_secs(10)).await);
    assert_eq!(leadership.check(), Ok(()));
    replica.stop().await;
}

/// A leader of one thread, which blocks until `resume` says otherwise: nothing of it runs, neither
/// its renewals nor its timers, as under SIGSTOP. Returns what `check` said when it ran again, and
/// what the API server said to a write that it had prepared before.
async fn blocked_leader(
    client: Client,
    config: Config,
    leading: oneshot::Sender<()>,
    resume: std::sync::mpsc::Receiver<()>,
) -> (Result<(), LeadershipLost>, kube::Result<Lease>) {
    let leases: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
    let name = config.name.clone();
    let (done, is_done) = oneshot::channel();
    let mut once = Some((leading, resume, done));
    let lead = |leadership: Leadership| {
        let (leading, resume, done) = once.take().expect("must lead only once");
        let (leases, name) = (leases.clone(), name.clone());
        async move {
            let prepared = leases.get(&name).await.unwrap();
            leading.send(()).unwrap();
            resume.recv().unwrap();
            let checked = leadership.check();
            // On a task of its own, since this one is dropped as soon as the renewal runs.
            let write = tokio::spawn(async move {
                leases
                    .replace(&name, &PostParams::default(), &prepared)
                    .await
            });
            assert!(done.send((checked, write)).is_ok());
            pending::<Infallible>().await
        }
    };
    let (checked, write) = tokio::select! {
        ended = leader::run(config, client, pending(), lead) => panic!("{ended:?}"),
        done = is_done => done.unwrap(),
    };
    (checked, write.await.unwrap())
}

#[tokio::test]
async fn a_leader_that_was_paused_longer_than_its_lease_can_no_longer_write() {
    let control_plane = shared_control_plane().await;
    let (leading, is_leading) = oneshot::channel();
    let (resume, resumed) = std::sync::mpsc::channel();
    let for_thread = Arc::clone(&control_plane);
    let paused = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let client = for_thread.client().unwrap();
            blocked_leader(client, config("paused", "a"), leading, resumed).await
        })
    });
    timeout(PATIENCE, is_leading)
        .await
        .expect("must lead")
        .unwrap();
    let mut other = Replica::start(config("paused", "b"), control_plane.client().unwrap());
    other.leads().await;
    resume.send(()).unwrap();
    let joined = tokio::task::spawn_blocking(move || paused.join().unwrap());
    let (checked, written) = timeout(PATIENCE, joined).await.expect("must end").unwrap();
    assert_eq!(checked, Err(LeadershipLost));
    let refusal = written.expect_err("the stale write was accepted");
    assert!(
        matches!(&refusal, kube::Error::Api(status) if status.is_conflict()),
        "{refusal}"
    );
    let lease = spec(&leases(&control_plane), "paused").await;
    assert_eq!(lease.holder_identity.as_deref(), Some("b"));
    other.stop().await;
}

#[tokio::test]
async fn a_restarted_process_succeeds_its_earlier_life_at_once_and_keeps_out_a_twin() {
    let control_plane = shared_control_plane().await;
    let client = control_plane.client().unwrap();
    let long = Config {
        lease_duration: Duration::from_secs(3600),
        ..config("twins", "a")
    };
    let mut first = Replica::start(long.clone(), client.clone());
    first.leads().await;
    first.kill().await;
    let mut second = Replica::start(long.clone(), client.clone());
    let second_leadership = second.leads().await;
    // A twin that is started beside the living one takes over, but only one of them leads.
    let mut twin = Replica::start(long, client);
    let twin_leadership = twin.leads().await;
    second.dropped().await;
    assert_eq!(second_leadership.check(), Err(LeadershipLost));
    assert!(second.is_quiet_for(Duration::from_secs(3)).await);
    assert_eq!(twin_leadership.check(), Ok(()));
    twin.stop().await;
    second.leads().await;
    second.stop().await;
}

#[tokio::test]
async fn a_leader_whose_lease_is_deleted_or_emptied_by_hand_campaigns_again() {
    let control_plane = shared_control_plane().await;
    let mut replica = Replica::start(config("by-hand", "a"), control_plane.client().unwrap());
    let leases = leases(&control_plane);
    replica.leads().await;
    leases
        .delete("by-hand", &DeleteParams::default())
        .await
        .unwrap();
    replica.dropped().await;
    replica.leads().await;
    let release = json!({"spec": {"holderIdentity": ""}});
    let merge = Patch::Merge(&release);
    leases
        .patch("by-hand", &PatchParams::default(), &merge)
        .await
        .unwrap();
    replica.dropped().await;
    replica.leads().await;
    // A label of somebody else is kept, and changes nothing.
    let label = json!({"metadata": {"labels": {"example.com/team": "platform"}}});
    leases
        .patch("by-hand", &PatchParams::default(), &Patch::Merge(&label))
        .await
        .unwrap();
    assert!(replica.is_quiet_for(Duration::from_secs(3)).await);
    let lease = leases.get("by-hand").await.unwrap();
    assert_eq!(
        lease.metadata.labels.unwrap()["example.com/team"],
        "platform"
    );
    replica.stop().await;
}

#[tokio::test]
async fn a_leader_at_rest_writes_its_lease_once_per_retry_period_and_reads_nothing() {
    let control_plane = own_control_plane().await;
    let config = config("rest", "a");
    let mut replica = Replica::start(config.clone(), control_plane.client().unwrap());
    replica.leads().await;
    sleep(Duration::from_secs(1)).await;
    let mark = control_plane.audit_mark();
    let since = Instant::now();
    assert!(replica.is_quiet_for(Duration::from_secs(8)).await);
    let events = control_plane.audit_since(mark).unwrap();
    let periods = since.elapsed().as_secs_f64() / config.retry_period.as_secs_f64();
    let ours: Vec<_> = events
        .iter()
        .filter(|event| event.is_complete() && event.name == "rest")
        .map(|event| event.verb.as_str())
        .collect();
    assert!(ours.iter().all(|verb| *verb == "update"), "{ours:?}");
    assert!(ours.len() > 4, "{ours:?}");
    // The jitter shortens a period by at most a fifth.
    #[allow(clippy::cast_precision_loss, reason = "a small count")]
    let count = ours.len() as f64;
    assert!(count <= periods / 0.8 + 1.0, "{count} in {periods} periods");
    replica.stop().await;
}
