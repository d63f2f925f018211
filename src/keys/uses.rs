//! What a replica of the server tells the controller of uses of keys, in an annotation of its Lease: it may write nothing else. What is
//! new is told for some minutes; most of the time that is nothing, since a key's last use is known to the day, and a refusal is told once
//! an hour for each user.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::crypto::KeyId;
use crate::policy::Action;

/// For how long something is told, in seconds. The controller looks every half minute.
const TOLD_FOR: i64 = 300;
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// Most bytes of what is told at once: all annotations of a Lease have 256 KiB together. What does not fit is told later, if it is new
/// then still.
const MOST_BYTES: usize = 128 * 1024;
/// Most users of a key of whose refusals is told.
const MOST_REFUSED: usize = 8;
/// Longest user name that is told, in bytes.
const MAX_USER: usize = 320;

/// What is told of one key.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ToldUses {
    /// The last use that was let through: the action and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<(String, Timestamp)>,
    /// Uses that were refused since the deletion of the key is pending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedUse>,
}

/// A use that was refused since the deletion of the key is pending.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
pub struct RefusedUse {
    /// Who.
    pub user: String,
    /// What: the name of an action.
    pub action: String,
    /// When.
    pub time: Timestamp,
}

/// The uses of keys by one replica.
#[derive(Debug, Default)]
pub struct Uses(Mutex<HashMap<KeyId, ToldUses>>);

impl Uses {
    /// A use was let through.
    pub fn used(&self, key: KeyId, action: Action, now: Timestamp) {
        let mut uses = self.uses();
        let used = &mut uses.entry(key).or_default().used;
        let day = |time: &Timestamp| time.as_second().div_euclid(DAY);
        if used.as_ref().is_none_or(|(_, last)| day(last) != day(&now)) {
            *used = Some((action.name().to_owned(), now));
        }
    }

    /// A use was refused since the deletion of the key is pending.
    pub fn refused(&self, key: KeyId, user: &str, action: Action, now: Timestamp) {
        if user.len() > MAX_USER {
            return;
        }
        let mut uses = self.uses();
        let refused = &mut uses.entry(key).or_default().refused;
        let hour = now.as_second().div_euclid(HOUR);
        refused.retain(|told| told.time.as_second().div_euclid(HOUR) == hour);
        let known = refused.iter().any(|told| told.user == user);
        if !known && refused.len() < MOST_REFUSED {
            refused.push(RefusedUse {
                user: user.to_owned(),
                action: action.name().to_owned(),
                time: now,
            });
        }
    }

    /// What is to be told now, for an annotation; `None` if it is nothing.
    pub fn told(&self, now: Timestamp) -> Option<String> {
        let since = now.as_second() - TOLD_FOR;
        let uses = self.uses();
        let told = uses.iter().filter_map(|(key, told)| {
            let mut told = told.clone();
            told.used = told.used.filter(|(_, time)| time.as_second() > since);
            told.refused.retain(|told| told.time.as_second() > since);
            (told != ToldUses::default()).then(|| (key.to_string(), told))
        });
        let mut left = MOST_BYTES;
        let fits = |(key, told): &(String, ToldUses)| {
            let size = serde_json::to_vec(told).map_or(usize::MAX, |json| json.len());
            let size = size.saturating_add(key.len() + 4);
            let fits = size <= left;
            left = left.saturating_sub(if fits { size } else { 0 });
            fits
        };
        let told: HashMap<_, _> = told.filter(fits).collect();
        if told.is_empty() {
            return None;
        }
        serde_json::to_string(&told).ok()
    }

    fn uses(&self) -> MutexGuard<'_, HashMap<KeyId, ToldUses>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a replica tells, by key. What is not of this form tells nothing: only the operator writes it.
pub fn read_told(annotation: &str) -> Vec<(KeyId, ToldUses)> {
    let told: HashMap<String, ToldUses> = serde_json::from_str(annotation).unwrap_or_default();
    told.into_iter()
        .filter_map(|(key, told)| Some((key.parse().ok()?, told)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: KeyId = KeyId::from_bytes([7; 16]);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn told(uses: &Uses, now: &str) -> ToldUses {
        let told = uses.told(at(now)).unwrap_or_default();
        let mut told = read_told(&told).into_iter();
        told.next().map(|(_, told)| told).unwrap_or_default()
    }

    #[test]
    fn the_first_use_of_a_day_is_told_for_a_while() {
        let uses = Uses::default();
        assert_eq!(uses.told(at("2026-11-25T10:00:00Z")), None);
        uses.used(KEY, Action::Decrypt, at("2026-11-25T10:00:00Z"));
        uses.used(KEY, Action::Encrypt, at("2026-11-25T10:04:00Z"));
        let used = told(&uses, "2026-11-25T10:04:59Z").used;
        assert_eq!(
            used,
            Some(("Decrypt".to_owned(), at("2026-11-25T10:00:00Z")))
        );
        assert_eq!(uses.told(at("2026-11-25T10:05:00Z")), None);
        uses.used(KEY, Action::Encrypt, at("2026-11-26T00:00:00Z"));
        let used = told(&uses, "2026-11-26T00:00:01Z").used;
        assert_eq!(used.unwrap().0, "Encrypt");
    }

    #[test]
    fn a_refusal_is_told_once_an_hour_for_each_user_and_of_few_users() {
        let uses = Uses::default();
        let refused = |user: &str, time| uses.refused(KEY, user, Action::Decrypt, at(time));
        refused("a", "2026-11-25T10:00:00Z");
        refused("a", "2026-11-25T10:01:00Z");
        refused("b", "2026-11-25T10:01:00Z");
        assert_eq!(told(&uses, "2026-11-25T10:02:00Z").refused.len(), 2);
        refused("a", "2026-11-25T11:00:00Z");
        assert_eq!(told(&uses, "2026-11-25T11:00:01Z").refused.len(), 1);
        for number in 0..100 {
            refused(&number.to_string(), "2026-11-25T11:00:00Z");
        }
        assert_eq!(
            told(&uses, "2026-11-25T11:00:01Z").refused.len(),
            MOST_REFUSED
        );
        assert_eq!(read_told("nonsense"), []);
    }

    #[test]
    fn however_many_keys_are_used_by_whomever_a_lease_has_room_for_what_is_told() {
        let (uses, now) = (Uses::default(), at("2026-11-25T11:00:00Z"));
        for number in 0..2_000_u128 {
            let key = KeyId::from_bytes(number.to_be_bytes());
            uses.used(key, Action::Decrypt, now);
            for user in 0..10 {
                let user = format!("{user}{}", "u".repeat(300));
                uses.refused(key, &user, Action::GenerateDataKey, now);
            }
        }
        let told = uses.told(now).unwrap();
        assert!(told.len() <= MOST_BYTES, "{}", told.len());
        assert!(read_told(&told).len() > 30);
    }
}
