use proptest::prelude::*;

use super::*;
use crate::crypto::SecretBytes;

fn read(entries: &[(&str, &[u8])]) -> Result<Server, String> {
    let entries = entries
        .iter()
        .map(|(key, bytes)| ((*key).to_owned(), SecretBytes::copy_of(bytes)));
    let value = SecretValue::from_entries(entries).unwrap();
    server(&value, Addresses::NotLocal)
}

fn authority() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["authority".to_owned()]).unwrap();
    params.self_signed(&key).unwrap().pem()
}

#[test]
fn what_a_secret_does_not_say_is_as_usual() {
    let authority = authority();
    let server = read(&[("host", b"DB.example.com"), ("ca", authority.as_bytes())]).unwrap();
    let expected = Server {
        host: "db.example.com".to_owned(),
        port: 5432,
        database: "postgres".to_owned(),
        tls: Tls::Verify {
            authority: Some(authority),
        },
        addresses: Addresses::NotLocal,
    };
    assert_eq!(server, expected);
    assert_eq!(server.to_string(), "db.example.com:5432");
}

#[test]
fn what_a_secret_says_is_taken() {
    let server = read(&[
        ("host", b"[2001:DB8:0::1]"),
        ("port", b"6432"),
        ("dbname", b"Shop of \"1\""),
        ("sslmode", b"disable"),
        ("username", b"orders"),
    ])
    .unwrap();
    assert_eq!(server.to_string(), "[2001:db8::1]:6432");
    assert_eq!(server.database, "Shop of \"1\"");
    assert_eq!(server.tls, Tls::Disable);
}

#[test]
fn what_cannot_be_meant_is_refused_by_the_name_of_the_key() {
    let long = vec![b'a'; 70_000];
    let plain: (&str, &[u8]) = ("sslmode", b"disable");
    let host: (&str, &[u8]) = ("host", b"db");
    for (entries, key) in [
        (&[plain][..], "`host`"),
        (&[("host", b""), plain], "`host`"),
        (&[("host", b"db:5432"), plain], "`host`"),
        (&[("host", b"/var/run/postgresql"), plain], "`host`"),
        (&[("host", b"a@db"), plain], "`host`"),
        (&[("host", b"one,two"), plain], "`host`"),
        (&[("host", b"db\n"), plain], "`host`"),
        (&[("host", &long), plain], "`host`"),
        (&[("host", b"-"), ("ca", b"x")], "`host`"),
        (&[host, plain, ("port", b"0")], "`port`"),
        (&[host, plain, ("port", b"65536")], "`port`"),
        (&[host, plain, ("port", b"+1")], "`port`"),
        (&[host, plain, ("port", b"")], "`port`"),
        (&[host, plain, ("dbname", b"")], "`dbname`"),
        (&[host, plain, ("dbname", b"a\0b")], "`dbname`"),
        (&[host, plain, ("dbname", &[b'a'; 64])], "`dbname`"),
        (&[host, ("sslmode", b"require")], "`sslmode`"),
        (&[host, ("sslmode", b"verify-ca")], "`sslmode`"),
        (&[host], "`ca`"),
        (&[host, ("ca", b"no certificate")], "`ca`"),
        (&[host, ("ca", &long)], "`ca`"),
    ] {
        let refused = read(entries).unwrap_err();
        assert!(refused.contains(key), "{key}: {refused}");
    }
}

#[test]
fn an_authority_with_one_unreadable_certificate_is_refused() {
    let good = authority();
    let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let both = format!("{good}{bad}");
    let refused = read(&[("host", b"db"), ("ca", both.as_bytes())]).unwrap_err();
    assert!(refused.contains("`ca`"), "{refused}");
}

proptest! {
    #[test]
    fn a_host_that_is_taken_has_nothing_that_a_url_or_a_path_could_be_made_of(host in "\\PC{0,40}") {
        if let Ok(server) = read(&[("host", host.as_bytes()), ("sslmode", b"disable")]) {
            prop_assert!(!server.host.contains(['/', '@', '?', '#', ' ', ',', '[', ']', '%']));
            prop_assert!(!server.host.is_empty());
        }
    }
}
