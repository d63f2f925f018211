//! What is shown of each key.

use std::cmp::Reverse;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use super::table::{Facts, Shows, Table};

/// What is shown of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFacts {
    /// Namespace of the `ManagedKey`.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The key id: a name may be that of a key and of others that wait for their end.
    pub key_id: String,
    /// When it is rotated next by itself, in seconds since 1970.
    pub next_rotation: Option<i64>,
    /// When its deletion is due, in seconds since 1970.
    pub deletion: Option<i64>,
    /// When it was last used, in seconds since 1970; by this leader, as far as it knows.
    pub last_used: Option<i64>,
    /// How many uses were refused because its deletion is pending.
    pub refused: u64,
}

#[allow(
    clippy::struct_field_names,
    reason = "they are the names of the labels"
)]
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Labels {
    key_namespace: String,
    key_name: String,
    key_id: String,
}

impl Facts for KeyFacts {
    type Labels = Labels;
    /// Those with something to warn of, and of these the ones whose deletion or rotation is due soonest, or overdue longest.
    type Urgency = (Reverse<bool>, Reverse<bool>, i64);

    const GAUGES: &'static [Shows<Self>] = &[
        Shows::time(
            "keystead_key_next_rotation_timestamp",
            "When a key is rotated next by itself",
            |key| key.next_rotation,
        ),
        Shows::time(
            "keystead_key_deletion_timestamp",
            "When the pending deletion of a key is due",
            |key| key.deletion,
        ),
        Shows::time(
            "keystead_key_last_used_timestamp",
            "When a key was last used, as far as this leader knows",
            |key| key.last_used,
        ),
    ];
    const OMITTED: (&'static str, &'static str) = (
        "keystead_key_metrics_omitted",
        "Keys that have no metrics of their own, since there are too many",
    );

    fn labels(&self) -> Labels {
        Labels {
            key_namespace: self.namespace.clone(),
            key_name: self.name.clone(),
            key_id: self.key_id.clone(),
        }
    }

    fn urgency(&self) -> Self::Urgency {
        let due = self.deletion.or(self.next_rotation).unwrap_or(i64::MAX);
        (
            Reverse(self.deletion.is_some()),
            Reverse(self.refused > 0),
            due,
        )
    }
}

/// The keys that are shown, and how often those whose deletion is pending were refused.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys(pub(super) Table<KeyFacts>);

impl Collector for Keys {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let name = "keystead_key_refused_while_pending_deletion";
        let help = "Uses of a key that were refused because its deletion is pending";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        let shown = self.0.shown();
        for key in shown.rows.iter().filter(|key| key.deletion.is_some()) {
            let counter = ConstCounter::new(key.refused);
            counter.encode(family.encode_family(&key.labels())?)?;
        }
        drop(shown);
        self.0.encode(encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::MAX_SHOWN;
    use super::*;

    #[test]
    fn of_too_many_keys_those_that_warn_are_shown() {
        let keys = Keys::default();
        let mut many: Vec<_> = (0..MAX_SHOWN + 5)
            .map(|number| KeyFacts {
                name: format!("key-{number}"),
                ..KeyFacts::default()
            })
            .collect();
        many[MAX_SHOWN + 4].deletion = Some(1);
        keys.0.show(many);
        let shown = keys.0.shown();
        assert_eq!((shown.rows.len(), shown.omitted), (MAX_SHOWN, 5));
        assert!(shown.rows.iter().any(|key| key.deletion.is_some()));
    }

    #[test]
    fn of_too_many_keys_the_rotations_that_are_overdue_longest_are_shown() {
        let keys = Keys::default();
        let never = (0..MAX_SHOWN).map(|_| KeyFacts::default());
        let rotated = (0..10).rev().map(|time| KeyFacts {
            next_rotation: Some(time),
            ..KeyFacts::default()
        });
        keys.0.show(never.chain(rotated).collect());
        let shown = keys.0.shown();
        let times: Vec<_> = shown
            .rows
            .iter()
            .map_while(|key| key.next_rotation)
            .collect();
        assert_eq!(times, (0..10).collect::<Vec<_>>());
    }
}
