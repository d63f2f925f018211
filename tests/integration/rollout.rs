//! Restarts of the workloads that use a secret: once for each change of what is delivered, and for nothing else.
//!
//! There is no kubelet: no pod ever runs, so that a restart is counted by the generation of its workload and by its
//! `ReplicaSets`.

use std::fmt::Write;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::jiff::{Timestamp, tz::TimeZone};
use keystead::api::managed_secret::RolloutStatus;
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::{Value, json};

use crate::support::{
    Bed, OPERATOR_USER, Operator, Person, eventually, eventually_within, managed_secret,
};

const AUTO: &str = "{auto: true}";

/// How many secrets and Deployments case B02 has.
const MANY: usize = 50;

/// A secret with a literal `a` of that value, delivered plain, that restarts somebody.
fn secret(name: &str, value: &str, rollout: &str) -> String {
    let spec =
        format!("{{literals: {{a: \"{value}\"}}, target: {{form: Plain}}, rollout: {rollout}}}");
    managed_secret("shop", name, &spec)
}

/// A Deployment of that name, with labels of its own, that uses a Secret by its environment.
fn deployment(name: &str, secret: &str, labels: &str) -> String {
    format!(
        "---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: shop, labels: {{{labels}}}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - {{name: app, image: example.invalid/app, envFrom: [{{secretRef: {{name: {secret}}}}}]}}
"
    )
}

/// A workload of another kind that mounts a Secret.
fn mounting(api: &str, kind: &str, name: &str, secret: &str, more: &str) -> String {
    format!(
        "---
apiVersion: {api}
kind: {kind}
metadata: {{name: {name}, namespace: shop}}
spec:
  {more}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers: [{{name: app, image: example.invalid/app}}]
      volumes: [{{name: secret, projected: {{sources: [{{secret: {{name: {secret}}}}}]}}}}]
"
    )
}

/// As much of Argo's definition as a restart needs.
const ARGO: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rollouts.argoproj.io}
spec:
  group: argoproj.io
  scope: Namespaced
  names: {kind: Rollout, plural: rollouts, singular: rollout}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

async fn status(bed: &Bed, name: &str) -> RolloutStatus {
    let status = bed.managed("shop", name).await.status.unwrap();
    status.rollout.unwrap_or_default()
}

/// Reason and message of a condition, if it is there.
async fn condition(bed: &Bed, name: &str, type_: &str) -> Option<(String, String)> {
    let conditions = bed.managed("shop", name).await.status?.conditions;
    let found = conditions.into_iter().find(|c| c.type_ == type_)?;
    Some((found.reason, found.message))
}

async fn wait_condition(bed: &Bed, name: &str, type_: &str, reason: &str) -> String {
    eventually(&format!("{type_} of {name} is {reason}"), || async {
        let found = condition(bed, name, type_).await;
        found.is_some_and(|(found, _)| found == reason)
    })
    .await;
    condition(bed, name, type_).await.unwrap().1
}

/// Waits until nobody waits any more, after that many restarts for the last change.
async fn wait_restarted(bed: &Bed, name: &str, count: u32) {
    eventually(&format!("{count} restarts for {name}"), || async {
        let status = status(bed, name).await;
        status.restarted == Some(count)
            && status.pending.is_empty()
            && condition(bed, name, "RolloutPending").await.is_none()
    })
    .await;
}

async fn deployments(bed: &Bed) -> Vec<Deployment> {
    let api: Api<Deployment> = Api::namespaced(bed.client.clone(), "shop");
    api.list(&ListParams::default()).await.unwrap().items
}

/// How often each Deployment was changed, that is, restarted.
async fn generations(bed: &Bed) -> Vec<(String, i64)> {
    let all = deployments(bed).await;
    all.iter()
        .map(|d| (d.name_any(), d.metadata.generation.unwrap()))
        .collect()
}

async fn all_have_generation(bed: &Bed, generation: i64) -> bool {
    let all = generations(bed).await;
    all.iter().all(|(_, found)| *found == generation)
}

async fn object(bed: &Bed, what: &str) -> Value {
    let shown = bed
        .kubectl(&["get", what, "-n", "shop", "-o", "json"])
        .await;
    serde_json::from_str(&shown.expect_ok()).unwrap()
}

/// The annotations of ours on the template of a workload.
async fn marks(bed: &Bed, what: &str) -> Vec<String> {
    let found = object(bed, what).await;
    let annotations = &found["spec"]["template"]["metadata"]["annotations"];
    let all = annotations.as_object().into_iter().flatten();
    all.filter(|(key, _)| key.starts_with("keystead.dev/restarted-for-"))
        .map(|(_, value)| value.as_str().unwrap().to_owned())
        .collect()
}

/// Long enough for several looks of the operator.
async fn a_while() {
    tokio::time::sleep(Duration::from_secs(6)).await;
}

/// Cases B02 and B12 (1).
#[tokio::test(flavor = "multi_thread")]
async fn each_change_restarts_each_consumer_once_and_nothing_else_does() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.apply(ARGO).await;
    let definition = "crd/rollouts.argoproj.io";
    bed.kubectl(&["wait", "--for=condition=Established", definition])
        .await
        .expect_ok();
    let all = |value: &str| {
        (0..MANY).fold(String::new(), |mut yaml, index| {
            let name = format!("s{index}");
            write!(yaml, "{}", secret(&name, value, AUTO)).unwrap();
            yaml
        })
    };
    let workloads = (0..MANY).fold(String::new(), |mut yaml, index| {
        let name = format!("w{index}");
        write!(yaml, "{}", deployment(&name, &format!("s{index}"), "")).unwrap();
        yaml
    });
    // B02 (4): in one apply.
    bed.apply(&format!("{}{workloads}", all("one"))).await;
    for (api, kind, more) in [
        ("apps/v1", "StatefulSet", "serviceName: x"),
        ("apps/v1", "DaemonSet", ""),
        ("argoproj.io/v1alpha1", "Rollout", ""),
    ] {
        let name = kind.to_lowercase();
        bed.apply(&mounting(api, kind, &name, "s0", more)).await;
    }
    bed.wait_all_ready("shop", MANY).await;

    // B02 (1) to (3): resync, restarts of the operator and changes of the leader, metadata, and a rotation of the key.
    let label = json!({"metadata": {"labels": {"team": "orders"}}});
    bed.patch("shop", "managedsecret/s0", &label).await;
    let rotate = json!({"metadata": {"annotations": {"keystead.dev/rotate": "1"}}});
    bed.patch("shop", "managedkey/keystead-default", &rotate)
        .await;
    let operator = led_anew_three_times(&bed, operator).await;
    assert!(
        all_have_generation(&bed, 1).await,
        "{:?}",
        generations(&bed).await
    );
    for index in 0..MANY {
        let status = status(&bed, &format!("s{index}")).await;
        assert_eq!(status, RolloutStatus::default());
    }

    bed.apply(&all("two")).await;
    wait_restarted(&bed, "s0", 4).await;
    for index in 1..MANY {
        wait_restarted(&bed, &format!("s{index}"), 1).await;
    }
    let version = bed.versions("shop", "s0").await[0].0.clone();
    for what in [
        "deployment/w0",
        "rollout/rollout",
        "daemonset/daemonset",
        "statefulset/statefulset",
    ] {
        let marks = marks(&bed, what).await;
        assert_eq!(marks.len(), 1, "{what}");
        assert!(marks[0].starts_with(&version), "{what}: {marks:?}");
    }
    assert!(bed.events("shop", "s0", "Restarted").await >= 1);

    assert!(
        all_have_generation(&bed, 2).await,
        "{:?}",
        generations(&bed).await
    );
    self_heal_leaves_a_restart_alone(&bed, &workloads).await;
    let before = generations(&bed).await;
    operator.kill().await;
    let operator = bed.operator().await;
    a_while().await;
    operator.stop().await;
    assert_eq!(generations(&bed).await, before);
    // Of each the one from before the change, and one more.
    let sets: Api<ReplicaSet> = Api::namespaced(bed.client.clone(), "shop");
    assert_eq!(
        sets.list(&ListParams::default()).await.unwrap().items.len(),
        2 * MANY
    );
}

/// The leader is killed, and the one after it stopped, three times each: whoever leads then has seen nothing before.
async fn led_anew_three_times(bed: &Bed, mut operator: Operator) -> Operator {
    for _ in 0..3 {
        operator.kill().await;
        operator = bed.operator().await;
        operator.wait_ready().await;
        a_while().await;
        operator.stop().await;
        operator = bed.operator().await;
        a_while().await;
    }
    operator
}

/// Case B12 (1): what somebody else applies again and again. (The generation says nothing here: that of a Deployment rises
/// with its annotations too, and kubectl writes what it applied into one.)
async fn self_heal_leaves_a_restart_alone(bed: &Bed, workloads: &str) {
    let before = templates(bed).await;
    for _ in 0..3 {
        bed.apply(workloads).await;
        let args = [
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager",
            "argocd",
            "-f",
            "-",
        ];
        bed.kubectl_with(&args, workloads).await.expect_ok();
    }
    assert_eq!(templates(bed).await, before);
}

/// The templates of all Deployments.
async fn templates(bed: &Bed) -> Vec<PodTemplateSpec> {
    let all = deployments(bed).await.into_iter();
    all.map(|deployment| deployment.spec.unwrap().template)
        .collect()
}

/// A webhook that nobody answers: the API server fails with 500 on every change of what has that label.
const BROKEN: &str = "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: broken}
webhooks:
- name: broken.example.com
  clientConfig: {url: 'https://127.0.0.1:1/x'}
  rules: [{apiGroups: [apps], apiVersions: [v1], operations: [UPDATE], resources: [deployments]}]
  objectSelector: {matchLabels: {broken: 'yes'}}
  failurePolicy: Fail
  sideEffects: None
  admissionReviewVersions: [v1]
";

/// Case B12 (2).
#[tokio::test(flavor = "multi_thread")]
async fn no_restart_is_lost_or_done_twice_when_the_api_server_fails_and_the_operator_is_killed() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    let workloads = (0..20).fold(String::new(), |mut yaml, index| {
        let labels = if index % 3 == 0 { "broken: 'yes'" } else { "" };
        write!(
            yaml,
            "{}",
            deployment(&format!("w{index:02}"), "db", labels)
        )
        .unwrap();
        yaml
    });
    bed.apply(&format!("{}{workloads}", secret("db", "one", AUTO)))
        .await;
    bed.wait_ready("shop", "db").await;
    bed.apply(BROKEN).await;
    // The webhook is asked a moment after it is made.
    eventually("updates fail", || async {
        let args = [
            "label",
            "-n",
            "shop",
            "deployment/w00",
            "x=y",
            "--dry-run=server",
        ];
        !bed.kubectl(&args).await.ok
    })
    .await;
    bed.apply(&secret("db", "two", AUTO)).await;
    eventually("13 of 20 are restarted", || async {
        let changed = generations(&bed).await;
        changed
            .iter()
            .filter(|(_, generation)| *generation == 2)
            .count()
            == 13
    })
    .await;
    operator.kill().await;
    let operator = bed.operator().await;
    eventually("who waits is told", || async {
        let pending = status(&bed, "db").await.pending;
        let names: Vec<_> = pending.iter().map(|target| target.name.as_str()).collect();
        names == ["w00", "w03", "w06", "w09", "w12", "w15", "w18"]
    })
    .await;
    operator.kill().await;
    // Nobody waits for one that is gone. It goes while it cannot be restarted yet, so that 19 are.
    bed.delete("shop", "deployment/w18").await;
    let _operator = bed.operator().await;
    bed.delete("shop", "validatingwebhookconfiguration/broken")
        .await;
    wait_restarted(&bed, "db", 19).await;
    a_while().await;
    assert!(
        all_have_generation(&bed, 2).await,
        "{:?}",
        generations(&bed).await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_wait_for_windows_pauses_and_for_who_does_not_come_up() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    bed.namespace("shop").await;
    // The operator lives at noon; its window is at night.
    let noon = Timestamp::now().to_zoned(TimeZone::UTC);
    let noon = noon.with().hour(12).minute(0).second(0).build().unwrap();
    let to_noon = noon.timestamp().duration_since(Timestamp::now()).as_secs();
    bed.set_clock(to_noon);
    let night = "{auto: true, windows: [{start: '03:00', duration: 1h, timeZone: UTC}]}";
    let batch = "{targets: [{kind: Deployment, name: b1}, {kind: Deployment, name: b0}, {kind: Deployment, name: none}], batch: {size: 1, timeout: 10m}}";
    let paused = "{auto: true, paused: true}";
    let unknown = "{auto: true, windows: [{start: '03:00', duration: 1h, timeZone: Mars/Olympus}]}";
    let all = |value: &str| {
        [
            secret("night", value, night),
            secret("batch", value, batch),
            secret("paused", value, paused),
            secret("unknown", value, unknown),
        ]
        .concat()
    };
    let workloads = [
        deployment("n0", "night", ""),
        deployment("b0", "batch", ""),
        deployment("b1", "batch", ""),
        deployment("p0", "paused", ""),
        deployment("u0", "unknown", ""),
    ];
    bed.apply(&format!("{}{}", all("one"), workloads.concat()))
        .await;
    bed.wait_all_ready("shop", 4).await;
    bed.apply(&all("two")).await;

    let said = wait_condition(&bed, "night", "RolloutPending", "OutsideWindow").await;
    assert!(
        said.contains("Deployment n0") && said.contains("T03:00:00Z"),
        "{said}"
    );
    let said = wait_condition(&bed, "paused", "RolloutPending", "Paused").await;
    assert!(said.contains("Deployment p0"), "{said}");
    let said = wait_condition(&bed, "unknown", "RolloutStalled", "InvalidSpec").await;
    assert!(said.contains("Mars/Olympus"), "{said}");
    // In the order of the targets; nobody waits for one that is not there.
    eventually("the first of the batch is restarted", || async {
        status(&bed, "batch").await.restarted == Some(1)
    })
    .await;
    let expected: Vec<(String, i64)> = [("b0", 1), ("b1", 2), ("n0", 1), ("p0", 1), ("u0", 1)]
        .map(|(name, generation)| (name.to_owned(), generation))
        .into();
    a_while().await;
    assert_eq!(generations(&bed).await, expected);

    // B29 (2): whoever does not come up keeps the others as they are.
    bed.set_clock(to_noon + 660);
    let said = wait_condition(&bed, "batch", "RolloutStalled", "RolloutTimedOut").await;
    assert!(said.contains("Deployment b1"), "{said}");
    assert_eq!(status(&bed, "batch").await.failed[0].name, "b1");
    assert!(bed.events("shop", "batch", "RolloutTimedOut").await == 1);
    a_while().await;
    assert_eq!(generations(&bed).await, expected);
    // It comes up: there is no kubelet, so that no replica is as good as all of them.
    bed.patch("shop", "deployment/b1", &json!({"spec": {"replicas": 0}}))
        .await;

    let on = json!({"spec": {"rollout": {"paused": false}}});
    bed.patch("shop", "managedsecret/paused", &on).await;
    wait_restarted(&bed, "paused", 1).await;

    // 03:30 of the next day.
    bed.set_clock(to_noon + 15 * 3600 + 1800);
    wait_restarted(&bed, "night", 1).await;
    eventually("the second of the batch is restarted", || async {
        status(&bed, "batch").await.restarted == Some(2)
    })
    .await;
    assert_eq!(
        object(&bed, "deployment/u0").await["metadata"]["generation"],
        1
    );
    // Who takes the field out gives the restarts up.
    let off = json!({"spec": {"rollout": null}});
    bed.patch("shop", "managedsecret/unknown", &off).await;
    eventually("nothing is told of restarts", || async {
        let status = bed.managed("shop", "unknown").await.status.unwrap();
        status.rollout.is_none() && status.conditions.len() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_need_the_authors_own_right_to_patch() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let ann = Person::new(&bed, "ann");
    let rules = "[{apiGroups: [keystead.dev], resources: [managedsecrets], verbs: [get, create, update, patch]}, {apiGroups: [\"\"], resources: [secrets], verbs: [create, update]}]";
    ann.grant("shop", "author", rules).await;
    ann.can(&["create", "managedsecrets", "-n", "shop"]).await;
    ann.can(&["update", "secrets", "-n", "shop"]).await;
    bed.policies_in_force().await;
    ann.allowed(&secret("db", "one", AUTO).replace("rollout: {auto: true}", ""))
        .await;

    let named = secret(
        "db",
        "one",
        "{targets: [{kind: Deployment, name: web}, {kind: Rollout, name: api}]}",
    );
    let said = ann.refused(&named).await;
    for part in ["needs patch on deployments.apps", "Deployment shop/web"] {
        assert!(said.contains(part), "{said}");
    }
    ann.grant(
        "shop",
        "web",
        "[{apiGroups: [apps], resources: [deployments], resourceNames: [web], verbs: [patch]}]",
    )
    .await;
    ann.can(&["patch", "deployments/web", "-n", "shop"]).await;
    let said = ann.refused(&named).await;
    assert!(
        said.contains("needs patch on rollouts.argoproj.io for Rollout shop/api"),
        "{said}"
    );
    ann.grant(
        "shop",
        "api",
        "[{apiGroups: [argoproj.io], resources: [rollouts], resourceNames: [api], verbs: [patch]}]",
    )
    .await;
    ann.allowed(&named).await;

    let auto = secret("db", "one", AUTO);
    let said = ann.refused(&auto).await;
    assert!(
        said.contains("spec.rollout.auto needs patch on deployments.apps in namespace shop"),
        "{said}"
    );
    ann.grant(
        "shop",
        "apps",
        "[{apiGroups: [apps], resources: [deployments, daemonsets, statefulsets], verbs: [patch]}]",
    )
    .await;
    ann.can(&["patch", "statefulsets", "-n", "shop"]).await;
    eventually("only the right to Rollouts of Argo is missing", || async {
        let said = ann.apply(&auto).await.err;
        said.contains("spec.rollout.auto needs patch on rollouts.argoproj.io")
    })
    .await;
    ann.grant(
        "shop",
        "argo",
        "[{apiGroups: [argoproj.io], resources: [rollouts], verbs: [patch]}]",
    )
    .await;
    ann.allowed(&auto).await;

    // As many targets as there can be fit into what the API server lets a policy cost.
    let many: Vec<_> = (0..24)
        .map(|index| format!("{{kind: Deployment, name: w{index}}}"))
        .collect();
    let many = secret(
        "many",
        "one",
        &format!("{{targets: [{}]}}", many.join(", ")),
    );
    ann.allowed(&many).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_changes_nothing_of_workloads_but_its_annotation() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    bed.policies_in_force().await;
    bed.apply(&deployment("web", "db", "")).await;
    let operator = Person::new(&bed, OPERATOR_USER);
    let patch = async |patch: Value| {
        let patch = patch.to_string();
        let args = [
            "patch",
            "-n",
            "shop",
            "deployment/web",
            "--type",
            "strategic",
        ];
        operator
            .kubectl(&[&args[..], &["-p", &patch]].concat())
            .await
    };
    for change in [
        json!({"spec": {"replicas": 0}}),
        json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}}),
        json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "example.invalid/evil"}]}}}}),
        json!({"spec": {"template": {"spec": {"serviceAccountName": "admin"}}}}),
    ] {
        let said = patch(change.clone()).await.expect_refused();
        assert!(
            said.contains("may only restart workloads"),
            "{change}: {said}"
        );
    }
    let mark = json!({"keystead.dev/restarted-for-0123456789abcdef": "1"});
    patch(json!({"spec": {"template": {"metadata": {"annotations": mark}}}}))
        .await
        .expect_ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rights_to_workloads_the_missing_one_is_named_and_the_secret_delivered() {
    let bed = Bed::start_with(
        keystead_cluster::Options::default(),
        &["rollout.enabled=false"],
    )
    .await;
    let _operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.apply(&format!(
        "{}{}",
        secret("db", "one", AUTO),
        deployment("web", "db", "")
    ))
    .await;
    bed.wait_ready("shop", "db").await;
    bed.apply(&secret("db", "two", AUTO)).await;
    bed.wait_value("shop", "db", "a", b"two").await;
    let said = wait_condition(&bed, "db", "RolloutStalled", "Forbidden").await;
    assert!(
        said.contains("cannot get resource \"deployments\""),
        "{said}"
    );
    bed.wait_ready("shop", "db").await;
    // With the right it goes on by itself.
    let rule = "[{apiGroups: [apps], resources: [deployments, daemonsets, statefulsets], verbs: [get, list, patch]}, {apiGroups: [argoproj.io], resources: [rollouts], verbs: [get, list, patch]}]";
    bed.apply(&format!(
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: restarts, namespace: shop}}
rules: {rule}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: restarts, namespace: shop}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: restarts}}
subjects: [{{kind: ServiceAccount, name: keystead-controller, namespace: keystead-system}}]
"
    ))
    .await;
    eventually_within(Duration::from_secs(120), "it is restarted", || async {
        status(&bed, "db").await.restarted == Some(1)
    })
    .await;
    assert!(condition(&bed, "db", "RolloutStalled").await.is_none());
}
