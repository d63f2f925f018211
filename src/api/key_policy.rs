//! The policy of a key: who may do what with it, in statements.

use std::collections::BTreeMap;

use kube::KubeSchema;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{NAMESPACE_NAME, OBJECT_NAME};

/// Who may do what with a key (AWS KMS: the key policy). An explicit Deny wins over everything; then a grant gives, then
/// an Allow, then Kubernetes RBAC if the policy delegates to it. Everything else is denied. As JSON it has at most
/// 131,072 bytes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = not_public())]
#[x_kube(validation = own_sids())]
pub struct KeyPolicy {
    /// Whether Kubernetes RBAC may allow what no statement and no grant does; default true. It is asked for `create` on
    /// `managedkeys/encrypt`, `managedkeys/decrypt` and so on, and for `update` on `managedkeys/policy`, `state`,
    /// `deletion`, `rotate`, `import` and `grants`. The counterpart of a KMS policy that gives the account root all rights.
    #[serde(
        default,
        rename = "delegateToRBAC",
        skip_serializing_if = "Option::is_none"
    )]
    pub delegate_to_rbac: Option<bool>,

    /// The statements; their order does not matter. At most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub statements: Vec<PolicyStatement>,

    /// Whether statements may allow what (nearly) everybody is: `system:authenticated`, `system:unauthenticated`,
    /// `system:anonymous`, `system:serviceaccounts`. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_public: Option<bool>,
}

impl KeyPolicy {
    /// Most statements of one policy.
    pub const MAX_STATEMENTS: usize = 50;
    /// Most bytes of one policy as JSON. AWS KMS has the same limit on the parameter `Policy`.
    pub const MAX_BYTES: usize = 131_072;

    /// Whether RBAC may allow what nothing else does.
    pub fn delegates_to_rbac(&self) -> bool {
        self.delegate_to_rbac.unwrap_or(true)
    }
}

/// One statement of a policy: it matches if principal, action and all conditions do.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatement {
    /// A name by which decisions and messages speak of the statement; unique in the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_.-]+$"))]
    pub sid: Option<String>,

    /// Whether it gives access or takes it away. A Deny that matches wins over everything.
    pub effect: Effect,

    /// Whom it speaks of: whoever is named in any of the lists.
    pub principals: Principals,

    /// What it speaks of: names of AWS KMS calls (`Decrypt`), `*` standing for any characters (`GenerateDataKey*`). At
    /// most 16.
    #[schemars(
        length(min = 1, max = 16),
        inner(length(min = 1, max = 36), regex(pattern = r"^[A-Za-z*]+$"))
    )]
    #[x_kube(validation = known_actions(&ACTION_NAMES, UNKNOWN_ACTION))]
    pub actions: Vec<String>,

    /// What else must be so for it to match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<StatementConditions>,
}

/// Whether a statement gives access or takes it away.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum Effect {
    /// It gives access, unless another statement denies it.
    Allow,
    /// It takes access away, whatever else gives it.
    Deny,
}

/// Whom a statement speaks of. Names are exact: there are no wildcards. A principal of another namespace is bound to the
/// namespace as it is when the policy is accepted: one that is deleted and made again inherits nothing.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "(has(self.serviceAccounts) ? size(self.serviceAccounts) : 0) + (has(self.users) ? size(self.users) : 0) \
     + (has(self.groups) ? size(self.groups) : 0) + (has(self.namespaces) ? size(self.namespaces) : 0) > 0"
).message("a statement without principals matches nobody: name at least one in serviceAccounts, users, groups or namespaces"))]
pub struct Principals {
    /// Service accounts. At most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub service_accounts: Vec<ServiceAccountName>,

    /// Users by name; a secret is `keystead:secret:<namespace>:<name>`. At most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 10),
        inner(length(min = 1, max = 330), regex(pattern = r"^[^*]+$"))
    )]
    pub users: Vec<String>,

    /// Groups by name; the secrets of a namespace are `keystead:secrets:<namespace>`. At most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 10),
        inner(length(min = 1, max = 256), regex(pattern = r"^[^*]+$"))
    )]
    pub groups: Vec<String>,

    /// Namespaces: all service accounts and all secrets of each. At most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 10),
        inner(
            length(min = 1, max = 63),
            regex(pattern = NAMESPACE_NAME)
        )
    )]
    pub namespaces: Vec<String>,
}

/// A service account by name.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountName {
    /// Its namespace.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = NAMESPACE_NAME)
    )]
    pub namespace: String,
    /// Its name.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = OBJECT_NAME)
    )]
    pub name: String,
}

/// What else must be so for a statement to match. All that is written must be so.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StatementConditions {
    /// Pairs that the encryption context has, each with this value; it may have more. At most 8; names that start with
    /// `keystead:` or `aws-crypto-` are reserved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schema::context_condition")]
    #[x_kube(validation = super::schema::context_names())]
    pub encryption_context: BTreeMap<String, String>,

    /// The ways by which the key is used, one of which it must be. Without it any way will do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1))]
    pub via: Vec<Via>,
}

/// A way by which a key is used.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::api::schema::without_description)]
pub enum Via {
    /// For a `ManagedSecret` or `Parameter`, not by a call of its own.
    Secrets,
}

/// The rule that a policy allows nothing to (nearly) everybody, unless it says so.
pub(super) fn not_public() -> Rule {
    Rule::new(
        "!has(self.statements) || has(self.allowPublic) && self.allowPublic || self.statements.all(s, s.effect != 'Allow' \
         || (!has(s.principals.groups) || s.principals.groups.all(g, !(g in ['system:authenticated', 'system:unauthenticated', \
         'system:serviceaccounts']))) && (!has(s.principals.users) || !('system:anonymous' in s.principals.users)))",
    )
    .message(
        "a statement allows system:authenticated, system:unauthenticated, system:anonymous or system:serviceaccounts, which is \
         (nearly) everybody: name narrower principals, or set allowPublic: true",
    )
    .field_path(".statements")
}

/// The rule that no two statements have the same sid.
pub(super) fn own_sids() -> Rule {
    Rule::new(
        "!has(self.statements) || self.statements.all(a, !has(a.sid) || self.statements.exists_one(b, has(b.sid) && b.sid == a.sid))",
    )
    .message("two statements have the same sid: give each its own")
    .field_path(".statements")
}

/// The rule that each pattern stands for at least one action, so that a misspelt Deny is refused rather than ignored. The
/// schema's pattern leaves nothing in it that a regular expression would take for anything else.
pub(super) fn known_actions(names: &[&str], message: &str) -> Rule {
    let names: Vec<_> = names.iter().map(|name| format!("'{name}'")).collect();
    let known = format!(
        "[{}].exists(n, n.matches('^' + a.replace('*', '.*') + '$'))",
        names.join(", ")
    );
    Rule::new(format!("self.all(a, {known})")).message(message)
}

/// What is said of an action that is none.
const UNKNOWN_ACTION: &str = "an action matches no call: write names of AWS KMS calls such as Decrypt or PutKeyPolicy, with * for any characters";

/// The names that a policy may speak of; those of [`crate::policy::Action`].
pub const ACTION_NAMES: [&str; 26] = [
    "Encrypt",
    "Decrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
    "Sign",
    "Verify",
    "GetPublicKey",
    "GenerateMac",
    "VerifyMac",
    "DeriveSharedSecret",
    "DescribeKey",
    "CreateGrant",
    "RetireGrant",
    "PutKeyPolicy",
    "EnableKey",
    "DisableKey",
    "ScheduleKeyDeletion",
    "CancelKeyDeletion",
    "RotateKeyOnDemand",
    "ImportKeyMaterial",
    "DeleteImportedKeyMaterial",
    "UpdateAlias",
];
