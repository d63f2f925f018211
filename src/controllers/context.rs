//! What every controller needs: clients, the keyring, and the bookkeeping between reconciles.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::runtime::events::{Event, EventType};
use kube::runtime::reflector::ObjectRef;
use tokio::sync::{broadcast, watch};
use tokio_stream::wrappers::BroadcastStream;
use tracing::warn;

use super::backoff::{Failures, Pace, Repairs};
use super::census::Census;
use super::changes::Changes;
use super::creations::Creations;
use super::error::Error;
use super::events::Events;
use super::homes::Homes;
use super::key_uses::KeyUses;
use super::managed_secret::truth::purge::Parked;
use super::namespace::OptedIn;
use super::references::References;
use super::remote::Remotes;
use super::replicas::Replicas;
use super::rotations::Rotations;
use super::sharing::Sharing;
use crate::api::names::{API_PORT, SERVER_SERVICE};
use crate::api::{KeyAlias, KeyGrant, ManagedKey, ManagedSecret, Reason, RotationSchedule};
use crate::audit::{Resource, ResourceType, Trail};
use crate::clock::{Clock, Clocks};
use crate::crypto::KeyId;
use crate::installation::{Installation, Records};
use crate::keys::{KeyChanged, Keyring};
use crate::leader::Leadership;
use crate::telemetry::Metrics;
use crate::truth::{KeyMaterials, SealedSecrets};
use crate::watching::Scope;

/// What is done with sealing keys.
#[derive(Clone, Copy, Debug)]
pub struct Sealing {
    /// How old the newest gets before another is made; for ever if absent.
    pub period: Option<SignedDuration>,
    /// Whether the public keys are published.
    pub publish: bool,
}

/// What every controller needs.
pub struct Context {
    /// The client.
    pub client: Client,
    /// The operator's namespace.
    pub namespace: String,
    /// Which namespaces are served.
    pub scope: Scope,
    /// How many objects of one kind are reconciled at once.
    pub concurrency: u16,
    /// The installation.
    pub installation: Arc<Installation>,
    /// The keys.
    pub keyring: Arc<Keyring>,
    /// Announces changes of keys.
    pub key_changes: broadcast::Sender<KeyChanged>,
    /// The installation's record.
    pub records: Records,
    /// Tells that the record changed.
    pub record_changes: watch::Receiver<()>,
    /// The truth about keys.
    pub materials: KeyMaterials,
    /// The truth about secrets.
    pub sealed: SealedSecrets,
    /// How much of it needs each key.
    pub census: Census,
    /// What of it waits for its end.
    pub parked: Parked,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whether this replica still leads.
    pub leadership: Leadership,
    /// How long nothing may have needed old material of default keys before it is removed; never if absent.
    pub trim_after: Option<SignedDuration>,
    /// What is done with sealing keys.
    pub sealing: Sealing,
    /// The name of this leadership, which no other ever had.
    pub tenure: String,
    /// Counters.
    pub metrics: Metrics,
    /// The audit trail.
    pub trail: Trail,
    /// What is remembered of the uses of keys.
    pub key_uses: KeyUses,
    /// Publishes Events.
    pub events: Events,
    /// Who waits for what.
    pub references: References,
    /// Which secrets are replicas of which.
    pub sharing: Sharing,
    /// What schedules ask of secrets.
    pub rotations: Rotations,
    /// What calls of the API ask of secrets.
    pub changes: Changes,
    /// Which other clusters may be asked for sources.
    pub remotes: Remotes,
    /// The namespaces of new secrets.
    pub homes: Homes,
    /// Which namespaces opt in to injection.
    pub opted_in: OptedIn,
    /// Whether there is a node plugin, which tells what pods have.
    pub node_plugin: bool,
    /// What is being made.
    pub creations: Creations,
    /// Consecutive failures of keys.
    pub key_failures: Failures<ObjectRef<ManagedKey>>,
    /// Consecutive failures of aliases.
    pub alias_failures: Failures<ObjectRef<KeyAlias>>,
    /// Consecutive failures of grants.
    pub grant_failures: Failures<ObjectRef<KeyGrant>>,
    /// Consecutive failures of schedules.
    pub schedule_failures: Failures<ObjectRef<RotationSchedule>>,
    /// Consecutive failures of secrets.
    pub secret_failures: Failures<ObjectRef<ManagedSecret>>,
    /// The pace at which stored secrets are encrypted anew after a rotation.
    pub reencryptions: Pace<ObjectRef<ManagedSecret>>,
    /// The replicas of the server.
    pub replicas: Replicas,
    /// Further DNS names and addresses of the server's certificate.
    pub server_names: Vec<String>,
    /// Consecutive repairs of targets that somebody else keeps changing.
    pub repairs: Repairs<ObjectRef<ManagedSecret>>,
}

impl Context {
    /// The time, now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// This process's clock and the API server's, for what must not hang on one of them.
    pub(super) async fn clocks(&self) -> Result<Clocks, Error> {
        let clocks = self.records.clocks(&self.clock).await;
        clocks.map_err(Error::Record)
    }

    /// The URL of the API in the cluster.
    pub(super) fn server_url(&self) -> String {
        format!("https://{SERVER_SERVICE}.{}.svc:{API_PORT}", self.namespace)
    }

    /// To be asked before every write: a replica that was paused and does not lead any more must not.
    pub fn check_leadership(&self) -> Result<(), Error> {
        self.leadership.check().map_err(Error::NotLeader)
    }

    /// A key, as the audit trail names it.
    pub(crate) fn key_resource(&self, id: KeyId) -> Resource {
        let known = self.keyring.get(id);
        let spec = known.as_ref().map(|key| &key.truth.spec);
        Resource {
            type_: ResourceType::ManagedKey,
            namespace: spec.map(|spec| spec.namespace.clone()).unwrap_or_default(),
            name: spec.map(|spec| spec.name.clone()).unwrap_or_default(),
            uid: spec.map(|spec| spec.object_uid.clone()),
            // Of a key that is not known there is only its id.
            arn: Some(spec.map_or_else(|| format!("key/{id}"), |spec| spec.arn.clone())),
        }
    }

    /// Publishes an Event. Best effort: an Event that is lost loses nothing.
    pub async fn event(
        &self,
        object: &k8s_openapi::api::core::v1::ObjectReference,
        type_: EventType,
        reason: Reason,
        note: String,
    ) {
        let event = Event {
            type_,
            reason: reason.as_str().to_owned(),
            note: Some(note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let published = super::error::call("create", "Event", self.events.publish(&event, object));
        if let Err(error) = published.await {
            warn!(%error, "an event was lost");
        }
    }
}

/// Keys that were put in, changed or taken out, by namespace and name.
pub(super) fn changed_keys(
    ctx: &Arc<Context>,
) -> impl Stream<Item = KeyChanged> + Send + use<> + 'static {
    let keyring = ctx.keyring.clone();
    BroadcastStream::new(ctx.key_changes.subscribe()).flat_map(move |change| {
        // Too many at once to be told one by one: all of them.
        let changed = change.map_or_else(|_| keyring.places(), |change| vec![change]);
        futures::stream::iter(changed)
    })
}

/// A name for what one look at an object does, in the audit trail.
pub(super) fn request_id() -> String {
    let mut bytes = [0; 16];
    // Without randomness the lines of two looks cannot be told apart, which loses nothing that was done.
    let _ = getrandom::fill(&mut bytes);
    format!("{:032x}", u128::from_be_bytes(bytes))
}

/// A random byte for jitter; nothing secret.
pub(super) fn jitter() -> u8 {
    let mut byte = [0];
    // Without randomness the waits are merely less spread.
    let _ = getrandom::fill(&mut byte);
    byte[0]
}
