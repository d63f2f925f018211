use serde_json::{Value, json};

use super::*;

const UID: &str = "shop-uid";

fn rules(access: Value) -> SecretRules {
    let access = serde_json::from_value(access).unwrap();
    SecretRules::new(("shop", UID), Some(&access)).unwrap()
}

fn policy(statements: &Value) -> SecretRules {
    rules(
        json!({"policy": {"statements": statements}, "namespaces": [{"name": "farm", "uid": "farm-uid"}]}),
    )
}

fn account(namespace: &str, uid: Option<&str>) -> Principal {
    let groups = [
        "system:authenticated".to_owned(),
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
    ];
    let user = service_account(namespace, "web");
    Principal::user(user, groups, uid.map(str::to_owned)).unwrap()
}

fn decided(principal: &Principal, mounts: bool, rules: &SecretRules, rbac: Rbac) -> SecretDecision {
    let reading = Reading {
        principal,
        action: SecretAction::GetSecretValue,
        mounts,
        rotates: false,
    };
    decide_reading(&reading, rules, rbac)
}

fn denied(sid: &str) -> SecretBasis {
    SecretBasis::DeniedBy(StatementName {
        index: 0,
        sid: Some(sid.to_owned()),
    })
}

#[test]
fn without_a_policy_a_mount_or_rbac_lets_read_and_nothing_else() {
    let rules = SecretRules::new(("shop", UID), None).unwrap();
    let pod = account("shop", Some(UID));
    let basis = |mounts, rbac| decided(&pod, mounts, &rules, rbac).reason;
    assert_eq!(basis(true, Rbac::NotAsked), SecretBasis::Mounted);
    let asked = SecretAction::GetSecretValue.rbac();
    assert_eq!(basis(false, Rbac::NotAsked), SecretBasis::NeedsRbac(asked));
    assert_eq!(basis(false, Rbac::Allows), SecretBasis::AllowedByRbac);
    assert_eq!(
        basis(false, Rbac::DoesNotAllow),
        SecretBasis::NotAllowedByRbac
    );
}

#[test]
fn a_deny_wins_over_a_mount_an_allow_and_rbac() {
    let who = json!({"namespaces": ["shop"]});
    let rules = policy(&json!([
        {"sid": "no", "effect": "Deny", "principals": who, "actions": ["Get*"]},
        {"effect": "Allow", "principals": who, "actions": ["*"]},
    ]));
    // Also of a namespace that was made anew.
    for uid in [Some(UID), Some("another"), None] {
        let pod = account("shop", uid);
        for mounts in [true, false] {
            let decision = decided(&pod, mounts, &rules, Rbac::Allows);
            assert_eq!((decision.allow, decision.reason), (false, denied("no")));
        }
    }
    let described = Reading {
        principal: &account("shop", Some(UID)),
        action: SecretAction::DescribeSecret,
        mounts: false,
        rotates: false,
    };
    assert!(decide_reading(&described, &rules, Rbac::NotAsked).allow);
}

fn rotating(principal: &Principal, action: SecretAction, rules: &SecretRules) -> SecretDecision {
    let reading = Reading {
        principal,
        action,
        mounts: true,
        rotates: true,
    };
    decide_reading(&reading, rules, Rbac::DoesNotAllow)
}

#[test]
fn a_pod_of_the_rotation_may_do_everything_unless_a_deny_speaks_of_it() {
    let narrow = rules(
        json!({"consumers": {"serviceAccounts": ["worker"]}, "policy": {"delegateToRBAC": false}}),
    );
    let pod = account("shop", Some(UID));
    for action in SecretAction::ALL {
        let decision = rotating(&pod, *action, &narrow);
        assert_eq!(
            (decision.allow, decision.reason),
            (true, SecretBasis::Rotates)
        );
    }
    let who = json!({"serviceAccounts": [{"namespace": "shop", "name": "web"}]});
    let rules = policy(&json!([
        {"sid": "no", "effect": "Deny", "principals": who, "actions": ["Put*"]},
    ]));
    let decision = rotating(&pod, SecretAction::PutSecretValue, &rules);
    assert_eq!((decision.allow, decision.reason), (false, denied("no")));
    let decision = rotating(&pod, SecretAction::GetSecretValue, &rules);
    assert_eq!(decision.reason, SecretBasis::Rotates);
    // Of a namespace that was made anew, it is the pod of another secret.
    for uid in [Some("another"), None] {
        let pod = account("shop", uid);
        assert!(!rotating(&pod, SecretAction::PutSecretValue, &narrow).allow);
    }
}

#[test]
fn a_mount_lets_read_and_never_change() {
    let rules = SecretRules::new(("shop", UID), None).unwrap();
    let pod = account("shop", Some(UID));
    let decided = |action, rbac| {
        let reading = Reading {
            principal: &pod,
            action,
            mounts: true,
            rotates: false,
        };
        decide_reading(&reading, &rules, rbac).reason
    };
    for action in SecretAction::ALL.iter().filter(|action| action.is_change()) {
        let asked = SecretBasis::NeedsRbac(action.rbac());
        assert_eq!(decided(*action, Rbac::NotAsked), asked);
        assert_eq!(action.rbac().to_string(), "put on managedsecrets/value");
        let none = SecretBasis::NotAllowedByRbac;
        assert_eq!(decided(*action, Rbac::DoesNotAllow), none);
        assert_eq!(decided(*action, Rbac::Allows), SecretBasis::AllowedByRbac);
    }
    assert_eq!(
        decided(SecretAction::DescribeSecret, Rbac::NotAsked),
        SecretBasis::Mounted
    );
}

#[test]
fn consumers_narrow_the_mount_and_leave_the_rest() {
    let other = rules(json!({"consumers": {"serviceAccounts": ["worker"]}}));
    let own = rules(json!({"consumers": {"serviceAccounts": ["worker", "web"]}}));
    let pod = account("shop", Some(UID));
    assert!(decided(&pod, true, &own, Rbac::NotAsked).allow);
    assert_eq!(
        decided(&pod, true, &other, Rbac::DoesNotAllow).reason,
        SecretBasis::NoConsumer
    );
    assert!(decided(&pod, true, &other, Rbac::Allows).allow);
}

#[test]
fn a_namespace_that_was_made_anew_inherits_neither_mounts_nor_statements() {
    let rules = policy(&json!([
        {"effect": "Allow", "principals": {"namespaces": ["farm", "shop"]}, "actions": ["GetSecretValue"]},
    ]));
    assert!(
        decided(
            &account("farm", Some("farm-uid")),
            false,
            &rules,
            Rbac::NotAsked
        )
        .allow
    );
    let recreated =
        |namespace, uid| decided(&account(namespace, uid), true, &rules, Rbac::DoesNotAllow).reason;
    for uid in [Some("another"), None] {
        let farm = SecretBasis::PrincipalRecreated("farm".to_owned());
        assert_eq!(recreated("farm", uid), farm);
        let shop = SecretBasis::PrincipalRecreated("shop".to_owned());
        assert_eq!(recreated("shop", uid), shop);
    }
}

#[test]
fn a_policy_that_does_not_delegate_leaves_rbac_out() {
    let rules = rules(json!({"policy": {"delegateToRBAC": false}}));
    let ann = Principal::user("ann", [], None).unwrap();
    let decision = decided(&ann, false, &rules, Rbac::Allows);
    assert_eq!(
        (decision.allow, decision.reason),
        (false, SecretBasis::NotAllowed)
    );
}

#[test]
fn what_the_schema_cannot_refuse_is_refused() {
    let check = |policy: Value| check_secret_policy(&serde_json::from_value(policy).unwrap());
    let ann = json!({"users": ["ann"]});
    let statement =
        |action: &str| json!({"effect": "Deny", "principals": ann, "actions": [action]});
    assert_eq!(check(json!({"statements": [statement("*")]})), Ok(()));
    let error = check(json!({"statements": [statement("Decrypt")]})).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("spec.policy.statements[0].actions"),
        "{error}"
    );
    let many = vec![statement("*"); SecretPolicy::MAX_STATEMENTS + 1];
    let error = check(json!({"statements": many})).unwrap_err();
    assert!(error.to_string().contains("at most 20"), "{error}");
    let long: Vec<_> = (0..10).map(|i| format!("{i}{}", "x".repeat(300))).collect();
    let wide = json!({"effect": "Deny", "principals": {"users": long}, "actions": ["*"]});
    let error = check(json!({"statements": vec![wide; 8]})).unwrap_err();
    assert!(error.to_string().contains("20480 are allowed"), "{error}");
}
