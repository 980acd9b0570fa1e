//! The few file operations of the key store: private, synced, and destroyed when done with.
//!
//! Files are made 0600 and folders 0700. A file that exists under its final name is whole and
//! synced, because [`write_new`] syncs before anything is renamed; a name is durable after
//! [`sync_folder`]. What held keys leaves by [`destroy`]: overwritten, synced, unlinked. On
//! copy-on-write file systems and flash the overwrite is a best effort; the content is
//! encrypted in any case, except for the root key file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Makes a private folder.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    crash::step()?;
    DirBuilder::new().mode(0o700).create(path)?;
    crash::changed(path);
    Ok(())
}

/// Writes a new private file and syncs it; its name is durable after [`sync_folder`].
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    crash::step()?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    crash::changed(path);
    crash::unsynced(&file);
    file.write_all(bytes)?;
    crash::step()?;
    file.sync_all()?;
    crash::synced();
    Ok(())
}

/// Puts `bytes` in the place of the file at `path`, then destroys the old content.
///
/// At every instant the name leads to the whole old or the whole new file. An interrupted run
/// leaves [`replacement_leftovers`], for the next one or for [`destroy`].
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let [new, old] = replacement_leftovers(path);
    for leftover in [&new, &old] {
        destroy(leftover)?;
    }
    write_new(&new, bytes)?;
    crash::step()?;
    fs::hard_link(path, &old)?;
    rename(&new, path)?;
    sync_parent(path)?;
    destroy(&old)?;
    sync_parent(path)
}

/// The names that an interrupted [`replace`] may leave beside `path`.
pub(crate) fn replacement_leftovers(path: &Path) -> [PathBuf; 2] {
    [path.with_added_extension("new"), path.with_added_extension("old")]
}

/// Moves a name; replaces what had the new name before.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    crash::step()?;
    fs::rename(from, to)?;
    crash::changed(from);
    crash::changed(to);
    Ok(())
}

/// Lets the symbolic link at `path` point to `target`, at once and as a whole.
pub(crate) fn point(path: &Path, target: &str) -> io::Result<()> {
    let new = path.with_added_extension("new");
    destroy(&new)?;
    crash::step()?;
    std::os::unix::fs::symlink(target, &new)?;
    rename(&new, path)
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    crash::step()?;
    File::open(path)?.sync_all()?;
    crash::folder_synced(path);
    Ok(())
}

/// Makes the name `path` itself durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    sync_folder(parent(path))
}

/// The folder of `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Reads a small file, never more than `max_bytes`; a longer one is an error.
pub(crate) fn read(path: &Path, max_bytes: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    let len_bytes = file.metadata()?.len();
    // The buffer never grows, so no half of a key is left behind in freed memory.
    let capacity = usize::try_from(len_bytes.min(max_bytes)).unwrap_or(0) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(capacity as u64).read_to_end(&mut bytes)?;
    if bytes.len() == capacity {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(bytes)
}

/// Overwrites a file once with random bytes, syncs it, reads it back past the page cache, and
/// removes it. One that is not there is destroyed already; a link is only removed, also a hard
/// link, whose content is in use.
#[expect(clippy::disallowed_methods, reason = "key files of ours, never a recording")]
pub(crate) fn destroy(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if metadata.is_file() && metadata.nlink() == 1 {
        crash::step()?;
        overwrite(path, metadata.len())?;
    }
    crash::step()?;
    fs::remove_file(path)?;
    crash::changed(path);
    Ok(())
}

fn overwrite(path: &Path, len_bytes: u64) -> io::Result<()> {
    let mut noise = vec![0; usize::try_from(len_bytes).map_err(io::Error::other)?];
    aws_lc_rs::rand::fill(&mut noise).map_err(io::Error::other)?;
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    file.write_all(&noise)?;
    file.sync_all()?;
    // A hint: where it is not followed, what is compared is the cache that the sync wrote.
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    let mut found = vec![0; noise.len()];
    file.rewind()?;
    file.read_exact(&mut found)?;
    if found == noise { Ok(()) } else { Err(io::Error::other("the overwrite did not hold")) }
}

/// Destroys the files of a folder without sub-folders, then the folder.
pub(crate) fn destroy_folder(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        destroy(&entry?.path())?;
    }
    crash::step()?;
    fs::remove_dir(path)?;
    crash::changed(path);
    Ok(())
}

#[cfg(not(test))]
mod crash {
    //! In the product nothing is planned to fail.
    use std::{fs::File, io, path::Path};

    pub(super) fn step() -> io::Result<()> {
        Ok(())
    }
    pub(super) fn changed(_: &Path) {}
    pub(super) fn unsynced(_: &File) {}
    pub(super) fn synced() {}
    pub(super) fn folder_synced(_: &Path) {}
}

/// A planned crash on this thread: the n-th operation does not happen, and none after it. A file
/// that was written but not synced loses its second half, as after a power cut.
#[cfg(test)]
pub(crate) mod crash {
    use super::*;
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    #[derive(Default)]
    struct Plan {
        steps_left: usize,
        crashed: bool,
        unsynced: Option<File>,
        changed: BTreeSet<PathBuf>,
    }

    thread_local!(static PLAN: RefCell<Option<Plan>> = const { RefCell::new(None) });

    /// Runs `work` with a crash before its step number `at`, counted from zero. Tells what it
    /// said, and whether it got through: then every changed folder must have been synced.
    pub(crate) fn run<T>(at: usize, work: impl FnOnce() -> T) -> (T, bool) {
        PLAN.set(Some(Plan { steps_left: at, ..Plan::default() }));
        let result = work();
        let plan = PLAN.take().unwrap();
        if !plan.crashed {
            let unsynced: Vec<_> = plan.changed.iter().filter(|folder| folder.exists()).collect();
            assert!(unsynced.is_empty(), "names not durable in {unsynced:?}");
        }
        (result, !plan.crashed)
    }

    pub(super) fn step() -> io::Result<()> {
        with(|plan| {
            if plan.steps_left == 0 && !plan.crashed {
                plan.crashed = true;
                if let Some(file) = plan.unsynced.take() {
                    file.set_len(file.metadata()?.len() / 2)?;
                }
            }
            plan.steps_left = plan.steps_left.saturating_sub(1);
            if plan.crashed { Err(io::Error::other("planned crash")) } else { Ok(()) }
        })
        .unwrap_or(Ok(()))
    }

    pub(super) fn changed(path: &Path) {
        with(|plan| plan.changed.insert(parent(path).to_owned()));
    }

    pub(super) fn unsynced(file: &File) {
        with(|plan| plan.unsynced = Some(file.try_clone().unwrap()));
    }

    pub(super) fn synced() {
        with(|plan| plan.unsynced = None);
    }

    pub(super) fn folder_synced(path: &Path) {
        with(|plan| plan.changed.remove(path));
    }

    fn with<T>(work: impl FnOnce(&mut Plan) -> T) -> Option<T> {
        PLAN.with_borrow_mut(|plan| plan.as_mut().map(work))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted fault: without the look at `nlink`, a crash between link and rename makes the next
    /// start overwrite the file that is in use.
    #[test]
    fn a_replaced_file_is_whole_at_every_instant() {
        for at in 0.. {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("table");
            write_new(&path, b"the old content").unwrap();
            let (said, done) = crash::run(at, || replace(&path, b"the new content"));
            assert_eq!(said.is_ok(), done);
            for leftover in replacement_leftovers(&path) {
                destroy(&leftover).unwrap();
            }
            let content = read(&path, 100).unwrap();
            let is_new = content.as_slice() == b"the new content";
            assert!(is_new || content.as_slice() == b"the old content", "step {at}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
            if done {
                assert!(is_new && at > 6, "only {at} steps were ever planned");
                return;
            }
        }
    }

    #[test]
    fn reading_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write_new(&path, &[7; 100]).unwrap();
        assert_eq!(read(&path, 100).unwrap().len(), 100);
        assert!(read(&path, 99).is_err());
    }
}
