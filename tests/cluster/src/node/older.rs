//! The node with an older kubelet, as it is while a cluster is being upgraded.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::Node;
use kube::Api;

use super::{Cluster, NODE_READY, POLL};
use crate::{
    binaries::{Binaries, Set},
    components::Component,
};

/// The program.
const OLDER: &str = "kubelet-1.34";

impl Cluster {
    /// Has the node run by a kubelet of Kubernetes 1.34, with the same configuration and folders, until
    /// [`Self::run_usual_kubelet`]. Pods that run go on. That kubelet is built when it is first asked for.
    pub async fn run_older_kubelet(&self) -> Result<()> {
        let binaries = Binaries::ensure(&[Set::OlderKubelet])?;
        let kubelet = self.component(Component::Kubelet);
        kubelet.stop().await?;
        kubelet.start_as(binaries.path(OLDER)).await?;
        self.node_runs(Binaries::version(OLDER)?).await
    }

    /// Has the node run by the kubelet that it was started with.
    pub async fn run_usual_kubelet(&self) -> Result<()> {
        let kubelet = self.component(Component::Kubelet);
        kubelet.stop().await?;
        kubelet.start().await?;
        self.node_runs(Binaries::version(Component::Kubelet.name())?)
            .await
    }

    /// Waits until the node is ready and says that its kubelet has that version: what it said before
    /// stays there until the kubelet that was just started has its say.
    async fn node_runs(&self, version: &str) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.client()?);
        let deadline = Instant::now() + NODE_READY;
        loop {
            let node = nodes
                .get(self.node_name())
                .await
                .context("look at the node")?;
            let info = node.status.and_then(|status| status.node_info);
            if info.is_some_and(|info| info.kubelet_version == version) {
                return self.node_ready().await;
            }
            if Instant::now() > deadline {
                bail!("the node does not say that its kubelet is {version}");
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
