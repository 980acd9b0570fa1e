//! `recseal retention`: rules, what they let go today, MiFID marks.

use hyper::Method;
use serde_json::{Value, json};

use super::args::Global;
use super::args::holds::{Kind, Retention, Rule};
use super::failure::Failure;
use super::online::{say, word};
use super::output;

/// `recseal retention …`
pub(super) fn run(global: &Global, verb: &Retention) -> Result<(), Failure> {
    let recording = |id: &uuid::Uuid, what: &str| format!("/api/v1/recordings/{id}/{what}");
    match verb {
        Retention::List => list(global),
        Retention::Add(rule) => add(global, rule),
        Retention::Remove { id } => {
            super::remote(global)?.send(Method::DELETE, &format!("{RULES}/{id}"), None)?;
            say(global, &json!({ "rule": id, "removed": true }), "removed\n")
        }
        Retention::Plan => plan(global),
        Retention::Protect { id, until } => {
            let body = json!({ "until": until });
            super::remote(global)?.send(Method::PUT, &recording(id, "mifid"), Some(&body))?;
            let answer = json!({ "recording": id, "mifid": true, "until": until });
            say(global, &answer, "marked as a MiFID record\n")
        }
        Retention::Unprotect { id } => {
            super::remote(global)?.send(Method::DELETE, &recording(id, "mifid"), None)?;
            say(global, &json!({ "recording": id, "mifid": false }), "no MiFID record any more\n")
        }
        Retention::Protections { id } => {
            let mut page = super::remote(global)?.get(&recording(id, "protections"))?;
            let found = page["items"].as_array_mut().map(std::mem::take);
            protections(global, found.unwrap_or_default())
        }
    }
}

fn list(global: &Global) -> Result<(), Failure> {
    let mut page = super::remote(global)?.get(RULES)?;
    let rules = page["items"].take();
    if global.json {
        return output::print_json(&rules);
    }
    let row = |rule: &Value| {
        let days = |name: &str| rule[name].as_u64().map_or_else(String::new, |d| format!("{d} d"));
        let mut covers: Vec<String> = ["store_id", "kind", "tag", "metadata_key"]
            .into_iter()
            .filter_map(|name| Some(format!("{} {}", label(name), rule[name].as_str()?)))
            .collect();
        if let (Some(last), Some(value)) = (covers.last_mut(), rule["metadata_value"].as_str()) {
            last.push_str(&format!("={value}"));
        }
        let name = match rule["mifid"] == true {
            true => format!("{} (MiFID)", word(rule, "/name")),
            false => word(rule, "/name").to_owned(),
        };
        let covers = if covers.is_empty() { "all".to_owned() } else { covers.join(", ") };
        vec![word(rule, "/id").to_owned(), name, days("keep_days"), days("erase_days"), covers]
    };
    let rows: Vec<Vec<String>> = rules.as_array().into_iter().flatten().map(row).collect();
    output::print_table(&["ID", "NAME", "KEPT FOR", "ERASED AFTER", "COVERS"], &rows)
}

fn label(name: &str) -> &str {
    name.trim_end_matches("_id").trim_end_matches("_key")
}

fn add(global: &Global, rule: &Rule) -> Result<(), Failure> {
    let store = match &rule.store {
        None => None,
        Some(path) => {
            let failed = |error: std::io::Error| Failure::file("path", &error);
            Some(std::path::absolute(path).map_err(failed)?.to_string_lossy().into_owned())
        }
    };
    let (key, value) = match rule.metadata.as_deref().map(|text| text.split_once('=')) {
        None => (None, None),
        Some(Some((key, value))) => (Some(key), Some(value)),
        Some(None) => (rule.metadata.as_deref(), None),
    };
    let body = json!({
        "name": rule.name,
        "store": store,
        "kind": rule.kind.map(|kind| match kind {
            Kind::Audio => "audio",
            Kind::Video => "video",
        }),
        "tag": rule.tag,
        "metadata_key": key,
        "metadata_value": value,
        "keep_days": rule.keep,
        "erase_days": rule.erase_after,
        "mifid": rule.mifid,
    });
    let answer = super::remote(global)?.send(Method::POST, RULES, Some(&body))?;
    say(global, &answer, &format!("rule {}\n", word(&answer, "/id")))
}

fn plan(global: &Global) -> Result<(), Failure> {
    let answer = super::remote(global)?.send(Method::POST, "/api/v1/retention/plan", None)?;
    if global.json {
        return output::print_json(&answer);
    }
    let row = |rule: &Value| {
        let bytes = rule.pointer("/due/bytes").and_then(Value::as_u64).unwrap_or(0);
        let due = rule["due"]["recordings"].to_string();
        vec![word(rule, "/name").to_owned(), due, output::bytes(bytes)]
    };
    let rows: Vec<Vec<String>> =
        answer["rules"].as_array().into_iter().flatten().map(row).collect();
    output::print_table(&["RULE", "DUE", "SIZE"], &rows)?;
    output::print(&super::erase::plan_text(&answer["plan"]))?;
    output::print("`recseal erase --due` erases what is due\n")
}

fn protections(global: &Global, found: Vec<Value>) -> Result<(), Failure> {
    if global.json {
        return output::print_json(&Value::Array(found));
    }
    if found.is_empty() {
        return output::print("nothing protects it\n");
    }
    let row = |one: &Value| {
        let which = match word(one, "/hold") {
            "" => word(one, "/tag"),
            hold => hold,
        };
        let until = match word(one, "/until") {
            "" => "for good, or until it is lifted",
            moment => moment,
        };
        vec![word(one, "/kind").to_owned(), which.to_owned(), until.to_owned()]
    };
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    output::print_table(&["PROTECTED BY", "WHICH", "UNTIL"], &rows)
}

const RULES: &str = "/api/v1/retention/rules";
