use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::api::{
    Effect, GrantConstraints, GrantOperation, GrantRecord, KeyPolicy, NamespaceRecord,
    PolicyRecord, PolicyStatement, Principals, ServiceAccountName, StatementConditions,
};
use crate::policy::action::matching_actions;
use crate::policy::{namespace_of_group, service_account};

const SHOP: &str = "uid-of-shop";
const FARM: &str = "uid-of-farm";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A key `shop/orders` under that policy; the namespace `farm` was recorded.
fn rules(statements: &[PolicyStatement], delegates: bool, grants: &[GrantRecord]) -> KeyRules {
    rules_of("orders", statements, delegates, grants)
}

fn rules_of(
    key: &str,
    statements: &[PolicyStatement],
    delegates: bool,
    grants: &[GrantRecord],
) -> KeyRules {
    let record = PolicyRecord {
        accepted: Some(KeyPolicy {
            delegate_to_rbac: Some(delegates),
            statements: statements.to_vec(),
            allow_public: None,
        }),
        namespaces: vec![NamespaceRecord {
            name: "farm".into(),
            uid: FARM.into(),
        }],
        ignored: false,
    };
    KeyRules::new(("shop", key), Some(SHOP), &record, grants).unwrap()
}

fn statement(effect: Effect, principals: Principals, actions: &str) -> PolicyStatement {
    PolicyStatement {
        sid: Some(format!("{effect:?}")),
        effect,
        principals,
        actions: vec![actions.into()],
        conditions: None,
    }
}

fn user(name: &str) -> Principals {
    Principals {
        users: vec![name.into()],
        ..Principals::default()
    }
}

fn namespace(name: &str) -> Principals {
    Principals {
        namespaces: vec![name.into()],
        ..Principals::default()
    }
}

fn grant(grantee: &str, namespace_uid: Option<&str>) -> GrantRecord {
    GrantRecord {
        name: "g".into(),
        uid: "u".into(),
        grantee: grantee.into(),
        namespace_uid: namespace_uid.map(str::to_owned),
        retiring: None,
        operations: vec![GrantOperation::Decrypt],
        constraints: None,
        expires_at: Some(Time(at(10))),
        expired: false,
        created_by: None,
    }
}

fn ann() -> Principal {
    Principal::user("ann", ["ops".to_owned()], None).unwrap()
}

fn asked(principal: &Principal, action: Action, rules: &KeyRules, rbac: Rbac) -> Decision {
    let via = principal.is_secret.then_some(Via::Secrets);
    let context = Context::new();
    let request = Request {
        principal,
        action,
        context: &context,
        via,
        now: at(0),
    };
    decide(&request, rules, rbac)
}

fn decrypts(principal: &Principal, rules: &KeyRules) -> Decision {
    asked(principal, Action::Decrypt, rules, Rbac::DoesNotAllow)
}

#[test]
fn deny_wins_over_a_grant_an_allow_and_rbac() {
    let allow = statement(Effect::Allow, user("ann"), "*");
    let deny = statement(Effect::Deny, user("ann"), "De*");
    let rules = rules(&[allow, deny], true, &[grant("ann", None)]);
    let decision = asked(&ann(), Action::Decrypt, &rules, Rbac::Allows);
    let said = decision.reason.to_string();
    assert_eq!(said, "denied by statement 1 (Deny) of the key's policy");
    assert!(!decision.allow);
}

#[test]
fn a_grant_comes_before_a_statement_and_a_statement_before_rbac() {
    let allow = statement(Effect::Allow, user("ann"), "*");
    let both = rules(std::slice::from_ref(&allow), true, &[grant("ann", None)]);
    assert_eq!(decrypts(&ann(), &both).reason, Basis::GrantedBy("g".into()));
    let one = rules(&[allow], true, &[]);
    assert!(matches!(
        asked(&ann(), Action::Encrypt, &one, Rbac::NotAsked).reason,
        Basis::AllowedBy(_)
    ));
}

#[test]
fn rbac_is_asked_only_when_nothing_nearer_answers_and_the_policy_delegates() {
    let open = rules(&[], true, &[]);
    let decision = asked(&ann(), Action::Decrypt, &open, Rbac::NotAsked);
    let attributes = decision.needs_rbac().unwrap();
    assert_eq!(attributes.to_string(), "create on managedkeys/decrypt");
    assert!(!decision.allow);
    assert!(asked(&ann(), Action::Decrypt, &open, Rbac::Allows).allow);
    let closed = rules(&[], false, &[]);
    let decision = asked(&ann(), Action::Decrypt, &closed, Rbac::Allows);
    assert_eq!(decision.reason, Basis::NotAllowed);
}

#[test]
fn a_namespace_that_was_made_anew_inherits_no_right_and_no_freedom() {
    let allow = statement(Effect::Allow, namespace("farm"), "*");
    let policy = rules(&[allow], false, &[]);
    let account = |uid: Option<&str>| {
        let name = service_account("farm", "cow");
        Principal::user(name, [], uid.map(str::to_owned)).unwrap()
    };
    assert!(decrypts(&account(Some(FARM)), &policy).allow);
    for uid in [Some("another"), None] {
        let decision = decrypts(&account(uid), &policy);
        assert_eq!(decision.reason, Basis::PrincipalRecreated("farm".into()));
        assert!(!decision.allow);
    }
    let deny = statement(Effect::Deny, namespace("farm"), "*");
    let decision = asked(
        &account(Some("another")),
        Action::Decrypt,
        &rules(&[deny], true, &[]),
        Rbac::Allows,
    );
    assert!(matches!(decision.reason, Basis::DeniedBy(_)));
    let granted = rules(
        &[],
        false,
        &[grant("system:serviceaccount:farm:cow", Some(FARM))],
    );
    assert!(decrypts(&account(Some(FARM)), &granted).allow);
    assert!(!decrypts(&account(Some("another")), &granted).allow);
    assert!(!decrypts(&account(None), &granted).allow);
}

#[test]
fn nobody_becomes_a_member_of_a_namespace_by_a_group_alone() {
    let group = "system:serviceaccounts:farm";
    let principals = Principals {
        groups: vec![group.into()],
        ..Principals::default()
    };
    let policy = rules(&[statement(Effect::Allow, principals, "*")], false, &[]);
    let bob = Principal::user("bob", [group.to_owned()], Some(FARM.into())).unwrap();
    assert!(!decrypts(&bob, &policy).allow);
    let cow = service_account("farm", "cow");
    let cow = Principal::user(cow, [group.to_owned()], Some(FARM.into())).unwrap();
    assert!(decrypts(&cow, &policy).allow);
}

#[test]
fn secrets_of_the_own_namespace_may_use_the_key_and_others_need_a_statement_or_grant() {
    let closed = rules(&[], false, &[]);
    let own = Principal::secret("shop", "db", Some(SHOP.into()));
    let other = Principal::secret("farm", "db", Some(FARM.into()));
    assert_eq!(decrypts(&own, &closed).reason, Basis::OwnSecret);
    assert!(!asked(&own, Action::Sign, &closed, Rbac::Allows).allow);
    let remade = Principal::secret("shop", "db", Some("another".into()));
    assert!(!decrypts(&remade, &closed).allow);
    // RBAC knows no secrets, whatever it says.
    let open = rules(&[], true, &[]);
    assert!(!asked(&other, Action::Decrypt, &open, Rbac::Allows).allow);
    for principals in [
        user("keystead:secret:farm:db"),
        namespace("farm"),
        Principals {
            groups: vec!["keystead:secrets:farm".into()],
            ..Principals::default()
        },
    ] {
        let policy = rules(
            &[statement(Effect::Allow, principals, "Decrypt")],
            false,
            &[],
        );
        assert!(decrypts(&other, &policy).allow);
    }
    let granted = rules(&[], false, &[grant("keystead:secret:farm:db", Some(FARM))]);
    assert!(decrypts(&other, &granted).allow);
    let deny = statement(Effect::Deny, user("keystead:secret:shop:db"), "*");
    assert!(!decrypts(&own, &rules(&[deny], true, &[])).allow);
}

#[test]
fn the_default_key_is_for_the_secrets_of_its_namespace_only() {
    let allow = |who: Principals| statement(Effect::Allow, who, "*");
    let statements = [allow(user("ann")), allow(namespace("farm"))];
    let grants = [grant("ann", None)];
    let policy = rules_of("keystead-default", &statements, true, &grants);
    let own = Principal::secret("shop", "db", Some(SHOP.into()));
    let other = Principal::secret("farm", "db", Some(FARM.into()));
    assert!(decrypts(&own, &policy).allow);
    assert_eq!(decrypts(&other, &policy).reason, Basis::DefaultKey);
    let decision = asked(&ann(), Action::Decrypt, &policy, Rbac::Allows);
    assert_eq!(decision.reason, Basis::DefaultKey);
    assert!(asked(&ann(), Action::DescribeKey, &policy, Rbac::Allows).allow);
    assert!(!asked(&ann(), Action::DescribeKey, &policy, Rbac::DoesNotAllow).allow);
}

#[test]
fn a_policy_that_cannot_be_read_allows_nothing_because_there_are_no_rules() {
    let many = vec![statement(Effect::Allow, user("ann"), "*"); 51];
    let record = |statements: Vec<PolicyStatement>| PolicyRecord {
        accepted: Some(KeyPolicy {
            statements,
            ..KeyPolicy::default()
        }),
        ..PolicyRecord::default()
    };
    assert!(KeyRules::new(("shop", "orders"), None, &record(many), &[]).is_err());
    let unknown = vec![statement(Effect::Deny, user("ann"), "Decypt")];
    let error = KeyRules::new(("shop", "orders"), None, &record(unknown), &[]).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("spec.policy.statements[0].actions"), "{said}");
}

// What follows compares with a decision that is made straight from the statements, one after the other.

const USERS: [&str; 4] = [
    "ann",
    "system:serviceaccount:farm:cow",
    "system:serviceaccount:shop:web",
    "keystead:secret:farm:db",
];
const GROUPS: [&str; 3] = [
    "ops",
    "system:serviceaccounts:farm",
    "keystead:secrets:farm",
];

fn an_action() -> impl Strategy<Value = Action> {
    select(vec![Action::Encrypt, Action::Decrypt, Action::Sign])
}

fn a_context() -> impl Strategy<Value = Context> {
    let pair = (select(vec!["team", "keystead:key"]), select(vec!["a", "b"]));
    prop::collection::btree_map(pair.0, pair.1, 0..3).prop_map(|pairs| {
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        pairs.into_iter().map(owned).collect()
    })
}

fn some_principals() -> impl Strategy<Value = Principals> {
    let names = |all: &[&str]| {
        let all: Vec<_> = all.iter().map(|name| (*name).to_owned()).collect();
        let most = all.len();
        subsequence(all, 0..=most.min(2))
    };
    let account = ServiceAccountName {
        namespace: "farm".into(),
        name: "cow".into(),
    };
    (
        names(&USERS),
        names(&GROUPS),
        names(&["farm", "shop"]),
        subsequence(vec![account], 0..=1),
    )
        .prop_map(|(users, groups, namespaces, service_accounts)| Principals {
            service_accounts,
            users,
            groups,
            namespaces,
        })
}

fn a_statement() -> impl Strategy<Value = PolicyStatement> {
    let effect = select(vec![Effect::Allow, Effect::Deny]);
    let actions = subsequence(vec!["Decrypt", "*crypt", "S*", "*"], 1..=2);
    let via = subsequence(vec![Via::Secrets], 0..=1);
    (effect, some_principals(), actions, a_context(), via).prop_map(
        |(effect, principals, actions, encryption_context, via)| PolicyStatement {
            sid: None,
            effect,
            principals,
            actions: actions.into_iter().map(str::to_owned).collect(),
            conditions: Some(StatementConditions {
                encryption_context,
                via,
            }),
        },
    )
}

fn a_grant() -> impl Strategy<Value = GrantRecord> {
    let operations = subsequence(
        vec![
            GrantOperation::Encrypt,
            GrantOperation::Decrypt,
            GrantOperation::Sign,
        ],
        1..=2,
    );
    let uid = prop::option::of(select(vec![FARM.to_owned(), SHOP.to_owned()]));
    let equals = prop::option::of(a_context());
    let expires = prop::option::of(0_i64..4);
    (
        select(USERS.to_vec()),
        operations,
        uid,
        equals,
        a_context(),
        expires,
        prop::bool::weighted(0.1),
    )
        .prop_map(
            |(grantee, operations, namespace_uid, equals, subset, expires, expired)| GrantRecord {
                expired,
                operations,
                constraints: Some(GrantConstraints {
                    encryption_context_equals: equals,
                    encryption_context_subset: subset,
                }),
                expires_at: expires.map(|second| Time(at(second))),
                namespace_uid,
                ..grant(grantee, None)
            },
        )
}

fn a_principal() -> impl Strategy<Value = Principal> {
    let groups = subsequence(vec!["ops".to_owned(), GROUPS[1].to_owned()], 0..=2);
    let uid = prop::option::of(select(vec![
        FARM.to_owned(),
        SHOP.to_owned(),
        "another".to_owned(),
    ]));
    (0..USERS.len(), groups, uid).prop_map(|(index, groups, uid)| match USERS[index] {
        "keystead:secret:farm:db" => Principal::secret("farm", "db", uid),
        name => Principal::user(name, groups, uid).unwrap(),
    })
}

#[derive(Clone, Debug)]
struct Asked {
    principal: Principal,
    action: Action,
    context: Context,
    via: Option<Via>,
    now: Timestamp,
}

impl Asked {
    fn request(&self) -> Request<'_> {
        Request {
            principal: &self.principal,
            action: self.action,
            context: &self.context,
            via: self.via,
            now: self.now,
        }
    }

    fn decide(&self, rules: &KeyRules, rbac: Rbac) -> Decision {
        decide(&self.request(), rules, rbac)
    }
}

fn something_asked() -> impl Strategy<Value = Asked> {
    let via = prop::option::of(Just(Via::Secrets));
    (a_principal(), an_action(), a_context(), via, 0_i64..4).prop_map(
        |(principal, action, context, via, second)| Asked {
            principal,
            action,
            context,
            via,
            now: at(second),
        },
    )
}

/// Whether the statement speaks of what is asked. `bound`: whether namespaces must be the ones that were accepted.
fn matches(statement: &PolicyStatement, asked: &Asked, bound: bool) -> bool {
    let principal = &asked.principal;
    let said = &statement.principals;
    let home = principal.home.as_ref();
    let is_same = home.is_some_and(|home| {
        let recorded = if home.namespace == "farm" { FARM } else { SHOP };
        home.uid.as_deref() == Some(recorded)
    });
    let in_group = |group: &String| {
        if !principal.groups.contains(group) {
            return false;
        }
        match namespace_of_group(group) {
            None => true,
            Some(of) => !bound || is_same && principal.namespace() == Some(of),
        }
    };
    let accounts = said.service_accounts.iter();
    let names: Vec<_> = accounts
        .map(|a| service_account(&a.namespace, &a.name))
        .chain(said.users.iter().cloned())
        .collect();
    let named = names.contains(&principal.user) && (home.is_none() || !bound || is_same);
    let lives =
        home.is_some_and(|home| said.namespaces.contains(&home.namespace)) && (!bound || is_same);
    let acts = statement.actions.iter().any(|pattern| {
        let matching = matching_actions::<Action>(pattern).unwrap();
        matching.contains(&asked.action)
    });
    let conditions = statement.conditions.clone().unwrap_or_default();
    let pairs = conditions.encryption_context.iter();
    let by_way =
        conditions.via.is_empty() || asked.via.is_some_and(|w| conditions.via.contains(&w));
    (named || lives || said.groups.iter().any(in_group))
        && acts
        && by_way
        && pairs
            .into_iter()
            .all(|(k, v)| asked.context.get(k) == Some(v))
}

/// What a grant gives at most: its operations to its grantee in the namespace that was accepted, before its end.
fn may_give(grant: &GrantRecord, asked: &Asked) -> bool {
    let constraints = grant.constraints.clone().unwrap_or_default();
    let own = |context: &Context| -> Context {
        let mut own = context.clone();
        own.retain(|key, _| !key.starts_with("keystead:"));
        own
    };
    let mut subset = constraints.encryption_context_subset.iter();
    let exactly = constraints.encryption_context_equals;
    let home = asked.principal.home.as_ref();
    !grant.expired
        && grant.grantee == asked.principal.user
        && grant
            .operations
            .iter()
            .any(|o| Action::from(*o) == asked.action)
        && grant
            .expires_at
            .as_ref()
            .is_none_or(|end| asked.now < end.0)
        && subset.all(|(k, v)| asked.context.get(k) == Some(v))
        && exactly.is_none_or(|exactly| own(&exactly) == own(&asked.context))
        && home.is_none_or(|home| home.uid.is_some() && home.uid == grant.namespace_uid)
}

fn statements() -> impl Strategy<Value = Vec<PolicyStatement>> {
    prop::collection::vec(a_statement(), 0..5)
}

fn grants() -> impl Strategy<Value = Vec<GrantRecord>> {
    prop::collection::vec(a_grant(), 0..4)
}

fn an_answer() -> impl Strategy<Value = Rbac> {
    select(vec![Rbac::NotAsked, Rbac::Allows, Rbac::DoesNotAllow])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn a_deny_that_matches_always_wins(
        said in statements(), given in grants(), delegates: bool, asked in something_asked(), rbac in an_answer(),
    ) {
        let decision = asked.decide(&rules(&said, delegates, &given), rbac);
        let denied = said.iter().any(|s| s.effect == Effect::Deny && matches(s, &asked, false));
        prop_assert_eq!(matches!(decision.reason, Basis::DeniedBy(_)), denied);
        prop_assert!(!(denied && decision.allow));
    }

    #[test]
    fn another_allow_never_takes_access_away(
        said in statements(), more in a_statement(), given in grants(), delegates: bool, asked in something_asked(),
        rbac in an_answer(),
    ) {
        let before = asked.decide(&rules(&said, delegates, &given), rbac);
        let mut longer = said;
        longer.push(PolicyStatement { effect: Effect::Allow, ..more });
        let after = asked.decide(&rules(&longer, delegates, &given), rbac);
        prop_assert!(!before.allow || after.allow, "{before:?} {after:?}");
    }

    #[test]
    fn another_deny_or_a_grant_less_never_gives_access(
        said in statements(), more in a_statement(), given in grants(), delegates: bool, asked in something_asked(),
        rbac in an_answer(),
    ) {
        let before = asked.decide(&rules(&said, delegates, &given), rbac);
        let mut stricter = said;
        stricter.push(PolicyStatement { effect: Effect::Deny, ..more });
        let fewer = given.split_first().map_or(&given[..], |(_, rest)| rest);
        let after = asked.decide(&rules(&stricter, delegates, fewer), rbac);
        prop_assert!(before.allow || !after.allow, "{before:?} {after:?}");
    }

    #[test]
    fn a_grant_gives_no_more_than_its_operations_and_constraints(
        said in statements(), given in grants(), asked in something_asked(),
    ) {
        let without = asked.decide(&rules(&said, false, &[]), Rbac::DoesNotAllow);
        let with = asked.decide(&rules(&said, false, &given), Rbac::DoesNotAllow);
        let gives = given.iter().any(|grant| may_give(grant, &asked));
        let denied = matches!(with.reason, Basis::DeniedBy(_));
        prop_assert_eq!(with.allow, !denied && (without.allow || gives));
    }

    #[test]
    fn masks_decide_as_reading_the_statements_one_by_one_does(
        said in statements(), given in grants(), delegates: bool, asked in something_asked(), rbac in an_answer(),
    ) {
        let decision = asked.decide(&rules(&said, delegates, &given), rbac);
        let of = |effect, bound| {
            said.iter().any(|s: &PolicyStatement| s.effect == effect && matches(s, &asked, bound))
        };
        let asks = delegates && !asked.principal.is_secret;
        let expected = !of(Effect::Deny, false)
            && (given.iter().any(|grant| may_give(grant, &asked))
                || of(Effect::Allow, true)
                || asks && rbac == Rbac::Allows);
        prop_assert_eq!(decision.allow, expected, "{:?}", decision);
    }
}
