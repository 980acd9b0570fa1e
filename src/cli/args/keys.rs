//! The arguments of `recseal keys`.

use clap::Subcommand;
use uuid::Uuid;

use super::Out;
use super::slots::{RotateRoot, Slots, Unlock};

#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the help text says it")]
pub enum Keys {
    /// Save the key of one recording (audited; whoever has it can open every copy)
    Export {
        id: Uuid,
        #[command(flatten)]
        out: Out,
    },
    /// Save the public signing keys, which prove audit trails and certificates
    Public {
        #[command(flatten)]
        out: Out,
    },
    /// List, add, remove and test the ways to the root key
    #[command(after_help = "Examples:\n  \
        recseal keys slots list\n  \
        recseal keys slots add passphrase\n  \
        recseal keys slots add shares --threshold 3 --of 5 -o /media/usb\n  \
        recseal keys slots test 0192f0c8-7a3b-7c4d-8e5f-123456789abc")]
    Slots {
        #[command(subcommand)]
        what: Slots,
    },
    /// Replace the root key: every slot leads to a new one, and old generations are destroyed
    #[command(after_help = "Example, with one passphrase slot:\n  \
        recseal keys rotate-root --passphrase-file /run/p")]
    RotateRoot(RotateRoot),
    /// Open the keys of a daemon that started locked
    ///
    /// Asks for the passphrase unless it is given otherwise. Ask the daemon what it waits for
    /// with `recseal status`.
    #[command(after_help = "Examples:\n  \
        recseal keys unlock\n  \
        recseal keys unlock --share-file anna.txt --share-file ben.txt --share-file cleo.txt")]
    Unlock(Unlock),
}
