//! The whole line on a device of its own, which is then searched byte by byte: what was said, what
//! somebody was called, and the certificate that speaks of it.

use recseal::compliance::erasure::certificate::ErasureCertificate;
use recseal::domain::lifecycle::RecordingState;
use recseal::domain::{JournalFate, Overwrite};
use recseal::flow::Selection;

use crate::common::loop_fs::LoopFs;
use crate::common::marker::Marker;
use crate::common::or_skip;
use crate::ground::Ground;

/// What was found on a device after an erasure.
struct Found {
    content: u64,
    name: u64,
    files: Vec<(Overwrite, JournalFate)>,
}

/// Store, vault and catalog on one file system; one recording erased, one kept.
fn erase_on(mut fs: LoopFs) -> Found {
    let (content, name) = (Marker::new(), Marker::new());
    let ground = Ground::in_folder(fs.path(), "");
    ground.drop_file(&format!("{}.wav", name.text()), &content.wav(4));
    ground.drop_file("kept.wav", &Marker::new().wav(1));
    ground.seal_all();
    let is_meant =
        |path: &recseal::domain::StorePath| path.expose_name().starts_with(name.text().as_bytes());
    let all = ground.recordings();
    let meant = all.iter().find(|one| is_meant(&one.path)).expect("it was found").id;
    ground.order(Selection::Recordings(vec![meant]));
    ground.erase_all();
    let state =
        ground.recordings().iter().find(|one| one.id == meant).expect("its row stays").state;
    assert_eq!(state, RecordingState::Erased);
    let row = ground.engine.erasure_certificate(&Ground::may(), meant).unwrap();
    let certificate = ErasureCertificate::parse(&row.text).unwrap();
    let evidence = certificate.facts().files.iter().filter_map(|file| file.evidence.clone());
    let files = evidence.map(|seen| (seen.destruction.overwrite, seen.journal)).collect();
    drop(ground);
    Found { content: fs.count_at_rest(&content), name: fs.count_at_rest(&name), files }
}

/// Planted faults: the names scrubbed after the catalog was (found in its log), and no wipe of the
/// journal after the last unlink (found in the journal).
#[test]
fn nothing_of_it_is_left_on_ext4() {
    for options in ["", "data=journal"] {
        let found = erase_on(or_skip!(LoopFs::make("ext4", options, &[])));
        assert_eq!((found.content, found.name), (0, 0), "{options:?}");
        for file in found.files {
            assert_eq!(
                file,
                (Overwrite::InPlaceVerified, JournalFate::FlushedZeroed),
                "{options:?}"
            );
        }
    }
}

#[test]
fn nothing_that_was_said_is_left_on_xfs_and_nodatacow() {
    for (kind, options) in [("xfs", ""), ("btrfs", "nodatacow")] {
        let found = erase_on(or_skip!(LoopFs::make(kind, options, &[])));
        assert_eq!(found.content, 0, "{kind}");
        assert!(found.files.iter().all(|file| file.0 == Overwrite::InPlaceVerified), "{kind}");
    }
}

/// The control: where old blocks stay they are found, and the certificate does not deny it.
#[test]
fn copy_on_write_is_certified_as_such() {
    let found = erase_on(or_skip!(LoopFs::make("btrfs", "", &[])));
    assert!(found.content > 0, "btrfs keeps what its recorder wrote");
    // Peaks are so small that they lie inside metadata.
    let honest = [Overwrite::NotGuaranteedCow, Overwrite::NotGuaranteedInlineOrCompressed];
    assert!(found.files.iter().all(|file| honest.contains(&file.0)), "{:?}", found.files);
}
