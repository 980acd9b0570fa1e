//! The configuration as it is written, and every check between it and [`Config`].
//!
//! Bounds that a type cannot hold stand in `validate`; each refusal names its key and says what
//! to write instead.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::intake::profile::{PROFILES, Profile};

use super::backup::RawBackup;
use super::{Config, ConfigError, Layout, LogLevel, Overrides, Poll, StoreConfig};

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfig {
    state: Option<PathBuf>,
    log: LogLevel,
    listen: RawListen,
    vault: RawVault,
    ingest: RawIngest,
    backup: RawBackup,
    keys: RawKeys,
    store: Vec<RawStore>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct RawListen {
    https: SocketAddr,
    health: SocketAddr,
    names: Vec<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct RawVault {
    path: Option<PathBuf>,
    reserve: ByteSize,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct RawIngest {
    workers: usize,
    batch: usize,
    reconcile_every: Span,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct RawKeys {
    retry_every: Span,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RawStore {
    path: PathBuf,
    #[serde(default = "generic")]
    profile: String,
    #[serde(default)]
    layout: Layout,
    #[serde(default = "settle")]
    settle: Span,
    #[serde(default)]
    poll: Poll,
    #[serde(default = "poll_settle")]
    poll_settle: Span,
    #[serde(default = "empty_wait")]
    empty_wait: Span,
    #[serde(default = "unfinished_wait")]
    unfinished_wait: Span,
    #[serde(default = "pair_within")]
    pair_within: Span,
    #[serde(default = "yes")]
    overwrite: bool,
}

impl Default for RawListen {
    fn default() -> Self {
        Self {
            https: SocketAddr::from(([127, 0, 0, 1], 9443)),
            health: SocketAddr::from(([127, 0, 0, 1], 9464)),
            names: ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec(),
        }
    }
}

impl Default for RawVault {
    fn default() -> Self {
        Self { path: None, reserve: ByteSize(256 << 20) }
    }
}

impl Default for RawIngest {
    fn default() -> Self {
        Self { workers: 4, batch: 64, reconcile_every: Span(Duration::from_secs(600)) }
    }
}

impl Default for RawKeys {
    fn default() -> Self {
        Self { retry_every: Span(Duration::from_secs(60)) }
    }
}

fn generic() -> String {
    PROFILES[0].name.to_owned()
}
fn settle() -> Span {
    Span(Duration::from_secs(10))
}
fn poll_settle() -> Span {
    Span(Duration::from_secs(60))
}
fn empty_wait() -> Span {
    Span(Duration::from_secs(24 * 3600))
}
fn unfinished_wait() -> Span {
    Span(Duration::from_secs(600))
}
fn pair_within() -> Span {
    Span(Duration::from_secs(600))
}
fn yes() -> bool {
    true
}

/// `"10s"`, `"24h"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_duration(&text).map(Self).map_err(|_| {
            serde::de::Error::custom(format!(
                "{text:?} is no length of time, write one as \"10s\", \"5m\" or \"24h\""
            ))
        })
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(self.0))
    }
}

/// `"256MiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ByteSize(u64);

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        parse_bytes(&text).map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "{text:?} is no size, write one as \"512MiB\", \"2GiB\" or \"1000000B\""
            ))
        })
    }
}

impl Serialize for ByteSize {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (unit, bytes) = UNITS
            .iter()
            .find(|(unit, bytes)| {
                unit.ends_with("iB") && self.0 != 0 && self.0.is_multiple_of(*bytes)
            })
            .unwrap_or(&("B", 1));
        to.collect_str(&format_args!("{}{unit}", self.0 / bytes))
    }
}

fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let bytes = UNITS.iter().find(|(name, _)| *name == unit.trim())?.1;
    number.parse::<u64>().ok()?.checked_mul(bytes)
}

impl RawConfig {
    pub(super) fn validate(self, over: Overrides) -> Result<Config, ConfigError> {
        let Self { state, log, listen, vault, ingest, backup, keys, store } = self;
        if over.state.is_none()
            && let Some(state) = &state
        {
            must_be_absolute("state", state)?;
        }
        let state = over.state.or(state).ok_or(ConfigError::NoState)?;
        let names = if over.names.is_empty() { listen.names } else { over.names };
        check_names(&names)?;
        let mut stores = Vec::new();
        for (index, raw) in store.into_iter().enumerate() {
            stores.push(raw.validate(&format!("store[{index}]"))?);
        }
        for (path, profile) in over.stores {
            lay_over(&mut stores, path, profile);
        }
        check_apart(&stores)?;
        if let Some(path) = &vault.path {
            must_be_absolute("vault.path", path)?;
        }
        within("ingest.workers", ingest.workers, 1, 64)?;
        within("ingest.batch", ingest.batch, 1, 4_096)?;
        let reconcile_every = ingest.reconcile_every.0;
        span_within("ingest.reconcile_every", reconcile_every, 1, 24 * 3600)?;
        span_within("keys.retry_every", keys.retry_every.0, 1, 24 * 3600)?;
        Ok(Config {
            vault: vault.path.unwrap_or_else(|| state.join("vault")),
            state,
            log,
            https: over.https.unwrap_or(listen.https),
            health: over.health.unwrap_or(listen.health),
            names,
            stores,
            reserve_bytes: vault.reserve.0,
            workers: ingest.workers,
            batch: ingest.batch,
            reconcile_every,
            backup: backup.validate()?,
            keys_retry_every: keys.retry_every.0,
        })
    }
}

impl RawStore {
    fn validate(self, key: &str) -> Result<StoreConfig, ConfigError> {
        must_be_absolute(&format!("{key}.path"), &self.path)?;
        if Profile::named(&self.profile).is_err() {
            let known: Vec<&str> = PROFILES.iter().map(|profile| profile.name).collect();
            return Err(bad(
                &format!("{key}.profile"),
                &format!("there is no profile {:?}", self.profile),
                &format!("choose one of {}", known.join(", ")),
            ));
        }
        for (name, span, least_secs) in [
            ("settle", self.settle, 1),
            ("poll_settle", self.poll_settle, 1),
            ("empty_wait", self.empty_wait, 1),
            ("unfinished_wait", self.unfinished_wait, 0),
            ("pair_within", self.pair_within, 0),
        ] {
            span_within(&format!("{key}.{name}"), span.0, least_secs, 30 * 24 * 3600)?;
        }
        Ok(StoreConfig {
            path: self.path,
            profile: self.profile,
            layout: self.layout,
            settle: self.settle.0,
            poll: self.poll,
            poll_settle: self.poll_settle.0,
            empty_wait: self.empty_wait.0,
            unfinished_wait: self.unfinished_wait.0,
            pair_within: self.pair_within.0,
            overwrite: self.overwrite,
        })
    }
}

/// A store named on the command line: a new one with defaults, or a profile for one of the file.
fn lay_over(stores: &mut Vec<StoreConfig>, path: PathBuf, profile: Option<&'static str>) {
    if let Some(known) = stores.iter_mut().find(|store| store.path == path) {
        if let Some(profile) = profile {
            known.profile = profile.to_owned();
        }
        return;
    }
    stores.push(StoreConfig {
        path,
        profile: profile.unwrap_or(PROFILES[0].name).to_owned(),
        layout: Layout::default(),
        settle: settle().0,
        poll: Poll::default(),
        poll_settle: poll_settle().0,
        empty_wait: empty_wait().0,
        unfinished_wait: unfinished_wait().0,
        pair_within: pair_within().0,
        overwrite: yes(),
    });
}

/// Two stores one inside the other would fight over the same file.
fn check_apart(stores: &[StoreConfig]) -> Result<(), ConfigError> {
    within("store", stores.len(), 0, STORES_MAX)?;
    for (index, store) in stores.iter().enumerate() {
        if let Some(other) = stores[..index].iter().position(|earlier| {
            earlier.path.starts_with(&store.path) || store.path.starts_with(&earlier.path)
        }) {
            return Err(bad(
                &format!("store[{index}].path"),
                &format!("lies in the same tree as store[{other}].path"),
                "name the outer folder once; a store takes all its subfolders",
            ));
        }
    }
    Ok(())
}

fn check_names(names: &[String]) -> Result<(), ConfigError> {
    within("listen.names", names.len(), 1, 100)?;
    let is_sound = |name: &String| {
        (1..=253).contains(&name.len())
            && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._:*".contains(&c))
    };
    match names.iter().find(|name| !is_sound(name)) {
        None => Ok(()),
        Some(name) => Err(bad(
            "listen.names",
            &format!("{name:?} is neither a host name nor an address"),
            "write names as \"recorder1.example.org\" and addresses as \"192.0.2.7\"",
        )),
    }
}

pub(super) fn must_be_absolute(key: &str, path: &Path) -> Result<(), ConfigError> {
    if path.is_absolute() {
        return Ok(());
    }
    Err(bad(
        key,
        &format!("{path:?} is a relative path"),
        "write the whole path from / on; only the command line takes relative ones",
    ))
}

pub(super) fn within(
    key: &str,
    value: usize,
    least: usize,
    most: usize,
) -> Result<(), ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(bad(key, &format!("{value} is out of bounds"), &format!("take {least} to {most}")))
}

pub(super) fn span_within(
    key: &str,
    span: Duration,
    least: u64,
    most: u64,
) -> Result<(), ConfigError> {
    let (least, most) = (Duration::from_secs(least), Duration::from_secs(most));
    if (least..=most).contains(&span) {
        return Ok(());
    }
    let show = humantime::format_duration;
    Err(bad(
        key,
        &format!("{} is out of bounds", show(span)),
        &format!("take {} to {}", show(least), show(most)),
    ))
}

pub(super) fn bad(key: &str, problem: &str, hint: &str) -> ConfigError {
    ConfigError::Value { key: key.to_owned(), problem: problem.to_owned(), hint: hint.to_owned() }
}

impl From<&Config> for RawConfig {
    fn from(config: &Config) -> Self {
        let store = config.stores.iter().map(|store| RawStore {
            path: store.path.clone(),
            profile: store.profile.clone(),
            layout: store.layout,
            settle: Span(store.settle),
            poll: store.poll,
            poll_settle: Span(store.poll_settle),
            empty_wait: Span(store.empty_wait),
            unfinished_wait: Span(store.unfinished_wait),
            pair_within: Span(store.pair_within),
            overwrite: store.overwrite,
        });
        Self {
            state: Some(config.state.clone()),
            log: config.log,
            listen: RawListen {
                https: config.https,
                health: config.health,
                names: config.names.clone(),
            },
            vault: RawVault {
                path: Some(config.vault.clone()),
                reserve: ByteSize(config.reserve_bytes),
            },
            ingest: RawIngest {
                workers: config.workers,
                batch: config.batch,
                reconcile_every: Span(config.reconcile_every),
            },
            backup: RawBackup::from(&config.backup),
            keys: RawKeys { retry_every: Span(config.keys_retry_every) },
            store: store.collect(),
        }
    }
}

/// Largest first, so that writing takes the roundest.
const UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("B", 1),
];

const STORES_MAX: usize = 256;
