//! What the server and the logs get to see of a password.

use std::fmt::Write as _;
use std::sync::Mutex;

use keystead::rotation::postgres::{set, test};
use keystead::rotation::rotator::Outcome;
use keystead_cluster::PostgresOptions;

use super::support::{Bed, Kind, administered, alternating, login, single, words};

/// What the client library has logged in this process.
static LOGGED: Mutex<String> = Mutex::new(String::new());

struct Everything;

impl log::Log for Everything {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut logged = LOGGED.lock().unwrap();
        writeln!(logged, "{}: {}", record.target(), record.args()).unwrap();
    }

    fn flush(&self) {}
}

#[tokio::test]
async fn only_a_verifier_leaves_the_operator_and_no_log_of_its_own_has_that() {
    let _ = log::set_logger(&Everything);
    log::set_max_level(log::LevelFilter::Trace);
    let settings = [
        ("log_statement", "all"),
        ("log_min_duration_statement", "0"),
        ("log_min_messages", "debug1"),
        ("log_connections", "on"),
    ];
    let options = PostgresOptions {
        settings: settings
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..PostgresOptions::default()
    };
    let bed = Bed::with(options).await;
    let begun = bed.postgres.log().unwrap().len();
    bed.execute("SET log_statement = 'none'; SET log_min_duration_statement = -1; CREATE ROLE orders LOGIN PASSWORD 'pw-1'")
        .await;
    let quiet = bed.postgres.log().unwrap().len();
    let server = bed.server();
    let orders = login("orders", "pw-secret-1");
    for change in [
        single(&server, login("orders", "pw-1"), orders),
        administered(&server, orders, login("orders", "pw-secret-2")),
        alternating(
            &server,
            login("orders", "pw-secret-2"),
            login("orders_clone", "pw-secret-3"),
            None,
        ),
    ] {
        assert_eq!(set(&change).await, Outcome::Done);
    }
    let verifiers = "SELECT count(*) FROM pg_authid WHERE rolname LIKE 'orders%' AND rolpassword LIKE 'SCRAM-SHA-256$4096:%'";
    assert_eq!(bed.execute(verifiers).await, "2");

    let log = bed.postgres.log().unwrap();
    assert!(
        quiet >= begun && log[quiet..].contains("ALTER ROLE"),
        "it logs statements"
    );
    assert!(
        !log[quiet..].contains("pw-"),
        "the server has seen a password"
    );
    let logged = LOGGED.lock().unwrap();
    assert!(
        logged.contains("tokio_postgres") && logged.contains("CREATE ROLE"),
        "it logs statements"
    );
    for value in ["pw-secret", "SCRAM-SHA-256$"] {
        assert!(
            !logged.contains(value),
            "{value} is in the operator's own log"
        );
    }
}

#[tokio::test]
async fn a_value_that_a_password_policy_refuses_is_refused_as_such_and_another_one_is_taken() {
    let options = PostgresOptions {
        settings: vec![(
            "shared_preload_libraries".to_owned(),
            "passwordcheck".to_owned(),
        )],
        ..PostgresOptions::default()
    };
    let bed = Bed::with(options).await;
    bed.execute("CREATE ROLE orders LOGIN PASSWORD 'first-value-1'")
        .await;
    let server = bed.server();
    let current = login("orders", "first-value-1");
    // Of a verifier the policy can see only whether it is one of the user's name.
    let refused = login("orders", "orders");
    let clone = login("orders_clone", "orders_clone");
    let before = bed.roles().await;
    for change in [
        single(&server, current, refused),
        alternating(&server, current, clone, None),
    ] {
        let told = words(set(&change).await, Kind::ValueRefused);
        assert!(told.contains("SQLSTATE 22023"), "{told}");
    }
    assert_eq!(bed.roles().await, before);
    let pending = login("orders", "second-value-2");
    assert_eq!(set(&single(&server, current, pending)).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
}

#[tokio::test]
async fn a_password_that_was_stored_as_md5_is_a_scram_verifier_after_the_change() {
    let options = PostgresOptions {
        settings: vec![("password_encryption".to_owned(), "md5".to_owned())],
        admission: vec!["hostssl all all all md5".to_owned()],
        ..PostgresOptions::default()
    };
    let bed = Bed::with(options).await;
    bed.role("orders").await;
    let stored = "SELECT left(rolpassword, 5) FROM pg_authid WHERE rolname = 'orders'";
    assert!(bed.execute(stored).await.starts_with("md5"));
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    assert_eq!(set(&single(&server, current, pending)).await, Outcome::Done);
    assert_eq!(bed.execute(stored).await, "SCRAM");
    assert_eq!(test(&server, pending).await, Outcome::Done);
}
