//! When the pods of a namespace are looked at, which nobody watches. Pure: what time it is is an argument.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

/// How long after news the first look is: nodes need some seconds to have the next version and to tell it.
const SOON: Duration = Duration::from_secs(10);
/// How long until the next look at the longest, for as long as pods are without what they ask for.
const LONGEST: Duration = Duration::from_secs(60);
/// How long pods that are without it are waited for like that.
const PATIENCE: Duration = Duration::from_secs(3600);
/// How long until the next look otherwise.
const SELDOM: Duration = Duration::from_secs(600);

/// The namespaces that are looked at, by name.
#[derive(Default)]
pub(super) struct Rounds(HashMap<String, Round>);

/// When a namespace was looked at.
struct Round {
    /// What stands for the current versions of its secrets.
    state: u64,
    /// Since when there is something else to be seen than at the look before.
    news: Timestamp,
    /// When the last look was.
    looked: Option<Timestamp>,
    /// Whether it found pods that are without what they ask for.
    is_behind: bool,
}

impl Rounds {
    /// Those that are to be looked at now. `states`: all that there are, each with what stands for the current versions of its
    /// secrets. What is not among them is forgotten.
    pub(super) fn due(&mut self, states: &HashMap<String, u64>, now: Timestamp) -> Vec<String> {
        self.0.retain(|namespace, _| states.contains_key(namespace));
        let mut due = Vec::new();
        for (namespace, state) in states {
            let round = self.0.entry(namespace.clone()).or_insert(Round {
                state: *state,
                news: now,
                looked: None,
                is_behind: false,
            });
            round.note(*state, now);
            if round.is_due(now) {
                due.push(namespace.clone());
            }
        }
        due.sort();
        due
    }

    /// That namespace was looked at. `is_behind`: there are pods that are without what they ask for.
    pub(super) fn looked(&mut self, namespace: &str, is_behind: bool, now: Timestamp) {
        if let Some(round) = self.0.get_mut(namespace) {
            round.looked = Some(now);
            // What is later than now is of a clock that went back since.
            round.news = round.news.min(now);
            round.is_behind = is_behind;
        }
    }
}

impl Round {
    /// News that come before they were looked at count from the first of them: else a namespace in which something always changes
    /// would never be looked at.
    fn note(&mut self, state: u64, now: Timestamp) {
        if self.state != state && self.seen().is_some() {
            self.news = now;
        }
        self.state = state;
    }

    /// When the last look was, if it was after the news.
    fn seen(&self) -> Option<Timestamp> {
        self.looked.filter(|looked| *looked >= self.news)
    }

    fn is_due(&self, now: Timestamp) -> bool {
        let Some(seen) = self.seen() else {
            return is_over(self.news, SOON, now);
        };
        let since_news = between(self.news, seen);
        let wait = if self.is_behind && since_news < PATIENCE {
            since_news.clamp(SOON, LONGEST)
        } else {
            SELDOM
        };
        is_over(seen, wait, now)
    }
}

/// Whether a wait from then on is over. It is where the clock went back, too: how much of it was waited is not known then.
fn is_over(from: Timestamp, wait: Duration, now: Timestamp) -> bool {
    now < from || between(from, now) >= wait
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn states(state: u64) -> HashMap<String, u64> {
        HashMap::from([("shop".to_owned(), state)])
    }

    /// The seconds of the looks until `end`, at each of which pods are behind until `until`.
    fn looks(rounds: &mut Rounds, state: u64, (start, end): (i64, i64), until: i64) -> Vec<i64> {
        let mut looks = Vec::new();
        for second in start..end {
            if !rounds.due(&states(state), at(second)).is_empty() {
                rounds.looked("shop", second < until, at(second));
                looks.push(second);
            }
        }
        looks
    }

    #[test]
    fn a_look_follows_news_and_then_seldom_one() {
        let mut rounds = Rounds::default();
        assert_eq!(looks(&mut rounds, 1, (0, 1900), 0), [10, 610, 1210, 1810]);
        assert_eq!(looks(&mut rounds, 2, (1900, 2600), 0), [1910, 2510]);
    }

    #[test]
    fn pods_that_are_behind_are_looked_at_ever_more_slowly_until_they_have_it() {
        let mut rounds = Rounds::default();
        let seen = looks(&mut rounds, 1, (0, 400), 200);
        assert_eq!(seen, [10, 20, 40, 80, 140, 200]);
    }

    #[test]
    fn pods_that_never_get_there_are_waited_for_an_hour() {
        let mut rounds = Rounds::default();
        let seen = looks(&mut rounds, 1, (0, 8000), i64::MAX);
        let hour = seen.iter().filter(|second| **second <= 3660).count();
        assert!((60..=65).contains(&hour), "{hour}");
        let after: Vec<_> = seen.into_iter().filter(|second| *second > 3660).collect();
        assert!(
            after.windows(2).all(|pair| pair[1] - pair[0] == 600),
            "{after:?}"
        );
    }

    #[test]
    fn where_something_always_changes_it_is_looked_nevertheless_and_no_more_often() {
        let mut rounds = Rounds::default();
        let mut looks = 0;
        for second in 0..100 {
            let state = u64::try_from(second).unwrap();
            if !rounds.due(&states(state), at(second)).is_empty() {
                rounds.looked("shop", true, at(second));
                looks += 1;
            }
        }
        assert!((8..=10).contains(&looks), "{looks}");
    }

    #[test]
    fn a_clock_that_goes_back_stops_nothing_and_what_is_gone_is_forgotten() {
        let mut rounds = Rounds::default();
        assert_eq!(looks(&mut rounds, 1, (5000, 5100), 0), [5010]);
        assert_eq!(looks(&mut rounds, 1, (0, 100), 0), [0]);
        assert!(rounds.due(&HashMap::new(), at(200)).is_empty());
        assert!(rounds.0.is_empty());
    }
}
