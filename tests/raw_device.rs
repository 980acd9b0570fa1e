//! What is left on the device: writes a marker, erases, and searches every byte of the image.
//!
//! Each image is a file of its own behind a loop device. The negative controls matter as much as
//! the clean ones: where a file system keeps a copy, the marker has to be found and the evidence
//! has to say so. Needs root; a host that cannot is skipped unless `RECSEAL_TEST_ALL=1`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use recseal::domain::{Fingerprint, Overwrite, RecordingId, StorePath};
use recseal::vault::original::{RemovePolicy, Resumed, Unfinished, removing_name, resume_many};
use recseal::vault::{Layout, LocalVault, Vault, storage_report};
use tempfile::TempDir;

/// Inline in the inode, one block, a tail, several extents.
const SIZES: [usize; 4] = [40, 1_500, 10_000, (3 << 20) + 123];

macro_rules! or_skip {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(why) => return skip(&why),
        }
    };
}

/// Planted fault: neither written nor compared, as an eraser that believes itself.
#[test]
fn ext4_is_clean() {
    let image = or_skip!(Image::new(&["mkfs.ext4", "-q", "-F"], ""));
    image.check(Overwrite::InPlaceVerified, Left::Nothing);
}

#[test]
fn xfs_is_clean() {
    let image = or_skip!(Image::new(&["mkfs.xfs", "-q", "-f"], ""));
    image.check(Overwrite::InPlaceVerified, Left::Nothing);
}

#[test]
fn btrfs_without_copy_on_write_is_clean() {
    let image = or_skip!(Image::new(&["mkfs.btrfs", "-q", "-f"], "nodatacow"));
    image.check(Overwrite::InPlaceVerified, Left::Nothing);
}

/// Planted fault: `judge` believing btrfs; the marker is there and the evidence denies it.
#[test]
fn btrfs_is_told_as_it_is() {
    let image = or_skip!(Image::new(&["mkfs.btrfs", "-q", "-f"], ""));
    image.check(Overwrite::NotGuaranteedCow, Left::Copies);
}

#[test]
fn a_journal_with_data_is_told() {
    let image = or_skip!(Image::new(&["mkfs.ext4", "-q", "-F"], "data=journal"));
    image.check(Overwrite::JournalCopyPossible, Left::Copies);
}

/// Mount options show nothing of this one. Planted fault: reading mountinfo only.
#[test]
fn a_journal_set_by_tune2fs_is_told() {
    let image = or_skip!(Image::new(&["mkfs.ext4", "-q", "-F"], ""));
    or_skip!(image.unmount());
    or_skip!(run("tune2fs", &["-o", "journal_data", &image.device]));
    or_skip!(run("mount", &[&image.device, &image.mount_point]));
    image.check(Overwrite::JournalCopyPossible, Left::Copies);
}

#[test]
fn a_shared_extent_is_told() {
    let image = or_skip!(Image::new(&["mkfs.xfs", "-q", "-f", "-m", "reflink=1"], ""));
    let (original, clone) = (image.at("original"), image.at("clone"));
    write_marked(&original, 3 << 20);
    or_skip!(run("cp", &["--reflink=always", text(&original), text(&clone)]));
    let done = finish_removal(&image.at(""), &original);
    assert_eq!(done, (Overwrite::NotGuaranteedShared, 3 << 20));
    assert!(image.markers_left() > 0, "the clone lives on");
}

/// The upper copy is overwritten and the lower one stays. Planted fault: no veto for overlay.
#[test]
fn an_overlay_never_claims_to_be_in_place() {
    let image = or_skip!(Image::new(&["mkfs.ext4", "-q", "-F"], ""));
    for folder in ["lower", "upper", "work", "merged"] {
        fs::create_dir(image.at(folder)).unwrap();
    }
    write_marked(&image.at("lower/original"), 10_000);
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        text(&image.at("lower")),
        text(&image.at("upper")),
        text(&image.at("work"))
    );
    let merged = image.at("merged");
    or_skip!(run("mount", &["-t", "overlay", "overlay", "-o", &options, text(&merged)]));
    let promise = storage_report(File::open(&merged).unwrap().as_fd()).unwrap().promise;
    let done = finish_removal(&merged, &merged.join("original"));
    assert_eq!((done.0, promise), (Overwrite::NotGuaranteedCow, Overwrite::NotGuaranteedCow));
    assert!(image.markers_left() > 0, "the lower copy lives on");
}

/// Extended attributes, in the inode and in a block of their own. Without a journal: one keeps
/// copies of metadata until it wraps, and nobody can promise otherwise.
///
/// Planted faults: values not blotted out; values removed without zeros made durable first.
#[test]
fn extended_attributes_leave_ext4() {
    let image =
        or_skip!(Image::new(&["mkfs.ext4", "-q", "-F", "-b", "4096", "-O", "^has_journal"], ""));
    let vault = LocalVault::open(&image.at(""), Layout::Own, 0).unwrap();
    for len_bytes in [40, 2_000] {
        let path = StorePath::new(format!("{len_bytes}.media")).unwrap();
        let file = File::create(path.expose_below(&image.at(""))).unwrap();
        let value: Vec<u8> = MARKER.iter().copied().cycle().take(len_bytes).collect();
        rustix::fs::fsetxattr(&file, "user.note", &value, rustix::fs::XattrFlags::CREATE).unwrap();
        file.sync_all().unwrap();
        or_skip!(run("sync", &["-f", text(&image.at(""))]));
        let marker = std::str::from_utf8(&value[..MARKER.len()]).unwrap();
        let raw = image.folder.path().join("image");
        run("grep", &["-aqF", marker, text(&raw)]).expect("the control finds it");
        drop(file);
        vault.destroy(&path).unwrap();
    }
    drop(vault);
    assert_eq!(image.markers_left(), 0);
}

/// What has to be found on the raw image.
#[derive(PartialEq)]
enum Left {
    Nothing,
    Copies,
}

/// One file system in one file, with everything undone on drop.
///
/// One at a time: a child process that another test starts holds our files open from fork to
/// exec, and then they are busy, for a lease as for `umount`.
struct Image {
    folder: TempDir,
    mount_point: String,
    device: String,
    _alone: MutexGuard<'static, ()>,
}

impl Image {
    fn new(mkfs: &[&str], options: &str) -> Result<Self, String> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let file = folder.path().join("image");
        let image = File::create(&file).map_err(|error| error.to_string())?;
        image.set_len(320 << 20).map_err(|error| error.to_string())?;
        let mount_point = text(&folder.path().join("mnt")).to_owned();
        fs::create_dir(&mount_point).map_err(|error| error.to_string())?;
        let device = run("losetup", &["-f", "--show", text(&file)])?.trim().to_owned();
        let image = Self { folder, mount_point, device, _alone: alone };
        run(mkfs[0], &[&mkfs[1..], &[&image.device]].concat())?;
        let options = if options.is_empty() { "rw" } else { options };
        run("mount", &["-o", options, &image.device, &image.mount_point])?;
        Ok(image)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join("mnt").join(name)
    }

    fn unmount(&self) -> Result<String, String> {
        run("umount", &["-R", &self.mount_point])
    }

    /// Originals and sealed copies of every size: all told as `expected`, then the raw truth.
    fn check(self, expected: Overwrite, left: Left) {
        let vault = LocalVault::open(&self.at(""), Layout::Own, 0).unwrap();
        for len_bytes in SIZES {
            let path = StorePath::new(format!("{len_bytes}.media")).unwrap();
            write_marked(&path.expose_below(&self.at("")), len_bytes);
            let evidence = vault.destroy(&path).unwrap();
            agree(expected, evidence.overwrite, len_bytes);
            assert_eq!(evidence.overwritten_bytes, len_bytes as u64);
            assert_eq!(evidence.media, "virtual", "a loop device attests nothing below");

            let original = self.at(&format!("{len_bytes}.wav"));
            write_marked(&original, len_bytes);
            let (overwrite, bytes) = finish_removal(&self.at(""), &original);
            agree(expected, overwrite, len_bytes);
            assert_eq!(bytes, len_bytes as u64);
        }
        let promise = storage_report(File::open(self.at("")).unwrap().as_fd()).unwrap().promise;
        assert_eq!(promise, expected);
        drop(vault);
        let found = self.markers_left();
        match left {
            Left::Nothing => assert_eq!(found, 0, "content left on the raw device"),
            Left::Copies => assert!(found > 0, "the control has to find what is kept"),
        }
    }

    /// Unmounts, detaches (that is the flush) and counts the markers in the image.
    fn markers_left(mut self) -> usize {
        self.unmount().unwrap();
        run("losetup", &["-d", &std::mem::take(&mut self.device)]).unwrap();
        let image = File::open(self.folder.path().join("image")).unwrap();
        let len_bytes = image.metadata().unwrap().len();
        let (mut at, mut found) = (0, 0);
        // Holes are skipped; a marker never straddles one, for it lies in written blocks.
        while let Ok(start) = rustix::fs::seek(&image, rustix::fs::SeekFrom::Data(at)) {
            let hole = rustix::fs::seek(&image, rustix::fs::SeekFrom::Hole(start));
            at = hole.unwrap_or(len_bytes);
            let mut bytes = vec![0; usize::try_from(at - start).unwrap()];
            image.read_exact_at(&mut bytes, start).unwrap();
            found += bytes.windows(MARKER.len()).filter(|window| window == MARKER).count();
        }
        found
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if !self.device.is_empty() {
            self.unmount().ok();
            run("losetup", &["-d", &self.device]).ok();
        }
    }
}

/// A small file of btrfs lies inside its metadata, which is told before anything else.
fn agree(expected: Overwrite, told: Overwrite, len_bytes: usize) {
    let inline = Overwrite::NotGuaranteedInlineOrCompressed;
    let may_be_inline = expected == Overwrite::NotGuaranteedCow && len_bytes < 2_048;
    assert!(told == expected || (may_be_inline && told == inline), "{len_bytes}: {told:?}");
}

/// Plants the removal of `original` as a crash would have left it, and finishes it.
fn finish_removal(root: &Path, original: &Path) -> (Overwrite, u64) {
    let recording = RecordingId::new();
    let name = original.file_name().unwrap().to_str().unwrap();
    let seen = fs::metadata(original).unwrap();
    let removing = String::from_utf8(removing_name(recording, seen.ino())).unwrap();
    fs::rename(original, root.join(removing)).unwrap();
    let expected = Fingerprint {
        device: seen.dev(),
        inode: seen.ino(),
        size_bytes: seen.len(),
        modified_ns: 0,
        changed_ns: 0,
    };
    let path = StorePath::new(name).unwrap();
    let unfinished = Unfinished { path, expected, recording };
    let policy = RemovePolicy { overwrite: true };
    let root = File::open(root).unwrap();
    match resume_many(root.as_fd(), vec![unfinished], policy).remove(0).unwrap() {
        Resumed::Finished(evidence) => (evidence.overwrite, evidence.overwritten_bytes),
        other => panic!("not finished: {other:?}"),
    }
}

/// Markers all over, durable, as a file that a recorder wrote long ago.
fn write_marked(path: &Path, len_bytes: usize) {
    let content: Vec<u8> = MARKER.iter().copied().cycle().take(len_bytes).collect();
    fs::write(path, content).unwrap();
    File::open(path).unwrap().sync_all().unwrap();
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let done = Command::new(program).args(arguments).output();
    let done = done.map_err(|error| format!("{program}: {error}"))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&done.stderr).trim()))
}

#[expect(clippy::disallowed_methods, reason = "a test is told by the environment")]
fn skip(why: &str) {
    assert!(std::env::var_os("RECSEAL_TEST_ALL").is_none(), "may not be skipped: {why}");
    eprintln!("SKIP: {why}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is text")
}

const MARKER: &[u8; 32] = b"<spoken-by-a-person-0xC0FFEE77!>";

static ALONE: Mutex<()> = Mutex::new(());
