//! Which cells of a conversation go, and where each of them is.

use std::collections::HashMap;

use crate::compliance::person::value::{ValueKind, holds_number, recognise};
use crate::domain::conversation::{Personal, StoredConversation, StoredParticipant, StoredSegment};

use super::{
    BasicField, Cell, FieldConfig, MetadataKeys, ParticipantField, Placeholder, SegmentText,
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
    let called = Called::new(conversation);
    for segment in &conversation.segments {
        for message in &segment.messages {
            let fields = called.fields_of(&message.from);
            if let Some(placeholder) = of_person(&message.from, fields, config) {
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

/// Shows every value of `conversation` that is a cell to `visit`.
pub(super) fn each(
    conversation: &mut StoredConversation,
    mut visit: impl FnMut(Cell, &mut Personal),
) {
    for participant in &mut conversation.participants {
        for (field, value) in [
            (ParticipantField::Name, &mut participant.name),
            (ParticipantField::Phone, &mut participant.phone),
            (ParticipantField::Email, &mut participant.email),
            (ParticipantField::Ip, &mut participant.ip),
            (ParticipantField::ChatAddress, &mut participant.chat_address),
        ] {
            let cell = Cell::Participant(participant.id, field);
            value.iter_mut().for_each(|value| visit(cell.clone(), value));
        }
    }
    for segment in &mut conversation.segments {
        for (text, value) in [
            (SegmentText::Subject, &mut segment.subject),
            (SegmentText::Body, &mut segment.body),
            (SegmentText::Room, &mut segment.room),
        ] {
            let cell = Cell::Text(segment.id, text);
            value.iter_mut().for_each(|value| visit(cell.clone(), value));
        }
        for message in &mut segment.messages {
            visit(Cell::Sender(message.id), &mut message.from);
            visit(Cell::Message(message.id), &mut message.text);
        }
        for (key, value) in &mut segment.metadata {
            visit(Cell::Metadata(segment.id, key.clone()), value);
        }
    }
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

/// What the participants of a conversation are called, in lower case, and in which fields.
struct Called(HashMap<String, Vec<ParticipantField>>);

impl Called {
    fn new(conversation: &StoredConversation) -> Self {
        let mut called: HashMap<String, Vec<ParticipantField>> = HashMap::new();
        for participant in &conversation.participants {
            // Some chat systems call people by their roles, `agent` say: nobody's address.
            called.entry(lower(&participant.role)).or_default().push(ParticipantField::Name);
            for field in ParticipantField::ALL {
                let Some(value) = field_of(participant, field) else { continue };
                called.entry(lower(value.expose_personal())).or_default().push(field);
            }
        }
        Self(called)
    }

    /// The fields that the sender of a message would stand in: those of participants who are
    /// called so; else a name, if nobody could be reached under it; else a chat address.
    fn fields_of(&self, sender: &Personal) -> &[ParticipantField] {
        let sender = lower(sender.expose_personal());
        match self.0.get(&sender) {
            Some(fields) => fields,
            None if sender.contains(char::is_whitespace) => &[ParticipantField::Name],
            None => &[ParticipantField::ChatAddress],
        }
    }
}

fn lower(text: &str) -> String {
    text.trim().to_lowercase()
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
