//! Keyed handles: one name for one thing, which tells nothing to whoever has not the key.
//!
//! ```text
//! handle = HMAC-SHA-256(handle key, "recseal/handle/1" ‖ 0x00
//!                                   ‖ length of context (1 byte) ‖ context
//!                                   ‖ for each part: length (8 bytes, big-endian) ‖ part)
//! ```
//!
//! A tombstone and a pseudonym must find the same call or person again after years, from the same
//! words, without keeping the words. A plain hash would not do: all telephone numbers of a country
//! are hashed in minutes. So the handle key is a secret of its own in the store. It is none of
//! those that are replaced: neither a new root key nor a new KEK version changes it, and it is in
//! every backup. It is never destroyed alone, because no tombstone would be found again.
//!
//! # Invariants
//!
//! - Context and parts are told apart: two different lists never make one message.
//! - A store has one handle key for all its life, in all its generations and backups. One that is
//!   older than handles gets it from its first signing key, the same whenever and wherever it is
//!   opened; with the next change it is stored as it is.

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};

use crate::secret::{Secret, StoredSecret};

/// What makes handles.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct HandleKey(StoredSecret);

impl HandleKey {
    /// A fresh one, for a new store.
    pub(crate) fn generate() -> Self {
        Self(StoredSecret::generate())
    }

    /// That of a store without one, from `elder`, a secret that this store and its backups have
    /// had from the beginning.
    pub(crate) fn of_older_store(elder: &Secret) -> Self {
        Self(elder.derive(&[b"handle-key/1"]).into())
    }

    /// The handle of `parts` as a `context`.
    pub(crate) fn handle(&self, context: &'static str, parts: &[&[u8]]) -> [u8; HANDLE_BYTES] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.expose_bytes());
        let mut message = hmac::Context::with_key(&key);
        let context_len = u8::try_from(context.len()).expect("a context is a short constant");
        message.update(DOMAIN);
        message.update(&[context_len]);
        message.update(context.as_bytes());
        for part in parts {
            message.update(&(part.len() as u64).to_be_bytes());
            message.update(part);
        }
        message.sign().as_ref().try_into().expect("SHA-256 gives 32 bytes")
    }

    #[cfg(test)]
    pub(crate) fn expose_key(&self) -> &[u8; crate::secret::SECRET_BYTES] {
        self.0.expose_bytes()
    }
}

const DOMAIN: &[u8] = b"recseal/handle/1\0";
const HANDLE_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    use crate::hex;

    /// Planted faults: the length of the context left out, those of the parts left out, the
    /// context left out.
    #[test]
    fn what_is_split_otherwise_has_another_handle() {
        let key = HandleKey::generate();
        let lists: [(&'static str, &[&[u8]]); 12] = [
            ("person", &[b"phone", b"12025550143"]),
            ("person", &[b"phone1", b"2025550143"]),
            ("person", &[b"phone12025550143"]),
            ("person", &[b"phone", b"12025550143", b""]),
            ("person", &[b"", b"phone", b"12025550143"]),
            ("call", &[b"phone", b"12025550143"]),
            ("personp", &[b"hone", b"12025550143"]),
            ("person", &[]),
            ("person", &[b""]),
            ("", &[b"person"]),
            ("person", &[b"x"]),
            ("person\0\0\0\0\0\0\0\x01x", &[]),
        ];
        let handles = lists.map(|(context, parts)| key.handle(context, parts));
        for (at, handle) in handles.iter().enumerate() {
            assert_eq!(*handle, key.handle(lists[at].0, lists[at].1), "list {at}");
            assert!(!handles[..at].contains(handle), "list {at} and one before it");
        }
        assert_ne!(handles[0], HandleKey::generate().handle(lists[0].0, lists[0].1));
    }

    /// Handles lie in catalogs for years, so the construction is frozen. The expectation was
    /// computed with Python's `hmac`, not with this code.
    #[test]
    fn the_construction_is_frozen() {
        let key: HandleKey = serde_json::from_str(&format!("\"{}\"", "5a".repeat(32))).unwrap();
        let handle = key.handle("person", &[b"phone", b"12025550143"]);
        assert_eq!(*hex::encode(&handle), *FROZEN);
        let older = HandleKey::of_older_store(&Secret::from_bytes(&[0x5a; 32]));
        assert_eq!(*hex::encode(older.expose_key()), *FROZEN_OLDER);
    }

    const FROZEN: &str = "231529843b51a91cb2955b19f37e46c18ed9d7f60266954f555e57889f3deb39";
    const FROZEN_OLDER: &str = "1f703f0a18ea9a7bc6e20c89b951e36d872ad9ef2e47f67b7252b35f60a1c1f6";
}
