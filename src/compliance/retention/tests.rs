use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

use super::*;

fn day(days: i64) -> Timestamp {
    Timestamp::from_millis(days * 86_400_000)
}

fn store(n: u128) -> StoreId {
    StoreId(Uuid::from_u128(n))
}

fn rule(id: u128, keep_days: Option<u32>, erase_days: Option<u32>) -> RetentionRule {
    RetentionRule {
        id: RuleId(Uuid::from_u128(id)),
        name: format!("rule {id}"),
        store: None,
        kind: None,
        tag: None,
        metadata: None,
        keep_days,
        erase_days,
        mifid: false,
        created_by: "uid:0".to_owned(),
        created_at: day(0),
    }
}

fn facts() -> RetentionFacts {
    RetentionFacts {
        store: store(1),
        kind: Some(MediaKind::Audio),
        recorded_at: day(100),
        tags: vec!["vip".to_owned()],
        metadata: vec![("queue".to_owned(), "sales".to_owned())],
    }
}

/// Keep and erase of the days after the recording, rule by rule, and what comes of them. Planted
/// faults: the shortest wins; the first wins; erased before the time of keeping is over; kept for
/// good turned into erased when that time is over.
#[test]
fn the_longest_wins() {
    type Days = Option<i64>;
    type KeepAndErase = (Option<u32>, Option<u32>);
    let rows: &[(&[KeepAndErase], Days, Days)] = &[
        (&[], None, None),
        (&[(Some(10), None)], Some(10), None),
        (&[(None, Some(10))], None, Some(10)),
        (&[(Some(10), Some(20))], Some(10), Some(20)),
        (&[(Some(20), Some(10))], Some(20), Some(20)),
        (&[(Some(10), None), (Some(30), None), (Some(20), None)], Some(30), None),
        (&[(None, Some(10)), (None, Some(30)), (None, Some(20))], None, Some(30)),
        (&[(Some(30), None), (None, Some(10))], Some(30), Some(30)),
        (&[(None, Some(30)), (Some(10), Some(20))], Some(10), Some(30)),
    ];
    for (rules, keep, erase) in rows {
        let rules: Vec<_> =
            (1..).zip(*rules).map(|(id, (keep, erase))| rule(id, *keep, *erase)).collect();
        let verdict = judge(&rules, &facts());
        let expected = |days: &Days| days.map(|days| day(100 + days));
        assert_eq!(verdict.keep_until, expected(keep), "{rows:?}");
        assert_eq!(verdict.erase_at, expected(erase), "{rows:?}");
        assert_eq!(verdict.kept_by.is_some(), keep.is_some());
        assert_eq!(verdict.erased_by.is_some(), erase.is_some());
    }
}

/// Each thing a rule can name, fitting and not fitting. Planted faults: each comparison left out;
/// what is not known taken for a fit.
#[test]
fn a_rule_covers_what_it_names() {
    type Change = fn(&mut RetentionRule);
    let pair = |key: &str, value: Option<&str>| Some((key.to_owned(), value.map(str::to_owned)));
    let mut sales = rule(1, Some(1), None);
    sales.metadata = pair("queue", Some("sales"));
    let mut support = sales.clone();
    support.metadata = pair("queue", Some("support"));
    let mut any_queue = sales.clone();
    any_queue.metadata = pair("queue", None);
    let mut any_agent = sales.clone();
    any_agent.metadata = pair("agent", None);
    let is_kept =
        |rule: &RetentionRule, facts: &RetentionFacts| judge([rule], facts).keep_until.is_some();
    for (rule, expected) in [(sales, true), (support, false), (any_queue, true), (any_agent, false)]
    {
        assert_eq!(is_kept(&rule, &facts()), expected, "{:?}", rule.metadata);
    }
    let rows: &[(Change, bool)] = &[
        (|_| {}, true),
        (|rule| rule.store = Some(store(1)), true),
        (|rule| rule.store = Some(store(2)), false),
        (|rule| rule.kind = Some(MediaKind::Audio), true),
        (|rule| rule.kind = Some(MediaKind::Video), false),
        (|rule| rule.tag = Some("vip".to_owned()), true),
        (|rule| rule.tag = Some("vi".to_owned()), false),
        (
            |rule| {
                rule.store = Some(store(1));
                rule.kind = Some(MediaKind::Video);
            },
            false,
        ),
    ];
    for (at, (change, expected)) in rows.iter().enumerate() {
        let mut rule = rule(1, Some(1), None);
        change(&mut rule);
        assert_eq!(is_kept(&rule, &facts()), *expected, "row {at}");
    }
    let unknown = RetentionFacts { kind: None, tags: vec![], metadata: vec![], ..facts() };
    let mut audio = rule(1, Some(1), None);
    audio.kind = Some(MediaKind::Audio);
    assert!(!is_kept(&audio, &unknown));
}

/// Planted faults: the flag of the longest rule alone, which forgets a shorter MiFID rule; the
/// flag of whichever of two equal rules comes first.
#[test]
fn mifid_is_not_forgotten_behind_a_longer_rule() {
    let mifid = |id, days| RetentionRule { mifid: true, ..rule(id, Some(days), None) };
    let kinds = |rules: &[RetentionRule]| -> Vec<(&str, Option<Timestamp>)> {
        let protections = judge(rules, &facts()).protections();
        protections.iter().map(|one| (one.kind(), one.until())).collect()
    };
    let plain = rule(9, Some(20), Some(20));
    assert_eq!(kinds(&[mifid(1, 30), plain.clone()]), [("mifid", Some(day(130)))]);
    let both = [("retention", Some(day(120))), ("mifid", Some(day(110)))];
    assert_eq!(kinds(&[plain.clone(), mifid(1, 10)]), both);
    for rules in [[mifid(1, 20), plain.clone()], [plain, mifid(10, 20)]] {
        assert_eq!(kinds(&rules), [("mifid", Some(day(120)))]);
    }
    let without_days = RetentionRule { mifid: true, ..rule(1, None, Some(5)) };
    assert_eq!(kinds(&[without_days]), []);
    assert!(!judge(&[], &facts()).is_mifid);
}

/// Planted faults: a day of 86,399 seconds; an overflow of the calendar; a calendar's year.
#[test]
fn days_have_24_hours_and_time_has_an_end() {
    let at = |text: &str| Timestamp::parse(text).unwrap();
    let after = |recorded: &str, days| {
        let facts = RetentionFacts { recorded_at: at(recorded), ..facts() };
        judge(&[rule(1, None, Some(days))], &facts).erase_at.unwrap()
    };
    assert_eq!(after("2028-02-29T12:00:00Z", 365), at("2029-02-28T12:00:00Z"));
    assert_eq!(after("2027-02-28T12:00:00Z", 366), at("2028-02-29T12:00:00Z"));
    assert_eq!(after("2026-03-28T23:30:00Z", 1), at("2026-03-29T23:30:00Z"));
    assert_eq!(after("1969-12-31T00:00:00Z", 1), at("1970-01-01"));
    let end = Timestamp::from_millis(i64::MAX);
    assert_eq!(after("2026-01-01", u32::MAX), end);
    let facts = RetentionFacts { recorded_at: end, ..facts() };
    assert_eq!(judge(&[rule(1, Some(1), Some(1))], &facts).erase_at, Some(end));
}

/// Planted faults: the moment itself not due; a hold that ran out still counted; kept ones counted
/// as later; a rule counted twice.
#[test]
fn the_dry_run_counts_each_once() {
    let rules = [rule(1, None, Some(10)), rule(2, None, Some(5))];
    let verdict = |rule: &RetentionRule| judge([rule], &facts());
    let hold = |until| [Protection::Mifid { until }];
    let now = day(110);
    let mut plan = RetentionPlan::default();
    plan.count(&verdict(&rules[0]), 1, &[], now);
    plan.count(&verdict(&rules[0]), 2, &[], day(109));
    plan.count(&verdict(&rules[1]), 4, &[], now);
    plan.count(&verdict(&rules[1]), 8, &hold(None), now);
    plan.count(&verdict(&rules[1]), 16, &hold(Some(now)), now);
    plan.count(&judge(&[], &facts()), 32, &hold(None), now);
    let amount = |recordings, bytes| Amount { recordings, bytes };
    let expected = RetentionPlan {
        seen: amount(6, 63),
        kept: amount(1, 32),
        later: amount(1, 2),
        due: amount(3, 21),
        protected: amount(1, 8),
        by_rule: vec![(rules[0].id, amount(1, 1)), (rules[1].id, amount(3, 28))],
    };
    assert_eq!(plan, expected);
}

fn rules() -> impl Strategy<Value = RetentionRule> {
    let days = |often| prop::option::weighted(often, prop_oneof![6 => 0..5_u32, 1 => any::<u32>()]);
    let stores = prop::option::of(select(vec![store(1), store(2)]));
    let kinds = prop::option::of(select(vec![MediaKind::Audio, MediaKind::Video]));
    (0..9_u128, days(0.3), days(0.8), stores, kinds, any::<bool>()).prop_map(
        |(id, keep, erase, store, kind, mifid)| RetentionRule {
            store,
            kind,
            mifid,
            ..rule(id, keep, erase)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// One more rule never makes anything go earlier, and never shortens what is kept. Planted
    /// fault: the shortest time of erasing wins.
    #[test]
    fn one_more_rule_never_makes_anything_go_earlier(
        rules in prop::collection::vec(rules(), 0..6), more in rules()
    ) {
        let before = judge(&rules, &facts());
        let after = judge(rules.iter().chain([&more]), &facts());
        prop_assert!(after.keep_until >= before.keep_until);
        prop_assert!(after.mifid_until >= before.mifid_until);
        if before.erase_at.is_some() || more.erase_days.is_none() {
            prop_assert!(after.erase_at >= before.erase_at);
            prop_assert_eq!(after.erase_at.is_some(), before.erase_at.is_some());
        }
        for verdict in [before, after] {
            let is_early = verdict.erase_at.is_some_and(|at| Some(at) < verdict.keep_until);
            prop_assert!(!is_early, "erased before it may be");
        }
    }

    /// Planted fault: of two equal rules the first wins.
    #[test]
    fn the_order_of_rules_does_not_matter(rules in prop::collection::vec(rules(), 0..6)) {
        prop_assert_eq!(judge(&rules, &facts()), judge(rules.iter().rev(), &facts()));
    }
}
