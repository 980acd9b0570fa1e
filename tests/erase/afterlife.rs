//! Copies that outlive an erasure: of the catalog, of sealed files, whole backups.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use keymanager::{BackupOpener, BackupWay};
use recseal::catalog::Catalog;
use recseal::compliance::erasure::certificate::{
    CERTIFICATE_CONTEXT, ErasureCertificate, FINALITY_CONTEXT, Finality, Signed,
};
use recseal::config::{catalog_in, keys_in};
use recseal::domain::RecordingId;
use recseal::domain::lifecycle::RecordingState;
use recseal::flow::{
    BackupOutcome, DestroyWhen, NewHold, PlayAs, RestoreTo, Selection, Since, restore,
};
use recseal::seal::SealedReader;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::common::run;
use crate::evidence::Evidence;
use crate::ground::Ground;
use crate::swaps::media_of;
use crate::worker::{content, what_is_left};

const PASSPHRASE: &str = "correct horse battery staple";

fn two_sealed(config: &str) -> (Ground, Vec<RecordingId>) {
    let ground = Ground::with(config);
    for stem in ["call-00-x", "call-01-x"] {
        ground.drop_file(&format!("{stem}.wav"), &content(stem));
    }
    ground.seal_all();
    // In the order of their names, not in that in which they were found.
    let mut recordings = ground.recordings();
    recordings.sort_by_key(|one| one.path.expose_name().to_vec());
    let ids = recordings.into_iter().map(|one| one.id).collect();
    (ground, ids)
}

fn erase(ground: &Ground, id: RecordingId) {
    ground.order(Selection::Recordings(vec![id]));
    ground.erase_all();
    let erased = ground.recordings().into_iter().find(|one| one.id == id).unwrap();
    assert_eq!(erased.state, RecordingState::Erased);
}

/// What somebody opens with the keys of `ground`, a copy of its catalog and one of a sealed file.
fn open_with(ground: &Ground, catalog: &Path, id: RecordingId, sealed: &Path) -> Option<Vec<u8>> {
    let catalog = Catalog::open_read_only(catalog).unwrap();
    let wrapped = catalog.read(|tx| tx.wrapped_key(id)).unwrap().expect("it was there then");
    let key = ground.engine.keys().unwrap(id.0, &wrapped).ok()?;
    let reader = SealedReader::open(&key, File::open(sealed).unwrap()).ok()?;
    let mut plaintext = vec![0; reader.plain_bytes() as usize];
    let read = reader.read_at(&mut plaintext, 0).ok()?;
    plaintext.truncate(read);
    Some(plaintext)
}

/// Keys of others are wrapped anew until the old version can go.
fn destroy_what_wrapped_it(ground: &Ground) -> recseal::flow::Finalized {
    for _ in 0..10 {
        let done = ground.engine.finalize_erasures(&Ground::may(), DestroyWhen::Now, ground.now());
        let done = done.unwrap();
        if done.still_needed.is_empty() {
            return done;
        }
        ground.later(Duration::from_secs(60));
        while ground.engine.keep_keys(ground.now()).unwrap() {}
    }
    panic!("the old version stays in use");
}

fn is_signed(ground: &Ground) -> impl Fn(&'static str, &[u8], &Signed) -> bool {
    let public = keymanager::public_keys_from_pem(&ground.engine.public_keys()).unwrap();
    move |context, message, (key_id, bytes)| {
        assert!([CERTIFICATE_CONTEXT, FINALITY_CONTEXT].contains(&context));
        let signature = keymanager::Signature { key_id: *key_id, bytes: *bytes };
        keymanager::verify_signature(&public, context, message, &signature).is_ok()
    }
}

/// The statement of finality, if there is one: it must be of this certificate and verify.
fn finality_of(ground: &Ground, id: RecordingId) -> Option<Finality> {
    let row = ground.engine.erasure_certificate(&Ground::may(), id).unwrap();
    let certificate = ErasureCertificate::parse(&row.text).unwrap();
    assert!(certificate.verify(is_signed(ground)));
    let (_, text) = row.finality?;
    let finality = Finality::parse(&text).unwrap();
    assert!(finality.is_of(&certificate) && finality.verify(is_signed(ground)));
    Some(finality)
}

/// The control opens before: what is destroyed is what wrapped the key.
#[test]
fn an_old_catalog_opens_nothing_once_the_erasure_is_final() {
    let (ground, ids) = two_sealed("");
    let old = tempfile::tempdir().unwrap();
    let sealed = old.path().join("sealed");
    std::fs::copy(media_of(&ground, ids[0]), &sealed).unwrap();
    for name in ["catalog.db", "catalog.db-wal"] {
        std::fs::copy(ground.state().join(name), old.path().join(name)).unwrap();
    }
    let catalog = old.path().join("catalog.db");
    let open = |ground: &Ground| open_with(ground, &catalog, ids[0], &sealed);
    assert!(open(&ground) == Some(content("call-00-x")), "the control");
    erase(&ground, ids[0]);
    // Honest: as long as the version that wrapped its key lives, an old copy opens.
    assert!(open(&ground) == Some(content("call-00-x")), "before it is final");
    assert!(finality_of(&ground, ids[0]).is_none());
    let done = destroy_what_wrapped_it(&ground);
    assert_eq!((done.open, done.waiting_for_backups), (0, 0));
    assert!(open(&ground).is_none(), "the old copy opens");
    let finality = finality_of(&ground, ids[0]).expect("it is final");
    assert_eq!(finality.destroyed_versions(), [1]);
    let ground = ground.start_again();
    assert!(open(&ground).is_none(), "the old copy opens after a new start");
    let kept = ground.engine.play(&Ground::may(), ids[1], PlayAs::Original, false, ground.now());
    assert_eq!(kept.unwrap().len_bytes, content("call-01-x").len() as u64);
}

fn back_up(ground: &Ground) -> (Uuid, Vec<u8>) {
    let way = BackupWay::passphrase(Zeroizing::new(PASSPHRASE.to_owned())).unwrap();
    let mut stream = ground.engine.begin_backup(&Ground::may(), &[way], ground.now()).unwrap();
    let (id, mut bytes) = (stream.id(), Vec::new());
    stream.read_to_end(&mut bytes).unwrap();
    drop(stream);
    let outcome = BackupOutcome::Kept;
    ground.engine.note_backup(&Ground::may(), id, outcome, ground.now()).unwrap();
    (id, bytes)
}

/// A backup made before the erasure counts, one made afterwards does not.
#[test]
fn nothing_is_final_while_a_backup_is_left() {
    let (ground, ids) = two_sealed("");
    let (backup, _) = back_up(&ground);
    ground.later(Duration::from_secs(60));
    erase(&ground, ids[0]);
    ground.later(Duration::from_secs(60));
    // A backup that was made afterwards holds nothing of it.
    back_up(&ground);
    ground.later(Duration::from_secs(60));
    let done = destroy_what_wrapped_it(&ground);
    assert_eq!((done.open, done.final_now), (1, 0));
    assert!(done.waiting_for_backups > 0, "{done:?}");
    assert!(finality_of(&ground, ids[0]).is_none());
    ground.engine.forget_backup(&Ground::may(), backup, ground.now()).unwrap();
    ground.engine.tend_erasures(ground.now()).unwrap();
    assert!(finality_of(&ground, ids[0]).is_some());
    assert_eq!(ground.engine.erasure_status(ground.now()).unwrap().not_final, 0);
}

/// An older backup, in which a hold protects what was erased since, and a recorder that used its
/// name again. Found by it: what was adopted was never certified, because nobody knew the id of its
/// key.
#[test]
fn what_was_erased_stays_erased_behind_a_restored_backup() {
    for layout in ["vault", "beside"] {
        restored(layout);
    }
}

fn restored(layout: &str) {
    let config = format!("[[store]]\npath = \"STORE\"\nlayout = \"{layout}\"\n");
    let (ground, ids) = two_sealed(&config);
    let new = NewHold {
        reason: "a dispute".to_owned(),
        recordings: vec![ids[0]],
        conversations: vec![],
        until: None,
    };
    let hold = ground.engine.place_hold(&Ground::may(), new, ground.now()).unwrap().hold.id;
    let (_, backup) = back_up(&ground);
    let elsewhere = tempfile::tempdir().unwrap();
    let state = elsewhere.path().join("state");
    // Its vault comes from a copy that is as old as the backup.
    let vault = elsewhere.path().join("vault");
    run(Command::new("cp").arg("-a").arg(ground.state().join("vault")).arg(&vault)).unwrap();
    ground.later(Duration::from_secs(60));
    ground.engine.lift_hold(&Ground::may(), hold, ground.now()).unwrap();
    erase(&ground, ids[0]);
    // Its recorder uses the name again.
    ground.drop_file("call-00-x.wav", &content("another"));
    ground.seal_all();
    let third = ground.ids().into_iter().find(|id| !ids.contains(id)).unwrap();
    let sealed = media_of(&ground, third);
    let before = std::fs::read(&sealed).unwrap();
    let tombstones = ground.engine.tombstones(&Ground::may(), ground.now()).unwrap();
    let (keys, catalog) = (keys_in(Path::new("")), catalog_in(Path::new("")));
    let to = RestoreTo {
        state: &state,
        keys: &keys,
        catalog: &catalog,
        passphrase: None,
        since: Since::Signed(tombstones),
    };
    let opener = BackupOpener::passphrase(Zeroizing::new(PASSPHRASE.to_owned()));
    let done = restore(&backup[..], &opener, &to, ground.now(), &mut |_, _, _| {}).unwrap();
    assert_eq!(done.buried_recordings, 1);
    std::fs::rename(&vault, state.join("vault")).unwrap();
    let store = ground.store();
    let config = format!("[[store]]\npath = {store:?}\nlayout = \"{layout}\"\n");
    // The old host rests; its folder stays until the end.
    let old = ground;
    let ground = Ground::in_folder(elsewhere.path(), &config);
    ground.later(Duration::from_secs(7_200));
    ground.engine.register_store(0, ground.now()).unwrap();
    ground.erase_all();
    let all = ground.recordings();
    let state = |id| all.iter().find(|one| one.id == id).unwrap().state;
    assert_eq!(state(ids[0]), RecordingState::Erased, "{layout}: {:?}", what_is_left(&ground));
    assert_eq!(state(ids[1]), RecordingState::Stored, "{layout}");
    let row = ground.engine.erasure_certificate(&Ground::may(), ids[0]).unwrap();
    let certificate = ErasureCertificate::parse(&row.text).unwrap();
    assert!(certificate.verify(is_signed(&ground)));
    let found: Vec<bool> = certificate.facts().files.iter().map(|file| file.found).collect();
    assert!(found.iter().all(|found| *found == (layout == "vault")), "{layout}: {found:?}");
    assert_eq!(std::fs::read(&sealed).unwrap(), before, "{layout}: another recording's file");
    let kept = ground.engine.play(&Ground::may(), ids[1], PlayAs::Original, false, ground.now());
    assert_eq!(kept.unwrap().len_bytes, content("call-01-x").len() as u64);
    let faults = Evidence::of(&ground).faults_of_counts();
    assert!(faults.is_empty(), "{layout}: {faults:#?}");
    let ground = ground.start_again();
    ground.erase_all();
    assert_eq!(ground.engine.erasure_status(ground.now()).unwrap().certificates, 1, "{layout}");
    drop(old);
}
