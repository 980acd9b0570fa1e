//! Taking out of the files what deleting left there: in the log, and in the gaps of pages.
//!
//! ```text
//! -wal before   │ header │ old frame │ old frame │ old frame │ old frame │
//! checkpoint    everything is in the database file; the next write starts at the front again
//! gaps          unused bytes of the database file are zeroed in place (see `gaps`)
//! filler        │ header │ filler    │ filler    │ filler    │ filler    │ filler …
//! checkpoint    the filler is in the database file, over the filler of the last time
//! ```
//!
//! The log is never shortened or removed, because freed blocks keep their bytes. It is written
//! over in place, by an ordinary transaction that dirties more pages than it has frames. What was
//! deleted from tables is zeroed by `secure_delete` when it is deleted. Together they leave
//! nothing, on a file system that writes in place.
//!
//! If the power goes here: nothing but padding and unused bytes is written; do it again.

use std::fs;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use rusqlite::Connection;
use rusqlite::OpenFlags;
use rusqlite::TransactionBehavior;

use super::Catalog;
use super::CatalogError;
use super::connect;
use super::gaps;
use super::values::unsigned;

/// Proof that the log was written over from end to end, and every gap zeroed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubEvidence {
    /// How long the log was.
    pub log_bytes: u64,
    /// How much of it the filler wrote, counted from its front.
    pub written_bytes: u64,
    /// Bytes of gaps in the database file that were not zero before.
    pub zeroed_bytes: u64,
}

impl Catalog {
    /// Takes everything that deleted and changed rows left behind out of the files. Call it after
    /// each batch of erasures. It reads the whole database file and writes as much as the log
    /// holds, some 4 MiB; writers wait meanwhile.
    ///
    /// # Errors
    ///
    /// [`CatalogError::LogInUse`] if a reader keeps an old view open for more than 5 seconds,
    /// [`CatalogError::ScrubIncomplete`]. After any error the files still hold old values: try
    /// again later, and do not report success.
    pub fn scrub(&self) -> Result<ScrubEvidence, CatalogError> {
        let mut writer = self.writer()?;
        checkpoint(&writer)?;
        let zeroed_bytes = self.zero_gaps_of(&mut writer)?;
        let (log_bytes, written_bytes) = self.write_over_log(&mut writer)?;
        Ok(ScrubEvidence { log_bytes, written_bytes, zeroed_bytes })
    }

    /// Writes all pads in one transaction, and if they did not reach the end of the log, adds
    /// some and does so again. Returns how long the log is and how much was written.
    ///
    /// Pads are added one by one and before: new pages cost more than their own frames, and would
    /// lengthen the log that they are to fill.
    fn write_over_log(&self, writer: &mut Connection) -> Result<(u64, u64), CatalogError> {
        let mut pads = writer.query_row(COUNT_PADS, [], |row| unsigned(row, "pads"))?;
        let mut left_bytes = PAD_BYTES;
        for _ in 0..TRIES_MAX {
            if pads > 0 {
                write_pads(writer, 1..=pads)?;
                let written_bytes = LOG_HEADER_BYTES + checkpoint(writer)? * FRAME_BYTES;
                let log_bytes = self.log_bytes()?;
                left_bytes = log_bytes.saturating_sub(written_bytes);
                if left_bytes == 0 {
                    return Ok((log_bytes, written_bytes));
                }
            }
            for _ in 0..left_bytes.div_ceil(PAD_BYTES) {
                pads += 1;
                write_pads(writer, pads..=pads)?;
                checkpoint(writer)?;
            }
        }
        Err(CatalogError::ScrubIncomplete { left_bytes })
    }

    /// Zeroes the gaps while nobody can write: `writer` holds the write lock, and a second
    /// connection has seen that nothing is left to be copied from the log into the file. Then
    /// starts `writer` anew, because its pages in memory still have their gaps.
    fn zero_gaps_of(&self, writer: &mut Connection) -> Result<u64, CatalogError> {
        let Some(file) = &self.file else { return Err(CatalogError::ReadOnly) };
        let anew = connect(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let tx = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        run_checkpoint(&anew, CHECKPOINT_PASSIVE)?;
        let zeroed_bytes = gaps::zero_gaps(file)?;
        tx.rollback()?;
        *writer = anew;
        Ok(zeroed_bytes)
    }

    fn log_bytes(&self) -> Result<u64, CatalogError> {
        let mut name = self.path.clone().into_os_string();
        name.push("-wal");
        let log = fs::metadata(PathBuf::from(name));
        log.map(|log| log.len()).map_err(|source| CatalogError::File { source })
    }
}

/// Copies the whole log into the database file and makes the next write start at its front.
/// Returns how many frames the log holds.
pub(super) fn checkpoint(writer: &Connection) -> Result<u64, CatalogError> {
    run_checkpoint(writer, CHECKPOINT_RESTART)
}

fn run_checkpoint(connection: &Connection, mode: &str) -> Result<u64, CatalogError> {
    let (busy, frames, copied): (i64, i64, i64) =
        connection.query_row(mode, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    if busy != 0 || frames != copied {
        return Err(CatalogError::LogInUse);
    }
    Ok(u64::try_from(frames).unwrap_or(0))
}

/// Writes `pads` in one transaction. Those that exist keep their length, so SQLite writes each
/// of their pages over where it is, and the same pads always fill the same length of log.
fn write_pads(writer: &mut Connection, pads: RangeInclusive<u64>) -> Result<(), CatalogError> {
    let tx = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for pad in pads {
        tx.execute(UPSERT_PAD, [pad.cast_signed(), PAD_BYTES.cast_signed()])?;
    }
    tx.commit()?;
    Ok(())
}

const PAGE_BYTES: u64 = 4096;
/// A page in the log, with its header.
const FRAME_BYTES: u64 = PAGE_BYTES + 24;
const LOG_HEADER_BYTES: u64 = 32;
/// 256 overflow pages, which begin with a 4-byte number, and some bytes in a leaf.
const PAD_BYTES: u64 = 256 * (PAGE_BYTES - 4);

/// None yet, too few, enough; one more in case a pad lengthened the log.
const TRIES_MAX: u32 = 4;

const CHECKPOINT_RESTART: &str = "PRAGMA wal_checkpoint(RESTART)";
const CHECKPOINT_PASSIVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";
const COUNT_PADS: &str = "SELECT count(*) AS pads FROM scrub";
const UPSERT_PAD: &str = "
    INSERT INTO scrub (k, pad) VALUES (?1, randomblob(?2))
    ON CONFLICT (k) DO UPDATE SET pad = excluded.pad";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Planted fault: the `busy` column not looked at; the log is then not reused, and what it
    /// holds stays although success is reported.
    #[test]
    fn a_log_that_is_being_read_is_not_called_scrubbed() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
        catalog.writer().unwrap().busy_timeout(Duration::ZERO).unwrap();
        catalog
            .read(|tx| {
                tx.counts()?;
                catalog.write(|tx| tx.set_meta("a", b"1"))?;
                assert!(matches!(catalog.scrub(), Err(CatalogError::LogInUse)));
                Ok::<_, CatalogError>(())
            })
            .unwrap();
        assert!(CatalogError::LogInUse.is_transient());
        let evidence = catalog.scrub().unwrap();
        assert!(evidence.written_bytes >= evidence.log_bytes && evidence.log_bytes > 0);
    }

    /// A log longer than the page cache. Planted fault: only the first pad written.
    #[test]
    fn a_long_log_is_written_over_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
        catalog.write(|tx| tx.set_meta("a", &vec![1; 12 << 20])).unwrap();
        let evidence = catalog.scrub().unwrap();
        assert!(evidence.log_bytes > 12 << 20);
        assert!(evidence.written_bytes >= evidence.log_bytes);
        // Planted fault: pads of a new length each time. Each scrub then lengthens the log that
        // the next one has to fill.
        for _ in 0..4 {
            let again = catalog.scrub().unwrap();
            assert_eq!(again.log_bytes, evidence.written_bytes);
            assert_eq!(again.written_bytes, again.log_bytes);
        }
    }
}
