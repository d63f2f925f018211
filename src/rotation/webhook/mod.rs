//! Calls somebody's own code over HTTPS, for one step of a rotation.
//!
//! ```text
//! POST <url>   {"SecretId": ..., "ClientRequestToken": <version>, "Step": "createSecret", ...}, signed
//! 200, 204 done    422 the pending value is refused    others of 400 somebody has to mend it    else later
//! ```
//!
//! A call has no value in it, and of the answer counts only the status: what the receiver needs it reads, and stores, by calls of the
//! API under its own name. Nothing that it answers is shown to anybody, so that nobody learns by it what is behind an address. It goes
//! only to an address that was looked at, and not where a redirect leads.

pub mod sign;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use self::sign::Signature;
use super::address::{Addresses, Nowhere, connect_to, resolve};
use super::endpoint;
use super::rotator::Outcome;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a call may take, with the connection: a step that takes longer answers early, and is asked again.
const PATIENCE: Duration = Duration::from_secs(30);
const HTTPS: u16 = 443;

/// Where the code is.
#[derive(Debug, Clone)]
pub struct Endpoint {
    host: String,
    port: u16,
    path: String,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    addresses: Addresses,
    /// Addresses that are not called either.
    refused: Vec<IpAddr>,
}

/// What a call says, in the words of AWS Lambda functions for rotation and some of our own.
#[derive(Debug, Clone, Serialize)]
pub struct Event<'a> {
    /// The ARN of the secret.
    #[serde(rename = "SecretId")]
    pub secret_id: &'a str,
    /// The id of the version.
    #[serde(rename = "ClientRequestToken")]
    pub client_request_token: &'a str,
    /// The step: `createSecret`, `setSecret`, `testSecret` or `finishSecret`.
    #[serde(rename = "Step")]
    pub step: &'a str,
    /// The namespace of the secret.
    #[serde(rename = "Namespace")]
    pub namespace: &'a str,
    /// Its name.
    #[serde(rename = "Name")]
    pub name: &'a str,
    /// That the version is current and only tried: nothing may be changed.
    #[serde(rename = "Check")]
    pub check: bool,
}

impl Endpoint {
    /// The code behind that URL, whose certificate is signed by one of `authorities`, PEM.
    ///
    /// # Errors
    /// One of the two cannot be used, in words.
    pub fn new(
        url: &str,
        authorities: &[u8],
        addresses: Addresses,
        refused: Vec<IpAddr>,
    ) -> Result<Self, String> {
        let invalid = || "webhook.url must be an https URL with a host".to_owned();
        let uri: Uri = url.parse().map_err(|_| invalid())?;
        let authority = uri.authority().ok_or_else(invalid)?;
        if uri.scheme_str() != Some("https") || authority.as_str().contains('@') {
            return Err(invalid());
        }
        let host = authority
            .host()
            .trim_matches(['[', ']'])
            .to_ascii_lowercase();
        let authorities = std::str::from_utf8(authorities).ok();
        let trusted =
            || "webhook.caBundle must be certificates in PEM, and one at least".to_owned();
        let config = endpoint::client_config(Some(authorities.ok_or_else(trusted)?));
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            port: authority.port_u16().unwrap_or(HTTPS),
            path: path.to_owned(),
            config: config.map_err(|_| trusted())?,
            name: ServerName::try_from(host.clone()).map_err(|_| invalid())?,
            host,
            addresses,
            refused,
        })
    }

    /// Calls it.
    pub async fn call(&self, body: Vec<u8>, signature: &Signature) -> Outcome {
        match timeout(PATIENCE, self.attempt(body, signature)).await {
            Ok(Ok(status)) => self.meaning(status),
            Ok(Err(outcome)) => outcome,
            Err(_) => Outcome::Retry(format!(
                "webhook {} did not answer within {} s",
                self.host,
                PATIENCE.as_secs()
            )),
        }
    }

    async fn attempt(&self, body: Vec<u8>, signature: &Signature) -> Result<StatusCode, Outcome> {
        let stream = TokioIo::new(self.connect().await?);
        let later = |_| Outcome::Retry(format!("webhook {} broke the call off", self.host));
        let (mut sender, connection) = http1::handshake(stream).await.map_err(later)?;
        let request = self.request(body, signature)?;
        // The rest of the answer is of no interest: the connection goes with this call.
        tokio::select! {
            biased;
            answer = sender.send_request(request) => Ok(answer.map_err(later)?.status()),
            broken = connection => Err(Outcome::Retry(match broken {
                Ok(()) => format!("webhook {} ended the connection without an answer", self.host),
                Err(_) => format!("webhook {} broke the call off", self.host),
            })),
        }
    }

    fn request(
        &self,
        body: Vec<u8>,
        signature: &Signature,
    ) -> Result<Request<Full<Bytes>>, Outcome> {
        let host = match self.host.parse() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        };
        let request = Request::post(&self.path)
            .header(HOST, host)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("keystead/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &signature.id)
            .header("webhook-timestamp", &signature.timestamp)
            .header("webhook-signature", &signature.signature)
            .body(Full::new(Bytes::from(body)));
        request
            .map_err(|_| Outcome::Rejected("webhook.url has a path that cannot be sent".to_owned()))
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>, Outcome> {
        let away = |what: &str| Outcome::Retry(format!("webhook {}: {what}", self.host));
        let mut addresses = match resolve(&self.host, self.port, self.addresses).await {
            Ok(addresses) => addresses,
            Err(Nowhere::Unknown) => return Err(away("its name is not known now")),
            Err(Nowhere::Local) => return Err(self.forbidden()),
        };
        addresses.retain(|address| !self.is_refused(address));
        if addresses.is_empty() {
            return Err(self.forbidden());
        }
        let stream = connect_to(&addresses, CONNECT).await;
        let stream = stream.map_err(|_| away("it cannot be reached"))?;
        let connector = TlsConnector::from(self.config.clone());
        let stream = timeout(CONNECT, connector.connect(self.name.clone(), stream)).await;
        match stream {
            Ok(Ok(stream)) => Ok(stream),
            _ => Err(away(
                "its certificate is not signed by webhook.caBundle for that name, or it speaks no TLS",
            )),
        }
    }

    fn is_refused(&self, address: &SocketAddr) -> bool {
        let address = address.ip().to_canonical();
        self.refused.iter().any(|it| it.to_canonical() == address)
    }

    fn forbidden(&self) -> Outcome {
        Outcome::Rejected(format!(
            "webhook {} is an address of this pod, of its link or of the API server, none of which is called",
            self.host
        ))
    }

    fn meaning(&self, status: StatusCode) -> Outcome {
        let told =
            |what: &str| format!("webhook {} answered {}: {what}", self.host, status.as_u16());
        match status.as_u16() {
            200 | 204 => Outcome::Done,
            422 => Outcome::ValueRefused(told("the pending value is refused")),
            300..=399 => Outcome::Rejected(told("redirects are not followed")),
            // Of these, another try may have another answer.
            408 | 409 | 423 | 425 | 429 => Outcome::Retry(told("it is asked again")),
            400..=499 => Outcome::Rejected(told("it does not take the call; see its log")),
            _ => Outcome::Retry(told("it is asked again; see its log")),
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
