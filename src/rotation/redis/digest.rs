//! What a server stores of a password, made here, so that the password stays here.

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::Zeroizing;

use crate::crypto::SecretBytes;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The SHA-256 of a password, in hexadecimal digits (Redis' manual, "ACL SETUSER"). It has no salt; who reads it from the
/// server can try passwords at leisure, which is hopeless with generated ones.
pub(super) struct Digest(SecretBytes);

impl Digest {
    /// That of a password.
    pub(super) fn of(password: &[u8]) -> Self {
        let hash = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(password)));
        let mut digits = SecretBytes::with_capacity(2 * hash.len());
        for byte in *hash {
            let [high, low] = [byte >> 4, byte & 0xf].map(|digit| DIGITS[usize::from(digit)]);
            digits.extend_from_slice(&[high, low]);
        }
        Self(digits)
    }

    /// Whether it is what a server stores. A server could learn by time how much of what it says is right.
    pub(super) fn is(&self, stored: &[u8]) -> Choice {
        self.0.expose().ct_eq(stored)
    }

    /// The rule that gives a user the password.
    pub(super) fn added(&self) -> SecretBytes {
        self.rule(b'#')
    }

    /// The rule that takes it away.
    pub(super) fn removed(&self) -> SecretBytes {
        self.rule(b'!')
    }

    fn rule(&self, sign: u8) -> SecretBytes {
        let mut rule = SecretBytes::with_capacity(1 + self.0.len());
        rule.extend_from_slice(&[sign]);
        rule.extend_from_slice(self.0.expose());
        rule
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_what_the_server_makes_of_the_password() {
        // Redis' manual, "ACL": of the password `test`.
        let stored = b"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        let digest = Digest::of(b"test");
        assert!(bool::from(digest.is(stored)));
        assert!(!bool::from(digest.is(&stored[1..])));
        assert!(!bool::from(Digest::of(b"tes").is(stored)));
        assert_eq!(digest.added().expose(), [&b"#"[..], stored].concat());
        assert_eq!(digest.removed().expose(), [&b"!"[..], stored].concat());
    }
}
