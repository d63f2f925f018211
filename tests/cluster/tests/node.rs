//! A cluster of one node runs pods, and goes without a trace.
//!
//! A test target of its own: it needs root, and a network has room for one cluster at a time. Beside a
//! running one, give it a network of its own:
//! `unshare --net sh -c 'ip link set lo up && cargo test -p keystead-cluster --test node'`.

// The helpers of tests are tests, too.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Pod;
use keystead_cluster::{Binaries, Cluster, Component, Image, NodeOptions, images::BUSYBOX};
use kube::{Api, api::LogParams};
use serde_json::json;
use tokio::{sync::Mutex, time::sleep};

/// One cluster at a time.
static TURN: Mutex<()> = Mutex::const_new(());

/// Whether no other cluster changes what all clusters of a machine share.
static ALONE: LazyLock<bool> = LazyLock::new(|| {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut programs = processes.filter_map(|entry| fs::read_link(entry.path().join("exe")).ok());
    !programs.any(|path| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("kubelet")
    })
});

const SYSTEM_FOLDERS: [&str; 7] = [
    "/opt/cni",
    "/run/containerd",
    "/run/netns",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
];

struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    fn of(cluster: &Cluster) -> Self {
        let program = Binaries::ensure_one("kubectl").unwrap();
        Self {
            program,
            kubeconfig: cluster.kubeconfig().to_owned(),
        }
    }

    fn run(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same until it succeeds: a kubelet that was just started does not know its pods yet.
    async fn eventually(&self, args: &[&str]) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.command(args).output().unwrap().status.success() && Instant::now() < deadline {
            sleep(Duration::from_millis(200)).await;
        }
        self.run(args)
    }

    fn apply(&self, objects: &serde_json::Value) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        let mut child = self
            .command(&["apply", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), list.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    fn ready(&self, pod: &str) {
        self.run(&[
            "wait",
            "--for=condition=Ready",
            &format!("pod/{pod}"),
            "--timeout=90s",
        ]);
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.env("KUBECONFIG", &self.kubeconfig).args(args);
        command
    }
}

/// What a cluster could leave behind, as lines. A container that still ran would keep its control group.
fn traces(state: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let below = format!("{}/", state.display());
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        // A zombie has no command line, and is its parent's business.
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.contains(&below) {
            found.insert(format!("process {line}"));
        }
    }
    let text = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for line in text("ip", &["-brief", "link"]).lines() {
        found.insert(format!("link {}", line.split_whitespace().next().unwrap()));
    }
    for line in text("nft", &["list", "ruleset"]).lines() {
        found.insert(format!("rule {line}"));
    }
    for line in text("ip", &["route", "show", "table", "all"]).lines() {
        found.insert(format!("route {line}"));
    }
    for line in fs::read_to_string("/proc/self/mountinfo").unwrap().lines() {
        let point = line.split(' ').nth(4).unwrap();
        if point.starts_with(&below) {
            found.insert(format!("mount {point}"));
        }
    }
    let forwarding = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
    found.insert(format!("forwarding {forwarding}"));
    if *ALONE {
        for folder in SYSTEM_FOLDERS {
            files(Path::new(folder), &mut found);
        }
        for line in text("find", &["/sys/fs/cgroup", "-type", "d", "-name", "*pod*"]).lines() {
            found.insert(format!("group {line}"));
        }
        for line in text("find", &["/sys/fs/cgroup", "-name", "keystead-*"]).lines() {
            found.insert(format!("group {line}"));
        }
    }
    found
}

fn files(path: &Path, found: &mut BTreeSet<String>) {
    if path.exists() {
        found.insert(format!("file {}", path.display()));
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        files(&entry.path(), found);
    }
}

fn assert_no_traces(state: &Path, before: &BTreeSet<String>) {
    let after = traces(state);
    let new: Vec<_> = after.difference(before).collect();
    let gone: Vec<_> = before.difference(&after).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "left behind: {new:#?}\nremoved: {gone:#?}"
    );
}

fn pod(name: &str, command: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": BUSYBOX, "command": ["sh", "-c", command]}],
        },
    })
}

fn cluster_command(args: &[&str], state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keystead-cluster"));
    command.args(args).arg("--state").arg(state);
    command
}

/// Takes the cluster of a folder down when a test fails half-way.
struct TakenDown(PathBuf);

impl Drop for TakenDown {
    fn drop(&mut self) {
        if let Err(error) = Cluster::down(&self.0) {
            eprintln!("{error:#}");
        }
    }
}

fn succeeds(command: &str, state: &Path) -> bool {
    cluster_command(&[command], state)
        .output()
        .unwrap()
        .status
        .success()
}

#[tokio::test]
async fn pods_mount_secrets_answer_services_and_are_reached() {
    let _turn = TURN.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("k");
    let before = traces(&state);
    let cluster = Cluster::start(&state, NodeOptions::default())
        .await
        .unwrap();
    let kubectl = Kubectl::of(&cluster);

    let mut web = pod(
        "web",
        "cat /secret/password; echo; httpd -f -p 8080 -h /secret",
    );
    web["spec"]["volumes"] = json!([{"name": "secret", "secret": {"secretName": "login"}}]);
    web["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "secret", "mountPath": "/secret"}]);
    kubectl.apply(&json!([
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "login"},
            "stringData": {"password": "a mounted password"},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
        },
        web,
        pod("client", "sleep 100000"),
    ]));
    kubectl.ready("web");
    kubectl.ready("client");

    // `logs`, through the API server to kubelet, in both ways that tests use.
    let pods: Api<Pod> = Api::default_namespaced(cluster.client().unwrap());
    let deadline = Instant::now() + Duration::from_secs(20);
    let logs = async || pods.logs("web", &LogParams::default()).await.unwrap();
    while logs().await.is_empty() && Instant::now() < deadline {
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(logs().await, "a mounted password\n");
    assert_eq!(kubectl.run(&["logs", "web"]), "a mounted password\n");

    // A name, the Service's address, and the pod behind it, from another pod and from itself (for
    // which the short name would be its own host name).
    for from in ["client", "web"] {
        let fetch =
            "for i in 1 2 3 4 5; do wget -qO- http://web.default/password && exit; sleep 1; done";
        let answer = kubectl.run(&["exec", from, "--", "timeout", "20", "sh", "-c", fetch]);
        assert_eq!(answer, "a mounted password", "{from}");
    }
    let looked_up = kubectl.run(&[
        "exec",
        "client",
        "--",
        "nslookup",
        "kubernetes.default.svc.cluster.local",
    ]);
    assert!(looked_up.contains("10.96.0.1"), "{looked_up}");

    // An image of ours.
    let image = "localhost/own:1";
    let archive = dir.path().join("own.tar");
    Image::of_program(image, "/usr/bin/busybox")
        .unwrap()
        .entrypoint(["/busybox", "id", "-u"])
        .user(65532)
        .write(&archive)
        .unwrap();
    cluster.import_image(&archive).unwrap();
    let mut own = pod("own", "");
    own["spec"]["restartPolicy"] = json!("Never");
    own["spec"]["containers"] = json!([{"name": "main", "image": image}]);
    kubectl.apply(&json!([own]));
    kubectl.run(&[
        "wait",
        "--for=jsonpath={.status.phase}=Succeeded",
        "pod/own",
        "--timeout=60s",
    ]);
    assert_eq!(kubectl.run(&["logs", "own"]), "65532\n");

    // The handles of a control plane are there too.
    let keys = cluster
        .etcd()
        .keys_containing(b"a mounted password")
        .await
        .unwrap();
    assert_eq!(keys, ["/registry/secrets/default/login"]);
    assert!(
        cluster
            .audit_log()
            .unwrap()
            .iter()
            .any(|event| event.user == "system:node:node1")
    );
    let other = Cluster::attach(cluster.dir()).unwrap();
    assert!(other.missing().is_empty());
    other.component(Component::Kubelet).kill().unwrap();
    assert_eq!(cluster.missing(), [Component::Kubelet]);
    cluster.component(Component::Kubelet).start().await.unwrap();
    drop(other);
    let again = kubectl
        .eventually(&["exec", "client", "--", "echo", "again"])
        .await;
    assert_eq!(again, "again\n");

    drop(cluster);
    assert_no_traces(&state, &before);
}

#[tokio::test]
async fn a_cluster_that_was_put_up_stays_until_it_is_taken_down() {
    let _turn = TURN.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("k");
    let before = traces(&state);
    let _down = TakenDown(state.clone());
    assert!(succeeds("up", &state));
    assert!(succeeds("status", &state));

    let cluster = Cluster::attach(&state).unwrap();
    let kubectl = Kubectl::of(&cluster);
    kubectl.apply(&json!([pod("stays", "sleep 100000")]));
    kubectl.ready("stays");
    let again = cluster_command(&["up"], &state).output().unwrap();
    assert!(String::from_utf8_lossy(&again.stderr).contains("already runs"));

    // What a crash took is started again, and the pods are still there.
    for component in [
        Component::ApiServer,
        Component::Containerd,
        Component::Kubelet,
    ] {
        cluster.component(component).kill().unwrap();
    }
    assert!(!succeeds("status", &state));
    assert!(succeeds("up", &state));
    let here = kubectl
        .eventually(&["exec", "stays", "--", "echo", "here"])
        .await;
    assert_eq!(here, "here\n");

    assert!(succeeds("down", &state));
    assert_no_traces(&state, &before);
    assert!(!state.exists());
    assert!(succeeds("down", &state));
    assert!(!succeeds("status", &state));
}

#[tokio::test]
async fn whenever_up_is_killed_down_removes_what_there_is() {
    let _turn = TURN.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("k");
    let before = traces(&state);
    let _down = TakenDown(state.clone());
    for seconds in [0, 1, 2, 4, 7] {
        let mut up = cluster_command(&["up"], &state)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_secs(seconds) + Duration::from_millis(300)).await;
        up.kill().unwrap();
        up.wait().unwrap();
        assert!(succeeds("down", &state), "{seconds}");
        assert_no_traces(&state, &before);
        assert!(!state.exists());
    }
}

#[tokio::test]
async fn killing_the_owner_of_a_cluster_stops_it_and_down_removes_the_rest() {
    let _turn = TURN.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("k");
    let before = traces(&state);
    let _down = TakenDown(state.clone());
    let mut owner = cluster_command(&["up", "--foreground"], &state)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    BufReader::new(owner.stdout.as_mut().unwrap())
        .read_line(&mut ready)
        .unwrap();
    let cluster = Cluster::attach(&state).unwrap();
    let kubectl = Kubectl::of(&cluster);
    kubectl.apply(&json!([pod("orphan", "sleep 100000")]));
    kubectl.ready("orphan");

    owner.kill().unwrap();
    owner.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while cluster.missing().len() < 8 && Instant::now() < deadline {
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(cluster.missing().len(), 8);
    assert!(succeeds("down", &state));
    assert_no_traces(&state, &before);
}

#[tokio::test]
async fn a_folder_with_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("precious"), "").unwrap();
    for command in ["up", "down"] {
        let output = cluster_command(&[command], dir.path()).output().unwrap();
        assert!(!output.status.success(), "{command}");
    }
    let deadline = Instant::now() + Duration::from_secs(1);
    while Instant::now() < deadline && fs::read_dir(dir.path()).unwrap().count() == 1 {
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}
