use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::ffmpeg::{Ffmpeg, Reading};
use super::super::testing::{fixture, redact, redaction};
use super::super::{Fill, RedactError};

/// A program that is none of the kind we trust: what it tries must fail, and it must be ended.
/// Planted fault: nothing given up before it starts (it writes).
#[test]
fn the_child_is_confined() {
    let folder = open_folder();
    let told = folder.path().join("told");
    std::fs::write(&told, "old").unwrap();
    std::fs::set_permissions(&told, std::fs::Permissions::from_mode(0o666)).unwrap();
    let here = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = here.local_addr().unwrap().port();
    let _held = std::fs::File::open("/proc/self/status").unwrap();
    let script = script(
        folder.path(),
        &format!(
            "exec 2>&1\n\
             (echo new > {told}) && echo WROTE\n\
             (: > {made}) && echo MADE\n\
             rm -f {told} && echo REMOVED\n\
             mkdir {made}.d && echo MADE\n\
             (exec 3<>/dev/tcp/127.0.0.1/{port}) && echo CONNECTED\n\
             for fd in /proc/self/fd/*; do echo \"FD ${{fd##*/}}\"; done\n\
             env | sed 's/^/ENV /'\n\
             pwd\n\
             grep -E 'NoNewPrivs|^Uid' /proc/self/status\n\
             ulimit -c; ulimit -f; ulimit -n\n",
            told = told.display(),
            made = folder.path().join("made").display(),
        ),
    );
    let said = run_script(&script, Duration::from_secs(20)).unwrap();
    for word in ["WROTE", "MADE", "REMOVED", "CONNECTED"] {
        assert!(!said.contains(word), "it {word}:\n{said}");
    }
    assert_eq!(std::fs::read(&told).unwrap(), b"old");
    assert!(said.contains("NoNewPrivs:\t1"), "{said}");
    let fds = said.lines().filter_map(|line| line.strip_prefix("FD ")?.parse::<u32>().ok());
    // The shell itself keeps its script open at the last one, and lists the folder with another.
    assert!(fds.filter(|fd| (3..=30).contains(fd)).count() <= 1, "{said}");
    let own = ["PWD", "SHLVL", "_", "OLDPWD"];
    let variables = said.lines().filter_map(|line| line.strip_prefix("ENV ")?.split_once('='));
    assert!(variables.clone().all(|(name, _)| own.contains(&name)), "{said}");
    assert!(said.lines().any(|line| line == "/"), "{said}");
    if rustix::process::geteuid().is_root() {
        assert!(said.contains("Uid:\t65534"), "{said}");
    }
}

/// Meant to catch: only the child itself ended, and not what it started.
#[test]
fn a_child_that_hangs_floods_or_fails_is_an_error() {
    let folder = open_folder();
    for (what, text, limit_s, says) in [
        ("hangs", "sleep 1000 & wait", 1, "was ended after 1 s"),
        ("closes its output and hangs", "exec 1>&-; sleep 1000", 1, "was ended after 1 s"),
        ("leaves its group", "setsid sleep 4 & exit 0", 1, "was ended after 1 s"),
        ("fails", "echo secret >&2; exit 7", 20, "ended with code 7"),
        ("dies", "kill -9 $$", 20, "was ended by signal 9"),
        ("floods", "exec cat /dev/zero", 20, "wrote more than"),
    ] {
        let script = script(folder.path(), text);
        let error = run_script(&script, Duration::from_secs(limit_s)).unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains("secret"), "{what}: {error}");
    }
    let missing = folder.path().join("nothing");
    let error = run_script(&missing, Duration::from_secs(1)).unwrap_err().to_string();
    assert!(error.contains("could not be started") && !error.contains("nothing"), "{error}");
}

#[test]
fn what_takes_memory_is_bounded_and_what_takes_ffmpeg_is_said() {
    let wanted = redaction(&[(500, 1_000)], &[], Fill::Mute);
    let outcome = redact(&fixture("cbr.mp3"), "mp3", &wanted, None);
    assert!(matches!(outcome, Err(RedactError::NoFfmpeg)));
    let small = Ffmpeg::new("/bin/true".into(), 2_000, Duration::from_secs(5));
    let outcome = redact(&fixture("h264_aac.mp4"), "mp4", &wanted, Some(&small));
    assert!(matches!(outcome, Err(RedactError::TooLarge { max_bytes: 1_000, .. })), "{outcome:?}");
    let outcome = redact(&[7; 5_000], "bin", &wanted, Some(&small));
    assert!(outcome.is_err());
}

/// Where nobody can reach a script.
fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    folder
}

fn script(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join(format!("s{}", text.len()));
    std::fs::write(&path, format!("#!/bin/bash\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn run_script(program: &Path, limit: Duration) -> Result<String, RedactError> {
    let ffmpeg = Ffmpeg::new(program.to_owned(), 1 << 30, limit);
    let mut source = Cursor::new(vec![1_u8; 200_000]);
    let mut out = Vec::new();
    ffmpeg.encode(&[], &mut source, Reading::Streamed, &mut out, &mut |_| ())?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}
