//! A controller that is killed, or away, while something is put: it is done once, or never.

use std::time::{Duration, Instant};

use super::{NOT_NOW, make_current, put, text, version};
use crate::support::{Bed, Calls, Operator, Person, eventually};

const SPEC: &str = "{stored: {}, literals: {a: b}, target: {form: Plain}}";
const AWAY: &str = "ServiceUnavailableException";

async fn started() -> (Bed, Operator, Operator, Calls) {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let controller = bed.operator().await;
    let server = bed.server().await;
    bed.apply_secret("shop", "db", SPEC).await;
    bed.wait_ready("shop", "db").await;
    let args = ["create", "serviceaccount", "writer", "-n", "shop"];
    bed.kubectl(&args).await.expect_ok();
    let rule = "[{apiGroups: [keystead.dev], resources: [managedsecrets/value, managedsecrets], verbs: [get, put]}]";
    let person = Person::new(&bed, "system:serviceaccount:shop:writer");
    person.grant("shop", "writes", rule).await;
    let question = ["put", "managedsecrets", "--subresource=value", "-n", "shop"];
    person.can(&question).await;
    let calls = Calls::account(&bed, &server, "shop", "writer").await;
    (bed, controller, server, calls)
}

fn object(number: u32) -> String {
    format!("{{\"a\":\"b\",\"number\":\"{number}\"}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_killed_around_a_put_does_it_once_and_the_caller_learns_of_it() {
    let (bed, mut controller, _server, writer) = started().await;
    for number in 1..=8_u32 {
        let (token, whole) = (version(number), object(number));
        let asked = put(&writer, "db", &token, &whole);
        let killed = async {
            // At another point each time: before the truth, between it and the answer, after both.
            tokio::time::sleep(Duration::from_millis(u64::from(number) * 25)).await;
            controller.kill().await;
            bed.operator().await
        };
        let (answer, again) = tokio::join!(asked, killed);
        controller = again;
        if answer.status != 200 {
            assert_eq!(answer.error(), AWAY, "{answer:?}");
            eventually("it is done after all", || async {
                put(&writer, "db", &token, &whole).await.status == 200
            })
            .await;
        }
        assert_eq!(text(&writer, "db").await, whole);
        let now = bed.versions("shop", "db").await;
        assert!(now.len() <= usize::try_from(number).unwrap() + 1, "{now:?}");
    }
    bed.wait_ready("shop", "db").await;
    bed.wait_value("shop", "db", "number", b"8").await;
    let ids: Vec<_> = bed.versions("shop", "db").await;
    let ids: Vec<_> = ids.into_iter().map(|(id, _)| id).take(8).collect();
    let expected: Vec<_> = (1..=8).rev().map(version).collect();
    assert_eq!(
        ids, expected,
        "each once, in the order in which they were put"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_while_no_controller_was_there_is_done_soon_or_never() {
    let (bed, controller, _server, writer) = started().await;
    // Soon enough.
    controller.kill().await;
    let (token, whole) = (version(1), object(1));
    let asked = put(&writer, "db", &token, &whole);
    let back = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        bed.operator().await
    };
    let (answer, controller) = tokio::join!(asked, back);
    if answer.status != 200 {
        // The lease of the killed one may last longer than the call waits.
        assert_eq!(answer.error(), AWAY);
        eventually("it is done after all", || async {
            put(&writer, "db", &version(1), &object(1)).await.status == 200
        })
        .await;
    }
    assert_eq!(text(&writer, "db").await, object(1));

    // Too late.
    controller.kill().await;
    let begun = Instant::now();
    let answer = put(&writer, "db", &version(2), &object(2)).await;
    assert_eq!(answer.error(), AWAY);
    assert!(
        answer.body["message"]
            .as_str()
            .unwrap()
            .contains("same ClientRequestToken")
    );
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "{:?}",
        begun.elapsed()
    );
    bed.set_clock(70);
    let _controller = bed.operator().await;
    let args = [
        "get",
        "secretchanges",
        "-n",
        "keystead-system",
        "-o",
        "jsonpath={.items[*].status.code}",
    ];
    eventually("it is refused as too late", || async {
        bed.kubectl(&args).await.out.contains(AWAY)
    })
    .await;
    assert_eq!(bed.versions("shop", "db").await[0].0, version(1));
    bed.set_clock(0);
    eventually("asked for again, it is done", || async {
        put(&writer, "db", &version(2), &object(2)).await.status == 200
    })
    .await;
    assert_eq!(bed.versions("shop", "db").await[0].0, version(2));

    // A secret whose resource goes is refused at once, or by the controller.
    bed.delete("shop", "managedsecret/db").await;
    let answer = put(&writer, "db", &version(3), &object(3)).await;
    assert_eq!(answer.error(), NOT_NOW, "{answer:?}");
    let moved = make_current(&writer, "db", &version(1), &version(2)).await;
    assert_eq!(moved.error(), NOT_NOW, "{moved:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_call_twice_at_once_is_one_change_and_another_value_of_its_token_is_refused() {
    let (bed, controller, _server, writer) = started().await;
    let count = || async {
        let args = [
            "get",
            "secretchanges",
            "-n",
            "keystead-system",
            "-o",
            "name",
        ];
        bed.kubectl(&args).await.expect_ok().lines().count()
    };
    let (token, whole, other) = (version(1), object(1), object(2));
    controller.pause().await;
    let calls = async {
        let first = put(&writer, "db", &token, &whole);
        let later = async {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            put(&writer, "db", &token, &whole).await
        };
        let another = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            put(&writer, "db", &token, &other).await
        };
        tokio::join!(first, later, another)
    };
    let looks = async {
        tokio::time::sleep(Duration::from_millis(2500)).await;
        let same = count().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let all = count().await;
        controller.resume().await;
        (same, all)
    };
    let ((first, later, another), (same, all)) = tokio::join!(calls, looks);
    assert_eq!((same, all), (1, 2));
    assert_eq!(
        (first.status, later.status),
        (200, 200),
        "{first:?} {later:?}"
    );
    assert_eq!(another.error(), "ResourceExistsException", "{another:?}");
    assert_eq!(text(&writer, "db").await, whole);
    assert_eq!(bed.versions("shop", "db").await.len(), 2);
}
