//! The configuration: as written in one TOML file, and as everything else may use it.
//!
//! `Raw…` is what stands in the file, [`Config`] what survived every check, and there is no other
//! way from one to the other. The command line is laid over the file before the checks, so both
//! obey the same rules. Without a file the same defaults hold.
//!
//! Secrets never stand here, only where they lie.

mod backup;
mod certificate;
mod erasure;
mod raw;
mod redaction;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::access::Role;
use crate::intake::profile::Profile;

pub use backup::{AutomaticConfig, BackupConfig};
pub use certificate::CertificateConfig;
pub use erasure::{ErasureConfig, parse_rate};
use raw::RawConfig;
pub use redaction::RedactionConfig;

/// Everything the daemon is told, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where keys, certificate, catalog and socket lie.
    pub state: PathBuf,
    /// What is logged.
    pub log: LogLevel,
    /// Address of console and API.
    pub https: SocketAddr,
    /// Address of health and metrics.
    pub health: SocketAddr,
    /// Names of this host, which its certificate is for.
    pub names: Vec<String>,
    /// Whether HTTPS asks its clients for a certificate.
    pub client_certificates: ClientCertificates,
    /// Authorities besides the internal one that clients' certificates may be of, as PEM.
    pub client_ca: Option<PathBuf>,
    /// What certificates stand for.
    pub clients: Vec<ClientConfig>,
    /// Who renews it.
    pub certificate: CertificateConfig,
    /// The watched trees.
    pub stores: Vec<StoreConfig>,
    /// Where sealed copies lie, for stores with layout `vault`.
    pub vault: PathBuf,
    /// Free space that sealing leaves alone.
    pub reserve_bytes: u64,
    /// Recordings sealed at the same time.
    pub workers: usize,
    /// Recordings taken per transaction.
    pub batch: usize,
    /// The seal key of stores that name none themselves.
    pub seal_to: Option<String>,
    /// Longest time between two full scans of a store.
    pub reconcile_every: Duration,
    /// Backups.
    pub backup: BackupConfig,
    /// Redaction by another program.
    pub redaction: RedactionConfig,
    /// The lives of keys.
    pub keys: KeysConfig,
    /// Erasures.
    pub erasure: ErasureConfig,
}

/// How keys live, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysConfig {
    /// How often unattended slots are tried again while the keys are locked.
    pub retry_every: Duration,
    /// Age at which the active key version is replaced; `None` leaves it to people.
    pub rotate_every: Option<Duration>,
    /// Time between asking for the destruction of a key version and the destruction.
    pub destroy_wait: Duration,
}

/// Whether HTTPS asks its clients for a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// As soon as there is an authority: the internal one, or `client_ca`. A client without a
    /// certificate is let in all the same and needs a token.
    #[default]
    Optional,
    /// Never.
    Off,
}

/// A client's certificate and what it stands for, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// The name it is for.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
}

/// One watched tree, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Its root.
    pub path: PathBuf,
    /// The recorder's habits, the name of a [`Profile`].
    pub profile: String,
    /// Where its sealed copies go.
    pub layout: Layout,
    /// Time without a change after which a closed file is finished.
    pub settle: Duration,
    /// Whether to look again and again instead of waiting for events.
    pub poll: Poll,
    /// The same as `settle`, where there are no events.
    pub poll_settle: Duration,
    /// How long an empty file may stay empty before it is sealed as damaged.
    pub empty_wait: Duration,
    /// How long a file may stay without its final header or index.
    pub unfinished_wait: Duration,
    /// How long a sidecar waits for its recording before it is sealed alone.
    pub pair_within: Duration,
    /// Whether an original is overwritten before it is removed.
    pub overwrite: bool,
    /// The seal key to which its data keys are sealed; without one this host can open them.
    pub seal_to: Option<String>,
}

/// Where sealed copies of a store go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// The daemon's own tree.
    #[default]
    Vault,
    /// The folder of the original, name + `.sealed`.
    Beside,
}

/// When to poll a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Poll {
    /// Where the file system brings no events.
    #[default]
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

/// What is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// What the command line says over the file. `None` and empty leave the file's word.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--state`, already absolute.
    pub state: Option<PathBuf>,
    /// `--store`, in addition to the file's.
    pub stores: Vec<(PathBuf, Option<&'static str>)>,
    /// `--listen`.
    pub https: Option<SocketAddr>,
    /// `--health-listen`.
    pub health: Option<SocketAddr>,
    /// `--names`.
    pub names: Vec<String>,
}

/// Why there is no valid configuration. Says the key, the line where there is one, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not TOML, an unknown key, a wrong type.
    #[error("{}{message}", at_line(*line))]
    Syntax {
        /// Counted from 1; 0 if unknown.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A value outside its bounds.
    #[error("{key}: {problem}")]
    Value {
        /// Where, as `store[0].settle`.
        key: String,
        /// What is wrong.
        problem: String,
        /// What to write instead.
        hint: String,
    },
    /// Neither the file nor the command line names a state folder.
    #[error("state: no state folder is named")]
    NoState,
    /// More than [`FILE_BYTES_MAX`].
    #[error("the configuration is longer than {FILE_BYTES_MAX} bytes")]
    TooLong,
}

impl ConfigError {
    /// The second line for people.
    pub fn hint(&self) -> String {
        match self {
            Self::Syntax { message, .. } if message.contains("unknown field") => {
                "correct the spelling or remove the key; `recseal config show` prints them all"
                    .to_owned()
            }
            Self::Syntax { .. } => {
                "compare with `recseal config show`, then try `recseal config check FILE`"
                    .to_owned()
            }
            Self::Value { hint, .. } => hint.clone(),
            Self::NoState => "write state = \"/var/lib/recseal\"".to_owned(),
            Self::TooLong => "this is not a configuration file of recseal".to_owned(),
        }
    }
}

impl Config {
    /// Reads `text`, lays `over` on it and checks the result.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], the first one found.
    pub fn read(text: &str, over: Overrides) -> Result<Self, ConfigError> {
        if text.len() > FILE_BYTES_MAX {
            return Err(ConfigError::TooLong);
        }
        let raw: RawConfig = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            line: error.span().map_or(0, |span| line_of(text, span.start)),
            message: error.message().trim().replace('\n', "; "),
        })?;
        raw.validate(over)
    }

    /// The configuration as TOML with every key written out, ready to be a file.
    pub fn to_toml(&self) -> String {
        toml::to_string(&RawConfig::from(self)).expect("tables of plain values always serialise")
    }

    /// The names that somebody chose; empty if nobody did, so that those which the certificate was
    /// first made for stay.
    pub fn chosen_names(&self) -> &[String] {
        if self.names == raw::DEFAULT_NAMES { &[] } else { &self.names }
    }

    /// Where the daemon's socket lies.
    pub fn socket(&self) -> PathBuf {
        socket_in(&self.state)
    }
}

/// The catalog of the daemon whose state folder is `state`.
pub fn catalog_in(state: &Path) -> PathBuf {
    state.join("catalog.db")
}

/// The key store of the daemon whose state folder is `state`.
pub fn keys_in(state: &Path) -> PathBuf {
    state.join("keys")
}

/// The socket of the daemon whose state folder is `state`.
pub fn socket_in(state: &Path) -> PathBuf {
    state.join("recseal.sock")
}

/// Splits `PATH[:PROFILE]`. A path may hold colons: only the name of a known profile after the
/// last one counts as a profile.
pub fn split_store(text: &str) -> (&str, Option<&'static str>) {
    if let Some((path, name)) = text.rsplit_once(':')
        && let Ok(profile) = Profile::named(name)
        && !path.is_empty()
    {
        return (path, Some(profile.name));
    }
    (text, None)
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at.min(text.len())].iter().filter(|c| **c == b'\n').count()
}

fn at_line(line: usize) -> String {
    if line == 0 { String::new() } else { format!("line {line}: ") }
}

/// Longest configuration file taken.
pub const FILE_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        Config::read(text, Overrides { state: Some("/s".into()), ..Overrides::default() })
    }

    #[test]
    fn no_file_gives_a_whole_instance() {
        let config = read("").unwrap();
        assert_eq!(config.https.to_string(), "127.0.0.1:9443");
        assert_eq!(config.health.to_string(), "127.0.0.1:9464");
        assert_eq!(config.vault, Path::new("/s/vault"));
        assert_eq!(config.socket(), Path::new("/s/recseal.sock"));
        assert_eq!((config.workers, config.batch), (4, 64));
        assert_eq!(config.reserve_bytes, 268_435_456);
        assert!(config.stores.is_empty());
    }

    /// Planted fault: a default in `lay_over` that differs from the one of the file.
    #[test]
    fn a_store_of_the_command_line_is_like_one_of_the_file() {
        let over = Overrides {
            state: Some("/s".into()),
            stores: vec![("/calls".into(), Some("asterisk"))],
            ..Overrides::default()
        };
        let from_line = Config::read("", over).unwrap();
        let from_file = read("[[store]]\npath = '/calls'\nprofile = 'asterisk'").unwrap();
        assert_eq!(from_line, from_file);
    }

    /// Planted fault: a key that `to_toml` forgets reads back as its default.
    #[test]
    fn what_is_shown_reads_back() {
        let text = r#"
            state = "/var/lib/recseal"
            log = "debug"
            [listen]
            https = "[::1]:1"
            health = "0.0.0.0:2"
            names = ["a.example", "192.0.2.7"]
            client_certificates = "off"
            client_ca = "/c.pem"
            [[client]]
            name = "prometheus"
            role = "ops"
            [[store]]
            path = "/r"
            profile = "jibri"
            layout = "beside"
            settle = "11s"
            poll = "never"
            poll_settle = "61s"
            empty_wait = "23h"
            unfinished_wait = "9m"
            pair_within = "8m"
            overwrite = false
            seal_to = "archive"
            [seal]
            to = "elsewhere"
            [vault]
            path = "/v"
            reserve = "3GiB"
            [keys]
            retry_every = "59s"
            rotate_every = "45d"
            destroy_wait = "8d"
            [ingest]
            workers = 5
            batch = 65
            reconcile_every = "7m"
        "#;
        let config = Config::read(text, Overrides::default()).unwrap();
        assert_eq!(config.stores[0].settle, Duration::from_secs(11));
        assert!(config.to_toml().contains("reserve = \"3GiB\""));
        assert_eq!(config.stores[0].seal_to.as_deref(), Some("archive"));
        assert_eq!(Config::read(&config.to_toml(), Overrides::default()).unwrap(), config);
    }

    /// Every refusal names the key and, where the file has one, the line.
    #[test]
    fn refusals_name_key_and_line() {
        for (text, says) in [
            ("log = 'info'\nstat = '/x'", "line 2: unknown field `stat`"),
            ("[listen]\nhttp = '1.2.3.4:1'", "line 2: unknown field `http`"),
            ("[[store]]\npath = '/a'\n[[store]]\npath = '/b'\nsettel = '1s'", "line 5: "),
            ("[ingest]\nworkers = -1", "line 2: "),
            ("[ingest]\nworkers = 0", "ingest.workers: 0 is out of bounds"),
            ("[vault]\nreserve = '5 apples'", "line 2: \"5 apples\" is no size"),
            ("[vault]\nreserve = '99999999999TiB'", "is no size"),
            ("[[store]]\npath = 'calls'", "store[0].path: \"calls\" is a relative path"),
            ("[[store]]\npath = '/a'\nprofile = 'x'", "store[0].profile: there is no profile"),
            ("[[store]]\npath = '/a'\nsettle = '0s'", "store[0].settle: 0s is out of bounds"),
            ("[[store]]\npath = '/a'\nsettle = 'soon'", "line 3: \"soon\" is no length of time"),
            ("[[store]]\npath='/a'\n[[store]]\npath='/a/b'", "same tree as store[0].path"),
            ("[seal]\nto = 'A b'", "seal.to: \"A b\" is no name of a seal key"),
            ("[[store]]\npath = '/a'\nseal_to = ''", "store[0].seal_to: \"\" is no name"),
            ("[keys]\nrotate_every = '5m'", "keys.rotate_every: 5m is out of bounds"),
            ("[keys]\ndestroy_wait = '6d'", "keys.destroy_wait: 6days is out of bounds"),
            ("[listen]\nnames = []", "listen.names: 0 is out of bounds"),
            ("[listen]\nnames = ['a b']", "listen.names: \"a b\" is neither"),
            ("[listen]\nhttps = 'nowhere'", "line 2: "),
            ("[listen]\nclient_ca = 'ca.pem'", "listen.client_ca: \"ca.pem\" is a relative path"),
            ("[listen]\nclient_certificates = 'on'", "line 2: unknown variant `on`"),
            ("[[client]]\nname = 'a'\nrole = 'king'", "client[0].role: "),
            ("[[client]]\nname = ''\nrole = 'ops'", "client[0].name: "),
            (
                "[[client]]\nname='a'\nrole='ops'\n[[client]]\nname='a'\nrole='admin'",
                "client[1].name: ",
            ),
            ("log = 'loud'", "line 1: unknown variant `loud`"),
            ("= =", "line 1: "),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.to_string().contains(says), "{text:?} says {error}");
            assert!(!error.hint().is_empty() && !error.to_string().contains('\n'), "{text:?}");
        }
        assert!(matches!(read(&" ".repeat(FILE_BYTES_MAX + 1)), Err(ConfigError::TooLong)));
        let nothing = Config::read("", Overrides::default()).unwrap_err();
        assert!(nothing.to_string().contains("no state folder"));
    }

    #[test]
    fn only_a_known_profile_after_the_last_colon_counts() {
        for (text, path, profile) in [
            ("/a", "/a", None),
            ("/a:asterisk", "/a", Some("asterisk")),
            ("/a:b", "/a:b", None),
            ("/a:b:obs", "/a:b", Some("obs")),
            ("/a:obs:b", "/a:obs:b", None),
            (":obs", ":obs", None),
            ("/12:30:00", "/12:30:00", None),
        ] {
            assert_eq!(split_store(text), (path, profile), "{text}");
        }
    }
}
