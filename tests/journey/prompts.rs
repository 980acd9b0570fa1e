//! A whole set of real recordings: the English prompts of Asterisk.

use std::path::{Path, PathBuf};

use crate::common::or_skip;
use crate::{Server, id_of, plain_files};

const PROMPTS: &str = "/usr/share/asterisk/sounds";

fn prompts() -> Result<Vec<PathBuf>, String> {
    let found = Path::new(PROMPTS).is_dir().then(|| plain_files(Path::new(PROMPTS)));
    let mut found = found.unwrap_or_default();
    found.retain(|path| path.extension().is_some_and(|suffix| suffix == "wav"));
    if found.is_empty() { Err(format!("no prompts in {PROMPTS}")) } else { Ok(found) }
}

/// Planted faults: a second audit entry for each; an opened stream that lacks a byte.
#[test]
fn every_prompt_is_sealed_once_and_opens_again() {
    let prompts = or_skip!(prompts());
    let mut server = Server::start("asterisk");
    for prompt in &prompts {
        let place = server.store.join(prompt.strip_prefix(PROMPTS).unwrap());
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::copy(prompt, place).unwrap();
    }
    server.expect_sealed(prompts.len() as u64);

    let recordings = server.recordings();
    let mut sources: Vec<_> = recordings.iter().map(source_of).collect();
    sources.sort();
    assert_eq!(sources, prompts, "each file exactly once");
    let mut audited: Vec<_> = server
        .audit("RECORDING_SEALED")
        .iter()
        .map(|entry| entry["recording"].as_str().unwrap().to_owned())
        .collect();
    audited.sort();
    let mut ids: Vec<_> = recordings.iter().map(id_of).collect();
    ids.sort();
    assert_eq!(audited, ids, "one audit entry for each");
    assert_eq!(server.audit("ORIGINAL_REMOVED").len(), prompts.len());

    std::thread::scope(|scope| {
        let (server, half) = (&server, recordings.len() / 2);
        for part in [&recordings[..half], &recordings[half..]] {
            scope.spawn(move || part.iter().for_each(|one| opens_as_recorded(server, one)));
        }
    });
    some_open_without_the_daemon(&mut server, &recordings);
}

/// The prompt that a recording was copied from.
fn source_of(recording: &serde_json::Value) -> PathBuf {
    Path::new(PROMPTS).join(recording["original_path"].as_str().unwrap())
}

fn opens_as_recorded(server: &Server, recording: &serde_json::Value) {
    let source = std::fs::read(source_of(recording)).unwrap();
    assert_eq!(recording["size_bytes"], source.len() as u64);
    assert_eq!(recording["media"]["container"], "wav");
    assert_eq!(recording["media"]["sample_rate_hz"], 8_000);
    assert!(server.open(&id_of(recording)) == source, "not what was recorded");
}

/// A dozen of them, with the sealed file and its exported key and nothing else.
fn some_open_without_the_daemon(server: &mut Server, recordings: &[serde_json::Value]) {
    let mut taken = Vec::new();
    for (n, recording) in recordings.iter().step_by(recordings.len() / 12).enumerate() {
        let id = id_of(recording);
        let verified = server.daemon.json(&["verify", &id]);
        assert_eq!(verified["verified"], true);
        let key = server.desk.path().join(format!("{n}.key"));
        server.daemon.json(&["keys", "export", &id, "-o", key.to_str().unwrap()]);
        let sealed = server.desk.path().join(format!("{n}.sealed"));
        std::fs::copy(server.sealed_copy(&id, "media"), &sealed).unwrap();
        taken.push((sealed, key, source_of(recording)));
    }
    assert!(taken.len() >= 12);
    assert_eq!(server.audit("KEY_EXPORTED").len(), taken.len());
    assert!(server.daemon.stop().success());
    let state = server.desk.path().join("no-state");
    for (sealed, key, source) in taken {
        let out = sealed.with_extension("open");
        let arg = |path: &Path| path.to_str().unwrap().to_owned();
        let (sealed, key) = (arg(&sealed), arg(&key));
        for args in [
            &["open", &sealed, "--key", &key, "-o", &arg(&out)][..],
            &["verify", &sealed, "--key", &key],
        ] {
            let mut recseal = crate::common::daemon::program();
            let done = recseal.args(args).arg("--state").arg(&state).output().unwrap();
            assert!(done.status.success(), "{done:?}");
        }
        assert!(std::fs::read(out).unwrap() == std::fs::read(source).unwrap());
    }
}
