//! The tests' own tools are tested: a search that finds nothing would pass every erasure.

mod common;

use std::process::Command;

use common::loop_fs::LoopFs;
use common::marker::Marker;
use common::{or_skip, run};

/// Planted faults: a search without overlap loses the markers on its window borders; a loop
/// device without `sync` loses all of them; `losetup -D` in `Drop` takes the other one away.
#[test]
fn a_marker_is_found_on_the_raw_device_until_it_is_overwritten() {
    let other = or_skip!(LoopFs::make("ext4", "", &[]));
    for kind in ["ext4", "xfs", "btrfs"] {
        let fs = or_skip!(LoopFs::make(kind, "", &[]));
        let (marker, absent) = (Marker::new(), Marker::new());
        // 61 bytes apiece: 10,000 of them cross every kind of border.
        std::fs::write(fs.path().join("call.wav"), marker.fill(610_000)).unwrap();
        assert!(fs.count_on_device(&marker) >= 9_000, "{kind} hides what it stores");
        assert_eq!(fs.count_on_device(&absent), 0, "{kind}");
        let (device, path) = (fs.device().to_owned(), fs.path().to_owned());
        drop(fs);
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(path.to_str().unwrap()), "{kind} is still mounted");
        let loops = run(Command::new("losetup").args(["--list", "--noheadings"])).unwrap();
        let is_ours = |line: &str| line.contains(path.parent().unwrap().to_str().unwrap());
        assert!(!loops.lines().any(is_ours), "{} is still attached", device.display());
        assert!(other.path().join("lost+found").exists(), "the other file system is gone");
    }
}

#[test]
fn a_power_cut_keeps_what_was_synced() {
    for kind in ["ext4", "xfs"] {
        let fs = or_skip!(LoopFs::make(kind, "", &[]));
        let (before, after) = (fs.path().join("before"), fs.path().join("after"));
        std::fs::write(&before, b"synced").unwrap();
        run(Command::new("sync").arg("-f").arg(fs.path())).unwrap();
        let cut = or_skip!(fs.power_cut());
        std::fs::write(&after, b"later").unwrap();
        assert_eq!(std::fs::read(cut.path().join("before")).unwrap(), b"synced", "{kind}");
        assert!(!cut.path().join("after").exists(), "{kind}: the copy follows the original");
    }
}

#[test]
fn a_marker_is_counted_once_wherever_it_lies() {
    let marker = Marker::new();
    let folder = tempfile::tempdir().unwrap();
    let len = marker.text().len();
    // Around the border of the search window, byte by byte.
    for before in (2 << 16) - len - 1..(2 << 16) + 2 {
        let text = [&vec![b'M'; before][..], marker.text().as_bytes(), b"MARKER::"].concat();
        std::fs::write(folder.path().join("haystack"), text).unwrap();
        assert_eq!(marker.count_in_file(&folder.path().join("haystack")), 1, "after {before}");
    }
    std::fs::write(folder.path().join(marker.text()), marker.wav(1)).unwrap();
    assert!(marker.count_in_tree(folder.path()) > 200);
    let wav = hound::WavReader::new(std::io::Cursor::new(marker.wav(2))).unwrap();
    assert_eq!((wav.duration(), wav.spec().sample_rate, wav.spec().channels), (16_000, 8_000, 1));
}
