//! The daemon at the other end of the unix socket: HTTP/1.1, one connection per request.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use crate::http::backup::BACKUP_ID;

use super::failure::{Failure, exit};

/// A daemon that may or may not be there.
pub(super) struct Remote {
    runtime: Runtime,
    socket: PathBuf,
}

impl Remote {
    /// Nothing is connected before the first request.
    pub(super) fn new(socket: PathBuf) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::file("starting", &error))?;
        Ok(Self { runtime, socket })
    }

    /// `GET` of a JSON document.
    pub(super) fn get(&self, target: &str) -> Result<Value, Failure> {
        let text = self.text(Method::GET, target, None)?;
        parse(&text)
    }

    /// `POST` or `DELETE`, answered by JSON or by nothing.
    pub(super) fn send(
        &self,
        method: Method,
        target: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let text = self.text(method, target, body)?;
        if text.is_empty() { Ok(Value::Null) } else { parse(&text) }
    }

    /// `POST` of a JSON document with secrets in it, which are wiped once they are sent.
    pub(super) fn send_secret(
        &self,
        target: &str,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<Value, Failure> {
        self.runtime.block_on(async {
            let body = Some(Bytes::from_owner(body));
            let response = self.request_as(Method::POST, target, body, &[]).await?;
            parse(&whole(response).await?)
        })
    }

    /// `POST` whose refusal is an answer too: the status and the document.
    pub(super) fn ask(&self, target: &str, body: &Value) -> Result<(u16, Value), Failure> {
        self.runtime.block_on(async {
            let response = self.exchange(Method::POST, target, Some(wiped(body)), &[]).await?;
            let status = response.status().as_u16();
            let text = whole(response).await?;
            Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
        })
    }

    /// The whole answer as text; wiped when dropped, because it may be a key.
    pub(super) fn text(
        &self,
        method: Method,
        target: &str,
        body: Option<&Value>,
    ) -> Result<Zeroizing<String>, Failure> {
        self.runtime.block_on(async {
            let response = self.request(method, target, body).await?;
            whole(response).await
        })
    }

    /// `GET` of a list, page after page.
    pub(super) fn list(
        &self,
        path: &str,
        query: &[(&str, Option<&[u8]>)],
    ) -> Result<Vec<Value>, Failure> {
        let mut items = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut query = query.to_vec();
            query.push(("limit", Some(b"500")));
            query.push(("after", after.as_deref().map(str::as_bytes)));
            let mut page = self.get(&target(path, &query))?;
            if let Some(Value::Array(found)) = page.get_mut("items").map(Value::take) {
                items.extend(found);
            }
            match page.get("next").and_then(Value::as_str) {
                Some(next) => after = Some(next.to_owned()),
                None => return Ok(items),
            }
        }
    }

    /// `GET` of media into `sink`; `progress` hears of done and total bytes.
    pub(super) fn download(
        &self,
        target: &str,
        sink: &mut dyn Write,
        progress: &dyn Fn(u64, u64),
    ) -> Result<u64, Failure> {
        self.runtime.block_on(async {
            let response = self.request(Method::GET, target, None).await?;
            save(response, sink, progress).await
        })
    }

    /// `POST` of a body that holds secrets, answered by a backup; its length and its id. The
    /// body is wiped when it was sent.
    pub(super) fn download_by_post(
        &self,
        target: &str,
        body: &Zeroizing<Vec<u8>>,
        sink: &mut dyn Write,
        progress: &dyn Fn(u64, u64),
    ) -> Result<(u64, String), Failure> {
        self.runtime.block_on(async {
            let body = Bytes::from_owner(body.clone());
            let response = self.request_as(Method::POST, target, Some(body), &[]).await?;
            let id = response.headers().get(BACKUP_ID).and_then(|value| value.to_str().ok());
            let id = id.unwrap_or_default().to_owned();
            Ok((save(response, sink, progress).await?, id))
        })
    }

    /// `POST` of something that takes its time; `progress` hears of done and total bytes.
    pub(super) fn send_watched(
        &self,
        target: &str,
        body: Option<&Value>,
        progress: &dyn Fn(u64, u64),
    ) -> Result<Value, Failure> {
        self.runtime.block_on(async {
            let body = body.map(|body| Bytes::from(body.to_string()));
            let response = self.request_as(Method::POST, target, body, &[(ACCEPT, LINES)]).await?;
            let kind = response.headers().get(CONTENT_TYPE);
            if kind.is_none_or(|kind| kind.as_bytes() != LINES.as_bytes()) {
                return parse(&whole(response).await?);
            }
            let mut body = response.into_body();
            let mut lines = Lines::default();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|_| broke_off())?;
                let Some(bytes) = frame.data_ref() else { continue };
                if let Some(answer) = lines.take(bytes, progress)? {
                    return Ok(answer);
                }
            }
            Err(broke_off())
        })
    }

    /// `GET` of events behind `last_id`, handed on as bytes until `hear` has heard enough; then
    /// true. False if the stream ended before.
    pub(super) fn listen(
        &self,
        target: &str,
        last_id: &str,
        hear: &mut dyn FnMut(&[u8]) -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        self.runtime.block_on(async {
            let mut more = vec![(ACCEPT, "text/event-stream")];
            if !last_id.is_empty() {
                more.push((HeaderName::from_static("last-event-id"), last_id));
            }
            let mut body = self.request_as(Method::GET, target, None, &more).await?.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                if let Some(bytes) = frame.data_ref()
                    && hear(bytes)?
                {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// Waits a while.
    pub(super) fn wait(&self, span: Duration) {
        // Inside, because a timer belongs to the runtime it was made in.
        self.runtime.block_on(async { tokio::time::sleep(span).await });
    }

    /// Sends one request; anything but success is a [`Failure`].
    async fn request(
        &self,
        method: Method,
        target: &str,
        body: Option<&Value>,
    ) -> Result<Response<Incoming>, Failure> {
        self.request_as(method, target, body.map(wiped), &[]).await
    }

    async fn request_as(
        &self,
        method: Method,
        target: &str,
        body: Option<Bytes>,
        more: &[(HeaderName, &str)],
    ) -> Result<Response<Incoming>, Failure> {
        let response = self.exchange(method, target, body, more).await?;
        let status = response.status().as_u16();
        if response.status().is_success() {
            return Ok(response);
        }
        let text = whole(response).await?;
        Err(refused(status, &serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// Sends one request; every answer is one.
    async fn exchange(
        &self,
        method: Method,
        target: &str,
        body: Option<Bytes>,
        more: &[(HeaderName, &str)],
    ) -> Result<Response<Incoming>, Failure> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|e| unreachable_by(&e))?;
        let broken = |_| {
            Failure::new(
                exit::UNREACHABLE,
                "the daemon closed the connection without an answer",
                "its log says why; then try again",
            )
        };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(target).header(HOST, "localhost");
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        for (name, value) in more {
            request = request.header(name, *value);
        }
        let request = request.body(Full::new(body.unwrap_or_default())).map_err(|error| {
            Failure::usage(format!("the request cannot be written: {error}"), "check the values")
        })?;
        sender.send_request(request).await.map_err(broken)
    }
}

/// A body that is wiped when it is sent, because it may hold a password or a key.
fn wiped(body: &Value) -> Bytes {
    Bytes::from_owner(Zeroizing::new(body.to_string().into_bytes()))
}

/// Lines of progress, and behind them an answer or a problem.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    /// Takes what came; the answer, once it is there.
    fn take(
        &mut self,
        bytes: &[u8],
        progress: &dyn Fn(u64, u64),
    ) -> Result<Option<Value>, Failure> {
        self.0.extend_from_slice(bytes);
        while let Some(end) = self.0.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.0.drain(..=end).collect();
            let said = parse(&String::from_utf8_lossy(&line))?;
            let number = |key: &str| said.get(key).and_then(Value::as_u64);
            if let (Some(done), Some(total)) = (number("done_bytes"), number("total_bytes")) {
                progress(done, total);
            } else if let (Some(status), Some(_)) = (number("status"), said.get("code")) {
                return Err(refused(u16::try_from(status).unwrap_or_default(), &said));
            } else {
                return Ok(Some(said));
            }
        }
        if self.0.len() > LINE_BYTES_MAX { Err(broke_off()) } else { Ok(None) }
    }
}

/// Writes the whole body into `sink`; less than was promised is a failure.
async fn save(
    mut response: Response<Incoming>,
    sink: &mut dyn Write,
    progress: &dyn Fn(u64, u64),
) -> Result<u64, Failure> {
    let total = response
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .unwrap_or(0);
    let mut done = 0;
    while let Some(frame) = response.frame().await {
        let frame = frame.map_err(|_| broke_off())?;
        let Some(bytes) = frame.data_ref() else { continue };
        sink.write_all(bytes).map_err(|e| Failure::file("output file", &e))?;
        done += bytes.len() as u64;
        progress(done, total);
    }
    if done < total { Err(broke_off()) } else { Ok(done) }
}

async fn whole(response: Response<Incoming>) -> Result<Zeroizing<String>, Failure> {
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let bytes = body.map_err(|_| broke_off())?.to_bytes();
    let text = std::str::from_utf8(&bytes).map_err(|_| broke_off())?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn parse(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|_| {
        Failure::new(
            exit::FAILED,
            "the daemon's answer is not JSON",
            "is the daemon of another version? compare `recseal --version` and `recseal status`",
        )
    })
}

fn broke_off() -> Failure {
    Failure::new(
        exit::FAILED,
        "the answer broke off before its end",
        "`recseal verify ID` says whether the sealed copy is damaged",
    )
}

fn unreachable_by(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Failure::new(
            exit::REFUSED,
            "the daemon's socket may not be opened",
            "run this as root, as the daemon's user, or as a member of its group",
        ),
        _ => Failure::new(
            exit::UNREACHABLE,
            format!("no daemon answers on the socket: {error}"),
            "start it with `recseal serve`, or name its state folder with --state DIR",
        ),
    }
}

/// What an HTTP error means for the caller's shell.
pub(super) fn refused(status: u16, problem: &Value) -> Failure {
    let word = |key: &str| problem.get(key).and_then(Value::as_str).unwrap_or_default();
    let exit = match (status, word("code")) {
        (_, "damaged" | "certificate-refused") => exit::VERIFICATION_FAILED,
        (400, _) => exit::USAGE,
        (401 | 403 | 409 | 422, _) => exit::REFUSED,
        (404 | 410, _) => exit::NOT_FOUND,
        _ => exit::FAILED,
    };
    let detail = match word("detail") {
        "" => format!("the daemon answered {status}"),
        detail => detail.to_owned(),
    };
    let hint = match word("hint") {
        "" => "the log of the daemon says more",
        hint => hint,
    };
    Failure::new(exit, detail, hint)
}

/// `path?key=value…`, escaped; pairs without a value are left out.
pub(super) fn target(path: &str, query: &[(&str, Option<&[u8]>)]) -> String {
    let mut target = path.to_owned();
    let mut separator = '?';
    for (key, value) in query {
        let Some(value) = value else { continue };
        target.push(separator);
        separator = '&';
        target.push_str(key);
        target.push('=');
        push_escaped(&mut target, value);
    }
    target
}

/// One segment of a path, escaped.
pub(super) fn segment(text: &str) -> String {
    let mut escaped = String::new();
    push_escaped(&mut escaped, text.as_bytes());
    escaped
}

fn push_escaped(target: &mut String, bytes: &[u8]) {
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            target.push(char::from(*byte));
        } else {
            target.push_str(&format!("%{byte:02X}"));
        }
    }
}

const LINES: &str = "application/x-ndjson";
/// Far longer than any line.
const LINE_BYTES_MAX: usize = 1 << 20;
/// Longest answer that is not media.
const ANSWER_BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Planted fault: 410 as "refused" hides from scripts that a recording is gone.
    #[test]
    fn http_errors_become_exit_codes() {
        for (status, code, exit) in [
            (400, "bad-request", 2),
            (401, "unauthenticated", 5),
            (403, "forbidden", 5),
            (404, "not-found", 6),
            (409, "not-sealed-yet", 5),
            (422, "invalid", 5),
            (410, "deleted", 6),
            (500, "damaged", 4),
            (422, "certificate-refused", 4),
            (500, "internal", 1),
            (503, "busy", 1),
        ] {
            let problem = json!({ "code": code, "detail": "d", "hint": "h" });
            let failure = refused(status, &problem);
            assert_eq!((failure.exit, &*failure.message, &*failure.hint), (exit, "d", "h"));
        }
        assert!(refused(502, &Value::Null).message.contains("502"));
    }

    /// Frames do not end where lines do. Meant to catch: one line per frame; the last line, a
    /// problem, taken for the answer.
    #[test]
    fn lines_are_taken_however_they_are_cut() {
        let heard = std::cell::RefCell::new(Vec::new());
        let progress = |done, total| heard.borrow_mut().push((done, total));
        let text = "{\"done_bytes\":1,\"total_bytes\":3}\n{\"done_bytes\":2,\"total_bytes\":3}\n";
        for size in 1..text.len() {
            heard.borrow_mut().clear();
            let mut lines = Lines::default();
            for piece in text.as_bytes().chunks(size) {
                assert_eq!(lines.take(piece, &progress).unwrap(), None);
            }
            assert_eq!(*heard.borrow(), [(1, 3), (2, 3)], "{size}");
            let answer = lines.take(b"{\"verified\":true}\n", &progress).unwrap();
            assert_eq!(answer, Some(json!({ "verified": true })));
        }
        let problem = b"{\"status\":500,\"code\":\"damaged\",\"detail\":\"d\",\"hint\":\"h\"}\n";
        let failure = Lines::default().take(problem, &progress).unwrap_err();
        assert_eq!(failure.exit, exit::VERIFICATION_FAILED);
        assert!(Lines::default().take(&vec![b' '; LINE_BYTES_MAX + 1], &progress).is_err());
    }

    #[test]
    fn a_query_is_escaped() {
        let query: &[(&str, Option<&[u8]>)] =
            &[("store", Some("/a b&c=é".as_bytes())), ("state", None), ("limit", Some(b"5"))];
        assert_eq!(target("/x", query), "/x?store=%2Fa%20b%26c%3D%C3%A9&limit=5");
        assert_eq!(target("/x", &[("state", None)]), "/x");
        assert_eq!(segment("../a"), "..%2Fa");
    }

    #[test]
    fn a_missing_daemon_is_seven() {
        let remote = Remote::new("/nonexistent/recseal.sock".into()).unwrap();
        let failure = remote.get("/api/v1/status").unwrap_err();
        assert_eq!(failure.exit, exit::UNREACHABLE);
        assert!(failure.hint.contains("--state"));
    }
}
