//! What was destroyed, as a signed text: so that restoring an older backup brings nothing back.
//!
//! ```text
//! recseal tombstones, version 1
//! made 2026-11-23T22:15:00.000Z
//! key {"version":3,…}           the certificate of a key version's destruction, JSON
//! recording 018f6d2e-…          a recording that was erased
//! signature KEYID SIGNATURE     Ed25519 over all lines above it, hexadecimal
//! ```

use std::collections::BTreeSet;

use keymanager::{KeyManager, PublicKey, Signature, Tombstone, Unlock};
use uuid::Uuid;

use crate::access::{self, Grant};
use crate::catalog::{Catalog, CatalogError};
use crate::clock::Timestamp;
use crate::domain::RecordingId;
use crate::flow::{Engine, FlowError};

/// What a restore must not bring back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tombstones {
    /// Recordings that were erased.
    pub recordings: BTreeSet<RecordingId>,
    /// Key versions that were destroyed, each with its own signature.
    pub keys: Vec<Tombstone>,
}

/// Why a list of tombstones was not taken.
#[derive(Debug, thiserror::Error)]
pub enum TombstoneError {
    /// Something else, or cut.
    #[error("line {line} of the tombstones cannot be read")]
    Malformed {
        /// Counted from 1.
        line: usize,
    },
    /// Not by the keys of the backup.
    #[error("the tombstones were not signed by the host of this backup, or were changed")]
    NotSigned,
}

impl Engine {
    /// Everything that was destroyed here, as a text that proves who says so.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`].
    pub fn tombstones(
        &self,
        _grant: &Grant<access::ManageBackups>,
        now: Timestamp,
    ) -> Result<String, FlowError> {
        let recordings = self.catalog.read(|tx| tx.erased())?.into_iter().collect();
        let tombstones = Tombstones { recordings, keys: self.keys.tombstones() };
        let mut text = tombstones.to_text(now);
        let Signature { key_id, bytes } = self.keys.sign(TOMBSTONE_CONTEXT, text.as_bytes());
        text.push_str(&format!("signature {} {}\n", hex(&key_id), hex(&bytes)));
        Ok(text)
    }
}

impl Tombstones {
    /// Reads the text of [`Engine::tombstones`], signed by one of `keys`.
    ///
    /// # Errors
    ///
    /// [`TombstoneError`].
    pub fn parse(text: &str, keys: &[PublicKey]) -> Result<Self, TombstoneError> {
        let (signed, last) = match text.trim_end().rfind('\n') {
            Some(at) => text.split_at(at + 1),
            None => return Err(TombstoneError::Malformed { line: 1 }),
        };
        let mut tombstones = Self::default();
        for (number, line) in (1..).zip(signed.lines()) {
            let malformed = || TombstoneError::Malformed { line: number };
            match (number, line.split_once(' ').ok_or_else(malformed)?) {
                (1, _) if line == TITLE => {}
                (2.., ("made", _)) => {}
                (2.., ("key", json)) => {
                    let key = serde_json::from_str(json).map_err(|_| malformed())?;
                    tombstones.keys.push(key);
                }
                (2.., ("recording", id)) => {
                    let id = Uuid::try_parse(id).map_err(|_| malformed())?;
                    tombstones.recordings.insert(RecordingId(id));
                }
                _ => return Err(malformed()),
            }
        }
        let signature = || {
            let mut words = last.trim_end().strip_prefix("signature ")?.split(' ');
            let (key_id, bytes) = (unhex(words.next()?)?, unhex(words.next()?)?);
            words.next().is_none().then_some(Signature { key_id, bytes })
        };
        let signature = signature().ok_or(TombstoneError::NotSigned)?;
        keymanager::verify_signature(keys, TOMBSTONE_CONTEXT, signed.as_bytes(), &signature)
            .map_err(|_| TombstoneError::NotSigned)?;
        Ok(tombstones)
    }

    /// What the catalog and, if its keys open by themselves, the key store of an old state folder
    /// say. False if the keys did not open.
    ///
    /// # Errors
    ///
    /// [`CatalogError`].
    pub fn of_state(
        catalog: &std::path::Path,
        keys: &std::path::Path,
        unlock: &Unlock,
    ) -> Result<(Self, bool), CatalogError> {
        let catalog = Catalog::open_read_only(catalog)?;
        let recordings = catalog.read(|tx| tx.erased())?.into_iter().collect();
        let opened = KeyManager::open(keys, unlock);
        let dead = opened.as_ref().map(KeyManager::tombstones).unwrap_or_default();
        Ok((Self { recordings, keys: dead }, opened.is_ok()))
    }

    fn to_text(&self, now: Timestamp) -> String {
        let mut text = format!("{TITLE}\nmade {now}\n");
        for key in &self.keys {
            let json = serde_json::to_string(key).expect("a tombstone has only text keys");
            text.push_str(&format!("key {json}\n"));
        }
        for recording in &self.recordings {
            text.push_str(&format!("recording {recording}\n"));
        }
        text
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// What tombstones are signed as.
const TOMBSTONE_CONTEXT: &str = "recseal-tombstones";
const TITLE: &str = "recseal tombstones, version 1";

#[cfg(test)]
mod tests {
    use keymanager::{Destruction, RotationReason};

    use super::*;

    /// Whoever could make it longer could have recordings erased by a restore.
    #[test]
    fn only_the_signed_list_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["localhost".to_owned()];
        let keys = KeyManager::create(&dir.path().join("k"), &names, 0).unwrap();
        keys.rotate_kek(0, RotationReason::Manual, 0).unwrap();
        keys.schedule_kek_destruction(&Destruction {
            version: 1,
            at_ms: 0,
            recordings: 0,
            reason: "routine".to_owned(),
            by: "uid:0".to_owned(),
        })
        .unwrap();
        assert_eq!(keys.destroy_due_keks(0, |_| 0).unwrap().tombstones.len(), 1);
        let public = keys.public_signing_keys();
        let list = Tombstones {
            recordings: [RecordingId::new(), RecordingId::new()].into(),
            keys: keys.tombstones(),
        };
        let signed = |body: &str| {
            let Signature { key_id, bytes } = keys.sign(TOMBSTONE_CONTEXT, body.as_bytes());
            format!("{body}signature {} {}\n", hex(&key_id), hex(&bytes))
        };
        let body = list.to_text(Timestamp::from_millis(0));
        let text = signed(&body);
        assert_eq!(Tombstones::parse(&text, &public).unwrap(), list);
        for line in 0..body.lines().count() {
            let mut lines: Vec<&str> = text.lines().collect();
            lines.remove(line);
            assert!(Tombstones::parse(&lines.join("\n"), &public).is_err(), "line {line}");
        }
        let more =
            text.replacen("\nrecording ", &format!("\nrecording {}\nrecording ", Uuid::nil()), 1);
        assert!(matches!(Tombstones::parse(&more, &public), Err(TombstoneError::NotSigned)));
        let stranger = KeyManager::create(&dir.path().join("s"), &names, 0).unwrap();
        assert!(Tombstones::parse(&text, &stranger.public_signing_keys()).is_err());
        for bad in ["", "x", "x\n", "recseal tombstones, version 1\nkey\nsignature"] {
            assert!(Tombstones::parse(bad, &public).is_err(), "{bad:?}");
        }
        let nonsense = signed(&format!("{TITLE}\nkey three\n"));
        let error = Tombstones::parse(&nonsense, &public).unwrap_err();
        assert!(matches!(error, TombstoneError::Malformed { line: 2 }));
    }
}
