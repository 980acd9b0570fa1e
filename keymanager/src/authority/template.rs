//! What goes into the certificates of the authority. Everything is decided here.
//!
//! Validity, serial and key identifiers are always set: the writer's defaults are two millennia,
//! a serial that follows from the key, and no authority key identifier. No path length on any
//! authority: verifiers disagree about whose it is.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls::pki_types::ServerName;

use crate::certificate::random_serial;
use crate::error::KeyError;
use crate::hex::{self, HexBytes};

use super::AuthorityError;
use super::signer::Signer;

/// From when to when, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before_ms: i64,
    pub(super) not_after_ms: i64,
}

impl Validity {
    /// From an hour before `now_ms`, so that a clock that is late accepts it too, to `span_ms`
    /// after it, but not past `limit_ms`. Whole seconds, as certificates know them.
    pub(super) fn new(now_ms: i64, span_ms: i64, limit_ms: i64) -> Self {
        let now_ms = now_ms.clamp(NOW_MS_MIN, NOW_MS_MAX);
        let whole = |ms: i64| ms - ms.rem_euclid(1_000);
        Self {
            not_before_ms: whole(now_ms - BACKDATED_MS),
            not_after_ms: whole(now_ms.saturating_add(span_ms).min(limit_ms)),
        }
    }
}

/// A certificate just written.
pub(super) struct Written {
    pub(super) der: HexBytes,
    /// Hexadecimal, 32 digits.
    pub(super) serial: String,
}

/// A root, or the cross-certificate of one: the same name and key, certified by `by`.
pub(super) fn write_authority(
    name: &str,
    key: &impl PublicKeyData,
    validity: Validity,
    by: (&str, &Signer),
) -> Result<Written, KeyError> {
    let mut params = base(name, validity);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    write(params, key, by)
}

/// A certificate that a component shows to prove who it is.
pub(super) fn write_client(
    name: &str,
    key: &impl PublicKeyData,
    validity: Validity,
    by: (&str, &Signer),
) -> Result<Written, KeyError> {
    let mut params = base(name, validity);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let text = |text: String| text.try_into().map_err(|source| KeyError::Issue { source });
    params.subject_alt_names.push(SanType::URI(text(format!("{CLIENT_URI}{name}"))?));
    if matches!(ServerName::try_from(name), Ok(ServerName::DnsName(_))) {
        params.subject_alt_names.push(SanType::DnsName(text(name.to_owned())?));
    }
    write(params, key, by)
}

/// The certificate that this daemon serves.
pub(super) fn write_server(
    names: &[String],
    key: &impl PublicKeyData,
    validity: Validity,
    by: (&str, &Signer),
) -> Result<Written, KeyError> {
    let mut params = base("recseal", validity);
    let named = CertificateParams::new(names).map_err(|source| KeyError::Issue { source })?;
    params.subject_alt_names = named.subject_alt_names;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    write(params, key, by)
}

/// The issuer of this name, for one signature.
pub(super) fn issuer<'k>(name: &str, signer: &'k Signer) -> Issuer<'static, &'k Signer> {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished(name);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Issuer::new(params, signer)
}

/// A client's name: it becomes part of a URI and is shown to people.
pub(super) fn check_client_name(name: &str) -> Result<(), AuthorityError> {
    let is_sound = |c: u8| c.is_ascii_alphanumeric() || b"-._".contains(&c);
    if !(1..=CLIENT_NAME_MAX).contains(&name.len()) || !name.bytes().all(is_sound) {
        return Err(AuthorityError::BadClientName { max: CLIENT_NAME_MAX });
    }
    Ok(())
}

fn base(name: &str, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    let since_1970 = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_1970(validity.not_before_ms);
    params.not_after = epoch + since_1970(validity.not_after_ms);
    params.distinguished_name = distinguished(name);
    params.use_authority_key_identifier_extension = true;
    params
}

fn distinguished(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn write(
    mut params: CertificateParams,
    key: &impl PublicKeyData,
    (by, signer): (&str, &Signer),
) -> Result<Written, KeyError> {
    let serial = random_serial();
    let text = hex::encode(serial.as_ref()).to_string();
    params.serial_number = Some(serial);
    let certificate =
        params.signed_by(key, &issuer(by, signer)).map_err(|source| KeyError::Issue { source })?;
    Ok(Written { der: HexBytes::new(certificate.der().as_ref()), serial: text })
}

/// What the URI in a client's certificate begins with.
pub(crate) const CLIENT_URI: &str = "recseal:client/";
const CLIENT_NAME_MAX: usize = 64;
const BACKDATED_MS: i64 = 3_600_000;
/// The year 2000 and the year 9000, as for self-signed certificates.
const NOW_MS_MIN: i64 = 946_684_800_000;
const NOW_MS_MAX: i64 = 221_845_392_000_000;
