//! Files beside media are sealed with their recording's key, once that is sealed.
//!
//! The steps are those of a recording (see [`super::ingest`]). A sidecar has no key of its own, so
//! a destroyed row takes it along; where this host sealed the recording to a public key and has
//! forgotten its key, the sidecar gets one whose row goes with the recording's. Until it is sealed and proved, its original is the good copy.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use keymanager::{DataKey, SealedDataKey, StoredDataKey};

use crate::catalog::{CatalogError, Sidecar, SidecarState};
use crate::clock::Timestamp;
use crate::compliance::audit::{Activity, Actor, AuditEntry};
use crate::domain::{SealedCopy, SealedKind};
use crate::flow::crash::crash_point;
use crate::flow::ingest::chain;
use crate::flow::looks::{self, Original};
use crate::flow::pieces::{Piece, Source};
use crate::flow::stores::{Opened, vault_of};
use crate::flow::{Engine, FlowError};
use crate::intake::sidecar::secrets_in;
use crate::seal;
use crate::vault::{self, Vault};

impl Engine {
    /// Works on at most one batch of the sidecars that are due; how many.
    ///
    /// # Errors
    ///
    /// [`FlowError`] if keys or catalog fail.
    pub fn ingest_sidecars(&self, now: Timestamp) -> Result<usize, FlowError> {
        let due = self.catalog.read(|tx| tx.sidecars_due(now, self.batch))?;
        let taken = due.len();
        for sidecar in due {
            let opened = self.slot_of(sidecar.store).and_then(|slot| slot.open().ok());
            let outcome = match (opened, sidecar.state) {
                (Some(opened), SidecarState::Found) => self.seal_sidecar(&opened, &sidecar, now),
                (Some(opened), SidecarState::Sealed) => self.finish_sidecar(&opened, &sidecar, now),
                (_, SidecarState::Stored) | (None, _) => self.put_off(&sidecar, now),
            };
            match outcome {
                Err(FlowError::Catalog(CatalogError::WrongSidecarState { .. })) | Ok(()) => {}
                Err(error) => {
                    tracing::warn!(sidecar = %sidecar.id, error = %chain(&error), "a sidecar stays for now");
                    self.put_off(&sidecar, now)?;
                }
            }
        }
        Ok(taken)
    }

    fn put_off(&self, sidecar: &Sidecar, now: Timestamp) -> Result<(), FlowError> {
        self.catalog.write(|tx| tx.postpone_sidecar(sidecar.id, now.plus(LATER)))?;
        Ok(())
    }

    fn seal_sidecar(
        &self,
        opened: &Arc<Opened>,
        sidecar: &Sidecar,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let id = sidecar.recording;
        let (copies, stored) =
            self.catalog.read(|tx| Ok::<_, FlowError>((tx.copies(id)?, tx.stored_key(id)?)))?;
        // An earlier attempt: whole or not, it was not proved.
        let earlier = copies.iter().filter(|copy| copy.sidecar == Some(sidecar.id));
        self.clear_copies(id, earlier, Some(opened))?;
        if let Some(StoredDataKey::Sealed(_)) = &stored {
            self.catalog.write(|tx| tx.destroy_sidecar_key(sidecar.id))?;
        }
        let file = match looks::open_original(opened, &sidecar.path, &sidecar.fingerprint) {
            Ok(Original::Same(file)) => file,
            Ok(Original::Changed(sighting)) => {
                self.catalog.write(|tx| tx.note_sidecar_changed(sidecar.id, &sighting, now))?;
                return self.put_off(sidecar, now);
            }
            Ok(Original::Vanished) => {
                return Ok(self.catalog.write(|tx| tx.forget_sidecar(sidecar.id))?);
            }
            Ok(Original::Busy | Original::HardLinked) | Err(_) => {
                return self.put_off(sidecar, now);
            }
        };
        self.report_secrets(&file, sidecar);
        let Some(stored) = stored else { return self.put_off(sidecar, now) };
        let (key, own) = self.sidecar_key(sidecar, &stored)?;
        let copy = self.sidecar_copy(opened, sidecar)?;
        let Some(vault) = vault_of(&self.vault, Some(opened), copy.vault) else {
            return self.put_off(sidecar, now);
        };
        let xattrs = vault::read_xattrs(&file);
        self.catalog.write(|tx| {
            if let Some(own) = &own {
                tx.record_sidecar_key(id, sidecar.id, own, now)?;
            }
            tx.add_copy(id, &copy, now)?;
            tx.keep_sidecar_xattrs(id, sidecar.id, &xattrs)
        })?;
        let piece = Piece {
            recording: id,
            key: &key,
            source: Source::File(file),
            vault,
            attributes: Some(sidecar.attributes),
            is_write_only: own.is_some(),
            copy,
        };
        let (copy, outcome) = self.seal_pieces(vec![piece]).pop().expect("one piece, one result");
        let proved = outcome.map_err(|error| FlowError::Sidecar { id, why: chain(&error) })?;
        let entry = AuditEntry::new(now, Actor::DAEMON, Activity::SidecarSealed)
            .on_recording(id)
            .on_object(sidecar.id.0);
        self.catalog.write(|tx| {
            if let Some(digest) = &proved.digest {
                tx.set_copy_digest(&copy, digest)?;
            }
            tx.sidecar_sealed(sidecar.id, &entry)
        })?;
        crash_point("sidecar.sealed_recorded");
        self.remove_sidecar(opened, sidecar, proved.proof, now)
    }

    fn sidecar_copy(&self, opened: &Opened, sidecar: &Sidecar) -> Result<SealedCopy, FlowError> {
        let (vault, path) =
            self.copy_place(Some(opened), sidecar.id.0, &sidecar.path, SealedKind::Sidecar)?;
        let plain_bytes = sidecar.fingerprint.size_bytes;
        Ok(SealedCopy {
            vault,
            path,
            kind: SealedKind::Sidecar,
            sidecar: Some(sidecar.id),
            sealed_bytes: seal::sealed_len(plain_bytes),
            plain_bytes,
        })
    }

    /// The key that seals a sidecar: that of its recording, or where nobody here has that any more,
    /// one of its own with its row.
    fn sidecar_key(
        &self,
        sidecar: &Sidecar,
        stored: &StoredDataKey,
    ) -> Result<(DataKey, Option<SealedDataKey>), FlowError> {
        match stored {
            StoredDataKey::Wrapped(wrapped) => {
                Ok((self.keys.unwrap(sidecar.recording.0, wrapped)?, None))
            }
            StoredDataKey::Sealed(sealed) => {
                let slot = self.slot_of(sidecar.store);
                let store_says = slot.and_then(|slot| slot.spec().seal_to.as_deref());
                let (key, own) =
                    self.new_sidecar_key(sidecar.recording, store_says, sealed.seal_key())?;
                Ok((key, Some(own)))
            }
        }
    }

    /// A sealed sidecar whose original is still there: finish its removal, or prove it again.
    fn finish_sidecar(
        &self,
        opened: &Arc<Opened>,
        sidecar: &Sidecar,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let proof = match looks::open_original(opened, &sidecar.path, &sidecar.fingerprint) {
            Ok(Original::Same(file)) => Some(self.prove_sidecar(opened, sidecar, &file)?),
            Ok(Original::Changed(_) | Original::Vanished) => None,
            Ok(Original::Busy | Original::HardLinked) | Err(_) => {
                return self.put_off(sidecar, now);
            }
        };
        self.remove_sidecar(opened, sidecar, proof, now)
    }

    fn prove_sidecar(
        &self,
        opened: &Opened,
        sidecar: &Sidecar,
        file: &std::fs::File,
    ) -> Result<seal::VerifiedSeal, FlowError> {
        let id = sidecar.recording;
        let missing = || FlowError::Sidecar { id, why: "its sealed copy is missing".to_owned() };
        let (copies, stored) =
            self.catalog.read(|tx| Ok::<_, FlowError>((tx.copies(id)?, tx.stored_key(id)?)))?;
        let copy =
            copies.iter().find(|copy| copy.sidecar == Some(sidecar.id)).ok_or_else(missing)?;
        let vault = vault_of(&self.vault, Some(opened), copy.vault).ok_or_else(missing)?;
        let source =
            vault.open_uncached(&copy.path).map_err(|source| FlowError::Vault { id, source })?;
        let key = match stored.ok_or_else(missing)? {
            StoredDataKey::Wrapped(wrapped) => self.keys.unwrap(id.0, &wrapped)?,
            StoredDataKey::Sealed(_) => return self.prove_by_digest(id, copy, &source),
        };
        let damaged = |source| FlowError::Damaged { id, source };
        let reader = seal::SealedReader::open(&key, source).map_err(damaged)?;
        seal::prove_equal(&reader, file, 1).map_err(damaged)
    }

    /// Credentials that a recorder wrote beside a recording: said by kind, never by value.
    fn report_secrets(&self, file: &std::fs::File, sidecar: &Sidecar) {
        let mut plaintext = zeroize::Zeroizing::new(Vec::new());
        if file.take(SEARCHED_BYTES).read_to_end(&mut plaintext).is_err() {
            return;
        }
        let findings = secrets_in(&plaintext);
        if !findings.is_empty() {
            self.totals.count_secrets(findings.len() as u64);
            let kinds: Vec<_> = findings.iter().map(|finding| finding.kind.as_str()).collect();
            tracing::warn!(
                sidecar = %sidecar.id,
                kinds = kinds.join(","),
                "credentials found beside a recording: replace them at their source"
            );
        }
    }
}

const LATER: Duration = Duration::from_secs(30);
/// How much of a sidecar is searched for credentials.
const SEARCHED_BYTES: u64 = 1 << 20;
