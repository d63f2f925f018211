//! Certificate authorities of other secrets of the namespace: read in their own name, and only by a pass on which one of them
//! has to sign. Whoever names one was asked by the API server whether he may read its value.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::super::observe::Observed;
use super::super::truth::other::read_other;
use super::value::needed_authorities;
use crate::api::condition::NewCondition;
use crate::api::{ManagedSecret, Reason};
use crate::controllers::context::Context;
use crate::controllers::error::Error;
use crate::controllers::uses::{Reader, Uses};
use crate::secrets::{Authorities, IssuerRef, Signer};

/// What was found of the authorities that have to sign.
#[derive(Default)]
pub(crate) struct Issuers {
    /// They themselves, or why they cannot.
    pub(crate) authorities: Authorities,
    /// The uses of their secrets' keys that are not in the audit trail yet.
    uses: Vec<Uses>,
}

impl Issuers {
    /// Writes down which were read. To be called before anything that they signed leaves.
    pub(crate) async fn record(&self, ctx: &Context) -> Result<(), Error> {
        for uses in &self.uses {
            uses.record(ctx).await?;
        }
        Ok(())
    }

    /// Writes down which keys refused to open one.
    pub(crate) async fn record_refused(&self, ctx: &Context) {
        for uses in &self.uses {
            uses.record_refused(ctx).await;
        }
    }
}

/// The secrets that a spec names as issuers.
pub(crate) fn names(secret: &ManagedSecret) -> impl Iterator<Item = &str> {
    let certificates = secret.spec.generate.iter();
    let certificates = certificates.filter_map(|entry| entry.certificate.as_ref());
    let issuers = certificates.filter_map(|certificate| certificate.issuer.as_ref());
    issuers.filter_map(|issuer| Some(issuer.secret_ref.as_ref()?.name.as_str()))
}

/// Looks at those that have to sign now.
pub(crate) async fn observe(
    seen: &Observed,
    now: Timestamp,
    ctx: &Context,
) -> Result<Issuers, Error> {
    let mut issuers = Issuers::default();
    if names(&seen.secret).next().is_none() {
        return Ok(issuers);
    }
    for of in needed_authorities(seen, now) {
        let signer = look(seen, &of, now, &mut issuers.uses, ctx).await?;
        issuers.authorities.insert(of, signer);
    }
    Ok(issuers)
}

async fn look(
    seen: &Observed,
    of: &IssuerRef,
    now: Timestamp,
    all: &mut Vec<Uses>,
    ctx: &Context,
) -> Result<Result<Signer, String>, Error> {
    let namespace = seen.secret.namespace().unwrap_or_default();
    let name = &of.secret;
    if *name == seen.secret.name_any() {
        // The schema refuses it before.
        return Ok(Err(
            "it is this very secret; name one of its keys in issuer.key".to_owned(),
        ));
    }
    let reader = Reader::issuer_of(&seen.secret);
    Ok(match read_other(&namespace, name, reader, ctx).await? {
        Ok((value, uses)) => {
            all.push(uses);
            Signer::read(&value, of, now)
        }
        Err(problem) => Err(problem),
    })
}

/// What is said when everything else is as it should be: that a certificate waits to be made anew.
pub(crate) fn ready(seen: &Observed, ready: NewCondition) -> NewCondition {
    let waiting = seen.issuers.authorities.iter();
    let mut waiting = waiting.filter_map(|(of, signer)| Some((of, signer.as_ref().err()?)));
    match waiting.next() {
        None => ready,
        Some((of, problem)) => NewCondition::not_ready(
            Reason::IssuerNotReady,
            format!(
                "a certificate is due, and its issuer, ManagedSecret {}, cannot sign the next one: {problem}. The one that is \
                 delivered stays until then",
                of.secret
            ),
        ),
    }
}

#[cfg(test)]
#[path = "issuers_tests.rs"]
mod tests;
