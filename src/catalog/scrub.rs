//! Taking what was deleted out of the log as well.
//!
//! ```text
//! -wal before   │ header │ old frame │ old frame │ old frame │ old frame │
//! checkpoint    everything is in the database file; the next write starts at the front again
//! filler        │ header │ filler    │ filler    │ filler    │ filler    │ filler …
//! checkpoint    the filler is in the database file, over the filler of the last time
//! ```
//!
//! The log is never shortened or removed, because freed blocks keep their bytes. It is written
//! over in place, by an ordinary transaction that dirties more pages than it has frames. What was
//! deleted from tables is zeroed by `secure_delete` when it is deleted. Together they leave
//! nothing, on a file system that writes in place.
//!
//! If the power goes here: nothing but padding is written; do it again.

use std::fs;
use std::path::PathBuf;

use rusqlite::Connection;
use rusqlite::TransactionBehavior;
use rusqlite::params;

use super::Catalog;
use super::CatalogError;

/// Proof that the log was written over from end to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubEvidence {
    /// How long the log was.
    pub log_bytes: u64,
    /// How much of it the filler wrote, counted from its front.
    pub written_bytes: u64,
}

impl Catalog {
    /// Writes over everything that deleted and changed rows left in the log. Call it after each
    /// batch of erasures: it costs as much as writing the log once, some 4 MiB.
    ///
    /// # Errors
    ///
    /// [`CatalogError::LogInUse`] if a reader keeps an old view open for more than 5 seconds,
    /// [`CatalogError::ScrubIncomplete`]; the log then still holds old values: try again later,
    /// and do not report success.
    pub fn scrub(&self) -> Result<ScrubEvidence, CatalogError> {
        let mut writer = self.writer()?;
        checkpoint(&writer)?;
        let log_bytes = self.log_bytes()?;
        write_filler(&mut writer, log_bytes / FRAME_BYTES + SPARE_PAGES)?;
        let written_bytes = LOG_HEADER_BYTES + checkpoint(&writer)? * FRAME_BYTES;
        match log_bytes.saturating_sub(written_bytes) {
            0 => Ok(ScrubEvidence { log_bytes, written_bytes }),
            left_bytes => Err(CatalogError::ScrubIncomplete { left_bytes }),
        }
    }

    fn log_bytes(&self) -> Result<u64, CatalogError> {
        let mut name = self.path.clone().into_os_string();
        name.push("-wal");
        let log = fs::metadata(PathBuf::from(name));
        log.map(|log| log.len()).map_err(|source| CatalogError::Open { source })
    }
}

/// Copies the whole log into the database file and makes the next write start at its front.
/// Returns how many frames the log holds.
pub(super) fn checkpoint(writer: &Connection) -> Result<u64, CatalogError> {
    let (busy, frames, copied): (i64, i64, i64) =
        writer.query_row(CHECKPOINT, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    if busy != 0 || frames != copied {
        return Err(CatalogError::LogInUse);
    }
    Ok(u64::try_from(frames).unwrap_or(0))
}

/// One transaction that writes at least `pages` pages, in rows that are always the same, so that
/// the file does not grow from it again and again.
fn write_filler(writer: &mut Connection, pages: u64) -> Result<(), CatalogError> {
    let tx = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut left_bytes = pages * PAGE_BYTES;
    for row in 1_i64.. {
        let pad = left_bytes.min(PAD_BYTES_MAX);
        tx.execute(UPSERT_PAD, params![row, pad.cast_signed()])?;
        left_bytes -= pad;
        if left_bytes == 0 {
            break;
        }
    }
    tx.commit()?;
    Ok(())
}

const PAGE_BYTES: u64 = 4096;
/// A page in the log, with its header.
const FRAME_BYTES: u64 = PAGE_BYTES + 24;
const LOG_HEADER_BYTES: u64 = 32;
const SPARE_PAGES: u64 = 8;
/// A value is built in memory, so a long log is filled by several.
const PAD_BYTES_MAX: u64 = 8 << 20;

const CHECKPOINT: &str = "PRAGMA wal_checkpoint(RESTART)";
const UPSERT_PAD: &str = "
    INSERT INTO scrub (k, pad) VALUES (?1, randomblob(?2))
    ON CONFLICT (k) DO UPDATE SET pad = excluded.pad";
