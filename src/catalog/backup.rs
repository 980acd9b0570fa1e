//! Copies of the catalog for backups, the proof of one, and what is known of backups.
//!
//! A copy is made page by page from one unchanging view, so sealing goes on meanwhile and the
//! copy never has to begin anew; only the log cannot be reused until it is done. It lies beside
//! the catalog for as long as it is read, 0600, and is overwritten and removed then, because it
//! holds what may be erased from the catalog tomorrow.
//!
//! If the power goes here: the copy stays, and is destroyed when the catalog is opened next.

use std::ffi::OsString;
use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

use keymanager::Keystream;
use keymanager::WrappedKey;
use rusqlite::Connection;
use rusqlite::OpenFlags;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::backup::Backup;
use rusqlite::backup::StepResult;
use rusqlite::named_params;
use rusqlite::params;
use sha2::Digest;
use sha2::Sha256;
use uuid::Uuid;

use super::Catalog;
use super::CatalogError;
use super::CatalogTx;
use super::ReadTx;
use super::connect;
use super::migrate;
use super::values::unsigned;
use super::values::uuid;
use crate::clock::Timestamp;
use crate::compliance::audit::AuditEntry;
use crate::domain::RecordingId;
use crate::domain::lifecycle::RecordingEvent;
use crate::domain::lifecycle::RecordingState;

/// A whole copy of the catalog, to be read once. Destroys itself when dropped.
pub struct CatalogCopy {
    file: File,
    facts: CopyFacts,
    _destroyed: Destroyed,
}

/// What a copy holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyFacts {
    /// Its length.
    pub len_bytes: u64,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// Recordings in it, in any state.
    pub recordings: u64,
    /// Those that were ever sealed.
    pub sealed: u64,
    /// Wrapped data keys by the key version that wraps them.
    pub data_keys: Vec<(u32, u64)>,
}

impl CatalogCopy {
    /// What it holds.
    pub fn facts(&self) -> &CopyFacts {
        &self.facts
    }
}

impl Read for CatalogCopy {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read(buf)
    }
}

impl std::fmt::Debug for CatalogCopy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CatalogCopy").field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// What the catalog knows of one backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupRow {
    /// Its id.
    pub id: Uuid,
    /// When its keys were taken.
    pub created_at: Timestamp,
    /// When whoever asked for it had it whole.
    pub kept_at: Option<Timestamp>,
    /// When it was last restored on trial and everything opened.
    pub verified_at: Option<Timestamp>,
    /// When it was last restored on trial and something did not.
    pub damaged_at: Option<Timestamp>,
    /// The newest key version in it.
    pub newest_version: u32,
    /// Recordings that were sealed when its catalog was copied.
    pub sealed: u64,
    /// True if the daemon made it by itself.
    pub automatic: bool,
}

impl Catalog {
    /// Copies the catalog as it is at this moment. Reads and writes its whole length; readers and
    /// writers go on meanwhile.
    ///
    /// # Errors
    ///
    /// [`CatalogError`]; nothing is left of the copy.
    pub fn copy(&self) -> Result<CatalogCopy, CatalogError> {
        let path = copy_path(&self.path);
        let failed = |source| CatalogError::File { source };
        let mut file = OpenOptions::new()
            .create_new(true)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        let destroyed = Destroyed(path);
        let source = connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        source.execute_batch(BEGIN_VIEW)?;
        copy_pages(&source, &destroyed.0)?;
        let tx = ReadTx { conn: &source };
        let (counts, data_keys) = (tx.counts()?, tx.keys_by_version()?);
        let in_state = |state| counts.in_state(state).recordings;
        let recordings = RecordingState::ALL.into_iter().map(in_state).sum();
        use RecordingState as S;
        let sealed = [S::Sealed, S::Stored, S::Erasing, S::Erased].into_iter().map(in_state).sum();
        // Without a log of its own: the copy is one file, whoever opens it.
        file.write_all_at(&NO_LOG, NO_LOG_AT).map_err(failed)?;
        let (len_bytes, sha256) = digest_of(&mut file).map_err(failed)?;
        let facts = CopyFacts { len_bytes, sha256, recordings, sealed, data_keys };
        Ok(CatalogCopy { file, facts, _destroyed: destroyed })
    }

    /// Looks through the whole file for contradictions. Reads all of it.
    ///
    /// # Errors
    ///
    /// [`CatalogError::NotWhole`] with what SQLite says first, without what is in the rows.
    pub fn check_integrity(&self) -> Result<(), CatalogError> {
        self.read(|tx| {
            let verdict: String =
                tx.conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
            let orphan =
                tx.conn.query_row("PRAGMA foreign_key_check", [], |_| Ok(())).optional()?;
            if verdict == "ok" && orphan.is_none() { Ok(()) } else { Err(CatalogError::NotWhole) }
        })
    }
}

impl ReadTx<'_> {
    /// Shows each wrapped key as it is stored, with its version, one after the other.
    pub fn each_wrapped_key<E: From<CatalogError>>(
        &self,
        mut visit: impl FnMut(RecordingId, u32, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut statement = self.conn.prepare_cached(SELECT_KEYS).map_err(CatalogError::from)?;
        let mut rows = statement.query([]).map_err(CatalogError::from)?;
        while let Some(row) = rows.next().map_err(CatalogError::from)? {
            let parsed = || -> rusqlite::Result<_> { Ok((row.get(0)?, row.get(1)?, row.get(2)?)) };
            let (recording, version, bytes): (_, _, Vec<u8>) =
                parsed().map_err(CatalogError::from)?;
            visit(recording, version, &bytes)?;
        }
        Ok(())
    }

    /// Rows under `version` behind `after`, in the order of recordings, at most `limit`.
    pub fn rows_under(
        &self,
        version: u32,
        after: Option<RecordingId>,
        limit: usize,
    ) -> Result<Vec<(RecordingId, WrappedKey)>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_ROWS_UNDER)?;
        let after = after.as_ref().map_or(&[][..], |id| id.0.as_bytes().as_slice());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![version, after, limit])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let (recording, bytes): (RecordingId, Vec<u8>) = (row.get(0)?, row.get(1)?);
            let wrapped = WrappedKey::from_bytes(&bytes)
                .map_err(|_| CatalogError::DamagedKey { recording })?;
            found.push((recording, wrapped));
        }
        Ok(found)
    }

    /// The recordings whose keys are gone for good: what a backup must not bring back.
    pub fn erased(&self) -> Result<Vec<RecordingId>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_ERASED)?;
        Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
    }

    /// The newest backups, at most `limit`, newest first.
    pub fn backups(&self, limit: u32) -> Result<Vec<BackupRow>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_BACKUPS)?;
        Ok(statement.query_map([limit], backup_of)?.collect::<Result<_, _>>()?)
    }

    /// How many backups made before `moment` are not known to be gone.
    pub fn count_backups_left(&self, moment: Timestamp) -> Result<u64, CatalogError> {
        let mut statement = self.conn.prepare_cached(COUNT_LEFT)?;
        Ok(statement.query_row([moment], |row| unsigned(row, "backups"))?)
    }

    /// The newest backup that is kept, and the newest that was verified and not found damaged
    /// since.
    pub fn last_backups(&self) -> Result<(Option<BackupRow>, Option<BackupRow>), CatalogError> {
        let one = |statement| -> Result<_, CatalogError> {
            Ok(self.conn.prepare_cached(statement)?.query_row([], backup_of).optional()?)
        };
        Ok((one(SELECT_LAST_KEPT)?, one(SELECT_LAST_VERIFIED)?))
    }
}

impl CatalogTx<'_> {
    /// Notes a backup, or what became known of one, and records `entry`. Times that are given
    /// win over those known; facts of a backup that is known stay.
    pub fn put_backup(&self, backup: &BackupRow, entry: &AuditEntry) -> Result<(), CatalogError> {
        self.conn.prepare_cached(UPSERT_BACKUP)?.execute(named_params! {
            ":id": backup.id.as_bytes(),
            ":created_at": backup.created_at,
            ":kept_at": backup.kept_at,
            ":verified_at": backup.verified_at,
            ":damaged_at": backup.damaged_at,
            ":newest_version": backup.newest_version,
            ":sealed": backup.sealed.cast_signed(),
            ":automatic": backup.automatic,
        })?;
        self.append_audit(entry)?;
        Ok(())
    }

    /// Notes that whoever asked for backup `id` has it whole. False if there is no such backup.
    pub fn keep_backup(&self, id: Uuid, at: Timestamp) -> Result<bool, CatalogError> {
        let mut statement = self.conn.prepare_cached(UPDATE_KEPT)?;
        Ok(statement.execute(params![id.as_bytes(), at])? == 1)
    }

    /// Notes that the file of backup `id` is gone. False, and nothing recorded, if there is none
    /// or it was gone before.
    pub fn forget_backup(&self, id: Uuid, entry: &AuditEntry) -> Result<bool, CatalogError> {
        let mut statement = self.conn.prepare_cached(UPDATE_GONE)?;
        let gone = statement.execute(params![id.as_bytes(), entry.at()])? == 1;
        if gone {
            self.append_audit(entry)?;
        }
        Ok(gone)
    }

    /// Notes that the oldest `count` automatic backups are gone.
    pub fn forget_oldest_backups(&self, count: usize, now: Timestamp) -> Result<(), CatalogError> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.conn.prepare_cached(UPDATE_OLDEST_GONE)?.execute(params![count, now])?;
        Ok(())
    }

    /// Puts the new form of a wrapped key in the place of the old one. False if there is another.
    pub fn rewrap_row(
        &self,
        recording: RecordingId,
        old: &WrappedKey,
        new: &WrappedKey,
    ) -> Result<bool, CatalogError> {
        assert_eq!(old.data_key_id(), new.data_key_id(), "a key is never swapped");
        let changed = self.conn.prepare_cached(UPDATE_ROW)?.execute(named_params! {
            ":recording": recording,
            ":old": old.as_bytes(),
            ":version": new.version(),
            ":new": new.as_bytes(),
        })?;
        Ok(changed == 1)
    }

    /// Takes away the key of a recording that was erased after this catalog was backed up, and
    /// leaves it `Erasing`: what is left of it is for the erasure to find and to certify.
    ///
    /// False, and nothing recorded, if it is not known here or erased already.
    pub fn bury(&self, recording: RecordingId, entry: &AuditEntry) -> Result<bool, CatalogError> {
        use {RecordingEvent as E, RecordingState as S};
        assert_eq!(entry.recording(), Some(recording), "the entry tells of another recording");
        let mut state = match self.state(recording) {
            Err(CatalogError::UnknownRecording { .. }) => return Ok(false),
            state => state?,
        };
        if matches!(state, S::Erasing | S::Erased) {
            return Ok(false);
        }
        // What protected it when this catalog was backed up was lifted before it was erased.
        self.set_meta(BURYING, b"1")?;
        while state != S::Erasing {
            let (event, reason) = match state {
                S::Found | S::Settled | S::Sealing => (E::GaveUp, Some("erased-before")),
                S::Sealed => (E::OriginalRemoved, None),
                S::Stored | S::Quarantined | S::Erasing | S::Erased => (E::ErasureStarted, None),
            };
            state = self.step_because(recording, state, event, reason)?;
        }
        self.conn.prepare_cached(DELETE_BURIED)?.execute([recording])?;
        self.conn.prepare_cached(DELETE_BURYING)?.execute([BURYING])?;
        self.append_audit(entry)?;
        Ok(true)
    }
}

/// Destroys the catalog at `path` with its log and the copies beside it: overwritten, synced,
/// removed. What is not there is destroyed already. For catalogs that nobody has open.
///
/// # Errors
///
/// [`CatalogError::File`]; do it again.
pub fn destroy(path: &Path) -> Result<(), CatalogError> {
    sweep_copies(path)?;
    for beside in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(beside);
        destroy_file(Path::new(&name)).map_err(|source| CatalogError::File { source })?;
    }
    Ok(())
}

/// Destroys copies that a killed daemon left beside the catalog at `path`.
pub(super) fn sweep_copies(path: &Path) -> Result<(), CatalogError> {
    let swept = || -> io::Result<()> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        let prefix = copy_prefix(name);
        for entry in fs::read_dir(if folder == Path::new("") { Path::new(".") } else { folder })? {
            let entry = entry?;
            let bytes = entry.file_name().into_encoded_bytes();
            if bytes.starts_with(prefix.as_encoded_bytes()) {
                destroy_file(&entry.path())?;
            }
        }
        Ok(())
    };
    swept().map_err(|source| CatalogError::File { source })
}

/// Copies every page that `source` sees in its open view.
fn copy_pages(source: &Connection, path: &Path) -> Result<(), CatalogError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut copy = Connection::open_with_flags(path, flags).map_err(super::without_path)?;
    // A copy that is not finished is thrown away, so it needs no journal and no sync.
    copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")?;
    migrate::require_current(source)?;
    let backup = Backup::new(source, &mut copy)?;
    for _ in 0..REFUSALS_MAX {
        while backup.step(PAGES_PER_STEP)? == StepResult::More {}
        if backup.progress().remaining == 0 {
            return Ok(());
        }
        // Nobody else has the copy, and our view needs no lock that others hold for long.
        std::thread::yield_now();
    }
    Err(CatalogError::LogInUse)
}

fn copy_path(path: &Path) -> PathBuf {
    let mut name = copy_prefix(path.file_name().unwrap_or_default());
    name.push(Uuid::now_v7().simple().to_string());
    path.with_file_name(name)
}

fn copy_prefix(name: &std::ffi::OsStr) -> OsString {
    let mut prefix = name.to_owned();
    prefix.push(".copy-");
    prefix
}

fn digest_of(file: &mut File) -> io::Result<(u64, [u8; 32])> {
    file.rewind()?;
    let (mut sha256, mut len_bytes) = (Sha256::new(), 0);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => {
                sha256.update(&buffer[..read]);
                len_bytes += read as u64;
            }
        }
    }
    file.rewind()?;
    Ok((len_bytes, sha256.finalize().into()))
}

/// A file that is destroyed when this is dropped.
struct Destroyed(PathBuf);

impl Drop for Destroyed {
    fn drop(&mut self) {
        // What fails here is tried again when the catalog is opened next.
        let _ = destroy_file(&self.0);
    }
}

/// Overwrites the file with noise, syncs it and removes it.
fn destroy_file(path: &Path) -> io::Result<()> {
    let file = match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let (noise, len_bytes) = (Keystream::generate(), file.metadata()?.len());
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut at = 0;
    while at < len_bytes {
        let now = (len_bytes - at).min(BUFFER_BYTES as u64) as usize;
        noise.fill_at(at, &mut buffer[..now]);
        file.write_all_at(&buffer[..now], at)?;
        at += now as u64;
    }
    file.sync_all()?;
    rustix::fs::unlink(path)?;
    Ok(())
}

fn backup_of(row: &Row<'_>) -> rusqlite::Result<BackupRow> {
    Ok(BackupRow {
        id: uuid(row.get_ref("id")?)?,
        created_at: row.get("created_at")?,
        kept_at: row.get("kept_at")?,
        verified_at: row.get("verified_at")?,
        damaged_at: row.get("damaged_at")?,
        newest_version: row.get("newest_version")?,
        sealed: unsigned(row, "sealed")?,
        automatic: row.get("automatic")?,
    })
}

/// The view begins with the first look, not with `BEGIN`.
const BEGIN_VIEW: &str = "BEGIN; SELECT count(*) FROM meta;";
const SELECT_KEYS: &str = "SELECT recording, version, bytes FROM wrapped_key";
const SELECT_ERASED: &str = "SELECT id FROM recording WHERE state IN ('erasing', 'erased')";
const SELECT_ROWS_UNDER: &str = "
    SELECT recording, bytes FROM wrapped_key
    WHERE version = ?1 AND recording > ?2 ORDER BY recording LIMIT ?3";
const UPDATE_ROW: &str = "
    UPDATE wrapped_key SET version = :version, bytes = :new
    WHERE recording = :recording AND bytes = :old";
/// There as long as a burial lasts: the triggers that keep what is protected step aside for it.
const BURYING: &str = "burying";
const DELETE_BURYING: &str = "DELETE FROM meta WHERE name = ?1";
const DELETE_BURIED: &str = "DELETE FROM wrapped_key WHERE recording = ?1";
const SELECT_BACKUPS: &str = "SELECT * FROM backup ORDER BY created_at DESC LIMIT ?1";
const SELECT_LAST_KEPT: &str = "
    SELECT * FROM backup WHERE kept_at IS NOT NULL ORDER BY created_at DESC LIMIT 1";
const SELECT_LAST_VERIFIED: &str = "
    SELECT * FROM backup WHERE verified_at IS NOT NULL
        AND (damaged_at IS NULL OR damaged_at < verified_at)
    ORDER BY created_at DESC LIMIT 1";
const UPSERT_BACKUP: &str = "
    INSERT INTO backup (id, created_at, kept_at, verified_at, damaged_at, newest_version, sealed,
                        automatic)
    VALUES (:id, :created_at, :kept_at, :verified_at, :damaged_at, :newest_version, :sealed,
            :automatic)
    ON CONFLICT (id) DO UPDATE SET
        kept_at = coalesce(excluded.kept_at, kept_at),
        verified_at = coalesce(excluded.verified_at, verified_at),
        damaged_at = coalesce(excluded.damaged_at, damaged_at)";
const COUNT_LEFT: &str =
    "SELECT count(*) AS backups FROM backup WHERE gone_at IS NULL AND created_at < ?1";
const UPDATE_GONE: &str = "UPDATE backup SET gone_at = ?2 WHERE id = ?1 AND gone_at IS NULL";
const UPDATE_OLDEST_GONE: &str = "
    UPDATE backup SET gone_at = ?2 WHERE id IN (
        SELECT id FROM backup WHERE automatic = 1 AND kept_at IS NOT NULL AND gone_at IS NULL
        ORDER BY created_at LIMIT ?1)";
const UPDATE_KEPT: &str = "UPDATE backup SET kept_at = ?2 WHERE id = ?1";
/// Where an SQLite file says whether it has a log, and that it has none.
const NO_LOG_AT: u64 = 18;
const NO_LOG: [u8; 2] = [1, 1];
const REFUSALS_MAX: u32 = 10_000;
const PAGES_PER_STEP: std::ffi::c_int = 1_024;
const BUFFER_BYTES: usize = 1 << 20;
