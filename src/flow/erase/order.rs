//! Asking for an erasure, agreeing to it, stopping it, taking it back.
//!
//! If the power goes here: a job and its items are one transaction, so an order is whole or it is
//! not there; whoever asks again finds what is owed already.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::access::{self, Grant};
use crate::catalog::{CatalogTx, ReadTx};
use crate::clock::Timestamp;
use crate::compliance::audit::{Activity, Actor, AuditEntry, Outcome};
use crate::compliance::erasure::plan::{Plan, Verdict};
use crate::compliance::erasure::{ErasureJob, ErasureReason, JobProgress, JobState, SelectedBy};
use crate::compliance::hold;
use crate::domain::{JobId, Recording};
use crate::flow::desk::actor;
use crate::flow::{Engine, FlowError};

use super::{ErasureOrder, Ordered, Selection, object};

/// What is done to a job, or to the whole queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobControl {
    /// Nothing more is begun, and what runs stops at the next mebibyte.
    Pause,
    /// It goes on.
    Resume,
    /// What was not begun is taken back; what was is finished.
    Cancel,
}

impl Engine {
    /// Marks what `order` chooses, or says why not. What is protected is marked as well, waits,
    /// and is answered as such.
    ///
    /// # Errors
    ///
    /// [`FlowError::ConfirmCount`] if the number is missing or another one, [`FlowError::Invalid`]
    /// for a selection that cannot be understood, [`FlowError::Catalog`]; nothing is marked then.
    pub fn order_erasure(
        &self,
        grant: &Grant<access::OrderErasures>,
        order: &ErasureOrder,
        now: Timestamp,
    ) -> Result<Ordered, FlowError> {
        let plan = self.plan_of(&order.selection, now)?;
        let marked = plan.erase.recordings + plan.blocked.recordings;
        let is_mass = marked >= self.erase.policy.mass_from;
        let is_confirmed = match order.confirm {
            Some(count) => count == marked,
            None => !is_mass,
        };
        if !is_confirmed {
            return Err(FlowError::ConfirmCount { recordings: marked, bytes: plan.erase.bytes });
        }
        let who = actor(grant.principal());
        let waits = is_mass && self.erase.policy.approve_mass;
        let state = if waits { JobState::AwaitingApproval } else { JobState::Running };
        self.mark(plan, order.selection.selected_by(), order.reason, state, &who, now)
    }

    /// Marks all that `plan` says may or will go, under a new job.
    pub(in crate::flow) fn mark(
        &self,
        plan: Plan,
        selection: SelectedBy,
        reason: ErasureReason,
        state: JobState,
        who: &Actor,
        now: Timestamp,
    ) -> Result<Ordered, FlowError> {
        if plan.erase.recordings + plan.blocked.recordings == 0 {
            return Ok(Ordered { job: None, plan });
        }
        let job = ErasureJob {
            id: JobId::new(),
            created_at: now,
            requested_by: who.user().to_owned(),
            selection,
            reason,
            state,
            approved: None,
            ended_at: None,
            progress: JobProgress::default(),
        };
        let entry = AuditEntry::new(now, who.clone(), Activity::ErasureRequested)
            .because(selection.as_str())
            .with_numbers(&[
                ("recordings", plan.erase.recordings),
                ("bytes", plan.erase.bytes),
                ("blocked", plan.blocked.recordings),
            ])
            .on_object(object(job.id));
        let job = self.catalog.write(|tx| {
            tx.add_erasure_job(&job, &entry)?;
            for (recording, bytes, verdict) in &plan.verdicts {
                let blocked_by = match verdict {
                    Verdict::Erase | Verdict::EraseOnceSealed => None,
                    Verdict::Blocked(reasons) => Some(reasons[0].kind()),
                    Verdict::AlreadyPlanned | Verdict::AlreadyErased => continue,
                };
                // Another order may have come between plan and mark: then that one owes it.
                if tx.add_erasure_item(*recording, job.id, *bytes, blocked_by, now)?
                    && let Some(kind) = blocked_by
                {
                    tx.append_audit(&refusal(who, *recording, kind, now))?;
                }
            }
            Ok::<_, FlowError>(tx.erasure_job(job.id)?)
        })?;
        self.ring_eraser();
        Ok(Ordered { job, plan })
    }

    /// A running job without items, for what the program itself comes to owe in `tx`.
    pub(super) fn new_job(
        &self,
        tx: &CatalogTx<'_>,
        who: &Actor,
        selection: SelectedBy,
        reason: ErasureReason,
        now: Timestamp,
    ) -> Result<JobId, FlowError> {
        let job = ErasureJob {
            id: JobId::new(),
            created_at: now,
            requested_by: who.user().to_owned(),
            selection,
            reason,
            state: JobState::Running,
            approved: None,
            ended_at: None,
            progress: JobProgress::default(),
        };
        let entry = AuditEntry::new(now, who.clone(), Activity::ErasureRequested)
            .because(selection.as_str())
            .on_object(object(job.id));
        tx.add_erasure_job(&job, &entry)?;
        Ok(job.id)
    }

    /// Marks a recording of which a redacted one was made, in the transaction that records that.
    pub(in crate::flow) fn owe_redacted(
        &self,
        tx: &CatalogTx<'_>,
        original: &Recording,
        who: &Actor,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let id = original.id;
        if tx.erasure_item(id)?.is_some() {
            return Ok(());
        }
        let rules = tx.retention_rules()?;
        let protections = self.protections_of(tx, original, &rules)?;
        let kind = hold::clear(id, protections, now).err().map(|held| held.reasons[0].kind());
        let bytes = tx.copies(id)?.iter().map(|copy| copy.sealed_bytes).sum();
        let (selection, reason) = (SelectedBy::Redaction, ErasureReason::Redaction);
        let job = self.new_job(tx, who, selection, reason, now)?;
        tx.add_erasure_item(id, job, bytes, kind, now)?;
        if let Some(kind) = kind {
            tx.append_audit(&refusal(who, id, kind, now))?;
        }
        Ok(())
    }

    /// Agrees to a job that awaits a second person.
    ///
    /// # Errors
    ///
    /// [`FlowError::SamePerson`] for whoever asked for it, [`FlowError::NoSuchJob`],
    /// [`FlowError::JobState`] if it awaits nobody; nothing is changed then.
    pub fn approve_erasure(
        &self,
        grant: &Grant<access::ApproveErasures>,
        id: JobId,
        now: Timestamp,
    ) -> Result<ErasureJob, FlowError> {
        let who = actor(grant.principal());
        let entry =
            AuditEntry::new(now, who.clone(), Activity::ErasureApproved).on_object(object(id));
        let outcome = self.catalog.write(|tx| {
            let job = job_of(tx, id)?;
            if job.requested_by == who.user() {
                return Err(FlowError::SamePerson);
            }
            if !tx.approve_erasure_job(id, who.user(), &entry)? {
                return Err(FlowError::JobState { state: job.state });
            }
            job_of(tx, id)
        });
        if matches!(outcome, Err(FlowError::SamePerson)) {
            let entry = entry.with_outcome(Outcome::Refused).because("same-person");
            self.catalog.write(|tx| tx.append_audit(&entry).map(drop))?;
        }
        self.ring_eraser();
        outcome
    }

    /// Pauses, resumes or takes back one job.
    ///
    /// # Errors
    ///
    /// [`FlowError::NoSuchJob`], [`FlowError::JobState`] if it is not in a state for that.
    pub fn control_erasure(
        &self,
        grant: &Grant<access::ManageErasures>,
        id: JobId,
        control: JobControl,
        now: Timestamp,
    ) -> Result<ErasureJob, FlowError> {
        use JobState as S;
        let (from, to, activity): (&[S], S, Activity) = match control {
            JobControl::Pause => (&[S::Running], S::Paused, Activity::ErasurePaused),
            JobControl::Resume => (&[S::Paused], S::Running, Activity::ErasureResumed),
            JobControl::Cancel => (
                &[S::AwaitingApproval, S::Running, S::Paused],
                S::Cancelled,
                Activity::ErasureCancelled,
            ),
        };
        let who = actor(grant.principal());
        let job = self.catalog.write(|tx| {
            let job = job_of(tx, id)?;
            let mut entry = AuditEntry::new(now, who, activity).on_object(object(id));
            if !from.contains(&job.state) {
                return Err(FlowError::JobState { state: job.state });
            }
            if control == JobControl::Cancel {
                let freed = tx.forget_planned_items(id)?;
                entry = entry.with_numbers(&[("recordings", freed)]);
            }
            if !tx.move_erasure_job(id, from, to, &entry)? {
                return Err(FlowError::JobState { state: job.state });
            }
            job_of(tx, id)
        })?;
        // Ends what is being overwritten; whatever may go on goes on with the next batch.
        self.erase.throttle.stop();
        self.ring_eraser();
        Ok(job)
    }

    /// Pauses or resumes the whole queue; holds over a restart.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`].
    pub fn pause_erasures(
        &self,
        grant: &Grant<access::ManageErasures>,
        is_paused: bool,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let activity = if is_paused { Activity::ErasurePaused } else { Activity::ErasureResumed };
        let entry = AuditEntry::new(now, actor(grant.principal()), activity).because("queue");
        self.catalog.write(|tx| {
            tx.set_meta(PAUSED, if is_paused { b"1" } else { b"0" })?;
            tx.append_audit(&entry)
        })?;
        self.erase.throttle.stop();
        self.ring_eraser();
        Ok(())
    }

    /// Sets how many bytes are erased per second at most, 0 for no limit; holds over a restart.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`].
    pub fn limit_erasures(
        &self,
        grant: &Grant<access::ManageErasures>,
        bytes_per_second: u64,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let entry = AuditEntry::new(now, actor(grant.principal()), Activity::ErasureLimited)
            .with_numbers(&[("bytes_per_second", bytes_per_second)]);
        self.catalog.write(|tx| {
            tx.set_meta(LIMIT, &bytes_per_second.to_be_bytes())?;
            tx.append_audit(&entry)
        })?;
        self.erase.throttle.set_rate(bytes_per_second);
        Ok(())
    }

    /// Puts the limit that a person set before the restart in force again.
    pub(in crate::flow) fn recall_erase_limit(&self) -> Result<(), FlowError> {
        let stored = self.catalog.read(|tx| tx.meta(LIMIT))?;
        if let Some(bytes) = stored.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()) {
            self.erase.throttle.set_rate(u64::from_be_bytes(bytes));
        }
        Ok(())
    }

    /// True while a person has stopped the whole queue.
    pub(super) fn is_queue_paused(&self) -> Result<bool, FlowError> {
        self.catalog.read(queue_is_paused)
    }

    /// Something changed that the eraser may be waiting for.
    pub(in crate::flow) fn ring_eraser(&self) {
        self.erase.inner().recheck_at = None;
        self.erase.rung.store(true, Ordering::Release);
    }

    /// What the daemon does about erasures besides erasing: looks for what became final, and once
    /// a day for what is due by the rules of retention, if it is told to.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`], [`FlowError::Keys`]; nothing is half done.
    pub fn tend_erasures(&self, now: Timestamp) -> Result<(), FlowError> {
        self.tend_finality(now)?;
        let is_time = self.erase.inner().retention_at.is_none_or(|at| at <= now);
        if !self.erase.policy.retention_daily || !is_time || self.is_clock_suspect() {
            return Ok(());
        }
        self.erase.inner().retention_at = Some(now.plus(DAILY));
        let plan = self.plan_of(&Selection::Due, now)?;
        let (selection, reason) = (SelectedBy::Due, ErasureReason::Retention);
        self.mark(plan, selection, reason, JobState::Running, &Actor::DAEMON, now)?;
        Ok(())
    }

    /// Keeps the reason why a whole batch failed, for status.
    pub fn note_erase_problem(&self, problem: String) {
        self.erase.inner().problem = Some(problem);
    }

    /// True once after something changed: the driver wakes the eraser then.
    pub fn take_eraser_bell(&self) -> bool {
        self.erase.rung.swap(false, Ordering::AcqRel)
    }

    /// Ends a running overwrite at its next piece: the program stops.
    pub fn stop_eraser(&self) {
        self.erase.stopping.store(true, Ordering::Release);
        self.erase.throttle.stop();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.erase.stopping.load(Ordering::Acquire)
    }
}

/// The same in the view of `tx`.
pub(super) fn queue_is_paused(tx: &ReadTx<'_>) -> Result<bool, FlowError> {
    Ok(tx.meta(PAUSED)?.is_some_and(|value| value == b"1"))
}

/// That something was not erased, and what kind of thing protects it.
pub(super) fn refusal(
    who: &Actor,
    recording: crate::domain::RecordingId,
    kind: &'static str,
    now: Timestamp,
) -> AuditEntry {
    AuditEntry::new(now, who.clone(), Activity::ErasureRefused)
        .with_outcome(Outcome::Refused)
        .because(kind)
        .on_recording(recording)
}

fn job_of(tx: &CatalogTx<'_>, id: JobId) -> Result<ErasureJob, FlowError> {
    tx.erasure_job(id)?.ok_or(FlowError::NoSuchJob)
}

const DAILY: Duration = Duration::from_secs(86_400);
const PAUSED: &str = "erasure.paused";
const LIMIT: &str = "erasure.bytes_per_second";
