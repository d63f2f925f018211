//! One-key, one-use authenticated encryption that commits to its key.
//!
//! Shared by wrapped data keys and wrapped material: `prefix | salt 32 | commitment 32 | ct | tag 16`, with
//!
//! ```text
//! key 32 | nonce 12 | commitment 32 = HKDF-SHA-512(secret, salt, info)      one expansion of 76 bytes
//! ct | tag = AES-256-GCM(key, nonce, plaintext, AAD = prefix | salt | commitment | bound)
//! ```
//!
//! A fresh random salt of 32 bytes gives every call its own key and nonce, so no counter is kept and one
//! secret serves any number of calls. GCM alone lets one ciphertext open under two keys; the commitment,
//! a hash of the key compared before decryption, does not. The prefix has a fixed length, so the AAD
//! splits in one way only.

use subtle::ConstantTimeEq as _;

use super::{
    cipher::{Cipher, NONCE_LENGTH, TAG_LENGTH},
    error::{DecryptError, ParseError, RandomError},
    kdf::Extracted,
    random::{Random, public_bytes},
    secret::{SecretArray, SecretBytes},
};

const SALT_LENGTH: usize = 32;
const COMMITMENT_LENGTH: usize = 32;
const KEY_LENGTH: usize = 32;
const DERIVED_LENGTH: usize = KEY_LENGTH + NONCE_LENGTH + COMMITMENT_LENGTH;

/// Bytes beyond the prefix and the plaintext.
pub(super) const OVERHEAD: usize = SALT_LENGTH + COMMITMENT_LENGTH + TAG_LENGTH;

/// What a secret and a salt derive.
struct Derived(SecretArray<DERIVED_LENGTH>);

impl Derived {
    fn new(secret: &[u8; 32], salt: &[u8], info: &[&[u8]]) -> Self {
        let derived = SecretArray::fill_with(|out| {
            Extracted::new(salt, secret).expand(info, out);
            Ok::<(), std::convert::Infallible>(())
        });
        match derived {
            Ok(derived) => Self(derived),
        }
    }

    fn cipher(&self) -> Cipher {
        Cipher::new(self.part(0))
    }

    fn nonce(&self) -> &[u8; NONCE_LENGTH] {
        self.part(KEY_LENGTH)
    }

    fn commitment(&self) -> &[u8; COMMITMENT_LENGTH] {
        self.part(KEY_LENGTH + NONCE_LENGTH)
    }

    fn part<const N: usize>(&self, start: usize) -> &[u8; N] {
        self.0.expose()[start..]
            .first_chunk()
            .expect("parts lie within the derived bytes")
    }
}

/// Encrypts `plaintext` under `secret`, after `prefix` and bound to it and to `bound`.
pub(super) fn seal(
    secret: &[u8; 32],
    info: &[&[u8]],
    prefix: &[u8],
    bound: &[u8],
    plaintext: &[u8],
    random: &mut dyn Random,
) -> Result<Vec<u8>, RandomError> {
    let salt: [u8; SALT_LENGTH] = public_bytes(random)?;
    let derived = Derived::new(secret, &salt, info);
    let mut out = Vec::with_capacity(prefix.len() + OVERHEAD + plaintext.len());
    out.extend_from_slice(prefix);
    out.extend_from_slice(&salt);
    out.extend_from_slice(derived.commitment());
    let aad = [out.as_slice(), bound].concat();
    let start = out.len();
    out.resize(start + plaintext.len(), 0);
    let tag = derived
        .cipher()
        .encrypt(derived.nonce(), &aad, plaintext, &mut out[start..]);
    out.extend_from_slice(&tag);
    Ok(out)
}

/// The plaintext's length in a sealed blob with a prefix of `prefix_length` bytes.
pub(super) fn plaintext_length(blob: &[u8], prefix_length: usize) -> Result<usize, ParseError> {
    blob.len()
        .checked_sub(prefix_length + OVERHEAD)
        .ok_or(ParseError::Truncated)
}

/// Decrypts what [`seal`] made with the same arguments. The caller has checked the length.
pub(super) fn open(
    secret: &[u8; 32],
    info: &[&[u8]],
    prefix_length: usize,
    bound: &[u8],
    blob: &[u8],
) -> Result<SecretBytes, DecryptError> {
    let (head, rest) = blob
        .split_at_checked(prefix_length + SALT_LENGTH + COMMITMENT_LENGTH)
        .ok_or(DecryptError)?;
    let (ciphertext, tag) = rest.split_last_chunk().ok_or(DecryptError)?;
    let (salt, commitment) = head[prefix_length..].split_at(SALT_LENGTH);
    let derived = Derived::new(secret, salt, info);
    if !bool::from(derived.commitment().as_slice().ct_eq(commitment)) {
        return Err(DecryptError);
    }
    let aad = [head, bound].concat();
    let mut plaintext = SecretBytes::zeroed(ciphertext.len());
    derived.cipher().decrypt(
        derived.nonce(),
        &aad,
        ciphertext,
        tag,
        plaintext.expose_mut(),
    )?;
    Ok(plaintext)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [1; 32];
    const INFO: [&[u8]; 1] = [b"label"];

    /// A blob with a right tag, whatever its commitment.
    fn with_commitment(change: u8) -> Vec<u8> {
        let salt = [2; SALT_LENGTH];
        let derived = Derived::new(&SECRET, &salt, &INFO);
        let mut blob = [b"prefix", salt.as_slice(), derived.commitment()].concat();
        *blob.last_mut().unwrap() ^= change;
        let aad = [blob.as_slice(), b"bound"].concat();
        let mut ciphertext = [0; 5];
        let cipher = derived.cipher();
        let tag = cipher.encrypt(derived.nonce(), &aad, b"plain", &mut ciphertext);
        blob.extend_from_slice(&ciphertext);
        blob.extend_from_slice(&tag);
        blob
    }

    #[test]
    fn a_wrong_commitment_does_not_open_even_under_a_right_tag() {
        let open = |blob: &[u8]| open(&SECRET, &INFO, 6, b"bound", blob);
        assert_eq!(open(&with_commitment(0)).unwrap().expose(), b"plain");
        assert_eq!(open(&with_commitment(1)), Err(DecryptError));
    }

    #[test]
    fn another_secret_label_or_binding_does_not_open() {
        let blob = with_commitment(0);
        assert_eq!(open(&[9; 32], &INFO, 6, b"bound", &blob), Err(DecryptError));
        assert_eq!(
            open(&SECRET, &[b"other"], 6, b"bound", &blob),
            Err(DecryptError)
        );
        assert_eq!(
            open(&SECRET, &INFO, 6, b"elsewhere", &blob),
            Err(DecryptError)
        );
    }
}
