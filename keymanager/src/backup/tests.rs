use std::io::{self, Read};
use std::sync::LazyLock;

use proptest::prelude::*;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::*;
use crate::certificate;
use crate::data_key::DataKey;
use crate::error::KeyError;
use crate::floe::CHUNK_BYTES;
use crate::handle::HandleKey;
use crate::keyring::Keyring;
use crate::manager::{Destruction, KeyManager, RotationReason};
use crate::seal_key::SealKeyTable;
use crate::shares::Share;
use crate::signing::SigningKey;
use crate::store::Contents;
use crate::stored_tls::{StoredCertificate, StoredTls};

const NOW_MS: i64 = 1_795_000_000_000;

fn contents() -> Contents {
    let names = ["localhost".to_owned()];
    let issued = certificate::issue_self_signed(&names, NOW_MS).unwrap();
    Contents {
        keyring: Keyring::generate(NOW_MS),
        signing: vec![SigningKey::generate(NOW_MS)],
        tls: StoredTls::new(&names, StoredCertificate::self_signed(issued, NOW_MS)),
        tombstones: Vec::new(),
        authority: None,
        renewal: Default::default(),
        handles: Some(HandleKey::generate()),
        seal_keys: SealKeyTable::default(),
    }
}

fn facts(catalog: &[u8]) -> CatalogFacts {
    CatalogFacts {
        len_bytes: catalog.len() as u64,
        sha256: sealed::digest_of(catalog),
        taken_ms: NOW_MS,
        recordings: 3,
        sealed: 2,
        data_keys: vec![(1, 2)],
        vault: None,
    }
}

fn seal(contents: &Contents, ways: &[BackupWay], catalog: &[u8]) -> Vec<u8> {
    let facts = facts(catalog);
    let store = Uuid::now_v7();
    let mut sealed =
        SealedBackup::new(ways, store, 7, contents, facts, io::Cursor::new(catalog), NOW_MS)
            .unwrap();
    let mut file = Vec::new();
    sealed.read_to_end(&mut file).unwrap();
    assert_eq!(file.len() as u64, sealed.len_bytes(), "a promised length is kept");
    file
}

fn open(file: &[u8], opener: &BackupOpener) -> Result<(Vec<u8>, BackedUpKeys), BackupError> {
    let opened = OpenedBackup::open(file, opener)?;
    let mut catalog = Vec::new();
    let (_, keys) = opened.copy_catalog(&mut catalog, &mut |_| {})?;
    Ok((catalog, keys))
}

fn passphrase(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}

/// Each way alone opens all of it, at every length around a chunk.
#[test]
fn every_way_opens() {
    let contents = contents();
    let recording = Uuid::now_v7();
    let data_key = DataKey::generate();
    let wrapped = contents.keyring.wrap(recording, &data_key);
    let (private, public) = BackupPrivateKey::generate();
    let (shared, shares) = ShareSecret::generate(3, 5).unwrap();
    let ways = [
        BackupWay::passphrase(passphrase("twelve bytes or more")).unwrap(),
        BackupWay::Shares(ShareSecret::parse(&shared.expose_text()).unwrap()),
        BackupWay::Recipient(public),
    ];
    let openers = [
        BackupOpener::passphrase(passphrase("twelve bytes or more")),
        BackupOpener::Shares(shares.into_iter().skip(2).collect()),
        BackupOpener::PrivateKey(private),
    ];
    for len in [0, 1, TEXT_BYTES - 1, TEXT_BYTES, 3 * TEXT_BYTES + 7] {
        let catalog = noise(len);
        let file = seal(&contents, &ways, &catalog);
        let (_, kinds) = OpenedBackup::peek(file.as_slice()).unwrap();
        assert_eq!(kinds, [WayKind::Passphrase, WayKind::Shares, WayKind::Recipient]);
        for opener in &openers {
            let (found, keys) = open(&file, opener).unwrap();
            assert_eq!(found, catalog);
            assert_eq!(keys.unwrap(recording, &wrapped).unwrap().id(), data_key.id());
        }
    }
}

#[test]
fn what_does_not_open_says_why() {
    let contents = contents();
    let (shared, shares) = ShareSecret::generate(3, 5).unwrap();
    let (_, other_shares) = ShareSecret::generate(3, 5).unwrap();
    let (_, public) = BackupPrivateKey::generate();
    let by_passphrase = BackupWay::passphrase(passphrase("the right passphrase")).unwrap();
    let ways = [by_passphrase, BackupWay::Shares(shared), BackupWay::Recipient(public)];
    let file = seal(&contents, &ways, b"catalog");
    let wrong = |opener: BackupOpener| open(&file, &opener).unwrap_err();
    let few = |shares: &[Share]| -> Vec<Share> {
        shares[..2].iter().map(|s| Share::parse(&s.expose_text()).unwrap()).collect()
    };
    let error = wrong(BackupOpener::passphrase(passphrase("another passphrase")));
    assert!(matches!(error, BackupError::WrongPassphrase));
    let error = wrong(BackupOpener::Shares(few(&shares)));
    let told = "the shares do not open the backup";
    assert!(matches!(&error, BackupError::Shares(_)) && error.to_string() == told);
    assert!(matches!(wrong(BackupOpener::Shares(other_shares)), BackupError::OtherShares));
    let (private, _) = BackupPrivateKey::generate();
    assert!(matches!(wrong(BackupOpener::PrivateKey(private)), BackupError::WrongRecipient));
    let only_passphrase = seal(&contents, &ways[..1], b"catalog");
    let error = open(&only_passphrase, &BackupOpener::Shares(shares)).unwrap_err();
    assert_eq!(error.to_string(), "the backup does not open by shares; it opens by passphrase");
    for bad in ["", "x", "RSBACKUP"] {
        let error = OpenedBackup::peek(bad.as_bytes()).unwrap_err();
        assert!(matches!(error, BackupError::NotABackup));
    }
    assert!(BackupWay::passphrase(passphrase("short")).is_err());
}

struct Sample {
    file: Vec<u8>,
    other: Vec<u8>,
    private: String,
}

/// Three chunks and a bit, and a second backup of the same things.
static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let (private, public) = BackupPrivateKey::generate();
    let by_passphrase = BackupWay::passphrase(passphrase("a passphrase too")).unwrap();
    let ways = [BackupWay::Recipient(public), by_passphrase];
    let (contents, catalog) = (contents(), noise(3 * TEXT_BYTES));
    Sample {
        file: seal(&contents, &ways, &catalog),
        other: seal(&contents, &ways, &catalog),
        private: private.expose_text().to_string(),
    }
});

fn opens(file: &[u8]) -> bool {
    let private = BackupPrivateKey::parse(&SAMPLE.private).unwrap();
    open(file, &BackupOpener::PrivateKey(private)).is_ok()
}

/// Its digest finds what a disk did, its place in the associated data what a person did.
#[test]
fn every_byte_of_the_head_counts() {
    let body_at = SAMPLE.file.len() - (SAMPLE.file.len() - 300) / CHUNK_BYTES * CHUNK_BYTES;
    assert!(opens(&SAMPLE.file));
    for at in 0..body_at.min(420) {
        let mut changed = SAMPLE.file.clone();
        changed[at] ^= 1;
        assert!(!opens(&changed), "byte {at}");
    }
}

/// A head whose digest was made to fit again: only the encryption can find that. Meant to catch:
/// the head left out of the associated data.
#[test]
fn a_head_that_was_forged_whole_is_refused() {
    let mut forged = SAMPLE.file.clone();
    forged[35] ^= 1; // when it was made
    let table = usize::from(u16::from_be_bytes([forged[10], forged[11]]));
    let digest = sealed::digest_of(&forged[..36 + table]);
    forged[36 + table..][..32].copy_from_slice(&digest);
    assert!(!opens(&forged));
    // The chunks of one backup behind the head of the other.
    let head = 36 + table + 32 + 74;
    assert!(!opens(&[&SAMPLE.file[..head], &SAMPLE.other[head..]].concat()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_flipped_bit_is_found(at in 0..SAMPLE.file.len(), bit in 0..8) {
        let mut changed = SAMPLE.file.clone();
        changed[at] ^= 1_u8 << bit;
        prop_assert!(!opens(&changed));
    }

    #[test]
    fn any_cut_is_found(at in 0..SAMPLE.file.len()) {
        prop_assert!(!opens(&SAMPLE.file[..at]));
    }

    #[test]
    fn anything_added_is_found(more in proptest::collection::vec(any::<u8>(), 1..70_000)) {
        prop_assert!(!opens(&[&SAMPLE.file, more.as_slice()].concat()));
    }

    #[test]
    fn nonsense_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let magic = [b"RSBACKUP\x01".as_slice(), &bytes].concat();
        for file in [&bytes, &magic] {
            let opener = BackupOpener::passphrase(passphrase("some passphrase"));
            prop_assert!(open(file, &opener).is_err());
        }
    }
}

#[test]
fn cuts_and_swaps_at_chunk_borders_are_found() {
    let file = &SAMPLE.file;
    let table = usize::from(u16::from_be_bytes([file[10], file[11]]));
    let body_at = 36 + table + 32 + 74;
    let chunks: Vec<&[u8]> = file[body_at..].chunks(CHUNK_BYTES).collect();
    assert!(chunks.len() >= 4);
    for keep in 0..chunks.len() {
        let cut = [&file[..body_at], &chunks[..keep].concat()].concat();
        assert!(!opens(&cut), "{keep} chunks");
    }
    let mut swapped = chunks.clone();
    swapped.swap(1, 2);
    assert!(!opens(&[&file[..body_at], &swapped.concat()].concat()));
    let mut repeated = chunks.clone();
    repeated.insert(1, chunks[1]);
    assert!(!opens(&[&file[..body_at], &repeated.concat()].concat()));
}

#[test]
fn a_catalog_that_ends_early_is_no_backup() {
    let contents = contents();
    let (_, public) = BackupPrivateKey::generate();
    let ways = [BackupWay::Recipient(public)];
    let mut sealed = SealedBackup::new(
        &ways,
        Uuid::nil(),
        1,
        &contents,
        facts(&noise(100_000)),
        io::Cursor::new(noise(99_999)),
        NOW_MS,
    )
    .unwrap();
    let mut file = Vec::new();
    assert!(sealed.read_to_end(&mut file).is_err());
    assert!((file.len() as u64) < sealed.len_bytes());
}

/// The whole way: a store, its backup, a store elsewhere with a new root key and the next
/// generation, and what the first one wrapped opens in the second.
#[test]
fn a_store_moves_to_another_host() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["localhost".to_owned()];
    let old = KeyManager::create(&dir.path().join("old"), &names, NOW_MS).unwrap();
    let recording = Uuid::now_v7();
    let (data_key, wrapped) = old.new_data_key(recording);
    let (private, public) = BackupPrivateKey::generate();
    let ways = [BackupWay::Recipient(public)];
    let mut file = Vec::new();
    let mut sealed = old.seal_backup(&ways, facts(b"c"), io::Cursor::new(b"c"), NOW_MS).unwrap();
    sealed.read_to_end(&mut file).unwrap();
    let (_, keys) = open(&file, &BackupOpener::PrivateKey(private)).unwrap();

    let folder = dir.path().join("new");
    let typed = passphrase("for the new host");
    let new = keys.restore(&folder, Some(&typed), NOW_MS).unwrap();
    assert_eq!(new.unwrap(recording, &wrapped).unwrap().id(), data_key.id());
    assert_eq!(new.public_signing_keys(), old.public_signing_keys());
    assert_eq!(new.tls().facts(), old.tls().facts());
    assert_eq!(new.slots().len(), 2);
    assert!(folder.join("gen-2").exists(), "the generation after the old one");
    assert!(keys.restore(&folder, None, NOW_MS).is_err(), "nothing is overwritten");
    let root = |name: &str| std::fs::read(dir.path().join(name).join("root.key")).unwrap();
    assert_ne!(root("old"), root("new"), "a new root key");
    drop(new);
    let again = KeyManager::open(&folder, &crate::Unlock::Passphrase(typed)).unwrap();
    assert!(again.unwrap(recording, &wrapped).is_ok());
}

/// Meant to catch: keys taken without asking what the catalog needs.
#[test]
fn a_version_that_the_catalog_needs_must_be_there() {
    let dir = tempfile::tempdir().unwrap();
    let keys =
        KeyManager::create(&dir.path().join("k"), &["localhost".to_owned()], NOW_MS).unwrap();
    let (_, public) = BackupPrivateKey::generate();
    let ways = [BackupWay::Recipient(public)];
    for (data_keys, fine) in [(vec![], true), (vec![(0, 4), (1, 9)], true), (vec![(2, 1)], false)] {
        let facts = CatalogFacts { data_keys, ..facts(b"") };
        let sealed = keys.seal_backup(&ways, facts, io::empty(), NOW_MS);
        match sealed {
            Ok(_) => assert!(fine),
            Err(BackupError::Keys(KeyError::UnknownVersion { version: 2 })) => assert!(!fine),
            Err(error) => panic!("{error}"),
        }
    }
}

/// A version that is destroyed after a backup was made comes back with it, and goes again as soon
/// as the restored store is told.
#[test]
fn what_was_destroyed_since_goes_again() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["localhost".to_owned()];
    let old = KeyManager::create(&dir.path().join("old"), &names, NOW_MS).unwrap();
    let (private, public) = BackupPrivateKey::generate();
    let mut file = Vec::new();
    let ways = [BackupWay::Recipient(public)];
    let mut sealed = old.seal_backup(&ways, facts(b""), io::empty(), NOW_MS).unwrap();
    sealed.read_to_end(&mut file).unwrap();
    old.rotate_kek(NOW_MS, RotationReason::Manual, 0).unwrap();
    old.schedule_kek_destruction(&Destruction {
        version: 1,
        at_ms: NOW_MS,
        recordings: 0,
        reason: "routine".to_owned(),
        by: "uid:0".to_owned(),
    })
    .unwrap();
    assert_eq!(old.destroy_due_keks(NOW_MS, |_| 0).unwrap().tombstones.len(), 1);

    let (_, keys) = open(&file, &BackupOpener::PrivateKey(private)).unwrap();
    let new = keys.restore(&dir.path().join("new"), None, NOW_MS).unwrap();
    assert_eq!(new.active_version(), 1, "as it was when the backup was made");
    assert_eq!(new.apply_tombstones(&old.tombstones(), NOW_MS).unwrap(), [1]);
    assert_eq!(new.active_version(), 2);
}
