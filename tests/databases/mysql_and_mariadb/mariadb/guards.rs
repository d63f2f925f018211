//! Whom an admin does not change, whoever asks for it.

use keystead::rotation::mysql::set;
use keystead::rotation::rotator::Outcome;

use super::support::{Bed, Kind, MARKER_ROLE, administered, alternating, login, single, words};

#[tokio::test]
async fn a_mighty_user_is_not_changed_by_an_admin_even_with_password_and_marker() {
    let bed = Bed::new().await;
    bed.execute(&format!(
        "CREATE ROLE staff; CREATE ROLE between_; GRANT CREATE USER ON *.* TO staff; GRANT staff TO between_; \
         CREATE ROLE `{MARKER_ROLE}`"
    ))
    .await;
    let server = bed.server();
    for rights in [
        "GRANT SUPER ON *.*",
        "GRANT CREATE USER ON *.*",
        "GRANT USAGE ON *.*",
        "GRANT FILE ON *.*",
        "GRANT SET USER ON *.*",
        "GRANT SELECT, INSERT ON *.*",
        "GRANT ALL ON *.*",
        "GRANT UPDATE ON mysql.*",
        "GRANT INSERT ON mysql.global_priv",
        "GRANT ALL ON `m%`.*",
        "GRANT PROXY ON root@localhost",
        "GRANT between_",
    ] {
        let more = if rights.contains("USAGE") {
            "WITH GRANT OPTION"
        } else {
            ""
        };
        bed.execute(&format!(
            "CREATE OR REPLACE USER boss@'%' IDENTIFIED BY 'pw-1'; {rights} TO boss@'%' {more}; \
             GRANT `{MARKER_ROLE}` TO boss@'%'"
        ))
        .await;
        let before = bed.accounts().await;
        let current = login("boss", "pw-1");
        for change in [
            administered(&server, current, login("boss", "pw-2")),
            alternating(&server, current, login("boss_clone", "pw-2"), None),
        ] {
            let told = words(set(&change).await, Kind::Rejected);
            assert!(told.contains("boss"), "{rights}: {told}");
        }
        assert_eq!(bed.accounts().await, before, "{rights}");
        // It may change itself.
        let alone = single(&server, current, login("boss", "pw-2"));
        assert_eq!(set(&alone).await, Outcome::Done, "{rights}");
    }
}

#[tokio::test]
async fn a_user_that_logs_in_without_a_password_of_ours_is_told_by_its_way() {
    let bed = Bed::new().await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    for (identified, why, kind) in [
        ("VIA unix_socket", "not with a password", Kind::Rejected),
        (
            "VIA mysql_native_password USING PASSWORD('pw-1') OR unix_socket",
            "not with a password",
            Kind::Rejected,
        ),
        (
            "VIA mysql_native_password",
            "orders",
            Kind::OwnershipConflict,
        ),
    ] {
        bed.execute(&format!(
            "CREATE OR REPLACE USER orders@'%' IDENTIFIED {identified}"
        ))
        .await;
        let before = bed.accounts().await;
        for change in [
            single(&server, current, pending),
            administered(&server, current, pending),
        ] {
            let told = words(set(&change).await, kind);
            assert!(told.contains(why), "{identified}: {told}");
        }
        assert_eq!(bed.accounts().await, before);
    }
}

#[tokio::test]
async fn a_role_of_that_name_is_no_user() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.execute("CREATE ROLE orders_clone").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let change = alternating(&server, current, pending, None);
    let told = words(set(&change).await, Kind::Rejected);
    assert!(told.contains("is a role"), "{told}");
}
