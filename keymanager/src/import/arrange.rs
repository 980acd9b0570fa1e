//! Puts what was found into the order that a server sends: its own certificate, then each issuer.

use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Candidate, Found};
use crate::gate::{Finding, GateCode, Refusal, strength};
use crate::hex::HexBytes;

/// Finds the server's own certificate, follows its issuers, sets roots and strangers apart.
pub(super) fn arrange(found: Found) -> Result<Candidate, Refusal> {
    let Found { certificates, keys, mut notices } = found;
    let key = keys.into_iter().next();
    let mut rest = Vec::new();
    for der in &certificates {
        let certificate = parse(der)?;
        if !rest.iter().any(|known: &Certificate<'_>| known.der == der) {
            rest.push(Certificate { der, certificate });
        }
    }
    let own = own(&rest, key.as_ref());
    if own > 0 {
        notices.push(Finding::new(
            GateCode::CaFirst,
            "the server's own certificate was not the first one",
            "nothing to do: it was put first",
        ));
    }
    let mut chain = vec![rest.remove(own)];
    loop {
        let last = &chain[chain.len() - 1];
        // An authority may come as a root and cross-signed: the cross-signed one leads on.
        let next = rest
            .iter()
            .position(|next| next.issued(last) && !next.is_root())
            .filter(|_| !last.is_root());
        let Some(next) = next else { break };
        chain.push(rest.remove(next));
    }
    let (roots, strangers): (Vec<_>, Vec<_>) =
        rest.into_iter().partition(|certificate| certificate.is_root());
    if !roots.is_empty() {
        notices.push(Finding::new(
            GateCode::RootRemoved,
            "the chain ended in a root certificate",
            "nothing to do: it is not sent, because clients trust only their own copy",
        ));
    }
    if !strangers.is_empty() {
        notices.push(Finding::new(
            GateCode::Unrelated,
            format!("{} certificate(s) do not belong to the chain", strangers.len()),
            "nothing to do: they were left out",
        ));
    }
    Ok(Candidate {
        chain: chain.iter().map(|one| HexBytes::new(one.der.as_slice())).collect(),
        key,
        roots: roots.iter().map(|root| root.der.clone()).collect(),
        notices,
    })
}

struct Certificate<'a> {
    der: &'a Vec<u8>,
    certificate: X509Certificate<'a>,
}

impl Certificate<'_> {
    fn issued(&self, other: &Self) -> bool {
        self.certificate.subject().as_raw() == other.certificate.issuer().as_raw()
    }

    fn is_root(&self) -> bool {
        self.issued(self)
    }
}

/// Which one is the server's own: the one with the key, else the one that issued no other.
fn own(all: &[Certificate<'_>], key: Option<&HexBytes>) -> usize {
    let public = key.and_then(strength::public_key_of);
    let has_key = |one: &Certificate<'_>| {
        public.as_deref().is_some_and(|public| one.certificate.public_key().raw == public)
    };
    let issued_none = |one: &Certificate<'_>| {
        !one.certificate.is_ca()
            && !all.iter().any(|other| one.der != other.der && one.issued(other))
    };
    all.iter().position(has_key).or_else(|| all.iter().position(issued_none)).unwrap_or(0)
}

/// Reads one certificate from end to end.
fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Refusal> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(Finding::new(
            GateCode::Malformed,
            "a certificate cannot be read",
            "check the file: openssl x509 -in FILE -noout -text; copy it once more if that fails \
             too",
        )),
    }
}
