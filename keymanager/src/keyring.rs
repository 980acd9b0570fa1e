//! Key-encryption keys (KEKs): versions with states, and the data keys wrapped under them.
//!
//! ```text
//! wrapped key, 80 bytes, integers big-endian
//!   0  4  version of the KEK      |  4 16  data key id (UUID)
//!  20 12  nonce                   | 32 32  the data key, encrypted      | 64 16  tag
//! ```
//!
//! AES-256-GCM under `HKDF-SHA-256(KEK, info = "wrap/1" ‖ recording id)`, associated data
//! recording id ‖ version ‖ data key id. The key is derived for each recording, so the random
//! nonces of one version never come near the GCM limit, and the wrapped key of one recording
//! is worth nothing in the row of another.
//!
//! # Invariants
//!
//! - Exactly one version is active, and only that one wraps.
//! - A destroyed version keeps its row and has no key: its number is never used again.
//!
//! How a version goes from one state to the next is in [`life`], moving data keys in [`rewrap`].

mod life;
mod rewrap;

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::data_key::DataKey;
use crate::envelope;
use crate::error::KeyError;
use crate::key_state::KeyState;
use crate::secret::{SECRET_BYTES, Secret, StoredSecret};

pub(crate) use life::{PlannedDestruction, VERSIONS_MAX};
pub use rewrap::Rewrapper;

/// One KEK version, as it may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyVersionInfo {
    /// Its number, from 1.
    pub version: u32,
    /// Where in its life it is.
    pub state: KeyState,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
    /// True if someone else may know it: retired at once, and what it wraps is wrapped anew.
    pub compromised: bool,
    /// When another version took over, in milliseconds since 1970.
    pub retired_ms: Option<i64>,
    /// When it is to be destroyed, in milliseconds since 1970.
    pub destroy_at_ms: Option<i64>,
    /// When it was destroyed, in milliseconds since 1970.
    pub destroyed_ms: Option<i64>,
}

/// A data key as the catalog keeps it: readable only with the KEK, for one recording.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WrappedKey([u8; WRAPPED_BYTES]);

impl WrappedKey {
    /// Takes what the catalog kept. Only the form is checked here; [`KeyError::Unwrap`] comes
    /// from unwrapping.
    ///
    /// # Errors
    ///
    /// [`KeyError::MalformedWrappedKey`] if it is not 80 bytes with a version from 1.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        bytes
            .try_into()
            .map(Self)
            .ok()
            .filter(|wrapped| wrapped.version() > 0)
            .ok_or(KeyError::MalformedWrappedKey { actual_bytes: bytes.len() })
    }

    /// The 80 bytes to keep.
    pub fn as_bytes(&self) -> &[u8; WRAPPED_BYTES] {
        &self.0
    }

    /// The KEK version it needs.
    pub fn version(&self) -> u32 {
        u32::from_be_bytes(*self.0.first_chunk().expect("80 bytes by construction"))
    }

    /// Id of the data key in it.
    pub fn data_key_id(&self) -> Uuid {
        Uuid::from_slice(&self.0[VERSION_BYTES..HEADER_BYTES]).expect("a slice of 16 bytes")
    }
}

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WrappedKey")
            .field("version", &self.version())
            .field("data_key_id", &self.data_key_id())
            .finish_non_exhaustive()
    }
}

/// The KEK versions of one store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Keyring(Vec<Kek>);

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kek {
    version: u32,
    state: KeyState,
    created_ms: i64,
    compromised: bool,
    /// None when destroyed.
    key: Option<StoredSecret>,
    #[serde(default)]
    retired_ms: Option<i64>,
    /// Set while a date stands, and until the destruction is over.
    #[serde(default)]
    destruction: Option<PlannedDestruction>,
}

impl Keyring {
    /// A new keyring: version 1, active at once.
    pub(crate) fn generate(now_ms: i64) -> Self {
        Self(vec![Kek {
            version: 1,
            state: KeyState::Active,
            created_ms: now_ms,
            compromised: false,
            key: Some(StoredSecret::generate()),
            retired_ms: None,
            destruction: None,
        }])
    }

    /// Checks what was read against the module's invariants.
    pub(crate) fn check(&self) -> Result<(), KeyError> {
        let broken = |rule| Err(KeyError::Inconsistent { rule });
        if self.0.iter().filter(|kek| kek.state == KeyState::Active).count() != 1 {
            return broken("exactly one key version is active");
        }
        if self.0.iter().any(|kek| kek.state.has_key() != kek.key.is_some()) {
            return broken("a key version has a key until it is destroyed");
        }
        let rising = self.0.windows(2).all(|pair| pair[0].version < pair[1].version);
        if !rising || self.0[0].version == 0 {
            return broken("key versions rise from 1");
        }
        Ok(())
    }

    /// Every version, oldest first.
    pub(crate) fn versions(&self) -> Vec<KeyVersionInfo> {
        let info = |kek: &Kek| KeyVersionInfo {
            version: kek.version,
            state: kek.state,
            created_ms: kek.created_ms,
            compromised: kek.compromised,
            retired_ms: kek.retired_ms,
            destroy_at_ms: kek.destruction.as_ref().map(|planned| planned.at_ms),
            destroyed_ms: None,
        };
        self.0.iter().map(info).collect()
    }

    /// Wraps `data_key` for `recording` under the active version.
    pub(crate) fn wrap(&self, recording: Uuid, data_key: &DataKey) -> WrappedKey {
        let (version, key) = self.active();
        let wrapping = wrapping_key(key, recording);
        seal_under(version, &wrapping, recording, data_key.id(), data_key.secret().expose_bytes())
    }

    /// The number of the version that wraps.
    pub(crate) fn active_version(&self) -> u32 {
        self.active().0
    }

    /// The version that wraps, and its key.
    fn active(&self) -> (u32, &StoredSecret) {
        let active = self.0.iter().find(|kek| kek.state == KeyState::Active);
        let active = active.expect("one version is active, as `check` saw");
        let key = active.key.as_ref().expect("an active version has its key, as `check` saw");
        (active.version, key)
    }

    /// Unwraps; the errors tell apart what went wrong.
    pub(crate) fn unwrap(
        &self,
        recording: Uuid,
        wrapped: &WrappedKey,
    ) -> Result<DataKey, KeyError> {
        let version = wrapped.version();
        let kek = self
            .0
            .iter()
            .find(|kek| kek.version == version)
            .ok_or(KeyError::UnknownVersion { version })?;
        let unavailable = KeyError::VersionUnavailable { version, state: kek.state };
        let (true, Some(key)) = (kek.state.can_unwrap(), &kek.key) else { return Err(unavailable) };
        let secret = open_under(&wrapping_key(key, recording), recording, wrapped)?;
        Ok(DataKey::from_parts(wrapped.data_key_id(), secret))
    }

    #[cfg(test)]
    pub(crate) fn expose_newest(&self) -> &[u8; SECRET_BYTES] {
        self.0.last().unwrap().key.as_ref().unwrap().expose_bytes()
    }
}

fn wrapping_key(kek: &Secret, recording: Uuid) -> Secret {
    kek.derive(&[WRAP_LABEL, recording.as_bytes()])
}

fn seal_under(
    version: u32,
    wrapping: &Secret,
    recording: Uuid,
    data_key: Uuid,
    secret: &[u8; SECRET_BYTES],
) -> WrappedKey {
    let mut wrapped = [0; WRAPPED_BYTES];
    wrapped[..VERSION_BYTES].copy_from_slice(&version.to_be_bytes());
    wrapped[VERSION_BYTES..HEADER_BYTES].copy_from_slice(data_key.as_bytes());
    let aad = associated_data(recording, &wrapped[..HEADER_BYTES]);
    wrapped[HEADER_BYTES..].copy_from_slice(&envelope::seal(wrapping, &aad, secret));
    WrappedKey(wrapped)
}

fn open_under(
    wrapping: &Secret,
    recording: Uuid,
    wrapped: &WrappedKey,
) -> Result<Secret, KeyError> {
    let (header, sealed) = wrapped.0.split_at(HEADER_BYTES);
    let aad = associated_data(recording, header);
    let opened = envelope::open(wrapping, &aad, sealed)
        .ok_or(KeyError::Unwrap { recording, version: wrapped.version() })?;
    let bytes: Zeroizing<[u8; SECRET_BYTES]> = Zeroizing::new(
        opened.as_slice().try_into().expect("80 bytes less header and envelope are a key"),
    );
    Ok(Secret::from_bytes(&bytes))
}

fn associated_data(recording: Uuid, header: &[u8]) -> Vec<u8> {
    [recording.as_bytes().as_slice(), header].concat()
}

const WRAP_LABEL: &[u8] = b"wrap/1";

const VERSION_BYTES: usize = 4;
const HEADER_BYTES: usize = VERSION_BYTES + 16;
const WRAPPED_BYTES: usize = HEADER_BYTES + SECRET_BYTES + envelope::ENVELOPE_BYTES;

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted faults: recording id left out of both the derivation and the associated data, the
    /// header left out of the associated data.
    #[test]
    fn a_wrapped_key_opens_for_its_recording_only() {
        let ring = Keyring::generate(0);
        let (recording, data_key) = (Uuid::now_v7(), DataKey::generate());
        let wrapped = ring.wrap(recording, &data_key);
        assert_eq!((wrapped.version(), wrapped.data_key_id()), (1, data_key.id()));
        let opened = ring.unwrap(recording, &wrapped).unwrap();
        assert_eq!(opened.id(), data_key.id());
        assert_eq!(opened.secret().expose_bytes(), data_key.secret().expose_bytes());
        let other = ring.unwrap(Uuid::now_v7(), &wrapped).unwrap_err();
        assert!(matches!(other, KeyError::Unwrap { version: 1, .. }));
        let other = Keyring::generate(0).unwrap(recording, &wrapped).unwrap_err();
        assert!(matches!(other, KeyError::Unwrap { .. }));

        for at in 0..WRAPPED_BYTES {
            for bit in [1, 0x80] {
                let mut bytes = wrapped.as_bytes().to_vec();
                bytes[at] ^= bit;
                let result = WrappedKey::from_bytes(&bytes)
                    .and_then(|changed| ring.unwrap(recording, &changed));
                match result.unwrap_err() {
                    KeyError::UnknownVersion { .. } | KeyError::MalformedWrappedKey { .. } => {
                        assert!(at < VERSION_BYTES, "byte {at}");
                    }
                    KeyError::Unwrap { .. } => assert!(at >= VERSION_BYTES, "byte {at}"),
                    error => panic!("byte {at}: {error}"),
                }
            }
            assert!(WrappedKey::from_bytes(&wrapped.as_bytes()[..at]).is_err(), "cut at {at}");
        }
        assert!(WrappedKey::from_bytes(&[wrapped.as_bytes().as_slice(), &[0]].concat()).is_err());
    }

    #[test]
    fn each_state_unwraps_or_says_why_not() {
        let mut ring = Keyring::generate(0);
        let recording = Uuid::now_v7();
        let wrapped = ring.wrap(recording, &DataKey::generate());
        for state in KeyState::ALL {
            ring.0[0].state = state;
            let refusal = ring.unwrap(recording, &wrapped).err();
            assert_eq!(refusal.is_none(), state.can_unwrap(), "{state:?}");
            let Some(error) = refusal else { continue };
            let told = matches!(error, KeyError::VersionUnavailable { version: 1, state: s } if s == state);
            assert!(told, "{error}");
        }
    }

    #[test]
    fn a_keyring_that_contradicts_itself_is_refused() {
        let good = Keyring::generate(0);
        good.check().unwrap();
        let broken: [fn(&mut Vec<Kek>); 6] = [
            |keks| keks.clear(),
            |keks| keks[0].state = KeyState::Retired,
            |keks| keks[0].state = KeyState::Destroyed,
            |keks| keks[0].key = None,
            |keks| keks[0].version = 0,
            |keks| keks.push(Kek { state: KeyState::Retired, ..keks[0].clone() }),
        ];
        for (number, breaking) in broken.iter().enumerate() {
            let mut ring = good.clone();
            breaking(&mut ring.0);
            assert!(ring.check().is_err(), "case {number}");
        }
    }
}
