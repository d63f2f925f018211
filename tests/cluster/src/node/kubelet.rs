//! kubelet and the scheduler that gives it pods.

use std::{collections::BTreeMap, fs};

use anyhow::Result;
use serde_json::{Value, json};

use super::{DNS_ADDRESS, DNS_DOMAIN, Parts, containerd};
use crate::{
    certificates::{Authority, Subject},
    components::{Component, Probe},
    process::Spec,
};

pub(super) fn declare(parts: &mut Parts<'_>) -> Result<()> {
    let (state, pki) = (parts.state, parts.access.pki());
    let node = parts.options.name.as_str();
    let address = parts.options.network.address.to_string();

    let user = format!("system:node:{node}");
    let client = Subject {
        name: &user,
        groups: &["system:nodes"],
        hosts: &[],
    };
    let kubeconfig = parts.kubeconfig("kubelet", client)?;
    let hosts = [address.clone(), node.to_owned()];
    let server = Subject {
        name: &user,
        groups: &[],
        hosts: &hosts,
    };
    pki.issue(Authority::Cluster, "kubelet-server", server)?;

    let (port, health) = (parts.ports.take()?, parts.ports.take()?);
    let configuration = configuration(parts, port, health);
    let file = state.join("config/kubelet.json");
    fs::write(&file, serde_json::to_vec_pretty(&configuration)?)?;
    let args = vec![
        format!("--config={}", file.display()),
        format!("--kubeconfig={kubeconfig}"),
        format!("--root-dir={}", state.arg("kubelet")),
        format!("--cert-dir={}", state.arg("kubelet/pki")),
        format!("--node-ip={address}"),
        format!("--hostname-override={node}"),
    ];
    let probe = Probe::Plain(format!("http://127.0.0.1:{health}/healthz"));
    parts.add(Component::Kubelet, args, probe)
}

fn configuration(parts: &Parts<'_>, port: u16, health: u16) -> Value {
    let (state, pki) = (parts.state, parts.access.pki());
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": parts.options.network.address,
        "port": port,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": health,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": pki.certificate(Authority::Cluster.file())},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": pki.certificate("kubelet-server"),
        "tlsPrivateKeyFile": pki.key("kubelet-server"),
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": DNS_DOMAIN,
        "containerRuntimeEndpoint": format!("unix://{}", containerd::socket(state).display()),
        "configMapAndSecretChangeDetectionStrategy": "Watch",
        "podLogsDir": state.arg("pods"),
        "volumePluginDir": state.arg("kubelet/volume-plugins"),
        // Works with either version of cgroups and without systemd.
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", state.id()),
        "failCgroupV1": false,
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        "makeIPTablesUtilChains": false,
        // An image that was removed to save room could not be pulled again.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
    })
}

pub(super) fn declare_scheduler(parts: &mut Parts<'_>) -> Result<()> {
    let local = ["127.0.0.1".to_owned()];
    let subject = Subject {
        name: "system:kube-scheduler",
        groups: &[],
        hosts: &local,
    };
    let kubeconfig = parts.kubeconfig("scheduler", subject)?;
    let port = parts.ports.take()?;
    let pki = parts.access.pki();
    let args = vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        format!("--tls-cert-file={}", pki.certificate("scheduler")),
        format!("--tls-private-key-file={}", pki.key("scheduler")),
        "--leader-elect=false".to_owned(),
    ];
    parts.add(
        Component::Scheduler,
        args,
        Probe::Cluster(format!("https://127.0.0.1:{port}/healthz")),
    )
}

impl Parts<'_> {
    /// Issues a certificate and writes the kubeconfig with it.
    pub(super) fn kubeconfig(&self, name: &str, subject: Subject<'_>) -> Result<String> {
        self.access.pki().issue(Authority::Cluster, name, subject)?;
        let path = self.state.join(&format!("config/{name}.kubeconfig"));
        self.access.write_identity(&path, name)?;
        Ok(path.display().to_string())
    }

    pub(super) fn add(
        &mut self,
        component: Component,
        args: Vec<String>,
        probe: Probe,
    ) -> Result<()> {
        let spec = Spec {
            name: component.name().to_owned(),
            program: self.binaries.path(component.name()).to_owned(),
            args,
            env: BTreeMap::new(),
            log: self.state.log(component.name()),
        };
        self.components.add(component, spec, probe)
    }
}
