//! The arguments of `recseal keys`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use keymanager::SealAlgorithm;
use uuid::Uuid;

use super::Out;
use super::keks::Keks;
use super::slots::{RotateRoot, Slots, Unlock};

#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the help text says it")]
pub enum Keys {
    #[command(flatten)]
    Versions(Keks),
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
    /// Seal keys: public keys that a store may seal to, so that only others can open
    #[command(after_help = "Examples:\n  \
        recseal keys seal-keys generate -o archive.private     (on the machine that will open)\n  \
        recseal keys seal-keys add archive archive.private.pub (on the recording server)\n  \
        then in the configuration: seal_to = \"archive\" in [[store]]")]
    SealKeys {
        #[command(subcommand)]
        what: SealKeys,
    },
}

#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the help text says it")]
pub enum SealKeys {
    /// Make a key pair; works without a daemon, on the machine that will open recordings
    ///
    /// Writes FILE, protected by a passphrase, and FILE.pub, which goes to the recording servers.
    #[command(after_help = "Example:\n  \
        recseal keys seal-keys generate -o archive.private --algorithm x-wing")]
    Generate {
        #[command(flatten)]
        out: Out,
        /// x25519, or x-wing, which also holds against quantum computers
        #[arg(long, value_name = "NAME", default_value = "x25519", value_parser = algorithm)]
        algorithm: SealAlgorithm,
        /// The passphrase is the first line of this file, - is standard input [default: asked for]
        #[arg(long, value_name = "FILE", visible_alias = "password-file")]
        passphrase_file: Option<PathBuf>,
        /// No passphrase: whoever reads the file can open everything
        #[arg(long, conflicts_with = "passphrase_file")]
        unprotected: bool,
    },
    /// Add a public key under a name that stores can seal to
    Add(SealKeyFile),
    /// List names, versions and how many data keys need each
    List,
    /// Save the public key of a name, announced by this server's signing key
    Public {
        name: String,
        #[command(flatten)]
        out: Out,
    },
    /// Seal to another public key from now on; what was sealed before keeps its key
    Rotate(SealKeyFile),
    /// Seal nothing to it for now; recordings of its stores wait IN CLEAR meanwhile
    Disable {
        name: String,
        /// Do it
        #[arg(long)]
        yes: bool,
    },
    /// Seal to it again
    Enable { name: String },
}

#[derive(Args, Debug)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct SealKeyFile {
    /// Its name, as in seal_to
    pub name: String,
    /// The public key file
    pub public: PathBuf,
    /// Refuse it unless one of these signing keys announced it (from `keys public` over there)
    #[arg(long, value_name = "FILE")]
    pub announced_by: Option<PathBuf>,
}

fn algorithm(text: &str) -> Result<SealAlgorithm, String> {
    SealAlgorithm::from_name(text).ok_or_else(|| "take x25519 or x-wing".to_owned())
}
