//! What one key's policy and grants say, compiled once so that each decision is a few look-ups.
//!
//! Statements are bits: for each principal, group, namespace and action there is a mask of the statements that speak of
//! it, so that those that match both are found by AND, and only their conditions are compared. Pairs of the encryption context
//! that they ask for are numbers.

use std::collections::HashMap;

use super::grant::Grant;
use super::pairs::Pairs;
use super::principal::{namespace_of_group, namespace_of_user, service_account};
use super::{Action, ActionPattern, Principal};
use crate::api::names::DEFAULT_KEY;
use crate::api::{
    Effect, GrantOperation, GrantRecord, KeyMaterialSpec, KeyPolicy, PolicyRecord, PolicyStatement,
    Via,
};

/// A set of statements, by their place in the policy.
pub(super) type Statements = u64;

/// What one key's policy and grants say.
#[derive(Clone, Debug, Default)]
pub struct KeyRules {
    pub(super) namespace: String,
    pub(super) is_default: bool,
    pub(super) delegates: bool,
    pub(super) statements: Vec<Statement>,
    pub(super) allows: Statements,
    pub(super) denies: Statements,
    pub(super) by_action: [Statements; Action::ALL.len()],
    pub(super) by_user: HashMap<String, Statements>,
    pub(super) by_group: HashMap<String, Statements>,
    pub(super) by_namespace: HashMap<String, Statements>,
    /// The namespaces of principals as they were when they were accepted, the key's own among them.
    pub(super) uids: HashMap<String, String>,
    pub(super) grants: HashMap<String, Vec<NamedGrant>>,
    /// The pairs that statements and grants ask for.
    pub(super) pairs: Pairs,
}

/// What is compared of a statement after its principals and actions matched.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) sid: Option<String>,
    /// The pairs that it asks for.
    pub(super) context: Vec<u32>,
    pub(super) via: Vec<Via>,
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
    #[error("spec.policy.statements has {0} items, at most {max} are allowed: merge some", max = KeyPolicy::MAX_STATEMENTS)]
    TooManyStatements(usize),
    /// A pattern that no action matches.
    #[error("spec.policy.statements[{statement}].actions: {pattern:?} {UnknownAction}", UnknownAction = super::UnknownAction)]
    UnknownAction {
        /// The statement's place.
        statement: usize,
        /// The pattern.
        pattern: String,
    },
    /// The policy is larger than one may be.
    #[error("spec.policy has {0} bytes as JSON, at most {max} are allowed: use fewer statements or principals, or groups", max = KeyPolicy::MAX_BYTES)]
    TooLarge(usize),
}

/// Checks a policy as a whole: what its schema cannot say.
///
/// # Errors
/// It is too large, or an action pattern stands for nothing.
pub fn check_policy(policy: &KeyPolicy) -> Result<(), RuleError> {
    let size = serde_json::to_vec(policy).map_or(usize::MAX, |json| json.len());
    if size > KeyPolicy::MAX_BYTES {
        return Err(RuleError::TooLarge(size));
    }
    let mut rules = KeyRules::default();
    rules.add_policy(policy)
}

/// The namespaces other than the key's own that a policy's principals belong to, in order and each once.
pub fn foreign_namespaces(policy: &KeyPolicy, own: &str) -> Vec<String> {
    let mut found = Vec::new();
    for principals in policy.statements.iter().map(|s| &s.principals) {
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
        let recorded = policy.namespaces.iter();
        let mut uids: HashMap<_, _> = recorded.map(|n| (n.name.clone(), n.uid.clone())).collect();
        uids.remove(namespace);
        uids.extend(uid.map(|uid| (namespace.to_owned(), uid.to_owned())));
        let mut rules = Self {
            namespace: namespace.to_owned(),
            is_default: name == DEFAULT_KEY,
            delegates: true,
            uids,
            ..Self::default()
        };
        if let Some(accepted) = &policy.accepted {
            rules.add_policy(accepted)?;
        }
        for record in grants.iter().filter(|record| !record.expired) {
            let granted = rules.grants.entry(record.grantee.clone()).or_default();
            granted.push(NamedGrant::of(record, &mut rules.pairs));
        }
        Ok(rules)
    }

    fn add_policy(&mut self, policy: &KeyPolicy) -> Result<(), RuleError> {
        let count = policy.statements.len();
        if count > KeyPolicy::MAX_STATEMENTS {
            return Err(RuleError::TooManyStatements(count));
        }
        self.delegates = policy.delegates_to_rbac();
        for (index, statement) in policy.statements.iter().enumerate() {
            self.add_statement(index, statement)?;
        }
        Ok(())
    }

    fn add_statement(&mut self, index: usize, said: &PolicyStatement) -> Result<(), RuleError> {
        let bit = 1 << index;
        match said.effect {
            Effect::Allow => self.allows |= bit,
            Effect::Deny => self.denies |= bit,
        }
        for pattern in &said.actions {
            let parsed = ActionPattern::parse(pattern).map_err(|_| RuleError::UnknownAction {
                statement: index,
                pattern: pattern.clone(),
            })?;
            for action in Action::ALL.iter().filter(|action| parsed.matches(**action)) {
                self.by_action[*action as usize] |= bit;
            }
        }
        let principals = &said.principals;
        for account in &principals.service_accounts {
            let user = service_account(&account.namespace, &account.name);
            *self.by_user.entry(user).or_default() |= bit;
        }
        for user in &principals.users {
            *self.by_user.entry(user.clone()).or_default() |= bit;
        }
        for group in &principals.groups {
            *self.by_group.entry(group.clone()).or_default() |= bit;
        }
        for namespace in &principals.namespaces {
            *self.by_namespace.entry(namespace.clone()).or_default() |= bit;
        }
        let conditions = said.conditions.clone().unwrap_or_default();
        self.statements.push(Statement {
            sid: said.sid.clone(),
            context: self.pairs.asked(&conditions.encryption_context),
            via: conditions.via,
        });
        Ok(())
    }

    /// Whether RBAC may allow what nothing else does.
    pub fn delegates_to_rbac(&self) -> bool {
        self.delegates
    }

    /// Whether some statement denies one of these actions to somebody.
    pub fn denies_any(&self, actions: &[Action]) -> bool {
        self.denying(actions) != 0
    }

    /// Whether a statement may deny one of these actions to somebody of whom only the name is known: conditions are left aside, and
    /// any group may be one of his.
    pub fn may_deny(&self, user: &Principal, actions: &[Action]) -> bool {
        let by_user = self.by_user.get(user.name());
        let home = user
            .namespace()
            .and_then(|home| self.by_namespace.get(home));
        let spoken = by_user
            .into_iter()
            .chain(home)
            .chain(self.by_group.values());
        self.denying(actions) & spoken.fold(0, |mask, statements| mask | statements) != 0
    }

    /// The statements that deny one of these actions.
    fn denying(&self, actions: &[Action]) -> u64 {
        let by_action = actions
            .iter()
            .map(|action| self.by_action[*action as usize]);
        self.denies & by_action.fold(0, |mask, statements| mask | statements)
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
