//! `keystead controller`: the operator.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::jiff::SignedDuration;
use kube::Client;
use kube::runtime::events::Reporter;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tracing::{error, info, warn};

use super::log_args::LogArgs;
use super::process::{client, stop_signal, stopped};
use super::root_args::RootArgs;
use super::trail::{self, TrailArgs};
use crate::api::names::LEASE;
use crate::audit::Trail;
use crate::clock::process_clock;
use crate::controllers::{self, Context, Precaution, Server};
use crate::crypto::{OsRandom, Region};
use crate::installation::{Bootstrap, Follower, Installation, Records, Suspicion};
use crate::keys::{KeyChanged, Keyring, Loader};
use crate::leader::{self, Leadership};
use crate::roots::Providers;
use crate::secrets::generate;
use crate::telemetry::{self, Component, Metrics, Readiness};
use crate::truth::{KeyMaterials, SealedSecrets};
use crate::watching::Scope;

/// How long to wait before the installation is looked for again.
const RETRY_BOOTSTRAP: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The namespace that the operator runs in and keeps its truth in.
    #[arg(long, env = "POD_NAMESPACE")]
    operator_namespace: String,
    /// A name of this replica that no other has; the pod's name.
    #[arg(long, env = "POD_NAME")]
    identity: String,
    /// The namespaces to serve, separated by commas; empty means all.
    #[arg(long, env = "KEYSTEAD_WATCH_NAMESPACES", value_delimiter = ',')]
    watch_namespaces: Vec<String>,
    #[command(flatten)]
    root: RootArgs,
    /// The region in the ARNs of a new installation's keys. Fixed for life.
    #[arg(long, env = "KEYSTEAD_REGION", default_value = "ks-local-1")]
    region: Region,
    /// Put the guard's label on the operator's namespace when the installation is made.
    #[arg(long, env = "KEYSTEAD_GUARD_NAMESPACE")]
    guard_namespace: bool,
    /// Where health and metrics are served.
    #[arg(long, env = "KEYSTEAD_HTTP_ADDRESS", default_value = "0.0.0.0:8080")]
    http_address: SocketAddr,
    #[command(flatten)]
    log: LogArgs,
    /// How many objects of one kind are reconciled at once.
    #[arg(long, env = "KEYSTEAD_CONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// How many stored secrets are encrypted anew in each second after their key was rotated.
    #[arg(long, env = "KEYSTEAD_REENCRYPT_PER_SECOND", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    reencrypt_per_second: u16,
    /// After how many days in which nothing stored needed it old material of `keystead-default` is removed: 30 to 3650, or
    /// 0 for never.
    #[arg(long, env = "KEYSTEAD_TRIM_AFTER_DAYS", default_value_t = 0, value_parser = trim_days)]
    trim_after_days: u16,
    /// After how many days another sealing key is made, beside the older ones: 30 to 3650, or 0 for never.
    #[arg(long, env = "KEYSTEAD_SEALING_ROTATE_DAYS", default_value_t = 365, value_parser = trim_days)]
    sealing_rotate_days: u16,
    /// Do not publish the public sealing keys in `ConfigMap` kube-public/keystead.
    #[arg(long, env = "KEYSTEAD_SEALING_UNPUBLISHED")]
    sealing_unpublished: bool,
    /// An API server of another cluster that replicas may follow sources in: `https://HOST` or `https://HOST:PORT`. May be given several
    /// times; without it there is none.
    #[arg(long, value_name = "URL")]
    replication_cluster: Vec<Server>,
    /// How many seconds until a source in another cluster is asked for again.
    #[arg(long, env = "KEYSTEAD_REPLICATION_POLL_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(10..=86_400))]
    replication_poll_seconds: u32,
    #[command(flatten)]
    delivery: DeliveryArgs,
    /// Further DNS names of the server's certificate, separated by commas.
    #[arg(long, env = "KEYSTEAD_SERVER_NAMES", value_delimiter = ',')]
    server_names: Vec<String>,
    #[command(flatten)]
    trail: TrailArgs,
}

/// What there is beside the controllers that gives pods values.
#[derive(Clone, Copy, Debug, clap::Args)]
struct DeliveryArgs {
    /// Namespaces can opt in to injection: the server's webhooks are asked about their pods.
    #[arg(long, env = "KEYSTEAD_INJECTION")]
    injection: bool,
    /// There is a node plugin: which versions of secrets pods have is counted, and told in the status of each secret.
    #[arg(long, env = "KEYSTEAD_NODE_PLUGIN")]
    node_plugin: bool,
}

/// 0, or 30 to 3650.
fn trim_days(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(days @ (0 | 30..=3650)) => Ok(days),
        _ => Err("30 to 3650 days, or 0 to keep all old material".to_owned()),
    }
}

fn trim_after(days: u16) -> Option<SignedDuration> {
    (days > 0).then(|| SignedDuration::from_hours(24 * i64::from(days)))
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    args.log.init()?;
    let client = client().await?;
    let stop = stop_signal()?;
    let (readiness, metrics) = (Readiness::new(), Metrics::new());
    let listener = TcpListener::bind(args.http_address)
        .await
        .with_context(|| format!("cannot listen on {}", args.http_address))?;
    let http = telemetry::serve(
        listener,
        readiness.clone(),
        metrics.clone(),
        stopped(stop.clone()),
    );
    let http = tokio::spawn(http);
    let operator = Operator {
        args,
        client,
        readiness,
        metrics,
        stop,
    };
    Box::pin(operator.run()).await?;
    http.await.context("the health listener failed")
}

/// Why serving ended.
enum Served {
    /// The process was asked to stop.
    UntilStopped,
    /// The cluster was restored from a backup: caches and the keyring speak of what is no longer there.
    UntilRestored(leader::WentBack),
}

struct Operator {
    args: Args,
    client: Client,
    readiness: Readiness,
    metrics: Metrics,
    stop: watch::Receiver<bool>,
}

impl Operator {
    async fn run(self) -> anyhow::Result<()> {
        let found = self.readiness.component("installation");
        let loaded = self.readiness.component("keyring");
        loaded.not_ready("key material is not loaded yet");
        let audit = self.readiness.component("audit");
        let stop = self.stop.clone();
        let mut suspected = None;
        let mut trail = None;
        loop {
            let installation = tokio::select! {
                () = stopped(stop.clone()) => return Ok(()),
                installation = self.installation(&found) => installation,
            };
            if let Some(cause) = suspected.take() {
                self.remember(cause).await;
            }
            let trail = trail.get_or_insert_with(|| self.trail(&installation, &audit));
            match Box::pin(self.serve(installation, trail, &loaded)).await? {
                Served::UntilStopped => return Ok(()),
                Served::UntilRestored(went_back) => {
                    warn!(%went_back, "forgetting everything and starting over");
                    suspected = Some(Suspicion::WentBack);
                    loaded.not_ready("the cluster was restored; key material is loaded anew");
                }
            }
        }
    }

    /// Starts the audit trail of this process.
    fn trail(&self, installation: &Installation, component: &Component) -> Trail {
        self.args.trail.start(trail::Start {
            replica: &self.args.identity,
            installation: installation.id.to_string(),
            clock: &process_clock(),
            metrics: self.metrics.clone(),
            component: component.clone(),
        })
    }

    /// Finds or makes the installation. What is missing is named, in the log and by `/readyz`, and waited for.
    async fn installation(&self, component: &Component) -> Installation {
        let namespace = &self.args.operator_namespace;
        let roots = Providers::new(&self.args.root.config(), self.client.clone(), namespace);
        component.not_ready("the installation is not known yet");
        // The kinds must be there before their objects can be looked for.
        controllers::apply_crds(self.client.clone()).await;
        loop {
            let bootstrap = Bootstrap {
                client: self.client.clone(),
                namespace,
                roots: roots.clone(),
                region: self.args.region.clone(),
                guard_namespace: self.args.guard_namespace,
            };
            match bootstrap.run().await {
                Ok(installation) => {
                    info!(id = %installation.id, root = %installation.roots.current_fingerprint(), "installation found");
                    component.ready();
                    return installation;
                }
                Err(problem) => {
                    let problem = format!("{:#}", anyhow::Error::new(problem));
                    error!(problem, "not working yet; trying again");
                    component.not_ready(problem);
                }
            }
            tokio::time::sleep(RETRY_BOOTSTRAP).await;
        }
    }

    /// Writes down that a restore is suspected, before anything is done that could hide it.
    async fn remember(&self, cause: Suspicion) {
        let precaution = self.precaution();
        let written = async {
            while let Err(error) = precaution.suspect(cause).await {
                warn!(%error, "the suspected restore could not be written down; it is tried again");
                tokio::time::sleep(RETRY_BOOTSTRAP).await;
            }
        };
        tokio::select! {
            () = written => {}
            () = stopped(self.stop.clone()) => {}
        }
    }

    fn precaution(&self) -> Precaution {
        let (client, namespace) = (self.client.clone(), &self.args.operator_namespace);
        Precaution {
            records: Records::new(client.clone(), namespace),
            materials: KeyMaterials::new(client.clone(), namespace),
            sealed: SealedSecrets::new(client, namespace),
            clock: process_clock(),
        }
    }

    /// Serves until the process is asked to stop, or until everything that is held in memory may be wrong.
    async fn serve(
        &self,
        installation: Installation,
        trail: &Trail,
        loaded: &Component,
    ) -> anyhow::Result<Served> {
        let installation = Arc::new(installation);
        let keyring = Arc::new(Keyring::default());
        let loader = Loader::new(
            keyring.clone(),
            installation.id,
            installation.roots.clone(),
            self.metrics.clone(),
        );
        let key_changes = loader.changes();
        let (complete, is_complete) = watch::channel(false);
        let namespace = self.args.operator_namespace.clone();
        let loading = loader.run(self.client.clone(), &namespace, || {
            info!("keyring loaded");
            loaded.ready();
            complete.send_replace(true);
        });
        let (changed, record_changes) = watch::channel(());
        let follower = Follower {
            client: self.client.clone(),
            namespace: namespace.clone(),
            roots: installation.roots.clone(),
            hold: installation.hold.clone(),
            identity: self.args.identity.clone(),
            clock: process_clock(),
            component: self.readiness.component("root key"),
            changed,
        };
        let caches = self.readiness.component("caches");
        // A replica that does not lead needs none.
        caches.ready();
        // A name that no other leadership has, also not after a restore. It is no secret.
        let life = generate::uuid(&mut OsRandom).context("no randomness available")?;
        let terms = AtomicU64::new(1);
        let shared = Shared {
            trail: trail.clone(),
            installation,
            keyring,
            key_changes,
            record_changes,
        };
        let lead = |leadership: Leadership| {
            let term = terms.fetch_add(1, Ordering::Relaxed);
            let context = self.context(leadership, format!("{life}-{term}"), shared.clone());
            let is_complete = is_complete.clone();
            let metrics = self.metrics.clone();
            let caches = &caches;
            async move {
                let _leading = metrics.leading();
                let _seeing = Seeing::start(caches);
                stopped(is_complete).await;
                controllers::run(Arc::new(context), || caches.ready()).await;
            }
        };
        let config = leader::Config::new(&namespace, LEASE, &self.args.identity);
        let precaution = self.precaution();
        let before = |renewed| precaution.clone().before_leading(renewed);
        let stop = stopped(self.stop.clone());
        let leading = leader::run_after(config, self.client.clone(), stop, before, lead);
        tokio::select! {
            () = loading => anyhow::bail!("the watch of key material ended"),
            () = follower.run() => anyhow::bail!("the watch of the installation's record ended"),
            ended = leading => match ended {
                Ok(_) => Ok(Served::UntilStopped),
                Err(leader::Error::WentBack(went_back)) => Ok(Served::UntilRestored(went_back)),
                Err(error) => Err(error).context("leader election"),
            },
        }
    }

    fn context(&self, leadership: Leadership, tenure: String, shared: Shared) -> Context {
        let Shared {
            trail,
            installation,
            keyring,
            key_changes,
            record_changes,
        } = shared;
        let (client, namespace) = (self.client.clone(), self.args.operator_namespace.clone());
        let reporter = Reporter {
            controller: "keystead".to_owned(),
            instance: Some(self.args.identity.clone()),
        };
        Context {
            scope: Scope::of(&self.args.watch_namespaces),
            concurrency: self.args.concurrency,
            records: Records::new(client.clone(), &namespace),
            record_changes,
            materials: KeyMaterials::new(client.clone(), &namespace),
            sealed: SealedSecrets::new(client.clone(), &namespace),
            census: controllers::Census::default(),
            parked: controllers::Parked::default(),
            events: controllers::Events::new(client.clone(), reporter),
            clock: process_clock(),
            trim_after: trim_after(self.args.trim_after_days),
            sealing: controllers::Sealing {
                period: trim_after(self.args.sealing_rotate_days),
                publish: !self.args.sealing_unpublished,
            },
            tenure,
            metrics: self.metrics.clone(),
            references: controllers::References::default(),
            sharing: controllers::Sharing::default(),
            rotations: controllers::Rotations::default(),
            changes: controllers::Changes::default(),
            remotes: controllers::Remotes::new(
                self.args.replication_cluster.clone(),
                Duration::from_secs(self.args.replication_poll_seconds.into()),
            ),
            homes: controllers::Homes::default(),
            opted_in: controllers::OptedIn::new(self.args.delivery.injection),
            node_plugin: self.args.delivery.node_plugin,
            creations: controllers::Creations::default(),
            key_uses: controllers::KeyUses::default(),
            trail,
            key_failures: controllers::backoff::Failures::default(),
            alias_failures: controllers::backoff::Failures::default(),
            grant_failures: controllers::backoff::Failures::default(),
            schedule_failures: controllers::backoff::Failures::default(),
            secret_failures: controllers::backoff::Failures::default(),
            reencryptions: controllers::backoff::Pace::per_second(self.args.reencrypt_per_second),
            replicas: controllers::replicas::Replicas::default(),
            server_names: non_empty(&self.args.server_names),
            repairs: controllers::backoff::Repairs::default(),
            client,
            namespace,
            installation,
            keyring,
            key_changes,
            leadership,
        }
    }
}

/// What outlives a leadership.
#[derive(Clone)]
struct Shared {
    trail: Trail,
    installation: Arc<Installation>,
    keyring: Arc<Keyring>,
    key_changes: broadcast::Sender<KeyChanged>,
    record_changes: watch::Receiver<()>,
}

/// A leader is ready when it has seen everything once; a replica that does not lead needs to see nothing.
struct Seeing<'a>(&'a Component);

impl<'a> Seeing<'a> {
    fn start(caches: &'a Component) -> Self {
        caches.not_ready("this replica leads and has not seen everything yet");
        Self(caches)
    }
}

impl Drop for Seeing<'_> {
    fn drop(&mut self) {
        self.0.ready();
    }
}

/// The names of a list without the empty one that an empty argument gives.
fn non_empty(names: &[String]) -> Vec<String> {
    names
        .iter()
        .filter(|name| !name.is_empty())
        .cloned()
        .collect()
}
