//! One user, whose password is changed by itself or by an admin.

use keystead::rotation::mysql::{check, discard_old, set, test};
use keystead::rotation::rotator::Outcome;

use super::support::{Bed, Kind, administered, login, single, words};
use crate::changes::after_a_restore;

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
async fn a_change_that_ends_as_a_conflict_tries_six_wrong_passwords_and_no_more() {
    for (blocked_at, expected) in [(7, Kind::OwnershipConflict), (6, Kind::Rejected)] {
        let bed = Bed::new().await;
        bed.execute(&format!(
            "CREATE USER orders@'%' IDENTIFIED BY 'pw-of-somebody' FAILED_LOGIN_ATTEMPTS {blocked_at} PASSWORD_LOCK_TIME 1"
        ))
        .await;
        let server = bed.server();
        let [alone, _] = after_a_restore(&server);
        words(set(&alone).await, expected);
        let works = test(&server, login("orders", "pw-of-somebody")).await;
        assert_eq!(
            works == Outcome::Done,
            expected == Kind::OwnershipConflict,
            "{works:?}"
        );
    }
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
