//! What the documents say is true: commands exist, links lead somewhere, the example
//! configuration loads, alarms name metrics that there are.

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::daemon::program;

/// Planted faults: a renamed verb; a renamed flag; a command line that accepts every verb.
#[test]
fn every_command_in_the_documents_exists() {
    assert_eq!(ask(&["no-such-verb", "--help"]).status.code(), Some(2), "any verb will do?");
    let mut seen = BTreeSet::new();
    for page in pages() {
        for command in commands(&read(&page)) {
            let what = format!("{}: `recseal {}`", page.display(), command.join(" "));
            let verbs = verbs(&command);
            assert!(!verbs.is_empty(), "{what} has no verb");
            let help = ask(&[&verbs[..], &["--help"]].concat());
            assert!(help.status.success(), "{what}: {}", String::from_utf8_lossy(&help.stderr));
            let help = String::from_utf8_lossy(&help.stdout).into_owned();
            for flag in command.iter().filter(|word| word.starts_with('-')) {
                let flag = flag.split('=').next().expect("a split has a first part");
                let has_it =
                    help.split(|c: char| !c.is_alphanumeric() && c != '-').any(|w| w == flag);
                assert!(has_it, "{what}: {flag} is not in its help");
            }
            seen.insert(verbs.join(" "));
        }
    }
    assert!(seen.len() >= 8, "only these commands were found: {seen:?}");
}

/// Planted faults: a misspelt key in the file; a check that says yes to anything.
#[test]
fn the_example_configuration_loads() {
    let example = root().join("systemd/recseal.toml");
    let check = |file: &Path| ask(&["config", "check", file.to_str().expect("a plain path")]);
    let good = check(&example);
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));

    let folder = tempfile::tempdir().unwrap();
    let misspelt = folder.path().join("recseal.toml");
    std::fs::write(&misspelt, read(&example).replace("settle =", "setle =")).unwrap();
    let bad = check(&misspelt);
    assert_eq!(bad.status.code(), Some(3), "a misspelt key passes");
    let said = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert!(said.contains("setle") && said.contains("\nhint:"), "{said}");
}

#[test]
fn every_link_leads_somewhere() {
    let mut links = 0;
    for page in pages() {
        for target in links_of(&read(&page)) {
            let file = target.split('#').next().expect("a split has a first part");
            if target.contains("://") || file.is_empty() {
                continue;
            }
            let aim = page.parent().expect("a page lies in a folder").join(file);
            assert!(aim.exists(), "{}: {target} leads nowhere", page.display());
            links += 1;
        }
    }
    assert!(links >= 8, "only {links} links were found");
}

#[test]
fn every_manual_page_is_rendered_and_linked() {
    let rendered = read(&root().join("src/manual/mod.rs"));
    let linked = read(&root().join("README.md"));
    for page in pages().iter().filter(|page| page.parent().is_some_and(|p| p.ends_with("manual"))) {
        let name = page.file_name().and_then(|name| name.to_str()).expect("a plain name");
        assert!(rendered.contains(&format!("include_str!(\"{name}\")")), "{name} is not rendered");
        assert!(linked.contains(&format!("(src/manual/{name})")), "README.md does not link {name}");
    }
}

#[test]
fn the_code_map_names_every_module() {
    let map = read(&root().join("ARCHITECTURE.md"));
    for line in read(&root().join("src/lib.rs")).lines() {
        if let Some(module) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';'))
        {
            let named = [format!("`src/{module}/`"), format!("`src/{module}.rs`")];
            assert!(named.iter().any(|name| map.contains(name)), "{module} is not on the map");
        }
    }
    for name in map.split('`').filter(|name| name.starts_with("src/") || name.starts_with("tests/"))
    {
        assert!(root().join(name).exists(), "ARCHITECTURE.md names {name}, which is not there");
    }
}

/// An alarm on a metric that nobody writes never rings.
#[test]
fn alarms_name_metrics_that_there_are() {
    let (telemetry, alarms) =
        (read(&root().join("src/telemetry.rs")), read(&root().join("systemd/alerts.yml")));
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let expressions = alarms.lines().filter(|line| line.trim_start().starts_with("expr:"));
    let metrics: BTreeSet<&str> = expressions
        .flat_map(|line| line.split(move |c| !is_word(c)))
        .filter(|word| word.starts_with("recseal_"))
        .collect();
    assert!(metrics.len() >= 4, "{metrics:?}");
    for metric in metrics {
        assert!(telemetry.contains(metric), "{metric} is not in src/telemetry.rs");
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn ask(args: &[&str]) -> Output {
    program().args(args).output().expect("the program runs")
}

/// All that people read: beside the manifest, and the manual.
fn pages() -> Vec<PathBuf> {
    let folders = [root().to_owned(), root().join("src/manual")];
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).expect("a folder"));
    let mut pages: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.sort();
    pages
}

/// The words after `recseal` of every command: lines of shell blocks, `$(…)` in them, and inline
/// code.
fn commands(page: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    let mut in_shell = false;
    for line in page.lines() {
        if line.starts_with("```") {
            in_shell = line == "```sh" && !in_shell;
            continue;
        }
        let quoted: Vec<&str> =
            if in_shell { vec![line] } else { line.split('`').skip(1).step_by(2).collect() };
        for part in quoted.iter().flat_map(|text| text.split("$(")) {
            let part = part.split(['|', '#', ')']).next().expect("a split has a first part");
            if let Some(rest) = part.trim_start().strip_prefix("recseal ") {
                commands.push(rest.split_whitespace().map(str::to_owned).collect());
            }
        }
    }
    commands
}

/// The verb, and the verbs under it where it has any.
fn verbs(command: &[String]) -> Vec<&str> {
    let verbs = command.iter().map(String::as_str).take_while(|word| {
        !word.is_empty()
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && word.starts_with(|c: char| c.is_ascii_lowercase())
    });
    // `keys slots add KIND` is the deepest.
    let depth = if command.get(1).is_some_and(|word| word == "slots") { 4 } else { 2 };
    verbs.take(depth).collect()
}

fn links_of(page: &str) -> impl Iterator<Item = &str> {
    page.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

#[test]
fn commands_are_read_out_of_a_page() {
    let page = "Run `recseal status --json`, not `recsealed`.\n```sh\nID=$(recseal list --json | jq)\n\
                recseal open \"$ID\" -o a.wav # now\n```\nSee `recseal keys export ID -o FILE`.\n";
    let found: Vec<String> = commands(page)
        .iter()
        .map(|words| format!("{:?} of {}", verbs(words), words.len()))
        .collect();
    let expected =
        ["[\"status\"] of 2", "[\"list\"] of 2", "[\"open\"] of 4", "[\"keys\", \"export\"] of 5"];
    assert_eq!(found, expected);
}
