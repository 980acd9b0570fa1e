//! A last look at an original before it is worked on.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use crate::domain::{FileAttributes, Fingerprint, Sighting, StorePath};
use crate::flow::stores::Opened;
use crate::intake::Lease;

/// What a last look at an original found.
pub(super) enum Original {
    /// It is what was expected, and nobody of this host writes to it.
    Same(File),
    /// It was written to, or replaced.
    Changed(Sighting),
    /// Nothing is there.
    Vanished,
    /// Somebody has it open for writing.
    Busy,
    /// It has several names.
    HardLinked,
}

/// Opens the original at `path` and compares it with `expected`.
///
/// # Errors
///
/// What the system says if it cannot be looked at.
pub(super) fn open_original(
    opened: &Opened,
    path: &StorePath,
    expected: &Fingerprint,
) -> io::Result<Original> {
    let file = match opened.store.open_file(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Original::Vanished),
        Err(error) => return Err(error),
    };
    let sighting = sight(&file, path)?;
    if !sighting.fingerprint.has_same_content(expected) {
        return Ok(Original::Changed(sighting));
    }
    if sighting.links > 1 {
        return Ok(Original::HardLinked);
    }
    Ok(match opened.store.lease(&file) {
        Lease::Busy => Original::Busy,
        Lease::Free | Lease::NoRight | Lease::Unsupported => Original::Same(file),
    })
}

/// What an open file is now.
pub(super) fn sight(file: &File, path: &StorePath) -> io::Result<Sighting> {
    let seen = file.metadata()?;
    let nanos = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000) + nanos;
    let modified_ns = nanos(seen.mtime(), seen.mtime_nsec());
    Ok(Sighting {
        path: path.clone(),
        fingerprint: Fingerprint {
            device: seen.dev(),
            inode: seen.ino(),
            size_bytes: seen.len(),
            modified_ns,
            changed_ns: nanos(seen.ctime(), seen.ctime_nsec()),
        },
        attributes: FileAttributes {
            mode: seen.mode() & 0o7777,
            uid: seen.uid(),
            gid: seen.gid(),
            accessed_ns: nanos(seen.atime(), seen.atime_nsec()),
            modified_ns,
        },
        links: seen.nlink(),
    })
}
