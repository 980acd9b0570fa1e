//! The audit trail, the bearer tokens, and what the engine was told.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use uuid::Uuid;
use zeroize::Zeroizing;

use crate::access::{self, Grant, Principal, Role, token};
use crate::catalog::{self, TokenRow};
use crate::clock::Timestamp;
use crate::compliance::audit::{
    Activity, Actor, AuditEntry, ChainedEntry, CheckpointSignature, Outcome,
};
use crate::domain::{StoreId, StorePath};
use crate::flow::desk::actor;
use crate::flow::{Engine, FlowError};

/// Which audit entries to list; what is `None` does not matter. Words as stored.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// At this time or later.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
    /// This was done.
    pub activity: Option<String>,
    /// By the user with this login name.
    pub user: Option<String>,
    /// With this result.
    pub result: Option<String>,
}

impl Engine {
    /// Audit entries behind number `after`, in order; reading them is an entry itself.
    ///
    /// # Errors
    ///
    /// [`FlowError::Invalid`] for a word that no entry has, [`FlowError::Catalog`].
    pub fn audit(
        &self,
        grant: &Grant<access::ViewAudit>,
        filter: &AuditFilter,
        after: Option<u64>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<ChainedEntry>, FlowError> {
        let unknown = |what: &'static str| FlowError::Invalid {
            what: "filtering the audit trail",
            why: format!("no entry has this {what}"),
        };
        let activity = match &filter.activity {
            Some(name) => Some(Activity::from_name(name).ok_or_else(|| unknown("activity"))?),
            None => None,
        };
        let outcome = match &filter.result {
            Some(name) => Some(Outcome::from_name(name).ok_or_else(|| unknown("result"))?),
            None => None,
        };
        let filter = catalog::AuditFilter {
            from: filter.from,
            to: filter.to,
            activity,
            user: filter.user.clone(),
            outcome,
        };
        let entries = self.catalog.read(|tx| tx.audit(&filter, after.unwrap_or(0), limit))?;
        let viewed = AuditEntry::new(now, actor(grant.principal()), Activity::AuditViewed);
        self.catalog.write(|tx| tx.append_audit(&viewed))?;
        Ok(entries)
    }

    /// Signs the end of the audit trail, so that cutting it off is found.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`].
    pub fn checkpoint_audit(&self, now: Timestamp) -> Result<(), FlowError> {
        self.catalog.write(|tx| {
            tx.checkpoint(now, |message| {
                let signature = self.keys.sign(CHECKPOINT_CONTEXT, message);
                CheckpointSignature { key_id: signature.key_id, bytes: signature.bytes }
            })
        })?;
        Ok(())
    }

    /// Records an act of the daemon itself.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`].
    pub fn note_daemon(&self, activity: Activity, now: Timestamp) -> Result<(), FlowError> {
        let entry = AuditEntry::new(now, Actor::DAEMON, activity);
        self.catalog.write(|tx| tx.append_audit(&entry))?;
        Ok(())
    }

    /// Makes a bearer token. Its text is shown once and kept nowhere.
    ///
    /// # Errors
    ///
    /// [`FlowError::Invalid`] if the maker holds less than the role would.
    pub fn create_token(
        &self,
        grant: &Grant<access::ManageTokens>,
        name: &str,
        role: Role,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(TokenRow, Zeroizing<String>), FlowError> {
        let refused = |why: &str| FlowError::Invalid { what: "making this token", why: why.into() };
        if name.is_empty() || name.len() > TOKEN_NAME_BYTES_MAX {
            return Err(refused("its name must have 1 to 100 bytes"));
        }
        if !grant.principal().may_give(role) {
            return Err(refused("nobody can give more than they hold"));
        }
        let text = token::expose_text(&keymanager::expose_random());
        let digest = token::digest(&text).map_err(|_| refused("its text came out wrong"))?;
        let row = TokenRow {
            id: Uuid::now_v7(),
            name: name.to_owned(),
            role: role.as_str().to_owned(),
            digest,
            created_at: now,
            expires_at,
            revoked_at: None,
        };
        let entry = AuditEntry::new(now, actor(grant.principal()), Activity::TokenCreated)
            .on_object(row.id);
        self.catalog.write(|tx| tx.put_token(&row, &entry))?;
        Ok((row, text))
    }

    /// Every token ever made.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`].
    pub fn tokens(&self, _grant: &Grant<access::ManageTokens>) -> Result<Vec<TokenRow>, FlowError> {
        Ok(self.catalog.read(|tx| tx.tokens())?)
    }

    /// Revokes a token.
    ///
    /// # Errors
    ///
    /// [`FlowError::NoSuchToken`] if there is no such valid one.
    pub fn revoke_token(
        &self,
        grant: &Grant<access::ManageTokens>,
        id: Uuid,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let entry =
            AuditEntry::new(now, actor(grant.principal()), Activity::TokenRevoked).on_object(id);
        if self.catalog.write(|tx| tx.revoke_token(id, &entry))? {
            return Ok(());
        }
        Err(FlowError::NoSuchToken)
    }

    /// Who holds this token; `None` for an unknown, expired or revoked one.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`].
    pub fn authenticate(&self, text: &str, now: Timestamp) -> Result<Option<Principal>, FlowError> {
        let Ok(digest) = token::digest(text) else { return Ok(None) };
        let row = self.catalog.read(|tx| tx.token_by_digest(&digest))?;
        Ok(row.filter(|row| row.is_valid(now)).and_then(|row| {
            let role = row.role.parse().ok()?;
            Some(Principal::bearer(&row.id.to_string(), &row.name, role))
        }))
    }

    /// True while the token with this id opens doors: for what was let in by it and goes on.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`].
    pub fn is_token_valid(&self, id: Uuid, now: Timestamp) -> Result<bool, FlowError> {
        let tokens = self.catalog.read(|tx| tx.tokens())?;
        Ok(tokens.iter().any(|token| token.id == id && token.is_valid(now)))
    }

    /// The public signing keys as text, for `audit verify`.
    pub fn public_keys(&self) -> String {
        keymanager::public_keys_to_pem(&self.keys.public_signing_keys())
    }

    /// A recorder's word that it is done with the file at `path`: no settling is waited for. The
    /// place to look is returned: which store, and which folder of it.
    ///
    /// # Errors
    ///
    /// [`FlowError::NoSuchStore`] if the path lies in none.
    pub fn tell_done(&self, path: &Path) -> Result<(StoreId, Option<StorePath>), FlowError> {
        for slot in &self.stores {
            let Some(opened) = slot.opened() else { continue };
            let inside = [slot.spec().path.as_path(), opened.store.expose_root()]
                .into_iter()
                .find_map(|root| path.strip_prefix(root).ok())
                .and_then(|inside| StorePath::new(inside.as_os_str().as_bytes()));
            if let Some(inside) = inside {
                let folder = inside.folder();
                let mut told = self.told();
                if told.len() < TOLD_MAX {
                    told.insert((opened.store.id(), inside));
                }
                return Ok((opened.store.id(), folder));
            }
        }
        Err(FlowError::NoSuchStore)
    }

    pub(super) fn was_told_done(&self, store: StoreId, path: &StorePath) -> bool {
        let told = self.told();
        !told.is_empty() && told.contains(&(store, path.clone()))
    }

    pub(super) fn forget_told_done(&self, store: StoreId, path: &StorePath) {
        let mut told = self.told();
        if !told.is_empty() {
            told.remove(&(store, path.clone()));
        }
    }
}

/// What audit checkpoints are signed as.
pub const CHECKPOINT_CONTEXT: &str = "recseal-audit";
const TOKEN_NAME_BYTES_MAX: usize = 100;
/// More hints than this are not kept: their files settle in their own time.
const TOLD_MAX: usize = 10_000;
