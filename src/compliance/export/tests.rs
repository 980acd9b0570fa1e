use super::*;
use crate::clock::Timestamp;
use crate::domain::conversation::{MediaStatus, SegmentKind, StoredRecording};
use crate::domain::{ConsentId, ConversationId};

const ANN: PersonHandle = PersonHandle([1; 32]);
const BOB: PersonHandle = PersonHandle([2; 32]);
const ALL: Sight =
    Sight { conversations: true, persons: true, texts: true, consents: true, media: true };

fn participant(role: &str, name: &str) -> StoredParticipant {
    StoredParticipant {
        id: ParticipantId::new(),
        role: role.to_owned(),
        name: Some(name.into()),
        phone: Some(format!("+1202555{name}").into()),
        email: None,
        ip: Some("192.0.2.7".into()),
        chat_address: Some(format!("{name}77").into()),
    }
}

fn message(from: &str) -> StoredMessage {
    StoredMessage { id: MessageId::new(), at: None, from: from.into(), text: "Hello".into() }
}

/// A chat of a customer with staff, and with `others`: with an email's texts and three recordings,
/// the last of which is deleted.
fn conversation(others: &[StoredParticipant]) -> StoredConversation {
    let media = [MediaStatus::Available, MediaStatus::PlannedForDeletion, MediaStatus::Deleted];
    let recordings = media.map(|media| StoredRecording { id: RecordingId::new(), media }).to_vec();
    let segment = StoredSegment {
        id: SegmentId::new(),
        external_id: "s".to_owned(),
        kind: SegmentKind::Chat,
        started_at: None,
        ended_at: None,
        subject: Some("Claim".into()),
        body: None,
        room: None,
        messages: vec![message("Ann"), message("ann77"), message("Sam"), message("Tom")],
        metadata: vec![("ANI".to_owned(), "12025550143".into())],
        recordings,
    };
    let mut participants = vec![participant("customer", "Ann"), participant("Agent", "Sam")];
    participants.extend(others.iter().cloned());
    StoredConversation {
        id: ConversationId::new(),
        external_id: "c".to_owned(),
        started_at: None,
        participants,
        segments: vec![segment],
    }
}

fn beside() -> Beside {
    let record = |person| ConsentRecord {
        id: ConsentId::new(),
        persons: vec![person],
        purpose: super::super::consent::Purpose::Recording,
        given: true,
        at: Timestamp::from_millis(1),
        evidence: None,
        conversation: None,
    };
    Beside {
        tags: vec![("VIP".to_owned(), Some("difficult".into()))],
        consents: vec![record(ANN), record(BOB)],
        ..Beside::default()
    }
}

/// Every permission with every part. Planted faults: metadata for whoever sees conversations;
/// parts for a caller who may not see conversations.
#[test]
fn permissions_come_to_parts() {
    let none = Sight { conversations: true, ..Sight::default() };
    let rows: [(Sight, &[Part]); 7] = [
        (Sight { conversations: false, ..ALL }, &[]),
        (none, &[Part::Facts]),
        (
            Sight { persons: true, ..none },
            &[Part::Facts, Part::Names, Part::Addresses, Part::Metadata],
        ),
        (Sight { texts: true, ..none }, &[Part::Facts, Part::Texts, Part::Comments]),
        (Sight { consents: true, ..none }, &[Part::Facts, Part::Consents]),
        (Sight { media: true, ..none }, &[Part::Facts, Part::Media]),
        (ALL, &Part::ALL),
    ];
    for (sight, parts) in rows {
        let found: Vec<_> = Part::ALL.into_iter().filter(|part| part.is_visible(sight)).collect();
        assert_eq!(found, parts, "{sight:?}");
    }
    let hidden = Sight { conversations: false, ..ALL };
    assert!(export(&conversation(&[]), &beside(), Purpose::Conversation, hidden).is_none());
}

/// Planted faults: media with the export of one conversation; senders shown to who may not see
/// names; a part left out in silence.
#[test]
fn one_conversation_shows_what_its_caller_may_see() {
    let before = conversation(&[]);
    let all = export(&before, &beside(), Purpose::Conversation, ALL).unwrap();
    assert_eq!(all.conversation, before);
    assert_eq!((all.media.len(), all.left_out.len(), all.consents.len()), (0, 0, 2));

    let sight = Sight { conversations: true, ..Sight::default() };
    let bare = export(&before, &beside(), Purpose::Conversation, sight).unwrap();
    let parts =
        [Part::Names, Part::Addresses, Part::Metadata, Part::Texts, Part::Comments, Part::Consents];
    let expected = parts.map(|part| LeftOut { what: Omitted::Part(part), why: Why::NotPermitted });
    assert_eq!(bare.left_out, expected);
    let texts = exposed(&bare);
    assert_eq!(texts, "", "nothing personal is left");
    assert_eq!(bare.tags, [("VIP".to_owned(), None)]);
    assert_eq!(bare.conversation.segments[0].recordings.len(), 3, "what became of them stays");
}

/// Everything personal that is in `export`.
fn exposed(export: &Export) -> String {
    let mut all = String::new();
    let mut add = |value: &Personal| all.push_str(value.expose_personal());
    for one in &export.conversation.participants {
        let fields = [&one.name, &one.phone, &one.email, &one.ip, &one.chat_address];
        fields.into_iter().flatten().for_each(&mut add);
    }
    for segment in &export.conversation.segments {
        [&segment.subject, &segment.body, &segment.room].into_iter().flatten().for_each(&mut add);
        segment.metadata.iter().for_each(|(_, value)| add(value));
        for message in &segment.messages {
            add(&message.from);
            add(&message.text);
        }
    }
    all
}

/// Planted faults: the agent's number in the package; deleted media in it; texts of a third person
/// in it; the person's own messages out of it; somebody else's consent in it; held media in it.
#[test]
fn a_package_is_about_its_person() {
    let third = participant("customer", "Tom");
    for (others, is_alone) in [(&[][..], true), (std::slice::from_ref(&third), false)] {
        let before = conversation(others);
        let own = [before.participants[0].id];
        let purpose = Purpose::Subject { participants: &own, handles: &[ANN] };
        let found = export(&before, &beside(), purpose, ALL).unwrap();
        let texts = exposed(&found);
        for (word, is_in) in [
            ("+1202555Ann", true),
            ("ann77", true),
            ("Sam", false),
            ("Tom", false),
            ("Claim", is_alone),
        ] {
            assert_eq!(texts.contains(word), is_in, "{word} alone: {is_alone}");
        }
        let said = |place: usize| !found.conversation.segments[0].messages[place].text.is_empty();
        assert_eq!([said(0), said(1), said(2), said(3)], [true, true, is_alone, is_alone]);
        assert_eq!(found.consents.len(), 1);
        assert_eq!(found.media.len(), if is_alone { 2 } else { 0 });
        let deleted = before.segments[0].recordings[2].id;
        let what = Omitted::Recording(deleted);
        assert!(found.left_out.contains(&LeftOut { what, why: Why::Deleted }));
        let why = |why: Why| found.left_out.iter().filter(|one| one.why == why).count();
        // The agent; or agent, third person, subject line, two messages, two recordings.
        assert_eq!(why(Why::OtherPeople), if is_alone { 1 } else { 7 });
    }
}

/// Planted faults: a hold on the conversation that lets texts out; one on a recording that keeps
/// the others.
#[test]
fn what_is_held_stays() {
    let before = conversation(&[]);
    let own = [before.participants[0].id];
    let purpose = Purpose::Subject { participants: &own, handles: &[ANN] };
    let ids: Vec<_> = before.segments[0].recordings.iter().map(|one| one.id).collect();
    let one = Beside { held_recordings: vec![ids[0]], ..beside() };
    let found = export(&before, &one, purpose, ALL).unwrap();
    assert_eq!(found.media, [ids[1]]);
    let held = LeftOut { what: Omitted::Recording(ids[0]), why: Why::Held };
    assert!(found.left_out.contains(&held));

    let all = Beside { is_held: true, ..beside() };
    let found = export(&before, &all, purpose, ALL).unwrap();
    assert!(found.media.is_empty() && !exposed(&found).contains("Hello"));
    assert!(exposed(&found).contains("+1202555Ann"));
    let held = found.left_out.iter().filter(|one| one.why == Why::Held).count();
    assert_eq!(held, 7, "one subject, four messages, two recordings");
}

/// A name that two people have. Planted fault: the other one's message taken for the person's.
#[test]
fn a_shared_name_tells_nothing() {
    let before = conversation(&[participant("customer", "Ann")]);
    let own = [before.participants[0].id];
    let purpose = Purpose::Subject { participants: &own, handles: &[] };
    let found = export(&before, &beside(), purpose, ALL).unwrap();
    assert!(!exposed(&found).contains("Hello"));
}
