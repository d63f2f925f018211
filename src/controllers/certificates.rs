//! Keeps the server's authority and certificate valid, and lets the API server trust them.
//!
//! Everything is watched by name, so that at rest nothing is asked. Only the leader works here, and each write is refused
//! if somebody else wrote meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watch_object};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::time::sleep;
use tracing::{info, warn};

use super::context::Context;
use super::error::{Error, call};
use crate::api::names::{AUTHORITY_SECRET, FIELD_MANAGER, SERVER_SECRET, SERVER_SERVICE, WEBHOOKS};
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
    Webhooks(Option<ValidatingWebhookConfiguration>),
}

/// What is there.
#[derive(Default)]
struct Seen {
    stored: Stored,
    webhooks: Option<ValidatingWebhookConfiguration>,
    /// Whether both Secrets were looked at: before that, that one is missing means nothing.
    looked: [bool; 2],
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
            News::Webhooks(webhooks) => self.webhooks = webhooks,
        }
    }
}

/// Runs for ever.
pub(super) async fn run(ctx: Arc<Context>) {
    let keeper = Keeper {
        secrets: Api::namespaced(ctx.client.clone(), &ctx.namespace),
        webhooks: Api::all(ctx.client.clone()),
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
            watch_object(keeper.webhooks.clone(), WEBHOOKS),
            News::Webhooks,
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
    webhooks: Api<ValidatingWebhookConfiguration>,
    hosts: BTreeSet<String>,
}

impl Keeper {
    /// Does what is due; says how long until something may be due again.
    async fn settle(&self, seen: &mut Seen) -> Result<Duration, Failure> {
        loop {
            if seen.looked != [true, true] {
                return Ok(LONGEST);
            }
            let stored = &seen.stored;
            let (facts, now) = (stored.facts(), self.ctx.now());
            let step = plan(&facts, &self.hosts, now);
            // An authority is trusted before anything that it signs is shown.
            if step.is_none_or(|step| step == Step::Issue) {
                let bundle = stored.bundle();
                self.trust(&mut seen.webhooks, &bundle).await?;
            }
            let Some(step) = step else {
                let wait = next_look(&facts, now).map(|next| next.duration_since(now));
                let wait = wait.and_then(|wait| Duration::try_from(wait).ok());
                return Ok(wait.map_or(LONGEST, |wait| wait.min(LONGEST)));
            };
            let written = self
                .write(seen.stored.after(step, &self.hosts, now)?)
                .await?;
            info!(?step, "the server's certificates were renewed");
            match step {
                Step::Issue => seen.stored.served = Some(written),
                _ => seen.stored.authorities = Some(written),
            }
        }
    }

    /// Writes a new Secret, or over exactly the one that was seen.
    async fn write(&self, secret: Secret) -> Result<Secret, Error> {
        self.ctx.check_leadership()?;
        let name = secret.name_any();
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let object = format!("Secret {name}");
        if secret.metadata.resource_version.is_some() {
            call(
                "replace",
                object,
                self.secrets.replace(&name, &params, &secret),
            )
            .await
        } else {
            call("create", object, self.secrets.create(&params, &secret)).await
        }
    }

    /// Lets the API server trust `bundle`, if there are webhooks and they do not say so yet.
    async fn trust(
        &self,
        seen: &mut Option<ValidatingWebhookConfiguration>,
        bundle: &[u8],
    ) -> Result<(), Error> {
        let Some(webhooks) = seen else {
            return Ok(());
        };
        let distrusting = distrusting(webhooks, bundle);
        if distrusting.is_empty() {
            return Ok(());
        }
        self.ctx.check_leadership()?;
        let bundle = BASE64.encode(bundle);
        let trusting = |name| json!({"name": name, "clientConfig": {"caBundle": bundle}});
        let patch = json!({"webhooks": distrusting.into_iter().map(trusting).collect::<Vec<_>>()});
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let object = format!("ValidatingWebhookConfiguration {WEBHOOKS}");
        let patch = Patch::Strategic(patch);
        let patched = call(
            "patch",
            object,
            self.webhooks.patch(WEBHOOKS, &params, &patch),
        )
        .await?;
        info!("the API server trusts the server's authority");
        *webhooks = patched;
        Ok(())
    }
}

/// The webhooks that do not trust exactly `bundle`, by name.
fn distrusting(webhooks: &ValidatingWebhookConfiguration, bundle: &[u8]) -> Vec<String> {
    let webhooks = webhooks.webhooks.iter().flatten();
    let trusts = |given: Option<&ByteString>| given.is_some_and(|given| given.0 == bundle);
    webhooks
        .filter(|webhook| !trusts(webhook.client_config.ca_bundle.as_ref()))
        .map(|webhook| webhook.name.clone())
        .collect()
}
