//! Sealing: a file by position and in parallel, or a stream as it comes.

use std::io::{self, Write};

use keymanager::DataKey;
use keymanager::floe::{self, FloeSealer};
use zeroize::Zeroizing;

use super::batch::{Layout, chunk_at, for_each_batch, text_at};
use super::header::{PREFIX_BYTES, Prefix};
use super::{BODY_AT, ReadAt, SealError, WriteAt, read_full_at, sealed_len};
use crate::domain::{DataKeyId, RecordingId};

/// What was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Length of the plaintext.
    pub plain_bytes: u64,
    /// Length of the sealed file.
    pub sealed_bytes: u64,
}

/// Seals all of `plaintext` into `sealed`, 1 MiB at a time on up to `workers` threads.
///
/// The length is taken once, at the start. Nothing is synced. Costs about what a copy costs; a
/// second worker pays from some 10 MiB on, more do not.
///
/// # Errors
///
/// [`SealError::WrongKey`] if `prefix` names another key, [`SealError::SourceChanged`] if the
/// plaintext shrank or grew meanwhile, [`SealError::TooLarge`], or a failed read or write. What was
/// written then is of no use: throw it and the key away and begin anew.
pub fn seal_file(
    key: &DataKey,
    prefix: Prefix,
    plaintext: &(impl ReadAt + Sync),
    sealed: &(impl WriteAt + Sync),
    workers: usize,
) -> Result<Sealed, SealError> {
    let recording = prefix.recording;
    let read_failed = |source| SealError::ReadPlaintext { recording, source };
    let write_failed = |source| SealError::WriteSealed { recording, source };
    let (sealer, head) = begin(key, prefix)?;
    let plain_bytes = plaintext.len_bytes().map_err(read_failed)?;
    let layout =
        Layout::of_plain(plain_bytes).ok_or(SealError::TooLarge { recording, plain_bytes })?;
    let changed = |actual_bytes| SealError::SourceChanged {
        recording,
        expected_bytes: plain_bytes,
        actual_bytes,
    };

    sealed.write_all_at(&head, 0).map_err(write_failed)?;
    for_each_batch(layout, workers, |first_chunk, batch| {
        for (index, chunk) in (first_chunk..).zip(batch.chunks_mut(floe::CHUNK_BYTES)) {
            let text_end = chunk.len() - TAG_BYTES;
            let text = &mut chunk[floe::CHUNK_PLAIN_AT..text_end];
            let len = read_full_at(plaintext, text, text_at(index)).map_err(read_failed)?;
            if len < text.len() {
                return Err(changed(text_at(index) + len as u64));
            }
            sealer.seal_chunk(index, index == layout.last_chunk(), chunk);
        }
        let at = chunk_at(first_chunk);
        sealed.write_all_at(batch, at).map_err(write_failed)?;
        sealed.written(at, batch.len() as u64);
        Ok(())
    })?;
    let len_now = plaintext.len_bytes().map_err(read_failed)?;
    if len_now != plain_bytes {
        return Err(changed(len_now));
    }
    Ok(Sealed { plain_bytes, sealed_bytes: layout.sealed_bytes() })
}

/// Seals a stream whose length is not known, one chunk at a time.
///
/// Without [`SealWriter::finish`] the output is a truncated file, which nobody opens.
pub struct SealWriter<W: Write> {
    out: W,
    recording: RecordingId,
    sealer: FloeSealer,
    next_chunk: u64,
    plaintext_chunk: Zeroizing<Vec<u8>>,
    text_bytes: usize,
    /// A chunk was sealed in place and perhaps not written: going on would seal it twice.
    is_broken: bool,
}

impl<W: Write> SealWriter<W> {
    /// Writes prefix and header.
    ///
    /// # Errors
    ///
    /// [`SealError::WrongKey`] if `prefix` names another key, [`SealError::WriteSealed`].
    pub fn new(key: &DataKey, prefix: Prefix, mut out: W) -> Result<Self, SealError> {
        let recording = prefix.recording;
        let (sealer, head) = begin(key, prefix)?;
        out.write_all(&head).map_err(|source| SealError::WriteSealed { recording, source })?;
        let plaintext_chunk = Zeroizing::new(vec![0; floe::CHUNK_BYTES]);
        Ok(Self {
            out,
            recording,
            sealer,
            next_chunk: 0,
            plaintext_chunk,
            text_bytes: 0,
            is_broken: false,
        })
    }

    /// Seals the last chunk and hands the output back, neither flushed nor synced.
    ///
    /// # Errors
    ///
    /// [`SealError::WriteSealed`], also if an earlier write failed.
    pub fn finish(mut self) -> Result<(W, Sealed), SealError> {
        let recording = self.recording;
        let plain_bytes = text_at(self.next_chunk) + self.text_bytes as u64;
        self.write_chunk(true).map_err(|source| SealError::WriteSealed { recording, source })?;
        Ok((self.out, Sealed { plain_bytes, sealed_bytes: sealed_len(plain_bytes) }))
    }

    fn write_chunk(&mut self, is_last: bool) -> io::Result<()> {
        if self.is_broken {
            return Err(io::Error::other("an earlier write failed"));
        }
        if self.next_chunk >= floe::CHUNKS_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.is_broken = true;
        let chunk = &mut self.plaintext_chunk[..self.text_bytes + floe::CHUNK_OVERHEAD_BYTES];
        self.sealer.seal_chunk(self.next_chunk, is_last, chunk);
        self.out.write_all(chunk)?;
        self.next_chunk += 1;
        self.text_bytes = 0;
        self.is_broken = false;
        Ok(())
    }
}

impl<W: Write> Write for SealWriter<W> {
    fn write(&mut self, plaintext: &[u8]) -> io::Result<usize> {
        let text_end = floe::CHUNK_BYTES - TAG_BYTES;
        // A full chunk waits here until more comes, because it could be the last.
        if floe::CHUNK_PLAIN_AT + self.text_bytes == text_end && !plaintext.is_empty() {
            self.write_chunk(false)?;
        }
        let room = &mut self.plaintext_chunk[floe::CHUNK_PLAIN_AT + self.text_bytes..text_end];
        let len = plaintext.len().min(room.len());
        room[..len].copy_from_slice(&plaintext[..len]);
        self.text_bytes += len;
        Ok(len)
    }

    /// Flushes what was sealed. The chunk that is not full yet stays here.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The sealer, and what goes in front of the chunks.
fn begin(key: &DataKey, prefix: Prefix) -> Result<(FloeSealer, [u8; BODY_AT as usize]), SealError> {
    if prefix.data_key != DataKeyId(key.id()) {
        return Err(SealError::WrongKey { recording: prefix.recording });
    }
    let sealer = key.sealer(&prefix.to_bytes());
    let mut head = [0; BODY_AT as usize];
    head[..PREFIX_BYTES].copy_from_slice(&prefix.to_bytes());
    head[PREFIX_BYTES..].copy_from_slice(sealer.header());
    Ok((sealer, head))
}

const TAG_BYTES: usize = floe::CHUNK_OVERHEAD_BYTES - floe::CHUNK_PLAIN_AT;
