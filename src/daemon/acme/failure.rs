//! What can go wrong with an authority, and what that means for the next try.

use std::io;

use instant_acme::{Error, Problem};
use keymanager::renewal::FailureClass;

use crate::flow::{RenewalFailure, chain};

/// Why a try failed.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) code: String,
    class: FailureClass,
    detail: String,
    hint: &'static str,
    pub(super) retry_after_ms: Option<i64>,
}

impl Trouble {
    pub(super) fn new(code: &str, class: FailureClass, detail: &str, hint: &'static str) -> Self {
        // It may come from a server: bounded, and on one line.
        let detail = detail.split_whitespace().collect::<Vec<_>>().join(" ");
        let detail = detail.chars().filter(|c| !c.is_control()).take(DETAIL_CHARS_MAX).collect();
        Self { code: code.to_owned(), class, detail, hint, retry_after_ms: None }
    }

    pub(super) fn timed_out() -> Self {
        let detail = "the authority did not finish in time";
        Self::new("acme-timeout", FailureClass::Passing, detail, GOES_ON)
    }

    pub(super) fn root_file(error: &io::Error) -> Self {
        let detail = format!("certificate.acme.root_file cannot be used: {}", error.kind());
        let hint = "let it be PEM with the root of the authority's own HTTPS";
        Self::new("acme-root-file", FailureClass::Lasting, &detail, hint)
    }

    pub(super) fn keys(error: &keymanager::KeyError) -> Self {
        let hint = "check the disk and the rights of the state folder; it is tried again";
        Self::new("key-store", FailureClass::Passing, &chain(error), hint)
    }

    /// A problem document, by the last part of its type.
    pub(super) fn problem(problem: &Problem) -> Self {
        let full = problem.r#type.as_deref().unwrap_or("unknown");
        let kind = full.rsplit(':').next().unwrap_or(full);
        let is_word = |c: char| c.is_ascii_alphanumeric();
        let kind: String = kind.chars().filter(|c| is_word(*c)).take(40).collect();
        let (class, hint) = judge(&kind);
        let mut detail = problem.detail.clone().unwrap_or_default();
        for sub in problem.subproblems.iter().take(3) {
            if let Some(more) = &sub.detail {
                detail.push_str("; ");
                detail.push_str(more);
            }
        }
        Self::new(&format!("acme-{kind}"), class, &detail, hint)
    }

    /// True if the problem is of this kind.
    pub(super) fn is(&self, kind: &str) -> bool {
        self.code.strip_prefix("acme-") == Some(kind)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match &error {
            Error::Api(problem) => Self::problem(problem),
            Error::Timeout(_) => Self::timed_out(),
            _ => Self::new("acme-unreachable", FailureClass::Passing, &chain(&error), CONNECTION),
        }
    }
}

impl From<Trouble> for RenewalFailure {
    fn from(trouble: Trouble) -> Self {
        Self {
            code: trouble.code,
            class: trouble.class,
            message: trouble.detail,
            hint: trouble.hint.to_owned(),
            retry_after_ms: trouble.retry_after_ms,
        }
    }
}

fn judge(kind: &str) -> (FailureClass, &'static str) {
    use FailureClass::{Lasting, Passing};
    match kind {
        "rejectedIdentifier" | "unsupportedIdentifier" => {
            (Lasting, "the authority does not issue for these names: change listen.names")
        }
        "externalAccountRequired" => (
            Lasting,
            "set certificate.acme.eab_key_id and eab_key_file to what the authority gave you",
        ),
        "caa" => (Lasting, "a CAA record in the DNS forbids this authority: add it there"),
        "userActionRequired" => (Lasting, "read what the authority wants from you, then try again"),
        "invalidContact" | "unsupportedContact" => {
            (Lasting, "write certificate.acme.contact as [\"mailto:ops@example.org\"]")
        }
        "badCSR" | "badPublicKey" | "badSignatureAlgorithm" => {
            (Lasting, "the authority wants other keys than P-256: ask it, or import a certificate")
        }
        "rateLimited" => (Passing, "the authority wants to be left alone for a while; it is"),
        "connection" | "unauthorized" | "incorrectResponse" | "tls" => (
            Passing,
            "the authority could not fetch the proof: port 80 (http-01) or 443 (tls-alpn-01) of \
             every name must lead here",
        ),
        "dns" => (Passing, "the names must be in the DNS and lead to this host"),
        _ => (Passing, GOES_ON),
    }
}

const GOES_ON: &str =
    "it is tried again by itself; `recseal certs renew --now --wait` tries at once";
const CONNECTION: &str =
    "check certificate.acme.directory, the way out of this host, and root_file";
const DETAIL_CHARS_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &str, detail: &str) -> Problem {
        Problem {
            r#type: Some(format!("urn:ietf:params:acme:error:{kind}")),
            detail: Some(detail.to_owned()),
            status: None,
            subproblems: Vec::new(),
        }
    }

    /// What a person must change is not asked for every minute. Meant to catch: `Passing` for a
    /// rejected name.
    #[test]
    fn lasting_problems_are_told_from_passing_ones() {
        for (kind, class) in [
            ("rejectedIdentifier", FailureClass::Lasting),
            ("externalAccountRequired", FailureClass::Lasting),
            ("caa", FailureClass::Lasting),
            ("badNonce", FailureClass::Passing),
            ("rateLimited", FailureClass::Passing),
            ("connection", FailureClass::Passing),
            ("somethingNew", FailureClass::Passing),
        ] {
            let trouble = Trouble::problem(&problem(kind, "no"));
            assert_eq!((trouble.class, trouble.is(kind)), (class, true), "{kind}");
            assert!(!trouble.hint.is_empty());
        }
    }

    #[test]
    fn what_a_server_says_is_bounded_and_on_one_line() {
        let trouble = Trouble::problem(&problem("x\n\u{1b}[31m", &"a\r\nb\u{7} ".repeat(10_000)));
        assert!(trouble.detail.chars().count() <= DETAIL_CHARS_MAX);
        assert!(!trouble.detail.contains(char::is_control));
        assert_eq!(trouble.code, "acme-x31m");
    }
}
