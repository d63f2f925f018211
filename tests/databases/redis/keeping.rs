//! What a server knows when it starts again.

use std::fs;

use keystead::rotation::redis::{set, test};
use keystead::rotation::rotator::Outcome;
use keystead_cluster::RedisUsers;

use super::support::{Bed, Kind, USUAL, administered, alternating, login, single, words};

#[tokio::test]
async fn a_change_outlives_a_server_that_is_killed_right_after_it() {
    for users in [RedisUsers::File, RedisUsers::Configuration] {
        let mut bed = Bed::keeping(users).await;
        for user in ["itself", "orders", "stock"] {
            bed.user(user).await;
        }
        bed.independent("itself").await;
        let server = bed.server();
        let changes = [
            single(&server, login("itself", "pw-1"), login("itself", "pw-2")),
            administered(&server, login("orders", "pw-1"), login("orders", "pw-2")),
            alternating(
                &server,
                login("stock", "pw-1"),
                login("stock_clone", "pw-2"),
                None,
            ),
        ];
        for change in &changes {
            assert_eq!(set(change).await, Outcome::Done, "{users:?}");
        }
        let before = bed.users().await;
        bed.redis.kill().unwrap();
        for change in &changes {
            words(set(change).await, Kind::Retry);
            words(test(&server, change.pending).await, Kind::Retry);
        }
        bed.redis.start_again().await.unwrap();
        assert_eq!(bed.users().await, before, "{users:?}");
        for change in &changes {
            for login in [change.current, change.pending] {
                assert_eq!(test(&server, login).await, Outcome::Done, "{users:?}");
            }
            assert_eq!(set(change).await, Outcome::Done, "{users:?}");
        }
        bed.redis.restart().await.unwrap();
        assert_eq!(bed.users().await, before, "{users:?}");
    }
}

#[tokio::test]
async fn a_change_that_was_made_and_not_saved_is_saved_by_the_next_attempt() {
    for users in [RedisUsers::File, RedisUsers::Configuration] {
        let mut bed = Bed::keeping(users).await;
        for user in ["itself", "orders", "stock"] {
            bed.user(user).await;
        }
        bed.independent("itself").await;
        // As it is when somebody is killed between the change and the saving.
        bed.execute("ACL SETUSER itself >pw-2\nACL SETUSER orders >pw-2")
            .await;
        bed.execute(&format!("ACL SETUSER stock_clone on >pw-2 {USUAL}"))
            .await;
        let server = bed.server();
        let changes = [
            single(&server, login("itself", "pw-1"), login("itself", "pw-2")),
            administered(&server, login("orders", "pw-1"), login("orders", "pw-2")),
            alternating(
                &server,
                login("stock", "pw-1"),
                login("stock_clone", "pw-2"),
                None,
            ),
        ];
        let before = bed.users().await;
        for change in &changes {
            assert_eq!(set(change).await, Outcome::Done, "{users:?}");
        }
        assert_eq!(bed.users().await, before, "{users:?}");
        bed.redis.kill().unwrap();
        bed.redis.start_again().await.unwrap();
        for change in &changes {
            assert_eq!(
                test(&server, change.pending).await,
                Outcome::Done,
                "{users:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_server_that_keeps_users_nowhere_is_refused_and_left_alone() {
    let bed = Bed::keeping(RedisUsers::Nowhere).await;
    bed.user("orders").await;
    bed.user("itself").await;
    bed.independent("itself").await;
    let server = bed.server();
    let orders = login("orders", "pw-1");
    let before = bed.users().await;
    for change in [
        single(&server, login("itself", "pw-1"), login("itself", "pw-2")),
        administered(&server, orders, login("orders", "pw-2")),
        alternating(&server, orders, login("orders_clone", "pw-2"), None),
    ] {
        let told = words(set(&change).await, Kind::Rejected);
        assert!(told.contains("aclfile"), "{told}");
    }
    assert_eq!(bed.users().await, before);
    // It is no matter of a login.
    assert_eq!(test(&server, orders).await, Outcome::Done);
}

#[tokio::test]
async fn a_server_that_cannot_save_is_found_out_before_anything_is_changed() {
    for users in [RedisUsers::File, RedisUsers::Configuration] {
        let bed = Bed::keeping(users).await;
        bed.user("orders").await;
        let server = bed.server();
        let orders = login("orders", "pw-1");
        let file = match users {
            RedisUsers::File => "users.acl",
            _ => "redis.conf",
        };
        // Nobody can write there, not even root.
        let file = bed.redis.folder().join(file);
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        let before = bed.users().await;
        for change in [
            administered(&server, orders, login("orders", "pw-2")),
            alternating(&server, orders, login("orders_clone", "pw-2"), None),
        ] {
            let told = words(set(&change).await, Kind::Rejected);
            assert!(told.contains("not writable"), "{told}");
        }
        assert_eq!(bed.users().await, before, "{users:?}");
        // What is true in memory is not yet true: it has to be saved, too.
        bed.execute("ACL SETUSER orders >pw-2").await;
        let change = administered(&server, orders, login("orders", "pw-2"));
        let told = words(set(&change).await, Kind::Retry);
        assert!(told.contains("not writable"), "{told}");
        fs::remove_dir(&file).unwrap();
        if users == RedisUsers::Configuration {
            // It is read before it is written.
            fs::write(&file, "").unwrap();
        }
        assert_eq!(set(&change).await, Outcome::Done, "{users:?}");
    }
}

#[tokio::test]
async fn a_configuration_that_the_server_could_not_read_again_is_not_written() {
    let mut bed = Bed::keeping(RedisUsers::Configuration).await;
    bed.user("orders").await;
    bed.execute("CONFIG REWRITE\nACL SETUSER other on >pw-1 ~it's:*")
        .await;
    let server = bed.server();
    let orders = login("orders", "pw-1");
    let before = bed.users().await;
    for change in [
        administered(&server, orders, login("orders", "pw-2")),
        alternating(&server, orders, login("orders_clone", "pw-2"), None),
    ] {
        let told = words(set(&change).await, Kind::Rejected);
        assert!(told.contains("quote"), "{told}");
    }
    assert_eq!(bed.users().await, before);
    bed.redis.restart().await.unwrap();
    assert_eq!(test(&server, orders).await, Outcome::Done);
}

#[tokio::test]
async fn quotes_are_no_matter_in_a_file_of_users() {
    let mut bed = Bed::new().await;
    bed.user("orders").await;
    bed.execute("ACL SETUSER orders ~it's:*").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let change = alternating(&server, current, pending, None);
    assert_eq!(set(&change).await, Outcome::Done);
    let before = bed.users().await;
    bed.redis.restart().await.unwrap();
    assert_eq!(bed.users().await, before);
}

#[tokio::test]
async fn an_admin_needs_two_more_rights_where_there_is_no_file_of_users() {
    let bed = Bed::keeping(RedisUsers::Configuration).await;
    bed.user("orders").await;
    let server = bed.server();
    let change = administered(&server, login("orders", "pw-1"), login("orders", "pw-2"));
    for right in ["acl|list", "config|rewrite"] {
        bed.execute(&format!("ACL SETUSER keeper -{right}")).await;
        let before = bed.users().await;
        let told = words(set(&change).await, Kind::Rejected);
        assert!(told.contains(&format!("+{right}")), "{told}");
        assert_eq!(bed.users().await, before);
        bed.execute(&format!("ACL SETUSER keeper +{right}")).await;
    }
    assert_eq!(set(&change).await, Outcome::Done);
}
