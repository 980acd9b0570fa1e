//! The folder of automatic backups: files that are whole or not there, and no more than were
//! asked for.
//!
//! ```text
//! recseal-STORE-20261123T221500000Z-ID.rsbackup      whole, 0600
//! …rsbackup.part                                     being written, or left by a crash
//! ```
//!
//! If the power goes here: a name without `.part` was given after its bytes were durable; a
//! `.part` is removed when the next backup is begun. Older backups go only after a newer one is
//! durable, so a failing disk costs none.

use std::fs;
use std::fs::{File, OpenOptions};
use std::io;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use uuid::Uuid;

use crate::clock::Timestamp;

use super::VaultError;

/// A folder in which backups of one key store are kept. Those of others are left alone.
#[derive(Debug)]
pub struct BackupFolder<'p> {
    path: &'p Path,
    store: Uuid,
}

impl<'p> BackupFolder<'p> {
    /// Backups of `store` in `path`, which exists.
    pub fn new(path: &'p Path, store: Uuid) -> Self {
        Self { path, store }
    }

    /// Writes one backup and makes it durable. Blocks for as long as that takes.
    ///
    /// # Errors
    ///
    /// [`VaultError::Io`]; nothing is left of it.
    pub fn write(
        &self,
        backup: Uuid,
        made_at: Timestamp,
        bytes: &mut dyn Read,
    ) -> Result<(), VaultError> {
        self.sweep().map_err(VaultError::io("sweeping the folder of backups"))?;
        let moment: String =
            made_at.to_string().chars().filter(char::is_ascii_alphanumeric).collect();
        let name = format!("{}{moment}-{}{SUFFIX}", self.prefix(), backup.simple());
        let part = self.path.join(format!("{name}{PART}"));
        let written = || -> io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                match bytes.read(&mut piece)? {
                    0 => break,
                    read => file.write_all(&piece[..read])?,
                }
            }
            file.sync_all()?;
            fs::rename(&part, self.path.join(&name))?;
            File::open(self.path)?.sync_all()
        };
        let mut written = written;
        written().map_err(|error| {
            // Half a backup opens nothing; what stays here is swept next time.
            let _ = rustix::fs::unlink(&part);
            VaultError::io("writing a backup")(error)
        })
    }

    /// Removes the oldest backups until `keep` are left; returns how many went. They are sealed,
    /// so nothing is overwritten.
    ///
    /// # Errors
    ///
    /// [`VaultError::Io`].
    pub fn prune(&self, keep: usize) -> Result<usize, VaultError> {
        let pruned = || -> io::Result<usize> {
            let mut names = self.names(SUFFIX)?;
            names.sort_unstable();
            let surplus = names.len().saturating_sub(keep.max(1));
            for name in &names[..surplus] {
                rustix::fs::unlink(self.path.join(name))?;
            }
            Ok(surplus)
        };
        pruned().map_err(VaultError::io("removing old backups"))
    }

    fn sweep(&self) -> io::Result<()> {
        for name in self.names(&format!("{SUFFIX}{PART}"))? {
            rustix::fs::unlink(self.path.join(name))?;
        }
        Ok(())
    }

    fn names(&self, suffix: &str) -> io::Result<Vec<String>> {
        let prefix = self.prefix();
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path)? {
            let name = entry?.file_name().into_string();
            names.extend(name.ok().filter(|n| n.starts_with(&prefix) && n.ends_with(suffix)));
        }
        Ok(names)
    }

    fn prefix(&self) -> String {
        format!("recseal-{}-", self.store.simple())
    }
}

const SUFFIX: &str = ".rsbackup";
const PART: &str = ".part";
const PIECE_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// Several hosts may share a folder.
    #[test]
    fn the_newest_are_kept_and_strangers_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, theirs) = (Uuid::now_v7(), Uuid::now_v7());
        let write = |store, second: i64| {
            let at = Timestamp::from_millis(1_795_000_000_000 + second * 1_000);
            let folder = BackupFolder::new(dir.path(), store);
            folder.write(Uuid::now_v7(), at, &mut b"sealed".as_slice()).unwrap();
        };
        for second in [5, 1, 4, 2, 3] {
            write(ours, second);
            write(theirs, second);
        }
        std::fs::write(dir.path().join("notes.txt"), "a person's").unwrap();
        let left = format!("recseal-{}-x.rsbackup.part", ours.simple());
        std::fs::write(dir.path().join(&left), "half").unwrap();
        let folder = BackupFolder::new(dir.path(), ours);
        assert_eq!(folder.prune(2).unwrap(), 3);
        assert_eq!(folder.prune(2).unwrap(), 0);
        write(ours, 6);
        assert!(!dir.path().join(&left).exists());
        let mut names = folder.names(SUFFIX).unwrap();
        names.sort_unstable();
        assert_eq!(names.len(), 3);
        assert!(names[0].contains("T") && names[2] > names[1]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3 + 5 + 1);
        assert_eq!(folder.prune(0).unwrap(), 2, "the last one is never removed");
    }

    #[test]
    fn a_backup_that_breaks_off_leaves_nothing() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the catalog ended early"))
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let folder = BackupFolder::new(dir.path(), Uuid::nil());
        let mut broken = b"some".chain(Broken);
        assert!(folder.write(Uuid::nil(), Timestamp::from_millis(0), &mut broken).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
