//! Conversations that come in: what is accepted, which ones are the same, and what a second import
//! may change.
//!
//! ```text
//! ConversationInput ─▶ check ─▶ known by its id, or by its correlation? ─▶ merge ─▶ stored
//! ```
//!
//! A second import brings facts up to date and takes nothing back that was done meanwhile: ids
//! stay, what became of recordings stays, values that data tags wrote stay, and what was
//! anonymized is anonymized again before it is stored.

mod check;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::domain::conversation::{
    ConversationInput, MessageInput, Personal, SegmentInput, StoredConversation, StoredMessage,
    StoredParticipant, StoredSegment,
};
use crate::domain::{ConversationId, MessageId, ParticipantId, SegmentId};

use super::anonymize;
use super::field::{FieldConfig, MetadataKeys};

pub use check::{FAULTS_MAX, InputFault, check};

/// What tells that two conversations are one: the values of all correlation keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Correlation(Vec<(String, Personal)>);

impl Correlation {
    /// Of an input; `None` if there are no such keys, or it lacks one of them, or its segments do
    /// not agree: then only its id tells which conversation it is.
    pub fn of(input: &ConversationInput, keys: &MetadataKeys) -> Option<Self> {
        let value_of = |wanted: &String| {
            let all = input.segments.iter().flat_map(|segment| &segment.metadata);
            let mut values = all.filter(|(key, _)| key == wanted).map(|(_, value)| value);
            let first = values.next().filter(|value| !value.is_empty())?;
            values.all(|other| other == first).then(|| (wanted.clone(), first.clone()))
        };
        let pairs: Option<Vec<_>> = keys.correlation.iter().map(value_of).collect();
        pairs.filter(|pairs| !pairs.is_empty()).map(Self)
    }

    /// Keys and values, by key. Values are personal data.
    pub fn pairs(&self) -> &[(String, Personal)] {
        &self.0
    }
}

/// What a second import must not undo.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// All that was ever taken away from this conversation; `None` if it never was anonymized.
    pub anonymized_by: Option<FieldConfig>,
    /// Keys that data tags of the conversation write.
    pub tagged_keys: BTreeSet<String>,
}

/// What is stored after `input` came in, `stored` being what was there. `ids` makes new ids.
///
/// Segments are the same if their ids are; messages, by their number; participants, by their role
/// and the how manieth of it they are. Segments that `input` does not name stay: it may come from
/// another recorder of the same conversation. Recordings are linked by whoever found them, so the
/// list of a segment is taken over as it is.
pub fn merge(
    stored: Option<&StoredConversation>,
    input: &ConversationInput,
    kept: &Kept,
    keys: &MetadataKeys,
    mut ids: impl FnMut() -> Uuid,
) -> StoredConversation {
    let empty = StoredConversation {
        id: ConversationId(Uuid::nil()),
        external_id: input.external_id.clone(),
        started_at: None,
        participants: Vec::new(),
        segments: Vec::new(),
    };
    let known = stored.unwrap_or(&empty);
    let mut merged = StoredConversation {
        id: stored.map_or_else(|| ConversationId(ids()), |stored| stored.id),
        external_id: known.external_id.clone(),
        started_at: earliest(known.started_at, input.started_at),
        participants: participants(known, input, &mut ids),
        segments: known.segments.clone(),
    };
    for segment in &input.segments {
        let same = |one: &StoredSegment| one.external_id == segment.external_id;
        match merged.segments.iter().position(same) {
            Some(place) => {
                let old = merged.segments[place].clone();
                merged.segments[place] = segment_of(Some(&old), segment, kept, &mut ids);
            }
            None => merged.segments.push(segment_of(None, segment, kept, &mut ids)),
        }
    }
    match &kept.anonymized_by {
        Some(config) => anonymize::again(&merged, config, keys),
        None => merged,
    }
}

fn participants(
    known: &StoredConversation,
    input: &ConversationInput,
    ids: &mut impl FnMut() -> Uuid,
) -> Vec<StoredParticipant> {
    let mut left: Vec<_> = known.participants.iter().collect();
    let mut merged: Vec<_> = Vec::new();
    for one in &input.participants {
        let old = left.iter().position(|old| old.role == one.role).map(|place| left.remove(place));
        let or = |new: &Option<Personal>, old: Option<&Option<Personal>>| {
            new.clone().or_else(|| old.cloned().flatten())
        };
        merged.push(StoredParticipant {
            id: old.map_or_else(|| ParticipantId(ids()), |old| old.id),
            role: one.role.clone(),
            name: or(&one.name, old.map(|old| &old.name)),
            phone: or(&one.phone, old.map(|old| &old.phone)),
            email: or(&one.email, old.map(|old| &old.email)),
            ip: or(&one.ip, old.map(|old| &old.ip)),
            chat_address: or(&one.chat_address, old.map(|old| &old.chat_address)),
        });
    }
    merged.extend(left.into_iter().cloned());
    merged
}

fn segment_of(
    old: Option<&StoredSegment>,
    new: &SegmentInput,
    kept: &Kept,
    ids: &mut impl FnMut() -> Uuid,
) -> StoredSegment {
    let mut metadata = new.metadata.clone();
    for (key, value) in old.into_iter().flat_map(|old| &old.metadata) {
        match metadata.iter_mut().find(|(known, _)| known == key) {
            Some(pair) if kept.tagged_keys.contains(key) => pair.1 = value.clone(),
            Some(_) => {}
            None => metadata.push((key.clone(), value.clone())),
        }
    }
    let old_messages = old.map_or(&[][..], |old| &old.messages[..]);
    let mut messages: Vec<_> = Vec::new();
    for (place, message) in new.messages.iter().enumerate() {
        let id = old_messages.get(place).map_or_else(|| MessageId(ids()), |old| old.id);
        let MessageInput { at, from, text } = message.clone();
        messages.push(StoredMessage { id, at, from, text });
    }
    messages.extend(old_messages.iter().skip(new.messages.len()).cloned());
    let or = |new: &Option<Personal>, old: Option<&Option<Personal>>| {
        new.clone().or_else(|| old.cloned().flatten())
    };
    StoredSegment {
        id: old.map_or_else(|| SegmentId(ids()), |old| old.id),
        external_id: new.external_id.clone(),
        kind: new.kind,
        started_at: new.started_at.or(old.and_then(|old| old.started_at)),
        ended_at: new.ended_at.or(old.and_then(|old| old.ended_at)),
        subject: or(&new.subject, old.map(|old| &old.subject)),
        body: or(&new.body, old.map(|old| &old.body)),
        room: or(&new.room, old.map(|old| &old.room)),
        messages,
        metadata,
        recordings: old.map_or_else(Vec::new, |old| old.recordings.clone()),
    }
}

fn earliest<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    one.into_iter().chain(other).min()
}
