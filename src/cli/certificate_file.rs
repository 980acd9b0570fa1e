//! Certificate files, keys and passwords as the command line finds them.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use keymanager::gate::{GateCode, Refusal};
use keymanager::{Candidate, FILE_BYTES_MAX, roots_from_pem};
use serde_json::{Value, json};
use zeroize::{Zeroize, Zeroizing};

use super::args::certs::{CertificateFile, Trust};
use super::failure::Failure;
use super::secrets;

/// What a caller named on the line, read and understood.
pub(super) struct Brought {
    /// As the gate takes it.
    pub(super) candidate: Candidate,
    /// Roots to trust, DER.
    pub(super) roots: Vec<Vec<u8>>,
    bytes: Zeroizing<Vec<u8>>,
    key: Option<Zeroizing<Vec<u8>>>,
    password: Option<Zeroizing<String>>,
    roots_pem: Option<Zeroizing<String>>,
}

impl Brought {
    /// Reads the files. A password that is needed and was not given is asked for on a terminal.
    pub(super) fn read(file: &CertificateFile) -> Result<Result<Self, Refusal>, Failure> {
        let bytes = bytes(&file.file, "certificate file")?;
        let key = file.key.as_deref().map(|path| self::bytes(path, "key file")).transpose()?;
        let mut password =
            file.password_file.as_deref().map(secrets::read_passphrase).transpose()?;
        let roots_pem =
            file.trust.root.as_deref().map(|path| text(path, "root file")).transpose()?;
        let roots = match roots_pem.as_ref().map(|pem| roots_from_pem(pem.as_bytes())) {
            None => Vec::new(),
            Some(Ok(roots)) => roots,
            Some(Err(refusal)) => return Ok(Err(refusal)),
        };
        let understand = |password: Option<&Zeroizing<String>>| {
            Candidate::from_bytes(&bytes, key.as_ref().map(|key| key.as_slice()), password)
        };
        let mut outcome = understand(password.as_ref());
        if let Err(refusal) = &outcome
            && refusal.code == GateCode::KeyEncrypted
            && password.is_none()
            && io::stdin().is_terminal()
        {
            password = Some(secrets::ask_passphrase("Password of the key: ")?);
            outcome = understand(password.as_ref());
        }
        Ok(outcome.map(|candidate| Self { candidate, roots, bytes, key, password, roots_pem }))
    }

    /// The same as the daemon takes it; [`wipe`] it afterwards.
    pub(super) fn body(&self, trust: &Trust) -> Value {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut body = match self.bytes.first() {
            Some(0x30) => {
                let digits = self.bytes.iter().fold(String::new(), |mut digits, byte| {
                    digits.push_str(&format!("{byte:02x}"));
                    digits
                });
                json!({ "pkcs12": digits })
            }
            _ => json!({ "pem": text(&self.bytes) }),
        };
        if let Some(key) = &self.key {
            body["key"] = json!(text(key));
        }
        if let Some(password) = &self.password {
            body["password"] = json!(password.as_str());
        }
        if let Some(roots) = &self.roots_pem {
            body["roots"] = json!(roots.as_str());
        }
        body["allow_names"] = json!(trust.allow_names);
        body
    }
}

/// Overwrites the text in a document.
pub(super) fn wipe(document: Value) {
    match document {
        Value::String(mut text) => text.zeroize(),
        Value::Array(list) => list.into_iter().for_each(wipe),
        Value::Object(members) => members.into_iter().for_each(|(_, value)| wipe(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A whole file, wiped when dropped; never more than any certificate has.
pub(super) fn bytes(path: &Path, what: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |error| Failure::file(what, &error);
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX + 1));
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > FILE_BYTES_MAX {
        let message = format!("{what}: it has more than {FILE_BYTES_MAX} bytes");
        return Err(Failure::usage(message, "is it the right file?"));
    }
    Ok(bytes)
}

/// A whole file as text.
pub(super) fn text(path: &Path, what: &str) -> Result<Zeroizing<String>, Failure> {
    let bytes = bytes(path, what)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Failure::usage(format!("{what}: it is not text"), "give it as PEM"))?;
    Ok(Zeroizing::new(text.to_owned()))
}
