//! Holds, retention, pauses, limits, finality: steered by commands, as ops would.

use serde_json::json;

use crate::Sealed;
use crate::common::caller::Local;

/// Planted fault: an order of which all is protected that exits with 0. Meant to catch, too: a wait
/// that never ends because of what is protected.
#[test]
fn what_is_held_waits_and_the_exit_code_says_so() {
    let mut sealed = Sealed::new(3, "");
    let ids = sealed.ids.clone();
    let placed =
        sealed.daemon.json(&["holds", "place", "--reason", "case 7", "--recording", &ids[0]]);
    let hold = placed["hold"]["id"].as_str().unwrap().to_owned();
    let (code, stderr) = sealed.code(&["erase", "--recording", &ids[0], "--yes"]);
    assert_eq!(code, 5, "{stderr}");
    assert!(stderr.contains("1 by hold") && stderr.contains("\nhint: "), "{stderr}");
    let jobs = sealed.daemon.json(&["erase", "list"]);
    let job = jobs[0]["id"].as_str().unwrap().to_owned();
    let blocked = sealed.daemon.json(&["erase", "items", &job, "--only", "blocked"]);
    assert_eq!(
        (&blocked[0]["recording"], &blocked[0]["blocked_by"]),
        (&json!(ids[0]), &json!("hold"))
    );
    assert!(
        sealed
            .daemon
            .json(&["erase", "items", &job, "--only", "failing"])
            .as_array()
            .unwrap()
            .is_empty()
    );
    let why = sealed.daemon.json(&["retention", "protections", &ids[0]]);
    assert_eq!((&why[0]["kind"], &why[0]["hold"]), (&json!("hold"), &json!(hold)));
    // Some of it goes.
    let other = sealed.daemon.json(&["holds", "place", "--reason", "r", "--recording", &ids[1]]);
    let other = other["hold"]["id"].as_str().unwrap().to_owned();
    let mixed = ["erase", "--recording", &ids[1], "--recording", &ids[2], "--yes", "--wait"];
    let (code, stderr) = sealed.code(&mixed);
    assert_eq!(code, 8, "{stderr}");
    assert_eq!((sealed.count("deleted"), sealed.count("planned_for_deletion")), (1, 2));
    let certificate = format!("/api/v1/recordings/{}/certificate", ids[2]);
    let local = Local::new(&sealed.daemon);
    let text = local.ask("GET", &certificate, &[], "");
    assert!(text.header("content-type").starts_with("text/plain"));
    let facts = local.ask("GET", &format!("{certificate}?format=json"), &[], "").json();
    assert_eq!((&facts["number"], &facts["recording"]), (&json!(1), &json!(ids[2])));
    let text = String::from_utf8(text.body.unwrap().to_vec()).unwrap();
    assert!(text.starts_with(facts["certificate"].as_str().unwrap()));
    // Lifted, the rest goes by itself.
    sealed.daemon.json(&["holds", "lift", &hold]);
    sealed.daemon.json(&["holds", "lift", &other]);
    sealed
        .daemon
        .wait_until("it goes on by itself", |d| d.json(&["status"])["recordings"]["deleted"] == 3);
    assert!(sealed.daemon.json(&["holds", "list"]).as_array().unwrap().is_empty());
    let all = sealed.daemon.json(&["holds", "list", "--all"]);
    assert_eq!((&all[0]["reason"], &all[0]["lifted_by"]), (&json!("case 7"), &json!("uid:0")));
    assert_eq!(sealed.daemon.json(&["holds", "show", &hold])["recordings"], json!([ids[0]]));
    let late = ["holds", "place", "--reason", "late", "--recording", &ids[0]];
    assert_eq!(sealed.code(&late).0, 8, "a hold that came too late says so");
    let unknown = "0192f0c8-7a3b-7c4d-8e5f-123456789abc";
    for args in [
        vec!["erase", "--recording", unknown, "--yes"],
        vec!["erase", "--conversation", unknown, "--yes"],
        vec!["erase", "status", unknown],
        vec!["holds", "lift", unknown],
        vec!["holds", "lift", &hold],
        vec!["retention", "remove", unknown],
        vec!["retention", "unprotect", &ids[1]],
        vec!["backup", "forget", unknown],
    ] {
        let (code, stderr) = sealed.code(&args);
        assert_eq!(code, 6, "{args:?}: {stderr}");
    }
}

/// Meant to catch: due as of another day; a mark that outlives its removal.
#[test]
fn rules_and_marks_decide_what_is_due() {
    let mut sealed = Sealed::new(3, "");
    let store = sealed.store.to_str().unwrap().to_owned();
    let add =
        ["retention", "add", "short", "--store", &store, "--kind", "audio", "--erase-after", "1d"];
    let rule = sealed.daemon.json(&add);
    assert_eq!((&rule["erase_days"], &rule["kind"]), (&json!(1), &json!("audio")));
    assert_eq!(sealed.code(&add).0, 5, "a name is taken once");
    let long = sealed.daemon.json(&["retention", "add", "long", "--keep", "3d"]);
    let plan = sealed.daemon.json(&["retention", "plan"]);
    assert_eq!(plan["plan"]["chosen"]["recordings"], 0, "the longest wins");
    sealed.daemon.json(&["retention", "remove", long["id"].as_str().unwrap()]);
    sealed.daemon.json(&["retention", "protect", &sealed.ids[0], "--until", "2999-12-31"]);
    let plan = sealed.daemon.json(&["retention", "plan"]);
    assert_eq!(
        (&plan["rules"][0]["name"], &plan["rules"][0]["due"]["recordings"]),
        (&json!("short"), &json!(3))
    );
    assert_eq!(plan["plan"]["blocked_by"], json!({ "mifid": 1 }));
    assert_eq!(sealed.count("available"), 3, "a plan is only a plan");
    let (code, stderr) = sealed.code(&["erase", "--due", "--yes", "--wait"]);
    assert_eq!(code, 8, "{stderr}");
    assert_eq!(sealed.count("deleted"), 2);
    sealed.daemon.json(&["retention", "unprotect", &sealed.ids[0]]);
    sealed
        .daemon
        .wait_until("the last goes", |d| d.json(&["status"])["recordings"]["deleted"] == 3);
    assert_eq!(sealed.daemon.json(&["retention", "list"]).as_array().unwrap().len(), 1);
}

/// Meant to catch: a limit that a restart reads wrongly; a cancelled job whose marks stay.
#[test]
fn a_queue_is_paused_limited_and_taken_back() {
    let mut sealed = Sealed::paused(2, "");
    let made = sealed.daemon.json(&["erase", "--recording", &sealed.ids[0], "--yes"]);
    let job = made["job"]["id"].as_str().unwrap().to_owned();
    sealed.daemon.json(&["erase", "limit", "50M"]);
    sealed.daemon.kill_nine();
    sealed.daemon.start_again();
    let status = sealed.daemon.json(&["erase", "status"]);
    assert_eq!(
        (&status["paused"], &status["limit_bytes_per_second"]),
        (&json!(true), &json!(50_000_000))
    );
    assert_eq!((&status["pending_files"], sealed.count("deleted")), (&json!(1), 0));
    let warned = sealed.daemon.json(&["status"]).to_string();
    assert!(warned.contains("erasure-paused"), "{warned}");
    let shown = String::from_utf8(sealed.daemon.recseal(&["status"]).stdout).unwrap();
    assert!(shown.contains("erasure      1 waiting"), "{shown}");
    sealed.daemon.json(&["erase", "pause", &job]);
    assert_eq!(sealed.code(&["erase", "pause", &job]).0, 5, "it is paused already");
    sealed.daemon.json(&["erase", "resume", &job]);
    assert_eq!(sealed.daemon.json(&["erase", "cancel", &job])["state"], "cancelled");
    assert_eq!(sealed.code(&["erase", "cancel", &job]).0, 5);
    assert_eq!((sealed.count("available"), sealed.count("planned_for_deletion")), (2, 0));
    sealed.daemon.json(&["erase", "limit", "off"]);
    sealed.daemon.json(&["erase", "resume"]);
    let done = sealed.daemon.json(&["erase", "--recording", &sealed.ids[1], "--yes", "--wait"]);
    assert_eq!((&done["job"]["state"], sealed.count("deleted")), (&json!("finished"), 1));
    assert_eq!(sealed.daemon.json(&["erase", "status"])["certificates"], 1);
}

/// Planted fault: `--now` without a question.
#[test]
fn certificates_become_final() {
    let sealed = Sealed::new(1, "");
    sealed.daemon.json(&["erase", "--recording", &sealed.ids[0], "--yes", "--wait"]);
    let status = sealed.daemon.json(&["erase", "status"]);
    assert_eq!((&status["certificates"], &status["not_final"]), (&json!(1), &json!(1)));
    let warned = sealed.daemon.json(&["status"]).to_string();
    assert!(warned.contains("erasures-not-final"), "{warned}");
    assert_eq!(sealed.code(&["erase", "finalize", "--now"]).0, 2, "it wants a confirmation");
    let done = sealed.daemon.json(&["erase", "finalize", "--now", "--yes"]);
    assert_eq!((&done["rotated_to"], &done["scheduled"]), (&json!(2), &json!([1])));
    assert_eq!((&done["final_now"], &done["not_final"]), (&json!(1), &json!(0)));
    let local = Local::new(&sealed.daemon);
    let path = format!("/api/v1/recordings/{}/certificate?format=json", sealed.ids[0]);
    let page = local.ask("GET", &path.replace("json", "html"), &[], "");
    assert!(page.header("content-type").starts_with("text/html"), "{}", page.status);
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; style-src"));
    let facts = local.ask("GET", &path, &[], "").json();
    assert!(facts["final_at"].is_string() && facts["finality"].is_string(), "{facts}");
}
