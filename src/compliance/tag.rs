//! Tags: what people say about a conversation, and what protects it.
//!
//! | Tag | Can be edited | Writes metadata | Protects |
//! |---|---|---|---|
//! | built in, GDPR 6(1)(a) to (f) | no | no | against deletion and anonymization |
//! | own | yes | no | no |
//! | own with key and value: data tag | yes | to every segment | no |
//!
//! A tag is put on a conversation, with a comment if one likes. What a data tag does to segments
//! is in [`data`]. What 6(1)(a) is worth after a withdrawal is in [`super::consent`].

pub mod data;

use uuid::Uuid;

use crate::domain::TagId;

use super::fold::fold;
use super::hold::Protection;

/// A legal basis of the GDPR: the six tags that are built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LegalBasis {
    /// 6(1)(a)
    Consent,
    /// 6(1)(b)
    Contract,
    /// 6(1)(c)
    LegalObligation,
    /// 6(1)(d)
    VitalInterests,
    /// 6(1)(e)
    PublicInterest,
    /// 6(1)(f)
    LegitimateInterests,
}

impl LegalBasis {
    /// All six, as the law lists them.
    pub const ALL: [Self; 6] = [
        Self::Consent,
        Self::Contract,
        Self::LegalObligation,
        Self::VitalInterests,
        Self::PublicInterest,
        Self::LegitimateInterests,
    ];

    /// The stored code, which also names the protection.
    pub fn code(self) -> &'static str {
        match self {
            Self::Consent => "6(1)(a)",
            Self::Contract => "6(1)(b)",
            Self::LegalObligation => "6(1)(c)",
            Self::VitalInterests => "6(1)(d)",
            Self::PublicInterest => "6(1)(e)",
            Self::LegitimateInterests => "6(1)(f)",
        }
    }

    /// The basis of a stored code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|basis| basis.code() == code)
    }

    /// The name of its tag.
    pub fn name(self) -> &'static str {
        match self {
            Self::Consent => "GDPR 6(1)(a) Consent",
            Self::Contract => "GDPR 6(1)(b) Contractual necessity",
            Self::LegalObligation => "GDPR 6(1)(c) Compliance with legal obligation",
            Self::VitalInterests => "GDPR 6(1)(d) Vital interests",
            Self::PublicInterest => "GDPR 6(1)(e) Public interest",
            Self::LegitimateInterests => "GDPR 6(1)(f) Legitimate interests",
        }
    }

    /// What its tag tells people.
    pub fn description(self) -> &'static str {
        match self {
            Self::Consent => "The person has consented; withdrawal lifts the protection.",
            Self::Contract => "Needed to perform or prepare a contract with the person.",
            Self::LegalObligation => "A law demands that it is kept.",
            Self::VitalInterests => "It protects somebody's life or health.",
            Self::PublicInterest => "A task in the public interest or of official authority.",
            Self::LegitimateInterests => "Interests that outweigh those of the person.",
        }
    }

    /// The name of its icon.
    pub fn icon(self) -> &'static str {
        match self {
            Self::Consent => "hand",
            Self::Contract => "handshake",
            Self::LegalObligation => "scales",
            Self::VitalInterests => "heart",
            Self::PublicInterest => "bank",
            Self::LegitimateInterests => "shield",
        }
    }

    /// The id of its tag, the same in every installation.
    pub fn id(self) -> TagId {
        let last = match self {
            Self::Consent => 1,
            Self::Contract => 2,
            Self::LegalObligation => 3,
            Self::VitalInterests => 4,
            Self::PublicInterest => 5,
            Self::LegitimateInterests => 6,
        };
        TagId(Uuid::from_u128(BUILT_IN_IDS + last))
    }

    /// What its tag puts on a conversation.
    pub fn protection(self) -> Protection {
        Protection::Tag { code: self.code().to_owned() }
    }
}

/// A tag that can be put on conversations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    id: TagId,
    basis: Option<LegalBasis>,
    form: TagForm,
}

/// What people fill in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagForm {
    /// One of [`ICONS`].
    pub icon: String,
    /// Needed. At most 100 bytes, unique without regard to case.
    pub name: String,
    /// At most 1,000 bytes.
    pub description: String,
    /// Makes it a data tag: key and value, at most 200 and 1,000 bytes.
    pub pair: Option<(String, String)>,
}

impl Tag {
    /// The six that are always there.
    pub fn built_in() -> Vec<Self> {
        let tag = |basis: LegalBasis| Self {
            id: basis.id(),
            basis: Some(basis),
            form: TagForm {
                icon: basis.icon().to_owned(),
                name: basis.name().to_owned(),
                description: basis.description().to_owned(),
                pair: None,
            },
        };
        LegalBasis::ALL.into_iter().map(tag).collect()
    }

    /// A tag of one's own. `others` are all tags there are, the built-in ones included.
    ///
    /// # Errors
    ///
    /// [`TagError`] names the field.
    pub fn own(id: TagId, form: TagForm, others: &[Self]) -> Result<Self, TagError> {
        let form = TagForm {
            icon: form.icon.trim().to_owned(),
            name: form.name.trim().to_owned(),
            description: form.description.trim().to_owned(),
            pair: form.pair.map(|(key, value)| (key.trim().to_owned(), value)),
        };
        check(&form)?;
        let is_same = |other: &Self| other.id != id && fold(other.name()) == fold(&form.name);
        if others.iter().any(is_same) {
            return Err(TagError::NameTaken);
        }
        Ok(Self { id, basis: None, form })
    }

    /// A tag of one's own, read back.
    pub fn from_stored(id: TagId, form: TagForm) -> Self {
        Self { id, basis: None, form }
    }

    /// The tag with another form. What follows for the conversations that have it says
    /// [`data::Tagging::edit`].
    ///
    /// # Errors
    ///
    /// [`TagError::BuiltIn`], or what [`Self::own`] says.
    pub fn edited(&self, form: TagForm, others: &[Self]) -> Result<Self, TagError> {
        self.check_editable()?;
        Self::own(self.id, form, others)
    }

    /// Asked before a tag is removed altogether.
    ///
    /// # Errors
    ///
    /// [`TagError::BuiltIn`].
    pub fn check_editable(&self) -> Result<(), TagError> {
        self.basis.map_or(Ok(()), |_| Err(TagError::BuiltIn))
    }

    /// Its id.
    pub fn id(&self) -> TagId {
        self.id
    }

    /// The basis it stands for, if it is built in.
    pub fn basis(&self) -> Option<LegalBasis> {
        self.basis
    }

    /// What people see.
    pub fn form(&self) -> &TagForm {
        &self.form
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.form.name
    }

    /// The key and value of a data tag.
    pub fn pair(&self) -> Option<(&str, &str)> {
        self.form.pair.as_ref().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// A tag that cannot be made or changed like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// It is one of the six.
    #[error("built-in tags cannot be changed or removed")]
    BuiltIn,
    /// No name.
    #[error("a tag needs a name")]
    NoName,
    /// Another tag is called so.
    #[error("another tag has that name")]
    NameTaken,
    /// Not one of [`ICONS`].
    #[error("there is no such icon")]
    UnknownIcon,
    /// A value without a key, or a key without a value.
    #[error("a data tag needs both a key and a value")]
    HalfPair,
    /// Longer than [`TagForm`] says, or with control characters.
    #[error("the {0} of the tag is too long or has control characters")]
    BadText(&'static str),
    /// A comment longer than [`COMMENT_BYTES_MAX`], or on a tag that a segment shows by itself.
    #[error("this tag cannot have that comment")]
    BadComment,
}

/// Tags whose names complete `typed`, the likeliest first, at most `limit`: those that begin with
/// it, those with a word that does, those that have it anywhere. Case and marks do not count; an
/// empty text completes to all, by name.
pub fn complete<'t>(tags: &'t [Tag], typed: &str, limit: usize) -> Vec<&'t Tag> {
    let typed = fold(typed.trim());
    let rank = |tag: &&'t Tag| {
        let name = fold(tag.name());
        let starts_word = |(at, _): (usize, &str)| {
            name[..at].chars().next_back().is_none_or(|before| !before.is_alphanumeric())
        };
        match name.find(&typed)? {
            0 => Some(0),
            _ if name.match_indices(&typed).any(starts_word) => Some(1),
            _ => Some(2),
        }
    };
    let mut found: Vec<_> =
        tags.iter().filter_map(|tag| Some((rank(&tag)?, fold(tag.name()), tag))).collect();
    found.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    found.into_iter().take(limit).map(|(.., tag)| tag).collect()
}

fn check(form: &TagForm) -> Result<(), TagError> {
    let bad = |text: &str, bytes_max: usize| {
        text.len() > bytes_max || text.chars().any(|c| c.is_control() && c != '\n')
    };
    if form.name.is_empty() {
        return Err(TagError::NoName);
    }
    if bad(&form.name, NAME_BYTES_MAX) || form.name.contains('\n') {
        return Err(TagError::BadText("name"));
    }
    if bad(&form.description, DESCRIPTION_BYTES_MAX) {
        return Err(TagError::BadText("description"));
    }
    if !ICONS.contains(&form.icon.as_str()) {
        return Err(TagError::UnknownIcon);
    }
    let Some((key, value)) = &form.pair else { return Ok(()) };
    if key.is_empty() || value.trim().is_empty() {
        return Err(TagError::HalfPair);
    }
    if bad(key, KEY_BYTES_MAX) || key.contains('\n') {
        return Err(TagError::BadText("key"));
    }
    if bad(value, VALUE_BYTES_MAX) {
        return Err(TagError::BadText("value"));
    }
    Ok(())
}

/// Icons that a tag can have. The console draws them; never take one off the list.
pub const ICONS: &[&str] = &[
    "tag",
    "hand",
    "handshake",
    "scales",
    "heart",
    "bank",
    "shield",
    "star",
    "flag",
    "bell",
    "lock",
    "key",
    "eye",
    "clock",
    "calendar",
    "phone",
    "mail",
    "chat",
    "person",
    "people",
    "document",
    "folder",
    "money",
    "card",
    "globe",
    "warning",
    "check",
    "cross",
    "question",
    "bookmark",
];
/// Longest comment on a tag.
pub const COMMENT_BYTES_MAX: usize = 2_000;
const NAME_BYTES_MAX: usize = 100;
const DESCRIPTION_BYTES_MAX: usize = 1_000;
const KEY_BYTES_MAX: usize = 200;
const VALUE_BYTES_MAX: usize = 1_000;
/// `72656373-6561-8000-8000-00000000000n`: version 8, ours to fill.
const BUILT_IN_IDS: u128 = 0x7265_6373_6561_8000_8000_0000_0000_0000;

#[cfg(test)]
mod tests {
    use super::*;

    fn form(name: &str) -> TagForm {
        TagForm { icon: "tag".to_owned(), name: name.to_owned(), ..TagForm::default() }
    }

    /// Frozen: ids and codes are in catalogs and protections. Planted fault: codes numbered (1) to
    /// (6).
    #[test]
    fn six_are_built_in_and_protect() {
        let rows = [
            ("6(1)(a)", "GDPR 6(1)(a) Consent"),
            ("6(1)(b)", "GDPR 6(1)(b) Contractual necessity"),
            ("6(1)(c)", "GDPR 6(1)(c) Compliance with legal obligation"),
            ("6(1)(d)", "GDPR 6(1)(d) Vital interests"),
            ("6(1)(e)", "GDPR 6(1)(e) Public interest"),
            ("6(1)(f)", "GDPR 6(1)(f) Legitimate interests"),
        ];
        let tags = Tag::built_in();
        assert_eq!(tags.len(), rows.len());
        for (place, ((code, name), tag)) in rows.into_iter().zip(&tags).enumerate() {
            let basis = tag.basis().unwrap();
            assert_eq!((basis.code(), tag.name()), (code, name));
            assert_eq!(LegalBasis::from_code(code), Some(basis));
            assert_eq!(basis.protection(), Protection::Tag { code: code.to_owned() });
            let id = format!("72656373-6561-8000-8000-00000000000{}", place + 1);
            assert_eq!(tag.id().to_string(), id);
            assert_eq!(check(tag.form()), Ok(()), "{name}");
        }
    }

    /// Planted faults: a built-in tag edited; a tag taken for its own rival when it is edited;
    /// names compared with regard to case.
    #[test]
    fn own_tags_need_a_name_of_their_own() {
        let mut tags = Tag::built_in();
        assert_eq!(tags[0].edited(form("x"), &tags), Err(TagError::BuiltIn));
        let vip = Tag::own(TagId::new(), form(" VIP "), &tags).unwrap();
        assert_eq!((vip.name(), vip.basis()), ("VIP", None));
        tags.push(vip.clone());
        assert_eq!(vip.edited(form("vip"), &tags).unwrap().id(), vip.id());
        let pair = |key: &str, value: &str| Some((key.to_owned(), value.to_owned()));
        let long = "x".repeat(101);
        for (form, error) in [
            (form("vip"), TagError::NameTaken),
            (form("gdpr 6(1)(A) consent"), TagError::NameTaken),
            (form("  "), TagError::NoName),
            (form(&long), TagError::BadText("name")),
            (form("a\nb"), TagError::BadText("name")),
            (TagForm { icon: "skull".to_owned(), ..form("a") }, TagError::UnknownIcon),
            (TagForm { pair: pair("", "1"), ..form("a") }, TagError::HalfPair),
            (TagForm { pair: pair("K", " "), ..form("a") }, TagError::HalfPair),
            (TagForm { pair: pair("K\0", "1"), ..form("a") }, TagError::BadText("key")),
            (
                TagForm { description: long.repeat(10), ..form("a") },
                TagError::BadText("description"),
            ),
        ] {
            let name = form.name.clone();
            assert_eq!(Tag::own(TagId::new(), form, &tags), Err(error), "{name:?}");
        }
    }

    /// Planted faults: the order by name alone; marks that count; the limit before the order.
    #[test]
    fn names_complete_as_typed() {
        let mut tags = Tag::built_in();
        for name in ["Consent renewed", "No consent", "Zo\u{eb}", "Disconsent"] {
            tags.push(Tag::own(TagId::new(), form(name), &[]).unwrap());
        }
        let names = |typed: &str, limit| -> Vec<&str> {
            complete(&tags, typed, limit).into_iter().map(Tag::name).collect()
        };
        let consent = ["Consent renewed", "GDPR 6(1)(a) Consent", "No consent", "Disconsent"];
        assert_eq!(names("CONSENT", 9), consent);
        assert_eq!(names("consent", 1), consent[..1]);
        assert_eq!(names("zoe", 9), ["Zo\u{eb}"]);
        assert_eq!(names("6(1)(f", 9), ["GDPR 6(1)(f) Legitimate interests"]);
        assert_eq!(names("", 2), ["Consent renewed", "Disconsent"]);
        assert!(names("%", 9).is_empty());
    }
}
