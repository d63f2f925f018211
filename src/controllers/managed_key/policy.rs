//! The policy in force, as the truth has it. Pure.
//!
//! Whoever changes `spec.policy` of a resource needs the right to, which the API server checks. Whoever makes a resource does not;
//! so one that takes a key over does not change its policy. What the API server compares a change with is the resource's own
//! `spec.policy`; so that of such a resource counts for nothing until it has once been the policy in force, and every later
//! change of it was checked against that.

use std::collections::BTreeMap;

use super::observe::Observed;
use crate::api::{KeyPolicy, NamespaceRecord, PolicyRecord};
use crate::controllers::namespace::{NamespaceFacts, accepted_uid};
use crate::policy::{RuleError, check_policy, foreign_namespaces};

/// The namespaces that were looked at; `None`: there is no such namespace, or it is not served.
pub(crate) type Namespaces = BTreeMap<String, Option<NamespaceFacts>>;

/// What of a policy the schema cannot refuse.
pub(crate) fn problem(seen: &Observed) -> Option<RuleError> {
    check_policy(seen.key.spec.policy.as_ref()?).err()
}

/// The record of a key that is made.
pub(crate) fn of_new(seen: &Observed) -> PolicyRecord {
    accepted(seen, &PolicyRecord::default(), seen.key.spec.policy.clone())
}

/// The record as it should be. `adopts`: the resource has not claimed the key before. A policy that cannot be leaves the one
/// before in force.
pub(crate) fn kept(seen: &Observed, record: &PolicyRecord, adopts: bool) -> PolicyRecord {
    let wanted = &seen.key.spec.policy;
    let ignored = wanted != &record.accepted && (adopts || record.ignored);
    if problem(seen).is_some() || ignored {
        let kept = accepted(seen, record, record.accepted.clone());
        return PolicyRecord { ignored, ..kept };
    }
    accepted(seen, record, wanted.clone())
}

/// The namespaces that a look must tell of: those that principals belong to and that are not recorded, and all of them
/// where the key is taken over, since a whole restore may have made them anew.
pub(crate) fn to_look_at(
    policy: Option<&KeyPolicy>,
    own: &str,
    record: Option<&PolicyRecord>,
    adopts: bool,
) -> Vec<String> {
    let mut names = policy.map_or_else(Vec::new, |policy| foreign_namespaces(policy, own));
    // The policy in force may be another one than the resource's.
    let in_force = record.and_then(|record| record.accepted.as_ref());
    names.extend(
        in_force
            .into_iter()
            .flat_map(|policy| foreign_namespaces(policy, own)),
    );
    names.sort_unstable();
    names.dedup();
    if adopts {
        let recorded = record.into_iter().flat_map(|record| &record.namespaces);
        names.extend(recorded.map(|namespace| namespace.name.clone()));
    } else {
        names.retain(|name| record.is_none_or(|record| record.namespace_uid(name).is_none()));
    }
    names
}

/// Whether the resource's policy does not count.
pub(crate) fn is_ignored(record: &PolicyRecord) -> bool {
    record.ignored
}

/// Namespaces of principals that were never there.
pub(crate) fn missing(seen: &Observed, record: &PolicyRecord) -> Vec<String> {
    let own = &seen.key.metadata.namespace;
    let mut names = record.accepted.as_ref().map_or_else(Vec::new, |policy| {
        foreign_namespaces(policy, own.as_deref().unwrap_or_default())
    });
    names.retain(|name| record.namespace_uid(name).is_none());
    names
}

fn accepted(seen: &Observed, before: &PolicyRecord, policy: Option<KeyPolicy>) -> PolicyRecord {
    let own = seen.key.metadata.namespace.as_deref().unwrap_or_default();
    let names = policy
        .as_ref()
        .map_or_else(Vec::new, |policy| foreign_namespaces(policy, own));
    let record = |name: String| {
        let now = seen.namespaces.get(&name).and_then(Option::as_ref);
        let uid = accepted_uid(before.namespace_uid(&name), now)?;
        Some(NamespaceRecord { name, uid })
    };
    PolicyRecord {
        accepted: policy,
        namespaces: names.into_iter().filter_map(record).collect(),
        ignored: false,
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
