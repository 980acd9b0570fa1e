//! What turns (certificate, key-encryption key) while the program is killed, and on disks that
//! take nothing more. There is always a pair that serves, and never an older one than before.
//!
//! `RECSEAL_TURN_KILLS=250` kills that often.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use keymanager::{CertificateChange, KeyError, KeyManager, KeyWarning, Unlock};

use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

use crate::common::loop_fs::LoopFs;
use crate::common::or_skip;

/// Planted fault that stays unseen here: `live` flipped before the generation is written; the store
/// falls back by itself. The tests of `store`, which cut power at each step, see it.
#[test]
fn whoever_is_killed_while_keys_turn_has_a_usable_pair() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("keys");
    drop(KeyManager::create(&folder, &["localhost".to_owned()], START_MS).unwrap());
    let mut generation = 1;
    for kill in 0..kills() {
        let mut turning = start(&folder);
        let mut said = BufReader::new(turning.stderr.take().unwrap()).lines();
        let turns: Vec<String> = said.by_ref().take(5).map(Result::unwrap).collect();
        assert_eq!(turns, ["turned"; 5], "kill {kill}");
        // Spread over the steps of a turn by their number, so that every step has its kill.
        pause(Duration::from_micros(kill * 797 % 6_000));
        turning.kill().unwrap();
        assert_eq!(turning.wait().unwrap().signal(), Some(9), "it ended by itself");
        let keys = KeyManager::open(&folder, &Unlock::File)
            .unwrap_or_else(|error| panic!("kill {kill}: {error:?}"));
        must_serve(&keys);
        let damaged =
            |warning: &KeyWarning| matches!(warning, KeyWarning::DamagedGeneration { .. });
        assert!(!keys.warnings().iter().any(damaged), "kill {kill}: a half-made one was live");
        drop(keys);
        let now = live(&folder);
        assert!(now >= generation, "kill {kill}: went back from {generation} to {now}");
        generation = now;
    }
    println!("{} kills in {generation} turns, a usable pair after each", kills());
}

/// The child of the test above: turns until it is killed.
#[test]
fn turns_until_it_is_killed() {
    let Some(folder) = told() else { return };
    let keys = KeyManager::open(&folder, &Unlock::File).unwrap();
    loop {
        // Far enough ahead of the one that serves, whatever the killed ones had come to.
        turn(&keys).unwrap();
        eprintln!("turned");
    }
}

/// Full: the turn fails, the old pair serves, and once there is room the next one works. Read-only:
/// the old pair serves. Meant to catch: published before it was
/// stored.
#[test]
fn a_disk_that_takes_nothing_leaves_the_old_one_serving() {
    let disk = or_skip!(LoopFs::make("ext4", "errors=remount-ro", &[]));
    let folder = disk.path().join("keys");
    let keys = KeyManager::create(&folder, &["localhost".to_owned()], START_MS).unwrap();
    let before = keys.tls().facts();
    let filler = disk.path().join("filler");
    fill(&filler);
    assert!(matches!(turn(&keys), Err(KeyError::Disk { .. })));
    assert_eq!(keys.tls().facts(), before);
    must_serve(&keys);
    fs::File::create(&filler).unwrap();

    assert!(matches!(turn(&keys), Ok(CertificateChange::Renewed { .. })));
    let before = keys.tls().facts();

    // What a failing disk does: the file system goes read-only under the running program.
    let device = disk.device().file_name().unwrap().to_str().unwrap();
    fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1").unwrap();
    assert!(matches!(turn(&keys), Err(KeyError::Disk { .. })));
    assert_eq!(keys.tls().facts(), before);
    must_serve(&keys);
}

fn turn(keys: &KeyManager) -> Result<CertificateChange, KeyError> {
    let due_ms = keys.tls().facts().not_after_ms - 1_000;
    keys.ensure_certificate(due_ms)
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
    std::env::var("RECSEAL_TURN_KILLS").map_or(170, |kills| kills.parse().unwrap())
}

#[expect(clippy::disallowed_methods, reason = "a kill at a random moment is what is tested")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

const FOLDER: &str = "RECSEAL_TEST_TURN_FOLDER";
const START_MS: i64 = 1_795_000_000_000;
