//! What is said of a schedule that does nothing now, or waits.

use k8s_openapi::jiff::Timestamp;

use super::plan::{Doing, Plan};
use crate::api::condition::NewCondition;
use crate::api::names::ANNOTATION_ROTATE;
use crate::api::time::as_stored;
use crate::api::{ConditionType, Reason, RotationSchedule, RotationStep};
use crate::rotation::machine::{MOST_REFUSED, Why};

/// How many pods a message names.
const MOST_NAMED: usize = 5;

/// Pods are without the new value for longer than they should be.
pub(super) fn stalled(until: Timestamp, behind: &[String]) -> Plan {
    let message = format!(
        "the new value is current, and these pods are without it for longer than finish.timeout: {}. The value before goes on to \
         work, and no further rotation begins, until they have it or are gone",
        named(behind)
    );
    let ready = NewCondition::not_ready(Reason::FinishStalled, message.clone());
    Plan {
        step: Some(RotationStep::FinishSecret),
        beside: Some(NewCondition {
            condition: ConditionType::FinishStalled,
            status: true,
            reason: Reason::FinishStalled,
            message,
        }),
        next: Some(until),
        ..Plan::says(Doing::Nothing, ready)
    }
}

/// Nothing is done now.
pub(super) fn waiting(schedule: &RotationSchedule, why: Why, until: Option<Timestamp>) -> Plan {
    let finishing = |message: String| Plan {
        step: Some(RotationStep::FinishSecret),
        ..Plan::says(Doing::Nothing, rotating(message))
    };
    match why {
        Why::Idle => Plan::says(Doing::Nothing, idle(schedule, until)),
        Why::Held => Plan::refused(
            Reason::RestoreSuspected,
            "the cluster may have been restored from a backup: nothing is rotated until that is looked at, or a day is over",
        ),
        Why::Refused => Plan {
            step: Some(RotationStep::SetSecret),
            ..Plan::refused(
                Reason::ValueRefused,
                format!(
                    "{MOST_REFUSED} values were refused one after the other: change what the secret generates, and then ask for another by \
                 a new value of {ANNOTATION_ROTATE}"
                ),
            )
        },
        Why::Consumers(behind) => finishing(format!(
            "the new value is current; waiting for pods to have it: {}",
            named(&behind)
        )),
        Why::Grace => finishing(
            "every pod has the new value; the value before works for the grace period".to_owned(),
        ),
    }
}

fn idle(schedule: &RotationSchedule, until: Option<Timestamp>) -> NewCondition {
    let message = match until {
        _ if schedule.spec.suspend.unwrap_or_default() => {
            format!("suspended: rotates only when asked by {ANNOTATION_ROTATE}")
        }
        None => format!("rotates when asked by {ANNOTATION_ROTATE}"),
        // To the second, as times in the API are.
        Some(next) => format!("rotates next at {}", as_stored(next).0),
    };
    NewCondition::ready(Reason::Scheduled, message)
}

/// A rotation is under way.
pub(super) fn rotating(message: impl Into<String>) -> NewCondition {
    NewCondition::ready(Reason::Rotating, message)
}

/// Some pods, and how many more there are.
fn named(all: &[String]) -> String {
    if all.is_empty() {
        return "all that get it, since it is not delivered; the condition of the ManagedSecret says why".to_owned();
    }
    let shown = all.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>();
    let more = all.len().saturating_sub(MOST_NAMED);
    if more == 0 {
        shown.join(", ")
    } else {
        format!("{} and {more} more", shown.join(", "))
    }
}
