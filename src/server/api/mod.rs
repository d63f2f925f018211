//! The API that existing SDKs of AWS speak: AWS JSON 1.1 over HTTPS, with a bearer token instead of a signature.
//!
//! ```text
//! POST /  X-Amz-Target: TrentService.Decrypt   Authorization: Bearer <token of audience keystead.dev>
//! ```

mod authenticate;
mod calls;
mod delivery;
mod error;
mod keys;
mod limits;
mod places;
mod pods;
mod secrets;
mod wire;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use kube::Client;
use serde_json::json;
use tokio::time::timeout;

use self::authenticate::{Authenticator, Identity};
use self::calls::Call;
use self::delivery::Delivery;
use self::error::ApiError;
use self::keys::{Keys, Names};
use self::limits::Throttle;
use self::places::Accounts;
use self::secrets::{Asking, Reader, Secrets, Store, Turns};
use self::wire::Answer;
use super::catalogue::Catalogue;
use super::ciphertext::Ciphertext;
use super::gate::PolicyGate;
use super::known::{Revisions, Uids};
use super::kubelets::Kubelets;
use crate::clock::Clock;
use crate::crypto::SecretBytes;
use crate::installation::Installation;
use crate::keys::Keyring;
use crate::keys::operations::{self, Operations};
use crate::listen::Limits;
use crate::telemetry::{ApiCall, ApiResult, Metrics};

/// The limits of the API's listener.
pub(super) const LIMITS: Limits = Limits {
    connections: 2048,
    header_time: Duration::from_secs(10),
    header_bytes: 32 * 1024,
    connection_time: Duration::from_secs(3600),
    grace: Duration::from_secs(10),
};
/// Most bytes of a call, but for those of nodes and those that put a value.
const MAX_BODY: usize = 64 * 1024;
/// How long the body of a call may take.
const BODY_TIME: Duration = Duration::from_secs(10);

const MEDIA_TYPE: &str = "application/x-amz-json-1.1";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// What answers, once the installation is known.
struct Serving {
    authenticator: Authenticator,
    throttle: Throttle,
    secrets: Secrets,
    keys: Keys,
    delivery: Delivery,
}

/// Who calls, and by which request.
#[derive(Clone, Copy)]
struct Caller<'a> {
    who: &'a Identity,
    request_id: &'a str,
}

impl<'a> Caller<'a> {
    /// The call, as the operations on keys know it.
    fn call(self, dry_run: bool) -> operations::Call<'a> {
        operations::Call {
            caller: &self.who.caller,
            request_id: self.request_id,
            dry_run,
        }
    }
}

/// The API of a replica: unavailable while there is nothing to answer with.
#[derive(Clone)]
pub(super) struct Service {
    serving: Arc<RwLock<Option<Arc<Serving>>>>,
    kubelets: Arc<Kubelets>,
    metrics: Metrics,
}

/// What the API answers with.
pub(super) struct Foundation<'a> {
    pub(super) client: Client,
    pub(super) namespace: &'a str,
    pub(super) installation: &'a Installation,
    pub(super) keyring: Arc<Keyring>,
    pub(super) gate: Arc<PolicyGate>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) stored: Arc<Revisions>,
    pub(super) namespaces: Arc<Uids>,
}

impl Service {
    /// Answers nothing yet.
    pub(super) fn new(kubelets: Arc<Kubelets>, metrics: Metrics) -> Self {
        Self {
            serving: Arc::default(),
            kubelets,
            metrics,
        }
    }

    /// Answers with that from now on.
    pub(super) fn start(&self, with: Foundation<'_>) {
        let client = || with.client.clone();
        let (id, region) = (with.installation.id, with.installation.region.clone());
        let (catalogue, gate) = (with.catalogue.clone(), with.gate.clone());
        let kubelets = self.kubelets.clone();
        let delivery = Delivery::new(client(), with.namespace, catalogue, kubelets, gate.clone());
        let store = Store {
            ciphertext: Ciphertext::new(client(), with.namespace, with.stored),
            namespaces: with.namespaces,
            catalogue: with.catalogue,
            keyring: with.keyring.clone(),
            gate,
        };
        let reader = Reader::new(client(), store, with.clock);
        let keys = Keys {
            names: Names {
                client: client(),
                keyring: with.keyring.clone(),
                installation: id,
            },
            operations: Operations::new(with.keyring, with.gate.clone()),
        };
        let serving = Serving {
            authenticator: Authenticator::new(client(), with.gate),
            throttle: Throttle::default(),
            secrets: Secrets {
                reader,
                accounts: Accounts::new(client(), id, region),
                asking: Asking::new(client(), with.namespace),
                turns: Turns::default(),
            },
            keys,
            delivery,
        };
        self.set(Some(Arc::new(serving)));
    }

    /// Answers nothing until it is started again; those who wait are answered at once.
    pub(super) fn stop(&self) {
        self.set(None);
    }

    fn set(&self, serving: Option<Arc<Serving>>) {
        let mut held = self.serving.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = std::mem::replace(&mut *held, serving) {
            before.delivery.end();
        }
    }

    fn serving(&self) -> Result<Arc<Serving>, ApiError> {
        let serving = self.serving.read();
        let serving = serving.unwrap_or_else(PoisonError::into_inner);
        serving.clone().ok_or_else(|| {
            ApiError::unavailable("this replica has not read the installation yet; try again")
        })
    }

    async fn answer(
        &self,
        call: Call,
        request_id: &str,
        request: Request<Body>,
    ) -> Result<Answer, ApiError> {
        let (parts, body) = request.into_parts();
        let serving = self.serving()?;
        // Nobody's body is read before it is known who he is.
        let who = serving.authenticator.authenticate(&parts.headers).await?;
        let turn = serving.throttle.admit(who.caller.principal.name())?;
        let caller = Caller {
            who: &who,
            request_id,
        };
        let read = read(body, call.max_body());
        match call {
            Call::Secret(call) => {
                let secrets = &serving.secrets;
                // Those that change something have larger bodies, and wait longer.
                let _turn = secrets.turns.admit(call).await?;
                let body = SecretBytes::from(read.await?);
                secrets.call(call, caller, body.expose()).await
            }
            Call::Key(call) => serving.keys.call(call, caller, &read.await?).await,
            Call::Delivery(call) => {
                let delivery = &serving.delivery;
                let admitted = delivery.admit(call, caller).await?;
                let (body, secrets) = (read.await?, &serving.secrets);
                delivery.call(admitted, caller, secrets, body, turn).await
            }
        }
    }
}

/// Answers calls.
pub(super) fn router(service: Service) -> Router {
    Router::new().route("/", post(call)).with_state(service)
}

async fn call(State(service): State<Service>, request: Request<Body>) -> Response {
    let (id, begun) = (request_id(), Instant::now());
    let called = Call::of(request.headers());
    let label = called
        .as_ref()
        .map_or(ApiCall::UNKNOWN, |call| call.label());
    let answer = match called {
        Ok(call) => service.answer(call, &id, request).await,
        Err(error) => Err(error),
    };
    let result = answer.as_ref().err();
    let result = result.map_or(ApiResult::Success, |error| error.result);
    service.metrics.api_answered(label, result, begun.elapsed());
    let mut response = match answer {
        Ok(Answer(body)) => ([(CONTENT_TYPE, MEDIA_TYPE)], body).into_response(),
        Err(error) => refused(&error),
    };
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

async fn read(body: Body, most: usize) -> Result<Vec<u8>, ApiError> {
    let body = timeout(BODY_TIME, to_bytes(body, most)).await;
    let body = body.map_err(|_| ApiError::too_slow("the body did not come in time"))?;
    let body = body.map_err(|_| {
        ApiError::too_large(format!(
            "the body cannot be read, or has more than {most} bytes"
        ))
    })?;
    Ok(body.into())
}

fn refused(error: &ApiError) -> Response {
    let body = json!({"__type": error.code, "message": error.message}).to_string();
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE)),
        (ERROR_TYPE, HeaderValue::from_static(error.code)),
    ];
    (error.status, headers, body).into_response()
}

/// A random UUID (RFC 9562, version 4).
fn request_id() -> String {
    let random = crate::secrets::generate::uuid(&mut crate::crypto::OsRandom);
    random.unwrap_or_default()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
