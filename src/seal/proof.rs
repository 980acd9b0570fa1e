//! Reading back what was sealed, and the proof that nothing but a comparison can make.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use keymanager::floe;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::batch::{for_each_batch, text_at};
use super::{ReadAt, SealError, SealedReader, peek_prefix, read_full_at};
use crate::domain::RecordingId;

/// Proof that a sealed file opens to exactly the bytes of an original.
///
/// Only [`prove_equal`] makes one, [`prove_written`] for what was made here and cannot be read twice,
/// and [`prove_unchanged`] makes it again, so "remove the original without reading the copy back" does
/// not compile. It is as durable as what was read: sync first.
#[must_use]
#[derive(Debug)]
pub struct VerifiedSeal {
    recording: RecordingId,
    plain_bytes: u64,
}

impl VerifiedSeal {
    /// Whose sealed file it was.
    pub fn recording(&self) -> RecordingId {
        self.recording
    }

    /// Length of the original when it was compared.
    pub fn plain_bytes(&self) -> u64 {
        self.plain_bytes
    }

    /// For tests of what needs a proof.
    #[cfg(test)]
    pub(crate) fn for_test(recording: RecordingId, plain_bytes: u64) -> Self {
        Self { recording, plain_bytes }
    }
}

/// Opens every chunk on up to `workers` threads; the length of the plaintext.
///
/// # Errors
///
/// [`SealError`] of one chunk that does not open.
pub fn verify_whole(
    reader: &SealedReader<impl ReadAt + Sync>,
    workers: usize,
) -> Result<u64, SealError> {
    verify_whole_watched(reader, workers, &|_| ())
}

/// The same; `progress` hears of the bytes done after each MiB, from any of the threads.
///
/// # Errors
///
/// As [`verify_whole`].
pub fn verify_whole_watched(
    reader: &SealedReader<impl ReadAt + Sync>,
    workers: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<u64, SealError> {
    let done_bytes = AtomicU64::new(0);
    for_each_batch(reader.layout(), workers, |first_chunk, batch| {
        let opened_bytes = AtomicU64::new(0);
        reader.open_chunks(first_chunk, batch, |_, text| {
            opened_bytes.fetch_add(text.len() as u64, Ordering::Relaxed);
            Ok(())
        })?;
        let opened_bytes = opened_bytes.into_inner();
        progress(done_bytes.fetch_add(opened_bytes, Ordering::Relaxed) + opened_bytes);
        Ok(())
    })?;
    Ok(reader.plain_bytes())
}

/// Opens every chunk and compares it with the original, on up to `workers` threads. Both are read
/// whole; to read the copy from the disk and not from memory is the caller's affair.
///
/// # Errors
///
/// [`SealError::Differs`], [`SealError::SourceChanged`] if the lengths differ, or the first
/// failure to read or open. Nothing was changed; keep the original.
pub fn prove_equal(
    reader: &SealedReader<impl ReadAt + Sync>,
    plaintext: &(impl ReadAt + Sync),
    workers: usize,
) -> Result<VerifiedSeal, SealError> {
    let recording = reader.prefix().recording;
    let plain_bytes = reader.plain_bytes();
    let read_failed = |source| SealError::ReadPlaintext { recording, source };
    let changed = |actual_bytes| SealError::SourceChanged {
        recording,
        expected_bytes: plain_bytes,
        actual_bytes,
    };
    for_each_batch(reader.layout(), workers, |first_chunk, batch| {
        let mut plaintext_buffer = Zeroizing::new(vec![0; floe::CHUNK_BYTES.min(batch.len())]);
        reader.open_chunks(first_chunk, batch, |index, text| {
            let original = &mut plaintext_buffer[..text.len()];
            let len = read_full_at(plaintext, original, text_at(index)).map_err(read_failed)?;
            if len < text.len() {
                return Err(changed(text_at(index) + len as u64));
            }
            if text != original {
                return Err(SealError::Differs { recording, chunk: index });
            }
            Ok(())
        })
    })?;
    let actual_bytes = plaintext.len_bytes().map_err(read_failed)?;
    if actual_bytes != plain_bytes {
        return Err(changed(actual_bytes));
    }
    Ok(VerifiedSeal { recording, plain_bytes })
}

/// Opens every chunk and compares what is in them with what went through a [`Hashed`] writer into
/// the sealed file: for plaintext that was made on the way and is nowhere else. To read the copy
/// from the disk and not from memory is the caller's affair. `progress` hears of the bytes done.
///
/// # Errors
///
/// [`SealError::SourceChanged`] if the lengths differ, [`SealError::DiffersSomewhere`] if the
/// content does, or the first failure to read or open.
pub fn prove_written(
    reader: &SealedReader<impl ReadAt>,
    written: &Written,
    progress: &dyn Fn(u64),
) -> Result<VerifiedSeal, SealError> {
    let recording = reader.prefix().recording;
    let (expected_bytes, actual_bytes) = (written.plain_bytes, reader.plain_bytes());
    if expected_bytes != actual_bytes {
        return Err(SealError::SourceChanged { recording, expected_bytes, actual_bytes });
    }
    let mut plaintext = Zeroizing::new(vec![0; DIGEST_BUFFER_BYTES]);
    let (mut hash, mut offset) = (Sha256::new(), 0);
    while offset < actual_bytes {
        let len = reader.read_at(&mut plaintext, offset)?;
        hash.update(&plaintext[..len]);
        offset += len as u64;
        progress(offset);
    }
    let digest: [u8; 32] = hash.finalize().into();
    match digest == written.sha256 {
        true => Ok(VerifiedSeal { recording, plain_bytes: actual_bytes }),
        false => Err(SealError::DiffersSomewhere { recording }),
    }
}

/// Passes on what is written, and remembers what it was.
pub struct Hashed<W> {
    out: W,
    hash: Sha256,
    plain_bytes: u64,
}

/// What went through a [`Hashed`] writer.
#[derive(Debug)]
pub struct Written {
    sha256: [u8; 32],
    plain_bytes: u64,
}

impl<W: Write> Hashed<W> {
    /// Nothing was written yet.
    pub fn new(out: W) -> Self {
        Self { out, hash: Sha256::new(), plain_bytes: 0 }
    }

    /// The end: what was written, and where to.
    pub fn finish(self) -> (W, Written) {
        let sha256 = self.hash.finalize().into();
        (self.out, Written { sha256, plain_bytes: self.plain_bytes })
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, plaintext: &[u8]) -> io::Result<usize> {
        let len = self.out.write(plaintext)?;
        self.hash.update(&plaintext[..len]);
        self.plain_bytes += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// SHA-256 of a sealed file, to be kept with the proof where nobody can open the file again. Reads
/// all of it.
///
/// # Errors
///
/// [`SealError::ReadSealed`].
pub fn digest_of(sealed: &impl ReadAt) -> Result<[u8; 32], SealError> {
    let (mut hash, mut offset) = (Sha256::new(), 0);
    let mut buffer = vec![0; DIGEST_BUFFER_BYTES];
    loop {
        let len = read_full_at(sealed, &mut buffer, offset)
            .map_err(|source| SealError::ReadSealed { source })?;
        if len == 0 {
            return Ok(hash.finalize().into());
        }
        hash.update(&buffer[..len]);
        offset += len as u64;
    }
}

/// Proves without the key that a sealed file is still the one that [`prove_equal`] compared with
/// an original of `plain_bytes`. That the original is still the same is the caller's to know.
///
/// # Errors
///
/// [`SealError::NotAsProved`], or a failure to read. Keep the original.
pub fn prove_unchanged(
    sealed: &impl ReadAt,
    proved: &[u8; 32],
    plain_bytes: u64,
) -> Result<VerifiedSeal, SealError> {
    let recording = peek_prefix(sealed)?.recording;
    match digest_of(sealed)? == *proved {
        true => Ok(VerifiedSeal { recording, plain_bytes }),
        false => Err(SealError::NotAsProved { recording }),
    }
}

const DIGEST_BUFFER_BYTES: usize = 1 << 20;
