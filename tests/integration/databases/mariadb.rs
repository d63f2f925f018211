//! Rotation of users of a real MariaDB by the operator.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use keystead_cluster::{MariaDb, MariaDbOptions};

use super::{address, secrets};
use crate::schedules::{ask, schedule, status, wait_reason, wait_rotations};
use crate::support::{Bed, eventually};

/// What is delivered now.
pub(super) async fn login(bed: &Bed) -> (String, String) {
    let data = bed.data("shop", "db").await.expect("it is delivered");
    let text = |key: &str| String::from_utf8(data[key].clone()).expect("it is a text");
    (text("username"), text("password"))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_users_of_mariadb_take_turns_and_no_login_ever_fails_whatever_is_killed() {
    let options = MariaDbOptions {
        address: address(),
        ..MariaDbOptions::default()
    };
    let (bed, mariadb) = tokio::join!(Bed::start(), MariaDb::start_with(options));
    let mariadb = mariadb.expect("a MariaDB starts");
    bed.namespace("shop").await;
    let mut operator = bed.operator().await;
    secrets(
        &bed,
        (mariadb.address(), mariadb.port(), mariadb.ca_pem()),
        "{}",
    )
    .await;
    let (_, password) = login(&bed).await;
    let set_up = format!(
        "CREATE DATABASE shop; CREATE TABLE shop.goods (id int); CREATE USER orders@'%' IDENTIFIED BY '{password}'; \
         GRANT SELECT, INSERT ON shop.* TO orders@'%'; CREATE USER keeper@'%' IDENTIFIED BY 'admin-canary'; \
         GRANT CREATE USER ON *.* TO keeper@'%'; GRANT SELECT ON mysql.* TO keeper@'%'; \
         GRANT ALL ON shop.* TO keeper@'%' WITH GRANT OPTION"
    );
    mariadb.execute(&set_up).await.expect("it is set up");
    let strategy = "strategy: {mysql: {users: Alternating, adminSecretRef: {name: admin}}}";
    bed.apply(&schedule("db", "db", strategy)).await;
    wait_reason(&bed, "db", "Scheduled").await;

    let (over, logins) = (AtomicBool::new(false), AtomicUsize::new(0));
    let application = async {
        while !over.load(Ordering::Relaxed) {
            let (user, password) = login(&bed).await;
            let written = mariadb.execute_as(&user, &password, "INSERT INTO shop.goods VALUES (1)");
            written
                .await
                .expect("what is delivered logs in, and writes");
            logins.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let mut users = vec![login(&bed).await.0];
    let rotating = async {
        for round in 0..4_u64 {
            let (_, former) = login(&bed).await;
            ask(&bed, "db", &format!("round-{round}")).await;
            tokio::time::sleep(Duration::from_millis(120 * round)).await;
            operator.kill().await;
            operator = bed.operator().await;
            let ended = usize::try_from(round).expect("a small number") + 1;
            wait_rotations(&bed, "db", ended).await;
            eventually("another value is delivered", || async {
                login(&bed).await.1 != former
            })
            .await;
            users.push(login(&bed).await.0);
        }
        over.store(true, Ordering::Relaxed);
        operator
    };
    let ((), _operator) = tokio::join!(application, rotating);
    assert!(logins.load(Ordering::Relaxed) > 4);
    let turns = ["orders", "orders_clone", "orders", "orders_clone", "orders"];
    assert_eq!(users, turns);
    // Somebody else changes it: nobody fights.
    let theirs = "ALTER USER orders@'%' IDENTIFIED BY 'theirs'";
    mariadb.execute(theirs).await.expect("it is changed");
    ask(&bed, "db", "while-theirs").await;
    wait_reason(&bed, "db", "OwnershipConflict").await;
    let running = status(&bed, "db").await.running;
    assert_eq!(running.expect("it waits").step.as_str(), "SetSecret");
}
