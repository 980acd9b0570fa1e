mod hardship;

use super::*;

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::IFlags;
use tempfile::TempDir;

use super::super::{FullSpeed, Layout, LocalVault, Pace, Throttle, Vault, VaultError};
use crate::domain::Overwrite;
use crate::seal::Prefix;

/// A folder with sealed copies and what else a test puts there.
struct Tree {
    folder: TempDir,
}

/// One sealed copy, as the catalog knows it.
struct Copy {
    doomed: Doomed,
    content: Vec<u8>,
}

impl Tree {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sealed as far as an eraser looks: the prefix, and `len_bytes` in all.
    fn put(&self, name: &str, len_bytes: usize) -> Copy {
        let (recording, data_key) = (RecordingId::new(), DataKeyId::new());
        let prefix = Prefix { recording, data_key, kind: SealedKind::Media };
        let mut content = prefix.to_bytes().to_vec();
        content.resize(len_bytes.max(content.len()), b'P');
        fs::create_dir_all(self.at(name).parent().unwrap()).unwrap();
        fs::write(self.at(name), &content).unwrap();
        let expected = SealedIdentity {
            recording,
            data_key,
            kind: SealedKind::Media,
            sealed_bytes: content.len() as u64,
        };
        let doomed = Doomed {
            path: StorePath::new(name).unwrap(),
            token: Uuid::now_v7(),
            expected: Some(expected),
        };
        Copy { doomed, content }
    }

    /// Another one in the place of what is there, which is moved away.
    fn put_over(&self, name: &str, len_bytes: usize) -> Copy {
        fs::rename(self.at(name), self.at("elsewhere")).unwrap();
        self.put(name, len_bytes)
    }

    fn overwrite_watched(
        &self,
        copies: &[Copy],
        watch: Watch<'_>,
    ) -> Vec<Result<Overwritten, VaultError>> {
        let root = File::open(self.folder.path()).unwrap();
        let targets: Vec<_> = copies.iter().map(Copy::target).collect();
        overwrite_batch(root.as_fd(), &targets, &FullSpeed, watch)
    }

    fn unlink_watched(
        &self,
        copies: &[Copy],
        watch: Watch<'_>,
    ) -> Vec<Result<JournalFate, VaultError>> {
        let root = File::open(self.folder.path()).unwrap();
        let targets: Vec<_> = copies.iter().map(Copy::target).collect();
        unlink_batch(root.as_fd(), &targets, watch)
    }

    fn overwrite(&self, copies: &[Copy]) -> Vec<Result<Overwritten, VaultError>> {
        self.overwrite_watched(copies, &unwatched)
    }

    fn unlink(&self, copies: &[Copy]) -> Vec<Result<JournalFate, VaultError>> {
        self.unlink_watched(copies, &unwatched)
    }
}

impl Copy {
    fn target(&self) -> Target<'_> {
        let identity = Identity::Sealed(self.doomed.expected.as_ref());
        Target { path: &self.doomed.path, token: self.doomed.token, identity }
    }

    fn opaque_name(&self) -> String {
        format!(".recseal-{}.erasing", self.doomed.token)
    }
}

fn evidence(result: Result<Overwritten, VaultError>) -> CopyEvidence {
    match result.unwrap() {
        Overwritten::Done(evidence) => evidence,
        Overwritten::Missing => panic!("it was there"),
    }
}

/// Planted faults: the rename left out, the last bytes left out, the unlink in the first step.
#[test]
fn two_steps_and_it_is_gone() {
    let tree = Tree::new();
    let lengths = [64, 100, 4096, 10_000, (1 << 20) + 77, (40 << 20) + 5];
    let copies: Vec<_> =
        lengths.iter().map(|len| tree.put(&format!("a/+1202555{len}.sealed"), *len)).collect();
    for (copy, result) in copies.iter().zip(tree.overwrite(&copies)) {
        let evidence = evidence(result);
        let len = copy.content.len();
        assert_eq!(evidence.file_bytes, len as u64);
        assert_eq!(evidence.destruction.overwritten_bytes, len as u64);
        assert_ne!(evidence.destruction.overwrite, Overwrite::Skipped);
        assert!(!copy.doomed.path.expose_below(tree.folder.path()).exists());
        let left = fs::read(tree.at("a").join(copy.opaque_name())).unwrap();
        assert_eq!(left.len(), len);
        assert_eq!(left[..32], copy.target().stamp(), "its own mark");
        for block in left.chunks_exact(32) {
            assert!(block.iter().filter(|byte| **byte == b'P').count() < 16, "{len}");
        }
    }
    for fate in tree.unlink(&copies) {
        fate.unwrap();
    }
    assert_eq!(fs::read_dir(tree.at("a")).unwrap().count(), 0);
    for (missing, fate) in tree.overwrite(&copies).into_iter().zip(tree.unlink(&copies)) {
        assert_eq!(missing.unwrap(), Overwritten::Missing);
        fate.unwrap();
    }
}

const OTHER: &[u8] =
    b"what is none of our business, and long enough to be a prefix if one looks at lengths only";

/// Each row swaps or changes the file in one way. Planted faults: links followed, no look at the
/// prefix, at the length, at `nlink`.
#[test]
fn never_the_wrong_file() {
    type Attack = fn(&Tree);
    type Refusal = fn(&VaultError) -> bool;
    let changed: Refusal = |error| matches!(error, VaultError::Changed);
    let not_plain: Refusal = |error| matches!(error, VaultError::NotPlain);
    let rows: [(&str, Attack, Refusal); 9] = [
        ("a symbolic link", |t| symlink(t.at("other"), away(t)).unwrap(), not_plain),
        ("another file", |t| assert!(fs::copy(t.at("other"), away(t)).unwrap() > 0), changed),
        ("another sealed copy", |t| drop(t.put_over("a/call.sealed", 5_000)), changed),
        ("a folder", |t| fs::create_dir(away(t)).unwrap(), not_plain),
        ("a pipe", |t| pipe(&away(t)), not_plain),
        ("grown", |t| append(&t.at("a/call.sealed")), changed),
        ("cut", |t| cut(&t.at("a/call.sealed"), 70), changed),
        (
            "a second name",
            |t| fs::hard_link(t.at("a/call.sealed"), t.at("copy")).unwrap(),
            |error| matches!(error, VaultError::HardLinked { links: 2 }),
        ),
        (
            "the folder is a link now",
            |t| {
                fs::rename(t.at("a"), t.at("b")).unwrap();
                symlink(t.at("b"), t.at("a")).unwrap();
            },
            not_plain,
        ),
    ];
    for (what, attack, is_expected) in rows {
        let tree = Tree::new();
        fs::write(tree.at("other"), OTHER).unwrap();
        let copy = tree.put("a/call.sealed", 5_000);
        attack(&tree);
        let before = all_of(&tree);
        let refused = tree.overwrite(std::slice::from_ref(&copy)).remove(0).unwrap_err();
        assert!(is_expected(&refused), "{what}: {refused:?}");
        assert!(!refused.is_transient(), "{what}");
        assert_eq!(before, all_of(&tree), "{what}");
    }
}

/// What happens between the check and the rename is found after the rename, and the name goes
/// back. Planted fault: without the second look the other file is overwritten.
#[test]
fn the_last_moment_counts() {
    type Attack = fn(&Tree) -> Option<File>;
    let rows: [(&str, Attack); 5] = [
        ("another sealed copy", |t| {
            t.put_over("a/call.sealed", 5_000);
            None
        }),
        ("a link", |t| {
            symlink(t.at("other"), away(t)).unwrap();
            None
        }),
        ("a second name", |t| {
            fs::hard_link(t.at("a/call.sealed"), t.at("copy")).unwrap();
            None
        }),
        ("a reader", |t| Some(File::open(t.at("a/call.sealed")).unwrap())),
        ("a write", |t| {
            append(&t.at("a/call.sealed"));
            None
        }),
    ];
    for (what, attack) in rows {
        let tree = Tree::new();
        fs::write(tree.at("other"), OTHER).unwrap();
        let copy = tree.put("a/call.sealed", 5_000);
        let seen = Mutex::new(None);
        let refused = tree.overwrite_watched(std::slice::from_ref(&copy), &|step| {
            if step == Step::Rename {
                let held = attack(&tree);
                *seen.lock().unwrap() = Some((held, all_of(&tree)));
            }
            Ok(())
        });
        assert!(refused[0].is_err(), "{what}");
        assert_eq!(seen.into_inner().unwrap().unwrap().1, all_of(&tree), "{what}");
    }
}

#[test]
fn an_open_copy_waits_and_a_protected_one_stays() {
    let tree = Tree::new();
    let copy = tree.put("call.sealed", 5_000);
    let copies = std::slice::from_ref(&copy);
    let reader = File::open(tree.at("call.sealed")).unwrap();
    let refused = tree.overwrite(copies).remove(0).unwrap_err();
    assert!(matches!(refused, VaultError::Busy) && refused.is_transient());
    for flag in [IFlags::IMMUTABLE, IFlags::APPEND] {
        let plain = rustix::fs::ioctl_getflags(&reader).unwrap_or(IFlags::empty());
        if rustix::fs::ioctl_setflags(&reader, plain | flag).is_err() {
            eprintln!("SKIP: cannot protect a file here");
            break;
        }
        let refused = tree.overwrite(copies).remove(0);
        let now = rustix::fs::ioctl_getflags(&reader).unwrap();
        rustix::fs::ioctl_setflags(&reader, plain).unwrap();
        assert!(matches!(refused, Err(VaultError::Protected)), "{refused:?}");
        assert!(now.contains(flag), "a flag is never cleared");
    }
    assert_eq!(fs::read(tree.at("call.sealed")).unwrap(), copy.content);
    drop(reader);
    evidence(tree.overwrite(copies).remove(0));
}

/// Stops a batch of three in two folders at each step in turn, as a crash would, and starts again.
/// Planted fault: overwriting before the new name; a stop there leaves a half random file under
/// the old one.
#[test]
fn stopped_anywhere_it_is_finished_later() {
    let names = ["a/1.sealed", "a/2.sealed", "b/3.sealed"];
    for stop_at in 0.. {
        let tree = Tree::new();
        let copies: Vec<_> = names.iter().map(|name| tree.put(name, 5_000)).collect();
        let bystander = tree.put("a/other.sealed", 5_000);
        let steps = AtomicU64::new(0);
        let power = |_: Step| match steps.fetch_add(1, Ordering::SeqCst) {
            n if n >= stop_at => Err(std::io::Error::other("power")),
            _ => Ok(()),
        };
        let overwritten = tree.overwrite_watched(&copies, &power);
        let unlinked = tree.unlink_watched(&copies, &power);
        let is_through =
            overwritten.iter().all(Result::is_ok) && unlinked.iter().all(Result::is_ok);
        for copy in &copies {
            let own = copy.doomed.path.expose_below(tree.folder.path());
            assert!(fs::read(own).is_ok_and(|now| now == copy.content) || !is_named(&tree, copy));
        }
        for (copy, again) in copies.iter().zip(tree.overwrite(&copies)) {
            match again.unwrap() {
                Overwritten::Done(evidence) => assert_eq!(evidence.file_bytes, 5_000),
                Overwritten::Missing => assert!(stop_at > 0 && !is_anywhere(&tree, copy)),
            }
        }
        assert!(tree.unlink(&copies).iter().all(Result::is_ok), "stop {stop_at}");
        assert!(copies.iter().all(|copy| !is_anywhere(&tree, copy)), "stop {stop_at}");
        assert_eq!(fs::read(tree.at("a/other.sealed")).unwrap(), bystander.content);
        if is_through {
            assert!(stop_at > 20, "each step was stopped once: {stop_at}");
            return;
        }
    }
}

/// Planted faults: believing the opaque name alone in the first step, and in the second.
#[test]
fn an_opaque_name_alone_condemns_nobody() {
    let tree = Tree::new();
    let copy = tree.put("call.sealed", 5_000);
    let copies = std::slice::from_ref(&copy);
    fs::write(tree.at(&copy.opaque_name()), &OTHER.repeat(100)[..5_000]).unwrap();
    let before = all_of(&tree);
    assert!(matches!(tree.overwrite(copies).remove(0), Err(VaultError::Changed)));
    assert!(matches!(tree.unlink(copies).remove(0), Err(VaultError::Exists)));
    assert_eq!(before, all_of(&tree));
    fs::rename(tree.at("call.sealed"), tree.at("elsewhere")).unwrap();
    assert!(matches!(tree.unlink(copies).remove(0), Err(VaultError::Changed)));
    assert_eq!(fs::read(tree.at(&copy.opaque_name())).unwrap(), &OTHER.repeat(100)[..5_000]);
}

/// A recorder may use a name again: what lies there now is another recording's copy, and stays.
#[test]
fn a_name_that_was_used_again_is_nobody_elses_end() {
    let tree = Tree::new();
    let copy = tree.put("call.wav.sealed", 5_000);
    let copies = std::slice::from_ref(&copy);
    evidence(tree.overwrite(copies).remove(0));
    let newer = tree.put("call.wav.sealed", 5_000);
    evidence(tree.overwrite(copies).remove(0));
    tree.unlink(copies).remove(0).unwrap();
    assert!(matches!(tree.overwrite(copies).remove(0), Err(VaultError::Changed)));
    tree.unlink(copies).remove(0).unwrap();
    assert_eq!(fs::read(tree.at("call.wav.sealed")).unwrap(), newer.content);
}

/// Planted fault: `Stopped` treated as done.
#[test]
fn a_stopped_batch_goes_on_later() {
    let tree = Tree::new();
    let copies: Vec<_> = (0..6).map(|n| tree.put(&format!("{n}.sealed"), 3 << 20)).collect();
    let vault = LocalVault::open(tree.folder.path(), Layout::Own, 0).unwrap();
    let doomed: Vec<_> = copies.iter().map(|copy| copy.doomed.clone()).collect();
    let throttle = Throttle::new(0);
    throttle.stop();
    for refused in vault.overwrite_many(&doomed, &throttle) {
        assert!(matches!(refused, Err(VaultError::Stopped)));
    }
    assert!(copies.iter().all(|copy| is_named(&tree, copy)), "none has begun");
    struct StopsAfter(AtomicU64);
    impl Pace for StopsAfter {
        fn before(&self, _: u64) -> ControlFlow<()> {
            match self.0.fetch_add(1, Ordering::SeqCst) {
                0..15 => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        }
    }
    let stopped = vault.overwrite_many(&doomed, &StopsAfter(0.into()));
    assert!(stopped.iter().any(|one| matches!(one, Err(VaultError::Stopped))), "{stopped:?}");
    assert!(vault.unlink_many(&doomed[5..])[0].is_err(), "the last one cannot be through");
    throttle.go_on();
    vault.overwrite_many(&doomed, &throttle).into_iter().for_each(|one| drop(evidence(one)));
    let mut shown = 0;
    vault.list(&mut |_, _| shown += 1).unwrap();
    assert_eq!(shown, 0, "what is being erased is no sealed copy any more");
    assert!(vault.unlink_many(&doomed).iter().all(Result::is_ok));
    assert_eq!(fs::read_dir(tree.folder.path()).unwrap().count(), 0);
}

fn is_named(tree: &Tree, copy: &Copy) -> bool {
    copy.doomed.path.expose_below(tree.folder.path()).exists()
}

fn is_anywhere(tree: &Tree, copy: &Copy) -> bool {
    let token = copy.doomed.token.to_string();
    let has_token = |(path, ..): &(PathBuf, u64, Vec<u8>)| path.to_string_lossy().contains(&token);
    is_named(tree, copy) || all_of(tree).iter().any(has_token)
}

/// Moves the call away, so that something else can take its name.
fn away(tree: &Tree) -> PathBuf {
    fs::rename(tree.at("a/call.sealed"), tree.at("elsewhere")).unwrap();
    tree.at("a/call.sealed")
}

fn append(path: &Path) {
    use std::io::Write;
    File::options().append(true).open(path).unwrap().write_all(b"!").unwrap();
}

fn cut(path: &Path, len_bytes: u64) {
    File::options().write(true).open(path).unwrap().set_len(len_bytes).unwrap();
}

fn pipe(path: &Path) {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

/// Every name in the tree with its inode, and each plain file's content.
fn all_of(tree: &Tree) -> Vec<(PathBuf, u64, Vec<u8>)> {
    let mut all = Vec::new();
    let mut waiting = vec![tree.at("")];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
            let seen = fs::symlink_metadata(entry.path()).unwrap();
            let content = if seen.is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
            all.push((entry.path(), std::os::unix::fs::MetadataExt::ino(&seen), content));
            if seen.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    all.sort();
    all
}
