//! The file slot: a random key in `root.key`, so that the program starts unattended.
//!
//! The file is text, 64 hexadecimal digits and a line end, so that it can be read aloud, printed
//! and put into a credential store. Whoever can read it and the slot table can read everything.
//! While the root key is being replaced it has two lines, the old slot's key and the new one's:
//! whichever table a power cut leaves, one of them opens it.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::disk;
use crate::error::KeyError;
use crate::hex;
use crate::secret::{SECRET_BYTES, Secret};

/// Makes `root.key`; its name is durable after the caller's next folder sync.
pub(super) fn create(folder: &Path) -> Result<Secret, KeyError> {
    let key = Secret::generate();
    disk::write_new(&path(folder), to_text(&[&key]).as_bytes())
        .map_err(KeyError::disk("writing root.key"))?;
    Ok(key)
}

/// The keys in `root.key`; none if it is not such a text.
pub(super) fn read(folder: &Path) -> Result<Vec<Secret>, KeyError> {
    let text =
        disk::read(&path(folder), TEXT_BYTES_MAX).map_err(KeyError::disk("reading root.key"))?;
    let text = std::str::from_utf8(&text).unwrap_or_default().trim();
    let key = |line: &str| {
        let bytes = hex::decode(line.trim())?;
        Some(Secret::from_bytes(bytes.as_slice().try_into().ok()?))
    };
    Ok(text.lines().map(key).collect::<Option<_>>().unwrap_or_default())
}

/// Puts `keys` into the place of what `root.key` holds, whole or not at all.
pub(super) fn replace(folder: &Path, keys: &[&Secret]) -> Result<(), KeyError> {
    disk::replace(&path(folder), to_text(keys).as_bytes())
        .map_err(KeyError::disk("replacing root.key"))
}

fn to_text(keys: &[&Secret]) -> Zeroizing<String> {
    // Sized at once: a string that grows leaves a copy of the key behind.
    let mut text = Zeroizing::new(String::with_capacity(keys.len() * (2 * SECRET_BYTES + 1)));
    for key in keys {
        text.push_str(&hex::encode(key.expose_bytes()));
        text.push('\n');
    }
    text
}

/// Where it lies.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("root.key")
}

const TEXT_BYTES_MAX: u64 = 256;
