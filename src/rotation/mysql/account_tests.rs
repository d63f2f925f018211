use super::*;

fn parse(rest: &str) -> Option<Account> {
    let line = format!("CREATE USER `orders`@`%` {rest}");
    Account::parse("orders", "%", &line, Backslash::Doubled)
}

fn rejected(account: &Account) -> String {
    match account.plugin() {
        Err(Outcome::Rejected(told)) => told,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_account_of_mariadb_is_read() {
    let account = parse(
        "IDENTIFIED BY PASSWORD '*D8' REQUIRE SUBJECT '/CN=it''s' AND ISSUER 'x' WITH MAX_USER_CONNECTIONS 7 \
         MAX_STATEMENT_TIME 0.500000 ACCOUNT LOCK PASSWORD EXPIRE",
    )
    .unwrap();
    assert_eq!(account.plugin(), Ok(Plugin::Native));
    assert_eq!(account.stored.as_deref(), Some("*D8"));
    assert_eq!(
        syntax::written(&account.requirements),
        "REQUIRE SUBJECT '/CN=it''s' AND ISSUER 'x'"
    );
    assert_eq!(
        syntax::written(&account.limits),
        "WITH MAX_USER_CONNECTIONS 7 MAX_STATEMENT_TIME 0.500000"
    );
    assert!(account.locked);

    let account = parse("IDENTIFIED VIA ed25519 USING 'Gv2J'").unwrap();
    assert_eq!(account.plugin(), Ok(Plugin::Ed25519));
    assert_eq!(account.stored.as_deref(), Some("Gv2J"));
    assert!(!account.locked && account.limits.is_empty() && account.requirements.is_empty());
    // One without a password.
    assert_eq!(parse("").unwrap().plugin(), Ok(Plugin::Native));
}

#[test]
fn an_account_whose_verifier_only_others_may_see_is_read() {
    let account = parse(
        "IDENTIFIED WITH 'caching_sha2_password' AS <secret> DEFAULT ROLE `app`@`%` REQUIRE SSL PASSWORD EXPIRE DEFAULT \
         ACCOUNT UNLOCK",
    )
    .unwrap();
    assert_eq!(account.plugin(), Ok(Plugin::CachingSha2));
    assert_eq!(account.stored, None);
    assert_eq!(syntax::written(&account.requirements), "REQUIRE SSL");
    assert!(!account.locked);
}

#[test]
fn a_verifier_of_mysql_with_any_characters_is_read() {
    let line = r#"CREATE USER `orders`@`%` IDENTIFIED WITH 'caching_sha2_password' AS '$A$005$it''s_a_\_salt"1' REQUIRE SSL"#;
    let account = Account::parse("orders", "%", line, Backslash::Itself).unwrap();
    assert_eq!(account.stored.as_deref(), Some(r#"$A$005$it's_a_\_salt"1"#));
    assert_eq!(syntax::written(&account.requirements), "REQUIRE SSL");
}

#[test]
fn quotes_in_an_attribute_do_not_matter() {
    let shown = "IDENTIFIED WITH 'caching_sha2_password' AS 'x' REQUIRE NONE ACCOUNT LOCK PASSWORD HISTORY DEFAULT";
    for attribute in [
        r#"{"comment": "it's \"ours\" \\back\nline"}"#,
        r#"{"comment": "' ACCOUNT UNLOCK"}"#,
    ] {
        let account = parse(&format!("{shown} ATTRIBUTE '{attribute}'")).unwrap();
        assert!(account.locked, "{attribute}");
    }
    // A part of it would be left, which is not understood.
    let twice = format!(r#"{shown} ATTRIBUTE '{{"comment": " ATTRIBUTE '"}}'"#);
    assert_eq!(parse(&twice), None);
}

#[test]
fn an_account_of_mysql_is_read() {
    let account = parse(
        "IDENTIFIED WITH 'caching_sha2_password' AS '$A$005$salt' DEFAULT ROLE `app`@`%`,`b`@`%` REQUIRE NONE WITH \
         MAX_QUERIES_PER_HOUR 9 PASSWORD EXPIRE DEFAULT ACCOUNT UNLOCK PASSWORD HISTORY DEFAULT PASSWORD REUSE INTERVAL \
         DEFAULT PASSWORD REQUIRE CURRENT DEFAULT FAILED_LOGIN_ATTEMPTS 3 PASSWORD_LOCK_TIME 2 ATTRIBUTE '{\"a\": \"b\"}'",
    )
    .unwrap();
    assert_eq!(account.plugin(), Ok(Plugin::CachingSha2));
    assert_eq!(account.stored.as_deref(), Some("$A$005$salt"));
    assert_eq!(
        syntax::written(&account.default_roles),
        "DEFAULT ROLE `app`@`%` , `b`@`%`"
    );
    assert_eq!(
        syntax::written(&account.limits),
        "WITH MAX_QUERIES_PER_HOUR 9"
    );
    assert!(account.requirements.is_empty());
    assert!(!account.locked);
}

#[test]
fn a_verifier_in_digits_is_read_as_its_text() {
    let account =
        parse("IDENTIFIED WITH 'caching_sha2_password' AS 0x2441243030352427 REQUIRE SSL").unwrap();
    assert_eq!(account.stored.as_deref(), Some("$A$005$'"));
    for odd in ["0x244", "0xzz", "0xff", "x41"] {
        assert_eq!(unhexed(odd), None, "{odd}");
    }
}

#[test]
fn ways_to_log_in_that_have_no_password_of_ours_are_told_by_their_names() {
    let account = parse("IDENTIFIED VIA unix_socket").unwrap();
    assert!(rejected(&account).contains("unix_socket"));
    let account = parse("IDENTIFIED VIA ed25519 USING 'x' OR unix_socket").unwrap();
    assert!(rejected(&account).contains("2 ways"));
    assert_eq!(account.stored, None);
    let account = parse("IDENTIFIED WITH 'a' AS 'x' AND IDENTIFIED WITH 'b'").unwrap();
    assert!(account.plugin().is_err());
}

#[test]
fn what_is_not_known_of_an_account_is_not_copied() {
    for rest in [
        "REQUIRE SOMETHING",
        "REQUIRE SSL; DROP",
        "WITH GRANT OPTION",
        "WITH MAX_X 'a'",
        "IDENTIFIED",
        "IDENTIFIED VIA",
        "IDENTIFIED VIA (",
        "IDENTIFIED VIA a OR",
    ] {
        assert_eq!(parse(rest), None, "{rest}");
    }
    assert_eq!(
        Account::parse("a", "%", "CREATE USER `a`", Backslash::Doubled),
        None
    );
}

#[test]
fn a_marker_is_a_role_of_a_short_name_of_its_own() {
    let (one, other) = (marker_role("keystead: a/b"), marker_role("keystead: a/c"));
    assert_ne!(one, other);
    assert_eq!(one.len(), MARKER.len() + 32);
    let grant = grants::parse(&format!("GRANT `{one}` TO `x`@`%`"));
    assert!(is_role(&grant, &one) && is_marker(&grant));
    assert!(!is_role(&grant, &other));
    assert!(!is_marker(&grants::parse("GRANT `app` TO `x`@`%`")));
}
