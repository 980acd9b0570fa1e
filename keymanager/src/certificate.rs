//! Certificates: the self-signed one that every store starts with, and what a certificate says.

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose, PublicKeyData,
    SerialNumber, SignatureAlgorithm, SigningKey,
};
use rustls::pki_types::ServerName;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::error::KeyError;
use crate::hex::{self, HexBytes};

/// What a certificate says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Valid from, in milliseconds since 1970.
    pub not_before_ms: i64,
    /// Valid until, in milliseconds since 1970.
    pub not_after_ms: i64,
    /// Host names and addresses, as text.
    pub names: Vec<String>,
    /// SHA-256 of the DER, as `openssl x509 -fingerprint -sha256` prints it, without colons.
    pub sha256: String,
    /// Who signed it, as `CN=…, O=…`.
    pub issuer: String,
    /// Its serial number, in hexadecimal.
    pub serial: String,
}

/// Why a certificate is issued anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewalReason {
    /// The last third of its lifetime has begun.
    LastThird,
    /// It is over.
    Expired,
    /// It begins in the future: the clock was wrong then, or is now.
    NotYetValid,
}

impl CertificateFacts {
    /// Reads a certificate.
    pub(crate) fn parse(der: &[u8]) -> Result<Self, KeyError> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| KeyError::CertificateDamaged)?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| KeyError::CertificateDamaged)?
            .map(|extension| extension.value.general_names.iter().filter_map(name).collect())
            .unwrap_or_default();
        if !rest.is_empty() {
            return Err(KeyError::CertificateDamaged);
        }
        let validity = certificate.validity();
        Ok(Self {
            not_before_ms: validity.not_before.timestamp().saturating_mul(1_000),
            not_after_ms: validity.not_after.timestamp().saturating_mul(1_000),
            names,
            sha256: hex::encode(digest::digest(&digest::SHA256, der).as_ref()).to_string(),
            issuer: certificate.issuer().to_string(),
            serial: hex::encode(certificate.raw_serial()).to_string(),
        })
    }

    /// Why it should be issued anew at `now_ms`; `None` while it is good. From the last third of
    /// the lifetime on: failures still leave months to act.
    pub fn renewal_due(&self, now_ms: i64) -> Option<RenewalReason> {
        let lifetime_ms = self.not_after_ms.saturating_sub(self.not_before_ms);
        let remaining_ms = self.not_after_ms.saturating_sub(now_ms);
        if now_ms < self.not_before_ms {
            Some(RenewalReason::NotYetValid)
        } else if remaining_ms <= 0 {
            Some(RenewalReason::Expired)
        } else if remaining_ms <= lifetime_ms / 3 {
            Some(RenewalReason::LastThird)
        } else {
            None
        }
    }
}

/// True for what [`issue_self_signed`] makes, as far as its own word goes.
pub(crate) fn is_self_signed_by_us(facts: &CertificateFacts) -> bool {
    facts.issuer.strip_prefix("CN=") == Some(SELF_SIGNED)
}

/// A certificate with its private key, both as DER (the key as PKCS#8).
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) certificate: HexBytes,
    pub(crate) key: HexBytes,
}

/// Makes a key (P-256) and a self-signed certificate for `names`, valid for 365 days from an hour
/// ago. About 0.1 ms.
pub(crate) fn issue_self_signed(names: &[String], now_ms: i64) -> Result<Issued, KeyError> {
    check_names(names)?;
    let issue = |source| KeyError::Issue { source };
    let pair = Signer::generate();
    let mut params = CertificateParams::new(names).map_err(issue)?;
    let now_s = u64::try_from(now_ms.clamp(NOW_MS_MIN, NOW_MS_MAX) / 1_000).unwrap_or(0);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + std::time::Duration::from_secs(now_s - BACKDATED_S);
    params.not_after = params.not_before + std::time::Duration::from_secs(LIFETIME_S);
    // The default serial follows from the key and the default dates span two millennia.
    params.serial_number = Some(random_serial());
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, SELF_SIGNED);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&pair).map_err(issue)?;
    Ok(Issued { certificate: HexBytes::new(certificate.der().as_ref()), key: pair.pkcs8() })
}

/// A certificate signing request, with the key it is for.
#[derive(Debug)]
pub(crate) struct Requested {
    /// PKCS#10, DER.
    pub(crate) request: HexBytes,
    /// PKCS#8.
    pub(crate) key: HexBytes,
}

/// Makes a key (P-256) and a request for `names`. About 0.1 ms.
pub(crate) fn request(names: &[String]) -> Result<Requested, KeyError> {
    check_names(names)?;
    let issue = |source| KeyError::Issue { source };
    let pair = Signer::generate();
    let mut params = CertificateParams::new(names).map_err(issue)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    // Several commercial CAs want a common name; X.509 has room for 64 characters.
    if let Some(name) = names.iter().find(|name| name.len() <= COMMON_NAME_MAX) {
        params.distinguished_name.push(DnType::CommonName, name.as_str());
    }
    let request = params.serialize_request(&pair).map_err(issue)?;
    Ok(Requested { request: HexBytes::new(request.der().as_ref()), key: pair.pkcs8() })
}

pub(crate) fn check_names(names: &[String]) -> Result<(), KeyError> {
    let valid = |name: &String| ServerName::try_from(name.as_str()).is_ok();
    if !(1..=NAMES_MAX).contains(&names.len()) || !names.iter().all(valid) {
        return Err(KeyError::BadNames { max: NAMES_MAX });
    }
    Ok(())
}

/// Sixteen random bytes, positive and not zero as RFC 5280 asks.
pub(crate) fn random_serial() -> SerialNumber {
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).expect("the random generator of this machine works");
    serial[0] = serial[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&serial)
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match **bytes {
            [a, b, c, d] => Some(std::net::Ipv4Addr::new(a, b, c, d).to_string()),
            _ => Some(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string()),
        },
        // Other kinds do not name a server.
        _ => None,
    }
}

/// Lends the key to rcgen, which would keep a copy of its own otherwise.
struct Signer(EcdsaKeyPair);

impl Signer {
    fn generate() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING);
        Self(pair.expect("the random generator of this machine works"))
    }

    fn pkcs8(&self) -> HexBytes {
        let key = self.0.to_pkcs8v1().expect("a key just made can be written");
        HexBytes::new(key.as_ref())
    }
}

impl PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.0.sign(&SystemRandom::new(), message);
        Ok(signature.map_err(|_| rcgen::Error::RemoteKeyError)?.as_ref().to_vec())
    }
}

/// The subject and issuer of what this module makes.
const SELF_SIGNED: &str = "recseal self-signed";
const BACKDATED_S: u64 = 3_600;
/// Scanners hold certificates of servers against 366 days at most.
const LIFETIME_S: u64 = 365 * 86_400;
/// The year 2000 and the year 9000: X.509 can write the dates around both.
const NOW_MS_MIN: i64 = 946_684_800_000;
const NOW_MS_MAX: i64 = 221_845_392_000_000;
const NAMES_MAX: usize = 100;
const COMMON_NAME_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 86_400_000;

    #[test]
    fn renewal_falls_due_in_the_last_third() {
        use RenewalReason::{Expired, LastThird, NotYetValid};
        let facts = CertificateFacts {
            not_before_ms: 0,
            not_after_ms: 90 * DAY_MS,
            ..CertificateFacts::default()
        };
        for (day, due) in [
            (-1, Some(NotYetValid)),
            (0, None),
            (59, None),
            (60, Some(LastThird)),
            (89, Some(LastThird)),
            (90, Some(Expired)),
            (400, Some(Expired)),
        ] {
            assert_eq!(facts.renewal_due(day * DAY_MS), due, "day {day}");
        }
        let forever = CertificateFacts { not_before_ms: i64::MIN, not_after_ms: i64::MAX, ..facts };
        for now_ms in [i64::MIN, 0, i64::MAX] {
            let _ = forever.renewal_due(now_ms);
        }
    }

    #[test]
    fn a_certificate_says_what_it_was_issued_for() {
        let names = ["localhost", "rec.example", "127.0.0.1", "::1"].map(str::to_owned);
        let now_ms = 1_795_000_000_000;
        let issued = issue_self_signed(&names, now_ms).unwrap();
        let facts = CertificateFacts::parse(issued.certificate.as_bytes()).unwrap();
        assert_eq!(facts.names, names);
        assert_eq!(facts.not_before_ms, now_ms - 3_600_000);
        assert_eq!(facts.not_after_ms, facts.not_before_ms + 365 * DAY_MS);
        assert_eq!(facts.renewal_due(now_ms), None, "due at once: renewal would never end");
        let again = issue_self_signed(&names, now_ms).unwrap();
        assert_ne!(again.certificate.as_bytes(), issued.certificate.as_bytes());
    }

    #[test]
    fn bad_names_and_dates_are_no_surprise() {
        let too_many = vec!["a.example".to_owned(); NAMES_MAX + 1];
        for bad in [vec![], too_many, vec![String::new()], vec!["a b".to_owned()], vec!["ä".into()]]
        {
            assert!(matches!(issue_self_signed(&bad, 0), Err(KeyError::BadNames { .. })));
        }
        for now_ms in [i64::MIN, -1, 0, i64::MAX] {
            let issued = issue_self_signed(&["a.example".to_owned()], now_ms).unwrap();
            CertificateFacts::parse(issued.certificate.as_bytes()).unwrap();
        }
        for bad in [&b""[..], b"junk", &[0x30; 64]] {
            assert!(CertificateFacts::parse(bad).is_err());
        }
    }
}
