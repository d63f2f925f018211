//! Templates and targets that are refused.

use serde_json::{Value, json};

use super::{Refused, long};

/// What cannot be delivered.
pub(super) fn refused() -> Vec<Refused> {
    let target = |target: Value| json!({"literals": {"a": ""}, "target": target});
    let type_ = |type_: &str, form: &str| json!({"literals": {"a": ""}, "template": {"type": type_, "data": {"a": "x"}}, "target": {"form": form}});
    let mut cases = vec![
        (
            type_("kubernetes.io/tls", "Sealed"),
            &["template.type other than Opaque needs target.form: Plain"][..],
        ),
        (
            type_("kubernetes.io/tls", "None"),
            &["template.type other than Opaque needs target.form: Plain"],
        ),
        (
            type_("", "Plain"),
            &["spec.template.type", "at least 1 chars"],
        ),
        (
            json!({"literals": {"a": ""}, "template": {}}),
            &["the template says nothing: set at least one of type, data and metadata"],
        ),
        (
            json!({"literals": {"a": ""}, "template": {"data": {}}}),
            &["spec.template.data", "at least 1 properties"],
        ),
        (
            target(json!({"existing": "Adopt"})),
            &["spec.target", "existing: Adopt and Merge need form: Plain"],
        ),
        (
            target(json!({"form": "Sealed", "existing": "Merge"})),
            &["existing: Adopt and Merge need form: Plain"],
        ),
        (
            target(json!({"form": "None", "existing": "Adopt"})),
            &["existing: Adopt and Merge need form: Plain"],
        ),
        (
            target(json!({"form": "Cooked"})),
            &[
                "spec.target.form",
                "supported values",
                "Sealed",
                "Plain",
                "None",
            ],
        ),
        (
            target(json!({"existing": "Steal"})),
            &["spec.target.existing", "supported values", "Merge"],
        ),
        (
            target(json!({"deletionPolicy": "Orphan"})),
            &["spec.target.deletionPolicy", "supported values", "Retain"],
        ),
        (
            target(json!({"name": long(254)})),
            &["spec.target.name", "more than 253"],
        ),
    ];
    cases.extend(metadata());
    cases.extend(immutable());
    for extra in [
        json!({"name": "x"}),
        json!({"existing": "Fail"}),
        json!({"deletionPolicy": "Retain"}),
    ] {
        let mut none = extra;
        none["form"] = json!("None");
        cases.push((
            target(none),
            &["spec.target", "form: None delivers nothing"],
        ));
    }
    for name in ["", "Upper", "a_b", "-a", "a.", "a..b", "a/b"] {
        cases.push((target(json!({"name": name})), &["spec.target.name"]));
    }
    for refused in [
        "kubernetes.io/service-account-token",
        "bootstrap.kubernetes.io/token",
        "kubernetes.io/dockercfg",
        "keystead.dev/sealed",
        "keystead.dev/root-key",
    ] {
        cases.push((
            type_(refused, "Plain"),
            &["spec.template.type", "of kubernetes.io only tls, basic-auth, ssh-auth and dockerconfigjson are allowed, and nothing of keystead.dev"],
        ));
    }
    cases
}

/// What cannot be delivered in a Secret for each content.
fn immutable() -> Vec<Refused> {
    let with = |target: Value| {
        let mut target = target;
        target["immutable"] = json!(true);
        json!({"literals": {"a": ""}, "target": target})
    };
    let mut restarted = with(json!({"form": "Plain"}));
    restarted["rollout"] = json!({"auto": true});
    let needs_plain = &[
        "spec.target",
        "immutable: true needs form: Plain, since sealed entries are encrypted anew when the key rotates",
    ][..];
    vec![
        (with(json!({})), needs_plain),
        (with(json!({"form": "Sealed"})), needs_plain),
        (with(json!({"form": "None"})), needs_plain),
        (
            with(json!({"form": "Plain", "existing": "Adopt"})),
            &[
                "spec.target",
                "takes none over: take existing out, or immutable",
            ],
        ),
        (
            with(json!({"form": "Plain", "name": long(238)})),
            &["more than 237 characters", "set a shorter target.name"],
        ),
        (
            restarted,
            &[
                "spec: Invalid value",
                "rollout restarts workloads as they are",
                "status.targetRef.name",
            ],
        ),
    ]
}

/// At its limits.
pub(super) fn accepted() -> Vec<Value> {
    let target = |target: Value| json!({"literals": {"a": ""}, "target": target});
    let mut restarted = target(json!({"form": "Plain", "immutable": false, "existing": "Adopt"}));
    restarted["rollout"] = json!({"auto": true});
    vec![
        target(json!({"form": "Plain", "immutable": true, "existing": "Fail", "name": long(237)})),
        target(json!({"form": "None", "immutable": false})),
        restarted,
    ]
}

/// Labels and annotations that nothing may wear.
fn metadata() -> Vec<Refused> {
    let mut cases: Vec<Refused> = Vec::new();
    let worn = |what: &str, name: &str, value: &str| json!({"literals": {"a": ""}, "template": {"metadata": {what: {name: value}}}});
    for what in ["labels", "annotations"] {
        for name in [
            "",
            "-a",
            "a-",
            "a b",
            "A/b",
            "a//b",
            "a/b/c",
            "/a",
            "a/",
            &long(64),
        ] {
            cases.push((
                worn(what, name, "x"),
                &[
                    "spec.template.metadata",
                    "a name of a label or annotation has 1 to 63",
                ],
            ));
        }
        for name in [
            "keystead.dev/managed-by",
            "x.keystead.dev/y",
            "kubernetes.io/service-account.name",
            "kubectl.kubernetes.io/last-applied-configuration",
            "k8s.io/a",
            "batch.k8s.io/a",
            "app.kubernetes.io/managed-by",
        ] {
            cases.push((
                worn(what, name, "x"),
                &[
                    "spec.template.metadata",
                    "names of keystead.dev, kubernetes.io and k8s.io are reserved",
                ],
            ));
        }
    }
    for value in ["a b", "-", "a."] {
        cases.push((
            worn("labels", "a", value),
            &["spec.template.metadata.labels.a", "should match"],
        ));
    }
    cases.push((
        worn("labels", "a", &long(64)),
        &["spec.template.metadata.labels.a"],
    ));
    cases.push((
        worn("annotations", "a", &long(4097)),
        &["spec.template.metadata.annotations.a"],
    ));
    cases
}
