//! Memory that holds secrets: wiped when dropped, compared in constant time, shown by nothing.
//!
//! The types are deliberately neither `Clone` nor serialisable, and their `Debug` says `[redacted]`. They
//! keep their bytes on the heap, so moving one moves a pointer and leaves no copy behind.

use std::{fmt, io};

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A secret of fixed length, such as a key.
pub struct SecretArray<const N: usize>(Box<[u8; N]>);

impl<const N: usize> SecretArray<N> {
    /// Makes a secret whose bytes are written in place by `fill`.
    pub fn fill_with<E>(fill: impl FnOnce(&mut [u8; N]) -> Result<(), E>) -> Result<Self, E> {
        let mut secret = Self(Box::new([0; N]));
        fill(&mut secret.0)?;
        Ok(secret)
    }

    /// Copies `bytes`, if they have the right length. The caller still owns, and wipes, the original.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut secret = Self(Box::new([0; N]));
        (bytes.len() == N).then(|| {
            secret.0.copy_from_slice(bytes);
            secret
        })
    }

    /// The secret itself.
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> Drop for SecretArray<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> fmt::Debug for SecretArray<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<const N: usize> PartialEq for SecretArray<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl<const N: usize> Eq for SecretArray<N> {}

/// A secret of any length, such as a plaintext.
///
/// Growing past the capacity copies into a new buffer and wipes the old one, which a plain `Vec` would
/// leave in freed memory.
#[derive(Default)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// An empty secret.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty secret with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// A secret of `length` zero bytes, to be filled in place.
    pub fn zeroed(length: usize) -> Self {
        Self(vec![0; length])
    }

    /// A copy of `bytes`. The caller still owns, and wipes, the original.
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// The secret itself.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The secret itself, to be changed in place.
    pub fn expose_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds `bytes` at the end.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    /// Makes room for `additional` bytes more without leaving a copy behind.
    pub fn reserve(&mut self, additional: usize) {
        let needed = self.0.len().saturating_add(additional);
        if needed > self.0.capacity() {
            let mut larger = Vec::with_capacity(needed.max(self.0.capacity().saturating_mul(2)));
            larger.extend_from_slice(&self.0);
            // The assignment drops the old buffer through `Self`'s own wiping drop.
            *self = Self(larger);
        }
    }
}

impl From<Vec<u8>> for SecretBytes {
    /// Takes the buffer over without copying it.
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<String> for SecretBytes {
    /// Takes the buffer over without copying it.
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl io::Write for SecretBytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        // As slices, which are wiped in bulk; a `Vec` as such is wiped byte by byte, which takes longer than
        // decrypting it did. The spare capacity may hold what a buffer given to us had before it was cut.
        self.0.as_mut_slice().zeroize();
        self.0.spare_capacity_mut().zeroize();
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for SecretBytes {}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn debug_output_shows_no_byte_of_a_secret() {
        let array = SecretArray::<4>::from_slice(b"\x41\x42\x43\x44").unwrap();
        let bytes = SecretBytes::copy_of(b"ABCD");
        assert_eq!(format!("{array:?} {bytes:?}"), "[redacted] [redacted]");
    }

    #[test]
    fn a_fixed_secret_is_made_only_from_its_own_length() {
        assert!(SecretArray::<4>::from_slice(b"abc").is_none());
        assert!(SecretArray::<4>::from_slice(b"abcde").is_none());
        assert_eq!(
            SecretArray::<4>::from_slice(b"abcd").unwrap().expose(),
            b"abcd"
        );
    }

    #[test]
    fn a_growing_secret_keeps_its_content() {
        let mut secret = SecretBytes::new();
        for round in 0..100_u8 {
            secret.write_all(&[round; 7]).unwrap();
        }
        let expected: Vec<u8> = (0..100).flat_map(|round| [round; 7]).collect();
        assert_eq!(secret.expose(), expected);
        assert_eq!(secret.len(), 700);
    }

    #[test]
    fn equality_compares_content_and_length() {
        assert_eq!(SecretBytes::copy_of(b"ab"), SecretBytes::copy_of(b"ab"));
        assert_ne!(SecretBytes::copy_of(b"ab"), SecretBytes::copy_of(b"ac"));
        assert_ne!(SecretBytes::copy_of(b"ab"), SecretBytes::copy_of(b"abc"));
    }
}
