//! An engine at work in a process of its own, to be killed: it seals, erases, and is asked for
//! everything people may ask for, all at once.
//!
//! This program starts itself again with the variables below. What it wanted and was answered is
//! in the ledger; its time passes a thousand times as fast as ours, and never back.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use recseal::catalog::{Catalog, CatalogError};
use recseal::compliance::erasure::plan::Verdict;
use recseal::compliance::erasure::{ErasureReason, JobState};
use recseal::config::catalog_in;
use recseal::domain::lifecycle::RecordingState;
use recseal::domain::{HoldId, JobId, Recording, RecordingId};
use recseal::flow::{ErasureOrder, FlowError, JobControl, NewHold, Places, Selection, chain};
use uuid::Uuid;

use crate::chance::Chance;
use crate::ground::{Ground, wav};
use crate::ledger::{Ledger, hex};

/// A worker at `folder`, in one of its modes, with `seed`, dying at `crash_at` if that is given.
pub fn start(folder: &Path, mode: &str, seed: u64, crash_at: Option<&str>) -> Worker {
    start_with(folder, &folder.join("ledger"), mode, seed, crash_at)
}

/// The same with its ledger elsewhere.
pub fn start_with(
    folder: &Path,
    ledger: &Path,
    mode: &str,
    seed: u64,
    crash_at: Option<&str>,
) -> Worker {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args(["worker::the_worker", "--exact", "--nocapture", "--test-threads=1"])
        .env(WORKER, folder)
        .env(LEDGER, ledger)
        .env(MODE, mode)
        .env(SEED, seed.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(place) = crash_at {
        command.env("RECSEAL_CRASH_AT", place);
    }
    Worker(Some(command.spawn().expect("this program starts again")))
}

/// A running worker. Dropped, it is killed.
pub struct Worker(Option<Child>);

impl Worker {
    /// kill -9; by which signal it ended, and what it said.
    pub fn kill(mut self) -> (Option<i32>, String) {
        self.0.as_mut().expect("it was started").kill().expect("our own child can be killed");
        self.end()
    }

    /// Waits for its end: by which signal (-1 for a failure), and what it said.
    pub fn end(mut self) -> (Option<i32>, String) {
        let child = self.0.take().expect("it was started");
        let output = child.wait_with_output().expect("our own child can be waited for");
        let said = [output.stdout, output.stderr].concat();
        let status = output.status;
        let signal = status.signal().or_else(|| (!status.success()).then_some(-1));
        (signal, String::from_utf8_lossy(&said).into_owned())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The layout of a ground for `number`: own, beside, own, …
pub fn layout(number: u64) -> &'static str {
    ["vault", "beside"][number as usize % 2]
}

/// The ground at `folder`, as the worker had it.
pub fn ground_at(folder: &Path) -> Ground {
    let config = std::fs::read_to_string(folder.join("config")).expect("its configuration");
    let ground = Ground::in_folder(folder, &config);
    let made = std::fs::metadata(folder.join("config")).and_then(|seen| seen.modified());
    ground.later(age(made.expect("a time")) * FASTER);
    ground
}

/// Makes a folder for a ground of `layout`.
pub fn prepare(folder: &Path, layout: &str) {
    std::fs::create_dir_all(folder.join("store")).expect("a store");
    std::fs::create_dir_all(folder.join("incoming")).expect("a folder beside it");
    let config = format!(
        "[vault]\nreserve = \"1MiB\"\n[[store]]\npath = \"STORE\"\nlayout = \"{layout}\"\n"
    );
    std::fs::write(folder.join("config"), config).expect("a configuration");
    for place in ["config", "."] {
        let file = std::fs::File::open(folder.join(place)).expect("what was just made");
        file.sync_all().expect("it is durable");
    }
}

/// What a file of this stem holds; a sidecar, by its name.
pub fn content(stem: &str) -> Vec<u8> {
    if stem.ends_with(".json") {
        return format!("{{\"caller\": \"{stem}\"}}").into_bytes();
    }
    let mixed = stem.bytes().fold(7_u64, |mixed, byte| mixed.wrapping_mul(31) + u64::from(byte));
    wav(mixed as u8, 900 + (mixed >> 8) as usize % 6_000)
}

/// Not a test by itself: what the others start.
#[test]
fn the_worker() {
    let Some(folder) = variable(WORKER).map(PathBuf::from) else { return };
    let ledger = Ledger::open(Path::new(&variable(LEDGER).expect("a ledger")));
    let seed = variable(SEED).and_then(|text| text.parse().ok()).expect("a seed");
    let ground = ground_at(&folder);
    ledger.note("begin");
    let desk = Desk { ground: &ground, ledger: &ledger, chance: Chance::new(seed) };
    match variable(MODE).as_deref() {
        Some("script") => desk.follow_the_script(),
        Some("finish") => finish(&ground),
        _ => at_work(&ground, desk),
    }
}

/// Lets everything that may be done be done.
pub fn finish(ground: &Ground) {
    for link in std::fs::read_dir(ground.folder.join("incoming")).expect("a folder").flatten() {
        take_away(&link.path());
    }
    ground.engine.pause_erasures(&Ground::may(), false, ground.now()).expect("it goes on");
    for detail in ground.engine.erasure_jobs(&Ground::may(), None, 10_000, ground.now()).unwrap() {
        if detail.job.state == JobState::Paused {
            let (grant, id) = (Ground::may(), detail.job.id);
            ground.engine.control_erasure(&grant, id, JobControl::Resume, ground.now()).unwrap();
        }
    }
    for _ in 0..60 {
        ground.seal_all();
        ground.erase_all();
        if what_is_left(ground).is_empty() {
            return;
        }
        ground.later(Duration::from_secs(4_000));
    }
}

/// Recordings that are owed and are neither erased nor waiting for what protects them.
pub fn what_is_left(ground: &Ground) -> Vec<String> {
    let catalog = Catalog::open_read_only(&catalog_in(&ground.state())).unwrap();
    let item = |id| catalog.read(|tx| tx.erasure_item(id)).unwrap();
    let left = ground
        .ids()
        .into_iter()
        .filter_map(item)
        .filter(|item| item.step.as_str() != "done" && item.blocked_by.is_none());
    left.map(|item| format!("{} {} {:?}", item.recording, item.step.as_str(), item.problem))
        .collect()
}

/// Everything at once, until it is killed or told enough.
fn at_work(ground: &Ground, mut desk: Desk<'_>) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                let_pass(Duration::from_millis(1));
                ground.later(Duration::from_millis(1) * FASTER);
            }
        });
        scope.spawn(|| {
            loop {
                or_die("sealing", seal(ground));
                let_pass(Duration::from_millis(3));
            }
        });
        scope.spawn(|| {
            loop {
                let step = ground.engine.erase_batch(&ground.clock()).map(|step| step.more);
                if !or_die("erasing", step).unwrap_or(false) {
                    let_pass(Duration::from_millis(2));
                }
            }
        });
        loop {
            desk.ask_for_something();
        }
    });
}

/// Whoever asks.
struct Desk<'d> {
    ground: &'d Ground,
    ledger: &'d Ledger,
    chance: Chance,
}

impl Desk<'_> {
    fn ask_for_something(&mut self) {
        let (ground, now) = (self.ground, self.ground.now());
        match self.chance.below(20) {
            0..6 => self.record_some(),
            6..12 => {
                let live = self.live();
                let some = 1 + self.chance.below(5);
                let ids = (0..some).filter_map(|_| self.one_of(&live)).map(|one| one.id).collect();
                self.order(&live, ids);
            }
            12..15 => {
                let all = ground.recordings();
                let ids = (0..2).filter_map(|_| self.one_of(&all)).map(|one| one.id).collect();
                self.hold(ids);
            }
            15 | 16 => {
                let holds = ground.engine.holds(&Ground::may(), false, None, 1_000).unwrap();
                if let Some(hold) = self.one_of(&holds).map(|hold| hold.id) {
                    self.lift(hold);
                }
            }
            17 => {
                let is_paused = self.chance.below(3) == 0;
                ground.engine.pause_erasures(&Ground::may(), is_paused, now).unwrap();
            }
            _ => self.control_a_job(),
        }
        let_pass(Duration::from_millis(self.chance.below(6)));
    }

    /// Recordings that are not erased.
    fn live(&self) -> Vec<Recording> {
        let is_live = |one: &Recording| {
            !matches!(one.state, RecordingState::Erasing | RecordingState::Erased)
        };
        self.ground.recordings().into_iter().filter(is_live).collect()
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        if all.is_empty() { None } else { all.get(self.chance.below(all.len() as u64) as usize) }
    }

    fn record_some(&mut self) {
        if self.live().len() > LIVE_MOST {
            return;
        }
        for _ in 0..1 + self.chance.below(3) {
            let kind = self.chance.below(12);
            self.record(kind);
        }
    }

    /// One file, by rename; with a sidecar for 0 to 3, with a second name for 0 and 4, which is
    /// put into quarantine until [`finish`] takes that name away.
    fn record(&mut self, kind: u64) -> String {
        let stem = format!("call-{}", Uuid::now_v7().simple());
        let folder = &self.ground.folder;
        let put = |name: &str, bytes: &[u8]| {
            let incoming = folder.join("incoming").join(name);
            let file = std::fs::File::create(&incoming).unwrap();
            std::io::Write::write_all(&mut &file, bytes).unwrap();
            file.sync_all().unwrap();
            let place = self.ground.store().join(name);
            match matches!(kind, 0 | 4) && name.ends_with(".wav") {
                true => std::fs::hard_link(&incoming, &place).unwrap(),
                false => std::fs::rename(&incoming, &place).unwrap(),
            }
        };
        // Before one that goes into quarantine, which takes none afterwards.
        let names = [format!("{stem}.json"), format!("{stem}.wav")];
        let (beside, first) = (names[0].clone(), usize::from(kind != 0));
        for name in [&names[first], &names[1 - first]] {
            match *name == beside {
                true if kind >= 4 => {}
                true => put(name, &content(name)),
                false => put(name, &content(&stem)),
            }
        }
        std::fs::File::open(self.ground.store()).unwrap().sync_all().unwrap();
        self.ledger.note(&format!("file {stem}"));
        stem
    }

    fn order(&self, live: &[Recording], ids: Vec<RecordingId>) -> Option<JobId> {
        let (ground, ledger) = (self.ground, self.ledger);
        let catalog = Catalog::open_read_only(&catalog_in(&ground.state())).unwrap();
        for one in live.iter().filter(|one| ids.contains(&one.id)) {
            let key = catalog.read(|tx| tx.wrapped_key(one.id)).unwrap();
            let key = key.map_or_else(|| "-".to_owned(), |key| hex(key.as_bytes()));
            ledger.note(&format!("want {} {} {key}", one.id, stem_of(one)));
        }
        let confirm = {
            let selection = Selection::Recordings(ids.clone());
            let plan = ground.engine.plan_erasure(&Ground::may(), &selection, ground.now());
            plan.ok().map(|plan| plan.erase.recordings + plan.blocked.recordings)
        };
        let selection = Selection::Recordings(ids);
        let order = ErasureOrder { selection, reason: ErasureReason::Request, confirm };
        let ordered = ground.engine.order_erasure(&Ground::may(), &order, ground.now());
        let ordered = match ordered {
            Ok(ordered) => ordered,
            // One of them changed between plan and order, or is gone since the look.
            Err(FlowError::ConfirmCount { .. } | FlowError::NotFound(_)) => return None,
            Err(error) => panic!("ordering: {}", chain(&error)),
        };
        let job = ordered.job?.id;
        for (id, _, verdict) in &ordered.plan.verdicts {
            if matches!(verdict, Verdict::Erase | Verdict::EraseOnceSealed | Verdict::Blocked(_)) {
                ledger.note(&format!("owed {id} {}", job.0));
            }
        }
        Some(job)
    }

    fn hold(&self, ids: Vec<RecordingId>) {
        if ids.is_empty() {
            return;
        }
        let new = NewHold {
            reason: "a dispute".to_owned(),
            recordings: ids.clone(),
            conversations: vec![],
            until: None,
        };
        let placed = self.ground.engine.place_hold(&Ground::may(), new, self.ground.now());
        let placed = match placed {
            Ok(placed) => placed,
            Err(FlowError::NotFound(_)) => return,
            Err(error) => panic!("placing a hold: {}", chain(&error)),
        };
        for id in ids {
            match placed.too_late.contains(&id) {
                true => self.ledger.note(&format!("late {id}")),
                false => self.ledger.note(&format!("held {} {id}", placed.hold.id.0)),
            }
        }
    }

    fn lift(&self, hold: HoldId) {
        self.ledger.note(&format!("lifting {}", hold.0));
        self.ground.engine.lift_hold(&Ground::may(), hold, self.ground.now()).unwrap();
    }

    fn control_a_job(&mut self) {
        let jobs = self.ground.engine.erasure_jobs(&Ground::may(), None, 20, self.ground.now());
        let jobs = jobs.unwrap();
        let Some(job) = self.one_of(&jobs).map(|detail| detail.job.id) else { return };
        let control = match self.chance.below(5) {
            0 | 1 => JobControl::Pause,
            2 | 3 => JobControl::Resume,
            _ => {
                self.ledger.note(&format!("cancelling {}", job.0));
                JobControl::Cancel
            }
        };
        let now = self.ground.now();
        match self.ground.engine.control_erasure(&Ground::may(), job, control, now) {
            Ok(_) | Err(FlowError::JobState { .. }) => {}
            Err(error) => panic!("{control:?}: {}", chain(&error)),
        }
    }

    /// Two orders, one after the other, over recordings of every kind; each crash point of an
    /// erasure is passed twice.
    fn follow_the_script(mut self) {
        for kind in 0..10 {
            self.record(kind);
        }
        self.ground.seal_all();
        for link in std::fs::read_dir(self.ground.folder.join("incoming")).unwrap().flatten() {
            take_away(&link.path());
        }
        let all = self.live();
        assert_eq!(all.len(), 10, "{all:?}");
        let ids: Vec<RecordingId> = all.iter().map(|one| one.id).collect();
        self.hold(vec![ids[1], ids[5]]);
        // 0 has a sidecar and a plaintext original, 1 a sidecar and a hold.
        self.order(&all, ids[..4].to_vec());
        self.ground.erase_all();
        self.order(&all, ids[4..8].to_vec());
        self.ground.erase_all();
    }
}

fn seal(ground: &Ground) -> Result<(), FlowError> {
    let (engine, now) = (&ground.engine, ground.now());
    engine.register_store(0, now)?;
    engine.discover(0, &Places::Everywhere, &ground.clock())?;
    engine.finish_removals(ground.now())?;
    engine.ingest(ground.now())?;
    engine.ingest_sidecars(ground.now())?;
    Ok(())
}

/// Ends the whole program, so that whoever started it hears of it.
fn or_die<T>(what: &str, outcome: Result<T, FlowError>) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        // A reader kept an old view for too long; said to be tried again.
        Err(FlowError::Catalog(CatalogError::LogInUse)) => None,
        Err(error) => {
            eprintln!("{what}: {}", chain(&error));
            std::process::exit(3);
        }
    }
}

fn stem_of(recording: &Recording) -> String {
    let name = String::from_utf8_lossy(recording.path.expose_name()).into_owned();
    name.trim_end_matches(".wav").to_owned()
}

/// Waits, as nobody sends.
pub fn let_pass(span: Duration) {
    let (_open, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(span);
}

#[expect(clippy::disallowed_methods, reason = "the second name of a file of this test")]
fn take_away(path: &Path) {
    std::fs::remove_file(path).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "how this program is told what it is")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[expect(clippy::disallowed_methods, reason = "a clock that runs on through kills")]
fn age(since: SystemTime) -> Duration {
    SystemTime::now().duration_since(since).unwrap_or_default()
}

const WORKER: &str = "RECSEAL_TEST_WORKER";
const LEDGER: &str = "RECSEAL_TEST_LEDGER";
const MODE: &str = "RECSEAL_TEST_MODE";
const SEED: &str = "RECSEAL_TEST_SEED";
const FASTER: u32 = 1_000;
const LIVE_MOST: usize = 60;
