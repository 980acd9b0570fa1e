//! Plaintext that recorders leave outside their stores: found and counted, never touched.
//!
//! Sealing a store helps little while its recorder keeps copies elsewhere. The places come from
//! the profiles; what is known only to the recorder's own configuration is named for a person.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::intake::profile::{Leftover, Profile, name_fits};

use super::{Check, Outcome};

/// One check for each place of each profile in use where something lies, and one that names the
/// places that only a person can find.
pub(super) fn checks(config: &Config) -> Vec<Check> {
    let mut profiles: Vec<&Profile> = Vec::new();
    for store in &config.stores {
        if let Ok(profile) = Profile::named(&store.profile)
            && !profiles.iter().any(|known| known.name == profile.name)
        {
            profiles.push(profile);
        }
    }
    let inside = |folder: &Path| config.stores.iter().any(|store| folder.starts_with(&store.path));
    let mut checks = Vec::new();
    for profile in profiles {
        let name = format!("leftovers of {}", profile.name);
        let (known, unknown): (Vec<&Leftover>, Vec<&Leftover>) =
            profile.leftovers.iter().partition(|leftover| !leftover.folder.is_empty());
        let known = known.into_iter().filter(|leftover| !inside(Path::new(leftover.folder)));
        let before = checks.len();
        checks.extend(known.filter_map(|leftover| found(&name, leftover)));
        if checks.len() == before && !profile.leftovers.is_empty() {
            checks.push(Check::ok(&name, "none where this recorder usually leaves plaintext"));
        }
        if !unknown.is_empty() {
            let what: Vec<&str> = unknown.iter().map(|leftover| leftover.what).collect();
            let message = format!("look by hand for {}", what.join("; "));
            checks.push(Check::new(&name, Outcome::Ok, message, ""));
        }
    }
    checks
}

fn found(name: &str, leftover: &Leftover) -> Option<Check> {
    let (files, bytes) = count(Path::new(leftover.folder), leftover.files);
    if files == 0 {
        return None;
    }
    let at_least = if files == FILES_MAX { "at least " } else { "" };
    let message = format!(
        "{at_least}{files} files ({}) in {}: {}",
        indicatif::HumanBytes(bytes),
        leftover.folder,
        leftover.what
    );
    let hint = "they are in clear and outside every store: make the folder a store, or let the \
                recorder clean it";
    Some(Check::new(name, Outcome::Warn, message, hint))
}

/// Plain files below `folder` whose name fits, and their bytes. Follows no link.
fn count(folder: &Path, pattern: &str) -> (u64, u64) {
    let (mut files, mut bytes) = (0, 0);
    let mut waiting: Vec<(PathBuf, usize)> = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = waiting.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && depth < DEPTH_MAX {
                waiting.push((entry.path(), depth + 1));
            } else if kind.is_file() && name_fits(pattern, entry.file_name().as_bytes()) {
                files += 1;
                bytes += entry.metadata().map_or(0, |seen| seen.len());
                if files == FILES_MAX {
                    return (files, bytes);
                }
            }
        }
    }
    (files, bytes)
}

const DEPTH_MAX: usize = 4;
const FILES_MAX: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted faults: folders counted as files, and a link followed out of the place.
    #[test]
    fn plain_files_that_fit_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        fs::create_dir(dir.path().join("folder.mcf")).unwrap();
        fs::write(dir.path().join("one.mcf"), [0; 10]).unwrap();
        fs::write(deep.join("two.mcf"), [0; 20]).unwrap();
        fs::write(deep.join("two.wav"), [0; 40]).unwrap();
        std::os::unix::fs::symlink(deep.join("two.mcf"), dir.path().join("link.mcf")).unwrap();
        std::os::unix::fs::symlink(&deep, dir.path().join("link")).unwrap();
        assert_eq!(count(dir.path(), "*.mcf"), (2, 30));
        assert_eq!(count(dir.path(), "*"), (3, 70));
        assert_eq!(count(&dir.path().join("nothing"), "*"), (0, 0));
    }
}
