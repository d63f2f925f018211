//! Users of a real database are rotated while an application logs in anew each second: nobody is ever refused, whatever is killed.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use keystead_cluster::{Postgres, PostgresOptions};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::bed::{Bed, SYSTEM, Turn, text};
use crate::tools::eventually;
use crate::workloads::{deployment, opted_in, restricted, wait_rolled_out};

const NAMESPACE: &str = "e2e-logins";
const PODS: u32 = 6;
const ROTATIONS: usize = 20;

/// Logs in each second with what is in its files, in a new connection, and says what came of it. A server that is away refuses nobody.
/// Before its first login nothing counts: the user may not be there yet.
const APPLICATION: &str = r#"
started=; ok=0; away=0
while true; do
  sleep 1
  # All keys of one version, whatever happens in between.
  files=$(readlink -f /etc/db/..data)
  user=$(cat "$files/username") && password=$(cat "$files/password") || continue
  if said=$(PGPASSWORD="$password" psql -X -At -v ON_ERROR_STOP=1 -c 'INSERT INTO goods VALUES (1)' \
      "host=$DB_HOST port=$DB_PORT dbname=shop user=$user sslmode=verify-full sslrootcert=/etc/ca/ca connect_timeout=5" 2>&1)
  then started=yes; ok=$((ok + 1))
  else
    case "$said" in
    *"authentication failed"*|*"permission denied"*|*"does not exist"*) [ -z "$started" ] || echo "REFUSED $user: $said" ;;
    *) away=$((away + 1)) ;;
    esac
  fi
  echo "ok=$ok away=$away user=$user"
done
"#;

fn address(bed: &Bed) -> IpAddr {
    let nodes = bed.get(SYSTEM, "nodes");
    let addresses = nodes["items"][0]["status"]["addresses"].as_array();
    let mut addresses = addresses.expect("a node has addresses").iter();
    let internal = addresses.find(|address| address["type"] == "InternalIP");
    let address = text(&internal.expect("one is internal")["address"]);
    address.parse().expect("an address")
}

fn application(workshop: &str, postgres: &Postgres) -> Value {
    let (host, port) = (postgres.address().to_string(), postgres.port().to_string());
    json!({
        "automountServiceAccountToken": false,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "app", "image": workshop, "securityContext": restricted(),
            "command": ["sh", "-c", APPLICATION],
            "env": [{"name": "DB_HOST", "value": host}, {"name": "DB_PORT", "value": port}, {"name": "HOME", "value": "/tmp"}],
            "volumeMounts": [{"name": "db", "mountPath": "/etc/db"}, {"name": "ca", "mountPath": "/etc/ca"}],
        }],
        // The one becomes a volume of the driver, the other is a native Secret.
        "volumes": [{"name": "db", "secret": {"secretName": "db"}}, {"name": "ca", "secret": {"secretName": "ca"}}],
    })
}

/// A database, with an administrator who is no superuser, the secrets and the schedule.
fn set_up(bed: &Bed, runtime: &Runtime) -> Postgres {
    let options = PostgresOptions {
        address: address(bed),
        ..PostgresOptions::default()
    };
    let postgres = runtime.block_on(Postgres::start_with(options));
    let postgres = postgres.expect("a PostgreSQL starts");
    let literal = |key: &str, value: &str| format!("--from-literal={key}={value}");
    let ca = literal("ca", postgres.ca_pem());
    let create = ["-n", NAMESPACE, "create", "secret", "generic"];
    bed.tools.kubectl([&create[..], &["ca", &ca]].concat());
    let (host, port) = (
        literal("host", &postgres.address().to_string()),
        literal("port", &postgres.port().to_string()),
    );
    let admin = [
        "admin-source",
        "--from-literal=username=keeper",
        "--from-literal=password=admin-canary",
        &host,
        &port,
        &ca,
    ];
    bed.tools.kubectl([&create[..], &admin].concat());
    bed.apply(&format!(
        "
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {{name: admin, namespace: {NAMESPACE}}}
spec:
  import: [{{secretRef: {{name: admin-source}}, deleteAfterImport: true}}]
  target: {{form: None}}
---
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {{name: db, namespace: {NAMESPACE}}}
spec:
  generate: [{{key: password, password: {{length: 40}}}}]
  literals: {{username: orders}}
---
apiVersion: keystead.dev/v1alpha1
kind: RotationSchedule
metadata: {{name: db, namespace: {NAMESPACE}}}
spec:
  secretRef: {{name: db}}
  strategy: {{postgres: {{users: Alternating, adminSecretRef: {{name: admin}}}}}}
"
    ));
    bed.all_ready(NAMESPACE);
    postgres
}

fn pods(bed: &Bed) -> Vec<String> {
    let list = bed.get(NAMESPACE, "pods");
    let pods = list["items"].as_array().expect("a list").iter();
    pods.map(|pod| text(&pod["metadata"]["name"])).collect()
}

/// The last line of each pod's log: how often it has logged in.
fn logins(bed: &Bed) -> Vec<u64> {
    let last = |pod: String| {
        let log = bed
            .tools
            .kubectl(["-n", NAMESPACE, "logs", &pod, "--tail=1"]);
        let ok = log.split_whitespace().next()?.strip_prefix("ok=")?;
        ok.parse().ok()
    };
    pods(bed).into_iter().filter_map(last).collect()
}

/// The version that the last rotation made, if none is under way.
fn last_made(bed: &Bed) -> Option<String> {
    let status = bed.get(NAMESPACE, "rotationschedule/db")["status"].clone();
    let is_idle = status["running"].is_null();
    let version = status["history"][0]["version"].as_str();
    is_idle.then(|| version.unwrap_or_default().to_owned())
}

/// What happens during a rotation.
fn disturb(bed: &Bed, rotation: usize, postgres: &mut Postgres, runtime: &Runtime) {
    // Somewhere in the steps, or while pods are waited for.
    let mut random = [0];
    getrandom::fill(&mut random).expect("randomness");
    let moment = Duration::from_millis(u64::from(random[0]) * 20);
    match rotation {
        4 | 14 => {
            sleep(moment);
            let restarted = runtime.block_on(postgres.restart());
            restarted.expect("the database starts again");
        }
        _ if rotation % 2 == 1 => {
            sleep(moment);
            bed.kill_pods("controller");
        }
        _ => {}
    }
}

#[test]
fn six_pods_log_in_each_second_and_are_never_refused_over_twenty_rotations_with_kills_and_restarts()
{
    let bed = Turn::take();
    let Some(node) = bed.target.own() else {
        return;
    };
    let workshop = node.workshop();
    let _namespace = opted_in(&bed, NAMESPACE);
    let runtime = Runtime::new().expect("an asynchronous runtime");
    let mut postgres = set_up(&bed, &runtime);
    let app = application(workshop, &postgres);
    bed.apply(&deployment(NAMESPACE, "app", PODS, &app));
    wait_rolled_out(&bed, NAMESPACE, "app");
    let made = pods(&bed);
    assert_eq!(made.len(), PODS as usize);
    let read = [
        "-n",
        NAMESPACE,
        "exec",
        &made[0],
        "--",
        "cat",
        "/etc/db/password",
    ];
    let password = bed.tools.kubectl(read);
    let set_up = format!(
        "CREATE DATABASE shop; CREATE ROLE keeper LOGIN CREATEROLE PASSWORD 'admin-canary'; \
         CREATE ROLE orders LOGIN PASSWORD '{password}'; GRANT orders TO keeper WITH ADMIN OPTION"
    );
    for statement in set_up.split("; ") {
        runtime
            .block_on(postgres.execute(statement))
            .expect("it is set up");
    }
    let table = "CREATE TABLE goods (id int); GRANT INSERT ON goods TO orders";
    let table = format!("\\c shop\n{table}");
    runtime
        .block_on(postgres.execute(&table))
        .expect("there is a table");
    let all_log_in = |more: u64| {
        let before = logins(&bed);
        eventually("every pod logs in", || {
            let now = logins(&bed);
            let on = now.len() == PODS as usize
                && now
                    .iter()
                    .zip(&before)
                    .all(|(now, before)| *now >= before + more);
            on.then_some(())
        });
    };
    eventually("every pod has logged in", || {
        let now = logins(&bed);
        (now.len() == PODS as usize && now.iter().all(|ok| *ok > 0)).then_some(())
    });

    let begun = Instant::now();
    let mut last = last_made(&bed).expect("none is under way");
    for rotation in 1..=ROTATIONS {
        let token = format!("keystead.dev/rotate={rotation}");
        let ask = [
            "-n",
            NAMESPACE,
            "annotate",
            "rotationschedule/db",
            &token,
            "--overwrite",
        ];
        bed.tools.kubectl(ask);
        disturb(&bed, rotation, &mut postgres, &runtime);
        last = eventually("the rotation ends", || {
            last_made(&bed).filter(|made| *made != last)
        });
        println!("rotation {rotation} has ended after {:?}", begun.elapsed());
    }
    all_log_in(2);
    assert_eq!(pods(&bed), made, "nobody was restarted");
    for pod in &made {
        let log = bed.tools.kubectl(["-n", NAMESPACE, "logs", pod]);
        let refused: Vec<_> = log
            .lines()
            .filter(|line| line.starts_with("REFUSED"))
            .collect();
        assert_eq!(refused, [""; 0], "{pod}");
        println!("{pod}: {}", log.lines().last().unwrap_or_default());
    }
    let roles = "SELECT string_agg(rolname, ',' ORDER BY rolname) FROM pg_roles WHERE rolname LIKE 'orders%'";
    let roles = runtime
        .block_on(postgres.execute(roles))
        .expect("it answers");
    assert!(roles.contains("orders,orders_clone"), "{roles}");
}
