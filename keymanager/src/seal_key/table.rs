//! The public halves that a store knows, by name and version.
//!
//! A name is what a configuration says (`seal_to = "archive"`). Its newest version is used for
//! what is sealed from now on; older ones are kept so that a list can say what a row needs.

use serde::{Deserialize, Serialize};

use super::{SealAlgorithm, SealKeyError, SealKeyId, SealPublicKey};
use crate::error::KeyError;
use crate::hex::HexBytes;

/// One seal key as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealKeyInfo {
    /// Its name.
    pub name: String,
    /// True if nothing may be sealed to it for now.
    pub disabled: bool,
    /// Its versions, oldest first; the last one is used.
    pub versions: Vec<SealKeyVersionInfo>,
}

/// One version of a seal key as it may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealKeyVersionInfo {
    /// Its id, which the rows name.
    pub id: SealKeyId,
    /// How it works.
    pub algorithm: SealAlgorithm,
    /// When it was added, in milliseconds since 1970.
    pub added_ms: i64,
}

/// All seal keys of a store. A store of an earlier program has none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SealKeyTable(Vec<Entry>);

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    disabled: bool,
    versions: Vec<Version>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Version {
    algorithm: String,
    public: HexBytes,
    id: SealKeyId,
    added_ms: i64,
}

impl Version {
    fn new(public: &SealPublicKey, added_ms: i64) -> Self {
        Self {
            algorithm: public.algorithm().as_str().to_owned(),
            public: HexBytes::new(public.bytes()),
            id: public.id(),
            added_ms,
        }
    }

    fn algorithm(&self) -> SealAlgorithm {
        SealAlgorithm::from_name(&self.algorithm).expect("the table was checked")
    }

    fn public(&self) -> Result<SealPublicKey, SealKeyError> {
        SealPublicKey::from_bytes(self.algorithm(), self.public.as_bytes())
    }
}

impl SealKeyTable {
    /// Checks what was read.
    pub(crate) fn check(&self) -> Result<(), KeyError> {
        let is_sound = |version: &Version| {
            SealAlgorithm::from_name(&version.algorithm).is_some_and(|algorithm| {
                SealKeyId::of(algorithm, version.public.as_bytes()) == version.id
            })
        };
        let versions = || self.0.iter().flat_map(|entry| &entry.versions);
        if self.0.iter().any(|entry| entry.versions.is_empty()) || !versions().all(is_sound) {
            return Err(KeyError::Inconsistent { rule: "a seal key has a public half and its id" });
        }
        Ok(())
    }

    /// Every key, by name.
    pub(crate) fn infos(&self) -> Vec<SealKeyInfo> {
        let version = |version: &Version| SealKeyVersionInfo {
            id: version.id,
            algorithm: version.algorithm(),
            added_ms: version.added_ms,
        };
        let info = |entry: &Entry| SealKeyInfo {
            name: entry.name.clone(),
            disabled: entry.disabled,
            versions: entry.versions.iter().map(version).collect(),
        };
        self.0.iter().map(info).collect()
    }

    /// What is sealed to under `name` now.
    pub(crate) fn current(&self, name: &str) -> Result<SealPublicKey, SealKeyError> {
        let entry = self.0.iter().find(|entry| entry.name == name);
        let entry = entry.ok_or(SealKeyError::UnknownName)?;
        if entry.disabled {
            return Err(SealKeyError::Disabled);
        }
        newest(entry).public()
    }

    /// The newest public half of `name`, disabled or not.
    pub(crate) fn newest(&self, name: &str) -> Result<SealPublicKey, SealKeyError> {
        let entry = self.0.iter().find(|entry| entry.name == name);
        newest(entry.ok_or(SealKeyError::UnknownName)?).public()
    }

    /// The name that a version belongs to.
    pub(crate) fn name_of(&self, id: SealKeyId) -> Option<&str> {
        let has = |entry: &&Entry| entry.versions.iter().any(|version| version.id == id);
        self.0.iter().find(has).map(|entry| entry.name.as_str())
    }

    /// Adds a name with its first version.
    pub(crate) fn add(
        &mut self,
        name: &str,
        public: &SealPublicKey,
        now_ms: i64,
    ) -> Result<(), SealKeyError> {
        check_name(name)?;
        if self.0.iter().any(|entry| entry.name == name) {
            return Err(SealKeyError::NameTaken);
        }
        self.check_new(public)?;
        if self.0.len() == NAMES_MAX {
            return Err(SealKeyError::TooMany { max: NAMES_MAX });
        }
        let versions = vec![Version::new(public, now_ms)];
        self.0.push(Entry { name: name.to_owned(), disabled: false, versions });
        self.0.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(())
    }

    /// Adds a version, which is used from now on; an old one stays disabled if it was.
    pub(crate) fn rotate(
        &mut self,
        name: &str,
        public: &SealPublicKey,
        now_ms: i64,
    ) -> Result<(), SealKeyError> {
        self.check_new(public)?;
        let entry = self.entry(name)?;
        if entry.versions.len() == VERSIONS_MAX {
            return Err(SealKeyError::TooMany { max: VERSIONS_MAX });
        }
        entry.versions.push(Version::new(public, now_ms));
        Ok(())
    }

    /// Allows or forbids to seal to `name`; false if it was so already.
    pub(crate) fn set_disabled(
        &mut self,
        name: &str,
        disabled: bool,
    ) -> Result<bool, SealKeyError> {
        let entry = self.entry(name)?;
        Ok(std::mem::replace(&mut entry.disabled, disabled) != disabled)
    }

    fn entry(&mut self, name: &str) -> Result<&mut Entry, SealKeyError> {
        self.0.iter_mut().find(|entry| entry.name == name).ok_or(SealKeyError::UnknownName)
    }

    fn check_new(&self, public: &SealPublicKey) -> Result<(), SealKeyError> {
        let id = public.id();
        if self.name_of(id).is_some() { Err(SealKeyError::KeyTaken { id }) } else { Ok(()) }
    }
}

fn newest(entry: &Entry) -> &Version {
    entry.versions.last().expect("the table was checked to have one for each name")
}

fn check_name(name: &str) -> Result<(), SealKeyError> {
    let is_sound = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b".-_".contains(&c);
    match (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_sound) {
        true => Ok(()),
        false => Err(SealKeyError::BadName { max: NAME_BYTES_MAX }),
    }
}

const NAME_BYTES_MAX: usize = 64;
const NAMES_MAX: usize = 64;
const VERSIONS_MAX: usize = 256;
