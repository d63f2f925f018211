//! The footer of a signed message: `length 2 | ECDSA P-384 signature (SHA-384, DER)` over all before it.

use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    bytes::Reader,
    context::{PUBLIC_KEY, Pairs},
    error::{DecryptError, ParseError},
};

/// A compressed point of P-384.
const POINT_LENGTH: usize = 49;
/// The longest DER form of a signature: two integers of up to 49 bytes.
const MAX_SIGNATURE_LENGTH: usize = 104;

/// Reads the footer, which must end the message.
pub(super) fn parse(mut footer: Reader<'_>) -> Result<&[u8], ParseError> {
    let signature = footer.prefixed()?;
    footer.end()?;
    if signature.is_empty() || signature.len() > MAX_SIGNATURE_LENGTH {
        return Err(ParseError::Signature);
    }
    Ok(signature)
}

/// The public key that a signed message names in its context, as text.
pub(super) fn public_key(context: &[u8]) -> Result<&str, ParseError> {
    let mut pairs = Pairs::new(context)?;
    let (_, text) = pairs
        .find(|&(key, _)| key == PUBLIC_KEY)
        .ok_or(ParseError::Signature)?;
    // Longer than the point's base64 is no key; this also bounds the decoder's allocation.
    if text.len() > POINT_LENGTH.div_ceil(3) * 4 {
        Err(ParseError::Signature)
    } else {
        Ok(text)
    }
}

/// Verifies `signature` over `signed`.
pub(super) fn verify(
    public_key: &str,
    signed: &[u8],
    signature: &[u8],
) -> Result<(), DecryptError> {
    let point = STANDARD.decode(public_key).map_err(|_| DecryptError)?;
    if point.len() != POINT_LENGTH {
        return Err(DecryptError);
    }
    UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, point)
        .verify(signed, signature)
        .map_err(|_| DecryptError)
}
