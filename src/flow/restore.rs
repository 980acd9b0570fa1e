//! Restoring: on trial, to know that a backup is good, and for good, on this or another host.
//!
//! Both do the same: the keys are opened and tried in memory, the catalog is copied out and
//! looked through, every wrapped key in it is unwrapped, the audit trail is proved by the signing
//! keys beside it. A trial keeps the keys in memory only, so nothing on its disk opens anything:
//! the catalog lies there in a folder of its own, 0700, and is overwritten and removed at the end.
//!
//! *If the power goes during a restore, which good copy is left?* The backup. The state folder is
//! built beside its place as `NAME.restoring` and renamed when all of it is synced, so there is a
//! whole one or none; the next restore destroys what an interrupted one left. After a trial that
//! was cut, the next trial in the same place does.

use std::collections::BTreeSet;
use std::fs;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use keymanager::{
    BackedUpKeys, BackupError, BackupOpener, KeyError, KeyManager, KeyState, Manifest,
    OpenedBackup, RotationReason, Tombstone, WrappedKey,
};
use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

use crate::catalog::{self, BackupRow, Catalog, CatalogError};
use crate::clock::Timestamp;
use crate::compliance::audit::{Activity, Actor, AuditEntry, AuditFault, CheckpointSignature};
use crate::domain::RecordingId;
use crate::flow::ledger::CHECKPOINT_CONTEXT;
use crate::flow::tombstones::{TombstoneError, Tombstones};

/// Why a backup is not good, or was not restored. Where it was to go, nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It does not open, or not to its end.
    #[error("the backup cannot be restored")]
    Backup(#[from] BackupError),
    /// The catalog in it is not whole.
    #[error("the catalog in the backup is not whole")]
    Catalog(#[from] CatalogError),
    /// A row of the catalog does not open with the keys.
    #[error("the key of recording {recording} does not open")]
    Key {
        /// Which recording.
        recording: RecordingId,
        /// Why not.
        source: KeyError,
    },
    /// What the manifest promises is not there.
    #[error("the catalog in the backup holds {found} {what}, its manifest says {promised}")]
    Count {
        /// Of what.
        what: &'static str,
        /// By the manifest.
        promised: u64,
        /// By the catalog.
        found: u64,
    },
    /// The audit trail does not prove.
    #[error("the audit trail in the backup does not verify")]
    Audit(#[from] AuditFault),
    /// The new keys could not be made.
    #[error("making the new key store")]
    Keys(#[source] KeyError),
    /// The list of what was destroyed was not taken.
    #[error("the tombstones cannot be used")]
    Tombstones(#[from] TombstoneError),
    /// A restore never writes over anything.
    #[error("the state folder exists and is not empty")]
    NotEmpty,
    /// Another restore builds the same folder.
    #[error("another restore to this folder is running")]
    Running,
    /// A folder or file of ours.
    #[error("{act}")]
    Folder {
        /// What was being done.
        act: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// What is being done, for a progress bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The catalog is copied out; bytes.
    Opening,
    /// Data keys are unwrapped; keys.
    Keys,
}

/// Told of the stage, what is done and the total.
pub type Progress<'p> = &'p mut dyn FnMut(Stage, u64, u64);

/// What a trial or a restore opened.
#[derive(Clone, Debug)]
pub struct Proof {
    /// What the backup says about itself.
    pub manifest: Manifest,
    /// Data keys that were unwrapped.
    pub data_keys: u64,
    /// Recordings sealed to a public key: only its private key, which is elsewhere, opens them.
    pub sealed_to_public_keys: u64,
    /// Entries of the audit trail.
    pub audit_entries: u64,
}

/// Where to restore to, and with what.
#[derive(Debug)]
pub struct RestoreTo<'p> {
    /// The state folder to make.
    pub state: &'p Path,
    /// Names of key store and catalog inside it.
    pub keys: &'p Path,
    /// See `keys`.
    pub catalog: &'p Path,
    /// For a passphrase slot beside the new file slot.
    pub passphrase: Option<Zeroizing<String>>,
    /// What was destroyed since the backup.
    pub since: Since,
}

/// What is known to have been destroyed after the backup was made.
#[derive(Debug)]
pub enum Since {
    /// Nothing is known.
    Unknown,
    /// A list that the old host signed.
    Signed(String),
    /// As the old state folder says.
    State(Tombstones),
}

/// What a restore made.
#[derive(Clone, Debug)]
pub struct Restored {
    /// What was opened.
    pub proof: Proof,
    /// Key versions that were alive in the backup and are destroyed again.
    pub buried_keys: usize,
    /// Recordings whose data keys were under one of those: moved to a living version first.
    pub rescued_recordings: u64,
    /// Recordings that were alive in the backup and stay erased.
    pub buried_recordings: u64,
}

/// Restores `backup` in a folder of its own inside `work`, keeps nothing, and says what opened.
///
/// # Errors
///
/// [`RestoreError`]; nothing is left in `work`.
pub fn trial(
    backup: impl Read,
    opener: &BackupOpener,
    work: &Path,
    progress: Progress<'_>,
) -> Result<Proof, RestoreError> {
    sweep_trials(work)?;
    let folder = Folder::make(work.join(format!("{TRIAL}{}", uuid::Uuid::now_v7().simple())))?;
    let path = folder.path.join(TRIAL_CATALOG);
    let tried = open(backup, opener, &path, progress).map(|(proof, _, catalog)| {
        drop(catalog);
        proof
    });
    catalog::destroy(&path)?;
    fs::remove_dir(&folder.path).map_err(folder_error("removing the folder of the trial"))?;
    tried
}

/// Makes a state folder of `backup`: its catalog, its keys under a new root key with new slots.
///
/// # Errors
///
/// [`RestoreError`]; there is no state folder then.
pub fn restore(
    backup: impl Read,
    opener: &BackupOpener,
    to: &RestoreTo<'_>,
    now: Timestamp,
    progress: Progress<'_>,
) -> Result<Restored, RestoreError> {
    check_free(to.state)?;
    let mut name = to.state.as_os_str().to_owned();
    name.push(".restoring");
    let folder = Folder::make(PathBuf::from(name))?;
    let (keys, path) = (folder.path.join(to.keys), folder.path.join(to.catalog));
    clear(&keys, &path)?;
    let built = build(backup, opener, to, (&keys, &path), now, progress);
    let moved = built.and_then(|restored| {
        let moving = folder_error("moving the state folder into its place");
        folder.file.sync_all().and_then(|()| fs::rename(&folder.path, to.state)).map_err(moving)?;
        let parent = to.state.parent().filter(|parent| *parent != Path::new(""));
        File::open(parent.unwrap_or(Path::new(".")))
            .and_then(|parent| parent.sync_all())
            .map_err(folder_error("syncing the place of the state folder"))?;
        Ok(restored)
    });
    if moved.is_err() && folder.path.exists() {
        // What stays after another failure here is cleared by the next restore.
        let _ = clear(&keys, &path).map(|()| fs::remove_dir(&folder.path));
    }
    moved
}

fn build(
    backup: impl Read,
    opener: &BackupOpener,
    to: &RestoreTo<'_>,
    (keys_path, path): (&Path, &Path),
    now: Timestamp,
    progress: Progress<'_>,
) -> Result<Restored, RestoreError> {
    let (proof, keys, catalog) = open(backup, opener, path, progress)?;
    let dead = match &to.since {
        Since::Unknown => Tombstones::default(),
        Since::Signed(text) => Tombstones::parse(text, &keys.public_signing_keys())?,
        Since::State(dead) => dead.clone(),
    };
    let buried_recordings = bury(&catalog, &dead.recordings, now)?;
    let manager = keys
        .restore(keys_path, to.passphrase.as_ref(), now.as_millis())
        .map_err(RestoreError::Keys)?;
    let (buried_keys, rescued_recordings) = bury_keys(&manager, &catalog, &dead.keys, now)?;
    let manifest = &proof.manifest;
    let entry =
        AuditEntry::new(now, Actor::DAEMON, Activity::BackupRestored).on_object(manifest.backup);
    let row = BackupRow {
        id: manifest.backup,
        created_at: Timestamp::from_millis(manifest.created_ms),
        kept_at: Some(now),
        verified_at: Some(now),
        damaged_at: None,
        newest_version: manifest.newest_version(),
        sealed: manifest.catalog.sealed,
        automatic: false,
    };
    catalog.write(|tx| {
        tx.put_backup(&row, &entry)?;
        tx.checkpoint(now, |message| {
            let signature = manager.sign(CHECKPOINT_CONTEXT, message);
            CheckpointSignature { key_id: signature.key_id, bytes: signature.bytes }
        })
        .map(drop)
    })?;
    if buried_recordings + rescued_recordings > 0 {
        catalog.scrub()?;
    }
    catalog.close()?;
    Ok(Restored { proof, buried_keys, rescued_recordings, buried_recordings })
}

/// Copies the catalog out to `path` and proves everything. The catalog is migrated by the way if
/// an earlier version of this program wrote it.
fn open(
    backup: impl Read,
    opener: &BackupOpener,
    path: &Path,
    progress: Progress<'_>,
) -> Result<(Proof, BackedUpKeys, Catalog), RestoreError> {
    let opened = OpenedBackup::open(backup, opener)?;
    let total_bytes = opened.manifest().catalog.len_bytes;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(folder_error("making a file for the catalog"))?;
    let (manifest, keys) = opened.copy_catalog(&mut file, &mut |done_bytes| {
        progress(Stage::Opening, done_bytes, total_bytes);
    })?;
    file.flush().and_then(|()| file.sync_all()).map_err(folder_error("syncing the catalog"))?;
    drop(file);
    let catalog = Catalog::open(path)?;
    let proof = prove(manifest, &keys, &catalog, progress)?;
    Ok((proof, keys, catalog))
}

/// Looks through the catalog, unwraps every data key and proves the audit trail.
fn prove(
    manifest: Manifest,
    keys: &BackedUpKeys,
    catalog: &Catalog,
    progress: Progress<'_>,
) -> Result<Proof, RestoreError> {
    catalog.check_integrity()?;
    let promised: u64 = manifest.catalog.data_keys.iter().map(|(_, count)| count).sum();
    let (mut data_keys, mut sealed_to) = (0, 0);
    catalog.read::<_, RestoreError>(|tx| {
        tx.each_wrapped_key(|recording, version, bytes| {
            if version == 0 {
                sealed_to += 1;
                return Ok(());
            }
            WrappedKey::from_bytes(bytes)
                .and_then(|wrapped| keys.try_unwrap(recording.0, &wrapped))
                .map_err(|source| RestoreError::Key { recording, source })?;
            data_keys += 1;
            if data_keys % PROGRESS_EVERY == 0 || data_keys == promised {
                progress(Stage::Keys, data_keys, promised);
            }
            Ok(())
        })
    })?;
    if data_keys + sealed_to != promised {
        let found = data_keys + sealed_to;
        return Err(RestoreError::Count { what: "data keys", promised, found });
    }
    let public = keys.public_signing_keys();
    let is_signed = |message: &[u8], signature: &CheckpointSignature| {
        let CheckpointSignature { key_id, bytes } = *signature;
        let signature = keymanager::Signature { key_id, bytes };
        keymanager::verify_signature(&public, CHECKPOINT_CONTEXT, message, &signature).is_ok()
    };
    let verdict = catalog.read::<_, CatalogError>(|tx| tx.verify_audit(&is_signed))?;
    if let Some(fault) = verdict.fault {
        return Err(fault.into());
    }
    Ok(Proof {
        manifest,
        data_keys,
        sealed_to_public_keys: sealed_to,
        audit_entries: verdict.head.seq,
    })
}

fn bury(
    catalog: &Catalog,
    dead: &BTreeSet<RecordingId>,
    now: Timestamp,
) -> Result<u64, RestoreError> {
    let mut buried = 0;
    let mut waiting = dead.iter().copied().peekable();
    while waiting.peek().is_some() {
        let batch: Vec<RecordingId> = waiting.by_ref().take(BATCH).collect();
        buried += catalog.write::<_, CatalogError>(|tx| {
            let mut count = 0;
            for recording in batch {
                let entry = AuditEntry::new(now, Actor::DAEMON, Activity::BackupRestored)
                    .on_recording(recording)
                    .because("erased-since");
                count += u64::from(tx.bury(recording, &entry)?);
            }
            Ok(count)
        })?;
    }
    Ok(buried)
}

/// Destroys again the key versions that were destroyed after the backup was made.
///
/// A version is destroyed when nothing needs it any more: what is still under it here was moved
/// to a newer one there, or erased. What was erased is buried by now, so the rest is moved first.
fn bury_keys(
    manager: &KeyManager,
    catalog: &Catalog,
    dead: &[Tombstone],
    now: Timestamp,
) -> Result<(usize, u64), RestoreError> {
    let refused = RestoreError::Keys;
    let public = manager.public_signing_keys();
    for tombstone in dead {
        tombstone.verify(&public).map_err(|_| TombstoneError::NotSigned)?;
    }
    let versions = manager.versions();
    let lives = |tombstone: &&Tombstone| {
        let info = versions.iter().find(|info| info.version == tombstone.version);
        info.is_some_and(|info| info.state != KeyState::Destroyed)
            && manager.kek_fingerprint(tombstone.version) == Some(tombstone.fingerprint)
    };
    let alive: Vec<u32> = dead.iter().filter(lives).map(|tombstone| tombstone.version).collect();
    if alive.contains(&manager.active_version()) {
        let above = dead.iter().map(|tombstone| tombstone.version).max().unwrap_or(0);
        let reason = RotationReason::Manual;
        manager.rotate_kek(now.as_millis(), reason, above).map_err(refused)?;
    }
    let rewrapper = manager.rewrapper();
    let mut rescued = 0;
    for &version in &alive {
        let mut after = None;
        loop {
            let rows = catalog.read(|tx| tx.rows_under(version, after, BATCH))?;
            let Some((last, _)) = rows.last() else { break };
            after = Some(*last);
            rescued += catalog.write::<_, CatalogError>(|tx| {
                let mut moved = 0;
                for (recording, wrapped) in &rows {
                    // A version that was disabled when it was backed up is moved nowhere.
                    let Ok(new) = rewrapper.rewrap(recording.0, wrapped) else { continue };
                    moved += u64::from(tx.rewrap_row(*recording, wrapped, &new)?);
                }
                Ok(moved)
            })?;
        }
    }
    let buried = manager.apply_tombstones(dead, now.as_millis()).map_err(refused)?;
    Ok((buried.len(), rescued))
}

/// A folder of ours, 0700, held by a lock on itself for as long as this lives.
struct Folder {
    path: PathBuf,
    file: File,
}

impl Folder {
    /// Makes it, or takes over one that an interrupted run left.
    fn make(path: PathBuf) -> Result<Self, RestoreError> {
        let making = folder_error("making a folder");
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(making(error));
            }
            _ => {}
        }
        let file = File::open(&path).map_err(folder_error("opening a folder"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path, file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(RestoreError::Running),
            Err(errno) => Err(folder_error("locking a folder")(errno.into())),
        }
    }
}

fn check_free(state: &Path) -> Result<(), RestoreError> {
    match fs::read_dir(state) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(folder_error("looking into the state folder")(error)),
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(RestoreError::NotEmpty),
        },
    }
}

/// Destroys what an interrupted restore left.
fn clear(keys: &Path, catalog: &Path) -> Result<(), RestoreError> {
    KeyManager::destroy_unfinished(keys).map_err(RestoreError::Keys)?;
    Ok(catalog::destroy(catalog)?)
}

/// Destroys what killed trials of this user left in `work`. One that runs is locked.
fn sweep_trials(work: &Path) -> Result<(), RestoreError> {
    let listing = || folder_error("listing the folder for the trial");
    let own = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(work).map_err(listing())? {
        let entry = entry.map_err(listing())?;
        let is_trial = entry.file_name().as_encoded_bytes().starts_with(TRIAL.as_bytes());
        let is_ours = entry.metadata().is_ok_and(|seen| seen.is_dir() && seen.uid() == own);
        if !is_trial || !is_ours {
            continue;
        }
        let Ok(folder) = Folder::make(entry.path()) else { continue };
        catalog::destroy(&folder.path.join(TRIAL_CATALOG))?;
        // Another trial may have been quicker.
        let _ = fs::remove_dir(&folder.path);
    }
    Ok(())
}

fn folder_error(act: &'static str) -> impl FnOnce(io::Error) -> RestoreError {
    move |source| RestoreError::Folder { act, source }
}

const TRIAL: &str = "recseal-trial-";
const TRIAL_CATALOG: &str = "catalog.db";
const PROGRESS_EVERY: u64 = 1_000;
const BATCH: usize = 500;
