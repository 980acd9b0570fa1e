//! How far erasures are, for people and programs that watch.
//!
//! Everything but the rate is read from recorded facts, so a status line cannot claim more than
//! was done. The rate is that of the last minute of work; it says nothing before the first batch.

use std::collections::VecDeque;
use std::time::Duration;

use crate::access::{self, Grant};
use crate::catalog::{CertificateRow, ItemFilter};
use crate::clock::Timestamp;
use crate::compliance::erasure::{ErasureItem, ErasureJob, JobProgress, JobState};
use crate::domain::{JobId, RecordingId};
use crate::flow::{Engine, FlowError};

/// The whole queue.
#[derive(Clone, Debug)]
pub struct ErasureStatus {
    /// Counts of all jobs that are not at their end.
    pub progress: JobProgress,
    /// How long the oldest obligation has been waiting.
    pub oldest_pending: Option<Duration>,
    /// It waits for longer than was allowed.
    pub is_late: bool,
    /// Jobs that await a second person.
    pub awaiting_approval: u64,
    /// A person stopped the whole queue.
    pub is_paused: bool,
    /// It is not the time of day for it.
    pub is_outside_window: bool,
    /// Bytes per second at most; 0 is no limit.
    pub limit_bytes_per_second: u64,
    /// Bytes erased and verified per second, of the last minute of work; 0 at rest.
    pub bytes_per_second: u64,
    /// Recordings per minute, the same.
    pub recordings_per_minute: u64,
    /// When all that may go will be gone, at this rate.
    pub eta: Option<Duration>,
    /// What is being overwritten now.
    pub active: Vec<ActiveErasure>,
    /// Certificates issued.
    pub certificates: u64,
    /// Of those: an old backup with the key version that wrapped the key could still open a copy.
    pub not_final: u64,
    /// Recordings whose files were erased since start.
    pub files_total: u64,
    /// Their bytes.
    pub bytes_total: u64,
    /// Why the last batch as a whole failed, if it did.
    pub problem: Option<String>,
}

/// One recording that is being overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveErasure {
    /// Which.
    pub recording: RecordingId,
    /// Of which job.
    pub job: JobId,
    /// Bytes of its files.
    pub bytes: u64,
}

/// One job, with what is expected of it.
#[derive(Clone, Debug)]
pub struct JobDetail {
    /// The facts.
    pub job: ErasureJob,
    /// When all of it that may go will be gone, if it is worked on and at the present rate.
    pub eta: Option<Duration>,
}

impl Engine {
    /// How far everything is. A few milliseconds at any length of the queue.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`].
    pub fn erasure_status(&self, now: Timestamp) -> Result<ErasureStatus, FlowError> {
        let ((progress, oldest), jobs, (certificates, not_final)) = self.catalog.read(|tx| {
            let awaiting = tx.count_erasure_jobs(JobState::AwaitingApproval)?;
            Ok::<_, FlowError>((tx.erasure_totals()?, awaiting, tx.count_certificates()?))
        })?;
        let is_paused = self.is_queue_paused()?;
        let inner = self.erase.inner();
        let pace = inner.rate.pace(now);
        let oldest_pending = oldest.map(|since| now.since(since));
        Ok(ErasureStatus {
            progress,
            oldest_pending,
            is_late: oldest_pending.is_some_and(|age| age > self.erase.policy.deadline),
            awaiting_approval: jobs,
            is_paused,
            is_outside_window: !self.is_in_window(now),
            limit_bytes_per_second: self.erase.throttle.rate(),
            bytes_per_second: pace.bytes_per_second as u64,
            recordings_per_minute: (pace.items_per_second * 60.0) as u64,
            eta: pace.eta(progress),
            active: inner.active.clone(),
            certificates,
            not_final,
            files_total: inner.rate.files_total,
            bytes_total: inner.rate.bytes_total,
            problem: inner.problem.clone(),
        })
    }

    /// Jobs older than `before`, newest first.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`].
    pub fn erasure_jobs(
        &self,
        _grant: &Grant<access::ViewErasures>,
        before: Option<JobId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<JobDetail>, FlowError> {
        let jobs = self.catalog.read(|tx| tx.erasure_jobs(before, limit))?;
        Ok(jobs.into_iter().map(|job| self.job_detail(job, now)).collect())
    }

    /// One job.
    ///
    /// # Errors
    ///
    /// [`FlowError::NoSuchJob`], [`FlowError::Catalog`].
    pub fn erasure_job(
        &self,
        _grant: &Grant<access::ViewErasures>,
        id: JobId,
        now: Timestamp,
    ) -> Result<JobDetail, FlowError> {
        let job = self.catalog.read(|tx| tx.erasure_job(id))?.ok_or(FlowError::NoSuchJob)?;
        Ok(self.job_detail(job, now))
    }

    /// Recordings of a job behind `after`: all, the blocked or the failing ones.
    ///
    /// # Errors
    ///
    /// [`FlowError::NoSuchJob`], [`FlowError::Catalog`].
    pub fn erasure_items(
        &self,
        _grant: &Grant<access::ViewErasures>,
        job: JobId,
        filter: ItemFilter,
        after: Option<RecordingId>,
        limit: usize,
    ) -> Result<Vec<ErasureItem>, FlowError> {
        self.catalog.read(|tx| {
            tx.erasure_job(job)?.ok_or(FlowError::NoSuchJob)?;
            Ok(tx.erasure_items(job, filter, after, limit)?)
        })
    }

    /// The certificate of an erased recording.
    ///
    /// # Errors
    ///
    /// [`FlowError::NotErased`] with how far it is, [`FlowError::NotFound`].
    pub fn erasure_certificate(
        &self,
        _grant: &Grant<access::ViewErasures>,
        id: RecordingId,
    ) -> Result<CertificateRow, FlowError> {
        self.catalog.read(|tx| {
            let recording = tx.recording(id)?.ok_or(FlowError::NotFound(id))?;
            tx.erasure_certificate(id)?.ok_or(FlowError::NotErased { id, state: recording.state })
        })
    }

    pub(super) fn job_detail(&self, job: ErasureJob, now: Timestamp) -> JobDetail {
        let pace = self.erase.inner().rate.pace(now);
        let eta = match job.state {
            JobState::Running => pace.eta(job.progress),
            JobState::AwaitingApproval
            | JobState::Paused
            | JobState::Cancelled
            | JobState::Finished => None,
        };
        JobDetail { job, eta }
    }
}

/// What was done in the last minute.
#[derive(Debug, Default)]
pub(super) struct Rate {
    done: VecDeque<Batch>,
    files_total: u64,
    bytes_total: u64,
}

#[derive(Clone, Copy, Debug)]
struct Batch {
    began: Timestamp,
    ended: Timestamp,
    items: u64,
    bytes: u64,
}

/// How fast it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct PaceNow {
    pub(super) items_per_second: f64,
    pub(super) bytes_per_second: f64,
}

impl Rate {
    /// Notes one batch.
    pub(super) fn note(&mut self, began: Timestamp, ended: Timestamp, items: u64, bytes: u64) {
        self.done.push_back(Batch { began, ended, items, bytes });
        self.files_total += items;
        self.bytes_total += bytes;
        while self.done.len() > 1 && ended.since(self.done[0].ended) > SPAN {
            self.done.pop_front();
        }
    }

    /// The rate while there was work; nothing if the last of it is a while ago.
    pub(super) fn pace(&self, now: Timestamp) -> PaceNow {
        let (Some(first), Some(last)) = (self.done.front(), self.done.back()) else {
            return PaceNow::default();
        };
        if now.since(last.ended) > SPAN {
            return PaceNow::default();
        }
        let seconds = last.ended.since(first.began).as_secs_f64().max(0.001);
        let sum = |of: fn(&Batch) -> u64| self.done.iter().map(of).sum::<u64>() as f64;
        PaceNow {
            items_per_second: sum(|batch| batch.items) / seconds,
            bytes_per_second: sum(|batch| batch.bytes) / seconds,
        }
    }
}

impl PaceNow {
    /// The longer of what bytes and recordings say: small files are bound by flushes.
    pub(super) fn eta(self, progress: JobProgress) -> Option<Duration> {
        let (items, bytes) = progress.pending();
        if items == 0 || self.items_per_second <= 0.0 {
            return None;
        }
        let by_items = items as f64 / self.items_per_second;
        let by_bytes = match self.bytes_per_second > 0.0 {
            true => bytes as f64 / self.bytes_per_second,
            false => 0.0,
        };
        Duration::try_from_secs_f64(by_items.max(by_bytes)).ok()
    }
}

const SPAN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted faults: the time between batches left out (twice as fast as it is), and the mean of
    /// both estimates instead of the longer one.
    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        let at = Timestamp::from_millis;
        let mut rate = Rate::default();
        assert_eq!(rate.pace(at(0)), PaceNow::default());
        for second in 0..100 {
            rate.note(at(second * 1_000), at(second * 1_000 + 500), 10, 1_000);
        }
        let pace = rate.pace(at(100_000));
        assert!((9.5..10.5).contains(&pace.items_per_second), "{pace:?}");
        assert!((950.0..1_050.0).contains(&pace.bytes_per_second), "{pace:?}");
        let many = JobProgress { items: 1_100, done_items: 100, bytes: 10, ..Default::default() };
        let large = JobProgress { items: 2, bytes: 100_000, ..Default::default() };
        let seconds = |progress| pace.eta(progress).unwrap().as_secs();
        assert!((95..=105).contains(&seconds(many)) && (95..=105).contains(&seconds(large)));
        assert_eq!(pace.eta(JobProgress::default()), None);
        assert_eq!(rate.pace(at(300_000)), PaceNow::default(), "at rest");
    }
}
