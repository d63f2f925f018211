//! Calls of the server: AWS JSON 1.1 over HTTPS, with a token. One that knows nothing of what is called.
//!
//! The authority of the server's certificate is read from a file whenever a connection is made, since it is replaced while
//! the process runs. Connections that are free are used again.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tracing::debug;
use zeroize::Zeroizing;

use super::tls;

/// What the protocol calls its bodies.
const AWS_JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");
/// The header that names the call.
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("keystead-node/", env!("CARGO_PKG_VERSION")));
/// How long a connection may take to be made.
const CONNECTING: Duration = Duration::from_secs(5);
/// Most connections that wait for their next call.
const MOST_IDLE: usize = 4;
/// Largest file of authorities.
const MAX_AUTHORITIES: usize = 1 << 20;
/// Size of the headers of an answer.
const HEADER_BYTES: usize = 16 * 1024;

/// A token, wiped when it is dropped, and never shown.
#[derive(Clone)]
pub(super) struct Token(Arc<Zeroizing<String>>);

impl Token {
    /// A token, without what surrounds it in a file.
    pub(super) fn new(text: &str) -> Self {
        Self(Arc::new(Zeroizing::new(text.trim().to_owned())))
    }

    fn header(&self) -> Option<HeaderValue> {
        let text = Zeroizing::new(format!("Bearer {}", self.0.as_str()));
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Whether it is another one.
    pub(super) fn differs(&self, other: &Self) -> bool {
        self.0 != other.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A call.
pub(super) struct Call<'a> {
    /// Its name.
    pub(super) target: &'static str,
    /// Who calls.
    pub(super) token: &'a Token,
    /// Its parameters.
    pub(super) body: Bytes,
    /// How long it may take.
    pub(super) time: Duration,
    /// How large the answer may be.
    pub(super) answer: usize,
}

/// What the server says.
pub(super) struct Answer {
    /// Whether it did what was asked.
    pub(super) status: StatusCode,
    /// Wiped when it is dropped.
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// The server's address cannot be one.
    #[error("the server's address must be https://HOST or https://HOST:PORT")]
    Address,
    /// The authority is not known, yet.
    #[error("the authority of the server's certificate cannot be read from {path}: {error}")]
    ReadAuthority {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// There is no certificate in the file.
    #[error("{0} holds no certificate")]
    NoAuthority(PathBuf),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// Nobody is there, or it is somebody else.
    #[error("the server cannot be reached: {0}")]
    Connect(#[source] io::Error),
    /// The token cannot be sent.
    #[error("the token holds characters that no token has")]
    BadToken,
    /// The connection broke.
    #[error("the connection to the server ended: {0}")]
    Broken(#[source] hyper::Error),
    /// It takes too long.
    #[error("the server did not answer within {} s", .0.as_secs())]
    TooSlow(Duration),
    /// More was sent than an answer may have.
    #[error("the answer of the server is too large")]
    TooLarge,
}

type Sender = SendRequest<Full<Bytes>>;

/// A client of the server.
pub(super) struct Client {
    host: String,
    port: u16,
    authorities: PathBuf,
    held: Mutex<Held>,
}

/// What is kept between calls.
#[derive(Default)]
struct Held {
    /// What the configuration was made of, and the configuration.
    trusted: Option<(Vec<u8>, Arc<ClientConfig>)>,
    idle: Vec<Sender>,
}

impl Client {
    /// A client of the server at `address`, whose certificate is signed by one of the authorities in a file, PEM.
    ///
    /// # Errors
    /// The address cannot be one.
    pub(super) fn new(address: &str, authorities: PathBuf) -> Result<Self, ClientError> {
        let rest = address.strip_prefix("https://").unwrap_or_default();
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| ClientError::Address)?),
            None => (rest, 443),
        };
        if host.is_empty() || host.contains(['/', '?', '#', '@']) {
            return Err(ClientError::Address);
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            authorities,
            held: Mutex::default(),
        })
    }

    /// The answer to a call.
    ///
    /// # Errors
    /// There is none, or not in time.
    pub(super) async fn call(&self, call: &Call<'_>) -> Result<Answer, ClientError> {
        let deadline = Instant::now() + call.time;
        let answer = timeout_at(deadline, self.answer(call)).await;
        answer.unwrap_or(Err(ClientError::TooSlow(call.time)))
    }

    async fn answer(&self, call: &Call<'_>) -> Result<Answer, ClientError> {
        // The server may close a connection that waits at any time: that says nothing of the next one. All calls can be repeated.
        if let Some(idle) = self.idle() {
            match self.send(idle, call).await {
                Err(ClientError::Broken(error)) => debug!(%error, "a connection was used up"),
                answer => return answer,
            }
        }
        let connected = timeout_at(Instant::now() + CONNECTING, self.connect()).await;
        let sender = connected.unwrap_or(Err(ClientError::TooSlow(CONNECTING)))?;
        self.send(sender, call).await
    }

    async fn send(&self, mut sender: Sender, call: &Call<'_>) -> Result<Answer, ClientError> {
        let request = self.request(call)?;
        let answer = sender.send_request(request).await;
        let answer = read(answer.map_err(ClientError::Broken)?, call.answer).await?;
        let mut held = self.held();
        if held.idle.len() < MOST_IDLE {
            held.idle.push(sender);
        }
        Ok(answer)
    }

    fn request(&self, call: &Call<'_>) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::new(Full::new(call.body.clone()));
        *request.method_mut() = Method::POST;
        let host = HeaderValue::from_str(&format!("{}:{}", self.host, self.port));
        let headers = request.headers_mut();
        headers.insert(HOST, host.map_err(|_| ClientError::Address)?);
        headers.insert(USER_AGENT, AGENT);
        headers.insert(CONTENT_TYPE, AWS_JSON);
        headers.insert(TARGET, HeaderValue::from_static(call.target));
        let token = call.token.header().ok_or(ClientError::BadToken)?;
        headers.insert(AUTHORIZATION, token);
        Ok(request)
    }

    /// A connection that waits for its next call.
    fn idle(&self) -> Option<Sender> {
        let mut held = self.held();
        held.idle.retain(|sender| !sender.is_closed());
        let ready = held.idle.iter().position(Sender::is_ready)?;
        Some(held.idle.swap_remove(ready))
    }

    async fn connect(&self) -> Result<Sender, ClientError> {
        let connector = TlsConnector::from(self.trusted().await?);
        let name = ServerName::try_from(self.host.clone()).map_err(|_| ClientError::Address)?;
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(ClientError::Connect)?;
        // A request is one small write: waiting for more only delays it.
        let _ = stream.set_nodelay(true);
        let stream = connector.connect(name, stream).await;
        let stream = stream.map_err(ClientError::Connect)?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEADER_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(ClientError::Broken)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "a connection to the server ended");
            }
        });
        Ok(sender)
    }

    /// Whom to trust, as the file says now.
    async fn trusted(&self) -> Result<Arc<ClientConfig>, ClientError> {
        let path = &self.authorities;
        let read = tokio::fs::read(path).await;
        let pem = read.and_then(|pem| match pem.len() {
            0..=MAX_AUTHORITIES => Ok(pem),
            _ => Err(io::Error::other("the file is too large")),
        });
        let pem = pem.map_err(|error| ClientError::ReadAuthority {
            path: path.clone(),
            error,
        })?;
        if let Some((of, config)) = &self.held().trusted
            && *of == pem
        {
            return Ok(config.clone());
        }
        let config = Arc::new(self.config(&pem)?);
        let mut held = self.held();
        // Those that an authority vouched for which is trusted no more.
        held.idle.clear();
        held.trusted = Some((pem, config.clone()));
        Ok(config)
    }

    fn config(&self, pem: &[u8]) -> Result<ClientConfig, ClientError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
        if roots.is_empty() {
            return Err(ClientError::NoAuthority(self.authorities.clone()));
        }
        tls::client(roots).map_err(ClientError::Tls)
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the body of an answer, of at most `most` bytes.
async fn read(answer: Response<Incoming>, most: usize) -> Result<Answer, ClientError> {
    let status = answer.status();
    let mut incoming = answer.into_body();
    let told = incoming.size_hint().lower();
    let told = usize::try_from(told).map_err(|_| ClientError::TooLarge)?;
    if told > most {
        return Err(ClientError::TooLarge);
    }
    let mut body = Zeroizing::new(Vec::with_capacity(told));
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(ClientError::Broken)?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if body.len() + data.len() > most {
            return Err(ClientError::TooLarge);
        }
        body.extend_from_slice(&data);
    }
    Ok(Answer { status, body })
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
