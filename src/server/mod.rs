//! The server: replicas that hold all keys, refuse to use them when they cannot prove that what they know is the newest
//! truth, and serve the API and the webhooks.
//!
//! ```text
//! follow ──▶ Loader ──▶ Keyring (guarded) ◀── gate ◀── api
//!    ├─────▶ Freshness ◀──┴── presence (Lease) ──▶ controller
//!    └─────▶ known (states of stored secrets, namespaces) ──▶ ciphertext ──▶ api
//!
//! tls (the certificate, followed) ──▶ api, webhooks
//! ```
//!
//! It writes nothing but its own Lease. The installation, the root key and the certificates are the controller's work;
//! what is missing is named by `/readyz` and waited for.

mod api;
pub mod catalogue;
mod ciphertext;
mod follow;
mod gate;
mod keys;
mod known;
mod kubelets;
mod presence;
mod tls;
pub mod webhooks;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use kube::{Api, Client};
use tokio::net::TcpListener;
use tracing::{error, info, warn};

use self::catalogue::Catalogue;
use self::follow::Follower;
use self::keys::Keys;
use self::known::{Facts, Revisions, Uids};
use self::kubelets::Kubelets;
use self::presence::Presence;
use self::tls::Certificate;
use crate::api::names::SECRET_TYPE_SEALED;
use crate::audit::Trail;
use crate::clock::Clock;
use crate::crypto::InstallationId;
use crate::inject::Copier;
use crate::installation::{self, Installation};
use crate::keys::{Freshness, Keyring, Loader, Uses};
use crate::listen;
use crate::roots::Providers;
use crate::telemetry::{Metrics, Readiness};
use crate::watching::Scope;

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
    /// The namespaces whose secrets are delivered.
    pub scope: Scope,
    /// What makes the files that variables of pods come from.
    pub copier: Copier,
    /// Where root keys may be.
    pub roots: Providers,
    /// Who this replica is.
    pub replica: Replica,
    /// Told what is missing.
    pub readiness: Readiness,
    /// Told what is there.
    pub metrics: Metrics,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Starts the audit trail of this process, once the installation is known.
    pub start_trail: &'a (dyn Fn(InstallationId) -> Trail + Sync),
}

/// What a replica listens on, for TLS.
pub struct Listeners {
    /// Asked by the API server.
    pub webhooks: TcpListener,
    /// Called by whoever has a token.
    pub api: TcpListener,
}

/// What a replica works with while it holds keys.
struct Foundation<'a> {
    installation: &'a Installation,
    freshness: Arc<Freshness>,
    trail: &'a Trail,
    uses: Arc<Uses>,
    catalogue: Arc<Catalogue>,
}

impl Server<'_> {
    /// Serves until `stop`.
    pub async fn run(
        &self,
        listeners: Listeners,
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
        let catalogue = Arc::new(Catalogue::default());
        let kubelets = Arc::new(Kubelets::default());
        let answering = webhooks::Answering {
            client: self.client.clone(),
            trail: trail.clone(),
            injection: webhooks::Injection {
                catalogue: catalogue.clone(),
                kubelets: kubelets.clone(),
                copier: Arc::new(self.copier.clone()),
            },
            metrics: self.metrics.clone(),
        };
        let service = api::Service::new(kubelets.clone(), self.metrics.clone());
        let asked = listen::serve(
            webhooks::LIMITS,
            listeners.webhooks,
            &wrap,
            webhooks::router(answering),
            stop.clone(),
        );
        let called = listen::serve(
            api::LIMITS,
            listeners.api,
            &wrap,
            api::router(service.clone()),
            stop.clone(),
        );
        let nodes = self.readiness.component("kubelets");
        let holding = self.hold_keys(&trail, &service, &catalogue, stop);
        tokio::select! {
            // All of them end when told to.
            ((), (), ()) = async { tokio::join!(asked, called, holding) } => {}
            () = certificate.follow(self.client.clone(), self.namespace, &shown) => {
                anyhow::bail!("the watch of the certificate ended");
            }
            () = kubelets.follow(self.client.clone(), &nodes) => {
                anyhow::bail!("the watch of the nodes ended");
            }
        }
        Ok(())
    }

    /// Holds the keys until `stop`.
    async fn hold_keys(
        &self,
        trail: &OnceLock<Trail>,
        service: &api::Service,
        catalogue: &Arc<Catalogue>,
        stop: impl Future<Output = ()> + Clone,
    ) {
        let known = self.readiness.component("catalogue");
        loop {
            let installation = tokio::select! {
                () = stop.clone() => return,
                installation = self.installation() => installation,
            };
            let trail = trail.get_or_init(|| (self.start_trail)(installation.id));
            let freshness = Arc::new(Freshness::new());
            let (client, replica) = (self.client.clone(), self.replica.clone());
            let uses = Arc::new(Uses::default());
            let (fresh, told) = (freshness.clone(), uses.clone());
            let mut presence = Presence::new(client, self.namespace, replica, fresh, told);
            let foundation = Foundation {
                installation: &installation,
                freshness: freshness.clone(),
                trail,
                uses,
                catalogue: catalogue.clone(),
            };
            let following = self.follow(foundation, service);
            // Read anew with everything else when the cluster was put back: a watch would go on from a state that never was.
            let cataloguing = catalogue.follow(&self.client, &self.scope, &known);
            let stopped = tokio::select! {
                () = following => false,
                () = cataloguing => false,
                () = presence.run() => false,
                () = stop.clone() => true,
            };
            // Before anybody is told: calls that are under way still hold the keys.
            freshness.retire();
            service.stop();
            if stopped {
                return presence.leave().await;
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

    /// Keeps the keys and what else the API answers from, and proves it, until the cluster is put back to an earlier state.
    async fn follow(&self, with: Foundation<'_>, service: &api::Service) {
        let Foundation {
            installation,
            freshness,
            ..
        } = with;
        let asked = freshness.clone();
        self.readiness.asked("freshness", move || {
            let checked = asked.check(Instant::now());
            checked.err().map(|why| why.to_string())
        });
        let asked = freshness.clone();
        self.metrics
            .truth_age(move || asked.proof().age(Instant::now()));
        let keyring = Arc::new(Keyring::guarded(freshness.clone()));
        let (stored, namespaces) = (Arc::new(Revisions::default()), Arc::new(Uids::default()));
        let (client, clock) = (self.client.clone(), self.clock.clone());
        service.start(api::Foundation {
            client: client.clone(),
            namespace: self.namespace,
            installation,
            keyring: keyring.clone(),
            gate: Arc::new(PolicyGate::new(
                client,
                with.trail.clone(),
                clock.clone(),
                with.uses,
            )),
            clock,
            catalogue: with.catalogue,
            stored: stored.clone(),
            namespaces: namespaces.clone(),
        });
        let loader = Loader::new(
            keyring,
            installation.id,
            installation.roots.clone(),
            self.metrics.clone(),
        );
        let own = || self.client.clone();
        let keys = Api::namespaced(own(), self.namespace);
        let keys = Follower::new(keys, Keys::new(loader, freshness));
        let sealed = Api::namespaced(own(), self.namespace);
        let stored = Follower::new(sealed, Facts::revisions(stored));
        let stored = stored.fields(format!("type={SECRET_TYPE_SEALED}"));
        let namespaces = Follower::new(Api::all(own()), Facts::uids(namespaces));
        tokio::select! {
            () = keys.run() => {}
            () = stored.run() => {}
            () = namespaces.run() => {}
        }
    }
}
