//! `GetRandomPassword`. It touches no secret, so nobody needs a right to it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::api::managed_secret::CharacterClass;
use crate::crypto::OsRandom;
use crate::secrets::generate::MAX_PASSWORD_LENGTH;
use crate::secrets::{Generator, PasswordPolicy};
use crate::server::api::error::ApiError;
use crate::server::api::wire::{Answer, answer, parameters};

/// The punctuation of AWS.
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(clippy::struct_excessive_bools, reason = "so has the call of AWS")]
struct GetRandomPassword {
    password_length: u32,
    exclude_characters: String,
    exclude_numbers: bool,
    exclude_punctuation: bool,
    exclude_uppercase: bool,
    exclude_lowercase: bool,
    include_space: bool,
    require_each_included_type: bool,
}

impl Default for GetRandomPassword {
    fn default() -> Self {
        Self {
            password_length: 32,
            exclude_characters: String::new(),
            exclude_numbers: false,
            exclude_punctuation: false,
            exclude_uppercase: false,
            exclude_lowercase: false,
            include_space: false,
            require_each_included_type: true,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RandomPassword<'a> {
    random_password: &'a str,
}

pub(super) fn get_random_password(body: &[u8]) -> Result<Answer, ApiError> {
    let asked: GetRandomPassword = parameters(body)?;
    let policy = asked.policy()?;
    let invalid = |error: &dyn std::error::Error| ApiError::invalid_parameter(error.to_string());
    policy.validate().map_err(|error| invalid(&error))?;
    let generator = Generator::Password(policy);
    let made = generator
        .generate(&mut OsRandom)
        .map_err(|error| invalid(&error))?;
    let text = std::str::from_utf8(made.expose());
    let random_password = text.map_err(|_| ApiError::internal("a password that is no text"))?;
    answer(&RandomPassword { random_password })
}

impl GetRandomPassword {
    fn policy(&self) -> Result<PasswordPolicy, ApiError> {
        if !(1..=MAX_PASSWORD_LENGTH).contains(&self.password_length) {
            return Err(ApiError::invalid_parameter(format!(
                "PasswordLength is {}; it must be 1 to {MAX_PASSWORD_LENGTH}",
                self.password_length
            )));
        }
        if self.include_space {
            let message = "IncludeSpace is not taken: no password of Keystead has a space, which shells and connection strings break at";
            return Err(ApiError::invalid_parameter(message));
        }
        let symbols = if self.exclude_punctuation {
            ""
        } else {
            PUNCTUATION
        };
        let classes = [
            (CharacterClass::Lowercase, !self.exclude_lowercase),
            (CharacterClass::Uppercase, !self.exclude_uppercase),
            (CharacterClass::Digits, !self.exclude_numbers),
            (CharacterClass::Symbols, !symbols.is_empty()),
        ];
        let classes = classes.into_iter().filter(|(_, wanted)| *wanted);
        Ok(PasswordPolicy {
            length: self.password_length,
            classes: classes.map(|(class, _)| class).collect::<BTreeSet<_>>(),
            symbols: symbols.to_owned(),
            exclude: self.exclude_characters.clone(),
            require_each_class: self.require_each_included_type,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn made(asked: &Value) -> Result<String, ApiError> {
        let answer = get_random_password(asked.to_string().as_bytes())?;
        let answer: Value = serde_json::from_slice(&answer.0).unwrap();
        Ok(answer["RandomPassword"].as_str().unwrap().to_owned())
    }

    #[test]
    fn a_password_is_what_was_asked_for() {
        assert_eq!(made(&json!({})).unwrap().len(), 32);
        let digits = json!({"PasswordLength": 4096, "ExcludePunctuation": true, "ExcludeUppercase": true, "ExcludeLowercase": true});
        let digits = made(&digits).unwrap();
        assert!(digits.len() == 4096 && digits.bytes().all(|b| b.is_ascii_digit()));
        let without =
            made(&json!({"PasswordLength": 4096, "ExcludeCharacters": ":/@\"'\\"})).unwrap();
        assert!(
            !without.contains([':', '/', '@', '"', '\'', '\\']),
            "{without}"
        );
        assert!(without.contains(['!', '~', '%']));
    }

    #[test]
    fn what_no_password_can_be_is_refused_with_the_limit() {
        for (asked, word) in [
            (json!({"PasswordLength": 0}), "1 to 4096"),
            (json!({"PasswordLength": 4097}), "1 to 4096"),
            (json!({"PasswordLength": 3}), "3"),
            (json!({"IncludeSpace": true}), "IncludeSpace"),
            (
                json!({"ExcludeNumbers": true, "ExcludePunctuation": true, "ExcludeUppercase": true, "ExcludeLowercase": true}),
                "class",
            ),
        ] {
            let refused = made(&asked).unwrap_err();
            assert_eq!(refused.code, "InvalidParameterException");
            assert!(refused.message.contains(word), "{}", refused.message);
        }
    }
}
