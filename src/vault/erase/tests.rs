use super::*;

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::PathBuf;

use tempfile::TempDir;

use super::super::{FullSpeed, VaultError};
use crate::domain::Overwrite;
use crate::seal::Prefix;

/// A folder with sealed copies and what else a test puts there.
struct Tree {
    folder: TempDir,
}

/// One sealed copy, as the catalog knows it.
struct Copy {
    doomed: Doomed,
    content: Vec<u8>,
}

impl Tree {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sealed as far as an eraser looks: the prefix, and `len_bytes` in all.
    fn put(&self, name: &str, len_bytes: usize) -> Copy {
        let (recording, data_key) = (RecordingId::new(), DataKeyId::new());
        let prefix = Prefix { recording, data_key, kind: SealedKind::Media };
        let mut content = prefix.to_bytes().to_vec();
        content.resize(len_bytes.max(content.len()), b'P');
        fs::create_dir_all(self.at(name).parent().unwrap()).unwrap();
        fs::write(self.at(name), &content).unwrap();
        let expected = SealedIdentity {
            recording,
            data_key,
            kind: SealedKind::Media,
            sealed_bytes: content.len() as u64,
        };
        let doomed = Doomed {
            path: StorePath::new(name).unwrap(),
            token: Uuid::now_v7(),
            expected: Some(expected),
        };
        Copy { doomed, content }
    }

    fn overwrite_watched(
        &self,
        copies: &[Copy],
        watch: Watch<'_>,
    ) -> Vec<Result<Overwritten, VaultError>> {
        let root = File::open(self.folder.path()).unwrap();
        let targets: Vec<_> = copies.iter().map(Copy::target).collect();
        overwrite_batch(root.as_fd(), &targets, &FullSpeed, watch)
    }

    fn unlink_watched(
        &self,
        copies: &[Copy],
        watch: Watch<'_>,
    ) -> Vec<Result<JournalFate, VaultError>> {
        let root = File::open(self.folder.path()).unwrap();
        let targets: Vec<_> = copies.iter().map(Copy::target).collect();
        unlink_batch(root.as_fd(), &targets, watch)
    }

    fn overwrite(&self, copies: &[Copy]) -> Vec<Result<Overwritten, VaultError>> {
        self.overwrite_watched(copies, &unwatched)
    }

    fn unlink(&self, copies: &[Copy]) -> Vec<Result<JournalFate, VaultError>> {
        self.unlink_watched(copies, &unwatched)
    }
}

impl Copy {
    fn target(&self) -> Target<'_> {
        let identity = Identity::Sealed(self.doomed.expected.as_ref());
        Target { path: &self.doomed.path, token: self.doomed.token, identity }
    }

    fn opaque_name(&self) -> String {
        format!(".recseal-{}.erasing", self.doomed.token)
    }
}

fn evidence(result: Result<Overwritten, VaultError>) -> CopyEvidence {
    match result.unwrap() {
        Overwritten::Done(evidence) => evidence,
        Overwritten::Missing => panic!("it was there"),
    }
}

/// Planted faults: the rename left out, the last bytes left out, the unlink in the first step.
#[test]
fn two_steps_and_it_is_gone() {
    let tree = Tree::new();
    let lengths = [64, 100, 4096, 10_000, (1 << 20) + 77, (40 << 20) + 5];
    let copies: Vec<_> =
        lengths.iter().map(|len| tree.put(&format!("a/+1202555{len}.sealed"), *len)).collect();
    for (copy, result) in copies.iter().zip(tree.overwrite(&copies)) {
        let evidence = evidence(result);
        let len = copy.content.len();
        assert_eq!(evidence.file_bytes, len as u64);
        assert_eq!(evidence.destruction.overwritten_bytes, len as u64);
        assert_ne!(evidence.destruction.overwrite, Overwrite::Skipped);
        assert!(!copy.doomed.path.expose_below(tree.folder.path()).exists());
        let left = fs::read(tree.at("a").join(copy.opaque_name())).unwrap();
        assert_eq!(left.len(), len);
        assert_eq!(left[..32], copy.target().stamp(), "its own mark");
        for block in left.chunks_exact(32) {
            assert!(block.iter().filter(|byte| **byte == b'P').count() < 16, "{len}");
        }
    }
    for fate in tree.unlink(&copies) {
        fate.unwrap();
    }
    assert_eq!(fs::read_dir(tree.at("a")).unwrap().count(), 0);
    for (missing, fate) in tree.overwrite(&copies).into_iter().zip(tree.unlink(&copies)) {
        assert_eq!(missing.unwrap(), Overwritten::Missing);
        fate.unwrap();
    }
}
