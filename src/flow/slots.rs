//! The ways to the root key, as people change them: each change with its audit entry.

use keymanager::{KeyError, Means, NewSlot, RootRotation, Share, SlotInfo, Surroundings};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::access::{self, Grant, Principal};
use crate::clock::Timestamp;
use crate::compliance::audit::{Activity, AuditEntry, Outcome};
use crate::flow::desk::actor;
use crate::flow::{Engine, FlowError};

/// A slot that somebody wants.
pub enum WantedSlot {
    /// Opened by what someone remembers.
    Passphrase(Zeroizing<String>),
    /// Opened by so many of those who hold a share.
    Shares {
        /// How many suffice.
        threshold: u8,
        /// How many there are to be.
        of: u8,
    },
    /// Opened by the machine itself.
    Unattended(NewSlot, Surroundings),
}

/// How the keys came to be open, if not by themselves at the start.
#[derive(Clone, Debug)]
pub struct Unlocked {
    /// Who brought what it took; nobody if an unattended slot opened after all.
    pub by: Option<Principal>,
    /// `unattended`, `passphrase` or `shares`.
    pub with: &'static str,
    /// Who failed before, and when.
    pub refused: Vec<(Principal, Timestamp)>,
}

impl Engine {
    /// The slots, oldest first.
    pub fn key_slots(&self, _grant: &Grant<access::ViewKeys>) -> Vec<SlotInfo> {
        self.keys.slots()
    }

    /// Adds a slot, opened once before it is stored. Shares come back this one time.
    ///
    /// # Errors
    ///
    /// [`FlowError::Keys`]; nothing was changed. [`FlowError::Catalog`]: without its audit entry
    /// the slot is taken back.
    pub fn add_key_slot(
        &self,
        grant: &Grant<access::ManageKeys>,
        wanted: &WantedSlot,
        now: Timestamp,
    ) -> Result<(SlotInfo, Vec<Share>), FlowError> {
        let now_ms = now.as_millis();
        let added = match wanted {
            WantedSlot::Passphrase(passphrase) => {
                self.keys.add_passphrase_slot(passphrase, now_ms).map(|info| (info, Vec::new()))
            }
            WantedSlot::Shares { threshold, of } => {
                self.keys.add_shares_slot(*threshold, *of, now_ms)
            }
            WantedSlot::Unattended(new, surroundings) => {
                self.keys.add_slot(new, surroundings, now_ms).map(|info| (info, Vec::new()))
            }
        };
        let entry = AuditEntry::new(now, actor(grant.principal()), Activity::KeySlotAdded);
        let (info, shares) = match added {
            Ok(added) => added,
            Err(error) => {
                self.note_failure(entry)?;
                return Err(error.into());
            }
        };
        let entry = entry.because(info.kind.as_str()).on_object(info.id);
        if let Err(error) = self.catalog.write(|tx| tx.append_audit(&entry)) {
            self.keys.remove_slot(info.id)?;
            return Err(error.into());
        }
        Ok((info, shares))
    }

    /// Removes a slot, never the last one.
    ///
    /// # Errors
    ///
    /// [`FlowError::Keys`], nothing was changed; [`FlowError::Catalog`].
    pub fn remove_key_slot(
        &self,
        grant: &Grant<access::ManageKeys>,
        id: Uuid,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let entry = AuditEntry::new(now, actor(grant.principal()), Activity::KeySlotRemoved);
        self.note_outcome(entry.on_object(id), self.keys.remove_slot(id))
    }

    /// Opens a slot once more, and says whether it leads to the root key in use.
    ///
    /// # Errors
    ///
    /// [`FlowError::Keys`] with why it does not open, [`FlowError::Catalog`].
    pub fn test_key_slot(
        &self,
        grant: &Grant<access::ManageKeys>,
        id: Uuid,
        means: &Means,
        now: Timestamp,
    ) -> Result<SlotInfo, FlowError> {
        let entry = AuditEntry::new(now, actor(grant.principal()), Activity::KeySlotTested);
        self.note_outcome(entry.on_object(id), self.keys.test_slot(id, means))
    }

    /// Replaces the root key. Takes as long as opening every slot twice.
    ///
    /// # Errors
    ///
    /// [`FlowError::Keys`]: the old or the new root key is in use, and a repetition finishes it.
    pub fn rotate_root_key(
        &self,
        grant: &Grant<access::ManageKeys>,
        means: &Means,
        drop_slots: bool,
        now: Timestamp,
    ) -> Result<RootRotation, FlowError> {
        let entry = AuditEntry::new(now, actor(grant.principal()), Activity::RootKeyRotated);
        self.note_outcome(entry, self.keys.rotate_root(means, drop_slots))
    }

    /// Records who unlocked the keys, and who tried before.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`].
    pub fn note_unlocked(&self, unlocked: &Unlocked, now: Timestamp) -> Result<(), FlowError> {
        for (who, when) in &unlocked.refused {
            self.note_failure(AuditEntry::new(*when, actor(who), Activity::KeysUnlocked))?;
        }
        match &unlocked.by {
            None => self.note_daemon(Activity::KeysUnlocked, now),
            Some(who) => {
                let entry = AuditEntry::new(now, actor(who), Activity::KeysUnlocked);
                let entry = entry.because(unlocked.with);
                self.catalog.write(|tx| tx.append_audit(&entry))?;
                Ok(())
            }
        }
    }

    fn note_outcome<T>(
        &self,
        entry: AuditEntry,
        outcome: Result<T, KeyError>,
    ) -> Result<T, FlowError> {
        match outcome {
            Ok(value) => {
                self.catalog.write(|tx| tx.append_audit(&entry))?;
                Ok(value)
            }
            Err(error) => {
                self.note_failure(entry)?;
                Err(error.into())
            }
        }
    }

    fn note_failure(&self, entry: AuditEntry) -> Result<(), FlowError> {
        let entry = entry.with_outcome(Outcome::Failed);
        self.catalog.write(|tx| tx.append_audit(&entry))?;
        Ok(())
    }
}
