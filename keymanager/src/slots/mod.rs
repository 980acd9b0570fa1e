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
//! a copy of it made earlier still opens with what the slot asked for.
//!
//! *If the power goes while the table is being replaced, which good copy is left?* The old or the
//! new one, whole. A `root.key` whose slot is gone is destroyed at the next start.

mod file;
mod passphrase;
mod table;

use std::path::{Path, PathBuf};

use uuid::Uuid;
use zeroize::Zeroizing;

pub(crate) use passphrase::Cost;
pub(crate) use table::SlotTable;

/// What to unlock the root key with.
pub enum Unlock {
    /// The root key file in the folder.
    File,
    /// A passphrase, typed or read from a credential; never from argv or the environment.
    Passphrase(Zeroizing<String>),
}

impl std::fmt::Debug for Unlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind().as_str())
    }
}

impl Unlock {
    fn kind(&self) -> SlotKind {
        match self {
            Self::File => SlotKind::File,
            Self::Passphrase(_) => SlotKind::Passphrase,
        }
    }
}

/// The kinds of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotKind {
    /// A key file in the state folder.
    File,
    /// A passphrase.
    Passphrase,
}

impl SlotKind {
    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Passphrase => "passphrase",
        }
    }

    /// True if the program can start with it while nobody is there.
    pub fn is_unattended(self) -> bool {
        match self {
            Self::File => true,
            Self::Passphrase => false,
        }
    }

    /// True if it opens on another machine, with the state folder's backup alone.
    pub fn is_recovery(self) -> bool {
        match self {
            Self::File => false,
            Self::Passphrase => true,
        }
    }
}

/// One slot, as it may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotInfo {
    /// Its id.
    pub id: Uuid,
    /// Its kind.
    pub kind: SlotKind,
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
