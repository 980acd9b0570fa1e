//! Stores on real file systems: what must not be followed, and roots that are not what they were.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::*;

fn open(root: &Path) -> Result<Store, IntakeError> {
    Store::open(root, Profile::named("generic").unwrap(), StoreSettings::default(), &[], None)
}

/// Everything a walk shows but the id file, and what it went through.
fn walk(store: &Store) -> (BTreeSet<StorePath>, Walked) {
    let mut seen = BTreeSet::new();
    let walked = store
        .walk(&mut |listing| {
            seen.extend(listing.sightings.into_iter().map(|sighting| sighting.path));
            ControlFlow::Continue(())
        })
        .unwrap();
    seen.remove(&path(ID_FILE));
    (seen, walked)
}

fn path(bytes: impl AsRef<[u8]>) -> StorePath {
    StorePath::new(bytes.as_ref()).unwrap()
}

/// True if `program` did it. Mounts need root; without, the test says so and ends.
fn can(program: &str, arguments: &[&OsStr]) -> bool {
    let done = Command::new(program).args(arguments).status().is_ok_and(|status| status.success());
    #[expect(clippy::disallowed_methods, reason = "a switch of the tests")]
    let must = std::env::var("RECSEAL_TEST_ALL").is_ok_and(|all| all == "1");
    assert!(done || !must, "{program} must work here");
    if !done {
        println!("SKIP: {program} needs root");
    }
    done
}

/// A mount that goes away with the test.
struct Mounted<'a>(&'a Path);

impl Mounted<'_> {
    fn tmpfs(at: &Path) -> Option<Mounted<'_>> {
        let tmpfs = ["-t", "tmpfs", "none"].map(OsStr::new);
        can("mount", &[&tmpfs[..], &[at.as_os_str()]].concat()).then_some(Mounted(at))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// Planted fault: without `NO_SYMLINKS` a file of the store opens a second time under the name of
/// a link. (`BENEATH` is a second lock behind it: paths hold no `..` either.)
#[test]
fn links_and_special_files_are_counted_and_never_opened() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("passwd"), "x").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::write(root.join("call.wav"), "RIFF").unwrap();
    fs::hard_link(root.join("call.wav"), root.join("again.wav")).unwrap();
    symlink(outside.path().join("passwd"), root.join("link.wav")).unwrap();
    symlink(outside.path(), root.join("folder")).unwrap();
    fs::create_dir(root.join("real")).unwrap();
    fs::write(root.join("real/b.wav"), "RIFF").unwrap();
    symlink("real", root.join("alias")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    assert!(can("mkfifo", &[root.join("fifo").as_os_str()]));

    let store = open(root).unwrap();
    let (seen, walked) = walk(&store);
    assert_eq!(seen, ["again.wav", "call.wav", "real/b.wav"].map(path).into());
    let expected = Oddities { symlinks: 3, special: 2, hard_linked: 2, ..Oddities::default() };
    assert_eq!(walked.oddities, expected);
    for name in ["link.wav", "folder/passwd", "alias/b.wav", "fifo", "socket", "real"] {
        assert!(store.open_file(&path(name)).is_err(), "{name}");
    }
    assert!(store.open_file(&path("call.wav")).is_ok());
    assert!(!store.has_folder(Some(&path("folder"))) && !store.has_folder(Some(&path("alias"))));
    assert!(store.exists(&path("link.wav")).unwrap(), "a link is something, wherever it leads");
}

#[test]
fn a_name_is_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let name = b"caf\xe9 \n\xff.wav";
    fs::write(dir.path().join(OsStr::from_bytes(name)), "x").unwrap();
    let store = open(dir.path()).unwrap();
    assert_eq!(walk(&store).0, [path(name)].into());
    assert!(store.open_file(&path(name)).is_ok());
}

#[test]
fn a_big_folder_comes_in_batches_and_is_complete_once() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..Listing::BATCH * 2 + 1 {
        File::create(dir.path().join(number.to_string())).unwrap();
    }
    let store = open(dir.path()).unwrap();
    let (mut files, mut batches, mut complete) = (0, 0, 0);
    store
        .list(None, &mut |listing| {
            assert!(listing.sightings.len() <= Listing::BATCH);
            assert_eq!(complete, 0, "complete is said last");
            files += listing.sightings.len();
            batches += 1;
            complete += u32::from(listing.is_complete);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!((files, batches, complete), (Listing::BATCH * 2 + 2, 3, 1));
}

#[test]
fn a_visitor_can_stop_a_walk() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    let mut shown = 0;
    let walked = open(dir.path()).unwrap().walk(&mut |_| {
        shown += 1;
        ControlFlow::Break(())
    });
    assert!(!walked.unwrap().is_whole && shown == 1);
}

/// Planted fault: without a limit the walk goes down as far as paths are long.
#[test]
fn a_depth_bomb_ends() {
    let dir = tempfile::tempdir().unwrap();
    let bomb = dir.path().join(["d"; 100].join("/"));
    fs::create_dir_all(&bomb).unwrap();
    fs::write(bomb.join("deep.wav"), "x").unwrap();
    let (seen, walked) = walk(&open(dir.path()).unwrap());
    assert!(seen.is_empty());
    assert_eq!((walked.folders, walked.oddities.too_deep), (65, 1));
}

/// Files and folders that vanish while they are listed are neither errors nor oddities.
#[test]
#[expect(clippy::disallowed_methods, reason = "plays a recorder that cleans up")]
fn what_vanishes_during_a_walk_is_simply_gone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0;
            while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                let folder = dir.path().join(format!("f{}", round % 7));
                round += 1;
                fs::create_dir(&folder).unwrap();
                for name in ["a", "b", "c"] {
                    fs::write(folder.join(name), "x").unwrap();
                }
                fs::remove_dir_all(&folder).unwrap();
            }
        });
        let mut oddities = Oddities::default();
        for _ in 0..300 {
            let walked = store.walk(&mut |_| ControlFlow::Continue(()));
            oddities +=
                walked.map_or(Oddities { special: 1, ..oddities }, |walked| walked.oddities);
        }
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(oddities, Oddities::default());
    });
}

/// Planted fault: a walk without `check` calls the new, empty root complete and every recording
/// of the store gone.
#[test]
fn a_root_renamed_away_and_made_anew_is_not_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("call.wav"), "x").unwrap();
    let store = open(&root).unwrap();
    assert_eq!(store.check(), Ok(()));
    fs::rename(&root, dir.path().join("away")).unwrap();
    assert_eq!(store.check(), Err(StoreLost::Missing));
    fs::create_dir(&root).unwrap();
    assert_eq!(store.check(), Err(StoreLost::Replaced));
    let walked = store.walk(&mut |_| unreachable!("nothing is shown of another tree"));
    assert!(matches!(walked, Err(IntakeError::Lost { lost: StoreLost::Replaced, .. })));
    fs::remove_dir(&root).unwrap();
    fs::rename(dir.path().join("away"), &root).unwrap();
    assert_eq!(store.check(), Ok(()), "it came back");
    assert_eq!(open(&root).unwrap().id(), store.id());
    let walked = store.walk(&mut |_| {
        let _ = fs::rename(&root, dir.path().join("away"));
        ControlFlow::Continue(())
    });
    assert!(matches!(walked, Err(IntakeError::Lost { lost: StoreLost::Missing, .. })));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "plays somebody who cleans up too much")]
fn an_id_file_that_changed_or_went_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let other = StoreId::new();
    fs::write(dir.path().join(ID_FILE), other.to_string()).unwrap();
    assert_eq!(store.check(), Err(StoreLost::Remarked { found: other }));
    fs::write(dir.path().join(ID_FILE), "not a uuid").unwrap();
    assert_eq!(store.check(), Err(StoreLost::Unmarked));
    assert!(matches!(open(dir.path()), Err(IntakeError::IdentityDamaged)));
    fs::remove_file(dir.path().join(ID_FILE)).unwrap();
    assert_eq!(store.check(), Err(StoreLost::Unmarked));
}

/// Planted fault: ignoring `known_as` makes a second store in the folder below the mount.
#[test]
fn a_missing_mount_is_lost_and_not_a_new_store() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mounted) = Mounted::tmpfs(dir.path()) else { return };
    let store = open(dir.path()).unwrap();
    fs::write(dir.path().join("call.wav"), "x").unwrap();
    drop(mounted);
    assert_eq!(store.check(), Err(StoreLost::Replaced));
    let again =
        Store::open(dir.path(), store.profile(), StoreSettings::default(), &[], Some(store.id()));
    let lost = StoreLost::Unmarked;
    assert!(matches!(again, Err(IntakeError::Lost { lost: found, .. }) if found == lost));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was written below the mount");
}

#[test]
fn a_mount_inside_a_store_is_reported_and_not_entered() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let Some(_mounted) = Mounted::tmpfs(&inner) else { return };
    fs::write(inner.join("call.wav"), "x").unwrap();
    let store = open(dir.path()).unwrap();
    let (seen, walked) = walk(&store);
    assert!(seen.is_empty());
    assert_eq!(walked.oddities, Oddities { mounts: 1, ..Oddities::default() });
    assert!(store.open_file(&path("inner/call.wav")).is_err());
}

#[test]
fn an_overlay_is_polled_and_a_local_disk_is_not() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    assert_eq!(open(&dir.path().join("lower")).unwrap().mode(), WatchMode::Events);
    let merged = dir.path().join("merged");
    let layers =
        format!("lowerdir={0}/lower,upperdir={0}/upper,workdir={0}/work", dir.path().display());
    let arguments = ["-t", "overlay", "none", "-o", &layers].map(OsStr::new);
    if can("mount", &[&arguments[..], &[merged.as_os_str()]].concat()) {
        let _mounted = Mounted(&merged);
        assert_eq!(open(&merged).unwrap().mode(), WatchMode::Poll { why: "overlay" });
    }
}

/// Planted fault: comparing text instead of components excludes `states` with `state`.
#[test]
fn our_own_folders_are_not_part_of_the_store() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["state/vault/a.sealed", "states/call.wav", "call.wav"] {
        fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
        fs::write(dir.path().join(name), "x").unwrap();
    }
    let state = dir.path().join("state");
    let profile = Profile::named("generic").unwrap();
    let settings = StoreSettings::default();
    let store = Store::open(dir.path(), profile, settings, &[&state], None).unwrap();
    assert_eq!(walk(&store).0, ["states/call.wav", "call.wav"].map(path).into());
    assert!(store.open_file(&path("state/vault/a.sealed")).is_err());
    let vault = path("state/vault");
    store
        .list(Some(&vault), &mut |listing| {
            assert!(listing.sightings.is_empty());
            ControlFlow::Continue(())
        })
        .unwrap();
}

/// Root may read every folder, so as root the test runs itself again as nobody.
#[test]
fn a_closed_folder_is_unreadable_and_not_empty() {
    use std::os::unix::fs::PermissionsExt;
    if rustix::process::geteuid().is_root() {
        let this = std::env::current_exe().unwrap();
        let name = "intake::tests::a_closed_folder_is_unreadable_and_not_empty";
        let as_nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"].map(OsStr::new);
        let itself = [this.as_os_str(), "--exact".as_ref(), name.as_ref()];
        can("setpriv", &[&as_nobody[..], &itself[..]].concat());
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let closed = dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let (_, walked) = walk(&open(dir.path()).unwrap());
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!((walked.folders, walked.oddities.unreadable), (1, 1));
}

#[test]
fn nothing_prints_a_path() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("+12025550143");
    fs::create_dir(&root).unwrap();
    let store = open(&root).unwrap();
    fs::rename(&root, dir.path().join("away")).unwrap();
    let lost = store.walk(&mut |_| ControlFlow::Continue(())).unwrap_err();
    let missing = open(&root).unwrap_err();
    for text in [format!("{store:?}"), format!("{lost} {lost:?}"), format!("{missing} {missing:?}")]
    {
        assert!(!text.contains("0143"), "{text}");
    }
}
