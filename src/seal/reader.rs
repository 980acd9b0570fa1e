//! Opening: any range of a sealed file, by opening only the chunks it lies in.

use keymanager::DataKey;
use keymanager::floe::{self, FloeOpener, OpenError};
use zeroize::Zeroizing;

use super::batch::{BATCH_CHUNKS, Layout, chunk_at, text_at};
use super::header::{MAGIC, PREFIX_BYTES, Prefix};
use super::{ReadAt, SealError, SealedStream, TEXT_BYTES, read_full_at};
use crate::domain::DataKeyId;

/// A sealed file whose header and length are proved to be what was sealed.
///
/// Chunks in between are checked as they are read; [`super::verify_whole`] checks all of them.
pub struct SealedReader<R: ReadAt> {
    source: R,
    prefix: Prefix,
    opener: FloeOpener,
    layout: Layout,
}

impl<R: ReadAt> SealedReader<R> {
    /// Checks prefix, header and last chunk: 200 bytes and one chunk are read.
    ///
    /// # Errors
    ///
    /// [`SealError`], told apart as far as can be: not a sealed file, another version, the wrong
    /// key, truncated, too long, or damaged.
    pub fn open(key: &DataKey, source: R) -> Result<Self, SealError> {
        let prefix = peek_prefix(&source)?;
        let recording = prefix.recording;
        if prefix.data_key != DataKeyId(key.id()) {
            return Err(SealError::WrongKey { recording });
        }
        let sealed_bytes = source.len_bytes().map_err(|source| SealError::ReadSealed { source })?;
        let mut header = [0; floe::HEADER_BYTES];
        read_all(&source, &mut header, PREFIX_BYTES as u64)?;
        let opener = key
            .opener(&prefix.to_bytes(), &header)
            .map_err(|error| refused(error, prefix, sealed_bytes))?;
        let layout = Layout::of_sealed(sealed_bytes)?;
        let reader = Self { source, prefix, opener, layout };
        let last = layout.last_chunk();
        let mut plaintext_buffer = Zeroizing::new(vec![0; layout.batch_bytes(last, 1)]);
        reader.open_chunks(last, &mut plaintext_buffer, |_, _| Ok(()))?;
        Ok(reader)
    }

    /// Whose file this is; proved.
    pub fn prefix(&self) -> Prefix {
        self.prefix
    }

    /// Length of the plaintext; proved.
    pub fn plain_bytes(&self) -> u64 {
        self.layout.plain_bytes()
    }

    /// Fills `plaintext` from `offset` on; less than all of it only at the end.
    ///
    /// Opens the chunks of that range, 1 MiB at a time: at most 64 KiB too much on either side.
    ///
    /// # Errors
    ///
    /// [`SealError::DamagedChunk`], [`SealError::Truncated`] if the file shrank meanwhile, or
    /// [`SealError::ReadSealed`]. `plaintext` then holds what came before, or nothing.
    pub fn read_at(&self, plaintext: &mut [u8], offset: u64) -> Result<usize, SealError> {
        let rest = self.plain_bytes().saturating_sub(offset);
        let len = rest.min(plaintext.len() as u64) as usize;
        if len == 0 {
            return Ok(0);
        }
        let last_chunk = (offset + len as u64 - 1) / TEXT_BYTES;
        let mut first_chunk = offset / TEXT_BYTES;
        let room = self.layout.batch_bytes(first_chunk, chunks_until(last_chunk, first_chunk));
        let mut plaintext_buffer = Zeroizing::new(vec![0; room]);
        let mut filled = 0;
        while first_chunk <= last_chunk {
            let chunks = chunks_until(last_chunk, first_chunk);
            let batch_bytes = self.layout.batch_bytes(first_chunk, chunks);
            self.open_chunks(first_chunk, &mut plaintext_buffer[..batch_bytes], |index, text| {
                let skip = (offset + filled as u64 - text_at(index)) as usize;
                let take = (text.len() - skip).min(len - filled);
                plaintext[filled..filled + take].copy_from_slice(&text[skip..skip + take]);
                filled += take;
                Ok(())
            })?;
            first_chunk += chunks;
        }
        Ok(filled)
    }

    /// The same as a stream with a position.
    pub fn into_stream(self) -> SealedStream<R> {
        SealedStream::new(self)
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// Reads the chunks that fill `batch`, opens them in place, and hands out each text.
    pub(super) fn open_chunks(
        &self,
        first_chunk: u64,
        batch: &mut [u8],
        mut take: impl FnMut(u64, &[u8]) -> Result<(), SealError>,
    ) -> Result<(), SealError> {
        read_all(&self.source, batch, chunk_at(first_chunk))?;
        for (index, chunk) in (first_chunk..).zip(batch.chunks_mut(floe::CHUNK_BYTES)) {
            let text = self
                .opener
                .open_chunk(index, index == self.layout.last_chunk(), chunk)
                .map_err(|error| refused(error, self.prefix, self.layout.sealed_bytes()))?;
            take(index, text)?;
        }
        Ok(())
    }
}

/// Reads the prefix without a key; it is a claim until [`SealedReader::open`] has proved it.
///
/// # Errors
///
/// [`SealError::NotSealed`], [`SealError::UnsupportedVersion`], [`SealError::UnsupportedPrefix`],
/// [`SealError::Truncated`], [`SealError::ReadSealed`].
pub fn peek_prefix(source: &impl ReadAt) -> Result<Prefix, SealError> {
    let mut bytes = [0; PREFIX_BYTES];
    let len =
        read_full_at(source, &mut bytes, 0).map_err(|source| SealError::ReadSealed { source })?;
    if len < PREFIX_BYTES && bytes.starts_with(MAGIC) {
        return Err(SealError::Truncated { sealed_bytes: len as u64 });
    }
    Prefix::parse(&bytes)
}

fn read_all(source: &impl ReadAt, buf: &mut [u8], offset: u64) -> Result<(), SealError> {
    let len =
        read_full_at(source, buf, offset).map_err(|source| SealError::ReadSealed { source })?;
    if len < buf.len() {
        return Err(SealError::Truncated { sealed_bytes: offset + len as u64 });
    }
    Ok(())
}

/// How many chunks, up to a batch, lie from `first` to `last`.
fn chunks_until(last: u64, first: u64) -> u64 {
    (last - first + 1).min(BATCH_CHUNKS)
}

fn refused(error: OpenError, prefix: Prefix, sealed_bytes: u64) -> SealError {
    let recording = prefix.recording;
    match error {
        OpenError::UnsupportedParameters => SealError::UnsupportedParameters { recording },
        OpenError::WrongKey => SealError::WrongKey { recording },
        OpenError::DamagedChunk { chunk } => SealError::DamagedChunk { recording, chunk },
        OpenError::Truncated => SealError::Truncated { sealed_bytes },
        OpenError::TooLong => SealError::TooLong { sealed_bytes },
    }
}
