//! One pass of random bytes over a file in place, and the read-back that proves it.
//!
//! ```text
//! map extents ─▶ write stream (O_DIRECT, unaligned tail buffered) ─▶ fdatasync
//!             ─▶ read all back past the cache, compare with the same stream ─▶ map again ─▶ judge
//! ```
//!
//! One pass: more passes belong to disks of the 1990s. Random and not zero: zeros may become a
//! hole on the way down. Direct and not buffered: a pile of dirty pages flushed at once stalls the
//! recorder beside us for 290 ms, direct writes for 3 ms. Safe to repeat from the start, and it
//! has to be: the stream of an interrupted run is gone.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use keymanager::Keystream;
use rustix::fs::{Advice, OFlags, fadvise, fcntl_setfl};

use crate::domain::Overwrite;
use crate::sys;

use super::observe;
use super::storage_kind::{FileSignals, FileSystem, Storage, judge};
use super::xattr;

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
}

impl OverwriteError {
    fn at(step: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { step, source }
    }
}

/// The buffers of one worker, used for file after file.
pub(super) struct Overwriter {
    random: AlignedBuffer,
    read_back: AlignedBuffer,
}

impl Overwriter {
    /// Takes 2 MiB of memory.
    pub(super) fn new() -> Self {
        Self { random: AlignedBuffer::new(), read_back: AlignedBuffer::new() }
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
        let at = OverwriteError::at;
        let len_bytes = file.metadata().map_err(at("asking its length"))?.len();
        xattr::blot_out(file).map_err(at("blotting out its attributes"))?;
        let mut signals = FileSignals {
            inode_flags: observe::inode_flags(file),
            before: sys::extents(file).ok(),
            ..FileSignals::default()
        };
        let stream = Keystream::generate();
        match self.write(file, len_bytes, &stream) {
            Ok(()) => {}
            Err(error) if is_out_of_space(&error) && !writes_in_place(storage) => {
                return Ok((Overwrite::NotGuaranteedCow, 0));
            }
            Err(error) => return Err(error),
        }
        signals.read_back_direct = self.verify(file, len_bytes, &stream)?;
        signals.after = sys::extents(file).ok();
        Ok((judge(storage, &signals), len_bytes))
    }

    fn write(
        &mut self,
        file: &File,
        len_bytes: u64,
        stream: &Keystream,
    ) -> Result<(), OverwriteError> {
        let at = OverwriteError::at;
        let mut is_direct = set_direct(file, true);
        let mut offset = 0;
        while offset < len_bytes {
            let random = self.random.piece(len_bytes - offset);
            let mut count = random.len();
            if is_direct {
                count -= count % ALIGN_BYTES;
            }
            if count == 0 {
                is_direct = !set_direct(file, false); // the last, unaligned bytes
                continue;
            }
            stream.fill_at(offset, &mut random[..count]);
            match file.write_all_at(&random[..count], offset) {
                Ok(()) => offset += count as u64,
                Err(error) if is_direct => is_direct = stays_direct(file, error)?,
                Err(error) => return Err(at("writing")(error)),
            }
            if !is_direct {
                sys::kick_writeback(file, 0, 0).ok(); // the sync below waits for it and reports
            }
        }
        file.sync_data().map_err(at("syncing"))
    }

    /// Compares all of it; true if the bytes came from the device and not from the cache.
    fn verify(
        &mut self,
        file: &File,
        len_bytes: u64,
        stream: &Keystream,
    ) -> Result<bool, OverwriteError> {
        let at = OverwriteError::at;
        let mut is_direct = set_direct(file, true);
        if !is_direct {
            fadvise(file, 0, None, Advice::DontNeed).ok(); // better than nothing, and not proof
        }
        let mut offset = 0;
        while offset < len_bytes {
            let wanted = self.random.piece(len_bytes - offset);
            let got = self.read_back.whole();
            let count = match file.read_at(got, offset) {
                Ok(count) => count.min(wanted.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if is_direct => {
                    is_direct = stays_direct(file, error)?;
                    continue;
                }
                Err(error) => return Err(at("reading back")(error)),
            };
            // A short direct read has to end on a block, or be the end of the file.
            let is_end = offset + count as u64 == len_bytes;
            let count = if is_end { count } else { count - count % ALIGN_BYTES };
            stream.fill_at(offset, wanted);
            if count == 0 || got[..count] != wanted[..count] {
                return Err(OverwriteError::Differs { offset_bytes: offset });
            }
            offset += count as u64;
        }
        Ok(is_direct)
    }
}

/// A file system may take the flag and refuse the write; then the rest goes through the cache.
fn stays_direct(file: &File, error: io::Error) -> Result<bool, OverwriteError> {
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(true),
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => Ok(!set_direct(file, false)),
        _ => Err(OverwriteError::at("direct access")(error)),
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
        OverwriteError::Differs { .. } => false,
    }
}

fn writes_in_place(storage: &Storage) -> bool {
    match storage.file_system {
        FileSystem::Ext | FileSystem::Xfs | FileSystem::Memory(_) => true,
        FileSystem::Btrfs
        | FileSystem::Overlay
        | FileSystem::Elsewhere(_)
        | FileSystem::Remote(_)
        | FileSystem::Unknown(_) => false,
    }
}

/// A buffer whose start suits direct access, without asking the allocator for alignment.
struct AlignedBuffer {
    bytes: Vec<u8>,
    start: usize,
}

impl AlignedBuffer {
    fn new() -> Self {
        let bytes = vec![0; PIECE_BYTES + ALIGN_BYTES];
        let start = bytes.as_ptr().align_offset(ALIGN_BYTES);
        Self { bytes, start }
    }

    fn whole(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + PIECE_BYTES]
    }

    /// As much of it as `left_bytes` needs.
    fn piece(&mut self, left_bytes: u64) -> &mut [u8] {
        let len = usize::try_from(left_bytes).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        &mut self.whole()[..len]
    }
}

/// Large enough to keep a disk busy, small enough that a recorder's write waits for one only.
const PIECE_BYTES: usize = 1 << 20;
/// Suits the block size of every common disk; one that wants more falls back to the cache.
const ALIGN_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::storage_kind::Media;

    use std::os::fd::AsFd;

    fn storage() -> Storage {
        observe::storage_of(std::fs::File::open(std::env::temp_dir()).unwrap().as_fd()).unwrap()
    }

    fn victim(len_bytes: usize) -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&vec![b'P'; len_bytes], 0).unwrap();
        file
    }

    fn content(file: &File) -> Vec<u8> {
        set_direct(file, false);
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    /// Planted faults: the unaligned tail left out, the last piece left out, and the length
    /// rounded up to a block. With random bytes a 'P' survives by chance once in 256.
    #[test]
    fn every_byte_of_every_length_goes() {
        let storage = storage();
        let mut overwriter = Overwriter::new();
        for len_bytes in [0, 1, 40, 4095, 4096, 4097, PIECE_BYTES, PIECE_BYTES + 1, 2_200_123] {
            let file = victim(len_bytes);
            let (_, bytes) = overwriter.run(&file, &storage).unwrap();
            let after = content(&file);
            assert_eq!((bytes, after.len()), (len_bytes as u64, len_bytes));
            for block in after.chunks(32) {
                let kept = block.iter().filter(|byte| **byte == b'P').count();
                assert!(block.len() < 32 || kept < 16, "{len_bytes}: {kept} of 32");
            }
            assert!(after.len() < 33 || after[after.len() - 33..] != vec![b'P'; 33]);
        }
    }

    /// Planted fault: comparing only the first piece.
    #[test]
    fn one_wrong_byte_is_found_wherever_it_is() {
        let mut overwriter = Overwriter::new();
        let len_bytes = PIECE_BYTES as u64 * 2 + 77;
        for wrong in [0, 4096, PIECE_BYTES as u64, len_bytes - 78, len_bytes - 1] {
            let file = victim(len_bytes as usize);
            let stream = Keystream::generate();
            overwriter.write(&file, len_bytes, &stream).unwrap();
            overwriter.verify(&file, len_bytes, &stream).unwrap();
            let mut byte = [0];
            set_direct(&file, false);
            file.read_exact_at(&mut byte, wrong).unwrap();
            file.write_all_at(&[byte[0] ^ 1], wrong).unwrap();
            let found = overwriter.verify(&file, len_bytes, &stream);
            assert!(matches!(found, Err(OverwriteError::Differs { .. })), "{wrong}: {found:?}");
        }
    }

    #[test]
    fn a_file_that_shrinks_under_us_is_an_error_and_no_loop() {
        let mut overwriter = Overwriter::new();
        let file = victim(10_000);
        let stream = Keystream::generate();
        overwriter.write(&file, 10_000, &stream).unwrap();
        file.set_len(5_000).unwrap();
        assert!(overwriter.verify(&file, 10_000, &stream).is_err());
    }

    #[test]
    fn a_full_copy_on_write_disk_is_told_from_a_full_one() {
        let storage = |file_system| Storage {
            file_system,
            media: Media::Unknown,
            may_journal_data: false,
            is_no_cow: false,
            is_thin: false,
        };
        assert!(writes_in_place(&storage(FileSystem::Ext)));
        assert!(!writes_in_place(&storage(FileSystem::Btrfs)));
        let full = OverwriteError::at("writing")(io::ErrorKind::StorageFull.into());
        assert!(is_out_of_space(&full));
        assert!(!is_out_of_space(&OverwriteError::Differs { offset_bytes: 0 }));
    }
}
