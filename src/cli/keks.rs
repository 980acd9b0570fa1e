//! Those verbs of `recseal keys` that concern key versions.

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read};
use std::path::Path;

use hyper::Method;
use keymanager::Tombstone;
use serde_json::{Value, json};

use crate::clock::Timestamp;

use super::args::keks::{Certificate, Destroy, Keks};
use super::args::{Global, Out};
use super::failure::{Failure, exit};
use super::online::{save, say, show, word};
use super::output;
use super::remote::Remote;

/// `recseal keys list …`
pub(super) fn run(global: &Global, verb: &Keks) -> Result<(), Failure> {
    match verb {
        Keks::List => list(global),
        Keks::Show { version } => {
            let version = super::remote(global)?.get(&path(*version, ""))?;
            if global.json { output::print_json(&version) } else { show(&version) }
        }
        Keks::Usage => usage(global),
        Keks::Rotate { compromised, wait } => rotate(global, *compromised, *wait),
        Keks::Rewrap { wait } => rewrap(global, *wait),
        Keks::Disable { version } => step(global, *version, "/disable", "disabled\n"),
        Keks::Enable { version } => step(global, *version, "/enable", "it may be used again\n"),
        Keks::Destroy(destroy) => destroy_version(global, destroy),
        Keks::Restore { version } => {
            let words = "restored; it is disabled until `recseal keys enable`\n";
            step(global, *version, "/restore", words)
        }
        Keks::Certificate(certificate) => certify(global, certificate),
    }
}

/// The keys in `recseal status`.
pub(super) fn status_line(keys: &Value) -> String {
    let number = |pointer: &str| keys.pointer(pointer).and_then(Value::as_u64);
    let Some(active) = number("/active_version") else { return String::new() };
    let next = match word(keys, "/next_rotation_at") {
        "" => "replaced by people".to_owned(),
        moment => format!("until {moment}"),
    };
    let left = match number("/rewrap/pending").unwrap_or(0) {
        0 => String::new(),
        pending => match number("/rewrap/eta_seconds") {
            Some(seconds) => format!(", {pending} data keys to wrap anew, {seconds} s left"),
            None => format!(", {pending} data keys to wrap anew"),
        },
    };
    format!("keys         version {active} {next}{left}\n")
}

fn list(global: &Global) -> Result<(), Failure> {
    let items = super::remote(global)?.list(VERSIONS, &[])?;
    if global.json {
        return output::print_json(&Value::Array(items));
    }
    let row = |item: &Value| {
        let state = match item["compromised"] == true {
            true => format!("{}, compromised", word(item, "/state")),
            false => word(item, "/state").to_owned(),
        };
        let ends = match word(item, "/destroyed_at") {
            "" => word(item, "/destroy_at"),
            gone => gone,
        };
        vec![
            item["version"].to_string(),
            state,
            item["recordings"].to_string(),
            word(item, "/created_at").to_owned(),
            word(item, "/retired_at").to_owned(),
            ends.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = items.iter().map(row).collect();
    output::print_table(
        &["VERSION", "STATE", "RECORDINGS", "CREATED", "RETIRED", "DESTROYED"],
        &rows,
    )
}

fn usage(global: &Global) -> Result<(), Failure> {
    let items = super::remote(global)?.list(VERSIONS, &[])?;
    let used = items.iter().filter(|item| item["recordings"].as_u64().unwrap_or(0) > 0);
    if global.json {
        let usage = used.map(|item| {
            json!({
                "version": item["version"],
                "state": item["state"],
                "recordings": item["recordings"],
            })
        });
        return output::print_json(&Value::Array(usage.collect()));
    }
    let rows: Vec<Vec<String>> = used
        .map(|item| {
            let state = word(item, "/state").to_owned();
            vec![item["version"].to_string(), state, item["recordings"].to_string()]
        })
        .collect();
    output::print_table(&["VERSION", "STATE", "RECORDINGS"], &rows)
}

fn rotate(global: &Global, compromised: bool, wait: bool) -> Result<(), Failure> {
    let remote = super::remote(global)?;
    let body = json!({ "compromised": compromised });
    let mut answer = remote.send(Method::POST, VERSIONS, Some(&body))?;
    let mut words = format!("version {} is active now\n", answer["version"]);
    if wait {
        let moved = wait_for_rewrap(&remote, global)?;
        answer["moved"] = json!(moved);
        words.push_str(&format!("{moved} data keys are under it\n"));
    }
    say(global, &answer, &words)
}

fn rewrap(global: &Global, wait: bool) -> Result<(), Failure> {
    let remote = super::remote(global)?;
    if wait {
        let moved = wait_for_rewrap(&remote, global)?;
        let answer = json!({ "moved": moved, "pending": 0, "done": true });
        return say(
            global,
            &answer,
            &format!("{moved} data keys were wrapped anew; none is left\n"),
        );
    }
    let answer = remote.send(Method::POST, REWRAP, None)?;
    let words = format!("{} data keys are left; the daemon goes on\n", answer["pending"]);
    say(global, &answer, &words)
}

/// Asks for one batch after the other. Returns how many data keys moved meanwhile.
fn wait_for_rewrap(remote: &Remote, global: &Global) -> Result<u64, Failure> {
    let status = remote.get("/api/v1/status")?;
    let before = status["keys"]["rewrap"]["pending"].as_u64().unwrap_or(0);
    let bar = output::count_bar(before, global.json);
    loop {
        let step = remote.send(Method::POST, REWRAP, None)?;
        let number = |name: &str| step[name].as_u64().unwrap_or(0);
        let (pending, failed) = (number("pending"), number("failed"));
        bar.set_position(before.saturating_sub(pending));
        if step["done"] == true {
            bar.finish_and_clear();
            if failed > 0 {
                return Err(Failure::new(
                    exit::PARTLY_DONE,
                    format!("{failed} data keys cannot be wrapped anew"),
                    "their rows are damaged: restore the catalog from a backup, or erase them",
                ));
            }
            return Ok(before.saturating_sub(pending));
        }
    }
}

fn step(global: &Global, version: u32, act: &str, words: &str) -> Result<(), Failure> {
    let answer = super::remote(global)?.send(Method::POST, &path(version, act), None)?;
    say(global, &answer, words)
}

fn destroy_version(global: &Global, destroy: &Destroy) -> Result<(), Failure> {
    let version = destroy.version;
    if destroy.now && !destroy.yes {
        confirm(version)?;
    }
    let body = json!({
        "at": destroy.at,
        "now": destroy.now,
        "confirm": destroy.now.then_some(version),
        "reason": destroy.reason,
    });
    let remote = super::remote(global)?;
    let answer = remote.send(Method::POST, &path(version, "/destroy"), Some(&body))?;
    let words = match word(&answer, "/state") {
        "destroyed" => format!(
            "destroyed; `recseal keys certificate {version} -o FILE` saves the certificate\n"
        ),
        _ => format!(
            "it will be destroyed at {}; `recseal keys restore {version}` takes that back\n",
            word(&answer, "/destroy_at")
        ),
    };
    say(global, &answer, &words)
}

/// The number typed once more. Without a terminal nobody can: then it takes `--yes`.
fn confirm(version: u32) -> Result<(), Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::usage(
            "destroying a key version at once has no way back",
            "say --yes, or leave --now out to have time to think again",
        ));
    }
    eprint!("Nobody will ever use key version {version} again. Type its number to go on: ");
    let mut line = String::new();
    stdin.lock().read_line(&mut line).map_err(|error| Failure::file("standard input", &error))?;
    if line.trim() == version.to_string() {
        return Ok(());
    }
    Err(Failure::new(exit::REFUSED, "that is not its number", "nothing was changed"))
}

fn certify(global: &Global, certificate: &Certificate) -> Result<(), Failure> {
    if let (Some(file), Some(public_key)) = (&certificate.verify, &certificate.public_key) {
        return verify(global, file, public_key);
    }
    let (Some(version), Some(out)) = (certificate.version, &certificate.out) else {
        return Err(Failure::usage("name a version and a file", "as `certificate 2 -o FILE`"));
    };
    let text = super::remote(global)?.text(Method::GET, &path(version, "/certificate"), None)?;
    let out = Out { out: out.clone(), force: certificate.force };
    save(global, &out, text.as_bytes())
}

fn verify(global: &Global, file: &Path, public_key: &Path) -> Result<(), Failure> {
    let keys = super::audit::read_public_keys(public_key)?;
    let unreadable = |error: io::Error| Failure::file("certificate", &error);
    let mut text = String::new();
    let opened = File::open(file).map_err(unreadable)?;
    opened.take(CERTIFICATE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
    let judged = Tombstone::parse(&text).and_then(|tombstone| {
        tombstone.verify(&keys)?;
        Ok(tombstone)
    });
    let tombstone = judged.map_err(|error| {
        let hint = "take the file as `recseal keys certificate` wrote it, and the public keys of \
                    the host that signed it";
        Failure::of(exit::VERIFICATION_FAILED, &error, hint)
    })?;
    let time = |millis: i64| Timestamp::from_millis(millis).to_string();
    let answer = json!({
        "verified": true,
        "version": tombstone.version,
        "created_at": time(tombstone.created_ms),
        "retired_at": tombstone.retired_ms.map(time),
        "destroyed_at": time(tombstone.destroyed_ms),
        "recordings_at_scheduling": tombstone.recordings_at_scheduling,
        "reason": tombstone.reason,
        "by": tombstone.by,
    });
    let words = format!(
        "verified: key version {} was destroyed at {}\n",
        tombstone.version,
        time(tombstone.destroyed_ms)
    );
    say(global, &answer, &words)
}

fn path(version: u32, act: &str) -> String {
    format!("{VERSIONS}/{version}{act}")
}

const VERSIONS: &str = "/api/v1/keys/versions";
const REWRAP: &str = "/api/v1/keys/rewrap";
const CERTIFICATE_BYTES_MAX: u64 = 64 << 10;
