//! `GenerateMac` and `VerifyMac`.

use super::error::bounded;
use super::needs::Needs;
use super::{Asked, Call, Gate, MAX_MESSAGE, MAX_SIGNATURE, OperationError, Operations, current};
use crate::crypto::{Arn, EncryptionContext, KeyId, MacAlgorithm, MacKey, SecretKey};
use crate::keys::Key;
use crate::policy::Action;

/// `GenerateMac`, and what `VerifyMac` has beside the code.
#[derive(Clone, Copy)]
pub struct MacRequest<'a> {
    /// The HMAC key.
    pub key: KeyId,
    /// 1 to 4,096 bytes.
    pub message: &'a [u8],
    /// The algorithm, which is that of the key.
    pub algorithm: MacAlgorithm,
}

/// The answer to `GenerateMac`.
#[derive(Debug)]
pub struct MacAnswer {
    /// The code, in its full length.
    pub mac: Vec<u8>,
    /// The key.
    pub key: Arn,
}

impl<G: Gate> Operations<G> {
    /// The code that authenticates a message.
    pub async fn generate_mac(
        &self,
        call: Call<'_>,
        request: MacRequest<'_>,
    ) -> Result<MacAnswer, OperationError> {
        let none = EncryptionContext::empty();
        let asked = request.asked(call, Action::GenerateMac, &none)?;
        let work = |key: &Key| {
            let mac = mac_key(key)?.generate(request.message);
            let key = key.arn.clone();
            Ok(MacAnswer { mac, key })
        };
        self.answer(asked, work).await
    }

    /// Whether `mac` is the code of the message; if not, that is the error.
    pub async fn verify_mac(
        &self,
        call: Call<'_>,
        request: MacRequest<'_>,
        mac: &[u8],
    ) -> Result<Arn, OperationError> {
        bounded("the MAC", mac.len(), 1, MAX_SIGNATURE)?;
        let none = EncryptionContext::empty();
        let asked = request.asked(call, Action::VerifyMac, &none)?;
        let work = |key: &Key| {
            if mac_key(key)?.verify(request.message, mac) {
                Ok(key.arn.clone())
            } else {
                Err(OperationError::InvalidMac)
            }
        };
        self.answer(asked, work).await
    }
}

impl MacRequest<'_> {
    fn asked<'a>(
        &self,
        call: Call<'a>,
        action: Action,
        context: &'a EncryptionContext,
    ) -> Result<Asked<'a>, OperationError> {
        bounded("the message", self.message.len(), 1, MAX_MESSAGE)?;
        Ok(Asked {
            call,
            action,
            key: self.key,
            context,
            named: true,
            needs: Needs::Mac(self.algorithm),
        })
    }
}

fn mac_key(key: &Key) -> Result<&MacKey, OperationError> {
    match current(key)? {
        SecretKey::Mac(secret) => Ok(secret),
        _ => Err(OperationError::InvalidKeyUsage(key.id)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bed, id};
    use super::*;

    const KEYS: [(u8, &str, MacAlgorithm); 3] = [
        (1, "Hmac256", MacAlgorithm::HmacSha256),
        (2, "Hmac384", MacAlgorithm::HmacSha384),
        (3, "Hmac512", MacAlgorithm::HmacSha512),
    ];

    fn request(key: u8, message: &[u8], algorithm: MacAlgorithm) -> MacRequest<'_> {
        MacRequest {
            key: id(key),
            message,
            algorithm,
        }
    }

    #[tokio::test]
    async fn a_code_verifies_for_its_message_and_key_only() {
        let bed = Bed::new();
        let operations = bed.operations();
        for (key, spec, algorithm) in KEYS {
            bed.key(key, spec, "GenerateVerifyMac");
            bed.key(key + 10, spec, "GenerateVerifyMac");
            let made = operations.generate_mac(bed.call(), request(key, b"hello", algorithm));
            let made = made.await.unwrap();
            assert_eq!(made.mac.len(), algorithm.length());
            let verify = |key, message, mac: Vec<u8>| {
                let (operations, bed) = (&operations, &bed);
                async move {
                    let request = request(key, message, algorithm);
                    let verified = operations.verify_mac(bed.call(), request, &mac).await;
                    verified.map(|arn| arn.key).map_err(|error| error.name())
                }
            };
            assert_eq!(verify(key, b"hello", made.mac.clone()).await, Ok(id(key)));
            let invalid = Err("KMSInvalidMacException");
            assert_eq!(verify(key, b"hallo", made.mac.clone()).await, invalid);
            assert_eq!(verify(key, b"hello", made.mac[1..].to_vec()).await, invalid);
            assert_eq!(verify(key + 10, b"hello", made.mac).await, invalid);
        }
        assert_eq!(bed.lines()[1], "VerifyMac done");
        assert_eq!(bed.lines()[2], "VerifyMac KMSInvalidMacException");
    }

    #[tokio::test]
    async fn another_algorithm_or_key_and_lengths_beyond_the_limits_are_refused() {
        let bed = Bed::new();
        bed.key(1, "Hmac256", "GenerateVerifyMac");
        bed.key(2, "SymmetricDefault", "EncryptDecrypt");
        let refused = |key, length, algorithm, mac| {
            let bed = &bed;
            async move {
                let message = vec![1; length];
                let request = request(key, &message, algorithm);
                let made = bed.operations().generate_mac(bed.call(), request).await;
                let operations = bed.operations();
                let mac = vec![1; mac];
                let verified = operations.verify_mac(bed.call(), request, &mac);
                let verified = verified.await.map(|_| "").map_err(|error| error.name());
                (made.map_err(|error| error.name()).err(), verified.err())
            }
        };
        let (usage, length) = ("InvalidKeyUsageException", "ValidationException");
        let hmac = MacAlgorithm::HmacSha256;
        let both = |name| (Some(name), Some(name));
        assert_eq!(
            refused(1, 1, MacAlgorithm::HmacSha384, 32).await,
            both(usage)
        );
        assert_eq!(refused(2, 1, hmac, 32).await, both(usage));
        assert_eq!(refused(1, 0, hmac, 32).await, both(length));
        assert_eq!(refused(1, 4097, hmac, 32).await, both(length));
        assert_eq!(refused(1, 4096, hmac, 0).await, (None, Some(length)));
        assert_eq!(refused(1, 4096, hmac, 6145).await, (None, Some(length)));
    }
}
