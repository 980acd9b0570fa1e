//! An engine on a state folder and a store of its own, with its time set by hand.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use recseal::access::{Act, Grant, Principal, authorize};
use recseal::app;
use recseal::catalog::RecordingFilter;
use recseal::clock::{Clock, Timestamp};
use recseal::compliance::erasure::ErasureReason;
use recseal::config::{Config, Overrides};
use recseal::domain::{Recording, RecordingId};
use recseal::flow::{Engine, ErasureOrder, Ordered, Places, Selection};

/// The engine and where its files lie.
pub struct Ground {
    pub engine: Engine,
    pub folder: PathBuf,
    config: String,
    time: Arc<AtomicI64>,
    _made: Option<tempfile::TempDir>,
}

impl Ground {
    /// With the defaults.
    pub fn new() -> Self {
        Self::with("")
    }

    /// With `config`, which may say `STORE` for the path of the store.
    pub fn with(config: &str) -> Self {
        let made = tempfile::tempdir().expect("a folder");
        let ground = Self::in_folder(made.path(), config);
        Self { _made: Some(made), ..ground }
    }

    /// The same below `folder`, which may lie on another file system.
    pub fn in_folder(folder: &Path, config: &str) -> Self {
        let store = folder.join("store");
        std::fs::create_dir_all(&store).expect("a store");
        let text = config.replace("STORE", &store.display().to_string());
        let text = match text.contains("[[store]]") {
            true => text,
            false => format!("{text}\n[[store]]\npath = \"{}\"\n", store.display()),
        };
        let time = Arc::new(AtomicI64::new(Clock::System.now().as_millis()));
        let engine = build(folder, &text, &time);
        Self { engine, folder: folder.to_owned(), config: text, time, _made: None }
    }

    /// The engine as a new start makes it: nothing remembered but the files.
    pub fn start_again(self) -> Self {
        self.start_again_with(|| {})
    }

    /// The same, with something that happens while it is stopped.
    pub fn start_again_with(self, meanwhile: impl FnOnce()) -> Self {
        let Self { engine, folder, config, time, _made } = self;
        drop(engine);
        meanwhile();
        let engine = build(&folder, &config, &time);
        Self { engine, folder, config, time, _made }
    }

    pub fn clock(&self) -> Clock {
        Clock::Manual(Arc::clone(&self.time))
    }

    pub fn now(&self) -> Timestamp {
        self.clock().now()
    }

    pub fn later(&self, span: Duration) {
        self.time.fetch_add(span.as_millis() as i64, Ordering::SeqCst);
    }

    pub fn store(&self) -> PathBuf {
        self.folder.join("store")
    }

    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// A file of the recorder, finished.
    pub fn drop_file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.store().join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("a folder in the store");
        }
        std::fs::write(&path, bytes).expect("a recording");
        path
    }

    /// Looks and seals until nothing is left to do. What lies in the store is finished.
    pub fn seal_all(&self) {
        self.look();
        self.later(Duration::from_secs(3_600));
        self.look();
        loop {
            let removed = self.engine.finish_removals(self.now()).expect("removing works");
            let taken = self.engine.ingest(self.now()).expect("sealing works").taken;
            let sidecars = self.engine.ingest_sidecars(self.now()).expect("sidecars are sealed");
            if removed + taken + sidecars == 0 {
                return;
            }
        }
    }

    fn look(&self) {
        self.engine.register_store(0, self.now()).expect("the store is there");
        self.engine.discover(0, &Places::Everywhere, &self.clock()).expect("a look into the store");
    }

    pub fn root() -> Principal {
        Principal::local(0, 0)
    }

    pub fn may<A: Act>() -> Grant<A> {
        authorize(&Self::root()).expect("root may")
    }

    pub fn order(&self, selection: Selection) -> Ordered {
        let order = ErasureOrder { selection, reason: ErasureReason::Request, confirm: None };
        self.engine.order_erasure(&Self::may(), &order, self.now()).expect("it is ordered")
    }

    /// Erases until nothing more can be done at this moment.
    pub fn erase_all(&self) {
        for _ in 0..10_000 {
            let step = self.engine.erase_batch(&self.clock()).expect("a batch works");
            if !step.more {
                return;
            }
        }
        panic!("erasing does not come to an end");
    }

    /// Every recording there is.
    pub fn recordings(&self) -> Vec<Recording> {
        let filter = recseal::flow::RecordingFilter::default();
        let found = self.engine.recordings(&Self::may(), &filter, None, 10_000);
        found.expect("they are listed").into_iter().map(|detail| detail.recording).collect()
    }

    pub fn ids(&self) -> Vec<RecordingId> {
        self.recordings().into_iter().map(|recording| recording.id).collect()
    }

    /// Every file below the state folder.
    pub fn state_files(&self) -> Vec<PathBuf> {
        files_below(&self.state())
    }
}

/// Every plain file below `folder`.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut waiting) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            match entry.file_type().expect("a type") {
                kind if kind.is_dir() => waiting.push(path),
                kind if kind.is_file() => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// How often `needle` stands in these files or their names.
pub fn count_in(files: &[PathBuf], needle: &[u8]) -> usize {
    let hits = |bytes: &[u8]| bytes.windows(needle.len()).filter(|part| *part == needle).count();
    let of = |path: &PathBuf| {
        hits(&std::fs::read(path).unwrap_or_default()) + hits(path.as_os_str().as_bytes())
    };
    files.iter().map(of).sum()
}

fn build(folder: &Path, text: &str, time: &Arc<AtomicI64>) -> Engine {
    let over = Overrides { state: Some(folder.join("state")), ..Overrides::default() };
    let config = Config::read(text, over).expect("the configuration is sound");
    let engine = app::build(&config, &Clock::Manual(Arc::clone(time))).expect("an engine");
    engine.recover(Clock::Manual(Arc::clone(time)).now()).expect("it recovers");
    engine
}

/// Some PCM in a WAV, distinguishable by `tone`.
pub fn wav(tone: u8, bytes: usize) -> Vec<u8> {
    let mut wav = Vec::with_capacity(bytes + 44);
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(bytes as u32 + 36).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt ");
    wav.extend_from_slice(&[
        16, 0, 0, 0, 1, 0, 1, 0, 0x40, 0x1f, 0, 0, 0x40, 0x1f, 0, 0, 1, 0, 8, 0,
    ]);
    wav.extend_from_slice(b"data");
    wav.extend_from_slice(&(bytes as u32).to_le_bytes());
    wav.extend((0..bytes).map(|at| tone.wrapping_add(at as u8)));
    wav
}

#[allow(dead_code, reason = "for tests that filter")]
pub fn no_filter() -> RecordingFilter {
    RecordingFilter::default()
}
