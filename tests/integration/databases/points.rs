//! The operator is killed at each point of a rotation at which something has just been done, and the rotation comes to its end without a
//! hand: what is delivered logs in.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use keystead_cluster::{MariaDb, MariaDbOptions, MySql, MySqlOptions, Postgres};

use super::{SINGLE, World, address, secrets};
use crate::schedules::{ask, schedule, wait_reason, wait_rotations};
use crate::support::{Bed, Operator, eventually};

/// What was done last, as one can see it from outside.
#[derive(Clone, Copy, Debug)]
enum Point {
    /// It was asked for; perhaps a value was generated.
    Asked,
    /// A pending version is stored.
    Pending,
    /// The server has another password: it was told, and perhaps has not answered yet.
    Told,
    /// The version is current.
    Current,
    /// It is delivered.
    Delivered,
}

const POINTS: [Point; 5] = [
    Point::Asked,
    Point::Pending,
    Point::Told,
    Point::Current,
    Point::Delivered,
];

/// What can be seen of a rotation.
#[derive(PartialEq, Eq)]
struct Sight {
    pending: bool,
    verifier: String,
    current: String,
    delivered: Vec<u8>,
}

/// A server that tells which verifier it has of the user.
trait Server {
    async fn verifier(&self) -> String;
    async fn logs_in(&self, password: &str) -> bool;
}

impl Server for Postgres {
    async fn verifier(&self) -> String {
        let verifier = "SELECT rolpassword FROM pg_authid WHERE rolname = 'orders'";
        self.execute(verifier).await.expect("it answers")
    }

    async fn logs_in(&self, password: &str) -> bool {
        self.execute_as("orders", password, "SELECT 1")
            .await
            .is_ok()
    }
}

macro_rules! of_mysqls_kind {
    ($server:ident) => {
        impl Server for $server {
            async fn verifier(&self) -> String {
                let verifier =
                    "SELECT HEX(authentication_string) FROM mysql.user WHERE user = 'orders'";
                self.execute(verifier).await.expect("it answers")
            }

            async fn logs_in(&self, password: &str) -> bool {
                self.execute_as("orders", password, "SELECT 1")
                    .await
                    .is_ok()
            }
        }
    };
}

of_mysqls_kind!(MariaDb);
of_mysqls_kind!(MySql);

async fn look(bed: &Bed, server: &impl Server) -> Sight {
    let versions = bed.versions("shop", "db").await;
    let staged = |stage: &str| {
        let mut versions = versions.iter();
        versions.find(|(_, stages)| stages.iter().any(|it| it == stage))
    };
    Sight {
        pending: staged("Pending").is_some(),
        current: staged("Current").expect("one is current").0.clone(),
        verifier: server.verifier().await,
        delivered: bed.value("shop", "db", "password").await,
    }
}

fn is_at(point: Point, before: &Sight, now: &Sight) -> bool {
    let told = now.verifier != before.verifier;
    let is_current = now.current != before.current;
    let is_delivered = now.delivered != before.delivered;
    // Whoever is faster than the eye is met at the next point.
    match point {
        Point::Asked => true,
        Point::Pending => now.pending || told || is_current,
        Point::Told => told || is_current,
        Point::Current => is_current,
        Point::Delivered => is_delivered,
    }
}

async fn killed_at_each_point(bed: &Bed, mut operator: Operator, server: &impl Server) {
    for (number, point) in POINTS.into_iter().enumerate() {
        let before = look(bed, server).await;
        ask(bed, "db", &format!("at-{number}")).await;
        let begun = Instant::now();
        while !is_at(point, &before, &look(bed, server).await) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{point:?}");
        }
        operator.kill().await;
        operator = bed.operator().await;
        wait_rotations(bed, "db", number + 1).await;
        eventually("another value is delivered", || async {
            bed.value("shop", "db", "password").await != before.delivered
        })
        .await;
        let password = bed.value("shop", "db", "password").await;
        let password = String::from_utf8(password).expect("it is a text");
        assert!(server.logs_in(&password).await, "{point:?}");
    }
    drop(operator);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_of_postgresql_comes_to_its_end_from_each_point_at_which_it_is_killed() {
    let world = World::start().await;
    world.orders("").await;
    world.schedule(SINGLE).await;
    let operator = world.operator.lock().await.take().expect("one runs");
    killed_at_each_point(&world.bed, operator, &world.postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_of_mariadb_comes_to_its_end_from_each_point_at_which_it_is_killed() {
    let options = MariaDbOptions {
        address: address(),
        ..MariaDbOptions::default()
    };
    let (bed, server) = tokio::join!(Bed::start(), MariaDb::start_with(options));
    let server = server.expect("a MariaDB starts");
    let place = (server.address(), server.port(), server.ca_pem());
    let operator = administered(&bed, place, async |it| server.execute(it).await).await;
    killed_at_each_point(&bed, operator, &server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_of_mysql_comes_to_its_end_from_each_point_at_which_it_is_killed() {
    let options = MySqlOptions {
        address: address(),
        ..MySqlOptions::default()
    };
    let (bed, server) = tokio::join!(Bed::start(), MySql::start_with(options));
    let server = server.expect("a MySQL starts");
    let place = (server.address(), server.port(), server.ca_pem());
    let operator = administered(&bed, place, async |it| server.execute(it).await).await;
    killed_at_each_point(&bed, operator, &server).await;
    let second = "SELECT COUNT(JSON_EXTRACT(User_attributes, '$.additional_password')) FROM mysql.user WHERE User = 'orders'";
    assert_eq!(server.execute(second).await.expect("it answers"), "0");
}

/// The user `orders` of a server of MySQL's kind, which an administrator changes by a schedule.
async fn administered(
    bed: &Bed,
    place: (IpAddr, u16, &str),
    execute: impl AsyncFn(&str) -> anyhow::Result<String>,
) -> Operator {
    bed.namespace("shop").await;
    let operator = bed.operator().await;
    secrets(bed, place, "{}").await;
    let password = bed.value("shop", "db", "password").await;
    let password = String::from_utf8(password).expect("it is a text");
    let set_up = format!(
        "CREATE USER orders@'%' IDENTIFIED BY '{password}'; CREATE USER keeper@'%' IDENTIFIED BY 'admin-canary'; \
         GRANT CREATE USER ON *.* TO keeper@'%'; GRANT SELECT ON mysql.* TO keeper@'%'"
    );
    execute(&set_up).await.expect("it is set up");
    let strategy = "strategy: {mysql: {users: Single, adminSecretRef: {name: admin}}}";
    bed.apply(&schedule("db", "db", strategy)).await;
    wait_reason(bed, "db", "Scheduled").await;
    operator
}
