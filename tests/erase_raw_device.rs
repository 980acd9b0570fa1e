//! Sealed copies erased in two steps, and what a search of every byte of the device finds then.
//!
//! A sealed file is random, so a marker stands for its ciphertext, others for its name and its
//! attributes. Where the evidence says "in place, verified" nothing of the content may be left;
//! where the journal was wiped nothing of name and attributes either; and where a file system keeps
//! copies, they have to be found and the evidence may not deny them. Needs root.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::loop_fs::LoopFs;
use common::marker::Marker;
use common::{or_skip, run, tools};
use recseal::domain::{DataKeyId, JournalFate, Overwrite, RecordingId, SealedKind, StorePath};
use recseal::seal::Prefix;
use recseal::vault::{
    CopyEvidence, Doomed, FullSpeed, Layout, LocalVault, Overwritten, SealedIdentity, Vault,
};
use rustix::fs::XattrFlags;
use uuid::Uuid;

use JournalFate as J;
use Overwrite as O;

/// Inline in the inode, one block, a tail, several extents.
const SIZES: [usize; 4] = [40, 1_500, 10_000, (3 << 20) + 123];

/// Planted faults: nothing written and nothing compared (content is found), attributes left alone
/// and the journal left alone (their markers are found).
#[test]
fn ext4_is_clean_of_content_names_and_attributes() {
    let _alone = alone();
    let fs = or_skip!(LoopFs::make("ext4", "", &[]));
    let told = erased(fs, "");
    told.each(&[O::InPlaceVerified], J::NotFlushed, J::FlushedZeroed);
    assert_eq!(told.left, Left { content: 0, names: 0, attributes: 0 });
}

/// Both halves: the content's copies in the journal are wiped before the read-back, so that it is
/// one of the disk. Planted faults: no wipe between the halves (the evidence then says that a copy
/// is possible), and the wipe believed without being made (content is found).
#[test]
fn ext4_with_content_in_its_journal_is_clean_after_the_wipe() {
    let _alone = alone();
    let fs = or_skip!(LoopFs::make("ext4", "data=journal", &[]));
    let told = erased(fs, "");
    told.each(&[O::InPlaceVerified], J::FlushedZeroed, J::FlushedZeroed);
    assert_eq!(told.left, Left { content: 0, names: 0, attributes: 0 });
}

/// Mount options show nothing of this one.
#[test]
fn ext4_with_a_journal_set_by_tune2fs_is_clean_after_the_wipe() {
    let _alone = alone();
    or_skip!(tools(&["tune2fs"]));
    let fs = or_skip!(LoopFs::make("ext4", "", &[]));
    or_skip!(run(Command::new("umount").arg(fs.path())));
    or_skip!(run(Command::new("tune2fs").args(["-o", "journal_data"]).arg(fs.device())));
    or_skip!(run(Command::new("mount").arg(fs.device()).arg(fs.path())));
    let told = erased(fs, "");
    told.each(&[O::InPlaceVerified], J::FlushedZeroed, J::FlushedZeroed);
    assert_eq!(told.left.content, 0);
}

#[test]
fn ext4_without_a_journal_has_none_to_wipe() {
    let _alone = alone();
    let fs = or_skip!(LoopFs::make("ext4", "", &["-O", "^has_journal"]));
    let told = erased(fs, "");
    told.each(&[O::InPlaceVerified], J::NotFlushed, J::NotApplicable);
    assert_eq!(told.left, Left { content: 0, names: 0, attributes: 0 });
}

/// The smallest lies in its inode, and that is said; after the wipe nothing of it is left either.
#[test]
fn ext4_with_inline_data_is_clean_and_told() {
    let _alone = alone();
    let fs = or_skip!(LoopFs::make("ext4", "", &["-O", "inline_data", "-I", "256"]));
    let told = erased(fs, "");
    assert_eq!(told.evidence[0].destruction.overwrite, O::NotGuaranteedInlineOrCompressed);
    assert_eq!(told.evidence[3].destruction.overwrite, O::InPlaceVerified);
    assert_eq!(told.left, Left { content: 0, names: 0, attributes: 0 });
}

#[test]
fn a_bind_mount_is_what_it_shows() {
    let _alone = alone();
    let fs = or_skip!(LoopFs::make("ext4", "", &[]));
    let (inside, shown) = (fs.path().join("inside"), tempfile::tempdir().unwrap());
    fs::create_dir(&inside).unwrap();
    let bound = or_skip!(Mounted::at(shown.path(), &["--bind", text(&inside)]));
    let told = erased_in(fs, &bound.0.clone(), Some(bound));
    told.each(&[O::InPlaceVerified], J::NotFlushed, J::FlushedZeroed);
    assert_eq!(told.left, Left { content: 0, names: 0, attributes: 0 });
}

#[test]
fn xfs_is_clean_of_content_and_its_log_is_told() {
    let _alone = alone();
    let fs = or_skip!(LoopFs::make("xfs", "", &[]));
    let told = erased(fs, "");
    told.each(&[O::InPlaceVerified], J::NotFlushed, J::NotFlushed);
    assert_eq!(told.left.content, 0);
}

/// Planted fault: `SHARED` not looked at.
#[test]
fn a_clone_on_xfs_is_told() {
    let _alone = alone();
    let fs = or_skip!(LoopFs::make("xfs", "", &["-m", "reflink=1"]));
    let told = erased(fs, "clone");
    told.each(&[O::NotGuaranteedShared], J::NotFlushed, J::NotFlushed);
    assert!(told.left.content > 0, "the clones live on");
}

#[test]
fn btrfs_without_copy_on_write_is_clean_of_content() {
    let _alone = alone();
    let fs = or_skip!(LoopFs::make("btrfs", "nodatacow", &[]));
    let told = erased(fs, "");
    told.each(&[O::InPlaceVerified], J::NotApplicable, J::NotApplicable);
    assert_eq!(told.left.content, 0);
}

/// Planted fault: `judge` believing btrfs; the content is there and the evidence denies it.
#[test]
fn btrfs_is_told_as_it_is() {
    let _alone = alone();
    let fs = or_skip!(LoopFs::make("btrfs", "", &[]));
    let told = erased(fs, "");
    let expected = [O::NotGuaranteedCow, O::NotGuaranteedInlineOrCompressed];
    told.each(&expected, J::NotApplicable, J::NotApplicable);
    assert!(told.left.content > 0, "the control has to find what is kept");
}

#[test]
fn a_snapshot_on_btrfs_is_told() {
    let _alone = alone();
    let fs = or_skip!(LoopFs::make("btrfs", "nodatacow", &[]));
    let told = erased(fs, "snapshot");
    told.each(&[O::NotGuaranteedShared], J::NotApplicable, J::NotApplicable);
    assert!(told.left.content > 0, "the snapshot lives on");
}

/// A marker cannot be found in what was compressed; what was compressed may not be called clean.
#[test]
fn compression_on_btrfs_is_told() {
    let _alone = alone();
    let fs = or_skip!(LoopFs::make("btrfs", "compress-force=zstd", &[]));
    let told = erased(fs, "");
    let expected = [O::NotGuaranteedCow, O::NotGuaranteedInlineOrCompressed];
    told.each(&expected, J::NotApplicable, J::NotApplicable);
    assert_eq!(told.evidence[3].destruction.overwrite, O::NotGuaranteedInlineOrCompressed);
}

/// The upper copy is overwritten and the lower one stays. Planted fault: no veto for overlay.
#[test]
fn an_overlay_never_claims_to_be_in_place() {
    let _alone = alone();
    let fs = or_skip!(LoopFs::make("ext4", "", &[]));
    let at = |name: &str| fs.path().join(name);
    for folder in ["lower", "upper", "work"] {
        fs::create_dir(at(folder)).unwrap();
    }
    let markers = Markers::new();
    let doomed = markers.plant(&at("lower"));
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| text(&at(name)).to_owned());
    let merged = tempfile::tempdir().unwrap();
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let options = ["-t", "overlay", "overlay", "-o", &options];
    let mounted = or_skip!(Mounted::at(merged.path(), &options));
    let told = markers.erase(fs, merged.path(), &doomed, Some(mounted));
    told.each(&[O::NotGuaranteedCow], J::NotFlushed, J::NotFlushed);
    assert!(told.left.content > 0, "the lower copies live on");
}

/// A loop device shows what it lies on, unlike other virtual disks. Planted fault: not looked at;
/// the evidence then says in place, and the outer device has every old block.
#[test]
fn ext4_in_a_file_on_btrfs_is_told() {
    let _alone = alone();
    let mut outer = or_skip!(LoopFs::make_in(None, 1 << 30, "btrfs", "", &[]));
    let bytes = 384 << 20;
    let inner = or_skip!(LoopFs::make_in(Some(outer.path()), bytes, "ext4", "", &[]));
    let markers = Markers::new();
    let doomed = markers.plant(inner.path());
    or_skip!(run(Command::new("sync").arg("-f").arg(outer.path())));
    let root = inner.path().to_owned();
    let told = markers.erase(inner, &root, &doomed, None);
    told.each(&[O::NotGuaranteedCow], J::NotFlushed, J::FlushedZeroed);
    assert!(outer.count_at_rest(&markers.content) > 0, "the outer device keeps old blocks");
}

#[test]
fn memory_is_told() {
    let _alone = alone();
    or_skip!(common::root());
    let folder = tempfile::tempdir().unwrap();
    let mounted = or_skip!(Mounted::at(folder.path(), &["-t", "tmpfs", "tmpfs"]));
    let markers = Markers::new();
    let doomed = markers.plant(folder.path());
    let told = markers.act(folder.path(), &doomed);
    for (evidence, fate) in told {
        let destroyed = &evidence.destruction;
        assert_eq!((destroyed.overwrite, fate), (O::InPlaceUnverified, J::NotApplicable));
        assert_eq!(destroyed.media, "memory");
    }
    assert_eq!(markers.content.count_in_tree(folder.path()), 0);
    drop(mounted);
}

/// The control of controls: what is only unlinked is found, content, names and attributes.
#[test]
fn what_is_only_unlinked_is_found() {
    let _alone = alone();
    let mut fs = or_skip!(LoopFs::make("ext4", "", &[]));
    let markers = Markers::new();
    for doomed in markers.plant(fs.path()) {
        rustix::fs::unlink(doomed.path.expose_below(fs.path())).unwrap();
    }
    let left = markers.left(&mut fs);
    assert!(left.content > 40_000 && left.names > 0 && left.attributes > 0, "{left:?}");
}

/// How often each marker is on a device.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    content: u64,
    names: u64,
    attributes: u64,
}

/// What was said of each file, and the raw truth.
struct Told {
    evidence: Vec<CopyEvidence>,
    fates: Vec<JournalFate>,
    left: Left,
}

impl Told {
    /// Every file is told as one of `expected`; whoever says in place may not be wrong.
    fn each(&self, expected: &[Overwrite], content: JournalFate, names: JournalFate) {
        for (evidence, fate) in self.evidence.iter().zip(&self.fates) {
            let told = evidence.destruction.overwrite;
            assert!(expected.contains(&told), "{told:?} of {} bytes", evidence.file_bytes);
            assert_eq!((evidence.journal, *fate), (content, names));
            assert_eq!(evidence.destruction.overwritten_bytes, evidence.file_bytes);
            if told == O::InPlaceVerified {
                assert!(!evidence.moved);
                assert_eq!(evidence.extents_before, evidence.extents_after);
                assert_eq!(self.left.content, 0, "a false claim");
            }
        }
    }
}

/// One marker for each thing that is to go.
struct Markers {
    content: Marker,
    name: Marker,
    attribute: Marker,
}

impl Markers {
    fn new() -> Self {
        Self { content: Marker::short(), name: Marker::new(), attribute: Marker::new() }
    }

    /// Sealed copies of every size below `root`, durable, as a recorder's neighbour for weeks.
    fn plant(&self, root: &Path) -> Vec<Doomed> {
        let doomed = SIZES.map(|len_bytes| self.plant_one(root, len_bytes));
        run(Command::new("sync").arg("-f").arg(root)).unwrap();
        doomed.into()
    }

    fn plant_one(&self, root: &Path, len_bytes: usize) -> Doomed {
        let path = format!("{}-{len_bytes}.wav.sealed", self.name.text());
        let path = StorePath::new(path).unwrap();
        let (recording, data_key) = (RecordingId::new(), DataKeyId::new());
        let kind = SealedKind::Media;
        let mut content = self.content.fill(len_bytes);
        let mut expected = None;
        if len_bytes > 100 {
            content[..64].copy_from_slice(&Prefix { recording, data_key, kind }.to_bytes());
            let sealed_bytes = len_bytes as u64;
            expected = Some(SealedIdentity { recording, data_key, kind, sealed_bytes });
        }
        let at = path.expose_below(root);
        fs::write(&at, content).unwrap();
        let file = File::open(&at).unwrap();
        if len_bytes > 100 {
            let value = self.attribute.text().as_bytes();
            rustix::fs::fsetxattr(&file, "user.note", value, XattrFlags::CREATE).unwrap();
        }
        file.sync_all().unwrap();
        Doomed { path, token: Uuid::now_v7(), expected }
    }

    /// Both steps, each for all.
    fn act(&self, root: &Path, doomed: &[Doomed]) -> Vec<(CopyEvidence, JournalFate)> {
        let vault = LocalVault::open(root, Layout::Own, 0).unwrap();
        let done = vault.overwrite_many(doomed, &FullSpeed).into_iter();
        let evidence: Vec<_> = done
            .map(|done| match done.unwrap() {
                Overwritten::Done(evidence) => evidence,
                Overwritten::Missing => panic!("it was planted"),
            })
            .collect();
        let fates = vault.unlink_many(doomed).into_iter().map(Result::unwrap);
        evidence.into_iter().zip(fates).collect()
    }

    fn erase(&self, mut fs: LoopFs, root: &Path, doomed: &[Doomed], on: Option<Mounted>) -> Told {
        let before = fs.count_on_device(&self.content);
        let (evidence, fates) = self.act(root, doomed).into_iter().unzip();
        drop(on);
        let told = Told { evidence, fates, left: self.left(&mut fs) };
        println!("content before: {before}; {:?}; {:?}; {:?}", told.left, told.fates, words(&told));
        told
    }

    fn left(&self, fs: &mut LoopFs) -> Left {
        let content = fs.count_at_rest(&self.content);
        let (names, attributes) = (fs.count_at_rest(&self.name), fs.count_at_rest(&self.attribute));
        Left { content, names, attributes }
    }
}

fn words(told: &Told) -> Vec<&'static str> {
    told.evidence.iter().map(|one| one.destruction.overwrite.as_str()).collect()
}

fn erased(fs: LoopFs, twin: &str) -> Told {
    let root = fs.path().to_owned();
    let markers = Markers::new();
    let doomed = markers.plant(&root);
    match twin {
        "clone" => {
            for (n, one) in doomed.iter().enumerate() {
                let (from, to) = (one.path.expose_below(&root), root.join(format!("clone-{n}")));
                run(Command::new("cp").arg("--reflink=always").args([from, to])).unwrap();
            }
        }
        "snapshot" => {
            let mut snapshot = Command::new("btrfs");
            snapshot.args(["subvolume", "snapshot"]).arg(&root).arg(root.join("snapshot"));
            run(&mut snapshot).unwrap();
        }
        _ => {}
    }
    markers.erase(fs, &root, &doomed, None)
}

fn erased_in(fs: LoopFs, root: &Path, on: Option<Mounted>) -> Told {
    let markers = Markers::new();
    let doomed = markers.plant(root);
    markers.erase(fs, root, &doomed, on)
}

/// One more mount, undone on drop.
struct Mounted(PathBuf);

impl Mounted {
    fn at(path: &Path, options: &[&str]) -> Result<Self, String> {
        run(Command::new("mount").args(options).arg(path))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run(Command::new("umount").arg(&self.0)).unwrap();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is text")
}

/// One at a time: a child process that another test starts holds our files open from fork to
/// exec, and then they are busy, for a lease as for `umount`.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
