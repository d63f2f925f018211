//! Specs that are refused, with what the message must say, and specs that are accepted.

use serde_json::{Value, json};

/// A spec, and what the refusal says.
type Refused = (Value, &'static [&'static str]);

const KEY_NAMES: &str = "a key has 1 to 253 letters, digits, '-', '_' and '.', is not '.' and does not begin with '..': rename it";
const TOO_LONG_TO_SEAL: &str = "more than 246 characters, which leaves no room for .sealed in a target of form Sealed: shorten it, or set target.form: Plain";
const CLASS_EXCLUDED: &str = "exclude leaves no character of a class: exclude fewer, name only the other classes in classes, or set requireEachClass: false";

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
    [key_names(), sources(), passwords(), delivery(), limits()]
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
                "the secret has no keys: name at least one in generate, literals or import",
            ],
        ),
        (
            json!({"generate": [], "literals": {}, "import": []}),
            &["name at least one in generate, literals or import"],
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
                "exactly one of password, bytes, hex, uuid must be set",
            ],
        ),
        (
            json!({"generate": [{"key": "a", "uuid": {}, "hex": {}}]}),
            &[
                "spec.generate[0]",
                "exactly one of password, bytes, hex, uuid must be set",
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

fn passwords() -> Vec<Refused> {
    let mut cases = vec![
        (
            password(&json!({"length": 3})),
            &[
                "spec.generate[0].password",
                "raise length, name fewer classes, or set requireEachClass: false",
            ][..],
        ),
        (
            password(&json!({"length": 1, "classes": ["Digits", "Lowercase"]})),
            &["length must be at least the number of classes"],
        ),
        (
            password(&json!({"classes": ["Digits"], "symbols": "+"})),
            &[
                "spec.generate[0].password",
                "symbols is given but classes lacks Symbols: add it, or drop symbols",
            ],
        ),
        (
            password(&json!({"classes": []})),
            &["spec.generate[0].password.classes", "at least 1 items"],
        ),
        (
            password(&json!({"classes": ["Digits", "Digits"]})),
            &["spec.generate[0].password.classes[1]: Duplicate value"],
        ),
        (
            password(&json!({"classes": ["Emoji"]})),
            &[
                "spec.generate[0].password.classes[0]",
                "supported values",
                "Lowercase",
                "Symbols",
            ],
        ),
        (
            password(&json!({"symbols": ""})),
            &["spec.generate[0].password.symbols", "at least 1 chars"],
        ),
        (
            password(&json!({"symbols": "a"})),
            &["spec.generate[0].password.symbols", "should match"],
        ),
        (
            password(&json!({"symbols": long(33)})),
            &["spec.generate[0].password.symbols", "more than 32"],
        ),
        (
            password(&json!({"exclude": "é"})),
            &["spec.generate[0].password.exclude", "should match"],
        ),
        (
            password(&json!({"exclude": long(96)})),
            &["spec.generate[0].password.exclude", "more than 95"],
        ),
        (
            password(&json!({"symbols": "+=", "exclude": "x=+"})),
            &[CLASS_EXCLUDED],
        ),
        (
            password(
                &json!({"classes": ["Symbols", "Digits"], "exclude": "-_", "requireEachClass": true}),
            ),
            &[CLASS_EXCLUDED],
        ),
    ];
    for class in [
        "abcdefghijklmnopqrstuvwxyz",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "9876543210",
        "_-",
    ] {
        cases.push((
            password(&json!({"exclude": class})),
            &["spec.generate[0].password", CLASS_EXCLUDED],
        ));
    }
    let length = |generator: &str, length: i64| json!({"generate": [{"key": "a", generator: {"length": length}}]});
    let fields: [(&str, [&'static [&'static str]; 2]); 3] = [
        (
            "password",
            [
                &[
                    "spec.generate[0].password.length",
                    "greater than or equal to 1",
                ],
                &[
                    "spec.generate[0].password.length",
                    "less than or equal to 4096",
                ],
            ],
        ),
        (
            "bytes",
            [
                &[
                    "spec.generate[0].bytes.length",
                    "greater than or equal to 1",
                ],
                &[
                    "spec.generate[0].bytes.length",
                    "less than or equal to 4096",
                ],
            ],
        ),
        (
            "hex",
            [
                &["spec.generate[0].hex.length", "greater than or equal to 1"],
                &["spec.generate[0].hex.length", "less than or equal to 4096"],
            ],
        ),
    ];
    for (generator, [low, high]) in fields {
        cases.extend([
            (length(generator, 0), low),
            (length(generator, -1), low),
            (length(generator, 4097), high),
        ]);
    }
    cases.push((
        json!({"generate": [{"key": "a", "bytes": {"encoding": "Base58"}}]}),
        &[
            "spec.generate[0].bytes.encoding",
            "supported values",
            "Base64Url",
        ],
    ));
    cases
}

fn delivery() -> Vec<Refused> {
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
            &["spec.template.data: Required value"],
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

/// Everything at its limit, and what looks wrong but is right.
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
    specs.extend([
        json!({"generate": [{"key": long(253), "uuid": {}}], "target": {"form": "Plain"}}),
        json!({"generate": [{"key": long(246), "uuid": {}}]}),
        json!({"literals": {long(253): ""}, "target": {"form": "None"}}),
        // What is delivered is what the template makes, so only its keys need room for the suffix.
        json!({"literals": {long(253): ""}, "template": {"data": {"short": "x"}}}),
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

/// `ManagedKey`.
pub(super) fn refused_keys() -> Vec<Refused> {
    vec![
        (
            json!({"keySpec": "RSA_2048"}),
            &["spec.keySpec", "supported values", "SymmetricDefault"],
        ),
        (
            json!({"keyUsage": "SignVerify"}),
            &["spec.keyUsage", "supported values", "EncryptDecrypt"],
        ),
        (
            json!({"origin": "External"}),
            &["spec.origin", "supported values", "Keystead"],
        ),
        (json!({"enabled": "yes"}), &["spec.enabled", "boolean"]),
        (
            json!({"description": long(8193)}),
            &["spec.description", "more than 8192"],
        ),
        (json!(null), &["spec"]),
    ]
}

/// `ManagedKey`.
pub(super) fn accepted_keys() -> Vec<Value> {
    vec![
        json!({}),
        json!({"description": "ж".repeat(8192), "enabled": false}),
        json!({"keySpec": "SymmetricDefault", "keyUsage": "EncryptDecrypt", "origin": "Keystead"}),
    ]
}

/// The least that a `KeyMaterial` has.
pub(super) fn material() -> Value {
    json!({
        "namespace": "shop", "name": "orders", "namespaceUid": "u", "objectUid": "u", "arn": "a",
        "keySpec": "SymmetricDefault", "keyUsage": "EncryptDecrypt", "origin": "Keystead", "enabled": true,
        "generations": [{"version": 1, "materialId": "0".repeat(32), "wrapped": "w", "rootFingerprint": "f",
            "created": "2030-01-01T00:00:00Z"}],
    })
}

/// `KeyMaterial`: every field is needed, and has its bounds.
pub(super) fn refused_materials() -> Vec<Refused> {
    let without = |field: &str| {
        let mut spec = material();
        spec.as_object_mut().unwrap().remove(field);
        spec
    };
    let mut cases: Vec<Refused> = [
        "namespace",
        "name",
        "namespaceUid",
        "objectUid",
        "arn",
        "keySpec",
        "generations",
    ]
    .into_iter()
    .map(|field| (without(field), &["Required value"][..]))
    .collect();
    let with = |pointer: &str, value: Value| {
        let mut spec = material();
        *spec.pointer_mut(pointer).unwrap() = value;
        spec
    };
    cases.extend([
        (
            with("/generations", json!([])),
            &["spec.generations", "at least 1 items"][..],
        ),
        (
            with("/generations/0/version", json!(0)),
            &["spec.generations[0].version", "greater than or equal to 1"],
        ),
        (
            with("/generations/0/materialId", json!("00")),
            &["spec.generations[0].materialId", "at least 32 chars"],
        ),
        (
            with("/generations/0/wrapped", json!(long(4097))),
            &["spec.generations[0].wrapped", "more than 4096"],
        ),
        (
            with("/name", json!(long(254))),
            &["spec.name", "more than 253"],
        ),
    ]);
    cases
}
