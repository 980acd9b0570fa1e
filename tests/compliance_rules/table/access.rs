//! Checks of 1.4: audit, roles, passwords.

use recseal::access::password::{
    Gate, Holder, LogIns, PasswordAge, PasswordPolicy, Standing, Weakness, judge,
};
use recseal::access::roles::{OwnRole, RoleError, Roles};
use recseal::access::{Permission, Principal, Role};
use recseal::clock::Timestamp;
use recseal::compliance::audit::{Activity, Actor, AuditEntry, AuthenticatedBy, Outcome};

use crate::world::now;

pub(super) fn an_entry_says_it_all() {
    let actor = Actor::new("Ann Example", "ann", AuthenticatedBy::Token);
    let entry = AuditEntry::new(now(), actor, Activity::HoldPlaced)
        .with_outcome(Outcome::Refused)
        .because("mifid");
    assert_eq!((entry.at(), entry.activity()), (now(), Activity::HoldPlaced));
    assert_eq!((entry.actor().name(), entry.actor().user()), ("Ann Example", "ann"));
    assert_eq!((entry.detail(), entry.outcome()), ("mifid", Outcome::Refused));
}

pub(super) fn activities_are_codes() {
    let is_code = |name: &str| name.bytes().all(|c| c.is_ascii_uppercase() || c == b'_');
    assert!(Activity::ALL.iter().all(|activity| is_code(activity.as_str())));
}

pub(super) fn the_trail_is_for_few() {
    let has = |role: Role| role.permissions().contains(&Permission::AuditView);
    assert!(has(Role::ComplianceAnalyst) && has(Role::Auditor));
    assert!(!has(Role::Admin) && !has(Role::Ops));
}

pub(super) fn roles_have_their_names() {
    assert_eq!(Role::CcManager.as_str(), "DEFAULT_CC_MANAGER");
    assert_eq!(Role::ComplianceAnalyst.as_str(), "DEFAULT_COMPLIANCE_ANALYST");
}

fn own(name: &str, roles: &[&str]) -> Result<Roles, RoleError> {
    let roles = roles.iter().map(|name| (*name).to_owned()).collect();
    let role = OwnRole { name: name.to_owned(), roles, permissions: Vec::new() };
    Roles::default().with(role, &Principal::local(0, 0))
}

pub(super) fn roles_take_in_roles() {
    let roles = own("LEAD", &["DEFAULT_CC_MANAGER", "DEFAULT_AUDITOR"]).unwrap();
    let found = roles.permissions(&["LEAD".to_owned()]);
    for role in [Role::CcManager, Role::Auditor] {
        assert!(role.permissions().iter().all(|permission| found.contains(permission)));
    }
}

pub(super) fn default_roles_stay() {
    assert_eq!(own("DEFAULT_CC_MANAGER", &[]), Err(RoleError::BadName));
}

const ANN: Holder<'_> =
    Holder { user: "Ann.Example1", email: Some("Ann1@example.org"), is_used_before: false };

fn weaknesses(password: &str) -> Vec<Weakness> {
    judge(&PasswordPolicy::default(), password, ANN)
}

pub(super) fn passwords_need_four_things() {
    assert_eq!(weaknesses("plumTre1"), []);
    assert_eq!(weaknesses("plumTr1"), [Weakness::TooShort(8)]);
    assert_eq!(weaknesses("plumTree"), [Weakness::NoDigit]);
    assert_eq!(weaknesses("PLUMTRE1"), [Weakness::NoLower]);
    assert_eq!(weaknesses("plumtre1"), [Weakness::NoUpper]);
}

pub(super) fn passwords_expire() {
    const DAY_MS: i64 = 86_400_000;
    let age = PasswordAge { set_at: Timestamp::from_millis(0), is_temporary: false };
    for (days, standing) in [(364, Standing::Good), (365, Standing::Expired)] {
        let now = Timestamp::from_millis(days * DAY_MS);
        assert_eq!(age.standing(&PasswordPolicy::default(), now), standing, "{days}");
    }
}

pub(super) fn not_the_last_one() {
    assert_eq!(PasswordPolicy::default().history, 1);
    let again = Holder { is_used_before: true, ..ANN };
    assert_eq!(judge(&PasswordPolicy::default(), "plumTre1", again), [Weakness::UsedBefore]);
}

pub(super) fn not_the_user_name() {
    assert_eq!(weaknesses("ann.EXAMPLE1"), [Weakness::IsUserName]);
}

pub(super) fn not_the_email() {
    assert_eq!(weaknesses("ann1@EXAMPLE.org"), [Weakness::IsEmail]);
}

pub(super) fn not_too_long() {
    assert_eq!(weaknesses(&"plumTre1".repeat(16)), []);
    assert_eq!(weaknesses(&"plumTre1".repeat(17)), [Weakness::TooLong(128)]);
}

pub(super) fn special_characters() {
    let policy = PasswordPolicy { needs_special: true, ..PasswordPolicy::default() };
    assert_eq!(judge(&policy, "plumTre1", ANN), [Weakness::NoSpecial]);
    assert_eq!(judge(&policy, "plum-Tre1", ANN), []);
}

pub(super) fn no_blocked_ones() {
    assert_eq!(weaknesses("Password1"), [Weakness::Common]);
    let blocklist = vec!["plumtre1".to_owned()];
    let policy = PasswordPolicy { blocklist, ..PasswordPolicy::default() };
    assert_eq!(judge(&policy, "plumTre1", ANN), [Weakness::Common]);
}

pub(super) fn thirty_lock() {
    let after = |failures| LogIns { failures, last_failure: Some(Timestamp::from_millis(0)) };
    let (policy, later) = (PasswordPolicy::default(), Timestamp::from_millis(3_600_000));
    assert_eq!(after(29).gate(&policy, later), Gate::Open);
    assert_eq!(after(30).gate(&policy, later), Gate::Locked);
    assert_eq!(after(30).forgotten().gate(&policy, later), Gate::Open);
}

pub(super) fn temporary_ones_are_changed() {
    let age = PasswordAge { set_at: now(), is_temporary: true };
    assert_eq!(age.standing(&PasswordPolicy::default(), now()), Standing::Temporary);
}
