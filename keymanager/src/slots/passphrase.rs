//! The passphrase slot: opens after a disaster, with nothing but what someone remembers.

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::KeyError;
use crate::hex::HexBytes;
use crate::secret::{SECRET_BYTES, Secret};

/// How a passphrase becomes a key: argon2id with its cost and salt.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stretch {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: HexBytes,
}

/// What one guess costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    memory_kib: u32,
    passes: u32,
}

impl Cost {
    /// 64 MiB and three passes: half a second on a small server.
    pub(crate) const DEFAULT: Self = Self { memory_kib: 64 * 1_024, passes: 3 };
    /// For tests that need many slots.
    #[cfg(test)]
    pub(crate) const CHEAP: Self = Self { memory_kib: 8, passes: 1 };
}

impl Stretch {
    /// A fresh salt.
    pub(super) fn new(cost: Cost) -> Self {
        let mut salt = [0; 16];
        aws_lc_rs::rand::fill(&mut salt).expect("the random generator of this machine works");
        let Cost { memory_kib, passes } = cost;
        Self { memory_kib, passes, lanes: 1, salt: HexBytes::new(salt) }
    }

    /// The key of `passphrase`. Takes half a second and 64 MiB.
    ///
    /// # Errors
    ///
    /// [`KeyError::SlotsDamaged`] if the stored cost is absurd: it may come from a stranger.
    pub(super) fn key(&self, passphrase: &str) -> Result<Secret, KeyError> {
        let &Self { memory_kib, passes, lanes, ref salt } = self;
        if memory_kib > MEMORY_KIB_MAX || passes > PASSES_MAX || lanes > LANES_MAX {
            return Err(KeyError::SlotsDamaged);
        }
        let params = Params::new(memory_kib, passes, lanes, Some(SECRET_BYTES))
            .map_err(|_| KeyError::SlotsDamaged)?;
        let mut key = Zeroizing::new([0; SECRET_BYTES]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), salt.as_bytes(), &mut *key)
            .map_err(|_| KeyError::SlotsDamaged)?;
        Ok(Secret::from_bytes(&key))
    }
}

/// Refuses what is too short to resist guessing or too long to be meant.
pub(super) fn check_length(passphrase: &str) -> Result<(), KeyError> {
    if !(PASSPHRASE_BYTES_MIN..=PASSPHRASE_BYTES_MAX).contains(&passphrase.len()) {
        return Err(KeyError::PassphraseLength {
            min_bytes: PASSPHRASE_BYTES_MIN,
            max_bytes: PASSPHRASE_BYTES_MAX,
        });
    }
    Ok(())
}

const PASSPHRASE_BYTES_MIN: usize = 12;
const PASSPHRASE_BYTES_MAX: usize = 1_024;
const MEMORY_KIB_MAX: u32 = 1 << 20;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absurd_cost_is_refused_before_it_is_paid() {
        for (memory_kib, passes, lanes) in [(u32::MAX, 1, 1), (8, u32::MAX, 1), (8, 1, 1_000)] {
            let stretch = Stretch { memory_kib, passes, lanes, salt: HexBytes::new([0; 16]) };
            assert!(matches!(stretch.key("passphrase"), Err(KeyError::SlotsDamaged)));
        }
    }

    #[test]
    fn salt_and_cost_make_the_key() {
        let stretch = Stretch::new(Cost::CHEAP);
        let key = |stretch: &Stretch| *stretch.key("passphrase").unwrap().expose_bytes();
        assert_eq!(key(&stretch), key(&stretch));
        assert_ne!(key(&stretch), key(&Stretch::new(Cost::CHEAP)));
        assert_ne!(key(&stretch), key(&Stretch { passes: 2, ..stretch.clone() }));
    }
}
