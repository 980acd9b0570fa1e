//! What is known of files that are still in their folders.

use proptest::prelude::*;
use recseal::catalog::KnownSidecar;
use recseal::catalog::MediaState;
use recseal::catalog::NewSidecar;
use recseal::catalog::RecordingFilter;
use recseal::catalog::SidecarState;
use recseal::domain::SidecarId;
use recseal::domain::lifecycle::RecordingState;

use super::*;

#[test]
fn a_folder_knows_its_files_and_only_them() {
    let f = Fixture::new();
    let (a, b) = (f.found("a.wav"), f.found("in/b.wav"));
    f.found("in/deeper/c.wav");
    f.found("inn/d.wav");
    let sidecar = SidecarId::new();
    let seen = sighting("in/b.json");
    f.write(|tx| {
        tx.note_unchanged(b)?;
        tx.add_sidecar(&NewSidecar {
            id: sidecar,
            recording: b,
            store: f.store,
            sighting: &seen,
            now: at(2),
        })
    });
    let known = |folder: Option<&str>| {
        let folder = folder.map(path);
        f.catalog.read(|tx| tx.known_in_folder(f.store, folder.as_ref())).unwrap()
    };
    let root = known(None);
    assert_eq!((root.len(), root[0].recording), (1, a));
    let inside = known(Some("in"));
    assert_eq!(inside.len(), 2);
    assert_eq!((inside[0].recording, inside[0].polls_unchanged), (b, 1));
    assert_eq!(inside[0].fingerprint, sighting("in/b.wav").fingerprint);
    let beside = KnownSidecar { id: sidecar, state: SidecarState::Found };
    assert_eq!((inside[1].recording, inside[1].sidecar), (b, Some(beside)));
    assert_eq!((inside[1].path.clone(), inside[1].unchanged_since), (path("in/b.json"), at(2)));
    assert!(known(Some("none")).is_empty());

    let at_path = f.catalog.read(|tx| tx.known_at(f.store, &path("in/b.json"))).unwrap();
    assert_eq!(at_path.unwrap().sidecar, Some(beside));
    assert!(f.catalog.read(|tx| tx.known_at(f.store, &path("b.json"))).unwrap().is_none());

    let folders = f.catalog.read(|tx| tx.known_folders(f.store)).unwrap();
    let expected = [None, Some(path("in")), Some(path("in/deeper")), Some(path("inn"))];
    assert_eq!(folders, expected, "each once, the root first");
    let other = StoreId::new();
    assert!(f.catalog.read(|tx| tx.known_folders(other)).unwrap().is_empty());
}

/// Planted fault: the unique index without its WHERE: a name could never be used again.
#[test]
fn a_name_is_taken_while_its_original_is_there_and_free_afterwards() {
    let f = Fixture::new();
    let id = f.sealed("call.wav");
    f.write(|tx| {
        let again = add_found(tx, f.store, RecordingId::new(), &sighting("call.wav"), false);
        assert!(matches!(again, Err(CatalogError::AlreadyKnown { .. })));
        let other = StoreId::new();
        let nowhere = add_found(tx, other, RecordingId::new(), &sighting("x.wav"), false);
        assert!(matches!(nowhere, Err(CatalogError::UnknownStore { .. })));
        // Both refusals leave the transaction usable.
        add_found(tx, f.store, RecordingId::new(), &sighting("other.wav"), true)
    });
    f.write(|tx| tx.advance(id, RecordingEvent::OriginalRemoved, &entry(id, 5)));
    let again = f.found("call.wav");
    let known = f.catalog.read(|tx| tx.known_at(f.store, &path("call.wav"))).unwrap();
    assert_eq!(known.unwrap().recording, again);
}

#[test]
fn a_changed_file_starts_over_and_a_vanished_one_is_forgotten() {
    let f = Fixture::new();
    let id = f.found("call.wav");
    let mut grown = sighting("call.wav");
    grown.fingerprint.size_bytes = 2_000;
    f.write(|tx| {
        tx.note_unchanged(id)?;
        tx.settle(id, at(5))?;
        tx.note_changed(id, &grown, at(6))
    });
    let known = f.catalog.read(|tx| tx.known_at(f.store, &path("call.wav"))).unwrap().unwrap();
    assert_eq!((known.state, known.polls_unchanged), (RecordingState::Found, 0));
    assert_eq!((known.unchanged_since, known.fingerprint), (at(6), grown.fingerprint));
    let waiting = f.catalog.read(|tx| tx.counts()).unwrap().shown_as(MediaState::Waiting);
    assert_eq!((waiting.recordings, waiting.bytes), (1, 2_000));

    let seen = sighting("call.json");
    let sidecar = NewSidecar {
        id: SidecarId::new(),
        recording: id,
        store: f.store,
        sighting: &seen,
        now: at(2),
    };
    f.write(|tx| tx.add_sidecar(&sidecar));
    f.write(|tx| tx.forget_found(id));
    assert!(f.catalog.read(|tx| tx.known_in_folder(f.store, None)).unwrap().is_empty());
    assert_eq!(f.catalog.read(|tx| tx.audit_head()).unwrap().seq, 0, "nothing was done to it");

    let id = f.sealing("late.wav");
    let changed = f.catalog.write(|tx| tx.note_changed(id, &grown, at(7)));
    assert!(matches!(changed, Err(CatalogError::WrongState { .. })));
    let forgotten = f.catalog.write(|tx| tx.forget_found(id));
    assert!(matches!(forgotten, Err(CatalogError::WrongState { .. })));
    // Planted fault: an abandoned attempt's key left behind when its recording is forgotten.
    f.write(|tx| tx.advance(id, RecordingEvent::AttemptAbandoned, &entry(id, 8)));
    assert!(f.catalog.write(|tx| tx.forget_found(id)).is_err());
    assert!(f.write(|tx| tx.destroy_key(id)));
    f.write(|tx| tx.forget_found(id));
}

#[test]
fn what_is_due_comes_newest_first_within_its_limits() {
    let f = Fixture::new();
    let ids: Vec<_> = (0..5).map(|n| f.found(&format!("{n}.wav"))).collect();
    f.write(|tx| (0..4).try_for_each(|n| tx.settle(ids[n], at(10 + n as i64))));
    let due = |now, limit, bytes| {
        let due = f.catalog.read(|tx| tx.due_for_sealing(at(now), limit, bytes)).unwrap();
        due.into_iter().map(|recording| recording.id).collect::<Vec<_>>()
    };
    assert_eq!(due(12, 10, u64::MAX), [ids[2], ids[1], ids[0]]);
    assert_eq!(due(100, 2, u64::MAX), [ids[3], ids[2]]);
    assert_eq!(due(100, 10, 2_500), [ids[3], ids[2]], "2,000 of 2,500 bytes");
    assert_eq!(due(100, 10, 1), [ids[3]], "one is always allowed");

    // Planted fault: failures counted over the whole life instead of within one state.
    assert_eq!(f.write(|tx| tx.postpone(ids[3], at(200))), 1);
    assert_eq!(f.write(|tx| tx.postpone(ids[3], at(300))), 2);
    assert_eq!(due(299, 10, u64::MAX), [ids[2], ids[1], ids[0]]);
    f.write(|tx| {
        begin_sealing(tx, ids[3])?;
        tx.advance(ids[3], RecordingEvent::AttemptAbandoned, &entry(ids[3], 9))?;
        assert_eq!(tx.postpone(ids[3], at(300))?, 1, "a new try of sealing began meanwhile");
        assert!(tx.destroy_key(ids[3])?);
        begin_sealing(tx, ids[3])
    });
    let half_way = f.catalog.read(|tx| tx.interrupted(None, 10)).unwrap();
    assert_eq!(half_way.iter().map(|r| r.id).collect::<Vec<_>>(), [ids[3]]);

    let sealed = f.sealed("s.wav");
    let due = f.catalog.read(|tx| tx.due_for_removal(at(1_000), 10)).unwrap();
    assert_eq!(due.iter().map(|r| r.id).collect::<Vec<_>>(), [sealed]);
    f.write(|tx| tx.postpone(sealed, at(2_000)));
    assert!(f.catalog.read(|tx| tx.due_for_removal(at(1_000), 10)).unwrap().is_empty());
    let half_way = f.catalog.read(|tx| tx.interrupted(Some(ids[3]), 10)).unwrap();
    assert_eq!(half_way.iter().map(|r| r.id).collect::<Vec<_>>(), [sealed]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Pages of any size and filter put together are the whole list, in order. Planted faults:
    /// ids not sorted after the walks are merged, `>=` instead of `>` behind the cursor.
    #[test]
    fn pages_make_up_the_list(
        recordings in prop::collection::vec((0..3_usize, any::<u128>(), any::<bool>()), 0..40),
        limit in 1..12_usize,
        wanted in (prop::option::of(0..3_usize), prop::option::of(any::<bool>())),
    ) {
        let f = Fixture::new();
        let stores = [f.store, StoreId::new(), StoreId::new()];
        f.write(|tx| {
            tx.put_store(&store_row(stores[1]))?;
            tx.put_store(&store_row(stores[2]))?;
            for (n, (store, id, is_finished)) in recordings.iter().enumerate() {
                let id = RecordingId(uuid::Uuid::from_u128(*id));
                add_found(tx, stores[*store], id, &sighting(&format!("{n}")), *is_finished)?;
                if *is_finished {
                    tx.quarantine(id, "planted", &entry(id, 1))?;
                }
            }
            Ok(())
        });
        let state = wanted.1.map(|quarantined| {
            if quarantined { MediaState::Quarantined } else { MediaState::Waiting }
        });
        let filter = RecordingFilter { state, store: wanted.0.map(|n| stores[n]) };
        let mut expected: Vec<_> = recordings
            .iter()
            .filter(|(store, _, is_finished)| {
                wanted.0.is_none_or(|n| n == *store) && wanted.1.is_none_or(|q| q == *is_finished)
            })
            .map(|(_, id, _)| *id)
            .collect();
        expected.sort_unstable();

        let mut listed: Vec<u128> = Vec::new();
        loop {
            let after = listed.last().map(|id| RecordingId(uuid::Uuid::from_u128(*id)));
            let page = f.catalog.read(|tx| tx.recordings(&filter, after, limit)).unwrap();
            prop_assert!(page.len() <= limit && listed.len() <= recordings.len());
            if page.is_empty() {
                break;
            }
            listed.extend(page.iter().map(|recording| recording.id.0.as_u128()));
        }
        prop_assert_eq!(listed, expected);
    }
}
