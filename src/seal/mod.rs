//! Sealed files: how one recording's media lies encrypted on disk.
//!
//! ```text
//! prefix (64, clear) | FLOE header (74) | chunk 0 | chunk 1 | … | last chunk
//! ```
//!
//! Each chunk is AES-256-GCM over at most [`TEXT_BYTES`] of plaintext, bound to its index and to a
//! last-chunk mark (the FLOE construction, see [`keymanager::floe`]), so that reordering,
//! truncation, extension and splicing are all refused. The prefix is the associated data of the
//! whole. Every offset is found by division: a seek opens one chunk.
//!
//! Start reading at [`seal_file`], then [`SealedReader`]. `src/manual/format.md` specifies the
//! bytes; where it and this code differ, this code is wrong.
//!
//! # Invariants
//!
//! - This module knows no paths, no names and no catalog: it takes [`ReadAt`] and [`WriteAt`]. It
//!   creates, syncs, renames and removes nothing; what a power cut leaves is the vault's to say.
//! - Memory is constant, about 1 MiB for each worker. Buffers that held plaintext are wiped.
//! - A [`keymanager::DataKey`] belongs to one recording and one attempt: a sealing that failed is
//!   never resumed but begun anew with a new key.
//! - Only [`prove_equal`], [`prove_written`], and [`prove_unchanged`] after them, make a
//!   [`VerifiedSeal`], without which no original is removed.

mod batch;
mod header;
mod proof;
mod reader;
mod stream;
mod writer;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use keymanager::floe;

use crate::domain::RecordingId;

pub use header::Prefix;
pub use proof::{
    Hashed, VerifiedSeal, Written, digest_of, prove_equal, prove_unchanged, prove_written,
    verify_whole, verify_whole_watched,
};
pub use reader::{SealedReader, peek_prefix};
pub use stream::SealedStream;
pub use writer::{SealWriter, Sealed, seal_file};

/// Something with a length that can be read anywhere, by several threads at once.
pub trait ReadAt {
    /// Reads from `offset` on; 0 means that the end lies there or before.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// The length now.
    fn len_bytes(&self) -> io::Result<u64>;
}

/// Something that can be written anywhere, by several threads at once.
pub trait WriteAt {
    /// Writes all of `buf` at `offset`.
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;
    /// Says that these bytes are final, so that writing back may begin. Offsets mostly grow, but
    /// with several workers not strictly.
    fn written(&self, _offset: u64, _len: u64) {}
}

impl ReadAt for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buf, offset)
    }

    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl WriteAt for File {
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, buf, offset)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.as_slice().read_at(buf, offset)
    }

    fn len_bytes(&self) -> io::Result<u64> {
        self.as_slice().len_bytes()
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buf, offset)
    }

    fn len_bytes(&self) -> io::Result<u64> {
        (**self).len_bytes()
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Box<T> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buf, offset)
    }

    fn len_bytes(&self) -> io::Result<u64> {
        (**self).len_bytes()
    }
}

/// Length of the sealed file of `plain_bytes` of plaintext.
pub fn sealed_len(plain_bytes: u64) -> u64 {
    let chunks = plain_bytes.div_ceil(TEXT_BYTES).max(1);
    let framing = chunks.saturating_mul(floe::CHUNK_OVERHEAD_BYTES as u64);
    plain_bytes.saturating_add(framing).saturating_add(BODY_AT)
}

/// Why something was not sealed, not opened, or not proved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say it")]
pub enum SealError {
    #[error("not a sealed file")]
    NotSealed,
    #[error("sealed file of version {version}, which this program does not know")]
    UnsupportedVersion { version: u8 },
    #[error("prefix of a sealed file has an unknown kind or reserved bytes in use")]
    UnsupportedPrefix,
    #[error("sealed file of {recording} has unsupported encryption parameters")]
    UnsupportedParameters { recording: RecordingId },
    #[error("not the data key of this sealed file of {recording}, or its header is damaged")]
    WrongKey { recording: RecordingId },
    #[error("chunk {chunk} of the sealed file of {recording} is damaged")]
    DamagedChunk { recording: RecordingId, chunk: u64 },
    #[error("sealed file ends after {sealed_bytes} bytes, before its end")]
    Truncated { sealed_bytes: u64 },
    #[error("sealed file has {sealed_bytes} bytes, more than were sealed")]
    TooLong { sealed_bytes: u64 },
    #[error("sealed file of {recording} differs from the original in chunk {chunk}")]
    Differs { recording: RecordingId, chunk: u64 },
    #[error("sealed file of {recording} does not hold what was written into it")]
    DiffersSomewhere { recording: RecordingId },
    #[error("sealed file of {recording} is not the one that was proved")]
    NotAsProved { recording: RecordingId },
    #[error("original of {recording} had {expected_bytes} bytes and now has {actual_bytes}")]
    SourceChanged { recording: RecordingId, expected_bytes: u64, actual_bytes: u64 },
    #[error("original of {recording} with {plain_bytes} bytes is beyond what a sealed file holds")]
    TooLarge { recording: RecordingId, plain_bytes: u64 },
    #[error("reading the original of {recording}")]
    ReadPlaintext { recording: RecordingId, source: io::Error },
    #[error("reading a sealed file")]
    ReadSealed { source: io::Error },
    #[error("writing the sealed file of {recording}")]
    WriteSealed { recording: RecordingId, source: io::Error },
}

impl SealError {
    /// Worth another try later, begun anew; everything else needs a person or another copy.
    pub fn is_transient(&self) -> bool {
        use io::ErrorKind::{Interrupted, ResourceBusy, StorageFull, TimedOut, WouldBlock};
        match self {
            Self::SourceChanged { .. } => true,
            Self::ReadPlaintext { source, .. }
            | Self::ReadSealed { source }
            | Self::WriteSealed { source, .. } => matches!(
                source.kind(),
                Interrupted | ResourceBusy | StorageFull | TimedOut | WouldBlock
            ),
            Self::NotSealed
            | Self::UnsupportedVersion { .. }
            | Self::UnsupportedPrefix
            | Self::UnsupportedParameters { .. }
            | Self::WrongKey { .. }
            | Self::DamagedChunk { .. }
            | Self::Truncated { .. }
            | Self::TooLong { .. }
            | Self::Differs { .. }
            | Self::DiffersSomewhere { .. }
            | Self::NotAsProved { .. }
            | Self::TooLarge { .. } => false,
        }
    }
}

/// Fills `buf` from `offset` on as far as there is something; how much that was.
fn read_full_at(source: &impl ReadAt, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match source.read_at(&mut buf[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(len) => filled += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Plaintext of a full chunk.
pub const TEXT_BYTES: u64 = (floe::CHUNK_BYTES - floe::CHUNK_OVERHEAD_BYTES) as u64;
/// Where the chunks begin.
const BODY_AT: u64 = (header::PREFIX_BYTES + floe::HEADER_BYTES) as u64;
const CHUNK_BYTES: u64 = floe::CHUNK_BYTES as u64;

#[cfg(test)]
mod tests;
