//! Wrapped keys by key version: counted, listed in batches, put back in a new wrapping.
//!
//! ```text
//! wrapped_key_version │ (version, recording) │ …   rows of an older version, in order, by index
//! ```
//!
//! The rows themselves are the list of what is left to do, so a move that is cut off anywhere is
//! gone on with by looking again. The old bytes are what must not survive: they open with the old
//! key version. Each batch therefore leaves a mark, in its own transaction, that says how many
//! rows moved since the files were last scrubbed; it goes when the scrub is done.
//!
//! Rows with version 0 are sealed to a public key. Nothing here ever sees them.

use keymanager::WrappedKey;
use rusqlite::params;

use super::CatalogError;
use super::CatalogTx;
use super::ReadTx;
use super::values::unsigned;
use crate::domain::RecordingId;

/// One wrapped key in its old and its new form.
#[derive(Clone, Copy, Debug)]
pub struct MovedKey {
    /// Whose it is.
    pub recording: RecordingId,
    /// What the row must still hold.
    pub old: WrappedKey,
    /// What it is to hold.
    pub new: WrappedKey,
}

impl ReadTx<'_> {
    /// Rows under `version` behind `after`, in the order of recordings, at most `limit`. `None`
    /// stands for bytes that are no wrapped key of that version.
    pub fn keys_under(
        &self,
        version: u32,
        after: Option<RecordingId>,
        limit: usize,
    ) -> Result<Vec<(RecordingId, Option<WrappedKey>)>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_UNDER)?;
        let after = after.as_ref().map_or(&[][..], |id| id.0.as_bytes().as_slice());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![version, after, limit], |row| {
            let bytes = row.get_ref("bytes")?.as_blob()?;
            let key = WrappedKey::from_bytes(bytes).ok();
            Ok((row.get("recording")?, key.filter(|key| key.version() == version)))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How many rows are under `version`. Costs what there is to count.
    pub fn count_keys_under(&self, version: u32) -> Result<u64, CatalogError> {
        let mut statement = self.conn.prepare_cached(COUNT_UNDER)?;
        Ok(statement.query_row([version], |row| unsigned(row, "data_keys"))?)
    }

    /// The highest version of any row; 0 if there is none.
    pub fn highest_key_version(&self) -> Result<u32, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_HIGHEST)?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }

    /// The versions that wrap anything, rising. A look into the index for each of them.
    pub fn key_versions(&self) -> Result<Vec<u32>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_NEXT)?;
        let mut versions: Vec<u32> = Vec::new();
        loop {
            let above = versions.last().copied().unwrap_or(0);
            match statement.query_row([above], |row| row.get(0))? {
                Some(version) => versions.push(version),
                None => return Ok(versions),
            }
        }
    }

    /// How many rows moved since the files were last scrubbed for it.
    pub fn keys_moved(&self) -> Result<u64, CatalogError> {
        let bytes = self.meta(KEYS_MOVED)?.unwrap_or_default();
        Ok(bytes.try_into().map_or(0, u64::from_be_bytes))
    }
}

impl CatalogTx<'_> {
    /// Puts the new forms in the place of the old ones and marks that the files must be scrubbed.
    /// A row that is gone or holds something else by now is left alone. Returns how many moved.
    pub fn move_keys(&self, keys: &[MovedKey]) -> Result<u64, CatalogError> {
        let mut statement = self.conn.prepare_cached(UPDATE_KEY)?;
        let mut moved = 0;
        for key in keys {
            debug_assert_eq!(
                key.old.data_key_id(),
                key.new.data_key_id(),
                "a key is never swapped"
            );
            // By place: a million lookups of names are half a second.
            let row =
                params![key.new.version(), key.new.as_bytes(), key.recording, key.old.as_bytes()];
            moved += statement.execute(row)? as u64;
        }
        if moved > 0 {
            let sum = self.keys_moved()?.saturating_add(moved);
            self.set_meta(KEYS_MOVED, &sum.to_be_bytes())?;
        }
        Ok(moved)
    }

    /// Takes the mark away: nothing of the old forms is in the files any more.
    pub fn settle_moved_keys(&self) -> Result<(), CatalogError> {
        self.set_meta(KEYS_MOVED, &0_u64.to_be_bytes())
    }
}

const KEYS_MOVED: &str = "keys_moved";
const SELECT_UNDER: &str = "
    SELECT recording, bytes FROM wrapped_key
    WHERE version = ?1 AND recording > ?2 ORDER BY recording LIMIT ?3";
const COUNT_UNDER: &str = "SELECT count(*) AS data_keys FROM wrapped_key WHERE version = ?1";
const SELECT_HIGHEST: &str = "SELECT coalesce(max(version), 0) FROM wrapped_key";
const SELECT_NEXT: &str = "SELECT min(version) FROM wrapped_key WHERE version > ?1";
const UPDATE_KEY: &str = "
    UPDATE wrapped_key SET version = ?1, bytes = ?2 WHERE recording = ?3 AND bytes = ?4";
