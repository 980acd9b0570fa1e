//! A query typed as one line.

use std::iter::Peekable;
use std::str::Chars;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::clock::Timestamp;

use super::{LINE_BYTES_MAX, SearchError, SearchForm, Sense, TextField};

/// Reads `text`; the grammar is at [`SearchForm::from_line`].
pub(super) fn parse(text: &str) -> Result<SearchForm, SearchError> {
    if text.len() > LINE_BYTES_MAX {
        return Err(SearchError::LineTooLong);
    }
    let mut form = SearchForm::default();
    let mut reader = Reader { chars: text.chars().peekable(), at: 1 };
    while let Some(piece) = reader.piece()? {
        add(&mut form, piece)?;
    }
    Ok(form)
}

/// `-prefix:value`, taken apart.
struct Piece {
    /// Where it begins, in characters from 1.
    at: usize,
    sense: Sense,
    prefix: Option<String>,
    value: String,
}

fn add(form: &mut SearchForm, piece: Piece) -> Result<(), SearchError> {
    let Piece { at, sense, prefix, value } = piece;
    if value.trim().is_empty() {
        return Err(SearchError::NothingToSearch { at: Some(at) });
    }
    let Some(prefix) = prefix else {
        form.terms.push((sense, None, value));
        return Ok(());
    };
    if let Some(field) = TextField::from_name(&prefix) {
        form.terms.push((sense, Some(field), value));
        return Ok(());
    }
    if let Some(key) = prefix.strip_prefix("meta.").filter(|key| !key.is_empty()) {
        form.metadata.push((sense, key.to_owned(), value));
        return Ok(());
    }
    let include_only = || match sense {
        Sense::Include => Ok(()),
        Sense::Exclude => Err(SearchError::NotExcludable { at }),
    };
    match prefix.as_str() {
        "tag" => include_only().map(|()| form.tags.push(value)),
        "participant" => include_only().map(|()| form.participants.push(value)),
        "from" => {
            include_only()?;
            form.from = Some(moment(&value, false).ok_or(SearchError::NotADate { at })?);
            Ok(())
        }
        "to" => {
            include_only()?;
            form.to = Some(moment(&value, true).ok_or(SearchError::NotADate { at })?);
            Ok(())
        }
        _ => Err(SearchError::UnknownField { at }),
    }
}

/// A day in UTC or a moment. With `is_end` a day ends with its last instant.
fn moment(text: &str, is_end: bool) -> Option<Timestamp> {
    let moment = match text.parse::<jiff::Timestamp>() {
        Ok(moment) => moment,
        Err(_) => {
            let day: Date = text.parse().ok()?;
            let day = if is_end { day.tomorrow().ok()? } else { day };
            TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok()?
        }
    };
    Some(Timestamp::from_millis(moment.as_millisecond()))
}

struct Reader<'t> {
    chars: Peekable<Chars<'t>>,
    /// Place of the next character.
    at: usize,
}

impl Reader<'_> {
    fn piece(&mut self) -> Result<Option<Piece>, SearchError> {
        while self.chars.peek().is_some_and(|c| c.is_whitespace()) {
            self.next();
        }
        let at = self.at;
        let Some(first) = self.chars.peek().copied() else { return Ok(None) };
        let sense = match first {
            '-' => {
                self.next();
                Sense::Exclude
            }
            _ => Sense::Include,
        };
        if self.chars.peek() == Some(&'"') {
            let value = self.quoted()?;
            return Ok(Some(Piece { at, sense, prefix: None, value }));
        }
        let mut word = String::new();
        while let Some(c) = self.chars.peek().copied() {
            match c {
                _ if c.is_whitespace() => break,
                ':' if is_prefix(&word) => {
                    self.next();
                    let prefix = Some(word);
                    let value = match self.chars.peek() {
                        Some('"') => self.quoted()?,
                        Some(_) | None => self.word(),
                    };
                    return Ok(Some(Piece { at, sense, prefix, value }));
                }
                c => {
                    word.push(c);
                    self.next();
                }
            }
        }
        Ok(Some(Piece { at, sense, prefix: None, value: word }))
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(c) = self.chars.peek().copied().filter(|c| !c.is_whitespace()) {
            word.push(c);
            self.next();
        }
        word
    }

    /// What stands between quotes; the next character is the first of them.
    fn quoted(&mut self) -> Result<String, SearchError> {
        let at = self.at;
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                None => return Err(SearchError::UnclosedQuote { at }),
                Some('"') if self.chars.peek() == Some(&'"') => {
                    self.next();
                    text.push('"');
                }
                Some('"') => return Ok(text),
                Some(c) => text.push(c),
            }
        }
    }

    fn next(&mut self) -> Option<char> {
        self.at += 1;
        self.chars.next()
    }
}

/// What a field could be called. `12:30` and `C:` of a path are text; so is a key's own colon.
fn is_prefix(word: &str) -> bool {
    let is_meta = word.strip_prefix("meta.").is_some_and(|key| !key.is_empty());
    is_meta || word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_lowercase())
}
