//! Certificate authorities of other secrets of the namespace: read in their own name, and only by a pass on which one of them
//! has to sign. Whoever names one was asked by the API server whether he may read its value.

use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt};

use super::super::observe::Observed;
use super::super::spec::user_of;
use super::super::truth::opened::open_stored;
use super::value::needed_authorities;
use crate::api::condition::NewCondition;
use crate::api::{ManagedSecret, Reason};
use crate::controllers::context::Context;
use crate::controllers::error::{Error, call};
use crate::controllers::uses::{KeyAccess, Reader, Uses};
use crate::secrets::{Authorities, IssuerRef, Signer};
use crate::truth::Stored;

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
    let truth = format!("truth of {namespace}/{name}");
    let stored = call("get", truth, ctx.sealed.get(&namespace, name)).await?;
    let api: Api<ManagedSecret> = Api::namespaced(ctx.client.clone(), &namespace);
    let object = format!("ManagedSecret {namespace}/{name}");
    let found = call("get", object, api.get_opt(name)).await?;
    let (found, stored) = match claimed(found, stored) {
        Ok(both) => both,
        Err(problem) => return Ok(Err(problem.to_owned())),
    };
    let uses = Uses::of_other(&found, Reader::issuer_of(&seen.secret));
    let user = user_of(&found, Some(&stored.claim.namespace_uid), now);
    let opened = open_stored(&stored, &KeyAccess::new(user, &uses, ctx));
    all.push(uses);
    let Ok((_, value)) = opened else {
        let problem = "its stored value cannot be opened now; its own condition says why";
        return Ok(Err(problem.to_owned()));
    };
    Ok(Signer::read(&value, of, now))
}

/// A secret with the truth that is its own.
fn claimed(
    found: Option<ManagedSecret>,
    stored: Option<Result<Stored, String>>,
) -> Result<(ManagedSecret, Stored), &'static str> {
    let found = found.ok_or("it does not exist; apply it")?;
    let Some(Ok(stored)) = stored else {
        return Err("nothing is stored of it yet; its own condition says why");
    };
    let own = found.metadata.uid.as_ref() == Some(&stored.claim.object_uid);
    if own && stored.parked_since.is_none() {
        return Ok((found, stored));
    }
    Err("it was made anew and has not taken its stored value over yet; its own condition says why")
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
