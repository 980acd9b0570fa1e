//! Public halves, and the text they travel as.
//!
//! ```text
//! recseal seal key, public, version 1
//! algorithm x25519                 or x-wing
//! key-id 16 digits                 the first 8 bytes of SHA-256 over algorithm ‖ public key
//! public 64 digits                 2432 for x-wing
//! announced-by 16 digits           these two lines together or not at all:
//! signature 128 digits             a signing key of a key store, over the four lines above
//! ```
//!
//! The key id finds a typing mistake. Against somebody who exchanges the file only the
//! announcement helps, or reading the key id to each other.

use std::fmt;

use uuid::Uuid;

use super::text::{Lines, VERSION};
use super::{SealAlgorithm, SealKeyError, SealKeyId, SealedDataKey};
use crate::data_key::DataKey;
use crate::hex;
use crate::signing::{PublicKey, Signature, verify_signature};

/// The public half of a seal key. Not secret, but whoever exchanges it can read what is sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct SealPublicKey {
    algorithm: SealAlgorithm,
    id: SealKeyId,
    bytes: Vec<u8>,
}

impl SealPublicKey {
    /// Takes the raw bytes; seals to it once, so that a key of low order is found here.
    ///
    /// # Errors
    ///
    /// [`SealKeyError::WeakPublicKey`].
    pub fn from_bytes(algorithm: SealAlgorithm, bytes: &[u8]) -> Result<Self, SealKeyError> {
        if bytes.len() != algorithm.public_bytes() {
            return Err(SealKeyError::WeakPublicKey);
        }
        let id = SealKeyId::of(algorithm, bytes);
        let key = Self { algorithm, id, bytes: bytes.to_vec() };
        SealedDataKey::seal(&key, Uuid::nil(), &DataKey::generate())?;
        Ok(key)
    }

    /// How it works.
    pub fn algorithm(&self) -> SealAlgorithm {
        self.algorithm
    }

    /// Its short name.
    pub fn id(&self) -> SealKeyId {
        self.id
    }

    /// Seals `data_key` for `recording` to the holder of the private half.
    pub(crate) fn seal(
        &self,
        recording: Uuid,
        data_key: &DataKey,
    ) -> Result<SealedDataKey, SealKeyError> {
        SealedDataKey::seal(self, recording, data_key)
    }

    /// The text of a public key file, without an announcement.
    pub fn to_text(&self) -> String {
        let Self { algorithm, id, bytes } = self;
        let (algorithm, digits) = (algorithm.as_str(), hex::encode(bytes));
        format!("{TITLE}{VERSION}\nalgorithm {algorithm}\nkey-id {id}\npublic {}\n", *digits)
    }

    /// Reads a public key file, and who announces it if the file says so. The announcement is
    /// not checked here: see [`Self::check_announcement`].
    ///
    /// # Errors
    ///
    /// [`SealKeyError`], which never repeats the text.
    pub fn from_text(text: &str) -> Result<(Self, Option<Announcement>), SealKeyError> {
        let mut lines = Lines::open(text, WANTED, TITLE, TEXT_BYTES_MAX)?;
        let algorithm = SealAlgorithm::from_name(lines.value("algorithm")?);
        let algorithm = algorithm.ok_or_else(|| lines.malformed())?;
        let id = SealKeyId::parse(lines.value("key-id")?).ok_or_else(|| lines.malformed())?;
        let bytes = lines.bytes("public")?;
        if bytes.len() != algorithm.public_bytes() {
            return Err(lines.malformed());
        }
        let mut announcement = None;
        if let Some(key_id) = lines.optional("announced-by") {
            let key_id = hex::decode(key_id).and_then(|id| id.as_slice().try_into().ok());
            let key_id = key_id.ok_or_else(|| lines.malformed())?;
            let bytes = lines.bytes("signature")?;
            let bytes = bytes.as_slice().try_into().map_err(|_| lines.malformed())?;
            announcement = Some(Announcement(Signature { key_id, bytes }));
        }
        lines.end()?;
        if SealKeyId::of(algorithm, &bytes) != id {
            return Err(SealKeyError::WrongCheck { wanted: WANTED });
        }
        Ok((Self::from_bytes(algorithm, &bytes)?, announcement))
    }

    /// Checks that one of `signers` announced this key.
    ///
    /// # Errors
    ///
    /// [`SealKeyError::NotAnnounced`], also without an announcement.
    pub fn check_announcement(
        &self,
        announcement: Option<&Announcement>,
        signers: &[PublicKey],
    ) -> Result<(), SealKeyError> {
        let Announcement(signature) = announcement.ok_or(SealKeyError::NotAnnounced)?;
        verify_signature(signers, CONTEXT, self.to_text().as_bytes(), signature)
            .map_err(|_| SealKeyError::NotAnnounced)
    }

    /// The file with the announcement that `sign` makes of a context and a message.
    pub(crate) fn announced(&self, sign: impl FnOnce(&'static str, &[u8]) -> Signature) -> String {
        let text = self.to_text();
        let Signature { key_id, bytes } = sign(CONTEXT, text.as_bytes());
        let (key_id, bytes) = (hex::encode(&key_id), hex::encode(&bytes));
        format!("{text}announced-by {}\nsignature {}\n", *key_id, *bytes)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for SealPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealPublicKey({} {})", self.algorithm.as_str(), self.id)
    }
}

/// Somebody's signature under a public seal key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement(Signature);

const TITLE: &str = "recseal seal key, public, version ";
const WANTED: &str = "public seal key";
/// What kind of thing is signed.
const CONTEXT: &str = "seal-key/1";
/// Twice the longest.
const TEXT_BYTES_MAX: usize = 8_192;
