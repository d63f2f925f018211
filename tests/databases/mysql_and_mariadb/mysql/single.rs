//! One user, whose password is changed by itself or by an admin.

use keystead::rotation::mysql::{Change, check, discard_old, set, test};
use keystead::rotation::rotator::{Login, Outcome};

use super::support::{Bed, Kind, MARKER, administered, login, single, words};

#[tokio::test]
async fn an_account_keeps_all_else_when_its_password_is_changed() {
    let bed = Bed::new().await;
    bed.execute(
        "CREATE ROLE app; CREATE USER orders@'%' IDENTIFIED BY 'pw-1' DEFAULT ROLE app REQUIRE SSL WITH MAX_USER_CONNECTIONS 7 \
         PASSWORD EXPIRE INTERVAL 9 DAY PASSWORD HISTORY 3 FAILED_LOGIN_ATTEMPTS 5 PASSWORD_LOCK_TIME 2 COMMENT 'it''s \"ours\"'",
    )
    .await;
    let server = bed.server();
    let without_verifier = |account: String| {
        let (before, rest) = account.split_once(" AS ").unwrap();
        let (_, after) = rest.split_once(" DEFAULT ROLE ").unwrap();
        format!("{before} {after}")
    };
    let account = without_verifier(bed.account("orders").await);
    let (one, two) = (login("orders", "pw-1"), login("orders", "pw-2"));
    for change in [
        single(&server, one, two),
        administered(&server, two, login("orders", "pw-3")),
    ] {
        assert_eq!(set(&change).await, Outcome::Done);
        assert_eq!(test(&server, change.pending).await, Outcome::Done);
        assert_eq!(without_verifier(bed.account("orders").await), account);
    }
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
    bed.execute(
        "ALTER USER orders@'%' ATTRIBUTE '{\"keystead\": \"keystead: shop/another\", \"team\": \"a\"}'",
    )
    .await;
    let before = bed.accounts().await;
    for change in [&alone, &with_admin] {
        let told = words(set(change).await, Kind::OwnershipConflict);
        assert!(told.contains("restored"), "{told}");
    }
    assert_eq!(bed.accounts().await, before);

    bed.execute(&format!(
        "ALTER USER orders@'%' ATTRIBUTE '{{\"keystead\": \"{MARKER}\"}}'"
    ))
    .await;
    words(set(&alone).await, Kind::OwnershipConflict);
    assert_eq!(set(&with_admin).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
    assert!(bed.account("orders").await.contains("\"team\": \"a\""));
}

#[tokio::test]
async fn a_password_may_be_of_any_characters_of_a_text() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let printable: String = (' '..='~').collect();
    let foreign = "пароль🔑\u{ad}ﬁ".to_owned();
    let quotes = "\\' OR ''=''; -- \"`\\".to_owned();
    let mut current = "pw-1".to_owned();
    for (number, next) in [printable, foreign, quotes, "a".repeat(250)]
        .iter()
        .enumerate()
    {
        for (by_admin, next) in [(false, format!("{next}{number}")), (true, next.clone())] {
            let (before, after) = (login("orders", &current), login("orders", &next));
            let change = if by_admin {
                administered(&server, before, after)
            } else {
                single(&server, before, after)
            };
            assert_eq!(set(&change).await, Outcome::Done, "{next}");
            assert_eq!(test(&server, after).await, Outcome::Done, "{next}");
            assert_eq!(discard_old(&change).await, Outcome::Done, "{next}");
            words(test(&server, before).await, Kind::OwnershipConflict);
            bed.as_user(after, "SELECT 1").await;
            current = next;
        }
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
async fn an_account_that_is_blocked_after_wrong_passwords_is_told_as_that_and_left_alone() {
    let bed = Bed::new().await;
    bed.execute(
        "CREATE USER orders@'%' IDENTIFIED BY 'pw-1' FAILED_LOGIN_ATTEMPTS 2 PASSWORD_LOCK_TIME 1",
    )
    .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    // One wrong password for each change: what is looked at next is right, and the server begins to count anew.
    for change in [
        administered(&server, current, pending),
        administered(&server, pending, current),
    ] {
        assert_eq!(set(&change).await, Outcome::Done);
        assert_eq!(discard_old(&change).await, Outcome::Done);
    }
    for _ in 0..2 {
        let wrong = login("orders", "pw-of-somebody");
        assert!(bed.try_as_user(wrong, "SELECT 1").await.is_err());
    }
    let before = bed.accounts().await;
    let told = words(check(&server, current).await, Kind::Rejected);
    assert!(told.contains("too many wrong passwords"), "{told}");
    let change = administered(&server, current, pending);
    words(set(&change).await, Kind::Rejected);
    assert_eq!(bed.accounts().await, before);
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
    }
}
