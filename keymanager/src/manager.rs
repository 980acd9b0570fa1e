//! The key manager: the one door to the keys of a state folder.

mod authority;
mod certificates;
mod handles;
mod keks;
mod renewal;
mod slot_changes;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

use crate::certificate::{self, RenewalReason};
use crate::clients::ClientPolicy;
use crate::data_key::DataKey;
use crate::disk;
use crate::error::KeyError;
use crate::handle::HandleKey;
use crate::keyring::{Keyring, WrappedKey};
use crate::renewal::RenewalState;
use crate::seal_key::SealKeyTable;
use crate::secret::Secret;
use crate::signing::{PublicKey, Signature, SigningKey};
use crate::slots::{self, SlotTable, Unlock};
use crate::store::{self, Contents, Store};
use crate::stored_tls::{CertificateSource, StoredCertificate, StoredTls};
use crate::tls::TlsIdentity;

pub use authority::IssuedClient;
pub use certificates::{Adopted, CertificateInfo, CertificateStanding};

pub use slot_changes::RootRotation;

/// The keys of one state folder, unlocked. One process at a time has it; its threads share it.
pub struct KeyManager {
    folder: PathBuf,
    /// Holds the lock for as long as this lives.
    _lock: File,
    contents: ArcSwap<Contents>,
    tls: TlsIdentity,
    /// Whom the listeners ask for a certificate.
    clients: ArcSwap<ClientPolicy>,
    /// Taken by whoever changes something; readers use `contents` and `tls`.
    writer: Mutex<Writer>,
}

struct Writer {
    root: Secret,
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
    /// A new root key is in use, but not everything is sealed under it yet.
    RotationUnfinished,
    /// Nothing opens the keys when this machine is lost.
    NoRecoverySlot,
    /// The program cannot start while nobody is there.
    NoUnattendedSlot,
    /// `root.key` is missing, or another one: the next start has to do without it.
    FileSlotBroken,
    /// The folder could not be looked at.
    Unreadable,
}

pub use keks::{Destroyed, Destruction, RotationReason};

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
    /// A staged one has become valid and is served.
    Activated {
        /// Which one.
        id: Uuid,
        /// Where it came from.
        source: CertificateSource,
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
        let issued = certificate::issue_self_signed(names, now_ms)?;
        let tls = StoredTls::new(names, StoredCertificate::self_signed(issued, now_ms));
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
            tombstones: Vec::new(),
            seal_keys: SealKeyTable::default(),
            authority: None,
            renewal: RenewalState::default(),
            handles: Some(HandleKey::generate()),
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

    /// Serves a staged certificate whose time has come, and issues a self-signed one anew if it is
    /// due: stored first, then published. One from elsewhere is never replaced, be it over. Call
    /// it at start and every minute or so, on the wall clock.
    ///
    /// # Errors
    ///
    /// [`KeyError::Disk`] and the certificate's errors; the old certificate goes on being served.
    pub fn ensure_certificate(&self, now_ms: i64) -> Result<CertificateChange, KeyError> {
        let mut writer = self.writer();
        if let Some(change) = self.activate_staged(&mut writer, now_ms)? {
            return Ok(change);
        }
        let mut contents = Contents::clone(&self.contents.load());
        if contents.tls.live.source != CertificateSource::SelfSigned {
            return Ok(CertificateChange::None);
        }
        let Some(reason) = self.tls.facts().renewal_due(now_ms) else {
            return Ok(CertificateChange::None);
        };
        let issued = certificate::issue_self_signed(&contents.tls.names, now_ms)?;
        contents.tls.advance(StoredCertificate::self_signed(issued, now_ms));
        self.install(&mut writer, contents)?;
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
        if writer.slots.is_rotating() {
            warnings.push(KeyWarning::RotationUnfinished);
        }
        if writer.slots.file_opens(&self.folder) == Some(false) {
            warnings.push(KeyWarning::FileSlotBroken);
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
        let (store, contents) = match slots.previous_root(&root) {
            None => Store::open(folder, &root, slots.store())?,
            Some(previous) => Store::open_rotating(folder, &root, &previous, slots.store())?,
        };
        slots.sweep(folder)?;
        let mut writer = Writer { root, slots, store };
        // No reason not to start: both root keys are at hand, and a warning says so.
        let _ = writer.finish_rotation(folder, &contents);
        let tls = TlsIdentity::new(contents.tls.live.certified()?)?;
        Ok(Self {
            folder: folder.into(),
            _lock: lock,
            contents: ArcSwap::from_pointee(contents),
            tls,
            writer: Mutex::new(writer),
            clients: ArcSwap::default(),
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
mod seal_keys;

#[cfg(test)]
mod tests;
