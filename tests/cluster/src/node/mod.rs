//! A whole cluster of one node: pods run, Services answer, names resolve, `logs` and `exec` work.
//!
//! Needs root. Everything is below the state folder but the interfaces, the packet rules and the control
//! groups, and [`Cluster::down`] removes all of it, whatever state it is in.

mod cgroups;
mod cleanup;
mod containerd;
mod dns;
mod kubelet;
mod network;
mod older;
mod power;
mod proxy;

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    ops::Deref,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use serde::{Deserialize, Serialize};

pub use self::network::Network;
use crate::{
    access::Access,
    binaries::{Binaries, Set, cache_dir},
    components::{Component, Components, write_json},
    control_plane::{ControlPlane, Options},
    flags::NodeFacts,
    images, packages,
    ports::Lease,
    process::Lifetime,
    state::{self, StateDir},
};

const DNS_ADDRESS: &str = "10.96.0.10";
const DNS_DOMAIN: &str = "cluster.local";
const RECORD: &str = "cluster.json";
/// The kernel takes 107 bytes for a socket's path; the longest below the state folder need this many.
const LONGEST_PATH: usize = 107 - 47;
const NODE_READY: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);

/// How a cluster differs from the usual one.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// What is said of a control plane.
    pub control_plane: Options,
    /// The node's name.
    pub name: String,
    /// Names and addresses on this machine.
    pub network: Network,
    /// Whether [`images::BUSYBOX`] is made and imported.
    pub busybox: bool,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            control_plane: Options::default(),
            name: "node1".to_owned(),
            network: Network::default(),
            busybox: true,
        }
    }
}

/// What has to be known to go on with a cluster or to remove it, written before anything is made.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    name: String,
    network: Network,
    busybox: bool,
    dns_port: Option<u16>,
    /// Where its programs are, which tells its processes from others.
    programs: PathBuf,
    /// Kernel settings before.
    settings: BTreeMap<String, String>,
    /// Packet tables before.
    tables: Vec<String>,
    /// System folders that were not there before.
    absent: Vec<PathBuf>,
}

/// What the parts of the node are declared with.
struct Parts<'a> {
    state: &'a StateDir,
    access: &'a Access,
    components: &'a mut Components,
    ports: &'a mut Lease,
    binaries: &'a Binaries,
    options: &'a NodeOptions,
}

/// A running cluster. It is also its control plane: clients, etcd, audit log and components are there.
#[derive(Debug)]
pub struct Cluster {
    control_plane: ControlPlane,
    record: Record,
    owned: bool,
}

impl Deref for Cluster {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        &self.control_plane
    }
}

impl Cluster {
    /// Starts a cluster that goes when this handle is dropped. If this process is killed, the processes
    /// of the cluster die with it, and the next start or [`Self::down`] of the folder removes the rest.
    pub async fn start(dir: impl AsRef<Path>, options: NodeOptions) -> Result<Self> {
        let dir = dir.as_ref();
        cleanup::down(dir)?;
        let cluster = Self::declare(dir, &options, Lifetime::Owned)?;
        cluster.run().await?;
        Ok(cluster)
    }

    /// Starts a cluster that lives until [`Self::down`], or what is missing of one that is there.
    pub async fn up(dir: impl AsRef<Path>, options: NodeOptions) -> Result<Self> {
        let dir = dir.as_ref();
        let cluster = if Record::read(dir)?.is_some_and(|record| record.dns_port.is_some()) {
            Self::attach(dir)?
        } else {
            // Nothing, or what was left half-way.
            cleanup::down(dir)?;
            Self::declare(dir, &options, Lifetime::Detached)?
        };
        cluster.run().await?;
        Ok(cluster)
    }

    /// Takes over the cluster of a folder. Dropping this handle leaves it running.
    pub fn attach(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let record =
            Record::read(dir)?.with_context(|| format!("no cluster in {}", dir.display()))?;
        ensure!(
            record.dns_port.is_some(),
            "the cluster in {} was never complete",
            dir.display()
        );
        let control_plane = ControlPlane::attach(dir)?;
        Ok(Self {
            control_plane,
            record,
            owned: false,
        })
    }

    /// Stops the cluster of a folder and removes it, with all traces elsewhere on the machine. Also what
    /// a crash or a reboot left of it, and nothing is nothing to do.
    pub fn down(dir: impl AsRef<Path>) -> Result<()> {
        cleanup::down(dir.as_ref())
    }

    /// The components that do not run.
    pub fn missing(&self) -> Vec<Component> {
        let stopped = self
            .control_plane
            .components()
            .iter()
            .filter(|handle| handle.pid().is_none());
        stopped.map(|handle| handle.component()).collect()
    }

    /// Imports an archive that [`crate::Image::write`] or `docker save` wrote.
    pub fn import_image(&self, archive: impl AsRef<Path>) -> Result<()> {
        let ctr = Binaries::ensure_one("ctr")?;
        containerd::import(&ctr, self.control_plane.state(), archive.as_ref())
    }

    /// The node's name.
    pub fn node_name(&self) -> &str {
        &self.record.name
    }

    /// Names and addresses on this machine.
    pub fn network(&self) -> &Network {
        &self.record.network
    }

    /// kubelet's folder: CSI plugins put their sockets below it.
    pub fn kubelet_dir(&self) -> PathBuf {
        self.control_plane.state().join("kubelet")
    }

    /// Installs the system's packages that a node needs and that are missing.
    pub fn install_packages() -> Result<()> {
        packages::ensure_installed()
    }

    fn declare(dir: &Path, options: &NodeOptions, lifetime: Lifetime) -> Result<Self> {
        ensure!(rustix::process::geteuid().is_root(), "a node needs root");
        options.network.validate()?;
        packages::ensure_installed()?;
        let binaries = Binaries::ensure(&[Set::ControlPlane, Set::Node])?;
        let state = StateDir::new(dir)?;
        let length = state.path().as_os_str().len();
        ensure!(
            length <= LONGEST_PATH,
            "the path of the state folder is too long for sockets"
        );
        state.create()?;
        let mut record = Record {
            name: options.name.clone(),
            network: options.network.clone(),
            busybox: options.busybox,
            dns_port: None,
            programs: cache_dir()?.join("bin"),
            settings: network::settings(),
            tables: cleanup::tables()?,
            absent: cleanup::absent_folders(),
        };
        record.write(&state)?;

        record.network.configure(&state)?;
        let facts = NodeFacts {
            address: IpAddr::V4(options.network.address),
        };
        let mut control_plane =
            ControlPlane::prepare(dir, &options.control_plane, lifetime, Some(&facts))?;
        let (folder, access, components, ports) = control_plane.split();
        let binaries = &binaries;
        let mut declared = Parts {
            state: folder,
            access,
            components,
            ports,
            binaries,
            options,
        };
        containerd::declare(&mut declared)?;
        kubelet::declare_scheduler(&mut declared)?;
        kubelet::declare(&mut declared)?;
        proxy::declare(&mut declared)?;
        record.dns_port = Some(dns::declare(&mut declared)?);
        record.write(control_plane.state())?;
        Ok(Self {
            control_plane,
            record,
            owned: lifetime == Lifetime::Owned,
        })
    }

    /// Starts what does not run, in an order in which nothing has to wait for long.
    async fn run(&self) -> Result<()> {
        self.record.network.up()?;
        cgroups::create(&self.control_plane.state().id())?;
        self.control_plane.start_control_plane().await?;
        let components = self.control_plane.components();
        components.start_all(&[Component::Containerd]).await?;
        self.import_own_images()?;
        let client = self.control_plane.client()?;
        let port = self.record.dns_port.context("a complete record")?;
        dns::install(&client, &self.record.network.address.to_string(), port).await?;
        let rest = [
            Component::Scheduler,
            Component::Kubelet,
            Component::KubeProxy,
            Component::CoreDns,
        ];
        components.start_all(&rest).await?;
        self.node_ready().await
    }

    fn import_own_images(&self) -> Result<()> {
        let folder = self.control_plane.state().join("images");
        fs::create_dir_all(&folder)?;
        let mut own = vec![("pause.tar", images::pause(&folder)?)];
        if self.record.busybox {
            own.push(("busybox.tar", images::busybox()?));
        }
        for (file, image) in own {
            let archive = folder.join(file);
            image.write(&archive)?;
            self.import_image(&archive)?;
        }
        Ok(())
    }

    async fn node_ready(&self) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.control_plane.client()?);
        let deadline = Instant::now() + NODE_READY;
        loop {
            let node = nodes
                .get_opt(&self.record.name)
                .await
                .context("look at the node")?;
            let conditions = node
                .and_then(|node| node.status?.conditions)
                .unwrap_or_default();
            let ready = conditions
                .iter()
                .find(|condition| condition.type_ == "Ready");
            match ready {
                Some(ready) if ready.status == "True" => return Ok(()),
                Some(ready) if Instant::now() > deadline => {
                    bail!(
                        "the node is not ready: {}",
                        ready.message.as_deref().unwrap_or("")
                    )
                }
                None if Instant::now() > deadline => bail!("kubelet does not register the node"),
                _ => tokio::time::sleep(POLL).await,
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.owned {
            return;
        }
        let components = self.control_plane.components();
        if thread::panicking() {
            components.print_logs();
        }
        components.kill_all();
        let dir = self.control_plane.dir().to_owned();
        self.control_plane.disown();
        if state::keep_requested() {
            eprintln!(
                "kept {}; remove it with `keystead-cluster down`",
                dir.display()
            );
        } else if let Err(error) = cleanup::down(&dir) {
            eprintln!("the cluster in {} is not removed: {error:#}", dir.display());
        }
    }
}

impl Record {
    /// The record of a folder, if there is one.
    fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(RECORD);
        match fs::read(&path) {
            Ok(bytes) => {
                let record = serde_json::from_slice(&bytes);
                record
                    .with_context(|| format!("parse {}", path.display()))
                    .map(Some)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    fn write(&self, state: &StateDir) -> Result<()> {
        write_json(&state.join(RECORD), self)
    }
}
