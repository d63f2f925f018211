//! The native Secret in which the value of a source waits for replicas in other clusters: its name, what is written on it, and what its
//! envelope is bound to. Both sides read this page.

use std::collections::BTreeMap;

use crate::api::names::{
    ANNOTATION_OBJECT_UID, ANNOTATION_SEQUENCE, ANNOTATION_VERSION, REPLICA_SUFFIX,
};
use crate::crypto::{ContextError, EncryptionContext, Purpose};
use crate::secrets::VersionId;

/// The entry that holds the envelope.
pub(super) const ENTRY: &str = "envelope";

/// The Secret of a source.
pub(crate) fn name_of(source: &str) -> String {
    format!("{source}{REPLICA_SUFFIX}")
}

/// What such a Secret holds. Not secret: in its annotations, where a reader finds it, and in the context of the envelope, which opens
/// with no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exported {
    /// UID of the source.
    pub(crate) uid: String,
    /// The version.
    pub(crate) version: VersionId,
    /// The sequence number of the source's manifest when it was sealed.
    pub(crate) sequence: u64,
}

impl Exported {
    pub(crate) fn annotations(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (ANNOTATION_OBJECT_UID.to_owned(), self.uid.clone()),
            (ANNOTATION_VERSION.to_owned(), self.version.to_string()),
            (ANNOTATION_SEQUENCE.to_owned(), self.sequence.to_string()),
        ])
    }

    /// What the annotations say; `None` if they say nothing that can be so.
    pub(crate) fn read(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let uid = annotations.get(ANNOTATION_OBJECT_UID)?;
        // As long as that of any object.
        (1..=128).contains(&uid.len()).then_some(Self {
            uid: uid.clone(),
            version: annotations.get(ANNOTATION_VERSION)?.parse().ok()?,
            sequence: annotations.get(ANNOTATION_SEQUENCE)?.parse().ok()?,
        })
    }

    /// What the envelope of that source is bound to.
    pub(crate) fn context(
        &self,
        namespace: &str,
        secret: &str,
    ) -> Result<EncryptionContext, ContextError> {
        Purpose::Replica {
            namespace,
            secret,
            version: self.version.as_str(),
            sequence: &self.sequence.to_string(),
            uid: &self.uid,
        }
        .context(&EncryptionContext::empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_less() {
        let exported = Exported {
            uid: "u1".to_owned(),
            version: "00000000-0000-4000-8000-000000000001".parse().unwrap(),
            sequence: 7,
        };
        let annotations = exported.annotations();
        assert_eq!(Exported::read(&annotations), Some(exported));
        for key in annotations.keys() {
            let mut without = annotations.clone();
            without.remove(key);
            assert_eq!(Exported::read(&without), None, "{key}");
            let mut other = annotations.clone();
            other.insert(key.clone(), String::new());
            assert_eq!(Exported::read(&other), None, "{key}");
        }
    }
}
