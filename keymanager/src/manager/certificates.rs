//! The certificates' part of the key manager: import, requests, adoption, rollback.
//!
//! Every change is a new generation of the store, then a whole new server configuration. What
//! fails leaves the old certificate served and stored.

use std::sync::Arc;

use uuid::Uuid;

use super::{CertificateChange, KeyManager, Writer};
use crate::certificate::{self, CertificateFacts};
use crate::error::KeyError;
use crate::gate::{self, GateCode, GatePolicy, Notice, Report};
use crate::import::Candidate;
use crate::request::{CertificateRequest, RequestInfo, RequestPurpose};
use crate::store::Contents;
use crate::stored_tls::{CertificateSource, PendingRequest, REQUESTS_MAX, StoredCertificate};
use crate::tls;

/// What was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// Names it for a rollback.
    pub id: Uuid,
    /// What it says about itself.
    pub facts: CertificateFacts,
    /// What a person should know.
    pub notices: Vec<Notice>,
    /// When it will be served, in milliseconds since 1970; `None`: it is served now.
    pub staged_until_ms: Option<i64>,
}

/// Where a stored certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateStanding {
    /// It is served.
    Live,
    /// It waits until it is valid.
    Staged,
    /// It was served before.
    Previous,
}

impl CertificateStanding {
    /// The word for JSON and lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Staged => "staged",
            Self::Previous => "previous",
        }
    }
}

/// One stored certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// Names it for a rollback.
    pub id: Uuid,
    /// Where it stands.
    pub standing: CertificateStanding,
    /// Where it came from.
    pub source: CertificateSource,
    /// What it says about itself.
    pub facts: CertificateFacts,
    /// When it was stored, in milliseconds since 1970.
    pub stored_ms: i64,
    /// The chain as PEM. Public.
    pub chain_pem: String,
}

impl KeyManager {
    /// Lets `candidate` in through the gate: serves it now, or stages it until it is valid.
    ///
    /// # Errors
    ///
    /// [`KeyError::Refused`] with the report, [`KeyError::NothingNew`], [`KeyError::Disk`]; the
    /// old certificate goes on being served then.
    pub fn adopt(
        &self,
        candidate: &Candidate,
        source: CertificateSource,
        policy: &GatePolicy,
        now_ms: i64,
    ) -> Result<Adopted, KeyError> {
        let mut writer = self.writer();
        let contents = Contents::clone(&self.contents.load());
        self.admit(&mut writer, contents, candidate, source, policy, now_ms)
    }

    /// Asks the gate without storing anything.
    pub fn check_certificate(
        &self,
        candidate: &Candidate,
        policy: &GatePolicy,
        now_ms: i64,
    ) -> Report {
        gate::check(candidate, policy, Some(&self.tls.facts()), now_ms)
    }

    /// Asks the gate about the certificate that is served now.
    pub fn check_live_certificate(&self, policy: &GatePolicy, now_ms: i64) -> Report {
        let contents = self.contents.load();
        let live = &contents.tls.live;
        let candidate = Candidate {
            chain: live.chain.clone(),
            key: Some(live.key.clone()),
            roots: Vec::new(),
            notices: Vec::new(),
        };
        gate::check(&candidate, policy, None, now_ms)
    }

    /// Makes a key and a request for `names`; the key is stored, the request is to be carried to
    /// an authority. See [`RequestPurpose`] for when one is made anew.
    ///
    /// # Errors
    ///
    /// [`KeyError::BadNames`], [`KeyError::TooManyRequests`], [`KeyError::Disk`].
    pub fn request_certificate(
        &self,
        names: &[String],
        purpose: RequestPurpose,
        now_ms: i64,
    ) -> Result<CertificateRequest, KeyError> {
        let mut writer = self.writer();
        let mut contents = Contents::clone(&self.contents.load());
        let pending = &mut contents.tls.request;
        if purpose == RequestPurpose::Acme {
            let own = |one: &PendingRequest| one.purpose == RequestPurpose::Acme;
            if let Some(same) = pending.iter().find(|one| own(one) && one.names == names) {
                return Ok(CertificateRequest::from(same));
            }
            pending.retain(|one| !own(one));
        }
        if pending.len() >= REQUESTS_MAX {
            return Err(KeyError::TooManyRequests { max: REQUESTS_MAX });
        }
        let made = certificate::request(names)?;
        let request = PendingRequest {
            id: Uuid::now_v7(),
            purpose,
            names: names.to_vec(),
            request: made.request,
            key: made.key,
            made_ms: now_ms,
        };
        let answer = CertificateRequest::from(&request);
        pending.push(request);
        self.keep(&mut writer, contents)?;
        Ok(answer)
    }

    /// Takes an authority's answer to request `id`. The request is gone afterwards; a refused
    /// answer leaves it.
    ///
    /// # Errors
    ///
    /// [`KeyError::UnknownRequest`] and those of [`KeyManager::adopt`].
    pub fn complete_request(
        &self,
        id: Uuid,
        chain_pem: &[u8],
        policy: &GatePolicy,
        now_ms: i64,
    ) -> Result<Adopted, KeyError> {
        let mut writer = self.writer();
        let mut contents = Contents::clone(&self.contents.load());
        let pending = &mut contents.tls.request;
        let place = pending.iter().position(|one| one.id == id);
        let request = pending.remove(place.ok_or(KeyError::UnknownRequest { id })?);
        let source = match request.purpose {
            RequestPurpose::Manual => CertificateSource::Imported,
            RequestPurpose::Acme => CertificateSource::Acme,
        };
        let candidate = Candidate::with_key(chain_pem, request.key).map_err(refused)?;
        self.admit(&mut writer, contents, &candidate, source, policy, now_ms)
    }

    /// Forgets request `id` and its key: an answer that still comes is of no use then.
    ///
    /// # Errors
    ///
    /// [`KeyError::UnknownRequest`], [`KeyError::Disk`].
    pub fn cancel_request(&self, id: Uuid) -> Result<(), KeyError> {
        let mut writer = self.writer();
        let mut contents = Contents::clone(&self.contents.load());
        let before = contents.tls.request.len();
        contents.tls.request.retain(|one| one.id != id);
        if contents.tls.request.len() == before {
            return Err(KeyError::UnknownRequest { id });
        }
        self.keep(&mut writer, contents)
    }

    /// The requests that wait for an answer, oldest first.
    pub fn requests(&self) -> Vec<RequestInfo> {
        self.contents.load().tls.request.iter().map(RequestInfo::from).collect()
    }

    /// The stored certificates: the live one, the staged one, then the previous ones, newest first.
    pub fn certificates(&self) -> Vec<CertificateInfo> {
        use CertificateStanding::{Live, Previous, Staged};
        let contents = self.contents.load();
        let tls = &contents.tls;
        let info = |(standing, stored): (CertificateStanding, &StoredCertificate)| {
            // Each was parsed before it was stored.
            let facts = CertificateFacts::parse(stored.chain.first()?.as_bytes()).ok()?;
            Some(CertificateInfo {
                id: stored.id,
                standing,
                source: stored.source,
                facts,
                stored_ms: stored.stored_ms,
                chain_pem: tls::to_pem(&stored.chain),
            })
        };
        let staged = tls.staged.iter().map(|one| (Staged, one));
        let previous = tls.previous.iter().map(|one| (Previous, one));
        [(Live, &tls.live)].into_iter().chain(staged).chain(previous).filter_map(info).collect()
    }

    /// Where the certificate that is served came from.
    pub fn certificate_source(&self) -> CertificateSource {
        self.contents.load().tls.live.source
    }

    /// The names that a self-signed certificate is issued for.
    pub fn certificate_names(&self) -> Vec<String> {
        self.contents.load().tls.names.clone()
    }

    /// Serves a previous certificate again, the newest one unless `id` says which; the live one
    /// becomes the newest previous one, so a second rollback undoes the first. A staged one is
    /// dropped.
    ///
    /// # Errors
    ///
    /// [`KeyError::UnknownCertificate`], [`KeyError::Refused`] if it is over,
    /// [`KeyError::Disk`]; the old certificate goes on being served then.
    pub fn rollback_certificate(&self, id: Option<Uuid>, now_ms: i64) -> Result<Adopted, KeyError> {
        let mut writer = self.writer();
        let mut contents = Contents::clone(&self.contents.load());
        let previous = &mut contents.tls.previous;
        let place = match id {
            None => (!previous.is_empty()).then_some(0),
            Some(id) => previous.iter().position(|one| one.id == id),
        };
        let mut back = previous.remove(place.ok_or(KeyError::UnknownCertificate { id })?);
        let facts = back.certified()?.facts().clone();
        if facts.not_after_ms <= now_ms {
            let hint = "import a newer one, or choose another with `recseal certs list`";
            let message = "that certificate is over";
            return Err(refused(gate::Finding::new(GateCode::Expired, message, hint)));
        }
        back.stored_ms = now_ms;
        let adopted = Adopted { id: back.id, facts, notices: Vec::new(), staged_until_ms: None };
        contents.tls.staged = None;
        contents.tls.advance(back);
        self.install(&mut writer, contents)?;
        Ok(adopted)
    }

    /// Serves the staged certificate if its time has come.
    pub(super) fn activate_staged(
        &self,
        writer: &mut Writer,
        now_ms: i64,
    ) -> Result<Option<CertificateChange>, KeyError> {
        let contents = self.contents.load();
        let Some(staged) = &contents.tls.staged else { return Ok(None) };
        let facts = staged.certified()?.facts().clone();
        if now_ms < facts.not_before_ms.saturating_add(gate::STAGED_MS) {
            return Ok(None);
        }
        let (id, source) = (staged.id, staged.source);
        let mut contents = Contents::clone(&contents);
        if facts.not_after_ms <= now_ms {
            // The program was not running while it was valid: the live one can only be better.
            contents.tls.staged = None;
            self.keep(writer, contents)?;
            return Ok(None);
        }
        if let Some(staged) = contents.tls.staged.take() {
            contents.tls.advance(staged);
        }
        self.install(writer, contents)?;
        Ok(Some(CertificateChange::Activated { id, source, not_after_ms: facts.not_after_ms }))
    }

    /// Stores and publishes contents whose live certificate is new.
    pub(super) fn install(&self, writer: &mut Writer, contents: Contents) -> Result<(), KeyError> {
        let certified = contents.tls.live.certified()?;
        let published = self.tls.prepare(|serving| serving.certified = certified)?;
        self.keep(writer, contents)?;
        self.tls.publish(published);
        Ok(())
    }

    /// Stores contents that change nothing for the listeners.
    fn keep(&self, writer: &mut Writer, contents: Contents) -> Result<(), KeyError> {
        writer.store.commit(&contents)?;
        self.contents.store(Arc::new(contents));
        Ok(())
    }

    fn admit(
        &self,
        writer: &mut Writer,
        mut contents: Contents,
        candidate: &Candidate,
        source: CertificateSource,
        policy: &GatePolicy,
        now_ms: i64,
    ) -> Result<Adopted, KeyError> {
        let mut report = gate::check(candidate, policy, Some(&self.tls.facts()), now_ms);
        let (Some(facts), Some(key), true) =
            (report.facts.clone(), candidate.key.clone(), report.passed())
        else {
            return Err(KeyError::Refused { report: Box::new(report) });
        };
        let tls = &mut contents.tls;
        let known = [Some(&tls.live), tls.staged.as_ref()];
        if known.into_iter().flatten().any(|one| one.serves_the_same(&candidate.chain)) {
            return Err(KeyError::NothingNew);
        }
        let next = StoredCertificate {
            id: Uuid::now_v7(),
            source,
            chain: candidate.chain.clone(),
            key,
            stored_ms: now_ms,
        };
        let id = next.id;
        if tls.staged.take().is_some() {
            report.note(
                GateCode::StagedDropped,
                "another certificate was waiting for its day; this one takes its place",
                "import the other one again if it was the right one",
            );
        }
        match report.staged_until_ms {
            Some(_) => {
                tls.staged = Some(next);
                self.keep(writer, contents)?;
            }
            None => {
                tls.advance(next);
                self.install(writer, contents)?;
            }
        }
        let Report { notices, staged_until_ms, .. } = report;
        Ok(Adopted { id, facts, notices, staged_until_ms })
    }
}

fn refused(refusal: gate::Refusal) -> KeyError {
    KeyError::Refused { report: Box::new(Report::from(refusal)) }
}

#[cfg(test)]
mod tests;
