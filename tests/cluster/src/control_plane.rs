//! etcd, API server and controller manager, ready in a few seconds, several side by side.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{authentication::v1::BoundObjectReference, core::v1::ServiceAccount};
use kube::{Api, Client};
use tempfile::TempDir;

use crate::{
    access::Access,
    audit::{self, Audit, AuditEvent, AuditMark},
    binaries::{Binaries, Set},
    certificates::{Authority, Pki},
    components::{Component, ComponentHandle, Components},
    etcd::Etcd,
    flags::{self, NodeFacts},
    ports::Lease,
    process::Lifetime,
    snapshot::Snapshot,
    state::{self, Layout, StateDir},
};

const FIRST_ACCOUNT: Duration = Duration::from_secs(60);

/// How a control plane differs from the usual one.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the API server records of requests; all of them, without bodies, unless said otherwise.
    pub audit: Audit,
    /// Whether controllers run (garbage collection, namespaces, service accounts).
    pub controller_manager: bool,
    /// Whether the API server answers lists and watches from its cache.
    pub watch_cache: bool,
    /// Whether etcd writes through to the disk.
    pub fsync: bool,
    /// More flags of the API server; the last one wins.
    pub api_server_flags: Vec<String>,
    /// More flags of the controller manager.
    pub controller_manager_flags: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            audit: Audit::default(),
            controller_manager: true,
            watch_cache: true,
            fsync: false,
            api_server_flags: Vec::new(),
            controller_manager_flags: Vec::new(),
        }
    }
}

/// A running control plane. Dropping the handle that started it stops it and removes its folder.
#[derive(Debug)]
pub struct ControlPlane {
    layout: Layout,
    access: Access,
    components: Components,
    state: StateDir,
    kubeconfig: PathBuf,
    /// Whether the processes end with this handle.
    owned: bool,
    temporary: Option<TempDir>,
    ports: Lease,
    /// Whether a panic prints the logs.
    reports: bool,
}

impl ControlPlane {
    /// Starts one in a temporary folder and waits until it is ready.
    pub async fn start(options: Options) -> Result<Self> {
        let dir = state::temporary()?;
        let mut cluster = Self::prepare(dir.path(), &options, Lifetime::Owned, None)?;
        cluster.temporary = Some(dir);
        cluster.start_control_plane().await?;
        Ok(cluster)
    }

    /// The same from what another one held.
    pub async fn start_from(snapshot: &Snapshot, options: Options) -> Result<Self> {
        let dir = state::temporary()?;
        snapshot.restore(dir.path())?;
        let mut cluster = Self::prepare(dir.path(), &options, Lifetime::Owned, None)?;
        cluster.temporary = Some(dir);
        cluster.start_control_plane().await?;
        Ok(cluster)
    }

    /// Starts one in a folder of the caller's, which must be empty or absent and is kept.
    pub async fn start_in(dir: impl AsRef<Path>, options: Options) -> Result<Self> {
        let dir = dir.as_ref();
        let empty = fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
        ensure!(empty, "{} is not empty", dir.display());
        let cluster = Self::prepare(dir, &options, Lifetime::Owned, None)?;
        cluster.start_control_plane().await?;
        Ok(cluster)
    }

    /// Takes over a control plane that runs in a folder. Dropping this handle leaves it running.
    pub fn attach(dir: impl AsRef<Path>) -> Result<Self> {
        Self::attach_as(dir.as_ref(), Lifetime::Detached)
    }

    pub(crate) fn attach_as(dir: &Path, lifetime: Lifetime) -> Result<Self> {
        let state = StateDir::new(dir)?;
        let layout = state.read_layout()?;
        let pki = Pki::open(state.pki());
        let components = Components::load(state.run(), pki.clone(), lifetime)?;
        Ok(Self::assemble(
            state,
            layout,
            pki,
            components,
            Lease::default(),
            false,
        ))
    }

    /// Writes certificates and records, and starts nothing.
    pub(crate) fn prepare(
        dir: &Path,
        options: &Options,
        lifetime: Lifetime,
        node: Option<&NodeFacts>,
    ) -> Result<Self> {
        let binaries = Binaries::ensure(&[Set::ControlPlane])?;
        let state = StateDir::new(dir)?;
        state.create()?;
        let mut ports = Lease::default();
        let layout = Layout {
            address: node.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |node| node.address),
            api_port: ports.take()?,
            controller_port: ports.take()?,
            etcd_port: ports.take()?,
            etcd_peer_port: ports.take()?,
        };
        let restored = state.pki().exists();
        let pki = if restored {
            Pki::open(state.pki())
        } else {
            Pki::create(state.pki())?
        };
        if !restored {
            flags::issue_certificates(&pki, node)?;
        }
        let mut components = Components::new(state.run(), pki.clone(), lifetime)?;
        flags::declare(
            &mut components,
            &state,
            &layout,
            &pki,
            &binaries,
            options,
            node,
        )?;
        state.write_layout(&layout)?;
        let owned = lifetime == Lifetime::Owned;
        let cluster = Self::assemble(state, layout, pki, components, ports, owned);
        cluster
            .access
            .write_identity(&cluster.kubeconfig, "admin")?;
        let manager = cluster.state.join("config/controller-manager.kubeconfig");
        cluster
            .access
            .write_identity(&manager, "controller-manager")?;
        Ok(cluster)
    }

    fn assemble(
        state: StateDir,
        layout: Layout,
        pki: Pki,
        components: Components,
        ports: Lease,
        owned: bool,
    ) -> Self {
        let url = format!("https://{}:{}", layout.address, layout.api_port);
        Self {
            access: Access::new(url, state.path().to_owned(), pki),
            kubeconfig: state.kubeconfig(),
            layout,
            components,
            state,
            owned,
            temporary: None,
            ports,
            reports: true,
        }
    }

    pub(crate) async fn start_control_plane(&self) -> Result<()> {
        self.components
            .start_all(&[Component::Etcd, Component::ApiServer])
            .await?;
        // Ends at once when there is no API server yet.
        self.components
            .start_all(&[Component::ControllerManager])
            .await?;
        if self.components.get(Component::ControllerManager).is_some() {
            self.first_account().await?;
        }
        Ok(())
    }

    /// Pods are refused until the namespace has its service account.
    async fn first_account(&self) -> Result<()> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client()?, "default");
        let deadline = Instant::now() + FIRST_ACCOUNT;
        while accounts
            .get_opt("default")
            .await
            .context("look for the default account")?
            .is_none()
        {
            ensure!(
                Instant::now() < deadline,
                "the controller manager made no service account"
            );
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Ok(())
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A new client of the administrator's (`system:masters`), bound to the current runtime.
    pub fn client(&self) -> Result<Client> {
        self.access.client("admin")
    }

    /// A kubeconfig with a certificate for that user and those groups.
    pub fn kubeconfig_for(&self, user: &str, groups: &[&str]) -> Result<PathBuf> {
        self.access.kubeconfig_for(user, groups)
    }

    /// A client with a certificate for that user and those groups.
    pub fn client_for(&self, user: &str, groups: &[&str]) -> Result<Client> {
        self.access.client_for(user, groups)
    }

    /// A kubeconfig with a token of that service account, for an hour.
    pub async fn kubeconfig_for_service_account(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<PathBuf> {
        self.access
            .kubeconfig_for_service_account(namespace, name)
            .await
    }

    /// A client with a token of that service account, for an hour.
    pub async fn client_for_service_account(&self, namespace: &str, name: &str) -> Result<Client> {
        self.access
            .client_for_service_account(namespace, name)
            .await
    }

    /// A token of that service account; no audiences means the API server's.
    pub async fn token(&self, namespace: &str, name: &str, audiences: &[&str]) -> Result<String> {
        self.access.token(namespace, name, audiences, None).await
    }

    /// The same, which ends with that object.
    pub async fn bound_token(
        &self,
        namespace: &str,
        name: &str,
        audiences: &[&str],
        object: BoundObjectReference,
    ) -> Result<String> {
        let object = Some(object);
        self.access.token(namespace, name, audiences, object).await
    }

    /// Where the API server is.
    pub fn url(&self) -> &str {
        self.access.url()
    }

    /// The authority that signed the API server and the users.
    pub fn ca_pem(&self) -> Result<String> {
        self.pki().authority_pem(Authority::Cluster)
    }

    /// A component that this cluster has.
    ///
    /// # Panics
    ///
    /// When it has none of that kind: the test asked for the wrong cluster.
    pub fn component(&self, component: Component) -> ComponentHandle<'_> {
        self.components
            .get(component)
            .unwrap_or_else(|| panic!("this cluster has no {component}"))
    }

    /// What is behind the API server.
    pub fn etcd(&self) -> Etcd<'_> {
        Etcd::new(self)
    }

    /// All events so far, every stage that the policy writes.
    pub fn audit_log(&self) -> Result<Vec<AuditEvent>> {
        audit::since(&self.state.audit_log(), AuditMark::default())
    }

    /// Here, for [`Self::audit_since`].
    pub fn audit_mark(&self) -> AuditMark {
        audit::mark(&self.state.audit_log())
    }

    /// The events after the mark. An event is written just after its answer is sent.
    pub fn audit_since(&self, mark: AuditMark) -> Result<Vec<AuditEvent>> {
        audit::since(&self.state.audit_log(), mark)
    }

    /// The objects that changed after the mark.
    pub fn writes_since(&self, mark: AuditMark) -> Result<Vec<AuditEvent>> {
        let mut events = self.audit_since(mark)?;
        events.retain(AuditEvent::is_completed_write);
        Ok(events)
    }

    /// The folder with logs, certificates and data.
    pub fn dir(&self) -> &Path {
        self.state.path()
    }

    pub(crate) fn state(&self) -> &StateDir {
        &self.state
    }

    pub(crate) fn pki(&self) -> &Pki {
        self.access.pki()
    }

    pub(crate) fn components(&self) -> &Components {
        &self.components
    }

    /// What a node is declared with.
    pub(crate) fn split(&mut self) -> (&StateDir, &Access, &mut Components, &mut Lease) {
        (
            &self.state,
            &self.access,
            &mut self.components,
            &mut self.ports,
        )
    }

    /// Leaves stopping, reporting and removing to the caller.
    pub(crate) fn disown(&mut self) {
        self.owned = false;
        self.reports = false;
    }

    pub(crate) fn etcd_data(&self) -> PathBuf {
        self.state.join("etcd")
    }

    pub(crate) fn etcd_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.layout.etcd_port)
    }

    pub(crate) fn etcd_peer(&self) -> (&'static str, String) {
        (
            flags::ETCD_NAME,
            format!("https://127.0.0.1:{}", self.layout.etcd_peer_port),
        )
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if self.reports && thread::panicking() {
            self.components.print_logs();
        }
        if self.owned {
            self.components.kill_all();
        }
        if let Some(dir) = self.temporary.take() {
            if state::keep_requested() {
                state::keep(dir);
            } else if let Err(error) = dir.close() {
                eprintln!("the folder of a control plane stays: {error}");
            }
        }
    }
}
