//! Search: what a query means, without saying how it is answered.
//!
//! ```text
//! one line  ─▶ SearchForm ─▶ SearchQuery ─┬─▶ the catalog answers it with its indexes
//! a form    ─┘              (validated)   └─▶ meaning::search answers it by looking: the same
//! ```
//!
//! | Part | Several of them |
//! |---|---|
//! | terms that must occur, anywhere or in one field | all of them |
//! | terms that must not | none of them |
//! | tags | any of them |
//! | metadata, participants | all of them |
//! | dates | from, and up to but without |
//!
//! Text is compared without case and marks, word by word, several words as a phrase. An email
//! address is compared as a whole. Scripts without spaces between words are searched for as they
//! stand. No character is an operator: [`Term::quoted`] says how a term is written for the
//! full-text index, and there is no other way to get one there.

pub mod highlight;
mod line;
pub mod meaning;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use crate::clock::Timestamp;
use crate::domain::ConversationId;
use crate::domain::conversation::Personal;

use super::person::{Identifier, IdentifierKind, NumberPlan};

/// A text that can be searched in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TextField {
    /// Email address of a participant, as a whole.
    Email,
    /// Subject of an email.
    Subject,
    /// Body of an email.
    Body,
    /// Name of a chat room.
    Room,
    /// Message of a chat.
    Message,
    /// Comment on a tag.
    Comment,
}

impl TextField {
    /// All of them, as people name them in a line.
    pub const ALL: [Self; 6] =
        [Self::Email, Self::Subject, Self::Body, Self::Room, Self::Message, Self::Comment];

    /// Its name, stored and typed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Subject => "subject",
            Self::Body => "body",
            Self::Room => "room",
            Self::Message => "message",
            Self::Comment => "comment",
        }
    }

    /// The field of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.as_str() == name)
    }

    /// How much a hit in it counts for the score: what is short and chosen counts more.
    pub fn weight(self) -> f64 {
        match self {
            Self::Email => 10.0,
            Self::Subject => 5.0,
            Self::Room | Self::Comment => 3.0,
            Self::Body | Self::Message => 1.0,
        }
    }
}

/// Must it occur, or must it not?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sense {
    /// It must.
    #[default]
    Include,
    /// It must not.
    Exclude,
}

/// A query as somebody filled it in. [`SearchForm::validate`] makes the only form that is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchForm {
    /// Words and phrases, in one field or in any.
    pub terms: Vec<(Sense, Option<TextField>, String)>,
    /// Keys with the value they must have, or must not.
    pub metadata: Vec<(Sense, String, String)>,
    /// Began at this moment or later.
    pub from: Option<Timestamp>,
    /// Began before this moment.
    pub to: Option<Timestamp>,
    /// Names of tags.
    pub tags: Vec<String>,
    /// Numbers, addresses or names.
    pub participants: Vec<String>,
}

impl SearchForm {
    /// Reads one line.
    ///
    /// ```text
    /// word  "a phrase"  -word  subject:word  -body:"a phrase"  email:ann@example.org
    /// tag:VIP  tag:"GDPR 6(1)(a) Consent"  participant:+12025550143  meta.SKILL:claims
    /// from:2026-01-01  to:2026-01-31          the last day included; or moments as RFC 3339
    /// ```
    ///
    /// A quote inside quotes is doubled. What begins like a field and is none has to be quoted.
    ///
    /// # Errors
    ///
    /// [`SearchError`], with the place in the line and never with what was typed.
    pub fn from_line(text: &str) -> Result<Self, SearchError> {
        line::parse(text)
    }

    /// Checks everything.
    ///
    /// # Errors
    ///
    /// [`SearchError`].
    pub fn validate(self, plan: &NumberPlan) -> Result<SearchQuery, SearchError> {
        let counts = [
            (self.terms.len(), TERMS_MAX, "terms"),
            (self.metadata.len(), METADATA_MAX, "metadata values"),
            (self.tags.len(), TAGS_MAX, "tags"),
            (self.participants.len(), PARTICIPANTS_MAX, "participants"),
        ];
        if let Some((_, max, what)) = counts.into_iter().find(|(count, max, _)| count > max) {
            return Err(SearchError::TooMany { what, max });
        }
        if let (Some(from), Some(to)) = (self.from, self.to)
            && to <= from
        {
            return Err(SearchError::EmptyPeriod);
        }
        let terms = self.terms.into_iter();
        let terms = terms.map(|(sense, field, text)| Term::new(sense, field, &text));
        let metadata = self.metadata.into_iter().map(|(sense, key, value)| {
            check_text(&key)?;
            check_text(&value)?;
            Ok(MetadataTerm { sense, key, value: value.into() })
        });
        let tags = self.tags.into_iter().map(|name| check_text(&name).map(|()| name));
        let participants = self.participants.into_iter().map(|text| {
            check_text(&text)?;
            let identifiers = Identifier::readings(&text, plan);
            Ok(ParticipantTerm { text: text.trim().into(), identifiers })
        });
        Ok(SearchQuery {
            terms: terms.collect::<Result<_, _>>()?,
            metadata: metadata.collect::<Result<_, _>>()?,
            tags: tags.collect::<Result<_, _>>()?,
            participants: participants.collect::<Result<_, _>>()?,
            from: self.from,
            to: self.to,
        })
    }
}

/// A query that can be answered. One without anything in it finds every conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchQuery {
    terms: Vec<Term>,
    metadata: Vec<MetadataTerm>,
    tags: Vec<String>,
    participants: Vec<ParticipantTerm>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

impl SearchQuery {
    /// Words and phrases.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Those that must occur: the ones that are scored, counted and highlighted.
    pub fn included(&self) -> impl Iterator<Item = &Term> {
        self.terms.iter().filter(|term| term.sense == Sense::Include)
    }

    /// Values of metadata.
    pub fn metadata(&self) -> &[MetadataTerm] {
        &self.metadata
    }

    /// Names of tags, compared without case and marks; any of them is enough.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// Participants, all of whom took part.
    pub fn participants(&self) -> &[ParticipantTerm] {
        &self.participants
    }

    /// Began at this moment or later. What began nobody knows when is in no period.
    pub fn from(&self) -> Option<Timestamp> {
        self.from
    }

    /// Began before this moment.
    pub fn to(&self) -> Option<Timestamp> {
        self.to
    }

    /// In which order hits come.
    pub fn order(&self) -> Order {
        if self.included().next().is_some() { Order::ByScore } else { Order::NewestFirst }
    }
}

/// A word or a phrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    sense: Sense,
    field: Option<TextField>,
    text: Personal,
}

impl Term {
    fn new(sense: Sense, field: Option<TextField>, text: &str) -> Result<Self, SearchError> {
        let text = text.trim();
        check_text(text)?;
        let term = Self { sense, field, text: text.into() };
        if field == Some(TextField::Email) && term.address().is_none() {
            return Err(SearchError::NotAnAddress);
        }
        let has_words = text.chars().any(char::is_alphanumeric);
        if has_words { Ok(term) } else { Err(SearchError::NothingToSearch { at: None }) }
    }

    /// Must it occur, or must it not?
    pub fn sense(&self) -> Sense {
        self.sense
    }

    /// The one field it is searched for in; `None` for all.
    pub fn field(&self) -> Option<TextField> {
        self.field
    }

    /// As it was typed.
    pub fn text(&self) -> &Personal {
        &self.text
    }

    /// True if it is searched for in `field`. In addresses only a whole address is.
    pub fn is_for(&self, field: TextField) -> bool {
        let is_meant = self.field.is_none_or(|only| only == field);
        is_meant && (field != TextField::Email || self.address().is_some())
    }

    /// The address to compare whole, in its one form, if it is one.
    pub fn address(&self) -> Option<Identifier> {
        let text = self.text.expose_personal();
        if text.contains(char::is_whitespace) {
            return None;
        }
        Identifier::new(IdentifierKind::Email, text, &NumberPlan::default())
    }

    /// How texts other than addresses are searched for it.
    pub fn lookup(&self) -> Lookup {
        let text = self.text.expose_personal();
        match text.chars().any(has_no_spaces) {
            false => Lookup::Words,
            true if text.chars().count() >= TRIGRAM_CHARS => Lookup::Trigrams,
            true => Lookup::Characters,
        }
    }

    /// The term as a string of the full-text index's language: between double quotes, a double
    /// quote doubled. Inside, nothing is an operator; several words are a phrase.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.text.expose_personal().replace('"', "\"\""))
    }
}

/// How a term is looked up in texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lookup {
    /// Words, by the index of words.
    Words,
    /// As it stands, by the index of three characters in a row.
    Trigrams,
    /// As it stands, and too short for an index: the texts themselves are read.
    Characters,
}

/// A key and the value it must have, or must not: in some segment, exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataTerm {
    /// Must it, or must it not?
    pub sense: Sense,
    /// Key.
    pub key: String,
    /// Value.
    pub value: Personal,
}

/// Somebody who must have taken part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipantTerm {
    /// As typed: words of a name, or an IP address.
    pub text: Personal,
    /// Everything it can mean; any of it is enough.
    pub identifiers: Vec<Identifier>,
}

/// In which order hits come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// The best match first.
    ByScore,
    /// The newest first, where there is nothing to score.
    NewestFirst,
}

/// One conversation that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Which.
    pub conversation: ConversationId,
    /// How well it matches; more is better. Zero where nothing is scored.
    pub score: f64,
    /// When it began.
    pub started_at: Option<Timestamp>,
}

/// The order of hits, the first to be shown is less: better score, then newer, then by id, so that
/// no two are equal and a page can begin behind any of them.
pub fn order(one: &Hit, other: &Hit) -> Ordering {
    let by_score = other.score.total_cmp(&one.score);
    let by_age = other.started_at.cmp(&one.started_at);
    by_score.then(by_age).then(one.conversation.cmp(&other.conversation))
}

/// A query that cannot be answered. Says where, never what was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// The line is too long.
    #[error("the query is longer than {LINE_BYTES_MAX} bytes")]
    LineTooLong,
    /// A word, key, tag or participant is.
    #[error("a part of the query is longer than {TEXT_BYTES_MAX} bytes")]
    TextTooLong,
    /// Characters nobody can type.
    #[error("the query has control characters")]
    ControlCharacter,
    /// More than are looked for at once.
    #[error("a query has at most {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        max: usize,
    },
    /// The period ends before it begins.
    #[error("the period ends before it begins")]
    EmptyPeriod,
    /// Addresses are compared as a whole.
    #[error("an email address is searched for as a whole")]
    NotAnAddress,
    /// A term without a letter or a digit.
    #[error("there is nothing to search for in a part of the query{}", place(*at))]
    NothingToSearch {
        /// Where in the line, in characters from 1.
        at: Option<usize>,
    },
    /// No such field.
    #[error("character {at}: there is no such field; put it in quotes if it is text")]
    UnknownField {
        /// Where in the line, in characters from 1.
        at: usize,
    },
    /// A quote without its partner.
    #[error("character {at}: a quote is not closed")]
    UnclosedQuote {
        /// Where in the line, in characters from 1.
        at: usize,
    },
    /// Neither a day nor a moment.
    #[error("character {at}: not a date such as 2026-01-31")]
    NotADate {
        /// Where in the line, in characters from 1.
        at: usize,
    },
    /// Tags, participants and dates cannot be excluded.
    #[error("character {at}: this cannot be excluded")]
    NotExcludable {
        /// Where in the line, in characters from 1.
        at: usize,
    },
}

fn place(at: Option<usize>) -> String {
    at.map_or_else(String::new, |at| format!(", at character {at}"))
}

fn check_text(text: &str) -> Result<(), SearchError> {
    if text.trim().is_empty() {
        return Err(SearchError::NothingToSearch { at: None });
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(SearchError::TextTooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(SearchError::ControlCharacter);
    }
    Ok(())
}

/// Scripts in which words are not set apart, and Hangul, whose words carry their endings.
fn has_no_spaces(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}' // Thai, Lao
        | '\u{1000}'..='\u{109f}' // Myanmar
        | '\u{1100}'..='\u{11ff}' // Hangul letters
        | '\u{1780}'..='\u{17ff}' // Khmer
        | '\u{3040}'..='\u{30ff}' // Hiragana, Katakana
        | '\u{31f0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}' // Han
        | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}' // Hangul
        | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ff9d}'
        | '\u{20000}'..='\u{3ffff}')
}

/// Longest line.
pub const LINE_BYTES_MAX: usize = 4_000;
/// Longest word, phrase, key, value, tag or participant.
pub const TEXT_BYTES_MAX: usize = 400;
const TERMS_MAX: usize = 32;
const METADATA_MAX: usize = 16;
const TAGS_MAX: usize = 50;
const PARTICIPANTS_MAX: usize = 16;
const TRIGRAM_CHARS: usize = 3;
