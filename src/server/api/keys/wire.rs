//! Parameters and answers of AWS KMS, as its JSON has them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::crypto::{EncryptionContext, SecretBytes};
use crate::keys::operations::EncryptionAlgorithm;
use crate::server::api::error::ApiError;

/// Bytes in base64. They are kept where they are zeroized, since they may be a plaintext.
pub(super) struct Blob(pub(super) SecretBytes);

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text.as_bytes());
        // The library's own text would quote what was sent.
        let bytes = bytes.map_err(|_| serde::de::Error::custom("no base64"))?;
        Ok(Self(SecretBytes::from(bytes)))
    }
}

impl Blob {
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.expose()
    }
}

/// Writes bytes in base64.
pub(super) struct Encoded<'a>(pub(super) &'a [u8]);

impl Serialize for Encoded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.0))
    }
}

/// Pairs of an encryption context.
pub(super) type Pairs = BTreeMap<String, String>;

/// The context that these pairs are. Those of stored secrets are the operator's own.
pub(super) fn context(pairs: Pairs) -> Result<EncryptionContext, ApiError> {
    EncryptionContext::user(pairs)
        .map_err(|error| ApiError::validation(format!("EncryptionContext: {error}")))
}

/// The algorithm of that name; without one that of symmetric keys.
pub(super) fn algorithm(name: Option<&str>) -> Result<EncryptionAlgorithm, ApiError> {
    let Some(name) = name else {
        return Ok(EncryptionAlgorithm::default());
    };
    EncryptionAlgorithm::named(name).ok_or_else(|| {
        ApiError::validation(
            "EncryptionAlgorithm: it is SYMMETRIC_DEFAULT, RSAES_OAEP_SHA_1 or RSAES_OAEP_SHA_256",
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_are_base64_and_what_is_not_is_not_quoted() {
        let blob: Blob = serde_json::from_value(json!("AAEC")).unwrap();
        assert_eq!(blob.bytes(), [0, 1, 2]);
        assert_eq!(json!(Encoded(&[0, 1, 2])), json!("AAEC"));
        let Err(error) = serde_json::from_value::<Blob>(json!("C4N4RY!")) else {
            panic!("it is taken");
        };
        assert!(!error.to_string().contains("C4N4RY"), "{error}");
    }

    #[test]
    fn nobody_states_the_context_of_a_stored_secret() {
        for reserved in ["keystead:secret", "aws-crypto-public-key"] {
            let pairs = Pairs::from([(reserved.to_owned(), "x".to_owned())]);
            assert_eq!(context(pairs).unwrap_err().code, "ValidationException");
        }
        assert!(context(Pairs::from([("team".to_owned(), "a".to_owned())])).is_ok());
        assert_eq!(
            algorithm(Some("AES")).unwrap_err().code,
            "ValidationException"
        );
        assert_eq!(algorithm(None), Ok(EncryptionAlgorithm::Symmetric));
    }
}
