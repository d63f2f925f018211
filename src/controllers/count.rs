//! How many objects there are of each kind and condition, for the metrics.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;

use super::parking::Presence;
use crate::api::condition::{self, Conditioned};
use crate::api::{ConditionType, KeyAlias, KeyGrant, ManagedKey, ManagedSecret, RotationSchedule};
use crate::telemetry::{Kind, Metrics, ReadyStatus};

/// How often they are counted.
const EVERY: Duration = Duration::from_secs(15);
const STATUSES: [ReadyStatus; 3] = [ReadyStatus::True, ReadyStatus::False, ReadyStatus::Unknown];

/// A kind that is counted.
pub(super) trait Counted: Conditioned {
    /// Its label.
    const KIND: Kind;
}

impl Counted for ManagedKey {
    const KIND: Kind = Kind::ManagedKey;
}

impl Counted for KeyAlias {
    const KIND: Kind = Kind::KeyAlias;
}

impl Counted for KeyGrant {
    const KIND: Kind = Kind::KeyGrant;
}

impl Counted for RotationSchedule {
    const KIND: Kind = Kind::RotationSchedule;
}

impl Counted for ManagedSecret {
    const KIND: Kind = Kind::ManagedSecret;
}

/// Counts for as long as it is polled; then the numbers are zero again, since another replica counts.
pub(super) async fn run<K>(presence: &Presence<K>, metrics: &Metrics)
where
    K: Resource<DynamicType = ()> + Counted + Clone + 'static,
{
    let _zero = Zero {
        metrics,
        kind: K::KIND,
    };
    loop {
        let found: Vec<_> = presence
            .all()
            .iter()
            .map(|object| ready(object.conditions()))
            .collect();
        for status in STATUSES {
            metrics.objects(
                K::KIND,
                status,
                found.iter().filter(|s| **s == status).count(),
            );
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn ready(conditions: &[Condition]) -> ReadyStatus {
    match condition::find(conditions, ConditionType::Ready).map(|ready| ready.status.as_str()) {
        Some("True") => ReadyStatus::True,
        Some("False") => ReadyStatus::False,
        _ => ReadyStatus::Unknown,
    }
}

struct Zero<'a> {
    metrics: &'a Metrics,
    kind: Kind,
}

impl Drop for Zero<'_> {
    fn drop(&mut self) {
        for status in STATUSES {
            self.metrics.objects(self.kind, status, 0);
        }
    }
}
