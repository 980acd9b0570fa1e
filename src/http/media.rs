//! Playing: one recording as a stream of bytes, from any offset, opened piece by piece.
//!
//! Plaintext exists in a few pieces of [`PIECE_BYTES`] at a time: a piece is opened on the pool
//! only when the one before it was taken, and wiped when it was sent. A chunk that does not
//! verify breaks the connection off, because the length was promised already; the first piece is
//! opened before the head is sent, so damage there is still a proper error.
//!
//! One playback is one audit entry, however many ranges a browser cuts it into: a range that
//! does not start at zero is taken as a continuation only if the same caller began the same
//! recording within [`PLAYBACK_LASTS`].

use std::collections::HashMap;
use std::fmt::Write;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use zeroize::Zeroizing;

use crate::access::{Grant, PlayMedia};
use crate::clock::Timestamp;
use crate::domain::RecordingId;
use crate::flow::{PlayAs, Playback, PlaybackReader};

use super::extract::{Id, Params};
use super::range::{ByteRange, Part};
use super::{ApiError, Services};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PlayQuery {
    r#as: AsWord,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AsWord {
    #[default]
    Original,
    Playable,
}

/// `GET /api/v1/recordings/{id}/media`
pub(super) async fn play(
    State(services): State<Services>,
    grant: Grant<PlayMedia>,
    Id(id): Id,
    Params(query): Params<PlayQuery>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let permit = stream_permit(&services)?;
    let play_as = match query.r#as {
        AsWord::Original => PlayAs::Original,
        AsWord::Playable => PlayAs::Playable,
    };
    let asked = one(&headers, header::RANGE).and_then(ByteRange::parse);
    let is_head = method == Method::HEAD;
    let sees_names = grant.principal().sees_names();
    let session = (grant.principal().how.to_string(), id);
    let begins = asked.is_none_or(ByteRange::starts_at_zero)
        || !services.playbacks.is_running(&session, services.now());
    let first = begins && !is_head;
    let playback =
        services.run(move |engine, now| engine.play(&grant, id, play_as, first, now)).await?;
    if first {
        services.playbacks.begin(session, services.now());
    }
    let len_bytes = playback.len_bytes;
    let part = asked
        .filter(|_| range_still_applies(&headers, &playback.etag))
        .map(|range| range.resolve(len_bytes));
    let mut head = head_of(&playback, sees_names);
    let (status, span) = match part {
        None => (StatusCode::OK, 0..len_bytes),
        Some(Part::Satisfied(span)) => {
            let text = format!("bytes {}-{}/{len_bytes}", span.start, span.end - 1);
            head.insert(header::CONTENT_RANGE, text_value(&text));
            (StatusCode::PARTIAL_CONTENT, span)
        }
        Some(Part::Unsatisfiable) => return Ok(unsatisfiable(len_bytes)),
    };
    head.insert(header::CONTENT_LENGTH, HeaderValue::from(span.end - span.start));
    let body = if is_head {
        Body::empty()
    } else {
        stream(&services, playback.reader.into(), id, span, permit).await?
    };
    Ok((status, head, body).into_response())
}

/// `GET /api/v1/recordings/{id}/peaks`
pub(super) async fn peaks(
    State(services): State<Services>,
    grant: Grant<PlayMedia>,
    Id(id): Id,
) -> Result<Response, ApiError> {
    let plaintext = services.run(move |engine, now| engine.peaks(&grant, id, now)).await?;
    let plaintext = plaintext.ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "no-peaks",
            "this recording has no waveform",
            "only audio that can be decoded has one",
        )
    })?;
    let body = Bytes::from_owner(plaintext);
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

/// One of the places for long reads; held until the last byte is sent.
pub(super) fn stream_permit(services: &Services) -> Result<OwnedSemaphorePermit, ApiError> {
    Arc::clone(&services.streams)
        .try_acquire_owned()
        .map_err(|_| ApiError::busy("too-many-streams", "too many recordings are being read"))
}

fn head_of(playback: &Playback, sees_names: bool) -> HeaderMap {
    let mut head = HeaderMap::new();
    head.insert(header::CONTENT_TYPE, HeaderValue::from_static(playback.content_type));
    head.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    head.insert(header::ETAG, text_value(&playback.etag));
    head.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; media-src 'self'; sandbox"),
    );
    let name = playback.original_name.as_deref().filter(|_| sees_names);
    head.insert(header::CONTENT_DISPOSITION, text_value(&disposition(name)));
    head
}

/// RFC 6266 with RFC 8187: every byte that is not plainly harmless is escaped.
fn disposition(name: Option<&[u8]>) -> String {
    let mut text = "inline".to_owned();
    if let Some(name) = name {
        text.push_str("; filename*=UTF-8''");
        for byte in String::from_utf8_lossy(name).bytes() {
            if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
                text.push(char::from(byte));
            } else {
                write!(text, "%{byte:02X}").expect("writing to a string cannot fail");
            }
        }
    }
    text
}

fn unsatisfiable(len_bytes: u64) -> Response {
    let error = ApiError::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "range-not-satisfiable",
        format!("the recording is {len_bytes} bytes long"),
        "ask for a range inside it, or for the whole",
    );
    let mut response = error.into_response();
    let whole = text_value(&format!("bytes */{len_bytes}"));
    response.headers_mut().insert(header::CONTENT_RANGE, whole);
    response
}

/// `If-Range`: only the very same strong tag keeps the range; a date never does, we send none.
fn range_still_applies(headers: &HeaderMap, etag: &str) -> bool {
    match headers.get(header::IF_RANGE) {
        None => true,
        Some(value) => value.as_bytes() == etag.as_bytes() && !etag.starts_with("W/"),
    }
}

/// The value of a header that stands there once; twice is as good as not at all.
fn one(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn text_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Opens the first piece and hands the rest to a task of its own.
async fn stream(
    services: &Services,
    reader: Arc<dyn PlaybackReader>,
    recording: RecordingId,
    span: Range<u64>,
    permit: OwnedSemaphorePermit,
) -> Result<Body, ApiError> {
    let pool = services.pool.clone();
    let open_piece = move |at: u64| {
        let (reader, end) = (Arc::clone(&reader), span.end.min(at + PIECE_BYTES));
        let pool = pool.clone();
        async move { pool.run(move || read_piece(&*reader, at..end)).await }
    };
    let end = span.end;
    let mut piece = open_piece(span.start).await.map_err(|error| {
        tracing::error!(%recording, %error, "opening failed");
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "damaged",
            "the sealed copy cannot be opened here",
            "`recseal verify ID` says more; restore the sealed copy from a backup",
        )
    })?;
    let (tx, rx) = mpsc::channel(PIECES_AHEAD);
    let mut at = span.start;
    tokio::spawn(async move {
        let _permit = permit;
        loop {
            at += piece.len() as u64;
            // A caller who takes nothing for so long is gone, or paused and will ask again.
            match tokio::time::timeout(STALLED, tx.send(Ok(piece))).await {
                Ok(Ok(())) if at < end => {}
                _ => return,
            }
            piece = match open_piece(at).await {
                Ok(piece) => piece,
                Err(error) => {
                    tracing::error!(%recording, offset = at, %error, "opening failed in a stream");
                    let _ = tx.send(Err(error)).await;
                    return;
                }
            };
        }
    });
    Ok(Body::from_stream(Pieces { rx, left: span.end - span.start }))
}

/// Opens exactly `span`. Blocks.
fn read_piece(reader: &dyn PlaybackReader, span: Range<u64>) -> io::Result<Bytes> {
    let len = usize::try_from(span.end - span.start).map_err(io::Error::other)?;
    let mut plaintext = Zeroizing::new(vec![0; len]);
    let mut done = 0;
    while done < len {
        match reader.read_at(&mut plaintext[done..], span.start + done as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => done += read,
        }
    }
    // The owner is wiped when the last reference is dropped.
    Ok(Bytes::from_owner(plaintext))
}

/// The body: what the task sends, and an error if it ends before the promised length.
pub(super) struct Pieces {
    rx: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
}

impl Pieces {
    /// What comes out of `rx`, `left` bytes of it.
    pub(super) fn new(rx: mpsc::Receiver<io::Result<Bytes>>, left: u64) -> Self {
        Self { rx, left }
    }
}

impl Stream for Pieces {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.rx.poll_recv(cx) {
            Poll::Ready(Some(Ok(piece))) => {
                self.left = self.left.saturating_sub(piece.len() as u64);
                Poll::Ready(Some(Ok(piece)))
            }
            Poll::Ready(None) if self.left > 0 => {
                self.left = 0;
                Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())))
            }
            other => other,
        }
    }
}

/// Who is playing what since when. Only spares audit entries: forgetting costs one more.
#[derive(Debug, Default)]
pub(super) struct Playbacks(Mutex<HashMap<(String, RecordingId), Timestamp>>);

impl Playbacks {
    fn is_running(&self, session: &(String, RecordingId), now: Timestamp) -> bool {
        let running = self.0.lock().expect("nothing panics while holding it");
        running.get(session).is_some_and(|began| now.since(*began) < PLAYBACK_LASTS)
    }

    fn begin(&self, session: (String, RecordingId), now: Timestamp) {
        let mut running = self.0.lock().expect("nothing panics while holding it");
        if running.len() >= PLAYBACKS_MAX {
            running.clear();
        }
        running.insert(session, now);
    }
}

/// How much is opened at a time.
const PIECE_BYTES: u64 = 256 << 10;
/// Pieces that wait for the network.
const PIECES_AHEAD: usize = 2;
/// Whoever takes nothing for so long is gone.
pub(super) const STALLED: Duration = Duration::from_secs(120);
const PLAYBACK_LASTS: Duration = Duration::from_secs(4 * 3600);
const PLAYBACKS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// Gives at most 1,000 bytes a call and fails from `broken_at` on.
    struct Pattern {
        len: u64,
        broken_at: u64,
    }

    impl PlaybackReader for Pattern {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            if offset >= self.broken_at {
                return Err(io::Error::other("chunk does not verify"));
            }
            let len = buf.len().min(1_000).min((self.len - offset.min(self.len)) as usize);
            buf[..len].iter_mut().enumerate().for_each(|(i, b)| *b = (offset as usize + i) as u8);
            Ok(len)
        }
    }

    #[test]
    fn a_piece_is_whole_or_an_error() {
        let good = Pattern { len: 5_000, broken_at: u64::MAX };
        let piece = read_piece(&good, 1..3_001).unwrap();
        assert_eq!(piece.len(), 3_000);
        assert!(piece.iter().enumerate().all(|(i, b)| *b == (i + 1) as u8));
        // Planted fault: taking a short read as the end sends zeros.
        let early = read_piece(&good, 4_000..6_000).unwrap_err();
        assert_eq!(early.kind(), io::ErrorKind::UnexpectedEof);
        assert!(read_piece(&Pattern { len: 5_000, broken_at: 2_000 }, 0..3_000).is_err());
        assert!(read_piece(&good, 0..0).unwrap().is_empty());
    }

    /// Planted fault: a `Pieces` that ends without counting lets HTTP/2 callers believe that a
    /// broken recording is whole.
    #[tokio::test]
    async fn a_body_that_ends_early_is_an_error() {
        for (sent, left, ends_well) in [(3, 3, true), (2, 3, false), (0, 0, true), (0, 1, false)] {
            let (tx, rx) = mpsc::channel(8);
            for _ in 0..sent {
                tx.send(Ok(Bytes::from_static(b"x"))).await.unwrap();
            }
            drop(tx);
            let body = Body::from_stream(Pieces { rx, left });
            assert_eq!(axum::body::to_bytes(body, 100).await.is_ok(), ends_well, "{sent}/{left}");
        }
    }

    /// Planted fault: taking every range that does not start at zero as a continuation lets
    /// `bytes=1-` play without a trace.
    #[test]
    fn a_continuation_needs_a_beginning() {
        let playbacks = Playbacks::default();
        let session = |who: &str, id: u128| (who.to_owned(), RecordingId(Uuid::from_u128(id)));
        let at = |hours: i64| Timestamp::from_millis(hours * 3_600_000);
        assert!(!playbacks.is_running(&session("a", 1), at(0)));
        playbacks.begin(session("a", 1), at(0));
        assert!(playbacks.is_running(&session("a", 1), at(3)));
        assert!(!playbacks.is_running(&session("a", 1), at(4)));
        assert!(!playbacks.is_running(&session("b", 1), at(0)));
        assert!(!playbacks.is_running(&session("a", 2), at(0)));
    }

    #[test]
    fn if_range_keeps_the_range_for_the_same_tag_only() {
        for (value, applies) in [
            (None, true),
            (Some("\"a\""), true),
            (Some("\"b\""), false),
            (Some("W/\"a\""), false),
            (Some("Mon, 23 Nov 2026 10:00:00 GMT"), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::IF_RANGE, HeaderValue::from_static(value));
            }
            assert_eq!(range_still_applies(&headers, "\"a\""), applies, "{value:?}");
        }
    }

    #[test]
    fn a_name_cannot_break_out_of_its_header() {
        assert_eq!(disposition(None), "inline");
        let nasty = "a \"b\"\r\nX: é.wav".as_bytes();
        assert_eq!(
            disposition(Some(nasty)),
            "inline; filename*=UTF-8''a%20%22b%22%0D%0AX%3A%20%C3%A9.wav"
        );
    }
}
