use proptest::prelude::*;

use super::*;

/// The line with which one account's right is given to another.
fn given(line: &str) -> Option<String> {
    parse(line).statement("`x`@`%`")
}

#[test]
fn rights_are_given_to_another_as_they_are() {
    for (line, statement) in [
        (
            "GRANT SELECT, INSERT (`m m`, `n`) ON `shop`.`t``s` TO `orders`@`%` WITH GRANT OPTION",
            "GRANT INSERT (`m m`, `n`), SELECT ON `shop`.`t``s` TO `x`@`%` WITH GRANT OPTION",
        ),
        (
            "GRANT ALL PRIVILEGES ON `shop\\_1`.* TO `orders`@`%`",
            "GRANT ALL PRIVILEGES ON `shop\\_1`.* TO `x`@`%`",
        ),
        (
            "GRANT EXECUTE ON PROCEDURE `shop`.`p` TO `orders`@`%`",
            "GRANT EXECUTE ON PROCEDURE `shop`.`p` TO `x`@`%`",
        ),
        (
            "GRANT EXECUTE ON PACKAGE BODY `shop`.`p` TO `orders`@`%`",
            "GRANT EXECUTE ON PACKAGE BODY `shop`.`p` TO `x`@`%`",
        ),
        (
            "GRANT PROCESS ON *.* TO `orders`@`%` IDENTIFIED BY PASSWORD '*D8' REQUIRE SSL WITH MAX_USER_CONNECTIONS 7",
            "GRANT PROCESS ON *.* TO `x`@`%`",
        ),
        (
            "GRANT USAGE ON `shop`.* TO `orders`@`%` WITH GRANT OPTION",
            "GRANT USAGE ON `shop`.* TO `x`@`%` WITH GRANT OPTION",
        ),
        ("GRANT `app` TO `orders`@`%`", "GRANT `app` TO `x`@`%`"),
        (
            "GRANT `app`@`%`,`b`@`h` TO `orders`@`%` WITH ADMIN OPTION",
            "GRANT `app`@`%`, `b`@`h` TO `x`@`%` WITH ADMIN OPTION",
        ),
        (
            "SET DEFAULT ROLE `app` FOR `orders`@`%`",
            "SET DEFAULT ROLE `app` FOR `x`@`%`",
        ),
        (
            "GRANT SELECT (n) ON `shop`.`t` TO `orders`@`%`",
            "GRANT SELECT (`n`) ON `shop`.`t` TO `x`@`%`",
        ),
    ] {
        assert_eq!(given(line).as_deref(), Some(statement), "{line}");
    }
    assert_eq!(given("GRANT USAGE ON *.* TO `orders`@`%`"), None);
}

#[test]
fn what_is_not_understood_is_nothing_that_is_given() {
    for line in [
        "",
        "GRANT PROXY ON ''@'%' TO 'root'@'localhost' WITH GRANT OPTION",
        "GRANT PROXY ON ``@`` TO `root`@`localhost`",
        "REVOKE INSERT ON `shop`.* FROM `orders`@`%`",
        "GRANT SELECT ON shop.* TO `orders`@`%`",
        "GRANT SELECT ON `shop`.`t` `orders`@`%`",
        "GRANT SELECT ON EVENT `shop`.`t` TO `orders`@`%`",
        "GRANT select ON `shop`.* TO `orders`@`%`",
        "GRANT SELECT; DROP ON `shop`.* TO `orders`@`%`",
        "GRANT ON `shop`.* TO `orders`@`%`",
    ] {
        assert_eq!(parse(line), Grant::Other, "{line}");
        assert!(parse(line).mighty(), "{line}");
        assert_eq!(given(line), None);
    }
}

#[test]
fn rights_that_lead_to_the_server_make_mighty() {
    for line in [
        "GRANT ALL PRIVILEGES ON *.* TO `a`@`%`",
        "GRANT SUPER ON *.* TO `a`@`%`",
        "GRANT CREATE USER ON *.* TO `a`@`%`",
        "GRANT FILE ON *.* TO `a`@`%`",
        "GRANT INSERT ON *.* TO `a`@`%`",
        "GRANT USAGE ON *.* TO `a`@`%` WITH GRANT OPTION",
        "GRANT SELECT ON *.* TO `a`@`%` REQUIRE SSL WITH MAX_USER_CONNECTIONS 7 GRANT OPTION",
        "GRANT ROLE_ADMIN,SYSTEM_USER ON *.* TO `a`@`%`",
        "GRANT SET USER ON *.* TO `a`@`%`",
        "GRANT INSERT ON `mysql`.* TO `a`@`%`",
        "GRANT INSERT ON `MySQL`.`user` TO `a`@`%`",
        "GRANT ALL PRIVILEGES ON `%`.* TO `a`@`%`",
        "GRANT UPDATE ON `my%`.* TO `a`@`%`",
        "GRANT DELETE ON `mysq_`.* TO `a`@`%`",
        "GRANT SELECT ON `mysql`.* TO `a`@`%` WITH GRANT OPTION",
    ] {
        assert!(parse(line).mighty(), "{line}");
    }
    for line in [
        "GRANT USAGE ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD 'GRANT OPTION'",
        "GRANT PROCESS, SELECT ON *.* TO `a`@`%`",
        "GRANT ALL PRIVILEGES ON `shop`.* TO `a`@`%` WITH GRANT OPTION",
        "GRANT ALL PRIVILEGES ON `mysql\\_`.* TO `a`@`%`",
        "GRANT INSERT ON `my%`.`t` TO `a`@`%`",
        "GRANT SELECT ON `mysql`.* TO `a`@`%`",
        "GRANT `app` TO `a`@`%`",
        "SET DEFAULT ROLE `app` FOR `a`@`%`",
    ] {
        assert!(!parse(line).mighty(), "{line}");
    }
}

#[test]
fn only_what_is_missing_is_given() {
    let had = [
        parse("GRANT SELECT, INSERT ON `shop`.* TO `a`@`%`"),
        parse("GRANT `app` TO `a`@`%`"),
    ];
    let missing = |line| parse(line).without(&had);
    assert_eq!(missing("GRANT SELECT ON `shop`.* TO `b`@`%`"), None);
    assert_eq!(missing("GRANT `app` TO `b`@`%`"), None);
    assert_eq!(
        missing("GRANT SELECT, DELETE ON `shop`.* TO `b`@`%`"),
        Some(parse("GRANT DELETE ON `shop`.* TO `b`@`%`"))
    );
    for whole in [
        "GRANT SELECT ON `shop`.* TO `b`@`%` WITH GRANT OPTION",
        "GRANT SELECT ON `shop`.`t` TO `b`@`%`",
        "GRANT `other` TO `b`@`%`",
        "SET DEFAULT ROLE `app` FOR `b`@`%`",
    ] {
        assert_eq!(missing(whole), Some(parse(whole)), "{whole}");
    }
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        Just(Part::Every),
        "[\"'`\\\\;@.%_a-zé \\-]{1,12}".prop_map(Part::One)
    ]
}

proptest! {
    #[test]
    fn rights_that_are_written_are_read_as_the_same(
        words in prop::collection::btree_set("(SELECT|INSERT|CREATE VIEW|BACKUP_ADMIN)", 1..4),
        columns in prop::collection::btree_set("[\"'`\\\\;@.,()a-zé \\-]{1,12}", 0..4),
        kind in prop::option::of(prop::sample::select(&KINDS[..])),
        schema in part(),
        item in part(),
        passed_on: bool,
    ) {
        let columns: Vec<_> = columns.into_iter().collect();
        let right = |words| Right { words, columns: columns.clone() };
        let rights = words.into_iter().map(right).collect();
        let on = Object { kind: kind.map(str::to_owned), schema, item };
        let grant = Grant::Rights { rights, on, passed_on };
        let statement = grant.statement(&account("a'`b", "%")).unwrap();
        prop_assert_eq!(parse(&statement), grant);
    }

    #[test]
    fn a_pattern_without_signs_takes_in_itself_only(name in "[a-z]{0,8}", other in "[a-z]{0,8}") {
        prop_assert!(matches(&name, &name));
        prop_assert_eq!(matches(&name, &other), name == other);
        prop_assert!(matches("%", &other));
    }
}
