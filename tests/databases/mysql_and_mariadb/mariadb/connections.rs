//! Servers that are not reached, not trusted, or not what they should be.

use std::time::{Duration, Instant};

use keystead::rotation::mysql::{Addresses, Server, check, set, test};
use keystead::rotation::rotator::Outcome;
use keystead_cluster::{MariaDb, MariaDbOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::support::{Bed, Kind, administered, login, single, unusual, words};

#[tokio::test]
async fn a_server_with_a_certificate_for_another_host_or_of_another_authority_is_not_logged_in_to()
{
    let options = MariaDbOptions {
        names: vec!["db.example.com".to_owned()],
        settings: vec![("general-log".to_owned(), "1".to_owned())],
        ..MariaDbOptions::default()
    };
    let bed = unusual(options).await;
    bed.user("orders").await;
    let orders = login("orders", "pw-1");
    assert_eq!(test(&bed.server(), orders).await, Outcome::Done);
    let elsewhere = Server {
        host: "localhost".to_owned(),
        ..bed.server()
    };
    let told = words(test(&elsewhere, orders).await, Kind::Rejected);
    assert!(told.contains("certificate"), "{told}");
    let other = MariaDb::start().await.unwrap();
    let untrusted = Server {
        authority: Some(other.ca_pem().to_owned()),
        ..bed.server()
    };
    let told = words(check(&untrusted, orders).await, Kind::Rejected);
    assert!(told.contains("certificate"), "{told}");
    let nobody = Server {
        authority: None,
        ..bed.server()
    };
    words(check(&nobody, orders).await, Kind::Rejected);
    // None of them has seen a login.
    let log = bed.database.general_log().unwrap();
    assert_eq!(log.matches("orders@127.0.0.1").count(), 1, "{log}");
}

#[tokio::test]
async fn a_server_without_tls_is_refused() {
    let options = MariaDbOptions {
        tls: false,
        settings: vec![("general-log".to_owned(), "1".to_owned())],
        ..MariaDbOptions::default()
    };
    let bed = unusual(options).await;
    bed.user("orders").await;
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let server = bed.server();
    for change in [
        single(&server, current, pending),
        administered(&server, current, pending),
    ] {
        let told = words(set(&change).await, Kind::Rejected);
        assert!(told.contains("offers no TLS"), "{told}");
    }
    let log = bed.database.general_log().unwrap();
    assert!(!log.contains("orders@127.0.0.1"), "{log}");
}

/// How a server greets: one of MySQL that has no TLS, or says that it has.
fn greeting(tls: bool) -> Vec<u8> {
    let mut payload = b"\x0a8.0.36\0\x01\0\0\0abcdefgh\0".to_vec();
    // Protocol 41, the long scramble, and TLS or not; then the character set and the state.
    let capabilities: u32 = 0x0008_8200 | if tls { 0x800 } else { 0 };
    let [a, b, c, d] = capabilities.to_le_bytes();
    payload.extend([a, b, 45, 2, 0, c, d, 21]);
    payload.extend([0; 10]);
    payload.extend(b"ijklmnopqrst\0caching_sha2_password\0");
    let mut packet = vec![u8::try_from(payload.len()).unwrap(), 0, 0, 0];
    packet.extend(payload);
    packet
}

#[tokio::test]
async fn whoever_is_in_between_gets_no_login() {
    for tls in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let thief = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(&greeting(tls)).await.unwrap();
            let mut caught = vec![0; 4_096];
            let count = stream.read(&mut caught).await.unwrap_or(0);
            caught.truncate(count);
            if tls {
                // It goes on without TLS, and asks for the password.
                let ask = b"\x19\0\0\x02\xfemysql_clear_password\0\0\0\0";
                let _ = stream.write_all(ask).await;
                let _ = stream.read_to_end(&mut caught).await;
            }
            caught
        });
        let outcome = check(&at(port), login("orders", "pw-1")).await;
        let told = match outcome {
            Outcome::Rejected(told) | Outcome::Retry(told) => told,
            other => panic!("{other:?}"),
        };
        assert!(!told.contains("pw-"), "{told}");
        let caught = thief.await.unwrap();
        let shown = String::from_utf8_lossy(&caught);
        assert!(
            !shown.contains("orders") && !shown.contains("pw-1"),
            "{shown}"
        );
        assert!(tls || caught.is_empty(), "{caught:?}");
    }
}

#[tokio::test]
async fn a_refusal_before_tls_is_nobodys_word() {
    for code in [1045_u16, 4151, 1820] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let forger = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(&refusal(code)).await.unwrap();
        });
        match check(&at(port), login("orders", "pw-1")).await {
            Outcome::Retry(_) => {}
            Outcome::Rejected(_) if code != 1045 => {}
            other => panic!("{code}: {other:?}"),
        }
        forger.await.unwrap();
    }
}

#[tokio::test]
async fn who_says_before_tls_that_a_password_is_right_proves_nothing() {
    let bed = Bed::new().await;
    bed.user("victim").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = bed.address();
    // The logins of the user; what follows is the admin's. All is tried twice.
    let forger = tokio::spawn(async move {
        for forged in [true, true, false, true, true, false] {
            let (mut stream, _) = listener.accept().await.unwrap();
            if forged {
                stream.write_all(&refusal(1862)).await.unwrap();
                continue;
            }
            let mut onward = TcpStream::connect(server).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut onward).await;
        }
    });
    let through = Server {
        port,
        ..bed.server()
    };
    let before = bed.accounts().await;
    let (guess, pending) = (login("victim", "pw-guess"), login("victim", "pw-2"));
    let change = administered(&through, guess, pending);
    words(set(&change).await, Kind::OwnershipConflict);
    assert_eq!(bed.accounts().await, before);
    forger.abort();
}

/// An error, as the first word of a server.
fn refusal(code: u16) -> Vec<u8> {
    let mut payload = vec![0xff];
    payload.extend(code.to_le_bytes());
    payload.extend(b"#28000refused");
    let mut packet = vec![u8::try_from(payload.len()).unwrap(), 0, 0, 0];
    packet.extend(payload);
    packet
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
async fn a_server_that_has_no_room_or_takes_no_changes_is_tried_again() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    bed.execute("SET GLOBAL read_only = 1").await;
    let before = bed.accounts().await;
    for change in [
        single(&server, current, pending),
        administered(&server, current, pending),
    ] {
        let told = words(set(&change).await, Kind::Retry);
        assert!(told.contains("read-only"), "{told}");
    }
    assert_eq!(bed.accounts().await, before);
    bed.execute("SET GLOBAL read_only = 0; ALTER USER orders@'%' WITH MAX_CONNECTIONS_PER_HOUR 1")
        .await;
    assert_eq!(check(&server, current).await, Outcome::Done);
    let told = words(check(&server, current).await, Kind::Retry);
    assert!(told.contains("too many connections"), "{told}");
    bed.execute("ALTER USER orders@'%' WITH MAX_CONNECTIONS_PER_HOUR 0; FLUSH USER_RESOURCES")
        .await;

    // A lock of everything, as backups take it, is waited for, and not for ever.
    let begun = Instant::now();
    let locked = bed
        .database
        .execute("FLUSH TABLES WITH READ LOCK; SELECT SLEEP(14)");
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
async fn a_user_from_elsewhere_is_not_let_in() {
    let bed = Bed::new().await;
    bed.execute("CREATE USER orders@'10.0.0.1' IDENTIFIED BY 'pw-1'")
        .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let before = bed.accounts().await;
    // The server does not tell it from a wrong password.
    words(check(&server, current).await, Kind::OwnershipConflict);
    words(
        set(&administered(&server, current, pending)).await,
        Kind::OwnershipConflict,
    );
    assert_eq!(bed.accounts().await, before);
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
async fn what_answers_and_is_no_server_of_mysql_is_told_as_that_or_tried_again() {
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"\x05\0\0\0hello",
        b"\xff\xff\xff\0",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let web = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(answer).await;
        });
        match check(&at(port), login("orders", "pw-1")).await {
            Outcome::Rejected(_) | Outcome::Retry(_) => {}
            other => panic!("{other:?}"),
        }
        web.await.unwrap();
    }
}
