//! One user, whose password is changed by itself or by an admin.

use keystead::rotation::mysql::{discard_old, set, test};
use keystead::rotation::rotator::Outcome;

use super::support::{Bed, Kind, administered, login, single, words};

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
async fn the_server_makes_the_same_of_a_password() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let mut current = "pw-1".to_owned();
    for next in ["  x\u{a0}y\t\r\n ", "пароль🔑\u{ad}ﬁ", &"a".repeat(1_000)] {
        let change = single(&server, login("orders", &current), login("orders", next));
        assert_eq!(set(&change).await, Outcome::Done);
        assert_eq!(test(&server, change.pending).await, Outcome::Done);
        let bytes = next
            .bytes()
            .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let same = format!(
            "SELECT PASSWORD(CONVERT(X'{bytes}' USING utf8mb4)) = JSON_VALUE(Priv, '$.authentication_string') FROM mysql.global_priv \
             WHERE User = 'orders'"
        );
        assert_eq!(bed.execute(&same).await, "1");
        next.clone_into(&mut current);
    }
}

#[tokio::test]
async fn a_name_may_begin_with_a_space() {
    let bed = Bed::new().await;
    bed.user(" o").await;
    let server = bed.server();
    let change = single(&server, login(" o", "pw-1"), login(" o", "pw-2"));
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(test(&server, change.pending).await, Outcome::Done);
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
