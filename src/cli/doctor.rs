//! `recseal doctor`: what this host lacks, and how to mend it. Looks, never changes anything, and
//! works with the daemon dead.

mod ffmpeg;
mod leftovers;

use std::fs;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::config::Config;
use crate::domain::Overwrite;
use crate::http::view::parse_time;
use crate::vault;

use super::args::{ConfigFile, Global};
use super::failure::{Failure, exit};
use super::online::word;
use super::{output, setup};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Ok,
    /// Works, but should be better.
    Warn,
    /// Does not work, or is not safe.
    Fail,
}

#[derive(Debug, Serialize)]
struct Check {
    name: String,
    outcome: Outcome,
    message: String,
    hint: String,
}

impl Check {
    fn ok(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(name, Outcome::Ok, message, "")
    }

    fn new(
        name: impl Into<String>,
        outcome: Outcome,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { name: name.into(), outcome, message: message.into(), hint: hint.into() }
    }
}

/// Runs every check.
pub(super) fn run(global: &Global, file: &ConfigFile) -> Result<(), Failure> {
    let now = Clock::System.now();
    let mut checks = Vec::new();
    match setup::load(global, file, setup::overrides(global, file)?) {
        Ok(config) => {
            let stores = config.stores.len();
            checks.push(Check::ok("config", format!("valid, {stores} store(s)")));
            examine(&config, now, &mut checks);
        }
        Err(failure) => {
            checks.push(Check::new("config", Outcome::Fail, failure.message, failure.hint));
        }
    }
    daemon(global, now, &mut checks);
    checks.push(cipher(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()));
    report(global, &checks)
}

fn examine(config: &Config, now: Timestamp, checks: &mut Vec<Check>) {
    checks.push(state_folder(&config.state));
    checks.extend(root_key(&config::keys_in(&config.state)));
    checks.push(clock(&config.state, now));
    let vault = nearest_folder(&config.vault);
    checks.push(space("vault space", vault, config.reserve_bytes));
    checks.extend(storage("vault storage", vault));
    checks.push(ffmpeg::check(&config.redaction));
    let mut folders = 0;
    for (index, store) in config.stores.iter().enumerate() {
        let name = format!("store {index}");
        match fs::read_dir(&store.path) {
            Ok(_) => {
                let message = format!("{} can be read", store.path.display());
                checks.push(Check::ok(&name, message));
                checks.extend(storage(&format!("{name} storage"), &store.path));
                folders += count_folders(&store.path, FOLDERS_COUNTED - folders);
            }
            Err(error) => checks.push(Check::new(
                &name,
                Outcome::Fail,
                format!("{} cannot be read: {error}", store.path.display()),
                "mount it, make it, or give the daemon's user the right to read it",
            )),
        }
    }
    checks.extend(leftovers::checks(config));
    checks.push(watches(folders, proc_number("/proc/sys/fs/inotify/max_user_watches")));
}

fn state_folder(state: &Path) -> Check {
    let name = "state folder";
    let metadata = match state.metadata() {
        Ok(metadata) => metadata,
        Err(error) => {
            let message = format!("{}: {error}", state.display());
            return Check::new(name, Outcome::Warn, message, "`recseal init` makes it");
        }
    };
    let mode = metadata.permissions().mode() & 0o7777;
    match mode & 0o022 {
        0 if metadata.is_dir() => Check::ok(name, format!("{}, mode {mode:o}", state.display())),
        _ => Check::new(
            name,
            Outcome::Fail,
            format!("{} may be changed by others (mode {mode:o})", state.display()),
            format!("chmod 0750 {}", state.display()),
        ),
    }
}

/// The unattended slot, if there is one: whoever reads it reads every recording.
fn root_key(keys: &Path) -> Option<Check> {
    let path = keys.join("root.key");
    let mode = path.metadata().ok()?.permissions().mode() & 0o7777;
    Some(if mode & 0o077 == 0 {
        Check::ok("root key", format!("mode {mode:o}"))
    } else {
        let message = format!("others may read the root key (mode {mode:o})");
        Check::new("root key", Outcome::Fail, message, format!("chmod 0600 {}", path.display()))
    })
}

/// A clock that lies makes certificates invalid and audit entries worthless.
fn clock(state: &Path, now: Timestamp) -> Check {
    let newest = fs::read_dir(state).into_iter().flatten().flatten();
    let newest = newest.filter_map(|entry| entry.metadata().ok()).map(|m| m.mtime()).max();
    judge_clock(now, newest.map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1_000))))
}

fn judge_clock(now: Timestamp, newest: Option<Timestamp>) -> Check {
    let hint = "set the clock and keep it set: timedatectl set-ntp true";
    if now.as_millis() < RELEASED_MS {
        let message = format!("says {now}, before this program was made");
        return Check::new("clock", Outcome::Fail, message, hint);
    }
    match newest {
        Some(newest) if newest.as_millis() > now.as_millis() + HOUR_MS => {
            let message = format!("says {now}, but the state folder was changed at {newest}");
            Check::new("clock", Outcome::Fail, message, hint)
        }
        _ => Check::ok("clock", format!("says {now}")),
    }
}

fn space(name: &str, folder: &Path, reserve_bytes: u64) -> Check {
    let free = match rustix::fs::statvfs(folder) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(error) => {
            return Check::new(name, Outcome::Fail, error.to_string(), "check the vault's folder");
        }
    };
    let message =
        format!("{} free, {} reserved", output::bytes(free), output::bytes(reserve_bytes));
    let hint = "make room: nothing is sealed below the reserve";
    match free / 4 {
        _ if free <= reserve_bytes => Check::new(name, Outcome::Fail, message, hint),
        quarter if quarter <= reserve_bytes => Check::new(name, Outcome::Warn, message, hint),
        _ => Check::ok(name, message),
    }
}

/// What an overwrite is worth there. Weak promises are a warning, because destroying the key
/// still makes every sealed copy unreadable.
fn storage(name: &str, folder: &Path) -> Option<Check> {
    let folder = File::open(folder).ok()?;
    let report = match vault::storage_report(folder.as_fd()) {
        Ok(report) => report,
        Err(error) => {
            let hint = "certificates will say that the overwrite is not guaranteed";
            return Some(Check::new(name, Outcome::Warn, error.to_string(), hint));
        }
    };
    let promise = report.promise.as_str();
    let message = format!("{} on {}: {promise}", report.file_system, report.media);
    Some(match report.promise {
        Overwrite::InPlaceVerified => Check::ok(name, message),
        Overwrite::InPlaceUnverified
        | Overwrite::NotGuaranteedCow
        | Overwrite::NotGuaranteedShared
        | Overwrite::NotGuaranteedInlineOrCompressed
        | Overwrite::NotGuaranteedRemote
        | Overwrite::JournalCopyPossible
        | Overwrite::NotGuaranteedUnknownFs
        | Overwrite::Skipped => Check::new(
            name,
            Outcome::Warn,
            message,
            "plaintext written there may outlive its removal: prefer ext4 or xfs on its own disk",
        ),
    })
}

/// Folders below `root`, itself included, at most `limit`; symlinks are not followed.
fn count_folders(root: &Path, limit: usize) -> usize {
    let mut open = vec![root.to_owned()];
    let mut count = 0;
    while let Some(folder) = open.pop() {
        count += 1;
        if count >= limit {
            break;
        }
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        open.extend(folders.map(|entry| entry.path()));
    }
    count
}

fn watches(folders: usize, limit: Option<u64>) -> Check {
    let name = "watch limit";
    let Some(limit) = limit else {
        let hint = "stores will be polled";
        return Check::new(name, Outcome::Warn, "this kernel has no inotify", hint);
    };
    let needed = folders as u64;
    let message = format!("{needed} folders, {limit} watches allowed");
    let hint = format!("sysctl fs.inotify.max_user_watches={}", (needed * 2).max(524_288));
    if needed > limit {
        Check::new(name, Outcome::Fail, message, hint)
    } else if needed > limit / 5 * 4 {
        Check::new(name, Outcome::Warn, message, hint)
    } else {
        Check::ok(name, message)
    }
}

fn proc_number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// What the daemon says about itself, if it runs.
fn daemon(global: &Global, now: Timestamp, checks: &mut Vec<Check>) {
    let status = match super::remote(global).and_then(|remote| remote.get("/api/v1/status")) {
        Ok(status) => status,
        Err(failure) if failure.exit == exit::UNREACHABLE => {
            let hint = "start it with `recseal serve`";
            checks.push(Check::new("daemon", Outcome::Warn, "does not run", hint));
            return;
        }
        Err(failure) => {
            checks.push(Check::new("daemon", Outcome::Fail, failure.message, failure.hint));
            return;
        }
    };
    checks.push(if status["ready"] == true {
        Check::ok("daemon", format!("{} runs and is ready", word(&status, "/version")))
    } else {
        let hint = "`recseal status` says what it waits for";
        Check::new("daemon", Outcome::Warn, "runs but is not ready", hint)
    });
    checks.extend(parse_time(word(&status, "/certificate/not_after")).map(|e| certificate(e, now)));
    for warning in status["warnings"].as_array().into_iter().flatten() {
        let field = |name: &str| word(warning, name).to_owned();
        checks.push(Check::new(field("/code"), Outcome::Warn, field("/message"), field("/hint")));
    }
}

fn certificate(not_after: Timestamp, now: Timestamp) -> Check {
    let days = (not_after.as_millis() - now.as_millis()).div_euclid(24 * HOUR_MS);
    let message = format!("valid until {not_after}, {days} days");
    let hint = "renewal is automatic: the daemon's log says why it has not happened";
    match days {
        ..0 => Check::new("certificate", Outcome::Fail, message, hint),
        0..14 => Check::new("certificate", Outcome::Warn, message, hint),
        14.. => Check::ok("certificate", message),
    }
}

/// The CPU's fast path for AES-GCM: without it sealing is ten to thirty times slower.
fn cipher(cpuinfo: &str) -> Check {
    let line = cpuinfo.lines().find(|l| l.starts_with("flags") || l.starts_with("Features"));
    let flags: Vec<&str> = line.map(|line| line.split_whitespace().collect()).unwrap_or_default();
    let has = |flag: &str| flags.contains(&flag);
    if has("aes") && (has("pclmulqdq") || has("pmull")) {
        let path = if has("vaes") && has("vpclmulqdq") { "wide (VAES)" } else { "present" };
        Check::ok("aes", format!("the CPU's AES instructions are {path}"))
    } else {
        Check::new(
            "aes",
            Outcome::Warn,
            "the CPU's AES instructions are missing or hidden",
            "in a virtual machine pass the host's CPU through; sealing is slow without them",
        )
    }
}

/// The folder itself, or the nearest one above it that exists.
fn nearest_folder(path: &Path) -> &Path {
    path.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"))
}

fn report(global: &Global, checks: &[Check]) -> Result<(), Failure> {
    let failed = checks.iter().filter(|check| check.outcome == Outcome::Fail).count();
    if global.json {
        let checks: Vec<Value> = checks.iter().map(|check| json!(check)).collect();
        output::print_json(&json!({ "ok": failed == 0, "checks": checks }))?;
    } else {
        let mut text = String::new();
        for check in checks {
            let word = match check.outcome {
                Outcome::Ok => "ok  ",
                Outcome::Warn => "warn",
                Outcome::Fail => "FAIL",
            };
            text.push_str(&format!("{word}  {}: {}\n", check.name, check.message));
            if check.outcome != Outcome::Ok {
                text.push_str(&format!("      hint: {}\n", check.hint));
            }
        }
        output::print(&text)?;
    }
    match failed {
        0 => Ok(()),
        _ => Err(Failure::new(
            exit::FAILED,
            format!("{failed} check(s) failed"),
            "mend what is marked FAIL, then run `recseal doctor` again",
        )),
    }
}

const FOLDERS_COUNTED: usize = 1_000_000;
const HOUR_MS: i64 = 3_600_000;
/// 2026-01-01: no honest clock says less.
const RELEASED_MS: i64 = 1_767_225_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn clocks_are_judged() {
        let now = at(RELEASED_MS + 10 * HOUR_MS);
        for (now, newest, outcome) in [
            (at(0), None, Outcome::Fail),
            (now, None, Outcome::Ok),
            (now, Some(now), Outcome::Ok),
            (now, Some(at(now.as_millis() + HOUR_MS + 1)), Outcome::Fail),
        ] {
            assert_eq!(judge_clock(now, newest).outcome, outcome);
        }
    }

    #[test]
    fn certificates_are_judged_by_days() {
        let day = 24 * HOUR_MS;
        for (ends_ms, outcome) in [
            (-1, Outcome::Fail),
            (0, Outcome::Warn),
            (14 * day - 1, Outcome::Warn),
            (14 * day, Outcome::Ok),
        ] {
            assert_eq!(certificate(at(ends_ms), at(0)).outcome, outcome, "{ends_ms}");
        }
    }

    #[test]
    fn watches_and_ciphers_are_judged() {
        for (folders, limit, outcome) in [
            (10, None, Outcome::Warn),
            (80, Some(100), Outcome::Ok),
            (81, Some(100), Outcome::Warn),
            (101, Some(100), Outcome::Fail),
        ] {
            assert_eq!(watches(folders, limit).outcome, outcome, "{folders} of {limit:?}");
        }
        for (cpuinfo, outcome) in [
            ("flags\t\t: fpu aes pclmulqdq", Outcome::Ok),
            ("flags\t\t: fpu aes pclmulqdq vaes vpclmulqdq", Outcome::Ok),
            ("Features\t: fp aes pmull", Outcome::Ok),
            ("flags\t\t: fpu", Outcome::Warn),
            ("", Outcome::Warn),
        ] {
            assert_eq!(cipher(cpuinfo).outcome, outcome, "{cpuinfo}");
        }
    }

    /// Planted fault: `mode & 0o007` misses a group that may read the root key.
    #[test]
    fn open_rights_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        assert!(root_key(folder.path()).is_none());
        fs::write(folder.path().join("root.key"), "x").unwrap();
        for (mode, outcome) in [(0o600, Outcome::Ok), (0o400, Outcome::Ok), (0o640, Outcome::Fail)]
        {
            set(&folder.path().join("root.key"), mode);
            assert_eq!(root_key(folder.path()).unwrap().outcome, outcome, "{mode:o}");
        }
        for (mode, outcome) in [(0o700, Outcome::Ok), (0o750, Outcome::Ok), (0o770, Outcome::Fail)]
        {
            set(folder.path(), mode);
            assert_eq!(state_folder(folder.path()).outcome, outcome, "{mode:o}");
        }
        set(folder.path(), 0o700);
    }

    #[test]
    fn folders_are_counted_up_to_a_limit() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("a/loop")).unwrap();
        assert_eq!(count_folders(root.path(), 100), 3);
        assert_eq!(count_folders(root.path(), 2), 2);
    }
}
