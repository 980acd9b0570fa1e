//! The internal certificate authority: a root, issuing authorities below it, and what they issued.
//!
//! ```text
//! root 1 (P-384, 10 years) ─ certifies ─▶ root 2's key (cross-certificate)
//!   ├─ issuing 1 (P-256, 2 years)           └─ issuing 3
//!   └─ issuing 2                                 └─ clients (≤ 90 days), this server (30 days)
//!
//! prepared ─▶ active ─▶ old ─────┐        prepared  in the bundle, signs nothing yet
//!                │               ├─▶ gone  active    signs; exactly one
//!                └─▶ tainted ─▶ revoked    old       signs nothing, what it signed is accepted
//!                                          tainted   the same, and should be replaced soon
//!                                          revoked   not accepted any more
//! ```
//!
//! A successor is prepared 30 days before the end (half of the lifetime, if that is shorter) and
//! activated 7 days before it (a sixth). A root that would end before a whole issuing authority
//! gets a successor first, cross-certified, so that a client with only the older root goes on
//! trusting us. An older root stays in the bundle until nothing below it lives.
//!
//! # Invariants
//!
//! - Exactly one issuing authority is active.
//! - Nothing outlives its issuer.
//! - Pure but for random keys: time comes in, and whoever calls stores and publishes the result.

mod error;
mod issue;
mod request;
mod signer;
mod template;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::error::KeyError;
use crate::hex::{self, HexBytes};
use crate::revocation::{Crl, Ledger, RevocationReason};

use signer::{Curve, Signer};
use template::Validity;

pub use error::AuthorityError;
pub use issue::ClientKey;
pub(crate) use issue::{IssuedChain, to_pem};
pub(crate) use template::CLIENT_URI;

/// Where in its life an authority is. The names are stored and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthorityState {
    /// Clients learn to trust it; it signs nothing yet.
    Prepared,
    /// It signs.
    Active,
    /// It signs nothing more; what it signed is accepted.
    Old,
    /// Somebody else may know its key. What it signed is accepted until it is revoked.
    Tainted,
    /// Nothing that it signed is accepted.
    Revoked,
}

impl AuthorityState {
    /// The name that people see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Active => "active",
            Self::Old => "old",
            Self::Tainted => "tainted",
            Self::Revoked => "revoked",
        }
    }
}

/// The authority of one store. Part of what is sealed there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Authority {
    /// In every name, so that two servers' authorities are not taken for each other.
    tag: String,
    /// Oldest first, never empty.
    roots: Vec<Root>,
    /// Oldest first.
    issuers: Vec<IssuingAuthority>,
    pub(crate) ledger: Ledger,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Root {
    number: u32,
    /// PKCS#8. None once a younger root exists: it has nothing left to sign.
    key: Option<HexBytes>,
    certificate: HexBytes,
    /// This root's key, certified by the root before it; with that root's number.
    cross: Option<(u32, HexBytes)>,
    not_after_ms: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuingAuthority {
    number: u32,
    root: u32,
    state: AuthorityState,
    /// PKCS#8. None once revoked.
    key: Option<HexBytes>,
    certificate: HexBytes,
    not_before_ms: i64,
    not_after_ms: i64,
    crl: Option<Crl>,
}

/// One issuing authority, as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuingInfo {
    /// Its number, from 1.
    pub number: u32,
    /// The number of its root.
    pub root: u32,
    /// Where in its life it is.
    pub state: AuthorityState,
    /// Valid from, in milliseconds since 1970.
    pub not_before_ms: i64,
    /// Valid until.
    pub not_after_ms: i64,
    /// When a successor is prepared.
    pub prepare_ms: i64,
    /// When the successor takes over.
    pub activate_ms: i64,
    /// When its revocation list ends, if it has one.
    pub crl_until_ms: Option<i64>,
}

/// What a look at the calendar did to the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorityChange {
    /// A successor is in the bundle now.
    Prepared {
        /// Its number.
        number: u32,
    },
    /// It signs from now on.
    Activated {
        /// Its number.
        number: u32,
    },
    /// Everything it signed is over, so it is gone.
    Forgotten {
        /// Its number.
        number: u32,
    },
}

impl Authority {
    /// A root and an issuing authority, active at once.
    pub(crate) fn create(now_ms: i64) -> Result<Self, KeyError> {
        let mut tag = [0; 4];
        aws_lc_rs::rand::fill(&mut tag).expect("the random generator of this machine works");
        let mut authority = Self {
            tag: hex::encode(&tag).to_string(),
            roots: Vec::new(),
            issuers: Vec::new(),
            ledger: Ledger::default(),
        };
        authority.add_root(now_ms, false)?;
        authority.add_issuer(now_ms)?;
        authority.activate(now_ms)?;
        Ok(authority)
    }

    /// Makes a successor, and a new root if the present one would end before it.
    pub(crate) fn prepare(&mut self, now_ms: i64) -> Result<u32, KeyError> {
        if let Some(number) = self.in_state(AuthorityState::Prepared) {
            return Err(AuthorityError::AlreadyPrepared { number }.into());
        }
        let left_ms = self.newest_root().not_after_ms.saturating_sub(now_ms);
        if left_ms < ISSUING_MS {
            self.add_root(now_ms, left_ms > 0)?;
        }
        self.add_issuer(now_ms)
    }

    /// Lets the prepared one sign; the active one becomes old.
    pub(crate) fn activate(&mut self, now_ms: i64) -> Result<u32, KeyError> {
        let number = self.in_state(AuthorityState::Prepared).ok_or(AuthorityError::NonePrepared)?;
        for issuer in &mut self.issuers {
            match issuer.state {
                AuthorityState::Prepared => issuer.state = AuthorityState::Active,
                AuthorityState::Active => issuer.state = AuthorityState::Old,
                AuthorityState::Old | AuthorityState::Tainted | AuthorityState::Revoked => {}
            }
        }
        self.refresh_crls(now_ms, true)?;
        Ok(number)
    }

    /// Somebody else may know the keys: the root of `number` and everything below it is tainted,
    /// and a new root takes over that the tainted one does not vouch for.
    pub(crate) fn taint(&mut self, number: u32, now_ms: i64) -> Result<u32, KeyError> {
        let issuer = self.issuer(number)?;
        let (state, root) = (issuer.state, issuer.root);
        if !matches!(state, AuthorityState::Active | AuthorityState::Old) {
            return Err(AuthorityError::WrongState { number, state }.into());
        }
        let is_in_use = self.active().is_some_and(|active| active.root == root);
        self.issuers
            .retain(|issuer| issuer.root != root || issuer.state != AuthorityState::Prepared);
        for issuer in self.issuers.iter_mut().filter(|issuer| issuer.root == root) {
            if issuer.state != AuthorityState::Revoked {
                issuer.state = AuthorityState::Tainted;
            }
        }
        for other in &mut self.roots {
            if other.number == root {
                other.key = None;
            }
            if other.cross.as_ref().is_some_and(|(by, _)| *by == root) {
                other.cross = None;
            }
        }
        if is_in_use {
            if self.in_state(AuthorityState::Prepared).is_none() {
                self.add_root(now_ms, false)?;
                self.add_issuer(now_ms)?;
            }
            self.activate(now_ms)?;
        }
        Ok(self.active().map_or(0, |active| active.number))
    }

    /// Ends the tainted root of `number`: nothing below it is accepted any more.
    pub(crate) fn revoke(&mut self, number: u32) -> Result<(), KeyError> {
        let issuer = self.issuer(number)?;
        let (state, root) = (issuer.state, issuer.root);
        if state != AuthorityState::Tainted {
            return Err(AuthorityError::WrongState { number, state }.into());
        }
        for issuer in self.issuers.iter_mut().filter(|issuer| issuer.root == root) {
            (issuer.state, issuer.key, issuer.crl) = (AuthorityState::Revoked, None, None);
        }
        Ok(())
    }

    /// Does what is due at `now_ms`: prepares, activates, forgets, writes revocation lists anew.
    /// Tells what changed, and whether the lists did.
    pub(crate) fn tend(&mut self, now_ms: i64) -> Result<(Vec<AuthorityChange>, bool), KeyError> {
        let mut changes = Vec::new();
        let active = self.active().ok_or(INCONSISTENT)?;
        let (prepare_ms, activate_ms) = due(active.not_before_ms, active.not_after_ms);
        if now_ms >= prepare_ms && self.in_state(AuthorityState::Prepared).is_none() {
            changes.push(AuthorityChange::Prepared { number: self.prepare(now_ms)? });
        }
        if now_ms >= activate_ms {
            changes.push(AuthorityChange::Activated { number: self.activate(now_ms)? });
        }
        let is_over = |issuer: &IssuingAuthority| {
            issuer.not_after_ms <= now_ms && issuer.state != AuthorityState::Active
        };
        for issuer in self.issuers.iter().filter(|issuer| is_over(issuer)) {
            changes.push(AuthorityChange::Forgotten { number: issuer.number });
        }
        self.issuers.retain(|issuer| !is_over(issuer));
        let issuers = &self.issuers;
        self.roots.retain(|root| issuers.iter().any(|issuer| issuer.root == root.number));
        let is_pruned = self.ledger.prune(now_ms);
        let is_renewed = self.refresh_crls(now_ms, false)?;
        Ok((changes, is_renewed || is_pruned))
    }

    /// Ends one certificate. Its issuer's revocation list is written anew.
    pub(crate) fn revoke_certificate(
        &mut self,
        serial: &str,
        reason: RevocationReason,
        now_ms: i64,
    ) -> Result<(), KeyError> {
        self.ledger.revoke(serial, reason, now_ms)?;
        self.refresh_crls(now_ms, true)?;
        Ok(())
    }

    /// The issuing authorities, oldest first.
    pub(crate) fn infos(&self) -> Vec<IssuingInfo> {
        let info = |issuer: &IssuingAuthority| {
            let (prepare_ms, activate_ms) = due(issuer.not_before_ms, issuer.not_after_ms);
            IssuingInfo {
                number: issuer.number,
                root: issuer.root,
                state: issuer.state,
                not_before_ms: issuer.not_before_ms,
                not_after_ms: issuer.not_after_ms,
                prepare_ms,
                activate_ms,
                crl_until_ms: issuer.crl.as_ref().map(|crl| crl.until_ms),
            }
        };
        self.issuers.iter().map(info).collect()
    }

    /// DER of the roots that clients should trust, newest first.
    pub(crate) fn bundle(&self) -> Vec<&[u8]> {
        let accepted = |root: &&Root| {
            let mut below = self.issuers.iter().filter(|issuer| issuer.root == root.number);
            below.any(|issuer| issuer.state != AuthorityState::Revoked)
        };
        let roots = self.roots.iter().rev().filter(accepted);
        roots.map(|root| root.certificate.as_bytes()).collect()
    }

    /// DER of the issuing authorities whose clients are accepted, each with its revocation list.
    pub(crate) fn accepted(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.issuers.iter().rev().filter_map(|issuer| {
            let crl = issuer.crl.as_ref().filter(|_| issuer.is_accepted())?;
            Some((issuer.certificate.as_bytes(), crl.der.as_bytes()))
        })
    }

    /// True if `issuer`, a common name, is that of one of our issuing authorities.
    pub(crate) fn is_ours(&self, issuer: &str) -> bool {
        issuer.strip_prefix(ISSUING_NAME).is_some_and(|rest| rest.starts_with(&self.tag))
    }

    /// True if what authority `number` signed is accepted.
    pub(crate) fn accepts(&self, number: u32) -> bool {
        self.issuer(number).is_ok_and(IssuingAuthority::is_accepted)
    }

    /// True if every rule holds that this module keeps.
    pub(crate) fn check(&self) -> Result<(), KeyError> {
        let actives = self.issuers.iter().filter(|i| i.state == AuthorityState::Active).count();
        let rooted =
            self.issuers.iter().all(|i| self.roots.iter().any(|root| root.number == i.root));
        if actives == 1 && rooted { Ok(()) } else { Err(INCONSISTENT) }
    }

    fn add_root(&mut self, now_ms: i64, is_vouched_for: bool) -> Result<(), KeyError> {
        let number = self.roots.last().map_or(1, |root| root.number + 1);
        let name = self.root_name(number);
        let (signer, key) = Signer::generate(Curve::P384);
        let validity = Validity::new(now_ms, ROOT_MS, i64::MAX);
        let root = template::write_authority(&name, &signer, validity, (&name, &signer))?;
        let mut cross = None;
        if let Some(before) = self.roots.last().filter(|_| is_vouched_for)
            && let Some(old_key) = &before.key
        {
            let (by, by_name) =
                (Signer::load(Curve::P384, old_key)?, self.root_name(before.number));
            let validity = Validity::new(now_ms, ROOT_MS, before.not_after_ms);
            let written = template::write_authority(&name, &signer, validity, (&by_name, &by))?;
            cross = Some((before.number, written.der));
        }
        for older in &mut self.roots {
            older.key = None;
        }
        self.roots.push(Root {
            number,
            key: Some(key),
            certificate: root.der,
            cross,
            not_after_ms: validity.not_after_ms,
        });
        Ok(())
    }

    fn add_issuer(&mut self, now_ms: i64) -> Result<u32, KeyError> {
        let number = self.issuers.last().map_or(1, |issuer| issuer.number + 1);
        let root = self.newest_root();
        let by = Signer::load(Curve::P384, root.key.as_ref().ok_or(INCONSISTENT)?)?;
        let validity = Validity::new(now_ms, ISSUING_MS, root.not_after_ms);
        let (signer, key) = Signer::generate(Curve::P256);
        let by = (&*self.root_name(root.number), &by);
        let written = template::write_authority(&self.issuing_name(number), &signer, validity, by)?;
        self.issuers.push(IssuingAuthority {
            number,
            root: root.number,
            state: AuthorityState::Prepared,
            key: Some(key),
            certificate: written.der,
            not_before_ms: validity.not_before_ms,
            not_after_ms: validity.not_after_ms,
            crl: None,
        });
        Ok(number)
    }

    /// Writes the revocation lists anew that are a day old, or all of them. True if any was.
    fn refresh_crls(&mut self, now_ms: i64, all: bool) -> Result<bool, KeyError> {
        let mut is_renewed = false;
        let names: Vec<String> =
            self.issuers.iter().map(|issuer| self.issuing_name(issuer.number)).collect();
        for (issuer, name) in self.issuers.iter_mut().zip(names) {
            let is_fresh = issuer.crl.as_ref().is_some_and(|crl| crl.is_fresh(now_ms));
            if !issuer.is_accepted() || (is_fresh && !all) {
                continue;
            }
            let key = issuer.key.as_ref().ok_or(INCONSISTENT)?;
            let signer = Signer::load(Curve::P256, key)?;
            let by = template::issuer(&name, &signer);
            issuer.crl = Some(self.ledger.crl(issuer.number, &by, issuer.crl.as_ref(), now_ms)?);
            is_renewed = true;
        }
        Ok(is_renewed)
    }

    fn active(&self) -> Option<&IssuingAuthority> {
        self.issuers.iter().find(|issuer| issuer.state == AuthorityState::Active)
    }

    fn in_state(&self, state: AuthorityState) -> Option<u32> {
        self.issuers.iter().find(|issuer| issuer.state == state).map(|issuer| issuer.number)
    }

    fn issuer(&self, number: u32) -> Result<&IssuingAuthority, AuthorityError> {
        let found = self.issuers.iter().find(|issuer| issuer.number == number);
        found.ok_or(AuthorityError::Unknown { number })
    }

    fn newest_root(&self) -> &Root {
        self.roots.last().expect("there is a root from creation on, and one for each issuer")
    }

    fn root_name(&self, number: u32) -> String {
        format!("recseal root CA {} {number}", self.tag)
    }

    fn issuing_name(&self, number: u32) -> String {
        format!("{ISSUING_NAME}{} {number}", self.tag)
    }
}

impl IssuingAuthority {
    fn is_accepted(&self) -> bool {
        match self.state {
            AuthorityState::Active | AuthorityState::Old | AuthorityState::Tainted => true,
            AuthorityState::Prepared | AuthorityState::Revoked => false,
        }
    }
}

/// When a successor is prepared and when it takes over.
fn due(not_before_ms: i64, not_after_ms: i64) -> (i64, i64) {
    let lifetime_ms = not_after_ms.saturating_sub(not_before_ms);
    (
        not_after_ms.saturating_sub((lifetime_ms / 2).min(30 * DAY_MS)),
        not_after_ms.saturating_sub((lifetime_ms / 6).min(7 * DAY_MS)),
    )
}

const INCONSISTENT: KeyError =
    KeyError::Inconsistent { rule: "one issuing authority is active, below a root" };
const ISSUING_NAME: &str = "recseal issuing CA ";
const DAY_MS: i64 = 86_400_000;
const ROOT_MS: i64 = 3_652 * DAY_MS;
const ISSUING_MS: i64 = 730 * DAY_MS;
