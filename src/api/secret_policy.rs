//! The policy of a secret: who may read it by a call of his own, in statements; and which pods may mount it.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::key_policy::{self, Effect, Principals};
use super::schema::OBJECT_NAME;

/// Who may read a secret by a call of the API (AWS Secrets Manager: the resource policy). An explicit Deny wins over everything,
/// also over a pod's own mount; then an Allow gives, then Kubernetes RBAC if the policy delegates to it. Everything else is denied. As JSON it
/// has at most 20,480 bytes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = key_policy::not_public())]
#[x_kube(validation = key_policy::own_sids())]
pub struct SecretPolicy {
    /// Whether Kubernetes RBAC may allow what no statement does; default true. It is asked for `get` on `managedsecrets/value`, for `put`
    /// on it where the call changes the value, and for `get` on `managedsecrets` for descriptions.
    #[serde(
        default,
        rename = "delegateToRBAC",
        skip_serializing_if = "Option::is_none"
    )]
    pub delegate_to_rbac: Option<bool>,

    /// The statements; their order does not matter. At most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub statements: Vec<SecretStatement>,

    /// Whether statements may allow what (nearly) everybody is: `system:authenticated`, `system:unauthenticated`,
    /// `system:anonymous`, `system:serviceaccounts`. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_public: Option<bool>,
}

impl SecretPolicy {
    /// Most statements of one policy.
    pub const MAX_STATEMENTS: usize = 20;
    /// Most bytes of one policy as JSON; AWS Secrets Manager has the same limit on a resource policy.
    pub const MAX_BYTES: usize = 20_480;

    /// Whether RBAC may allow what nothing else does.
    pub fn delegates_to_rbac(&self) -> bool {
        self.delegate_to_rbac.unwrap_or(true)
    }
}

/// One statement of a secret's policy: it matches if principal and action do.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretStatement {
    /// A name by which decisions and messages speak of the statement; unique in the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_.-]+$"))]
    pub sid: Option<String>,

    /// Whether it gives access or takes it away. A Deny that matches wins over everything.
    pub effect: Effect,

    /// Whom it speaks of: whoever is named in any of the lists.
    pub principals: Principals,

    /// What it speaks of: `GetSecretValue`, `DescribeSecret`, `ListSecretVersionIds`, `PutSecretValue` and `UpdateSecretVersionStage`, `*` standing for any characters (`*` alone
    /// for everything, also what later releases add). At most 8.
    #[schemars(
        length(min = 1, max = 8),
        inner(length(min = 1, max = 36), regex(pattern = r"^[A-Za-z*]+$"))
    )]
    #[x_kube(validation = key_policy::known_actions(&ACTION_NAMES, UNKNOWN_ACTION))]
    pub actions: Vec<String>,
}

/// The pods that may mount a secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Consumers {
    /// The service accounts of this namespace whose pods may, by name. 1 to 64.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 253), regex(pattern = OBJECT_NAME)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub service_accounts: Vec<String>,
}

/// What is said of an action that is none.
const UNKNOWN_ACTION: &str = "an action matches no call: write names of AWS Secrets Manager calls such as GetSecretValue or DescribeSecret, with * for any characters";

/// The names that a policy of a secret may speak of; those of [`crate::policy::SecretAction`].
pub const ACTION_NAMES: [&str; 5] = [
    "GetSecretValue",
    "DescribeSecret",
    "ListSecretVersionIds",
    "PutSecretValue",
    "UpdateSecretVersionStage",
];
