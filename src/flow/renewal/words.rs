//! The words in which renewals are planned and told.

use keymanager::renewal::{FailureClass, HoldReason, Reason, Window};

use crate::clock::Timestamp;

/// Who renews the certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// A self-signed one renews itself; one from elsewhere is left alone.
    #[default]
    Auto,
    /// Always self-signed.
    SelfSigned,
    /// Files that somebody else renews.
    Files,
    /// The internal authority of this key store.
    InternalCa,
    /// An authority that speaks ACME.
    Acme,
}

/// What the administrator decided about the certificate.
#[derive(Clone, Debug, Default)]
pub struct CertificatePlan {
    /// Who renews it.
    pub origin: Origin,
    /// Names it must have; empty: those it was first made for.
    pub names: Vec<String>,
    /// The time of day for renewals that are not urgent.
    pub window: Option<Window>,
    /// A chain to a root that this host does not know may be used.
    pub allow_private: bool,
}

/// Why a renewal failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalFailure {
    /// Stable word.
    pub code: String,
    /// How it bears on the next try.
    pub class: FailureClass,
    /// What happened, without paths.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// How long the authority wants to be left alone, in milliseconds.
    pub retry_after_ms: Option<i64>,
}

/// What a look at the certificate ended in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tended {
    /// Nothing to do; `None`: others renew its files.
    Good {
        /// When it falls due.
        until: Option<Timestamp>,
    },
    /// A person brought it, and nothing is configured that could renew it.
    ByNobody,
    /// It is due but not now.
    Held {
        /// Why not.
        reason: HoldReason,
        /// Until when.
        until: Timestamp,
    },
    /// A new one serves.
    Renewed,
    /// Somebody must be asked over the network; the caller does that.
    Wanted {
        /// Why.
        reason: Reason,
    },
    /// It did not work; the old one serves on.
    Failed(RenewalFailure),
}

/// How renewals are going, for status and metrics.
#[derive(Clone, Debug, Default)]
pub struct RenewalStatus {
    /// When the next one is planned, if somebody renews at all.
    pub next: Option<Timestamp>,
    /// Failures in a row.
    pub failures: u32,
    /// When the next try may be, after a failure.
    pub retry_at: Option<Timestamp>,
    /// What the last failure was called.
    pub last_code: Option<String>,
    /// The last success.
    pub last_success: Option<Timestamp>,
    /// Successes since start.
    pub renewed: u64,
    /// Failures since start.
    pub failed: u64,
    /// True while the clock is not believed.
    pub clock_suspect: bool,
    /// Whether the listener really serves what is stored; `None` until it was asked.
    pub served_matches: Option<bool>,
}
