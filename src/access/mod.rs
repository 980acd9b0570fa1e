//! Who may do what: permissions, roles as bundles of them, and proofs that somebody asked.
//!
//! [`authorize`] is the one way to a [`Grant`], and every act that touches media, keys or audit
//! demands the grant of its own kind. "Forgot to check" does not compile.
//!
//! # Invariants
//!
//! - Pure rules: nothing here knows a clock, a socket or the catalog.
//! - Nobody can hand on more than they hold ([`Principal::may_give`]), so whoever administers
//!   tokens cannot make themselves one that plays media.

pub mod password;
pub mod roles;
pub mod token;

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

macro_rules! permissions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),* $(,)?) => {
        /// One right. The names are stored in audit entries and shown to people: never rename one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Permission {
            $($(#[$doc])* $variant),*
        }

        impl Permission {
            /// Every permission there is.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The stored name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),*
                }
            }
        }
    };
}

permissions! {
    /// See status, warnings and counts.
    StatusView = "STATUS_VIEW",
    /// List recordings and their facts, without names.
    RecordingList = "RECORDING_LIST",
    /// See original file names and paths: they may hold phone numbers.
    NameView = "NAME_VIEW",
    /// Play and save media.
    MediaPlay = "MEDIA_PLAY",
    /// Check that sealed media can be opened, without seeing it.
    MediaVerify = "MEDIA_VERIFY",
    /// Take the key of one recording out, for offline opening.
    KeyExport = "KEY_EXPORT",
    /// Release quarantined recordings, ask for a scan.
    RecordingManage = "RECORDING_MANAGE",
    /// Read the audit trail.
    AuditView = "AUDIT_VIEW",
    /// Create, list and revoke bearer tokens.
    TokenManage = "TOKEN_MANAGE",
    /// See key versions, slots, certificates and backups: states and dates, never keys.
    KeyView = "KEY_VIEW",
    /// Rotate, disable and destroy keys, add and remove slots.
    KeyManage = "KEY_MANAGE",
    /// Import, renew, roll back, issue and revoke certificates.
    CertificateManage = "CERTIFICATE_MANAGE",
    /// Make, verify and restore backups.
    BackupManage = "BACKUP_MANAGE",
    /// See erasures: counts, progress, ids, certificates.
    ErasureView = "ERASURE_VIEW",
    /// Plan erasures and ask for them.
    ErasureOrder = "ERASURE_ORDER",
    /// Agree to the erasure that somebody else asked for.
    ErasureApprove = "ERASURE_APPROVE",
    /// Pause, resume, cancel and slow down erasures.
    ErasureManage = "ERASURE_MANAGE",
    /// See legal holds, other protections and retention rules.
    HoldView = "HOLD_VIEW",
    /// Place legal holds and protect recordings.
    HoldPlace = "HOLD_PLACE",
    /// Lift legal holds and protections.
    HoldLift = "HOLD_LIFT",
    /// Add and remove retention rules.
    RetentionManage = "RETENTION_MANAGE",
    /// Make a recording anew without some of its stretches; the original is then erased.
    InteractionRedact = "INTERACTION_REDACT",
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A bundle of permissions with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Plays and lists recordings of the contact centre.
    CcManager,
    /// The same, and audit and keys: answers for the data towards people and courts.
    ComplianceAnalyst,
    /// Certificates, tokens, quarantine. No media, no names.
    Admin,
    /// Sees how the daemon is doing, nothing else.
    Ops,
    /// Checks everything, plays nothing.
    Auditor,
}

impl Role {
    /// Every role there is.
    pub const ALL: [Self; 5] =
        [Self::CcManager, Self::ComplianceAnalyst, Self::Admin, Self::Ops, Self::Auditor];

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CcManager => "DEFAULT_CC_MANAGER",
            Self::ComplianceAnalyst => "DEFAULT_COMPLIANCE_ANALYST",
            Self::Admin => "DEFAULT_ADMIN",
            Self::Ops => "DEFAULT_OPS",
            Self::Auditor => "DEFAULT_AUDITOR",
        }
    }

    /// What it may do: the one table.
    pub fn permissions(self) -> &'static [Permission] {
        use Permission as P;
        match self {
            Self::CcManager => &[
                P::StatusView,
                P::RecordingList,
                P::NameView,
                P::MediaPlay,
                P::MediaVerify,
                P::ErasureView,
                P::HoldView,
            ],
            Self::ComplianceAnalyst => &[
                P::StatusView,
                P::RecordingList,
                P::NameView,
                P::MediaPlay,
                P::MediaVerify,
                P::KeyExport,
                P::AuditView,
                P::ErasureView,
                P::ErasureOrder,
                P::ErasureApprove,
                P::ErasureManage,
                P::HoldView,
                P::HoldPlace,
                P::HoldLift,
                P::RetentionManage,
                P::InteractionRedact,
            ],
            Self::Admin => &[
                P::StatusView,
                P::RecordingList,
                P::MediaVerify,
                P::RecordingManage,
                P::TokenManage,
                P::KeyView,
                P::KeyManage,
                P::CertificateManage,
                P::BackupManage,
                P::ErasureView,
                P::ErasureManage,
            ],
            Self::Ops => &[P::StatusView, P::ErasureView],
            Self::Auditor => &[
                P::StatusView,
                P::RecordingList,
                P::MediaVerify,
                P::AuditView,
                P::KeyView,
                P::ErasureView,
                P::HoldView,
            ],
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    /// The stored name, in any case, with or without `DEFAULT_`, with `-` for `_`.
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let wanted = text.trim().to_ascii_uppercase().replace('-', "_");
        let is_meant = |role: &Self| {
            let name = role.as_str();
            name == wanted || name.strip_prefix("DEFAULT_") == Some(&wanted)
        };
        Self::ALL.into_iter().find(is_meant).ok_or(UnknownRole)
    }
}

/// No role has that name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no such role; there are DEFAULT_CC_MANAGER, DEFAULT_COMPLIANCE_ANALYST, DEFAULT_ADMIN, \
     DEFAULT_OPS and DEFAULT_AUDITOR"
)]
pub struct UnknownRole;

/// How somebody proved who they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Authenticated {
    /// The kernel vouches for the process at the other end of the unix socket.
    UnixSocket {
        /// Its user id.
        uid: u32,
    },
    /// A bearer token.
    Token {
        /// The token's id, not the token.
        id: String,
    },
    /// A client's certificate, whose key the client proved to have.
    Certificate {
        /// Its serial, hexadecimal.
        serial: String,
    },
}

impl fmt::Display for Authenticated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnixSocket { uid } => write!(f, "unix-socket:{uid}"),
            Self::Token { id } => write!(f, "token:{id}"),
            Self::Certificate { serial } => write!(f, "certificate:{serial}"),
        }
    }
}

/// Somebody whose identity is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Name for people, as audit shows it.
    pub name: String,
    /// User name, as audit is filtered by.
    pub user: String,
    /// How it was proved.
    pub how: Authenticated,
    /// What they may do.
    pub permissions: Vec<Permission>,
}

impl Principal {
    /// The process at the other end of the unix socket.
    ///
    /// Root and the daemon's own user may do everything: both can read the state folder anyway.
    /// The mode of the socket decides who else reaches it; they see status.
    pub fn local(uid: u32, daemon_uid: u32) -> Self {
        let is_trusted = uid == 0 || uid == daemon_uid;
        Self {
            name: if uid == 0 { "root".to_owned() } else { format!("local user {uid}") },
            user: format!("uid:{uid}"),
            how: Authenticated::UnixSocket { uid },
            permissions: if is_trusted { Permission::ALL } else { Role::Ops.permissions() }
                .to_vec(),
        }
    }

    /// The bearer of a token that was found, unexpired and unrevoked.
    pub fn bearer(id: &str, name: &str, role: Role) -> Self {
        Self {
            name: name.to_owned(),
            user: format!("token:{name}"),
            how: Authenticated::Token { id: id.to_owned() },
            permissions: role.permissions().to_vec(),
        }
    }

    /// The program that showed a certificate which is valid now and stands for `role`.
    pub fn certificate(name: &str, serial: &str, role: Role) -> Self {
        Self {
            name: name.to_owned(),
            user: format!("certificate:{name}"),
            how: Authenticated::Certificate { serial: serial.to_owned() },
            permissions: role.permissions().to_vec(),
        }
    }

    /// True if `permission` was given.
    pub fn has(&self, permission: Permission) -> bool {
        self.permissions.contains(&permission)
    }

    /// True if original file names may be shown to them.
    pub fn sees_names(&self) -> bool {
        self.has(Permission::NameView)
    }

    /// True if `role` holds nothing that this principal does not hold.
    pub fn may_give(&self, role: Role) -> bool {
        role.permissions().iter().all(|permission| self.has(*permission))
    }
}

/// Something that can be done, and the permission it takes.
pub trait Act: Send + Sync + 'static {
    /// What [`authorize`] looks for.
    const PERMISSION: Permission;
}

macro_rules! acts {
    ($($(#[$doc:meta])* $act:ident needs $permission:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $act;

        impl Act for $act {
            const PERMISSION: Permission = Permission::$permission;
        }
    )*};
}

acts! {
    /// Reading status.
    ViewStatus needs StatusView,
    /// Listing and showing recordings.
    ListRecordings needs RecordingList,
    /// Playing, saving and drawing media.
    PlayMedia needs MediaPlay,
    /// Checking sealed media.
    VerifyMedia needs MediaVerify,
    /// Taking out the key of one recording.
    ExportKey needs KeyExport,
    /// Releasing from quarantine, asking for a scan.
    ManageRecordings needs RecordingManage,
    /// Reading the audit trail.
    ViewAudit needs AuditView,
    /// Making, listing and revoking tokens.
    ManageTokens needs TokenManage,
    /// Seeing key versions, slots, certificates and backups.
    ViewKeys needs KeyView,
    /// Changing key versions and slots.
    ManageKeys needs KeyManage,
    /// Changing certificates.
    ManageCertificates needs CertificateManage,
    /// Making, verifying and restoring backups.
    ManageBackups needs BackupManage,
    /// Seeing erasures and their certificates.
    ViewErasures needs ErasureView,
    /// Planning and asking for erasures.
    OrderErasures needs ErasureOrder,
    /// Agreeing to them.
    ApproveErasures needs ErasureApprove,
    /// Pausing, resuming, cancelling and slowing them down.
    ManageErasures needs ErasureManage,
    /// Seeing holds, protections and retention rules.
    ViewHolds needs HoldView,
    /// Placing holds and protections.
    PlaceHolds needs HoldPlace,
    /// Lifting them.
    LiftHolds needs HoldLift,
    /// Adding and removing retention rules.
    ManageRetention needs RetentionManage,
    /// Making recordings anew without some of their stretches.
    RedactMedia needs InteractionRedact,
}

/// Proof that `principal` may do `A`. Only [`authorize`] makes one.
#[must_use]
#[derive(Clone, Debug)]
pub struct Grant<A> {
    principal: Principal,
    act: PhantomData<fn() -> A>,
}

impl<A> Grant<A> {
    /// Who acts; what the audit entry names.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }
}

/// The permission is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the permission {permission} is missing")]
pub struct Refused {
    /// Which one it would have taken.
    pub permission: Permission,
}

/// Checks that `principal` may do `A`.
///
/// # Errors
///
/// [`Refused`] with the missing permission; the caller records it.
pub fn authorize<A: Act>(principal: &Principal) -> Result<Grant<A>, Refused> {
    if principal.has(A::PERMISSION) {
        Ok(Grant { principal: principal.clone(), act: PhantomData })
    } else {
        Err(Refused { permission: A::PERMISSION })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table written a second time, as a picture: one row a role, one column a permission.
    /// Planted faults: MEDIA_PLAY for the admin, and KEY_EXPORT (media by another name) for the
    /// auditor; both fail here.
    #[test]
    fn roles_hold_what_the_picture_shows() {
        let picture = [
            // status, list, names, play, verify, key, manage, audit, token; then
            // keys seen, keys, certificates, backups managed; then
            // erasures seen, ordered, approved, managed, holds seen, placed, lifted, retention,
            // redacting
            (Role::CcManager, "x x x x x . . . . . . . . x . . . x . . . ."),
            (Role::ComplianceAnalyst, "x x x x x x . x . . . . . x x x x x x x x x"),
            (Role::Admin, "x x . . x . x . x x x x x x . . x . . . . ."),
            (Role::Ops, "x . . . . . . . . . . . . x . . . . . . . ."),
            (Role::Auditor, "x x . . x . . x . x . . . x . . . x . . . ."),
        ];
        for (role, row) in picture {
            let held: Vec<&str> = Permission::ALL
                .iter()
                .map(|permission| if role.permissions().contains(permission) { "x" } else { "." })
                .collect();
            assert_eq!(held.join(" "), row, "{role}");
        }
    }

    /// Planted fault: `may_give` always true lets an admin make a token that plays media.
    #[test]
    fn nobody_hands_on_more_than_they_hold() {
        let admin = Principal::bearer("1", "anna", Role::Admin);
        let given: Vec<Role> = Role::ALL.into_iter().filter(|r| admin.may_give(*r)).collect();
        assert_eq!(given, [Role::Admin, Role::Ops]);
        let root = Principal::local(0, 990);
        assert!(Role::ALL.into_iter().all(|role| root.may_give(role)));
    }

    #[test]
    fn a_grant_needs_its_own_permission() {
        let ops = Principal::bearer("1", "nagios", Role::Ops);
        assert!(authorize::<ViewStatus>(&ops).is_ok());
        let refused = authorize::<PlayMedia>(&ops).unwrap_err();
        assert_eq!(refused, Refused { permission: Permission::MediaPlay });
        assert!(refused.to_string().contains("MEDIA_PLAY"));
    }

    /// Planted fault: trusting every peer of the socket fails at uid 1000.
    #[test]
    fn the_socket_trusts_root_and_the_daemons_user() {
        for (uid, is_trusted) in [(0, true), (990, true), (1000, false), (u32::MAX, false)] {
            let peer = Principal::local(uid, 990);
            assert_eq!(authorize::<ExportKey>(&peer).is_ok(), is_trusted, "{uid}");
            assert!(authorize::<ViewStatus>(&peer).is_ok(), "{uid}");
        }
    }

    #[test]
    fn role_names_read_back_in_every_spelling() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert_eq!("cc-manager".parse(), Ok(Role::CcManager));
        assert_eq!(" ops ".parse(), Ok(Role::Ops));
        assert_eq!("DEFAULT".parse::<Role>(), Err(UnknownRole));
    }
}
