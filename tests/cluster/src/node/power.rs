//! The node loses its power and gets it back, as far as that can be had on a machine that goes on.
//!
//! What a reboot takes: every process of the node, every mount, control groups, and what systems keep in memory below /run. What is on
//! disks stays, half-written or not: kubelet's folders, sockets without a listener, images, the runtime's records of containers. The
//! control plane is another machine's and stays.

use std::{fs, io::ErrorKind, path::Path};

use anyhow::{Context as _, Result};

use super::{Cluster, cgroups, cleanup};
use crate::components::Component;

/// The node's own components: first what would start containers again.
const NODE: [Component; 3] = [
    Component::Kubelet,
    Component::Containerd,
    Component::KubeProxy,
];
/// Below /run on other machines, and so in memory.
const IN_MEMORY: [&str; 2] = ["containerd/run", "containerd/runc"];

impl Cluster {
    /// Takes away all that a reboot takes from the node; nothing is told before. [`Self::switch_on`] starts it again.
    pub fn cut_power(&self) -> Result<()> {
        let state = self.state();
        for component in NODE {
            self.component(component).kill()?;
        }
        cleanup::stop_containers(state, &self.record.programs)?;
        cleanup::unmount_below(state.path())?;
        cgroups::remove(&state.id());
        for folder in IN_MEMORY {
            forget(&state.join(folder))?;
        }
        Ok(())
    }

    /// Starts what does not run, and waits until it serves. Pods come back later.
    pub async fn switch_on(&self) -> Result<()> {
        self.run().await
    }
}

fn forget(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.with_context(|| format!("remove {}", folder.display())),
    }
}
