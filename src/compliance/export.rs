//! Export: which parts of a conversation leave the house, for whom, and what is left out and why.
//!
//! ```text
//! what the caller may see ─▶ parts ─┐
//! purpose: conversation │ subject ──┼─▶ export ─▶ Export { conversation, …, media, left_out }
//! holds, deleted media ─────────────┘
//! ```
//!
//! | Purpose | Media | Other people |
//! |---|---|---|
//! | one conversation, for an analyst | never | all are in it, hence [`WARNING`] |
//! | the package of a person | what can be played | left out, below |
//!
//! In a person's package everybody else's name and addresses are left out, and senders with them.
//! Texts and media are in it where the person spoke with staff alone. Where a third person took
//! part they are left out, but for messages that the person wrote: whose words the rest are cannot
//! be told. What a hold covers is left out until it is lifted. Nothing is left out in silence.

mod disclosure;
#[cfg(test)]
mod tests;

use crate::domain::conversation::{
    Personal, StoredConversation, StoredMessage, StoredParticipant, StoredSegment,
};
use crate::domain::{MessageId, ParticipantId, RecordingId, SegmentId};

pub use disclosure::{Disclosure, Recipient};

use super::consent::ConsentRecord;
use super::person::PersonHandle;

/// What a caller was permitted, each by a permission of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Conversations at all: without it there is nothing.
    pub conversations: bool,
    /// Names, numbers, addresses and metadata.
    pub persons: bool,
    /// What was written, and comments on tags.
    pub texts: bool,
    /// Consents and withdrawals.
    pub consents: bool,
    /// Media.
    pub media: bool,
}

/// A part of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Ids, times, kinds, roles, tags, what became of media.
    Facts,
    /// Names of participants, and senders of messages.
    Names,
    /// Numbers, email, IP and chat addresses of participants.
    Addresses,
    /// Keys and values.
    Metadata,
    /// Subjects, bodies, rooms, messages.
    Texts,
    /// Comments on tags.
    Comments,
    /// Consents and withdrawals.
    Consents,
    /// Media.
    Media,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Facts,
        Self::Names,
        Self::Addresses,
        Self::Metadata,
        Self::Texts,
        Self::Comments,
        Self::Consents,
        Self::Media,
    ];

    /// The name in an export's list of what was left out.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Facts => "facts",
            Self::Names => "names",
            Self::Addresses => "addresses",
            Self::Metadata => "metadata",
            Self::Texts => "texts",
            Self::Comments => "comments",
            Self::Consents => "consents",
            Self::Media => "media",
        }
    }

    /// True if a caller with `sight` may see it.
    pub fn is_visible(self, sight: Sight) -> bool {
        sight.conversations
            && match self {
                Self::Facts => true,
                Self::Names | Self::Addresses | Self::Metadata => sight.persons,
                Self::Texts | Self::Comments => sight.texts,
                Self::Consents => sight.consents,
                Self::Media => sight.media,
            }
    }
}

/// What is exported for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// One conversation, for whoever may see it. Never with media.
    Conversation,
    /// The package of a person, who took part as these participants and is known by these handles.
    Subject {
        /// In this conversation.
        participants: &'a [ParticipantId],
        /// Everywhere.
        handles: &'a [PersonHandle],
    },
}

/// What stands beside the conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// Names of its tags, with their comments.
    pub tags: Vec<(String, Option<Personal>)>,
    /// Consents of its participants.
    pub consents: Vec<ConsentRecord>,
    /// A hold covers all of it.
    pub is_held: bool,
    /// Holds cover these of its recordings.
    pub held_recordings: Vec<RecordingId>,
}

/// What leaves the house.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The conversation. What was left out is `None`, empty, or not in the list.
    pub conversation: StoredConversation,
    /// Names of its tags, with their comments.
    pub tags: Vec<(String, Option<Personal>)>,
    /// Consents.
    pub consents: Vec<ConsentRecord>,
    /// Recordings whose media goes along.
    pub media: Vec<RecordingId>,
    /// Everything that did not, and why.
    pub left_out: Vec<LeftOut>,
}

/// Something that was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// What.
    pub what: Omitted,
    /// Why.
    pub why: Why,
}

/// What was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Omitted {
    /// A part, everywhere in the conversation.
    Part(Part),
    /// Name and addresses of a participant.
    Participant(ParticipantId),
    /// Subject, body and room of a segment.
    Segment(SegmentId),
    /// What a message says.
    Message(MessageId),
    /// Media of a recording.
    Recording(RecordingId),
}

/// Why something was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// Whoever exports may not see it.
    NotPermitted,
    /// It is about somebody else, or cannot be told apart from what is.
    OtherPeople,
    /// A legal hold covers it.
    Held,
    /// Its media is deleted.
    Deleted,
}

impl Why {
    /// The code in an export.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotPermitted => "not_permitted",
            Self::OtherPeople => "other_people",
            Self::Held => "held",
            Self::Deleted => "deleted",
        }
    }

    /// What people read.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotPermitted => "Whoever made this export may not see it.",
            Self::OtherPeople => "It is about other people, whose rights it would touch.",
            Self::Held => "It is kept for legal proceedings and cannot be given out now.",
            Self::Deleted => "It was deleted.",
        }
    }
}

/// Makes the export of `conversation` for a caller with `sight`; `None` for a caller who may not
/// see conversations.
pub fn export(
    conversation: &StoredConversation,
    beside: &Beside,
    purpose: Purpose<'_>,
    sight: Sight,
) -> Option<Export> {
    if !Part::Facts.is_visible(sight) {
        return None;
    }
    let mut export = Export {
        conversation: conversation.clone(),
        tags: beside.tags.clone(),
        consents: beside.consents.clone(),
        media: Vec::new(),
        left_out: Vec::new(),
    };
    match purpose {
        Purpose::Conversation => {}
        Purpose::Subject { participants, handles } => {
            export.media_of(conversation, beside);
            let subject = Subject::new(conversation, participants);
            export.without_other_people(&subject);
            export.consents.retain(|record| record.is_of(handles));
            if beside.is_held {
                export.without_contents(Why::Held, |_| false);
            }
        }
    }
    export.without_unpermitted(sight);
    Some(export)
}

impl Export {
    fn media_of(&mut self, conversation: &StoredConversation, beside: &Beside) {
        for recording in conversation.segments.iter().flat_map(|segment| &segment.recordings) {
            let why = if !recording.media.is_playable() {
                Why::Deleted
            } else if beside.held_recordings.contains(&recording.id) {
                Why::Held
            } else {
                self.media.push(recording.id);
                continue;
            };
            self.left_out.push(LeftOut { what: Omitted::Recording(recording.id), why });
        }
    }

    fn without_other_people(&mut self, subject: &Subject) {
        for participant in &mut self.conversation.participants {
            if !subject.is(participant) && clear(participant) {
                let what = Omitted::Participant(participant.id);
                self.left_out.push(LeftOut { what, why: Why::OtherPeople });
            }
        }
        let messages =
            self.conversation.segments.iter_mut().flat_map(|segment| &mut segment.messages);
        let of_others = messages.filter(|message| !subject.wrote(message));
        of_others.for_each(|message| message.from = Personal::default());
        if subject.has_third_person {
            // Senders of others are gone by now, so what is left is the person's own.
            self.without_contents(Why::OtherPeople, |message| !message.from.is_empty());
        }
    }

    /// Leaves out texts and media, but for messages that `stays`.
    fn without_contents(&mut self, why: Why, stays: impl Fn(&StoredMessage) -> bool) {
        for segment in &mut self.conversation.segments {
            if clear_texts(segment) {
                self.left_out.push(LeftOut { what: Omitted::Segment(segment.id), why });
            }
            for message in segment.messages.iter_mut().filter(|message| !stays(message)) {
                if !message.text.is_empty() {
                    message.text = Personal::default();
                    self.left_out.push(LeftOut { what: Omitted::Message(message.id), why });
                }
            }
        }
        for recording in self.media.drain(..) {
            self.left_out.push(LeftOut { what: Omitted::Recording(recording), why });
        }
    }

    fn without_unpermitted(&mut self, sight: Sight) {
        for part in Part::ALL.into_iter().filter(|part| !part.is_visible(sight)) {
            if self.remove(part) {
                let what = Omitted::Part(part);
                self.left_out.push(LeftOut { what, why: Why::NotPermitted });
            }
        }
    }

    /// Removes `part`. False if there was nothing of it.
    fn remove(&mut self, part: Part) -> bool {
        let segments = &mut self.conversation.segments;
        let participants = &mut self.conversation.participants;
        match part {
            Part::Facts => false,
            Part::Names => {
                let names = participants.iter_mut().filter_map(|one| one.name.take()).count();
                let messages = segments.iter_mut().flat_map(|segment| &mut segment.messages);
                let senders = messages.map(|message| &mut message.from);
                let senders = senders.filter(|from| !from.is_empty());
                names + senders.map(|from| *from = Personal::default()).count() > 0
            }
            Part::Addresses => {
                let fields = participants.iter_mut().flat_map(|one| {
                    [&mut one.phone, &mut one.email, &mut one.ip, &mut one.chat_address]
                });
                fields.filter_map(Option::take).count() > 0
            }
            Part::Metadata => {
                let values = segments.iter_mut().flat_map(|segment| segment.metadata.drain(..));
                values.count() > 0
            }
            Part::Texts => {
                let texts = segments.iter_mut().filter_map(|one| clear_texts(one).then_some(()));
                let texts = texts.count();
                let messages = segments.iter_mut().flat_map(|segment| &mut segment.messages);
                let messages = messages.filter(|message| !message.text.is_empty());
                texts + messages.map(|message| message.text = Personal::default()).count() > 0
            }
            Part::Comments => {
                self.tags.iter_mut().filter_map(|(_, comment)| comment.take()).count() > 0
            }
            Part::Consents => self.consents.drain(..).count() > 0,
            Part::Media => self.media.drain(..).count() > 0,
        }
    }
}

/// The person a package is for, in one conversation.
struct Subject {
    participants: Vec<ParticipantId>,
    /// What they may be called as senders, in lower case.
    called: Vec<String>,
    /// Somebody else took part who is not staff.
    has_third_person: bool,
}

impl Subject {
    fn new(conversation: &StoredConversation, participants: &[ParticipantId]) -> Self {
        let (own, others): (Vec<_>, Vec<_>) =
            conversation.participants.iter().partition(|one| participants.contains(&one.id));
        let of_others: Vec<_> = others.iter().flat_map(|one| called(one)).collect();
        Self {
            participants: participants.to_vec(),
            // A name that two people have tells nothing.
            called: own
                .iter()
                .flat_map(|one| called(one))
                .filter(|name| !of_others.contains(name))
                .collect(),
            has_third_person: others.iter().any(|one| !is_staff(&one.role)),
        }
    }

    fn is(&self, participant: &StoredParticipant) -> bool {
        self.participants.contains(&participant.id)
    }

    fn wrote(&self, message: &StoredMessage) -> bool {
        self.called.contains(&lower(&message.from))
    }
}

/// True if somebody in that role answers for the house.
pub fn is_staff(role: &str) -> bool {
    STAFF.contains(&role.trim().to_lowercase().as_str())
}

fn called(participant: &StoredParticipant) -> Vec<String> {
    let fields =
        [&participant.name, &participant.phone, &participant.email, &participant.chat_address];
    let known = fields.into_iter().flatten().filter(|value| !value.is_empty()).map(lower);
    let role =
        (!participant.role.trim().is_empty()).then(|| participant.role.trim().to_lowercase());
    known.chain(role).collect()
}

fn lower(value: &Personal) -> String {
    value.expose_personal().trim().to_lowercase()
}

/// False if there was nothing.
fn clear(participant: &mut StoredParticipant) -> bool {
    let fields = [
        &mut participant.name,
        &mut participant.phone,
        &mut participant.email,
        &mut participant.ip,
        &mut participant.chat_address,
    ];
    fields.into_iter().filter_map(Option::take).count() > 0
}

/// False if there was nothing.
fn clear_texts(segment: &mut StoredSegment) -> bool {
    let texts = [&mut segment.subject, &mut segment.body, &mut segment.room];
    texts.into_iter().filter_map(Option::take).count() > 0
}

/// What whoever exports a conversation is told before.
pub const WARNING: &str = "This export holds data about every participant. Before it leaves the \
                           house, take out what is about other people than its recipient.";

const STAFF: &[&str] = &["agent", "supervisor", "operator", "bot", "ivr", "system"];
