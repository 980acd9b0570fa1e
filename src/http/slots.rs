//! The ways to the root key: list, add, remove, test, and replace the root key.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use keymanager::{
    KeyError, Means, NewSlot, PinSource, Share, SlotInfo, SlotProblem, Surroundings, TokenKey,
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::access::{Authenticated, Grant, ManageKeys, ViewKeys};
use crate::clock::Timestamp;
use crate::flow::{FlowError, WantedSlot};

use super::extract::Body;
use super::view::{Page, time};
use super::{ApiError, Services};

/// One slot, as it may be shown.
#[derive(Serialize)]
pub(super) struct SlotView {
    id: Uuid,
    kind: &'static str,
    detail: String,
    created_at: String,
    recovery: bool,
    unattended: bool,
}

impl From<SlotInfo> for SlotView {
    fn from(info: SlotInfo) -> Self {
        Self {
            id: info.id,
            kind: info.kind.as_str(),
            detail: info.detail,
            created_at: time(Timestamp::from_millis(info.created_ms)),
            recovery: info.is_recovery,
            unattended: info.unattended,
        }
    }
}

/// `GET /api/v1/keys/slots`
pub(super) async fn list(
    State(services): State<Services>,
    grant: Grant<ViewKeys>,
) -> Json<Page<SlotView>> {
    let slots = services.run(move |engine, _| engine.key_slots(&grant)).await;
    Json(Page { items: slots.into_iter().map(Into::into).collect(), next: None })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "snake_case")]
pub(super) enum New {
    File,
    Passphrase {
        #[serde(deserialize_with = "secret")]
        passphrase: Zeroizing<String>,
    },
    Shares {
        threshold: u8,
        of: u8,
    },
    Credential {
        name: String,
    },
    Exec {
        command: Vec<String>,
    },
    Pkcs11 {
        module: String,
        token: String,
        key: String,
        pin: PinSource,
        #[serde(default)]
        make_key: bool,
    },
}

impl New {
    fn wanted(self, surroundings: Surroundings) -> WantedSlot {
        let new = match self {
            Self::Passphrase { passphrase } => return WantedSlot::Passphrase(passphrase),
            Self::Shares { threshold, of } => return WantedSlot::Shares { threshold, of },
            Self::File => NewSlot::File,
            Self::Credential { name } => NewSlot::Credential { name },
            Self::Exec { command } => NewSlot::Exec { command },
            Self::Pkcs11 { module, token, key, pin, make_key } => {
                NewSlot::Pkcs11(TokenKey { module, token, key, pin, make_key })
            }
        };
        WantedSlot::Unattended(new, surroundings)
    }
}

/// `POST /api/v1/keys/slots`: the one time that shares are shown.
pub(super) async fn add(
    State(services): State<Services>,
    grant: Grant<ManageKeys>,
    Body(new): Body<New>,
) -> Result<Response, ApiError> {
    // Both let this process run what the caller names: no token may say that from afar.
    let runs_code = matches!(new, New::Exec { .. } | New::Pkcs11 { .. });
    let is_local = matches!(grant.principal().how, Authenticated::UnixSocket { .. });
    if runs_code && !is_local {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "local-only",
            "a slot that runs a program or loads a module is added on the host only",
            "run `recseal keys slots add` there as root",
        ));
    }
    let wanted = new.wanted(services.surroundings.clone());
    let added = services.run(move |engine, now| engine.add_key_slot(&grant, &wanted, now)).await;
    let (info, shares) = added.map_err(slot_error)?;
    let shares: Vec<Value> = shares
        .iter()
        .map(|share| json!({ "number": share.number(), "text": share.expose_text().as_str() }))
        .collect();
    let answer = json!({ "slot": SlotView::from(info), "shares": shares });
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// `DELETE /api/v1/keys/slots/{id}`
pub(super) async fn remove(
    State(services): State<Services>,
    grant: Grant<ManageKeys>,
    path: Result<Path<String>, axum::extract::rejection::PathRejection>,
) -> Result<StatusCode, ApiError> {
    let id = slot_id(path)?;
    let removed = services.run(move |engine, now| engine.remove_key_slot(&grant, id, now)).await;
    removed.map_err(slot_error)?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a person brings.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Brought {
    #[serde(deserialize_with = "secrets")]
    passphrases: Vec<Zeroizing<String>>,
    #[serde(deserialize_with = "secrets")]
    shares: Vec<Zeroizing<String>>,
    drop_slots: bool,
}

impl Brought {
    fn means(self, surroundings: Surroundings) -> Result<Means, ApiError> {
        if self.passphrases.len() > BROUGHT_MAX || self.shares.len() > BROUGHT_MAX {
            return Err(ApiError::bad_request(
                "more passphrases or shares than any key store has",
                "give each one once",
            ));
        }
        let shares = parse_shares(&self.shares)?;
        Ok(Means { surroundings, passphrases: self.passphrases, shares })
    }
}

/// `POST /api/v1/keys/slots/{id}/test`
pub(super) async fn test(
    State(services): State<Services>,
    grant: Grant<ManageKeys>,
    path: Result<Path<String>, axum::extract::rejection::PathRejection>,
    Body(brought): Body<Brought>,
) -> Result<Json<Value>, ApiError> {
    let id = slot_id(path)?;
    let means = brought.means(services.surroundings.clone())?;
    let tested =
        services.run(move |engine, now| engine.test_key_slot(&grant, id, &means, now)).await;
    let view = SlotView::from(tested.map_err(slot_error)?);
    Ok(Json(json!({ "opens": true, "slot": view })))
}

/// `POST /api/v1/keys/rotate-root`
pub(super) async fn rotate_root(
    State(services): State<Services>,
    grant: Grant<ManageKeys>,
    Body(brought): Body<Brought>,
) -> Result<Json<Value>, ApiError> {
    let drop_slots = brought.drop_slots;
    let means = brought.means(services.surroundings.clone())?;
    let rotated = services
        .run(move |engine, now| engine.rotate_root_key(&grant, &means, drop_slots, now))
        .await;
    let rotation = rotated.map_err(slot_error)?;
    let views = |slots: Vec<SlotInfo>| slots.into_iter().map(SlotView::from).collect::<Vec<_>>();
    Ok(Json(json!({
        "rotated": true,
        "kept": views(rotation.kept),
        "dropped": views(rotation.dropped),
    })))
}

/// `POST /api/v1/keys/unlock` while the keys are open: there is nothing to do.
pub(super) async fn unlock(_grant: Grant<ManageKeys>) -> Json<Value> {
    Json(json!({ "unlocked": true, "were_open": true }))
}

/// The shares in these texts; a typo is told by the place of the share among them.
pub(super) fn parse_shares(texts: &[Zeroizing<String>]) -> Result<Vec<Share>, ApiError> {
    let parse = |(at, text): (usize, &Zeroizing<String>)| {
        Share::parse(text).map_err(|error| {
            ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "bad-share",
                format!("the share given as number {}: {error}", at + 1),
                error.hint(),
            )
        })
    };
    texts.iter().enumerate().map(parse).collect()
}

/// What the keys say about slots, for the caller.
pub(super) fn slot_error(error: FlowError) -> ApiError {
    match error {
        FlowError::Keys(error) => key_error(error),
        other => other.into(),
    }
}

/// The same without a flow around it.
pub(super) fn key_error(error: KeyError) -> ApiError {
    let (status, code, hint) = match &error {
        KeyError::UnknownSlot { .. } => {
            (StatusCode::NOT_FOUND, "no-such-slot", "`recseal keys slots list` shows their ids")
        }
        KeyError::LastSlot { .. } => {
            (StatusCode::CONFLICT, "last-slot", "add another slot first, and test it")
        }
        KeyError::Unrepaired { .. } => (
            StatusCode::CONFLICT,
            "unrepaired",
            "repair it from a backup, or move damaged-gen-* away if its keys are given up",
        ),
        KeyError::TooManySlots { .. } => {
            (StatusCode::CONFLICT, "too-many-slots", "remove one that is not needed any more")
        }
        KeyError::PassphraseLength { .. } => {
            (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "take a sentence that nobody guesses")
        }
        KeyError::BadSlot { .. } => {
            (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "see `recseal keys slots add --help`")
        }
        KeyError::Slot { source, .. } => {
            (StatusCode::UNPROCESSABLE_ENTITY, "slot-does-not-open", SlotProblem::hint(source))
        }
        KeyError::Shares { source } => {
            (StatusCode::UNPROCESSABLE_ENTITY, "slot-does-not-open", source.hint())
        }
        KeyError::UnknownShares | KeyError::WrongPassphrase | KeyError::NoSuchSlot { .. } => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "slot-does-not-open",
            "`recseal keys slots list` shows what there is; try again, a wrong one costs nothing",
        ),
        KeyError::WrongKeyFile { .. } => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "slot-does-not-open",
            "put the right root.key back, or remove this slot and add a new one",
        ),
        KeyError::Locked { .. } => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "slot-does-not-open",
            "mend one of the slots, or bring a passphrase or shares",
        ),
        _ => return FlowError::Keys(error).into(),
    };
    ApiError::new(status, code, super::chain(&error), hint)
}

fn slot_id(
    path: Result<Path<String>, axum::extract::rejection::PathRejection>,
) -> Result<Uuid, ApiError> {
    let Path(id) = path?;
    id.parse().map_err(|_| key_error(KeyError::UnknownSlot { id: Uuid::nil() }))
}

/// A text that is wiped when dropped.
pub(super) fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(from).map(Zeroizing::new)
}

/// A list of them.
pub(super) fn secrets<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<Zeroizing<String>>, D::Error> {
    Ok(Vec::<String>::deserialize(from)?.into_iter().map(Zeroizing::new).collect())
}

const BROUGHT_MAX: usize = 64;
