use super::*;

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

use crate::hex;
use zeroize::Zeroizing;

use crate::{KeyState, SlotKind, verify_signature};

const NOW_MS: i64 = 1_795_000_000_000;
const DAY_MS: i64 = 86_400_000;
/// In the last third of the first certificate.
const LATER_MS: i64 = NOW_MS + 300 * DAY_MS;

fn names() -> Vec<String> {
    vec!["localhost".to_owned(), "127.0.0.1".to_owned()]
}

/// A state folder with a key store in `keys`.
fn created() -> (tempfile::TempDir, PathBuf, KeyManager) {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("keys");
    let keys = KeyManager::create(&folder, &names(), NOW_MS).unwrap();
    (state, folder, keys)
}

fn passphrase(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

#[test]
fn what_was_created_opens_again() {
    fn shared<T: Send + Sync>(_: &T) {}
    let (_state, folder, keys) = created();
    shared(&keys);
    let recording = Uuid::now_v7();
    let (data_key, wrapped) = keys.new_data_key(recording);
    let signature = keys.sign("test", b"message");
    let public = keys.public_signing_keys();
    assert!(matches!(KeyManager::create(&folder, &names(), 0), Err(KeyError::Exists)));
    assert!(matches!(KeyManager::open(&folder, &Unlock::File), Err(KeyError::InUse)));
    drop(keys);

    let keys = KeyManager::open(&folder, &Unlock::File).unwrap();
    assert_eq!(keys.unwrap(recording, &wrapped).unwrap().id(), data_key.id());
    assert_eq!(keys.public_signing_keys(), public);
    verify_signature(&public, "test", b"message", &signature).unwrap();
    let [version] = keys.versions()[..] else { panic!("one version") };
    assert_eq!((version.version, version.state), (1, KeyState::Active));
    assert_eq!(keys.warnings(), [KeyWarning::NoRecoverySlot]);
    assert!(matches!(
        KeyManager::open(&folder.join("none"), &Unlock::File),
        Err(KeyError::NoStore)
    ));
}

/// Planted fault: without `.creating`, a crash leaves a folder that neither opens nor can be made.
#[test]
fn a_crash_while_creating_leaves_a_store_or_nothing() {
    for at in 0.. {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("keys");
        let (said, done) = disk::crash::run(at, || KeyManager::create(&folder, &names(), NOW_MS));
        assert!(said.is_err() || KeyManager::exists(&folder), "step {at}");
        drop(said);
        let keys = if KeyManager::exists(&folder) {
            KeyManager::open(&folder, &Unlock::File)
        } else {
            KeyManager::create(&folder, &names(), NOW_MS)
        };
        keys.unwrap_or_else(|error| panic!("step {at}: {error}"));
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1, "step {at}: leftovers");
        if done {
            assert!(at > 12, "only {at} steps were ever planned");
            return;
        }
    }
}

#[test]
fn a_passphrase_opens_when_the_key_file_is_lost() {
    let (_state, folder, keys) = created();
    let [file_slot] = &keys.slots()[..] else { panic!("one slot") };
    assert!(matches!(keys.remove_slot(file_slot.id), Err(KeyError::LastSlot { .. })));
    let good = passphrase("correct horse battery");
    let added = keys.add_passphrase_slot(&good, NOW_MS).unwrap();
    assert_eq!(added.kind, SlotKind::Passphrase);
    assert_eq!(keys.warnings(), []);
    keys.remove_slot(file_slot.id).unwrap();
    assert_eq!(keys.warnings(), [KeyWarning::NoUnattendedSlot]);
    assert!(!folder.join("root.key").exists());
    drop(keys);
    let no_file = KeyManager::open(&folder, &Unlock::File);
    assert!(matches!(no_file, Err(KeyError::NoSuchSlot { kind: SlotKind::File })));
    let wrong = KeyManager::open(&folder, &Unlock::Passphrase(passphrase("wrong horse battery")));
    assert!(matches!(wrong, Err(KeyError::WrongPassphrase)));
    KeyManager::open(&folder, &Unlock::Passphrase(good)).unwrap();
}

/// Planted fault: sweeping before the table has proved to be ours, which destroys `root.key` on
/// the word of a table that has no file slot.
#[test]
fn the_slots_of_another_store_are_refused_and_cost_nothing() {
    let (_ours, folder, keys) = created();
    let (_theirs, other_folder, other) = created();
    let own_table = fs::read(folder.join("slots.json")).unwrap();
    let good = passphrase("correct horse battery");
    let file_slot = other.slots()[0].id;
    other.add_passphrase_slot(&good, NOW_MS).unwrap();
    other.remove_slot(file_slot).unwrap();
    drop((keys, other));
    fs::copy(other_folder.join("slots.json"), folder.join("slots.json")).unwrap();
    let foreign = KeyManager::open(&folder, &Unlock::Passphrase(good));
    assert!(matches!(foreign, Err(KeyError::ForeignSlots)));
    fs::write(folder.join("slots.json"), own_table).unwrap();
    KeyManager::open(&folder, &Unlock::File).unwrap();
}

/// Planted fault: the contents written without sealing.
#[test]
fn the_folder_at_rest_holds_no_usable_key() {
    let (_state, folder, keys) = created();
    keys.add_passphrase_slot(&passphrase("correct horse battery"), NOW_MS).unwrap();
    keys.ensure_certificate(LATER_MS).unwrap();
    let contents = keys.contents.load_full();
    let root_key = hex::decode(fs::read_to_string(folder.join("root.key")).unwrap().trim());
    let root = *keys.writer().root.expose_bytes();
    let secrets: [&[u8]; 6] = [
        &root,
        contents.keyring.expose_newest(),
        contents.signing[0].expose_seed(),
        contents.handle_key().expose_key(),
        // The 32 bytes of the private scalar within the PKCS#8 of a P-256 key.
        &contents.tls.expose_key()[36..68],
        &root_key.unwrap(),
    ];
    let mut files = Vec::new();
    for_each_file(&folder, &mut |path, mode, bytes| {
        files.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        assert_eq!(mode & 0o077, 0, "{path:?} is open to others");
        for (number, secret) in secrets.iter().enumerate() {
            let allowed = number == 5 && path.ends_with("root.key");
            let found =
                contains(&bytes, secret) || contains(&bytes, hex::encode(secret).as_bytes());
            assert_eq!(found, allowed, "secret {number} in {path:?}");
        }
        assert!(!contains(&bytes, b"correct horse"), "the passphrase in {path:?}");
    });
    files.sort();
    assert_eq!(files, [".lock", "root.key", "slots.json", "store.bin", "store.bin"]);
}

fn for_each_file(folder: &Path, visit: &mut dyn FnMut(&Path, u32, Vec<u8>)) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (path, metadata) = (entry.path(), entry.metadata().unwrap());
        if metadata.is_dir() {
            assert_eq!(metadata.mode() & 0o077, 0, "{path:?} is open to others");
            for_each_file(&path, visit);
        } else if metadata.is_file() {
            visit(&path, metadata.mode(), fs::read(&path).unwrap());
        }
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn files_open_to_others_are_reported_and_used() {
    let (_state, folder, keys) = created();
    drop(keys);
    fs::set_permissions(folder.join("root.key"), fs::Permissions::from_mode(0o640)).unwrap();
    let keys = KeyManager::open(&folder, &Unlock::File).unwrap();
    let warning = KeyWarning::OpenToOthers { what: "root.key", mode: 0o640 };
    assert!(keys.warnings().contains(&warning), "{:?}", keys.warnings());
}

#[test]
fn a_damaged_store_is_told() {
    let (_state, folder, keys) = created();
    keys.ensure_certificate(LATER_MS).unwrap();
    drop(keys);
    fs::write(folder.join("gen-2/store.bin"), b"damaged").unwrap();
    let keys = KeyManager::open(&folder, &Unlock::File).unwrap();
    assert!(keys.warnings().contains(&KeyWarning::DamagedGeneration { generation: 2 }));
}

/// A connection made before the renewal lives on; the next one sees the new certificate, and no
/// session is resumed under the old one. Planted faults: the configuration not published after
/// it was stored; published but not stored.
#[test]
fn a_renewal_breaks_no_connection() {
    let (_state, folder, keys) = created();
    assert_eq!(keys.ensure_certificate(NOW_MS).unwrap(), CertificateChange::None);
    let old_client = client(&keys, NOW_MS);
    let mut open_connection = connect(&keys, &old_client).unwrap();
    let old = keys.tls().facts();

    let change = keys.ensure_certificate(LATER_MS).unwrap();
    let reason = RenewalReason::LastThird;
    let not_after_ms = NOW_MS - 3_600_000 + 665 * DAY_MS;
    assert_eq!(change, CertificateChange::Renewed { reason, not_after_ms });
    exchange(&mut open_connection);
    assert!(connect(&keys, &old_client).is_err(), "resumed or served the old certificate");
    exchange(&mut connect(&keys, &client(&keys, LATER_MS)).unwrap());
    assert_ne!(keys.tls().facts().sha256, old.sha256);
    let new = keys.tls().facts();
    drop(keys);
    assert_eq!(KeyManager::open(&folder, &Unlock::File).unwrap().tls().facts(), new);
}

#[test]
fn a_renewal_that_cannot_be_stored_changes_nothing() {
    for at in 0.. {
        let (_state, _folder, keys) = created();
        let old = keys.tls().facts();
        let (said, done) = disk::crash::run(at, || keys.ensure_certificate(LATER_MS));
        assert_eq!(said.is_err(), keys.tls().facts() == old, "step {at}");
        let now_ms = if said.is_err() { NOW_MS } else { LATER_MS };
        connect(&keys, &client(&keys, now_ms)).unwrap();
        if done {
            return;
        }
    }
}

type Connection = (ClientConnection, ServerConnection);

/// Trusts the certificate that is served now, and believes it is `now_ms`.
fn client(keys: &KeyManager, now_ms: i64) -> Arc<ClientConfig> {
    #[derive(Debug)]
    struct At(UnixTime);
    impl TimeProvider for At {
        fn current_time(&self) -> Option<UnixTime> {
            Some(self.0)
        }
    }
    let since_1970 = std::time::Duration::from_millis(now_ms.unsigned_abs());
    let time = Arc::new(At(UnixTime::since_unix_epoch(since_1970)));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    let pem = keys.tls().chain_pem();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_details(provider, time);
    let config = config.with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

fn connect(keys: &KeyManager, client: &Arc<ClientConfig>) -> Result<Connection, rustls::Error> {
    let name = ServerName::try_from("localhost").unwrap();
    let client = ClientConnection::new(Arc::clone(client), name)?;
    let mut connection = (client, ServerConnection::new(keys.tls().current())?);
    while connection.0.is_handshaking() || connection.1.is_handshaking() {
        shuttle(&mut connection)?;
    }
    shuttle(&mut connection)?;
    Ok(connection)
}

fn shuttle((client, server): &mut Connection) -> Result<(), rustls::Error> {
    let mut wire = Vec::new();
    client.write_tls(&mut wire).unwrap();
    server.read_tls(&mut wire.as_slice()).unwrap();
    server.process_new_packets()?;
    wire.clear();
    server.write_tls(&mut wire).unwrap();
    client.read_tls(&mut wire.as_slice()).unwrap();
    client.process_new_packets()?;
    Ok(())
}

fn exchange(connection: &mut Connection) {
    use std::io::{Read, Write};
    connection.0.writer().write_all(b"hello").unwrap();
    shuttle(connection).unwrap();
    let mut heard = [0; 5];
    connection.1.reader().read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
}

/// Planted faults: the bytes shown by `Debug` of `Secret` and of `HexBytes`.
#[test]
fn debug_shows_no_secret() {
    let (_state, folder, keys) = created();
    let unlock = Unlock::Passphrase(passphrase("correct horse battery"));
    let (data_key, wrapped) = keys.new_data_key(Uuid::now_v7());
    let contents = keys.contents.load_full();
    let writer = keys.writer();
    let mut shown = format!("{unlock:?} {data_key:?} {wrapped:?} {:?} {:?}", keys.tls(), contents);
    shown += &format!("{:?} {:?} {:?}", writer.slots, writer.store, writer.slots.infos());
    drop(writer);
    let error = keys.unwrap(Uuid::now_v7(), &wrapped).unwrap_err();
    shown += &format!("{keys:?} {error:?} {:?}", keys.sign("test", b"").key_id);
    let root = *keys.writer().root.expose_bytes();
    let secrets = [
        root.as_slice(),
        contents.keyring.expose_newest(),
        contents.signing[0].expose_seed(),
        contents.handle_key().expose_key(),
        data_key.secret().expose_bytes(),
        &contents.tls.expose_key()[36..68],
        &wrapped.as_bytes()[20..],
    ];
    for (number, secret) in secrets.iter().enumerate() {
        let list = format!("{secret:?}");
        let numbers = list.trim_matches(['[', ']']);
        for form in [numbers, &hex::encode(secret)] {
            assert!(!shown.contains(&form[..form.len().min(40)]), "secret {number} shown");
        }
    }
    assert!(!shown.contains("horse"));
    assert!(!format!("{keys:?}").contains(folder.to_str().unwrap()));
}
