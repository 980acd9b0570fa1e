use super::*;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

const CALL: &[u8] = b"what was said on the telephone";
const OTHER: &[u8] = b"what is none of our business  ";
const OVERWRITE: RemovePolicy = RemovePolicy { overwrite: true };

struct Store {
    folder: TempDir,
}

impl Store {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, content: &[u8]) -> Sealed {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        Sealed {
            path: StorePath::new(name).unwrap(),
            expected: seen(&path),
            recording: RecordingId::new(),
        }
    }

    fn root(&self) -> File {
        File::open(self.folder.path()).unwrap()
    }

    fn remove(&self, sealed: &Sealed) -> Result<DestructionEvidence, RemoveError> {
        remove(self.root().as_fd(), sealed.removal(), OVERWRITE)
    }

    fn remove_with(
        &self,
        sealed: &Sealed,
        watch: Watch<'_>,
    ) -> Result<DestructionEvidence, RemoveError> {
        remove_watched(self.root().as_fd(), vec![sealed.removal()], OVERWRITE, watch).remove(0)
    }

    fn resume(&self, sealed: &[Sealed]) -> Vec<Result<Resumed, RemoveError>> {
        let unfinished = sealed.iter().map(Sealed::unfinished).collect();
        resume_many(self.root().as_fd(), unfinished, OVERWRITE)
    }

    fn files(&self) -> usize {
        let count = |folder: PathBuf| {
            let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
            entries.filter(|entry| !entry.file_type().unwrap().is_dir()).count()
        };
        count(self.at(""))
            + ["a", "b"].iter().map(|f| self.at(f)).filter(|f| f.is_dir()).map(count).sum::<usize>()
    }
}

#[derive(Clone)]
struct Sealed {
    path: StorePath,
    expected: Fingerprint,
    recording: RecordingId,
}

impl Sealed {
    fn removal(&self) -> Removal {
        Removal {
            path: self.path.clone(),
            expected: self.expected,
            proof: VerifiedSeal::for_test(self.recording, self.expected.size_bytes),
        }
    }

    fn unfinished(&self) -> Unfinished {
        Unfinished { path: self.path.clone(), expected: self.expected, recording: self.recording }
    }

    fn checking_name(&self) -> String {
        String::from_utf8(checking_name(self.recording, self.expected.inode)).unwrap()
    }

    fn removing_name(&self) -> String {
        String::from_utf8(removing_name(self.recording, self.expected.inode)).unwrap()
    }
}

fn seen(path: &Path) -> Fingerprint {
    let seen = fs::symlink_metadata(path).unwrap();
    Fingerprint {
        device: seen.dev(),
        inode: seen.ino(),
        size_bytes: seen.len(),
        modified_ns: seen.mtime() * 1_000_000_000 + seen.mtime_nsec(),
        changed_ns: 0,
    }
}

#[test]
fn what_was_proved_is_overwritten_and_gone() {
    let store = Store::new();
    let sealed = store.put("a/+12025550143.wav", CALL);
    let evidence = store.remove(&sealed).unwrap();
    assert_eq!(evidence.overwritten_bytes, CALL.len() as u64);
    assert_eq!(store.files(), 0);
    assert!(matches!(store.remove(&sealed), Err(RemoveError::Missing { .. })));

    let sealed = store.put("a/kept-by-policy.wav", CALL);
    let policy = RemovePolicy { overwrite: false };
    let evidence = remove(store.root().as_fd(), sealed.removal(), policy).unwrap();
    assert_eq!((evidence.overwrite, evidence.overwritten_bytes), (Overwrite::Skipped, 0));
    assert_eq!(store.files(), 0);
}

/// Each row swaps or changes the file in one way. Planted faults: links followed, no check of the
/// inode, of the size, of the time, of `nlink`.
#[test]
fn never_the_wrong_file() {
    type Attack = fn(&Store);
    type Refusal = fn(&RemoveError) -> bool;
    let changed: Refusal = |error| matches!(error, RemoveError::Changed { .. });
    let rows: [(&str, Attack, Refusal); 8] = [
        ("a symbolic link", |s| symlink(s.at("other"), away(s)).unwrap(), changed),
        (
            "another file, as old",
            |s| at_its_time(s, |s| drop(fs::copy(s.at("other"), away(s)))),
            changed,
        ),
        ("a folder", |s| fs::create_dir(away(s)).unwrap(), changed),
        ("a pipe", |s| pipe(&away(s)), changed),
        ("grown, as old", |s| at_its_time(s, |s| append(&s.at("a/call.wav"))), changed),
        ("rewritten, same size", |s| fs::write(s.at("a/call.wav"), OTHER).unwrap(), changed),
        (
            "a second name",
            |s| fs::hard_link(s.at("a/call.wav"), s.at("copy")).unwrap(),
            |error| matches!(error, RemoveError::HardLinked { links: 2, .. }),
        ),
        (
            "the folder is a link now",
            |s| {
                fs::rename(s.at("a"), s.at("b")).unwrap();
                symlink(s.at("b"), s.at("a")).unwrap();
            },
            changed,
        ),
    ];
    for (what, attack, is_expected) in rows {
        let store = Store::new();
        fs::write(store.at("other"), OTHER).unwrap();
        let sealed = store.put("a/call.wav", CALL);
        attack(&store);
        let before = (tree(&store), fs::read(store.at("other")).unwrap());
        let refused = store.remove(&sealed).unwrap_err();
        assert!(is_expected(&refused), "{what}: {refused:?}");
        assert!(!refused.is_transient(), "{what}");
        assert_eq!(before, (tree(&store), OTHER.to_vec()), "{what}");
    }
}

/// Changes what lies at `a/call.wav` and sets its time back, as an archiver does.
fn at_its_time(store: &Store, change: impl Fn(&Store)) {
    let path = store.at("a/call.wav");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    change(store);
    File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
}

/// Planted fault: no check of the lease.
#[test]
fn an_open_file_waits_and_a_proof_of_another_length_is_none() {
    let store = Store::new();
    let sealed = store.put("call.wav", CALL);
    for opener in
        [File::open(store.at("call.wav")), File::options().append(true).open(store.at("call.wav"))]
    {
        let opener = opener.unwrap();
        let refused = store.remove(&sealed).unwrap_err();
        assert!(matches!(refused, RemoveError::Busy { .. }) && refused.is_transient());
        drop(opener);
    }
    let short = Removal { proof: VerifiedSeal::for_test(sealed.recording, 1), ..sealed.removal() };
    let refused = remove(store.root().as_fd(), short, OVERWRITE);
    assert!(matches!(refused, Err(RemoveError::Changed { .. })));
    assert_eq!(fs::read(store.at("call.wav")).unwrap(), CALL);
}

#[test]
fn a_protected_file_is_left_alone() {
    for flag in [IFlags::IMMUTABLE, IFlags::APPEND] {
        let store = Store::new();
        let sealed = store.put("call.wav", CALL);
        let file = File::open(store.at("call.wav")).unwrap();
        let plain = rustix::fs::ioctl_getflags(&file).unwrap_or(IFlags::empty());
        if rustix::fs::ioctl_setflags(&file, plain | flag).is_err() {
            eprintln!("SKIP: cannot protect a file here");
            return;
        }
        drop(file);
        for overwrite in [true, false] {
            let policy = RemovePolicy { overwrite };
            let refused = remove(store.root().as_fd(), sealed.removal(), policy);
            assert!(matches!(refused, Err(RemoveError::Protected { .. })), "{refused:?}");
        }
        let file = File::open(store.at("call.wav")).unwrap();
        rustix::fs::ioctl_setflags(&file, plain).unwrap();
        assert_eq!(fs::read(store.at("call.wav")).unwrap(), CALL);
    }
}

/// What happens between the check and the rename is found after the rename, and the name goes
/// back. Planted fault: without the second check the other file is destroyed.
#[test]
fn the_last_moment_counts() {
    type Attack = fn(&Store) -> Option<File>;
    let rows: [(&str, Attack, &[u8]); 4] = [
        (
            "another file",
            |s| {
                fs::rename(s.at("call.wav"), s.at("elsewhere")).unwrap();
                fs::write(s.at("call.wav"), OTHER).unwrap();
                None
            },
            OTHER,
        ),
        (
            "a link",
            |s| {
                fs::write(s.at("other"), OTHER).unwrap();
                fs::rename(s.at("call.wav"), s.at("elsewhere")).unwrap();
                symlink(s.at("other"), s.at("call.wav")).unwrap();
                None
            },
            OTHER,
        ),
        ("a reader", |s| Some(File::open(s.at("call.wav")).unwrap()), CALL),
        (
            "a write",
            |s| {
                append(&s.at("call.wav"));
                None
            },
            b"what was said on the telephone!",
        ),
    ];
    for (what, attack, expected) in rows {
        let store = Store::new();
        let sealed = store.put("call.wav", CALL);
        let held = Mutex::new(None);
        let refused = store.remove_with(&sealed, &|step| {
            if step == Step::Rename {
                *held.lock().unwrap() = attack(&store);
            }
            Ok(())
        });
        assert!(refused.is_err(), "{what}");
        assert_eq!(fs::read(store.at("call.wav")).unwrap(), expected, "{what}");
        assert!(!store.at(&sealed.removing_name()).exists(), "{what}");
    }
}

/// A recorder writes between the two names and the power goes: what it wrote was never sealed, so
/// the file must come back as it is. Planted fault: a resumed removal that goes on
/// where the crash came, and overwrites what nobody has sealed.
#[test]
fn what_was_written_in_the_last_moment_survives_a_crash() {
    let whole = b"what was said on the telephone!".to_vec();
    for is_name_taken in [false, true] {
        let store = Store::new();
        let sealed = store.put("a/call.wav", CALL);
        // Opened before anything was checked; a lease is no bar where the kernel gives none.
        let refused = store.remove_with(&sealed, &|step| {
            if step != Step::Confirm {
                return Ok(());
            }
            append(&store.at(&format!("a/{}", sealed.checking_name())));
            Err(io::Error::other("power"))
        });
        assert!(matches!(refused, Err(RemoveError::Io { step: Step::Confirm, .. })));
        if is_name_taken {
            fs::write(store.at("a/call.wav"), OTHER).unwrap();
        }
        let resumed = store.resume(std::slice::from_ref(&sealed)).remove(0).unwrap();
        if is_name_taken {
            assert_eq!(resumed, Resumed::NothingLeft);
            assert_eq!(fs::read(store.at("a/call.wav")).unwrap(), OTHER);
            let beside = format!("a/call.kept-{}.wav", sealed.expected.inode);
            assert_eq!(fs::read(store.at(&beside)).unwrap(), whole);
        } else {
            assert_eq!(resumed, Resumed::Untouched);
            assert_eq!(fs::read(store.at("a/call.wav")).unwrap(), whole);
            // What is proved of it is no longer true, and it stays.
            assert!(matches!(store.remove(&sealed), Err(RemoveError::Changed { .. })));
        }
        assert!(!store.at(&format!("a/{}", sealed.checking_name())).exists());
    }
}

#[test]
fn a_name_beside_keeps_its_extension_and_fits() {
    for (name, beside) in [
        ("call.wav", "call.kept-7.wav"),
        ("call", "call.kept-7"),
        (".wav", ".wav.kept-7"),
        ("a.b.wav", "a.b.kept-7.wav"),
    ] {
        assert_eq!(beneath::name_beside(name.as_bytes(), 7), beside.as_bytes());
    }
    let long = [&[b'x'; 251][..], b".wav"].concat();
    let beside = beneath::name_beside(&long, u64::MAX);
    assert!(beside.len() == 255 && beside.ends_with(b".kept-18446744073709551615.wav"));
}

/// Planted fault: the recording alone in the name; the second of its files then finds it taken.
#[test]
fn a_recording_and_its_sidecar_go_together() {
    let store = Store::new();
    let media = store.put("a/call.wav", CALL);
    let sidecar = Sealed { recording: media.recording, ..store.put("a/call.json", OTHER) };
    let removals = vec![media.removal(), sidecar.removal()];
    for result in remove_many(store.root().as_fd(), removals, OVERWRITE) {
        result.unwrap();
    }
    assert_eq!(store.files(), 0);
}

/// Planted fault: all files of a batch open at once.
#[test]
fn a_batch_of_any_size_needs_few_descriptors() {
    let store = Store::new();
    let sealed: Vec<_> =
        (0..BATCH_MAX * 2 + 1).map(|n| store.put(&format!("{n}.wav"), b"")).collect();
    let removals: Vec<_> = sealed.iter().map(Sealed::removal).collect();
    let sizes = Mutex::new(Vec::new());
    let results = in_batches(removals, |batch| {
        sizes.lock().unwrap().push(batch.len());
        remove_watched(store.root().as_fd(), batch, OVERWRITE, &|_| Ok(()))
    });
    assert_eq!(sizes.into_inner().unwrap(), [BATCH_MAX, BATCH_MAX, 1]);
    assert!(results.len() == sealed.len() && results.iter().all(Result::is_ok));
    assert_eq!(store.files(), 0);
}

/// Stops three removals in two folders at each step in turn, as a crash would, and starts again.
/// Planted fault: overwriting before the new name; a stop there leaves a half random `call.wav`.
#[test]
fn stopped_anywhere_it_is_finished_later() {
    let names = ["a/1.wav", "a/2.wav", "b/3.wav"];
    let mut stop_at = 0;
    loop {
        let store = Store::new();
        let sealed: Vec<_> = names.iter().map(|name| store.put(name, CALL)).collect();
        let steps = AtomicUsize::new(0);
        let removals = sealed.iter().map(Sealed::removal).collect();
        let first = remove_watched(store.root().as_fd(), removals, OVERWRITE, &|_| {
            if steps.fetch_add(1, Ordering::SeqCst) >= stop_at {
                return Err(io::Error::other("power"));
            }
            Ok(())
        });
        for (name, result) in names.iter().zip(&first) {
            let is_whole = fs::read(store.at(name)).is_ok_and(|content| content == CALL);
            let has_its_name = store.at(name).exists();
            assert_eq!(is_whole, has_its_name, "stop {stop_at}: a half one under its own name");
            assert!(result.is_err() || !has_its_name, "stop {stop_at}");
        }
        if first.iter().all(Result::is_ok) {
            assert_eq!(store.files(), 0);
            assert!(stop_at > names.len() * 4, "each step was stopped once");
            return;
        }
        for (sealed, resumed) in sealed.iter().zip(store.resume(&sealed)) {
            if resumed.unwrap() == Resumed::Untouched {
                store.remove(sealed).unwrap();
            }
        }
        assert_eq!(store.files(), 0, "stop {stop_at}");
        for resumed in store.resume(&sealed) {
            assert_eq!(resumed.unwrap(), Resumed::NothingLeft);
        }
        stop_at += 1;
    }
}

/// Planted fault: believing the name alone.
#[test]
fn a_removing_name_alone_condemns_nobody() {
    let store = Store::new();
    let sealed = store.put("call.wav", CALL);
    fs::write(store.at(&sealed.removing_name()), OTHER).unwrap();
    let resumed = store.resume(std::slice::from_ref(&sealed)).remove(0);
    assert!(matches!(resumed, Err(RemoveError::Changed { .. })), "{resumed:?}");
    assert_eq!(fs::read(store.at(&sealed.removing_name())).unwrap(), OTHER);
    // A second removal does not replace it either.
    assert!(matches!(store.remove(&sealed), Err(RemoveError::Io { step: Step::Confirm, .. })));
    assert_eq!(fs::read(store.at("call.wav")).unwrap(), CALL);

    let left = leftover_removals(store.root().as_fd(), None).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].1, sealed.recording);
    for name in ["", "-1", "x-1", "019abcde-1", "x"].map(|id| format!(".recseal-{id}.removing")) {
        assert!(recording_being_removed(name.as_bytes()).is_none(), "{name}");
    }
}

/// Planted fault: unlinking by name without another look.
#[test]
fn what_took_the_removing_name_is_not_unlinked() {
    let store = Store::new();
    let sealed = store.put("call.wav", CALL);
    let removing = store.at(&sealed.removing_name());
    let refused = store.remove_with(&sealed, &|step| {
        if step == Step::Unlink {
            fs::rename(&removing, store.at("moved")).unwrap();
            fs::write(&removing, OTHER).unwrap();
        }
        Ok(())
    });
    assert!(matches!(refused, Err(RemoveError::Changed { .. })), "{refused:?}");
    assert_eq!(fs::read(&removing).unwrap(), OTHER);
}

#[test]
fn errors_name_ids_and_no_paths() {
    let store = Store::new();
    let sealed = store.put("a/+12025550143.wav", CALL);
    fs::hard_link(store.at("a/+12025550143.wav"), store.at("b-12025550143")).unwrap();
    let refused = store.remove(&sealed).unwrap_err();
    let said = format!("{refused} {refused:?} {:?}", sealed.removal());
    assert!(said.contains(&sealed.recording.to_string()) && !said.contains("0143"), "{said}");
}

/// Moves the call away, so that something else can take its name.
fn away(store: &Store) -> PathBuf {
    fs::rename(store.at("a/call.wav"), store.at("elsewhere")).unwrap();
    store.at("a/call.wav")
}

fn append(path: &Path) {
    use std::io::Write;
    File::options().append(true).open(path).unwrap().write_all(b"!").unwrap();
}

fn pipe(path: &Path) {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

/// Every name in the store with its inode, and each plain file's content.
fn tree(store: &Store) -> Vec<(PathBuf, u64, Option<Vec<u8>>)> {
    let mut all = Vec::new();
    let mut waiting = vec![store.at("")];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
            let seen = fs::symlink_metadata(entry.path()).unwrap();
            let content = seen.is_file().then(|| fs::read(entry.path()).unwrap());
            all.push((entry.path(), seen.ino(), content));
            if seen.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    all.sort();
    all
}
