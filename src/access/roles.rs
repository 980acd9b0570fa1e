//! Roles of one's own, duties that are kept apart, and the second person's agreement.
//!
//! ```text
//! OwnRole ─ permissions ─────────────┐
//!         └ roles it is made of ─ … ─┴─▶ Roles::permissions: every permission, once
//! ```
//!
//! The roles that come with the program are the table in [`Role::permissions`] and cannot be
//! changed; a role of one's own adds permissions and takes in other roles, those that come with the
//! program as well as one's own.
//!
//! # Invariants
//!
//! - A role that would take in itself, by however many steps, is never stored.
//! - Whoever makes a role holds every permission in it.
//! - Nobody agrees to what they asked for themselves.

use crate::clock::Timestamp;

use super::{Permission, Principal, Role};

/// A role of one's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnRole {
    /// Capital letters, digits and `_`, at most 64; not `DEFAULT_…`.
    pub name: String,
    /// Names of roles it takes in.
    pub roles: Vec<String>,
    /// Permissions it adds.
    pub permissions: Vec<Permission>,
}

/// Every role of one's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles(Vec<OwnRole>);

impl Roles {
    /// What is stored.
    pub fn from_stored(roles: Vec<OwnRole>) -> Self {
        Self(roles)
    }

    /// All of them.
    pub fn all(&self) -> &[OwnRole] {
        &self.0
    }

    /// These roles with `role` added, or changed if there is one of its name. Changes count for
    /// somebody who is logged in from their next log-in on.
    ///
    /// # Errors
    ///
    /// [`RoleError`].
    pub fn with(&self, role: OwnRole, by: &Principal) -> Result<Self, RoleError> {
        let is_shaped = (1..=NAME_BYTES_MAX).contains(&role.name.len())
            && role.name.bytes().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_');
        if !is_shaped || role.name.starts_with(BUILT_IN_PREFIX) {
            return Err(RoleError::BadName);
        }
        let name = role.name.clone();
        let mut roles = self.0.clone();
        roles.retain(|other| other.name != name);
        roles.push(role);
        let roles = Self(roles);
        let mut path = Vec::new();
        roles.check(&name, &mut path)?;
        let permissions = roles.permissions(&[name]);
        if !permissions.iter().all(|permission| by.has(*permission)) {
            return Err(RoleError::MoreThanOwn);
        }
        Ok(roles)
    }

    /// These roles without the one called `name`.
    ///
    /// # Errors
    ///
    /// [`RoleError::Unknown`], or [`RoleError::InUse`] if another role takes it in.
    pub fn without(&self, name: &str) -> Result<Self, RoleError> {
        if !self.0.iter().any(|role| role.name == name) {
            return Err(RoleError::Unknown);
        }
        if self.0.iter().any(|role| role.roles.iter().any(|part| part == name)) {
            return Err(RoleError::InUse);
        }
        Ok(Self(self.0.iter().filter(|role| role.name != name).cloned().collect()))
    }

    /// What somebody with the roles `names` may do, in the order of [`Permission::ALL`]. A role
    /// that is not there any more gives nothing.
    pub fn permissions(&self, names: &[String]) -> Vec<Permission> {
        let mut seen: Vec<&str> = Vec::new();
        let mut left: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut found: Vec<Permission> = Vec::new();
        while let Some(name) = left.pop() {
            if seen.contains(&name) {
                continue;
            }
            seen.push(name);
            if let Some(role) = built_in(name) {
                found.extend(role.permissions());
            } else if let Some(role) = self.0.iter().find(|role| role.name == name) {
                found.extend(&role.permissions);
                left.extend(role.roles.iter().map(String::as_str));
            }
        }
        Permission::ALL.iter().copied().filter(|one| found.contains(one)).collect()
    }

    /// Walks everything `name` takes in.
    fn check<'r>(&'r self, name: &'r str, path: &mut Vec<&'r str>) -> Result<(), RoleError> {
        if path.contains(&name) {
            return Err(RoleError::TakesInItself);
        }
        if built_in(name).is_some() {
            return Ok(());
        }
        let role = self.0.iter().find(|role| role.name == name).ok_or(RoleError::Unknown)?;
        path.push(name);
        role.roles.iter().try_for_each(|part| self.check(part, path))?;
        path.pop();
        Ok(())
    }
}

/// Pairs of duties that one person may not have together, where the operator wants that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duties(Vec<(Permission, Permission)>);

impl Default for Duties {
    /// Keys and deletion: who can destroy a key must not be the one who agrees to erasures, nor
    /// who lifts holds.
    fn default() -> Self {
        use Permission as P;
        Self(vec![(P::KeyManage, P::ErasureApprove), (P::KeyManage, P::HoldLift)])
    }
}

impl Duties {
    /// These pairs instead.
    pub fn apart(pairs: Vec<(Permission, Permission)>) -> Self {
        Self(pairs)
    }

    /// The first pair that `permissions` has both of.
    pub fn conflict(&self, permissions: &[Permission]) -> Option<(Permission, Permission)> {
        let has = |one: &Permission| permissions.contains(one);
        self.0.iter().copied().find(|(one, other)| has(one) && has(other))
    }
}

/// Something that waits for a second person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending<'a> {
    /// User name of who asked for it.
    pub requested_by: &'a str,
    /// What agreeing to it takes.
    pub takes: Permission,
    /// When it is too old to be agreed to.
    pub expires_at: Timestamp,
}

impl Pending<'_> {
    /// Says whether `by` may agree to it at `now`.
    ///
    /// # Errors
    ///
    /// [`ApprovalError`].
    pub fn check(&self, by: &Principal, now: Timestamp) -> Result<(), ApprovalError> {
        if !by.has(self.takes) {
            return Err(ApprovalError::NotPermitted);
        }
        if by.user.to_lowercase() == self.requested_by.to_lowercase() {
            return Err(ApprovalError::SamePerson);
        }
        if self.expires_at <= now { Err(ApprovalError::TooOld) } else { Ok(()) }
    }
}

/// A role that cannot be stored or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// Not capital letters, digits and `_`, or one of the program's own.
    #[error("a role's name is 1 to 64 capital letters, digits and `_`, and not `DEFAULT_…`")]
    BadName,
    /// No such role.
    #[error("there is no such role")]
    Unknown,
    /// Directly or by way of others.
    #[error("the role would take in itself")]
    TakesInItself,
    /// Another role takes it in.
    #[error("another role takes this one in")]
    InUse,
    /// Nobody hands on more than they hold.
    #[error("the role has permissions that you do not have")]
    MoreThanOwn,
}

/// Somebody who may not agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalError {
    /// They lack the permission.
    #[error("you may not agree to this")]
    NotPermitted,
    /// They asked for it.
    #[error("whoever asked for it cannot agree to it")]
    SamePerson,
    /// It waited too long.
    #[error("it waited too long; it has to be asked for again")]
    TooOld,
}

/// The program's own role of exactly that stored name.
fn built_in(name: &str) -> Option<Role> {
    Role::ALL.into_iter().find(|role| role.as_str() == name)
}

const BUILT_IN_PREFIX: &str = "DEFAULT_";
const NAME_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use Permission as P;

    fn role(name: &str, roles: &[&str], permissions: &[Permission]) -> OwnRole {
        let roles = roles.iter().map(|name| (*name).to_owned()).collect();
        OwnRole { name: name.to_owned(), roles, permissions: permissions.to_vec() }
    }

    fn root() -> Principal {
        Principal::local(0, 0)
    }

    /// Planted faults: one step alone looked at; a role taken in by two ways called a circle; a
    /// circle let through; a name of the program's own; an unknown role taken for an empty one.
    #[test]
    fn roles_are_made_of_roles() {
        let roles = Roles::default()
            .with(role("PLAYER", &[], &[P::MediaPlay]), &root())
            .unwrap()
            .with(role("LEAD", &["PLAYER", "DEFAULT_OPS"], &[P::AuditView]), &root())
            .unwrap()
            .with(role("HEAD", &["LEAD"], &[P::MediaPlay]), &root())
            .unwrap();
        let of = |name: &str| roles.permissions(&[name.to_owned()]);
        assert_eq!(of("HEAD"), [P::StatusView, P::MediaPlay, P::AuditView, P::ErasureView]);
        assert_eq!(of("GONE"), []);
        for (role, error) in [
            (role("PLAYER", &["HEAD"], &[]), RoleError::TakesInItself),
            (role("PLAYER", &["PLAYER"], &[]), RoleError::TakesInItself),
            (role("NEW", &["GONE"], &[]), RoleError::Unknown),
            (role("DEFAULT_OPS", &[], &[]), RoleError::BadName),
            (role("", &[], &[]), RoleError::BadName),
            (role("lower", &[], &[]), RoleError::BadName),
            (role(&"X".repeat(65), &[], &[]), RoleError::BadName),
        ] {
            assert_eq!(roles.with(role.clone(), &root()), Err(error), "{role:?}");
        }
        let twice = role("HEAD", &["LEAD", "PLAYER"], &[]);
        assert!(roles.with(twice, &root()).is_ok(), "twice by two ways is no circle");
        assert_eq!(roles.without("LEAD"), Err(RoleError::InUse));
        assert_eq!(roles.without("GONE"), Err(RoleError::Unknown));
        assert_eq!(roles.without("HEAD").unwrap().all().len(), 2);
    }

    /// Planted fault: the permissions of the roles it takes in not asked for.
    #[test]
    fn nobody_makes_a_role_that_can_do_more() {
        let admin = Principal::bearer("id", "admin", Role::Admin);
        let own = role("KEYS", &[], &[P::KeyManage]);
        assert!(Roles::default().with(own, &admin).is_ok());
        for role in
            [role("KEYS", &[], &[P::MediaPlay]), role("KEYS", &["DEFAULT_COMPLIANCE_ANALYST"], &[])]
        {
            assert_eq!(Roles::default().with(role, &admin), Err(RoleError::MoreThanOwn));
        }
    }

    /// Planted fault: one half of a pair is enough.
    #[test]
    fn keys_and_deletion_are_kept_apart() {
        let duties = Duties::default();
        for (permissions, conflict) in [
            (&[P::KeyManage][..], None),
            (&[P::ErasureApprove, P::HoldLift], None),
            (&[P::HoldLift, P::KeyManage], Some((P::KeyManage, P::HoldLift))),
            (Permission::ALL, Some((P::KeyManage, P::ErasureApprove))),
        ] {
            assert_eq!(duties.conflict(permissions), conflict, "{permissions:?}");
        }
        for role in Role::ALL {
            assert_eq!(duties.conflict(role.permissions()), None, "{role}");
        }
        assert_eq!(Duties::apart(Vec::new()).conflict(Permission::ALL), None);
    }

    /// Planted faults: the requester's name compared with case; the last moment still good; no
    /// permission asked for.
    #[test]
    fn a_second_person_agrees_in_time() {
        let at = Timestamp::from_millis;
        let analyst = |name: &str| Principal::bearer("id", name, Role::ComplianceAnalyst);
        let pending =
            Pending { requested_by: "token:ann", takes: P::ErasureApprove, expires_at: at(10) };
        for (by, now, expected) in [
            (analyst("bob"), 9, Ok(())),
            (analyst("bob"), 10, Err(ApprovalError::TooOld)),
            (analyst("ANN"), 9, Err(ApprovalError::SamePerson)),
            (Principal::bearer("id", "bob", Role::Admin), 9, Err(ApprovalError::NotPermitted)),
        ] {
            assert_eq!(pending.check(&by, at(now)), expected, "{} {now}", by.user);
        }
    }
}
