//! Puts the plugin together: sockets, health, and what goes on beside kubelet's calls.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio_stream::wrappers::UnixListenerStream;
use tracing::{info, warn};

use super::api::Server;
use super::client::Client;
use super::grpc::{self, Answers};
use super::health::Health;
use super::metrics::Metrics;
use super::own::OwnToken;
use super::publish::Publisher;
use super::registration::Registration;
use super::services::Services;
use super::sockets::{Folder, Socket};
use super::volumes::Volumes;
use super::{report, update, watch as news};
use crate::api::names::CSI_DRIVER;
use crate::cli::process::stopped;
use crate::telemetry::Readiness;

/// How kubelet finds the plugin. kubelet calls with the path, its slashes as `%2F`, for the name of the host (`:authority`). Rust's
/// HTTP takes a percent sign only before an `@`, where the name of a user would be: without one every call is refused as malformed.
const REGISTRATION_SOCKET: &str = "keystead@secrets.keystead.dev-reg.sock";
/// How long calls may take to end when the process shall. kubelet waits longer for an answer, and asks again without one.
const ENDING: Duration = Duration::from_secs(15);

/// What the plugin is told at the start.
#[derive(Clone, Debug)]
pub(super) struct Config {
    /// The node's name.
    pub(super) node: String,
    /// kubelet's root folder.
    pub(super) kubelet_root: PathBuf,
    /// The server's address.
    pub(super) server: String,
    /// The authorities that may sign the server's certificate.
    pub(super) authorities: PathBuf,
    /// The plugin's own token.
    pub(super) token: PathBuf,
    /// Where health and metrics are.
    pub(super) http: SocketAddr,
}

/// Serves until `stop` is true.
pub(super) async fn run(config: Config, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let root = config.kubelet_root;
    let client = Client::new(&config.server, config.authorities)?;
    let volumes = Arc::new(Volumes::default());
    let (readiness, metrics) = (Readiness::new(), Metrics::new(&volumes));
    let server = Server::new(client);
    let publisher = Publisher::new(root.clone(), server, volumes, metrics.clone());
    let publisher = Arc::new(publisher);

    let http = TcpListener::bind(config.http).await;
    let http = http.with_context(|| format!("cannot listen on {}", config.http))?;
    let endpoint = root.join("plugins").join(CSI_DRIVER).join("csi.sock");
    let (_plugin, called) = Socket::bind(&endpoint, Folder::Own).await?;
    let found = root.join("plugins_registry").join(REGISTRATION_SOCKET);
    // Last: whoever finds it calls the other one.
    let (registry, asked) = Socket::bind(&found, Folder::Kubelets).await?;
    info!(node = %config.node, endpoint = %endpoint.display(), "the node plugin is there");

    let services = Services {
        node: config.node,
        publisher: publisher.clone(),
    };
    let registration = Registration {
        endpoint,
        known: readiness.component("kubelet"),
    };
    let token = OwnToken(config.token);
    let health = Health::new(readiness, metrics);
    let work = async {
        tokio::join!(
            serve(services, called, stop.clone()),
            serve(registration, asked, stop.clone()),
            update::run(publisher.clone(), stopped(stop.clone())),
            news::run(publisher.clone(), token.clone(), stopped(stop.clone())),
            report::run(publisher.clone(), token, stopped(stop.clone())),
            health.serve(http, stopped(stop.clone())),
        )
    };
    let ending = async {
        stopped(stop.clone()).await;
        // kubelet shall know that nobody is there; a successor makes another one. Mounts stay: pods use them.
        registry.remove();
        tokio::time::sleep(ENDING).await;
    };
    tokio::select! {
        (served, registered, ..) = work => served.and(registered),
        () = ending => {
            warn!("calls that did not end were cut off");
            Ok(())
        }
    }
}

/// Answers on a socket.
async fn serve(
    answers: impl Answers,
    listener: UnixListener,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let service = grpc::Server(Arc::new(answers));
    tonic::transport::Server::builder()
        .serve_with_incoming_shutdown(service, UnixListenerStream::new(listener), stopped(stop))
        .await
        .context("a socket of the plugin failed")
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
