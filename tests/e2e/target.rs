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

use keystead_cluster::{Cluster, NodeOptions, images::BUSYBOX};
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

/// A variable that must be set.
pub(crate) fn setting(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `make e2e`, or see tests/e2e/target.rs for other clusters")
    })
}
