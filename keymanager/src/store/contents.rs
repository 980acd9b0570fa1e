//! What lies inside a generation, and how it becomes bytes.

use std::io;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::authority::Authority;
use crate::error::KeyError;
use crate::handle::HandleKey;
use crate::keyring::Keyring;
use crate::renewal::RenewalState;
use crate::seal_key::SealKeyTable;
use crate::signing::SigningKey;
use crate::stored_tls::StoredTls;
use crate::tombstone::Tombstone;

/// What the store holds. A change is a clone with the change, stored, then published.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contents {
    pub(crate) keyring: Keyring,
    /// Oldest first; the last one signs.
    pub(crate) signing: Vec<SigningKey>,
    pub(crate) tls: StoredTls,
    /// Of destroyed key versions, for ever; also of versions that this store never had.
    #[serde(default)]
    pub(crate) tombstones: Vec<Tombstone>,
    /// Public halves only.
    pub(crate) seal_keys: SealKeyTable,
    pub(crate) authority: Option<Authority>,
    #[serde(default)]
    pub(crate) renewal: RenewalState,
    /// `None` in the file of a store that is older than handles, never once it is open.
    pub(crate) handles: Option<HandleKey>,
}

impl Contents {
    /// What makes handles.
    pub(crate) fn handle_key(&self) -> &HandleKey {
        self.handles.as_ref().expect("an open store has a handle key")
    }

    /// Fills in what an older store lacks. The same at every call, so it need not be stored first.
    pub(super) fn completed(mut self) -> Self {
        let elder = self.signing.first().expect("the contents were checked");
        self.handles.get_or_insert_with(|| HandleKey::of_older_store(elder.seed()));
        self
    }

    /// Checks what was read against the rules that every store keeps.
    pub(crate) fn check(&self) -> Result<(), KeyError> {
        if self.signing.is_empty() {
            return Err(KeyError::Inconsistent { rule: "there is a signing key" });
        }
        self.seal_keys.check()?;
        if let Some(authority) = &self.authority {
            authority.check()?;
        }
        self.keyring.check()
    }
}

/// The JSON in a buffer that never grew, so that no key is left behind in freed memory.
pub(crate) fn to_plaintext_json(contents: &Contents) -> Zeroizing<Vec<u8>> {
    const INFALLIBLE: &str = "contents have only text keys, and memory takes every byte";
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, contents).expect(INFALLIBLE);
    let mut plaintext = Zeroizing::new(Vec::with_capacity(counter.0));
    serde_json::to_writer(&mut *plaintext, contents).expect(INFALLIBLE);
    plaintext
}

struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
