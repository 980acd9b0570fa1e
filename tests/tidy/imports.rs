//! Who may use whom: the floors of the house, and the crates that live in one room only.

use crate::layers::{Source, line_of, words};

/// Modules from the ground up. A module imports from rows above its own in this list, never from
/// its own row and never from a later one.
const FLOORS: &[&[&str]] = &[
    &["clock"],
    &["domain", "sys"],
    &["access", "compliance"],
    &["catalog", "media", "seal"],
    &["intake", "vault"],
    &["flow"],
    &["telemetry"],
    &["daemon"],
    &["console", "http"],
    &["config"],
    &["app"],
    &["cli"],
    &["lib", "main", "manual"],
];

/// Crates and modules of `std` that only these may name.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("rusqlite", &["catalog"]),
    ("libc", &["sys"]),
    ("symphonia", &["media"]),
    ("notify", &["daemon"]),
    ("clap", &["cli", "main"]),
    ("axum", &["http", "console", "app", "cli"]),
    ("tokio", &["telemetry", "daemon", "http", "console", "app", "cli", "main"]),
    ("tokio_rustls", &["daemon", "http", "app", "cli"]),
];

/// Crates and modules of `std` that these may not name: facts and rules do no I/O, keep no format
/// and do not log; doors do not touch files.
const NEVER_IN: &[(&str, &[&str])] = &[
    ("std::fs", &["clock", "domain", "access", "compliance", "http", "console"]),
    ("std::net", &["clock", "domain", "compliance", "flow"]),
    ("serde", &["clock", "domain", "access", "compliance"]),
    ("tracing", &["clock", "domain", "access", "compliance"]),
    ("keymanager", &["clock", "domain", "compliance"]),
];

/// The one file of a door that may: its unix socket is a file, and a stale one must go.
const SOCKET_FILE: (&str, &str) = ("std::fs", "src/http/listen.rs");

/// What the key manager never names: no runtime, no network, no database, nothing of ours.
const NEVER_IN_KEYMANAGER: &[&str] =
    &["tokio", "rusqlite", "hyper", "recseal", "TcpStream", "TcpListener", "UdpSocket"];

/// Imports go down only, inline paths included.
pub(crate) fn floors(source: &Source) -> Vec<String> {
    let Some(own) = source.module().filter(|_| source.is_product()) else { return Vec::new() };
    let Some(own_floor) = floor_of(own) else {
        return vec![format!("{own} has no floor: give it a row in tests/tidy/imports.rs")];
    };
    paths(&source.code)
        .filter(|path| matches!(path.parts[0], "crate" | "recseal") && path.parts.len() > 1)
        .filter(|path| path.parts[1] != own && is_module_name(path.parts[1]))
        .filter(|path| floor_of(path.parts[1]).is_none_or(|floor| floor >= own_floor))
        .map(|path| path.says(source, "is not below this module"))
        .collect()
}

/// One `use crate::…` per module, and `super` stays in the folder of its module.
pub(crate) fn no_braces_and_no_way_out(source: &Source) -> Vec<String> {
    let Some(own) = source.module().filter(|_| source.is_product()) else { return Vec::new() };
    let in_file = match own {
        "lib" | "main" => 0,
        _ if source.path.ends_with("/mod.rs") => source.path.matches('/').count() - 1,
        _ => source.path.matches('/').count(),
    };
    let squeezed: String = source.code.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut offences: Vec<String> = ["crate::{", "crate::*", "recseal::{", "crate as "]
        .iter()
        .filter(|hidden| squeezed.replace(" ::", "::").replace(":: ", "::").contains(**hidden))
        .map(|hidden| format!("`{hidden}`: one `use crate::…` per module, please"))
        .collect();
    offences.extend(
        paths(&source.code)
            .map(|path| (path.parts.iter().filter(|part| **part == "super").count(), path))
            .filter(|(ups, path)| {
                *ups > 0 && in_file + inline_modules(&source.code, path.at) < ups + 1
            })
            .map(|(_, path)| path.says(source, "leads out of the module's folder")),
    );
    offences
}

/// Crates stay where they belong.
pub(crate) fn crates_at_home(source: &Source) -> Vec<String> {
    if !source.is_product() {
        return Vec::new();
    }
    let Some(own) = source.module() else {
        return words(&source.code)
            .filter(|(_, word)| NEVER_IN_KEYMANAGER.contains(word))
            .map(|(at, word)| format!("line {}: `{word}`", line_of(&source.code, at)))
            .collect();
    };
    paths(&source.code)
        .filter(|path| {
            let first = path.parts[0];
            let two = path.parts[..path.parts.len().min(2)].join("::");
            let is = |name: &str| name == first || name == two;
            if source.path == SOCKET_FILE.1 && is(SOCKET_FILE.0) {
                return false;
            }
            ONLY_IN.iter().any(|(name, homes)| is(name) && !homes.contains(&own))
                || NEVER_IN.iter().any(|(name, out)| is(name) && out.contains(&own))
        })
        .map(|path| path.says(source, "does not belong here"))
        .collect()
}

/// One `a::b::c` of the code, from its first part on.
struct CodePath<'a> {
    at: usize,
    parts: Vec<&'a str>,
}

impl CodePath<'_> {
    fn says(&self, source: &Source, what: &str) -> String {
        format!("line {}: `{}` {what}", line_of(&source.code, self.at), self.parts.join("::"))
    }
}

/// Every path of two parts or more, blanks around `::` allowed.
fn paths(code: &str) -> impl Iterator<Item = CodePath<'_>> {
    let mut found: Vec<CodePath<'_>> = Vec::new();
    let mut end = 0;
    for (at, word) in words(code) {
        match found.last_mut() {
            Some(path) if code[end..at].trim() == "::" => path.parts.push(word),
            _ => found.push(CodePath { at, parts: vec![word] }),
        }
        end = at + word.len();
    }
    found.into_iter().filter(|path| path.parts.len() > 1)
}

/// How many `mod name { … }` of this file stand around byte `at`.
fn inline_modules(code: &str, at: usize) -> usize {
    words(&code[..at])
        .filter(|(_, word)| *word == "mod")
        .filter_map(|(start, _)| crate::layers::block_after(code, start))
        .filter(|block| block.contains(&at))
        .count()
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// A macro or a type at the root is not a module.
fn is_module_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
}
