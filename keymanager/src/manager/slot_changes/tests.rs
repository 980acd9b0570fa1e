use super::*;

use std::fs;
use std::path::PathBuf;

use crate::disk;
use crate::secret::SECRET_BYTES;
use crate::{KeyWarning, SlotKind, Unlock};

const GOOD: &str = "correct horse battery";

struct Case {
    state: tempfile::TempDir,
    recording: Uuid,
}

impl Case {
    /// A store with a file slot.
    fn new() -> (Self, KeyManager) {
        let case = Self { state: tempfile::tempdir().unwrap(), recording: Uuid::now_v7() };
        let keys = KeyManager::create(&case.folder(), &["localhost".to_owned()], 0).unwrap();
        (case, keys)
    }

    fn folder(&self) -> PathBuf {
        self.state.path().join("keys")
    }

    fn open(&self, unlock: &Unlock) -> Result<KeyManager, KeyError> {
        KeyManager::open(&self.folder(), unlock)
    }

    /// A folder of credentials with `recseal-root` in it.
    fn surroundings(&self) -> Surroundings {
        let folder = self.state.path().join("credentials");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("recseal-root"), "5a".repeat(32)).unwrap();
        Surroundings { credentials: Some(folder) }
    }

    fn means(&self) -> Means {
        Means {
            surroundings: self.surroundings(),
            passphrases: vec![Zeroizing::new(GOOD.to_owned())],
            shares: Vec::new(),
        }
    }
}

fn passphrase(text: &str) -> Unlock {
    Unlock::Passphrase(Zeroizing::new(text.to_owned()))
}

fn credential() -> NewSlot {
    NewSlot::Credential { name: "recseal-root".to_owned() }
}

fn exec(script: &str) -> NewSlot {
    NewSlot::Exec { command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec() }
}

/// A passphrase slot that costs nothing, for tests that open it a hundred times.
fn add_cheap_passphrase(keys: &KeyManager) -> SlotInfo {
    let mut writer = keys.writer();
    let (slots, info) = writer.slots.with_passphrase(GOOD, Cost::CHEAP, &writer.root, 0).unwrap();
    writer.take_over(slots, &keys.folder).unwrap();
    info
}

fn root(keys: &KeyManager) -> [u8; SECRET_BYTES] {
    *keys.writer().root.expose_bytes()
}

/// Planted fault: the first unattended slot's refusal ends the attempt.
#[test]
fn each_slot_alone_opens() {
    let (case, keys) = Case::new();
    let surroundings = case.surroundings();
    let (data_key, wrapped) = keys.new_data_key(case.recording);
    let mut added = vec![keys.slots()[0].clone()];
    added.push(keys.add_slot(&credential(), &surroundings, 1).unwrap());
    added.push(keys.add_slot(&exec("printf %064d 7"), &surroundings, 2).unwrap());
    let (shares_slot, shares) = keys.add_shares_slot(3, 5, 3).unwrap();
    added.extend([shares_slot, add_cheap_passphrase(&keys)]);
    let details: Vec<_> = added.iter().map(|info| &*info.detail).collect();
    assert_eq!(details, ["", "recseal-root", "sh", "3 of 5", ""]);
    assert_eq!((keys.slots(), keys.warnings()), (added.clone(), vec![]));
    drop(keys);
    fs::rename(case.folder().join("root.key"), case.state.path().join("away")).unwrap();
    let by_command = case.open(&Unlock::Unattended(Surroundings::default()));
    drop(by_command.expect("two slots that do not open, and then one that does"));
    fs::rename(case.state.path().join("away"), case.folder().join("root.key")).unwrap();
    let table = fs::read(case.folder().join("slots.json")).unwrap();
    let root_key = fs::read(case.folder().join("root.key")).unwrap();
    for alone in &added {
        fs::write(case.folder().join("slots.json"), &table).unwrap();
        fs::write(case.folder().join("root.key"), &root_key).unwrap();
        let keys = case.open(&Unlock::Unattended(surroundings.clone())).unwrap();
        for other in added.iter().filter(|other| other.id != alone.id) {
            keys.remove_slot(other.id).unwrap();
        }
        drop(keys);
        let again = shares[2..].iter().map(|share| Share::parse(&share.expose_text()).unwrap());
        let unlock = match alone.kind {
            SlotKind::Shares => Unlock::Shares(again.collect()),
            SlotKind::Passphrase => passphrase(GOOD),
            _ => Unlock::Unattended(surroundings.clone()),
        };
        let keys = case.open(&unlock).unwrap_or_else(|error| panic!("{alone:?}: {error}"));
        assert_eq!(keys.unwrap(case.recording, &wrapped).unwrap().id(), data_key.id());
        drop(keys);
        let locked = case.open(&Unlock::Unattended(Surroundings::default()));
        let needs_nothing = matches!(alone.kind, SlotKind::File | SlotKind::Exec);
        assert_eq!(locked.is_ok(), needs_nothing, "{alone:?}");
        let was_locked = matches!(locked, Err(KeyError::Locked { .. }));
        assert!(was_locked || needs_nothing, "{alone:?}");
    }
}

/// Planted fault: the source not asked a second time.
#[test]
fn a_slot_that_does_not_open_is_not_added() {
    let (case, keys) = Case::new();
    let before = keys.slots();
    let surroundings = case.surroundings();
    let count = case.state.path().join("count");
    // Another key each time it is asked.
    let fickle = format!("echo >> {0}; printf %064d $(wc -l < {0})", count.display());
    let cases = [
        (NewSlot::File, "possible"),
        (exec(&fickle), "open"),
        (exec("exit 1"), "open"),
        (NewSlot::Exec { command: vec!["sh".to_owned()] }, "possible"),
        (NewSlot::Credential { name: "recseal-rood".to_owned() }, "open"),
        (NewSlot::Credential { name: "../keys/root.key".to_owned() }, "possible"),
    ];
    for (new, says) in cases {
        let refused = keys.add_slot(&new, &surroundings, 0).unwrap_err();
        assert!(refused.to_string().contains(says), "{new:?}: {refused}");
        assert!(!refused.to_string().contains("rood"), "{refused}");
    }
    let refused = keys.add_shares_slot(1, 5, 0).unwrap_err();
    assert!(matches!(refused, KeyError::Shares { .. }));
    assert_eq!(keys.slots(), before);
    drop(keys);
    case.open(&Unlock::File).unwrap();
}

#[test]
fn the_file_slot_comes_back() {
    let (case, keys) = Case::new();
    add_cheap_passphrase(&keys);
    keys.remove_slot(keys.slots()[0].id).unwrap();
    assert!(!case.folder().join("root.key").exists());
    assert_eq!(keys.warnings(), [KeyWarning::NoUnattendedSlot]);
    keys.add_slot(&NewSlot::File, &Surroundings::default(), 0).unwrap();
    drop(keys);
    case.open(&Unlock::File).unwrap();
}

/// `root.key` is lost and a person unlocked: a new one takes its place, but never that of another.
/// Planted fault: the broken slot kept beside the new one, and the start tries it first.
#[test]
fn a_lost_root_key_is_made_again() {
    let (case, keys) = Case::new();
    let path = case.folder().join("root.key");
    let add = || keys.add_slot(&NewSlot::File, &Surroundings::default(), 0);
    assert!(matches!(add(), Err(KeyError::BadSlot { .. })), "it opens");
    std::fs::rename(&path, case.folder().join("away")).unwrap();
    assert!(keys.warnings().contains(&KeyWarning::FileSlotBroken));
    std::fs::write(&path, "something else").unwrap();
    assert!(matches!(add(), Err(KeyError::BadSlot { .. })), "it is another one");
    assert_eq!(std::fs::read(&path).unwrap(), b"something else");
    std::fs::rename(&path, case.folder().join("away")).unwrap();
    add().unwrap();
    assert_eq!(keys.slots().len(), 1);
    assert!(!keys.warnings().contains(&KeyWarning::FileSlotBroken));
    drop(keys);
    case.open(&Unlock::File).unwrap();
}

#[test]
fn shares_that_are_wrong_are_told_apart() {
    let (case, keys) = Case::new();
    let (_, shares) = keys.add_shares_slot(3, 5, 0).unwrap();
    let (_, others) = keys.add_shares_slot(2, 2, 0).unwrap();
    drop(keys);
    let again = |of: &[Share]| -> Vec<_> {
        of.iter().map(|share| Share::parse(&share.expose_text()).unwrap()).collect()
    };
    let refusal = |shares: Vec<Share>| case.open(&Unlock::Shares(shares)).unwrap_err();
    let too_few = refusal(again(&shares[..2]));
    assert!(matches!(
        too_few,
        KeyError::Shares { source: crate::ShareError::TooFew { given: 2, threshold: 3 } }
    ));
    let foreign = crate::shares::split(&Secret::generate(), 2, 3).unwrap();
    assert!(matches!(refusal(foreign), KeyError::UnknownShares));
    assert!(matches!(refusal(Vec::new()), KeyError::Slot { source: SlotProblem::NotGiven, .. }));
    // Shares of the other slot among them do no harm.
    let mut mixed = again(&shares[1..4]);
    mixed.extend(again(&others[..1]));
    case.open(&Unlock::Shares(mixed)).unwrap();
    case.open(&Unlock::Shares(again(&others))).unwrap();
}

#[test]
fn a_test_says_whether_a_slot_still_opens() {
    let (case, keys) = Case::new();
    let means = case.means();
    let file = keys.slots()[0].id;
    let known = keys.add_slot(&credential(), &means.surroundings, 0).unwrap();
    let passphrase = add_cheap_passphrase(&keys);
    for id in [file, known.id, passphrase.id] {
        assert_eq!(keys.test_slot(id, &means).unwrap().id, id);
    }
    let not_given = keys.test_slot(passphrase.id, &Means::default()).unwrap_err();
    assert!(matches!(not_given, KeyError::Slot { source: SlotProblem::NotGiven, .. }));
    let unknown = keys.test_slot(Uuid::nil(), &means).unwrap_err();
    assert!(matches!(unknown, KeyError::UnknownSlot { .. }));
    fs::write(case.state.path().join("credentials/recseal-root"), "00".repeat(32)).unwrap();
    let wrong = keys.test_slot(
        known.id,
        &Means {
            surroundings: Surroundings { credentials: Some(case.state.path().join("credentials")) },
            ..Means::default()
        },
    );
    assert!(matches!(wrong, Err(KeyError::Slot { source: SlotProblem::WrongKey, .. })));
    fs::write(case.folder().join("root.key"), "00".repeat(32)).unwrap();
    assert!(matches!(keys.test_slot(file, &means), Err(KeyError::WrongKeyFile { .. })));
}

/// Planted faults: old generations kept; the old line of `root.key` kept.
#[test]
fn a_new_root_key_leaves_nothing_under_the_old_one() {
    let (case, keys) = Case::new();
    let means = case.means();
    keys.add_slot(&credential(), &means.surroundings, 0).unwrap();
    add_cheap_passphrase(&keys);
    let (data_key, wrapped) = keys.new_data_key(case.recording);
    let before = keys.slots();
    let old_root = root(&keys);
    let old_file = fs::read(case.folder().join("root.key")).unwrap();
    let rotation = keys.rotate_root(&means, false).unwrap();
    assert_eq!((&rotation.kept, &rotation.dropped), (&before, &vec![]));
    let new_root = root(&keys);
    assert_ne!(new_root, old_root);
    assert_eq!(keys.warnings(), []);
    keys.ensure_certificate(300 * 86_400_000).unwrap();
    keys.rotate_root(&means, false).unwrap();
    let store = keys.writer().slots.store();
    drop(keys);
    for root in [old_root, new_root] {
        let opened = crate::store::Store::open(&case.folder(), &Secret::from_bytes(&root), store);
        assert!(opened.is_err(), "something is still under a root key that was replaced");
    }
    let new_file = fs::read(case.folder().join("root.key")).unwrap();
    assert!(new_file != old_file && new_file.len() == 65);
    for unlock in [Unlock::File, passphrase(GOOD), Unlock::Unattended(case.surroundings())] {
        let keys = case.open(&unlock).unwrap();
        assert_eq!(keys.unwrap(case.recording, &wrapped).unwrap().id(), data_key.id());
        assert_eq!(keys.warnings(), []);
    }
}

#[test]
fn what_cannot_be_carried_over_is_dropped_only_on_demand() {
    let (case, keys) = Case::new();
    let passphrase_slot = add_cheap_passphrase(&keys);
    let (shares_slot, shares) = keys.add_shares_slot(2, 3, 0).unwrap();
    let old_root = root(&keys);
    let refused = keys.rotate_root(&Means::default(), false).unwrap_err();
    assert!(matches!(refused, KeyError::Slot { slot, .. } if slot == passphrase_slot.id));
    assert_eq!((root(&keys), keys.slots().len()), (old_root, 3));
    let means = Means { shares, ..Means::default() };
    let rotation = keys.rotate_root(&means, true).unwrap();
    assert_eq!(rotation.dropped, [passphrase_slot]);
    assert_eq!(rotation.kept[1], shares_slot);
    let file = keys.slots()[0].id;
    keys.remove_slot(file).unwrap();
    let nobody = keys.rotate_root(&Means::default(), true).unwrap_err();
    assert!(matches!(nobody, KeyError::LastSlot { .. }));
    drop(keys);
    assert!(matches!(case.open(&passphrase(GOOD)), Err(KeyError::NoSuchSlot { .. })));
    case.open(&Unlock::Shares(means.shares)).unwrap();
}

#[test]
fn a_generation_set_aside_forbids_a_new_root_key() {
    let (case, keys) = Case::new();
    keys.ensure_certificate(300 * 86_400_000).unwrap();
    drop(keys);
    fs::write(case.folder().join("gen-2/store.bin"), b"damaged").unwrap();
    let keys = case.open(&Unlock::File).unwrap();
    let refused = keys.rotate_root(&case.means(), false).unwrap_err();
    assert!(matches!(refused, KeyError::Unrepaired { generation: 2 }));
}

/// Each slot opens after a crash before any step, and the start after it finishes the work.
/// Planted faults: the table stored after the store was sealed anew; `root.key` replaced by the
/// new key alone; the old root key not kept in the table.
#[test]
fn a_crash_while_the_root_key_changes_locks_nobody_out() {
    for at in 0.. {
        let (case, keys) = Case::new();
        let means = case.means();
        keys.add_slot(&credential(), &means.surroundings, 0).unwrap();
        add_cheap_passphrase(&keys);
        let (data_key, wrapped) = keys.new_data_key(case.recording);
        let old_root = root(&keys);
        let (said, done) = disk::crash::run(at, || keys.rotate_root(&means, false));
        assert!(!done || said.is_ok(), "step {at}: {said:?}");
        // What the running program holds is one of the two, and it goes on.
        assert_eq!(keys.unwrap(case.recording, &wrapped).unwrap().id(), data_key.id());
        drop(keys);
        for unlock in [passphrase(GOOD), Unlock::File, Unlock::Unattended(case.surroundings())] {
            let keys = case.open(&unlock);
            let keys = keys.unwrap_or_else(|error| panic!("step {at}, {unlock:?}: {error}"));
            assert_eq!(keys.unwrap(case.recording, &wrapped).unwrap().id(), data_key.id());
            assert_eq!(keys.warnings(), [], "step {at}");
            let is_old = root(&keys) == old_root;
            assert!(!is_old || !done, "step {at}");
            assert_eq!(fs::read(case.folder().join("root.key")).unwrap().len(), 65, "step {at}");
        }
        if done {
            assert!(at > 30, "only {at} steps were ever planned");
            return;
        }
    }
}

/// After a failure in the middle the running program goes on, and a repetition finishes it.
#[test]
fn a_failed_rotation_can_be_repeated_without_a_restart() {
    for at in 0.. {
        let (case, keys) = Case::new();
        let means = case.means();
        let (data_key, wrapped) = keys.new_data_key(case.recording);
        let (_, done) = disk::crash::run(at, || keys.rotate_root(&means, false));
        keys.ensure_certificate(300 * 86_400_000).unwrap();
        let served = keys.tls().facts();
        keys.rotate_root(&means, false).unwrap_or_else(|error| panic!("step {at}: {error}"));
        assert_eq!(keys.warnings(), [KeyWarning::NoRecoverySlot], "step {at}");
        drop(keys);
        let keys = case.open(&Unlock::File).unwrap();
        assert_eq!(keys.unwrap(case.recording, &wrapped).unwrap().id(), data_key.id());
        assert_eq!(keys.tls().facts(), served, "step {at}");
        if done {
            return;
        }
    }
}

#[test]
fn nothing_given_is_shown() {
    let (case, keys) = Case::new();
    let (info, shares) = keys.add_shares_slot(2, 2, 0).unwrap();
    let means = Means { shares, ..case.means() };
    let unlock = Unlock::Unattended(case.surroundings());
    let shown = format!("{means:?} {info:?} {unlock:?} {:?}", keys.writer().slots);
    assert!(!shown.contains("horse") && !shown.contains("rsshare1"), "{shown}");
    assert!(!shown.contains(case.state.path().to_str().unwrap()), "{shown}");
}
