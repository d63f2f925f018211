//! One process of the operator.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use keystead::clock::moved::FILE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::{SYSTEM, eventually};

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// `keystead controller`.
    Controller,
    /// `keystead server`.
    Server,
}

/// A running operator, or a replica of its server. It ends when the handle drops, also when the test process is killed.
pub(crate) struct Operator {
    child: Child,
    port: u16,
    webhook_port: Option<u16>,
    api_port: Option<u16>,
    log: PathBuf,
}

impl Operator {
    pub(super) fn spawn(
        part: Part,
        name: &str,
        kubeconfig: &Path,
        log: PathBuf,
        clock: &Path,
        args: &[&str],
    ) -> Self {
        let port = free_port();
        let webhook_port = (part == Part::Server).then(free_port);
        let api_port = (part == Part::Server).then(free_port);
        let out = File::create(&log).expect("the log can be written");
        let err = out.try_clone().expect("the log can be written");
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_keystead")])
            .arg(match part {
                Part::Controller => "controller",
                Part::Server => "server",
            })
            .args(["--operator-namespace", SYSTEM, "--identity", name])
            .args(["--http-address", &format!("127.0.0.1:{port}")]);
        if part == Part::Controller {
            // There are no Services here: the API server reaches a server by this name.
            command
                .args(["--server-names", "localhost"])
                .args(["--injection", "--node-plugin"]);
        }
        if let Some(port) = webhook_port {
            command.args(["--webhook-address", &format!("127.0.0.1:{port}")]);
        }
        if let Some(port) = api_port {
            command.args(["--api-address", &format!("127.0.0.1:{port}")]);
        }
        let child = command
            .args(args)
            .env("KUBECONFIG", kubeconfig)
            .env(FILE, clock)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .kill_on_drop(true)
            .spawn()
            .expect("the operator starts");
        Self {
            child,
            port,
            webhook_port,
            api_port,
            log,
        }
    }

    /// The port of its API, if it is a server.
    pub(crate) fn api_port(&self) -> u16 {
        self.api_port.expect("a server")
    }

    /// The port of its webhooks, if it is a server.
    pub(crate) fn webhook_port(&self) -> u16 {
        self.webhook_port.expect("a server")
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("the operator runs")
    }

    /// Whether the process is still there.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("the operator can be waited for")
            .is_none()
    }

    /// kill -9.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("the operator can be killed");
    }

    /// SIGTERM; waits until it has ended by itself.
    pub(crate) async fn stop(mut self) {
        self.signal("TERM").await;
        let ended = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await;
        assert!(
            ended
                .expect("the operator ends in time")
                .expect("a status")
                .success(),
            "{}",
            self.log()
        );
    }

    /// SIGSTOP.
    pub(crate) async fn pause(&self) {
        self.signal("STOP").await;
    }

    /// SIGCONT.
    pub(crate) async fn resume(&self) {
        self.signal("CONT").await;
    }

    async fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &pid])
            .status()
            .await;
        assert!(sent.expect("kill runs").success());
    }

    /// Everything it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The body and status code of a path of its health listener.
    pub(crate) async fn http(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let code = answer.split(' ').nth(1)?.parse().ok()?;
        let body = answer.split_once("\r\n\r\n")?.1.to_owned();
        Some((code, body))
    }

    /// Waits until /readyz says so.
    pub(crate) async fn wait_ready(&self) {
        eventually("the operator is ready", || async {
            self.http("/readyz")
                .await
                .is_some_and(|(code, _)| code == 200)
        })
        .await;
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a free port")
        .port()
}

impl Drop for Operator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(60)..];
            eprintln!("--- the operator's last lines ---\n{}", tail.join("\n"));
        }
    }
}
