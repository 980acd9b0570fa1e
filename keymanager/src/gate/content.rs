//! What a certificate says: dates, names, what it is for, and how it compares with the live one.

use x509_parser::prelude::{FromDer, X509Certificate};

use super::{GateCode, GatePolicy, Report, STAGED_MS};
use crate::certificate::{self, CertificateFacts};

/// Reads the server's own certificate into the report and judges it.
pub(super) fn check(
    own: &[u8],
    policy: &GatePolicy,
    live: Option<&CertificateFacts>,
    now_ms: i64,
    report: &mut Report,
) {
    let (Ok(facts), Ok((_, certificate))) =
        (CertificateFacts::parse(own), X509Certificate::from_der(own))
    else {
        let hint = "check the file: openssl x509 -in FILE -noout -text";
        return report.refuse(GateCode::Malformed, "the certificate cannot be read", hint);
    };
    dates(&facts, now_ms, report);
    names(&facts, policy, report);
    usage(&certificate, report);
    if let Some(live) = live {
        compare(&facts, live, report);
    }
    report.facts = Some(facts);
}

fn dates(facts: &CertificateFacts, now_ms: i64, report: &mut Report) {
    let left_ms = facts.not_after_ms.saturating_sub(now_ms);
    if left_ms <= LEFT_MS_MIN || facts.not_after_ms <= facts.not_before_ms {
        let message = match left_ms {
            0.. => format!("the certificate ends in {} minutes", left_ms / 60_000),
            _ => format!("the certificate ended {} ago", span(left_ms.saturating_neg())),
        };
        let hint = "ask your authority for a new one; if that is wrong, check this machine's clock";
        return report.refuse(GateCode::Expired, message, hint);
    }
    let wait_ms = facts.not_before_ms.saturating_sub(now_ms);
    if wait_ms > 0 {
        report.staged_until_ms = Some(facts.not_before_ms.saturating_add(STAGED_MS));
        report.note(
            GateCode::NotYetValid,
            format!("the certificate begins in {}", span(wait_ms)),
            "nothing to do: it is kept and served by itself five minutes after that",
        );
    }
}

fn names(facts: &CertificateFacts, policy: &GatePolicy, report: &mut Report) {
    let missing: Vec<&str> = policy
        .wanted_names
        .iter()
        .map(String::as_str)
        .filter(|wanted| !facts.names.iter().any(|name| covers(name, wanted)))
        .collect();
    if facts.names.is_empty() {
        let hint = "ask for one with subject alternative names: clients ignore the common name";
        return report.refuse(GateCode::WrongNames, "the certificate has no names", hint);
    }
    if missing.is_empty() {
        return;
    }
    let message = format!(
        "the certificate is not for {}; it is for {}",
        list(&missing),
        list(&facts.names.iter().map(String::as_str).collect::<Vec<_>>())
    );
    match &policy.allow_other_names {
        Some(reason) => report.note(
            GateCode::WrongNames,
            format!("{message}; let in because: {reason}"),
            "clients that use the missing names will refuse it",
        ),
        None => report.refuse(
            GateCode::WrongNames,
            message,
            "ask for one with all of these names, or say --allow-names REASON",
        ),
    }
}

/// RFC 6125: a wildcard stands for exactly the leftmost label. Addresses are compared as such.
fn covers(name: &str, wanted: &str) -> bool {
    let address = |text: &str| text.parse::<std::net::IpAddr>().ok();
    if let Some(wanted) = address(wanted) {
        return address(name) == Some(wanted);
    }
    let (name, wanted) = (name.trim_end_matches('.'), wanted.trim_end_matches('.'));
    match (name.strip_prefix("*."), wanted.split_once('.')) {
        (Some(parent), Some((label, rest))) => {
            !label.is_empty() && parent.eq_ignore_ascii_case(rest)
        }
        _ => name.eq_ignore_ascii_case(wanted),
    }
}

fn usage(certificate: &X509Certificate<'_>, report: &mut Report) {
    if certificate.is_ca() {
        report.refuse(
            GateCode::IsCa,
            "the certificate is that of an authority (CA:TRUE)",
            "let the authority issue one for this server; a self-signed one needs \
             -addext basicConstraints=critical,CA:FALSE",
        );
    }
    let server_auth = match certificate.extended_key_usage() {
        Ok(Some(usage)) => usage.value.server_auth || usage.value.any,
        Ok(None) => true,
        Err(_) => false,
    };
    let signs = match certificate.key_usage() {
        Ok(Some(usage)) => usage.value.digital_signature(),
        Ok(None) => true,
        Err(_) => false,
    };
    if !server_auth || !signs {
        report.refuse(
            GateCode::WrongUsage,
            match server_auth {
                false => "the certificate is not for TLS servers (no serverAuth)",
                true => "the certificate's key may not sign (no digitalSignature)",
            },
            "ask your authority for a server certificate: digitalSignature and serverAuth",
        );
    }
}

fn compare(facts: &CertificateFacts, live: &CertificateFacts, report: &mut Report) {
    if facts.sha256 == live.sha256 {
        return;
    }
    if facts.issuer == live.issuer && facts.serial == live.serial {
        report.note(
            GateCode::DuplicateSerial,
            "it has the same issuer and serial number as the one that is served",
            "tell your authority: revoking one of them revokes both, and some browsers refuse both",
        );
    }
    // Every authority gives less than our own 365 days: that is no sign of a wrong file.
    let is_first = certificate::is_self_signed_by_us(live);
    if facts.not_after_ms < live.not_after_ms && !is_first {
        report.note(
            GateCode::OlderThanLive,
            format!(
                "it ends {} before the one that is served",
                span(live.not_after_ms.saturating_sub(facts.not_after_ms))
            ),
            "is it the right file? `recseal certs rollback` takes it back",
        );
    }
}

/// Days, or hours, or minutes: whatever says enough.
pub(super) fn span(ms: i64) -> String {
    match ms / 60_000 {
        minutes @ ..120 => format!("{minutes} minutes"),
        minutes @ ..2_880 => format!("{} hours", minutes / 60),
        minutes => format!("{} days", minutes / 1_440),
    }
}

/// At most a handful: a certificate may have hundreds of names.
fn list(names: &[&str]) -> String {
    let shown = names.iter().take(LISTED_MAX).copied().collect::<Vec<_>>().join(", ");
    match names.len() {
        ..=LISTED_MAX => shown,
        count => format!("{shown} and {} more", count - LISTED_MAX),
    }
}

/// A certificate that ends within the hour is over before anyone notices.
const LEFT_MS_MIN: i64 = 3_600_000;
const LISTED_MAX: usize = 8;
