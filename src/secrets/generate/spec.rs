//! From a generator as it is written in a spec, with its defaults.

use super::{DEFAULT_LENGTH, DEFAULT_SYMBOLS, Generator, PasswordPolicy};
use crate::api::managed_secret::{Generate, Password};

/// The number of random bytes if nothing else is said.
pub const DEFAULT_BYTES_LENGTH: u32 = 32;

impl Generator {
    /// The random values that a spec names. A policy is looked at by [`validate`](Self::validate).
    pub(super) fn all_of(spec: &Generate) -> Vec<Self> {
        let password = spec
            .password
            .as_ref()
            .map(|password| Self::Password(password.into()));
        let bytes = spec.bytes.as_ref().map(|bytes| Self::Bytes {
            length: bytes.length.unwrap_or(DEFAULT_BYTES_LENGTH),
            encoding: bytes.encoding.unwrap_or_default(),
        });
        let hex = spec.hex.as_ref().map(|hex| Self::Hex {
            length: hex.length.unwrap_or(DEFAULT_BYTES_LENGTH),
        });
        let uuid = spec.uuid.as_ref().map(|_| Self::Uuid);
        [password, bytes, hex, uuid].into_iter().flatten().collect()
    }
}

impl From<&Password> for PasswordPolicy {
    fn from(spec: &Password) -> Self {
        let default = Self::default();
        Self {
            length: spec.length.unwrap_or(DEFAULT_LENGTH),
            classes: match &spec.classes {
                Some(classes) => classes.iter().copied().collect(),
                None => default.classes,
            },
            symbols: spec
                .symbols
                .as_deref()
                .unwrap_or(DEFAULT_SYMBOLS)
                .to_owned(),
            exclude: spec.exclude.clone().unwrap_or_default(),
            require_each_class: spec
                .require_each_class
                .unwrap_or(default.require_each_class),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{NamedGenerator, Recipe, RecipeError};
    use super::*;
    use crate::api::managed_secret::{CharacterClass, Encoding};

    fn generator(spec: Value) -> Result<Generator, RecipeError> {
        let spec: Generate = serde_json::from_value(spec).unwrap();
        match NamedGenerator::try_from(&spec)?.recipe {
            Recipe::Random(generator) => Ok(generator),
            other => panic!("{other:?} is no random value"),
        }
    }

    #[test]
    fn what_a_spec_leaves_out_has_the_documented_default() {
        let password = Generator::Password(PasswordPolicy {
            length: 32,
            classes: [
                CharacterClass::Lowercase,
                CharacterClass::Uppercase,
                CharacterClass::Digits,
                CharacterClass::Symbols,
            ]
            .into(),
            symbols: "-_".to_owned(),
            exclude: String::new(),
            require_each_class: true,
        });
        let bytes = Generator::Bytes {
            length: 32,
            encoding: Encoding::Raw,
        };
        let cases = [
            (json!({"key": "k", "password": {}}), password),
            (json!({"key": "k", "bytes": {}}), bytes),
            (
                json!({"key": "k", "hex": {}}),
                Generator::Hex { length: 32 },
            ),
            (json!({"key": "k", "uuid": {}}), Generator::Uuid),
        ];
        for (spec, expected) in cases {
            expected.validate().unwrap();
            assert_eq!(generator(spec), Ok(expected));
        }
    }

    #[test]
    fn what_a_spec_says_is_taken_as_it_is() {
        let spec = json!({"key": "k", "password": {
            "length": 0, "classes": ["Symbols", "Digits"], "symbols": "+", "exclude": "1",
            "requireEachClass": false,
        }});
        let expected = Generator::Password(PasswordPolicy {
            length: 0,
            classes: [CharacterClass::Digits, CharacterClass::Symbols].into(),
            symbols: "+".to_owned(),
            exclude: "1".to_owned(),
            require_each_class: false,
        });
        assert_eq!(generator(spec), Ok(expected));
        let spec = json!({"key": "k", "bytes": {"length": 7, "encoding": "Base32"}});
        let expected = Generator::Bytes {
            length: 7,
            encoding: Encoding::Base32,
        };
        assert_eq!(generator(spec), Ok(expected));
        let spec = json!({"key": "k", "hex": {"length": 9}});
        assert_eq!(generator(spec), Ok(Generator::Hex { length: 9 }));
    }

    #[test]
    fn none_and_several_generators_are_refused_with_their_number() {
        assert_eq!(
            generator(json!({"key": "k"})),
            Err(RecipeError::Choice { count: 0 })
        );
        let error = generator(json!({"key": "k", "hex": {}, "uuid": {}, "bytes": {}})).unwrap_err();
        assert_eq!(
            error.to_string(),
            "3 generators are set; set exactly one of password, bytes, hex, uuid, sshKey, keyPair, certificate, \
             htpasswd, bcrypt, scram, dockerConfigJson, keystore"
        );
    }
}
