//! What is shown of each key. The only metrics whose labels are names that users chose: their number is bounded, and names are no
//! secret.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Most keys that are shown. A scrape of a thousand keys has some four thousand lines.
const MAX_KEYS: usize = 1000;

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

/// The keys that are shown. Clones are handles of the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    keys: Vec<KeyFacts>,
    omitted: usize,
}

impl Keys {
    /// Shows these in place of those before. Of too many, those with something to warn of are shown first, and of these the ones
    /// whose deletion or rotation is due soonest, or overdue longest.
    pub(super) fn show(&self, mut keys: Vec<KeyFacts>) {
        let omitted = keys.len().saturating_sub(MAX_KEYS);
        if omitted > 0 {
            keys.sort_by_key(|key| {
                let due = key.deletion.or(key.next_rotation).unwrap_or(i64::MAX);
                (key.deletion.is_none(), key.refused == 0, due)
            });
            keys.truncate(MAX_KEYS);
        }
        *self.shown() = Shown { keys, omitted };
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Not `namespace`: scraping puts that of the operator there, and would rename ours.
#[allow(
    clippy::struct_field_names,
    reason = "they are the names of the labels"
)]
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    key_namespace: String,
    key_name: String,
    key_id: String,
}

impl KeyFacts {
    fn labels(&self) -> Labels {
        Labels {
            key_namespace: self.namespace.clone(),
            key_name: self.name.clone(),
            key_id: self.key_id.clone(),
        }
    }
}

type Time = fn(&KeyFacts) -> Option<i64>;

/// The times that are shown.
const TIMES: [(&str, &str, Time); 3] = [
    (
        "keystead_key_next_rotation_timestamp",
        "When a key is rotated next by itself",
        |key| key.next_rotation,
    ),
    (
        "keystead_key_deletion_timestamp",
        "When the pending deletion of a key is due",
        |key| key.deletion,
    ),
    (
        "keystead_key_last_used_timestamp",
        "When a key was last used, as far as this leader knows",
        |key| key.last_used,
    ),
];

impl Collector for Keys {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let shown = self.shown();
        for (name, help, time) in TIMES {
            let mut family =
                encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
            for key in &shown.keys {
                if let Some(time) = time(key) {
                    let gauge = ConstGauge::new(time);
                    gauge.encode(family.encode_family(&key.labels())?)?;
                }
            }
        }
        let name = "keystead_key_refused_while_pending_deletion";
        let help = "Uses of a key that were refused because its deletion is pending";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for key in shown.keys.iter().filter(|key| key.deletion.is_some()) {
            let counter = ConstCounter::new(key.refused);
            counter.encode(family.encode_family(&key.labels())?)?;
        }
        let name = "keystead_key_metrics_omitted";
        let help = "Keys that have no metrics of their own, since there are too many";
        let omitted = ConstGauge::new(i64::try_from(shown.omitted).unwrap_or(i64::MAX));
        omitted.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_keys_those_that_warn_are_shown() {
        let keys = Keys::default();
        let mut many: Vec<_> = (0..MAX_KEYS + 5)
            .map(|number| KeyFacts {
                name: format!("key-{number}"),
                ..KeyFacts::default()
            })
            .collect();
        many[MAX_KEYS + 4].deletion = Some(1);
        keys.show(many);
        let shown = keys.shown();
        assert_eq!((shown.keys.len(), shown.omitted), (MAX_KEYS, 5));
        assert!(shown.keys.iter().any(|key| key.deletion.is_some()));
    }

    #[test]
    fn of_too_many_keys_the_rotations_that_are_overdue_longest_are_shown() {
        let keys = Keys::default();
        let never = (0..MAX_KEYS).map(|_| KeyFacts::default());
        let rotated = (0..10).rev().map(|time| KeyFacts {
            next_rotation: Some(time),
            ..KeyFacts::default()
        });
        keys.show(never.chain(rotated).collect());
        let shown = keys.shown();
        let times: Vec<_> = shown
            .keys
            .iter()
            .map_while(|key| key.next_rotation)
            .collect();
        assert_eq!(times, (0..10).collect::<Vec<_>>());
    }
}
