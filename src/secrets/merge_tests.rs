use proptest::collection::{btree_map, btree_set};
use proptest::prelude::*;

use super::*;
use crate::api::managed_secret::{Encoding, Generate, Hex, StoredKeys, Uuid};
use crate::crypto::{OsRandom, RandomError};
use crate::secrets::generate::{Generator, GeneratorError, PasswordPolicy, Recipe};
use crate::secrets::testing::{Dry, Filled, all, never};
use crate::secrets::value::MAX_PLAINTEXT;

type Entries = Vec<(&'static str, &'static [u8])>;

fn value(entries: &[(&str, &[u8])]) -> SecretValue {
    let owned = entries
        .iter()
        .map(|(key, bytes)| ((*key).to_owned(), SecretBytes::copy_of(bytes)));
    SecretValue::from_entries(owned).unwrap()
}

fn literals(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries
        .iter()
        .map(|(key, text)| ((*key).to_owned(), (*text).to_owned()))
        .collect()
}

fn generators(keys: &[&str]) -> Vec<NamedGenerator> {
    let named = |key: &&str| NamedGenerator {
        key: (*key).to_owned(),
        recipe: Recipe::Random(Generator::Bytes {
            length: 8,
            encoding: Encoding::Hex,
        }),
    };
    keys.iter().map(named).collect()
}

fn named_keys(key: &str) -> StoredKeys {
    StoredKeys {
        keys: Some(vec![key.to_owned()]),
    }
}

fn imported(key: &'static str, bytes: Option<&'static [u8]>) -> ImportedKey<'static> {
    ImportedKey {
        key,
        secret: "legacy",
        bytes,
    }
}

/// Sources with everything empty.
struct Spec {
    current: Option<SecretValue>,
    literals: BTreeMap<String, String>,
    imported: Vec<ImportedKey<'static>>,
    generators: Vec<NamedGenerator>,
    stored: Option<StoredKeys>,
}

impl Spec {
    fn new() -> Self {
        Self {
            current: None,
            literals: BTreeMap::new(),
            imported: vec![],
            generators: vec![],
            stored: None,
        }
    }

    /// Assembles with the given byte as all randomness.
    fn assemble(&self, byte: u8) -> Result<Assembled, AssembleError> {
        let sources = Sources {
            current: self.current.as_ref(),
            previous: None,
            literals: &self.literals,
            imported: &self.imported,
            sealed: &[],
            generators: &self.generators,
            issuers: &Authorities::new(),
            stored: match &self.stored {
                None => Kept::Nothing,
                Some(StoredKeys { keys: None }) => Kept::Rest,
                Some(StoredKeys { keys: Some(keys) }) => Kept::Keys(keys),
            },
        };
        assemble(&sources, Timestamp::UNIX_EPOCH, &mut all(byte))
    }

    fn entries(&self) -> SecretValue {
        match self.assemble(0x11).unwrap() {
            Assembled::Changed(value) => value,
            Assembled::Unchanged => panic!("something changed"),
        }
    }
}

#[test]
fn every_source_gives_its_keys() {
    let spec = Spec {
        literals: literals(&[("host", "db\n")]),
        imported: vec![imported("old", Some(b"\xff\x00"))],
        generators: generators(&["password"]),
        ..Spec::new()
    };
    let expected: Entries = vec![
        ("host", b"db\n"),
        ("old", b"\xff\x00"),
        ("password", b"1111111111111111"),
    ];
    assert!(spec.entries() == value(&expected));
}

#[test]
fn a_generated_value_is_carried_over_whatever_its_policy_is_now() {
    let mut spec = Spec {
        current: Some(value(&[("password", b"as first generated\xff")])),
        generators: generators(&["password", "token"]),
        ..Spec::new()
    };
    spec.generators[0].recipe = Recipe::Random(Generator::Password(PasswordPolicy {
        length: 64,
        ..PasswordPolicy::default()
    }));
    let expected: Entries = vec![
        ("password", b"as first generated\xff"),
        ("token", b"1111111111111111"),
    ];
    assert!(spec.entries() == value(&expected));
}

#[test]
fn a_literal_follows_the_spec() {
    let spec = Spec {
        current: Some(value(&[("host", b"old")])),
        literals: literals(&[("host", "new")]),
        ..Spec::new()
    };
    assert!(spec.entries() == value(&[("host", b"new")]));
}

#[test]
fn an_import_happens_once() {
    let spec = Spec {
        current: Some(value(&[("a", b"taken before")])),
        imported: vec![
            imported("a", Some(b"changed since")),
            imported("b", Some(b"new")),
        ],
        ..Spec::new()
    };
    assert!(spec.entries() == value(&[("a", b"taken before"), ("b", b"new")]));
}

#[test]
fn an_imported_key_outlives_its_source() {
    let spec = Spec {
        current: Some(value(&[("a", b"taken before")])),
        imported: vec![imported("a", None)],
        ..Spec::new()
    };
    assert_eq!(spec.assemble(0), Ok(Assembled::Unchanged));
}

#[test]
fn an_import_that_nobody_has_is_an_error() {
    let spec = Spec {
        imported: vec![imported("a", None)],
        ..Spec::new()
    };
    let error = spec.assemble(0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "key `a` was to be imported from `legacy`, which does not have it"
    );
}

#[test]
fn a_key_that_the_spec_no_longer_names_is_dropped() {
    let spec = Spec {
        current: Some(value(&[("a", b"1"), ("b", b"2")])),
        literals: literals(&[("a", "1")]),
        ..Spec::new()
    };
    assert!(spec.entries() == value(&[("a", b"1")]));
}

#[test]
fn a_key_from_two_sources_is_refused_with_both_named() {
    let cases: [(Spec, &str); 4] = [
        (
            Spec {
                generators: generators(&["a"]),
                literals: literals(&[("a", "C4N4RY")]),
                ..Spec::new()
            },
            "key `a` comes from two sources: generate and literals",
        ),
        (
            Spec {
                literals: literals(&[("a", "C4N4RY")]),
                imported: vec![imported("a", Some(b"C4N4RY"))],
                ..Spec::new()
            },
            "key `a` comes from two sources: literals and import of `legacy`",
        ),
        (
            Spec {
                generators: generators(&["a", "a"]),
                ..Spec::new()
            },
            "key `a` comes from two sources: generate and generate",
        ),
        (
            Spec {
                imported: vec![imported("a", None), imported("a", Some(b"C4N4RY"))],
                ..Spec::new()
            },
            "key `a` comes from two sources: import of `legacy` and import of `legacy`",
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(spec.assemble(0).unwrap_err().to_string(), expected);
    }
}

#[test]
fn no_keys_at_all_is_an_error_even_if_there_were_some() {
    let spec = Spec {
        current: Some(value(&[("a", b"1")])),
        ..Spec::new()
    };
    assert_eq!(spec.assemble(0), Err(AssembleError::Empty));
}

#[test]
fn nothing_is_generated_when_something_is_refused() {
    let policy = PasswordPolicy {
        length: 0,
        ..PasswordPolicy::default()
    };
    let impossible = NamedGenerator {
        key: "z".to_owned(),
        recipe: Recipe::Random(Generator::Password(policy)),
    };
    let mut with_impossible = generators(&["a"]);
    with_impossible.push(impossible);
    for spec in [
        Spec {
            generators: with_impossible,
            ..Spec::new()
        },
        Spec {
            generators: generators(&["a", "x/y"]),
            ..Spec::new()
        },
        Spec {
            generators: generators(&["a"]),
            imported: vec![imported("z", None)],
            ..Spec::new()
        },
    ] {
        let sources = Sources {
            current: None,
            previous: None,
            literals: &spec.literals,
            imported: &spec.imported,
            sealed: &[],
            generators: &spec.generators,
            issuers: &Authorities::new(),
            stored: Kept::Nothing,
        };
        assemble(&sources, Timestamp::UNIX_EPOCH, &mut never()).unwrap_err();
    }
}

#[test]
fn what_is_stored_stays_beside_what_other_sources_say_now() {
    let before: Entries = vec![("host", b"old"), ("password", b"kept"), ("pin", b"1")];
    let spec = Spec {
        current: Some(value(&before)),
        literals: literals(&[("host", "new")]),
        stored: Some(StoredKeys::default()),
        ..Spec::new()
    };
    let after: Entries = vec![("host", b"new"), ("password", b"kept"), ("pin", b"1")];
    assert!(spec.entries() == value(&after));
    // By name, the others go.
    let spec = Spec {
        stored: Some(named_keys("pin")),
        ..spec
    };
    let after: Entries = vec![("host", b"new"), ("pin", b"1")];
    assert!(spec.entries() == value(&after));
}

#[test]
fn a_stored_key_has_no_other_source_and_must_be_there() {
    let named = |key: &str| Spec {
        current: Some(value(&[("host", b"old")])),
        literals: literals(&[("host", "new")]),
        stored: Some(named_keys(key)),
        ..Spec::new()
    };
    assert_eq!(
        named("host").assemble(0),
        Err(AssembleError::DuplicateKey {
            key: "host".to_owned(),
            first: Source::Literal,
            second: Source::Stored,
        })
    );
    let missing = AssembleError::StoredMissing {
        key: "pin".to_owned(),
    };
    assert_eq!(named("pin").assemble(0), Err(missing));
    // Nothing is made out of nothing.
    let spec = Spec {
        stored: Some(StoredKeys::default()),
        ..Spec::new()
    };
    assert_eq!(spec.assemble(0), Err(AssembleError::Empty));
}

#[test]
fn without_randomness_there_is_no_next_version() {
    let spec = Spec {
        literals: literals(&[("host", "db")]),
        generators: generators(&["password"]),
        ..Spec::new()
    };
    let sources = Sources {
        current: None,
        previous: None,
        literals: &spec.literals,
        imported: &spec.imported,
        sealed: &[],
        generators: &spec.generators,
        issuers: &Authorities::new(),
        stored: Kept::Nothing,
    };
    let source = GeneratorError::Random(RandomError);
    assert_eq!(
        assemble(&sources, Timestamp::UNIX_EPOCH, &mut Dry),
        Err(generate_error("password", source.into()))
    );
}

#[test]
fn a_spec_s_generator_keeps_its_key_also_in_an_error() {
    let mut spec = Generate {
        key: "token".to_owned(),
        hex: Some(Hex { length: Some(8) }),
        ..Generate::default()
    };
    let named = NamedGenerator::try_from(&spec).unwrap();
    assert_eq!(
        (named.key.as_str(), named.recipe),
        ("token", Recipe::Random(Generator::Hex { length: 8 }))
    );
    spec.uuid = Some(Uuid {});
    let error = NamedGenerator::try_from(&spec).unwrap_err();
    let error = generate_error("token", error);
    assert_eq!(error.to_string(), "key `token` cannot be generated");
}

#[test]
fn errors_name_the_key_and_never_a_value() {
    let big = "C4N4RY".repeat(MAX_PLAINTEXT / 6 + 1);
    for spec in [
        Spec {
            literals: literals(&[("big", &big)]),
            ..Spec::new()
        },
        Spec {
            literals: literals(&[("big/", "C4N4RY")]),
            ..Spec::new()
        },
    ] {
        let error = spec.assemble(0).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let told = format!("{error} {error:?} {source:?}");
        assert!(told.contains("big") && !told.contains("C4N4RY"), "{told}");
    }
}

/// A spec over few keys, so that edits meet.
#[derive(Debug, Clone)]
struct AnySpec {
    literals: BTreeMap<String, String>,
    generated: std::collections::BTreeSet<String>,
    imported: BTreeMap<String, Vec<u8>>,
}

fn any_spec() -> impl Strategy<Value = AnySpec> {
    let literals = btree_map("l[a-d]", ".{0,6}", 0..4);
    let generated = btree_set("g[a-d]", 1..4);
    let imported = btree_map("i[a-d]", prop::collection::vec(any::<u8>(), 0..6), 0..4);
    (literals, generated, imported).prop_map(|(literals, generated, imported)| AnySpec {
        literals,
        generated,
        imported,
    })
}

fn assemble_any(spec: &AnySpec, current: Option<&SecretValue>, seed: &mut u8) -> Assembled {
    let imported: Vec<_> = spec
        .imported
        .iter()
        .map(|(key, bytes)| ImportedKey {
            key,
            secret: "legacy",
            bytes: Some(bytes),
        })
        .collect();
    let keys: Vec<&str> = spec.generated.iter().map(String::as_str).collect();
    let generators = generators(&keys);
    let sources = Sources {
        current,
        previous: None,
        literals: &spec.literals,
        imported: &imported,
        sealed: &[],
        generators: &generators,
        issuers: &Authorities::new(),
        stored: Kept::Nothing,
    };
    let mut random = Filled(|bytes: &mut [u8]| {
        *seed = seed.wrapping_add(1);
        bytes.fill(*seed);
    });
    assemble(&sources, Timestamp::UNIX_EPOCH, &mut random).unwrap()
}

proptest! {
    #[test]
    fn assembling_again_changes_nothing(spec in any_spec()) {
        let Assembled::Changed(first) = assemble_any(&spec, None, &mut 0) else {
            panic!("there was no current version");
        };
        prop_assert_eq!(assemble_any(&spec, Some(&first), &mut 9), Assembled::Unchanged);
    }

    #[test]
    fn a_generated_value_never_changes_while_its_key_is_named(edits in prop::collection::vec(any_spec(), 1..8)) {
        let mut seed = 0;
        let mut current: Option<SecretValue> = None;
        for spec in &edits {
            let next = match assemble_any(spec, current.as_ref(), &mut seed) {
                Assembled::Changed(next) => next,
                Assembled::Unchanged => continue,
            };
            let names: Vec<&str> = next.keys().collect();
            let mut expected: Vec<&str> = spec.literals.keys().chain(&spec.generated).chain(spec.imported.keys())
                .map(String::as_str).collect();
            expected.sort_unstable();
            prop_assert_eq!(names, expected);
            if let Some(before) = &current {
                for key in &spec.generated {
                    if let Some(bytes) = before.get(key) {
                        prop_assert_eq!(next.get(key), Some(bytes));
                    }
                }
            }
            current = Some(next);
        }
    }
}

#[test]
fn a_sealed_key_is_what_its_entry_says_and_keeps_its_value_once_it_was_taken() {
    fn next(
        current: Option<&SecretValue>,
        bytes: Option<&[u8]>,
    ) -> Result<Assembled, AssembleError> {
        let key = "password";
        let sources = Sources {
            current,
            literals: &BTreeMap::new(),
            imported: &[],
            previous: None,
            stored: Kept::Nothing,
            sealed: &[SealedKey { key, bytes }],
            generators: &[],
            issuers: &Authorities::new(),
        };
        assemble(&sources, Timestamp::UNIX_EPOCH, &mut OsRandom)
    }
    let one = value(&[("password", b"one")]);
    let taken = next(None, Some(b"one"));
    assert_eq!(
        taken,
        Ok(Assembled::Changed(value(&[("password", b"one")])))
    );
    assert_eq!(next(Some(&one), None), Ok(Assembled::Unchanged));
    let changed = next(Some(&one), Some(b"two"));
    let two = value(&[("password", b"two")]);
    assert_eq!(changed, Ok(Assembled::Changed(two)));
    let key = "password".to_owned();
    assert_eq!(next(None, None), Err(AssembleError::SealedMissing { key }));
}

#[test]
fn a_sealed_key_that_is_a_literal_too_is_refused_with_both_sources() {
    let literals = BTreeMap::from([("password".to_owned(), "x".to_owned())]);
    let sources = Sources {
        current: None,
        literals: &literals,
        imported: &[],
        previous: None,
        stored: Kept::Nothing,
        sealed: &[SealedKey {
            key: "password",
            bytes: Some(b"y"),
        }],
        generators: &[],
        issuers: &Authorities::new(),
    };
    let refused = assemble(&sources, Timestamp::UNIX_EPOCH, &mut OsRandom).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "key `password` comes from two sources: literals and sealed"
    );
}
