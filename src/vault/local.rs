//! A vault on a local (or mounted) file system.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Advice, Dir, Mode, OFlags};

use crate::domain::{DestructionEvidence, JournalFate, Overwrite, StorePath};

use super::beneath::{self, Folders};
use super::draft::{DRAFT_SUFFIX, Draft, draft_name};
use super::erase::{self, Doomed, Identity, Overwritten, Target};
use super::overwrite::Overwriter;
use super::pace::Pace;
use super::{BESIDE_SUFFIX, SealedMedia, Vault, VaultError, in_parallel, same_error};

/// Which tree a [`LocalVault`] works in. It decides which names are ours and what a sealed file
/// keeps of its original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A tree of our own: every file in it is ours, mode 0600.
    Own,
    /// A store: only names that end in `.sealed` are ours, with mode and owner of the original.
    Beside,
}

/// Sealed files below one folder that was opened once.
#[derive(Debug)]
pub struct LocalVault {
    root: OwnedFd,
    layout: Layout,
    reserve_bytes: u64,
}

impl LocalVault {
    /// Opens the tree at `root`, which exists. `reserve_bytes` of its file system are never used:
    /// the recorder and the catalog need room more urgently than we do.
    ///
    /// # Errors
    ///
    /// [`VaultError::Io`] if it cannot be opened.
    pub fn open(root: &Path, layout: Layout, reserve_bytes: u64) -> Result<Self, VaultError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(root, flags, Mode::empty())
            .map_err(|errno| VaultError::io("opening the tree")(errno.into()))?;
        Ok(Self { root, layout, reserve_bytes })
    }

    fn check_space(&self, folder: &OwnedFd, needed_bytes: u64) -> Result<(), VaultError> {
        let space = rustix::fs::fstatvfs(folder)
            .map_err(|errno| VaultError::io("asking for free space")(errno.into()))?;
        let free_bytes = space.f_bavail.saturating_mul(space.f_frsize);
        let available_bytes = free_bytes.saturating_sub(self.reserve_bytes);
        if needed_bytes > available_bytes {
            return Err(VaultError::NoSpace { needed_bytes, available_bytes });
        }
        Ok(())
    }

    fn open_plain(&self, path: &StorePath, flags: OFlags) -> Result<File, VaultError> {
        let file = beneath::open(self.root.as_fd(), path, flags)
            .map_err(VaultError::io("opening a sealed file"))?;
        let seen = file.metadata().map_err(VaultError::io("looking at a sealed file"))?;
        if seen.is_file() { Ok(file) } else { Err(VaultError::NotPlain) }
    }

    /// Shows each plain file of the tree: its path and its length. Folders are opened one after
    /// the other and links not followed, so neither depth nor loops matter.
    fn walk(
        &self,
        visit: &mut dyn FnMut(StorePath, u64) -> Result<(), VaultError>,
    ) -> Result<(), VaultError> {
        let at = VaultError::io("listing a folder");
        let at_errno = |errno: rustix::io::Errno| at(errno.into());
        let mut waiting: Vec<Option<StorePath>> = vec![None];
        while let Some(folder) = waiting.pop() {
            let fd = beneath::open_folder(self.root.as_fd(), folder.as_ref()).map_err(&at)?;
            for entry in Dir::read_from(&fd).map_err(at_errno)? {
                let entry = entry.map_err(at_errno)?;
                let name = entry.file_name().to_bytes();
                if matches!(name, b"." | b"..") {
                    continue;
                }
                let Some(path) = StorePath::join(folder.as_ref(), name) else { continue };
                let Some(seen) = beneath::stat(fd.as_fd(), name).map_err(&at)? else { continue };
                if beneath::is_regular(&seen) {
                    visit(path, u64::try_from(seen.st_size).unwrap_or(0))?;
                } else if rustix::fs::FileType::from_raw_mode(seen.st_mode).is_dir() {
                    waiting.push(Some(path));
                }
            }
        }
        Ok(())
    }

    fn is_sealed_name(&self, name: &[u8]) -> bool {
        match self.layout {
            Layout::Own => !name.ends_with(DRAFT_SUFFIX) && !erase::is_opaque_name(name),
            Layout::Beside => name.ends_with(BESIDE_SUFFIX),
        }
    }

    fn is_draft_name(&self, name: &[u8]) -> bool {
        name.strip_suffix(DRAFT_SUFFIX).is_some_and(|name| self.is_sealed_name(name))
    }
}

impl Vault for LocalVault {
    fn begin(&self, path: &StorePath, expected_bytes: u64) -> Result<Draft, VaultError> {
        let at = VaultError::io("beginning a sealed file");
        let folder =
            beneath::make_folder(self.root.as_fd(), path.folder().as_ref()).map_err(&at)?;
        self.check_space(&folder, expected_bytes)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let name = StorePath::new(draft_name(path)).ok_or(VaultError::NotPlain)?;
        let file = beneath::open(folder.as_fd(), &name, flags).map_err(&at)?;
        let draft = Draft::new(path.clone(), file, folder, self.layout == Layout::Beside);
        draft.reserve(expected_bytes)?;
        Ok(draft)
    }

    fn publish(&self, drafts: Vec<Draft>) -> Vec<Result<(), VaultError>> {
        drafts.iter().for_each(Draft::kick);
        let published = in_parallel(
            drafts,
            || (),
            |(), mut draft| {
                let result = draft.publish();
                (draft, result)
            },
        );
        let (drafts, mut results): (Vec<_>, Vec<_>) = published.into_iter().unzip();
        let mut synced: Vec<(Option<StorePath>, io::Result<()>)> = Vec::new();
        for (draft, result) in drafts.iter().zip(&mut results).filter(|(_, result)| result.is_ok())
        {
            let folder = draft.path().folder();
            let known = synced.iter().position(|(other, _)| *other == folder);
            let known = known.unwrap_or_else(|| {
                synced.push((folder, draft.sync_folder()));
                synced.len() - 1
            });
            if let Err(error) = &synced[known].1 {
                *result = Err(VaultError::io("syncing a folder")(same_error(error)));
            }
        }
        results
    }

    fn open(&self, path: &StorePath) -> Result<SealedMedia, VaultError> {
        Ok(Box::new(self.open_plain(path, OFlags::RDONLY)?))
    }

    fn open_uncached(&self, path: &StorePath) -> Result<SealedMedia, VaultError> {
        let file = self.open_plain(path, OFlags::RDONLY)?;
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)
            .map_err(|errno| VaultError::io("dropping the cache")(errno.into()))?;
        Ok(Box::new(file))
    }

    fn destroy(&self, path: &StorePath) -> Result<DestructionEvidence, VaultError> {
        let at = VaultError::io("destroying a sealed file");
        let mut folders = Folders::new(self.root.as_fd());
        let folder = match folders.of(path).map_err(&at) {
            Err(VaultError::Missing) => None,
            opened => Some(opened?),
        };
        let storage = match &folder {
            Some(folder) => folder.storage(),
            None => super::observe::storage_of(self.root.as_fd()),
        }
        .map_err(&at)?;
        let (overwrite, overwritten_bytes) = match self.open_plain(path, OFlags::RDWR) {
            Err(VaultError::Missing) => (Overwrite::Skipped, 0),
            Err(error) => return Err(error),
            Ok(file) => {
                let seen = rustix::fs::fstat(&file).map_err(|errno| at(errno.into()))?;
                if seen.st_nlink != 1 {
                    return Err(VaultError::HardLinked { links: seen.st_nlink as u64 });
                }
                Overwriter::new().run(&file, &storage)?
            }
        };
        if let Some(folder) = folder {
            beneath::unlink(folder.as_fd(), path.expose_name()).map_err(&at)?;
            beneath::unlink(folder.as_fd(), &draft_name(path)).map_err(&at)?;
            folder.sync().map_err(&at)?;
        }
        Ok(DestructionEvidence {
            overwrite,
            file_system: storage.file_system.name(),
            media: storage.media.as_str().to_owned(),
            overwritten_bytes,
        })
    }

    fn overwrite_many(
        &self,
        doomed: &[Doomed],
        pace: &dyn Pace,
    ) -> Vec<Result<Overwritten, VaultError>> {
        let targets: Vec<_> = doomed.iter().map(target).collect();
        erase::overwrite_batch(self.root.as_fd(), &targets, pace, &erase::unwatched)
    }

    fn unlink_many(&self, doomed: &[Doomed]) -> Vec<Result<JournalFate, VaultError>> {
        let targets: Vec<_> = doomed.iter().map(target).collect();
        erase::unlink_batch(self.root.as_fd(), &targets, &erase::unwatched)
    }

    fn exists(&self, path: &StorePath) -> Result<bool, VaultError> {
        match self.open_plain(path, OFlags::RDONLY) {
            Ok(_) => Ok(true),
            Err(VaultError::Missing) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn list(&self, visit: &mut dyn FnMut(StorePath, u64)) -> Result<(), VaultError> {
        self.walk(&mut |path, len_bytes| {
            if self.is_sealed_name(path.expose_name()) {
                visit(path, len_bytes);
            }
            Ok(())
        })
    }

    fn sweep_drafts(&self) -> Result<u64, VaultError> {
        let mut drafts = Vec::new();
        self.walk(&mut |path, _| {
            if self.is_draft_name(path.expose_name()) {
                drafts.push(path);
            }
            Ok(())
        })?;
        let at = VaultError::io("sweeping a draft");
        for path in &drafts {
            let folder = beneath::open_folder(self.root.as_fd(), path.folder().as_ref());
            beneath::unlink(folder.map_err(&at)?.as_fd(), path.expose_name()).map_err(&at)?;
        }
        Ok(drafts.len() as u64)
    }
}

fn target(doomed: &Doomed) -> Target<'_> {
    let identity = Identity::Sealed(doomed.expected.as_ref());
    Target { path: &doomed.path, token: doomed.token, identity }
}
