//! A data key as the catalog keeps it.

use std::fmt;

use uuid::Uuid;

/// Version u32 big-endian, data key id 16, nonce 12, ciphertext 32, tag 16.
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedKey(Vec<u8>);

/// Not 80 bytes.
#[derive(Debug)]
pub struct MalformedWrappedKey;

impl WrappedKey {
    /// Takes what `as_bytes` gave.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MalformedWrappedKey> {
        if bytes.len() == 80 { Ok(Self(bytes.to_vec())) } else { Err(MalformedWrappedKey) }
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The version of the key-encryption key.
    pub fn version(&self) -> u32 {
        u32::from_be_bytes(self.0[..4].try_into().expect("80 bytes by construction"))
    }

    /// The id of the key inside.
    pub fn data_key_id(&self) -> Uuid {
        Uuid::from_bytes(self.0[4..20].try_into().expect("80 bytes by construction"))
    }
}

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WrappedKey(version {}, {})", self.version(), self.data_key_id())
    }
}
