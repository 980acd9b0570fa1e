//! The ways: what each kind of slot keeps in the table, and how it comes to its slot key.

use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::credential::Credential;
use super::exec::Exec;
use super::passphrase::Stretch;
use super::pkcs11::Token;
use super::problem::SlotProblem;
use super::{Given, NewSlot, SlotKind, file};
use crate::error::KeyError;
use crate::secret::Secret;
use crate::shares;

/// What a kind needs to make its slot key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Way {
    File,
    Passphrase(Stretch),
    Credential(Credential),
    Shares(ShareSet),
    Exec(Exec),
    Pkcs11(Box<Token>),
}

/// Which shares open a slot.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShareSet {
    pub(super) set: Uuid,
    pub(super) threshold: u8,
    pub(super) of: u8,
}

impl Way {
    /// The way of a new unattended slot, with its slot key.
    pub(super) fn new(
        new: &NewSlot,
        slot: Uuid,
        folder: &Path,
        given: Given<'_>,
    ) -> Result<(Self, Secret), KeyError> {
        let problem = |kind| move |source| KeyError::Slot { slot, kind, source };
        match new {
            NewSlot::File => Ok((Self::File, file::create(folder)?)),
            NewSlot::Credential { name } => {
                let way = Credential::new(name)?;
                let key = way.key(given.surroundings).map_err(problem(SlotKind::Credential))?;
                Ok((Self::Credential(way), key))
            }
            NewSlot::Exec { command } => {
                let way = Exec::new(command)?;
                let key = way.key().map_err(problem(SlotKind::Exec))?;
                Ok((Self::Exec(way), key))
            }
            NewSlot::Pkcs11(spec) => {
                let (token, key) = Token::new(spec, slot, given.surroundings)?;
                Ok((Self::Pkcs11(Box::new(token)), key))
            }
        }
    }

    /// The slot keys it comes to; more than one only while something changes, or if several
    /// passphrases are given. Each passphrase costs half a second.
    pub(super) fn keys(
        &self,
        slot: Uuid,
        folder: &Path,
        given: Given<'_>,
    ) -> Result<Vec<Secret>, KeyError> {
        let problem = |source| KeyError::Slot { slot, kind: self.kind(), source };
        let one = |key: Result<Secret, SlotProblem>| Ok(vec![key.map_err(problem)?]);
        match self {
            Self::File => file::read(folder),
            Self::Passphrase(_) if given.passphrases.is_empty() => {
                Err(problem(SlotProblem::NotGiven))
            }
            Self::Passphrase(stretch) => {
                given.passphrases.iter().map(|passphrase| stretch.key(passphrase)).collect()
            }
            Self::Credential(credential) => one(credential.key(given.surroundings)),
            Self::Exec(exec) => one(exec.key()),
            Self::Pkcs11(token) => one(token.key(slot, given.surroundings)),
            Self::Shares(_) if given.shares.is_empty() => Err(problem(SlotProblem::NotGiven)),
            Self::Shares(known) => {
                let ours: Vec<_> =
                    given.shares.iter().filter(|share| share.set() == known.set).collect();
                if ours.is_empty() {
                    return Err(KeyError::UnknownShares);
                }
                let combined = shares::combine(ours);
                Ok(vec![combined.map_err(|source| KeyError::Shares { source })?])
            }
        }
    }

    /// What to say when none of its keys opens the slot.
    pub(super) fn refusal(&self, slot: Uuid) -> KeyError {
        match self {
            Self::File => KeyError::WrongKeyFile { slot },
            Self::Passphrase(_) => KeyError::WrongPassphrase,
            Self::Credential(_) | Self::Shares(_) | Self::Exec(_) | Self::Pkcs11(_) => {
                KeyError::Slot { slot, kind: self.kind(), source: SlotProblem::WrongKey }
            }
        }
    }

    pub(super) fn kind(&self) -> SlotKind {
        match self {
            Self::File => SlotKind::File,
            Self::Passphrase(_) => SlotKind::Passphrase,
            Self::Credential(_) => SlotKind::Credential,
            Self::Shares(_) => SlotKind::Shares,
            Self::Exec(_) => SlotKind::Exec,
            Self::Pkcs11(_) => SlotKind::Pkcs11,
        }
    }

    /// What tells it apart from others of its kind, for people.
    pub(super) fn detail(&self) -> String {
        match self {
            Self::File | Self::Passphrase(_) => String::new(),
            Self::Credential(credential) => credential.name.clone(),
            Self::Shares(ShareSet { threshold, of, .. }) => format!("{threshold} of {of}"),
            Self::Exec(exec) => exec.program().to_owned(),
            Self::Pkcs11(token) => token.labels(),
        }
    }
}
