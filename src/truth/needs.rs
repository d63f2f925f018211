//! How much of what is stored needs which key and which of its material, as it is written beside the envelopes.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::ObjectMeta;

use crate::api::names::{ANNOTATION_MATERIALS, LABEL_KEY_ID};
use crate::crypto::{KeyId, MaterialId};

/// The key and the material that envelopes need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The key of the manifest, which is that of all.
    pub key: Option<KeyId>,
    /// The generations of it.
    pub materials: BTreeSet<MaterialId>,
}

/// How much of what is stored needs a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyInUse {
    /// Secrets that are encrypted under it.
    pub secrets: u32,
    /// Those that need a generation of it, by material id.
    pub materials: BTreeMap<String, u32>,
}

impl KeyInUse {
    /// One more secret, which needs these generations.
    pub fn add(&mut self, materials: &BTreeSet<MaterialId>) {
        self.secrets += 1;
        for material in materials {
            *self.materials.entry(material.to_string()).or_default() += 1;
        }
    }

    /// One secret less, which needed these generations.
    pub fn take_away(&mut self, materials: &BTreeSet<MaterialId>) {
        self.secrets = self.secrets.saturating_sub(1);
        for material in materials.iter().map(ToString::to_string) {
            let left = self.materials.get(&material).map_or(0, |count| count - 1);
            if left == 0 {
                self.materials.remove(&material);
            } else {
                self.materials.insert(material, left);
            }
        }
    }
}

impl Needs {
    /// What is written beside the envelopes; `None` where nothing is.
    pub fn read(meta: &ObjectMeta) -> Option<Self> {
        let key = meta.labels.as_ref()?.get(LABEL_KEY_ID)?.parse().ok()?;
        let materials = meta.annotations.as_ref()?.get(ANNOTATION_MATERIALS)?;
        let materials = materials.split(',').map(str::parse);
        Some(Self {
            key: Some(key),
            materials: materials.collect::<Result<_, _>>().ok()?,
        })
    }

    pub(super) fn written(&self) -> String {
        let ids: Vec<_> = self.materials.iter().map(ToString::to_string).collect();
        ids.join(",")
    }
}
