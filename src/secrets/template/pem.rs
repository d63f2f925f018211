//! PEM (RFC 7468): bytes under a label, and the blocks of a label.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::MAX_OUTPUT;
use super::filters::FilterError;
use crate::crypto::SecretBytes;
use crate::secrets::buffer::Buffer;

/// Bytes of one line, which has 64 characters.
const LINE: usize = 48;
/// Longest label: there is none of that length.
const MAX_LABEL: usize = 64;

/// Whether that can be a label: words of capitals and digits.
pub(super) fn is_label(text: &str) -> bool {
    let word = |word: &str| {
        let mut bytes = word.bytes();
        !word.is_empty() && bytes.all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    };
    text.len() <= MAX_LABEL && text.split(' ').all(word)
}

/// Bytes, under a label.
pub(super) fn wrap(label: &str, bytes: &[u8]) -> Result<SecretBytes, FilterError> {
    let mut text = Buffer::with_limit(MAX_OUTPUT);
    let mut line = Zeroizing::new([0_u8; 64]);
    text.push(format!("-----BEGIN {label}-----\n").as_bytes())?;
    for piece in bytes.chunks(LINE) {
        let written = STANDARD
            .encode_slice(piece, line.as_mut_slice())
            .expect("48 bytes are 64 characters");
        text.push(&line[..written])?;
        text.push(b"\n")?;
    }
    text.push(format!("-----END {label}-----\n").as_bytes())?;
    Ok(text.into_bytes())
}

/// The blocks of a label, in their order, and nothing else. No other block may begin within one, since that would go out as a
/// part of it.
pub(super) fn filter(label: &str, text: &str) -> Result<SecretBytes, FilterError> {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let mut found = Buffer::with_limit(MAX_OUTPUT);
    let (mut inside, mut any) = (false, false);
    for line in text.lines().map(str::trim_end) {
        if inside && line.starts_with("-----BEGIN ") {
            return Err(FilterError::NoPem);
        }
        inside |= line == begin;
        if inside {
            found.push(line.as_bytes())?;
            found.push(b"\n")?;
        }
        if inside && line == end {
            (inside, any) = (false, true);
        }
    }
    if inside || !any {
        return Err(FilterError::NoPem);
    }
    Ok(found.into_bytes())
}
