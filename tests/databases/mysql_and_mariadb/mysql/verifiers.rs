//! What the server and its logs get to see of a password.

use keystead::rotation::mysql::{set, test};
use keystead::rotation::rotator::Outcome;

use super::support::{Bed, Kind, administered, alternating, login, single, words};

#[tokio::test]
async fn no_password_is_in_a_log_of_the_server() {
    let bed = Bed::with(&[("log-bin", "binlog")]).await;
    let server = bed.server();
    bed.user("orders").await;
    bed.execute("SET GLOBAL general_log = 1").await;
    let one = login("orders", "pw-secret-1");
    let two = login("orders", "pw-secret-2");
    for change in [
        single(&server, login("orders", "pw-1"), one),
        administered(&server, one, two),
        alternating(&server, two, login("orders_clone", "pw-secret-3"), None),
    ] {
        assert_eq!(set(&change).await, Outcome::Done);
        assert_eq!(test(&server, change.pending).await, Outcome::Done);
    }
    // The second one shows its password as the first.
    let ways = "SELECT User, plugin FROM mysql.user WHERE User LIKE 'orders%' ORDER BY User";
    assert_eq!(
        bed.execute(ways).await,
        "orders\tcaching_sha2_password\norders_clone\tcaching_sha2_password"
    );
    for log in [bed.database.general_log(), bed.database.binary_log()] {
        let log = log.unwrap();
        assert!(log.contains("ALTER USER"), "it logs statements");
        assert!(!log.contains("pw-secret"), "it has a password");
    }
}

#[tokio::test]
async fn verifiers_are_made_as_costly_as_the_server_makes_them() {
    let of_server =
        "SELECT DISTINCT LEFT(authentication_string, 7) FROM mysql.user WHERE User LIKE 'orders%'";
    for (setting, digits) in [("5000", "005"), ("10000", "00A"), ("100000", "064")] {
        let bed = Bed::with(&[("caching-sha2-password-digest-rounds", setting)]).await;
        bed.user("orders").await;
        assert_eq!(bed.execute(of_server).await, format!("$A${digits}$"));
        let server = bed.server();
        let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
        let change = alternating(&server, current, pending, None);
        assert_eq!(set(&change).await, Outcome::Done);
        assert_eq!(bed.execute(of_server).await, format!("$A${digits}$"));
        assert_eq!(test(&server, pending).await, Outcome::Done);
        // What was cached of a login goes, and the password is looked at anew.
        bed.execute("FLUSH PRIVILEGES").await;
        assert_eq!(test(&server, pending).await, Outcome::Done);
        bed.as_user(pending, "SELECT 1").await;
    }
}

#[tokio::test]
async fn an_account_that_was_made_with_fewer_rounds_is_known_all_the_same() {
    let mut bed = Bed::with(&[("caching-sha2-password-digest-rounds", "5000")]).await;
    bed.user("orders").await;
    let verifier = "SELECT HEX(authentication_string) FROM mysql.user WHERE User = 'orders'";
    let verifier = bed.execute(verifier).await;
    bed = Bed::with(&[("caching-sha2-password-digest-rounds", "20000")]).await;
    bed.execute(&format!(
        "CREATE USER orders@'%' IDENTIFIED WITH caching_sha2_password AS 0x{verifier}"
    ))
    .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    assert_eq!(
        set(&administered(&server, current, pending)).await,
        Outcome::Done
    );
    assert!(bed.has_two("orders").await);
    for login in [current, pending] {
        assert_eq!(test(&server, login).await, Outcome::Done);
    }
}

#[tokio::test]
async fn a_salt_may_have_any_characters() {
    let bed = Bed::new().await;
    let server = bed.server();
    // Of `pw-1`, as SHA-crypt makes them, with salts of quotes and backslashes, and of what cannot be printed: the server chooses from
    // all characters of 7 bits but two, and shows the whole in digits only where it cannot be printed.
    for verifier in [
        "24412430303524697427735F615F5C5F73616C7422313233345F78417641437753706D63686571666462434F76797152786D4C48543857614D6A334B30354571447372515331",
        "244124303035245C27275C275C5C2727275C27275C275C5C275C276245614A515350462E3646516C323269424A6645585047326667656F6757414E7167337568495453735036",
        "24412430303524011F206974277320612073616C7420607F3132336B3864755531305A4D6D425948376479706C4748654B673233414567382F79385176586B6465374C417541",
    ] {
        bed.execute(&format!(
            "DROP USER IF EXISTS orders@'%'; \
             CREATE USER orders@'%' IDENTIFIED WITH caching_sha2_password AS 0x{verifier}"
        ))
        .await;
        let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
        let change = administered(&server, current, pending);
        assert_eq!(set(&change).await, Outcome::Done, "{verifier}");
        assert!(bed.has_two("orders").await, "{verifier}");
        for login in [current, pending] {
            assert_eq!(test(&server, login).await, Outcome::Done, "{verifier}");
        }
    }
}

#[tokio::test]
async fn a_value_that_a_password_policy_refuses_is_refused_as_such_and_another_one_is_taken() {
    let bed = Bed::new().await;
    bed.execute(
        "CREATE USER orders@'%' IDENTIFIED BY 'First-value-1'; INSTALL COMPONENT 'file://component_validate_password'",
    )
    .await;
    let server = bed.server();
    let current = login("orders", "First-value-1");
    let refused = login("orders", "pw-2");
    let before = bed.accounts().await;
    for change in [
        single(&server, current, refused),
        administered(&server, current, refused),
    ] {
        let told = words(set(&change).await, Kind::ValueRefused);
        assert!(told.contains("policy"), "{told}");
    }
    assert_eq!(bed.accounts().await, before);
    let (second, third) = (
        login("orders", "Second-'value'-\\2"),
        login("orders", "Third-'value'-\\3"),
    );
    for change in [
        single(&server, current, second),
        administered(&server, second, third),
    ] {
        assert_eq!(set(&change).await, Outcome::Done);
        assert_eq!(test(&server, change.pending).await, Outcome::Done);
    }
}

#[tokio::test]
async fn a_value_that_the_account_has_had_before_is_refused_as_such() {
    let bed = Bed::new().await;
    bed.execute("CREATE USER orders@'%' IDENTIFIED BY 'pw-1' PASSWORD HISTORY 3; ALTER USER orders@'%' IDENTIFIED BY 'pw-2'")
        .await;
    let server = bed.server();
    let (current, had) = (login("orders", "pw-2"), login("orders", "pw-1"));
    for change in [
        single(&server, current, had),
        administered(&server, current, had),
    ] {
        words(set(&change).await, Kind::ValueRefused);
    }
    assert_eq!(test(&server, current).await, Outcome::Done);
}
