//! Keys that authenticate messages: HMAC (RFC 2104, FIPS 198-1).

use aws_lc_rs::hmac;

use super::{algorithm::MacAlgorithm, error::KeyError, secret::SecretBytes};

/// A key for HMAC, as long as its hash.
///
/// The library's own key is made at each use: it lives inline in its owner, so keeping it would leave copies behind
/// wherever the owner moves.
#[derive(Debug)]
pub struct MacKey {
    algorithm: MacAlgorithm,
    key: SecretBytes,
}

impl MacKey {
    /// The key with these bytes.
    ///
    /// # Errors
    /// They are not as many as the hash has.
    pub fn from_bytes(algorithm: MacAlgorithm, bytes: &SecretBytes) -> Result<Self, KeyError> {
        if bytes.len() != algorithm.length() {
            return Err(KeyError);
        }
        let key = SecretBytes::copy_of(bytes.expose());
        Ok(Self { algorithm, key })
    }

    /// The algorithm that it is for.
    pub fn algorithm(&self) -> MacAlgorithm {
        self.algorithm
    }

    /// The MAC of `message`, in its full length.
    pub fn generate(&self, message: &[u8]) -> Vec<u8> {
        hmac::sign(&self.keyed(), message).as_ref().to_vec()
    }

    /// Whether `mac` is that of `message`. Only the full length counts; the comparison takes the same time for every
    /// content.
    pub fn verify(&self, message: &[u8], mac: &[u8]) -> bool {
        hmac::verify(&self.keyed(), message, mac).is_ok()
    }

    fn keyed(&self) -> hmac::Key {
        hmac::Key::new(self.algorithm.hmac(), self.key.expose())
    }
}
