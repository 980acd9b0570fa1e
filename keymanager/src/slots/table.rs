//! The slot table: `slots.json`, and how each row opens.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::passphrase::{self, Cost};
use super::way::{ShareSet, Way};
use super::{Given, Means, NewSlot, SlotInfo, SlotKind, Surroundings, Unlock, file};
use crate::disk;
use crate::envelope;
use crate::error::KeyError;
use crate::hex::HexBytes;
use crate::secret::{SECRET_BYTES, Secret};
use crate::shares::{self, Share};

/// The content of `slots.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SlotTable {
    format: u32,
    /// Id of the store that the root key opens.
    store: Uuid,
    slots: Vec<Slot>,
    /// While the root key is being replaced: the old one, sealed under the new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous_root: Option<HexBytes>,
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

impl SlotTable {
    /// A table for a new store: the file slot, with a new `root.key`.
    pub(crate) fn create(
        folder: &Path,
        store: Uuid,
        root: &Secret,
        now_ms: i64,
    ) -> Result<Self, KeyError> {
        let mut table = Self { format: FORMAT, store, slots: Vec::new(), previous_root: None };
        table.add(Uuid::now_v7(), Way::File, &file::create(folder)?, root, now_ms);
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
    ///
    /// # Errors
    ///
    /// [`KeyError::Locked`] if it was to open by itself, else what the last slot of the kind says.
    pub(crate) fn unlock(&self, folder: &Path, unlock: &Unlock) -> Result<Secret, KeyError> {
        let mut refusals = Vec::new();
        for slot in self.slots.iter().filter(|slot| unlock.suits(slot.way.kind())) {
            match self.open_by(slot, folder, unlock.given()) {
                Ok((_, root)) => return Ok(root),
                Err(refusal) => refusals.push(refusal),
            }
        }
        let none = |kind| KeyError::NoSuchSlot { kind };
        // Shares of this set say more than other slots' "not mine".
        let is_telling = |refusal: &KeyError| matches!(refusal, KeyError::Shares { .. });
        let telling = refusals.iter().position(is_telling).or(refusals.len().checked_sub(1));
        Err(match (unlock, telling) {
            (Unlock::Unattended(_), _) => KeyError::Locked { refusals },
            (_, Some(at)) => refusals.swap_remove(at),
            (Unlock::File, None) => none(SlotKind::File),
            (Unlock::Passphrase(_), None) => none(SlotKind::Passphrase),
            (Unlock::Shares(_), None) => none(SlotKind::Shares),
        })
    }

    /// Opens slot `id` with what is given: the root key it leads to.
    pub(crate) fn open_slot(
        &self,
        id: Uuid,
        folder: &Path,
        means: &Means,
    ) -> Result<Secret, KeyError> {
        let slot = self.slots.iter().find(|slot| slot.id == id);
        let slot = slot.ok_or(KeyError::UnknownSlot { id })?;
        self.open_by(slot, folder, means.given()).map(|(_, root)| root)
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
        self.check_room()?;
        let stretch = passphrase::Stretch::new(cost);
        let key = stretch.key(passphrase)?;
        self.with(Uuid::now_v7(), Way::Passphrase(stretch.clone()), &key, root, now_ms, |_, _| {
            stretch.key(passphrase)
        })
    }

    /// The same with a slot that `threshold` of `of` new shares open.
    pub(crate) fn with_shares(
        &self,
        threshold: u8,
        of: u8,
        root: &Secret,
        now_ms: i64,
    ) -> Result<(Self, SlotInfo, Vec<Share>), KeyError> {
        self.check_room()?;
        let unusable = |source| KeyError::Shares { source };
        let key = Secret::generate();
        let made = shares::split(&key, threshold, of).map_err(unusable)?;
        let set = made.first().expect("two shares at least").set();
        let way = Way::Shares(ShareSet { set, threshold, of });
        let (table, info) = self.with(Uuid::now_v7(), way, &key, root, now_ms, |_, _| {
            // The last ones, so that not only the first are ever tried.
            shares::combine(&made[made.len() - usize::from(threshold)..]).map_err(unusable)
        })?;
        Ok((table, info, made))
    }

    /// The same with an unattended slot. Its source is asked twice: to make it, to try it.
    pub(crate) fn with_unattended(
        &self,
        new: &NewSlot,
        surroundings: &Surroundings,
        folder: &Path,
        root: &Secret,
        now_ms: i64,
    ) -> Result<(Self, SlotInfo), KeyError> {
        self.check_room()?;
        let mut base = self.clone();
        if matches!(new, NewSlot::File) {
            let refused = |rule| Err(KeyError::BadSlot { kind: SlotKind::File, rule });
            match self.file_opens(folder) {
                Some(true) => return refused("there can be one"),
                Some(false) if file::path(folder).exists() => {
                    return refused("root.key is there and is another one: move it away first");
                }
                // Its root.key is lost for good: the new one takes its place.
                Some(false) => base.slots.retain(|slot| !matches!(slot.way, Way::File)),
                None => {}
            }
        }
        let given = Given { surroundings, passphrases: &[], shares: &[] };
        let id = Uuid::now_v7();
        let (way, key) = Way::new(new, id, folder, given)?;
        base.with(id, way, &key, root, now_ms, |table, slot| {
            table.open_by(slot, folder, given).map(|(key, _)| key)
        })
    }

    /// The table for a new root key, to be stored by [`replace`](Self::replace): every slot opened
    /// with what is given and wrapped anew, each opened once more. With `drop_slots` those that
    /// do not open are left out. `root.key` has both its keys from here on.
    ///
    /// # Errors
    ///
    /// Why a slot does not open, [`KeyError::LastSlot`] if none would be left.
    pub(crate) fn rotated(
        &self,
        folder: &Path,
        means: &Means,
        drop_slots: bool,
        old: &Secret,
        new: &Secret,
    ) -> Result<(Self, Vec<SlotInfo>), KeyError> {
        let mut table = Self { slots: Vec::new(), ..self.clone() };
        let (mut keys, mut dropped) = (Vec::new(), Vec::new());
        for slot in &self.slots {
            match self.open_by(slot, folder, means.given()) {
                Ok((key, root)) if root.expose_bytes() == old.expose_bytes() => {
                    keys.push((slot, key));
                }
                Err(refusal) if !drop_slots => return Err(refusal),
                Ok(_) | Err(_) => dropped.push(slot.info()),
            }
        }
        if keys.is_empty() {
            let id = self.slots.last().expect("a table has slots").id;
            return Err(KeyError::LastSlot { id });
        }
        for (slot, mut key) in keys {
            if matches!(slot.way, Way::File) {
                let fresh = Secret::generate();
                file::replace(folder, &[&key, &fresh])?;
                key = fresh;
            }
            table.add(slot.id, slot.way.clone(), &key, new, slot.created_ms);
            let added = table.slots.last().expect("one was just added");
            let opened = match slot.way.kind().is_unattended() {
                true => table.open_by(added, folder, means.given()).map(|(_, root)| root)?,
                false => table.open(added, &key).ok_or_else(|| slot.way.refusal(slot.id))?,
            };
            if opened.expose_bytes() != new.expose_bytes() {
                return Err(slot.way.refusal(slot.id));
            }
        }
        let sealed = envelope::seal(&previous_key(new), table.store.as_bytes(), old.expose_bytes());
        table.previous_root = Some(HexBytes::new(sealed));
        Ok((table, dropped))
    }

    /// The root key before this one, as long as its replacement is not finished.
    pub(crate) fn previous_root(&self, root: &Secret) -> Option<Secret> {
        let sealed = self.previous_root.as_ref()?.as_bytes();
        let opened = envelope::open(&previous_key(root), self.store.as_bytes(), sealed)?;
        Some(Secret::from_bytes(opened.as_slice().try_into().ok()?))
    }

    /// True while a root key is being replaced.
    pub(crate) fn is_rotating(&self) -> bool {
        self.previous_root.is_some()
    }

    /// The table once nothing is sealed under the old root key any more.
    pub(crate) fn without_previous(&self) -> Self {
        Self { previous_root: None, ..self.clone() }
    }

    /// Leaves in `root.key` only the key that opens its slot.
    pub(crate) fn settle_file(&self, folder: &Path) -> Result<(), KeyError> {
        let Some(slot) = self.slots.iter().find(|slot| matches!(slot.way, Way::File)) else {
            return Ok(());
        };
        let keys = file::read(folder)?;
        match keys.iter().find(|key| self.open(slot, key).is_some()) {
            Some(key) if keys.len() > 1 => file::replace(folder, &[key]),
            Some(_) | None => Ok(()),
        }
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
            let replaced = [path(folder), file::path(folder)];
            let mut leftovers: Vec<_> =
                replaced.iter().flat_map(|path| disk::replacement_leftovers(path)).collect();
            if !self.has_file() {
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

    /// Whether `root.key` opens the file slot; `None` without such a slot.
    pub(crate) fn file_opens(&self, folder: &Path) -> Option<bool> {
        let slot = self.slots.iter().find(|slot| matches!(slot.way, Way::File))?;
        let surroundings = Surroundings::default();
        let given = Given { surroundings: &surroundings, passphrases: &[], shares: &[] };
        Some(self.open_by(slot, folder, given).is_ok())
    }

    fn has_file(&self) -> bool {
        self.slots.iter().any(|slot| matches!(slot.way, Way::File))
    }

    fn check_room(&self) -> Result<(), KeyError> {
        match self.slots.len() < SLOTS_MAX {
            true => Ok(()),
            false => Err(KeyError::TooManySlots { max: SLOTS_MAX }),
        }
    }

    /// The table with one more slot, which `again` opened a second time.
    fn with(
        &self,
        id: Uuid,
        way: Way,
        key: &Secret,
        root: &Secret,
        now_ms: i64,
        again: impl FnOnce(&Self, &Slot) -> Result<Secret, KeyError>,
    ) -> Result<(Self, SlotInfo), KeyError> {
        let mut table = self.clone();
        table.add(id, way, key, root, now_ms);
        let added = table.slots.last().expect("one was just added");
        let opened = table.open(added, &again(&table, added)?);
        if opened.is_none_or(|opened| opened.expose_bytes() != root.expose_bytes()) {
            return Err(added.way.refusal(id));
        }
        let info = added.info();
        Ok((table, info))
    }

    /// The slot key that opens `slot`, and the root key it leads to.
    fn open_by(
        &self,
        slot: &Slot,
        folder: &Path,
        given: Given<'_>,
    ) -> Result<(Secret, Secret), KeyError> {
        for key in slot.way.keys(slot.id, folder, given)? {
            if let Some(root) = self.open(slot, &key) {
                return Ok((key, root));
            }
        }
        Err(slot.way.refusal(slot.id))
    }

    fn add(&mut self, id: Uuid, way: Way, slot_key: &Secret, root: &Secret, now_ms: i64) {
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
            detail: self.way.detail(),
            created_ms: self.created_ms,
            is_recovery: kind.is_recovery(),
            unattended: kind.is_unattended(),
        }
    }
}

fn wrapping_key(slot_key: &Secret, slot: Uuid) -> Secret {
    slot_key.derive(&[b"slot/1", slot.as_bytes()])
}

/// Seals an old root key under the one that follows it.
fn previous_key(root: &Secret) -> Secret {
    root.derive(&[b"previous/1"])
}

/// Where the table lies.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("slots.json")
}

const FORMAT: u32 = 1;
const SLOTS_MAX: usize = 16;
const TABLE_BYTES_MAX: u64 = 64 << 10;

#[cfg(test)]
mod tests;
