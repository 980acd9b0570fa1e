//! What we give to systemd, judged by systemd's own tools.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{or_skip, root, run, tools};

/// Lower is safer: of the recording and storage units we know, only Redis has less.
const EXPOSURE_MAX: f64 = 1.5;

#[test]
fn the_unit_is_hardened() {
    or_skip!(tools(&["systemd-analyze"]));
    let exposure = |unit: &Path| {
        let mut judge = Command::new("systemd-analyze");
        let said = run(judge.args(["security", "--offline=true", "--no-pager"]).arg(unit)).unwrap();
        let verdict = said.lines().rfind(|line| line.contains("Overall exposure level"));
        let score =
            verdict.and_then(|line| line.split(": ").nth(1)?.split(' ').next()?.parse().ok());
        score.unwrap_or_else(|| panic!("no verdict in {said}"))
    };
    let score: f64 = exposure(&shipped("recseal.service"));
    assert!(score <= EXPOSURE_MAX, "exposure level {score}");
    // Planted fault: a judge that says the same of every unit.
    let folder = tempfile::tempdir().unwrap();
    let weaker = changed(folder.path(), |line| !line.starts_with("ProtectSystem="));
    assert!(exposure(&weaker) > score, "the judge is blind");
}

/// Planted fault: a misspelt key is printed and otherwise ignored, unless errors count.
#[test]
fn the_unit_has_no_unknown_keys() {
    or_skip!(tools(&["systemd-analyze"]));
    let verify = |unit: &Path| {
        run(Command::new("systemd-analyze").args(["verify", "--recursive-errors=no"]).arg(unit))
    };
    let folder = tempfile::tempdir().unwrap();
    verify(&changed(folder.path(), |_| true)).unwrap();
    let misspelt = changed(folder.path(), |_| true);
    let text = std::fs::read_to_string(&misspelt).unwrap();
    std::fs::write(&misspelt, text.replace("ProtectClock=", "ProtectClok=")).unwrap();
    assert!(verify(&misspelt).unwrap_err().contains("ProtectClok"));
}

/// The drop-in that an operator copies, together with the unit.
#[test]
fn the_drop_in_fits_the_unit() {
    or_skip!(tools(&["systemd-analyze"]));
    let folder = tempfile::tempdir().unwrap();
    let unit = changed(folder.path(), |_| true);
    let drop_ins = folder.path().join("recseal.service.d");
    std::fs::create_dir(&drop_ins).unwrap();
    let drop_in = std::fs::read_to_string(shipped("recording-folders.conf")).unwrap();
    std::fs::write(drop_ins.join("recording-folders.conf"), &drop_in).unwrap();
    let verify = |unit: &Path| {
        run(Command::new("systemd-analyze").args(["verify", "--recursive-errors=no"]).arg(unit))
    };
    verify(&unit).unwrap();
    let misspelt = drop_in.replace("ReadWritePaths=", "ReadWritePath=");
    std::fs::write(drop_ins.join("recording-folders.conf"), misspelt).unwrap();
    assert!(verify(&unit).unwrap_err().contains("ReadWritePath"));
}

#[test]
fn user_and_folders_are_made() {
    or_skip!(root());
    or_skip!(tools(&["systemd-sysusers", "systemd-tmpfiles"]));
    let host = tempfile::tempdir().unwrap();
    let etc = host.path().join("etc");
    std::fs::create_dir(&etc).unwrap();
    std::fs::write(etc.join("passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
    std::fs::write(etc.join("group"), "root:x:0:\n").unwrap();
    for tool in [&["systemd-sysusers"][..], &["systemd-tmpfiles", "--create"]] {
        let list = tool[0].replace("systemd-", "recseal.");
        let mut make = Command::new(tool[0]);
        make.args(&tool[1..]).arg(format!("--root={}", host.path().display()));
        run(make.arg(shipped(&list))).unwrap();
    }
    assert!(std::fs::read_to_string(etc.join("passwd")).unwrap().contains("\nrecseal:"));
    assert!(std::fs::read_to_string(etc.join("group")).unwrap().contains("\nrecseal:"));
    let mode = std::fs::metadata(etc.join("recseal")).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o7777, 0o750);
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)
}

/// The shipped unit with the lines that `keep` keeps, without what only an installed package
/// has: the program and its pages.
fn changed(folder: &Path, keep: impl Fn(&str) -> bool) -> PathBuf {
    let unit = std::fs::read_to_string(shipped("recseal.service")).expect("the shipped unit");
    assert!(unit.contains("ExecStart=/usr/bin/recseal serve"), "what does the unit start?");
    let lines = unit.lines().filter(|line| !line.starts_with("Documentation=") && keep(line));
    let unit = lines.collect::<Vec<_>>().join("\n").replace("/usr/bin/recseal", "/bin/true");
    let path = folder.join("recseal.service");
    std::fs::write(&path, unit + "\n").expect("a copy of the unit");
    path
}
