//! A growing byte buffer that leaves no copy behind: `Vec` frees the old allocation as it is when
//! it grows, this one zeroizes it first.

use zeroize::Zeroizing;

use super::value::SecretBytes;

/// The buffer would have become longer than its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// Bytes that are appended to, up to a limit.
pub(super) struct Buffer {
    bytes: SecretBytes,
    limit: usize,
}

impl Buffer {
    /// An empty buffer that refuses to hold more than `limit` bytes.
    pub(super) fn with_limit(limit: usize) -> Self {
        Self {
            bytes: Zeroizing::new(Vec::new()),
            limit,
        }
    }

    /// Appends all of `bytes`, or nothing.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let needed = self.bytes.len().checked_add(bytes.len()).ok_or(Full)?;
        if needed > self.limit {
            return Err(Full);
        }
        if needed > self.bytes.capacity() {
            let capacity = needed.max(self.bytes.capacity() * 2).max(64);
            let mut grown = Zeroizing::new(Vec::with_capacity(capacity));
            grown.extend_from_slice(&self.bytes);
            // The assignment drops the old allocation, which zeroizes it.
            self.bytes = grown;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn into_bytes(self) -> SecretBytes {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_are_concatenated_in_order() {
        let mut buffer = Buffer::with_limit(1_000);
        let mut expected = Vec::new();
        for length in 0..40_u8 {
            let piece = vec![length; usize::from(length)];
            buffer.push(&piece).unwrap();
            expected.extend_from_slice(&piece);
        }
        assert_eq!(*buffer.into_bytes(), expected);
    }

    #[test]
    fn a_push_over_the_limit_changes_nothing() {
        let mut buffer = Buffer::with_limit(4);
        buffer.push(b"abc").unwrap();
        assert_eq!(buffer.push(b"de"), Err(Full));
        buffer.push(b"d").unwrap();
        assert_eq!(&**buffer.into_bytes(), b"abcd");
    }
}
