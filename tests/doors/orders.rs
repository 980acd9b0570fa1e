//! Planning, ordering, confirming, agreeing, asking twice; and what is refused.

use std::io::{Read, Write};

use recseal::access::Role;
use serde_json::{Value, json};

use crate::Sealed;
use crate::common::caller::{Caller, Local, bearer};

const JOBS: &str = "/api/v1/erasures";

/// Planted fault: a number that is not that of the plan. Meant to catch, too: a dry run that marks.
#[test]
fn many_are_erased_only_with_their_number() {
    let sealed = Sealed::paused(4, "[erasure]\nmass_from = 3");
    let local = Local::new(&sealed.daemon);
    let order = |with: Value| {
        let mut body = sealed.order(0..4);
        body.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        local.ask("POST", JOBS, &[], &body.to_string())
    };
    let plan = local.ask("POST", "/api/v1/erasures/plan", &[], &sealed.order(0..4).to_string());
    let plan = plan.json();
    assert_eq!((&plan["marks"], &plan["needs_confirm"]), (&json!(4), &json!(true)));
    assert_eq!(plan["erase"]["recordings"], 4);
    assert_eq!(plan["verdicts"].as_array().unwrap().len(), 4);
    assert_eq!(plan["verdicts"][0]["verdict"], "erase");
    let dry = order(json!({ "dry_run": true, "confirm": 4 }));
    assert_eq!((dry.status, &dry.json()["marks"]), (200, &json!(4)));
    for with in [json!({}), json!({ "confirm": 3 })] {
        let refused = order(with);
        assert_eq!((refused.status, refused.code().as_str()), (409, "confirm-count"));
        assert!(refused.json()["detail"].as_str().unwrap().contains('4'));
    }
    assert_eq!(sealed.count("planned_for_deletion"), 0);
    let made = order(json!({ "confirm": 4, "reason": "decision" }));
    assert_eq!(made.status, 201);
    let answer = made.json();
    let id = answer["job"]["id"].as_str().unwrap();
    assert_eq!(made.header("location"), format!("{JOBS}/{id}"));
    assert_eq!(answer["job"]["reason"], "decision");
    assert_eq!(answer["job"]["progress"]["pending_files"], 4);
    assert_eq!(sealed.count("planned_for_deletion"), 4);
    let marked = sealed.daemon.json(&["recordings", "--state-is", "planned_for_deletion"]);
    assert_eq!(marked[0]["state"], "Planned for deletion of media files");
    let out = sealed.store.parent().unwrap().join("still.wav");
    sealed.daemon.json(&["open", &sealed.ids[0], "-o", out.to_str().unwrap()]);
    let again = order(json!({ "confirm": 0 }));
    assert_eq!((again.status, &again.json()["job"]), (200, &Value::Null));
    assert_eq!(again.json()["plan"]["already_planned"]["recordings"], 4);
}

/// Planted fault: another order under the same key answered with the first. Meant to catch, too: the
/// second of two equal orders answered as a new one; the key of somebody else.
#[test]
fn an_order_that_is_sent_twice_is_one() {
    let mut sealed = Sealed::paused(3, "");
    let key = ("idempotency-key", "6c1d2a4e");
    let (one, other) = (sealed.order(0..2).to_string(), sealed.order(2..3).to_string());
    let local = Local::new(&sealed.daemon);
    let first = local.ask("POST", JOBS, &[key], &one);
    assert_eq!(first.status, 201);
    let second = local.ask("POST", JOBS, &[key], &one);
    assert_eq!((second.status, second.json()), (201, first.json()));
    assert_eq!(second.header("location"), first.header("location"));
    let mixed = local.ask("POST", JOBS, &[key], &other);
    assert_eq!((mixed.status, mixed.code().as_str()), (422, "idempotency-key-reused"));
    let caller = Caller::new(&sealed.daemon);
    let analyst = bearer(&sealed.daemon, Role::ComplianceAnalyst);
    let json = ("content-type", "application/json");
    let theirs = caller.ask("POST", JOBS, &[key, json, ("authorization", &analyst)], &other);
    assert_eq!(theirs.status, 201, "a key is its sender's own");
    sealed.daemon.kill_nine();
    sealed.daemon.start_again();
    let third = local.ask("POST", JOBS, &[key], &one);
    assert_eq!((third.status, third.json()), (201, first.json()));
    assert_eq!(sealed.daemon.json(&["erase", "list"]).as_array().unwrap().len(), 2);
    for bad in ["", &"k".repeat(201)] {
        let refused = local.ask("POST", JOBS, &[("idempotency-key", bad)], &one);
        assert_eq!((refused.status, refused.code().as_str()), (400, "bad-request"));
    }
}

/// Planted fault: approval by whoever asked.
#[test]
fn a_mass_erasure_takes_a_second_person() {
    let mut sealed = Sealed::new(3, "[erasure]\nmass_from = 2\napprove_mass = true");
    let (caller, local) = (Caller::new(&sealed.daemon), Local::new(&sealed.daemon));
    let analyst = bearer(&sealed.daemon, Role::ComplianceAnalyst);
    let manager = bearer(&sealed.daemon, Role::CcManager);
    let auth = ("authorization", analyst.as_str());
    let mut body = sealed.order(0..3);
    body["confirm"] = json!(3);
    let headers = [auth, ("content-type", "application/json")];
    let made = caller.ask("POST", JOBS, &headers, &body.to_string()).json();
    assert_eq!(made["job"]["state"], "awaiting_approval");
    assert_eq!(made["plan"]["needs_approval"], true);
    let job = made["job"]["id"].as_str().unwrap().to_owned();
    let approve = format!("{JOBS}/{job}/approve");
    let same = caller.ask("POST", &approve, &[auth], "");
    assert_eq!((same.status, same.code().as_str()), (403, "same-person"));
    let forbidden = caller.ask("POST", &approve, &[("authorization", &manager)], "");
    assert_eq!((forbidden.status, forbidden.code().as_str()), (403, "forbidden"));
    let warned = sealed.daemon.json(&["status"]);
    let codes: Vec<&str> = warned["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|warning| warning["code"].as_str().unwrap())
        .collect();
    assert!(codes.contains(&"erasure-awaiting-approval"), "{codes:?}");
    assert_eq!(sealed.count("deleted"), 0);
    let approved = local.ask("POST", &approve, &[], "");
    assert_eq!((approved.status, &approved.json()["state"]), (200, &json!("running")));
    let twice = local.ask("POST", &approve, &[], "");
    assert_eq!((twice.status, twice.code().as_str()), (409, "erasure-state"));
    sealed
        .daemon
        .wait_until("all is erased", |d| d.json(&["status"])["recordings"]["deleted"] == 3);
    let shown = local.ask("GET", &format!("{JOBS}/{job}"), &[], "").json();
    assert_eq!((&shown["approved_by"], &shown["state"]), (&json!("uid:0"), &json!("finished")));
}

/// Every body and every query of these routes, wrong in every way: a clear refusal, and nothing is
/// changed. Planted fault: one of two selections taken. Meant to catch, too: `deny_unknown_fields`
/// left out anywhere.
#[test]
fn nonsense_is_refused_and_changes_nothing() {
    let sealed = Sealed::paused(1, "");
    let local = Local::new(&sealed.daemon);
    let id = &sealed.ids[0];
    let nil = "00000000-0000-0000-0000-000000000000";
    let long = "x".repeat(4_001);
    let owned = |text: &str| text.to_owned();
    let rows: Vec<(&str, String, String, u16, &str)> = vec![
        ("POST", owned(JOBS), owned("{"), 400, "bad-request"),
        ("POST", owned(JOBS), owned("{}"), 400, "bad-request"),
        ("POST", owned(JOBS), owned(r#"{"recordings":[]}"#), 400, "bad-request"),
        ("POST", owned(JOBS), owned(r#"{"recordings":["x"]}"#), 400, "bad-request"),
        ("POST", owned(JOBS), format!(r#"{{"recordings":["{nil}"]}}"#), 404, "not-found"),
        (
            "POST",
            owned(JOBS),
            format!(r#"{{"recordings":["{id}"],"due":true}}"#),
            400,
            "bad-request",
        ),
        (
            "POST",
            owned(JOBS),
            format!(r#"{{"recordings":["{id}"],"confirm":-1}}"#),
            400,
            "bad-request",
        ),
        (
            "POST",
            owned(JOBS),
            format!(r#"{{"recordings":["{id}"],"reason":"no"}}"#),
            400,
            "bad-request",
        ),
        ("POST", owned(JOBS), format!(r#"{{"person":"{long}"}}"#), 400, "bad-request"),
        ("POST", owned(JOBS), owned(r#"{"files":["a.wav"]}"#), 400, "bad-request"),
        ("POST", owned(JOBS), owned(r#"{"files":["/no/store/a.wav"]}"#), 404, "no-such-store"),
        ("POST", owned(JOBS), format!(r#"{{"recordings":["{id}"],"x":1}}"#), 400, "bad-request"),
        ("POST", format!("{JOBS}/plan"), owned(r#"{"due":true,"x":1}"#), 400, "bad-request"),
        ("GET", format!("{JOBS}/x"), owned(""), 400, "bad-request"),
        ("GET", format!("{JOBS}/{nil}"), owned(""), 404, "no-such-erasure"),
        ("GET", format!("{JOBS}/{nil}/items"), owned(""), 404, "no-such-erasure"),
        ("GET", format!("{JOBS}/{nil}/items?only=done"), owned(""), 400, "bad-request"),
        ("GET", format!("{JOBS}?limit=501"), owned(""), 400, "bad-request"),
        ("GET", format!("{JOBS}?after=r0"), owned(""), 400, "bad-request"),
        ("POST", format!("{JOBS}/{nil}/pause"), owned(""), 404, "no-such-erasure"),
        ("POST", format!("{JOBS}/{nil}/approve"), owned(""), 404, "no-such-erasure"),
        ("PUT", format!("{JOBS}/limit"), owned(r#"{"bytes_per_second":-1}"#), 400, "bad-request"),
        (
            "PUT",
            format!("{JOBS}/limit"),
            owned(r#"{"bytes_per_second":1,"x":1}"#),
            400,
            "bad-request",
        ),
        ("POST", format!("{JOBS}/finalize"), owned(r#"{"now":true}"#), 400, "bad-request"),
        ("POST", format!("{JOBS}/finalize"), owned(r#"{"at":"soon"}"#), 400, "bad-request"),
        ("POST", format!("{JOBS}/finalize"), owned(r#"{"x":1}"#), 400, "bad-request"),
        ("GET", format!("/api/v1/recordings/{id}/certificate"), owned(""), 409, "not-erased"),
        ("GET", format!("/api/v1/recordings/{nil}/certificate"), owned(""), 404, "not-found"),
        (
            "GET",
            format!("/api/v1/recordings/{id}/certificate?format=pdf"),
            owned(""),
            400,
            "bad-request",
        ),
        (
            "PUT",
            format!("/api/v1/recordings/{id}/mifid"),
            owned(r#"{"until":"soon"}"#),
            400,
            "bad-request",
        ),
        ("PUT", format!("/api/v1/recordings/{id}/mifid"), owned(r#"{"x":1}"#), 400, "bad-request"),
        ("DELETE", format!("/api/v1/recordings/{id}/mifid"), owned(""), 404, "no-such-hold"),
        ("POST", owned("/api/v1/holds"), owned(r#"{"reason":"r"}"#), 422, "invalid"),
        (
            "POST",
            owned("/api/v1/holds"),
            format!(r#"{{"reason":" ","recordings":["{id}"]}}"#),
            422,
            "invalid",
        ),
        (
            "POST",
            owned("/api/v1/holds"),
            format!(r#"{{"reason":"r","recordings":["{id}"],"until":"2001-01-01"}}"#),
            422,
            "invalid",
        ),
        (
            "POST",
            owned("/api/v1/holds"),
            format!(r#"{{"reason":"r","recordings":["{nil}"]}}"#),
            404,
            "not-found",
        ),
        (
            "POST",
            owned("/api/v1/holds"),
            format!(r#"{{"reason":"r","recordings":["{id}"],"x":1}}"#),
            400,
            "bad-request",
        ),
        ("GET", owned("/api/v1/holds?all=yes"), owned(""), 400, "bad-request"),
        ("GET", format!("/api/v1/holds/{nil}"), owned(""), 404, "no-such-hold"),
        ("DELETE", owned("/api/v1/holds/x"), owned(""), 400, "bad-request"),
        ("POST", owned("/api/v1/retention/rules"), owned(r#"{"name":"n"}"#), 422, "invalid"),
        (
            "POST",
            owned("/api/v1/retention/rules"),
            owned(r#"{"name":"n","keep_days":9,"erase_days":8}"#),
            422,
            "invalid",
        ),
        (
            "POST",
            owned("/api/v1/retention/rules"),
            owned(r#"{"name":"n","keep_days":1,"kind":"x"}"#),
            400,
            "bad-request",
        ),
        (
            "POST",
            owned("/api/v1/retention/rules"),
            owned(r#"{"name":"n","keep_days":1,"store":"/no"}"#),
            404,
            "no-such-store",
        ),
        (
            "POST",
            owned("/api/v1/retention/rules"),
            owned(r#"{"name":"n","keep_days":1,"tag":""}"#),
            400,
            "bad-request",
        ),
        (
            "POST",
            owned("/api/v1/retention/rules"),
            owned(r#"{"name":"n","keep_days":1,"metadata_value":"v"}"#),
            400,
            "bad-request",
        ),
        (
            "POST",
            owned("/api/v1/retention/rules"),
            owned(r#"{"name":"n","keep_days":1,"x":1}"#),
            400,
            "bad-request",
        ),
        ("DELETE", format!("/api/v1/retention/rules/{nil}"), owned(""), 404, "no-such-rule"),
        ("POST", format!("/api/v1/backup/{nil}/forget"), owned(""), 404, "no-such-backup"),
        ("POST", owned("/api/v1/backup/x/forget"), owned(""), 400, "bad-request"),
    ];
    for (method, path, body, status, code) in rows {
        let answer = local.ask(method, &path, &[], &body);
        let short: String = body.chars().take(80).collect();
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{method} {path} {short}"
        );
    }
    let socket = sealed.daemon.state().join("recseal.sock");
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    let head = "POST /api/v1/erasures HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                Connection: close\r\nContent-Length: 5000000\r\n\r\n";
    // The refusal may come, and the connection close, before the whole was written.
    let _ = stream.write_all(format!("{head}{}", "x".repeat(5_000_000)).as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("too-large"), "{answer}");
    let plain = local.ask("POST", JOBS, &[("content-type", "text/plain")], "{}");
    assert_eq!((plain.status, plain.code().as_str()), (415, "unsupported-media-type"));
    for (list, path) in
        [("jobs", JOBS), ("holds", "/api/v1/holds?all=true"), ("rules", "/api/v1/retention/rules")]
    {
        let found = local.ask("GET", path, &[], "").json();
        assert!(found["items"].as_array().unwrap().is_empty(), "{list}");
    }
    assert_eq!(sealed.count("available"), 1);
    assert!(!sealed.daemon.log().contains("panic"), "{}", sealed.daemon.log());
}
