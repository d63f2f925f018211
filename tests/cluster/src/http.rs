//! HTTP to the components, over the client that talks to the API server anyway.

use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use kube::{Client, Config, config::AuthInfo};
use serde_json::Value;

use crate::certificates::Identity;

/// How the client shows who it is.
pub(crate) enum Credential<'a> {
    Certificate(&'a Identity),
    Token(String),
    Nothing,
}

/// What a client needs to know to talk to one server.
pub(crate) fn config(url: &str, authority_pem: &str, credential: Credential<'_>) -> Result<Config> {
    let mut config = Config::new(url.parse().with_context(|| format!("parse {url}"))?);
    config.root_cert = Some(vec![der(authority_pem)?]);
    config.auth_info = match credential {
        Credential::Certificate(identity) => AuthInfo {
            client_certificate_data: Some(BASE64.encode(&identity.certificate)),
            client_key_data: Some(BASE64.encode(&identity.key).into()),
            ..AuthInfo::default()
        },
        Credential::Token(token) => AuthInfo {
            token: Some(token.into()),
            ..AuthInfo::default()
        },
        Credential::Nothing => AuthInfo::default(),
    };
    Ok(config)
}

/// A client for health checks and etcd: fails at once instead of retrying.
pub(crate) fn impatient(mut config: Config, timeout: Duration) -> Result<Client> {
    config.default_retry = false;
    config.connect_timeout = Some(timeout);
    config.read_timeout = Some(timeout);
    config.write_timeout = Some(timeout);
    Client::try_from(config).context("build a client")
}

/// GET; the body when the answer is a success.
pub(crate) async fn get(client: &Client, path: &str) -> Result<String> {
    let request = http_request("GET", path, Vec::new())?;
    client
        .request_text(request)
        .await
        .with_context(|| format!("get {path}"))
}

/// POST of JSON; the answer as text.
pub(crate) async fn post(client: &Client, path: &str, body: &Value) -> Result<String> {
    let request = http_request("POST", path, serde_json::to_vec(body)?)?;
    client
        .request_text(request)
        .await
        .with_context(|| format!("post {path}"))
}

fn http_request(method: &str, path: &str, body: Vec<u8>) -> Result<http::Request<Vec<u8>>> {
    http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(body)
        .context("build a request")
}

fn der(pem: &str) -> Result<Vec<u8>> {
    let body: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    BASE64.decode(body).context("decode a certificate")
}
