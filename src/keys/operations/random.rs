//! `GenerateRandom`. It uses no key, so nobody needs a right to it; it is written down all the same.

use super::error::bounded;
use super::{Call, Gate, OperationError, Operations, Use};
use crate::crypto::{EncryptionContext, OsRandom, Random, SecretBytes};

/// Most random bytes of one call; as in AWS KMS.
pub const MAX_RANDOM: usize = 1024;

impl<G: Gate> Operations<G> {
    /// Random bytes of the operating system's generator, 1 to 1,024.
    pub async fn generate_random(
        &self,
        call: Call<'_>,
        length: usize,
    ) -> Result<SecretBytes, OperationError> {
        bounded("the random byte string", length, 1, MAX_RANDOM)?;
        let asked = Use {
            call,
            action: None,
            key_id: None,
            key: None,
            context: &EncryptionContext::empty(),
        };
        let basis = "nobody needs a right to it".to_owned();
        self.told(&asked, basis, random_bytes(length)).await
    }
}

pub(super) fn random_bytes(length: usize) -> Result<SecretBytes, OperationError> {
    let mut bytes = SecretBytes::zeroed(length);
    let filled = OsRandom.fill(bytes.expose_mut());
    filled.map_err(|_| OperationError::Internal)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Bed;

    #[tokio::test]
    async fn random_bytes_come_in_their_number_and_are_written_down() {
        let bed = Bed::new();
        let operations = bed.operations();
        let one = operations.generate_random(bed.call(), 1024).await.unwrap();
        let two = operations.generate_random(bed.call(), 1024).await.unwrap();
        assert_eq!((one.len(), two.len()), (1024, 1024));
        assert_ne!(one, two);
        assert_eq!(bed.lines(), ["GenerateRandom done", "GenerateRandom done"]);
        for length in [0, 1025] {
            let refused = operations.generate_random(bed.call(), length).await;
            assert_eq!(refused.unwrap_err().name(), "ValidationException");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_written_down_is_not_answered() {
        let bed = Bed::new();
        bed.break_log();
        let refused = bed.operations().generate_random(bed.call(), 1).await;
        assert_eq!(refused.unwrap_err().name(), "KMSInternalException");
    }
}
