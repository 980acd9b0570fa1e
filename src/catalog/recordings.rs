//! Asking for recordings: one, a page of them, the ones that are due, how many there are.

use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;

use super::CatalogError;
use super::ReadTx;
use super::values::attributes_of;
use super::values::evidence_of;
use super::values::fingerprint_of;
use super::values::media_of;
use super::values::path_of;
use super::values::unsigned;
use crate::clock::Timestamp;
use crate::domain::Recording;
use crate::domain::RecordingId;
use crate::domain::StoreId;
use crate::domain::lifecycle::RecordingState;

/// What people are shown of a recording's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaState {
    /// Not sealed yet.
    Waiting,
    /// Sealed, and can be opened.
    Available,
    /// Marked for erasure, or being erased.
    PlannedForDeletion,
    /// Erased.
    Deleted,
    /// Waits for a person.
    Quarantined,
}

impl MediaState {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Waiting,
        Self::Available,
        Self::PlannedForDeletion,
        Self::Deleted,
        Self::Quarantined,
    ];

    /// What is shown for `state`, marked for erasure or not.
    pub fn of(state: RecordingState, is_planned: bool) -> Self {
        match state {
            RecordingState::Erased => Self::Deleted,
            RecordingState::Erasing => Self::PlannedForDeletion,
            _ if is_planned => Self::PlannedForDeletion,
            RecordingState::Found | RecordingState::Settled | RecordingState::Sealing => {
                Self::Waiting
            }
            RecordingState::Sealed | RecordingState::Stored => Self::Available,
            RecordingState::Quarantined => Self::Quarantined,
        }
    }

    /// The states shown as this, each marked for erasure or not.
    pub fn states(self) -> impl Iterator<Item = (RecordingState, bool)> {
        let all = RecordingState::ALL.into_iter().flat_map(|state| [(state, false), (state, true)]);
        all.filter(move |(state, is_planned)| Self::of(*state, *is_planned) == self)
    }

    /// The name in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Available => "available",
            Self::PlannedForDeletion => "planned_for_deletion",
            Self::Deleted => "deleted",
            Self::Quarantined => "quarantined",
        }
    }

    /// The state of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// Which recordings to list; what is `None` does not matter.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordingFilter {
    /// Shown as this.
    pub state: Option<MediaState>,
    /// Found in this store.
    pub store: Option<StoreId>,
}

/// A number of recordings and what they hold together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub recordings: u64,
    /// Bytes of their originals.
    pub bytes: u64,
}

/// How many recordings are in which state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts([[Tally; 2]; RecordingState::ALL.len()]);

impl Tally {
    fn plus(self, other: Self) -> Self {
        Self { recordings: self.recordings + other.recordings, bytes: self.bytes + other.bytes }
    }
}

impl Counts {
    /// In one state.
    pub fn in_state(&self, state: RecordingState) -> Tally {
        let [free, planned] = self.0[index(state)];
        free.plus(planned)
    }

    /// In all states shown as `shown`.
    pub fn shown_as(&self, shown: MediaState) -> Tally {
        let of = |(state, is_planned): (RecordingState, bool)| {
            self.0[index(state)][usize::from(is_planned)]
        };
        shown.states().map(of).fold(Tally::default(), Tally::plus)
    }
}

impl ReadTx<'_> {
    /// One recording.
    pub fn recording(&self, id: RecordingId) -> Result<Option<Recording>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_RECORDING)?;
        Ok(statement.query_row([id], recording_of).optional()?)
    }

    /// At most `limit` recordings behind `after`, in the order of their ids, oldest first.
    ///
    /// Costs a few index steps per result, whatever the filter: each pair of store and state is
    /// walked in its own order and the walks are merged.
    pub fn recordings(
        &self,
        filter: &RecordingFilter,
        after: Option<RecordingId>,
        limit: usize,
    ) -> Result<Vec<Recording>, CatalogError> {
        let states: Vec<_> = match filter.state {
            Some(shown) => shown.states().collect(),
            None => MediaState::ALL.into_iter().flat_map(MediaState::states).collect(),
        };
        self.page(&states, filter.store, after, limit)
    }

    /// At most `limit` recordings behind `after` that a crash or a failure left half-way: a key
    /// was recorded and the original is still there. What a start looks at first.
    pub fn interrupted(
        &self,
        after: Option<RecordingId>,
        limit: usize,
    ) -> Result<Vec<Recording>, CatalogError> {
        let states = [RecordingState::Sealing, RecordingState::Sealed];
        let states = states.map(|state| [(state, false), (state, true)]);
        self.page(states.as_flattened(), None, after, limit)
    }

    /// Settled recordings whose time has come, those that became due last first: new calls go
    /// before an old archive. Stops at `limit`, and before more than `bytes_max` come together
    /// unless the first one alone has more.
    pub fn due_for_sealing(
        &self,
        now: Timestamp,
        limit: usize,
        bytes_max: u64,
    ) -> Result<Vec<Recording>, CatalogError> {
        let mut bytes = 0_u64;
        let mut due = self.due(RecordingState::Settled, now, limit)?;
        let fitting = due.iter().take_while(|recording| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(recording.fingerprint.size_bytes);
            is_first || bytes <= bytes_max
        });
        due.truncate(fitting.count());
        Ok(due)
    }

    /// Sealed recordings whose original can be removed now, those that became due last first.
    pub fn due_for_removal(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Recording>, CatalogError> {
        self.due(RecordingState::Sealed, now, limit)
    }

    /// How many recordings are in which state. Constant cost: triggers count as it happens.
    pub fn counts(&self) -> Result<Counts, CatalogError> {
        self.tally(SELECT_COUNTS, [])
    }

    /// The same for one store.
    pub fn counts_of(&self, store: StoreId) -> Result<Counts, CatalogError> {
        self.tally(SELECT_COUNTS_OF_STORE, [store])
    }

    fn tally(&self, sql: &str, params: impl rusqlite::Params) -> Result<Counts, CatalogError> {
        let mut counts = Counts([[Tally::default(); 2]; RecordingState::ALL.len()]);
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        while let Some(row) = rows.next()? {
            let is_planned: bool = row.get("planned")?;
            counts.0[index(row.get("state")?)][usize::from(is_planned)] =
                Tally { recordings: unsigned(row, "recordings")?, bytes: unsigned(row, "bytes")? };
        }
        Ok(counts)
    }

    fn due(
        &self,
        state: RecordingState,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Recording>, CatalogError> {
        let sql = match state {
            RecordingState::Sealed => SELECT_DUE_FOR_REMOVAL,
            _ => SELECT_DUE_FOR_SEALING,
        };
        let mut statement = self.conn.prepare_cached(sql)?;
        let rows = statement.query_map(params![now, rows_max(limit)], recording_of)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn page(
        &self,
        states: &[(RecordingState, bool)],
        store: Option<StoreId>,
        after: Option<RecordingId>,
        limit: usize,
    ) -> Result<Vec<Recording>, CatalogError> {
        let stores = match store {
            Some(store) => vec![store],
            None => self.stores()?.into_iter().map(|store| store.id).collect(),
        };
        let after = after.as_ref().map_or([].as_slice(), |id| id.0.as_bytes());
        let mut ids: Vec<RecordingId> = Vec::new();
        let mut free = self.conn.prepare_cached(SELECT_IDS)?;
        let mut planned = self.conn.prepare_cached(SELECT_IDS_PLANNED)?;
        for store in &stores {
            for (state, is_planned) in states {
                let walked = params![store, state, after, rows_max(limit)];
                let walk = if *is_planned { &mut planned } else { &mut free };
                for id in walk.query_map(walked, |row| row.get(0))? {
                    ids.push(id?);
                }
            }
        }
        ids.sort_unstable();
        ids.truncate(limit);
        let mut statement = self.conn.prepare_cached(SELECT_RECORDING)?;
        let recordings = ids.into_iter().map(|id| statement.query_row([id], recording_of));
        Ok(recordings.collect::<Result<_, _>>()?)
    }
}

pub(super) fn recording_of(row: &Row<'_>) -> rusqlite::Result<Recording> {
    Ok(Recording {
        id: row.get("id")?,
        conversation: row.get("conversation")?,
        store: row.get("store")?,
        state: row.get("state")?,
        quarantine: row.get("quarantine")?,
        planned_for_deletion: row.get("planned")?,
        path: path_of(row)?,
        fingerprint: fingerprint_of(row)?,
        attributes: attributes_of(row)?,
        media: media_of(row)?,
        found_at: row.get("found_at")?,
        sealed_at: row.get("sealed_at")?,
        original: evidence_of(row)?,
        redacted_from: row.get("redacted_from")?,
    })
}

fn index(state: RecordingState) -> usize {
    RecordingState::ALL.iter().position(|known| *known == state).expect("ALL lists every state")
}

/// A page is never larger than this, whatever was asked for.
pub(super) fn rows_max(limit: usize) -> i64 {
    i64::try_from(limit.min(PAGE_ROWS_MAX)).expect("the cap is small")
}

const PAGE_ROWS_MAX: usize = 10_000;

const SELECT_RECORDING: &str = "SELECT * FROM recording WHERE id = ?1";
const SELECT_IDS: &str = "
    SELECT id FROM recording INDEXED BY recording_listed
    WHERE store = ?1 AND state = ?2 AND planned = 0 AND id > ?3 ORDER BY id LIMIT ?4";
const SELECT_IDS_PLANNED: &str = "
    SELECT id FROM recording INDEXED BY recording_planned
    WHERE store = ?1 AND state = ?2 AND planned = 1 AND id > ?3 ORDER BY id LIMIT ?4";
const SELECT_DUE_FOR_SEALING: &str = "
    SELECT * FROM recording WHERE state = 'settled' AND due_at <= ?1
    ORDER BY due_at DESC, id DESC LIMIT ?2";
const SELECT_DUE_FOR_REMOVAL: &str = "
    SELECT * FROM recording WHERE state = 'sealed' AND due_at <= ?1
    ORDER BY due_at DESC, id DESC LIMIT ?2";
const SELECT_COUNTS: &str = "
    SELECT state, planned, sum(recordings) AS recordings, sum(bytes) AS bytes FROM tally
    GROUP BY state, planned";
const SELECT_COUNTS_OF_STORE: &str =
    "SELECT state, planned, recordings, bytes FROM tally WHERE store = ?1";

#[cfg(test)]
mod tests {
    use crate::catalog::Catalog;
    use crate::catalog::CatalogError;

    /// Planted fault: one due index for both states; SQLite does not see that it covers each of
    /// them and sorts a million rows instead.
    #[test]
    fn an_index_answers_what_is_asked_again_and_again() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
        for sql in [
            super::SELECT_RECORDING,
            super::SELECT_IDS,
            super::SELECT_IDS_PLANNED,
            super::SELECT_DUE_FOR_SEALING,
            super::SELECT_DUE_FOR_REMOVAL,
        ] {
            let plan: Result<Vec<String>, CatalogError> = catalog.read(|tx| {
                let mut explained = tx.conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
                for at in 1..=explained.parameter_count() {
                    explained.raw_bind_parameter(at, 1)?;
                }
                let mut rows = explained.raw_query();
                let mut plan = Vec::new();
                while let Some(row) = rows.next()? {
                    plan.push(row.get("detail")?);
                }
                Ok(plan)
            });
            let plan = plan.unwrap().join("; ");
            assert!(plan.starts_with("SEARCH") && !plan.contains("B-TREE"), "{sql}: {plan}");
        }
    }
}
