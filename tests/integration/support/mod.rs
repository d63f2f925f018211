//! What the tests stand on.

mod calls;
mod chart;
mod fleet;
mod operator;
mod people;
mod proxy;
mod secrets;
mod served;
mod shared;
mod usage;
mod wait;
mod webhook;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use k8s_openapi::api::core::v1::Secret;
use keystead::clock::moved::REAL_TIMERS;
use keystead_cluster::{Binaries, ControlPlane, Options, Set};
use kube::{Api, Client};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

pub(crate) use calls::{Answer, Calls};
pub(crate) use fleet::{OPERATOR_USER, key, plain, plains};
pub(crate) use operator::Operator;
use operator::Part;
pub(crate) use people::Person;
pub(crate) use proxy::Proxy;
pub(crate) use secrets::{SOON, managed_secret};
pub(crate) use served::Served;
pub(crate) use shared::{own_control_plane, shared_control_plane};
pub(crate) use wait::{eventually, eventually_within};

/// The operator's namespace.
pub(crate) const SYSTEM: &str = "keystead-system";

/// A control plane with the chart installed.
pub(crate) struct Bed {
    /// The control plane.
    pub(crate) cluster: ControlPlane,
    /// A client with all rights.
    pub(crate) client: Client,
    /// Where the tools are.
    pub(crate) tools: Tools,
    dir: tempfile::TempDir,
}

/// The tools that users have.
#[derive(Clone)]
pub(crate) struct Tools {
    /// kubectl.
    pub(crate) kubectl: PathBuf,
    /// helm.
    pub(crate) helm: PathBuf,
}

impl Tools {
    /// Builds them, if need be.
    fn ensure() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let programs =
            Binaries::ensure(&[Set::ControlPlane, Set::Helm]).expect("the programs are built");
        Self {
            kubectl: programs.path("kubectl").to_owned(),
            helm: programs.path("helm").to_owned(),
        }
    }
}

/// What a command printed, and whether it succeeded.
#[derive(Debug)]
pub(crate) struct Printed {
    /// Whether the exit code was 0.
    pub(crate) ok: bool,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Printed {
    /// Standard output of a command that must succeed.
    #[track_caller]
    pub(crate) fn expect_ok(self) -> String {
        assert!(self.ok, "the command failed: {}{}", self.out, self.err);
        self.out
    }

    /// Standard error of a command that must fail.
    #[track_caller]
    pub(crate) fn expect_refused(self) -> String {
        assert!(!self.ok, "the command succeeded: {}", self.out);
        self.err
    }
}

impl Bed {
    /// A control plane with the chart installed by Helm, and no operator yet.
    pub(crate) async fn start() -> Self {
        Self::start_with(Options::default(), &[]).await
    }

    /// The same with other options and values (`key=value`).
    pub(crate) async fn start_with(options: Options, values: &[&str]) -> Self {
        let tools = Tools::ensure();
        if values.is_empty() {
            let cluster = ControlPlane::start_from(chart::installed(&tools).await, options).await;
            return Self::of(cluster.expect("a control plane starts"), tools);
        }
        Self::start_apart(options, values).await
    }

    /// One that shares nothing with the others, not even the authority that signs certificates.
    pub(crate) async fn start_apart(options: Options, values: &[&str]) -> Self {
        let tools = Tools::ensure();
        let cluster = ControlPlane::start(options).await;
        let bed = Self::of(cluster.expect("a control plane starts"), tools);
        bed.install("keystead", values).await;
        bed
    }

    fn of(cluster: ControlPlane, tools: Tools) -> Self {
        Self {
            client: cluster.client().expect("a client"),
            dir: tempfile::tempdir().expect("a temporary folder"),
            cluster,
            tools,
        }
    }

    /// Installs the chart under a release name.
    pub(crate) async fn install(&self, release: &str, values: &[&str]) {
        chart::install(&self.tools, self.cluster.kubeconfig(), release, values).await;
    }

    /// A folder that goes with the bed.
    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Starts an operator process with the rights of the chart's `ServiceAccount` and waits until it is ready.
    pub(crate) async fn operator(&self) -> Operator {
        let operator = self.operator_named("one", &[]).await;
        operator.wait_ready().await;
        operator
    }

    /// Starts an operator process under a name and with further arguments, and does not wait.
    pub(crate) async fn operator_named(&self, name: &str, args: &[&str]) -> Operator {
        let kubeconfig = self.kubeconfig_of("keystead-controller").await;
        self.process(Part::Controller, name, &kubeconfig, args)
    }

    /// Starts a replica of the server with the rights of the chart's `ServiceAccount`, and does not wait.
    pub(crate) async fn server_named(&self, name: &str) -> Operator {
        self.server_with(name, &[]).await
    }

    /// The same with further arguments.
    pub(crate) async fn server_with(&self, name: &str, args: &[&str]) -> Operator {
        let kubeconfig = self.kubeconfig_of("keystead-server").await;
        self.process(Part::Server, name, &kubeconfig, args)
    }

    /// A way to the API server.
    pub(crate) async fn proxy(&self) -> Proxy {
        let port = self.cluster.url().rsplit(':').next();
        let port = port.expect("an address has a port").trim_end_matches('/');
        Proxy::to(port.parse().expect("a port is a number")).await
    }

    /// Starts an operator process that goes that way, and waits until it is ready.
    pub(crate) async fn operator_by_way_of(&self, proxy: &Proxy) -> Operator {
        let kubeconfig = self.kubeconfig_by("keystead-controller", proxy).await;
        let operator = self.process(Part::Controller, "one", &kubeconfig, &[]);
        operator.wait_ready().await;
        operator
    }

    /// Starts a replica of the server that goes that way, and does not wait.
    pub(crate) async fn server_by_way_of(&self, name: &str, proxy: &Proxy) -> Operator {
        let kubeconfig = self.kubeconfig_by("keystead-server", proxy).await;
        self.process(Part::Server, name, &kubeconfig, &[])
    }

    /// Starts an operator process that signs in by that kubeconfig, and does not wait.
    pub(crate) fn operator_by(&self, kubeconfig: &Path) -> Operator {
        self.process(Part::Controller, "one", kubeconfig, &[])
    }

    /// Starts a replica of the server that signs in by that kubeconfig, and does not wait.
    pub(crate) fn server_by(&self, kubeconfig: &Path) -> Operator {
        self.process(Part::Server, "one", kubeconfig, &[])
    }

    /// A kubeconfig in which the API server's address is replaced by that of the proxy.
    async fn kubeconfig_by(&self, account: &str, proxy: &Proxy) -> PathBuf {
        let kubeconfig = self.kubeconfig_of(account).await;
        let text = std::fs::read_to_string(kubeconfig).expect("the kubeconfig can be read");
        assert!(text.contains(self.cluster.url()), "{}", self.cluster.url());
        let other = self.dir.path().join(format!("kubeconfig-{account}"));
        let text = text.replace(self.cluster.url(), &proxy.url());
        std::fs::write(&other, text).expect("it can be written");
        other
    }

    async fn kubeconfig_of(&self, account: &str) -> PathBuf {
        let kubeconfig = self
            .cluster
            .kubeconfig_for_service_account(SYSTEM, account)
            .await;
        kubeconfig.expect("the chart made the ServiceAccount")
    }

    fn process(&self, part: Part, name: &str, kubeconfig: &Path, args: &[&str]) -> Operator {
        let log = self
            .dir
            .path()
            .join(format!("operator-{name}-{}.log", nanoseconds()));
        Operator::spawn(part, name, kubeconfig, log, &self.clock_file(), args)
    }

    /// Sets how far the clocks of all operators of this bed are from the machine's, also of those that run.
    pub(crate) fn set_clock(&self, seconds: i64) {
        self.set_clocks(seconds, seconds);
    }

    /// The same, with another distance for what they take for the API server's clock.
    pub(crate) fn set_clocks(&self, seconds: i64, server: i64) {
        // By a new name, so that nobody ever reads half of it.
        let new = self.dir.path().join("clock.new");
        std::fs::write(&new, format!("{seconds}\n{server}\n")).expect("the file can be written");
        std::fs::rename(new, self.clock_file()).expect("the file can be renamed");
    }

    /// Says that nobody moves the clocks, so that operators that start now wait as they do in real life.
    pub(crate) fn leave_clocks(&self) {
        let lines = format!("0\n0\n{REAL_TIMERS}\n");
        std::fs::write(self.clock_file(), lines).expect("the file can be written");
    }

    fn clock_file(&self) -> PathBuf {
        self.dir.path().join("clock")
    }

    /// Runs kubectl as the administrator.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> Printed {
        self.kubectl_with(args, "").await
    }

    /// Runs kubectl as the administrator with something on standard input.
    pub(crate) async fn kubectl_with(&self, args: &[&str], stdin: &str) -> Printed {
        run(&self.tools.kubectl, self.cluster.kubeconfig(), args, stdin).await
    }

    /// Runs helm as the administrator.
    pub(crate) async fn helm(&self, args: &[&str]) -> Printed {
        run(&self.tools.helm, self.cluster.kubeconfig(), args, "").await
    }

    /// `kubectl apply -f -` as the administrator.
    #[track_caller]
    pub(crate) fn apply(&self, yaml: &str) -> impl Future<Output = ()> {
        let yaml = yaml.to_owned();
        async move {
            self.kubectl_with(&["apply", "-f", "-"], &yaml)
                .await
                .expect_ok();
        }
    }

    /// `kubectl apply -f -` as somebody else.
    pub(crate) async fn apply_as(&self, user: &str, yaml: &str) -> Printed {
        self.kubectl_with(&["apply", "--as", user, "-f", "-"], yaml)
            .await
    }

    /// Makes a namespace.
    pub(crate) async fn namespace(&self, name: &str) {
        self.kubectl(&["create", "namespace", name])
            .await
            .expect_ok();
    }

    /// Waits until a `ManagedSecret` is Ready for its current generation.
    pub(crate) async fn wait_ready(&self, namespace: &str, name: &str) {
        wait::secret_ready(&self.client, namespace, name, "True", None).await;
    }

    /// Waits until a `ManagedSecret` is not Ready for that reason; returns the message.
    pub(crate) async fn wait_not_ready(&self, namespace: &str, name: &str, reason: &str) -> String {
        wait::secret_ready(&self.client, namespace, name, "False", Some(reason)).await
    }

    /// The data of a native Secret, if there is one.
    pub(crate) async fn data(
        &self,
        namespace: &str,
        name: &str,
    ) -> Option<BTreeMap<String, Vec<u8>>> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let secret = secrets
            .get_opt(name)
            .await
            .expect("the API server answers")?;
        Some(
            secret
                .data
                .unwrap_or_default()
                .into_iter()
                .map(|(k, v)| (k, v.0))
                .collect(),
        )
    }

    /// One value of a native Secret that must be there.
    pub(crate) async fn value(&self, namespace: &str, name: &str, key: &str) -> Vec<u8> {
        let data = self.data(namespace, name).await;
        let data = data.unwrap_or_else(|| panic!("Secret {namespace}/{name} is not there"));
        data.get(key)
            .cloned()
            .unwrap_or_else(|| panic!("Secret {namespace}/{name} has no {key}"))
    }
}

/// A number for a file name.
fn nanoseconds() -> u32 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .subsec_nanos()
}

async fn run(program: &Path, kubeconfig: &Path, args: &[&str], stdin: &str) -> Printed {
    let mut child = Command::new(program)
        .args(args)
        .env("KUBECONFIG", kubeconfig)
        .env("HELM_CACHE_HOME", kubeconfig.with_extension("helm"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let mut pipe = child.stdin.take().expect("stdin is piped");
    // Beside reading what it prints: a program that prints while it reads would wait for us, and we for it.
    let input = async move {
        // A program that does not read its input closes the pipe; that is its right.
        let _ = pipe.write_all(stdin.as_bytes()).await;
    };
    let ((), output) = tokio::join!(input, child.wait_with_output());
    let output = output.expect("the program ends");
    Printed {
        ok: output.status.success(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
