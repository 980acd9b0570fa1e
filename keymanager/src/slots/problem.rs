//! What is the matter with the thing that a slot opens with.

use std::io;

/// Why one slot does not open. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SlotProblem {
    /// It needs a person, and nobody brought it along.
    #[error("what it asks for was not given")]
    NotGiven,
    /// Whole, but not the key this slot was made with.
    #[error("what its source gives is not its key")]
    WrongKey,
    /// Not 64 hexadecimal digits or 32 bytes.
    #[error("its source does not give 64 hexadecimal digits or 32 bytes")]
    Malformed,
    /// Not started by a service manager that hands over credentials.
    #[error("this process was given no credentials")]
    NoCredentials,
    /// The credential cannot be read.
    #[error("its credential cannot be read")]
    Credential(#[source] io::Error),
    /// The command cannot be run.
    #[error("its command cannot be run")]
    Spawn(#[source] io::Error),
    /// The command says that it failed.
    #[error("its command ended with {status}")]
    Status {
        /// Exit code or signal, in words.
        status: String,
    },
    /// The command did not end.
    #[error("its command took longer than {limit_s} seconds and was killed")]
    TimedOut {
        /// The limit.
        limit_s: u64,
    },
    /// The command printed and printed.
    #[error("its command printed more than {max_bytes} bytes and was killed")]
    TooMuch {
        /// The limit.
        max_bytes: usize,
    },
    /// This build cannot speak to tokens.
    #[error("this program was built without PKCS#11")]
    NotBuilt,
    /// The module does not load or start.
    #[error("the PKCS#11 module does not work: {why}")]
    Module {
        /// Its word.
        why: String,
    },
    /// No token has the label.
    #[error("the token is not there")]
    NoToken,
    /// The PIN is wrong, or locked by wrong ones.
    #[error("the token refuses the PIN: {why}")]
    Pin {
        /// Its word.
        why: String,
    },
    /// The token has no such key.
    #[error("the token holds no AES key with this label")]
    NoKey,
    /// The token failed in another way.
    #[error("the token failed: {why}")]
    Token {
        /// Its word.
        why: String,
    },
}

impl SlotProblem {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotGiven => {
                "give the passphrase with --passphrase-file, shares with --share-file"
            }
            Self::WrongKey => "put the right key back, or remove this slot and add a new one",
            Self::Malformed => "64 hexadecimal digits: `openssl rand -hex 32` makes some",
            Self::NoCredentials => "start it by systemd with LoadCredentialEncrypted= in the unit",
            Self::Credential(_) => "compare the name in the unit with that of the slot",
            Self::Spawn(_) => "check that the command is there and that the service may run it",
            Self::Status { .. } | Self::TimedOut { .. } | Self::TooMuch { .. } => {
                "run the command by hand as the service's user: it must print 64 hexadecimal digits"
            }
            Self::NotBuilt => "install the build with PKCS#11, or add another slot",
            Self::Module { .. } => "check the path of the module, and its own configuration",
            Self::NoToken => "plug it in, or start its server; then `recseal keys unlock --retry`",
            Self::Pin { .. } => "check the file or credential with the PIN before tokens lock it",
            Self::NoKey => "restore the key from the token's backup, or add another slot",
            Self::Token { .. } => "see the token's own log; then `recseal keys slots test ID`",
        }
    }
}
