//! Moving data keys from older key versions to the active one, without ever showing one.
//!
//! What is moved is the wrapping: the data key, its id and everything sealed with it stay as they
//! are. The old wrapped form opens as long as its version lives, so a move protects against who
//! has an old copy of the catalog only when the old version is destroyed.

use std::fmt;

use uuid::Uuid;

use super::{Keyring, WrappedKey, open_under, seal_under, wrapping_key};
use crate::error::KeyError;

/// The keys at one moment, for wrapping anew. Drop it soon: it keeps versions in memory that may
/// be destroyed meanwhile.
pub struct Rewrapper {
    ring: Keyring,
    active: u32,
}

impl Rewrapper {
    pub(crate) fn new(ring: Keyring) -> Self {
        let (active, _) = ring.active();
        Self { ring, active }
    }

    /// The version under which everything comes.
    pub fn active_version(&self) -> u32 {
        self.active
    }

    /// Versions whose data keys are to be moved, oldest first.
    pub fn left_behind(&self) -> Vec<u32> {
        let keks = self.ring.0.iter().filter(|kek| kek.state.is_left_behind());
        keks.map(|kek| kek.version).collect()
    }

    /// The data key of `recording` in a new wrapping; the same if it is under the active version
    /// already. Some 5 µs; share it between threads.
    ///
    /// # Errors
    ///
    /// [`KeyError::UnknownVersion`], [`KeyError::VersionUnavailable`] for a disabled or destroyed
    /// version, [`KeyError::Unwrap`]. Keep the old form then.
    pub fn rewrap(&self, recording: Uuid, wrapped: &WrappedKey) -> Result<WrappedKey, KeyError> {
        let version = wrapped.version();
        if version == self.active {
            return Ok(*wrapped);
        }
        let kek = self.ring.0.iter().find(|kek| kek.version == version);
        let kek = kek.ok_or(KeyError::UnknownVersion { version })?;
        let unavailable = KeyError::VersionUnavailable { version, state: kek.state };
        let (true, Some(key)) = (kek.state.is_left_behind(), &kek.key) else {
            return Err(unavailable);
        };
        let secret = open_under(&wrapping_key(key, recording), recording, wrapped)?;
        let (active, key) = self.ring.active();
        let wrapping = wrapping_key(key, recording);
        let data_key = wrapped.data_key_id();
        Ok(seal_under(active, &wrapping, recording, data_key, secret.expose_bytes()))
    }
}

impl fmt::Debug for Rewrapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rewrapper").field("active", &self.active).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_key::DataKey;
    use crate::key_state::KeyState;

    #[test]
    fn a_moved_key_is_the_same_key_for_the_same_recording() {
        let mut ring = Keyring::generate(0);
        let (recording, data_key) = (Uuid::now_v7(), DataKey::generate());
        let old = ring.wrap(recording, &data_key);
        assert_eq!(ring.rotate(1, 0, false).unwrap(), 2);
        let moved = Rewrapper::new(ring.clone()).rewrap(recording, &old).unwrap();
        assert_eq!((moved.version(), moved.data_key_id()), (2, data_key.id()));
        let opened = ring.unwrap(recording, &moved).unwrap();
        assert_eq!(opened.secret().expose_bytes(), data_key.secret().expose_bytes());
        assert!(ring.unwrap(Uuid::now_v7(), &moved).is_err());
        assert!(ring.unwrap(recording, &old).is_ok(), "the old form opens until its key goes");
        let again = Rewrapper::new(ring.clone()).rewrap(recording, &moved).unwrap();
        assert_eq!(again.as_bytes(), moved.as_bytes());
        assert!(Rewrapper::new(ring).rewrap(Uuid::now_v7(), &old).is_err());
    }

    #[test]
    fn only_versions_left_behind_are_moved() {
        let mut ring = Keyring::generate(0);
        let recording = Uuid::now_v7();
        let old = ring.wrap(recording, &DataKey::generate());
        ring.rotate(1, 0, false).unwrap();
        for state in KeyState::ALL {
            ring.0[0].state = state;
            let rewrapper = Rewrapper::new(ring.clone());
            if state == KeyState::Active {
                continue; // two of them: `check` refuses such a ring
            }
            let is_moved = rewrapper.rewrap(recording, &old).is_ok();
            assert_eq!(is_moved, state.is_left_behind(), "{state:?}");
            assert_eq!(rewrapper.left_behind().contains(&1), is_moved, "{state:?}");
        }
    }
}
