//! What an annotation of a pod says of its injection: which references were replaced. For people, for a second look at the same
//! pod while it is admitted, and for the rule that lets an unchanged manifest be applied again. It decides nothing about who may
//! read what, since whoever may update a pod may change it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvFromSource, Pod};
use serde::{Deserialize, Serialize};

use crate::api::names::ANNOTATION_INJECTED;

/// The replaced references of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Record {
    /// The name of each Secret that the pod named, and the `ManagedSecret` behind it.
    #[serde(default)]
    pub(super) secrets: BTreeMap<String, String>,
    /// By container, what was taken out of its `envFrom`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) env_from: BTreeMap<String, Vec<Expanded>>,
}

/// One entry of an `envFrom` that was expanded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Expanded {
    /// The Secret that it named.
    pub(super) name: String,
    /// What its variables began with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) prefix: String,
    /// Whether the container started without the Secret.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) optional: bool,
    /// How many of the entries that stayed came before it: those after it override its variables.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) after: usize,
    /// The variables that it became, by their whole names.
    pub(super) variables: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Expanded {
    /// Whether this is what became of that entry.
    pub(super) fn is_of(&self, source: &EnvFromSource) -> bool {
        let secret = source.secret_ref.as_ref();
        source.config_map_ref.is_none()
            && source.prefix.as_deref().unwrap_or_default() == self.prefix
            && secret.is_some_and(|secret| {
                secret.name == self.name && secret.optional.unwrap_or_default() == self.optional
            })
    }
}

impl Record {
    /// That of a pod; `None` if it has none that can be read.
    pub(super) fn of(pod: &Pod) -> Option<Self> {
        let annotations = pod.metadata.annotations.as_ref()?;
        serde_json::from_str(annotations.get(ANNOTATION_INJECTED)?).ok()
    }

    /// Puts it on a pod.
    pub(super) fn put(&self, pod: &mut Pod) {
        let text = serde_json::to_string(self)
            .expect("texts, booleans and maps of texts can be written as JSON");
        let annotations = &mut pod.metadata.annotations;
        annotations
            .get_or_insert_default()
            .insert(ANNOTATION_INJECTED.to_owned(), text);
    }

    /// What was taken out of the `envFrom` of a container.
    pub(super) fn expanded(&self, container: &Container) -> &[Expanded] {
        let of_container = self.env_from.get(&container.name);
        of_container.map_or(&[], Vec::as_slice)
    }

    /// The `ManagedSecret` behind the name of a Secret that was replaced.
    pub(super) fn managed(&self, name: &str) -> Option<String> {
        self.secrets.get(name).cloned()
    }
}
