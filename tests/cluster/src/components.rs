//! The components of a cluster by name: started, stopped, killed and paused one by one.
//!
//! Each has a record in the state folder, so that another process can take over where this one left.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::{
    certificates::{Authority, Pki},
    http::{self, Credential},
    process::{Identity, Lifetime, Process, Spec, grace_ends, tail},
};

const POLL: Duration = Duration::from_millis(25);
/// How long a component may take to answer its health check. Generous: the machine may be busy building.
const READY: Duration = Duration::from_secs(120);
/// How long one health check may take.
const CHECK: Duration = Duration::from_secs(3);
/// How much of each log is printed when a test fails.
const TAIL: usize = 60;

/// A process of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Component {
    /// The store.
    Etcd,
    /// kube-apiserver.
    ApiServer,
    /// kube-controller-manager.
    ControllerManager,
    /// kube-scheduler.
    Scheduler,
    /// The container runtime.
    Containerd,
    /// The node's agent.
    Kubelet,
    /// What makes Service addresses work.
    KubeProxy,
    /// The cluster's name server.
    CoreDns,
}

impl Component {
    /// The program's name, also that of its log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Containerd => "containerd",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
            Self::CoreDns => "coredns",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How to find out that a component serves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Probe {
    /// TLS by the cluster's authority, as the administrator.
    Cluster(String),
    /// TLS by etcd's authority, as the API server.
    Etcd(String),
    /// No TLS.
    Plain(String),
    /// Something listens on the socket.
    Socket(PathBuf),
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    component: Component,
    spec: Spec,
    probe: Probe,
    running: Option<Identity>,
}

#[derive(Debug)]
struct Managed {
    spec: Spec,
    probe: Probe,
    process: Mutex<Option<Process>>,
}

/// All components of one cluster, in the order in which they start.
#[derive(Debug)]
pub(crate) struct Components {
    dir: PathBuf,
    pki: Pki,
    lifetime: Lifetime,
    all: BTreeMap<Component, Managed>,
}

impl Components {
    pub(crate) fn new(dir: PathBuf, pki: Pki, lifetime: Lifetime) -> Result<Self> {
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        Ok(Self {
            dir,
            pki,
            lifetime,
            all: BTreeMap::new(),
        })
    }

    /// The components that another process recorded.
    pub(crate) fn load(dir: PathBuf, pki: Pki, lifetime: Lifetime) -> Result<Self> {
        let mut components = Self::new(dir, pki, lifetime)?;
        for record in records(&components.dir)? {
            let process = Mutex::new(record.running.map(Process::adopt));
            let managed = Managed {
                spec: record.spec,
                probe: record.probe,
                process,
            };
            components.all.insert(record.component, managed);
        }
        Ok(components)
    }

    /// Declares a component without starting it.
    pub(crate) fn add(&mut self, component: Component, spec: Spec, probe: Probe) -> Result<()> {
        let managed = Managed {
            spec,
            probe,
            process: Mutex::new(None),
        };
        self.all.insert(component, managed);
        self.record(component, None)
    }

    pub(crate) fn get(&self, component: Component) -> Option<ComponentHandle<'_>> {
        let managed = self.all.get(&component)?;
        Some(ComponentHandle {
            component,
            managed,
            components: self,
        })
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = ComponentHandle<'_>> {
        self.all.iter().map(|(component, managed)| ComponentHandle {
            component: *component,
            managed,
            components: self,
        })
    }

    /// Starts the given components that do not run, all at once, and waits until they serve.
    pub(crate) async fn start_all(&self, wanted: &[Component]) -> Result<()> {
        let handles: Vec<_> = self
            .iter()
            .filter(|handle| wanted.contains(&handle.component))
            .collect();
        for handle in &handles {
            handle.spawn()?;
        }
        for handle in &handles {
            handle.ready().await?;
        }
        Ok(())
    }

    /// Kills all, last started first.
    pub(crate) fn kill_all(&self) {
        for handle in self.iter().rev() {
            if let Err(error) = handle.kill() {
                eprintln!("{}: {error:#}", handle.component);
            }
        }
    }

    /// The end of each log, on standard error.
    pub(crate) fn print_logs(&self) {
        for handle in self.iter() {
            eprintln!("--- {}: last {TAIL} lines", handle.component);
            eprintln!("{}", tail(&handle.managed.spec.log, TAIL));
        }
    }

    fn record(&self, component: Component, running: Option<Identity>) -> Result<()> {
        let managed = self.all.get(&component).context("an added component")?;
        let (spec, probe) = (managed.spec.clone(), managed.probe.clone());
        let record = Record {
            component,
            spec,
            probe,
            running,
        };
        write_json(&self.dir.join(format!("{component}.json")), &record)
    }
}

/// The identities in the records of a folder, last started first.
pub(crate) fn recorded(dir: &Path) -> Result<Vec<(Component, Identity)>> {
    let mut found: Vec<_> = records(dir)?
        .into_iter()
        .filter_map(|record| Some((record.component, record.running?)))
        .collect();
    found.sort_by_key(|(component, _)| std::cmp::Reverse(*component));
    Ok(found)
}

fn records(dir: &Path) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(records),
        Err(error) => return Err(error).with_context(|| format!("list {}", dir.display())),
    };
    for entry in entries {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let bytes = fs::read(&path)?;
            let record = serde_json::from_slice(&bytes);
            records.push(record.with_context(|| format!("parse {}", path.display()))?);
        }
    }
    Ok(records)
}

/// Writes a file that is either the old or the new one, never half.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, serde_json::to_vec_pretty(value)?)
        .with_context(|| format!("write {}", temporary.display()))?;
    fs::rename(&temporary, path).with_context(|| format!("write {}", path.display()))
}

/// One component of a running cluster.
#[derive(Debug, Clone, Copy)]
pub struct ComponentHandle<'a> {
    component: Component,
    managed: &'a Managed,
    components: &'a Components,
}

impl ComponentHandle<'_> {
    /// Which one.
    pub fn component(&self) -> Component {
        self.component
    }

    /// Process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        let mut process = self.lock();
        let process = process.as_mut()?;
        process.alive().then(|| process.identity().pid)
    }

    /// Everything it has written so far, over all its starts.
    pub fn log(&self) -> String {
        tail(&self.managed.spec.log, usize::MAX)
    }

    /// SIGTERM, and SIGKILL if it does not end in 20 seconds.
    pub async fn stop(&self) -> Result<()> {
        if let Some(process) = self.lock().as_mut() {
            process.terminate()?;
        }
        let deadline = grace_ends();
        while self.pid().is_some() && Instant::now() < deadline {
            sleep(POLL).await;
        }
        self.kill()
    }

    /// SIGKILL; the process is gone when this returns.
    pub fn kill(&self) -> Result<()> {
        let mut process = self.lock();
        if let Some(mut process) = process.take() {
            process.kill()?;
            drop(process);
            self.components.record(self.component, None)?;
        }
        Ok(())
    }

    /// SIGSTOP: it keeps its connections and answers nothing.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Starts it again on the same ports and data, and waits until it serves.
    pub async fn start(&self) -> Result<()> {
        self.spawn()?;
        self.ready().await
    }

    /// Starts another program in its place, with the same arguments, until it is stopped.
    pub(crate) async fn start_as(&self, program: &Path) -> Result<()> {
        let spec = Spec {
            program: program.to_owned(),
            ..self.managed.spec.clone()
        };
        self.spawn_from(&spec)?;
        self.ready().await
    }

    /// Waits until it answers its health check.
    pub async fn ready(&self) -> Result<()> {
        let deadline = Instant::now() + READY;
        loop {
            let answer = self.check().await;
            let error = match answer {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if self.pid().is_none() {
                bail!("{} ended; its log:\n{}", self.component, self.tail());
            }
            if Instant::now() > deadline {
                bail!(
                    "{} is not ready: {error:#}; its log:\n{}",
                    self.component,
                    self.tail()
                );
            }
            sleep(POLL).await;
        }
    }

    /// Asks for its health once.
    pub async fn check(&self) -> Result<()> {
        let pki = &self.components.pki;
        let (url, authority, identity) = match &self.managed.probe {
            Probe::Cluster(url) => (url, Authority::Cluster, Some("admin")),
            Probe::Etcd(url) => (url, Authority::Etcd, Some("apiserver-etcd-client")),
            Probe::Plain(url) => (url, Authority::Cluster, None),
            Probe::Socket(path) => {
                tokio::net::UnixStream::connect(path).await?;
                return Ok(());
            }
        };
        let identity = identity.map(|name| pki.read(name)).transpose()?;
        let credential = identity
            .as_ref()
            .map_or(Credential::Nothing, Credential::Certificate);
        let (base, path) = split_path(url)?;
        let config = http::config(base, &pki.authority_pem(authority)?, credential)?;
        http::get(&http::impatient(config, CHECK)?, path)
            .await
            .map(drop)
    }

    fn spawn(&self) -> Result<()> {
        self.spawn_from(&self.managed.spec)
    }

    fn spawn_from(&self, spec: &Spec) -> Result<()> {
        let mut process = self.lock();
        if process.as_mut().is_some_and(Process::alive) {
            return Ok(());
        }
        let started = Process::spawn(spec, self.components.lifetime)?;
        let identity = started.identity().clone();
        *process = Some(started);
        self.components.record(self.component, Some(identity))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let mut process = self.lock();
        let process = process
            .as_mut()
            .filter(|process| process.identity().alive());
        process
            .ok_or_else(|| anyhow!("{} does not run", self.component))?
            .signal(signal)
    }

    fn tail(&self) -> String {
        tail(&self.managed.spec.log, TAIL)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Process>> {
        // A panic elsewhere leaves the process as it is, and it still has to be stopped.
        self.managed
            .process
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Splits `https://host:port/path` before the path.
fn split_path(url: &str) -> Result<(&str, &str)> {
    let host = url
        .find("://")
        .map(|at| at + 3)
        .context("a health check needs a scheme")?;
    let path = url[host..]
        .find('/')
        .context("a health check needs a path")?;
    Ok(url.split_at(host + path))
}
