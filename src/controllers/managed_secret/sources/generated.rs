//! What the controller does for generators: time to make keys in, and a look when a certificate is due.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::super::plan::Shown;
use super::super::step::Refusal;
use super::super::truth::opened::Truth;
use super::value::refused;
use crate::api::ManagedSecret;
use crate::api::managed_secret::CertificateStatus;
use crate::api::time::as_stored;
use crate::secrets::{
    AssembleError, CertificateFacts, NamedGenerator, Recipe, SecretValue, Stored,
};

/// How long until the next look at a certificate that should have been made anew and was not.
const OVERDUE: Duration = Duration::from_secs(60);

/// The generators of a secret.
pub(super) fn generators(secret: &ManagedSecret) -> Result<Vec<NamedGenerator>, Refusal> {
    let named = secret.spec.generate.iter().map(|spec| {
        NamedGenerator::try_from(spec).map_err(|source| {
            let key = spec.key.clone();
            refused(&AssembleError::Generate { key, source })
        })
    });
    named.collect()
}

/// The current version, with what its derived keys were made with.
pub(crate) fn stored(truth: &Truth) -> Option<Stored<'_>> {
    truth.manifest.current().map(|version| Stored {
        value: &truth.current,
        derivations: &version.derivations,
    })
}

/// Plans a secret. A key of RSA, or the hash of a password, takes up to seconds: what else the thread would do is taken
/// to others meanwhile. Other secrets have only random values, and their plans take no time.
pub(crate) fn with_time<T>(secret: &ManagedSecret, plan: impl FnOnce() -> T) -> T {
    let generate = secret.spec.generate.iter();
    let mut named = generate.filter_map(|spec| NamedGenerator::try_from(spec).ok());
    if named.any(|named| named.is_slow()) {
        tokio::task::block_in_place(plan)
    } else {
        plan()
    }
}

/// The certificates of a value that are generated, as a status tells them.
pub(crate) fn certificates(secret: &ManagedSecret, value: &SecretValue) -> Vec<CertificateStatus> {
    let generate = secret.spec.generate.iter();
    let named = generate.filter_map(|spec| NamedGenerator::try_from(spec).ok());
    let certificate = |named: NamedGenerator| {
        let Recipe::Certificate(policy) = &named.recipe else {
            return None;
        };
        let facts = CertificateFacts::read(value.get(&named.key)?)?;
        Some(CertificateStatus {
            renewal_time: as_stored(policy.renewal(&facts)),
            not_after: as_stored(facts.not_after),
            serial: facts.serial,
            key: named.key,
        })
    };
    named.filter_map(certificate).collect()
}

impl Shown {
    /// How long until the first certificate is due.
    pub(crate) fn until_renewal(&self, now: Timestamp) -> Option<Duration> {
        let due = self.certificates.iter().map(|known| known.renewal_time.0);
        let wait = due.min()?.duration_since(now);
        Some(Duration::try_from(wait).map_or(OVERDUE, |wait| wait.max(Duration::from_secs(1))))
    }
}

#[cfg(test)]
#[path = "generated_tests.rs"]
mod tests;
