//! The lives of key-encryption keys, as the key manager leads them: rotated, forbidden, destroyed.
//!
//! ```text
//! rotate         version N+1 becomes active, N retires        one generation
//! re-wrap        the catalog's business; see `Rewrapper`
//! destroy        1  two generations without the key           state "destroying"
//!                2  every older generation overwritten, read back, removed
//!                3  signed tombstone, one generation          state "destroyed"
//! ```
//!
//! *If the power goes here, which good copy is left?* Before 1: the generation with the key, and
//! the version still waits for its date. Within 1: the old or the new generation, as for every
//! change; the older ones are untouched. Within 2: two generations without the key, which is what
//! was asked for; the next call goes on. Within 3: the same two; the next call signs again.
//!
//! # Invariants
//!
//! - A version is called destroyed, and has a tombstone to show, only when no generation in this
//!   folder holds its key. One that was set aside as damaged may hold it, so it blocks.
//! - The active version is never disabled and never destroyed.

use std::sync::Arc;

use super::{KeyManager, Writer};
use crate::error::KeyError;
use crate::key_state::{KeyEvent, KeyState};
use crate::keyring::{KeyVersionInfo, PlannedDestruction, Rewrapper, VERSIONS_MAX};
use crate::store::Contents;
use crate::tombstone::{Facts, Tombstone, one_line};

/// Why a new version takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationReason {
    /// It was time.
    Scheduled,
    /// A person asked for it.
    Manual,
    /// Somebody else may know the old one: it is marked so.
    Compromised,
}

/// A wish to destroy a version.
#[derive(Clone, Debug)]
pub struct Destruction {
    /// Which one.
    pub version: u32,
    /// Not before this moment, in milliseconds since 1970.
    pub at_ms: i64,
    /// Recordings that need it now.
    pub recordings: u64,
    /// Why, in the words of who asks; one line, cut at 200 bytes.
    pub reason: String,
    /// Who asks: a user name, cut at 200 bytes.
    pub by: String,
}

/// What [`KeyManager::destroy_due_keks`] came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destroyed {
    /// Of versions that are gone now.
    pub tombstones: Vec<Tombstone>,
    /// Versions whose date has come, and how many recordings need them still.
    pub blocked: Vec<(u32, u64)>,
}

impl KeyManager {
    /// The key versions, oldest first.
    pub fn versions(&self) -> Vec<KeyVersionInfo> {
        let contents = self.contents.load();
        let mut versions = contents.keyring.versions();
        for info in &mut versions {
            let is_meant = |tombstone: &&Tombstone| tombstone.version == info.version;
            info.destroyed_ms = match info.state {
                KeyState::Destroyed => {
                    contents.tombstones.iter().find(is_meant).map(|t| t.destroyed_ms)
                }
                _ => None,
            };
        }
        versions
    }

    /// The version that wraps new data keys.
    pub fn active_version(&self) -> u32 {
        self.contents.load().keyring.active_version()
    }

    /// SHA-256 of the version's key-check value, which its tombstone will carry.
    pub fn kek_fingerprint(&self, version: u32) -> Option<[u8; 32]> {
        let contents = self.contents.load();
        let of_the_dead = || {
            let mut tombstones = contents.tombstones.iter();
            tombstones.find(|t| t.version == version).map(|t| t.fingerprint)
        };
        contents.keyring.fingerprint(version).or_else(of_the_dead)
    }

    /// Makes a new version and lets it take over at once; returns its number, which is above
    /// every version ever known here and above `above_version` (the highest that wraps anything).
    ///
    /// # Errors
    ///
    /// [`KeyError::TooManyVersions`], [`KeyError::Disk`]; the old version stays active.
    pub fn rotate_kek(
        &self,
        now_ms: i64,
        reason: RotationReason,
        above_version: u32,
    ) -> Result<u32, KeyError> {
        let is_compromised = match reason {
            RotationReason::Compromised => true,
            RotationReason::Scheduled | RotationReason::Manual => false,
        };
        self.change_keks(|contents| {
            let buried = contents.tombstones.iter().map(|tombstone| tombstone.version);
            let above = buried.max().unwrap_or(0).max(above_version);
            contents.keyring.rotate(now_ms, above, is_compromised)
        })
    }

    /// Forbids the use of a retired version. What it wraps cannot be opened, nor wrapped anew.
    ///
    /// # Errors
    ///
    /// [`KeyError::ActiveVersion`], [`KeyError::IllegalKeyTransition`],
    /// [`KeyError::UnknownVersion`], [`KeyError::Disk`]; nothing was changed.
    pub fn disable_kek(&self, version: u32) -> Result<(), KeyError> {
        self.change_keks(|contents| contents.keyring.step(version, KeyEvent::Disabled))
    }

    /// Allows the use of a disabled version again.
    ///
    /// # Errors
    ///
    /// As [`Self::disable_kek`].
    pub fn enable_kek(&self, version: u32) -> Result<(), KeyError> {
        self.change_keks(|contents| contents.keyring.step(version, KeyEvent::Enabled))
    }

    /// Sets the date on which a retired or disabled version is destroyed. Until then it is
    /// refused, and the date can be taken back.
    ///
    /// # Errors
    ///
    /// As [`Self::disable_kek`].
    pub fn schedule_kek_destruction(&self, wish: &Destruction) -> Result<(), KeyError> {
        let plan = PlannedDestruction {
            at_ms: wish.at_ms,
            fingerprint: [0; 32],
            recordings: wish.recordings,
            reason: one_line(&wish.reason),
            by: one_line(&wish.by),
        };
        self.change_keks(|contents| contents.keyring.schedule(wish.version, plan))
    }

    /// Takes the date back; the version is disabled then.
    ///
    /// # Errors
    ///
    /// As [`Self::disable_kek`].
    pub fn cancel_kek_destruction(&self, version: u32) -> Result<(), KeyError> {
        self.change_keks(|contents| contents.keyring.cancel(version))
    }

    /// Destroys every version whose date has come and of which `still_used` counts no recording,
    /// and goes on with a destruction that was interrupted. Nothing to do costs nothing.
    ///
    /// Call it where nothing new can come under an old version: in the transaction that counted.
    ///
    /// # Errors
    ///
    /// [`KeyError::DamagedGenerationLeft`], [`KeyError::NotReadBack`], [`KeyError::Disk`]: the
    /// version is not destroyed, be its key out of the live store or not; call again.
    pub fn destroy_due_keks(
        &self,
        now_ms: i64,
        still_used: impl Fn(u32) -> u64,
    ) -> Result<Destroyed, KeyError> {
        let mut writer = self.writer();
        let mut contents = Contents::clone(&self.contents.load());
        let mut blocked = Vec::new();
        let mut due = Vec::new();
        for version in contents.keyring.due(now_ms) {
            match still_used(version) {
                0 => due.push(version),
                recordings => blocked.push((version, recordings)),
            }
        }
        if due.is_empty() && contents.keyring.destroying().is_empty() {
            return Ok(Destroyed { tombstones: Vec::new(), blocked });
        }
        for version in due {
            contents.keyring.drop_key(version)?;
        }
        let tombstones = self.finish_destroying(&mut writer, contents, now_ms)?;
        Ok(Destroyed { tombstones, blocked })
    }

    /// Of every destroyed version, oldest first.
    pub fn tombstones(&self) -> Vec<Tombstone> {
        let contents = self.contents.load();
        let is_over = |tombstone: &&Tombstone| {
            let state = contents.keyring.state(tombstone.version);
            state.is_none_or(|state| state == KeyState::Destroyed)
        };
        contents.tombstones.iter().filter(is_over).cloned().collect()
    }

    /// Destroys again what the tombstones of a newer state say is destroyed, recognised by version
    /// and fingerprint, and keeps them. A version in use is replaced first. Returns what was
    /// found alive and is gone now.
    ///
    /// # Errors
    ///
    /// [`KeyError::UnknownSigner`] or [`KeyError::BadSignature`] if this store did not sign one:
    /// nothing was done. [`KeyError::TooManyVersions`]. Otherwise as [`Self::destroy_due_keks`].
    pub fn apply_tombstones(
        &self,
        tombstones: &[Tombstone],
        now_ms: i64,
    ) -> Result<Vec<u32>, KeyError> {
        let max = VERSIONS_MAX;
        if tombstones.len() > max {
            return Err(KeyError::TooManyVersions { max });
        }
        let mut writer = self.writer();
        let mut contents = Contents::clone(&self.contents.load());
        let public: Vec<_> = contents.signing.iter().map(|key| key.public()).collect();
        tombstones.iter().try_for_each(|tombstone| tombstone.verify(&public))?;
        let above = tombstones.iter().chain(&contents.tombstones).map(|t| t.version).max();
        let mut alive = Vec::new();
        let before = contents.tombstones.len();
        for tombstone in tombstones {
            let version = tombstone.version;
            if contents.keyring.fingerprint(version) == Some(tombstone.fingerprint) {
                if contents.keyring.active_version() == version {
                    contents.keyring.rotate(now_ms, above.unwrap_or(0), false)?;
                }
                contents.keyring.condemn(version, plan_of(tombstone))?;
                contents.keyring.drop_key(version)?;
                alive.push(version);
            }
            if !contents.tombstones.contains(tombstone) {
                contents.tombstones.push(tombstone.clone());
            }
        }
        if !alive.is_empty() {
            self.finish_destroying(&mut writer, contents, now_ms)?;
        } else if contents.tombstones.len() > before {
            writer.store.commit(&contents)?;
            self.contents.store(Arc::new(contents));
        }
        Ok(alive)
    }

    /// The keys as they are now, for wrapping data keys anew.
    pub fn rewrapper(&self) -> Rewrapper {
        Rewrapper::new(self.contents.load().keyring.clone())
    }

    /// From "no key in `contents`" to "no key in any generation", and only then to a tombstone.
    fn finish_destroying(
        &self,
        writer: &mut Writer,
        mut contents: Contents,
        now_ms: i64,
    ) -> Result<Vec<Tombstone>, KeyError> {
        let before = writer.store.generation();
        let alone = writer.store.commit_alone(&contents);
        if writer.store.generation() != before {
            // What is stored is in force, whatever becomes of the rest: no later change may write
            // the key back.
            self.contents.store(Arc::new(contents.clone()));
        }
        alone?;
        let mut signed = Vec::new();
        for version in contents.keyring.destroying() {
            let epitaph = contents.keyring.bury(version)?;
            let is_known = contents.tombstones.iter().any(|t| t.version == version);
            let (Some(plan), false) = (epitaph.plan, is_known) else { continue };
            let facts = Facts {
                version: epitaph.version,
                fingerprint: plan.fingerprint,
                created_ms: epitaph.created_ms,
                retired_ms: epitaph.retired_ms,
                destroyed_ms: now_ms,
                recordings: plan.recordings,
                reason: plan.reason,
                by: plan.by,
            };
            let key = contents.signing.last().expect("the store was checked to have one");
            signed.push(Tombstone::signed(facts, key));
        }
        contents.tombstones.extend(signed.iter().cloned());
        writer.store.commit(&contents)?;
        self.contents.store(Arc::new(contents));
        Ok(signed)
    }

    /// A change of the contents: stored, then published.
    fn change_keks<T>(
        &self,
        work: impl FnOnce(&mut Contents) -> Result<T, KeyError>,
    ) -> Result<T, KeyError> {
        let mut writer = self.writer();
        let mut contents = Contents::clone(&self.contents.load());
        let value = work(&mut contents)?;
        writer.store.commit(&contents)?;
        self.contents.store(Arc::new(contents));
        Ok(value)
    }
}

fn plan_of(tombstone: &Tombstone) -> PlannedDestruction {
    PlannedDestruction {
        at_ms: tombstone.destroyed_ms,
        fingerprint: tombstone.fingerprint,
        recordings: tombstone.recordings_at_scheduling,
        reason: tombstone.reason.clone(),
        by: tombstone.by.clone(),
    }
}

#[cfg(test)]
mod tests;
