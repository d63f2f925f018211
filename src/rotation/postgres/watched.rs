//! A connection of which the first answer is looked at: how the server wants to be shown the password.
//!
//! The client of PostgreSQL does whatever it is asked for. Two things must not be done:
//!
//! - A server that asks for nothing (`trust`, `peer`, `cert`) lets in whoever comes. A login there proves nothing about
//!   a password, and would make every pending value seem to be set already.
//! - Without TLS anybody in between may ask for the password in clear text, and would get it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::tls::{ChannelBinding, TlsStream};

use super::tls::end_point;

/// Type, length and code of an authentication request (PostgreSQL's manual, "Message Formats").
const REQUEST: usize = 9;
const AUTHENTICATION: u8 = b'R';
const ERROR: u8 = b'E';
const OK: u32 = 0;
const CLEARTEXT: u32 = 3;
const MD5: u32 = 5;
const SASL: u32 = 10;

/// Why a server is not logged in to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// It asks for no password.
    #[error(
        "asks for no password, so that a login proves nothing: pg_hba.conf must say scram-sha-256 for connections from here"
    )]
    NoPassword,
    /// It wants the password itself, without TLS.
    #[error("asks for the password in clear text, which is not sent without TLS")]
    Cleartext,
    /// It wants something else.
    #[error(
        "asks for another way to log in than a password: pg_hba.conf must say scram-sha-256 for connections from here"
    )]
    Method,
    /// It speaks something else.
    #[error("does not answer as a server of PostgreSQL does")]
    Protocol,
    /// It has no TLS.
    #[error("offers no TLS, which `sslmode` verify-full needs")]
    NoTls,
}

/// Whether what is sent can be read on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrecy {
    Encrypted,
    Plain,
}

/// A stream whose first message from the server has to be one that may be followed.
pub(super) struct Watched<S> {
    inner: S,
    secrecy: Secrecy,
    /// The beginning of the first message; nothing once it has been judged.
    first: Option<Vec<u8>>,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, secrecy: Secrecy) -> Self {
        Self {
            inner,
            secrecy,
            first: Some(Vec::with_capacity(REQUEST)),
        }
    }

    /// Takes what came into account.
    fn look(&mut self, came: &[u8]) -> Result<(), Refusal> {
        let Some(first) = &mut self.first else {
            return Ok(());
        };
        let missing = REQUEST - first.len();
        first.extend(came.iter().take(missing));
        match first.first() {
            None => return Ok(()),
            // It ends the attempt, whatever follows.
            Some(&ERROR) => self.first = None,
            Some(&AUTHENTICATION) => {
                if let [_, _, _, _, _, code @ ..] = first.as_slice()
                    && let Ok(code) = code.try_into()
                {
                    judge(u32::from_be_bytes(code), self.secrecy)?;
                    self.first = None;
                }
            }
            Some(_) => return Err(Refusal::Protocol),
        }
        Ok(())
    }
}

fn judge(code: u32, secrecy: Secrecy) -> Result<(), Refusal> {
    match code {
        SASL | MD5 => Ok(()),
        CLEARTEXT if secrecy == Secrecy::Encrypted => Ok(()),
        CLEARTEXT => Err(Refusal::Cleartext),
        OK => Err(Refusal::NoPassword),
        _ => Err(Refusal::Method),
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let judged = self.look(&buf.filled()[before..]);
        if judged.is_err() {
            // An error of a reader comes without bytes, and nothing of these is for anybody.
            buf.set_filled(before);
        }
        Poll::Ready(judged.map_err(io::Error::other))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl TlsStream for Watched<tokio_rustls::client::TlsStream<TcpStream>> {
    fn channel_binding(&self) -> ChannelBinding {
        let (_, session) = self.inner.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        match certificate.and_then(|certificate| end_point(certificate)) {
            Some(hash) => ChannelBinding::tls_server_end_point(hash),
            None => ChannelBinding::none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// What comes of a first message that arrives in pieces of that many bytes.
    async fn read(message: &[u8], pieces: usize, secrecy: Secrecy) -> Result<Vec<u8>, Refusal> {
        let mut watched = Watched::new(Chunks(message.to_vec(), pieces), secrecy);
        let mut all = Vec::new();
        match watched.read_to_end(&mut all).await {
            Ok(_) => Ok(all),
            Err(error) => Err(*error.get_ref().unwrap().downcast_ref().unwrap()),
        }
    }

    /// A reader that gives some bytes at a time.
    struct Chunks(Vec<u8>, usize);

    impl AsyncRead for Chunks {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let count = self.1.min(self.0.len()).min(buf.remaining());
            let bytes: Vec<_> = self.0.drain(..count).collect();
            buf.put_slice(&bytes);
            Poll::Ready(Ok(()))
        }
    }

    fn request(code: u32) -> Vec<u8> {
        let mut message = vec![AUTHENTICATION, 0, 0, 0, 8];
        message.extend(code.to_be_bytes());
        message.extend(b"whatever follows");
        message
    }

    #[tokio::test]
    async fn a_server_is_told_a_password_only_in_ways_that_prove_and_keep_it() {
        for pieces in [1, 4, 9, 100] {
            for (code, secrecy, refusal) in [
                (SASL, Secrecy::Plain, None),
                (SASL, Secrecy::Encrypted, None),
                (MD5, Secrecy::Plain, None),
                (CLEARTEXT, Secrecy::Encrypted, None),
                (CLEARTEXT, Secrecy::Plain, Some(Refusal::Cleartext)),
                (OK, Secrecy::Plain, Some(Refusal::NoPassword)),
                (OK, Secrecy::Encrypted, Some(Refusal::NoPassword)),
                (7, Secrecy::Encrypted, Some(Refusal::Method)),
                (u32::MAX, Secrecy::Encrypted, Some(Refusal::Method)),
            ] {
                let message = request(code);
                let expected = refusal.map_or(Ok(message.clone()), Err);
                let came = read(&message, pieces, secrecy).await;
                assert_eq!(came, expected, "{code} {pieces}");
            }
        }
    }

    #[tokio::test]
    async fn an_error_is_passed_on_and_anything_else_is_no_postgres() {
        let error = b"E\0\0\0\x05\0".to_vec();
        assert_eq!(read(&error, 1, Secrecy::Plain).await, Ok(error));
        let http = b"HTTP/1.1 400 Bad Request";
        let refused = read(http, 3, Secrecy::Plain).await;
        assert_eq!(refused, Err(Refusal::Protocol));
    }
}
