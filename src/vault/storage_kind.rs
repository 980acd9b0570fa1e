//! What a file system and the device below it can promise about an overwrite.
//!
//! ```text
//! observe ──▶ Storage (per mount)  ┐
//! overwrite ──▶ FileSignals (per file) ┴─▶ judge ──▶ domain::Overwrite, the certificate's word
//! ```
//!
//! Pure: signals in, verdict out. The rule is that "in place" has to be seen, never assumed: the
//! same physical extents before and after, on a file system that is known to write there, with no
//! second copy in a journal. Whatever cannot be seen makes the verdict weaker.
//!
//! # Invariants
//!
//! - Overlay vetoes: its extents are those of the copied-up file, and the lower copy stays.
//! - A signal that could not be had counts as the worse answer.

use sha2::{Digest, Sha256};

use crate::domain::Overwrite;
use crate::sys::Extent;

/// The kinds of file system that differ in what they promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// ext2, ext3 or ext4.
    Ext,
    /// XFS.
    Xfs,
    /// btrfs.
    Btrfs,
    /// Lives in memory; the name says which.
    Memory(&'static str),
    /// One file system laid over another.
    Overlay,
    /// Never writes in place; the name says which.
    Elsewhere(&'static str),
    /// A server or another process decides; the name says which.
    Remote(&'static str),
    /// Not one we know; the number is its magic.
    Unknown(u64),
}

impl FileSystem {
    /// The file system of a `statfs` magic number.
    pub fn from_magic(magic: u64) -> Self {
        match magic {
            0xEF53 => Self::Ext,
            0x5846_5342 => Self::Xfs,
            0x9123_683E => Self::Btrfs,
            0x0102_1994 => Self::Memory("tmpfs"),
            0x8584_58F6 => Self::Memory("ramfs"),
            0x794C_7630 => Self::Overlay,
            0x2FC1_2FC1 => Self::Elsewhere("zfs"),
            0xCA45_1A4E => Self::Elsewhere("bcachefs"),
            0xF2F5_2010 => Self::Elsewhere("f2fs"),
            0x6969 => Self::Remote("nfs"),
            0xFF53_4D42 => Self::Remote("cifs"),
            0xFE53_4D42 => Self::Remote("smb2"),
            0x0102_1997 => Self::Remote("9p"),
            0x00C3_6400 => Self::Remote("ceph"),
            0x5346_414F => Self::Remote("afs"),
            0x6573_5546 => Self::Remote("fuse"),
            other => Self::Unknown(other),
        }
    }

    /// True if its map of extents tells every byte that is kept: what is not in it is a hole.
    pub(super) fn maps_holes(self) -> bool {
        match self {
            Self::Ext | Self::Xfs | Self::Btrfs => true,
            Self::Memory(_)
            | Self::Overlay
            | Self::Elsewhere(_)
            | Self::Remote(_)
            | Self::Unknown(_) => false,
        }
    }

    /// Stable name, for evidence and status.
    pub fn name(self) -> String {
        match self {
            Self::Ext => "ext4".to_owned(),
            Self::Xfs => "xfs".to_owned(),
            Self::Btrfs => "btrfs".to_owned(),
            Self::Overlay => "overlay".to_owned(),
            Self::Memory(name) | Self::Elsewhere(name) | Self::Remote(name) => name.to_owned(),
            Self::Unknown(magic) => format!("unknown-{magic:x}"),
        }
    }
}

/// What is below the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// A disk with platters, as far as it says.
    Rotational,
    /// Flash: an overwrite goes to other cells, and only the key's destruction reaches the old.
    Flash,
    /// A disk that another machine or a file pretends to be: nothing below is attested.
    Virtual,
    /// Across a network.
    Network,
    /// Memory; swap is not attested.
    Memory,
    /// Could not be found out.
    Unknown,
}

impl Media {
    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rotational => "rotational",
            Self::Flash => "flash",
            Self::Virtual => "virtual",
            Self::Network => "network",
            Self::Memory => "memory",
            Self::Unknown => "unknown",
        }
    }
}

/// One block device of the stack below a file system, as `/sys` tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockSignals {
    /// Kernel name (`sda`, `nvme0n1`, `dm-3`, `loop0`).
    pub name: String,
    /// `queue/rotational`, if it could be read.
    pub rotational: Option<bool>,
    /// `dm/uuid`, empty if it is no mapped device.
    pub dm_uuid: String,
    /// Hangs on a virtio bus.
    pub is_virtio: bool,
    /// A loop device whose file lies where writes go elsewhere.
    pub is_copied_below: bool,
}

/// What one mount can promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage {
    /// Its file system.
    pub file_system: FileSystem,
    /// What is below.
    pub media: Media,
    /// The journal may hold file content (`data=journal`), or nobody could say that it does not.
    pub may_journal_data: bool,
    /// Mounted `nodatacow`: new files of a btrfs are written in place.
    pub is_no_cow: bool,
    /// Blocks are given out by a thin pool, or kept by a snapshot or a copy-on-write file system
    /// below this one.
    pub is_thin: bool,
}

/// What was seen of one file around its overwrite.
#[derive(Clone, Debug, Default)]
pub struct FileSignals {
    /// Inode flags; `None` where the file system has none.
    pub inode_flags: Option<u32>,
    /// Extents before the first write, if there is a map.
    pub before: Option<Vec<Extent>>,
    /// Extents after the sync.
    pub after: Option<Vec<Extent>>,
    /// Every byte was read back past the page cache.
    pub read_back_direct: bool,
    /// The journal was written home and wiped between the write and the read-back.
    pub journal_flushed: bool,
}

/// For `doctor` and `status`: the promise of a folder, before anything is overwritten in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageReport {
    /// File system name.
    pub file_system: String,
    /// Device class.
    pub media: &'static str,
    /// The best that the certificate of a file in this folder can say.
    pub promise: Overwrite,
}

/// What may be said about one overwrite. The first reason for doubt wins.
pub fn judge(storage: &Storage, file: &FileSignals) -> Overwrite {
    match storage.file_system {
        FileSystem::Overlay | FileSystem::Elsewhere(_) => return Overwrite::NotGuaranteedCow,
        FileSystem::Remote(_) => return Overwrite::NotGuaranteedRemote,
        FileSystem::Unknown(_) => return Overwrite::NotGuaranteedUnknownFs,
        FileSystem::Memory(_) => return Overwrite::InPlaceUnverified,
        FileSystem::Ext | FileSystem::Xfs | FileSystem::Btrfs => {}
    }
    let (Some(before), Some(after)) = (&file.before, &file.after) else {
        return Overwrite::NotGuaranteedUnknownFs;
    };
    let has = |flags| before.iter().chain(after).any(|extent| extent.flags & flags != 0);
    let inode_flags = file.inode_flags.unwrap_or(0);
    if has(Extent::SHARED) {
        return Overwrite::NotGuaranteedShared;
    }
    if has(Extent::INLINE | Extent::ENCODED) || inode_flags & (FLAG_COMPRESSED | FLAG_INLINE) != 0 {
        return Overwrite::NotGuaranteedInlineOrCompressed;
    }
    let writes_in_place = storage.file_system != FileSystem::Btrfs || is_no_cow(file.inode_flags);
    if !writes_in_place || storage.is_thin || !all_stayed(before, after) {
        return Overwrite::NotGuaranteedCow;
    }
    if is_content_journaled(storage, file) && !file.journal_flushed {
        return Overwrite::JournalCopyPossible;
    }
    if file.read_back_direct { Overwrite::InPlaceVerified } else { Overwrite::InPlaceUnverified }
}

/// True if a btrfs writes a file of these inode flags in place, as long as nobody shares it.
pub(super) fn is_no_cow(inode_flags: Option<u32>) -> bool {
    inode_flags.unwrap_or(0) & FLAG_NOCOW != 0
}

/// True if the file's content may be in the journal of its file system, too.
pub(super) fn is_content_journaled(storage: &Storage, file: &FileSignals) -> bool {
    let is_ext = storage.file_system == FileSystem::Ext;
    is_ext && (storage.may_journal_data || file.inode_flags.unwrap_or(0) & FLAG_JOURNAL_DATA != 0)
}

/// The same for a folder: what `judge` would say of a plain file made there now.
pub fn promise(storage: &Storage, folder_flags: Option<u32>) -> Overwrite {
    let no_cow = if storage.is_no_cow { FLAG_NOCOW } else { 0 };
    let plain_file = FileSignals {
        inode_flags: Some(folder_flags.unwrap_or(0) | no_cow),
        before: Some(Vec::new()),
        after: Some(Vec::new()),
        read_back_direct: true,
        journal_flushed: false,
    };
    judge(storage, &plain_file)
}

/// The class of a stack of devices, topmost first, on a machine that is virtual or not.
pub fn classify_media(stack: &[BlockSignals], is_virtual_machine: bool) -> Media {
    let any_named = |prefixes: &[&str]| {
        stack.iter().any(|device| prefixes.iter().any(|prefix| device.name.starts_with(prefix)))
    };
    if any_named(&["nbd", "rbd", "drbd"]) {
        Media::Network
    } else if any_named(&["zram", "ram"]) {
        Media::Memory
    } else if is_virtual_machine
        || any_named(&["loop"])
        || stack.iter().any(|device| device.is_virtio)
    {
        Media::Virtual
    } else if stack.iter().any(|device| device.rotational == Some(false)) {
        Media::Flash
    } else if stack.iter().any(|device| device.rotational == Some(true)) {
        Media::Rotational
    } else {
        Media::Unknown
    }
}

/// True if a thin pool, a snapshot or a copy-on-write file system lies somewhere in the stack: LVM
/// marks its hidden halves.
pub fn is_thin(stack: &[BlockSignals]) -> bool {
    stack.iter().any(|device| {
        device.is_copied_below
            || ["-tpool", "-cow", "-real"].iter().any(|suffix| device.dm_uuid.ends_with(suffix))
    })
}

/// True if every byte that had a place before has the same place after. Extents may have been
/// split or joined meanwhile (preallocated ones become written), and holes may have been filled.
pub(super) fn all_stayed(before: &[Extent], after: &[Extent]) -> bool {
    if before.iter().chain(after).any(|extent| extent.flags & Extent::DELAYED != 0) {
        return false;
    }
    let mut after = after.iter().peekable();
    before.iter().all(|extent| {
        let mut at = extent.logical;
        let end = extent.logical.saturating_add(extent.len_bytes);
        while at < end {
            while after.next_if(|next| next.logical.saturating_add(next.len_bytes) <= at).is_some()
            {
            }
            let Some(next) = after.peek().filter(|next| next.logical <= at) else { return false };
            let place = extent.physical.wrapping_add(at - extent.logical);
            if next.physical.wrapping_add(at - next.logical) != place {
                return false;
            }
            at = next.logical.saturating_add(next.len_bytes);
        }
        true
    })
}

/// A digest of where the bytes lie, the same however the map is cut into extents.
pub(super) fn extents_digest(extents: &[Extent]) -> [u8; 32] {
    let mut runs: Vec<(u64, u64, u64)> = Vec::new();
    for extent in extents {
        match runs.last_mut() {
            Some((logical, physical, len))
                if logical.wrapping_add(*len) == extent.logical
                    && physical.wrapping_add(*len) == extent.physical =>
            {
                *len = len.wrapping_add(extent.len_bytes);
            }
            _ => runs.push((extent.logical, extent.physical, extent.len_bytes)),
        }
    }
    let mut digest = Sha256::new();
    for (logical, physical, len) in runs {
        digest.update([logical, physical, len].map(u64::to_be_bytes).concat());
    }
    digest.finalize().into()
}

/// `FS_COMPR_FL`, `FS_INLINE_DATA_FL`, `FS_JOURNAL_DATA_FL`, `FS_NOCOW_FL` of `linux/fs.h`.
const FLAG_COMPRESSED: u32 = 0x4;
const FLAG_INLINE: u32 = 0x1000_0000;
const FLAG_JOURNAL_DATA: u32 = 0x4000;
const FLAG_NOCOW: u32 = 0x80_0000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXT4: Storage = Storage {
        file_system: FileSystem::Ext,
        media: Media::Virtual,
        may_journal_data: false,
        is_no_cow: false,
        is_thin: false,
    };

    fn extent(logical: u64, physical: u64, len_bytes: u64, flags: u32) -> Extent {
        Extent { logical, physical, len_bytes, flags }
    }

    fn on(file_system: FileSystem) -> Storage {
        Storage { file_system, ..EXT4 }
    }

    fn plain(flags: u32) -> FileSignals {
        let map = vec![extent(0, 8192, 4096, 0)];
        FileSignals {
            inode_flags: Some(flags),
            before: Some(map.clone()),
            after: Some(map),
            read_back_direct: true,
            journal_flushed: false,
        }
    }

    /// The matrix that was measured on raw devices. Planted faults: overlay treated like ext4,
    /// the journal rule left out, and btrfs believed without its no-copy flag.
    #[test]
    fn the_promise_matrix() {
        use Overwrite as O;
        let moved = FileSignals { after: Some(vec![extent(0, 65_536, 4096, 0)]), ..plain(0) };
        let shared =
            FileSignals { before: Some(vec![extent(0, 8192, 4096, Extent::SHARED)]), ..plain(0) };
        let inline =
            FileSignals { before: Some(vec![extent(0, 0, 40, Extent::INLINE)]), ..plain(0) };
        let compressed =
            FileSignals { after: Some(vec![extent(0, 0, 40, Extent::ENCODED)]), ..plain(0) };
        let unmapped = FileSignals { before: None, ..plain(0) };
        let cached = FileSignals { read_back_direct: false, ..plain(0) };
        let journaled = Storage { may_journal_data: true, ..EXT4 };
        let flushed = FileSignals { journal_flushed: true, ..plain(FLAG_JOURNAL_DATA) };
        let flushed_cached = FileSignals { read_back_direct: false, ..flushed.clone() };
        let thin = Storage { is_thin: true, ..EXT4 };
        let rows = [
            (EXT4, plain(0), O::InPlaceVerified),
            (EXT4, cached, O::InPlaceUnverified),
            (EXT4, moved.clone(), O::NotGuaranteedCow),
            (EXT4, unmapped, O::NotGuaranteedUnknownFs),
            (EXT4, inline.clone(), O::NotGuaranteedInlineOrCompressed),
            (EXT4, plain(FLAG_JOURNAL_DATA), O::JournalCopyPossible),
            (journaled, plain(0), O::JournalCopyPossible),
            (journaled, flushed.clone(), O::InPlaceVerified),
            (EXT4, flushed, O::InPlaceVerified),
            (journaled, flushed_cached, O::InPlaceUnverified),
            (thin, plain(0), O::NotGuaranteedCow),
            (on(FileSystem::Xfs), plain(0), O::InPlaceVerified),
            (on(FileSystem::Xfs), shared.clone(), O::NotGuaranteedShared),
            (on(FileSystem::Btrfs), plain(0), O::NotGuaranteedCow),
            (on(FileSystem::Btrfs), moved, O::NotGuaranteedCow),
            (on(FileSystem::Btrfs), inline, O::NotGuaranteedInlineOrCompressed),
            (on(FileSystem::Btrfs), compressed, O::NotGuaranteedInlineOrCompressed),
            (on(FileSystem::Btrfs), plain(FLAG_NOCOW), O::InPlaceVerified),
            (on(FileSystem::Btrfs), shared, O::NotGuaranteedShared),
            (on(FileSystem::Overlay), plain(0), O::NotGuaranteedCow),
            (on(FileSystem::Elsewhere("zfs")), plain(0), O::NotGuaranteedCow),
            (on(FileSystem::Remote("nfs")), plain(0), O::NotGuaranteedRemote),
            (on(FileSystem::Memory("tmpfs")), plain(0), O::InPlaceUnverified),
            (on(FileSystem::Unknown(7)), plain(0), O::NotGuaranteedUnknownFs),
        ];
        for (row, (storage, file, expected)) in rows.into_iter().enumerate() {
            assert_eq!(judge(&storage, &file), expected, "row {row}: {:?}", storage.file_system);
        }
        assert_eq!(promise(&EXT4, None), O::InPlaceVerified);
        let btrfs = on(FileSystem::Btrfs);
        assert_eq!(promise(&btrfs, Some(0)), O::NotGuaranteedCow);
        assert_eq!(promise(&btrfs, Some(FLAG_NOCOW)), O::InPlaceVerified);
        assert_eq!(promise(&Storage { is_no_cow: true, ..btrfs }, Some(0)), O::InPlaceVerified);
    }

    #[test]
    fn the_worst_layer_names_the_media() {
        let device = |name: &str, rotational| BlockSignals {
            name: name.to_owned(),
            rotational: Some(rotational),
            ..BlockSignals::default()
        };
        let (disk, flash) = (device("sda", true), device("nvme0n1", false));
        assert_eq!(classify_media(&[], false), Media::Unknown);
        assert_eq!(classify_media(std::slice::from_ref(&disk), false), Media::Rotational);
        assert_eq!(classify_media(&[device("dm-0", true), flash.clone()], false), Media::Flash);
        // Planted fault: a virtual disk that calls itself rotational was believed.
        assert_eq!(classify_media(std::slice::from_ref(&disk), true), Media::Virtual);
        assert_eq!(classify_media(&[device("loop3", false), disk], false), Media::Virtual);
        assert_eq!(classify_media(&[device("nbd0", false)], true), Media::Network);
        let pool = BlockSignals { dm_uuid: "LVM-abc-tpool".to_owned(), ..flash };
        assert!(is_thin(&[device("dm-1", true), pool]));
        assert!(!is_thin(&[device("dm-1", true)]));
        let image = BlockSignals { is_copied_below: true, ..device("loop0", true) };
        assert!(is_thin(&[device("dm-1", true), image]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// However an unmoved file's map is split, it has stayed; move any one byte range and it
        /// has not. Planted fault: comparing only the first piece of each extent.
        #[test]
        fn only_places_matter(
            cuts in proptest::collection::btree_set(1u64..64, 0..6),
            cuts_after in proptest::collection::btree_set(1u64..64, 0..6),
            moved in 0u64..64,
        ) {
            let map = |cuts: &std::collections::BTreeSet<u64>, moved: Option<u64>| {
                let mut cuts = cuts.clone();
                cuts.extend(moved.iter().flat_map(|block| [*block, block + 1]));
                cuts.extend([0, 64]);
                let edges: Vec<u64> = cuts.into_iter().collect();
                edges.windows(2).map(|edge| {
                    let away = if Some(edge[0]) == moved { 1 << 40 } else { 0 };
                    extent(edge[0], 1000 + edge[0] + away, edge[1] - edge[0], 0)
                }).collect::<Vec<_>>()
            };
            let digest = |moved| extents_digest(&map(&cuts_after, moved));
            prop_assert_eq!(extents_digest(&map(&cuts, None)), digest(None));
            prop_assert_ne!(extents_digest(&map(&cuts, None)), digest(Some(moved)));
            prop_assert!(all_stayed(&map(&cuts, None), &map(&cuts_after, None)));
            prop_assert!(!all_stayed(&map(&cuts, None), &map(&cuts_after, Some(moved))));
        }
    }
}
