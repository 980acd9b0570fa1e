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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk;
    use crate::seal_key::{SealAlgorithm, SealPrivateKey};
    use crate::{Unlock, signing};

    fn created(folder: &std::path::Path) -> KeyManager {
        KeyManager::create(folder, &["localhost".to_owned()], 1_795_000_000_000).unwrap()
    }

    #[test]
    fn a_restart_forgets_no_seal_key() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("keys");
        let keys = created(&folder);
        let private = SealPrivateKey::generate(SealAlgorithm::X25519);
        keys.add_seal_key("archive", private.public(), 5).unwrap();
        keys.set_seal_key_disabled("archive", true).unwrap();
        let infos = keys.seal_keys();
        drop(keys);
        let keys = KeyManager::open(&folder, &Unlock::File).unwrap();
        assert_eq!(keys.seal_keys(), infos);
        let recording = Uuid::now_v7();
        assert!(keys.new_sealed_data_key("archive", recording).is_err(), "it is disabled");
        keys.set_seal_key_disabled("archive", false).unwrap();
        let (key, sealed) = keys.new_sealed_data_key("archive", recording).unwrap();
        let opened = private.open(recording, &sealed).unwrap();
        assert_eq!(opened.secret().expose_bytes(), key.secret().expose_bytes());
        let text = keys.announce_seal_key("archive").unwrap();
        let (public, announcement) = SealPublicKey::from_text(&text).unwrap();
        public.check_announcement(announcement.as_ref(), &keys.public_signing_keys()).unwrap();
        let stranger = signing::SigningKey::generate(0).public();
        assert!(public.check_announcement(announcement.as_ref(), &[stranger]).is_err());
    }

    /// A step that fails leaves the old keys in use, and a store that opens with the old or the
    /// new ones. Planted fault: published before it was stored.
    #[test]
    fn a_crash_while_adding_leaves_the_old_or_the_new_keys() {
        let private = SealPrivateKey::generate(SealAlgorithm::X25519);
        for at in 0.. {
            let state = tempfile::tempdir().unwrap();
            let folder = state.path().join("keys");
            let keys = created(&folder);
            let (said, done) =
                disk::crash::run(at, || keys.add_seal_key("archive", private.public(), 5));
            assert_eq!(said.is_ok(), keys.check_seal_key("archive").is_ok(), "step {at}");
            drop(keys);
            let keys = KeyManager::open(&folder, &Unlock::File).unwrap();
            assert!(said.is_err() || keys.check_seal_key("archive").is_ok(), "step {at}");
            if done {
                assert!(at > 6, "only {at} steps were ever planned");
                return;
            }
        }
    }
}
