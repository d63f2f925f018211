//! How many calls a second one replica of the server answers by its API, how long they take and what processor time each costs:
//! `GetSecretValue` and `Decrypt` over TLS with the audit trail, by 1, 8 and 32 connections that stay open, from a load generator
//! on the same machine.
//!
//! `cargo bench --bench api` prints the table of docs/performance.md. `KEYSTEAD_BENCH_SECONDS` sets how long each row takes.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![allow(dead_code, reason = "it stands on a part of what the tests stand on")]
#![allow(
    clippy::cast_precision_loss,
    reason = "counts and seconds are small numbers"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use support::{Calls, Operator, Served};

#[allow(unused_imports, reason = "it gives more than is used here")]
#[path = "../tests/integration/support/mod.rs"]
mod support;

const NAMESPACE: &str = "bench";
/// Callers in turn: one alone may not ask as much.
const CALLERS: usize = 16;
/// Before anything is counted.
const WARM_UP: Duration = Duration::from_secs(2);

/// One call to be repeated.
struct Load {
    name: &'static str,
    target: &'static str,
    body: Value,
}

fn main() {
    let seconds = std::env::var("KEYSTEAD_BENCH_SECONDS").map_or(10, |n| n.parse().unwrap());
    let time = Duration::from_secs(seconds);
    // The generator has one thread, so that it leaves the other processor to the server.
    let generator = Builder::new_current_thread().enable_all().build().unwrap();
    let setup = Runtime::new().unwrap();
    let (served, callers, loads) = setup.block_on(prepare());

    println!(
        "| call | connections | calls a second | p50, ms | p99, ms | CPU of a call, µs | RSS, MiB |"
    );
    println!("|---|---|---|---|---|---|---|");
    for load in &loads {
        let requests: Vec<_> = callers
            .iter()
            .map(|caller| caller.request(load.target, &load.body).into_bytes())
            .collect();
        let requests = Arc::new(requests);
        for connections in [1, 8, 32] {
            generator.block_on(run(&callers[0], &requests, connections, WARM_UP));
            let used = served.server.processor_time();
            let begun = Instant::now();
            let mut times = generator.block_on(run(&callers[0], &requests, connections, time));
            let took = begun.elapsed().as_secs_f64();
            let used = served.server.processor_time() - used;
            row(
                load.name,
                connections,
                &mut times,
                took,
                used,
                &served.server,
            );
        }
    }
    setup.block_on(async move { drop(served) });
}

/// A secret, a key that all callers may use, and a message under it.
async fn prepare() -> (Served, Vec<Calls>, [Load; 2]) {
    let accounts: Vec<_> = (0..CALLERS)
        .map(|index| format!("caller-{index}"))
        .collect();
    let accounts: Vec<_> = accounts
        .iter()
        .map(|name| (NAMESPACE, name.as_str()))
        .collect();
    let served = Served::start(&accounts).await;
    let allow = |actions: &str| {
        format!(
            "policy: {{statements: [{{effect: Allow, principals: {{namespaces: [{NAMESPACE}]}}, actions: [{actions}]}}]}}"
        )
    };
    let bed = &served.bed;
    let spec = format!(
        "{{generate: [{{key: value, password: {{length: 40}}}}], target: {{form: None}}, {}}}",
        allow("GetSecretValue")
    );
    bed.apply_secret(NAMESPACE, "db", &spec).await;
    bed.apply(&format!(
        "---\napiVersion: keystead.dev/v1alpha1\nkind: ManagedKey\nmetadata: {{name: orders, namespace: {NAMESPACE}}}\n\
         spec: {{{}}}\n",
        allow("Encrypt, Decrypt")
    ))
    .await;
    bed.wait_ready(NAMESPACE, "db").await;
    let mut callers = Vec::new();
    for (namespace, account) in &accounts {
        callers.push(served.calls(namespace, account).await);
    }
    let ready = ["wait", "managedkey/orders", "-n", NAMESPACE];
    let ready = [&ready[..], &["--for=condition=Ready", "--timeout=60s"]].concat();
    bed.kubectl(&ready).await.expect_ok();
    let arn = bed.material(NAMESPACE, "orders").await.spec.arn;
    let plaintext = "YSBwYXNzd29yZCBvZiB1c3VhbCBsZW5ndGg=";
    let encrypt = json!({"KeyId": arn, "Plaintext": plaintext});
    let encrypted = callers[0].call("TrentService.Encrypt", &encrypt).await.ok();
    let loads = [
        Load {
            name: "GetSecretValue",
            target: "secretsmanager.GetSecretValue",
            body: json!({"SecretId": "db"}),
        },
        Load {
            name: "Decrypt",
            target: "TrentService.Decrypt",
            body: json!({"CiphertextBlob": encrypted["CiphertextBlob"]}),
        },
    ];
    (served, callers, loads)
}

/// Calls by so many connections for so long; how long each call took.
async fn run(
    caller: &Calls,
    requests: &Arc<Vec<Vec<u8>>>,
    connections: usize,
    time: Duration,
) -> Vec<Duration> {
    let end = Instant::now() + time;
    let mut tasks = Vec::new();
    for number in 0..connections {
        let (mut connection, requests) = (caller.connect().await, requests.clone());
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::new();
            for request in requests.iter().cycle().skip(number) {
                let begun = Instant::now();
                if begun >= end {
                    break;
                }
                let (status, _) = connection.ask(request).await;
                assert_eq!(status, 200);
                times.push(begun.elapsed());
            }
            times
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    all
}

fn row(
    name: &str,
    connections: usize,
    times: &mut [Duration],
    took: f64,
    used: f64,
    server: &Operator,
) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1000.0;
    let (count, rss) = (times.len() as f64, server.memory() / 1024);
    println!(
        "| {name} | {connections} | {:.0} | {:.2} | {:.2} | {:.0} | {rss} |",
        count / took,
        at(50),
        at(99),
        used / count * 1e6
    );
}
