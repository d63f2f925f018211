//! Decides what is said of an alias. Pure. An alias makes nothing and changes nothing, so there are no steps.

use k8s_openapi::jiff::Timestamp;

use super::observe::{Aliased, Observed};
use crate::api::condition::{self, NewCondition};
use crate::api::{KeyAliasStatus, Reason};

/// What to say.
pub(super) struct Plan {
    /// The status to publish.
    pub(super) status: KeyAliasStatus,
    /// Its summary.
    pub(super) ready: NewCondition,
}

/// Decides; `None` for an object that is going away.
pub(super) fn plan(seen: &Observed, now: Timestamp) -> Option<Plan> {
    if seen.alias.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let old = seen.alias.status.clone().unwrap_or_default();
    let generation = seen.alias.metadata.generation.unwrap_or_default();
    let ready = ready(seen, &old);
    let mut conditions = old.conditions.clone();
    condition::set(&mut conditions, ready.clone(), generation, now);
    let status = match seen.key.as_ref().filter(|_| ready.status) {
        Some(key) => KeyAliasStatus {
            observed_generation: Some(generation),
            key_id: Some(key.id.clone()),
            key_spec: Some(key.spec),
            key_usage: Some(key.usage),
            conditions,
        },
        // What it stood for stays known: the next key is compared with that.
        None => KeyAliasStatus {
            observed_generation: Some(generation),
            conditions,
            ..old
        },
    };
    Some(Plan { status, ready })
}

fn ready(seen: &Observed, old: &KeyAliasStatus) -> NewCondition {
    let name = &seen.alias.spec.key_ref.name;
    let Some(key) = &seen.key else {
        let message = format!("ManagedKey {name} does not exist or is not ready yet");
        return NewCondition::not_ready(Reason::KeyNotFound, message);
    };
    if let Some(message) = mismatch(name, key, old) {
        return NewCondition::not_ready(Reason::KeyTypeMismatch, message);
    }
    NewCondition::ready(Reason::Resolved, format!("stands for ManagedKey {name}"))
}

/// An alias stands for keys of one spec and usage only: what uses it relies on that. (AWS KMS, `UpdateAlias`.)
fn mismatch(name: &str, key: &Aliased, old: &KeyAliasStatus) -> Option<String> {
    let (Some(spec), Some(usage)) = (old.key_spec, old.key_usage) else {
        return None;
    };
    if (key.spec, key.usage) == (spec, usage) {
        return None;
    }
    Some(format!(
        "ManagedKey {name} is {}, {}, and the alias stood for a key that is {}, {}: point it at a key of the same \
         spec and usage, or delete it and make it anew",
        key.spec.as_str(),
        key.usage.as_str(),
        spec.as_str(),
        usage.as_str(),
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::api::{KeyAlias, KeySpec, KeyUsage};

    fn seen(key: Option<&str>, status: Option<KeyAliasStatus>) -> Observed {
        let mut alias: KeyAlias = serde_json::from_value(json!({
            "apiVersion": "keystead.dev/v1alpha1",
            "kind": "KeyAlias",
            "metadata": {"namespace": "shop", "name": "current", "uid": "u", "generation": 3},
            "spec": {"keyRef": {"name": "orders"}},
        }))
        .unwrap();
        alias.status = status;
        Observed {
            alias: Arc::new(alias),
            key: key.map(|id| Aliased {
                id: id.to_owned(),
                spec: KeySpec::SymmetricDefault,
                usage: KeyUsage::EncryptDecrypt,
            }),
        }
    }

    fn now() -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    #[test]
    fn an_alias_of_a_key_that_is_there_stands_for_it() {
        let plan = plan(&seen(Some("id-1"), None), now()).unwrap();
        assert!(plan.ready.status);
        assert_eq!(plan.status.key_id.as_deref(), Some("id-1"));
        assert_eq!(plan.status.observed_generation, Some(3));
    }

    #[test]
    fn planning_again_changes_nothing() {
        let first = plan(&seen(Some("id-1"), None), now()).unwrap().status;
        let second = plan(&seen(Some("id-1"), Some(first.clone())), now()).unwrap();
        assert_eq!(second.status, first);
    }

    #[test]
    fn a_key_that_is_not_there_is_named_and_what_was_known_stays() {
        let known = plan(&seen(Some("id-1"), None), now()).unwrap().status;
        let plan = plan(&seen(None, Some(known)), now()).unwrap();
        assert_eq!(plan.ready.reason, Reason::KeyNotFound);
        assert!(plan.ready.message.contains("orders"));
        assert_eq!(plan.status.key_id.as_deref(), Some("id-1"));
    }

    #[test]
    fn an_object_that_goes_away_gets_no_status() {
        let mut seen = seen(Some("id-1"), None);
        let mut alias = (*seen.alias).clone();
        alias.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
        seen.alias = Arc::new(alias);
        assert!(plan(&seen, now()).is_none());
    }
}
