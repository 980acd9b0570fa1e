//! Does the chain reach a root, and which issuer is missing if not.

use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{GateCode, GatePolicy, Report};
use crate::import::Candidate;

/// The certificate to trust for the handshake: the root that was reached, or the chain's last one.
pub(super) fn check(
    candidate: &Candidate,
    policy: &GatePolicy,
    now_ms: i64,
    report: &mut Report,
) -> Option<CertificateDer<'static>> {
    let der = |bytes: &[u8]| CertificateDer::from(bytes.to_vec());
    let chain: Vec<_> = candidate.chain.iter().map(|one| der(one.as_bytes())).collect();
    let at_ms = report.facts.as_ref().map_or(now_ms, |facts| {
        // Dates are judged elsewhere: the chain is looked at while the certificate is valid.
        now_ms.clamp(facts.not_before_ms, facts.not_after_ms.max(facts.not_before_ms))
    });
    let given: Vec<_> = policy.extra_roots.iter().map(|root| der(root)).collect();
    let mut why = match reach(&chain, &given, at_ms) {
        Ok(root) => return Some(root),
        Err(why) => why,
    };
    let platform = rustls_native_certs::load_native_certs().certs;
    match reach(&chain, &platform, at_ms) {
        Ok(root) => {
            too_long(report);
            return Some(root);
        }
        Err(other) => why = worse(why, other),
    }
    let mut brought: Vec<_> = candidate.roots.iter().map(|root| der(root)).collect();
    // A self-signed one is its own root.
    brought.extend(chain.first().cloned());
    match reach(&chain, &brought, at_ms) {
        Ok(root) => {
            report.note(
                GateCode::PrivateRoot,
                "the chain ends at a root that this host does not know",
                "give that root to every client; with --root FILE it is checked against your copy",
            );
            return Some(root);
        }
        Err(other) => why = worse(why, other),
    }
    if let [links @ .., last] = chain.as_slice()
        && !links.is_empty()
        && let Err(other) = reach(links, std::slice::from_ref(last), at_ms)
    {
        // Without a root to reach, nobody has looked yet whether the links hold.
        why = worse(why, other);
    }
    incomplete(&chain, policy, &why, platform.len(), report);
    chain.last().cloned()
}

/// The one of `roots` at which the chain ends.
fn reach(
    chain: &[CertificateDer<'static>],
    roots: &[CertificateDer<'static>],
    at_ms: i64,
) -> Result<CertificateDer<'static>, webpki::Error> {
    let (own, issuers) = chain.split_first().ok_or(webpki::Error::UnknownIssuer)?;
    let anchors: Vec<(TrustAnchor<'_>, &CertificateDer<'_>)> = roots
        .iter()
        .filter_map(|root| Some((anchor_from_trusted_cert(root).ok()?, root)))
        .collect();
    let trusted: Vec<_> = anchors.iter().map(|(anchor, _)| anchor.clone()).collect();
    let at = UnixTime::since_unix_epoch(Duration::from_millis(at_ms.max(0).unsigned_abs()));
    let own = EndEntityCert::try_from(own)?;
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms.all;
    let usage = KeyUsage::server_auth();
    let path = own.verify_for_usage(algorithms, &trusted, issuers, at, usage, None, None)?;
    let reached = anchors.iter().find(|(anchor, _)| anchor == path.anchor());
    reached.map(|(_, root)| (*root).clone()).ok_or(webpki::Error::UnknownIssuer)
}

/// Of two reasons the one that is not merely a missing root.
fn worse(one: webpki::Error, other: webpki::Error) -> webpki::Error {
    if matches!(one, webpki::Error::UnknownIssuer) { other } else { one }
}

/// Names the issuer that the last certificate of the chain asks for.
fn incomplete(
    chain: &[CertificateDer<'static>],
    policy: &GatePolicy,
    why: &webpki::Error,
    known_roots: usize,
    report: &mut Report,
) {
    let issuer = chain
        .last()
        .and_then(|last| X509Certificate::from_der(last).ok())
        .map(|(_, last)| last.issuer().to_string())
        .unwrap_or_default();
    let message = match why {
        webpki::Error::UnknownIssuer => {
            format!("the chain stops before a root: the certificate of \"{issuer}\" is missing")
        }
        other => format!("the chain does not hold ({other:?}); it ends at \"{issuer}\""),
    };
    if policy.allow_private && matches!(why, webpki::Error::UnknownIssuer) {
        let hint = "nothing to do if the authority is a private one: clients need its root";
        return report.note(GateCode::ChainIncomplete, message, hint);
    }
    let hint = format!(
        "add that certificate to the file (authorities call it intermediate or bundle); for a \
         private authority name its root with --root FILE; this host knows {known_roots} roots"
    );
    report.refuse(GateCode::ChainIncomplete, message, hint);
}

/// Browsers hold public authorities to 200 days.
fn too_long(report: &mut Report) {
    let Some(facts) = &report.facts else { return };
    let days = facts.not_after_ms.saturating_sub(facts.not_before_ms) / DAY_MS;
    if days > PUBLIC_DAYS_MAX {
        report.note(
            GateCode::TooLong,
            format!("it is valid for {days} days; public authorities give {PUBLIC_DAYS_MAX} now"),
            "nothing to do now; the next one will be shorter: let it be renewed by ACME or files",
        );
    }
}

const DAY_MS: i64 = 86_400_000;
const PUBLIC_DAYS_MAX: i64 = 200;
