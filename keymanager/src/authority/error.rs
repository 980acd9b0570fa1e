//! What the authority refuses, and what to do about it.

use super::AuthorityState;

/// Why the authority refuses. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Nobody has made one.
    #[error("there is no internal certificate authority")]
    None,
    /// There is one.
    #[error("there is an internal certificate authority already")]
    Exists,
    /// A successor waits already.
    #[error("issuing authority {number} is prepared already")]
    AlreadyPrepared {
        /// The one that waits.
        number: u32,
    },
    /// Nothing to activate.
    #[error("no issuing authority is prepared")]
    NonePrepared,
    /// No issuing authority has this number.
    #[error("there is no issuing authority {number}")]
    Unknown {
        /// The number asked for.
        number: u32,
    },
    /// Its state does not allow that.
    #[error("issuing authority {number} is {}", state.as_str())]
    WrongState {
        /// Which.
        number: u32,
        /// Its state.
        state: AuthorityState,
    },
    /// Not a name for a client.
    #[error("a client's name has 1 to {max} letters, digits, dots, hyphens and underscores")]
    BadClientName {
        /// Longest.
        max: usize,
    },
    /// Longer or shorter than certificates of clients live.
    #[error("a client's certificate lives for {min_minutes} minutes to {max_days} days")]
    BadLifetime {
        /// Shortest.
        min_minutes: u64,
        /// Longest.
        max_days: u64,
    },
    /// Neither PEM nor DER, too long, or its signature does not fit.
    #[error("the signing request is damaged")]
    RequestDamaged,
    /// A key that we do not certify.
    #[error("the signing request is for a key of another kind")]
    RequestKey,
    /// The list of issued certificates is full.
    #[error("{max} certificates are valid at the same time already")]
    LedgerFull {
        /// The limit.
        max: usize,
    },
    /// No valid certificate of ours has this serial.
    #[error("no valid certificate has this serial")]
    UnknownSerial,
    /// It was revoked before.
    #[error("this certificate is revoked already")]
    AlreadyRevoked,
}

impl AuthorityError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::None => "make one with `recseal certs ca create`",
            Self::Exists => "`recseal certs ca show` shows it; `ca prepare` replaces its keys",
            Self::AlreadyPrepared { .. } => "use it with `recseal certs ca activate`",
            Self::NonePrepared => "prepare one with `recseal certs ca prepare`",
            Self::Unknown { .. } => "`recseal certs ca show` lists them",
            Self::WrongState { .. } => {
                "only active and old ones are tainted, and only tainted ones revoked; \
                 `recseal certs ca show` lists them"
            }
            Self::BadClientName { .. } => {
                "name the program or host, as prometheus or rec-7.example"
            }
            Self::BadLifetime { .. } => "take --days 1 to 90; a short life needs no revocation",
            Self::RequestDamaged => {
                "make it anew: openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
                 -nodes -subj /CN=client -keyout client.key -out client.csr"
            }
            Self::RequestKey => {
                "take a key on P-256 or P-384, Ed25519, or RSA of 2048 bits or more"
            }
            Self::LedgerFull { .. } => "let short-lived ones expire, or issue fewer",
            Self::UnknownSerial => "`recseal certs issued` lists them; expired ones are forgotten",
            Self::AlreadyRevoked => "nothing is left to do",
        }
    }
}
