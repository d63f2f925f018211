//! The wire form of `admission.k8s.io/v1` `AdmissionReview`, as far as it is used here.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Question and answer.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Review {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default, skip_serializing)]
    pub(super) request: Option<AdmissionRequest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response: Option<AdmissionResponse>,
}

/// What the API server asks.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdmissionRequest {
    /// Identifies the question.
    pub uid: String,
    /// `CREATE` or `UPDATE`.
    #[serde(default)]
    pub operation: String,
    /// The object's namespace.
    #[serde(default)]
    pub namespace: String,
    /// Who asks for it.
    #[serde(default)]
    pub user_info: UserInfo,
    /// The object as it would be stored.
    #[serde(default)]
    pub object: Value,
    /// The object as it is stored.
    #[serde(default)]
    pub old_object: Value,
}

/// Somebody whom the API server has authenticated.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserInfo {
    /// His name.
    #[serde(default)]
    pub username: String,
    /// His groups.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be stored.
    Allow,
    /// It must not, and what to do about it.
    Deny(String),
}

#[derive(Deserialize, Serialize)]
struct AdmissionResponse {
    uid: String,
    allowed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<Refusal>,
}

/// A `metav1.Status`.
#[derive(Deserialize, Serialize)]
struct Refusal {
    code: u16,
    reason: String,
    message: String,
}

impl Review {
    pub(super) fn answering(request: &AdmissionRequest, verdict: Verdict) -> Self {
        let status = match verdict {
            Verdict::Allow => None,
            Verdict::Deny(message) => Some(Refusal {
                code: 422,
                reason: "Invalid".to_owned(),
                message,
            }),
        };
        Self {
            api_version: "admission.k8s.io/v1".to_owned(),
            kind: "AdmissionReview".to_owned(),
            request: None,
            response: Some(AdmissionResponse {
                uid: request.uid.clone(),
                allowed: status.is_none(),
                status,
            }),
        }
    }
}
