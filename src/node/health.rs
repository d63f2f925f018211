//! Liveness, readiness and metrics over HTTP, as those of the operator. Without a router: three paths need none.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::task::{Context, Poll};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tower_service::Service;

use super::metrics::Metrics;
use crate::listen;
use crate::telemetry::{LIMITS, OPEN_METRICS, Readiness};

/// Shows how the plugin is.
#[derive(Clone)]
pub(super) struct Health {
    readiness: Readiness,
    metrics: Metrics,
}

impl Health {
    pub(super) fn new(readiness: Readiness, metrics: Metrics) -> Self {
        Self { readiness, metrics }
    }

    /// Answers until `stop`.
    pub(super) async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let wrap = |stream| ready(Ok(stream));
        listen::serve(LIMITS, listener, wrap, self, stop).await;
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        match path {
            "/livez" | "/readyz" | "/metrics" if method != Method::GET => {
                text(StatusCode::METHOD_NOT_ALLOWED, String::new())
            }
            "/livez" => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => match self.readiness.reasons() {
                None => text(StatusCode::OK, "ok\n".to_owned()),
                Some(reasons) => text(StatusCode::SERVICE_UNAVAILABLE, reasons),
            },
            "/metrics" => self.show(),
            _ => text(StatusCode::NOT_FOUND, String::new()),
        }
    }

    fn show(&self) -> Response<Full<Bytes>> {
        let Ok(metrics) = self.metrics.encode() else {
            return text(StatusCode::INTERNAL_SERVER_ERROR, String::new());
        };
        let mut answer = text(StatusCode::OK, metrics);
        let kind = HeaderValue::from_static(OPEN_METRICS);
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        answer
    }
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    answer
}

impl Service<Request<Incoming>> for Health {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        ready(Ok(self.answer(request.method(), request.uri().path())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_its_answer() {
        let readiness = Readiness::new();
        let kubelet = readiness.component("kubelet");
        let health = Health::new(readiness, Metrics::new(&std::sync::Arc::default()));
        let status = |method, path| health.answer(&method, path).status().as_u16();
        assert_eq!(status(Method::GET, "/livez"), 200);
        assert_eq!(status(Method::GET, "/readyz"), 503);
        kubelet.ready();
        assert_eq!(status(Method::GET, "/readyz"), 200);
        assert_eq!(status(Method::POST, "/metrics"), 405);
        assert_eq!(status(Method::GET, "/"), 404);
        let metrics = health.answer(&Method::GET, "/metrics");
        assert_eq!(metrics.headers()[CONTENT_TYPE], OPEN_METRICS);
    }
}
