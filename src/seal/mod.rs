//! Sealed files: what the vault needs of them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::domain::RecordingId;

/// Bytes that can be read at any offset.
pub trait ReadAt {
    /// Reads at most `buf.len()` bytes at `offset`; zero is the end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// How many bytes there are.
    fn len_bytes(&self) -> io::Result<u64>;
}

impl ReadAt for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buf, offset)
    }

    fn len_bytes(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }
}

/// Bytes that can be written at any offset.
pub trait WriteAt {
    /// Writes all of `buf` at `offset`.
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;
    /// Told after a write that this range will not be written again.
    fn written(&self, _offset: u64, _len: u64) {}
}

/// Proof that a sealed copy was read back from its disk and is equal to the original.
#[must_use]
#[derive(Debug)]
pub struct VerifiedSeal {
    recording: RecordingId,
    plain_bytes: u64,
}

impl VerifiedSeal {
    /// Which recording.
    pub fn recording(&self) -> RecordingId {
        self.recording
    }

    /// How many bytes of it were compared.
    pub fn plain_bytes(&self) -> u64 {
        self.plain_bytes
    }

    /// A proof of nothing, for the tests of those who demand one.
    #[cfg(test)]
    pub(crate) fn for_test(recording: RecordingId, plain_bytes: u64) -> Self {
        Self { recording, plain_bytes }
    }
}
