//! The control plane does what the tests of the product rely on.

// The helpers of tests are tests, too.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use k8s_openapi::{
    ByteString,
    api::{
        authentication::v1::SelfSubjectReview,
        core::v1::{ConfigMap, Namespace, Secret},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use keystead_cluster::{Audit, Component, ControlPlane, Options};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{sleep, timeout};

const PROCESSES: [Component; 3] = [
    Component::Etcd,
    Component::ApiServer,
    Component::ControllerManager,
];

async fn started() -> ControlPlane {
    ControlPlane::start(Options::default()).await.unwrap()
}

fn secret(name: &str, value: &str) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(
            "value".to_owned(),
            ByteString(value.into()),
        )])),
        ..Secret::default()
    }
}

fn config_map(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}

async fn create_secret(client: Client, name: &str, value: &str) {
    let secrets: Api<Secret> = Api::default_namespaced(client);
    secrets
        .create(&PostParams::default(), &secret(name, value))
        .await
        .unwrap();
}

fn runs(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

async fn gone(pids: &[u32]) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while pids.iter().any(|pid| runs(*pid)) {
        if Instant::now() > deadline {
            return false;
        }
        sleep(Duration::from_millis(20)).await;
    }
    true
}

#[tokio::test]
async fn users_and_service_accounts_are_who_they_say() {
    let cluster = started().await;
    let who = async |client: Client| {
        let reviews: Api<SelfSubjectReview> = Api::all(client);
        let review = SelfSubjectReview::default();
        let answer = reviews
            .create(&PostParams::default(), &review)
            .await
            .unwrap();
        let user = answer.status.unwrap().user_info.unwrap();
        (user.username.unwrap(), user.groups.unwrap())
    };

    let (name, groups) = who(cluster.client_for("alice", &["shop", "auditors"]).unwrap()).await;
    assert_eq!(name, "alice");
    assert!(groups.contains(&"shop".to_owned()) && groups.contains(&"auditors".to_owned()));

    let account = cluster
        .client_for_service_account("default", "default")
        .await
        .unwrap();
    assert_eq!(
        who(account).await.0,
        "system:serviceaccount:default:default"
    );

    let stranger = cluster.client_for("alice", &[]).unwrap();
    let secrets: Api<Secret> = Api::default_namespaced(stranger);
    assert!(secrets.list(&ListParams::default()).await.is_err());
}

#[tokio::test]
async fn kubeconfigs_work_for_kubectl() {
    let cluster = started().await;
    let kubectl = keystead_cluster::Binaries::ensure_one("kubectl").unwrap();
    let whoami = |kubeconfig: &Path| {
        let output = Command::new(&kubectl)
            .env("KUBECONFIG", kubeconfig)
            .args([
                "auth",
                "whoami",
                "-o",
                "jsonpath={.status.userInfo.username}",
            ])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(whoami(cluster.kubeconfig()), "kubernetes-admin");
    assert_eq!(
        whoami(&cluster.kubeconfig_for("bob", &["g"]).unwrap()),
        "bob"
    );
    let account = cluster
        .kubeconfig_for_service_account("default", "default")
        .await
        .unwrap();
    assert_eq!(whoami(&account), "system:serviceaccount:default:default");
}

#[tokio::test]
async fn an_api_server_killed_and_started_again_serves_the_same_data() {
    let cluster = started().await;
    create_secret(cluster.client().unwrap(), "kept", "value").await;
    let server = cluster.component(Component::ApiServer);
    let before = server.pid().unwrap();
    server.kill().unwrap();
    assert!(!runs(before) && server.pid().is_none());
    assert!(server.check().await.is_err());

    server.start().await.unwrap();
    assert_ne!(server.pid().unwrap(), before);
    let secrets: Api<Secret> = Api::default_namespaced(cluster.client().unwrap());
    assert!(secrets.get_opt("kept").await.unwrap().is_some());
}

#[tokio::test]
async fn every_component_stops_on_request_and_starts_again() {
    let cluster = started().await;
    for component in PROCESSES {
        let handle = cluster.component(component);
        let before = handle.pid().unwrap();
        handle.stop().await.unwrap();
        assert!(!runs(before), "{component}");
        handle.start().await.unwrap();
        assert!(!handle.log().is_empty(), "{component}");
    }
    create_secret(cluster.client().unwrap(), "after", "value").await;
}

#[tokio::test]
async fn a_paused_api_server_answers_nothing_until_it_is_resumed() {
    let cluster = started().await;
    let server = cluster.component(Component::ApiServer);
    server.pause().unwrap();
    let client = cluster.client().unwrap();
    let version = client.apiserver_version();
    assert!(timeout(Duration::from_secs(2), version).await.is_err());
    server.resume().unwrap();
    let answer = timeout(Duration::from_secs(30), client.apiserver_version()).await;
    assert!(answer.unwrap().is_ok());
}

#[tokio::test]
async fn a_paused_component_can_still_be_stopped() {
    let cluster = started().await;
    let manager = cluster.component(Component::ControllerManager);
    let pid = manager.pid().unwrap();
    manager.pause().unwrap();
    manager.stop().await.unwrap();
    assert!(!runs(pid));
}

#[tokio::test]
async fn two_side_by_side_know_nothing_of_each_other() {
    let options = Options {
        controller_manager: false,
        ..Options::default()
    };
    let (one, two) = tokio::join!(
        ControlPlane::start(options.clone()),
        ControlPlane::start(options)
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_ne!(one.url(), two.url());
    create_secret(one.client().unwrap(), "only-here", "value").await;
    let secrets: Api<Secret> = Api::default_namespaced(two.client().unwrap());
    assert!(secrets.get_opt("only-here").await.unwrap().is_none());
}

#[tokio::test]
async fn the_dump_of_etcd_shows_a_secrets_bytes() {
    let cluster = started().await;
    let value = "correct horse battery staple";
    create_secret(cluster.client().unwrap(), "plain", value).await;
    let key = "/registry/secrets/default/plain".to_owned();
    let pairs = cluster.etcd().dump().await.unwrap();
    let (_, stored) = pairs
        .iter()
        .find(|(found, _)| *found == key.as_bytes())
        .unwrap();
    assert!(
        stored
            .windows(value.len())
            .any(|window| window == value.as_bytes())
    );
    assert_eq!(
        cluster
            .etcd()
            .keys_containing(value.as_bytes())
            .await
            .unwrap(),
        [key]
    );
    assert!(
        cluster
            .etcd()
            .keys_containing(b"never written")
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn the_dump_of_etcd_is_complete_over_several_pages() {
    let cluster = started().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client().unwrap());
    for index in 0..450 {
        maps.create(&PostParams::default(), &config_map(&format!("map-{index}")))
            .await
            .unwrap();
    }
    let pairs = cluster.etcd().dump().await.unwrap();
    let prefix = b"/registry/configmaps/default/map-";
    assert_eq!(
        pairs
            .iter()
            .filter(|(key, _)| key.starts_with(prefix))
            .count(),
        450
    );
    assert!(pairs.is_sorted_by(|(one, _), (two, _)| one < two));
}

#[tokio::test]
async fn deleted_bytes_leave_the_disk_only_after_compaction_and_defragmentation() {
    let cluster = started().await;
    let value = "a value that is deleted";
    let secrets: Api<Secret> = Api::default_namespaced(cluster.client().unwrap());
    create_secret(cluster.client().unwrap(), "gone", value).await;
    secrets
        .delete("gone", &DeleteParams::default())
        .await
        .unwrap();
    let etcd = cluster.etcd();
    assert!(
        etcd.keys_containing(value.as_bytes())
            .await
            .unwrap()
            .is_empty()
    );
    assert!(!etcd.files_containing(value.as_bytes()).unwrap().is_empty());

    etcd.compact().await.unwrap();
    etcd.defragment().await.unwrap();
    let files = etcd.files_containing(value.as_bytes()).unwrap();
    // The write-ahead log keeps it until etcd takes a snapshot of its own.
    assert!(
        files
            .iter()
            .all(|file| file.extension().is_some_and(|end| end == "wal")),
        "{files:?}"
    );
}

#[tokio::test]
async fn an_old_resource_version_is_gone_after_compaction() {
    let options = Options {
        watch_cache: false,
        ..Options::default()
    };
    let cluster = ControlPlane::start(options).await.unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client().unwrap());
    let old = maps
        .create(&PostParams::default(), &config_map("one"))
        .await
        .unwrap();
    let old = old.metadata.resource_version.unwrap();
    maps.create(&PostParams::default(), &config_map("two"))
        .await
        .unwrap();
    let exact = ListParams::default()
        .at(&old)
        .matching(kube::api::VersionMatch::Exact);
    assert!(maps.list(&exact).await.is_ok());

    cluster.etcd().compact().await.unwrap();
    match maps.list(&exact).await.unwrap_err() {
        kube::Error::Api(status) => assert_eq!(status.code, 410),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_restored_snapshot_brings_back_the_old_state() {
    let cluster = started().await;
    let dir = tempfile::tempdir().unwrap();
    let backup = dir.path().join("backup.db");
    create_secret(cluster.client().unwrap(), "before", "value").await;
    let then = cluster.etcd().revision().await.unwrap();
    cluster.etcd().snapshot(&backup).await.unwrap();
    create_secret(cluster.client().unwrap(), "after", "value").await;
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client().unwrap());
    for index in 0..100 {
        maps.create(&PostParams::default(), &config_map(&format!("map-{index}")))
            .await
            .unwrap();
    }
    let late = cluster.etcd().revision().await.unwrap();

    cluster.etcd().restore(&backup).await.unwrap();
    let secrets: Api<Secret> = Api::default_namespaced(cluster.client().unwrap());
    assert!(secrets.get_opt("before").await.unwrap().is_some());
    assert!(secrets.get_opt("after").await.unwrap().is_none());
    let now = cluster.etcd().revision().await.unwrap();
    assert!(then <= now && now < late, "{then} {now} {late}");

    cluster
        .etcd()
        .restore_bumped(&backup, Some(1_000_000))
        .await
        .unwrap();
    assert!(cluster.etcd().revision().await.unwrap() > then + 1_000_000);
    create_secret(cluster.client().unwrap(), "new", "value").await;
}

#[tokio::test]
async fn the_audit_log_names_writer_verb_and_object() {
    let cluster = started().await;
    let mark = cluster.audit_mark();
    create_secret(cluster.client().unwrap(), "audited", "not in the log").await;
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client_for("eve", &[]).unwrap());
    assert!(
        maps.create(&PostParams::default(), &config_map("refused"))
            .await
            .is_err()
    );

    let deadline = Instant::now() + Duration::from_secs(10);
    let events = loop {
        let events = cluster.audit_since(mark).unwrap();
        if events.iter().any(|event| event.user == "eve") || Instant::now() > deadline {
            break events;
        }
        sleep(Duration::from_millis(20)).await;
    };
    let created = events.iter().find(|event| event.name == "audited").unwrap();
    assert_eq!(
        (created.user.as_str(), created.verb.as_str()),
        ("kubernetes-admin", "create")
    );
    assert_eq!(
        (created.namespace.as_str(), created.resource.as_str()),
        ("default", "secrets")
    );
    assert_eq!(created.code, 201);
    assert!(created.is_completed_write());
    let refused = events.iter().find(|event| event.user == "eve").unwrap();
    assert_eq!((refused.code, refused.is_completed_write()), (403, false));
    let log = format!("{:?}", cluster.audit_log().unwrap());
    assert!(!log.contains("not in the log"));
}

#[tokio::test]
async fn an_audit_policy_of_the_test_is_used() {
    let policy = serde_json::json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "RequestResponse", "resources": [{"group": "", "resources": ["configmaps"]}]},
            {"level": "None"},
        ],
    });
    let options = Options {
        audit: Audit::Policy(policy),
        controller_manager: false,
        ..Options::default()
    };
    let cluster = ControlPlane::start(options).await.unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client().unwrap());
    maps.create(&PostParams::default(), &config_map("seen"))
        .await
        .unwrap();
    create_secret(cluster.client().unwrap(), "unseen", "value").await;
    sleep(Duration::from_millis(200)).await;
    let events = cluster.audit_log().unwrap();
    assert!(events.iter().all(|event| event.resource == "configmaps"));
    let created = events.iter().find(|event| event.name == "seen").unwrap();
    assert_eq!(created.raw["requestObject"]["metadata"]["name"], "seen");
}

#[tokio::test]
async fn controllers_finish_the_deletion_of_a_namespace() {
    let cluster = started().await;
    let namespaces: Api<Namespace> = Api::all(cluster.client().unwrap());
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some("short-lived".into()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    namespaces
        .delete("short-lived", &DeleteParams::default())
        .await
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while namespaces.get_opt("short-lived").await.unwrap().is_some() {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn dropping_the_handle_leaves_no_process_and_no_folder() {
    let cluster = started().await;
    let pids = PROCESSES.map(|component| cluster.component(component).pid().unwrap());
    let dir = cluster.dir().to_owned();
    drop(cluster);
    assert!(pids.iter().all(|pid| !runs(*pid)));
    assert!(!dir.exists());
}

/// A control plane owned by another process, and that process.
fn owned_by_another(dir: &Path) -> (Child, ControlPlane, [u32; 3]) {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_keystead-cluster"))
        .args(["control-plane", "--state"])
        .arg(dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    BufReader::new(owner.stdout.as_mut().unwrap())
        .read_line(&mut ready)
        .unwrap();
    assert!(ready.contains("KUBECONFIG"), "{ready}");
    let cluster = ControlPlane::attach(dir).unwrap();
    let pids = PROCESSES.map(|component| cluster.component(component).pid().unwrap());
    (owner, cluster, pids)
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[tokio::test]
async fn killing_the_owner_with_signal_9_leaves_no_process() {
    let dir = tempfile::tempdir().unwrap();
    let (mut owner, _cluster, pids) = owned_by_another(&dir.path().join("state"));
    signal(&owner, Signal::KILL);
    owner.wait().unwrap();
    assert!(gone(&pids).await);
}

#[tokio::test]
async fn interrupting_the_owner_leaves_no_process_and_no_folder() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let (mut owner, _cluster, pids) = owned_by_another(&state);
    signal(&owner, Signal::INT);
    assert!(owner.wait().unwrap().success());
    assert!(gone(&pids).await);
    assert!(!state.exists());
}

#[tokio::test]
async fn an_attached_handle_works_and_leaves_the_cluster_running() {
    let cluster = started().await;
    let other = ControlPlane::attach(cluster.dir()).unwrap();
    create_secret(other.client().unwrap(), "by-the-other", "value").await;
    assert!(!other.etcd().dump().await.unwrap().is_empty());
    assert!(!other.audit_log().unwrap().is_empty());
    assert_eq!(
        other.component(Component::Etcd).pid(),
        cluster.component(Component::Etcd).pid()
    );
    drop(other);
    assert!(cluster.component(Component::Etcd).pid().is_some());
    cluster
        .component(Component::ApiServer)
        .check()
        .await
        .unwrap();
}
