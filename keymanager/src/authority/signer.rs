//! The keys of the authority, lent to the certificate writer for one signature.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, KeyPair,
};
use rcgen::{PublicKeyData, SignatureAlgorithm, SigningKey};

use crate::error::KeyError;
use crate::hex::HexBytes;

/// Which curve a key is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    /// Issuing authorities and what they issue.
    P256,
    /// Roots: they live ten years.
    P384,
}

/// A key pair that signs. What it borrows from is wiped by whoever owns it.
pub(super) struct Signer {
    pair: EcdsaKeyPair,
    curve: Curve,
}

impl Signer {
    /// A fresh key, and its PKCS#8 form to be stored.
    pub(super) fn generate(curve: Curve) -> (Self, HexBytes) {
        let pair = EcdsaKeyPair::generate(curve.signing())
            .expect("the random generator of this machine works");
        let pkcs8 = pair.to_pkcs8v1().expect("a key just made can be written");
        let stored = HexBytes::new(pkcs8.as_ref());
        (Self { pair, curve }, stored)
    }

    /// The key as it was stored.
    pub(super) fn load(curve: Curve, pkcs8: &HexBytes) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(curve.signing(), pkcs8.as_bytes());
        let rule = "the authority's keys can be read";
        pair.map(|pair| Self { pair, curve }).map_err(|_| KeyError::Inconsistent { rule })
    }
}

impl Curve {
    fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
        }
    }
}

impl PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.curve {
            Curve::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Curve::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        }
    }
}

impl SigningKey for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        Ok(signature.map_err(|_| rcgen::Error::RemoteKeyError)?.as_ref().to_vec())
    }
}
