//! What every vault promises, checked on each layout and with each operation failing in turn.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use proptest::prelude::*;
use recseal::domain::{FileAttributes, Overwrite, SealedKind, StorePath};
use recseal::seal::{ReadAt, WriteAt};
use recseal::vault::faulty::{FaultyVault, Tripwire};
use recseal::vault::{
    Doomed, FullSpeed, Layout, LocalVault, Vault, VaultError, beside_path, own_path,
};
use tempfile::TempDir;
use uuid::Uuid;

const SEALED: &[u8] = b"RECSEAL\x01 not really, but a vault does not look inside";

fn vaults() -> Vec<(TempDir, Box<dyn Vault>, StorePath)> {
    let beside = beside_path(&StorePath::new("2026/11/+12025550143.wav").unwrap()).unwrap();
    let own = own_path(Uuid::now_v7(), SealedKind::Media);
    let local = |layout| {
        let folder = tempfile::tempdir().unwrap();
        let vault = LocalVault::open(folder.path(), layout, 0).unwrap();
        (folder, vault)
    };
    let (own_folder, own_vault) = local(Layout::Own);
    let (beside_folder, beside_vault) = local(Layout::Beside);
    let (faulty_folder, faulty_vault) = local(Layout::Own);
    let never = FaultyVault::new(faulty_vault, Tripwire::failing_once(u64::MAX));
    vec![
        (own_folder, Box::new(own_vault), own.clone()),
        (beside_folder, Box::new(beside_vault), beside),
        (faulty_folder, Box::new(never), own),
    ]
}

fn put(vault: &dyn Vault, path: &StorePath, content: &[u8]) -> Result<(), VaultError> {
    let draft = vault.begin(path, content.len() as u64)?;
    let write = |source| VaultError::Io { step: "writing", source };
    for (index, piece) in content.chunks(10).enumerate() {
        draft.write_all_at(piece, index as u64 * 10).map_err(write)?;
        draft.written(index as u64 * 10, piece.len() as u64);
    }
    vault.publish(vec![draft]).remove(0)
}

fn read(media: &dyn ReadAt) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(media.len_bytes()?).unwrap()];
    let mut done = 0;
    while done < bytes.len() {
        match media.read_at(&mut bytes[done..], done as u64)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => done += count,
        }
    }
    Ok(bytes)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
            if entry.file_type().unwrap().is_dir() {
                waiting.push(entry.path());
            } else {
                names.push(entry.file_name().into_string().unwrap());
            }
        }
    }
    names
}

fn listed(vault: &dyn Vault) -> Vec<(StorePath, u64)> {
    let mut all = Vec::new();
    vault.list(&mut |path, len_bytes| all.push((path, len_bytes))).unwrap();
    all
}

/// Planted faults: the final name given at the start, and a draft counted as published.
#[test]
fn a_name_is_a_whole_file() {
    for (folder, vault, path) in vaults() {
        let draft = vault.begin(&path, 5).unwrap();
        draft.write_all_at(b"later", 6).unwrap();
        assert!(!vault.exists(&path).unwrap());
        assert!(matches!(vault.open(&path), Err(VaultError::Missing)));
        assert!(listed(&*vault).is_empty());
        assert!(matches!(vault.begin(&path, 5), Err(VaultError::Exists)));
        draft.write_all_at(b"first ", 0).unwrap();
        for result in vault.publish(vec![draft]) {
            result.unwrap();
        }
        assert!(vault.exists(&path).unwrap());
        assert_eq!(read(&*vault.open(&path).unwrap()).unwrap(), b"first later");
        assert_eq!(read(&*vault.open_uncached(&path).unwrap()).unwrap(), b"first later");
        assert_eq!(listed(&*vault), [(path.clone(), 11)]);
        assert_eq!(names(folder.path()).len(), 1);
    }
}

/// Planted fault: a plain `rename`, which replaces.
#[test]
fn nothing_is_replaced() {
    for (folder, vault, path) in vaults() {
        put(&*vault, &path, SEALED).unwrap();
        assert!(matches!(put(&*vault, &path, b"newer"), Err(VaultError::Exists)));
        assert_eq!(read(&*vault.open(&path).unwrap()).unwrap(), SEALED);
        assert_eq!(names(folder.path()).len(), 1, "the second draft is gone");
    }
}

#[test]
fn a_batch_is_published_as_one_and_answered_one_by_one() {
    for (folder, vault, path) in vaults() {
        let parent = path.folder();
        let sibling = |n: u32| StorePath::join(parent.as_ref(), format!("{n}.sealed").as_bytes());
        let paths: Vec<_> = (0..5).map(|n| sibling(n).unwrap()).collect();
        put(&*vault, &paths[3], b"was there").unwrap();
        let drafts = paths.iter().map(|path| vault.begin(path, 1).unwrap()).collect();
        let results = vault.publish(drafts);
        let failed: Vec<_> = results.iter().map(Result::is_err).collect();
        assert_eq!(failed, [false, false, false, true, false]);
        assert_eq!(names(folder.path()).len(), 5);
    }
}

/// Planted fault: the sweep of a store took every `*.part`, the downloads of people too.
#[test]
fn drafts_are_swept_and_nothing_else() {
    for (folder, vault, path) in vaults() {
        drop(vault.begin(&path, 5).unwrap());
        assert_eq!(names(folder.path()), [""; 0], "a dropped draft takes its file along");
        std::mem::forget(vault.begin(&path, 5).unwrap()); // as a crash would
        put(&*vault, &beside_path(&path).unwrap(), SEALED).unwrap();
        assert_eq!(vault.sweep_drafts().unwrap(), 1);
        assert_eq!(vault.sweep_drafts().unwrap(), 0);
        assert_eq!(names(folder.path()).len(), 1);
        put(&*vault, &path, SEALED).unwrap();
    }
    let store = tempfile::tempdir().unwrap();
    fs::write(store.path().join("download.part"), b"a person's").unwrap();
    fs::write(store.path().join("call.wav.sealed.part"), b"ours").unwrap();
    symlink(store.path(), store.path().join("loop")).unwrap();
    let vault = LocalVault::open(store.path(), Layout::Beside, 0).unwrap();
    assert_eq!(vault.sweep_drafts().unwrap(), 1);
    assert!(store.path().join("download.part").exists());
    assert!(listed(&vault).is_empty());
}

#[test]
fn destroying_is_repeatable() {
    for (folder, vault, path) in vaults() {
        put(&*vault, &path, SEALED).unwrap();
        assert_eq!(vault.destroy(&path).unwrap().overwritten_bytes, SEALED.len() as u64);
        let again = vault.destroy(&path).unwrap();
        assert_eq!((again.overwrite, again.overwritten_bytes), (Overwrite::Skipped, 0));
        let elsewhere = StorePath::new("no/such/folder").unwrap();
        assert_eq!(vault.destroy(&elsewhere).unwrap().overwritten_bytes, 0);
        assert!(names(folder.path()).is_empty() && !vault.exists(&path).unwrap());
    }
}

/// Planted faults: no `NO_SYMLINKS` (the file outside is opened, even overwritten), no `nlink`.
#[test]
fn links_lead_nowhere() {
    for (folder, vault, path) in vaults() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("victim"), SEALED).unwrap();
        put(&*vault, &path, SEALED).unwrap();
        let real = path.expose_below(folder.path());
        let moved = outside.path().join("moved");
        fs::rename(&real, &moved).unwrap();
        symlink(outside.path().join("victim"), &real).unwrap();
        assert!(matches!(vault.open(&path), Err(VaultError::NotPlain)));
        assert!(matches!(vault.destroy(&path), Err(VaultError::NotPlain)));
        let through = StorePath::join(path.folder().as_ref(), b"out/victim").unwrap();
        symlink(outside.path(), real.parent().unwrap().join("out")).unwrap();
        assert!(matches!(vault.destroy(&through), Err(VaultError::NotPlain)));
        assert!(vault.begin(&through, 1).is_err());
        assert_eq!(fs::read(outside.path().join("victim")).unwrap(), SEALED);

        fs::rename(&moved, &real).unwrap();
        fs::hard_link(&real, &moved).unwrap();
        assert!(matches!(vault.destroy(&path), Err(VaultError::HardLinked { links: 2 })));
        assert_eq!(fs::read(&moved).unwrap(), SEALED);
        fs::create_dir(folder.path().join("folder.sealed")).unwrap();
        let not_a_file = StorePath::new("folder.sealed").unwrap();
        assert!(matches!(vault.open(&not_a_file), Err(VaultError::NotPlain)));
    }
}

#[test]
fn the_reserve_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let vault = LocalVault::open(folder.path(), Layout::Own, u64::MAX).unwrap();
    let path = own_path(Uuid::now_v7(), SealedKind::Peaks);
    let refused = vault.begin(&path, 1).unwrap_err();
    assert!(matches!(refused, VaultError::NoSpace { needed_bytes: 1, .. }));
    assert!(refused.is_transient());
    assert!(names(folder.path()).is_empty());
    vault.begin(&path, 0).unwrap();
    let roomy = LocalVault::open(folder.path(), Layout::Own, 0).unwrap();
    assert!(matches!(roomy.begin(&path, u64::MAX), Err(VaultError::NoSpace { .. })));
}

#[test]
fn attributes_are_kept_where_they_mean_something() {
    let attributes = FileAttributes {
        mode: 0o100640,
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        accessed_ns: 1_700_000_000_000_000_123,
        modified_ns: -1,
    };
    for (layout, mode) in [(Layout::Own, 0o600), (Layout::Beside, 0o640)] {
        let folder = tempfile::tempdir().unwrap();
        let vault = LocalVault::open(folder.path(), layout, 0).unwrap();
        let path = StorePath::new("call.wav.sealed").unwrap();
        let draft = vault.begin(&path, 1).unwrap();
        draft.write_all_at(b"x", 0).unwrap();
        assert!(draft.keep_attributes(&attributes).unwrap());
        vault.publish(vec![draft]).remove(0).unwrap();
        let seen = fs::metadata(path.expose_below(folder.path())).unwrap();
        assert_eq!(seen.permissions().mode() & 0o7777, mode);
        assert_eq!((seen.atime(), seen.atime_nsec()), (1_700_000_000, 123));
        assert_eq!((seen.mtime(), seen.mtime_nsec()), (-1, 999_999_999));
    }
}

#[test]
fn folders_are_private() {
    let folder = tempfile::tempdir().unwrap();
    let vault = LocalVault::open(folder.path(), Layout::Own, 0).unwrap();
    let path = own_path(Uuid::now_v7(), SealedKind::Media);
    put(&vault, &path, SEALED).unwrap();
    let inner = path.folder().unwrap();
    for made in [inner.folder().unwrap(), inner] {
        let mode = fs::metadata(made.expose_below(folder.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}

/// Seals and destroys with operation `n` failing, for all n: whatever the vault says exists is
/// whole, and the same life with a sound vault ends well. Planted fault: renaming before writing.
#[test]
fn every_operation_fails_once() {
    for stays_broken in [false, true] {
        let mut n = 0;
        loop {
            let folder = tempfile::tempdir().unwrap();
            let sound = || LocalVault::open(folder.path(), Layout::Own, 0).unwrap();
            let tripwire = match stays_broken {
                true => Tripwire::failing_from(n),
                false => Tripwire::failing_once(n),
            };
            let faulty = FaultyVault::new(sound(), tripwire.clone());
            let path = own_path(Uuid::now_v7(), SealedKind::Media);
            let life = || -> Result<(), VaultError> {
                put(&faulty, &path, SEALED)?;
                let media = faulty.open_uncached(&path)?;
                let broken = |source| VaultError::Io { step: "reading", source };
                assert_eq!(read(&*media).map_err(broken)?, SEALED);
                faulty.destroy(&path)?;
                Ok(())
            };
            let lived = life();
            let vault = sound();
            vault.sweep_drafts().unwrap();
            if vault.exists(&path).unwrap() {
                assert_eq!(read(&*vault.open(&path).unwrap()).unwrap(), SEALED, "operation {n}");
                vault.destroy(&path).unwrap();
            }
            put(&vault, &path, SEALED).unwrap();
            vault.destroy(&path).unwrap();
            assert!(names(folder.path()).is_empty(), "operation {n}");
            if lived.is_ok() {
                assert!(tripwire.steps() == n && n > 10, "each operation failed: {n}");
                break;
            }
            n += 1;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Pieces in any order, from no byte to more than one write-back, come back as they are.
    #[test]
    fn what_is_written_is_read(
        len_bytes in 0usize..200_000,
        piece_bytes in 1usize..70_000,
        backwards: bool,
        seed: u8,
    ) {
        let piece_bytes = piece_bytes.max(len_bytes / 100);
        let folder = tempfile::tempdir().unwrap();
        let vault = LocalVault::open(folder.path(), Layout::Own, 0).unwrap();
        let path = own_path(Uuid::now_v7(), SealedKind::Sidecar);
        let content: Vec<u8> = (0..len_bytes).map(|i| (i * 31) as u8 ^ seed).collect();
        let draft = vault.begin(&path, len_bytes as u64).unwrap();
        let mut pieces: Vec<_> = content.chunks(piece_bytes).enumerate().collect();
        if backwards {
            pieces.reverse();
        }
        for (index, piece) in pieces {
            let offset = (index * piece_bytes) as u64;
            draft.write_all_at(piece, offset).unwrap();
            draft.written(offset, 9 << 20);
        }
        vault.publish(vec![draft]).remove(0).unwrap();
        prop_assert_eq!(read(&*vault.open_uncached(&path).unwrap()).unwrap(), content);
    }
}

/// Three copies, each operation failing in turn: whatever was heard or not, nothing is lost and a
/// second try ends it. Planted fault: a second step that fails for what is gone.
#[test]
fn an_erasure_that_fails_anywhere_is_finished_later() {
    for fail_at in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let open = || LocalVault::open(folder.path(), Layout::Own, 0).unwrap();
        let doomed: Vec<_> = (0..3)
            .map(|_| {
                let path = own_path(Uuid::now_v7(), SealedKind::Media);
                put(&open(), &path, SEALED).unwrap();
                Doomed { path, token: Uuid::now_v7(), expected: None }
            })
            .collect();
        let faulty = FaultyVault::new(open(), Tripwire::failing_once(fail_at));
        let first = faulty.overwrite_many(&doomed, &FullSpeed);
        let heard: Vec<_> =
            doomed.iter().zip(&first).filter(|(_, done)| done.is_ok()).map(|(d, _)| d).collect();
        let heard: Vec<_> = heard.into_iter().cloned().collect();
        let second = faulty.unlink_many(&heard);
        let is_through = heard.len() == 3 && second.iter().all(Result::is_ok);
        assert!(!is_through || names(folder.path()).is_empty());
        for done in open().overwrite_many(&doomed, &FullSpeed) {
            done.unwrap();
        }
        for fate in open().unlink_many(&doomed) {
            fate.unwrap();
        }
        assert!(names(folder.path()).is_empty(), "operation {fail_at}");
        if is_through {
            assert_eq!(fail_at, 12, "each operation failed once");
            return;
        }
    }
}
