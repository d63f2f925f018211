//! The node's address, the pods' network, and what the kernel was set to before.

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{process::run, state::StateDir};

/// Kernel settings that Kubernetes or the network plugins change.
const SETTINGS: [&str; 7] = [
    "net.ipv4.ip_forward",
    "net.ipv6.conf.all.forwarding",
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.keys.root_maxkeys",
];

/// Names and addresses that a second cluster on the same machine must not share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The interface that has the node's address.
    pub bridge: String,
    /// The node's address.
    pub address: Ipv4Addr,
    /// The pods' addresses.
    pub pod_range: String,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            bridge: "ks0".to_owned(),
            address: Ipv4Addr::new(10, 99, 0, 1),
            pod_range: "10.244.0.0/16".to_owned(),
        }
    }
}

impl Network {
    /// Whether the name is possible and free.
    pub(crate) fn validate(&self) -> Result<()> {
        let name = &self.bridge;
        // IFNAMSIZ counts the closing zero.
        ensure!(
            !name.is_empty() && name.len() <= 15,
            "no interface can be named {name:?}"
        );
        ensure!(
            !exists(name),
            "interface {name} exists: another cluster runs (stop it with `make demo-down` or `keystead-cluster down`), or \
             one was killed (`ip link delete {name}` removes what it left)"
        );
        Ok(())
    }

    /// Creates the node's interface, if it is not there.
    pub(crate) fn up(&self) -> Result<()> {
        if !exists(&self.bridge) {
            run("ip", &["link", "add", &self.bridge, "type", "bridge"])?;
        }
        run(
            "ip",
            &[
                "addr",
                "replace",
                &format!("{}/32", self.address),
                "dev",
                &self.bridge,
            ],
        )?;
        run("ip", &["link", "set", &self.bridge, "up"])?;
        Ok(())
    }

    /// Removes it. The pods' interfaces went with their network namespaces.
    pub(crate) fn down(&self) -> Result<()> {
        if exists(&self.bridge) {
            run("ip", &["link", "delete", &self.bridge])?;
        }
        Ok(())
    }

    /// Writes what the plugins are told.
    pub(crate) fn configure(&self, state: &StateDir) -> Result<()> {
        let folder = state.join("cni/net.d");
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let plugins = json!({
            "cniVersion": "1.0.0",
            "name": state.id(),
            "plugins": [{
                // Every packet is routed. On a bridge, answers between pods of one node can go past the
                // translation of Service addresses.
                "type": "ptp",
                "ipam": {
                    "type": "host-local",
                    "dataDir": state.join("cni/addresses"),
                    "ranges": [[{"subnet": self.pod_range}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            }],
        });
        fs::write(
            folder.join("10-keystead.conflist"),
            serde_json::to_vec_pretty(&plugins)?,
        )?;
        Ok(())
    }
}

/// Asked of the kernel: the files below /sys may belong to another network namespace.
fn exists(interface: &str) -> bool {
    run("ip", &["link", "show", interface]).is_ok()
}

/// The kernel's settings now; those it does not have are left out.
pub(crate) fn settings() -> BTreeMap<String, String> {
    let read = |name: &str| fs::read_to_string(setting(name)).ok();
    SETTINGS
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), read(name)?.trim().to_owned())))
        .collect()
}

/// Puts the settings back that differ. Best effort: in a container many cannot be written.
pub(crate) fn restore(settings: &BTreeMap<String, String>) {
    for (name, value) in settings {
        let path = setting(name);
        if fs::read_to_string(&path).is_ok_and(|now| now.trim() != value)
            && let Err(error) = fs::write(&path, value)
        {
            eprintln!("{name} stays changed: {error}");
        }
    }
}

fn setting(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name.replace('.', "/"))
}
