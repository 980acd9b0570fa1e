//! What the doors ask besides: the policy, a beat of the pulse, warnings, what is due by rule.

use std::time::Duration;

use crate::access::{self, Grant};
use crate::clock::Timestamp;
use crate::compliance::erasure::plan::{Amount, Plan};
use crate::compliance::hold::LegalHold;
use crate::domain::{HoldId, JobId, RuleId};
use crate::flow::{Engine, FlowError, Warning};

use super::{ErasurePolicy, ErasureStatus, JobDetail, Selection};

/// Everything that whoever follows erasures wants to know of one moment.
#[derive(Clone, Debug)]
pub struct ErasurePulse {
    /// The queue.
    pub status: ErasureStatus,
    /// The oldest jobs that are not at their end.
    pub open: Vec<JobDetail>,
    /// Of the jobs that were known to be open: those that are no longer.
    pub ended: Vec<JobDetail>,
}

/// What one rule of retention lets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleCount {
    /// Which.
    pub rule: RuleId,
    /// Its name.
    pub name: String,
    /// How many it alone, as the longest, makes due.
    pub due: Amount,
}

impl Engine {
    /// How the eraser is told to work.
    pub fn erasure_policy(&self) -> &ErasurePolicy {
        &self.erase.policy
    }

    /// The queue, at most `limit` open jobs, and what became of those in `known`. A few
    /// milliseconds at any length of the queue.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`].
    pub fn erasure_pulse(
        &self,
        known: &[JobId],
        limit: usize,
        now: Timestamp,
    ) -> Result<ErasurePulse, FlowError> {
        let status = self.erasure_status(now)?;
        let (open, ended) = self.catalog.read(|tx| {
            let open = tx.open_erasure_jobs(limit)?;
            let mut ended = Vec::new();
            for id in known.iter().filter(|id| open.iter().all(|job| job.id != **id)) {
                ended.extend(tx.erasure_job(*id)?);
            }
            Ok::<_, FlowError>((open, ended))
        })?;
        let detailed = |jobs: Vec<_>| jobs.into_iter().map(|job| self.job_detail(job, now));
        Ok(ErasurePulse {
            status,
            open: detailed(open).collect(),
            ended: detailed(ended).collect(),
        })
    }

    /// One hold, lifted or not.
    ///
    /// # Errors
    ///
    /// [`FlowError::NoSuchHold`], [`FlowError::Catalog`].
    pub fn hold(
        &self,
        _grant: &Grant<access::ViewHolds>,
        id: HoldId,
    ) -> Result<LegalHold, FlowError> {
        self.catalog.read(|tx| tx.hold(id))?.ok_or(FlowError::NoSuchHold)
    }

    /// What is due by the rules of retention, and by which of them. Walks all recordings.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`].
    pub fn plan_retention(
        &self,
        grant: &Grant<access::OrderErasures>,
        now: Timestamp,
    ) -> Result<(Plan, Vec<RuleCount>), FlowError> {
        let plan = self.plan_erasure(grant, &Selection::Due, now)?;
        let counts = self.catalog.read(|tx| {
            let rules = tx.retention_rules()?;
            let none = |rule: &crate::compliance::retention::RetentionRule| RuleCount {
                rule: rule.id,
                name: rule.name.clone(),
                due: Amount::default(),
            };
            let mut counts: Vec<RuleCount> =
                rules.iter().filter(|rule| rule.erase_days.is_some()).map(none).collect();
            for (id, bytes, _) in &plan.verdicts {
                let Some(recording) = tx.recording(*id)? else { continue };
                let by = self.retention_of(&recording, &rules).erased_by;
                if let Some(count) = counts.iter_mut().find(|count| Some(count.rule) == by) {
                    count.due.recordings += 1;
                    count.due.bytes = count.due.bytes.saturating_add(*bytes);
                }
            }
            Ok::<_, FlowError>(counts)
        })?;
        Ok((plan, counts))
    }

    /// What a person should do about erasures.
    pub(in crate::flow) fn erasure_warnings(&self, status: &ErasureStatus) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let mut warn = |code, message: String, hint: &str| {
            warnings.push(Warning { code, message, hint: hint.to_owned() });
        };
        let days = |span: Duration| span.as_secs() / 86_400;
        if status.is_late {
            let oldest = days(status.oldest_pending.unwrap_or_default());
            let deadline = days(self.erase.policy.deadline);
            warn(
                "erasure-late",
                format!("the oldest erasure is owed for {oldest} days; {deadline} were allowed"),
                "`recseal erase status` says what holds it up: a hold, a failure, a pause, a limit",
            );
        }
        if status.progress.failing_items > 0 {
            warn(
                "erasures-failing",
                format!("{} recordings could not be erased yet", status.progress.failing_items),
                "`recseal erase items JOB --only failing` says why; they are tried again",
            );
        }
        if let Some(problem) = &status.problem {
            warn(
                "erasures-stopped",
                format!("the last batch of erasures failed as a whole: {problem}"),
                "check the disk of the state folder and of the vault; it is tried again",
            );
        }
        if status.awaiting_approval > 0 {
            warn(
                "erasure-awaiting-approval",
                format!("{} erasures await a second person", status.awaiting_approval),
                "somebody else than who asked says `recseal erase approve JOB`",
            );
        }
        if status.is_paused {
            warn("erasure-paused", "erasures are paused".to_owned(), "`recseal erase resume`");
        }
        if status.not_final > 0 {
            warn(
                "erasures-not-final",
                format!(
                    "{} erased recordings could come back with an old backup and its keys",
                    status.not_final
                ),
                "`recseal erase finalize` replaces the key version and sets its end; \
                 `recseal backup forget ID` says that the file of a backup is gone",
            );
        }
        warnings
    }
}
