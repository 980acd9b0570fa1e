//! The key manager: the one door to the keys of a state folder.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::certificate::{self, RenewalReason};
use crate::data_key::DataKey;
use crate::disk;
use crate::error::KeyError;
use crate::keyring::{KeyVersionInfo, Keyring, WrappedKey};
use crate::secret::Secret;
use crate::signing::{PublicKey, Signature, SigningKey};
use crate::slots::{self, Cost, SlotInfo, SlotTable, Unlock};
use crate::store::{self, Contents, Store};
use crate::tls::{StoredTls, TlsIdentity};

/// The keys of one state folder, unlocked. One process at a time has it; its threads share it.
pub struct KeyManager {
    folder: PathBuf,
    /// Holds the lock for as long as this lives.
    _lock: File,
    root: Secret,
    contents: ArcSwap<Contents>,
    tls: TlsIdentity,
    /// Taken by whoever changes something; readers use `contents` and `tls`.
    writer: Mutex<Writer>,
}

struct Writer {
    slots: SlotTable,
    store: Store,
}

/// Something about the keys that a person should change. The keys work all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyWarning {
    /// Others than the owner can read `what`.
    OpenToOthers {
        /// The file or folder, by its role.
        what: &'static str,
        /// Its permission bits.
        mode: u32,
    },
    /// A generation was damaged and an older one is used: keys made in between are missing.
    DamagedGeneration {
        /// The one set aside.
        generation: u64,
    },
    /// An old generation could not be destroyed yet.
    SurplusGeneration {
        /// The one left over.
        generation: u64,
    },
    /// Nothing opens the keys when this machine is lost.
    NoRecoverySlot,
    /// The program cannot start while nobody is there.
    NoUnattendedSlot,
    /// The folder could not be looked at.
    Unreadable,
}

/// What [`KeyManager::ensure_certificate`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateChange {
    /// It is good.
    None,
    /// A new one is stored and served.
    Renewed {
        /// Why.
        reason: RenewalReason,
        /// When it ends, in milliseconds since 1970.
        not_after_ms: i64,
    },
}

impl KeyManager {
    /// Makes a complete store: root key, file slot, first key version, signing key and a
    /// self-signed certificate for `names`. It is built beside `folder` and renamed into place,
    /// so an interrupted run leaves nothing that looks like a store.
    ///
    /// # Errors
    ///
    /// [`KeyError::Exists`] if there is one or the folder cannot be looked into,
    /// [`KeyError::BadNames`], [`KeyError::Disk`] (also if `folder` holds other things or is a
    /// mount point). What was there is left alone.
    pub fn create(folder: &Path, names: &[String], now_ms: i64) -> Result<Self, KeyError> {
        if Self::exists(folder) {
            return Err(KeyError::Exists);
        }
        let tls = StoredTls::new(names, certificate::issue_self_signed(names, now_ms)?);
        let disk_error = || KeyError::disk("making the key store");
        let parent = disk::parent(folder);
        fs::create_dir_all(parent).map_err(disk_error())?;
        let mut build = folder.as_os_str().to_owned();
        build.push(".creating");
        let build = PathBuf::from(build);
        let lock = clear_build_folder(&build)?;

        let contents = Contents {
            keyring: Keyring::generate(now_ms),
            signing: vec![SigningKey::generate(now_ms)],
            tls,
        };
        let (root, id) = (Secret::generate(), Uuid::now_v7());
        SlotTable::create(&build, id, &root, now_ms)?;
        Store::create(&build, &root, id, &contents)?;
        disk::rename(&build, folder).map_err(disk_error())?;
        disk::sync_folder(parent).map_err(disk_error())?;
        Self::unlock(folder, lock, &Unlock::File)
    }

    /// Unlocks an existing store and settles what an interrupted change left.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoStore`], [`KeyError::InUse`], the slots' errors, those of a damaged store.
    /// Nothing was changed then, except that leftovers may be swept.
    pub fn open(folder: &Path, unlock: &Unlock) -> Result<Self, KeyError> {
        if !Self::exists(folder) {
            return Err(KeyError::NoStore);
        }
        Self::unlock(folder, lock(folder)?, unlock)
    }

    /// True if `folder` holds a key store, be it damaged, or cannot be looked into.
    pub fn exists(folder: &Path) -> bool {
        store::exists(folder)
    }

    /// Adds a passphrase slot, opened once before it is stored. Takes about a second and 64 MiB.
    ///
    /// # Errors
    ///
    /// [`KeyError::PassphraseLength`], [`KeyError::TooManySlots`], [`KeyError::Disk`].
    pub fn add_passphrase_slot(
        &self,
        passphrase: &Zeroizing<String>,
        now_ms: i64,
    ) -> Result<SlotInfo, KeyError> {
        let mut writer = self.writer();
        let (slots, info) =
            writer.slots.with_passphrase(passphrase, Cost::DEFAULT, &self.root, now_ms)?;
        slots.replace(&self.folder)?;
        writer.slots = slots;
        Ok(info)
    }

    /// Removes a slot, never the last one. A copy of the slot table made earlier still opens.
    ///
    /// # Errors
    ///
    /// [`KeyError::UnknownSlot`], [`KeyError::LastSlot`], [`KeyError::Disk`].
    pub fn remove_slot(&self, id: Uuid) -> Result<(), KeyError> {
        let mut writer = self.writer();
        let slots = writer.slots.without(id)?;
        slots.replace(&self.folder)?;
        writer.slots = slots;
        Ok(())
    }

    /// The slots, oldest first.
    pub fn slots(&self) -> Vec<SlotInfo> {
        self.writer().slots.infos()
    }

    /// A fresh data key for one attempt at sealing `recording`, and its form for the catalog.
    pub fn new_data_key(&self, recording: Uuid) -> (DataKey, WrappedKey) {
        let data_key = DataKey::generate();
        let wrapped = self.wrap(recording, &data_key);
        (data_key, wrapped)
    }

    /// Wraps `data_key` for `recording` under the active key version.
    pub fn wrap(&self, recording: Uuid, data_key: &DataKey) -> WrappedKey {
        self.contents.load().keyring.wrap(recording, data_key)
    }

    /// Unwraps the data key of `recording`.
    ///
    /// # Errors
    ///
    /// [`KeyError::UnknownVersion`], [`KeyError::VersionUnavailable`] or [`KeyError::Unwrap`].
    pub fn unwrap(&self, recording: Uuid, wrapped: &WrappedKey) -> Result<DataKey, KeyError> {
        self.contents.load().keyring.unwrap(recording, wrapped)
    }

    /// The key versions, oldest first.
    pub fn versions(&self) -> Vec<KeyVersionInfo> {
        self.contents.load().keyring.versions()
    }

    /// Signs `message` as a `context`, a short constant that says what kind of thing it is.
    pub fn sign(&self, context: &'static str, message: &[u8]) -> Signature {
        let contents = self.contents.load();
        let newest = contents.signing.last().expect("the store was checked to have one");
        newest.sign(context, message)
    }

    /// The public halves of all signing keys, oldest first.
    pub fn public_signing_keys(&self) -> Vec<PublicKey> {
        self.contents.load().signing.iter().map(SigningKey::public).collect()
    }

    /// What the listeners serve.
    pub fn tls(&self) -> &TlsIdentity {
        &self.tls
    }

    /// Issues the self-signed certificate anew if it is due; stores it, then publishes it. Call it
    /// at start and every minute or so, on the wall clock.
    ///
    /// # Errors
    ///
    /// [`KeyError::Disk`] and the certificate's errors; the old certificate goes on being served.
    pub fn ensure_certificate(&self, now_ms: i64) -> Result<CertificateChange, KeyError> {
        let mut writer = self.writer();
        let Some(reason) = self.tls.facts().renewal_due(now_ms) else {
            return Ok(CertificateChange::None);
        };
        let mut contents = Contents::clone(&self.contents.load());
        let names = &contents.tls.names;
        contents.tls = StoredTls::new(names, certificate::issue_self_signed(names, now_ms)?);
        let certified = contents.tls.certified()?;
        let published = self.tls.prepare(|serving| serving.certified = certified)?;
        writer.store.commit(&contents)?;
        self.contents.store(Arc::new(contents));
        self.tls.publish(published);
        Ok(CertificateChange::Renewed { reason, not_after_ms: self.tls.facts().not_after_ms })
    }

    /// What a person should change, as it is now: looks at the folder.
    pub fn warnings(&self) -> Vec<KeyWarning> {
        let writer = self.writer();
        let slots = writer.slots.infos();
        let mut warnings = open_to_others(&self.folder);
        for (generations, warning) in [
            (writer.store.damaged(), damaged_warning as fn(u64) -> KeyWarning),
            (writer.store.surplus(), surplus_warning),
        ] {
            match generations {
                Ok(generations) => warnings.extend(generations.into_iter().map(warning)),
                Err(_) => warnings.push(KeyWarning::Unreadable),
            }
        }
        if !slots.iter().any(|slot| slot.is_recovery) {
            warnings.push(KeyWarning::NoRecoverySlot);
        }
        if !slots.iter().any(|slot| slot.unattended) {
            warnings.push(KeyWarning::NoUnattendedSlot);
        }
        warnings
    }

    fn unlock(folder: &Path, lock: File, unlock: &Unlock) -> Result<Self, KeyError> {
        let slots = SlotTable::load(folder)?;
        let root = slots.unlock(folder, unlock)?;
        let (store, contents) = Store::open(folder, &root, slots.store())?;
        slots.sweep(folder)?;
        let tls = TlsIdentity::new(contents.tls.certified()?)?;
        Ok(Self {
            folder: folder.into(),
            _lock: lock,
            root,
            contents: ArcSwap::from_pointee(contents),
            tls,
            writer: Mutex::new(Writer { slots, store }),
        })
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // Each field is replaced whole and last, so a panic elsewhere left nothing half-done.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for KeyManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyManager").field("versions", &self.versions()).finish_non_exhaustive()
    }
}

/// Takes the lock of a folder without waiting.
fn lock(folder: &Path) -> Result<File, KeyError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(folder.join(LOCK_FILE))
        .map_err(KeyError::disk("opening the lock file"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(KeyError::InUse),
        Err(errno) => Err(KeyError::disk("locking the key store")(errno.into())),
    }
}

/// Makes the build folder, or empties what an interrupted run left of it, under its lock.
fn clear_build_folder(build: &Path) -> Result<File, KeyError> {
    let disk_error = || KeyError::disk("making the key store");
    match disk::make_folder(build) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(disk_error()(error));
        }
        _ => {}
    }
    let lock = lock(build)?;
    for entry in fs::read_dir(build).map_err(disk_error())? {
        let entry = entry.map_err(disk_error())?;
        let is_folder = entry.file_type().map_err(disk_error())?.is_dir();
        match entry.file_name() == LOCK_FILE {
            true => {}
            false if is_folder => disk::destroy_folder(&entry.path()).map_err(disk_error())?,
            false => disk::destroy(&entry.path()).map_err(disk_error())?,
        }
    }
    Ok(lock)
}

fn open_to_others(folder: &Path) -> Vec<KeyWarning> {
    let files = slots::private_files(folder);
    let folder = [("the key folder", folder.to_owned())];
    let too_open = |(what, path): (&'static str, PathBuf)| {
        let mode = fs::metadata(path).ok()?.mode() & 0o7777;
        (mode & 0o077 != 0).then_some(KeyWarning::OpenToOthers { what, mode })
    };
    folder.into_iter().chain(files).filter_map(too_open).collect()
}

fn damaged_warning(generation: u64) -> KeyWarning {
    KeyWarning::DamagedGeneration { generation }
}

fn surplus_warning(generation: u64) -> KeyWarning {
    KeyWarning::SurplusGeneration { generation }
}

const LOCK_FILE: &str = ".lock";

mod backup;

#[cfg(test)]
mod tests;
