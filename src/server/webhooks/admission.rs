//! The wire form of `admission.k8s.io/v1` `AdmissionReview`, as far as it is used here.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::policy::RbacAttributes;

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
    /// What kind of object it is about.
    #[serde(default)]
    pub kind: Kind,
    /// Whether nothing will be stored.
    #[serde(default)]
    pub dry_run: bool,
    /// `CREATE` or `UPDATE`.
    #[serde(default)]
    pub operation: String,
    /// The object's namespace.
    #[serde(default)]
    pub namespace: String,
    /// The object's name; empty while the API server is still to make one.
    #[serde(default)]
    pub name: String,
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

/// The kind of an object.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Kind {
    /// Its name.
    #[serde(default)]
    pub kind: String,
}

/// Somebody whom the API server has authenticated.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserInfo {
    /// His name.
    #[serde(default)]
    pub username: String,
    /// His UID.
    #[serde(default)]
    pub uid: String,
    /// His groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// What else is known of him, for authorizers.
    #[serde(default)]
    pub extra: BTreeMap<String, Vec<String>>,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be stored.
    Allow,
    /// It must not, and what to do about it.
    Deny(String),
    /// That depends on what RBAC says of this right to the key; review again with its answer.
    NeedsRbac(RbacAttributes),
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionResponse {
    uid: String,
    allowed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<Refusal>,
    /// A JSON patch (RFC 6902) in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    patch_type: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// What is to be changed of an object before it is stored, and what is told to whoever sent it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Change {
    /// A list of operations (RFC 6902); of none, nothing is changed.
    pub patch: Vec<Value>,
    /// Warnings.
    pub warnings: Vec<String>,
}

/// A `metav1.Status`.
#[derive(Deserialize, Serialize)]
struct Refusal {
    code: u16,
    reason: String,
    message: String,
}

impl Review {
    /// The answer: why it is refused, if it is.
    pub(super) fn answering(request: &AdmissionRequest, refusal: Option<String>) -> Self {
        let status = refusal.map(|message| Refusal {
            code: 422,
            reason: "Invalid".to_owned(),
            message,
        });
        Self::with(AdmissionResponse {
            uid: request.uid.clone(),
            allowed: status.is_none(),
            status,
            ..AdmissionResponse::default()
        })
    }

    /// The answer that lets it through, changed so.
    pub(super) fn changing(request: &AdmissionRequest, change: Change) -> Self {
        let patch = (!change.patch.is_empty()).then(|| Value::Array(change.patch).to_string());
        Self::with(AdmissionResponse {
            uid: request.uid.clone(),
            allowed: true,
            patch_type: patch.as_ref().map(|_| "JSONPatch".to_owned()),
            patch: patch.map(|patch| STANDARD.encode(patch)),
            warnings: change.warnings,
            ..AdmissionResponse::default()
        })
    }

    fn with(response: AdmissionResponse) -> Self {
        Self {
            api_version: "admission.k8s.io/v1".to_owned(),
            kind: "AdmissionReview".to_owned(),
            request: None,
            response: Some(response),
        }
    }
}
