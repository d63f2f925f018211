//! Servers that are not reached, not trusted, or not what they should be.

use std::time::Instant;

use keystead::rotation::redis::{Addresses, Server, check, set, test};
use keystead::rotation::rotator::Outcome;
use keystead_cluster::{Redis, RedisOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::support::{Bed, Kind, administered, login, single, words};

fn settings(all: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    all.iter().map(owned).collect()
}

#[tokio::test]
async fn a_server_with_a_certificate_for_another_host_or_of_another_authority_is_not_logged_in_to()
{
    let options = RedisOptions {
        names: vec!["cache.example.com".to_owned()],
        ..RedisOptions::default()
    };
    let bed = Bed::with(options).await;
    bed.user("orders").await;
    // A wrong password, so that each login leaves a trace.
    let wrong = login("orders", "pw-wrong");
    let elsewhere = Server {
        host: "localhost".to_owned(),
        ..bed.server()
    };
    let told = words(test(&elsewhere, wrong).await, Kind::Rejected);
    assert!(told.contains("certificate"), "{told}");
    let other = Redis::start().await.unwrap();
    let untrusted = Server {
        authority: Some(other.ca_pem().to_owned()),
        ..bed.server()
    };
    let told = words(check(&untrusted, wrong).await, Kind::Rejected);
    assert!(told.contains("certificate"), "{told}");
    let nobody = Server {
        authority: None,
        ..bed.server()
    };
    words(check(&nobody, wrong).await, Kind::Rejected);
    // None of them has seen a login.
    assert_eq!(bed.execute("ACL LOG").await, "");
    words(check(&bed.server(), wrong).await, Kind::OwnershipConflict);
    assert!(bed.execute("ACL LOG").await.contains("orders"));
}

#[tokio::test]
async fn a_server_without_tls_gets_no_login() {
    let options = RedisOptions {
        tls: false,
        ..RedisOptions::default()
    };
    let bed = Bed::with(options).await;
    bed.user("orders").await;
    let outcome = check(&bed.server(), login("orders", "pw-wrong")).await;
    // A greeting of TLS may look to it like the beginning of a command, for whose end it waits.
    let told = match outcome {
        Outcome::Rejected(told) | Outcome::Retry(told) => told,
        other => panic!("{other:?}"),
    };
    assert!(told.contains("tls-port"), "{told}");
    assert_eq!(bed.execute("ACL LOG").await, "");
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_of_its_clients_is_told_as_that() {
    for settings in [
        settings(&[("tls-auth-clients", "yes")]),
        settings(&[("tls-auth-clients", "yes"), ("tls-protocols", "TLSv1.2")]),
    ] {
        let options = RedisOptions {
            settings,
            ..RedisOptions::default()
        };
        let bed = Bed::with(options).await;
        bed.user("orders").await;
        let told = words(
            check(&bed.server(), login("orders", "pw-1")).await,
            Kind::Rejected,
        );
        assert!(told.contains("tls-auth-clients"), "{told}");
    }
}

#[tokio::test]
async fn a_node_of_a_cluster_and_a_replica_are_not_changed() {
    let cluster = RedisOptions {
        settings: settings(&[("cluster-enabled", "yes")]),
        ..RedisOptions::default()
    };
    for (options, kind, why) in [
        (cluster, Kind::Rejected, "cluster"),
        (RedisOptions::default(), Kind::Retry, "replica"),
    ] {
        let bed = Bed::with(options).await;
        bed.user("orders").await;
        bed.user("itself").await;
        bed.independent("itself").await;
        if why == "replica" {
            bed.execute("REPLICAOF 127.0.0.1 1").await;
        }
        let server = bed.server();
        let before = bed.users().await;
        for change in [
            single(&server, login("itself", "pw-1"), login("itself", "pw-2")),
            administered(&server, login("orders", "pw-1"), login("orders", "pw-2")),
        ] {
            let told = words(set(&change).await, kind);
            assert!(told.contains(why), "{told}");
        }
        assert_eq!(bed.users().await, before);
    }
}

#[tokio::test]
async fn a_command_that_was_renamed_is_told_by_its_name() {
    let options = RedisOptions {
        settings: settings(&[("rename-command", "CONFIG \"\"")]),
        ..RedisOptions::default()
    };
    let bed = Bed::with(options).await;
    bed.user("orders").await;
    let server = bed.server();
    let change = administered(&server, login("orders", "pw-1"), login("orders", "pw-2"));
    let before = bed.users().await;
    let told = words(set(&change).await, Kind::Rejected);
    assert!(told.contains("CONFIG GET"), "{told}");
    assert_eq!(bed.users().await, before);
}

fn authority() -> String {
    // Any certificate: nobody comes to show another one.
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["authority".to_owned()]).unwrap();
    params.self_signed(&key).unwrap().pem()
}

fn at(port: u16) -> Server {
    Server {
        host: "127.0.0.1".to_owned(),
        port,
        authority: Some(authority()),
        addresses: Addresses::Any,
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_or_silent_is_tried_again() {
    let orders = login("orders", "pw-1");
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    let silent = at(port);
    let begun = Instant::now();
    // It is in the queue of whoever listens, and never answered.
    words(check(&silent, orders).await, Kind::Retry);
    let took = begun.elapsed();
    assert!((9..15).contains(&took.as_secs()), "{took:?}");
    drop(free);
    words(check(&silent, orders).await, Kind::Retry);
    let unknown = Server {
        host: "no-such-host.invalid".to_owned(),
        ..at(port)
    };
    words(check(&unknown, orders).await, Kind::Retry);
}

#[tokio::test]
async fn a_server_that_is_too_slow_is_not_waited_for_and_the_change_is_completed_later() {
    let options = RedisOptions {
        settings: settings(&[("enable-debug-command", "local")]),
        ..RedisOptions::default()
    };
    let bed = Bed::with(options).await;
    bed.user("orders").await;
    let server = bed.server();
    let change = administered(&server, login("orders", "pw-1"), login("orders", "pw-2"));
    let begun = Instant::now();
    let asleep = bed.redis.execute("DEBUG SLEEP 14");
    let waiting = async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let outcome = set(&change).await;
        (outcome, begun.elapsed())
    };
    let (asleep, (outcome, took)) = tokio::join!(asleep, waiting);
    asleep.unwrap();
    words(outcome, Kind::Retry);
    assert!((10..14).contains(&took.as_secs()), "{took:?}");
    assert_eq!(set(&change).await, Outcome::Done);
}

#[tokio::test]
async fn a_server_that_has_no_room_for_connections_is_tried_again() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    // One of them is that of the superuser, through which it is asked for.
    bed.execute("CONFIG SET maxclients 1").await;
    let holding = bed.redis.execute("BLPOP nothing 4");
    let trying = async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        check(&server, login("orders", "pw-1")).await
    };
    let (held, outcome) = tokio::join!(holding, trying);
    held.unwrap();
    words(outcome, Kind::Retry);
}

#[tokio::test]
async fn the_operators_own_machine_is_not_connected_to() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    for host in ["127.0.0.1", "localhost"] {
        let server = Server {
            host: host.to_owned(),
            addresses: Addresses::NotLocal,
            ..bed.server()
        };
        let told = words(
            check(&server, login("orders", "pw-1")).await,
            Kind::Rejected,
        );
        assert!(told.contains("own machine"), "{told}");
    }
}

#[tokio::test]
async fn what_answers_and_is_no_server_of_redis_gets_no_login() {
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"-WRONGPASS invalid username-password pair\r\n",
        b"+OK\r\n",
        b"\xff\xff\xff\0",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let other = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(answer).await;
            let mut caught = Vec::new();
            let _ = stream.read_to_end(&mut caught).await;
            caught
        });
        // Before TLS nobody's word counts, a refusal no more than a yes.
        match check(&at(port), login("orders", "pw-1")).await {
            Outcome::Rejected(_) | Outcome::Retry(_) => {}
            other => panic!("{other:?}"),
        }
        let caught = other.await.unwrap();
        let shown = String::from_utf8_lossy(&caught);
        assert!(
            !shown.contains("orders") && !shown.contains("pw-1"),
            "{shown}"
        );
    }
}
