//! Where chunks lie in the plaintext and in the sealed file, and the loop over them.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use keymanager::floe;
use zeroize::Zeroizing;

use super::{BODY_AT, CHUNK_BYTES, SealError, TEXT_BYTES, sealed_len};

/// How many chunks there are and how long the last one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    chunks: u64,
    last_chunk_bytes: u64,
}

impl Layout {
    /// As a writer lays out; `None` beyond [`floe::CHUNKS_MAX`].
    pub(super) fn of_plain(plain_bytes: u64) -> Option<Self> {
        Self::of_sealed(sealed_len(plain_bytes)).ok()
    }

    /// As the length of a sealed file tells. Only opening the last chunk proves it.
    pub(super) fn of_sealed(sealed_bytes: u64) -> Result<Self, SealError> {
        let body_bytes = sealed_bytes.saturating_sub(BODY_AT);
        let chunks = body_bytes.div_ceil(CHUNK_BYTES);
        let last_chunk_bytes = body_bytes - chunks.saturating_sub(1) * CHUNK_BYTES;
        if last_chunk_bytes < floe::CHUNK_OVERHEAD_BYTES as u64 {
            return Err(SealError::Truncated { sealed_bytes });
        }
        if chunks > floe::CHUNKS_MAX {
            return Err(SealError::TooLong { sealed_bytes });
        }
        Ok(Self { chunks, last_chunk_bytes })
    }

    pub(super) fn plain_bytes(self) -> u64 {
        self.last_chunk() * TEXT_BYTES + self.last_chunk_bytes - floe::CHUNK_OVERHEAD_BYTES as u64
    }

    pub(super) fn sealed_bytes(self) -> u64 {
        BODY_AT + self.last_chunk() * CHUNK_BYTES + self.last_chunk_bytes
    }

    /// Index of the last chunk.
    pub(super) fn last_chunk(self) -> u64 {
        self.chunks - 1
    }

    /// Bytes of the batch of at most `chunks_max` chunks that begins at `first_chunk`.
    pub(super) fn batch_bytes(self, first_chunk: u64, chunks_max: u64) -> usize {
        let rest = self.sealed_bytes() - chunk_at(first_chunk);
        // At most `chunks_max` chunks: 1 MiB.
        rest.min(chunks_max * CHUNK_BYTES) as usize
    }
}

/// Where a chunk begins in the sealed file.
pub(super) fn chunk_at(index: u64) -> u64 {
    BODY_AT + index * CHUNK_BYTES
}

/// Where the text of a chunk begins in the plaintext.
pub(super) fn text_at(index: u64) -> u64 {
    index * TEXT_BYTES
}

/// Runs `work` on every batch of chunks, in order of begin, on at most `workers` threads with one
/// buffer each. `work` gets the index of the first chunk, and room for the chunks of its batch.
///
/// The caller's thread is one of the workers; where no more can be had, it works alone.
///
/// # Errors
///
/// One error of those that `work` returned. Batches already begun were finished, others not begun.
pub(super) fn for_each_batch(
    layout: Layout,
    workers: usize,
    work: impl Fn(u64, &mut [u8]) -> Result<(), SealError> + Sync,
) -> Result<(), SealError> {
    let batches = layout.chunks.div_ceil(BATCH_CHUNKS);
    let next = AtomicU64::new(0);
    let run = || {
        let mut plaintext_buffer = Zeroizing::new(vec![0; layout.batch_bytes(0, BATCH_CHUNKS)]);
        loop {
            let batch = next.fetch_add(1, Ordering::Relaxed);
            if batch >= batches {
                return Ok(());
            }
            let first_chunk = batch * BATCH_CHUNKS;
            let len = layout.batch_bytes(first_chunk, BATCH_CHUNKS);
            work(first_chunk, &mut plaintext_buffer[..len])
                .inspect_err(|_| next.store(batches, Ordering::Relaxed))?;
        }
    };
    let helpers = (workers as u64).min(batches).min(WORKERS_MAX).saturating_sub(1);
    thread::scope(|scope| {
        let helpers: Vec<_> = (0..helpers)
            .filter_map(|_| thread::Builder::new().spawn_scoped(scope, run).ok())
            .collect();
        let mine = run();
        helpers.into_iter().fold(mine, |result, helper| {
            result.and(helper.join().unwrap_or_else(|panic| resume_unwind(panic)))
        })
    })
}

/// 1 MiB. Longer writes are slower: they land on large folios and cost three times the system time.
pub(super) const BATCH_CHUNKS: u64 = 16;
const WORKERS_MAX: u64 = 64;
