//! `[erasure]` and `[retention]`: how the eraser works, and when it needs a second person.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::raw::{Span, bad, span_within};

/// How erasing works, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasureConfig {
    /// From so many recordings on, whoever asks repeats the number.
    pub mass_from: u64,
    /// Whether such an erasure takes a second person.
    pub approve_mass: bool,
    /// Bytes per second at most; 0 is no limit.
    pub bytes_per_second: u64,
    /// First minute of the day at which it may work, and the first at which it may not any more,
    /// by the wall clock of this host; `None` is always.
    pub window: Option<(u16, u16)>,
    /// How old an obligation may get before it is an alarm.
    pub deadline: Duration,
    /// How long after an erasure the key version is replaced; `None` leaves it to people.
    pub finalize_after: Option<Duration>,
    /// Whether what is due by the rules of retention is erased every day by itself.
    pub retention_daily: bool,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawErasure {
    mass_from: u64,
    approve_mass: bool,
    bytes_per_second: String,
    window: String,
    deadline: Span,
    finalize_after: String,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRetention {
    daily: bool,
}

impl Default for RawErasure {
    fn default() -> Self {
        Self {
            mass_from: 100,
            approve_mass: false,
            bytes_per_second: "0".to_owned(),
            window: ALWAYS.to_owned(),
            deadline: Span(Duration::from_secs(30 * DAY_SECS)),
            finalize_after: OFF.to_owned(),
        }
    }
}

impl RawErasure {
    pub(super) fn validate(self, retention: &RawRetention) -> Result<ErasureConfig, ConfigError> {
        let Self { mass_from, approve_mass, bytes_per_second, window, deadline, finalize_after } =
            self;
        if !(1..=1_000_000).contains(&mass_from) {
            let problem = format!("{mass_from} is out of bounds");
            return Err(bad("erasure.mass_from", &problem, "take 1 to 1000000"));
        }
        let rate = parse_rate(&bytes_per_second).ok_or_else(|| {
            bad(
                "erasure.bytes_per_second",
                &format!("{bytes_per_second:?} is no number of bytes per second"),
                "write \"0\" for no limit, or \"50M\", \"200M\", \"1G\"",
            )
        })?;
        span_within("erasure.deadline", deadline.0, 3_600, 3_650 * DAY_SECS)?;
        let finalize_after = match finalize_after.as_str() {
            OFF => None,
            text => {
                let after = humantime::parse_duration(text).map_err(|_| {
                    bad(
                        "erasure.finalize_after",
                        &format!("{text:?} is no length of time"),
                        "write \"off\", or a time as \"7d\"",
                    )
                })?;
                span_within("erasure.finalize_after", after, 3_600, 3_650 * DAY_SECS)?;
                Some(after)
            }
        };
        Ok(ErasureConfig {
            mass_from,
            approve_mass,
            bytes_per_second: rate,
            window: parse_window(&window)?,
            deadline: deadline.0,
            finalize_after,
            retention_daily: retention.daily,
        })
    }
}

impl From<&ErasureConfig> for RawErasure {
    fn from(config: &ErasureConfig) -> Self {
        let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        Self {
            mass_from: config.mass_from,
            approve_mass: config.approve_mass,
            bytes_per_second: config.bytes_per_second.to_string(),
            window: match config.window {
                None => ALWAYS.to_owned(),
                Some((from, to)) => format!("{}-{}", time(from), time(to)),
            },
            deadline: Span(config.deadline),
            finalize_after: match config.finalize_after {
                None => OFF.to_owned(),
                Some(after) => humantime::format_duration(after).to_string(),
            },
        }
    }
}

impl From<&ErasureConfig> for RawRetention {
    fn from(config: &ErasureConfig) -> Self {
        Self { daily: config.retention_daily }
    }
}

/// Bytes per second as people write them: `0` and `off` are no limit, `200M` is 200,000,000.
pub fn parse_rate(text: &str) -> Option<u64> {
    if text == OFF {
        return Some(0);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().trim_end_matches("/s");
    let factor = UNITS.iter().find(|(names, _)| names.contains(&unit))?.1;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn parse_window(text: &str) -> Result<Option<(u16, u16)>, ConfigError> {
    if text == ALWAYS {
        return Ok(None);
    }
    let wrong = || {
        bad(
            "erasure.window",
            &format!("{text:?} is no time of day"),
            "write \"always\", or from when to when, as \"22:00-06:00\"",
        )
    };
    let (from, to) = text.split_once('-').ok_or_else(wrong)?;
    let minute = |text: &str| -> Option<u16> {
        let (hour, minute) = text.trim().split_once(':')?;
        let is_plain = |text: &str| text.len() == 2 && text.bytes().all(|c| c.is_ascii_digit());
        let (true, true) = (is_plain(hour), is_plain(minute)) else { return None };
        let (hour, minute) = (hour.parse::<u16>().ok()?, minute.parse::<u16>().ok()?);
        (hour < 24 && minute < 60).then_some(hour * 60 + minute)
    };
    match (minute(from), minute(to)) {
        (Some(from), Some(to)) if from != to => Ok(Some((from, to))),
        (_, _) => Err(wrong()),
    }
}

const UNITS: &[(&[&str], u64)] = &[
    (&["", "B"], 1),
    (&["K", "k", "kB", "KB"], 1_000),
    (&["M", "MB"], 1_000_000),
    (&["G", "GB"], 1_000_000_000),
    (&["KiB"], 1 << 10),
    (&["MiB"], 1 << 20),
    (&["GiB"], 1 << 30),
];
const DAY_SECS: u64 = 86_400;
const ALWAYS: &str = "always";
const OFF: &str = "off";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides};

    fn read(text: &str) -> Result<Config, ConfigError> {
        Config::read(text, Overrides { state: Some("/s".into()), ..Overrides::default() })
    }

    /// Planted fault: a member that `From<&ErasureConfig>` forgets.
    #[test]
    fn what_is_written_reads_back() {
        let text = "[erasure]\nmass_from = 7\napprove_mass = true\nbytes_per_second = '200M'\n\
                    window = '22:00-06:30'\ndeadline = '10d'\nfinalize_after = '7d'\n\
                    [retention]\ndaily = true";
        let config = read(text).unwrap();
        let erasure = &config.erasure;
        assert_eq!((erasure.mass_from, erasure.approve_mass), (7, true));
        assert_eq!(erasure.bytes_per_second, 200_000_000);
        assert_eq!(erasure.window, Some((22 * 60, 6 * 60 + 30)));
        assert_eq!(erasure.deadline, Duration::from_secs(10 * DAY_SECS));
        assert_eq!(erasure.finalize_after, Some(Duration::from_secs(7 * DAY_SECS)));
        assert!(erasure.retention_daily);
        assert_eq!(Config::read(&config.to_toml(), Overrides::default()).unwrap(), config);
        let none = read("").unwrap().erasure;
        assert_eq!((none.mass_from, none.window, none.finalize_after), (100, None, None));
        assert!(!none.approve_mass && !none.retention_daily);
    }

    /// Each refusal names its key. Meant to catch: 24:00 as a time; a unit that multiplies over
    /// the end of the number.
    #[test]
    fn nonsense_is_refused_with_its_key() {
        for (text, key) in [
            ("mass_from = 0", "erasure.mass_from"),
            ("bytes_per_second = 'fast'", "erasure.bytes_per_second"),
            ("bytes_per_second = '-1'", "erasure.bytes_per_second"),
            ("bytes_per_second = '99999999999999G'", "erasure.bytes_per_second"),
            ("window = 'off'", "erasure.window"),
            ("window = '22:00'", "erasure.window"),
            ("window = '24:00-06:00'", "erasure.window"),
            ("window = '06:00-06:00'", "erasure.window"),
            ("window = '6:00-07:60'", "erasure.window"),
            ("deadline = '1s'", "erasure.deadline"),
            ("finalize_after = 'soon'", "erasure.finalize_after"),
            ("finalize_after = '1s'", "erasure.finalize_after"),
        ] {
            let error = read(&format!("[erasure]\n{text}")).unwrap_err();
            assert!(error.to_string().starts_with(key), "{text}: {error}");
            assert!(!error.hint().is_empty(), "{text}");
        }
        assert!(read("[retention]\ndayly = true").unwrap_err().to_string().contains("line 2"));
    }

    #[test]
    fn rates_as_people_write_them() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("off", Some(0)),
            ("50M", Some(50_000_000)),
            ("50 MB/s", Some(50_000_000)),
            ("1GiB", Some(1 << 30)),
            ("1500", Some(1_500)),
            ("", None),
            ("M", None),
            ("1.5M", None),
            ("50Mbit", None),
        ] {
            assert_eq!(parse_rate(text), bytes, "{text}");
        }
    }
}
