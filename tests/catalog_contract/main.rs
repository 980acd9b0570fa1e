//! What the rest of the program relies on from the catalog, asked only through its public face and,
//! for what it must refuse, through raw SQL. A second catalog would have to pass the same.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod audit;
mod crash;
mod discovery;
mod facts;
mod lives;
mod scrub;
mod seal_keys;

use std::path::PathBuf;

use keymanager::WrappedKey;
use recseal::catalog::Catalog;
use recseal::catalog::CatalogError;
use recseal::catalog::CatalogTx;
use recseal::catalog::NewRecording;
use recseal::catalog::StoreLayout;
use recseal::catalog::StoreRow;
use recseal::clock::Timestamp;
use recseal::compliance::audit::Activity;
use recseal::compliance::audit::Actor;
use recseal::compliance::audit::AuditEntry;
use recseal::domain::DataKeyId;
use recseal::domain::FileAttributes;
use recseal::domain::Fingerprint;
use recseal::domain::RecordingId;
use recseal::domain::SealedCopy;
use recseal::domain::SealedKind;
use recseal::domain::Sighting;
use recseal::domain::StoreId;
use recseal::domain::StorePath;
use recseal::domain::VaultName;
use recseal::domain::lifecycle::RecordingEvent;

/// A catalog in a folder of its own, with one store.
struct Fixture {
    dir: tempfile::TempDir,
    catalog: Catalog,
    store: StoreId,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
        let store = StoreId::new();
        let fixture = Self { dir, catalog, store };
        fixture.write(|tx| tx.put_store(&store_row(store)));
        fixture
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("catalog.db")
    }

    fn write<T>(&self, work: impl FnOnce(&CatalogTx<'_>) -> Result<T, CatalogError>) -> T {
        self.catalog.write(work).unwrap()
    }

    /// Forgets the sealed files of a recording, as its erasure does.
    fn forget_copies(&self, id: RecordingId) {
        for copy in self.catalog.read(|tx| tx.copies(id)).unwrap() {
            assert!(self.write(|tx| tx.forget_copy(id, &copy)));
        }
    }

    /// A recording called `name`, found and not finished.
    fn found(&self, name: &str) -> RecordingId {
        let id = RecordingId::new();
        self.write(|tx| add_found(tx, self.store, id, &sighting(name), false));
        id
    }

    /// The same, settled, with its key recorded.
    fn sealing(&self, name: &str) -> RecordingId {
        let id = self.found(name);
        self.write(|tx| {
            tx.settle(id, at(2))?;
            begin_sealing(tx, id)
        });
        id
    }

    /// The same, sealed.
    fn sealed(&self, name: &str) -> RecordingId {
        let id = self.sealing(name);
        self.write(|tx| {
            tx.add_copy(id, &media_copy(id), at(3))?;
            tx.advance(id, RecordingEvent::SealVerified, &entry(id, 4)).map(drop)
        });
        id
    }

    /// A second way into the file, as an attacker or a bug would have it.
    fn raw(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn path(name: &str) -> StorePath {
    StorePath::new(name).unwrap()
}

fn sighting(name: &str) -> Sighting {
    Sighting {
        path: path(name),
        fingerprint: Fingerprint {
            device: u64::MAX,
            inode: 7,
            size_bytes: 1_000,
            modified_ns: -5,
            changed_ns: 6,
        },
        attributes: FileAttributes {
            mode: 0o100_640,
            uid: 1_000,
            gid: u32::MAX,
            accessed_ns: 8,
            modified_ns: -5,
        },
        links: 1,
    }
}

fn store_row(id: StoreId) -> StoreRow {
    StoreRow {
        id,
        root: "/srv/recordings".into(),
        profile: "generic".into(),
        layout: StoreLayout::Vault,
        device: 1,
        created_at: at(0),
    }
}

fn add_found(
    tx: &CatalogTx<'_>,
    store: StoreId,
    id: RecordingId,
    sighting: &Sighting,
    is_finished: bool,
) -> Result<(), CatalogError> {
    tx.add_found(&NewRecording { id, store, sighting, is_finished, now: at(1) })
}

fn begin_sealing(tx: &CatalogTx<'_>, id: RecordingId) -> Result<(), CatalogError> {
    tx.record_key(id, &wrapped_key(1), at(2))?;
    tx.advance(id, RecordingEvent::KeyRecorded, &entry(id, 2)).map(drop)
}

/// A wrapped key in form, of a fresh data key id.
fn wrapped_key(version: u32) -> WrappedKey {
    wrapped_key_of(version, &[0xAA; 60])
}

fn wrapped_key_of(version: u32, ciphertext: &[u8; 60]) -> WrappedKey {
    let id = DataKeyId::new();
    let bytes = [&version.to_be_bytes()[..], id.0.as_bytes(), ciphertext].concat();
    WrappedKey::from_bytes(&bytes).unwrap()
}

fn media_copy(id: RecordingId) -> SealedCopy {
    SealedCopy {
        vault: VaultName::Own,
        path: path(&format!("ab/{id}.media")),
        kind: SealedKind::Media,
        sidecar: None,
        sealed_bytes: 1_200,
        plain_bytes: 1_000,
    }
}

fn entry(recording: RecordingId, millis: i64) -> AuditEntry {
    AuditEntry::new(at(millis), Actor::DAEMON, Activity::RecordingSealed).on_recording(recording)
}
