//! Words and calls that may stand in few places, or nowhere.

use crate::layers::{Source, line_of, words};

/// What is handed out under the name `expose_…`, and which modules may ask for it. A path may
/// hold a phone number. Inside `keymanager` the crate boundary is the fence.
const EXPOSING: &[(&str, &[&str])] = &[
    ("expose_bytes", &["domain", "intake", "vault", "catalog", "flow", "daemon", "http"]),
    ("expose_path", &["domain", "intake", "vault", "flow", "daemon"]),
    ("expose_below", &["domain", "intake", "vault", "daemon"]),
    ("expose_name", &["domain", "intake", "vault", "catalog", "flow", "http"]),
    ("expose_value", &["domain", "vault", "catalog"]),
    ("expose_root", &["intake", "flow", "daemon"]),
    ("expose_call", &["intake", "flow"]),
    ("expose_from", &["intake", "flow"]),
    ("expose_to", &["intake", "flow"]),
    ("expose_room", &["intake", "flow"]),
    ("expose_random", &["flow"]),
    ("expose_acme_account", &["daemon"]),
    ("expose_text", &["access", "flow", "http"]),
    ("expose_bundle", &["flow"]),
    ("expose_text", &["access", "flow", "http", "cli"]),
    ("expose_personal", &["domain", "compliance", "intake", "catalog", "flow", "http"]),
    ("expose_export", &["flow", "http", "cli"]),
];

/// Calls from which there is no way back, the module that may make them, and in how many places:
/// a key goes with its abandoned attempt, and with the erasure of its recording.
pub(crate) const GUARDED: &[(&str, &str, usize)] =
    &[("destroy_key", "flow", 2), ("destroy_sidecar_key", "flow", 1)];

/// `unsafe` lives in one file, each call with its reason.
pub(crate) fn unsafe_only_in_sys(source: &Source) -> Vec<String> {
    if !source.is_product() || source.path == "src/sys.rs" {
        return Vec::new();
    }
    find(source, &source.code, |word| word == "unsafe", "belongs into src/sys.rs")
}

/// Secret and personal things are handed out where the list says so.
pub(crate) fn exposing_at_home(source: &Source) -> Vec<String> {
    let Some(own) = source.module().filter(|_| source.is_product()) else { return Vec::new() };
    let is_away = |word: &str| {
        word.starts_with("expose_")
            && !EXPOSING.iter().any(|(name, homes)| *name == word && homes.contains(&own))
    };
    find(
        source,
        &source.product_code(),
        is_away,
        "is not listed for this module in tests/tidy/signs.rs",
    )
}

/// The point of no return is called from one module. A definition and a test are no calls.
pub(crate) fn guarded_calls(source: &Source) -> Vec<String> {
    if !source.is_product() {
        return Vec::new();
    }
    let away = GUARDED.iter().filter(|(_, home, _)| source.module() != Some(home));
    away.filter(|(name, ..)| calls(source, name) > 0)
        .map(|(name, home, _)| format!("`{name}` is called; only {home} may"))
        .collect()
}

/// How often the program calls method `name` in this file.
pub(crate) fn calls(source: &Source, name: &str) -> usize {
    source.product_code().matches(&format!(".{name}(")).count()
}

/// Nothing is left for later and no test is switched off.
pub(crate) fn nothing_unfinished(source: &Source) -> Vec<String> {
    if !source.path.ends_with(".rs") {
        return Vec::new();
    }
    let squeezed: String = source.code.split_whitespace().collect();
    let mut offences: Vec<String> = ["todo!(", "unimplemented!(", "dbg!(", "#[ignore"]
        .iter()
        .filter(|sign| squeezed.contains(**sign))
        .map(|sign| format!("`{sign}`"))
        .collect();
    let is_mark = |word: &str| matches!(word, "FIXME" | "TODO" | "XXX" | "HACK");
    offences.extend(find(source, &source.text, is_mark, "marks something unfinished"));
    offences
}

/// SQL is the catalog's language.
pub(crate) fn sql_only_in_catalog(source: &Source) -> Vec<String> {
    if !source.is_product() || source.module() == Some("catalog") {
        return Vec::new();
    }
    let strings = source.strings.to_lowercase();
    let strings = strings.split_whitespace().collect::<Vec<_>>().join(" ");
    let has = |parts: &[&str]| {
        let mut rest = strings.as_str();
        parts.iter().all(|part| match rest.find(part) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        })
    };
    SQL.iter().filter(|parts| has(parts)).map(|parts| parts.join("…")).collect()
}

/// Only the command line talks to a terminal.
pub(crate) fn printing_only_in_cli(source: &Source) -> Vec<String> {
    if !source.is_product() || matches!(source.module(), Some("cli" | "main")) {
        return Vec::new();
    }
    let code: String = source.product_code().split_whitespace().collect();
    ["print!(", "println!(", "eprint!(", "eprintln!("]
        .iter()
        .filter(|print| {
            code.match_indices(**print).any(|(at, _)| {
                !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
            })
        })
        .map(|print| format!("`{print}`: only the command line prints"))
        .collect()
}

/// An exception says why.
pub(crate) fn exceptions_have_reasons(source: &Source) -> Vec<String> {
    if !source.is_product() {
        return Vec::new();
    }
    let mut offences = Vec::new();
    for (at, _) in source.code.match_indices("#[").chain(source.code.match_indices("#![")) {
        let attribute = &source.code[at..];
        let attribute: String = attribute[..attribute.find(']').unwrap_or(attribute.len())]
            .chars()
            .filter(|c| !c.is_whitespace())
            .collect();
        let body = attribute.trim_start_matches("#!").trim_start_matches(['#', '[']);
        let is_exception = body.starts_with("allow(") || body.starts_with("expect(");
        if is_exception && !body.contains("reason=") {
            let line = line_of(&source.code, at);
            offences.push(format!("line {line}: an exception without `reason`"));
        }
    }
    offences
}

/// Nothing in the tree knows the machine it was written on.
pub(crate) fn no_machine_paths(source: &Source) -> Vec<String> {
    MACHINE_PATHS
        .iter()
        .filter_map(|path| Some((path, source.text.find(path)?)))
        .map(|(path, at)| format!("line {}: `{path}`", line_of(&source.text, at)))
        .collect()
}

fn find(source: &Source, layer: &str, is: impl Fn(&str) -> bool, what: &str) -> Vec<String> {
    words(layer)
        .filter(|(_, word)| is(word))
        .map(|(at, word)| format!("line {}: `{word}` {what}", line_of(&source.text, at)))
        .collect()
}

/// Words in this order, in string literals.
const SQL: &[&[&str]] = &[
    &["select ", " from "],
    &["insert into "],
    &["insert or "],
    &["update ", " set ", " where "],
    &["delete from "],
    &["create table"],
    &["pragma "],
    &["begin immediate"],
];

const MACHINE_PATHS: &[&str] = &["/work/", "/farm/", "/root/", "/tmp/t/"];
