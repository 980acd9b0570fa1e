use proptest::prelude::*;

use super::*;

fn facts() -> QueryFacts<'static> {
    QueryFacts {
        store: "0192f0c8-7a3b-7c4d-8e5f-123456789abc".parse().unwrap(),
        store_path: Some(b"/var/spool/asterisk/monitor"),
        recorded_at: Timestamp::parse("2026-01-31T10:00:00Z").unwrap(),
        name: "q-600-+12025550143-größe 1.wav".as_bytes(),
        from: Some("+12025550143"),
        to: Some("600"),
        call: Some("1769853600.17"),
        container: Some("wav"),
        codec: Some("pcm_s16le"),
        kind: Some(MediaKind::Audio),
        duration_ms: Some(90_000),
        size_bytes: 2_000_000,
        state: "available",
        quarantine: None,
    }
}

fn matches(query: &str, facts: &QueryFacts<'_>) -> bool {
    Query::parse(query).unwrap_or_else(|error| panic!("{query}: {error}")).matches(facts)
}

/// Each key on both sides of its border. Planted faults: `<` and `<=` exchanged at each border;
/// `from` and `to` exchanged; the slash of a store's path kept.
#[test]
fn each_key_asks_what_it_says() {
    let other = "0192f0c8-7a3b-7c4d-8e5f-123456789abd";
    for (query, expected) in [
        ("store:/var/spool/asterisk/monitor", true),
        ("store:/var/spool/asterisk/monitor/", true),
        ("store:/var/spool/asterisk", false),
        ("store:0192f0c8-7a3b-7c4d-8e5f-123456789abc", true),
        (&format!("store:{other}"), false),
        ("before:2026-01-31", false),
        ("before:2026-02-01", true),
        ("before:2026-01-31T10:00:00Z", false),
        ("before:2026-01-31T12:00:01+02:00", true),
        ("after:2026-01-31", true),
        ("after:2026-01-31T10:00:00Z", true),
        ("after:2026-01-31T10:00:00.001Z", false),
        ("name:*.wav", true),
        ("name:\"q-*-größe 1.wav\"", true),
        ("name:q-*\" \"1.wav", true),
        ("name:\"q-600-?12025550143-gr??e 1.wav\"", true),
        ("name:q-600", false),
        ("name:Q*", false),
        ("from:12025550143", true),
        ("from:\"+1 (202) 555-0143\"", true),
        ("from:600", false),
        ("to:600", true),
        ("to:12025550143", false),
        ("call:1769853600.17", true),
        ("call:1769853600", false),
        ("container:wav codec:pcm_s16le kind:audio", true),
        ("container:mp4", false),
        ("codec:opus", false),
        ("kind:video", false),
        ("longer:89s", true),
        ("longer:90s", false),
        ("longer:\"1m 29s\"", true),
        ("shorter:90s", false),
        ("shorter:91s", true),
        ("larger:1999999", true),
        ("larger:2MB", false),
        ("larger:1MiB", true),
        ("smaller:2MB", false),
        ("smaller:2MiB", true),
        ("state:available", true),
        ("state:planned-for-deletion", false),
        ("quarantined:no", true),
        ("quarantined:yes", false),
        ("quarantined:unreadable", false),
    ] {
        assert_eq!(matches(query, &facts()), expected, "{query}");
        // A query needs something that is meant; everything has a size.
        let opposite = format!("smaller:1TB -{query}");
        if !query.contains(' ') {
            assert_eq!(matches(&opposite, &facts()), !expected, "{opposite}");
        }
    }
    let quarantined = QueryFacts { quarantine: Some("unreadable"), ..facts() };
    assert!(matches("quarantined:unreadable quarantined:yes", &quarantined));
    assert!(!matches("quarantined:other", &quarantined));
}

/// Planted fault: what is not known taken for what does not hold. Then `-from:…` erases every
/// recording whose name says nothing.
#[test]
fn what_is_not_known_is_never_chosen() {
    let unknown = QueryFacts {
        store_path: None,
        from: None,
        to: None,
        call: None,
        container: None,
        codec: None,
        kind: None,
        duration_ms: None,
        ..facts()
    };
    for query in [
        "store:/r",
        "from:1",
        "to:1",
        "call:1",
        "container:wav",
        "codec:opus",
        "kind:audio",
        "longer:1s",
        "shorter:1s",
    ] {
        assert!(!matches(query, &unknown), "{query}");
        assert!(!matches(&format!("smaller:1TB -{query}"), &unknown), "-{query}");
    }
    assert!(matches("smaller:1TB", &unknown));
}

/// Planted fault: one of them is enough.
#[test]
fn all_terms_have_to_hold() {
    assert!(matches("  name:*.wav\tto:600\n-kind:video  ", &facts()));
    assert!(!matches("name:*.wav to:601", &facts()));
    assert!(!matches("name:*.wav -to:600", &facts()));
    assert!(!matches("to:600 to:601", &facts()));
}

/// What is wrong, where, and what to do. Planted faults: a bare word taken for a name; an empty
/// query that chooses everything; exclusions alone let through; an open quote closed; bytes counted
/// for characters.
#[test]
fn a_slip_of_the_pen_chooses_nothing() {
    use QueryProblem as P;
    let date = KEYS[1].1;
    for (query, term, position, problem) in [
        ("", 0, 0, P::Empty),
        (" \n ", 0, 0, P::Empty),
        ("-from:5550143", 0, 0, P::OnlyExclusions),
        ("5550143", 1, 1, P::BareWord),
        ("kind:audio  5550143", 2, 13, P::BareWord),
        ("name:ö -5550143", 2, 8, P::BareWord),
        ("kind :audio", 1, 1, P::BareWord),
        ("-", 1, 1, P::BareWord),
        ("\"kind:audio\"", 1, 1, P::UnknownKey),
        ("form:5550143", 1, 1, P::UnknownKey),
        ("FROM:5550143", 1, 1, P::UnknownKey),
        ("--from:1", 1, 1, P::UnknownKey),
        (":5550143", 1, 1, P::UnknownKey),
        ("kind:audio from:", 2, 12, P::NoValue { key: "from" }),
        ("from: 5550143", 1, 1, P::NoValue { key: "from" }),
        ("from:\"\"", 1, 1, P::NoValue { key: "from" }),
        ("from:\"5550143", 1, 1, P::OpenQuote { key: "from" }),
        ("from:\"5550143\\", 1, 1, P::OpenQuote { key: "from" }),
        ("before:yesterday", 1, 1, P::BadValue { key: "before", wanted: date }),
        ("before:2026-02-30", 1, 1, P::BadValue { key: "before", wanted: date }),
    ] {
        let error = Query::parse(query).unwrap_err();
        assert_eq!(error, QueryError { term, position, problem }, "{query}");
        assert!(!error.to_string().contains("555") && !error.hint().contains("555"), "{error}");
        assert!(!error.hint().is_empty());
    }
    for bad in [
        "store:calls",
        "name:a/b",
        "from:\" \"",
        "container:\"WAV \"",
        "kind:sound",
        "longer:5",
        "longer:-5s",
        "larger:10M",
        "larger:-1",
        "larger:1.5MB",
        "larger:99999999999TB",
        "smaller:MB",
        "state:sealed",
        "quarantined:\"no reason\"",
    ] {
        let error = Query::parse(bad).unwrap_err();
        assert!(matches!(error.problem, P::BadValue { .. }), "{bad}: {error}");
    }
    let long = "kind:audio ".repeat(TERMS);
    assert!(Query::parse(&long).is_ok());
    for too_long in [long + "kind:audio", format!("call:{}", "x".repeat(5_000))] {
        assert_eq!(Query::parse(&too_long).unwrap_err().problem, P::TooLong);
    }
    assert_eq!(format!("{:?}", Query::parse("from:5550143").unwrap()), "Query(1 terms)");
}

/// Every key that is offered is understood, with what its hint shows. Planted fault: a size in a
/// hint that is not taken.
#[test]
fn what_hints_show_is_taken() {
    for (key, wanted) in KEYS {
        let value = match wanted {
            "PATH|ID" => "/r",
            "GLOB" => "*",
            "NUMBER" | "ID" => "1",
            "NAME" => "wav",
            wanted => wanted,
        };
        for value in value.split('|').filter(|value| *value != "REASON") {
            let query = format!("{key}:{value}");
            assert!(Query::parse(&query).is_ok(), "{query}");
        }
    }
}

/// Every pair in both directions. Planted faults: `+` not told from a bare number; the limit of 7
/// digits left out; the country code not limited; the zero not taken off; an address in dots
/// taken for a number.
#[test]
fn numbers_are_known_in_every_spelling() {
    let same: &[&[&str]] = &[
        &[
            "+49 30 1234567",
            "0049301234567",
            "49301234567",
            "+49 (0)30 123-4567",
            "030/1234567",
            "tel:+49-30-1234567",
            "SIP:+49301234567@pbx.example;user=phone",
        ],
        &["+1 202 555 0143", "12025550143", "(202) 555-0143", "5550143", "001 202 555 0143"],
        &["+39 06 1234 5678", "06 1234 5678", "0039 0612345678"],
        &["+378 0549 123456", "0549 123456"],
        &["600", "6-00"],
        &["anna@example.org", "Anna@Example.ORG"],
        &["192.0.2.7", "192.0.2.7"],
        &["sip_alice", "sip_alice"],
    ];
    for group in same {
        for (a, b) in group.iter().flat_map(|a| group.iter().map(move |b| (a, b))) {
            assert!(PersonValue::parse(a).unwrap().is(b), "{a} is {b}");
        }
    }
    for (a, b) in [
        ("+30 1234567", "+49 30 1234567"),
        ("+49 30 1234567", "+49 40 1234567"),
        ("030 1234567", "040 1234567"),
        ("030 1234567", "+49 4930 1234567"),
        ("030 1234567", "+1 030 1234567 8"),
        ("234567", "+49 30 1234567"),
        ("600", "1600"),
        ("600", "0600"),
        ("anna", "Anna"),
        ("anna", "anna@example.org"),
        ("192.0.2.7", "192027"),
        ("600x", "600"),
        ("", "600"),
    ] {
        for (value, said) in [(a, b), (b, a)] {
            let is = PersonValue::parse(value).is_some_and(|value| value.is(said));
            assert!(!is, "{value} is not {said}");
        }
    }
}

/// Planted fault: rooms not looked at.
#[test]
fn a_person_is_found_wherever_the_name_of_a_file_says() {
    let person = PersonValue::parse(" 5550143 ").unwrap();
    let names = NameFacts { from: Some("600"), to: Some("+12025550143"), room: None };
    assert!(person.matches(&names));
    assert!(!person.matches(&NameFacts { to: None, ..names }));
    assert!(
        PersonValue::parse("standup")
            .unwrap()
            .matches(&NameFacts { room: Some("standup"), ..NameFacts::default() })
    );
    for bad in ["", " \n", &"x".repeat(321)] {
        assert!(PersonValue::parse(bad).is_none());
    }
    assert_eq!(format!("{person:?} {names:?}"), "PersonValue(..) NameFacts(..)");
}

/// The same answer as the plainest way to ask.
fn matches_plainly(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (['*', rest @ ..], _) => {
            (0..=name.len()).any(|skipped| matches_plainly(rest, &name[skipped..]))
        }
        (['?', rest @ ..], [_, name @ ..]) => matches_plainly(rest, name),
        ([wanted, rest @ ..], [found, name @ ..]) => wanted == found && matches_plainly(rest, name),
        ([], [_, ..]) | ([_, ..], []) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Planted faults: no way back to the last `*`; `?` as a byte.
    #[test]
    fn a_glob_is_what_it_looks_like(pattern in "[aé*?]{0,7}", name in "[aéb]{0,8}") {
        let glob = Glob::new(&pattern);
        let letters = |text: &str| text.chars().collect::<Vec<_>>();
        let plainly = matches_plainly(&letters(&pattern), &letters(&name));
        prop_assert_eq!(glob.matches(name.as_bytes()), plainly);
    }

    /// The text comes from people: it is refused or read, and never a panic.
    #[test]
    fn strange_text_is_no_surprise(text in "(-?(from|name|larger|x)?:?\"?\\PC{0,6}\"?\\s?){0,5}",
        name in prop::collection::vec(any::<u8>(), 0..20)) {
        if let Ok(query) = Query::parse(&text) {
            query.matches(&QueryFacts { name: &name, from: Some(&text), ..facts() });
        }
        if let Some(person) = PersonValue::parse(&text) {
            prop_assert!(person.is(text.trim()));
        }
    }

    /// It does not matter which of two was typed. Planted fault: of two bare numbers only the
    /// first may be the end of the second.
    #[test]
    fn sameness_has_no_direction(a in "(\\+|00|0)?[0-9]{5,12}", b in "(\\+|00|0)?[0-9]{5,12}") {
        let is = |a: &str, b: &str| PersonValue::parse(a).unwrap().is(b);
        prop_assert!(is(&a, &a));
        prop_assert_eq!(is(&a, &b), is(&b, &a));
    }
}

/// A pattern made to be slow. Meant to catch: every `*` tried again for each one before it, which
/// does not end.
#[test]
fn a_hostile_glob_takes_no_time() {
    let query = Query::parse(&format!("name:{}b", "*a".repeat(1_000))).unwrap();
    let name = "a".repeat(255);
    assert!(!query.matches(&QueryFacts { name: name.as_bytes(), ..facts() }));
}

const TERMS: usize = 64;
