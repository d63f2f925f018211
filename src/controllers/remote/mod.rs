//! Other clusters, as far as this one may reach them: only the API servers that the platform's administrator listed, only one
//! object of theirs at a time, and none of them can hold the controllers up for long.

mod access;
mod ask;
mod server;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use access::Access;
pub(crate) use ask::{AskError, ask};
pub use server::{Server, ServerError};

use super::backoff::Failures;
use super::error::Class;

/// Which other clusters may be reached, how often, and which of them do not answer.
pub struct Remotes {
    allowed: Vec<Server>,
    poll: Duration,
    failures: Failures<Server>,
    silent: Mutex<HashMap<Server, Instant>>,
}

impl Remotes {
    /// Those servers, each source asked for once in `poll`.
    pub fn new(allowed: Vec<Server>, poll: Duration) -> Self {
        Self {
            allowed,
            poll,
            failures: Failures::default(),
            silent: Mutex::default(),
        }
    }

    /// How long until a source is asked for again.
    pub(crate) fn poll(&self) -> Duration {
        self.poll
    }

    /// Whether the administrator listed that server.
    pub(crate) fn allows(&self, server: &Server) -> bool {
        self.allowed.contains(server)
    }

    /// Whether to ask it now. One that did not answer is left alone for a while, then asked by one replica only, so that those
    /// who follow it do not all wait for its answer in vain.
    pub(crate) fn admit(&self, server: &Server, now: Instant) -> bool {
        match self.silent().get_mut(server) {
            None => true,
            Some(until) if *until > now => false,
            Some(until) => {
                *until = now + 2 * ask::LIMIT;
                true
            }
        }
    }

    /// Takes note of whether it answered. `jitter` is uniform in 0..=255.
    pub(crate) fn note(&self, server: &Server, answered: bool, now: Instant, jitter: u8) {
        if answered {
            self.failures.reset(server);
            self.silent().remove(server);
        } else {
            let wait = self
                .failures
                .delay(server.clone(), Class::Transient, jitter);
            self.silent().insert(server.clone(), now + wait);
        }
    }

    fn silent(&self) -> MutexGuard<'_, HashMap<Server, Instant>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> Server {
        text.parse().unwrap()
    }

    #[test]
    fn only_what_is_listed_is_allowed_by_scheme_host_and_port() {
        let east = server("https://east.example.com:6443");
        let remotes = Remotes::new(vec![east], Duration::from_secs(60));
        assert!(remotes.allows(&server("https://EAST.example.com:6443/")));
        for other in [
            "https://east.example.com",
            "https://east.example.com:443",
            "https://east.example.com.:6443",
            "https://a.east.example.com:6443",
            "https://127.0.0.1:6443",
        ] {
            assert!(!remotes.allows(&server(other)), "{other}");
        }
        let none = Remotes::new(Vec::new(), Duration::from_secs(60));
        assert!(!none.allows(&server("https://east.example.com:6443")));
    }

    #[test]
    fn a_server_that_is_silent_is_asked_by_one_at_a_time_and_ever_more_rarely() {
        let east = server("https://east.example.com");
        let remotes = Remotes::new(vec![east.clone()], Duration::from_secs(60));
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert!(remotes.admit(&east, start) && remotes.admit(&east, start));
        remotes.note(&east, false, start, 127);
        assert!(!remotes.admit(&east, start));
        assert!(remotes.admit(&east, at(2)));
        assert!(!remotes.admit(&east, at(2)), "one is asking");
        remotes.note(&east, false, at(2), 127);
        assert!(!remotes.admit(&east, at(3)));
        // Whoever asked was killed meanwhile.
        assert!(remotes.admit(&east, at(60)));
        assert!(remotes.admit(&east, at(120)));
        assert!(remotes.admit(&server("https://west.example.com"), at(3)));
        remotes.note(&east, true, at(121), 127);
        assert!(remotes.admit(&east, at(121)) && remotes.admit(&east, at(121)));
    }
}
