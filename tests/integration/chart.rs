//! The chart on a control plane: rights, and installations that come and go.

mod lifecycle;
mod rights;

use std::collections::BTreeMap;

use keystead::api::{ManagedKey, ManagedSecret};
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use crate::support::{Bed, Operator, eventually};

/// The charts's folder.
fn folder() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/charts/keystead").to_owned()
}

/// Waits until an operator has looked at so many secrets.
async fn has_looked_at(operator: &Operator, secrets: u64) {
    eventually("the operator has looked at every secret", || async {
        let Some((200, metrics)) = operator.http("/metrics").await else {
            return false;
        };
        let looks = metrics
            .lines()
            .filter(|line| line.starts_with("keystead_reconciles_total{kind=\"ManagedSecret\""))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum::<u64>();
        looks >= secrets
    })
    .await;
}

/// The UIDs of all keys and secrets of a namespace, by kind and name.
async fn resources(bed: &Bed, namespace: &str) -> BTreeMap<String, String> {
    let keys: Api<ManagedKey> = Api::namespaced(bed.client.clone(), namespace);
    let secrets: Api<ManagedSecret> = Api::namespaced(bed.client.clone(), namespace);
    let all = ListParams::default();
    let keys = keys.list(&all).await.unwrap().items;
    let secrets = secrets.list(&all).await.unwrap().items;
    let keys = keys
        .into_iter()
        .map(|key| (format!("key {}", key.name_any()), key.uid().unwrap()));
    let secrets = secrets.into_iter().map(|secret| {
        (
            format!("secret {}", secret.name_any()),
            secret.uid().unwrap(),
        )
    });
    keys.chain(secrets).collect()
}
