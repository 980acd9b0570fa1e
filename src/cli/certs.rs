//! `recseal certs`: what the HTTPS listener serves, and how another certificate gets there.

use hyper::Method;
use keymanager::gate::{self, Report};
use keymanager::{CertificateFacts, GatePolicy};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::clock::Clock;
use crate::http::certificates::report_view;
use crate::http::view::parse_time;

use super::args::certs::{CertificateFile, Certs, Trust};
use super::args::{Global, Out};
use super::certificate_file::{self, Brought};
use super::failure::{Failure, exit};
use super::online::{save_quietly, say, word};
use super::{authority, output, remote};

/// `recseal certs`
pub(super) fn run(global: &Global, verb: &Certs) -> Result<(), Failure> {
    match verb {
        Certs::Show { pem } => show(global, *pem),
        Certs::Ca { what } => authority::run(global, what),
        Certs::Issue(issue) => authority::issue(global, issue),
        Certs::Issued => authority::issued(global),
        Certs::Revoke { serial, reason } => authority::revoke(global, serial, reason.as_deref()),
        Certs::Renew { now, wait } => super::renewal::renew(global, *now, *wait),
        Certs::List => list(global),
        Certs::Check { file, names } => check(global, file, names),
        Certs::Import(file) => import(global, file),
        Certs::Csr { names, out } => csr(global, names, out),
        Certs::Complete { id, chain, trust } => complete(global, *id, chain, trust),
        Certs::Cancel { id, yes } => cancel(global, *id, *yes),
        Certs::Rollback { id } => {
            let answer = super::remote(global)?
                .ask(&format!("{CERTIFICATES}/rollback"), &json!({ "id": id }))?;
            adopted(global, answer)
        }
        Certs::History => history(global),
    }
}

fn show(global: &Global, pem: bool) -> Result<(), Failure> {
    let remote = super::remote(global)?;
    if pem {
        let chain = remote.text(Method::GET, "/api/v1/certificate", None)?;
        return match global.json {
            true => output::print_json(&json!({ "pem": chain.as_str() })),
            false => output::print(&chain),
        };
    }
    let status = remote.get("/api/v1/status")?;
    match global.json {
        true => output::print_json(&status["certificate"]),
        false => super::online::show(&status["certificate"]),
    }
}

fn list(global: &Global) -> Result<(), Failure> {
    let stored = super::remote(global)?.get(CERTIFICATES)?;
    if global.json {
        return output::print_json(&stored);
    }
    let rows = |list: &Value, fields: &[&str]| -> Vec<Vec<String>> {
        let cell = |one: &Value, field: &str| match one.pointer(field) {
            Some(Value::Array(names)) => {
                let names = names.iter().filter_map(Value::as_str);
                names.collect::<Vec<_>>().join(",")
            }
            _ => word(one, field).to_owned(),
        };
        let row = |one: &Value| fields.iter().map(|field| cell(one, field)).collect();
        list.as_array().map(|list| list.iter().map(row).collect()).unwrap_or_default()
    };
    let header = ["STANDING", "SOURCE", "UNTIL", "NAMES", "ID"];
    let fields = ["/standing", "/source", "/not_after", "/names", "/id"];
    output::print_table(&header, &rows(&stored["certificates"], &fields))?;
    let waiting = rows(&stored["requests"], &["/id", "/purpose", "/made_at", "/names"]);
    if waiting.is_empty() {
        return Ok(());
    }
    output::print("\n")?;
    output::print_table(&["REQUEST", "CARRIED BY", "MADE", "NAMES"], &waiting)
}

/// The very gate that an import passes, asked here: nothing is sent to the daemon. If one runs,
/// its names and its certificate are compared with.
fn check(global: &Global, file: &CertificateFile, names: &[String]) -> Result<(), Failure> {
    let stored = super::remote(global).and_then(|remote| remote.get(CERTIFICATES)).ok();
    let live = stored.as_ref().and_then(|stored| live_facts(&stored["certificates"][0]));
    let wanted = match names.is_empty() {
        true => strings(stored.as_ref().map_or(&Value::Null, |stored| &stored["names"])),
        false => names.to_vec(),
    };
    let brought = match Brought::read(file)? {
        Ok(brought) => brought,
        Err(refusal) => return told(global, &Report::from(refusal)),
    };
    let policy = GatePolicy {
        allow_other_names: file.trust.allow_names.clone(),
        extra_roots: brought.roots.clone(),
        ..GatePolicy::for_server(&wanted)
    };
    let now_ms = Clock::System.now().as_millis();
    told(global, &gate::check(&brought.candidate, &policy, live.as_ref(), now_ms))
}

/// Prints a report; a refusal is exit code 4.
pub(super) fn told(global: &Global, report: &Report) -> Result<(), Failure> {
    let view = report_view(report);
    match global.json {
        true => output::print_json(&view)?,
        false => print_report(&view)?,
    }
    match report.refusals.first() {
        None => Ok(()),
        Some(first) => Err(Failure::new(
            exit::VERIFICATION_FAILED,
            format!("the certificate is refused: {report}"),
            first.hint.clone(),
        )),
    }
}

fn import(global: &Global, file: &CertificateFile) -> Result<(), Failure> {
    let brought = match Brought::read(file)? {
        Ok(brought) => brought,
        Err(refusal) => return told(global, &Report::from(refusal)),
    };
    let body = brought.body(&file.trust);
    let answer = super::remote(global)?.ask(CERTIFICATES, &body)?;
    certificate_file::wipe(body);
    adopted(global, answer)
}

fn csr(global: &Global, names: &[String], out: &Out) -> Result<(), Failure> {
    let remote = super::remote(global)?;
    let made = remote.send(Method::POST, REQUESTS, Some(&json!({ "names": names })))?;
    let id = word(&made, "/id");
    if let Err(failure) = save_quietly(out, word(&made, "/pem").as_bytes()) {
        // A request that nobody has is only in the way.
        remote.send(Method::DELETE, &request_path(id), None)?;
        return Err(failure);
    }
    if out.out.as_os_str() == "-" {
        return Ok(());
    }
    let words = format!(
        "request {id}: send it to your authority, then\nrecseal certs complete {id} CHAIN_FILE\n"
    );
    say(global, &json!({ "id": id }), &words)
}

fn complete(
    global: &Global,
    id: Uuid,
    chain: &std::path::Path,
    trust: &Trust,
) -> Result<(), Failure> {
    let text = |path| certificate_file::text(path, "certificate file");
    let body = json!({
        "pem": text(chain)?.as_str(),
        "roots": trust.root.as_deref().map(text).transpose()?.as_ref().map(|pem| pem.as_str()),
        "allow_names": trust.allow_names,
    });
    let answer = super::remote(global)?.ask(&request_path(&id.to_string()), &body)?;
    adopted(global, answer)
}

fn cancel(global: &Global, id: Uuid, yes: bool) -> Result<(), Failure> {
    if !yes {
        return Err(Failure::usage(
            "the key of this request will be gone, and an answer to it of no use",
            "say --yes if you mean it",
        ));
    }
    let remote = super::remote(global)?;
    remote.send(Method::DELETE, &request_path(&id.to_string()), None)?;
    say(global, &json!({ "id": id, "cancelled": true }), "forgotten\n")
}

/// What came of an import, an answer or a rollback.
fn adopted(global: &Global, (status, answer): (u16, Value)) -> Result<(), Failure> {
    let is_ok = (200..300).contains(&status);
    if global.json && (is_ok || answer.get("refusals").is_some()) {
        output::print_json(&answer)?;
    }
    if !is_ok {
        if !global.json {
            print_report(&answer)?;
        }
        return Err(remote::refused(status, &answer));
    }
    if global.json {
        return Ok(());
    }
    print_report(&answer)?;
    let until = word(&answer, "/staged_until");
    let served = match until {
        "" => "it is served now; open connections keep the old one".to_owned(),
        until => format!("it is kept and will be served from {until} on"),
    };
    let (id, end) = (word(&answer, "/id"), word(&answer, "/not_after"));
    output::print(&format!("certificate {id}, valid until {end}\n{served}\n"))
}

fn print_report(report: &Value) -> Result<(), Failure> {
    for (kind, list) in [("refused", "refusals"), ("notice", "notices")] {
        let findings = report.get(list).and_then(Value::as_array).into_iter().flatten();
        for finding in findings {
            let part = |field| output::printable(word(finding, field));
            let (code, message, hint) = (part("/code"), part("/message"), part("/hint"));
            output::print(&format!("{kind} {code}: {message}\n  hint: {hint}\n"))?;
        }
    }
    if report.get("passed") == Some(&Value::Bool(true)) {
        output::print("passed: it may be imported\n")?;
    }
    Ok(())
}

/// What the trail says about certificates, oldest first.
fn history(global: &Global) -> Result<(), Failure> {
    let remote = super::remote(global)?;
    let mut entries = Vec::new();
    for activity in ACTIVITIES {
        let query = [("from", Some(&b"1970-01-01"[..])), ("activity", Some(activity.as_bytes()))];
        entries.extend(remote.list("/api/v1/audit", &query)?);
    }
    entries.sort_by_key(|entry| entry.get("seq").and_then(Value::as_u64));
    if global.json {
        return output::print_json(&Value::Array(entries));
    }
    let fields = ["/at", "/user", "/activity", "/result", "/object"];
    let row = |entry: &Value| fields.iter().map(|field| word(entry, field).to_owned()).collect();
    let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
    output::print_table(&["AT", "USER", "ACTIVITY", "RESULT", "CERTIFICATE"], &rows)
}

fn live_facts(live: &Value) -> Option<CertificateFacts> {
    let ms = |field| parse_time(word(live, field)).map(|time| time.as_millis());
    Some(CertificateFacts {
        not_before_ms: ms("/not_before")?,
        not_after_ms: ms("/not_after")?,
        names: strings(&live["names"]),
        sha256: word(live, "/sha256").to_owned(),
        issuer: word(live, "/issuer").to_owned(),
        serial: word(live, "/serial").to_owned(),
    })
}

fn strings(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(|one| one.as_str().map(str::to_owned)).collect()
}

fn request_path(id: &str) -> String {
    format!("{REQUESTS}/{}", remote::segment(id))
}

const CERTIFICATES: &str = "/api/v1/certificates";
const REQUESTS: &str = "/api/v1/certificates/requests";
const ACTIVITIES: [&str; 7] = [
    "CERTIFICATE_RENEWED",
    "CERTIFICATE_RENEWAL_FAILED",
    "CERTIFICATE_IMPORTED",
    "CERTIFICATE_REQUESTED",
    "CERTIFICATE_ROLLED_BACK",
    "CERTIFICATE_ISSUED",
    "CERTIFICATE_REVOKED",
];
