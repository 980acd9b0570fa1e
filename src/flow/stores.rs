//! The watched trees as the engine holds them: opened when they are there, waited for when not.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use crate::catalog::{StoreLayout, StoreRow};
use crate::clock::Timestamp;
use crate::domain::{SealedKind, StoreId, StorePath, VaultName};
use crate::flow::{Engine, FlowError};
use crate::intake::profile::Profile;
use crate::intake::{IntakeError, Oddities, Store, StoreSettings};
use crate::vault::storage_kind::StorageReport;
use crate::vault::{self, LocalVault, Vault, VaultError, beside_path, own_path, storage_report};

/// Where the sealed files of a store go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Into the daemon's own tree, under opaque names.
    Vault,
    /// Beside the original: same folder, same name, and `.sealed`.
    Beside,
}

impl Layout {
    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::Beside => "beside",
        }
    }
}

/// One store as configured.
#[derive(Clone, Debug)]
pub struct StoreSpec {
    /// Its root. Folder names may tell about people.
    pub path: PathBuf,
    /// Its recorder.
    pub profile: &'static Profile,
    /// Where sealed files go.
    pub layout: Layout,
    /// Waits and polls.
    pub settings: StoreSettings,
    /// Whether originals are overwritten before they are removed.
    pub overwrite: bool,
    /// The seal key that data keys are sealed to; without one this host can open them.
    pub seal_to: Option<String>,
}

/// One store while the program runs.
pub struct StoreSlot {
    pub(super) spec: StoreSpec,
    excluded: Vec<PathBuf>,
    reserve_bytes: u64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    known_as: Option<StoreId>,
    opened: Option<Arc<Opened>>,
    lost: Option<String>,
    look: LastLook,
}

/// A store whose root is there.
pub struct Opened {
    /// The tree.
    pub store: Arc<Store>,
    /// The vault beside the originals, if the layout says so.
    pub beside: Option<LocalVault>,
    /// What overwriting can promise here.
    pub storage: StorageReport,
}

/// What the last whole scan saw.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LastLook {
    pub(super) at: Option<Timestamp>,
    pub(super) took: Option<Duration>,
    pub(super) files: u64,
    pub(super) sidecars_waiting: u64,
    pub(super) oddities: Oddities,
}

impl StoreSlot {
    pub(super) fn new(
        spec: StoreSpec,
        known_as: Option<StoreId>,
        excluded: Vec<PathBuf>,
        reserve_bytes: u64,
    ) -> Self {
        let inner = Mutex::new(Inner { known_as, ..Inner::default() });
        Self { spec, excluded, reserve_bytes, inner }
    }

    /// The configured form.
    pub fn spec(&self) -> &StoreSpec {
        &self.spec
    }

    /// The opened tree, opening it again if it was lost and came back.
    ///
    /// # Errors
    ///
    /// Why it cannot be worked on now. Nothing may be concluded about its files.
    pub fn open(&self) -> Result<Arc<Opened>, IntakeError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = &inner.opened {
            match opened.store.check() {
                Ok(()) => return Ok(Arc::clone(opened)),
                Err(lost) => {
                    inner.lost = Some(lost.to_string());
                    inner.opened = None;
                }
            }
        }
        match self.try_open(inner.known_as) {
            Ok(opened) => {
                let opened = Arc::new(opened);
                inner.known_as = Some(opened.store.id());
                inner.lost = None;
                inner.opened = Some(Arc::clone(&opened));
                Ok(opened)
            }
            Err(error) => {
                inner.lost = Some(reason(&error));
                Err(error)
            }
        }
    }

    fn try_open(&self, known_as: Option<StoreId>) -> Result<Opened, IntakeError> {
        let excluded: Vec<_> = self.excluded.iter().map(PathBuf::as_path).collect();
        let spec = &self.spec;
        let store = Store::open(&spec.path, spec.profile, spec.settings, &excluded, known_as)?;
        let unopened =
            |error: VaultError| IntakeError::Root { source: std::io::Error::other(error) };
        let beside = match spec.layout {
            Layout::Vault => None,
            Layout::Beside => {
                let root = store.expose_root();
                let vault = LocalVault::open(root, vault::Layout::Beside, self.reserve_bytes)
                    .map_err(unopened)?;
                // Nobody else has this tree yet: what is half-written is of an earlier run.
                vault.sweep_drafts().map_err(unopened)?;
                Some(vault)
            }
        };
        let storage =
            storage_report(store.root()).map_err(|source| IntakeError::Root { source })?;
        Ok(Opened { store: Arc::new(store), beside, storage })
    }

    /// True if `path` is how this store was configured.
    pub fn is_at(&self, path: &Path) -> bool {
        self.spec.path == path
            || path.canonicalize().is_ok_and(|real| {
                self.opened().is_some_and(|opened| opened.store.expose_root() == real)
            })
    }

    /// The id it has now or had before.
    pub fn id(&self) -> Option<StoreId> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).known_as
    }

    /// Opened and still there at the last look.
    pub(super) fn opened(&self) -> Option<Arc<Opened>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).opened.clone()
    }

    /// Why it is not being worked on.
    pub(super) fn lost(&self) -> Option<String> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).lost.clone()
    }

    pub(super) fn note_look(&self, look: LastLook) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).look = look;
    }

    pub(super) fn last_look(&self) -> LastLook {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).look
    }
}

impl Engine {
    /// Where a sealed file goes: beside the original if the store has that layout, the name still
    /// fits and is free, else into the own tree. It is not free where a recorder uses a name
    /// again: then the sealed copy of the first recording lies there.
    pub(super) fn copy_place(
        &self,
        opened: Option<&Opened>,
        id: Uuid,
        original: &StorePath,
        kind: SealedKind,
    ) -> Result<(VaultName, StorePath), FlowError> {
        let own = (VaultName::Own, own_path(id, kind));
        let Some((opened, vault)) = opened.and_then(|it| Some((it, it.beside.as_ref()?))) else {
            return Ok(own);
        };
        let named = match kind {
            SealedKind::Media | SealedKind::Sidecar => Some(original.clone()),
            SealedKind::Peaks => StorePath::new([original.expose_bytes(), b".peaks"].concat()),
        };
        let path = named.as_ref().and_then(beside_path);
        let Some(path) = path.filter(|path| path.expose_name().len() <= NAME_BYTES_MAX) else {
            return Ok(own);
        };
        let place = (VaultName::Beside(opened.store.id()), path);
        let is_known = self.catalog.read(|tx| tx.is_copy_known(&place.0, &place.1))?;
        let is_free = !is_known && vault.exists(&place.1).is_ok_and(|is_there| !is_there);
        Ok(if is_free { place } else { own })
    }

    /// Records an opened store in the catalog, before anything is found in it, and clears what a
    /// crash left beside its originals.
    ///
    /// # Errors
    ///
    /// [`FlowError`]; nothing may be looked for in this store then.
    pub fn register_store(&self, store: usize, now: Timestamp) -> Result<(), FlowError> {
        let slot = &self.stores[store];
        let opened = slot.open()?;
        let row = StoreRow {
            id: opened.store.id(),
            root: opened.store.expose_root().to_owned(),
            profile: slot.spec.profile.name.to_owned(),
            layout: match slot.spec.layout {
                Layout::Vault => StoreLayout::Vault,
                Layout::Beside => StoreLayout::Beside,
            },
            device: opened.store.device(),
            created_at: now,
        };
        self.catalog.write(|tx| tx.put_store(&row))?;
        Ok(())
    }
}

/// The reason and its cause in one line, without a path.
fn reason(error: &IntakeError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// The vault a copy row names.
pub(super) fn vault_of<'e>(
    own: &'e LocalVault,
    opened: Option<&'e Opened>,
    name: VaultName,
) -> Option<&'e LocalVault> {
    match name {
        VaultName::Own => Some(own),
        VaultName::Beside(id) => opened
            .filter(|opened| opened.store.id() == id)
            .and_then(|opened| opened.beside.as_ref()),
    }
}

impl From<IntakeError> for FlowError {
    fn from(error: IntakeError) -> Self {
        Self::Invalid { what: "looking into the store", why: reason(&error) }
    }
}

/// Room for `.sealed.part` behind a name of 255 bytes at most.
const NAME_BYTES_MAX: usize = 250;
