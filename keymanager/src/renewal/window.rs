//! The time of day at which renewals may happen, in UTC.

use std::fmt;
use std::str::FromStr;

/// One stretch of every day, `02:00-05:00` UTC. It may go over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    start_min: u16,
    end_min: u16,
}

/// The text is no window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a window is two times of day in UTC, as \"02:00-05:00\"")]
pub struct BadWindow;

impl Window {
    /// True if `now_ms` lies in it; the end does not belong to it.
    pub fn contains(self, now_ms: i64) -> bool {
        let (start, end) = (i64::from(self.start_min), i64::from(self.end_min));
        let minute = now_ms.rem_euclid(DAY_MS) / MINUTE_MS;
        if start < end { (start..end).contains(&minute) } else { minute >= start || minute < end }
    }

    /// When it next opens, later than `now_ms`.
    pub fn next_start_ms(self, now_ms: i64) -> i64 {
        let midnight_ms = now_ms.saturating_sub(now_ms.rem_euclid(DAY_MS));
        let today_ms = midnight_ms.saturating_add(i64::from(self.start_min) * MINUTE_MS);
        if today_ms > now_ms { today_ms } else { today_ms.saturating_add(DAY_MS) }
    }
}

impl FromStr for Window {
    type Err = BadWindow;

    fn from_str(text: &str) -> Result<Self, BadWindow> {
        let (start, end) = text.split_once('-').ok_or(BadWindow)?;
        let (start_min, end_min) = (minutes(start)?, minutes(end)?);
        if start_min == end_min {
            return Err(BadWindow);
        }
        Ok(Self { start_min, end_min })
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b] = [self.start_min, self.end_min].map(|min| (min / 60, min % 60));
        write!(f, "{:02}:{:02}-{:02}:{:02}", a.0, a.1, b.0, b.1)
    }
}

fn minutes(text: &str) -> Result<u16, BadWindow> {
    let (hours, minutes) = text.trim().split_once(':').ok_or(BadWindow)?;
    let number = |digits: &str, below: u16| -> Result<u16, BadWindow> {
        let is_plain = digits.len() == 2 && digits.bytes().all(|c| c.is_ascii_digit());
        digits.parse().ok().filter(|number: &u16| is_plain && *number < below).ok_or(BadWindow)
    };
    Ok(number(hours, 24)? * 60 + number(minutes, 60)?)
}

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    /// Planted fault: `start <= minute && minute < end` alone never opens over midnight.
    #[test]
    fn a_window_may_go_over_midnight() {
        let night: Window = "22:30-03:00".parse().unwrap();
        let day = 20_000 * DAY_MS;
        for (ms, inside) in [
            (day, true),
            (day + 3 * HOUR_MS - 1, true),
            (day + 3 * HOUR_MS, false),
            (day + 22 * HOUR_MS, false),
            (day + 22 * HOUR_MS + 30 * MINUTE_MS, true),
            (-1, true),
        ] {
            assert_eq!(night.contains(ms), inside, "{ms}");
        }
        assert_eq!(night.next_start_ms(day), day + 22 * HOUR_MS + 30 * MINUTE_MS);
        let opens = night.next_start_ms(day);
        assert_eq!(night.next_start_ms(opens), opens + DAY_MS);
        assert_eq!(night.to_string(), "22:30-03:00");
    }

    #[test]
    fn nonsense_is_no_window() {
        for text in ["", "-", "02:00", "2:00-5:00", "24:00-01:00", "02:60-03:00", "02:00-02:00"] {
            assert_eq!(text.parse::<Window>(), Err(BadWindow), "{text}");
        }
        for text in ["00:00-23:59", "02:00-05:00", "02:00 - 05:00"] {
            text.parse::<Window>().unwrap();
        }
    }
}
