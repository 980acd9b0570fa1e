//! Random conversations, configurations, tags and holds. What is expected is reckoned anew here,
//! cell by cell, not asked of the rules.

use proptest::prelude::*;
use recseal::clock::Timestamp;
use recseal::compliance::anonymize::{self, Protections};
use recseal::compliance::export::{self, Beside, Purpose, Sight};
use recseal::compliance::field::{BasicField, FieldConfig, MetadataKeys};
use recseal::compliance::hold::Protection;
use recseal::compliance::person::value::{holds_number, recognise};
use recseal::compliance::person::{Identifier, IdentifierKind, NumberPlan};
use recseal::compliance::reviewable::{self, Reviewable};
use recseal::compliance::search::highlight::{excerpt, occurrences};
use recseal::compliance::search::meaning::{Searched, search};
use recseal::compliance::search::{SearchForm, Sense};
use recseal::compliance::tag::{LegalBasis, Tag, complete};
use recseal::domain::conversation::{
    MediaStatus, Personal, SegmentKind, StoredConversation, StoredMessage, StoredParticipant,
    StoredRecording, StoredSegment,
};
use recseal::domain::{HoldId, MessageId, RecordingId};

use crate::world::{conversation, now, participant, segment, text};

const PHONES: &[&str] = &["+1 202 555 0143", "1001", "0711/1234567", "ann@example.org", ""];
const EMAILS: &[&str] = &["ann@example.org", "Bob <bob@example.org>", "+12025550143", " "];
const IPS: &[&str] = &["192.0.2.7", "2001:db8::7", "[2001:db8::7]:5060", "0.0.0.0", "host"];
const CHATS: &[&str] = &["ann77", "@ann:example.org", "12025550143", "[anondigitaladdress]"];
const NAMES: &[&str] = &["Ann Example", "Bob", ""];
/// Every one that is not blank has the word that is searched for.
const TEXTS: &[&str] = &["zebra one", "a Zebra, two", "z\u{e9}bra", "", "  "];
const VALUES: &[&str] = &["claims", "12025550143", "", "[anonymized]"];
const KEYS: &[&str] = &["ANI", "SKILL", "CALL_ID", "NOTE"];
const PLACEHOLDERS: &[&str] = &["[anonphonenumber]", "[anondigitaladdress]", "0.0.0.0", "::"];
const CONTENT: &str = "[anonconversationcontent]";

fn one_of(values: &'static [&'static str]) -> impl Strategy<Value = Option<Personal>> {
    prop::option::weighted(0.8, prop::sample::select(values).prop_map(Personal::from))
}

fn participants() -> impl Strategy<Value = Vec<StoredParticipant>> {
    let one = (one_of(NAMES), one_of(PHONES), one_of(EMAILS), one_of(IPS), one_of(CHATS));
    let one = one.prop_map(|(name, phone, email, ip, chat_address)| StoredParticipant {
        name,
        phone,
        email,
        ip,
        chat_address,
        ..participant("customer")
    });
    prop::collection::vec(one, 0..4)
}

fn segments() -> impl Strategy<Value = Vec<StoredSegment>> {
    let kind = prop::sample::select(&SegmentKind::ALL[..]);
    let message = (prop::sample::select(CHATS), prop::sample::select(TEXTS));
    let message = message.prop_map(|(from, text)| StoredMessage {
        id: MessageId::new(),
        at: None,
        from: from.into(),
        text: text.into(),
    });
    let values = prop::sample::subsequence(KEYS, 0..=KEYS.len()).prop_flat_map(|keys| {
        (Just(keys.clone()), prop::collection::vec(prop::sample::select(VALUES), keys.len()))
    });
    let media = prop::collection::vec(prop::sample::select(&MediaStatus::ALL[..]), 0..4);
    let one = (
        kind,
        (one_of(TEXTS), one_of(TEXTS), one_of(TEXTS)),
        prop::collection::vec(message, 0..3),
        values,
        media,
    );
    let one = one.prop_map(|(kind, (subject, body, room), messages, (keys, values), media)| {
        let recording = |media| StoredRecording { id: RecordingId::new(), media };
        let pairs = keys.into_iter().zip(values);
        StoredSegment {
            subject,
            body,
            room,
            messages,
            metadata: pairs.map(|(key, value)| (key.to_owned(), value.into())).collect(),
            recordings: media.into_iter().map(recording).collect(),
            ..segment(kind)
        }
    });
    prop::collection::vec(one, 0..4)
}

fn conversations() -> impl Strategy<Value = StoredConversation> {
    (participants(), segments()).prop_map(|(participants, segments)| StoredConversation {
        participants,
        ..conversation(segments)
    })
}

/// A configuration, and which keys merge conversations.
fn configs() -> impl Strategy<Value = (FieldConfig, MetadataKeys)> {
    let basic = prop::sample::subsequence(&BasicField::ALL[..], 0..=4);
    let keys = || prop::sample::subsequence(KEYS, 0..=KEYS.len());
    let owned = |keys: Vec<&str>| keys.into_iter().map(str::to_owned).collect::<Vec<_>>();
    (basic, keys(), keys()).prop_map(move |(basic, chosen, correlation)| {
        let keys = MetadataKeys {
            correlation: owned(correlation).into_iter().collect(),
            ..MetadataKeys::default()
        };
        (FieldConfig::from_stored(basic, owned(chosen), 1), keys)
    })
}

fn protection() -> impl Strategy<Value = Protection> {
    let until = || prop::option::of((900..1_100_i64).prop_map(Timestamp::from_millis));
    prop_oneof![
        prop::sample::select(&LegalBasis::ALL[..]).prop_map(LegalBasis::protection),
        until().prop_map(|until| Protection::Hold { hold: HoldId::new(), until }),
        until().prop_map(|until| Protection::Mifid { until }),
        until().prop_map(|until| Protection::Retention { until: until.unwrap_or(now()) }),
    ]
}

/// Few, so that most conversations are free.
fn protections() -> impl Strategy<Value = Vec<Protection>> {
    prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(protection(), 1..3)]
}

fn is_active(protection: &Protection) -> bool {
    protection.until().is_none_or(|until| now() < until)
}

fn recordings(conversation: &StoredConversation) -> Vec<StoredRecording> {
    conversation.segments.iter().flat_map(|one| one.recordings.clone()).collect()
}

/// Texts of a segment, senders left out.
fn texts(segment: &StoredSegment) -> Vec<String> {
    let single = [&segment.subject, &segment.body, &segment.room].into_iter().flatten();
    let all = single.chain(segment.messages.iter().map(|message| &message.text));
    all.map(|text| text.expose_personal().to_owned()).collect()
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Planted faults: tags not asked; a hold that has run out obeyed; a hold on a recording
    /// overlooked; MiFID that refuses; media of a MiFID recording planned.
    #[test]
    fn the_protected_is_refused_and_mifid_keeps_its_media(
        conversation in conversations(),
        (config, keys) in configs(),
        whole in protections(),
        on_recordings in prop::collection::vec((any::<prop::sample::Index>(), protection()), 0..3),
    ) {
        let all = recordings(&conversation);
        let on_recordings: Vec<_> = on_recordings
            .into_iter()
            .filter(|_| !all.is_empty())
            .map(|(place, protection)| (all[place.index(all.len())].id, protection))
            .collect();
        let protections = Protections { whole: whole.clone(), recordings: on_recordings.clone() };
        let found = anonymize::plan(&conversation, &config, &keys, &protections, now());
        let refusing = whole.iter().chain(on_recordings.iter().map(|(_, one)| one)).filter(|one| {
            matches!(one, Protection::Tag { .. } | Protection::Hold { .. }) && is_active(one)
        });
        let refusing: Vec<_> = refusing.cloned().collect();
        match found {
            Err(refused) => prop_assert_eq!(refused.reasons, refusing),
            Ok(plan) => {
                prop_assert!(refusing.is_empty());
                let is_mifid = |id: RecordingId| {
                    let own = on_recordings.iter().filter(|(on, _)| *on == id).map(|(_, one)| one);
                    whole.iter().chain(own).any(|one| {
                        matches!(one, Protection::Mifid { .. }) && is_active(one)
                    })
                };
                for recording in all {
                    let goes = config.takes(BasicField::Media)
                        && recording.media == MediaStatus::Available;
                    let is_planned = plan.media().contains(&recording.id);
                    let is_left = plan.left_out().iter().any(|one| one.recording == recording.id);
                    prop_assert_eq!(is_planned, goes && !is_mifid(recording.id));
                    prop_assert_eq!(is_left, goes && is_mifid(recording.id));
                }
            }
        }
    }

    /// Planted faults: a chosen text left; a text that was not chosen replaced; a correlation key
    /// replaced; a name replaced; a number left in a chat address; the second time not empty.
    #[test]
    fn placeholders_stand_where_chosen_and_nowhere_else(
        before in conversations(),
        (config, keys) in configs(),
    ) {
        let plan = |one: &StoredConversation| {
            anonymize::plan(one, &config, &keys, &Protections::default(), now()).unwrap()
        };
        let after = plan(&before).applied_to(&before);
        prop_assert!(plan(&after).is_empty(), "twice is once: {:?}", plan(&after));
        let (phone, address) = (config.takes(BasicField::Phone), config.takes(BasicField::Address));
        for (old, new) in before.participants.iter().zip(&after.participants) {
            prop_assert_eq!(&old.role, &new.role);
            prop_assert_eq!(&old.name, &new.name, "no name of the pool is a number");
            let fields = [
                (&old.phone, &new.phone, phone),
                (&old.email, &new.email, address),
                (&old.ip, &new.ip, address),
                (&old.chat_address, &new.chat_address, address),
            ];
            for (old, new, is_chosen) in fields {
                let (old, new) = (text(old), text(new));
                let is_done = PLACEHOLDERS.contains(&new);
                if is_chosen && !is_blank(old) {
                    prop_assert!(is_done, "{} is left of {}", new, old);
                }
                if old != new {
                    prop_assert!(is_done && (phone || address), "{} from {}", new, old);
                    let is_number = old.contains("0143") || old.starts_with("0711");
                    prop_assert!(is_chosen || phone && is_number || address && !is_number);
                }
            }
        }
        for (old, new) in before.segments.iter().zip(&after.segments) {
            for (old, new) in texts(old).into_iter().zip(texts(new)) {
                let goes = config.takes(BasicField::Texts) && !is_blank(&old);
                prop_assert_eq!(new, if goes { CONTENT.to_owned() } else { old });
            }
            for ((key, old), (_, new)) in old.metadata.iter().zip(&new.metadata) {
                let goes = config.takes_key(key) && !keys.is_correlation(key) && !old.is_empty();
                let expected = if goes { "[anonymized]" } else { old.expose_personal() };
                prop_assert_eq!(new.expose_personal(), expected, "{}", key);
            }
            for (old, new) in old.messages.iter().zip(&new.messages) {
                let (old, new) = (old.from.expose_personal(), new.from.expose_personal());
                prop_assert!(!address || PLACEHOLDERS.contains(&new), "{} is left", new);
                prop_assert!(phone || address || old == new);
            }
        }
    }

    /// Planted faults: chats by their media; a call with one recording left taken for anonymized;
    /// a conversation lost with its first segment.
    #[test]
    fn reviewable_as_long_as_a_segment_is_untouched(
        before in conversations(),
        (config, keys) in configs(),
    ) {
        let plan =
            anonymize::plan(&before, &config, &keys, &Protections::default(), now()).unwrap();
        let after = plan.applied_to(&before);
        let is_gone = |segment: &StoredSegment| match segment.kind {
            SegmentKind::Call => {
                let mut left = segment.recordings.iter();
                !segment.recordings.is_empty()
                    && left.all(|one| one.media != MediaStatus::Available)
            }
            SegmentKind::Chat | SegmentKind::Email => {
                let texts: Vec<_> = texts(segment).into_iter().filter(|one| !is_blank(one)).collect();
                !texts.is_empty() && texts.iter().all(|text| text == CONTENT)
            }
        };
        let all_gone = !after.segments.is_empty() && after.segments.iter().all(is_gone);
        let expected = if all_gone { Reviewable::No } else { Reviewable::Yes };
        prop_assert_eq!(reviewable::judge(&after), expected);
    }

    /// Planted faults: rooms left as they were; addresses left that look like none.
    #[test]
    fn search_never_finds_what_was_anonymized(
        before in conversations(),
        (config, keys) in configs(),
    ) {
        let plan =
            anonymize::plan(&before, &config, &keys, &Protections::default(), now()).unwrap();
        let after = plan.applied_to(&before);
        let numbers = NumberPlan::default();
        let is_found = |line: &str, conversation: &StoredConversation| {
            let query = SearchForm::from_line(line).unwrap().validate(&numbers).unwrap();
            search(&query, Searched { conversation, tags: &[] }, &numbers).is_some()
        };
        let has_text = before.segments.iter().flat_map(texts).any(|text| !is_blank(&text));
        prop_assert_eq!(is_found("zebra", &before), has_text);
        prop_assert_eq!(is_found("zebra", &after), has_text && !config.takes(BasicField::Texts));
        if config.takes(BasicField::Address) {
            for line in ["ann@example.org", "email:bob@example.org", "participant:ann@example.org"] {
                prop_assert!(!is_found(line, &after), "{} is found", line);
            }
        }
    }

    /// Planted faults: senders shown to who may not see names; metadata to who sees conversations;
    /// media in the export of one conversation.
    #[test]
    fn an_export_never_holds_what_its_caller_may_not_see(
        conversation in conversations(),
        rights in prop::array::uniform5(any::<bool>()),
    ) {
        let [conversations, persons, texts_too, consents, media] = rights;
        let sight = Sight { conversations, persons, texts: texts_too, consents, media };
        let found =
            export::export(&conversation, &Beside::default(), Purpose::Conversation, sight);
        prop_assert_eq!(found.is_some(), conversations);
        let Some(found) = found else { return Ok(()) };
        prop_assert!(found.media.is_empty());
        for (old, new) in conversation.participants.iter().zip(&found.conversation.participants) {
            let nobody = StoredParticipant { id: old.id, ..participant(&old.role) };
            prop_assert_eq!(new, if persons { old } else { &nobody });
        }
        for (old, new) in conversation.segments.iter().zip(&found.conversation.segments) {
            let all_blank = texts(new).iter().all(String::is_empty);
            let is_right = if texts_too { texts(old) == texts(new) } else { all_blank };
            prop_assert!(is_right, "{:?}", sight);
            prop_assert_eq!(new.metadata.len(), if persons { old.metadata.len() } else { 0 });
            prop_assert!(persons || new.messages.iter().all(|message| message.from.is_empty()));
            prop_assert_eq!(&old.recordings, &new.recordings);
        }
    }

    /// Planted faults: a scheme cut off in the middle of a character; a hit that ends inside one.
    #[test]
    fn no_text_makes_a_panic((text, word) in text_and_word(), radius in 0..20_usize) {
        let plan = NumberPlan {
            country: Some("49".to_owned()),
            trunk_prefix: Some("0".to_owned()),
            international_prefix: None,
        };
        recognise(&text);
        holds_number(&text);
        for kind in IdentifierKind::ALL {
            if let Some(found) = Identifier::new(kind, &text, &plan) {
                prop_assert!(!found.normalized().is_empty());
            }
        }
        complete(&Tag::built_in(), &text, 3);
        if let Ok(form) = SearchForm::from_line(&text) {
            let _ = form.validate(&plan);
        }
        let terms = vec![(Sense::Include, None, word)];
        let form = SearchForm { terms, ..SearchForm::default() };
        let Ok(query) = form.validate(&plan) else { return Ok(()) };
        let mut last = 0;
        for hit in occurrences(&text, &query.terms()[0]) {
            prop_assert!(last <= hit.start && hit.start < hit.end);
            last = hit.end;
            let found = excerpt(&text, hit.clone(), radius);
            prop_assert_eq!(found.hit.expose_personal(), &text[hit]);
            prop_assert!(found.before.expose_personal().chars().count() <= radius);
            prop_assert!(found.after.expose_personal().chars().count() <= radius);
        }
    }
}

/// Pieces that mean something to some reader, put together at random, and any text at all.
fn any_text() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "a",
        "B",
        "zo\u{eb}",
        "e\u{301}",
        "\u{130}",
        "\u{df}",
        "\u{6771}\u{4eac}",
        "\u{1f4c5}",
        "0",
        "+1",
        "555",
        "0143",
        ":",
        "::",
        "@",
        "[",
        "]",
        "/",
        "%",
        "\"",
        "-",
        " ",
        ";ext=",
        "x",
        "sip:",
        "TEL:",
        "mailto:",
        "<",
        ">",
        "tag:",
        "from:",
        "meta.",
        "meta.K:",
        "2026-01-01",
        ".",
        "*",
        "(",
        "\u{661}",
    ];
    let pieces = prop::collection::vec(prop::sample::select(PIECES), 0..12);
    prop_oneof![3 => pieces.prop_map(|pieces| pieces.concat()), 1 => any::<String>()]
}

/// A text and what is searched for in it: as often as not, a part of it.
fn text_and_word() -> impl Strategy<Value = (String, String)> {
    let pair = any_text().prop_flat_map(|text| {
        let chars = text.chars().count();
        (Just(text), 0..=chars, 0..=chars, prop::option::of(any_text()))
    });
    pair.prop_map(|(text, one, other, word)| {
        let part = || text.chars().skip(one.min(other)).take(one.abs_diff(other)).collect();
        let word = word.unwrap_or_else(part);
        (text, word)
    })
}
