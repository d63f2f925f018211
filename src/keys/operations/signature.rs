//! `Sign`, `Verify` and `GetPublicKey`.

use super::error::bounded;
use super::needs::Needs;
use super::{Asked, Call, Gate, MAX_MESSAGE, MAX_SIGNATURE, OperationError, Operations, current};
use crate::api::{KeySpec, KeyUsage};
use crate::crypto::{
    Arn, EncryptionContext, KeyId, Message, SecretKey, SignError, SigningAlgorithm, SigningKey,
};
use crate::keys::{Algorithms, Key};
use crate::policy::Action;

/// `Sign`, and what `Verify` has beside the signature.
#[derive(Clone, Copy)]
pub struct SignRequest<'a> {
    /// The key pair.
    pub key: KeyId,
    /// The message, 1 to 4,096 bytes, or its digest.
    pub message: Message<'a>,
    /// The algorithm.
    pub algorithm: SigningAlgorithm,
}

/// The answer to `Sign`.
#[derive(Debug)]
pub struct Signed {
    /// The signature; of ECDSA the ASN.1 structure.
    pub signature: Vec<u8>,
    /// The key.
    pub key: Arn,
}

/// `Verify`.
#[derive(Clone, Copy)]
pub struct VerifyRequest<'a> {
    /// What was signed, and how.
    pub signed: SignRequest<'a>,
    /// 1 to 6,144 bytes.
    pub signature: &'a [u8],
}

/// The answer to `GetPublicKey`.
#[derive(Debug)]
pub struct PublicKeyAnswer {
    /// The key.
    pub key: Arn,
    /// A `SubjectPublicKeyInfo` in DER (RFC 5280).
    pub public_key: Vec<u8>,
    /// What it is.
    pub spec: KeySpec,
    /// What it is for.
    pub usage: KeyUsage,
    /// The algorithms that it is for.
    pub algorithms: Algorithms,
}

impl<G: Gate> Operations<G> {
    /// Signs a message or its digest.
    pub async fn sign(
        &self,
        call: Call<'_>,
        request: SignRequest<'_>,
    ) -> Result<Signed, OperationError> {
        let none = EncryptionContext::empty();
        let asked = request.asked(call, Action::Sign, &none)?;
        let work = |key: &Key| {
            let pair = signing_key(key)?;
            let signature = pair.sign(request.algorithm, request.message);
            let signature = signature.map_err(|error| refused(key, error))?;
            let key = key.arn.clone();
            Ok(Signed { signature, key })
        };
        self.answer(asked, work).await
    }

    /// Whether a signature is that of the message; if not, that is the error.
    pub async fn verify(
        &self,
        call: Call<'_>,
        request: VerifyRequest<'_>,
    ) -> Result<Arn, OperationError> {
        let VerifyRequest { signed, signature } = request;
        bounded("the signature", signature.len(), 1, MAX_SIGNATURE)?;
        let none = EncryptionContext::empty();
        let asked = signed.asked(call, Action::Verify, &none)?;
        let work = |key: &Key| {
            let pair = signing_key(key)?;
            let verified = pair.verify(signed.algorithm, signed.message, signature);
            if verified.map_err(|error| refused(key, error))? {
                Ok(key.arn.clone())
            } else {
                Err(OperationError::InvalidSignature)
            }
        };
        self.answer(asked, work).await
    }

    /// The public key of a key pair.
    pub async fn get_public_key(
        &self,
        call: Call<'_>,
        key: KeyId,
    ) -> Result<PublicKeyAnswer, OperationError> {
        let asked = Asked {
            call,
            action: Action::GetPublicKey,
            key,
            context: &EncryptionContext::empty(),
            named: true,
            needs: Needs::PublicKey,
        };
        self.answer(asked, described).await
    }
}

fn described(key: &Key) -> Result<PublicKeyAnswer, OperationError> {
    let public_key = current(key)?.public_key();
    let (Some(public_key), Some(kind)) = (public_key, key.kind()) else {
        return Err(OperationError::Unsupported(key.id));
    };
    Ok(PublicKeyAnswer {
        key: key.arn.clone(),
        public_key: public_key.to_vec(),
        spec: key.truth.spec.key_spec,
        usage: key.truth.spec.key_usage,
        algorithms: Algorithms::of(kind),
    })
}

impl SignRequest<'_> {
    fn asked<'a>(
        &self,
        call: Call<'a>,
        action: Action,
        context: &'a EncryptionContext,
    ) -> Result<Asked<'a>, OperationError> {
        let (what, length) = match self.message {
            Message::Raw(message) => (
                "the message, of which a longer one is signed by its digest,",
                message.len(),
            ),
            Message::Digest(digest) => ("the digest", digest.len()),
        };
        bounded(what, length, 1, MAX_MESSAGE)?;
        Ok(Asked {
            call,
            action,
            key: self.key,
            context,
            named: true,
            needs: Needs::Signing(self.algorithm),
        })
    }
}

fn signing_key(key: &Key) -> Result<&SigningKey, OperationError> {
    match current(key)? {
        SecretKey::Signing(pair) => Ok(pair),
        _ => Err(OperationError::InvalidKeyUsage(key.id)),
    }
}

fn refused(key: &Key, error: SignError) -> OperationError {
    match error {
        SignError::Algorithm(_) => OperationError::InvalidKeyUsage(key.id),
        SignError::NoDigest | SignError::DigestLength { .. } => {
            OperationError::Validation(error.to_string())
        }
        SignError::Key(_) | SignError::Random => OperationError::Internal,
    }
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
