//! The words of the ledger. Each is stored, so one that was released is never changed.

/// Under which law.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// California Consumer Privacy Act.
    Ccpa,
    /// General Data Protection Regulation.
    Gdpr,
}

impl Law {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ccpa, Self::Gdpr];

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ccpa => "ccpa",
            Self::Gdpr => "gdpr",
        }
    }

    /// The law of a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|law| law.as_str() == name)
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// To know what is held.
    Access,
    /// To have it put right.
    Correct,
    /// To have it erased.
    Delete,
    /// To take it elsewhere.
    Portability,
    /// That it is not processed, sold or given away.
    OptOut,
}

impl Right {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Access, Self::Correct, Self::Delete, Self::Portability, Self::OptOut];

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Correct => "correct",
            Self::Delete => "delete",
            Self::Portability => "portability",
            Self::OptOut => "opt_out",
        }
    }

    /// The right of a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.as_str() == name)
    }

    /// True if it is granted only to somebody whose identity was confirmed.
    pub fn needs_identity(self) -> bool {
        match self {
            Self::Access | Self::Correct | Self::Delete | Self::Portability => true,
            Self::OptOut => false,
        }
    }

    /// True if it is about recordings yet to come, too.
    pub fn reaches_later_recordings(self) -> bool {
        match self {
            Self::Delete | Self::OptOut => true,
            Self::Access | Self::Correct | Self::Portability => false,
        }
    }
}

/// How it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Manner {
    /// A form on a website.
    Web,
    /// Email.
    Email,
    /// A telephone call.
    Phone,
    /// A letter.
    Letter,
    /// Face to face.
    InPerson,
    /// Somebody acts for the person.
    Agent,
}

impl Manner {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Web, Self::Email, Self::Phone, Self::Letter, Self::InPerson, Self::Agent];

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Letter => "letter",
            Self::InPerson => "in_person",
            Self::Agent => "agent",
        }
    }

    /// The manner of a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|manner| manner.as_str() == name)
    }
}

/// How far the check of the person's identity is. It never stops the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdentityCheck {
    /// Not begun.
    Open,
    /// The person was asked for something.
    Asked,
    /// It is that person.
    Confirmed,
    /// It could not be shown.
    Failed,
}

impl IdentityCheck {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Open, Self::Asked, Self::Confirmed, Self::Failed];

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Asked => "asked",
            Self::Confirmed => "confirmed",
            Self::Failed => "failed",
        }
    }

    /// The state of a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|check| check.as_str() == name)
    }
}

/// Why something was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    /// The person could not show who they are.
    Identity,
    /// Nothing is held about the person.
    NothingHeld,
    /// A legal basis, a hold or a retention rule demands that it is kept.
    Protected,
    /// Other people's rights.
    OtherPeople,
    /// It repeats itself or is plainly without ground.
    Excessive,
}

impl Denial {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Identity, Self::NothingHeld, Self::Protected, Self::OtherPeople, Self::Excessive];

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity_not_confirmed",
            Self::NothingHeld => "nothing_held",
            Self::Protected => "protected",
            Self::OtherPeople => "other_people",
            Self::Excessive => "excessive",
        }
    }

    /// The reason of a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|denial| denial.as_str() == name)
    }
}
