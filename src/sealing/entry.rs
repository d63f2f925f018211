//! Opens an entry with private keys, by the same checks as the operator, and seals it anew.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::place::Place;
use crate::crypto::{
    EncryptionContext, Limits, OpenError, Random, SealingKeys, SealingPublicKey, SecretBytes,
    open_sealed, peek_sealed, seal_to,
};
use crate::secrets::MAX_PLAINTEXT;

/// Why an entry was not opened or sealed. Holds no text of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// It is bound to another place.
    #[error("sealed for another place, or with other pairs: seal it again for this one")]
    Misplaced,
    /// None of the keys is one that it is sealed for.
    #[error(
        "sealed for none of the private keys: take those of its installation, or seal it again"
    )]
    KeyMissing,
    /// It is not whole.
    #[error("altered or cut: seal it again")]
    Altered,
    /// No secret may hold its value.
    #[error("its value has more than {MAX_PLAINTEXT} bytes: seal a shorter one")]
    TooLong,
    /// It was opened and cannot be sealed.
    #[error("it cannot be sealed for these public keys: give from 1 to 10, each once")]
    NotSealed,
}

/// The value of an entry that was found at that place.
///
/// # Errors
/// Why it does not open.
pub fn open(
    text: &str,
    place: &Place,
    key: &str,
    keys: &SealingKeys,
) -> Result<SecretBytes, Refusal> {
    opened(text, place, key, keys).map(|(value, _)| value)
}

/// The entry sealed for these recipients, in the scope and at the place that it has.
///
/// # Errors
/// Why it does not open, or cannot be sealed.
pub fn reseal(
    text: &str,
    place: &Place,
    key: &str,
    keys: &SealingKeys,
    recipients: &[SealingPublicKey],
    random: &mut dyn Random,
) -> Result<String, Refusal> {
    let (value, context) = opened(text, place, key, keys)?;
    let sealed = seal_to(value.expose(), &context, recipients, random);
    sealed
        .map(|message| STANDARD.encode(message))
        .map_err(|_| Refusal::NotSealed)
}

fn opened(
    text: &str,
    place: &Place,
    key: &str,
    keys: &SealingKeys,
) -> Result<(SecretBytes, EncryptionContext), Refusal> {
    let message = STANDARD.decode(text.trim()).map_err(|_| Refusal::Altered)?;
    let info = peek_sealed(&message).map_err(|error| refused(&error))?;
    let expected = place.expected(&info, key);
    let expected = expected.map_err(|_| Refusal::Misplaced)?;
    let limits = Limits {
        max_plaintext: MAX_PLAINTEXT,
    };
    let value = open_sealed(&message, &expected, keys, limits);
    Ok((value.map_err(|error| refused(&error))?, expected))
}

fn refused(error: &OpenError) -> Refusal {
    match error {
        OpenError::ContextMismatch { .. } => Refusal::Misplaced,
        OpenError::OtherInstallation { .. }
        | OpenError::SealingKeyMissing { .. }
        | OpenError::MaterialMissing { .. }
        | OpenError::NoKey => Refusal::KeyMissing,
        OpenError::TooLong { .. } => Refusal::TooLong,
        OpenError::Malformed(_) | OpenError::SeveralKeys | OpenError::Decrypt(_) => {
            Refusal::Altered
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::crypto::{InstallationId, OsRandom, SealingPrivateKey};
    use crate::sealing::Scope;

    const CANARY: &[u8] = b"C4N4RY-entry";

    fn keys(installation: u8) -> (SealingKeys, SealingPublicKey) {
        let id = InstallationId::from_bytes([installation; 16]);
        let key = SealingPrivateKey::generate(id, &mut OsRandom).unwrap();
        let public = key.public(id);
        (SealingKeys::new(id, vec![key]), public)
    }

    fn place(name: &str) -> Place {
        Place {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            context: BTreeMap::from([("team".to_owned(), "orders".to_owned())]),
        }
    }

    fn entry(scope: Scope, public: &SealingPublicKey) -> String {
        let context = place("db").context(scope, "password").unwrap();
        let recipients = std::slice::from_ref(public);
        STANDARD.encode(seal_to(CANARY, &context, recipients, &mut OsRandom).unwrap())
    }

    #[test]
    fn an_entry_moves_to_other_recipients_and_keeps_its_value_and_its_scope() {
        let [(old, old_public), (new, new_public)] = [keys(1), keys(2)];
        for scope in [Scope::Strict, Scope::Namespace] {
            let before = entry(scope, &old_public);
            let to = std::slice::from_ref(&new_public);
            let after = reseal(&before, &place("db"), "password", &old, to, &mut OsRandom);
            let after = after.unwrap();
            let opened = open(&after, &place("db"), "password", &new).unwrap();
            assert_eq!(opened.expose(), CANARY);
            let gone = open(&after, &place("db"), "password", &old);
            assert_eq!(gone, Err(Refusal::KeyMissing));
            let elsewhere = open(&after, &place("pg"), "token", &new);
            assert_eq!(elsewhere.is_ok(), scope == Scope::Namespace);
        }
    }

    #[test]
    fn what_does_not_open_is_told_apart_and_is_not_sealed() {
        let [(keys, public), (others, other)] = [keys(1), keys(1)];
        let strict = entry(Scope::Strict, &public);
        let mut altered = STANDARD.decode(&strict).unwrap();
        *altered.last_mut().unwrap() ^= 1;
        let altered = STANDARD.encode(altered);
        let mut paired = place("db");
        paired.context.clear();
        let here = place("db");
        for (what, text, place, key, keys, expected) in [
            (
                "renamed",
                &strict,
                &place("pg"),
                "password",
                &keys,
                Refusal::Misplaced,
            ),
            (
                "another key",
                &strict,
                &here,
                "token",
                &keys,
                Refusal::Misplaced,
            ),
            (
                "other pairs",
                &strict,
                &paired,
                "password",
                &keys,
                Refusal::Misplaced,
            ),
            (
                "other keys",
                &strict,
                &here,
                "password",
                &others,
                Refusal::KeyMissing,
            ),
            (
                "altered",
                &altered,
                &here,
                "password",
                &keys,
                Refusal::Altered,
            ),
        ] {
            assert_eq!(open(text, place, key, keys), Err(expected), "{what}");
            let to = std::slice::from_ref(&other);
            let resealed = reseal(text, place, key, keys, to, &mut OsRandom);
            assert_eq!(resealed, Err(expected), "{what}");
        }
        let twice = [other.clone(), other];
        let resealed = reseal(&strict, &here, "password", &keys, &twice, &mut OsRandom);
        assert_eq!(resealed, Err(Refusal::NotSealed));
    }
}
