//! Keeps the server's authority and certificate valid, lets the API server trust them, and publishes what trusts them.
//!
//! Everything is watched by name, so that at rest nothing is asked. Only the leader works here, and each write is refused
//! if somebody else wrote meanwhile.

mod published;
mod trust;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watch_object};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::sleep;
use tracing::{info, warn};

use self::published::publishing;
use self::trust::{Webhooks, trusting};
use super::context::Context;
use super::error::{Error, call};
use crate::api::names::{
    AUTHORITY_CONFIG_MAP, AUTHORITY_SECRET, FIELD_MANAGER, SERVER_SECRET, SERVER_SERVICE, WEBHOOKS,
};
use crate::certificates::{self, Step, Stored, next_look, plan};
use crate::telling::describe_watch;
use crate::watching::WatchPauses;

/// The longest wait between two looks at what is known.
const LONGEST: Duration = Duration::from_secs(3600);
/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(5);

/// Why certificates are not as they should be.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Api(#[from] Error),
    #[error(transparent)]
    Make(#[from] certificates::Error),
}

/// Something that was watched is so now.
enum News {
    Authorities(Option<Secret>),
    Served(Option<Secret>),
    Published(Option<ConfigMap>),
    Validating(Option<ValidatingWebhookConfiguration>),
    Mutating(Option<MutatingWebhookConfiguration>),
}

/// What is there.
#[derive(Default)]
struct Seen {
    stored: Stored,
    published: Option<ConfigMap>,
    validating: Option<ValidatingWebhookConfiguration>,
    mutating: Option<MutatingWebhookConfiguration>,
    /// Whether what we make was looked at: before that, that one is missing means nothing.
    looked: [bool; 3],
}

impl Seen {
    fn take(&mut self, news: News) {
        match news {
            News::Authorities(secret) => {
                self.stored.authorities = secret;
                self.looked[0] = true;
            }
            News::Served(secret) => {
                self.stored.served = secret;
                self.looked[1] = true;
            }
            News::Published(map) => {
                self.published = map;
                self.looked[2] = true;
            }
            News::Validating(webhooks) => self.validating = webhooks,
            News::Mutating(webhooks) => self.mutating = webhooks,
        }
    }
}

/// Runs for ever.
pub(super) async fn run(ctx: Arc<Context>) {
    let keeper = Keeper {
        secrets: Api::namespaced(ctx.client.clone(), &ctx.namespace),
        published: Api::namespaced(ctx.client.clone(), &ctx.namespace),
        validating: Api::all(ctx.client.clone()),
        mutating: Api::all(ctx.client.clone()),
        hosts: hosts(&ctx),
        ctx,
    };
    let mut news = futures::stream::select_all([
        object(
            watch_object(keeper.secrets.clone(), AUTHORITY_SECRET),
            News::Authorities,
        ),
        object(
            watch_object(keeper.secrets.clone(), SERVER_SECRET),
            News::Served,
        ),
        object(
            watch_object(keeper.published.clone(), AUTHORITY_CONFIG_MAP),
            News::Published,
        ),
        object(
            watch_object(keeper.validating.clone(), WEBHOOKS),
            News::Validating,
        ),
        object(
            watch_object(keeper.mutating.clone(), WEBHOOKS),
            News::Mutating,
        ),
    ]);
    let mut seen = Seen::default();
    loop {
        let wait = match keeper.settle(&mut seen).await {
            Ok(wait) => wait,
            Err(error) => {
                warn!(%error, "the server's certificates are not as they should be; trying again");
                RETRY
            }
        };
        tokio::select! {
            Some(news) = news.next() => seen.take(news),
            () = sleep(keeper.ctx.clock.timer(wait)) => {}
        }
    }
}

fn object<K: Send + 'static>(
    stream: impl futures::Stream<Item = Result<Option<K>, watcher::Error>> + Send + 'static,
    news: fn(Option<K>) -> News,
) -> futures::stream::BoxStream<'static, News> {
    let stream = stream.backoff(WatchPauses::default());
    stream
        .filter_map(move |object| {
            let object = object.inspect_err(|error| {
                let error = describe_watch(error);
                warn!(error, "a watch of certificates broke; it is taken up again");
            });
            std::future::ready(object.ok().map(news))
        })
        .boxed()
}

/// The names that the server is reached by: within the cluster, and those that the chart was given.
fn hosts(ctx: &Context) -> BTreeSet<String> {
    let service = [
        SERVER_SERVICE.to_owned(),
        format!("{SERVER_SERVICE}.{}", ctx.namespace),
        format!("{SERVER_SERVICE}.{}.svc", ctx.namespace),
    ];
    service
        .into_iter()
        .chain(ctx.server_names.iter().cloned())
        .collect()
}

struct Keeper {
    ctx: Arc<Context>,
    secrets: Api<Secret>,
    published: Api<ConfigMap>,
    validating: Api<ValidatingWebhookConfiguration>,
    mutating: Api<MutatingWebhookConfiguration>,
    hosts: BTreeSet<String>,
}

impl Keeper {
    /// Does what is due; says how long until something may be due again.
    async fn settle(&self, seen: &mut Seen) -> Result<Duration, Failure> {
        loop {
            if seen.looked != [true; 3] {
                return Ok(LONGEST);
            }
            let stored = &seen.stored;
            let (facts, now) = (stored.facts(), self.ctx.now());
            let step = plan(&facts, &self.hosts, now);
            // An authority is trusted before anything that it signs is shown.
            if step.is_none_or(|step| step == Step::Issue) {
                let bundle = stored.bundle();
                self.trust(&self.validating, &mut seen.validating, &bundle)
                    .await?;
                self.trust(&self.mutating, &mut seen.mutating, &bundle)
                    .await?;
                self.publish(&mut seen.published, &bundle).await?;
            }
            let Some(step) = step else {
                let wait = next_look(&facts, now).map(|next| next.duration_since(now));
                let wait = wait.and_then(|wait| Duration::try_from(wait).ok());
                return Ok(wait.map_or(LONGEST, |wait| wait.min(LONGEST)));
            };
            let secret = seen.stored.after(step, &self.hosts, now)?;
            let written = self.write(&self.secrets, &secret).await?;
            info!(?step, "the server's certificates were renewed");
            match step {
                Step::Issue => seen.stored.served = Some(written),
                _ => seen.stored.authorities = Some(written),
            }
        }
    }

    /// Writes a new object, or over exactly the one that was seen.
    async fn write<K>(&self, api: &Api<K>, object: &K) -> Result<K, Error>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
    {
        self.ctx.check_leadership()?;
        let name = object.name_any();
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let what = format!("{} {name}", K::kind(&()));
        if object.meta().resource_version.is_some() {
            call("replace", what, api.replace(&name, &params, object)).await
        } else {
            call("create", what, api.create(&params, object)).await
        }
    }

    /// Lets the API server trust `bundle`, if there are webhooks of that kind and they do not say so yet.
    async fn trust<K: Webhooks>(
        &self,
        api: &Api<K>,
        seen: &mut Option<K>,
        bundle: &[u8],
    ) -> Result<(), Error> {
        let Some(webhooks) = seen else {
            return Ok(());
        };
        let Some(patch) = trusting(webhooks, bundle) else {
            return Ok(());
        };
        self.ctx.check_leadership()?;
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let kind = K::kind(&());
        let patch = Patch::Strategic(patch);
        let patched = api.patch(WEBHOOKS, &params, &patch);
        *webhooks = call("patch", format!("{kind} {WEBHOOKS}"), patched).await?;
        info!(%kind, "the API server trusts the server's authority");
        Ok(())
    }

    /// Publishes what trusts the server, if what is published is another.
    async fn publish(&self, seen: &mut Option<ConfigMap>, bundle: &[u8]) -> Result<(), Error> {
        // PEM, which we wrote ourselves.
        let bundle = String::from_utf8_lossy(bundle);
        if let Some(map) = publishing(seen.as_ref(), &bundle) {
            *seen = Some(self.write(&self.published, &map).await?);
            info!("what trusts the server's authority is published");
        }
        Ok(())
    }
}
