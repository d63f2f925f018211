//! What delivers to pods: the files of a secret for a pod, and, for the plugin on each node, which secrets changed and which version
//! each pod has.
//!
//! A value is given for the token of a pod only, as any reader gets it. The plugin's own token gives knowledge of versions, and lets it
//! speak of the pods of its own node.

mod files;
mod node;
mod polls;
mod report;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use self::node::{Node, Nodes};
use self::polls::Polls;
use self::report::Reports;
use super::Caller;
use super::calls::DeliveryCall;
use super::error::ApiError;
use super::limits::Turn;
use super::secrets::Secrets;
use super::wire::{Answer, answer, parameters};
use crate::server::catalogue::Catalogue;
use crate::server::gate::PolicyGate;
use crate::server::kubelets::Kubelets;

/// Calls of nodes that are read, or worked on, at once: each may have megabytes. Those that wait for a change do not count.
const AT_ONCE: usize = 32;
/// How long a call of a node may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// The calls about delivery.
pub(super) struct Delivery {
    catalogue: Arc<Catalogue>,
    kubelets: Arc<Kubelets>,
    nodes: Nodes,
    polls: Polls,
    reports: Reports,
    turns: Semaphore,
}

/// A call that may be read.
pub(super) enum Admitted<'a> {
    /// For the files of a secret, by whoever may read it.
    Files,
    /// To be told of changes, by the plugin of a node.
    Watch(Node<'a>, SemaphorePermit<'a>),
    /// To tell what pods have, by the plugin of a node.
    Report(Node<'a>, SemaphorePermit<'a>),
}

impl Delivery {
    pub(super) fn new(
        client: Client,
        operator_namespace: &str,
        catalogue: Arc<Catalogue>,
        kubelets: Arc<Kubelets>,
        gate: Arc<PolicyGate>,
    ) -> Self {
        Self {
            catalogue,
            kubelets,
            nodes: Nodes::new(operator_namespace, gate),
            polls: Polls::default(),
            reports: Reports::new(client),
            turns: Semaphore::new(AT_ONCE),
        }
    }

    /// Has whoever waits answered at once, for good.
    pub(super) fn end(&self) {
        self.polls.end();
    }

    /// Lets a call be read: those of nodes are only for their plugins.
    ///
    /// # Errors
    /// The caller is none, or there are too many.
    pub(super) async fn admit<'a>(
        &'a self,
        call: DeliveryCall,
        caller: Caller<'a>,
    ) -> Result<Admitted<'a>, ApiError> {
        let of_node = match call {
            DeliveryCall::GetSecretFiles => return Ok(Admitted::Files),
            DeliveryCall::WatchSecrets => Admitted::Watch,
            DeliveryCall::ReportLoaded => Admitted::Report,
        };
        let node = self.nodes.node(call, caller).await?;
        let Ok(Ok(turn)) = timeout(PATIENCE, self.turns.acquire()).await else {
            let message = "this replica answers as many nodes as it can: wait and try again";
            return Err(ApiError::throttled(message));
        };
        Ok(of_node(node, turn))
    }

    /// Answers a call.
    pub(super) async fn call(
        &self,
        admitted: Admitted<'_>,
        caller: Caller<'_>,
        secrets: &Secrets,
        body: Vec<u8>,
        turn: Turn,
    ) -> Result<Answer, ApiError> {
        match admitted {
            Admitted::Files => {
                let known = (&*self.catalogue, &*self.kubelets);
                files::files(known, secrets, caller, &body).await
            }
            Admitted::Watch(node, reading) => {
                let asked = watch::Asked::of(parameters(&body)?)?;
                let poll = self.polls.begin(node.pod_uid, asked.len())?;
                // Whoever waits holds up nobody: all plugins are one service account, which has few turns.
                drop((body, reading, turn));
                answer(&watch::watch(&self.catalogue, &asked, poll).await?)
            }
            Admitted::Report(node, _working) => {
                let pods = report::pods(parameters(&body)?)?;
                let failed = self.reports.report(&node, &pods).await;
                for failure in failed.iter().filter(|failure| failure.is_refusal()) {
                    self.nodes.refused_report(caller, failure).await?;
                }
                answer(&report::told(&failed))
            }
        }
    }
}
