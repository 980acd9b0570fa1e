//! What happens to erasures, as it happens: server-sent events.
//!
//! ```text
//! while somebody listens or something runs            each listener
//! every 500 ms: status, open jobs ─▶ what changed ─▶ the last 2,048 events ─▶ from where it was
//! ```
//!
//! An event carries the same JSON as the `GET` of what it is about: `queue` that of
//! `/erasures/status`, `job` that of `/erasures/{id}`. Nothing is queued for a listener: it reads
//! on from its own place in the ring, and one that fell behind is told so by `reset`, as is one
//! that comes back with an id of another start of the daemon. After a `reset`, and at the first
//! visit, the present state follows.
//!
//! # Invariants
//!
//! - Listeners are counted and bounded. A listener ends at the stop, after an hour, and within
//!   seconds of the end of the token that let it in; a connection ends with its certificate.
//! - Losing the ring costs a `reset`, nothing else: it is no record of anything.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{self, Instant};

use crate::access::{Authenticated, Grant, ViewErasures};
use crate::domain::JobId;
use crate::flow::ErasurePulse;
use crate::http::{ApiError, Services};

use super::view::{ErasureView, JobView};

/// `GET /api/v1/erasures/events`
pub(crate) async fn events(
    State(services): State<Services>,
    grant: Grant<ViewErasures>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let takes = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    if takes.is_some_and(|kinds| !kinds.contains(EVENTS) && !kinds.contains("*/*")) {
        return Err(ApiError::new(
            StatusCode::NOT_ACCEPTABLE,
            "not-acceptable",
            "events are sent as text/event-stream only",
            "send `Accept: text/event-stream`, or ask `/api/v1/erasures/status` now and then",
        ));
    }
    let feed = Arc::clone(&services.erasure_feed);
    let seat = feed.seat().ok_or_else(|| {
        ApiError::busy("too-many-listeners", "too many listen to erasures at the same time")
    })?;
    let last = headers.get("last-event-id").map(|value| value.as_bytes().to_vec());
    let state = services.run(|engine, now| engine.erasure_pulse(&[], JOBS_MAX, now)).await?;
    let (first, place) = feed.begin(last.as_deref(), state);
    feed.keep_going(&services);
    let (tx, rx) = mpsc::channel(EVENTS_AHEAD);
    tokio::spawn(listen(services, grant, seat, first, place, tx));
    let head = [(header::CONTENT_TYPE, EVENTS)];
    Ok((head, Body::from_stream(Events(rx))).into_response())
}

/// Sends until the listener goes, is not to be heard any more, or the daemon stops.
async fn listen(
    services: Services,
    grant: Grant<ViewErasures>,
    seat: Seat,
    first: String,
    mut place: u64,
    tx: mpsc::Sender<Bytes>,
) {
    let mut next = first;
    let end = Instant::now() + LISTENS_MAX;
    let mut asked_at = Instant::now();
    let mut heard_at = Instant::now();
    let mut stopped = services.stopped.clone();
    loop {
        if !next.is_empty() {
            let sent = time::timeout(STALLED, tx.send(Bytes::from(std::mem::take(&mut next))));
            if !matches!(sent.await, Ok(Ok(()))) {
                return;
            }
            heard_at = Instant::now();
        }
        tokio::select! {
            () = time::sleep(GLANCE) => {}
            () = tx.closed() => return,
            () = until_stopped(&mut stopped) => return,
        }
        if Instant::now() >= end {
            return;
        }
        if asked_at.elapsed() >= ASK_AGAIN {
            asked_at = Instant::now();
            if !is_still_welcome(&services, &grant).await {
                return;
            }
        }
        match seat.0.after(place) {
            Some((text, at)) => (next, place) = (text, at),
            None => {
                let pulse = |e: &crate::flow::Engine, now| e.erasure_pulse(&[], JOBS_MAX, now);
                let Ok(state) = services.run(pulse).await else { return };
                (next, place) = seat.0.begin(Some(b""), state);
            }
        }
        if next.is_empty() && heard_at.elapsed() >= HEARTBEAT {
            next = ": still here\n\n".to_owned();
        }
    }
}

async fn until_stopped(stopped: &mut Option<tokio::sync::watch::Receiver<bool>>) {
    match stopped {
        // A stop that can no longer be told is one.
        Some(stopped) => drop(stopped.wait_for(|is_stopped| *is_stopped).await),
        None => std::future::pending().await,
    }
}

/// A token may have ended since; who comes by socket is who they were, and a connection with a
/// certificate is cut by its listener.
async fn is_still_welcome(services: &Services, grant: &Grant<ViewErasures>) -> bool {
    let Authenticated::Token { id } = &grant.principal().how else { return true };
    let Ok(id) = id.parse() else { return false };
    services.run(move |engine, now| engine.is_token_valid(id, now)).await.unwrap_or(false)
}

/// The last events, and who listens. One for the daemon.
#[derive(Debug)]
pub(crate) struct Feed {
    /// Tells the ids of this start from those of another.
    start: String,
    ring: Mutex<Ring>,
    listeners: AtomicUsize,
    is_going: AtomicBool,
}

#[derive(Debug, Default)]
struct Ring {
    /// Number of the newest event; 0 before the first.
    last: u64,
    events: VecDeque<String>,
    queue: String,
    jobs: HashMap<JobId, String>,
}

/// The place of one listener; dropped, it is free.
#[derive(Debug)]
struct Seat(Arc<Feed>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.listeners.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Feed {
    /// An empty one.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: uuid::Uuid::now_v7().simple().to_string(),
            ring: Mutex::default(),
            listeners: AtomicUsize::new(0),
            is_going: AtomicBool::new(false),
        })
    }

    fn seat(self: &Arc<Self>) -> Option<Seat> {
        let add = |count: usize| (count < LISTENERS_MAX).then_some(count + 1);
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        self.listeners.fetch_update(set, fetch, add).ok().map(|_| Seat(Arc::clone(self)))
    }

    /// What a listener hears first, and the number of the event it heard last.
    fn begin(&self, last: Option<&[u8]>, state: ErasurePulse) -> (String, u64) {
        if let Some(place) = last.and_then(|id| self.place_of(id))
            && let Some(missed) = self.after(place)
        {
            return missed;
        }
        let at = self.ring().last;
        let mut text = String::new();
        if last.is_some() {
            text.push_str(&self.event(at, "reset", "{}"));
        }
        let (queue, jobs) = documents(state);
        text.push_str(&self.event(at, "queue", &queue.full));
        for (_, document) in jobs {
            text.push_str(&self.event(at, "job", &document));
        }
        (text, at)
    }

    /// All events behind number `place`; `None` if some of them are gone.
    fn after(&self, place: u64) -> Option<(String, u64)> {
        let ring = self.ring();
        let behind = usize::try_from(ring.last.checked_sub(place)?).ok()?;
        let skip = ring.events.len().checked_sub(behind)?;
        Some((ring.events.iter().skip(skip).map(String::as_str).collect(), ring.last))
    }

    fn place_of(&self, id: &[u8]) -> Option<u64> {
        let (start, number) = std::str::from_utf8(id).ok()?.split_once('-')?;
        if start == self.start { number.parse().ok() } else { None }
    }

    fn event(&self, number: u64, name: &str, data: &str) -> String {
        format!("id: {}-{number}\nevent: {name}\ndata: {data}\n\n", self.start)
    }

    /// Takes in what is and makes an event of each difference.
    fn take(&self, state: ErasurePulse) {
        let (queue, jobs) = documents(state);
        let mut guard = self.ring();
        let ring = &mut *guard;
        let mut made = Vec::new();
        for (id, document) in &jobs {
            if ring.jobs.get(id) != Some(document) {
                made.push(("job", document.clone()));
            }
        }
        if ring.queue != queue.timeless {
            made.push(("queue", queue.full));
            ring.queue = queue.timeless;
        }
        let is_open = |document: &str| !document.contains("\"ended_at\":\"");
        ring.jobs = jobs.into_iter().filter(|(_, document)| is_open(document)).collect();
        for (name, document) in &made {
            ring.last += 1;
            ring.events.push_back(self.event(ring.last, name, document));
        }
        while ring.events.len() > EVENTS_MAX {
            ring.events.pop_front();
        }
    }

    /// Sees to it that somebody looks every [`TICK`], until nobody listens and nothing runs.
    fn keep_going(self: &Arc<Self>, services: &Services) {
        if self.is_going.swap(true, Ordering::AcqRel) {
            return;
        }
        let (feed, services) = (Arc::clone(self), services.clone());
        tokio::spawn(async move {
            let mut stopped = services.stopped.clone();
            loop {
                let known: Vec<JobId> = feed.ring().jobs.keys().copied().collect();
                let pulse =
                    services.run(move |e, now| e.erasure_pulse(&known, JOBS_MAX, now)).await;
                let mut is_busy = false;
                match pulse {
                    Ok(state) => {
                        is_busy = state.status.bytes_per_second > 0;
                        feed.take(state);
                    }
                    Err(error) => {
                        let error = crate::flow::chain(&error);
                        tracing::warn!(error, "erasures could not be looked at");
                    }
                }
                if !is_busy && feed.listeners.load(Ordering::Acquire) == 0 {
                    break;
                }
                tokio::select! {
                    () = time::sleep(TICK) => {}
                    () = until_stopped(&mut stopped) => break,
                }
            }
            feed.is_going.store(false, Ordering::Release);
            if feed.listeners.load(Ordering::Acquire) > 0 && !is_stopped(&stopped) {
                // Somebody came in between, and found that it was going.
                feed.keep_going(&services);
            }
        });
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // A panic elsewhere left at worst one event out, and the next look makes up for it.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_stopped(stopped: &Option<tokio::sync::watch::Receiver<bool>>) -> bool {
    stopped.as_ref().is_some_and(|stopped| *stopped.borrow())
}

struct Queue {
    full: String,
    /// Without the age of the oldest, which changes every second and is no event.
    timeless: String,
}

fn documents(state: ErasurePulse) -> (Queue, Vec<(JobId, String)>) {
    let mut queue = ErasureView::from(state.status);
    let full = text_of(&queue);
    queue.oldest_pending_seconds = None;
    let timeless = text_of(&queue);
    let jobs = state.open.into_iter().chain(state.ended);
    let jobs = jobs.map(|detail| (detail.job.id, text_of(&JobView::from(detail))));
    (Queue { full, timeless }, jobs.collect())
}

/// One line: a document never holds a line end.
fn text_of(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).unwrap_or(Value::Null).to_string()
}

/// The body.
struct Events(mpsc::Receiver<Bytes>);

impl Stream for Events {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(Ok))
    }
}

const EVENTS: &str = "text/event-stream";
const TICK: Duration = Duration::from_millis(500);
/// How often a listener looks into the ring.
const GLANCE: Duration = Duration::from_millis(200);
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How soon the end of a token ends what it let in.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// Whoever takes nothing for so long is gone.
const STALLED: Duration = Duration::from_secs(60);
/// As long as a connection lives; the next one goes on from the last event.
const LISTENS_MAX: Duration = Duration::from_secs(3_600);
const LISTENERS_MAX: usize = 32;
const EVENTS_MAX: usize = 2_048;
/// Pieces that wait for the network.
const EVENTS_AHEAD: usize = 4;
/// Open jobs that are followed, oldest first.
const JOBS_MAX: usize = 100;

#[cfg(test)]
mod tests;
