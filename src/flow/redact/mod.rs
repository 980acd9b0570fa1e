//! A recording is made anew without some of its stretches, and the first one is given up.
//!
//! ```text
//! open the sealed original, plan              nothing is changed
//! redacted recording, key, copies recorded    Sealing   good: the original
//! redacted on the way into a part file        Sealing   the original
//! synced, named, read back, compared          Sealing   the original
//! probed again, listened to again             Sealing   the original, and the redacted one
//! recorded as stored, audit                   Stored    both
//! the original goes to the erasure
//! ```
//!
//! Nothing of the original is touched here. If the power goes before the last transaction, the
//! redacted recording is not there: [`Engine::recover`] destroys its key and its files and forgets
//! it. While it is made it is listed as waiting.
//!
//! The new recording has a new id, a new data key, and the name `[anonymized]`: its own name may
//! be about a person. It keeps conversation, store, times, mode and owner; extended attributes and
//! the files that stood beside the original stay with the original, and are erased with it.

mod write;

use std::io;
use std::sync::{MutexGuard, TryLockError};

use keymanager::DataKey;

use crate::access::{self, Grant};
use crate::clock::Timestamp;
use crate::compliance::audit::{Activity, AuditEntry, Outcome};
use crate::domain::{MediaInfo, Recording, RecordingId, SealedCopy, SealedKind, StorePath};
use crate::flow::desk::{actor, extension_of};
use crate::flow::stores::vault_of;
use crate::flow::{Engine, FlowError};
use crate::media::Hint;
use crate::media::redact::{self, Plan, RedactError, Redaction, Stretch};
use crate::seal::SealedReader;
use crate::vault::{SealedMedia, Vault};

/// What is to be redacted, and whether it is really meant.
#[derive(Clone, Debug)]
pub struct RedactionRequest {
    /// Which stretches, channels and parts, and what stands there instead.
    pub redaction: Redaction,
    /// Only say what would be done.
    pub is_dry_run: bool,
}

/// A redaction that was done, or that would be.
#[derive(Clone, Debug)]
pub struct Redacted {
    /// What was redacted. If something was done, it is marked for erasure: see its certificate.
    pub original: RecordingId,
    /// The redacted recording; `None` after a dry run.
    pub redacted: Option<RecordingId>,
    /// What was left out: merged, and clipped to the length of the recording.
    pub stretches: Vec<Stretch>,
    /// How: `exact`, `decoded` or `encoded`.
    pub way: &'static str,
    /// What the original is.
    pub info: MediaInfo,
    /// Length of the redacted recording, or what it will be about.
    pub plain_bytes: u64,
}

/// What of an original is needed to redact it.
struct Opened {
    recording: Recording,
    copy: SealedCopy,
    key: DataKey,
}

impl Engine {
    /// Makes a recording anew without the stretches of `request`, sealed under a new key and
    /// proved, and hands the original to the erasure. `progress` hears of bytes done and in all.
    ///
    /// One at a time: it takes memory and a processor.
    ///
    /// # Errors
    ///
    /// [`FlowError::NotFound`], [`FlowError::NotOpen`], [`FlowError::SealedToPublicKey`],
    /// [`FlowError::RedactionRunning`], and [`FlowError::Redaction`] for what cannot be redacted
    /// or was not redacted well. The original is then what it was, and nothing else is there.
    pub fn redact(
        &self,
        grant: &Grant<access::RedactMedia>,
        id: RecordingId,
        request: &RedactionRequest,
        progress: &(dyn Fn(u64, u64) + Sync),
        now: Timestamp,
    ) -> Result<Redacted, FlowError> {
        let _one = self.redact_alone()?;
        let who = actor(grant.principal());
        let tell = |outcome, code| {
            AuditEntry::new(now, who.clone(), Activity::MediaRedacted)
                .with_outcome(outcome)
                .because(code)
                .on_recording(id)
        };
        let outcome = self.open_for_redaction(id).and_then(|opened| {
            let plan = self.plan_redaction(&opened, &request.redaction)?;
            Ok((opened, plan))
        });
        let (opened, plan) = match outcome {
            Ok(ready) => ready,
            Err(error) => {
                self.note_redaction(&tell(Outcome::Refused, code_of(&error)), &error)?;
                return Err(error);
            }
        };
        let mut redacted = Redacted {
            original: id,
            redacted: None,
            stretches: plan.redaction.stretches().to_vec(),
            way: plan.way(),
            info: plan.info.clone(),
            plain_bytes: plan.expected_bytes,
        };
        if request.is_dry_run {
            return Ok(redacted);
        }
        match self.make_redacted(&opened, &plan, &who, progress, now) {
            Ok((twin, plain_bytes)) => {
                redacted.redacted = Some(twin);
                redacted.plain_bytes = plain_bytes;
                Ok(redacted)
            }
            Err(error) => {
                self.note_redaction(&tell(Outcome::Failed, code_of(&error)), &error)?;
                Err(error)
            }
        }
    }

    fn redact_alone(&self) -> Result<MutexGuard<'_, ()>, FlowError> {
        match self.redacting.try_lock() {
            Ok(guard) => Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(FlowError::RedactionRunning),
        }
    }

    fn open_for_redaction(&self, id: RecordingId) -> Result<Opened, FlowError> {
        let (recording, copy, key) = self.open_copy(id, SealedKind::Media)?;
        let copy = copy.ok_or(FlowError::NotOpen { id, state: recording.state })?;
        Ok(Opened { recording, copy, key })
    }

    fn plan_redaction(&self, opened: &Opened, redaction: &Redaction) -> Result<Plan, FlowError> {
        let id = opened.recording.id;
        let extension = extension_of(&opened.recording);
        // For its own words: what fails to open says more than that reading failed.
        self.open_sealed(&opened.recording, &opened.copy, &opened.key)?;
        redact::plan(
            &|| self.open_to_redact(opened),
            Hint { extension: &extension },
            redaction,
            self.ffmpeg.as_ref(),
        )
        .map_err(|source| FlowError::Redaction { id, source })
    }

    /// The plaintext of the original, from its beginning.
    fn open_to_redact(&self, opened: &Opened) -> io::Result<Box<dyn crate::media::Source>> {
        let reader = self
            .open_sealed(&opened.recording, &opened.copy, &opened.key)
            .map_err(io::Error::other)?;
        Ok(Box::new(reader.into_stream()))
    }

    /// What was just published, read from the device.
    fn open_published(
        &self,
        twin: &Recording,
        copy: &SealedCopy,
        key: &DataKey,
    ) -> Result<SealedReader<SealedMedia>, FlowError> {
        let id = twin.id;
        let opened = self.slot_of(twin.store).and_then(|slot| slot.opened());
        let vault = vault_of(&self.vault, opened.as_deref(), copy.vault);
        let vault = vault.ok_or_else(store_is_gone)?;
        let source =
            vault.open_uncached(&copy.path).map_err(|source| FlowError::Vault { id, source })?;
        SealedReader::open(key, source).map_err(|source| FlowError::Damaged { id, source })
    }

    /// Notes that a redaction was not done. Only what somebody could have meant is worth an entry.
    fn note_redaction(&self, entry: &AuditEntry, error: &FlowError) -> Result<(), FlowError> {
        if !matches!(error, FlowError::NotFound(_)) {
            self.catalog.write(|tx| tx.append_audit(entry))?;
        }
        Ok(())
    }

    /// Throws away what interrupted redactions left; how many. Call it before the first one.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`]; call it again. What cannot be reached now is left for the next
    /// time: it is noise without its key.
    pub(super) fn discard_redactions(&self, now: Timestamp) -> Result<u64, FlowError> {
        let interrupted = self.catalog.read(|tx| tx.interrupted_redactions(INTERRUPTED_MAX))?;
        for twin in &interrupted {
            self.discard_redaction(twin.id, now)?;
        }
        Ok(interrupted.len() as u64)
    }

    /// Key first, then files, then the row.
    fn discard_redaction(&self, id: RecordingId, now: Timestamp) -> Result<(), FlowError> {
        use crate::domain::lifecycle::RecordingState;
        let Some(twin) = self.catalog.read(|tx| tx.recording(id))? else { return Ok(()) };
        if twin.state == RecordingState::Sealing {
            self.abandon_attempt(id, now)?;
        }
        let opened = self.slot_of(twin.store).and_then(|slot| slot.open().ok());
        let copies = self.catalog.read(|tx| tx.copies(id))?;
        if let Err(error) = self.clear_copies(id, &copies, opened.as_deref()) {
            tracing::warn!(recording = %id, %error, "what a redaction left stays for now");
        }
        self.catalog.write(|tx| match tx.copies(id)?.is_empty() {
            true => tx.forget_found(id),
            false => Ok(()),
        })?;
        Ok(())
    }
}

/// The name under which a redacted recording is kept: nothing of the original's but a suffix that
/// says what kind of file it is.
fn anonymized_path(recording: &Recording, extension: Option<&'static str>) -> StorePath {
    let own = extension_of(recording);
    let is_kind = (1..=SUFFIX_BYTES_MAX).contains(&own.len())
        && own.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && own.bytes().any(|byte| byte.is_ascii_alphabetic())
        && recording.path.expose_name().contains(&b'.');
    let suffix = extension.or(is_kind.then_some(own.as_str()));
    let name = match suffix {
        Some(suffix) => format!("{ANONYMIZED}.{suffix}"),
        None => ANONYMIZED.to_owned(),
    };
    StorePath::new(name).expect("a placeholder and a short suffix are a sound path")
}

/// Why, for the trail.
fn code_of(error: &FlowError) -> &'static str {
    match error {
        FlowError::Redaction { source, .. } => match source {
            RedactError::NoStretch
            | RedactError::EmptyStretch { .. }
            | RedactError::BeyondEnd { .. }
            | RedactError::TooManyStretches { .. }
            | RedactError::NoSuchChannel { .. }
            | RedactError::SeveralTracks { .. }
            | RedactError::NoSuchPart { .. } => "not-in-recording",
            RedactError::NoLength | RedactError::Unsupported { .. } => "unsupported",
            RedactError::NoFfmpeg => "no-ffmpeg",
            RedactError::TooLarge { .. } => "too-large",
            RedactError::Ffmpeg { .. } => "ffmpeg-failed",
            RedactError::BadResult { .. } => "bad-result",
            RedactError::Read(_) => "read-failed",
            RedactError::Write(_) => "write-failed",
        },
        FlowError::SealedToPublicKey { .. } => "sealed-to-public-key",
        FlowError::NotOpen { .. } => "not-open",
        FlowError::Damaged { .. } => "damaged",
        _ => "failed",
    }
}

fn store_is_gone() -> FlowError {
    FlowError::Invalid { what: "redacting it", why: "its store is not there".to_owned() }
}

/// In the place of a name.
const ANONYMIZED: &str = "[anonymized]";
const SUFFIX_BYTES_MAX: usize = 5;
/// One at a time is made, so there is hardly ever more than one.
const INTERRUPTED_MAX: usize = 1_000;
