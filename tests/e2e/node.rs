//! What the plugin has on the node, where the node is this machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::bed::{Bed, SYSTEM, text};
use crate::target::Target;
use crate::tools::{TIMEOUT, eventually_none};

/// What selects the plugin's pods.
const PLUGIN: &str = "app.kubernetes.io/component=node";
/// The folder in which kubelet has a folder for each CSI volume of a pod.
const VOLUMES: &str = "kubernetes.io~csi";
/// What the plugin has below kubelet's root folder as long as it runs.
const SOCKETS: [&str; 2] = [
    "plugins/secrets.keystead.dev/csi.sock",
    "plugins_registry/keystead@secrets.keystead.dev-reg.sock",
];

/// How the plugin ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kill {
    /// Its process alone, where the node is this machine; kubelet starts it again.
    Process,
    /// Its pod; another one takes its place.
    Pod,
}

/// Ends the plugin without a warning, and waits for the next.
pub(crate) fn kill_plugin(bed: &Bed, how: Kill) {
    let processes = match how {
        Kill::Process => plugin_processes(bed),
        Kill::Pod => Vec::new(),
    };
    for process in &processes {
        let killed = Command::new("kill").args(["-KILL", process]).status();
        assert!(killed.is_ok_and(|status| status.success()), "{process}");
    }
    if processes.is_empty() {
        bed.kill_pods("node");
    }
    sleep(Duration::from_secs(1));
    let status = ["rollout", "status", "daemonset/keystead-node", TIMEOUT];
    bed.tools.kubectl([&["-n", SYSTEM], &status[..]].concat());
}

/// The plugin's processes on this machine.
fn plugin_processes(bed: &Bed) -> Vec<String> {
    if matches!(bed.target, Target::Foreign { .. }) {
        return Vec::new();
    }
    let pods = pods(bed, &["-n", SYSTEM, "-l", PLUGIN]);
    let uids: Vec<_> = pods
        .iter()
        .map(|pod| text(&pod["metadata"]["uid"]))
        .collect();
    names(Path::new("/proc"))
        .into_iter()
        .filter(|process| {
            let process = Path::new("/proc").join(process);
            let program = fs::read_link(process.join("exe")).unwrap_or_default();
            // Others may run the same program here, for tests of their own.
            let group = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
            program.ends_with("keystead-node") && uids.iter().any(|uid| group.contains(uid))
        })
        .collect()
}

/// Nothing of the plugin is on the node but itself, when no pod has a volume of it.
#[track_caller]
pub(crate) fn assert_nothing_left(bed: &Bed) {
    assert_left_of(bed, |_| BTreeSet::new());
}

/// What the plugin has on the node belongs to pods that there are.
#[track_caller]
pub(crate) fn assert_only_left_of_pods(bed: &Bed) {
    assert_left_of(bed, |bed| {
        let pods = pods(bed, &["-A"]);
        pods.iter()
            .map(|pod| text(&pod["metadata"]["uid"]))
            .collect()
    });
}

#[track_caller]
fn assert_left_of(bed: &Bed, pods: impl Fn(&Bed) -> BTreeSet<String>) {
    if bed.target.own().is_none() {
        return;
    }
    eventually_none("nothing is left behind", || left_behind(bed, &pods(bed)));
}

/// Mounts and folders of the plugin that belong to none of those pods.
fn left_behind(bed: &Bed, pods: &BTreeSet<String>) -> Vec<String> {
    let root = bed.target.kubelet_root();
    let mut left = mounts_left(bed, pods);
    left.extend(folders_left(&root, pods));
    left.extend(files_left(&root));
    if pods.is_empty() {
        let known = known_volumes(bed).into_iter();
        left.extend(known.filter(|line| line != "keystead_node_volumes 0"));
    }
    left
}

fn mounts_left(bed: &Bed, pods: &BTreeSet<String>) -> Vec<String> {
    // The plugin sees the mounts in a namespace of its own, where one could stay that is gone elsewhere.
    let processes = plugin_processes(bed).into_iter().chain(["self".to_owned()]);
    let mounted = processes.flat_map(|process| {
        let mounted = mounted_volumes(&process).into_iter();
        mounted.map(move |point| format!("mounted for process {process}: {point}"))
    });
    mounted
        .filter(|mounted| !pods.iter().any(|pod| mounted.contains(pod.as_str())))
        .collect()
}

/// Folders of volumes, whether something is mounted there or not.
fn folders_left(root: &Path, pods: &BTreeSet<String>) -> Vec<String> {
    let root = root.join("pods");
    let gone = names(&root).into_iter().filter(|pod| !pods.contains(pod));
    let volumes = gone.flat_map(|pod| {
        let volumes = names(&root.join(&pod).join("volumes").join(VOLUMES)).into_iter();
        volumes.map(move |volume| format!("folder of a volume: {pod}/{volume}"))
    });
    volumes.collect()
}

/// What is in the plugin's folder, in that where kubelet finds it, and in what kubelet keeps for drivers.
fn files_left(root: &Path) -> Vec<String> {
    let folders = [
        "plugins/secrets.keystead.dev",
        "plugins_registry",
        "plugins/kubernetes.io/csi",
    ];
    let files = folders.into_iter().flat_map(|folder| {
        let files = names(&root.join(folder)).into_iter();
        files.map(move |name| format!("{folder}/{name}"))
    });
    files
        .filter(|file| !SOCKETS.contains(&file.as_str()))
        .collect()
}

/// Where CSI volumes of pods are mounted, as a process sees it.
pub(crate) fn mounted_volumes(process: &str) -> Vec<String> {
    let mounts = fs::read_to_string(format!("/proc/{process}/mounts")).unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let volumes = points.filter(|point| point.contains(VOLUMES));
    volumes.map(str::to_owned).collect()
}

/// How many volumes the plugin takes for published, by its metrics.
fn known_volumes(bed: &Bed) -> Vec<String> {
    let pods = pods(bed, &["-n", SYSTEM, "-l", PLUGIN]);
    let shown = pods.iter().map(|pod| {
        let name = text(&pod["metadata"]["name"]);
        let path = format!("/api/v1/namespaces/{SYSTEM}/pods/{name}:8080/proxy/metrics");
        let metrics = bed.tools.kubectl(["get", "--raw", &path]);
        let line = metrics
            .lines()
            .find(|line| line.starts_with("keystead_node_volumes "));
        line.expect("the metric is shown").to_owned()
    });
    shown.collect()
}

fn pods(bed: &Bed, which: &[&str]) -> Vec<Value> {
    let json = bed
        .tools
        .kubectl([&["get", "pods", "-o", "json"], which].concat());
    let pods: Value = serde_json::from_str(&json).expect("kubectl prints JSON");
    pods["items"].as_array().expect("a list").clone()
}

/// The names in a folder; none if there is no such folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}
