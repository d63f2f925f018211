//! When a secret is rotated. Pure: the time is an argument, and what it means hangs neither on the machine's time zone nor on the
//! image's database of them.
//!
//! ```text
//! last rotation ─▶ first time of the schedule after it (tick) ─▶ + jitter ─▶ begins, if the window is not over
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cronexpr::{Crontab, MakeTimestamp};
use k8s_openapi::jiff::tz::TimeZone;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::api::time::{duration, zone};
use crate::api::{RotationScheduleSpec, RotationTimes};

/// By how much the beginning is put off at most, where nothing is said.
const JITTER: SignedDuration = SignedDuration::from_mins(5);
/// The least time between two rotations of a schedule.
const LEAST: SignedDuration = SignedDuration::from_hours(1);
/// How many times of a crontab line are looked at to see that they are not too close: those of a day, if they are every hour.
const CHECKED: usize = 25;
/// Most lines that are remembered.
const MOST_KNOWN: usize = 1024;
/// Most times that are counted as missed at one look.
const MOST_MISSED: u64 = 10_000;

/// Why a schedule cannot be obeyed. The schema has checked everything else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TimingError {
    /// It is no crontab line.
    #[error(
        "spec.schedule.cron: {0:?} is no crontab line of minute, hour, day of month, month and day of week"
    )]
    Cron(String),
    /// No day has that date.
    #[error("spec.schedule.cron: {0:?} names a time that never comes")]
    Never(String),
    /// Its times are too close.
    #[error(
        "spec.schedule.cron: {0:?} has times less than an hour apart, such as {1} and {2}; rotate at most every hour"
    )]
    TooOften(String, Timestamp, Timestamp),
    /// No such time zone.
    #[error("spec.schedule.timeZone: no time zone of the IANA database is named {0}")]
    TimeZone(String),
    /// No duration.
    #[error("spec.{0} cannot be read as a duration such as 720h or 1h30m")]
    Duration(&'static str),
}

/// A schedule that was read.
#[derive(Debug)]
pub(crate) struct Timing {
    rhythm: Rhythm,
    window: Option<SignedDuration>,
    jitter: SignedDuration,
}

#[derive(Debug)]
enum Rhythm {
    /// Only when asked.
    Asked,
    /// So long after the last rotation.
    Every(SignedDuration),
    /// At local times.
    Cron(Arc<Crontab>, TimeZone),
}

/// What the schedule says now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// The time of the schedule that is obeyed next; `None`: it never comes.
    pub(crate) tick: Option<Timestamp>,
    /// When the rotation for it begins.
    pub(crate) begins: Option<Timestamp>,
    /// How many times before it have passed with their windows.
    pub(crate) missed: u64,
}

impl Due {
    /// Whether a rotation begins now.
    pub(crate) fn is_now(&self, now: Timestamp) -> bool {
        self.begins.is_some_and(|begins| begins <= now)
    }
}

impl Timing {
    /// Reads a schedule.
    ///
    /// # Errors
    /// It is none that can be obeyed; the field is named.
    pub(crate) fn read(
        spec: &RotationScheduleSpec,
        crontabs: &Crontabs,
    ) -> Result<Self, TimingError> {
        let parsed = |text: &Option<String>, field| match text {
            None => Ok(None),
            Some(text) => match duration(text) {
                Some(length) => Ok(Some(length)),
                None => Err(TimingError::Duration(field)),
            },
        };
        let window = parsed(&spec.window, "window")?;
        let jitter = parsed(&spec.jitter, "jitter")?.unwrap_or(JITTER);
        let rhythm = match &spec.schedule {
            None => Rhythm::Asked,
            Some(times) => Rhythm::read(times, crontabs)?,
        };
        Ok(Self {
            rhythm,
            // Half of the window is left for the beginning to be late.
            jitter: window.map_or(jitter, |window| jitter.min(window / 2)),
            window,
        })
    }

    /// What is due, for a secret that was last rotated then. `seed` is the schedule's own number, by which it is put off.
    pub(crate) fn due(&self, last: Timestamp, seed: u64, now: Timestamp) -> Due {
        let delay = self.delay(seed);
        let mut tick = self.after(last);
        let mut missed = 0;
        while let (Some(at), Some(window)) = (tick, self.window)
            && at.checked_add(window).is_ok_and(|over| over <= now)
            && missed < MOST_MISSED
        {
            missed += 1;
            tick = self.after(at);
        }
        Due {
            tick,
            begins: tick.and_then(|tick| tick.checked_add(delay).ok()),
            missed,
        }
    }

    /// The times of the schedule after an instant.
    pub(crate) fn runs(&self, after: Timestamp) -> impl Iterator<Item = Timestamp> {
        std::iter::successors(self.after(after), |last| self.after(*last))
    }

    /// The first time of the schedule after an instant.
    fn after(&self, instant: Timestamp) -> Option<Timestamp> {
        match &self.rhythm {
            Rhythm::Asked => None,
            Rhythm::Every(period) => instant.checked_add(*period).ok(),
            Rhythm::Cron(crontab, zone) => next_local(crontab, zone, instant),
        }
    }

    /// By how much the schedule with that number is put off, in whole seconds.
    fn delay(&self, seed: u64) -> SignedDuration {
        let most = u64::try_from(self.jitter.as_secs()).unwrap_or(0);
        let delay = seed % (most + 1);
        SignedDuration::from_secs(i64::try_from(delay).unwrap_or(0))
    }
}

impl Rhythm {
    fn read(times: &RotationTimes, crontabs: &Crontabs) -> Result<Self, TimingError> {
        if let Some(every) = &times.every {
            let period = duration(every).filter(|period| *period >= LEAST);
            return period
                .map(Self::Every)
                .ok_or(TimingError::Duration("schedule.every"));
        }
        let cron = times.cron.as_deref().unwrap_or_default();
        let name = times.time_zone.as_deref().unwrap_or("UTC");
        let zone = zone(name).ok_or_else(|| TimingError::TimeZone(name.to_owned()))?;
        Ok(Self::Cron(crontabs.read(cron)?, zone))
    }
}

/// Crontab lines that were read. To see whether the times of one are far enough apart takes as long as everything else that is done at
/// a look at a schedule, and the answer never changes.
#[derive(Debug, Default)]
pub(crate) struct Crontabs {
    known: Mutex<HashMap<String, Result<Arc<Crontab>, TimingError>>>,
}

impl Crontabs {
    fn read(&self, cron: &str) -> Result<Arc<Crontab>, TimingError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = known.get(cron) {
            return read.clone();
        }
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        let read = crontab(cron).map(Arc::new);
        known.insert(cron.to_owned(), read.clone());
        read
    }
}

/// Reads a line whose times come, and are far enough apart. Hours that clocks skip or repeat are no reason to refuse it, so it is
/// looked at a day of UTC.
fn crontab(cron: &str) -> Result<Crontab, TimingError> {
    // It is asked for local times as if they were those of UTC, see `next_local`.
    let crontab = cronexpr::parse_crontab(&format!("{cron} UTC"));
    let crontab = crontab.map_err(|_| TimingError::Cron(cron.to_owned()))?;
    let next = |after| next_local(&crontab, &TimeZone::UTC, after);
    let mut last = next(Timestamp::UNIX_EPOCH);
    if last.is_none() {
        return Err(TimingError::Never(cron.to_owned()));
    }
    for _ in 0..CHECKED {
        let (Some(one), Some(other)) = (last, last.and_then(next)) else {
            break;
        };
        if one.duration_until(other) < LEAST {
            return Err(TimingError::TooOften(cron.to_owned(), one, other));
        }
        last = Some(other);
    }
    Ok(crontab)
}

/// The first time of a crontab line after an instant, in a time zone. The line is asked for local times, each of which comes once: one
/// that the clock skips is taken after the gap, and one that comes twice is taken as the first.
fn next_local(crontab: &Crontab, zone: &TimeZone, instant: Timestamp) -> Option<Timestamp> {
    let mut local = zone.to_datetime(instant);
    // In the hour that comes a second time, local times come again that were there before the instant.
    loop {
        let asked = TimeZone::UTC.to_timestamp(local).ok()?;
        let next = crontab.find_next(MakeTimestamp(asked)).ok()?.datetime();
        let found = zone.to_timestamp(next).ok()?;
        if found > instant {
            return Some(found);
        }
        local = next;
    }
}

#[cfg(test)]
#[path = "timing_tests.rs"]
mod tests;
