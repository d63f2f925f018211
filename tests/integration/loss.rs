//! The truth is lost, damaged, moved or put back: nothing is made anew in its place, and what is delivered stays.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Secret};
use keystead::truth::truth_name;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};

use crate::support::{Bed, SYSTEM, eventually, eventually_within, key, plain, plains};

/// The data of a Secret.
type Entries = BTreeMap<String, Vec<u8>>;

fn entries(secret: Secret) -> Entries {
    let data = secret.data.unwrap_or_default();
    data.into_iter().map(|(k, v)| (k, v.0)).collect()
}

fn truths(bed: &Bed) -> Api<Secret> {
    Api::namespaced(bed.client.clone(), SYSTEM)
}

async fn delete_truth(bed: &Bed, name: &str) {
    let truth = truth_name("shop", name);
    truths(bed)
        .delete(&truth, &DeleteParams::default())
        .await
        .unwrap();
}

/// Writes the data of the truth about `name` over, as somebody with all rights.
async fn tamper(bed: &Bed, name: &str, change: impl FnOnce(&mut Entries)) {
    let mut truth = bed.truth("shop", name).await.unwrap();
    let mut data = truth
        .data
        .take()
        .unwrap()
        .into_iter()
        .map(|(k, v)| (k, v.0))
        .collect();
    change(&mut data);
    truth.data = Some(
        data.into_iter()
            .map(|(k, v)| (k, k8s_openapi::ByteString(v)))
            .collect(),
    );
    let name = truth.name_any();
    truths(bed)
        .replace(&name, &PostParams::default(), &truth)
        .await
        .unwrap();
}

/// How often an Event with that reason was published about an object.
async fn events(bed: &Bed, name: &str, reason: &str) -> usize {
    let events: Api<Event> = Api::namespaced(bed.client.clone(), "shop");
    let all = events.list(&ListParams::default()).await.unwrap();
    let about = |event: &&Event| {
        event.involved_object.name.as_deref() == Some(name)
            && event.reason.as_deref() == Some(reason)
    };
    // A repetition is counted in the series of the first.
    let times = |event: &Event| {
        let series = event.series.as_ref().and_then(|series| series.count);
        usize::try_from(series.unwrap_or(1)).unwrap()
    };
    all.iter().filter(about).map(times).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_value_is_said_to_be_lost_within_seconds_and_taken_back_when_it_is_restored() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let operator = bed.operator().await;
    bed.lift_guard().await;
    bed.apply(
        &[
            plains("shop", 3, None),
            plain("shop", "own", Some("orders"), "x"),
            key("shop", "orders"),
        ]
        .concat(),
    )
    .await;
    bed.wait_all_ready("shop", 4).await;
    let values = bed.passwords("shop").await;

    // The truth of one secret; the target goes on being there.
    let saved = bed.saved(SYSTEM, "secret", &truth_name("shop", "s0")).await;
    delete_truth(&bed, "s0").await;
    bed.wait_not_ready("shop", "s0", "SourceLost").await;
    assert_eq!(bed.passwords("shop").await, values);
    assert_eq!(events(&bed, "s0", "SourceLost").await, 1);
    bed.apply(&saved).await;
    bed.wait_ready("shop", "s0").await;

    // The same while nobody watches, and with the target gone, too: the status remembers.
    operator.stop().await;
    let saved = bed.saved(SYSTEM, "secret", &truth_name("shop", "s1")).await;
    delete_truth(&bed, "s1").await;
    bed.kubectl(&["delete", "secret", "s1", "-n", "shop"])
        .await
        .expect_ok();
    let operator = bed.operator().await;
    bed.wait_not_ready("shop", "s1", "SourceLost").await;
    assert!(
        bed.data("shop", "s1").await.is_none(),
        "no value is made up"
    );
    bed.apply(&saved).await;
    bed.wait_ready("shop", "s1").await;
    assert_eq!(bed.passwords("shop").await, values);

    // One version out of the truth.
    let mut taken = BTreeMap::new();
    tamper(&bed, "s2", |data| {
        taken = data
            .extract_if(.., |entry, _| entry.starts_with("version."))
            .collect();
    })
    .await;
    let said = bed.wait_not_ready("shop", "s2", "SourceLost").await;
    let version = taken
        .keys()
        .next()
        .unwrap()
        .strip_prefix("version.")
        .unwrap();
    assert!(said.contains(version), "{said}");
    tamper(&bed, "s2", |data| data.extend(taken)).await;
    bed.wait_ready("shop", "s2").await;

    // The key's material.
    let material = bed.material("shop", "orders").await.name_any();
    let saved = bed.saved(SYSTEM, "keymaterial", &material).await;
    bed.kubectl(&["delete", "keymaterial", &material, "-n", SYSTEM])
        .await
        .expect_ok();
    eventually_within(
        Duration::from_secs(10),
        "the key says MaterialMissing",
        || async {
            let keys = bed.managed_keys("shop").await;
            let orders = keys
                .into_iter()
                .find(|key| key.name_any() == "orders")
                .unwrap();
            let conditions = orders.status.unwrap().conditions;
            conditions.iter().any(|c| {
                c.type_ == "Ready" && c.reason == "MaterialMissing" && c.message.contains(&material)
            })
        },
    )
    .await;
    eventually("its secret is not Ready", || async {
        bed.not_ready("shop").await == ["own"]
    })
    .await;
    bed.apply(&saved).await;
    bed.wait_all_ready("shop", 4).await;
    assert_eq!(bed.passwords("shop").await, values);
    bed.assert_truth_is_exact(&["shop"]).await;
    drop(operator);
}

async fn replace_object(bed: &Bed, kind: &str, name: &str, with: Option<&str>) {
    bed.kubectl(&["delete", kind, name, "-n", SYSTEM])
        .await
        .expect_ok();
    if let Some(with) = with {
        bed.apply(with).await;
    }
}

/// Starts an operator that cannot work, and returns what `/readyz` and the log say.
async fn refusal(bed: &Bed, word: &str) {
    let operator = bed.operator_named("one", &[]).await;
    eventually(&format!("/readyz says {word}"), || async {
        operator
            .http("/readyz")
            .await
            .is_some_and(|(code, body)| code == 503 && body.contains(word))
    })
    .await;
    assert!(operator.log().contains(word), "{}", operator.log());
    assert_eq!(operator.http("/livez").await.unwrap().0, 200);
    operator.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_root_key_or_record_the_operator_says_which_and_makes_nothing_anew() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let operator = bed.operator().await;
    bed.lift_guard().await;
    bed.apply(&plains("shop", 2, None)).await;
    bed.wait_all_ready("shop", 2).await;
    let values = bed.passwords("shop").await;
    operator.stop().await;
    let record = bed
        .saved(SYSTEM, "configmap", "keystead-installation")
        .await;
    let root = bed.saved(SYSTEM, "secret", "keystead-root").await;
    let parsed: serde_json::Value = serde_json::from_str(&record).unwrap();
    let fingerprint = parsed["data"]["rootFingerprint"]
        .as_str()
        .unwrap()
        .to_owned();

    replace_object(&bed, "secret", "keystead-root", None).await;
    let mark = bed.cluster.audit_mark();
    refusal(&bed, &fingerprint).await;
    let made = bed
        .kubectl(&["get", "secret", "keystead-root", "-n", SYSTEM])
        .await;
    made.expect_refused();
    let mut other: serde_json::Value = serde_json::from_str(&root).unwrap();
    other["data"]["key"] = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=".into();
    bed.apply(&other.to_string()).await;
    refusal(&bed, &fingerprint).await;
    replace_object(&bed, "secret", "keystead-root", Some(&root)).await;
    replace_object(&bed, "configmap", "keystead-installation", None).await;
    refusal(&bed, "keystead-installation is missing").await;
    bed.kubectl(&["get", "configmap", "keystead-installation", "-n", SYSTEM])
        .await
        .expect_refused();
    let by_operator = |event: &keystead_cluster::AuditEvent| {
        event.user == crate::support::OPERATOR_USER && event.resource != "leases"
    };
    let written = bed.cluster.writes_since(mark).unwrap();
    let written: Vec<_> = written
        .iter()
        .filter(|e| by_operator(e))
        .map(|e| &e.request_uri)
        .collect();
    assert!(written.is_empty(), "{written:?}");
    bed.apply(&record).await;
    let _operator = bed.operator().await;
    bed.apply(&plain("shop", "new", None, "x")).await;
    bed.wait_all_ready("shop", 3).await;
    let now = bed.passwords("shop").await;
    assert!(
        values
            .iter()
            .all(|(name, value)| now.get(name) == Some(value))
    );
}

/// Case B35: put back, moved, damaged and swapped ciphertext is noticed; what is delivered stays.
#[tokio::test(flavor = "multi_thread")]
async fn ciphertext_that_is_not_in_its_place_or_time_is_refused_and_the_target_kept() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let _operator = bed.operator().await;
    bed.lift_guard().await;
    bed.apply(&plains("shop", 3, None)).await;
    bed.wait_all_ready("shop", 3).await;

    older_ciphertext(&bed).await;
    foreign_ciphertext(&bed).await;
}

/// Put back by somebody: whole, and a manifest alone.
async fn older_ciphertext(bed: &Bed) {
    let older = entries(bed.truth("shop", "s0").await.unwrap());
    let more =
        r#"{"spec":{"generate":[{"key":"password","password":{}},{"key":"more","hex":{}}]}}"#;
    bed.kubectl(&[
        "patch",
        "managedsecret",
        "s0",
        "-n",
        "shop",
        "--type=merge",
        "-p",
        more,
    ])
    .await
    .expect_ok();
    eventually("s0 has more", || async {
        bed.data("shop", "s0").await.unwrap().contains_key("more")
    })
    .await;
    bed.wait_ready("shop", "s0").await;
    let newer = entries(bed.truth("shop", "s0").await.unwrap());
    let delivered = bed.data("shop", "s0").await;
    tamper(bed, "s0", |data| data.clone_from(&older)).await;
    bed.wait_not_ready("shop", "s0", "RollbackDetected").await;
    assert_eq!(bed.data("shop", "s0").await, delivered);
    // An older manifest beside newer versions is no better.
    tamper(bed, "s0", |data| {
        data.clone_from(&newer);
        data.insert("manifest".to_owned(), older["manifest"].clone());
    })
    .await;
    bed.wait_not_ready("shop", "s0", "RollbackDetected").await;
    tamper(bed, "s0", |data| data.clone_from(&newer)).await;
    bed.wait_ready("shop", "s0").await;
    assert_eq!(bed.data("shop", "s0").await, delivered);
}

/// Another secret's ciphertext, whole and in part, and one with a flipped bit or cut short.
async fn foreign_ciphertext(bed: &Bed) {
    let mine = entries(bed.truth("shop", "s1").await.unwrap());
    let others = entries(bed.truth("shop", "s2").await.unwrap());
    let target = bed.data("shop", "s1").await;
    let spoiled = |change: &dyn Fn(&mut Entries)| {
        let mut data = mine.clone();
        change(&mut data);
        data
    };
    let version = mine
        .keys()
        .find(|entry| entry.starts_with("version."))
        .unwrap()
        .clone();
    let other_version = others
        .keys()
        .find(|entry| entry.starts_with("version."))
        .unwrap()
        .clone();
    let mut cases = vec![
        others.clone(),
        spoiled(&|data| drop(data.insert("manifest".to_owned(), others["manifest"].clone()))),
        spoiled(&|data| drop(data.insert(version.clone(), others[&other_version].clone()))),
    ];
    for entry in ["manifest", &version] {
        for _ in 0..6 {
            let mut at = [0; 4];
            getrandom::fill(&mut at).unwrap();
            cases.push(spoiled(&|data| {
                let bytes = data.get_mut(entry).unwrap();
                let at = u32::from_le_bytes(at) as usize % bytes.len();
                println!("one bit of byte {at} of {entry}, which has {}", bytes.len());
                bytes[at] ^= 1;
            }));
        }
        cases.push(spoiled(&|data| data.get_mut(entry).unwrap().truncate(100)));
    }
    for spoiled in cases {
        let before =
            events(bed, "s1", "TruthUnreadable").await + events(bed, "s1", "MaterialMissing").await;
        tamper(bed, "s1", |data| *data = spoiled).await;
        let said = not_ready_for_the_truth(bed, "s1").await;
        assert!(
            said.contains("shop/s1"),
            "the message names the place: {said}"
        );
        let after =
            events(bed, "s1", "TruthUnreadable").await + events(bed, "s1", "MaterialMissing").await;
        assert!(after <= before + 1, "one Event at most: {before}, {after}");
        assert_eq!(bed.data("shop", "s1").await, target);
        tamper(bed, "s1", |data| *data = mine.clone()).await;
        bed.wait_ready("shop", "s1").await;
    }
    assert_eq!(bed.data("shop", "s1").await, target);
}

/// Damage may hit the id of the key in the header: then the key is what is missing.
async fn not_ready_for_the_truth(bed: &Bed, name: &str) -> String {
    let message = std::sync::Mutex::new(String::new());
    eventually("the damage is noticed", || async {
        let all = bed.managed_secrets("shop").await;
        let secret = all.into_iter().find(|s| s.name_any() == name).unwrap();
        let conditions = secret.status.unwrap().conditions;
        let ready = conditions.into_iter().find(|c| c.type_ == "Ready").unwrap();
        *message.lock().unwrap() = ready.message;
        ["TruthUnreadable", "MaterialMissing"].contains(&ready.reason.as_str())
    })
    .await;
    message.into_inner().unwrap()
}
