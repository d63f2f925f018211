use x509_parser::prelude::*;

use super::*;

fn tls(certificate: Value) -> Value {
    let mut entry = json!({"key": "tls.crt"});
    entry["certificate"] = certificate;
    entry
}

fn facts(version: &Version, key: &str) -> CertificateFactsOf {
    let facts = super::super::super::CertificateFacts::read(&version.get(key)).unwrap();
    CertificateFactsOf {
        life: facts.not_after.duration_since(facts.not_before),
        not_before: facts.not_before,
        not_after: facts.not_after,
        serial: facts.serial,
    }
}

struct CertificateFactsOf {
    life: SignedDuration,
    not_before: Timestamp,
    not_after: Timestamp,
    serial: String,
}

/// An authority, one below it, and a server's certificate.
fn hierarchy() -> Value {
    json!([
        {"key": "server.crt", "certificate": {"dnsNames": ["db.shop.svc"], "caKey": "ca.crt", "issuer": {"key": "middle.crt"}}},
        {"key": "middle.crt", "certificate": {"commonName": "middle", "isCA": true, "durationDays": 400, "issuer": {"key": "root.crt"}}},
        {"key": "root.crt", "certificate": {"commonName": "root", "isCA": true, "durationDays": 3650}},
    ])
}

#[test]
fn a_certificate_says_what_its_spec_says() {
    let made = spec(json!([tls(json!({
        "commonName": "orders", "organizations": ["Shop"], "dnsNames": ["orders.shop.svc", "*.shop.svc"],
        "ipAddresses": ["10.0.0.1", "fd00::1"], "uris": ["spiffe://cluster/ns/shop"], "emailAddresses": ["a@b.example"],
        "usages": ["ClientAuth"], "durationDays": 30,
        "privateKey": {"algorithm": "Rsa", "bits": 2048, "encoding": "Pkcs1"},
    }))]))
    .first();
    assert_eq!(made.keys(), ["ca.crt", "tls.crt", "tls.key"]);
    assert_eq!(made.get("ca.crt"), made.get("tls.crt"));
    assert!(
        made.text("tls.key")
            .starts_with("-----BEGIN RSA PRIVATE KEY-----")
    );
    let pem = made.get("tls.crt");
    let (_, pem) = parse_x509_pem(&pem).unwrap();
    let certificate = pem.parse_x509().unwrap();
    assert_eq!(certificate.subject().to_string(), "O=Shop, CN=orders");
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names.len(), 6);
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth);
    assert!(!certificate.is_ca());
    assert!(certificate.raw_serial().len() == 16 && certificate.raw_serial()[0] < 0x80);
    let facts = facts(&made, "tls.crt");
    assert_eq!(facts.not_before.to_string(), "2026-03-01T11:00:00Z");
    assert_eq!(facts.not_after.to_string(), "2026-03-31T12:00:00Z");
}

#[test]
fn a_hierarchy_in_one_secret_is_one_that_openssl_verifies() {
    let spec = spec(hierarchy());
    let made = spec.first();
    let keys = [
        "ca.crt",
        "middle.ca.crt",
        "middle.crt",
        "middle.key",
        "root.ca.crt",
        "root.crt",
        "root.key",
        "server.crt",
        "server.key",
    ];
    assert_eq!(made.keys(), keys);
    assert_eq!(made.get("ca.crt"), made.get("root.crt"));
    assert_eq!(made.get("middle.ca.crt"), made.get("root.crt"));
    assert_eq!(
        made.text("server.crt").matches("BEGIN CERTIFICATE").count(),
        2
    );
    assert!(made.text("server.crt").ends_with(&made.text("middle.crt")));
    spec.stays(&made);
    let folder = Folder::new();
    for key in ["ca.crt", "middle.crt", "server.crt", "server.key"] {
        folder.file(key, &made.get(key));
    }
    folder.verifies("server.crt", "middle.crt", spec.now);
    let of_key = folder.ask("openssl", &["pkey", "-in", "server.key", "-pubout"]);
    let of_certificate = folder.ask(
        "openssl",
        &["x509", "-in", "server.crt", "-noout", "-pubkey"],
    );
    assert_eq!(of_key, of_certificate);
}

#[test]
fn a_certificate_is_made_anew_when_it_is_due_and_never_before() {
    let spec = spec(json!([tls(
        json!({"commonName": "orders", "durationDays": 1})
    )]));
    let made = spec.first();
    spec.stays(&made);
    // A third of a day before the end; a clock that was put back is no reason.
    spec.clone().after_hours(15).stays(&made);
    spec.clone().after_hours(-10_000).stays(&made);
    let due = spec.clone().after_hours(16);
    let next = due.next(&made);
    assert_eq!(next.changed(&made), ["ca.crt", "tls.crt", "tls.key"]);
    assert_ne!(
        facts(&next, "tls.crt").serial,
        facts(&made, "tls.crt").serial
    );
    due.stays(&next);

    let early = json!({"commonName": "orders", "durationDays": 10, "renewBeforeDays": 9, "privateKey": {"rotation": "Never"}});
    let spec = super::spec(json!([tls(early)]));
    let made = spec.first();
    spec.clone().after_hours(23).stays(&made);
    let next = spec.clone().after_hours(24).next(&made);
    assert_eq!(
        next.changed(&made),
        ["ca.crt", "tls.crt"],
        "the private key stays"
    );
}

#[test]
fn names_usages_and_issuers_make_it_anew_and_what_is_for_the_next_one_does_not() {
    let certificate = json!({"commonName": "orders", "dnsNames": ["a"]});
    let made = spec(json!([tls(certificate.clone())])).first();
    let edited = |field: &str, value: Value| {
        let mut certificate = certificate.clone();
        certificate[field] = value;
        spec(json!([tls(certificate)]))
    };
    for (field, value) in [
        ("durationDays", json!(365)),
        ("renewBeforeDays", json!(80)),
        ("privateKey", json!({"algorithm": "Rsa", "bits": 2048})),
        ("usages", json!(["ClientAuth", "ServerAuth"])),
    ] {
        edited(field, value).stays(&made);
    }
    for (field, value) in [
        ("commonName", json!("billing")),
        ("dnsNames", json!(["a", "b"])),
        ("usages", json!(["ServerAuth"])),
        ("isCA", json!(true)),
    ] {
        let next = edited(field, value).next(&made);
        assert!(next.changed(&made).contains(&"tls.crt"), "{field}");
    }
}

#[test]
fn what_an_authority_signed_follows_it_and_never_outlives_it() {
    let spec = spec(json!([
        {"key": "ca", "certificate": {"commonName": "root", "isCA": true, "durationDays": 30}},
        tls(json!({"commonName": "orders", "durationDays": 90, "renewBeforeDays": 60, "issuer": {"key": "ca"}})),
    ]));
    let made = spec.first();
    assert_eq!(
        facts(&made, "tls.crt").not_after,
        facts(&made, "ca").not_after
    );
    spec.stays(&made);
    // `renewBeforeDays` is longer than that life: its last third counts.
    spec.clone().after_hours(24 * 20 - 1).stays(&made);
    let due = spec.clone().after_hours(24 * 20);
    let next = due.next(&made);
    assert_eq!(
        next.changed(&made),
        ["ca", "ca.ca.crt", "ca.crt", "tls.crt", "tls.key"],
        "the authority keeps its private key"
    );
    assert_eq!(
        facts(&next, "tls.crt").life,
        SignedDuration::from_hours(24 * 30 + 1)
    );
    due.stays(&next);
}

#[test]
fn a_certificate_that_is_taken_over_is_kept_until_it_is_due() {
    let foreign = spec(json!([tls(json!({"commonName": "by another tool"}))])).first();
    let spec = spec(json!([tls(json!({"commonName": "orders"}))]));
    assert!(spec.over(&foreign.value).unwrap().is_none());
    let later = spec.clone().after_hours(24 * 61);
    assert!(later.over(&foreign.value).unwrap().is_some());
    // One that was a literal before is not what is generated now; its private key is.
    let literal = Version {
        value: foreign.value,
        derivations: Derivations::new(),
    };
    let next = spec.next(&literal);
    assert!(next.changed(&literal).contains(&"tls.crt"));
}
