//! Private halves, and the file they are kept in.
//!
//! ```text
//! recseal seal key, private, version 1
//! algorithm x25519                                or x-wing
//! key-id 16 digits                                that of its public half
//! protection argon2id 65536 3 1 32 digits         KiB, passes, lanes, salt; or: protection none
//! private 120 digits                              an envelope; or 64 digits, the key itself
//! check 16 digits                                 8 bytes of SHA-256 over the lines above
//! ```
//!
//! The 32 bytes are the X25519 scalar or the X-Wing seed. The envelope is AES-256-GCM under
//! HKDF-SHA-256(argon2id(passphrase, salt), "seal-private/1"); the associated data is the four
//! lines above it, so nobody can lower the cost of a file that is in use.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::text::{Lines, VERSION, check_of};
use super::{
    INFO, SealAlgorithm, SealKeyError, SealKeyId, SealPublicKey, SealedDataKey, associated_data,
    suite,
};
use crate::data_key::DataKey;
use crate::envelope;
use crate::hex;
use crate::secret::{SECRET_BYTES, Secret};

/// The private half of a seal key: opens every recording that was sealed to the public half.
pub struct SealPrivateKey {
    public: SealPublicKey,
    secret: Secret,
}

/// What one guess of a passphrase costs.
#[derive(Clone, Copy)]
pub(super) struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// 64 MiB and three passes, as for the passphrase slot.
    const DEFAULT: Self = Self { memory_kib: 64 * 1_024, passes: 3, lanes: 1 };
    #[cfg(test)]
    pub(super) const CHEAP: Self = Self { memory_kib: 8, passes: 1, lanes: 1 };
}

impl SealPrivateKey {
    /// A fresh key pair.
    pub fn generate(algorithm: SealAlgorithm) -> Self {
        Self::from_secret(algorithm, Secret::generate())
            .expect("a public half made here can be sealed to")
    }

    pub(super) fn from_secret(
        algorithm: SealAlgorithm,
        secret: Secret,
    ) -> Result<Self, SealKeyError> {
        let public = suite::public_of(algorithm, &secret);
        Ok(Self { public: SealPublicKey::from_bytes(algorithm, &public)?, secret })
    }

    /// The public half.
    pub fn public(&self) -> &SealPublicKey {
        &self.public
    }

    /// Opens the data key of `recording`.
    ///
    /// # Errors
    ///
    /// [`SealKeyError::OtherSealKey`] or [`SealKeyError::Open`].
    pub fn open(&self, recording: Uuid, sealed: &SealedDataKey) -> Result<DataKey, SealKeyError> {
        let (needed, given) = (sealed.seal_key(), self.public.id());
        if needed != given {
            return Err(SealKeyError::OtherSealKey { needed, given });
        }
        let aad = associated_data(recording, sealed.data_key_id(), needed);
        let algorithm = self.public.algorithm();
        let opened = Some(sealed)
            .filter(|sealed| sealed.algorithm() == algorithm)
            .and_then(|sealed| suite::open(algorithm, &self.secret, INFO, &aad, sealed.capsule()));
        let secret = opened.ok_or(SealKeyError::Open { recording })?;
        Ok(DataKey::from_parts(sealed.data_key_id(), secret))
    }

    /// The text of a private key file, protected by `passphrase`. Takes half a second and 64 MiB.
    /// Without a passphrase whoever reads the file can open everything.
    ///
    /// # Errors
    ///
    /// [`SealKeyError::PassphraseLength`].
    pub fn expose_export(
        &self,
        passphrase: Option<&Zeroizing<String>>,
    ) -> Result<Zeroizing<String>, SealKeyError> {
        self.expose_export_at(passphrase, Cost::DEFAULT)
    }

    pub(super) fn expose_export_at(
        &self,
        passphrase: Option<&Zeroizing<String>>,
        cost: Cost,
    ) -> Result<Zeroizing<String>, SealKeyError> {
        // Reserved at once: a string that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(TEXT_BYTES_MAX));
        let (algorithm, id) = (self.public.algorithm().as_str(), self.public.id());
        text.push_str(&format!(
            "{TITLE}{VERSION}\nalgorithm {algorithm}\nkey-id {id}\nprotection "
        ));
        match passphrase {
            None => {
                text.push_str("none\nprivate ");
                text.push_str(&hex::encode(self.secret.expose_bytes()));
            }
            Some(passphrase) => {
                check_length(passphrase)?;
                let mut salt = [0; SALT_BYTES];
                aws_lc_rs::rand::fill(&mut salt)
                    .expect("the random generator of this machine works");
                let Cost { memory_kib, passes, lanes } = cost;
                let digits = hex::encode(&salt);
                text.push_str(&format!("argon2id {memory_kib} {passes} {lanes} {}\n", *digits));
                let key = stretch(passphrase, cost, &salt)?;
                let sealed = envelope::seal(&key, text.as_bytes(), self.secret.expose_bytes());
                text.push_str("private ");
                text.push_str(&hex::encode(&sealed));
            }
        }
        text.push('\n');
        let check = check_of(&text);
        text.push_str(&format!("check {}\n", *check));
        Ok(text)
    }

    /// Reads a private key file. `passphrase` is asked for only if the file needs one; then it
    /// takes half a second and 64 MiB.
    ///
    /// # Errors
    ///
    /// [`SealKeyError`], which never repeats the text; [`SealKeyError::NeedsPassphrase`] if
    /// `passphrase` says `None`.
    pub fn import(
        text: &str,
        passphrase: impl FnOnce() -> Option<Zeroizing<String>>,
    ) -> Result<Self, SealKeyError> {
        let mut lines = Lines::open(text, WANTED, TITLE, TEXT_BYTES_MAX)?;
        let algorithm = SealAlgorithm::from_name(lines.value("algorithm")?);
        let algorithm = algorithm.ok_or_else(|| lines.malformed())?;
        let id = SealKeyId::parse(lines.value("key-id")?).ok_or_else(|| lines.malformed())?;
        let protection = lines.value("protection")?;
        let stretched = match protection {
            "none" => None,
            words => Some(parse_protection(words).ok_or_else(|| lines.malformed())?),
        };
        let bytes = lines.bytes("private")?;
        let private_line = lines.malformed();
        let check = lines.value("check")?;
        lines.end()?;
        let above = format!(
            "{TITLE}{VERSION}\nalgorithm {}\nkey-id {id}\nprotection {protection}\n",
            algorithm.as_str()
        );
        // Sized at once, as in the export: it may hold the key.
        let mut whole = Zeroizing::new(String::with_capacity(TEXT_BYTES_MAX));
        whole.push_str(&above);
        whole.push_str("private ");
        whole.push_str(&hex::encode(&bytes));
        whole.push('\n');
        if *check_of(&whole) != *check {
            return Err(SealKeyError::WrongCheck { wanted: WANTED });
        }
        let secret = match stretched {
            None => bytes,
            Some((cost, salt)) => {
                let passphrase = passphrase().ok_or(SealKeyError::NeedsPassphrase)?;
                let key = stretch(&passphrase, cost, &salt)?;
                envelope::open(&key, above.as_bytes(), &bytes)
                    .ok_or(SealKeyError::WrongPassphrase)?
            }
        };
        let secret: &[u8; SECRET_BYTES] = secret.as_slice().try_into().map_err(|_| private_line)?;
        let key = Self::from_secret(algorithm, Secret::from_bytes(secret))?;
        if key.public.id() != id {
            return Err(SealKeyError::WrongCheck { wanted: WANTED });
        }
        Ok(key)
    }

    #[cfg(test)]
    pub(super) fn expose_secret(&self) -> &[u8; SECRET_BYTES] {
        self.secret.expose_bytes()
    }
}

impl fmt::Debug for SealPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealPrivateKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// `argon2id MEMORY PASSES LANES SALT`.
fn parse_protection(words: &str) -> Option<(Cost, [u8; SALT_BYTES])> {
    let mut words = words.split(' ');
    if words.next()? != "argon2id" {
        return None;
    }
    // Only as written: it is bound to the envelope word for word.
    let mut number = || words.next()?.parse().ok();
    let cost = Cost { memory_kib: number()?, passes: number()?, lanes: number()? };
    let salt = hex::decode(words.next()?)?.as_slice().try_into().ok()?;
    words.next().is_none().then_some((cost, salt))
}

fn stretch(passphrase: &str, cost: Cost, salt: &[u8]) -> Result<Secret, SealKeyError> {
    let Cost { memory_kib, passes, lanes } = cost;
    if memory_kib > MEMORY_KIB_MAX || passes > PASSES_MAX || lanes > LANES_MAX {
        return Err(SealKeyError::AbsurdCost);
    }
    let params = Params::new(memory_kib, passes, lanes, Some(SECRET_BYTES))
        .map_err(|_| SealKeyError::AbsurdCost)?;
    let mut key = Zeroizing::new([0; SECRET_BYTES]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, &mut *key)
        .map_err(|_| SealKeyError::AbsurdCost)?;
    Ok(Secret::from_bytes(&key).derive(&[b"seal-private/1"]))
}

fn check_length(passphrase: &str) -> Result<(), SealKeyError> {
    let (min_bytes, max_bytes) = (PASSPHRASE_BYTES_MIN, PASSPHRASE_BYTES_MAX);
    match (min_bytes..=max_bytes).contains(&passphrase.len()) {
        true => Ok(()),
        false => Err(SealKeyError::PassphraseLength { min_bytes, max_bytes }),
    }
}

const TITLE: &str = "recseal seal key, private, version ";
const WANTED: &str = "private seal key";
const TEXT_BYTES_MAX: usize = 1_024;
const SALT_BYTES: usize = 16;
const PASSPHRASE_BYTES_MIN: usize = 12;
const PASSPHRASE_BYTES_MAX: usize = 1_024;
const MEMORY_KIB_MAX: u32 = 1 << 20;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 8;
