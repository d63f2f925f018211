//! Rotation of users of a real Redis by the operator.

use keystead_cluster::{Redis, RedisOptions};

use super::{address, secrets};
use crate::schedules::{ask, schedule, status, wait_reason, wait_rotations};
use crate::support::{Bed, eventually};

async fn password(bed: &Bed) -> String {
    let value = bed.value("shop", "db", "password").await;
    String::from_utf8(value).expect("it is a text")
}

async fn logs_in(redis: &Redis, password: &str) -> bool {
    let answer = redis.execute_as("orders", password, "PING").await;
    answer.is_ok_and(|answer| answer.contains("PONG"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_redis_keeps_the_password_before_until_the_rotation_ends_whatever_is_killed() {
    let options = RedisOptions {
        address: address(),
        ..RedisOptions::default()
    };
    let (bed, redis) = tokio::join!(Bed::start(), Redis::start_with(options));
    let redis = redis.expect("a Redis starts");
    bed.namespace("shop").await;
    let mut operator = bed.operator().await;
    let place = (redis.address(), redis.port(), redis.ca_pem());
    secrets(&bed, place, "{exclude: \" \\\"'\\\\\"}").await;
    let first = password(&bed).await;
    let rights = "+acl|getuser +acl|setuser +acl|dryrun +acl|save +config|get +info";
    let set_up = format!(
        "ACL SETUSER keeper on >admin-canary {rights}\nACL SETUSER orders on >{first} ~or:* -@all +@read +ping +acl|whoami"
    );
    redis.execute(&set_up).await.expect("it is set up");
    let strategy = "strategy: {redis: {users: Single, adminSecretRef: {name: admin}}}, finish: {gracePeriod: 5s}";
    bed.apply(&schedule("db", "db", strategy)).await;
    wait_reason(&bed, "db", "Scheduled").await;

    ask(&bed, "db", "one").await;
    eventually("the new password is delivered", || async {
        password(&bed).await != first
    })
    .await;
    let second = password(&bed).await;
    // During the grace period both work.
    assert!(logs_in(&redis, &first).await && logs_in(&redis, &second).await);
    wait_rotations(&bed, "db", 1).await;
    assert!(!logs_in(&redis, &first).await, "it is retired");
    assert!(logs_in(&redis, &second).await);

    for round in 2..5 {
        let before = password(&bed).await;
        ask(&bed, "db", &format!("round-{round}")).await;
        tokio::time::sleep(std::time::Duration::from_millis(round * 100)).await;
        operator.kill().await;
        operator = bed.operator().await;
        wait_rotations(&bed, "db", usize::try_from(round).unwrap()).await;
        eventually("another value is delivered", || async {
            password(&bed).await != before
        })
        .await;
        assert!(logs_in(&redis, &password(&bed).await).await);
        assert!(!logs_in(&redis, &before).await);
    }
    // One that is cancelled leaves nothing of its value there.
    let current = password(&bed).await;
    redis
        .execute("ACL SETUSER keeper off")
        .await
        .expect("nobody can change it");
    ask(&bed, "db", "given-up").await;
    wait_reason(&bed, "db", "RotationRejected").await;
    let pending = status(&bed, "db").await.running.expect("it waits").version;
    let cancel =
        serde_json::json!({"metadata": {"annotations": {"keystead.dev/cancel-rotation": pending}}});
    bed.patch("shop", "rotationschedule/db", &cancel).await;
    redis
        .execute("ACL SETUSER keeper on")
        .await
        .expect("it can be changed");
    wait_rotations(&bed, "db", 5).await;
    assert_eq!(status(&bed, "db").await.history[0].cancelled, Some(true));
    assert_eq!(password(&bed).await, current);
    let user = redis
        .execute("ACL GETUSER orders")
        .await
        .expect("it answers");
    let passwords = user.lines().filter(|line| line.len() == 64).count();
    assert_eq!(passwords, 1, "{user}");
}
