//! Checks of 1.2: fields, placeholders, media, reviewing.

use jiff::civil::date;
use recseal::compliance::anonymize::{self, Protections};
use recseal::compliance::conversation::{Kept, merge};
use recseal::compliance::field::{
    BasicField, Draft, FieldActivity, FieldConfig, FieldError, Group, MetadataKeys,
};
use recseal::compliance::hold::Protection;
use recseal::compliance::person::PersonHandle;
use recseal::compliance::request::{Law, Manner, Request, Right, reached};
use recseal::compliance::reviewable::{self, Reviewable};
use recseal::domain::RequestId;
use recseal::domain::conversation::{
    ConversationInput, MediaStatus, SegmentInput, SegmentKind, StoredSegment,
};

use crate::world::{
    anonymized, call, chat, config, conversation, email, now, plan, segment, text, with_values,
};

pub(super) fn phone_is_on() {
    assert!(FieldConfig::default().takes(BasicField::Phone));
}

pub(super) fn address_is_on() {
    assert!(FieldConfig::default().takes(BasicField::Address));
}

pub(super) fn texts_are_off() {
    assert!(!FieldConfig::default().takes(BasicField::Texts));
}

pub(super) fn media_is_off() {
    assert!(!FieldConfig::default().takes(BasicField::Media));
}

pub(super) fn mifid_is_left_out() {
    let before = conversation(vec![call(), call()]);
    let kept = before.segments[0].recordings[0].id;
    let mifid = Protection::Mifid { until: None };
    let protections = Protections { recordings: vec![(kept, mifid)], ..Protections::default() };
    let config = config(&[BasicField::Media], &[]);
    let keys = MetadataKeys::default();
    let plan = anonymize::plan(&before, &config, &keys, &protections, now()).unwrap();
    assert_eq!(plan.media(), [before.segments[1].recordings[0].id]);
    assert_eq!(plan.left_out()[0].recording, kept);
}

/// One filter that was seen, one that was not, one key that is no filter, and one that merges.
fn keys() -> MetadataKeys {
    MetadataKeys {
        filters: vec!["SKILL".to_owned(), "QUEUE".to_owned()],
        seen: ["SKILL", "ANI", "CALL_ID"].map(str::to_owned).into(),
        correlation: ["CALL_ID".to_owned()].into(),
    }
}

pub(super) fn filters_are_custom() {
    for key in ["SKILL", "QUEUE"] {
        assert_eq!(keys().group(key), Some(Group::Custom));
        assert!(!FieldConfig::default().takes_key(key));
    }
}

pub(super) fn the_rest_is_other() {
    assert_eq!(keys().group("ANI"), Some(Group::Other));
    assert!(!FieldConfig::default().takes_key("ANI"));
}

pub(super) fn save_applies() {
    let saved = FieldConfig::default();
    let mut draft = Draft::of(&saved);
    draft.set(BasicField::Media, true);
    draft.set_key("SKILL", true);
    let now = draft.save(&saved, &keys()).unwrap().config;
    assert!(now.takes(BasicField::Media) && now.takes_key("SKILL"));
}

pub(super) fn reset_returns() {
    let saved = config(&[BasicField::Media], &["ANI"]);
    let mut draft = Draft::of(&saved);
    draft.set(BasicField::Media, false);
    draft.set_key("ANI", false);
    draft.reset();
    let same = draft.save(&saved, &keys()).unwrap();
    assert_eq!((same.config, same.activities.len()), (saved, 0));
}

fn activities(choose: fn(&mut Draft)) -> Vec<&'static str> {
    let saved = FieldConfig::default();
    let mut draft = Draft::of(&saved);
    choose(&mut draft);
    let saved = draft.save(&saved, &keys()).unwrap();
    saved.activities.into_iter().map(FieldActivity::as_str).collect()
}

pub(super) fn basic_is_field_config_update() {
    let found = activities(|draft| draft.set(BasicField::Phone, false));
    assert_eq!(found, ["FIELD_CONFIG_UPDATE"]);
}

pub(super) fn keys_are_metadata_key_update() {
    for choose in [
        |draft: &mut Draft| draft.set_key("QUEUE", true),
        |draft: &mut Draft| {
            draft.set_key("ANI", true);
        },
    ] {
        assert_eq!(activities(choose), ["METADATA_KEY_UPDATE"]);
    }
}

pub(super) fn phone_becomes() {
    let after = anonymized(&conversation(vec![]), &[BasicField::Phone], &[]);
    assert_eq!(text(&after.participants[0].phone), "[anonphonenumber]");
}

pub(super) fn addresses_become() {
    let after = anonymized(&conversation(vec![]), &[BasicField::Address], &[]);
    assert_eq!(text(&after.participants[0].email), "[anondigitaladdress]");
    assert_eq!(text(&after.participants[0].chat_address), "[anondigitaladdress]");
}

pub(super) fn texts_become() {
    let after = anonymized(&conversation(vec![email(), chat()]), &[BasicField::Texts], &[]);
    let (email, chat) = (&after.segments[0], &after.segments[1]);
    for text in [text(&email.subject), text(&email.body), text(&chat.room)] {
        assert_eq!(text, "[anonconversationcontent]");
    }
    assert_eq!(chat.messages[0].text.expose_personal(), "[anonconversationcontent]");
}

pub(super) fn metadata_becomes() {
    let before = conversation(vec![with_values(call(), &[("ANI", "1"), ("SKILL", "2")])]);
    let after = anonymized(&before, &[], &["ANI"]);
    let value = |key| after.segments[0].value(key).unwrap().expose_personal();
    assert_eq!((value("ANI"), value("SKILL")), ("[anonymized]", "2"));
}

pub(super) fn ip_becomes() {
    for (ip, placeholder) in [("192.0.2.7", "0.0.0.0"), ("2001:db8::7", "::")] {
        let mut before = conversation(vec![]);
        before.participants[0].ip = Some(ip.into());
        let after = anonymized(&before, &[BasicField::Address], &[]);
        assert_eq!(text(&after.participants[0].ip), placeholder);
    }
}

pub(super) fn correlation_keys_are_refused() {
    let saved = FieldConfig::default();
    let mut draft = Draft::of(&saved);
    draft.set_key("CALL_ID", true);
    let refused = draft.save(&saved, &keys()).unwrap_err();
    assert_eq!(refused, FieldError::CorrelationKey { key: "CALL_ID".to_owned() });
    let before = conversation(vec![with_values(call(), &[("CALL_ID", "1")])]);
    let config = config(&[], &["CALL_ID"]);
    let none = Protections::default();
    let plan = anonymize::plan(&before, &config, &keys(), &none, now()).unwrap();
    assert!(plan.is_empty(), "chosen before it became one");
}

pub(super) fn one_choice_for_all() {
    let config = FieldConfig::default();
    let (one, other) = (conversation(vec![call()]), conversation(vec![email()]));
    let fields = |plan: anonymize::Plan| -> Vec<String> {
        plan.cells().iter().map(|(_, placeholder)| format!("{placeholder:?}")).collect()
    };
    assert_eq!(fields(plan(&one, &config)), fields(plan(&other, &config)));
}

pub(super) fn planned_still_plays() {
    let after = anonymized(&conversation(vec![call()]), &[BasicField::Media], &[]);
    let media = after.segments[0].recordings[0].media;
    assert!(media.is_playable());
    assert_eq!(media.label(), "Planned for deletion of media files");
}

pub(super) fn the_mark_survives() {
    let marked = anonymized(&conversation(vec![call()]), &[BasicField::Media], &[]);
    let again = ConversationInput {
        external_id: marked.external_id.clone(),
        segments: vec![SegmentInput {
            external_id: marked.segments[0].external_id.clone(),
            kind: SegmentKind::Call,
            started_at: None,
            ended_at: None,
            subject: None,
            body: None,
            room: None,
            messages: Vec::new(),
            metadata: Vec::new(),
            recordings: Vec::new(),
        }],
        ..ConversationInput::default()
    };
    let (kept, keys) = (Kept::default(), MetadataKeys::default());
    let merged = merge(Some(&marked), &again, &kept, &keys, || unreachable!("nothing is new"));
    assert_eq!(merged.segments[0].recordings, marked.segments[0].recordings);
}

pub(super) fn deleted_does_not_play() {
    assert!(!MediaStatus::Deleted.is_playable());
    assert_eq!(MediaStatus::Deleted.label(), "Deleted");
}

fn judged(segments: Vec<StoredSegment>, basic: &[BasicField]) -> Reviewable {
    reviewable::judge(&anonymized(&conversation(segments), basic, &[]))
}

pub(super) fn call_by_media() {
    assert_eq!(judged(vec![call()], &[BasicField::Texts]), Reviewable::Yes);
    assert_eq!(judged(vec![call()], &[BasicField::Media]), Reviewable::No);
}

pub(super) fn writing_by_texts() {
    for one in [email, chat] {
        assert_eq!(judged(vec![one()], &[BasicField::Media]), Reviewable::Yes);
        assert_eq!(judged(vec![one()], &[BasicField::Texts]), Reviewable::No);
    }
}

pub(super) fn mixed_by_both() {
    let mixed = || vec![call(), email(), chat()];
    for (basic, expected) in [
        (&[BasicField::Media][..], Reviewable::Yes),
        (&[BasicField::Texts], Reviewable::Yes),
        (&[BasicField::Media, BasicField::Texts], Reviewable::No),
    ] {
        assert_eq!(judged(mixed(), basic), expected, "{basic:?}");
    }
}

pub(super) fn one_untouched_is_enough() {
    let untouched = segment(SegmentKind::Call);
    let both = [BasicField::Media, BasicField::Texts];
    assert_eq!(judged(vec![call(), email(), untouched], &both), Reviewable::Yes);
}

pub(super) fn later_recordings_are_caught() {
    let (ann, bob) = (PersonHandle([1; 32]), PersonHandle([2; 32]));
    let what = (Law::Ccpa, Right::OptOut, Manner::Web);
    let requests = [Request::received(RequestId::new(), what, date(2026, 1, 5), vec![ann])];
    assert_eq!(reached(&requests, &[bob, ann]).len(), 1);
    assert!(reached(&requests, &[bob]).is_empty());
}
