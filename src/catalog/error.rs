//! What can go wrong with the catalog.

use std::io;

use rusqlite::ErrorCode;

use crate::domain::RecordingId;
use crate::domain::SidecarId;
use crate::domain::StoreId;
use crate::domain::lifecycle::IllegalTransition;
use crate::domain::lifecycle::RecordingState;

/// Why the catalog did not do it. A transaction that returns one leaves nothing behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The operating system refuses the file.
    #[error("the catalog file cannot be opened, read or written")]
    File {
        /// Which kind of refusal. Without the path.
        source: io::Error,
    },
    /// A later version of this program wrote the file.
    #[error("the catalog has schema {found}, this program knows only up to {known}")]
    NewerSchema {
        /// Of the file.
        found: u32,
        /// Of this program.
        known: u32,
    },
    /// The file must be migrated, which only the daemon does.
    #[error("the catalog has schema {found} and must first be opened by a daemon with {known}")]
    OlderSchema {
        /// Of the file.
        found: u32,
        /// Of this program.
        known: u32,
    },
    /// An SQLite database, but not one of ours.
    #[error("the file is a database of another program")]
    NotOurs,
    /// The file system lacks what a write-ahead log needs.
    #[error("the file system of the catalog cannot keep a write-ahead log")]
    NoLog,
    /// Opened for looking only.
    #[error("the catalog was opened read-only")]
    ReadOnly,
    /// SQLite refused or failed.
    #[error("a catalog statement failed")]
    Statement {
        /// What it said.
        #[from]
        source: rusqlite::Error,
    },
    /// There is no such recording.
    #[error("recording {recording} is not in the catalog")]
    UnknownRecording {
        /// The id asked for.
        recording: RecordingId,
    },
    /// There is no such sidecar.
    #[error("sidecar {sidecar} is not in the catalog")]
    UnknownSidecar {
        /// The id asked for.
        sidecar: SidecarId,
    },
    /// There is no such store.
    #[error("store {store} is not in the catalog")]
    UnknownStore {
        /// The id asked for.
        store: StoreId,
    },
    /// Another recording's original is still expected under this name.
    #[error("a file of store {store} is in the catalog already")]
    AlreadyKnown {
        /// The store.
        store: StoreId,
    },
    /// The life cycle does not allow it.
    #[error("recording {recording} cannot do that now")]
    Illegal {
        /// Which recording.
        recording: RecordingId,
        /// What was tried.
        source: IllegalTransition,
    },
    /// It can only be done in another state.
    #[error("recording {recording} is {}, which does not allow it", state.as_str())]
    WrongState {
        /// Which recording.
        recording: RecordingId,
        /// The state it is in.
        state: RecordingState,
    },
    /// A sidecar is not in the state that this step starts from.
    #[error("sidecar {sidecar} cannot do that now")]
    WrongSidecarState {
        /// Which sidecar.
        sidecar: SidecarId,
    },
    /// There is a key already. It is never overwritten; an abandoned one is destroyed first.
    #[error("recording {recording} has a data key already")]
    KeyExists {
        /// Which recording.
        recording: RecordingId,
    },
    /// Nobody asked for this erasure, or it is at another step.
    #[error("no erasure of recording {recording} is at that step")]
    NotOwed {
        /// Which recording.
        recording: RecordingId,
    },
    /// The stored key is not in a form that the key manager reads.
    #[error("the wrapped key of recording {recording} is damaged")]
    DamagedKey {
        /// Which recording.
        recording: RecordingId,
    },
    /// Somebody reads an old view for too long, so the log cannot be reused.
    #[error("the catalog is being read, its log cannot be scrubbed now")]
    LogInUse,
    /// The log was not written over from end to end.
    #[error("{left_bytes} bytes of the log were not written over")]
    ScrubIncomplete {
        /// How much may still hold old values.
        left_bytes: u64,
    },
    /// The catalog file is larger than any we meant to make.
    #[error("a catalog of {pages} pages cannot be scrubbed")]
    TooLargeToScrub {
        /// Its size.
        pages: u64,
    },
    /// The file as a whole contradicts itself.
    #[error("the catalog is damaged")]
    NotWhole,
    /// A page of the file contradicts itself.
    #[error("page {page} of the catalog file is damaged")]
    DamagedPage {
        /// Its number, from 1.
        page: u64,
    },
}

impl CatalogError {
    /// Worth the same try again later; everything else needs a person or a different plan.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::LogInUse | Self::ScrubIncomplete { .. } => true,
            Self::Statement { source } => matches!(
                source.sqlite_error_code(),
                Some(
                    ErrorCode::DatabaseBusy
                        | ErrorCode::DatabaseLocked
                        | ErrorCode::DiskFull
                        | ErrorCode::SystemIoFailure
                        | ErrorCode::OutOfMemory
                )
            ),
            Self::File { source } => {
                use io::ErrorKind::{Interrupted, ResourceBusy, StorageFull};
                matches!(source.kind(), Interrupted | ResourceBusy | StorageFull)
            }
            Self::NewerSchema { .. }
            | Self::OlderSchema { .. }
            | Self::NotOurs
            | Self::NoLog
            | Self::ReadOnly
            | Self::UnknownRecording { .. }
            | Self::UnknownSidecar { .. }
            | Self::UnknownStore { .. }
            | Self::AlreadyKnown { .. }
            | Self::Illegal { .. }
            | Self::WrongState { .. }
            | Self::WrongSidecarState { .. }
            | Self::KeyExists { .. }
            | Self::NotOwed { .. }
            | Self::DamagedKey { .. }
            | Self::TooLargeToScrub { .. }
            | Self::NotWhole
            | Self::DamagedPage { .. } => false,
        }
    }
}
