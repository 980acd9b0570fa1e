//! Opening a backup, from its first byte to its last.

use std::io::{self, Read, Write};

use aws_lc_rs::digest;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::contents::{BackedUpKeys, Manifest};
use super::sealed::{DIGEST_BYTES, HEAD_BYTES, MAGIC, VERSION, digest_of};
use super::ways::{self, BackupOpener, WayKind};
use super::{BackupError, KEYS_BYTES_MAX, LENGTH_BYTES, MANIFEST_BYTES_MAX, TEXT_BYTES};
use crate::floe::{
    CHUNK_BYTES, CHUNK_OVERHEAD_BYTES, CHUNK_PLAIN_AT, FloeOpener, HEADER_BYTES, OpenError,
    Parameters,
};

/// A backup whose keys were opened and tried, and whose catalog waits to be copied out.
pub struct OpenedBackup<R> {
    manifest: Manifest,
    keys: BackedUpKeys,
    text: Text<R>,
}

impl<R: Read> OpenedBackup<R> {
    /// Opens the backup that `input` begins with, up to its catalog.
    ///
    /// # Errors
    ///
    /// [`BackupError`]; the keys that were read are wiped.
    pub fn open(mut input: R, opener: &BackupOpener) -> Result<Self, BackupError> {
        let head = Head::read(&mut input)?;
        let key = ways::unlock(head.backup, &head.table, opener)?;
        let mut header = [0; HEADER_BYTES];
        fill(&mut input, &mut header)?;
        let floe = FloeOpener::new(&key, &head.digest, &header, Parameters::SEALED_FILE)
            .map_err(BackupError::Damaged)?;
        let mut text = Text::new(input, floe)?;
        let manifest = Manifest::parse(&text.part(MANIFEST_BYTES_MAX)?)?;
        let keys = text.part(KEYS_BYTES_MAX)?;
        let broken = |rule| Err(BackupError::Contradiction { rule });
        if manifest.backup != head.backup || manifest.created_ms != head.created_ms {
            return broken("head and manifest tell of one backup");
        }
        if digest_of(&keys) != *manifest.keys_sha256() {
            return broken("the keys have the digest of the manifest");
        }
        if text.length()? != manifest.catalog.len_bytes {
            return broken("the catalog has the length of the manifest");
        }
        let keys = BackedUpKeys::parse(manifest.store, manifest.generation, &keys)?;
        Ok(Self { manifest, keys, text })
    }

    /// What it says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The keys in it.
    pub fn keys(&self) -> &BackedUpKeys {
        &self.keys
    }

    /// Copies the catalog into `sink` and proves that the backup is whole: `progress` hears how
    /// many bytes are there. What was written may be used only after this succeeded.
    ///
    /// # Errors
    ///
    /// [`BackupError`]; what was written so far is to be thrown away.
    pub fn copy_catalog(
        mut self,
        sink: &mut dyn Write,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(Manifest, BackedUpKeys), BackupError> {
        let mut sha256 = digest::Context::new(&digest::SHA256);
        let mut done_bytes = 0;
        while done_bytes < self.manifest.catalog.len_bytes {
            let left_bytes = self.manifest.catalog.len_bytes - done_bytes;
            let piece = self.text.some(left_bytes)?;
            sha256.update(piece);
            sink.write_all(piece).map_err(BackupError::Write)?;
            done_bytes += piece.len() as u64;
            progress(done_bytes);
        }
        self.text.end()?;
        match sha256.finish().as_ref() == self.manifest.catalog.sha256 {
            true => Ok((self.manifest, self.keys)),
            false => Err(BackupError::Contradiction {
                rule: "the catalog has the digest of the manifest",
            }),
        }
    }
}

impl OpenedBackup<io::Empty> {
    /// How a backup opens, without opening it. Reads its clear head only, which nobody has
    /// vouched for yet.
    ///
    /// # Errors
    ///
    /// [`BackupError`].
    pub fn peek(mut input: impl Read) -> Result<(Uuid, Vec<WayKind>), BackupError> {
        let head = Head::read(&mut input)?;
        Ok((head.backup, ways::kinds(&head.table)?))
    }
}

impl<R> std::fmt::Debug for OpenedBackup<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenedBackup")
            .field("backup", &self.manifest.backup)
            .finish_non_exhaustive()
    }
}

/// The clear part at the front, its digest checked.
struct Head {
    backup: Uuid,
    created_ms: i64,
    table: Vec<u8>,
    /// Of all of it, its own digest included.
    digest: [u8; DIGEST_BYTES],
}

impl Head {
    fn read(input: &mut impl Read) -> Result<Self, BackupError> {
        let mut bytes = vec![0; HEAD_BYTES];
        let is_short = |error: &BackupError| matches!(error, BackupError::Damaged(_));
        match fill(input, &mut bytes) {
            Err(error) if is_short(&error) => return Err(BackupError::NotABackup),
            outcome => outcome?,
        }
        if !bytes.starts_with(MAGIC) {
            return Err(BackupError::NotABackup);
        }
        if bytes[8] != VERSION {
            return Err(BackupError::LaterVersion);
        }
        let number = |at: usize| -> [u8; 8] { *bytes[at..].first_chunk().expect("36 bytes") };
        let table_bytes = usize::from(u16::from_be_bytes([bytes[10], bytes[11]]));
        let backup = Uuid::from_slice(&bytes[12..28]).expect("a slice of 16 bytes");
        let created_ms = i64::from_be_bytes(number(28));
        bytes.resize(HEAD_BYTES + table_bytes + DIGEST_BYTES, 0);
        fill(input, &mut bytes[HEAD_BYTES..])?;
        let (signed, digest) = bytes.split_at(HEAD_BYTES + table_bytes);
        if digest_of(signed) != *digest {
            return Err(BackupError::HeadDamaged);
        }
        let table = signed[HEAD_BYTES..].to_vec();
        if ways::kinds(&table)?.len() != usize::from(signed[9]) {
            return Err(BackupError::HeadDamaged);
        }
        Ok(Self { backup, created_ms, table, digest: digest_of(&bytes) })
    }
}

/// What lies inside the chunks, in order. One chunk is read ahead, to know which is the last.
struct Text<R> {
    input: R,
    floe: FloeOpener,
    chunk: u64,
    next: Vec<u8>,
    open: Zeroizing<Vec<u8>>,
    taken_bytes: usize,
}

impl<R: Read> Text<R> {
    fn new(input: R, floe: FloeOpener) -> Result<Self, BackupError> {
        let (next, open) = (Vec::with_capacity(CHUNK_BYTES), Zeroizing::new(Vec::new()));
        let mut text = Self { input, floe, chunk: 0, next, open, taken_bytes: 0 };
        text.look_ahead()?;
        Ok(text)
    }

    /// At least one byte and at most `most_bytes` of what comes next.
    fn some(&mut self, most_bytes: u64) -> Result<&[u8], BackupError> {
        while self.taken_bytes == self.open.len() {
            self.open_next()?;
        }
        let ready = &self.open[self.taken_bytes..];
        let most = usize::try_from(most_bytes).unwrap_or(usize::MAX);
        let piece = &ready[..ready.len().min(most)];
        self.taken_bytes += piece.len();
        Ok(piece)
    }

    fn length(&mut self) -> Result<u64, BackupError> {
        let mut bytes = [0; LENGTH_BYTES as usize];
        self.copy(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    /// One part with its length in front, whole in memory.
    fn part(&mut self, max_bytes: u64) -> Result<Zeroizing<Vec<u8>>, BackupError> {
        let len = self.length()?;
        if len > max_bytes {
            return Err(BackupError::Contradiction { rule: "each part has a sane length" });
        }
        let mut part = Zeroizing::new(vec![0; len as usize]);
        self.copy(&mut part)?;
        Ok(part)
    }

    fn copy(&mut self, into: &mut [u8]) -> Result<(), BackupError> {
        let mut at = 0;
        while at < into.len() {
            let piece = self.some((into.len() - at) as u64)?;
            into[at..][..piece.len()].copy_from_slice(piece);
            at += piece.len();
        }
        Ok(())
    }

    /// Proves that nothing follows and that the last chunk was opened as the last.
    fn end(&mut self) -> Result<(), BackupError> {
        if self.taken_bytes < self.open.len() {
            return Err(BackupError::Damaged(OpenError::TooLong));
        }
        match self.next.is_empty() {
            true => Ok(()),
            false => Err(BackupError::Damaged(OpenError::TooLong)),
        }
    }

    fn open_next(&mut self) -> Result<(), BackupError> {
        if self.next.is_empty() {
            return Err(BackupError::Damaged(OpenError::Truncated));
        }
        std::mem::swap(&mut *self.open, &mut self.next);
        self.taken_bytes = self.open.len();
        self.look_ahead()?;
        let is_last = self.next.is_empty();
        let opened = self.floe.open_chunk(self.chunk, is_last, &mut self.open);
        let text_bytes = opened.map_err(BackupError::Damaged)?.len();
        self.open.truncate(CHUNK_PLAIN_AT + text_bytes);
        self.taken_bytes = CHUNK_PLAIN_AT;
        self.chunk += 1;
        Ok(())
    }

    fn look_ahead(&mut self) -> Result<(), BackupError> {
        self.next.clear();
        let mut ahead = (&mut self.input).take(CHUNK_BYTES as u64);
        ahead.read_to_end(&mut self.next).map_err(BackupError::Read)?;
        debug_assert!(self.next.len() <= TEXT_BYTES + CHUNK_OVERHEAD_BYTES);
        Ok(())
    }
}

/// Reads exactly `buf`; an end before that is a cut.
fn fill(input: &mut impl Read, buf: &mut [u8]) -> Result<(), BackupError> {
    input.read_exact(buf).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => BackupError::Damaged(OpenError::Truncated),
        _ => BackupError::Read(error),
    })
}
