//! What a manifest remembers of restarts: what consumers were last given, and who waits to be restarted for it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ContentMark, VersionId, timestamp};
use crate::api::managed_secret::WorkloadKind;
use crate::crypto::{Random, RandomError};
use crate::hex::Hex;
use crate::secrets::SecretValue;

/// The restarts of the consumers of one secret.
///
/// A record without a change is idle: nobody waits. A change goes through three states, each of which is stored: the
/// consumers are looked for (`search`), they wait (`pending`), and those that were restarted are waited for (`rolling`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutRecord {
    /// What consumers get.
    #[serde(flatten)]
    mark: ContentMark,
    /// The last change of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    /// The consumers behind this one are not looked for yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
    /// Those that wait to be restarted, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<Consumer>,
    /// Those that were restarted and are waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling: Option<Rolling>,
    /// What was done for the last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarted: Option<Restarted>,
}

/// A change of what consumers get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Its name, which no other change has: what is written on restarted workloads.
    pub marker: String,
    /// The version that is delivered since.
    pub version: VersionId,
    /// When it was decided.
    #[serde(with = "timestamp")]
    pub time: Timestamp,
}

/// How far the search for consumers is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Search {
    /// The last one that was found, if any was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Consumer>,
}

/// A workload, in one of its lives. In the order of restarts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Consumer {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: String,
    /// Its UID: another workload of that name was made later.
    pub uid: String,
}

/// Workloads that were restarted together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rolling {
    /// Since when they are waited for.
    #[serde(with = "timestamp")]
    pub since: Timestamp,
    /// Those that are not rolled out yet.
    pub consumers: Vec<Consumer>,
}

/// What was done for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restarted {
    /// How many workloads were restarted.
    pub count: u32,
    /// When the last one was.
    #[serde(with = "timestamp")]
    pub time: Timestamp,
}

impl RolloutRecord {
    /// What consumers get now, from which on changes count.
    pub fn begin(content: &SecretValue, random: &mut dyn Random) -> Result<Self, RandomError> {
        Ok(Self {
            mark: ContentMark::of(content, random)?,
            change: None,
            search: None,
            pending: Vec::new(),
            rolling: None,
            restarted: None,
        })
    }

    /// Whether consumers get anything else now.
    pub fn differs(&self, content: &SecretValue) -> bool {
        !self.mark.is_of(content)
    }

    /// The record after a change. Whoever waited for an earlier one waits for this one; what was restarted for the
    /// earlier one is restarted once more.
    pub fn changed(
        &self,
        content: &SecretValue,
        version: VersionId,
        time: Timestamp,
        random: &mut dyn Random,
    ) -> Result<Self, RandomError> {
        let mut unique = [0; 4];
        random.fill(&mut unique)?;
        Ok(Self {
            mark: self.mark.moved_to(content),
            change: Some(Change {
                // The version alone does not tell two templates apart.
                marker: format!("{version}.{}", Hex(&unique)),
                version,
                time,
            }),
            search: Some(Search::default()),
            pending: Vec::new(),
            rolling: None,
            restarted: None,
        })
    }

    /// Whether nobody waits.
    pub fn is_idle(&self) -> bool {
        self.search.is_none() && self.pending.is_empty() && self.rolling.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{OsRandom, SecretBytes};
    use crate::secrets::Manifest;

    fn value(entries: &[(&str, &str)]) -> SecretValue {
        let mut value = SecretValue::new();
        for (key, text) in entries {
            let bytes = SecretBytes::copy_of(text.as_bytes());
            value.insert((*key).to_owned(), bytes).unwrap();
        }
        value
    }

    fn version() -> VersionId {
        VersionId::generate(&mut OsRandom).unwrap()
    }

    #[test]
    fn only_what_consumers_get_is_a_change() {
        let record = RolloutRecord::begin(&value(&[("a", "1")]), &mut OsRandom).unwrap();
        assert!(record.is_idle());
        assert!(!record.differs(&value(&[("a", "1")])));
        for other in [
            &[("a", "2")][..],
            &[("b", "1")],
            &[("a", "1"), ("b", "")],
            &[("a1", "")],
            &[],
        ] {
            assert!(record.differs(&value(other)), "{other:?}");
        }
    }

    #[test]
    fn equal_contents_of_two_secrets_have_different_hashes() {
        let content = value(&[("pin", "1234")]);
        let [one, two] =
            [(); 2].map(|()| RolloutRecord::begin(&content, &mut OsRandom).unwrap().mark);
        assert_ne!(one, two);
    }

    #[test]
    fn a_change_is_looked_for_from_the_beginning_under_a_name_of_its_own() {
        let record = RolloutRecord::begin(&value(&[]), &mut OsRandom).unwrap();
        let id = version();
        let change = |content: &str| {
            let content = value(&[("a", content)]);
            let changed =
                record.changed(&content, id.clone(), Timestamp::UNIX_EPOCH, &mut OsRandom);
            let changed = changed.unwrap();
            assert!(!changed.differs(&content) && !changed.is_idle());
            changed.change.unwrap().marker
        };
        let [one, two] = [change("1"), change("2")];
        assert_ne!(one, two, "although the version is the same");
        assert!(one.starts_with(id.as_str()));
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_forgotten_with_one_change() {
        let mut manifest = Manifest::new();
        assert!(!manifest.set_rollout(None).unwrap());
        let record = RolloutRecord::begin(&value(&[]), &mut OsRandom).unwrap();
        let mut record = record
            .changed(
                &value(&[("a", "b")]),
                version(),
                Timestamp::UNIX_EPOCH,
                &mut OsRandom,
            )
            .unwrap();
        let consumer = Consumer {
            kind: WorkloadKind::StatefulSet,
            name: "db".into(),
            uid: "1".into(),
        };
        record.search = Some(Search {
            after: Some(consumer.clone()),
        });
        record.pending = vec![consumer.clone()];
        record.rolling = Some(Rolling {
            since: Timestamp::UNIX_EPOCH,
            consumers: vec![consumer],
        });
        record.restarted = Some(Restarted {
            count: 1,
            time: Timestamp::UNIX_EPOCH,
        });
        assert!(manifest.set_rollout(Some(record.clone())).unwrap());
        assert!(!manifest.set_rollout(Some(record.clone())).unwrap());
        let json = String::from_utf8(manifest.to_json()).unwrap();
        assert!(json.contains(r#""rollout":{"salt":""#), "{json}");
        let read = Manifest::from_json(json.as_bytes()).unwrap();
        assert_eq!(read.rollout(), Some(&record));
        assert!(manifest.set_rollout(None).unwrap());
        assert!(
            !String::from_utf8(manifest.to_json())
                .unwrap()
                .contains("rollout")
        );
    }
}
