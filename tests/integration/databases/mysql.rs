//! Rotation of users of a real MySQL by the operator.

use keystead_cluster::{MySql, MySqlOptions};

use super::{address, secrets};
use crate::schedules::{ask, schedule, wait_reason, wait_rotations};
use crate::support::{Bed, eventually};

async fn password(bed: &Bed) -> String {
    let value = bed.value("shop", "db", "password").await;
    String::from_utf8(value).expect("it is a text")
}

async fn logs_in(mysql: &MySql, password: &str) -> bool {
    mysql
        .execute_as("orders", password, "SELECT 1")
        .await
        .is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_mysql_keeps_the_password_before_until_the_rotation_ends_whatever_is_killed() {
    let options = MySqlOptions {
        address: address(),
        ..MySqlOptions::default()
    };
    let (bed, mysql) = tokio::join!(Bed::start(), MySql::start_with(options));
    let mut mysql = mysql.expect("a MySQL starts");
    bed.namespace("shop").await;
    let mut operator = bed.operator().await;
    let place = (mysql.address(), mysql.port(), mysql.ca_pem());
    secrets(&bed, place, "{}").await;
    let first = password(&bed).await;
    let set_up = format!(
        "CREATE USER orders@'%' IDENTIFIED BY '{first}'; CREATE USER keeper@'%' IDENTIFIED BY 'admin-canary'; \
         GRANT CREATE USER ON *.* TO keeper@'%'; GRANT SELECT ON mysql.* TO keeper@'%'"
    );
    mysql.execute(&set_up).await.expect("it is set up");
    let strategy = "strategy: {mysql: {users: Single, adminSecretRef: {name: admin}}}, finish: {gracePeriod: 5s}";
    bed.apply(&schedule("db", "db", strategy)).await;
    wait_reason(&bed, "db", "Scheduled").await;

    ask(&bed, "db", "one").await;
    eventually("the new password is delivered", || async {
        password(&bed).await != first
    })
    .await;
    let second = password(&bed).await;
    // During the grace period both work.
    assert!(logs_in(&mysql, &first).await && logs_in(&mysql, &second).await);
    wait_rotations(&bed, "db", 1).await;
    assert!(!logs_in(&mysql, &first).await, "it is retired");
    assert!(logs_in(&mysql, &second).await);

    for round in 2..6_usize {
        let before = password(&bed).await;
        ask(&bed, "db", &format!("round-{round}")).await;
        let moment = u64::try_from(round).expect("a small number") * 100;
        tokio::time::sleep(std::time::Duration::from_millis(moment)).await;
        operator.kill().await;
        if round % 2 == 1 {
            mysql.kill().expect("it is killed");
            mysql.start_again().await.expect("it starts again");
        }
        assert!(logs_in(&mysql, &before).await, "its consumers work on");
        operator = bed.operator().await;
        wait_rotations(&bed, "db", round).await;
        eventually("another value is delivered", || async {
            password(&bed).await != before
        })
        .await;
        assert!(logs_in(&mysql, &password(&bed).await).await);
        assert!(!logs_in(&mysql, &before).await);
    }
    drop(operator);
}
