//! What a worker wanted and what it was answered, in a file that outlives it.
//!
//! ```text
//! want RECORDING STEM KEY     before it asks for an erasure    owed RECORDING JOB    the answer
//! lifting HOLD                before it lifts                  held HOLD RECORDING   placed
//! cancelling JOB              before it takes a job back       late RECORDING        came too late
//!                                                              file STEM             recorded
//! ```
//!
//! Whoever dies between a wish and its answer leaves the wish alone: either outcome is right then.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::Write;
use std::path::Path;

use recseal::domain::{HoldId, JobId, RecordingId};
use uuid::Uuid;

/// The file, open for adding.
pub struct Ledger(File);

impl Ledger {
    pub fn open(path: &Path) -> Self {
        Self(File::options().create(true).append(true).open(path).expect("a ledger"))
    }

    /// Adds a line with one call, so that a kill leaves it whole or away.
    pub fn note(&self, line: &str) {
        (&self.0).write_all(format!("{line}\n").as_bytes()).expect("room for a line");
    }
}

/// A recording whose erasure was wanted.
pub struct Wanted {
    pub stem: String,
    /// Its stored key, as it was before; empty if there was none.
    pub key: Vec<u8>,
}

/// What a ledger says.
#[derive(Default)]
pub struct Facts {
    pub recorded: BTreeSet<String>,
    pub wanted: HashMap<RecordingId, Wanted>,
    pub owed: HashMap<RecordingId, Vec<JobId>>,
    pub cancelling: HashSet<JobId>,
    pub held: Vec<(HoldId, RecordingId)>,
    pub lifting: HashSet<HoldId>,
    pub late: HashSet<RecordingId>,
}

impl Facts {
    pub fn of(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("a ledger");
        Self::read(&text, &text)
    }

    /// Answers of `early`, wishes of `late`, which is the same ledger some time afterwards.
    pub fn read(early: &str, late: &str) -> Self {
        let mut facts = Self::default();
        for words in lines(late) {
            match words.as_slice() {
                ["want", id, stem, key] => {
                    let wanted = Wanted { stem: (*stem).to_owned(), key: Vec::new() };
                    let known = facts.wanted.entry(RecordingId(uuid(id))).or_insert(wanted);
                    if *key != "-" {
                        known.key = unhex(key);
                    }
                }
                ["cancelling", job] => drop(facts.cancelling.insert(JobId(uuid(job)))),
                ["lifting", hold] => drop(facts.lifting.insert(HoldId(uuid(hold)))),
                _ => {}
            }
        }
        for words in lines(early) {
            match words.as_slice() {
                ["file", stem] => drop(facts.recorded.insert((*stem).to_owned())),
                ["owed", id, job] => {
                    facts.owed.entry(RecordingId(uuid(id))).or_default().push(JobId(uuid(job)));
                }
                ["held", hold, id] => facts.held.push((HoldId(uuid(hold)), RecordingId(uuid(id)))),
                ["late", id] => drop(facts.late.insert(RecordingId(uuid(id)))),
                _ => {}
            }
        }
        facts
    }

    /// True if a job that nobody tried to take back owes it.
    pub fn is_owed(&self, id: RecordingId) -> bool {
        let jobs = self.owed.get(&id).into_iter().flatten();
        jobs.into_iter().any(|job| !self.cancelling.contains(job))
    }
}

/// Whole lines only.
fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| line.split(' ').collect())
}

fn uuid(text: &str) -> Uuid {
    Uuid::try_parse(text).expect("an id")
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(byte).collect()
}
