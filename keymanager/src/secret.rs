//! The only holder of raw key bytes.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use aws_lc_rs::hkdf;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use crate::hex::HexBytes;

/// 256 bits of key material: boxed so that moves leave no copies, zeroed on drop, not `Clone`.
pub(crate) struct Secret(Box<Zeroizing<[u8; SECRET_BYTES]>>);

impl Secret {
    /// Fresh from the operating system's generator, by way of the TLS provider's.
    pub(crate) fn generate() -> Self {
        let mut secret = Self(Box::new(Zeroizing::new([0; SECRET_BYTES])));
        aws_lc_rs::rand::fill(&mut **secret.0).expect("the random generator of this machine works");
        secret
    }

    /// Takes bytes that were unwrapped or read.
    pub(crate) fn from_bytes(bytes: &[u8; SECRET_BYTES]) -> Self {
        let mut secret = Self(Box::new(Zeroizing::new([0; SECRET_BYTES])));
        secret.0.copy_from_slice(bytes);
        secret
    }

    /// HKDF-SHA-256 (RFC 5869) of this secret: `info` is the concatenation of `label`.
    pub(crate) fn derive(&self, label: &[&[u8]]) -> Self {
        let mut derived = Self(Box::new(Zeroizing::new([0; SECRET_BYTES])));
        hkdf::Salt::new(hkdf::HKDF_SHA256, &[])
            .extract(self.expose_bytes())
            .expand(label, Length)
            .and_then(|okm| okm.fill(&mut **derived.0))
            .expect("32 bytes are far below the HKDF limit");
        derived
    }

    /// The bytes, for the cipher call that needs them.
    pub(crate) fn expose_bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A secret that belongs in the store, and only therefore can be written. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct StoredSecret(Arc<Secret>);

impl StoredSecret {
    /// A fresh one.
    pub(crate) fn generate() -> Self {
        Self(Arc::new(Secret::generate()))
    }
}

impl From<Secret> for StoredSecret {
    fn from(secret: Secret) -> Self {
        Self(Arc::new(secret))
    }
}

impl Deref for StoredSecret {
    type Target = Secret;

    fn deref(&self) -> &Secret {
        &self.0
    }
}

impl Serialize for StoredSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        HexBytes::new(self.expose_bytes()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for StoredSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = HexBytes::deserialize(deserializer)?;
        let bytes: &[u8; SECRET_BYTES] = bytes
            .as_bytes()
            .try_into()
            .map_err(|_| de::Error::custom("a stored secret has 32 bytes"))?;
        Ok(Self(Arc::new(Secret::from_bytes(bytes))))
    }
}

struct Length;

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        SECRET_BYTES
    }
}

/// AES-256, and every key of the hierarchy.
pub(crate) const SECRET_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_and_labels_separate() {
        let secret = Secret::generate();
        // Planted fault: `derive(Debug)`.
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        let (a, b) = (secret.derive(&[b"a"]), secret.derive(&[b"b"]));
        assert_ne!(a.expose_bytes(), b.expose_bytes());
        assert_eq!(a.expose_bytes(), secret.derive(&[b"a"]).expose_bytes());
    }
}
