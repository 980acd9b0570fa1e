//! Somebody puts something else where a sealed copy lies, between the order and the act.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use recseal::catalog::{Catalog, ItemFilter};
use recseal::compliance::erasure::certificate::ErasureCertificate;
use recseal::config::catalog_in;
use recseal::domain::lifecycle::RecordingState;
use recseal::domain::{RecordingId, SealedKind, VaultName};
use recseal::flow::Selection;

use crate::evidence::must_hold;
use crate::ground::Ground;
use crate::races::facts_of;
use crate::worker::content;

/// What lies there instead, and what the item says of it.
const SWAPS: &[(&str, &str)] = &[
    ("a symlink to another recording", "not_plain"),
    ("a symlink to a stranger", "not_plain"),
    ("a second name of another recording", "hard_linked"),
    ("a copy of another recording", "changed"),
    ("a stranger", "changed"),
    ("a folder", "not_plain"),
    ("itself, with a second name", "hard_linked"),
    ("itself, longer", "changed"),
];

/// Nothing but the right file is ever touched, the obligation stays, others go on, and once the
/// path is mended it is met.
#[test]
fn nothing_else_is_touched_and_nothing_is_forgotten() {
    for layout in ["vault", "beside"] {
        for (swap, code) in SWAPS {
            swapped(layout, swap, code);
        }
    }
}

fn swapped(layout: &str, swap: &str, code: &str) {
    let what = format!("{layout}, {swap}");
    let ground = Ground::with(&format!("[[store]]\npath = \"STORE\"\nlayout = \"{layout}\"\n"));
    let stems = ["call-00-x", "call-01-x", "call-02-x"].map(str::to_owned);
    for stem in &stems {
        ground.drop_file(&format!("{stem}.wav"), &content(stem));
    }
    ground.seal_all();
    let ids = ground.ids();
    let (path, other) = (media_of(&ground, ids[0]), media_of(&ground, ids[1]));
    let facts = facts_of(&ground, &stems);
    let job = ground.order(Selection::Recordings(vec![ids[0], ids[2]])).job.unwrap().id;
    let away = ground.folder.join("away");
    let stranger = ground.folder.join("stranger");
    std::fs::write(&stranger, b"not to be touched").unwrap();
    std::fs::rename(&path, &away).unwrap();
    put(swap, &path, &away, &other, &stranger);
    let before = read_all(&[&other, &stranger, &path]);
    ground.erase_all();
    assert_eq!(read_all(&[&other, &stranger, &path]), before, "{what}: the wrong file");
    let failing =
        ground.engine.erasure_items(&Ground::may(), job, ItemFilter::Failing, None, 9).unwrap();
    let told: Vec<_> = failing.iter().map(|item| item.problem.as_deref()).collect();
    assert_eq!(told, [Some(code)], "{what}");
    let status = ground.engine.erasure_status(ground.now()).unwrap();
    assert_eq!((status.progress.failing_items, status.progress.done_items), (1, 1), "{what}");
    // Tried again and again, ever later.
    for failures in 2..=4 {
        ground.later(Duration::from_secs(10 << (failures - 2)));
        ground.erase_all();
        let item = ground.engine.erasure_items(&Ground::may(), job, ItemFilter::Failing, None, 9);
        assert_eq!(item.unwrap()[0].failures, failures, "{what}");
    }
    assert_eq!(read_all(&[&other, &stranger, &path]), before, "{what}: the wrong file");
    mend(swap, &path, &away);
    ground.later(Duration::from_secs(4_000));
    ground.erase_all();
    let states: Vec<_> = ground.recordings().into_iter().map(|one| one.state).collect();
    let expected = [RecordingState::Erased, RecordingState::Stored, RecordingState::Erased];
    assert_eq!(states, expected, "{what}");
    let row = ground.engine.erasure_certificate(&Ground::may(), ids[0]).unwrap();
    let certificate = ErasureCertificate::parse(&row.text).unwrap();
    assert!(certificate.facts().files.iter().all(|file| file.found), "{what}");
    must_hold(&ground, &facts, &what);
}

/// What is not there any more cannot be overwritten; its key is destroyed, and the certificate
/// says that it was not found.
#[test]
fn what_was_taken_away_is_certified_as_not_found() {
    let ground = Ground::new();
    ground.drop_file("call-00-x.wav", &content("call-00-x"));
    ground.seal_all();
    let id = ground.ids()[0];
    ground.order(Selection::Recordings(vec![id]));
    let away = ground.folder.join("away");
    std::fs::rename(media_of(&ground, id), &away).unwrap();
    let before = std::fs::read(&away).unwrap();
    ground.erase_all();
    let row = ground.engine.erasure_certificate(&Ground::may(), id).unwrap();
    let certificate = ErasureCertificate::parse(&row.text).unwrap();
    let media = certificate.facts().files.iter().filter(|file| !file.found).count();
    assert_eq!(media, 1, "{:?}", certificate.facts().files);
    assert_eq!(std::fs::read(&away).unwrap(), before);
}

fn put(swap: &str, path: &Path, away: &Path, other: &Path, stranger: &Path) {
    match swap {
        "a symlink to another recording" => symlink(other, path).unwrap(),
        "a symlink to a stranger" => symlink(stranger, path).unwrap(),
        "a second name of another recording" => std::fs::hard_link(other, path).unwrap(),
        "a copy of another recording" => drop(std::fs::copy(other, path).unwrap()),
        "a stranger" => drop(std::fs::copy(stranger, path).unwrap()),
        "a folder" => std::fs::create_dir(path).unwrap(),
        "itself, with a second name" => std::fs::hard_link(away, path).unwrap(),
        "itself, longer" => {
            let longer = [&std::fs::read(away).unwrap()[..], b"and more"].concat();
            std::fs::write(path, longer).unwrap();
        }
        other => panic!("{other}?"),
    }
}

#[expect(clippy::disallowed_methods, reason = "whoever put it there takes it away")]
fn mend(swap: &str, path: &Path, away: &Path) {
    match swap {
        "a folder" => std::fs::remove_dir(path).unwrap(),
        _ => std::fs::remove_file(path).unwrap(),
    }
    std::fs::rename(away, path).unwrap();
}

/// Where the sealed media of a recording lie.
pub fn media_of(ground: &Ground, id: RecordingId) -> PathBuf {
    let catalog = Catalog::open_read_only(&catalog_in(&ground.state())).unwrap();
    let copies = catalog.read(|tx| tx.copies(id)).unwrap();
    let media = copies.iter().find(|copy| copy.kind == SealedKind::Media).unwrap();
    let root = match media.vault {
        VaultName::Own => ground.state().join("vault"),
        VaultName::Beside(_) => ground.store(),
    };
    root.join(media.path.expose_path())
}

fn read_all(paths: &[&Path]) -> Vec<Option<Vec<u8>>> {
    paths.iter().map(|path| std::fs::read(path).ok()).collect()
}
