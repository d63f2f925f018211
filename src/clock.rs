//! What time it is, as an argument.
//!
//! Nothing that decides reads the system's clock: it is given the time by a caller that holds a
//! [`Clock`]. Leases are not judged by this clock but by a monotonic one (see [`crate::leader`]).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// A source of the current time.
pub trait Clock: Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Timestamp;

    /// What the API server said its time is, as this clock's world sees it: only tests move it.
    fn server_time(&self, told: Timestamp) -> Timestamp {
        told
    }

    /// How long a timer may run for a wait of that length: timers do not hear of it when tests move the clock.
    fn timer(&self, wait: Duration) -> Duration {
        wait
    }
}

/// One reading of two clocks, neither of which is trusted alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// This process's.
    pub own: Timestamp,
    /// The API server's.
    pub server: Timestamp,
}

impl Clocks {
    /// By which something is due: both must agree.
    pub fn earlier(&self) -> Timestamp {
        self.own.min(self.server)
    }

    /// From which a wait is counted: neither alone makes it shorter.
    pub fn later(&self) -> Timestamp {
        self.own.max(self.server)
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    fn server_time(&self, told: Timestamp) -> Timestamp {
        (**self).server_time(told)
    }

    fn timer(&self, wait: Duration) -> Duration {
        (**self).timer(wait)
    }
}

/// How long to wait until then: a second longer than it takes, since the API server tells whole seconds.
pub(crate) fn until(next: Timestamp, now: Timestamp) -> Duration {
    let wait = Duration::try_from(next.duration_since(now)).unwrap_or_default();
    wait + Duration::from_secs(1)
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The clock that a process of ours goes by: that of the machine.
///
/// In builds with the feature `test-clock` (tests only; the image is built without it) a file named by
/// the environment variable `KEYSTEAD_TEST_CLOCK` moves it.
pub fn process_clock() -> Arc<dyn Clock> {
    #[cfg(feature = "test-clock")]
    if let Some(path) = std::env::var_os(moved::FILE) {
        return Arc::new(moved::MovedClock::new(path.into()));
    }
    Arc::new(SystemClock)
}

#[cfg(feature = "test-clock")]
pub mod moved {
    //! The machine's clock, moved by a file: so that tests of the whole program can wait for days.

    use std::path::PathBuf;
    use std::time::Duration;

    use k8s_openapi::jiff::{SignedDuration, Timestamp};

    use super::Clock;

    /// The environment variable that names the file.
    pub const FILE: &str = "KEYSTEAD_TEST_CLOCK";

    /// The third line of the file where nobody moves the clock while a process runs, so that timers need not look whether somebody did.
    pub const REAL_TIMERS: &str = "timers";

    /// Shows the machine's time, moved by the seconds in the first line of a file. The second line, if
    /// there is one, moves what is taken for the API server's clock; otherwise that moves alike.
    #[derive(Clone, Debug)]
    pub struct MovedClock {
        file: PathBuf,
    }

    impl MovedClock {
        /// A clock that is moved by that file, read anew each time.
        pub fn new(file: PathBuf) -> Self {
            Self { file }
        }

        /// What the file says of this process's clock.
        pub fn offset(&self) -> SignedDuration {
            self.line(0).unwrap_or_default()
        }

        /// What the file says of the API server's clock.
        pub fn server_offset(&self) -> SignedDuration {
            self.line(1).unwrap_or_else(|| self.offset())
        }

        fn line(&self, number: usize) -> Option<SignedDuration> {
            let text = std::fs::read_to_string(&self.file).ok()?;
            let seconds = text.lines().nth(number)?.trim().parse().ok()?;
            Some(SignedDuration::from_secs(seconds))
        }
    }

    impl Clock for MovedClock {
        fn now(&self) -> Timestamp {
            let now = Timestamp::now();
            now.checked_add(self.offset()).unwrap_or(now)
        }

        fn server_time(&self, told: Timestamp) -> Timestamp {
            told.checked_add(self.server_offset()).unwrap_or(told)
        }

        fn timer(&self, wait: Duration) -> Duration {
            let text = std::fs::read_to_string(&self.file).unwrap_or_default();
            if text.lines().nth(2) == Some(REAL_TIMERS) {
                return wait;
            }
            wait.min(Duration::from_secs(2))
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_file_moves_the_clock_and_the_servers_may_differ() {
            let file = tempfile::NamedTempFile::new().unwrap();
            let clock = MovedClock::new(file.path().to_owned());
            assert_eq!(clock.offset(), SignedDuration::ZERO);
            std::fs::write(file.path(), "86400\n").unwrap();
            assert_eq!(clock.server_offset(), SignedDuration::from_hours(24));
            assert!(clock.now().duration_since(Timestamp::now()) > SignedDuration::from_hours(23));
            std::fs::write(file.path(), "86400\n-60\n").unwrap();
            assert_eq!(clock.server_offset(), SignedDuration::from_secs(-60));
        }
    }
}

/// A clock that stands still until it is told otherwise. Clones show the same time.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<Timestamp>>);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(now)))
    }

    /// Moves the clock to `now`, in either direction: the clocks of machines jump too.
    pub fn set(&self, now: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Moves the clock forward, at most to the end of time.
    pub fn advance(&self, by: SignedDuration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.checked_add(by).unwrap_or(Timestamp::MAX);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_wrong_neither_makes_anything_due_nor_a_wait_shorter() {
        let [early, late] = [10, 20].map(|second| Timestamp::from_second(second).unwrap());
        for (own, server) in [(early, late), (late, early)] {
            let clocks = Clocks { own, server };
            assert_eq!((clocks.earlier(), clocks.later()), (early, late));
        }
    }

    #[test]
    fn clones_of_a_manual_clock_show_the_same_time() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let handed_out: Arc<dyn Clock> = Arc::new(clock.clone());
        clock.advance(SignedDuration::from_secs(60));
        assert_eq!(handed_out.now().as_second(), 60);
        clock.set(Timestamp::UNIX_EPOCH);
        assert_eq!(handed_out.now(), Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn what_is_due_already_is_looked_at_again_a_second_later() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(until(now, now), Duration::from_secs(1));
    }
}
