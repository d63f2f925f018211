//! Liveness, readiness and metrics over HTTP.
//!
//! The listener has limits of its own, so that nobody who reaches the port can hold up the process:
//! connections, sizes and times are bounded, and the bodies of requests are never read.

use std::future::{Future, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::{Metrics, Readiness};
use crate::listen::{self, Limits};

/// The limits of a listener for health and metrics.
pub(crate) const LIMITS: Limits = Limits {
    connections: 64,
    header_time: Duration::from_secs(10),
    header_bytes: 16 * 1024,
    connection_time: Duration::from_secs(120),
    grace: Duration::from_secs(5),
};
/// The media type of the text format, as its specification writes it.
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers `/livez`, `/readyz` and `/metrics` until `shutdown` resolves; then ends the connections
/// and returns.
///
/// `/livez` is 200 as long as the runtime answers at all. `/readyz` is 200 when every component is
/// ready, and otherwise 503 with a line for each that is not.
pub async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    metrics: Metrics,
    shutdown: impl Future<Output = ()>,
) {
    serve_within(LIMITS, listener, readiness, metrics, shutdown).await;
}

async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    readiness: Readiness,
    metrics: Metrics,
    shutdown: impl Future<Output = ()>,
) {
    let router = router(readiness, metrics);
    listen::serve(
        limits,
        listener,
        |stream| ready(Ok(stream)),
        router,
        shutdown,
    )
    .await;
}

fn router(readiness: Readiness, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(show_metrics).with_state(metrics))
}

async fn readyz(State(readiness): State<Readiness>) -> Response {
    match readiness.reasons() {
        None => "ok\n".into_response(),
        Some(reasons) => (StatusCode::SERVICE_UNAVAILABLE, reasons).into_response(),
    }
}

async fn show_metrics(State(metrics): State<Metrics>) -> Response {
    match metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;
    use tokio::time::{sleep, timeout};

    use super::*;

    /// Longer than anything here takes: a test that hangs fails instead.
    const PATIENCE: Duration = Duration::from_secs(20);
    /// Limits that can be reached in a test.
    const SMALL: Limits = Limits {
        connections: 2,
        header_time: Duration::from_millis(300),
        header_bytes: 16 * 1024,
        connection_time: Duration::from_millis(600),
        grace: Duration::from_millis(300),
    };

    /// As [`SMALL`], but with nothing else than the time for headers to end a connection in time.
    const SHORT_HEADERS: Limits = Limits {
        connection_time: LIMITS.connection_time,
        ..SMALL
    };

    struct Server {
        address: SocketAddr,
        readiness: Readiness,
        metrics: Metrics,
        stop: oneshot::Sender<()>,
        task: JoinHandle<()>,
    }

    impl Server {
        async fn start(limits: Limits) -> Self {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let (readiness, metrics) = (Readiness::new(), Metrics::new());
            let (stop, stopped) = oneshot::channel::<()>();
            let shutdown = async move { drop(stopped.await) };
            let serve = serve_within(
                limits,
                listener,
                readiness.clone(),
                metrics.clone(),
                shutdown,
            );
            let task = tokio::spawn(serve);
            Self {
                address,
                readiness,
                metrics,
                stop,
                task,
            }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }

        /// Sends `request` and returns what comes until the server closes.
        async fn send(&self, request: &str) -> String {
            let mut stream = self.connect().await;
            // The server may refuse and close before everything is sent.
            let _ = stream.write_all(request.as_bytes()).await;
            read_to_end(&mut stream).await
        }

        async fn get(&self, path: &str) -> String {
            self.send(&format!(
                "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            ))
            .await
        }
    }

    async fn read_to_end(stream: &mut TcpStream) -> String {
        let mut answer = Vec::new();
        // A reset after the answer is an end, too.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("must close");
        String::from_utf8(answer).unwrap()
    }

    fn status(answer: &str) -> &str {
        answer.split(' ').nth(1).unwrap_or_default()
    }

    #[tokio::test]
    async fn readyz_says_what_is_missing_until_nothing_is() {
        let server = Server::start(LIMITS).await;
        let keyring = server.readiness.component("keyring");
        keyring.not_ready("root key with fingerprint 5f3a is missing");
        let answer = server.get("/readyz").await;
        assert_eq!(status(&answer), "503");
        assert!(answer.ends_with("\r\n\r\nkeyring: root key with fingerprint 5f3a is missing\n"));
        keyring.ready();
        assert_eq!(status(&server.get("/readyz").await), "200");
    }

    #[tokio::test]
    async fn livez_does_not_depend_on_readiness() {
        let server = Server::start(LIMITS).await;
        server
            .readiness
            .component("keyring")
            .not_ready("no root key");
        assert_eq!(status(&server.get("/livez").await), "200");
    }

    #[tokio::test]
    async fn metrics_are_open_metrics_text_with_the_process_in_it() {
        let server = Server::start(LIMITS).await;
        let _leading = server.metrics.leading();
        let answer = server.get("/metrics").await;
        assert!(
            answer.contains(&format!("content-type: {OPEN_METRICS}\r\n")),
            "{answer}"
        );
        for line in [
            "keystead_leader 1",
            "process_resident_memory_bytes ",
            "process_open_fds ",
        ] {
            assert!(
                answer.lines().any(|found| found.starts_with(line)),
                "{line}:\n{answer}"
            );
        }
        assert!(answer.ends_with("# EOF\n"));
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let server = Server::start(LIMITS).await;
        assert_eq!(status(&server.get("/debug").await), "404");
        let post =
            "POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(status(&server.send(post).await), "405");
    }

    #[tokio::test]
    async fn headers_above_the_limit_are_refused() {
        let server = Server::start(LIMITS).await;
        let filler = "x".repeat(LIMITS.header_bytes);
        let request = format!("GET /livez HTTP/1.1\r\nHost: x\r\nFiller: {filler}\r\n\r\n");
        assert_eq!(status(&server.send(&request).await), "431");
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_not_waited_for() {
        let server = Server::start(SMALL).await;
        let request = "GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nbegun";
        assert_eq!(status(&server.send(request).await), "200");
    }

    #[tokio::test]
    async fn a_client_that_does_not_finish_its_headers_is_dropped() {
        let server = Server::start(SHORT_HEADERS).await;
        let answer = server.send("GET /livez HTTP/1.1\r\nHost:").await;
        assert_ne!(status(&answer), "200");
    }

    #[tokio::test]
    async fn idle_clients_cannot_keep_others_out() {
        let server = Server::start(SHORT_HEADERS).await;
        let mut idle = Vec::new();
        for _ in 0..2 * SHORT_HEADERS.connections {
            idle.push(server.connect().await);
        }
        assert_eq!(status(&server.get("/livez").await), "200");
    }

    #[tokio::test]
    async fn a_connection_that_is_kept_busy_ends_after_its_time() {
        let server = Server::start(SMALL).await;
        let (mut reader, mut writer) = server.connect().await.into_split();
        let ask = tokio::spawn(async move {
            while writer
                .write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
                .await
                .is_ok()
            {
                sleep(Duration::from_millis(50)).await;
            }
        });
        let mut answers = Vec::new();
        let _ = timeout(PATIENCE, reader.read_to_end(&mut answers))
            .await
            .expect("must close");
        assert!(!answers.is_empty());
        timeout(PATIENCE, ask)
            .await
            .expect("writing must fail")
            .unwrap();
    }

    #[tokio::test]
    async fn shutdown_ends_idle_connections_and_the_server() {
        let server = Server::start(LIMITS).await;
        let mut idle = server.connect().await;
        assert_eq!(status(&server.get("/livez").await), "200");
        server.stop.send(()).unwrap();
        timeout(PATIENCE, server.task)
            .await
            .expect("must end")
            .unwrap();
        assert_eq!(read_to_end(&mut idle).await, "");
    }
}
