//! The HTTP doors of the real program: who may what, how errors look, how media is sent.

#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod common;

use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use common::caller::{Answer, Caller, bearer, exchange};
use common::daemon::Daemon;
use common::marker::Marker;
use http_body_util::Full;
use hyper::Request;
use recseal::access::Role;
use recseal::http::ROUTES;
use serde_json::Value;
use tokio::net::TcpStream;

/// Every route with every role and with none, as the table says and not otherwise. Planted
/// faults: a handler whose grant is of another kind than its row; a handler without one.
#[test]
fn every_route_asks_for_what_the_table_says() {
    let daemon = Daemon::start(&[]);
    let caller = Caller::new(&daemon);
    for role in Role::ALL {
        let token = bearer(&daemon, role);
        for route in ROUTES {
            let path = route.path.replace("{id}", "00000000-0000-0000-0000-000000000000");
            let may = route.needs.is_none_or(|needed| role.permissions().contains(&needed));
            // Events have no end: who does not take them is answered at once, once let in.
            let headers = [("authorization", token.as_str()), ("accept", "application/json")];
            let answer = caller.ask(route.method, &path, &headers, "");
            let was_let_in = !matches!(answer.status, 401 | 403);
            assert_eq!(was_let_in, may, "{role} {} {path}: {}", route.method, answer.status);
            if !may {
                assert_eq!(answer.code(), "forbidden");
            }
            let nobody = caller.ask(route.method, &path, &[], "");
            assert_eq!(nobody.status == 401, route.needs.is_some(), "nobody {path}");
        }
    }
    let refused = daemon.json(&["audit", "--activity", "ACCESS_REFUSED"]);
    assert!(refused.as_array().unwrap().len() > ROUTES.len(), "refusals are audited");
}

#[test]
fn every_error_is_a_problem_with_a_code() {
    let daemon = Daemon::start(&[]);
    let caller = Caller::new(&daemon);
    let admin = bearer(&daemon, Role::Admin);
    let json = ("content-type", "application/json");
    let long = "x".repeat(70_000);
    for (method, path, header, body, status, code) in [
        ("GET", "/nope", None, "", 404, "no-such-route"),
        ("PUT", "/api/v1/status", None, "", 405, "method-not-allowed"),
        ("GET", "/api/v1/recordings/x", None, "", 400, "bad-request"),
        ("GET", "/api/v1/recordings?wat=1", None, "", 400, "bad-request"),
        ("GET", "/api/v1/recordings?limit=501", None, "", 400, "bad-request"),
        ("GET", "/api/v1/recordings?after=a1", None, "", 400, "bad-request"),
        ("GET", "/api/v1/recordings?state=sealed", None, "", 400, "bad-request"),
        ("POST", "/api/v1/tokens", None, "{}", 415, "unsupported-media-type"),
        ("POST", "/api/v1/tokens", Some(json), "{", 400, "bad-request"),
        ("POST", "/api/v1/tokens", Some(json), r#"{"name":1,"role":"ops"}"#, 400, "bad-request"),
        ("POST", "/api/v1/tokens", Some(json), &long, 413, "too-large"),
        (
            "POST",
            "/api/v1/tokens",
            Some(json),
            r#"{"name":"n","role":"DEFAULT_AUDITOR"}"#,
            403,
            "forbidden",
        ),
    ] {
        let mut headers = vec![("authorization", admin.as_str())];
        headers.extend(header);
        let answer = caller.ask(method, path, &headers, body);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
    }
    for token in ["Bearer rst_0", "Basic cm9vdDo=", "Bearer", &format!("Bearer {long}")[..9_000]] {
        let answer = caller.ask("GET", "/api/v1/status", &[("authorization", token)], "");
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthenticated"));
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
    }
}

#[test]
fn a_revoked_token_opens_nothing() {
    let daemon = Daemon::start(&[]);
    let caller = Caller::new(&daemon);
    let token = bearer(&daemon, Role::Ops);
    let status = || caller.ask("GET", "/api/v1/status", &[("authorization", &token)], "");
    let answer = status();
    assert_eq!(answer.status, 200);
    let id = daemon.json(&["tokens", "list"])[0]["id"].as_str().unwrap().to_owned();
    daemon.json(&["tokens", "revoke", &id]);
    assert_eq!(status().status, 401);
}

/// A daemon with one sealed recording.
fn with_recording() -> (Daemon, String, Vec<u8>, tempfile::TempDir) {
    // 1.3 MB: several pieces, many chunks, no round number.
    with_recording_of(Marker::new().wav(83))
}

fn with_recording_of(original: Vec<u8>) -> (Daemon, String, Vec<u8>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store: PathBuf = folder.path().join("calls");
    std::fs::create_dir(&store).unwrap();
    std::fs::write(store.join("+12025550143.wav"), &original).unwrap();
    let config = folder.path().join("recseal.toml");
    let text = format!("[[store]]\npath = '{}'\nsettle = '1s'\n", store.display());
    std::fs::write(&config, text).unwrap();
    let mut daemon = Daemon::start(&["--config", config.to_str().unwrap()]);
    let available = |daemon: &Daemon| daemon.json(&["recordings", "--state-is", "available"]);
    daemon.wait_until("the recording is sealed", |d| !available(d).as_array().unwrap().is_empty());
    let id = available(&daemon)[0]["id"].as_str().unwrap().to_owned();
    (daemon, id, original, folder)
}

/// Who accepts lines hears how far it is, and last what was found; others get one document.
///
/// Planted faults: progress after each file only; what goes wrong in the middle ends the lines
/// without a word; lines for everybody.
#[test]
fn a_long_verification_says_how_far_it_is() {
    let (daemon, id, original, _folder) = with_recording_of(Marker::new().fill(24 << 20));
    let caller = Caller::new(&daemon);
    let token = bearer(&daemon, Role::Admin);
    let path = format!("/api/v1/recordings/{id}/verify");
    let verify = |accept: &str| {
        let headers = [("authorization", token.as_str()), ("accept", accept)];
        caller.ask("POST", &path, &headers, "")
    };
    let lines_of = |answer: &Answer| -> Vec<Value> {
        assert_eq!(answer.header("content-type"), "application/x-ndjson");
        let body = std::str::from_utf8(answer.body.as_ref().unwrap()).unwrap();
        body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let whole = verify("*/*");
    assert_eq!((whole.status, whole.header("content-type")), (200, "application/json"));
    let document: Value = serde_json::from_slice(&whole.body.unwrap()).unwrap();
    assert_eq!(document["plain_bytes"], original.len());
    let told = verify("application/x-ndjson");
    assert_eq!((told.status, told.header("cache-control")), (200, "no-store"));
    let mut lines = lines_of(&told);
    assert_eq!(lines.pop(), Some(document));
    assert!(lines.len() >= 4, "{lines:?}");
    assert!(lines.iter().all(|line| line["total_bytes"] == original.len()), "{lines:?}");
    assert!(lines.is_sorted_by_key(|line| line["done_bytes"].as_u64()), "{lines:?}");
    assert_eq!(daemon.json(&["verify", &id])["verified"], true);
    let shown = daemon.json(&["recordings", "show", &id]);
    let sealed = daemon.vault().join(shown["copies"][0]["path"].as_str().unwrap());
    let sealed = std::fs::File::options().write(true).open(sealed).unwrap();
    let late = sealed.metadata().unwrap().len() - 200_000; // the last chunk is tried first
    sealed.write_all_at(&[0; 16], late).unwrap();
    let mut lines = lines_of(&verify("application/x-ndjson"));
    let problem = lines.pop().unwrap();
    assert_eq!((&problem["code"], &problem["status"]), (&"damaged".into(), &500.into()));
    assert!(lines.len() >= 4, "{lines:?}");
    let said = daemon.recseal(&["verify", &id]);
    assert_eq!(said.status.code(), Some(4), "{said:?}");
    assert!(String::from_utf8_lossy(&said.stderr).contains("hint: restore the sealed copy"));
}

#[test]
fn media_is_sent_whole_and_in_ranges() {
    let (daemon, id, original, _folder) = with_recording();
    let caller = Caller::new(&daemon);
    let token = bearer(&daemon, Role::CcManager);
    let path = format!("/api/v1/recordings/{id}/media");
    let len = original.len();
    let ask = |method: &str, extra: &[(&str, &str)]| {
        caller.ask(method, &path, &[&[("authorization", token.as_str())], extra].concat(), "")
    };
    let whole = ask("GET", &[]);
    assert_eq!((whole.status, whole.header("accept-ranges")), (200, "bytes"));
    assert_eq!(whole.body.as_deref(), Some(&original[..]));
    assert_eq!(whole.header("cache-control"), "no-store");
    assert!(whole.header("content-type").starts_with("audio/"));
    let etag = whole.header("etag").to_owned();

    let head = ask("HEAD", &[]);
    assert_eq!((head.status, head.header("content-length")), (200, len.to_string().as_str()));
    assert!(head.body.unwrap().is_empty());

    // Around the borders of a chunk (65,504 bytes) and of a piece (262,144).
    for (from, to) in [(0, 0), (65_503, 65_504), (262_143, 262_144), (1, 700_000), (len - 1, len)] {
        let part = ask("GET", &[("range", &format!("bytes={from}-{to}"))]);
        let end = (to + 1).min(len);
        assert_eq!(part.status, 206, "{from}-{to}");
        assert_eq!(part.header("content-range"), format!("bytes {from}-{}/{len}", end - 1));
        assert_eq!(part.body.as_deref(), Some(&original[from..end]), "{from}-{to}");
    }
    let beyond = ask("GET", &[("range", &format!("bytes={len}-"))]);
    assert_eq!((beyond.status, beyond.code().as_str()), (416, "range-not-satisfiable"));
    assert_eq!(beyond.header("content-range"), format!("bytes */{len}"));
    let range = ("range", "bytes=5-9");
    assert_eq!(ask("GET", &[range, ("if-range", &etag)]).status, 206);
    assert_eq!(ask("GET", &[range, ("if-range", "\"other\"")]).status, 200);
    assert_eq!(ask("GET", &[("range", "bytes=0-1,4-5")]).status, 200);
}

/// Planted fault: auditing only what starts at zero lets a second caller read everything but the
/// first byte without a trace.
#[test]
fn a_playback_is_one_audit_entry_and_none_plays_without() {
    let (daemon, id, _original, _folder) = with_recording();
    let caller = Caller::new(&daemon);
    let path = format!("/api/v1/recordings/{id}/media");
    let played = || {
        let entries = daemon.json(&["audit", "--activity", "MEDIA_PLAYED"]);
        entries.as_array().unwrap().len()
    };
    let (one, other) = (bearer(&daemon, Role::CcManager), bearer(&daemon, Role::CcManager));
    let part = |token: &str, range: &str| {
        let headers = [("authorization", token), ("range", range)];
        assert_eq!(caller.ask("GET", &path, &headers, "").status, 206);
    };
    part(&one, "bytes=0-99");
    part(&one, "bytes=100-199");
    part(&one, "bytes=900-");
    assert_eq!(played(), 1);
    part(&other, "bytes=1-");
    assert_eq!(played(), 2);
}

/// Names are personal data: only roles that may see them get them.
#[test]
fn names_are_for_those_who_may_see_them() {
    let (daemon, id, _original, _folder) = with_recording();
    let caller = Caller::new(&daemon);
    for (role, sees) in [(Role::CcManager, true), (Role::Admin, false), (Role::Auditor, false)] {
        let token = bearer(&daemon, role);
        for path in ["/api/v1/recordings".to_owned(), format!("/api/v1/recordings/{id}")] {
            let answer = caller.ask("GET", &path, &[("authorization", &token)], "");
            let text = String::from_utf8(answer.body.unwrap().to_vec()).unwrap();
            assert_eq!(text.contains("2025550143"), sees, "{role} {path}");
            assert_eq!(text.contains("calls"), sees, "{role} {path}");
        }
    }
    let health = daemon.json(&["status"])["listen"]["health"].as_str().unwrap().to_owned();
    for path in ["/metrics", "/readyz?verbose", "/livez"] {
        let answer = caller.runtime.block_on(async {
            let stream = TcpStream::connect(&health).await.unwrap();
            let request = Request::get(path).header("host", "x").body(Full::default()).unwrap();
            exchange(stream, request).await
        });
        assert_eq!(answer.status, 200, "{path}");
        let text = String::from_utf8(answer.body.unwrap().to_vec()).unwrap();
        assert!(!text.contains("2025550143") && !text.contains("calls"), "{path}: {text}");
    }
    assert!(!daemon.log().contains("2025550143"), "{}", daemon.log());
}

/// Heads and targets that no client sends. Whatever comes back, it is a refusal, never a 500, and
/// the next caller is served. Planted fault: a `Range` number that is parsed with `unwrap`.
#[test]
fn hostile_requests_are_refused_and_forgotten() {
    let (daemon, id, original, _folder) = with_recording();
    let socket = daemon.state().join("recseal.sock");
    let raw = |request: &[u8]| -> String {
        use std::io::{Read, Write};
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        // A refusal may come, and the connection close, before the whole was written.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let get = |target: &str, header: &str| {
        raw(format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n")
            .as_bytes())
    };
    let media = format!("/api/v1/recordings/{id}/media");
    let show = format!("/api/v1/recordings/{id}");
    let problem = |answer: &str, status: &str, what: &str| {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{what}: {answer}");
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        let problem: Value =
            serde_json::from_str(body).unwrap_or_else(|_| panic!("{what}: {answer}"));
        assert!(problem["code"].is_string() && problem["hint"].is_string(), "{what}: {answer}");
    };
    for target in [
        "/",
        "/api/v1",
        "/api/v1/",
        "/api/v1/status/",
        "/api/v2/status",
        "//api/v1/status",
        "/api/v1/../v1/status",
        "/livez",
        "/metrics",
        "/api/v1/recordings/%2e%2e/media",
    ] {
        let answer = get(target, "");
        let is_refused = answer.starts_with("HTTP/1.1 404") || answer.starts_with("HTTP/1.1 400");
        assert!(is_refused, "{target}: {answer}");
        problem(&answer, "40", target);
    }
    for ids in ["x", "0", "%00", "%ff%fe", "0192f0c8", "%F0%9F%92%A9", &"a".repeat(8_000)] {
        for tail in ["", "/media", "/peaks"] {
            let target = format!("/api/v1/recordings/{ids}{tail}");
            problem(&get(&target, ""), "400", &target);
        }
    }
    for query in [
        "after=r",
        "after=rzz",
        "after=",
        "after=a1",
        "after=r0%00",
        "limit=0",
        "limit=-1",
        "limit=99999999999999999999",
        "limit=x",
        "limit=1&limit=2",
        "state=",
        "state=%FF",
        "wat=1",
        "after=r00000000000000000000000000000000a",
    ] {
        let target = format!("/api/v1/recordings?{query}");
        problem(&get(&target, ""), "400", &target);
    }
    for query in ["after=r0", "after=a-1", "after=a99999999999999999999", "from=now", "limit=501"] {
        let target = format!("/api/v1/audit?{query}");
        problem(&get(&target, ""), "400", &target);
    }
    for query in ["activity=NOPE", "result=maybe"] {
        let target = format!("/api/v1/audit?{query}");
        problem(&get(&target, ""), "4", &target);
    }
    problem(&get(&format!("{media}?as=mp3"), ""), "400", "as");
    for (method, target) in
        [("PUT", &show), ("DELETE", &show), ("POST", &media), ("PATCH", &media), ("BREW", &show)]
    {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = raw(head.as_bytes());
        problem(&answer, "405", method);
        assert!(answer.to_ascii_lowercase().contains("\r\nallow: get"), "{method}: {answer}");
    }
    // Ranges: the right bytes, the whole, or 416. Never anything else.
    let len = original.len();
    for range in [
        "bytes=-0",
        "bytes=99999999999-",
        "bytes=18446744073709551615-18446744073709551615",
        "bytes=18446744073709551616-",
    ] {
        let answer = get(&media, &format!("Range: {range}\r\n"));
        problem(&answer, "416", range);
        assert!(answer.contains(&format!("bytes */{len}")), "{range}");
    }
    for range in ["bytes=9-5", "bytes=a-b", "bytes", "=", "bytes=1-2,3-4", "lines=1-2", "bytes=--1"]
    {
        let answer = get(&media, &format!("Range: {range}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{range}");
    }
    let json = "Content-Type: application/json\r\n";
    for (target, body, status) in [
        ("/api/v1/tokens", "", "400"),
        ("/api/v1/tokens", "null", "400"),
        ("/api/v1/tokens", "[]", "400"),
        ("/api/v1/tokens", r#"{"name":"n"}"#, "400"),
        ("/api/v1/tokens", r#"{"name":"n","role":"king"}"#, "400"),
        ("/api/v1/tokens", r#"{"name":"n","role":"ops","x":1}"#, "400"),
        ("/api/v1/tokens", r#"{"name":"","role":"ops"}"#, "400"),
        ("/api/v1/tokens", r#"{"name":"a\u0000b","role":"ops"}"#, "400"),
        ("/api/v1/tokens", r#"{"name":"n","role":"ops","expires_in_seconds":-1}"#, "400"),
        ("/api/v1/done", r#"{"path":1}"#, "400"),
        ("/api/v1/done", r#"{"path":"/etc/passwd"}"#, "404"),
        ("/api/v1/done", r#"{"path":"../../etc/passwd"}"#, "404"),
    ] {
        let len = body.len();
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{json}Content-Length: {len}\r\n\r\n{body}"
        );
        problem(&raw(head.as_bytes()), status, body);
    }
    let ever = format!(r#"{{"name":"n","role":"ops","expires_in_seconds":{}}}"#, u64::MAX);
    let deep = format!(r#"{{"name":{}}}"#, "[".repeat(30_000));
    for body in [ever, deep] {
        let head = format!(
            "POST /api/v1/tokens HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{json}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = raw(head.as_bytes());
        assert!(!answer.starts_with("HTTP/1.1 5") && !answer.is_empty(), "{answer}");
    }
    // What is no HTTP, or too much of it.
    for request in [
        b"\0\0\0\0\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"GET /api/v1/status HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_vec(),
        format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(70_000)).into_bytes(),
        format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(70_000)).into_bytes(),
        format!("GET / HTTP/1.1\r\n{}\r\n", "X: a\r\n".repeat(5_000)).into_bytes(),
    ] {
        let answer = raw(&request);
        let is_refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(is_refused, "{answer}");
    }
    assert!(get("/api/v1/status", "").starts_with("HTTP/1.1 200"));
    assert!(!daemon.log().contains("panic"), "{}", daemon.log());
}
