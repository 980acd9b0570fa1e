use super::highlight::{excerpt, occurrences};
use super::meaning::{Found, Searched, search};
use super::*;
use crate::domain::conversation::{
    SegmentKind, StoredConversation, StoredMessage, StoredParticipant, StoredSegment,
};
use crate::domain::{MessageId, ParticipantId, SegmentId};

fn term(text: &str) -> Term {
    Term::new(Sense::Include, None, text).unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp::from_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

/// An email and a chat of Ann with staff, tagged and commented on.
fn conversation() -> StoredConversation {
    let segment = |kind, subject: &str, body: &str, room: &str, said: &[&str], skill: &str| {
        let some = |text: &str| (!text.is_empty()).then(|| Personal::from(text));
        let message = |text: &&str| StoredMessage {
            id: MessageId::new(),
            at: None,
            from: "Ann".into(),
            text: (*text).into(),
        };
        StoredSegment {
            id: SegmentId::new(),
            external_id: String::new(),
            kind,
            started_at: None,
            ended_at: None,
            subject: some(subject),
            body: some(body),
            room: some(room),
            messages: said.iter().map(message).collect(),
            metadata: vec![("SKILL".to_owned(), skill.into())],
            recordings: Vec::new(),
        }
    };
    let said = [
        "The water is rising",
        "water, water everywhere",
        "\u{6771}\u{4eac}\u{306e}\u{6c34}\u{9053}",
    ];
    StoredConversation {
        id: ConversationId::new(),
        external_id: String::new(),
        started_at: Some(at("2026-01-15T10:00:00Z")),
        participants: vec![StoredParticipant {
            id: ParticipantId::new(),
            role: "customer".to_owned(),
            name: Some("Ann Mary Example".into()),
            phone: Some("+1 202 555 0143".into()),
            email: Some("Ann@Example.org".into()),
            ip: Some("192.0.2.7".into()),
            chat_address: Some("ann77".into()),
        }],
        segments: vec![
            segment(
                SegmentKind::Email,
                "Water damage",
                "Dear Zo\u{eb}, my flat",
                "",
                &[],
                "claims",
            ),
            segment(SegmentKind::Chat, "", "", "Claims lobby", &said, "chat"),
        ],
    }
}

fn found(line: &str) -> Option<Found> {
    let plan = NumberPlan::default();
    let query = SearchForm::from_line(line).unwrap().validate(&plan).unwrap();
    let conversation = conversation();
    let tags = [
        ("VIP".to_owned(), Some(Personal::from("rather difficult"))),
        ("Zo\u{eb}".to_owned(), None),
    ];
    search(&query, Searched { conversation: &conversation, tags: &tags }, &plan)
}

/// Every field, both senses, and how parts are joined. Planted faults: tags joined with AND; a part
/// of an address found; one word of a phrase enough; an exclusion that excludes nothing; the last
/// day left out; metadata compared by a part.
#[test]
fn a_query_finds_what_it_says() {
    for (line, hits) in [
        ("", Some(0)),
        ("water", Some(4)),
        ("WATER", Some(4)),
        ("zoe", Some(1)),
        ("wat", None),
        ("water flat", Some(5)),
        ("water fire", None),
        ("water -fire", Some(4)),
        ("-water", None),
        ("-fire", Some(0)),
        ("\"water damage\"", Some(1)),
        ("\"damage water\"", None),
        ("subject:water", Some(1)),
        ("body:water", None),
        ("message:water", Some(3)),
        ("-message:everywhere", None),
        ("-body:everywhere", Some(0)),
        ("room:lobby", Some(1)),
        ("comment:difficult", Some(1)),
        ("-comment:difficult", None),
        ("email:ann@example.org", Some(1)),
        ("ann@example.org", Some(1)),
        ("email:nn@example.org", None),
        ("email:ann@example", None),
        ("ann@example", None),
        ("example", None),
        ("\u{4eac}", Some(1)),
        ("\u{6771}\u{4eac}\u{306e}", Some(1)),
        ("\u{6771}\u{6c34}", None),
        ("tag:vip", Some(0)),
        ("tag:gold", None),
        ("tag:gold tag:zoe", Some(0)),
        ("meta.SKILL:claims", Some(0)),
        ("meta.SKILL:claims meta.SKILL:chat", Some(0)),
        ("meta.SKILL:claim", None),
        ("meta.skill:claims", None),
        ("-meta.SKILL:claims", None),
        ("-meta.SKILL:sales", Some(0)),
        ("participant:12025550143", Some(0)),
        ("participant:\"mary example\"", Some(0)),
        ("participant:\"ann example\"", None),
        ("participant:192.0.2.7", Some(0)),
        ("participant:Ann77", Some(0)),
        ("participant:mary participant:bob", None),
        ("from:2026-01-15", Some(0)),
        ("from:2026-01-16", None),
        ("to:2026-01-15", Some(0)),
        ("to:2026-01-14", None),
        ("to:2026-01-15T10:00:00Z", None),
        ("from:2026-01-15T10:00:00Z", Some(0)),
    ] {
        assert_eq!(found(line).map(|found| found.hits), hits, "{line}");
    }
}

/// Planted faults: a quote that ends the string; control characters let through.
#[test]
fn no_character_is_an_operator() {
    for (text, quoted) in [
        ("a\" OR \"b", "\"a\"\" OR \"\"b\""),
        ("NEAR(a b)", "\"NEAR(a b)\""),
        ("a*", "\"a*\""),
        ("col:a", "\"col:a\""),
        ("^a", "\"^a\""),
        ("a AND NOT b", "\"a AND NOT b\""),
        ("'; DROP", "\"'; DROP\""),
        ("{a}: b + c", "\"{a}: b + c\""),
    ] {
        assert_eq!(term(text).quoted(), quoted);
    }
    for (text, error) in [
        ("a\0b", SearchError::ControlCharacter),
        ("a\nb", SearchError::ControlCharacter),
        ("***", SearchError::NothingToSearch { at: None }),
        ("  ", SearchError::NothingToSearch { at: None }),
    ] {
        assert_eq!(Term::new(Sense::Include, None, text), Err(error), "{text:?}");
    }
    assert!(found("wat*").is_none());
    assert!(found("\"water OR fire\"").is_none());
    assert_eq!(found("subject:water OR").map(|found| found.hits), None);
}

/// Planted faults: a misspelt field searched for as text; the place counted in bytes.
#[test]
fn a_line_that_cannot_be_read_says_where() {
    use SearchError as E;
    for (line, error) in [
        ("\u{e9}\u{e9} subjct:x", E::UnknownField { at: 4 }),
        ("http://x", E::UnknownField { at: 1 }),
        ("a \"b", E::UnclosedQuote { at: 3 }),
        ("subject:\"b", E::UnclosedQuote { at: 9 }),
        ("from:yesterday", E::NotADate { at: 1 }),
        ("-tag:x", E::NotExcludable { at: 1 }),
        ("a -from:2026-01-01", E::NotExcludable { at: 3 }),
        ("subject:", E::NothingToSearch { at: Some(1) }),
        ("a -", E::NothingToSearch { at: Some(3) }),
        ("\"\"", E::NothingToSearch { at: Some(1) }),
    ] {
        assert_eq!(SearchForm::from_line(line), Err(error), "{line}");
    }
    let texts = |line: &str| -> Vec<String> {
        let form = SearchForm::from_line(line).unwrap();
        form.terms.into_iter().map(|(_, _, text)| text).collect()
    };
    assert_eq!(
        texts("12:30 C:\\x \"http://x\" a-b \"a \"\"b\"\" c\""),
        ["12:30", "C:\\x", "http://x", "a-b", "a \"b\" c"]
    );
    assert_eq!(SearchForm::from_line(&"x".repeat(LINE_BYTES_MAX + 1)), Err(E::LineTooLong));
}

/// Planted fault: one more of each let through.
#[test]
fn everything_has_a_limit() {
    let plan = NumberPlan::default();
    let word = || (Sense::Include, None, "x".to_owned());
    let good =
        SearchForm { terms: (0..TERMS_MAX).map(|_| word()).collect(), ..SearchForm::default() };
    assert!(good.clone().validate(&plan).is_ok());
    let names = |count: usize| (0..count).map(|_| "x".to_owned()).collect::<Vec<_>>();
    let pair = || (Sense::Include, "k".to_owned(), "v".to_owned());
    let (early, late) = (Timestamp::from_millis(1), Timestamp::from_millis(2));
    let none = SearchForm::default();
    let long = "x".repeat(TEXT_BYTES_MAX + 1);
    for (form, is_fine) in [
        (SearchForm { terms: (0..=TERMS_MAX).map(|_| word()).collect(), ..none.clone() }, false),
        (SearchForm { tags: names(TAGS_MAX), ..none.clone() }, true),
        (SearchForm { tags: names(TAGS_MAX + 1), ..none.clone() }, false),
        (SearchForm { participants: names(PARTICIPANTS_MAX + 1), ..none.clone() }, false),
        (
            SearchForm { metadata: (0..=METADATA_MAX).map(|_| pair()).collect(), ..none.clone() },
            false,
        ),
        (SearchForm { from: Some(early), to: Some(late), ..none.clone() }, true),
        (SearchForm { from: Some(early), to: Some(early), ..none.clone() }, false),
        (SearchForm { tags: vec![long.clone()], ..none.clone() }, false),
        (SearchForm { tags: vec!["a\0".to_owned()], ..none.clone() }, false),
        (SearchForm { participants: vec![" ".to_owned()], ..none.clone() }, false),
        (
            SearchForm {
                terms: vec![(Sense::Include, Some(TextField::Email), "ann".to_owned())],
                ..none.clone()
            },
            false,
        ),
    ] {
        assert_eq!(form.clone().validate(&plan).is_ok(), is_fine, "{form:?}");
    }
}

/// Planted faults: the hit in lower case; the last hit; a word cut in two; "more" said where there
/// is none.
#[test]
fn the_first_hit_is_highlighted() {
    let found = found("water").unwrap();
    let (field, excerpt_) = found.first.unwrap();
    assert_eq!((field, excerpt_.hit.expose_personal()), (TextField::Subject, "Water"));
    let text = "\u{e9}\u{e9}\u{e9} about the Zo\u{eb} damage in \u{e9}\u{e9}\u{e9}";
    let hit = occurrences(text, &term("ZOE DAMAGE")).remove(0);
    for (radius, before, after, cuts) in [
        (100, "\u{e9}\u{e9}\u{e9} about the ", " in \u{e9}\u{e9}\u{e9}", (false, false)),
        (7, "the ", " in \u{e9}\u{e9}\u{e9}", (true, false)),
        (6, "the ", " in", (true, true)),
        (0, "", "", (true, true)),
    ] {
        let found = excerpt(text, hit.clone(), radius);
        assert_eq!(found.hit.expose_personal(), "Zo\u{eb} damage");
        assert_eq!(found.before.expose_personal(), before, "{radius}");
        assert_eq!(found.after.expose_personal(), after, "{radius}");
        assert_eq!((found.is_cut_before, found.is_cut_after), cuts, "{radius}");
    }
    assert_eq!(occurrences("ZOE\u{308} zoe", &term("zo\u{eb}")).len(), 2);
    assert_eq!(occurrences("aa aa aa", &term("aa aa")).len(), 1, "no overlaps");
}

/// Planted faults: short text taken for trigrams; scores upside down; equal hits in no order.
#[test]
fn lookups_and_the_order_of_hits() {
    for (text, lookup) in [
        ("water", Lookup::Words),
        ("\u{6771}", Lookup::Characters),
        ("\u{6771}\u{4eac}", Lookup::Characters),
        ("\u{6771}\u{4eac}\u{90fd}", Lookup::Trigrams),
        ("\u{e2a}\u{e27}\u{e31}\u{e2a}", Lookup::Trigrams),
    ] {
        assert_eq!(term(text).lookup(), lookup, "{text}");
    }
    let plan = NumberPlan::default();
    let order_of =
        |line: &str| SearchForm::from_line(line).unwrap().validate(&plan).unwrap().order();
    assert_eq!(order_of("water"), Order::ByScore);
    assert_eq!(order_of("-water tag:x"), Order::NewestFirst);
    let hit = |score, millis: Option<i64>| Hit {
        conversation: ConversationId::new(),
        score,
        started_at: millis.map(Timestamp::from_millis),
    };
    let expected =
        [hit(2.0, None), hit(1.0, Some(9)), hit(1.0, Some(5)), hit(1.0, None), hit(1.0, None)];
    let mut found = expected;
    found.reverse();
    found.sort_by(order);
    assert_eq!(found, expected);
}
