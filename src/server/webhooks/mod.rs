//! The webhooks: what the API server asks before it stores something, where no policy in the API server itself could
//! answer. They have no effects but lines of the audit trail, and guard so little that an outage blocks nothing else.

mod admission;
mod key;
mod pods;
mod record;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use kube::Client;
use tokio::time::timeout;
use tracing::info;

pub use admission::{AdmissionRequest, UserInfo, Verdict};
pub use key::review as review_key;
pub(super) use pods::Injection;

use self::admission::{Change, Review};
use self::pods::{Question, Refused};
use crate::audit::Trail;
use crate::authorization::{self, ObjectPlace, Subject};
use crate::listen::Limits;
use crate::policy::{Rbac, RbacAttributes};
use crate::telemetry::{ApiCall, ApiResult, Metrics};

/// The limits of the webhooks' listener. The API server keeps its connections and opens few.
pub(super) const LIMITS: Limits = Limits {
    connections: 256,
    header_time: Duration::from_secs(5),
    header_bytes: 16 * 1024,
    connection_time: Duration::from_secs(600),
    grace: Duration::from_secs(5),
};
/// Most bytes of a question: an object and its earlier state, of which each can have 256 KiB of annotations.
const MAX_BODY: usize = 1024 * 1024;
/// How long the body of a question may take. The API server itself waits for five seconds.
const BODY_TIME: Duration = Duration::from_secs(4);

/// How long RBAC may take to answer. The API server itself waits for five seconds for all of it.
const RBAC_TIME: Duration = Duration::from_secs(2);

/// What the webhooks answer with.
#[derive(Clone)]
pub(super) struct Answering {
    /// Asks the API server what RBAC says.
    pub(super) client: Client,
    /// The audit trail, once the installation is known that it belongs to.
    pub(super) trail: Arc<OnceLock<Trail>>,
    /// What is put into pods.
    pub(super) injection: Injection,
    /// Counts the questions.
    pub(super) metrics: Metrics,
}

/// Answers the API server.
pub(super) fn router(answering: Answering) -> Router {
    Router::new()
        .route("/validate/managedkeys", post(managed_keys))
        .route("/validate/record", post(record))
        .route("/mutate/pods", pods("InjectPod", Question::Inject))
        .route("/validate/pods", pods("CheckPod", Question::Check))
        .route("/restore/pods", pods("RestorePod", Question::Restore))
        .with_state(answering)
}

/// Answers a question about pods. It asks nobody, and has no effect.
fn pods(call: &'static str, question: Question) -> MethodRouter<Answering> {
    post(
        async move |State(answering): State<Answering>, request: Request<Body>| {
            let begun = Instant::now();
            let (response, result) = match asked(request).await {
                Err(status) => (status.into_response(), ApiResult::Refused),
                Ok(asked) => match answering.injection.answer(question, &asked) {
                    Ok(change) => (changed(&asked, change), ApiResult::Success),
                    Err(Refused::Denied(why)) => {
                        info!(
                            namespace = asked.namespace,
                            name = pod_name(&asked),
                            why,
                            "a pod was refused"
                        );
                        (answer(&asked, Verdict::Deny(why)), ApiResult::Denied)
                    }
                    Err(Refused::Malformed) => {
                        (StatusCode::BAD_REQUEST.into_response(), ApiResult::Refused)
                    }
                    Err(Refused::NotReady) => (
                        StatusCode::SERVICE_UNAVAILABLE.into_response(),
                        ApiResult::Failed,
                    ),
                },
            };
            let call = ApiCall::named(call);
            answering
                .metrics
                .webhook_answered(call, result, begun.elapsed());
            response
        },
    )
}

/// The name of a pod, or what its name will begin with.
fn pod_name(asked: &AdmissionRequest) -> String {
    let metadata = &asked.object["metadata"];
    let name = metadata["name"].as_str().map(str::to_owned);
    let prefix = || Some(format!("{}*", metadata["generateName"].as_str()?));
    name.or_else(prefix).unwrap_or_default()
}

/// Writes down who asks for what, and lets everything through. If it cannot, the API server goes on without it.
async fn record(State(answering): State<Answering>, request: Request<Body>) -> Response {
    let asked = match asked(request).await {
        Ok(asked) => asked,
        Err(status) => return status.into_response(),
    };
    if !asked.dry_run {
        let entries = record::entries(&asked);
        let Some(trail) = answering.trail.get() else {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        };
        if trail.write_all(entries).await.is_err() {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    }
    answer(&asked, Verdict::Allow)
}

async fn managed_keys(State(answering): State<Answering>, request: Request<Body>) -> Response {
    let asked = match asked(request).await {
        Ok(asked) => asked,
        Err(status) => return status.into_response(),
    };
    let mut verdict = review_key(&asked, Rbac::NotAsked);
    if let Verdict::NeedsRbac(attributes) = verdict {
        let Some(rbac) = ask_rbac(answering.client, &asked, attributes).await else {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        };
        verdict = review_key(&asked, rbac);
    }
    answer(&asked, verdict)
}

async fn ask_rbac(
    client: Client,
    asked: &AdmissionRequest,
    attributes: RbacAttributes,
) -> Option<Rbac> {
    let user = asked.user_info.clone();
    let subject = Subject {
        user: user.username,
        uid: user.uid,
        groups: user.groups,
        extra: user.extra,
    };
    let key = ObjectPlace {
        namespace: &asked.namespace,
        name: &asked.name,
    };
    authorization::ask(client, &subject, key, attributes, RBAC_TIME).await
}

async fn asked(request: Request<Body>) -> Result<AdmissionRequest, StatusCode> {
    let body = timeout(BODY_TIME, to_bytes(request.into_body(), MAX_BODY)).await;
    let body = body.map_err(|_| StatusCode::REQUEST_TIMEOUT)?;
    let body = body.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
    // Nothing is said of why: the error could quote what was sent.
    let review: Review = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    review.request.ok_or(StatusCode::BAD_REQUEST)
}

fn answer(request: &AdmissionRequest, verdict: Verdict) -> Response {
    let refusal = match verdict {
        Verdict::Allow => None,
        Verdict::Deny(message) => Some(message),
        // RBAC was asked and the question is the same: nothing is allowed that is not decided.
        Verdict::NeedsRbac(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    write(&Review::answering(request, refusal))
}

fn changed(request: &AdmissionRequest, change: Change) -> Response {
    write(&Review::changing(request, change))
}

fn write(review: &Review) -> Response {
    match serde_json::to_vec(review) {
        Ok(answer) => ([(CONTENT_TYPE, "application/json")], answer).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What is answered to a question that RBAC has nothing to do with.
    async fn answered(body: impl Into<Body>) -> (StatusCode, Value) {
        let answer = match asked(Request::new(body.into())).await {
            Ok(asked) => answer(&asked, review_key(&asked, Rbac::NotAsked)),
            Err(status) => status.into_response(),
        };
        let status = answer.status();
        let body = to_bytes(answer.into_body(), MAX_BODY).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    fn question(policy: &Value) -> String {
        json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "705ab4f5",
                "operation": "CREATE",
                "namespace": "shop",
                "name": "orders",
                "userInfo": {"username": "ann", "groups": ["devs"]},
                "object": {"spec": {"policy": policy}},
                "oldObject": null,
            },
        })
        .to_string()
    }

    #[tokio::test]
    async fn the_answer_has_the_questions_uid_and_says_why_not() {
        let allow = json!({"effect": "Allow", "principals": {"users": ["ann"]}, "actions": ["*"]});
        let (status, answer) = answered(question(&json!({"statements": [allow]}))).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
        assert_eq!(answer["kind"], "AdmissionReview");
        assert_eq!(
            answer["response"],
            json!({"uid": "705ab4f5", "allowed": true})
        );

        let (_, answer) = answered(question(&json!({"delegateToRBAC": false}))).await;
        assert_eq!(answer["response"]["uid"], "705ab4f5");
        assert_eq!(answer["response"]["allowed"], false);
        assert_eq!(answer["response"]["status"]["code"], 422);
        let message = answer["response"]["status"]["message"].as_str().unwrap();
        assert!(message.contains("spec.policy"), "{message}");
    }

    #[tokio::test]
    async fn what_is_no_question_is_refused_and_not_quoted() {
        for nonsense in [
            "",
            "{",
            "[]",
            "{\"request\": 1}",
            "{\"kind\": \"AdmissionReview\"}",
        ] {
            let (status, answer) = answered(nonsense).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{nonsense}");
            assert_eq!(answer, Value::Null);
        }
    }

    #[tokio::test]
    async fn a_question_above_the_limit_is_refused() {
        let (status, _) = answered(vec![b' '; MAX_BODY + 1]).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    }
}
