//! Names for things that must be found again without being kept.

use super::KeyManager;

impl KeyManager {
    /// The handle of `parts` as a `context`, a short constant that says what kind of thing they
    /// name: the same for the same words for as long as there is this store or a backup of it,
    /// through every rotation, and on every host it is restored to.
    ///
    /// A handle is a pseudonym, not a key: the catalog may keep it and compare it. Whoever holds
    /// it and not the key store cannot even try out telephone numbers against it. Normalise the
    /// parts first: `+1 202` and `1202` are different words. About 1 µs.
    ///
    /// # Panics
    ///
    /// If `context` is longer than 255 bytes.
    pub fn handle(&self, context: &'static str, parts: &[&[u8]]) -> [u8; 32] {
        self.contents.load().handle_key().handle(context, parts)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::path::Path;

    use zeroize::Zeroizing;

    use super::*;
    use crate::store::Contents;
    use crate::{
        BackupOpener, BackupWay, CatalogFacts, Means, OpenedBackup, RotationReason, Unlock,
    };

    const PARTS: &[&[u8]] = &[b"phone", b"12025550143"];

    fn created(folder: &Path) -> KeyManager {
        KeyManager::create(folder, &["localhost".to_owned()], 0).unwrap()
    }

    fn restored(keys: &KeyManager, folder: &Path) -> KeyManager {
        let text = || Zeroizing::new("correct horse battery".to_owned());
        let facts = CatalogFacts {
            len_bytes: 0,
            sha256: aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"")
                .as_ref()
                .try_into()
                .unwrap(),
            taken_ms: 0,
            recordings: 0,
            sealed: 0,
            data_keys: Vec::new(),
            vault: None,
        };
        let ways = [BackupWay::passphrase(text()).unwrap()];
        let mut file = Vec::new();
        let mut sealed = keys.seal_backup(&ways, facts, std::io::empty(), 0).unwrap();
        sealed.read_to_end(&mut file).unwrap();
        let opened = OpenedBackup::open(&file[..], &BackupOpener::passphrase(text())).unwrap();
        opened.keys().restore(folder, None, 0).unwrap()
    }

    /// Planted faults: the handle key derived from the root key (a new root key and a restored
    /// store have others), from the newest KEK, and made anew at each start.
    #[test]
    fn a_handle_outlives_every_key_that_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, elsewhere) = (dir.path().join("keys"), dir.path().join("elsewhere"));
        let keys = created(&folder);
        let handle = keys.handle("person", PARTS);
        assert_ne!(handle, keys.handle("call", PARTS));
        keys.rotate_kek(1, RotationReason::Manual, 0).unwrap();
        assert_eq!(keys.handle("person", PARTS), handle, "a new KEK version");
        keys.rotate_root(&Means::default(), false).unwrap();
        assert_eq!(keys.handle("person", PARTS), handle, "a new root key");
        drop(keys);
        let keys = KeyManager::open(&folder, &Unlock::File).unwrap();
        assert_eq!(keys.handle("person", PARTS), handle, "opened again");
        let moved = restored(&keys, &elsewhere);
        assert_eq!(moved.handle("person", PARTS), handle, "restored from a backup");
        let stranger = created(&dir.path().join("stranger"));
        assert_ne!(stranger.handle("person", PARTS), handle, "another store");
    }

    /// A store that was made before there were handles: no moment at which two of its copies
    /// could come by different handle keys, be it opened after a crash, from an older generation
    /// or from an older backup. Planted fault: a random one at the first open.
    #[test]
    fn an_older_store_has_one_handle_key_wherever_it_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("keys");
        let keys = created(&folder);
        let older = Contents { handles: None, ..Contents::clone(&keys.contents.load()) };
        keys.writer().store.commit_alone(&older).unwrap();
        let open = || KeyManager::open(&folder, &Unlock::File).unwrap();
        drop(keys);

        let keys = open();
        let handle = keys.handle("person", PARTS);
        let before = restored(&keys, &dir.path().join("before"));
        drop(keys);
        let keys = open();
        assert_eq!(keys.handle("person", PARTS), handle, "opened again");
        keys.rotate_kek(1, RotationReason::Manual, 0).unwrap();
        let stored = |contents: &Contents| contents.handles.is_some();
        assert!(keys.writer().store.every_generation().iter().any(stored), "kept from now on");
        assert_eq!(keys.handle("person", PARTS), handle, "after a change");
        assert_eq!(before.handle("person", PARTS), handle, "in a backup made before it was kept");
        drop(keys);
        assert_eq!(open().handle("person", PARTS), handle);
    }

    /// Meant to catch: a store of before there were handles, read as one from the future.
    #[test]
    fn contents_without_the_field_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let keys = created(&dir.path().join("keys"));
        let json = crate::store::to_plaintext_json(&keys.contents.load());
        let mut value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert!(value.as_object_mut().unwrap().remove("handles").is_some());
        let contents: Contents = serde_json::from_value(value).unwrap();
        assert!(contents.handles.is_none());
    }
}
