//! `SecretChange`: what a call of the API asks of one secret. Internal; it lives in the operator's namespace, and not for long.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A change of one secret that the server has allowed and that the controller, which alone writes the truth, makes or refuses. Made by
/// the server alone, once for a call of the API; answered by the controller alone, in its status; deleted minutes later. Without the
/// secret's key it opens nothing.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "keystead.dev",
    version = "v1alpha1",
    kind = "SecretChange",
    plural = "secretchanges",
    namespaced,
    category = "keystead",
    status = "SecretChangeStatus",
    doc = "Internal: a change of one ManagedSecret that a call of the API asks for. Lives in the operator's namespace for a few minutes.",
    printcolumn(name = "Namespace", type_ = "string", json_path = ".spec.namespace"),
    printcolumn(name = "Secret", type_ = "string", json_path = ".spec.name"),
    printcolumn(name = "User", type_ = "string", json_path = ".spec.user"),
    printcolumn(name = "Done", type_ = "boolean", json_path = ".status.done"),
    printcolumn(name = "Code", type_ = "string", json_path = ".status.code"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    validation = Rule::new("self.spec == oldSelf.spec")
        .message("spec is immutable: a change is made once, as it was asked for")
        .field_path(".spec"),
    validation = Rule::new("has(self.spec.put) != has(self.spec.moveStage)")
        .message("spec has exactly one of put and moveStage")
        .field_path(".spec")
)]
#[serde(rename_all = "camelCase")]
pub struct SecretChangeSpec {
    /// Namespace of the `ManagedSecret`.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Name of the `ManagedSecret`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// UID that the namespace had when the change was allowed.
    #[schemars(length(min = 1, max = 64))]
    pub namespace_uid: String,
    /// UID that the `ManagedSecret` had when the change was allowed. Of another one it asks nothing.
    #[schemars(length(min = 1, max = 64))]
    pub object_uid: String,
    /// The user who asked for it.
    #[schemars(length(min = 1, max = 330))]
    pub user: String,
    /// A version to be added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub put: Option<PutVersion>,
    /// A stage to be moved, or taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub move_stage: Option<MoveStage>,
}

/// A version to be added.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PutVersion {
    /// Its id, a UUID in lower case.
    #[schemars(length(min = 36, max = 36))]
    pub version_id: String,
    /// The stage that it gets.
    pub stage: ChangedStage,
    /// What was put, as an envelope under the secret's key, in base64 (format: docs/formats.md).
    #[schemars(length(min = 1, max = 262_144))]
    pub value: String,
}

/// A stage to be moved, or taken away.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MoveStage {
    /// The stage.
    pub stage: ChangedStage,
    /// The version that gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 36, max = 36))]
    pub move_to_version_id: Option<String>,
    /// The version that has it, as whoever asked believes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 36, max = 36))]
    pub remove_from_version_id: Option<String>,
}

/// A stage that a call may change. `Previous` follows from `Current`, and labels are in the resource.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum ChangedStage {
    /// What readers get.
    Current,
    /// What a rotation is about to make current.
    Pending,
}

impl ChangedStage {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "Current",
            Self::Pending => "Pending",
        }
    }
}

/// What came of a change.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretChangeStatus {
    /// Whether it is done; absent until it was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<bool>,
    /// The stages that the version has since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 25), inner(length(min = 1, max = 256)))]
    pub stages: Vec<String>,
    /// Why it is not done: the error of AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ChangeError>,
    /// Why it is not done, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub message: Option<String>,
}

impl SecretChangeStatus {
    /// Most characters of a message.
    pub const MAX_MESSAGE: usize = 4096;

    /// Whether the change was looked at.
    pub fn is_answered(&self) -> bool {
        self.done.is_some()
    }
}

/// The errors of AWS that a change may come to.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum ChangeError {
    /// What was put, or a version that was named, is not one that the secret can have.
    InvalidParameterException,
    /// It cannot be done in the state that the secret is in.
    InvalidRequestException,
    /// There is a version of that id with another value.
    ResourceExistsException,
    /// There is no such version.
    ResourceNotFoundException,
    /// It was not done, and may be asked for again.
    ServiceUnavailableException,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_written_as_its_schema_says() {
        let spec = json!({
            "namespace": "shop", "name": "db", "namespaceUid": "n", "objectUid": "o", "user": "ann",
            "moveStage": {"stage": "Current", "moveToVersionId": "00000000-0000-4000-8000-000000000001"},
        });
        let read: SecretChangeSpec = serde_json::from_value(spec.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), spec);
        let status = SecretChangeStatus {
            done: Some(false),
            code: Some(ChangeError::ResourceExistsException),
            ..SecretChangeStatus::default()
        };
        assert!(status.is_answered() && !SecretChangeStatus::default().is_answered());
        assert_eq!(
            serde_json::to_value(&status).unwrap(),
            json!({"done": false, "code": "ResourceExistsException"})
        );
    }
}
