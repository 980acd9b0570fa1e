use super::*;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use uuid::Uuid;

use crate::disk::crash;
use crate::keyring::WrappedKey;
use crate::slots::Unlock;

const NOW_MS: i64 = 1_795_000_000_000;
const DAY_MS: i64 = 86_400_000;

struct Case {
    state: tempfile::TempDir,
    keys: Option<KeyManager>,
}

impl Case {
    fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let names = ["localhost".to_owned()];
        let keys = KeyManager::create(&state.path().join("keys"), &names, NOW_MS).unwrap();
        Self { state, keys: Some(keys) }
    }

    fn keys(&self) -> &KeyManager {
        self.keys.as_ref().unwrap()
    }

    fn open_again(&mut self) {
        self.keys = None;
        let folder = self.state.path().join("keys");
        self.keys = Some(KeyManager::open(&folder, &Unlock::File).unwrap());
    }

    fn rotate(&self) -> u32 {
        self.keys().rotate_kek(NOW_MS, RotationReason::Manual, 0).unwrap()
    }

    fn schedule(&self, version: u32, at_ms: i64) {
        self.keys().schedule_kek_destruction(&wish(version, at_ms)).unwrap();
    }

    fn states(&self) -> Vec<KeyState> {
        self.keys().versions().iter().map(|info| info.state).collect()
    }

    /// In how many generations `version` still has its key.
    fn generations_with(&self, version: u32) -> usize {
        let generations = self.keys().writer().store.every_generation();
        let has = |contents: &&Contents| contents.keyring.fingerprint(version).is_some();
        generations.iter().filter(has).count()
    }
}

fn wish(version: u32, at_ms: i64) -> Destruction {
    Destruction { version, at_ms, recordings: 7, reason: "routine".into(), by: "uid:0".into() }
}

/// Every verb in every state that can be reached. Planted faults: the active version left to
/// `next` alone; the date not forgotten when it is taken back.
#[test]
fn each_verb_does_what_the_table_allows_and_is_kept() {
    let mut case = Case::new();
    let active = |result| matches!(result, Err(KeyError::ActiveVersion { version: 1 }));
    assert!(active(case.keys().disable_kek(1)));
    assert!(active(case.keys().schedule_kek_destruction(&wish(1, 0))));
    let unknown = case.keys().disable_kek(9);
    assert!(matches!(unknown, Err(KeyError::UnknownVersion { version: 9 })));
    let compromised = case.keys().rotate_kek(NOW_MS + 5, RotationReason::Compromised, 0).unwrap();
    assert_eq!((compromised, case.keys().active_version()), (2, 2));
    let [old, new] = case.keys().versions()[..] else { panic!("two versions") };
    assert_eq!(
        (old.state, old.compromised, old.retired_ms),
        (KeyState::Retired, true, Some(NOW_MS + 5))
    );
    assert_eq!((new.state, new.compromised, new.retired_ms), (KeyState::Active, false, None));

    let illegal = |result| matches!(result, Err(KeyError::IllegalKeyTransition { version: 1, .. }));
    assert!(illegal(case.keys().enable_kek(1)));
    assert!(illegal(case.keys().cancel_kek_destruction(1)));
    case.keys().disable_kek(1).unwrap();
    assert!(illegal(case.keys().disable_kek(1)));
    case.keys().enable_kek(1).unwrap();
    case.schedule(1, NOW_MS);
    assert!(illegal(case.keys().enable_kek(1)));
    // Who set a date may set another one: "not in 30 days, now".
    case.schedule(1, NOW_MS + DAY_MS);
    case.open_again();
    assert_eq!(case.keys().versions()[0].destroy_at_ms, Some(NOW_MS + DAY_MS));
    case.keys().cancel_kek_destruction(1).unwrap();
    assert_eq!(case.keys().versions()[0].destroy_at_ms, None);
    assert_eq!(case.states(), [KeyState::Disabled, KeyState::Active]);
    assert_eq!(case.keys().rotate_kek(NOW_MS, RotationReason::Scheduled, 40).unwrap(), 41);
}

/// Planted fault: the date not looked at.
#[test]
fn a_version_is_destroyed_when_it_is_due_and_nothing_needs_it() {
    let mut case = Case::new();
    let recording = Uuid::now_v7();
    let (_, wrapped) = case.keys().new_data_key(recording);
    let fingerprint = case.keys().kek_fingerprint(1).unwrap();
    case.rotate();
    case.schedule(1, NOW_MS + 30 * DAY_MS);
    let early = case.keys().destroy_due_keks(NOW_MS + 29 * DAY_MS, |_| 0).unwrap();
    assert_eq!(early, Destroyed::default());
    let due_ms = NOW_MS + 30 * DAY_MS;
    let blocked = case.keys().destroy_due_keks(due_ms, |version| u64::from(version) * 3).unwrap();
    assert_eq!((blocked.tombstones.len(), blocked.blocked), (0, vec![(1, 3)]));
    assert_eq!(case.states()[0], KeyState::DestroyScheduled);
    assert!(case.generations_with(1) > 0 && case.keys().tombstones().is_empty());

    let destroyed = case.keys().destroy_due_keks(due_ms, |_| 0).unwrap();
    let [tombstone] = &destroyed.tombstones[..] else { panic!("one tombstone") };
    assert_eq!((tombstone.version, tombstone.fingerprint), (1, fingerprint));
    assert_eq!((tombstone.destroyed_ms, tombstone.recordings_at_scheduling), (due_ms, 7));
    tombstone.verify(&case.keys().public_signing_keys()).unwrap();
    for _ in 0..2 {
        assert_eq!(case.states(), [KeyState::Destroyed, KeyState::Active]);
        assert_eq!(case.keys().versions()[0].destroyed_ms, Some(due_ms));
        assert_eq!(case.generations_with(1), 0);
        assert_eq!(case.generations_with(2), 3, "twice before, once after");
        let refused = case.keys().unwrap(recording, &wrapped);
        assert!(matches!(refused, Err(KeyError::VersionUnavailable { version: 1, .. })));
        assert_eq!(case.keys().tombstones(), destroyed.tombstones);
        assert_eq!(case.keys().kek_fingerprint(1), Some(fingerprint));
        case.open_again();
    }
    assert_eq!(case.keys().destroy_due_keks(i64::MAX, |_| 0).unwrap(), Destroyed::default());
    assert_eq!(case.rotate(), 3);
}

/// Planted fault: older generations left alone.
#[test]
fn a_crash_never_calls_a_key_destroyed_that_is_still_there() {
    for at in 0.. {
        let mut case = Case::new();
        case.rotate();
        case.schedule(1, NOW_MS);
        let (said, done) = crash::run(at, || case.keys().destroy_due_keks(NOW_MS, |_| 0));
        let check = |case: &Case| {
            let is_over = case.states()[0] == KeyState::Destroyed;
            assert_eq!(!case.keys().tombstones().is_empty(), is_over, "step {at}");
            assert!(!is_over || case.generations_with(1) == 0, "step {at}: it is still there");
            assert!(case.generations_with(2) >= 1, "step {at}");
            is_over
        };
        assert!(check(&case) || said.is_err(), "step {at}: said to be destroyed, and is not");
        // The program lives on and changes something else.
        if at % 3 == 0 {
            let lost = !case.states()[0].has_key();
            case.rotate();
            assert!(!lost || !case.states()[0].has_key(), "step {at}: the key came back");
        }
        case.open_again();
        check(&case);
        case.keys().destroy_due_keks(NOW_MS, |_| 0).unwrap();
        assert!(check(&case), "step {at}: the next call did not finish it");
        assert_eq!(case.keys().tombstones().len(), 1, "step {at}");
        if done {
            assert!(at > 25, "only {at} steps were ever planned");
            return;
        }
    }
}

/// A repaired disk would give the key back.
#[test]
fn a_damaged_generation_holds_a_destruction_up() {
    let mut case = Case::new();
    case.rotate();
    case.schedule(1, NOW_MS);
    let folder = case.state.path().join("keys");
    fs::write(folder.join("gen-3/store.bin"), b"damaged").unwrap();
    case.open_again();
    case.schedule(1, NOW_MS);
    let refused = case.keys().destroy_due_keks(NOW_MS, |_| 0);
    assert!(matches!(refused, Err(KeyError::DamagedGenerationLeft { generation: 3 })));
    assert_eq!(case.states()[0], KeyState::DestroyScheduled);
    crate::disk::destroy_folder(&folder.join("damaged-gen-3")).unwrap();
    assert_eq!(case.keys().destroy_due_keks(NOW_MS, |_| 0).unwrap().tombstones.len(), 1);
}

/// The store of yesterday put back, with the version still active in it.
#[test]
fn a_restored_store_destroys_again_what_was_destroyed() {
    let mut case = Case::new();
    let recording = Uuid::now_v7();
    let (_, wrapped) = case.keys().new_data_key(recording);
    let (folder, yesterday) = (case.state.path().join("keys"), case.state.path().join("copy"));
    copy_folder(&folder, &yesterday);
    case.rotate();
    case.schedule(1, NOW_MS);
    case.keys().destroy_due_keks(NOW_MS, |_| 0).unwrap();
    let tombstones = case.keys().tombstones();
    case.keys = None;

    fs::rename(&folder, case.state.path().join("today")).unwrap();
    fs::rename(&yesterday, &folder).unwrap();
    case.open_again();
    assert!(case.keys().unwrap(recording, &wrapped).is_ok());
    let other = Case::new();
    other.rotate();
    other.schedule(1, NOW_MS);
    let foreign = other.keys().destroy_due_keks(NOW_MS, |_| 0).unwrap().tombstones;
    let refused = case.keys().apply_tombstones(&foreign, NOW_MS);
    assert!(matches!(refused, Err(KeyError::UnknownSigner { .. })));
    assert_eq!(case.keys().apply_tombstones(&tombstones, NOW_MS).unwrap(), [1]);
    assert!(case.keys().unwrap(recording, &wrapped).is_err());
    assert_eq!(case.states(), [KeyState::Destroyed, KeyState::Active]);
    assert_eq!((case.generations_with(1), case.keys().tombstones()), (0, tombstones.clone()));
    case.open_again();
    assert_eq!(case.keys().apply_tombstones(&tombstones, NOW_MS).unwrap(), [0_u32; 0]);
    assert_eq!(case.keys().active_version(), 2);
}

/// A tombstone of a version that the older store never had keeps its number from being used.
#[test]
fn the_number_of_a_tombstone_is_not_given_again() {
    let mut case = Case::new();
    let (folder, yesterday) = (case.state.path().join("keys"), case.state.path().join("copy"));
    copy_folder(&folder, &yesterday);
    for _ in 0..2 {
        case.rotate();
    }
    case.schedule(2, NOW_MS);
    let tombstones = case.keys().destroy_due_keks(NOW_MS, |_| 0).unwrap().tombstones;
    case.keys = None;
    fs::rename(&folder, case.state.path().join("today")).unwrap();
    fs::rename(&yesterday, &folder).unwrap();
    case.open_again();
    assert_eq!(case.keys().apply_tombstones(&tombstones, NOW_MS).unwrap(), [0_u32; 0]);
    assert_eq!(case.keys().tombstones(), tombstones);
    assert_eq!(case.rotate(), 3);
}

fn copy_folder(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(done.success());
}

#[derive(Clone, Debug)]
enum Step {
    Seal,
    Rotate,
    RewrapOne,
    RewrapAll,
    Schedule(usize),
    Cancel(usize),
    Destroy,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Seal),
        2 => Just(Step::Rotate),
        2 => Just(Step::RewrapOne),
        1 => Just(Step::RewrapAll),
        2 => any::<usize>().prop_map(Step::Schedule),
        1 => any::<usize>().prop_map(Step::Cancel),
        2 => Just(Step::Destroy),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever comes in whatever order, each live recording opens, unless the version it is under
    /// waits for its end: then moving it opens it.
    #[test]
    fn no_order_of_events_loses_a_recording(steps in prop::collection::vec(step(), 1..25)) {
        let mut case = Case::new();
        let mut rows: BTreeMap<Uuid, (Uuid, WrappedKey)> = BTreeMap::new();
        for step in steps {
            let versions = case.keys().versions();
            match step {
                Step::Seal => {
                    let recording = Uuid::now_v7();
                    let (key, wrapped) = case.keys().new_data_key(recording);
                    rows.insert(recording, (key.id(), wrapped));
                }
                Step::Rotate => drop(case.rotate()),
                Step::RewrapOne | Step::RewrapAll => {
                    let most = if matches!(step, Step::RewrapOne) { 1 } else { usize::MAX };
                    let rewrapper = case.keys().rewrapper();
                    let active = rewrapper.active_version();
                    let old = rows.iter_mut().filter(|(_, (_, key))| key.version() != active);
                    for (recording, (_, wrapped)) in old.take(most) {
                        *wrapped = rewrapper.rewrap(*recording, wrapped).unwrap();
                    }
                }
                Step::Schedule(at) => {
                    let _ = case.keys().schedule_kek_destruction(&wish(versions[at % versions.len()].version, NOW_MS));
                }
                Step::Cancel(at) => {
                    let version = versions[at % versions.len()].version;
                    let _ = case.keys().cancel_kek_destruction(version).and_then(|()| case.keys().enable_kek(version));
                }
                Step::Destroy => {
                    let used = |version| rows.values().filter(|(_, key)| key.version() == version).count() as u64;
                    case.keys().destroy_due_keks(NOW_MS, used).unwrap();
                }
                Step::Restart => case.open_again(),
            }
            let rewrapper = case.keys().rewrapper();
            for (recording, (id, wrapped)) in &rows {
                let moved = rewrapper.rewrap(*recording, wrapped).unwrap();
                prop_assert_eq!(case.keys().unwrap(*recording, &moved).unwrap().id(), *id);
            }
            for tombstone in case.keys().tombstones() {
                prop_assert_eq!(case.generations_with(tombstone.version), 0);
            }
        }
    }
}
