//! Comparing what lies in a store with what the catalog knows.
//!
//! A folder is listed, its rows are read, and the difference becomes changes of the catalog: new
//! files are `Found`, quiet ones `Settled`, vanished ones forgotten. Nothing in the store is
//! touched. If the power goes here, the next look finds the same difference again.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::catalog::{
    CatalogError, CatalogTx, Known, KnownSidecar, NewRecording, NewSidecar, SidecarState,
};
use crate::clock::{Clock, Timestamp};
use crate::compliance::audit::{Activity, Actor, AuditEntry};
use crate::domain::lifecycle::{RecordingEvent, RecordingState};
use crate::domain::{RecordingId, SidecarId, Sighting, StoreId, StorePath};
use crate::flow::crash::crash_point;
use crate::flow::stores::{LastLook, Opened};
use crate::flow::{Engine, FlowError};
use crate::intake::finish::{self, Look, Verdict};
use crate::intake::{IntakeError, Listing, Oddities, WatchMode, sidecar};

/// Where to look.
#[derive(Clone, Debug)]
pub enum Places {
    /// The whole tree: at start, after an overflow, on the timer.
    Everywhere,
    /// These folders; `None` is the root.
    Folders(Vec<Option<StorePath>>),
}

/// What a look led to.
#[derive(Clone, Debug, Default)]
pub struct Discovered {
    /// New files.
    pub found: u64,
    /// Files that are finished now.
    pub settled: u64,
    /// Folders in which another file may be finished, and when the first may be.
    pub due: HashMap<Option<StorePath>, Timestamp>,
}

impl Engine {
    /// Looks at one store, by its place in the configuration.
    ///
    /// # Errors
    ///
    /// [`FlowError::Invalid`] if the store is not there: then nothing was concluded.
    pub fn discover(
        &self,
        store: usize,
        places: &Places,
        clock: &Clock,
    ) -> Result<Discovered, FlowError> {
        let slot = &self.stores[store];
        let opened = slot.open()?;
        let began = clock.now();
        let mut survey = Survey::new(self, &opened, began);
        match places {
            Places::Folders(folders) => {
                for folder in folders {
                    survey.folder(folder.as_ref())?;
                }
                survey.flush()?;
            }
            Places::Everywhere => {
                survey.whole_tree()?;
                self.totals.found_by_scan.fetch_add(survey.outcome.found, Ordering::Relaxed);
                self.totals.scans.fetch_add(1, Ordering::Relaxed);
                let ended = clock.now();
                slot.note_look(LastLook {
                    at: Some(ended),
                    took: Some(ended.since(began)),
                    files: survey.files,
                    sidecars_waiting: survey.sidecars_waiting,
                    oddities: survey.oddities,
                });
            }
        }
        self.totals.found.fetch_add(survey.outcome.found, Ordering::Relaxed);
        Ok(survey.outcome)
    }
}

/// One look at one store.
struct Survey<'e> {
    engine: &'e Engine,
    opened: &'e Opened,
    now: Timestamp,
    /// Rows of the folder being listed that were in no batch yet.
    unseen: HashMap<Vec<u8>, Known>,
    changes: Vec<Change>,
    outcome: Discovered,
    files: u64,
    sidecars_waiting: u64,
    oddities: Oddities,
}

/// One difference, to be written with others in one transaction.
enum Change {
    Add {
        sighting: Sighting,
        is_finished: bool,
    },
    AddSidecar {
        recording: RecordingId,
        sighting: Sighting,
    },
    Unchanged(RecordingId),
    Changed(RecordingId, Sighting),
    Finished(RecordingId),
    Forgotten(RecordingId),
    /// It was taken for a recording, and belongs to one.
    IsSidecar {
        was: RecordingId,
        recording: RecordingId,
        sighting: Sighting,
    },
    /// It waited for a person, and its recorder did something to it instead.
    Released(RecordingId, Sighting),
    SidecarChanged(SidecarId, Sighting),
    SidecarForgotten(SidecarId, RecordingId),
}

impl<'e> Survey<'e> {
    fn new(engine: &'e Engine, opened: &'e Opened, now: Timestamp) -> Self {
        Self {
            engine,
            opened,
            now,
            unseen: HashMap::new(),
            changes: Vec::new(),
            outcome: Discovered::default(),
            files: 0,
            sidecars_waiting: 0,
            oddities: Oddities::default(),
        }
    }

    /// Every folder, and then those that vanished with all their files.
    fn whole_tree(&mut self) -> Result<(), FlowError> {
        let store = self.opened.store.id();
        let mut vanished: HashSet<Option<StorePath>> =
            self.engine.catalog.read(|tx| tx.known_folders(store))?.into_iter().collect();
        let mut pending = vec![None];
        while let Some(folder) = pending.pop() {
            vanished.remove(&folder);
            pending.extend(self.folder(folder.as_ref())?.into_iter().map(Some));
        }
        for folder in vanished {
            self.folder(folder.as_ref())?;
        }
        self.flush()
    }

    /// One folder; its subfolders are returned. The rows are read before the folder is, so that
    /// a file which the sealer takes away meanwhile is not taken for a new one.
    fn folder(&mut self, folder: Option<&StorePath>) -> Result<Vec<StorePath>, FlowError> {
        let store = &self.opened.store;
        let known = self.engine.catalog.read(|tx| tx.known_in_folder(store.id(), folder))?;
        self.unseen =
            known.into_iter().map(|known| (known.path.expose_name().to_vec(), known)).collect();
        let mut folders = Vec::new();
        let mut failure = None;
        let listed = store.list(folder, &mut |listing| {
            folders.extend(listing.folders.iter().cloned());
            match self.listing(listing) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        match (listed, failure) {
            (_, Some(error)) => Err(error),
            (Ok(()), None) => Ok(folders),
            (Err(IntakeError::Folder { .. }), None) if folder.is_some() => {
                self.oddities.unreadable += 1;
                Ok(Vec::new())
            }
            (Err(error), None) => Err(error.into()),
        }
    }

    fn listing(&mut self, listing: Listing) -> Result<(), FlowError> {
        self.files += listing.sightings.len() as u64;
        self.oddities += listing.oddities;
        for sighting in listing.sightings {
            match self.unseen.remove(sighting.path.expose_name()) {
                None => self.new_file(sighting)?,
                Some(known) => match known.sidecar {
                    None => self.known_recording(&known, sighting)?,
                    Some(sidecar) => self.known_sidecar(sidecar, &known, sighting),
                },
            }
        }
        if listing.is_complete {
            let unseen = std::mem::take(&mut self.unseen);
            self.changes.extend(unseen.into_values().filter_map(vanished));
        }
        if self.changes.len() >= CHANGES_PER_COMMIT { self.flush() } else { Ok(()) }
    }

    fn new_file(&mut self, sighting: Sighting) -> Result<(), FlowError> {
        let look = Look {
            sighting: &sighting,
            first_seen: self.now,
            unchanged_since: self.now,
            polls_unchanged: 0,
            told_done: self.engine.was_told_done(self.opened.store.id(), &sighting.path),
            unfinished: false,
            paired: false,
        };
        match self.decide(look)? {
            (Verdict::Ignore, _) => {}
            (Verdict::Sidecar, Some(recording)) => {
                self.changes.push(Change::AddSidecar { recording, sighting });
            }
            (verdict, _) => {
                let is_finished = verdict == Verdict::Finished;
                self.note_wait(verdict, sighting.path.folder());
                self.outcome.found += 1;
                self.outcome.settled += u64::from(is_finished);
                self.changes.push(Change::Add { sighting, is_finished });
            }
        }
        Ok(())
    }

    fn known_recording(&mut self, known: &Known, sighting: Sighting) -> Result<(), FlowError> {
        let id = known.recording;
        let is_same = sighting.fingerprint.is_untouched_since(&known.fingerprint);
        match known.state {
            RecordingState::Found => {}
            RecordingState::Settled => {
                if !known.fingerprint.has_same_content(&sighting.fingerprint) {
                    self.changes.push(Change::Changed(id, sighting));
                }
                return Ok(());
            }
            RecordingState::Quarantined => {
                if !is_same {
                    self.changes.push(Change::Released(id, sighting));
                }
                return Ok(());
            }
            RecordingState::Sealing | RecordingState::Sealed => return Ok(()),
            // The eraser comes for it; a recorder may have used its name again.
            RecordingState::Erasing
                if known.fingerprint.has_same_content(&sighting.fingerprint) =>
            {
                return Ok(());
            }
            RecordingState::Erasing => return self.new_file(sighting),
            RecordingState::Stored | RecordingState::Erased => return Ok(()),
        }
        let look = Look {
            sighting: &sighting,
            first_seen: first_seen(id).unwrap_or(known.unchanged_since),
            unchanged_since: if is_same { known.unchanged_since } else { self.now },
            polls_unchanged: if is_same { known.polls_unchanged + 1 } else { 0 },
            told_done: self.engine.was_told_done(self.opened.store.id(), &sighting.path),
            unfinished: false,
            paired: false,
        };
        let (verdict, recording) = self.decide(look)?;
        self.note_wait(verdict, sighting.path.folder());
        if !is_same {
            self.changes.push(Change::Changed(id, sighting.clone()));
        } else if matches!(self.opened.store.mode(), WatchMode::Poll { .. }) {
            self.changes.push(Change::Unchanged(id));
        }
        match (verdict, recording) {
            (Verdict::Finished, _) => {
                self.outcome.settled += 1;
                self.changes.push(Change::Finished(id));
            }
            (Verdict::Sidecar, Some(recording)) => {
                self.changes.push(Change::IsSidecar { was: id, recording, sighting });
            }
            (Verdict::Ignore, _) => self.changes.push(Change::Forgotten(id)),
            (Verdict::Sidecar, None) | (Verdict::NotYet { .. } | Verdict::Alarm(_), _) => {}
        }
        Ok(())
    }

    fn known_sidecar(&mut self, sidecar: KnownSidecar, known: &Known, sighting: Sighting) {
        let is_same = known.fingerprint.has_same_content(&sighting.fingerprint);
        let is_doomed = known.state == RecordingState::Erasing;
        if sidecar.state == SidecarState::Found && !is_same && !is_doomed {
            self.changes.push(Change::SidecarChanged(sidecar.id, sighting));
        }
    }

    /// The verdict, and the recording that a sidecar belongs to.
    fn decide(&self, mut look: Look<'_>) -> Result<(Verdict, Option<RecordingId>), FlowError> {
        let store = &self.opened.store;
        let mut is_coming = false;
        let recording = match sidecar::owner(store.profile(), &look.sighting.path) {
            None => None,
            Some(owner) => {
                let (folder, stem) = owner.place();
                let mut named = self.engine.catalog.read(|tx| {
                    let mut named = tx.recordings_named(store.id(), folder.as_ref(), stem)?;
                    if owner.is_tree() {
                        named.extend(tx.recordings_below(store.id(), folder.as_ref())?);
                    }
                    Ok::<_, CatalogError>(named)
                })?;
                named.retain(|(_, path, _)| owner.owns(path));
                // Sidecars with that stem are among them, this one too if it was noted as found.
                is_coming = named.iter().any(|(_, path, state)| {
                    *state == RecordingState::Found
                        && sidecar::owner(store.profile(), path).is_none()
                });
                named.into_iter().find(|(.., state)| is_taken(*state)).map(|(id, ..)| id)
            }
        };
        look.paired = recording.is_some();
        let exists = |path: &StorePath| store.exists(path);
        let verdict = finish::decide(
            store.profile(),
            store.settings(),
            store.mode(),
            &look,
            &exists,
            self.now,
        );
        // However long ago it was seen: its recording is there, and goes first.
        let verdict = match verdict {
            Verdict::Finished if is_coming => {
                Verdict::NotYet { until: Some(self.now.plus(AFTER_ITS_RECORDING)) }
            }
            other => other,
        };
        Ok((verdict, recording))
    }

    fn note_wait(&mut self, verdict: Verdict, folder: Option<StorePath>) {
        match verdict {
            Verdict::NotYet { until: Some(until) } => {
                let due = self.outcome.due.entry(folder).or_insert(until);
                *due = (*due).min(until);
            }
            Verdict::NotYet { until: None }
            | Verdict::Ignore
            | Verdict::Sidecar
            | Verdict::Finished => {}
            Verdict::Alarm(why) => self.engine.note_alarm(self.opened.store.id(), why),
        }
    }

    /// Writes what differs. Nothing is believed to be gone unless the tree is still the same.
    fn flush(&mut self) -> Result<(), FlowError> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let store = self.opened.store.id();
        self.opened.store.check().map_err(|lost| IntakeError::Lost { store, lost })?;
        let changes = std::mem::take(&mut self.changes);
        let now = self.now;
        self.engine.catalog.write(|tx| {
            changes.iter().try_for_each(|change| match apply(tx, store, change, now) {
                // The sealer was quicker; the next look sees what is left to do.
                Err(
                    CatalogError::WrongState { .. }
                    | CatalogError::WrongSidecarState { .. }
                    | CatalogError::AlreadyKnown { .. }
                    | CatalogError::UnknownRecording { .. }
                    | CatalogError::Illegal { .. },
                ) => Ok(()),
                other => other,
            })
        })?;
        crash_point("discover.noted");
        Ok(())
    }
}

fn apply(
    tx: &CatalogTx<'_>,
    store: StoreId,
    change: &Change,
    now: Timestamp,
) -> Result<(), CatalogError> {
    match change {
        Change::Add { sighting, is_finished } => tx.add_found(&NewRecording {
            id: RecordingId::new(),
            store,
            sighting,
            is_finished: *is_finished,
            now,
        }),
        Change::AddSidecar { recording, sighting } => {
            add_sidecar(tx, store, *recording, sighting, now)
        }
        Change::Unchanged(id) => tx.note_unchanged(*id),
        // Files of an abandoned attempt are still noted: the sealer destroys them, and it alone,
        // and then sees for itself what became of the original.
        Change::Changed(id, _) | Change::Forgotten(id) | Change::IsSidecar { was: id, .. }
            if !tx.copies(*id)?.is_empty() =>
        {
            Ok(())
        }
        Change::SidecarForgotten(id, recording)
            if tx.copies(*recording)?.iter().any(|copy| copy.sidecar == Some(*id)) =>
        {
            Ok(())
        }
        Change::Changed(id, sighting) => tx.note_changed(*id, sighting, now),
        Change::Finished(id) => tx.settle(*id, now),
        Change::Forgotten(id) => forget_found(tx, *id, now).map(drop),
        Change::IsSidecar { was, recording, sighting } => match forget_found(tx, *was, now)? {
            true => add_sidecar(tx, store, *recording, sighting, now),
            false => Ok(()),
        },
        Change::Released(id, sighting) => {
            let entry = AuditEntry::new(now, Actor::DAEMON, Activity::RecordingReleased)
                .on_recording(*id)
                .because("file-changed");
            tx.advance(*id, RecordingEvent::Released, &entry)?;
            tx.note_changed(*id, sighting, now)
        }
        Change::SidecarChanged(id, sighting) => tx.note_sidecar_changed(*id, sighting, now),
        Change::SidecarForgotten(id, _) => tx.forget_sidecar(*id),
    }
}

fn add_sidecar(
    tx: &CatalogTx<'_>,
    store: StoreId,
    recording: RecordingId,
    sighting: &Sighting,
    now: Timestamp,
) -> Result<(), CatalogError> {
    tx.add_sidecar(&NewSidecar { id: SidecarId::new(), recording, store, sighting, now })
}

/// Forgets a recording that never was sealed. If somebody wants it erased it is set aside instead,
/// and false returned: the eraser looks for itself, and certifies what it finds or does not find.
pub(super) fn forget_found(
    tx: &CatalogTx<'_>,
    id: RecordingId,
    now: Timestamp,
) -> Result<bool, CatalogError> {
    if tx.erasure_item(id)?.is_none() {
        return tx.forget_found(id).map(|()| true);
    }
    let entry = AuditEntry::new(now, Actor::DAEMON, Activity::RecordingQuarantined)
        .on_recording(id)
        .because(GONE);
    tx.quarantine(id, GONE, &entry).map(|()| false)
}

/// What it means that a file is not there any more.
fn vanished(known: Known) -> Option<Change> {
    match (known.sidecar, known.state) {
        // Its row is needed until its recording is erased.
        (Some(_), RecordingState::Erasing) => None,
        (Some(KnownSidecar { id, state: SidecarState::Found }), _) => {
            Some(Change::SidecarForgotten(id, known.recording))
        }
        (Some(_), _) => None,
        (None, RecordingState::Found | RecordingState::Settled) => {
            Some(Change::Forgotten(known.recording))
        }
        (None, _) => None,
    }
}

/// True once a recording is taken: a sidecar of it can be taken too.
fn is_taken(state: RecordingState) -> bool {
    match state {
        RecordingState::Settled
        | RecordingState::Sealing
        | RecordingState::Sealed
        | RecordingState::Stored => true,
        RecordingState::Found
        | RecordingState::Quarantined
        | RecordingState::Erasing
        | RecordingState::Erased => false,
    }
}

/// When a recording was first seen: its id says so.
fn first_seen(id: RecordingId) -> Option<Timestamp> {
    let (seconds, nanos) = id.0.get_timestamp()?.to_unix();
    let millis = i64::try_from(seconds).ok()? * 1_000 + i64::from(nanos) / 1_000_000;
    Some(Timestamp::from_millis(millis))
}

/// Why a recording that somebody wants erased is set aside before it is sealed.
const GONE: &str = "gone-before-sealed";
/// When a sidecar is looked at again if nothing rings before.
const AFTER_ITS_RECORDING: Duration = Duration::from_secs(1);
/// Differences per commit: enough to spread the cost of its sync, little to lose.
const CHANGES_PER_COMMIT: usize = 1_000;
