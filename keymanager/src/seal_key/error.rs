//! What can go wrong with seal keys, told by ids and line numbers, never by what a file says.

use uuid::Uuid;

use super::SealKeyId;

/// Why a seal key, or what is sealed to one, was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealKeyError {
    /// Something else.
    #[error("this is not a {wanted}")]
    NotOne {
        /// What was asked for.
        wanted: &'static str,
    },
    /// A version that this program does not know.
    #[error("this {wanted} has a version that this program does not know")]
    UnsupportedVersion {
        /// What was asked for.
        wanted: &'static str,
    },
    /// A line is missing, too much, or not what it should be.
    #[error("line {line} of the {wanted} is wrong")]
    Malformed {
        /// What was asked for.
        wanted: &'static str,
        /// Counted from 1; 0 if the file as a whole is too long.
        line: usize,
    },
    /// The lines do not fit their check digits or their key id.
    #[error("the check digits of the {wanted} do not fit: a character was changed")]
    WrongCheck {
        /// What was asked for.
        wanted: &'static str,
    },
    /// The announcement of a public key was not signed by any of the given signing keys.
    #[error("the seal key is not announced by a signing key that is trusted here")]
    NotAnnounced,
    /// The private key is protected and no passphrase was given.
    #[error("the private key is protected by a passphrase")]
    NeedsPassphrase,
    /// It is another one, or the file is damaged; nothing can tell the two apart.
    #[error("the passphrase does not open the private key")]
    WrongPassphrase,
    /// What protects the private key costs more than this program pays.
    #[error("opening the private key would cost an absurd amount of memory or time")]
    AbsurdCost,
    /// A new passphrase is too short or too long.
    #[error("a passphrase needs {min_bytes} to {max_bytes} bytes")]
    PassphraseLength {
        /// Shortest.
        min_bytes: usize,
        /// Longest.
        max_bytes: usize,
    },
    /// It has the form of a public key, and nothing can be sealed to it.
    #[error("nothing can be sealed to this public key")]
    WeakPublicKey,

    /// Not the form of a sealed data key.
    #[error("a sealed data key of {actual_bytes} bytes cannot be read")]
    MalformedDataKey {
        /// Its length.
        actual_bytes: usize,
    },
    /// The private key is that of another seal key.
    #[error("this is the private key {given}, and seal key {needed} is needed")]
    OtherSealKey {
        /// What it is sealed to.
        needed: SealKeyId,
        /// What was given.
        given: SealKeyId,
    },
    /// The key file is for another sealed file.
    #[error("the key file does not hold data key {data_key}")]
    OtherSealedFile {
        /// What the sealed file names.
        data_key: Uuid,
    },
    /// The sealed data key is another recording's, or damaged; nothing can tell the two apart.
    #[error("the sealed data key is damaged or not that of recording {recording}")]
    Open {
        /// The recording asked for.
        recording: Uuid,
    },

    /// A name that no seal key can have.
    #[error("a seal key needs a name of 1 to {max} lower-case letters, digits, dots and dashes")]
    BadName {
        /// Most characters.
        max: usize,
    },
    /// There is none of this name.
    #[error("there is no seal key of that name")]
    UnknownName,
    /// There is one of this name already.
    #[error("there is a seal key of that name already")]
    NameTaken,
    /// This public key is known, under this or another name.
    #[error("the public key {id} is known already")]
    KeyTaken {
        /// Which one.
        id: SealKeyId,
    },
    /// Nothing may be sealed to it for now.
    #[error("the seal key is disabled")]
    Disabled,
    /// No more names, or no more versions of one.
    #[error("there are {max} seal keys or versions of one already")]
    TooMany {
        /// The limit.
        max: usize,
    },
}
