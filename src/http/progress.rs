//! Work that takes its time, and says how far it is to whoever wants to hear it.
//!
//! ```text
//! Accept: application/x-ndjson        any other
//! {"done_bytes":…,"total_bytes":…}    …
//! {"done_bytes":…,"total_bytes":…}    …
//! the answer, or the problem          the answer, or the problem with its status
//! ```
//!
//! The status is sent with the first line of progress, so what goes wrong after that is the last
//! line and looks as it would have looked alone. Work that ends before it has a line to say is
//! answered without any. A body that ends with a line of progress broke off.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::Instrument;

use crate::clock::Timestamp;
use crate::flow::Engine;

use super::{ApiError, Services};

/// Hears of bytes done and bytes in all, from any thread.
pub(super) type Watch<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// True if the caller wants to hear how far it is.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).is_some_and(|value| value.as_bytes() == LINES.as_bytes())
}

/// Runs `work` on the pool and answers with what it returns, behind lines of progress if `wanted`.
/// A caller who goes away or takes nothing does not stop it.
///
/// # Errors
///
/// What `work` says, where no line went before.
pub(super) async fn answer<T: Serialize + Send + 'static>(
    services: &Services,
    wanted: bool,
    work: impl FnOnce(&Engine, Watch<'_>, Timestamp) -> Result<T, ApiError> + Send + 'static,
) -> Result<Response, ApiError> {
    let (tx, mut rx) = mpsc::channel(LINES_MAX);
    let services = services.clone();
    let run = async move {
        let lines = tx.clone();
        let thinned = Thinned::default();
        let watched = move |engine: &Engine, now| {
            let watch = |done, total| {
                if wanted {
                    // There are fewer lines than places for them.
                    thinned.say(done, total, || {
                        drop(lines.try_send(Said::Line(line_of(done, total))))
                    });
                }
            };
            work(engine, &watch, now)
        };
        let end = services.run(watched).await;
        tx.send(Said::End(end)).await.ok(); // nobody waits any more
    };
    tokio::spawn(run.in_current_span());
    match rx.recv().await {
        // The task is gone without a word: it panicked, and the log has it.
        None => Err(ApiError::internal()),
        Some(Said::End(end)) => Ok(Json(end?).into_response()),
        Some(Said::Line(first)) => {
            let body = Body::from_stream(Lines { first: Some(first), rx });
            Ok(([(header::CONTENT_TYPE, LINES)], body).into_response())
        }
    }
}

enum Said<T> {
    Line(Bytes),
    End(Result<T, ApiError>),
}

/// Lets through at most [`STEPS`] lines, and none before [`STEP_BYTES_MIN`] are done.
#[derive(Default)]
struct Thinned(Mutex<u64>);

impl Thinned {
    /// Says it while nobody else can: several threads tell, and the lines have an order.
    fn say(&self, done: u64, total: u64, line: impl FnOnce()) {
        let step = done / (total / STEPS).max(STEP_BYTES_MIN);
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *said < step {
            *said = step;
            line();
        }
    }
}

/// The body.
struct Lines<T> {
    first: Option<Bytes>,
    rx: mpsc::Receiver<Said<T>>,
}

impl<T: Serialize> Stream for Lines<T> {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        self.rx.poll_recv(cx).map(|said| {
            Some(Ok(match said? {
                Said::Line(line) => line,
                Said::End(Ok(answer)) => line(&serde_json::to_value(answer).unwrap_or_default()),
                Said::End(Err(error)) => line(&error.document()),
            }))
        })
    }
}

fn line_of(done: u64, total: u64) -> Bytes {
    line(&json!({ "done_bytes": done, "total_bytes": total }))
}

fn line(value: &Value) -> Bytes {
    Bytes::from(format!("{value}\n"))
}

const LINES: &str = "application/x-ndjson";
const STEPS: u64 = 200;
/// A few hundredths of a second of work: what is shorter needs no bar.
const STEP_BYTES_MIN: u64 = 4 << 20;
/// More than there are ever lines.
const LINES_MAX: usize = STEPS as usize + 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn is_said(thinned: &Thinned, done: u64, total: u64) -> bool {
        let mut said = false;
        thinned.say(done, total, || said = true);
        said
    }

    /// Meant to catch: `max` left out; a file of some bytes then divides by zero.
    #[test]
    fn lines_are_few_and_none_is_lost_at_the_end() {
        for total in [0, 1, 5 << 20, 40 << 20, 1 << 40] {
            let thinned = Thinned::default();
            let piece = (total / 3_000).max(1);
            let said = (0..=3_000).filter(|n| is_said(&thinned, n * piece, total)).count();
            assert!(said < LINES_MAX, "{total}: {said}");
            assert_eq!(said > 0, total >= STEP_BYTES_MIN, "{total}");
        }
    }

    /// Workers report out of order. Meant to catch: the last step kept without comparing.
    #[test]
    fn it_never_goes_back() {
        let thinned = Thinned::default();
        let total = 1 << 30;
        let asked = [100 << 20, 50 << 20, 100 << 20, 200 << 20, 150 << 20];
        let said: Vec<u64> =
            asked.into_iter().filter(|done| is_said(&thinned, *done, total)).collect();
        assert_eq!(said, [100 << 20, 200 << 20]);
    }
}
