//! Erasure: what was asked for, what is owed, how far it is, and what was proved.
//!
//! ```text
//! request ─▶ plan (pure, counts shown) ─▶ job ─▶ one item per recording
//!
//! item   planned ──cleared, key destroyed──▶ key_destroyed ─▶ overwritten ─▶ unlinked ─▶ done
//!           │ ▲        point of no return
//!  blocked by a hold: waits, and goes on by itself when that is lifted
//! ```
//!
//! A recording is owed once, whoever asks again. `done` means certified.

pub mod certificate;
pub mod plan;
pub mod query;

use crate::clock::Timestamp;
use crate::domain::{JobId, RecordingId};

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $item:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$item_doc])* $item,)* }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$item,)*];

            /// The stored name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$item => $text,)* }
            }

            /// The value of a stored name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|item| item.as_str() == name)
            }
        }
    };
}
use named;

named! {
    /// How the recordings of a job were chosen. What was searched for is not kept: it is personal.
    SelectedBy {
        /// By their ids.
        Recording = "recording",
        /// All of a conversation.
        Conversation = "conversation",
        /// All that a number, an address or an id of a person leads to.
        Person = "person",
        /// By a query.
        Query = "query",
        /// By retention rules.
        Due = "due",
        /// By a list of files.
        Files = "files",
        /// By anonymizing conversations.
        Anonymization = "anonymization",
        /// Because a redacted recording took its place.
        Redaction = "redaction",
        /// Because it was erased before and came back.
        Tombstone = "tombstone",
    }
}

named! {
    /// Why, as the certificate says.
    ErasureReason {
        /// A person asked for the erasure of their data (GDPR Art. 17, CCPA § 1798.105).
        Request = "request",
        /// Its time of retention is over (GDPR Art. 5(1)(e)).
        Retention = "retention",
        /// Its conversation was anonymized.
        Anonymization = "anonymization",
        /// A redacted recording took its place.
        Redaction = "redaction",
        /// The operator's own decision.
        Decision = "decision",
        /// It had been erased before and came back.
        ErasedBefore = "erased_before",
    }
}

named! {
    /// Where a job is.
    JobState {
        /// A second person has to agree.
        AwaitingApproval = "awaiting_approval",
        /// Worked on, as far as nothing protects its items.
        Running = "running",
        /// Nothing of it is worked on until it is resumed.
        Paused = "paused",
        /// Taken back; what had begun was finished.
        Cancelled = "cancelled",
        /// Every item is done.
        Finished = "finished",
    }
}

named! {
    /// Where the erasure of one recording is.
    ItemStep {
        /// Marked: the media can still be played.
        Planned = "planned",
        /// Behind the point of no return: no copy can be opened any more.
        KeyDestroyed = "key_destroyed",
        /// Every reachable copy was overwritten and looked at.
        Overwritten = "overwritten",
        /// The files are gone from their folders.
        Unlinked = "unlinked",
        /// Names scrubbed, certified.
        Done = "done",
    }
}

/// One job and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasureJob {
    /// Its id.
    pub id: JobId,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// By whom: a user name.
    pub requested_by: String,
    /// How its recordings were chosen.
    pub selection: SelectedBy,
    /// Why.
    pub reason: ErasureReason,
    /// Where it is.
    pub state: JobState,
    /// Who agreed, and when.
    pub approved: Option<(String, Timestamp)>,
    /// When it was finished or cancelled.
    pub ended_at: Option<Timestamp>,
    /// How far it is.
    pub progress: JobProgress,
}

/// Counts of one job, or of all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobProgress {
    /// Recordings.
    pub items: u64,
    /// Bytes of their sealed files.
    pub bytes: u64,
    /// Of the recordings: certified.
    pub done_items: u64,
    /// Their bytes.
    pub done_bytes: u64,
    /// Behind the point of no return and not done.
    pub begun_items: u64,
    /// Waiting because something protects them.
    pub blocked_items: u64,
    /// Their bytes.
    pub blocked_bytes: u64,
    /// Put off after a failure.
    pub failing_items: u64,
}

impl JobProgress {
    /// What is still to be done and may be.
    pub fn pending(&self) -> (u64, u64) {
        (
            self.items.saturating_sub(self.done_items + self.blocked_items),
            self.bytes.saturating_sub(self.done_bytes + self.blocked_bytes),
        )
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            items: self.items + other.items,
            bytes: self.bytes + other.bytes,
            done_items: self.done_items + other.done_items,
            done_bytes: self.done_bytes + other.done_bytes,
            begun_items: self.begun_items + other.begun_items,
            blocked_items: self.blocked_items + other.blocked_items,
            blocked_bytes: self.blocked_bytes + other.blocked_bytes,
            failing_items: self.failing_items + other.failing_items,
        }
    }
}

/// One recording of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasureItem {
    /// Which.
    pub recording: RecordingId,
    /// Of which job.
    pub job: JobId,
    /// How far it is.
    pub step: ItemStep,
    /// Bytes of its sealed files.
    pub bytes: u64,
    /// When it was marked.
    pub planned_at: Timestamp,
    /// Not to be worked on before.
    pub due_at: Timestamp,
    /// Failures in a row.
    pub failures: u32,
    /// Code of the last one.
    pub problem: Option<String>,
    /// Kind of what protects it.
    pub blocked_by: Option<String>,
    /// When nothing was found to protect it.
    pub cleared_at: Option<Timestamp>,
    /// When it was certified.
    pub ended_at: Option<Timestamp>,
}
