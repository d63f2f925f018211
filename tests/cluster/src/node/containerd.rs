//! The container runtime.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};

use super::Parts;
use crate::{
    components::{Component, Probe},
    images::PAUSE,
    packages,
    process::{Spec, run},
    state::StateDir,
};

pub(super) fn socket(state: &StateDir) -> std::path::PathBuf {
    state.join("containerd/containerd.sock")
}

pub(super) fn declare(parts: &mut Parts<'_>) -> Result<()> {
    let state = parts.state;
    // The runtime looks for its shim by name on the path.
    let bin = state.join("bin");
    fs::create_dir_all(&bin)?;
    let shim = bin.join("containerd-shim-runc-v2");
    if !shim.exists() {
        std::os::unix::fs::symlink(parts.binaries.path("containerd-shim-runc-v2"), &shim)?;
    }
    let file = state.join("config/containerd.toml");
    fs::write(&file, configuration(state)?)?;
    let path = format!(
        "{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        bin.display()
    );
    let spec = Spec {
        name: Component::Containerd.name().to_owned(),
        program: parts.binaries.path("containerd").to_owned(),
        args: vec![format!("--config={}", file.display())],
        env: BTreeMap::from([("PATH".to_owned(), path)]),
        log: state.log(Component::Containerd.name()),
    };
    parts
        .components
        .add(Component::Containerd, spec, Probe::Socket(socket(state)))
}

fn configuration(state: &StateDir) -> Result<String> {
    let runc = packages::command("runc").context("runc is not installed")?;
    let plugins = packages::network_plugin_folders();
    let folder = |name: &str| format!("{:?}", state.arg(name));
    // An overlay cannot be stacked on a container's own overlay.
    let snapshotter = if on_overlay(state.path()) {
        "native"
    } else {
        "overlayfs"
    };
    Ok(format!(
        "version = 3
root = {root}
state = {run}
# They use folders of the system that a cluster of ours has no business in.
disabled_plugins = ['io.containerd.internal.v1.opt', 'io.containerd.nri.v1.nri']

[grpc]
address = {socket}

[plugins.'io.containerd.cri.v1.images']
snapshotter = '{snapshotter}'

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = '{PAUSE}'

[plugins.'io.containerd.cri.v1.runtime']
# A negative score needs a capability that machines in containers lack.
restrict_oom_score_adj = true
# Below the state folder, so that they go with it.
netns_mounts_under_state_dir = true
enable_cdi = false

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = {plugins:?}
conf_dir = {networks}

[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = 'runc'

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = '{runc}'
Root = {runc_root}
SystemdCgroup = false
",
        root = folder("containerd/root"),
        run = folder("containerd/run"),
        socket = folder("containerd/containerd.sock"),
        networks = folder("cni/net.d"),
        runc_root = folder("containerd/runc"),
        runc = runc.display(),
    ))
}

fn on_overlay(dir: &Path) -> bool {
    let dir = dir.display().to_string();
    run("stat", &["--file-system", "--format=%T", &dir])
        .is_ok_and(|kind| kind.trim() == "overlayfs")
}

/// Makes an archive's images known to kubelet.
pub(super) fn import(ctr: &Path, state: &StateDir, archive: &Path) -> Result<()> {
    let socket = socket(state).display().to_string();
    let archive = archive.display().to_string();
    run(
        ctr,
        &[
            "--address",
            &socket,
            "--namespace",
            "k8s.io",
            "images",
            "import",
            &archive,
        ],
    )
    .context("import an image")
    .map(drop)
}
