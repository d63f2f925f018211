//! Certificates that an authority of another secret signs.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyUsagePurpose};

use super::*;
use crate::secrets::CertificateFacts;

/// A root, and an authority below it.
fn authority() -> Spec {
    spec(json!([
        {"key": "tls.crt", "certificate": {"commonName": "middle", "isCA": true, "durationDays": 60, "issuer": {"key": "root.crt"}}},
        {"key": "root.crt", "certificate": {"commonName": "root", "isCA": true, "durationDays": 3650}},
    ]))
}

fn leaf(certificate: Value) -> Spec {
    let mut certificate = certificate;
    certificate["issuer"] = json!({"secretRef": {"name": "ca"}});
    spec(json!([{"key": "tls.crt", "certificate": certificate}]))
}

fn orders() -> Spec {
    leaf(json!({"dnsNames": ["db.shop.svc"]}))
}

fn not_after(version: &Version) -> Timestamp {
    let facts = CertificateFacts::read(&version.get("tls.crt")).unwrap();
    facts.not_after
}

/// An authority that was made elsewhere.
fn foreign(below: BasicConstraints, usage: KeyUsagePurpose) -> Rc<Version> {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "elsewhere");
    params.is_ca = IsCa::Ca(below);
    params.key_usages = vec![usage];
    let certificate = params.self_signed(&key).unwrap().pem();
    secret(&[
        ("tls.crt", certificate.as_bytes()),
        ("tls.key", key.serialize_pem().as_bytes()),
    ])
}

/// Another secret with these keys.
fn secret(entries: &[(&str, &[u8])]) -> Rc<Version> {
    let entries = entries
        .iter()
        .map(|(key, bytes)| ((*key).to_owned(), SecretBytes::copy_of(bytes)));
    Rc::new(Version {
        value: SecretValue::from_entries(entries).unwrap(),
        derivations: Derivations::new(),
    })
}

#[test]
fn it_is_one_that_openssl_verifies_under_the_root_of_the_other_secret() {
    let ca = Rc::new(authority().first());
    let spec = orders().beside("ca", &ca);
    let made = spec.first();
    assert_eq!(made.keys(), ["ca.crt", "tls.crt", "tls.key"]);
    assert_eq!(made.get("ca.crt"), ca.get("root.crt"));
    assert!(made.text("tls.crt").ends_with(&ca.text("tls.crt")));
    assert_eq!(
        not_after(&made),
        not_after(&ca),
        "never longer than its issuer"
    );
    let folder = Folder::new();
    folder.file("ca.crt", &made.get("ca.crt"));
    folder.file("chain.crt", &made.get("tls.crt"));
    folder.verifies("chain.crt", "chain.crt", spec.now);
}

#[test]
fn it_stays_whatever_becomes_of_its_authority_and_the_next_one_is_by_the_new() {
    let ca = Rc::new(authority().first());
    let spec = leaf(json!({"dnsNames": ["db"], "durationDays": 30})).beside("ca", &ca);
    let made = spec.first();
    let other = Rc::new(authority().first());
    spec.clone().beside("ca", &other).stays(&made);
    let mut alone = spec.clone();
    alone.others.clear();
    alone.stays(&made);
    let due = spec.beside("ca", &other).after_hours(24 * 20);
    let next = due.next(&made);
    assert_eq!(next.get("ca.crt"), other.get("root.crt"));
    due.stays(&next);
}

#[test]
fn without_its_authority_a_certificate_that_is_due_stays_and_one_that_says_other_is_refused() {
    let ca = Rc::new(authority().first());
    let spec = leaf(json!({"dnsNames": ["db"], "durationDays": 1})).beside("ca", &ca);
    let made = spec.first();
    let mut due = spec.clone().after_hours(20);
    due.others.clear();
    due.stays(&made);
    let mut other = leaf(json!({"dnsNames": ["other"], "durationDays": 1}));
    let told = other.on(Some(&made)).err().unwrap();
    assert!(
        told.contains("its issuer, ManagedSecret `ca`, cannot sign: it does not exist"),
        "{told}"
    );
    // An expired authority is no better than none; renewed, it signs.
    other.now += SignedDuration::from_hours(24 * 61);
    let told = other.clone().beside("ca", &ca).on(None).err().unwrap();
    assert!(
        told.contains("is valid from") && told.contains("only; have it renewed"),
        "{told}"
    );
    let renewed = authority().after_hours(24 * 61).next(&ca);
    other.beside("ca", &Rc::new(renewed)).first();
}

#[test]
fn what_is_no_authority_is_refused_with_its_key_and_the_remedy() {
    let signed =
        spec(json!([{"key": "tls.crt", "certificate": {"commonName": "no authority"}}])).first();
    let (first, second) = (authority().first(), authority().first());
    let (certificate, key) = (first.get("tls.crt"), second.get("tls.key"));
    let (certificate, key) = (certificate.as_slice(), key.as_slice());
    let cases = [
        (Rc::new(signed), "is none of an authority"),
        (
            secret(&[]),
            "it has no key `tls.crt`; name the right one in issuer.secretRef.certificateKey",
        ),
        (
            secret(&[("tls.crt", certificate)]),
            "no key `tls.key`; name the right one in issuer.secretRef.privateKeyKey",
        ),
        (
            secret(&[("tls.crt", b"C4N4RY"), ("tls.key", b"C4N4RY")]),
            "its key `tls.crt` holds no certificate in PEM",
        ),
        (
            secret(&[("tls.crt", certificate), ("tls.key", b"C4N4RY")]),
            "its key `tls.key` holds no private key",
        ),
        (
            secret(&[("tls.crt", certificate), ("tls.key", key)]),
            "do not belong together",
        ),
    ];
    for (other, expected) in cases {
        let told = orders().beside("ca", &other).on(None).err().unwrap();
        assert!(
            told.contains(expected) && !told.contains("C4N4RY"),
            "{told}"
        );
    }
}

#[test]
fn an_authority_that_was_made_elsewhere_signs_within_its_path_length() {
    let below =
        |ca: &Rc<Version>, certificate: &Value| leaf(certificate.clone()).beside("ca", ca).on(None);
    let server = json!({"dnsNames": ["db"]});
    let authority = json!({"commonName": "below", "isCA": true});

    let any = foreign(
        BasicConstraints::Unconstrained,
        KeyUsagePurpose::KeyCertSign,
    );
    let made = below(&any, &server).unwrap().unwrap();
    assert_eq!(made.get("ca.crt"), any.get("tls.crt"), "its own root");
    assert_eq!(made.text("tls.crt").matches("BEGIN CERTIFICATE").count(), 1);
    let middle = Rc::new(below(&any, &authority).unwrap().unwrap());
    let chained = below(&middle, &server).unwrap().unwrap();
    assert_eq!(chained.get("ca.crt"), any.get("tls.crt"));

    let leaves_only = foreign(
        BasicConstraints::Constrained(0),
        KeyUsagePurpose::KeyCertSign,
    );
    below(&leaves_only, &server).unwrap().unwrap();
    let told = below(&leaves_only, &authority).err().unwrap();
    assert!(
        told.contains("its path length allows no authority below it"),
        "{told}"
    );

    let other = foreign(
        BasicConstraints::Unconstrained,
        KeyUsagePurpose::DigitalSignature,
    );
    let told = below(&other, &server).err().unwrap();
    assert!(told.contains("keyUsage has keyCertSign"), "{told}");
}
