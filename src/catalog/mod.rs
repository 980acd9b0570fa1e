//! The catalog: what is known about every recording, in one SQLite file.
//!
//! ```text
//!   read(|tx|)  ── many ──▶  pool of read-only connections ─┐
//!                                                          ├─▶ catalog.db, -wal, -shm
//!   write(|tx|) ── one ───▶  the writer, behind a mutex ────┘
//! ```
//!
//! All SQL of the program is under this folder, in constants below the methods that use them, and
//! the methods are named after what the domain does. The flow decides what belongs together: it
//! makes one transaction of it, the audit entry included, and everything in it happens or nothing.
//!
//! If the power goes here: a transaction is on the disk when [`Catalog::write`] returns, and not
//! at all before, so the row of a wrapped key is durable before the first byte is sealed with it.
//!
//! # Invariants
//!
//! - What is deleted is zeroed. Each connection has `secure_delete` on from its first statement,
//!   the log file is never shortened or removed, and [`Catalog::scrub`] writes over what it and
//!   the unused parts of pages still hold. `ANALYZE` is never run: its samples are copies nobody would erase.
//! - A state is only ever changed by [`CatalogTx::advance`] and its named neighbours, which ask
//!   the life cycle first. Triggers repeat the rules that must never break.
//! - No `rusqlite` type leaves this module except as the source of an error.

mod answers;
mod audit;
mod backup;
mod candidates;
mod certificates;
mod copies;
mod discovery;
mod doomed;
mod erasures;
mod error;
mod gaps;
mod holds;
mod keys;
mod lives;
mod look;
mod meta;
mod migrate;
mod owed;
mod recordings;
mod redacted;
mod retention;
mod rewrap;
mod scrub;
mod seal_keys;
mod sidecars;
mod stores;
mod tokens;
mod values;
mod xattrs;

use std::fmt;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use rusqlite::Connection;
use rusqlite::FileControl;
use rusqlite::MAIN_DB;
use rusqlite::OpenFlags;
use rusqlite::TransactionBehavior;

pub use answers::AnswerRow;
pub use audit::AuditFilter;
pub use backup::{BackupRow, CatalogCopy, CopyFacts, destroy};
pub use candidates::ErasureCandidate;
pub use certificates::CertificateRow;
pub use discovery::{Known, KnownSidecar, NewRecording};
pub use error::CatalogError;
pub use owed::ItemFilter;
pub use recordings::{Counts, MediaState, RecordingFilter, Tally};
pub use redacted::NewRedacted;
pub use rewrap::MovedKey;
pub use scrub::ScrubEvidence;
pub use sidecars::{NewSidecar, Sidecar, SidecarState};
pub use stores::{StoreLayout, StoreRow};
pub use tokens::TokenRow;

/// The catalog of one state folder. Share it by reference; every method may block on the disk.
pub struct Catalog {
    path: PathBuf,
    writer: Option<Mutex<Connection>>,
    readers: Mutex<Vec<Connection>>,
    /// For `gaps` only. Never closed before the connections: closing any descriptor of a file
    /// gives up all POSIX locks that this process holds on it, SQLite's too.
    file: Option<File>,
}

impl Catalog {
    /// Opens the catalog at `path`, made with mode 0600 if there is none, and brings its schema up
    /// to date.
    ///
    /// # Errors
    ///
    /// [`CatalogError::NewerSchema`] if a later version of this program wrote it. The file is then
    /// as it was.
    pub fn open(path: &Path) -> Result<Self, CatalogError> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| CatalogError::File { source })?;
        backup::sweep_copies(path)?;
        let mut writer = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        prepare_file(&writer)?;
        migrate::migrate(&mut writer)?;
        let (writer, readers) = (Some(writer.into()), Mutex::default());
        Ok(Self { path: path.into(), writer, readers, file: Some(file) })
    }

    /// Opens an existing catalog for looking only, also beside a running daemon.
    ///
    /// # Errors
    ///
    /// [`CatalogError::NewerSchema`] and [`CatalogError::OlderSchema`]: nothing is migrated here.
    pub fn open_read_only(path: &Path) -> Result<Self, CatalogError> {
        let reader = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        migrate::require_current(&reader)?;
        let readers = Mutex::new(vec![reader]);
        Ok(Self { path: path.into(), writer: None, readers, file: None })
    }

    /// Runs `work` on one unchanging view of the catalog. Never waits for a writer.
    ///
    /// # Errors
    ///
    /// Those of `work`, and [`CatalogError`] if no view can be had.
    pub fn read<T, E: From<CatalogError>>(
        &self,
        work: impl FnOnce(&ReadTx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let idle = locked(&self.readers).pop();
        let mut reader = match idle {
            Some(reader) => reader,
            None => connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        };
        let tx = reader.transaction().map_err(CatalogError::from)?;
        let result = work(&ReadTx { conn: &tx });
        drop(tx);
        let mut readers = locked(&self.readers);
        if readers.len() < IDLE_READERS_MAX {
            readers.push(reader);
        }
        result
    }

    /// Runs `work` as the only writer and makes all of it durable, or, if it returns an error,
    /// none of it. Costs one sync of the log, so put a batch into one call.
    ///
    /// # Errors
    ///
    /// Those of `work`, and [`CatalogError`]; nothing was changed then.
    pub fn write<T, E: From<CatalogError>>(
        &self,
        work: impl FnOnce(&CatalogTx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut writer = self.writer()?;
        let tx = writer
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(CatalogError::from)?;
        let value = work(&CatalogTx { read: ReadTx { conn: &tx } })?;
        tx.commit().map_err(CatalogError::from)?;
        Ok(value)
    }

    /// Copies the log into the database file and closes. Not needed for safety: a catalog that
    /// was killed opens as well.
    ///
    /// # Errors
    ///
    /// What closing said; everything written is safe all the same.
    pub fn close(self) -> Result<(), CatalogError> {
        let Self { path: _, writer, readers, file } = self;
        drop(readers);
        let Some(writer) = writer else { return Ok(()) };
        let writer = writer.into_inner().unwrap_or_else(PoisonError::into_inner);
        scrub::checkpoint(&writer)?;
        let closed = writer.close().map_err(|(_, source)| source.into());
        drop(file);
        closed
    }

    /// The one writer. A panic in an earlier transaction rolled it back, so its poison is no harm.
    fn writer(&self) -> Result<MutexGuard<'_, Connection>, CatalogError> {
        self.writer.as_ref().map(locked).ok_or(CatalogError::ReadOnly)
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Catalog(..)")
    }
}

/// One unchanging view of the catalog.
pub struct ReadTx<'c> {
    conn: &'c Connection,
}

impl fmt::Debug for ReadTx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadTx(..)")
    }
}

/// One change of the catalog, all or nothing. Everything a [`ReadTx`] sees, it sees too.
#[derive(Debug)]
pub struct CatalogTx<'c> {
    read: ReadTx<'c>,
}

impl<'c> Deref for CatalogTx<'c> {
    type Target = ReadTx<'c>;
    fn deref(&self) -> &Self::Target {
        &self.read
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The one connection factory: a connection without these settings could leave deleted values in
/// the file, and one is enough.
fn connect(path: &Path, access: OpenFlags) -> Result<Connection, CatalogError> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(without_path)?;
    connection.execute_batch(SETTINGS).map_err(without_path)?;
    // Closing must not unlink the log: its blocks would go back to the file system unscrubbed.
    let mut keep = 1;
    connection.file_control(Some(MAIN_DB), FileControl::PersistWal(&mut keep))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    Ok(connection)
}

/// What belongs to the file and not to a connection. Refuses a file system on which SQLite cannot
/// keep its log, because everything said above about durability and deletion depends on it.
fn prepare_file(writer: &Connection) -> Result<(), CatalogError> {
    writer.execute_batch("PRAGMA page_size = 4096;")?;
    let mode: String = writer.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode == "wal" { Ok(()) } else { Err(CatalogError::NoLog) }
}

/// SQLite's text for a file that cannot be opened names it; the code says enough.
fn without_path(error: rusqlite::Error) -> CatalogError {
    let kind = match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::CannotOpen) => io::ErrorKind::NotFound,
        Some(rusqlite::ErrorCode::PermissionDenied) => io::ErrorKind::PermissionDenied,
        _ => match error {
            rusqlite::Error::SqliteFailure(code, _) => {
                return rusqlite::Error::SqliteFailure(code, None).into();
            }
            other => return other.into(),
        },
    };
    CatalogError::File { source: kind.into() }
}

const SETTINGS: &str = "
    PRAGMA synchronous = FULL;
    PRAGMA secure_delete = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA journal_size_limit = -1;
    PRAGMA foreign_keys = ON;
    PRAGMA recursive_triggers = ON;
    PRAGMA trusted_schema = OFF;
    PRAGMA mmap_size = 0;
    PRAGMA cache_size = -8192;
    PRAGMA busy_timeout = 5000;
";
const IDLE_READERS_MAX: usize = 4;
const STATEMENTS_KEPT: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    /// Every connection, reader or writer, first or later. Planted fault: one line of the settings
    /// left out.
    #[test]
    fn every_connection_is_set_up_alike() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.db");
        let catalog = Catalog::open(&path).unwrap();
        catalog.scrub().unwrap(); // starts a new writer
        let check = |connection: &Connection, who: &str| {
            for (pragma, expected) in [
                ("journal_mode", "wal"),
                ("synchronous", "2"),
                ("secure_delete", "1"),
                ("temp_store", "2"),
                ("journal_size_limit", "-1"),
                ("foreign_keys", "1"),
                ("recursive_triggers", "1"),
                ("trusted_schema", "0"),
                ("mmap_size", "0"),
                ("cache_size", "-8192"),
                ("busy_timeout", "5000"),
                ("page_size", "4096"),
                ("auto_vacuum", "0"),
            ] {
                let value = connection
                    .pragma_query_value(None, pragma, |row| {
                        let value: rusqlite::types::Value = row.get(0)?;
                        Ok(match value {
                            rusqlite::types::Value::Integer(number) => number.to_string(),
                            rusqlite::types::Value::Text(text) => text,
                            other => format!("{other:?}"),
                        })
                    })
                    .unwrap();
                assert_eq!(value, expected, "{pragma} of {who}");
            }
            let mut keep = -1;
            connection.file_control(Some(MAIN_DB), FileControl::PersistWal(&mut keep)).unwrap();
            assert_eq!(keep, 1, "the log of {who} is kept");
        };
        check(&catalog.writer().unwrap(), "the writer");
        catalog
            .read(|tx| {
                check(tx.conn, "the first reader");
                catalog.read(|tx| {
                    check(tx.conn, "the second reader");
                    Ok::<_, CatalogError>(())
                })
            })
            .unwrap();
        let offline = Catalog::open_read_only(&path).unwrap();
        offline
            .read(|tx| {
                check(tx.conn, "a looker");
                Ok::<_, CatalogError>(())
            })
            .unwrap();
    }
}
