//! The name server, a process of the node behind the Service that pods ask.

use std::fs;

use anyhow::{Context as _, Result};
use k8s_openapi::{
    ClusterResourceScope, NamespaceResourceScope,
    api::{
        core::v1::Service,
        discovery::v1::EndpointSlice,
        rbac::v1::{ClusterRole, ClusterRoleBinding},
    },
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{DNS_ADDRESS, DNS_DOMAIN, Parts};
use crate::{
    certificates::Subject,
    components::{Component, Probe},
};

const USER: &str = "system:coredns";

/// Returns the port it answers on.
pub(super) fn declare(parts: &mut Parts<'_>) -> Result<u16> {
    let kubeconfig = parts.kubeconfig(
        "coredns",
        Subject {
            name: USER,
            groups: &[],
            hosts: &[],
        },
    )?;
    let (port, ready) = (parts.ports.take()?, parts.ports.take()?);
    let forward =
        if fs::read_to_string("/etc/resolv.conf").is_ok_and(|it| it.contains("nameserver")) {
            "forward . /etc/resolv.conf"
        } else {
            ""
        };
    let configuration = format!(
        ".:{port} {{
    bind {address}
    errors
    ready 127.0.0.1:{ready}
    kubernetes {DNS_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        ttl 5
    }}
    {forward}
    loadbalance
}}
",
        address = parts.options.network.address,
    );
    let file = parts.state.join("config/Corefile");
    fs::write(&file, configuration)?;
    let args = vec![format!("-conf={}", file.display())];
    let probe = Probe::Plain(format!("http://127.0.0.1:{ready}/ready"));
    parts.add(Component::CoreDns, args, probe)?;
    Ok(port)
}

/// The Service with its endpoint, and the rights of the name server and of the API server towards kubelet.
pub(super) async fn install(client: &Client, address: &str, port: u16) -> Result<()> {
    let role = json!({"rules": [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]});
    cluster::<ClusterRole>(client, USER, role).await?;
    cluster::<ClusterRoleBinding>(client, USER, binding(USER, USER)).await?;
    let kubelets = "kube-apiserver-kubelet-client";
    let binding = binding("system:kubelet-api-admin", kubelets);
    cluster::<ClusterRoleBinding>(client, kubelets, binding).await?;

    let port_of = |name: &str, protocol: &str, port: u16| json!({"name": name, "protocol": protocol, "port": port});
    let service = json!({
        "metadata": {"labels": {"k8s-app": "kube-dns"}},
        "spec": {
            "clusterIP": DNS_ADDRESS,
            "ports": [port_of("dns", "UDP", 53), port_of("dns-tcp", "TCP", 53)],
        },
    });
    namespaced::<Service>(client, "kube-dns", service).await?;
    let endpoints = json!({
        "metadata": {"labels": {
            "kubernetes.io/service-name": "kube-dns",
            "endpointslice.kubernetes.io/managed-by": "keystead-cluster",
        }},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
        "ports": [port_of("dns", "UDP", port), port_of("dns-tcp", "TCP", port)],
    });
    namespaced::<EndpointSlice>(client, "kube-dns-node", endpoints).await
}

fn binding(role: &str, user: &str) -> Value {
    json!({
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    })
}

async fn cluster<K>(client: &Client, name: &str, object: Value) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Object,
{
    apply(&Api::<K>::all(client.clone()), name, object).await
}

async fn namespaced<K>(client: &Client, name: &str, object: Value) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Object,
{
    apply(
        &Api::<K>::namespaced(client.clone(), "kube-system"),
        name,
        object,
    )
    .await
}

trait Object: Clone + std::fmt::Debug + DeserializeOwned {}
impl<T: Clone + std::fmt::Debug + DeserializeOwned> Object for T {}

async fn apply<K>(api: &Api<K>, name: &str, mut object: Value) -> Result<()>
where
    K: Resource<DynamicType = ()> + Object,
{
    object["apiVersion"] = json!(K::api_version(&()));
    object["kind"] = json!(K::kind(&()));
    object["metadata"]["name"] = json!(name);
    let params = PatchParams::apply("keystead-cluster").force();
    api.patch(name, &params, &Patch::Apply(object))
        .await
        .with_context(|| format!("apply {} {name}", K::kind(&())))
        .map(drop)
}
