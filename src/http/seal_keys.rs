//! Seal keys: list, add, rotate, disable, hand out; and what is said of what they seal.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use keymanager::{SealKeyError, SealPublicKey, public_keys_from_pem};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::access::{Grant, ManageKeys, ViewKeys};
use crate::clock::Timestamp;
use crate::flow::{SealKeyUse, SealedTo};

use super::extract::Body;
use super::view::Page;
use super::{ApiError, Services};

#[derive(Serialize)]
pub(super) struct SealKeyView {
    name: String,
    /// `active` or `disabled`.
    state: &'static str,
    versions: Vec<VersionView>,
}

#[derive(Serialize)]
struct VersionView {
    id: String,
    algorithm: &'static str,
    /// `current` or `retired`.
    state: &'static str,
    added_at: String,
    data_keys: u64,
}

impl From<SealKeyUse> for SealKeyView {
    fn from(of: SealKeyUse) -> Self {
        let newest = of.info.versions.last().map(|version| version.id);
        let versions = of.info.versions.iter().zip(of.data_keys);
        let versions = versions.map(|(version, data_keys)| VersionView {
            id: version.id.to_string(),
            algorithm: version.algorithm.as_str(),
            state: if Some(version.id) == newest { "current" } else { "retired" },
            added_at: Timestamp::from_millis(version.added_ms).to_string(),
            data_keys,
        });
        Self {
            state: if of.info.disabled { "disabled" } else { "active" },
            versions: versions.collect(),
            name: of.info.name,
        }
    }
}

/// `GET /api/v1/seal-keys`
pub(super) async fn list(
    State(services): State<Services>,
    grant: Grant<ViewKeys>,
) -> Result<Json<Page<SealKeyView>>, ApiError> {
    let keys = services.run(move |engine, _| engine.seal_keys(&grant)).await?;
    Ok(Json(Page { items: keys.into_iter().map(Into::into).collect(), next: None }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSealKey {
    name: String,
    /// The text of a public key file.
    public: String,
    /// Public signing keys as PEM; one of them must have announced the key.
    announced_by: Option<String>,
}

impl NewSealKey {
    fn read(&self) -> Result<SealPublicKey, ApiError> {
        let (public, announcement) =
            SealPublicKey::from_text(&self.public).map_err(|error| refusal(&error))?;
        if let Some(pem) = &self.announced_by {
            let signers = public_keys_from_pem(pem).map_err(|error| {
                ApiError::bad_request(
                    error.to_string(),
                    "take the file that `recseal keys public -o FILE` wrote",
                )
            })?;
            public
                .check_announcement(announcement.as_ref(), &signers)
                .map_err(|error| refusal(&error))?;
        }
        Ok(public)
    }
}

/// `POST /api/v1/seal-keys`
pub(super) async fn add(
    State(services): State<Services>,
    grant: Grant<ManageKeys>,
    Body(new): Body<NewSealKey>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let public = new.read()?;
    let (name, id) = (new.name.clone(), public.id());
    services.run(move |engine, now| engine.add_seal_key(&grant, &new.name, &public, now)).await?;
    services.bell.ring();
    Ok((StatusCode::CREATED, Json(json!({ "name": name, "id": id.to_string() }))))
}

/// `POST /api/v1/seal-keys/rotate`
pub(super) async fn rotate(
    State(services): State<Services>,
    grant: Grant<ManageKeys>,
    Body(new): Body<NewSealKey>,
) -> Result<Json<Value>, ApiError> {
    let public = new.read()?;
    let (name, id) = (new.name.clone(), public.id());
    services
        .run(move |engine, now| engine.rotate_seal_key(&grant, &new.name, &public, now))
        .await?;
    Ok(Json(json!({ "name": name, "id": id.to_string() })))
}

/// `POST /api/v1/seal-keys/{name}/disable`
pub(super) async fn disable(
    services: State<Services>,
    grant: Grant<ManageKeys>,
    name: Path<String>,
) -> Result<Json<Value>, ApiError> {
    set_disabled(services, grant, name, true).await
}

/// `POST /api/v1/seal-keys/{name}/enable`
pub(super) async fn enable(
    services: State<Services>,
    grant: Grant<ManageKeys>,
    name: Path<String>,
) -> Result<Json<Value>, ApiError> {
    set_disabled(services, grant, name, false).await
}

async fn set_disabled(
    State(services): State<Services>,
    grant: Grant<ManageKeys>,
    Path(name): Path<String>,
    disabled: bool,
) -> Result<Json<Value>, ApiError> {
    let answer = json!({ "name": name, "disabled": disabled });
    services
        .run(move |engine, now| engine.set_seal_key_disabled(&grant, &name, disabled, now))
        .await?;
    services.bell.ring();
    Ok(Json(answer))
}

/// `GET /api/v1/seal-keys/{name}/public`: the file, announced by our signing key.
pub(super) async fn public(
    State(services): State<Services>,
    grant: Grant<ViewKeys>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let text = services.run(move |engine, _| engine.announce_seal_key(&grant, &name)).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

/// A recording that is not for this host to open.
pub(super) fn sealed(detail: String, to: &SealedTo) -> ApiError {
    let name = to.name.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
    ApiError::new(
        StatusCode::CONFLICT,
        "sealed-to-public-key",
        detail,
        format!(
            "where the private key of seal key{name} {} is: `recseal open SEALED_FILE --key \
             KEYFILE --seal-key PRIVATE -o FILE`, the KEYFILE from `recseal keys export ID`",
            to.id
        ),
    )
}

/// A seal key that cannot be used so.
pub(super) fn refusal(error: &SealKeyError) -> ApiError {
    use SealKeyError as E;
    let (status, code, hint) = match error {
        E::UnknownName => (
            StatusCode::NOT_FOUND,
            "no-such-seal-key",
            "`recseal keys seal-keys list` shows their names",
        ),
        E::NameTaken => (
            StatusCode::CONFLICT,
            "seal-key-exists",
            "give it a new version with `recseal keys seal-keys rotate`, or take another name",
        ),
        E::KeyTaken { .. } => (
            StatusCode::CONFLICT,
            "seal-key-exists",
            "generate a new pair with `recseal keys seal-keys generate`",
        ),
        E::Disabled => (
            StatusCode::CONFLICT,
            "seal-key-disabled",
            "allow it again with `recseal keys seal-keys enable`",
        ),
        E::NotAnnounced => (
            StatusCode::CONFLICT,
            "seal-key-not-announced",
            "get the file from who announces it, with `recseal keys seal-keys public`",
        ),
        E::TooMany { .. } => (
            StatusCode::CONFLICT,
            "too-many-seal-keys",
            "give a name that is not needed any more a new version",
        ),
        E::BadName { .. } => {
            (StatusCode::BAD_REQUEST, "bad-request", "take a name like \"archive\"")
        }
        E::NotOne { .. }
        | E::UnsupportedVersion { .. }
        | E::Malformed { .. }
        | E::WrongCheck { .. }
        | E::WeakPublicKey => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "bad-seal-key",
            "take the public file that `recseal keys seal-keys generate` wrote, unchanged",
        ),
        E::NeedsPassphrase
        | E::WrongPassphrase
        | E::AbsurdCost
        | E::PassphraseLength { .. }
        | E::MalformedDataKey { .. }
        | E::OtherSealKey { .. }
        | E::OtherSealedFile { .. }
        | E::Open { .. } => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "bad-seal-key",
            "private keys are used offline: see `recseal open --help`",
        ),
    };
    ApiError::new(status, code, error.to_string(), hint)
}
