//! Certificates that people bring, ask for and take back. Each act is one entry of the trail.

use keymanager::gate::Report;
use keymanager::{
    Adopted, Candidate, CertificateInfo, CertificateRequest, CertificateSource, GatePolicy,
    KeyError, RequestInfo, RequestPurpose,
};
use uuid::Uuid;

use crate::access::{Grant, ManageCertificates, Principal, ViewKeys};
use crate::clock::Timestamp;
use crate::compliance::audit::{Activity, AuditEntry, Outcome};
use crate::flow::desk::actor;
use crate::flow::{Engine, FlowError};

impl Engine {
    /// The stored certificates, the live one first, and the requests that wait for an answer.
    pub fn certificates(
        &self,
        _grant: &Grant<ViewKeys>,
    ) -> (Vec<CertificateInfo>, Vec<RequestInfo>) {
        (self.keys.certificates(), self.keys.requests())
    }

    /// What every certificate of this server must satisfy; `change` it for one act.
    pub fn certificate_policy(&self) -> GatePolicy {
        GatePolicy::for_server(&self.keys.certificate_names())
    }

    /// Asks the gate; nothing is stored.
    pub fn check_certificate(
        &self,
        _grant: &Grant<ViewKeys>,
        candidate: &Candidate,
        policy: &GatePolicy,
        now: Timestamp,
    ) -> Report {
        self.keys.check_certificate(candidate, policy, now.as_millis())
    }

    /// Lets a certificate in: served at once, or when it becomes valid.
    ///
    /// # Errors
    ///
    /// [`FlowError::Keys`] with what the gate says; the old one goes on being served.
    /// [`FlowError::Catalog`] if only the entry of the trail failed.
    pub fn import_certificate(
        &self,
        grant: &Grant<ManageCertificates>,
        candidate: &Candidate,
        policy: &GatePolicy,
        now: Timestamp,
    ) -> Result<Adopted, FlowError> {
        let source = CertificateSource::Imported;
        let outcome = self.keys.adopt(candidate, source, policy, now.as_millis());
        self.note_adoption(grant.principal(), Activity::CertificateImported, outcome, now)
    }

    /// Makes a key and a request for an authority.
    ///
    /// # Errors
    ///
    /// [`FlowError::Keys`], [`FlowError::Catalog`].
    pub fn request_certificate(
        &self,
        grant: &Grant<ManageCertificates>,
        names: &[String],
        now: Timestamp,
    ) -> Result<CertificateRequest, FlowError> {
        let purpose = RequestPurpose::Manual;
        let request = self.keys.request_certificate(names, purpose, now.as_millis())?;
        let activity = Activity::CertificateRequested;
        self.note_certificate(grant.principal(), activity, Outcome::Ok, Some(request.id), now)?;
        Ok(request)
    }

    /// Takes the authority's answer to a request.
    ///
    /// # Errors
    ///
    /// As [`Engine::import_certificate`]; a refused answer leaves the request.
    pub fn complete_request(
        &self,
        grant: &Grant<ManageCertificates>,
        id: Uuid,
        chain_pem: &[u8],
        policy: &GatePolicy,
        now: Timestamp,
    ) -> Result<Adopted, FlowError> {
        let outcome = self.keys.complete_request(id, chain_pem, policy, now.as_millis());
        self.note_adoption(grant.principal(), Activity::CertificateImported, outcome, now)
    }

    /// Forgets a request and its key.
    ///
    /// # Errors
    ///
    /// [`FlowError::Keys`], [`FlowError::Catalog`].
    pub fn cancel_request(
        &self,
        grant: &Grant<ManageCertificates>,
        id: Uuid,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        self.keys.cancel_request(id)?;
        let entry = self.certificate_entry(
            grant.principal(),
            Activity::CertificateRequested,
            Outcome::Ok,
            Some(id),
            now,
        );
        self.catalog.write(|tx| tx.append_audit(&entry.because("cancelled")))?;
        Ok(())
    }

    /// Serves an earlier certificate again.
    ///
    /// # Errors
    ///
    /// [`FlowError::Keys`] if there is none, or it is over; [`FlowError::Catalog`].
    pub fn rollback_certificate(
        &self,
        grant: &Grant<ManageCertificates>,
        id: Option<Uuid>,
        now: Timestamp,
    ) -> Result<Adopted, FlowError> {
        let outcome = self.keys.rollback_certificate(id, now.as_millis());
        self.note_adoption(grant.principal(), Activity::CertificateRolledBack, outcome, now)
    }

    /// Records what came of an attempt, refusals too.
    fn note_adoption(
        &self,
        principal: &Principal,
        activity: Activity,
        outcome: Result<Adopted, KeyError>,
        now: Timestamp,
    ) -> Result<Adopted, FlowError> {
        let (result, id) = match &outcome {
            Ok(adopted) => (Outcome::Ok, Some(adopted.id)),
            Err(KeyError::Refused { .. }) => (Outcome::Refused, None),
            Err(_) => (Outcome::Failed, None),
        };
        self.note_certificate(principal, activity, result, id, now)?;
        Ok(outcome?)
    }

    fn note_certificate(
        &self,
        principal: &Principal,
        activity: Activity,
        outcome: Outcome,
        id: Option<Uuid>,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let entry = self.certificate_entry(principal, activity, outcome, id, now);
        self.catalog.write(|tx| tx.append_audit(&entry))?;
        Ok(())
    }

    fn certificate_entry(
        &self,
        principal: &Principal,
        activity: Activity,
        outcome: Outcome,
        id: Option<Uuid>,
        now: Timestamp,
    ) -> AuditEntry {
        let entry = AuditEntry::new(now, actor(principal), activity).with_outcome(outcome);
        match id {
            Some(id) => entry.on_object(id),
            None => entry,
        }
    }
}
