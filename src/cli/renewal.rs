//! `recseal certs renew`: the certificate is looked at now.

use hyper::Method;
use serde_json::{Value, json};

use super::args::Global;
use super::failure::Failure;
use super::output;

/// `recseal certs renew`
pub(super) fn renew(global: &Global, now: bool, wait: bool) -> Result<(), Failure> {
    let remote = super::remote(global)?;
    let body = json!({ "now": now, "wait": wait });
    let path = "/api/v1/certificates/renew";
    let answer = remote.send(Method::POST, path, Some(&body))?;
    if global.json {
        return output::print_json(&answer);
    }
    let word = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default();
    let line = match word("renewal") {
        "requested" => "requested; `recseal status` shows what comes of it\n".to_owned(),
        "renewed" => "renewed: the new certificate is served\n".to_owned(),
        "held" => format!("due, but held back until {} ({})\n", word("until"), word("reason")),
        "not-due" if word("due").is_empty() => {
            "nothing to do: others renew the files, and these are served\n".to_owned()
        }
        "by-nobody" => {
            "nothing is done: the certificate was imported, and nobody renews it; before it ends \
             import another one, or see [certificate] source\n"
                .to_owned()
        }
        "not-due" => format!("not due before {}; --now renews all the same\n", word("due")),
        other => format!("{other}\n"),
    };
    output::print(&line)
}
