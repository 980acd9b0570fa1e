//! `recseal certs`: what the HTTPS listener serves.

use hyper::Method;
use serde_json::json;

use super::args::Global;
use super::args::certs::Certs;
use super::failure::Failure;
use super::output;

/// `recseal certs`
pub(super) fn run(global: &Global, verb: &Certs) -> Result<(), Failure> {
    match verb {
        Certs::Show { pem } => show(global, *pem),
        Certs::Renew { now, wait } => super::renewal::renew(global, *now, *wait),
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
