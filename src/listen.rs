//! A listener for HTTP/1.1 with limits, so that nobody who reaches the port can hold up the process: connections, sizes
//! and times are bounded.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower_service::Service;
use tracing::{debug, warn};

/// The limits of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; further ones wait in the kernel's queue.
    pub connections: usize,
    /// How long the headers of a request may take, also after an earlier request; and how long a connection may take
    /// to be accepted (the TLS handshake).
    pub header_time: Duration,
    /// The size of a request's line and headers, bytes.
    pub header_bytes: usize,
    /// After this a connection is closed when its current answer is sent.
    pub connection_time: Duration,
    /// How long that last answer may take.
    pub grace: Duration,
}

/// Pause after a failed accept: without it, running out of file descriptors is a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What answers requests, as a router of axum does.
pub trait Answers:
    Service<Request<Incoming>, Response = Response<Self::Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
    /// The body of an answer.
    type Body: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;
}

impl<S, B> Answers for S
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    type Body = B;
}

/// Answers by `answers` until `shutdown` resolves; then ends the connections and returns. Each connection first becomes
/// what `wrap` makes of it.
pub async fn serve<W, F, S>(
    limits: Limits,
    listener: TcpListener,
    wrap: W,
    answers: impl Answers,
    shutdown: impl Future<Output = ()>,
) where
    W: Fn(TcpStream) -> F,
    F: Future<Output = io::Result<S>> + Send + 'static,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(limits.connections));
    let stop = watch::Sender::new(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accept = async {
            // The semaphore is never closed, so this is always `Ok`.
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.accept().await)
        };
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            (permit, accepted) = accept => match accepted {
                Ok((stream, _)) => {
                    // An answer is written at once: waiting for more of it only delays it.
                    let _ = stream.set_nodelay(true);
                    let stream = wrap(stream);
                    let connection = connection(limits, stream, answers.clone(), stop.subscribe());
                    connections.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    stop.send_replace(true);
    while connections.join_next().await.is_some() {}
}

/// Serves one connection until it, its time or the server ends.
async fn connection<S>(
    limits: Limits,
    stream: impl Future<Output = io::Result<S>>,
    answers: impl Answers,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let accepted = tokio::select! {
        accepted = timeout(limits.header_time, stream) => accepted,
        _ = stop.wait_for(|stop| *stop) => return,
    };
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(%error, "a connection was not accepted"),
        Err(_) => return debug!("a connection was not accepted in time"),
    };
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_time)
            .max_header_size(limits.header_bytes)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(answers))
    );
    tokio::select! {
        result = &mut connection => return report(result),
        () = sleep(limits.connection_time) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    if let Ok(result) = timeout(limits.grace, connection).await {
        report(result);
    } else {
        debug!("closed a connection that did not end");
    }
}

/// A client that goes away or sends nonsense is no event.
fn report(result: hyper::Result<()>) {
    if let Err(error) = result {
        debug!(%error, "a connection ended");
    }
}
