//! What the server told of the revisions of secrets, and what that makes necessary. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::api::{Kind, MAX_WATCHED, SecretName, Watched};
use super::pace::Pace;

/// Between the news and the first attempt: nodes that hear of it together do not ask together.
const SPREAD: Duration = Duration::from_millis(1500);
/// Between attempts that may work in a moment.
const SOON: Pace = Pace {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(30),
};
/// Between attempts that somebody must do something for.
const LATER: Pace = Pace {
    first: Duration::from_secs(60),
    longest: Duration::from_secs(300),
};
/// How long files are right without anybody having said so, when nothing is told of their secrets.
const UNWATCHED: Duration = Duration::from_secs(300);

/// What was last told of secrets. `None`: there is no such secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told(BTreeMap<SecretName, Option<String>>);

impl Told {
    /// What to ask about these secrets; what is not asked about is forgotten, since it gets old.
    pub(super) fn question(&mut self, secrets: &BTreeSet<SecretName>) -> Vec<Watched> {
        self.0.retain(|secret, _| secrets.contains(secret));
        let asked = secrets.iter().take(MAX_WATCHED);
        asked
            .map(|secret| Watched {
                secret: secret.clone(),
                revision: self.0.get(secret).cloned().flatten(),
            })
            .collect()
    }

    /// Takes the answer to a question. Returns whether there is anything new in it.
    pub(super) fn take(&mut self, answer: Vec<Watched>, asked: &[Watched]) -> bool {
        let mut answer: BTreeMap<_, _> = answer
            .into_iter()
            .map(|told| (told.secret, told.revision))
            .collect();
        let mut new = false;
        // What was not asked for must not fill the memory.
        for Watched { secret, revision } in asked {
            // The answer leaves out what is as it was said: also that there is no such secret.
            let told = answer.remove(secret).unwrap_or_else(|| revision.clone());
            new |= self.0.insert(secret.clone(), told.clone()) != Some(told);
        }
        new
    }

    /// What is known of a secret.
    fn of(&self, secret: &SecretName) -> Known {
        match self.0.get(secret) {
            None => Known::Unknown,
            Some(None) => Known::Gone,
            Some(Some(revision)) => Known::Is(revision.clone()),
        }
    }

    /// What is known of several.
    pub(super) fn of_all(&self, secrets: &[SecretName]) -> Vec<Known> {
        secrets.iter().map(|secret| self.of(secret)).collect()
    }
}

/// What is known of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing.
    Unknown,
    /// There is none.
    Gone,
    /// It has that revision.
    Is(String),
}

/// The secrets that the files of a volume are made of, in the order of its sources: revision and version; `None`: not there.
pub(super) type Made = Vec<Option<Origin>>;

/// What files are made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// The revision.
    pub(super) revision: String,
    /// The version.
    pub(super) version: String,
}

/// When the files of a volume were last made, and tried to be.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// What they are made of, and since when that is known. `None`: by a predecessor of this process.
    made: Option<(Made, Instant)>,
    /// What was known when it was last tried.
    tried: Option<Tried>,
}

#[derive(Debug)]
struct Tried {
    known: Vec<Known>,
    attempts: u32,
    again: Instant,
}

impl Progress {
    /// What the files are made of.
    pub(super) fn made(&self) -> Option<&Made> {
        self.made.as_ref().map(|(made, _)| made)
    }

    /// Whether the files are other ones than they should be, although it was tried to make them again.
    pub(super) fn is_behind(&self) -> bool {
        self.tried.as_ref().is_some_and(|tried| tried.attempts > 0)
    }

    /// When the files must be made again, by what is known; `None`: they need not. `chance` is from 0 to 1.
    pub(super) fn due(&mut self, known: &[Known], now: Instant, chance: f64) -> Option<Instant> {
        if !self.differs(known, now) {
            self.tried = None;
            return None;
        }
        let tried = self.tried.as_ref();
        if let Some(tried) = tried.filter(|tried| tried.known == known) {
            return Some(tried.again);
        }
        let again = now + SPREAD.mul_f64(chance);
        self.tried = Some(Tried {
            known: known.to_vec(),
            attempts: 0,
            again,
        });
        Some(again)
    }

    /// Whether the files are other ones than what is known.
    fn differs(&self, known: &[Known], now: Instant) -> bool {
        let Some((made, since)) = &self.made else {
            return true;
        };
        if known.contains(&Known::Unknown) && now.duration_since(*since) >= UNWATCHED {
            return true;
        }
        made.iter().zip(known).any(|(made, known)| match known {
            Known::Unknown => false,
            Known::Gone => made.is_some(),
            Known::Is(revision) => made.as_ref().is_none_or(|made| made.revision != *revision),
        })
    }

    /// The files were made.
    pub(super) fn done(&mut self, made: Made, now: Instant, chance: f64) {
        self.made = Some((made, now));
        // They may still be other ones than what is told, if one replica of the server lags behind another.
        self.again(SOON, now, chance);
    }

    /// They could not be made.
    pub(super) fn failed(&mut self, kind: Option<Kind>, now: Instant, chance: f64) {
        let pace = match kind {
            Some(Kind::Away | Kind::BadToken) => SOON,
            Some(Kind::NotFound | Kind::Denied | Kind::NotNow | Kind::Invalid) | None => LATER,
        };
        self.again(pace, now, chance);
    }

    fn again(&mut self, pace: Pace, now: Instant, chance: f64) {
        if let Some(tried) = &mut self.tried {
            tried.attempts = tried.attempts.saturating_add(1);
            tried.again = now + pace.wait(tried.attempts, chance);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> SecretName {
        SecretName {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        }
    }

    fn watched(secret: &str, revision: Option<&str>) -> Watched {
        Watched {
            secret: name(secret),
            revision: revision.map(str::to_owned),
        }
    }

    fn is(revision: &str) -> Known {
        Known::Is(revision.to_owned())
    }

    fn origin(revision: &str) -> Origin {
        Origin {
            revision: revision.to_owned(),
            version: "v".to_owned(),
        }
    }

    fn made(revisions: &[&str], now: Instant) -> Progress {
        let mut progress = Progress::default();
        progress.done(
            revisions.iter().map(|r| Some(origin(r))).collect(),
            now,
            1.0,
        );
        progress
    }

    #[test]
    fn the_question_repeats_what_was_told() {
        let mut told = Told::default();
        let secrets = BTreeSet::from([name("a"), name("b")]);
        let asked = told.question(&secrets);
        assert_eq!(asked, [watched("a", None), watched("b", None)]);
        assert!(told.take(vec![watched("a", Some("1"))], &asked));
        let asked = told.question(&secrets);
        assert_eq!(asked, [watched("a", Some("1")), watched("b", None)]);
        assert_eq!(
            (told.of(&name("a")), told.of(&name("b"))),
            (is("1"), Known::Gone)
        );
        assert!(
            !told.take(vec![watched("b", None)], &asked),
            "it is known that there is none"
        );
        assert!(!told.take(Vec::new(), &asked));
        assert!(told.take(vec![watched("a", None)], &asked));
        assert_eq!(told.of(&name("a")), Known::Gone);
    }

    #[test]
    fn what_nobody_uses_is_forgotten_and_what_nobody_asked_is_not_taken() {
        let mut told = Told::default();
        let asked = told.question(&BTreeSet::from([name("a")]));
        told.take(
            vec![watched("x", Some("1")), watched("a", Some("1"))],
            &asked,
        );
        assert_eq!((told.0.len(), told.of(&name("x"))), (1, Known::Unknown));
        told.question(&BTreeSet::new());
        assert_eq!(told, Told::default());
    }

    #[test]
    fn nothing_is_due_while_files_are_what_is_told() {
        let now = Instant::now();
        let mut progress = made(&["1", "2"], now);
        assert_eq!(progress.due(&[is("1"), is("2")], now, 1.0), None);
        assert_eq!(progress.due(&[is("1"), Known::Unknown], now, 1.0), None);
    }

    #[test]
    fn another_revision_is_due_within_the_spread() {
        let now = Instant::now();
        let mut progress = made(&["1"], now);
        assert_eq!(progress.due(&[is("2")], now, 0.5), Some(now + SPREAD / 2));
        assert!(!progress.is_behind(), "nothing was tried yet");
        // Asked again, it is the same instant.
        assert_eq!(
            progress.due(&[is("2")], now + SPREAD, 1.0),
            Some(now + SPREAD / 2)
        );
        progress.done(vec![Some(origin("2"))], now, 1.0);
        assert_eq!(progress.due(&[is("2")], now, 1.0), None);
        assert!(!progress.is_behind());
    }

    #[test]
    fn a_replica_that_lags_behind_makes_no_busy_loop() {
        let now = Instant::now();
        let mut progress = made(&["1"], now);
        progress.due(&[is("2")], now, 0.0);
        let waits = (0..6).map(|_| {
            progress.done(vec![Some(origin("1"))], now, 1.0);
            progress.due(&[is("2")], now, 1.0).unwrap() - now
        });
        let waits: Vec<_> = waits.map(|wait| wait.as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30]);
    }

    #[test]
    fn what_somebody_must_repair_is_tried_rarely_and_at_once_when_there_is_news() {
        let now = Instant::now();
        let mut progress = made(&["1"], now);
        progress.due(&[Known::Gone], now, 0.0);
        progress.failed(Some(Kind::NotFound), now, 1.0);
        let due = progress.due(&[Known::Gone], now, 0.0).unwrap();
        assert_eq!(due - now, Duration::from_secs(60));
        assert!(progress.is_behind());
        assert_eq!(progress.due(&[is("3")], now, 0.0), Some(now));
    }

    #[test]
    fn files_of_a_predecessor_are_looked_at() {
        let now = Instant::now();
        let mut progress = Progress::default();
        assert_eq!(progress.due(&[Known::Unknown], now, 0.0), Some(now));
        progress.failed(Some(Kind::Away), now, 1.0);
        let due = progress.due(&[Known::Unknown], now, 0.0).unwrap();
        assert_eq!(due - now, Duration::from_secs(1));
    }

    #[test]
    fn files_are_looked_at_now_and_then_when_nothing_is_told() {
        let now = Instant::now();
        let mut progress = made(&["1"], now);
        let later = now + UNWATCHED;
        assert_eq!(progress.due(&[Known::Unknown], later, 0.0), Some(later));
        assert_eq!(progress.due(&[is("1")], later, 0.0), None);
    }

    #[test]
    fn an_optional_secret_that_appears_is_news() {
        let now = Instant::now();
        let mut progress = Progress::default();
        progress.done(vec![None], now, 1.0);
        assert_eq!(progress.due(&[Known::Gone], now, 0.0), None);
        assert_eq!(progress.due(&[is("1")], now, 0.0), Some(now));
    }
}
