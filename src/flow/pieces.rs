//! Sealing a batch of pieces: media, peaks and sidecars go through the same five steps.
//!
//! ```text
//! begin part file → seal → (all) sync, rename, sync folders → read back past the cache → compare
//! ```
//!
//! A piece that fails takes its draft with it; the others go on. If the power goes here, the
//! originals are untouched and the catalog still says `Sealing`, so recovery throws away
//! whatever lies in the vault under these names.

use std::fs::File;
use std::io;

use keymanager::DataKey;
use zeroize::Zeroizing;

use crate::domain::{FileAttributes, RecordingId, SealedCopy};
use crate::flow::crash::crash_point;
use crate::flow::{Engine, parallel};
use crate::seal::{self, Prefix, ReadAt, SealError, Sealed, SealedReader, VerifiedSeal};
use crate::vault::{self, Draft, LocalVault, Vault, VaultError};

/// Something to be sealed, and where it goes.
pub(super) struct Piece<'e> {
    pub(super) recording: RecordingId,
    pub(super) key: &'e DataKey,
    pub(super) source: Source,
    pub(super) vault: &'e LocalVault,
    /// What the sealed file keeps of its original.
    pub(super) attributes: Option<FileAttributes>,
    /// Nobody here can open it again: the digest of the sealed file is wanted with the proof.
    pub(super) is_write_only: bool,
    pub(super) copy: SealedCopy,
}

/// Where plaintext comes from.
pub(super) enum Source {
    /// The recorder's file.
    File(File),
    /// Made here, like peaks.
    Plaintext(Zeroizing<Vec<u8>>),
}

impl ReadAt for Source {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::File(file) => ReadAt::read_at(file, buf, offset),
            Self::Plaintext(plaintext) => ReadAt::read_at(plaintext.as_slice(), buf, offset),
        }
    }

    fn len_bytes(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => ReadAt::len_bytes(file),
            Self::Plaintext(plaintext) => ReadAt::len_bytes(plaintext.as_slice()),
        }
    }
}

/// A piece that is durable; with the proof that it is equal, where there is an original to lose.
pub(super) struct Proved {
    pub(super) proof: Option<VerifiedSeal>,
    /// SHA-256 of what was proved, if that was wanted.
    pub(super) digest: Option<[u8; 32]>,
}

/// Why one piece could not be sealed. Its original is untouched.
#[derive(Debug, thiserror::Error)]
pub(super) enum PieceError {
    #[error("sealing")]
    Seal(#[from] SealError),
    #[error("keeping the sealed copy")]
    Vault(#[from] VaultError),
}

impl PieceError {
    /// Worth another try, begun anew.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Seal(error) => error.is_transient(),
            Self::Vault(error) => error.is_transient(),
        }
    }
}

impl Engine {
    /// Seals every piece; the results stand in the order of the pieces.
    pub(super) fn seal_pieces(
        &self,
        pieces: Vec<Piece<'_>>,
    ) -> Vec<(SealedCopy, Result<Proved, PieceError>)> {
        let drafted = parallel::map(self.workers, pieces, |piece| {
            let outcome = seal_piece(&piece);
            (piece, outcome)
        });
        crash_point("ingest.part_written");
        let published = publish(drafted);
        crash_point("ingest.published");
        let proved = parallel::map(self.workers, published, |(piece, outcome)| {
            let proved = outcome.and_then(|sealed| prove(&piece, sealed));
            (piece.copy, proved)
        });
        crash_point("ingest.proved");
        proved
    }
}

fn seal_piece(piece: &Piece<'_>) -> Result<(Draft, Sealed), PieceError> {
    let recording = piece.recording;
    let plain_bytes = piece
        .source
        .len_bytes()
        .map_err(|source| SealError::ReadPlaintext { recording, source })?;
    let draft = piece.vault.begin(&piece.copy.path, seal::sealed_len(plain_bytes))?;
    let prefix = Prefix::new(recording, piece.key, piece.copy.kind);
    let sealed =
        seal::seal_file(piece.key, prefix, &piece.source, &draft, threads_for(plain_bytes))?;
    if let Some(attributes) = &piece.attributes {
        draft.keep_attributes(attributes)?;
        if let Source::File(file) = &piece.source {
            keep_xattrs(recording, file, &draft);
        }
    }
    Ok((draft, sealed))
}

/// Gives the draft the extended attributes of its original. Sealing goes before them: what cannot
/// be kept is said.
fn keep_xattrs(recording: RecordingId, original: &File, draft: &Draft) {
    let found = vault::read_xattrs(original);
    let missed = draft.keep_xattrs(&found) + found.left_out();
    if missed > 0 {
        tracing::warn!(%recording, missed, "extended attributes of an original were not all kept");
    }
}

type Drafted<'e> = (Piece<'e>, Result<(Draft, Sealed), PieceError>);
type Published<'e> = (Piece<'e>, Result<Sealed, PieceError>);

/// Makes all drafts durable under their names, one call for each vault.
fn publish(drafted: Vec<Drafted<'_>>) -> Vec<Published<'_>> {
    let mut published: Vec<Published<'_>> = Vec::with_capacity(drafted.len());
    let mut waiting: Vec<(usize, Draft)> = Vec::new();
    for (piece, outcome) in drafted {
        let outcome = outcome.map(|(draft, sealed)| {
            waiting.push((published.len(), draft));
            sealed
        });
        published.push((piece, outcome));
    }
    while let Some(vault) = waiting.first().map(|(index, _)| published[*index].0.vault) {
        let (ours, others): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|(index, _)| std::ptr::eq(published[*index].0.vault, vault));
        waiting = others;
        let (places, drafts): (Vec<usize>, Vec<Draft>) = ours.into_iter().unzip();
        for (place, outcome) in places.into_iter().zip(vault.publish(drafts)) {
            if let Err(error) = outcome {
                published[place].1 = Err(error.into());
            }
        }
    }
    published
}

/// Reads the sealed copy back from the device and compares every byte. What was made here can be
/// made again, and is not read back.
fn prove(piece: &Piece<'_>, sealed: Sealed) -> Result<Proved, PieceError> {
    if matches!(piece.source, Source::Plaintext(_)) {
        return Ok(Proved { proof: None, digest: None });
    }
    let source = piece.vault.open_uncached(&piece.copy.path)?;
    // Before the comparison: so what is compared is what was read from the device here.
    let digest = match piece.is_write_only {
        true => Some(seal::digest_of(&source)?),
        false => None,
    };
    let reader = SealedReader::open(piece.key, source)?;
    let proof = seal::prove_equal(&reader, &piece.source, threads_for(sealed.plain_bytes))?;
    Ok(Proved { proof: Some(proof), digest })
}

/// Below some megabytes a second thread costs more than it brings.
fn threads_for(plain_bytes: u64) -> usize {
    if plain_bytes >= TWO_THREADS_FROM_BYTES { 2 } else { 1 }
}

const TWO_THREADS_FROM_BYTES: u64 = 8 << 20;
