//! Two users in turn.

use keystead::rotation::mysql::{set, test};
use keystead::rotation::rotator::Outcome;

use super::support::{Bed, Kind, MARKER_ROLE, alternating, login, words};

#[tokio::test]
async fn the_second_user_is_made_with_the_marker_and_all_that_the_first_one_has() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.execute(
        "CREATE DATABASE `of ``1```; CREATE TABLE shop.wide (n int, `m m` int); CREATE ROLE app; CREATE ROLE inner_role; \
         GRANT inner_role TO app; GRANT SELECT ON `of ``1```.* TO inner_role; \
         CREATE PROCEDURE shop.p() SELECT 1; CREATE FUNCTION shop.f() RETURNS int RETURN 1; \
         ALTER USER orders@'%' REQUIRE SSL WITH MAX_USER_CONNECTIONS 7 MAX_STATEMENT_TIME 3.5; \
         GRANT PROCESS ON *.* TO orders@'%'; GRANT ALL ON `sh\\_p`.* TO orders@'%'; \
         GRANT SELECT, DELETE ON `of ``1```.* TO orders@'%' WITH GRANT OPTION; \
         GRANT SELECT, INSERT (`m m`, n) ON shop.wide TO orders@'%'; GRANT EXECUTE ON PROCEDURE shop.p TO orders@'%'; \
         GRANT EXECUTE ON FUNCTION shop.f TO orders@'%'; GRANT app TO orders@'%'; SET DEFAULT ROLE app FOR orders@'%'; \
         GRANT PROCESS ON *.* TO keeper@'%' WITH GRANT OPTION; GRANT ALL ON `sh\\_p`.* TO keeper@'%' WITH GRANT OPTION; \
         GRANT ALL ON `of ``1```.* TO keeper@'%' WITH GRANT OPTION; GRANT app TO keeper@'%' WITH ADMIN OPTION; \
         GRANT UPDATE ON mysql.* TO keeper@'%'",
    )
    .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let change = alternating(&server, current, pending, None);
    assert_eq!(set(&change).await, Outcome::Done);
    let made = bed.grants("orders_clone").await;
    let marker = format!("GRANT `{MARKER_ROLE}` TO `orders`@`%`");
    let mut expected: Vec<_> = bed
        .grants("orders")
        .await
        .lines()
        .map(ToOwned::to_owned)
        .collect();
    expected.push(marker);
    let made = made.replace("orders_clone", "orders");
    let mut made: Vec<_> = made.lines().map(ToOwned::to_owned).collect();
    expected.sort();
    made.sort();
    assert_eq!(made, expected);
    let account = bed.execute("SHOW CREATE USER orders_clone@'%'").await;
    assert!(
        account.ends_with("REQUIRE SSL WITH MAX_USER_CONNECTIONS 7 MAX_STATEMENT_TIME 3.500000"),
        "{account}"
    );
    let acting = bed
        .as_user(pending, "SELECT CURRENT_ROLE(); CALL shop.p()")
        .await;
    assert_eq!(acting, "app\n1");
    let process =
        "SELECT COUNT(*) FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE = 'PROCESS'";
    assert_eq!(bed.as_user(pending, process).await, "1");
}

#[tokio::test]
async fn a_second_user_is_made_for_the_first_ones_host() {
    let bed = Bed::new().await;
    bed.execute("CREATE USER orders@'127.0.0.%' IDENTIFIED BY 'pw-1'")
        .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let change = alternating(&server, current, pending, None);
    assert_eq!(set(&change).await, Outcome::Done);
    let host = "SELECT Host FROM mysql.user WHERE User = 'orders_clone'";
    assert_eq!(bed.execute(host).await, "127.0.0.%");
}

#[tokio::test]
async fn a_marker_of_another_admin_is_told_by_its_name() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.execute(&format!("CREATE ROLE `{MARKER_ROLE}`")).await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let change = alternating(&server, current, pending, None);
    let told = words(set(&change).await, Kind::Rejected);
    assert!(told.contains(MARKER_ROLE), "{told}");
    bed.execute(&format!("DROP ROLE `{MARKER_ROLE}`")).await;
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
}
