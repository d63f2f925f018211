//! Whom an admin does not change, whoever asks for it.

use keystead::rotation::mysql::{check, discard_old, set};
use keystead::rotation::rotator::Outcome;

use super::support::{Bed, Kind, MARKER, administered, alternating, login, single, words};

#[tokio::test]
async fn a_mighty_user_is_not_changed_by_an_admin_even_with_password_and_marker() {
    let bed = Bed::new().await;
    bed.execute(
        "CREATE ROLE staff, between_; GRANT CREATE USER ON *.* TO staff; GRANT staff TO between_",
    )
    .await;
    let server = bed.server();
    for rights in [
        "GRANT SUPER ON *.*",
        "GRANT CREATE USER ON *.*",
        "GRANT USAGE ON *.*",
        "GRANT FILE ON *.*",
        "GRANT SET_ANY_DEFINER ON *.*",
        "GRANT SYSTEM_USER ON *.*",
        "GRANT ROLE_ADMIN ON *.*",
        "GRANT SELECT, INSERT ON *.*",
        "GRANT ALL ON *.*",
        "GRANT UPDATE ON mysql.*",
        "GRANT INSERT ON mysql.user",
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
            "DROP USER IF EXISTS boss@'%'; \
             CREATE USER boss@'%' IDENTIFIED BY 'pw-1' ATTRIBUTE '{{\"keystead\": \"{MARKER}\"}}'; \
             {rights} TO boss@'%' {more}"
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
        words(
            discard_old(&administered(&server, current, current)).await,
            Kind::Rejected,
        );
        assert_eq!(bed.accounts().await, before, "{rights}");
        // It may change itself.
        let alone = single(&server, current, login("boss", "pw-2"));
        assert_eq!(set(&alone).await, Outcome::Done, "{rights}");
    }
}

#[tokio::test]
async fn rights_that_were_taken_back_in_part_are_cloned_or_refused_but_never_widened() {
    let bed = Bed::with(&[("partial-revokes", "ON")]).await;
    bed.user("orders").await;
    bed.execute(
        "GRANT SELECT ON *.* TO orders@'%'; REVOKE SELECT ON shop.* FROM orders@'%'; \
         GRANT SELECT ON *.* TO keeper@'%' WITH GRANT OPTION",
    )
    .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let change = alternating(&server, current, pending, None);
    let before = bed.accounts().await;
    let told = words(set(&change).await, Kind::Rejected);
    assert!(told.contains("not understood"), "{told}");
    assert_eq!(bed.accounts().await, before);
}

#[tokio::test]
async fn a_user_that_is_not_there_is_told_as_that_whatever_its_name() {
    let bed = Bed::new().await;
    let server = bed.server();
    // For users that it does not have, the server asks for one or another way to log in, by their names.
    for number in 0..12 {
        let name = format!("orders-{number}");
        let (current, pending) = (login(&name, "pw-1"), login(&name, "pw-2"));
        let outcomes = [
            check(&server, current).await,
            set(&single(&server, current, pending)).await,
        ];
        for outcome in outcomes {
            assert!(
                matches!(
                    &outcome,
                    Outcome::OwnershipConflict(told) | Outcome::Rejected(told) if told.contains(&name)
                ),
                "{outcome:?}"
            );
        }
        let told = words(
            set(&administered(&server, current, pending)).await,
            Kind::Rejected,
        );
        assert!(told.contains("has no user"), "{told}");
    }
}

#[tokio::test]
async fn a_user_with_a_way_to_log_in_that_is_not_known_is_told_by_it() {
    let bed = Bed::new().await;
    bed.execute("CREATE USER orders@'%' IDENTIFIED WITH sha256_password BY 'pw-1'")
        .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let before = bed.accounts().await;
    for change in [
        single(&server, current, pending),
        administered(&server, current, pending),
        alternating(&server, current, login("orders_clone", "pw-2"), None),
    ] {
        let outcome = set(&change).await;
        let told = format!("{outcome:?}");
        assert!(
            told.contains("another way") || told.contains("sha256"),
            "{told}"
        );
        assert_ne!(outcome, Outcome::Done);
    }
    assert_eq!(bed.accounts().await, before);
}

#[tokio::test]
async fn a_role_of_that_name_gets_no_password() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.execute("CREATE ROLE orders_clone").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let before = bed.accounts().await;
    let change = alternating(&server, current, pending, None);
    words(set(&change).await, Kind::OwnershipConflict);
    assert_eq!(bed.accounts().await, before);
}

#[tokio::test]
async fn a_server_that_is_read_only_is_asked_again_later() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.execute("SET GLOBAL super_read_only = ON").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    for change in [
        single(&server, current, pending),
        administered(&server, current, pending),
    ] {
        let told = words(set(&change).await, Kind::Retry);
        assert!(told.contains("read-only"), "{told}");
    }
    bed.execute("SET GLOBAL super_read_only = OFF, GLOBAL read_only = OFF")
        .await;
    assert_eq!(
        set(&administered(&server, current, pending)).await,
        Outcome::Done
    );
}
