//! Erasures under attack, and erasures that die.

use super::*;

use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use rustix::fs::RenameFlags;

/// Somebody swaps the path for a link, a second name of another file, another sealed copy or
/// nothing all the time, until 300 looks have met it. Whatever happens: no byte of the other file is
/// touched, and the copy is whole somewhere or known to be condemned. Planted faults: second names
/// allowed and prefixes believed; links followed, prefixes believed and no second look.
#[test]
fn swapped_under_our_hands_nothing_else_is_touched() {
    let (mut refusals, mut round) = (0, 0_usize);
    while refusals < 300 {
        round += 1;
        let tree = Tree::new();
        let other = tree.put("other", 5_000);
        let copies = [tree.put("a/call.sealed", 5_000)];
        let inode = fs::metadata(tree.at("a/call.sealed")).unwrap().ino();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in (round..).take_while(|_| !is_over.load(Ordering::SeqCst)) {
                    swap(&tree, n);
                }
            });
            for _ in 0..40 {
                let watch = |_: Step| {
                    std::thread::yield_now();
                    Ok(())
                };
                match tree.overwrite_watched(&copies, &watch).remove(0) {
                    Ok(Overwritten::Done(_)) => break,
                    Ok(Overwritten::Missing) => {}
                    Err(_) => refusals += 1,
                }
            }
            is_over.store(true, Ordering::SeqCst);
        });
        assert!(fs::read(tree.at("other")).unwrap() == other.content, "round {round}: touched");
        let all = all_of(&tree);
        let (path, _, content) = all.iter().find(|one| one.1 == inode).expect("it is not lost");
        let is_condemned = path.ends_with(copies[0].opaque_name());
        assert!(is_condemned || *content == copies[0].content, "round {round}");
    }
}

/// Whoever swaps loses a race now and then, too.
fn swap(tree: &Tree, n: usize) {
    let (path, other, kept) = (tree.at("a/call.sealed"), tree.at("other"), tree.at("kept"));
    let swapped = match n % 4 {
        0 => swap_in(&path, &kept, |path| symlink(&other, path)),
        1 => swap_in(&path, &kept, |path| fs::hard_link(&other, path)),
        2 => swap_in(&path, &kept, |path| fs::copy(&other, path).map(drop)),
        _ => swap_in(&path, &kept, |_| Err(std::io::Error::other("nothing"))),
    };
    let _ = swapped;
}

/// Moves what is at `path` away, puts something else there for a moment, and moves it back; never
/// over what the eraser put there meanwhile.
fn swap_in(
    path: &Path,
    kept: &Path,
    put: impl FnOnce(&Path) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let cwd = rustix::fs::CWD;
    fs::rename(path, kept)?;
    let put = put(path);
    std::thread::yield_now();
    rustix::fs::renameat_with(cwd, kept, cwd, path, RenameFlags::EXCHANGE)
        .or_else(|_| rustix::fs::renameat_with(cwd, kept, cwd, path, RenameFlags::NOREPLACE))?;
    put
}

/// A child process dies by SIGKILL before the first step, before the second, and so on, pieces of
/// the overwrite counted in, until one gets through; after each death the rest is done here.
/// Planted fault: the stamp left out; a copy that died half random is then never known again.
#[test]
fn killed_anywhere_it_is_finished_later() {
    if let Some(told) = told() {
        let (folder, dies_at) = told.split_once('@').unwrap();
        return child(Path::new(folder), dies_at.parse().unwrap());
    }
    for dies_at in 0_u64.. {
        let tree = Tree::new();
        let lengths = [("a/1.sealed", 70), ("a/2.sealed", (2 << 20) + 123), ("b/3.sealed", 9_000)];
        let copies: Vec<_> = lengths.iter().map(|(name, len)| tree.put(name, *len)).collect();
        let bystander = tree.put("a/other.sealed", 5_000);
        let plan: Vec<_> = copies.iter().map(planned).collect();
        fs::write(tree.at("plan"), plan.join("\n")).unwrap();
        let name = "vault::erase::tests::hardship::killed_anywhere_it_is_finished_later";
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(TOLD, format!("{}@{dies_at}", tree.folder.path().display()))
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        let is_killed = std::os::unix::process::ExitStatusExt::signal(&status) == Some(9);
        assert!(is_killed || status.success(), "{status}");
        for (copy, again) in copies.iter().zip(tree.overwrite(&copies)) {
            match again.unwrap() {
                Overwritten::Done(evidence) => {
                    let len_bytes = copy.content.len() as u64;
                    assert_eq!(evidence.destruction.overwritten_bytes, len_bytes);
                }
                Overwritten::Missing => assert!(!is_anywhere(&tree, copy)),
            }
        }
        assert!(tree.unlink(&copies).iter().all(Result::is_ok), "died at {dies_at}");
        assert!(copies.iter().all(|copy| !is_anywhere(&tree, copy)), "died at {dies_at}");
        assert_eq!(fs::read(tree.at("a/other.sealed")).unwrap(), bystander.content);
        if !is_killed {
            assert!(dies_at > 30, "each step and each piece was the last once: {dies_at}");
            return;
        }
    }
}

fn child(folder: &Path, dies_at: u64) {
    struct Dies(AtomicU64, u64);
    impl Dies {
        fn count(&self) {
            if self.0.fetch_add(1, Ordering::SeqCst) == self.1 {
                let me = rustix::process::getpid();
                rustix::process::kill_process(me, rustix::process::Signal::KILL).unwrap();
            }
        }
    }
    impl Pace for Dies {
        fn before(&self, _: u64) -> ControlFlow<()> {
            self.count();
            ControlFlow::Continue(())
        }
    }
    let plan = fs::read_to_string(folder.join("plan")).unwrap();
    let copies: Vec<_> = plan.lines().map(of_plan).collect();
    let dies = Dies(0.into(), dies_at);
    let watch = |_: Step| {
        dies.count();
        Ok(())
    };
    let root = File::open(folder).unwrap();
    let targets: Vec<_> = copies.iter().map(Copy::target).collect();
    for done in overwrite_batch(root.as_fd(), &targets, &dies, &watch) {
        evidence(done);
    }
    assert!(unlink_batch(root.as_fd(), &targets, &watch).iter().all(Result::is_ok));
}

fn planned(copy: &Copy) -> String {
    let path = std::str::from_utf8(copy.doomed.path.expose_bytes()).unwrap();
    let known = copy.doomed.expected.unwrap();
    let (recording, key, len) = (known.recording, known.data_key, known.sealed_bytes);
    format!("{path} {} {recording} {key} {len}", copy.doomed.token)
}

fn of_plan(line: &str) -> Copy {
    let words: Vec<_> = line.split(' ').collect();
    let expected = SealedIdentity {
        recording: words[2].parse().unwrap(),
        data_key: words[3].parse().unwrap(),
        kind: SealedKind::Media,
        sealed_bytes: words[4].parse().unwrap(),
    };
    let (path, token) = (StorePath::new(words[0]).unwrap(), words[1].parse().unwrap());
    Copy { doomed: Doomed { path, token, expected: Some(expected) }, content: Vec::new() }
}

#[expect(clippy::disallowed_methods, reason = "how the test tells its child what to do")]
fn told() -> Option<String> {
    std::env::var(TOLD).ok()
}

const TOLD: &str = "RECSEAL_ERASE_CHILD";
