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

/// Takes the public key that a signed message names, as text, out of its context.
pub(super) fn take_public_key<'a>(pairs: &mut Pairs<'a>) -> Result<&'a str, ParseError> {
    let text = pairs.remove(PUBLIC_KEY).ok_or(ParseError::Signature)?;
    // Longer than the point's base64 is no key; this also bounds what is allocated for it.
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
