//! How long a decision takes: under 5 microseconds with 50 statements and 100 grants.

#![allow(missing_docs, reason = "what the macros of the harness make")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use keystead::api::{GrantRecord, PolicyRecord, Via};
use keystead::policy::{Action, Context, KeyRules, Principal, Rbac, Request, decide};
use serde_json::{Value, json};

/// 50 statements with ten users and ten groups each. All of them speak of the last user and of the group `everyone`, and
/// none but the last has the conditions that the request meets.
fn policy() -> PolicyRecord {
    let names = |kind: &str, index: usize, last: &str| -> Vec<String> {
        let others = (0..9).map(|number| format!("{kind}-{index}-{number}"));
        others.chain([last.to_owned()]).collect()
    };
    let statement = |index: usize| -> Value {
        let team = if index == 49 { "orders" } else { "others" };
        json!({
            "sid": format!("s{index}"),
            "effect": if index.is_multiple_of(2) { "Deny" } else { "Allow" },
            "principals": {
                "users": names("user", index, "keystead:secret:farm:db"),
                "groups": names("group", index, "keystead:secrets:farm"),
            },
            "actions": ["Encrypt", "Decrypt", "GenerateDataKey*"],
            "conditions": {"encryptionContext": {"app": "web", "team": team}, "via": ["secrets"]},
        })
    };
    serde_json::from_value(json!({
        "accepted": {"statements": (0..50).map(statement).collect::<Vec<_>>()},
        "namespaces": [{"name": "farm", "uid": "uid-of-farm"}],
    }))
    .expect("a policy record")
}

/// 100 grants to one grantee, none of which gives what is asked.
fn grants() -> Vec<GrantRecord> {
    let grant = |index: usize| {
        json!({
            "name": format!("g{index}"), "uid": format!("u{index}"), "grantee": "keystead:secret:farm:db",
            "namespaceUid": "uid-of-farm", "operations": ["Encrypt", "Decrypt"],
            "constraints": {"encryptionContextSubset": {"app": "web", "team": format!("t{index}")}},
            "expiresAt": "2100-01-01T00:00:00Z",
        })
    };
    (0..100)
        .map(|index| serde_json::from_value(grant(index)).expect("a grant record"))
        .collect()
}

fn context() -> Context {
    let pairs = [
        ("app", "web"),
        ("team", "orders"),
        ("keystead:purpose", "value"),
    ];
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn decisions(criterion: &mut Criterion) {
    let rules = KeyRules::new(
        ("shop", "orders"),
        Some("uid-of-shop"),
        &policy(),
        &grants(),
    );
    let rules = rules.expect("the policy can be read");
    let context = context();
    let now = Timestamp::from_second(1_800_000_000).expect("in range");
    let worst = Principal::secret("farm", "db", Some("uid-of-farm".into()));
    let groups = (0..100).map(|number| format!("oidc:team-{number}"));
    let stranger = Principal::user("ann", groups, None).expect("not reserved");
    for (name, principal, via, allow) in [
        (
            "every statement and grant speaks of it",
            &worst,
            Some(Via::Secrets),
            true,
        ),
        ("a stranger in 100 groups", &stranger, None, false),
    ] {
        let request = Request {
            principal,
            action: Action::Decrypt,
            context: &context,
            via,
            now,
        };
        let decision = decide(&request, &rules, Rbac::DoesNotAllow);
        assert_eq!(decision.allow, allow, "{:?}", decision.reason);
        criterion.bench_function(
            &format!("decide, 50 statements and 100 grants: {name}"),
            |b| {
                b.iter(|| decide(black_box(&request), black_box(&rules), Rbac::DoesNotAllow));
            },
        );
    }
}

criterion_group!(benches, decisions);
criterion_main!(benches);
