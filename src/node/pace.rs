//! How long to wait before something is tried again. Pure, but for chance.

use std::time::Duration;

/// How the waits grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// The first one.
    pub(super) first: Duration,
    /// The longest one.
    pub(super) longest: Duration,
}

impl Pace {
    /// The wait after so many attempts without success: twice as long each time, and somewhere between half of that and all of
    /// it, so that nodes that failed together do not try again together. `chance` is from 0 to 1.
    pub(super) fn wait(self, attempts: u32, chance: f64) -> Duration {
        let doublings = attempts.saturating_sub(1).min(16);
        let whole = self.first.saturating_mul(1 << doublings);
        whole
            .min(self.longest)
            .mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

/// Something from 0 to 1. Nobody needs to be unable to guess it.
pub(super) fn chance() -> f64 {
    let drawn = getrandom::u32().unwrap_or(u32::MAX / 2);
    f64::from(drawn) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        first: Duration::from_secs(1),
        longest: Duration::from_secs(30),
    };

    #[test]
    fn waits_grow_to_the_longest_one() {
        let waits = [0, 1, 2, 3, 6, 7, u32::MAX].map(|attempts| PACE.wait(attempts, 1.0));
        assert_eq!(waits.map(|wait| wait.as_secs()), [1, 1, 2, 4, 30, 30, 30]);
    }

    #[test]
    fn chance_takes_at_most_half_of_a_wait() {
        assert_eq!(PACE.wait(1, 0.0), Duration::from_millis(500));
        assert_eq!(PACE.wait(1, 7.0), Duration::from_secs(1));
        for _ in 0..100 {
            assert!((0.0..=1.0).contains(&chance()));
        }
    }
}
