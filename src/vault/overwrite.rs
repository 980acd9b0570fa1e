//! One pass of random bytes over a file in place, and the read-back that proves it.
//!
//! ```text
//! map extents ─▶ write stream (O_DIRECT, unaligned tail buffered) ─▶ fdatasync
//!             ─▶ read all back past the cache, compare with the same stream ─▶ map again ─▶ judge
//! ```
//!
//! One pass: more passes belong to disks of the 1990s. Random and not zero: zeros may become a
//! hole on the way down. Direct and not buffered: a pile of dirty pages flushed at once stalls the
//! recorder beside us for 290 ms, direct writes for 3 ms. Only what has a place is written: a hole
//! stays one. Safe to repeat from the start, and it has to be: the stream of an interrupted run is
//! gone.
//!
//! A file whose content goes through the journal (`data=journal`) is never read past the cache,
//! whatever `O_DIRECT` says. Between its two halves whoever runs the pass may wipe the journal; the
//! cache then lets go of the pages, which is checked, and the read-back is one of the disk again.

mod pieces;

use std::fs::File;
use std::io;
use std::iter;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Advice, OFlags, fadvise, fcntl_setfl};

use crate::domain::Overwrite;
use crate::sys;

use self::pieces::{ALIGN_BYTES, AlignedBuffer, PIECE_BYTES, Pattern, mapped_parts, pieces};
use super::observe;
use super::pace::{FullSpeed, Pace};
use super::storage_kind::{self, FileSignals, FileSystem, Storage, judge};
use super::{WORKERS, xattr};

pub(super) use self::pieces::{STAMP_BYTES, Stamp};

/// Why a pass did not end well. The file holds a mix of old and new bytes: run it again.
#[derive(Debug, thiserror::Error)]
pub enum OverwriteError {
    /// A system call failed.
    #[error("overwriting: {step}")]
    Io {
        /// Which.
        step: &'static str,
        /// How.
        source: io::Error,
    },
    /// The disk returned something else than what was written.
    #[error("read-back differs within {PIECE_BYTES} bytes of offset {offset_bytes}")]
    Differs {
        /// Start of the piece that differs.
        offset_bytes: u64,
    },
    /// The [`Pace`] said so.
    #[error("stopped before the end")]
    Stopped,
}

impl OverwriteError {
    fn at(step: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { step, source }
    }
}

/// The buffers of one worker, or of a team that shares one file; used for file after file.
pub(super) struct Overwriter {
    team: Vec<Buffers>,
}

struct Buffers {
    random: AlignedBuffer,
    read_back: AlignedBuffer,
}

impl Overwriter {
    /// Takes 2 MiB of memory.
    pub(super) fn new() -> Self {
        Self::of_width(1)
    }

    /// A team that works on one file at a time. Pays for long files, where one thread would let
    /// the disk wait while it makes random bytes and compares.
    pub(super) fn team() -> Self {
        Self::of_width(WORKERS)
    }

    fn of_width(width: usize) -> Self {
        let buffers = || Buffers { random: AlignedBuffer::new(), read_back: AlignedBuffer::new() };
        Self { team: (0..width).map(|_| buffers()).collect() }
    }

    /// Overwrites all of `file` (open for reading and writing) and says what that is worth and
    /// how many bytes it was.
    ///
    /// Blocks for about a write and a read of the file plus one device flush. On a full
    /// copy-on-write file system even this needs space that is not there; such an overwrite is
    /// worth nothing anyway, so it ends early and says so instead of failing.
    ///
    /// # Errors
    ///
    /// [`OverwriteError`]; the file then is a mix of old and new.
    pub(super) fn run(
        &mut self,
        file: &File,
        storage: &Storage,
    ) -> Result<(Overwrite, u64), OverwriteError> {
        let mut pass = Pass::begin(file, *storage, None)?;
        pass.write(self, &FullSpeed)?;
        pass.verify(self, &FullSpeed)?;
        let outcome = pass.end();
        Ok((outcome.overwrite, outcome.overwritten_bytes))
    }

    /// Does `work` to each piece, on all of the team. The first error ends it.
    fn each_piece(
        &mut self,
        parts: &[Range<u64>],
        end: u64,
        work: impl Fn(&mut Buffers, u64, usize) -> Result<(), OverwriteError> + Sync,
    ) -> Result<(), OverwriteError> {
        let mut waiting = pieces(parts, end);
        if let [alone] = &mut self.team[..] {
            return waiting.try_for_each(|(offset, len)| work(alone, offset, len));
        }
        let waiting = Mutex::new(waiting);
        let failed = Mutex::new(None);
        let next = || {
            let is_failed = failed.lock().expect("no panic while it is held").is_some();
            waiting.lock().expect("no panic while it is held").next().filter(|_| !is_failed)
        };
        std::thread::scope(|scope| {
            for buffers in &mut self.team {
                scope.spawn(|| {
                    while let Some((offset, len)) = next() {
                        if let Err(error) = work(buffers, offset, len) {
                            failed.lock().expect("no panic while it is held").get_or_insert(error);
                        }
                    }
                });
            }
        });
        failed.into_inner().expect("the threads have ended").map_or(Ok(()), Err)
    }
}

/// One pass over one file: begun, written, verified, ended.
pub(super) struct Pass<'f> {
    file: &'f File,
    storage: Storage,
    len_bytes: u64,
    parts: Vec<Range<u64>>,
    pattern: Pattern,
    signals: FileSignals,
    /// The file system has no room for copies of what it never writes in place.
    is_cut_short: bool,
}

/// What a pass came to.
pub(super) struct Outcome {
    pub(super) overwrite: Overwrite,
    pub(super) overwritten_bytes: u64,
    pub(super) file_bytes: u64,
    /// Some byte that had a place before has another one now.
    pub(super) moved: bool,
    pub(super) extents_before: Option<[u8; 32]>,
    pub(super) extents_after: Option<[u8; 32]>,
}

impl<'f> Pass<'f> {
    /// Blots out the attributes and looks where the bytes of `file` lie. `stamp` is what its first
    /// bytes will be.
    pub(super) fn begin(
        file: &'f File,
        storage: Storage,
        stamp: Option<Stamp>,
    ) -> Result<Self, OverwriteError> {
        let at = OverwriteError::at;
        let len_bytes = file.metadata().map_err(at("asking its length"))?.len();
        xattr::blot_out(file).map_err(at("blotting out its attributes"))?;
        let signals = FileSignals {
            inode_flags: observe::inode_flags(file),
            before: sys::extents(file).ok(),
            ..FileSignals::default()
        };
        let parts = match &signals.before {
            Some(extents) if storage.file_system.maps_holes() => {
                mapped_parts(extents, len_bytes, stamp.is_some())
            }
            _ if len_bytes == 0 => Vec::new(),
            _ => iter::once(0..len_bytes).collect(),
        };
        let pattern = Pattern::generate(stamp);
        Ok(Self { file, storage, len_bytes, parts, pattern, signals, is_cut_short: false })
    }

    /// True if the journal may hold content, so that it should be wiped between write and verify.
    pub(super) fn is_journaled(&self) -> bool {
        storage_kind::is_content_journaled(&self.storage, &self.signals)
    }

    /// Bytes that have a place and so are written and read back.
    pub(super) fn mapped_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.end - part.start).sum()
    }

    /// Tells the pass that the journal was written home and wiped after [`Self::write`].
    pub(super) fn journal_was_flushed(&mut self) {
        self.signals.journal_flushed = true;
    }

    /// Writes all of it and makes that durable.
    pub(super) fn write(
        &mut self,
        by: &mut Overwriter,
        pace: &dyn Pace,
    ) -> Result<(), OverwriteError> {
        match self.try_write(by, pace) {
            Err(error) if is_out_of_space(&error) && !writes_in_place(&self.storage) => {
                self.is_cut_short = true;
                Ok(())
            }
            done => done,
        }
    }

    fn try_write(&self, by: &mut Overwriter, pace: &dyn Pace) -> Result<(), OverwriteError> {
        let at = OverwriteError::at;
        let body_end = self.len_bytes - self.len_bytes % ALIGN_BYTES as u64;
        let is_direct = AtomicBool::new(set_direct(self.file, true));
        let put = |buffers: &mut Buffers, offset: u64, len: usize| {
            let bytes = len as u64 / 2;
            ask(pace, bytes)?;
            let random = &mut buffers.random.whole()[..len];
            self.pattern.fill_at(offset, random);
            while let Err(error) = self.file.write_all_at(random, offset) {
                stays_direct(self.file, &is_direct, error, at("writing"))?;
            }
            if !is_direct.load(Ordering::Relaxed) {
                // The sync below waits for it and reports.
                sys::kick_writeback(self.file, offset, len as u64).ok();
            }
            pace.done(bytes);
            Ok(())
        };
        by.each_piece(&self.parts, body_end, put)?;
        if let Some(tail) = self.parts.last().filter(|last| last.end > body_end) {
            is_direct.store(!set_direct(self.file, false), Ordering::Relaxed);
            let start = tail.start.max(body_end);
            put(&mut by.team[0], start, (tail.end - start) as usize)?;
        }
        self.file.sync_data().map_err(at("syncing"))
    }

    /// Compares all of it with what was written, from the device as far as that can be had.
    pub(super) fn verify(
        &mut self,
        by: &mut Overwriter,
        pace: &dyn Pace,
    ) -> Result<(), OverwriteError> {
        if self.is_cut_short {
            return Ok(());
        }
        let goes_past_the_cache = !self.is_journaled();
        let is_direct =
            AtomicBool::new(set_direct(self.file, goes_past_the_cache) && goes_past_the_cache);
        let mut is_dropped = false;
        if !is_direct.load(Ordering::Relaxed) {
            fadvise(self.file, 0, None, Advice::DontNeed).ok();
            is_dropped = sys::cached_pages(self.file).is_ok_and(|pages| pages == 0);
        }
        by.each_piece(&self.parts, self.len_bytes, |buffers, offset, len| {
            let bytes = len as u64 - len as u64 / 2;
            ask(pace, bytes)?;
            self.compare(buffers, offset, len, &is_direct)?;
            pace.done(bytes);
            Ok(())
        })?;
        self.signals.read_back_direct = is_dropped || is_direct.into_inner();
        Ok(())
    }

    fn compare(
        &self,
        buffers: &mut Buffers,
        offset: u64,
        len: usize,
        is_direct: &AtomicBool,
    ) -> Result<(), OverwriteError> {
        let wanted = &mut buffers.random.whole()[..len];
        self.pattern.fill_at(offset, wanted);
        // Room for whole blocks: a direct read of the tail asks for more and gets to the end.
        let room = len.next_multiple_of(ALIGN_BYTES).min(PIECE_BYTES);
        let mut done = 0;
        while done < len {
            let got = &mut buffers.read_back.whole()[..room - done];
            let count = match self.file.read_at(got, offset + done as u64) {
                Ok(count) => count.min(len - done),
                Err(error) => {
                    let at = OverwriteError::at("reading back");
                    stays_direct(self.file, is_direct, error, at)?;
                    continue;
                }
            };
            // A short direct read has to end on a block, or be the end of the piece.
            let is_end = done + count == len;
            let count = if is_end { count } else { count - count % ALIGN_BYTES };
            if count == 0 || got[..count] != wanted[done..done + count] {
                return Err(OverwriteError::Differs { offset_bytes: offset });
            }
            done += count;
        }
        Ok(())
    }

    /// Looks again where the bytes lie, and says what all this is worth.
    pub(super) fn end(mut self) -> Outcome {
        self.signals.after = sys::extents(self.file).ok();
        let digest =
            |extents: &Option<Vec<_>>| extents.as_deref().map(storage_kind::extents_digest);
        let (before, after) = (&self.signals.before, &self.signals.after);
        let moved = match (before, after) {
            (Some(before), Some(after)) => !storage_kind::all_stayed(before, after),
            _ => false,
        };
        let (overwrite, overwritten_bytes) = if self.is_cut_short {
            (Overwrite::NotGuaranteedCow, 0)
        } else {
            (judge(&self.storage, &self.signals), self.mapped_bytes())
        };
        Outcome {
            overwrite,
            overwritten_bytes,
            file_bytes: self.len_bytes,
            moved,
            extents_before: digest(before),
            extents_after: digest(after),
        }
    }
}

fn ask(pace: &dyn Pace, bytes: u64) -> Result<(), OverwriteError> {
    match pace.before(bytes) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(OverwriteError::Stopped),
    }
}

/// What to do after `error`: a file system may take the flag and refuse direct access; then the
/// rest goes through the cache. `Ok` means to try again.
fn stays_direct(
    file: &File,
    is_direct: &AtomicBool,
    error: io::Error,
    at: impl Fn(io::Error) -> OverwriteError,
) -> Result<(), OverwriteError> {
    let is_refused =
        matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported);
    if error.kind() == io::ErrorKind::Interrupted {
        Ok(())
    } else if is_refused && is_direct.load(Ordering::Relaxed) && set_direct(file, false) {
        is_direct.store(false, Ordering::Relaxed);
        Ok(())
    } else {
        Err(at(error))
    }
}

fn set_direct(file: &File, on: bool) -> bool {
    let flags = if on { OFlags::DIRECT } else { OFlags::empty() };
    fcntl_setfl(file, flags).is_ok()
}

fn is_out_of_space(error: &OverwriteError) -> bool {
    match error {
        OverwriteError::Io { source, .. } => {
            matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        }
        OverwriteError::Differs { .. } | OverwriteError::Stopped => false,
    }
}

/// True if a write needs no room that is not there.
pub(super) fn writes_in_place(storage: &Storage) -> bool {
    match storage.file_system {
        FileSystem::Ext | FileSystem::Xfs | FileSystem::Memory(_) => true,
        FileSystem::Btrfs
        | FileSystem::Overlay
        | FileSystem::Elsewhere(_)
        | FileSystem::Remote(_)
        | FileSystem::Unknown(_) => false,
    }
}

#[cfg(test)]
mod tests;
