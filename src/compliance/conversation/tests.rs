use super::*;
use crate::clock::Timestamp;
use crate::compliance::field::BasicField;
use crate::domain::RecordingId;
use crate::domain::conversation::{
    ConsentInput, MediaStatus, ParticipantInput, SegmentKind, StoredRecording,
};

fn segment(id: &str, metadata: &[(&str, &str)]) -> SegmentInput {
    let pairs = metadata.iter().map(|(key, value)| ((*key).to_owned(), Personal::from(*value)));
    SegmentInput {
        external_id: id.to_owned(),
        kind: SegmentKind::Chat,
        started_at: None,
        ended_at: None,
        subject: None,
        body: None,
        room: Some("Lobby".into()),
        messages: vec![MessageInput { at: None, from: "ann77".into(), text: "Hello".into() }],
        metadata: pairs.collect(),
        recordings: Vec::new(),
    }
}

fn input() -> ConversationInput {
    ConversationInput {
        external_id: "c-1".to_owned(),
        participants: vec![ParticipantInput {
            role: "customer".to_owned(),
            phone: Some("+12025550143".into()),
            chat_address: Some("ann77".into()),
            ..ParticipantInput::default()
        }],
        segments: vec![segment("s-1", &[("CALL_ID", "7"), ("LEVEL", "old")])],
        ..ConversationInput::default()
    }
}

fn ids() -> impl FnMut() -> Uuid {
    let mut last = 0;
    move || {
        last += 1;
        Uuid::from_u128(last)
    }
}

/// Planted faults: a second key kept in silence; an id twice; a zero character stored.
#[test]
fn a_bad_input_says_where() {
    type Spoil = fn(&mut ConversationInput);
    let rows: [(Spoil, &str); 13] = [
        (|input| input.external_id.clear(), "id"),
        (|input| input.external_id = "x".repeat(201), "id"),
        (|input| input.external_id = "a\nb".to_owned(), "id"),
        (|input| input.segments.push(segment("s-1", &[])), "segments[1].id"),
        (|input| input.segments[0].external_id = " ".to_owned(), "segments[0].id"),
        (
            |input| input.segments[0] = segment("s", &[("K", "1"), ("K", "2")]),
            "segments[0].metadata[1].key",
        ),
        (|input| input.segments[0].messages[0].text = "a\0".into(), "segments[0].messages[0].text"),
        (
            |input| input.segments[0].body = Some("x".repeat(1_048_576 + 1).into()),
            "segments[0].body",
        ),
        (
            |input| input.participants[0].phone = Some("1".repeat(1_001).into()),
            "participants[0].phone",
        ),
        (|input| input.participants[0].role = "a\0".to_owned(), "participants[0].role"),
        (|input| input.tags = vec![String::new()], "tags[0]"),
        (
            |input| {
                let at = |millis| Some(Timestamp::from_millis(millis));
                (input.segments[0].started_at, input.segments[0].ended_at) = (at(2), at(1));
            },
            "segments[0].ended_at",
        ),
        (
            |input| {
                input.consents = vec![ConsentInput {
                    person: "ann".into(),
                    purpose: " ".to_owned(),
                    given: true,
                    at: Timestamp::from_millis(1),
                    evidence: None,
                }];
            },
            "consents[0].purpose",
        ),
    ];
    assert_eq!(check(&input()), Ok(()));
    for (spoil, at) in rows {
        let mut bad = input();
        spoil(&mut bad);
        let faults = check(&bad).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0].at, at);
    }
    let many = ConversationInput { tags: vec![String::new(); 101], ..input() };
    assert_eq!(check(&many).unwrap_err().len(), FAULTS_MAX);
}

/// Planted faults: one key of two is enough; the first segment alone asked; no keys at all make
/// everything one conversation.
#[test]
fn all_correlation_keys_tell_that_two_are_one() {
    let keys = |keys: &[&str]| MetadataKeys {
        correlation: keys.iter().map(|key| (*key).to_owned()).collect(),
        ..MetadataKeys::default()
    };
    let of = |segments: &[&[(&str, &str)]], wanted: &[&str]| {
        let segments = segments.iter().map(|pairs| segment("s", pairs)).collect();
        let input = ConversationInput { segments, ..input() };
        Correlation::of(&input, &keys(wanted)).map(|one| one.pairs().len())
    };
    let one: &[(&str, &str)] = &[("A", "1")];
    for (segments, wanted, pairs) in [
        (&[one][..], &["A"][..], Some(1)),
        (&[one], &["A", "B"], None),
        (&[one, &[("B", "2")]], &["A", "B"], Some(2)),
        (&[one, &[("A", "2")]], &["A"], None),
        (&[&[("A", "")]], &["A"], None),
        (&[one], &[], None),
    ] {
        assert_eq!(of(segments, wanted), pairs, "{segments:?} {wanted:?}");
    }
}

/// Planted faults: new ids at each import; a value that a tag wrote put back; media's marks
/// lost; what was anonymized put back; a segment of another recorder dropped.
#[test]
fn a_second_import_takes_nothing_back() {
    let keys = MetadataKeys::default();
    let mut next = ids();
    let first = merge(None, &input(), &Kept::default(), &keys, &mut next);
    let again = merge(Some(&first), &input(), &Kept::default(), &keys, &mut next);
    assert_eq!(again, first);

    let mut done = first.clone();
    let mark =
        StoredRecording { id: RecordingId(Uuid::nil()), media: MediaStatus::PlannedForDeletion };
    done.segments[0].recordings.push(mark);
    done.segments[0].metadata[1].1 = "vip".into();
    done.segments[0].metadata.push(("TAGGED".to_owned(), "yes".into()));
    let config = FieldConfig::from_stored(
        [BasicField::Phone, BasicField::Address, BasicField::Texts],
        ["CALL_ID".to_owned()],
        1,
    );
    let done = anonymize::again(&done, &config, &keys);
    let kept = Kept {
        anonymized_by: Some(config),
        tagged_keys: ["LEVEL".to_owned(), "TAGGED".to_owned()].into(),
    };
    let again = merge(Some(&done), &input(), &kept, &keys, &mut next);
    assert_eq!(again, done, "the same input changes nothing");

    let mut more = input();
    more.segments = vec![segment("s-2", &[])];
    let again = merge(Some(&done), &more, &kept, &keys, &mut next);
    assert_eq!(again.segments[0], done.segments[0]);
    assert_eq!(again.segments[1].messages[0].text.expose_personal(), "[anonconversationcontent]");
    assert_eq!(again.segments[1].messages[0].from.expose_personal(), "[anondigitaladdress]");
    assert_ne!(again.segments[1].id, done.segments[0].id);
}

/// Planted faults: what the second recorder does not know wiped out; the later start taken.
#[test]
fn two_recorders_complete_one_another() {
    let mut next = ids();
    let keys = MetadataKeys::default();
    let at = |millis| Some(Timestamp::from_millis(millis));
    let early = ConversationInput { started_at: at(5), ..input() };
    let stored = merge(None, &early, &Kept::default(), &keys, &mut next);
    let mut second = ConversationInput { started_at: at(9), ..input() };
    second.participants[0].phone = None;
    second.participants[0].name = Some("Ann".into());
    second
        .participants
        .push(ParticipantInput { role: "agent".to_owned(), ..ParticipantInput::default() });
    second.segments[0].room = None;
    second.segments[0].messages.clear();
    let merged = merge(Some(&stored), &second, &Kept::default(), &keys, &mut next);
    assert_eq!(merged.started_at, at(5));
    assert_eq!(merged.participants.len(), 2);
    let ann = &merged.participants[0];
    assert_eq!(ann.id, stored.participants[0].id);
    assert!(ann.phone.is_some() && ann.name.is_some());
    assert_eq!(merged.segments[0].room, stored.segments[0].room);
    assert_eq!(merged.segments[0].messages, stored.segments[0].messages);
}
