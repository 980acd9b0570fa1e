//! Files that are being erased or were, each with what was seen of its end.

use uuid::Uuid;

use crate::clock::Timestamp;

pub use super::JournalFate;
use super::{
    DataKeyId, DestructionEvidence, Fingerprint, RecordingId, SealedKind, SidecarId, StorePath,
    VaultName,
};

/// One file of a recording that is erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoomedFile {
    /// The opaque name it gets while it is destroyed.
    pub token: Uuid,
    /// Whose it is.
    pub recording: RecordingId,
    /// What it is.
    pub kind: DoomedKind,
    /// The sidecar it holds, if it does.
    pub sidecar: Option<SidecarId>,
    /// Where it lies; `None` once it is gone. Of an original: its store, whatever its layout.
    pub place: Option<(VaultName, StorePath)>,
    /// The data key named in its prefix, if it is a sealed file.
    pub data_key: Option<DataKeyId>,
    /// Its length.
    pub bytes: u64,
    /// The content that was found, if it is plaintext.
    pub expected: Option<Fingerprint>,
    /// How far it is.
    pub step: DoomedStep,
    /// What was seen, once it was overwritten.
    pub evidence: Option<FileEvidence>,
}

/// What a doomed file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DoomedKind {
    /// A sealed file.
    Sealed(SealedKind),
    /// The plaintext of a recording that never was sealed.
    Original,
    /// A working file of the recorder that carries the name of the recording.
    Leftover,
}

impl DoomedKind {
    /// True if it holds what a person said, in clear.
    pub fn is_plaintext(self) -> bool {
        match self {
            Self::Sealed(_) => false,
            Self::Original | Self::Leftover => true,
        }
    }

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sealed(kind) => kind.as_str(),
            Self::Original => "original",
            Self::Leftover => "leftover",
        }
    }

    /// The kind of a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        let sealed = [SealedKind::Media, SealedKind::Peaks, SealedKind::Sidecar];
        let all = sealed.into_iter().map(Self::Sealed).chain([Self::Original, Self::Leftover]);
        all.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// How far the end of one file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DoomedStep {
    /// To be overwritten.
    Doomed,
    /// Overwritten and looked at; its evidence is recorded.
    Overwritten,
    /// Gone from its folder, and that is durable.
    Unlinked,
    /// Was not there any more.
    Missing,
}

impl DoomedStep {
    const ALL: [Self; 4] = [Self::Doomed, Self::Overwritten, Self::Unlinked, Self::Missing];

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Doomed => "doomed",
            Self::Overwritten => "overwritten",
            Self::Unlinked => "unlinked",
            Self::Missing => "missing",
        }
    }

    /// The step of a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == name)
    }
}

/// What was seen of the overwrite of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEvidence {
    /// How far the overwrite may be trusted.
    pub destruction: DestructionEvidence,
    /// What became of copies in the journal of the file system.
    pub journal: JournalFate,
    /// Its place on the device changed while it was overwritten: older copies may exist.
    pub moved: bool,
    /// Its inode.
    pub inode: u64,
    /// SHA-256 of the map of its extents, where there is one.
    pub extents: Option<[u8; 32]>,
    /// When.
    pub at: Timestamp,
}
