//! Who may read a secret by a call of the API: its policy and its consumers in force, as the truth has them. Pure but for the look at
//! namespaces.
//!
//! Whoever writes `spec.policy` or `spec.consumers` needs the right to, which the API server checks, also when the resource is made.
//! Whoever makes a resource without them does not; so one that takes a secret over leaves in force what was.

use std::collections::BTreeMap;

use kube::ResourceExt;

use super::super::observe::Observed;
use super::super::truth::base::Base;
use crate::api::condition::NewCondition;
use crate::api::{ManagedSecret, NamespaceRecord, Reason};
use crate::controllers::context::Context;
use crate::controllers::error::Error;
use crate::controllers::namespace::{NamespaceFacts, accepted_uid, find_namespace};
use crate::policy::{AccessRecord, RuleError, check_secret_policy, foreign_namespaces_of_secret};
use crate::secrets::{Manifest, ManifestError};

/// The namespaces that were looked at; `None`: there is no such namespace, or it is not served.
pub(crate) type Namespaces = BTreeMap<String, Option<NamespaceFacts>>;

/// Said of a secret whose resource was made anew without a policy.
const IGNORED: &str = "spec has neither policy nor consumers, but those that were in force before this resource took the secret over still \
                       are: write what shall be, or write one and take it out again";

/// What of the policy the schema cannot refuse.
fn problem(secret: &ManagedSecret) -> Option<RuleError> {
    check_secret_policy(secret.spec.policy.as_ref()?).err()
}

/// Writes down who may read it.
pub(crate) fn record(
    seen: &Observed,
    base: &Base<'_>,
    manifest: &mut Manifest,
) -> Result<(), ManifestError> {
    let before = manifest.access();
    let adopts = base
        .truth()
        .is_some_and(|truth| truth.stored.claim.object_uid != base.claim(seen).object_uid);
    let access = kept(seen, before, adopts);
    manifest.record_access(access).map(drop)
}

/// The record as it should be. `adopts`: the resource has not claimed the secret before.
fn kept(seen: &Observed, before: &AccessRecord, adopts: bool) -> AccessRecord {
    let spec = &seen.secret.spec;
    let says_nothing = spec.policy.is_none() && spec.consumers.is_none();
    let was_something = before.policy.is_some() || before.consumers.is_some();
    let ignored = says_nothing && was_something && (adopts || before.ignored);
    let (policy, consumers) = if ignored || problem(&seen.secret).is_some() {
        (before.policy.clone(), before.consumers.clone())
    } else {
        (spec.policy.clone(), spec.consumers.clone())
    };
    let own = seen.secret.namespace().unwrap_or_default();
    let names = policy.as_ref().map_or_else(Vec::new, |policy| {
        foreign_namespaces_of_secret(policy, &own)
    });
    let record = |name: String| {
        let now = seen.readers.get(&name).and_then(Option::as_ref);
        let uid = accepted_uid(before.namespace_uid(&name), now)?;
        Some(NamespaceRecord { name, uid })
    };
    AccessRecord {
        policy,
        consumers,
        namespaces: names.into_iter().filter_map(record).collect(),
        ignored,
    }
}

/// Looks at the namespaces of principals that are not remembered yet; and at all of them where the secret is taken over, since a whole
/// restore may have made them anew.
pub(crate) async fn look(seen: &mut Observed, ctx: &Context) -> Result<(), Error> {
    let names = to_look_at(seen);
    for name in names {
        let facts = find_namespace(&name, ctx).await?;
        seen.readers.insert(name, facts);
    }
    Ok(())
}

fn to_look_at(seen: &Observed) -> Vec<String> {
    let own = seen.secret.namespace().unwrap_or_default();
    let record = seen.truth.manifest().map(Manifest::access);
    let in_force = record.and_then(|record| record.policy.as_ref());
    let policies = seen.secret.spec.policy.iter().chain(in_force);
    let mut names: Vec<_> = policies
        .flat_map(|policy| foreign_namespaces_of_secret(policy, &own))
        .collect();
    names.sort_unstable();
    names.dedup();
    let adopts = seen.namespace.is_some();
    names.retain(|name| adopts || record.is_none_or(|record| record.namespace_uid(name).is_none()));
    names
}

/// What is said when everything else is as it should be.
pub(crate) fn ready(seen: &Observed, ready: NewCondition) -> NewCondition {
    match problem(&seen.secret) {
        Some(problem) if ready.status => {
            let message = format!("{problem}. The policy before stays in force");
            NewCondition::not_ready(Reason::InvalidSpec, message)
        }
        _ => ready,
    }
}

/// What is to be known about who may read it.
pub(crate) fn note(seen: &Observed, record: &AccessRecord) -> Option<String> {
    if record.ignored {
        return Some(IGNORED.to_owned());
    }
    let own = seen.secret.namespace().unwrap_or_default();
    let policy = record.policy.as_ref()?;
    let mut missing = foreign_namespaces_of_secret(policy, &own);
    missing.retain(|name| record.namespace_uid(name).is_none());
    (!missing.is_empty()).then(|| {
        format!(
            "spec.policy speaks of namespaces that are not there or not served, and gives them nothing yet: {}",
            missing.join(", ")
        )
    })
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
