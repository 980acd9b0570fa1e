//! `[certificate]`: who renews it, when, and from where.

use std::net::SocketAddr;
use std::path::PathBuf;

use keymanager::renewal::Window;
use serde::{Deserialize, Serialize};

use crate::daemon::acme::{AcmeSettings, ChallengeKind, ExternalAccount};
use crate::daemon::certificates::{FilesSettings, Supply};
use crate::flow::{CertificatePlan, Origin};

use super::ConfigError;
use super::raw::{bad, must_be_absolute};

/// Who renews the certificate, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateConfig {
    raw: RawCertificate,
    origin: Origin,
    window: Option<Window>,
    files: Option<FilesSettings>,
    acme: Option<AcmeSettings>,
}

impl CertificateConfig {
    /// The plan for the engine. `names` is what the certificate must be for; empty: what it is.
    pub fn plan(&self, names: &[String]) -> CertificatePlan {
        // Who names the root of an authority, or its files, knows whom clients are to trust.
        let knows_root = self.acme.as_ref().is_some_and(|acme| acme.root_file.is_some());
        CertificatePlan {
            origin: self.origin,
            names: names.to_vec(),
            window: self.window,
            allow_private: self.files.is_some() || knows_root,
        }
    }

    /// Where certificates come from, for the driver.
    pub fn supply(&self) -> Supply {
        match (&self.files, &self.acme) {
            (Some(files), _) => Supply::Files(files.clone()),
            (None, Some(acme)) => Supply::Acme(acme.clone()),
            (None, None) => Supply::None,
        }
    }
}

/// As it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCertificate {
    source: Source,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pkcs12: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acme: Option<RawAcme>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Source {
    #[default]
    Auto,
    SelfSigned,
    Files,
    Acme,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RawAcme {
    directory: String,
    #[serde(default)]
    contact: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    eab_key_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    eab_key_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root_file: Option<PathBuf>,
    #[serde(default)]
    challenge: Challenge,
    #[serde(default = "port_80")]
    http_listen: SocketAddr,
    #[serde(default)]
    accept_terms: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
enum Challenge {
    #[default]
    #[serde(rename = "http-01")]
    Http01,
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

fn port_80() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 80))
}

impl RawCertificate {
    /// `names` is what `listen.names` says.
    pub(super) fn validate(self, names: &[String]) -> Result<CertificateConfig, ConfigError> {
        let window = self.window.as_deref().map(str::parse).transpose().map_err(|_| {
            let problem = format!("{:?} is no window", self.window.as_deref().unwrap_or_default());
            bad("certificate.window", &problem, "write two times of day in UTC: \"02:00-05:00\"")
        })?;
        let origin = match self.source {
            Source::Auto => Origin::Auto,
            Source::SelfSigned => Origin::SelfSigned,
            Source::Files => Origin::Files,
            Source::Acme => Origin::Acme,
        };
        let files = match self.source {
            Source::Files => Some(self.files()?),
            Source::Auto | Source::SelfSigned | Source::Acme => None,
        };
        let acme = match (self.source, &self.acme) {
            (Source::Acme, Some(acme)) => Some(acme.validate(names)?),
            (Source::Acme, None) => {
                return Err(bad(
                    "certificate.acme",
                    "source = \"acme\" needs an authority",
                    "write [certificate.acme] with directory, contact and accept_terms",
                ));
            }
            (Source::Auto | Source::SelfSigned | Source::Files, _) => None,
        };
        Ok(CertificateConfig { raw: self, origin, window, files, acme })
    }

    fn files(&self) -> Result<FilesSettings, ConfigError> {
        let paths = [
            ("certificate.chain", &self.chain),
            ("certificate.key", &self.key),
            ("certificate.pkcs12", &self.pkcs12),
            ("certificate.password_file", &self.password_file),
        ];
        for (key, path) in paths {
            if let Some(path) = path {
                must_be_absolute(key, path)?;
            }
        }
        let (chain, key) = match (&self.chain, &self.key, &self.pkcs12) {
            (Some(chain), key, None) => (chain.clone(), key.clone()),
            (None, None, Some(pkcs12)) => (pkcs12.clone(), None),
            (Some(_), _, Some(_)) | (None, _, None) | (None, Some(_), Some(_)) => {
                return Err(bad(
                    "certificate.chain",
                    "source = \"files\" needs `chain` (and `key`), or `pkcs12`",
                    "write chain = \"/…/fullchain.pem\" and key = \"/…/privkey.pem\"",
                ));
            }
        };
        Ok(FilesSettings { chain, key, password_file: self.password_file.clone() })
    }
}

impl RawAcme {
    fn validate(&self, names: &[String]) -> Result<AcmeSettings, ConfigError> {
        if !self.directory.starts_with("https://") || self.directory.len() > URL_BYTES_MAX {
            return Err(bad(
                "certificate.acme.directory",
                "it does not begin with https://",
                "write the address of the directory as the authority tells it",
            ));
        }
        if !self.accept_terms {
            return Err(bad(
                "certificate.acme.accept_terms",
                "the terms of the authority are not accepted",
                "read them, then write accept_terms = true",
            ));
        }
        let is_local = |name: &&String| {
            let ip = name.parse::<std::net::IpAddr>();
            name.as_str() == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
        };
        if let Some(name) = names.iter().find(is_local) {
            return Err(bad(
                "listen.names",
                &format!("no authority issues for {name:?}"),
                "name this host as others reach it, as \"recorder1.example.org\"",
            ));
        }
        let contact = |text: &String| text.starts_with("mailto:") && text.len() <= 320;
        if self.contact.len() > 10 || !self.contact.iter().all(contact) {
            return Err(bad(
                "certificate.acme.contact",
                "an address does not begin with mailto:",
                "write contact = [\"mailto:ops@example.org\"]",
            ));
        }
        for (key, path) in [("eab_key_file", &self.eab_key_file), ("root_file", &self.root_file)] {
            if let Some(path) = path {
                must_be_absolute(&format!("certificate.acme.{key}"), path)?;
            }
        }
        let external = match (&self.eab_key_id, &self.eab_key_file) {
            (None, None) => None,
            (Some(id), Some(file)) => {
                Some(ExternalAccount { key_id: id.clone(), key_file: file.clone() })
            }
            (Some(_), None) | (None, Some(_)) => {
                return Err(bad(
                    "certificate.acme.eab_key_id",
                    "eab_key_id and eab_key_file belong together",
                    "write both, as the authority gave them, or neither",
                ));
            }
        };
        Ok(AcmeSettings {
            directory: self.directory.clone(),
            contact: self.contact.clone(),
            external,
            root_file: self.root_file.clone(),
            challenge: match self.challenge {
                Challenge::Http01 => ChallengeKind::Http01,
                Challenge::TlsAlpn01 => ChallengeKind::TlsAlpn01,
            },
            http_listen: self.http_listen,
        })
    }
}

impl From<&CertificateConfig> for RawCertificate {
    fn from(config: &CertificateConfig) -> Self {
        config.raw.clone()
    }
}

const URL_BYTES_MAX: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::super::{Config, Overrides};
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let text = format!("state = '/s'\n{text}");
        Config::read(&text, Overrides::default())
    }

    #[test]
    fn each_source_is_read_and_written_again() {
        let acme = "[listen]\nnames = ['rec.example']\n[certificate]\nsource = 'acme'\n\
                    [certificate.acme]\ndirectory = 'https://ca/dir'\naccept_terms = true\n";
        for text in [
            "",
            "[certificate]\nsource = 'self-signed'\nwindow = '02:00-05:00'",
            "[certificate]\nsource = 'files'\nchain = '/c.pem'\nkey = '/k.pem'",
            "[certificate]\nsource = 'files'\npkcs12 = '/c.p12'\npassword_file = '/p'",
            acme,
            &format!("{acme}challenge = 'tls-alpn-01'\neab_key_id = 'a'\neab_key_file = '/e'"),
        ] {
            let config = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let again = Config::read(&config.to_toml(), Overrides::default()).unwrap();
            assert_eq!(again, config, "{text}");
        }
        let config = read(acme).unwrap();
        let Supply::Acme(settings) = config.certificate.supply() else { panic!("not acme") };
        assert_eq!(settings.http_listen, port_80());
        assert_eq!(config.certificate.plan(&[]).origin, Origin::Acme);
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_key() {
        let acme = |lines: &str| {
            format!(
                "[listen]\nnames = ['rec.example']\n[certificate]\nsource = 'acme'\n\
                 [certificate.acme]\n{lines}"
            )
        };
        for (text, says) in [
            ("[certificate]\nsource = 'acme'".to_owned(), "certificate.acme: "),
            ("[certificate]\nsource = 'vault'".to_owned(), "unknown variant `vault`"),
            ("[certificate]\nwindow = '2-5'".to_owned(), "certificate.window: \"2-5\""),
            ("[certificate]\nsource = 'files'".to_owned(), "certificate.chain: "),
            ("[certificate]\nsource='files'\nchain='c.pem'".to_owned(), "a relative path"),
            (
                "[certificate]\nsource='files'\nchain='/c'\npkcs12='/p'".to_owned(),
                "certificate.chain: ",
            ),
            (acme("directory = 'http://ca'"), "certificate.acme.directory: "),
            (acme("directory = 'https://ca'"), "certificate.acme.accept_terms: "),
            (
                acme("directory = 'https://ca'\naccept_terms = true\ncontact = ['a@b']"),
                "certificate.acme.contact: ",
            ),
            (
                acme("directory = 'https://ca'\naccept_terms = true\neab_key_id = 'a'"),
                "certificate.acme.eab_key_id: ",
            ),
            (
                "[certificate]\nsource = 'acme'\n[certificate.acme]\ndirectory = 'https://ca'\n\
                 accept_terms = true"
                    .to_owned(),
                "listen.names: no authority issues for \"localhost\"",
            ),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.to_string().contains(says), "{text:?} says {error}");
            assert!(!error.hint().is_empty());
        }
    }
}
