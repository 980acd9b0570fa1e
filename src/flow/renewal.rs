//! The certificate over time: when it is renewed, how that went, and when a person must know.
//!
//! The driver in `daemon` brings what needs a network or a file; everything is decided, stored
//! and told here, so that status, metrics and audit trail cannot disagree.

mod alarms;
mod words;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use keymanager::renewal::{self, Attempts, Decision, FailureClass, Policy, Subject};
use keymanager::{
    Adopted, Candidate, CertificateFacts, CertificateSource, CertificateStanding, GatePolicy,
    KeyError,
};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::compliance::audit::Activity;
use crate::flow::{Engine, FlowError, chain};

pub use words::{CertificatePlan, Origin, RenewalFailure, RenewalStatus, Tended};

/// What the engine remembers of the certificate, besides what the key store does.
#[derive(Debug, Default)]
pub(super) struct RenewalDesk {
    plan: OnceLock<CertificatePlan>,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    last_failure: Option<RenewalFailure>,
    renewed: u64,
    failed: u64,
    served_matches: Option<bool>,
    /// Said last, so that a state is logged when it begins and not at every tick.
    told: Option<String>,
}

impl Engine {
    /// Takes the administrator's decision. Later calls change nothing.
    pub fn plan_certificate(&self, plan: CertificatePlan) {
        let _ = self.renewal.plan.set(plan);
    }

    /// The names that the certificate should have.
    pub fn wanted_names(&self) -> Vec<String> {
        match self.plan().names {
            names if names.is_empty() => self.keys.certificate_names(),
            names => names,
        }
    }

    /// Looks at the certificate and does what can be done here: serves one that waited for its
    /// day, and renews a self-signed one. `is_asked_for` is a person's wish for a new one now.
    ///
    /// # Errors
    ///
    /// None: a failure is stored, told and comes back as [`Tended::Failed`].
    pub fn tend_certificate(&self, is_asked_for: bool, now: Timestamp) -> Tended {
        if is_asked_for && let Err(error) = self.keys.reset_renewal_attempts() {
            return self.renewal_failed(store_failure(&error), now);
        }
        if !self.is_clock_suspect() {
            match self.keys.activate_staged_certificate(now.as_millis()) {
                Ok(None) => {}
                Ok(Some(_)) => return self.renewal_succeeded(now),
                Err(error) => return self.renewal_failed(store_failure(&error), now),
            }
        }
        let decision = self.decide_renewal(is_asked_for, now);
        self.tell_decision(&decision);
        match decision {
            None if self.plan().origin == Origin::Auto => Tended::ByNobody,
            None => Tended::Good { until: None },
            Some(Decision::Idle { until_ms }) => {
                Tended::Good { until: Some(Timestamp::from_millis(until_ms)) }
            }
            Some(Decision::Hold { reason, until_ms }) => {
                Tended::Held { reason, until: Timestamp::from_millis(until_ms) }
            }
            Some(Decision::Renew { reason }) => match self.renewer() {
                Some(CertificateSource::SelfSigned) => self.renew_self_signed(now),
                Some(CertificateSource::InternalCa) => self.renew_from_authority(now),
                Some(_) | None => Tended::Wanted { reason },
            },
        }
    }

    /// Takes what an authority answered to the request `id`, through the gate.
    pub fn take_answer(&self, id: Uuid, chain_pem: &[u8], now: Timestamp) -> Tended {
        let taken = self.keys.complete_request(id, chain_pem, &self.gate_policy(), now.as_millis());
        if let Err(KeyError::Refused { .. } | KeyError::NothingNew) = &taken {
            // Asking again for the same answer would be refused again.
            let forgotten = self.keys.cancel_request(id).and(self.keys.store_acme_order(None));
            if let Err(error) = forgotten {
                tracing::error!(%error, "a refused answer could not be forgotten");
            }
        }
        self.taken(taken, now)
    }

    /// Takes a certificate out of files, through the gate. The one that serves already is good.
    pub fn take_files(
        &self,
        chain: &[u8],
        key: Option<&[u8]>,
        password: Option<&Zeroizing<String>>,
        now: Timestamp,
    ) -> Tended {
        let candidate = match Candidate::from_bytes(chain, key, password) {
            Ok(candidate) => candidate,
            Err(finding) => {
                return self.renewal_failed(
                    RenewalFailure {
                        code: finding.code.as_str().to_owned(),
                        class: FailureClass::Passing,
                        message: finding.message,
                        hint: finding.hint,
                        retry_after_ms: None,
                    },
                    now,
                );
            }
        };
        let source = CertificateSource::Files;
        match self.keys.adopt(&candidate, source, &self.gate_policy(), now.as_millis()) {
            Err(KeyError::NothingNew) => {
                // What failed in between was put back: nothing is left to warn of.
                if let Err(error) = self.keys.reset_renewal_attempts() {
                    return self.renewal_failed(store_failure(&error), now);
                }
                self.memory().last_failure = None;
                Tended::Good { until: None }
            }
            taken => self.taken(taken, now),
        }
    }

    /// Stores, counts, records and tells a failure.
    pub fn renewal_failed(&self, failure: RenewalFailure, now: Timestamp) -> Tended {
        let names = self.wanted_names();
        let noted = self.keys.note_renewal_failure(
            &failure.code,
            failure.class,
            failure.retry_after_ms,
            &names,
            now.as_millis(),
        );
        let (failures, retry_at_ms) = match &noted {
            Ok(attempts) => (attempts.failures, attempts.retry_at_ms),
            Err(_) => (0, 0),
        };
        tracing::warn!(
            code = failure.code,
            detail = failure.message,
            hint = failure.hint,
            failures,
            retry_at = %Timestamp::from_millis(retry_at_ms),
            "the certificate was not renewed; the old one serves on"
        );
        if let Err(error) = self.note_daemon(Activity::CertificateRenewalFailed, now) {
            let error = chain(&error);
            tracing::error!(error, "a failed renewal could not be recorded");
        }
        let mut memory = self.memory();
        memory.failed += 1;
        memory.last_failure = Some(failure.clone());
        Tended::Failed(failure)
    }

    /// Notes whether the clock is to be trusted, and remembers the moment if it is.
    pub fn note_trust(&self, is_trusted: bool, now: Timestamp, is_later_wrong: bool) {
        if self.is_clock_suspect() == is_trusted {
            match is_trusted {
                true => tracing::info!("the clock is believed again"),
                false => tracing::warn!(
                    "the clock jumped or stands before what was believed: \
                     nothing is issued or destroyed by it for an hour"
                ),
            }
        }
        self.note_clock(!is_trusted);
        let noted = match (is_trusted, is_later_wrong) {
            (true, true) => self.keys.accept_time(now.as_millis()),
            (true, false) => self.keys.note_time(now.as_millis()),
            (false, _) => Ok(()),
        };
        if let Err(error) = noted {
            tracing::warn!(%error, "the time could not be remembered");
        }
    }

    /// Notes whether the listener serves what is stored.
    pub fn note_served(&self, matches: bool) {
        if !matches {
            tracing::error!("the HTTPS listener serves another certificate than the stored one");
        }
        self.memory().served_matches = Some(matches);
    }

    /// What the driver must know of the subject to ask its authority about it.
    pub fn take_suggestion(&self, window: (i64, i64)) -> Result<bool, FlowError> {
        let (facts, wanted) = (self.keys.tls().facts(), self.wanted_names());
        let subject = self.subject(&facts, &wanted, false);
        Ok(self.keys.take_renewal_suggestion(&subject, &self.policy(), window)?)
    }

    pub(super) fn renewal_status(&self, now: Timestamp) -> RenewalStatus {
        let attempts = self.keys.renewal_attempts();
        let (facts, wanted) = (self.keys.tls().facts(), self.wanted_names());
        let subject = self.subject(&facts, &wanted, false);
        let suggestion = self.keys.renewal_suggestion();
        let next_ms = match self.decide_renewal(false, now) {
            None => None,
            Some(Decision::Hold { until_ms, .. }) => Some(until_ms),
            Some(Decision::Idle { .. } | Decision::Renew { .. }) => {
                Some(renewal::due_at_ms(&subject, &self.policy(), suggestion.as_ref()))
            }
        };
        let memory = self.memory();
        RenewalStatus {
            next: next_ms.map(Timestamp::from_millis),
            failures: attempts.failures,
            retry_at: (attempts.failures > 0).then(|| Timestamp::from_millis(attempts.retry_at_ms)),
            last_code: (attempts.failures > 0).then(|| attempts.last_code.clone()),
            last_success: (attempts.last_success_ms > 0)
                .then(|| Timestamp::from_millis(attempts.last_success_ms)),
            renewed: memory.renewed,
            failed: memory.failed,
            clock_suspect: self.is_clock_suspect(),
            served_matches: memory.served_matches,
        }
    }

    /// `None` if nobody here renews the certificate that serves.
    fn decide_renewal(&self, is_asked_for: bool, now: Timestamp) -> Option<Decision> {
        self.renewer()?;
        let (facts, wanted) = (self.keys.tls().facts(), self.wanted_names());
        let subject = self.subject(&facts, &wanted, is_asked_for);
        if let Some(until_ms) = self.waits_until_ms().filter(|_| !is_asked_for)
            && until_ms < renewal::emergency_from_ms(&subject, &self.policy())
        {
            // The next one is here already; ordering another would never end.
            return Some(Decision::Idle { until_ms });
        }
        Some(renewal::decide(
            now.as_millis(),
            &subject,
            &self.policy(),
            self.keys.renewal_suggestion().as_ref(),
            &self.keys.renewal_attempts(),
            self.is_clock_suspect(),
        ))
    }

    /// When a certificate that waits for its day begins.
    fn waits_until_ms(&self) -> Option<i64> {
        let stored = self.keys.certificates();
        let waiting = stored.iter().find(|one| one.standing == CertificateStanding::Staged)?;
        Some(waiting.facts.not_before_ms)
    }

    /// Where the next certificate comes from; `None` if nothing is fetched or issued here.
    fn renewer(&self) -> Option<CertificateSource> {
        match (self.plan().origin, self.keys.certificate_source()) {
            (Origin::Acme, _) => Some(CertificateSource::Acme),
            (Origin::SelfSigned, _) | (Origin::Auto, CertificateSource::SelfSigned) => {
                Some(CertificateSource::SelfSigned)
            }
            (Origin::InternalCa, _) | (Origin::Auto, CertificateSource::InternalCa) => {
                Some(CertificateSource::InternalCa)
            }
            (Origin::Files | Origin::Auto, _) => None,
        }
    }

    fn subject<'a>(
        &self,
        facts: &'a CertificateFacts,
        wanted_names: &'a [String],
        is_asked_for: bool,
    ) -> Subject<'a> {
        let source = self.keys.certificate_source();
        Subject {
            not_before_ms: facts.not_before_ms,
            not_after_ms: facts.not_after_ms,
            sha256: &facts.sha256,
            names: &facts.names,
            wanted_names,
            is_of_other_source: self.renewer().is_some_and(|renewer| renewer != source),
            is_asked_for,
        }
    }

    fn policy(&self) -> Policy {
        Policy { window: self.plan().window, tick_ms: TICK_MS }
    }

    fn gate_policy(&self) -> GatePolicy {
        let plan = self.plan();
        let wanted_names = match plan.origin {
            Origin::Files => plan.names,
            Origin::Auto | Origin::SelfSigned | Origin::InternalCa | Origin::Acme => {
                self.wanted_names()
            }
        };
        GatePolicy { wanted_names, allow_private: plan.allow_private, ..GatePolicy::default() }
    }

    fn renew_self_signed(&self, now: Timestamp) -> Tended {
        match self.keys.renew_self_signed(&self.wanted_names(), now.as_millis()) {
            Ok(()) => self.renewal_succeeded(now),
            Err(error) => self.renewal_failed(store_failure(&error), now),
        }
    }

    fn renew_from_authority(&self, now: Timestamp) -> Tended {
        match self.keys.issue_own_from_authority(&self.wanted_names(), now.as_millis()) {
            Ok(_) => self.renewal_succeeded(now),
            Err(error @ KeyError::Authority(_)) => {
                let failure = RenewalFailure {
                    code: "internal-authority".to_owned(),
                    class: FailureClass::Passing,
                    message: chain(&error),
                    hint: "`recseal certs ca show` tells its state; `recseal certs ca create` \
                           makes one"
                        .to_owned(),
                    retry_after_ms: None,
                };
                self.renewal_failed(failure, now)
            }
            Err(error) => self.renewal_failed(store_failure(&error), now),
        }
    }

    fn taken(&self, taken: Result<Adopted, KeyError>, now: Timestamp) -> Tended {
        match taken {
            Ok(_) => self.renewal_succeeded(now),
            Err(KeyError::Refused { report }) => {
                let first = report.refusals.first();
                let failure = RenewalFailure {
                    code: first.map_or("refused", |one| one.code.as_str()).to_owned(),
                    class: FailureClass::Passing,
                    message: report.to_string(),
                    hint: first.map_or_else(String::new, |one| one.hint.clone()),
                    retry_after_ms: None,
                };
                self.renewal_failed(failure, now)
            }
            Err(error) => self.renewal_failed(store_failure(&error), now),
        }
    }

    fn renewal_succeeded(&self, now: Timestamp) -> Tended {
        let facts = self.keys.tls().facts();
        tracing::info!(
            certificate_sha256 = facts.sha256,
            not_after = %Timestamp::from_millis(facts.not_after_ms),
            source = self.keys.certificate_source().as_str(),
            "a new certificate serves"
        );
        if let Err(error) = self.keys.note_renewal_success(now.as_millis()) {
            tracing::error!(%error, "a renewal could not be remembered");
        }
        if let Err(error) = self.note_daemon(Activity::CertificateRenewed, now) {
            let error = chain(&error);
            tracing::error!(error, "a renewal could not be recorded");
        }
        let mut memory = self.memory();
        memory.renewed += 1;
        memory.last_failure = None;
        Tended::Renewed
    }

    fn tell_decision(&self, decision: &Option<Decision>) {
        let said = match decision {
            Some(Decision::Renew { reason }) => format!("due: {}", reason.as_str()),
            Some(Decision::Hold { reason, .. }) => format!("held: {}", reason.as_str()),
            Some(Decision::Idle { .. }) | None => String::new(),
        };
        let mut memory = self.memory();
        if memory.told.as_ref() != Some(&said) && !said.is_empty() {
            match decision {
                Some(Decision::Renew {
                    reason: renewal::Reason::Emergency | renewal::Reason::Expired,
                }) => tracing::warn!(state = said, "renewal of the certificate"),
                _ => tracing::info!(state = said, "renewal of the certificate"),
            }
        }
        memory.told = Some(said);
    }

    fn plan(&self) -> CertificatePlan {
        self.renewal.plan.get().cloned().unwrap_or_default()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.renewal.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attempts(&self) -> Attempts {
        self.keys.renewal_attempts()
    }
}

/// A failure on our own side of the road.
fn store_failure(error: &KeyError) -> RenewalFailure {
    RenewalFailure {
        code: "key-store".to_owned(),
        class: FailureClass::Passing,
        message: chain(error),
        hint: "check the disk and the rights of the state folder; it is tried again".to_owned(),
        retry_after_ms: None,
    }
}

/// How often the driver looks at the certificate, in milliseconds.
pub const TICK_MS: i64 = 60_000;
