//! The question about a `ManagedKey` whose policy is made or changed: whether who writes it could still change it (AWS
//! KMS: the policy lockout safety check).

use serde_json::Value;

use super::admission::{AdmissionRequest, UserInfo, Verdict};
use crate::policy::{Action, ActionPattern};

/// Most statements that are looked at: as many as the schema lets through.
const MAX_STATEMENTS: usize = 50;

/// Answers. Pure.
pub fn review(request: &AdmissionRequest) -> Verdict {
    let spec = &request.object["spec"];
    let unchanged = spec["policy"] == request.old_object["spec"]["policy"];
    if spec["policy"].is_null() || unchanged || spec["bypassPolicyLockoutSafetyCheck"] == true {
        return Verdict::Allow;
    }
    lockout_check(&spec["policy"], &request.user_info)
        .map_or_else(Verdict::Deny, |()| Verdict::Allow)
}

/// Whether `author` could still change the policy under it, as far as its statements say; if they do not, RBAC decides
/// wherever the policy delegates to it.
///
/// # Errors
/// Why not, and the remedy.
fn lockout_check(policy: &Value, author: &UserInfo) -> Result<(), String> {
    let none = Vec::new();
    let statements = match &policy["statements"] {
        Value::Null => &none,
        Value::Array(statements) if statements.len() <= MAX_STATEMENTS => statements,
        _ => {
            return Err(format!(
                "spec.policy.statements must be a list of at most {MAX_STATEMENTS}"
            ));
        }
    };
    let speaks = |statement: &&Value| {
        names(&statement["principals"], author)
            && speaks_of(&statement["actions"], Action::PutKeyPolicy)
    };
    let mut about: Vec<_> = statements.iter().filter(speaks).collect();
    // Nobody changes a policy by way of a secret, or with an encryption context.
    about.retain(|s| s["effect"] != "Allow" || s["conditions"].is_null());
    let locked = if about.iter().any(|s| s["effect"] == "Deny") {
        "a statement denies PutKeyPolicy to you"
    } else if about.is_empty() && policy["delegateToRBAC"] == false {
        "no statement allows PutKeyPolicy to you, and delegateToRBAC is false"
    } else {
        return Ok(());
    };
    Err(format!(
        "under this spec.policy you could not change it any more ({locked}): allow PutKeyPolicy to yourself, or set \
         spec.bypassPolicyLockoutSafetyCheck: true"
    ))
}

fn speaks_of(actions: &Value, action: Action) -> bool {
    let patterns = actions
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    patterns
        .filter_map(|pattern| ActionPattern::parse(pattern).ok())
        .any(|pattern| pattern.matches(action))
}

/// Whether `author` is among those principals.
fn names(principals: &Value, author: &UserInfo) -> bool {
    let account = author.username.strip_prefix("system:serviceaccount:");
    let account = account.and_then(|account| account.split_once(':'));
    let list = |field: &str| principals[field].as_array().into_iter().flatten();
    list("users").any(|user| *user == author.username)
        || list("groups").any(|group| author.groups.iter().any(|of| group == of))
        || list("namespaces").any(|namespace| account.is_some_and(|(own, _)| namespace == own))
        || list("serviceAccounts").any(|one| {
            account.is_some_and(|(own, name)| one["namespace"] == own && one["name"] == name)
        })
}

#[cfg(test)]
#[allow(
    clippy::needless_pass_by_value,
    reason = "what is written in place reads best by value"
)]
mod tests {
    use serde_json::json;

    use super::*;

    fn verdict(user: &str, spec: Value, old: Value) -> Verdict {
        review(&AdmissionRequest {
            user_info: UserInfo {
                username: user.to_owned(),
                groups: vec!["devs".to_owned()],
            },
            object: json!({"spec": spec}),
            old_object: json!({"spec": old}),
            ..AdmissionRequest::default()
        })
    }

    fn allowed(user: &str, policy: &Value) -> bool {
        verdict(user, json!({"policy": policy}), Value::Null) == Verdict::Allow
    }

    fn statement(effect: &str, principals: Value, actions: Value) -> Value {
        json!({"effect": effect, "principals": principals, "actions": actions})
    }

    #[test]
    fn who_is_allowed_to_put_the_policy_by_name_group_account_or_namespace_is_not_locked_out() {
        let ann = json!({"users": ["ann"]});
        let account = "system:serviceaccount:shop:deployer";
        for (user, principals, keeps) in [
            ("ann", ann.clone(), true),
            ("bob", ann, false),
            ("bob", json!({"groups": ["devs"]}), true),
            (account, json!({"namespaces": ["shop"]}), true),
            (account, json!({"namespaces": ["bank"]}), false),
            (
                account,
                json!({"serviceAccounts": [{"namespace": "shop", "name": "deployer"}]}),
                true,
            ),
            (
                account,
                json!({"serviceAccounts": [{"namespace": "shop", "name": "other"}]}),
                false,
            ),
            (
                "deployer",
                json!({"serviceAccounts": [{"namespace": "shop", "name": "deployer"}]}),
                false,
            ),
        ] {
            let statement = statement("Allow", principals, json!(["PutKeyPolicy"]));
            let policy = json!({"delegateToRBAC": false, "statements": [statement]});
            assert_eq!(allowed(user, &policy), keeps, "{user} {policy}");
        }
    }

    #[test]
    fn only_the_action_counts_and_a_pattern_of_it() {
        for (actions, keeps) in [
            (json!(["Encrypt"]), false),
            (json!(["Put*"]), true),
            (json!(["*"]), true),
            (json!([]), false),
        ] {
            let statement = statement("Allow", json!({"users": ["ann"]}), actions);
            let policy = json!({"delegateToRBAC": false, "statements": [statement]});
            assert_eq!(allowed("ann", &policy), keeps, "{policy}");
        }
    }

    #[test]
    fn a_deny_wins_over_an_allow_and_over_rbac() {
        let everything = statement("Allow", json!({"users": ["ann"]}), json!(["*"]));
        let denied = statement("Deny", json!({"groups": ["devs"]}), json!(["PutKeyPolicy"]));
        assert!(!allowed(
            "ann",
            &json!({"statements": [everything, denied]})
        ));
        assert!(!allowed("ann", &json!({"statements": [denied]})));
    }

    #[test]
    fn an_allow_that_holds_only_under_conditions_is_none() {
        let mut allow = statement("Allow", json!({"users": ["ann"]}), json!(["*"]));
        allow["conditions"] = json!({"via": ["secrets"]});
        assert!(!allowed(
            "ann",
            &json!({"delegateToRBAC": false, "statements": [allow]})
        ));
    }

    #[test]
    fn a_policy_that_delegates_to_rbac_leaves_it_to_rbac() {
        assert!(allowed("ann", &json!({})));
        assert!(allowed(
            "ann",
            &json!({"delegateToRBAC": true, "statements": []})
        ));
    }

    #[test]
    fn an_unchanged_policy_and_the_bypass_are_let_through() {
        let policy = json!({"delegateToRBAC": false});
        let spec = json!({"policy": policy});
        assert_eq!(verdict("ann", spec.clone(), spec.clone()), Verdict::Allow);
        assert_ne!(verdict("ann", spec, Value::Null), Verdict::Allow);
        let bypass = json!({"policy": policy, "bypassPolicyLockoutSafetyCheck": true});
        assert_eq!(verdict("ann", bypass, Value::Null), Verdict::Allow);
    }

    #[test]
    fn nonsense_is_refused_or_gives_nothing_and_never_panics() {
        for policy in [
            json!({"statements": "x"}),
            json!({"statements": vec![0; 51]}),
        ] {
            assert!(!allowed("ann", &policy), "{policy}");
        }
        for statement in [
            json!(1),
            json!({"effect": "Allow"}),
            json!({"principals": [], "actions": {}}),
        ] {
            let policy = json!({"delegateToRBAC": false, "statements": [statement]});
            assert!(!allowed("ann", &policy), "{policy}");
        }
    }
}
