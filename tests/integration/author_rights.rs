//! The author must hold the right himself: what an ordinary namespace user cannot have the operator do for him.

use keystead_cluster::Options;

use crate::support::{Bed, Person, SYSTEM};

/// Rights to `ManagedSecrets` and nothing else.
const AUTHOR: &str = "[{apiGroups: [keystead.dev], resources: [managedsecrets], verbs: [get, list, create, update, patch, delete]}]";

fn secret(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {{name: {name}, namespace: {namespace}}}
spec: {spec}
"
    )
}

fn on_secrets(verbs: &str, names: &str) -> String {
    format!("[{{apiGroups: [\"\"], resources: [secrets], verbs: {verbs}, resourceNames: {names}}}]")
}

/// A control plane with a namespace `shop` and an author in it who may do nothing with Secrets.
pub(crate) async fn bed_with_author() -> Bed {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let ann = Person::new(&bed, "ann");
    ann.grant("shop", "author", AUTHOR).await;
    ann.can(&["create", "managedsecrets", "-n", "shop"]).await;
    bed.policies_in_force().await;
    bed
}

#[track_caller]
fn assert_names(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_missing_right_is_named_and_each_given_one_lets_pass() {
    let bed = bed_with_author().await;
    let ann = Person::new(&bed, "ann");

    // The target: create, then update.
    let target = secret(
        "shop",
        "db",
        "{literals: {a: b}, target: {form: Sealed, name: db-out}}",
    );
    let message = ann.refused(&target).await;
    assert_names(
        &message,
        &[
            "needs create on secrets",
            "shop/db-out",
            "target.form to None",
        ],
    );
    // `create` cannot be granted for one name: RBAC itself ignores names there, an authorizer asked with a name does not.
    ann.grant("shop", "create", &on_secrets("[create]", "[db-out, db]"))
        .await;
    ann.can(&["create", "secrets/db-out", "-n", "shop"]).await;
    let message = ann.refused(&target).await;
    assert_names(&message, &["needs update on secrets", "shop/db-out"]);
    ann.grant("shop", "update", &on_secrets("[update]", "[db-out]"))
        .await;
    ann.allowed(&target).await;
    // The default name is checked too, and so is the default form.
    let message = ann
        .refused(&secret(
            "shop",
            "db",
            "{literals: {a: b}, target: {form: Plain}}",
        ))
        .await;
    assert_names(&message, &["needs update on secrets", "shop/db:"]);
    let message = ann
        .refused(&secret("shop", "web", "{literals: {a: b}}"))
        .await;
    assert_names(&message, &["needs create on secrets", "shop/web"]);

    // An import: get, and delete for deleteAfterImport.
    let import = |delete: bool| {
        let spec = format!(
            "{{import: [{{secretRef: {{name: old}}, deleteAfterImport: {delete}}}], target: {{form: None}}}}"
        );
        secret("shop", "imported", &spec)
    };
    let message = ann.refused(&import(false)).await;
    assert_names(&message, &["spec.import needs get on secrets", "shop/old"]);
    ann.grant("shop", "get", &on_secrets("[get]", "[old]"))
        .await;
    ann.allowed(&import(false)).await;
    let message = ann.refused(&import(true)).await;
    assert_names(
        &message,
        &["deleteAfterImport needs delete on secrets", "shop/old"],
    );
    ann.grant("shop", "delete", &on_secrets("[delete]", "[old]"))
        .await;
    ann.allowed(&import(true)).await;

    // Taking over what exists: get, and delete unless it is retained.
    let existing = |existing: &str, policy: &str| {
        let spec = format!(
            "{{literals: {{a: b}}, target: {{form: Plain, name: db-out, existing: {existing}{policy}}}}}"
        );
        secret("shop", "taken", &spec)
    };
    for word in ["Adopt", "Merge"] {
        let message = ann.refused(&existing(word, "")).await;
        assert_names(
            &message,
            &[
                &format!("existing {word} needs get on secrets"),
                "shop/db-out",
            ],
        );
    }
    ann.grant("shop", "get-out", &on_secrets("[get]", "[db-out]"))
        .await;
    ann.allowed(&existing("Merge", "")).await;
    let message = ann.refused(&existing("Adopt", "")).await;
    assert_names(
        &message,
        &["Adopt needs delete on secrets", "deletionPolicy to Retain"],
    );
    ann.allowed(&existing("Adopt", ", deletionPolicy: Retain"))
        .await;
    ann.grant("shop", "delete-out", &on_secrets("[delete]", "[db-out]"))
        .await;
    ann.allowed(&existing("Adopt", "")).await;

    // Another key than the namespace's default.
    let keyed = |key: &str| {
        let spec =
            format!("{{keyRef: {{name: {key}}}, literals: {{a: b}}, target: {{form: None}}}}");
        secret("shop", "keyed", &spec)
    };
    let message = ann.refused(&keyed("orders")).await;
    assert_names(
        &message,
        &["needs create on managedkeys/encrypt", "shop/orders"],
    );
    ann.allowed(&keyed("keystead-default")).await;
    let encrypt = "[{apiGroups: [keystead.dev], resources: [managedkeys/encrypt], verbs: [create], resourceNames: [orders]}]";
    ann.grant("shop", "encrypt", encrypt).await;
    ann.allowed(&keyed("orders")).await;
    assert_names(&ann.refused(&keyed("payroll")).await, &["shop/payroll"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_changes_is_checked_and_deletion_never_is() {
    let bed = bed_with_author().await;
    let _operator = bed.operator().await;
    let ann = Person::new(&bed, "ann");
    // An administrator set this up; the author could not have.
    let mine = |extra: &str, literal: &str| {
        format!(
            "
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {{name: db, namespace: shop, {extra}}}
spec:
  keyRef: {{name: orders}}
  literals: {{a: {literal}}}
  import: [{{secretRef: {{name: old}}}}]
  target: {{form: Plain, name: db-out}}
"
        )
    };
    let finalizer = "finalizers: [example.com/hold]";
    bed.apply(&mine(finalizer, "one")).await;

    // What changes nothing guarded passes.
    for args in [
        ["label", "managedsecret", "db", "-n", "shop", "team=orders"],
        [
            "annotate",
            "managedsecret",
            "db",
            "-n",
            "shop",
            "note=hello",
        ],
    ] {
        ann.kubectl(&args).await.expect_ok();
    }
    ann.apply(&mine(finalizer, "one")).await.expect_ok();
    // A new spec makes the operator write the target for the author: the author needs the right.
    let message = ann.refused(&mine(finalizer, "two")).await;
    assert_names(&message, &["needs create on secrets", "shop/db-out"]);
    // So does asking for a fresh start or for another import.
    let annotate = async |annotation| {
        let args = ["annotate", "managedsecret", "db", "-n", "shop", annotation];
        ann.kubectl(&args).await.expect_refused()
    };
    let message = annotate("keystead.dev/adopt=Never").await;
    assert_names(&message, &["needs create on secrets", "shop/db-out"]);
    // Two policies deny the other import; the API server tells of one of them.
    let message = annotate("keystead.dev/import=0").await;
    let of_target = message.contains("needs create on secrets") && message.contains("shop/db-out");
    let of_import = message.contains("needs get on secrets") && message.contains("shop/old");
    assert!(of_target || of_import, "{message}");
    // Target rights alone do not re-check an import and a key that did not change.
    ann.grant("shop", "out", &on_secrets("[create, update]", "[db-out]"))
        .await;
    ann.allowed(&mine(finalizer, "three")).await;
    let wider = mine(finalizer, "three").replace(
        "{secretRef: {name: old}}",
        "{secretRef: {name: old}}, {secretRef: {name: older}}",
    );
    assert_names(
        &ann.refused(&wider).await,
        &["needs get on secrets", "shop/older"],
    );

    // Deleting passes, and so does dropping the finalizer of what is being deleted.
    let poor = Person::new(&bed, "poor");
    poor.grant("shop", "author", AUTHOR).await;
    poor.can(&["delete", "managedsecrets", "-n", "shop"]).await;
    poor.kubectl(&[
        "delete",
        "managedsecret",
        "db",
        "-n",
        "shop",
        "--wait=false",
    ])
    .await
    .expect_ok();
    let message = poor.refused(&mine(finalizer, "four")).await;
    assert_names(&message, &["needs create on secrets"]);
    let patch = r#"{"metadata":{"finalizers":null}}"#;
    let args = [
        "patch",
        "managedsecret",
        "db",
        "-n",
        "shop",
        "--type=merge",
        "-p",
        patch,
    ];
    poor.kubectl(&args).await.expect_ok();
    let gone = bed
        .kubectl(&["get", "managedsecret", "db", "-n", "shop"])
        .await;
    assert_names(&gone.expect_refused(), &["NotFound"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_eight_imports_are_checked_each_for_itself() {
    let bed = bed_with_author().await;
    let ann = Person::new(&bed, "ann");
    let imports: Vec<_> = (0..8)
        .map(|i| format!("{{secretRef: {{name: s{i}}}, deleteAfterImport: true}}"))
        .collect();
    let imports = imports.join(",");
    let all = secret(
        "shop",
        "all",
        &format!("{{import: [{imports}], target: {{form: Plain, name: out, existing: Adopt}}}}"),
    );
    ann.grant(
        "shop",
        "out",
        &on_secrets("[get, create, update, delete]", "[out]"),
    )
    .await;
    ann.can(&["delete", "secrets/out", "-n", "shop"]).await;
    // One Role that is rewritten: all names but one, for each of the eight, and for both verbs.
    for missing in 0..8 {
        let others: Vec<_> = (0..8)
            .filter(|i| *i != missing)
            .map(|i| format!("s{i}"))
            .collect();
        let others = format!("[{}]", others.join(","));
        let everything = "[s0,s1,s2,s3,s4,s5,s6,s7]";
        for (verb, others, also, all_names) in [
            ("get", &others, "delete", everything),
            ("delete", &others, "get", everything),
        ] {
            let lacking = on_secrets(&format!("[{verb}]"), others);
            let complete = on_secrets(&format!("[{also}]"), all_names);
            let rules = format!(
                "{}, {}",
                lacking.trim_end_matches(']'),
                complete.trim_start_matches('[')
            );
            let rules = rules.replace("}, {", "]}, {").replace("]]}", "]}");
            ann.grant("shop", "sources", &rules).await;
            let wanted = format!("shop/s{missing}:");
            let what = format!("the message names {verb} and {wanted}");
            crate::support::eventually(&what, || async {
                let message = ann.refused(&all).await;
                message.contains(&format!("needs {verb} on secrets"))
                    && message.contains(&wanted)
                    && message.matches(" on secrets for Secret").count() == 1
            })
            .await;
        }
    }
    ann.grant(
        "shop",
        "sources",
        &on_secrets("[get, delete]", "[s0,s1,s2,s3,s4,s5,s6,s7]"),
    )
    .await;
    ann.allowed(&all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_editor_with_no_access_to_secrets_reads_and_writes_none_through_the_operator() {
    let bed = bed_with_author().await;
    let _operator = bed.operator().await;
    let ann = Person::new(&bed, "ann");
    bed.apply(
        "
apiVersion: v1
kind: Secret
metadata: {name: payroll, namespace: shop}
stringData: {password: not-anns-business}
",
    )
    .await;
    for spec in [
        "{import: [{secretRef: {name: payroll}}], target: {form: None}}",
        "{literals: {password: mine}, target: {form: Plain, name: payroll}}",
        "{literals: {password: mine}, target: {form: Plain, name: payroll, existing: Merge}}",
        "{literals: {password: mine}, target: {form: Plain, name: payroll, existing: Adopt}}",
    ] {
        let message = ann.refused(&secret("shop", "trick", spec)).await;
        assert_names(&message, &["on secrets", "shop/payroll"]);
        let generated =
            secret("shop", "trick", spec).replace("name: trick", "generateName: trick-");
        let args = ["create", "--as", "ann", "-f", "-"];
        let message = bed.kubectl_with(&args, &generated).await.expect_refused();
        assert_names(&message, &["on secrets", "shop/payroll"]);
    }
    // None reads nothing and writes nothing, so it is allowed; and the value stays where it was.
    ann.apply(&secret(
        "shop",
        "own",
        "{generate: [{key: p, password: {}}], target: {form: None}}",
    ))
    .await
    .expect_ok();
    bed.wait_ready("shop", "own").await;
    assert!(bed.data("shop", "own").await.is_none());
    assert_eq!(
        bed.value("shop", "payroll", "password").await,
        b"not-anns-business"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_administrator_gets_nothing_that_is_not_his() {
    let bed = Bed::start_with(Options::default(), &[]).await;
    let _operator = bed.operator().await;
    for namespace in ["shop", "bank"] {
        bed.namespace(namespace).await;
    }
    let boss = Person::new(&bed, "boss");
    boss.bind("shop", "admin").await;
    boss.can(&["create", "managedkeys.keystead.dev", "-n", "shop"])
        .await;
    boss.can(&["create", "managedsecrets.keystead.dev", "-n", "shop"])
        .await;
    bed.policies_in_force().await;
    bed.apply("
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {name: vault, namespace: bank}
spec: {literals: {pin: bank-only-4711}, target: {form: Plain}}
---
apiVersion: v1
kind: Secret
metadata: {name: bootstrap, namespace: kube-system}
stringData: {token: cluster-only-4712}
---
apiVersion: v1
kind: Secret
metadata: {name: builder-token, namespace: shop, annotations: {kubernetes.io/service-account.name: default}}
type: kubernetes.io/service-account-token
").await;
    bed.wait_ready("bank", "vault").await;
    boss.allowed(&secret(
        "shop",
        "own",
        "{generate: [{key: p, password: {}}], target: {form: Plain}}",
    ))
    .await;
    bed.wait_ready("shop", "own").await;

    the_truth_is_out_of_reach(&bed, &boss).await;
    other_places_are_out_of_reach(&bed, &boss).await;
    other_owners_are_left_alone(&bed, &boss).await;
    reserved_names_are_refused(&bed, &boss).await;
}

/// RBAC: nothing in the operator's namespace is a tenant's, by any verb.
async fn the_truth_is_out_of_reach(bed: &Bed, boss: &Person<'_>) {
    let truth = bed
        .kubectl(&["get", "secrets,keymaterials", "-n", SYSTEM, "-o", "name"])
        .await
        .expect_ok();
    let mut objects: Vec<_> = truth.lines().collect();
    assert!(
        objects.len() >= 4,
        "root key, two truths, two keys: {truth}"
    );
    objects.push("configmap/keystead-installation");
    for object in objects {
        for args in [
            &["get", object][..],
            &["delete", object],
            &[
                "annotate",
                object,
                "keystead.dev/approve-adoption=x",
                "--overwrite",
            ],
        ] {
            let message = boss
                .kubectl(&[args, &["-n", SYSTEM]].concat())
                .await
                .expect_refused();
            assert_names(&message, &["Forbidden"]);
        }
    }
    for kind in ["secrets", "keymaterials"] {
        boss.kubectl(&["get", kind, "-n", SYSTEM])
            .await
            .expect_refused();
        boss.kubectl(&["get", kind, "-A"]).await.expect_refused();
    }
    // KeyMaterials are nobody's in a tenant's namespace either.
    boss.kubectl(&["get", "keymaterials", "-n", "shop"])
        .await
        .expect_refused();
    // And the operator's namespace serves nobody, not even an administrator.
    let own = secret(
        SYSTEM,
        "trick",
        "{import: [{secretRef: {name: keystead-root}}], target: {form: Plain, name: out}}",
    );
    let message = bed
        .kubectl_with(&["apply", "-f", "-"], &own)
        .await
        .expect_refused();
    assert_names(&message, &["operator's own"]);
    let key = format!(
        "{{apiVersion: keystead.dev/v1alpha1, kind: ManagedKey, metadata: {{name: k, namespace: {SYSTEM}}}, spec: {{}}}}"
    );
    let message = bed
        .kubectl_with(&["apply", "-f", "-"], &key)
        .await
        .expect_refused();
    assert_names(&message, &["operator's own"]);
}

/// Names do not lead out of the namespace.
async fn other_places_are_out_of_reach(bed: &Bed, boss: &Person<'_>) {
    let tricks = [
        "bank/vault",
        "../../bank/secrets/vault",
        "x/../../../bank/secrets/vault",
        "..%2f..%2fbank%2fsecrets%2fvault",
        "../../kube-system/secrets/bootstrap",
        "vault?namespace=bank",
        "..",
        ".",
        "Vault",
    ];
    for trick in tricks {
        let target = secret(
            "shop",
            "trick",
            &format!(
                "{{literals: {{pin: mine}}, target: {{form: Plain, name: {trick:?}, existing: Merge}}}}"
            ),
        );
        let message = boss.refused(&target).await;
        assert_names(&message, &["spec.target.name"]);
        let import = secret(
            "shop",
            "trick",
            &format!(
                "{{import: [{{secretRef: {{name: {trick:?}}}}}], target: {{form: Plain, name: loot}}}}"
            ),
        );
        let message = boss.refused(&import).await;
        assert_names(&message, &["spec.import[0].secretRef.name"]);
        let key = secret(
            "shop",
            "trick",
            &format!("{{literals: {{a: b}}, keyRef: {{name: {trick:?}}}}}"),
        );
        let message = boss.refused(&key).await;
        assert_names(&message, &["spec.keyRef.name"]);
    }
    // A name that is another namespace's Secret's means the Secret of one's own namespace.
    boss.allowed(&secret(
        "shop",
        "dotted",
        "{literals: {pin: mine}, target: {form: Plain, name: bank.vault}}",
    ))
    .await;
    bed.wait_ready("shop", "dotted").await;
    boss.allowed(&secret(
        "shop",
        "copier",
        "{import: [{secretRef: {name: vault}}], target: {form: Plain}}",
    ))
    .await;
    bed.wait_not_ready("shop", "copier", "ImportSourceMissing")
        .await;
    assert_eq!(bed.value("bank", "vault", "pin").await, b"bank-only-4711");
    // In somebody else's namespace he is nobody.
    for namespace in ["bank", "kube-system", SYSTEM] {
        let message = boss
            .refused(&secret(namespace, "trick", "{literals: {a: b}}"))
            .await;
        assert_names(&message, &["orbidden"]);
    }
}

/// What has an owner already keeps it.
async fn other_owners_are_left_alone(bed: &Bed, boss: &Person<'_>) {
    let before = bed.data("shop", "own").await;
    for existing in ["Fail", "Adopt", "Merge"] {
        let spec = format!(
            "{{literals: {{p: mine}}, target: {{form: Plain, name: own, existing: {existing}}}}}"
        );
        boss.allowed(&secret("shop", "thief", &spec)).await;
        bed.wait_not_ready("shop", "thief", "TargetOwnedByOther")
            .await;
    }
    assert_eq!(bed.data("shop", "own").await, before);
    // A token of a service account is the API server's: it cannot be asked for, and is not overwritten.
    for type_ in [
        "kubernetes.io/service-account-token",
        "bootstrap.kubernetes.io/token",
        "keystead.dev/root-key",
        "keystead.dev/sealed",
    ] {
        let spec = format!(
            "{{literals: {{token: mine}}, template: {{type: {type_}, data: {{token: x}}}}, target: {{form: Plain}}}}"
        );
        let message = boss.refused(&secret("shop", "token", &spec)).await;
        assert_names(&message, &["spec.template.type"]);
    }
    boss.allowed(&secret(
        "shop",
        "token",
        "{literals: {token: mine}, target: {form: Plain, name: builder-token}}",
    ))
    .await;
    bed.wait_not_ready("shop", "token", "TargetExists").await;
}

/// Names that begin with keystead- are the operator's.
async fn reserved_names_are_refused(bed: &Bed, boss: &Person<'_>) {
    let key = |name: &str, spec: &str| {
        format!(
            "{{apiVersion: keystead.dev/v1alpha1, kind: ManagedKey, metadata: {{name: {name}, namespace: shop}}, spec: {spec}}}"
        )
    };
    let message = boss.refused(&key("keystead-mine", "{}")).await;
    assert_names(
        &message,
        &[
            "reserved for the operator",
            "keystead-mine",
            "managedkeys/reserved",
        ],
    );
    let message = boss
        .refused(&secret("shop", "keystead-mine", "{literals: {a: b}}"))
        .await;
    assert_names(&message, &["reserved for the operator"]);
    // The default key was made for `own`; it serves everybody, so no tenant turns it off.
    let patch = [
        "patch",
        "managedkey",
        "keystead-default",
        "-n",
        "shop",
        "--type=merge",
        "-p",
        r#"{"spec":{"enabled":false}}"#,
    ];
    let message = boss.kubectl(&patch).await.expect_refused();
    assert_names(&message, &["belongs to the operator", "keystead-default"]);
    boss.kubectl(&[
        "label",
        "managedkey",
        "keystead-default",
        "-n",
        "shop",
        "team=orders",
    ])
    .await
    .expect_ok();
    // Somebody with the right may.
    let reserved =
        "[{apiGroups: [keystead.dev], resources: [managedkeys/reserved], verbs: [create]}]";
    boss.grant("shop", "reserved", reserved).await;
    boss.can(&[
        "create",
        "managedkeys.keystead.dev/keystead-default",
        "--subresource=reserved",
        "-n",
        "shop",
    ])
    .await;
    boss.kubectl(&patch).await.expect_ok();
    bed.wait_not_ready("shop", "own", "KeyDisabled").await;
}
