//! Calls of the API, as an SDK makes them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Bed, Operator, SYSTEM};

/// The audience that tokens for the API are made for.
pub(crate) const AUDIENCE: &str = "keystead.dev";

/// Somebody who calls the API of one replica, with one token.
pub(crate) struct Calls {
    port: u16,
    connector: TlsConnector,
    token: String,
}

/// A connection to a replica, which stays open from call to call.
pub(crate) struct Connection(TlsStream<TcpStream>);

/// What was answered.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Value,
}

impl Answer {
    /// The body of a call that succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body
    }

    /// The name of the error of a call that was refused.
    #[track_caller]
    pub(crate) fn error(&self) -> &str {
        assert_ne!(self.status, 200, "{}", self.body);
        self.body["__type"].as_str().expect("the error has a name")
    }
}

impl Calls {
    /// Calls with a token of that service account, which it gets if it is not there.
    pub(crate) async fn account(bed: &Bed, server: &Operator, namespace: &str, name: &str) -> Self {
        let token = bed.cluster.token(namespace, name, &[AUDIENCE]).await;
        Self::token(bed, server, token.expect("a token")).await
    }

    /// Calls with that token.
    pub(crate) async fn token(bed: &Bed, server: &Operator, token: String) -> Self {
        let secrets: Api<Secret> = Api::namespaced(bed.client.clone(), SYSTEM);
        let secret = secrets
            .get("keystead-server-tls")
            .await
            .expect("the certificate is there");
        let data = secret.data.expect("it has data");
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&data["ca.crt"].0) {
            roots.add(certificate.expect("PEM")).expect("a certificate");
        }
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            port: server.api_port(),
            connector: TlsConnector::from(Arc::new(config)),
            token,
        }
    }

    /// The same caller, at another replica.
    pub(crate) fn at(&self, server: &Operator) -> Self {
        Self {
            port: server.api_port(),
            connector: self.connector.clone(),
            token: self.token.clone(),
        }
    }

    /// Calls once, by a connection of its own.
    pub(crate) async fn call(&self, target: &str, body: &Value) -> Answer {
        let request = self.request(target, body);
        let (status, body) = self.connect().await.ask(request.as_bytes()).await;
        Answer {
            status,
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        }
    }

    /// What is sent to call that.
    pub(crate) fn request(&self, target: &str, body: &Value) -> String {
        let body = body.to_string();
        format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-amz-json-1.1\r\n\
             X-Amz-Target: {target}\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        )
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self) -> Connection {
        let stream = TcpStream::connect(("127.0.0.1", self.port))
            .await
            .expect("it listens");
        stream.set_nodelay(true).expect("an option of TCP");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = self.connector.connect(name, stream).await;
        Connection(stream.expect("the certificate is for this name"))
    }

    /// `GetSecretValue` of the current version.
    pub(crate) async fn value(&self, secret: &str) -> Answer {
        let asked = serde_json::json!({"SecretId": secret});
        self.call("secretsmanager.GetSecretValue", &asked).await
    }
}

impl Connection {
    /// Sends a request, and returns the status and the body of the answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> (u16, Vec<u8>) {
        self.0.write_all(request).await.expect("it reads");
        self.0.flush().await.expect("it reads");
        let mut answer = Vec::with_capacity(2048);
        loop {
            let read = self.0.read_buf(&mut answer).await;
            // Whoever closes without a notice has said all all the same.
            let is_over = read.map_or(true, |bytes| bytes == 0);
            let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            let Some(head) = head else {
                assert!(!is_over, "it closed before it answered");
                continue;
            };
            let (status, length) = status_and_length(&answer[..head]);
            if is_over || answer.len() >= head + 4 + length {
                return (status, answer.split_off(head + 4));
            }
        }
    }
}

fn status_and_length(head: &[u8]) -> (u16, usize) {
    let head = std::str::from_utf8(head).expect("text");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        (name.eq_ignore_ascii_case("content-length"))
            .then_some(value)?
            .parse()
            .ok()
    });
    (
        status.expect("a status"),
        length.expect("the answer has a length"),
    )
}
