//! The decision: explicit Deny, then a live grant, then an Allow statement, then RBAC; else denied.

use std::fmt;

use k8s_openapi::jiff::Timestamp;

use super::grant::Context;
use super::pairs::Found;
use super::rules::{KeyRules, NamedGrant};
use super::{Action, Principal, RbacAttributes};
use crate::api::Via;

/// What is asked of one key.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// What for.
    pub action: Action,
    /// The encryption context of the message, reserved pairs included; empty where there is no message.
    pub context: &'a Context,
    /// How the key is used; `None`: by a call of its own.
    pub via: Option<Via>,
    /// Now.
    pub now: Timestamp,
}

/// What Kubernetes RBAC said to a `SubjectAccessReview` for the action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rbac {
    /// Nobody asked it. If the decision depends on it, the answer is [`Basis::NeedsRbac`].
    NotAsked,
    /// It allows.
    Allows,
    /// It does not.
    DoesNotAllow,
}

/// The answer, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may be done.
    pub allow: bool,
    /// Why.
    pub reason: Basis,
}

impl Decision {
    /// What RBAC has to be asked before there is an answer; then [`decide`] again.
    pub fn needs_rbac(&self) -> Option<RbacAttributes> {
        match self.reason {
            Basis::NeedsRbac(attributes) => Some(attributes),
            _ => None,
        }
    }
}

/// A statement of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementName {
    /// Its place, from 0.
    pub index: usize,
    /// Its name, if it has one.
    pub sid: Option<String>,
}

impl fmt::Display for StatementName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "statement {}", self.index)?;
        self.sid.iter().try_for_each(|sid| write!(f, " ({sid})"))
    }
}

/// What a decision rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A Deny statement matches.
    DeniedBy(StatementName),
    /// A live grant of that name gives it.
    GrantedBy(String),
    /// An Allow statement matches.
    AllowedBy(StatementName),
    /// The principal is a secret of the key's own namespace.
    OwnSecret,
    /// Kubernetes RBAC allows it, and the policy delegates to it.
    AllowedByRbac,
    /// Only RBAC is left and was not asked: its answer is the decision.
    NeedsRbac(RbacAttributes),
    /// `keystead-default` is used for secrets of its namespace only.
    DefaultKey,
    /// A statement or grant speaks of the principal's namespace as it was: it was made anew since, or its UID is not
    /// known.
    PrincipalRecreated(String),
    /// A statement speaks of the principal, which is of another namespace, and an administrative action.
    ForeignAdministrator(String),
    /// Nothing allows it. The policy delegates to RBAC, which does not either.
    NotAllowedByRbac,
    /// Nothing allows it, and the policy does not delegate to RBAC, or RBAC does not know the principal.
    NotAllowed,
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeniedBy(statement) => write!(f, "denied by {statement} of the key's policy"),
            Self::GrantedBy(grant) => write!(f, "given by KeyGrant {grant}"),
            Self::AllowedBy(statement) => write!(f, "allowed by {statement} of the key's policy"),
            Self::OwnSecret => f.write_str("secrets of the key's own namespace may use it"),
            Self::AllowedByRbac => f.write_str("allowed by RBAC, to which the policy delegates"),
            Self::NeedsRbac(attributes) => write!(f, "RBAC decides: {attributes}"),
            Self::DefaultKey => {
                f.write_str("the default key is used for secrets of its own namespace only")
            }
            Self::PrincipalRecreated(namespace) => write!(
                f,
                "namespace {namespace} is not the one that a statement or grant was accepted for: it was made anew, or \
                 was not there; take the principal out of the policy and put it in again, or make the grant anew"
            ),
            Self::ForeignAdministrator(namespace) => write!(
                f,
                "who is of another namespace ({namespace}) administers a key by RBAC only: let the policy delegate to RBAC, or name \
                 a user, a group, or a service account of the key's own namespace"
            ),
            Self::NotAllowedByRbac => {
                f.write_str("no statement, no grant and no right of RBAC allows it")
            }
            Self::NotAllowed => f.write_str("no statement and no grant allows it"),
        }
    }
}

/// Decides. Pure: all that it depends on is in its arguments.
///
/// # Guarantees
/// - A Deny statement that matches wins over everything, also in a namespace that was made anew.
/// - A grant gives its operations under its constraints until its instant, and to nobody else.
/// - What depends on a namespace other than the key's is given only while that has the recorded UID.
/// - A statement lets nobody of another namespace administer: the API server decides that, and knows no UID.
/// - A secret of the key's own namespace may encrypt and decrypt under it unless a Deny matches.
/// - RBAC is never asked for a secret: Kubernetes knows no such user.
pub fn decide(request: &Request<'_>, rules: &KeyRules, rbac: Rbac) -> Decision {
    let allow = |reason| Decision {
        allow: true,
        reason,
    };
    let deny = |reason| Decision {
        allow: false,
        reason,
    };
    let (table, action) = (&rules.table, request.action);
    let named = table.about(request.principal, action, action.is_administrative());
    let found = table.pairs.found(request.context);
    let first = |statements| table.first(statements, &found, request.via);
    if let Some(statement) = first(named.by_name & table.denies) {
        return deny(Basis::DeniedBy(statement));
    }
    if rules.is_default {
        return default_key(request, rules, rbac);
    }
    let (granted, was_granted) = granted(request, &found, rules);
    if let Some(grant) = granted {
        return allow(Basis::GrantedBy(grant));
    }
    if let Some(statement) = first(named.by_identity & table.allows) {
        return allow(Basis::AllowedBy(statement));
    }
    if is_own_secret(request, rules) {
        return allow(Basis::OwnSecret);
    }
    if rules.delegates && !request.principal.is_secret {
        match rbac {
            Rbac::Allows => return allow(Basis::AllowedByRbac),
            Rbac::NotAsked => return deny(Basis::NeedsRbac(request.action.rbac())),
            Rbac::DoesNotAllow => {}
        }
    }
    let was_allowed = || first(named.by_name & table.allows).is_some();
    if let Some(namespace) = request.principal.namespace()
        && (was_granted || was_allowed())
    {
        let namespace = namespace.to_owned();
        let foreign =
            request.action.is_administrative() && !table.is_own_namespace(request.principal);
        return deny(if foreign {
            Basis::ForeignAdministrator(namespace)
        } else {
            Basis::PrincipalRecreated(namespace)
        });
    }
    deny(if rules.delegates && !request.principal.is_secret {
        Basis::NotAllowedByRbac
    } else {
        Basis::NotAllowed
    })
}

/// The default key of a namespace: for its secrets, and to be looked at. Nothing else, whoever asks.
fn default_key(request: &Request<'_>, rules: &KeyRules, rbac: Rbac) -> Decision {
    let own = is_own_secret(request, rules);
    let looked_at = request.action == Action::DescribeKey && !request.principal.is_secret;
    let (allow, reason) = match (own, looked_at, rbac) {
        (true, _, _) => (true, Basis::OwnSecret),
        (false, true, Rbac::Allows) => (true, Basis::AllowedByRbac),
        (false, true, Rbac::NotAsked) => (false, Basis::NeedsRbac(request.action.rbac())),
        (false, true, Rbac::DoesNotAllow) => (false, Basis::NotAllowedByRbac),
        (false, false, _) => (false, Basis::DefaultKey),
    };
    Decision { allow, reason }
}

/// The name of the grant that gives it; and whether one would, if the grantee's namespace were still the same.
fn granted(request: &Request<'_>, found: &Found, rules: &KeyRules) -> (Option<String>, bool) {
    let principal = request.principal;
    let grants = rules.grants.get(&principal.user);
    let mut would = false;
    // Whether a grant gives it is its own judgement; most are not worth asking, since the message lacks a pair.
    let may_give = |named: &&NamedGrant| found.has_all(&named.subset);
    for named in grants.into_iter().flatten().filter(may_give) {
        let (context, now) = (request.context, request.now);
        if !named
            .grant
            .gives(&principal.user, request.action, context, now)
        {
            continue;
        }
        let same = match &principal.home {
            None => true,
            Some(home) => home.uid.is_some() && home.uid == named.namespace_uid,
        };
        if same {
            return (Some(named.name.clone()), true);
        }
        would = true;
    }
    (None, would)
}

/// Whether a secret of the key's own namespace wants to be stored or read under it.
fn is_own_secret(request: &Request<'_>, rules: &KeyRules) -> bool {
    request.principal.is_secret
        && request.via == Some(Via::Secrets)
        && rules.table.is_own_namespace(request.principal)
        && rules.table.is_home_same(request.principal)
        && matches!(request.action, Action::GenerateDataKey | Action::Decrypt)
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
