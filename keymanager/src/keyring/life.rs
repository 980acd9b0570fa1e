//! How a key-encryption key goes from one state to the next, and what it leaves behind.
//!
//! Everything here changes a keyring in memory that nobody uses yet; the manager stores it first
//! and then publishes it. Each step asks the table in `key_state`.

use serde::{Deserialize, Serialize};

use super::{Kek, Keyring};
use crate::error::KeyError;
use crate::key_state::{KeyEvent, KeyState};
use crate::secret::StoredSecret;
use crate::tombstone;

/// What was asked for when a date was set, and what is known of the key when it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlannedDestruction {
    pub(crate) at_ms: i64,
    #[serde(with = "tombstone::as_hex")]
    pub(crate) fingerprint: [u8; 32],
    pub(crate) recordings: u64,
    pub(crate) reason: String,
    pub(crate) by: String,
}

/// What a version was, for its tombstone.
#[derive(Debug)]
pub(crate) struct Epitaph {
    pub(crate) version: u32,
    pub(crate) created_ms: i64,
    pub(crate) retired_ms: Option<i64>,
    pub(crate) plan: Option<PlannedDestruction>,
}

impl Keyring {
    /// Makes a new version, lets it take over, and returns its number: above every version of
    /// the ring and above `above`.
    pub(crate) fn rotate(
        &mut self,
        now_ms: i64,
        above: u32,
        is_compromised: bool,
    ) -> Result<u32, KeyError> {
        let too_many = KeyError::TooManyVersions { max: VERSIONS_MAX };
        let newest = self.0.iter().map(|kek| kek.version).max().unwrap_or(0).max(above);
        let (Some(version), true) = (newest.checked_add(1), self.0.len() < VERSIONS_MAX) else {
            return Err(too_many);
        };
        let (old, _) = self.active();
        self.step(old, KeyEvent::Superseded)?;
        let retired = self.kek_mut(old)?;
        retired.retired_ms = Some(now_ms);
        retired.compromised |= is_compromised;
        self.0.push(Kek {
            version,
            state: KeyState::Pending,
            created_ms: now_ms,
            compromised: false,
            key: Some(StoredSecret::generate()),
            retired_ms: None,
            destruction: None,
        });
        self.step(version, KeyEvent::Activated)?;
        Ok(version)
    }

    /// Takes one step of a version's life.
    pub(crate) fn step(&mut self, version: u32, event: KeyEvent) -> Result<(), KeyError> {
        let kek = self.kek_mut(version)?;
        let refused = |source| KeyError::IllegalKeyTransition { version, source };
        match (kek.state, event) {
            (KeyState::Active, KeyEvent::Disabled | KeyEvent::DestructionScheduled) => {
                return Err(KeyError::ActiveVersion { version });
            }
            _ => kek.state = kek.state.next(event).map_err(refused)?,
        }
        Ok(())
    }

    /// Sets a date for a retired or disabled version, or another date for one that has one.
    /// `plan.fingerprint` is filled in here.
    pub(crate) fn schedule(
        &mut self,
        version: u32,
        plan: PlannedDestruction,
    ) -> Result<(), KeyError> {
        match self.kek_mut(version)?.state {
            KeyState::Retired => self.step(version, KeyEvent::Disabled)?,
            KeyState::DestroyScheduled => self.step(version, KeyEvent::DestructionCancelled)?,
            KeyState::Pending
            | KeyState::Active
            | KeyState::Disabled
            | KeyState::Destroying
            | KeyState::Destroyed => {}
        }
        self.step(version, KeyEvent::DestructionScheduled)?;
        let fingerprint = self.fingerprint(version).expect("a version before its end has its key");
        self.kek_mut(version)?.destruction = Some(PlannedDestruction { fingerprint, ..plan });
        Ok(())
    }

    /// Takes the date back; the version is disabled then.
    pub(crate) fn cancel(&mut self, version: u32) -> Result<(), KeyError> {
        self.step(version, KeyEvent::DestructionCancelled)?;
        self.kek_mut(version)?.destruction = None;
        Ok(())
    }

    /// Versions whose date has come.
    pub(crate) fn due(&self, now_ms: i64) -> Vec<u32> {
        let is_due = |kek: &&Kek| {
            kek.state == KeyState::DestroyScheduled
                && kek.destruction.as_ref().is_none_or(|plan| plan.at_ms <= now_ms)
        };
        self.0.iter().filter(is_due).map(|kek| kek.version).collect()
    }

    /// Versions whose key has left the live store, but perhaps not all older ones.
    pub(crate) fn destroying(&self) -> Vec<u32> {
        let keks = self.0.iter().filter(|kek| kek.state == KeyState::Destroying);
        keks.map(|kek| kek.version).collect()
    }

    /// Takes the key out of a version whose date has come.
    pub(crate) fn drop_key(&mut self, version: u32) -> Result<(), KeyError> {
        self.step(version, KeyEvent::DestructionStarted)?;
        self.kek_mut(version)?.key = None;
        Ok(())
    }

    /// Ends a version of which no key is left anywhere.
    pub(crate) fn bury(&mut self, version: u32) -> Result<Epitaph, KeyError> {
        self.step(version, KeyEvent::Destroyed)?;
        let kek = self.kek_mut(version)?;
        let (created_ms, retired_ms) = (kek.created_ms, kek.retired_ms);
        Ok(Epitaph { version, created_ms, retired_ms, plan: kek.destruction.take() })
    }

    /// SHA-256 of a key-check value: tells keys apart and says nothing about them. `None` once
    /// the key is gone.
    pub(crate) fn fingerprint(&self, version: u32) -> Option<[u8; 32]> {
        let kek = self.0.iter().find(|kek| kek.version == version)?;
        let check = kek.key.as_ref()?.derive(&[b"kek-check/1", &version.to_be_bytes()]);
        Some(tombstone::sha256(check.expose_bytes()))
    }

    /// The state of a version.
    pub(crate) fn state(&self, version: u32) -> Option<KeyState> {
        self.0.iter().find(|kek| kek.version == version).map(|kek| kek.state)
    }

    /// Leads any version with a key, the active one excepted, to where its key can be dropped.
    pub(crate) fn condemn(
        &mut self,
        version: u32,
        plan: PlannedDestruction,
    ) -> Result<(), KeyError> {
        match self.kek_mut(version)?.state {
            KeyState::DestroyScheduled => Ok(()),
            KeyState::Pending => {
                // It never came into use; there is no shorter way through the table.
                self.kek_mut(version)?.state = KeyState::Disabled;
                self.schedule(version, plan)
            }
            KeyState::Active
            | KeyState::Retired
            | KeyState::Disabled
            | KeyState::Destroying
            | KeyState::Destroyed => self.schedule(version, plan),
        }
    }

    fn kek_mut(&mut self, version: u32) -> Result<&mut Kek, KeyError> {
        let kek = self.0.iter_mut().find(|kek| kek.version == version);
        kek.ok_or(KeyError::UnknownVersion { version })
    }
}

/// A rotation a day for eleven years, some 3 MiB of store.
pub(crate) const VERSIONS_MAX: usize = 4_096;
