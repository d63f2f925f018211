//! Who may do what with a key or a secret, as pure data and functions; nothing here does I/O.
//!
//! ```text
//! truth of a key ──KeyRules::of──▶ rules ─┐
//! principal, action, context, via, now ───┼─decide──▶ allow, and the statement or grant behind it
//! RBAC's answer, if it is needed ─────────┘
//! ```
//!
//! The order: an explicit Deny; a live grant; an Allow; a secret of the key's own namespace; Kubernetes RBAC, if the
//! policy delegates to it; otherwise denied. A caller asks [`decide()`] with [`Rbac::NotAsked`] first, and RBAC only if the
//! answer is [`Basis::NeedsRbac`].

mod action;
mod decide;
mod grant;
mod lockout;
mod pairs;
mod principal;
mod rules;
mod secret;
mod table;

pub use action::{Action, ActionSet, RbacAttributes, SecretAction, UnknownAction};
pub use decide::{Basis, Decision, Rbac, Request, StatementName, decide};
pub use grant::{Context, Grant};
pub use lockout::{Lockout, lockout_check};
pub use principal::{
    Principal, ReservedName, namespace_of_group, namespace_of_user, service_account,
};
pub use rules::{KeyRules, RuleError, check_policy, foreign_namespaces};
pub use secret::{
    AccessRecord, Reading, SecretBasis, SecretDecision, SecretRules, check_secret_policy,
    decide_reading, foreign_namespaces_of_secret,
};
