//! Recipes as specs name them, through [`assemble`]: what is made, what is kept, and what other programs say of it.

mod certificates;
mod derived;
mod issuers;
mod pairs;

use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;

use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::crypto::OsRandom;
use crate::secrets::{Assembled, ImportedKey, Kept, Sources, assemble, derivations};

/// A version, and what its derived keys were made with.
struct Version {
    value: SecretValue,
    derivations: Derivations,
}

impl Version {
    #[track_caller]
    fn get(&self, key: &str) -> Vec<u8> {
        self.value.get(key).expect("the key is there").to_vec()
    }

    #[track_caller]
    fn text(&self, key: &str) -> String {
        String::from_utf8(self.get(key)).unwrap()
    }

    fn keys(&self) -> Vec<&str> {
        self.value.keys().collect()
    }

    /// The keys whose values differ.
    fn changed<'a>(&'a self, before: &Self) -> Vec<&'a str> {
        let differs = |(key, bytes): &(&str, &[u8])| before.value.get(key) != Some(*bytes);
        self.value
            .iter()
            .filter(differs)
            .map(|(key, _)| key)
            .collect()
    }
}

/// A spec and the time.
#[derive(Clone)]
struct Spec {
    generate: Value,
    literals: BTreeMap<String, String>,
    imported: BTreeMap<String, String>,
    /// Other secrets, by name.
    others: BTreeMap<String, Rc<Version>>,
    now: Timestamp,
}

/// A spec with these generators, in the year 2026.
fn spec(generate: Value) -> Spec {
    Spec {
        generate,
        literals: BTreeMap::new(),
        imported: BTreeMap::new(),
        others: BTreeMap::new(),
        now: "2026-03-01T12:00:00Z".parse().unwrap(),
    }
}

impl Spec {
    fn literal(mut self, key: &str, text: &str) -> Self {
        self.literals.insert(key.to_owned(), text.to_owned());
        self
    }

    fn beside(mut self, name: &str, other: &Rc<Version>) -> Self {
        self.others.insert(name.to_owned(), other.clone());
        self
    }

    /// The authorities of other secrets that are needed.
    fn asked(
        &self,
        generators: &[NamedGenerator],
        current: Option<&SecretValue>,
        stored: Option<Stored<'_>>,
    ) -> Authorities {
        let needed = generators
            .iter()
            .filter_map(|named| named.needs_authority(current, stored, self.now));
        let look = |of: &IssuerRef| match self.others.get(&of.secret) {
            Some(other) => Signer::read(&other.value, of, self.now),
            None => Err("it does not exist".to_owned()),
        };
        needed.map(|of| (of.clone(), look(of))).collect()
    }

    fn after_hours(mut self, hours: i64) -> Self {
        self.now += SignedDuration::from_hours(hours);
        self
    }

    /// What it becomes: `None` if nothing changes.
    fn on(&self, before: Option<&Version>) -> Result<Option<Version>, String> {
        let stored = before.map(|version| Stored {
            value: &version.value,
            derivations: &version.derivations,
        });
        self.assemble(before.map(|version| &version.value), stored)
    }

    /// What it becomes where a Secret with these values is taken over.
    fn over(&self, found: &SecretValue) -> Result<Option<Version>, String> {
        self.assemble(Some(found), None)
    }

    fn assemble(
        &self,
        current: Option<&SecretValue>,
        stored: Option<Stored<'_>>,
    ) -> Result<Option<Version>, String> {
        let told = |error: &dyn std::error::Error| {
            let cause = error.source().map(ToString::to_string);
            [error.to_string(), cause.unwrap_or_default()].join(": ")
        };
        let generate: Vec<Generate> = serde_json::from_value(self.generate.clone()).unwrap();
        let generators: Result<Vec<_>, _> = generate.iter().map(NamedGenerator::try_from).collect();
        let generators = generators.map_err(|error| told(&error))?;
        let imported: Vec<_> = self
            .imported
            .iter()
            .map(|(key, text)| ImportedKey {
                key,
                secret: "legacy",
                bytes: Some(text.as_bytes()),
            })
            .collect();
        let sources = Sources {
            current,
            previous: stored,
            literals: &self.literals,
            imported: &imported,
            sealed: &[],
            generators: &generators,
            issuers: &self.asked(&generators, current, stored),
            stored: Kept::Nothing,
        };
        match assemble(&sources, self.now, &mut OsRandom) {
            Ok(Assembled::Unchanged) => Ok(None),
            Ok(Assembled::Changed(value)) => Ok(Some(Version {
                value,
                derivations: derivations(&generators),
            })),
            Err(error) => Err(told(&error)),
        }
    }

    #[track_caller]
    fn first(&self) -> Version {
        self.on(None).unwrap().expect("the first version is new")
    }

    #[track_caller]
    fn next(&self, before: &Version) -> Version {
        self.on(Some(before)).unwrap().expect("something changes")
    }

    #[track_caller]
    fn stays(&self, before: &Version) {
        let changed = self.on(Some(before)).unwrap();
        let changed = changed.map(|next| next.changed(before).join(", "));
        assert_eq!(changed, None, "nothing was to change");
    }

    #[track_caller]
    fn refused(&self) -> String {
        match self.on(None) {
            Err(error) => error,
            Ok(_) => panic!("it was to be refused"),
        }
    }
}

/// A version without some of its keys.
fn without(version: &Version, keys: &[&str]) -> Version {
    let kept = version.value.iter().filter(|(key, _)| !keys.contains(key));
    let kept = kept.map(|(key, bytes)| (key.to_owned(), SecretBytes::copy_of(bytes)));
    Version {
        value: SecretValue::from_entries(kept).unwrap(),
        derivations: version.derivations.clone(),
    }
}

/// A folder for programs that read files; they are secrets of tests.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// Has openssl verify the certificate of a server, `db.shop.svc`, up to `ca.crt` by way of those in `between`.
    fn verifies(&self, certificate: &str, between: &str, now: Timestamp) {
        let at = now.as_second().to_string();
        let verify = [
            "verify",
            "-x509_strict",
            "-attime",
            &at,
            "-purpose",
            "sslserver",
            "-verify_hostname",
            "db.shop.svc",
            "-CAfile",
            "ca.crt",
            "-untrusted",
            between,
            certificate,
        ];
        self.ask("openssl", &verify);
    }

    /// What a program says; `None` if it is not installed.
    fn ask(&self, program: &str, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new(program);
        let output = match command.args(arguments).current_dir(self.0.path()).output() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            other => other.unwrap(),
        };
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {out}{error}"
        );
        Some(out)
    }
}

#[test]
fn what_needs_itself_or_what_is_not_there_is_refused_with_its_name() {
    let cases = [
        (
            json!([{"key": "a", "bcrypt": {"from": "b"}}]),
            "key `a` cannot be generated: it needs key `b`, which the secret does not have",
        ),
        (
            json!([{"key": "a", "bcrypt": {"from": "a"}}]),
            "key `a` cannot be generated: it needs key `a`, which needs it in turn",
        ),
        (
            json!([{"key": "a", "bcrypt": {"from": "c"}}, {"key": "b", "bcrypt": {"from": "a"}},
                {"key": "c", "bcrypt": {"from": "b"}}]),
            "key `b` cannot be generated: it needs key `a`, which needs it in turn",
        ),
        (
            json!([{"key": "a.crt", "certificate": {"commonName": "a", "issuer": {"key": "p"}}},
                {"key": "p", "password": {}}]),
            "key `a.crt` cannot be generated: its issuer, key `p`, is not generated as a certificate with isCA: true",
        ),
        (
            json!([{"key": "a", "sshKey": {}}, {"key": "a.pub", "password": {}}]),
            "key `a.pub` comes from two sources: generate and generate: ",
        ),
    ];
    for (generate, expected) in cases {
        assert_eq!(spec(generate).refused(), expected);
    }
}

#[test]
fn what_the_schema_would_refuse_is_refused_here_too() {
    let cases = [
        (
            json!({"key": "a", "sshKey": {"algorithm": "Rsa", "bits": 1024}}),
            "bits is 1024",
        ),
        (
            json!({"key": "a", "keyPair": {"algorithm": "Ed25519", "bits": 256}}),
            "bits is 256",
        ),
        (
            json!({"key": "a", "keyPair": {"algorithm": "Ecdsa", "encoding": "Pkcs1"}}),
            "encoding Pkcs1",
        ),
        (
            json!({"key": "a", "keyPair": {"algorithm": "Ed25519", "encoding": "Sec1"}}),
            "Sec1 for Ecdsa",
        ),
        (
            json!({"key": "a", "certificate": {"ipAddresses": ["1.1.1.1", "1.1.1"]}}),
            "ipAddresses has an entry that a certificate cannot have, at position 2",
        ),
        (
            json!({"key": "a", "certificate": {"dnsNames": ["é"]}}),
            "dnsNames has an entry",
        ),
        (
            json!({"key": "a", "certificate": {"commonName": "a", "durationDays": 4000}}),
            "durationDays is outside",
        ),
        (
            json!({"key": "a", "certificate": {"commonName": "a", "durationDays": 9, "renewBeforeDays": 9}}),
            "renewBeforeDays is outside",
        ),
        (
            json!({"key": "a", "bcrypt": {"from": "b", "cost": 18}}),
            "cost is outside",
        ),
        (
            json!({"key": "a", "scram": {"from": "b", "iterations": 1}}),
            "iterations is outside",
        ),
    ];
    for (generator, expected) in cases {
        let told = spec(json!([generator])).literal("b", "x").refused();
        assert!(told.contains(expected), "{told}");
    }
}
