//! The life cycle as stored: only legal steps, always audited, counted, and guarded by the database.

use proptest::prelude::*;
use recseal::catalog::MediaState;
use recseal::domain::lifecycle::RecordingState;

use super::*;

const EVENTS: [RecordingEvent; 10] = [
    RecordingEvent::Finished,
    RecordingEvent::Changed,
    RecordingEvent::KeyRecorded,
    RecordingEvent::AttemptAbandoned,
    RecordingEvent::SealVerified,
    RecordingEvent::OriginalRemoved,
    RecordingEvent::GaveUp,
    RecordingEvent::Released,
    RecordingEvent::ErasureStarted,
    RecordingEvent::ErasureVerified,
];

/// Puts a recording into `state` behind the catalog's back, with all that the state claims.
fn placed(f: &Fixture, state: RecordingState) -> RecordingId {
    let id = f.found(&format!("{}.wav", RecordingId::new()));
    let key = wrapped_key(1);
    if state != RecordingState::Erased {
        f.write(|tx| tx.add_copy(id, &media_copy(id), at(1)));
    }
    let raw = f.raw();
    let reason = (state == RecordingState::Quarantined).then_some("planted");
    if state != RecordingState::Erased {
        raw.execute(
            "INSERT INTO wrapped_key (recording, data_key, version, bytes, created_at)
             VALUES (?1, ?2, 1, ?3, 0)",
            rusqlite::params![id.0.as_bytes(), key.data_key_id().as_bytes(), key.as_bytes()],
        )
        .unwrap();
    }
    raw.execute(
        "UPDATE recording SET state = ?2, quarantine = ?3 WHERE id = ?1",
        rusqlite::params![id.0.as_bytes(), state.as_str(), reason],
    )
    .unwrap();
    id
}

/// All pairs. Planted faults: the state written without asking `next`, the audit entry written
/// before the refusal and kept, the tally not moved.
#[test]
fn only_legal_steps_happen_and_each_is_audited() {
    let f = Fixture::new();
    for from in RecordingState::ALL {
        for event in EVENTS {
            let id = placed(&f, from);
            if event == RecordingEvent::ErasureVerified && from == RecordingState::Erasing {
                assert!(f.write(|tx| tx.destroy_key(id)));
                f.forget_copies(id);
            }
            let before = f.catalog.read(|tx| tx.audit_head()).unwrap().seq;
            let by = entry(id, 1);
            let step = match event {
                RecordingEvent::GaveUp => f.catalog.write(|tx| {
                    tx.quarantine(id, "damaged", &by)?;
                    tx.state(id)
                }),
                _ => f.catalog.write(|tx| tx.advance(id, event, &by)),
            };
            let recorded = f.catalog.read(|tx| tx.audit_head()).unwrap().seq - before;
            let now = f.catalog.read(|tx| tx.state(id)).unwrap();
            match from.next(event) {
                Ok(to) => {
                    assert_eq!((step.unwrap(), now, recorded), (to, to, 1), "{from:?} {event:?}");
                }
                Err(_) => {
                    let illegal = matches!(step, Err(CatalogError::Illegal { .. }));
                    assert!(illegal, "{from:?} {event:?}");
                    assert_eq!((now, recorded), (from, 0), "{from:?} {event:?}");
                }
            }
        }
    }
    assert_tally(&f);
}

#[test]
fn a_quarantine_has_a_reason_until_it_is_released() {
    let f = Fixture::new();
    let id = f.found("call.wav");
    f.write(|tx| tx.quarantine(id, "hard_linked", &entry(id, 2)));
    let recording = f.catalog.read(|tx| tx.recording(id)).unwrap().unwrap();
    assert_eq!(recording.quarantine.as_deref(), Some("hard_linked"));
    assert_eq!(MediaState::of(recording.state, false), MediaState::Quarantined);
    f.write(|tx| tx.advance(id, RecordingEvent::Released, &entry(id, 3)));
    let recording = f.catalog.read(|tx| tx.recording(id)).unwrap().unwrap();
    assert_eq!((recording.quarantine, recording.state), (None, RecordingState::Found));
}

/// In each state, by the method and by raw SQL. Planted faults: the trigger left out, the check
/// in `destroy_key` left out, `erasing` forgotten in either.
#[test]
fn a_key_goes_only_when_the_life_cycle_lets_it() {
    let f = Fixture::new();
    for state in RecordingState::ALL {
        if state == RecordingState::Erased {
            continue; // has none
        }
        let may_go = matches!(state, RecordingState::Settled | RecordingState::Erasing);
        let id = placed(&f, state);
        let delete = "DELETE FROM wrapped_key WHERE recording = ?1";
        assert_eq!(f.raw().execute(delete, [id.0.as_bytes()]).is_ok(), may_go, "{state:?}");
        let id = placed(&f, state);
        match f.catalog.write(|tx| tx.destroy_key(id)) {
            Ok(existed) => assert!(may_go && existed, "{state:?}"),
            Err(error) => {
                assert!(matches!(error, CatalogError::WrongState { .. }) && !may_go, "{state:?}");
            }
        }
        let left = f.catalog.read(|tx| tx.wrapped_key(id)).unwrap();
        assert_eq!(left.is_none(), may_go, "{state:?}");
    }
}

#[test]
fn a_key_is_never_overwritten_and_reads_back() {
    let f = Fixture::new();
    let id = f.found("call.wav");
    let (first, second) = (wrapped_key(1), wrapped_key(2));
    let early = f.catalog.write(|tx| tx.record_key(id, &first, at(1)));
    assert!(matches!(early, Err(CatalogError::WrongState { .. })));
    f.write(|tx| {
        tx.settle(id, at(1))?;
        tx.record_key(id, &first, at(2))
    });
    let again = f.catalog.write(|tx| tx.record_key(id, &second, at(3)));
    assert!(matches!(again, Err(CatalogError::KeyExists { .. })));
    let stored = f.catalog.read(|tx| tx.wrapped_key(id)).unwrap().unwrap();
    assert_eq!(stored.as_bytes(), first.as_bytes());
    f.sealing("b.wav");
    assert_eq!(f.catalog.read(|tx| tx.keys_by_version()).unwrap(), [(1, 2)]);
    assert!(f.write(|tx| tx.destroy_key(id)));
    assert!(!f.write(|tx| tx.destroy_key(id)), "destroying twice is harmless");
    assert_eq!(f.catalog.read(|tx| tx.keys_by_version()).unwrap(), [(1, 1)]);
}

/// What a state claims must be there. Planted fault for each: its trigger left out.
#[test]
fn the_database_refuses_a_state_that_lacks_what_it_claims() {
    let f = Fixture::new();
    let id = f.found("call.wav");
    f.write(|tx| tx.settle(id, at(1)));
    let step = |id, event| f.catalog.write(|tx| tx.advance(id, event, &entry(id, 2)));
    assert!(step(id, RecordingEvent::KeyRecorded).is_err(), "sealing without a key");
    f.write(|tx| begin_sealing(tx, id));
    assert!(step(id, RecordingEvent::SealVerified).is_err(), "sealed without a copy");
    f.write(|tx| {
        tx.add_copy(id, &media_copy(id), at(3))?;
        tx.advance(id, RecordingEvent::SealVerified, &entry(id, 3)).map(drop)
    });
    step(id, RecordingEvent::OriginalRemoved).unwrap();
    step(id, RecordingEvent::ErasureStarted).unwrap();
    assert!(step(id, RecordingEvent::ErasureVerified).is_err(), "erased with its key");
    f.write(|tx| tx.destroy_key(id));
    assert!(step(id, RecordingEvent::ErasureVerified).is_err(), "erased with a file of it");
    f.forget_copies(id);
    step(id, RecordingEvent::ErasureVerified).unwrap();

    let raw = f.raw();
    for statement in [
        "UPDATE recording SET state = 'stored'",
        "DELETE FROM recording",
        "UPDATE recording SET state = 'lost'",
    ] {
        assert!(raw.execute(statement, []).is_err(), "{statement}");
    }
    let kept = f.sealing("b.wav");
    let statement = "UPDATE wrapped_key SET data_key = zeroblob(16) WHERE recording = ?1";
    assert!(raw.execute(statement, [kept.0.as_bytes()]).is_err());
}

#[test]
#[should_panic(expected = "another recording")]
fn an_entry_about_another_recording_is_a_bug() {
    let f = Fixture::new();
    let (a, b) = (f.sealing("a.wav"), f.sealing("b.wav"));
    f.write(|tx| tx.advance(a, RecordingEvent::AttemptAbandoned, &entry(b, 1)));
}

/// The counters say what a full count says.
fn assert_tally(f: &Fixture) {
    let counts = f.catalog.read(|tx| tx.counts()).unwrap();
    let in_store = f.catalog.read(|tx| tx.counts_of(f.store)).unwrap();
    assert_eq!(counts, in_store);
    let raw = f.raw();
    for state in RecordingState::ALL {
        let (recordings, bytes): (i64, i64) = raw
            .query_row(
                "SELECT count(*), coalesce(sum(size_bytes), 0) FROM recording WHERE state = ?1",
                [state.as_str()],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .unwrap();
        let tally = counts.in_state(state);
        let told = (tally.recordings as i64, tally.bytes as i64);
        assert_eq!(told, (recordings, bytes), "{state:?}");
    }
}

/// Planted fault: a summing counter that overflows refuses every further file.
#[test]
fn sparse_giants_do_not_overflow_the_counters() {
    let f = Fixture::new();
    for n in 0..3 {
        let mut giant = sighting(&format!("{n}.wav"));
        giant.fingerprint.size_bytes = i64::MAX as u64;
        f.write(|tx| add_found(tx, f.store, RecordingId::new(), &giant, false));
    }
    let waiting = f.catalog.read(|tx| tx.counts()).unwrap().shown_as(MediaState::Waiting);
    assert_eq!((waiting.recordings, waiting.bytes), (3, 3 << 50));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any order of finding, growing, stepping and forgetting keeps the counters right. Planted
    /// faults: `size_bytes` left out of the moving trigger, the deleting trigger left out.
    #[test]
    fn counters_follow_every_change(
        steps in prop::collection::vec((0..4_usize, 0..13_usize, 0..5_000_u64), 1..40),
    ) {
        let f = Fixture::new();
        let mut ids: [Option<RecordingId>; 4] = [None; 4];
        for (slot, what, size_bytes) in steps {
            let mut seen = sighting(&format!("{slot}.wav"));
            seen.fingerprint.size_bytes = size_bytes;
            let Some(id) = ids[slot] else {
                let id = RecordingId::new();
                let added =
                    f.catalog.write(|tx| add_found(tx, f.store, id, &seen, what % 2 == 0));
                ids[slot] = added.is_ok().then_some(id);
                continue;
            };
            // Refusals are part of it: they must change nothing.
            let _ = f.catalog.write(|tx| match what {
                10 => tx.note_changed(id, &seen, at(9)),
                11 => tx.destroy_key(id).map(drop),
                12 => {
                    tx.forget_found(id)?;
                    ids[slot] = None;
                    Ok(())
                }
                event => match EVENTS[event] {
                    RecordingEvent::GaveUp => tx.quarantine(id, "planted", &entry(id, 1)),
                    RecordingEvent::Finished => tx.settle(id, at(1)),
                    RecordingEvent::KeyRecorded => begin_sealing(tx, id),
                    RecordingEvent::SealVerified => {
                        tx.add_copy(id, &media_copy(id), at(1))?;
                        tx.advance(id, EVENTS[event], &entry(id, 1)).map(drop)
                    }
                    event => tx.advance(id, event, &entry(id, 1)).map(drop),
                },
            });
        }
        assert_tally(&f);
        let verdict = f.catalog.read(|tx| tx.verify_audit(&|_, _| true)).unwrap();
        prop_assert_eq!(verdict.fault, None);
    }
}
