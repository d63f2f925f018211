//! Certificates and command lines of the control plane's components.

use std::{collections::BTreeMap, fs, net::IpAddr};

use anyhow::Result;

use crate::{
    binaries::Binaries,
    certificates::{Authority, Pki, Subject},
    components::{Component, Components, Probe},
    control_plane::Options,
    process::Spec,
    state::{Layout, StateDir},
};

pub(crate) const ETCD_NAME: &str = "etcd";
const SERVICE_RANGE: &str = "10.96.0.0/16";
/// The first address of the range: the Service `kubernetes`.
const SERVICE_ADDRESS: &str = "10.96.0.1";

/// What the control plane has to know of a node.
#[derive(Debug, Clone)]
pub(crate) struct NodeFacts {
    /// The address of the API server and of kubelet.
    pub(crate) address: IpAddr,
}

/// Issues the certificates of the control plane.
pub(crate) fn issue_certificates(pki: &Pki, node: Option<&NodeFacts>) -> Result<()> {
    let local = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut names = local.to_vec();
    names.push(SERVICE_ADDRESS.to_owned());
    for suffix in ["", ".default", ".default.svc", ".default.svc.cluster.local"] {
        names.push(format!("kubernetes{suffix}"));
    }
    names.extend(node.map(|node| node.address.to_string()));
    let server = |name| Subject {
        name,
        groups: &[],
        hosts: &local,
    };
    let client = |name| Subject {
        name,
        groups: &[],
        hosts: &[],
    };
    let masters = |name| Subject {
        name,
        groups: &["system:masters"],
        hosts: &[],
    };

    pki.issue(Authority::Etcd, "etcd", server("etcd"))?;
    pki.issue(
        Authority::Etcd,
        "apiserver-etcd-client",
        client("apiserver"),
    )?;
    pki.issue(
        Authority::FrontProxy,
        "front-proxy-client",
        client("front-proxy-client"),
    )?;
    let api_server = Subject {
        name: "kube-apiserver",
        groups: &[],
        hosts: &names,
    };
    pki.issue(Authority::Cluster, "apiserver", api_server)?;
    pki.issue(
        Authority::Cluster,
        "apiserver-kubelet-client",
        client("kube-apiserver-kubelet-client"),
    )?;
    pki.issue(Authority::Cluster, "admin", masters("kubernetes-admin"))?;
    let manager = Subject {
        hosts: &local,
        ..client("system:kube-controller-manager")
    };
    pki.issue(Authority::Cluster, "controller-manager", manager)
}

/// Declares etcd, API server and controller manager.
pub(crate) fn declare(
    components: &mut Components,
    state: &StateDir,
    layout: &Layout,
    pki: &Pki,
    binaries: &Binaries,
    options: &Options,
    node: Option<&NodeFacts>,
) -> Result<()> {
    let spec = |component: Component, args| Spec {
        name: component.name().to_owned(),
        program: binaries.path(component.name()).to_owned(),
        args,
        env: environment(node),
        log: state.log(component.name()),
    };
    let url = |host: &str, port: u16, path: &str| format!("https://{host}:{port}{path}");

    let etcd = spec(Component::Etcd, etcd(state, layout, pki, options));
    let probe = Probe::Etcd(url("127.0.0.1", layout.etcd_port, "/health"));
    components.add(Component::Etcd, etcd, probe)?;

    if let Some(policy) = options.audit.policy() {
        fs::write(
            state.join("config/audit-policy.json"),
            serde_json::to_vec_pretty(&policy)?,
        )?;
    }
    let api_server = spec(
        Component::ApiServer,
        api_server(state, layout, pki, options, node),
    );
    let probe = Probe::Cluster(url(&layout.address.to_string(), layout.api_port, "/readyz"));
    components.add(Component::ApiServer, api_server, probe)?;

    if options.controller_manager {
        let args = controller_manager(state, layout, pki, options);
        let probe = Probe::Cluster(url("127.0.0.1", layout.controller_port, "/healthz"));
        components.add(
            Component::ControllerManager,
            spec(Component::ControllerManager, args),
            probe,
        )?;
    }
    Ok(())
}

/// Many control planes run side by side in tests, which have memory to spare and no processors: they collect garbage more
/// rarely. The one of a node is a person's demo too.
fn environment(node: Option<&NodeFacts>) -> BTreeMap<String, String> {
    let rarely = node
        .is_none()
        .then(|| ("GOGC".to_owned(), "400".to_owned()));
    rarely.into_iter().collect()
}

fn etcd(state: &StateDir, layout: &Layout, pki: &Pki, options: &Options) -> Vec<String> {
    let client = format!("https://127.0.0.1:{}", layout.etcd_port);
    let peer = format!("https://127.0.0.1:{}", layout.etcd_peer_port);
    let authority = pki.certificate(Authority::Etcd.file());
    let mut args = vec![
        format!("--name={ETCD_NAME}"),
        format!("--data-dir={}", state.arg("etcd")),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster={ETCD_NAME}={peer}"),
        "--log-level=warn".to_owned(),
    ];
    for prefix in ["", "peer-"] {
        args.push(format!("--{prefix}cert-file={}", pki.certificate("etcd")));
        args.push(format!("--{prefix}key-file={}", pki.key("etcd")));
        args.push(format!("--{prefix}trusted-ca-file={authority}"));
        args.push(format!("--{prefix}client-cert-auth=true"));
    }
    if !options.fsync {
        args.push("--unsafe-no-fsync".to_owned());
    }
    args
}

fn api_server(
    state: &StateDir,
    layout: &Layout,
    pki: &Pki,
    options: &Options,
    node: Option<&NodeFacts>,
) -> Vec<String> {
    let account_key = |file| pki.path(file).display().to_string();
    let mut args = vec![
        format!("--etcd-servers=https://127.0.0.1:{}", layout.etcd_port),
        format!("--etcd-cafile={}", pki.certificate(Authority::Etcd.file())),
        format!(
            "--etcd-certfile={}",
            pki.certificate("apiserver-etcd-client")
        ),
        format!("--etcd-keyfile={}", pki.key("apiserver-etcd-client")),
        format!("--secure-port={}", layout.api_port),
        format!("--tls-cert-file={}", pki.certificate("apiserver")),
        format!("--tls-private-key-file={}", pki.key("apiserver")),
        format!(
            "--client-ca-file={}",
            pki.certificate(Authority::Cluster.file())
        ),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--allow-privileged=true".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
        format!(
            "--service-account-key-file={}",
            account_key("service-account.pub")
        ),
        format!(
            "--service-account-signing-key-file={}",
            account_key("service-account.key")
        ),
        format!("--service-cluster-ip-range={SERVICE_RANGE}"),
        format!(
            "--requestheader-client-ca-file={}",
            pki.certificate("front-proxy-ca")
        ),
        "--requestheader-allowed-names=front-proxy-client".to_owned(),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        format!(
            "--proxy-client-cert-file={}",
            pki.certificate("front-proxy-client")
        ),
        format!("--proxy-client-key-file={}", pki.key("front-proxy-client")),
        "--enable-aggregator-routing=true".to_owned(),
        "--profiling=false".to_owned(),
        format!("--watch-cache={}", options.watch_cache),
    ];
    match node {
        None => args.extend([
            "--bind-address=127.0.0.1".to_owned(),
            // Its own address is no valid endpoint, and no pod is there to use it.
            "--endpoint-reconciler-type=none".to_owned(),
        ]),
        Some(node) => args.extend([
            "--bind-address=0.0.0.0".to_owned(),
            format!("--advertise-address={}", node.address),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            format!(
                "--kubelet-client-certificate={}",
                pki.certificate("apiserver-kubelet-client")
            ),
            format!(
                "--kubelet-client-key={}",
                pki.key("apiserver-kubelet-client")
            ),
            format!(
                "--kubelet-certificate-authority={}",
                pki.certificate(Authority::Cluster.file())
            ),
        ]),
    }
    if options.audit.policy().is_some() {
        args.push(format!(
            "--audit-policy-file={}",
            state.arg("config/audit-policy.json")
        ));
        args.push(format!("--audit-log-path={}", state.audit_log().display()));
        // Never rotated: marks are offsets into the one file.
        args.push("--audit-log-maxsize=1000000".to_owned());
    }
    args.extend(options.api_server_flags.iter().cloned());
    args
}

fn controller_manager(
    state: &StateDir,
    layout: &Layout,
    pki: &Pki,
    options: &Options,
) -> Vec<String> {
    let kubeconfig = state.arg("config/controller-manager.kubeconfig");
    let authority = Authority::Cluster.file();
    let mut args = vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={}", layout.controller_port),
        format!("--tls-cert-file={}", pki.certificate("controller-manager")),
        format!("--tls-private-key-file={}", pki.key("controller-manager")),
        "--leader-elect=false".to_owned(),
        "--use-service-account-credentials=true".to_owned(),
        format!("--root-ca-file={}", pki.certificate(authority)),
        format!(
            "--service-account-private-key-file={}",
            pki.path("service-account.key").display()
        ),
        format!("--cluster-signing-cert-file={}", pki.certificate(authority)),
        format!("--cluster-signing-key-file={}", pki.key(authority)),
        format!("--service-cluster-ip-range={SERVICE_RANGE}"),
        "--profiling=false".to_owned(),
    ];
    args.extend(options.controller_manager_flags.iter().cloned());
    args
}
