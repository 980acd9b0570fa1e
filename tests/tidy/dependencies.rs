//! The fences of `deny.toml`, held against the graph that cargo really builds.
//!
//! The lock file would not do: it lists optional crates that nothing switches on. Neither would
//! `cargo metadata`, which counts them in.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde::Deserialize;

/// The part of `deny.toml` that we hold the graph to.
#[derive(Deserialize)]
struct Fences {
    licenses: Licences,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Banned>,
    skip: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(rename = "crate")]
    name: String,
}

/// A crate that nobody may depend on, except `wrappers`.
#[derive(Deserialize)]
struct Banned {
    #[serde(rename = "crate")]
    name: String,
    #[serde(default)]
    wrappers: Vec<String>,
}

/// What `cargo tree` tells: who depends on whom, in which versions, under which licence.
#[derive(Default)]
struct Graph {
    licences: BTreeMap<String, String>,
    versions: BTreeMap<String, BTreeSet<String>>,
    parents: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Reads lines of `DEPTH|NAME vVERSION …|LICENCE`, a parent before its children.
    fn read(lines: &str) -> Self {
        let (mut graph, mut above) = (Self::default(), Vec::<String>::new());
        for line in lines.lines().filter(|line| !line.is_empty()) {
            let [depth, package, licence] = line.splitn(3, '|').collect::<Vec<_>>()[..] else {
                panic!("cargo tree wrote {line:?}");
            };
            let (name, version) = package.split_once(" v").expect("a name and a version");
            let depth: usize = depth.parse().expect("a depth");
            above.truncate(depth);
            let parents = graph.parents.entry(name.to_owned()).or_default();
            parents.extend(above.last().cloned());
            above.push(name.to_owned());
            let version = version.split(' ').next().unwrap_or(version);
            graph.versions.entry(name.to_owned()).or_default().insert(version.to_owned());
            let licence = licence.trim_end_matches(" (*)");
            graph.licences.insert(name.to_owned(), licence.to_owned());
        }
        graph
    }

    fn offences(&self, fences: &Fences) -> Vec<String> {
        let mut offences = Vec::new();
        for Banned { name, wrappers } in &fences.bans.deny {
            match self.parents.get(name) {
                Some(parents) if wrappers.is_empty() => {
                    offences.push(format!("{name} is banned and comes with {parents:?}"));
                }
                parents => offences.extend(
                    parents
                        .into_iter()
                        .flatten()
                        .filter(|parent| !wrappers.contains(parent))
                        .map(|parent| format!("{parent} depends on {name}: only {wrappers:?} may")),
                ),
            }
        }
        for (name, versions) in &self.versions {
            let is_known = fences.bans.skip.iter().any(|known| known.name == *name);
            if versions.len() > 1 && !is_known {
                offences.push(format!("{name} comes in {versions:?}"));
            }
        }
        for (name, licence) in &self.licences {
            if !is_allowed(licence, &fences.licenses.allow) {
                offences.push(format!("{name} comes under {licence:?}"));
            }
        }
        offences
    }
}

/// True if `licence` can be met with `allowed` alone. Parentheses are ignored, which errs on the
/// strict side: `A OR (B AND C)` then reads as `(A OR B) AND C`.
fn is_allowed(licence: &str, allowed: &[String]) -> bool {
    let flat = licence.replace(['(', ')'], "").replace('/', " OR ");
    flat.split(" AND ")
        .all(|part| part.split(" OR ").any(|choice| allowed.iter().any(|one| one == choice.trim())))
}

fn fences() -> Fences {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deny.toml");
    toml::from_str(&std::fs::read_to_string(path).expect("deny.toml")).expect("its four tables")
}

#[test]
fn dependencies_stay_inside_their_fences() {
    let tree = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--workspace", "--locked", "--offline", "--edges", "normal,build"])
        .args(["--prefix", "depth", "--format", "|{p}|{l}", "--color", "never"])
        .output()
        .expect("cargo runs");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let graph = Graph::read(&String::from_utf8(tree.stdout).expect("cargo writes UTF-8"));
    assert!(graph.parents["aes-gcm"].contains("keymanager"), "the graph was misread");
    let offences = graph.offences(&fences());
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

/// One planted offence per fence; each was seen to pass when its fence was taken out.
#[test]
fn each_fence_holds() {
    let sound = "0|recseal v0.1.0|MIT\n1|keymanager v0.1.0|MIT\n2|aes-gcm v0.11.1|MIT\n";
    assert_eq!(Graph::read(sound).offences(&fences()), Vec::<String>::new());
    for planted in [
        "0|recseal v0.1.0|MIT\n1|aes-gcm v0.11.1|MIT (*)",
        "0|recseal v0.1.0|MIT\n1|serde v1.0.0|MIT\n2|hpke v0.13.0|MIT",
        "0|recseal v0.1.0|MIT\n1|rustls-webpki v0.103.0|ISC\n2|ring v0.17.0|ISC",
        "0|recseal v0.1.0|MIT\n1|uuid v1.0.0|MIT\n1|uuid v2.0.0|MIT",
        "0|recseal v0.1.0|MIT\n1|readline v1.0.0|GPL-3.0-only",
        "0|recseal v0.1.0|MIT\n1|readline v1.0.0|",
        "0|recseal v0.1.0|MIT\n1|half v1.0.0|(MIT OR ISC) AND OpenSSL",
    ] {
        let offences = Graph::read(&format!("{sound}\n{planted}")).offences(&fences());
        assert_eq!(offences.len(), 1, "{planted}: {offences:?}");
    }
}
