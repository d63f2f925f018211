//! How a watch that broke is taken up again.
//!
//! kube's own strategy waits up to a minute after a few outages in a row, and counts on until something changes that is
//! watched. Here nothing may be noticed later than a few seconds after the API server is back; a handful of watches that
//! ask every few seconds wears nobody out.

use std::time::{Duration, Instant};

use kube::runtime::utils::Backoff;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(5);
/// After that long without a failure the next one counts as the first.
const FORGET_AFTER: Duration = Duration::from_secs(30);

/// The pauses between attempts: exponential with jitter and a short cap.
#[derive(Debug, Default)]
pub struct WatchPauses {
    failures: u32,
    last: Option<Instant>,
}

impl WatchPauses {
    fn pause(&mut self, now: Instant, jitter: u8) -> Duration {
        if self
            .last
            .is_some_and(|last| now.duration_since(last) > FORGET_AFTER)
        {
            self.failures = 0;
        }
        self.last = Some(now);
        let pause = (FIRST * 2_u32.pow(self.failures.min(8))).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        pause.mul_f64(0.75 + f64::from(jitter) / 510.0)
    }
}

impl Iterator for WatchPauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let mut jitter = [0];
        // Without randomness the pauses are merely less spread.
        let _ = getrandom::fill(&mut jitter);
        Some(self.pause(Instant::now(), jitter[0]))
    }
}

impl Backoff for WatchPauses {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_short_cap_and_an_old_failure_is_forgotten() {
        let (mut pauses, start) = (WatchPauses::default(), Instant::now());
        let at = |second| start + Duration::from_secs(second);
        let lasting: Vec<_> = (0..8).map(|second| pauses.pause(at(second), 255)).collect();
        assert!(lasting.is_sorted(), "{lasting:?}");
        assert!(lasting[0] <= FIRST.mul_f64(1.25), "{lasting:?}");
        assert_eq!(lasting[7], LONGEST.mul_f64(1.25));
        assert!(pauses.pause(at(37), 0) >= LONGEST.mul_f64(0.75));
        assert!(pauses.pause(at(68), 255) <= FIRST.mul_f64(1.25));
    }

    #[test]
    fn an_event_resets_the_pauses() {
        let mut pauses = WatchPauses::default();
        assert!(pauses.by_ref().take(6).all(|pause| !pause.is_zero()));
        pauses.reset();
        assert!(pauses.next().unwrap() <= FIRST.mul_f64(1.25));
    }
}
