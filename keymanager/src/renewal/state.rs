//! What the renewal engine keeps in the store.

use serde::{Deserialize, Serialize};

use crate::acme::{AcmeAccount, AcmeOrder};
use crate::renewal::{AriPick, Attempts};

/// Kept with the keys, because an account is a key and an order waits for one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RenewalState {
    pub(crate) attempts: Attempts,
    pub(crate) suggestion: Option<AriPick>,
    /// At most [`ACCOUNTS_MAX`], the one used last at the end.
    pub(crate) accounts: Vec<AcmeAccount>,
    pub(crate) order: Option<AcmeOrder>,
    /// The latest moment that was ever believed, in milliseconds since 1970.
    pub(crate) clock_high_ms: i64,
}

/// Authorities whose accounts are remembered.
pub(crate) const ACCOUNTS_MAX: usize = 8;
