//! From the text of a query to its terms.

use std::fmt;
use std::iter::Peekable;
use std::str::CharIndices;

use crate::clock::Timestamp;
use crate::compliance::retention::MediaKind;

use super::glob::Glob;
use super::{PersonValue, STATES, Term, Test, without_slash};

/// A query that was not understood. Never shows a value: it may be a telephone number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryError {
    /// The term, from 1; 0 if it is about the whole query.
    pub term: usize,
    /// Where that begins, in characters from 1; 0 if it is about the whole query.
    pub position: usize,
    /// What is wrong.
    pub problem: QueryProblem,
}

/// What is wrong with a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryProblem {
    /// There is nothing in it.
    Empty,
    /// It is too long.
    TooLong,
    /// It says only what must not be so.
    OnlyExclusions,
    /// A word without a key.
    BareWord,
    /// A key that there is not.
    UnknownKey,
    /// A key without a value.
    NoValue {
        /// Which.
        key: &'static str,
    },
    /// A quote that is not closed.
    OpenQuote {
        /// In the value of which key.
        key: &'static str,
    },
    /// A value that the key does not take.
    BadValue {
        /// Which key.
        key: &'static str,
        /// What it takes.
        wanted: &'static str,
    },
}

impl QueryError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self.problem {
            QueryProblem::Empty | QueryProblem::UnknownKey => {
                let keys: Vec<_> =
                    KEYS.iter().map(|(key, wanted)| format!("{key}:{wanted}")).collect();
                format!("take {}", keys.join(" "))
            }
            QueryProblem::TooLong => {
                format!("at most {QUERY_BYTES_MAX} bytes and {TERMS_MAX} terms: ask twice")
            }
            QueryProblem::OnlyExclusions => {
                "say first what is meant, as store:PATH or before:DATE, then what is not".to_owned()
            }
            QueryProblem::BareWord => {
                "say what the word is: name:*WORD* from:NUMBER to:NUMBER call:ID".to_owned()
            }
            QueryProblem::NoValue { key } => {
                let wanted = KEYS.iter().find(|(known, _)| *known == key);
                format!("write {key}:{}", wanted.map_or("VALUE", |(_, wanted)| *wanted))
            }
            QueryProblem::OpenQuote { key } => {
                format!("close it, as {key}:\"two words\"; \\\" is a quote inside")
            }
            QueryProblem::BadValue { key, wanted } => format!("write {key}:{wanted}"),
        }
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.term > 0 {
            write!(f, "term {} (character {}): ", self.term, self.position)?;
        }
        match self.problem {
            QueryProblem::Empty => f.write_str("an empty query chooses nothing"),
            QueryProblem::TooLong => f.write_str("the query is too long"),
            QueryProblem::OnlyExclusions => {
                f.write_str("a query of exclusions alone chooses nothing")
            }
            QueryProblem::BareWord => f.write_str("a word without a key"),
            QueryProblem::UnknownKey => f.write_str("there is no such key"),
            QueryProblem::NoValue { key } => write!(f, "`{key}:` has no value"),
            QueryProblem::OpenQuote { key } => write!(f, "the quote behind `{key}:` is open"),
            QueryProblem::BadValue { key, wanted: _ } => {
                write!(f, "`{key}:` does not take this value")
            }
        }
    }
}

impl std::error::Error for QueryError {}

/// Every key, with what it takes.
pub const KEYS: [(&str, &str); 16] = [
    ("store", "PATH|ID"),
    ("before", DATE),
    ("after", DATE),
    ("name", "GLOB"),
    ("from", "NUMBER"),
    ("to", "NUMBER"),
    ("call", "ID"),
    ("container", "NAME"),
    ("codec", "NAME"),
    ("kind", "audio|video"),
    ("longer", DURATION),
    ("shorter", DURATION),
    ("larger", SIZE),
    ("smaller", SIZE),
    ("state", STATE),
    ("quarantined", "yes|no|REASON"),
];

/// Reads every term.
pub(super) fn terms(text: &str) -> Result<Vec<Term>, QueryError> {
    let whole = |problem| QueryError { term: 0, position: 0, problem };
    if text.len() > QUERY_BYTES_MAX {
        return Err(whole(QueryProblem::TooLong));
    }
    let (mut terms, mut rest) = (Vec::new(), text.char_indices().peekable());
    loop {
        while rest.next_if(|(_, c)| c.is_whitespace()).is_some() {}
        let Some((start, _)) = rest.peek().copied() else { break };
        if terms.len() == TERMS_MAX {
            return Err(whole(QueryProblem::TooLong));
        }
        terms.push(term(text, start, &mut rest).map_err(|problem| QueryError {
            term: terms.len() + 1,
            position: text[..start].chars().count() + 1,
            problem,
        })?);
    }
    if terms.is_empty() {
        return Err(whole(QueryProblem::Empty));
    }
    if terms.iter().all(|term| term.is_excluded) {
        return Err(whole(QueryProblem::OnlyExclusions));
    }
    Ok(terms)
}

/// Reads the term that begins at `start`, up to the blank behind it.
fn term(
    text: &str,
    start: usize,
    rest: &mut Peekable<CharIndices<'_>>,
) -> Result<Term, QueryProblem> {
    let is_excluded = rest.next_if(|(_, c)| *c == '-').is_some();
    let from = start + usize::from(is_excluded);
    let typed = text[from..].find(|c: char| c == ':' || c.is_whitespace());
    let Some(key_len) = typed.filter(|at| text[from + at..].starts_with(':')) else {
        return Err(QueryProblem::BareWord);
    };
    let typed = &text[from..from + key_len];
    let known = KEYS.iter().find(|(key, _)| *key == typed);
    let (key, wanted) = *known.ok_or(QueryProblem::UnknownKey)?;
    while rest.next_if(|(at, _)| *at <= from + key_len).is_some() {}
    let value = value(rest).ok_or(QueryProblem::OpenQuote { key })?;
    if value.is_empty() {
        return Err(QueryProblem::NoValue { key });
    }
    let test = test(key, &value).ok_or(QueryProblem::BadValue { key, wanted })?;
    Ok(Term { is_excluded, test })
}

/// Up to the next blank outside quotes; `None` if a quote stays open.
fn value(rest: &mut Peekable<CharIndices<'_>>) -> Option<String> {
    let (mut value, mut is_quoted) = (String::new(), false);
    while let Some((_, c)) = rest.next_if(|(_, c)| is_quoted || !c.is_whitespace()) {
        match c {
            '"' => is_quoted = !is_quoted,
            '\\' if is_quoted => match rest.next() {
                Some((_, c @ ('"' | '\\'))) => value.push(c),
                Some((_, c)) => value.extend(['\\', c]),
                None => return None,
            },
            c => value.push(c),
        }
    }
    (!is_quoted).then_some(value)
}

/// What `key:value` asks; `None` if the key does not take that.
fn test(key: &str, value: &str) -> Option<Test> {
    Some(match key {
        "store" => match value.parse() {
            Ok(id) => Test::StoreId(id),
            Err(_) if value.starts_with('/') => {
                Test::StorePath(without_slash(value.as_bytes()).to_vec())
            }
            Err(_) => return None,
        },
        "before" => Test::Before(Timestamp::parse(value)?),
        "after" => Test::After(Timestamp::parse(value)?),
        "name" if value.contains('/') => return None,
        "name" => Test::Name(Glob::new(value)),
        "from" => Test::From(PersonValue::parse(value)?),
        "to" => Test::To(PersonValue::parse(value)?),
        "call" => Test::Call(value.to_owned()),
        "container" => Test::Container(stable_name(value)?),
        "codec" => Test::Codec(stable_name(value)?),
        "kind" => Test::Kind(MediaKind::from_name(value)?),
        "longer" => Test::LongerMs(milliseconds(value)?),
        "shorter" => Test::ShorterMs(milliseconds(value)?),
        "larger" => Test::LargerBytes(bytes(value)?),
        "smaller" => Test::SmallerBytes(bytes(value)?),
        "state" => {
            let word = value.to_ascii_lowercase().replace('-', "_");
            Test::State(STATES.into_iter().find(|state| *state == word)?)
        }
        "quarantined" => match value {
            "yes" => Test::Quarantined(true),
            "no" => Test::Quarantined(false),
            reason => Test::QuarantinedFor(stable_name(reason)?),
        },
        _ => return None,
    })
}

/// A name of this program: no capitals, no blanks.
fn stable_name(value: &str) -> Option<String> {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.".contains(c);
    value.chars().all(is_letter).then(|| value.to_owned())
}

fn milliseconds(value: &str) -> Option<u64> {
    u64::try_from(humantime::parse_duration(value).ok()?.as_millis()).ok()
}

/// Bytes, or as 20MB (a million of them each) or 20MiB.
fn bytes(value: &str) -> Option<u64> {
    let unit_at = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at(unit_at);
    let factor = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

const DATE: &str = "2026-01-31|2026-01-31T10:00:00Z";
const DURATION: &str = "90s|5m|\"1h 30m\"";
const SIZE: &str = "1000|20MB|20MiB";
const STATE: &str = "available|planned_for_deletion|deleted|quarantined|waiting";
const QUERY_BYTES_MAX: usize = 4_096;
const TERMS_MAX: usize = 64;
