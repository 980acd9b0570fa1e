//! The end of an erasure: scrubbed, looked for, certified.
//!
//! ```text
//! names overwritten (with the unlink) ─▶ catalog scrubbed ─▶ wrapped keys looked for, not found
//!   ─▶ one transaction: certificates signed and kept, recordings Erased, items done
//! ```
//!
//! Scrubbing reads the whole catalog, so many items share one. If the power goes here: what is
//! `unlinked` is scrubbed and certified by the next run; a certificate is there with the state
//! that it certifies or not at all, so there is exactly one. Only the bytes of the wrapped keys
//! are lost, and the certificate then says that nobody looked for them.

use std::collections::HashMap;
use std::time::Duration;

use crate::catalog::{CatalogTx, CertificateRow};
use crate::clock::{Clock, Timestamp};
use crate::compliance::audit::{Activity, Actor, AuditEntry};
use crate::compliance::erasure::certificate::{
    CertificateFacts, CertifiedFile, ErasureCertificate, History, KeyFate, MetadataFate, Signed,
};
use crate::compliance::erasure::{ErasureItem, ErasureJob, ItemStep};
use crate::domain::lifecycle::RecordingEvent;
use crate::domain::{Overwrite, Recording, RecordingId};
use crate::flow::crash::crash_point;
use crate::flow::{Engine, FlowError};
use crate::vault::storage_kind::StorageReport;
use crate::vault::storage_report;

use super::object;

/// What was found when the wrapped key of a recording was looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Residue {
    NotFound,
    Found,
    NotLookedFor,
}

impl Engine {
    /// Certifies what is unlinked, if there is enough of it, it has waited long enough, or nothing
    /// else is to be done. Returns how many.
    pub(super) fn certify_due(
        &self,
        nothing_else: bool,
        clock: &Clock,
    ) -> Result<usize, FlowError> {
        let now = clock.now();
        let (items, count) = self.catalog.read(|tx| tx.erasures_to_certify(now, AT_ONCE))?;
        if items.is_empty() {
            self.erase.inner().uncertified_since = None;
            return Ok(0);
        }
        let since = *self.erase.inner().uncertified_since.get_or_insert(now);
        if !nothing_else && count < AT_ONCE as u64 && now.since(since) < WAIT_MOST {
            return Ok(0);
        }
        self.catalog.scrub()?;
        crash_point("erase.scrubbed");
        let residues = self.look_for_keys(&items)?;
        let storage = self.storage_of_catalog();
        let now = clock.now();
        let certified = self.catalog.write(|tx| {
            let mut certified = Vec::new();
            for item in &items {
                let residue = residues.get(&item.recording).copied();
                match residue.unwrap_or(Residue::NotLookedFor) {
                    Residue::Found => {
                        let again = now.plus(LOOK_AGAIN);
                        tx.postpone_erasure(item.recording, again, "key_still_found")?;
                    }
                    residue => {
                        if self.certify(tx, item, residue, storage.as_ref(), now)? {
                            certified.push(item.recording);
                        }
                    }
                }
            }
            finish_jobs(tx, now)?;
            Ok::<_, FlowError>(certified)
        })?;
        crash_point("erase.certified");
        self.forget_certified(&certified);
        if !certified.is_empty() {
            tracing::info!(recordings = certified.len(), "erased and certified");
        }
        Ok(certified.len())
    }

    /// Closes jobs that came to their end by other ways than a certificate: resumed after the last
    /// one, or ordered when all of them were owed already.
    pub(super) fn finish_jobs(&self, now: Timestamp) -> Result<(), FlowError> {
        if self.catalog.read(|tx| tx.has_ended_erasure_jobs())? {
            self.catalog.write(|tx| finish_jobs(tx, now))?;
        }
        Ok(())
    }

    fn look_for_keys(
        &self,
        items: &[ErasureItem],
    ) -> Result<HashMap<RecordingId, Residue>, FlowError> {
        let needles: Vec<(RecordingId, Vec<u8>)> = {
            let inner = self.erase.inner();
            let known = |item: &ErasureItem| {
                Some((item.recording, inner.needles.get(&item.recording)?.clone()))
            };
            items.iter().filter_map(known).filter(|(_, bytes)| !bytes.is_empty()).collect()
        };
        let bytes: Vec<&[u8]> = needles.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        let found = self.catalog.look_for(&bytes)?;
        let residue = |found| if found { Residue::Found } else { Residue::NotFound };
        Ok(needles.iter().map(|(id, _)| *id).zip(found.into_iter().map(residue)).collect())
    }

    /// False if a certificate was refused: nothing is certified then, and it is tried again.
    fn certify(
        &self,
        tx: &CatalogTx<'_>,
        item: &ErasureItem,
        residue: Residue,
        storage: Option<&StorageReport>,
        now: Timestamp,
    ) -> Result<bool, FlowError> {
        let id = item.recording;
        let recording = tx.recording(id)?.ok_or(FlowError::NotFound(id))?;
        let job = tx.erasure_job(item.job)?.ok_or(FlowError::NoSuchJob)?;
        let facts =
            self.facts(tx, item, &recording, &job, key_fate(item, residue, storage), now)?;
        let number = facts.number;
        let key_version = facts.key_version;
        let signed = ErasureCertificate::signed(facts, |context, message| {
            self.sign_certificate(context, message)
        });
        let certificate = match signed {
            Ok(certificate) => certificate,
            Err(refusal) => {
                tracing::error!(recording = %id, %refusal, "a certificate was refused");
                tx.postpone_erasure(id, now.plus(LOOK_AGAIN), "certificate_refused")?;
                return Ok(false);
            }
        };
        tx.put_certificate(&CertificateRow {
            number,
            recording: id,
            issued_at: now,
            sha256: certificate.sha256(),
            text: certificate.to_text(),
            key_version,
            finality: None,
        })?;
        let entry = AuditEntry::new(now, Actor::DAEMON, Activity::RecordingErased)
            .with_numbers(&[("certificate", number)])
            .on_recording(id)
            .on_object(object(item.job));
        tx.advance(id, RecordingEvent::ErasureVerified, &entry)?;
        tx.move_erasure_item(id, ItemStep::Done, now)?;
        Ok(true)
    }

    fn facts(
        &self,
        tx: &CatalogTx<'_>,
        item: &ErasureItem,
        recording: &Recording,
        job: &ErasureJob,
        key: KeyFate,
        now: Timestamp,
    ) -> Result<CertificateFacts, FlowError> {
        let (last, previous) = tx.last_certificate()?;
        let cleared_at = item.cleared_at.unwrap_or(item.planned_at);
        let files = tx.doomed_files(item.recording)?;
        let seal_key = item.key.and_then(|key| key.seal_key);
        // Of a key that a restored backup did not bring back: as the prefix of the media said.
        let named = item.key.and_then(|_| {
            let media = files.iter().filter(|file| file.sidecar.is_none());
            media.filter_map(|file| file.data_key).next()
        });
        Ok(CertificateFacts {
            number: last + 1,
            previous,
            issued_at: now,
            recording: item.recording,
            conversation: recording.conversation,
            data_key: item.key.and_then(|key| key.id).or(named),
            job: item.job,
            selection: job.selection,
            reason: job.reason,
            requested_by: job.requested_by.clone(),
            approved_by: job.approved.as_ref().map(|(who, _)| who.clone()),
            planned_at: item.planned_at,
            cleared_at,
            key,
            key_version: item.key.map(|key| key.version),
            sealed_to: seal_key.map(|id| id.iter().map(|byte| format!("{byte:02x}")).collect()),
            files: files.iter().map(CertifiedFile::from).collect(),
            history: match recording.redacted_from {
                Some(_) => History::NeverInClear,
                None => History::WasInClear { original: recording.original.clone() },
            },
            metadata: MetadataFate::RowsOverwrittenAndLogScrubbed,
            backups: tx.count_backups_left(cleared_at)?,
            program: format!("recseal {}", env!("CARGO_PKG_VERSION")),
            host: host(),
        })
    }

    /// Signs a certificate or a statement of finality.
    pub(super) fn sign_certificate(&self, context: &'static str, message: &[u8]) -> Signed {
        let signature = self.keys.sign(context, message);
        (signature.key_id, signature.bytes)
    }

    fn storage_of_catalog(&self) -> Option<StorageReport> {
        use std::os::fd::AsFd;
        let folder = std::fs::File::open(&self.erase.state).ok()?;
        storage_report(folder.as_fd()).ok()
    }

    fn forget_certified(&self, certified: &[RecordingId]) {
        let mut inner = self.erase.inner();
        let gone = self.erase.gone.write();
        let mut gone = gone.unwrap_or_else(std::sync::PoisonError::into_inner);
        for id in certified {
            inner.needles.remove(id);
            gone.remove(id);
        }
        inner.uncertified_since = None;
    }
}

fn finish_jobs(tx: &CatalogTx<'_>, now: Timestamp) -> Result<(), FlowError> {
    for job in tx.finish_erasure_jobs(now)? {
        let entry =
            AuditEntry::new(now, Actor::DAEMON, Activity::ErasureFinished).on_object(object(job));
        tx.append_audit(&entry)?;
    }
    Ok(())
}

/// What may be said of the key. A medium is attested only where an overwrite is one.
fn key_fate(item: &ErasureItem, residue: Residue, storage: Option<&StorageReport>) -> KeyFate {
    let is_attested = storage.is_some_and(|storage| {
        storage.promise == Overwrite::InPlaceVerified && storage.media == "rotational"
    });
    match (&item.key, residue) {
        (None, _) => KeyFate::NonePlaintext,
        (Some(_), Residue::NotLookedFor | Residue::Found) => KeyFate::DestroyedNotLookedFor,
        (Some(_), Residue::NotFound) if is_attested => KeyFate::DestroyedVerified,
        (Some(_), Residue::NotFound) => KeyFate::DestroyedMediumUnattested,
    }
}

fn host() -> String {
    let name = rustix::system::uname();
    let words = [name.sysname(), name.release(), name.machine()];
    words.map(|word| word.to_string_lossy().into_owned()).join(" ")
}

/// Certified together, after one scrub.
const AT_ONCE: usize = 1_000;
/// Nothing waits longer for its certificate while others are erased.
const WAIT_MOST: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_secs(60);
