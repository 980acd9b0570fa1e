//! A sealed file read like a file: [`Read`] and [`Seek`], for players, parsers and downloads.

use std::io::{self, Read, Seek, SeekFrom};

use zeroize::Zeroizing;

use super::batch::{BATCH_CHUNKS, text_at};
use super::{ReadAt, SealError, SealedReader, TEXT_BYTES};

/// Reads on from a position, and ahead: one chunk after a seek, then two, up to 1 MiB.
pub struct SealedStream<R: ReadAt> {
    reader: SealedReader<R>,
    position: u64,
    /// What was opened last, and where it begins. Whole chunks, except at the end.
    plaintext: Zeroizing<Vec<u8>>,
    opened: usize,
    starts_at: u64,
    ahead_chunks: u64,
}

impl<R: ReadAt> SealedStream<R> {
    pub(super) fn new(reader: SealedReader<R>) -> Self {
        Self {
            reader,
            position: 0,
            plaintext: Zeroizing::new(Vec::new()),
            opened: 0,
            starts_at: 0,
            ahead_chunks: 1,
        }
    }

    /// What it reads from.
    pub fn reader(&self) -> &SealedReader<R> {
        &self.reader
    }

    /// Opens what lies at the position, or nothing at the end.
    fn fill(&mut self) -> Result<(), SealError> {
        let follows = self.opened > 0 && self.position == self.starts_at + self.opened as u64;
        self.ahead_chunks = if follows { (self.ahead_chunks * 2).min(BATCH_CHUNKS) } else { 1 };
        let starts_at = text_at(self.position / TEXT_BYTES);
        let rest = self.reader.plain_bytes().saturating_sub(starts_at);
        let len = rest.min(text_at(self.ahead_chunks)) as usize;
        self.opened = 0;
        if self.plaintext.len() < len {
            // A new one instead of `resize`, which leaves the old bytes behind when it moves.
            self.plaintext = Zeroizing::new(vec![0; len]);
        }
        self.opened = self.reader.read_at(&mut self.plaintext[..len], starts_at)?;
        self.starts_at = starts_at;
        Ok(())
    }
}

impl<R: ReadAt> Read for SealedStream<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() || self.position >= self.reader.plain_bytes() {
            return Ok(0);
        }
        let opened = self.starts_at..self.starts_at + self.opened as u64;
        if !opened.contains(&self.position) {
            self.fill()?;
        }
        let from = (self.position - self.starts_at) as usize;
        let len = buf.len().min(self.opened - from);
        buf[..len].copy_from_slice(&self.plaintext[from..from + len]);
        self.position += len as u64;
        Ok(len)
    }
}

impl<R: ReadAt> Seek for SealedStream<R> {
    /// The end is that of the plaintext, which was proved at opening.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(delta) => self.reader.plain_bytes().checked_add_signed(delta),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl From<SealError> for io::Error {
    /// `InvalidData` for what is wrong with the file, so that readers do not take it for the end.
    fn from(error: SealError) -> Self {
        let kind = match &error {
            SealError::ReadPlaintext { source, .. }
            | SealError::ReadSealed { source }
            | SealError::WriteSealed { source, .. } => source.kind(),
            SealError::NotSealed
            | SealError::UnsupportedVersion { .. }
            | SealError::UnsupportedPrefix
            | SealError::UnsupportedParameters { .. }
            | SealError::WrongKey { .. }
            | SealError::DamagedChunk { .. }
            | SealError::Truncated { .. }
            | SealError::TooLong { .. }
            | SealError::Differs { .. }
            | SealError::DiffersSomewhere { .. }
            | SealError::SourceChanged { .. }
            | SealError::NotAsProved { .. }
            | SealError::TooLarge { .. } => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
