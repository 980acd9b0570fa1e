//! Extended attributes: read from an original, set on its sealed file, blotted out at its end.
//!
//! | Names | Read | Set on the sealed file |
//! |---|---|---|
//! | `user.*` | always | always |
//! | `system.posix_acl_access`, `security.*`, `trusted.*` | where permitted | beside originals |
//! | `security.ima`, `security.evm` | where permitted | never: they sign other bytes |
//! | any other | no: a property of the file system and not of the file | no |
//!
//! In the own tree nothing that gives access is set: whoever could read the recording's folder
//! shall not read the vault.
//!
//! If the power goes here: a sealed file without some attribute is still a draft, and its original
//! still there. Nothing here fails a sealing; what cannot be kept is counted.
//!
//! # Erasure
//!
//! They are personal data in two places: rows of the catalog, which go with their recording, and
//! the file itself, which is why [`blot_out`] writes over the values before a file is overwritten.
//! A journal may still hold them for a while: attributes are metadata, and no file system promises
//! more for them. On the sealed file they are in clear, as its times and its owner are.

use std::fs::File;
use std::io;

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr};
use rustix::io::Errno;

use crate::domain::xattr::{ExtendedAttribute, ExtendedAttributes};

/// The extended attributes of `file`, within their bounds, `user.*` first. One system call for a
/// file without any. Where the file system has none, there are none.
pub fn read_xattrs(file: &File) -> ExtendedAttributes {
    let mut found = ExtendedAttributes::default();
    let mut names = match names_of(file) {
        Ok(names) => names,
        Err(Errno::NOTSUP | Errno::NOSYS) => return found,
        Err(_) => {
            found.leave_out();
            return found;
        }
    };
    names.sort_by_key(|name| Class::of(name));
    for name in names {
        let class = Class::of(&name);
        if class == Class::Foreign {
            continue;
        }
        match value_of(file, &name).map(|value| ExtendedAttribute::new(name, value)) {
            Ok(Some(attribute)) => found.keep(attribute),
            Err(Errno::NODATA) => {} // removed since it was listed
            Err(error) if !class.is_missed(error) => {}
            Ok(None) | Err(_) => found.leave_out(),
        }
    }
    found
}

/// Sets `attributes` on `file`, with those that give access if `with_access`; how many could not be
/// set although the file system has attributes and it was ours to do.
pub(super) fn set(file: &File, attributes: &ExtendedAttributes, with_access: bool) -> usize {
    let mut missed = 0;
    for attribute in attributes.iter() {
        let class = Class::of(attribute.expose_name());
        let is_wanted = match class {
            Class::User => true,
            Class::Access | Class::Privileged => with_access,
            Class::Signature | Class::Foreign => false,
        };
        if !is_wanted {
            continue;
        }
        let (name, value) = (attribute.expose_name(), attribute.expose_value());
        // A label that the folder gives by itself may be one that we could not set.
        if class == Class::Privileged && value_of(file, name).is_ok_and(|now| now == value) {
            continue;
        }
        match fsetxattr(file, name, value, XattrFlags::empty()) {
            Err(error) if class.is_missed(error) => missed += 1,
            Ok(()) | Err(_) => {}
        }
    }
    missed
}

/// Writes zeros over the values of `user.*` and removes them, durably. What cannot be changed
/// stays, and goes with the file.
///
/// # Errors
///
/// If what was changed could not be made durable.
pub(super) fn blot_out(file: &File) -> io::Result<()> {
    let mut is_changed = false;
    for name in names_of(file).unwrap_or_default() {
        if Class::of(&name) != Class::User {
            continue;
        }
        let Ok(value) = value_of(file, &name) else { continue };
        // The same length stays in the same place, where the file system has places for them.
        let zeros = vec![0; value.len()];
        is_changed |= fsetxattr(file, &name[..], &zeros, XattrFlags::REPLACE).is_ok();
    }
    if !is_changed {
        return Ok(());
    }
    // Before they are removed, or the zeros never leave memory.
    file.sync_all()?;
    for name in names_of(file).unwrap_or_default() {
        if Class::of(&name) == Class::User {
            fremovexattr(file, &name[..]).ok(); // zeros stay
        }
    }
    Ok(())
}

/// What a name is to us; the order is the order of keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// What people and programs wrote.
    User,
    /// The POSIX access list.
    Access,
    /// Labels and capabilities; to be changed by few.
    Privileged,
    /// A signature over the file's content or inode.
    Signature,
    /// Not kept.
    Foreign,
}

impl Class {
    fn of(name: &[u8]) -> Self {
        match name {
            b"system.posix_acl_access" => Self::Access,
            b"security.ima" | b"security.evm" => Self::Signature,
            _ if name.starts_with(b"user.") => Self::User,
            _ if name.starts_with(b"security.") || name.starts_with(b"trusted.") => {
                Self::Privileged
            }
            _ => Self::Foreign,
        }
    }

    /// True if somebody should hear of this failure: not of a missing right to what only few may
    /// touch, nor of a file system without attributes.
    fn is_missed(self, error: Errno) -> bool {
        match error {
            Errno::NOTSUP | Errno::NOSYS => false,
            Errno::PERM | Errno::ACCESS => match self {
                Self::User | Self::Access => true,
                Self::Privileged | Self::Signature | Self::Foreign => false,
            },
            _ => true,
        }
    }
}

fn names_of(file: &File) -> Result<Vec<Vec<u8>>, Errno> {
    let mut few = [0; FEW_BYTES];
    let mut many = Vec::new();
    let list = match flistxattr(file, &mut few) {
        Ok(len) => &few[..len],
        Err(Errno::RANGE) => {
            many.resize(LIST_BYTES_MAX, 0);
            let len = flistxattr(file, &mut many[..])?;
            &many[..len]
        }
        Err(error) => return Err(error),
    };
    Ok(list.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
}

fn value_of(file: &File, name: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut few = [0; FEW_BYTES];
    match fgetxattr(file, name, &mut few) {
        Ok(len) => Ok(few[..len].to_vec()),
        Err(Errno::RANGE) => {
            let mut many = vec![0; ExtendedAttributes::BYTES_MAX];
            let len = fgetxattr(file, name, &mut many[..])?;
            many.truncate(len);
            Ok(many)
        }
        Err(error) => Err(error),
    }
}

/// Enough for what files usually have.
const FEW_BYTES: usize = 1024;
/// `XATTR_LIST_MAX`: Linux gives no longer list.
const LIST_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests;
