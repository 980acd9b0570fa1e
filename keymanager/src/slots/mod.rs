//! Slots: the ways to the root key.
//!
//! ```text
//! something the slot has or asks for ─▶ slot key ─▶ opens the wrapped root key in slots.json
//! ```
//!
//! Each slot wraps the same root key under a key of its own, so adding or removing one touches
//! no data. `slots.json` holds one row for each: id, kind, what the kind needs (a salt, say),
//! the wrapped root key, and a key-check value derived from the root key, which makes sure that
//! a slot key leads to this root key and no other.
//!
//! A new slot is opened once before it is stored. Removing one also destroys the old table, but
//! a copy of it made earlier still opens with what the slot asked for; only a new root key
//! ([`rotate_root`](crate::KeyManager::rotate_root)) ends that.
//!
//! | kind | opens with | unattended | recovery |
//! |---|---|---|---|
//! | `file` | `root.key` in the folder | yes | |
//! | `credential` | what the service manager hands over | yes | |
//! | `pkcs11` | a key that a token never gives away | yes | |
//! | `exec` | what a command prints | yes | |
//! | `passphrase` | what someone remembers | | yes |
//! | `shares` | so many of those who hold a share | | yes |
//!
//! *If the power goes while the table is being replaced, which good copy is left?* The old or the
//! new one, whole. A `root.key` whose slot is gone is destroyed at the next start.

mod credential;
mod exec;
mod file;
mod passphrase;
mod pkcs11;
mod problem;
mod table;
mod way;

use std::path::{Path, PathBuf};

use uuid::Uuid;
use zeroize::Zeroizing;

use crate::hex;
use crate::secret::Secret;
use crate::shares::Share;

pub(crate) use passphrase::Cost;
pub use pkcs11::{PinSource, TokenKey};
pub use problem::SlotProblem;
pub(crate) use table::SlotTable;

/// What the program was started with, as far as slots open with it.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// The folder of credentials that the service manager made for this process.
    pub credentials: Option<PathBuf>,
}

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").field("credentials", &self.credentials.is_some()).finish()
    }
}

/// What to unlock the root key with.
pub enum Unlock {
    /// The root key file in the folder.
    File,
    /// Every slot that needs no person, one after the other.
    Unattended(Surroundings),
    /// A passphrase, typed or read from a credential; never from argv or the environment.
    Passphrase(Zeroizing<String>),
    /// Shares, as many as suffice.
    Shares(Vec<Share>),
}

impl std::fmt::Debug for Unlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Unlock {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Unattended(_) => "unattended",
            Self::File => SlotKind::File.as_str(),
            Self::Passphrase(_) => SlotKind::Passphrase.as_str(),
            Self::Shares(_) => SlotKind::Shares.as_str(),
        }
    }

    fn suits(&self, kind: SlotKind) -> bool {
        match self {
            Self::File => kind == SlotKind::File,
            Self::Unattended(_) => kind.is_unattended(),
            Self::Passphrase(_) => kind == SlotKind::Passphrase,
            Self::Shares(_) => kind == SlotKind::Shares,
        }
    }

    fn given(&self) -> Given<'_> {
        let mut given = Given { surroundings: &NOWHERE, passphrases: &[], shares: &[] };
        match self {
            Self::File => {}
            Self::Unattended(surroundings) => given.surroundings = surroundings,
            Self::Passphrase(passphrase) => given.passphrases = std::slice::from_ref(passphrase),
            Self::Shares(shares) => given.shares = shares,
        }
        given
    }
}

/// Everything that may be needed to open slots of several kinds at once.
#[derive(Default)]
pub struct Means {
    /// For unattended slots.
    pub surroundings: Surroundings,
    /// For passphrase slots.
    pub passphrases: Vec<Zeroizing<String>>,
    /// For slots of shares, of one set or several.
    pub shares: Vec<Share>,
}

impl std::fmt::Debug for Means {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { surroundings, passphrases, shares } = self;
        f.debug_struct("Means")
            .field("surroundings", surroundings)
            .field("passphrases", &passphrases.len())
            .field("shares", shares)
            .finish()
    }
}

impl Means {
    pub(crate) fn given(&self) -> Given<'_> {
        let Self { surroundings, passphrases, shares } = self;
        Given { surroundings, passphrases, shares }
    }
}

/// [`Means`], borrowed.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a> {
    surroundings: &'a Surroundings,
    passphrases: &'a [Zeroizing<String>],
    shares: &'a [Share],
}

/// An unattended slot that is to be made.
#[derive(Clone, Debug)]
pub enum NewSlot {
    /// A fresh `root.key` in the folder; there can be one.
    File,
    /// A credential of the service manager.
    Credential {
        /// Its name.
        name: String,
    },
    /// A command that prints 64 hexadecimal digits.
    Exec {
        /// Absolute path of the program, and its arguments.
        command: Vec<String>,
    },
    /// A key on a PKCS#11 token.
    Pkcs11(TokenKey),
}

/// The kinds of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotKind {
    /// A key file in the state folder.
    File,
    /// A passphrase.
    Passphrase,
    /// A credential of the service manager.
    Credential,
    /// Shares in the hands of several people.
    Shares,
    /// A command that prints the key.
    Exec,
    /// A key on a PKCS#11 token.
    Pkcs11,
}

impl SlotKind {
    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Passphrase => "passphrase",
            Self::Credential => "credential",
            Self::Shares => "shares",
            Self::Exec => "exec",
            Self::Pkcs11 => "pkcs11",
        }
    }

    /// True if the program can start with it while nobody is there.
    pub fn is_unattended(self) -> bool {
        match self {
            Self::File | Self::Credential | Self::Exec | Self::Pkcs11 => true,
            Self::Passphrase | Self::Shares => false,
        }
    }

    /// True if it opens on another machine, with the state folder's backup alone.
    pub fn is_recovery(self) -> bool {
        match self {
            Self::File | Self::Credential | Self::Exec | Self::Pkcs11 => false,
            Self::Passphrase | Self::Shares => true,
        }
    }
}

/// One slot, as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotInfo {
    /// Its id.
    pub id: Uuid,
    /// Its kind.
    pub kind: SlotKind,
    /// What tells it apart from others of its kind: a credential's name, `3 of 5`.
    pub detail: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
    /// [`SlotKind::is_recovery`].
    pub is_recovery: bool,
    /// [`SlotKind::is_unattended`].
    pub unattended: bool,
}

/// The files of this module that nobody else may read.
pub(crate) fn private_files(folder: &Path) -> [(&'static str, PathBuf); 2] {
    [("root.key", file::path(folder)), ("slots.json", table::path(folder))]
}

/// The key in what a source gave: 64 hexadecimal digits, in any case and with white space around
/// them, or 32 bytes.
fn key_in(bytes: &[u8]) -> Option<Secret> {
    let digits = std::str::from_utf8(bytes).ok().map(|text| Zeroizing::new(text.trim().to_owned()));
    let decoded = digits.filter(|text| text.len() == 64).and_then(|mut text| {
        text.make_ascii_lowercase();
        hex::decode(&text)
    });
    let key = decoded.as_ref().map_or(bytes, |decoded| decoded.as_slice());
    Some(Secret::from_bytes(key.try_into().ok()?))
}

/// A process that was given nothing.
static NOWHERE: Surroundings = Surroundings { credentials: None };
