//! How a replica of the server says that it is there and how far it is: by a Lease of its own.
//!
//! The controller waits for every live replica before it says that a key is disabled (see
//! [`crate::controllers::replicas`]). A Lease ends with its pod, which owns it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::api::names::{
    ANNOTATION_APPLIED, ANNOTATION_KEY_USES, COMPONENT_SERVER, FIELD_MANAGER, LABEL_COMPONENT,
    LABEL_MANAGED_BY, MANAGED_BY, SERVER_LEASE_PREFIX,
};
use crate::calling::within;
use crate::clock::{Clock as _, SystemClock};
use crate::keys::{Freshness, Uses};
use crate::telling::describe;

/// How often a replica says how far it is.
const EVERY: Duration = Duration::from_secs(5);
/// The shortest time between two Leases, however much changes.
const LEAST: Duration = Duration::from_secs(1);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// This replica, as others know it.
#[derive(Clone, Debug)]
pub struct Replica {
    /// The pod's name.
    pub name: String,
    /// The pod's UID; without one nobody takes the Lease away when the replica is gone.
    pub uid: Option<String>,
}

/// The Lease of this replica.
pub(super) struct Presence {
    api: Api<Lease>,
    replica: Replica,
    freshness: Arc<Freshness>,
    uses: Arc<Uses>,
    held: Option<Lease>,
}

impl Presence {
    pub(super) fn new(
        client: Client,
        namespace: &str,
        replica: Replica,
        freshness: Arc<Freshness>,
        uses: Arc<Uses>,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            replica,
            freshness,
            uses,
            held: None,
        }
    }

    /// Says for ever how far this replica is: regularly, and when something changed.
    pub(super) async fn run(&mut self) {
        let mut failing = false;
        loop {
            let started = Instant::now();
            match self.write(self.lease(Some(&self.replica.name))).await {
                Ok(()) => {
                    if failing {
                        info!("the replica's Lease is written again");
                    }
                    failing = false;
                    self.freshness.announced(started);
                }
                Err(error) if !failing => {
                    warn!(%error, "the replica's Lease cannot be written; trying again");
                    failing = true;
                }
                Err(_) => {}
            }
            sleep(LEAST.saturating_sub(started.elapsed())).await;
            if self.held.is_none() {
                continue;
            }
            tokio::select! {
                () = sleep(EVERY.saturating_sub(started.elapsed())) => {}
                () = self.freshness.announcement_wanted() => {}
            }
        }
    }

    /// Says that this replica uses no key any more, so that nobody waits for it.
    pub(super) async fn leave(&mut self) {
        if let Err(error) = self.write(self.lease(None)).await {
            warn!(%error, "the replica's Lease could not be given back");
        }
    }

    fn lease(&self, holder: Option<&str>) -> Lease {
        let now = SystemClock.now();
        let mut lease = lease(
            &self.replica,
            holder,
            self.freshness.proof().revision(),
            now,
        );
        let told = self.uses.told(now);
        let told = told.map(|told| (ANNOTATION_KEY_USES.to_owned(), told));
        lease
            .metadata
            .annotations
            .get_or_insert_default()
            .extend(told);
        lease
    }

    /// Writes the Lease: its name is this replica's alone.
    async fn write(&mut self, mut lease: Lease) -> Result<(), Failure> {
        let name = lease.metadata.name.clone().unwrap_or_default();
        let found = match &self.held {
            Some(held) => Some(held.clone()),
            None => answered(self.api.get_opt(&name)).await?,
        };
        let written = match found {
            Some(found) => {
                lease.metadata.resource_version = found.metadata.resource_version;
                match answered(self.api.replace(&name, &params(), &lease)).await {
                    Err(Failure::Refused(kube::Error::Api(status)))
                        if status.is_conflict() || status.is_not_found() =>
                    {
                        // Looked at again the next time.
                        self.held = None;
                        return Err(Failure::Overtaken);
                    }
                    written => written?,
                }
            }
            None => answered(self.api.create(&params(), &lease)).await?,
        };
        self.held = Some(written);
        Ok(())
    }
}

/// Why the Lease was not written.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{}", describe(.0))]
    Refused(kube::Error),
    #[error("somebody else wrote it meanwhile")]
    Overtaken,
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

async fn answered<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    within(PATIENCE, request).await.map_err(Failure::Refused)
}

fn lease_name(replica: &str) -> String {
    if replica.starts_with(SERVER_LEASE_PREFIX) {
        replica.to_owned()
    } else {
        format!("{SERVER_LEASE_PREFIX}{replica}")
    }
}

/// The Lease of a replica that has applied that state. Without a holder: one that uses no key any more.
fn lease(replica: &Replica, holder: Option<&str>, applied: u64, now: Timestamp) -> Lease {
    let owner = replica.uid.as_ref().map(|uid| OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        name: replica.name.clone(),
        uid: uid.clone(),
        ..OwnerReference::default()
    });
    Lease {
        metadata: ObjectMeta {
            name: Some(lease_name(&replica.name)),
            labels: Some(
                [
                    (LABEL_MANAGED_BY.to_owned(), MANAGED_BY.to_owned()),
                    (LABEL_COMPONENT.to_owned(), COMPONENT_SERVER.to_owned()),
                ]
                .into(),
            ),
            annotations: Some([(ANNOTATION_APPLIED.to_owned(), applied.to_string())].into()),
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.unwrap_or_default().to_owned()),
            lease_duration_seconds: Some(
                i32::try_from(Freshness::MAX_AGE.as_secs()).unwrap_or(i32::MAX),
            ),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lease_names_the_applied_state_and_belongs_to_the_pod() {
        let replica = Replica {
            name: "keystead-server-abc".to_owned(),
            uid: Some("uid-1".to_owned()),
        };
        let lease = lease(
            &replica,
            Some("keystead-server-abc"),
            42,
            Timestamp::UNIX_EPOCH,
        );
        let annotations = lease.metadata.annotations.unwrap();
        assert_eq!(annotations["keystead.dev/applied-resource-version"], "42");
        assert_eq!(lease.metadata.owner_references.unwrap()[0].uid, "uid-1");
        assert_eq!(lease.spec.unwrap().lease_duration_seconds, Some(15));
    }

    #[test]
    fn a_replica_that_leaves_holds_nothing() {
        let replica = Replica {
            name: "a".to_owned(),
            uid: None,
        };
        let lease = lease(&replica, None, 42, Timestamp::UNIX_EPOCH);
        assert_eq!(lease.spec.unwrap().holder_identity.as_deref(), Some(""));
        assert_eq!(lease.metadata.owner_references, None);
    }
}
