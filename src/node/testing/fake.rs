//! A server that has secrets as tests say, over TLS as the real one.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt as _;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::listen::{self, Limits};

const LIMITS: Limits = Limits {
    connections: 64,
    header_time: Duration::from_secs(10),
    header_bytes: 64 * 1024,
    connection_time: Duration::from_secs(120),
    grace: Duration::from_millis(100),
};

/// What the server has and was asked.
#[derive(Default)]
pub(in crate::node) struct Has {
    /// By namespace and name: version and values.
    pub(in crate::node) secrets: BTreeMap<(String, String), (String, Value)>,
    /// What every call for values is refused with: status, name, text.
    pub(in crate::node) refuses: Option<(u16, &'static str, &'static str)>,
    /// Whether it gives nothing for variables.
    pub(in crate::node) kubelet_is_older: bool,
    /// The calls, by name.
    pub(in crate::node) calls: BTreeMap<String, usize>,
    /// What pods have, by their UID.
    pub(in crate::node) reports: BTreeMap<String, Value>,
    /// What an answer with values is filled up with.
    pub(in crate::node) filler: usize,
}

/// The server.
pub(in crate::node) struct FakeServer {
    /// `https://localhost:<port>`.
    pub(in crate::node) address: String,
    has: Arc<Mutex<Has>>,
    news: watch::Sender<u64>,
    task: JoinHandle<()>,
    port: u16,
}

struct Shared {
    has: Arc<Mutex<Has>>,
    news: watch::Sender<u64>,
}

/// An authority and what the server shows, all PEM or DER.
struct Identity {
    authority: String,
    config: Arc<ServerConfig>,
}

fn identity() -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let signed = authority.self_signed(&key).unwrap();
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    Identity {
        authority: signed.pem(),
        config: Arc::new(config),
    }
}

impl FakeServer {
    /// Starts one, and writes its authority into a file.
    pub(in crate::node) async fn start(authorities: &Path) -> Self {
        let identity = identity();
        std::fs::write(authorities, &identity.authority).unwrap();
        let has = Arc::<Mutex<Has>>::default();
        let news = watch::Sender::new(0);
        let (task, port) = serve(0, identity.config, has.clone(), news.clone()).await;
        Self {
            address: format!("https://localhost:{port}"),
            has,
            news,
            task,
            port,
        }
    }

    /// What it has.
    pub(in crate::node) fn has(&self) -> MutexGuard<'_, Has> {
        self.has.lock().unwrap()
    }

    /// Gives a secret of namespace `shop` a version and values.
    pub(in crate::node) fn put(&self, name: &str, version: &str, values: Value) {
        let place = ("shop".to_owned(), name.to_owned());
        self.has()
            .secrets
            .insert(place, (version.to_owned(), values));
        self.news.send_modify(|count| *count += 1);
    }

    /// Removes a secret.
    pub(in crate::node) fn remove(&self, name: &str) {
        self.has()
            .secrets
            .remove(&("shop".to_owned(), name.to_owned()));
        self.news.send_modify(|count| *count += 1);
    }

    /// How often something was called.
    pub(in crate::node) fn calls(&self, name: &str) -> usize {
        let calls = &self.has().calls;
        calls.get(name).copied().unwrap_or_default()
    }

    /// It goes away.
    pub(in crate::node) fn stop(&self) {
        self.task.abort();
    }

    /// It comes back with another certificate of another authority, at the same address.
    pub(in crate::node) async fn start_again(&mut self, authorities: &Path) {
        let identity = identity();
        std::fs::write(authorities, &identity.authority).unwrap();
        let (has, news) = (self.has.clone(), self.news.clone());
        (self.task, _) = serve(self.port, identity.config, has, news).await;
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    port: u16,
    config: Arc<ServerConfig>,
    has: Arc<Mutex<Has>>,
    news: watch::Sender<u64>,
) -> (JoinHandle<()>, u16) {
    let listener = TcpListener::bind(("localhost", port)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(config);
    let router = Router::new()
        .route("/", post(answer))
        .with_state(Arc::new(Shared { has, news }));
    let wrap = move |stream| {
        let acceptor = acceptor.clone();
        async move { acceptor.accept(stream).await }
    };
    let task = tokio::spawn(async move {
        listen::serve(LIMITS, listener, wrap, router, pending()).await;
    });
    (task, port)
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers[name].to_str().unwrap().to_owned();
    let target = header("x-amz-target");
    assert_eq!(header("content-type"), "application/x-amz-json-1.1");
    let token = header("authorization");
    let token = token.strip_prefix("Bearer ").unwrap().to_owned();
    let body = body.collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let call = target.strip_prefix("keystead.").unwrap().to_owned();
    *shared
        .has
        .lock()
        .unwrap()
        .calls
        .entry(call.clone())
        .or_default() += 1;
    match call.as_str() {
        "GetSecretFiles" => files(&shared, &token, &body),
        _ if token != "token of the plugin" => refuse(400, "AccessDeniedException", "who are you"),
        "WatchSecrets" => changed(&shared, &body).await,
        "ReportLoaded" => report(&shared, &body),
        _ => refuse(400, "UnknownOperationException", "no such call"),
    }
}

fn refuse(status: u16, code: &str, message: &str) -> Response {
    let body = json!({"__type": code, "message": message}).to_string();
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}

fn revision(version: &str) -> String {
    format!("revision of {version}")
}

fn files(shared: &Shared, token: &str, asked: &Value) -> Response {
    let has = shared.has.lock().unwrap();
    if let Some((status, code, message)) = has.refuses {
        return refuse(status, code, message);
    }
    if has.kubelet_is_older && asked["ForVariables"] == true {
        return refuse(400, "InvalidRequestException", "the kubelet is older");
    }
    if !token.starts_with("token of pod ") {
        return refuse(400, "UnrecognizedClientException", "the token is not valid");
    }
    let name = asked["SecretId"].as_str().unwrap().to_owned();
    let Some((version, values)) = has.secrets.get(&("shop".to_owned(), name)) else {
        return refuse(400, "ResourceNotFoundException", "there is no such secret");
    };
    let values = values.as_object().unwrap().iter();
    let data: serde_json::Map<_, _> = values
        .map(|(key, value)| (key.clone(), STANDARD.encode(value.as_str().unwrap()).into()))
        .collect();
    json!({
        "VersionId": version,
        "Revision": revision(version),
        "Data": data,
        "Filler": "x".repeat(has.filler),
    })
    .to_string()
    .into_response()
}

async fn changed(shared: &Shared, asked: &Value) -> Response {
    let mut news = shared.news.subscribe();
    let asked: Vec<_> = asked["Secrets"].as_array().unwrap().clone();
    loop {
        news.mark_unchanged();
        let changed: Vec<_> = {
            let has = shared.has.lock().unwrap();
            let told = asked.iter().filter_map(|one| {
                let text = |field: &str| one[field].as_str().unwrap().to_owned();
                let place = (text("Namespace"), text("Name"));
                let there = has.secrets.get(&place);
                let there = there.map(|(version, _)| Value::from(revision(version)));
                let known = one.get("Revision").cloned();
                (there != known).then(|| match there {
                    Some(there) => {
                        json!({"Namespace": place.0, "Name": place.1, "Revision": there})
                    }
                    None => json!({"Namespace": place.0, "Name": place.1}),
                })
            });
            told.collect()
        };
        if !changed.is_empty() {
            return json!({"Secrets": changed}).to_string().into_response();
        }
        let waited = tokio::time::timeout(Duration::from_secs(30), news.changed());
        if waited.await.is_err() {
            return json!({"Secrets": []}).to_string().into_response();
        }
    }
}

fn report(shared: &Shared, asked: &Value) -> Response {
    let mut has = shared.has.lock().unwrap();
    for pod in asked["Pods"].as_array().unwrap() {
        let uid = pod["Uid"].as_str().unwrap().to_owned();
        has.reports.insert(uid, pod["Secrets"].clone());
    }
    json!({"Failed": []}).to_string().into_response()
}

/// Waits until `ready` says so; fails the test when that takes too long.
pub(in crate::node) async fn eventually(what: &str, mut ready: impl FnMut() -> bool) {
    for _ in 0..400 {
        if ready() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

/// A folder with the files that a client needs.
pub(in crate::node) struct Files(pub(in crate::node) tempfile::TempDir);

impl Files {
    pub(in crate::node) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(in crate::node) fn authorities(&self) -> PathBuf {
        self.0.path().join("ca.crt")
    }

    pub(in crate::node) fn token(&self) -> PathBuf {
        self.0.path().join("token")
    }
}

/// Ends a future that must not take long.
pub(in crate::node) async fn within<T>(work: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(30);
    let done = tokio::time::timeout(limit, work).await;
    done.expect("must end in time")
}
