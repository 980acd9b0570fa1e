//! The first start without a daemon: a complete state folder, with the certificate that is wanted.

use keymanager::gate::{self, Notice};
use keymanager::{
    Candidate, CertificateRequest, CertificateSource, GatePolicy, KeyError, KeyManager,
    RequestPurpose,
};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::catalog::Catalog;
use crate::clock::{Clock, Timestamp};
use crate::compliance::audit::{Activity, Actor, AuditEntry};
use crate::config::Config;

use super::{AppError, open_catalog, open_keys};

/// What [`prepare`] found or made.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// False if the state folder was complete already.
    pub created: bool,
    /// SHA-256 of the certificate, hex.
    pub certificate_sha256: String,
    /// The request that was asked for.
    pub request: Option<CertificateRequest>,
    /// What the gate remarked about the certificate that was brought.
    pub notices: Vec<Notice>,
}

/// What the certificate of a first start is to be.
#[derive(Debug)]
pub enum FirstCertificate {
    /// Self-signed.
    SelfSigned,
    /// Brought by a person.
    Brought(Box<Candidate>, GatePolicy),
    /// Self-signed, until an authority has answered the request that is made.
    Requested,
}

/// Makes the state folder complete without starting anything: keys, certificate, catalog, vault.
/// A store without a recovery slot gets one for the passphrase `recovery`.
///
/// # Errors
///
/// [`AppError`]; what was made so far stays and is used by the next call. A certificate that the
/// gate refuses is refused before anything is made.
pub fn prepare(
    config: &Config,
    clock: &Clock,
    first: &FirstCertificate,
    recovery: Option<&Zeroizing<String>>,
) -> Result<Prepared, AppError> {
    let now = clock.now();
    if let FirstCertificate::Brought(candidate, policy) = first {
        let report = gate::check(candidate, policy, None, now.as_millis());
        if !report.passed() {
            return Err(KeyError::Refused { report: Box::new(report) }.into());
        }
    }
    let (keys, created) = open_keys(config, clock)?;
    let lacks_recovery = !keys.slots().iter().any(|slot| slot.is_recovery);
    if let Some(passphrase) = recovery.filter(|_| lacks_recovery) {
        keys.add_passphrase_slot(passphrase, now.as_millis())?;
    }
    let catalog = open_catalog(config)?;
    let mut made =
        Prepared { created, certificate_sha256: String::new(), request: None, notices: Vec::new() };
    match first {
        FirstCertificate::SelfSigned => {}
        FirstCertificate::Brought(candidate, policy) => {
            made.notices = adopt(&keys, &catalog, candidate, policy, now)?;
        }
        FirstCertificate::Requested => {
            let names = GatePolicy::for_server(&config.names).wanted_names;
            let purpose = RequestPurpose::Manual;
            let request = keys.request_certificate(&names, purpose, now.as_millis())?;
            note(&catalog, Activity::CertificateRequested, request.id, now)?;
            made.request = Some(request);
        }
    }
    made.certificate_sha256 = keys.tls().facts().sha256;
    Ok(made)
}

fn adopt(
    keys: &KeyManager,
    catalog: &Catalog,
    candidate: &Candidate,
    policy: &GatePolicy,
    now: Timestamp,
) -> Result<Vec<Notice>, AppError> {
    match keys.adopt(candidate, CertificateSource::Imported, policy, now.as_millis()) {
        Ok(adopted) => {
            note(catalog, Activity::CertificateImported, adopted.id, now)?;
            Ok(adopted.notices)
        }
        // Called again with the same file: that is what was wanted.
        Err(KeyError::NothingNew) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn note(catalog: &Catalog, what: Activity, id: Uuid, now: Timestamp) -> Result<(), AppError> {
    let entry = AuditEntry::new(now, Actor::DAEMON, what).on_object(id);
    catalog.write(|tx| tx.append_audit(&entry))?;
    Ok(())
}
