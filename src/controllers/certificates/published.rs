//! What trusts the server, for whoever calls it and may not read Secrets: the plugin of each node mounts it.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ObjectMeta;

use crate::api::names::{AUTHORITY_CONFIG_MAP, AUTHORITY_KEY, LABEL_MANAGED_BY, MANAGED_BY};

/// The `ConfigMap` to write over the one that was seen, or anew; `None` if it holds exactly `bundle`.
pub(super) fn publishing(seen: Option<&ConfigMap>, bundle: &str) -> Option<ConfigMap> {
    let data = [(AUTHORITY_KEY.to_owned(), bundle.to_owned())].into();
    if let Some(seen) = seen
        && seen.data.as_ref() == Some(&data)
        && seen.binary_data.is_none()
    {
        return None;
    }
    let new = || ConfigMap {
        metadata: ObjectMeta {
            name: Some(AUTHORITY_CONFIG_MAP.to_owned()),
            labels: Some([(LABEL_MANAGED_BY.to_owned(), MANAGED_BY.to_owned())].into()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    };
    Some(ConfigMap {
        data: Some(data),
        binary_data: None,
        ..seen.cloned().unwrap_or_else(new)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_written_when_it_is_another_and_only_then() {
        let made = publishing(None, "one").unwrap();
        assert_eq!(made.metadata.name.as_deref(), Some("keystead-ca"));
        assert_eq!(publishing(Some(&made), "one"), None);
        let next = publishing(Some(&made), "two").unwrap();
        assert_eq!(next.data.unwrap()["ca.crt"], "two");

        let mut changed = made.clone();
        changed.metadata.resource_version = Some("7".to_owned());
        changed
            .data
            .get_or_insert_default()
            .insert("more".to_owned(), "x".to_owned());
        let restored = publishing(Some(&changed), "one").unwrap();
        assert_eq!(restored.data, made.data);
        let over = restored.metadata.resource_version.as_deref();
        assert_eq!(over, Some("7"), "over exactly what was seen");
    }
}
