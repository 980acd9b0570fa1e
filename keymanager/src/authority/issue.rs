//! Issuing: what a client or this server gets, with the chain up to a root.

use std::time::Duration;

use aws_lc_rs::digest;
use zeroize::Zeroizing;

use crate::certificate::check_names;
use crate::error::KeyError;
use crate::hex::{self, HexBytes};
use crate::revocation::Record;

use super::request::RequestedKey;
use super::signer::{Curve, Signer};
use super::template::{self, Validity, Written};
use super::{Authority, AuthorityError, DAY_MS, INCONSISTENT, IssuingAuthority};

/// Where the key of a client's certificate comes from.
#[derive(Clone, Copy, Debug)]
pub enum ClientKey<'a> {
    /// Made here and handed out once, with the certificate.
    MadeHere,
    /// From a signing request, PEM or DER. Only its public key is taken.
    Request(&'a [u8]),
}

/// A certificate with the authorities above it, its key where we made it, and its serial.
#[derive(Debug)]
pub(crate) struct IssuedChain {
    /// DER: its own, the issuing authority's, and the cross-certificate if there is one.
    pub(crate) chain: Vec<HexBytes>,
    /// PKCS#8.
    pub(crate) key: Option<HexBytes>,
    /// Hexadecimal.
    pub(crate) serial: String,
}

impl Authority {
    /// A certificate for the client `name`, and its line in the ledger.
    pub(crate) fn issue_client(
        &mut self,
        name: &str,
        key: ClientKey<'_>,
        lifetime: Duration,
        now_ms: i64,
    ) -> Result<IssuedChain, KeyError> {
        template::check_client_name(name)?;
        let lifetime_ms = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
        if !(CLIENT_MS_MIN..=CLIENT_MS_MAX).contains(&lifetime_ms) {
            return Err(AuthorityError::BadLifetime { min_minutes: 1, max_days: 90 }.into());
        }
        let requested = match key {
            ClientKey::MadeHere => None,
            ClientKey::Request(bytes) => Some(RequestedKey::read(bytes)?),
        };
        self.ledger.make_room(now_ms)?;
        let (issuer, signer, issuer_name) = self.signing()?;
        let by = (&*issuer_name, &signer);
        let validity = Validity::new(now_ms, lifetime_ms, issuer.not_after_ms);
        let (written, key) = match requested {
            Some(public) => (template::write_client(name, &public, validity, by)?, None),
            None => {
                let (own, key) = Signer::generate(Curve::P256);
                (template::write_client(name, &own, validity, by)?, Some(key))
            }
        };
        let issuer = issuer.number;
        Ok(self.note(name, "client", issuer, validity, now_ms, written, key))
    }

    /// A certificate for this server, for 30 days.
    pub(crate) fn issue_server(
        &mut self,
        names: &[String],
        now_ms: i64,
    ) -> Result<IssuedChain, KeyError> {
        check_names(names)?;
        self.ledger.make_room(now_ms)?;
        let (issuer, signer, issuer_name) = self.signing()?;
        let validity = Validity::new(now_ms, SERVER_MS, issuer.not_after_ms);
        let (own, key) = Signer::generate(Curve::P256);
        let written = template::write_server(names, &own, validity, (&issuer_name, &signer))?;
        let issuer = issuer.number;
        Ok(self.note("recseal", "server", issuer, validity, now_ms, written, Some(key)))
    }

    fn signing(&self) -> Result<(&IssuingAuthority, Signer, String), KeyError> {
        let issuer = self.active().ok_or(INCONSISTENT)?;
        let signer = Signer::load(Curve::P256, issuer.key.as_ref().ok_or(INCONSISTENT)?)?;
        Ok((issuer, signer, self.issuing_name(issuer.number)))
    }

    #[expect(clippy::too_many_arguments, reason = "the line of the ledger has as many members")]
    fn note(
        &mut self,
        name: &str,
        kind: &str,
        issuer: u32,
        validity: Validity,
        now_ms: i64,
        written: Written,
        key: Option<HexBytes>,
    ) -> IssuedChain {
        let sha256 = digest::digest(&digest::SHA256, written.der.as_bytes());
        let record = Record {
            name: name.to_owned(),
            kind: kind.to_owned(),
            issuer,
            sha256: hex::encode(sha256.as_ref()).to_string(),
            issued_ms: now_ms,
            not_after_ms: validity.not_after_ms,
            revoked: None,
        };
        self.ledger.add(written.serial.clone(), record);
        let mut chain = vec![written.der];
        let above = self.issuers.iter().find(|other| other.number == issuer);
        if let Some(above) = above {
            chain.push(above.certificate.clone());
            let root = self.roots.iter().find(|root| root.number == above.root);
            chain.extend(root.and_then(|root| root.cross.clone()).map(|(_, der)| der));
        }
        IssuedChain { chain, key, serial: written.serial }
    }
}

/// The key, if it is ours to give, and the chain, as PEM. Wiped when dropped.
pub(crate) fn to_pem(chain: &[HexBytes], key: Option<&HexBytes>) -> Zeroizing<String> {
    let blocks = key.into_iter().map(|key| ("PRIVATE KEY", key));
    let blocks = blocks.chain(chain.iter().map(|der| ("CERTIFICATE", der)));
    let mut text = Zeroizing::new(String::with_capacity(PEM_BYTES_USUAL));
    let format = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    for (tag, der) in blocks {
        let block = pem::Pem::new(tag, der.as_bytes());
        let encoded = Zeroizing::new(pem::encode_config(&block, format));
        let _wiped = Zeroizing::new(block.into_contents());
        text.push_str(&encoded);
    }
    text
}

const CLIENT_MS_MIN: i64 = 60_000;
const CLIENT_MS_MAX: i64 = 90 * DAY_MS;
const SERVER_MS: i64 = 30 * DAY_MS;
/// More than any bundle of ours has, so that no half of a key is left behind by growing.
const PEM_BYTES_USUAL: usize = 16 << 10;
