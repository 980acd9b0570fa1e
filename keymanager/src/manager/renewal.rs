//! What the renewal engine asks of the keys: its memory, its account, its proofs.
//!
//! *If the power goes here, which good copy is left?* Every change is a new generation of the
//! store, so the old or the new memory. Lost with the old one are at most one failure (the next
//! try comes sooner) or one order (a new one is begun).

use std::sync::Arc;

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::{CertificateChange, KeyManager};
use crate::acme::{AcmeAccount, AcmeOrder, CertificateId, Challenge};
use crate::certificate;
use crate::error::KeyError;
use crate::hex::HexBytes;
use crate::renewal::{
    ACCOUNTS_MAX, AriPick, Attempts, FailureClass, Policy, RenewalState, Subject,
};
use crate::store::Contents;
use crate::stored_tls::StoredCertificate;

impl KeyManager {
    /// Issues a self-signed certificate for `names`, stores it, then serves it, whatever served
    /// before.
    ///
    /// # Errors
    ///
    /// [`KeyError::BadNames`], [`KeyError::Disk`]; the old certificate goes on being served.
    pub fn renew_self_signed(&self, names: &[String], now_ms: i64) -> Result<(), KeyError> {
        let issued = certificate::issue_self_signed(names, now_ms)?;
        let mut writer = self.writer();
        let mut contents = Contents::clone(&self.contents.load());
        contents.tls.names = names.to_vec();
        contents.tls.advance(StoredCertificate::self_signed(issued, now_ms));
        self.install(&mut writer, contents)
    }

    /// Serves a certificate that waited for its day, if that has come.
    ///
    /// # Errors
    ///
    /// [`KeyError::Disk`]; the old certificate goes on being served.
    pub fn activate_staged_certificate(
        &self,
        now_ms: i64,
    ) -> Result<Option<CertificateChange>, KeyError> {
        self.activate_staged(&mut self.writer(), now_ms)
    }

    /// The tries since the last success.
    pub fn renewal_attempts(&self) -> Attempts {
        self.contents.load().renewal.attempts.clone()
    }

    /// When the authority wants the certificate renewed, if it said so.
    pub fn renewal_suggestion(&self) -> Option<AriPick> {
        self.contents.load().renewal.suggestion.clone()
    }

    /// Notes that a renewal failed.
    ///
    /// # Errors
    ///
    /// [`KeyError::Disk`]; then nothing was noted.
    pub fn note_renewal_failure(
        &self,
        code: &str,
        class: FailureClass,
        retry_after_ms: Option<i64>,
        names: &[String],
        now_ms: i64,
    ) -> Result<Attempts, KeyError> {
        self.change_renewal(|state| {
            let chance = random();
            state.attempts.note_failure(now_ms, code, class, retry_after_ms, names, chance);
        })?;
        Ok(self.renewal_attempts())
    }

    /// Notes that a renewal succeeded: nothing is left of failures and of the order.
    ///
    /// # Errors
    ///
    /// [`KeyError::Disk`]; then nothing was noted.
    pub fn note_renewal_success(&self, now_ms: i64) -> Result<(), KeyError> {
        self.change_renewal(|state| {
            state.attempts.note_success(now_ms);
            (state.suggestion, state.order) = (None, None);
        })
    }

    /// Forgets failures, because a person wants another try now.
    ///
    /// # Errors
    ///
    /// [`KeyError::Disk`]; then nothing was forgotten.
    pub fn reset_renewal_attempts(&self) -> Result<(), KeyError> {
        if self.contents.load().renewal.attempts.failures == 0 {
            return Ok(());
        }
        self.change_renewal(|state| state.attempts.reset())
    }

    /// Takes the window that the authority suggests. A moment in it is picked once; the same
    /// window told again changes nothing. False if the window cannot be meant, which forgets an
    /// earlier one.
    ///
    /// # Errors
    ///
    /// [`KeyError::Disk`]; then nothing was taken.
    pub fn take_renewal_suggestion(
        &self,
        subject: &Subject<'_>,
        policy: &Policy,
        (start_ms, end_ms): (i64, i64),
    ) -> Result<bool, KeyError> {
        let old = self.renewal_suggestion();
        let is_known = old.as_ref().is_some_and(|pick| {
            pick.sha256 == subject.sha256 && (pick.start_ms, pick.end_ms) == (start_ms, end_ms)
        });
        if is_known {
            return Ok(true);
        }
        let new = AriPick::choose(subject, start_ms, end_ms, policy, random());
        let is_taken = new.is_some();
        if old != new {
            self.change_renewal(|state| state.suggestion = new)?;
        }
        Ok(is_taken)
    }

    /// The latest moment that was ever believed; 0 if none was.
    pub fn clock_high_ms(&self) -> i64 {
        self.contents.load().renewal.clock_high_ms
    }

    /// Remembers `now_ms` as a moment that was believed. Written only every six hours: to be
    /// checked against after a restart, that is close enough.
    ///
    /// # Errors
    ///
    /// [`KeyError::Disk`]; then the earlier moment stays.
    pub fn note_time(&self, now_ms: i64) -> Result<(), KeyError> {
        if now_ms < self.clock_high_ms().saturating_add(HIGH_WATER_EVERY_MS) {
            return Ok(());
        }
        self.change_renewal(|state| state.clock_high_ms = now_ms)
    }

    /// Believes `now_ms` although a later moment was believed before, because time showed that to
    /// be wrong.
    ///
    /// # Errors
    ///
    /// [`KeyError::Disk`]; then the earlier moment stays.
    pub fn accept_time(&self, now_ms: i64) -> Result<(), KeyError> {
        self.change_renewal(|state| state.clock_high_ms = now_ms)
    }

    /// The account at `directory` as [`store_acme_account`](Self::store_acme_account) took it,
    /// its private key included.
    pub fn expose_acme_account(&self, directory: &str) -> Option<Zeroizing<Vec<u8>>> {
        let contents = self.contents.load();
        let account =
            contents.renewal.accounts.iter().find(|account| account.directory == directory)?;
        Some(Zeroizing::new(account.credentials.as_bytes().to_vec()))
    }

    /// Keeps the account at `directory` instead of an earlier one there.
    ///
    /// # Errors
    ///
    /// [`KeyError::Disk`]; then the earlier one stays.
    pub fn store_acme_account(&self, directory: &str, account: &[u8]) -> Result<(), KeyError> {
        self.change_renewal(|state| {
            state.accounts.retain(|account| account.directory != directory);
            let surplus = (state.accounts.len() + 1).saturating_sub(ACCOUNTS_MAX);
            state.accounts.drain(..surplus);
            let credentials = HexBytes::new(account);
            state.accounts.push(AcmeAccount { directory: directory.to_owned(), credentials });
        })
    }

    /// The order that runs, if one does.
    pub fn acme_order(&self) -> Option<AcmeOrder> {
        self.contents.load().renewal.order.clone()
    }

    /// Remembers the order that runs, or that none does.
    ///
    /// # Errors
    ///
    /// [`KeyError::Disk`]; then the earlier one stays.
    pub fn store_acme_order(&self, order: Option<AcmeOrder>) -> Result<(), KeyError> {
        if self.contents.load().renewal.order == order {
            return Ok(());
        }
        self.change_renewal(|state| state.order = order)
    }

    /// Serves these proofs (a name and the SHA-256 of its key authorization) to an authority that
    /// asks for them over TLS; none ends it. Not stored: an order that is cut off begins anew.
    ///
    /// # Errors
    ///
    /// [`KeyError::BadNames`], [`KeyError::Issue`], [`KeyError::Tls`]; then what was served goes on.
    pub fn answer_challenges(&self, proofs: &[(String, [u8; 32])]) -> Result<(), KeyError> {
        let challenges = proofs.iter().map(|(name, digest)| Challenge::new(name, digest));
        let challenges = challenges.collect::<Result<Vec<_>, _>>()?;
        let _writer = self.writer();
        let published = self.tls.prepare(|serving| serving.challenges = challenges)?;
        self.tls.publish(published);
        Ok(())
    }

    /// How its authority names the certificate that is served; `None` if it does not say.
    pub fn certificate_id(&self) -> Option<CertificateId> {
        CertificateId::parse(&self.tls.certificate_der())
    }

    fn change_renewal(&self, change: impl FnOnce(&mut RenewalState)) -> Result<(), KeyError> {
        let mut writer = self.writer();
        let mut contents = Contents::clone(&self.contents.load());
        change(&mut contents.renewal);
        writer.store.commit(&contents)?;
        self.contents.store(Arc::new(contents));
        Ok(())
    }
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).expect("the random generator of this machine works");
    u64::from_be_bytes(bytes)
}

const HIGH_WATER_EVERY_MS: i64 = 6 * 3_600_000;

#[cfg(test)]
mod tests;
