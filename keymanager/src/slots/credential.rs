//! The credential slot: a key that the service manager decrypts and hands over at start.
//!
//! systemd binds it to this machine's TPM or host key (`systemd-creds encrypt`), shows it to this
//! service alone, in a folder that is never on a disk, and forgets it when the service ends.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::problem::SlotProblem;
use super::{Surroundings, key_in};
use crate::disk;
use crate::error::KeyError;
use crate::secret::Secret;
use crate::slots::SlotKind;

/// Which credential.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Credential {
    pub(super) name: String,
}

impl Credential {
    pub(super) fn new(name: &str) -> Result<Self, KeyError> {
        check_name(name)?;
        Ok(Self { name: name.to_owned() })
    }

    pub(super) fn key(&self, surroundings: &Surroundings) -> Result<Secret, SlotProblem> {
        key_in(&read(&self.name, surroundings)?).ok_or(SlotProblem::Malformed)
    }
}

/// The content of a credential.
pub(super) fn read(
    name: &str,
    surroundings: &Surroundings,
) -> Result<Zeroizing<Vec<u8>>, SlotProblem> {
    let folder = surroundings.credentials.as_deref().ok_or(SlotProblem::NoCredentials)?;
    // The table may come from a stranger: its names must not lead out of the folder.
    check_name(name).map_err(|_| SlotProblem::NoCredentials)?;
    disk::read(&path(folder, name), CREDENTIAL_BYTES_MAX).map_err(SlotProblem::Credential)
}

/// Refuses what is no name of a credential.
pub(super) fn check_name(name: &str) -> Result<(), KeyError> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    match (1..=64).contains(&name.len()) && name.bytes().all(is_plain) && !name.starts_with('.') {
        true => Ok(()),
        false => Err(KeyError::BadSlot {
            kind: SlotKind::Credential,
            rule: "its name has 1 to 64 letters, digits, `.`, `_`, `-`, and no dot in front",
        }),
    }
}

fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join(name)
}

const CREDENTIAL_BYTES_MAX: u64 = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted fault: the name joined as it stands, which reads `../root.key`.
    #[test]
    fn a_name_stays_in_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("creds")).unwrap();
        std::fs::write(dir.path().join("outside"), "0".repeat(64)).unwrap();
        let surroundings = Surroundings { credentials: Some(dir.path().join("creds")) };
        for bad in ["../outside", "/etc/passwd", "", ".", "..", "a b", &"x".repeat(65)] {
            assert!(Credential::new(bad).is_err(), "{bad}");
            let stored = Credential { name: bad.to_owned() };
            assert!(matches!(stored.key(&surroundings), Err(SlotProblem::NoCredentials)));
        }
    }

    #[test]
    fn digits_and_raw_bytes_are_the_same_key() {
        let dir = tempfile::tempdir().unwrap();
        let surroundings = Surroundings { credentials: Some(dir.path().to_owned()) };
        let credential = Credential::new("recseal-root").unwrap();
        let key = |content: &[u8]| {
            std::fs::write(dir.path().join("recseal-root"), content).unwrap();
            credential.key(&surroundings)
        };
        let raw = key(&[0xab; 32]).unwrap();
        for digits in ["ab".repeat(32), format!("{}\n", "ab".repeat(32)), "AB".repeat(32)] {
            assert_eq!(key(digits.as_bytes()).unwrap().expose_bytes(), raw.expose_bytes());
        }
        for bad in [&b""[..], &[0xab; 31], &[0xab; 33], "ab".repeat(31).as_bytes()] {
            assert!(matches!(key(bad), Err(SlotProblem::Malformed)), "{bad:?}");
        }
        assert!(matches!(key(&[b'a'; 5_000]), Err(SlotProblem::Credential(_))));
        let gone = Credential::new("none").unwrap().key(&surroundings);
        assert!(matches!(gone, Err(SlotProblem::Credential(_))));
        let nowhere = credential.key(&Surroundings::default());
        assert!(matches!(nowhere, Err(SlotProblem::NoCredentials)));
    }
}
