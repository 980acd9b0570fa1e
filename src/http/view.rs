//! How facts look as JSON. Times are RFC 3339 UTC, sizes bytes, durations milliseconds.
//!
//! Names, and the paths of stores, are there only for those who may see them.

mod words;

use serde::Serialize;
use uuid::Uuid;

use crate::catalog::{MediaState as StateGroup, TokenRow};
use crate::clock::Timestamp;
use crate::compliance::audit::ChainedEntry;
use crate::domain::RecordingId;
use crate::flow;

use super::backup::BackupView;
use super::erasures::ErasureView;
pub use super::moment::parse_time;
use super::{Addresses, ApiError, renewal};

pub use words::{parse_state, state_word};

/// The cursor after a recording.
pub(super) fn recording_cursor(id: RecordingId) -> String {
    format!("r{}", id.0.simple())
}

/// Reads [`recording_cursor`] back.
pub(super) fn parse_recording_cursor(text: &str) -> Result<RecordingId, ApiError> {
    let id = text.strip_prefix('r').and_then(|hex| Uuid::try_parse(hex).ok());
    id.map(RecordingId).ok_or_else(bad_cursor)
}

/// The cursor after something else with an id; `kind` keeps the lists apart.
pub(super) fn cursor(kind: char, id: Uuid) -> String {
    format!("{kind}{}", id.simple())
}

/// Reads [`cursor`] back.
pub(super) fn parse_cursor(kind: char, text: &str) -> Result<Uuid, ApiError> {
    let id = text.strip_prefix(kind).and_then(|hex| Uuid::try_parse(hex).ok());
    id.ok_or_else(bad_cursor)
}

/// The cursor after an audit entry.
pub(super) fn audit_cursor(seq: u64) -> String {
    format!("a{seq}")
}

/// Reads [`audit_cursor`] back.
pub(super) fn parse_audit_cursor(text: &str) -> Result<u64, ApiError> {
    text.strip_prefix('a').and_then(|digits| digits.parse().ok()).ok_or_else(bad_cursor)
}

fn bad_cursor() -> ApiError {
    ApiError::bad_request(
        "`after` is not a cursor of this list",
        "take the `next` of the page before, unchanged",
    )
}

/// RFC 3339.
pub(super) fn time(moment: Timestamp) -> String {
    moment.to_string()
}

/// `GET /api/v1/status`
#[derive(Serialize)]
pub(super) struct StatusView {
    version: &'static str,
    ready: bool,
    sealed_keys: bool,
    started_at: String,
    recordings: CountsView,
    erasure: ErasureView,
    certificate: CertificateView,
    stores: Vec<StoreView>,
    warnings: Vec<WarningView>,
    totals: TotalsView,
    backup: BackupView,
    listen: Option<ListenView>,
    keys: super::keks::KeysView,
    renewal: renewal::RenewalView,
}

#[derive(Serialize)]
struct CountsView {
    available: u64,
    planned_for_deletion: u64,
    deleted: u64,
    quarantined: u64,
    waiting: u64,
    waiting_bytes: u64,
}

#[derive(Serialize)]
struct CertificateView {
    not_before: String,
    not_after: String,
    names: Vec<String>,
    sha256: String,
    source: &'static str,
}

#[derive(Serialize)]
struct StoreView {
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    profile: &'static str,
    layout: &'static str,
    mode: &'static str,
    mode_reason: Option<String>,
    state: &'static str,
    reason: Option<String>,
    waiting: u64,
    sidecars_waiting: u64,
    hard_links: u64,
    skipped: u64,
    last_scan_at: Option<String>,
    last_scan_ms: Option<u64>,
    last_scan_files: u64,
    file_system: String,
    media: String,
    promise: &'static str,
}

#[derive(Serialize)]
struct WarningView {
    code: &'static str,
    message: String,
    hint: String,
}

#[derive(Serialize)]
struct TotalsView {
    found: u64,
    found_by_scan: u64,
    sealed: u64,
    sealed_bytes: u64,
    seal_failures: u64,
    originals_removed: u64,
    watch_overflows: u64,
    watches: u64,
    scans: u64,
}

#[derive(Serialize)]
struct ListenView {
    https: String,
    health: String,
}

impl StatusView {
    pub(super) fn new(
        status: flow::Status,
        addresses: Option<&Addresses>,
        sees_names: bool,
    ) -> Self {
        let (counts, totals) = (status.recordings, status.totals);
        Self {
            keys: status.keys.into(),
            version: status.version,
            ready: status.ready,
            sealed_keys: status.sealed_keys,
            started_at: time(status.started_at),
            recordings: CountsView {
                available: counts.available,
                planned_for_deletion: counts.planned_for_deletion,
                deleted: counts.deleted,
                quarantined: counts.quarantined,
                waiting: counts.waiting,
                waiting_bytes: counts.waiting_bytes,
            },
            erasure: status.erasure.into(),
            certificate: CertificateView {
                not_before: time(status.certificate.not_before),
                not_after: time(status.certificate.not_after),
                names: status.certificate.names,
                sha256: status.certificate.sha256,
                source: status.certificate.source,
            },
            stores: status.stores.into_iter().map(|s| StoreView::new(s, sees_names)).collect(),
            warnings: status
                .warnings
                .into_iter()
                .map(|w| WarningView { code: w.code, message: w.message, hint: w.hint })
                .collect(),
            totals: TotalsView {
                found: totals.found,
                found_by_scan: totals.found_by_scan,
                sealed: totals.sealed,
                sealed_bytes: totals.sealed_bytes,
                seal_failures: totals.seal_failures,
                originals_removed: totals.originals_removed,
                watch_overflows: totals.watch_overflows,
                watches: totals.watches,
                scans: totals.scans,
            },
            renewal: renewal::RenewalView::from(status.renewal),
            backup: status.backup.into(),
            listen: addresses.map(|bound| ListenView {
                https: bound.https.to_string(),
                health: bound.health.to_string(),
            }),
        }
    }
}

impl StoreView {
    fn new(store: flow::StoreStatus, sees_names: bool) -> Self {
        Self {
            id: store.id.map(|id| id.to_string()),
            path: sees_names.then(|| store.path.to_string_lossy().into_owned()),
            profile: store.profile,
            layout: store.layout,
            mode: store.mode,
            mode_reason: store.mode_reason,
            state: store.state,
            reason: store.reason,
            waiting: store.waiting,
            sidecars_waiting: store.sidecars_waiting,
            hard_links: store.hard_links,
            skipped: store.skipped,
            last_scan_at: store.last_scan_at.map(time),
            last_scan_ms: store.last_scan.map(|d| d.as_millis().try_into().unwrap_or(u64::MAX)),
            last_scan_files: store.last_scan_files,
            file_system: store.file_system,
            media: store.media,
            promise: store.promise,
        }
    }
}

/// One recording of `GET /api/v1/recordings`.
#[derive(Serialize)]
pub(super) struct RecordingView {
    id: String,
    conversation_id: Option<String>,
    /// The store's path for those who may see names, its id for others.
    store: String,
    store_id: String,
    state: &'static str,
    quarantine_reason: Option<String>,
    media: MediaView,
    size_bytes: u64,
    found_at: String,
    sealed_at: Option<String>,
    sidecars: usize,
    /// There if this host cannot open it; only where one recording is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed_to: Option<flow::SealedTo>,
    original: Option<OriginalView>,
    /// The recording that it was made from by redaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    redacted_from: Option<String>,
    copies: Vec<CopyView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_path: Option<String>,
}

#[derive(Serialize)]
struct MediaView {
    container: Option<String>,
    codec: Option<String>,
    duration_ms: Option<u64>,
    channels: Option<u16>,
    sample_rate_hz: Option<u32>,
    width: Option<u32>,
    height: Option<u32>,
    damage: Option<&'static str>,
}

#[derive(Serialize)]
struct OriginalView {
    overwrite: &'static str,
    file_system: String,
    media: String,
    overwritten_bytes: u64,
}

#[derive(Serialize)]
struct CopyView {
    kind: &'static str,
    sealed_bytes: u64,
    plain_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

impl RecordingView {
    pub(super) fn new(detail: flow::RecordingDetail, sees_names: bool) -> Self {
        let recording = detail.recording;
        let group = StateGroup::of(recording.state, recording.planned_for_deletion);
        let shown = |bytes: &[u8]| sees_names.then(|| String::from_utf8_lossy(bytes).into_owned());
        let store_id = recording.store.to_string();
        let media = recording.media.unwrap_or_default();
        Self {
            id: recording.id.to_string(),
            conversation_id: recording.conversation.map(|id| id.to_string()),
            store: match detail.store_path {
                Some(path) if sees_names => path.to_string_lossy().into_owned(),
                _ => store_id.clone(),
            },
            store_id,
            state: state_word(group),
            quarantine_reason: recording.quarantine,
            redacted_from: recording.redacted_from.map(|id| id.to_string()),
            media: MediaView {
                container: Some(media.container).filter(|name| !name.is_empty()),
                codec: media.codec,
                duration_ms: media.duration_ms,
                channels: media.channels,
                sample_rate_hz: media.sample_rate_hz,
                width: media.width,
                height: media.height,
                damage: media.damage.map(|damage| damage.as_str()),
            },
            size_bytes: recording.fingerprint.size_bytes,
            found_at: time(recording.found_at),
            sealed_at: recording.sealed_at.map(time),
            sidecars: detail.sidecars,
            sealed_to: detail.sealed_to,
            original: recording.original.map(|evidence| OriginalView {
                overwrite: evidence.overwrite.as_str(),
                file_system: evidence.file_system,
                media: evidence.media,
                overwritten_bytes: evidence.overwritten_bytes,
            }),
            copies: detail
                .copies
                .iter()
                .map(|copy| CopyView {
                    kind: copy.kind.as_str(),
                    sealed_bytes: copy.sealed_bytes,
                    plain_bytes: copy.plain_bytes,
                    path: shown(copy.path.expose_bytes()),
                })
                .collect(),
            original_name: shown(recording.path.expose_name()),
            original_path: shown(recording.path.expose_bytes()),
        }
    }
}

/// One page of a list. `next` goes back in as `after`.
#[derive(Serialize)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) next: Option<String>,
}

/// One audit entry.
#[derive(Serialize)]
pub(super) struct AuditEntryView {
    seq: u64,
    at: String,
    name: String,
    user: String,
    authenticated_by: String,
    activity: String,
    result: String,
    detail: String,
    recording: Option<String>,
    object: Option<String>,
    hash: String,
}

impl From<ChainedEntry> for AuditEntryView {
    fn from(chained: ChainedEntry) -> Self {
        let entry = &chained.entry;
        Self {
            seq: chained.seq,
            at: time(entry.at()),
            name: entry.actor().name().to_owned(),
            user: entry.actor().user().to_owned(),
            authenticated_by: entry.actor().how().as_str().to_owned(),
            activity: entry.activity().as_str().to_owned(),
            result: entry.outcome().as_str().to_owned(),
            detail: entry.detail().to_owned(),
            recording: entry.recording().map(|id| id.to_string()),
            object: entry.object().map(|id| id.to_string()),
            hash: chained.hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

/// One token, without what proves it.
#[derive(Serialize)]
pub(super) struct TokenView {
    id: String,
    name: String,
    role: String,
    created_at: String,
    expires_at: Option<String>,
    revoked: bool,
}

impl From<TokenRow> for TokenView {
    fn from(token: TokenRow) -> Self {
        Self {
            id: token.id.to_string(),
            name: token.name,
            role: token.role,
            created_at: time(token.created_at),
            expires_at: token.expires_at.map(time),
            revoked: token.revoked_at.is_some(),
        }
    }
}

#[cfg(test)]
mod tests;
