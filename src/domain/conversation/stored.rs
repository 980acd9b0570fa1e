//! A conversation as it is kept: the caller's facts under our ids.

use crate::clock::Timestamp;
use crate::domain::{ConversationId, MessageId, ParticipantId, RecordingId, SegmentId};

use super::{Personal, SegmentKind};

/// One conversation with everything that rules ask about. Tags, consents and protections are
/// facts of their own and stand beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredConversation {
    /// Its id.
    pub id: ConversationId,
    /// The caller's id.
    pub external_id: String,
    /// When it began, if the caller said so.
    pub started_at: Option<Timestamp>,
    /// Who took part, in the caller's order.
    pub participants: Vec<StoredParticipant>,
    /// Its parts, in the caller's order.
    pub segments: Vec<StoredSegment>,
}

/// Somebody who took part. What is `None` or empty is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredParticipant {
    /// Their id in this conversation; the same person has another one in the next.
    pub id: ParticipantId,
    /// `customer`, `agent` or whatever the caller says.
    pub role: String,
    /// Name.
    pub name: Option<Personal>,
    /// Phone number as written.
    pub phone: Option<Personal>,
    /// Email address.
    pub email: Option<Personal>,
    /// IPv4 or IPv6 address as written.
    pub ip: Option<Personal>,
    /// Address in a chat system.
    pub chat_address: Option<Personal>,
}

/// One part of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSegment {
    /// Its id.
    pub id: SegmentId,
    /// The caller's id, unique within the conversation.
    pub external_id: String,
    /// What it is.
    pub kind: SegmentKind,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Subject of an email.
    pub subject: Option<Personal>,
    /// Body of an email.
    pub body: Option<Personal>,
    /// Name of a chat room.
    pub room: Option<Personal>,
    /// Messages of a chat, in order.
    pub messages: Vec<StoredMessage>,
    /// Keys and values; each key once.
    pub metadata: Vec<(String, Personal)>,
    /// Its recordings, calls and screens alike.
    pub recordings: Vec<StoredRecording>,
}

impl StoredSegment {
    /// The value of `key`.
    pub fn value(&self, key: &str) -> Option<&Personal> {
        self.metadata.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }
}

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its id.
    pub id: MessageId,
    /// When.
    pub at: Option<Timestamp>,
    /// By whom: an address or a name, as the chat system wrote it.
    pub from: Personal,
    /// What.
    pub text: Personal,
}

/// One recording of a segment, as far as a conversation shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredRecording {
    /// Which.
    pub id: RecordingId,
    /// What has become of its media.
    pub media: MediaStatus,
}

/// What a person may know of a recording's media. The words are those of [`MediaStatus::label`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaStatus {
    /// It can be played.
    Available,
    /// It is to be erased; until that runs it can be played.
    PlannedForDeletion,
    /// It is erased: there is no access.
    Deleted,
}

impl MediaStatus {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Available, Self::PlannedForDeletion, Self::Deleted];

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::PlannedForDeletion => "planned_for_deletion",
            Self::Deleted => "deleted",
        }
    }

    /// What people read.
    pub fn label(self) -> &'static str {
        match self {
            Self::Available => "Available",
            Self::PlannedForDeletion => "Planned for deletion of media files",
            Self::Deleted => "Deleted",
        }
    }

    /// True while it can be played.
    pub fn is_playable(self) -> bool {
        match self {
            Self::Available | Self::PlannedForDeletion => true,
            Self::Deleted => false,
        }
    }
}
