//! The lockout check: whoever writes a policy must be able to change it again (AWS KMS: the policy lockout safety check).

use k8s_openapi::jiff::Timestamp;

use super::decide::{Basis, Decision, Rbac, Request, decide};
use super::grant::Context;
use super::{Action, KeyRules, Principal};

/// Why a policy would lock its author out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "under this spec.policy you could not change it any more ({reason}): allow PutKeyPolicy to yourself, or set \
     spec.bypassPolicyLockoutSafetyCheck: true"
)]
pub struct Lockout {
    /// What the refusal rests on.
    pub reason: Basis,
}

/// Checks that `author` could still change the policy if `rules` were in force. `rbac`: what RBAC says to him about `update` on
/// `managedkeys/policy` of the key; asked only if `rules` delegate to it, so that [`Rbac::NotAsked`] counts as a refusal.
///
/// # Errors
/// He could not.
pub fn lockout_check(
    rules: &KeyRules,
    author: &Principal,
    rbac: Rbac,
    now: Timestamp,
) -> Result<(), Lockout> {
    let request = Request {
        principal: author,
        action: Action::PutKeyPolicy,
        context: &Context::new(),
        via: None,
        now,
    };
    match decide(&request, rules, rbac) {
        Decision { allow: true, .. } => Ok(()),
        Decision { reason, .. } => Err(Lockout { reason }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::PolicyRecord;

    fn checked(policy: serde_json::Value, rbac: Rbac) -> Result<(), Lockout> {
        let record = PolicyRecord {
            accepted: Some(serde_json::from_value(policy).unwrap()),
            ..PolicyRecord::default()
        };
        let rules = KeyRules::new(("shop", "orders"), Some("uid"), &record, &[]).unwrap();
        let ann = Principal::user("ann", [], None).unwrap();
        lockout_check(&rules, &ann, rbac, Timestamp::UNIX_EPOCH)
    }

    fn statement(effect: &str, user: &str) -> serde_json::Value {
        json!({"effect": effect, "principals": {"users": [user]}, "actions": ["Put*"]})
    }

    #[test]
    fn a_policy_that_delegates_locks_out_whom_rbac_does_not_know() {
        assert!(checked(json!({}), Rbac::Allows).is_ok());
        assert!(checked(json!({}), Rbac::DoesNotAllow).is_err());
        assert!(checked(json!({}), Rbac::NotAsked).is_err());
    }

    #[test]
    fn a_policy_of_its_own_must_allow_its_author() {
        let closed = |statements| json!({"delegateToRBAC": false, "statements": statements});
        assert!(checked(closed(json!([])), Rbac::Allows).is_err());
        let allowed = closed(json!([statement("Allow", "ann")]));
        assert!(checked(allowed, Rbac::DoesNotAllow).is_ok());
        let other = closed(json!([statement("Allow", "bob")]));
        assert!(checked(other, Rbac::Allows).is_err());
        let denied = closed(json!([statement("Allow", "ann"), statement("Deny", "ann")]));
        let lockout = checked(denied, Rbac::Allows).unwrap_err();
        assert!(matches!(lockout.reason, Basis::DeniedBy(_)), "{lockout}");
    }
}
