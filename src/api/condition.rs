//! Conditions: their types, and the one way to write them.
//!
//! Only this module and that of the reasons turn a condition type or a reason into a string.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use super::reason::{LEAVE_DELIVERY, Reason};
use super::{KeyAlias, KeyGrant, ManagedKey, ManagedSecret, RotationSchedule};

/// A kind whose status has conditions.
pub(crate) trait Conditioned {
    /// Its conditions; none before anybody looked at it.
    fn conditions(&self) -> &[Condition];
}

macro_rules! conditioned {
    ($($kind:ty),*) => {$(
        impl Conditioned for $kind {
            fn conditions(&self) -> &[Condition] {
                let status = self.status.as_ref();
                status.map_or(&[], |status| &status.conditions)
            }
        }
    )*};
}

conditioned!(
    ManagedKey,
    KeyAlias,
    KeyGrant,
    ManagedSecret,
    RotationSchedule
);

/// The conditions of Keystead's resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionType {
    /// The summary. `True`: what the spec asks for is so. `False`: it is not, and the reason says
    /// why. `Unknown`: nobody has looked yet.
    Ready,
    /// `True`: a rotation or destruction is due and waits, since the cluster may have been restored from a backup. Absent
    /// otherwise.
    RestoreSuspected,
    /// Of a key whose deletion is pending. `True`: somebody wanted to use it since it was scheduled, and was refused. Absent:
    /// nobody did, as far as is known, or the deletion is not pending.
    UsedWhilePendingDeletion,
    /// Of a secret. `True`: workloads wait to be restarted, or to be rolled out, since what is delivered has changed. Absent
    /// otherwise.
    RolloutPending,
    /// Of a secret. `True`: restarts do not go on until somebody acts. Absent otherwise.
    RolloutStalled,
    /// Of a secret that is not of form Plain. `False`: pods cannot get some of its values as environment variables. Absent
    /// otherwise.
    EnvDeliverable,
    /// Of a schedule. `True`: somebody else changed what it rotates, so that the stored value does not log in; nothing is changed
    /// until that is settled. Absent otherwise.
    OwnershipConflict,
    /// Of a schedule. `True`: pods are without the new value for longer than they should be. Absent otherwise.
    FinishStalled,
}

impl ConditionType {
    /// The name in `status.conditions[].type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::RestoreSuspected => "RestoreSuspected",
            Self::UsedWhilePendingDeletion => "UsedWhilePendingDeletion",
            Self::RolloutPending => "RolloutPending",
            Self::RolloutStalled => "RolloutStalled",
            Self::EnvDeliverable => "EnvDeliverable",
            Self::OwnershipConflict => "OwnershipConflict",
            Self::FinishStalled => "FinishStalled",
        }
    }
}

/// A condition about to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCondition {
    /// Which condition.
    pub condition: ConditionType,
    /// `True` or `False`; nobody but the schema's default writes `Unknown`.
    pub status: bool,
    /// Why.
    pub reason: Reason,
    /// For people: what is so, and what to do about it.
    pub message: String,
}

impl NewCondition {
    /// `Ready=True`.
    pub fn ready(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            condition: ConditionType::Ready,
            status: true,
            reason,
            message: message.into(),
        }
    }

    /// `Ready=False`.
    pub fn not_ready(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            condition: ConditionType::Ready,
            status: false,
            reason,
            message: message.into(),
        }
    }
}

/// Longest message a condition may carry (`metav1.Condition` allows 32,768 bytes; people read less).
const MAX_MESSAGE: usize = 1024;

/// Writes `new` into `conditions`: keeps `lastTransitionTime` unless the status changed, always
/// carries `generation`, and keeps the list ordered by type.
pub fn set(conditions: &mut Vec<Condition>, new: NewCondition, generation: i64, now: Timestamp) {
    let status = if new.status { "True" } else { "False" };
    let type_ = new.condition.as_str();
    let unchanged = conditions
        .iter()
        .find(|c| c.type_ == type_ && c.status == status);
    let last_transition_time = unchanged.map_or(Time(now), |c| c.last_transition_time.clone());
    conditions.retain(|c| c.type_ != type_);
    conditions.push(Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: new.reason.as_str().to_owned(),
        message: truncated(new.message),
        observed_generation: Some(generation),
        last_transition_time,
    });
    conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
}

/// Takes the condition of that type out of the list.
pub fn remove(conditions: &mut Vec<Condition>, condition: ConditionType) {
    conditions.retain(|c| c.type_ != condition.as_str());
}

/// The condition of that type, if the list has it.
pub fn find(conditions: &[Condition], condition: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|c| c.type_ == condition.as_str())
}

/// Of a secret: why `Ready` says that the native Secret of its target's name is somebody else's, if it does.
pub fn target_taken(conditions: &[Condition]) -> Option<&str> {
    let ready = find(conditions, ConditionType::Ready)?;
    let reasons = [Reason::TargetExists, Reason::TargetOwnedByOther];
    let taken = ready.status == "False" && reasons.iter().any(|it| it.as_str() == ready.reason);
    taken.then_some(ready.message.as_str())
}

/// Of a secret: whether consumers have what they should, as `Ready` says.
pub fn is_delivered(conditions: &[Condition]) -> bool {
    find(conditions, ConditionType::Ready).is_some_and(|ready| {
        ready.status == "True" || LEAVE_DELIVERY.iter().any(|it| it.as_str() == ready.reason)
    })
}

/// Why `Ready` is `False`, in words, if it is.
pub fn not_ready(conditions: &[Condition]) -> Option<&str> {
    let ready = find(conditions, ConditionType::Ready)?;
    (ready.status == "False").then_some(ready.message.as_str())
}

fn truncated(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE)
            .rev()
            .find(|&i| message.is_char_boundary(i))
            .unwrap_or(0);
        message.truncate(end);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a test's second is in range")
    }

    #[test]
    fn transition_time_moves_only_when_the_status_changes() {
        let mut conditions = Vec::new();
        set(
            &mut conditions,
            NewCondition::not_ready(Reason::KeyNotFound, "no key"),
            1,
            at(10),
        );
        set(
            &mut conditions,
            NewCondition::not_ready(Reason::KeyDisabled, "disabled"),
            2,
            at(20),
        );
        assert_eq!(conditions[0].last_transition_time, Time(at(10)));
        assert_eq!(conditions[0].reason, "KeyDisabled");
        assert_eq!(conditions[0].observed_generation, Some(2));
        set(
            &mut conditions,
            NewCondition::ready(Reason::Synced, ""),
            2,
            at(30),
        );
        assert_eq!(conditions.len(), 1);
        assert_eq!(conditions[0].last_transition_time, Time(at(30)));
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let mut conditions = Vec::new();
        set(
            &mut conditions,
            NewCondition::not_ready(Reason::InvalidSpec, "é".repeat(2000)),
            1,
            at(1),
        );
        assert!(conditions[0].message.len() <= MAX_MESSAGE);
        assert!(conditions[0].message.chars().all(|c| c == 'é'));
    }
}
