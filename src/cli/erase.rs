//! `recseal erase`: the plan first, then the question, then the order; and everything about jobs.

mod events;
mod follow;

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};

use hyper::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::args::Global;
use super::args::erase::{Chosen, Erase, EraseVerb, Only, Reason};
use super::failure::{Failure, exit};
use super::online::{say, show, word};
use super::output;
use super::secrets::confirm;

/// `recseal erase …`
pub(super) fn run(global: &Global, erase: &Erase) -> Result<(), Failure> {
    let Some(verb) = &erase.what else { return order(global, erase) };
    if erase.chosen.is_any() || erase.dry_run || erase.yes || erase.wait || erase.confirm.is_some()
    {
        return Err(Failure::usage(
            "what is to be erased and a verb about erasures do not go together",
            "give `recseal erase` either --recording and the like, or a verb as `status`",
        ));
    }
    let one = |job: &Uuid, act: &str| format!("{JOBS}/{job}{act}");
    let steer = |path: String, words: &str| {
        let answer = super::remote(global)?.send(Method::POST, &path, None)?;
        say(global, &answer, words)
    };
    match verb {
        EraseVerb::Status { job, follow } => status(global, *job, *follow),
        EraseVerb::List => list(global),
        EraseVerb::Items { job, only } => items(global, *job, *only),
        EraseVerb::Approve { job } => steer(one(job, "/approve"), "approved: it runs\n"),
        EraseVerb::Pause { job: None } => steer(format!("{JOBS}/pause"), "erasures are paused\n"),
        EraseVerb::Pause { job: Some(job) } => steer(one(job, "/pause"), "paused\n"),
        EraseVerb::Resume { job: None } => steer(format!("{JOBS}/resume"), "erasures go on\n"),
        EraseVerb::Resume { job: Some(job) } => steer(one(job, "/resume"), "it goes on\n"),
        EraseVerb::Cancel { job } => {
            steer(one(job, "/cancel"), "taken back, but for what was begun already\n")
        }
        EraseVerb::Limit { rate } => limit(global, *rate),
        EraseVerb::Finalize { now, yes } => finalize(global, *now, *yes),
    }
}

/// The erasures in `recseal status`; nothing where nothing is owed.
pub(super) fn status_line(erasure: &Value) -> String {
    match number(erasure, "pending_files") + number(erasure, "blocked_files") {
        0 => String::new(),
        _ => format!("erasure      {}\n", follow::queue_line(erasure)),
    }
}

impl Chosen {
    fn is_any(&self) -> bool {
        !self.recordings.is_empty()
            || !self.conversations.is_empty()
            || self.person.is_some()
            || self.query.is_some()
            || self.due
            || self.files.is_some()
    }

    /// The selection as the interface takes it. Values behind `-` are read here.
    fn body(&self) -> Result<Value, Failure> {
        let given = |text: &String| if text == "-" { read_line() } else { Ok(text.clone()) };
        Ok(if !self.recordings.is_empty() {
            json!({ "recordings": self.recordings })
        } else if !self.conversations.is_empty() {
            json!({ "conversations": self.conversations })
        } else if let Some(person) = &self.person {
            json!({ "person": given(person)? })
        } else if let Some(query) = &self.query {
            json!({ "query": given(query)? })
        } else if let Some(list) = &self.files {
            json!({ "files": read_list(list)? })
        } else {
            json!({ "due": true })
        })
    }
}

fn order(global: &Global, erase: &Erase) -> Result<(), Failure> {
    let remote = super::remote(global)?;
    let mut body = erase.chosen.body()?;
    body["reason"] = json!(erase.reason.map(Reason::as_str));
    let plan = remote.send(Method::POST, &format!("{JOBS}/plan"), Some(&body))?;
    if erase.dry_run {
        return say(global, &plan, &plan_text(&plan));
    }
    if !global.json {
        output::print(&plan_text(&plan))?;
    }
    let marks = number(&plan, "marks");
    if marks == 0 {
        let answer = json!({ "job": null, "plan": plan });
        if global.json {
            output::print_json(&answer)?;
        }
        let is_named = !erase.chosen.conversations.is_empty() || erase.chosen.files.is_some();
        return match is_named && amount(&plan, "chosen").0 == 0 {
            true => Err(Failure::new(
                exit::NOT_FOUND,
                "no recordings belong to what was named",
                "`recseal recordings` lists what there is",
            )),
            false => Ok(()),
        };
    }
    body["confirm"] = json!(agreed(erase, &plan, marks)?);
    let answer = remote.send(Method::POST, JOBS, Some(&body))?;
    let job = word(&answer, "/job/id").to_owned();
    if erase.wait && amount(&answer["plan"], "erase").0 > 0 {
        let job = follow::job(global, &remote, &job, true)?;
        if global.json {
            output::print_json(&json!({ "job": job, "plan": answer["plan"] }))?;
        }
        return follow::verdict(&job);
    }
    say(global, &answer, &ordered_text(&answer, &job))?;
    let (erase, blocked) = (amount(&answer["plan"], "erase").0, number_of_blocked(&answer));
    if erase == 0 && blocked > 0 {
        return Err(Failure::new(
            exit::REFUSED,
            format!("nothing is erased: {}", blocked_text(&answer["plan"])),
            format!("they wait and go by themselves: recseal erase items {job} --only blocked"),
        ));
    }
    Ok(())
}

/// The number that is confirmed, by option or by a person.
fn agreed(erase: &Erase, plan: &Value, marks: u64) -> Result<u64, Failure> {
    if let Some(count) = erase.confirm {
        return Ok(count);
    }
    let what = format!("This erases {marks} recordings for good");
    match plan["needs_confirm"] == true {
        true => confirm(erase.yes, &what, &marks.to_string())?,
        false => confirm(erase.yes, &what, "y")?,
    }
    Ok(marks)
}

fn number_of_blocked(answer: &Value) -> u64 {
    amount(&answer["plan"], "blocked").0
}

fn amount(plan: &Value, name: &str) -> (u64, u64) {
    (number(&plan[name], "recordings"), number(&plan[name], "bytes"))
}

/// The number called `name`, 0 if there is none.
fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or(0)
}

/// What a plan comes to, for people.
pub(super) fn plan_text(plan: &Value) -> String {
    let mut text = String::new();
    for (name, label) in [
        ("chosen", "found"),
        ("erase", "to be erased"),
        ("not_sealed_yet", "  of those, not sealed yet"),
        ("blocked", "protected, wait"),
        ("already_planned", "owed already"),
        ("already_erased", "erased already"),
    ] {
        let (recordings, bytes) = amount(plan, name);
        if recordings > 0 || name == "chosen" {
            let size = output::bytes(bytes);
            text.push_str(&format!("{label:<28}{recordings:>9} recordings  {size:>12}\n"));
        }
    }
    if amount(plan, "blocked").0 > 0 {
        text.push_str(&format!("{}\n", blocked_text(plan)));
    }
    if plan["needs_approval"] == true {
        text.push_str("a second person has to approve it\n");
    }
    text
}

/// `3 recordings are protected: 2 by hold, 1 by retention`
fn blocked_text(plan: &Value) -> String {
    let kinds = plan["blocked_by"].as_object().into_iter().flatten();
    let kinds: Vec<String> = kinds.map(|(kind, count)| format!("{count} by {kind}")).collect();
    format!("{} recordings are protected: {}", amount(plan, "blocked").0, kinds.join(", "))
}

fn ordered_text(answer: &Value, job: &str) -> String {
    match word(answer, "/job/state") {
        "" => "nothing is left to be erased\n".to_owned(),
        "awaiting_approval" => {
            format!("job {job} awaits a second person: recseal erase approve {job}\n")
        }
        _ => format!("job {job}: recseal erase status {job} --follow\n"),
    }
}

fn status(global: &Global, job: Option<Uuid>, is_followed: bool) -> Result<(), Failure> {
    let remote = super::remote(global)?;
    if is_followed {
        let last = match job {
            Some(job) => follow::job(global, &remote, &job.to_string(), false)?,
            None => follow::queue(global, &remote)?,
        };
        if global.json {
            output::print_json(&last)?;
        }
        return Ok(());
    }
    match job {
        Some(job) => {
            let found = remote.get(&format!("{JOBS}/{job}"))?;
            if global.json { output::print_json(&found) } else { show(&found) }
        }
        None => {
            let queue = remote.get(&format!("{JOBS}/status"))?;
            say(global, &queue, &format!("erase queue: {}\n", follow::queue_line(&queue)))
        }
    }
}

fn list(global: &Global) -> Result<(), Failure> {
    let jobs = super::remote(global)?.list(JOBS, &[])?;
    if global.json {
        return output::print_json(&Value::Array(jobs));
    }
    let row = |job: &Value| {
        let progress = &job["progress"];
        vec![
            word(job, "/id").to_owned(),
            word(job, "/state").to_owned(),
            format!("{}/{}", number(progress, "done_files"), number(progress, "files")),
            number(progress, "blocked_files").to_string(),
            number(progress, "failing_files").to_string(),
            output::bytes(number(progress, "bytes")),
            word(job, "/selection").to_owned(),
            word(job, "/requested_by").to_owned(),
            word(job, "/created_at").to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = jobs.iter().map(row).collect();
    output::print_table(
        &["JOB", "STATE", "DONE", "BLOCKED", "FAILING", "SIZE", "CHOSEN BY", "ASKED BY", "AT"],
        &rows,
    )
}

fn items(global: &Global, job: Uuid, only: Option<Only>) -> Result<(), Failure> {
    let only: Option<&[u8]> = only.map(|which| match which {
        Only::Blocked => &b"blocked"[..],
        Only::Failing => &b"failing"[..],
    });
    let path = format!("{JOBS}/{job}/items");
    let items = super::remote(global)?.list(&path, &[("only", only)])?;
    if global.json {
        return output::print_json(&Value::Array(items));
    }
    let row = |item: &Value| {
        let why = match (word(item, "/blocked_by"), word(item, "/problem")) {
            ("", "") => String::new(),
            ("", problem) => format!("{problem}, {} times", number(item, "failures")),
            (kind, _) => format!("protected by {kind}"),
        };
        vec![
            word(item, "/recording").to_owned(),
            word(item, "/step").to_owned(),
            output::bytes(number(item, "bytes")),
            why,
            word(item, "/next_try_at").to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = items.iter().map(row).collect();
    output::print_table(&["RECORDING", "STEP", "SIZE", "WHY NOT", "NEXT TRY"], &rows)
}

fn limit(global: &Global, rate: u64) -> Result<(), Failure> {
    let body = json!({ "bytes_per_second": rate });
    let path = format!("{JOBS}/limit");
    let answer = super::remote(global)?.send(Method::PUT, &path, Some(&body))?;
    let words = match rate {
        0 => "no limit\n".to_owned(),
        rate => format!("at most {} per second\n", output::bytes(rate)),
    };
    say(global, &answer, &words)
}

fn finalize(global: &Global, now: bool, yes: bool) -> Result<(), Failure> {
    if now {
        let what = "Nobody will ever use the old key versions again, nor backups that need them";
        confirm(yes, what, "destroy")?;
    }
    let body = json!({ "now": now, "confirm": now.then_some("destroy") });
    let path = format!("{JOBS}/finalize");
    let answer = super::remote(global)?.send(Method::POST, &path, Some(&body))?;
    let mut words = format!(
        "{} certificates became final, {} are not yet\n",
        number(&answer, "final_now"),
        number(&answer, "not_final")
    );
    if let Some(version) = answer["rotated_to"].as_u64() {
        words.push_str(&format!("key version {version} took over\n"));
    }
    let versions = |name: &str| {
        let versions = answer[name].as_array().into_iter().flatten();
        versions.map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    for (name, says) in [
        ("scheduled", "have a date of destruction, or are destroyed"),
        ("still_needed", "are needed until their data keys are wrapped anew: ask again then"),
    ] {
        match versions(name) {
            none if none.is_empty() => {}
            versions => words.push_str(&format!("key versions {versions} {says}\n")),
        }
    }
    if number(&answer, "waiting_for_backups") > 0 {
        words.push_str(&format!(
            "{} backups hold keys of erased recordings: recseal backup forget ID once they are gone\n",
            number(&answer, "waiting_for_backups")
        ));
    }
    say(global, &answer, &words)
}

/// A value that must not stand on a command line.
fn read_line() -> Result<String, Failure> {
    if io::stdin().is_terminal() {
        eprint!("Value: ");
    }
    let mut line = String::new();
    let failed = |error: io::Error| Failure::file("standard input", &error);
    io::stdin().lock().take(LINE_BYTES_MAX).read_line(&mut line).map_err(failed)?;
    Ok(line.trim().to_owned())
}

/// Paths, one a line, made whole.
fn read_list(list: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error: io::Error| Failure::file("list of files", &error);
    let mut text = String::new();
    match list == Path::new("-") {
        true => io::stdin().lock().take(LIST_BYTES_MAX).read_to_string(&mut text),
        false => {
            let file = File::open(list).map_err(failed)?;
            file.take(LIST_BYTES_MAX).read_to_string(&mut text)
        }
    }
    .map_err(failed)?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| std::path::absolute(line).map_err(failed)).collect()
}

const JOBS: &str = "/api/v1/erasures";
const LINE_BYTES_MAX: u64 = 4_096;
const LIST_BYTES_MAX: u64 = 16 << 20;
