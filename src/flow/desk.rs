//! What people and programs ask for: list, play, verify, export a key, read the audit trail.
//!
//! Every answer that touches media or personal data wants the [`Grant`] of its kind and leaves an
//! audit entry before the first byte goes out.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use keymanager::{DataKey, StoredDataKey};
use zeroize::Zeroizing;

use crate::access::{self, Grant, Permission, Principal};
use crate::catalog::{self, MediaState};
use crate::clock::Timestamp;
use crate::compliance::audit::{Activity, Actor, AuditEntry, AuthenticatedBy, Outcome};
use crate::domain::lifecycle::{RecordingEvent, RecordingState};
use crate::domain::{MediaInfo, Recording, RecordingId, SealedCopy, SealedKind};
use crate::flow::seal_keys::SealedTo;
use crate::flow::stores::vault_of;
use crate::flow::{Engine, FlowError};
use crate::media::{self, DecodedWav, Hint};
use crate::seal::{self, SealedReader};
use crate::vault::{SealedMedia, Vault};

/// Which recordings to list.
#[derive(Clone, Debug, Default)]
pub struct RecordingFilter {
    /// Only these.
    pub state: Option<MediaState>,
    /// Only of the store at this path.
    pub store: Option<PathBuf>,
}

/// One recording as it is shown.
#[derive(Clone, Debug)]
pub struct RecordingDetail {
    /// The facts.
    pub recording: Recording,
    /// The path of its store.
    pub store_path: Option<PathBuf>,
    /// Its sealed copies.
    pub copies: Vec<SealedCopy>,
    /// Files beside it.
    pub sidecars: usize,
    /// Set if this host cannot open it. Not looked up in a list.
    pub sealed_to: Option<SealedTo>,
}

/// How media should come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlayAs {
    /// As it was recorded.
    Original,
    /// Decoded to WAV where a browser cannot play the original.
    Playable,
}

/// An opened recording. Reading blocks.
pub struct Playback {
    /// What it is.
    pub info: MediaInfo,
    /// For the HTTP header.
    pub content_type: &'static str,
    /// Length of what is read.
    pub len_bytes: u64,
    /// Changes when the bytes do.
    pub etag: String,
    /// True if this is a decoded WAV and not the original.
    pub decoded: bool,
    /// The name it was found under. Personal data.
    pub original_name: Option<Vec<u8>>,
    /// The bytes.
    pub reader: Box<dyn PlaybackReader>,
}

/// Plaintext at any offset.
pub trait PlaybackReader: Send + Sync {
    /// Reads from `offset` on; 0 is the end.
    ///
    /// # Errors
    ///
    /// If a chunk does not open. Nothing of it was handed out.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl PlaybackReader for SealedReader<SealedMedia> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        SealedReader::read_at(self, buf, offset).map_err(io::Error::other)
    }
}

impl PlaybackReader for DecodedWav {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        DecodedWav::read_at(self, buf, offset)
    }
}

/// A reader that ends when its recording is erased: a stream that began before does not outlive
/// the key.
struct UntilErased<R> {
    id: RecordingId,
    gone: Arc<RwLock<HashSet<RecordingId>>>,
    reader: R,
}

impl<R: PlaybackReader> PlaybackReader for UntilErased<R> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let gone = self.gone.read().unwrap_or_else(PoisonError::into_inner);
        if gone.contains(&self.id) {
            return Err(io::Error::other("the recording was erased"));
        }
        drop(gone);
        self.reader.read_at(buf, offset)
    }
}

/// Every chunk of every sealed file of a recording was opened.
#[derive(Clone, Copy, Debug)]
pub struct Verified {
    /// Which.
    pub recording: RecordingId,
    /// Sealed files.
    pub files: u64,
    /// Bytes inside.
    pub plain_bytes: u64,
}

impl Engine {
    /// Recordings in the order of their ids, which is that of their finding.
    ///
    /// # Errors
    ///
    /// [`FlowError::NoSuchStore`], [`FlowError::Catalog`].
    pub fn recordings(
        &self,
        _grant: &Grant<access::ListRecordings>,
        filter: &RecordingFilter,
        after: Option<RecordingId>,
        limit: usize,
    ) -> Result<Vec<RecordingDetail>, FlowError> {
        let store = match &filter.store {
            None => None,
            Some(path) => {
                let slot = self.stores.iter().find(|slot| slot.is_at(path));
                Some(slot.and_then(|slot| slot.id()).ok_or(FlowError::NoSuchStore)?)
            }
        };
        let filter = catalog::RecordingFilter { state: filter.state, store };
        let rows = self.catalog.read(|tx| tx.recordings(&filter, after, limit))?;
        Ok(rows.into_iter().map(|recording| self.detail(recording, Vec::new(), 0, None)).collect())
    }

    /// One recording with its copies.
    ///
    /// # Errors
    ///
    /// [`FlowError::NotFound`], [`FlowError::Catalog`].
    pub fn recording(
        &self,
        _grant: &Grant<access::ListRecordings>,
        id: RecordingId,
    ) -> Result<RecordingDetail, FlowError> {
        let (recording, copies, sidecars, stored) = self.catalog.read(|tx| {
            let sidecars = tx.sidecars(id)?.len();
            Ok::<_, FlowError>((tx.recording(id)?, tx.copies(id)?, sidecars, tx.stored_key(id)?))
        })?;
        let sealed_to = match stored {
            Some(StoredDataKey::Sealed(sealed)) => Some(self.sealed_to(sealed.seal_key())),
            Some(StoredDataKey::Wrapped(_)) | None => None,
        };
        let recording = recording.ok_or(FlowError::NotFound(id))?;
        Ok(self.detail(recording, copies, sidecars, sealed_to))
    }

    fn detail(
        &self,
        recording: Recording,
        copies: Vec<SealedCopy>,
        sidecars: usize,
        sealed_to: Option<SealedTo>,
    ) -> RecordingDetail {
        let slot = self.stores.iter().find(|slot| slot.id() == Some(recording.store));
        let store_path = slot.map(|slot| slot.spec().path.clone());
        RecordingDetail { recording, store_path, copies, sidecars, sealed_to }
    }

    /// Opens media for reading at any offset. `is_first` leaves an audit entry: once for each
    /// playback, not for each range of it.
    ///
    /// # Errors
    ///
    /// [`FlowError::NotFound`], [`FlowError::NotOpen`], [`FlowError::Damaged`].
    pub fn play(
        &self,
        grant: &Grant<access::PlayMedia>,
        id: RecordingId,
        play_as: PlayAs,
        is_first: bool,
        now: Timestamp,
    ) -> Result<Playback, FlowError> {
        let (recording, copy, key) = self.open_copy(id, SealedKind::Media)?;
        let copy = copy.ok_or(FlowError::NotOpen { id, state: recording.state })?;
        let opened = self.open_sealed(&recording, &copy, &key);
        if is_first {
            let entry = AuditEntry::new(now, actor(grant.principal()), Activity::MediaPlayed)
                .with_outcome(if opened.is_ok() { Outcome::Ok } else { Outcome::Failed })
                .on_recording(id);
            self.catalog.write(|tx| tx.append_audit(&entry))?;
        }
        let gone = Arc::clone(&self.erase.gone);
        let reader = opened?;
        let info = recording.media.clone().unwrap_or_default();
        let etag = format!("\"{}\"", key.id());
        let original_name = Some(recording.path.expose_name().to_vec());
        if play_as == PlayAs::Playable && !media::browser_plays(&info) {
            let extension = extension_of(&recording);
            let hint = Hint { extension: &extension };
            let source = Box::new(self.open_sealed(&recording, &copy, &key)?.into_stream());
            if let Some(decoded) = DecodedWav::open(source, hint) {
                return Ok(Playback {
                    info,
                    content_type: "audio/wav",
                    len_bytes: decoded.len_bytes(),
                    etag: format!("\"{}-wav\"", key.id()),
                    decoded: true,
                    original_name,
                    reader: Box::new(UntilErased { id, gone, reader: decoded }),
                });
            }
        }
        Ok(Playback {
            content_type: media::content_type(&info),
            info,
            len_bytes: reader.plain_bytes(),
            etag,
            decoded: false,
            original_name,
            reader: Box::new(UntilErased { id, gone, reader }),
        })
    }

    /// Waveform peaks in the BBC audiowaveform layout, version 2; `None` if there are none.
    ///
    /// # Errors
    ///
    /// As [`Self::play`].
    pub fn peaks(
        &self,
        _grant: &Grant<access::PlayMedia>,
        id: RecordingId,
        _now: Timestamp,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, FlowError> {
        let (recording, copy, key) = self.open_copy(id, SealedKind::Peaks)?;
        let Some(copy) = copy else { return Ok(None) };
        let reader = self.open_sealed(&recording, &copy, &key)?;
        let mut plaintext = Zeroizing::new(vec![0; reader.plain_bytes().min(PEAKS_MAX) as usize]);
        let len = reader
            .read_at(&mut plaintext, 0)
            .map_err(|source| FlowError::Damaged { id, source })?;
        plaintext.truncate(len);
        Ok(Some(plaintext))
    }

    /// Opens every chunk of every sealed file. `progress` hears (bytes done, bytes in all)
    /// after each MiB, from any thread.
    ///
    /// # Errors
    ///
    /// [`FlowError::Damaged`] with the first that does not open.
    pub fn verify(
        &self,
        grant: &Grant<access::VerifyMedia>,
        id: RecordingId,
        progress: &(dyn Fn(u64, u64) + Sync),
        now: Timestamp,
    ) -> Result<Verified, FlowError> {
        let (recording, _, key) = self.open_copy(id, SealedKind::Media)?;
        let copies = self.catalog.read(|tx| tx.copies(id))?;
        let total = copies.iter().map(|copy| copy.plain_bytes).sum();
        let mut verified = Verified { recording: id, files: 0, plain_bytes: 0 };
        let outcome = copies.iter().try_for_each(|copy| {
            let reader = self.open_sealed(&recording, copy, &key)?;
            let before = verified.plain_bytes;
            let watch = |done| progress(before + done, total);
            verified.plain_bytes += seal::verify_whole_watched(&reader, self.workers, &watch)
                .map_err(|source| FlowError::Damaged { id, source })?;
            verified.files += 1;
            Ok(())
        });
        let how = if outcome.is_ok() { Outcome::Ok } else { Outcome::Failed };
        let entry = AuditEntry::new(now, actor(grant.principal()), Activity::MediaVerified)
            .with_outcome(how)
            .on_recording(id);
        self.catalog.write(|tx| tx.append_audit(&entry))?;
        outcome.map(|()| verified)
    }

    /// The key file of one recording, for opening it offline. Where this host cannot open it, the
    /// file is sealed as the row is, and takes the private key besides.
    ///
    /// # Errors
    ///
    /// As [`Self::play`].
    pub fn export_key(
        &self,
        grant: &Grant<access::ExportKey>,
        id: RecordingId,
        now: Timestamp,
    ) -> Result<Zeroizing<String>, FlowError> {
        let (_, _, stored) = self.find_copy(id, SealedKind::Media)?;
        let entry =
            AuditEntry::new(now, actor(grant.principal()), Activity::KeyExported).on_recording(id);
        let (text, entry) = match stored {
            StoredDataKey::Wrapped(wrapped) => {
                (self.keys.unwrap(id.0, &wrapped)?.expose_export(id.0), entry)
            }
            StoredDataKey::Sealed(sealed) => {
                let file = self.sealed_key_file(id, sealed)?;
                (Zeroizing::new(file), entry.because("sealed"))
            }
        };
        self.catalog.write(|tx| tx.append_audit(&entry))?;
        Ok(text)
    }

    /// Sends a quarantined recording back to the start: it is looked at again.
    ///
    /// # Errors
    ///
    /// [`FlowError::NotFound`], [`FlowError::Invalid`] if it is not quarantined.
    pub fn release(
        &self,
        grant: &Grant<access::ManageRecordings>,
        id: RecordingId,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let entry = AuditEntry::new(now, actor(grant.principal()), Activity::RecordingReleased)
            .on_recording(id);
        let state = self.catalog.read(|tx| tx.recording(id))?.ok_or(FlowError::NotFound(id))?.state;
        if state != RecordingState::Quarantined {
            let why = format!("it is {}", state.as_str());
            return Err(FlowError::Invalid { what: "releasing this recording", why });
        }
        self.catalog.write(|tx| tx.advance(id, RecordingEvent::Released, &entry))?;
        Ok(())
    }

    /// Notes that somebody was refused.
    pub fn note_refusal(
        &self,
        who: Option<&Principal>,
        what: Permission,
        recording: Option<RecordingId>,
        now: Timestamp,
    ) {
        let actor =
            who.map_or_else(|| Actor::new("nobody", "nobody", AuthenticatedBy::Nothing), actor);
        let mut entry = AuditEntry::new(now, actor, Activity::AccessRefused)
            .with_outcome(Outcome::Refused)
            .because(what.as_str());
        if let Some(id) = recording {
            entry = entry.on_recording(id);
        }
        if let Err(error) = self.catalog.write(|tx| tx.append_audit(&entry)) {
            tracing::error!(error = %error, "a refusal could not be recorded");
        }
    }

    /// The recording, its first copy of `kind`, and its key.
    pub(super) fn open_copy(
        &self,
        id: RecordingId,
        kind: SealedKind,
    ) -> Result<(Recording, Option<SealedCopy>, DataKey), FlowError> {
        let (recording, copy, stored) = self.find_copy(id, kind)?;
        Ok((recording, copy, self.unwrap_stored(id, &stored)?))
    }

    /// The same with the key as it is kept.
    fn find_copy(
        &self,
        id: RecordingId,
        kind: SealedKind,
    ) -> Result<(Recording, Option<SealedCopy>, StoredDataKey), FlowError> {
        let (recording, copies, stored) = self.catalog.read(|tx| {
            Ok::<_, FlowError>((tx.recording(id)?, tx.copies(id)?, tx.stored_key(id)?))
        })?;
        let recording = recording.ok_or(FlowError::NotFound(id))?;
        let not_open = FlowError::NotOpen { id, state: recording.state };
        if !recording.state.is_open_to_readers() {
            return Err(not_open);
        }
        let copy = copies.into_iter().find(|copy| copy.kind == kind);
        Ok((recording, copy, stored.ok_or(not_open)?))
    }

    pub(super) fn open_sealed(
        &self,
        recording: &Recording,
        copy: &SealedCopy,
        key: &DataKey,
    ) -> Result<SealedReader<SealedMedia>, FlowError> {
        let id = recording.id;
        let slot = self.stores.iter().find(|slot| slot.id() == Some(recording.store));
        let opened = slot.and_then(|slot| slot.open().ok());
        let vault = vault_of(&self.vault, opened.as_deref(), copy.vault).ok_or_else(|| {
            FlowError::Invalid { what: "opening it", why: "its store is not there".to_owned() }
        })?;
        let source = vault.open(&copy.path).map_err(|source| FlowError::Vault { id, source })?;
        SealedReader::open(key, source).map_err(|source| FlowError::Damaged { id, source })
    }
}

/// Who acts, as the audit trail names them.
pub(super) fn actor(principal: &Principal) -> Actor {
    let how = match principal.how {
        access::Authenticated::UnixSocket { .. } => AuthenticatedBy::PeerCredentials,
        access::Authenticated::Token { .. } => AuthenticatedBy::Token,
        access::Authenticated::Certificate { .. } => AuthenticatedBy::Certificate,
    };
    Actor::new(principal.name.clone(), principal.user.clone(), how)
}

/// The suffix of the original's name, in lower case, for formats without a signature.
pub(super) fn extension_of(recording: &Recording) -> String {
    let name = recording.path.expose_name();
    let dot = name.iter().rposition(|b| *b == b'.').map_or(name.len(), |dot| dot + 1);
    String::from_utf8_lossy(&name[dot..]).to_ascii_lowercase()
}

/// A week of peaks at 20 a second, two bytes each; more is not ours.
const PEAKS_MAX: u64 = 32 << 20;
