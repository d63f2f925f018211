//! What the server and its logs get to see of a password.

use keystead::rotation::mysql::{set, test};
use keystead::rotation::rotator::Outcome;
use keystead_cluster::MariaDbOptions;

use super::support::{Kind, administered, alternating, login, settings, single, unusual, words};

#[tokio::test]
async fn only_a_verifier_leaves_the_operator() {
    let bed = unusual(MariaDbOptions {
        plugins: vec!["auth_ed25519".to_owned()],
        settings: settings(&[("log-bin", "binlog"), ("log-slow-query-file", "slow")]),
        ..MariaDbOptions::default()
    })
    .await;
    let server = bed.server();
    bed.execute(
        "CREATE USER orders@'%' IDENTIFIED BY 'pw-1'; GRANT SELECT ON shop.* TO orders@'%'; \
         CREATE USER signed@'%' IDENTIFIED VIA ed25519 USING PASSWORD('pw-1'); SET GLOBAL general_log = 1",
    )
    .await;
    let earlier = bed.database.binary_log().unwrap().len();
    for user in ["orders", "signed"] {
        let clone = format!("{user}_clone");
        let one = login(user, "pw-secret-1");
        let two = login(user, "pw-secret-2");
        for change in [
            single(&server, login(user, "pw-1"), one),
            administered(&server, one, two),
            alternating(&server, two, login(&clone, "pw-secret-3"), None),
        ] {
            assert_eq!(set(&change).await, Outcome::Done);
            assert_eq!(test(&server, change.pending).await, Outcome::Done);
        }
    }
    // Each account shows its password as it did, and the second one as the first.
    let ways = "SELECT User, plugin FROM mysql.user WHERE User LIKE 'orders%' OR User LIKE 'signed%' ORDER BY User";
    assert_eq!(
        bed.execute(ways).await,
        "orders\tmysql_native_password\norders_clone\tmysql_native_password\nsigned\ted25519\nsigned_clone\ted25519"
    );
    let log = bed.database.general_log().unwrap();
    assert!(log.contains("ALTER USER"), "it logs statements");
    assert!(!log.contains("pw-"), "the server has seen a password");
    let changes = bed.database.binary_log().unwrap();
    let changes = changes.get(earlier..).unwrap_or(&changes);
    assert!(changes.contains("ALTER USER"), "it logs changes");
    assert!(
        !changes.contains("pw-secret"),
        "replicas have seen a password"
    );
}

#[tokio::test]
async fn a_value_that_a_password_policy_refuses_is_refused_as_such_and_another_one_is_taken() {
    for strict in ["ON", "OFF"] {
        let bed = unusual(MariaDbOptions {
            plugins: vec!["simple_password_check".to_owned()],
            settings: settings(&[("strict-password-validation", strict)]),
            ..MariaDbOptions::default()
        })
        .await;
        bed.execute("CREATE USER orders@'%' IDENTIFIED BY 'First-value-1'")
            .await;
        let server = bed.server();
        let current = login("orders", "First-value-1");
        let (refused, clone) = (login("orders", "pw-2"), login("orders_clone", "pw-2"));
        let before = bed.accounts().await;
        if strict == "ON" {
            for change in [
                single(&server, current, refused),
                administered(&server, current, refused),
                alternating(&server, current, clone, None),
            ] {
                let told = words(set(&change).await, Kind::ValueRefused);
                assert!(told.contains("policy"), "{told}");
            }
            assert_eq!(bed.accounts().await, before);
        } else {
            // It does not look at what it cannot see.
            assert_eq!(set(&single(&server, current, refused)).await, Outcome::Done);
            let back = single(&server, refused, current);
            assert_eq!(set(&back).await, Outcome::Done);
        }
        let (second, third) = (
            login("orders", "Second-'value'-\\2"),
            login("orders", "Third-'value'-\\3"),
        );
        for change in [
            single(&server, current, second),
            administered(&server, second, third),
            alternating(
                &server,
                third,
                login("orders_clone", "Fourth-value-'4"),
                None,
            ),
        ] {
            assert_eq!(set(&change).await, Outcome::Done, "{strict}");
            assert_eq!(
                test(&server, change.pending).await,
                Outcome::Done,
                "{strict}"
            );
        }
    }
}
