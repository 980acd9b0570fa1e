//! Erasures that somebody asked for: jobs, and how far they are.
//!
//! Counts are kept by triggers as items change, so a status page costs the same at any length of
//! the queue. The items are in `owed`.

use super::CatalogError;
use super::CatalogTx;
use super::ReadTx;
use super::recordings::rows_max;
use super::values::unsigned;
use crate::clock::Timestamp;
use crate::compliance::audit::AuditEntry;
use crate::compliance::erasure::ErasureJob;
use crate::compliance::erasure::JobProgress;
use crate::compliance::erasure::JobState;
use crate::domain::JobId;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::named_params;
use rusqlite::params;

impl ReadTx<'_> {
    /// One job.
    pub fn erasure_job(&self, job: JobId) -> Result<Option<ErasureJob>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_JOB)?;
        Ok(statement.query_row([job], job_of).optional()?)
    }

    /// At most `limit` jobs older than `before`, newest first.
    pub fn erasure_jobs(
        &self,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<ErasureJob>, CatalogError> {
        let before = before.map_or([0xff; 16], |job| *job.0.as_bytes());
        let mut statement = self.conn.prepare_cached(SELECT_JOBS)?;
        let rows = statement.query_map(params![before.as_slice(), rows_max(limit)], job_of)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Jobs that are not at their end, oldest first, at most `limit`.
    pub fn open_erasure_jobs(&self, limit: usize) -> Result<Vec<ErasureJob>, CatalogError> {
        let mut jobs = Vec::new();
        for state in [JobState::AwaitingApproval, JobState::Running, JobState::Paused] {
            let mut statement = self.conn.prepare_cached(SELECT_JOBS_IN)?;
            let rows = statement.query_map(params![state, rows_max(limit)], job_of)?;
            for job in rows {
                jobs.push(job?);
            }
        }
        jobs.sort_by_key(|job| job.id);
        jobs.truncate(limit);
        Ok(jobs)
    }

    /// What all jobs owe together that are open, or were taken back and still finish what they
    /// began, and since when the oldest obligation waits.
    pub fn erasure_totals(&self) -> Result<(JobProgress, Option<Timestamp>), CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_TOTALS)?;
        let progress = statement.query_row([], progress_of)?;
        let oldest = self.conn.prepare_cached(SELECT_OLDEST)?.query_row([], |row| row.get(0))?;
        Ok((progress, oldest))
    }

    /// How many jobs are in `state`, one of those that are not at their end.
    pub fn count_erasure_jobs(&self, state: JobState) -> Result<u64, CatalogError> {
        let mut statement = self.conn.prepare_cached(COUNT_JOBS_IN)?;
        Ok(statement.query_row([state], |row| unsigned(row, "jobs"))?)
    }

    /// True if [`CatalogTx::finish_erasure_jobs`] would close one.
    pub fn has_ended_erasure_jobs(&self) -> Result<bool, CatalogError> {
        Ok(self.conn.prepare_cached(SELECT_ENDED)?.query_row([], |row| row.get(0))?)
    }
}

impl CatalogTx<'_> {
    /// Adds a job without items and records who asked for it.
    pub fn add_erasure_job(
        &self,
        job: &ErasureJob,
        entry: &AuditEntry,
    ) -> Result<(), CatalogError> {
        self.conn.prepare_cached(INSERT_JOB)?.execute(named_params! {
            ":id": job.id,
            ":created_at": job.created_at,
            ":requested_by": job.requested_by,
            ":selection": job.selection,
            ":reason": job.reason,
            ":state": job.state,
        })?;
        self.append_audit(entry)?;
        Ok(())
    }

    /// Moves a job from one of `from` to `to` and records `entry`. False, and nothing recorded, if
    /// it is in another state.
    pub fn move_erasure_job(
        &self,
        job: JobId,
        from: &[JobState],
        to: JobState,
        entry: &AuditEntry,
    ) -> Result<bool, CatalogError> {
        let Some(now) = self.erasure_job(job)?.map(|job| job.state) else { return Ok(false) };
        if !from.contains(&now) {
            return Ok(false);
        }
        let ended = matches!(to, JobState::Cancelled | JobState::Finished);
        self.conn.prepare_cached(UPDATE_JOB)?.execute(named_params! {
            ":id": job,
            ":state": to,
            ":ended_at": ended.then_some(entry.at()),
        })?;
        self.append_audit(entry)?;
        Ok(true)
    }

    /// Notes that a second person agreed: the job runs.
    pub fn approve_erasure_job(
        &self,
        job: JobId,
        by: &str,
        entry: &AuditEntry,
    ) -> Result<bool, CatalogError> {
        let changed =
            self.conn.prepare_cached(APPROVE_JOB)?.execute(params![job, by, entry.at()])?;
        if changed == 1 {
            self.append_audit(entry)?;
        }
        Ok(changed == 1)
    }

    /// Closes every job whose items are all done, also one that is paused; which.
    pub fn finish_erasure_jobs(&self, now: Timestamp) -> Result<Vec<JobId>, CatalogError> {
        let mut statement = self.conn.prepare_cached(FINISH_JOBS)?;
        Ok(statement.query_map([now], |row| row.get(0))?.collect::<Result<_, _>>()?)
    }
}

fn job_of(row: &Row<'_>) -> rusqlite::Result<ErasureJob> {
    let approved_by: Option<String> = row.get("approved_by")?;
    Ok(ErasureJob {
        id: row.get("id")?,
        created_at: row.get("created_at")?,
        requested_by: row.get("requested_by")?,
        selection: row.get("selection")?,
        reason: row.get("reason")?,
        state: row.get("state")?,
        approved: approved_by.zip(row.get("approved_at")?),
        ended_at: row.get("ended_at")?,
        progress: progress_of(row)?,
    })
}

fn progress_of(row: &Row<'_>) -> rusqlite::Result<JobProgress> {
    Ok(JobProgress {
        items: unsigned(row, "items")?,
        bytes: unsigned(row, "bytes")?,
        done_items: unsigned(row, "done_items")?,
        done_bytes: unsigned(row, "done_bytes")?,
        begun_items: unsigned(row, "begun_items")?,
        blocked_items: unsigned(row, "blocked_items")?,
        blocked_bytes: unsigned(row, "blocked_bytes")?,
        failing_items: unsigned(row, "failing_items")?,
    })
}

const SELECT_JOB: &str = "SELECT * FROM erasure_job WHERE id = ?1";
const SELECT_JOBS: &str = "SELECT * FROM erasure_job WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
const SELECT_JOBS_IN: &str = "
    SELECT * FROM erasure_job INDEXED BY erasure_job_open
    WHERE state IN ('awaiting_approval', 'running', 'paused') AND state = ?1 ORDER BY id LIMIT ?2";
const COUNT_JOBS_IN: &str = "
    SELECT count(*) AS jobs FROM erasure_job INDEXED BY erasure_job_open
    WHERE state IN ('awaiting_approval', 'running', 'paused') AND state = ?1";
const SELECT_TOTALS: &str = "
    SELECT coalesce(sum(items), 0) AS items, coalesce(sum(bytes), 0) AS bytes,
        coalesce(sum(done_items), 0) AS done_items, coalesce(sum(done_bytes), 0) AS done_bytes,
        coalesce(sum(begun_items), 0) AS begun_items,
        coalesce(sum(blocked_items), 0) AS blocked_items,
        coalesce(sum(blocked_bytes), 0) AS blocked_bytes,
        coalesce(sum(failing_items), 0) AS failing_items
    FROM (
        SELECT * FROM erasure_job INDEXED BY erasure_job_open
        WHERE state IN ('awaiting_approval', 'running', 'paused')
        UNION ALL
        SELECT * FROM erasure_job INDEXED BY erasure_job_winding_up
        WHERE state = 'cancelled' AND begun_items > 0)";
const SELECT_OLDEST: &str = "SELECT min(planned_at) FROM erasure_item WHERE step != 'done'";
const SELECT_ENDED: &str = "
    SELECT EXISTS (SELECT 1 FROM erasure_job INDEXED BY erasure_job_open
        WHERE state IN ('awaiting_approval', 'running', 'paused')
            AND state IN ('running', 'paused') AND items = done_items)";
const INSERT_JOB: &str = "
    INSERT INTO erasure_job (id, created_at, requested_by, selection, reason, state)
    VALUES (:id, :created_at, :requested_by, :selection, :reason, :state)";
const UPDATE_JOB: &str =
    "UPDATE erasure_job SET state = :state, ended_at = :ended_at WHERE id = :id";
const APPROVE_JOB: &str = "
    UPDATE erasure_job SET state = 'running', approved_by = ?2, approved_at = ?3
    WHERE id = ?1 AND state = 'awaiting_approval'";
const FINISH_JOBS: &str = "
    UPDATE erasure_job INDEXED BY erasure_job_open SET state = 'finished', ended_at = ?1
    WHERE state IN ('awaiting_approval', 'running', 'paused')
        AND state IN ('running', 'paused') AND items = done_items RETURNING id";
