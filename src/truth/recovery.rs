//! What becomes of the truth about a secret whose resource is gone, and when.

use std::collections::BTreeMap;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::ObjectMeta;

use crate::api::names::{
    ANNOTATION_FORCE_DELETE, ANNOTATION_OBJECT_UID, ANNOTATION_PARKED_SINCE,
    ANNOTATION_RECOVERY_WINDOW,
};

/// Days for which the truth about a deleted secret waits if nothing else is said, as in AWS Secrets Manager.
const DEFAULT_WINDOW_DAYS: u8 = 30;

/// What becomes of the truth when its `ManagedSecret` is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Days for which it waits; `None`: 30.
    pub window_days: Option<u8>,
    /// UID of the `ManagedSecret` whose deletion is final.
    pub forced: Option<String>,
}

impl Recovery {
    /// Whether the deletion of the resource with that UID is final at once. One that was made anew under the name has another.
    pub fn is_forced_for(&self, uid: &str) -> bool {
        self.forced.as_deref() == Some(uid)
    }

    /// How long it waits when the resource with that UID is gone.
    pub fn window_for(&self, uid: &str) -> SignedDuration {
        if self.is_forced_for(uid) {
            return SignedDuration::ZERO;
        }
        let days = self.window_days.unwrap_or(DEFAULT_WINDOW_DAYS);
        SignedDuration::from_hours(i64::from(days) * 24)
    }

    pub(super) fn read(annotations: &BTreeMap<String, String>) -> Self {
        let days = annotations.get(ANNOTATION_RECOVERY_WINDOW);
        Self {
            // Only the operator writes it; what it did not write counts as the default.
            window_days: days.and_then(|days| days.parse().ok()),
            forced: annotations.get(ANNOTATION_FORCE_DELETE).cloned(),
        }
    }

    pub(super) fn annotations(&self) -> impl Iterator<Item = (String, String)> {
        let days = self.window_days.map(|days| days.to_string());
        let window = days.map(|days| (ANNOTATION_RECOVERY_WINDOW.to_owned(), days));
        let forced = self.forced.clone();
        let forced = forced.map(|uid| (ANNOTATION_FORCE_DELETE.to_owned(), uid));
        window.into_iter().chain(forced)
    }
}

/// When truth that waits comes to its end, at the earliest; `None` if it does not wait.
pub fn end_of(meta: &ObjectMeta) -> Option<Timestamp> {
    let annotations = meta.annotations.as_ref()?;
    let since: Timestamp = annotations.get(ANNOTATION_PARKED_SINCE)?.parse().ok()?;
    let recovery = Recovery::read(annotations);
    let uid = annotations
        .get(ANNOTATION_OBJECT_UID)
        .map_or("", String::as_str);
    // Beyond the end of time it never comes.
    since.checked_add(recovery.window_for(uid)).ok()
}
