//! Specs that are refused, with what the message must say, and specs that are accepted.

mod delivery;
mod generators;
mod keys;
mod passwords;
mod policies;
mod readers;
mod rollout;
mod sharing;

use serde_json::{Value, json};

pub(super) use keys::{accepted_keys, material, refused_keys, refused_materials};
pub(super) use policies::{accepted_grants, accepted_policies, refused_grants, refused_policies};

/// A spec, and what the refusal says.
type Refused = (Value, &'static [&'static str]);

const KEY_NAMES: &str = "a key has 1 to 253 letters, digits, '-', '_' and '.', is not '.' and does not begin with '..': rename it";
const TOO_LONG_TO_SEAL: &str = "more than 246 characters, which leaves no room for .sealed in a target of form Sealed: shorten it, or set target.form: Plain";

fn long(length: usize) -> String {
    "k".repeat(length)
}

fn password(password: &Value) -> Value {
    json!({"generate": [{"key": "a", "password": password}]})
}

fn literals(count: usize) -> Value {
    (0..count).map(|i| (format!("k{i}"), json!("v"))).collect()
}

fn generators(count: usize) -> Value {
    (0..count)
        .map(|i| json!({"key": format!("k{i}"), "uuid": {}}))
        .collect()
}

/// `ManagedSecret`.
pub(super) fn refused_secrets() -> Vec<Refused> {
    [
        key_names(),
        sources(),
        passwords::refused(),
        passwords::lengths(),
        generators::refused(),
        delivery::refused(),
        rollout::refused(),
        limits(),
        sharing::refused(),
        readers::refused(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Case B24: names of keys.
fn key_names() -> Vec<Refused> {
    let mut cases = Vec::new();
    for name in ["", "a/b", "A:B", "ключ", ".", "..", "..x", " a", "a\nb"] {
        cases.push((
            json!({"generate": [{"key": name, "uuid": {}}]}),
            &["spec.generate[0].key", KEY_NAMES][..],
        ));
        cases.push((
            json!({"literals": {"fine": "", name: ""}}),
            &["spec.literals", KEY_NAMES],
        ));
        cases.push((
            json!({"literals": {"a": ""}, "template": {"data": {name: "x"}}}),
            &["spec.template.data", KEY_NAMES],
        ));
        cases.push((
            json!({"import": [{"secretRef": {"name": "s", "keys": ["fine", name]}}]}),
            &["spec.import[0].secretRef.keys"],
        ));
    }
    cases.push((
        json!({"literals": {"fine": "", "a/b": ""}}),
        &["spec.literals: Invalid value", "key \"a/b\" is not allowed"],
    ));
    let plain = json!({"form": "Plain"});
    cases.extend([
        (
            json!({"generate": [{"key": long(254), "uuid": {}}], "target": plain}),
            &["spec.generate[0].key", "may not be more than 253"][..],
        ),
        (json!({"literals": {long(254): ""}, "target": plain}), &["spec.literals", KEY_NAMES]),
        (
            json!({"literals": {"a": ""}, "template": {"data": {long(254): "x"}}, "target": plain}),
            &["spec.template.data", KEY_NAMES],
        ),
        (json!({"generate": [{"key": long(247), "uuid": {}}]}), &["spec: Invalid value", TOO_LONG_TO_SEAL]),
        (json!({"literals": {long(247): ""}}), &["spec: Invalid value", TOO_LONG_TO_SEAL]),
        (
            json!({"literals": {"a": ""}, "template": {"data": {long(247): "x"}}, "target": {"form": "Sealed"}}),
            &["spec: Invalid value", TOO_LONG_TO_SEAL],
        ),
    ]);
    cases
}

fn sources() -> Vec<Refused> {
    vec![
        (
            json!({}),
            &[
                "spec: Invalid value",
                "the secret has no keys: name at least one in generate, literals, import or sealed",
            ],
        ),
        (
            json!({"generate": [], "literals": {}, "import": []}),
            &["name at least one in generate, literals, import or sealed"],
        ),
        (json!(null), &["spec"]),
        (
            json!({"generate": [{"key": "a", "uuid": {}}, {"key": "a", "hex": {}}]}),
            &["spec.generate[1]: Duplicate value", "\"a\""],
        ),
        (
            json!({"generate": [{"key": "a", "uuid": {}}], "literals": {"a": ""}}),
            &[
                "spec: Invalid value",
                "a key is in both generate and literals: every key has one source",
            ],
        ),
        (
            json!({"generate": [{"uuid": {}}]}),
            &["spec.generate[0].key: Required value"],
        ),
        (
            json!({"generate": [{"key": "a"}]}),
            &[
                "spec.generate[0]",
                "exactly one of password, bytes, hex, uuid, sshKey, keyPair, certificate, htpasswd, bcrypt, scram, dockerConfigJson, keystore must be set",
            ],
        ),
        (
            json!({"generate": [{"key": "a", "uuid": {}, "hex": {}}]}),
            &[
                "spec.generate[0]",
                "exactly one of password, bytes, hex, uuid, sshKey, keyPair, certificate, htpasswd, bcrypt, scram, dockerConfigJson, keystore must be set",
            ],
        ),
        (
            json!({"import": [{"secretRef": {"name": "s"}}, {"secretRef": {"name": "s", "keys": ["a"]}}]}),
            &["spec.import", "a Secret is imported twice: name each once"],
        ),
        (
            json!({"import": [{}]}),
            &["spec.import[0].secretRef: Required value"],
        ),
        (
            json!({"import": [{"secretRef": {"name": "s", "keys": ["a", "a"]}}]}),
            &["spec.import[0].secretRef.keys[1]: Duplicate value"],
        ),
        (
            json!({"import": [{"secretRef": {"name": "s", "keys": []}}]}),
            &["spec.import[0].secretRef.keys", "at least 1 items"],
        ),
        (
            json!({"literals": {"a": ""}, "encryptionContext": {"keystead:purpose": "value"}}),
            &[
                "spec.encryptionContext",
                "do not start with 'keystead:' or 'aws-crypto-'",
            ],
        ),
        (
            json!({"literals": {"a": ""}, "encryptionContext": {"aws-crypto-public-key": "x"}}),
            &[
                "spec.encryptionContext",
                "do not start with 'keystead:' or 'aws-crypto-'",
            ],
        ),
        (
            json!({"literals": {"a": ""}, "encryptionContext": {"": "x"}}),
            &["spec.encryptionContext", "1 to 256 characters"],
        ),
        (
            json!({"literals": {"a": ""}, "encryptionContext": {long(257): "x"}}),
            &["spec.encryptionContext", "1 to 256 characters"],
        ),
    ]
}

/// Too many, or too long.
fn limits() -> Vec<Refused> {
    let context: Value = (0..17).map(|i| (format!("k{i}"), json!("v"))).collect();
    let imports: Value = (0..9)
        .map(|i| json!({"secretRef": {"name": format!("s{i}")}}))
        .collect();
    let keys: Vec<_> = (0..65).map(|i| format!("k{i}")).collect();
    let text = long(65_537);
    vec![
        (
            json!({"generate": generators(65)}),
            &["spec.generate: Too many: 65: must have at most 64 items"],
        ),
        (
            json!({"literals": literals(65)}),
            &["spec.literals: Too many: 65: must have at most 64 items"],
        ),
        (
            json!({"literals": {"a": text}}),
            &["spec.literals.a", "more than 65536"],
        ),
        (
            json!({"literals": {"a": ""}, "template": {"data": literals(65)}}),
            &["spec.template.data: Too many: 65: must have at most 64"],
        ),
        (
            json!({"literals": {"a": ""}, "template": {"data": {"a": text}}}),
            &["spec.template.data.a", "more than 65536"],
        ),
        (
            json!({"literals": {"a": ""}, "template": {"type": long(254), "data": {"a": ""}}}),
            &["spec.template.type", "more than 253"],
        ),
        (
            json!({"import": imports}),
            &["spec.import: Too many: 9: must have at most 8 items"],
        ),
        (
            json!({"import": [{"secretRef": {"name": "s", "keys": keys}}]}),
            &["spec.import[0].secretRef.keys: Too many: 65"],
        ),
        (
            json!({"import": [{"secretRef": {"name": ""}}]}),
            &["spec.import[0].secretRef.name", "at least 1 chars"],
        ),
        (
            json!({"import": [{"secretRef": {"name": long(254)}}]}),
            &["spec.import[0].secretRef.name", "more than 253"],
        ),
        (
            json!({"literals": {"a": ""}, "encryptionContext": context}),
            &["spec.encryptionContext: Too many: 17: must have at most 16 items"],
        ),
        (
            json!({"literals": {"a": ""}, "encryptionContext": {"k": long(1025)}}),
            &["spec.encryptionContext.k", "more than 1024"],
        ),
        (
            json!({"literals": {"a": ""}, "description": long(2049)}),
            &["spec.description", "more than 2048"],
        ),
        (
            json!({"literals": {"a": ""}, "keyRef": {"name": ""}}),
            &["spec.keyRef.name", "at least 1 chars"],
        ),
        (
            json!({"literals": {"a": ""}, "keyRef": {"name": long(254)}}),
            &["spec.keyRef.name", "more than 253"],
        ),
        (
            json!({"literals": {"a": ""}, "keyRef": {}}),
            &["spec.keyRef.name: Required value"],
        ),
    ]
}

/// Everything at its limit at once: the rules of the schema have a budget, and nobody may run out of it who keeps to
/// the limits.
fn largest() -> Value {
    let name = |prefix: &str, i: usize| format!("{prefix}{i:02}{}", long(246 - 3));
    let all = |prefix: &str| -> Value {
        (0..64)
            .map(|i| (name(prefix, i), json!("x".repeat(1024))))
            .collect()
    };
    let exclude: String = (' '..='~').filter(|c| !c.is_ascii_alphanumeric()).collect();
    let policy = json!({"length": 4096, "symbols": exclude.trim_start(), "exclude": exclude.replace('~', "") + &long(60)});
    let generate: Value = (0..64)
        .map(|i| json!({"key": name("g", i), "password": policy}))
        .collect();
    let keys: Vec<_> = (0..64).map(|i| name("i", i)).collect();
    let imports: Value = (0..8)
        .map(|i| json!({"secretRef": {"name": name("s", i).to_lowercase(), "keys": keys}}))
        .collect();
    let context: Value = (0..16)
        .map(|i| (format!("{i:02}{}", long(254)), json!(long(1024))))
        .collect();
    json!({
        "generate": generate, "literals": all("l"), "import": imports, "template": {"data": all("t")},
        "encryptionContext": context, "description": long(2048),
    })
}

/// What is at its limit, and what looks wrong but is right.
pub(super) fn accepted_secrets() -> Vec<Value> {
    let context: Value = (0..16)
        .map(|i| (format!("{i}{}", long(254)), json!(long(1024))))
        .collect();
    let imports: Value = (0..8)
        .map(|i| json!({"secretRef": {"name": format!("s{i}"), "keys": ["a.b", ".c"]}}))
        .collect();
    let mut specs: Vec<_> = [
        "a.b",
        ".dockerconfigjson",
        "-x",
        "_",
        "a..b",
        ".-",
        "A-b_c.9",
    ]
    .iter()
    .flat_map(|name| {
        [
            json!({"generate": [{"key": name, "uuid": {}}]}),
            json!({"literals": {*name: ""}}),
            json!({"literals": {"a": ""}, "template": {"data": {*name: "x"}}}),
        ]
    })
    .collect();
    specs.extend(sharing::accepted());
    specs.extend(rollout::accepted());
    specs.extend(delivery::accepted());
    specs.extend(generators::accepted());
    specs.extend([
        largest(),
        json!({"generate": [{"key": long(253), "uuid": {}}], "target": {"form": "Plain"}}),
        json!({"generate": [{"key": long(246), "uuid": {}}]}),
        json!({"literals": {long(253): ""}, "target": {"form": "None"}}),
        // What is delivered is what the template makes, so only its keys need room for the suffix.
        json!({"literals": {long(253): ""}, "template": {"data": {"short": "x"}}}),
        json!({"literals": {"a": ""}, "template": {"type": "kubernetes.io/tls"}, "target": {"form": "Plain"}}),
        json!({"literals": {"a": ""}, "template": {"metadata": {
            "labels": {"argocd.argoproj.io/secret-type": "cluster", "app.kubernetes.io/part-of": "x", "a.B_c-9": ""},
            "annotations": {long(63): long(4096)}}}}),
        json!({"generate": generators(64)}),
        json!({"literals": literals(64)}),
        json!({"literals": {"a": long(65_536)}, "description": "ж".repeat(2048), "encryptionContext": context}),
        json!({"import": imports}),
        password(&json!({"length": 4})),
        password(&json!({"length": 1, "requireEachClass": false})),
        password(&json!({"length": 4096, "symbols": "!#$%&()*+,-./:;<=>?@[]^_`{|}~", "exclude": "'\"\\ 0O1lI"})),
        password(&json!({"exclude": "0123456789", "requireEachClass": false})),
        password(&json!({"exclude": "0123456789-_", "classes": ["Lowercase", "Uppercase"]})),
        password(&json!({"exclude": "012345678"})),
        json!({"generate": [{"key": "a", "bytes": {"length": 4096, "encoding": "Base32"}}, {"key": "b", "hex": {"length": 1}}]}),
        json!({"literals": {"a": ""}, "template": {"type": "example.com/thing", "data": {"a": "x"}}, "target": {"form": "Plain"}}),
        json!({"literals": {"a": ""}, "template": {"type": "Opaque", "data": {"a": "x"}}}),
        json!({"literals": {"a": ""}, "target": {"name": "a.b-c.9", "deletionPolicy": "Retain"}}),
        json!({"literals": {"a": ""}, "target": {"form": "Plain", "existing": "Merge"}}),
    ]);
    for type_ in ["tls", "basic-auth", "ssh-auth", "dockerconfigjson"] {
        let template = json!({"type": format!("kubernetes.io/{type_}"), "data": {"a": "x"}});
        specs.push(
            json!({"literals": {"a": ""}, "template": template, "target": {"form": "Plain"}}),
        );
    }
    specs
}
