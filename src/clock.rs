//! Time, asked in one place and passed on as a value.
//!
//! Everything below the doors takes `now: Timestamp`. Only the doors own a [`Clock`], so a test
//! sets the date instead of sleeping. [`ClockWatch`] says whether the date is to be believed.

mod trust;

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

pub use trust::{ClockWatch, Trust};

/// Milliseconds since 1970-01-01 UTC. Prints as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970, clamped to what a calendar can print.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(MILLIS_MIN, MILLIS_MAX))
    }

    /// From nanoseconds since 1970, as file systems count; rounds down.
    pub fn from_nanos(nanos: i128) -> Self {
        let millis = nanos.div_euclid(1_000_000);
        Self::from_millis(i64::try_from(millis).unwrap_or(if millis < 0 {
            MILLIS_MIN
        } else {
            MILLIS_MAX
        }))
    }

    /// A moment as people write it: RFC 3339, or a day, which begins at midnight UTC.
    pub fn parse(text: &str) -> Option<Self> {
        let midnight = format!("{text}T00:00:00Z");
        let moment: jiff::Timestamp = text.parse().or_else(|_| midnight.parse()).ok()?;
        Some(Self::from_millis(moment.as_millisecond()))
    }

    /// Milliseconds since 1970.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it lies in the future.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This moment and `span` later.
    pub fn plus(self, span: Duration) -> Self {
        Self::from_millis(
            self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = jiff::Timestamp::from_millisecond(self.0).map_err(|_| fmt::Error)?;
        write!(f, "{moment:.3}")
    }
}

/// Minutes since midnight by the wall clock of this host, 0 to 1,439; of UTC where the host has
/// no time zone that can be read. A change to or from summer time moves it.
pub fn minute_of_local_day(now: Timestamp) -> u16 {
    minute_of_day(now, &jiff::tz::TimeZone::system())
}

fn minute_of_day(now: Timestamp, zone: &jiff::tz::TimeZone) -> u16 {
    // Cannot fail for what `from_millis` clamps to; midnight is as good as anything then.
    let moment = jiff::Timestamp::from_millisecond(now.0).unwrap_or_default();
    let time = zone.to_datetime(moment).time();
    u16::from(time.hour().unsigned_abs()) * 60 + u16::from(time.minute().unsigned_abs())
}

/// Where `now` comes from. Owned by the doors; nobody else asks.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's wall clock.
    System,
    /// Set by a test.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The present moment.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => {
                let since_1970 = std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)
                    .unwrap_or_default();
                Timestamp::from_millis(i64::try_from(since_1970.as_millis()).unwrap_or(MILLIS_MAX))
            }
            Self::Manual(millis) => Timestamp::from_millis(millis.load(Ordering::SeqCst)),
        }
    }
}

impl Clock {
    /// Time since some moment in the past, which nobody can set. Only differences mean something.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    pub fn steady(&self) -> Duration {
        static BEGINNING: OnceLock<Instant> = OnceLock::new();
        match self {
            Self::System => BEGINNING.get_or_init(Instant::now).elapsed(),
            // A test's clock is never set, it only advances.
            Self::Manual(_) => self.now().since(Timestamp(0)),
        }
    }
}

/// Years -9998 and 9999: what RFC 3339 printing accepts.
const MILLIS_MIN: i64 = -377_000_000_000_000;
const MILLIS_MAX: i64 = 253_402_200_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_rfc_3339_and_clamps() {
        assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::from_nanos(-1).as_millis(), -1);
        // Planted fault: without the clamp, printing i64::MAX fails inside `to_string`.
        assert!(Timestamp::from_millis(i64::MAX).to_string().starts_with("9999-"));
        assert!(!Timestamp::from_millis(i64::MIN).to_string().is_empty());
    }

    /// Planted fault: UTC for every host. Meant to catch, too: the offset without its summer hour.
    #[test]
    fn the_minute_of_the_day_is_that_of_the_zone() {
        let zone = |text: &str| jiff::tz::TimeZone::posix(text).unwrap();
        let berlin = zone("CET-1CEST,M3.5.0,M10.5.0/3");
        let at = |text: &str| {
            Timestamp::from_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
        };
        for (moment, there, minute) in [
            ("2026-01-15T21:30:00Z", &berlin, 22 * 60 + 30),
            ("2026-07-15T21:30:00Z", &berlin, 23 * 60 + 30),
            ("2026-07-15T22:00:59Z", &berlin, 0),
            ("2026-07-15T22:00:00Z", &jiff::tz::TimeZone::UTC, 22 * 60),
            ("1969-12-31T23:59:00Z", &jiff::tz::TimeZone::UTC, 23 * 60 + 59),
            ("2026-01-15T00:10:00Z", &zone("NST3:30"), 20 * 60 + 40),
        ] {
            assert_eq!(minute_of_day(at(moment), there), minute, "{moment}");
        }
        assert!(minute_of_local_day(at("2026-01-15T21:30:00Z")) < 24 * 60);
        assert!(minute_of_local_day(Timestamp::from_millis(i64::MAX)) < 24 * 60);
    }

    #[test]
    fn a_future_moment_was_zero_ago() {
        let (early, late) = (Timestamp::from_millis(5), Timestamp::from_millis(9));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(late.since(early), Duration::from_millis(4));
    }
}
