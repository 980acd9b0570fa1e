//! Recordings that are owed to an erasure, each with the step it is at.
//!
//! A step only ever goes forward; the database refuses the way back.

use super::CatalogError;
use super::CatalogTx;
use super::ReadTx;
use super::recordings::rows_max;
use super::values::unsigned;
use crate::clock::Timestamp;
use crate::compliance::audit::AuditEntry;
use crate::compliance::erasure::DestroyedKey;
use crate::compliance::erasure::ErasureItem;
use crate::compliance::erasure::ItemStep;
use crate::compliance::hold::HoldClearance;
use crate::domain::DataKeyId;
use crate::domain::JobId;
use crate::domain::RecordingId;
use crate::domain::lifecycle::RecordingEvent;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::named_params;
use rusqlite::params;
use uuid::Uuid;

/// Which items of a job to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemFilter {
    /// All.
    All,
    /// Waiting because something protects them.
    Blocked,
    /// Put off after a failure.
    Failing,
}

impl ReadTx<'_> {
    /// The obligation of one recording, met or not.
    pub fn erasure_item(&self, id: RecordingId) -> Result<Option<ErasureItem>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_ITEM)?;
        Ok(statement.query_row([id], item_of).optional()?)
    }

    /// At most `limit` items of `job` behind `after`, in the order of recordings.
    pub fn erasure_items(
        &self,
        job: JobId,
        filter: ItemFilter,
        after: Option<RecordingId>,
        limit: usize,
    ) -> Result<Vec<ErasureItem>, CatalogError> {
        let sql = match filter {
            ItemFilter::All => SELECT_ITEMS,
            ItemFilter::Blocked => SELECT_ITEMS_BLOCKED,
            ItemFilter::Failing => SELECT_ITEMS_FAILING,
        };
        let after = after.as_ref().map_or(&[][..], |id| id.0.as_bytes().as_slice());
        let mut statement = self.conn.prepare_cached(sql)?;
        let rows = statement.query_map(params![job, after, rows_max(limit)], item_of)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What can be worked on now: what was begun in a job that was taken back first, then the
    /// items of running jobs, oldest job first. Nothing that is blocked, paused, not approved, or
    /// waits to be certified.
    pub fn erasures_due(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<ErasureItem>, CatalogError> {
        let mut due = Vec::new();
        for sql in [SELECT_DUE_WINDING_UP, SELECT_DUE] {
            let left = rows_max(limit.saturating_sub(due.len()));
            let mut statement = self.conn.prepare_cached(sql)?;
            for item in statement.query_map(params![now, left], item_of)? {
                due.push(item?);
            }
        }
        Ok(due)
    }

    /// At most `limit` items whose files are gone, and how many there are in all: what is to be
    /// scrubbed and certified. Paused jobs are among them: nothing is left to be paused. Nothing
    /// that was put off.
    pub fn erasures_to_certify(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<(Vec<ErasureItem>, u64), CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_UNLINKED)?;
        let items = statement.query_map(params![now, rows_max(limit)], item_of)?;
        let items = items.collect::<Result<_, _>>()?;
        let mut statement = self.conn.prepare_cached(COUNT_UNLINKED)?;
        Ok((items, statement.query_row([now], |row| unsigned(row, "unlinked"))?))
    }

    /// True if `recording` is planned, and neither blocked nor put off nor of a job that is not
    /// running.
    pub fn may_begin_erasure(
        &self,
        recording: RecordingId,
        now: Timestamp,
    ) -> Result<bool, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_MAY_BEGIN)?;
        Ok(statement.query_row(params![recording, now], |row| row.get(0))?)
    }

    /// When the first item that was put off and may be worked on falls due, if there is one.
    pub fn next_erasure_due(&self) -> Result<Option<Timestamp>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_NEXT_DUE)?;
        Ok(statement.query_row([], |row| row.get(0)).optional()?)
    }

    /// Items that wait because something protects them, behind `after`, at most `limit`.
    pub fn blocked_erasures(
        &self,
        after: Option<RecordingId>,
        limit: usize,
    ) -> Result<Vec<ErasureItem>, CatalogError> {
        let after = after.as_ref().map_or(&[][..], |id| id.0.as_bytes().as_slice());
        let mut statement = self.conn.prepare_cached(SELECT_BLOCKED)?;
        let rows = statement.query_map(params![after, rows_max(limit)], item_of)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Recordings that are being erased without an obligation: a restored backup left them so.
    pub fn erasing_unowed(&self, limit: usize) -> Result<Vec<RecordingId>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_UNOWED)?;
        let rows = statement.query_map([rows_max(limit)], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl CatalogTx<'_> {
    /// Marks `recording` for erasure. False, and nothing changed, if it is owed or erased already.
    pub fn add_erasure_item(
        &self,
        recording: RecordingId,
        job: JobId,
        bytes: u64,
        blocked_by: Option<&'static str>,
        now: Timestamp,
    ) -> Result<bool, CatalogError> {
        let added = self.conn.prepare_cached(INSERT_ITEM)?.execute(named_params! {
            ":recording": recording,
            ":job": job,
            ":bytes": bytes.min(BYTES_MAX).cast_signed(),
            ":blocked_by": blocked_by,
            ":now": now,
        })?;
        Ok(added == 1)
    }

    /// Owes a recording whose key is gone already, as a restored backup leaves it. Any key version
    /// up to `highest_version` may have wrapped that key.
    pub fn adopt_erasing(
        &self,
        recording: RecordingId,
        job: JobId,
        highest_version: u32,
        now: Timestamp,
    ) -> Result<(), CatalogError> {
        let mut statement = self.conn.prepare_cached(INSERT_ADOPTED)?;
        statement.execute(params![recording, job, now, highest_version])?;
        Ok(())
    }

    /// Takes the items of `job` back that were not begun; how many.
    pub fn forget_planned_items(&self, job: JobId) -> Result<u64, CatalogError> {
        Ok(self.conn.prepare_cached(DELETE_PLANNED)?.execute([job])? as u64)
    }

    /// The step over the point of no return, but for the key itself: the recording is `Erasing`
    /// and its item begun. Destroy the key in the same transaction.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Illegal`] if the recording is not at rest; the database refuses if
    /// something protects it after all.
    pub fn begin_erasure(
        &self,
        clearance: &HoldClearance,
        key: Option<&DestroyedKey>,
        entry: &AuditEntry,
    ) -> Result<(), CatalogError> {
        let recording = clearance.recording();
        self.advance(recording, RecordingEvent::ErasureStarted, entry)?;
        let begun = self.conn.prepare_cached(BEGIN_ITEM)?.execute(named_params! {
            ":recording": recording,
            ":at": clearance.checked_at(),
            ":data_key": key.and_then(|key| key.id.map(|id| id.0.into_bytes())),
            ":version": key.map(|key| key.version),
            ":seal_key": key.and_then(|key| key.seal_key),
        })?;
        if begun == 1 { Ok(()) } else { Err(CatalogError::NotOwed { recording }) }
    }

    /// Notes that the erasure of `recording` got as far as `step`. Its failures are forgotten.
    pub fn move_erasure_item(
        &self,
        recording: RecordingId,
        step: ItemStep,
        now: Timestamp,
    ) -> Result<(), CatalogError> {
        let ended = (step == ItemStep::Done).then_some(now);
        let mut statement = self.conn.prepare_cached(UPDATE_ITEM)?;
        let moved = statement.execute(params![recording, step, ended])?;
        if moved == 1 { Ok(()) } else { Err(CatalogError::NotOwed { recording }) }
    }

    /// Puts the next try off until `due_at`, because of `problem`, a code. Returns how often that
    /// was done in a row.
    pub fn postpone_erasure(
        &self,
        recording: RecordingId,
        due_at: Timestamp,
        problem: &str,
    ) -> Result<u32, CatalogError> {
        let mut statement = self.conn.prepare_cached(POSTPONE)?;
        let failures = statement
            .query_row(params![recording, due_at, problem], |row| row.get(0))
            .optional()?;
        failures.ok_or(CatalogError::NotOwed { recording })
    }

    /// Puts a planned item off until `due_at` because its recording is not at rest yet: no failure.
    pub fn defer_erasure(
        &self,
        recording: RecordingId,
        due_at: Timestamp,
    ) -> Result<(), CatalogError> {
        self.conn.prepare_cached(DEFER)?.execute(params![recording, due_at])?;
        Ok(())
    }

    /// Notes what kind of protection a planned item waits for; `None` lets it go on.
    pub fn block_erasure(
        &self,
        recording: RecordingId,
        by: Option<&'static str>,
    ) -> Result<(), CatalogError> {
        self.conn.prepare_cached(BLOCK_ITEM)?.execute(params![recording, by])?;
        Ok(())
    }
}

fn item_of(row: &Row<'_>) -> rusqlite::Result<ErasureItem> {
    let version: Option<u32> = row.get("key_version")?;
    let key = match version {
        None => None,
        Some(version) => Some(DestroyedKey {
            id: row.get::<_, Option<[u8; 16]>>("data_key")?.map(Uuid::from_bytes).map(DataKeyId),
            version,
            seal_key: row.get("seal_key")?,
        }),
    };
    Ok(ErasureItem {
        key,
        recording: row.get("recording")?,
        job: row.get("job")?,
        step: row.get("step")?,
        bytes: unsigned(row, "bytes")?,
        planned_at: row.get("planned_at")?,
        due_at: row.get("due_at")?,
        failures: row.get("failures")?,
        problem: row.get("problem")?,
        blocked_by: row.get("blocked_by")?,
        cleared_at: row.get("cleared_at")?,
        ended_at: row.get("ended_at")?,
    })
}

/// As large as the database takes it: a sum of many must not overflow.
const BYTES_MAX: u64 = 1 << 50;
const SELECT_ITEM: &str = "SELECT * FROM erasure_item WHERE recording = ?1";
const SELECT_ITEMS: &str = "
    SELECT * FROM erasure_item WHERE job = ?1 AND recording > ?2 ORDER BY recording LIMIT ?3";
const SELECT_ITEMS_BLOCKED: &str = "
    SELECT * FROM erasure_item WHERE job = ?1 AND blocked_by IS NOT NULL AND recording > ?2
    ORDER BY recording LIMIT ?3";
const SELECT_ITEMS_FAILING: &str = "
    SELECT * FROM erasure_item
    WHERE job = ?1 AND problem IS NOT NULL AND step != 'done' AND recording > ?2
    ORDER BY recording LIMIT ?3";
const SELECT_DUE: &str = "
    SELECT i.* FROM erasure_job j INDEXED BY erasure_job_open
    CROSS JOIN erasure_item i INDEXED BY erasure_item_due ON i.job = j.id
    WHERE j.state IN ('awaiting_approval', 'running', 'paused') AND j.state = 'running'
        AND i.step NOT IN ('unlinked', 'done') AND i.step != 'done' AND i.blocked_by IS NULL
        AND i.due_at <= ?1
    ORDER BY j.id, i.due_at LIMIT ?2";
const SELECT_DUE_WINDING_UP: &str = "
    SELECT i.* FROM erasure_job j INDEXED BY erasure_job_winding_up
    CROSS JOIN erasure_item i INDEXED BY erasure_item_due ON i.job = j.id
    WHERE j.state = 'cancelled' AND j.begun_items > 0
        AND i.step NOT IN ('unlinked', 'done') AND i.step != 'done' AND i.blocked_by IS NULL
        AND i.due_at <= ?1
    ORDER BY j.id, i.due_at LIMIT ?2";
const SELECT_UNLINKED: &str = "SELECT * FROM erasure_item WHERE step = 'unlinked' AND due_at <= ?1 ORDER BY recording LIMIT ?2";
const COUNT_UNLINKED: &str =
    "SELECT count(*) AS unlinked FROM erasure_item WHERE step = 'unlinked' AND due_at <= ?1";
const SELECT_MAY_BEGIN: &str = "
    SELECT EXISTS (SELECT 1 FROM erasure_item i JOIN erasure_job j ON j.id = i.job
        WHERE i.recording = ?1 AND i.step = 'planned' AND i.blocked_by IS NULL
            AND i.due_at <= ?2 AND j.state = 'running')";
const SELECT_NEXT_DUE: &str = "
    SELECT i.due_at FROM erasure_item i INDEXED BY erasure_item_put_off
    CROSS JOIN erasure_job j ON j.id = i.job
    WHERE i.problem IS NOT NULL AND i.step != 'done' AND i.blocked_by IS NULL
        AND (i.step = 'unlinked' OR j.state IN ('running', 'cancelled'))
    ORDER BY i.due_at LIMIT 1";
const SELECT_BLOCKED: &str = "
    SELECT * FROM erasure_item WHERE blocked_by IS NOT NULL AND recording > ?1
    ORDER BY recording LIMIT ?2";
const SELECT_UNOWED: &str = "
    SELECT id FROM recording r WHERE state = 'erasing' AND planned = 0
        AND NOT EXISTS (SELECT 1 FROM erasure_item WHERE recording = r.id) LIMIT ?1";
const INSERT_ITEM: &str = "
    INSERT INTO erasure_item (recording, job, step, bytes, planned_at, blocked_by)
    VALUES (:recording, :job, 'planned', :bytes, :now, :blocked_by)
    ON CONFLICT (recording) DO NOTHING";
const INSERT_ADOPTED: &str = "
    INSERT INTO erasure_item (recording, job, step, bytes, planned_at, cleared_at, key_version)
    VALUES (?1, ?2, 'key_destroyed',
        coalesce((SELECT min(sum(sealed_bytes), 1 << 50) FROM sealed_copy WHERE recording = ?1), 0),
        ?3, ?3, ?4)
    ON CONFLICT (recording) DO NOTHING";
const DELETE_PLANNED: &str = "DELETE FROM erasure_item WHERE job = ?1 AND step = 'planned'";
const BEGIN_ITEM: &str = "
    UPDATE erasure_item SET step = 'key_destroyed', cleared_at = :at, due_at = 0, failures = 0,
        problem = NULL, blocked_by = NULL, data_key = :data_key, key_version = :version,
        seal_key = :seal_key
    WHERE recording = :recording AND step = 'planned'";
const UPDATE_ITEM: &str = "
    UPDATE erasure_item SET step = ?2, ended_at = ?3, due_at = 0, failures = 0, problem = NULL
    WHERE recording = ?1 AND step NOT IN ('planned', 'done')";
const POSTPONE: &str = "
    UPDATE erasure_item SET due_at = ?2, failures = failures + 1, problem = ?3
    WHERE recording = ?1 AND step != 'done' RETURNING failures";
const DEFER: &str = "UPDATE erasure_item SET due_at = ?2 WHERE recording = ?1 AND step = 'planned'";
const BLOCK_ITEM: &str = "
    UPDATE erasure_item SET blocked_by = ?2, due_at = 0, failures = 0, problem = NULL
    WHERE recording = ?1 AND step = 'planned' AND blocked_by IS NOT ?2";
