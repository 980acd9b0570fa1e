//! `recseal certs ca`, `issue`, `issued` and `revoke`: the internal certificate authority.

use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use hyper::Method;
use serde_json::{Value, json};

use super::args::authority::{Ca, Issue, PublicOut, Which};
use super::args::{Global, Out};
use super::failure::{Failure, exit};
use super::online::{save, say, word};
use super::output::{self, Sink};
use super::remote::{Remote, segment};

/// `recseal certs ca`
pub(super) fn run(global: &Global, verb: &Ca) -> Result<(), Failure> {
    let remote = super::remote(global)?;
    let post = |act: &str, body: Option<&Value>| {
        remote.send(Method::POST, &format!("/api/v1/ca{act}"), body)
    };
    match verb {
        Ca::Create => {
            let answer = post("", None)?;
            say(global, &answer, "created: hand out the roots with `recseal certs ca bundle`\n")
        }
        Ca::Show => show(global, &remote),
        Ca::Bundle(out) => public(global, &remote, "bundle", out),
        Ca::Crl(out) => public(global, &remote, "crl", out),
        Ca::Prepare => {
            let answer = post("/prepare", None)?;
            let words = format!(
                "prepared: {}; give clients the new bundle, then `recseal certs ca activate`\n",
                answer["prepared"]
            );
            say(global, &answer, &words)
        }
        Ca::Activate => {
            let answer = post("/activate", None)?;
            say(global, &answer, &format!("active: {}\n", answer["active"]))
        }
        Ca::Taint(which) => {
            confirm(global, which, "replaces its root and everything below it")?;
            let answer = post("/taint", Some(&json!({ "number": which.number })))?;
            let words = format!(
                "tainted: {}; active: {}\ngive clients the new bundle and new certificates, then \
                 `recseal certs ca revoke {0}`\n",
                which.number, answer["active"]
            );
            say(global, &answer, &words)
        }
        Ca::Revoke(which) => {
            confirm(global, which, "ends every certificate below its root")?;
            let answer = post("/revoke", Some(&json!({ "number": which.number })))?;
            say(global, &answer, &format!("revoked{}\n", ended(&answer)))
        }
    }
}

/// `recseal certs issue`
pub(super) fn issue(global: &Global, verb: &Issue) -> Result<(), Failure> {
    let csr = verb.csr.as_deref().map(request).transpose()?;
    // First the place to put it: a key that nobody can save is not made.
    let mut sink = Sink::open(&verb.out)?;
    let body = json!({
        "name": verb.name,
        "csr": csr,
        "lifetime_seconds": verb.days.saturating_mul(86_400),
    });
    let path = "/api/v1/ca/certificates";
    let mut answer = super::remote(global)?.send(Method::POST, path, Some(&body))?;
    let pem = match answer["pem"].take() {
        Value::String(pem) => zeroize::Zeroizing::new(pem),
        _ => zeroize::Zeroizing::default(),
    };
    sink.write_all(pem.as_bytes()).map_err(|error| Failure::file("output file", &error))?;
    sink.finish()?;
    if verb.out.out == Path::new("-") {
        return Ok(());
    }
    let certificate = &answer["certificate"];
    let words = format!(
        "issued: {} until {}, serial {}\n",
        verb.name,
        word(certificate, "/not_after"),
        word(certificate, "/serial")
    );
    say(global, certificate, &words)
}

/// `recseal certs issued`
pub(super) fn issued(global: &Global) -> Result<(), Failure> {
    let items = super::remote(global)?.list("/api/v1/ca/certificates", &[])?;
    if global.json {
        return output::print_json(&Value::Array(items));
    }
    if items.is_empty() {
        return output::print("nothing is issued, or all of it is over\n");
    }
    let row = |item: &Value| {
        let state = match word(item, "/revoked_at") {
            "" => word(item, "/not_after").to_owned(),
            at => format!("revoked {at} ({})", word(item, "/reason")),
        };
        let fields = ["/serial", "/name", "/kind"].map(|field| word(item, field).to_owned());
        [&fields[..], &[item["issuer"].to_string(), state]].concat()
    };
    let rows: Vec<Vec<String>> = items.iter().map(row).collect();
    output::print_table(&["SERIAL", "NAME", "KIND", "ISSUER", "VALID UNTIL"], &rows)
}

/// `recseal certs revoke`
pub(super) fn revoke(global: &Global, serial: &str, reason: Option<&str>) -> Result<(), Failure> {
    let plain: String = serial.chars().filter(|c| *c != ':').collect();
    let path = format!("/api/v1/ca/certificates/{}/revoke", segment(&plain));
    let body = json!({ "reason": reason });
    let answer = super::remote(global)?.send(Method::POST, &path, Some(&body))?;
    say(global, &answer, &format!("revoked{}\n", ended(&answer)))
}

fn show(global: &Global, remote: &Remote) -> Result<(), Failure> {
    let authority = remote.get("/api/v1/ca")?;
    if global.json {
        return output::print_json(&authority);
    }
    let row = |issuing: &Value| {
        let mut row = vec![issuing["number"].to_string(), issuing["root"].to_string()];
        let fields = ["/state", "/not_after", "/prepare_at", "/activate_at", "/crl_until"];
        row.extend(fields.map(|field| word(issuing, field).to_owned()));
        row
    };
    let rows: Vec<Vec<String>> =
        authority["issuing"].as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        return output::print(
            "there is no internal certificate authority; `recseal certs ca create` makes one\n",
        );
    }
    let header =
        ["NUMBER", "ROOT", "STATE", "VALID UNTIL", "SUCCESSOR MADE", "TAKES OVER", "LIST UNTIL"];
    output::print_table(&header, &rows)?;
    output::print(&format!(
        "{} certificates are valid, {} of them revoked\n",
        authority["issued"], authority["revoked"]
    ))
}

fn public(global: &Global, remote: &Remote, what: &str, out: &PublicOut) -> Result<(), Failure> {
    let pem = remote.text(Method::GET, &format!("/api/v1/ca/{what}"), None)?;
    match &out.out {
        Some(path) => {
            let out = Out { out: path.clone(), force: out.force };
            save(global, &out, pem.as_bytes())
        }
        None if global.json => output::print_json(&json!({ "pem": pem.as_str() })),
        None => output::print(&pem),
    }
}

/// A signing request as PEM text; DER is written as PEM first.
fn request(path: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| Failure::file("signing request", &e))?;
    file.take(REQUEST_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::file("signing request", &error))?;
    if bytes.len() as u64 > REQUEST_BYTES_MAX {
        let hint = "name the file that `openssl req -new` wrote";
        return Err(Failure::new(exit::REFUSED, "the signing request is too long", hint));
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) if text.contains("-----BEGIN") => text,
        Ok(text) => to_pem(text.as_bytes()),
        Err(binary) => to_pem(binary.as_bytes()),
    })
}

fn to_pem(der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE REQUEST-----\n");
    for line in der.chunks(48) {
        for three in line.chunks(3) {
            let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
            let bits = bits << (8 * (3 - three.len()));
            for digit in 0..4 {
                let at = (bits >> (18 - 6 * digit) & 63) as usize;
                text.push(if digit > three.len() { '=' } else { char::from(DIGITS[at]) });
            }
        }
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE REQUEST-----\n");
    text
}

/// Asks a person to type the number again, unless `--yes` was said.
fn confirm(global: &Global, which: &Which, what: &str) -> Result<(), Failure> {
    if which.yes {
        return Ok(());
    }
    let ask_for_yes = || {
        let hint = "say --yes if that is meant";
        Failure::usage(format!("this {what}"), hint)
    };
    if global.json || !std::io::stdin().is_terminal() {
        return Err(ask_for_yes());
    }
    eprint!("this {what}; type the number {} to go on: ", which.number);
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|error| Failure::file("answer", &error))?;
    if line.trim() == which.number.to_string() { Ok(()) } else { Err(ask_for_yes()) }
}

fn ended(answer: &Value) -> String {
    match answer["connections_ended"].as_u64() {
        None | Some(0) => String::new(),
        Some(count) => format!("; {count} open connection(s) were ended"),
    }
}

const REQUEST_BYTES_MAX: u64 = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_requests_become_text() {
        let body = |der: &[u8]| {
            let text = to_pem(der);
            text.lines().filter(|line| !line.starts_with('-')).collect::<Vec<_>>().join("|")
        };
        assert_eq!(body(b""), "");
        assert_eq!(body(b"f"), "Zg==");
        assert_eq!(body(b"fo"), "Zm8=");
        assert_eq!(body(b"foo"), "Zm9v");
        assert_eq!(body(b"foobar"), "Zm9vYmFy");
        assert_eq!(body(&[0xff; 50]), format!("{}|//8=", "/".repeat(64)));
    }
}
