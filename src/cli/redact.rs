//! `recseal redact`: asks the daemon, shows how far it is, says what was done.

use serde_json::{Value, json};

use super::args::Global;
use super::args::redact::Redact;
use super::failure::Failure;
use super::online::word;
use super::output;

/// Runs it.
pub(super) fn run(global: &Global, verb: &Redact) -> Result<(), Failure> {
    let ranges: Vec<Value> = verb
        .ranges
        .iter()
        .map(|range| json!({ "from_ms": range.from_ms, "to_ms": range.to_ms }))
        .collect();
    let body = json!({
        "ranges": ranges,
        "channels": verb.channels,
        "fill": if verb.beep { "beep" } else { "mute" },
        "parts": match (verb.audio_only, verb.video_only) {
            (true, _) => "audio",
            (_, true) => "video",
            (false, false) => "all",
        },
        "dry_run": verb.dry_run,
    });
    let bar = output::bar(0, global.json);
    let show = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let path = format!("/api/v1/recordings/{}/redact", verb.id);
    let answer = super::remote(global)?.send_watched(&path, Some(&body), &show);
    bar.finish_and_clear();
    let answer = answer?;
    match global.json {
        true => output::print_json(&answer),
        false => output::print(&said(&answer)),
    }
}

fn said(answer: &Value) -> String {
    let number = |key: &str| answer[key].as_u64().unwrap_or(0);
    let seconds = |ms: u64| format!("{}.{:03} s", ms / 1_000, ms % 1_000);
    let mut text = String::new();
    for range in answer["ranges"].as_array().into_iter().flatten() {
        let at = |key: &str| seconds(range[key].as_u64().unwrap_or(0));
        text.push_str(&format!("left out     {} to {}\n", at("from_ms"), at("to_ms")));
    }
    let how = match word(answer, "/way") {
        "exact" => "sample by sample; nothing else changes",
        "decoded" => "written anew as 16-bit WAV",
        _ => "encoded anew, with 50 ms more on either side",
    };
    text.push_str(&format!("how          {how}\n"));
    if answer["dry_run"] == true {
        let about = output::bytes(number("plain_bytes"));
        text.push_str(&format!(
            "dry run: nothing was changed; the result would have about {about}\n"
        ));
    } else {
        text.push_str(&format!("redacted     {}\n", word(answer, "/redacted")));
        text.push_str(&format!(
            "original     {}, planned for deletion\n",
            word(answer, "/original")
        ));
    }
    text
}
