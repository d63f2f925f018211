//! `ManagedKey.spec.policy` and `KeyGrant`.

use serde_json::{Value, json};

use super::{Refused, long};

fn statement(with: &Value) -> Value {
    let mut statement = json!({
        "effect": "Allow", "principals": {"users": ["ann"]}, "actions": ["Decrypt"],
    });
    for (field, value) in with.as_object().unwrap() {
        statement[field] = value.clone();
    }
    statement
}

fn policy(with: &Value) -> Value {
    json!({"policy": {"statements": [statement(with)]}})
}

/// `ManagedKey`.
pub(in crate::validation) fn refused_policies() -> Vec<Refused> {
    let statements = |count: usize| vec![statement(&json!({})); count];
    let mut cases: Vec<Refused> = vec![
        (
            json!({"policy": {"statements": statements(51)}}),
            &["spec.policy.statements", "at most 50 items"],
        ),
        (
            policy(&json!({"effect": "Maybe"})),
            &["spec.policy.statements[0].effect", "\"Allow\", \"Deny\""],
        ),
        (
            policy(&json!({"principals": {}})),
            &[
                "spec.policy.statements[0].principals",
                "name at least one in",
            ],
        ),
        (
            policy(&json!({"principals": {"users": ["*"]}})),
            &["spec.policy.statements[0].principals.users[0]"],
        ),
        (
            policy(&json!({"principals": {"users": vec!["u"; 11]}})),
            &["principals.users", "at most 10 items"],
        ),
        (
            policy(&json!({"actions": []})),
            &["spec.policy.statements[0].actions", "at least 1 items"],
        ),
        (
            policy(&json!({"conditions": {"encryptionContext": {"keystead:secret": "x"}}})),
            &["conditions.encryptionContext", "which are reserved"],
        ),
        (
            policy(&json!({"conditions": {"encryptionContext": {"team": long(257)}}})),
            &["conditions.encryptionContext.team", "more than 256"],
        ),
        (
            policy(&json!({"conditions": {"via": ["mail"]}})),
            &["conditions.via[0]", "\"secrets\""],
        ),
        (
            json!({"policy": {"statements": [statement(&json!({"sid": "one"})), statement(&json!({"sid": "one"}))]}}),
            &["spec.policy.statements", "same sid"],
        ),
    ];
    for pattern in [
        "decrypt",
        "Decrypts",
        "Foo*",
        "kms:Decrypt",
        "*Nothing",
        "D.*",
        "",
    ] {
        cases.push((
            policy(&json!({"actions": ["Encrypt", pattern]})),
            &["spec.policy.statements[0].actions"],
        ));
    }
    for group in [
        "system:authenticated",
        "system:unauthenticated",
        "system:serviceaccounts",
    ] {
        cases.push((
            policy(&json!({"principals": {"groups": ["ops", group]}})),
            &["spec.policy.statements", "set allowPublic: true"],
        ));
    }
    cases.push((
        policy(&json!({"principals": {"users": ["system:anonymous"]}})),
        &["spec.policy.statements", "set allowPublic: true"],
    ));
    cases
}

/// `ManagedKey`: among them the largest that the schema lets through, which must not cost too much to check.
pub(in crate::validation) fn accepted_policies() -> Vec<Value> {
    let all = json!({
        "serviceAccounts": [{"namespace": "shop", "name": "orders"}],
        "users": ["ann", "keystead:secret:shop:db"], "groups": ["ops"], "namespaces": ["shop"],
    });
    let full = |index: usize| {
        json!({
            "sid": format!("s{index}"), "effect": "Allow", "actions": vec!["*Without*"; 16],
            "principals": {"users": (0..10).map(|i| format!("u{i}")).collect::<Vec<_>>()},
        })
    };
    let full: Vec<_> = (0..50).map(full).collect();
    vec![
        json!({"policy": {}}),
        json!({"policy": {"delegateToRBAC": false, "statements": []}, "bypassPolicyLockoutSafetyCheck": true}),
        policy(
            &json!({"sid": "orders-may-use", "principals": all, "actions": ["Encrypt", "GenerateDataKey*", "*"],
            "conditions": {"encryptionContext": {"team": "orders"}, "via": ["secrets"]}}),
        ),
        policy(&json!({"effect": "Deny", "principals": {"groups": ["system:authenticated"]}})),
        json!({"policy": {"allowPublic": true,
            "statements": [statement(&json!({"principals": {"groups": ["system:authenticated"]}}))]}}),
        json!({"policy": {"statements": full}}),
    ]
}

fn grant(with: &Value) -> Value {
    let mut grant = json!({
        "keyRef": {"name": "orders"}, "granteePrincipal": "ann", "operations": ["Decrypt"],
    });
    for (field, value) in with.as_object().unwrap() {
        grant[field] = value.clone();
    }
    grant
}

/// `KeyGrant`.
pub(in crate::validation) fn refused_grants() -> Vec<Refused> {
    vec![
        (
            grant(&json!({"operations": []})),
            &["spec.operations", "at least 1 items"],
        ),
        (
            grant(&json!({"operations": ["PutKeyPolicy"]})),
            &["spec.operations[0]", "supported values"],
        ),
        (
            grant(&json!({"operations": ["Decrypt", "Decrypt"]})),
            &["spec.operations[1]", "Duplicate value"],
        ),
        (
            grant(&json!({"granteePrincipal": "*"})),
            &["spec.granteePrincipal"],
        ),
        (
            grant(&json!({"granteePrincipal": "system:anonymous"})),
            &["spec.granteePrincipal", "name a narrower principal"],
        ),
        (
            grant(&json!({"expiresAt": "tomorrow"})),
            &["spec.expiresAt", "date-time"],
        ),
        (
            grant(&json!({"constraints": {"encryptionContextEquals": {"aws-crypto-x": "y"}}})),
            &["encryptionContextEquals", "which are reserved"],
        ),
        (
            grant(&json!({"keyRef": {"name": "Orders"}})),
            &["spec.keyRef.name"],
        ),
    ]
}

/// `KeyGrant`.
pub(in crate::validation) fn accepted_grants() -> Vec<Value> {
    vec![
        grant(&json!({})),
        grant(
            &json!({"expiresAt": "2030-01-01T00:00:00Z", "retiringPrincipal": "bob",
            "constraints": {"encryptionContextEquals": {}, "encryptionContextSubset": {"team": "orders"}}}),
        ),
    ]
}
