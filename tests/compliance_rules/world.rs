//! Conversations to try rules on.

use recseal::clock::Timestamp;
use recseal::compliance::anonymize::{self, Plan, Protections};
use recseal::compliance::field::{BasicField, FieldConfig, MetadataKeys};
use recseal::compliance::tag::{Tag, TagForm};
use recseal::domain::conversation::{
    MediaStatus, Personal, SegmentKind, StoredConversation, StoredMessage, StoredParticipant,
    StoredRecording, StoredSegment,
};
use recseal::domain::{ConversationId, MessageId, ParticipantId, RecordingId, SegmentId, TagId};

pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(1_000)
}

pub(crate) fn participant(role: &str) -> StoredParticipant {
    StoredParticipant {
        id: ParticipantId::new(),
        role: role.to_owned(),
        name: None,
        phone: None,
        email: None,
        ip: None,
        chat_address: None,
    }
}

pub(crate) fn ann() -> StoredParticipant {
    StoredParticipant {
        name: Some("Ann Example".into()),
        phone: Some("+1 202 555 0143".into()),
        email: Some("ann@example.org".into()),
        ip: Some("192.0.2.7".into()),
        chat_address: Some("ann77".into()),
        ..participant("customer")
    }
}

pub(crate) fn segment(kind: SegmentKind) -> StoredSegment {
    StoredSegment {
        id: SegmentId::new(),
        external_id: "s".to_owned(),
        kind,
        started_at: None,
        ended_at: None,
        subject: None,
        body: None,
        room: None,
        messages: Vec::new(),
        metadata: Vec::new(),
        recordings: Vec::new(),
    }
}

pub(crate) fn call() -> StoredSegment {
    let recording = StoredRecording { id: RecordingId::new(), media: MediaStatus::Available };
    StoredSegment { recordings: vec![recording], ..segment(SegmentKind::Call) }
}

pub(crate) fn email() -> StoredSegment {
    StoredSegment {
        subject: Some("Water damage".into()),
        body: Some("Dear Ann, about your flat".into()),
        ..segment(SegmentKind::Email)
    }
}

pub(crate) fn chat() -> StoredSegment {
    let said = StoredMessage {
        id: MessageId::new(),
        at: None,
        from: "ann77".into(),
        text: "The cellar is wet".into(),
    };
    StoredSegment {
        room: Some("Claims lobby".into()),
        messages: vec![said],
        ..segment(SegmentKind::Chat)
    }
}

pub(crate) fn with_values(mut segment: StoredSegment, pairs: &[(&str, &str)]) -> StoredSegment {
    segment.metadata =
        pairs.iter().map(|(key, value)| ((*key).to_owned(), Personal::from(*value))).collect();
    segment
}

pub(crate) fn conversation(segments: Vec<StoredSegment>) -> StoredConversation {
    StoredConversation {
        id: ConversationId::new(),
        external_id: "c".to_owned(),
        started_at: Some(now()),
        participants: vec![ann()],
        segments,
    }
}

pub(crate) fn config(basic: &[BasicField], keys: &[&str]) -> FieldConfig {
    let keys = keys.iter().map(|key| (*key).to_owned());
    FieldConfig::from_stored(basic.iter().copied(), keys, 1)
}

/// The plan for a conversation that nothing protects.
pub(crate) fn plan(conversation: &StoredConversation, config: &FieldConfig) -> Plan {
    let keys = MetadataKeys::default();
    anonymize::plan(conversation, config, &keys, &Protections::default(), now())
        .expect("nothing protects it")
}

pub(crate) fn anonymized(
    conversation: &StoredConversation,
    basic: &[BasicField],
    keys: &[&str],
) -> StoredConversation {
    plan(conversation, &config(basic, keys)).applied_to(conversation)
}

pub(crate) fn data_tag(name: &str, key: &str, value: &str) -> Tag {
    let form = TagForm {
        icon: "tag".to_owned(),
        name: name.to_owned(),
        pair: Some((key.to_owned(), value.to_owned())),
        ..TagForm::default()
    };
    Tag::own(TagId::new(), form, &[]).expect("a good form")
}

/// The text of a value that is there.
pub(crate) fn text(value: &Option<Personal>) -> &str {
    value.as_ref().map_or("", Personal::expose_personal)
}
