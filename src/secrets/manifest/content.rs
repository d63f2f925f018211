//! What a content is known by where it is not kept.

use serde::{Deserialize, Serialize};

use crate::crypto::{Random, RandomError, SecretBytes};
use crate::hex::Hex;
use crate::secrets::SecretValue;

/// Bytes of the salt: the size of the hash.
const SALT: usize = 32;

/// A keyed hash of what consumers get. It is in the manifest and nowhere else: made of a short value, it would be found by trying.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContentMark {
    /// What the content is hashed with, in hexadecimal digits.
    salt: String,
    /// HMAC-SHA-256 of the content, in hexadecimal digits.
    content: String,
}

impl ContentMark {
    /// The mark of that content, under a salt of its own.
    pub fn of(content: &SecretValue, random: &mut dyn Random) -> Result<Self, RandomError> {
        let mut salt = [0; SALT];
        random.fill(&mut salt)?;
        let salt = Hex(&salt).to_string();
        Ok(Self {
            content: digest(&salt, content),
            salt,
        })
    }

    /// The mark of another content, under the same salt.
    #[must_use]
    pub fn moved_to(&self, content: &SecretValue) -> Self {
        Self {
            salt: self.salt.clone(),
            content: digest(&self.salt, content),
        }
    }

    /// Whether it is the mark of that content.
    pub fn is_of(&self, content: &SecretValue) -> bool {
        self.content == digest(&self.salt, content)
    }
}

/// HMAC-SHA-256 (RFC 2104) of the content, so that a short value cannot be found by trying, should the manifest ever be seen.
///
/// The form that is hashed is this function's own: were it that of stored values, a new format of these would look like a change
/// of all secrets.
fn digest(salt: &str, content: &SecretValue) -> String {
    let length = content
        .iter()
        .map(|(key, bytes)| 16 + key.len() + bytes.len());
    let mut message = SecretBytes::with_capacity(length.sum());
    for (key, bytes) in content.iter() {
        for part in [key.as_bytes(), bytes] {
            message.extend_from_slice(&(part.len() as u64).to_be_bytes());
            message.extend_from_slice(part);
        }
    }
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, salt.as_bytes());
    Hex(aws_lc_rs::hmac::sign(&key, message.expose()).as_ref()).to_string()
}
