use super::*;

use crate::domain::StorePath;
use crate::vault::{Layout, LocalVault, Vault};

/// What `getfattr` shows, as pairs.
fn pairs(attributes: &ExtendedAttributes) -> Vec<(Vec<u8>, Vec<u8>)> {
    attributes.iter().map(|one| (one.expose_name().into(), one.expose_value().into())).collect()
}

fn attributes(pairs: &[(&str, &[u8])]) -> ExtendedAttributes {
    let mut kept = ExtendedAttributes::default();
    for (name, value) in pairs {
        kept.keep(ExtendedAttribute::new(*name, *value).unwrap());
    }
    kept
}

/// An original with these; `None`, and the reason is printed, where temporary files have none.
fn original(pairs: &[(&str, &[u8])]) -> Option<File> {
    let file = tempfile::tempfile().unwrap();
    for (name, value) in pairs {
        match fsetxattr(&file, *name, value, XattrFlags::empty()) {
            Ok(()) => {}
            Err(Errno::NOTSUP | Errno::PERM) => {
                eprintln!("SKIP: temporary files cannot have {name}");
                return None;
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
    Some(file)
}

/// Version 2, then tag, rights and id: owner rw, user 1000 r, group -, mask r, others -.
const ACL: &[u8] = b"\x02\0\0\0\
    \x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\xe8\x03\0\0\
    \x04\0\0\0\xff\xff\xff\xff\x10\0\x04\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";

/// Planted faults: a value longer than the first buffer dropped; `Access` left out of `set`.
#[test]
fn a_sealed_file_beside_its_original_gets_all_of_them() {
    let long = vec![b'v'; FEW_BYTES + 500];
    let wanted: [(&str, &[u8]); 4] = [
        ("user.comment", b"call back"),
        ("user.empty", b""),
        ("user.long", &long),
        (ACL_NAME, ACL),
    ];
    let Some(file) = original(&wanted) else { return };
    let found = read_xattrs(&file);
    assert_eq!((found.iter().count(), found.left_out()), (4, 0));

    let folder = tempfile::tempdir().unwrap();
    for (layout, kept) in [(Layout::Beside, 4), (Layout::Own, 3)] {
        let vault = LocalVault::open(folder.path(), layout, 0).unwrap();
        let path = StorePath::new(format!("{layout:?}.sealed")).unwrap();
        let draft = vault.begin(&path, 0).unwrap();
        assert_eq!(draft.keep_xattrs(&found), 0);
        vault.publish(vec![draft]).remove(0).unwrap();
        let sealed = File::open(path.expose_below(folder.path())).unwrap();
        let now = read_xattrs(&sealed);
        assert_eq!(pairs(&now), pairs(&found)[..kept], "{layout:?}");
    }
}

/// Planted fault: signatures treated as other labels.
#[test]
fn what_signs_other_bytes_is_never_set() {
    let Some(file) = original(&[]) else { return };
    let signed = attributes(&[("security.ima", b"\x04\x04"), ("btrfs.compression", b"zstd")]);
    assert_eq!(set(&file, &signed, true), 0);
    assert!(read_xattrs(&file).is_empty());
}

/// Planted fault: every refusal counted as a loss; a host with labels then warns of each file.
#[test]
fn only_what_was_ours_to_keep_is_missed() {
    for (class, error, is_missed) in [
        (Class::User, Errno::PERM, true),
        (Class::User, Errno::NOTSUP, false),
        (Class::Access, Errno::PERM, true),
        (Class::Access, Errno::NOTSUP, false),
        (Class::Privileged, Errno::PERM, false),
        (Class::Privileged, Errno::NOSPC, true),
        (Class::User, Errno::NOSPC, true),
    ] {
        assert_eq!(class.is_missed(error), is_missed, "{class:?} {error}");
    }
    // Too large for the file system, and all the same no reason to stop.
    let Some(file) = original(&[("user.probe", b"")]) else { return };
    let many: Vec<String> = (0..60).map(|number| format!("user.{number}")).collect();
    let pairs: Vec<(&str, &[u8])> =
        many.iter().map(|name| (name.as_str(), &[b'v'; 1000][..])).collect();
    let missed = set(&file, &attributes(&pairs), true);
    assert_eq!(read_xattrs(&file).iter().count() + missed, 61);
}

#[test]
fn a_file_system_without_attributes_has_none_to_miss() {
    let Ok(file) = File::open("/proc/self/comm") else { return };
    assert_eq!(read_xattrs(&file), ExtendedAttributes::default());
    assert_eq!(set(&file, &attributes(&[("user.comment", b"x")]), true), 0);
    blot_out(&file).unwrap();
}

/// That the values leave the disk too is shown on a real device by `tests/journey/raw.rs`.
#[test]
fn nothing_of_the_users_is_left_after_blotting_out() {
    let Some(file) = original(&[("user.a", b"one"), ("user.b", b""), (ACL_NAME, ACL)]) else {
        return;
    };
    blot_out(&file).unwrap();
    assert_eq!(pairs(&read_xattrs(&file)), [(ACL_NAME.into(), ACL.to_vec())]);
    blot_out(&file).unwrap();
}

const ACL_NAME: &str = "system.posix_acl_access";
