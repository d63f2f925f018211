//! The server: replicas that hold all keys, refuse to use them when they cannot prove that what they know is the newest
//! truth, and serve the webhooks.
//!
//! ```text
//! follow ──▶ Loader ──▶ Keyring (guarded) ◀── who uses keys
//!    └─────▶ Freshness ◀──┴── presence (Lease) ──▶ controller
//!
//! tls (the certificate, followed) ──▶ webhooks
//! ```
//!
//! It writes nothing but its own Lease. The installation, the root key and the certificates are the controller's work;
//! what is missing is named by `/readyz` and waited for.

mod follow;
mod gate;
mod presence;
mod tls;
pub mod webhooks;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use kube::Client;
use tokio::net::TcpListener;
use tracing::{error, info, warn};

use self::follow::Follower;
use self::presence::Presence;
use self::tls::Certificate;
use crate::audit::Trail;
use crate::crypto::InstallationId;
use crate::installation::{self, Installation};
use crate::keys::{Freshness, Keyring, Loader};
use crate::listen;
use crate::roots::Providers;
use crate::telemetry::{Metrics, Readiness};

pub use gate::PolicyGate;
pub use presence::Replica;

/// How long to wait before the installation is looked for again.
const RETRY: Duration = Duration::from_secs(5);

/// What a replica of the server needs.
pub struct Server<'a> {
    /// A client.
    pub client: Client,
    /// The operator's namespace.
    pub namespace: &'a str,
    /// Where root keys may be.
    pub roots: Providers,
    /// Who this replica is.
    pub replica: Replica,
    /// Told what is missing.
    pub readiness: Readiness,
    /// Told what is there.
    pub metrics: Metrics,
    /// Starts the audit trail of this process, once the installation is known.
    pub start_trail: &'a (dyn Fn(InstallationId) -> Trail + Sync),
}

impl Server<'_> {
    /// Serves until `stop`; the webhooks on `webhooks`.
    pub async fn run(
        &self,
        webhooks: TcpListener,
        stop: impl Future<Output = ()> + Clone,
    ) -> anyhow::Result<()> {
        let certificate = Arc::new(Certificate::default());
        let acceptor = certificate
            .clone()
            .acceptor()
            .context("TLS cannot be set up")?;
        let shown = self.readiness.component("certificate");
        let wrap = |stream| {
            let acceptor = acceptor.clone();
            async move { acceptor.accept(stream).await }
        };
        let trail = Arc::new(OnceLock::new());
        let answering = webhooks::Answering {
            client: self.client.clone(),
            trail: trail.clone(),
        };
        let listening = listen::serve(
            webhooks::LIMITS,
            webhooks,
            wrap,
            webhooks::router(answering),
            stop.clone(),
        );
        tokio::select! {
            // Both end when told to.
            ((), ()) = async { tokio::join!(listening, self.hold_keys(&trail, stop)) } => {}
            () = certificate.follow(self.client.clone(), self.namespace, &shown) => {
                anyhow::bail!("the watch of the certificate ended");
            }
        }
        Ok(())
    }

    /// Holds the keys until `stop`.
    async fn hold_keys(&self, trail: &OnceLock<Trail>, stop: impl Future<Output = ()> + Clone) {
        loop {
            let installation = tokio::select! {
                () = stop.clone() => return,
                installation = self.installation() => installation,
            };
            trail.get_or_init(|| (self.start_trail)(installation.id));
            let freshness = Arc::new(Freshness::new());
            let (client, replica) = (self.client.clone(), self.replica.clone());
            let mut presence = Presence::new(client, self.namespace, replica, freshness.clone());
            tokio::select! {
                () = self.follow(&installation, freshness) => {}
                () = presence.run() => {}
                () = stop.clone() => return presence.leave().await,
            }
            warn!(
                "the cluster was put back to an earlier state: forgetting everything and starting over"
            );
        }
    }

    /// Waits for the installation.
    async fn installation(&self) -> Installation {
        let component = self.readiness.component("installation");
        component.not_ready("the installation is not known yet");
        loop {
            match installation::find(self.client.clone(), self.namespace, self.roots.clone()).await
            {
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
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Keeps the keys and proves it, until the cluster is put back to an earlier state.
    async fn follow(&self, installation: &Installation, freshness: Arc<Freshness>) {
        let asked = freshness.clone();
        self.readiness.asked("freshness", move || {
            let checked = asked.check(Instant::now());
            checked.err().map(|why| why.to_string())
        });
        let asked = freshness.clone();
        self.metrics.truth_age(move || asked.age(Instant::now()));
        let loader = Loader::new(
            Arc::new(Keyring::guarded(freshness.clone())),
            installation.id,
            installation.roots.clone(),
            self.metrics.clone(),
        );
        Follower::new(self.client.clone(), self.namespace, loader, freshness)
            .run()
            .await;
    }
}
