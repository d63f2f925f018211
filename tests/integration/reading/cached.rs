//! What is kept between reads: how seldom the API server is asked, and how soon a change counts.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use crate::support::{Served, eventually_within};

const SERVER_USER: &str = "system:serviceaccount:keystead-system:keystead-server";
/// How old a proof may be.
const PROVEN: Duration = Duration::from_secs(10);

/// A secret with that password, which the service account `reader` may read by a statement.
async fn write(served: &Served, password: &str) {
    let may = "policy: {statements: [{sid: reader, effect: Allow, principals: {serviceAccounts: [{namespace: shop, name: reader}]}, \
               actions: [GetSecretValue]}]}";
    let spec = format!("{{literals: {{value: {password}}}, target: {{form: None}}, {may}}}");
    served.bed.apply_secret("shop", "db", &spec).await;
    served.bed.wait_ready("shop", "db").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_what_nobody_changed_asks_nothing_and_a_change_is_read_within_a_second() {
    let served = Served::start(&[("shop", "reader")]).await;
    write(&served, "first").await;
    let reader = served.calls("shop", "reader").await;
    let password = async || {
        let read = reader.value("db").await.ok();
        read["SecretString"].as_str().unwrap().to_owned()
    };
    assert_eq!(password().await, "first");
    // What is watched may have been heard of after that read.
    sleep(Duration::from_secs(1)).await;
    assert_eq!(password().await, "first");

    let mark = served.bed.cluster.audit_mark();
    for _ in 0..50 {
        assert_eq!(password().await, "first");
    }
    let asked = served.bed.cluster.audit_since(mark).unwrap();
    let asked = asked.iter().filter(|event| event.user == SERVER_USER);
    // Tokens are reviewed anew every ten seconds, and what is watched is asked about every few.
    let for_reads = asked.filter(|event| {
        event.verb == "get" && event.resource != "leases"
            || event.resource == "subjectaccessreviews"
    });
    let for_reads: Vec<_> = for_reads.map(|event| &event.request_uri).collect();
    assert!(for_reads.is_empty(), "{for_reads:?}");

    let mut before = "first".to_owned();
    for next in ["second", "third", "fourth"] {
        write(&served, next).await;
        let written = Instant::now();
        eventually_within(Duration::from_secs(1), "the new value is read", || async {
            let read = password().await;
            assert!(read == next || read == before, "{read}");
            read == next
        })
        .await;
        println!("{next} was read {:?} after it was ready", written.elapsed());
        before = next.to_owned();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_proven_any_more_is_given_to_nobody() {
    let (served, proxy) = Served::start_by_way_of(&[("shop", "reader")]).await;
    write(&served, "first").await;
    let reader = served.calls("shop", "reader").await;
    assert_eq!(reader.value("db").await.ok()["SecretString"], "first");

    proxy.set_silent(true);
    write(&served, "second").await;
    let written = Instant::now();
    let refused = loop {
        let asked = written.elapsed();
        let answer = reader.value("db").await;
        if answer.status != 200 {
            break answer;
        }
        // The replica cannot know of the change, and relies on its proof as long as that lasts.
        assert_eq!(answer.body["SecretString"], "first");
        assert!(asked < PROVEN, "read {asked:?} after another was written");
        sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(refused.error(), "ServiceUnavailableException");

    proxy.set_silent(false);
    let back = Duration::from_secs(60);
    eventually_within(back, "the replica answers again", || async {
        let answer = reader.value("db").await;
        if answer.status == 200 {
            let second = json!("second");
            assert_eq!(answer.body["SecretString"], second);
        }
        answer.status == 200
    })
    .await;
}
