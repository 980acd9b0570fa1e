//! When a person must know about the certificate, and how urgently.
//!
//! What renews itself only alarms when it fails and the end comes nearer; what nobody renews
//! alarms by the days that are left.

use keymanager::CertificateSource;

use super::{Attempts, Origin};
use crate::clock::Timestamp;
use crate::flow::{Engine, Warning};

/// What the alarms are about.
struct Situation<'a> {
    not_before_ms: i64,
    not_after_ms: i64,
    due_ms: Option<i64>,
    is_wanted_otherwise: bool,
    is_renewed_elsewhere: bool,
    attempts: &'a Attempts,
}

impl Engine {
    /// Warnings about certificate and clock, the worst first.
    pub(in crate::flow) fn certificate_warnings(&self, now: Timestamp) -> Vec<Warning> {
        let (facts, wanted) = (self.keys.tls().facts(), self.wanted_names());
        let subject = self.subject(&facts, &wanted, false);
        let attempts = self.attempts();
        let suggestion = self.keys.renewal_suggestion();
        let due_ms = self
            .renewer()
            .map(|_| keymanager::renewal::due_at_ms(&subject, &self.policy(), suggestion.as_ref()));
        let source = self.keys.certificate_source();
        let situation = Situation {
            not_before_ms: facts.not_before_ms,
            not_after_ms: facts.not_after_ms,
            due_ms,
            is_wanted_otherwise: subject.is_of_other_source
                || self.plan().origin == Origin::Files && source != CertificateSource::Files,
            is_renewed_elsewhere: self.plan().origin == Origin::Files,
            attempts: &attempts,
        };
        let mut warnings: Vec<Warning> = dates(&situation, now.as_millis()).into_iter().collect();
        warnings.extend(self.failure_warning(&situation, now.as_millis()));
        let (matches, suspect) = (self.memory().served_matches, self.is_clock_suspect());
        if matches == Some(false) {
            warnings.push(Warning {
                code: "certificate-not-served",
                message: "the HTTPS listener serves another certificate than the stored one"
                    .to_owned(),
                hint: "restart the daemon and report this as a defect".to_owned(),
            });
        }
        if suspect {
            warnings.push(Warning {
                code: "clock-suspect",
                message: "the clock jumped or stands before a moment that has been: nothing is \
                          issued or destroyed by it"
                    .to_owned(),
                hint: "check the time service (timedatectl); a clock that stays as it is is \
                       believed after an hour"
                    .to_owned(),
            });
        }
        warnings
    }

    /// Failing, and a tenth of the time between due and end is used up; at once if what is wanted
    /// never came.
    fn failure_warning(&self, situation: &Situation<'_>, now_ms: i64) -> Option<Warning> {
        let is_renewed = situation.due_ms.is_some() || situation.is_renewed_elsewhere;
        if situation.attempts.failures == 0 || !is_renewed {
            return None;
        }
        let is_serious = situation.is_wanted_otherwise
            || situation.is_renewed_elsewhere
            || situation.due_ms.is_none_or(|due_ms| {
                let band_ms = situation.not_after_ms.saturating_sub(due_ms);
                now_ms.saturating_sub(due_ms) > band_ms / 10
            });
        if !is_serious {
            return None;
        }
        let memory = self.memory();
        let (what, hint) = memory.last_failure.as_ref().map_or_else(
            || (situation.attempts.last_code.clone(), "the log says more".to_owned()),
            |failure| (format!("{}: {}", failure.code, failure.message), failure.hint.clone()),
        );
        Some(Warning {
            code: "certificate-renewal-failing",
            message: format!(
                "the certificate could not be renewed, {} times in a row: {what}",
                situation.attempts.failures
            ),
            hint,
        })
    }
}

/// What the dates alone say.
fn dates(situation: &Situation<'_>, now_ms: i64) -> Option<Warning> {
    let left_ms = situation.not_after_ms.saturating_sub(now_ms);
    let lifetime_ms = situation.not_after_ms.saturating_sub(situation.not_before_ms);
    let is_renewed = situation.due_ms.is_some() || situation.is_renewed_elsewhere;
    let hint = match is_renewed {
        true => "see why it is not renewed: `recseal certs renew --now --wait` tries at once",
        false => {
            "nobody renews it: import a new one (`recseal certs import`), make a request for one \
             (`recseal certs csr`), or let ACME do it ([certificate] source = \"acme\")"
        }
    };
    if left_ms <= 0 {
        return Some(Warning {
            code: "certificate-expired",
            message: "the certificate is over; it is served all the same".to_owned(),
            hint: hint.to_owned(),
        });
    }
    let days = left_ms / DAY_MS;
    if is_renewed {
        // A sixth or a week, but never so much that a healthy short one alarms before it is due.
        let short_ms = (lifetime_ms / 6).max(7 * DAY_MS).min(lifetime_ms / 4);
        return (left_ms < short_ms).then(|| Warning {
            code: "certificate-ends-soon",
            message: format!("the certificate ends in {days} days and was not renewed in time"),
            hint: hint.to_owned(),
        });
    }
    let step = LADDER_DAYS.iter().rev().find(|step| left_ms < **step * DAY_MS)?;
    let code = if *step > 7 { "certificate-ends-soon" } else { "certificate-ends-very-soon" };
    let message = match days {
        0 => "the certificate ends within a day".to_owned(),
        1 => "the certificate ends tomorrow".to_owned(),
        _ => format!("the certificate ends in {days} days"),
    };
    Some(Warning { code, message, hint: hint.to_owned() })
}

const DAY_MS: i64 = 86_400_000;
/// Days left at which a certificate that nobody renews is spoken of again, from early to late.
const LADDER_DAYS: [i64; 6] = [45, 30, 15, 7, 3, 1];

#[cfg(test)]
mod tests {
    use super::*;

    fn situation(attempts: &Attempts, lifetime: i64, due: Option<i64>) -> Situation<'_> {
        Situation {
            not_before_ms: 0,
            not_after_ms: lifetime * DAY_MS,
            due_ms: due.map(|day| day * DAY_MS),
            is_wanted_otherwise: false,
            is_renewed_elsewhere: false,
            attempts,
        }
    }

    /// Meant to catch: without the quarter, a certificate of ten days alarms half of its life.
    #[test]
    fn what_renews_itself_alarms_late_and_the_rest_early() {
        let none = Attempts::default();
        for (lifetime, due, day, code) in [
            (90, Some(60), 74, None),
            (90, Some(60), 76, Some("certificate-ends-soon")),
            (90, Some(60), 90, Some("certificate-expired")),
            (10, Some(5), 7, None),
            (10, Some(5), 8, Some("certificate-ends-soon")),
            (397, None, 351, None),
            (397, None, 353, Some("certificate-ends-soon")),
            (397, None, 391, Some("certificate-ends-very-soon")),
            (397, None, 397, Some("certificate-expired")),
            (397, None, 4_000, Some("certificate-expired")),
        ] {
            let warning = dates(&situation(&none, lifetime, due), day * DAY_MS + 1);
            let found = warning.as_ref().map(|warning| warning.code);
            assert_eq!(found, code, "{lifetime} days, due {due:?}, on day {day}");
            assert!(warning.is_none_or(|warning| !warning.hint.is_empty()));
        }
    }
}
