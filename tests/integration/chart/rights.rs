//! Who may do what: the rendered roles, the API server's answers, and an installation for two namespaces.

use serde_json::Value;

use super::{folder, has_looked_at};
use crate::support::{Bed, SYSTEM, eventually};

const OPERATOR: &str = "system:serviceaccount:keystead-system:keystead-controller";
const WATCH: [&str; 2] = ["--set", "watchNamespaces={a,b}"];

/// Case B42.
#[tokio::test(flavor = "multi_thread")]
async fn the_operator_has_the_rights_that_it_needs_and_no_others() {
    let bed = Bed::start().await;
    for namespace in ["a", "b", "c"] {
        bed.namespace(namespace).await;
    }
    no_role_is_wider_than_it_must_be(&bed).await;
    what_is_allowed_everywhere(&bed).await;
    let operator = bed.operator().await;
    for namespace in ["a", "b", "c"] {
        bed.apply(&secret(namespace, "early")).await;
    }
    for namespace in ["a", "b", "c"] {
        bed.wait_ready(namespace, "early").await;
    }
    operator.stop().await;

    let mut upgrade = vec!["upgrade", "keystead"];
    let chart = folder();
    upgrade.extend([chart.as_str(), "-n", SYSTEM]);
    upgrade.extend(WATCH);
    bed.helm(&upgrade).await.expect_ok();
    what_is_allowed_in_two_namespaces(&bed).await;
    it_serves_two_namespaces_and_leaves_the_third_alone(&bed).await;
}

fn secret(namespace: &str, name: &str) -> String {
    format!(
        "{{apiVersion: keystead.dev/v1alpha1, kind: ManagedSecret, metadata: {{name: {name}, namespace: {namespace}}}, \
         spec: {{generate: [{{key: password, password: {{}}}}], target: {{form: Plain}}}}}}"
    )
}

/// The rules of every `Role` and `ClusterRole` of a rendering, each with the kind of its role.
async fn rules(bed: &Bed, values: &[&str]) -> Vec<(String, Value)> {
    let chart = folder();
    let mut args = vec!["template", "keystead", &chart, "-n", SYSTEM];
    args.extend(values);
    let rendered = bed.helm(&args).await.expect_ok();
    let args = [
        "create",
        "--dry-run=client",
        "--validate=false",
        "-o",
        "json",
        "-f",
        "-",
    ];
    let json = bed.kubectl_with(&args, &rendered).await.expect_ok();
    let mut rules = Vec::new();
    for document in serde_json::Deserializer::from_str(&json).into_iter::<Value>() {
        let document = document.unwrap();
        let items = document["items"]
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![document.clone()]);
        for role in items
            .iter()
            .filter(|item| item["kind"].as_str().unwrap().ends_with("Role"))
        {
            for rule in role["rules"].as_array().unwrap() {
                rules.push((role["kind"].as_str().unwrap().to_owned(), rule.clone()));
            }
        }
    }
    rules
}

fn names(rule: &Value, part: &str, name: &str) -> bool {
    rule[part]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one == name))
}

async fn no_role_is_wider_than_it_must_be(bed: &Bed) {
    for values in [&[][..], &WATCH, &["--set", "crds.install=true"]] {
        let rules = rules(bed, values).await;
        assert!(rules.len() > 10, "{rules:?}");
        for (kind, rule) in &rules {
            for part in [
                "verbs",
                "resources",
                "apiGroups",
                "nonResourceURLs",
                "resourceNames",
            ] {
                let any = rule[part]
                    .as_array()
                    .is_some_and(|all| all.iter().any(|one| one.as_str().unwrap().contains('*')));
                assert!(!any, "a wildcard in {part} of a {kind}: {rule}");
            }
            for verb in ["escalate", "bind", "impersonate", "deletecollection"] {
                assert!(!names(rule, "verbs", verb), "{kind}: {rule}");
            }
            // Pods are looked at: by the controller those of a namespace, by the server the one of a token. The policy keystead-pod-guard
            // lets the controller delete only those that never started.
            if names(rule, "resources", "pods") {
                let verbs = ["list", "get", "delete"].map(|verb| serde_json::json!([verb]));
                assert!(verbs.contains(&rule["verbs"]), "{kind}: {rule}");
            }
            // Which versions kubelets have.
            if names(rule, "resources", "nodes") {
                let looks = serde_json::json!(["list", "watch"]);
                assert_eq!(rule["verbs"], looks, "{kind}: {rule}");
            }
            // Their status is what the server tells of the secrets that they have.
            if names(rule, "resources", "pods/status") {
                let patches = serde_json::json!(["patch"]);
                assert_eq!(rule["verbs"], patches, "{kind}: {rule}");
            }
            for resource in [
                "pods/exec",
                "serviceaccounts/token",
                "roles",
                "clusterroles",
            ] {
                assert!(!names(rule, "resources", resource), "{kind}: {rule}");
            }
            let named = rule["resourceNames"].is_array();
            if names(rule, "resources", "customresourcedefinitions") && !named {
                assert_eq!(rule["verbs"], serde_json::json!(["create"]), "{kind}");
                assert!(values.contains(&"crds.install=true"), "only when asked for");
            }
        }
        let wide = rules
            .iter()
            .any(|(kind, rule)| kind == "ClusterRole" && names(rule, "resources", "secrets"));
        assert_eq!(
            wide,
            values != WATCH,
            "rights to Secrets everywhere: {values:?}"
        );
    }
}

/// Whether the operator may do that, in the words of `kubectl auth can-i`.
async fn may(bed: &Bed, question: &str) -> bool {
    let mut args = vec!["auth", "can-i", "--as", OPERATOR];
    args.extend(question.split(' '));
    let answer = bed.kubectl(&args).await;
    match answer.out.trim() {
        "yes" => true,
        "no" => false,
        other => panic!("{question}: {other} {}", answer.err),
    }
}

async fn assert_rights(bed: &Bed, yes: &[&str], no: &[&str]) {
    for question in yes {
        assert!(
            may(bed, question).await,
            "the operator must be allowed: {question}"
        );
    }
    for question in no {
        assert!(
            !may(bed, question).await,
            "the operator must not be allowed: {question}"
        );
    }
}

/// What it must not, in every mode.
const NEVER: [&str; 24] = [
    "create serviceaccounts/token -n keystead-system",
    "create serviceaccounts/token -n a",
    "get crd/certificates.cert-manager.io",
    "patch crd/certificates.cert-manager.io",
    "delete crd/managedkeys.keystead.dev",
    "list crd",
    "create crd",
    "patch validatingwebhookconfigurations",
    "patch mutatingwebhookconfigurations",
    "patch validatingadmissionpolicies",
    "delete validatingadmissionpolicies/keystead-guard",
    "escalate clusterroles",
    "bind clusterroles",
    "create rolebindings -n keystead-system",
    "impersonate users",
    "create pods -n keystead-system",
    // Jobs of rotations are made, as the policy keystead-rotation-limits lets it, and never changed.
    "patch jobs.batch -n a",
    "update jobs.batch -n a",
    "create cronjobs.batch -n a",
    "get endpointslices.discovery.k8s.io -n a",
    "create pods/exec -n a",
    "deletecollection secrets -n a",
    "delete keymaterials.keystead.dev -n keystead-system",
    "delete namespaces/keystead-system",
];

/// What it must, in every mode.
const ALWAYS: [&str; 18] = [
    "update configmaps/keystead-ca -n keystead-system",
    "patch mutatingwebhookconfigurations/keystead-server",
    "create secrets -n keystead-system",
    "list secrets -n keystead-system",
    "create keymaterials.keystead.dev -n keystead-system",
    "update leases/keystead-controller -n keystead-system",
    "patch crd/managedkeys.keystead.dev",
    "get secrets -n a",
    "list cronjobs.batch -n a",
    "get cronjobs.batch -n a",
    "list jobs.batch -n b",
    "create jobs.batch -n b",
    "delete jobs.batch -n b",
    "get endpointslices.discovery.k8s.io/kubernetes -n default",
    "patch secrets -n b",
    "list managedsecrets.keystead.dev -n a",
    "patch managedsecrets.keystead.dev --subresource=status -n b",
    "get namespaces/a -n a",
];

async fn what_is_allowed_everywhere(bed: &Bed) {
    assert_rights(bed, &ALWAYS, &NEVER).await;
    let yes = [
        "list secrets -A",
        "patch secrets -n c",
        "list managedsecrets.keystead.dev -A",
    ];
    let no = [
        "update leases/other -n keystead-system",
        "update configmaps/other -n keystead-system",
        "get configmaps -n a",
        "delete managedsecrets.keystead.dev -n a",
        "update managedsecrets.keystead.dev -n a",
        "update managedkeys.keystead.dev -n a",
        "get keymaterials.keystead.dev -n a",
    ];
    assert_rights(bed, &yes, &no).await;
}

async fn what_is_allowed_in_two_namespaces(bed: &Bed) {
    assert_rights(bed, &ALWAYS, &NEVER).await;
    let no = [
        "list secrets -A",
        "get secrets -n c",
        "get secrets -n kube-system",
        "patch secrets -n c",
        "list managedsecrets.keystead.dev -A",
        "list managedsecrets.keystead.dev -n c",
        "create managedkeys.keystead.dev -n c",
        "get namespaces/c -n c",
        "patch namespaces/a -n a",
    ];
    assert_rights(bed, &[], &no).await;
}

/// When the truth of a secret was marked as waiting, if it was.
async fn parked_since(bed: &Bed, namespace: &str, name: &str) -> Option<String> {
    let shown = bed
        .kubectl(&["get", "secrets", "-n", SYSTEM, "-o", "json"])
        .await
        .expect_ok();
    let list: Value = serde_json::from_str(&shown).unwrap();
    let all = list["items"].as_array().unwrap();
    let truth = all.iter().find(|secret| {
        let annotations = &secret["metadata"]["annotations"];
        annotations["keystead.dev/namespace"] == namespace
            && annotations["keystead.dev/name"] == name
    });
    let truth = truth.unwrap_or_else(|| panic!("no truth of {namespace}/{name}"));
    truth["metadata"]["annotations"]["keystead.dev/parked-since"]
        .as_str()
        .map(str::to_owned)
}

async fn it_serves_two_namespaces_and_leaves_the_third_alone(bed: &Bed) {
    // While no operator runs, one secret goes within its scope and one outside of it.
    for namespace in ["a", "c"] {
        bed.kubectl(&["delete", "managedsecret", "early", "-n", namespace])
            .await
            .expect_ok();
    }
    let operator = bed
        .operator_named("two", &["--watch-namespaces", "a,b"])
        .await;
    operator.wait_ready().await;
    for namespace in ["a", "b", "c"] {
        bed.apply(&secret(namespace, "late")).await;
    }
    for namespace in ["a", "b"] {
        bed.wait_ready(namespace, "late").await;
    }
    bed.kubectl(&["delete", "managedsecret", "early", "-n", "b"])
        .await
        .expect_ok();
    eventually("truth within the scope is parked", || async {
        parked_since(bed, "a", "early").await.is_some()
            && parked_since(bed, "b", "early").await.is_some()
    })
    .await;
    has_looked_at(&operator, 2).await;
    assert_eq!(
        parked_since(bed, "c", "early").await,
        None,
        "truth outside the scope is never parked"
    );
    assert_eq!(bed.data("c", "late").await, None);
    let status = bed
        .kubectl(&["get", "managedsecret", "late", "-n", "c"])
        .await
        .expect_ok();
    assert!(status.contains("Pending"), "nobody looked at it: {status}");
    assert!(
        operator
            .http("/readyz")
            .await
            .is_some_and(|(code, _)| code == 200)
    );
    let log = operator.log();
    assert!(
        !log.to_lowercase().contains("forbidden"),
        "no right is missing: {log}"
    );
    operator.stop().await;
}
