//! Removes a cluster, whatever is left of it.
//!
//! In this order: processes (nothing can make anything new), mounts, interfaces, packet tables, control
//! groups, what programs keep in system folders, kernel settings, the state folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Record, cgroups, cgroups::remove_empty, network};
use crate::{
    components::recorded,
    process::{Identity, run},
    state::StateDir,
};

/// Folders outside the state folder that the programs insist on.
const SYSTEM_FOLDERS: [&str; 7] = [
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/log/containers",
    "/var/log/pods",
    "/run/containerd",
    "/opt/cni",
    "/opt/containerd",
];
/// Each pass can uncover mounts below the removed ones.
const UNMOUNT_PASSES: usize = 5;

pub(super) fn down(dir: &Path) -> Result<()> {
    let state = StateDir::new(dir)?;
    let Some(record) = Record::read(dir)? else {
        let empty = fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
        ensure!(
            empty,
            "{} holds something else than a cluster",
            dir.display()
        );
        return Ok(());
    };
    stop_processes(&state, &record.programs)?;
    unmount_below(state.path())?;
    record.network.down()?;
    remove_tables(&record.tables)?;
    cgroups::remove(&state.id());
    remove_leftovers(&state, &record);
    network::restore(&record.settings);
    // Last of all the record: while it is there, this can be repeated.
    for entry in fs::read_dir(state.path())? {
        let path = entry?.path();
        if path.file_name() == Some(OsStr::new(super::RECORD)) {
            continue;
        }
        if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        }
        .with_context(|| format!("remove {}", path.display()))?;
    }
    fs::remove_dir_all(state.path()).with_context(|| format!("remove {}", state.path().display()))
}

/// Kills the components, then the shims of containers with everything that they started.
fn stop_processes(state: &StateDir, programs: &Path) -> Result<()> {
    for (_, identity) in recorded(&state.run())? {
        identity.kill()?;
    }
    let below = below(state);
    stop_trees(|process| process.is_ours(programs, &below))
}

/// Kills all containers, with the shims that keep them.
pub(super) fn stop_containers(state: &StateDir, programs: &Path) -> Result<()> {
    let below = below(state);
    stop_trees(|process| process.is_ours(programs, &below) && process.is_shim())
}

/// What the arguments of the cluster's programs contain.
fn below(state: &StateDir) -> String {
    format!("{}/", state.path().display())
}

/// Kills the processes that are wanted, with everything that they started.
fn stop_trees(wanted: impl Fn(&Entry) -> bool) -> Result<()> {
    // Until nothing is found: what is killed may just have started something.
    loop {
        let processes = processes();
        let mut ours: BTreeSet<u32> = processes
            .iter()
            .filter(|(_, process)| wanted(process))
            .map(|(pid, _)| *pid)
            .collect();
        if ours.is_empty() {
            return Ok(());
        }
        while let Some(child) = processes
            .iter()
            .find(|(pid, process)| ours.contains(&process.parent) && !ours.contains(*pid))
        {
            ours.insert(*child.0);
        }
        for pid in ours {
            if let Some(identity) = Identity::of(pid) {
                identity.kill()?;
            }
        }
    }
}

struct Entry {
    parent: u32,
    program: PathBuf,
    arguments: String,
}

impl Entry {
    /// One of the cluster's programs, working on its folder.
    fn is_ours(&self, programs: &Path, below: &str) -> bool {
        self.program.starts_with(programs) && self.arguments.contains(below)
    }

    /// What keeps a container while the container runtime is away.
    fn is_shim(&self) -> bool {
        let name = self.program.file_name().and_then(OsStr::to_str);
        name.is_some_and(|name| name.starts_with("containerd-shim"))
    }
}

/// All processes but zombies and this one.
fn processes() -> BTreeMap<u32, Entry> {
    let mut found = BTreeMap::new();
    let Ok(entries) = fs::read_dir("/proc") else {
        return found;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // A zombie has no program.
        let Ok(program) = fs::read_link(path.join("exe")) else {
            continue;
        };
        let Ok(status) = fs::read_to_string(path.join("status")) else {
            continue;
        };
        let parent = status
            .lines()
            .find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok());
        let arguments = fs::read(path.join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        if pid != std::process::id() {
            found.insert(
                pid,
                Entry {
                    parent: parent.unwrap_or(0),
                    program,
                    arguments,
                },
            );
        }
    }
    found
}

/// Unmounts everything below a folder, last mounted first.
pub(super) fn unmount_below(dir: &Path) -> Result<()> {
    for _ in 0..UNMOUNT_PASSES {
        let mounts = mounts_below(dir)?;
        if mounts.is_empty() {
            return Ok(());
        }
        for mount in mounts.iter().rev() {
            let path = mount.display().to_string();
            // Lazily where something still holds it; that something has been killed and will let go.
            if run("umount", &[&path]).is_err() {
                run("umount", &["--lazy", &path])?;
            }
        }
    }
    let left = mounts_below(dir)?;
    ensure!(left.is_empty(), "still mounted: {left:?}");
    Ok(())
}

fn mounts_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mounts = fs::read("/proc/self/mountinfo").context("read the mounts")?;
    let points = mounts.split(|byte| *byte == b'\n').filter_map(|line| {
        let point = line.split(|byte| *byte == b' ').nth(4)?;
        Some(PathBuf::from(OsStr::from_bytes(&unescape(point))))
    });
    Ok(points
        .filter(|point| point.starts_with(dir) && point != dir)
        .collect())
}

/// Spaces and the like are written as three octal digits.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let code = tail
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        plain.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    plain
}

/// The packet tables that there are, as `family name`.
pub(super) fn tables() -> Result<Vec<String>> {
    let list = run("nft", &["list", "tables"]).context("list packet tables")?;
    Ok(list
        .lines()
        .filter_map(|line| line.strip_prefix("table "))
        .map(str::to_owned)
        .collect())
}

/// Removes kube-proxy's tables, and empty ones that asking for the old ones made.
fn remove_tables(before: &[String]) -> Result<()> {
    for table in tables()? {
        let Some((family, name)) = table.split_once(' ') else {
            continue;
        };
        let ours = name == "kube-proxy";
        if before.contains(&table) && !ours {
            continue;
        }
        let rules = run("nft", &["list", "table", family, name])?;
        let empty = rules.lines().all(|line| {
            let line = line.trim();
            line.is_empty() || line == "}" || line.ends_with('{') || line.starts_with("type ")
        });
        if ours || empty {
            run("nft", &["delete", "table", family, name])?;
        }
    }
    Ok(())
}

/// The names in a folder; none if there is no such folder.
fn names(folder: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// The system folders that are not there now.
pub(super) fn absent_folders() -> Vec<PathBuf> {
    SYSTEM_FOLDERS
        .iter()
        .map(PathBuf::from)
        .filter(|folder| !folder.exists())
        .collect()
}

/// Removes what the programs keep outside the state folder. Best effort: none of it does anything.
fn remove_leftovers(state: &StateDir, record: &Record) {
    let results = Path::new("/var/lib/cni/results");
    let prefix = format!("{}-", state.id());
    for name in names(results).filter(|name| name.starts_with(&prefix)) {
        let sandbox = name.trim_start_matches(&prefix).trim_end_matches("-eth0");
        let _ = fs::remove_file(results.join(format!("cni-loopback-{sandbox}-lo")));
        let _ = fs::remove_file(results.join(&name));
    }
    let logs = Path::new("/var/log/containers");
    for log in names(logs).map(|name| logs.join(name)) {
        if fs::read_link(&log).is_ok_and(|target| target.starts_with(state.path())) {
            let _ = fs::remove_file(log);
        }
    }
    let bundles = state.join("containerd/run/io.containerd.runtime.v2.task/k8s.io");
    for bundle in names(&bundles) {
        let bootstrap = fs::read(bundles.join(bundle).join("bootstrap.json")).unwrap_or_default();
        let bootstrap: Value = serde_json::from_slice(&bootstrap).unwrap_or_default();
        let address = bootstrap["address"].as_str().unwrap_or_default();
        if let Some(socket) = address.strip_prefix("unix://") {
            let _ = fs::remove_file(socket);
        }
    }
    for folder in &record.absent {
        if folder == Path::new("/var/lib/kubelet") {
            let _ = fs::remove_dir_all(folder.join("device-plugins"));
        }
        remove_empty(folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_mount_points_are_read_as_they_are() {
        assert_eq!(unescape(br"/a\040b\134c"), br"/a b\c");
        assert_eq!(unescape(br"/plain\"), br"/plain\");
    }

    #[test]
    fn a_folder_without_a_record_is_never_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("precious"), "").unwrap();
        assert!(down(dir.path()).is_err());
        assert!(dir.path().join("precious").exists());
    }

    #[test]
    fn nothing_is_nothing_to_do() {
        let dir = tempfile::tempdir().unwrap();
        down(&dir.path().join("absent")).unwrap();
        down(dir.path()).unwrap();
    }
}
