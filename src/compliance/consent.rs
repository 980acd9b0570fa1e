//! Consent: who agreed to what, who withdrew, and what that is worth.
//!
//! ```text
//! records of one person and purpose ─ latest ─▶ Given since … │ Withdrawn since …
//! withdrawn, of somebody in the conversation ─▶ its tag 6(1)(a) protects no longer
//! ```
//!
//! A record is about a person and a purpose, wherever it was said: a withdrawal in one call
//! reaches every conversation of that person, and a consent given later restores them.
//!
//! **What lifts 6(1)(a).** The withdrawal of one participant is enough, whatever the others agreed
//! to: nobody can consent for somebody else, and a consent that cannot be taken back is none. It
//! must be about keeping: recording or processing, or another purpose if that was all this person
//! had agreed to. An opt-out of sale or of giving to third parties lifts nothing, since neither is
//! why a recording is kept. The other five bases do not care.

use crate::clock::Timestamp;
use crate::domain::conversation::Personal;
use crate::domain::{ConsentId, ConversationId};

use super::hold::Protection;
use super::person::PersonHandle;
use super::tag::LegalBasis;

/// What somebody agrees to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Being recorded.
    Recording,
    /// Use of the data.
    Processing,
    /// Sale of the data.
    Sale,
    /// Giving the data to third parties.
    ThirdParty,
    /// The caller's own word, in lower case.
    Other(String),
}

impl Purpose {
    /// The stored name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Recording => "recording",
            Self::Processing => "processing",
            Self::Sale => "sale",
            Self::ThirdParty => "third_party",
            Self::Other(word) => word,
        }
    }

    /// The purpose of a stored or imported name; `None` if it is empty, longer than 100 bytes or
    /// has control characters.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.trim().to_lowercase();
        if name.is_empty() || name.len() > PURPOSE_BYTES_MAX || name.chars().any(char::is_control) {
            return None;
        }
        let known = [Self::Recording, Self::Processing, Self::Sale, Self::ThirdParty];
        let found = known.into_iter().find(|purpose| purpose.as_str() == name);
        Some(found.unwrap_or(Self::Other(name)))
    }

    /// Its withdrawal is an opt-out that conversations show.
    pub fn is_opt_out(&self) -> bool {
        match self {
            Self::Processing | Self::Sale | Self::ThirdParty => true,
            Self::Recording | Self::Other(_) => false,
        }
    }
}

/// One record. What was recorded is not changed; the next one counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentRecord {
    /// Its id.
    pub id: ConsentId,
    /// Of whom: every handle the person was known by when it was recorded.
    pub persons: Vec<PersonHandle>,
    /// What for.
    pub purpose: Purpose,
    /// Given, or withdrawn.
    pub given: bool,
    /// When that was said.
    pub at: Timestamp,
    /// Where that can be seen: a reference, not the document.
    pub evidence: Option<Personal>,
    /// The conversation it came with.
    pub conversation: Option<ConversationId>,
}

impl ConsentRecord {
    /// True if it is about somebody known by one of `handles`.
    pub fn is_of(&self, handles: &[PersonHandle]) -> bool {
        self.persons.iter().any(|person| handles.contains(person))
    }
}

/// What holds now of one person and purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsentState {
    /// Nobody ever said.
    Unknown,
    /// Given.
    Given {
        /// When.
        since: Timestamp,
    },
    /// Withdrawn: an opt-out.
    Withdrawn {
        /// When.
        since: Timestamp,
    },
}

/// What holds at `now` of `person` and `purpose`: the latest of `records`. Of two at the same
/// moment the withdrawal counts; what lies in the future does not count yet.
pub fn state(
    records: &[ConsentRecord],
    person: PersonHandle,
    purpose: &Purpose,
    now: Timestamp,
) -> ConsentState {
    let about_it = records.iter().filter(|record| {
        record.persons.contains(&person) && record.purpose == *purpose && record.at <= now
    });
    match about_it.max_by_key(|record| (record.at, !record.given)) {
        None => ConsentState::Unknown,
        Some(ConsentRecord { given: true, at, .. }) => ConsentState::Given { since: *at },
        Some(ConsentRecord { given: false, at, .. }) => ConsentState::Withdrawn { since: *at },
    }
}

/// A withdrawal that lifts 6(1)(a).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// By whom.
    pub person: PersonHandle,
    /// Of what.
    pub purpose: Purpose,
    /// When.
    pub since: Timestamp,
}

/// The withdrawal that lifts 6(1)(a) from a conversation of `persons`, the earliest if several do.
pub fn lifted(
    records: &[ConsentRecord],
    persons: &[PersonHandle],
    now: Timestamp,
) -> Option<Withdrawal> {
    let withdrawals = persons.iter().filter_map(|person| withdrawal(records, *person, now));
    withdrawals.min_by(|one, other| (one.since, &one.purpose).cmp(&(other.since, &other.purpose)))
}

/// What tags protect a conversation of `persons` with, given the legal bases it is tagged with.
pub fn protections(
    bases: &[LegalBasis],
    records: &[ConsentRecord],
    persons: &[PersonHandle],
    now: Timestamp,
) -> Vec<Protection> {
    let protects = |basis: &&LegalBasis| match basis {
        LegalBasis::Consent => lifted(records, persons, now).is_none(),
        LegalBasis::Contract
        | LegalBasis::LegalObligation
        | LegalBasis::VitalInterests
        | LegalBasis::PublicInterest
        | LegalBasis::LegitimateInterests => true,
    };
    bases.iter().filter(protects).map(|basis| basis.protection()).collect()
}

/// Opt-outs that conversations of `persons` show, the earliest first: purpose by purpose, one for
/// each person.
pub fn opt_outs(
    records: &[ConsentRecord],
    persons: &[PersonHandle],
    now: Timestamp,
) -> Vec<Withdrawal> {
    let purposes = [Purpose::Processing, Purpose::Sale, Purpose::ThirdParty];
    let mut found: Vec<_> = persons
        .iter()
        .flat_map(|person| purposes.iter().map(move |purpose| (*person, purpose)))
        .filter_map(|(person, purpose)| match state(records, person, purpose, now) {
            ConsentState::Withdrawn { since } => {
                Some(Withdrawal { person, purpose: purpose.clone(), since })
            }
            ConsentState::Unknown | ConsentState::Given { .. } => None,
        })
        .collect();
    found.sort_by(|one, other| {
        (one.since, &one.purpose, one.person).cmp(&(other.since, &other.purpose, other.person))
    });
    found.dedup();
    found
}

/// Which records are wanted; what is `None` does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsentFilter {
    /// Of this person, under any of their handles.
    pub persons: Option<Vec<PersonHandle>>,
    /// For this purpose.
    pub purpose: Option<Purpose>,
    /// Given, or withdrawn.
    pub given: Option<bool>,
    /// Said at this moment or later.
    pub from: Option<Timestamp>,
    /// Said before this moment.
    pub to: Option<Timestamp>,
}

impl ConsentFilter {
    /// True if `record` is wanted.
    pub fn matches(&self, record: &ConsentRecord) -> bool {
        self.persons.as_ref().is_none_or(|persons| record.is_of(persons))
            && self.purpose.as_ref().is_none_or(|purpose| *purpose == record.purpose)
            && self.given.is_none_or(|given| given == record.given)
            && self.from.is_none_or(|from| from <= record.at)
            && self.to.is_none_or(|to| record.at < to)
    }
}

/// The withdrawal of `person` that says: keep it no longer.
fn withdrawal(
    records: &[ConsentRecord],
    person: PersonHandle,
    now: Timestamp,
) -> Option<Withdrawal> {
    let withdrawn = |purpose: &Purpose| match state(records, person, purpose, now) {
        ConsentState::Withdrawn { since } => {
            Some(Withdrawal { person, purpose: purpose.clone(), since })
        }
        ConsentState::Unknown | ConsentState::Given { .. } => None,
    };
    let of_keeping = [Purpose::Recording, Purpose::Processing];
    if let Some(found) = of_keeping.iter().filter_map(withdrawn).min_by_key(|one| one.since) {
        return Some(found);
    }
    let mut others: Vec<_> = records
        .iter()
        .filter(|record| record.persons.contains(&person) && !is_about_giving_away(&record.purpose))
        .map(|record| &record.purpose)
        .collect();
    others.sort_unstable();
    others.dedup();
    let has_given = others
        .iter()
        .any(|purpose| matches!(state(records, person, purpose, now), ConsentState::Given { .. }));
    if has_given {
        return None;
    }
    others.into_iter().filter_map(withdrawn).max_by_key(|one| one.since)
}

fn is_about_giving_away(purpose: &Purpose) -> bool {
    match purpose {
        Purpose::Sale | Purpose::ThirdParty => true,
        Purpose::Recording | Purpose::Processing | Purpose::Other(_) => false,
    }
}

const PURPOSE_BYTES_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: PersonHandle = PersonHandle([1; 32]);
    const BOB: PersonHandle = PersonHandle([2; 32]);

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn record(person: PersonHandle, purpose: &str, given: bool, millis: i64) -> ConsentRecord {
        ConsentRecord {
            id: ConsentId::new(),
            persons: vec![person],
            purpose: Purpose::from_name(purpose).unwrap(),
            given,
            at: at(millis),
            evidence: None,
            conversation: None,
        }
    }

    /// Planted faults: the last record stored counts, not the last said; the future counts; of two
    /// at one moment the consent counts.
    #[test]
    fn the_latest_word_counts() {
        use ConsentState::{Given, Unknown, Withdrawn};
        let rows: [(&[(bool, i64)], ConsentState); 6] = [
            (&[], Unknown),
            (&[(true, 5)], Given { since: at(5) }),
            (&[(true, 5), (false, 7)], Withdrawn { since: at(7) }),
            (&[(false, 7), (true, 5)], Withdrawn { since: at(7) }),
            (&[(true, 5), (false, 11)], Given { since: at(5) }),
            (&[(false, 5), (true, 5)], Withdrawn { since: at(5) }),
        ];
        for (said, expected) in rows {
            let records: Vec<_> =
                said.iter().map(|(given, when)| record(ANN, "sale", *given, *when)).collect();
            assert_eq!(state(&records, ANN, &Purpose::Sale, at(10)), expected, "{said:?}");
            assert_eq!(state(&records, BOB, &Purpose::Sale, at(10)), Unknown);
            assert_eq!(state(&records, ANN, &Purpose::Recording, at(10)), Unknown);
        }
    }

    /// Planted faults: the consent of the other participant keeps the protection; an opt-out of
    /// sale lifts it; a withdrawal of somebody who took no part; another basis lifted with it.
    #[test]
    fn withdrawal_lifts_consent_and_nothing_else() {
        type Said<'a> = &'a [(PersonHandle, &'a str, bool, i64)];
        let rows: [(Said<'_>, Option<&str>); 12] = [
            (&[], None),
            (&[(ANN, "recording", true, 1)], None),
            (&[(ANN, "recording", true, 1), (ANN, "recording", false, 2)], Some("recording")),
            (&[(ANN, "recording", false, 2)], Some("recording")),
            (&[(ANN, "recording", true, 1), (ANN, "processing", false, 2)], Some("processing")),
            (&[(ANN, "recording", false, 2), (BOB, "recording", true, 1)], Some("recording")),
            (&[(ANN, "sale", false, 2), (ANN, "third_party", false, 2)], None),
            (&[(ANN, "recording", false, 2), (ANN, "recording", true, 3)], None),
            (&[(ANN, "training", true, 1), (ANN, "training", false, 2)], Some("training")),
            (&[(ANN, "training", false, 2), (ANN, "recording", true, 1)], None),
            (&[(ANN, "training", false, 2), (ANN, "sale", true, 1)], Some("training")),
            (&[(PersonHandle([9; 32]), "recording", false, 2)], None),
        ];
        let bases = [LegalBasis::Contract, LegalBasis::Consent];
        for (said, expected) in rows {
            let records: Vec<_> = said
                .iter()
                .map(|(who, what, given, when)| record(*who, what, *given, *when))
                .collect();
            let found = lifted(&records, &[ANN, BOB], at(10));
            assert_eq!(found.as_ref().map(|one| one.purpose.as_str()), expected, "{said:?}");
            let left = protections(&bases, &records, &[ANN, BOB], at(10));
            let mut wanted = vec![LegalBasis::Contract.protection()];
            wanted.extend(expected.is_none().then(|| LegalBasis::Consent.protection()));
            assert_eq!(left, wanted, "{said:?}");
        }
    }

    /// Planted faults: a withdrawn recording shown as an opt-out; an opt-out that was taken back.
    #[test]
    fn opt_outs_are_shown() {
        let records = [
            record(ANN, "Third_Party", false, 4),
            record(ANN, "processing", false, 5),
            record(BOB, "sale", false, 3),
            record(ANN, "sale", false, 1),
            record(ANN, "sale", true, 2),
            record(ANN, "recording", false, 1),
        ];
        let found = opt_outs(&records, &[ANN, BOB, ANN], at(10));
        let found: Vec<_> = found.iter().map(|one| (one.person, one.purpose.as_str())).collect();
        assert_eq!(found, [(BOB, "sale"), (ANN, "third_party"), (ANN, "processing")]);
        for purpose in ["processing", "sale", "third_party"] {
            assert!(Purpose::from_name(purpose).unwrap().is_opt_out());
        }
    }

    /// Planted fault: `to` taken in.
    #[test]
    fn records_are_searchable() {
        let given = record(ANN, "sale", true, 5);
        let filter = ConsentFilter::default();
        let row = |filter: ConsentFilter| filter.matches(&given);
        assert!(row(filter.clone()));
        assert!(row(ConsentFilter { persons: Some(vec![BOB, ANN]), ..filter.clone() }));
        assert!(!row(ConsentFilter { persons: Some(vec![]), ..filter.clone() }));
        assert!(!row(ConsentFilter { purpose: Some(Purpose::Recording), ..filter.clone() }));
        assert!(!row(ConsentFilter { given: Some(false), ..filter.clone() }));
        assert!(row(ConsentFilter { from: Some(at(5)), to: Some(at(6)), ..filter.clone() }));
        assert!(!row(ConsentFilter { to: Some(at(5)), ..filter.clone() }));
        assert!(!row(ConsentFilter { from: Some(at(6)), ..filter }));
        for bad in ["", "  ", "a\0b"] {
            assert_eq!(Purpose::from_name(bad), None, "{bad:?}");
        }
    }
}
