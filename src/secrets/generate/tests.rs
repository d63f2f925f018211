use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;
use crate::secrets::testing::{Dry, Filled, all, never};

/// Deterministic randomness (`SplitMix64`), good enough for statistics.
fn seeded(mut state: u64) -> impl Random {
    Filled(move |bytes: &mut [u8]| {
        for chunk in bytes.chunks_mut(8) {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            chunk.copy_from_slice(&mixed.to_le_bytes()[..chunk.len()]);
        }
    })
}

fn password(policy: &PasswordPolicy, random: &mut dyn Random) -> String {
    let bytes = Generator::Password(policy.clone())
        .generate(random)
        .unwrap();
    String::from_utf8(bytes.expose().to_vec()).unwrap()
}

fn policy() -> PasswordPolicy {
    PasswordPolicy::default()
}

fn refusal(policy: PasswordPolicy) -> String {
    let error = Generator::Password(policy)
        .generate(&mut never())
        .unwrap_err();
    error.to_string()
}

fn has_all_classes(password: &str) -> bool {
    password.contains(|c: char| c.is_ascii_lowercase())
        && password.contains(|c: char| c.is_ascii_uppercase())
        && password.contains(|c: char| c.is_ascii_digit())
        && password.contains(['-', '_'])
}

#[test]
fn a_hundred_thousand_default_passwords_are_safe_everywhere_and_all_different() {
    let mut random = seeded(1);
    let mut seen = BTreeSet::new();
    for _ in 0..100_000 {
        let password = password(&policy(), &mut random);
        let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        assert!(
            password.len() == 32 && password.chars().all(safe),
            "{password}"
        );
        assert!(has_all_classes(&password), "{password}");
        assert!(!password.starts_with('-'), "{password}");
        assert!(seen.insert(password), "repeated");
    }
}

#[test]
fn a_hundred_thousand_passwords_never_have_what_is_excluded() {
    let policy = PasswordPolicy {
        symbols: "!#$%&()*+,-./:;<=>?@[]^_{|}~".to_owned(),
        exclude: ":@/%".to_owned(),
        ..policy()
    };
    let mut random = seeded(2);
    let mut symbols = BTreeSet::new();
    for _ in 0..100_000 {
        let password = password(&policy, &mut random);
        assert!(!password.contains([':', '@', '/', '%']), "{password}");
        assert!(!password.starts_with('-'), "{password}");
        symbols.extend(password.chars().filter(char::is_ascii_punctuation));
    }
    let expected: BTreeSet<char> = "!#$&()*+,-.;<=>?[]^_{|}~".chars().collect();
    assert_eq!(symbols, expected);
}

/// Each format has a reader that is not ours, but for URL and `.pgpass`, where what must not occur is
/// a short list: RFC 3986 section 2.3 (unreserved) and the colon and backslash of libpq.
#[test]
fn default_passwords_survive_every_format_unquoted() {
    let mut random = seeded(3);
    for _ in 0..2_000 {
        let password = password(&policy(), &mut random);
        let json: String = serde_json::from_str(&format!("\"{password}\"")).unwrap();
        assert_eq!(json, password);

        let url = format!("postgres://orders:{password}@db:5432/orders");
        let uri: axum::http::Uri = url.parse().unwrap();
        let authority = uri.authority().unwrap();
        assert_eq!(authority.as_str(), format!("orders:{password}@db:5432"));
        assert_eq!((authority.host(), authority.port_u16()), ("db", Some(5432)));

        let pgpass = format!("db:5432:orders:orders:{password}");
        assert!(!pgpass.contains('\\'));
        assert_eq!(pgpass.split(':').nth(4), Some(password.as_str()));
        assert_eq!(pgpass.split(':').count(), 5);

        // A properties file ends a value at the line and gives only the backslash a meaning; its
        // reader splits at the first `=` or `:`.
        let (_, value) = format!("password={password}")
            .split_once('=')
            .map(own)
            .unwrap();
        assert_eq!(value, password);
    }
}

fn own((left, right): (&str, &str)) -> (String, String) {
    (left.to_owned(), right.to_owned())
}

#[test]
fn default_passwords_survive_a_shell_quoted_and_unquoted() {
    let mut random = seeded(4);
    let passwords: Vec<_> = (0..200).map(|_| password(&policy(), &mut random)).collect();
    let mut script = String::new();
    for password in &passwords {
        writeln!(script, "export P='{password}'; printf '%s\\n' \"$P\"").unwrap();
        writeln!(
            script,
            "P={password}; printf '%s\\n' $P; printf -- '%s\\n' {password}"
        )
        .unwrap();
    }
    let mut shell = Command::new("sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    shell
        .stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    let output = String::from_utf8(shell.wait_with_output().unwrap().stdout).unwrap();
    let expected: Vec<_> = passwords
        .iter()
        .flat_map(|password| [password.as_str(); 3])
        .collect();
    assert_eq!(output.lines().collect::<Vec<_>>(), expected);
}

/// What a YAML 1.1 reader takes a plain word for: a default password of 32 characters with all
/// classes is none of it (a number has no letters but `e`, `x`, `o`, `_`; a word has no digit).
#[test]
fn default_passwords_are_plain_yaml_strings() {
    let mut random = seeded(5);
    for _ in 0..2_000 {
        let password = password(&policy(), &mut random);
        let parsed: serde_json::Value = kube_yaml(&format!("key: {password}\n"));
        assert_eq!(parsed["key"], serde_json::Value::String(password));
    }
}

/// Reads YAML as `kubectl` configuration is read, by the parser that kube uses.
fn kube_yaml(text: &str) -> serde_json::Value {
    let config = format!("apiVersion: v1\nkind: Config\npreferences:\n  {text}");
    let config = kube::config::Kubeconfig::from_yaml(&config).unwrap();
    serde_json::to_value(config).unwrap()["preferences"].clone()
}

/// Pearson's test over the characters of a policy without rules on classes, at every position but
/// the first. With 63 degrees of freedom, 130 is beyond one in a million.
#[test]
fn every_character_is_equally_likely() {
    let policy = PasswordPolicy {
        require_each_class: false,
        ..policy()
    };
    let mut random = seeded(6);
    let mut counts = [0_u32; 128];
    for _ in 0..20_000 {
        for byte in password(&policy, &mut random).bytes().skip(1) {
            counts[usize::from(byte)] += 1;
        }
    }
    let expected = f64::from(20_000 * 31) / 64.0;
    let used: Vec<_> = counts.iter().filter(|count| **count > 0).collect();
    assert_eq!(used.len(), 64);
    let statistic: f64 = used
        .iter()
        .map(|count| (f64::from(**count) - expected).powi(2) / expected)
        .sum();
    assert!(statistic < 130.0, "{statistic}");
}

/// All strings that satisfy a small policy, counted: 3 characters of {a, b, 0, 1, 2} with both
/// classes and no other rule. Inserting one of each class and shuffling would fail this.
#[test]
fn every_string_that_satisfies_the_policy_is_equally_likely() {
    let policy = PasswordPolicy {
        length: 3,
        classes: [CharacterClass::Lowercase, CharacterClass::Digits].into(),
        exclude: "cdefghijklmnopqrstuvwxyz3456789".to_owned(),
        ..policy()
    };
    let mut random = seeded(7);
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..90_000 {
        *counts
            .entry(password(&policy, &mut random))
            .or_insert(0_u32) += 1;
    }
    // 5^3 strings, less 2^3 of letters only and 3^3 of digits only.
    assert_eq!(counts.len(), 90);
    let statistic: f64 = counts
        .values()
        .map(|count| (f64::from(*count) - 1_000.0).powi(2) / 1_000.0)
        .sum();
    assert!(statistic < 170.0, "{statistic}");
}

#[test]
fn the_least_likely_policy_still_gives_passwords() {
    let policy = PasswordPolicy {
        length: 4,
        symbols: "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~".to_owned(),
        exclude: "bcdefghijklmnopqrstuvwxyzBCDEFGHIJKLMNOPQRSTUVWXYZ123456789".to_owned(),
        ..policy()
    };
    let mut random = seeded(8);
    for _ in 0..20 {
        let password = password(&policy, &mut random);
        for required in ["a", "A", "0"] {
            assert!(password.contains(required), "{password}");
        }
        assert!(!password.starts_with('-'), "{password}");
    }
}

#[test]
fn impossible_policies_name_the_field_and_the_remedy() {
    let classes = |classes: &[CharacterClass]| classes.iter().copied().collect::<BTreeSet<_>>();
    let cases = [
        (
            PasswordPolicy {
                length: 0,
                ..policy()
            },
            "length is 0; choose one from 1 to 4096",
        ),
        (
            PasswordPolicy {
                length: 4_097,
                ..policy()
            },
            "length is 4097; choose one from 1 to 4096",
        ),
        (
            PasswordPolicy {
                length: 3,
                ..policy()
            },
            "length is 3, too short for one character of each of 4 classes; raise length, take fewer \
             classes or set requireEachClass to false",
        ),
        (
            PasswordPolicy {
                classes: classes(&[]),
                ..policy()
            },
            "classes is empty; name at least one of Lowercase, Uppercase, Digits, Symbols",
        ),
        (
            PasswordPolicy {
                exclude: "0123456789".to_owned(),
                ..policy()
            },
            "exclude leaves no character of class Digits; exclude fewer, remove Digits from classes or \
             set requireEachClass to false",
        ),
        (
            PasswordPolicy {
                symbols: String::new(),
                ..policy()
            },
            "symbols is empty; name at least one character or remove Symbols from classes",
        ),
        (
            PasswordPolicy {
                symbols: "-é".to_owned(),
                ..policy()
            },
            "symbols may contain only printable ASCII punctuation; remove character 2",
        ),
        (
            PasswordPolicy {
                symbols: "a".to_owned(),
                ..policy()
            },
            "symbols may contain only printable ASCII punctuation; remove character 1",
        ),
        (
            PasswordPolicy {
                symbols: "- ".to_owned(),
                ..policy()
            },
            "symbols may contain only printable ASCII punctuation; remove character 2",
        ),
        (
            PasswordPolicy {
                exclude: "a\u{7f}".to_owned(),
                ..policy()
            },
            "exclude may contain only printable ASCII characters; remove character 2",
        ),
        (
            PasswordPolicy {
                exclude: "ü".to_owned(),
                ..policy()
            },
            "exclude may contain only printable ASCII characters; remove character 1",
        ),
    ];
    for (policy, expected) in cases {
        assert_eq!(refusal(policy), expected);
    }
    let one = PasswordPolicy {
        classes: classes(&[CharacterClass::Symbols]),
        symbols: "---".to_owned(),
        ..policy()
    };
    assert!(refusal(one).contains("fewer than two characters"));
}

#[test]
fn an_excluded_class_is_accepted_where_classes_are_not_required() {
    let policy = PasswordPolicy {
        exclude: "-_".to_owned(),
        require_each_class: false,
        ..policy()
    };
    let password = password(&policy, &mut seeded(9));
    assert!(
        password.chars().all(|c| c.is_ascii_alphanumeric()),
        "{password}"
    );
}

#[test]
fn a_broken_source_of_randomness_is_an_error_and_not_a_hang() {
    for byte in [0x00, 0xff] {
        let generated = Generator::Password(policy()).generate(&mut all(byte));
        assert_eq!(generated.map(|_| ()), Err(GeneratorError::Exhausted));
    }
    // 65 characters: every masked byte is past the end.
    let policy = PasswordPolicy {
        symbols: "-_+".to_owned(),
        ..policy()
    };
    let generated = Generator::Password(policy).generate(&mut all(0x7f));
    assert_eq!(generated.map(|_| ()), Err(GeneratorError::Exhausted));
}

#[test]
fn no_randomness_is_an_error_of_every_generator() {
    let generators = [
        Generator::Password(policy()),
        Generator::Bytes {
            length: 1,
            encoding: Encoding::Base64,
        },
        Generator::Hex { length: 1 },
        Generator::Uuid,
    ];
    for generator in generators {
        assert_eq!(
            generator.generate(&mut Dry),
            Err(GeneratorError::Random(RandomError)),
            "{generator:?}"
        );
    }
}

/// The test vectors of RFC 4648, section 10.
#[test]
fn encodings_are_those_of_rfc_4648() {
    let cases = [
        ("", "", "", ""),
        ("f", "Zg==", "MY======", "66"),
        ("fo", "Zm8=", "MZXQ====", "666f"),
        ("foo", "Zm9v", "MZXW6===", "666f6f"),
        ("foob", "Zm9vYg==", "MZXW6YQ=", "666f6f62"),
        ("fooba", "Zm9vYmE=", "MZXW6YTB", "666f6f6261"),
        ("foobar", "Zm9vYmFy", "MZXW6YTBOI======", "666f6f626172"),
    ];
    for (raw, base64, base32, hex) in cases {
        let encode = |encoding: Encoding| {
            let text = encoding::encode(encoding, raw.as_bytes());
            String::from_utf8(text.expose().to_vec()).unwrap()
        };
        assert_eq!(encode(Encoding::Base64), base64);
        assert_eq!(encode(Encoding::Base64Url), base64.trim_end_matches('='));
        assert_eq!(encode(Encoding::Base32), base32);
        assert_eq!(encode(Encoding::Hex), hex);
        assert_eq!(encode(Encoding::Raw), raw);
    }
    assert_eq!(
        encoding::encode(Encoding::Base64Url, b"\xfb\xff\xbf").expose(),
        b"-_-_"
    );
}

#[test]
fn a_uuid_has_the_marks_of_version_4() {
    assert_eq!(
        uuid(&mut all(0)).unwrap(),
        "00000000-0000-4000-8000-000000000000"
    );
    assert_eq!(
        uuid(&mut all(0xff)).unwrap(),
        "ffffffff-ffff-4fff-bfff-ffffffffffff"
    );
    let generated = Generator::Uuid.generate(&mut seeded(10)).unwrap();
    assert_eq!(generated.len(), 36);
}

#[test]
fn byte_lengths_are_bounded() {
    let bytes = |length| Generator::Bytes {
        length,
        encoding: Encoding::Raw,
    };
    for generator in [bytes(0), bytes(4_097), Generator::Hex { length: 0 }] {
        assert!(
            matches!(generator.validate(), Err(GeneratorError::Length { .. })),
            "{generator:?}"
        );
    }
    assert_eq!(bytes(4_096).generate(&mut seeded(11)).unwrap().len(), 4_096);
    assert_eq!(
        Generator::Hex { length: 4_096 }
            .generate(&mut seeded(11))
            .unwrap()
            .len(),
        8_192
    );
}

proptest! {
    #[test]
    fn a_policy_that_is_accepted_is_kept(
        length in 1..40_u32,
        classes in proptest::sample::subsequence(password::ALL_CLASSES.to_vec(), 1..=4),
        symbols in "[!-/:-@\\[-`{-~]{1,10}",
        exclude in "[ -~]{0,30}",
        require_each_class: bool,
        seed: u64,
    ) {
        let policy = PasswordPolicy {
            length,
            classes: classes.iter().copied().collect(),
            symbols: symbols.clone(),
            exclude: exclude.clone(),
            require_each_class,
        };
        let Ok(()) = policy.validate() else { return Ok(()) };
        let password = password(&policy, &mut seeded(seed));
        let of = |class: CharacterClass, c: char| match class {
            CharacterClass::Lowercase => c.is_ascii_lowercase(),
            CharacterClass::Uppercase => c.is_ascii_uppercase(),
            CharacterClass::Digits => c.is_ascii_digit(),
            CharacterClass::Symbols => symbols.contains(c),
        };
        prop_assert_eq!(password.len(), length as usize);
        prop_assert!(!password.starts_with('-'));
        prop_assert!(password.chars().all(|c| !exclude.contains(c)));
        prop_assert!(password.chars().all(|c| classes.iter().any(|class| of(*class, c))));
        if require_each_class {
            for class in classes {
                prop_assert!(password.contains(|c| of(class, c)), "{:?} of {}", class, password);
            }
        }
    }
}
