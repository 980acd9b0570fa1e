//! Data keys sealed to a public key, and those of sidecars that came later.

use keymanager::{SealKeyId, SealedDataKey, StoredDataKey};
use recseal::catalog::{CatalogError, NewSidecar};
use recseal::domain::lifecycle::RecordingEvent;
use recseal::domain::{DataKeyId, RecordingId, SealedCopy, SealedKind, SidecarId};

use crate::{Fixture, at, entry, media_copy, path, sighting};

/// In form only, sealed to the seal key of eight times this byte.
fn sealed_key(seal_key: u8) -> SealedDataKey {
    let id = DataKeyId::new();
    let bytes = [&[1, 1][..], &[seal_key; 8], id.0.as_bytes(), &[0xBB; 80]].concat();
    SealedDataKey::from_bytes(&bytes).unwrap()
}

/// Sealed to seal key 7, with a sidecar found later.
fn sealed_with_sidecar(f: &Fixture) -> (RecordingId, SidecarId) {
    let (id, sidecar) = (f.found("call.wav"), SidecarId::new());
    let sighting = sighting("call.json");
    f.write(|tx| {
        tx.settle(id, at(1))?;
        tx.record_sealed_key(id, &sealed_key(7), at(2))?;
        tx.add_copy(id, &media_copy(id), at(2))?;
        tx.advance(id, RecordingEvent::KeyRecorded, &entry(id, 2))?;
        tx.advance(id, RecordingEvent::SealVerified, &entry(id, 3))?;
        let (recording, store, now) = (id, f.store, at(4));
        tx.add_sidecar(&NewSidecar { id: sidecar, recording, store, sighting: &sighting, now })
    });
    (id, sidecar)
}

fn sidecar_copy(sidecar: SidecarId) -> SealedCopy {
    SealedCopy {
        vault: recseal::domain::VaultName::Own,
        path: path("ab/sidecar"),
        kind: SealedKind::Sidecar,
        sidecar: Some(sidecar),
        sealed_bytes: 300,
        plain_bytes: 100,
    }
}

#[test]
fn a_sealed_key_is_kept_apart_from_wrapped_ones() {
    let f = Fixture::new();
    let (id, sidecar) = sealed_with_sidecar(&f);
    let wrapped = f.sealed("other.wav");
    let own = sealed_key(8);
    f.write(|tx| tx.record_sidecar_key(id, sidecar, &own, at(5)));
    f.catalog
        .read(|tx| {
            assert!(matches!(tx.stored_key(id)?, Some(StoredDataKey::Sealed(_))));
            assert!(matches!(tx.stored_key(wrapped)?, Some(StoredDataKey::Wrapped(_))));
            assert_eq!(tx.wrapped_key(id)?, None);
            assert_eq!(tx.keys_by_version()?, [(1, 1)], "counted as wrapped");
            let seal_key = |byte| SealKeyId::from_bytes(&[byte; 8]).unwrap();
            assert_eq!(tx.keys_by_seal_key()?, [(seal_key(7), 1), (seal_key(8), 1)]);
            assert_eq!(tx.sidecar_keys(id)?, [own]);
            Ok::<_, CatalogError>(())
        })
        .unwrap();
    let digest = [9; 32];
    f.write(|tx| tx.set_copy_digest(&media_copy(id), &digest));
    assert_eq!(f.catalog.read(|tx| tx.copy_digest(&media_copy(id))).unwrap(), Some(digest));
    assert_eq!(f.catalog.read(|tx| tx.copy_digest(&media_copy(wrapped))).unwrap(), None);
}

/// Planted fault: the trigger `sidecar_key_goes_along` left out.
#[test]
fn the_key_of_a_sidecar_lives_no_longer_than_the_row_of_its_recording() {
    let f = Fixture::new();
    let (id, sidecar) = sealed_with_sidecar(&f);
    f.write(|tx| tx.record_sidecar_key(id, sidecar, &sealed_key(7), at(5)));
    assert!(f.write(|tx| tx.destroy_sidecar_key(sidecar)), "an abandoned attempt");
    assert!(!f.write(|tx| tx.destroy_sidecar_key(sidecar)));
    f.write(|tx| {
        tx.record_sidecar_key(id, sidecar, &sealed_key(7), at(5))?;
        tx.add_copy(id, &sidecar_copy(sidecar), at(5))?;
        tx.sidecar_sealed(sidecar, &entry(id, 5))
    });
    let kept = f.catalog.write(|tx| tx.destroy_sidecar_key(sidecar));
    assert!(kept.is_err(), "a sealed sidecar lost its key");
    f.write(|tx| {
        tx.advance(id, RecordingEvent::OriginalRemoved, &entry(id, 6))?;
        tx.advance(id, RecordingEvent::ErasureStarted, &entry(id, 6))?;
        tx.destroy_key(id)
    });
    assert!(f.catalog.read(|tx| tx.sidecar_keys(id)).unwrap().is_empty());
    f.forget_copies(id);
    f.write(|tx| tx.advance(id, RecordingEvent::ErasureVerified, &entry(id, 7)));
}

/// By raw SQL, as a bug elsewhere would have it. Planted fault: the trigger
/// `wrapped_key_stays_sealed` left out.
#[test]
fn what_is_sealed_stays_sealed() {
    let f = Fixture::new();
    let (id, sidecar) = sealed_with_sidecar(&f);
    let wrapped = f.sealed("other.wav");
    f.write(|tx| tx.record_sidecar_key(id, sidecar, &sealed_key(7), at(5)));
    let raw = f.raw();
    for statement in [
        "UPDATE wrapped_key SET version = 1, seal_key = NULL WHERE version = 0",
        "UPDATE wrapped_key SET bytes = zeroblob(80) WHERE version = 0",
        "UPDATE wrapped_key SET seal_key = zeroblob(8) WHERE version = 0",
        "UPDATE wrapped_key SET version = 0 WHERE version = 1",
        "UPDATE wrapped_key SET seal_key = zeroblob(8) WHERE version = 1",
        "UPDATE sidecar_key SET bytes = zeroblob(106)",
        "DELETE FROM wrapped_key WHERE version = 0",
    ] {
        assert!(raw.execute(statement, []).is_err(), "{statement}");
    }
    let beside_wrapped = f.catalog.write(|tx| {
        tx.destroy_sidecar_key(sidecar)?;
        tx.record_sidecar_key(wrapped, sidecar, &sealed_key(7), at(6))
    });
    assert!(beside_wrapped.is_err(), "a second key beside one that can be opened");
}
