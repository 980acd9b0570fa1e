//! What must hold once everything that may be done is done, whatever happened before.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use aho_corasick::AhoCorasick;
use recseal::catalog::{Catalog, CatalogError, ItemFilter, RecordingFilter};
use recseal::compliance::audit::CheckpointSignature;
use recseal::compliance::erasure::certificate::{ErasureCertificate, Signed};
use recseal::compliance::erasure::{ErasureJob, ItemStep, JobProgress};
use recseal::config::catalog_in;
use recseal::domain::lifecycle::RecordingState;
use recseal::domain::{Recording, RecordingId, VaultName};
use recseal::flow::{CHECKPOINT_CONTEXT, PlayAs};

use crate::ground::{Ground, files_below};
use crate::ledger::Facts;
use crate::worker::content;

/// Panics with everything that is wrong.
pub fn must_hold(ground: &Ground, facts: &Facts, what: &str) {
    let evidence = Evidence::of(ground);
    let mut faults = evidence.faults_of_recordings(ground, facts);
    faults.extend(evidence.faults_of_certificates(ground));
    faults.extend(evidence.faults_of_files(ground, facts));
    faults.extend(evidence.faults_of_counts());
    faults.extend(evidence.faults_of_audit(ground));
    assert!(faults.is_empty(), "{what}: {faults:#?}");
}

/// The catalog of a ground, looked at from beside.
pub struct Evidence {
    pub catalog: Catalog,
    pub recordings: Vec<Recording>,
}

impl Evidence {
    pub fn of(ground: &Ground) -> Self {
        let catalog = Catalog::open_read_only(&catalog_in(&ground.state())).unwrap();
        let filter = RecordingFilter::default();
        let recordings = catalog.read(|tx| tx.recordings(&filter, None, 100_000)).unwrap();
        Self { catalog, recordings }
    }

    fn erased(&self) -> impl Iterator<Item = &Recording> {
        self.recordings.iter().filter(|one| one.state == RecordingState::Erased)
    }

    /// What is owed is erased, unless something protects it; nothing else is.
    fn faults_of_recordings(&self, ground: &Ground, facts: &Facts) -> Vec<String> {
        let mut faults = Vec::new();
        let held: HashSet<RecordingId> = facts
            .held
            .iter()
            .filter(|(hold, _)| !facts.lifting.contains(hold))
            .map(|(_, id)| *id)
            .collect();
        let mut stems = BTreeMap::<String, u32>::new();
        for recording in &self.recordings {
            let (id, state) = (recording.id, recording.state);
            let is_gone = matches!(state, RecordingState::Erasing | RecordingState::Erased);
            let protections = self.catalog.read(|tx| tx.protections(id, None)).unwrap();
            if held.contains(&id) && is_gone {
                faults.push(format!("{id} was held and is {}", state.as_str()));
            }
            if facts.late.contains(&id) && state != RecordingState::Erased {
                faults.push(format!("{id}: a hold came too late for it, and it is {state:?}"));
            }
            let is_free = protections.is_empty();
            if facts.is_owed(id) && is_free && state != RecordingState::Erased {
                faults.push(format!("{id} is owed, not protected, and is {state:?}"));
            }
            let Some(wanted) = facts.wanted.get(&id).filter(|_| is_gone) else {
                if is_gone {
                    faults.push(format!("{id} is {state:?}, and nobody asked for that"));
                }
                let name = String::from_utf8_lossy(recording.path.expose_name()).into_owned();
                *stems.entry(name.trim_end_matches(".wav").to_owned()).or_default() += 1;
                faults.extend(fault_of_content(ground, recording, &name));
                continue;
            };
            *stems.entry(wanted.stem.clone()).or_default() += 1;
            let is_left = self.catalog.read(|tx| {
                let doomed = tx.doomed_files(id)?.iter().any(|file| file.place.is_some());
                Ok::<_, CatalogError>(doomed || !tx.copies(id)?.is_empty())
            });
            if is_left.unwrap() {
                faults.push(format!("{id} is {state:?}, and a place of a file of it is known"));
            }
            if self.catalog.read(|tx| tx.stored_key(id)).unwrap().is_some() {
                faults.push(format!("{id} is {state:?}, and its key is there"));
            }
        }
        for stem in &facts.recorded {
            if stems.get(stem) != Some(&1) {
                faults.push(format!("{stem} is known {:?} times", stems.get(stem)));
            }
        }
        faults
    }

    /// Exactly one for each, numbered without gaps, each with the hash of the one before, signed.
    fn faults_of_certificates(&self, ground: &Ground) -> Vec<String> {
        let mut faults = Vec::new();
        let public = ground.engine.public_keys();
        let public = keymanager::public_keys_from_pem(&public).unwrap();
        let is_signed = |context: &'static str, message: &[u8], (key_id, bytes): &Signed| {
            let signature = keymanager::Signature { key_id: *key_id, bytes: *bytes };
            keymanager::verify_signature(&public, context, message, &signature).is_ok()
        };
        let rows = self.catalog.read(|tx| tx.erasure_certificates(0, 100_000)).unwrap();
        let (mut previous, mut certified) = ([0; 32], BTreeSet::new());
        for (expected, row) in (1..).zip(&rows) {
            let certificate = ErasureCertificate::parse(&row.text).unwrap();
            let facts = certificate.facts();
            let is_sound = (row.number, facts.number) == (expected, expected)
                && facts.recording == row.recording
                && facts.previous == previous
                && certificate.sha256() == row.sha256
                && certificate.verify(is_signed);
            if !is_sound {
                faults.push(format!("certificate {expected} is not sound: {facts:?}"));
            }
            if !certified.insert(row.recording) {
                faults.push(format!("{} has two certificates", row.recording));
            }
            previous = certificate.sha256();
        }
        let erased: BTreeSet<RecordingId> = self.erased().map(|one| one.id).collect();
        if certified != erased {
            faults.push(format!("{} erased, {} certified", erased.len(), certified.len()));
        }
        faults
    }

    /// Sealed files are those that the catalog knows; nothing is left over; nothing that is erased
    /// can be read in any file of the program.
    fn faults_of_files(&self, ground: &Ground, facts: &Facts) -> Vec<String> {
        let mut faults = Vec::new();
        let (store, vault) = (ground.store(), ground.state().join("vault"));
        let mut expected = BTreeSet::new();
        for recording in &self.recordings {
            for copy in self.catalog.read(|tx| tx.copies(recording.id)).unwrap() {
                let root = if copy.vault == VaultName::Own { &vault } else { &store };
                expected.insert((root.join(copy.path.expose_path()), copy.sealed_bytes));
            }
        }
        let all = files_below(&ground.folder);
        let is_sealed = |path: &&PathBuf| {
            path.starts_with(&vault)
                || path.starts_with(&store) && path.extension().is_some_and(|end| end == "sealed")
        };
        let len = |path: &PathBuf| std::fs::metadata(path).unwrap().len();
        let seen: BTreeSet<_> =
            all.iter().filter(is_sealed).map(|path| (path.clone(), len(path))).collect();
        for (path, bytes) in expected.symmetric_difference(&seen) {
            faults.push(format!("{} of {bytes} and the catalog do not agree", path.display()));
        }
        for path in &all {
            let name = path.file_name().unwrap().as_bytes();
            if name.starts_with(b".recseal-") && name != b".recseal-store" {
                faults.push(format!("{} is left over", path.display()));
            }
        }
        let erased: Vec<_> = self.erased().filter_map(|one| facts.wanted.get(&one.id)).collect();
        // A file beside it that came too late to belong to it is a recording of its own.
        let live = self.recordings.iter().map(|one| one.path.expose_name());
        let live: Vec<&[u8]> = live.filter(|name| name.ends_with(b".json")).collect();
        let stems = erased.iter().map(|wanted| wanted.stem.as_bytes());
        let stems = stems.filter(|stem| !live.iter().any(|name| name.starts_with(stem)));
        let keys = erased.iter().map(|wanted| &wanted.key[..]).filter(|key| !key.is_empty());
        let needles: Vec<&[u8]> = stems.chain(keys).collect();
        if needles.is_empty() {
            return faults;
        }
        let automaton = AhoCorasick::new(&needles).unwrap();
        for path in all.iter().filter(|path| !path.ends_with("ledger")) {
            let bytes = std::fs::read(path).unwrap();
            let below = path.strip_prefix(&ground.folder).unwrap();
            for text in [&bytes, below.as_os_str().as_bytes()] {
                if let Some(hit) = automaton.find(text) {
                    let what = String::from_utf8_lossy(needles[hit.pattern().as_usize()]);
                    let (place, at) = (below.display(), hit.start());
                    faults.push(format!("{what:?} stands in {place} at {at}"));
                }
            }
        }
        faults
    }

    /// Counts that triggers keep are those of the rows.
    pub fn faults_of_counts(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let counts = self.catalog.read(|tx| tx.counts()).unwrap();
        for state in RecordingState::ALL {
            let of = self.recordings.iter().filter(|one| one.state == state);
            let bytes = of.clone().map(|one| one.fingerprint.size_bytes).sum::<u64>();
            let told = counts.in_state(state);
            if (told.recordings, told.bytes) != (of.count() as u64, bytes) {
                faults.push(format!("{state:?}: {told:?} are told"));
            }
        }
        let jobs = self.catalog.read(|tx| tx.erasure_jobs(None, 100_000)).unwrap();
        let mut owing = BTreeSet::new();
        for job in &jobs {
            let recounted = self.recount(job, &mut owing);
            if job.progress != recounted {
                faults.push(format!("{}: {:?}, not {recounted:?}", job.id.0, job.progress));
            }
        }
        let marked = self.recordings.iter().filter(|one| one.planned_for_deletion);
        let marked: BTreeSet<RecordingId> = marked.map(|one| one.id).collect();
        if marked != owing {
            faults.push(format!("{} are marked, {} are owed", marked.len(), owing.len()));
        }
        faults
    }

    fn recount(&self, job: &ErasureJob, owing: &mut BTreeSet<RecordingId>) -> JobProgress {
        let items = |tx: &recseal::catalog::ReadTx<'_>| {
            tx.erasure_items(job.id, ItemFilter::All, None, 100_000)
        };
        let mut counted = JobProgress::default();
        for item in self.catalog.read(items).unwrap() {
            let is_done = item.step == ItemStep::Done;
            let one = |is: bool| u64::from(is);
            counted = counted.plus(JobProgress {
                items: 1,
                bytes: item.bytes,
                done_items: one(is_done),
                done_bytes: one(is_done) * item.bytes,
                begun_items: one(!is_done && item.step != ItemStep::Planned),
                blocked_items: one(item.blocked_by.is_some()),
                blocked_bytes: one(item.blocked_by.is_some()) * item.bytes,
                failing_items: one(!is_done && item.problem.is_some()),
            });
            if !is_done {
                owing.insert(item.recording);
            }
        }
        counted
    }

    fn faults_of_audit(&self, ground: &Ground) -> Option<String> {
        let public = keymanager::public_keys_from_pem(&ground.engine.public_keys()).unwrap();
        let is_signed = |message: &[u8], signature: &CheckpointSignature| {
            let CheckpointSignature { key_id, bytes } = *signature;
            let signature = keymanager::Signature { key_id, bytes };
            keymanager::verify_signature(&public, CHECKPOINT_CONTEXT, message, &signature).is_ok()
        };
        let verdict = self.catalog.read(|tx| tx.verify_audit(&is_signed)).unwrap();
        verdict.fault.map(|fault| format!("the audit trail: {fault}"))
    }
}

/// A recording that is not erased is there, byte for byte: sealed, or in quarantine in clear.
fn fault_of_content(ground: &Ground, recording: &Recording, name: &str) -> Option<String> {
    let id = recording.id;
    let expected = content(name.trim_end_matches(".wav"));
    let found = match recording.state {
        RecordingState::Stored => {
            match ground.engine.play(&Ground::may(), id, PlayAs::Original, false, ground.now()) {
                Err(error) => return Some(format!("{id} does not open: {error}")),
                Ok(playback) => {
                    let mut bytes = vec![0; playback.len_bytes as usize];
                    let read = playback.reader.read_at(&mut bytes, 0).unwrap_or(0);
                    bytes.truncate(read);
                    bytes
                }
            }
        }
        RecordingState::Quarantined => std::fs::read(ground.store().join(name)).unwrap_or_default(),
        state => return Some(format!("{id} is {state:?}")),
    };
    (found != expected).then(|| format!("{id}: {} of {} bytes", found.len(), expected.len()))
}
