//! Erasure: from the wish to the certificate.
//!
//! ```text
//! choose  who or what is meant ─▶ candidates ─▶ plan, counts shown
//! order   plan ─▶ job and items, marked; approved by a second person where that is configured
//! act     protections read, key destroyed ─▶ overwritten, verified ─▶ unlinked, names forgotten
//! certify catalog scrubbed, looked for, nothing found ─▶ certificate, tombstone ─▶ finality
//! ```
//!
//! Nothing but the rows remembers what is left to do, so a kill, a full disk, a lifted hold and a
//! new start are one code path: the next batch asks the catalog.

mod act;
mod adopt;
mod certify;
mod choose;
mod files;
mod finality;
mod order;
mod progress;
mod waits;
mod watch;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::compliance::erasure::plan::Plan;
use crate::compliance::erasure::{ErasureJob, ErasureReason, SelectedBy};
use crate::domain::{ConversationId, JobId, RecordingId};
use crate::vault::Throttle;

pub use act::EraseStep;
pub use finality::Finalized;
pub use order::JobControl;
pub use progress::{ActiveErasure, ErasureStatus, JobDetail};
pub use watch::{ErasurePulse, RuleCount};

/// Which recordings are meant.
#[derive(Clone)]
pub enum Selection {
    /// These, and redacted recordings made of them.
    Recordings(Vec<RecordingId>),
    /// All of these conversations.
    Conversations(Vec<ConversationId>),
    /// All that a number, an address, a name or an id of a person leads to. Personal data.
    Person(String),
    /// All that a query finds. Personal data.
    Query(String),
    /// All whose time is over by the rules of retention.
    Due,
    /// Those recorded as these files, absolute paths. Personal data.
    Files(Vec<PathBuf>),
}

impl Selection {
    /// How they were chosen, as it is stored.
    pub fn selected_by(&self) -> SelectedBy {
        match self {
            Self::Recordings(_) => SelectedBy::Recording,
            Self::Conversations(_) => SelectedBy::Conversation,
            Self::Person(_) => SelectedBy::Person,
            Self::Query(_) => SelectedBy::Query,
            Self::Due => SelectedBy::Due,
            Self::Files(_) => SelectedBy::Files,
        }
    }
}

/// A wish to erase.
#[derive(Clone)]
pub struct ErasureOrder {
    /// What.
    pub selection: Selection,
    /// Why.
    pub reason: ErasureReason,
    /// The number of recordings that whoever asks believes it to be. Demanded from
    /// [`ErasurePolicy::mass_from`] on, and wrong if the plan says another number.
    pub confirm: Option<u64>,
}

/// What an order came to.
#[derive(Clone, Debug)]
pub struct Ordered {
    /// The job; `None` if nothing was chosen that is not owed or erased already.
    pub job: Option<ErasureJob>,
    /// What happens to each.
    pub plan: Plan,
}

/// How the eraser is told to work.
#[derive(Clone, Debug)]
pub struct ErasurePolicy {
    /// From so many recordings on, whoever asks repeats the number.
    pub mass_from: u64,
    /// Whether such an erasure takes a second person.
    pub approve_mass: bool,
    /// Bytes erased per second at most; 0 is no limit. Changed while running by a person.
    pub bytes_per_second: u64,
    /// When the eraser may work, by the wall clock of this host; `None`: always.
    pub window: Option<Window>,
    /// How old an obligation may get before it is an alarm.
    pub deadline: Duration,
    /// Whether what is due by the rules of retention is erased every day by itself.
    pub retention_daily: bool,
    /// How long after an erasure the key version that wrapped its key is replaced, so that it can
    /// be destroyed; `None` leaves that to people and to the schedule of keys.
    pub finalize_after: Option<Duration>,
}

impl Default for ErasurePolicy {
    fn default() -> Self {
        Self {
            mass_from: 100,
            approve_mass: false,
            bytes_per_second: 0,
            window: None,
            deadline: Duration::from_secs(30 * 86_400),
            retention_daily: false,
            finalize_after: None,
        }
    }
}

/// A time of day, in minutes from midnight; may span midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First minute.
    pub from: u16,
    /// First minute that is out again.
    pub to: u16,
}

impl Window {
    /// True if it is open at `minute` of the day.
    pub fn is_open(self, minute: u16) -> bool {
        if self.from <= self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

/// What the engine remembers of erasures while it runs. Losing it costs a look at the rows.
pub(super) struct EraseDesk {
    pub(super) policy: ErasurePolicy,
    /// Holds the rate, and stops the eraser at once.
    pub(super) throttle: Throttle,
    /// The state folder, for what its medium can promise.
    pub(super) state: PathBuf,
    /// The program stops: nothing more is begun.
    pub(super) stopping: AtomicBool,
    /// Something was ordered, lifted, resumed or changed since the last batch.
    pub(super) rung: AtomicBool,
    /// Recordings behind the point of no return: whoever still plays one is cut off.
    pub(super) gone: Arc<RwLock<HashSet<RecordingId>>>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
pub(super) struct Inner {
    /// Stored forms of destroyed keys, to be looked for before they are certified as gone.
    needles: HashMap<RecordingId, Vec<u8>>,
    /// When blocked items are looked at again.
    recheck_at: Option<Timestamp>,
    /// Since when something waits to be certified.
    uncertified_since: Option<Timestamp>,
    /// When finality is looked at again.
    finality_at: Option<Timestamp>,
    /// When what is due by retention is looked for again.
    retention_at: Option<Timestamp>,
    /// What is being overwritten now.
    active: Vec<ActiveErasure>,
    rate: progress::Rate,
    /// The last failure of a whole batch.
    problem: Option<String>,
}

impl EraseDesk {
    pub(super) fn new(policy: ErasurePolicy, state: PathBuf) -> Self {
        Self {
            state,
            stopping: AtomicBool::new(false),
            throttle: Throttle::new(policy.bytes_per_second),
            policy,
            rung: AtomicBool::new(true),
            gone: Arc::default(),
            inner: Mutex::default(),
        }
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One job, as it is named in audit entries.
fn object(job: JobId) -> uuid::Uuid {
    job.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted fault: `from..to` for a window over midnight, which is never open.
    #[test]
    fn a_window_may_span_midnight() {
        let night = Window { from: 22 * 60, to: 6 * 60 };
        let noon = Window { from: 11 * 60, to: 13 * 60 };
        for (hour, at_night, at_noon) in [
            (0, true, false),
            (5, true, false),
            (6, false, false),
            (12, false, true),
            (22, true, false),
        ] {
            assert_eq!(night.is_open(hour * 60), at_night, "{hour}");
            assert_eq!(noon.is_open(hour * 60), at_noon, "{hour}");
        }
    }
}
