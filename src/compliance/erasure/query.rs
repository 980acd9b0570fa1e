//! The query that chooses recordings, and the value that finds a person's.
//!
//! ```text
//! store:/var/spool/asterisk/monitor before:2026-01-01 -from:"+49 30 1234567"
//! │                                 │                 └ must not be so
//! └ has to be so                    └ and this, too
//! ```
//!
//! Terms `key:value`, separated by blanks; all must hold. [`KEYS`] are the keys. Values with
//! blanks stand in double quotes. The language is explained in `src/manual/erasure.md`.
//!
//! # Invariants
//!
//! - What is not known of a recording fits no term, and neither its opposite: an erasure never
//!   takes what it only failed to rule out.
//! - A slip of the pen never chooses everything: a word without a key, an empty query and a query
//!   of exclusions alone are errors.
//! - Values may be personal. Neither errors nor `Debug` show one.

mod glob;
mod person;
mod read;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::clock::Timestamp;
use crate::compliance::retention::MediaKind;
use crate::domain::StoreId;

pub use person::{NameFacts, PersonValue};
pub use read::{KEYS, QueryError, QueryProblem};

use glob::Glob;

/// A query. Made by [`Query::parse`] alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Query {
    terms: Vec<Term>,
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    ///
    /// [`QueryError`] with the place of the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        read::terms(text).map(|terms| Self { terms })
    }

    /// True if every term is known to hold.
    pub fn matches(&self, facts: &QueryFacts<'_>) -> bool {
        self.terms.iter().all(|term| term.test.holds(facts) == Some(!term.is_excluded))
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Query({} terms)", self.terms.len())
    }
}

/// What a query asks of a recording; `None` is what is not known.
#[derive(Clone, Copy)]
pub struct QueryFacts<'a> {
    /// The store it was found in.
    pub store: StoreId,
    /// The path of that store.
    pub store_path: Option<&'a [u8]>,
    /// When it was recorded, as far as known: the last write of its recorder.
    pub recorded_at: Timestamp,
    /// Name of its original, without folders.
    pub name: &'a [u8],
    /// Who called, as the name says.
    pub from: Option<&'a str>,
    /// Who was called, as the name says.
    pub to: Option<&'a str>,
    /// Id of the call, as the name says.
    pub call: Option<&'a str>,
    /// Container, by its stable name.
    pub container: Option<&'a str>,
    /// Codec, by its stable name.
    pub codec: Option<&'a str>,
    /// Sound or pictures.
    pub kind: Option<MediaKind>,
    /// Its length in time.
    pub duration_ms: Option<u64>,
    /// Length of its original.
    pub size_bytes: u64,
    /// Its state: one of [`STATES`].
    pub state: &'a str,
    /// Why it waits for a person, if it does.
    pub quarantine: Option<&'a str>,
}

impl fmt::Debug for QueryFacts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryFacts").field("store", &self.store).finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, Eq)]
struct Term {
    is_excluded: bool,
    test: Test,
}

#[derive(Clone, PartialEq, Eq)]
enum Test {
    StoreId(StoreId),
    StorePath(Vec<u8>),
    Before(Timestamp),
    After(Timestamp),
    Name(Glob),
    From(PersonValue),
    To(PersonValue),
    Call(String),
    Container(String),
    Codec(String),
    Kind(MediaKind),
    LongerMs(u64),
    ShorterMs(u64),
    LargerBytes(u64),
    SmallerBytes(u64),
    State(&'static str),
    Quarantined(bool),
    QuarantinedFor(String),
}

impl Test {
    /// `None` if that cannot be known.
    fn holds(&self, facts: &QueryFacts<'_>) -> Option<bool> {
        match self {
            Self::StoreId(id) => Some(*id == facts.store),
            Self::StorePath(path) => facts.store_path.map(|store| without_slash(store) == path),
            Self::Before(moment) => Some(facts.recorded_at < *moment),
            Self::After(moment) => Some(facts.recorded_at >= *moment),
            Self::Name(glob) => Some(glob.matches(facts.name)),
            Self::From(person) => facts.from.map(|from| person.is(from)),
            Self::To(person) => facts.to.map(|to| person.is(to)),
            Self::Call(call) => facts.call.map(|known| known == call),
            Self::Container(name) => facts.container.map(|known| known == name),
            Self::Codec(name) => facts.codec.map(|known| known == name),
            Self::Kind(kind) => facts.kind.map(|known| known == *kind),
            Self::LongerMs(ms) => facts.duration_ms.map(|known| known > *ms),
            Self::ShorterMs(ms) => facts.duration_ms.map(|known| known < *ms),
            Self::LargerBytes(bytes) => Some(facts.size_bytes > *bytes),
            Self::SmallerBytes(bytes) => Some(facts.size_bytes < *bytes),
            Self::State(state) => Some(facts.state == *state),
            Self::Quarantined(wanted) => Some(facts.quarantine.is_some() == *wanted),
            Self::QuarantinedFor(code) => Some(facts.quarantine == Some(code)),
        }
    }
}

/// A store's path as it is compared.
fn without_slash(path: &[u8]) -> &[u8] {
    match path {
        [] | [b'/'] => path,
        [rest @ .., b'/'] => without_slash(rest),
        path => path,
    }
}

/// The states as `state:` takes them, and as facts name them.
pub const STATES: [&str; 5] =
    ["available", "planned_for_deletion", "deleted", "quarantined", "waiting"];
