//! Rotation of users of a real PostgreSQL by the operator: nobody is locked out, whatever is killed; nobody is robbed.

mod mariadb;
mod mysql;
mod points;
mod redis;

use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use keystead_cluster::{Postgres, PostgresOptions};
use tokio::sync::Mutex;

use crate::schedules::{ask, ready, schedule, status, wait_reason, wait_rotations};
use crate::support::{Bed, Operator, eventually};

const ALTERNATING: &str =
    "strategy: {postgres: {users: Alternating, adminSecretRef: {name: pg-admin}}}";
const SINGLE: &str = "strategy: {postgres: {users: Single, adminSecretRef: {name: pg-admin}}}";
const BY_ITSELF: &str = "strategy: {postgres: {users: Single}}";

/// A database beside a control plane, with an administrator who is no superuser.
struct World {
    bed: Bed,
    postgres: Postgres,
    operator: Mutex<Option<Operator>>,
}

/// An address of this machine that is not only its own: the operator connects to no other. Nothing is sent.
pub(crate) fn address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").unwrap();
    socket.local_addr().unwrap().ip()
}

/// A secret whose user is `orders`, with a password as it is asked for, and its administrator's, on the server at that place, whose
/// certificate is of that authority.
async fn secrets(bed: &Bed, (host, port, authority): (IpAddr, u16, &str), password: &str) {
    let (host, port) = (host.to_string(), port.to_string());
    let data: [(&str, &[u8]); 5] = [
        ("username", b"keeper"),
        ("password", b"admin-canary"),
        ("host", host.as_bytes()),
        ("port", port.as_bytes()),
        ("ca", authority.as_bytes()),
    ];
    bed.create_native("shop", "admin-source", &data).await;
    let admin = "{import: [{secretRef: {name: admin-source}}], target: {form: None}}";
    bed.apply_secret("shop", "admin", admin).await;
    let orders = format!(
        "{{generate: [{{key: password, password: {password}}}], literals: {{username: orders}}, target: {{form: Plain}}}}"
    );
    bed.apply_secret("shop", "db", &orders).await;
    bed.wait_ready("shop", "admin").await;
    bed.wait_ready("shop", "db").await;
}

impl World {
    async fn start() -> Self {
        let options = PostgresOptions {
            address: address(),
            settings: vec![("log_statement".to_owned(), "all".to_owned())],
            ..PostgresOptions::default()
        };
        let (bed, postgres) = tokio::join!(Bed::start(), Postgres::start_with(options));
        let postgres = postgres.expect("a PostgreSQL starts");
        bed.namespace("shop").await;
        let operator = bed.operator().await;
        let world = Self {
            bed,
            postgres,
            operator: Mutex::new(Some(operator)),
        };
        world
            .execute("CREATE ROLE keeper LOGIN CREATEROLE PASSWORD 'admin-canary'")
            .await;
        world.administrator("").await;
        world
    }

    /// The administrator's login, and where the server is; imported, so that no manifest has it.
    async fn administrator(&self, allowed: &str) {
        let (host, port) = (
            self.postgres.address().to_string(),
            self.postgres.port().to_string(),
        );
        let mut data: Vec<(&str, &[u8])> = vec![
            ("username", b"keeper"),
            ("password", b"admin-canary"),
            ("host", host.as_bytes()),
            ("port", port.as_bytes()),
            ("ca", self.postgres.ca_pem().as_bytes()),
        ];
        if !allowed.is_empty() {
            data.push(("allowedUsers", allowed.as_bytes()));
        }
        self.bed.create_native("shop", "pg-source", &data).await;
        let spec = "{import: [{secretRef: {name: pg-source}}], target: {form: None}}";
        self.bed.apply_secret("shop", "pg-admin", spec).await;
        self.bed.wait_ready("shop", "pg-admin").await;
    }

    async fn execute(&self, statements: &str) -> String {
        self.postgres.execute(statements).await.unwrap()
    }

    /// A secret for a role that there is, with `more` literals; the role has its password.
    async fn role(&self, role: &str, more: &str) {
        let spec = format!(
            "{{generate: [{{key: password, password: {{}}}}], literals: {{username: {role}{more}}}, target: {{form: Plain}}}}"
        );
        self.bed.apply_secret("shop", "db", &spec).await;
        self.bed.wait_ready("shop", "db").await;
        let password = self.value("password").await;
        self.execute(&format!("ALTER ROLE {role} PASSWORD '{password}'"))
            .await;
    }

    /// The role `orders`, which the administrator may change, and which owns a table.
    async fn orders(&self, more: &str) {
        self.execute(
            "CREATE ROLE orders LOGIN; GRANT orders TO keeper WITH ADMIN OPTION; CREATE TABLE goods (id int); \
             ALTER TABLE goods OWNER TO orders",
        )
        .await;
        self.role("orders", more).await;
    }

    async fn value(&self, key: &str) -> String {
        String::from_utf8(self.bed.value("shop", "db", key).await).unwrap()
    }

    async fn schedule(&self, spec: &str) {
        self.bed.apply(&schedule("db", "db", spec)).await;
        wait_reason(&self.bed, "db", "Scheduled").await;
    }

    /// What is delivered logs in, and writes to the table. User and password are read at once: they change at once.
    async fn logs_in(&self) {
        let data = self.bed.data("shop", "db").await.unwrap();
        let [user, password] =
            ["username", "password"].map(|key| String::from_utf8(data[key].clone()).unwrap());
        let written = self
            .postgres
            .execute_as(&user, &password, "INSERT INTO goods VALUES (1)");
        written.await.expect("what is delivered logs in");
    }

    /// kill -9, and another one.
    async fn kill_operator(&self) {
        let mut operator = self.operator.lock().await;
        operator.take().expect("one runs").kill().await;
        *operator = Some(self.bed.operator().await);
    }

    /// What all operators have logged.
    fn logs(&self) -> String {
        let files = std::fs::read_dir(self.bed.folder()).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let logs = files.filter(|file| file.extension().is_some_and(|it| it == "log"));
        logs.map(|log| std::fs::read_to_string(log).unwrap())
            .collect()
    }

    /// Waits until what is delivered belongs to the current version: it is delivered after the version is current.
    async fn delivered(&self, former: &str) {
        eventually("another value is delivered", || async {
            self.value("password").await != former
        })
        .await;
    }
}

impl World {
    /// Asks for a rotation of a secret for that role by the administrator, which is refused and changes no role. Returns why.
    /// `known`: whether what is stored logs in.
    async fn refuses(&self, role: &str, more: &str, known: bool, reason: &str) -> String {
        let spec = format!(
            "{{generate: [{{key: password, password: {{}}}}], literals: {{username: {role}{more}}}, target: {{form: Plain}}}}"
        );
        self.bed.apply_secret("shop", role, &spec).await;
        self.bed.wait_ready("shop", role).await;
        if known {
            let password = self.bed.value("shop", role, "password").await;
            let password = String::from_utf8(password).unwrap();
            self.execute(&format!("ALTER ROLE {role} PASSWORD '{password}'"))
                .await;
        }
        let before = self.execute(ROLES).await;
        self.bed.apply(&schedule(role, role, SINGLE)).await;
        eventually("what is stored was tried", || async {
            status(&self.bed, role).await.check.is_some()
        })
        .await;
        ask(&self.bed, role, "now").await;
        let message = wait_reason(&self.bed, role, reason).await;
        assert_eq!(self.execute(ROLES).await, before, "{role}: {message}");
        message
    }
}

/// Everything about all roles.
const ROLES: &str =
    "SELECT a.*, shobj_description(a.oid, 'pg_authid') FROM pg_authid a ORDER BY oid";

#[tokio::test(flavor = "multi_thread")]
async fn two_users_take_turns_and_no_login_ever_fails_whatever_is_killed() {
    let mut world = World::start().await;
    world.orders("").await;
    world.schedule(ALTERNATING).await;
    let mut users = vec![world.value("username").await];
    let counts = Arc::new((AtomicBool::new(false), AtomicUsize::new(0)));
    let rotations = 6;
    // An application that opens a connection again and again with what it was delivered last.
    let application = async {
        while !counts.0.load(Ordering::Relaxed) {
            world.logs_in().await;
            counts.1.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let bed = &world.bed;
    let rotating = async {
        for round in 0..rotations {
            let former = world.value("password").await;
            ask(bed, "db", &format!("round-{round}")).await;
            if round >= 2 {
                // At another point each time: before the version is made, while the server is told, after it is current.
                tokio::time::sleep(Duration::from_millis(60 * u64::try_from(round).unwrap())).await;
                world.kill_operator().await;
            }
            wait_rotations(bed, "db", round + 1).await;
            world.delivered(&former).await;
            users.push(world.value("username").await);
        }
        counts.0.store(true, Ordering::Relaxed);
    };
    tokio::join!(application, rotating);
    assert!(counts.1.load(Ordering::Relaxed) > rotations);
    let turns = ["orders", "orders_clone"];
    let expected: Vec<_> = (0..=rotations).map(|round| turns[round % 2]).collect();
    assert_eq!(users, expected);
    // Of the two, the one before still logs in, with the value before.
    let owner = world
        .execute("SELECT tableowner FROM pg_tables WHERE tablename = 'goods'")
        .await;
    assert_eq!(owner.trim(), "orders");
    let passwords = [world.value("password").await, "admin-canary".to_owned()];
    let log = world.postgres.log().unwrap();
    let own = world.logs();
    assert!(own.contains("keystead"), "the logs were not found");
    let status = format!("{:?}", status(bed, "db").await);
    for password in passwords {
        // The administrator's was written by this test in clear text.
        let told = log.contains(&password) && password != "admin-canary";
        assert!(!told && !own.contains(&password) && !status.contains(&password));
    }
    // Away, and back, in the midst of a rotation.
    let former = world.value("password").await;
    world.postgres.stop().await.unwrap();
    ask(&world.bed, "db", "while-away").await;
    let message = wait_reason(&world.bed, "db", "RotationFailed").await;
    assert!(!message.is_empty());
    let running = crate::schedules::status(&world.bed, "db")
        .await
        .running
        .unwrap();
    assert_eq!(running.step.as_str(), "SetSecret");
    assert!(running.attempts.unwrap() >= 1);
    world.postgres.start_again().await.unwrap();
    world.logs_in().await;
    wait_rotations(&world.bed, "db", rotations + 1).await;
    world.delivered(&former).await;
    world.logs_in().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_changes_his_own_password_and_is_never_locked_out_by_a_kill() {
    let world = World::start().await;
    let (host, port) = (world.postgres.address(), world.postgres.port());
    let ca = world.postgres.ca_pem().replace('\n', "\\n");
    let place = format!(", host: \"{host}\", port: \"{port}\", ca: \"{ca}\"");
    world.orders(&place).await;
    world.schedule(BY_ITSELF).await;
    for round in 0..5_u64 {
        let former = world.value("password").await;
        ask(&world.bed, "db", &format!("round-{round}")).await;
        tokio::time::sleep(Duration::from_millis(70 * round)).await;
        world.kill_operator().await;
        wait_rotations(&world.bed, "db", usize::try_from(round).unwrap() + 1).await;
        world.delivered(&former).await;
        world.logs_in().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_changed_is_a_conflict_and_nobody_fights() {
    let world = World::start().await;
    world.orders("").await;
    world.schedule(SINGLE).await;
    let stored = world.value("password").await;
    world.execute("ALTER ROLE orders PASSWORD 'theirs'").await;
    let before = world.execute(ROLES).await;
    ask(&world.bed, "db", "now").await;
    let message = wait_reason(&world.bed, "db", "OwnershipConflict").await;
    assert!(message.contains("orders"), "{message}");
    let found = status(&world.bed, "db").await;
    let types: Vec<_> = found
        .conditions
        .iter()
        .map(|it| it.type_.as_str())
        .collect();
    assert_eq!(types, ["OwnershipConflict", "Ready"]);
    assert_eq!(world.execute(ROLES).await, before, "nothing is changed");
    assert_eq!(world.value("password").await, stored);
    // Set right, it goes on by itself.
    world
        .execute(&format!("ALTER ROLE orders PASSWORD '{stored}'"))
        .await;
    wait_rotations(&world.bed, "db", 1).await;
    world.delivered(&stored).await;
    world.logs_in().await;
    assert_eq!(ready(&world.bed, "db").await.0, "Scheduled");
    assert_eq!(status(&world.bed, "db").await.conditions.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrators_login_is_nobodys_tool() {
    let world = World::start().await;
    world.execute("CREATE ROLE orders LOGIN; CREATE ROLE boss LOGIN SUPERUSER; CREATE ROLE payroll LOGIN PASSWORD 'theirs'; \
        GRANT orders TO keeper WITH ADMIN OPTION; GRANT payroll TO keeper WITH ADMIN OPTION")
        .await;
    // Whose password is not known, and who is not ours.
    world
        .refuses("payroll", "", false, "OwnershipConflict")
        .await;
    // A superuser, also one whose password is known; the administrator himself; another server than he says.
    world.refuses("boss", "", true, "RotationRejected").await;
    world.refuses("keeper", "", false, "RotationRejected").await;
    let elsewhere = ", host: evil.example.com";
    let message = world
        .refuses("orders", elsewhere, true, "RotationRejected")
        .await;
    assert!(message.contains("host"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_is_cancelled_leaves_the_value_before_working() {
    let mut world = World::start().await;
    world.orders("").await;
    world.schedule(ALTERNATING).await;
    ask(&world.bed, "db", "first").await;
    wait_rotations(&world.bed, "db", 1).await;
    let data = world.bed.data("shop", "db").await.unwrap();
    world.postgres.stop().await.unwrap();
    ask(&world.bed, "db", "second").await;
    wait_reason(&world.bed, "db", "RotationFailed").await;
    let pending = status(&world.bed, "db").await.running.unwrap().version;
    let cancel = format!("keystead.dev/cancel-rotation={pending}");
    let annotate = ["-n", "shop", "annotate", "rotationschedule", "db"];
    let annotate = [&annotate[..], &[cancel.as_str()]].concat();
    world.bed.kubectl(&annotate).await.expect_ok();
    world.kill_operator().await;
    // Nothing is dropped before the other side has been asked.
    wait_reason(&world.bed, "db", "RotationFailed").await;
    assert_eq!(
        status(&world.bed, "db").await.running.unwrap().version,
        pending
    );
    world.postgres.start_again().await.unwrap();
    wait_rotations(&world.bed, "db", 2).await;
    let found = status(&world.bed, "db").await;
    assert_eq!(found.history[0].version, pending);
    assert_eq!(found.history[0].cancelled, Some(true));
    assert_eq!(found.history[0].promoted, None);
    wait_reason(&world.bed, "db", "Scheduled").await;
    assert_eq!(world.bed.data("shop", "db").await.unwrap(), data);
    world.logs_in().await;
    // The annotation, which is still there, does nothing to the next one.
    let former = world.value("password").await;
    ask(&world.bed, "db", "third").await;
    wait_rotations(&world.bed, "db", 3).await;
    world.delivered(&former).await;
    world.logs_in().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_changed_is_found_before_any_rotation_and_when_asked() {
    let world = World::start().await;
    world.orders("").await;
    world.schedule(SINGLE).await;
    let passed = status(&world.bed, "db").await.check;
    let passed = passed.expect("what is stored was tried at once");
    assert_eq!((passed.result.as_str(), passed.token), ("Passed", None));
    let stored = world.value("password").await;
    world.execute("ALTER ROLE orders PASSWORD 'theirs'").await;
    // An hour later, nobody has asked.
    world.bed.set_clock(3700);
    wait_reason(&world.bed, "db", "OwnershipConflict").await;
    world
        .execute(&format!("ALTER ROLE orders PASSWORD '{stored}'"))
        .await;
    let test = [
        "-n",
        "shop",
        "annotate",
        "rotationschedule",
        "db",
        "keystead.dev/test-rotation=now",
    ];
    world.bed.kubectl(&test).await.expect_ok();
    wait_reason(&world.bed, "db", "Scheduled").await;
    let found = status(&world.bed, "db").await;
    let check = found.check.unwrap();
    assert_eq!(
        (check.result.as_str(), check.token.as_deref()),
        ("Passed", Some("now"))
    );
    assert!(found.history.is_empty(), "nothing was rotated");
    assert_eq!(world.value("password").await, stored);
}
