//! Seal keys of the store: public halves only, each change durable before it counts.

use std::sync::Arc;

use uuid::Uuid;

use super::KeyManager;
use crate::data_key::DataKey;
use crate::error::KeyError;
use crate::seal_key::{
    SealKeyError, SealKeyId, SealKeyInfo, SealKeyTable, SealPublicKey, SealedDataKey,
};
use crate::store::Contents;

impl KeyManager {
    /// The seal keys, by name.
    pub fn seal_keys(&self) -> Vec<SealKeyInfo> {
        self.contents.load().seal_keys.infos()
    }

    /// The name under which a version of a seal key is known.
    pub fn seal_key_name(&self, id: SealKeyId) -> Option<String> {
        self.contents.load().seal_keys.name_of(id).map(str::to_owned)
    }

    /// A fresh data key for one attempt at sealing, and its form for the catalog, which nobody
    /// here can open again: the key lives as long as the returned value.
    ///
    /// # Errors
    ///
    /// [`KeyError::SealKey`] if there is no such seal key or it is disabled.
    pub fn new_sealed_data_key(
        &self,
        name: &str,
        recording: Uuid,
    ) -> Result<(DataKey, SealedDataKey), KeyError> {
        let public = self.contents.load().seal_keys.current(name)?;
        let data_key = DataKey::generate();
        let sealed = public.seal(recording, &data_key)?;
        Ok((data_key, sealed))
    }

    /// Says whether something can be sealed to `name` now.
    ///
    /// # Errors
    ///
    /// As [`Self::new_sealed_data_key`].
    pub fn check_seal_key(&self, name: &str) -> Result<(), KeyError> {
        self.contents.load().seal_keys.current(name)?;
        Ok(())
    }

    /// Adds a seal key under a new name.
    ///
    /// # Errors
    ///
    /// [`KeyError::SealKey`], [`KeyError::Disk`]; nothing was changed.
    pub fn add_seal_key(
        &self,
        name: &str,
        public: &SealPublicKey,
        now_ms: i64,
    ) -> Result<(), KeyError> {
        self.change_seal_keys(|table| table.add(name, public, now_ms))
    }

    /// Gives `name` a new version, used from now on. Rows keep the version they have.
    ///
    /// # Errors
    ///
    /// As [`Self::add_seal_key`].
    pub fn rotate_seal_key(
        &self,
        name: &str,
        public: &SealPublicKey,
        now_ms: i64,
    ) -> Result<(), KeyError> {
        self.change_seal_keys(|table| table.rotate(name, public, now_ms))
    }

    /// Allows or forbids to seal to `name`. What was sealed before is not touched.
    ///
    /// # Errors
    ///
    /// As [`Self::add_seal_key`].
    pub fn set_seal_key_disabled(&self, name: &str, disabled: bool) -> Result<(), KeyError> {
        self.change_seal_keys(|table| table.set_disabled(name, disabled).map(drop))
    }

    /// The newest public half of `name` as a file, announced by this store's signing key.
    ///
    /// # Errors
    ///
    /// [`KeyError::SealKey`].
    pub fn announce_seal_key(&self, name: &str) -> Result<String, KeyError> {
        let public = self.contents.load().seal_keys.newest(name)?;
        Ok(public.announced(|context, message| self.sign(context, message)))
    }

    fn change_seal_keys(
        &self,
        change: impl FnOnce(&mut SealKeyTable) -> Result<(), SealKeyError>,
    ) -> Result<(), KeyError> {
        let mut writer = self.writer();
        let mut contents = Contents::clone(&self.contents.load());
        change(&mut contents.seal_keys)?;
        writer.store.commit(&contents)?;
        self.contents.store(Arc::new(contents));
        Ok(())
    }
}
