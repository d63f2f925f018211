//! The webhooks: what the API server asks before it stores something, where no policy in the API server itself could
//! answer. They have no effects, and guard so little that an outage blocks nothing else.

mod admission;
mod key;

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::time::timeout;

pub use admission::{AdmissionRequest, UserInfo, Verdict};
pub use key::review as review_key;

use self::admission::Review;
use crate::listen::Limits;

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

/// Answers the API server.
pub(super) fn router() -> Router {
    Router::new().route(
        "/validate/managedkeys",
        post(async |request| answer(request, review_key).await),
    )
}

async fn answer(request: Request<Body>, review: fn(&AdmissionRequest) -> Verdict) -> Response {
    let Ok(body) = timeout(BODY_TIME, to_bytes(request.into_body(), MAX_BODY)).await else {
        return StatusCode::REQUEST_TIMEOUT.into_response();
    };
    let Ok(body) = body else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    // Nothing is said of why: the error could quote what was sent.
    let Ok(asked) = serde_json::from_slice::<Review>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let Some(request) = asked.request else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    match serde_json::to_vec(&Review::answering(&request, review(&request))) {
        Ok(answer) => ([(CONTENT_TYPE, "application/json")], answer).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    async fn asked(body: impl Into<Body>) -> (StatusCode, Value) {
        let request = Request::new(body.into());
        let answer = answer(request, review_key).await;
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
        let (status, answer) = asked(question(&json!({}))).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
        assert_eq!(answer["kind"], "AdmissionReview");
        assert_eq!(
            answer["response"],
            json!({"uid": "705ab4f5", "allowed": true})
        );

        let (_, answer) = asked(question(&json!({"delegateToRBAC": false}))).await;
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
            let (status, answer) = asked(nonsense).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{nonsense}");
            assert_eq!(answer, Value::Null);
        }
    }

    #[tokio::test]
    async fn a_question_above_the_limit_is_refused() {
        let (status, _) = asked(vec![b' '; MAX_BODY + 1]).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    }
}
