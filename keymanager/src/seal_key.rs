//! Seal keys: key pairs of which this host has the public half only. What is sealed to one can be
//! written here and opened nowhere but where the private half is.
//!
//! ```text
//! sealed data key, integers big-endian
//!   0  1  format, 1        |  1  1  algorithm: 1 x25519, 2 x-wing
//!   2  8  seal key id      | 10 16  data key id (UUID)
//!  26  n  HPKE enc: 32 bytes for x25519, 1120 for x-wing
//!  +n 48  the data key, encrypted, and the tag
//! ```
//!
//! HPKE (RFC 9180) in base mode with HKDF-SHA-256 and AES-256-GCM over DHKEM(X25519, HKDF-SHA-256)
//! or over X-Wing (KEM 0x647a: X25519 and ML-KEM-768 together, for who must hold out against a
//! quantum computer). `info` is `recseal/seal-data-key/1`; the associated data is
//! recording id ‖ data key id ‖ seal key id, so the row of one recording is worth nothing in the
//! row of another. A seal key id is the first 8 bytes of SHA-256 over the algorithm's name and
//! the public key.
//!
//! Start reading at [`SealPublicKey`], then [`SealPrivateKey`]. The file forms are told in
//! `src/manual/keys.md`; where this code and that file differ, this code is wrong.
//!
//! # Invariants
//!
//! - The store keeps public halves only. A private half exists in the file that
//!   [`SealPrivateKey::expose_export`] wrote, and in memory while that file is in use.
//! - Base mode does not say who sealed: a sealed data key is as trustworthy as the row it is in.

mod error;
mod file;
mod private;
mod public;
mod suite;
mod table;
mod text;

use std::fmt;

use aws_lc_rs::digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::data_key::DataKey;
use crate::hex;
use crate::keyring::WrappedKey;

pub use error::SealKeyError;
pub use file::SealedKeyFile;
pub use private::SealPrivateKey;
pub use public::{Announcement, SealPublicKey};
pub(crate) use table::SealKeyTable;
pub use table::{SealKeyInfo, SealKeyVersionInfo};

/// How a seal key works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealAlgorithm {
    /// DHKEM(X25519, HKDF-SHA-256): 106 bytes for each recording.
    X25519,
    /// X25519 and ML-KEM-768 together: 1194 bytes for each recording, and safe as long as one of
    /// the two is.
    XWing,
}

impl SealAlgorithm {
    /// Both.
    pub const ALL: [Self; 2] = [Self::X25519, Self::XWing];

    /// Its name in files. Never rename one: it is part of the key id.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X25519 => "x25519",
            Self::XWing => "x-wing",
        }
    }

    /// Reads [`Self::as_str`] back.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    fn code(self) -> u8 {
        match self {
            Self::X25519 => 1,
            Self::XWing => 2,
        }
    }

    fn public_bytes(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::XWing => 1_216,
        }
    }

    fn enc_bytes(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::XWing => 1_120,
        }
    }
}

/// The short name of a seal key, in files, rows and lists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SealKeyId([u8; SEAL_KEY_ID_BYTES]);

impl SealKeyId {
    /// Takes what the catalog kept; `None` if it is not 8 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The 8 bytes.
    pub fn as_bytes(&self) -> &[u8; SEAL_KEY_ID_BYTES] {
        &self.0
    }

    fn of(algorithm: SealAlgorithm, public: &[u8]) -> Self {
        let hash =
            digest::digest(&digest::SHA256, &[algorithm.as_str().as_bytes(), public].concat());
        Self(*hash.as_ref().first_chunk().expect("SHA-256 gives 32 bytes"))
    }

    fn parse(text: &str) -> Option<Self> {
        Self::from_bytes(&hex::decode(text)?)
    }
}

impl fmt::Display for SealKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for SealKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKeyId({self})")
    }
}

impl Serialize for SealKeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SealKeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("a seal key id has 16 digits"))
    }
}

/// A data key as only the holder of a private key can read it, for one recording.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedDataKey {
    /// The whole, checked to be of the right length for its algorithm.
    bytes: Vec<u8>,
    algorithm: SealAlgorithm,
}

impl SealedDataKey {
    /// Takes what the catalog or a key file kept. Only the form is checked here; opening tells
    /// the rest.
    ///
    /// # Errors
    ///
    /// [`SealKeyError::MalformedDataKey`] for an unknown format or algorithm, or a wrong length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealKeyError> {
        let malformed = SealKeyError::MalformedDataKey { actual_bytes: bytes.len() };
        let &[FORMAT, code, ..] = bytes else { return Err(malformed) };
        let algorithm = SealAlgorithm::ALL.into_iter().find(|known| known.code() == code);
        let of_length = |algorithm: &SealAlgorithm| {
            bytes.len() == HEADER_BYTES + algorithm.enc_bytes() + suite::CIPHERTEXT_BYTES
        };
        let algorithm = algorithm.filter(of_length).ok_or(malformed)?;
        Ok(Self { bytes: bytes.to_vec(), algorithm })
    }

    /// The bytes to keep: 106 or 1194.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The algorithm of the seal key.
    pub fn algorithm(&self) -> SealAlgorithm {
        self.algorithm
    }

    /// Whose private half opens it.
    pub fn seal_key(&self) -> SealKeyId {
        let id = &self.bytes[2..2 + SEAL_KEY_ID_BYTES];
        SealKeyId(id.try_into().expect("a slice of 8 bytes"))
    }

    /// Id of the data key in it.
    pub fn data_key_id(&self) -> Uuid {
        Uuid::from_slice(&self.bytes[2 + SEAL_KEY_ID_BYTES..HEADER_BYTES])
            .expect("a slice of 16 bytes")
    }

    fn seal(to: &SealPublicKey, recording: Uuid, key: &DataKey) -> Result<Self, SealKeyError> {
        let algorithm = to.algorithm();
        let mut bytes = vec![FORMAT, algorithm.code()];
        bytes.extend_from_slice(to.id().as_bytes());
        bytes.extend_from_slice(key.id().as_bytes());
        let aad = associated_data(recording, key.id(), to.id());
        let capsule = suite::seal(algorithm, to.bytes(), INFO, &aad, key.secret().expose_bytes());
        bytes.extend(capsule.ok_or(SealKeyError::WeakPublicKey)?);
        Self::from_bytes(&bytes)
    }

    fn capsule(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..]
    }
}

impl fmt::Debug for SealedDataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedDataKey")
            .field("algorithm", &self.algorithm.as_str())
            .field("seal_key", &self.seal_key())
            .field("data_key_id", &self.data_key_id())
            .finish_non_exhaustive()
    }
}

/// The two forms in which a row keeps a data key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredDataKey {
    /// This host opens it.
    Wrapped(WrappedKey),
    /// Only the holder of a private key opens it.
    Sealed(SealedDataKey),
}

impl StoredDataKey {
    /// Id of the data key in it.
    pub fn data_key_id(&self) -> Uuid {
        match self {
            Self::Wrapped(wrapped) => wrapped.data_key_id(),
            Self::Sealed(sealed) => sealed.data_key_id(),
        }
    }
}

fn associated_data(recording: Uuid, data_key: Uuid, seal_key: SealKeyId) -> Vec<u8> {
    [recording.as_bytes().as_slice(), data_key.as_bytes(), seal_key.as_bytes()].concat()
}

const FORMAT: u8 = 1;
const SEAL_KEY_ID_BYTES: usize = 8;
const HEADER_BYTES: usize = 2 + SEAL_KEY_ID_BYTES + 16;
const INFO: &[u8] = b"recseal/seal-data-key/1";

#[cfg(test)]
mod tests;
