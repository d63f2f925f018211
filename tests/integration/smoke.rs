//! The shortest way from `kubectl apply` to a value.

use k8s_openapi::jiff::Timestamp;

use crate::support::{Bed, eventually, key};

#[tokio::test(flavor = "multi_thread")]
async fn an_applied_secret_is_generated_sealed_and_delivered() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.apply(
        r#"
apiVersion: keystead.dev/v1alpha1
kind: ManagedKey
metadata: {name: orders, namespace: shop}
spec: {description: for the orders}
---
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {name: sealed, namespace: shop}
spec:
  keyRef: {name: orders}
  generate: [{key: password, password: {}}]
  literals: {username: orders}
---
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {name: plain, namespace: shop}
spec:
  generate: [{key: password, password: {length: 20}}]
  literals: {username: orders}
  template: {data: {URL: "postgres://[[ username ]]:[[ password | urlencode ]]@db/orders"}}
  target: {form: Plain}
"#,
    )
    .await;
    bed.wait_ready("shop", "sealed").await;
    bed.wait_ready("shop", "plain").await;
    let sealed = bed.data("shop", "sealed").await.unwrap();
    assert_eq!(
        sealed.keys().collect::<Vec<_>>(),
        ["password.sealed", "username.sealed"]
    );
    let url = String::from_utf8(bed.value("shop", "plain", "URL").await).unwrap();
    assert!(
        url.starts_with("postgres://orders:") && url.ends_with("@db/orders"),
        "{url}"
    );
    let shown = bed
        .kubectl(&["get", "managedkeys,managedsecrets", "-n", "shop"])
        .await
        .expect_ok();
    assert!(
        shown.contains("Enabled") && shown.contains("Synced"),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tests_can_move_the_operators_clock_while_it_runs() {
    const DAY: i64 = 86_400;
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.set_clock(40 * DAY);
    bed.apply(&key("shop", "orders")).await;
    let made = || async {
        let found = bed.materials().await;
        found.first().map(|m| m.spec.generations[0].created.0)
    };
    eventually("the key is made", || async { made().await.is_some() }).await;
    let ahead = made().await.unwrap().as_second() - Timestamp::now().as_second();
    assert!((39 * DAY..41 * DAY).contains(&ahead), "{ahead}");
}
