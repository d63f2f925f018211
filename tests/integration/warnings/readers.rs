//! Objects that name a sealed Secret, and read it from the API.

use keystead_cluster::Component;

use super::{told, upgrade, would_be_told};
use crate::support::{Bed, eventually, managed_secret};

/// The group of the sources of Flux.
const FLUX: &str = "source.toolkit.fluxcd.io";

/// A kind that the control plane does not have by itself.
fn definition(group: &str, version: &str, kind: &str, plural: &str) -> String {
    let singular = kind.to_lowercase();
    format!(
        "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: {plural}.{group}
  annotations: {{api-approved.kubernetes.io: \"unapproved, for a test\"}}
spec:
  group: {group}
  names: {{kind: {kind}, plural: {plural}, singular: {singular}}}
  scope: Namespaced
  versions:
  - name: {version}
    served: true
    storage: true
    schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
"
    )
}

/// An object of namespace `shop` with further fields, in a YAML flow mapping.
fn object(version: &str, kind: &str, name: &str, fields: &str) -> String {
    format!(
        "{{apiVersion: {version}, kind: {kind}, metadata: {{name: {name}, namespace: shop}}, {fields}}}"
    )
}

fn ingress(name: &str, secrets: &[&str]) -> String {
    let tls = secrets.iter().map(|name| format!("{{secretName: {name}}}"));
    let tls = tls.collect::<Vec<_>>().join(", ");
    let fields = format!(
        "spec: {{tls: [{tls}], defaultBackend: {{service: {{name: web, port: {{number: 80}}}}}}}}"
    );
    object("networking.k8s.io/v1", "Ingress", name, &fields)
}

/// The kinds that are not Kubernetes' own: group, version, kind and plural.
const DEFINITIONS: [(&str, &str, &str, &str); 7] = [
    ("gateway.networking.k8s.io", "v1", "Gateway", "gateways"),
    ("traefik.io", "v1alpha1", "IngressRoute", "ingressroutes"),
    ("cert-manager.io", "v1", "Issuer", "issuers"),
    (FLUX, "v1", "Bucket", "buckets"),
    (FLUX, "v1", "GitRepository", "gitrepositories"),
    (FLUX, "v1", "HelmRepository", "helmrepositories"),
    (FLUX, "v1", "OCIRepository", "ocirepositories"),
];

/// What an object of each kind has: the version, the kind, fields that name `web`, and the field that does. References of other kinds, and to other
/// namespaces, are none to these.
const READERS: [(&str, &str, &str, &str); 8] = [
    (
        "gateway.networking.k8s.io/v1",
        "Gateway",
        "spec: {listeners: [{name: a}, {name: b, tls: {certificateRefs: [{name: web}, {name: web, kind: Secret, group: ''}, \
         {name: out, namespace: other}, {name: out, kind: ConfigMap}, {name: out, group: example.com}]}}]}",
        "spec.listeners[].tls.certificateRefs[].name",
    ),
    (
        "v1",
        "ServiceAccount",
        "imagePullSecrets: [{name: web}, {name: plain}], secrets: [{name: none}, {name: web}]",
        "imagePullSecrets[].name and secrets[].name",
    ),
    (
        "traefik.io/v1alpha1",
        "IngressRoute",
        "spec: {tls: {secretName: web}}",
        "spec.tls.secretName",
    ),
    (
        "cert-manager.io/v1",
        "Issuer",
        "spec: {ca: {secretName: web}}",
        "spec.ca.secretName",
    ),
    source("Bucket"),
    source("GitRepository"),
    source("HelmRepository"),
    source("OCIRepository"),
];

const fn source(kind: &str) -> (&str, &str, &str, &str) {
    (
        "source.toolkit.fluxcd.io/v1",
        kind,
        "spec: {secretRef: {name: web}}",
        "spec.secretRef.name",
    )
}

/// A control plane on which namespace `shop` has secrets of every form, `web` the last of them.
async fn bed_with_secrets() -> Bed {
    let bed = Bed::start().await;
    for namespace in ["shop", "other"] {
        bed.namespace(namespace).await;
    }
    for (namespace, name, spec) in [
        ("other", "elsewhere", "{literals: {a: b}}"),
        ("shop", "plain", "{literals: {a: b}, target: {form: Plain}}"),
        ("shop", "none", "{literals: {a: b}, target: {form: None}}"),
        (
            "shop",
            "named",
            "{literals: {a: b}, target: {form: Sealed, name: out}}",
        ),
    ] {
        bed.apply_secret(namespace, name, spec).await;
    }
    let going = managed_secret("shop", "going", "{literals: {a: b}}");
    let held = "name: going, finalizers: [test.example/hold],";
    bed.apply(&going.replace("name: going,", held)).await;
    bed.begin_to_delete("shop", "managedsecret/going").await;
    bed.apply_secret("shop", "web", "{literals: {a: b}}").await;
    bed
}

#[tokio::test(flavor = "multi_thread")]
async fn who_names_sealed_secrets_is_told_of_each_of_them_once_and_of_no_other() {
    let bed = bed_with_secrets().await;
    let all = [
        "web",
        "out",
        "plain",
        "none",
        "going",
        "elsewhere",
        "named",
        "nobody",
    ];
    let web = ingress("web", &all);
    // The API server hears of policies, and of secrets, a moment later; of `web` last.
    eventually("the policy is in force", || async {
        would_be_told(&bed, &web)
            .await
            .concat()
            .contains("Secret web")
    })
    .await;
    let mut told_of = told(&bed, &web).await;
    told_of.sort();
    assert_eq!(told_of.len(), 2, "{told_of:#?}");
    for (told_of, names) in told_of.iter().zip([
        "Secret out, the target of ManagedSecret shop/named:",
        "Secret web, the target of ManagedSecret shop/web:",
    ]) {
        assert!(told_of.contains(names), "{names}: {told_of}");
        assert!(told_of.contains("spec.tls[].secretName"), "{told_of}");
        assert!(told_of.contains("spec.target.form: Plain"), "{told_of}");
    }
    assert_eq!(told(&bed, &web).await, [""; 0], "applied again");
    let labelled = web.replace(
        "name: web, namespace",
        "name: web, labels: {a: b}, namespace",
    );
    assert_eq!(told(&bed, &labelled).await, [""; 0], "it names no others");
    let fewer = told(&bed, &ingress("web", &["out", "plain"])).await;
    assert_eq!(fewer.len(), 1, "{fewer:?}");

    // The remedy, and the way back.
    let forms = [("Plain", 0), ("Sealed", 1)];
    for (form, warned) in forms {
        let spec = format!("{{literals: {{a: b}}, target: {{form: {form}}}}}");
        bed.apply_secret("shop", "web", &spec).await;
        eventually(form, || async {
            would_be_told(&bed, &ingress("another", &["web"]))
                .await
                .len()
                == warned
        })
        .await;
    }
    nothing_is_refused_where_the_definition_is_gone(&bed).await;
}

/// Then the API server cannot even look at the secrets.
async fn nothing_is_refused_where_the_definition_is_gone(bed: &Bed) {
    let free = r#"{"metadata": {"finalizers": null}}"#;
    let patch = ["patch", "managedsecret", "going", "-n", "shop"];
    let patch = [&patch[..], &["--type=merge", "-p", free]].concat();
    bed.kubectl(&patch).await.expect_ok();
    let definition = "managedsecrets.keystead.dev";
    let unguard = ["label", "crd", definition, "keystead.dev/guard-"];
    bed.kubectl(&unguard).await.expect_ok();
    bed.kubectl(&["delete", "crd", definition])
        .await
        .expect_ok();
    let account = "imagePullSecrets: [{name: web}]";
    told(bed, &object("v1", "ServiceAccount", "late", account)).await;
    told(bed, &ingress("late", &["web"])).await;
    // Also by an API server that never saw one.
    let server = bed.cluster.component(Component::ApiServer);
    server.kill().unwrap();
    server.start().await.unwrap();
    let account = object("v1", "ServiceAccount", "later", account);
    assert_eq!(told(bed, &account).await, [""; 0]);
    assert_eq!(told(bed, &ingress("later", &["web"])).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_that_is_known_to_read_secrets_is_told_which_field_names_one() {
    let bed = bed_with_secrets().await;
    for (group, version, kind, plural) in DEFINITIONS {
        bed.apply(&definition(group, version, kind, plural)).await;
        let name = format!("crd/{plural}.{group}");
        bed.kubectl(&["wait", &name, "--for=condition=Established"])
            .await
            .expect_ok();
    }
    for (version, kind, fields, field) in READERS {
        let yaml = object(version, kind, "reader", fields);
        eventually(kind, || async {
            !would_be_told(&bed, &yaml).await.is_empty()
        })
        .await;
        let told_of = told(&bed, &yaml).await;
        assert_eq!(told_of.len(), 1, "{kind}: {told_of:#?}");
        let names = format!("{field} names Secret web");
        assert!(told_of[0].contains(&names), "{names}: {told_of:?}");
        assert_eq!(told(&bed, &yaml).await, [""; 0], "{kind} applied again");
        let without = object(version, kind, "without", "spec: {}");
        let without = without.replace(", spec: {}", "");
        assert_eq!(told(&bed, &without).await, [""; 0], "{kind} without any");
    }
    the_checks_of_types_find_nothing(&bed).await;
    upgrade(&bed, &["readerWarnings.enabled=false"]).await;
    let policies = bed.kubectl(&["get", "validatingadmissionpolicies", "-o", "name"]);
    let policies = policies.await.expect_ok();
    assert!(policies.contains("/keystead-unread-secret"), "{policies}");
    assert!(!policies.contains("/keystead-sealed-"), "{policies}");
}

/// The controller manager reads each policy against the schemas of what it matches.
async fn the_checks_of_types_find_nothing(bed: &Bed) {
    let path = "{range .items[*]}{.metadata.name} {.metadata.generation} {.status.observedGeneration} \
                {.status.typeChecking.expressionWarnings}{\"\\n\"}{end}";
    let path = format!("jsonpath={path}");
    let args = ["get", "validatingadmissionpolicies", "-o", &path];
    eventually("every policy was checked", || async {
        let checked = bed.kubectl(&args).await.expect_ok();
        let ours = checked.lines().filter(|line| {
            line.starts_with("keystead-sealed-") || line.starts_with("keystead-unread-")
        });
        let ours: Vec<Vec<_>> = ours.map(|line| line.split(' ').collect()).collect();
        assert!(ours.len() > 1, "{checked}");
        ours.iter().all(|line| {
            assert_eq!(line.get(3), Some(&""), "{line:?}");
            line[1] == line[2]
        })
    })
    .await;
}
