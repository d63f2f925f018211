//! Two users in turn.

use keystead::rotation::mysql::{set, test};
use keystead::rotation::rotator::Outcome;

use super::support::{Bed, Kind, MARKER, alternating, login, words};

#[tokio::test]
async fn the_second_user_is_made_with_the_marker_and_all_that_the_first_one_has() {
    let bed = Bed::with(&[("log-bin-trust-function-creators", "ON")]).await;
    bed.execute(
        "CREATE DATABASE `of ``1```; CREATE TABLE shop.wide (n int, `m m` int); \
         CREATE ROLE app, inner_role, 'role of'@'10.%'; GRANT inner_role TO app; GRANT SELECT ON `of ``1```.* TO inner_role; \
         CREATE PROCEDURE shop.p() SELECT 1; CREATE FUNCTION shop.f() RETURNS int RETURN 1; \
         CREATE USER orders@'%' IDENTIFIED BY 'pw-1' REQUIRE SSL WITH MAX_USER_CONNECTIONS 7 MAX_QUERIES_PER_HOUR 9000; \
         GRANT PROCESS, SHOW_ROUTINE ON *.* TO orders@'%'; GRANT ALL ON `sh\\_p`.* TO orders@'%'; \
         GRANT SELECT, DELETE ON `of ``1```.* TO orders@'%' WITH GRANT OPTION; \
         GRANT SELECT, INSERT (`m m`, n) ON shop.wide TO orders@'%'; GRANT EXECUTE ON PROCEDURE shop.p TO orders@'%'; \
         GRANT EXECUTE ON FUNCTION shop.f TO orders@'%'; GRANT app, 'role of'@'10.%' TO orders@'%'; \
         SET DEFAULT ROLE app, 'role of'@'10.%' TO orders@'%'; \
         GRANT PROCESS, SHOW_ROUTINE ON *.* TO keeper@'%' WITH GRANT OPTION; GRANT ALL ON `sh\\_p`.* TO keeper@'%' WITH GRANT OPTION; \
         GRANT ALL ON `of ``1```.* TO keeper@'%' WITH GRANT OPTION; GRANT app, 'role of'@'10.%' TO keeper@'%' WITH ADMIN OPTION; \
         GRANT UPDATE ON mysql.* TO keeper@'%'",
    )
    .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let change = alternating(&server, current, pending, None);
    assert_eq!(set(&change).await, Outcome::Done);
    let made = bed.grants("orders_clone").await;
    assert_eq!(
        made.replace("orders_clone", "orders"),
        bed.grants("orders").await
    );
    let account = bed.account("orders_clone").await;
    for part in [
        "DEFAULT ROLE `app`@`%`,`role of`@`10.%`",
        "REQUIRE SSL WITH MAX_QUERIES_PER_HOUR 9000 MAX_USER_CONNECTIONS 7",
        "ACCOUNT UNLOCK",
        &format!("ATTRIBUTE '{{\"keystead\": \"{MARKER}\"}}'"),
    ] {
        assert!(account.contains(part), "{part}: {account}");
    }
    let acting = "SELECT CURRENT_ROLE(); CALL shop.p()";
    assert_eq!(
        bed.as_user(pending, acting).await,
        bed.as_user(current, acting).await
    );
}

#[tokio::test]
async fn a_second_user_is_made_for_the_first_ones_host() {
    let bed = Bed::new().await;
    bed.execute("CREATE USER orders@'127.0.0.0/255.0.0.0' IDENTIFIED BY 'pw-1'")
        .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let change = alternating(&server, current, pending, None);
    assert_eq!(set(&change).await, Outcome::Done);
    let host = "SELECT Host FROM mysql.user WHERE User = 'orders_clone'";
    assert_eq!(bed.execute(host).await, "127.0.0.0/255.0.0.0");
    assert_eq!(test(&server, pending).await, Outcome::Done);
}

#[tokio::test]
async fn names_of_32_characters_are_the_longest() {
    let bed = Bed::new().await;
    let server = bed.server();
    let fits = "o".repeat(26);
    bed.user(&fits).await;
    let clone = format!("{fits}_clone");
    let change = alternating(&server, login(&fits, "pw-1"), login(&clone, "pw-2"), None);
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(test(&server, change.pending).await, Outcome::Done);
    let long = "p".repeat(27);
    bed.user(&long).await;
    let clone = format!("{long}_clone");
    let change = alternating(&server, login(&long, "pw-1"), login(&clone, "pw-2"), None);
    let told = words(set(&change).await, Kind::Rejected);
    assert!(told.contains("32"), "{told}");
}
