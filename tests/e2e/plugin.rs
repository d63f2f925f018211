//! The plugin for kubectl, as a person runs it: `kubectl keystead`, with the programs on the PATH.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use keystead::crypto::{
    EncryptionContext, OsRandom, Purpose, SealingPrivateKey, SealingPublicKey, seal_to,
};

use crate::bed::{Bed, Namespace, Turn};
use crate::tools::eventually;

/// An entry that another installation opens too: it is not sealed for exactly those that are wanted.
fn entry(key: &SealingPublicKey) -> String {
    let stranger = SealingPrivateKey::generate(key.installation(), &mut OsRandom).unwrap();
    let stranger = stranger.public(key.installation());
    let place = Purpose::Sealed {
        namespace: "e2e-plugin",
        secret: "git",
        key: "token",
    };
    let context = place.context(&EncryptionContext::empty()).unwrap();
    let sealed = seal_to(
        b"from-git",
        &context,
        &[stranger, key.clone()],
        &mut OsRandom,
    );
    BASE64.encode(sealed.unwrap())
}

fn manifest(entry: &str) -> String {
    format!(
        "apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {{name: git, namespace: e2e-plugin}}
spec:
  target: {{form: Plain}}
  sealed:
    token: {entry} # from the vault
"
    )
}

fn report(bed: &Bed, path: &str) -> Result<String, String> {
    bed.tools.plugin(["seal", "report", path])
}

#[test]
fn entries_are_sealed_anew_by_a_pod_of_the_operator_and_open_as_before() {
    let bed = Turn::take();
    let _namespace = Namespace::create(&bed, "e2e-plugin");
    let keys = eventually("the sealing key is published", || {
        let keys = bed.tools.plugin(["seal", "fetch-key"]).ok()?;
        (!keys.is_empty()).then_some(keys)
    });
    let key: SealingPublicKey = keys.lines().next().unwrap().parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("git.yaml");
    let path = path.to_str().unwrap();
    let before = entry(&key);
    std::fs::write(path, manifest(&before)).unwrap();

    let told = bed.tools.plugin(["seal", "reseal", path]);
    let told = told.unwrap_or_else(|printed| panic!("{printed}"));
    assert!(told.contains("sealed anew"), "{told}");
    let anew = std::fs::read_to_string(path).unwrap();
    assert!(!anew.contains(&before) && anew.contains("# from the vault"));
    report(&bed, path).unwrap_or_else(|printed| panic!("{printed}"));

    bed.apply(&anew);
    let value = eventually("the value is delivered", || {
        let path = "jsonpath={.data.token}";
        let get = ["-n", "e2e-plugin", "get", "secret", "git", "-o", path];
        bed.tools
            .try_kubectl(get)
            .ok()
            .filter(|value| !value.is_empty())
    });
    assert_eq!(value, BASE64.encode("from-git"));
}
