//! Which values pods cannot get as environment variables. Pods are admitted by it, and people see it before a pod asks.

use k8s_openapi::jiff::Timestamp;

use super::super::observe::Observed;
use super::super::spec::form;
use crate::api::condition::{self, NewCondition};
use crate::api::managed_secret::{Form, ManagedSecretStatus, UndeliverableKey};
use crate::api::{ConditionType, Reason};
use crate::inject::env;
use crate::secrets::SecretValue;

/// Most keys that a message names; the status has all.
const MAX_NAMED: usize = 8;

/// Those of what consumers get. From a native Secret in plaintext kubelet takes every value.
pub(crate) fn undeliverable(seen: &Observed, content: &SecretValue) -> Vec<UndeliverableKey> {
    if form(&seen.secret) == Form::Plain {
        return Vec::new();
    }
    let keys = content.iter().filter_map(|(key, value)| {
        Some(UndeliverableKey {
            key: key.to_owned(),
            reason: env::undeliverable(value)?,
        })
    });
    keys.collect()
}

/// Says in the conditions what the status lists.
pub(crate) fn tell(status: &mut ManagedSecretStatus, generation: i64, now: Timestamp) {
    let keys = &status.undeliverable_by_env;
    if keys.is_empty() {
        return condition::remove(&mut status.conditions, ConditionType::EnvDeliverable);
    }
    let named = keys.iter().take(MAX_NAMED);
    let named: Vec<_> = named
        .map(|key| format!("{} ({})", key.key, key.reason))
        .collect();
    let more = match keys.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "cannot be environment variables of pods: {}{more}; mount the secret as a volume, change the values, or set \
         spec.target.form: Plain",
        named.join(", ")
    );
    let condition = NewCondition {
        condition: ConditionType::EnvDeliverable,
        status: false,
        reason: Reason::NotDeliverableByEnv,
        message,
    };
    condition::set(&mut status.conditions, condition, generation, now);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::testing::World;
    use super::*;
    use crate::api::managed_secret::Undeliverable;

    fn status(world: &World) -> &ManagedSecretStatus {
        world.seen.secret.status.as_ref().unwrap()
    }

    fn said(world: &World) -> Option<String> {
        let conditions = &status(world).conditions;
        let condition = condition::find(conditions, ConditionType::EnvDeliverable)?;
        assert_eq!(condition.status, "False");
        Some(condition.message.clone())
    }

    fn spec(salt: &str, form: &str) -> Value {
        json!({"literals": {"salt": salt, "user": "orders"}, "target": {"form": form}})
    }

    #[test]
    fn a_value_that_cannot_be_a_variable_is_told_until_it_changes() {
        let mut world = World::new(&spec("it's", "Sealed"));
        world.settle();
        let expected = "cannot be environment variables of pods: salt (it contains a single quote); mount the secret as a \
                        volume, change the values, or set spec.target.form: Plain";
        assert_eq!(said(&world).as_deref(), Some(expected));
        let listed = &status(&world).undeliverable_by_env;
        assert_eq!(listed.len(), 1);
        assert_eq!(
            (listed[0].key.as_str(), listed[0].reason),
            ("salt", Undeliverable::SingleQuote)
        );
        world.edit(spec("its", "Sealed"));
        world.settle();
        assert_eq!(said(&world), None);
        assert!(status(&world).undeliverable_by_env.is_empty());
    }

    #[test]
    fn what_a_template_makes_of_it_counts() {
        let mut world = World::new(&json!({"literals": {"salt": "it's", "user": "orders"},
            "template": {"data": {"USER": "[[ user ]]", "NOTHING": ""}}}));
        world.settle();
        let listed = &status(&world).undeliverable_by_env;
        assert_eq!(listed.len(), 1);
        assert_eq!(
            (listed[0].key.as_str(), listed[0].reason),
            ("NOTHING", Undeliverable::Empty)
        );
    }

    #[test]
    fn a_plain_secret_gives_every_value_to_kubelet() {
        let mut world = World::new(&spec("it's", "Plain"));
        world.settle();
        assert_eq!(said(&world), None);
    }

    #[test]
    fn many_keys_are_counted() {
        let literals: Value = (0..10)
            .map(|index| (format!("k{index}"), json!("'")))
            .collect();
        let mut world = World::new(&json!({"literals": literals, "target": {"form": "None"}}));
        world.settle();
        assert!(
            said(&world)
                .unwrap()
                .contains("k7 (it contains a single quote) and 2 more; ")
        );
        assert_eq!(status(&world).undeliverable_by_env.len(), 10);
    }
}
