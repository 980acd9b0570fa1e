//! The two steps for a batch: what is shared by it, is done once.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::{Advice, OFlags};

use super::super::beneath::{self, Folder, Folders};
use super::super::draft::draft_name;
use super::super::overwrite::{Outcome, Overwriter, Pass};
use super::super::pace::{IdlePriority, Pace};
use super::super::{VaultError, in_parallel, same_error};
use super::claim::{Claim, Identity, Target, claim};
use super::{CopyEvidence, Overwritten, Step, Watch, journal};
use crate::domain::{JournalFate, StorePath};

/// The first step for each target; one result for each, in order.
pub(in crate::vault) fn overwrite_batch(
    root: BorrowedFd<'_>,
    targets: &[Target<'_>],
    pace: &dyn Pace,
    watch: Watch<'_>,
) -> Vec<Result<Overwritten, VaultError>> {
    targets.chunks(BATCH_MAX).flat_map(|batch| overwrite_some(root, batch, pace, watch)).collect()
}

/// The second step for each target; one result for each, in order. The journal of each file system
/// is wiped once, at the end.
pub(in crate::vault) fn unlink_batch(
    root: BorrowedFd<'_>,
    targets: &[Target<'_>],
    watch: Watch<'_>,
) -> Vec<Result<JournalFate, VaultError>> {
    let mut folders = Folders::new(root);
    let found = targets.iter().map(|target| (target, folder_of(&mut folders, target))).collect();
    let unlink_one = |_: &mut (), (target, folder)| -> Result<Option<Arc<Folder>>, VaultError> {
        let folder: Option<Arc<Folder>> = folder?;
        if let Some(folder) = &folder {
            unlink(folder, target, watch)?;
        }
        Ok(folder)
    };
    let unlinked = in_parallel(found, || (), unlink_one);
    let mut synced = Synced { known: Vec::new(), step: Step::SyncUnlink, watch };
    let mut sync = |folder: Option<Arc<Folder>>| {
        // Where the folder went, too, its end is in the journal of the tree.
        let folder = folder.map_or_else(|| folders.root().map_err(VaultError::io(OPENING)), Ok)?;
        synced.sync(&folder).map(|()| folder)
    };
    let durable: Vec<_> = unlinked.into_iter().map(|folder| sync(folder?)).collect();
    let mut wiped = Wiped { known: Vec::new(), watch };
    durable.into_iter().map(|folder| wiped.fate(&*folder?)).collect()
}

fn overwrite_some(
    root: BorrowedFd<'_>,
    targets: &[Target<'_>],
    pace: &dyn Pace,
    watch: Watch<'_>,
) -> Vec<Result<Overwritten, VaultError>> {
    if pace.before(0).is_break() {
        return targets.iter().map(|_| Err(VaultError::Stopped)).collect();
    }
    let mut folders = Folders::new(root);
    let mut results: Vec<Option<Result<Overwritten, VaultError>>> = Vec::new();
    let mut claims = Vec::new();
    for target in targets {
        results.push(match claim(&mut folders, target, watch) {
            Ok(Some(claim)) => {
                claims.push((results.len(), claim));
                None
            }
            Ok(None) => Some(Ok(Overwritten::Missing)),
            Err(error) => Some(Err(error)),
        });
    }
    let mut synced = Synced { known: Vec::new(), step: Step::SyncRename, watch };
    claims.retain(|(place, claim)| match synced.sync(&claim.folder) {
        Ok(()) => true,
        Err(error) => {
            results[*place] = Some(Err(error));
            false
        }
    });
    let _idle = IdlePriority::take();
    let done = Work { targets, pace, watch }.overwrite(&claims);
    for ((place, _), done) in claims.iter().zip(done) {
        results[*place] = Some(done);
    }
    results.into_iter().map(|result| result.expect("each target has a result")).collect()
}

/// What all overwrites of one batch share.
struct Work<'w> {
    targets: &'w [Target<'w>],
    pace: &'w dyn Pace,
    watch: Watch<'w>,
}

/// A claim, with its place among the targets.
type Claimed = (usize, Claim);

/// A pass that is over, or one whose journal should be wiped before the read-back.
enum Half<'c> {
    Done(CopyEvidence),
    Journaled(&'c Claim, Box<Pass<'c>>),
}

impl Work<'_> {
    /// One result for each, in order. Long files one after the other, each by a whole team; the
    /// others side by side, so that one is read back while the next is written.
    fn overwrite(&self, claims: &[Claimed]) -> Vec<Result<Overwritten, VaultError>> {
        let is_long = |claimed: &&Claimed| claimed.1.len_bytes >= LONG_BYTES;
        let (long, short): (Vec<_>, Vec<_>) = claims.iter().partition(is_long);
        let mut team = if long.is_empty() { Overwriter::new() } else { Overwriter::team() };
        let long: Vec<_> = long.into_iter().map(|one| self.write(&mut team, one)).collect();
        let short = in_parallel(short, Overwriter::new, |one, claimed| self.write(one, claimed));
        let (mut long, mut short) = (long.into_iter(), short.into_iter());
        let halves = claims.iter().map(|claimed| {
            let next = if is_long(&claimed) { long.next() } else { short.next() };
            next.expect("each claim has one result")
        });
        let mut wiped = Wiped { known: Vec::new(), watch: self.watch };
        let wipe = |half| match half? {
            Half::Journaled(claim, pass) => {
                let fate = wiped.fate_of_content(&claim.folder)?;
                Ok((Half::Journaled(claim, pass), fate))
            }
            done @ Half::Done(_) => Ok((done, JournalFate::NotApplicable)),
        };
        let halves: Vec<Result<_, VaultError>> = halves.map(wipe).collect();
        in_parallel(halves, Overwriter::new, |one, half| match half? {
            (Half::Done(evidence), _) => Ok(Overwritten::Done(evidence)),
            (Half::Journaled(claim, pass), fate) => self.read_back(one, claim, pass, fate),
        })
    }

    fn write<'c>(
        &self,
        by: &mut Overwriter,
        (place, claim): &'c Claimed,
    ) -> Result<Half<'c>, VaultError> {
        let at = VaultError::io("overwriting a file");
        (self.watch)(Step::Overwrite).map_err(at)?;
        let storage = claim.folder.storage().map_err(at)?;
        let stamp = self.targets[*place].stamp();
        let mut pass = Pass::begin(&claim.file, storage, Some(stamp))?;
        pass.write(by, self.pace)?;
        if pass.is_journaled() {
            return Ok(Half::Journaled(claim, Box::new(pass)));
        }
        (self.watch)(Step::Verify).map_err(at)?;
        pass.verify(by, self.pace)?;
        let fate = journal::unflushed(&storage);
        Ok(Half::Done(CopyEvidence::new(pass.end(), &storage, fate, claim)))
    }

    fn read_back(
        &self,
        by: &mut Overwriter,
        claim: &Claim,
        mut pass: Box<Pass<'_>>,
        fate: JournalFate,
    ) -> Result<Overwritten, VaultError> {
        let at = VaultError::io("reading a file back");
        if fate.is_flushed() {
            pass.journal_was_flushed();
        }
        (self.watch)(Step::Verify).map_err(at)?;
        pass.verify(by, self.pace)?;
        let storage = claim.folder.storage().map_err(at)?;
        let outcome: Outcome = pass.end();
        Ok(Overwritten::Done(CopyEvidence::new(outcome, &storage, fate, claim)))
    }
}

/// The journals that were wiped in this batch, by the device of their file system.
struct Wiped<'w> {
    known: Vec<(u64, JournalFate)>,
    watch: Watch<'w>,
}

impl Wiped<'_> {
    fn fate(&mut self, folder: &Folder) -> Result<JournalFate, VaultError> {
        self.fate_at(folder, Step::WipeNames)
    }

    /// The same for a journal that holds content: if it was not wiped, then that is in it.
    fn fate_of_content(&mut self, folder: &Folder) -> Result<JournalFate, VaultError> {
        let fate = self.fate_at(folder, Step::WipeContent)?;
        Ok(if fate.is_flushed() { fate } else { JournalFate::CopyPossible })
    }

    fn fate_at(&mut self, folder: &Folder, step: Step) -> Result<JournalFate, VaultError> {
        let at = VaultError::io("wiping the journal");
        let device = rustix::fs::fstat(folder).map_err(|errno| at(errno.into()))?.st_dev;
        if let Some((_, fate)) = self.known.iter().find(|(known, _)| *known == device) {
            return Ok(*fate);
        }
        (self.watch)(step).map_err(at)?;
        let fate = journal::wipe(folder.as_fd(), &folder.storage().map_err(at)?);
        self.known.push((device, fate));
        Ok(fate)
    }
}

/// `None` if the folder is not there any more.
fn folder_of(
    folders: &mut Folders<'_>,
    target: &Target<'_>,
) -> Result<Option<Arc<Folder>>, VaultError> {
    match folders.of(target.path).map_err(VaultError::io(OPENING)) {
        Err(VaultError::Missing) => Ok(None),
        opened => opened.map(Some),
    }
}

/// Unlinks what the first step overwrote, and what a crashed attempt left as a draft of it.
fn unlink(folder: &Folder, target: &Target<'_>, watch: Watch<'_>) -> Result<(), VaultError> {
    let at = VaultError::io("unlinking what was erased");
    watch(Step::Unlink).map_err(at)?;
    if target.lies_where_it_was(folder)? {
        return Err(VaultError::Exists);
    }
    let name = target.erasing_name();
    let opened = StorePath::new(name.as_slice()).ok_or(VaultError::NotPlain)?;
    match beneath::open(folder.as_fd(), &opened, OFlags::RDONLY).map_err(at) {
        Err(VaultError::Missing) => {}
        Err(error) => return Err(error),
        Ok(file) => {
            rustix::fs::fadvise(&file, 0, None, Advice::Random).ok(); // a few bytes are read
            let seen = rustix::fs::fstat(&file).map_err(|errno| at(errno.into()))?;
            let storage = folder.storage().map_err(at)?;
            if !beneath::is_regular(&seen)
                || !target.is_overwritten(&file, &seen, &storage).map_err(at)?
            {
                return Err(VaultError::Changed);
            }
            beneath::unlink(folder.as_fd(), &name).map_err(protected_or(at))?;
        }
    }
    match target.identity {
        Identity::Sealed(_) => {
            beneath::unlink(folder.as_fd(), &draft_name(target.path)).map_err(protected_or(at))
        }
        Identity::Original(_) => Ok(()),
    }
}

fn protected_or(at: impl Fn(io::Error) -> VaultError) -> impl Fn(io::Error) -> VaultError {
    move |error| match rustix::io::Errno::from_io_error(&error) {
        Some(rustix::io::Errno::PERM) => VaultError::Protected,
        _ => at(error),
    }
}

/// The folders that were synced in this batch, each once.
struct Synced<'w> {
    known: Vec<(Arc<Folder>, io::Result<()>)>,
    step: Step,
    watch: Watch<'w>,
}

impl Synced<'_> {
    fn sync(&mut self, folder: &Arc<Folder>) -> Result<(), VaultError> {
        let known = self.known.iter().position(|(other, _)| Arc::ptr_eq(other, folder));
        let known = known.unwrap_or_else(|| {
            let done = (self.watch)(self.step).and_then(|()| folder.sync());
            self.known.push((Arc::clone(folder), done));
            self.known.len() - 1
        });
        match &self.known[known].1 {
            Ok(()) => Ok(()),
            Err(error) => Err(VaultError::io("syncing a folder")(same_error(error))),
        }
    }
}

const OPENING: &str = "opening its folder";
/// Files open at once; a service may have no more than 1,024 by default.
const BATCH_MAX: usize = 256;
/// From here on a file is worth a team of its own.
const LONG_BYTES: u64 = 32 << 20;
