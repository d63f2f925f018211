use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A certificate that anybody may have signed, PEM.
fn certificate() -> String {
    let key = rcgen::generate_simple_self_signed(["east".to_owned()]).unwrap();
    key.cert.pem()
}

fn secret(entries: &[(&str, &str)]) -> BTreeMap<String, SecretBytes> {
    let entry = |(key, text): &(&str, &str)| {
        let bytes = SecretBytes::copy_of(text.as_bytes());
        ((*key).to_owned(), bytes)
    };
    entries.iter().map(entry).collect()
}

fn refused(entries: &[(&str, &str)]) -> AccessError {
    Access::read(&secret(entries)).err().unwrap()
}

/// A kubeconfig with a token.
fn kubeconfig() -> Value {
    let authority = BASE64.encode(certificate());
    json!({
        "apiVersion": "v1", "kind": "Config", "preferences": {}, "current-context": "east",
        "contexts": [{"name": "east", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
        "clusters": [
            {"name": "other", "cluster": {"server": "http://other", "insecure-skip-tls-verify": true}},
            {"name": "c", "cluster": {"server": "https://east.example.com:6443", "certificate-authority-data": authority}},
        ],
        "users": [{"name": "u", "user": {"token": "t0ken"}}],
    })
}

fn of_kubeconfig(kubeconfig: &Value) -> Result<Access, AccessError> {
    Access::read(&secret(&[("kubeconfig", &kubeconfig.to_string())]))
}

#[test]
fn both_forms_give_the_server_its_authority_and_the_credentials() {
    let pem = [certificate(), certificate()].concat();
    let keys = [
        ("server", "https://east.example.com\n"),
        ("ca.crt", pem.as_str()),
        ("token", "t0ken\n"),
    ];
    let access = Access::read(&secret(&keys)).ok().unwrap();
    assert_eq!(access.server.to_string(), "https://east.example.com:443");
    assert_eq!(access.authority.len(), 2);
    let access = of_kubeconfig(&kubeconfig()).ok().unwrap();
    assert_eq!(access.server.to_string(), "https://east.example.com:6443");
    for access in [access, Access::read(&secret(&keys)).ok().unwrap()] {
        let Login::Token(token) = &access.login else {
            panic!("it has a token");
        };
        assert_eq!(token.expose(), b"t0ken");
        let config = access.config().unwrap();
        assert_eq!(config.cluster_url.host(), Some("east.example.com"));
        assert!(!config.accept_invalid_certs && !config.default_retry);
        assert!(config.proxy_url.is_none() && config.tls_server_name.is_none());
    }
    let mut by_certificate = kubeconfig();
    by_certificate["users"][0]["user"] =
        json!({"client-certificate-data": "Q0VSVA==", "client-key-data": "S0VZ"});
    let access = of_kubeconfig(&by_certificate).ok().unwrap();
    assert!(matches!(access.login, Login::Certificate { .. }));
}

#[test]
fn whatever_is_more_than_data_is_refused_by_name() {
    let mut refused = Vec::new();
    for (part, fields) in [
        ("clusters", &REFUSED_OF_CLUSTER[..]),
        ("users", &REFUSED_OF_USER),
    ] {
        for field in fields {
            let mut kubeconfig = kubeconfig();
            let inner = if part == "users" { "user" } else { "cluster" };
            let entries = kubeconfig[part].as_array_mut().unwrap();
            entries.last_mut().unwrap()[inner][*field] = json!("C4N4RY");
            let error = of_kubeconfig(&kubeconfig).err().unwrap();
            assert_eq!(error, AccessError::Refused(field));
            refused.push(error.to_string());
        }
    }
    let mut unknown = kubeconfig();
    unknown["users"][0]["user"]["C4N4RY"] = json!("C4N4RY");
    let error = of_kubeconfig(&unknown).err().unwrap();
    assert_eq!(error, AccessError::Unknown("user"));
    refused.push(error.to_string());
    assert!(!refused.concat().contains("C4N4RY"));
}

#[test]
fn what_is_missing_or_ambiguous_is_named() {
    let pem = certificate();
    let (server, token) = (("server", "https://east"), ("token", "t"));
    let authority = ("ca.crt", pem.as_str());
    assert_eq!(refused(&[]), AccessError::Missing("server"));
    assert_eq!(refused(&[server, authority]), AccessError::Missing("token"));
    assert_eq!(refused(&[server, token]), AccessError::Missing("ca.crt"));
    let plain = [("server", "http://east"), token, authority];
    assert_eq!(refused(&plain), AccessError::Server(ServerError::Scheme));
    let bad = [server, token, ("ca.crt", "-----BEGIN")];
    assert_eq!(refused(&bad), AccessError::Authority("ca.crt"));
    let both = [("kubeconfig", "{}"), token];
    assert_eq!(refused(&both), AccessError::BothForms("token"));
    let long = "t".repeat(MAX_LENGTH + 1);
    let long = [server, authority, ("token", &long)];
    assert_eq!(refused(&long), AccessError::TooLong("token"));
    assert_eq!(refused(&[("kubeconfig", "[")]), AccessError::Yaml);

    let change = |pointer: &str, to: Value| {
        let mut kubeconfig = kubeconfig();
        *kubeconfig.pointer_mut(pointer).unwrap() = to;
        of_kubeconfig(&kubeconfig).err().unwrap()
    };
    let error = change("/current-context", json!("west"));
    assert_eq!(error, AccessError::Name("contexts"));
    let error = change("/clusters/0/name", json!("c"));
    assert_eq!(error, AccessError::Name("clusters"));
    let error = change("/clusters/1/cluster/server", json!("http://east"));
    assert_eq!(error, AccessError::Server(ServerError::Scheme));
    let error = change("/clusters/1/cluster/certificate-authority-data", json!(""));
    assert_eq!(error, AccessError::Missing("certificate-authority-data"));
    let error = change("/users/0/user", json!({}));
    assert_eq!(error, AccessError::Missing("token"));
    let two = json!({"token": "t", "client-key-data": "S0VZ"});
    assert_eq!(change("/users/0/user", two), AccessError::TwoLogins);
    let half = json!({"client-certificate-data": "Q0VSVA=="});
    let error = change("/users/0/user", half);
    assert_eq!(error, AccessError::Missing("client-key-data"));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic_or_show_what_they_are(bytes in proptest::collection::vec(any::<u8>(), 0..200), key in "kubeconfig|server|ca.crt|token") {
        let data = BTreeMap::from([(key, SecretBytes::copy_of(&bytes))]);
        prop_assert!(Access::read(&data).is_err());
    }

    #[test]
    fn a_kubeconfig_with_any_further_field_is_refused(field in "[a-zA-Z-]{1,20}", of_user in any::<bool>()) {
        prop_assume!(!CLUSTER.contains(&field.as_str()) && !USER.contains(&field.as_str()));
        let mut kubeconfig = kubeconfig();
        let (part, at, inner) = if of_user { ("users", 0, "user") } else { ("clusters", 1, "cluster") };
        kubeconfig[part][at][inner][field] = json!("x");
        let refused = of_kubeconfig(&kubeconfig).err();
        prop_assert!(matches!(refused, Some(AccessError::Refused(_) | AccessError::Unknown(_))));
    }
}
