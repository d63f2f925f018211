//! The uses of keys by the replicas of the server, which tell of them in their Leases: for `status.lastUsed`, and for the alarm about a key
//! whose deletion is pending.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use tracing::warn;

use super::context::Context;
use super::error::{Error, call};
use super::key_uses::announce_refused_use;
use crate::api::names::{ANNOTATION_KEY_USES, COMPONENT_SERVER, LABEL_COMPONENT};
use crate::crypto::KeyId;
use crate::keys::{RefusedUse, ToldUses, read_told};
use crate::policy::Action;

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Looks for ever.
pub(super) async fn run(ctx: Arc<Context>) {
    let mut known = HashSet::new();
    loop {
        match told(&ctx).await {
            Ok(told) => take_note(told, &mut known, &ctx).await,
            Err(error) => {
                warn!(%error, "what the server tells of uses of keys cannot be read; trying again");
            }
        }
        tokio::time::sleep(ctx.clock.timer(LOOK_EVERY)).await;
    }
}

async fn told(ctx: &Context) -> Result<Vec<(KeyId, ToldUses)>, Error> {
    let leases: Api<Lease> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let selector = format!("{LABEL_COMPONENT}={COMPONENT_SERVER}");
    let params = ListParams::default().labels(&selector);
    let found = call("list", "the server's Leases", leases.list(&params)).await?;
    let told = found
        .items
        .iter()
        .filter_map(|lease| lease.annotations().get(ANNOTATION_KEY_USES));
    Ok(told.flat_map(|told| read_told(told)).collect())
}

/// Takes note of what is new. `known`: the refusals of the last look.
async fn take_note(
    told: Vec<(KeyId, ToldUses)>,
    known: &mut HashSet<(KeyId, RefusedUse)>,
    ctx: &Context,
) {
    let mut seen = HashSet::new();
    for (key, told) in told {
        if let Some((action, time)) = told.used
            && let Some(action) = named(&action)
        {
            ctx.used_elsewhere(key, action, time);
        }
        for refused in told.refused {
            let (user, action) = (refused.user.clone(), named(&refused.action));
            let refusal = (key, refused);
            if !known.contains(&refusal)
                && let Some(action) = action
            {
                announce_refused_use(key, &user, action, ctx).await;
            }
            seen.insert(refusal);
        }
    }
    *known = seen;
}

fn named(name: &str) -> Option<Action> {
    let mut all = Action::ALL.iter();
    all.find(|action| action.name() == name).copied()
}
