//! What the metrics show of each key: gathered from memory now and then by the leader.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::context::Context;
use super::parking::Presence;
use crate::api::ManagedKey;
use crate::telemetry::{KeyFacts, Metrics};

/// How often they are gathered.
const EVERY: Duration = Duration::from_secs(15);

/// Gathers for as long as it is polled; then nothing is shown, since another replica shows it.
pub(super) async fn run(ctx: &Context, presence: &Presence<ManagedKey>) {
    let _nothing = Nothing(&ctx.metrics);
    loop {
        ctx.key_uses.retain(|id| ctx.keyring.get(*id).is_some());
        ctx.metrics.keys(gather(ctx, &presence.all()));
        tokio::time::sleep(EVERY).await;
    }
}

fn gather(ctx: &Context, resources: &[Arc<ManagedKey>]) -> Vec<KeyFacts> {
    let next: HashMap<_, _> = resources
        .iter()
        .filter_map(|key| {
            let next = key.status.as_ref()?.next_rotation_time.as_ref()?.0;
            Some((key.uid()?, next))
        })
        .collect();
    let keys = ctx.keyring.all();
    let served = keys.iter().filter(|key| {
        let spec = &key.truth.spec;
        spec.destroyed.is_none() && ctx.scope.contains(&spec.namespace)
    });
    served
        .map(|key| {
            let (spec, uses) = (&key.truth.spec, ctx.key_uses.of(key.id));
            let deletion = spec.deletion.as_ref().map(|record| record.date.0);
            let next = next.get(&spec.object_uid).copied();
            KeyFacts {
                namespace: spec.namespace.clone(),
                name: spec.name.clone(),
                key_id: key.id.to_string(),
                next_rotation: next
                    .filter(|_| deletion.is_none())
                    .map(Timestamp::as_second),
                deletion: deletion.map(Timestamp::as_second),
                last_used: uses.last.map(|(_, time)| time.as_second()),
                refused: uses.refused_count,
            }
        })
        .collect()
}

struct Nothing<'a>(&'a Metrics);

impl Drop for Nothing<'_> {
    fn drop(&mut self) {
        self.0.keys(Vec::new());
    }
}
