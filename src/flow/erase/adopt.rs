//! Sealed files of recordings whose key nobody knows any more: a restored backup left them so.
//!
//! Such a file is known by its path, and a recorder that counts its names from 0 again may have
//! had another recording sealed beside it under the same name since that backup was made. So the
//! prefix is read before anything is done: what is another's is left alone, and the file that was
//! meant is gone already.

use crate::domain::VaultName;
use crate::domain::doomed::{DoomedFile, DoomedKind};
use crate::flow::stores::vault_of;
use crate::flow::{Engine, FlowError};
use crate::seal;
use crate::vault::Vault;

impl Engine {
    /// Learns the data keys of those of `files` that have none noted, and drops those that are
    /// another recording's. If the power goes here, it is done again.
    pub(super) fn identify(&self, files: &mut Vec<DoomedFile>) -> Result<(), FlowError> {
        let mut known = Vec::new();
        for mut file in std::mem::take(files) {
            match (file.kind, file.data_key, &file.place) {
                (DoomedKind::Sealed(kind), None, Some((name, path))) => {
                    let store = match name {
                        VaultName::Own => None,
                        VaultName::Beside(store) => self.slot_of(*store),
                    };
                    let opened = store.and_then(|slot| slot.opened());
                    let vault = vault_of(&self.vault, opened.as_deref(), *name);
                    // Not there: it has its opaque name already, or its store is missing.
                    if let Some(Ok(media)) = vault.map(|vault| vault.open(path)) {
                        let prefix = seal::peek_prefix(&media).ok();
                        let ours = prefix.filter(|prefix| {
                            (prefix.recording, prefix.kind) == (file.recording, kind)
                        });
                        let Some(prefix) = ours else {
                            self.catalog.write(|tx| tx.note_missing(file.token))?;
                            continue;
                        };
                        self.catalog.write(|tx| tx.note_data_key(file.token, prefix.data_key))?;
                        file.data_key = Some(prefix.data_key);
                    }
                    known.push(file);
                }
                (DoomedKind::Sealed(_) | DoomedKind::Original | DoomedKind::Leftover, _, _) => {
                    known.push(file);
                }
            }
        }
        *files = known;
        Ok(())
    }
}
