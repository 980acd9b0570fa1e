//! A real authority: pebble with its default chaos (one nonce in twenty is refused).

use std::fs;
use std::net::TcpStream;

use serde_json::Value;

use super::fails;
use super::own::fingerprint;
use super::pebble::{BINDING_KEY, Kind, Pebble, https_port, pause};
use crate::common::daemon::Daemon;
use crate::common::{or_skip, tools};

const TOOLS: &[&str] = &["openssl", "pebble", "pebble-challtestsrv"];

/// Renews at once; pebble's chaos may want another try, which goes on with the same order.
pub(super) fn renew(daemon: &Daemon, pebble: &Pebble) -> Value {
    for _ in 0..12 {
        if let Some(answer) = daemon.try_json(&["certs", "renew", "--now", "--wait"]) {
            return answer;
        }
    }
    panic!("not renewed\ndaemon:\n{}\npebble:\n{}", daemon.log(), pebble.log());
}

/// Meant to catch: `SingleCertAndKey` left in place while an order runs fails tls-alpn-01; the
/// account made anew at each order is seen in the log.
#[test]
fn both_proofs_lead_to_a_certificate_and_the_next_one() {
    or_skip!(tools(TOOLS));
    for challenge in ["http-01", "tls-alpn-01"] {
        let mut pebble = Pebble::at_rest(Kind::default());
        let config = pebble.config(&pebble.directory(), challenge, "");
        // Nobody answers yet: that is no reason not to start and to serve.
        let daemon = Daemon::start(&["--config", &config]);
        let said = fails(&daemon, &["certs", "renew", "--now", "--wait"]);
        assert!(said.contains("acme-unreachable") && said.contains("hint: "), "{said}");
        let self_signed = fingerprint(&daemon);
        pebble.start(https_port(&daemon));

        assert_eq!(renew(&daemon, &pebble)["renewal"], "renewed", "{challenge}");
        let first = fingerprint(&daemon);
        assert_ne!(first, self_signed);
        let status = daemon.json(&["status"]);
        assert_eq!(status["certificate"]["source"], "acme");
        let mut names: Vec<String> =
            serde_json::from_value(status["certificate"]["names"].clone()).unwrap();
        names.sort();
        assert_eq!(names, ["also.rec.test", "rec.test"]);
        assert_eq!(status["renewal"]["served_matches_store"], true, "{status}");
        assert_eq!(status["renewal"]["consecutive_failures"], 0);
        // Good for sixty days now.
        assert_eq!(daemon.json(&["certs", "renew", "--wait"])["renewal"], "not-due");

        assert_eq!(renew(&daemon, &pebble)["renewal"], "renewed", "{challenge}");
        assert_ne!(fingerprint(&daemon), first);
        let registered = daemon.log().matches("registered with the authority").count();
        assert_eq!(registered, 1, "one account for both");
        let open = TcpStream::connect(("127.0.0.1", pebble.http_port));
        assert!(open.is_err(), "proofs are served only while an order runs");
    }
}

/// Meant to catch: `from_key` instead of `create_from_key` finds no account for ever.
#[test]
fn an_authority_that_forgot_everything_is_met_anew() {
    or_skip!(tools(TOOLS));
    let mut pebble = Pebble::at_rest(Kind::default());
    let config = pebble.config(&pebble.directory(), "http-01", "");
    let mut daemon = Daemon::start(&["--config", &config]);
    pebble.start(https_port(&daemon));
    renew(&daemon, &pebble);
    pebble.stop();
    fails(&daemon, &["certs", "renew", "--now", "--wait"]);
    let live = fingerprint(&daemon);
    pebble.start(https_port(&daemon));
    renew(&daemon, &pebble);
    assert_ne!(fingerprint(&daemon), live);
    assert!(daemon.log().contains("does not know the account any more"), "{}", daemon.log());
    // And the account that is known is found in the store after a restart.
    daemon.stop();
    daemon.start_again();
    renew(&daemon, &pebble);
    assert_eq!(daemon.log().matches("does not know the account").count(), 1);
}

/// Killed while the authority looks for the proof, the next start gets its certificate all the
/// same. Meant to catch: an order that failed and is kept is asked about for ever.
#[test]
fn a_killed_order_is_taken_up_again() {
    or_skip!(tools(TOOLS));
    let mut pebble = Pebble::at_rest(Kind { sleep_s: Some(4), ..Kind::default() });
    let config = pebble.config(&pebble.directory(), "http-01", "");
    let mut daemon = Daemon::start(&["--config", &config]);
    pebble.start(https_port(&daemon));
    let before = fingerprint(&daemon);
    daemon.json(&["certs", "renew", "--now"]);
    until_proofs_are_served(&pebble, &daemon);
    daemon.kill_nine();
    daemon.start_again();
    assert_eq!(fingerprint(&daemon), before, "the old one serves on");
    renew(&daemon, &pebble);
    assert_ne!(fingerprint(&daemon), before);
}

/// The authority dies while it looks for the proof, and comes back without a memory of order and
/// account. Meant to catch: an order whose address is gone is asked about for ever.
#[test]
fn an_authority_that_dies_in_the_order_is_met_anew() {
    or_skip!(tools(TOOLS));
    let mut pebble = Pebble::at_rest(Kind { sleep_s: Some(4), ..Kind::default() });
    let config = pebble.config(&pebble.directory(), "http-01", "");
    let mut daemon = Daemon::start(&["--config", &config]);
    pebble.start(https_port(&daemon));
    let before = fingerprint(&daemon);
    daemon.json(&["certs", "renew", "--now"]);
    until_proofs_are_served(&pebble, &daemon);
    pebble.stop();
    daemon.wait_until("the failure is told", |daemon| {
        daemon.json(&["status"])["renewal"]["consecutive_failures"] == 1
    });
    let status = daemon.json(&["status"]);
    assert!(status["renewal"]["retry_at"].is_string(), "{status}");
    assert_eq!(fingerprint(&daemon), before, "the old one serves on");
    let open = TcpStream::connect(("127.0.0.1", pebble.http_port));
    assert!(open.is_err(), "proofs are served only while an order runs");
    pebble.start(https_port(&daemon));
    renew(&daemon, &pebble);
    assert_ne!(fingerprint(&daemon), before);
    assert_eq!(daemon.json(&["status"])["renewal"]["consecutive_failures"], 0);
}

/// Six times the default: more than the client's own three tries per request can bear, so that
/// orders break off and are gone on with. Meant to catch: each try begins an order of its own.
#[test]
fn a_third_of_all_nonces_refused_only_costs_tries() {
    or_skip!(tools(TOOLS));
    let mut pebble = Pebble::at_rest(Kind { nonces_refused: Some(30), ..Kind::default() });
    let config = pebble.config(&pebble.directory(), "http-01", "");
    let daemon = Daemon::start(&["--config", &config]);
    let before = fingerprint(&daemon);
    pebble.start(https_port(&daemon));
    for _ in 0..3 {
        renew(&daemon, &pebble);
    }
    assert_ne!(fingerprint(&daemon), before);
    assert_eq!(daemon.json(&["status"])["certificate"]["source"], "acme");
}

fn until_proofs_are_served(pebble: &Pebble, daemon: &Daemon) {
    let is_open = || TcpStream::connect(("127.0.0.1", pebble.http_port)).is_ok();
    for _ in 0..200 {
        if is_open() {
            return;
        }
        pause();
    }
    panic!("the order did not begin: {}", daemon.log());
}

#[test]
fn an_account_is_bound_where_the_authority_wants_that() {
    or_skip!(tools(TOOLS));
    let mut pebble = Pebble::at_rest(Kind { needs_binding: true, ..Kind::default() });
    let plain = pebble.config(&pebble.directory(), "http-01", "");
    let mut daemon = Daemon::start(&["--config", &plain]);
    pebble.start(https_port(&daemon));
    let said = fails(&daemon, &["certs", "renew", "--now", "--wait"]);
    assert!(said.contains("externalAccountRequired") && said.contains("eab_key_id"), "{said}");
    daemon.stop();

    let file = pebble.path("eab");
    fs::write(&file, format!("{BINDING_KEY}\n")).unwrap();
    let lines = format!("eab_key_id = \"kid-1\"\neab_key_file = \"{}\"", file.display());
    pebble.config(&pebble.directory(), "http-01", &lines);
    daemon.start_again();
    renew(&daemon, &pebble);
    // From now on the secret is not needed.
    fs::rename(&file, pebble.path("away")).unwrap();
    let first = fingerprint(&daemon);
    renew(&daemon, &pebble);
    assert_ne!(fingerprint(&daemon), first);
    assert!(!daemon.log().contains(BINDING_KEY));
}

/// Meant to catch: a forbidden name classed as passing is tried again after a minute.
#[test]
fn a_forbidden_name_is_told_and_not_asked_for_all_the_time() {
    or_skip!(tools(TOOLS));
    let mut pebble = Pebble::at_rest(Kind { blocked: &["rec.test"], ..Kind::default() });
    let config = pebble.config(&pebble.directory(), "http-01", "");
    let daemon = Daemon::start(&["--config", &config]);
    let live = fingerprint(&daemon);
    pebble.start(https_port(&daemon));
    let mut said = String::new();
    for _ in 0..5 {
        said = fails(&daemon, &["certs", "renew", "--now", "--wait"]);
        if said.contains("rejectedIdentifier") {
            break;
        }
    }
    assert!(said.contains("rejectedIdentifier") && said.contains("listen.names"), "{said}");
    assert_eq!(fingerprint(&daemon), live);
    let status = daemon.json(&["status"]);
    let retry_at: jiff::Timestamp =
        status["renewal"]["retry_at"].as_str().unwrap().parse().unwrap();
    let failed: jiff::Timestamp = daemon
        .json(&["audit", "--activity", "CERTIFICATE_RENEWAL_FAILED"])
        .as_array()
        .and_then(|entries| entries.last()?["at"].as_str()?.parse().ok())
        .unwrap();
    assert!(retry_at.duration_since(failed).as_secs() > 5 * 3_600, "{status}");
    let held = daemon.json(&["certs", "renew", "--wait"]);
    assert_eq!((&held["renewal"], &held["reason"]), (&"held".into(), &"back-off".into()));
    let codes: Vec<&str> = status["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|warning| warning["code"].as_str().unwrap())
        .collect();
    assert!(codes.contains(&"certificate-renewal-failing"), "{status}");
}
