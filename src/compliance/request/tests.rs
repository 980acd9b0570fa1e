use jiff::civil::date;

use super::*;

fn request(law: Law, right: Right) -> Request {
    let what = (law, right, Manner::Web);
    Request::received(RequestId::new(), what, date(2026, 1, 5), vec![PersonHandle([1; 32])])
}

/// Planted fault: `Closed` given a way out.
#[test]
fn all_pairs_of_a_life() {
    use {RequestEvent as E, RequestState as S};
    for from in S::ALL {
        for event in E::ALL {
            let expected = match (from, event) {
                (S::Received, E::ReceiptConfirmed) => Some(S::Acknowledged),
                (S::Received | S::Acknowledged, E::WorkBegun)
                | (S::InProgress, E::ReceiptConfirmed) => Some(S::InProgress),
                (S::Received | S::Acknowledged | S::InProgress, E::Closed) => Some(S::Closed),
                (S::Acknowledged, E::ReceiptConfirmed)
                | (S::InProgress, E::WorkBegun)
                | (S::Closed, E::ReceiptConfirmed | E::WorkBegun | E::Closed) => None,
            };
            assert_eq!(from.next(event).ok(), expected, "{from:?} {event:?}");
        }
        assert_eq!(S::from_name(from.as_str()), Some(from));
    }
}

/// Planted faults: data handed out without a confirmed identity; an opt-out that needs one; a
/// request fulfilled that nobody worked on.
#[test]
fn nothing_is_granted_to_a_stranger() {
    use {IdentityCheck as I, RequestOutcome as O};
    for right in Right::ALL {
        for identity in I::ALL {
            for outcome in [
                O::Fulfilled,
                O::PartlyFulfilled(Denial::Protected),
                O::Denied(Denial::Identity),
                O::Withdrawn,
            ] {
                let mut one = request(Law::Gdpr, right);
                one.set_identity(identity).unwrap();
                let grants = matches!(outcome, O::Fulfilled | O::PartlyFulfilled(_));
                let day = date(2026, 1, 9);
                if grants {
                    assert!(one.clone().close(day, outcome).is_err(), "nobody worked on it");
                }
                one.begin().unwrap();
                let is_allowed = !grants || identity == I::Confirmed || right == Right::OptOut;
                let before = one.clone();
                assert_eq!(one.close(day, outcome).is_ok(), is_allowed, "{right:?} {identity:?}");
                match is_allowed {
                    true => assert_eq!(one.removable_on(), Some(date(2028, 1, 9))),
                    false => assert_eq!(one, before),
                }
            }
        }
    }
}

/// Planted faults: a second extension; one that is told a day late; a day before receipt.
#[test]
fn there_is_one_extension_and_it_is_told_in_time() {
    let days = WorkingDays::default();
    let mut one = request(Law::Ccpa, Right::Access);
    let due = date(2026, 2, 19);
    assert_eq!(one.extend(date(2026, 1, 4), &days), Err(RequestError::BeforeReceipt));
    assert_eq!(one.extend(date(2026, 2, 20), &days), Err(RequestError::TooLateToExtend { due }));
    one.extend(due, &days).unwrap();
    assert_eq!(one.extend(due, &days), Err(RequestError::ExtendedAlready));
    one.close(due, RequestOutcome::Withdrawn).unwrap();
    assert!(one.set_identity(IdentityCheck::Confirmed).is_err());
    let mut closed = request(Law::Ccpa, Right::Access);
    closed.close(due, RequestOutcome::Withdrawn).unwrap();
    assert!(closed.extend(date(2026, 2, 1), &days).is_err());
}

/// Planted faults: a closed request alarms; the day itself is overdue; the first confirmation
/// replaced by a later one.
#[test]
fn what_is_late_alarms_until_it_is_done() {
    let days = WorkingDays::default();
    let mut one = request(Law::Ccpa, Right::Access);
    let kinds = |one: &Request, today| -> Vec<_> {
        let alarms = one.alarms(today, &days);
        alarms.into_iter().map(|alarm| (alarm.kind, alarm.days_overdue)).collect()
    };
    assert_eq!(kinds(&one, date(2026, 1, 19)), []);
    assert_eq!(kinds(&one, date(2026, 1, 20)), [(DeadlineKind::Acknowledge, 1)]);
    one.acknowledge(date(2026, 1, 21)).unwrap();
    one.begin().unwrap();
    one.acknowledge(date(2026, 1, 25)).unwrap();
    assert_eq!(one.acknowledged_on, Some(date(2026, 1, 21)));
    assert_eq!(kinds(&one, date(2026, 2, 19)), []);
    assert_eq!(kinds(&one, date(2026, 3, 20)), [(DeadlineKind::Answer, 29)]);
    one.close(date(2026, 3, 21), RequestOutcome::Denied(Denial::NothingHeld)).unwrap();
    assert_eq!(kinds(&one, date(2026, 12, 1)), []);
    assert_eq!(request(Law::Ccpa, Right::Delete).removable_on(), None);
}

/// Planted faults: denied requests reach; access reaches; another person's reach.
#[test]
fn later_recordings_are_caught() {
    use RequestOutcome as O;
    for (right, outcome, reaches) in [
        (Right::Delete, None, true),
        (Right::Delete, Some(O::Fulfilled), true),
        (Right::Delete, Some(O::PartlyFulfilled(Denial::Protected)), true),
        (Right::Delete, Some(O::Denied(Denial::Protected)), false),
        (Right::Delete, Some(O::Withdrawn), false),
        (Right::OptOut, Some(O::Fulfilled), true),
        (Right::Access, Some(O::Fulfilled), false),
    ] {
        let mut one = request(Law::Gdpr, right);
        one.closed = outcome.map(|outcome| (date(2026, 1, 9), outcome));
        let all = [one];
        let found = |byte| reached(&all, &[PersonHandle([7; 32]), PersonHandle([byte; 32])]);
        assert_eq!(found(1).len(), usize::from(reaches), "{right:?} {outcome:?}");
        assert!(found(2).is_empty());
    }
}
