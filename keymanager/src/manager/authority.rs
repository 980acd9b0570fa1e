//! The internal authority's verbs, and who may show a client certificate.
//!
//! As every change of the store: the new contents and what would be served are made first, then
//! stored as a new generation, then published. A crash in between leaves the old or the new one.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;
use zeroize::Zeroizing;

use super::KeyManager;
use crate::authority::{
    self, Authority, AuthorityChange, AuthorityError, ClientKey, IssuedChain, IssuingInfo,
};
use crate::certificate::CertificateFacts;
use crate::clients::{self, ClientCertificate, ClientPolicy, ClientRefusal};
use crate::error::KeyError;
use crate::revocation::{IssuedInfo, RevocationReason};
use crate::store::Contents;
use crate::stored_tls::{CertificateSource, StoredCertificate};

/// A certificate just issued. Its key, if it was made here, is handed out this one time.
pub struct IssuedClient {
    /// What the ledger says about it.
    pub info: IssuedInfo,
    bundle: Zeroizing<String>,
}

impl IssuedClient {
    /// The private key, if it was made here, and the chain up to a root, as PEM.
    pub fn expose_bundle(&self) -> &Zeroizing<String> {
        &self.bundle
    }
}

impl std::fmt::Debug for IssuedClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedClient").field("info", &self.info).finish_non_exhaustive()
    }
}

impl KeyManager {
    /// Makes the internal authority: a root for ten years, an issuing authority for two.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::Exists`], [`KeyError::Disk`].
    pub fn create_authority(&self, now_ms: i64) -> Result<(), KeyError> {
        self.change_authority(|contents| {
            if contents.authority.is_some() {
                return Err(AuthorityError::Exists.into());
            }
            contents.authority = Some(Authority::create(now_ms)?);
            Ok(())
        })
    }

    /// The issuing authorities, oldest first; empty if there is no authority.
    pub fn authorities(&self) -> Vec<IssuingInfo> {
        self.contents.load().authority.as_ref().map(Authority::infos).unwrap_or_default()
    }

    /// Makes the successor of the active issuing authority and puts it into the bundle.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::AlreadyPrepared`], [`AuthorityError::None`], [`KeyError::Disk`].
    pub fn prepare_authority(&self, now_ms: i64) -> Result<u32, KeyError> {
        self.with_authority(|authority| authority.prepare(now_ms))
    }

    /// Lets the prepared issuing authority sign.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::NonePrepared`], [`AuthorityError::None`], [`KeyError::Disk`].
    pub fn activate_authority(&self, now_ms: i64) -> Result<u32, KeyError> {
        self.with_authority(|authority| authority.activate(now_ms))
    }

    /// Somebody else may know the keys of `number`: a new root and issuing authority take over,
    /// and what the old ones signed should be replaced. Tells which one is active now.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::WrongState`], [`AuthorityError::Unknown`], [`KeyError::Disk`].
    pub fn taint_authority(&self, number: u32, now_ms: i64) -> Result<u32, KeyError> {
        self.with_authority(|authority| authority.taint(number, now_ms))
    }

    /// Ends a tainted authority and everything below its root.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::WrongState`], [`AuthorityError::Unknown`], [`KeyError::Disk`].
    pub fn revoke_authority(&self, number: u32) -> Result<(), KeyError> {
        self.with_authority(|authority| authority.revoke(number))
    }

    /// Prepares and activates what is due, forgets what is over, writes revocation lists anew.
    /// Call it at start and every few minutes; nothing due costs nothing.
    ///
    /// # Errors
    ///
    /// [`KeyError::Disk`]; the old state goes on.
    pub fn tend_authority(&self, now_ms: i64) -> Result<Vec<AuthorityChange>, KeyError> {
        let mut writer = self.writer();
        let mut contents = Contents::clone(&self.contents.load());
        let Some(authority) = &mut contents.authority else { return Ok(Vec::new()) };
        let (changes, is_other) = authority.tend(now_ms)?;
        if is_other || !changes.is_empty() {
            self.put(&mut writer, contents)?;
        }
        Ok(changes)
    }

    /// The roots that clients should trust, newest first, as PEM. Public.
    pub fn authority_bundle_pem(&self) -> Option<String> {
        let contents = self.contents.load();
        let roots = contents.authority.as_ref()?.bundle();
        Some(to_public_pem("CERTIFICATE", roots.into_iter()))
    }

    /// The revocation lists of the accepted issuing authorities, newest first, as PEM. Public.
    pub fn authority_crl_pem(&self) -> Option<String> {
        let contents = self.contents.load();
        let lists = contents.authority.as_ref()?.accepted().map(|(_, list)| list);
        Some(to_public_pem("X509 CRL", lists))
    }

    /// Issues a certificate for the client `name`, for `lifetime` but not longer than the
    /// authority lives. What is in it is decided here: nothing of a request but its key is used.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] for a bad name, lifetime or request, or a full ledger;
    /// [`KeyError::Disk`], and nothing was handed out.
    pub fn issue_client(
        &self,
        name: &str,
        key: ClientKey<'_>,
        lifetime: Duration,
        now_ms: i64,
    ) -> Result<IssuedClient, KeyError> {
        let mut writer = self.writer();
        let mut contents = Contents::clone(&self.contents.load());
        let authority = contents.authority.as_mut().ok_or(AuthorityError::None)?;
        let issued = authority.issue_client(name, key, lifetime, now_ms)?;
        let info = authority.ledger.info(&issued.serial);
        writer.store.commit(&contents)?;
        self.contents.store(Arc::new(contents));
        Ok(IssuedClient {
            info: info.expect("it was noted just now"),
            bundle: authority::to_pem(&issued.chain, issued.key.as_ref()),
        })
    }

    /// Issues this server's own certificate from the authority, for 30 days, and serves it.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::None`], [`KeyError::BadNames`], [`KeyError::Disk`]; the old certificate
    /// goes on being served.
    pub fn issue_own_from_authority(
        &self,
        names: &[String],
        now_ms: i64,
    ) -> Result<CertificateFacts, KeyError> {
        let mut writer = self.writer();
        let mut contents = Contents::clone(&self.contents.load());
        let authority = contents.authority.as_mut().ok_or(AuthorityError::None)?;
        let IssuedChain { chain, key, .. } = authority.issue_server(names, now_ms)?;
        let key = key.expect("a server's key is always made here");
        contents.tls.names = names.to_vec();
        contents.tls.staged = None;
        contents.tls.advance(StoredCertificate {
            id: Uuid::now_v7(),
            source: CertificateSource::InternalCa,
            chain,
            key,
            stored_ms: now_ms,
        });
        self.install(&mut writer, contents)?;
        Ok(self.tls.facts())
    }

    /// What was issued and is not over, oldest first.
    pub fn issued_certificates(&self) -> Vec<IssuedInfo> {
        let contents = self.contents.load();
        contents.authority.as_ref().map(|authority| authority.ledger.infos()).unwrap_or_default()
    }

    /// Ends one certificate: from the next handshake and request on it is refused. `serial` is
    /// hexadecimal, in any case, with or without colons.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::UnknownSerial`], [`AuthorityError::AlreadyRevoked`], [`KeyError::Disk`].
    pub fn revoke_certificate(
        &self,
        serial: &str,
        reason: RevocationReason,
        now_ms: i64,
    ) -> Result<IssuedInfo, KeyError> {
        let serial: String =
            serial.chars().filter(|c| *c != ':').map(|c| c.to_ascii_lowercase()).collect();
        self.with_authority(|authority| {
            authority.revoke_certificate(&serial, reason, now_ms)?;
            Ok(authority.ledger.info(&serial).ok_or(AuthorityError::UnknownSerial)?)
        })
    }

    /// Sets who may show a client certificate, until this is dropped. It is not stored.
    ///
    /// # Errors
    ///
    /// [`KeyError::OtherAuthorities`]; what was set before holds on.
    pub fn accept_clients(&self, policy: ClientPolicy) -> Result<(), KeyError> {
        let _writer = self.writer();
        let clients = clients::verifier(&policy, self.contents.load().authority.as_ref())?;
        let published = self.tls.prepare(|serving| serving.clients = clients)?;
        self.clients.store(Arc::new(policy));
        self.tls.publish(published);
        Ok(())
    }

    /// The names that a client is known by, from a certificate that passed a handshake. Looks at
    /// dates, revocation and authorities as they are now, so ask it for every request.
    ///
    /// # Errors
    ///
    /// [`ClientRefusal`].
    pub fn client_names(
        &self,
        certificate: &ClientCertificate,
        now_ms: i64,
    ) -> Result<Vec<String>, ClientRefusal> {
        let has_other_authorities = !self.clients.load().other_authorities.is_empty();
        let contents = self.contents.load();
        certificate.names(contents.authority.as_ref(), has_other_authorities, now_ms)
    }

    fn with_authority<T>(
        &self,
        change: impl FnOnce(&mut Authority) -> Result<T, KeyError>,
    ) -> Result<T, KeyError> {
        self.change_authority(|contents| {
            change(contents.authority.as_mut().ok_or(AuthorityError::None)?)
        })
    }

    fn change_authority<T>(
        &self,
        change: impl FnOnce(&mut Contents) -> Result<T, KeyError>,
    ) -> Result<T, KeyError> {
        let mut writer = self.writer();
        let mut contents = Contents::clone(&self.contents.load());
        let said = change(&mut contents)?;
        self.put(&mut writer, contents)?;
        Ok(said)
    }

    /// Stores `contents` and publishes whom they accept.
    fn put(&self, writer: &mut super::Writer, contents: Contents) -> Result<(), KeyError> {
        let clients = clients::verifier(&self.clients.load(), contents.authority.as_ref())?;
        let published = self.tls.prepare(|serving| serving.clients = clients)?;
        writer.store.commit(&contents)?;
        self.contents.store(Arc::new(contents));
        self.tls.publish(published);
        Ok(())
    }
}

fn to_public_pem<'a>(tag: &str, ders: impl Iterator<Item = &'a [u8]>) -> String {
    let blocks: Vec<_> = ders.map(|der| pem::Pem::new(tag, der)).collect();
    let format = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_many_config(&blocks, format)
}

#[cfg(test)]
mod tests;
