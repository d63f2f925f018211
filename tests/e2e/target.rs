//! The cluster that the tests run on.
//!
//! | variable | meaning |
//! |---|---|
//! | `KEYSTEAD_IMAGE` | the image to install, with its tag |
//! | `KEYSTEAD_IMAGE_TAR` | its archive; imported into our own node, and not needed otherwise |
//! | `KEYSTEAD_E2E_KUBECONFIG` | a cluster to use instead of our own node, which can pull the image |
//! | `KEYSTEAD_E2E_BUSYBOX` | an image with a shell that this cluster can pull |
//!
//! `make image` and `make e2e` set the first two.

use std::env;
use std::path::{Path, PathBuf};

use keystead_cluster::images::{self, BUSYBOX};
use keystead_cluster::{Cluster, Component, NodeOptions};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Our own node, or somebody's cluster.
pub(crate) enum Target {
    Own {
        cluster: Box<Cluster>,
        runtime: Runtime,
        /// Where the cluster lives; it must go first.
        _dir: TempDir,
    },
    Foreign {
        kubeconfig: PathBuf,
        busybox: String,
    },
}

impl Target {
    /// Starts our own node with the image, or takes what the environment names.
    pub(crate) fn from_environment() -> Self {
        if let Some(kubeconfig) = env::var_os("KEYSTEAD_E2E_KUBECONFIG") {
            return Self::Foreign {
                kubeconfig: std::path::absolute(kubeconfig).expect("a path"),
                busybox: setting("KEYSTEAD_E2E_BUSYBOX"),
            };
        }
        let archive = setting("KEYSTEAD_IMAGE_TAR");
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let dir = tempfile::tempdir().expect("a folder for the cluster");
        let runtime = Runtime::new().expect("an asynchronous runtime");
        let started =
            runtime.block_on(Cluster::start(dir.path().join("k"), NodeOptions::default()));
        // The reason names what is missing, be it root or a package.
        let cluster = started.unwrap_or_else(|reason| panic!("no cluster starts: {reason:#}"));
        cluster
            .import_image(archive)
            .expect("the image is imported");
        Self::Own {
            cluster: Box::new(cluster),
            runtime,
            _dir: dir,
        }
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        match self {
            Self::Own { cluster, .. } => cluster.kubeconfig(),
            Self::Foreign { kubeconfig, .. } => kubeconfig,
        }
    }

    /// kubelet's root folder.
    pub(crate) fn kubelet_root(&self) -> PathBuf {
        match self {
            Self::Own { cluster, .. } => cluster.kubelet_dir(),
            Self::Foreign { .. } => "/var/lib/kubelet".into(),
        }
    }

    /// Our own node, whose parts may be stopped. `None`, with a reason printed, where the cluster is not ours.
    pub(crate) fn own(&self) -> Option<OwnNode<'_>> {
        match self {
            Self::Own {
                cluster, runtime, ..
            } => Some(OwnNode { cluster, runtime }),
            Self::Foreign { .. } => {
                println!("NOT CHECKED: what stops parts of a cluster, which is not ours here");
                None
            }
        }
    }

    /// An image with a shell.
    pub(crate) fn busybox(&self) -> &str {
        match self {
            Self::Own { .. } => BUSYBOX,
            Self::Foreign { busybox, .. } => busybox,
        }
    }

    /// The keys of etcd whose value contains a text, as it is or in base64. `None` where etcd is not ours to read.
    pub(crate) fn keys_containing(&self, text: &str) -> Option<Vec<String>> {
        match self {
            Self::Own {
                cluster, runtime, ..
            } => {
                let etcd = cluster.etcd();
                let keys = runtime.block_on(etcd.keys_containing(text.as_bytes()));
                Some(keys.expect("etcd answers"))
            }
            Self::Foreign { .. } => None,
        }
    }
}

/// Our own node.
#[derive(Clone, Copy)]
pub(crate) struct OwnNode<'a> {
    cluster: &'a Cluster,
    runtime: &'a Runtime,
}

impl<'a> OwnNode<'a> {
    /// Its name.
    pub(crate) fn name(self) -> &'a str {
        self.cluster.node_name()
    }

    /// An image with Python and a client of PostgreSQL, made and imported now.
    pub(crate) fn workshop(self) -> &'static str {
        let folder = tempfile::tempdir().expect("a folder for the image");
        let archive = folder.path().join("workshop.tar");
        let image = images::workshop().expect("the image is made");
        image.write(&archive).expect("the image is written");
        let imported = self.cluster.import_image(&archive);
        imported.expect("the image is imported");
        images::WORKSHOP
    }

    /// Kills a part of the cluster without a warning.
    pub(crate) fn kill(self, component: Component) {
        let killed = self.cluster.component(component).kill();
        killed.expect("it can be killed");
    }

    /// Ends a part of the cluster as systems do.
    pub(crate) fn stop(self, component: Component) {
        let component = self.cluster.component(component);
        self.runtime.block_on(component.stop()).expect("it ends");
    }

    /// Starts it again, and waits until it serves.
    pub(crate) fn start(self, component: Component) {
        let component = self.cluster.component(component);
        self.runtime.block_on(component.start()).expect("it starts");
    }

    /// Has it run by an older kubelet, which is built when it is first asked for.
    pub(crate) fn run_older_kubelet(self) {
        let running = self.runtime.block_on(self.cluster.run_older_kubelet());
        running.expect("the older kubelet runs");
    }

    /// Has it run by the usual kubelet again.
    pub(crate) fn run_usual_kubelet(self) -> anyhow::Result<()> {
        self.runtime.block_on(self.cluster.run_usual_kubelet())
    }

    /// Takes away what a reboot takes from the node.
    pub(crate) fn cut_power(self) {
        self.cluster.cut_power().expect("nothing is left of it");
    }

    /// Starts the node again.
    pub(crate) fn switch_on(self) {
        let started = self.cluster.switch_on();
        self.runtime.block_on(started).expect("the node starts");
    }
}

/// A variable that must be set.
pub(crate) fn setting(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `make e2e`, or see tests/e2e/target.rs for other clusters")
    })
}
