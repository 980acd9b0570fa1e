//! Key pairs for backups: the public key lies on the host, the private one in a safe.
//!
//! ```text
//! recseal backup public key, version 1      recseal backup private key, version 1
//! key 64 hexadecimal digits                 key 64 hexadecimal digits
//! check 16 hexadecimal digits               check 16 hexadecimal digits
//! ```
//!
//! HPKE (RFC 9180), DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, base mode. The check is
//! the first 8 bytes of the SHA-256 of the two lines above it.

use std::fmt;

use aws_lc_rs::digest;
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

use super::BackupError;
use crate::hex;
use crate::secret::{SECRET_BYTES, Secret};

/// The public key that backups are made for. It opens nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct BackupPublicKey([u8; PUBLIC_BYTES]);

/// What opens them. It belongs into a safe, not onto the host whose backups it opens.
pub struct BackupPrivateKey(Secret);

impl BackupPrivateKey {
    /// A fresh key pair.
    pub fn generate() -> (Self, BackupPublicKey) {
        let (private, public) = X25519HkdfSha256::gen_keypair();
        let private = Zeroizing::new(private.to_bytes());
        let bytes: &[u8; SECRET_BYTES] =
            private.as_slice().try_into().expect("an X25519 key has 32 bytes");
        let public = public.to_bytes().as_slice().try_into().expect("an X25519 key has 32 bytes");
        (Self(Secret::from_bytes(bytes)), BackupPublicKey(public))
    }

    /// The text of the private key's file: it opens every backup made for its public key.
    pub fn expose_text(&self) -> Zeroizing<String> {
        text_of(PRIVATE, self.0.expose_bytes())
    }

    /// Reads the text of a private key's file.
    ///
    /// # Errors
    ///
    /// [`BackupError::KeyText`], which never repeats it.
    pub fn parse(text: &str) -> Result<Self, BackupError> {
        Ok(Self(Secret::from_bytes(&*parse_text(PRIVATE, text)?)))
    }

    /// Its public half.
    pub fn public(&self) -> BackupPublicKey {
        let public = X25519HkdfSha256::sk_to_pk(&self.hpke());
        BackupPublicKey(
            public.to_bytes().as_slice().try_into().expect("an X25519 key has 32 bytes"),
        )
    }

    /// Opens what [`BackupPublicKey::wrap`] made.
    pub(super) fn unwrap(&self, wrapped: &[u8], aad: &[u8]) -> Option<Secret> {
        let (encapsulated, sealed) = wrapped.split_at_checked(PUBLIC_BYTES)?;
        let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated).ok()?;
        let opened = hpke::single_shot_open::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &self.hpke(),
            &encapsulated,
            INFO,
            sealed,
            aad,
        );
        let opened = Zeroizing::new(opened.ok()?);
        Some(Secret::from_bytes(opened.as_slice().try_into().ok()?))
    }

    fn hpke(&self) -> <X25519HkdfSha256 as Kem>::PrivateKey {
        <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(self.0.expose_bytes())
            .expect("any 32 bytes are an X25519 private key")
    }
}

impl fmt::Debug for BackupPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackupPrivateKey(..)")
    }
}

impl BackupPublicKey {
    /// The text of the public key's file.
    pub fn to_text(&self) -> String {
        text_of(PUBLIC, &self.0).to_string()
    }

    /// Reads the text of a public key's file. One that is no point of the curve's large subgroup
    /// is refused: what is wrapped for it would be readable by everybody.
    ///
    /// # Errors
    ///
    /// [`BackupError::KeyText`].
    pub fn parse(text: &str) -> Result<Self, BackupError> {
        let key = Self(*parse_text(PUBLIC, text)?);
        let trial = Secret::generate();
        key.wrap(&trial, b"trial").map(|_| key).ok_or(BackupError::KeyText { what: PUBLIC })
    }

    /// Names it where both halves should be compared: the first 8 bytes of its SHA-256.
    pub fn id(&self) -> [u8; KEY_ID_BYTES] {
        let digest = digest::digest(&digest::SHA256, &self.0);
        *digest.as_ref().first_chunk().expect("32 bytes have 8")
    }

    /// Wraps `key` for the holder of the private key: 32 bytes encapsulated, 48 sealed.
    pub(super) fn wrap(&self, key: &Secret, aad: &[u8]) -> Option<Vec<u8>> {
        let public = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&self.0).ok()?;
        let (encapsulated, sealed) = hpke::single_shot_seal::<
            AesGcm256,
            HkdfSha256,
            X25519HkdfSha256,
        >(
            &OpModeS::Base, &public, INFO, key.expose_bytes(), aad
        )
        .ok()?;
        Some([encapsulated.to_bytes().as_slice(), &sealed].concat())
    }
}

impl fmt::Debug for BackupPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackupPublicKey({})", *hex::encode(&self.id()))
    }
}

fn text_of(what: &str, key: &[u8; 32]) -> Zeroizing<String> {
    // Reserved at once: a string that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(TEXT_BYTES_MAX));
    text.push_str("recseal ");
    text.push_str(what);
    text.push_str(", version 1\nkey ");
    text.push_str(&hex::encode(key));
    text.push('\n');
    let check = digest::digest(&digest::SHA256, text.as_bytes());
    text.push_str("check ");
    text.push_str(&hex::encode(&check.as_ref()[..CHECK_BYTES]));
    text.push('\n');
    text
}

/// Line ends, upper case and space around a line do not matter.
fn parse_text(what: &'static str, text: &str) -> Result<Zeroizing<[u8; 32]>, BackupError> {
    let refused = || BackupError::KeyText { what };
    if text.len() > TEXT_BYTES_MAX {
        return Err(refused());
    }
    let mut lines = text.trim().lines().map(str::trim);
    let title = lines.next().and_then(|line| line.strip_prefix("recseal "));
    if title.and_then(|title| title.strip_suffix(", version 1")) != Some(what) {
        return Err(refused());
    }
    let digits = lines.next().and_then(|line| line.strip_prefix("key ")).ok_or_else(refused)?;
    let lower = Zeroizing::new(digits.to_ascii_lowercase());
    let bytes = hex::decode(&lower).ok_or_else(refused)?;
    let mut key = Zeroizing::new([0; 32]);
    if bytes.len() != key.len() {
        return Err(refused());
    }
    key.copy_from_slice(&bytes);
    let expected = text_of(what, &key);
    let check = expected.trim_end().rsplit('\n').next().unwrap_or_default();
    match lines.next().is_some_and(|line| line.eq_ignore_ascii_case(check)) {
        true if lines.next().is_none() => Ok(key),
        _ => Err(refused()),
    }
}

/// How long the wrapped backup key is.
pub(super) const WRAPPED_BYTES: usize = PUBLIC_BYTES + SECRET_BYTES + 16;
/// How long the name of a public key is.
pub(super) const KEY_ID_BYTES: usize = 8;
const PUBLIC_BYTES: usize = 32;
const CHECK_BYTES: usize = 8;
const INFO: &[u8] = b"recseal/backup/1";
const PUBLIC: &str = "backup public key";
const PRIVATE: &str = "backup private key";
/// More than twice what is written, for line ends and indentation of mail programs.
const TEXT_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_pair_reads_back_and_belongs_together() {
        let (private, public) = BackupPrivateKey::generate();
        assert_eq!(private.public(), public);
        let read = BackupPrivateKey::parse(&private.expose_text().replace('\n', "\r\n")).unwrap();
        assert_eq!(read.public(), public);
        assert_eq!(BackupPublicKey::parse(&public.to_text().to_uppercase()).ok(), None);
        assert_eq!(BackupPublicKey::parse(&public.to_text()).unwrap(), public);
        assert_eq!(format!("{private:?}"), "BackupPrivateKey(..)");
        let wrapped = public.wrap(&Secret::generate(), b"a").unwrap();
        assert_eq!(wrapped.len(), WRAPPED_BYTES);
        assert!(private.unwrap(&wrapped, b"a").is_some());
        assert!(private.unwrap(&wrapped, b"b").is_none());
        assert!(BackupPrivateKey::generate().0.unwrap(&wrapped, b"a").is_none());
    }

    /// Meant to catch: an import that skips the check takes a typing error for another key.
    #[test]
    fn every_changed_character_is_refused() {
        let (private, public) = BackupPrivateKey::generate();
        let text = public.to_text();
        for (at, was) in text.char_indices().filter(|(_, c)| c.is_ascii_hexdigit()) {
            let mut text = text.clone();
            text.replace_range(at..=at, if was == '7' { "8" } else { "7" });
            assert!(BackupPublicKey::parse(&text).is_err(), "character {at}");
        }
        assert!(
            BackupPublicKey::parse(&private.expose_text()).is_err(),
            "a private key for public"
        );
        assert!(BackupPrivateKey::parse(&text).is_err(), "a public key for private");
        // A point of small order: every private key makes the same secret of it.
        let worthless = text_of(PUBLIC, &[0; 32]);
        assert!(BackupPublicKey::parse(&worthless).is_err());
    }
}
