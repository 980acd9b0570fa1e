//! House rules the compiler cannot know. Why each exists: `ARCHITECTURE.md`, "Floors" and
//! "Invariants".
//!
//! A rule is a function from one file to its offences. One test walks the tree with all of them,
//! another shows each rule an offence planted in a line or two, so that a rule that has gone
//! blind is noticed.

mod dependencies;
mod imports;
mod layers;
mod rules;
mod signs;

use std::path::{Path, PathBuf};

use layers::Source;

macro_rules! ten {
    ($line:expr) => {
        concat!($line, $line, $line, $line, $line, $line, $line, $line, $line, $line)
    };
}

/// One rule: its name and the function that finds its offences in a file.
type Rule = (&'static str, fn(&Source) -> Vec<String>);

const RULES: &[Rule] = &[
    ("floors", imports::floors),
    ("no way around the floors", imports::no_braces_and_no_way_out),
    ("crates at home", imports::crates_at_home),
    ("short functions", rules::short_functions),
    ("short files", rules::short_files),
    ("module doc", rules::module_doc),
    ("unsafe only in sys", signs::unsafe_only_in_sys),
    ("exposing at home", signs::exposing_at_home),
    ("guarded calls", signs::guarded_calls),
    ("nothing unfinished", signs::nothing_unfinished),
    ("SQL only in catalog", signs::sql_only_in_catalog),
    ("printing only at the doors", signs::printing_only_in_cli),
    ("exceptions have reasons", signs::exceptions_have_reasons),
    ("no machine paths", signs::no_machine_paths),
];

#[test]
fn the_tree_keeps_the_house_rules() {
    let sources = sources();
    assert!(sources.len() > 8, "found only {} files: is the walk broken?", sources.len());
    let offences: Vec<String> = sources
        .iter()
        .flat_map(|source| {
            RULES.iter().flat_map(move |(name, rule)| {
                rule(source).into_iter().map(move |what| format!("{}: {name}: {what}", source.path))
            })
        })
        .collect();
    assert!(offences.is_empty(), "{} offences:\n{}", offences.len(), offences.join("\n"));
}

/// Planted fault: a second call anywhere in the program, even where one is allowed.
#[test]
fn a_call_without_return_has_its_callers() {
    for (name, _, times) in signs::GUARDED {
        let calls = |source: &Source| signs::calls(source, name);
        let total: usize = sources().iter().filter(|s| s.is_product()).map(calls).sum();
        assert!(total <= *times, "`{name}` is called {total} times in the program");
    }
    let twice = Source::new("src/flow/a.rs", "fn f() { tx.destroy_key(a); tx.destroy_key(b); }");
    assert_eq!(signs::calls(&twice, "destroy_key"), 2);
}

/// Every row was once let through, or would be if its rule looked at text instead of code.
#[test]
fn each_rule_sees_its_planted_offence() {
    for (rule, path, text) in BAD {
        assert!(!check(rule, path, text).is_empty(), "{rule} is blind to {path}:\n{text}");
    }
    for (rule, path, text) in GOOD {
        let found = check(rule, path, text);
        assert!(found.is_empty(), "{rule} barks at {path}:\n{text}\n{found:?}");
    }
    for (name, _) in RULES {
        assert!(BAD.iter().any(|(rule, ..)| rule == name), "no offence is planted for {name}");
    }
}

fn check(rule: &str, path: &str, text: &str) -> Vec<String> {
    let (_, rule) = RULES.iter().find(|(name, _)| *name == rule).expect("a rule of this name");
    rule(&Source::new(path, text))
}

/// All text that we wrote and ship, the checker excepted: it is full of planted offences.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "keymanager", "tests", "benches", "fuzz", "systemd", ".ci"] {
        collect(&root.join(folder), &mut files);
    }
    let beside = std::fs::read_dir(root).expect("the repository").flatten();
    files.extend(beside.map(|entry| entry.path()).filter(|path| path.is_file()));
    files.retain(|path| !path.starts_with(root.join("tests/tidy")) && !path.ends_with(".git"));
    files.sort();
    let read = |path: &PathBuf| {
        let name = path.strip_prefix(root).ok()?.to_str()?;
        Some(Source::new(name, &std::fs::read_to_string(path).ok()?))
    };
    files.iter().filter_map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
    {
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, files);
        } else if path.is_file() {
            files.push(path);
        }
    }
}

const BAD: &[(&str, &str, &str)] = &[
    ("floors", "src/catalog/keys.rs", "use crate::flow::ingest;"),
    ("floors", "src/seal/mod.rs", "use crate::catalog::Catalog;"),
    ("floors", "src/compliance/hold.rs", "fn f() { crate::catalog::open(); }"),
    ("floors", "src/domain/mod.rs", "mod tests { use crate::seal::SealWriter; }"),
    ("floors", "src/daemon/mod.rs", "use recseal::http::router;"),
    ("floors", "src/vault/mod.rs", "use crate :: intake::scan;"),
    ("floors", "src/vault/mod.rs", "use crate::unheard_of::thing;"),
    ("floors", "src/unheard_of.rs", "pub fn thing() {}"),
    ("no way around the floors", "src/flow/mod.rs", "use crate::{cli, seal};"),
    ("no way around the floors", "src/flow/mod.rs", "use crate::*;"),
    ("no way around the floors", "src/cli/mod.rs", "use crate as house;"),
    ("no way around the floors", "src/seal/mod.rs", "use super::catalog::Catalog;"),
    ("no way around the floors", "src/seal/reader.rs", "use super::super::catalog;"),
    ("no way around the floors", "src/seal.rs", "mod tests { use super::super::flow; }"),
    ("crates at home", "src/flow/mod.rs", "use rusqlite::Connection;"),
    ("crates at home", "src/flow/mod.rs", "fn f() { ::tokio::spawn(async {}); }"),
    ("crates at home", "src/http/mod.rs", "fn f() { std::fs::write(a, b); }"),
    ("crates at home", "src/domain/mod.rs", "#[derive(serde::Serialize)] struct A;"),
    ("crates at home", "keymanager/src/store.rs", "use tokio::fs;"),
    ("crates at home", "keymanager/src/store.rs", "use std::net::{IpAddr, TcpStream};"),
    ("short functions", "src/flow/mod.rs", LONG_FUNCTION),
    ("short files", "src/flow/mod.rs", LONG_FUNCTION),
    ("module doc", "src/flow/mod.rs", "use std::fmt;\n//! Too late.\n"),
    ("unsafe only in sys", "src/vault/mod.rs", "fn f() { unsafe { g() } }"),
    ("unsafe only in sys", "keymanager/src/lib.rs", "unsafe fn f() {}"),
    ("exposing at home", "src/http/mod.rs", "fn f(p: &P) { p.expose_below(root) }"),
    ("exposing at home", "src/flow/mod.rs", "pub fn expose_everything() {}"),
    ("exposing at home", "src/flow/mod.rs", "fn f() { k.expose_bytes_of_key(); }"),
    ("guarded calls", "src/http/mod.rs", "fn f() { tx.destroy_key(id); }"),
    ("nothing unfinished", "src/flow/mod.rs", "fn f() { todo!() }"),
    ("nothing unfinished", "src/flow/mod.rs", "fn f() { unimplemented! (\"later\") }"),
    ("nothing unfinished", "tests/journey.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}"),
    ("nothing unfinished", "tests/journey.rs", "#[test]\n#[ignore]\nfn f() {}"),
    ("nothing unfinished", "src/flow/mod.rs", "// FIXME: later"),
    ("nothing unfinished", "src/flow/mod.rs", "fn f() { dbg!(1); }"),
    ("SQL only in catalog", "src/flow/mod.rs", "const A: &str = \"SELECT id FROM recording\";"),
    ("SQL only in catalog", "src/http/mod.rs", "f(r#\"\n  delete from wrapped_key\"#);"),
    ("SQL only in catalog", "src/daemon/mod.rs", "f(\"PRAGMA wal_checkpoint\");"),
    ("printing only at the doors", "src/flow/mod.rs", "fn f() { println!(\"sealed\"); }"),
    ("printing only at the doors", "keymanager/src/lib.rs", "fn f() { eprint!(\"key\"); }"),
    ("exceptions have reasons", "src/vault/mod.rs", "#[expect(clippy::disallowed_methods)]"),
    ("exceptions have reasons", "src/vault/mod.rs", "#[allow(dead_code)]"),
    ("exceptions have reasons", "src/vault/mod.rs", "#[expect(\n    unsafe_code,\n)]\nfn f() {}"),
    ("no machine paths", "README.md", concat!("see /wo", "rk/shared")),
    ("no machine paths", "src/flow/mod.rs", concat!("// see /ro", "ot/x")),
];

const GOOD: &[(&str, &str, &str)] = &[
    ("floors", "src/flow/mod.rs", "use crate::seal::SealWriter;\nuse crate::flow::erase;"),
    ("floors", "src/seal/mod.rs", "/// See [`crate::catalog`].\n// crate::http\nfn f() {}"),
    ("floors", "src/seal/mod.rs", "const A: &str = \"crate::catalog\";"),
    ("floors", "src/main.rs", "fn main() { recseal::cli::run() }"),
    ("no way around the floors", "src/seal/mod.rs", "mod tests { use super::*; }"),
    ("no way around the floors", "src/seal/reader.rs", "mod t { use super::super::header; }"),
    ("crates at home", "keymanager/src/certificate.rs", "use std::net::IpAddr;"),
    ("module doc", "src/vault/tests.rs", "use super::*;"),
    ("crates at home", "src/http/listen.rs", "fn f() { std::fs::metadata(socket); }"),
    ("crates at home", "src/media/mod.rs", "fn f(tokio: u8) -> u8 { my::tokio::f(tokio) }"),
    ("short functions", "src/flow/mod.rs", "trait T { fn f(a: [u8; 4]); }\ntype F = fn();"),
    ("unsafe only in sys", "src/vault/mod.rs", "#[expect(unsafe_code)] // unsafe\nfn f() {}"),
    ("exposing at home", "src/vault/mod.rs", "fn f(p: &P) { p.expose_below(root) }"),
    ("exposing at home", "src/http/a.rs", "#[cfg(test)]\nmod t { fn f() { p.expose_below() } }"),
    ("exposing at home", "keymanager/src/data_key.rs", "fn f() { key.expose_seed() }"),
    ("guarded calls", "src/flow/erase.rs", "fn f() { tx.destroy_key(id); }"),
    ("guarded calls", "src/catalog/keys.rs", "pub fn destroy_key(&self) {}"),
    (
        "guarded calls",
        "src/catalog/keys.rs",
        "#[cfg(test)]\nmod tests { fn f() { t.destroy_key(); } }",
    ),
    ("SQL only in catalog", "src/http/mod.rs", "// SELECT id FROM a\nf(\"select one, please\");"),
    ("printing only at the doors", "src/cli/mod.rs", "fn f() { println!(\"sealed\"); }"),
    (
        "printing only at the doors",
        "src/a.rs",
        "#[cfg(test)]\nmod tests { fn f() { println!(); } }",
    ),
    (
        "exceptions have reasons",
        "src/sys.rs",
        "#[expect(\n    unsafe_code,\n    reason = \"x\"\n)]",
    ),
];

/// 512 lines in one function.
const LONG_FUNCTION: &str = concat!(
    "fn long(a: [u8; 2]) {\n",
    ten!(ten!("f();\n")),
    ten!(ten!("f();\n")),
    ten!(ten!("f();\n")),
    ten!(ten!("f();\n")),
    ten!(ten!("f();\n")),
    ten!("f();\n"),
    "}\n",
);
