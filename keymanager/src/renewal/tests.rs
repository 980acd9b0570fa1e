use proptest::prelude::*;

use super::attempts::{LADDER_MS, LAST_RUNG_MS, RETRY_AFTER_MAX_MS};
use super::*;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Midnight UTC on a day in 2026.
const START: i64 = 20_500 * DAY;
/// No jitter at all.
const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn policy(window: Option<&str>) -> Policy {
    Policy { window: window.map(|text| text.parse().unwrap()), tick_ms: MINUTE }
}

fn subject(lifetime_ms: i64) -> Subject<'static> {
    Subject {
        not_before_ms: START,
        not_after_ms: START + lifetime_ms,
        sha256: ZEROS,
        names: &[],
        wanted_names: &[],
        is_of_other_source: false,
        is_asked_for: false,
    }
}

fn plainly(now_ms: i64, subject: &Subject<'_>) -> Decision {
    decide(now_ms, subject, &policy(None), None, &Attempts::default(), false)
}

fn renew(reason: Reason) -> Decision {
    Decision::Renew { reason }
}

/// Planted fault: `lifetime * 2 / 3` overflows for a certificate without end; `<` for `>=` at the
/// emergency band leaves the last band to `Due`.
#[test]
fn the_table_of_dates() {
    let ninety = subject(90 * DAY);
    let idle = Decision::Idle { until_ms: START + 60 * DAY };
    for (at_ms, decision) in [
        (-1, renew(Reason::NotYetValid)),
        (0, idle),
        (60 * DAY - 1, idle),
        (60 * DAY, renew(Reason::Due)),
        (90 * DAY - 90 * DAY / 20 - 1, renew(Reason::Due)),
        (90 * DAY - 90 * DAY / 20, renew(Reason::Emergency)),
        (90 * DAY - 1, renew(Reason::Emergency)),
        (90 * DAY, renew(Reason::Expired)),
        (900 * DAY, renew(Reason::Expired)),
    ] {
        assert_eq!(plainly(START + at_ms, &ninety), decision, "at {at_ms}");
    }
    let short = subject(10 * DAY);
    assert_eq!(plainly(START, &short), Decision::Idle { until_ms: START + 5 * DAY });
    assert_eq!(plainly(START + 5 * DAY, &short), renew(Reason::Due));
    // Ten minutes: five ticks are half of it, and it is not renewed all the time.
    let tiny = subject(10 * MINUTE);
    assert_eq!(plainly(START, &tiny), Decision::Idle { until_ms: START + 5 * MINUTE });
    let tiniest = subject(MINUTE);
    assert!(matches!(plainly(START, &tiniest), Decision::Idle { .. }));
    let endless = Subject { not_before_ms: i64::MIN, not_after_ms: i64::MAX, ..short };
    for now_ms in [i64::MIN, 0, i64::MAX] {
        let _ = plainly(now_ms, &endless);
    }
}

#[test]
fn other_names_another_source_and_a_person_do_not_wait_for_dates() {
    let (a, b) = (["a.example".to_owned(), "B.example".to_owned()], ["b.example".to_owned()]);
    let same = ["b.example".to_owned(), "A.example".to_owned()];
    let fresh = Subject { names: &a, wanted_names: &b, ..subject(90 * DAY) };
    assert_eq!(plainly(START, &fresh), renew(Reason::NamesDiffer));
    let reordered = Subject { wanted_names: &same, ..fresh };
    assert!(matches!(plainly(START, &reordered), Decision::Idle { .. }));
    let other = Subject { is_of_other_source: true, ..reordered };
    assert_eq!(plainly(START, &other), renew(Reason::SourceDiffers));
    let asked = Subject { is_asked_for: true, ..reordered };
    assert_eq!(plainly(START, &asked), renew(Reason::Asked));
    // Not even a person issues anything by a clock that is wrong.
    let held = decide(START, &asked, &policy(None), None, &Attempts::default(), true);
    assert!(matches!(held, Decision::Hold { reason: HoldReason::ClockSuspect, .. }));
}

/// Planted fault: a window that also holds back the emergency lets the certificate expire.
#[test]
fn a_window_postpones_but_not_into_the_emergency() {
    let ninety = subject(90 * DAY);
    let night = policy(Some("02:00-05:00"));
    let at = |now_ms: i64| decide(now_ms, &ninety, &night, None, &Attempts::default(), false);
    let due = START + 60 * DAY;
    let hold = |until_ms| Decision::Hold { reason: HoldReason::OutsideWindow, until_ms };
    assert_eq!(at(due), hold(due + 2 * HOUR));
    assert_eq!(at(due + 2 * HOUR), renew(Reason::Due));
    assert_eq!(at(due + 5 * HOUR), hold(due + 26 * HOUR));
    assert_eq!(at(START + 90 * DAY - 1), renew(Reason::Emergency));
    let band = emergency_from_ms(&ninety, &night);
    assert_eq!(at(band - 1), hold(band), "the window opens too late");
}

/// The forged answers of a bad authority, one by one. Planted fault: without `start < end`, the
/// inverted window is picked from.
#[test]
fn only_a_sensible_window_of_the_authority_counts() {
    let ninety = subject(90 * DAY);
    let plain = policy(None);
    let choose =
        |start: i64, end: i64| AriPick::choose(&ninety, START + start, START + end, &plain, 1_000);
    for (what, start, end) in [
        ("end before start", 50 * DAY, 40 * DAY),
        ("empty", 50 * DAY, 50 * DAY),
        ("over before it began", -20 * DAY, -10 * DAY),
        ("the year 2999", 400_000 * DAY, 400_001 * DAY),
        ("after the emergency", 89 * DAY, 90 * DAY),
    ] {
        assert_eq!(choose(start, end), None, "{what}");
    }
    let pick = choose(30 * DAY, 31 * DAY).unwrap();
    let at = |now_ms: i64, pick: &AriPick| {
        decide(now_ms, &ninety, &plain, Some(pick), &Attempts::default(), false)
    };
    assert!(matches!(at(START + 29 * DAY, &pick), Decision::Idle { .. }));
    assert_eq!(at(pick.pick_ms, &pick), renew(Reason::Suggested));
    // A window in the past means now; one that reaches beyond the band is cut.
    let past = choose(-DAY, DAY).unwrap();
    assert_eq!(at(START + 2 * DAY, &past), renew(Reason::Suggested));
    let wide = AriPick::choose(&ninety, START + 80 * DAY, START + 900 * DAY, &plain, u64::MAX);
    assert!(wide.unwrap().pick_ms <= emergency_from_ms(&ninety, &plain));
    // What was said about another certificate says nothing about this one.
    let foreign = AriPick { sha256: "ff".to_owned(), ..pick };
    assert_eq!(at(START, &foreign), Decision::Idle { until_ms: START + 60 * DAY });
}

/// Planted fault: the ladder used by index without its end panics at the eleventh failure.
#[test]
fn failures_climb_the_ladder_and_never_end_it() {
    let mut attempts = Attempts::default();
    let names = ["a.example".to_owned()];
    for (rung, step_ms) in LADDER_MS.iter().chain([&LAST_RUNG_MS; 90]).enumerate() {
        attempts.note_failure(START, "x", FailureClass::Passing, None, &names, rung as u64 * 777);
        let wait_ms = attempts.retry_at_ms - START;
        assert!((step_ms - step_ms / 10..=step_ms + step_ms / 10).contains(&wait_ms), "{rung}");
    }
    assert_eq!(attempts.failures, 100);
    let over = Subject { names: &names, wanted_names: &names, ..subject(90 * DAY) };
    let later = START + 900 * DAY;
    attempts.note_failure(later, "x", FailureClass::Passing, None, &names, 0);
    let at = |now_ms: i64, attempts: &Attempts| {
        decide(now_ms, &over, &policy(None), None, attempts, false)
    };
    assert!(matches!(at(later, &attempts), Decision::Hold { reason: HoldReason::BackOff, .. }));
    assert_eq!(at(later + 7 * HOUR, &attempts), renew(Reason::Expired));
    // A clock set back before the failure does not make it wait for years.
    assert_eq!(at(START + 100 * DAY, &attempts), renew(Reason::Expired));
    attempts.reset();
    assert_eq!(at(later, &attempts), renew(Reason::Expired));
}

#[test]
fn lasting_failures_and_the_servers_wish_wait_longer() {
    let names = ["a.example".to_owned()];
    let mut lasting = Attempts::default();
    lasting.note_failure(START, "x", FailureClass::Lasting, None, &names, 0);
    assert_eq!(lasting.retry_at_ms, START + LAST_RUNG_MS - LAST_RUNG_MS / 10);
    let mut limited = Attempts::default();
    let wish = Some(1_000 * DAY);
    limited.note_failure(START, "rateLimited", FailureClass::Passing, wish, &names, 0);
    assert_eq!(limited.retry_at_ms, START + RETRY_AFTER_MAX_MS);
    // Of a certificate that ends before that, the wish is cut to the last rung.
    let ending = Subject { not_after_ms: START + HOUR, ..subject(HOUR) };
    let ending = Subject { names: &names, wanted_names: &names, ..ending };
    let at = |now_ms: i64| decide(now_ms, &ending, &policy(None), None, &limited, false);
    assert!(matches!(at(START + HOUR), Decision::Hold { .. }));
    assert_eq!(at(START + 7 * HOUR), renew(Reason::Expired));
    // Names that were never tried did not fail.
    let others = ["b.example".to_owned()];
    let changed = Subject { wanted_names: &others, ..ending };
    let decision = decide(START, &changed, &policy(None), None, &limited, false);
    assert_eq!(decision, renew(Reason::NamesDiffer));
}

fn any_subject() -> impl Strategy<Value = (i64, i64, String)> {
    (-400 * DAY..400 * DAY, MINUTE..800 * DAY, "[0-9a-f]{64}")
        .prop_map(|(begin, lifetime, sha256)| (START + begin, START + begin + lifetime, sha256))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// Whatever the dates, the window and the authority say: `Idle` ends in the future and before
    /// the emergency, and a `Hold` that is not about failures does so too.
    #[test]
    fn nothing_idles_past_the_emergency_band(
        (not_before_ms, not_after_ms, sha256) in any_subject(),
        now in -500 * DAY..900 * DAY,
        window in proptest::option::of((0_u16..1_439, 1_u16..1_440)),
        ari in proptest::option::of((-500 * DAY..900 * DAY, -DAY..20 * DAY, any::<u64>())),
    ) {
        let now_ms = START + now;
        let window = window.map(|(start, length)| {
            let end = (start + length) % 1_440;
            let clock = |min: u16| format!("{:02}:{:02}", min / 60, min % 60);
            format!("{}-{}", clock(start), clock(end)).parse().unwrap()
        });
        let policy = Policy { window, tick_ms: MINUTE };
        let subject = Subject { not_before_ms, not_after_ms, sha256: &sha256, ..subject(DAY) };
        let pick = ari.and_then(|(start, length, random)| {
            AriPick::choose(&subject, START + start, START + start + length, &policy, random)
        });
        if let Some(pick) = &pick {
            prop_assert!((pick.start_ms..pick.end_ms).contains(&pick.pick_ms));
        }
        let emergency_ms = emergency_from_ms(&subject, &policy);
        match decide(now_ms, &subject, &policy, pick.as_ref(), &Attempts::default(), false) {
            Decision::Idle { until_ms } => {
                prop_assert!(until_ms > now_ms && until_ms <= emergency_ms);
                let then = decide(
                    until_ms, &subject, &policy, pick.as_ref(), &Attempts::default(), false,
                );
                let is_still_idle = matches!(then, Decision::Idle { .. });
                prop_assert!(!is_still_idle);
            }
            Decision::Hold { until_ms, .. } => {
                prop_assert!(until_ms > now_ms && until_ms <= emergency_ms);
            }
            Decision::Renew { .. } => {
                let due_ms = due_at_ms(&subject, &policy, pick.as_ref());
                prop_assert!(now_ms < not_before_ms || now_ms >= due_ms);
            }
        }
    }

    /// Due stays due, with or without failures; there is always a next try within the longest
    /// wait; and by a suspect clock nothing is ever renewed.
    #[test]
    fn it_never_gives_up(
        (not_before_ms, not_after_ms, sha256) in any_subject(),
        steps in proptest::collection::vec((1_i64..9 * DAY, any::<u64>(), any::<bool>()), 1..40),
    ) {
        let subject = Subject { not_before_ms, not_after_ms, sha256: &sha256, ..subject(DAY) };
        let (policy, mut attempts) = (policy(None), Attempts::default());
        let mut now_ms = not_before_ms + (not_after_ms - not_before_ms) * 2 / 3;
        for (step_ms, random, is_lasting) in steps {
            let decision = decide(now_ms, &subject, &policy, None, &attempts, false);
            match decision {
                Decision::Renew { .. } => {
                    let class =
                        if is_lasting { FailureClass::Lasting } else { FailureClass::Passing };
                    attempts.note_failure(now_ms, "x", class, Some(step_ms), &[], random);
                }
                Decision::Hold { until_ms, .. } => {
                    prop_assert!(until_ms <= attempts.last_failure_ms + RETRY_AFTER_MAX_MS);
                }
                Decision::Idle { .. } => prop_assert!(false, "due, and then no longer"),
            }
            let suspect = decide(now_ms, &subject, &policy, None, &attempts, true);
            let is_held = matches!(suspect, Decision::Hold { .. });
            prop_assert!(is_held);
            now_ms += step_ms;
        }
    }
}
