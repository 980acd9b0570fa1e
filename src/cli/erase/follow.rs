//! Watching erasures: bars where somebody looks, lines where somebody reads later.
//!
//! The daemon may be restarted meanwhile: what was missed is asked for with the id of the last
//! event. Ctrl-C ends the watching and nothing else.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::Value;

use super::super::args::Global;
use super::super::failure::{Failure, exit};
use super::super::online::word;
use super::super::output;
use super::super::remote::Remote;
use super::events::{Cutter, Event};
use super::{JOBS, number};

/// Follows one job to its end; as it was last seen. With `is_waiting` also to where nothing but
/// what is protected or fails is left.
pub(super) fn job(
    global: &Global,
    remote: &Remote,
    id: &str,
    is_waiting: bool,
) -> Result<Value, Failure> {
    let path = format!("{JOBS}/{id}");
    let view = View::new(global);
    let is_over = |job: &Value| is_ended(job) || (is_waiting && is_stuck(job));
    let last = watch(
        remote,
        &path,
        &mut |event| {
            let is_mine = event.name == "job";
            let found: Value = serde_json::from_str(&event.data).unwrap_or_default();
            (is_mine && found["id"] == *id).then_some(found)
        },
        &mut |job| {
            view.show(&job["progress"], &job_line(job));
            is_over(job)
        },
    )?;
    view.end();
    Ok(last)
}

/// Follows the queue until nothing is left that may go; as it was last seen.
pub(super) fn queue(global: &Global, remote: &Remote) -> Result<Value, Failure> {
    let view = View::new(global);
    let last = watch(
        remote,
        &format!("{JOBS}/status"),
        &mut |event| {
            (event.name == "queue").then(|| serde_json::from_str(&event.data).unwrap_or_default())
        },
        &mut |queue: &Value| {
            view.show(queue, &queue_line(queue));
            number(queue, "pending_files") == 0
        },
    )?;
    view.end();
    Ok(last)
}

/// How a job ended, as an exit code.
pub(super) fn verdict(job: &Value) -> Result<(), Failure> {
    let progress = &job["progress"];
    let id = word(job, "/id");
    let [done, all] = ["done_files", "files"].map(|name| number(progress, name));
    let [blocked, failing] = ["blocked_files", "failing_files"].map(|name| number(progress, name));
    if word(job, "/state") == "cancelled" {
        let message = format!("taken back: {done} recordings were erased");
        return Err(Failure::new(exit::PARTLY_DONE, message, "the others are as they were"));
    }
    if done == all {
        return Ok(());
    }
    let which = if failing > 0 { "failing" } else { "blocked" };
    Err(Failure::new(
        exit::PARTLY_DONE,
        format!("{done} of {all} erased; {blocked} are protected, {failing} failed so far"),
        format!("they are tried again: recseal erase items {id} --only {which}"),
    ))
}

fn is_ended(job: &Value) -> bool {
    matches!(word(job, "/state"), "finished" | "cancelled")
}

/// Nothing is left but what is protected or failed.
fn is_stuck(job: &Value) -> bool {
    let progress = &job["progress"];
    number(progress, "pending_files") <= number(progress, "failing_files")
}

/// Asks for the state at `path`, then listens; begins anew whenever the stream ends, until
/// `is_over`. What `choose` takes out of an event is a new state.
fn watch(
    remote: &Remote,
    path: &str,
    choose: &mut dyn FnMut(&Event) -> Option<Value>,
    is_over: &mut dyn FnMut(&Value) -> bool,
) -> Result<Value, Failure> {
    let (mut last_id, mut lost) = (String::new(), 0);
    let mut state = remote.get(path)?;
    loop {
        if is_over(&state) {
            return Ok(state);
        }
        let from = last_id.clone();
        let mut cutter = Cutter::default();
        let mut hear = |bytes: &[u8]| {
            for event in cutter.take(bytes)? {
                lost = 0;
                last_id.clone_from(&event.id);
                if let Some(found) = choose(&event) {
                    state = found;
                    if is_over(&state) {
                        return Ok(true);
                    }
                }
            }
            Ok(false)
        };
        let heard = remote.listen(&format!("{JOBS}/events"), &from, &mut hear);
        match heard {
            Ok(true) => return Ok(state),
            Ok(false) => {}
            Err(failure) if failure.exit != exit::UNREACHABLE => return Err(failure),
            Err(failure) if lost >= LOST_MAX => return Err(failure),
            Err(_) => {}
        }
        lost += 1;
        remote.wait(AGAIN);
        // What ended meanwhile is no event any more.
        match remote.get(path) {
            Ok(found) => state = found,
            Err(failure) if failure.exit != exit::UNREACHABLE || lost > LOST_MAX => {
                return Err(failure);
            }
            Err(_) => {}
        }
    }
}

/// Where it is shown.
struct View {
    bar: Option<ProgressBar>,
    is_quiet: bool,
    said: std::cell::RefCell<String>,
}

impl View {
    fn new(global: &Global) -> Self {
        let is_looked_at = io::stderr().is_terminal() && !global.json;
        Self {
            bar: is_looked_at.then(|| output::work_bar(0)),
            is_quiet: global.json,
            said: Default::default(),
        }
    }

    /// `amounts` has files and bytes, done and in all.
    fn show(&self, amounts: &Value, line: &str) {
        let Some(bar) = &self.bar else {
            if !self.is_quiet && *self.said.borrow() != line {
                line.clone_into(&mut self.said.borrow_mut());
                // Whoever closed the pipe has seen enough; the end comes all the same.
                let _ = output::print(&format!("{line}\n"));
            }
            return;
        };
        let done = number(amounts, "done_bytes");
        let all = match number(amounts, "bytes") {
            0 => done + number(amounts, "pending_bytes"),
            bytes => bytes,
        };
        bar.set_length(all.max(1));
        bar.set_position(done);
        bar.set_message(line.to_owned());
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// `3 of 10 files · 1 protected · 0 failed · 19 min left`
fn job_line(job: &Value) -> String {
    let progress = &job["progress"];
    let mut line = format!(
        "{}: {} of {} files, {} of {}",
        word(job, "/state"),
        number(progress, "done_files"),
        number(progress, "files"),
        output::bytes(number(progress, "done_bytes")),
        output::bytes(number(progress, "bytes")),
    );
    push_oddities(&mut line, progress);
    push_eta(&mut line, job);
    line
}

/// `1482 waiting (214 GiB) · 3 active · 2 protected · 186 MiB/s · 19 min left · oldest 2 h`
pub(super) fn queue_line(queue: &Value) -> String {
    let mut line = format!(
        "{} waiting ({})",
        number(queue, "pending_files"),
        output::bytes(number(queue, "pending_bytes"))
    );
    let active = queue["active"].as_array().map_or(0, Vec::len);
    if active > 0 {
        line.push_str(&format!(" · {active} active"));
    }
    push_oddities(&mut line, queue);
    let rate = number(queue, "bytes_per_second");
    if rate > 0 {
        line.push_str(&format!(" · {}/s", output::bytes(rate)));
    }
    if number(queue, "limit_bytes_per_second") > 0 {
        let limit = output::bytes(number(queue, "limit_bytes_per_second"));
        line.push_str(&format!(" (limit {limit}/s)"));
    }
    push_eta(&mut line, queue);
    if let Some(oldest) = queue["oldest_pending_seconds"].as_u64() {
        line.push_str(&format!(" · oldest {}", span(oldest)));
    }
    for (name, says) in
        [("late", "LATE"), ("paused", "paused"), ("outside_window", "not the time of day for it")]
    {
        if queue[name] == true {
            line.push_str(&format!(" · {says}"));
        }
    }
    if number(queue, "awaiting_approval") > 0 {
        let jobs = number(queue, "awaiting_approval");
        line.push_str(&format!(" · {jobs} jobs await approval"));
    }
    line
}

fn push_oddities(line: &mut String, progress: &Value) {
    for (name, says) in [("blocked_files", "protected"), ("failing_files", "failing")] {
        if number(progress, name) > 0 {
            line.push_str(&format!(" · {} {says}", number(progress, name)));
        }
    }
}

fn push_eta(line: &mut String, value: &Value) {
    if let Some(seconds) = value["eta_seconds"].as_u64() {
        line.push_str(&format!(" · {} left", span(seconds)));
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// How soon a daemon that went away is asked again, and how often.
const AGAIN: Duration = Duration::from_millis(500);
const LOST_MAX: u32 = 600;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(state: &str, [files, done, blocked, failing]: [u64; 4]) -> Value {
        json!({ "id": "x", "state": state, "progress": {
            "files": files, "done_files": done, "blocked_files": blocked,
            "failing_files": failing, "pending_files": files - done - blocked,
        } })
    }

    /// Meant to catch: waiting for ever for what a hold protects.
    #[test]
    fn a_wait_ends_where_nothing_moves_any_more() {
        for (state, counts, is_over, code) in [
            ("running", [3, 1, 0, 0], false, Some(exit::PARTLY_DONE)),
            ("running", [3, 2, 1, 0], true, Some(exit::PARTLY_DONE)),
            ("running", [3, 1, 1, 1], true, Some(exit::PARTLY_DONE)),
            ("paused", [3, 1, 0, 0], false, Some(exit::PARTLY_DONE)),
            ("finished", [3, 3, 0, 0], true, None),
            ("cancelled", [1, 1, 0, 0], true, Some(exit::PARTLY_DONE)),
        ] {
            let job = job(state, counts);
            assert_eq!(is_ended(&job) || is_stuck(&job), is_over, "{job}");
            assert_eq!(verdict(&job).err().map(|failure| failure.exit), code, "{job}");
        }
    }

    #[test]
    fn lines_say_what_matters() {
        let queue = json!({
            "pending_files": 1_482, "pending_bytes": 3_u64 << 30, "blocked_files": 2,
            "failing_files": 0, "bytes_per_second": 186 << 20, "eta_seconds": 1_140,
            "oldest_pending_seconds": 7_440, "paused": false, "late": true,
        });
        assert_eq!(
            queue_line(&queue),
            "1482 waiting (3.00 GiB) · 2 protected · 186.00 MiB/s · 19 min left · oldest 2 h · LATE"
        );
        assert!(job_line(&job("running", [3, 1, 1, 0])).starts_with("running: 1 of 3 files"));
    }
}
