//! `keystead controller`: the operator.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kube::runtime::events::{Recorder, Reporter};
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::api::names::LEASE;
use crate::clock::process_clock;
use crate::controllers::{self, Context, Scope};
use crate::crypto::Region;
use crate::installation::{Bootstrap, Installation};
use crate::keys::{Keyring, Loader};
use crate::leader::{self, Leadership};
use crate::roots::{self, RootConfig};
use crate::telemetry::{self, Component, Format, Metrics, Readiness};
use crate::truth::{KeyMaterials, SealedSecrets};

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
    /// Where the root key comes from.
    #[arg(long, env = "KEYSTEAD_ROOT_PROVIDER", value_enum, default_value_t = Provider::Secret)]
    root_provider: Provider,
    /// The file that holds the root key: 32 bytes, or their base64.
    #[arg(
        long,
        env = "KEYSTEAD_ROOT_FILE",
        required_if_eq("root_provider", "file")
    )]
    root_file: Option<PathBuf>,
    /// The region in the ARNs of a new installation's keys. Fixed for life.
    #[arg(long, env = "KEYSTEAD_REGION", default_value = "ks-local-1")]
    region: Region,
    /// Put the guard's label on the operator's namespace when the installation is made.
    #[arg(long, env = "KEYSTEAD_GUARD_NAMESPACE")]
    guard_namespace: bool,
    /// Where health and metrics are served.
    #[arg(long, env = "KEYSTEAD_HTTP_ADDRESS", default_value = "0.0.0.0:8080")]
    http_address: SocketAddr,
    /// How log lines look.
    #[arg(long, env = "KEYSTEAD_LOG_FORMAT", value_enum, default_value_t = Format::Json)]
    log_format: Format,
    /// What is logged, in the syntax of `RUST_LOG`.
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    log: String,
    /// How many objects of one kind are reconciled at once.
    #[arg(long, env = "KEYSTEAD_CONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// How many stored secrets are encrypted anew in each second after their key was rotated.
    #[arg(long, env = "KEYSTEAD_REENCRYPT_PER_SECOND", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    reencrypt_per_second: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Provider {
    /// A Secret in the operator's namespace, made once.
    Secret,
    /// A file.
    File,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    telemetry::init(args.log_format, &args.log)?;
    let mut config = Config::infer().await.context("no access to a cluster")?;
    // Our own waits are per object and end when something changes; the client's would hold up a whole reconcile.
    config.default_retry = false;
    let client = Client::try_from(config).context("the client could not be made")?;
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
    operator.run().await?;
    http.await.context("the health listener failed")
}

/// Resolves when the process is asked to stop.
fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("asked to stop");
        sender.send_replace(true);
    });
    Ok(receiver)
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone, and the process with it.
    let _ = stop.wait_for(|stop| *stop).await;
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
        let stop = self.stop.clone();
        loop {
            let installation = tokio::select! {
                () = stopped(stop.clone()) => return Ok(()),
                installation = self.installation(&found) => installation,
            };
            match self.serve(installation, &loaded).await? {
                Served::UntilStopped => return Ok(()),
                Served::UntilRestored(went_back) => {
                    warn!(%went_back, "forgetting everything and starting over");
                    loaded.not_ready("the cluster was restored; key material is loaded anew");
                }
            }
        }
    }

    /// Finds or makes the installation. What is missing is named, in the log and by `/readyz`, and waited for.
    async fn installation(&self, component: &Component) -> Installation {
        let root = match (self.args.root_provider, self.args.root_file.clone()) {
            (Provider::File, Some(path)) => RootConfig::File(path),
            _ => RootConfig::Secret,
        };
        let namespace = &self.args.operator_namespace;
        let provider = roots::provider(&root, self.client.clone(), namespace);
        component.not_ready("the installation is not known yet");
        // The kinds must be there before their objects can be looked for.
        controllers::apply_crds(self.client.clone()).await;
        loop {
            let bootstrap = Bootstrap {
                client: self.client.clone(),
                namespace,
                root: &*provider,
                region: self.args.region.clone(),
                guard_namespace: self.args.guard_namespace,
            };
            match bootstrap.run().await {
                Ok(installation) => {
                    info!(id = %installation.id, root = %installation.root.fingerprint(), "installation found");
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

    /// Serves until the process is asked to stop, or until everything that is held in memory may be wrong.
    async fn serve(
        &self,
        installation: Installation,
        loaded: &Component,
    ) -> anyhow::Result<Served> {
        let installation = Arc::new(installation);
        let keyring = Arc::new(Keyring::default());
        let loader = Loader::new(
            keyring.clone(),
            installation.id,
            installation.root.clone(),
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
        let caches = self.readiness.component("caches");
        // A replica that does not lead needs none.
        caches.ready();
        let lead = |leadership: Leadership| {
            let context = self.context(
                leadership,
                installation.clone(),
                keyring.clone(),
                key_changes.clone(),
            );
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
        tokio::select! {
            () = loading => anyhow::bail!("the watch of key material ended"),
            ended = leader::run(config, self.client.clone(), stopped(self.stop.clone()), lead) => match ended {
                Ok(_) => Ok(Served::UntilStopped),
                Err(leader::Error::WentBack(went_back)) => Ok(Served::UntilRestored(went_back)),
                Err(error) => Err(error).context("leader election"),
            },
        }
    }

    fn context(
        &self,
        leadership: Leadership,
        installation: Arc<Installation>,
        keyring: Arc<Keyring>,
        key_changes: tokio::sync::broadcast::Sender<crate::keys::KeyChanged>,
    ) -> Context {
        let (client, namespace) = (self.client.clone(), self.args.operator_namespace.clone());
        let reporter = Reporter {
            controller: "keystead".to_owned(),
            instance: Some(self.args.identity.clone()),
        };
        Context {
            scope: scope(&self.args.watch_namespaces),
            concurrency: self.args.concurrency,
            materials: KeyMaterials::new(client.clone(), &namespace),
            sealed: SealedSecrets::new(client.clone(), &namespace),
            recorder: Recorder::new(client.clone(), reporter),
            clock: process_clock(),
            tenure: tenure(),
            metrics: self.metrics.clone(),
            references: controllers::References::default(),
            creations: controllers::Creations::default(),
            key_failures: controllers::backoff::Failures::default(),
            alias_failures: controllers::backoff::Failures::default(),
            grant_failures: controllers::backoff::Failures::default(),
            secret_failures: controllers::backoff::Failures::default(),
            reencryptions: controllers::backoff::Pace::per_second(self.args.reencrypt_per_second),
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

/// A name that no other leadership has. It is no secret, but it must not come again after a restore.
fn tenure() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .expect("the operating system gives randomness, without which no key can be made");
    bytes.iter().fold(String::new(), |mut hex, byte| {
        use std::fmt::Write;
        write!(hex, "{byte:02x}").expect("writing to a String cannot fail");
        hex
    })
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

fn scope(namespaces: &[String]) -> Scope {
    let names: Vec<_> = namespaces
        .iter()
        .filter(|name| !name.is_empty())
        .cloned()
        .collect();
    if names.is_empty() {
        Scope::Cluster
    } else {
        Scope::Namespaces(names)
    }
}

/// Makes sure that the two halves of the binary agree on one provider of TLS.
pub(super) fn install_crypto_provider() {
    // An error only says that one is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
