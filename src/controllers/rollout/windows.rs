//! When restarts may begin. Pure: the time is an argument.

use k8s_openapi::jiff::civil::{Time, Weekday};
use k8s_openapi::jiff::{Timestamp, ToSpan};

use crate::api::managed_secret::{Day, RolloutWindow};
use crate::api::time::{duration, zone};

/// Whether restarts may begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Now.
    Open,
    /// Not before.
    Opens(Timestamp),
}

/// What cannot be read of windows. The schema has checked everything but the names of time zones.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WindowError {
    /// No such time zone.
    #[error(
        "spec.rollout.windows[{index}].timeZone: no time zone of the IANA database is named {name}"
    )]
    TimeZone {
        /// Which window.
        index: usize,
        /// The name.
        name: String,
    },
    /// No time or duration.
    #[error("spec.rollout.windows[{index}]: {field} cannot be read")]
    Field {
        /// Which window.
        index: usize,
        /// Which field.
        field: &'static str,
    },
}

/// Whether one of the windows is open; without any, always.
pub(crate) fn gate(windows: &[RolloutWindow], now: Timestamp) -> Result<Gate, WindowError> {
    let mut next: Option<Timestamp> = None;
    for (index, window) in windows.iter().enumerate() {
        match gate_of(index, window, now)? {
            Some(Gate::Open) => return Ok(Gate::Open),
            Some(Gate::Opens(time)) => next = Some(next.map_or(time, |next| next.min(time))),
            None => {}
        }
    }
    // No opening can be told at the end of time only.
    Ok(next.map_or(Gate::Open, Gate::Opens))
}

fn gate_of(
    index: usize,
    window: &RolloutWindow,
    now: Timestamp,
) -> Result<Option<Gate>, WindowError> {
    let unreadable = |field| WindowError::Field { index, field };
    let start: Time = window.start.parse().map_err(|_| unreadable("start"))?;
    let length = duration(&window.duration).ok_or_else(|| unreadable("duration"))?;
    let name = window.time_zone.as_deref().unwrap_or("UTC");
    let zone = zone(name).ok_or_else(|| WindowError::TimeZone {
        index,
        name: name.to_owned(),
    })?;
    let today = now.to_zoned(zone.clone()).date();
    // One that opened yesterday may be open still; each day of the week comes within seven days, and one more where a date is
    // skipped.
    let openings = (-1_i64..=8).filter_map(|days| {
        let date = today.checked_add(days.days()).ok()?;
        let opens = window.days.is_empty()
            || window
                .days
                .iter()
                .any(|day| weekday(*day) == date.weekday());
        // A time in a gap counts as the one after it, one that comes twice as the first.
        let opening = date.to_datetime(start).to_zoned(zone.clone()).ok()?;
        opens.then(|| opening.timestamp())
    });
    for opening in openings {
        let closed = opening
            .checked_add(length)
            .is_ok_and(|closing| closing <= now);
        if !closed {
            let open = opening <= now;
            return Ok(Some(if open {
                Gate::Open
            } else {
                Gate::Opens(opening)
            }));
        }
    }
    Ok(None)
}

fn weekday(day: Day) -> Weekday {
    match day {
        Day::Mon => Weekday::Monday,
        Day::Tue => Weekday::Tuesday,
        Day::Wed => Weekday::Wednesday,
        Day::Thu => Weekday::Thursday,
        Day::Fri => Weekday::Friday,
        Day::Sat => Weekday::Saturday,
        Day::Sun => Weekday::Sunday,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(days: &[Day], start: &str, duration: &str, zone: Option<&str>) -> RolloutWindow {
        RolloutWindow {
            days: days.to_vec(),
            start: start.into(),
            duration: duration.into(),
            time_zone: zone.map(str::to_owned),
        }
    }

    fn at(windows: &[RolloutWindow], now: &str) -> String {
        match gate(windows, now.parse().unwrap()).unwrap() {
            Gate::Open => "open".into(),
            Gate::Opens(time) => time.to_string(),
        }
    }

    #[test]
    fn a_window_is_open_from_its_start_for_its_duration() {
        let berlin = Some("Europe/Berlin");
        let night = [window(&[Day::Sat], "22:30", "3h", berlin)];
        // 2026-11-28 is a Saturday.
        for (case, now, expected) in [
            (
                "a week before",
                "2026-11-22T12:00:00Z",
                "2026-11-28T21:30:00Z",
            ),
            (
                "a moment before",
                "2026-11-28T21:29:59Z",
                "2026-11-28T21:30:00Z",
            ),
            ("at the start", "2026-11-28T21:30:00Z", "open"),
            ("after midnight", "2026-11-29T00:29:59Z", "open"),
            ("at the end", "2026-11-29T00:30:00Z", "2026-12-05T21:30:00Z"),
        ] {
            assert_eq!(at(&night, now), expected, "{case}");
        }
        assert_eq!(at(&[], "2026-11-22T12:00:00Z"), "open", "without windows");
    }

    #[test]
    fn of_several_windows_the_first_to_open_counts() {
        let windows = [
            window(&[Day::Mon], "10:00", "30m", None),
            window(&[], "04:00", "1h30m", Some("America/New_York")),
        ];
        assert_eq!(at(&windows, "2026-11-29T08:00:00Z"), "2026-11-29T09:00:00Z");
        assert_eq!(at(&windows, "2026-11-30T10:29:00Z"), "open");
    }

    #[test]
    fn a_window_outlives_a_change_of_the_clocks_by_its_duration() {
        let berlin = Some("Europe/Berlin");
        for (case, start, now, expected) in [
            // In spring 02:30 does not exist: 03:30 of summer time counts.
            (
                "in the gap",
                "02:30",
                "2026-03-29T00:00:00Z",
                "2026-03-29T01:30:00Z",
            ),
            ("begun in the gap", "02:30", "2026-03-29T02:29:00Z", "open"),
            (
                "ended in the gap",
                "02:30",
                "2026-03-29T02:30:00Z",
                "2026-03-30T00:30:00Z",
            ),
            // In autumn 02:30 comes twice: the first counts.
            (
                "the first",
                "02:30",
                "2026-10-25T00:00:00Z",
                "2026-10-25T00:30:00Z",
            ),
            (
                "the second",
                "02:30",
                "2026-10-25T01:30:00Z",
                "2026-10-26T01:30:00Z",
            ),
            // An hour is an hour, however often the clock shows it.
            ("across", "01:30", "2026-10-25T00:29:00Z", "open"),
            (
                "after",
                "01:30",
                "2026-10-25T00:30:00Z",
                "2026-10-26T00:30:00Z",
            ),
        ] {
            let windows = [window(&[], start, "1h", berlin)];
            assert_eq!(at(&windows, now), expected, "{case}");
        }
    }

    #[test]
    fn an_unknown_time_zone_is_named() {
        let windows = [window(&[], "02:30", "1h", Some("Europe/Atlantis"))];
        let error = gate(&windows, Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(
            error.to_string(),
            "spec.rollout.windows[0].timeZone: no time zone of the IANA database is named Europe/Atlantis"
        );
    }
}
