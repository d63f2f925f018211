//! How calls are signed: as [Standard Webhooks] say, so that receivers find a library for it in their language.
//!
//! `webhook-signature: v1,<base64 of HMAC-SHA-256 of "<webhook-id>.<webhook-timestamp>.<body>">`
//!
//! [Standard Webhooks]: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::jiff::Timestamp;

/// Least bytes of a key, and most; as in Standard Webhooks, and four times as many.
pub const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=256;

/// What a receiver is shown to know that a call comes from us, now, and is not another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The header `webhook-id`.
    pub id: String,
    /// The header `webhook-timestamp`: seconds since 1970.
    pub timestamp: String,
    /// The header `webhook-signature`.
    pub signature: String,
}

impl Signature {
    /// Signs a body.
    ///
    /// # Errors
    /// The key is too short or too long, in words.
    pub fn of(key: &[u8], id: String, now: Timestamp, body: &[u8]) -> Result<Self, String> {
        if !KEY_BYTES.contains(&key.len()) {
            return Err(format!(
                "it must have {} to {} bytes, and has {}",
                KEY_BYTES.start(),
                KEY_BYTES.end(),
                key.len()
            ));
        }
        let timestamp = now.as_second().to_string();
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            context.update(part);
        }
        let tag = STANDARD.encode(context.sign());
        Ok(Self {
            id,
            timestamp,
            signature: format!("v1,{tag}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the reference implementations of Standard Webhooks.
    #[test]
    fn a_body_is_signed_as_the_reference_implementations_sign_it() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let now = Timestamp::from_second(1_614_265_330).unwrap();
        let body = br#"{"test": 2432232314}"#;
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned();
        let signed = Signature::of(&key, id, now, body).unwrap();
        assert_eq!(signed.timestamp, "1614265330");
        assert_eq!(
            signed.signature,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn a_key_that_could_be_guessed_signs_nothing() {
        let now = Timestamp::UNIX_EPOCH;
        for length in [0, 23, 257] {
            let refused = Signature::of(&vec![7; length], "id".to_owned(), now, b"");
            assert!(refused.unwrap_err().contains("24 to 256"), "{length}");
        }
    }
}
