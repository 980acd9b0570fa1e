//! Which recordings a selection means, and what an erasure would do to them.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::access::{self, Grant};
use crate::catalog::{ErasureCandidate, MediaState, ReadTx};
use crate::clock::Timestamp;
use crate::compliance::erasure::plan::{self, Candidate, Plan};
use crate::compliance::erasure::query::{self, PersonValue, Query, QueryFacts};
use crate::compliance::retention::RetentionRule;
use crate::domain::{Recording, StorePath};
use crate::flow::holds::kind_of;
use crate::flow::{Engine, FlowError};
use crate::intake::naming::NameFacts;

use super::Selection;

impl Engine {
    /// What erasing `selection` would do, without doing it.
    ///
    /// # Errors
    ///
    /// [`FlowError::Invalid`] for a selection that cannot be understood, [`FlowError::NotFound`]
    /// for an id that is none, [`FlowError::Catalog`].
    pub fn plan_erasure(
        &self,
        _grant: &Grant<access::OrderErasures>,
        selection: &Selection,
        now: Timestamp,
    ) -> Result<Plan, FlowError> {
        self.plan_of(selection, now)
    }

    pub(in crate::flow) fn plan_of(
        &self,
        selection: &Selection,
        now: Timestamp,
    ) -> Result<Plan, FlowError> {
        self.catalog.read(|tx| {
            let rules = tx.retention_rules()?;
            let chosen = self.choose(tx, selection, &rules, now)?;
            let candidates = chosen.into_iter().map(|one| self.candidate(tx, one, &rules));
            Ok(plan::plan(candidates.collect::<Result<_, FlowError>>()?, now))
        })
    }

    fn candidate(
        &self,
        tx: &ReadTx<'_>,
        one: ErasureCandidate,
        rules: &[RetentionRule],
    ) -> Result<Candidate, FlowError> {
        let protections = self.protections_of(tx, &one.recording, rules)?;
        let bytes = match one.sealed_bytes {
            0 => one.recording.fingerprint.size_bytes,
            sealed => sealed,
        };
        Ok(Candidate {
            recording: one.recording.id,
            state: one.recording.state,
            bytes,
            owed: one.owed,
            protections,
        })
    }

    fn choose(
        &self,
        tx: &ReadTx<'_>,
        selection: &Selection,
        rules: &[RetentionRule],
        now: Timestamp,
    ) -> Result<Vec<ErasureCandidate>, FlowError> {
        let mut chosen = match selection {
            Selection::Recordings(ids) => {
                let (mut all, mut waiting) = (Vec::new(), ids.clone());
                while let Some(id) = waiting.pop() {
                    all.push(tx.erasure_candidate(id)?.ok_or(FlowError::NotFound(id))?);
                    waiting.extend(tx.redacted_from(id)?);
                }
                all
            }
            Selection::Conversations(ids) => {
                let mut all = Vec::new();
                for id in ids {
                    all.extend(tx.candidates_of_conversation(*id)?);
                }
                all
            }
            Selection::Files(paths) => {
                let mut all = Vec::new();
                for path in paths {
                    all.extend(self.recorded_at(tx, path)?);
                }
                all
            }
            Selection::Person(value) => {
                let person = PersonValue::parse(value).ok_or_else(|| {
                    not_understood("a number, an address, a name or an id is expected")
                })?;
                self.matching(tx, |recording| {
                    let named = self.name_facts(recording);
                    named.is_some_and(|named| person.matches(&people_of(&named)))
                })?
            }
            Selection::Query(text) => {
                let query = Query::parse(text).map_err(not_understood)?;
                self.matching(tx, |recording| self.answers(&query, recording))?
            }
            Selection::Due => self.matching(tx, |recording| {
                self.retention_of(recording, rules).erase_at.is_some_and(|at| at <= now)
            })?,
        };
        chosen.sort_by_key(|one| one.recording.id);
        chosen.dedup_by_key(|one| one.recording.id);
        Ok(chosen)
    }

    /// Every recording that is neither owed nor erased and that `is_meant`. Walks all of them.
    fn matching(
        &self,
        tx: &ReadTx<'_>,
        is_meant: impl Fn(&Recording) -> bool,
    ) -> Result<Vec<ErasureCandidate>, FlowError> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = tx.candidates(after, PAGE)?;
            let Some(last) = page.last() else { return Ok(found) };
            after = Some(last.recording.id);
            found.extend(page.into_iter().filter(|one| is_meant(&one.recording)));
        }
    }

    /// The recordings whose original lay at `path`, absolute, in one of the stores.
    fn recorded_at(
        &self,
        tx: &ReadTx<'_>,
        path: &Path,
    ) -> Result<Vec<ErasureCandidate>, FlowError> {
        for slot in &self.stores {
            let (Some(id), root) = (slot.id(), &slot.spec().path) else { continue };
            let real = root.canonicalize().unwrap_or_else(|_| root.clone());
            let inside = path.strip_prefix(root).or_else(|_| path.strip_prefix(&real));
            let Ok(inside) = inside else { continue };
            let Some(inside) = StorePath::new(inside.as_os_str().as_bytes()) else { continue };
            return Ok(tx.candidates_at(id, &inside)?);
        }
        Err(FlowError::NoSuchStore)
    }

    /// What the name of a recording says, by the habits of its recorder.
    fn name_facts(&self, recording: &Recording) -> Option<NameFacts> {
        self.slot_of(recording.store)?.spec().profile.name_facts(&recording.path)
    }

    fn answers(&self, query: &Query, recording: &Recording) -> bool {
        let names = self.name_facts(recording);
        let names = names.as_ref();
        let slot = self.slot_of(recording.store);
        let media = recording.media.as_ref();
        query.matches(&QueryFacts {
            store: recording.store,
            store_path: slot.map(|slot| slot.spec().path.as_os_str().as_bytes()),
            recorded_at: Timestamp::from_nanos(recording.fingerprint.modified_ns.into()),
            name: recording.path.expose_name(),
            from: names.and_then(NameFacts::expose_from),
            to: names.and_then(NameFacts::expose_to),
            call: names.and_then(NameFacts::expose_call),
            container: media.map(|media| media.container.as_str()),
            codec: media.and_then(|media| media.codec.as_deref()),
            kind: media.and_then(kind_of),
            duration_ms: media.and_then(|media| media.duration_ms),
            size_bytes: recording.fingerprint.size_bytes,
            state: MediaState::of(recording.state, recording.planned_for_deletion).as_str(),
            quarantine: recording.quarantine.as_deref(),
        })
    }
}

/// Whoever a name may speak of.
fn people_of(named: &NameFacts) -> query::NameFacts<'_> {
    query::NameFacts { from: named.expose_from(), to: named.expose_to(), room: named.expose_room() }
}

fn not_understood(error: impl std::fmt::Display) -> FlowError {
    FlowError::Invalid { what: "this selection", why: error.to_string() }
}

const PAGE: usize = 1_000;
