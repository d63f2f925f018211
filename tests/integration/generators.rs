//! Generators of key pairs, certificates and derived values: what programs read, and what stays.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Bed, SOON, eventually, eventually_within};

const HOUR: i64 = 3600;

/// Every generator that is more than a random value.
fn all() -> Value {
    json!({
        "generate": [
            {"key": "password", "password": {}},
            {"key": "id", "sshKey": {"comment": "deploy"}},
            {"key": "rsa.pem", "keyPair": {"algorithm": "Rsa", "bits": 4096, "encoding": "Pkcs1"}},
            {"key": "root.crt", "certificate": {"commonName": "root", "isCA": true, "durationDays": 3650}},
            {"key": "tls.crt", "certificate": {"dnsNames": ["orders.shop.svc"], "issuer": {"key": "root.crt"}}},
            {"key": "auth", "htpasswd": {"usernameFrom": "user", "passwordFrom": "password"}},
            {"key": "hash", "bcrypt": {"from": "password"}},
            {"key": "verifier", "scram": {"from": "password"}},
            {"key": ".dockerconfigjson", "dockerConfigJson": {"registries": [
                {"server": "registry.example", "usernameFrom": "user", "passwordFrom": "password"}]}},
            {"key": "store.p12", "keystore": {"certificateFrom": "tls.crt", "privateKeyFrom": "tls.key",
                "caFrom": "ca.crt", "passwordFrom": "password"}},
            {"key": "store.jks", "keystore": {"format": "JKS", "certificateFrom": "tls.crt",
                "privateKeyFrom": "tls.key", "passwordFrom": "password"}},
        ],
        "literals": {"user": "orders"},
        "target": {"form": "Plain"},
    })
}

/// The kind of case B40 that is about generators: unchanged inputs, unchanged values.
#[tokio::test(flavor = "multi_thread")]
async fn generated_keys_are_what_programs_read_and_stay_until_an_input_changes() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.apply_secret("shop", "all", &all().to_string()).await;
    bed.wait_ready("shop", "all").await;
    let first = bed.data("shop", "all").await.unwrap();
    check(&first);
    let state = bed.state_of("shop", "all").await;
    let sequence = bed.managed("shop", "all").await.status.unwrap().sequence;

    // A restart looks at everything once more.
    operator.kill().await;
    let _operator = bed.operator().await;
    let look = json!({"metadata": {"annotations": {"look": "again"}}});
    bed.patch("shop", "managedsecret/all", &look).await;
    // The operator takes one secret after the other: when this one is ready, that one was looked at.
    bed.apply_secret("shop", "later", "{generate: [{key: a, uuid: {}}]}")
        .await;
    bed.wait_ready("shop", "later").await;
    tokio::time::sleep(SOON).await;
    assert_eq!(
        bed.state_of("shop", "all").await,
        state,
        "nothing was written"
    );
    assert_eq!(
        bed.managed("shop", "all").await.status.unwrap().sequence,
        sequence
    );

    // Another user name: another line and another log-in, and nothing else.
    let rename = json!({"spec": {"literals": {"user": "billing"}}});
    bed.patch("shop", "managedsecret/all", &rename).await;
    bed.wait_ready("shop", "all").await;
    let second = bed.data("shop", "all").await.unwrap();
    let changed: Vec<_> = second
        .iter()
        .filter(|(key, value)| first[*key] != **value)
        .map(|(key, _)| key.as_str())
        .collect();
    assert_eq!(changed, [".dockerconfigjson", "auth", "user"]);

    // A password that bcrypt would cut off is refused, and what was delivered stays.
    let long = json!({"spec": {"literals": {"long": "C4N4RY".repeat(12)}, "generate": [{"key": "hash", "bcrypt": {"from": "long"}}]}});
    bed.patch("shop", "managedsecret/all", &long).await;
    let told = bed.wait_not_ready("shop", "all", "InvalidSpec").await;
    assert!(
        told.contains("key `long` has more than 71 bytes") && !told.contains("C4N4RY"),
        "{told}"
    );
    assert_eq!(bed.data("shop", "all").await.unwrap(), second);
}

fn check(data: &BTreeMap<String, Vec<u8>>) {
    let text = |key: &str| String::from_utf8(data[key].clone()).unwrap();
    let keys = [
        ".dockerconfigjson",
        "auth",
        "ca.crt",
        "hash",
        "id",
        "id.pub",
        "password",
        "root.ca.crt",
        "root.crt",
        "root.key",
        "rsa.pem",
        "rsa.pem.pub",
        "store.jks",
        "store.p12",
        "tls.crt",
        "tls.key",
        "user",
        "verifier",
    ];
    assert_eq!(data.keys().collect::<Vec<_>>(), keys);
    let password = text("password");
    let ssh = ssh_key::PrivateKey::from_openssh(&data["id"]).unwrap();
    assert_eq!(
        ssh.public_key(),
        &ssh_key::PublicKey::from_openssh(&text("id.pub")).unwrap()
    );
    assert!(text("rsa.pem").starts_with("-----BEGIN RSA PRIVATE KEY-----"));
    assert!(text("rsa.pem.pub").starts_with("-----BEGIN PUBLIC KEY-----"));
    assert_eq!(data["ca.crt"], data["root.crt"]);
    let (_, root) = x509_parser::pem::parse_x509_pem(&data["root.crt"]).unwrap();
    let (_, leaf) = x509_parser::pem::parse_x509_pem(&data["tls.crt"]).unwrap();
    let (root, leaf) = (root.parse_x509().unwrap(), leaf.parse_x509().unwrap());
    assert_eq!(leaf.issuer(), root.subject());
    let hash = text("auth");
    let hash = hash.strip_prefix("orders:").unwrap();
    assert!(bcrypt::verify(&password, hash).unwrap());
    assert!(bcrypt::verify(&password, &text("hash")).unwrap());
    assert!(text("verifier").starts_with("SCRAM-SHA-256$4096:"));
    let docker: Value = serde_json::from_slice(&data[".dockerconfigjson"]).unwrap();
    assert_eq!(
        docker["auths"]["registry.example"]["password"],
        json!(password)
    );
    let policy = p12_keystore::Pkcs12ImportPolicy::Strict;
    let store = p12_keystore::KeyStore::from_pkcs12(&data["store.p12"], &password, policy).unwrap();
    assert_eq!(store.private_key_chain().unwrap().0, "certificate");
    let mut store = jks::KeyStore::new();
    store
        .load(data["store.jks"].as_slice(), password.as_bytes())
        .unwrap();
    assert!(store.is_private_key_entry("certificate"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_made_anew_when_it_is_due_in_one_new_version() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    let spec = "{generate: [{key: tls.crt, certificate: {dnsNames: [orders], durationDays: 1}}, {key: password, password: {}}],
        target: {form: Plain}}";
    bed.apply_secret("shop", "tls", spec).await;
    bed.wait_ready("shop", "tls").await;
    let first = bed.data("shop", "tls").await.unwrap();
    let told = bed.managed("shop", "tls").await.status.unwrap();
    let certificate = &told.certificates[0];
    let left = certificate
        .not_after
        .0
        .duration_since(certificate.renewal_time.0);
    assert_eq!((certificate.key.as_str(), left.as_hours()), ("tls.crt", 8));

    // Some seconds before it is due the operator starts again: it looks, does nothing, and comes back in time.
    operator.kill().await;
    bed.set_clock(16 * HOUR - 20);
    let _operator = bed.operator().await;
    let renewed = || async { bed.versions("shop", "tls").await.len() > 1 };
    eventually_within(SOON * 12, "the certificate is made anew", renewed).await;
    eventually("it is delivered", || async {
        bed.data("shop", "tls").await.unwrap() != first
    })
    .await;
    bed.wait_ready("shop", "tls").await;
    let second = bed.data("shop", "tls").await.unwrap();
    let changed: Vec<_> = second
        .iter()
        .filter(|(key, value)| first[*key] != **value)
        .map(|(key, _)| key.as_str())
        .collect();
    assert_eq!(changed, ["ca.crt", "tls.crt", "tls.key"]);
    let after = bed.managed("shop", "tls").await.status.unwrap();
    assert_eq!(
        after.sequence,
        told.sequence.map(|sequence| sequence + 1),
        "one write"
    );
    assert!(after.certificates[0].renewal_time.0 > certificate.renewal_time.0);

    // A clock that is put back is no reason for another one.
    let state = bed.state_of("shop", "tls").await;
    bed.set_clock(0);
    let look = json!({"metadata": {"annotations": {"look": "again"}}});
    bed.patch("shop", "managedsecret/tls", &look).await;
    tokio::time::sleep(SOON).await;
    assert_eq!(bed.state_of("shop", "tls").await, state);
}
