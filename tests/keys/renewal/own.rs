//! What needs nobody else: self-signed certificates, the self-probe, the metrics.

use std::fs;

use serde_json::{Value, json};

use crate::common::daemon::Daemon;

/// The certificate that `status` tells of.
pub(super) fn fingerprint(daemon: &Daemon) -> String {
    daemon.json(&["status"])["certificate"]["sha256"].as_str().unwrap().to_owned()
}

/// The value of a metric, or nothing.
pub(super) fn metric(daemon: &Daemon, name: &str) -> Option<String> {
    let address = daemon.json(&["status"])["listen"]["health"].as_str().unwrap().to_owned();
    let url = format!("http://{address}/metrics");
    let text = crate::common::run(std::process::Command::new("curl").args(["-sS", &url])).unwrap();
    text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
}

/// Meant to catch: `--now` not handed to the driver leaves the certificate; the answer given before
/// the look leaves it too, every few runs.
#[test]
fn a_person_renews_the_self_signed_one() {
    let daemon = Daemon::start(&[]);
    let first = fingerprint(&daemon);
    let look = daemon.json(&["certs", "renew", "--wait"]);
    assert_eq!(look["renewal"], "not-due", "{look}");
    assert_eq!(fingerprint(&daemon), first);
    let renewed = daemon.json(&["certs", "renew", "--now", "--wait"]);
    assert_eq!(renewed["renewal"], "renewed");
    assert_ne!(fingerprint(&daemon), first);
    let status = daemon.json(&["status"]);
    assert_eq!(status["certificate"]["source"], "self-signed");
    assert_eq!(status["renewal"]["served_matches_store"], Value::Bool(true), "{status}");
    let audit = daemon.json(&["audit", "--activity", "CERTIFICATE_RENEWED"]);
    assert_eq!(audit.as_array().map(Vec::len), Some(1), "{audit}");
}

/// Meant to catch: the default names wanted from a store that was made for others.
#[test]
fn names_follow_the_configuration_and_defaults_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("recseal.toml");
    fs::write(&config, "[listen]\nnames = [\"rec.test\", \"127.0.0.1\"]").unwrap();
    let mut daemon = Daemon::start(&["--config", config.to_str().unwrap()]);
    let names = |daemon: &Daemon| daemon.json(&["status"])["certificate"]["names"].clone();
    for (text, wanted) in [
        ("", json!(["rec.test", "127.0.0.1"])),
        ("[listen]\nnames = [\"other.test\"]", json!(["other.test"])),
    ] {
        daemon.stop();
        fs::write(&config, text).unwrap();
        daemon.start_again();
        daemon.json(&["certs", "renew", "--wait"]);
        assert_eq!(names(&daemon), wanted);
    }
}

#[test]
fn metrics_tell_of_renewals() {
    crate::common::or_skip!(crate::common::tools(&["curl"]));
    let daemon = Daemon::start(&[]);
    daemon.json(&["certs", "renew", "--now", "--wait"]);
    let value = |name: &str| metric(&daemon, name);
    let not_after = "recseal_certificate_not_after_timestamp_seconds{source=\"self-signed\"}";
    let planned = "recseal_certificate_renewal_timestamp_seconds{source=\"self-signed\"}";
    let seconds = |name: &str| value(name).unwrap().parse::<i64>().unwrap();
    assert!(seconds(planned) < seconds(not_after));
    assert_eq!(value("recseal_certificate_renewals_total{result=\"ok\"}").as_deref(), Some("1"));
    assert_eq!(value("recseal_clock_suspect").as_deref(), Some("0"));
    let served = "recseal_certificate_served_matches_store{listener=\"https\"}";
    assert_eq!(value(served).as_deref(), Some("1"));
}

/// Without an authority the old certificate serves on, and the hint says how to get one.
#[test]
fn the_internal_authority_issues_the_daemons_own() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("recseal.toml");
    fs::write(&config, "[certificate]\nsource = \"internal-ca\"").unwrap();
    let daemon = Daemon::start(&["--config", config.to_str().unwrap()]);
    let self_signed = fingerprint(&daemon);
    let said = super::fails(&daemon, &["certs", "renew", "--now", "--wait"]);
    assert!(said.contains("internal-authority") && said.contains("certs ca create"), "{said}");
    assert_eq!(fingerprint(&daemon), self_signed);
    daemon.json(&["certs", "ca", "create"]);
    assert_eq!(daemon.json(&["certs", "renew", "--now", "--wait"])["renewal"], "renewed");
    let status = daemon.json(&["status"]);
    assert_eq!(status["certificate"]["source"], "internal-ca", "{status}");
    assert_eq!(daemon.json(&["certs", "renew", "--wait"])["renewal"], "not-due");
    assert_eq!(status["renewal"]["served_matches_store"], true);
}
