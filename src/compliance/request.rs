//! Requests: what people ask about their data, by when it must be answered, and what became of it.
//!
//! ```text
//!            receipt confirmed                    work begun
//! Received ─────────────────────▶ Acknowledged ─────────────▶ InProgress ── closed ─▶ Closed
//!    └────────────── work begun ─────────────────────────────▶   │  ▲
//!                                                                └──┘ receipt confirmed
//! from everywhere but Closed: closed, with an outcome
//! ```
//!
//! When things are due says [`clock`]; as a calendar file [`ics`]. Who asked is kept as keyed
//! handles alone, so that a later recording of the same person is caught ([`reached`]) and no
//! ledger of names grows.
//!
//! # Invariants
//!
//! - Data is handed out, corrected or deleted for somebody whose identity was confirmed; an
//!   opt-out needs no proof.
//! - An extension is taken once, and told to the person while the first time still runs.
//! - A closed request is kept for [`KEPT_MONTHS`] and then removed; an open one never.

pub mod clock;
pub mod ics;
#[cfg(test)]
mod tests;
mod words;

use std::fmt;

use jiff::ToSpan;
use jiff::civil::Date;

use crate::domain::RequestId;

use super::person::PersonHandle;
use clock::{Deadline, DeadlineKind, WorkingDays};

pub use words::{Denial, IdentityCheck, Law, Manner, Right};

/// Where a request is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestState {
    /// It came in.
    Received,
    /// The person was told that it did.
    Acknowledged,
    /// Somebody works on it.
    InProgress,
    /// It has an outcome.
    Closed,
}

/// What can happen to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestEvent {
    /// The person was told that it came in.
    ReceiptConfirmed,
    /// Somebody began to work on it.
    WorkBegun,
    /// It was answered, or need not be.
    Closed,
}

impl RequestEvent {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ReceiptConfirmed, Self::WorkBegun, Self::Closed];
}

impl RequestState {
    /// All of them, in the order of a life.
    pub const ALL: [Self; 4] = [Self::Received, Self::Acknowledged, Self::InProgress, Self::Closed];

    /// The whole life cycle: a transition not listed here does not exist.
    ///
    /// # Errors
    ///
    /// [`RequestError::NotNow`].
    pub fn next(self, event: RequestEvent) -> Result<Self, RequestError> {
        use {RequestEvent as E, RequestState as S};
        Ok(match (self, event) {
            (S::Received, E::ReceiptConfirmed) => S::Acknowledged,
            (S::Received | S::Acknowledged, E::WorkBegun) => S::InProgress,
            (S::InProgress, E::ReceiptConfirmed) => S::InProgress,
            (S::Received | S::Acknowledged | S::InProgress, E::Closed) => S::Closed,
            (from, event) => return Err(RequestError::NotNow { from, event }),
        })
    }

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Acknowledged => "acknowledged",
            Self::InProgress => "in_progress",
            Self::Closed => "closed",
        }
    }

    /// The state of a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

impl fmt::Display for RequestState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestOutcome {
    /// All was done.
    Fulfilled,
    /// What could be done was; the rest was denied for this reason.
    PartlyFulfilled(Denial),
    /// Nothing was done, for this reason.
    Denied(Denial),
    /// The person took it back.
    Withdrawn,
}

/// One request, as it is kept. Days are those of the calendar where the office is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its id.
    pub id: RequestId,
    /// Under which law.
    pub law: Law,
    /// What is asked for.
    pub right: Right,
    /// How it came in.
    pub manner: Manner,
    /// When it came in: every clock starts here.
    pub received_on: Date,
    /// Who asked, by keyed handles.
    pub persons: Vec<PersonHandle>,
    /// How far the check of the identity is.
    pub identity: IdentityCheck,
    /// Where in its life it is.
    pub state: RequestState,
    /// When the person was told that it came in.
    pub acknowledged_on: Option<Date>,
    /// When the person was told that it takes longer.
    pub extended_on: Option<Date>,
    /// When and how it ended.
    pub closed: Option<(Date, RequestOutcome)>,
}

impl Request {
    /// A request that just came in.
    pub fn received(
        id: RequestId,
        (law, right, manner): (Law, Right, Manner),
        received_on: Date,
        persons: Vec<PersonHandle>,
    ) -> Self {
        Self {
            id,
            law,
            right,
            manner,
            received_on,
            persons,
            identity: IdentityCheck::Open,
            state: RequestState::Received,
            acknowledged_on: None,
            extended_on: None,
            closed: None,
        }
    }

    /// The person was told that it came in. The first day counts.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; nothing is changed then.
    pub fn acknowledge(&mut self, on: Date) -> Result<(), RequestError> {
        self.check_day(on)?;
        self.state = self.state.next(RequestEvent::ReceiptConfirmed)?;
        self.acknowledged_on.get_or_insert(on);
        Ok(())
    }

    /// Somebody begins to work on it.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; nothing is changed then.
    pub fn begin(&mut self) -> Result<(), RequestError> {
        self.state = self.state.next(RequestEvent::WorkBegun)?;
        Ok(())
    }

    /// The check of the identity goes on.
    ///
    /// # Errors
    ///
    /// [`RequestError::NotNow`] once it is closed.
    pub fn set_identity(&mut self, identity: IdentityCheck) -> Result<(), RequestError> {
        if self.state == RequestState::Closed {
            let (from, event) = (self.state, RequestEvent::WorkBegun);
            return Err(RequestError::NotNow { from, event });
        }
        self.identity = identity;
        Ok(())
    }

    /// Takes the one extension, of which the person was told on the day `on`.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; nothing is changed then.
    pub fn extend(&mut self, on: Date, days: &WorkingDays) -> Result<(), RequestError> {
        self.check_day(on)?;
        let first = clock::answer_due(self, days);
        match (self.state, self.extended_on) {
            (RequestState::Closed, _) => {
                let (from, event) = (self.state, RequestEvent::WorkBegun);
                Err(RequestError::NotNow { from, event })
            }
            (_, Some(_)) => Err(RequestError::ExtendedAlready),
            (_, None) if on > first => Err(RequestError::TooLateToExtend { due: first }),
            (_, None) => {
                self.extended_on = Some(on);
                Ok(())
            }
        }
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; nothing is changed then.
    pub fn close(&mut self, on: Date, outcome: RequestOutcome) -> Result<(), RequestError> {
        self.check_day(on)?;
        let state = self.state.next(RequestEvent::Closed)?;
        let grants = match outcome {
            RequestOutcome::Fulfilled | RequestOutcome::PartlyFulfilled(_) => true,
            RequestOutcome::Denied(_) | RequestOutcome::Withdrawn => false,
        };
        let is_confirmed = self.identity == IdentityCheck::Confirmed;
        if grants && self.right.needs_identity() && !is_confirmed {
            return Err(RequestError::IdentityNotConfirmed);
        }
        if grants && self.state != RequestState::InProgress {
            let (from, event) = (self.state, RequestEvent::Closed);
            return Err(RequestError::NotNow { from, event });
        }
        (self.state, self.closed) = (state, Some((on, outcome)));
        Ok(())
    }

    /// True while it waits for somebody.
    pub fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// The first day on which its record may be removed; `None` while it is open.
    pub fn removable_on(&self) -> Option<Date> {
        let (closed_on, _) = self.closed?;
        Some(closed_on.checked_add(KEPT_MONTHS.months()).unwrap_or(Date::MAX))
    }

    /// Everything that is due and not done, the earliest first.
    pub fn deadlines(&self, days: &WorkingDays) -> Vec<Deadline> {
        if self.is_open() { clock::deadlines(self, days) } else { Vec::new() }
    }

    /// What is overdue on the day `today`.
    pub fn alarms(&self, today: Date, days: &WorkingDays) -> Vec<Alarm> {
        let overdue = self.deadlines(days).into_iter().filter(|deadline| deadline.due < today);
        let alarm = |deadline: Deadline| Alarm {
            request: self.id,
            kind: deadline.kind,
            days_overdue: today
                .since(deadline.due)
                .map_or(0, |span| span.get_days())
                .unsigned_abs(),
        };
        overdue.map(alarm).collect()
    }

    fn check_day(&self, on: Date) -> Result<(), RequestError> {
        if on < self.received_on { Err(RequestError::BeforeReceipt) } else { Ok(()) }
    }
}

/// Something was not done in time. Holds nothing about the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Which request.
    pub request: RequestId,
    /// What was due.
    pub kind: DeadlineKind,
    /// Calendar days since.
    pub days_overdue: u32,
}

/// Requests that reach a recording which came later, of a person known by `handles`: to erase and
/// to opt out, unless they were denied or taken back.
pub fn reached<'r>(requests: &'r [Request], handles: &[PersonHandle]) -> Vec<&'r Request> {
    let stands = |request: &&Request| match request.closed {
        None => true,
        Some((_, RequestOutcome::Fulfilled | RequestOutcome::PartlyFulfilled(_))) => true,
        Some((_, RequestOutcome::Denied(_) | RequestOutcome::Withdrawn)) => false,
    };
    let is_of = |request: &&Request| request.persons.iter().any(|one| handles.contains(one));
    let reaches = |request: &&Request| request.right.reaches_later_recordings();
    requests.iter().filter(reaches).filter(stands).filter(is_of).collect()
}

/// Something that cannot be done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not in this state.
    #[error("{event:?} cannot follow {from}")]
    NotNow {
        /// The state it is in.
        from: RequestState,
        /// What should have happened.
        event: RequestEvent,
    },
    /// It was extended before.
    #[error("the request was extended already; there is one extension")]
    ExtendedAlready,
    /// The first time is over.
    #[error("the request was to be answered by {due}; an extension has to be told before")]
    TooLateToExtend {
        /// When the first time ended.
        due: Date,
    },
    /// Nothing is granted to somebody who may be somebody else.
    #[error("the identity of the person is not confirmed")]
    IdentityNotConfirmed,
    /// A day before the request came in.
    #[error("that day is before the request came in")]
    BeforeReceipt,
}

/// How long a closed request is kept (11 CCR 7101).
pub const KEPT_MONTHS: i32 = 24;
