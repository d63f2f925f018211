//! What everybody may know of the installation: a `ConfigMap` in `kube-public` with the public keys, found without knowing the
//! operator's namespace or the name of its release.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use serde::Serialize;
use tracing::{info, warn};

use crate::api::names::{FIELD_MANAGER, LABEL_MANAGED_BY, MANAGED_BY, PUBLIC, PUBLIC_NAMESPACE};
use crate::controllers::context::Context;
use crate::controllers::error::{Error, call};
use crate::keys::PublishedKey;

/// One public key in the `ConfigMap`.
#[derive(Serialize)]
struct Entry {
    id: String,
    created: String,
    active: bool,
    key: String,
}

/// What the `ConfigMap` says. `keys`: newest first, which is the one to seal with.
pub(super) fn content(
    installation: &str,
    namespace: &str,
    keys: &[PublishedKey],
) -> BTreeMap<String, String> {
    let entry = |(place, published): (usize, &PublishedKey)| Entry {
        id: published.key.id().to_string(),
        created: published.created.to_string(),
        active: place == 0,
        key: published.key.to_string(),
    };
    let entries: Vec<_> = keys.iter().enumerate().map(entry).collect();
    let keys = serde_json::to_string(&entries).expect("structs of texts are JSON");
    BTreeMap::from([
        ("installationId".to_owned(), installation.to_owned()),
        ("operatorNamespace".to_owned(), namespace.to_owned()),
        ("sealingKeys".to_owned(), keys),
    ])
}

/// What becomes of what is there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Repair {
    /// It is as it should be.
    None,
    /// It is written, in the place of nothing or of what was ours.
    Write,
    /// Somebody else has an object of that name.
    Foreign,
}

/// Compares.
pub(super) fn repair(there: Option<&ConfigMap>, wanted: &BTreeMap<String, String>) -> Repair {
    let Some(there) = there else {
        return Repair::Write;
    };
    let labels = there.metadata.labels.as_ref();
    let labelled = labels.and_then(|labels| labels.get(LABEL_MANAGED_BY));
    if labelled.map(String::as_str) != Some(MANAGED_BY) {
        return Repair::Foreign;
    }
    if there.data.as_ref() == Some(wanted) {
        Repair::None
    } else {
        Repair::Write
    }
}

/// Writes it if it is not as it should be.
pub(super) async fn publish(keys: &[PublishedKey], ctx: &Context) -> Result<(), Error> {
    let maps: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), PUBLIC_NAMESPACE);
    let object = format!("ConfigMap {PUBLIC_NAMESPACE}/{PUBLIC}");
    let there = call("get", &object, maps.get_opt(PUBLIC)).await?;
    let wanted = content(&ctx.installation.id.to_string(), &ctx.namespace, keys);
    match repair(there.as_ref(), &wanted) {
        Repair::None => return Ok(()),
        Repair::Foreign => {
            warn!(
                object,
                "is not the operator's: the sealing keys are not published"
            );
            return Ok(());
        }
        Repair::Write => {}
    }
    ctx.check_leadership()?;
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let map = |metadata| ConfigMap {
        metadata,
        data: Some(wanted.clone()),
        ..ConfigMap::default()
    };
    if let Some(there) = there {
        let map = map(there.metadata);
        call("replace", &object, maps.replace(PUBLIC, &params, &map)).await?;
    } else {
        let map = map(ObjectMeta {
            name: Some(PUBLIC.to_owned()),
            labels: Some([(LABEL_MANAGED_BY.to_owned(), MANAGED_BY.to_owned())].into()),
            ..ObjectMeta::default()
        });
        call("create", &object, maps.create(&params, &map)).await?;
    }
    info!(keys = keys.len(), "the sealing keys were published");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_repaired_if_it_is_ours_and_left_alone_if_it_is_not() {
        let wanted = content("1", "system", &[]);
        let map = |label: &str, data: &BTreeMap<String, String>| ConfigMap {
            metadata: ObjectMeta {
                labels: Some([(LABEL_MANAGED_BY.to_owned(), label.to_owned())].into()),
                ..ObjectMeta::default()
            },
            data: Some(data.clone()),
            ..ConfigMap::default()
        };
        assert_eq!(repair(None, &wanted), Repair::Write);
        let same = map(MANAGED_BY, &wanted);
        assert_eq!(repair(Some(&same), &wanted), Repair::None);
        let other = map(MANAGED_BY, &BTreeMap::new());
        assert_eq!(repair(Some(&other), &wanted), Repair::Write);
        let foreign = map("helm", &wanted);
        assert_eq!(repair(Some(&foreign), &wanted), Repair::Foreign);
        assert_eq!(
            repair(Some(&ConfigMap::default()), &wanted),
            Repair::Foreign
        );
    }
}
