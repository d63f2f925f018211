//! kube-proxy: Service addresses by nftables.

use std::fs;

use anyhow::Result;
use serde_json::json;

use super::Parts;
use crate::{
    certificates::Subject,
    components::{Component, Probe},
};

pub(super) fn declare(parts: &mut Parts<'_>) -> Result<()> {
    let subject = Subject {
        name: "system:kube-proxy",
        groups: &[],
        hosts: &[],
    };
    let kubeconfig = parts.kubeconfig("kube-proxy", subject)?;
    let (health, metrics) = (parts.ports.take()?, parts.ports.take()?);
    let configuration = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": kubeconfig},
        "hostnameOverride": parts.options.name,
        "clusterCIDR": parts.options.network.pod_range,
        "healthzBindAddress": format!("127.0.0.1:{health}"),
        "metricsBindAddress": format!("127.0.0.1:{metrics}"),
        // The limits of the machine stay as they are.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
        "nftables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
    });
    let file = parts.state.join("config/kube-proxy.json");
    fs::write(&file, serde_json::to_vec_pretty(&configuration)?)?;
    let args = vec![format!("--config={}", file.display())];
    parts.add(
        Component::KubeProxy,
        args,
        Probe::Plain(format!("http://127.0.0.1:{health}/healthz")),
    )
}
