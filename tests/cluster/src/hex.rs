//! Digests as parts of names.

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter();
    digits.fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}
