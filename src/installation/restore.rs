//! Whether the cluster was restored from a backup. Then what the truth says may be older than what the world outside has,
//! and for a day nothing is rotated or destroyed: whoever restored it has time to look.

use std::convert::Infallible;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::record::Record;
use super::records::{RecordError, Records};

/// How long nothing is rotated or destroyed.
const HOLD: SignedDuration = SignedDuration::from_hours(24);
/// A Lease that was not renewed for that long may be that of a backup. An upgrade or the loss of a node takes minutes.
const OLD_LEASE: SignedDuration = SignedDuration::from_hours(1);
/// A hold that would be prolonged by less is left as it is.
const SAME: SignedDuration = SignedDuration::from_mins(1);

/// What speaks for a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Suspicion {
    /// The leader's Lease was not renewed for more than an hour.
    OldLease,
    /// There is truth, and no leader ever renewed a Lease.
    NoLease,
    /// resourceVersions went back while a replica was watching.
    WentBack,
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OldLease => "nobody has led for more than an hour",
            Self::NoLease => "there is key material or a sealed Secret, and no Lease of a leader",
            Self::WentBack => "resource versions went back",
        })
    }
}

/// What a candidate that is about to lead suspects. Of a new installation nothing: there is nothing to lose.
pub fn suspicion(
    renewed: Option<Timestamp>,
    server_now: Timestamp,
    has_truth: bool,
) -> Option<Suspicion> {
    if !has_truth {
        return None;
    }
    match renewed {
        None => Some(Suspicion::NoLease),
        Some(renewed) if server_now.duration_since(renewed) > OLD_LEASE => {
            Some(Suspicion::OldLease)
        }
        Some(_) => None,
    }
}

/// That a restore is suspected, as the record remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreHold {
    /// Since when. Also the name of this hold, by which an administrator ends it.
    pub since: Timestamp,
    /// Until when nothing is rotated or destroyed.
    pub until: Timestamp,
    /// What spoke for it first.
    pub cause: Suspicion,
}

impl RestoreHold {
    /// The hold after another suspicion: never shorter than before.
    fn after(before: Option<&Self>, cause: Suspicion, now: Timestamp) -> Self {
        let until = now.checked_add(HOLD).unwrap_or(Timestamp::MAX);
        match before {
            Some(before) if until.duration_since(before.until) < SAME => before.clone(),
            Some(before) => Self {
                until,
                ..before.clone()
            },
            None => Self {
                since: now,
                until,
                cause,
            },
        }
    }
}

impl Record {
    /// The hold, if it is not over at that time, and not ended by an administrator. He names it, so that an annotation that
    /// is left there ends no later one.
    pub fn hold_at(&self, now: Timestamp) -> Option<&RestoreHold> {
        self.live_hold().filter(|hold| now < hold.until)
    }

    fn live_hold(&self) -> Option<&RestoreHold> {
        let hold = self.restore.as_ref()?;
        let ended = self.restore_checked.as_ref();
        let ended = ended.and_then(|text| text.parse::<Timestamp>().ok());
        (ended != Some(hold.since)).then_some(hold)
    }
}

/// Writes a suspicion down.
///
/// # Errors
/// Those of the record.
pub async fn suspect(
    records: &Records,
    cause: Suspicion,
    now: Timestamp,
) -> Result<RestoreHold, RecordError> {
    let mut held = None;
    let change = |record: &mut Record| -> Result<bool, Infallible> {
        let before = record.live_hold().filter(|hold| now < hold.until).cloned();
        let hold = RestoreHold::after(before.as_ref(), cause, now);
        let changed = record.restore.as_ref() != Some(&hold);
        held = Some(hold.clone());
        record.restore = Some(hold);
        Ok(changed)
    };
    let Ok(_) = records.change(change).await?;
    Ok(held.expect("the change was asked for"))
}

/// What this process knows of the hold. Cheap to ask.
#[derive(Debug, Default)]
pub struct Hold(RwLock<Option<RestoreHold>>);

impl Hold {
    /// Takes over what the record says.
    pub fn set(&self, record: &Record) {
        let hold = record.live_hold().cloned();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = hold;
    }

    /// The hold, if it is not over at that time.
    pub fn at(&self, now: Timestamp) -> Option<RestoreHold> {
        let hold = self.0.read().unwrap_or_else(PoisonError::into_inner);
        hold.clone().filter(|hold| now < hold.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{InstallationId, OsRandom, RootKey};

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + hours * 3600).unwrap()
    }

    fn record() -> Record {
        let root = RootKey::generate(&mut OsRandom).unwrap().fingerprint();
        let region = "ks-local-1".parse().unwrap();
        Record::new(InstallationId::from_bytes([1; 16]), region, root)
    }

    #[test]
    fn a_lease_older_than_an_hour_or_none_beside_truth_is_suspicious_and_a_new_installation_is_not()
    {
        let hour = at(0) + OLD_LEASE;
        assert_eq!(suspicion(Some(at(0)), hour, true), None);
        let later = hour + SignedDuration::from_secs(1);
        assert_eq!(
            suspicion(Some(at(0)), later, true),
            Some(Suspicion::OldLease)
        );
        assert_eq!(suspicion(None, at(0), true), Some(Suspicion::NoLease));
        // A clock that was ahead.
        assert_eq!(suspicion(Some(at(9)), at(0), true), None);
        for renewed in [None, Some(at(0))] {
            assert_eq!(suspicion(renewed, at(9), false), None);
        }
    }

    #[test]
    fn another_suspicion_never_shortens_a_hold() {
        let first = RestoreHold::after(None, Suspicion::WentBack, at(0));
        assert_eq!(first.until, at(24));
        let same = RestoreHold::after(Some(&first), Suspicion::OldLease, at(0));
        assert_eq!(same, first);
        let back = RestoreHold::after(Some(&first), Suspicion::OldLease, at(-5));
        assert_eq!(back, first);
        let longer = RestoreHold::after(Some(&first), Suspicion::OldLease, at(5));
        assert_eq!((longer.since, longer.until), (at(0), at(29)));
        assert_eq!(longer.cause, Suspicion::WentBack);
    }

    #[test]
    fn a_hold_ends_by_its_time_or_by_its_name_only() {
        let mut record = record();
        assert_eq!(record.hold_at(at(0)), None);
        record.restore = Some(RestoreHold::after(None, Suspicion::OldLease, at(0)));
        let known = Hold::default();
        known.set(&record);
        assert!(record.hold_at(at(23)).is_some() && known.at(at(23)).is_some());
        assert!(record.hold_at(at(24)).is_none() && known.at(at(24)).is_none());
        for other in [at(1).to_string(), "true".into(), String::new()] {
            record.restore_checked = Some(other);
            assert!(record.hold_at(at(1)).is_some());
        }
        record.restore_checked = Some(at(0).to_string());
        known.set(&record);
        assert!(record.hold_at(at(1)).is_none() && known.at(at(1)).is_none());
    }
}
