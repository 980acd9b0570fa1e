//! What was issued and what of it is revoked: the ledger, and the lists made from it.
//!
//! The ledger forgets a certificate when it is over, so it is as long as the number of valid
//! ones; [`CERTIFICATES_MAX`] bounds that. A revocation list is valid for a week and written anew
//! each day, and whenever something is revoked: a daemon that was off for days still has one.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use rcgen::{
    CertificateRevocationListParams, Issuer, KeyIdMethod, RevokedCertParams, SerialNumber,
    SigningKey,
};
use serde::{Deserialize, Serialize};

use crate::authority::AuthorityError;
use crate::error::KeyError;
use crate::hex::{self, HexBytes};

/// Why a certificate is not accepted any more. The names are stored and shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevocationReason {
    /// Nobody said.
    #[default]
    Unspecified,
    /// Somebody else may know the key.
    KeyCompromise,
    /// Another certificate replaces it.
    Superseded,
    /// The client is gone.
    CessationOfOperation,
    /// The client may not do this any more.
    PrivilegeWithdrawn,
}

impl RevocationReason {
    /// Every reason there is.
    pub const ALL: [Self; 5] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];

    /// The name that people see and type.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key-compromise",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation-of-operation",
            Self::PrivilegeWithdrawn => "privilege-withdrawn",
        }
    }

    fn code(self) -> Option<rcgen::RevocationReason> {
        match self {
            // RFC 5280 wants no code rather than this one.
            Self::Unspecified => None,
            Self::KeyCompromise => Some(rcgen::RevocationReason::KeyCompromise),
            Self::Superseded => Some(rcgen::RevocationReason::Superseded),
            Self::CessationOfOperation => Some(rcgen::RevocationReason::CessationOfOperation),
            Self::PrivilegeWithdrawn => Some(rcgen::RevocationReason::PrivilegeWithdrawn),
        }
    }
}

impl FromStr for RevocationReason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or(UnknownReason)
    }
}

/// No reason has that name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no such reason; there are unspecified, key-compromise, superseded, cessation-of-operation \
     and privilege-withdrawn"
)]
pub struct UnknownReason;

/// One certificate that we issued and that is not over, as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedInfo {
    /// Its serial, 32 hexadecimal digits.
    pub serial: String,
    /// For whom.
    pub name: String,
    /// `client` or `server`.
    pub kind: String,
    /// The number of the issuing authority.
    pub issuer: u32,
    /// SHA-256 of its DER, hexadecimal.
    pub sha256: String,
    /// When it was issued, in milliseconds since 1970.
    pub issued_ms: i64,
    /// Valid until.
    pub not_after_ms: i64,
    /// When and why it was revoked, if it was.
    pub revoked: Option<(i64, RevocationReason)>,
}

/// Every certificate that we issued and that is not over, by serial.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ledger(BTreeMap<String, Record>);

/// One line of the ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) issuer: u32,
    pub(crate) sha256: String,
    pub(crate) issued_ms: i64,
    pub(crate) not_after_ms: i64,
    pub(crate) revoked: Option<(i64, RevocationReason)>,
}

/// A revocation list, signed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Crl {
    pub(crate) der: HexBytes,
    number: u64,
    from_ms: i64,
    pub(crate) until_ms: i64,
}

impl Crl {
    /// True until it is a day old, and if it does not come from the future.
    pub(crate) fn is_fresh(&self, now_ms: i64) -> bool {
        let age_ms = now_ms.saturating_sub(self.from_ms);
        (-CRL_EARLY_MS..CRL_RENEW_MS).contains(&age_ms)
    }
}

impl Ledger {
    /// Notes a certificate. [`make_room`](Self::make_room) comes before.
    pub(crate) fn add(&mut self, serial: String, record: Record) {
        self.0.insert(serial, record);
    }

    /// Fails if the ledger is full even without what is over.
    pub(crate) fn make_room(&mut self, now_ms: i64) -> Result<(), AuthorityError> {
        if self.0.len() >= CERTIFICATES_MAX {
            self.prune(now_ms);
        }
        if self.0.len() < CERTIFICATES_MAX {
            return Ok(());
        }
        Err(AuthorityError::LedgerFull { max: CERTIFICATES_MAX })
    }

    /// Forgets what has been over for a day: a revoked one is on one more list. True if anything
    /// went.
    pub(crate) fn prune(&mut self, now_ms: i64) -> bool {
        let before = self.0.len();
        self.0.retain(|_, record| now_ms < record.not_after_ms.saturating_add(KEPT_MS));
        self.0.len() < before
    }

    pub(crate) fn revoke(
        &mut self,
        serial: &str,
        reason: RevocationReason,
        now_ms: i64,
    ) -> Result<(), AuthorityError> {
        let record = self.0.get_mut(serial).ok_or(AuthorityError::UnknownSerial)?;
        if record.revoked.is_some() {
            return Err(AuthorityError::AlreadyRevoked);
        }
        record.revoked = Some((now_ms, reason));
        Ok(())
    }

    pub(crate) fn get(&self, serial: &str) -> Option<&Record> {
        self.0.get(serial)
    }

    /// By the time of issue, oldest first.
    pub(crate) fn infos(&self) -> Vec<IssuedInfo> {
        let mut infos: Vec<_> =
            self.0.iter().map(|(serial, record)| info(serial, record)).collect();
        infos.sort_by(|a, b| (a.issued_ms, &a.serial).cmp(&(b.issued_ms, &b.serial)));
        infos
    }

    pub(crate) fn info(&self, serial: &str) -> Option<IssuedInfo> {
        self.0.get_key_value(serial).map(|(serial, record)| info(serial, record))
    }

    /// The list of authority `number`, signed by it. Numbers rise from list to list.
    pub(crate) fn crl(
        &self,
        number: u32,
        by: &Issuer<'_, impl SigningKey>,
        before: Option<&Crl>,
        now_ms: i64,
    ) -> Result<Crl, KeyError> {
        let date = |ms: i64| {
            let since_1970 = Duration::from_secs(u64::try_from(ms / 1_000).unwrap_or(0));
            rcgen::date_time_ymd(1970, 1, 1) + since_1970
        };
        let now_ms = now_ms.clamp(0, NOW_MS_MAX);
        let mut revoked_certs = Vec::new();
        for (serial, record) in self.0.iter().filter(|(_, record)| record.issuer == number) {
            let Some((revoked_ms, reason)) = record.revoked else { continue };
            let serial = hex::decode(serial).ok_or(BAD_SERIAL)?;
            revoked_certs.push(RevokedCertParams {
                serial_number: SerialNumber::from_slice(&serial),
                revocation_time: date(revoked_ms),
                reason_code: reason.code(),
                invalidity_date: None,
            });
        }
        let crl_number = before.map_or(1, |crl| crl.number + 1);
        let (from_ms, until_ms) = (now_ms - CRL_EARLY_MS, now_ms + CRL_MS);
        let list = CertificateRevocationListParams {
            this_update: date(from_ms),
            next_update: date(until_ms),
            crl_number: SerialNumber::from(crl_number),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let signed = list.signed_by(by).map_err(|source| KeyError::Issue { source })?;
        let der = HexBytes::new(signed.der().as_ref());
        Ok(Crl { der, number: crl_number, from_ms: now_ms, until_ms })
    }
}

fn info(serial: &str, record: &Record) -> IssuedInfo {
    IssuedInfo {
        serial: serial.to_owned(),
        name: record.name.clone(),
        kind: record.kind.clone(),
        issuer: record.issuer,
        sha256: record.sha256.clone(),
        issued_ms: record.issued_ms,
        not_after_ms: record.not_after_ms,
        revoked: record.revoked,
    }
}

const BAD_SERIAL: KeyError = KeyError::Inconsistent { rule: "serials are hexadecimal" };
/// Some 2 MB of the store.
const CERTIFICATES_MAX: usize = 10_000;
const KEPT_MS: i64 = 86_400_000;
const CRL_MS: i64 = 7 * 86_400_000;
const CRL_RENEW_MS: i64 = 86_400_000;
/// A list begins an hour ago, as certificates do, for readers whose clock is late.
const CRL_EARLY_MS: i64 = 3_600_000;
const NOW_MS_MAX: i64 = 221_845_392_000_000;
