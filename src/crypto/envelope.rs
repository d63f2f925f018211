//! Envelopes: whole messages of the AWS Encryption SDK's format, version 2.
//!
//! Notation: DK data key (32 random bytes, one message), ID message id (32 random bytes), SUITE its two
//! bytes.
//!
//! ```text
//! commitment = HKDF-SHA-512(DK, salt = ID, info = "COMMITKEY")
//! key        = HKDF-SHA-512(DK, salt = ID, info = SUITE | "DERIVEKEY")
//! ```
//!
//! Both are 32 bytes. Since DK and ID are fresh, the key encrypts one message, and counting nonces from 0 (the
//! header) is safe. For the same reason a header is never rewritten: a second tag under nonce 0 would
//! reveal GCM's authentication key. To re-encrypt, open and seal again.

use subtle::ConstantTimeEq as _;

use super::{
    arn::{Arn, PROVIDER_ID},
    body::{self, Body},
    cipher::{Cipher, NONCE_LENGTH},
    context::EncryptionContext,
    error::{DecryptError, OpenError, SealError},
    footer,
    header::{self, Content, Header, Parsed, WrappedKey},
    ids::{KeyId, MaterialId},
    kdf::{COMMIT_KEY, DERIVE_KEY, Extracted},
    material::{MaterialLookup, WrappingKey},
    random::{Random, public_bytes},
    secret::{SecretArray, SecretBytes},
    suite::Suite,
    wrap,
};

/// Most bytes that [`seal`] takes, and that [`open`] gives by default.
pub const MAX_PLAINTEXT: usize = 1024 * 1024;

/// Bytes a frame; the SDKs' default.
const FRAME_LENGTH: u32 = 4096;
const FRAME_BYTES: usize = FRAME_LENGTH as usize;
/// The header's tag is the only one under nonce 0.
const HEADER_NONCE: [u8; NONCE_LENGTH] = [0; NONCE_LENGTH];
pub(super) const DATA_KEY_LENGTH: usize = 32;

/// What a reader accepts at most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Bytes of plaintext.
    pub max_plaintext: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_plaintext: MAX_PLAINTEXT,
        }
    }
}

/// What an envelope says about itself. Nothing of it is authenticated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EnvelopeInfo {
    /// Our key's ARN, which holds the key's id.
    pub arn: Arn,
    /// The key that wrapped the data key.
    pub key: KeyId,
    /// The generation that wrapped the data key.
    pub material: MaterialId,
    /// The message's random name.
    pub message_id: [u8; 32],
    /// The commitment to the data key.
    pub commitment: [u8; 32],
    /// The algorithm suite.
    pub suite: Suite,
}

/// Encrypts `plaintext` under a fresh data key, which `key` wraps, bound to `context`.
pub fn seal(
    plaintext: &[u8],
    context: &EncryptionContext,
    key: &WrappingKey<'_>,
    random: &mut dyn Random,
) -> Result<Vec<u8>, SealError> {
    seal_with(plaintext, context, random, |data_key, context, random| {
        let ciphertext = wrap::wrap(data_key, context, key, random).map_err(SealError::Random)?;
        Ok(vec![Wrapped {
            provider: PROVIDER_ID,
            info: key.arn.to_string(),
            ciphertext,
        }])
    })
}

/// The data key as one provider has just wrapped it.
pub(super) struct Wrapped {
    pub(super) provider: &'static str,
    pub(super) info: String,
    pub(super) ciphertext: Vec<u8>,
}

/// [`seal`], with the wrapped keys from `wrap`, which gets the data key and the context's canonical form.
pub(super) fn seal_with(
    plaintext: &[u8],
    context: &EncryptionContext,
    random: &mut dyn Random,
    wrap: impl FnOnce(&[u8; DATA_KEY_LENGTH], &[u8], &mut dyn Random) -> Result<Vec<Wrapped>, SealError>,
) -> Result<Vec<u8>, SealError> {
    let (length, limit) = (plaintext.len(), MAX_PLAINTEXT);
    if length > limit {
        return Err(SealError::TooLong { length, limit });
    }
    let data_key: SecretArray<DATA_KEY_LENGTH> =
        SecretArray::fill_with(|bytes| random.fill(bytes)).map_err(SealError::Random)?;
    let message_id = public_bytes(random).map_err(SealError::Random)?;
    let context = context.to_bytes();
    let wrapped = wrap(data_key.expose(), &context, random)?;
    let keys = MessageKeys::derive(data_key.expose(), &message_id, Suite::Committing);
    let header = Header {
        suite: Suite::Committing,
        message_id: &message_id,
        context: &context,
        keys: wrapped.iter().map(Wrapped::as_key).collect(),
        content: Content::Framed(FRAME_LENGTH),
        commitment: &keys.commitment,
    };
    let body_length = body::framed_length(length, FRAME_BYTES);
    let mut out = Vec::with_capacity(header.length() + 16 + body_length);
    header.write(&mut out);
    let tag = keys.cipher.encrypt(&HEADER_NONCE, &out, &[], &mut []);
    out.extend_from_slice(&tag);
    body::encrypt(&keys.cipher, &message_id, FRAME_BYTES, plaintext, &mut out);
    Ok(out)
}

impl Wrapped {
    fn as_key(&self) -> WrappedKey<'_> {
        WrappedKey {
            provider: self.provider.as_bytes(),
            info: self.info.as_bytes(),
            ciphertext: &self.ciphertext,
        }
    }
}

/// Decrypts an envelope that was made with the context `expected`.
///
/// # Guarantees
/// The caller states the context; the message's copy is compared with it and otherwise ignored, except for
/// a signed message's public key, which the wrapped key authenticates. The commitment is compared before
/// anything is decrypted, a signature verified before the body is, and no plaintext leaves before every
/// byte of the message is authenticated.
pub fn open(
    message: &[u8],
    expected: &EncryptionContext,
    keys: &dyn MaterialLookup,
    limits: Limits,
) -> Result<SecretBytes, OpenError> {
    open_with(message, expected, limits, |header, context| {
        let ours = find_ours(header)?;
        let (key, material) = (ours.arn.key, ours.material);
        let found = keys
            .find(key, material)
            .ok_or(OpenError::MaterialMissing { key, material })?;
        if *found.arn != ours.arn {
            return Err(OpenError::NoKey);
        }
        wrap::unwrap(ours.ciphertext, context, &found)
    })
}

/// [`open`], with the data key from `unwrap`, which is called once the context is as expected, with that
/// context's canonical form.
pub(super) fn open_with(
    message: &[u8],
    expected: &EncryptionContext,
    limits: Limits,
    unwrap: impl FnOnce(&Header<'_>, &[u8]) -> Result<SecretBytes, OpenError>,
) -> Result<SecretBytes, OpenError> {
    let mut parsed = header::parse(message).map_err(OpenError::Malformed)?;
    let (context, public_key) = if parsed.header.suite.is_signed() {
        let key = footer::take_public_key(&mut parsed.pairs).map_err(OpenError::Malformed)?;
        (expected.to_bytes_signed(key), Some(key))
    } else {
        (expected.to_bytes(), None)
    };
    if !expected.equals(&parsed.pairs) {
        let key = expected.first_difference(&parsed.pairs).map(str::to_owned);
        return Err(OpenError::ContextMismatch { key });
    }
    let structure = Structure::parse(message, &parsed, public_key, limits)?;
    let data_key = unwrap(&parsed.header, &context)?;
    let data_key = data_key
        .expose()
        .try_into()
        .map_err(|_| OpenError::Decrypt(DecryptError))?;
    structure
        .decrypt(&parsed, data_key)
        .map_err(OpenError::Decrypt)
}

/// Reads who made an envelope, without decrypting it.
pub fn peek(message: &[u8]) -> Result<EnvelopeInfo, OpenError> {
    let Parsed { header, .. } = header::parse(message).map_err(OpenError::Malformed)?;
    let ours = find_ours(&header)?;
    Ok(EnvelopeInfo {
        key: ours.arn.key,
        arn: ours.arn,
        material: ours.material,
        message_id: *header.message_id,
        commitment: *header.commitment,
        suite: header.suite,
    })
}

/// Reads a message's header, if the whole of the message has the form read here.
pub(super) fn parse_whole(message: &[u8], limits: Limits) -> Result<Parsed<'_>, OpenError> {
    let mut parsed = header::parse(message).map_err(OpenError::Malformed)?;
    let public_key = if parsed.header.suite.is_signed() {
        Some(footer::take_public_key(&mut parsed.pairs).map_err(OpenError::Malformed)?)
    } else {
        None
    };
    Structure::parse(message, &parsed, public_key, limits)?;
    Ok(parsed)
}

/// What a data key derives for one message.
struct MessageKeys {
    cipher: Cipher,
    commitment: [u8; 32],
}

impl MessageKeys {
    fn derive(data_key: &[u8; DATA_KEY_LENGTH], message_id: &[u8; 32], suite: Suite) -> Self {
        let extracted = Extracted::new(message_id, data_key);
        let mut commitment = [0; 32];
        extracted.expand(&[COMMIT_KEY], &mut commitment);
        let mut key = zeroize::Zeroizing::new([0; 32]);
        extracted.expand(&[&suite.id().to_be_bytes(), DERIVE_KEY], key.as_mut_slice());
        Self {
            cipher: Cipher::new(&key),
            commitment,
        }
    }
}

/// The wrapped key that Keystead made.
struct Ours<'a> {
    arn: Arn,
    material: MaterialId,
    ciphertext: &'a [u8],
}

impl<'a> Ours<'a> {
    /// Ours if the provider, the ARN and the wrapped key's own format and key id all say so.
    fn recognise(key: &WrappedKey<'a>) -> Option<Self> {
        if key.provider != PROVIDER_ID.as_bytes() {
            return None;
        }
        let arn: Arn = std::str::from_utf8(key.info).ok()?.parse().ok()?;
        let info = wrap::peek_ciphertext(key.ciphertext).ok()?;
        let matches = info.key == arn.key && info.plaintext_length == DATA_KEY_LENGTH;
        matches.then_some(Self {
            arn,
            material: info.material,
            ciphertext: key.ciphertext,
        })
    }
}

fn find_ours<'a>(header: &Header<'a>) -> Result<Ours<'a>, OpenError> {
    let mut ours = header.keys.iter().filter_map(Ours::recognise);
    let first = ours.next().ok_or(OpenError::NoKey)?;
    if ours.next().is_some() {
        Err(OpenError::SeveralKeys)
    } else {
        Ok(first)
    }
}

/// A message's parts after the header, structurally sound.
struct Structure<'a> {
    body: Body<'a>,
    signature: Option<Signature<'a>>,
}

struct Signature<'a> {
    public_key: &'a str,
    signed: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Structure<'a> {
    fn parse(
        message: &'a [u8],
        parsed: &Parsed<'a>,
        public_key: Option<&'a str>,
        limits: Limits,
    ) -> Result<Self, OpenError> {
        let (body, rest) =
            Body::parse(parsed.body, parsed.header.content).map_err(OpenError::Malformed)?;
        let (length, limit) = (body.plaintext_length(), limits.max_plaintext);
        if length > limit {
            return Err(OpenError::TooLong {
                length: length as u64,
                limit,
            });
        }
        let signature = match public_key {
            None => rest.end().map(|()| None),
            Some(public_key) => {
                let signed = &message[..message.len() - rest.remaining()];
                footer::parse(rest).map(|bytes| {
                    Some(Signature {
                        public_key,
                        signed,
                        bytes,
                    })
                })
            }
        };
        Ok(Self {
            body,
            signature: signature.map_err(OpenError::Malformed)?,
        })
    }

    /// Authenticates everything, then gives the plaintext.
    fn decrypt(
        &self,
        parsed: &Parsed<'_>,
        data_key: &[u8; DATA_KEY_LENGTH],
    ) -> Result<SecretBytes, DecryptError> {
        let header = &parsed.header;
        let keys = MessageKeys::derive(data_key, header.message_id, header.suite);
        if !bool::from(keys.commitment.ct_eq(header.commitment)) {
            return Err(DecryptError);
        }
        let authenticated = parsed.authenticated;
        keys.cipher
            .decrypt(&HEADER_NONCE, authenticated, &[], parsed.tag, &mut [])?;
        if let Some(signature) = &self.signature {
            footer::verify(signature.public_key, signature.signed, signature.bytes)?;
        }
        let mut plaintext = SecretBytes::zeroed(self.body.plaintext_length());
        self.body
            .decrypt(&keys.cipher, header.message_id, plaintext.expose_mut())?;
        Ok(plaintext)
    }
}
