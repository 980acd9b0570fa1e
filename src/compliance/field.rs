//! The field configuration: what anonymization takes away.
//!
//! ```text
//! Basic   phone number ✔   email or IP ✔   subject and body ✘   media files ✘
//! Custom  metadata keys that are search filters   ✘ each
//! Other   every other metadata key seen           ✘ each
//!
//! saved [`FieldConfig`] ─▶ [`Draft`] ─ set … set ─▶ [`Draft::save`] ─▶ saved anew, version + 1
//!                             └──── [`Draft::reset`] ─▶ as saved
//! ```
//!
//! There is one configuration, and each anonymization applies it as it stands: nobody chooses
//! fields for one conversation. A key by which conversations are merged cannot be chosen: with it
//! gone, the next import would tear them apart.
//!
//! # Invariants
//!
//! - A save takes all of a draft or nothing.
//! - A draft made from an older version cannot be saved over a newer one.

use std::collections::BTreeSet;

/// A choice of the group Basic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BasicField {
    /// Phone numbers of participants.
    Phone,
    /// Email, chat and IP addresses of participants.
    Address,
    /// Subject and body of emails, room name and messages of chats.
    Texts,
    /// Recordings of calls and screens, but those kept for MiFID.
    Media,
}

impl BasicField {
    /// All of them, as shown.
    pub const ALL: [Self; 4] = [Self::Phone, Self::Address, Self::Texts, Self::Media];

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Address => "address",
            Self::Texts => "texts",
            Self::Media => "media",
        }
    }

    /// The field of a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.as_str() == name)
    }

    /// What people read.
    pub fn label(self) -> &'static str {
        match self {
            Self::Phone => "Participant phone number",
            Self::Address => "Participant email or IP",
            Self::Texts => "Subject and body, with chat room name and messages",
            Self::Media => "Media files",
        }
    }

    /// Chosen before anybody chose.
    pub fn is_default(self) -> bool {
        match self {
            Self::Phone | Self::Address => true,
            Self::Texts | Self::Media => false,
        }
    }
}

/// Where on the page a choice stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// The four fixed choices.
    Basic,
    /// Metadata keys that are search filters.
    Custom,
    /// Every other key seen.
    Other,
}

impl Group {
    /// What people read.
    pub fn label(self) -> &'static str {
        match self {
            Self::Basic => "Basic",
            Self::Custom => "Custom Data",
            Self::Other => "Other Data",
        }
    }
}

/// What is known about metadata keys. Neither list depends on the other: a filter need not have
/// been seen yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataKeys {
    /// Configured as search filters, in the order of the page.
    pub filters: Vec<String>,
    /// Seen in some conversation.
    pub seen: BTreeSet<String>,
    /// Used to merge conversations.
    pub correlation: BTreeSet<String>,
}

impl MetadataKeys {
    /// The group of `key`; `None` if it is no filter and was never seen.
    pub fn group(&self, key: &str) -> Option<Group> {
        if self.filters.iter().any(|filter| filter == key) {
            return Some(Group::Custom);
        }
        self.seen.contains(key).then_some(Group::Other)
    }

    /// True if conversations are merged by `key`.
    pub fn is_correlation(&self, key: &str) -> bool {
        self.correlation.contains(key)
    }

    /// The keys of the group Other, by name.
    pub fn others(&self) -> impl Iterator<Item = &str> {
        let is_other = |key: &&str| self.group(key) == Some(Group::Other);
        self.seen.iter().map(String::as_str).filter(is_other)
    }
}

/// What anonymization takes away, as saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldConfig {
    basic: BTreeSet<BasicField>,
    keys: BTreeSet<String>,
    version: u64,
}

impl Default for FieldConfig {
    /// What holds before the first save, as version 0.
    fn default() -> Self {
        let basic = BasicField::ALL.into_iter().filter(|field| field.is_default()).collect();
        Self { basic, keys: BTreeSet::new(), version: 0 }
    }
}

impl FieldConfig {
    /// A saved configuration read back.
    pub fn from_stored(
        basic: impl IntoIterator<Item = BasicField>,
        keys: impl IntoIterator<Item = String>,
        version: u64,
    ) -> Self {
        Self { basic: basic.into_iter().collect(), keys: keys.into_iter().collect(), version }
    }

    /// True if `field` is taken away.
    pub fn takes(&self, field: BasicField) -> bool {
        self.basic.contains(&field)
    }

    /// True if values of `key` are taken away, unless [`MetadataKeys::is_correlation`].
    pub fn takes_key(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    /// The chosen keys, by name.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(String::as_str)
    }

    /// What this one and `other` together take away: what was ever taken from a conversation that
    /// was anonymized twice. The version is this one's.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.basic.extend(&other.basic);
        self.keys.extend(other.keys.iter().cloned());
        self
    }

    /// Counts the saves; the ETag of the page.
    pub fn version(&self) -> u64 {
        self.version
    }
}

/// Choices that are not saved yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    base: FieldConfig,
    basic: BTreeSet<BasicField>,
    keys: BTreeSet<String>,
}

impl Draft {
    /// A draft that says what `saved` says.
    pub fn of(saved: &FieldConfig) -> Self {
        Self { base: saved.clone(), basic: saved.basic.clone(), keys: saved.keys.clone() }
    }

    /// Chooses `field`, or not.
    pub fn set(&mut self, field: BasicField, is_chosen: bool) {
        match is_chosen {
            true => self.basic.insert(field),
            false => self.basic.remove(&field),
        };
    }

    /// Chooses `key`, or not. Whether it may be chosen is asked when the draft is saved.
    pub fn set_key(&mut self, key: &str, is_chosen: bool) {
        match is_chosen {
            true => self.keys.insert(key.to_owned()),
            false => self.keys.remove(key),
        };
    }

    /// Goes back to the last saved choice.
    pub fn reset(&mut self) {
        *self = Self::of(&self.base);
    }

    /// True if saving would change anything.
    pub fn is_changed(&self) -> bool {
        self.basic != self.base.basic || self.keys != self.base.keys
    }

    /// Makes the draft the configuration, and says what to write into the audit trail.
    ///
    /// `current` is what is saved now, read in the transaction that saves. A draft that changes
    /// nothing leaves the version as it is.
    ///
    /// # Errors
    ///
    /// [`FieldError`]; nothing is saved then, and the draft stands as it was. A key that was chosen
    /// before it became a correlation key, or before its last conversation went, may stay.
    pub fn save(&self, current: &FieldConfig, keys: &MetadataKeys) -> Result<Saved, FieldError> {
        if current.version != self.base.version {
            return Err(FieldError::Outdated { version: current.version });
        }
        for key in self.keys.difference(&current.keys) {
            if keys.is_correlation(key) {
                return Err(FieldError::CorrelationKey { key: key.clone() });
            }
            if keys.group(key).is_none() {
                return Err(FieldError::UnknownKey { key: key.clone() });
            }
        }
        let mut activities = Vec::new();
        if self.basic != current.basic {
            activities.push(FieldActivity::FieldConfigUpdate);
        }
        if self.keys != current.keys {
            activities.push(FieldActivity::MetadataKeyUpdate);
        }
        let version = current.version + u64::from(!activities.is_empty());
        let config = FieldConfig { basic: self.basic.clone(), keys: self.keys.clone(), version };
        Ok(Saved { config, activities })
    }
}

/// A configuration to be stored, with its entries for the audit trail in the same transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// What holds from now on.
    pub config: FieldConfig,
    /// Empty if nothing changed.
    pub activities: Vec<FieldActivity>,
}

/// How a changed configuration is named in the audit trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldActivity {
    /// Something of the group Basic.
    FieldConfigUpdate,
    /// Something of the groups Custom and Other.
    MetadataKeyUpdate,
}

impl FieldActivity {
    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FieldConfigUpdate => "FIELD_CONFIG_UPDATE",
            Self::MetadataKeyUpdate => "METADATA_KEY_UPDATE",
        }
    }
}

/// A draft that cannot be saved. Keys are the operator's words, not a person's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// Conversations are merged by it.
    #[error("`{key}` is used to merge conversations and cannot be chosen for anonymization")]
    CorrelationKey {
        /// Which.
        key: String,
    },
    /// A misspelt key would silently take away nothing.
    #[error("no conversation has the metadata key `{key}` and it is no search filter")]
    UnknownKey {
        /// Which.
        key: String,
    },
    /// Somebody else saved meanwhile.
    #[error("the configuration was saved by somebody else; it is at version {version} now")]
    Outdated {
        /// The version that holds.
        version: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> MetadataKeys {
        let set = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        MetadataKeys {
            filters: vec!["SKILL".to_owned(), "QUEUE".to_owned()],
            seen: set(&["ANI", "CALL_ID", "SKILL"]),
            correlation: set(&["CALL_ID"]),
        }
    }

    /// Planted faults: media on by default; a filter that was also seen listed under Other.
    #[test]
    fn three_groups_with_their_defaults() {
        let config = FieldConfig::default();
        let chosen = BasicField::ALL.map(|field| config.takes(field));
        assert_eq!(chosen, [true, true, false, false], "phone, address, texts, media");
        let keys = keys();
        for (key, group) in [
            ("SKILL", Some(Group::Custom)),
            ("QUEUE", Some(Group::Custom)),
            ("ANI", Some(Group::Other)),
            ("CALL_ID", Some(Group::Other)),
            ("ani", None),
        ] {
            assert_eq!(keys.group(key), group, "{key}");
            assert!(!config.takes_key(key), "{key} is off");
        }
        assert_eq!(keys.others().collect::<Vec<_>>(), ["ANI", "CALL_ID"]);
        for field in BasicField::ALL {
            assert_eq!(BasicField::from_name(field.as_str()), Some(field));
        }
    }

    /// Planted faults: one activity for both groups; a version that counts without a change.
    #[test]
    fn each_group_has_its_activity() {
        use FieldActivity::{FieldConfigUpdate, MetadataKeyUpdate};
        type Choice = fn(&mut Draft);
        let rows: [(Choice, &[FieldActivity]); 6] = [
            (|_| {}, &[]),
            (|draft| draft.set(BasicField::Media, true), &[FieldConfigUpdate]),
            (|draft| draft.set_key("SKILL", true), &[MetadataKeyUpdate]),
            (|draft| draft.set_key("ANI", true), &[MetadataKeyUpdate]),
            (
                |draft| {
                    draft.set(BasicField::Phone, false);
                    draft.set_key("ANI", true);
                },
                &[FieldConfigUpdate, MetadataKeyUpdate],
            ),
            (
                |draft| {
                    draft.set(BasicField::Phone, false);
                    draft.set(BasicField::Phone, true);
                },
                &[],
            ),
        ];
        for (row, (choose, activities)) in rows.into_iter().enumerate() {
            let saved = FieldConfig { version: 7, ..FieldConfig::default() };
            let mut draft = Draft::of(&saved);
            choose(&mut draft);
            let done = draft.save(&saved, &keys()).unwrap();
            assert_eq!(done.activities, activities, "row {row}");
            assert_eq!(done.config.version(), 7 + u64::from(!activities.is_empty()), "row {row}");
            assert_eq!(draft.is_changed(), !activities.is_empty(), "row {row}");
        }
    }

    /// Planted faults: the correlation key let through; an unknown key accepted; the version not
    /// compared.
    #[test]
    fn a_save_is_all_or_nothing() {
        let saved = FieldConfig::default();
        let mut draft = Draft::of(&saved);
        draft.set_key("ANI", true);
        draft.set_key("CALL_ID", true);
        let refused = draft.save(&saved, &keys()).unwrap_err();
        assert_eq!(refused, FieldError::CorrelationKey { key: "CALL_ID".to_owned() });
        assert!(refused.to_string().contains("CALL_ID"), "{refused}");
        assert!(!saved.takes_key("ANI"));

        draft.set_key("CALL_ID", false);
        draft.set_key("AN1", true);
        let refused = draft.save(&saved, &keys()).unwrap_err();
        assert_eq!(refused, FieldError::UnknownKey { key: "AN1".to_owned() });

        draft.set_key("AN1", false);
        let done = draft.save(&saved, &keys()).unwrap().config;
        assert!(done.takes_key("ANI"));
        assert_eq!(draft.save(&done, &keys()), Err(FieldError::Outdated { version: 1 }));

        draft.reset();
        assert_eq!(draft, Draft::of(&saved), "back to what was saved when it was made");
        let mut draft = Draft::of(&done);
        draft.set_key("ANI", false);
        draft.set(BasicField::Texts, true);
        draft.reset();
        assert_eq!(draft, Draft::of(&done));
    }
}
