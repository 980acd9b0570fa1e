//! `[backup]`: what the daemon backs up by itself, and when it reminds a person.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::raw::{Span, bad, must_be_absolute, span_within, within};

/// Backups, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupConfig {
    /// How old the last verified backup may get before `status` warns.
    pub remind_after: Duration,
    /// The backups that the daemon makes by itself.
    pub automatic: Option<AutomaticConfig>,
}

/// Automatic backups, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutomaticConfig {
    /// How often.
    pub every: Duration,
    /// Where to.
    pub folder: PathBuf,
    /// The public key they are made for.
    pub recipient: PathBuf,
    /// How many are kept.
    pub keep: usize,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawBackup {
    remind_after: Span,
    every: Span,
    keep: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    folder: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recipient: Option<PathBuf>,
}

impl Default for RawBackup {
    fn default() -> Self {
        Self {
            remind_after: Span(Duration::from_secs(30 * DAY_SECS)),
            every: Span(Duration::from_secs(DAY_SECS)),
            keep: 7,
            folder: None,
            recipient: None,
        }
    }
}

impl RawBackup {
    pub(super) fn validate(self) -> Result<BackupConfig, ConfigError> {
        let Self { remind_after, every, keep, folder, recipient } = self;
        span_within("backup.remind_after", remind_after.0, 3_600, 3_650 * DAY_SECS)?;
        span_within("backup.every", every.0, 60, 365 * DAY_SECS)?;
        within("backup.keep", keep, 1, 10_000)?;
        for (key, path) in [("backup.folder", &folder), ("backup.recipient", &recipient)] {
            if let Some(path) = path {
                must_be_absolute(key, path)?;
            }
        }
        let automatic = match (folder, recipient) {
            (None, None) => None,
            (Some(folder), Some(recipient)) => {
                Some(AutomaticConfig { every: every.0, folder, recipient, keep })
            }
            (Some(_), None) => {
                return Err(bad(
                    "backup.recipient",
                    "automatic backups need a public key to be made for",
                    "make one with `recseal backup keygen -o backup.key` and name backup.key.pub",
                ));
            }
            (None, Some(_)) => {
                return Err(bad(
                    "backup.folder",
                    "automatic backups need a folder to be written to",
                    "name a folder on another disk or machine",
                ));
            }
        };
        Ok(BackupConfig { remind_after: remind_after.0, automatic })
    }
}

impl From<&BackupConfig> for RawBackup {
    fn from(config: &BackupConfig) -> Self {
        let written = Self { remind_after: Span(config.remind_after), ..Self::default() };
        match &config.automatic {
            None => written,
            Some(automatic) => Self {
                every: Span(automatic.every),
                keep: automatic.keep,
                folder: Some(automatic.folder.clone()),
                recipient: Some(automatic.recipient.clone()),
                ..written
            },
        }
    }
}

const DAY_SECS: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides};

    fn read(text: &str) -> Result<Config, ConfigError> {
        Config::read(text, Overrides { state: Some("/s".into()), ..Overrides::default() })
    }

    #[test]
    fn backups_are_off_until_a_folder_and_a_key_are_named() {
        let backup = read("").unwrap().backup;
        assert_eq!(backup.automatic, None);
        assert_eq!(backup.remind_after, Duration::from_secs(30 * DAY_SECS));
        let text = "[backup]\nfolder = '/b'\nrecipient = '/k.pub'\nevery = '6h'\nkeep = 3";
        let config = read(text).unwrap();
        let automatic = config.backup.automatic.clone().unwrap();
        assert_eq!((automatic.every, automatic.keep), (Duration::from_secs(21_600), 3));
        assert_eq!(Config::read(&config.to_toml(), Overrides::default()).unwrap(), config);
    }

    #[test]
    fn half_a_plan_is_refused() {
        for (text, key) in [
            ("folder = '/b'", "backup.recipient"),
            ("recipient = '/k'", "backup.folder"),
            ("folder = 'b'\nrecipient = '/k'", "backup.folder"),
            ("keep = 0", "backup.keep"),
            ("every = '1s'", "backup.every"),
            ("remind_after = '1s'", "backup.remind_after"),
        ] {
            let error = read(&format!("[backup]\n{text}")).unwrap_err().to_string();
            assert!(error.starts_with(key), "{error}");
        }
    }
}
