//! Two users in turn.

use keystead::rotation::mysql::{Change, Server, set, test};
use keystead::rotation::rotator::Outcome;

use super::support::{Bed, Kind, MARKER_ROLE, alternating, login, single, words};

#[tokio::test]
async fn two_users_take_turns_and_the_one_before_works_on() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.execute("GRANT SELECT, INSERT, CREATE, ALTER ON shop.* TO orders@'%'")
        .await;
    let server = bed.server();
    let versions = [
        login("orders", "pw-1"),
        login("orders_clone", "pw-2"),
        login("orders", "pw-3"),
        login("orders_clone", "pw-4"),
        login("orders", "pw-5"),
    ];
    for (round, version) in versions.windows(2).enumerate() {
        let (current, pending) = (version[0], version[1]);
        let previous = round.checked_sub(1).map(|before| versions[before]);
        let change = alternating(&server, current, pending, previous);
        assert_eq!(set(&change).await, Outcome::Done, "{round}");
        for login in [pending, current] {
            assert_eq!(test(&server, login).await, Outcome::Done, "{round}");
        }
        if let Some(previous) = previous {
            words(test(&server, previous).await, Kind::OwnershipConflict);
        }
        // Each of them reads and writes what is granted to the first one, and changes what the other one has made.
        for (by, other) in [(current, pending), (pending, current)] {
            let table = format!("shop.by_{}_{round}", by.user);
            let make = format!("INSERT INTO shop.stock VALUES (1); CREATE TABLE {table} (n int)");
            bed.as_user(by, &make).await;
            let change = format!(
                "INSERT INTO {table} SELECT * FROM shop.stock; ALTER TABLE {table} ADD m int"
            );
            bed.as_user(other, &change).await;
        }
    }
}

#[tokio::test]
async fn the_second_user_is_made_with_the_marker_and_all_that_the_first_one_has() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.execute(
        "CREATE DATABASE `of ``1```; CREATE TABLE shop.wide (n int, `m m` int); CREATE ROLE app; CREATE ROLE inner_role; \
         GRANT inner_role TO app; GRANT SELECT ON `of ``1```.* TO inner_role; \
         CREATE PROCEDURE shop.p() SELECT 1; CREATE FUNCTION shop.f() RETURNS int RETURN 1; \
         ALTER USER orders@'%' REQUIRE SSL WITH MAX_USER_CONNECTIONS 7 MAX_STATEMENT_TIME 3.5; \
         GRANT PROCESS ON *.* TO orders@'%'; GRANT ALL ON `sh\\_p`.* TO orders@'%'; \
         GRANT SELECT, DELETE ON `of ``1```.* TO orders@'%' WITH GRANT OPTION; \
         GRANT SELECT, INSERT (`m m`, n) ON shop.wide TO orders@'%'; GRANT EXECUTE ON PROCEDURE shop.p TO orders@'%'; \
         GRANT EXECUTE ON FUNCTION shop.f TO orders@'%'; GRANT app TO orders@'%'; SET DEFAULT ROLE app FOR orders@'%'; \
         GRANT PROCESS ON *.* TO keeper@'%' WITH GRANT OPTION; GRANT ALL ON `sh\\_p`.* TO keeper@'%' WITH GRANT OPTION; \
         GRANT ALL ON `of ``1```.* TO keeper@'%' WITH GRANT OPTION; GRANT app TO keeper@'%' WITH ADMIN OPTION; \
         GRANT UPDATE ON mysql.* TO keeper@'%'",
    )
    .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let change = alternating(&server, current, pending, None);
    assert_eq!(set(&change).await, Outcome::Done);
    let made = bed.grants("orders_clone").await;
    let marker = format!("GRANT `{MARKER_ROLE}` TO `orders`@`%`");
    let mut expected: Vec<_> = bed
        .grants("orders")
        .await
        .lines()
        .map(ToOwned::to_owned)
        .collect();
    expected.push(marker);
    let made = made.replace("orders_clone", "orders");
    let mut made: Vec<_> = made.lines().map(ToOwned::to_owned).collect();
    expected.sort();
    made.sort();
    assert_eq!(made, expected);
    let account = bed.execute("SHOW CREATE USER orders_clone@'%'").await;
    assert!(
        account.ends_with("REQUIRE SSL WITH MAX_USER_CONNECTIONS 7 MAX_STATEMENT_TIME 3.500000"),
        "{account}"
    );
    let acting = bed
        .as_user(pending, "SELECT CURRENT_ROLE(); CALL shop.p()")
        .await;
    assert_eq!(acting, "app\n1");
    let process =
        "SELECT COUNT(*) FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE = 'PROCESS'";
    assert_eq!(bed.as_user(pending, process).await, "1");
}

#[tokio::test]
async fn the_second_user_gets_what_the_first_one_got_since_and_gives_nothing_back() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.execute("GRANT SELECT, INSERT ON shop.* TO orders@'%'")
        .await;
    let server = bed.server();
    let (one, two) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let (three, four) = (login("orders", "pw-3"), login("orders_clone", "pw-4"));
    assert_eq!(
        set(&alternating(&server, one, two, None)).await,
        Outcome::Done
    );
    bed.execute(
        "GRANT DELETE ON shop.* TO orders@'%'; REVOKE INSERT ON shop.* FROM orders@'%'; \
         GRANT UPDATE ON shop.* TO orders_clone@'%'; ALTER USER orders_clone@'%' IDENTIFIED BY 'pw-2'",
    )
    .await;
    // The first one's turn: it gets nothing of the second one's.
    let change = alternating(&server, two, three, Some(one));
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(
        bed.grants("orders").await,
        "GRANT SELECT, DELETE ON `shop`.* TO `orders`@`%`"
    );
    // The second one's: it gets what is new, and keeps what it has.
    let change = alternating(&server, three, four, Some(two));
    assert_eq!(set(&change).await, Outcome::Done);
    let grants = bed.grants("orders_clone").await;
    assert!(
        grants.contains("GRANT SELECT, INSERT, UPDATE, DELETE ON `shop`.*"),
        "{grants}"
    );
    bed.as_user(four, "DELETE FROM shop.stock").await;
    assert!(
        bed.try_as_user(three, "INSERT INTO shop.stock VALUES (1)")
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_second_user_with_the_marker_gets_a_password_whatever_it_had() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let current = login("orders", "pw-1");
    let first = alternating(&server, current, login("orders_clone", "pw-2"), None);
    assert_eq!(set(&first).await, Outcome::Done);
    // That pending version was dropped before it was promoted, and nobody knows its password any more.
    let pending = login("orders_clone", "pw-3");
    let again = alternating(&server, current, pending, None);
    assert_eq!(set(&again).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
}

#[tokio::test]
async fn a_second_user_of_somebody_else_is_left_alone() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.user("orders_clone").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let before = bed.accounts().await;
    for previous in [None, Some(login("orders_clone", "pw-0"))] {
        let change = alternating(&server, current, pending, previous);
        let told = words(set(&change).await, Kind::OwnershipConflict);
        assert!(told.contains("orders_clone"), "{told}");
    }
    assert_eq!(bed.accounts().await, before);
    // The stored password shows that it is this secret's.
    let change = alternating(
        &server,
        current,
        pending,
        Some(login("orders_clone", "pw-1")),
    );
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
}

#[tokio::test]
async fn a_second_user_is_made_for_the_first_ones_host() {
    let bed = Bed::new().await;
    bed.execute("CREATE USER orders@'127.0.0.%' IDENTIFIED BY 'pw-1'")
        .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let change = alternating(&server, current, pending, None);
    assert_eq!(set(&change).await, Outcome::Done);
    let host = "SELECT Host FROM mysql.user WHERE User = 'orders_clone'";
    assert_eq!(bed.execute(host).await, "127.0.0.%");
}

#[tokio::test]
async fn a_second_user_that_somebody_locked_gets_no_password() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let (current, second) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let first = alternating(&server, current, second, None);
    assert_eq!(set(&first).await, Outcome::Done);
    bed.execute("ALTER USER orders_clone@'%' ACCOUNT LOCK")
        .await;
    let before = bed.accounts().await;
    for previous in [None, Some(second)] {
        let next = alternating(&server, current, login("orders_clone", "pw-3"), previous);
        let told = words(set(&next).await, Kind::Rejected);
        assert!(told.contains("locked"), "{told}");
    }
    assert_eq!(bed.accounts().await, before);
}

#[tokio::test]
async fn a_first_user_that_is_gone_is_not_made_anew() {
    let bed = Bed::new().await;
    bed.user("orders_clone").await;
    let server = bed.server();
    let (current, pending) = (login("orders_clone", "pw-1"), login("orders", "pw-2"));
    let change = alternating(&server, current, pending, Some(login("orders", "pw-0")));
    let told = words(set(&change).await, Kind::Rejected);
    assert!(told.contains("no user `orders`"), "{told}");
}

#[tokio::test]
async fn two_users_that_cannot_be_are_refused() {
    let bed = Bed::new().await;
    let long = "o".repeat(124);
    let nowhere = Server {
        port: 1,
        ..bed.server()
    };
    let current = login("orders", "pw-1");
    let clone = login("orders_clone", "pw-2");
    let server = bed.server();
    let alone = Change {
        admin: None,
        ..alternating(&server, current, clone, None)
    };
    for change in [
        alone,
        alternating(&nowhere, current, login("orders", "pw-2"), None),
        alternating(&nowhere, current, login("other_clone", "pw-2"), None),
        alternating(&nowhere, login(&long, "pw-1"), clone, None),
        alternating(&nowhere, login("", "pw-1"), clone, None),
        alternating(&nowhere, login("orders ", "pw-1"), clone, None),
        single(&nowhere, current, clone),
    ] {
        words(set(&change).await, Kind::Rejected);
    }
}

#[tokio::test]
async fn a_second_user_whose_rights_the_admin_cannot_give_does_not_log_in_until_it_can() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.execute("CREATE DATABASE other; GRANT SELECT ON shop.* TO orders@'%'; GRANT SELECT ON other.* TO orders@'%'")
        .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let change = alternating(&server, current, pending, None);
    for _ in 0..2 {
        let told = words(set(&change).await, Kind::Rejected);
        assert!(told.contains("GRANT OPTION"), "{told}");
        let told = words(test(&server, pending).await, Kind::Rejected);
        assert!(told.contains("locked"), "{told}");
    }
    bed.execute("GRANT SELECT ON other.* TO keeper@'%' WITH GRANT OPTION")
        .await;
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
    let grants = bed.grants("orders_clone").await;
    assert!(grants.contains("`other`.*"), "{grants}");
}

#[tokio::test]
async fn a_marker_of_another_admin_is_told_by_its_name() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.execute(&format!("CREATE ROLE `{MARKER_ROLE}`")).await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let change = alternating(&server, current, pending, None);
    let told = words(set(&change).await, Kind::Rejected);
    assert!(told.contains(MARKER_ROLE), "{told}");
    bed.execute(&format!("DROP ROLE `{MARKER_ROLE}`")).await;
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
}

#[tokio::test]
async fn a_turn_is_taken_back_and_the_user_whose_turn_it_was_has_its_password_again() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let (previous, current) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let first = alternating(&server, previous, current, None);
    assert_eq!(set(&first).await, Outcome::Done);
    let pending = login("orders", "pw-3");
    let turn = alternating(&server, current, pending, Some(previous));
    assert_eq!(set(&turn).await, Outcome::Done);
    let back = alternating(&server, current, previous, Some(pending));
    for _ in 0..2 {
        assert_eq!(set(&back).await, Outcome::Done);
        for login in [previous, current] {
            assert_eq!(test(&server, login).await, Outcome::Done);
        }
        words(test(&server, pending).await, Kind::OwnershipConflict);
    }
}
