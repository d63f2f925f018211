//! The private keys where they are: kubectl runs `keystead sealing reseal` in a pod of the operator, by the user's own right to
//! do so. Entries go in and come out; no private key and no value leaves the pod.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::crypto::SealingPublicKey;
use crate::plugin::exit::Failure;
use crate::sealing::{Answers, Item, MAX_ANSWER, Request};

/// Longest wait for the answer to one request.
const LONGEST: Duration = Duration::from_secs(300);

/// A pod of the operator.
pub(super) struct Operator {
    /// The arguments of kubectl that say which cluster.
    pub(super) connection: Vec<OsString>,
    /// The operator's namespace.
    pub(super) namespace: String,
}

impl Operator {
    /// Has entries sealed anew.
    pub(super) async fn reseal(
        &self,
        items: Vec<Item>,
        recipients: &[SealingPublicKey],
    ) -> Result<Answers, Failure> {
        let mut answers = Vec::new();
        for request in Request::of(items, recipients) {
            let asked = tokio::time::timeout(LONGEST, self.ask(&request)).await;
            let some = asked.unwrap_or_else(|_| {
                let limit = LONGEST.as_secs();
                Err(Failure::error(format!(
                    "the operator's pod did not answer within {limit} s"
                )))
            })?;
            if some.len() != request.entries.len() {
                return Err(strange());
            }
            answers.extend(some);
        }
        Ok(answers)
    }

    async fn ask(&self, request: &Request) -> Result<Answers, Failure> {
        let request = serde_json::to_vec(request).map_err(|_| strange())?;
        let mut child = self.spawn()?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(strange());
        };
        let send = async move {
            // Whoever does not read all of it ends with an error, which is told.
            let _ = stdin.write_all(&request).await;
        };
        let mut answer = Vec::new();
        let mut bounded = stdout.take(MAX_ANSWER + 1);
        let ((), read) = tokio::join!(send, bounded.read_to_end(&mut answer));
        if !read.is_ok_and(|size| size as u64 <= MAX_ANSWER) {
            return Err(strange());
        }
        let ended = child.wait().await;
        if !ended.is_ok_and(|status| status.success()) {
            return Err(Failure::error(format!(
                "`keystead sealing reseal` could not be run in the operator's pod: it takes the right to create pods/exec in \
                 namespace {}, and an operator of this release; or give exported keys with --private-key",
                self.namespace
            )));
        }
        serde_json::from_slice(&answer).map_err(|_| strange())
    }

    fn spawn(&self) -> Result<Child, Failure> {
        let mut command = Command::new("kubectl");
        command
            .args(&self.connection)
            .args(["exec", "-i", "-n", &self.namespace])
            .args(["deploy/keystead-controller", "-c", "controller"])
            .args(["--", "/keystead", "sealing", "reseal"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        command.spawn().map_err(|error| {
            Failure::error(format!(
                "kubectl cannot be started ({}), and it leads to the operator's keys: put it on your PATH, or give exported keys \
                 with --private-key",
                error.kind()
            ))
        })
    }
}

fn strange() -> Failure {
    Failure::error(
        "the operator's pod answered something else: it must be of the same release as this command",
    )
}
