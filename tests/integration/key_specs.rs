//! Keys of every spec: made, shown, and of use to those who have their public key.

use std::process::Stdio;

use keystead::api::{KeyState, ManagedKey, ManagedKeyStatus};
use kube::Api;
use tokio::io::AsyncWriteExt;

use crate::support::{Bed, eventually_within, managed_secret};

/// RSA keys of 4,096 bits take long, and the machine may be slow.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

const SPECS: [(&str, &str, &str); 11] = [
    ("symmetric", "SymmetricDefault", "EncryptDecrypt"),
    ("hmac-256", "Hmac256", "GenerateVerifyMac"),
    ("hmac-384", "Hmac384", "GenerateVerifyMac"),
    ("hmac-512", "Hmac512", "GenerateVerifyMac"),
    ("rsa-2048", "Rsa2048", "SignVerify"),
    ("rsa-3072", "Rsa3072", "SignVerify"),
    ("rsa-4096", "Rsa4096", "SignVerify"),
    ("rsa-enc", "Rsa2048", "EncryptDecrypt"),
    ("p256", "EccNistP256", "SignVerify"),
    ("p384", "EccNistP384", "SignVerify"),
    ("ed25519", "EccNistEdwards25519", "SignVerify"),
];

async fn status(bed: &Bed, name: &str) -> ManagedKeyStatus {
    let keys: Api<ManagedKey> = Api::namespaced(bed.client.clone(), "shop");
    keys.get(name).await.unwrap().status.unwrap_or_default()
}

/// What openssl, which knows nothing of us, says of a public key.
async fn described(pem: &str) -> String {
    let mut openssl = tokio::process::Command::new("openssl")
        .args(["pkey", "-pubin", "-noout", "-text"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl is there");
    let mut pipe = openssl.stdin.take().unwrap();
    pipe.write_all(pem.as_bytes()).await.unwrap();
    drop(pipe);
    let output = openssl.wait_with_output().await.unwrap();
    assert!(output.status.success(), "openssl does not read {pem}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_spec_are_made_and_secrets_are_kept_under_symmetric_ones_only() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    let manifests = SPECS.map(|(name, spec, usage)| {
        format!(
            "---\n{{apiVersion: keystead.dev/v1alpha1, kind: ManagedKey, metadata: {{name: {name}, namespace: shop}}, \
             spec: {{keySpec: {spec}, keyUsage: {usage}}}}}\n"
        )
    });
    bed.apply(&manifests.concat()).await;
    for (name, ..) in SPECS {
        eventually_within(PATIENCE, &format!("{name} is enabled"), || async {
            status(&bed, name).await.state == Some(KeyState::Enabled)
        })
        .await;
    }
    let bits = [
        ("rsa-2048", "2048 bit"),
        ("rsa-3072", "3072 bit"),
        ("rsa-4096", "4096 bit"),
        ("rsa-enc", "2048 bit"),
        ("p256", "256 bit"),
        ("p384", "384 bit"),
        ("ed25519", "ED25519"),
    ];
    for (name, expected) in bits {
        let pem = status(&bed, name).await.public_key.unwrap();
        let described = described(&pem).await;
        assert!(described.contains(expected), "{name}: {described}");
    }
    let hmac = status(&bed, "hmac-384").await;
    assert_eq!(hmac.mac_algorithms, ["HMAC_SHA_384"]);
    assert_eq!(hmac.public_key, None);
    let rsa = status(&bed, "rsa-enc").await;
    assert_eq!(rsa.encryption_algorithms.len(), 2);

    let spec = "{keyRef: {name: hmac-256}, literals: {a: b}}";
    bed.apply(&managed_secret("shop", "db", spec)).await;
    let message = bed.wait_not_ready("shop", "db", "KeyTypeMismatch").await;
    assert!(message.contains("keySpec Hmac256"), "{message}");

    // The same keys after a restart, from the truth.
    let before = status(&bed, "p256").await.public_key;
    operator.kill().await;
    let _operator = bed.operator().await;
    let spec = "{keyRef: {name: symmetric}, literals: {a: b}}";
    bed.apply(&managed_secret("shop", "db", spec)).await;
    bed.wait_ready("shop", "db").await;
    assert_eq!(status(&bed, "p256").await.public_key, before);
}
