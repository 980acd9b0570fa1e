//! What was deleted is nowhere: not in the files, and on an in-place file system not on the device.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::*;

/// Unlike anything else in the file, and cut where a B-tree might share a prefix.
const NAME: &[u8] = b"NameToBeGone-4f1d9c";
const KEY: &[u8; 60] = b"KeyToBeGone-4f1d9c.KeyToBeGone-4f1d9c.KeyToBeGone-4f1d9c....";

/// 2,000 recordings in random order of ids, every tenth of them with marks in its name and key;
/// then those are abandoned and forgotten, twenty per transaction. Returns the marked ones.
fn fill(catalog: &Catalog, store: StoreId) -> Vec<RecordingId> {
    let mut marked = Vec::new();
    for batch in 0..40_u32 {
        catalog
            .write(|tx| {
                for n in batch * 50..batch * 50 + 50 {
                    let digest = Sha256::digest(n.to_be_bytes());
                    let id = RecordingId(Uuid::from_slice(&digest[..16]).unwrap());
                    let is_marked = n % 10 == 0;
                    let name = if is_marked { str::from_utf8(NAME).unwrap() } else { "call" };
                    let file = sighting(&format!("{}/{name}-{n}.wav", n % 7));
                    add_found(tx, store, id, &file, true)?;
                    let bytes = if is_marked { KEY } else { &[0xAA; 60] };
                    tx.record_key(id, &wrapped_key_of(1, bytes), at(1))?;
                    tx.advance(id, RecordingEvent::KeyRecorded, &entry(id, 1))?;
                    if is_marked {
                        marked.push(id);
                    }
                }
                Ok::<_, CatalogError>(())
            })
            .unwrap();
    }
    marked
}

fn forget(catalog: &Catalog, marked: &[RecordingId]) {
    for batch in marked.chunks(20) {
        catalog
            .write(|tx| {
                for id in batch {
                    tx.advance(*id, RecordingEvent::AttemptAbandoned, &entry(*id, 2))?;
                    assert!(tx.destroy_key(*id)?);
                    tx.forget_found(*id)?;
                }
                Ok::<_, CatalogError>(())
            })
            .unwrap();
    }
}

/// How often the marks are in the bytes of `file`.
fn marks_in(file: &Path) -> usize {
    let bytes = fs::read(file).unwrap();
    let count = |mark: &[u8]| {
        bytes.windows(mark.len()).filter(|window| window[0] == mark[0] && *window == mark).count()
    };
    count(NAME) + count(&KEY[..18])
}

fn marks_in_files(dir: &Path) -> usize {
    ["catalog.db", "catalog.db-wal"].iter().map(|file| marks_in(&dir.join(file))).sum()
}

/// Planted faults: `secure_delete` off (db), gaps not zeroed (db), the writer not started anew (db,
/// after the next change), the filler left out (log), PERSIST_WAL left out (`close` frees blocks).
#[test]
fn nothing_deleted_is_left_in_the_files() {
    let f = Fixture::new();
    let marked = fill(&f.catalog, f.store);
    assert!(marks_in_files(f.dir.path()) > 0, "the control: marks are found while they exist");
    forget(&f.catalog, &marked);
    let evidence = f.catalog.scrub().unwrap();
    assert!(evidence.written_bytes >= evidence.log_bytes);
    assert!(evidence.zeroed_bytes > 0, "the control: pages were split and joined");
    assert_eq!(marks_in_files(f.dir.path()), 0);

    let sound: String = f.raw().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    let kept = f.catalog.read(|tx| tx.interrupted(None, 10_000)).unwrap();
    assert_eq!(kept.len(), 1_800, "what was not deleted is all there");

    // Every page is written once more: none may come back with what the writer had in memory.
    for batch in kept.chunks(100) {
        f.write(|tx| {
            batch.iter().try_for_each(|recording| {
                let by = entry(recording.id, 3);
                tx.advance(recording.id, RecordingEvent::AttemptAbandoned, &by).map(drop)
            })
        });
    }
    assert_eq!(marks_in_files(f.dir.path()), 0);

    // Again, with a log that is longer than what is being deleted.
    let again = f.found(&format!("{}.wav", str::from_utf8(NAME).unwrap()));
    f.write(|tx| tx.forget_found(again));
    f.catalog.scrub().unwrap();
    assert_eq!(marks_in_files(f.dir.path()), 0);
    let (dir, catalog) = (f.dir, f.catalog);
    catalog.close().unwrap();
    assert!(dir.path().join("catalog.db-wal").exists(), "its blocks were not given back");
    assert_eq!(marks_in_files(dir.path()), 0);
}

/// A file system of its own on a loop device, undone on drop.
struct LoopFs {
    image: PathBuf,
    mount: PathBuf,
    is_mounted: bool,
}

impl LoopFs {
    fn ext4(dir: &Path) -> Result<Self, String> {
        let mut fs = Self { image: dir.join("image"), mount: dir.join("mount"), is_mounted: false };
        let image = fs::File::create(&fs.image).map_err(|error| error.to_string())?;
        image.set_len(24 << 20).map_err(|error| error.to_string())?;
        fs::create_dir(&fs.mount).map_err(|error| error.to_string())?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&fs.image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&fs.image).arg(&fs.mount))?;
        fs.is_mounted = true;
        Ok(fs)
    }

    /// Unmounting is the flush; then the whole device is searched.
    fn marks_on_device(mut self) -> usize {
        run(Command::new("umount").arg(&self.mount)).unwrap();
        self.is_mounted = false;
        marks_in(&self.image)
    }
}

impl Drop for LoopFs {
    fn drop(&mut self) {
        if self.is_mounted {
            let _ = run(Command::new("umount").arg("-l").arg(&self.mount));
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// The device below holds nothing either; the control shows that the search would find it.
/// Planted faults: TRUNCATE instead of RESTART (freed blocks of the log), PERSIST_WAL left out.
#[test]
fn nothing_deleted_is_left_on_the_device() {
    for is_scrubbed in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let fs = match LoopFs::ext4(dir.path()) {
            Ok(fs) => fs,
            Err(why) => {
                #[expect(clippy::disallowed_methods, reason = "decides whether a skip may pass")]
                let is_required = std::env::var_os("RECSEAL_TEST_ALL").is_some();
                assert!(!is_required, "this test is required, but: {why}");
                println!("SKIP: {why}");
                return;
            }
        };
        let catalog = Catalog::open(&fs.mount.join("catalog.db")).unwrap();
        let store = StoreId::new();
        catalog.write(|tx| tx.put_store(&store_row(store))).unwrap();
        let marked = fill(&catalog, store);
        forget(&catalog, &marked);
        if is_scrubbed {
            catalog.scrub().unwrap();
        }
        catalog.close().unwrap();
        let marks = fs.marks_on_device();
        assert_eq!(marks == 0, is_scrubbed, "{marks} marks, scrubbed: {is_scrubbed}");
    }
}
