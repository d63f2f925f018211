//! `keystead server`: a replica of the server.

use std::net::SocketAddr;

use anyhow::Context as _;
use futures::FutureExt;
use tokio::net::TcpListener;

use super::log_args::LogArgs;
use super::process::{client, stop_signal, stopped};
use super::root_args::RootArgs;
use super::trail::{self, TrailArgs};
use crate::clock::process_clock;
use crate::crypto::InstallationId;
use crate::inject::Copier;
use crate::roots::Providers;
use crate::server::{Listeners, Replica, Server};
use crate::telemetry::{self, Metrics, Readiness};
use crate::watching::Scope;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The namespace that the operator runs in and keeps its truth in.
    #[arg(long, env = "POD_NAMESPACE")]
    operator_namespace: String,
    /// A name of this replica that no other has; the pod's name.
    #[arg(long, env = "POD_NAME")]
    identity: String,
    /// The pod's UID, so that this replica's Lease goes with the pod.
    #[arg(long, env = "POD_UID")]
    pod_uid: Option<String>,
    /// The namespaces whose secrets are delivered, separated by commas; empty means all.
    #[arg(long, env = "KEYSTEAD_WATCH_NAMESPACES", value_delimiter = ',')]
    watch_namespaces: Vec<String>,
    #[command(flatten)]
    root: RootArgs,
    /// Where health and metrics are served.
    #[arg(long, env = "KEYSTEAD_HTTP_ADDRESS", default_value = "0.0.0.0:8080")]
    http_address: SocketAddr,
    /// Where the webhooks are served.
    #[arg(long, env = "KEYSTEAD_WEBHOOK_ADDRESS", default_value = "0.0.0.0:9443")]
    webhook_address: SocketAddr,
    /// Where the API is served.
    #[arg(long, env = "KEYSTEAD_API_ADDRESS", default_value = "0.0.0.0:8443")]
    api_address: SocketAddr,
    /// The image of Keystead, for the init container that gives pods their variables.
    #[arg(long, env = "KEYSTEAD_IMAGE", default_value = "keystead")]
    image: String,
    /// When kubelet pulls it for such a pod: Always, `IfNotPresent` or Never; by default as Kubernetes has it.
    #[arg(long, env = "KEYSTEAD_IMAGE_PULL_POLICY")]
    image_pull_policy: Option<String>,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    trail: TrailArgs,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    args.log.init()?;
    let client = client().await?;
    let stop = stop_signal()?;
    let (readiness, metrics) = (Readiness::new(), Metrics::new());
    let listener = listen(args.http_address).await?;
    let listeners = Listeners {
        webhooks: listen(args.webhook_address).await?,
        api: listen(args.api_address).await?,
    };
    let http = tokio::spawn(telemetry::serve(
        listener,
        readiness.clone(),
        metrics.clone(),
        stopped(stop.clone()),
    ));
    let roots = Providers::new(
        &args.root.config(),
        client.clone(),
        &args.operator_namespace,
    );
    let audit = readiness.component("audit");
    let start_trail = |installation: InstallationId| {
        args.trail.start(trail::Start {
            replica: &args.identity,
            installation: installation.to_string(),
            clock: &process_clock(),
            metrics: metrics.clone(),
            component: audit.clone(),
        })
    };
    let server = Server {
        clock: process_clock(),
        client,
        namespace: &args.operator_namespace,
        scope: Scope::of(&args.watch_namespaces),
        copier: Copier {
            image: args.image.clone(),
            pull_policy: args.image_pull_policy.clone(),
        },
        roots,
        replica: Replica {
            name: args.identity.clone(),
            uid: args.pod_uid.clone(),
        },
        readiness,
        metrics: metrics.clone(),
        start_trail: &start_trail,
    };
    Box::pin(server.run(listeners, stopped(stop).boxed().shared())).await?;
    http.await.context("the health listener failed")
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("cannot listen on {address}"))
}
