//! Targets of which each content has a Secret of its own, which is immutable.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use keystead::truth::truth_name;
use serde_json::{Value, json};

use crate::author_rights::bed_with_author;
use crate::support::{Bed, Person, SOON, SYSTEM, eventually, eventually_within};

fn spec(value: &str, more: &str) -> String {
    format!(
        "{{generate: [{{key: password, password: {{}}}}], literals: {{k: \"{value}\"}}, \
          target: {{form: Plain, immutable: true{more}}}}}"
    )
}

/// The name of the target, as the status tells it.
async fn target(bed: &Bed, name: &str) -> String {
    let status = bed.managed("shop", name).await.status.unwrap();
    status.target_ref.expect("it is delivered").name
}

async fn former(bed: &Bed, name: &str) -> Vec<String> {
    let status = bed.managed("shop", name).await.status.unwrap();
    status.former_targets
}

/// Applies another value; returns the name of the Secret that has it.
async fn deliver(bed: &Bed, name: &str, value: &str) -> String {
    let patch = json!({"spec": {"literals": {"k": value}}});
    bed.patch("shop", &format!("managedsecret/{name}"), &patch)
        .await;
    bed.wait_ready("shop", name).await;
    let target = target(bed, name).await;
    let native = bed.native("shop", &target).await.expect("the target");
    assert_eq!(native.immutable, Some(true));
    assert_eq!(native.data.unwrap()["k"].0, value.as_bytes());
    target
}

/// Has the operator look at who refers to what; by itself it would do so within a minute.
async fn look(bed: &Bed, name: &str) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.unwrap().as_nanos().to_string();
    let look = json!({"metadata": {"annotations": {"look": now}}});
    bed.patch("shop", &format!("managedsecret/{name}"), &look)
        .await;
}

/// All delivered Secrets of the namespace, by name.
async fn delivered(bed: &Bed) -> Vec<String> {
    let args = [
        "get",
        "secrets",
        "-n",
        "shop",
        "-l",
        "app.kubernetes.io/managed-by=keystead",
        "-o",
        "jsonpath={range .items[*]}{.metadata.name}{\"\\n\"}{end}",
    ];
    let out = bed.kubectl(&args).await.expect_ok();
    out.lines().map(str::to_owned).collect()
}

/// What nobody may have changed of a Secret: its UID and its state.
async fn identity(bed: &Bed, name: &str) -> (String, String) {
    let native = bed.native("shop", name).await;
    let meta = native.unwrap_or_else(|| panic!("{name} is there")).metadata;
    (meta.uid.unwrap(), meta.resource_version.unwrap())
}

fn pod(name: &str, secret: &str) -> String {
    let spec = pod_spec(secret);
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n"
    )
}

fn cron_job(name: &str, secret: &str) -> String {
    let mut spec: Value = serde_json::from_str(&pod_spec(secret)).unwrap();
    spec["restartPolicy"] = json!("Never");
    let spec = json!({"schedule": "0 0 1 1 *", "suspend": true,
        "jobTemplate": {"spec": {"template": {"spec": spec}}}});
    format!(
        "---\napiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n"
    )
}

fn pod_spec(secret: &str) -> String {
    json!({
        "containers": [{"name": "app", "image": "example.invalid/app"}],
        "volumes": [{"name": "v", "secret": {"secretName": secret}}],
    })
    .to_string()
}

/// Without waiting for a kubelet, of which there is none.
async fn delete_pod(bed: &Bed, name: &str) {
    let pod = format!("pod/{name}");
    let args = ["delete", &pod, "-n", "shop", "--force", "--grace-period=0"];
    bed.kubectl(&args).await.expect_ok();
}

async fn bed_with_pods() -> Bed {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    eventually("pods can be made", || async {
        let args = ["get", "serviceaccount", "default", "-n", "shop"];
        bed.kubectl(&args).await.ok
    })
    .await;
    bed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_makes_a_new_secret_and_a_former_one_goes_when_nothing_refers_to_it() {
    let bed = bed_with_pods().await;
    let _operator = bed.operator().await;
    bed.apply_secret("shop", "db", &spec("1", "")).await;
    bed.wait_ready("shop", "db").await;
    let first = target(&bed, "db").await;
    assert!(first.starts_with("db-"), "{first}");
    assert!(bed.native("shop", "db").await.is_none());
    assert_eq!(former(&bed, "db").await, [""; 0]);
    let password = bed.value("shop", &first, "password").await;
    bed.apply(&pod("uses", &first)).await;

    let second = deliver(&bed, "db", "2").await;
    assert_eq!(former(&bed, "db").await, [first.as_str()]);
    let third = deliver(&bed, "db", "3").await;
    assert_eq!(bed.value("shop", &third, "password").await, password);
    assert_eq!(former(&bed, "db").await, [first.as_str(), &second]);
    let states = (identity(&bed, &first).await, identity(&bed, &second).await);

    // A CronJob counts between its jobs.
    bed.apply(&cron_job("nightly", &first)).await;
    delete_pod(&bed, "uses").await;
    look(&bed, "db").await;
    tokio::time::sleep(SOON).await;
    assert_eq!(
        (identity(&bed, &first).await, identity(&bed, &second).await),
        states
    );
    bed.delete("shop", "cronjob/nightly").await;
    look(&bed, "db").await;
    bed.wait_gone("shop", &first).await;
    eventually_within(SOON, "it is forgotten", || async {
        former(&bed, "db").await == [second.as_str()]
    })
    .await;

    // A value that comes back is where it was kept, so that a rolled back workload and the target agree.
    assert_eq!(deliver(&bed, "db", "2").await, second);
    assert_eq!(identity(&bed, &second).await, states.1);
    assert_eq!(former(&bed, "db").await, [third.as_str()]);
    assert_eq!(bed.events("shop", "db", "DriftRepaired").await, 0);

    // At rest nothing is written.
    let before = (
        identity(&bed, &second).await,
        bed.versions("shop", "db").await,
    );
    let truth = bed.state_of(SYSTEM, &truth_name("shop", "db")).await;
    look(&bed, "db").await;
    tokio::time::sleep(SOON).await;
    assert_eq!(
        (
            identity(&bed, &second).await,
            bed.versions("shop", "db").await
        ),
        before
    );
    assert_eq!(bed.state_of(SYSTEM, &truth_name("shop", "db")).await, truth);

    what_the_key_and_the_template_do(&bed, &second).await;
}

/// A rotation of the key leaves names and Secrets alone; a template makes another content of the same version.
async fn what_the_key_and_the_template_do(bed: &Bed, current: &str) {
    let (state, truth) = (
        identity(bed, current).await,
        bed.state_of(SYSTEM, &truth_name("shop", "db")).await,
    );
    let rotate = json!({"metadata": {"annotations": {"keystead.dev/rotate": "once"}}});
    bed.patch("shop", "managedkey/keystead-default", &rotate)
        .await;
    eventually("what is stored is encrypted anew", || async {
        bed.state_of(SYSTEM, &truth_name("shop", "db")).await != truth
    })
    .await;
    bed.wait_ready("shop", "db").await;
    assert_eq!(target(bed, "db").await, current);
    assert_eq!(identity(bed, current).await, state);

    let versions = bed.versions("shop", "db").await;
    let template = json!({"spec": {"template": {"data": {"k": "<[[ k ]]>"}}}});
    bed.patch("shop", "managedsecret/db", &template).await;
    bed.wait_ready("shop", "db").await;
    let other = target(bed, "db").await;
    assert_ne!(other, current);
    assert_eq!(bed.value("shop", &other, "k").await, b"<2>");
    assert_eq!(bed.versions("shop", "db").await, versions);
    let labels = json!({"spec": {"template": {"metadata": {"labels": {"team": "a"}}}}});
    bed.patch("shop", "managedsecret/db", &labels).await;
    bed.wait_ready("shop", "db").await;
    assert_eq!(target(bed, "db").await, other, "labels are no content");
    let native = bed.native("shop", &other).await.unwrap();
    assert_eq!(native.metadata.labels.unwrap()["team"], "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_do_to_an_immutable_target_is_undone_under_its_name() {
    let bed = bed_with_pods().await;
    let operator = bed.operator().await;
    bed.apply_secret("shop", "db", &spec("1", "")).await;
    bed.wait_ready("shop", "db").await;
    let name = target(&bed, "db").await;
    let value = bed.data("shop", &name).await.unwrap();
    let change = json!({"stringData": {"k": "x"}}).to_string();
    let what = format!("secret/{name}");
    let args = [
        "patch", "-n", "shop", &what, "--type", "merge", "-p", &change,
    ];
    let refused = bed.kubectl(&args).await.expect_refused();
    assert!(refused.contains("immutable"), "{refused}");

    bed.delete("shop", &what).await;
    bed.wait_value("shop", &name, "k", b"1").await;
    assert_eq!(bed.data("shop", &name).await.unwrap(), value);
    bed.wait_ready("shop", "db").await;

    // Replaced while nobody looks by one that says that it is ours and has other data, which can be made only anew.
    operator.kill().await;
    let saved = bed.native("shop", &name).await.unwrap();
    let put = async |change: &dyn Fn(&mut Value)| {
        let mut other = json!({"apiVersion": "v1", "kind": "Secret", "immutable": true,
            "metadata": {"name": name, "namespace": "shop", "labels": saved.metadata.labels,
                "annotations": saved.metadata.annotations},
            "stringData": {"k": "theirs"}});
        change(&mut other);
        bed.delete("shop", &what).await;
        bed.kubectl_with(&["create", "-f", "-"], &other.to_string())
            .await
            .expect_ok();
    };
    put(&|_| {}).await;
    let operator = bed.operator().await;
    eventually("it is made anew", || async {
        bed.data("shop", &name).await == Some(value.clone())
    })
    .await;
    assert!(bed.events("shop", "db", "DriftRepaired").await >= 2);
    bed.wait_ready("shop", "db").await;
    assert_eq!(target(&bed, "db").await, name);

    // Somebody's own is left alone.
    operator.kill().await;
    put(&|other| other["metadata"]["annotations"] = json!({})).await;
    let state = identity(&bed, &name).await;
    let _operator = bed.operator().await;
    let told = bed.wait_not_ready("shop", "db", "TargetExists").await;
    assert!(told.contains(&name), "{told}");
    assert_eq!(identity(&bed, &name).await, state);
    bed.delete("shop", &what).await;
    bed.wait_value("shop", &name, "k", b"1").await;

    it_comes_back_with_its_resource(&bed).await;
    a_lost_truth_is_told_by_what_was_delivered(&bed).await;
}

/// The same names and values, whether the Secrets went with their resource or stayed.
async fn it_comes_back_with_its_resource(bed: &Bed) {
    for policy in ["Delete", "Retain"] {
        let spec = spec("1", &format!(", deletionPolicy: {policy}"));
        let name = policy.to_lowercase();
        bed.apply_secret("shop", &name, &spec).await;
        bed.wait_ready("shop", &name).await;
        let native = target(bed, &name).await;
        let value = bed.data("shop", &native).await;
        bed.delete("shop", &format!("managedsecret/{name}")).await;
        if policy == "Delete" {
            eventually("the garbage collector has it", || async {
                bed.native("shop", &native).await.is_none()
            })
            .await;
        }
        bed.apply_secret("shop", &name, &spec).await;
        bed.wait_ready("shop", &name).await;
        assert_eq!(target(bed, &name).await, native, "{policy}");
        assert_eq!(bed.data("shop", &native).await, value, "{policy}");
    }
}

/// Neither truth nor status tell its name.
async fn a_lost_truth_is_told_by_what_was_delivered(bed: &Bed) {
    let spec = spec("1", ", deletionPolicy: Retain");
    bed.apply_secret("shop", "lost", &spec).await;
    bed.wait_ready("shop", "lost").await;
    let native = target(bed, "lost").await;
    let state = identity(bed, &native).await;
    bed.lift_guard().await;
    bed.delete("shop", "managedsecret/lost").await;
    bed.delete(SYSTEM, &format!("secret/{}", truth_name("shop", "lost")))
        .await;
    bed.apply_secret("shop", "lost", &spec).await;
    bed.wait_not_ready("shop", "lost", "SourceLost").await;
    assert_eq!(identity(bed, &native).await, state);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_switched_on_and_off_while_pods_refer_to_either() {
    let bed = bed_with_pods().await;
    let _operator = bed.operator().await;
    let mutable = "{literals: {k: \"1\"}, target: {form: Plain}}";
    let immutable = "{literals: {k: \"1\"}, target: {form: Plain, immutable: true}}";
    bed.apply_secret("shop", "db", mutable).await;
    bed.wait_ready("shop", "db").await;
    bed.apply(&pod("uses", "db")).await;
    let state = identity(&bed, "db").await;
    bed.apply_secret("shop", "db", immutable).await;
    bed.wait_ready("shop", "db").await;
    let name = target(&bed, "db").await;
    assert_eq!(former(&bed, "db").await, ["db"]);
    look(&bed, "db").await;
    tokio::time::sleep(SOON).await;
    assert_eq!(identity(&bed, "db").await, state);

    // Back again, to the same Secret; the pod is for the other one now.
    bed.apply_secret("shop", "db", mutable).await;
    bed.wait_ready("shop", "db").await;
    assert_eq!(target(&bed, "db").await, "db");
    delete_pod(&bed, "uses").await;
    bed.apply(&pod("uses", &name)).await;
    look(&bed, "db").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    delete_pod(&bed, "uses").await;
    look(&bed, "db").await;
    bed.wait_gone("shop", &name).await;
    assert_eq!(bed.value("shop", "db", "k").await, b"1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_killed_at_any_time_leaves_one_secret_for_each_content() {
    let bed = bed_with_pods().await;
    bed.apply_secret("shop", "db", &spec("0", "")).await;
    let mut operator = bed.operator().await;
    bed.wait_ready("shop", "db").await;
    let mut seen: Vec<Secret> = Vec::new();
    for round in 1..=8_u64 {
        let patch = json!({"spec": {"literals": {"k": round.to_string()}}});
        bed.patch("shop", "managedsecret/db", &patch).await;
        tokio::time::sleep(Duration::from_millis(round * 25)).await;
        operator.kill().await;
        for name in delivered(&bed).await {
            seen.extend(bed.native("shop", &name).await);
        }
        operator = bed.operator_named("one", &[]).await;
        operator.wait_ready().await;
        bed.wait_ready("shop", "db").await;
        let target = target(&bed, "db").await;
        assert_eq!(
            bed.value("shop", &target, "k").await,
            round.to_string().as_bytes()
        );
        seen.extend(bed.native("shop", &target).await);
    }
    let mut contents: Vec<_> = seen
        .into_iter()
        .map(|secret| (secret.metadata.name, secret.data))
        .collect();
    contents.sort_by(|a, b| a.0.cmp(&b.0));
    contents.dedup();
    let count = contents.len();
    contents.dedup_by(|a, b| a.0 == b.0);
    assert_eq!(contents.len(), count, "a name has one content");
    look(&bed, "db").await;
    eventually("the present one and the one before it are left", || async {
        delivered(&bed).await.len() == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_secrets_of_any_name_may_write_those_himself() {
    let bed = bed_with_author().await;
    let ann = Person::new(&bed, "ann");
    let manifest = crate::support::managed_secret("shop", "db", &spec("1", ""));
    let on = |verbs: &str, names: &str| {
        format!("[{{apiGroups: [\"\"], resources: [secrets], verbs: {verbs}{names}}}]")
    };
    ann.grant(
        "shop",
        "named",
        &on("[create, update]", ", resourceNames: [db]"),
    )
    .await;
    ann.can(&["update", "secrets/db", "-n", "shop"]).await;
    let told = ann.refused(&manifest).await;
    assert!(
        told.contains("spec.target.immutable needs create on all secrets of shop"),
        "{told}"
    );
    ann.grant("shop", "all", &on("[create, update]", "")).await;
    ann.can(&["update", "secrets", "-n", "shop"]).await;
    ann.allowed(&manifest).await;
}
