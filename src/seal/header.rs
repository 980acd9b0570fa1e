//! The prefix of a sealed file: whose it is, readable without a key.
//!
//! ```text
//!  0  8  "RECSEAL" 0x01     8 16  recording id     24 16  data key id
//! 40  1  kind              41 23  zero
//! ```
//!
//! Nothing in it is to be believed before [`super::SealedReader::open`] has opened the file: the
//! prefix is the associated data of everything behind it.

use keymanager::DataKey;
use uuid::Uuid;

use super::SealError;
use crate::domain::{DataKeyId, RecordingId, SealedKind};

/// Whose sealed file this is, and which key opens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The recording.
    pub recording: RecordingId,
    /// The data key, by id.
    pub data_key: DataKeyId,
    /// Media, peaks or sidecar.
    pub kind: SealedKind,
}

impl Prefix {
    /// The prefix of what `key` seals for `recording`.
    pub fn new(recording: RecordingId, key: &DataKey, kind: SealedKind) -> Self {
        Self { recording, data_key: DataKeyId(key.id()), kind }
    }

    /// As it stands in the file.
    pub fn to_bytes(self) -> [u8; PREFIX_BYTES] {
        let mut bytes = [0; PREFIX_BYTES];
        bytes[..VERSION_AT].copy_from_slice(MAGIC);
        bytes[VERSION_AT] = VERSION;
        bytes[RECORDING_AT..KEY_AT].copy_from_slice(self.recording.0.as_bytes());
        bytes[KEY_AT..KIND_AT].copy_from_slice(self.data_key.0.as_bytes());
        bytes[KIND_AT] = self.kind.byte();
        bytes
    }

    /// Reads it back.
    ///
    /// # Errors
    ///
    /// [`SealError::NotSealed`], [`SealError::UnsupportedVersion`],
    /// [`SealError::UnsupportedPrefix`].
    pub fn parse(bytes: &[u8; PREFIX_BYTES]) -> Result<Self, SealError> {
        if !bytes.starts_with(MAGIC) {
            return Err(SealError::NotSealed);
        }
        if bytes[VERSION_AT] != VERSION {
            return Err(SealError::UnsupportedVersion { version: bytes[VERSION_AT] });
        }
        let uuid = |at: usize| Uuid::from_slice(&bytes[at..at + 16]).expect("16 bytes are a UUID");
        let kind = SealedKind::from_byte(bytes[KIND_AT]).ok_or(SealError::UnsupportedPrefix)?;
        if bytes[RESERVED_AT..].iter().any(|byte| *byte != 0) {
            return Err(SealError::UnsupportedPrefix);
        }
        Ok(Self {
            recording: RecordingId(uuid(RECORDING_AT)),
            data_key: DataKeyId(uuid(KEY_AT)),
            kind,
        })
    }
}

/// Its length.
pub(super) const PREFIX_BYTES: usize = 64;
pub(super) const MAGIC: &[u8; VERSION_AT] = b"RECSEAL";
const VERSION_AT: usize = 7;
const VERSION: u8 = 1;
const RECORDING_AT: usize = 8;
const KEY_AT: usize = 24;
const KIND_AT: usize = 40;
const RESERVED_AT: usize = 41;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever is accepted is written back the same, so nothing in a prefix goes unseen.
        /// Planted fault: reserved bytes that are not checked. The mask keeps most bytes as they
        /// should be: wholly random prefixes never get past the magic.
        #[test]
        fn accepted_prefixes_are_canonical(ids in any::<[u8; 32]>(), kind in 0..5u8, at in 0..64usize, bit in 0..9u32) {
            let mut bytes = [0; PREFIX_BYTES];
            bytes[..8].copy_from_slice(b"RECSEAL\x01");
            bytes[8..40].copy_from_slice(&ids);
            bytes[40] = kind;
            bytes[at] ^= 1_u32.checked_shl(bit).unwrap_or(0) as u8; // bit 8 changes nothing
            match Prefix::parse(&bytes) {
                Ok(prefix) => prop_assert_eq!(prefix.to_bytes(), bytes),
                Err(SealError::NotSealed) => prop_assert!(at < 7),
                Err(SealError::UnsupportedVersion { version }) => prop_assert_eq!(version, bytes[7]),
                Err(SealError::UnsupportedPrefix) => prop_assert!(bytes[40] > 2 || at > 40),
                Err(other) => prop_assert!(false, "{}", other),
            }
        }

        #[test]
        fn any_bytes_parse_or_are_refused(bytes in any::<[u8; 64]>()) {
            prop_assert!(Prefix::parse(&bytes).is_err());
        }
    }
}
