//! The operator is killed again and again while people apply.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};

use crate::support::{Bed, eventually_within, key, plain, plains};

/// Reproducible choices (xorshift64*). The seed is printed, and taken from `KEYSTEAD_TEST_SEED` if that is set.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let given = std::env::var("KEYSTEAD_TEST_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).unwrap();
            u64::from_le_bytes(bytes) | 1
        });
        println!("KEYSTEAD_TEST_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % bound
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// Every password that was ever delivered, as a consumer would have seen it, and those that changed.
#[derive(Default)]
struct Seen {
    first: BTreeMap<String, Vec<u8>>,
    changed: Vec<String>,
}

async fn record(client: Client, seen: Arc<Mutex<Seen>>) {
    let labels = watcher::Config::default().labels("app.kubernetes.io/managed-by=keystead");
    let secrets = watcher(Api::<Secret>::all(client), labels)
        .default_backoff()
        .applied_objects();
    let noted = secrets.try_for_each(|secret| {
        let place = format!("{}/{}", secret.namespace().unwrap(), secret.name_any());
        let password = secret.data.unwrap_or_default().remove("password");
        if let Some(password) = password {
            let mut seen = seen.lock().unwrap();
            if *seen
                .first
                .entry(place.clone())
                .or_insert_with(|| password.0.clone())
                != password.0
            {
                seen.changed.push(place);
            }
        }
        async { Ok(()) }
    });
    noted.await.unwrap();
}

const NAMESPACES: [&str; 3] = ["one", "two", "three"];
const PER_NAMESPACE: usize = 100;
const KILLS: usize = 50;

/// Applies 300 secrets and six keys, in small portions, over about the time that the killing takes.
async fn apply_all(bed: &Bed, seed: u64) {
    let mut dice = Dice(seed);
    for start in (0..PER_NAMESPACE).step_by(5) {
        for namespace in NAMESPACES {
            let mut yaml = String::new();
            if start == 10 {
                yaml.push_str(&key(namespace, "orders"));
            }
            for index in start..start + 5 {
                let key = [None, Some("orders"), Some("later")][index % 3];
                yaml.push_str(&plain(namespace, &format!("s{index}"), key, "x"));
            }
            if start == 80 {
                yaml.push_str(&key(namespace, "later"));
            }
            bed.apply(&yaml).await;
            tokio::time::sleep(dice.millis(100, 900)).await;
        }
    }
}

/// The promise: killed at any instruction, 50 times during 300 applies, nothing is lost, doubled or changed.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_killed_50_times_during_300_applies_ends_with_every_value_as_first_seen() {
    let bed = Bed::start().await;
    for namespace in NAMESPACES {
        bed.namespace(namespace).await;
    }
    let mut dice = Dice::new();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let recorder = tokio::spawn(record(bed.client.clone(), seen.clone()));
    let killing = async {
        for round in 0..KILLS {
            let operator = bed.operator_named("one", &[]).await;
            // Every other one gets to work first, however slow the machine is.
            if round % 2 == 1 {
                operator.wait_ready().await;
            }
            tokio::time::sleep(dice.millis(200, 2200)).await;
            operator.kill().await;
        }
    };
    tokio::join!(apply_all(&bed, 7), killing);
    let early = seen.lock().unwrap().first.len();
    println!("{early} values were delivered between the kills");
    assert!(
        early > 50,
        "the operator hardly lived long enough to be worth killing"
    );
    let operator = bed.operator().await;
    for namespace in NAMESPACES {
        bed.wait_all_ready(namespace, PER_NAMESPACE).await;
    }
    operator.stop().await;
    bed.assert_truth_is_exact(&NAMESPACES).await;
    recorder.abort();
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(seen.changed, Vec::<String>::new());
    assert_eq!(seen.first.len(), NAMESPACES.len() * PER_NAMESPACE);
    let mut all = Vec::new();
    for namespace in NAMESPACES {
        for secret in bed.managed_secrets(namespace).await {
            assert_eq!(secret.status.unwrap().versions.len(), 1, "one version each");
        }
        all.extend(bed.passwords(namespace).await.into_values());
    }
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count, "no two secrets have the same value");
}

/// Case B03 (2), scaled: 100 secrets, each changed about five times at random within 30 s, two objects at a time,
/// while the operator is killed twice.
#[tokio::test(flavor = "multi_thread")]
async fn no_change_is_missed_with_two_at_a_time_and_two_kills() {
    const COUNT: usize = 100;
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let mut dice = Dice::new();
    bed.apply(&plains("shop", COUNT, None)).await;
    let two = ["--concurrency", "2"];
    let mut operator = bed.operator_named("one", &two).await;
    bed.wait_all_ready("shop", COUNT).await;
    let before = bed.passwords("shop").await;
    let secrets: Api<keystead::api::ManagedSecret> = Api::namespaced(bed.client.clone(), "shop");
    let mut wanted = BTreeMap::new();
    for round in 0..COUNT * 5 {
        let name = format!("s{}", dice.below(COUNT as u64));
        let literal = format!("round-{round}");
        let patch = serde_json::json!({"spec": {"literals": {"literal": literal}}});
        let merge = kube::api::Patch::Merge(patch);
        secrets
            .patch(&name, &kube::api::PatchParams::default(), &merge)
            .await
            .unwrap();
        wanted.insert(name, literal);
        tokio::time::sleep(dice.millis(0, 100)).await;
        if round == 150 || round == 350 {
            operator.kill().await;
            tokio::time::sleep(dice.millis(0, 1000)).await;
            operator = bed.operator_named("one", &two).await;
        }
    }
    bed.wait_all_ready("shop", COUNT).await;
    for (name, literal) in wanted {
        let delivered = bed.value("shop", &name, "literal").await;
        assert_eq!(String::from_utf8(delivered).unwrap(), literal, "{name}");
    }
    assert_eq!(bed.passwords("shop").await, before);
    eventually_within(Duration::from_secs(5), "nothing is left to do", || async {
        bed.not_ready("shop").await.is_empty()
    })
    .await;
}

/// Case B03 (1): the scheduler of older ones lost reconciles when their number was bounded.
#[test]
fn the_locked_version_of_kube_runtime_has_the_repaired_scheduler() {
    let lock = include_str!("../../Cargo.lock");
    let package = lock
        .split("[[package]]")
        .find(|p| p.contains("name = \"kube-runtime\"\n"))
        .unwrap();
    let version = package
        .split("version = \"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let mut parts = version
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let version: [u32; 3] = std::array::from_fn(|_| parts.next().unwrap_or(0));
    assert!(version >= [0, 87, 1], "{version:?}");
}
