//! Two passwords of one account: the one before works on until nobody uses it any more.

use keystead::rotation::mysql::{discard_old, set, test};
use keystead::rotation::rotator::Outcome;

use super::support::{Bed, Kind, administered, alternating, login, single, words};

#[tokio::test]
async fn the_password_before_works_until_it_is_discarded() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let versions = ["pw-1", "pw-2", "pw-3", "pw-4"].map(|password| login("orders", password));
    for pair in versions.windows(2) {
        let change = administered(&server, pair[0], pair[1]);
        assert_eq!(set(&change).await, Outcome::Done);
        for login in pair {
            assert_eq!(test(&server, *login).await, Outcome::Done);
            bed.as_user(*login, "SELECT 1").await;
        }
        for _ in 0..2 {
            assert_eq!(discard_old(&change).await, Outcome::Done);
        }
        words(test(&server, pair[0]).await, Kind::OwnershipConflict);
        assert_eq!(test(&server, pair[1]).await, Outcome::Done);
        assert!(!bed.has_two("orders").await);
    }
}

#[tokio::test]
async fn a_change_that_is_repeated_changes_nothing_of_either_password() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let change = administered(&server, current, pending);
    assert_eq!(set(&change).await, Outcome::Done);
    let before = bed.accounts().await;
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(bed.accounts().await, before);
}

#[tokio::test]
async fn the_current_password_stays_where_a_change_was_begun_and_given_up() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let current = login("orders", "pw-1");
    let given_up = administered(&server, current, login("orders", "pw-dropped"));
    assert_eq!(set(&given_up).await, Outcome::Done);
    let pending = login("orders", "pw-2");
    let change = administered(&server, current, pending);
    assert_eq!(set(&change).await, Outcome::Done);
    for login in [current, pending] {
        assert_eq!(test(&server, login).await, Outcome::Done);
    }
    words(
        test(&server, given_up.pending).await,
        Kind::OwnershipConflict,
    );
    assert_eq!(discard_old(&change).await, Outcome::Done);
    words(test(&server, current).await, Kind::OwnershipConflict);
    assert_eq!(test(&server, pending).await, Outcome::Done);
}

#[tokio::test]
async fn nothing_is_discarded_that_is_not_the_password_before() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let change = administered(&server, current, pending);
    // Before the change there is nothing that could stay.
    words(discard_old(&change).await, Kind::OwnershipConflict);
    assert_eq!(test(&server, current).await, Outcome::Done);
    assert_eq!(set(&change).await, Outcome::Done);
    // Somebody else made another password the first one, and kept ours beside it.
    bed.execute("ALTER USER orders@'%' IDENTIFIED BY 'pw-of-somebody' RETAIN CURRENT PASSWORD")
        .await;
    let before = bed.accounts().await;
    let told = words(discard_old(&change).await, Kind::OwnershipConflict);
    assert!(told.contains("somebody else"), "{told}");
    assert_eq!(bed.accounts().await, before);
}

#[tokio::test]
async fn an_account_whose_password_has_expired_keeps_it_beside_the_new_one() {
    let bed = Bed::new().await;
    let server = bed.server();
    bed.execute("CREATE USER orders@'%' IDENTIFIED BY 'pw-1' PASSWORD EXPIRE")
        .await;
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let change = administered(&server, current, pending);
    assert_eq!(set(&change).await, Outcome::Done);
    for login in [current, pending] {
        assert_eq!(test(&server, login).await, Outcome::Done);
    }
    assert_eq!(discard_old(&change).await, Outcome::Done);
    assert!(!bed.has_two("orders").await);
}

#[tokio::test]
async fn a_user_that_changes_itself_has_one_password() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let change = single(&server, login("orders", "pw-1"), login("orders", "pw-2"));
    assert_eq!(set(&change).await, Outcome::Done);
    assert!(!bed.has_two("orders").await);
    assert_eq!(test(&server, change.pending).await, Outcome::Done);
    words(test(&server, change.current).await, Kind::OwnershipConflict);
}

#[tokio::test]
async fn two_users_have_one_password_each() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let (one, two) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let first = alternating(&server, one, two, None);
    let second = alternating(&server, two, login("orders", "pw-3"), Some(one));
    for change in [first, second] {
        assert_eq!(set(&change).await, Outcome::Done);
        assert_eq!(discard_old(&change).await, Outcome::Done);
        for user in ["orders", "orders_clone"] {
            assert!(!bed.has_two(user).await);
        }
    }
    words(test(&server, one).await, Kind::OwnershipConflict);
}
