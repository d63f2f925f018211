//! Names of resources and keys at their limits, with the operator at work.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use k8s_openapi::api::core::v1::Secret;
use keystead::api::KeyMaterial;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::status;
use crate::support::{Bed, SYSTEM};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_accepted_is_delivered_whatever_its_names_are() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    names_of_any_length_work_and_never_collide(&bed).await;
    awkward_keys_are_delivered_literally(&bed).await;
    what_the_schema_cannot_see_is_said_in_the_status(&bed).await;
    status::a_changed_spec_is_not_taken_for_done(&bed, &operator).await;
}

/// A name of that length, with dots.
fn dotted(length: usize) -> String {
    (1..=length)
        .map(|i| if i % 10 == 0 && i < length { '.' } else { 'k' })
        .collect()
}

/// Case B25.
async fn names_of_any_length_work_and_never_collide(bed: &Bed) {
    let namespace = "n".repeat(63);
    bed.namespace(&namespace).await;
    let mut names: BTreeSet<_> = [1, 47, 63, 64, 253].map(dotted).into();
    let prefix = dotted(63);
    names.extend([
        format!("{prefix}a"),
        format!("{prefix}b"),
        format!("{prefix}.a"),
    ]);
    assert_eq!(names.len(), 8);
    let forms = ["Plain", "Sealed"];
    let mut yaml = String::new();
    for (name, form) in names.iter().zip(forms.into_iter().cycle()) {
        let pair = write!(
            yaml,
            "
apiVersion: keystead.dev/v1alpha1
kind: ManagedKey
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{}}
---
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  keyRef: {{name: {name}}}
  generate: [{{key: password, password: {{}}}}]
  literals: {{name: {name}}}
  target: {{form: {form}}}
---"
        );
        pair.expect("writing to a String cannot fail");
    }
    bed.apply(&yaml).await;
    let mut passwords = BTreeSet::new();
    for (name, form) in names.iter().zip(forms.into_iter().cycle()) {
        bed.wait_ready(&namespace, name).await;
        let data = bed
            .data(&namespace, name)
            .await
            .unwrap_or_else(|| panic!("no target {name}"));
        if form == "Plain" {
            assert_eq!(data["name"], name.as_bytes());
            passwords.insert(data["password"].clone());
        } else {
            assert_eq!(
                data.keys().collect::<Vec<_>>(),
                ["name.sealed", "password.sealed"]
            );
            passwords.insert(data["password.sealed"].clone());
        }
    }
    assert_eq!(passwords.len(), names.len());

    let materials: Api<KeyMaterial> = Api::namespaced(bed.client.clone(), SYSTEM);
    let materials = materials.list(&ListParams::default()).await.unwrap();
    let of = materials
        .iter()
        .filter(|material| material.spec.namespace == namespace);
    assert_eq!(
        of.map(|material| material.spec.name.clone())
            .collect::<Vec<_>>()
            .len(),
        names.len()
    );
    let truths: Api<Secret> = Api::namespaced(bed.client.clone(), SYSTEM);
    let truths = truths.list(&ListParams::default()).await.unwrap();
    let owners: BTreeMap<_, _> = truths
        .iter()
        .filter(|truth| truth.annotations().get("keystead.dev/namespace") == Some(&namespace))
        .map(|truth| {
            (
                truth.annotations()["keystead.dev/name"].clone(),
                truth.name_any(),
            )
        })
        .collect();
    assert_eq!(owners.keys().cloned().collect::<BTreeSet<_>>(), names);
}

/// Case B24.
async fn awkward_keys_are_delivered_literally(bed: &Bed) {
    let long = "k".repeat(253);
    let sealed = "k".repeat(246);
    bed.apply(&format!(
        r#"
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {{name: awkward, namespace: default}}
spec:
  generate: [{{key: a.b, uuid: {{}}}}, {{key: -x, hex: {{length: 2}}}}, {{key: {long}, bytes: {{length: 3}}}}]
  literals: {{.dockerconfigjson: "{{}}", a..b: two dots}}
  target: {{form: Plain}}
---
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {{name: awkward-template, namespace: default}}
spec:
  literals: {{a.b: dotted, a: not this, {long}: long}}
  template: {{data: {{.x: '[[ keys["a.b"] ]] [[ keys["{long}"] ]]'}}}}
  target: {{form: Plain}}
---
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {{name: awkward-sealed, namespace: default}}
spec: {{literals: {{a.b: x, -x: x, {sealed}: x}}}}
"#
    ))
    .await;
    for name in ["awkward", "awkward-template", "awkward-sealed"] {
        bed.wait_ready("default", name).await;
    }
    let data = bed.data("default", "awkward").await.unwrap();
    let keys: Vec<_> = data.keys().map(String::as_str).collect();
    assert_eq!(keys, ["-x", ".dockerconfigjson", "a..b", "a.b", &long]);
    let lengths = [data["-x"].len(), data["a.b"].len(), data[&long].len()];
    assert_eq!(lengths, [4, 36, 3]);
    assert_eq!(data["a..b"], b"two dots");
    assert_eq!(
        bed.value("default", "awkward-template", ".x").await,
        b"dotted long"
    );
    let data = bed.data("default", "awkward-sealed").await.unwrap();
    let keys: Vec<_> = data.keys().cloned().collect();
    assert_eq!(
        keys,
        [
            "-x.sealed".to_owned(),
            "a.b.sealed".to_owned(),
            format!("{sealed}.sealed")
        ]
    );
}

/// What only the operator can know: what an imported Secret holds, and what is left of an alphabet.
async fn what_the_schema_cannot_see_is_said_in_the_status(bed: &Bed) {
    let long = "k".repeat(250);
    bed.apply(&format!(
        "
apiVersion: v1
kind: Secret
metadata: {{name: source, namespace: default}}
stringData: {{{long}: x}}
---
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {{name: imported, namespace: default}}
spec: {{import: [{{secretRef: {{name: source}}}}]}}
---
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {{name: one-character, namespace: default}}
spec: {{generate: [{{key: pin, password: {{classes: [Digits], exclude: '012345678'}}}}]}}
"
    ))
    .await;
    let message = bed
        .wait_not_ready("default", "imported", "InvalidSpec")
        .await;
    for part in ["kkkk", "longer than 246", ".sealed", "use form Plain"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let message = bed
        .wait_not_ready("default", "one-character", "InvalidSpec")
        .await;
    for part in [
        "`pin`",
        "fewer than two characters",
        "exclude fewer or add a class",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    for name in ["imported", "one-character"] {
        assert_eq!(bed.data("default", name).await, None, "nothing is written");
    }
}
