//! `recseal holds`: placed, listed, lifted.

use std::io::Read;

use hyper::Method;
use serde_json::{Value, json};

use super::args::Global;
use super::args::holds::{Holds, Place};
use super::failure::{Failure, exit};
use super::online::{say, show, word};
use super::output;

/// `recseal holds …`
pub(super) fn run(global: &Global, verb: &Holds) -> Result<(), Failure> {
    match verb {
        Holds::Place(place) => self::place(global, place),
        Holds::List { all } => list(global, *all),
        Holds::Show { id } => {
            let hold = super::remote(global)?.get(&format!("{HOLDS}/{id}"))?;
            if global.json { output::print_json(&hold) } else { show(&hold) }
        }
        Holds::Lift { id } => {
            let path = format!("{HOLDS}/{id}");
            let answer = super::remote(global)?.send(Method::DELETE, &path, None)?;
            say(global, &answer, "lifted: what waited for it goes on by itself\n")
        }
    }
}

fn place(global: &Global, place: &Place) -> Result<(), Failure> {
    let reason = match place.reason.as_str() {
        "-" => read_reason()?,
        reason => reason.to_owned(),
    };
    let body = json!({
        "reason": reason,
        "recordings": place.targets.recordings,
        "conversations": place.targets.conversations,
        "until": place.until,
    });
    let answer = super::remote(global)?.send(Method::POST, HOLDS, Some(&body))?;
    say(global, &answer, &format!("hold {}\n", word(&answer, "/hold/id")))?;
    match answer["too_late"].as_array().map_or(0, Vec::len) {
        0 => Ok(()),
        late => Err(Failure::new(
            exit::PARTLY_DONE,
            format!("the hold came too late for {late} recordings: their keys are destroyed"),
            "the answer names them; the hold is in force for all others",
        )),
    }
}

fn read_reason() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(REASON_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| Failure::file("standard input", &error))?;
    Ok(text.trim().to_owned())
}

fn list(global: &Global, all: bool) -> Result<(), Failure> {
    let query: &[(&str, Option<&[u8]>)] = &[("all", all.then_some(b"true"))];
    let holds = super::remote(global)?.list(HOLDS, query)?;
    if global.json {
        return output::print_json(&Value::Array(holds));
    }
    let row = |hold: &Value| {
        let count = |name: &str| hold[name].as_array().map_or(0, Vec::len);
        let until = match (word(hold, "/lifted_at"), word(hold, "/until")) {
            ("", "") => "lifted".to_owned(),
            ("", until) => until.to_owned(),
            (lifted, _) => format!("lifted at {lifted}"),
        };
        vec![
            word(hold, "/id").to_owned(),
            word(hold, "/placed_at").to_owned(),
            until,
            count("recordings").to_string(),
            count("conversations").to_string(),
            word(hold, "/placed_by").to_owned(),
            word(hold, "/reason").to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = holds.iter().map(row).collect();
    output::print_table(
        &["ID", "PLACED", "UNTIL", "RECORDINGS", "CONVERSATIONS", "BY", "REASON"],
        &rows,
    )
}

const HOLDS: &str = "/api/v1/holds";
const REASON_BYTES_MAX: u64 = 4_096;
