use ssh_key::{PrivateKey as SshPrivateKey, PublicKey as SshPublicKey};

use super::*;

fn sizes() -> Vec<Value> {
    vec![
        json!({"algorithm": "Ed25519"}),
        json!({"algorithm": "Ecdsa"}),
        json!({"algorithm": "Ecdsa", "bits": 384}),
        json!({"algorithm": "Ecdsa", "bits": 521}),
        json!({"algorithm": "Rsa", "bits": 2048}),
    ]
}

#[test]
fn ssh_keys_of_every_algorithm_are_what_openssh_reads() {
    for mut ssh in sizes() {
        ssh["comment"] = json!("deploy key");
        let spec = spec(json!([{"key": "id", "sshKey": ssh}]));
        let made = spec.first();
        assert_eq!(made.keys(), ["id", "id.pub"]);
        let private = SshPrivateKey::from_openssh(made.get("id")).unwrap();
        let public = SshPublicKey::from_openssh(&made.text("id.pub")).unwrap();
        assert_eq!(private.public_key(), &public);
        assert_eq!(
            (private.comment(), public.comment()),
            ("deploy key", "deploy key")
        );
        assert!(!private.is_encrypted());
        spec.stays(&made);
        // The public half follows from the private one.
        let again = spec.next(&without(&made, &["id.pub"]));
        assert_eq!(again.changed(&made), Vec::<&str>::new());

        let folder = Folder::new();
        folder.file("id", &made.get("id"));
        if let Some(line) = folder.ask("ssh-keygen", &["-y", "-P", "", "-f", "id"]) {
            assert_eq!(line.trim(), made.text("id.pub").trim(), "{ssh}");
        }
    }
    let ssh = json!({"publicKey": "authorized_keys"});
    let made = spec(json!([{"key": "id", "sshKey": ssh}])).first();
    assert!(made.text("authorized_keys").starts_with("ssh-ed25519 "));
}

#[test]
fn key_pairs_in_every_form_are_what_openssl_reads() {
    let encodings = |algorithm: &str| match algorithm {
        "Rsa" => vec!["Pkcs8", "Pkcs1"],
        "Ecdsa" => vec!["Pkcs8", "Sec1"],
        _ => vec!["Pkcs8"],
    };
    for size in sizes() {
        for encoding in encodings(size["algorithm"].as_str().unwrap()) {
            for format in ["Pem", "Der"] {
                let mut pair = size.clone();
                pair["encoding"] = json!(encoding);
                pair["format"] = json!(format);
                pair["publicKey"] = json!("public");
                let spec = spec(json!([{"key": "private", "keyPair": pair}]));
                let made = spec.first();
                spec.stays(&made);
                let again = spec.next(&without(&made, &["public"]));
                assert_eq!(again.changed(&made), Vec::<&str>::new());

                let label = match encoding {
                    "Pkcs1" => "-----BEGIN RSA PRIVATE KEY-----",
                    "Sec1" => "-----BEGIN EC PRIVATE KEY-----",
                    _ => "-----BEGIN PRIVATE KEY-----",
                };
                let pem = made.get("private").starts_with(label.as_bytes());
                assert_eq!(pem, format == "Pem");
                let folder = Folder::new();
                let form = &*format.to_uppercase();
                folder.file("private", &made.get("private"));
                let arguments = [
                    "pkey", "-in", "private", "-inform", form, "-pubout", "-outform", form, "-out",
                    "public",
                ];
                if folder.ask("openssl", &arguments).is_some() {
                    let public = std::fs::read(folder.0.path().join("public")).unwrap();
                    assert_eq!(public, made.get("public"), "{pair}");
                }
            }
        }
    }
}

#[test]
fn a_private_key_stays_whatever_its_algorithm_is_to_be_now() {
    let made = spec(json!([{"key": "id", "sshKey": {"comment": "first"}}])).first();
    let edited = json!([{"key": "id", "sshKey": {"algorithm": "Ecdsa", "comment": "second"}}]);
    spec(edited.clone()).stays(&made);
    // Under another name the public half has what the private one says.
    let mut edited = edited;
    edited[0]["sshKey"]["publicKey"] = json!("line");
    let renamed = spec(edited).next(&made);
    assert_eq!(renamed.get("line"), made.get("id.pub"));
    assert_eq!(renamed.keys(), ["id", "line"]);
}

#[test]
fn no_new_private_key_is_made_beside_what_belongs_to_another() {
    for generator in [
        json!({"key": "id", "sshKey": {}}),
        json!({"key": "id", "keyPair": {"algorithm": "Ed25519"}}),
        json!({"key": "id.pub", "certificate": {"commonName": "a", "privateKey": {"key": "id"}}}),
    ] {
        let spec = spec(json!([generator]));
        let made = spec.first();
        let lost = without(&made, &["id"]);
        let told = spec.on(Some(&lost)).err().unwrap();
        assert!(
            told.ends_with(
                "key `id.pub` is there, but not the private key `id` that belongs to it: none is made in its place; \
                 remove `id.pub` first, or name other keys"
            ),
            "{told}"
        );
    }
}

#[test]
fn a_private_key_that_came_from_elsewhere_gets_its_public_half_or_is_named() {
    let made = spec(
        json!([{"key": "id", "keyPair": {"algorithm": "Rsa", "bits": 2048, "encoding": "Pkcs1"}}]),
    )
    .first();
    let found = without(&made, &["id.pub"]);
    let other = spec(json!([{"key": "id", "keyPair": {"algorithm": "Ecdsa"}}]));
    let next = other.over(&found.value).unwrap().unwrap();
    assert_eq!(next.get("id.pub"), made.get("id.pub"));
    for generator in [
        json!({"key": "id", "sshKey": {}}),
        json!({"key": "id", "keyPair": {"algorithm": "Rsa"}}),
    ] {
        let garbage = [("id".to_owned(), SecretBytes::copy_of(b"C4N4RY"))];
        let garbage = SecretValue::from_entries(garbage).unwrap();
        let told = spec(json!([generator])).over(&garbage).err().unwrap();
        assert!(
            told.contains("key `id` holds no private key") && !told.contains("C4N4RY"),
            "{told}"
        );
    }
}
