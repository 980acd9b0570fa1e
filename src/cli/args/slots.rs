//! The arguments of `recseal keys slots`, `keys rotate-root` and `keys unlock`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use uuid::Uuid;

#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the help text says it")]
pub enum Slots {
    /// List the slots
    List,
    /// Add a slot; it is opened once before it is stored
    Add {
        #[command(subcommand)]
        what: AddSlot,
    },
    /// Remove a slot; the last one cannot be removed
    Remove {
        /// Its id, as the list shows it
        id: Uuid,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Open a slot once more, and compare what it leads to with the root key in use
    Test {
        /// Its id, as the list shows it
        id: Uuid,
        #[command(flatten)]
        brought: Brought,
    },
}

#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the help text says it")]
pub enum AddSlot {
    /// A fresh root.key in the state folder: starts by itself
    File,
    /// A passphrase: opens the keys on any machine
    #[command(after_help = "Example:\n  recseal keys slots add passphrase")]
    Passphrase {
        /// Read it from a file; - is standard input
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Shares for several people, of whom some number suffices: open the keys on any machine
    #[command(after_help = "Example:\n  \
        recseal keys slots add shares --threshold 3 --of 5 -o /media/usb")]
    Shares {
        /// How many shares suffice
        #[arg(long, value_name = "K", default_value_t = 3)]
        threshold: u8,
        /// How many shares to make, at most 16
        #[arg(long, value_name = "N", default_value_t = 5)]
        of: u8,
        /// Folder for one file each; without it they are shown on the terminal
        #[arg(short, long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// A credential of systemd (LoadCredentialEncrypted=): starts by itself
    #[command(after_help = "Example:\n  recseal keys slots add credential recseal-root")]
    Credential {
        /// Its name in the unit
        name: String,
    },
    /// A command that prints 64 hexadecimal digits: starts by itself
    #[command(after_help = "Example:\n  \
        recseal keys slots add exec -- /usr/bin/clevis-luks-pass -d /dev/sda3")]
    Exec {
        /// Absolute path of the program, and its arguments; no shell, no secrets
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// A key on a PKCS#11 token, which never leaves it: starts by itself
    #[command(after_help = "Example:\n  \
        recseal keys slots add pkcs11 --module /usr/lib/softhsm/libsofthsm2.so --token recseal \\\n    \
        --key root --pin-credential token-pin --make-key")]
    Pkcs11(Pkcs11),
}

#[derive(Args, Debug)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct Pkcs11 {
    /// Absolute path of the token's library
    #[arg(long, value_name = "FILE")]
    pub module: String,
    /// Label of the token
    #[arg(long, value_name = "LABEL")]
    pub token: String,
    /// Label of the AES-256 key on it
    #[arg(long, value_name = "LABEL")]
    pub key: String,
    /// The file with the PIN, read at each start
    #[arg(long, value_name = "FILE", required_unless_present = "pin_credential")]
    pub pin_file: Option<String>,
    /// The systemd credential with the PIN, read at each start
    #[arg(long, value_name = "NAME", conflicts_with = "pin_file")]
    pub pin_credential: Option<String>,
    /// Make the key if the token has none with this label
    #[arg(long)]
    pub make_key: bool,
}

/// What people bring to open slots.
#[derive(Args, Debug, Default)]
pub struct Brought {
    /// A file with a passphrase; - is standard input; may be given again
    #[arg(long = "passphrase-file", value_name = "FILE")]
    pub passphrase_files: Vec<PathBuf>,
    /// A file with a share; give as many as it takes
    #[arg(long = "share-file", value_name = "FILE")]
    pub share_files: Vec<PathBuf>,
}

#[derive(Args, Debug)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct RotateRoot {
    #[command(flatten)]
    pub brought: Brought,
    /// Drop slots that do not open with what is given, instead of refusing
    #[arg(long)]
    pub drop_slots: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

#[derive(Args, Debug)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct Unlock {
    /// Read the passphrase from a file; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["share_files", "retry"])]
    pub passphrase_file: Option<PathBuf>,
    /// A file with a share; give as many as it takes
    #[arg(long = "share-file", value_name = "FILE", conflicts_with = "retry")]
    pub share_files: Vec<PathBuf>,
    /// Type shares instead of a passphrase
    #[arg(long, conflicts_with_all = ["passphrase_file", "share_files", "retry"])]
    pub shares: bool,
    /// Try the slots that need nobody once more, now
    #[arg(long)]
    pub retry: bool,
}
