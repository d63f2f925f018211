//! How much of what is stored needs which key and which of its material, as it is written beside the envelopes.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::ObjectMeta;

use crate::api::names::{ANNOTATION_ENTRY_MATERIALS, ANNOTATION_MATERIALS, LABEL_KEY_ID};
use crate::crypto::{KeyId, MaterialId};

/// Generations of keys that are needed.
pub type Materials = BTreeMap<KeyId, BTreeSet<MaterialId>>;

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

/// Everything that truth needs, by what is written beside the envelopes; `None` where nothing is.
pub fn all_needs(meta: &ObjectMeta) -> Option<Materials> {
    let needs = Needs::read(meta)?;
    let mut all = entry_needs(meta);
    all.entry(needs.key?).or_default().extend(needs.materials);
    Some(all)
}

/// What the entries of `spec.sealed` need that were taken. What is not of the form that the operator writes is left out.
pub(super) fn entry_needs(meta: &ObjectMeta) -> Materials {
    let annotations = meta.annotations.as_ref();
    let written = annotations.and_then(|all| all.get(ANNOTATION_ENTRY_MATERIALS));
    let entries = written.map(String::as_str).unwrap_or_default().split(',');
    let mut needs = Materials::new();
    for (key, material) in entries.filter_map(|entry| entry.split_once('/')) {
        if let (Ok(key), Ok(material)) = (key.parse(), material.parse()) {
            needs.entry(key).or_default().insert(material);
        }
    }
    needs
}

/// The text of that annotation; `None` if there are no such entries.
pub(super) fn written_entry_needs(needs: &Materials) -> Option<String> {
    let each = needs.iter().flat_map(|(key, materials)| {
        let entry = move |material| format!("{key}/{material}");
        materials.iter().map(entry)
    });
    let written: Vec<_> = each.collect();
    (!written.is_empty()).then(|| written.join(","))
}
