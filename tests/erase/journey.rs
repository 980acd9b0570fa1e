//! The straight line, and everything that makes it wait.

use std::time::Duration;

use recseal::compliance::erasure::certificate::{ErasureCertificate, KeyFate};
use recseal::compliance::erasure::{ErasureReason, JobState};
use recseal::domain::doomed::DoomedKind;
use recseal::domain::lifecycle::RecordingState;
use recseal::flow::{ErasureOrder, FlowError, JobControl, NewHold, PlayAs, Selection};

use crate::ground::{Ground, count_in, files_below, wav};

/// From a file of a recorder to its certificate. Planted faults: the names scrubbed after the
/// catalog (the number is found in it), and the key destroyed after the overwrite (the recording
/// could be opened in between).
#[test]
fn a_recording_is_erased_and_certified() {
    let ground = Ground::new();
    ground.drop_file("+12025550143.wav", &wav(1, 20_000));
    ground.drop_file("+12025550199.wav", &wav(2, 20_000));
    ground.seal_all();
    let all = ground.recordings();
    assert!(all.iter().all(|one| one.state == RecordingState::Stored), "{all:?}");
    let (erased, kept) = (all[0].id, all[1].id);
    let name = String::from_utf8(all[0].path.expose_name().to_vec()).unwrap();
    assert!(count_in(&ground.state_files(), name.as_bytes()) > 0, "the name is in the catalog");
    let ordered = ground.order(Selection::Recordings(vec![erased]));
    assert_eq!(ordered.plan.erase.recordings, 1);
    assert!(ground.recordings().iter().any(|one| one.id == erased && one.planned_for_deletion));
    // Marked, and still playable.
    ground.engine.play(&Ground::may(), erased, PlayAs::Original, true, ground.now()).unwrap();
    ground.erase_all();
    let row = ground.engine.erasure_certificate(&Ground::may(), erased).unwrap();
    let certificate = ErasureCertificate::parse(&row.text).unwrap();
    let facts = certificate.facts();
    assert_eq!((facts.number, facts.recording), (1, erased));
    assert_ne!(facts.key, KeyFate::DestroyedNotLookedFor);
    assert!(facts.files.iter().all(|file| file.found && file.evidence.is_some()), "{facts:?}");
    let job = ordered.job.unwrap().id;
    let job = ground.engine.erasure_job(&Ground::may(), job, ground.now()).unwrap().job;
    assert_eq!((job.state, job.progress.done_items), (JobState::Finished, 1));
    assert_eq!(count_in(&ground.state_files(), name.as_bytes()), 0, "the name is nowhere");
    let vault = files_below(&ground.state().join("vault"));
    assert!(vault.iter().all(|file| !file.to_string_lossy().contains(&erased.to_string())));
    let played = ground.engine.play(&Ground::may(), erased, PlayAs::Original, true, ground.now());
    assert!(matches!(played, Err(FlowError::NotOpen { .. })));
    ground.engine.play(&Ground::may(), kept, PlayAs::Original, true, ground.now()).unwrap();
}

/// Planted faults: the holds not read in the transaction of the key, and blocked items never
/// looked at again.
#[test]
fn what_is_held_waits_and_goes_on_by_itself() {
    let ground = Ground::new();
    ground.drop_file("a.wav", &wav(1, 20_000));
    ground.drop_file("b.wav", &wav(2, 20_000));
    ground.seal_all();
    let ids = ground.ids();
    let hold = |id, until| {
        let new = NewHold {
            reason: "a dispute".to_owned(),
            recordings: vec![id],
            conversations: vec![],
            until,
        };
        ground.engine.place_hold(&Ground::may(), new, ground.now()).unwrap()
    };
    let before = hold(ids[0], None);
    let ordered = ground.order(Selection::Recordings(ids.clone()));
    assert_eq!((ordered.plan.erase.recordings, ordered.plan.blocked.recordings), (1, 1));
    // Placed after the order, and it ends by its date.
    let until = ground.now().plus(Duration::from_secs(600));
    hold(ids[1], Some(until));
    ground.erase_all();
    let states =
        |ground: &Ground| ground.recordings().into_iter().map(|one| one.state).collect::<Vec<_>>();
    assert_eq!(states(&ground), [RecordingState::Stored, RecordingState::Stored]);
    ground.engine.play(&Ground::may(), ids[0], PlayAs::Original, true, ground.now()).unwrap();
    ground.later(Duration::from_secs(601));
    ground.erase_all();
    assert_eq!(states(&ground), [RecordingState::Stored, RecordingState::Erased]);
    ground.engine.lift_hold(&Ground::may(), before.hold.id, ground.now()).unwrap();
    ground.erase_all();
    assert_eq!(states(&ground), [RecordingState::Erased, RecordingState::Erased]);
    let late = hold(ids[0], None);
    assert_eq!(late.too_late, [ids[0]]);
}

/// Planted faults: a paused job worked on, and a cancelled one that takes what was begun back.
#[test]
fn jobs_are_paused_resumed_and_taken_back() {
    let ground = Ground::new();
    for number in 0..3 {
        ground.drop_file(&format!("{number}.wav"), &wav(number, 9_000));
    }
    ground.seal_all();
    let ids = ground.ids();
    let job = ground.order(Selection::Recordings(ids.clone())).job.unwrap().id;
    let control = |what| ground.engine.control_erasure(&Ground::may(), job, what, ground.now());
    assert_eq!(control(JobControl::Pause).unwrap().state, JobState::Paused);
    ground.erase_all();
    assert!(ground.recordings().iter().all(|one| one.state == RecordingState::Stored));
    control(JobControl::Resume).unwrap();
    assert!(matches!(control(JobControl::Resume), Err(FlowError::JobState { .. })));
    ground.engine.pause_erasures(&Ground::may(), true, ground.now()).unwrap();
    ground.erase_all();
    assert!(ground.recordings().iter().all(|one| one.state == RecordingState::Stored));
    assert_eq!(control(JobControl::Cancel).unwrap().state, JobState::Cancelled);
    ground.engine.pause_erasures(&Ground::may(), false, ground.now()).unwrap();
    ground.erase_all();
    assert!(ground.recordings().iter().all(|one| !one.planned_for_deletion));
    ground.order(Selection::Recordings(ids));
    ground.erase_all();
    assert!(ground.recordings().iter().all(|one| one.state == RecordingState::Erased));
}

/// What was erased and lies in the store again is erased again. Planted fault: the handle made of
/// the name without the store and the size.
#[test]
fn what_comes_back_is_erased_again() {
    let ground = Ground::new();
    let bytes = wav(7, 12_000);
    let path = ground.drop_file("again.wav", &bytes);
    let seen = std::fs::metadata(&path).unwrap().modified().unwrap();
    ground.seal_all();
    ground.order(Selection::Recordings(ground.ids()));
    ground.erase_all();
    let put_back = |name: &str| {
        let path = ground.drop_file(name, &bytes);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(seen).unwrap();
    };
    put_back("again.wav");
    put_back("another.wav");
    ground.seal_all();
    ground.erase_all();
    let states: Vec<_> = ground.recordings().into_iter().map(|one| one.state).collect();
    assert_eq!(states.iter().filter(|state| **state == RecordingState::Erased).count(), 2);
    assert_eq!(states.iter().filter(|state| **state == RecordingState::Stored).count(), 1);
}

/// A recording that never was sealed, and a working file that its recorder left. Planted faults:
/// the original not doomed (it lies there still, and `Erased` is said), and a leftover of another
/// call taken.
#[test]
#[expect(clippy::disallowed_methods, reason = "the second name is the test's own")]
fn plaintext_goes_with_its_recording() {
    let ground = Ground::new();
    let path = ground.drop_file("call-1001.wav", &wav(1, 9_000));
    std::fs::hard_link(&path, ground.folder.join("second-name")).unwrap();
    ground.drop_file("call-1002.wav", &wav(2, 9_000));
    let left = ground.drop_file("call-1002.wav.tmp", b"half of it");
    let others = ground.drop_file("call-10021.wav.tmp", b"half of another");
    ground.seal_all();
    ground.later(Duration::from_secs(7_200));
    let all = ground.recordings();
    let in_state = |state| all.iter().find(|one| one.state == state).unwrap().id;
    let (waiting, _) = (in_state(RecordingState::Quarantined), in_state(RecordingState::Stored));
    std::fs::remove_file(ground.folder.join("second-name")).unwrap();
    ground.order(Selection::Recordings(ground.ids()));
    ground.erase_all();
    assert!(ground.recordings().iter().all(|one| one.state == RecordingState::Erased));
    assert!(!path.exists() && !left.exists() && others.exists());
    let row = ground.engine.erasure_certificate(&Ground::may(), waiting).unwrap();
    let certificate = ErasureCertificate::parse(&row.text).unwrap();
    assert_eq!(certificate.facts().key, KeyFate::NonePlaintext);
    assert_eq!(certificate.facts().files[0].kind, DoomedKind::Original);
}

/// Planted fault: the number asked for compared with what was chosen, not with what is marked.
#[test]
fn many_are_erased_only_by_their_number() {
    let ground = Ground::with("[erasure]\nmass_from = 3\n");
    for number in 0..4 {
        ground.drop_file(&format!("{number}.wav"), &wav(number, 9_000));
    }
    ground.seal_all();
    let order = |confirm| ErasureOrder {
        selection: Selection::Recordings(ground.ids()),
        reason: ErasureReason::Decision,
        confirm,
    };
    for confirm in [None, Some(3), Some(5)] {
        let ordered = ground.engine.order_erasure(&Ground::may(), &order(confirm), ground.now());
        assert!(matches!(ordered, Err(FlowError::ConfirmCount { recordings: 4, .. })));
    }
    ground.engine.order_erasure(&Ground::may(), &order(Some(4)), ground.now()).unwrap();
    ground.erase_all();
    assert!(ground.recordings().iter().all(|one| one.state == RecordingState::Erased));
    // Certificates hang together.
    let mut previous = [0; 32];
    for id in ground.ids() {
        let row = ground.engine.erasure_certificate(&Ground::may(), id).unwrap();
        let certificate = ErasureCertificate::parse(&row.text).unwrap();
        assert_eq!(certificate.facts().previous, previous);
        previous = certificate.sha256();
    }
}
