//! Servers that are not reached, not trusted, or not what they should be.

use std::time::{Duration, Instant};

use keystead::rotation::postgres::{Addresses, Server, Tls, check, set, test};
use keystead::rotation::rotator::Outcome;
use keystead_cluster::{Postgres, PostgresOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::support::{Bed, Kind, administered, login, single, words};

#[tokio::test]
async fn a_server_with_a_certificate_for_another_host_or_of_another_authority_is_not_logged_in_to()
{
    let options = PostgresOptions {
        names: vec!["db.example.com".to_owned()],
        ..PostgresOptions::default()
    };
    let bed = Bed::with(options).await;
    bed.role("orders").await;
    let orders = login("orders", "pw-1");
    assert_eq!(test(&bed.server(), orders).await, Outcome::Done);
    let elsewhere = Server {
        host: "localhost".to_owned(),
        ..bed.server()
    };
    let told = words(test(&elsewhere, orders).await, Kind::Rejected);
    assert!(told.contains("certificate"), "{told}");
    let other = Postgres::start().await.unwrap();
    let untrusted = Server {
        tls: Tls::Verify {
            authority: Some(other.ca_pem().to_owned()),
        },
        ..bed.server()
    };
    let told = words(check(&untrusted, orders).await, Kind::Rejected);
    assert!(told.contains("certificate"), "{told}");
    // Neither has seen a login.
    let log = bed.postgres.log().unwrap();
    assert_eq!(log.matches("connection authorized: user=orders").count(), 1);
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_required() {
    let options = PostgresOptions {
        tls: false,
        ..PostgresOptions::default()
    };
    let bed = Bed::with(options).await;
    bed.role("orders").await;
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let server = bed.server();
    let told = words(
        set(&single(&server, current, pending)).await,
        Kind::Rejected,
    );
    assert!(told.contains("offers no TLS"), "{told}");
    let plain = bed.plain();
    assert_eq!(set(&single(&plain, current, pending)).await, Outcome::Done);
}

#[tokio::test]
async fn a_server_that_does_not_let_in_from_here_is_a_matter_of_configuration() {
    let bed = Bed::new().await;
    bed.role("orders").await;
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    // It takes connections with TLS only.
    let told = words(check(&bed.plain(), current).await, Kind::Rejected);
    assert!(told.contains("pg_hba.conf"), "{told}");
    let server = bed.server();
    bed.execute("ALTER ROLE orders NOLOGIN").await;
    let before = bed.roles().await;
    words(
        set(&administered(&server, current, pending)).await,
        Kind::Rejected,
    );
    assert_eq!(bed.roles().await, before);
    let nowhere = Server {
        database: "no such".to_owned(),
        ..bed.server()
    };
    bed.execute("ALTER ROLE orders LOGIN").await;
    let told = words(check(&nowhere, current).await, Kind::Rejected);
    assert!(told.contains("dbname"), "{told}");
    bed.execute("CREATE DATABASE closed; REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
        .await;
    let closed = Server {
        database: "closed".to_owned(),
        ..bed.server()
    };
    let told = words(check(&closed, current).await, Kind::Rejected);
    assert!(told.contains("CONNECT"), "{told}");
}

#[tokio::test]
async fn a_server_that_asks_for_no_password_proves_nothing() {
    let options = PostgresOptions {
        admission: vec!["host all all all trust".to_owned()],
        ..PostgresOptions::default()
    };
    let bed = Bed::with(options).await;
    bed.role("orders").await;
    let before = bed.roles().await;
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    for server in [bed.server(), bed.plain()] {
        let told = words(
            set(&single(&server, current, pending)).await,
            Kind::Rejected,
        );
        assert!(told.contains("asks for no password"), "{told}");
        words(check(&server, current).await, Kind::Rejected);
    }
    assert_eq!(bed.roles().await, before);
}

#[tokio::test]
async fn a_password_is_shown_in_clear_text_only_under_tls() {
    let options = PostgresOptions {
        admission: vec!["host all all all password".to_owned()],
        ..PostgresOptions::default()
    };
    let bed = Bed::with(options).await;
    bed.role("orders").await;
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let told = words(check(&bed.plain(), current).await, Kind::Rejected);
    assert!(told.contains("clear text"), "{told}");
    let server = bed.server();
    assert_eq!(set(&single(&server, current, pending)).await, Outcome::Done);
    words(check(&server, current).await, Kind::OwnershipConflict);
}

#[tokio::test]
async fn whoever_is_in_between_gets_nothing_by_asking_for_the_password() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let thief = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut startup = vec![0; 1_024];
        assert!(stream.read(&mut startup).await.unwrap() > 0);
        stream.write_all(b"R\0\0\0\x08\0\0\0\x03").await.unwrap();
        let mut caught = Vec::new();
        let _ = stream.read_to_end(&mut caught).await;
        caught
    });
    let told = words(
        check(&at(port), login("orders", "pw-1")).await,
        Kind::Rejected,
    );
    assert!(told.contains("clear text"), "{told}");
    assert_eq!(thief.await.unwrap(), b"");
}

fn at(port: u16) -> Server {
    Server {
        host: "127.0.0.1".to_owned(),
        port,
        database: "postgres".to_owned(),
        tls: Tls::Disable,
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
async fn a_server_that_has_no_room_or_takes_no_changes_is_tried_again() {
    let bed = Bed::new().await;
    bed.role("orders").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    bed.execute("ALTER ROLE orders CONNECTION LIMIT 0").await;
    let told = words(check(&server, current).await, Kind::Retry);
    assert!(told.contains("too many connections"), "{told}");
    bed.execute("ALTER ROLE orders CONNECTION LIMIT -1").await;

    // Another change of the role that is not committed yet is waited for, and not for ever.
    let begun = Instant::now();
    let locked = bed
        .postgres
        .execute("BEGIN; ALTER ROLE orders CONNECTION LIMIT 5; SELECT pg_sleep(14); ROLLBACK");
    let waiting = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let outcome = set(&single(&server, current, pending)).await;
        (outcome, begun.elapsed())
    };
    let (locked, (outcome, took)) = tokio::join!(locked, waiting);
    locked.unwrap();
    words(outcome, Kind::Retry);
    assert!(took < Duration::from_secs(14), "{took:?}");
    assert_eq!(set(&single(&server, current, pending)).await, Outcome::Done);
}

#[tokio::test]
async fn the_operators_own_machine_is_not_connected_to() {
    let bed = Bed::new().await;
    bed.role("orders").await;
    for host in ["127.0.0.1", "localhost"] {
        let server = Server {
            host: host.to_owned(),
            addresses: Addresses::NotLocal,
            ..bed.server()
        };
        words(
            check(&server, login("orders", "pw-1")).await,
            Kind::Rejected,
        );
    }
    assert!(!bed.postgres.log().unwrap().contains("user=orders"));
}

#[tokio::test]
async fn what_answers_and_is_no_postgres_is_told_as_that() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let web = tokio::spawn(async move {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1_024]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let told = words(
        check(&at(port), login("orders", "pw-1")).await,
        Kind::Rejected,
    );
    assert!(told.contains("PostgreSQL"), "{told}");
    web.abort();
}
