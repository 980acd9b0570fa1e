//! How erasures look as JSON: counts, ids and codes; nothing of what was searched for.

use serde::Serialize;

use crate::compliance::erasure::plan::{Amount, Plan, Verdict};
use crate::compliance::erasure::{ErasureItem, ErasureJob, JobProgress};
use crate::compliance::hold::Protection;
use crate::flow::{ErasurePolicy, ErasureStatus, JobDetail};

/// Recordings and their bytes.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct AmountView {
    recordings: u64,
    bytes: u64,
}

impl From<Amount> for AmountView {
    fn from(amount: Amount) -> Self {
        Self { recordings: amount.recordings, bytes: amount.bytes }
    }
}

/// What an erasure would do, or did.
#[derive(Serialize)]
pub(crate) struct PlanView {
    chosen: AmountView,
    erase: AmountView,
    not_sealed_yet: AmountView,
    blocked: AmountView,
    blocked_by: serde_json::Map<String, serde_json::Value>,
    already_planned: AmountView,
    already_erased: AmountView,
    /// The number to confirm.
    marks: u64,
    needs_confirm: bool,
    needs_approval: bool,
    verdicts: Vec<VerdictView>,
    verdicts_left_out: usize,
}

#[derive(Serialize)]
struct VerdictView {
    recording: String,
    bytes: u64,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    protected_by: Vec<ProtectionView>,
}

/// One reason why a recording is kept.
#[derive(Serialize)]
pub(crate) struct ProtectionView {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hold: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    until: Option<String>,
}

impl From<&Protection> for ProtectionView {
    fn from(one: &Protection) -> Self {
        let (hold, tag) = match one {
            Protection::Hold { hold, .. } => (Some(hold.to_string()), None),
            Protection::Tag { code } => (None, Some(code.clone())),
            Protection::Mifid { .. } | Protection::Retention { .. } => (None, None),
        };
        Self { kind: one.kind(), hold, tag, until: one.until().map(|at| at.to_string()) }
    }
}

impl PlanView {
    /// The plan with at most `verdicts` of its verdicts, those that wait first.
    pub(crate) fn new(plan: &Plan, policy: &ErasurePolicy, verdicts: usize) -> Self {
        let marks = plan.erase.recordings + plan.blocked.recordings;
        let is_mass = marks >= policy.mass_from;
        let waits = |one: &&(_, _, Verdict)| matches!(one.2, Verdict::Blocked(_));
        let blocked = plan.verdicts.iter().filter(waits);
        let others = plan.verdicts.iter().filter(|one| !waits(one));
        Self {
            chosen: plan.chosen.into(),
            erase: plan.erase.into(),
            not_sealed_yet: plan.not_sealed_yet.into(),
            blocked: plan.blocked.into(),
            blocked_by: plan
                .blocked_by
                .iter()
                .map(|(kind, count)| ((*kind).to_owned(), (*count).into()))
                .collect(),
            already_planned: plan.already_planned.into(),
            already_erased: plan.already_erased.into(),
            marks,
            needs_confirm: is_mass,
            needs_approval: is_mass && policy.approve_mass,
            verdicts: blocked
                .chain(others)
                .take(verdicts)
                .map(|(recording, bytes, verdict)| VerdictView {
                    recording: recording.to_string(),
                    bytes: *bytes,
                    verdict: word(verdict),
                    protected_by: match verdict {
                        Verdict::Blocked(reasons) => reasons.iter().map(Into::into).collect(),
                        Verdict::Erase
                        | Verdict::EraseOnceSealed
                        | Verdict::AlreadyPlanned
                        | Verdict::AlreadyErased => Vec::new(),
                    },
                })
                .collect(),
            verdicts_left_out: plan.verdicts.len().saturating_sub(verdicts),
        }
    }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Erase => "erase",
        Verdict::EraseOnceSealed => "erase_once_sealed",
        Verdict::Blocked(_) => "blocked",
        Verdict::AlreadyPlanned => "already_planned",
        Verdict::AlreadyErased => "already_erased",
    }
}

/// One job.
#[derive(Serialize)]
pub(crate) struct JobView {
    id: String,
    created_at: String,
    requested_by: String,
    selection: &'static str,
    reason: &'static str,
    state: &'static str,
    approved_by: Option<String>,
    approved_at: Option<String>,
    ended_at: Option<String>,
    progress: ProgressView,
    eta_seconds: Option<u64>,
}

#[derive(Serialize)]
struct ProgressView {
    files: u64,
    bytes: u64,
    done_files: u64,
    done_bytes: u64,
    begun_files: u64,
    blocked_files: u64,
    blocked_bytes: u64,
    failing_files: u64,
    pending_files: u64,
    pending_bytes: u64,
}

impl From<JobProgress> for ProgressView {
    fn from(progress: JobProgress) -> Self {
        let (pending_files, pending_bytes) = progress.pending();
        Self {
            files: progress.items,
            bytes: progress.bytes,
            done_files: progress.done_items,
            done_bytes: progress.done_bytes,
            begun_files: progress.begun_items,
            blocked_files: progress.blocked_items,
            blocked_bytes: progress.blocked_bytes,
            failing_files: progress.failing_items,
            pending_files,
            pending_bytes,
        }
    }
}

impl From<ErasureJob> for JobView {
    fn from(job: ErasureJob) -> Self {
        JobDetail { job, eta: None }.into()
    }
}

impl From<JobDetail> for JobView {
    fn from(JobDetail { job, eta }: JobDetail) -> Self {
        let (approved_by, approved_at) = job.approved.unzip();
        Self {
            id: job.id.to_string(),
            created_at: job.created_at.to_string(),
            requested_by: job.requested_by,
            selection: job.selection.as_str(),
            reason: job.reason.as_str(),
            state: job.state.as_str(),
            approved_by,
            approved_at: approved_at.map(|at| at.to_string()),
            ended_at: job.ended_at.map(|at| at.to_string()),
            progress: job.progress.into(),
            eta_seconds: eta.map(|span| span.as_secs()),
        }
    }
}

/// One recording of a job.
#[derive(Serialize)]
pub(crate) struct ItemView {
    recording: String,
    step: &'static str,
    bytes: u64,
    planned_at: String,
    blocked_by: Option<String>,
    failures: u32,
    problem: Option<String>,
    next_try_at: Option<String>,
    key_destroyed_at: Option<String>,
    ended_at: Option<String>,
}

impl From<ErasureItem> for ItemView {
    fn from(item: ErasureItem) -> Self {
        let is_put_off = item.problem.is_some();
        Self {
            recording: item.recording.to_string(),
            step: item.step.as_str(),
            bytes: item.bytes,
            planned_at: item.planned_at.to_string(),
            blocked_by: item.blocked_by,
            failures: item.failures,
            problem: item.problem,
            next_try_at: is_put_off.then(|| item.due_at.to_string()),
            key_destroyed_at: item.cleared_at.map(|at| at.to_string()),
            ended_at: item.ended_at.map(|at| at.to_string()),
        }
    }
}

/// The whole queue, in `status` too.
#[derive(Serialize)]
pub(crate) struct ErasureView {
    pub(super) pending_files: u64,
    pending_bytes: u64,
    blocked_files: u64,
    failing_files: u64,
    begun_files: u64,
    done_files: u64,
    done_bytes: u64,
    /// `None` while nothing is owed.
    pub(super) oldest_pending_seconds: Option<u64>,
    late: bool,
    awaiting_approval: u64,
    paused: bool,
    outside_window: bool,
    limit_bytes_per_second: u64,
    bytes_per_second: u64,
    files_per_minute: u64,
    eta_seconds: Option<u64>,
    active: Vec<ActiveView>,
    certificates: u64,
    not_final: u64,
    problem: Option<String>,
}

#[derive(Serialize)]
struct ActiveView {
    recording: String,
    job: String,
    bytes: u64,
}

impl From<ErasureStatus> for ErasureView {
    fn from(status: ErasureStatus) -> Self {
        let (pending_files, pending_bytes) = status.progress.pending();
        let active = status.active.into_iter().map(|one| ActiveView {
            recording: one.recording.to_string(),
            job: one.job.to_string(),
            bytes: one.bytes,
        });
        Self {
            pending_files,
            pending_bytes,
            blocked_files: status.progress.blocked_items,
            failing_files: status.progress.failing_items,
            begun_files: status.progress.begun_items,
            done_files: status.progress.done_items,
            done_bytes: status.progress.done_bytes,
            oldest_pending_seconds: status.oldest_pending.map(|age| age.as_secs()),
            late: status.is_late,
            awaiting_approval: status.awaiting_approval,
            paused: status.is_paused,
            outside_window: status.is_outside_window,
            limit_bytes_per_second: status.limit_bytes_per_second,
            bytes_per_second: status.bytes_per_second,
            files_per_minute: status.recordings_per_minute,
            eta_seconds: status.eta.map(|span| span.as_secs()),
            active: active.collect(),
            certificates: status.certificates,
            not_final: status.not_final,
            problem: status.problem,
        }
    }
}
