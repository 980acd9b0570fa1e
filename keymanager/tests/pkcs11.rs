//! PKCS#11 slots with SoftHSM, which has its tokens in a folder of this test.
//!
//! SoftHSM finds the folder by an environment variable, so the tests run in child processes of
//! their own that were started with it.
#![cfg(feature = "pkcs11")]
#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use keymanager::{
    KeyError, KeyManager, Means, NewSlot, PinSource, SlotProblem, Surroundings, TokenKey, Unlock,
};

const MODULES: [&str; 2] = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so"];
const CHILD: &str = "RECSEAL_SOFTHSM_CHILD";

/// A token folder with the token `recseal`, PIN 1234, and a key store beside it.
struct Bench {
    folder: PathBuf,
    keys: KeyManager,
    module: String,
}

impl Bench {
    /// In the child: its bench. In the parent: runs the child and returns `None`.
    #[expect(clippy::disallowed_methods, reason = "SoftHSM is told by the environment")]
    fn for_test(name: &str) -> Option<Self> {
        let Some(module) = MODULES.iter().find(|module| Path::new(module).exists()) else {
            assert!(std::env::var_os("RECSEAL_TEST_ALL").is_none(), "no SoftHSM");
            println!("SKIP: no SoftHSM");
            return None;
        };
        if let Some(folder) = std::env::var_os(CHILD) {
            let folder = PathBuf::from(folder);
            let store = folder.join("store");
            let keys = KeyManager::create(&store, &["localhost".to_owned()], 0).unwrap();
            fs::write(folder.join("pin"), "1234\n").unwrap();
            return Some(Self { folder, keys, module: (*module).to_owned() });
        }
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("softhsm2.conf");
        let tokens = folder.path().join("tokens");
        fs::create_dir(&tokens).unwrap();
        let text =
            format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
        fs::write(&config, text).unwrap();
        tool(Command::new("softhsm2-util").env("SOFTHSM2_CONF", &config).args([
            "--init-token",
            "--free",
            "--label",
            "recseal",
            "--pin",
            "1234",
            "--so-pin",
            "5678",
        ]));
        tool(
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", name, "--nocapture"])
                .env("SOFTHSM2_CONF", &config)
                .env(CHILD, folder.path()),
        );
        None
    }

    fn spec(&self) -> TokenKey {
        TokenKey {
            module: self.module.clone(),
            token: "recseal".to_owned(),
            key: "root".to_owned(),
            pin: PinSource::File(self.folder.join("pin").to_str().unwrap().to_owned()),
            make_key: true,
        }
    }

    fn add(&self, spec: TokenKey) -> Result<uuid::Uuid, KeyError> {
        self.keys.add_slot(&NewSlot::Pkcs11(spec), &Surroundings::default(), 0).map(|info| info.id)
    }

    fn problem(&self, slot: uuid::Uuid) -> SlotProblem {
        match self.keys.test_slot(slot, &Means::default()).unwrap_err() {
            KeyError::Slot { source, .. } => source,
            other => panic!("{other}"),
        }
    }

    fn pkcs11_tool(&self, args: &[&str]) {
        tool(
            Command::new("pkcs11-tool")
                .args(["--module", &self.module, "--token-label", "recseal", "--login"])
                .args(["--pin", "1234"])
                .args(args),
        );
    }
}

fn tool(command: &mut Command) {
    let output = command.output().unwrap();
    let said = [&*output.stdout, &*output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
}

#[test]
fn a_token_alone_opens_the_store() {
    let Some(bench) = Bench::for_test("a_token_alone_opens_the_store") else { return };
    let slot = bench.add(bench.spec()).unwrap();
    let recording = uuid::Uuid::now_v7();
    let (data_key, wrapped) = bench.keys.new_data_key(recording);
    let file = bench.keys.slots()[0].id;
    bench.keys.remove_slot(file).unwrap();
    bench.keys.rotate_root(&Means::default(), false).unwrap();
    assert_eq!(bench.keys.slots()[0].id, slot);
    let (folder, module) = (bench.folder.clone(), bench.module.clone());
    drop(bench);
    let unlock = Unlock::Unattended(Surroundings::default());
    let keys = KeyManager::open(&folder.join("store"), &unlock).unwrap();
    assert_eq!(keys.unwrap(recording, &wrapped).unwrap().id(), data_key.id());
    // One unwrap at the start: the token may be away from then on.
    let bench = Bench { folder, keys, module };
    bench.pkcs11_tool(&["--delete-object", "--type", "secrkey", "--label", "root"]);
    assert!(matches!(bench.problem(slot), SlotProblem::NoKey));
    bench.keys.new_data_key(recording);

    // A slot whose row was copied from another does not open with that one's wrapped key.
    let table = bench.folder.join("store/slots.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&table).unwrap()).unwrap();
    bench.add(bench.spec()).unwrap();
    let fresh = fs::read_to_string(&table).unwrap();
    let fresh: serde_json::Value = serde_json::from_str(&fresh).unwrap();
    json["slots"][0]["way"] = fresh["slots"][1]["way"].clone();
    fs::write(&table, json.to_string()).unwrap();
    let folder = bench.folder.clone();
    drop(bench);
    let locked = KeyManager::open(&folder.join("store"), &unlock).unwrap_err();
    assert!(locked.to_string().contains("not its key"), "{locked}");
}

/// Each reason has words of its own.
#[test]
fn what_a_token_lacks_is_told() {
    let Some(bench) = Bench::for_test("what_a_token_lacks_is_told") else { return };
    let pin = bench.folder.join("pin");
    let without_key = TokenKey { make_key: false, ..bench.spec() };
    let refused = |spec: TokenKey| match bench.add(spec).unwrap_err() {
        KeyError::Slot { source, .. } => source,
        other => panic!("{other}"),
    };
    assert!(matches!(refused(without_key), SlotProblem::NoKey));
    let slot = bench.add(bench.spec()).unwrap();
    let elsewhere = TokenKey { token: "other".to_owned(), ..bench.spec() };
    assert!(matches!(refused(elsewhere), SlotProblem::NoToken));
    let no_module = TokenKey { module: "/nonexistent.so".to_owned(), ..bench.spec() };
    let problem = refused(no_module);
    assert!(matches!(problem, SlotProblem::Module { .. }));
    assert!(!problem.to_string().contains("nonexistent"), "{problem}");
    let relative = TokenKey { module: "libsofthsm2.so".to_owned(), ..bench.spec() };
    assert!(matches!(bench.add(relative), Err(KeyError::BadSlot { .. })));

    fs::write(&pin, "4321").unwrap();
    assert!(matches!(bench.problem(slot), SlotProblem::Pin { .. }));
    fs::rename(&pin, bench.folder.join("pin.away")).unwrap();
    assert!(matches!(bench.problem(slot), SlotProblem::Credential(_)));
    fs::write(&pin, "1234").unwrap();
    bench.keys.test_slot(slot, &Means::default()).unwrap();

    bench.pkcs11_tool(&["--delete-object", "--type", "secrkey", "--label", "root"]);
    assert!(matches!(bench.problem(slot), SlotProblem::NoKey));
    // Another key of the same name is not that key.
    bench.pkcs11_tool(&["--keygen", "--key-type", "AES:32", "--label", "root"]);
    assert!(matches!(bench.problem(slot), SlotProblem::WrongKey));

    let mut token = Command::new("softhsm2-util");
    tool(token.args(["--delete-token", "--token", "recseal"]));
    assert!(matches!(bench.problem(slot), SlotProblem::NoToken));
}

/// The key never leaves: neither readable nor extractable.
#[test]
fn the_key_stays_on_the_token() {
    let Some(bench) = Bench::for_test("the_key_stays_on_the_token") else { return };
    bench.add(bench.spec()).unwrap();
    let mut list = Command::new("pkcs11-tool");
    list.args(["--module", &bench.module, "--token-label", "recseal", "--login", "--pin", "1234"]);
    let listed = list.arg("--list-objects").output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("sensitive") && listed.contains("never extractable"), "{listed}");
}

/// Eight threads test and add at once: a module is one for the whole process.
#[test]
fn threads_do_not_end_each_others_sessions() {
    let Some(bench) = Bench::for_test("threads_do_not_end_each_others_sessions") else { return };
    let stores: Vec<_> = (0..8)
        .map(|n| {
            let folder = bench.folder.join(format!("store-{n}"));
            KeyManager::create(&folder, &["localhost".to_owned()], 0).unwrap()
        })
        .collect();
    let new = NewSlot::Pkcs11(bench.spec());
    bench.add(bench.spec()).unwrap();
    std::thread::scope(|scope| {
        for keys in &stores {
            scope.spawn(|| {
                let id = keys.add_slot(&new, &Surroundings::default(), 0).unwrap().id;
                for _ in 0..5 {
                    keys.test_slot(id, &Means::default()).unwrap();
                }
            });
        }
    });
}
