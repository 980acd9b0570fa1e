//! The facts everything else talks about: ids, files seen, recordings, sealed copies, evidence.
//!
//! Plain values without I/O, SQL or serialization: `catalog` has rows for them and `http` has
//! views. A [`StorePath`] may hold a phone number, so it prints as nothing: whoever needs the
//! bytes says [`StorePath::expose_bytes`], and that word can be searched for.

pub mod conversation;
pub mod doomed;
mod journal;
pub mod lifecycle;
pub mod xattr;

pub use journal::JournalFate;

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use uuid::Uuid;

use crate::clock::Timestamp;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id, sortable by the time it was made.
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )*};
}

ids! {
    /// One recording: one media file, the unit of sealing and erasing.
    RecordingId,
    /// One file beside media that tells about people.
    SidecarId,
    /// One data key. It belongs to one recording and one sealing attempt, ever.
    DataKeyId,
    /// One watched tree, known by the id file at its root and not by its path.
    StoreId,
    /// One conversation with its segments.
    ConversationId,
    /// Somebody who took part in one conversation.
    ParticipantId,
    /// One part of a conversation.
    SegmentId,
    /// One message of a chat.
    MessageId,
    /// One tag, built in or own.
    TagId,
    /// One record of what somebody agreed to or withdrew.
    ConsentId,
    /// One request of a person about their data.
    RequestId,
    /// One time that data about people was given to somebody.
    DisclosureId,
    /// One erasure that somebody asked for: a job with a recording per item.
    JobId,
    /// One legal hold.
    HoldId,
    /// One retention rule.
    RuleId,
}

/// The path of a file relative to its store. Personal data: it may hold a phone number.
///
/// Never absolute, never with `..`, never empty, at most 4,095 bytes; any bytes otherwise,
/// because Linux names are bytes. Neither `Debug` nor `Display` shows it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorePath(Vec<u8>);

impl StorePath {
    /// Checks and takes `bytes`; `None` if they could lead out of the store.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Option<Self> {
        let bytes = bytes.into();
        let is_sound = !bytes.is_empty()
            && bytes.len() <= PATH_BYTES_MAX
            && !bytes.contains(&0)
            && bytes.split(|b| *b == b'/').all(|part| !matches!(part, b"" | b"." | b".."));
        is_sound.then_some(Self(bytes))
    }

    /// The path below `folder` (`None` is the store's root) named `name`.
    pub fn join(folder: Option<&StorePath>, name: &[u8]) -> Option<Self> {
        match folder {
            None => Self::new(name),
            Some(folder) => Self::new([&folder.0, &b"/"[..], name].concat()),
        }
    }

    /// The bytes. Keep them out of logs, errors, metrics and audit.
    pub fn expose_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same as a path relative to the store's root.
    pub fn expose_path(&self) -> &Path {
        Path::new(std::ffi::OsStr::from_bytes(&self.0))
    }

    /// Where the file lies, given the store's root.
    pub fn expose_below(&self, root: &Path) -> PathBuf {
        root.join(self.expose_path())
    }

    /// The folder part; `None` is the store's root.
    pub fn folder(&self) -> Option<StorePath> {
        let cut = self.0.iter().rposition(|b| *b == b'/')?;
        Some(Self(self.0[..cut].to_vec()))
    }

    /// The last component.
    pub fn expose_name(&self) -> &[u8] {
        self.0.rsplit(|b| *b == b'/').next().unwrap_or(&self.0)
    }
}

impl fmt::Debug for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StorePath(..)")
    }
}

/// Is this still the file we saw? Device, inode, size and times of one look at a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// Device number of the file system.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Length.
    pub size_bytes: u64,
    /// Last write, nanoseconds since 1970.
    pub modified_ns: i64,
    /// Last change of content, name or attributes, nanoseconds since 1970. Cannot be set back
    /// by a program, so it is what "unchanged for `settle`" is measured from.
    pub changed_ns: i64,
}

impl Fingerprint {
    /// True if content cannot have changed between two looks. The change time is left out: a
    /// rename or `chmod` moves it and leaves the content alone. So is the device: disks and
    /// mounts are numbered anew at each boot, and that the tree is the same one is known from the
    /// id file of its store.
    pub fn has_same_content(&self, other: &Self) -> bool {
        (self.inode, self.size_bytes, self.modified_ns)
            == (other.inode, other.size_bytes, other.modified_ns)
    }

    /// The same, and nobody touched its name or attributes either.
    pub fn is_untouched_since(&self, other: &Self) -> bool {
        self.has_same_content(other) && self.changed_ns == other.changed_ns
    }
}

/// What is kept of an original besides its bytes and its [`xattr::ExtendedAttributes`] (S6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileAttributes {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last access, nanoseconds since 1970.
    pub accessed_ns: i64,
    /// Last write, nanoseconds since 1970.
    pub modified_ns: i64,
}

/// One look at one regular file in a store.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// Where.
    pub path: StorePath,
    /// Which content.
    pub fingerprint: Fingerprint,
    /// Mode, owner, times.
    pub attributes: FileAttributes,
    /// Names this file has. Above 1 it cannot be erased by removing one of them.
    pub links: u64,
}

/// What a sealed file holds. The number is the byte in its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SealedKind {
    /// The recording itself.
    Media,
    /// Waveform peaks made from it.
    Peaks,
    /// A file that stood beside it.
    Sidecar,
}

impl SealedKind {
    /// The prefix byte.
    pub fn byte(self) -> u8 {
        match self {
            Self::Media => 0,
            Self::Peaks => 1,
            Self::Sidecar => 2,
        }
    }

    /// The kind of a prefix byte.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Media),
            1 => Some(Self::Peaks),
            2 => Some(Self::Sidecar),
            _ => None,
        }
    }

    /// The name stored in the catalog.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Media => "media",
            Self::Peaks => "peaks",
            Self::Sidecar => "sidecar",
        }
    }
}

/// Which vault a sealed copy lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VaultName {
    /// The daemon's own tree.
    Own,
    /// Beside the originals of this store (`layout = "beside"`).
    Beside(StoreId),
}

/// One sealed file in one vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedCopy {
    /// Which vault.
    pub vault: VaultName,
    /// Path in that vault. With `beside` it holds the original name, so it is personal data.
    pub path: StorePath,
    /// Media, peaks or sidecar.
    pub kind: SealedKind,
    /// The sidecar, if it is one.
    pub sidecar: Option<SidecarId>,
    /// Length of the sealed file.
    pub sealed_bytes: u64,
    /// Length of what it holds.
    pub plain_bytes: u64,
}

/// What probing found. Every field may be missing: probing informs, it never blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaInfo {
    /// Stable name of the container (`wav`, `mp4`, …); `unknown` if none was recognised.
    pub container: String,
    /// Stable name of the first audio codec, or of the video codec where there is no audio.
    pub codec: Option<String>,
    /// Length in milliseconds, as far as the bytes really there allow.
    pub duration_ms: Option<u64>,
    /// Audio channels.
    pub channels: Option<u16>,
    /// Audio sample rate.
    pub sample_rate_hz: Option<u32>,
    /// Video width in pixels.
    pub width: Option<u32>,
    /// Video height in pixels.
    pub height: Option<u32>,
    /// What is wrong with the file, if something is.
    pub damage: Option<Damage>,
}

/// Why a file is not whole. Stored by name and shown to people; never a reason not to seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Damage {
    /// Nothing in it.
    Empty,
    /// Ends before its own header says.
    Truncated,
    /// The writer never finished it: sizes zero or unknown, index missing.
    Unfinished,
    /// Recognised, but its structure cannot be read.
    Corrupt,
}

impl Damage {
    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Truncated => "truncated",
            Self::Unfinished => "unfinished",
            Self::Corrupt => "corrupt",
        }
    }

    /// The damage of a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Empty, Self::Truncated, Self::Unfinished, Self::Corrupt]
            .into_iter()
            .find(|damage| damage.as_str() == name)
    }
}

/// What is known about the overwrite of one file. The words are those of the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Overwrite {
    /// Same physical extents before and after, every byte read back past the page cache.
    InPlaceVerified,
    /// Same extents, but the read-back came through the page cache.
    InPlaceUnverified,
    /// The file system writes elsewhere (copy-on-write, or extents moved).
    NotGuaranteedCow,
    /// Extents are shared with a clone or snapshot.
    NotGuaranteedShared,
    /// Data lies inside metadata, or compressed.
    NotGuaranteedInlineOrCompressed,
    /// A server decides (NFS, SMB, FUSE).
    NotGuaranteedRemote,
    /// `data=journal`: the journal may keep a copy.
    JournalCopyPossible,
    /// The file system is not one we know.
    NotGuaranteedUnknownFs,
    /// Nothing was overwritten because policy says so.
    Skipped,
}

impl Overwrite {
    /// Every outcome, for tests and for reading names back.
    pub const ALL: [Self; 9] = [
        Self::InPlaceVerified,
        Self::InPlaceUnverified,
        Self::NotGuaranteedCow,
        Self::NotGuaranteedShared,
        Self::NotGuaranteedInlineOrCompressed,
        Self::NotGuaranteedRemote,
        Self::JournalCopyPossible,
        Self::NotGuaranteedUnknownFs,
        Self::Skipped,
    ];

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InPlaceVerified => "in_place_verified",
            Self::InPlaceUnverified => "in_place_unverified",
            Self::NotGuaranteedCow => "not_guaranteed_cow",
            Self::NotGuaranteedShared => "not_guaranteed_shared",
            Self::NotGuaranteedInlineOrCompressed => "not_guaranteed_inline_or_compressed",
            Self::NotGuaranteedRemote => "not_guaranteed_remote",
            Self::JournalCopyPossible => "journal_copy_possible",
            Self::NotGuaranteedUnknownFs => "not_guaranteed_unknown_fs",
            Self::Skipped => "skipped",
        }
    }

    /// The outcome of a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == name)
    }
}

/// What happened to a plaintext original or a sealed copy when it was destroyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestructionEvidence {
    /// How far the overwrite may be trusted.
    pub overwrite: Overwrite,
    /// File system name (`ext4`, `xfs`, `btrfs`, …).
    pub file_system: String,
    /// Device class below (`rotational`, `flash`, `virtual`, `network`, `memory`, `unknown`).
    pub media: String,
    /// Bytes overwritten.
    pub overwritten_bytes: u64,
}

/// One recording as the catalog tells it to the doors.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Its id.
    pub id: RecordingId,
    /// The conversation it belongs to, once one is known.
    pub conversation: Option<ConversationId>,
    /// The store it was found in.
    pub store: StoreId,
    /// Where in its life it is.
    pub state: lifecycle::RecordingState,
    /// Why it waits for a person, if it does.
    pub quarantine: Option<String>,
    /// Its media is to be erased. Until that runs it can be played.
    pub planned_for_deletion: bool,
    /// Where the original was found. Personal data.
    pub path: StorePath,
    /// The original's identity when it was sealed.
    pub fingerprint: Fingerprint,
    /// The original's mode, owner and times.
    pub attributes: FileAttributes,
    /// What probing found; `None` before sealing.
    pub media: Option<MediaInfo>,
    /// When it was first seen.
    pub found_at: Timestamp,
    /// When the sealed copy was proved equal.
    pub sealed_at: Option<Timestamp>,
    /// What happened to the original, once it is gone.
    pub original: Option<DestructionEvidence>,
    /// The recording that it was made from by leaving something out. It has no original then.
    pub redacted_from: Option<RecordingId>,
}

/// Longest path Linux takes, without its final zero.
const PATH_BYTES_MAX: usize = 4_095;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_path_never_leads_out() {
        for bad in ["", "/", "/etc/passwd", "..", "a/../b", "a//b", "a/", "./a", "a/.", "a\0b"] {
            assert!(StorePath::new(bad).is_none(), "{bad:?}");
        }
        let path = StorePath::new("2026/11/+12025550143.wav").unwrap();
        assert_eq!(path.expose_name(), b"+12025550143.wav");
        assert_eq!(path.folder().unwrap().expose_bytes(), b"2026/11");
        assert!(StorePath::new("a").unwrap().folder().is_none());
        // Planted fault: `derive(Debug)` prints the number.
        assert!(!format!("{path:?}").contains("0143"));
    }

    #[test]
    fn stored_names_read_back() {
        for outcome in Overwrite::ALL {
            assert_eq!(Overwrite::from_name(outcome.as_str()), Some(outcome));
        }
        for kind in [SealedKind::Media, SealedKind::Peaks, SealedKind::Sidecar] {
            assert_eq!(SealedKind::from_byte(kind.byte()), Some(kind));
        }
    }
}
