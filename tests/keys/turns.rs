//! What turns (certificate, key-encryption key with the end of the one before, root key) while the
//! program is killed, and on disks that take nothing more. There is always a pair that serves and
//! a way to every data key, and never an older state than before.
//!
//! `RECSEAL_TURN_KILLS=1000` kills that often: some 5,000 turns, the long form. The short one has
//! a thousand.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use keymanager::{
    CertificateChange, Destruction, KeyError, KeyManager, KeyState, KeyWarning, Means,
    RotationReason, Unlock, WrappedKey,
};
use uuid::Uuid;

use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

use crate::common::loop_fs::LoopFs;
use crate::common::or_skip;

/// Planted faults: `live` flipped before the generation is written stays unseen here, because the
/// store falls back by itself; the tests of `store`, which cut power at each step, see it.
/// `root.key` and slot table stored without the old root key is seen at once.
#[test]
fn whoever_is_killed_while_keys_turn_has_a_usable_pair() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("keys");
    let keys = KeyManager::create(&folder, &["localhost".to_owned()], START_MS).unwrap();
    let witness = Witness::of(&keys);
    drop(keys);
    let (mut generation, mut turns) = (1, 0);
    for kill in 0..kills() {
        let mut turning = start(&folder);
        let mut said = BufReader::new(turning.stderr.take().unwrap()).lines();
        // What is being turned when it dies is another thing each time.
        let whole = 4 + (kill % 3) as usize;
        let told: Vec<String> = said.by_ref().take(whole).map(Result::unwrap).collect();
        assert_eq!(told, vec!["turned"; whole], "kill {kill}");
        // Spread over the steps of a turn by their number, so that every step has its kill.
        pause(Duration::from_micros(kill * 797 % TURN_MICROS));
        turning.kill().unwrap();
        assert_eq!(turning.wait().unwrap().signal(), Some(9), "it ended by itself");
        turns += whole + said.map_while(Result::ok).filter(|line| line == "turned").count();
        let keys = KeyManager::open(&folder, &Unlock::File)
            .unwrap_or_else(|error| panic!("kill {kill}: {error:?}"));
        must_serve(&keys);
        witness.must_be_content(&keys);
        let warnings = keys.warnings();
        assert_eq!(warnings, [KeyWarning::NoRecoverySlot], "kill {kill}: something is left over");
        drop(keys);
        let now = live(&folder);
        assert!(now >= generation, "kill {kill}: went back from {generation} to {now}");
        generation = now;
    }
    println!("{} kills in {turns} turns and {generation} generations, all usable", kills());
}

/// The child of the test above: turns until it is killed.
#[test]
fn turns_until_it_is_killed() {
    let Some(folder) = told() else { return };
    let keys = KeyManager::open(&folder, &Unlock::File).unwrap();
    for number in 0.. {
        match number % 3 {
            // Far enough ahead of the one that serves, whatever the killed ones had come to.
            0 => drop(turn(&keys).unwrap()),
            1 => turn_kek(&keys).unwrap(),
            _ => turn_root(&keys).unwrap(),
        }
        eprintln!("turned");
    }
}

/// Full: each turn fails, the old state serves, also after a restart on the full disk, and once
/// there is room the next turn works. Read-only: the old state serves. Meant to catch: published
/// before it was stored.
#[test]
fn a_disk_that_takes_nothing_leaves_the_old_one_serving() {
    let disk = or_skip!(LoopFs::make("ext4", "errors=remount-ro", &[]));
    let folder = disk.path().join("keys");
    let mut keys = KeyManager::create(&folder, &["localhost".to_owned()], START_MS).unwrap();
    let witness = Witness::of(&keys);
    turn_kek(&keys).unwrap();
    let filler = disk.path().join("filler");
    fill(&filler);
    nothing_turns(&keys, &witness);
    drop(keys);
    keys = KeyManager::open(&folder, &Unlock::File).unwrap();
    nothing_turns(&keys, &witness);
    fs::File::create(&filler).unwrap();

    assert!(matches!(turn(&keys), Ok(CertificateChange::Renewed { .. })));
    turn_kek(&keys).unwrap();
    turn_root(&keys).unwrap();
    assert_eq!(keys.warnings(), [KeyWarning::NoRecoverySlot]);
    witness.must_be_content(&keys);

    // What a failing disk does: the file system goes read-only under the running program.
    let device = disk.device().file_name().unwrap().to_str().unwrap();
    fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1").unwrap();
    nothing_turns(&keys, &witness);
}

/// Every turn is refused by the disk, and what was before is what is used.
fn nothing_turns(keys: &KeyManager, witness: &Witness) {
    let (before, version) = (keys.tls().facts(), keys.active_version());
    assert!(matches!(turn(keys), Err(KeyError::Disk { .. })));
    assert!(matches!(turn_kek(keys), Err(KeyError::Disk { .. })));
    assert!(matches!(turn_root(keys), Err(KeyError::Disk { .. })));
    assert_eq!((keys.tls().facts(), keys.active_version()), (before, version));
    must_serve(keys);
    witness.must_be_content(keys);
}

/// Something that was wrapped before everything turned.
struct Witness {
    recording: Uuid,
    data_key: Uuid,
    wrapped: WrappedKey,
    handle: [u8; 32],
}

impl Witness {
    fn of(keys: &KeyManager) -> Self {
        let recording = Uuid::now_v7();
        let (data_key, wrapped) = keys.new_data_key(recording);
        let handle = keys.handle("witness", &[b"turns"]);
        Self { recording, data_key: data_key.id(), wrapped, handle }
    }

    /// The old data key opens, a new one does, one version is active, handles are the same.
    fn must_be_content(&self, keys: &KeyManager) {
        assert_eq!(keys.unwrap(self.recording, &self.wrapped).unwrap().id(), self.data_key);
        let recording = Uuid::now_v7();
        let (data_key, wrapped) = keys.new_data_key(recording);
        assert_eq!(keys.unwrap(recording, &wrapped).unwrap().id(), data_key.id());
        let versions = keys.versions();
        let active = versions.iter().filter(|info| info.state == KeyState::Active);
        assert_eq!(active.count(), 1);
        assert_eq!(keys.handle("witness", &[b"turns"]), self.handle);
    }
}

fn turn(keys: &KeyManager) -> Result<CertificateChange, KeyError> {
    let due_ms = keys.tls().facts().not_after_ms - 1_000;
    keys.ensure_certificate(due_ms)
}

/// A new version, and the end of the one before; the first one stays, because the witness needs it.
fn turn_kek(keys: &KeyManager) -> Result<(), KeyError> {
    let version = keys.active_version();
    keys.rotate_kek(START_MS, RotationReason::Manual, 0)?;
    if version > 1 {
        keys.schedule_kek_destruction(&Destruction {
            version,
            at_ms: START_MS,
            recordings: 0,
            reason: "turned".to_owned(),
            by: "uid:0".to_owned(),
        })?;
    }
    keys.destroy_due_keks(START_MS, |_| 0).map(drop)
}

fn turn_root(keys: &KeyManager) -> Result<(), KeyError> {
    keys.rotate_root(&Means::default(), false).map(drop)
}

/// A client that trusts this certificate alone comes through to the first byte.
fn must_serve(keys: &KeyManager) {
    let mut roots = RootCertStore::empty();
    let pem = keys.tls().chain_pem();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let begins = Duration::from_millis(keys.tls().facts().not_before_ms.unsigned_abs());
    let client = ClientConfig::builder_with_details(provider, Arc::new(At(begins)))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(keys.tls().current()).unwrap();
    let mut heard = [0; 5];
    server.writer().write_all(b"hello").unwrap();
    while client.reader().read_exact(&mut heard).is_err() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets().unwrap();
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        assert!(!wire.is_empty() || client.is_handshaking(), "the handshake stopped");
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets().unwrap();
    }
    assert_eq!(&heard, b"hello");
}

#[derive(Debug)]
struct At(Duration);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0))
    }
}

fn live(folder: &Path) -> u64 {
    let target = fs::read_link(folder.join("live")).unwrap();
    target.to_str().and_then(|name| name.strip_prefix("gen-")).unwrap().parse().unwrap()
}

fn start(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "turns::turns_until_it_is_killed", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    let block = vec![7; 1 << 16];
    while file.write_all(&block).is_ok() {}
    while file.write_all(&block[..1]).is_ok() {}
    let _ = file.sync_all();
}

#[expect(clippy::disallowed_methods, reason = "how the test tells its child what to do")]
fn told() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

#[expect(clippy::disallowed_methods, reason = "the length of the soak")]
fn kills() -> u64 {
    std::env::var("RECSEAL_TURN_KILLS").map_or(210, |kills| kills.parse().unwrap())
}

#[expect(clippy::disallowed_methods, reason = "a kill at a random moment is what is tested")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Longer than the longest turn.
const TURN_MICROS: u64 = 30_000;
const FOLDER: &str = "RECSEAL_TEST_TURN_FOLDER";
const START_MS: i64 = 1_795_000_000_000;
