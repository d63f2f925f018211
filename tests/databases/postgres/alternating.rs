//! Two users in turn.

use keystead::rotation::postgres::{Admin, Change, Server, set, test};
use keystead::rotation::rotator::Outcome;

use super::support::{Bed, Kind, MARKER, alternating, keeper, login, single, words};

#[tokio::test]
async fn two_users_take_turns_and_the_one_before_works_on() {
    let bed = Bed::new().await;
    bed.role("orders").await;
    bed.execute(
        "CREATE SCHEMA shop AUTHORIZATION orders; CREATE TABLE stock (n int); \
         GRANT SELECT, INSERT ON stock TO orders",
    )
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
        let tables = [current, pending].map(|by| format!("shop.by_{}_{round}", by.user));
        for (by, table) in [current, pending].into_iter().zip(&tables) {
            let make = "INSERT INTO stock SELECT count(*) FROM stock; CREATE TABLE";
            bed.as_user(by, &format!("{make} {table} (n int)")).await;
        }
        for (by, table) in [pending, current].into_iter().zip(&tables) {
            let change = format!("INSERT INTO {table} VALUES (1); ALTER TABLE {table} ADD m int");
            bed.as_user(by, &change).await;
        }
    }
    let owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'shop'";
    assert_eq!(bed.execute(owners).await, "orders");
}

#[tokio::test]
async fn the_second_user_is_made_with_the_marker_and_all_that_the_first_one_has() {
    let bed = Bed::new().await;
    bed.role("orders").await;
    bed.execute(
        "ALTER ROLE orders CONNECTION LIMIT 7 VALID UNTIL '2100-01-01'; \
         ALTER ROLE orders SET search_path = \"$user\", 'Shop of \"1\"', public; \
         ALTER ROLE orders SET work_mem = '7MB'; \
         ALTER ROLE orders SET app.tenant = E'it''s = \\\\ one'; \
         ALTER ROLE orders IN DATABASE postgres SET \"TimeZone\" = 'Europe/Berlin'",
    )
    .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    // Settings of extensions are not every admin's to give.
    let (superuser, password) = bed.postgres.superuser();
    let admin = Admin {
        login: login(superuser, password),
        ..keeper()
    };
    let change = Change {
        admin: Some(admin),
        ..alternating(&server, current, pending, None)
    };
    assert_eq!(set(&change).await, Outcome::Done);
    let role = bed
        .execute(
            "SELECT rolcanlogin, rolinherit, rolsuper, rolconnlimit, rolvaliduntil, shobj_description(oid, 'pg_authid') \
             FROM pg_authid WHERE rolname = 'orders_clone'",
        )
        .await;
    assert_eq!(role, format!("t|t|f|7||{MARKER}"));
    let settings = |role: &str| {
        format!(
            "SELECT setdatabase, unnest(setconfig) FROM pg_db_role_setting WHERE setrole = '{role}'::regrole ORDER BY 1, 2"
        )
    };
    let (first, second) = (
        bed.execute(&settings("orders")).await,
        bed.execute(&settings("orders_clone")).await,
    );
    assert_eq!(second.replace("0|role=orders\n", ""), first);
    let acting = bed
        .as_user(
            pending,
            "SELECT current_user, session_user, current_setting('search_path')",
        )
        .await;
    assert_eq!(
        acting,
        r#"orders|orders_clone|"$user", "Shop of ""1""", public"#
    );
}

#[tokio::test]
async fn a_first_user_that_acts_as_another_has_a_clone_that_does_so_too() {
    let bed = Bed::new().await;
    bed.role("orders").await;
    bed.execute("CREATE ROLE app; GRANT app TO orders; ALTER ROLE orders SET role = app")
        .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let change = alternating(&server, current, pending, None);
    assert_eq!(set(&change).await, Outcome::Done);
    let acting = bed.as_user(pending, "SELECT current_user").await;
    assert_eq!(acting, "app");
}

#[tokio::test]
async fn a_second_user_with_the_marker_gets_a_password_whatever_it_had() {
    let bed = Bed::new().await;
    bed.role("orders").await;
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
    bed.role("orders").await;
    bed.role("orders_clone").await;
    bed.execute("COMMENT ON ROLE orders_clone IS 'for reports'")
        .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let before = bed.roles().await;
    for previous in [None, Some(login("orders_clone", "pw-0"))] {
        let change = alternating(&server, current, pending, previous);
        let told = words(set(&change).await, Kind::OwnershipConflict);
        assert!(told.contains("orders_clone"), "{told}");
    }
    assert_eq!(bed.roles().await, before);
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
async fn a_current_user_that_does_not_log_in_has_no_second_one_made() {
    let bed = Bed::new().await;
    bed.role("orders").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-0"), login("orders_clone", "pw-2"));
    let before = bed.roles().await;
    let change = alternating(&server, current, pending, None);
    words(set(&change).await, Kind::OwnershipConflict);
    assert_eq!(bed.roles().await, before);
}

#[tokio::test]
async fn a_second_user_that_may_not_log_in_gets_no_password() {
    let bed = Bed::new().await;
    bed.role("orders").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let first = alternating(&server, current, pending, None);
    assert_eq!(set(&first).await, Outcome::Done);
    for bar in ["NOLOGIN", "LOGIN VALID UNTIL '2020-01-01'"] {
        bed.execute(&format!("ALTER ROLE orders_clone {bar}")).await;
        let before = bed.roles().await;
        let next = alternating(&server, current, login("orders_clone", "pw-3"), None);
        let told = words(set(&next).await, Kind::Rejected);
        assert!(told.contains("VALID UNTIL"), "{told}");
        assert_eq!(bed.roles().await, before);
    }
}

#[tokio::test]
async fn a_first_user_that_is_gone_is_not_made_anew() {
    let bed = Bed::new().await;
    bed.role("orders_clone").await;
    let server = bed.server();
    let (current, pending) = (login("orders_clone", "pw-1"), login("orders", "pw-2"));
    let change = alternating(&server, current, pending, Some(login("orders", "pw-0")));
    let told = words(set(&change).await, Kind::Rejected);
    assert!(told.contains("no role `orders`"), "{told}");
}

#[tokio::test]
async fn two_users_that_cannot_be_are_refused() {
    let bed = Bed::new().await;
    let long = "o".repeat(60);
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
        single(&nowhere, current, clone),
    ] {
        words(set(&change).await, Kind::Rejected);
    }
}

#[tokio::test]
async fn a_setting_that_the_admin_must_not_give_is_named_and_nothing_is_made() {
    let bed = Bed::new().await;
    bed.role("orders").await;
    bed.execute("ALTER ROLE orders SET log_statement = 'none'")
        .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let before = bed.roles().await;
    let change = alternating(&server, current, pending, None);
    let told = words(set(&change).await, Kind::Rejected);
    assert!(told.contains("log_statement"), "{told}");
    assert_eq!(bed.roles().await, before);
}

#[tokio::test]
async fn a_turn_is_taken_back_and_the_user_whose_turn_it_was_has_its_password_again() {
    let bed = Bed::new().await;
    bed.role("orders").await;
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
