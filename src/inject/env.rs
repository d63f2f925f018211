//! Which values can travel as an environment variable, and the file that one travels in. Decided in one place: by the
//! controller when a value is stored, by the webhook when a pod asks for it, and by the copier when the pod starts.
//!
//! kubelet reads a variable (`fileKeyRef`) from a file of lines `NAME='value'`. Nothing is escaped in it, so a value is either
//! taken byte for byte or does not fit.

use zeroize::Zeroizing;

pub use crate::api::managed_secret::{MAX_VARIABLE as MAX_VALUE, Undeliverable};

/// The name that a value has in its file. Every value has a file of its own, so that one name does for all.
pub const FILE_KEY: &str = "value";

/// Most bytes of a file with one value: the name, `=`, two quotes and the end of the line.
pub const MAX_FILE: usize = MAX_VALUE + FILE_KEY.len() + 4;

/// Why this value cannot travel as an environment variable; `None` if it can.
pub fn undeliverable(value: &[u8]) -> Option<Undeliverable> {
    if value.is_empty() {
        return Some(Undeliverable::Empty);
    }
    if value.len() > MAX_VALUE {
        return Some(Undeliverable::TooLong);
    }
    if value.contains(&0) {
        return Some(Undeliverable::Nul);
    }
    if value.contains(&b'\'') {
        return Some(Undeliverable::SingleQuote);
    }
    if value.windows(2).any(|pair| pair == b"\r\n") {
        return Some(Undeliverable::CarriageReturn);
    }
    std::str::from_utf8(value)
        .is_err()
        .then_some(Undeliverable::NotText)
}

/// The file that gives kubelet this value.
///
/// # Errors
/// The value cannot travel so.
pub fn file(value: &[u8]) -> Result<Zeroizing<Vec<u8>>, Undeliverable> {
    if let Some(reason) = undeliverable(value) {
        return Err(reason);
    }
    // All of it at once: a buffer that grows would leave copies of the value behind.
    let mut file = Zeroizing::new(Vec::with_capacity(value.len() + FILE_KEY.len() + 4));
    file.extend_from_slice(FILE_KEY.as_bytes());
    file.extend_from_slice(b"='");
    file.extend_from_slice(value);
    file.extend_from_slice(b"'\n");
    Ok(file)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_cannot_travel_is_told_apart() {
        let long = vec![b'a'; MAX_VALUE + 1];
        for (value, expected) in [
            (&b""[..], Some(Undeliverable::Empty)),
            (b"it's", Some(Undeliverable::SingleQuote)),
            (b"a\r\nb", Some(Undeliverable::CarriageReturn)),
            (b"a\0b", Some(Undeliverable::Nul)),
            (b"\xfe\xed", Some(Undeliverable::NotText)),
            (&long, Some(Undeliverable::TooLong)),
            (&long[1..], None),
            (b" a\rb\nc\\d$(E)\"f#g=\t\n", None),
            ("pässwörd \u{1f511}".as_bytes(), None),
            (b"\r", None),
            (b"\n", None),
        ] {
            assert_eq!(undeliverable(value), expected, "{value:?}");
        }
    }

    #[test]
    fn the_longest_value_fits_into_a_line_that_kubelet_reads() {
        assert_eq!(file(&vec![b'a'; MAX_VALUE]).unwrap().len(), MAX_FILE);
        const { assert!(MAX_FILE < 65_536) };
    }

    /// What kubelet makes of such a file: its parser (pkg/kubelet/util/env of Kubernetes 1.36), in few words.
    fn read_by_kubelet(file: &[u8], key: &str) -> Option<Vec<u8>> {
        let mut lines = Vec::new();
        for line in file.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            assert!(line.len() < 65_536, "the scanner has no room");
            lines.push(line.strip_suffix(b"\r").unwrap_or(line));
        }
        let text = lines.join(&b'\n');
        let rest = text.strip_prefix(format!("{key}='").as_bytes())?;
        let end = rest.iter().position(|byte| *byte == b'\'')?;
        let after = &rest[end + 1..];
        assert!(after.is_empty(), "unexpected content after closing quote");
        Some(rest[..end].to_vec())
    }

    proptest! {
        #[test]
        fn every_value_arrives_byte_for_byte_or_is_refused(
            value in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..64),
                "[a'\r\n \t=#$\\\\\"\u{e4}]{0,12}".prop_map(String::into_bytes),
            ]
        ) {
            if let Ok(file) = file(&value) {
                prop_assert_eq!(read_by_kubelet(&file, FILE_KEY), Some(value));
            }
        }
    }
}
