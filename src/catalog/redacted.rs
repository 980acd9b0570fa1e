//! Recordings that were made from other recordings, with something left out.
//!
//! ```text
//! (nothing) ─add_redacted─▶ Settled ─key recorded─▶ Sealing ─redaction verified─▶ Stored
//!     ▲                        │  ▲                    │
//!     └─────forget_found───────┘  └──attempt abandoned─┘
//! ```
//!
//! No file is expected under their names, so no look at a store takes one for vanished, and no
//! sealer takes one up: an attempt that ended too early is not due again but forgotten.

use rusqlite::named_params;
use rusqlite::params;

use super::CatalogError;
use super::CatalogTx;
use super::ReadTx;
use super::copies::vault_bytes;
use super::recordings::recording_of;
use super::recordings::rows_max;
use super::values::folder_bytes;
use crate::clock::Timestamp;
use crate::domain::Recording;
use crate::domain::RecordingId;
use crate::domain::SealedCopy;
use crate::domain::StorePath;

/// A recording to be made from another one.
#[derive(Clone, Copy, Debug)]
pub struct NewRedacted<'r> {
    /// Its new id.
    pub id: RecordingId,
    /// What it is made from. Store, conversation, times, mode and owner are taken over.
    pub original: &'r Recording,
    /// Under which name it is kept; nothing of the original's.
    pub path: &'r StorePath,
    /// About how long it will be.
    pub size_bytes: u64,
}

impl ReadTx<'_> {
    /// Redactions that a crash interrupted, at most `limit`: nothing of them is of use.
    pub fn interrupted_redactions(&self, limit: usize) -> Result<Vec<Recording>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_INTERRUPTED)?;
        let rows = statement.query_map([rows_max(limit)], recording_of)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What was made from `original`, oldest first, finished or not.
    pub fn redacted_from(&self, original: RecordingId) -> Result<Vec<RecordingId>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_MADE)?;
        let rows = statement.query_map([original], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl CatalogTx<'_> {
    /// Adds a recording that is about to be made. It is settled, and never due for sealing.
    ///
    /// Its time of finding is that of the original: it is as old as what is left of it.
    pub fn add_redacted(&self, new: &NewRedacted<'_>) -> Result<(), CatalogError> {
        let (original, folder) = (new.original, new.path.folder());
        self.conn.prepare_cached(INSERT)?.execute(named_params! {
            ":id": new.id,
            ":original": original.id,
            ":store": original.store,
            ":conversation": original.conversation,
            ":folder": folder_bytes(folder.as_ref()),
            ":name": new.path.expose_name(),
            ":size_bytes": new.size_bytes.cast_signed(),
            ":modified_ns": original.attributes.modified_ns,
            ":accessed_ns": original.attributes.accessed_ns,
            ":mode": original.attributes.mode,
            ":uid": original.attributes.uid,
            ":gid": original.attributes.gid,
            ":found_at": original.found_at,
            ":never": i64::MAX,
        })?;
        Ok(())
    }

    /// Notes how long the sealed file became, and the recording in it.
    ///
    /// # Errors
    ///
    /// [`CatalogError::UnknownRecording`] if there is no such copy of a redacted recording.
    pub fn redaction_written(
        &self,
        recording: RecordingId,
        copy: &SealedCopy,
        now: Timestamp,
    ) -> Result<(), CatalogError> {
        let changed = self.conn.prepare_cached(UPDATE_COPY)?.execute(params![
            vault_bytes(&copy.vault),
            copy.path.expose_bytes(),
            recording,
            copy.sealed_bytes.cast_signed(),
            copy.plain_bytes.cast_signed(),
        ])?;
        let plain_bytes = copy.plain_bytes.cast_signed();
        let sized =
            self.conn.prepare_cached(UPDATE_SIZE)?.execute(params![recording, plain_bytes, now])?;
        if changed == 1 && sized == 1 {
            Ok(())
        } else {
            Err(CatalogError::UnknownRecording { recording })
        }
    }
}

const SELECT_INTERRUPTED: &str = "
    SELECT * FROM recording WHERE redacted_from IS NOT NULL AND state IN ('settled', 'sealing')
    ORDER BY id LIMIT ?1";
const SELECT_MADE: &str = "SELECT id FROM recording WHERE redacted_from = ?1 ORDER BY id";
const INSERT: &str = "
    INSERT INTO recording (id, redacted_from, store, conversation, state, folder, name, device,
        inode, size_bytes, modified_ns, changed_ns, accessed_ns, mode, uid, gid, found_at,
        unchanged_since, due_at)
    VALUES (:id, :original, :store, :conversation, 'settled', :folder, :name, 0,
        0, :size_bytes, :modified_ns, :modified_ns, :accessed_ns, :mode, :uid, :gid, :found_at,
        :found_at, :never)";
const UPDATE_COPY: &str = "
    UPDATE sealed_copy SET sealed_bytes = ?4, plain_bytes = ?5
    WHERE vault = ?1 AND path = ?2 AND recording = ?3";
const UPDATE_SIZE: &str = "
    UPDATE recording SET size_bytes = ?2, unchanged_since = ?3
    WHERE id = ?1 AND redacted_from IS NOT NULL";
