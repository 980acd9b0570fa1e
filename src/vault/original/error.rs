//! What can go wrong with a removal, and where.

use std::fmt;
use std::io;

use super::super::is_transient_io;
use super::super::overwrite::OverwriteError;
use crate::domain::RecordingId;

/// Why an original was not removed. Unless it says otherwise the original is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// Nothing there.
    #[error("original of {recording} is not there")]
    Missing {
        /// Whose.
        recording: RecordingId,
    },
    /// Its path leads to something else now, or it was written to after it was sealed.
    #[error("original of {recording} is not what was sealed")]
    Changed {
        /// Whose.
        recording: RecordingId,
    },
    /// It has other names, so its content would live on (or die) under them.
    #[error("original of {recording} has {links} names")]
    HardLinked {
        /// Whose.
        recording: RecordingId,
        /// How many names.
        links: u64,
    },
    /// Somebody has it open.
    #[error("original of {recording} is open elsewhere")]
    Busy {
        /// Whose.
        recording: RecordingId,
    },
    /// Immutable or append-only: somebody wants it kept.
    #[error("original of {recording} is immutable or append-only")]
    Protected {
        /// Whose.
        recording: RecordingId,
    },
    /// The overwrite did not end well; the file keeps its `.removing` name for another try.
    #[error("original of {recording}")]
    Overwrite {
        /// Whose.
        recording: RecordingId,
        /// How.
        source: OverwriteError,
    },
    /// A system call failed. After the rename the file keeps its new name; a resumed removal
    /// finishes it or gives its own name back.
    #[error("removing the original of {recording}: {step}")]
    Io {
        /// Whose.
        recording: RecordingId,
        /// Where.
        step: Step,
        /// How.
        source: io::Error,
    },
}

impl RemoveError {
    /// Worth the same try again later; everything else needs a person or a new sealing.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Busy { .. } => true,
            Self::Overwrite { source: OverwriteError::Io { source, .. }, .. }
            | Self::Io { source, .. } => is_transient_io(source),
            Self::Overwrite { source: OverwriteError::Stopped, .. } => true,
            Self::Overwrite { source: OverwriteError::Differs { .. }, .. }
            | Self::Missing { .. }
            | Self::Changed { .. }
            | Self::HardLinked { .. }
            | Self::Protected { .. } => false,
        }
    }
}

/// The steps of a removal, in order. A test fails each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Opening and checking.
    Check,
    /// Taking the name away.
    Rename,
    /// Looking at it for the last time, now that nobody finds it any more.
    Confirm,
    /// Making the new name durable.
    SyncRename,
    /// Overwriting and reading back.
    Overwrite,
    /// Unlinking.
    Unlink,
    /// Making the end durable.
    SyncUnlink,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Check => "checking it",
            Self::Rename => "renaming it",
            Self::Confirm => "checking it under its new name",
            Self::SyncRename => "syncing its new name",
            Self::Overwrite => "overwriting it",
            Self::Unlink => "unlinking it",
            Self::SyncUnlink => "syncing its folder",
        })
    }
}
