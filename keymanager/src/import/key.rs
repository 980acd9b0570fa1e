//! Private keys in their several clothes; all leave as PKCS#8.

use pkcs8::EncryptedPrivateKeyInfoRef;
use zeroize::Zeroizing;

use crate::der;
use crate::gate::{Finding, GateCode, Refusal};
use crate::hex::HexBytes;

/// Takes PKCS#8 as it is, if it is at least one sequence from end to end.
pub(super) fn from_pkcs8(key: HexBytes) -> Result<HexBytes, Refusal> {
    let is_whole = der::read(key.as_bytes())
        .is_some_and(|(value, rest)| value.tag == der::SEQUENCE && rest.is_empty());
    if is_whole { Ok(key) } else { Err(malformed()) }
}

/// Dresses an RSA key (PKCS#1) as PKCS#8.
pub(super) fn from_pkcs1(rsa: &[u8]) -> Result<HexBytes, Refusal> {
    is_sequence(rsa)?;
    Ok(pkcs8(RSA, rsa))
}

/// Dresses an elliptic curve key (SEC1) as PKCS#8.
pub(super) fn from_sec1(sec1: &[u8]) -> Result<HexBytes, Refusal> {
    is_sequence(sec1)?;
    let (outer, _) = der::read(sec1).ok_or_else(malformed)?;
    let mut algorithm = EC_PUBLIC_KEY.to_vec();
    let curve =
        der::values(outer.content).find(|value| value.tag == 0xa0).ok_or_else(malformed)?.content;
    algorithm.extend_from_slice(curve);
    Ok(pkcs8(&algorithm, sec1))
}

/// Opens an encrypted PKCS#8 key.
pub(super) fn from_encrypted(
    bytes: &[u8],
    password: Option<&Zeroizing<String>>,
) -> Result<HexBytes, Refusal> {
    let (outer, _) = der::read(bytes).ok_or_else(malformed)?;
    let scheme = der::values(outer.content).next().ok_or_else(malformed)?;
    let oid = der::values(scheme.content).next().ok_or_else(malformed)?;
    if oid.content != PBES2 {
        return Err(legacy("PBES1"));
    }
    if !der::costs_are_bearable(bytes) {
        return Err(too_costly());
    }
    let info = EncryptedPrivateKeyInfoRef::try_from(bytes)
        .map_err(|_| legacy("an encryption that is not AES, 3DES or scrypt"))?;
    let password = password.ok_or_else(password_needed)?;
    let key = info.decrypt(password.as_bytes()).map_err(|_| password_wrong())?;
    from_pkcs8(HexBytes::new(key.as_bytes()))
}

/// `SEQUENCE { 0, SEQUENCE algorithm, OCTET STRING key }`, in one buffer that never grows.
fn pkcs8(algorithm: &[u8], key: &[u8]) -> HexBytes {
    let mut buffer = Zeroizing::new(Vec::with_capacity(key.len() + algorithm.len() + 32));
    let (algorithm_len, key_len) = (der::len_of(algorithm.len()), der::len_of(key.len()));
    der::header(&mut buffer, der::SEQUENCE, 3 + algorithm_len + key_len);
    buffer.extend_from_slice(&[der::INTEGER, 1, 0]);
    der::header(&mut buffer, der::SEQUENCE, algorithm.len());
    buffer.extend_from_slice(algorithm);
    der::header(&mut buffer, der::OCTET_STRING, key.len());
    buffer.extend_from_slice(key);
    HexBytes::wiped(buffer)
}

fn is_sequence(bytes: &[u8]) -> Result<(), Refusal> {
    match der::read(bytes) {
        Some((value, [])) if value.tag == der::SEQUENCE => Ok(()),
        _ => Err(malformed()),
    }
}

/// Too old to be read here, but not by everyone.
pub(super) fn legacy(what: &str) -> Refusal {
    Finding::new(
        GateCode::LegacyEncryption,
        format!("the key is encrypted by {what}, which is too old"),
        "convert it: openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD.key -out NEW.key",
    )
}

pub(super) fn too_costly() -> Refusal {
    Finding::new(
        GateCode::TooLarge,
        "the file asks for more than ten million rounds, or a gigabyte of memory, for its password",
        "write it once more with usual settings: openssl pkcs8 -topk8 -v2 aes-256-cbc",
    )
}

pub(super) fn password_needed() -> Refusal {
    Finding::new(
        GateCode::KeyEncrypted,
        "the key is encrypted and there is no password",
        "give it with --password-file FILE (- reads it from standard input)",
    )
}

pub(super) fn password_wrong() -> Refusal {
    Finding::new(
        GateCode::KeyEncrypted,
        "the password is wrong, or the file is damaged",
        "try it: openssl pkcs12 -info -in FILE, or openssl pkcs8 -in FILE",
    )
}

pub(super) fn malformed() -> Refusal {
    Finding::new(
        GateCode::Malformed,
        "the private key cannot be read",
        "check the file: openssl pkey -in FILE -noout; copy it once more if that fails too",
    )
}

/// `rsaEncryption, NULL`.
const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
/// `id-ecPublicKey`; the curve follows.
const EC_PUBLIC_KEY: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01";
/// 1.2.840.113549.1.5.13
const PBES2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d";
