//! Checks of 1.3: tags, data tags, search, export, consent.

use std::collections::BTreeMap;

use recseal::clock::Timestamp;
use recseal::compliance::anonymize::{self, Protections};
use recseal::compliance::consent::{ConsentRecord, Purpose, protections};
use recseal::compliance::export::{self, Beside, Sight, WARNING};
use recseal::compliance::field::{FieldConfig, MetadataKeys};
use recseal::compliance::hold;
use recseal::compliance::person::{NumberPlan, PersonHandle};
use recseal::compliance::search::meaning::{Found, Searched, search};
use recseal::compliance::search::{Hit, SearchForm, TextField, order};
use recseal::compliance::tag::data::{Change, ShownOn, Tagging};
use recseal::compliance::tag::{LegalBasis, Tag, TagError, TagForm};
use recseal::domain::conversation::Personal;
use recseal::domain::{ConsentId, ConversationId, RecordingId, SegmentId, TagId};

use crate::world::{call, chat, conversation, data_tag, email, now};

pub(super) fn six_are_built_in() {
    let names: Vec<_> = Tag::built_in().iter().map(|tag| tag.name().to_owned()).collect();
    assert_eq!(
        names,
        [
            "GDPR 6(1)(a) Consent",
            "GDPR 6(1)(b) Contractual necessity",
            "GDPR 6(1)(c) Compliance with legal obligation",
            "GDPR 6(1)(d) Vital interests",
            "GDPR 6(1)(e) Public interest",
            "GDPR 6(1)(f) Legitimate interests",
        ]
    );
}

pub(super) fn each_protects_from_anonymization() {
    for basis in LegalBasis::ALL {
        let whole = protections(&[basis], &[], &[], now());
        let protections = Protections { whole, ..Protections::default() };
        let (config, keys) = (FieldConfig::default(), MetadataKeys::default());
        let before = conversation(vec![call()]);
        let refused = anonymize::plan(&before, &config, &keys, &protections, now()).unwrap_err();
        assert_eq!(refused.reasons, [basis.protection()]);
    }
}

pub(super) fn each_protects_from_deletion() {
    for basis in LegalBasis::ALL {
        assert!(hold::clear(RecordingId::new(), vec![basis.protection()], now()).is_err());
    }
}

pub(super) fn a_name_is_needed() {
    let form = TagForm {
        icon: "star".to_owned(),
        name: "VIP".to_owned(),
        description: "Look after them".to_owned(),
        pair: Some(("LEVEL".to_owned(), "vip".to_owned())),
    };
    let tag = Tag::own(TagId::new(), form.clone(), &[]).unwrap();
    assert_eq!(tag.form(), &form);
    let nameless = TagForm { name: String::new(), ..form };
    assert_eq!(Tag::own(TagId::new(), nameless, &[]), Err(TagError::NoName));
}

pub(super) fn built_in_stay() {
    for tag in Tag::built_in() {
        assert_eq!(tag.edited(tag.form().clone(), &[]), Err(TagError::BuiltIn));
        assert_eq!(tag.check_editable(), Err(TagError::BuiltIn));
    }
}

fn seven() -> Tagging {
    let segments = (0..7).map(|_| (SegmentId::new(), BTreeMap::new())).collect();
    Tagging { segments, ..Tagging::default() }
}

fn put(tagging: Tagging, tag: &Tag) -> Tagging {
    let changes = tagging.put(tag, Some("why".into())).unwrap();
    tagging.applied(&changes)
}

/// Tags shown on the conversation, and on segments.
fn counts(tagging: &Tagging, tag: &Tag) -> (usize, usize) {
    let shown = tagging.shown(std::slice::from_ref(tag));
    let on_it = shown.iter().filter(|one| one.on == ShownOn::Conversation).count();
    (on_it, shown.len() - on_it)
}

fn values(tagging: &Tagging, key: &str) -> Vec<String> {
    let found = tagging.segments.iter().filter_map(|(_, metadata)| metadata.get(key));
    found.map(|value| value.expose_personal().to_owned()).collect()
}

pub(super) fn a_pair_goes_to_every_segment() {
    let tagged = put(seven(), &data_tag("VIP", "LEVEL", "vip"));
    assert_eq!(values(&tagged, "LEVEL"), ["vip"; 7]);
}

pub(super) fn editing_follows() {
    let old = data_tag("VIP", "LEVEL", "vip");
    let tagged = put(seven(), &old);
    let pair = Some(("LEVEL".to_owned(), "gold".to_owned()));
    let new = old.edited(TagForm { pair, ..old.form().clone() }, &[]).unwrap();
    let changes = tagged.edit(&old, &new);
    assert_eq!(values(&tagged.applied(&changes), "LEVEL"), ["gold"; 7]);
}

pub(super) fn taking_off_follows() {
    let tag = data_tag("VIP", "LEVEL", "vip");
    let tagged = put(seven(), &tag);
    let changes = tagged.take(&tag);
    let after = tagged.applied(&changes);
    assert_eq!((values(&after, "LEVEL").len(), counts(&after, &tag)), (0, (0, 0)));
}

fn one_has_it_already() -> (Tagging, Tag) {
    let mut tagging = seven();
    tagging.segments[3].1.insert("LEVEL".to_owned(), "vip".into());
    (tagging, data_tag("VIP", "LEVEL", "vip"))
}

pub(super) fn a_pair_shows_its_tag() {
    let (tagging, tag) = one_has_it_already();
    let shown = tagging.shown(std::slice::from_ref(&tag));
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].on, ShownOn::Segment(tagging.segments[3].0));
}

pub(super) fn it_has_no_comment() {
    let (tagging, tag) = one_has_it_already();
    let tagged = put(tagging, &tag);
    for shown in tagged.shown(std::slice::from_ref(&tag)) {
        let is_of_conversation = shown.on == ShownOn::Conversation;
        assert_eq!(shown.may_have_comment(), is_of_conversation);
        assert_eq!(shown.comment.is_some(), is_of_conversation);
    }
}

pub(super) fn one_and_seven() {
    let tag = data_tag("VIP", "LEVEL", "vip");
    assert_eq!(counts(&put(seven(), &tag), &tag), (1, 7));
}

pub(super) fn one_and_six() {
    let tag = data_tag("VIP", "LEVEL", "vip");
    let tagged = put(seven(), &tag);
    let changes = tagged.set_value(tagged.segments[0].0, "LEVEL", None);
    assert_eq!(counts(&tagged.applied(&changes), &tag), (1, 6));
}

pub(super) fn changes_are_of_values() {
    let changes = seven().put(&data_tag("VIP", "LEVEL", "vip"), None).unwrap();
    let values = changes.iter().filter(|change| matches!(change, Change::PutValue(..)));
    assert_eq!(values.count(), 7);
}

/// What `line` finds of a conversation with an email and a chat, tagged VIP and commented on.
fn found(line: &str) -> Option<Found> {
    let plan = NumberPlan::default();
    let query = SearchForm::from_line(line).unwrap().validate(&plan).unwrap();
    let conversation = conversation(vec![email(), chat()]);
    let tags = [("VIP".to_owned(), Some(Personal::from("rather difficult")))];
    search(&query, Searched { conversation: &conversation, tags: &tags }, &plan)
}

pub(super) fn tags_are_or() {
    assert!(found("tag:gold").is_none());
    assert!(found("tag:gold tag:vip").is_some());
}

pub(super) fn email_is_exact() {
    assert!(found("email:ann@example.org").is_some());
    assert!(found("email:ann@example.or").is_none());
}

pub(super) fn every_text_is_searched() {
    for (word, field) in [
        ("damage", TextField::Subject),
        ("flat", TextField::Body),
        ("lobby", TextField::Room),
        ("cellar", TextField::Message),
        ("difficult", TextField::Comment),
    ] {
        let in_field = format!("{}:{word}", field.as_str());
        for line in [word, &in_field] {
            let (first, _) = found(line).and_then(|found| found.first).expect(line);
            assert_eq!(first, field, "{line}");
        }
    }
}

pub(super) fn terms_exclude() {
    assert!(found("damage -fire").is_some());
    assert!(found("damage -cellar").is_none());
    assert!(found("damage -subject:cellar").is_some());
}

pub(super) fn best_first() {
    let hit = |score| Hit { conversation: ConversationId::new(), score, started_at: None };
    let mut hits = [hit(1.0), hit(3.0), hit(2.0)];
    hits.sort_by(order);
    assert_eq!(hits.map(|hit| hit.score), [3.0, 2.0, 1.0]);
}

pub(super) fn hits_are_highlighted() {
    let (_, first) = found("DAMAGE").and_then(|found| found.first).unwrap();
    assert_eq!(first.before.expose_personal(), "Water ");
    assert_eq!(first.hit.expose_personal(), "damage");
}

pub(super) fn export_is_without_media() {
    let sight =
        Sight { conversations: true, persons: true, texts: true, consents: true, media: true };
    let before = conversation(vec![call()]);
    let beside = Beside::default();
    let found = export::export(&before, &beside, export::Purpose::Conversation, sight).unwrap();
    assert_eq!((found.conversation, found.media.len()), (before, 0));
}

pub(super) fn export_warns() {
    assert!(WARNING.contains("other people"));
}

pub(super) fn withdrawal_lifts() {
    let ann = PersonHandle([1; 32]);
    let said = |given, millis| ConsentRecord {
        id: ConsentId::new(),
        persons: vec![ann],
        purpose: Purpose::Recording,
        given,
        at: Timestamp::from_millis(millis),
        evidence: None,
        conversation: None,
    };
    let both = [LegalBasis::Consent, LegalBasis::Contract];
    let of = |records: &[ConsentRecord]| protections(&both, records, &[ann], now()).len();
    assert_eq!(of(&[said(true, 1)]), 2);
    assert_eq!(of(&[said(true, 1), said(false, 2)]), 1);
}
