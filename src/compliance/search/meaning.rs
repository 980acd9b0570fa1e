//! What a query finds, by looking at one conversation after another: slow, and right by
//! construction. The catalog's answer is held against this one.

use crate::compliance::fold::fold;
use crate::compliance::person::{Identifier, IdentifierKind, NumberPlan, identifiers_of};
use crate::domain::conversation::{Personal, StoredConversation, StoredParticipant};

use super::highlight::{Excerpt, RADIUS_CHARS, excerpt, occurrences, words};
use super::{MetadataTerm, ParticipantTerm, SearchQuery, Sense, Term, TextField};

/// A conversation with what is searched beside it.
#[derive(Clone, Copy, Debug)]
pub struct Searched<'a> {
    /// The conversation.
    pub conversation: &'a StoredConversation,
    /// Names of its tags, with their comments.
    pub tags: &'a [(String, Option<Personal>)],
}

/// What was found in one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// How often the terms that must occur do.
    pub hits: u64,
    /// The first of them: field by field in the order of [`TextField::ALL`], and in each the first
    /// segment that has one. `None` where there is no such term.
    pub first: Option<(TextField, Excerpt)>,
}

/// Asks `query` of one conversation; `None` if it is not found.
pub fn search(query: &SearchQuery, searched: Searched<'_>, plan: &NumberPlan) -> Option<Found> {
    let conversation = searched.conversation;
    let is_inside = match conversation.started_at {
        None => query.from.is_none() && query.to.is_none(),
        Some(at) => query.from.is_none_or(|from| from <= at) && query.to.is_none_or(|to| at < to),
    };
    let is_found = is_inside
        && has_tag(query, searched)
        && query.metadata.iter().all(|term| has_value(conversation, term))
        && query.participants.iter().all(|term| has_participant(conversation, term, plan))
        && query.terms.iter().all(|term| {
            let occurs = hits(searched, term).next().is_some();
            occurs == (term.sense == Sense::Include)
        });
    if !is_found {
        return None;
    }
    let mut all: Vec<_> = query.included().flat_map(|term| hits(searched, term)).collect();
    let count = all.len() as u64;
    all.sort_by_key(|(place, _, range)| (*place, range.start));
    let first = all.into_iter().next();
    let first = first.map(|((field, _), text, range)| (field, excerpt(text, range, RADIUS_CHARS)));
    Some(Found { hits: count, first })
}

type Place = (TextField, usize);

/// Every occurrence of `term`, with the field and the number of the text in it.
fn hits<'a>(
    searched: Searched<'a>,
    term: &'a Term,
) -> impl Iterator<Item = (Place, &'a str, std::ops::Range<usize>)> {
    let fields = TextField::ALL.into_iter().filter(|field| term.is_for(*field));
    fields.flat_map(move |field| {
        texts(searched, field).into_iter().enumerate().flat_map(move |(number, text)| {
            let found = match field {
                TextField::Email => whole_address(text, term),
                TextField::Subject
                | TextField::Body
                | TextField::Room
                | TextField::Message
                | TextField::Comment => occurrences(text, term),
            };
            found.into_iter().map(move |range| ((field, number), text, range))
        })
    })
}

fn whole_address(text: &str, term: &Term) -> Vec<std::ops::Range<usize>> {
    let known = Identifier::new(IdentifierKind::Email, text, &NumberPlan::default());
    let is_it = known.is_some() && known == term.address();
    if is_it { std::iter::once(0..text.len()).collect() } else { Vec::new() }
}

fn texts(searched: Searched<'_>, field: TextField) -> Vec<&str> {
    let conversation = searched.conversation;
    let segments = conversation.segments.iter();
    let values: Vec<&Personal> = match field {
        TextField::Email => {
            conversation.participants.iter().filter_map(|one| one.email.as_ref()).collect()
        }
        TextField::Subject => segments.filter_map(|one| one.subject.as_ref()).collect(),
        TextField::Body => segments.filter_map(|one| one.body.as_ref()).collect(),
        TextField::Room => segments.filter_map(|one| one.room.as_ref()).collect(),
        TextField::Message => {
            segments.flat_map(|one| &one.messages).map(|message| &message.text).collect()
        }
        TextField::Comment => {
            searched.tags.iter().filter_map(|(_, comment)| comment.as_ref()).collect()
        }
    };
    values.into_iter().map(Personal::expose_personal).collect()
}

fn has_tag(query: &SearchQuery, searched: Searched<'_>) -> bool {
    let is_asked = |(name, _): &(String, Option<Personal>)| {
        query.tags.iter().any(|asked| fold(asked.trim()) == fold(name))
    };
    query.tags.is_empty() || searched.tags.iter().any(is_asked)
}

fn has_value(conversation: &StoredConversation, term: &MetadataTerm) -> bool {
    let has = conversation.segments.iter().any(|one| one.value(&term.key) == Some(&term.value));
    has == (term.sense == Sense::Include)
}

fn has_participant(
    conversation: &StoredConversation,
    term: &ParticipantTerm,
    plan: &NumberPlan,
) -> bool {
    let asked = term.text.expose_personal();
    let is_it = |one: &StoredParticipant| {
        let by_ip = one.ip.as_ref().is_some_and(|ip| ip.expose_personal().trim() == asked);
        by_ip
            || identifiers_of(one, plan).iter().any(|known| term.identifiers.contains(known))
            || one.name.as_ref().is_some_and(|name| holds_words(name.expose_personal(), asked))
    };
    conversation.participants.iter().any(is_it)
}

/// True if the words of `asked` stand in `name` one after the other.
fn holds_words(name: &str, asked: &str) -> bool {
    let folded =
        |text: &str| -> Vec<String> { words(text).map(|word| fold(&text[word])).collect() };
    let (name, asked) = (folded(name), folded(asked));
    !asked.is_empty() && name.windows(asked.len()).any(|window| window == asked)
}
