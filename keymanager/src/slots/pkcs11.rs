//! The PKCS#11 slot: a key on a token that the token never gives away wraps the slot key.
//!
//! ```text
//! token's AES-256 key (sensitive, not extractable)
//!   └─ AES-GCM, IV and slot id as associated data ── slot key, stored wrapped in slots.json
//! ```
//!
//! The token is asked once, at start: it may be away afterwards. The module is initialised and
//! finalised around each use, so nothing of it lives in the process in between.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::problem::SlotProblem;
use super::{SlotKind, Surroundings, credential};
use crate::disk;
use crate::error::KeyError;
use crate::hex::HexBytes;
use crate::secret::Secret;

/// Which key on which token, and where its PIN is.
#[derive(Clone, Debug)]
pub struct TokenKey {
    /// Path of the module, a shared library.
    pub module: String,
    /// Label of the token.
    pub token: String,
    /// Label of the AES key on it.
    pub key: String,
    /// Where the PIN is.
    pub pin: PinSource,
    /// Make the key if the token has none with this label.
    pub make_key: bool,
}

/// Where the PIN of a token is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PinSource {
    /// A credential of the service manager, by name.
    Credential(String),
    /// A file, by absolute path.
    File(String),
}

/// What the table keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Token {
    module: String,
    token: String,
    key: String,
    pin: PinSource,
    iv: HexBytes,
    wrapped_key: HexBytes,
}

impl Token {
    /// Wraps a fresh slot key on the token.
    ///
    /// # Errors
    ///
    /// [`KeyError::BadSlot`], [`KeyError::Slot`]. A key made on the token stays there.
    pub(super) fn new(
        spec: &TokenKey,
        slot: Uuid,
        surroundings: &Surroundings,
    ) -> Result<(Self, Secret), KeyError> {
        check(spec)?;
        let mut iv = [0; IV_BYTES];
        aws_lc_rs::rand::fill(&mut iv).expect("the random generator of this machine works");
        let mut token = Self {
            module: spec.module.clone(),
            token: spec.token.clone(),
            key: spec.key.clone(),
            pin: spec.pin.clone(),
            iv: HexBytes::new(iv),
            wrapped_key: HexBytes::new([]),
        };
        let secret = Secret::generate();
        let problem = |source| KeyError::Slot { slot, kind: SlotKind::Pkcs11, source };
        let pin = token.pin(surroundings).map_err(problem)?;
        let wrapped = module::wrap(&token, &pin, spec.make_key, slot, &secret).map_err(problem)?;
        token.wrapped_key = HexBytes::new(wrapped);
        Ok((token, secret))
    }

    /// Lets the token unwrap the slot key.
    pub(super) fn key(
        &self,
        slot: Uuid,
        surroundings: &Surroundings,
    ) -> Result<Secret, SlotProblem> {
        let pin = self.pin(surroundings)?;
        module::unwrap(self, &pin, slot)
    }

    /// Labels of token and key.
    pub(super) fn labels(&self) -> String {
        format!("{} on {}", self.key, self.token)
    }

    fn pin(&self, surroundings: &Surroundings) -> Result<Zeroizing<String>, SlotProblem> {
        let bytes = match &self.pin {
            PinSource::Credential(name) => credential::read(name, surroundings)?,
            PinSource::File(path) => {
                disk::read(&PathBuf::from(path), PIN_BYTES_MAX).map_err(SlotProblem::Credential)?
            }
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| SlotProblem::Malformed)?;
        Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

fn check(spec: &TokenKey) -> Result<(), KeyError> {
    let refuse = |rule| Err(KeyError::BadSlot { kind: SlotKind::Pkcs11, rule });
    let is_path = |path: &str| path.starts_with('/') && path.len() <= 4_096;
    if !is_path(&spec.module) {
        return refuse("its module is an absolute path");
    }
    if [&spec.token, &spec.key].iter().any(|label| !(1..=64).contains(&label.len())) {
        return refuse("labels have 1 to 64 bytes");
    }
    match &spec.pin {
        PinSource::Credential(name) => credential::check_name(name),
        PinSource::File(path) if is_path(path) => Ok(()),
        PinSource::File(_) => refuse("its PIN file is an absolute path"),
    }
}

#[cfg(not(feature = "pkcs11"))]
mod module {
    //! A build without PKCS#11 keeps such slots and says that it cannot open them.
    use super::*;

    pub(super) fn wrap(
        _: &Token,
        _: &str,
        _: bool,
        _: Uuid,
        _: &Secret,
    ) -> Result<Vec<u8>, SlotProblem> {
        Err(SlotProblem::NotBuilt)
    }

    pub(super) fn unwrap(_: &Token, _: &str, _: Uuid) -> Result<Secret, SlotProblem> {
        Err(SlotProblem::NotBuilt)
    }
}

#[cfg(feature = "pkcs11")]
mod module {
    //! One visit to the module: initialise, log in, one operation, out again.
    use super::*;

    use std::sync::{Mutex, PoisonError};

    use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
    use cryptoki::error::{Error, RvError};
    use cryptoki::mechanism::Mechanism;
    use cryptoki::mechanism::aead::GcmParams;
    use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
    use cryptoki::session::{Session, UserType};
    use cryptoki::types::AuthPin;

    use crate::secret::SECRET_BYTES;

    /// A module is one for the whole process: two visits at once would end each other's sessions.
    static VISIT: Mutex<()> = Mutex::new(());

    pub(super) fn wrap(
        token: &Token,
        pin: &str,
        make_key: bool,
        slot: Uuid,
        secret: &Secret,
    ) -> Result<Vec<u8>, SlotProblem> {
        visit(token, pin, make_key, |session| {
            let key = match find(session, &token.key) {
                Err(SlotProblem::NoKey) if make_key => make(session, &token.key)?,
                found => found?,
            };
            with_gcm(token, slot, |gcm| session.encrypt(gcm, key, secret.expose_bytes()))
                .map_err(failed)
        })
    }

    pub(super) fn unwrap(token: &Token, pin: &str, slot: Uuid) -> Result<Secret, SlotProblem> {
        visit(token, pin, false, |session| {
            let key = find(session, &token.key)?;
            let opened = with_gcm(token, slot, |gcm| {
                session.decrypt(gcm, key, token.wrapped_key.as_bytes())
            });
            let opened = Zeroizing::new(opened.map_err(|error| match error {
                // Tokens disagree about what a tag that does not fit is called.
                Error::Pkcs11(
                    RvError::GeneralError
                    | RvError::EncryptedDataInvalid
                    | RvError::EncryptedDataLenRange
                    | RvError::FunctionFailed,
                    _,
                ) => SlotProblem::WrongKey,
                other => failed(other),
            })?);
            let bytes: &[u8; SECRET_BYTES] =
                opened.as_slice().try_into().map_err(|_| SlotProblem::WrongKey)?;
            Ok(Secret::from_bytes(bytes))
        })
    }

    fn visit<T>(
        token: &Token,
        pin: &str,
        writes: bool,
        work: impl FnOnce(&Session) -> Result<T, SlotProblem>,
    ) -> Result<T, SlotProblem> {
        let _alone = VISIT.lock().unwrap_or_else(PoisonError::into_inner);
        let module = |error: Error| SlotProblem::Module { why: words(&error) };
        let context = Pkcs11::new(&token.module).map_err(module)?;
        match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(module(error)),
        }
        let outcome = converse(&context, token, pin, writes, work);
        let _ = context.finalize();
        outcome
    }

    fn converse<T>(
        context: &Pkcs11,
        token: &Token,
        pin: &str,
        writes: bool,
        work: impl FnOnce(&Session) -> Result<T, SlotProblem>,
    ) -> Result<T, SlotProblem> {
        for slot in context.get_slots_with_token().map_err(failed)? {
            // A token may be pulled out between the two calls.
            let Ok(info) = context.get_token_info(slot) else { continue };
            if info.label() != token.token {
                continue;
            }
            let session = match writes {
                true => context.open_rw_session(slot),
                false => context.open_ro_session(slot),
            };
            let session = session.map_err(failed)?;
            session.login(UserType::User, Some(&AuthPin::new(pin.into()))).map_err(|error| {
                match error {
                    Error::Pkcs11(
                        RvError::PinIncorrect
                        | RvError::PinInvalid
                        | RvError::PinLenRange
                        | RvError::PinExpired
                        | RvError::PinLocked,
                        _,
                    ) => SlotProblem::Pin { why: words(&error) },
                    other => failed(other),
                }
            })?;
            let outcome = work(&session);
            let _ = session.logout();
            return outcome;
        }
        Err(SlotProblem::NoToken)
    }

    fn find(session: &Session, label: &str) -> Result<ObjectHandle, SlotProblem> {
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Label(label.as_bytes().to_vec()),
        ];
        let found = session.find_objects(&template).map_err(failed)?;
        found.first().copied().ok_or(SlotProblem::NoKey)
    }

    fn make(session: &Session, label: &str) -> Result<ObjectHandle, SlotProblem> {
        let template = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::ValueLen((SECRET_BYTES as u64).into()),
            Attribute::Label(label.as_bytes().to_vec()),
        ];
        session.generate_key(&Mechanism::AesKeyGen, &template).map_err(failed)
    }

    fn with_gcm<T>(
        token: &Token,
        slot: Uuid,
        work: impl FnOnce(&Mechanism<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut iv = token.iv.as_bytes().to_vec();
        let params = GcmParams::new(&mut iv, slot.as_bytes(), TAG_BITS.into())?;
        work(&Mechanism::AesGcm(params))
    }

    fn failed(error: Error) -> SlotProblem {
        SlotProblem::Token { why: words(&error) }
    }

    /// The standard's name of the error. The loader's own words hold the module's path.
    fn words(error: &Error) -> String {
        match error {
            Error::Pkcs11(rv, _) => format!("{rv:?}"),
            Error::LibraryLoading(_) => "it cannot be loaded".to_owned(),
            other => other.to_string(),
        }
    }

    const TAG_BITS: u64 = 128;
}

const IV_BYTES: usize = 12;
const PIN_BYTES_MAX: u64 = 1_024;
