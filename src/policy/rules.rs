//! What one key's policy and grants say, compiled once.

use std::collections::HashMap;

use super::grant::Grant;
use super::pairs::Pairs;
use super::principal::{namespace_of_group, namespace_of_user};
use super::table::{Said, Table};
use super::{Action, Principal};
use crate::api::names::DEFAULT_KEY;
use crate::api::{
    GrantOperation, GrantRecord, KeyMaterialSpec, KeyPolicy, PolicyRecord, PolicyStatement,
    Principals,
};

/// What one key's policy and grants say.
#[derive(Clone, Debug)]
pub struct KeyRules {
    pub(super) is_default: bool,
    pub(super) delegates: bool,
    pub(super) table: Table<Action>,
    pub(super) grants: HashMap<String, Vec<NamedGrant>>,
}

/// A grant and its name.
#[derive(Clone, Debug)]
pub(super) struct NamedGrant {
    pub(super) name: String,
    pub(super) grant: Grant,
    /// The pairs that its `context_subset` asks for.
    pub(super) subset: Vec<u32>,
    /// UID of the grantee's namespace, if it has one, when the grant was accepted.
    pub(super) namespace_uid: Option<String>,
}

/// Why a policy cannot be read. Nothing is allowed by one that cannot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// More statements than a policy may have.
    #[error("spec.policy.statements has {count} items, at most {most} are allowed: merge some")]
    TooManyStatements {
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// A pattern that no action matches.
    #[error("spec.policy.statements[{statement}].actions: {pattern:?} {UnknownAction}", UnknownAction = super::UnknownAction)]
    UnknownAction {
        /// The statement's place.
        statement: usize,
        /// The pattern.
        pattern: String,
    },
    /// The policy is larger than one may be.
    #[error(
        "spec.policy has {size} bytes as JSON, at most {most} are allowed: use fewer statements or principals, or groups"
    )]
    TooLarge {
        /// How many bytes it has.
        size: usize,
        /// How many it may have.
        most: usize,
    },
}

/// Checks a policy as a whole: what its schema cannot say.
///
/// # Errors
/// It is too large, or an action pattern stands for nothing.
pub fn check_policy(policy: &KeyPolicy) -> Result<(), RuleError> {
    bounded(policy, KeyPolicy::MAX_BYTES)?;
    let mut table = Table::new("", None, &[]);
    add_policy(&mut table, policy)
}

/// Refuses a policy of more than `most` bytes as JSON.
pub(super) fn bounded(policy: &impl serde::Serialize, most: usize) -> Result<(), RuleError> {
    let size = serde_json::to_vec(policy).map_or(usize::MAX, |json| json.len());
    if size > most {
        return Err(RuleError::TooLarge { size, most });
    }
    Ok(())
}

/// The namespaces other than the key's own that a policy's principals belong to, in order and each once.
pub fn foreign_namespaces(policy: &KeyPolicy, own: &str) -> Vec<String> {
    namespaces_of(policy.statements.iter().map(|s| &s.principals), own)
}

/// The namespaces other than `own` that these belong to, in order and each once.
pub(super) fn namespaces_of<'a>(
    principals: impl Iterator<Item = &'a Principals>,
    own: &str,
) -> Vec<String> {
    let mut found = Vec::new();
    for principals in principals {
        let accounts = principals.service_accounts.iter();
        found.extend(accounts.map(|account| account.namespace.as_str()));
        found.extend(principals.users.iter().filter_map(|u| namespace_of_user(u)));
        let groups = principals.groups.iter();
        found.extend(groups.filter_map(|g| namespace_of_group(g)));
        found.extend(principals.namespaces.iter().map(String::as_str));
    }
    found.retain(|namespace| *namespace != own);
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(str::to_owned).collect()
}

impl KeyRules {
    /// The rules of the key that this is the truth of.
    ///
    /// # Errors
    /// The recorded policy is not one that the operator accepts: somebody else wrote it.
    pub fn of(truth: &KeyMaterialSpec) -> Result<Self, RuleError> {
        let place = (truth.namespace.as_str(), truth.name.as_str());
        let uid = Some(truth.namespace_uid.as_str());
        Self::new(place, uid, &truth.policy, &truth.grants)
    }

    /// The rules of the key of that namespace and name. `uid`: the namespace's, as recorded.
    ///
    /// # Errors
    /// The policy is not one that the operator accepts.
    pub fn new(
        (namespace, name): (&str, &str),
        uid: Option<&str>,
        policy: &PolicyRecord,
        grants: &[GrantRecord],
    ) -> Result<Self, RuleError> {
        let mut rules = Self {
            is_default: name == DEFAULT_KEY,
            delegates: true,
            table: Table::new(namespace, uid, &policy.namespaces),
            grants: HashMap::new(),
        };
        if let Some(accepted) = &policy.accepted {
            rules.delegates = accepted.delegates_to_rbac();
            add_policy(&mut rules.table, accepted)?;
        }
        for record in grants.iter().filter(|record| !record.expired) {
            let granted = rules.grants.entry(record.grantee.clone()).or_default();
            granted.push(NamedGrant::of(record, &mut rules.table.pairs));
        }
        Ok(rules)
    }

    /// Whether RBAC may allow what nothing else does.
    pub fn delegates_to_rbac(&self) -> bool {
        self.delegates
    }

    /// Whether some statement denies one of these actions to somebody.
    pub fn denies_any(&self, actions: &[Action]) -> bool {
        self.table.denies_any(actions)
    }

    /// Whether a statement may deny one of these actions to somebody of whom only the name is known: conditions are left aside, and
    /// any group may be one of his.
    pub fn may_deny(&self, user: &Principal, actions: &[Action]) -> bool {
        self.table.may_deny(user, actions)
    }
}

fn add_policy(table: &mut Table<Action>, policy: &KeyPolicy) -> Result<(), RuleError> {
    let said = |statement| Said::from(statement);
    table.add_all(
        policy.statements.iter().map(said),
        KeyPolicy::MAX_STATEMENTS,
    )
}

impl<'a> From<&'a PolicyStatement> for Said<'a> {
    fn from(statement: &'a PolicyStatement) -> Self {
        Self {
            sid: statement.sid.as_ref(),
            effect: statement.effect,
            principals: &statement.principals,
            actions: &statement.actions,
            conditions: statement.conditions.as_ref(),
        }
    }
}

impl NamedGrant {
    fn of(record: &GrantRecord, pairs: &mut Pairs) -> Self {
        let constraints = record.constraints.clone().unwrap_or_default();
        Self {
            subset: pairs.asked(&constraints.encryption_context_subset),
            name: record.name.clone(),
            namespace_uid: record.namespace_uid.clone(),
            grant: Grant {
                grantee: record.grantee.clone(),
                operations: record.operations.iter().map(|o| Action::from(*o)).collect(),
                context_equals: constraints.encryption_context_equals,
                context_subset: constraints.encryption_context_subset,
                expires_at: record.expires_at.as_ref().map(|end| end.0),
            },
        }
    }
}

impl From<GrantOperation> for Action {
    fn from(operation: GrantOperation) -> Self {
        match operation {
            GrantOperation::Encrypt => Self::Encrypt,
            GrantOperation::Decrypt => Self::Decrypt,
            GrantOperation::GenerateDataKey => Self::GenerateDataKey,
            GrantOperation::GenerateDataKeyWithoutPlaintext => {
                Self::GenerateDataKeyWithoutPlaintext
            }
            GrantOperation::GenerateDataKeyPair => Self::GenerateDataKeyPair,
            GrantOperation::GenerateDataKeyPairWithoutPlaintext => {
                Self::GenerateDataKeyPairWithoutPlaintext
            }
            GrantOperation::ReEncryptFrom => Self::ReEncryptFrom,
            GrantOperation::ReEncryptTo => Self::ReEncryptTo,
            GrantOperation::Sign => Self::Sign,
            GrantOperation::Verify => Self::Verify,
            GrantOperation::GetPublicKey => Self::GetPublicKey,
            GrantOperation::GenerateMac => Self::GenerateMac,
            GrantOperation::VerifyMac => Self::VerifyMac,
            GrantOperation::DeriveSharedSecret => Self::DeriveSharedSecret,
            GrantOperation::DescribeKey => Self::DescribeKey,
            GrantOperation::CreateGrant => Self::CreateGrant,
            GrantOperation::RetireGrant => Self::RetireGrant,
        }
    }
}
