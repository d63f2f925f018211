//! The end of passwords that nobody uses any more.

use keystead::rotation::redis::{Change, retire, set, test};
use keystead::rotation::rotator::Outcome;
use keystead_cluster::RedisUsers;

use super::support::{Bed, KEEPER, Kind, administered, alternating, login, single, words};

#[tokio::test]
async fn the_password_before_ends_when_it_is_retired_and_those_of_others_stay() {
    for users in [RedisUsers::File, RedisUsers::Configuration] {
        let mut bed = Bed::keeping(users).await;
        for user in ["orders", "stock"] {
            bed.user(user).await;
            bed.execute(&format!("ACL SETUSER {user} >pw-of-somebody"))
                .await;
        }
        bed.independent("orders").await;
        let server = bed.server();
        let ways = [
            ("orders", single as fn(_, _, _) -> _),
            ("stock", administered),
        ];
        for (user, change) in ways {
            let (before, now) = (login(user, "pw-1"), login(user, "pw-2"));
            let change: Change = change(&server, before, now);
            assert_eq!(set(&change).await, Outcome::Done);
            for _ in 0..2 {
                assert_eq!(retire(&change).await, Outcome::Done);
                words(test(&server, before).await, Kind::OwnershipConflict);
                assert_eq!(test(&server, now).await, Outcome::Done);
            }
            assert_eq!(bed.passwords(user).await, 2);
        }
        bed.redis.kill().unwrap();
        bed.redis.start_again().await.unwrap();
        for (user, _) in ways {
            words(
                test(&server, login(user, "pw-1")).await,
                Kind::OwnershipConflict,
            );
            for password in ["pw-2", "pw-of-somebody"] {
                assert_eq!(test(&server, login(user, password)).await, Outcome::Done);
            }
        }
    }
}

#[tokio::test]
async fn it_is_retired_by_the_versions_that_there_are_after_the_rotation_too() {
    let bed = Bed::new().await;
    bed.user("stock").await;
    let server = bed.server();
    let (before, now) = (login("stock", "pw-1"), login("stock", "pw-2"));
    assert_eq!(
        set(&administered(&server, before, now)).await,
        Outcome::Done
    );
    let after = Change {
        previous: Some(before),
        ..administered(&server, now, now)
    };
    assert_eq!(retire(&after).await, Outcome::Done);
    words(test(&server, before).await, Kind::OwnershipConflict);
    assert_eq!(test(&server, now).await, Outcome::Done);
}

#[tokio::test]
async fn a_change_that_was_taken_back_leaves_nothing_that_logs_in() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.independent("orders").await;
    bed.user("stock").await;
    let server = bed.server();
    for (user, change) in [
        ("orders", single as fn(_, _, _) -> _),
        ("stock", administered),
    ] {
        let (current, given_up) = (login(user, "pw-1"), login(user, "pw-2"));
        assert_eq!(
            set(&change(&server, current, given_up)).await,
            Outcome::Done
        );
        let back = change(&server, given_up, current);
        assert_eq!(set(&back).await, Outcome::Done);
        assert_eq!(retire(&back).await, Outcome::Done);
        words(test(&server, given_up).await, Kind::OwnershipConflict);
        assert_eq!(test(&server, current).await, Outcome::Done);
    }
}

#[tokio::test]
async fn nothing_is_retired_before_what_stays_is_there() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.independent("orders").await;
    bed.user("stock").await;
    let server = bed.server();
    let before = bed.users().await;
    for change in [
        single(&server, login("orders", "pw-1"), login("orders", "pw-2")),
        administered(&server, login("stock", "pw-1"), login("stock", "pw-2")),
    ] {
        words(retire(&change).await, Kind::OwnershipConflict);
    }
    assert_eq!(bed.users().await, before);
}

#[tokio::test]
async fn two_users_have_nothing_to_retire() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let change = alternating(&server, current, pending, None);
    assert_eq!(set(&change).await, Outcome::Done);
    let before = bed.users().await;
    assert_eq!(retire(&change).await, Outcome::Done);
    assert_eq!(bed.users().await, before);
}

#[tokio::test]
async fn an_admin_retires_nothing_of_whom_it_would_not_change() {
    let bed = Bed::new().await;
    bed.user("boss").await;
    bed.execute("ACL SETUSER boss >pw-2 +acl|setuser").await;
    let server = bed.server();
    let before = bed.users().await;
    for (current, pending) in [
        (login("boss", "pw-1"), login("boss", "pw-2")),
        (login("keeper", "pw-1"), KEEPER),
        (login("default", "pw-1"), login("default", "pw-2")),
        (login("nobody", "pw-1"), login("nobody", "pw-2")),
    ] {
        let told = words(
            retire(&administered(&server, current, pending)).await,
            Kind::Rejected,
        );
        assert!(told.contains(pending.user), "{told}");
    }
    assert_eq!(bed.users().await, before);
}
