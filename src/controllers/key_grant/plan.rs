//! Decides whether a grant is in force. Pure.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::observe::{Home, Observed, recorded};
use crate::api::condition::{self, NewCondition};
use crate::api::names::{ANNOTATION_CREATED_BY, DEFAULT_KEY};
use crate::api::{GrantRecord, KeyGrant, KeyGrantStatus, KeyMaterial, KeyMaterialSpec, Reason};
use crate::controllers::key_changes::first_step;
use crate::policy::{Action, Context, KeyRules, Principal, Rbac, Request, decide};

/// How often a grantee's namespace is looked for that is not there: nobody tells when it is made.
const LOOK_FOR_NAMESPACE: SignedDuration = SignedDuration::from_secs(60);
/// Longest name of a creator that is recorded, in characters.
const MAX_CREATOR: usize = 330;

/// What to do, and what to say.
pub(super) struct Plan {
    /// Truth to write over, in exactly the state that it was seen in.
    pub(super) steps: Vec<KeyMaterial>,
    /// The status to publish; `None` for an object that is going away.
    pub(super) status: Option<(KeyGrantStatus, NewCondition)>,
    /// The next instant at which the plan may be another.
    pub(super) next: Option<Timestamp>,
}

/// Decides.
pub(super) fn plan(seen: &Observed, now: Timestamp) -> Plan {
    let ends = seen.grant.spec.expires_at.as_ref().map(|end| end.0);
    let going = seen.grant.metadata.deletion_timestamp.is_some();
    let verdict = judge(seen, now);
    let mut steps: Vec<_> = seen.strays.iter().map(|key| without(seen, key)).collect();
    if let Some(key) = &seen.key {
        let wanted = match &verdict {
            Ok(record) => with(key, record),
            Err(refusal) if refusal.reason == Reason::Expired && !going => expired(seen, key),
            // A key that waits is used by nobody. What was accepted for this very grant stays until it is back, so that it is not
            // accepted anew for another namespace of the grantee's name.
            Err(_) if waits_with(key, &seen.grant) && !going => key.clone(),
            Err(_) => without(seen, key),
        };
        if wanted.spec != key.spec {
            let spec = first_step(&key.spec, &wanted.spec);
            steps.push(KeyMaterial { spec, ..wanted });
        }
    }
    let next = match &verdict {
        Ok(_) => ends,
        Err(refusal) if refusal.reason == Reason::PrincipalNotFound => {
            Some(now + LOOK_FOR_NAMESPACE)
        }
        Err(_) => None,
    };
    let ready = match verdict {
        Ok(_) => granted(seen, ends),
        Err(refusal) => refusal,
    };
    Plan {
        steps,
        status: (!going).then(|| (status(seen, &ready, now), ready)),
        next,
    }
}

/// Whether the key waits, and the grant is recorded with it.
fn waits_with(key: &KeyMaterial, grant: &KeyGrant) -> bool {
    key.spec.parked_since.is_some() && recorded(grant, key).is_some()
}

/// The record of a grant that is in force; otherwise why it is not.
fn judge(seen: &Observed, now: Timestamp) -> Result<GrantRecord, NewCondition> {
    let no = |reason, message: String| NewCondition::not_ready(reason, message);
    if seen.grant.metadata.deletion_timestamp.is_some() {
        return Err(no(Reason::Expired, "the grant is being deleted".to_owned()));
    }
    if seen.in_operator_namespace {
        let message = "grants cannot live in the operator's own namespace; use another";
        return Err(no(Reason::OperatorNamespace, message.to_owned()));
    }
    let end = seen.grant.spec.expires_at.as_ref().map(|end| end.0);
    let recorded_here = seen.key.as_ref().and_then(|key| recorded(&seen.grant, key));
    let is_over = recorded_here.is_some_and(|record| record.expired);
    if let Some(end) = end.filter(|end| is_over || *end <= now) {
        let message = format!("the grant expired at {end} and gives nothing any more; delete it");
        return Err(no(Reason::Expired, message));
    }
    let name = &seen.grant.spec.key_ref.name;
    // A key of a namespace that was deleted, and made anew with this grant in it, is not this grant's.
    let is_own = |key: &&KeyMaterial| {
        let namespace = seen.namespace_uid.as_ref();
        namespace.is_none_or(|uid| *uid == key.spec.namespace_uid)
    };
    let in_use = |key: &&KeyMaterial| key.spec.parked_since.is_none();
    let Some(key) = seen.key.as_ref().filter(in_use).filter(is_own) else {
        let message = format!("ManagedKey {name} does not exist or is not ready yet");
        return Err(no(Reason::KeyNotFound, message));
    };
    if name == DEFAULT_KEY {
        let message =
            format!("{DEFAULT_KEY} is for the secrets of its namespace only: grant another key");
        return Err(no(Reason::GrantNotAllowed, message));
    }
    if let Some(record) = recorded_here {
        return Ok(record.clone());
    }
    let namespace_uid = match &seen.home {
        Home::Nowhere | Home::Recorded => None,
        Home::There(uid) => Some(uid.clone()),
        Home::Missing(namespace) => {
            let message = format!(
                "namespace {namespace} of the grantee does not exist or is not served; the grant gives nothing until it is there"
            );
            return Err(no(Reason::PrincipalNotFound, message));
        }
    };
    let record = record(seen, namespace_uid);
    may_be_given(&record, key, now).map_err(|message| no(Reason::GrantNotAllowed, message))?;
    has_room(&record, key).map_err(|message| no(Reason::LimitExceeded, message))?;
    Ok(record)
}

fn record(seen: &Observed, namespace_uid: Option<String>) -> GrantRecord {
    let spec = &seen.grant.spec;
    let creator = seen.grant.annotations().get(ANNOTATION_CREATED_BY);
    GrantRecord {
        name: seen.grant.name_any(),
        uid: seen.grant.uid().unwrap_or_default(),
        grantee: spec.grantee_principal.clone(),
        namespace_uid,
        retiring: spec.retiring_principal.clone(),
        operations: spec.operations.clone(),
        constraints: spec.constraints.clone(),
        expires_at: spec.expires_at.clone(),
        expired: false,
        created_by: creator
            .filter(|name| (1..=MAX_CREATOR).contains(&name.chars().count()))
            .cloned(),
    }
}

/// Nobody grants what he could not do. What RBAC says of the creator, the API server has checked; what the key's policy
/// says of him, only a name can be compared with.
fn may_be_given(record: &GrantRecord, key: &KeyMaterial, now: Timestamp) -> Result<(), String> {
    let rules = KeyRules::of(&key.spec).map_err(|error| error.to_string())?;
    let mut actions: Vec<_> = record.operations.iter().map(|o| Action::from(*o)).collect();
    actions.push(Action::CreateGrant);
    if rules.delegates_to_rbac() && !rules.denies_any(&actions) {
        return Ok(());
    }
    let Some(creator) = &record.created_by else {
        return Err(format!(
            "the policy of the key does not leave these operations to RBAC alone, so that it must be known who grants them: \
             make the grant anew with the annotation {ANNOTATION_CREATED_BY}: <your user name>"
        ));
    };
    let own = crate::policy::namespace_of_user(creator) == Some(&key.spec.namespace);
    let uid = own.then(|| key.spec.namespace_uid.clone());
    let creator = Principal::user(creator, [], uid).map_err(|error| error.to_string())?;
    if rules.may_deny(&creator, &actions) {
        return Err(format!(
            "{} cannot grant that: a statement denies one of the operations, or CreateGrant, to him, or to a group that may be his",
            creator.name()
        ));
    }
    for action in actions {
        let request = Request {
            principal: &creator,
            action,
            context: &Context::new(),
            via: None,
            now,
        };
        let decision = decide(&request, &rules, Rbac::Allows);
        if !decision.allow {
            let (name, reason) = (creator.name(), decision.reason);
            return Err(format!("{name} cannot grant {action}: {reason}"));
        }
    }
    Ok(())
}

fn has_room(record: &GrantRecord, key: &KeyMaterial) -> Result<(), String> {
    let others = without_name(key, &record.name);
    let most = KeyMaterialSpec::MAX_GRANTS;
    if others.len() >= most {
        return Err(format!(
            "the key has {most} grants already, which is the most: delete some"
        ));
    }
    let size = |grants: &[GrantRecord]| serde_json::to_vec(grants).map_or(usize::MAX, |j| j.len());
    let (size, most) = (
        size(&others).saturating_add(size(std::slice::from_ref(record))),
        KeyMaterialSpec::MAX_GRANT_BYTES,
    );
    if size > most {
        return Err(format!(
            "with this grant all grants of the key would have {size} bytes, more than {most}: delete some, or use smaller constraints"
        ));
    }
    Ok(())
}

fn without_name(key: &KeyMaterial, name: &str) -> Vec<GrantRecord> {
    let others = key.spec.grants.iter().filter(|record| record.name != name);
    others.cloned().collect()
}

fn with(key: &KeyMaterial, record: &GrantRecord) -> KeyMaterial {
    let mut wanted = key.clone();
    wanted.spec.grants = without_name(key, &record.name);
    wanted.spec.grants.push(record.clone());
    wanted.spec.grants.sort_by(|a, b| a.name.cmp(&b.name));
    wanted
}

/// With the mark that it expired, if it was in force: a clock that goes back does not bring it back.
fn expired(seen: &Observed, key: &KeyMaterial) -> KeyMaterial {
    match recorded(&seen.grant, key) {
        Some(record) => with(
            key,
            &GrantRecord {
                expired: true,
                ..record.clone()
            },
        ),
        None => without(seen, key),
    }
}

/// Without this very grant, and without one of its name that was there before it.
fn without(seen: &Observed, key: &KeyMaterial) -> KeyMaterial {
    let mut wanted = key.clone();
    wanted.spec.grants = without_name(key, &seen.grant.name_any());
    wanted
}

fn granted(seen: &Observed, end: Option<Timestamp>) -> NewCondition {
    let (grantee, key) = (
        &seen.grant.spec.grantee_principal,
        &seen.grant.spec.key_ref.name,
    );
    let until = end.map_or_else(String::new, |end| format!(" until {end}"));
    let message = format!("{grantee} may use ManagedKey {key} as granted{until}");
    NewCondition::ready(Reason::Granted, message)
}

fn status(seen: &Observed, ready: &NewCondition, now: Timestamp) -> KeyGrantStatus {
    let old = seen.grant.status.clone().unwrap_or_default();
    let generation = seen.grant.metadata.generation.unwrap_or_default();
    let mut conditions = old.conditions;
    condition::set(&mut conditions, ready.clone(), generation, now);
    KeyGrantStatus {
        observed_generation: Some(generation),
        key_id: match &seen.key {
            Some(key) if ready.status => Some(key.name_any()),
            _ => old.key_id,
        },
        conditions,
    }
}

/// What becomes of a record whose grant is gone.
pub(super) fn forget(key: &mut KeyMaterial, name: &str) {
    key.spec.grants = without_name(key, name);
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
