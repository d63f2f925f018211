//! Plaintext is where it must be, and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt, api::ListParams};

use crate::sealed::{entry, first_public_key, strict};
use crate::support::{Bed, Operator, SYSTEM, eventually};

/// Values that were imported, and whose source was deleted: from then on they are sealed only. Each has a character
/// that encodings treat in their own way.
const SEALED: [&str; 4] = [
    "C4N4RY-imported/sealed+1&=\"q",
    "C4N4RY-imported/none+2&=\"q",
    "C4N4RY-imported/broken-template+3&=\"q",
    "C4N4RY-imported/after-disable+4&=\"q",
];
/// Values that were sealed before they reached the cluster: one for its place, and one for another.
const FROM_GIT: [&str; 2] = [
    "C4N4RY-from-git/in-place+8&=\"q",
    "C4N4RY-from-git/moved+9&=\"q",
];
/// A value that was imported, delivered plain and refused by the API server.
const REFUSED: &str = "C4N4RY-imported/not-a-registry+5&=\"q";
const LITERAL: &str = "C4N4RY-literal/6+&=q";
const TEMPLATE: &str = "C4N4RY-template/7+&=q";

/// A value as it may appear in text: as it is, in the base64s at every offset, in URLs, in JSON, in hexadecimal.
fn forms(value: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms = vec![("raw", value.to_vec())];
    for offset in 0..3 {
        let padded = [&[0; 2][..offset], value].concat();
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let letters = engine.encode(&padded).into_bytes();
            let first = [0, 2, 3][offset];
            let last = letters.len() - usize::from(padded.len() % 3 != 0);
            forms.push(("base64", letters[first..last].to_vec()));
        }
    }
    let lower = value.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    forms.push(("hex", lower.to_uppercase().into_bytes()));
    forms.push(("hex", lower.into_bytes()));
    let url = value.iter().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) {
            text.push(char::from(*byte));
        } else {
            write!(text, "%{byte:02X}").unwrap();
        }
        text
    });
    forms.push(("url", url.to_lowercase().into_bytes()));
    forms.push(("url", url.into_bytes()));
    let json = serde_json::to_string(&String::from_utf8_lossy(value)).unwrap();
    let json = &json[1..json.len() - 1];
    // Go escapes this in JSON, and JSON in a string is escaped once more.
    let go = json.replace('&', "\\u0026");
    for text in [json, &go] {
        forms.push(("json", text.as_bytes().to_vec()));
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        forms.push(("json in json", quoted.into_bytes()));
    }
    // As `Debug` of a byte vector writes it.
    let debug = format!("{value:?}");
    forms.push(("bytes", debug.as_bytes()[1..debug.len() - 1].to_vec()));
    forms.push((
        "bytes",
        debug[1..debug.len() - 1].replace(' ', "").into_bytes(),
    ));
    forms
}

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    // Almost no place begins like a needle, so this is fast even where the hay is long.
    let Some((first, rest)) = needle.split_first() else {
        return false;
    };
    let mut from = 0;
    while let Some(at) = hay[from..].iter().position(|byte| byte == first) {
        from += at + 1;
        if hay[from..].starts_with(rest) {
            return true;
        }
    }
    false
}

#[track_caller]
fn assert_nowhere(place: &str, hay: &[u8], values: &BTreeMap<String, Vec<u8>>) {
    assert!(!hay.is_empty(), "{place}: nothing was looked at");
    for (what, value) in values {
        for (form, needle) in forms(value) {
            assert!(!contains(hay, &needle), "{place} holds {what} ({form})");
        }
    }
}

#[test]
fn a_value_is_found_in_every_form() {
    let value = SEALED[0].as_bytes();
    for before in 0..3 {
        let text = [&b"ab"[..before], value, b"yz"].concat();
        for encoded in [
            STANDARD.encode(&text),
            URL_SAFE_NO_PAD.encode(&text),
            String::from_utf8(text.clone()).unwrap(),
            format!("{text:?}"),
            serde_json::to_string(&String::from_utf8(text.clone()).unwrap()).unwrap(),
        ] {
            let found = forms(value)
                .iter()
                .any(|(_, form)| contains(encoded.as_bytes(), form));
            assert!(found, "{encoded}");
        }
    }
    assert!(
        !forms(value)
            .iter()
            .any(|(_, form)| contains(b"C4N4RY-imported/sealed", form))
    );
}

fn source(name: &str, key: &str, value: &str) -> String {
    let value = serde_json::to_string(value).unwrap();
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: shop}}\nstringData: {{{key}: {value}}}\n"
    )
}

fn managed(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: keystead.dev/v1alpha1\nkind: ManagedSecret\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n"
    )
}

/// Every way in, and every error that an input can provoke.
async fn feed(bed: &Bed) {
    bed.namespace("shop").await;
    // Created, not applied: the annotation last-applied-configuration of kubectl would be a copy of its own.
    let sources = [
        source("old-sealed", "token", SEALED[0]),
        source("old-none", "token", SEALED[1]),
        source("old-broken", "token", SEALED[2]),
        source("old-disabled", "token", SEALED[3]),
        source("old-refused", "token", REFUSED),
        source("taken", "other", "not-ours"),
    ]
    .concat();
    bed.kubectl_with(&["create", "-f", "-"], &sources)
        .await
        .expect_ok();
    let import =
        |name: &str| format!("import: [{{secretRef: {{name: {name}}}, deleteAfterImport: true}}]");
    let yaml = [
        "---\napiVersion: keystead.dev/v1alpha1\nkind: ManagedKey\nmetadata: {name: orders, namespace: shop}\nspec: {}\n".to_owned(),
        managed("sealed", &format!("{{{}, keyRef: {{name: orders}}, generate: [{{key: p, password: {{}}}}]}}", import("old-sealed"))),
        managed("none", &format!("{{{}, target: {{form: None}}}}", import("old-none"))),
        managed("disabled", &format!("{{{}, keyRef: {{name: orders}}}}", import("old-disabled"))),
        // The first is an error of the template with the value in hand, the others are of the API server.
        managed("broken", &format!("{{{}, template: {{data: {{A: \"[[ token | urlencode ]] [[ token.x.y ]]\"}}}}}}", import("old-broken"))),
        managed("registry", &format!("{{{}, template: {{type: kubernetes.io/dockerconfigjson, data: {{.dockerconfigjson: \"[[ token ]]\"}}}}, target: {{form: Plain}}}}", import("old-refused"))),
        managed("tls", "{generate: [{key: k, hex: {}}], template: {type: kubernetes.io/tls, data: {tls.key: \"[[ k ]]\"}}, target: {form: Plain}}"),
        managed("taken", "{generate: [{key: p, password: {}}], target: {form: Plain}}"),
        managed("plain", &format!("{{generate: [{{key: password, password: {{length: 40}}}}, {{key: hex, hex: {{}}}}, {{key: bytes, bytes: {{length: 48}}}}, {{key: uuid, uuid: {{}}}}], literals: {{user: {LITERAL:?}}}, template: {{data: {{URL: \"{TEMPLATE}://[[ user ]]:[[ password | urlencode ]]\", P: \"[[ password ]]\", H: \"[[ hex ]]\", U: \"[[ uuid ]]\"}}}}, target: {{form: Plain}}}}")),
        managed("large", &format!("{{generate: [{{key: p, password: {{length: 4096}}}}], template: {{data: {{{}}}}}, target: {{form: Plain}}}}",
            (0..60).map(|i| format!("K{i}: \"{}\"", "[[ p ]]".repeat(60))).collect::<Vec<_>>().join(", "))),
    ]
    .concat();
    bed.apply(&yaml).await;
    let keys = first_public_key(bed).await;
    let place = strict("shop", "git", "token");
    for (name, value) in ["git", "moved"].into_iter().zip(FROM_GIT) {
        let sealed = entry(value.as_bytes(), place, &keys);
        let spec = format!("{{sealed: {{token: \"{sealed}\"}}}}");
        bed.apply_secret("shop", name, &spec).await;
    }
}

/// Generated values and what was made of them, by the Secret that may hold them.
async fn generated(bed: &Bed) -> BTreeMap<String, Vec<u8>> {
    let secrets: Api<Secret> = Api::namespaced(bed.client.clone(), "shop");
    let mut values = BTreeMap::new();
    for secret in secrets.list(&ListParams::default()).await.unwrap() {
        let ours = secret
            .labels()
            .get("app.kubernetes.io/managed-by")
            .is_some_and(|by| by == "keystead");
        if !ours || secret.type_.as_deref() == Some("keystead.dev/sealed") {
            continue;
        }
        for (key, value) in secret.data.clone().unwrap_or_default() {
            values.insert(format!("{} {key}", secret.name_any()), value.0);
        }
    }
    values
}

/// Case B45.
#[tokio::test(flavor = "multi_thread")]
async fn canaries_are_in_no_log_status_event_metric_or_store_but_where_they_must_be() {
    let bed = Bed::start().await;
    let folder = tempfile::tempdir().unwrap();
    let trail = folder.path().join("audit.log");
    let arguments = [
        "--audit-log",
        "stdout,file",
        "--audit-file",
        &trail.to_string_lossy(),
        "--log",
        "trace,kube=trace,hyper=trace,tower=trace,rustls=trace,h2=trace",
    ];
    let operator = bed.operator_named("one", &arguments).await;
    operator.wait_ready().await;
    feed(&bed).await;
    for name in ["sealed", "none", "plain", "disabled", "git"] {
        bed.wait_ready("shop", name).await;
    }
    for (name, reason) in [
        ("broken", "TemplateFailed"),
        ("registry", "TargetRefused"),
        ("tls", "TargetRefused"),
        ("taken", "TargetExists"),
        ("large", "ValueTooLarge"),
        ("moved", "SealedForAnotherPlace"),
    ] {
        bed.wait_not_ready("shop", name, reason).await;
    }
    // Before a key is disabled: a source is deleted by the look after the one that stored it.
    for name in ["old-sealed", "old-none", "old-disabled"] {
        eventually("the source is deleted", || async {
            bed.data("shop", name).await.is_none()
        })
        .await;
    }
    provoke_more(&bed).await;

    let delivered = generated(&bed).await;
    assert!(delivered.len() >= 4, "{:?}", delivered.keys());
    let mut secret: BTreeMap<String, Vec<u8>> = delivered.clone();
    for value in SEALED.iter().chain([&REFUSED]).chain(&FROM_GIT) {
        secret.insert((*value).to_owned(), value.as_bytes().to_vec());
    }
    nothing_tells(&bed, &operator, &secret).await;
    let trail = std::fs::read_to_string(trail).unwrap();
    for used in [
        "GenerateDataKey",
        "Decrypt",
        "CreateKey",
        "DisabledException",
    ] {
        assert!(trail.contains(used), "the trail has {used}: {trail}");
        assert!(operator.log().contains(used));
    }
    assert_nowhere("the audit trail", trail.as_bytes(), &secret);
    operator.stop().await;
    etcd_holds_only_what_must_be(&bed, &delivered).await;
}

/// A key that is disabled, a conflict, a quota, and a target that is drifted and put right.
async fn provoke_more(bed: &Bed) {
    bed.apply("---\napiVersion: v1\nkind: ResourceQuota\nmetadata: {name: full, namespace: shop}\nspec: {hard: {count/secrets: \"1\"}}\n").await;
    eventually("the quota counts", || async {
        let used = [
            "get",
            "resourcequota",
            "full",
            "-n",
            "shop",
            "-o",
            "jsonpath={.status.used}",
        ];
        bed.kubectl(&used).await.out.contains("count/secrets")
    })
    .await;
    bed.apply(&managed(
        "over",
        "{generate: [{key: p, password: {}}], target: {form: Plain}}",
    ))
    .await;
    bed.wait_not_ready("shop", "over", "Forbidden").await;
    bed.kubectl(&["delete", "resourcequota", "full", "-n", "shop"])
        .await
        .expect_ok();
    let drift = r#"{"data":{"P":"ZHJpZnQ="}}"#;
    let before = bed.value("shop", "plain", "P").await;
    let args = [
        "patch",
        "secret",
        "plain",
        "-n",
        "shop",
        "--type=merge",
        "-p",
        drift,
    ];
    bed.kubectl(&args).await.expect_ok();
    eventually("the drift is repaired", || async {
        bed.value("shop", "plain", "P").await == before
    })
    .await;
    let disable = [
        "patch",
        "managedkey",
        "orders",
        "-n",
        "shop",
        "--type=merge",
        "-p",
        r#"{"spec":{"enabled":false}}"#,
    ];
    bed.kubectl(&disable).await.expect_ok();
    bed.wait_not_ready("shop", "disabled", "KeyDisabled").await;
    bed.wait_not_ready("shop", "sealed", "KeyDisabled").await;
}

/// Logs, events, statuses, annotations, metrics, the audit log and the process tell nothing.
async fn nothing_tells(bed: &Bed, operator: &Operator, secret: &BTreeMap<String, Vec<u8>>) {
    let log = operator.log();
    assert!(
        log.contains("TRACE") && log.contains("hyper"),
        "the log is at its finest"
    );
    assert!(!log.contains("panicked"), "no error made it panic");
    assert_nowhere("the log", log.as_bytes(), secret);
    let (_, metrics) = operator.http("/metrics").await.unwrap();
    assert!(metrics.contains("keystead_reconciles_total"), "{metrics}");
    assert_nowhere("/metrics", metrics.as_bytes(), secret);
    let (_, ready) = operator.http("/readyz").await.unwrap();
    assert_nowhere("/readyz", format!("{ready} ").as_bytes(), secret);
    for file in ["cmdline", "environ"] {
        let bytes = std::fs::read(format!("/proc/{}/{file}", operator.pid())).unwrap();
        assert_nowhere(file, &bytes, secret);
    }
    let events = bed
        .kubectl(&["get", "events", "-A", "-o", "json"])
        .await
        .expect_ok();
    assert!(
        events.contains("TemplateFailed"),
        "there are events of ours"
    );
    assert_nowhere("events", events.as_bytes(), secret);
    let kinds =
        "managedkeys,managedsecrets,keymaterials,configmaps,leases,namespaces,serviceaccounts";
    let objects = bed
        .kubectl(&["get", kinds, "-A", "-o", "json"])
        .await
        .expect_ok();
    assert_nowhere("objects", objects.as_bytes(), secret);
    let secrets = bed
        .kubectl(&["get", "secrets", "-A", "-o", "json"])
        .await
        .expect_ok();
    let secrets: serde_json::Value = serde_json::from_str(&secrets).unwrap();
    for item in secrets["items"].as_array().unwrap() {
        assert_nowhere(
            "metadata of a Secret",
            item["metadata"].to_string().as_bytes(),
            secret,
        );
    }
    let audit: String = bed
        .cluster
        .audit_log()
        .unwrap()
        .iter()
        .map(|event| event.raw.to_string())
        .collect();
    assert_nowhere("the audit log", audit.as_bytes(), secret);
}

/// The keys of etcd whose value holds a value in any form.
pub(crate) fn holding(dump: &[(Vec<u8>, Vec<u8>)], value: &[u8]) -> BTreeSet<String> {
    let forms = forms(value);
    dump.iter()
        .filter(|(_, stored)| forms.iter().any(|(_, form)| contains(stored, form)))
        .map(|(key, _)| String::from_utf8_lossy(key).into_owned())
        .collect()
}

async fn etcd_holds_only_what_must_be(bed: &Bed, delivered: &BTreeMap<String, Vec<u8>>) {
    let etcd = bed.cluster.etcd();
    let dump = etcd.dump().await.unwrap();
    let at = |kind: &str, name: &str| format!("/registry/{kind}/shop/{name}");
    let set = |keys: &[String]| keys.iter().cloned().collect::<BTreeSet<_>>();
    for (what, value) in delivered {
        let (name, key) = what.split_once(' ').unwrap();
        let holders = holding(&dump, value);
        assert_eq!(
            holders,
            set(&[at("secrets", name)]),
            "{what} ({key}) is in its target only"
        );
    }
    let plain = at("secrets", "plain");
    let spec = at("keystead.dev/managedsecrets", "plain");
    assert_eq!(
        holding(&dump, LITERAL.as_bytes()),
        set(&[spec.clone(), plain.clone()])
    );
    assert_eq!(holding(&dump, TEMPLATE.as_bytes()), set(&[spec, plain]));
    // Sources that could not be delivered: stored, and the source is deleted with the rest.
    for value in SEALED.iter().chain([&REFUSED]) {
        let left: BTreeSet<_> = holding(&dump, value.as_bytes());
        let sources = set(&[at("secrets", "old-broken"), at("secrets", "old-refused")]);
        assert!(left.is_subset(&sources), "{value}: {left:?}");
    }
    for value in FROM_GIT {
        assert_eq!(holding(&dump, value.as_bytes()), BTreeSet::new(), "{value}");
        let files = etcd.files_containing(value.as_bytes()).unwrap();
        assert!(files.is_empty(), "{value}: {files:?}");
    }
    // What was sealed stays sealed when history is forgotten: not even the files hold it.
    etcd.compact().await.unwrap();
    etcd.defragment().await.unwrap();
    for value in &SEALED[..2] {
        assert!(
            etcd.keys_containing(value.as_bytes())
                .await
                .unwrap()
                .is_empty()
        );
        let files = etcd.files_containing(value.as_bytes()).unwrap();
        // The write-ahead log keeps what was written to a source until etcd drops the segment.
        let database: Vec<_> = files
            .iter()
            .filter(|file| file.extension().is_some_and(|e| e == "db"))
            .collect();
        assert!(database.is_empty(), "{value}: {database:?}");
    }
    let root = bed.data(SYSTEM, "keystead-root").await.unwrap();
    assert_eq!(
        holding(&dump, &root["key"]),
        set(&[format!("/registry/secrets/{SYSTEM}/keystead-root")])
    );
}
