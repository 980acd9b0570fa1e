//! `[redaction]`: the program that redacts what is not redacted in process, and its limits.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::raw::{ByteSize, Span, bad, must_be_absolute, span_within};

/// Redaction, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedactionConfig {
    /// Where ffmpeg lies; `None` takes the first one in `$PATH`.
    pub ffmpeg: Option<PathBuf>,
    /// What one run of it may use; half of it for a recording that has to be held in memory.
    pub max_memory_bytes: u64,
    /// After that it is ended.
    pub time_limit: Duration,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRedaction {
    #[serde(skip_serializing_if = "Option::is_none")]
    ffmpeg: Option<PathBuf>,
    max_memory: ByteSize,
    time_limit: Span,
}

impl Default for RawRedaction {
    fn default() -> Self {
        let time_limit = Span(Duration::from_secs(3_600));
        Self { ffmpeg: None, max_memory: ByteSize(1 << 30), time_limit }
    }
}

impl RawRedaction {
    pub(super) fn validate(self) -> Result<RedactionConfig, ConfigError> {
        let Self { ffmpeg, max_memory, time_limit } = self;
        if let Some(program) = &ffmpeg {
            must_be_absolute("redaction.ffmpeg", program)?;
        }
        span_within("redaction.time_limit", time_limit.0, 1, 7 * 86_400)?;
        if !(MEMORY_LEAST..=MEMORY_MOST).contains(&max_memory.0) {
            return Err(bad(
                "redaction.max_memory",
                "it is out of bounds",
                "write a size from 64MiB to 1TiB",
            ));
        }
        let (max_memory_bytes, time_limit) = (max_memory.0, time_limit.0);
        Ok(RedactionConfig { ffmpeg, max_memory_bytes, time_limit })
    }
}

impl From<&RedactionConfig> for RawRedaction {
    fn from(config: &RedactionConfig) -> Self {
        Self {
            ffmpeg: config.ffmpeg.clone(),
            max_memory: ByteSize(config.max_memory_bytes),
            time_limit: Span(config.time_limit),
        }
    }
}

/// Below this it does not even start.
const MEMORY_LEAST: u64 = 64 << 20;
const MEMORY_MOST: u64 = 1 << 40;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides};

    fn read(text: &str) -> Result<Config, ConfigError> {
        Config::read(text, Overrides { state: Some("/s".into()), ..Overrides::default() })
    }

    /// Planted fault: `time_limit` left out of `From`; what was shown then reads back otherwise.
    #[test]
    fn limits_are_kept_and_bounded() {
        let text = "[redaction]\nffmpeg = '/f'\nmax_memory = '2GiB'\ntime_limit = '9m'";
        let config = read(text).unwrap();
        assert_eq!(config.redaction.max_memory_bytes, 2 << 30);
        assert_eq!(Config::read(&config.to_toml(), Overrides::default()).unwrap(), config);
        for (text, key) in [
            ("ffmpeg = 'ffmpeg'", "redaction.ffmpeg"),
            ("max_memory = '1MiB'", "redaction.max_memory"),
            ("time_limit = '0s'", "redaction.time_limit"),
        ] {
            let error = read(&format!("[redaction]\n{text}")).unwrap_err().to_string();
            assert!(error.starts_with(key), "{error}");
        }
    }
}
