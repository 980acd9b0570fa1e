//! Times and spans as recorders write them.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::clock::Timestamp;

use super::fault::FaultKind;

/// A fraction of a second in which somebody counts since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Millis,
    Micros,
    Nanos,
}

impl Unit {
    /// The unit that gives a number a date between 2001 and 2286.
    fn of_digits(digits: usize) -> Option<Self> {
        match digits {
            10 => Some(Self::Seconds),
            13 => Some(Self::Millis),
            16 => Some(Self::Micros),
            19 => Some(Self::Nanos),
            _ => None,
        }
    }

    fn per_milli(self) -> i128 {
        match self {
            Self::Seconds | Self::Millis => 1,
            Self::Micros => 1_000,
            Self::Nanos => 1_000_000,
        }
    }
}

/// A date with a time, of `zone` unless it names one. Empty and all zeros mean never.
///
/// An hour that a clock showed twice is its first; one that was skipped is moved forward.
///
/// # Errors
///
/// `Time`.
pub(super) fn dated(text: &str, zone: &TimeZone) -> Result<Option<Timestamp>, FaultKind> {
    let text = text.trim();
    if !text.bytes().any(|b| (b'1'..=b'9').contains(&b)) {
        return if text.bytes().all(|b| matches!(b, b'0' | b'-' | b':' | b' ' | b'T' | b'.')) {
            Ok(None)
        } else {
            Err(FaultKind::Time)
        };
    }
    // A day alone would be midnight, which nobody said.
    if !(DATED_BYTES_MIN..=DATED_BYTES_MAX).contains(&text.len()) || !text.is_ascii() {
        return Err(FaultKind::Time);
    }
    let moment = match text.parse::<jiff::Timestamp>() {
        Ok(moment) => moment,
        Err(_) => {
            let local: DateTime = text.parse().map_err(|_| FaultKind::Time)?;
            zone.to_timestamp(local).map_err(|_| FaultKind::Time)?
        }
    };
    within(moment.as_millisecond())
}

/// A number of `unit`s since 1970, with or without a fraction. Empty and zero mean never.
///
/// # Errors
///
/// `Number` if it is none or does not fit, `Time` if no calendar has it.
pub(super) fn since_1970(text: &str, unit: Unit) -> Result<Option<Timestamp>, FaultKind> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let millis = match unit {
        Unit::Seconds => thousandths(text)?,
        Unit::Millis | Unit::Micros | Unit::Nanos => thousandths(text)? / 1_000 / unit.per_milli(),
    };
    match i64::try_from(millis).map_err(|_| FaultKind::Time)? {
        0 => Ok(None),
        millis => within(millis),
    }
}

/// A moment of any notation: a date, or a number whose length tells its unit.
///
/// # Errors
///
/// `Time` or `Number`.
pub(super) fn any(text: &str, zone: &TimeZone) -> Result<Option<Timestamp>, FaultKind> {
    let whole = text.trim().split('.').next().unwrap_or_default();
    match Unit::of_digits(whole.len()).filter(|_| whole.bytes().all(|b| b.is_ascii_digit())) {
        Some(unit) => since_1970(text, unit),
        None => dated(text, zone),
    }
}

/// A number of seconds.
///
/// # Errors
///
/// `Negative`, or `Number` if it is none or longer than a year.
pub(super) fn seconds(text: &str) -> Result<Option<Duration>, FaultKind> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let millis = u64::try_from(thousandths(digits)?).map_err(|_| FaultKind::Number)?;
    match (digits.len() < text.len() && millis > 0, millis > SPAN_MILLIS_MAX) {
        (true, _) => Err(FaultKind::Negative),
        (false, true) => Err(FaultKind::Number),
        (false, false) => Ok(Some(Duration::from_millis(millis))),
    }
}

/// `123.4567` as 123,456: digits, and perhaps a point and more digits.
fn thousandths(text: &str) -> Result<i128, FaultKind> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) || fraction.len() > FRACTION_DIGITS_MAX {
        return Err(FaultKind::Number);
    }
    let whole: i64 = whole.parse().map_err(|_| FaultKind::Number)?;
    let part = fraction.bytes().chain(*b"000").take(3);
    let part = part.fold(0, |sum, digit| sum * 10 + i128::from(digit - b'0'));
    Ok(i128::from(whole) * 1_000 + part)
}

/// From 1970 on, and no further than a calendar prints.
fn within(millis: i64) -> Result<Option<Timestamp>, FaultKind> {
    let moment = Timestamp::from_millis(millis);
    (millis > 0 && moment.as_millis() == millis).then_some(Some(moment)).ok_or(FaultKind::Time)
}

/// `2024-01-15 09:30`.
const DATED_BYTES_MIN: usize = 16;
const DATED_BYTES_MAX: usize = 64;
const FRACTION_DIGITS_MAX: usize = 18;
const SPAN_MILLIS_MAX: u64 = 366 * 86_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    #[test]
    fn a_time_without_a_zone_is_of_the_given_one() {
        for (text, expected) in [
            ("2024-01-15 09:30:12", "2024-01-15T08:30:12.000Z"),
            ("2024-07-15 09:30:12", "2024-07-15T07:30:12.000Z"),
            ("2024-07-15T09:30:12.5", "2024-07-15T07:30:12.500Z"),
            // Planted fault: the zone of the store put over the one that is written.
            ("2024-07-15T09:30:12Z", "2024-07-15T09:30:12.000Z"),
            ("2022-03-18T20:05:25.790+01", "2022-03-18T19:05:25.790Z"),
            ("2024-07-15T09:30:12-05:00", "2024-07-15T14:30:12.000Z"),
            // The clock showed 02:30 twice, and on the other day never.
            ("2024-10-27 02:30:00", "2024-10-27T00:30:00.000Z"),
            ("2024-03-31 02:30:00", "2024-03-31T01:30:00.000Z"),
        ] {
            let found = dated(text, &berlin()).unwrap().unwrap().to_string();
            assert_eq!(found, expected, "{text}");
            assert_eq!(any(text, &berlin()).unwrap().unwrap().to_string(), expected);
        }
        for never in ["", " ", "0000-00-00 00:00:00", "0"] {
            assert_eq!(dated(never, &berlin()), Ok(None), "{never}");
        }
        for none in [
            "2024-13-15 09:30:12",
            "2024-02-30 09:30:12",
            "2024-01-15",
            "yesterday",
            "9999-12-31 23:59:59",
            "1969-12-31 23:00:00",
            "٢٠٢٤-01-15 09:30:12",
        ] {
            assert_eq!(dated(none, &TimeZone::UTC), Err(FaultKind::Time), "{none}");
        }
    }

    #[test]
    fn counted_times_have_their_unit() {
        let at = "2024-01-15T09:30:12.123Z";
        for (text, unit) in [
            ("1705311012.1234", Unit::Seconds),
            ("1705311012123", Unit::Millis),
            ("1705311012123.999", Unit::Millis),
            ("1705311012123456", Unit::Micros),
            ("1705311012123456789", Unit::Nanos),
        ] {
            // Planted faults: a unit off by a thousand; rounding up.
            let found = since_1970(text, unit).unwrap_or_else(|e| panic!("{text} {e:?}"));
            assert_eq!(found.unwrap().to_string(), at, "{text}");
            assert_eq!(any(text, &TimeZone::UTC).unwrap().unwrap().to_string(), at, "{text}");
        }
        assert_eq!(since_1970("0", Unit::Micros), Ok(None));
        for text in ["-1", "1e9", "99999999999999999999", "1.", ".5", "0x10", "9223372036854775808"]
        {
            assert_eq!(since_1970(text, Unit::Seconds), Err(FaultKind::Number), "{text}");
        }
        for text in ["253402300800", "9223372036854775807"] {
            assert_eq!(since_1970(text, Unit::Seconds), Err(FaultKind::Time), "{text}");
        }
    }

    #[test]
    fn a_span_is_never_negative() {
        assert_eq!(seconds("12.5"), Ok(Some(Duration::from_millis(12_500))));
        assert_eq!(seconds("-0"), Ok(Some(Duration::ZERO)));
        assert_eq!(seconds(""), Ok(None));
        // Planted fault: the sign dropped.
        assert_eq!(seconds("-1"), Err(FaultKind::Negative));
        for text in ["1 s", "1,5", "--1", "31622401", "9999999999999999999"] {
            assert_eq!(seconds(text), Err(FaultKind::Number), "{text}");
        }
    }
}
