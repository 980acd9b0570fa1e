use super::*;

use crate::certificate;
use crate::handle::HandleKey;
use crate::keyring::Keyring;
use crate::renewal::RenewalState;
use crate::seal_key::SealKeyTable;
use crate::signing::SigningKey;
use crate::stored_tls::{StoredCertificate, StoredTls};

fn contents() -> Contents {
    let names = ["localhost".to_owned()];
    let issued = certificate::issue_self_signed(&names, 0).unwrap();
    Contents {
        keyring: Keyring::generate(0),
        signing: vec![SigningKey::generate(0)],
        authority: None,
        tls: StoredTls::new(&names, StoredCertificate::self_signed(issued, 0)),
        tombstones: Vec::new(),
        seal_keys: SealKeyTable::default(),
        renewal: RenewalState::default(),
        handles: Some(HandleKey::generate()),
    }
}

struct Case {
    dir: tempfile::TempDir,
    root: Secret,
    id: Uuid,
}

/// A store whose generation n holds n signing keys.
fn store_of(generations: usize) -> (Case, Store, Contents) {
    let case =
        Case { dir: tempfile::tempdir().unwrap(), root: Secret::generate(), id: Uuid::now_v7() };
    let mut contents = contents();
    let mut store = Store::create(case.dir.path(), &case.root, case.id, &contents).unwrap();
    for _ in 1..generations {
        contents.signing.push(SigningKey::generate(0));
        store.commit(&contents).unwrap();
    }
    (case, store, contents)
}

impl Case {
    fn open(&self) -> Result<(Store, Contents), KeyError> {
        Store::open(self.dir.path(), &self.root, self.id)
    }

    fn file(&self, generation: u64) -> PathBuf {
        self.dir.path().join(format!("gen-{generation}/store.bin"))
    }
}

#[test]
fn three_generations_are_kept() {
    let (case, store, _) = store_of(5);
    assert_eq!(numbered(case.dir.path(), GENERATION).unwrap(), [3, 4, 5]);
    assert_eq!(store.surplus().unwrap(), [0u64; 0]);
    let (store, contents) = case.open().unwrap();
    assert_eq!((store.live, contents.signing.len()), (5, 5));
}

/// Every byte up to the middle of the JSON, the last ones, cuts and a longer file. Planted fault:
/// header neither in the associated data nor compared.
#[test]
fn a_damaged_generation_is_set_aside_and_the_one_before_it_taken() {
    let (case, ..) = store_of(4);
    let whole = fs::read(case.file(4)).unwrap();
    let flips = (0..96).chain(whole.len() - 18..whole.len()).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        bytes
    });
    let cuts = [0, 1, 31, 32, 59, whole.len() - 1].map(|len| whole[..len].to_vec());
    let longer = [&whole[..], &[0]].concat();
    for (number, bytes) in flips.chain(cuts).chain([longer]).enumerate() {
        fs::write(case.file(4), &bytes).unwrap();
        let (store, contents) = case.open().unwrap_or_else(|e| panic!("case {number}: {e}"));
        assert_eq!((store.live, contents.signing.len()), (3, 3), "case {number}");
        assert_eq!(store.damaged().unwrap(), [4], "case {number}");
        // As it was: the damaged one was not touched, so it can be put back.
        let aside = case.dir.path().join("damaged-gen-4");
        assert_eq!(fs::read(aside.join(STORE_FILE)).unwrap(), bytes, "case {number}");
        fs::rename(aside, case.dir.path().join("gen-4")).unwrap();
        disk::point(&case.dir.path().join(LIVE), "gen-4").unwrap();
    }
    fs::write(case.file(4), &whole).unwrap();
    assert_eq!(case.open().unwrap().0.live, 4);
}

/// Planted fault: damaged generations left out when the next number is chosen.
#[test]
fn the_number_of_a_damaged_generation_is_not_used_again() {
    let (case, ..) = store_of(2);
    fs::write(case.file(2), b"damaged").unwrap();
    let (mut store, contents) = case.open().unwrap();
    store.commit(&contents).unwrap();
    assert_eq!(store.live, 3);
    assert_eq!(case.open().unwrap().0.damaged().unwrap(), [2]);
}

#[test]
fn a_lost_link_or_folder_is_no_loss() {
    let losses: [fn(&Path); 4] = [
        |dir| disk::destroy(&dir.join(LIVE)).unwrap(),
        |dir| disk::destroy_folder(&dir.join("gen-4")).unwrap(),
        |dir| disk::point(&dir.join(LIVE), "gen-9").unwrap(),
        |dir| disk::point(&dir.join(LIVE), "elsewhere").unwrap(),
    ];
    for (number, lose) in losses.iter().enumerate() {
        let (case, ..) = store_of(4);
        lose(case.dir.path());
        let (store, contents) = case.open().unwrap();
        assert_eq!(contents.signing.len() as u64, store.live, "loss {number}");
        assert_eq!(read_live(case.dir.path()).unwrap(), Some(store.live), "loss {number}");
    }
}

#[test]
fn nothing_that_opens_is_an_error_that_changes_nothing() {
    let (case, ..) = store_of(2);
    let before = fs::read(case.file(2)).unwrap();
    let other_id = Store::open(case.dir.path(), &case.root, Uuid::now_v7());
    assert!(matches!(other_id, Err(KeyError::ForeignSlots)));
    let other_root = Store::open(case.dir.path(), &Secret::generate(), case.id);
    assert!(matches!(other_root, Err(KeyError::NoGeneration { tried: 2 })));
    assert_eq!(fs::read(case.file(2)).unwrap(), before);
    assert_eq!(case.open().unwrap().0.live, 2);
}

/// Planted fault: what cannot be read taken for damage, so that going back to an older program
/// would also go back to older keys.
#[test]
fn a_later_format_is_not_damage() {
    let (case, store, contents) = store_of(2);
    let mut json = serde_json::to_value(&contents).unwrap();
    json["novelty"] = true.into();
    let mut bytes = store.header(2).to_vec();
    bytes.extend(envelope::seal(&store.key, &bytes, json.to_string().as_bytes()));
    fs::write(case.file(2), &bytes).unwrap();
    assert!(matches!(case.open(), Err(KeyError::LaterFormat { generation: 2 })));
    assert_eq!(fs::read(case.file(2)).unwrap(), bytes);
}

/// Planted faults: `live` flipped before the file is synced; the folder not synced after the
/// flip; numbers given twice after a failure.
#[test]
fn a_crash_at_any_step_leaves_the_old_or_the_new_generation() {
    for at in 0.. {
        let (case, mut store, mut contents) = store_of(4);
        contents.signing.push(SigningKey::generate(0));
        let (said, done) = disk::crash::run(at, || store.commit(&contents));
        // The program lives on and tries once more, then the power goes.
        let (case_again, mut store_again, _) = store_of(4);
        let _ = disk::crash::run(at, || store_again.commit(&contents));
        store_again.commit(&contents).unwrap();
        assert_eq!(case_again.open().unwrap().1.signing.len(), 5, "step {at}");

        let (store, opened) = case.open().unwrap_or_else(|e| panic!("step {at}: {e}"));
        let is_new = opened.signing.len() == 5;
        assert!(is_new || opened.signing.len() == 4, "step {at}");
        assert!(is_new || said.is_err(), "step {at}: said to be stored, and is not");
        assert_eq!(store.damaged().unwrap(), [0u64; 0], "step {at}");
        let left = numbered(case.dir.path(), GENERATION).unwrap();
        assert_eq!(left.last(), Some(&store.live), "step {at}: half-made ones stay");
        assert!(left.len() <= GENERATIONS_KEPT, "step {at}: {left:?}");
        assert!(!case.dir.path().join("live.new").is_symlink(), "step {at}");
        if done {
            assert!(is_new && at > 8, "only {at} steps were ever planned");
            return;
        }
    }
}

/// Planted fault: `live` flipped before the damaged generation is set aside.
#[test]
fn a_crash_while_settling_destroys_no_damaged_generation() {
    for at in 0.. {
        let (case, ..) = store_of(4);
        fs::write(case.file(4), b"damaged").unwrap();
        let (_, done) = disk::crash::run(at, || case.open().map(|_| ()));
        let (store, contents) = case.open().unwrap();
        assert_eq!((store.live, contents.signing.len()), (3, 3), "step {at}");
        assert_eq!(store.damaged().unwrap(), [4], "step {at}");
        if done {
            assert!(at > 3, "only {at} steps were ever planned");
            return;
        }
    }
}
