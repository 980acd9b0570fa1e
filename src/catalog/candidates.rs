//! Recordings as an erasure looks at them before it is decided.

use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;

use super::CatalogError;
use super::ReadTx;
use super::recordings::recording_of;
use super::recordings::rows_max;
use super::values::folder_bytes;
use super::values::unsigned;
use crate::compliance::erasure::ItemStep;
use crate::domain::ConversationId;
use crate::domain::Recording;
use crate::domain::RecordingId;
use crate::domain::StoreId;
use crate::domain::StorePath;

/// A recording that may be chosen.
#[derive(Clone, Debug)]
pub struct ErasureCandidate {
    /// The recording.
    pub recording: Recording,
    /// Bytes of its sealed files.
    pub sealed_bytes: u64,
    /// Its obligation, if there is one.
    pub owed: Option<ItemStep>,
}

impl ReadTx<'_> {
    /// One recording.
    pub fn erasure_candidate(
        &self,
        id: RecordingId,
    ) -> Result<Option<ErasureCandidate>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_ONE)?;
        Ok(statement.query_row([id], candidate_of).optional()?)
    }

    /// Every recording of `conversation`.
    pub fn candidates_of_conversation(
        &self,
        conversation: ConversationId,
    ) -> Result<Vec<ErasureCandidate>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_OF_CONVERSATION)?;
        Ok(statement.query_map([conversation], candidate_of)?.collect::<Result<_, _>>()?)
    }

    /// Every recording whose original was found at `path`, erased ones aside: a recorder may use
    /// a name again.
    pub fn candidates_at(
        &self,
        store: StoreId,
        path: &StorePath,
    ) -> Result<Vec<ErasureCandidate>, CatalogError> {
        let folder = path.folder();
        let mut statement = self.conn.prepare_cached(SELECT_AT)?;
        let key = params![store, folder_bytes(folder.as_ref()), path.expose_name()];
        Ok(statement.query_map(key, candidate_of)?.collect::<Result<_, _>>()?)
    }

    /// At most `limit` recordings behind `after` that are neither owed nor erased, in the order
    /// of their ids.
    pub fn candidates(
        &self,
        after: Option<RecordingId>,
        limit: usize,
    ) -> Result<Vec<ErasureCandidate>, CatalogError> {
        let after = after.as_ref().map_or(&[][..], |id| id.0.as_bytes().as_slice());
        let mut statement = self.conn.prepare_cached(SELECT_PAGE)?;
        let rows = statement.query_map(params![after, rows_max(limit)], candidate_of)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn candidate_of(row: &Row<'_>) -> rusqlite::Result<ErasureCandidate> {
    Ok(ErasureCandidate {
        recording: recording_of(row)?,
        sealed_bytes: unsigned(row, "sealed_bytes_sum")?,
        owed: row.get("owed")?,
    })
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT r.*,
                (SELECT coalesce(sum(sealed_bytes), 0) FROM sealed_copy WHERE recording = r.id)
                    AS sealed_bytes_sum,
                (SELECT step FROM erasure_item WHERE recording = r.id) AS owed
            FROM recording r ",
            $rest
        )
    };
}

const SELECT_ONE: &str = select!("WHERE id = ?1");
const SELECT_OF_CONVERSATION: &str = select!("WHERE conversation = ?1 ORDER BY id");
const SELECT_AT: &str = select!(
    "INDEXED BY recording_named WHERE store = ?1 AND folder = ?2 AND name = ?3
        AND state NOT IN ('erasing', 'erased') ORDER BY id"
);
const SELECT_PAGE: &str = select!(
    "WHERE id > ?1 AND planned = 0 AND state NOT IN ('erasing', 'erased') ORDER BY id LIMIT ?2"
);
