//! Which cells of a conversation go, and where each of them is.

use crate::compliance::person::value::{ValueKind, holds_number, recognise};
use crate::domain::conversation::{
    Personal, StoredConversation, StoredMessage, StoredParticipant, StoredSegment,
};

use super::{
    BasicField, Cell, FieldConfig, MessageId, MetadataKeys, ParticipantField, Placeholder,
    SegmentText,
};

/// Every cell that `config` takes and that does not hold its placeholder yet.
pub(super) fn chosen(
    conversation: &StoredConversation,
    config: &FieldConfig,
    keys: &MetadataKeys,
) -> Vec<(Cell, Placeholder)> {
    let mut cells = Vec::new();
    for participant in &conversation.participants {
        for field in ParticipantField::ALL {
            let Some(value) = field_of(participant, field) else { continue };
            if let Some(placeholder) = of_person(value, &[field], config) {
                cells.push((Cell::Participant(participant.id, field), placeholder));
            }
        }
    }
    for segment in &conversation.segments {
        for message in &segment.messages {
            let fields = fields_of_sender(message, conversation);
            if let Some(placeholder) = of_person(&message.from, &fields, config) {
                cells.push((Cell::Sender(message.id), placeholder));
            }
        }
        if config.takes(BasicField::Texts) {
            cells.extend(texts(segment).into_iter().map(|cell| (cell, Placeholder::Content)));
        }
        for (key, value) in &segment.metadata {
            let is_chosen = config.takes_key(key) && !keys.is_correlation(key);
            if is_chosen && is_left(value, |text| Placeholder::Metadata.stands_in(text)) {
                cells.push((Cell::Metadata(segment.id, key.clone()), Placeholder::Metadata));
            }
        }
    }
    cells
}

/// Where `cell` is.
pub(super) fn value_mut<'c>(
    conversation: &'c mut StoredConversation,
    cell: &Cell,
) -> Option<&'c mut Personal> {
    match cell {
        Cell::Participant(id, field) => {
            let found = conversation.participants.iter_mut().find(|one| one.id == *id)?;
            match field {
                ParticipantField::Name => found.name.as_mut(),
                ParticipantField::Phone => found.phone.as_mut(),
                ParticipantField::Email => found.email.as_mut(),
                ParticipantField::Ip => found.ip.as_mut(),
                ParticipantField::ChatAddress => found.chat_address.as_mut(),
            }
        }
        Cell::Sender(id) => message_mut(conversation, *id).map(|one| &mut one.from),
        Cell::Message(id) => message_mut(conversation, *id).map(|one| &mut one.text),
        Cell::Text(id, text) => {
            let found = conversation.segments.iter_mut().find(|one| one.id == *id)?;
            match text {
                SegmentText::Subject => found.subject.as_mut(),
                SegmentText::Body => found.body.as_mut(),
                SegmentText::Room => found.room.as_mut(),
            }
        }
        Cell::Metadata(id, key) => {
            let found = conversation.segments.iter_mut().find(|one| one.id == *id)?;
            found.metadata.iter_mut().find(|(known, _)| known == key).map(|(_, value)| value)
        }
    }
}

fn message_mut(conversation: &mut StoredConversation, id: MessageId) -> Option<&mut StoredMessage> {
    let segments = conversation.segments.iter_mut();
    segments.flat_map(|segment| &mut segment.messages).find(|message| message.id == id)
}

/// What `value` becomes, standing in `fields`, if one of them or its own type is chosen.
fn of_person(
    value: &Personal,
    fields: &[ParticipantField],
    config: &FieldConfig,
) -> Option<Placeholder> {
    let is_done = |text: &Personal| {
        let mut all = Placeholder::ALL.into_iter().filter(|one| one.is_for_participants());
        all.any(|one| one.stands_in(text))
    };
    if !is_left(value, is_done) {
        return None;
    }
    let text = value.expose_personal();
    let is_name = fields.contains(&ParticipantField::Name);
    let by_value = match recognise(text) {
        ValueKind::Phone => Some(Placeholder::Phone),
        ValueKind::Email | ValueKind::Chat => Some(Placeholder::Address),
        ValueKind::Ipv4 => Some(Placeholder::Ipv4),
        ValueKind::Ipv6 => Some(Placeholder::Ipv6),
        ValueKind::Plain if is_name && holds_number(text) => Some(Placeholder::Phone),
        ValueKind::Plain => None,
    };
    let by_field = fields.iter().filter_map(|field| match field {
        ParticipantField::Name => None,
        ParticipantField::Phone => Some(Placeholder::Phone),
        ParticipantField::Email | ParticipantField::ChatAddress => Some(Placeholder::Address),
        ParticipantField::Ip => Some(Placeholder::Ipv4),
    });
    let taken = by_value.into_iter().chain(by_field).find(|one| is_taken(*one, config))?;
    Some(by_value.unwrap_or(taken))
}

fn is_taken(placeholder: Placeholder, config: &FieldConfig) -> bool {
    match placeholder {
        Placeholder::Phone => config.takes(BasicField::Phone),
        Placeholder::Address | Placeholder::Ipv4 | Placeholder::Ipv6 => {
            config.takes(BasicField::Address)
        }
        Placeholder::Content | Placeholder::Metadata => false,
    }
}

/// The fields that the sender of `message` would stand in: those of participants who are called
/// so; else a name, if nobody could be reached under it; else a chat address.
fn fields_of_sender(
    message: &StoredMessage,
    conversation: &StoredConversation,
) -> Vec<ParticipantField> {
    let from = message.from.expose_personal().trim().to_lowercase();
    let mut fields = Vec::new();
    for participant in &conversation.participants {
        if participant.role.to_lowercase() == from {
            fields.push(ParticipantField::Name);
        }
        fields.extend(ParticipantField::ALL.into_iter().filter(|field| {
            field_of(participant, *field)
                .is_some_and(|known| known.expose_personal().trim().to_lowercase() == from)
        }));
    }
    if fields.is_empty() {
        fields.push(match from.contains(char::is_whitespace) {
            true => ParticipantField::Name,
            false => ParticipantField::ChatAddress,
        });
    }
    fields
}

fn field_of(participant: &StoredParticipant, field: ParticipantField) -> Option<&Personal> {
    match field {
        ParticipantField::Name => participant.name.as_ref(),
        ParticipantField::Phone => participant.phone.as_ref(),
        ParticipantField::Email => participant.email.as_ref(),
        ParticipantField::Ip => participant.ip.as_ref(),
        ParticipantField::ChatAddress => participant.chat_address.as_ref(),
    }
}

fn texts(segment: &StoredSegment) -> Vec<Cell> {
    let single = SegmentText::ALL.into_iter().filter_map(|which| {
        let value = match which {
            SegmentText::Subject => &segment.subject,
            SegmentText::Body => &segment.body,
            SegmentText::Room => &segment.room,
        };
        Some((Cell::Text(segment.id, which), value.as_ref()?))
    });
    let messages =
        segment.messages.iter().map(|message| (Cell::Message(message.id), &message.text));
    let is_done = |text: &Personal| Placeholder::Content.stands_in(text);
    let left = single.chain(messages).filter(|(_, text)| is_left(text, is_done));
    left.map(|(cell, _)| cell).collect()
}

/// True if there is something in `value` that is not done yet.
fn is_left(value: &Personal, is_done: impl Fn(&Personal) -> bool) -> bool {
    !value.expose_personal().trim().is_empty() && !is_done(value)
}
