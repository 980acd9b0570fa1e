//! `recseal redact`: how stretches of time are written.

use clap::Args;
use uuid::Uuid;

/// From one moment to another, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// Where it begins.
    pub from_ms: u64,
    /// Where it ends.
    pub to_ms: u64,
}

#[derive(Args, Debug)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct Redact {
    /// The recording
    pub id: Uuid,
    /// What to leave out, as 10s-15s, 1m5s-1m9s, 65.2-69 or 00:01:05-00:01:09; may be given again
    #[arg(long = "range", value_name = "FROM-TO", required = true, value_parser = time_range)]
    pub ranges: Vec<TimeRange>,
    /// Only this channel, counted from 1; may be given again [default: all]
    #[arg(long = "channel", value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub channels: Vec<u16>,
    /// A tone instead of silence
    #[arg(long)]
    pub beep: bool,
    /// Leave the picture as it is
    #[arg(long, conflicts_with = "video_only")]
    pub audio_only: bool,
    /// Leave the sound as it is
    #[arg(long, conflicts_with_all = ["beep", "channels"])]
    pub video_only: bool,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
}

/// Reads `FROM-TO`.
fn time_range(text: &str) -> Result<TimeRange, String> {
    let (from, to) = text.split_once('-').ok_or("write FROM-TO, as 10s-15s")?;
    let range = TimeRange { from_ms: moment(from)?, to_ms: moment(to)? };
    match range.from_ms < range.to_ms {
        true => Ok(range),
        false => Err("it ends before it begins".to_owned()),
    }
}

/// Milliseconds of `[hh:]mm:ss[.mmm]`, of seconds, or of a length of time with units.
fn moment(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let wrong = || format!("{text:?} is no moment: write 65.2, 1m5s or 00:01:05.2");
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b':'));
    if !is_plain {
        let span = humantime::parse_duration(text).map_err(|_| wrong())?;
        return u64::try_from(span.as_millis()).map_err(|_| wrong());
    }
    let parts: Vec<&str> = text.split(':').collect();
    let (last, before) = parts.split_last().ok_or_else(wrong)?;
    if before.len() > 2 {
        return Err(wrong());
    }
    let (whole, rest) = last.split_once('.').unwrap_or((last, ""));
    let number = |digits: &str| digits.parse::<u64>().map_err(|_| wrong());
    let mut seconds = number(whole)?;
    for (part, unit) in before.iter().rev().zip([60, 3_600]) {
        let more = number(part)?.checked_mul(unit);
        seconds = more.and_then(|more| more.checked_add(seconds)).ok_or_else(wrong)?;
    }
    let millis = if rest.is_empty() { 0 } else { number(&format!("{rest:0<3.3}"))? };
    seconds.checked_mul(1_000).and_then(|ms| ms.checked_add(millis)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted fault: hours and minutes swapped.
    #[test]
    fn moments_are_read_as_people_write_them() {
        for (text, ms) in [
            ("10s-15s", (10_000, 15_000)),
            ("00:01:05-00:01:09", (65_000, 69_000)),
            ("1:05.25-1:09", (65_250, 69_000)),
            ("65.2-69", (65_200, 69_000)),
            ("1m5s-1h", (65_000, 3_600_000)),
            ("500ms-1s", (500, 1_000)),
            ("0-0.001", (0, 1)),
            ("01:00:00-01:00:00.1239", (3_600_000, 3_600_123)),
        ] {
            let read = time_range(text).map(|range| (range.from_ms, range.to_ms));
            assert_eq!(read, Ok(ms), "{text}");
        }
        for text in
            ["10s", "15s-10s", "5-5", "a-b", "1:2:3:4-9", "-5", "1..2-3", "99999999999999999999-1"]
        {
            assert!(time_range(text).is_err(), "{text}");
        }
    }
}
