//! Certificates as people bring them: PEM in one file or two, PKCS#12, keys with a password.
//!
//! ```text
//! file(s) ─▶ blocks ─▶ key as PKCS#8 ─┐
//!               └────▶ certificates ──┴─▶ leaf first, roots apart ─▶ Candidate ─▶ the gate
//! ```
//!
//! What can be put right is put right and told as a notice (order, roots, strangers); what cannot
//! is a refusal with a hint. A [`Candidate`] says only that the bytes can be read: whether it may
//! be used is for [`gate::check`](crate::gate::check).
//!
//! # Invariants
//!
//! - No input makes this panic; every size, count and cost is bounded.
//! - Keys are wiped when dropped. (The PKCS#12 reader keeps copies of its own while it works.)

mod arrange;
mod key;
mod pem_text;
mod pkcs12;

use zeroize::Zeroizing;

use crate::gate::{Finding, GateCode, Notice, Refusal, strength};
use crate::hex::HexBytes;

/// A chain, and usually its key, that could be read. Not checked.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// DER, the server's own certificate first, without roots.
    pub(crate) chain: Vec<HexBytes>,
    /// PKCS#8; none in an answer to a request.
    pub(crate) key: Option<HexBytes>,
    /// Roots that came along.
    pub(crate) roots: Vec<Vec<u8>>,
    /// What was put right.
    pub(crate) notices: Vec<Notice>,
}

impl Candidate {
    /// Reads PEM: certificates and key in `chain`, or the key apart in `key`; any order.
    ///
    /// # Errors
    ///
    /// The refusal that says what cannot be read.
    pub fn from_pem(
        chain: &[u8],
        key: Option<&[u8]>,
        password: Option<&Zeroizing<String>>,
    ) -> Result<Self, Refusal> {
        let mut found = pem_text::read(chain, password)?;
        if let Some(key) = key {
            // The key file of some tools holds the certificates once more.
            found.merge(pem_text::read(key, password)?);
            if found.keys.is_empty() {
                return Err(Finding::new(
                    GateCode::NoKey,
                    "there is no private key in the key file",
                    "a key in PEM begins with -----BEGIN PRIVATE KEY-----; DER is converted by: \
                     openssl pkey -inform DER -in FILE -out key.pem",
                ));
            }
        }
        if found.certificates.is_empty() {
            return Err(no_certificate(found.keys.is_empty()));
        }
        Self::of(found)
    }

    /// Reads PKCS#12, be it old or new. Takes up to a second if its author asked for it.
    ///
    /// # Errors
    ///
    /// The refusal that says what cannot be read; a wrong password is said so.
    pub fn from_pkcs12(
        bytes: &[u8],
        password: Option<&Zeroizing<String>>,
    ) -> Result<Self, Refusal> {
        Self::of(pkcs12::read(bytes, password)?)
    }

    /// Reads whatever it is: DER that begins like PKCS#12 is that, everything else is PEM.
    ///
    /// # Errors
    ///
    /// As [`Candidate::from_pem`] and [`Candidate::from_pkcs12`].
    pub fn from_bytes(
        bytes: &[u8],
        key: Option<&[u8]>,
        password: Option<&Zeroizing<String>>,
    ) -> Result<Self, Refusal> {
        if pkcs12::looks_like(bytes) {
            return Self::from_pkcs12(bytes, password);
        }
        if bytes.first() == Some(&0x30) {
            return Err(Finding::new(
                GateCode::PemEmpty,
                "the file is DER, neither PEM nor PKCS#12",
                "convert it: openssl x509 -inform DER -in FILE -out cert.pem",
            ));
        }
        Self::from_pem(bytes, key, password)
    }

    /// An issued or answered chain with the key that is known already.
    pub(crate) fn with_key(chain_pem: &[u8], key: HexBytes) -> Result<Self, Refusal> {
        let mut found = pem_text::read(chain_pem, None)?;
        found.keys = vec![key];
        if found.certificates.is_empty() {
            return Err(no_certificate(true));
        }
        Self::of(found)
    }

    fn of(mut found: Found) -> Result<Self, Refusal> {
        // The same key may come as PKCS#8 and in older clothes.
        let public = |key: &HexBytes| strength::public_key_of(key);
        found.keys.dedup_by(|a, b| {
            a.as_bytes() == b.as_bytes() || (public(a).is_some() && public(a) == public(b))
        });
        if found.keys.len() > 1 {
            return Err(Finding::new(
                GateCode::SeveralKeys,
                format!("there are {} different private keys", found.keys.len()),
                "keep the one that belongs to the certificate",
            ));
        }
        if found.certificates.len() > CERTIFICATES_MAX {
            return Err(Finding::new(
                GateCode::TooLarge,
                format!("there are {} certificates", found.certificates.len()),
                format!("give the server's own chain only, at most {CERTIFICATES_MAX}"),
            ));
        }
        arrange::arrange(found)
    }
}

/// Certificates to trust, from PEM; DER.
///
/// # Errors
///
/// The refusal that says what cannot be read, also if there is none.
pub fn roots_from_pem(pem: &[u8]) -> Result<Vec<Vec<u8>>, Refusal> {
    let roots = pem_text::read(pem, None)?.certificates;
    if roots.is_empty() { Err(no_certificate(true)) } else { Ok(roots) }
}

/// What was found in a file, in its order.
#[derive(Default)]
struct Found {
    certificates: Vec<Vec<u8>>,
    /// PKCS#8.
    keys: Vec<HexBytes>,
    notices: Vec<Notice>,
}

impl Found {
    fn merge(&mut self, other: Self) {
        self.certificates.extend(other.certificates);
        self.keys.extend(other.keys);
        self.notices.extend(other.notices);
    }
}

fn no_certificate(nothing_at_all: bool) -> Refusal {
    let message = match nothing_at_all {
        true => "there is no PEM block in the file",
        false => "there is a key, but no certificate",
    };
    Finding::new(
        GateCode::PemEmpty,
        message,
        "give the file that your authority sent: it begins with -----BEGIN CERTIFICATE-----",
    )
}

fn too_large(len_bytes: usize) -> Refusal {
    Finding::new(
        GateCode::TooLarge,
        format!("the file has {len_bytes} bytes"),
        format!(
            "no certificate needs more than {FILE_BYTES_MAX}: give the server's own chain only"
        ),
    )
}

/// No real chain with its key is longer.
pub const FILE_BYTES_MAX: usize = 256 << 10;
const CERTIFICATES_MAX: usize = 16;
