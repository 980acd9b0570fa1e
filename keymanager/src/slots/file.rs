//! The file slot: a random key in `root.key`, so that the program starts unattended.
//!
//! The file is text, 64 hexadecimal digits and a line end, so that it can be read aloud, printed
//! and put into a credential store. Whoever can read it and the slot table can read everything.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::disk;
use crate::error::KeyError;
use crate::hex;
use crate::secret::Secret;

/// Makes `root.key`; its name is durable after the caller's next folder sync.
pub(super) fn create(folder: &Path) -> Result<Secret, KeyError> {
    let key = Secret::generate();
    let digits = hex::encode(key.expose_bytes());
    // Sized at once: a string that grows leaves a copy of the key behind.
    let mut text = Zeroizing::new(String::with_capacity(digits.len() + 1));
    text.push_str(&digits);
    text.push('\n');
    disk::write_new(&path(folder), text.as_bytes()).map_err(KeyError::disk("writing root.key"))?;
    Ok(key)
}

/// Reads `root.key`; `None` if it is not such a text.
pub(super) fn read(folder: &Path) -> Result<Option<Secret>, KeyError> {
    let text =
        disk::read(&path(folder), TEXT_BYTES_MAX).map_err(KeyError::disk("reading root.key"))?;
    let bytes = std::str::from_utf8(&text).ok().and_then(|text| hex::decode(text.trim()));
    Ok(bytes.and_then(|bytes| Some(Secret::from_bytes(bytes.as_slice().try_into().ok()?))))
}

/// Where it lies.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("root.key")
}

const TEXT_BYTES_MAX: u64 = 256;
