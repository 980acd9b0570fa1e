//! Anonymization: what becomes of one conversation under the field configuration as it stands.
//!
//! ```text
//! StoredConversation ┐                      ┌ cells: which becomes which placeholder
//! FieldConfig        ├─▶ plan ─▶ Ok(Plan) ──┼ media: recordings to be planned for deletion
//! MetadataKeys       │             │        └ left out: recordings that MiFID keeps
//! Protections, now   ┘             └ Err(Refused): a compliance tag or a hold protects it
//! ```
//!
//! | Chosen | Cell | Becomes |
//! |---|---|---|
//! | phone | a number, in whatever field of a participant | `[anonphonenumber]` |
//! | address | an email, SIP or chat address | `[anondigitaladdress]` |
//! | address | an IP address | `0.0.0.0`, or `::` if it was IPv6 |
//! | texts | subject, body, room, text of a message | `[anonconversationcontent]` |
//! | a key | the value of that key | `[anonymized]` |
//!
//! A cell goes if its field *or* its value is of a chosen type, so neither a number in a chat
//! address nor an extension in a phone field slips through; the value decides which placeholder
//! stands there. Names stay: no choice of the page is about them, unless a number or an address
//! stands where a name should.
//!
//! # Invariants
//!
//! - A plan is made by [`plan`] alone, so whoever holds one knows that protections were asked.
//! - A cell that already holds its placeholder is in no plan: twice is the same as once, and an
//!   anonymization cut short by a crash is finished by doing it again.
//! - Keys by which conversations are merged are in no plan, whatever was saved.
//! - What is empty stays empty.

mod cells;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::domain::conversation::{MediaStatus, Personal, StoredConversation};
use crate::domain::{ConversationId, MessageId, ParticipantId, RecordingId, SegmentId};

use super::field::{BasicField, FieldConfig, MetadataKeys};
use super::hold::Protection;

/// What stands where something about a person stood. Stored and searched for: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Placeholder {
    /// A phone number.
    Phone,
    /// An email, SIP or chat address.
    Address,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// Something that was written.
    Content,
    /// A value of metadata.
    Metadata,
}

impl Placeholder {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Phone, Self::Address, Self::Ipv4, Self::Ipv6, Self::Content, Self::Metadata];

    /// The text that is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Phone => "[anonphonenumber]",
            Self::Address => "[anondigitaladdress]",
            Self::Ipv4 => "0.0.0.0",
            Self::Ipv6 => "::",
            Self::Content => "[anonconversationcontent]",
            Self::Metadata => "[anonymized]",
        }
    }

    /// True if `text` is this placeholder.
    pub fn stands_in(self, text: &Personal) -> bool {
        text.expose_personal() == self.as_str()
    }

    /// True if a participant's field that holds it is anonymized.
    fn is_for_participants(self) -> bool {
        match self {
            Self::Phone | Self::Address | Self::Ipv4 | Self::Ipv6 => true,
            Self::Content | Self::Metadata => false,
        }
    }
}

/// A field of a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ParticipantField {
    /// Name.
    Name,
    /// Phone number.
    Phone,
    /// Email address.
    Email,
    /// IP address.
    Ip,
    /// Address in a chat system.
    ChatAddress,
}

impl ParticipantField {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Name, Self::Phone, Self::Email, Self::Ip, Self::ChatAddress];
}

/// A text of a segment that is there once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SegmentText {
    /// Subject of an email.
    Subject,
    /// Body of an email.
    Body,
    /// Name of a chat room.
    Room,
}

impl SegmentText {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Subject, Self::Body, Self::Room];
}

/// One value of a conversation: what the catalog overwrites.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cell {
    /// A field of a participant.
    Participant(ParticipantId, ParticipantField),
    /// Subject, body or room of a segment.
    Text(SegmentId, SegmentText),
    /// By whom a message is.
    Sender(MessageId),
    /// What a message says.
    Message(MessageId),
    /// The value of a key. The key stays.
    Metadata(SegmentId, String),
}

/// What protects a conversation, as read in the transaction that anonymizes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protections {
    /// On the conversation.
    pub whole: Vec<Protection>,
    /// On single recordings of it.
    pub recordings: Vec<(RecordingId, Protection)>,
}

/// What an anonymization does. Made by [`plan`].
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    conversation: ConversationId,
    checked_at: Timestamp,
    config_version: u64,
    cells: Vec<(Cell, Placeholder)>,
    media: Vec<RecordingId>,
    left_out: Vec<LeftOut>,
}

/// A recording that keeps its media although media was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Which.
    pub recording: RecordingId,
    /// When MiFID stops keeping it; `None` for good.
    pub mifid_until: Option<Timestamp>,
}

impl Plan {
    /// Of which conversation.
    pub fn conversation(&self) -> ConversationId {
        self.conversation
    }

    /// When protections were asked.
    pub fn checked_at(&self) -> Timestamp {
        self.checked_at
    }

    /// The version of the configuration that was applied.
    pub fn config_version(&self) -> u64 {
        self.config_version
    }

    /// What becomes which placeholder; each cell once.
    pub fn cells(&self) -> &[(Cell, Placeholder)] {
        &self.cells
    }

    /// Recordings to be planned for deletion. Retention does not take one off this list: its
    /// erasure waits for the date by itself.
    pub fn media(&self) -> &[RecordingId] {
        &self.media
    }

    /// Recordings that MiFID keeps, to be told to whoever asked.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// True if there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty() && self.media.is_empty()
    }

    /// What is stored afterwards, of the conversation the plan was made for.
    pub fn applied_to(&self, conversation: &StoredConversation) -> StoredConversation {
        let mut after = conversation.clone();
        put_placeholders(&mut after, &self.cells);
        let recordings = after.segments.iter_mut().flat_map(|segment| &mut segment.recordings);
        for recording in recordings.filter(|one| self.media.contains(&one.id)) {
            recording.media = MediaStatus::PlannedForDeletion;
        }
        after
    }
}

/// A conversation that may not be anonymized.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("conversation {conversation} is protected by {}", reasons.first().map_or("nothing", Protection::kind))]
pub struct Refused {
    /// Which.
    pub conversation: ConversationId,
    /// Everything that protects it: compliance tags and holds.
    pub reasons: Vec<Protection>,
}

/// Plans the anonymization of `conversation`.
///
/// A hold on one of its recordings refuses all of it: whom a held recording is about is evidence
/// too. MiFID and retention keep media, never fields.
///
/// # Errors
///
/// [`Refused`] with every active reason.
pub fn plan(
    conversation: &StoredConversation,
    config: &FieldConfig,
    keys: &MetadataKeys,
    protections: &Protections,
    now: Timestamp,
) -> Result<Plan, Refused> {
    let on_recordings = protections.recordings.iter().map(|(_, protection)| protection);
    let refuses = |one: &&Protection| keeps_fields(one) && one.is_active(now);
    let reasons: Vec<_> =
        protections.whole.iter().chain(on_recordings).filter(refuses).cloned().collect();
    if !reasons.is_empty() {
        return Err(Refused { conversation: conversation.id, reasons });
    }
    let (media, left_out) = match config.takes(BasicField::Media) {
        true => media(conversation, protections, now),
        false => (Vec::new(), Vec::new()),
    };
    Ok(Plan {
        conversation: conversation.id,
        checked_at: now,
        config_version: config.version(),
        cells: cells::chosen(conversation, config, keys),
        media,
        left_out,
    })
}

/// Takes from `conversation`, which is not stored yet, what `config` took from it before: a second
/// import brings back what was anonymized. Nobody is asked, since nothing that is kept is lost.
/// Media is left alone.
pub fn again(
    conversation: &StoredConversation,
    config: &FieldConfig,
    keys: &MetadataKeys,
) -> StoredConversation {
    let mut after = conversation.clone();
    put_placeholders(&mut after, &cells::chosen(conversation, config, keys));
    after
}

fn put_placeholders(conversation: &mut StoredConversation, planned: &[(Cell, Placeholder)]) {
    let planned: BTreeMap<&Cell, Placeholder> =
        planned.iter().map(|(cell, placeholder)| (cell, *placeholder)).collect();
    cells::each(conversation, |cell, value| {
        if let Some(placeholder) = planned.get(&cell) {
            *value = Personal::from(placeholder.as_str());
        }
    });
}

fn keeps_fields(protection: &Protection) -> bool {
    match protection {
        Protection::Hold { .. } | Protection::Tag { .. } => true,
        Protection::Mifid { .. } | Protection::Retention { .. } => false,
    }
}

fn media(
    conversation: &StoredConversation,
    protections: &Protections,
    now: Timestamp,
) -> (Vec<RecordingId>, Vec<LeftOut>) {
    let (mut planned, mut left_out) = (Vec::new(), Vec::new());
    for recording in conversation.segments.iter().flat_map(|segment| &segment.recordings) {
        match recording.media {
            MediaStatus::Available => {}
            MediaStatus::PlannedForDeletion | MediaStatus::Deleted => continue,
        }
        match mifid(recording.id, protections, now) {
            Some(mifid_until) => left_out.push(LeftOut { recording: recording.id, mifid_until }),
            None => planned.push(recording.id),
        }
    }
    planned.sort_unstable();
    planned.dedup();
    (planned, left_out)
}

/// Until when MiFID keeps `recording`: the latest date, or for good, if it does.
fn mifid(
    recording: RecordingId,
    protections: &Protections,
    now: Timestamp,
) -> Option<Option<Timestamp>> {
    let own = protections.recordings.iter().filter(|(id, _)| *id == recording);
    let over_it = protections.whole.iter().chain(own.map(|(_, protection)| protection));
    let dates = over_it.filter(|one| one.is_active(now)).filter_map(|one| match one {
        Protection::Mifid { until } => Some(*until),
        Protection::Hold { .. } | Protection::Tag { .. } | Protection::Retention { .. } => None,
    });
    dates.reduce(|one, other| one.zip(other).map(|(one, other)| one.max(other)))
}
