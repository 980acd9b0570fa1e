//! The gate: every certificate passes here before it is stored, wherever it comes from.
//!
//! ```text
//! import ─┐
//! answer ─┤                 refusals: kept out, each with what to do
//! files  ─┼─▶ gate::check ─▶ notices:  let in, a person should know
//! ACME   ─┤                 staged:   let in, served when it becomes valid
//! start  ─┘
//! ```
//!
//! The checks, in order: there is one key and it fits; keys and signatures are strong; dates,
//! names and usage suit a server; the chain reaches a root; two programs really connect with it,
//! over TLS 1.2 and 1.3. All findings are told at once.

mod chain;
mod content;
mod handshake;
mod report;
pub(crate) mod strength;

pub use report::{Finding, GateCode, Notice, Refusal, Report};

use rustls::pki_types::CertificateDer;

use crate::certificate::CertificateFacts;
use crate::import::Candidate;
use crate::tls::Certified;

/// What a certificate must satisfy.
#[derive(Clone, Debug, Default)]
pub struct GatePolicy {
    /// Each of these must be among its names.
    pub wanted_names: Vec<String>,
    /// Why it may lack some of them; only a notice then.
    pub allow_other_names: Option<String>,
    /// Roots to trust besides the platform's, DER.
    pub extra_roots: Vec<Vec<u8>>,
    /// A chain that reaches no known root is only a notice: for private authorities.
    pub allow_private: bool,
}

impl GatePolicy {
    /// What a server that is known by `names` asks of a certificate. Names that only this host
    /// itself uses (localhost, loopback addresses, names without a dot) are no public
    /// authority's, so none of them is asked for.
    pub fn for_server(names: &[String]) -> Self {
        let is_public = |name: &&String| match name.parse::<std::net::IpAddr>() {
            Ok(address) => !address.is_loopback(),
            Err(_) => name.contains('.') && !name.ends_with(".localhost"),
        };
        let wanted_names = names.iter().filter(is_public).cloned().collect();
        Self { wanted_names, ..Self::default() }
    }
}

/// Checks `candidate`; changes nothing. Some 10 ms, most of it for the platform's roots.
pub fn check(
    candidate: &Candidate,
    policy: &GatePolicy,
    live: Option<&CertificateFacts>,
    now_ms: i64,
) -> Report {
    let mut report = Report { notices: candidate.notices.clone(), ..Report::default() };
    let Some(own) = candidate.chain.first() else {
        report.refuse(GateCode::PemEmpty, "there is no certificate", "give one");
        return report;
    };
    strength::check(candidate, &mut report);
    content::check(own.as_bytes(), policy, live, now_ms, &mut report);
    let anchor = chain::check(candidate, policy, now_ms, &mut report);
    if report.passed() {
        shake_hands(candidate, anchor, now_ms, &mut report);
    }
    report
}

/// Only what passed everything else is tried: the other refusals say more than a broken handshake.
fn shake_hands(
    candidate: &Candidate,
    anchor: Option<CertificateDer<'static>>,
    now_ms: i64,
    report: &mut Report,
) {
    let (Some(key), Some(facts)) = (&candidate.key, &report.facts) else { return };
    let at_ms = now_ms.max(facts.not_before_ms);
    let tried = Certified::new(&candidate.chain, key)
        .map_err(|error| crate::error::chain(&error))
        .and_then(|certified| handshake::check(certified, &facts.names, anchor, at_ms));
    if let Err(why) = tried {
        report.refuse(
            GateCode::Handshake,
            format!("a client and a server in memory did not connect: {why}"),
            "the certificate or key is unusual: ask for a new one (RSA 2048 or P-256, SHA-256)",
        );
    }
}

/// From the first valid moment to the first handshake: clocks of clients may be a little behind.
pub(crate) const STAGED_MS: i64 = 5 * 60_000;
