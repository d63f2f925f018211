//! The controllers: what the leader does.
//!
//! One folder per kind, each with the same files: `observe` looks, `plan` decides, `apply` does, and `absence`
//! speaks of truth whose resource is gone.

mod adoption;
pub mod backoff;
mod census;
mod certificates;
mod changes;
mod consumers;
mod context;
mod count;
mod crds;
mod creations;
mod error;
mod events;
mod homes;
mod inventory;
mod key_alias;
mod key_changes;
mod key_grant;
mod key_truth;
mod key_uses;
mod managed_key;
mod managed_secret;
mod namespace;
mod parking;
mod references;
mod remote;
pub mod replicas;
mod restore;
mod rollout;
mod root;
mod rotation_schedule;
mod rotations;
mod run;
mod sealing;
mod server_uses;
mod sharing;
mod status;
mod tables;
mod token;
mod uses;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures::future::join_all;
use kube::{Api, Resource};
use tokio::sync::watch;

pub use census::Census;
pub use changes::Changes;
pub use context::{Context, Sealing};
pub use crds::apply as apply_crds;
pub use creations::Creations;
pub use error::{Class, Error};
pub use events::Events;
pub use homes::Homes;
pub use key_uses::KeyUses;
pub use managed_secret::truth::purge::Parked;
pub use namespace::OptedIn;
pub use references::{Reference, References};
pub use remote::{Remotes, Server, ServerError};
pub use restore::Precaution;
pub use rotations::Rotations;
pub use sharing::Sharing;

use self::key_grant::absence::GrantTruths;
use self::managed_key::absence::KeyTruths;
use self::managed_secret::truth::absence::SecretTruths;
use self::parking::Presence;
use crate::installation::watch_approvals;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs all controllers until the leadership says stop; calls `complete` when they have seen everything once.
pub async fn run(ctx: Arc<Context>, complete: impl FnOnce() + Send) {
    restore::look_first(&ctx).await;
    let (keys, key_news) = Presence::new();
    let (secrets, secret_news) = Presence::new();
    let (grants, grant_news) = Presence::new();
    // Aliases and schedules leave no truth behind, so that nobody needs to hear of their absence.
    let (aliases, _) = Presence::new();
    let (schedules, _) = Presence::new();
    let (approved, approvals) = watch::channel(());
    let mut controllers: Vec<Task> = Vec::new();
    for place in ctx.scope.places() {
        let stop = ctx.leadership.stopping();
        let api = api_in(&ctx, place.as_deref());
        controllers.push(Box::pin(managed_key::run(
            ctx.clone(),
            api,
            keys.clone(),
            approvals.clone(),
            stop,
        )));
        let stop = ctx.leadership.stopping();
        let api = api_in(&ctx, place.as_deref());
        controllers.push(Box::pin(key_alias::run(ctx.clone(), api, &aliases, stop)));
        let stop = ctx.leadership.stopping();
        let api = api_in(&ctx, place.as_deref());
        controllers.push(Box::pin(key_grant::run(
            ctx.clone(),
            api,
            grants.clone(),
            stop,
        )));
        let stop = ctx.leadership.stopping();
        let api = api_in(&ctx, place.as_deref());
        let known = (schedules.clone(), secrets.clone());
        controllers.push(Box::pin(rotation_schedule::run(
            ctx.clone(),
            api,
            api_in(&ctx, place.as_deref()),
            known,
            stop,
        )));
        let watches = managed_secret::Watches {
            secrets: api_in(&ctx, place.as_deref()),
            targets: api_in(&ctx, place.as_deref()),
            truth: Api::namespaced(ctx.client.clone(), &ctx.namespace),
            aliases: api_in(&ctx, place.as_deref()),
        };
        let stop = ctx.leadership.stopping();
        controllers.push(Box::pin(managed_secret::run(
            ctx.clone(),
            watches,
            secrets.clone(),
            approvals.clone(),
            stop,
        )));
    }
    let all_seen = async {
        keys.complete().await;
        aliases.complete().await;
        grants.complete().await;
        schedules.complete().await;
        secrets.complete().await;
        complete();
    };
    let beside = Box::pin(async {
        tokio::join!(
            all_seen,
            count::run(&keys, &ctx.metrics),
            count::run(&aliases, &ctx.metrics),
            count::run(&grants, &ctx.metrics),
            count::run(&schedules, &ctx.metrics),
            count::run(&secrets, &ctx.metrics),
            tables::run(&ctx, &keys, &secrets, &schedules),
            consumers::run(&ctx, &secrets),
            managed_key::destruction::run(ctx.clone()),
            managed_key::trimming::run(ctx.clone()),
            managed_secret::truth::purge::run(ctx.clone()),
            root::run(ctx.clone()),
            sealing::run(ctx.clone()),
            restore::run(ctx.clone()),
            certificates::run(ctx.clone()),
            server_uses::run(ctx.clone()),
            changes::run(&ctx, &secrets),
            parking::run::<KeyTruths>(ctx.clone(), keys.clone(), key_news),
            parking::run::<GrantTruths>(ctx.clone(), grants.clone(), grant_news),
            parking::run::<SecretTruths>(ctx.clone(), secrets.clone(), secret_news),
            watch_approvals(ctx.client.clone(), &ctx.namespace, || {
                approved.send_replace(());
            }),
        );
    });
    // The controllers end when told to; the others never do.
    tokio::select! {
        _ = join_all(controllers) => {}
        () = beside => {}
    }
}

fn api_in<K>(ctx: &Context, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        None => Api::all(ctx.client.clone()),
        Some(namespace) => Api::namespaced(ctx.client.clone(), namespace),
    }
}
