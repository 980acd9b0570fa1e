//! The device under it all: once a recording is sealed, its plaintext is nowhere on it.

use crate::Server;
use crate::common::loop_fs::LoopFs;
use crate::common::marker::Marker;
use crate::common::or_skip;

/// Store, sealed copies, catalog, keys and log all lie on one device of our own, which is read
/// from its first to its last byte, journal and freed blocks included.
///
/// Planted faults: originals removed without being overwritten; the same for sidecars alone.
#[test]
fn no_plaintext_is_left_on_the_device() {
    for kind in ["ext4", "xfs"] {
        let mut fs = or_skip!(LoopFs::make(kind, "", &[]));
        let (call, who) = (Marker::new(), Marker::new());
        let store_folder = tempfile::tempdir_in(fs.path()).unwrap();
        let state_folder = tempfile::tempdir_in(fs.path()).unwrap();
        let about = "profile = \"generic\"\nsettle = \"1s\"";
        let mut server = Server::start_on(store_folder, about, state_folder);
        let wav = call.wav(30);
        // Under a name that is no recording yet, so that the control comes before the sealing.
        std::fs::write(server.store.join("call.part"), &wav).unwrap();
        std::fs::write(server.store.join("call.json"), who.fill(20_000)).unwrap();
        assert!(fs.count_on_device(&call) > 5_000, "{kind}: the control finds nothing");
        assert!(fs.count_on_device(&who) > 100, "{kind}: the control finds nothing");
        std::fs::rename(server.store.join("call.part"), server.store.join("call.wav")).unwrap();
        server.expect_sealed(1);
        let id = server.expect_sealed_one("call.wav");
        assert!(server.open(&id) == wav, "{kind}");
        let shown = server.daemon.json(&["recordings", "show", &id]);
        assert_eq!(shown["original"]["overwrite"], "in_place_verified", "{kind}: {shown:#}");
        assert_eq!(shown["original"]["overwritten_bytes"], wav.len(), "{kind}");
        assert!(server.daemon.stop().success());
        assert_eq!(fs.count_on_device(&call), 0, "{kind}: mounted");
        assert!(server.daemon.vault().read_dir().unwrap().next().is_some(), "{kind}: no copy");
        drop(server);
        assert_eq!(fs.count_at_rest(&call), 0, "{kind}: the call");
        assert_eq!(fs.count_at_rest(&who), 0, "{kind}: its sidecar");
    }
}
