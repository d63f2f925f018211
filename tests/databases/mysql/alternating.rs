//! Two users in turn.

use keystead::rotation::mysql::{discard_old, set, test};
use keystead::rotation::rotator::Outcome;

use super::support::{Bed, Kind, MARKER, alternating, login, words};

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
        for _ in 0..2 {
            assert_eq!(set(&change).await, Outcome::Done, "{round}");
        }
        for login in [pending, current] {
            assert_eq!(test(&server, login).await, Outcome::Done, "{round}");
            assert!(!bed.has_two(login.user).await, "{round}");
        }
        if let Some(previous) = previous {
            words(test(&server, previous).await, Kind::OwnershipConflict);
        }
        assert_eq!(discard_old(&change).await, Outcome::Done);
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
    let bed = Bed::with(&[("log-bin-trust-function-creators", "ON")]).await;
    bed.execute(
        "CREATE DATABASE `of ``1```; CREATE TABLE shop.wide (n int, `m m` int); \
         CREATE ROLE app, inner_role, 'role of'@'10.%'; GRANT inner_role TO app; GRANT SELECT ON `of ``1```.* TO inner_role; \
         CREATE PROCEDURE shop.p() SELECT 1; CREATE FUNCTION shop.f() RETURNS int RETURN 1; \
         CREATE USER orders@'%' IDENTIFIED BY 'pw-1' REQUIRE SSL WITH MAX_USER_CONNECTIONS 7 MAX_QUERIES_PER_HOUR 9000; \
         GRANT PROCESS, SHOW_ROUTINE ON *.* TO orders@'%'; GRANT ALL ON `sh\\_p`.* TO orders@'%'; \
         GRANT SELECT, DELETE ON `of ``1```.* TO orders@'%' WITH GRANT OPTION; \
         GRANT SELECT, INSERT (`m m`, n) ON shop.wide TO orders@'%'; GRANT EXECUTE ON PROCEDURE shop.p TO orders@'%'; \
         GRANT EXECUTE ON FUNCTION shop.f TO orders@'%'; GRANT app, 'role of'@'10.%' TO orders@'%'; \
         SET DEFAULT ROLE app, 'role of'@'10.%' TO orders@'%'; \
         GRANT PROCESS, SHOW_ROUTINE ON *.* TO keeper@'%' WITH GRANT OPTION; GRANT ALL ON `sh\\_p`.* TO keeper@'%' WITH GRANT OPTION; \
         GRANT ALL ON `of ``1```.* TO keeper@'%' WITH GRANT OPTION; GRANT app, 'role of'@'10.%' TO keeper@'%' WITH ADMIN OPTION; \
         GRANT UPDATE ON mysql.* TO keeper@'%'",
    )
    .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let change = alternating(&server, current, pending, None);
    assert_eq!(set(&change).await, Outcome::Done);
    let made = bed.grants("orders_clone").await;
    assert_eq!(
        made.replace("orders_clone", "orders"),
        bed.grants("orders").await
    );
    let account = bed.account("orders_clone").await;
    for part in [
        "DEFAULT ROLE `app`@`%`,`role of`@`10.%`",
        "REQUIRE SSL WITH MAX_QUERIES_PER_HOUR 9000 MAX_USER_CONNECTIONS 7",
        "ACCOUNT UNLOCK",
        &format!("ATTRIBUTE '{{\"keystead\": \"{MARKER}\"}}'"),
    ] {
        assert!(account.contains(part), "{part}: {account}");
    }
    let acting = "SELECT CURRENT_ROLE(); CALL shop.p()";
    assert_eq!(
        bed.as_user(pending, acting).await,
        bed.as_user(current, acting).await
    );
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
         GRANT UPDATE ON shop.* TO orders_clone@'%'",
    )
    .await;
    // The first one's turn: it gets nothing of the second one's.
    let change = alternating(&server, two, three, Some(one));
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(
        bed.grants("orders").await,
        "GRANT USAGE ON *.* TO `orders`@`%`\nGRANT SELECT, DELETE ON `shop`.* TO `orders`@`%`"
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
    bed.execute(
        "CREATE USER orders_clone@'%' IDENTIFIED BY 'pw-1' ATTRIBUTE '{\"keystead\": \"keystead: shop/another\"}'",
    )
    .await;
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
async fn a_second_user_whose_rights_the_admin_cannot_give_does_not_log_in_until_it_can() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.execute(
        "CREATE DATABASE other; GRANT SELECT ON shop.* TO orders@'%'; GRANT SELECT ON other.* TO orders@'%'; CREATE ROLE app; \
         GRANT app TO orders@'%'",
    )
    .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let change = alternating(&server, current, pending, None);
    for missing in [
        "GRANT SELECT ON other.* TO keeper@'%' WITH GRANT OPTION",
        "GRANT app TO keeper@'%' WITH ADMIN OPTION",
    ] {
        let told = words(set(&change).await, Kind::Rejected);
        assert!(told.contains("GRANT OPTION"), "{told}");
        let told = words(test(&server, pending).await, Kind::Rejected);
        assert!(told.contains("locked"), "{told}");
        bed.execute(missing).await;
    }
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
    let grants = bed.grants("orders_clone").await;
    assert!(
        grants.contains("`other`.*") && grants.contains("`app`@`%`"),
        "{grants}"
    );
}

#[tokio::test]
async fn a_second_user_is_made_for_the_first_ones_host() {
    let bed = Bed::new().await;
    bed.execute("CREATE USER orders@'127.0.0.0/255.0.0.0' IDENTIFIED BY 'pw-1'")
        .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let change = alternating(&server, current, pending, None);
    assert_eq!(set(&change).await, Outcome::Done);
    let host = "SELECT Host FROM mysql.user WHERE User = 'orders_clone'";
    assert_eq!(bed.execute(host).await, "127.0.0.0/255.0.0.0");
    assert_eq!(test(&server, pending).await, Outcome::Done);
}

#[tokio::test]
async fn names_of_32_characters_are_the_longest() {
    let bed = Bed::new().await;
    let server = bed.server();
    let fits = "o".repeat(26);
    bed.user(&fits).await;
    let clone = format!("{fits}_clone");
    let change = alternating(&server, login(&fits, "pw-1"), login(&clone, "pw-2"), None);
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(test(&server, change.pending).await, Outcome::Done);
    let long = "p".repeat(27);
    bed.user(&long).await;
    let clone = format!("{long}_clone");
    let change = alternating(&server, login(&long, "pw-1"), login(&clone, "pw-2"), None);
    let told = words(set(&change).await, Kind::Rejected);
    assert!(told.contains("32"), "{told}");
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
