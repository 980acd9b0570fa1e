//! The internal certificate authority as people use it, and who a client's certificate stands for.

use std::time::Duration;

use keymanager::{
    AuthorityChange, AuthorityState, CertificateSource, ClientCertificate, ClientKey, ClientPolicy,
    IssuedInfo, IssuingInfo, RevocationReason,
};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::access::{self, Grant, Principal, Role};
use crate::clock::Timestamp;
use crate::compliance::audit::{Activity, Actor, AuditEntry};
use crate::flow::desk::actor;
use crate::flow::{Engine, FlowError, Warning};

/// Whoever shows a certificate for `name` may do what `role` may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRule {
    /// The name that the certificate must be for.
    pub name: String,
    /// What it stands for.
    pub role: Role,
}

/// The authority, as it is shown.
#[derive(Clone, Debug)]
pub struct AuthorityView {
    /// Its issuing authorities, oldest first; empty if there is no authority.
    pub issuing: Vec<IssuingInfo>,
    /// Valid certificates that it issued.
    pub issued: usize,
    /// Of those, revoked ones.
    pub revoked: usize,
}

/// A certificate just issued.
pub struct IssuedClient {
    /// What the ledger says about it.
    pub info: IssuedInfo,
    /// Its key, if it was made here, and its chain, as PEM: shown this one time.
    pub bundle: Zeroizing<String>,
}

impl Engine {
    /// Sets who may show a certificate and what it stands for. Once, before the doors open.
    ///
    /// # Errors
    ///
    /// [`FlowError::Keys`] if the further authorities cannot be read: nobody is asked then.
    pub fn accept_clients(
        &self,
        policy: ClientPolicy,
        rules: Vec<ClientRule>,
    ) -> Result<(), FlowError> {
        let _ = self.client_rules.set(rules);
        Ok(self.keys.accept_clients(policy)?)
    }

    /// Who shows this certificate, if it is valid now and stands for anything; asked for every
    /// request.
    pub fn recognise(&self, shown: &ClientCertificate, now: Timestamp) -> Option<Principal> {
        let names = match self.keys.client_names(shown, now.as_millis()) {
            Ok(names) => names,
            Err(refusal) => {
                tracing::debug!(serial = shown.serial, %refusal, "a certificate was refused");
                return None;
            }
        };
        let rules = self.client_rules.get()?;
        let rule = rules.iter().find(|rule| names.contains(&rule.name))?;
        Some(Principal::certificate(&rule.name, &shown.serial, rule.role))
    }

    /// True if the certificate of an open connection is still accepted.
    pub fn is_accepted(&self, shown: &ClientCertificate, now: Timestamp) -> bool {
        self.keys.client_names(shown, now.as_millis()).is_ok()
    }

    /// Prepares and activates authorities that are due, and writes revocation lists anew. Nothing
    /// is issued while the clock is suspect.
    ///
    /// # Errors
    ///
    /// [`FlowError::Keys`], [`FlowError::Catalog`].
    pub fn tend_authority(&self, now: Timestamp) -> Result<(), FlowError> {
        if self.is_clock_suspect() {
            return Ok(());
        }
        for change in self.keys.tend_authority(now.as_millis())? {
            let code = match change {
                AuthorityChange::Prepared { number } => {
                    tracing::info!(number, "prepared an issuing authority");
                    PREPARED
                }
                AuthorityChange::Activated { number } => {
                    tracing::info!(number, "activated an issuing authority");
                    ACTIVATED
                }
                AuthorityChange::Forgotten { number } => {
                    tracing::info!(number, "forgot an issuing authority that is over");
                    FORGOTTEN
                }
            };
            self.note_authority(Actor::DAEMON, Activity::AuthorityChanged, code, None, now)?;
        }
        Ok(())
    }

    /// The authority, without keys.
    pub fn authority(&self, _grant: &Grant<access::ViewKeys>) -> AuthorityView {
        let issued = self.keys.issued_certificates();
        let revoked = issued.iter().filter(|info| info.revoked.is_some()).count();
        AuthorityView { issuing: self.keys.authorities(), issued: issued.len(), revoked }
    }

    /// What was issued and is not over, oldest first.
    pub fn issued_certificates(&self, _grant: &Grant<access::ViewKeys>) -> Vec<IssuedInfo> {
        self.keys.issued_certificates()
    }

    /// Makes the internal authority.
    ///
    /// # Errors
    ///
    /// [`FlowError::Keys`], [`FlowError::Catalog`].
    pub fn create_authority(
        &self,
        grant: &Grant<access::ManageCertificates>,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        self.keys.create_authority(now.as_millis())?;
        self.note_change(grant, CREATED, now)
    }

    /// Prepares the successor of the active issuing authority; tells its number.
    ///
    /// # Errors
    ///
    /// [`FlowError::Keys`], [`FlowError::Catalog`].
    pub fn prepare_authority(
        &self,
        grant: &Grant<access::ManageCertificates>,
        now: Timestamp,
    ) -> Result<u32, FlowError> {
        let number = self.keys.prepare_authority(now.as_millis())?;
        self.note_change(grant, PREPARED, now).map(|()| number)
    }

    /// Lets the prepared issuing authority sign; tells its number.
    ///
    /// # Errors
    ///
    /// [`FlowError::Keys`], [`FlowError::Catalog`].
    pub fn activate_authority(
        &self,
        grant: &Grant<access::ManageCertificates>,
        now: Timestamp,
    ) -> Result<u32, FlowError> {
        let number = self.keys.activate_authority(now.as_millis())?;
        self.note_change(grant, ACTIVATED, now).map(|()| number)
    }

    /// Replaces the root of issuing authority `number` at once, and this server's certificate if
    /// it is of the authority; tells which one is active now.
    ///
    /// # Errors
    ///
    /// [`FlowError::Keys`], [`FlowError::Catalog`].
    pub fn taint_authority(
        &self,
        grant: &Grant<access::ManageCertificates>,
        number: u32,
        now: Timestamp,
    ) -> Result<u32, FlowError> {
        let active = self.keys.taint_authority(number, now.as_millis())?;
        self.note_change(grant, TAINTED, now)?;
        if self.keys.certificate_source() == CertificateSource::InternalCa {
            let names = self.keys.certificate_names();
            self.keys.issue_own_from_authority(&names, now.as_millis())?;
            self.note_daemon(Activity::CertificateRenewed, now)?;
        }
        Ok(active)
    }

    /// What about the authority a person should mend.
    pub(super) fn authority_warnings(&self) -> Vec<Warning> {
        let issuing = self.keys.authorities();
        let tainted = issuing.iter().filter(|one| one.state == AuthorityState::Tainted);
        let warn = |one: &IssuingInfo| Warning {
            code: "authority-tainted",
            message: format!("what issuing authority {} signed is still accepted", one.number),
            hint: format!(
                "issue it anew and hand out the new bundle, then `recseal certs ca revoke {}`",
                one.number
            ),
        };
        tainted.map(warn).collect()
    }

    /// Ends the tainted root of issuing authority `number`.
    ///
    /// # Errors
    ///
    /// [`FlowError::Keys`], [`FlowError::Catalog`].
    pub fn revoke_authority(
        &self,
        grant: &Grant<access::ManageCertificates>,
        number: u32,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        self.keys.revoke_authority(number)?;
        self.note_change(grant, REVOKED, now)
    }

    /// Issues a certificate for the client `name`. `request` is a signing request whose key is
    /// used; without one a key is made here.
    ///
    /// # Errors
    ///
    /// [`FlowError::Keys`], [`FlowError::Catalog`].
    pub fn issue_client(
        &self,
        grant: &Grant<access::ManageCertificates>,
        name: &str,
        request: Option<&[u8]>,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<IssuedClient, FlowError> {
        let key = request.map_or(ClientKey::MadeHere, ClientKey::Request);
        let issued = self.keys.issue_client(name, key, lifetime, now.as_millis())?;
        let (who, serial) = (actor(grant.principal()), &issued.info.serial);
        self.note_authority(who, Activity::CertificateIssued, "", Some(serial), now)?;
        let bundle = issued.expose_bundle().clone();
        Ok(IssuedClient { info: issued.info, bundle })
    }

    /// Ends one certificate.
    ///
    /// # Errors
    ///
    /// [`FlowError::Keys`], [`FlowError::Catalog`].
    pub fn revoke_certificate(
        &self,
        grant: &Grant<access::ManageCertificates>,
        serial: &str,
        reason: RevocationReason,
        now: Timestamp,
    ) -> Result<IssuedInfo, FlowError> {
        let info = self.keys.revoke_certificate(serial, reason, now.as_millis())?;
        let (who, why) = (actor(grant.principal()), reason.as_str());
        let revoked = Activity::CertificateRevoked;
        self.note_authority(who, revoked, why, Some(&info.serial), now).map(|()| info)
    }

    fn note_change(
        &self,
        grant: &Grant<access::ManageCertificates>,
        code: &'static str,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let who = actor(grant.principal());
        self.note_authority(who, Activity::AuthorityChanged, code, None, now)
    }

    /// A serial is sixteen bytes, as an id is.
    fn note_authority(
        &self,
        who: Actor,
        activity: Activity,
        code: &'static str,
        serial: Option<&str>,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let mut entry = AuditEntry::new(now, who, activity).because(code);
        if let Some(id) = serial.and_then(|serial| Uuid::try_parse(serial).ok()) {
            entry = entry.on_object(id);
        }
        self.catalog.write(|tx| tx.append_audit(&entry))?;
        Ok(())
    }
}

const CREATED: &str = "authority-created";
const PREPARED: &str = "authority-prepared";
const ACTIVATED: &str = "authority-activated";
const TAINTED: &str = "authority-tainted";
const REVOKED: &str = "authority-revoked";
const FORGOTTEN: &str = "authority-forgotten";
