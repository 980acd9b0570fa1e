//! What is written reads back, and a transaction happens wholly or not at all.

use std::os::unix::fs::PermissionsExt;
use std::panic::AssertUnwindSafe;

use recseal::catalog::Catalog;
use recseal::catalog::CatalogError;
use recseal::catalog::NewSidecar;
use recseal::catalog::SidecarState;
use recseal::catalog::StoreLayout;
use recseal::catalog::StoreRow;
use recseal::catalog::TokenRow;
use recseal::compliance::audit::Activity;
use recseal::compliance::audit::Actor;
use recseal::compliance::audit::AuditEntry;
use recseal::domain::ConversationId;
use recseal::domain::Damage;
use recseal::domain::DestructionEvidence;
use recseal::domain::MediaInfo;
use recseal::domain::Overwrite;
use recseal::domain::SealedCopy;
use recseal::domain::SealedKind;
use recseal::domain::SidecarId;
use recseal::domain::VaultName;
use recseal::domain::lifecycle::RecordingEvent;
use recseal::domain::lifecycle::RecordingState;
use recseal::domain::xattr::ExtendedAttribute;
use recseal::domain::xattr::ExtendedAttributes;
use uuid::Uuid;

use super::*;

/// Planted faults: the trigger on sidecars left out; rows of an earlier look kept.
#[test]
fn extended_attributes_go_with_their_file() {
    let f = Fixture::new();
    let attributes = |names: &[&str]| {
        let mut kept = ExtendedAttributes::default();
        for name in names {
            kept.keep(ExtendedAttribute::new(*name, *b"\0value\xff").unwrap());
        }
        kept
    };
    let (old, new) = (attributes(&["user.a", "user.b"]), attributes(&["user.b", "user.c"]));
    let (id, other, sidecar) = (f.found("call.wav"), f.found("other.wav"), SidecarId::new());
    f.write(|tx| {
        tx.add_sidecar(&NewSidecar {
            id: sidecar,
            recording: id,
            store: f.store,
            sighting: &sighting("call.json"),
            now: at(1),
        })?;
        tx.keep_xattrs(id, &old)?;
        tx.keep_xattrs(id, &new)?;
        tx.keep_sidecar_xattrs(id, sidecar, &old)?;
        tx.keep_xattrs(other, &old)
    });
    let kept = || {
        let all = f.catalog.read(|tx| {
            Ok::<_, CatalogError>((tx.xattrs(id)?, tx.sidecar_xattrs(sidecar)?, tx.xattrs(other)?))
        });
        let (of_it, beside, of_other) = all.unwrap();
        (of_it, beside, of_other)
    };
    let none = ExtendedAttributes::default;
    assert_eq!(kept(), (new.clone(), old.clone(), old.clone()));
    f.write(|tx| tx.forget_sidecar(sidecar));
    assert_eq!(kept(), (new, none(), old.clone()));
    f.write(|tx| tx.forget_xattrs(id));
    assert_eq!(kept(), (none(), none(), old.clone()));
    f.write(|tx| {
        tx.keep_xattrs(id, &old)?;
        tx.forget_found(id)
    });
    assert_eq!(kept(), (none(), none(), old));
}

/// Planted faults: any two columns of one type exchanged in an INSERT or a row mapping.
#[test]
fn a_recording_reads_back_with_all_its_facts() {
    let f = Fixture::new();
    let id = f.found("2026/11/call.wav");
    let seen = sighting("2026/11/call.wav");
    let plain = f.catalog.read(|tx| tx.recording(id)).unwrap().unwrap();
    assert_eq!((plain.id, plain.store, plain.state), (id, f.store, RecordingState::Found));
    assert_eq!(
        (plain.path, plain.fingerprint, plain.attributes),
        (seen.path, seen.fingerprint, seen.attributes)
    );
    assert_eq!((plain.media, plain.sealed_at, plain.original), (None, None, None));
    assert_eq!((plain.conversation, plain.quarantine, plain.found_at), (None, None, at(1)));

    let media = MediaInfo {
        container: "wav".into(),
        codec: Some("pcm".into()),
        duration_ms: Some(1_500),
        channels: Some(2),
        sample_rate_hz: Some(8_000),
        width: Some(64),
        height: Some(48),
        damage: Some(Damage::Truncated),
    };
    let evidence = DestructionEvidence {
        overwrite: Overwrite::InPlaceVerified,
        file_system: "ext4".into(),
        media: "flash".into(),
        overwritten_bytes: 4_096,
    };
    let conversation = ConversationId::new();
    let id = f.sealed("b.wav");
    f.write(|tx| {
        tx.set_media(id, &media)?;
        tx.set_original(id, &evidence)?;
        tx.set_conversation(id, conversation)?;
        tx.advance(id, RecordingEvent::OriginalRemoved, &entry(id, 5)).map(drop)
    });
    let stored = f.catalog.read(|tx| tx.recording(id)).unwrap().unwrap();
    assert_eq!((stored.media, stored.original), (Some(media), Some(evidence)));
    assert_eq!((stored.conversation, stored.sealed_at), (Some(conversation), Some(at(4))));
    assert_eq!(stored.state, RecordingState::Stored);
    assert!(f.catalog.read(|tx| tx.recording(RecordingId::new())).unwrap().is_none());
}

#[test]
fn stores_copies_tokens_and_single_facts_read_back() {
    let f = Fixture::new();
    let moved = StoreRow {
        root: "/srv/elsewhere".into(),
        profile: "asterisk".into(),
        layout: StoreLayout::Beside,
        device: u64::MAX,
        ..store_row(f.store)
    };
    f.write(|tx| tx.put_store(&StoreRow { created_at: at(99), ..moved.clone() }));
    assert_eq!(f.catalog.read(|tx| tx.stores()).unwrap(), [moved]);

    let id = f.found("call.wav");
    let sidecar = SidecarId::new();
    let beside = SealedCopy {
        vault: VaultName::Beside(f.store),
        path: path("call.json.sealed"),
        kind: SealedKind::Sidecar,
        sidecar: Some(sidecar),
        sealed_bytes: 200,
        plain_bytes: 20,
    };
    let new = NewSidecar {
        id: sidecar,
        recording: id,
        store: f.store,
        sighting: &sighting("call.json"),
        now: at(2),
    };
    f.write(|tx| {
        tx.add_copy(id, &media_copy(id), at(3))?;
        tx.add_sidecar(&new)?;
        tx.add_copy(id, &beside, at(4))
    });
    let copies = f.catalog.read(|tx| tx.copies(id)).unwrap();
    assert_eq!(copies, [media_copy(id), beside.clone()]);
    assert!(f.write(|tx| tx.forget_copy(id, &beside)));
    assert!(!f.write(|tx| tx.forget_copy(id, &beside)), "forgetting twice is harmless");

    let by = |activity| AuditEntry::new(at(5), Actor::DAEMON, activity);
    let token = TokenRow {
        id: Uuid::from_u128(1),
        name: "grafana".into(),
        role: "DEFAULT_OPS".into(),
        digest: [3; 32],
        created_at: at(5),
        expires_at: Some(at(50)),
        revoked_at: None,
    };
    f.write(|tx| tx.put_token(&token, &by(Activity::TokenCreated)));
    let known = f.catalog.read(|tx| tx.token_by_digest(&[3; 32])).unwrap().unwrap();
    assert_eq!(known, token);
    assert!(known.is_valid(at(49)) && !known.is_valid(at(50)));
    assert!(f.catalog.read(|tx| tx.token_by_digest(&[4; 32])).unwrap().is_none());
    assert!(f.write(|tx| tx.revoke_token(token.id, &by(Activity::TokenRevoked))));
    assert!(!f.write(|tx| tx.revoke_token(token.id, &by(Activity::TokenRevoked))));
    assert!(!f.catalog.read(|tx| tx.tokens()).unwrap()[0].is_valid(at(6)));
    assert_eq!(f.catalog.read(|tx| tx.audit_head()).unwrap().seq, 2);

    f.write(|tx| tx.set_meta("a", b"1"));
    f.write(|tx| tx.set_meta("a", b"2"));
    assert_eq!(f.catalog.read(|tx| tx.meta("a")).unwrap(), Some(b"2".to_vec()));
    assert_eq!(f.catalog.read(|tx| tx.meta("b")).unwrap(), None);
}

#[test]
fn the_life_of_a_sidecar_follows_its_recording() {
    let f = Fixture::new();
    let id = f.sealing("call.wav");
    let sidecar = SidecarId::new();
    let seen = sighting("call.json");
    let add = |name: &Sighting, id_of_sidecar| {
        let new = NewSidecar {
            id: id_of_sidecar,
            recording: id,
            store: f.store,
            sighting: name,
            now: at(3),
        };
        f.catalog.write(|tx| tx.add_sidecar(&new))
    };
    add(&seen, sidecar).unwrap();
    assert!(matches!(add(&seen, SidecarId::new()), Err(CatalogError::AlreadyKnown { .. })));
    let due = |now| f.catalog.read(|tx| tx.sidecars_due(at(now), 10)).unwrap();
    assert!(due(100).is_empty(), "its recording comes first");
    f.write(|tx| {
        tx.note_sidecar_unchanged(sidecar)?;
        tx.note_sidecar_changed(sidecar, &seen, at(4))?;
        tx.add_copy(id, &media_copy(id), at(4))?;
        tx.advance(id, RecordingEvent::SealVerified, &entry(id, 5)).map(drop)
    });
    assert_eq!(due(5).len(), 1);
    assert_eq!(f.write(|tx| tx.postpone_sidecar(sidecar, at(50))), 1);
    assert!(due(49).is_empty());

    let evidence = DestructionEvidence {
        overwrite: Overwrite::Skipped,
        file_system: "xfs".into(),
        media: "virtual".into(),
        overwritten_bytes: 0,
    };
    let by = entry(id, 6).on_object(sidecar.0);
    // Planted faults: the step without its copy, and the removal straight from `found`.
    for refused in [
        f.catalog.write(|tx| tx.sidecar_sealed(sidecar, &by)),
        f.catalog.write(|tx| tx.sidecar_removed(sidecar, &evidence, &by)),
    ] {
        assert!(matches!(refused, Err(CatalogError::WrongSidecarState { .. })));
    }
    let copy = SealedCopy {
        path: path("ab/call.sidecar"),
        kind: SealedKind::Sidecar,
        sidecar: Some(sidecar),
        ..media_copy(id)
    };
    f.write(|tx| {
        tx.add_copy(id, &copy, at(6))?;
        tx.sidecar_sealed(sidecar, &by)
    });
    assert!(f.catalog.write(|tx| tx.forget_sidecar(sidecar)).is_err());
    assert_eq!(due(50)[0].state, SidecarState::Sealed);
    f.write(|tx| tx.sidecar_removed(sidecar, &evidence, &by));
    let stored = f.catalog.read(|tx| tx.sidecars(id)).unwrap();
    assert_eq!(stored[0].original.as_ref(), Some(&evidence));
    assert!(due(100).is_empty());
    // Its name is free again; the recording is sealed, so the new one is due at once.
    add(&seen, SidecarId::new()).unwrap();
    assert_eq!(due(3).len(), 1);
}

/// Planted faults: the commit also after an error; the mutex poisoned for good by a panic.
#[test]
fn a_transaction_that_fails_or_panics_leaves_nothing() {
    let f = Fixture::new();
    let failed: Result<(), CatalogError> = f.catalog.write(|tx| {
        tx.set_meta("half", b"")?;
        Err(CatalogError::ReadOnly)
    });
    assert!(failed.is_err());
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| {
        f.catalog.write::<(), CatalogError>(|tx| {
            tx.set_meta("half", b"").unwrap();
            panic!("planted");
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(f.catalog.read(|tx| tx.meta("half")).unwrap(), None);
    f.write(|tx| tx.set_meta("whole", b""));
}

#[test]
fn a_view_does_not_change_and_never_waits() {
    let f = Fixture::new();
    f.catalog
        .read(|tx| {
            assert_eq!(tx.meta("a")?, None);
            f.write(|tx| tx.set_meta("a", b"1"));
            assert_eq!(tx.meta("a")?, None, "a view is of one moment");
            f.catalog.read(|later| {
                assert_eq!(later.meta("a")?, Some(b"1".to_vec()));
                Ok::<_, CatalogError>(())
            })
        })
        .unwrap();
}

#[test]
fn offline_verbs_look_beside_a_running_daemon_and_change_nothing() {
    let f = Fixture::new();
    let id = f.found("call.wav");
    let offline = Catalog::open_read_only(&f.path()).unwrap();
    assert!(offline.read(|tx| tx.recording(id)).unwrap().is_some());
    let refused = offline.write(|tx| tx.set_meta("a", b""));
    assert!(matches!(refused, Err(CatalogError::ReadOnly)));
    assert!(matches!(offline.scrub(), Err(CatalogError::ReadOnly)));
    offline.close().unwrap();
    f.catalog.close().unwrap();
    let offline = Catalog::open_read_only(&f.dir.path().join("catalog.db")).unwrap();
    assert!(offline.read(|tx| tx.recording(id)).unwrap().is_some());
    assert!(Catalog::open_read_only(&f.dir.path().join("none.db")).is_err());
}

/// Planted faults: `derive(Debug)` on the rows, SQLite's own text for a file it cannot open.
#[test]
fn files_are_private_and_paths_are_not_printed() {
    let f = Fixture::new();
    f.found("+12025550143.wav");
    for file in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let mode = std::fs::metadata(f.dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let known = f.catalog.read(|tx| tx.known_in_folder(f.store, None)).unwrap();
    let listed = f.catalog.read(|tx| tx.recordings(&Default::default(), None, 9)).unwrap();
    let printed = format!("{known:?} {listed:?} {:?} {:?}", f.catalog, store_row(f.store));
    assert!(!printed.contains("0143") && !printed.contains("/srv"), "{printed}");

    let mut error: &dyn std::error::Error =
        &Catalog::open_read_only(&f.dir.path().join("secret-name.db")).unwrap_err();
    loop {
        assert!(!error.to_string().contains("secret-name"), "{error}");
        let Some(source) = error.source() else { break };
        error = source;
    }
}
