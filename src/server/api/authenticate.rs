//! Who calls: a bearer token of our audience, which the API server of the cluster reviews.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use kube::api::PostParams;
use kube::{Api, Client};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::warn;

use super::error::ApiError;
use crate::api::names::AUDIENCE;
use crate::authorization::Subject;
use crate::calling::within;
use crate::keys::operations::Caller;
use crate::remember::Remembered;
use crate::server::gate::{PolicyGate, Unidentified};
use crate::telling::describe;

/// Longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 16 * 1024;
/// How long a review counts.
const REMEMBERED: Duration = Duration::from_secs(10);
/// Most reviews that are remembered.
const MOST: usize = 8192;
/// Reviews at once: whoever sends nonsense does not have the API server of the cluster worn out.
const AT_ONCE: usize = 32;
/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

/// Somebody whom the API server of the cluster has authenticated.
#[derive(Debug)]
pub(super) struct Identity {
    /// Who that is to policies and to RBAC.
    pub(super) caller: Caller,
    /// The pod that the token is bound to.
    pub(super) pod: Option<BoundPod>,
}

/// A pod that a token is bound to. The API server takes the token for invalid as soon as the pod is gone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct BoundPod {
    /// Its namespace: that of its service account.
    pub(super) namespace: String,
    /// Its name.
    pub(super) name: String,
    /// Its UID.
    pub(super) uid: String,
    /// The node that it was on when the token was made, if it was on one.
    pub(super) node: Option<String>,
}

impl fmt::Display for BoundPod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} ({})", self.namespace, self.name, self.uid)
    }
}

/// Asks the API server of the cluster about tokens.
pub(super) struct Authenticator {
    client: Client,
    gate: Arc<PolicyGate>,
    /// By the hash of the token: tokens are kept nowhere.
    reviewed: Remembered<[u8; 32], Result<Arc<Identity>, ApiError>>,
    turns: Semaphore,
}

impl Authenticator {
    pub(super) fn new(client: Client, gate: Arc<PolicyGate>) -> Self {
        Self {
            client,
            gate,
            reviewed: Remembered::new(REMEMBERED, MOST),
            turns: Semaphore::new(AT_ONCE),
        }
    }

    /// Who sent these headers.
    ///
    /// # Errors
    /// There is no token, it is not valid, or nobody could say.
    pub(super) async fn authenticate(
        &self,
        headers: &HeaderMap,
    ) -> Result<Arc<Identity>, ApiError> {
        let token = token(headers)?;
        let (hash, asked) = (Sha256::digest(token).into(), Instant::now());
        if let Some(known) = self.reviewed.get(&hash, asked) {
            return known;
        }
        let turn = timeout(PATIENCE, self.turns.acquire()).await;
        let _turn = turn.map_err(|_| ApiError::unanswered())?;
        if let Some(known) = self.reviewed.get(&hash, asked) {
            // Somebody with the same token was faster.
            return known;
        }
        let reviewed = self.review(token).await?;
        self.reviewed.put(hash, asked, reviewed.clone());
        reviewed
    }

    /// What may be remembered; the outer error may not.
    async fn review(&self, token: &str) -> Result<Result<Arc<Identity>, ApiError>, ApiError> {
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: token.to_owned(),
                audiences: Some(vec![AUDIENCE.to_owned()]),
            },
            ..TokenReview::default()
        };
        let answer = within(PATIENCE, reviews.create(&PostParams::default(), &review)).await;
        let answer = answer.map_err(|error| {
            let error = describe(&error);
            warn!(error, "a token could not be reviewed");
            ApiError::unanswered()
        })?;
        let Some(user) = authenticated(answer) else {
            return Ok(Err(invalid()));
        };
        let pod = bound_pod(&user);
        match self.gate.caller(subject(user)).await {
            Ok(caller) => Ok(Ok(Arc::new(Identity { caller, pod }))),
            Err(reserved @ Unidentified::Reserved(_)) => {
                Ok(Err(ApiError::access_denied(reserved.to_string())))
            }
            Err(Unidentified::Unanswered) => Err(ApiError::unanswered()),
        }
    }
}

/// The token of an `Authorization: Bearer` header (RFC 6750).
fn token(headers: &HeaderMap) -> Result<&str, ApiError> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Err(ApiError::no_token(format!(
            "send a token of a service account with audience {AUDIENCE} as Authorization: Bearer"
        )));
    };
    let text = value.to_str().ok();
    match text.and_then(|text| text.split_once(' ')) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            let token = token.trim();
            if token.is_empty() || token.len() > MAX_TOKEN {
                return Err(invalid());
            }
            Ok(token)
        }
        _ => Err(ApiError::no_token(format!(
            "the Authorization header is no Bearer token: signatures of AWS (SigV4) are not taken; send a token of audience {AUDIENCE}"
        ))),
    }
}

fn invalid() -> ApiError {
    ApiError::bad_token(format!(
        "the token is not valid: it is of another audience than {AUDIENCE}, expired, or of a pod or service account that is gone"
    ))
}

/// The user, if the token is valid and made for us. An API server that knows no audiences names none.
fn authenticated(review: TokenReview) -> Option<UserInfo> {
    let status = review.status?;
    let for_us = status
        .audiences
        .is_some_and(|audiences| audiences.iter().any(|audience| audience == AUDIENCE));
    if !status.authenticated.unwrap_or_default() || !for_us || status.error.is_some() {
        return None;
    }
    status
        .user
        .filter(|user| user.username.as_ref().is_some_and(|name| !name.is_empty()))
}

fn bound_pod(user: &UserInfo) -> Option<BoundPod> {
    let extra = user.extra.as_ref()?;
    let only = |key: &str| match extra.get(key)?.as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    };
    let namespace = crate::policy::namespace_of_user(user.username.as_deref()?)?;
    Some(BoundPod {
        namespace: namespace.to_owned(),
        name: only(POD_NAME)?,
        uid: only(POD_UID)?,
        node: only(NODE_NAME),
    })
}

fn subject(user: UserInfo) -> Subject {
    Subject {
        user: user.username.unwrap_or_default(),
        uid: user.uid.unwrap_or_default(),
        groups: user.groups.unwrap_or_default(),
        extra: user.extra.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn headers(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        headers
    }

    fn code(value: &str) -> &'static str {
        token(&headers(value)).unwrap_err().code
    }

    #[test]
    fn only_a_bearer_token_of_a_sane_length_is_looked_at() {
        assert_eq!(token(&headers("Bearer abc")), Ok("abc"));
        assert_eq!(token(&headers("bearer  abc")), Ok("abc"));
        let missing = token(&HeaderMap::new()).unwrap_err();
        assert_eq!(missing.code, "MissingAuthenticationTokenException");
        let sigv4 = "AWS4-HMAC-SHA256 Credential=x/y, Signature=z";
        assert_eq!(code(sigv4), "MissingAuthenticationTokenException");
        assert_eq!(code("Bearer"), "MissingAuthenticationTokenException");
        assert_eq!(code("Bearer  "), "UnrecognizedClientException");
        let long = format!("Bearer {}", "x".repeat(MAX_TOKEN + 1));
        assert_eq!(code(&long), "UnrecognizedClientException");
    }

    fn review(status: &serde_json::Value) -> TokenReview {
        serde_json::from_value(json!({"spec": {}, "status": status})).unwrap()
    }

    #[test]
    fn a_token_counts_only_if_the_api_server_says_that_it_is_for_us() {
        let user = json!({"username": "system:serviceaccount:shop:web"});
        let valid = json!({"authenticated": true, "audiences": [AUDIENCE], "user": user});
        assert!(authenticated(review(&valid)).is_some());
        for (field, value) in [
            ("authenticated", json!(false)),
            ("audiences", json!(["https://kubernetes.default.svc"])),
            ("audiences", json!(null)),
            ("user", json!({"username": ""})),
            ("user", json!(null)),
            ("error", json!("expired")),
        ] {
            let mut status = valid.clone();
            status[field] = value;
            assert!(authenticated(review(&status)).is_none(), "{status}");
        }
        assert!(authenticated(TokenReview::default()).is_none());
    }

    #[test]
    fn a_token_is_a_pods_if_it_names_one() {
        let extra = json!({POD_NAME: ["web-1"], POD_UID: ["u-1"]});
        let user = |name: &str, extra: serde_json::Value| -> UserInfo {
            serde_json::from_value(json!({"username": name, "extra": extra})).unwrap()
        };
        let account = "system:serviceaccount:shop:web";
        let pod = bound_pod(&user(account, extra.clone())).unwrap();
        assert_eq!(
            (pod.namespace.as_str(), pod.name.as_str(), pod.uid.as_str()),
            ("shop", "web-1", "u-1")
        );
        assert_eq!(pod.node, None);
        let mut placed = extra.clone();
        placed[NODE_NAME] = json!(["n1"]);
        let placed = bound_pod(&user(account, placed)).unwrap();
        assert_eq!(placed.node.as_deref(), Some("n1"));
        assert_eq!(bound_pod(&user("ann", extra)), None);
        assert_eq!(
            bound_pod(&user(account, json!({POD_NAME: ["web-1"]}))),
            None
        );
        let two = json!({POD_NAME: ["web-1"], POD_UID: ["u-1", "u-2"]});
        assert_eq!(bound_pod(&user(account, two)), None);
    }
}
