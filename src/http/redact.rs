//! Redacting a recording: which stretches, which channels, and what stands there instead.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use crate::access::{Grant, RedactMedia};
use crate::flow::{Redacted, RedactionRequest};
use crate::media::redact::{Fill, Parts, RedactError, Redaction, Stretch};

use super::extract::{Body, Id};
use super::media::stream_permit;
use super::{ApiError, Services, progress};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RedactBody {
    ranges: Vec<RangeBody>,
    /// Counted from 1; none means all.
    #[serde(default)]
    channels: Vec<u16>,
    #[serde(default)]
    fill: FillWord,
    #[serde(default)]
    parts: PartsWord,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RangeBody {
    from_ms: u64,
    to_ms: u64,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FillWord {
    #[default]
    Mute,
    Beep,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PartsWord {
    #[default]
    All,
    Audio,
    Video,
}

/// What was done, or would be.
#[derive(Serialize)]
pub(super) struct RedactedView {
    original: String,
    /// `null` after a dry run.
    redacted: Option<String>,
    dry_run: bool,
    /// `exact`, `decoded` or `encoded`.
    way: &'static str,
    ranges: Vec<RangeBody>,
    redacted_ms: u64,
    container: String,
    duration_ms: Option<u64>,
    plain_bytes: u64,
}

impl From<Redacted> for RedactedView {
    fn from(done: Redacted) -> Self {
        let ranges: Vec<RangeBody> = done
            .stretches
            .iter()
            .map(|Stretch { from_ms, to_ms }| RangeBody { from_ms: *from_ms, to_ms: *to_ms })
            .collect();
        Self {
            original: done.original.to_string(),
            dry_run: done.redacted.is_none(),
            redacted: done.redacted.map(|id| id.to_string()),
            way: done.way,
            redacted_ms: ranges.iter().map(|range| range.to_ms - range.from_ms).sum(),
            ranges,
            container: done.info.container,
            duration_ms: done.info.duration_ms,
            plain_bytes: done.plain_bytes,
        }
    }
}

impl RedactBody {
    fn request(self) -> Result<RedactionRequest, RedactError> {
        let stretches =
            self.ranges.iter().map(|r| Stretch { from_ms: r.from_ms, to_ms: r.to_ms }).collect();
        let fill = match self.fill {
            FillWord::Mute => Fill::Mute,
            FillWord::Beep => Fill::Beep,
        };
        let parts = match self.parts {
            PartsWord::All => Parts::All,
            PartsWord::Audio => Parts::Sound,
            PartsWord::Video => Parts::Picture,
        };
        let redaction = Redaction::new(stretches, self.channels, fill, parts)?;
        Ok(RedactionRequest { redaction, is_dry_run: self.dry_run })
    }
}

/// `POST /api/v1/recordings/{id}/redact`, with lines of progress for those who accept them.
pub(super) async fn redact(
    State(services): State<Services>,
    grant: Grant<RedactMedia>,
    Id(id): Id,
    headers: HeaderMap,
    Body(body): Body<RedactBody>,
) -> Result<Response, ApiError> {
    let request = body.request().map_err(|error| {
        let (status, code, hint) = refusal(&error);
        ApiError::new(status, code, error.to_string(), hint)
    })?;
    let permit = stream_permit(&services)?;
    progress::answer(&services, progress::is_wanted(&headers), move |engine, watch, now| {
        let _permit = permit;
        Ok(RedactedView::from(engine.redact(&grant, id, &request, watch, now)?))
    })
    .await
}

/// What a caller is told about a recording that was not redacted.
pub(super) fn refusal(error: &RedactError) -> (StatusCode, &'static str, &'static str) {
    use RedactError as R;
    let refused = StatusCode::UNPROCESSABLE_ENTITY;
    match error {
        R::NoStretch | R::EmptyStretch { .. } | R::BeyondEnd { .. } => {
            (refused, "redaction-range", "name ranges within the recording, as 10s-15s")
        }
        R::TooManyStretches { .. } => {
            (refused, "redaction-range", "redact some, then redact the result again")
        }
        R::NoSuchChannel { .. } | R::SeveralTracks { .. } => {
            (refused, "redaction-channel", "leave the channel out to redact all of them")
        }
        R::NoSuchPart { .. } => {
            (refused, "redaction-part", "`recseal recordings show ID` says what is in it")
        }
        R::NoLength | R::Unsupported { .. } => (refused, "redaction-unsupported", UNSUPPORTED),
        R::NoFfmpeg => (refused, "redaction-needs-ffmpeg", NO_FFMPEG),
        R::TooLarge { .. } => (refused, "redaction-too-large", TOO_LARGE),
        R::Ffmpeg { .. } | R::BadResult { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "redaction-failed", FAILED)
        }
        R::Read(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "redaction-failed",
            "`recseal verify ID` says whether the sealed copy is damaged",
        ),
        R::Write(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "storage-failed",
            "check that the disk of the vault is mounted and has free space",
        ),
    }
}

/// What a caller is told who comes second.
pub(super) const RUNNING: (StatusCode, &str, &str) =
    (StatusCode::CONFLICT, "redaction-running", "wait until it is done, then try again");

const UNSUPPORTED: &str = "nothing was changed; take it out with `recseal open`, edit it, and \
     record the result anew";
const NO_FFMPEG: &str =
    "install ffmpeg, or name it as redaction.ffmpeg, and start the daemon again";
const TOO_LARGE: &str = "raise redaction.max_memory to more than twice its length, as far as the \
     host has that memory, and start the daemon again";
const FAILED: &str = "the original is untouched; try again, and see redaction.time_limit and \
     redaction.max_memory if it stays so";
