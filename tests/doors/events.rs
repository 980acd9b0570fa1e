//! What is told to those who listen, and when they are told no more.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use hyper::header::HeaderValue;
use recseal::access::Role;
use serde_json::Value;

use crate::Sealed;
use crate::common::caller::{Caller, Local, bearer};
use crate::common::daemon::Daemon;

/// A listener on the unix socket.
struct Listener(BufReader<UnixStream>);

#[derive(Debug)]
struct Event {
    id: String,
    name: String,
    data: Value,
}

impl Listener {
    fn new(daemon: &Daemon, last_id: Option<&str>) -> Self {
        let mut stream = UnixStream::connect(daemon.state().join("recseal.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let last = last_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let head = format!("GET /api/v1/erasures/events HTTP/1.1\r\nHost: x\r\n{last}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut listener = Self(BufReader::new(stream));
        let status = listener.line().unwrap();
        assert!(status.starts_with("HTTP/1.1 200"), "{status}");
        while !listener.line().unwrap().is_empty() {}
        listener
    }

    /// `None` at the end.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).expect("it says something or ends in 30 seconds");
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// The next event, whatever the pieces it came in.
    fn next(&mut self) -> Option<Event> {
        let mut event = Event { id: String::new(), name: String::new(), data: Value::Null };
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("id", text)) => event.id = text.to_owned(),
                Some(("event", text)) => event.name = text.to_owned(),
                Some(("data", text)) => event.data = serde_json::from_str(text).unwrap(),
                _ if line.is_empty() && !event.name.is_empty() => return Some(event),
                _ => {}
            }
        }
    }

    fn until(&mut self, is_it: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.next().expect("it does not end before");
            if is_it(&event) {
                return event;
            }
        }
    }
}

/// Planted fault: a listener that comes back is never known, and begins anew.
#[test]
fn who_comes_back_hears_what_was_missed() {
    let sealed = Sealed::paused(1, "");
    let mut listener = Listener::new(&sealed.daemon, None);
    let first = listener.next().unwrap();
    assert_eq!((first.name.as_str(), &first.data["paused"]), ("queue", &true.into()));
    sealed.daemon.json(&["erase", "--recording", &sealed.ids[0], "--yes"]);
    let job = listener.until(|event| event.name == "job");
    assert_eq!(job.data["progress"]["pending_files"], 1);
    let queue = listener.until(|event| event.data["pending_files"] == 1 && event.name == "queue");
    // Another goes on listening, so that there is somebody to look.
    let mut other = Listener::new(&sealed.daemon, Some(&queue.id));
    drop(listener);
    for limit in ["1M", "2M"] {
        sealed.daemon.json(&["erase", "limit", limit]);
        let bytes = if limit == "1M" { 1_000_000 } else { 2_000_000 };
        other.until(|event| event.data["limit_bytes_per_second"] == bytes);
    }
    let mut back = Listener::new(&sealed.daemon, Some(&queue.id));
    for bytes in [1_000_000, 2_000_000] {
        let missed = back.next().unwrap();
        assert_eq!(missed.data["limit_bytes_per_second"], bytes, "{missed:?}");
    }
    for unknown in ["x-1", "0", &format!("{}9", queue.id)] {
        let mut lost = Listener::new(&sealed.daemon, Some(unknown));
        let names: Vec<String> = (0..3).map(|_| lost.next().unwrap().name).collect();
        assert_eq!(names, ["reset", "queue", "job"], "{unknown}");
    }
}

/// A stream that is ended has an end, one that is cut at the end of the grace has none. Meant to
/// catch: streams that nobody ends.
#[test]
fn a_stop_ends_what_has_no_end() {
    let mut sealed = Sealed::paused(1, "");
    let mut listener = Listener::new(&sealed.daemon, None);
    listener.next().unwrap();
    assert!(sealed.daemon.stop().success());
    let rest = std::iter::from_fn(|| listener.line()).filter(|line| !line.is_empty());
    assert_eq!(rest.last().as_deref(), Some("0"), "the last chunk of the body");
}

/// Planted fault: a stream that outlives the token that opened it.
#[test]
fn a_revoked_token_hears_nothing_more() {
    let sealed = Sealed::paused(1, "");
    let caller = Caller::new(&sealed.daemon);
    let token = bearer(&sealed.daemon, Role::Ops);
    let id = sealed.daemon.json(&["tokens", "list"])[0]["id"].as_str().unwrap().to_owned();
    let path = "/api/v1/erasures/events";
    let heard = caller.begin(path, &[("authorization", &token)]);
    assert_eq!(
        (heard.status().as_u16(), &heard.headers()["content-type"]),
        (200, &HeaderValue::from_static("text/event-stream"))
    );
    sealed.daemon.json(&["tokens", "revoke", &id]);
    // Returns only because the end comes.
    let text = String::from_utf8(caller.rest(heard).unwrap().to_vec()).unwrap();
    assert!(text.contains("event: queue"), "{text}");
    let local = Local::new(&sealed.daemon);
    let refused = local.ask("GET", path, &[("accept", "application/json")], "");
    assert_eq!((refused.status, refused.code().as_str()), (406, "not-acceptable"));
}
