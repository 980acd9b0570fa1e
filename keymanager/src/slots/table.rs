//! The slot table: `slots.json`, and how each row opens.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::passphrase::{self, Cost};
use super::{SlotInfo, SlotKind, Unlock, file};
use crate::disk;
use crate::envelope;
use crate::error::KeyError;
use crate::hex::HexBytes;
use crate::secret::{SECRET_BYTES, Secret};

/// The content of `slots.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SlotTable {
    format: u32,
    /// Id of the store that the root key opens.
    store: Uuid,
    slots: Vec<Slot>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Slot {
    id: Uuid,
    created_ms: i64,
    way: Way,
    wrapped_root: HexBytes,
    root_check: HexBytes,
}

/// What a kind needs to make its slot key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    File,
    Passphrase(passphrase::Stretch),
}

impl SlotTable {
    /// A table for a new store: the file slot, with a new `root.key`.
    pub(crate) fn create(
        folder: &Path,
        store: Uuid,
        root: &Secret,
        now_ms: i64,
    ) -> Result<Self, KeyError> {
        let mut table = Self { format: FORMAT, store, slots: Vec::new() };
        table.add(Way::File, &file::create(folder)?, root, now_ms);
        disk::write_new(&path(folder), &table.to_json())
            .map_err(KeyError::disk("writing the slot table"))?;
        Ok(table)
    }

    /// Reads the table.
    pub(crate) fn load(folder: &Path) -> Result<Self, KeyError> {
        let table = path(folder);
        let json = disk::read(&table, TABLE_BYTES_MAX)
            .map_err(KeyError::disk("reading the slot table"))?;
        let loaded: Self = serde_json::from_slice(&json).map_err(|_| KeyError::SlotsDamaged)?;
        if loaded.format != FORMAT || !(1..=SLOTS_MAX).contains(&loaded.slots.len()) {
            return Err(KeyError::SlotsDamaged);
        }
        Ok(loaded)
    }

    /// The root key, by the first slot that opens. Each passphrase slot costs half a second.
    pub(crate) fn unlock(&self, folder: &Path, unlock: &Unlock) -> Result<Secret, KeyError> {
        let mut refusal = KeyError::NoSuchSlot { kind: unlock.kind() };
        for slot in &self.slots {
            let opened = match (&slot.way, unlock) {
                (Way::File, Unlock::File) => {
                    refusal = KeyError::WrongKeyFile { slot: slot.id };
                    file::read(folder)?.and_then(|key| self.open(slot, &key))
                }
                (Way::Passphrase(stretch), Unlock::Passphrase(passphrase)) => {
                    refusal = KeyError::WrongPassphrase;
                    self.open(slot, &stretch.key(passphrase)?)
                }
                (Way::File, Unlock::Passphrase(_)) | (Way::Passphrase(_), Unlock::File) => None,
            };
            if let Some(root) = opened {
                return Ok(root);
            }
        }
        Err(refusal)
    }

    /// The table with one more slot, to be stored by [`replace`](Self::replace).
    pub(crate) fn with_passphrase(
        &self,
        passphrase: &str,
        cost: Cost,
        root: &Secret,
        now_ms: i64,
    ) -> Result<(Self, SlotInfo), KeyError> {
        passphrase::check_length(passphrase)?;
        if self.slots.len() >= SLOTS_MAX {
            return Err(KeyError::TooManySlots { max: SLOTS_MAX });
        }
        let mut table = self.clone();
        let stretch = passphrase::Stretch::new(cost);
        let key = stretch.key(passphrase)?;
        table.add(Way::Passphrase(stretch), &key, root, now_ms);
        let added = table.slots.last().expect("one was just added");
        let Way::Passphrase(stretch) = &added.way else { unreachable!("a passphrase was added") };
        let opened = table.open(added, &stretch.key(passphrase)?);
        if opened.is_none_or(|opened| opened.expose_bytes() != root.expose_bytes()) {
            return Err(KeyError::WrongPassphrase);
        }
        let info = added.info();
        Ok((table, info))
    }

    /// The table without slot `id`, to be stored by [`replace`](Self::replace).
    pub(crate) fn without(&self, id: Uuid) -> Result<Self, KeyError> {
        let mut table = self.clone();
        table.slots.retain(|slot| slot.id != id);
        if table.slots.len() == self.slots.len() {
            return Err(KeyError::UnknownSlot { id });
        }
        if table.slots.is_empty() {
            return Err(KeyError::LastSlot { id });
        }
        Ok(table)
    }

    /// Stores this table in the place of the old one; a `root.key` without a slot goes.
    pub(crate) fn replace(&self, folder: &Path) -> Result<(), KeyError> {
        disk::replace(&path(folder), &self.to_json())
            .map_err(KeyError::disk("replacing the slot table"))?;
        self.sweep(folder)
    }

    /// Destroys what interrupted changes left. Only for a table that opened the store beside it:
    /// the word of a stranger's table must not cost our `root.key`.
    pub(crate) fn sweep(&self, folder: &Path) -> Result<(), KeyError> {
        let swept = || {
            let mut leftovers = Vec::from(disk::replacement_leftovers(&path(folder)));
            if !self.slots.iter().any(|slot| matches!(slot.way, Way::File)) {
                leftovers.push(file::path(folder));
            }
            leftovers.retain(|leftover| leftover.exists());
            for leftover in &leftovers {
                disk::destroy(leftover)?;
            }
            if leftovers.is_empty() { Ok(()) } else { disk::sync_folder(folder) }
        };
        swept().map_err(KeyError::disk("sweeping old slots"))
    }

    /// Id of the store that the root key opens.
    pub(crate) fn store(&self) -> Uuid {
        self.store
    }

    /// The slots, as they may be shown.
    pub(crate) fn infos(&self) -> Vec<SlotInfo> {
        self.slots.iter().map(Slot::info).collect()
    }

    fn add(&mut self, way: Way, slot_key: &Secret, root: &Secret, now_ms: i64) {
        let id = Uuid::now_v7();
        let sealed = envelope::seal(
            &wrapping_key(slot_key, id),
            &self.associated_data(id, way.kind()),
            root.expose_bytes(),
        );
        self.slots.push(Slot {
            id,
            created_ms: now_ms,
            way,
            wrapped_root: HexBytes::new(sealed),
            root_check: self.check_value(root),
        });
    }

    fn open(&self, slot: &Slot, slot_key: &Secret) -> Option<Secret> {
        let aad = self.associated_data(slot.id, slot.way.kind());
        let opened =
            envelope::open(&wrapping_key(slot_key, slot.id), &aad, slot.wrapped_root.as_bytes())?;
        let bytes: &[u8; SECRET_BYTES] = opened.as_slice().try_into().ok()?;
        let root = Secret::from_bytes(bytes);
        (self.check_value(&root).as_bytes() == slot.root_check.as_bytes()).then_some(root)
    }

    fn associated_data(&self, slot: Uuid, kind: SlotKind) -> Vec<u8> {
        [self.store.as_bytes(), slot.as_bytes(), kind.as_str().as_bytes()].concat()
    }

    fn check_value(&self, root: &Secret) -> HexBytes {
        HexBytes::new(root.derive(&[b"check/1", self.store.as_bytes()]).expose_bytes().as_slice())
    }

    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a slot table has only text keys")
    }
}

impl Slot {
    fn info(&self) -> SlotInfo {
        let kind = self.way.kind();
        SlotInfo {
            id: self.id,
            kind,
            created_ms: self.created_ms,
            is_recovery: kind.is_recovery(),
            unattended: kind.is_unattended(),
        }
    }
}

impl Way {
    fn kind(&self) -> SlotKind {
        match self {
            Self::File => SlotKind::File,
            Self::Passphrase(_) => SlotKind::Passphrase,
        }
    }
}

fn wrapping_key(slot_key: &Secret, slot: Uuid) -> Secret {
    slot_key.derive(&[b"slot/1", slot.as_bytes()])
}

/// Where the table lies.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("slots.json")
}

const FORMAT: u32 = 1;
const SLOTS_MAX: usize = 16;
const TABLE_BYTES_MAX: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    use zeroize::Zeroizing;

    fn table(folder: &Path) -> (SlotTable, Secret) {
        let root = Secret::generate();
        (SlotTable::create(folder, Uuid::now_v7(), &root, 0).unwrap(), root)
    }

    fn passphrase(text: &str) -> Unlock {
        Unlock::Passphrase(Zeroizing::new(text.to_owned()))
    }

    #[test]
    fn every_slot_leads_to_the_one_root_key() {
        let dir = tempfile::tempdir().unwrap();
        let (table, root) = table(dir.path());
        let (table, info) =
            table.with_passphrase("correct horse battery", Cost::CHEAP, &root, 5).unwrap();
        assert!(info.is_recovery && !info.unattended && info.created_ms == 5);
        table.replace(dir.path()).unwrap();
        let table = SlotTable::load(dir.path()).unwrap();
        for unlock in [Unlock::File, passphrase("correct horse battery")] {
            let opened = table.unlock(dir.path(), &unlock).unwrap();
            assert_eq!(opened.expose_bytes(), root.expose_bytes(), "{unlock:?}");
        }
        let wrong = table.unlock(dir.path(), &passphrase("correct horse batterz"));
        assert!(matches!(wrong, Err(KeyError::WrongPassphrase)));
    }

    #[test]
    fn a_slot_that_is_not_there_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let (table, root) = table(dir.path());
        let none = table.unlock(dir.path(), &passphrase("correct horse battery"));
        assert!(matches!(none, Err(KeyError::NoSuchSlot { kind: SlotKind::Passphrase })));
        for bad in ["", "too short", &"x".repeat(1_025)] {
            let result = table.with_passphrase(bad, Cost::CHEAP, &root, 0);
            assert!(matches!(result, Err(KeyError::PassphraseLength { .. })));
        }
        let first = table.infos()[0].id;
        assert!(matches!(table.without(first), Err(KeyError::LastSlot { .. })));
        assert!(matches!(table.without(Uuid::nil()), Err(KeyError::UnknownSlot { .. })));
    }

    /// Planted fault: the store id left out of the associated data and the check value.
    #[test]
    fn a_changed_table_or_key_file_opens_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (good, _) = table(dir.path());
        let changes: [fn(&mut SlotTable); 4] = [
            |table| table.store = Uuid::now_v7(),
            |table| table.slots[0].id = Uuid::now_v7(),
            |table| table.slots[0].root_check = HexBytes::new([0; 32]),
            |table| table.slots[0].wrapped_root = HexBytes::new([]),
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut table = good.clone();
            change(&mut table);
            let result = table.unlock(dir.path(), &Unlock::File);
            assert!(matches!(result, Err(KeyError::WrongKeyFile { .. })), "change {number}");
        }
        std::fs::write(file::path(dir.path()), "not a key").unwrap();
        let result = good.unlock(dir.path(), &Unlock::File);
        assert!(matches!(result, Err(KeyError::WrongKeyFile { .. })));
        for bad in ["", "{", "{\"format\":1}", "[]"] {
            std::fs::write(path(dir.path()), bad).unwrap();
            let result = SlotTable::load(dir.path());
            assert!(matches!(result, Err(KeyError::SlotsDamaged)), "{bad}");
        }
    }

    /// Planted fault: `root.key` destroyed before the new table is durable.
    #[test]
    fn a_crash_while_slots_change_locks_nobody_out() {
        for at in 0.. {
            let dir = tempfile::tempdir().unwrap();
            let (table, root) = table(dir.path());
            let file_slot = table.infos()[0].id;
            let (table, _) =
                table.with_passphrase("correct horse battery", Cost::CHEAP, &root, 0).unwrap();
            table.replace(dir.path()).unwrap();
            let less = table.without(file_slot).unwrap();
            let (_, done) = disk::crash::run(at, || less.replace(dir.path()));

            let table = SlotTable::load(dir.path()).unwrap();
            table.unlock(dir.path(), &passphrase("correct horse battery")).unwrap();
            table.sweep(dir.path()).unwrap();
            let has_slot = table.infos().iter().any(|info| info.kind == SlotKind::File);
            assert_eq!(has_slot, table.unlock(dir.path(), &Unlock::File).is_ok(), "step {at}");
            assert_eq!(has_slot, file::path(dir.path()).exists(), "step {at}");
            if done {
                assert!(!has_slot && at > 8, "only {at} steps were ever planned");
                return;
            }
        }
    }
}
