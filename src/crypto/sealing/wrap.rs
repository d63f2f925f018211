//! The data key, wrapped for one sealing key.

use std::convert::Infallible;

use hpke::{
    Deserializable as _, OpModeR, OpModeS, Serializable as _,
    aead::{AeadTag, AesGcm256},
    inout::InOutBuf,
    kdf::HkdfSha512,
    kem::XWing,
    rand_core::{TryCryptoRng, TryRng},
    single_shot_open_inout_detached, single_shot_seal_inout_detached_with_rng,
};

use super::{Recipient, SealingPrivateKey, SealingPublicKey};
use crate::crypto::{
    bytes::Reader,
    cipher::TAG_LENGTH,
    envelope::DATA_KEY_LENGTH,
    error::{DecryptError, RandomError},
    kdf::SEALING_WRAPS,
    random::Random,
    secret::{SecretArray, SecretBytes},
    suite::Suite,
};

const ENCAPSULATED_LENGTH: usize = 1120;
/// Bytes that X-Wing draws for an encapsulation.
const RANDOMNESS_LENGTH: usize = 64;
/// Bytes of a wrapped data key.
pub(super) const LENGTH: usize = ENCAPSULATED_LENGTH + DATA_KEY_LENGTH + TAG_LENGTH;

pub(super) fn wrap(
    data_key: &[u8; DATA_KEY_LENGTH],
    context: &[u8],
    recipient: &SealingPublicKey,
    random: &mut dyn Random,
) -> Result<Vec<u8>, RandomError> {
    let mut drawn = Drawn::from(random)?;
    // Encrypted in place, in memory that is wiped whatever happens.
    let mut buffer = SecretBytes::copy_of(data_key);
    let (encapsulated, tag) =
        single_shot_seal_inout_detached_with_rng::<AesGcm256, HkdfSha512, XWing>(
            &OpModeS::Base,
            &recipient.for_hpke(),
            &info(recipient.recipient()),
            InOutBuf::from(buffer.expose_mut()),
            context,
            &mut drawn,
        )
        .expect("encapsulation to a valid key, and a first message of 32 bytes, do not fail");
    let mut out = vec![0; LENGTH];
    let (head, rest) = out.split_at_mut(ENCAPSULATED_LENGTH);
    let (ciphertext, tail) = rest.split_at_mut(DATA_KEY_LENGTH);
    encapsulated.write_exact(head);
    ciphertext.copy_from_slice(buffer.expose());
    tag.write_exact(tail);
    Ok(out)
}

pub(super) fn unwrap(
    wrapped: &[u8],
    context: &[u8],
    recipient: Recipient,
    key: &SealingPrivateKey,
) -> Result<SecretBytes, DecryptError> {
    let mut reader = Reader::new(wrapped);
    let parts = (|| {
        let encapsulated = reader.array::<ENCAPSULATED_LENGTH>()?;
        let ciphertext = reader.array::<DATA_KEY_LENGTH>()?;
        let tag = reader.array::<TAG_LENGTH>()?;
        reader.end().map(|()| (encapsulated, ciphertext, tag))
    })();
    let (encapsulated, ciphertext, tag) = parts.map_err(|_| DecryptError)?;
    let encapsulated = <XWing as hpke::Kem>::EncappedKey::from_bytes(encapsulated);
    let tag = AeadTag::from_bytes(tag);
    let mut buffer = SecretBytes::copy_of(ciphertext);
    single_shot_open_inout_detached::<AesGcm256, HkdfSha512, XWing>(
        &OpModeR::Base,
        &key.for_hpke(),
        &encapsulated.map_err(|_| DecryptError)?,
        &info(recipient),
        InOutBuf::from(buffer.expose_mut()),
        context,
        &tag.map_err(|_| DecryptError)?,
    )
    .map_err(|_| DecryptError)?;
    Ok(buffer)
}

/// HPKE's info: what the shared secret is for, and whose.
fn info(recipient: Recipient) -> Vec<u8> {
    [
        SEALING_WRAPS,
        &Suite::Committing.id().to_be_bytes(),
        recipient.installation.as_bytes(),
        recipient.key.as_bytes(),
    ]
    .concat()
}

/// The random bytes of one encapsulation, drawn beforehand, since the library's source cannot fail.
struct Drawn {
    bytes: SecretArray<RANDOMNESS_LENGTH>,
    given: usize,
}

impl Drawn {
    fn from(random: &mut dyn Random) -> Result<Self, RandomError> {
        let bytes = SecretArray::fill_with(|bytes| random.fill(bytes))?;
        Ok(Self { bytes, given: 0 })
    }
}

impl TryRng for Drawn {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)
            .map(|()| u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)
            .map(|()| u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        let end = self.given + out.len();
        let next = self.bytes.expose().get(self.given..end);
        // Giving a byte twice would be worse than to stop.
        out.copy_from_slice(next.expect("an encapsulation draws 64 bytes"));
        self.given = end;
        Ok(())
    }
}

impl TryCryptoRng for Drawn {}
