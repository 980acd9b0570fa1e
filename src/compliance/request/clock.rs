//! When things are due, in days of the calendar.
//!
//! | Law | Due | Reckoned |
//! |---|---|---|
//! | CCPA, 11 CCR 7021 | receipt confirmed | 10 business days after receipt |
//! | CCPA, 11 CCR 7026 | opt-out acted on | 15 business days after receipt |
//! | CCPA, 11 CCR 7021 | answered | 45 calendar days after receipt, 90 when extended |
//! | GDPR, art. 12(3) | answered | same date of the next month, of the third when extended |
//!
//! A month ends on the same date or, where there is none, on its last day; if that is no working
//! day, on the next one. Calendar days of the CCPA are not moved. Checking who somebody is stops
//! no clock. Where the two laws both apply there are two requests.

use std::collections::BTreeSet;

use jiff::ToSpan;
use jiff::civil::{Date, Weekday};

use super::{Law, Request, Right};

/// Which days are worked: Monday to Friday but holidays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkingDays {
    holidays: BTreeSet<Date>,
}

impl WorkingDays {
    /// Monday to Friday without `holidays`.
    pub fn without(holidays: impl IntoIterator<Item = Date>) -> Self {
        Self { holidays: holidays.into_iter().collect() }
    }

    /// True if `day` is worked.
    pub fn is_worked(&self, day: Date) -> bool {
        match day.weekday() {
            Weekday::Saturday | Weekday::Sunday => false,
            Weekday::Monday
            | Weekday::Tuesday
            | Weekday::Wednesday
            | Weekday::Thursday
            | Weekday::Friday => !self.holidays.contains(&day),
        }
    }

    /// `day` if it is worked, else the next that is.
    pub fn this_or_next(&self, day: Date) -> Date {
        let mut day = day;
        while !self.is_worked(day) && day < Date::MAX {
            day = day.tomorrow().unwrap_or(Date::MAX);
        }
        day
    }

    /// The `n`th working day after `day`, which itself does not count.
    pub fn after(&self, day: Date, n: u32) -> Date {
        let next = |day: Date| self.this_or_next(day.tomorrow().unwrap_or(Date::MAX));
        (0..n).fold(day, |day, _| next(day))
    }
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeadlineKind {
    /// Telling the person that the request came in.
    Acknowledge,
    /// Acting on an opt-out.
    ActOnOptOut,
    /// Answering.
    Answer,
}

impl DeadlineKind {
    /// The stored name, and the code of the alarm.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::ActOnOptOut => "act_on_opt_out",
            Self::Answer => "answer",
        }
    }

    /// What people read.
    pub fn label(self) -> &'static str {
        match self {
            Self::Acknowledge => "Confirm receipt of",
            Self::ActOnOptOut => "Act on",
            Self::Answer => "Answer",
        }
    }
}

/// One thing that is due, and the last day for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// What.
    pub kind: DeadlineKind,
    /// The last day that is in time.
    pub due: Date,
}

/// What of `request` is due, done or not closed aside, the earliest first.
pub(super) fn deadlines(request: &Request, days: &WorkingDays) -> Vec<Deadline> {
    let received = request.received_on;
    let mut found = vec![Deadline { kind: DeadlineKind::Answer, due: answer_due(request, days) }];
    match (request.law, request.acknowledged_on) {
        (Law::Ccpa, None) => {
            let due = days.after(received, ACKNOWLEDGE_DAYS);
            found.push(Deadline { kind: DeadlineKind::Acknowledge, due });
        }
        (Law::Ccpa, Some(_)) | (Law::Gdpr, _) => {}
    }
    match (request.law, request.right) {
        (Law::Ccpa, Right::OptOut) => {
            let due = days.after(received, OPT_OUT_DAYS);
            found.push(Deadline { kind: DeadlineKind::ActOnOptOut, due });
        }
        (Law::Ccpa, Right::Access | Right::Correct | Right::Delete | Right::Portability)
        | (Law::Gdpr, _) => {}
    }
    found.sort_by_key(|deadline| deadline.due);
    found
}

/// The last day for the answer, extended or not as it stands.
pub fn answer_due(request: &Request, days: &WorkingDays) -> Date {
    let is_extended = request.extended_on.is_some();
    let span = match (request.law, is_extended) {
        (Law::Ccpa, false) => ANSWER_DAYS.days(),
        (Law::Ccpa, true) => (2 * ANSWER_DAYS).days(),
        (Law::Gdpr, false) => ANSWER_MONTHS.months(),
        (Law::Gdpr, true) => (ANSWER_MONTHS + EXTENSION_MONTHS).months(),
    };
    let due = request.received_on.checked_add(span).unwrap_or(Date::MAX);
    match request.law {
        Law::Ccpa => due,
        Law::Gdpr => days.this_or_next(due),
    }
}

const ACKNOWLEDGE_DAYS: u32 = 10;
const OPT_OUT_DAYS: u32 = 15;
const ANSWER_DAYS: i32 = 45;
const ANSWER_MONTHS: i32 = 1;
const EXTENSION_MONTHS: i32 = 2;

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::compliance::request::Manner;
    use crate::domain::RequestId;

    fn request(law: Law, right: Right, received_on: Date) -> Request {
        Request::received(RequestId::new(), (law, right, Manner::Letter), received_on, Vec::new())
    }

    /// Planted faults: the day of receipt counted; Saturdays worked; holidays ignored.
    #[test]
    fn business_days_leave_out_weekends_and_holidays() {
        let plain = WorkingDays::default();
        let with = WorkingDays::without([date(2026, 1, 19), date(2026, 1, 1), date(2026, 1, 17)]);
        for (days, from, n, expected) in [
            (&plain, date(2026, 1, 5), 10, date(2026, 1, 19)),
            (&with, date(2026, 1, 5), 10, date(2026, 1, 20)),
            (&plain, date(2026, 1, 9), 1, date(2026, 1, 12)),
            (&plain, date(2026, 1, 10), 1, date(2026, 1, 12)),
            (&with, date(2025, 12, 31), 1, date(2026, 1, 2)),
            (&plain, date(2026, 1, 10), 0, date(2026, 1, 10)),
            (&plain, Date::MAX, 3, Date::MAX),
        ] {
            assert_eq!(days.after(from, n), expected, "{from} {n}");
        }
    }

    /// Planted faults: 44 days; the weekend moves a CCPA date; a month of 30 days; a GDPR date that
    /// no weekend and no holiday moves.
    #[test]
    fn every_clock_of_both_laws() {
        let days = WorkingDays::without([date(2026, 4, 3), date(2026, 4, 6)]);
        let rows = [
            (Law::Ccpa, date(2026, 1, 5), date(2026, 2, 19), date(2026, 4, 5)),
            (Law::Ccpa, date(2026, 1, 2), date(2026, 2, 16), date(2026, 4, 2)),
            (Law::Ccpa, date(2024, 1, 31), date(2024, 3, 16), date(2024, 4, 30)),
            (Law::Gdpr, date(2026, 9, 3), date(2026, 10, 5), date(2026, 12, 3)),
            (Law::Gdpr, date(2026, 1, 30), date(2026, 3, 2), date(2026, 4, 30)),
            (Law::Gdpr, date(2024, 1, 31), date(2024, 2, 29), date(2024, 4, 30)),
            (Law::Gdpr, date(2026, 3, 3), date(2026, 4, 7), date(2026, 6, 3)),
            (Law::Gdpr, date(2026, 11, 30), date(2026, 12, 30), date(2027, 3, 1)),
        ];
        for (law, received, first, extended) in rows {
            let mut one = request(law, Right::Access, received);
            assert_eq!(answer_due(&one, &days), first, "{law:?} {received}");
            one.extended_on = Some(received);
            assert_eq!(answer_due(&one, &days), extended, "{law:?} {received} extended");
        }
    }

    /// Planted faults: a GDPR request to be confirmed; an opt-out in ten days; what was confirmed
    /// still due.
    #[test]
    fn each_law_has_its_deadlines() {
        use DeadlineKind::{Acknowledge, ActOnOptOut, Answer};
        let days = WorkingDays::default();
        let received = date(2026, 1, 5);
        for (law, right, is_confirmed, kinds) in [
            (Law::Ccpa, Right::Access, false, &[Acknowledge, Answer][..]),
            (Law::Ccpa, Right::Delete, true, &[Answer]),
            (Law::Ccpa, Right::OptOut, false, &[Acknowledge, ActOnOptOut, Answer]),
            (Law::Gdpr, Right::Access, false, &[Answer]),
            (Law::Gdpr, Right::OptOut, true, &[Answer]),
        ] {
            let mut one = request(law, right, received);
            one.acknowledged_on = is_confirmed.then_some(received);
            let found: Vec<_> = one.deadlines(&days).iter().map(|one| one.kind).collect();
            assert_eq!(found, kinds, "{law:?} {right:?}");
        }
        let one = request(Law::Ccpa, Right::OptOut, received);
        assert_eq!(one.deadlines(&days)[1].due, date(2026, 1, 26));
    }
}
