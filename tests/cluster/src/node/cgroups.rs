//! The control groups of one cluster's pods, below a group of its own.
//!
//! A kubelet kills what it finds in groups of pods that it does not know, so two of them must not share.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// Enabled for the groups below, where there is one hierarchy.
const CONTROLLERS: &str = "+cpuset +cpu +io +memory +hugetlb +pids";

/// Creates the group in every hierarchy.
pub(super) fn create(name: &str) -> Result<()> {
    let unified = Path::new("/sys/fs/cgroup/cgroup.subtree_control");
    if unified.exists() {
        // One by one, because a single one that the kernel lacks refuses all.
        for controller in CONTROLLERS.split(' ') {
            let _ = fs::write(unified, controller);
        }
    }
    for hierarchy in hierarchies() {
        let group = hierarchy.join(name);
        fs::create_dir_all(&group).with_context(|| format!("create {}", group.display()))?;
    }
    Ok(())
}

/// Removes the group with all below it; one that is still in use refuses.
pub(super) fn remove(name: &str) {
    for hierarchy in hierarchies() {
        remove_empty(&hierarchy.join(name));
    }
}

/// The one hierarchy, or one for each controller.
fn hierarchies() -> Vec<PathBuf> {
    let base = PathBuf::from("/sys/fs/cgroup");
    if base.join("cgroup.controllers").exists() {
        return vec![base];
    }
    let entries = fs::read_dir(&base).into_iter().flatten().flatten();
    let folders = entries.map(|entry| entry.path());
    folders
        .filter(|path| path.is_dir() && !path.is_symlink())
        .collect()
}

/// Removes a folder and the folders below it, as far as they have no files. Those of control groups do
/// not count.
pub(super) fn remove_empty(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}
