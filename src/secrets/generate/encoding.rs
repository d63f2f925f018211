//! How random bytes are written as text: RFC 4648, in place, in buffers of the right size.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::api::managed_secret::Encoding;
use crate::crypto::SecretBytes;

const HEX: &[u8; 16] = b"0123456789abcdef";
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Writes bytes in a form.
pub(super) fn encode(encoding: Encoding, raw: &[u8]) -> SecretBytes {
    match encoding {
        Encoding::Raw => SecretBytes::copy_of(raw),
        Encoding::Base64 => base64(&STANDARD, raw, raw.len().div_ceil(3) * 4),
        Encoding::Base64Url => base64(&URL_SAFE_NO_PAD, raw, (raw.len() * 4).div_ceil(3)),
        Encoding::Base32 => base32(raw),
        Encoding::Hex => hex(raw),
    }
}

fn base64(engine: &impl Engine, raw: &[u8], length: usize) -> SecretBytes {
    let mut text = SecretBytes::zeroed(length);
    let written = engine
        .encode_slice(raw, text.expose_mut())
        .expect("length is that of the encoding");
    debug_assert_eq!(written, length);
    text
}

fn hex(raw: &[u8]) -> SecretBytes {
    let mut text = SecretBytes::zeroed(raw.len() * 2);
    for (digits, byte) in text.expose_mut().chunks_exact_mut(2).zip(raw) {
        digits[0] = HEX[usize::from(byte >> 4)];
        digits[1] = HEX[usize::from(byte & 0x0f)];
    }
    text
}

fn base32(raw: &[u8]) -> SecretBytes {
    let mut text = SecretBytes::zeroed(raw.len().div_ceil(5) * 8);
    let characters = text.expose_mut().chunks_exact_mut(8);
    for (characters, chunk) in characters.zip(raw.chunks(5)) {
        let mut bits = Zeroizing::new(0_u64);
        for index in 0..5 {
            *bits = (*bits << 8) | u64::from(chunk.get(index).copied().unwrap_or(0));
        }
        // Only the characters that carry a bit of the input are written; the rest is padding.
        let used = (chunk.len() * 8).div_ceil(5);
        for (position, character) in characters.iter_mut().enumerate() {
            let index = (*bits >> (35 - 5 * position)) & 0x1f;
            *character = if position < used {
                BASE32[index as usize]
            } else {
                b'='
            };
        }
    }
    text
}

/// The hexadecimal digit of a number below 16.
pub(super) fn hex_digit(nibble: u8) -> char {
    char::from(HEX[usize::from(nibble & 0x0f)])
}
