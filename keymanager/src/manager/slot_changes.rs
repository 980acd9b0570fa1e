//! Changes to the ways to the root key, and its replacement.
//!
//! A new root key takes these steps:
//!
//! 1. every slot is opened with what is given, wrapped around the new root key and opened again;
//!    `root.key` gets a second line;
//! 2. the new slot table is stored, with the old root key sealed under the new one in it;
//! 3. the store's contents become a new generation under the new root key, which is read back;
//! 4. the generations under the old root key are destroyed;
//! 5. the table is stored without the old root key, and `root.key` loses its first line.
//!
//! *If the power goes here, which good copy is left?* Before 2: the old table and the old store;
//! a second line in `root.key` does no harm and goes at the next start. From 2 on: the new table,
//! which opens generations under either key. The next start takes steps 3 to 5 again from the
//! beginning; each may be repeated. A copy of the old table and `root.key` made before opens
//! copies of the old generations for ever, and nothing newer.

use std::path::Path;

use uuid::Uuid;
use zeroize::Zeroizing;

use crate::error::KeyError;
use crate::manager::{KeyManager, Writer};
use crate::secret::Secret;
use crate::shares::Share;
use crate::slots::{Cost, Means, NewSlot, SlotInfo, SlotProblem, SlotTable, Surroundings};
use crate::store::Contents;

/// What [`KeyManager::rotate_root`] did with the slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootRotation {
    /// They lead to the new root key, under the same ids.
    pub kept: Vec<SlotInfo>,
    /// They were dropped, because nobody could open them.
    pub dropped: Vec<SlotInfo>,
}

impl KeyManager {
    /// The slots of a store that need not be open, oldest first.
    ///
    /// # Errors
    ///
    /// [`KeyError::Disk`], [`KeyError::SlotsDamaged`].
    pub fn slots_of(folder: &Path) -> Result<Vec<SlotInfo>, KeyError> {
        Ok(SlotTable::load(folder)?.infos())
    }

    /// The slots, oldest first.
    pub fn slots(&self) -> Vec<SlotInfo> {
        self.writer().slots.infos()
    }

    /// Adds a passphrase slot, opened once before it is stored. Takes about a second and 64 MiB.
    ///
    /// # Errors
    ///
    /// [`KeyError::PassphraseLength`], [`KeyError::TooManySlots`], [`KeyError::Disk`].
    pub fn add_passphrase_slot(
        &self,
        passphrase: &Zeroizing<String>,
        now_ms: i64,
    ) -> Result<SlotInfo, KeyError> {
        let mut writer = self.writer();
        let (slots, info) =
            writer.slots.with_passphrase(passphrase, Cost::DEFAULT, &writer.root, now_ms)?;
        writer.take_over(slots, &self.folder)?;
        Ok(info)
    }

    /// Adds a slot that any `threshold` of `of` shares open. The shares exist nowhere else: whoever
    /// cannot hand them out removes the slot again.
    ///
    /// # Errors
    ///
    /// [`KeyError::Shares`], [`KeyError::TooManySlots`], [`KeyError::Disk`].
    pub fn add_shares_slot(
        &self,
        threshold: u8,
        of: u8,
        now_ms: i64,
    ) -> Result<(SlotInfo, Vec<Share>), KeyError> {
        let mut writer = self.writer();
        let (slots, info, shares) =
            writer.slots.with_shares(threshold, of, &writer.root, now_ms)?;
        writer.take_over(slots, &self.folder)?;
        Ok((info, shares))
    }

    /// Adds a slot that needs no person, opened once before it is stored. Takes as long as its
    /// source, twice.
    ///
    /// # Errors
    ///
    /// [`KeyError::BadSlot`], [`KeyError::Slot`] if its source does not answer twice the same,
    /// [`KeyError::TooManySlots`], [`KeyError::Disk`].
    pub fn add_slot(
        &self,
        new: &NewSlot,
        surroundings: &Surroundings,
        now_ms: i64,
    ) -> Result<SlotInfo, KeyError> {
        let mut writer = self.writer();
        let (slots, info) =
            writer.slots.with_unattended(new, surroundings, &self.folder, &writer.root, now_ms)?;
        writer.take_over(slots, &self.folder)?;
        Ok(info)
    }

    /// Opens slot `id` with what is given and compares the root key it leads to with the one in
    /// use. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`KeyError::UnknownSlot`], or why it does not open.
    pub fn test_slot(&self, id: Uuid, means: &Means) -> Result<SlotInfo, KeyError> {
        let writer = self.writer();
        let root = writer.slots.open_slot(id, &self.folder, means)?;
        let info = writer.slots.infos().into_iter().find(|info| info.id == id);
        let info = info.ok_or(KeyError::UnknownSlot { id })?;
        match root.expose_bytes() == writer.root.expose_bytes() {
            true => Ok(info),
            false => {
                let source = SlotProblem::WrongKey;
                Err(KeyError::Slot { slot: id, kind: info.kind, source })
            }
        }
    }

    /// Removes a slot, never the last one. A copy of the slot table made earlier still opens,
    /// until the root key is replaced.
    ///
    /// # Errors
    ///
    /// [`KeyError::UnknownSlot`], [`KeyError::LastSlot`], [`KeyError::Disk`].
    pub fn remove_slot(&self, id: Uuid) -> Result<(), KeyError> {
        let mut writer = self.writer();
        let slots = writer.slots.without(id)?;
        writer.take_over(slots, &self.folder)
    }

    /// Replaces the root key: everything is sealed under a new one, and every slot leads to it.
    /// Slots for people need their passphrase or shares among `means`; with `drop_slots` those
    /// that do not open are dropped. Recordings and their keys are not touched.
    ///
    /// # Errors
    ///
    /// Why a slot does not open, [`KeyError::LastSlot`], [`KeyError::Unrepaired`],
    /// [`KeyError::Disk`]. The old or the new root key is in use then; the module says which.
    pub fn rotate_root(&self, means: &Means, drop_slots: bool) -> Result<RootRotation, KeyError> {
        let mut writer = self.writer();
        let contents = self.contents.load_full();
        writer.finish_rotation(&self.folder, &contents)?;
        let damaged = writer.store.damaged().map_err(KeyError::disk("listing generations"))?;
        if let Some(&generation) = damaged.first() {
            return Err(KeyError::Unrepaired { generation });
        }
        let root = Secret::generate();
        let (slots, dropped) =
            writer.slots.rotated(&self.folder, means, drop_slots, &writer.root, &root)?;
        slots.replace(&self.folder)?;
        writer.store.rekey(&root);
        writer.slots = slots;
        writer.root = root;
        writer.finish_rotation(&self.folder, &contents)?;
        Ok(RootRotation { kept: writer.slots.infos(), dropped })
    }
}

impl Writer {
    fn take_over(&mut self, slots: SlotTable, folder: &Path) -> Result<(), KeyError> {
        slots.replace(folder)?;
        self.slots = slots;
        Ok(())
    }

    /// Steps 3 to 5, where something is left to do.
    pub(super) fn finish_rotation(
        &mut self,
        folder: &Path,
        contents: &Contents,
    ) -> Result<(), KeyError> {
        if self.slots.is_rotating() {
            self.store.reseal(contents)?;
            let slots = self.slots.without_previous();
            self.take_over(slots, folder)?;
        }
        self.slots.settle_file(folder)
    }
}

#[cfg(test)]
mod tests;
