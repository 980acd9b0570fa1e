//! The configuration as it is written, and every check between it and [`Config`].
//!
//! Bounds that a type cannot hold stand in `validate`; each refusal names its key and says what
//! to write instead.

mod store;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::access::UnknownRole;

use super::backup::RawBackup;
use super::certificate::RawCertificate;
use super::erasure::{RawErasure, RawRetention};
use super::redaction::RawRedaction;
use super::{
    ClientCertificates, ClientConfig, Config, ConfigError, KeysConfig, LogLevel, Overrides,
    StoreConfig,
};

use store::{RawStore, check_apart, lay_over};

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfig {
    state: Option<PathBuf>,
    log: LogLevel,
    listen: RawListen,
    vault: RawVault,
    ingest: RawIngest,
    backup: RawBackup,
    redaction: RawRedaction,
    keys: RawKeys,
    client: Vec<RawClient>,
    seal: RawSeal,
    certificate: RawCertificate,
    erasure: RawErasure,
    retention: RawRetention,
    store: Vec<RawStore>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct RawListen {
    https: SocketAddr,
    health: SocketAddr,
    names: Vec<String>,
    client_certificates: ClientCertificates,
    client_ca: Option<PathBuf>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RawClient {
    name: String,
    role: String,
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

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct RawSeal {
    to: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct RawKeys {
    retry_every: Span,
    /// Zero: never by itself.
    rotate_every: Span,
    destroy_wait: Span,
}

impl Default for RawListen {
    fn default() -> Self {
        Self {
            https: SocketAddr::from(([127, 0, 0, 1], 9443)),
            health: SocketAddr::from(([127, 0, 0, 1], 9464)),
            names: DEFAULT_NAMES.map(str::to_owned).to_vec(),
            client_certificates: ClientCertificates::default(),
            client_ca: None,
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
        let days = |count: u64| Span(Duration::from_secs(count * DAY_SECS));
        let retry_every = Span(Duration::from_secs(60));
        Self { retry_every, rotate_every: days(90), destroy_wait: days(30) }
    }
}

impl RawKeys {
    fn validate(&self) -> Result<KeysConfig, ConfigError> {
        let (every, wait) = (self.rotate_every.0, self.destroy_wait.0);
        if !every.is_zero() {
            span_within("keys.rotate_every", every, 3_600, 3_650 * DAY_SECS)?;
        }
        span_within("keys.destroy_wait", wait, 7 * DAY_SECS, 3_650 * DAY_SECS)?;
        let rotate_every = (!every.is_zero()).then_some(every);
        let retry_every = self.retry_every.0;
        Ok(KeysConfig { retry_every, rotate_every, destroy_wait: wait })
    }
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
        let secs = self.0.as_secs();
        if secs > DAY_SECS && secs.is_multiple_of(DAY_SECS) {
            // Not in months and years, of which nobody knows how many days they have.
            return to.collect_str(&format_args!("{}d", secs / DAY_SECS));
        }
        to.collect_str(&humantime::format_duration(self.0))
    }
}

/// `"256MiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ByteSize(pub(super) u64);

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
        let Self {
            state,
            log,
            listen,
            vault,
            ingest,
            backup,
            redaction,
            seal,
            keys,
            certificate,
            erasure,
            retention,
            client,
            store,
        } = self;
        if over.state.is_none()
            && let Some(state) = &state
        {
            must_be_absolute("state", state)?;
        }
        let state = over.state.or(state).ok_or(ConfigError::NoState)?;
        let names = if over.names.is_empty() { listen.names } else { over.names };
        check_names(&names)?;
        listen.client_ca.iter().try_for_each(|path| must_be_absolute("listen.client_ca", path))?;
        let clients = validate_clients(client)?;
        check_seal_key("seal.to", seal.to.as_deref())?;
        let stores = validate_stores(store, over.stores, seal.to.as_ref())?;
        vault.path.iter().try_for_each(|path| must_be_absolute("vault.path", path))?;
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
            certificate: certificate.validate(&names)?,
            names,
            client_certificates: listen.client_certificates,
            client_ca: listen.client_ca,
            clients,
            stores,
            reserve_bytes: vault.reserve.0,
            workers: ingest.workers,
            batch: ingest.batch,
            seal_to: seal.to,
            reconcile_every,
            backup: backup.validate()?,
            redaction: redaction.validate()?,
            keys: keys.validate()?,
            erasure: erasure.validate(&retention)?,
        })
    }
}

/// The stores of the file, with those of the command line laid over them.
fn validate_stores(
    raw: Vec<RawStore>,
    over: Vec<(PathBuf, Option<&'static str>)>,
    seal_to: Option<&String>,
) -> Result<Vec<StoreConfig>, ConfigError> {
    let mut stores = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        stores.push(raw.validate(&format!("store[{index}]"))?);
    }
    for (path, profile) in over {
        lay_over(&mut stores, path, profile);
    }
    check_apart(&stores)?;
    for store in &mut stores {
        store.seal_to = store.seal_to.take().or_else(|| seal_to.cloned());
    }
    Ok(stores)
}

fn validate_clients(raw: Vec<RawClient>) -> Result<Vec<ClientConfig>, ConfigError> {
    within("client", raw.len(), 0, CLIENTS_MAX)?;
    let mut clients: Vec<ClientConfig> = Vec::new();
    for (index, RawClient { name, role }) in raw.into_iter().enumerate() {
        let key = |member: &str| format!("client[{index}].{member}");
        if !(1..=255).contains(&name.len()) || name.contains(char::is_control) {
            let hint = "write the name that the certificate is for, as \"prometheus\"";
            return Err(bad(&key("name"), "is no name of 1 to 255 bytes", hint));
        }
        if clients.iter().any(|other| other.name == name) {
            let hint = "one name stands for one role; remove one of the two";
            return Err(bad(&key("name"), &format!("{name:?} stands here twice"), hint));
        }
        let role = role.parse().map_err(|unknown: UnknownRole| {
            bad(&key("role"), &unknown.to_string(), "take one of these; \"ops\" is enough too")
        })?;
        clients.push(ClientConfig { name, role });
    }
    Ok(clients)
}

/// Whether there is such a seal key only the daemon knows: it is added while that runs.
fn check_seal_key(key: &str, name: Option<&str>) -> Result<(), ConfigError> {
    let is_sound = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b".-_".contains(&c);
    match name {
        Some(name) if name.is_empty() || name.len() > 64 || !name.bytes().all(is_sound) => {
            Err(bad(
                key,
                &format!("{name:?} is no name of a seal key"),
                "take a name of `recseal keys seal-keys list`, as \"archive\"",
            ))
        }
        _ => Ok(()),
    }
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
        let store = config.stores.iter().map(RawStore::from);
        let client = config.clients.iter().map(|client| RawClient {
            name: client.name.clone(),
            role: client.role.as_str().to_owned(),
        });
        Self {
            state: Some(config.state.clone()),
            log: config.log,
            listen: RawListen {
                https: config.https,
                health: config.health,
                names: config.names.clone(),
                client_certificates: config.client_certificates,
                client_ca: config.client_ca.clone(),
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
            redaction: RawRedaction::from(&config.redaction),
            keys: RawKeys {
                retry_every: Span(config.keys.retry_every),
                rotate_every: Span(config.keys.rotate_every.unwrap_or_default()),
                destroy_wait: Span(config.keys.destroy_wait),
            },
            client: client.collect(),
            seal: RawSeal { to: config.seal_to.clone() },
            certificate: RawCertificate::from(&config.certificate),
            erasure: RawErasure::from(&config.erasure),
            retention: RawRetention::from(&config.erasure),
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

const DAY_SECS: u64 = 86_400;
/// What the certificate is for unless somebody says so.
pub(super) const DEFAULT_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

const CLIENTS_MAX: usize = 1_000;
