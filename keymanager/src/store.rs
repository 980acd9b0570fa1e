//! The store: everything secret but the root key, as one sealed file for each change.
//!
//! ```text
//! live ─▶ gen-7            gen-7/store.bin: magic (8 bytes) │ generation (8, big-endian)
//!         gen-6                             │ store id (16) │ envelope of the content as JSON
//!         gen-5            key: HKDF-SHA-256(root key, "store/1" ‖ store id)
//! ```
//!
//! The first 32 bytes are the associated data, so a file of another generation or store does not
//! open under a wrong name. A change writes a whole new generation and then flips `live` by
//! rename. Three generations are kept; older ones are destroyed.
//!
//! *If the power goes here, which good copy is left?*
//!
//! 1. while `gen-N+1` is written: `live` leads to `gen-N`; the half-made one is destroyed at the
//!    next start;
//! 2. after `gen-N+1` and its folder are synced: the same;
//! 3. after the rename of `live`: the old or the new one, both whole;
//! 4. while `gen-N-2` is destroyed: `gen-N+1`, and behind it `gen-N` and `gen-N-1`.
//!
//! A change that fails says so and is not taken over by the running program; after a failed sync
//! of step 3 the next start may see it all the same.
//!
//! A key that is to be destroyed must leave the older generations too: see `commit_alone`, which
//! stores the new content twice before it destroys them, so that there are two good copies at
//! every instant.
//!
//! When `live` leads to a damaged generation, the newest one that opens is taken. The damaged
//! one is renamed to `damaged-gen-N` and never destroyed: it may hold the only copy of a key.

mod contents;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::disk;
use crate::envelope;
use crate::error::KeyError;
use crate::secret::Secret;

pub(crate) use contents::{Contents, to_plaintext_json};

/// The generations in one folder, with the key that opens them.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    id: Uuid,
    key: Secret,
    /// While the root key is being replaced: what older generations are sealed under.
    retiring: Option<Secret>,
    live: u64,
}

impl Store {
    /// Writes generation 1 into a folder that has none.
    pub(crate) fn create(
        folder: &Path,
        root: &Secret,
        id: Uuid,
        contents: &Contents,
    ) -> Result<Self, KeyError> {
        Self::create_after(folder, root, id, contents, 0)
    }

    /// The same with the generation after `generation`, for a store that lived elsewhere before.
    pub(crate) fn create_after(
        folder: &Path,
        root: &Secret,
        id: Uuid,
        contents: &Contents,
        generation: u64,
    ) -> Result<Self, KeyError> {
        let mut store = Self { live: generation, ..Self::new(folder, root, id) };
        store.commit(contents)?;
        Ok(store)
    }

    /// The generation in use.
    pub(crate) fn live(&self) -> u64 {
        self.live
    }

    /// Opens the live generation, or else the newest one that opens; sets damaged ones aside and
    /// destroys half-made ones.
    ///
    /// # Errors
    ///
    /// [`KeyError::ForeignSlots`] or [`KeyError::NoGeneration`] if none opens, and
    /// [`KeyError::LaterFormat`] or [`KeyError::Disk`] at once: an older generation is no answer
    /// to those. Nothing was changed then.
    pub(crate) fn open(
        folder: &Path,
        root: &Secret,
        id: Uuid,
    ) -> Result<(Self, Contents), KeyError> {
        Self::new(folder, root, id).choose()
    }

    /// The same while the root key is being replaced: generations under `previous` open too.
    pub(crate) fn open_rotating(
        folder: &Path,
        root: &Secret,
        previous: &Secret,
        id: Uuid,
    ) -> Result<(Self, Contents), KeyError> {
        let retiring = Some(store_key(previous, id));
        Self { retiring, ..Self::new(folder, root, id) }.choose()
    }

    fn new(folder: &Path, root: &Secret, id: Uuid) -> Self {
        Self { folder: folder.into(), id, key: store_key(root, id), retiring: None, live: 0 }
    }

    fn choose(self) -> Result<(Self, Contents), KeyError> {
        let mut store = self;
        let (mut damaged, mut foreign) = (Vec::new(), false);
        for generation in store.candidates().map_err(KeyError::disk(LISTING))? {
            match store.read(generation)? {
                Read::Whole(contents) => {
                    contents.check()?;
                    store.settle(generation, &damaged).map_err(KeyError::disk(SETTLING))?;
                    return Ok((store, contents.completed()));
                }
                Read::Damaged => damaged.push(generation),
                Read::Foreign => {
                    damaged.push(generation);
                    foreign = true;
                }
            }
        }
        if foreign {
            return Err(KeyError::ForeignSlots);
        }
        Err(KeyError::NoGeneration { tried: damaged.len() })
    }

    /// Stores `contents` as the next generation and makes it live. Costs about five syncs.
    ///
    /// # Errors
    ///
    /// [`KeyError::Disk`]; see the module about what is left. A generation that was not destroyed
    /// in time is no error: the next change or start tries again.
    pub(crate) fn commit(&mut self, contents: &Contents) -> Result<(), KeyError> {
        let generation = self.write(contents).map_err(KeyError::disk("storing a generation"))?;
        self.live = generation;
        // A failure shows in `surplus`, which the key manager reports as a warning.
        let _ = self.prune();
        Ok(())
    }

    /// Stores `contents` twice, reads both back, and destroys every older generation: afterwards
    /// no file of this folder holds what `contents` lacks, and a damaged one still has a twin.
    ///
    /// # Errors
    ///
    /// [`KeyError::DamagedGenerationLeft`] if one was set aside, before anything is done; then
    /// those of [`Self::commit`], [`KeyError::NotReadBack`], and [`KeyError::Disk`] if an older
    /// one could not be destroyed: then it may still be there. `contents` may be live in each
    /// case; repeat the call.
    pub(crate) fn commit_alone(&mut self, contents: &Contents) -> Result<(), KeyError> {
        let damaged = |store: &Self| store.damaged().map_err(KeyError::disk(LISTING));
        if let Some(&generation) = damaged(self)?.first() {
            return Err(KeyError::DamagedGenerationLeft { generation });
        }
        self.commit(contents)?;
        let first = self.live;
        self.commit(contents)?;
        for generation in [first, self.live] {
            if !matches!(self.read(generation)?, Read::Whole(_)) {
                return Err(KeyError::NotReadBack { generation });
            }
        }
        self.destroy_before(first).map_err(KeyError::disk("destroying older generations"))
    }

    /// Destroys the generations before `first`, and looks again whether they are gone.
    fn destroy_before(&self, first: u64) -> io::Result<()> {
        let older = || -> io::Result<Vec<u64>> {
            let mut older = numbered(&self.folder, GENERATION)?;
            older.retain(|generation| *generation < first);
            Ok(older)
        };
        for generation in older()? {
            disk::destroy_folder(&self.path(GENERATION, generation))?;
        }
        disk::sync_folder(&self.folder)?;
        if older()?.is_empty() { Ok(()) } else { Err(io::ErrorKind::DirectoryNotEmpty.into()) }
    }

    /// The live generation.
    pub(crate) fn generation(&self) -> u64 {
        self.live
    }

    /// From here on changes are sealed under `root`; what there is still opens.
    pub(crate) fn rekey(&mut self, root: &Secret) {
        let new = store_key(root, self.id);
        self.retiring = Some(std::mem::replace(&mut self.key, new));
    }

    /// Leaves one generation: `contents`, under the new key alone, read back before the older
    /// ones are destroyed.
    ///
    /// # Errors
    ///
    /// [`KeyError::Disk`], [`KeyError::NoGeneration`] if it does not read back. Everything still
    /// opens, and a repetition goes on where this ended.
    pub(crate) fn reseal(&mut self, contents: &Contents) -> Result<(), KeyError> {
        let retiring = self.retiring.take();
        let outcome = self.reseal_under_new(contents);
        if outcome.is_err() {
            self.retiring = retiring;
        }
        outcome
    }

    fn reseal_under_new(&mut self, contents: &Contents) -> Result<(), KeyError> {
        if !matches!(self.read(self.live)?, Read::Whole(_)) {
            self.commit(contents)?;
        }
        if !matches!(self.read(self.live)?, Read::Whole(_)) {
            return Err(KeyError::NoGeneration { tried: 1 });
        }
        let destroyed = || {
            for generation in numbered(&self.folder, GENERATION)? {
                if generation != self.live {
                    disk::destroy_folder(&self.path(GENERATION, generation))?;
                }
            }
            disk::sync_folder(&self.folder)
        };
        destroyed().map_err(KeyError::disk("destroying generations under the old root key"))
    }

    /// Generations set aside because they were damaged.
    pub(crate) fn damaged(&self) -> io::Result<Vec<u64>> {
        numbered(&self.folder, DAMAGED)
    }

    /// Generations that should have been destroyed.
    pub(crate) fn surplus(&self) -> io::Result<Vec<u64>> {
        let mut generations = numbered(&self.folder, GENERATION)?;
        generations.retain(|generation| *generation <= self.live);
        let kept = generations.len().saturating_sub(GENERATIONS_KEPT);
        generations.truncate(kept);
        Ok(generations)
    }

    /// Which generations to try, best first: the live one, those before it, those after it.
    fn candidates(&self) -> io::Result<Vec<u64>> {
        let live = read_live(&self.folder)?.unwrap_or(u64::MAX);
        let (mut candidates, after): (Vec<_>, Vec<_>) =
            numbered(&self.folder, GENERATION)?.into_iter().partition(|number| *number <= live);
        candidates.reverse();
        candidates.extend(after);
        Ok(candidates)
    }

    /// The content of every generation that opens, for tests.
    #[cfg(test)]
    pub(crate) fn every_generation(&self) -> Vec<Contents> {
        let whole = |generation| match self.read(generation).unwrap() {
            Read::Whole(contents) => Some(*contents),
            Read::Damaged | Read::Foreign => None,
        };
        numbered(&self.folder, GENERATION).unwrap().into_iter().filter_map(whole).collect()
    }

    fn read(&self, generation: u64) -> Result<Read, KeyError> {
        let path = self.path(GENERATION, generation).join(STORE_FILE);
        let bytes = match disk::read(&path, STORE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if is_damage(&error) => return Ok(Read::Damaged),
            Err(error) => return Err(KeyError::disk("reading the store")(error)),
        };
        let Some((header, sealed)) = bytes.split_at_checked(HEADER_BYTES) else {
            return Ok(Read::Damaged);
        };
        let expected = self.header(generation);
        let keys = [Some(&self.key), self.retiring.as_ref()];
        let opened = |key| envelope::open(key, &expected, sealed);
        let Some(plaintext) = keys.into_iter().flatten().find_map(opened) else {
            let is_foreign = header[..STORE_ID_AT] == expected[..STORE_ID_AT]
                && header[STORE_ID_AT..] != expected[STORE_ID_AT..];
            return Ok(if is_foreign { Read::Foreign } else { Read::Damaged });
        };
        if header != expected {
            return Ok(Read::Damaged);
        }
        // It is authentic, so what we cannot read is not damage but news from the future.
        serde_json::from_slice(&plaintext)
            .map(|contents| Read::Whole(Box::new(contents)))
            .map_err(|_| KeyError::LaterFormat { generation })
    }

    /// Makes the folder agree with the choice of `generation`.
    fn settle(&mut self, generation: u64, damaged: &[u64]) -> io::Result<()> {
        let live = read_live(&self.folder)?;
        // First aside, then flip: the other way round, a crash in between would leave the
        // damaged one newer than `live`, to be destroyed as half-made.
        for &damaged in damaged {
            let aside = self.path(DAMAGED, damaged);
            disk::rename(&self.path(GENERATION, damaged), &aside)?;
        }
        if live != Some(generation) {
            disk::sync_folder(&self.folder)?;
            disk::point(&self.folder.join(LIVE), &format!("{GENERATION}{generation}"))?;
            disk::sync_folder(&self.folder)?;
        }
        self.live = generation;
        self.sweep()?;
        // As in `commit`: no reason not to start.
        let _ = self.prune();
        Ok(())
    }

    /// Destroys what a crash left half-made: generations newer than the live one.
    fn sweep(&self) -> io::Result<()> {
        disk::destroy(&self.folder.join(LIVE).with_added_extension("new"))?;
        for generation in numbered(&self.folder, GENERATION)? {
            if read_live(&self.folder)?.is_some_and(|live| generation > live) {
                disk::destroy_folder(&self.path(GENERATION, generation))?;
            }
        }
        Ok(())
    }

    fn write(&self, contents: &Contents) -> io::Result<u64> {
        self.sweep()?;
        let folder = &self.folder;
        let newest = [numbered(folder, GENERATION)?, numbered(folder, DAMAGED)?].concat();
        let generation = newest.into_iter().max().unwrap_or(0).max(self.live) + 1;
        let mut bytes = self.header(generation).to_vec();
        bytes.extend(envelope::seal(&self.key, &bytes, &to_plaintext_json(contents)));
        let path = self.path(GENERATION, generation);
        disk::make_folder(&path)?;
        disk::write_new(&path.join(STORE_FILE), &bytes)?;
        disk::sync_folder(&path)?;
        disk::sync_folder(folder)?;
        disk::point(&folder.join(LIVE), &format!("{GENERATION}{generation}"))?;
        disk::sync_folder(folder)?;
        Ok(generation)
    }

    fn prune(&self) -> io::Result<()> {
        let surplus = self.surplus()?;
        for &generation in &surplus {
            disk::destroy_folder(&self.path(GENERATION, generation))?;
        }
        if surplus.is_empty() { Ok(()) } else { disk::sync_folder(&self.folder) }
    }

    fn header(&self, generation: u64) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(MAGIC);
        header[8..STORE_ID_AT].copy_from_slice(&generation.to_be_bytes());
        header[STORE_ID_AT..].copy_from_slice(self.id.as_bytes());
        header
    }

    fn path(&self, prefix: &str, generation: u64) -> PathBuf {
        self.folder.join(format!("{prefix}{generation}"))
    }
}

/// What reading one generation found.
enum Read {
    Whole(Box<Contents>),
    Damaged,
    /// Whole as far as one can see, but of another store.
    Foreign,
}

/// True if `folder` holds the traces of a store, whole or not, or cannot be looked into.
pub(crate) fn exists(folder: &Path) -> bool {
    let traces = || {
        let live = read_live(folder)?;
        Ok(live.is_some() || !numbered(folder, GENERATION)?.is_empty())
    };
    traces().unwrap_or_else(|error: io::Error| error.kind() != io::ErrorKind::NotFound)
}

fn store_key(root: &Secret, id: Uuid) -> Secret {
    root.derive(&[b"store/1", id.as_bytes()])
}

/// The number in the target of `live`; `None` if there is no such link.
fn read_live(folder: &Path) -> io::Result<Option<u64>> {
    match fs::read_link(folder.join(LIVE)) {
        Ok(target) => Ok(target.to_str().and_then(|name| number(name, GENERATION))),
        Err(error) => match error.kind() {
            // Not a link: a restored backup may have made a copy of what it led to.
            io::ErrorKind::NotFound | io::ErrorKind::InvalidInput => Ok(None),
            _ => Err(error),
        },
    }
}

/// The numbers of the entries `prefixN`, rising.
fn numbered(folder: &Path, prefix: &str) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        numbers.extend(entry?.file_name().to_str().and_then(|name| number(name, prefix)));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn number(name: &str, prefix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    let number: u64 = digits.parse().ok()?;
    (number.to_string() == digits && number < u64::MAX).then_some(number)
}

/// True if the bytes are gone for good. Everything else (rights, too many open files) may pass,
/// and falling back to older keys would be wrong.
fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, IsADirectory, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | IsADirectory | FileTooLarge)
        || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

const MAGIC: &[u8; 8] = b"RSKEYS\0\x01";
const STORE_ID_AT: usize = 16;
const HEADER_BYTES: usize = 32;
const STORE_BYTES_MAX: u64 = 16 << 20;
const GENERATIONS_KEPT: usize = 3;
const STORE_FILE: &str = "store.bin";
const GENERATION: &str = "gen-";
const DAMAGED: &str = "damaged-gen-";
const LIVE: &str = "live";
const LISTING: &str = "listing generations";
const SETTLING: &str = "settling the generations";

#[cfg(test)]
mod tests;
