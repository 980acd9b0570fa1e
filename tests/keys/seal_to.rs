//! Recorders that can seal and not open.
//!
//! "Another machine" is a folder of its own with the sealed file, the key file and the private
//! key, and no state folder: the program is started there without `--state` and without a daemon.

#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};

use keymanager::{KeyManager, SealAlgorithm, SealPrivateKey, SealedKeyFile};
use recseal::catalog::Catalog;
use recseal::config::{catalog_in, keys_in};
use recseal::domain::RecordingId;
use recseal::flow::crash::CRASH_POINTS;
use recseal::seal::{SealedReader, peek_prefix};
use serde_json::{Value, json};

use crate::common::daemon::{Daemon, program};
use crate::common::marker::Marker;

const PASSPHRASE: &str = "correct horse battery staple";

/// The machine that will open: nothing of the recorder is there but what is carried over.
struct Holder {
    folder: tempfile::TempDir,
}

impl Holder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("passphrase"), format!("{PASSPHRASE}\n")).unwrap();
        Self { folder }
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn run(&self, args: &[&str]) -> Output {
        program().args(args).current_dir(self.folder.path()).output().unwrap()
    }

    /// A pair `name` and `name.pub`; the id.
    fn generate(&self, name: &str, more: &[&str]) -> String {
        let made =
            self.run(&[&["keys", "seal-keys", "generate", "-o", name, "--json"], more].concat());
        assert!(made.status.success(), "{made:?}");
        let answer: Value = serde_json::from_slice(&made.stdout).unwrap();
        answer["id"].as_str().unwrap().to_owned()
    }

    /// Opens `sealed` with `key` and `private`, offline.
    fn open(&self, sealed: &Path, private: &str) -> Result<Vec<u8>, Output> {
        let out = self.at("opened");
        let opened = self.run(&[
            "open",
            sealed.to_str().unwrap(),
            "--key",
            "key",
            "--seal-key",
            private,
            "--passphrase-file",
            "passphrase",
            "-o",
            &out,
            "--force",
        ]);
        if opened.status.success() { Ok(std::fs::read(out).unwrap()) } else { Err(opened) }
    }
}

/// A recorder whose first store seals to `archive`, and whose second one opens what it seals.
struct Recorder {
    daemon: Daemon,
    folder: tempfile::TempDir,
}

impl Recorder {
    fn start() -> Self {
        let mut recorder = Self::at_rest("");
        recorder.daemon.start_again();
        recorder
    }

    /// With this line about the store that seals to `archive`.
    fn at_rest(about_sealed: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (sealed, open) = (folder.path().join("sealed"), folder.path().join("open"));
        std::fs::create_dir(&sealed).unwrap();
        std::fs::create_dir(&open).unwrap();
        let config = folder.path().join("recseal.toml");
        let store = |path: &Path, more: &str| {
            format!(
                "[[store]]\npath = {path:?}\nsettle = \"1s\"\npoll_settle = \"1s\"\n\
                 unfinished_wait = \"2s\"\npair_within = \"30s\"\n{more}\n"
            )
        };
        let text = format!(
            "[vault]\nreserve = \"1MiB\"\n[ingest]\nreconcile_every = \"2s\"\n{}{}",
            store(&sealed, &format!("seal_to = \"archive\"\n{about_sealed}")),
            store(&open, ""),
        );
        std::fs::write(&config, text).unwrap();
        let daemon = Daemon::at_rest(None, &["--config", config.to_str().unwrap()]);
        Self { daemon, folder }
    }

    fn sealed(&self, name: &str) -> PathBuf {
        self.folder.path().join("sealed").join(name)
    }

    fn open(&self, name: &str) -> PathBuf {
        self.folder.path().join("open").join(name)
    }

    fn add(&self, holder: &Holder, verb: &str, name: &str) {
        let file = holder.at(&format!("{name}.pub"));
        self.daemon.json(&["keys", "seal-keys", verb, "archive", &file]);
    }

    /// What a sealed file holds, for who has the private half and the row.
    fn opened(&self, id: &str, kind: &str, private: &SealPrivateKey) -> Vec<u8> {
        let key = self.folder.path().join(format!("{id}.key"));
        self.daemon.json(&["keys", "export", id, "-o", key.to_str().unwrap(), "--force"]);
        let key = SealedKeyFile::from_text(&std::fs::read_to_string(key).unwrap()).unwrap();
        let sealed = File::open(self.copy(id, kind)).unwrap();
        let prefix = peek_prefix(&sealed).unwrap();
        let reader =
            SealedReader::open(&key.open(private, prefix.data_key.0).unwrap(), sealed).unwrap();
        let mut plaintext = vec![0; reader.plain_bytes() as usize];
        assert_eq!(reader.read_at(&mut plaintext, 0).unwrap(), plaintext.len());
        plaintext
    }

    /// Waits until a recording of this name is stored and its original gone; its id.
    fn expect_stored(&mut self, name: &str) -> String {
        let found = |daemon: &Daemon| {
            let all = daemon.json(&["recordings", "--state-is", "available"]);
            let all = all.as_array().unwrap().clone();
            let one = all.into_iter().find(|one| one["original_name"] == name)?;
            let id = one["id"].as_str().unwrap().to_owned();
            let shown = daemon.json(&["recordings", "show", &id]);
            shown["original"].is_object().then_some(id)
        };
        self.daemon.wait_until(&format!("{name} is stored"), |daemon| found(daemon).is_some());
        found(&self.daemon).unwrap()
    }

    /// The sealed copy of this kind, on disk.
    fn copy(&self, id: &str, kind: &str) -> PathBuf {
        let shown = self.daemon.json(&["recordings", "show", id]);
        let copies = shown["copies"].as_array().unwrap();
        let copy = copies.iter().find(|copy| copy["kind"] == kind).expect("a copy of this kind");
        let path = copy["path"].as_str().unwrap();
        let places = [self.daemon.vault().join(path), self.sealed(path)];
        places.into_iter().find(|place| place.is_file()).expect("the copy is on disk")
    }

    fn refusal(&self, args: &[&str]) -> (Option<i32>, String) {
        let refused = self.daemon.recseal(args);
        (refused.status.code(), String::from_utf8(refused.stderr).unwrap())
    }

    fn count(&self, activity: &str) -> usize {
        self.daemon.json(&["audit", "--activity", activity]).as_array().unwrap().len()
    }
}

/// The whole journey: generated elsewhere, added, recorded, refused here, opened there, erased.
#[test]
fn what_a_recorder_seals_to_another_machine_opens_there_and_nowhere_else() {
    let holder = Holder::new();
    let id = holder.generate("archive", &["--passphrase-file", "passphrase"]);
    let mut recorder = Recorder::start();
    let (call, other) = (Marker::new().wav(2), Marker::new().wav(1));
    std::fs::write(recorder.sealed("call.wav"), &call).unwrap();
    std::fs::write(recorder.open("other.wav"), &other).unwrap();

    // Without its seal key a store waits, and says so; the other store goes on.
    let here = recorder.expect_stored("other.wav");
    let warnings = recorder.daemon.json(&["status"])["warnings"].clone();
    let is_told = |warning: &Value| warning["code"] == "seal-key-missing";
    assert!(warnings.as_array().unwrap().iter().any(is_told), "{warnings}");
    assert!(recorder.sealed("call.wav").exists());
    recorder.add(&holder, "add", "archive");
    let far = recorder.expect_stored("call.wav");
    assert!(!recorder.sealed("call.wav").exists());

    // This host has no key: whatever wants one is refused, with the way out.
    let out = holder.at("out");
    for args in [&["open", &far, "-o", &out][..], &["verify", &far]] {
        let (code, said) = recorder.refusal(args);
        assert_eq!(code, Some(5), "{args:?}: {said}");
        assert!(said.contains(&id) && said.contains("--seal-key"), "{said}");
    }
    let shown = recorder.daemon.json(&["recordings", "show", &far]);
    assert_eq!(shown["sealed_to"], json!({ "id": id, "name": "archive" }));
    assert!(recorder.daemon.json(&["recordings", "show", &here]).get("sealed_to").is_none());
    assert!(recorder.daemon.recseal(&["verify", &here]).status.success());

    // A sidecar that comes when nobody has the key any more.
    let who = Marker::new();
    std::fs::write(recorder.sealed("call.json"), who.text()).unwrap();
    recorder.daemon.wait_until("the sidecar is sealed", |daemon| {
        !daemon.json(&["audit", "--activity", "SIDECAR_REMOVED"]).as_array().unwrap().is_empty()
    });

    // The key file goes to the other machine and opens media, peaks and sidecar there.
    recorder.daemon.json(&["keys", "export", &far, "-o", &holder.at("key")]);
    assert_eq!(recorder.count("KEY_EXPORTED"), 1);
    let media = recorder.copy(&far, "media");
    assert!(holder.open(&media, "archive").unwrap() == call);
    assert!(
        holder.open(&recorder.copy(&far, "sidecar"), "archive").unwrap() == who.text().as_bytes()
    );
    assert!(!holder.open(&recorder.copy(&far, "peaks"), "archive").unwrap().is_empty());
    let verified = holder.run(&[
        "verify",
        media.to_str().unwrap(),
        "--key",
        "key",
        "--seal-key",
        "archive",
        "--passphrase-file",
        "passphrase",
    ]);
    assert!(verified.status.success(), "{verified:?}");

    // The wrong private key, and none.
    holder.generate("stranger", &["--unprotected"]);
    let refused = holder.open(&media, "stranger").unwrap_err();
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    let alone = holder.run(&["open", media.to_str().unwrap(), "--key", "key", "-o", "x"]);
    assert_eq!(alone.status.code(), Some(5), "{alone:?}");
    assert!(!holder.folder.path().join("x").exists());

    // Nothing of it lies in clear on the recorder, and no private half in its state folder.
    assert_eq!(who.count_in_tree(&recorder.daemon.state()), 0);
    erase_the_row(&mut recorder, &holder, &far, &media);
}

/// Where the row is gone, the private key and the sealed file open nothing.
fn erase_the_row(recorder: &mut Recorder, holder: &Holder, id: &str, media: &Path) {
    let kept = holder.folder.path().join("media.sealed");
    std::fs::copy(media, &kept).unwrap();
    assert!(recorder.daemon.stop().success());
    let catalog = Catalog::open(&catalog_in(&recorder.daemon.state())).unwrap();
    let recording = RecordingId(id.parse().unwrap());
    assert_eq!(catalog.read(|tx| tx.sidecar_keys(recording)).unwrap().len(), 1);
    row::destroy(&catalog, recording);
    assert_eq!(catalog.read(|tx| tx.stored_key(recording)).unwrap(), None);
    assert!(catalog.read(|tx| tx.sidecar_keys(recording)).unwrap().is_empty());
    catalog.close().unwrap();
    recorder.daemon.start_again();
    let exported = recorder.refusal(&["keys", "export", id, "-o", &holder.at("late")]);
    assert_eq!(exported.0, Some(6), "{}", exported.1);
    let alone = holder.run(&[
        "open",
        kept.to_str().unwrap(),
        "--seal-key",
        "archive",
        "--passphrase-file",
        "passphrase",
        "--state",
        recorder.daemon.state().to_str().unwrap(),
        "-o",
        "x",
    ]);
    assert_eq!(alone.status.code(), Some(6), "{alone:?}");
}

mod row {
    //! What an erasure does to the row, through the catalog's own methods.

    use recseal::catalog::Catalog;
    use recseal::clock::Timestamp;
    use recseal::compliance::audit::{Activity, Actor, AuditEntry};
    use recseal::domain::RecordingId;
    use recseal::domain::lifecycle::RecordingEvent;

    pub(super) fn destroy(catalog: &Catalog, id: RecordingId) {
        let now = Timestamp::from_millis(2_000_000_000_000);
        let entry = AuditEntry::new(now, Actor::DAEMON, Activity::RecordingSealed).on_recording(id);
        let done = catalog.write(|tx| {
            tx.advance(id, RecordingEvent::ErasureStarted, &entry)?;
            tx.destroy_key(id)
        });
        assert!(done.unwrap());
    }
}

/// Killed at every named place, it ends with everything stored once, openable far away, although
/// nobody here has the keys of what was half done. Planted fault: no digest noted with `Sealed`
/// (an original stays for ever at `ingest.sealed_recorded`).
#[test]
fn whoever_dies_at_a_named_place_loses_nothing() {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(place) = CRASH_POINTS.get(next.fetch_add(1, Ordering::SeqCst)) {
                    dies_at(place);
                }
            });
        }
    });
}

fn dies_at(place: &str) {
    let layout = if place.len().is_multiple_of(2) { "vault" } else { "beside" };
    let private = SealPrivateKey::generate(SealAlgorithm::X25519);
    let mut recorder = Recorder::at_rest(&format!("layout = \"{layout}\""));
    let state = recorder.daemon.state();
    let names = ["localhost".to_owned()];
    let keys = KeyManager::create(&keys_in(&state), &names, 1_795_000_000_000).unwrap();
    keys.add_seal_key("archive", private.public(), 0).unwrap();
    drop(keys);
    let (call, who, other) = (Marker::new().wav(2), Marker::new(), Marker::new().wav(1));
    std::fs::write(recorder.sealed("call.json"), who.text()).unwrap();
    std::fs::write(recorder.sealed("call.wav"), &call).unwrap();
    std::fs::write(recorder.sealed("other.wav"), &other).unwrap();
    recorder.daemon.begin(&[("RECSEAL_CRASH_AT", &format!("{place}:1"))]);
    let status = recorder.daemon.wait_for_end(place);
    assert_eq!(status.signal(), Some(9), "{place}\n{}", recorder.daemon.log());

    recorder.daemon.start_again();
    let ids = ["call.wav", "other.wav"].map(|name| recorder.expect_stored(name));
    let waits = recorder.sealed("call.json");
    recorder.daemon.wait_until("the sidecar is stored", |_| !waits.exists());
    assert_eq!(recorder.daemon.json(&["recordings"]).as_array().unwrap().len(), 2, "{place}");
    assert!(recorder.opened(&ids[0], "media", &private) == call, "{place}");
    assert!(recorder.opened(&ids[1], "media", &private) == other, "{place}");
    assert!(recorder.opened(&ids[0], "sidecar", &private) == who.text().as_bytes(), "{place}");
}

/// Old rows keep the version they have, a disabled key seals nothing, and an announcement is checked.
#[test]
fn a_new_version_is_for_new_recordings_only() {
    let holder = Holder::new();
    let first = holder.generate("first", &["--unprotected"]);
    let second = holder.generate("second", &["--unprotected", "--algorithm", "x-wing"]);
    let mut recorder = Recorder::start();
    recorder.add(&holder, "add", "first");
    let (one, two) = (Marker::new().wav(1), Marker::new().wav(1));
    std::fs::write(recorder.sealed("one.wav"), &one).unwrap();
    let id_one = recorder.expect_stored("one.wav");
    recorder.add(&holder, "rotate", "second");
    std::fs::write(recorder.sealed("two.wav"), &two).unwrap();
    let id_two = recorder.expect_stored("two.wav");

    // A restart forgets nothing of it.
    assert!(recorder.daemon.stop().success());
    recorder.daemon.start_again();
    for (id, wav, private, wrong, seal_key) in
        [(&id_one, &one, "first", "second", &first), (&id_two, &two, "second", "first", &second)]
    {
        let shown = recorder.daemon.json(&["recordings", "show", id]);
        assert_eq!(shown["sealed_to"]["id"], **seal_key);
        recorder.daemon.json(&["keys", "export", id, "-o", &holder.at("key"), "--force"]);
        let media = recorder.copy(id, "media");
        assert!(holder.open(&media, private).unwrap() == *wav);
        assert_eq!(holder.open(&media, wrong).unwrap_err().status.code(), Some(4));
    }
    let listed = recorder.daemon.json(&["keys", "seal-keys", "list"]);
    let states: Vec<_> = listed[0]["versions"].as_array().unwrap().iter().collect();
    assert_eq!((&states[0]["id"], &states[0]["state"]), (&json!(first), &json!("retired")));
    assert_eq!((&states[1]["id"], &states[1]["state"]), (&json!(second), &json!("current")));
    assert_eq!((&states[0]["data_keys"], &states[1]["data_keys"]), (&json!(1), &json!(1)));
    announced(&recorder, &holder);
    disabled(&mut recorder);
}

/// The public half travels on with a signature that the next recorder checks.
fn announced(recorder: &Recorder, holder: &Holder) {
    let (public, signers) = (holder.at("announced.pub"), holder.at("signers.pem"));
    recorder.daemon.json(&["keys", "seal-keys", "public", "archive", "-o", &public]);
    recorder.daemon.json(&["keys", "public", "-o", &signers]);
    let next = Recorder::start();
    let add = ["keys", "seal-keys", "add", "archive", &public, "--announced-by"];
    let stranger = holder.at("stranger.pem");
    next.daemon.json(&["keys", "public", "-o", &stranger]);
    let (code, said) = next.refusal(&[&add[..], &[&stranger]].concat());
    assert_eq!(code, Some(5), "{said}");
    next.daemon.json(&[&add[..], &[&signers]].concat());
    let (code, said) = next.refusal(&["keys", "seal-keys", "add", "archive", &public]);
    assert_eq!(code, Some(5), "{said}");
    assert_eq!(next.count("SEAL_KEY_CHANGED"), 1);
}

fn disabled(recorder: &mut Recorder) {
    let (code, _) = recorder.refusal(&["keys", "seal-keys", "disable", "archive"]);
    assert_eq!(code, Some(5), "without --yes");
    recorder.daemon.json(&["keys", "seal-keys", "disable", "archive", "--yes"]);
    std::fs::write(recorder.sealed("three.wav"), Marker::new().wav(1)).unwrap();
    std::fs::write(recorder.open("four.wav"), Marker::new().wav(1)).unwrap();
    recorder.expect_stored("four.wav");
    assert!(recorder.sealed("three.wav").exists(), "sealed to a disabled key");
    recorder.daemon.json(&["keys", "seal-keys", "enable", "archive"]);
    recorder.expect_stored("three.wav");
    assert_eq!(recorder.refusal(&["keys", "seal-keys", "enable", "nobody"]).0, Some(6));
}
