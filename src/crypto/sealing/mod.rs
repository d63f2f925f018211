//! Sealing: envelopes that anybody makes with a public key, and only the installation that has the private key opens.
//!
//! An envelope like every other (see [`super::envelope`]), except for who wrapped the data key: HPKE (RFC 9180, base
//! mode), once for each recipient.
//!
//! ```text
//! KEM         X-Wing: X25519 and ML-KEM-768, safe as long as one of the two is
//! KDF, AEAD   HKDF-SHA-512, AES-256-GCM
//! info        keystead/v1/sealing/ | suite 2 | installation id 16 | sealing key id 16
//! AAD         the canonical context
//! wrapped     encapsulated key 1120 | data key, encrypted 32 | tag 16
//! ```
//!
//! Base mode does not say who sealed: whoever has the public key can. What an entry may become is decided by who may write
//! it into a resource.

mod keys;
mod text;
mod wrap;

pub use keys::{SealingKeys, SealingPrivateKey, SealingPublicKey};
pub use text::SealingKeyError;

use super::{
    context::EncryptionContext,
    envelope::{Limits, Wrapped, open_with, parse_whole, seal_with},
    error::{OpenError, ParseError, SealError},
    header::{Header, MAX_WRAPPED_KEYS, WrappedKey},
    ids::{InstallationId, SealingKeyId},
    random::Random,
    secret::SecretBytes,
    suite::Suite,
};

/// The provider id of a data key that is wrapped for a sealing key.
pub const SEALING_PROVIDER_ID: &str = "keystead-hpke";

/// Whom an envelope is sealed for; its text form is the provider info of the wrapped key.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Recipient {
    /// The installation.
    pub installation: InstallationId,
    /// Its sealing key.
    pub key: SealingKeyId,
}

/// What a sealed envelope says about itself. Nothing of it is authenticated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SealedInfo {
    /// Whom it is sealed for, in the message's order; not empty, none twice.
    pub recipients: Vec<Recipient>,
    /// The context that it is bound to.
    pub context: EncryptionContext,
}

/// Encrypts `plaintext` for each of `recipients`, bound to `context`. Each of them alone can open it.
///
/// # Errors
/// The plaintext is too long, there is no recipient, there are too many, or one is given twice.
pub fn seal_to(
    plaintext: &[u8],
    context: &EncryptionContext,
    recipients: &[SealingPublicKey],
    random: &mut dyn Random,
) -> Result<Vec<u8>, SealError> {
    let count = recipients.len();
    if !(1..=usize::from(MAX_WRAPPED_KEYS)).contains(&count) {
        return Err(SealError::Recipients(count));
    }
    for (index, recipient) in recipients.iter().enumerate() {
        let earlier = &recipients[..index];
        if earlier.iter().any(|other| other.id() == recipient.id()) {
            return Err(SealError::RepeatedRecipient(recipient.id()));
        }
    }
    seal_with(plaintext, context, random, |data_key, context, random| {
        let wrap = |recipient: &SealingPublicKey| {
            let ciphertext =
                wrap::wrap(data_key, context, recipient, random).map_err(SealError::Random)?;
            Ok(Wrapped {
                provider: SEALING_PROVIDER_ID,
                info: recipient.recipient().to_string(),
                ciphertext,
            })
        };
        recipients.iter().map(wrap).collect()
    })
}

/// Decrypts an envelope that [`seal_to`] made with the context `expected`, for one of `keys`.
///
/// # Guarantees
/// As for [`super::open`]. The private key is looked up by installation and id, never tried. What it says before it
/// authenticates anything follows from bytes that everybody can read.
///
/// # Errors
/// [`OpenError::OtherInstallation`] and [`OpenError::SealingKeyMissing`] say that none of `keys` can open it.
pub fn open_sealed(
    message: &[u8],
    expected: &EncryptionContext,
    keys: &SealingKeys,
    limits: Limits,
) -> Result<SecretBytes, OpenError> {
    open_with(message, expected, limits, |header, context| {
        let sealed = wrapped_for(header)?;
        let (recipient, private, ciphertext) = choose(&sealed, keys)?;
        wrap::unwrap(ciphertext, context, recipient, private).map_err(OpenError::Decrypt)
    })
}

/// Reads whom an envelope is sealed for and what it is bound to, without decrypting it.
///
/// # Errors
/// It is no whole message, or not sealed for anybody ([`OpenError::NoKey`]).
pub fn peek_sealed(message: &[u8]) -> Result<SealedInfo, OpenError> {
    let parsed = parse_whole(message, Limits::default())?;
    let sealed = wrapped_for(&parsed.header)?;
    let mut context = EncryptionContext::empty();
    for (&key, &value) in &parsed.pairs {
        context
            .insert(key.to_owned(), value.to_owned())
            .map_err(|_| OpenError::Malformed(ParseError::Context))?;
    }
    Ok(SealedInfo {
        recipients: sealed.iter().map(|(recipient, _)| *recipient).collect(),
        context,
    })
}

/// The wrapped keys that are for sealing keys.
///
/// # Errors
/// There is none, or there are two for one sealing key.
fn wrapped_for<'a>(header: &Header<'a>) -> Result<Vec<(Recipient, &'a [u8])>, OpenError> {
    let mut sealed: Vec<(Recipient, &[u8])> = Vec::new();
    for (recipient, ciphertext) in header.keys.iter().filter_map(recognise) {
        if sealed.iter().any(|(other, _)| *other == recipient) {
            return Err(OpenError::SeveralKeys);
        }
        sealed.push((recipient, ciphertext));
    }
    // The footer's signature has no part in this format, and nobody here would read it.
    if sealed.is_empty() || header.suite != Suite::Committing {
        return Err(OpenError::NoKey);
    }
    Ok(sealed)
}

fn recognise<'a>(key: &WrappedKey<'a>) -> Option<(Recipient, &'a [u8])> {
    if key.provider != SEALING_PROVIDER_ID.as_bytes() || key.ciphertext.len() != wrap::LENGTH {
        return None;
    }
    let recipient = std::str::from_utf8(key.info).ok()?.parse().ok()?;
    Some((recipient, key.ciphertext))
}

/// The first wrapped key whose private key is there, and that private key.
fn choose<'a, 'k>(
    sealed: &[(Recipient, &'a [u8])],
    keys: &'k SealingKeys,
) -> Result<(Recipient, &'k SealingPrivateKey, &'a [u8]), OpenError> {
    let this = keys.installation();
    let mut ours = sealed
        .iter()
        .filter(|(recipient, _)| recipient.installation == this)
        .peekable();
    let Some(&&(first, _)) = ours.peek() else {
        let sealed_for = sealed[0].0.installation;
        return Err(OpenError::OtherInstallation { sealed_for, this });
    };
    ours.find_map(|&(recipient, ciphertext)| {
        keys.find(recipient.key)
            .map(|key| (recipient, key, ciphertext))
    })
    .ok_or(OpenError::SealingKeyMissing { key: first.key })
}

#[cfg(test)]
mod tests;
