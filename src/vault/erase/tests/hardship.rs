//! Erasures under attack, and erasures that die.

use super::*;

use std::process::Command;
use std::sync::atomic::AtomicBool;

use rustix::fs::RenameFlags;

/// Somebody swaps the path for a link, a second name, another file or a moved one all the time,
/// while copies are erased. Whatever happens: no byte of another file is touched, and each copy is
/// either whole or known to be condemned. Planted faults: links followed and prefixes believed;
/// second names and prefixes believed; the unlink in the first step.
#[test]
fn swapped_under_our_hands_nothing_else_is_touched() {
    let swaps = AtomicU64::new(0);
    let mut round = 0;
    while swaps.load(Ordering::SeqCst) < 600 {
        round += 1;
        let tree = Tree::new();
        let others: Vec<_> = (0..4).map(|n| tree.put(&format!("other-{n}"), 5_000)).collect();
        let copies: Vec<_> = (0..8).map(|n| tree.put(&format!("a/{n}.sealed"), 5_000)).collect();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0.. {
                    if is_over.load(Ordering::SeqCst) {
                        break;
                    }
                    let path = copies[n % 8].doomed.path.expose_below(tree.folder.path());
                    let (other, kept) = (tree.at(&format!("other-{}", n % 4)), tree.at("kept"));
                    // Whoever swaps loses a race now and then, too.
                    let swapped = match n % 4 {
                        0 => swap_in(&path, &kept, |p| symlink(&other, p)),
                        1 => swap_in(&path, &kept, |p| fs::hard_link(&other, p)),
                        2 => swap_in(&path, &kept, |p| fs::copy(&other, p).map(drop)),
                        _ => fs::rename(&path, &kept).and_then(|()| fs::rename(&kept, &path)),
                    };
                    swaps.fetch_add(u64::from(swapped.is_ok()), Ordering::SeqCst);
                }
            });
            for _ in 0..30 {
                tree.overwrite(&copies);
            }
            is_over.store(true, Ordering::SeqCst);
        });
        for other in &others {
            let now = fs::read(other.doomed.path.expose_below(tree.folder.path())).unwrap();
            assert!(now == other.content, "round {round}: another file was touched");
        }
        for (copy, last) in copies.iter().zip(tree.overwrite(&copies)) {
            assert!(!matches!(last, Ok(Overwritten::Missing)), "round {round}: lost");
            let path = copy.doomed.path.expose_below(tree.folder.path());
            let is_condemned = tree.at("a").join(copy.opaque_name()).exists();
            let is_whole = fs::read(path).is_ok_and(|now| now == copy.content);
            assert!(is_condemned || is_whole || last.is_err(), "round {round}");
        }
    }
}

/// Moves what is at `path` away, puts something else there for a moment, and moves it back.
fn swap_in(
    path: &Path,
    kept: &Path,
    put: impl FnOnce(&Path) -> std::io::Result<()>,
) -> std::io::Result<()> {
    fs::rename(path, kept)?;
    let put = put(path);
    // Never over what the eraser took meanwhile: only if it is still what was put there.
    rustix::fs::renameat_with(
        rustix::fs::CWD,
        kept,
        rustix::fs::CWD,
        path,
        if put.is_ok() { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE },
    )
    .or_else(|_| {
        rustix::fs::renameat_with(
            rustix::fs::CWD,
            kept,
            rustix::fs::CWD,
            path,
            RenameFlags::NOREPLACE,
        )
    })?;
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
