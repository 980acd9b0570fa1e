//! PKCS#12, as commercial authorities, Windows and Java write it.

use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error;
use zeroize::Zeroizing;

use super::{FILE_BYTES_MAX, Found, key, too_large};
use crate::der;
use crate::gate::{Finding, GateCode, Refusal};
use crate::hex::HexBytes;

/// True for DER that begins as PKCS#12 does: a sequence whose first value is the number 3.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    let content = match bytes {
        [0x30, first @ 0..=0x7f, ..] => bytes.get(2..2 + usize::from(*first).min(3)),
        [0x30, first @ 0x80..=0x84, rest @ ..] => rest.get(usize::from(first & 7)..),
        _ => None,
    };
    content.is_some_and(|content| content.starts_with(&[der::INTEGER, 1, 3]))
}

/// All certificates and keys of an archive.
pub(super) fn read(bytes: &[u8], password: Option<&Zeroizing<String>>) -> Result<Found, Refusal> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(too_large(bytes.len()));
    }
    match der::read(bytes) {
        Some((_, [])) => {}
        Some(_) => return Err(damaged("there is something behind its end")),
        None => return Err(damaged("it is cut, or not written as DER")),
    }
    if !der::costs_are_bearable(bytes) {
        return Err(key::too_costly());
    }
    let empty = Zeroizing::new(String::new());
    let given = password.unwrap_or(&empty);
    let archive = Pkcs12Archive::from_pkcs12(bytes, given)
        .map_err(|error| refusal(&error, password.is_some()))?;
    let mut found = Found::default();
    for bag in &archive.certs {
        found.certificates.push(bag.cert.as_der().to_vec());
    }
    for bag in &archive.keys {
        found.keys.push(key::from_pkcs8(HexBytes::new(bag.key.as_der()))?);
    }
    if found.keys.is_empty() {
        let message = match found.certificates.len() {
            0 => "the PKCS#12 file is empty".to_owned(),
            count => format!("the PKCS#12 file has {count} certificate(s) and no key"),
        };
        let hint = "export it once more, with the private key";
        return Err(Finding::new(GateCode::NoKey, message, hint));
    }
    if found.certificates.is_empty() {
        return Err(Finding::new(
            GateCode::PemEmpty,
            "the PKCS#12 file has a key and no certificate",
            "export it once more, with the certificate and its chain",
        ));
    }
    Ok(found)
}

/// What the reader's error means for the person who has the file.
fn refusal(error: &Error, has_password: bool) -> Refusal {
    match error {
        Error::MacError(_)
        | Error::UnpadError
        | Error::Pkcs5Error(_)
        | Error::InvalidPrivateKey => {
            if has_password {
                key::password_wrong()
            } else {
                key::password_needed()
            }
        }
        Error::UnsupportedEncryptionScheme | Error::UnsupportedMacAlgorithm => Finding::new(
            GateCode::LegacyEncryption,
            "the PKCS#12 file is encrypted in a way that is too old (RC2-128 or RC4)",
            "convert it: openssl pkcs12 -legacy -in OLD.p12 -out all.pem, then \
             openssl pkcs12 -export -in all.pem -out NEW.p12",
        ),
        Error::IoError(_)
        | Error::DerError(_)
        | Error::InvalidVersion
        | Error::UnsupportedContentType
        | Error::UnsupportedCertificateType
        | Error::X509Error(_)
        | Error::InvalidLength
        | Error::InvalidParameters
        | Error::InvalidData => damaged("it cannot be decoded"),
    }
}

fn damaged(why: &str) -> Refusal {
    Finding::new(
        GateCode::Malformed,
        format!("the PKCS#12 file is damaged: {why}"),
        "copy it once more, in binary mode; if openssl pkcs12 -info -in FILE reads it, convert it: \
         openssl pkcs12 -in FILE -out all.pem",
    )
}
