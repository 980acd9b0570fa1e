//! What is owed stays owed: a full disk, a store that is not there, a disk that takes no writes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use recseal::catalog::ItemFilter;
use recseal::compliance::erasure::ErasureItem;
use recseal::domain::lifecycle::RecordingState;
use recseal::domain::{JobId, RecordingId};
use recseal::flow::{Places, Selection};

use crate::common::loop_fs::LoopFs;
use crate::common::{or_skip, run};
use crate::evidence::must_hold;
use crate::ground::Ground;
use crate::races::facts_of;
use crate::worker::{content, what_is_left};

/// A ground with an own store and one beside, which lies on `fs`; two recordings in each.
struct Two<'f> {
    ground: Ground,
    fs: &'f LoopFs,
}

impl<'f> Two<'f> {
    fn new(fs: &'f LoopFs, folder: &Path) -> Self {
        let calls = fs.path().join("calls");
        std::fs::create_dir(&calls).unwrap();
        let config = format!(
            "[[store]]\npath = \"STORE\"\nlayout = \"vault\"\n\
             [[store]]\npath = {calls:?}\nlayout = \"beside\"\n"
        );
        let two = Self { ground: Ground::in_folder(folder, &config), fs };
        for number in 0..2 {
            let stem = format!("call-{number:02}-x");
            two.ground.drop_file(&format!("{stem}.wav"), &content(&stem));
            let stem = format!("call-{number:02}-y");
            std::fs::write(calls.join(format!("{stem}.wav")), content(&stem)).unwrap();
        }
        two.look();
        two.ground.later(Duration::from_secs(3_600));
        two.look();
        two.ground.seal_all();
        let recordings = two.ground.recordings();
        assert!(recordings.iter().all(|one| one.state == RecordingState::Stored), "{recordings:?}");
        assert_eq!(recordings.len(), 4);
        two
    }

    fn look(&self) {
        let engine = &self.ground.engine;
        for store in 0..2 {
            engine.register_store(store, self.ground.now()).unwrap();
            engine.discover(store, &Places::Everywhere, &self.ground.clock()).unwrap();
        }
    }

    /// The recordings of the store on the other file system.
    fn beside(&self) -> Vec<RecordingId> {
        let calls = self.ground.recordings().into_iter();
        let is_beside = |name: &[u8]| name.ends_with(b"-y.wav");
        calls.filter(|one| is_beside(one.path.expose_name())).map(|one| one.id).collect()
    }

    fn mount(&self, words: &[&str]) {
        let mut mount = Command::new("mount");
        run(mount.args(words).arg(self.fs.device()).arg(self.fs.path())).unwrap();
    }
}

fn failing(ground: &Ground, job: JobId) -> Vec<ErasureItem> {
    ground.engine.erasure_items(&Ground::may(), job, ItemFilter::Failing, None, 99).unwrap()
}

/// Others go on meanwhile; tries come ever later; once it is there again the rest is done.
#[test]
fn a_store_that_is_not_there_is_waited_for() {
    let fs = or_skip!(LoopFs::make("ext4", "", &[]));
    let folder = tempfile::tempdir().unwrap();
    let two = Two::new(&fs, folder.path());
    let stems = ["call-00-x", "call-01-x", "call-00-y", "call-01-y"].map(str::to_owned);
    let (facts, beside) = (facts_of(&two.ground, &stems), two.beside());
    let job = two.ground.order(Selection::Recordings(two.ground.ids())).job.unwrap().id;
    let Two { ground, fs } = two;
    let ground = ground.start_again_with(|| {
        run(Command::new("umount").arg(fs.path())).unwrap();
    });
    ground.erase_all();
    let mut last = None;
    for failures in 1..=6 {
        let waiting = failing(&ground, job);
        let ids: Vec<_> = waiting.iter().map(|item| item.recording).collect();
        assert_eq!(ids, beside);
        for item in &waiting {
            let problem = item.problem.as_deref();
            assert_eq!((problem, item.failures), (Some("store_missing"), failures));
        }
        let wait = waiting[0].due_at.since(ground.now());
        assert!(last.is_none_or(|last| wait > last), "{last:?}, then {wait:?}");
        last = Some(wait);
        let status = ground.engine.erasure_status(ground.now()).unwrap();
        assert_eq!((status.progress.done_items, status.progress.failing_items), (2, 2));
        assert!(status.oldest_pending.is_some());
        let step = ground.engine.erase_batch(&ground.clock()).unwrap();
        assert_eq!((step.more, step.due_at), (false, Some(waiting[0].due_at)));
        ground.later(wait);
        ground.erase_all();
    }
    let two = Two { ground, fs };
    two.mount(&[]);
    two.look();
    two.ground.later(Duration::from_secs(4_000));
    two.ground.erase_all();
    let states = two.ground.recordings();
    assert!(states.iter().all(|one| one.state == RecordingState::Erased), "{states:?}");
    assert_eq!(std::fs::read_dir(fs.path().join("calls")).unwrap().count(), 1, "its id file");
    must_hold(&two.ground, &facts, "mounted again");
    drop(two);
}

/// The same on a file system that turned read-only under the eraser.
#[test]
fn a_disk_that_takes_no_writes_is_waited_for() {
    let fs = or_skip!(LoopFs::make("xfs", "", &[]));
    let folder = tempfile::tempdir().unwrap();
    let two = Two::new(&fs, folder.path());
    let stems = ["call-00-x", "call-01-x", "call-00-y", "call-01-y"].map(str::to_owned);
    let (facts, beside) = (facts_of(&two.ground, &stems), two.beside());
    let job = two.ground.order(Selection::Recordings(two.ground.ids())).job.unwrap().id;
    two.mount(&["-o", "remount,ro"]);
    two.ground.erase_all();
    let waiting = failing(&two.ground, job);
    assert_eq!(waiting.iter().map(|item| item.recording).collect::<Vec<_>>(), beside);
    assert!(waiting.iter().all(|item| item.problem.as_deref() == Some("io")), "{waiting:?}");
    two.mount(&["-o", "remount,rw"]);
    two.ground.later(Duration::from_secs(30));
    two.ground.erase_all();
    let states = two.ground.recordings();
    assert!(states.iter().all(|one| one.state == RecordingState::Erased), "{states:?}");
    must_hold(&two.ground, &facts, "writable again");
}

/// No room for the catalog's log while recordings are erased.
#[test]
fn a_full_disk_is_waited_for() {
    let fs = or_skip!(LoopFs::make_in(None, 48 << 20, "ext4", "", &[]));
    let folder = fs.path().join("ground");
    std::fs::create_dir(&folder).unwrap();
    let ground = Ground::in_folder(&folder, "[vault]\nreserve = \"1MiB\"\n");
    let stems: Vec<String> = (0..12).map(|number| format!("call-{number:02}-x")).collect();
    for stem in &stems {
        ground.drop_file(&format!("{stem}.wav"), &content(stem));
    }
    ground.seal_all();
    let facts = facts_of(&ground, &stems);
    let (mut problems, mut done) = (0, 0);
    for (round, some) in ground.ids().chunks(3).enumerate() {
        ground.order(Selection::Recordings(some.to_vec()));
        // Another amount of room each time: it runs out at another step.
        let filler = fs.path().join("filler");
        fill(&filler, [0, 40_000, 200_000, 1_300_000][round]);
        for _ in 0..4 {
            problems += usize::from(ground.engine.erase_batch(&ground.clock()).is_err());
            let status = ground.engine.erasure_status(ground.now()).unwrap();
            let progress = status.progress;
            assert!(progress.done_items <= progress.items && progress.items <= 3, "{status:?}");
        }
        empty(&filler);
        ground.later(Duration::from_secs(4_000));
        ground.erase_all();
        done += some.len();
        let erased = ground.recordings();
        let erased = erased.iter().filter(|one| one.state == RecordingState::Erased).count();
        assert_eq!(erased, done, "round {round}: {:?}", what_is_left(&ground));
    }
    assert!(problems > 0, "the disk never was full");
    println!("{problems} batches failed");
    must_hold(&ground, &facts, "room again");
}

/// Fills the file system of `path` but for about `spare` bytes.
fn fill(path: &Path, spare: u64) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    for piece in [1 << 20, 1 << 16, 4_096] {
        let zeros = vec![1_u8; piece];
        while file.write_all(&zeros).is_ok() && file.sync_data().is_ok() {}
    }
    let len = file.metadata().unwrap().len();
    file.set_len(len.saturating_sub(spare)).unwrap();
    file.sync_all().unwrap();
}

#[expect(clippy::disallowed_methods, reason = "whoever filled the disk empties it")]
fn empty(path: &Path) {
    std::fs::remove_file(path).unwrap();
}
