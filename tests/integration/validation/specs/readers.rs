//! Who may read a secret: `policy` and `consumers`.

use serde_json::{Value, json};

use super::{Refused, long};

fn secret(with: &Value) -> Value {
    let mut secret = json!({"literals": {"a": "b"}});
    for (field, value) in with.as_object().unwrap() {
        secret[field] = value.clone();
    }
    secret
}

fn policy(with: &Value) -> Value {
    let mut statement =
        json!({"effect": "Allow", "principals": {"users": ["ann"]}, "actions": ["GetSecretValue"]});
    for (field, value) in with.as_object().unwrap() {
        statement[field] = value.clone();
    }
    secret(&json!({"policy": {"statements": [statement]}}))
}

pub(super) fn refused() -> Vec<Refused> {
    let one = policy(&json!({}))["policy"]["statements"][0].clone();
    let named = |sid: &str| {
        let mut named = one.clone();
        named["sid"] = json!(sid);
        named
    };
    let accounts: Vec<_> = (0..65).map(|i| format!("account-{i}")).collect();
    vec![
        (
            policy(&json!({"actions": ["Decrypt"]})),
            &[
                "spec.policy.statements[0].actions",
                "AWS Secrets Manager calls such as GetSecretValue",
            ][..],
        ),
        (
            policy(&json!({"actions": ["secretsmanager:GetSecretValue"]})),
            &["spec.policy.statements[0].actions[0]"],
        ),
        (
            policy(&json!({"actions": []})),
            &["spec.policy.statements[0].actions", "at least 1 items"],
        ),
        (
            policy(&json!({"principals": {}})),
            &[
                "spec.policy.statements[0].principals",
                "name at least one in",
            ],
        ),
        (
            policy(&json!({"principals": {"groups": ["system:authenticated"]}})),
            &[
                "spec.policy.statements",
                "name narrower principals, or set allowPublic: true",
            ],
        ),
        (
            secret(&json!({"policy": {"statements": vec![one.clone(); 21]}})),
            &["spec.policy.statements", "at most 20 items"],
        ),
        (
            secret(&json!({"policy": {"statements": [named("a"), named("a")]}})),
            &["spec.policy.statements", "two statements have the same sid"],
        ),
        (
            secret(&json!({"consumers": {"serviceAccounts": []}})),
            &["spec.consumers.serviceAccounts", "at least 1 items"],
        ),
        (
            secret(&json!({"consumers": {"serviceAccounts": accounts}})),
            &["spec.consumers.serviceAccounts", "at most 64 items"],
        ),
        (
            secret(&json!({"consumers": {"serviceAccounts": ["system:serviceaccount:shop:web"]}})),
            &["spec.consumers.serviceAccounts[0]"],
        ),
        (
            secret(&json!({"consumers": {"serviceAccounts": [long(254)]}})),
            &["spec.consumers.serviceAccounts[0]", "more than 253"],
        ),
        (
            secret(&json!({"consumers": {"serviceAccounts": ["web", "web"]}})),
            &["spec.consumers.serviceAccounts[1]", "Duplicate value"],
        ),
    ]
}
