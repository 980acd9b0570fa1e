//! What a dead daemon left: its catalog, its keys and its sealed files, read without it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use keymanager::{KeyManager, Unlock};
use recseal::catalog::{Catalog, CatalogError, RecordingFilter, SidecarState};
use recseal::config::{catalog_in, keys_in};
use recseal::domain::lifecycle::RecordingState;
use recseal::domain::{Recording, SealedCopy, SealedKind, StorePath, VaultName};
use recseal::seal::SealedReader;
use recseal::vault::{Layout, LocalVault, Vault};

/// One recording or sidecar and, if a sealed copy of it opens, its content.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) state: String,
    pub(crate) is_sidecar: bool,
    pub(crate) is_proved: bool,
    pub(crate) content: Option<Vec<u8>>,
}

/// All of it.
pub(crate) struct Evidence {
    /// By path below the folder of the stores; each time that it was recorded.
    pub(crate) found: BTreeMap<String, Vec<Found>>,
    /// Sealed files that the catalog expects, and those there are, with their lengths.
    expected_files: BTreeSet<(PathBuf, u64)>,
    seen_files: BTreeSet<(PathBuf, u64)>,
}

impl Evidence {
    /// Reads the state folder of a daemon that does not run. `skip` names files of which the
    /// content is not wanted.
    pub(crate) fn of(state: &Path, skip: &BTreeSet<String>) -> Self {
        let catalog = Catalog::open_read_only(&catalog_in(state)).unwrap();
        let keys = KeyManager::open(&keys_in(state), &Unlock::File).unwrap();
        let own = state.join("vault");
        let mut vaults = HashMap::from([(VaultName::Own, (own.clone(), Layout::Own))]);
        let stores = catalog.read(|tx| tx.stores()).unwrap();
        for store in &stores {
            vaults.insert(VaultName::Beside(store.id), (store.root.clone(), Layout::Beside));
        }
        let mut evidence = Self {
            found: BTreeMap::new(),
            expected_files: BTreeSet::new(),
            seen_files: BTreeSet::new(),
        };
        for (folder, layout) in vaults.values() {
            sealed_files(folder, *layout, &mut evidence.seen_files);
        }
        let vaults: HashMap<_, _> = vaults
            .into_iter()
            .map(|(name, (path, layout))| {
                let vault = LocalVault::open(&path, layout, 0).unwrap();
                (name, (path, vault))
            })
            .collect();
        for recording in all(&catalog) {
            let id = recording.id;
            let (copies, sidecars, wrapped) = catalog
                .read(|tx| {
                    Ok::<_, CatalogError>((tx.copies(id)?, tx.sidecars(id)?, tx.wrapped_key(id)?))
                })
                .unwrap();
            for copy in &copies {
                let path = vaults[&copy.vault].0.join(copy.path.expose_path());
                evidence.expected_files.insert((path, copy.sealed_bytes));
            }
            let key = wrapped.map(|wrapped| keys.unwrap(id.0, &wrapped).unwrap());
            let open = |copy: Option<&SealedCopy>| {
                let copy = copy?;
                let source = vaults[&copy.vault].1.open(&copy.path).ok()?;
                let reader = SealedReader::open(key.as_ref()?, source).ok()?;
                let mut plaintext = vec![0; reader.plain_bytes() as usize];
                let len = reader.read_at(&mut plaintext, 0).ok()?;
                (len == plaintext.len()).then_some(plaintext)
            };
            let store = stores.iter().find(|store| store.id == recording.store).unwrap();
            let store = store.root.file_name().unwrap().to_str().unwrap();
            let name = |path: &StorePath| format!("{store}/{}", path.expose_path().display());
            let mut add = |path: &StorePath, mut found: Found, copy| {
                let name = name(path);
                if !skip.contains(&name) {
                    found.content = open(copy);
                }
                evidence.found.entry(name).or_default().push(found);
            };
            let media = copies.iter().find(|copy| copy.kind == SealedKind::Media);
            let state = recording.state;
            let found = Found {
                state: state.as_str().to_owned(),
                is_sidecar: false,
                is_proved: matches!(state, RecordingState::Sealed | RecordingState::Stored),
                content: None,
            };
            add(&recording.path, found, media);
            for sidecar in &sidecars {
                let found = Found {
                    state: sidecar.state.as_str().to_owned(),
                    is_sidecar: true,
                    is_proved: sidecar.state != SidecarState::Found,
                    content: None,
                };
                let copy = copies.iter().find(|copy| copy.sidecar == Some(sidecar.id));
                add(&sidecar.path, found, copy);
            }
        }
        evidence
    }

    /// True if a proved sealed copy of `path` opens to `content`.
    pub(crate) fn keeps(&self, path: &str, content: &[u8]) -> bool {
        let found = self.found.get(path).into_iter().flatten();
        found.filter(|found| found.is_proved).any(|found| found.content.as_deref() == Some(content))
    }

    /// What is not stored yet, and how far it is.
    pub(crate) fn unfinished(&self) -> Vec<(&str, &str)> {
        let found = self.found.iter().flat_map(|(path, found)| {
            found.iter().map(move |found| (path.as_str(), found.state.as_str()))
        });
        found.filter(|(_, state)| *state != "stored").collect()
    }

    /// What is wrong if all work is done and `files` were recorded, each once. `is_whole` if
    /// nothing else was.
    pub(crate) fn faults(
        &self,
        files: &BTreeMap<String, Vec<u8>>,
        skip: &BTreeSet<String>,
        is_whole: bool,
    ) -> Vec<String> {
        let mut faults = Vec::new();
        for (path, content) in files {
            match self.found.get(path).map(Vec::as_slice) {
                Some([one]) if one.state != "stored" => {
                    faults.push(format!("{path} is {}", one.state));
                }
                Some([one]) if one.is_sidecar != path.ends_with(".json") => {
                    faults.push(format!("{path} was taken for something else"));
                }
                Some([one]) if !skip.contains(path) && one.content.as_deref() != Some(content) => {
                    let len = one.content.as_ref().map(Vec::len);
                    faults.push(format!("{path}: {len:?} of {} bytes", content.len()));
                }
                Some([_]) => {}
                Some(many) => {
                    let states: Vec<&str> = many.iter().map(|one| one.state.as_str()).collect();
                    faults.push(format!("{path} was recorded as {states:?}"));
                }
                None => faults.push(format!("{path} is gone")),
            }
        }
        if is_whole {
            let surplus = self.found.keys().filter(|path| !files.contains_key(*path));
            faults.extend(surplus.map(|path| format!("{path} comes from nowhere")));
        }
        for (file, _) in self.expected_files.symmetric_difference(&self.seen_files) {
            faults.push(format!("{} and the catalog do not agree", file.display()));
        }
        faults
    }
}

fn all(catalog: &Catalog) -> Vec<Recording> {
    let mut all: Vec<Recording> = Vec::new();
    loop {
        let after = all.last().map(|last| last.id);
        let filter = RecordingFilter::default();
        let page = catalog.read(|tx| tx.recordings(&filter, after, 1_000)).unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// Drafts are among them: when all work is done there is none.
fn sealed_files(folder: &Path, layout: Layout, into: &mut BTreeSet<(PathBuf, u64)>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let (path, seen) = (entry.path(), entry.metadata().unwrap());
        let name = path.to_str().unwrap();
        if seen.is_dir() {
            sealed_files(&path, layout, into);
        } else if layout == Layout::Own
            || name.ends_with(".sealed")
            || name.ends_with(".sealed.part")
        {
            into.insert((path, seen.len()));
        }
    }
}
