//! Generators of key pairs, certificates and derived values.

use serde_json::{Value, json};

use super::{Refused, long};

const BITS: &str =
    "bits is 2048, 3072 or 4096 for Rsa, 256, 384 or 521 for Ecdsa, and not set for Ed25519";
const ENCODING: &str = "encoding Pkcs1 is for algorithm Rsa only, Sec1 for Ecdsa: choose Pkcs8, or the other algorithm";
const NOBODY: &str = "the certificate is for nobody: name commonName, or at least one of dnsNames, ipAddresses, uris, emailAddresses";
const USERNAME: &str = "exactly one of username and usernameFrom must be set";

fn generate(field: &str, generator: &Value) -> Value {
    json!({"generate": [{"key": "a", field: generator}]})
}

/// A generator, and what the refusal says.
type Generator = (&'static str, Value, &'static [&'static str]);

/// Combinations that no program reads, and numbers that are out of bounds.
pub(super) fn refused() -> Vec<Refused> {
    let cases = [pairs(), certificates(), derived()].into_iter().flatten();
    let mut refused: Vec<_> = cases
        .map(|(field, generator, says)| (generate(field, &generator), says))
        .collect();
    for pair in [
        json!({"sshKey": {}}),
        json!({"keyPair": {"algorithm": "Rsa", "publicKey": "a.pub"}}),
    ] {
        let mut generator = json!({"key": "a"});
        generator
            .as_object_mut()
            .unwrap()
            .extend(pair.as_object().unwrap().clone());
        let says: &[&str] = &["a key is in both generate and literals: every key has one source"];
        refused.push((
            json!({"generate": [generator], "literals": {"a.pub": ""}}),
            says,
        ));
    }
    refused
}

fn pairs() -> Vec<Generator> {
    vec![
        (
            "sshKey",
            json!({"bits": 256}),
            &["spec.generate[0].sshKey", BITS],
        ),
        (
            "sshKey",
            json!({"algorithm": "Rsa", "bits": 1024}),
            &["spec.generate[0].sshKey", BITS],
        ),
        (
            "sshKey",
            json!({"publicKey": "a/b"}),
            &["spec.generate[0].sshKey.publicKey"],
        ),
        (
            "keyPair",
            json!({}),
            &["spec.generate[0].keyPair.algorithm: Required value"],
        ),
        (
            "keyPair",
            json!({"algorithm": "Ed25519", "encoding": "Sec1"}),
            &["spec.generate[0].keyPair", ENCODING],
        ),
        (
            "keyPair",
            json!({"algorithm": "Ecdsa", "encoding": "Pkcs1"}),
            &["spec.generate[0].keyPair", ENCODING],
        ),
    ]
}

fn certificates() -> Vec<Generator> {
    vec![
        (
            "certificate",
            json!({}),
            &["spec.generate[0].certificate", NOBODY],
        ),
        (
            "certificate",
            json!({"dnsNames": ["a"], "isCA": true}),
            &["a certificate authority needs a commonName"],
        ),
        (
            "certificate",
            json!({"commonName": "a", "durationDays": 9, "renewBeforeDays": 9}),
            &["renewBeforeDays must be less than durationDays"],
        ),
        (
            "certificate",
            json!({"commonName": "a", "durationDays": 3651}),
            &["spec.generate[0].certificate.durationDays"],
        ),
        (
            "certificate",
            json!({"dnsNames": ["a b"]}),
            &["spec.generate[0].certificate.dnsNames[0]"],
        ),
        (
            "certificate",
            json!({"commonName": "a", "privateKey": {"bits": 2048}}),
            &["spec.generate[0].certificate.privateKey", BITS],
        ),
    ]
}

fn derived() -> Vec<Generator> {
    vec![
        (
            "htpasswd",
            json!({"passwordFrom": "p"}),
            &["spec.generate[0].htpasswd", USERNAME],
        ),
        (
            "htpasswd",
            json!({"username": "a:b", "passwordFrom": "p"}),
            &["spec.generate[0].htpasswd.username"],
        ),
        (
            "bcrypt",
            json!({"from": "p", "cost": 18}),
            &["spec.generate[0].bcrypt.cost"],
        ),
        (
            "scram",
            json!({"from": "p", "iterations": 4095}),
            &["spec.generate[0].scram.iterations"],
        ),
        (
            "dockerConfigJson",
            json!({"registries": []}),
            &["spec.generate[0].dockerConfigJson.registries"],
        ),
        (
            "dockerConfigJson",
            json!({"registries": [{"server": "r", "passwordFrom": "p"}]}),
            &[USERNAME],
        ),
        (
            "keystore",
            json!({"passwordFrom": "p"}),
            &["the keystore would be empty"],
        ),
        (
            "keystore",
            json!({"passwordFrom": "p", "certificateFrom": "c"}),
            &["certificateFrom and privateKeyFrom go together"],
        ),
        (
            "keystore",
            json!({"passwordFrom": "p", "caFrom": "c", "alias": "ca"}),
            &["the aliases ca, ca-2, ... are those of trusted certificates"],
        ),
    ]
}

/// The largest of each kind, and defaults.
pub(super) fn accepted() -> Vec<Value> {
    let names = |count: usize| -> Value {
        (0..count)
            .map(|i| json!(format!("{i}.{}.example", long(60))))
            .collect()
    };
    let certificate = json!({"commonName": long(64), "organizations": ["o"], "dnsNames": names(64), "ipAddresses": ["10.0.0.1", "fd00::1"],
        "uris": ["spiffe://a/b"], "emailAddresses": ["a@b"], "usages": ["ServerAuth", "CodeSigning"], "durationDays": 3650,
        "renewBeforeDays": 3649, "privateKey": {"algorithm": "Rsa", "bits": 4096, "encoding": "Pkcs1", "rotation": "Never"},
        "issuer": {"key": "ca"}});
    let all: Value = (0..64)
        .map(|i| json!({"key": format!("k{i}"), "certificate": certificate}))
        .collect();
    vec![
        json!({"generate": all}),
        generate("sshKey", &json!({})),
        generate(
            "sshKey",
            &json!({"algorithm": "Ecdsa", "bits": 521, "comment": "a b", "publicKey": "b"}),
        ),
        generate(
            "keyPair",
            &json!({"algorithm": "Ecdsa", "encoding": "Sec1", "format": "Der"}),
        ),
        generate("certificate", &json!({"dnsNames": ["*.a.b"]})),
        generate(
            "htpasswd",
            &json!({"usernameFrom": "u", "passwordFrom": "p", "cost": 17}),
        ),
        generate("scram", &json!({"from": "p", "iterations": 600_000})),
        generate(
            "keystore",
            &json!({"format": "JKS", "caFrom": "c", "passwordFrom": "p"}),
        ),
    ]
}
