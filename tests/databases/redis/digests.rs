//! What the server, its files and its logs get to see of a password.

use std::fs;

use keystead::rotation::redis::{retire, set, test};
use keystead::rotation::rotator::Outcome;
use keystead_cluster::{RedisOptions, RedisUsers};

use super::support::{Bed, administered, alternating, login, single};

#[tokio::test]
async fn only_a_digest_leaves_the_operator_but_for_logins() {
    for (users, file) in [
        (RedisUsers::File, "users.acl"),
        (RedisUsers::Configuration, "redis.conf"),
    ] {
        let bed = Bed::with(RedisOptions {
            users,
            settings: vec![("loglevel".to_owned(), "debug".to_owned())],
            ..RedisOptions::default()
        })
        .await;
        bed.user("itself").await;
        bed.independent("itself").await;
        bed.user("orders").await;
        let server = bed.server();
        // All commands are slow ones now.
        bed.execute("CONFIG SET slowlog-log-slower-than 0\nSLOWLOG RESET")
            .await;
        let orders = login("orders", "pw-1");
        let next = login("orders", "pw-secret-2");
        for change in [
            single(
                &server,
                login("itself", "pw-1"),
                login("itself", "pw-secret-1"),
            ),
            administered(&server, orders, next),
            alternating(&server, next, login("orders_clone", "pw-secret-3"), None),
        ] {
            assert_eq!(set(&change).await, Outcome::Done);
            assert_eq!(test(&server, change.pending).await, Outcome::Done);
            assert_eq!(retire(&change).await, Outcome::Done);
        }
        let commands = bed.execute("SLOWLOG GET -1").await;
        assert!(commands.contains("DRYRUN") && commands.contains("AUTH"));
        let kept = fs::read_to_string(bed.redis.folder().join(file)).unwrap();
        let digest = bed.digest("orders_clone").await;
        assert!(kept.contains(&digest), "{kept}");
        let log = fs::read(bed.redis.folder().join("log")).unwrap();
        let log = String::from_utf8_lossy(&log);
        for seen in [&commands, &kept, &*log] {
            assert!(
                !seen.contains("pw-secret"),
                "the server has kept a password"
            );
        }
        // Commands that change users are shown without what they are about.
        assert!(!commands.contains(&digest), "a digest is in a log");
    }
}
