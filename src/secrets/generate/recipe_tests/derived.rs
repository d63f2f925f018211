use std::num::NonZeroU32;

use aws_lc_rs::{digest as sha, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use p12_keystore::{KeyStore, KeyStoreEntry, Pkcs12ImportPolicy};
use proptest::prelude::*;

use super::super::super::derived::scram;
use super::*;

#[test]
fn verifiers_of_bcrypt_verify_what_they_were_made_from() {
    let spec = spec(json!([
        {"key": "auth", "htpasswd": {"username": "admin", "passwordFrom": "password", "cost": 4}},
        {"key": "auth2", "htpasswd": {"usernameFrom": "user", "passwordFrom": "password", "cost": 4}},
        {"key": "hash", "bcrypt": {"from": "password", "cost": 5}},
        {"key": "password", "password": {"length": 71}},
    ]))
    .literal("user", "orders");
    let made = spec.first();
    spec.stays(&made);
    let password = made.text("password");
    for (key, user) in [("auth", "admin"), ("auth2", "orders")] {
        let line = made.text(key);
        let (name, hash) = line.split_once(':').unwrap();
        assert_eq!(name, user);
        assert!(hash.starts_with("$2y$04$") && bcrypt::verify(&password, hash).unwrap());
    }
    assert!(made.text("hash").starts_with("$2y$05$"));
    assert!(bcrypt::verify(&password, &made.text("hash")).unwrap());
}

#[test]
fn bcrypt_never_cuts_a_password_off() {
    let hash = |password: &str| {
        let generate = json!([{"key": "hash", "bcrypt": {"from": "password", "cost": 4}}]);
        spec(generate).literal("password", password)
    };
    hash(&"é".repeat(35)).first();
    for (password, expected) in [
        ("C4N4RY".repeat(12), "key `password` has more than 71 bytes"),
        ("C4N4RY\0".to_owned(), "key `password` has a zero byte"),
    ] {
        let told = hash(&password).refused();
        assert!(
            told.contains(expected) && !told.contains("C4N4RY"),
            "{told}"
        );
    }
    let generate =
        json!([{"key": "auth", "htpasswd": {"usernameFrom": "user", "passwordFrom": "user"}}]);
    let told = spec(generate).literal("user", "C4N:4RY").refused();
    assert!(told.contains("key `user` is no user name"), "{told}");
}

/// The exchange of RFC 7677, section 3: a server that has only the verifier accepts the client's proof, and makes the
/// signature that the client expects.
#[test]
fn a_scram_verifier_is_that_of_the_standard() {
    let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let iterations = NonZeroU32::new(4096).unwrap();
    let verifier = scram(b"pencil", &salt, iterations);
    let verifier = std::str::from_utf8(verifier.expose()).unwrap();
    let keys = verifier
        .strip_prefix("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")
        .unwrap();
    let (stored, server) = keys.split_once(':').unwrap();
    let key = |text: &str| BASE64.decode(text).unwrap();
    let message = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                   s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let sign = |with: &str| {
        hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, &key(with)),
            message.as_bytes(),
        )
    };
    let proof = key("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    let client: Vec<u8> = proof
        .iter()
        .zip(sign(stored).as_ref())
        .map(|(a, b)| a ^ b)
        .collect();
    assert_eq!(sha::digest(&sha::SHA256, &client).as_ref(), key(stored));
    assert_eq!(
        BASE64.encode(sign(server)),
        "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    );

    // RFC 4013, section 3; what it refuses, and what is no text, is taken as it is.
    assert_eq!(
        scram("I\u{ad}X".as_bytes(), &salt, iterations),
        scram(b"IX", &salt, iterations)
    );
    let others: [&[u8]; 3] = [b"\x07", b"\xff", b""];
    for other in others {
        assert_ne!(
            scram(other, &salt, iterations),
            scram(b"IX", &salt, iterations)
        );
    }
    let spec = spec(
        json!([{"key": "v", "scram": {"from": "p", "iterations": 5000}}, {"key": "p", "password": {}}]),
    );
    let made = spec.first();
    assert!(made.text("v").starts_with("SCRAM-SHA-256$5000:"));
    spec.stays(&made);
}

#[test]
fn log_ins_to_registries_have_the_form_that_kubelet_reads() {
    let spec = spec(json!([{"key": ".dockerconfigjson", "dockerConfigJson": {"registries": [
        {"server": "https://index.docker.io/v1/", "username": "a\"b", "passwordFrom": "password", "email": "a@b"},
        {"server": "registry.example", "usernameFrom": "user", "passwordFrom": "password"},
    ]}}]))
    .literal("user", "orders")
    .literal("password", "s\"cret");
    let made = spec.first();
    let config: Value = serde_json::from_slice(&made.get(".dockerconfigjson")).unwrap();
    let auth = |both: &str| BASE64.encode(both);
    assert_eq!(
        config,
        json!({"auths": {
            "https://index.docker.io/v1/": {"username": "a\"b", "password": "s\"cret", "email": "a@b", "auth": auth("a\"b:s\"cret")},
            "registry.example": {"username": "orders", "password": "s\"cret", "auth": auth("orders:s\"cret")},
        }})
    );
    spec.stays(&made);
}

fn keystores() -> Value {
    let keystore = |format: &str| {
        json!({"format": format, "certificateFrom": "tls.crt", "privateKeyFrom": "tls.key",
        "caFrom": "ca.crt", "passwordFrom": "password", "alias": "orders"})
    };
    json!([
        {"key": "root.crt", "certificate": {"commonName": "root", "isCA": true}},
        {"key": "tls.crt", "certificate": {"commonName": "orders", "issuer": {"key": "root.crt"}}},
        {"key": "store.p12", "keystore": keystore("PKCS12")},
        {"key": "store.jks", "keystore": keystore("JKS")},
        {"key": "trust.p12", "keystore": {"caFrom": "ca.crt", "passwordFrom": "password"}},
        {"key": "password", "password": {}},
    ])
}

#[test]
fn keystores_are_what_their_readers_read() {
    let spec = spec(keystores());
    let made = spec.first();
    spec.stays(&made);
    let password = made.text("password");

    let store = KeyStore::from_pkcs12(
        &made.get("store.p12"),
        &password,
        Pkcs12ImportPolicy::Strict,
    )
    .unwrap();
    let (alias, chain) = store.private_key_chain().unwrap();
    assert_eq!((alias, chain.certs().len()), ("orders", 2));
    assert!(matches!(
        store.entry("ca"),
        Some(KeyStoreEntry::Certificate(_))
    ));
    assert!(
        KeyStore::from_pkcs12(&made.get("store.p12"), "wrong", Pkcs12ImportPolicy::Strict).is_err()
    );
    let trust = KeyStore::from_pkcs12(
        &made.get("trust.p12"),
        &password,
        Pkcs12ImportPolicy::Strict,
    )
    .unwrap();
    assert_eq!(trust.entries_len(), 1);

    let mut store = jks::KeyStore::new();
    store
        .load(made.get("store.jks").as_slice(), password.as_bytes())
        .unwrap();
    let entry = store
        .get_private_key_entry("orders", password.as_bytes())
        .unwrap();
    assert_eq!(entry.certificate_chain.len(), 2);
    assert_eq!(entry.private_key, chain.key().as_der());
    assert!(store.is_trusted_certificate_entry("ca"));

    let folder = Folder::new();
    folder.file("password", password.as_bytes());
    for (key, entries) in [("store.p12", 2), ("store.jks", 2), ("trust.p12", 1)] {
        folder.file(key, &made.get(key));
        let list = [
            "-J-Xmx64m",
            "-list",
            "-keystore",
            key,
            "-storepass:file",
            "password",
        ];
        if let Some(told) = folder.ask("keytool", &list) {
            assert!(told.contains(&format!("contains {entries} entr")), "{told}");
        }
    }
    let read = [
        "pkcs12",
        "-in",
        "store.p12",
        "-passin",
        "file:password",
        "-nodes",
        "-nocerts",
    ];
    if let Some(told) = folder.ask("openssl", &read) {
        folder.file("read.key", told.as_bytes());
        folder.file("tls.key", &made.get("tls.key"));
        let public = |file| folder.ask("openssl", &["pkey", "-in", file, "-pubout"]);
        assert_eq!(public("read.key"), public("tls.key"));
    }
}

#[test]
fn a_keystore_names_the_input_that_it_cannot_use() {
    let with = |key: &str, text: &str| {
        let keystore = json!({"format": "JKS", "certificateFrom": "crt", "privateKeyFrom": "key", "passwordFrom": "password"});
        let made = spec(json!([{"key": "tls.crt", "certificate": {"commonName": "a"}}])).first();
        let store = spec(json!([{"key": "store", "keystore": keystore}]))
            .literal("crt", &made.text("tls.crt"))
            .literal("key", &made.text("tls.key"))
            .literal("password", "changeit");
        store.first();
        store.literal(key, text).refused()
    };
    for (key, text) in [("crt", "C4N4RY"), ("key", "C4N4RY"), ("password", "C4N4R")] {
        let told = with(key, text);
        assert!(
            told.contains(&format!("key `{key}` ")) && !told.contains("C4N4R"),
            "{told}"
        );
    }
}

#[test]
fn parameters_make_a_derived_value_anew_and_defaults_that_are_written_out_do_not() {
    let hash = |parameters: Value| {
        let mut bcrypt = json!({"from": "p"});
        bcrypt
            .as_object_mut()
            .unwrap()
            .extend(parameters.as_object().unwrap().clone());
        spec(json!([{"key": "hash", "bcrypt": bcrypt}, {"key": "p", "password": {}}]))
    };
    let made = hash(json!({})).first();
    hash(json!({"cost": 10})).stays(&made);
    let next = hash(json!({"cost": 4})).next(&made);
    assert_eq!(next.changed(&made), ["hash"]);
}

#[test]
fn what_was_no_derived_value_before_is_made_and_what_is_taken_over_is_kept() {
    let spec = spec(json!([{"key": "hash", "bcrypt": {"from": "p", "cost": 4}}])).literal("p", "x");
    let literal = super::spec(json!([]))
        .literal("p", "x")
        .literal("hash", "no hash")
        .first();
    assert_eq!(spec.next(&literal).changed(&literal), ["hash"]);
    let found = literal.value;
    assert!(
        spec.over(&found).unwrap().is_none(),
        "somebody uses it with that password"
    );
    let other = spec.literal("p", "y");
    assert!(
        other
            .over(&found)
            .unwrap()
            .unwrap()
            .text("hash")
            .starts_with("$2y$")
    );
}

#[test]
fn an_import_that_brings_the_same_again_changes_nothing() {
    let mut spec = spec(json!([{"key": "hash", "bcrypt": {"from": "p", "cost": 4}}]));
    spec.imported.insert("p".to_owned(), "x".to_owned());
    let made = spec.first();
    let again = without(&made, &["p"]);
    let stored = Stored {
        value: &made.value,
        derivations: &made.derivations,
    };
    let next = spec
        .assemble(Some(&again.value), Some(stored))
        .unwrap()
        .unwrap();
    assert_eq!(next.changed(&made), Vec::<&str>::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn one_input_changes_exactly_what_follows_from_it(changed in 0_usize..3, text in "[a-z]{1,9}") {
        let generate = json!([
            {"key": "twice", "bcrypt": {"from": "hash0", "cost": 4}},
            {"key": "hash0", "bcrypt": {"from": "p0", "cost": 4}},
            {"key": "auth", "htpasswd": {"usernameFrom": "p1", "passwordFrom": "p0", "cost": 4}},
            {"key": "scram", "scram": {"from": "p1"}},
            {"key": "docker", "dockerConfigJson": {"registries": [{"server": "r", "usernameFrom": "p1", "passwordFrom": "p2"}]}},
            {"key": "id", "sshKey": {}},
        ]);
        let spec = spec(generate).literal("p0", "A").literal("p1", "B").literal("p2", "C");
        let made = spec.first();
        prop_assert!(spec.on(Some(&made)).unwrap().is_none());
        let edited = spec.literal(&format!("p{changed}"), &text);
        let next = edited.next(&made);
        let expected = [
            vec!["auth", "hash0", "p0", "twice"],
            vec!["auth", "docker", "p1", "scram"],
            vec!["docker", "p2"],
        ];
        prop_assert_eq!(next.changed(&made), expected[changed].clone());
        prop_assert!(edited.on(Some(&next)).unwrap().is_none());
    }
}
