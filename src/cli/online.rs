//! Commands that the daemon answers: one request or two, and a way to show the answer.

use std::path::{Path, PathBuf};

use hyper::Method;
use serde_json::{Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::domain::RecordingId;

use super::args::{Global, Open, Out, RecordingVerb, Recordings, Tokens, Verify};
use super::failure::{Failure, exit};
use super::offline::{self, KeySource};
use super::output::{self, Sink};
use super::remote::{Remote, segment, target};
use super::seal_keys::PrivateKey;

/// `recseal status`
pub(super) fn status(global: &Global) -> Result<(), Failure> {
    let status = super::remote(global)?.get("/api/v1/status")?;
    if global.json {
        return output::print_json(&status);
    }
    let mut text = format!(
        "recseal {}, {}\n",
        word(&status, "/version"),
        match (status["ready"] == true, status["sealed_keys"] == true) {
            (true, _) => "ready",
            (false, true) => "locked",
            (false, false) => "not ready yet",
        }
    );
    if status["sealed_keys"] == true {
        text.push_str(&warning_lines(&status));
        return output::print(&text);
    }
    let count = |name: &str| status["recordings"][name].as_u64().unwrap_or(0);
    text.push_str(&format!(
        "recordings   {} available, {} waiting ({}), {} planned for deletion, {} deleted, \
         {} quarantined\n",
        count("available"),
        count("waiting"),
        output::bytes(count("waiting_bytes")),
        count("planned_for_deletion"),
        count("deleted"),
        count("quarantined"),
    ));
    text.push_str(&format!("certificate  until {}\n", word(&status, "/certificate/not_after")));
    text.push_str(&super::keks::status_line(&status["keys"]));
    text.push_str(&super::erase::status_line(&status["erasure"]));
    if status["listen"].is_object() {
        text.push_str(&format!(
            "listening    https://{}, health http://{}\n",
            word(&status, "/listen/https"),
            word(&status, "/listen/health")
        ));
    }
    for store in status["stores"].as_array().into_iter().flatten() {
        text.push_str(&store_line(store));
    }
    text.push_str(&warning_lines(&status));
    output::print(&text)
}

fn warning_lines(status: &Value) -> String {
    let mut text = String::new();
    for warning in status["warnings"].as_array().into_iter().flatten() {
        let (message, hint) = (word(warning, "/message"), word(warning, "/hint"));
        text.push_str(&format!("warning: {message}\n  hint: {hint}\n"));
    }
    text
}

fn store_line(store: &Value) -> String {
    let name = match word(store, "/path") {
        "" => word(store, "/id"),
        path => path,
    };
    let reason = match word(store, "/reason") {
        "" => String::new(),
        reason => format!(" ({reason})"),
    };
    format!(
        "store        {}: {}{reason} by {}, {}, {} on {}: {}\n",
        output::printable(name),
        word(store, "/state"),
        word(store, "/mode"),
        word(store, "/profile"),
        word(store, "/file_system"),
        word(store, "/media"),
        word(store, "/promise"),
    )
}

/// `recseal recordings`
pub(super) fn recordings(global: &Global, verb: &Recordings) -> Result<(), Failure> {
    let remote = super::remote(global)?;
    match &verb.what {
        Some(_) if verb.state_is.is_some() || verb.store.is_some() => Err(Failure::usage(
            "--state-is and --store belong to the list",
            "leave them out of `recordings show` and `recordings release`",
        )),
        None => list(global, &remote, verb),
        Some(RecordingVerb::Show { id }) => {
            let recording = remote.get(&format!("/api/v1/recordings/{id}"))?;
            if global.json { output::print_json(&recording) } else { show(&recording) }
        }
        Some(RecordingVerb::Release { id }) => {
            let path = format!("/api/v1/recordings/{id}/release");
            let answer = remote.send(Method::POST, &path, None)?;
            say(global, &answer, "released: it will be looked at again\n")
        }
    }
}

fn list(global: &Global, remote: &Remote, verb: &Recordings) -> Result<(), Failure> {
    let store = match &verb.store {
        None => None,
        Some(path) => Some(absolute(path)?.into_os_string().into_encoded_bytes()),
    };
    let state = verb.state_is.as_deref().map(str::as_bytes);
    let query = [("state", state), ("store", store.as_deref())];
    let items = remote.list("/api/v1/recordings", &query)?;
    if global.json {
        return output::print_json(&Value::Array(items));
    }
    if items.is_empty() {
        return output::print("no recordings\n");
    }
    let rows: Vec<Vec<String>> = items
        .iter()
        .map(|item| {
            let length = item["media"]["duration_ms"].as_u64().map(output::duration);
            vec![
                word(item, "/id").to_owned(),
                word(item, "/state").to_owned(),
                word(item, "/media/container").to_owned(),
                length.unwrap_or_default(),
                output::bytes(item["size_bytes"].as_u64().unwrap_or(0)),
                word(item, "/sealed_at").to_owned(),
                word(item, "/original_path").to_owned(),
            ]
        })
        .collect();
    output::print_table(&["ID", "STATE", "MEDIA", "LENGTH", "SIZE", "SEALED", "ORIGINAL"], &rows)
}

/// One fact a line, nested names joined by dots, nothing that is null.
pub(super) fn show(recording: &Value) -> Result<(), Failure> {
    fn flatten(name: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
        let below = |key: &str| if name.is_empty() { key.into() } else { format!("{name}.{key}") };
        match value {
            Value::Null => {}
            Value::Object(members) => {
                members.iter().for_each(|(key, value)| flatten(&below(key), value, rows));
            }
            Value::Array(items) => {
                let numbered = items.iter().enumerate();
                numbered.for_each(|(at, value)| flatten(&below(&at.to_string()), value, rows));
            }
            Value::String(text) => rows.push(vec![name.to_owned(), text.clone()]),
            Value::Bool(_) | Value::Number(_) => {
                rows.push(vec![name.to_owned(), value.to_string()]);
            }
        }
    }
    let mut rows = Vec::new();
    flatten("", recording, &mut rows);
    output::print_table(&["FACT", "VALUE"], &rows)
}

/// `recseal open`
pub(super) fn open(global: &Global, verb: &Open) -> Result<(), Failure> {
    let to_stdout = verb.out.out == Path::new("-");
    if to_stdout && global.json {
        return Err(Failure::usage("--json and -o - both want stdout", "leave one of them out"));
    }
    let private = PrivateKey::named(&verb.seal_key);
    let has_key = verb.key.is_some() || private.is_some();
    let plain_bytes = match target_of(&verb.what, has_key) {
        Target::Recording(id) => {
            let remote = super::remote(global)?;
            // The head is asked for by the download itself, so a refusal makes no file.
            let mut sink = Sink::open(&verb.out)?;
            let bar = output::bar(0, global.json);
            let path = format!("/api/v1/recordings/{id}/media");
            let show = |done, total| {
                bar.set_length(total);
                bar.set_position(done);
            };
            let done = remote
                .download(&path, &mut sink, &show)
                .map_err(|failure| explain(&remote, id, failure))?;
            bar.finish_and_clear();
            sink.finish()?;
            done
        }
        Target::SealedFile => {
            let ask = |id| key_text(&super::remote(global)?, id);
            let key = key_source(&verb.key, &ask);
            offline::open(&verb.what, &key, private.as_ref(), &verb.out, global.json)?
        }
    };
    if to_stdout {
        return Ok(());
    }
    let answer = json!({ "opened": true, "plain_bytes": plain_bytes });
    say(global, &answer, &format!("opened: {}\n", output::bytes(plain_bytes)))
}

/// `recseal verify`
pub(super) fn verify(global: &Global, verb: &Verify) -> Result<(), Failure> {
    let private = PrivateKey::named(&verb.seal_key);
    let answer = match target_of(&verb.what, verb.key.is_some() || private.is_some()) {
        Target::Recording(id) => {
            let path = format!("/api/v1/recordings/{id}/verify");
            let bar = output::bar(0, global.json);
            let show = |done, total| {
                bar.set_length(total);
                bar.set_position(done);
            };
            let answer = super::remote(global)?.send_watched(&path, None, &show);
            bar.finish_and_clear();
            answer?
        }
        Target::SealedFile => {
            let ask = |id| key_text(&super::remote(global)?, id);
            let key = key_source(&verb.key, &ask);
            offline::verify(&verb.what, &key, private.as_ref(), global.json)?
        }
    };
    let files = answer["files"].as_u64().unwrap_or(0);
    let bytes = output::bytes(answer["plain_bytes"].as_u64().unwrap_or(0));
    say(
        global,
        &answer,
        &format!("verified: {bytes} in {files} sealed file(s), every byte opens\n"),
    )
}

/// A stream that broke off cannot say why any more; a damaged recording can be asked again.
fn explain(remote: &Remote, id: Uuid, failure: Failure) -> Failure {
    let path = format!("/api/v1/recordings/{id}/verify");
    match failure.exit {
        exit::FAILED => match remote.send(Method::POST, &path, None) {
            Err(reason) if reason.exit == exit::VERIFICATION_FAILED => reason,
            _ => failure,
        },
        _ => failure,
    }
}

enum Target {
    Recording(Uuid),
    SealedFile,
}

/// A UUID is a recording's id unless a key file says that it can only be a file.
fn target_of(what: &Path, has_key: bool) -> Target {
    match what.to_str().and_then(|text| Uuid::try_parse(text).ok()) {
        Some(id) if !has_key => Target::Recording(id),
        _ => Target::SealedFile,
    }
}

fn key_source<'a>(
    key: &'a Option<PathBuf>,
    ask: &'a dyn Fn(RecordingId) -> Result<Zeroizing<String>, Failure>,
) -> KeySource<'a> {
    match key {
        Some(path) => KeySource::File(path),
        None => KeySource::Daemon(ask),
    }
}

pub(super) fn key_text(remote: &Remote, id: RecordingId) -> Result<Zeroizing<String>, Failure> {
    remote.text(Method::POST, &format!("/api/v1/recordings/{id}/key"), None)
}

/// Saves text of the daemon to a file, or prints it.
pub(super) fn save(global: &Global, out: &Out, bytes: &[u8]) -> Result<(), Failure> {
    save_quietly(out, bytes)?;
    if out.out == Path::new("-") {
        return Ok(());
    }
    say(global, &json!({ "written": true, "bytes": bytes.len() }), "written\n")
}

/// The same without a word.
pub(super) fn save_quietly(out: &Out, bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write;
    let mut sink = Sink::open(out)?;
    sink.write_all(bytes).map_err(|error| Failure::file("output file", &error))?;
    sink.finish()
}

/// `recseal tokens`
pub(super) fn tokens(global: &Global, verb: &Tokens) -> Result<(), Failure> {
    let remote = super::remote(global)?;
    match verb {
        Tokens::Create { name, role, expires } => {
            let body = json!({
                "name": name,
                "role": role.as_str(),
                "expires_in_seconds": expires.map(|span| span.as_secs()),
            });
            let answer = remote.send(Method::POST, "/api/v1/tokens", Some(&body))?;
            let secret = word(&answer, "/secret").to_owned();
            eprint_unless(global, "keep it now: it is shown this one time\n");
            say(global, &answer, &format!("{secret}\n"))
        }
        Tokens::List => {
            let items = remote.list("/api/v1/tokens", &[])?;
            if global.json {
                return output::print_json(&Value::Array(items));
            }
            let rows: Vec<Vec<String>> = items
                .iter()
                .map(|token| {
                    let until = match word(token, "/expires_at") {
                        _ if token["revoked"] == true => "revoked",
                        "" => "until revoked",
                        moment => moment,
                    };
                    let fields = ["/id", "/name", "/role"];
                    let mut row: Vec<String> =
                        fields.iter().map(|f| word(token, f).to_owned()).collect();
                    row.push(until.to_owned());
                    row
                })
                .collect();
            output::print_table(&["ID", "NAME", "ROLE", "VALID"], &rows)
        }
        Tokens::Revoke { id } => {
            remote.send(Method::DELETE, &format!("/api/v1/tokens/{}", segment(id)), None)?;
            say(global, &json!({ "id": id, "revoked": true }), "revoked\n")
        }
    }
}

/// `recseal done PATH`
pub(super) fn done(global: &Global, path: &Path) -> Result<(), Failure> {
    let remote = super::remote(global)?;
    let path = absolute(path)?;
    // Only the folder can be resolved: the file may be sealed and gone already.
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    let real = match folder.zip(path.file_name()) {
        Some((folder, name)) => folder.join(name),
        None => path,
    };
    let body = json!({ "path": real });
    let answer = remote.send(Method::POST, &target("/api/v1/done", &[]), Some(&body))?;
    say(global, &answer, "noted: it is sealed without waiting for it to settle\n")
}

/// The answer as JSON, or the words for people.
pub(super) fn say(global: &Global, answer: &Value, words: &str) -> Result<(), Failure> {
    if global.json { output::print_json(answer) } else { output::print(words) }
}

fn eprint_unless(global: &Global, words: &str) {
    if !global.json {
        eprint!("{words}");
    }
}

/// The string at `pointer`, empty if there is none.
pub(super) fn word<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::file("path", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_recording_unless_a_key_is_given() {
        let id = Path::new("0192f0c8-7a3b-7c4d-8e5f-123456789abc");
        assert!(matches!(target_of(id, false), Target::Recording(_)));
        assert!(matches!(target_of(id, true), Target::SealedFile));
        assert!(matches!(target_of(Path::new("call.sealed"), false), Target::SealedFile));
    }
}
