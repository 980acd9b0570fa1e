use super::*;

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use tempfile::TempDir;

use super::super::super::FullSpeed;
use super::super::super::beneath::fingerprint;
use crate::domain::Overwrite;

const CALL: &[u8] = b"what was said on the telephone";

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

    fn put(&self, name: &str, content: &[u8]) -> DoomedOriginal {
        fs::write(self.at(name), content).unwrap();
        DoomedOriginal {
            path: StorePath::new(name).unwrap(),
            token: Uuid::now_v7(),
            expected: fingerprint(&rustix::fs::stat(self.at(name)).unwrap()),
            order: ErasureOrder::after_no_return(RecordingId::new()),
        }
    }

    fn overwrite(&self, doomed: &[DoomedOriginal]) -> Vec<Result<Overwritten, VaultError>> {
        let root = File::open(self.folder.path()).unwrap();
        overwrite_originals(root.as_fd(), doomed, &FullSpeed)
    }

    fn unlink(&self, doomed: &[DoomedOriginal]) -> Vec<Result<JournalFate, VaultError>> {
        unlink_originals(File::open(self.folder.path()).unwrap().as_fd(), doomed)
    }
}

/// Planted faults: a policy that skips the overwrite; the unlink in the first step.
#[test]
fn what_was_ordered_is_overwritten_and_gone() {
    let store = Store::new();
    let doomed = [store.put("+12025550143.wav", CALL), store.put("empty.wav", b"")];
    for (doomed, done) in doomed.iter().zip(store.overwrite(&doomed)) {
        let Ok(Overwritten::Done(evidence)) = done else { panic!("{done:?}") };
        assert_eq!(evidence.destruction.overwritten_bytes, doomed.expected.size_bytes);
        assert_ne!(evidence.destruction.overwrite, Overwrite::Skipped);
        assert_eq!(evidence.inode, doomed.expected.inode);
        let opaque = store.at(&format!(".recseal-{}.erasing", doomed.token));
        assert!(!fs::read(opaque).unwrap().windows(4).any(|word| word == b"said"));
    }
    // Again, and then for good: what is half random is known by its inode.
    assert!(store.overwrite(&doomed).iter().all(|done| matches!(done, Ok(Overwritten::Done(_)))));
    assert!(store.unlink(&doomed).iter().all(Result::is_ok));
    assert_eq!(fs::read_dir(store.folder.path()).unwrap().count(), 0);
    assert!(matches!(store.overwrite(&doomed)[0], Ok(Overwritten::Missing)));
    assert!(store.unlink(&doomed).iter().all(Result::is_ok));
}

/// Planted faults: the time not looked at; the inode not looked at under the opaque name.
#[test]
fn another_content_is_left_alone() {
    type Attack = fn(&Store, &DoomedOriginal);
    let rows: [(&str, Attack); 4] = [
        ("written to", |s, _| fs::write(s.at("call.wav"), CALL.to_ascii_uppercase()).unwrap()),
        ("another file", |s, _| {
            fs::rename(s.at("call.wav"), s.at("elsewhere")).unwrap();
            fs::write(s.at("call.wav"), CALL).unwrap();
        }),
        ("a link", |s, _| {
            fs::rename(s.at("call.wav"), s.at("elsewhere")).unwrap();
            symlink(s.at("elsewhere"), s.at("call.wav")).unwrap();
        }),
        ("another one under the opaque name", |s, d| {
            fs::write(s.at(&format!(".recseal-{}.erasing", d.token)), CALL).unwrap();
        }),
    ];
    for (what, attack) in rows {
        let store = Store::new();
        let doomed = store.put("call.wav", CALL);
        // A whole second later by its own clock: what is written now has another time.
        let file = File::options().write(true).open(store.at("call.wav")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        drop(file);
        let expected = fingerprint(&rustix::fs::stat(store.at("call.wav")).unwrap());
        let doomed = DoomedOriginal { expected, ..doomed };
        attack(&store, &doomed);
        let names = |s: &Store| {
            let entries = fs::read_dir(s.folder.path()).unwrap().map(|entry| entry.unwrap().path());
            let mut all: Vec<_> = entries.map(|p| (p.clone(), fs::read(p).unwrap())).collect();
            all.sort();
            all
        };
        let before = names(&store);
        let refused = store.overwrite(std::slice::from_ref(&doomed)).remove(0);
        let is_refused = matches!(refused, Err(VaultError::Changed | VaultError::NotPlain));
        assert!(is_refused, "{what}: {refused:?}");
        assert_eq!(before, names(&store), "{what}");
    }
}

/// Planted fault: the second step without a look at the first.
#[test]
fn what_was_not_overwritten_is_not_unlinked() {
    let store = Store::new();
    let doomed = store.put("call.wav", CALL);
    let refused = store.unlink(std::slice::from_ref(&doomed)).remove(0);
    assert!(matches!(refused, Err(VaultError::Exists)), "{refused:?}");
    let opaque = store.at(&format!(".recseal-{}.erasing", doomed.token));
    fs::rename(store.at("call.wav"), &opaque).unwrap();
    let refused = store.unlink(std::slice::from_ref(&doomed)).remove(0);
    if !matches!(refused, Err(VaultError::Changed)) {
        let storage =
            super::super::super::observe::storage_of(File::open(&opaque).unwrap().as_fd());
        assert!(!super::super::super::overwrite::writes_in_place(&storage.unwrap()), "{refused:?}");
        return;
    }
    assert_eq!(fs::read(&opaque).unwrap(), CALL);
    let word = format!("{doomed:?}");
    assert!(word.contains(&doomed.order.recording().to_string()) && !word.contains("call"));
}
