//! Backups of the keys, and key stores made from one.
//!
//! *If the power goes while a store is made from a backup, which good copy is left?* The backup:
//! the store is built beside its folder and renamed when it is whole, as a new one is.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use uuid::Uuid;
use zeroize::Zeroizing;

use super::{KeyManager, clear_build_folder};
use crate::backup::{BackupError, BackupWay, CatalogFacts, SealedBackup};
use crate::disk;
use crate::error::KeyError;
use crate::key_state::KeyState;
use crate::secret::Secret;
use crate::slots::{Cost, SlotTable, Unlock};
use crate::store::{Contents, Store};

impl KeyManager {
    /// Begins a backup of the keys as they are now, with a copy of the catalog that was taken
    /// *before*: a version that came since is harmless, one that the copy needs and that is gone
    /// would lose recordings.
    ///
    /// # Errors
    ///
    /// [`BackupError::Keys`] with [`KeyError::UnknownVersion`] or
    /// [`KeyError::VersionUnavailable`] if a key version that wraps data keys of the copy was
    /// destroyed meanwhile: take another copy. Else what is wrong with `ways`.
    pub fn seal_backup<R: Read>(
        &self,
        ways: &[BackupWay],
        facts: CatalogFacts,
        catalog: R,
        now_ms: i64,
    ) -> Result<SealedBackup<R>, BackupError> {
        let (store, generation, contents) = {
            // Held by whoever changes something, so the two belong together.
            let writer = self.writer();
            (writer.slots.store(), writer.store.live(), self.contents.load_full())
        };
        let versions = contents.keyring.versions();
        for &(version, _) in facts.data_keys.iter().filter(|(version, _)| *version > 0) {
            let found = versions.iter().find(|info| info.version == version);
            match found.map(|info| info.state) {
                None => return Err(BackupError::Keys(KeyError::UnknownVersion { version })),
                Some(state @ KeyState::Destroyed) => {
                    return Err(BackupError::Keys(KeyError::VersionUnavailable { version, state }));
                }
                Some(_) => {}
            }
        }
        SealedBackup::new(ways, store, generation, &contents, facts, catalog, now_ms)
    }

    /// Names the store through all its generations, also after a restore elsewhere.
    pub fn store_id(&self) -> Uuid {
        self.writer().slots.store()
    }

    /// Destroys what an interrupted restore left of a key store in `folder`, finished or not.
    /// For folders that were never in use: nothing in them is the only copy of anything.
    ///
    /// # Errors
    ///
    /// [`KeyError::InUse`], [`KeyError::Disk`]; do it again.
    pub fn destroy_unfinished(folder: &Path) -> Result<(), KeyError> {
        let disk_error = || KeyError::disk("clearing an unfinished key store");
        let mut build = folder.as_os_str().to_owned();
        build.push(".creating");
        for folder in [Path::new(&build), folder] {
            if !folder.try_exists().map_err(disk_error())? {
                continue;
            }
            let lock = clear_build_folder(folder)?;
            disk::destroy_folder(folder).map_err(disk_error())?;
            drop(lock);
        }
        Ok(())
    }

    /// Makes a store with these contents, as generation `generation + 1`.
    pub(crate) fn create_from(
        folder: &Path,
        id: Uuid,
        generation: u64,
        contents: &Contents,
        passphrase: Option<&Zeroizing<String>>,
        now_ms: i64,
    ) -> Result<Self, KeyError> {
        if Self::exists(folder) {
            return Err(KeyError::Exists);
        }
        let disk_error = || KeyError::disk("making the key store");
        let parent = disk::parent(folder);
        fs::create_dir_all(parent).map_err(disk_error())?;
        let mut build = folder.as_os_str().to_owned();
        build.push(".creating");
        let build = PathBuf::from(build);
        let lock = clear_build_folder(&build)?;
        let root = Secret::generate();
        let table = SlotTable::create(&build, id, &root, now_ms)?;
        if let Some(passphrase) = passphrase {
            let (table, _) = table.with_passphrase(passphrase, Cost::DEFAULT, &root, now_ms)?;
            table.replace(&build)?;
        }
        Store::create_after(&build, &root, id, contents, generation)?;
        disk::rename(&build, folder).map_err(disk_error())?;
        disk::sync_folder(parent).map_err(disk_error())?;
        Self::unlock(folder, lock, &Unlock::File)
    }
}
