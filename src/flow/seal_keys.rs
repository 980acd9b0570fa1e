//! Recordings that this host seals to a public key and cannot open again.
//!
//! ```text
//! store with `seal_to` ─▶ fresh data key ─▶ sealed to the public half: the row
//!                              └─ in memory: seal, read back, compare; then it is gone
//! ```
//!
//! What needed the key afterwards does without: an original is removed after a crash because the
//! sealed file still has the digest it had when it was proved equal, and a sidecar that comes
//! later gets a key of its own. Playing and verifying are refused, with the way to open it.

use std::time::Duration;

use keymanager::{
    DataKey, KeyError, SealKeyError, SealKeyId, SealKeyInfo, SealPublicKey, SealedDataKey,
    SealedKeyFile, StoredDataKey,
};
use serde::Serialize;
use uuid::Uuid;

use crate::access::{self, Grant, Principal};
use crate::clock::Timestamp;
use crate::compliance::audit::{Activity, AuditEntry};
use crate::domain::{Recording, RecordingId, SealedCopy};
use crate::flow::desk::actor;
use crate::flow::status::Warning;
use crate::flow::stores::StoreSlot;
use crate::flow::{Engine, FlowError};
use crate::seal::{self, ReadAt, SealError, VerifiedSeal};

/// A seal key, and how many data keys need each of its versions.
#[derive(Clone, Debug)]
pub struct SealKeyUse {
    /// What the key store knows.
    pub info: SealKeyInfo,
    /// Data keys for each version, in the order of the versions.
    pub data_keys: Vec<u64>,
}

/// What a recording is sealed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SealedTo {
    /// Which version.
    pub id: SealKeyId,
    /// Its name, if it is one of ours.
    pub name: Option<String>,
}

impl Engine {
    /// Puts off, in one transaction, what cannot be sealed because its store seals to a key that
    /// is not there or disabled; returns the others.
    pub(super) fn put_off_without_seal_key(
        &self,
        due: Vec<Recording>,
        now: Timestamp,
    ) -> Result<Vec<Recording>, FlowError> {
        let can_seal = |recording: &Recording| {
            let slot = self.slot_of(recording.store);
            let seal_to = slot.and_then(|slot| slot.spec().seal_to.as_deref());
            seal_to.is_none_or(|name| self.keys.check_seal_key(name).is_ok())
        };
        let (can, cannot): (Vec<_>, Vec<_>) = due.into_iter().partition(can_seal);
        if !cannot.is_empty() {
            let again = now.plus(LOOK_AGAIN);
            self.catalog.write(|tx| {
                cannot.iter().try_for_each(|one| tx.postpone(one.id, again).map(drop))
            })?;
        }
        Ok(can)
    }

    /// The seal key of these stores can be used now: nothing has to wait any longer.
    fn hasten(&self, name: &str, now: Timestamp) -> Result<(), FlowError> {
        let seals_to = |slot: &&StoreSlot| slot.spec().seal_to.as_deref() == Some(name);
        let stores: Vec<_> = self.stores.iter().filter(seals_to).filter_map(|s| s.id()).collect();
        Ok(self.catalog.write(|tx| stores.iter().try_for_each(|id| tx.hasten_sealing(*id, now)))?)
    }

    /// The key of one attempt, and its sealed form if the store says so.
    pub(super) fn new_data_key(
        &self,
        recording: &Recording,
    ) -> Result<(DataKey, Option<SealedDataKey>), KeyError> {
        let slot = self.slot_of(recording.store);
        match slot.and_then(|slot| slot.spec().seal_to.as_deref()) {
            None => Ok((DataKey::generate(), None)),
            Some(name) => {
                let (key, sealed) = self.keys.new_sealed_data_key(name, recording.id.0)?;
                Ok((key, Some(sealed)))
            }
        }
    }

    /// Opens a data key, if that is possible here.
    ///
    /// # Errors
    ///
    /// [`FlowError::SealedToPublicKey`], [`FlowError::Keys`].
    pub(super) fn unwrap_stored(
        &self,
        id: RecordingId,
        stored: &StoredDataKey,
    ) -> Result<DataKey, FlowError> {
        match stored {
            StoredDataKey::Wrapped(wrapped) => Ok(self.keys.unwrap(id.0, wrapped)?),
            StoredDataKey::Sealed(sealed) => {
                let to = self.sealed_to(sealed.seal_key());
                Err(FlowError::SealedToPublicKey { id, to })
            }
        }
    }

    pub(super) fn sealed_to(&self, id: SealKeyId) -> SealedTo {
        SealedTo { id, name: self.keys.seal_key_name(id) }
    }

    /// The seal key of a sidecar that came after its recording was sealed to `recording_to`: what
    /// the store says now, or else the newest version of what the recording is sealed to.
    pub(super) fn new_sidecar_key(
        &self,
        recording: RecordingId,
        store_says: Option<&str>,
        recording_to: SealKeyId,
    ) -> Result<(DataKey, SealedDataKey), FlowError> {
        let name = match store_says {
            Some(name) => name.to_owned(),
            None => self
                .keys
                .seal_key_name(recording_to)
                .ok_or(KeyError::from(SealKeyError::UnknownName))?,
        };
        Ok(self.keys.new_sealed_data_key(&name, recording.0)?)
    }

    /// Proves without the key that a sealed copy is the one that was proved equal before.
    pub(super) fn prove_by_digest(
        &self,
        id: RecordingId,
        copy: &SealedCopy,
        source: &impl ReadAt,
    ) -> Result<VerifiedSeal, FlowError> {
        let damaged = |source| FlowError::Damaged { id, source };
        let digest = self.catalog.read(|tx| tx.copy_digest(copy))?;
        let digest = digest.ok_or_else(|| damaged(SealError::NotAsProved { recording: id }))?;
        seal::prove_unchanged(source, &digest, copy.plain_bytes).map_err(damaged)
    }

    /// The key file of a recording that only the holder of the private key can open.
    pub(super) fn sealed_key_file(
        &self,
        id: RecordingId,
        media: SealedDataKey,
    ) -> Result<String, FlowError> {
        let mut capsules = vec![media];
        capsules.extend(self.catalog.read(|tx| tx.sidecar_keys(id))?);
        Ok(SealedKeyFile::new(id.0, capsules).to_text())
    }

    /// The seal keys with their use.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`].
    pub fn seal_keys(
        &self,
        _grant: &Grant<access::ViewKeys>,
    ) -> Result<Vec<SealKeyUse>, FlowError> {
        let counts = self.catalog.read(|tx| tx.keys_by_seal_key())?;
        let count = |id| counts.iter().find(|(known, _)| *known == id).map_or(0, |(_, n)| *n);
        let uses = self.keys.seal_keys().into_iter().map(|info| SealKeyUse {
            data_keys: info.versions.iter().map(|version| count(version.id)).collect(),
            info,
        });
        Ok(uses.collect())
    }

    /// Adds a seal key under a new name.
    ///
    /// # Errors
    ///
    /// [`FlowError::Keys`], [`FlowError::Catalog`] if it was done and could not be noted.
    pub fn add_seal_key(
        &self,
        grant: &Grant<access::ManageKeys>,
        name: &str,
        public: &SealPublicKey,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        self.keys.add_seal_key(name, public, now.as_millis())?;
        self.hasten(name, now)?;
        self.note_seal_key(grant.principal(), "added", public.id(), now)
    }

    /// Gives a seal key a new version for what is sealed from now on.
    ///
    /// # Errors
    ///
    /// As [`Self::add_seal_key`].
    pub fn rotate_seal_key(
        &self,
        grant: &Grant<access::ManageKeys>,
        name: &str,
        public: &SealPublicKey,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        self.keys.rotate_seal_key(name, public, now.as_millis())?;
        self.note_seal_key(grant.principal(), "rotated", public.id(), now)
    }

    /// Allows or forbids to seal to `name`. While it is forbidden, what is found in its stores
    /// waits in clear.
    ///
    /// # Errors
    ///
    /// As [`Self::add_seal_key`].
    pub fn set_seal_key_disabled(
        &self,
        grant: &Grant<access::ManageKeys>,
        name: &str,
        disabled: bool,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        self.keys.set_seal_key_disabled(name, disabled)?;
        let known = self.keys.seal_keys().into_iter().find(|info| info.name == name);
        let newest = known.and_then(|info| Some(info.versions.last()?.id));
        let Some(id) = newest else { return Ok(()) };
        if !disabled {
            self.hasten(name, now)?;
        }
        let what = if disabled { "disabled" } else { "enabled" };
        self.note_seal_key(grant.principal(), what, id, now)
    }

    /// The newest public half of `name`, announced by our signing key.
    ///
    /// # Errors
    ///
    /// [`FlowError::Keys`].
    pub fn announce_seal_key(
        &self,
        _grant: &Grant<access::ViewKeys>,
        name: &str,
    ) -> Result<String, FlowError> {
        Ok(self.keys.announce_seal_key(name)?)
    }

    /// Stores that wait because nothing can be sealed to their key.
    pub(super) fn seal_key_warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        for (number, slot) in self.stores.iter().enumerate() {
            let Some(name) = &slot.spec().seal_to else { continue };
            let Err(error) = self.keys.check_seal_key(name) else { continue };
            warnings.push(Warning {
                code: "seal-key-missing",
                message: format!("recordings of store {} wait unsealed: {error}", number + 1),
                hint: format!(
                    "add it with `recseal keys seal-keys add {name} PUBLICFILE`, or enable it"
                ),
            });
        }
        warnings
    }

    fn note_seal_key(
        &self,
        who: &Principal,
        what: &'static str,
        id: SealKeyId,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        // An id of 8 bytes in the place of one of 16: zeros, then the id.
        let object = Uuid::from_u64_pair(0, u64::from_be_bytes(*id.as_bytes()));
        let entry = AuditEntry::new(now, actor(who), Activity::SealKeyChanged)
            .on_object(object)
            .because(what);
        self.catalog.write(|tx| tx.append_audit(&entry))?;
        Ok(())
    }
}

/// When something that waits for a seal key is looked at again, unless the key comes first.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
