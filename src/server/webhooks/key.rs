//! The question about a `ManagedKey` whose policy is made or changed: whether who writes it could still change it (AWS
//! KMS: the policy lockout safety check).

use k8s_openapi::jiff::Timestamp;

use super::admission::{AdmissionRequest, Verdict};
use crate::api::{KeyPolicy, NamespaceRecord, PolicyRecord};
use crate::policy::{
    Basis, KeyRules, Lockout, Principal, Rbac, check_policy, foreign_namespaces, lockout_check,
};

/// Stands for the UID that each namespace has now: a policy is accepted for the namespaces as they are.
const NOW: &str = "now";

/// Answers. Pure. `rbac`: what RBAC says, if it was asked.
pub fn review(request: &AdmissionRequest, rbac: Rbac) -> Verdict {
    let spec = &request.object["spec"];
    let unchanged = spec["policy"] == request.old_object["spec"]["policy"];
    if spec["policy"].is_null() || unchanged || spec["bypassPolicyLockoutSafetyCheck"] == true {
        return Verdict::Allow;
    }
    match judge(request, rbac) {
        Ok(()) => Verdict::Allow,
        Err(verdict) => verdict,
    }
}

fn judge(request: &AdmissionRequest, rbac: Rbac) -> Result<(), Verdict> {
    let policy = request.object["spec"]["policy"].clone();
    // Nothing is said of why: the schema has said what a policy is.
    let policy: KeyPolicy = serde_json::from_value(policy).map_err(|_| {
        Verdict::Deny("spec.policy is no policy that this release knows".to_owned())
    })?;
    let refused = |error: &dyn std::fmt::Display| Verdict::Deny(error.to_string());
    check_policy(&policy).map_err(|error| refused(&error))?;
    let rules = rules(policy, request).map_err(|error| refused(&error))?;
    let user = &request.user_info;
    let author = Principal::user(&user.username, user.groups.clone(), Some(NOW.to_owned()));
    let author = author.map_err(|error| refused(&error))?;
    // No grant gives PutKeyPolicy, so that the time says nothing.
    match lockout_check(&rules, &author, rbac, Timestamp::UNIX_EPOCH) {
        Ok(()) => Ok(()),
        Err(Lockout {
            reason: Basis::NeedsRbac(attributes),
        }) => Err(Verdict::NeedsRbac(attributes)),
        Err(lockout) => Err(refused(&lockout)),
    }
}

fn rules(
    policy: KeyPolicy,
    request: &AdmissionRequest,
) -> Result<KeyRules, crate::policy::RuleError> {
    let namespace = request.namespace.as_str();
    let foreign = foreign_namespaces(&policy, namespace).into_iter();
    let record = PolicyRecord {
        namespaces: foreign
            .map(|name| NamespaceRecord {
                name,
                uid: NOW.to_owned(),
            })
            .collect(),
        accepted: Some(policy),
        ..PolicyRecord::default()
    };
    KeyRules::new((namespace, &request.name), Some(NOW), &record, &[])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::admission::UserInfo;
    use super::*;

    fn verdict(user: &str, spec: &Value, old: &Value, rbac: Rbac) -> Verdict {
        let request = AdmissionRequest {
            namespace: "shop".to_owned(),
            name: "orders".to_owned(),
            user_info: UserInfo {
                username: user.to_owned(),
                groups: vec!["devs".to_owned()],
                ..UserInfo::default()
            },
            object: json!({"spec": spec}),
            old_object: json!({"spec": old}),
            ..AdmissionRequest::default()
        };
        review(&request, rbac)
    }

    fn judged(user: &str, policy: &Value) -> Verdict {
        verdict(
            user,
            &json!({"policy": policy}),
            &Value::Null,
            Rbac::NotAsked,
        )
    }

    fn closed(effect: &str, principals: &Value) -> Value {
        let statement = json!({"effect": effect, "principals": principals, "actions": ["Put*"]});
        json!({"delegateToRBAC": false, "statements": [statement]})
    }

    #[test]
    fn who_is_allowed_to_put_the_policy_by_name_group_account_or_namespace_is_not_locked_out() {
        let account = |name| json!({"serviceAccounts": [{"namespace": "ci", "name": name}]});
        let deployer = "system:serviceaccount:ci:deployer";
        for (user, principals, keeps) in [
            ("ann", json!({"users": ["ann"]}), true),
            ("bob", json!({"users": ["ann"]}), false),
            ("bob", json!({"groups": ["devs"]}), true),
            // The admission policy lets nobody of another namespace administer by a statement.
            (deployer, json!({"namespaces": ["ci"]}), false),
            (deployer, json!({"namespaces": ["bank"]}), false),
            (deployer, account("deployer"), false),
            (
                "system:serviceaccount:shop:cd",
                json!({"namespaces": ["shop"]}),
                true,
            ),
            (deployer, account("other"), false),
        ] {
            let verdict = judged(user, &closed("Allow", &principals));
            assert_eq!(
                verdict == Verdict::Allow,
                keeps,
                "{user} {principals}: {verdict:?}"
            );
        }
    }

    #[test]
    fn a_policy_that_delegates_has_rbac_asked_and_its_answer_counts() {
        let Verdict::NeedsRbac(asked) = judged("ann", &json!({})) else {
            panic!("RBAC is not asked");
        };
        assert_eq!((asked.subresource, asked.verb), (Some("policy"), "update"));
        let spec = json!({"policy": {}});
        let answered = |rbac| verdict("ann", &spec, &Value::Null, rbac);
        assert_eq!(answered(Rbac::Allows), Verdict::Allow);
        assert!(matches!(answered(Rbac::DoesNotAllow), Verdict::Deny(_)));
    }

    #[test]
    fn a_deny_wins_whatever_rbac_says() {
        let mut policy = closed("Deny", &json!({"groups": ["devs"]}));
        policy["delegateToRBAC"] = true.into();
        let spec = json!({"policy": policy});
        let verdict = verdict("ann", &spec, &Value::Null, Rbac::Allows);
        assert!(matches!(verdict, Verdict::Deny(_)), "{verdict:?}");
    }

    #[test]
    fn an_unchanged_policy_and_the_bypass_are_let_through() {
        let policy = json!({"delegateToRBAC": false});
        let spec = json!({"policy": policy});
        assert_eq!(verdict("ann", &spec, &spec, Rbac::NotAsked), Verdict::Allow);
        assert_ne!(judged("ann", &policy), Verdict::Allow);
        let bypass = json!({"policy": policy, "bypassPolicyLockoutSafetyCheck": true});
        assert_eq!(
            verdict("ann", &bypass, &Value::Null, Rbac::NotAsked),
            Verdict::Allow
        );
    }

    #[test]
    fn nonsense_and_reserved_names_are_refused() {
        for policy in [
            json!({"statements": "x"}),
            json!({"statements": [1]}),
            json!(7),
        ] {
            assert!(
                matches!(judged("ann", &policy), Verdict::Deny(_)),
                "{policy}"
            );
        }
        let verdict = judged("keystead:secret:shop:db", &json!({}));
        assert!(matches!(verdict, Verdict::Deny(_)), "{verdict:?}");
    }
}
