//! What a key's status tells of its uses. Pure.
//!
//! It is in the status only, and not in the truth: a write of the truth for each key and day would wake every replica and every
//! secret of the key, and what a status that is lost forgets is only when the key was used.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use super::observe::{Material, Observed};
use crate::api::condition::{self, NewCondition};
use crate::api::managed_key::KeyLastUsed;
use crate::api::{ConditionType, Reason};
use crate::controllers::key_uses::{UsesOfKey, day, hour};

/// The last use, to the day. Never backwards: another leader may have seen later ones.
pub(super) fn last_used(old: Option<KeyLastUsed>, uses: &UsesOfKey) -> Option<KeyLastUsed> {
    let Some((operation, time)) = uses.last else {
        return old;
    };
    let day = day(time);
    match old {
        Some(old) if old.time.0 >= day => Some(old),
        _ => Some(KeyLastUsed {
            operation: operation.name().to_owned(),
            time: Time(day),
        }),
    }
}

/// The condition `UsedWhilePendingDeletion`: it stays for as long as the deletion is pending, and says the last hour.
pub(super) fn alarm(
    conditions: &mut Vec<Condition>,
    seen: &Observed,
    material: &Material,
    generation: i64,
    now: Timestamp,
) {
    let spec = &material.truth.spec;
    let scheduled = seen.key.spec.deletion.is_some() || spec.destroyed.is_some();
    if !scheduled {
        condition::remove(conditions, ConditionType::UsedWhilePendingDeletion);
        return;
    }
    // What another leader saw stays said; what an earlier window saw is over.
    let Some(record) = &spec.deletion else {
        return;
    };
    let since = hour(record.since.0);
    let refused = seen.uses.refused.as_ref();
    let Some(refused) = refused.filter(|refused| refused.hour >= since) else {
        return;
    };
    let message = format!(
        "{} by {} was refused in the hour from {}: something still needs the key. `keystead audit who-used` lists everybody who \
         tried",
        refused.operation.name(),
        refused.user,
        refused.hour
    );
    let alarm = NewCondition {
        condition: ConditionType::UsedWhilePendingDeletion,
        status: true,
        reason: Reason::UsedWhilePendingDeletion,
        message,
    };
    condition::set(conditions, alarm, generation, now);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::testing::{new_key, planned, settle};
    use super::*;
    use crate::api::KeyDeletion;
    use crate::controllers::key_uses::RefusedUse;
    use crate::policy::Action;

    #[test]
    fn the_last_use_is_told_to_the_day_and_never_goes_back() {
        let uses = |time: &str| UsesOfKey {
            last: Some((Action::Decrypt, time.parse().unwrap())),
            ..UsesOfKey::default()
        };
        let first = last_used(None, &uses("2026-11-25T10:20:30Z"));
        let time = first.clone().unwrap().time.0;
        assert_eq!(time.to_string(), "2026-11-25T00:00:00Z");
        assert_eq!(
            last_used(first.clone(), &uses("2026-11-25T23:00:00Z")),
            first
        );
        assert_eq!(
            last_used(first.clone(), &uses("2026-11-24T10:00:00Z")),
            first
        );
        assert_eq!(last_used(first.clone(), &UsesOfKey::default()), first);
        assert_ne!(
            last_used(first.clone(), &uses("2026-11-26T10:00:00Z")),
            first
        );
    }

    fn alarmed(seen: &Observed) -> Option<String> {
        let conditions = planned(seen).status.unwrap().conditions;
        let alarm = condition::find(&conditions, ConditionType::UsedWhilePendingDeletion)?;
        Some(alarm.message.clone())
    }

    #[test]
    fn the_alarm_is_raised_in_the_window_and_goes_with_it() {
        let mut seen = new_key();
        settle(&mut seen);
        let refused = |hour: Timestamp| RefusedUse {
            user: "keystead:secret:shop:db".to_owned(),
            operation: Action::Decrypt,
            hour,
        };
        // Of a window that is over.
        seen.uses.refused = Some(refused(Timestamp::from_second(1_000_000_000).unwrap()));
        assert_eq!(alarmed(&seen), None);
        Arc::make_mut(&mut seen.key).spec.deletion = Some(KeyDeletion::default());
        settle(&mut seen);
        assert_eq!(alarmed(&seen), None);
        seen.uses.refused = Some(refused(Timestamp::from_second(1_900_000_800).unwrap()));
        assert!(alarmed(&seen).unwrap().contains("keystead:secret:shop:db"));
        settle(&mut seen);
        // Another leader has not seen it, and does not take it back.
        seen.uses.refused = None;
        assert!(alarmed(&seen).is_some());
        Arc::make_mut(&mut seen.key).spec.deletion = None;
        assert_eq!(alarmed(&seen), None);
    }
}
