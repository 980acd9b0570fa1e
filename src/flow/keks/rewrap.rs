//! Wrapping data keys anew: batch after batch, then the scrub, then the word that it is done.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use keymanager::{Rewrapper, WrappedKey};

use crate::catalog::MovedKey;
use crate::clock::Timestamp;
use crate::compliance::audit::{Activity, Actor, AuditEntry};
use crate::domain::RecordingId;
use crate::flow::crash::crash_point;
use crate::flow::{Engine, FlowError, parallel};

/// How far the running pass is.
#[derive(Debug, Default)]
pub(super) struct Job {
    /// The last row looked at in this pass.
    after: Option<(u32, RecordingId)>,
    /// Rows of this pass that could not be moved.
    failed: u64,
    /// What was left after the last step; what came in meanwhile is the next pass's.
    pending: Option<u64>,
    pub(super) seen: Progress,
    /// After a pass with failures, nothing is tried before this moment.
    not_before: Option<Timestamp>,
}

/// What people are shown of a running job.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    pub(super) began: Option<Timestamp>,
    pub(super) moved: u64,
    pub(super) failed: u64,
    pub(super) per_second: u64,
}

/// What one step of re-wrapping came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RewrapStep {
    /// Data keys moved by it.
    pub moved: u64,
    /// Data keys still under a version that was left behind.
    pub pending: u64,
    /// Of those, found in this pass to be damaged or another recording's.
    pub failed: u64,
    /// True if there is nothing left to do now.
    pub is_done: bool,
}

impl Engine {
    /// Moves one batch of data keys to the active version. When none is left, takes the old forms
    /// out of the files and records the job. Calls wait for each other.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`]; call again.
    pub fn rewrap_step(&self, now: Timestamp) -> Result<RewrapStep, FlowError> {
        let mut job = self.job();
        let rewrapper = self.keys.rewrapper();
        let rows = self.next_rows(&mut job, &rewrapper)?;
        if rows.is_empty() {
            return self.finish_rewrap(&mut job, &rewrapper, now);
        }
        let (keys, failed) = rewrap(&rewrapper, &rows);
        let moved = self.catalog.write(|tx| {
            // A rotation meanwhile: what was made for the version before could outlive it.
            if self.keys.active_version() != rewrapper.active_version() {
                return Ok::<_, FlowError>(None);
            }
            Ok(Some(tx.move_keys(&keys)?))
        })?;
        crash_point("keks.batch_moved");
        let Some(moved) = moved else {
            let pending = self.pending(&rewrapper)?;
            return Ok(RewrapStep { pending, ..RewrapStep::default() });
        };
        // Counted once in a pass: a count walks every row that is left.
        let pending = match job.pending {
            Some(before) => before.saturating_sub(moved),
            None => self.pending(&rewrapper)?,
        };
        job.pending = Some(pending);
        let last = rows.last().expect("a batch that is not empty has a last row");
        job.after = Some((last.version, last.recording));
        job.failed += failed;
        job.note(moved, now);
        Ok(RewrapStep { moved, pending, failed: job.failed, is_done: false })
    }

    /// The next rows to move, none at the end of a pass.
    fn next_rows(&self, job: &mut Job, rewrapper: &Rewrapper) -> Result<Vec<Row>, FlowError> {
        let begin = job.after.map_or(0, |(version, _)| version);
        for version in rewrapper.left_behind().into_iter().filter(|version| *version >= begin) {
            let after = job.after.filter(|(at, _)| *at == version).map(|(_, recording)| recording);
            let rows = self.catalog.read(|tx| tx.keys_under(version, after, BATCH_ROWS))?;
            if !rows.is_empty() {
                let row = |(recording, key)| Row { version, recording, key };
                return Ok(rows.into_iter().map(row).collect());
            }
        }
        Ok(Vec::new())
    }

    fn finish_rewrap(
        &self,
        job: &mut Job,
        rewrapper: &Rewrapper,
        now: Timestamp,
    ) -> Result<RewrapStep, FlowError> {
        let moved = self.catalog.read(|tx| tx.keys_moved())?;
        if moved > 0 {
            // The old forms open with the old version: they leave the files before this is done.
            self.catalog.scrub()?;
            crash_point("keks.scrubbed");
            let entry =
                AuditEntry::new(now, Actor::DAEMON, Activity::KeysRewrapped).with_numbers(&[
                    ("version", rewrapper.active_version().into()),
                    ("data_keys", moved),
                    ("failed", job.failed),
                ]);
            self.catalog.write(|tx| {
                tx.settle_moved_keys()?;
                tx.append_audit(&entry).map(drop)
            })?;
            tracing::info!(data_keys = moved, failed = job.failed, "data keys were wrapped anew");
        }
        let failed = job.failed;
        *job = Job::default();
        job.seen.failed = failed;
        job.not_before = (failed > 0).then(|| now.plus(REWRAP_AGAIN_AFTER));
        let pending = self.pending(rewrapper)?;
        // Rows that came in meanwhile are the next pass's.
        Ok(RewrapStep { moved: 0, pending, failed, is_done: pending <= failed })
    }

    pub(super) fn pending(&self, rewrapper: &Rewrapper) -> Result<u64, FlowError> {
        let versions = rewrapper.left_behind();
        Ok(self.catalog.read(|tx| {
            versions.iter().map(|version| tx.count_keys_under(*version)).sum::<Result<u64, _>>()
        })?)
    }

    /// After a pass with failures: when the next one begins.
    pub(super) fn rewrap_put_off_until(&self) -> Option<Timestamp> {
        self.job().not_before
    }

    fn job(&self) -> MutexGuard<'_, Job> {
        self.keks.job.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    fn note(&mut self, moved: u64, now: Timestamp) {
        let began = *self.seen.began.get_or_insert(now);
        let millis = now.since(began).as_millis().max(1);
        // The first batch has no duration yet: the rate is that of the batches behind it.
        self.seen.per_second = u64::try_from(u128::from(self.seen.moved) * 1_000 / millis)
            .ok()
            .filter(|_| self.seen.moved > 0 && millis > 1)
            .unwrap_or(0);
        self.seen.moved += moved;
        self.seen.failed = self.failed;
    }
}

/// One row of a batch; no key if its bytes are none.
struct Row {
    version: u32,
    recording: RecordingId,
    key: Option<WrappedKey>,
}

/// Wraps a batch anew on two threads; rows that cannot be are counted and left as they are.
fn rewrap(rewrapper: &Rewrapper, rows: &[Row]) -> (Vec<MovedKey>, u64) {
    let parts: Vec<&[Row]> = rows.chunks(rows.len().div_ceil(REWRAP_THREADS).max(1)).collect();
    let moved = parallel::map(REWRAP_THREADS, parts, |part| {
        let anew = |row: &Row| {
            let old = row.key?;
            let new = rewrapper.rewrap(row.recording.0, &old).ok()?;
            Some(MovedKey { recording: row.recording, old, new })
        };
        part.iter().filter_map(anew).collect::<Vec<_>>()
    });
    let moved: Vec<MovedKey> = moved.into_iter().flatten().collect();
    let failed = rows.len() - moved.len();
    (moved, failed as u64)
}

/// Rows for one transaction: some 200 ms without the writer for everybody else.
const BATCH_ROWS: usize = 16_000;
const REWRAP_THREADS: usize = 2;
/// Rows that could not be moved are looked at again after this.
const REWRAP_AGAIN_AFTER: Duration = Duration::from_secs(600);
