//! Making a backup, pulled by whoever writes it.

use std::io::{self, Read};

use aws_lc_rs::digest;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::contents::{CatalogFacts, Manifest};
use super::ways::{self, BackupWay};
use super::{BackupError, LENGTH_BYTES, TEXT_BYTES};
use crate::floe::{
    CHUNK_BYTES, CHUNK_OVERHEAD_BYTES, CHUNK_PLAIN_AT, FloeSealer, HEADER_BYTES, Parameters,
};
use crate::secret::Secret;
use crate::store::{self, Contents};

/// A backup being made: reading it to its end gives exactly [`len_bytes`](Self::len_bytes) bytes.
pub struct SealedBackup<R> {
    manifest: Manifest,
    sealer: FloeSealer,
    /// What goes in front of the catalog: lengths, manifest, keys.
    front: io::Cursor<Zeroizing<Vec<u8>>>,
    catalog: R,
    text_left_bytes: u64,
    chunk: u64,
    len_bytes: u64,
    /// Sealed and not read yet.
    ready: Zeroizing<Vec<u8>>,
    read_bytes: usize,
}

impl<R: Read> SealedBackup<R> {
    pub(crate) fn new(
        ways: &[BackupWay],
        store: Uuid,
        generation: u64,
        contents: &Contents,
        facts: CatalogFacts,
        catalog: R,
        now_ms: i64,
    ) -> Result<Self, BackupError> {
        let (backup, key) = (Uuid::now_v7(), Secret::generate());
        let head = head(backup, &key, ways, now_ms)?;
        let keys = store::to_plaintext_json(contents);
        let keys_sha256 = digest::digest(&digest::SHA256, &keys);
        let catalog_bytes = facts.len_bytes;
        let manifest =
            Manifest::new(backup, store, generation, contents, keys_sha256.as_ref(), facts, now_ms);
        let json = manifest.to_json();
        let front_bytes = json.len() + keys.len() + 3 * LENGTH_BYTES as usize;
        // Sized at once: a buffer that grows leaves copies of keys behind.
        let mut front = Zeroizing::new(Vec::with_capacity(front_bytes));
        for part in [&json, &*keys] {
            front.extend_from_slice(&(part.len() as u64).to_be_bytes());
            front.extend_from_slice(part);
        }
        front.extend_from_slice(&catalog_bytes.to_be_bytes());
        let text_left_bytes = front_bytes as u64 + catalog_bytes;
        let sealer = FloeSealer::new(&key, &digest_of(&head), Parameters::SEALED_FILE);
        let chunks = text_left_bytes.div_ceil(TEXT_BYTES as u64).max(1);
        let body_bytes = text_left_bytes + chunks * CHUNK_OVERHEAD_BYTES as u64;
        let len_bytes = (head.len() + HEADER_BYTES) as u64 + body_bytes;
        let mut ready =
            Zeroizing::new(Vec::with_capacity(CHUNK_BYTES.max(head.len() + HEADER_BYTES)));
        ready.extend_from_slice(&head);
        ready.extend_from_slice(sealer.header());
        let front = io::Cursor::new(front);
        Ok(Self {
            manifest,
            sealer,
            front,
            catalog,
            text_left_bytes,
            chunk: 0,
            len_bytes,
            ready,
            read_bytes: 0,
        })
    }

    /// What it says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// How long the whole file will be.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Seals the next chunk into `ready`.
    fn fill(&mut self) -> io::Result<()> {
        let text_bytes = self.text_left_bytes.min(TEXT_BYTES as u64) as usize;
        self.ready.clear();
        self.ready.resize(text_bytes + CHUNK_OVERHEAD_BYTES, 0);
        self.read_bytes = 0;
        let text = &mut self.ready[CHUNK_PLAIN_AT..][..text_bytes];
        let filled = (&mut self.front).chain(&mut self.catalog).read_exact(text);
        self.text_left_bytes -= text_bytes as u64;
        let is_last = self.text_left_bytes == 0;
        // A chunk that was not sealed must not be read.
        if let Err(error) = filled {
            self.ready.clear();
            return Err(error);
        }
        self.sealer.seal_chunk(self.chunk, is_last, &mut self.ready);
        self.chunk += 1;
        Ok(())
    }
}

impl<R: Read> Read for SealedBackup<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.read_bytes == self.ready.len() {
            if self.text_left_bytes == 0 {
                return Ok(0);
            }
            self.fill()?;
        }
        let taken = buf.len().min(self.ready.len() - self.read_bytes);
        buf[..taken].copy_from_slice(&self.ready[self.read_bytes..][..taken]);
        self.read_bytes += taken;
        Ok(taken)
    }
}

impl<R> std::fmt::Debug for SealedBackup<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedBackup")
            .field("backup", &self.manifest.backup)
            .finish_non_exhaustive()
    }
}

fn head(
    backup: Uuid,
    key: &Secret,
    ways: &[BackupWay],
    now_ms: i64,
) -> Result<Vec<u8>, BackupError> {
    let table = ways::table(backup, key, ways)?;
    let table_bytes = u16::try_from(table.len()).expect("a few entries of a hundred bytes");
    let mut head = Vec::with_capacity(HEAD_BYTES + table.len() + DIGEST_BYTES);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&[VERSION, ways.len() as u8]);
    head.extend_from_slice(&table_bytes.to_be_bytes());
    head.extend_from_slice(backup.as_bytes());
    head.extend_from_slice(&now_ms.to_be_bytes());
    head.extend_from_slice(&table);
    let digest = digest_of(&head);
    head.extend_from_slice(&digest);
    Ok(head)
}

/// The SHA-256 of `bytes`.
pub(super) fn digest_of(bytes: &[u8]) -> [u8; DIGEST_BYTES] {
    let digest = digest::digest(&digest::SHA256, bytes);
    *digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes")
}

pub(super) const MAGIC: &[u8; 8] = b"RSBACKUP";
pub(super) const VERSION: u8 = 1;
/// Magic, version, number of ways, length of the table, backup id, time.
pub(super) const HEAD_BYTES: usize = 8 + 1 + 1 + 2 + 16 + 8;
pub(super) const DIGEST_BYTES: usize = 32;
