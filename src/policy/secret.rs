//! The decision about reading a secret, or changing it, by a call of the API: explicit Deny, then the pod of its rotation, then the pod
//! that mounts it, then an Allow statement, then RBAC; else denied. Whether the reader may also use the secret's key is another decision.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::decide::{Rbac, StatementName};
use super::grant::Context;
use super::rules::{RuleError, bounded, namespaces_of};
use super::table::{Said, Table};
use super::{Principal, RbacAttributes, SecretAction, service_account};
use crate::api::{Consumers, NamespaceRecord, SecretPolicy, SecretStatement};

/// The policy of a secret in force, and what names in it stood for when it was accepted. Part of the secret's truth.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AccessRecord {
    /// As accepted from the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<SecretPolicy>,
    /// The pods that may mount it, if not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumers: Option<Consumers>,
    /// The namespaces of principals of other namespaces, as they were when they were first named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<NamespaceRecord>,
    /// That the resource took the secret over and has never had this in force: its own counts for nothing until it has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignored: bool,
}

impl AccessRecord {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    /// The recorded UID of a namespace.
    pub fn namespace_uid(&self, name: &str) -> Option<&str> {
        let found = self.namespaces.iter().find(|n| n.name == name)?;
        Some(&found.uid)
    }
}

/// What one secret's policy says.
#[derive(Clone, Debug)]
pub struct SecretRules {
    delegates: bool,
    table: Table<SecretAction>,
    /// The user names of the service accounts whose pods may mount it; `None`: those of all pods.
    consumers: Option<Vec<String>>,
}

/// Somebody who wants to read of a secret, or to change it.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// Who.
    pub principal: &'a Principal,
    /// What.
    pub action: SecretAction,
    /// Whether it is a pod of the secret's own namespace, whose immutable spec names the secret in a volume.
    pub mounts: bool,
    /// Whether it is a pod of a Job by which the secret is rotated, of the secret's own namespace, and may do that as such.
    pub rotates: bool,
}

/// The answer, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretDecision {
    /// Whether it may be read.
    pub allow: bool,
    /// Why.
    pub reason: SecretBasis,
}

impl SecretDecision {
    /// What RBAC has to be asked before there is an answer; then [`decide_reading`] again.
    pub fn needs_rbac(&self) -> Option<RbacAttributes> {
        match self.reason {
            SecretBasis::NeedsRbac(attributes) => Some(attributes),
            _ => None,
        }
    }
}

/// What a decision rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretBasis {
    /// A Deny statement matches.
    DeniedBy(StatementName),
    /// The pod is of the Job that rotates the secret.
    Rotates,
    /// The pod's spec names the secret in a volume.
    Mounted,
    /// An Allow statement matches.
    AllowedBy(StatementName),
    /// Kubernetes RBAC allows it, and the policy delegates to it.
    AllowedByRbac,
    /// Only RBAC is left and was not asked: its answer is the decision.
    NeedsRbac(RbacAttributes),
    /// The pod mounts it, but `spec.consumers` does not name its service account, and nothing else allows it.
    NoConsumer,
    /// A statement speaks of the principal's namespace as it was: it was made anew since, or its UID is not known.
    PrincipalRecreated(String),
    /// Nothing allows it. The policy delegates to RBAC, which does not either.
    NotAllowedByRbac,
    /// Nothing allows it, and the policy does not delegate to RBAC.
    NotAllowed,
}

impl fmt::Display for SecretBasis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeniedBy(statement) => {
                write!(f, "denied by {statement} of the secret's policy")
            }
            Self::Rotates => f.write_str("the pod is of the Job that rotates the secret"),
            Self::Mounted => f.write_str("the pod's spec names it in a volume"),
            Self::AllowedBy(statement) => {
                write!(f, "allowed by {statement} of the secret's policy")
            }
            Self::AllowedByRbac => f.write_str("allowed by RBAC, to which the policy delegates"),
            Self::NeedsRbac(attributes) => write!(f, "RBAC decides: {attributes}"),
            Self::NoConsumer => f.write_str(
                "the pod mounts it, but spec.consumers of the secret does not name its service account",
            ),
            Self::PrincipalRecreated(namespace) => write!(
                f,
                "namespace {namespace} is not the one that a statement was accepted for: it was made anew, or was not there; take \
                 the principal out of the policy and put it in again"
            ),
            Self::NotAllowedByRbac => f.write_str("no statement and no right of RBAC allows it"),
            Self::NotAllowed => f.write_str("no statement allows it"),
        }
    }
}

/// Checks a policy as a whole: what its schema cannot say.
///
/// # Errors
/// It is too large, or an action pattern stands for nothing.
pub fn check_secret_policy(policy: &SecretPolicy) -> Result<(), RuleError> {
    bounded(policy, SecretPolicy::MAX_BYTES)?;
    add_policy(&mut Table::new("", None, &[]), policy)
}

/// The namespaces other than the secret's own that a policy's principals belong to, in order and each once.
pub fn foreign_namespaces_of_secret(policy: &SecretPolicy, own: &str) -> Vec<String> {
    namespaces_of(policy.statements.iter().map(|s| &s.principals), own)
}

impl SecretRules {
    /// The rules of a secret in a namespace with that UID.
    ///
    /// # Errors
    /// The recorded policy is not one that the operator accepts.
    pub fn new(
        (namespace, uid): (&str, &str),
        access: Option<&AccessRecord>,
    ) -> Result<Self, RuleError> {
        let recorded = access.map_or(&[][..], |access| &access.namespaces);
        let mut table = Table::new(namespace, Some(uid), recorded);
        let policy = access.and_then(|access| access.policy.as_ref());
        if let Some(policy) = policy {
            add_policy(&mut table, policy)?;
        }
        let consumers = access.and_then(|access| access.consumers.as_ref());
        let user = |name: &String| service_account(namespace, name);
        Ok(Self {
            delegates: policy.is_none_or(SecretPolicy::delegates_to_rbac),
            table,
            consumers: consumers.map(|c| c.service_accounts.iter().map(user).collect()),
        })
    }

    fn lets_mount(&self, principal: &Principal) -> bool {
        let consumers = self.consumers.as_ref();
        self.table.is_home_same(principal)
            && consumers.is_none_or(|c| c.iter().any(|user| user == principal.name()))
    }
}

fn add_policy(table: &mut Table<SecretAction>, policy: &SecretPolicy) -> Result<(), RuleError> {
    let said = |statement| Said::from(statement);
    let statements = policy.statements.iter().map(said);
    table.add_all(statements, SecretPolicy::MAX_STATEMENTS)
}

impl<'a> From<&'a SecretStatement> for Said<'a> {
    fn from(statement: &'a SecretStatement) -> Self {
        Self {
            sid: statement.sid.as_ref(),
            effect: statement.effect,
            principals: &statement.principals,
            actions: &statement.actions,
            conditions: None,
        }
    }
}

/// Decides. Pure: all that it depends on is in its arguments.
///
/// # Guarantees
/// - A Deny statement that matches wins over everything, also over a mount, and in a namespace that was made anew.
/// - A mount gives only to pods of the very namespace that the secret was made in, and only to those that `spec.consumers` names; it gives
///   reading, and never a change.
/// - So does being a pod of its rotation, which `spec.consumers` does not narrow: the operator made it.
/// - What depends on another namespace is given only while that has the recorded UID.
pub fn decide_reading(reading: &Reading<'_>, rules: &SecretRules, rbac: Rbac) -> SecretDecision {
    let allow = |reason| SecretDecision {
        allow: true,
        reason,
    };
    let deny = |reason| SecretDecision {
        allow: false,
        reason,
    };
    let (table, principal) = (&rules.table, reading.principal);
    let named = table.about(principal, reading.action, false);
    let found = table.pairs.found(&Context::new());
    let first = |statements| table.first(statements, &found, None);
    if let Some(statement) = first(named.by_name & table.denies) {
        return deny(SecretBasis::DeniedBy(statement));
    }
    if reading.rotates && table.is_home_same(principal) {
        return allow(SecretBasis::Rotates);
    }
    let mounts = reading.mounts && !reading.action.is_change();
    if mounts && rules.lets_mount(principal) {
        return allow(SecretBasis::Mounted);
    }
    if let Some(statement) = first(named.by_identity & table.allows) {
        return allow(SecretBasis::AllowedBy(statement));
    }
    if rules.delegates {
        match rbac {
            Rbac::Allows => return allow(SecretBasis::AllowedByRbac),
            Rbac::NotAsked => return deny(SecretBasis::NeedsRbac(reading.action.rbac())),
            Rbac::DoesNotAllow => {}
        }
    }
    if let Some(namespace) = principal.namespace()
        && first(named.by_name & table.allows).is_some()
    {
        return deny(SecretBasis::PrincipalRecreated(namespace.to_owned()));
    }
    deny(match (mounts, rules.delegates) {
        (true, _) => SecretBasis::NoConsumer,
        (false, true) => SecretBasis::NotAllowedByRbac,
        (false, false) => SecretBasis::NotAllowed,
    })
}

#[cfg(test)]
#[path = "secret_tests.rs"]
mod tests;
