//! A webhook of somebody else, as meshes have one: it adds an init container in front and a sidecar, which takes a variable from a secret.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use keystead::listen::{Limits, serve};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::support::Bed;

const LIMITS: Limits = Limits {
    connections: 64,
    header_time: Duration::from_secs(5),
    header_bytes: 16 * 1024,
    connection_time: Duration::from_secs(600),
    grace: Duration::from_secs(1),
};

/// Ends with the value.
pub(super) struct Mesh(JoinHandle<()>);

impl Drop for Mesh {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Mesh {
    /// Has pods of `namespace` pass by it. The API server asks webhooks in the order of the configurations' names.
    pub(super) async fn start(bed: &Bed, name: &str, namespace: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
        let made = made.expect("a certificate");
        let authority = BASE64.encode(made.cert.pem());
        let key = made.signing_key.serialize_pem();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            let wrap = |stream| {
                let acceptor = acceptor.clone();
                async move { acceptor.accept(stream).await }
            };
            let router = Router::new().route("/", post(asked));
            serve(LIMITS, listener, wrap, router, std::future::pending()).await;
        });
        let webhook = json!({
            "name": format!("{name}.example.com"), "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "reinvocationPolicy": "IfNeeded",
            "clientConfig": {"url": format!("https://localhost:{port}/"), "caBundle": authority},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        });
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": {"name": name},
            "webhooks": [webhook],
        });
        bed.apply(&configuration.to_string()).await;
        Self(serving)
    }

    /// Has no pod pass by it any more.
    pub(super) async fn stop(self, bed: &Bed, name: &str) {
        let args = ["delete", "mutatingwebhookconfiguration", name];
        bed.kubectl(&args).await.expect_ok();
    }
}

async fn asked(body: Bytes) -> ([(axum::http::HeaderName, &'static str); 1], String) {
    let review = serde_json::from_slice(&body).unwrap();
    (
        [(CONTENT_TYPE, "application/json")],
        answer(&review).to_string(),
    )
}

fn answer(review: &Value) -> Value {
    let request = &review["request"];
    let spec = &request["object"]["spec"];
    let containers = spec["containers"].as_array().unwrap();
    let mut operations = Vec::new();
    if containers
        .iter()
        .all(|container| container["name"] != "proxy")
    {
        let from = json!({"secretKeyRef": {"name": "db", "key": "user"}});
        let proxy = json!({"name": "proxy", "image": "mesh:1", "env": [{"name": "MESH_USER", "valueFrom": from}]});
        operations.push(json!({"op": "add", "path": "/spec/containers/0", "value": proxy}));
        let first = json!({"name": "mesh-init", "image": "mesh:1"});
        let (path, value) = match spec["initContainers"].as_array() {
            Some(_) => ("/spec/initContainers/0", first),
            None => ("/spec/initContainers", json!([first])),
        };
        operations.push(json!({"op": "add", "path": path, "value": value}));
    }
    let patch = BASE64.encode(Value::Array(operations).to_string());
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {
        "uid": request["uid"], "allowed": true, "patchType": "JSONPatch", "patch": patch}})
}
