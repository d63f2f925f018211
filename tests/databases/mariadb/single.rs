//! One user, whose password is changed by itself or by an admin.

use keystead::rotation::mysql::{Change, check, discard_old, set, test};
use keystead::rotation::rotator::{Login, Outcome};
use keystead_cluster::MariaDbOptions;

use super::support::{
    Bed, KEEPER, Kind, MARKER_ROLE, administered, alternating, login, single, words,
};

#[tokio::test]
async fn a_user_changes_its_own_password() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    assert_eq!(set(&single(&server, current, pending)).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
    assert_eq!(check(&server, pending).await, Outcome::Done);
    words(check(&server, current).await, Kind::OwnershipConflict);
    // The server's own client agrees about what the password is.
    assert_eq!(
        bed.as_user(pending, "SELECT CURRENT_USER()").await,
        "orders@%"
    );
}

#[tokio::test]
async fn an_admin_that_has_not_all_rights_changes_the_password_of_a_user() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.execute("ALTER USER orders@'%' REQUIRE SSL WITH MAX_USER_CONNECTIONS 7")
        .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let change = administered(&server, current, pending);
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
    words(test(&server, current).await, Kind::OwnershipConflict);
    let account = bed.execute("SHOW CREATE USER orders@'%'").await;
    assert!(
        account.ends_with("REQUIRE SSL WITH MAX_USER_CONNECTIONS 7"),
        "{account}"
    );
    // There is one password, so that none is left to discard.
    assert_eq!(discard_old(&change).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
}

#[tokio::test]
async fn a_change_that_is_repeated_changes_nothing() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    for change in [
        single(&server, current, pending),
        administered(&server, current, pending),
    ] {
        assert_eq!(set(&change).await, Outcome::Done);
        let before = bed.accounts().await;
        assert_eq!(set(&change).await, Outcome::Done);
        assert_eq!(bed.accounts().await, before);
    }
}

#[tokio::test]
async fn a_change_outlives_a_server_that_is_killed_right_after_it() {
    let mut bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let change = single(&server, current, pending);
    assert_eq!(set(&change).await, Outcome::Done);
    bed.database.kill().unwrap();
    words(set(&change).await, Kind::Retry);
    words(check(&server, pending).await, Kind::Retry);
    bed.database.start_again().await.unwrap();
    let before = bed.accounts().await;
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(bed.accounts().await, before);
    bed.database.restart().await.unwrap();
    assert_eq!(check(&server, pending).await, Outcome::Done);
}

#[tokio::test]
async fn a_password_that_somebody_else_changed_is_a_conflict_and_stays() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.execute("ALTER USER orders@'%' IDENTIFIED BY 'pw-of-somebody'")
        .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let before = bed.accounts().await;
    words(check(&server, current).await, Kind::OwnershipConflict);
    for change in [
        single(&server, current, pending),
        administered(&server, current, pending),
        alternating(&server, current, login("orders_clone", "pw-2"), None),
    ] {
        let told = words(set(&change).await, Kind::OwnershipConflict);
        assert!(told.contains("orders"), "{told}");
    }
    assert_eq!(bed.accounts().await, before);
}

#[tokio::test]
async fn a_restored_database_is_set_right_only_by_an_admin_and_for_an_account_with_the_marker() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let (previous, current) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let pending = login("orders", "pw-3");
    let alone = Change {
        previous: Some(previous),
        ..single(&server, current, pending)
    };
    let with_admin = Change {
        previous: Some(previous),
        ..administered(&server, current, pending)
    };
    bed.execute("CREATE ROLE `keystead:00000000000000000000000000000000`; GRANT `keystead:00000000000000000000000000000000` TO orders@'%'")
        .await;
    let before = bed.accounts().await;
    for change in [&alone, &with_admin] {
        let told = words(set(change).await, Kind::OwnershipConflict);
        assert!(told.contains("restored"), "{told}");
    }
    assert_eq!(bed.accounts().await, before);

    bed.execute(&format!(
        "CREATE ROLE `{MARKER_ROLE}`; GRANT `{MARKER_ROLE}` TO orders@'%'"
    ))
    .await;
    words(set(&alone).await, Kind::OwnershipConflict);
    assert_eq!(set(&with_admin).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
}

#[tokio::test]
async fn a_password_may_be_of_any_characters_of_a_text() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let printable: String = (' '..='~').collect();
    let spaces = "  x\u{a0}y\t\r\n ".to_owned();
    let foreign = "пароль🔑\u{ad}ﬁ".to_owned();
    let quotes = "\\' OR ''=''; -- \"`\\".to_owned();
    let mut current = "pw-1".to_owned();
    for next in [printable, spaces, foreign, quotes, "a".repeat(1_000)] {
        let (before, after) = (login("orders", &current), login("orders", &next));
        let change = single(&server, before, after);
        assert_eq!(set(&change).await, Outcome::Done);
        assert_eq!(test(&server, after).await, Outcome::Done);
        words(test(&server, before).await, Kind::OwnershipConflict);
        // The server makes the same of it as we do.
        let bytes = next
            .bytes()
            .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let same = format!(
            "SELECT PASSWORD(CONVERT(X'{bytes}' USING utf8mb4)) = JSON_VALUE(Priv, '$.authentication_string') FROM mysql.global_priv \
             WHERE User = 'orders'"
        );
        assert_eq!(bed.execute(&same).await, "1");
        current = next;
    }
    let bytes = Login {
        user: "orders",
        password: &[0xff, b'x'],
    };
    let change = single(&server, login("orders", &current), bytes);
    let told = words(set(&change).await, Kind::Rejected);
    assert!(told.contains("text"), "{told}");
}

#[tokio::test]
async fn a_user_may_have_any_name_whatever_the_server_takes_for_quotes() {
    for mode in [
        "ANSI_QUOTES,NO_BACKSLASH_ESCAPES",
        "ANSI_QUOTES,PIPES_AS_CONCAT",
    ] {
        let bed = Bed::with(MariaDbOptions {
            settings: vec![("sql-mode".to_owned(), mode.to_owned())],
            ..MariaDbOptions::default()
        })
        .await;
        let server = bed.server();
        for name in [
            "Orders of \"1\"",
            "o'; DROP USER keeper; --",
            "back\\slash'",
            "back\\",
            "`o``s`@`h",
            "a@b",
            "Bestellungen für 1 €",
            " o",
            "%",
        ] {
            let quoted = name.replace('`', "``");
            bed.user(&quoted).await;
            bed.execute(&format!("GRANT SELECT ON shop.stock TO `{quoted}`@`%`"))
                .await;
            let clone = format!("{name}_clone");
            let (one, two) = (login(name, "pw-1"), login(name, "pw-2"));
            let (three, four) = (login(name, "pw-3"), login(&clone, "pw-4"));
            for change in [
                single(&server, one, two),
                administered(&server, two, three),
                alternating(&server, three, four, None),
            ] {
                assert_eq!(set(&change).await, Outcome::Done, "{name}");
            }
            assert_eq!(test(&server, three).await, Outcome::Done, "{name}");
            bed.as_user(four, "SELECT * FROM shop.stock").await;
        }
        assert_eq!(test(&server, KEEPER).await, Outcome::Done);
    }
}

#[tokio::test]
async fn a_password_that_has_expired_is_renewed_by_an_admin() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.execute("ALTER USER orders@'%' PASSWORD EXPIRE").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let told = words(check(&server, current).await, Kind::Rejected);
    assert!(told.contains("expired"), "{told}");
    let before = bed.accounts().await;
    let alone = set(&single(&server, current, pending)).await;
    assert!(words(alone, Kind::Rejected).contains("expired"));
    assert_eq!(bed.accounts().await, before);
    let change = administered(&server, current, pending);
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
}

#[tokio::test]
async fn a_locked_user_is_not_changed() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.execute("ALTER USER orders@'%' ACCOUNT LOCK").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let before = bed.accounts().await;
    for change in [
        single(&server, current, pending),
        administered(&server, current, pending),
        alternating(&server, current, login("orders_clone", "pw-2"), None),
    ] {
        let told = words(set(&change).await, Kind::Rejected);
        assert!(told.contains("locked"), "{told}");
    }
    assert_eq!(bed.accounts().await, before);
}

#[tokio::test]
async fn an_admin_rotates_itself_as_a_single_user() {
    let bed = Bed::new().await;
    let server = bed.server();
    let pending = login("keeper", "pw-2");
    assert_eq!(set(&single(&server, KEEPER, pending)).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
}

#[tokio::test]
async fn a_change_is_taken_back_by_the_same_change_the_other_way_round() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    for change in [single, administered] {
        assert_eq!(set(&change(&server, current, pending)).await, Outcome::Done);
        // What was made to work is who proves that the user is this secret's.
        let back = change(&server, pending, current);
        assert_eq!(set(&back).await, Outcome::Done);
        assert_eq!(test(&server, current).await, Outcome::Done);
        words(test(&server, pending).await, Kind::OwnershipConflict);
        // It is so already, also where nothing had been changed yet.
        assert_eq!(set(&back).await, Outcome::Done);
    }
}
