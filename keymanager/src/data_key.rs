//! The key of one recording.

use uuid::Uuid;

use crate::secret::Secret;

/// The key of exactly one recording and one sealing attempt. Its bytes never leave this crate.
#[derive(Debug)]
pub struct DataKey {
    id: Uuid,
    secret: Secret,
}

impl DataKey {
    /// A fresh key under a fresh id.
    pub fn generate() -> Self {
        Self { id: Uuid::now_v7(), secret: Secret::generate() }
    }

    /// Puts together what was unwrapped.
    pub(crate) fn from_parts(id: Uuid, secret: Secret) -> Self {
        Self { id, secret }
    }

    /// The id that stands in the prefix of every sealed file of this key.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The bytes, for wrapping and for the chunk cipher.
    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }
}
