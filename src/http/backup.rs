//! Backups: begun and streamed, noted, listed.
//!
//! A backup opens everything, so it is handed out on the unix socket only, to root and the
//! daemon's own user: whoever administers tokens over HTTPS may not play media, and must not get
//! there by way of a backup.

use std::io::Read;

use axum::Json;
use axum::body::{Body as HttpBody, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use keymanager::{BackupPublicKey, BackupWay, ShareSecret};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::access::{Authenticated, Grant, ManageBackups, ViewKeys};
use crate::catalog::BackupRow;
use crate::clock::Timestamp;
use crate::flow::{self, BackupOutcome, BackupStream, FlowError};

use super::extract::Body;
use super::media::{Pieces, STALLED, stream_permit};
use super::{ApiError, Services};

/// What a backup is to open by. At least one of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewBackup {
    passphrase: Option<Secret>,
    /// What whoever wrote the shares made them from.
    share_secret: Option<Secret>,
    #[serde(default)]
    recipients: Vec<String>,
}

/// Text that is wiped when dropped and has no `Debug`.
struct Secret(Zeroizing<String>);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Zeroizing::new).map(Self)
    }
}

/// `POST /api/v1/backup`: the backup, as bytes.
pub(super) async fn create(
    State(services): State<Services>,
    grant: Grant<ManageBackups>,
    Body(new): Body<NewBackup>,
) -> Result<Response, ApiError> {
    if !matches!(grant.principal().how, Authenticated::UnixSocket { .. }) {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "local-only",
            "a backup opens every recording and is handed out on the host only",
            "run `recseal backup create` on the host, or let the daemon write them: `[backup]`",
        ));
    }
    let permit = stream_permit(&services)?;
    let ways = ways_of(new).map_err(FlowError::from)?;
    let begun = services.run(move |engine, now| engine.begin_backup(&grant, &ways, now)).await?;
    let (id, len_bytes) = (begun.id(), begun.len_bytes());
    let pool = services.pool.clone();
    let (tx, rx) = mpsc::channel(PIECES_AHEAD);
    tokio::spawn(async move {
        let (_permit, mut stream) = (permit, begun);
        loop {
            let read = pool.run(move || (read_piece(&mut stream), stream)).await;
            stream = read.1;
            let piece = match read.0 {
                Ok(piece) if piece.is_empty() => break,
                piece => piece,
            };
            let is_over = piece.is_err();
            if let Err(error) = &piece {
                tracing::error!(backup = %id, %error, "a backup broke off");
            }
            let sent = tokio::time::timeout(STALLED, tx.send(piece)).await;
            if is_over || !matches!(sent, Ok(Ok(()))) {
                break;
            }
        }
        // The copy of the catalog is overwritten when it goes, which takes a while.
        pool.run(move || drop(stream)).await;
    });
    let body = HttpBody::from_stream(Pieces::new(rx, len_bytes));
    let head = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::CONTENT_LENGTH, HeaderValue::from(len_bytes)),
        (
            HeaderName::from_static(BACKUP_ID),
            HeaderValue::from_str(&id.to_string()).expect("an id is plain text"),
        ),
    ];
    Ok((head, body).into_response())
}

fn ways_of(new: NewBackup) -> Result<Vec<BackupWay>, keymanager::BackupError> {
    let mut ways = Vec::new();
    for text in &new.recipients {
        ways.push(BackupWay::Recipient(BackupPublicKey::parse(text)?));
    }
    if let Some(text) = &new.share_secret {
        ways.push(BackupWay::Shares(ShareSecret::parse(&text.0)?));
    }
    if let Some(passphrase) = new.passphrase {
        ways.push(BackupWay::passphrase(passphrase.0)?);
    }
    Ok(ways)
}

/// A piece of the backup; empty at its end.
fn read_piece(stream: &mut BackupStream) -> std::io::Result<Bytes> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut len = 0;
    while len < piece.len() {
        match stream.read(&mut piece[len..])? {
            0 => break,
            read => len += read,
        }
    }
    piece.truncate(len);
    Ok(Bytes::from(piece))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Noted {
    outcome: Word,
    store: Option<String>,
    created_ms: Option<i64>,
    newest_version: Option<u32>,
    sealed: Option<u64>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Kept,
    Verified,
    Damaged,
}

/// `POST /api/v1/backup/{id}`: how it turned out, from whoever has the file.
pub(super) async fn note(
    State(services): State<Services>,
    grant: Grant<ManageBackups>,
    Path(id): Path<String>,
    Body(noted): Body<Noted>,
) -> Result<StatusCode, ApiError> {
    let id = Uuid::try_parse(&id).map_err(|_| {
        ApiError::bad_request(
            "this is not the id of a backup",
            "`recseal backup status` lists them",
        )
    })?;
    let outcome = match (noted.outcome, noted.created_ms, noted.newest_version, noted.sealed) {
        (Word::Kept, ..) => BackupOutcome::Kept,
        (Word::Damaged, ..) => BackupOutcome::Damaged,
        (Word::Verified, Some(created_ms), Some(newest_version), Some(sealed)) => {
            let created_at = Timestamp::from_millis(created_ms);
            let store = noted.store.and_then(|id| Uuid::try_parse(&id).ok());
            BackupOutcome::Verified { store, created_at, newest_version, sealed }
        }
        (Word::Verified, ..) => {
            return Err(ApiError::bad_request(
                "`verified` needs created_ms, newest_version and sealed",
                "they are in the answer of `recseal backup verify FILE --json`",
            ));
        }
    };
    services.run(move |engine, now| engine.note_backup(&grant, id, outcome, now)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/v1/backup`: how the backups are doing, and the newest of them.
pub(super) async fn status(
    State(services): State<Services>,
    grant: Grant<ViewKeys>,
) -> Result<Json<BackupsView>, ApiError> {
    let (status, rows) = services
        .run(move |engine, _| {
            Ok::<_, FlowError>((engine.backup_status()?, engine.backups(&grant)?))
        })
        .await?;
    let backups = rows.into_iter().map(Into::into).collect();
    Ok(Json(BackupsView { status: status.into(), backups }))
}

/// `GET /api/v1/backup/tombstones`: what was destroyed here, signed.
pub(super) async fn tombstones(
    State(services): State<Services>,
    grant: Grant<ManageBackups>,
) -> Result<Response, ApiError> {
    let text = services.run(move |engine, now| engine.tombstones(&grant, now)).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

#[derive(Serialize)]
pub(super) struct BackupsView {
    #[serde(flatten)]
    status: BackupView,
    backups: Vec<BackupRowView>,
}

/// How the backups are doing, in `status` too.
#[derive(Serialize)]
pub(super) struct BackupView {
    created_at: Option<String>,
    verified_at: Option<String>,
    verified_of: Option<String>,
    newer_key_versions: u64,
    newer_recordings: u64,
    failed_at: Option<String>,
    next_at: Option<String>,
}

#[derive(Serialize)]
struct BackupRowView {
    id: String,
    created_at: String,
    kept_at: Option<String>,
    verified_at: Option<String>,
    damaged_at: Option<String>,
    newest_key_version: u32,
    sealed_recordings: u64,
    automatic: bool,
}

impl From<flow::BackupStatus> for BackupView {
    fn from(status: flow::BackupStatus) -> Self {
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
        Self {
            created_at: time(status.created_at),
            verified_at: time(status.verified_at),
            verified_of: time(status.verified_of),
            newer_key_versions: status.newer_key_versions,
            newer_recordings: status.newer_recordings,
            failed_at: time(status.failed_at),
            next_at: time(status.next_at),
        }
    }
}

impl From<BackupRow> for BackupRowView {
    fn from(row: BackupRow) -> Self {
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
        Self {
            id: row.id.to_string(),
            created_at: row.created_at.to_string(),
            kept_at: time(row.kept_at),
            verified_at: time(row.verified_at),
            damaged_at: time(row.damaged_at),
            newest_key_version: row.newest_version,
            sealed_recordings: row.sealed,
            automatic: row.automatic,
        }
    }
}

/// Names the backup that is streamed.
pub const BACKUP_ID: &str = "recseal-backup";
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that wait for whoever writes them.
const PIECES_AHEAD: usize = 2;
