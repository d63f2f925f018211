//! kubectl and helm, as an administrator runs them.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use keystead_cluster::Binaries;

/// How long something may take that normally takes a moment. Machines that run tests are slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
/// The same in the words of kubectl and helm.
pub(crate) const TIMEOUT: &str = "--timeout=180s";

/// kubectl and helm, with the kubeconfig of a cluster.
pub(crate) struct Tools {
    kubectl: PathBuf,
    helm: PathBuf,
    kubeconfig: PathBuf,
    helm_home: tempfile::TempDir,
    /// Where kubectl and its plugin have the names that people know them by.
    bin: tempfile::TempDir,
}

impl Tools {
    pub(crate) fn new(kubeconfig: &Path) -> Self {
        Self {
            kubectl: Binaries::ensure_one("kubectl").expect("kubectl is built"),
            helm: Binaries::ensure_one("helm").expect("helm is built"),
            kubeconfig: kubeconfig.to_owned(),
            helm_home: tempfile::tempdir().expect("a folder for helm"),
            bin: tempfile::tempdir().expect("a folder for links"),
        }
    }

    /// What `kubectl keystead` prints, or why it failed.
    pub(crate) fn plugin<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<String, String> {
        let programs = [
            ("kubectl", self.kubectl.as_path()),
            (
                "kubectl-keystead",
                Path::new(env!("CARGO_BIN_EXE_kubectl-keystead")),
            ),
        ];
        for (name, program) in programs {
            let link = self.bin.path().join(name);
            if !link.exists() {
                symlink(program, link).expect("a link");
            }
        }
        let mut command = self.command(&self.kubectl, ["keystead"]);
        let rest = std::env::var("PATH").expect("a PATH");
        command
            .args(args)
            .env("PATH", format!("{}:{rest}", self.bin.path().display()));
        run(command, "")
    }

    /// What kubectl prints, when it must succeed.
    #[track_caller]
    pub(crate) fn kubectl<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        self.kubectl_with(args, "")
    }

    /// The same with something on standard input.
    #[track_caller]
    pub(crate) fn kubectl_with<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        stdin: &str,
    ) -> String {
        run(self.command(&self.kubectl, args), stdin).unwrap_or_else(|printed| panic!("{printed}"))
    }

    /// What kubectl prints, or why it failed.
    pub(crate) fn try_kubectl<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<String, String> {
        self.try_kubectl_with(args, "")
    }

    /// The same with something on standard input.
    pub(crate) fn try_kubectl_with<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        stdin: &str,
    ) -> Result<String, String> {
        run(self.command(&self.kubectl, args), stdin)
    }

    /// What helm prints, when it must succeed.
    #[track_caller]
    pub(crate) fn helm<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        run(self.command(&self.helm, args), "").unwrap_or_else(|printed| panic!("{printed}"))
    }

    fn command<S: AsRef<OsStr>>(
        &self,
        program: &Path,
        args: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HELM_CACHE_HOME", self.helm_home.path().join("cache"))
            .env("HELM_CONFIG_HOME", self.helm_home.path().join("config"))
            .env("HELM_DATA_HOME", self.helm_home.path().join("data"));
        command
    }
}

fn run(mut command: Command, stdin: &str) -> Result<String, String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut pipe = child.stdin.take().expect("stdin is piped");
    // A program that does not read its input closes the pipe; that is its right.
    let _ = pipe.write_all(stdin.as_bytes());
    drop(pipe);
    let output = child.wait_with_output().expect("the program ends");
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(out);
    }
    let err = String::from_utf8_lossy(&output.stderr);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    Err(format!("failed: {}\n{out}{err}", words.join(" ")))
}

/// Waits until there is something.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        sleep(Duration::from_millis(250));
    }
}

/// Waits until nothing is there any more, or says what still is.
#[track_caller]
pub(crate) fn eventually_none(what: &str, mut look: impl FnMut() -> Vec<String>) {
    let started = Instant::now();
    loop {
        let found = look();
        if found.is_empty() {
            return;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}: {found:#?}"
        );
        sleep(Duration::from_millis(250));
    }
}
