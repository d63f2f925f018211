//! One connection: made, used and closed within time limits.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::failure::{Asking, Broken, Failure, of_command};
use super::protocol::{Answer, MAX_ANSWER, Refusal, decode, encode};
use super::server::Server;
use crate::crypto::SecretBytes;
use crate::rotation::address::{Nowhere, connect};
use crate::rotation::rotator::{Login, Outcome};

/// Longest time for a connection: the name, the network, TLS and the login together.
const CONNECTING: Duration = Duration::from_secs(10);
/// Longest time for an answer. A server does one thing at a time, and saving is one of them.
const ANSWER: Duration = Duration::from_secs(12);
/// How long the server may take for the farewell.
const CLOSING: Duration = Duration::from_secs(1);
/// Bytes that are read at once: the most of one message of TLS.
const CHUNK: usize = 16 * 1024;

/// The words of a command, without what it is about.
pub(super) type Command = &'static [&'static str];

/// A connection of a user who is logged in.
pub(super) struct Session<'a> {
    stream: TlsStream<TcpStream>,
    server: &'a Server,
    user: String,
}

impl<'a> Session<'a> {
    /// Connects and logs in. A server answers a login by the name and the password alone, so that no right is needed to
    /// find out whether they are good.
    pub(super) async fn open(server: &'a Server, login: Login<'_>) -> Result<Self, Failure> {
        // On the heap: a handshake needs much room, and only for a moment.
        let opened = timeout(CONNECTING, Box::pin(open(server, login))).await;
        opened.unwrap_or_else(|_| {
            Err(Failure::Retry(format!(
                "{server} lets nobody in within {} s by TLS, which the port must have (`tls-port`)",
                CONNECTING.as_secs()
            )))
        })
    }

    pub(super) fn server(&self) -> &'a Server {
        self.server
    }

    /// Whether it is the user who is logged in.
    pub(super) fn is_own(&self, user: &str) -> bool {
        self.user == user
    }

    /// Runs a command that is about `user`, and has to succeed.
    pub(super) async fn run(
        &mut self,
        user: &str,
        command: Command,
        arguments: &[&[u8]],
    ) -> Result<Answer, Outcome> {
        match self.ask(user, command, arguments).await? {
            Answer::Refusal(refusal) => Err(self.refused(user, command, &refusal)),
            answer => Ok(answer),
        }
    }

    /// What it comes to that a command about `user` is refused.
    pub(super) fn refused(&self, user: &str, command: Command, refusal: &Refusal) -> Outcome {
        let asking = if self.is_own(user) {
            Asking::Itself
        } else {
            Asking::Admin
        };
        of_command(refusal, self.server, user, &command.join(" "), asking)
    }

    /// Runs a command that is about `user`. That it is refused is an answer.
    pub(super) async fn ask(
        &mut self,
        user: &str,
        command: Command,
        arguments: &[&[u8]],
    ) -> Result<Answer, Outcome> {
        let words: Vec<_> = command.iter().map(|word| word.as_bytes()).collect();
        let parts = [&words, arguments].concat();
        match timeout(ANSWER, exchange(&mut self.stream, &parts)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(broken)) => {
                Err(Failure::of_broken(&broken, self.server).required(self.server, user))
            }
            Err(_) => Err(Outcome::Retry(format!(
                "{} gives no answer within {} s",
                self.server,
                ANSWER.as_secs()
            ))),
        }
    }

    /// Says farewell.
    pub(super) async fn close(mut self) {
        // Whether it is heard does not matter.
        let _ = timeout(CLOSING, self.stream.shutdown()).await;
    }
}

async fn open<'a>(server: &'a Server, login: Login<'_>) -> Result<Session<'a>, Failure> {
    let connector = TlsConnector::from(server.client_config().map_err(Failure::Rejected)?);
    let name = server.name().map_err(Failure::Rejected)?;
    let found = connect(&server.host, server.port, server.addresses, CONNECTING).await;
    let stream = found.map_err(|nowhere| match nowhere {
        Nowhere::Unknown => Failure::Retry(nowhere.words(server)),
        Nowhere::Local => Failure::Rejected(nowhere.words(server)),
    })?;
    let stream = connector.connect(name, stream).await;
    let mut stream = stream.map_err(|error| Failure::of_transport(&error, server))?;
    // With a name always: without one it would be the login of the default user.
    let parts = [&b"AUTH"[..], login.user.as_bytes(), login.password];
    let answer = exchange(&mut stream, &parts).await;
    match answer.map_err(|broken| Failure::of_broken(&broken, server))? {
        Answer::Refusal(refusal) => Err(Failure::of_refusal(&refusal, server)),
        answer if answer.is_ok() => Ok(Session {
            stream,
            server,
            user: login.user.to_owned(),
        }),
        _ => Err(Failure::of_broken(&Broken::Protocol, server)),
    }
}

/// Sends a command, and reads its answer.
async fn exchange(stream: &mut TlsStream<TcpStream>, parts: &[&[u8]]) -> Result<Answer, Broken> {
    let command = encode(parts.iter().copied());
    stream
        .write_all(command.expose())
        .await
        .map_err(Broken::Lost)?;
    stream.flush().await.map_err(Broken::Lost)?;
    let mut came = SecretBytes::new();
    let mut chunk = SecretBytes::zeroed(CHUNK);
    loop {
        match decode(came.expose()) {
            Ok(Some((answer, length))) if length == came.len() => return Ok(answer),
            Ok(None) if came.len() < MAX_ANSWER => {}
            // One command has one answer.
            _ => return Err(Broken::Protocol),
        }
        let count = stream
            .read(chunk.expose_mut())
            .await
            .map_err(Broken::Lost)?;
        if count == 0 {
            return Err(Broken::Lost(std::io::ErrorKind::UnexpectedEof.into()));
        }
        came.extend_from_slice(&chunk.expose()[..count]);
    }
}
