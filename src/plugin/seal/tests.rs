use super::verdict::Verdict;
use super::*;
use crate::crypto::{InstallationId, Limits, SealingKeys, SealingPrivateKey, open_sealed};

const CANARY: &[u8] = b"C4N4RY-seal";

fn key(installation: u8) -> (InstallationId, SealingPrivateKey) {
    let id = InstallationId::from_bytes([installation; 16]);
    (id, SealingPrivateKey::generate(id, &mut OsRandom).unwrap())
}

fn place(namespace: &str, name: &str) -> Place {
    let context = BTreeMap::from([("team".to_owned(), "orders".to_owned())]);
    Place {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        context,
    }
}

fn entry(scope: Scope, recipients: &[SealingPublicKey]) -> String {
    let value = SecretBytes::from(CANARY.to_vec());
    let entries = BTreeMap::from([("password".to_owned(), value)]);
    let mut sealed = sealed(&entries, &place("shop", "db"), scope, recipients).unwrap();
    sealed.remove("password").unwrap()
}

#[test]
fn one_entry_opens_in_each_of_its_installations_and_at_its_place() {
    let [(one, first), (two, second)] = [key(1), key(2)];
    let recipients = [first.public(one), second.public(two)];
    let entry = entry(Scope::Strict, &recipients);
    let message = STANDARD.decode(entry).unwrap();
    let context = place("shop", "db")
        .context(Scope::Strict, "password")
        .unwrap();
    for (installation, private) in [(one, first), (two, second)] {
        let keys = SealingKeys::new(installation, vec![private]);
        let opened = open_sealed(&message, &context, &keys, Limits::default()).unwrap();
        assert_eq!(opened.expose(), CANARY);
    }
}

#[test]
fn renamed_moved_unknown_and_altered_entries_are_told_apart() {
    let [(one, active), (_, older), (two, other)] = [key(1), key(1), key(2)];
    let [active, older, other] = [active.public(one), older.public(one), other.public(two)];
    let known = [active.clone(), older.clone()];
    let strict = entry(Scope::Strict, std::slice::from_ref(&active));
    let wide = entry(Scope::Namespace, std::slice::from_ref(&active));
    let aged = entry(Scope::Strict, std::slice::from_ref(&older));
    let foreign = entry(Scope::Strict, std::slice::from_ref(&other));
    let cut = &strict[..strict.len() - 8];
    let (here, mut plain) = (place("shop", "db"), place("shop", "db"));
    plain.context.clear();
    let moved = place("farm", "db");
    let renamed = place("shop", "pg");
    let (ok, password) = (Exit::Ok, "password");
    for (what, entry, place, key, exit, part) in [
        ("as it was", strict.as_str(), &here, password, ok, "current"),
        ("older key", &aged, &here, password, ok, "older"),
        (
            "other name",
            &strict,
            &renamed,
            password,
            Exit::Renamed,
            "secret db",
        ),
        (
            "other key",
            &strict,
            &here,
            "token",
            Exit::Renamed,
            "key password",
        ),
        (
            "other namespace",
            &strict,
            &moved,
            password,
            Exit::WrongNamespace,
            "shop",
        ),
        ("other name, wide", &wide, &renamed, "token", ok, "current"),
        (
            "other namespace, wide",
            &wide,
            &moved,
            password,
            Exit::WrongNamespace,
            "shop",
        ),
        (
            "other pairs",
            &strict,
            &plain,
            password,
            Exit::Renamed,
            "encryption context",
        ),
        (
            "unknown",
            &foreign,
            &here,
            password,
            Exit::UnknownKeyVersion,
            "fetch",
        ),
        ("cut", cut, &here, password, Exit::Altered, "cut"),
        ("no base64", "%%", &here, password, Exit::Altered, "altered"),
    ] {
        let verdict = Verdict::on(entry, place, key, &known);
        assert_eq!(verdict.exit(), exit, "{what}: {verdict:?}");
        assert!(verdict.told().contains(part), "{what}: {}", verdict.told());
    }
}

#[test]
fn a_typed_secret_is_delivered_plain_and_nothing_of_its_metadata_is_taken() {
    let sealed = BTreeMap::from([("tls.crt".to_owned(), "AA==".to_owned())]);
    let manifest = manifest(&place("shop", "db"), &sealed, Some("kubernetes.io/tls"));
    assert_eq!(
        manifest["spec"]["template"]["data"]["tls.crt"],
        "[[ keys[\"tls.crt\"] ]]"
    );
    assert_eq!(manifest["spec"]["target"]["form"], "Plain");
    assert_eq!(
        manifest["metadata"],
        json!({"name": "db", "namespace": "shop"})
    );
    let opaque = super::manifest(&place("shop", "db"), &sealed, Some("Opaque"));
    assert!(opaque["spec"].get("template").is_none());
}
