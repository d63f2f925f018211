//! A control plane whose API is called.

use k8s_openapi::api::authentication::v1::BoundObjectReference;
use k8s_openapi::api::core::v1::Pod;
use keystead::audit::{Verifier, is_audit_line};
use kube::ResourceExt;
use serde_json::Value;

use super::calls::AUDIENCE;
use super::{Bed, Calls, Operator, Proxy};

/// A control plane with a controller and a replica of the server.
pub(crate) struct Served {
    /// The control plane.
    pub(crate) bed: Bed,
    /// The replica.
    pub(crate) server: Operator,
    _controller: Operator,
}

impl Served {
    /// Starts it, with these service accounts (namespace and name) and their namespaces.
    pub(crate) async fn start(accounts: &[(&str, &str)]) -> Self {
        let bed = Bed::start().await;
        let controller = bed.operator().await;
        let server = bed.server().await;
        Self::of(bed, controller, server, accounts).await
    }

    /// The same, with a way to the API server on which the replica alone depends. It is not asked by webhooks.
    pub(crate) async fn start_by_way_of(accounts: &[(&str, &str)]) -> (Self, Proxy) {
        let bed = Bed::start().await;
        let controller = bed.operator().await;
        let proxy = bed.proxy().await;
        let server = bed.server_by_way_of("one", &proxy).await;
        server.wait_ready().await;
        (Self::of(bed, controller, server, accounts).await, proxy)
    }

    async fn of(
        bed: Bed,
        controller: Operator,
        server: Operator,
        accounts: &[(&str, &str)],
    ) -> Self {
        let served = Self {
            bed,
            server,
            _controller: controller,
        };
        let mut made = Vec::new();
        for (namespace, account) in accounts {
            if !made.contains(namespace) {
                served.bed.namespace(namespace).await;
                made.push(*namespace);
            }
            served.account(namespace, account).await;
        }
        served
    }

    /// Makes a service account.
    pub(crate) async fn account(&self, namespace: &str, name: &str) {
        let args = ["create", "serviceaccount", name, "-n", namespace];
        self.bed.kubectl(&args).await.expect_ok();
    }

    /// Calls as that service account.
    pub(crate) async fn calls(&self, namespace: &str, account: &str) -> Calls {
        Calls::account(&self.bed, &self.server, namespace, account).await
    }

    /// Calls with that token.
    pub(crate) async fn calls_with(&self, token: String) -> Calls {
        Calls::token(&self.bed, &self.server, token).await
    }

    /// The token of that pod, of that service account, as kubelet would get it.
    pub(crate) async fn bound_token(&self, namespace: &str, account: &str, pod: &Pod) -> String {
        let object = BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(pod.name_any()),
            uid: pod.uid(),
        };
        let cluster = &self.bed.cluster;
        let made = cluster
            .bound_token(namespace, account, &[AUDIENCE], object)
            .await;
        made.expect("a token is made")
    }

    /// The audit lines of the replica about secrets, whose chain is whole.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let log = self.server.log();
        let mut verifier = Verifier::new(true);
        for line in log.split_inclusive('\n') {
            verifier.line(line.as_bytes());
        }
        assert!(verifier.finish().is_intact(), "{log}");
        let lines = log.lines().filter(|line| is_audit_line(line.as_bytes()));
        let lines = lines.map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        lines
            .filter(|line| line["eventSource"] == "secretsmanager.keystead.dev")
            .collect()
    }
}
