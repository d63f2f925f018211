//! What the sealing key needs. Pure.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::api::KeyMaterialSpec;
use crate::crypto::SealingKeyId;
use crate::keys::newest_sealing_key;

/// Everything that the decision may look at.
pub(super) struct Seen<'a> {
    /// The truth about the key, asked of the API server.
    pub(super) truth: Option<&'a KeyMaterialSpec>,
    /// The newest key that was ever made, as the record says.
    pub(super) recorded: Option<SealingKeyId>,
    /// The rotate token on the truth.
    pub(super) token: Option<&'a str>,
    /// How old the newest key gets before another is made; for ever if absent.
    pub(super) period: Option<SignedDuration>,
    /// Whether nothing is rotated, since a restore is suspected.
    pub(super) held: bool,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Make the first key.
    Make,
    /// Make another one. The older ones go on opening.
    Rotate {
        /// The token that asked for it.
        token: Option<String>,
    },
    /// Write down which key is the newest.
    Record(SealingKeyId),
    /// Nothing but say so: that key was made once and is gone. Another one in its place would hide the loss.
    Lost(SealingKeyId),
    /// Nothing until then.
    Rest(Option<Timestamp>),
}

/// Decides.
pub(super) fn step(seen: &Seen<'_>, now: Timestamp) -> Step {
    let Some(truth) = seen.truth else {
        return seen.recorded.map_or(Step::Make, Step::Lost);
    };
    let is_there = |id: &SealingKeyId| {
        let id = id.to_string();
        truth.generations.iter().any(|g| g.material_id == id)
    };
    if let Some(lost) = seen.recorded.filter(|id| !is_there(id)) {
        return Step::Lost(lost);
    }
    let newest = newest_sealing_key(truth);
    if let Some(newest) = newest.filter(|newest| seen.recorded != Some(*newest)) {
        return Step::Record(newest);
    }
    if truth.generations.len() >= KeyMaterialSpec::MAX_GENERATIONS || seen.held {
        return Step::Rest(None);
    }
    let obeyed = |token: &&str| truth.rotation.tokens.iter().any(|known| known == token);
    if let Some(token) = seen.token.filter(|token| !obeyed(token)) {
        let token = Some(token.to_owned());
        return Step::Rotate { token };
    }
    let created = truth.generations.last().map(|newest| newest.created.0);
    let due = created.zip(seen.period);
    let due = due.and_then(|(created, period)| created.checked_add(period).ok());
    match due {
        Some(due) if due <= now => Step::Rotate { token: None },
        due => Step::Rest(due),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::MaterialGeneration;
    use crate::crypto::InstallationId;
    use crate::keys::new_sealing_key;

    const YEAR: SignedDuration = SignedDuration::from_hours(24 * 365);

    fn id(number: u8) -> SealingKeyId {
        SealingKeyId::from_bytes([number; 16])
    }

    fn truth(generations: u8) -> KeyMaterialSpec {
        let region = "ks-local-1".parse().unwrap();
        let mut truth = new_sealing_key(InstallationId::from_bytes([1; 16]), &region, "system");
        let made = (1..=generations).map(|number| MaterialGeneration {
            version: number.into(),
            material_id: id(number).to_string(),
            wrapped: String::new(),
            root_fingerprint: String::new(),
            created: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH),
            unused_since: None,
        });
        truth.generations = made.collect();
        truth
    }

    fn seen(truth: Option<&KeyMaterialSpec>, recorded: Option<u8>) -> Seen<'_> {
        Seen {
            truth,
            recorded: recorded.map(id),
            token: None,
            period: Some(YEAR),
            held: false,
        }
    }

    #[test]
    fn it_is_made_once_and_never_in_the_place_of_one_that_is_gone() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(step(&seen(None, None), now), Step::Make);
        assert_eq!(step(&seen(None, Some(2)), now), Step::Lost(id(2)));
        let older = truth(1);
        let restored = seen(Some(&older), Some(2));
        assert_eq!(step(&restored, now + YEAR + YEAR), Step::Lost(id(2)));
    }

    #[test]
    fn what_was_made_is_recorded_before_anything_else() {
        let both = truth(2);
        for recorded in [None, Some(1)] {
            let seen = Seen {
                token: Some("again"),
                ..seen(Some(&both), recorded)
            };
            let step = step(&seen, Timestamp::UNIX_EPOCH + YEAR);
            assert_eq!(step, Step::Record(id(2)));
        }
    }

    #[test]
    fn another_is_made_when_it_is_due_and_once_for_each_token() {
        let now = Timestamp::UNIX_EPOCH;
        let mut one = truth(1);
        let due = now + YEAR;
        assert_eq!(step(&seen(Some(&one), Some(1)), now), Step::Rest(Some(due)));
        let due = step(&seen(Some(&one), Some(1)), due);
        assert_eq!(due, Step::Rotate { token: None });
        let never = Seen {
            period: None,
            ..seen(Some(&one), Some(1))
        };
        assert_eq!(step(&never, now + YEAR + YEAR), Step::Rest(None));
        let asked = |truth: &KeyMaterialSpec| {
            let seen = Seen {
                token: Some("now"),
                ..seen(Some(truth), Some(1))
            };
            step(&seen, now)
        };
        let token = Some("now".to_owned());
        assert_eq!(asked(&one), Step::Rotate { token });
        one.rotation.consume("now");
        assert!(matches!(asked(&one), Step::Rest(_)));
    }

    #[test]
    fn nothing_is_rotated_while_a_restore_is_suspected_nor_beyond_what_can_be_kept() {
        let one = truth(1);
        let held = Seen {
            held: true,
            ..seen(Some(&one), Some(1))
        };
        let later = Timestamp::UNIX_EPOCH + YEAR + YEAR;
        assert_eq!(step(&held, later), Step::Rest(None));
        let mut full = truth(255);
        full.generations.push(full.generations[0].clone());
        let last = newest_sealing_key(&full);
        let full = Seen {
            recorded: last,
            ..seen(Some(&full), None)
        };
        assert_eq!(step(&full, later), Step::Rest(None));
    }
}
